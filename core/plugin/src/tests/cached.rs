//! The cache of compiled code: used when it is sound, replaced when it is not.

use std::path::{Path, PathBuf};

use super::*;
use crate::Parameters;

fn cached_host(folder: &Path) -> Host {
    Host::new(HostOptions { cache: Some(folder.to_owned()), ..HostOptions::default() }).unwrap()
}

/// Loads it and runs it, and says whether the cache had it.
fn load(folder: &Path) -> bool {
    let plugin = cached_host(folder).load_bytes("double", DOUBLE.into()).unwrap();
    let transform = plugin.transform(&Parameters::new()).unwrap();
    let (schema, column) = floats("dense", 1, &[1.5]);
    let out = transform.apply(&[schema], vec![column], place(1)).unwrap();
    assert_eq!(out, [floats("dense", 1, &[3.0]).1]);
    plugin.was_cached()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut entries: Vec<PathBuf> = files
        .filter(|file| file.extension().is_some_and(|extension| extension == "code"))
        .collect();
    entries.sort();
    entries
}

#[test]
fn the_second_load_is_cached() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("a/b");
    assert!(!load(&folder));
    assert!(load(&folder));
    assert_eq!(entries(&folder).len(), 1);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join("secret"))), (0o700, 0o600));
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    load(folder.path());
    let path = entries(folder.path()).remove(0);
    let good = std::fs::read(&path).unwrap();
    // All of the head, and places all over the code.
    let places = (0..64).chain((64..good.len()).step_by(good.len() / 40)).chain([good.len() - 1]);
    for at in places {
        let mut forged = good.clone();
        forged[at] ^= 1 << (at % 8);
        std::fs::write(&path, &forged).unwrap();
        assert!(!load(folder.path()), "byte {at} of {}", good.len());
        assert_eq!(std::fs::read(&path).unwrap().len(), good.len(), "replaced");
    }
    for length in [0, 10, 48, good.len() / 2, good.len() - 1] {
        std::fs::write(&path, &good[..length]).unwrap();
        assert!(!load(folder.path()), "cut to {length}");
    }
    assert!(load(folder.path()));
}

#[test]
fn code_of_another_plugin_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    load(folder.path());
    let path = entries(folder.path()).remove(0);
    let other = guest::Guest::new(crate::Kind::Transform).text();
    cached_host(folder.path()).load_bytes("other", other.into()).unwrap();
    let other = entries(folder.path()).into_iter().find(|entry| *entry != path).unwrap();
    // Sealed by us, but for another component.
    std::fs::copy(other, &path).unwrap();
    assert!(!load(folder.path()));
}

#[test]
fn code_sealed_elsewhere_is_noticed() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    load(folder.path());
    load(elsewhere.path());
    std::fs::copy(&entries(elsewhere.path())[0], &entries(folder.path())[0]).unwrap();
    assert!(!load(folder.path()));
}

#[cfg(unix)]
#[test]
fn a_folder_that_others_can_write_to_is_left_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(!load(folder.path()));
    assert!(!load(folder.path()));
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
}

#[test]
fn a_cache_that_cannot_be_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    assert!(!load(&file));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "in the way");
}
