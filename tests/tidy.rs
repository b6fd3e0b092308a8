//! House rules, as tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::harness::root;

/// Which crates of ours each crate may depend on.
const ARROWS: [(&str, &[&str]); 9] = [
    ("ann", &["base"]),
    ("base", &[]),
    ("comm", &["base"]),
    ("data", &["base"]),
    ("embedding", &["base", "comm"]),
    ("model", &["base", "comm", "data", "embedding"]),
    ("plugin", &["base"]),
    ("recipe", &["ann", "base", "comm", "data", "embedding", "model", "plugin"]),
    ("rectool", &["ann", "base", "comm", "data", "embedding", "model", "plugin", "recipe"]),
];

/// Dependencies that one crate alone may know.
const FENCES: [(&str, &[&str]); 6] = [
    ("tch", &["model"]),
    ("libloading", &["model"]),
    ("rhai", &["recipe"]),
    ("mpi", &["comm"]),
    ("wasmtime", &["plugin"]),
    ("memmap2", &["base", "embedding"]),
];

fn dependencies(manifest: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(manifest).unwrap();
    let mut names = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with('[') {
            inside = line == "[dependencies]";
        } else if inside && let Some((name, _)) = line.split_once('=') {
            names.push(name.trim().to_owned());
        }
    }
    names
}

fn manifest(crate_name: &str) -> PathBuf {
    match crate_name {
        "rectool" => root().join("Cargo.toml"),
        name => root().join("core").join(name).join("Cargo.toml"),
    }
}

#[test]
fn imports_go_one_way() {
    for (name, allowed) in ARROWS {
        for dependency in dependencies(&manifest(name)) {
            if let Some(ours) = dependency.strip_prefix("rectool-") {
                assert!(allowed.contains(&ours), "{name} must not depend on {ours}");
            }
            let fence = FENCES.iter().find(|(fenced, _)| *fenced == dependency);
            if let Some((fenced, owners)) = fence {
                assert!(owners.contains(&name), "{name} must not know {fenced}");
            }
        }
    }
}

#[test]
fn every_crate_is_in_the_table() {
    let mut folders: Vec<String> = std::fs::read_dir(root().join("core"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("Cargo.toml").exists())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    folders.sort();
    let mut known: Vec<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    known.retain(|name| *name != "rectool");
    assert_eq!(folders, known);
}

/// Every tracked or new source file below the top, without build output and what tools fetch.
fn sources(extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let folders = ["core", "tests", "benches", "scripts", "plugins", "sdk"];
    let mut open: Vec<PathBuf> = folders.iter().map(|name| root().join(name)).collect();
    let foreign = ["target", "node_modules"];
    while let Some(folder) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() && !foreign.iter().any(|name| path.ends_with(name)) {
                open.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "no .{extension} files found");
    found.sort();
    found
}

#[test]
fn files_are_short() {
    for (extension, limit) in [("rs", 600), ("rhai", 120), ("py", 600)] {
        for path in sources(extension) {
            let lines = std::fs::read_to_string(&path).unwrap().lines().count();
            assert!(lines <= limit, "{}: {lines} lines, at most {limit}", path.display());
        }
    }
}

#[test]
fn nothing_is_left_undone() {
    let marks = ["TODO", "FIXME", "XXX", concat!("#[", "ignore"), "unimplemented!("];
    for path in sources("rs") {
        if path.ends_with("tests/tidy.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for mark in marks {
            assert!(!text.contains(mark), "{} contains {mark}", path.display());
        }
    }
}

#[test]
fn only_named_files_hold_unsafe_code() {
    let allowed = [
        "core/ann/src/kernel/",
        "core/ann/src/idle.rs",
        "core/base/src/mmap.rs",
        "core/model/src/blob.rs",
        "core/model/src/device.rs",
        "core/model/src/kernel/",
        "core/embedding/benches/embedding/memory.rs",
        "core/embedding/src/backing.rs",
        "core/embedding/src/index/probe.rs",
        "core/embedding/src/simd.rs",
        "core/embedding/src/slab.rs",
        "core/embedding/src/step.rs",
        "core/embedding/src/stream.rs",
        "core/embedding/src/tests/beyond_memory.rs",
        "core/comm/src/mpi/",
        "core/data/src/shard.rs",
        "core/plugin/src/cache.rs",
    ];
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    for path in sources("rs") {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let blocks = lines.filter(|line| line.contains("unsafe {") || line.contains("unsafe fn"));
        *count.entry(name).or_default() += blocks.count();
    }
    for (name, count) in count.iter().filter(|(name, _)| *name != "tests/tidy.rs") {
        let fits = allowed.iter().any(|allowed| name.starts_with(allowed));
        assert!(*count == 0 || fits, "{name} holds {count} unsafe blocks");
    }
}

#[test]
fn every_dependency_has_its_reason() {
    let readme = std::fs::read_to_string(root().join("core/README.md")).unwrap();
    for (name, _) in ARROWS {
        for dependency in dependencies(&manifest(name)) {
            let named = readme.contains(&format!("`{dependency}`"));
            assert!(named || dependency.starts_with("rectool-"), "core/README.md: {dependency}");
        }
    }
}
