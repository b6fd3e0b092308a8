//! The plugins that come with rectool, held to what is asked of any other.

use std::path::PathBuf;

use super::*;
use crate::builtin::{Builtin, PLUGINS};
use crate::check::{Outcome, check};
use crate::{Kind, cases};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../plugins")
}

#[test]
fn every_plugin_passes_its_checks() {
    let host = host();
    let mut failed = Vec::new();
    for Builtin { name, component, cases } in PLUGINS {
        let plugin = host.load_bytes(name, component.to_vec()).unwrap();
        assert_eq!(plugin.description().name, *name);
        let cases = cases::read(plugin.kind(), cases).unwrap();
        assert!(cases.len() >= 4, "{name} has {} cases", cases.len());
        assert!(cases.iter().any(cases::Case::expects_error), "{name} has no case that fails");
        for verdict in check(&plugin, &cases) {
            if let Outcome::Failed(what) = verdict.outcome {
                failed.push(format!("{name}, {}: {what}", verdict.name));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn every_plugin_is_small_and_listed() {
    let mut folders: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("Cargo.toml").exists())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    folders.sort();
    let listed: Vec<&str> = PLUGINS.iter().map(|builtin| builtin.name).collect();
    assert_eq!(folders, listed);
    for Builtin { name, component, .. } in PLUGINS {
        assert!(component.len() <= 64 << 10, "{name}: {} bytes", component.len());
    }
    let bytes: usize = PLUGINS.iter().map(|builtin| builtin.component.len()).sum();
    assert!(bytes <= 1 << 20, "{bytes} bytes in all");
}

#[test]
fn there_are_plugins_of_every_kind() {
    let host = host();
    let kinds: Vec<Kind> = PLUGINS
        .iter()
        .map(|plugin| host.load_bytes(plugin.name, plugin.component.to_vec()).unwrap().kind())
        .collect();
    let count = |kind| kinds.iter().filter(|found| **found == kind).count();
    let counts = [Kind::Transform, Kind::Loss, Kind::Sampler].map(count);
    assert_eq!(counts, [10, 8, 4]);
}
