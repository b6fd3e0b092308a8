//! The format in words and in code, and older versions of it.

use std::path::Path;

use super::{Fixture, short, write_sealed};
use crate::checkpoint::manifest::FORMAT_VERSION;
use crate::{Checkpoint, ModelError};

#[test]
fn the_document_is_of_the_version_that_is_written() {
    let document = include_str!("../../../CHECKPOINT.md");
    let title = format!("# The checkpoint format, version {FORMAT_VERSION}\n");
    assert!(document.starts_with(&title), "{}", document.lines().next().unwrap());
    assert!(document.contains(&format!("| `version` | integer | 1 or {FORMAT_VERSION};")));
}

#[test]
fn later_versions_are_refused_by_number() {
    let fixture = Fixture::new();
    fixture.train(&short(0), "run");
    let manifest = fixture.path("run/step-00000005/manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    for version in ["3", "0", "-1", "\"2\"", "null", "1e30"] {
        let changed = text.replace("\"version\": 2", &format!("\"version\": {version}"));
        std::fs::write(&manifest, changed).unwrap();
        let error = Checkpoint::open(manifest.parent().unwrap()).unwrap_err();
        assert!(matches!(error, ModelError::CheckpointVersion { .. }), "{error}");
        assert!(error.to_string().contains(version.trim_end_matches("e30")), "{error}");
    }
}

#[test]
fn names_stay_below_the_folder() {
    let fixture = Fixture::new();
    fixture.train(&short(2), "run");
    let manifest = fixture.path("run/step-00000010/manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    for (from, to) in [
        ("\"file\": \"dense.safetensors\"", "\"file\": \"../dense.safetensors\""),
        ("\"file\": \"dense.safetensors\"", "\"file\": \"/etc/passwd\""),
        ("\"name\": \"step-00000005\"", "\"name\": \"../run/step-00000005\""),
        ("\"name\": \"step-00000005\"", "\"name\": \"..\""),
        ("\"name\": \"step-00000005\"", "\"name\": \"\""),
    ] {
        assert!(text.contains(from), "{text}");
        write_sealed(&manifest, &text.replace(from, to));
        let error = Checkpoint::open(manifest.parent().unwrap()).unwrap_err().to_string();
        assert!(error.contains("expected"), "{error}");
    }
}

/// Written by the release before `last_seen` and `count` came.
#[test]
fn version_1_is_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/checkpoints/version-1");
    let checkpoint = Checkpoint::open(&path).unwrap();
    let manifest = checkpoint.manifest();
    assert_eq!((manifest.version, manifest.ranks), (1, 2));
    assert_eq!(manifest.table_steps, manifest.state.steps);
    let chain = checkpoint.chain().unwrap();
    chain.verify_rows().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let anew = chain.reshard(3, &folder.path().join("anew")).unwrap();
    assert_eq!(anew.manifest().version, FORMAT_VERSION);
    let diff = chain.diff(&anew.chain().unwrap()).unwrap();
    assert!(diff.equal, "{diff:?}");
    assert!(diff.tables.iter().any(|table| table.rows_equal > 3), "{diff:?}");
}
