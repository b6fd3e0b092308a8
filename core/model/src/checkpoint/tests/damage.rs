//! Damaged checkpoints, thousands of them: never a panic, always an error or what was there.
//!
//! Mutations of every kind of file, some with checksums made to fit, from a fixed seed: what runs with every
//! test of the property that `make fuzz`, which needs a nightly compiler, searches for longer.

use std::fs;
use std::path::{Path, PathBuf};

use rectool_base::{Hint, Stream};
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use super::{Fixture, content, copy, short};
use crate::checkpoint::files::hex;
use crate::checkpoint::manifest::seal;
use crate::{Chain, Checkpoint, ExportColumns, ExportFormat, ModelError};

/// The delta that is looked at, and what it builds on.
const HEAD: &str = "step-00000015";
const CHAIN: [&str; 3] = ["step-00000005", "step-00000010", HEAD];

/// Changes some bytes.
fn mutate(bytes: &mut Vec<u8>, draw: &mut Stream) {
    let at = draw.below(bytes.len().max(1) as u64) as usize;
    let length = (1 + draw.below(16) as usize).min(bytes.len() - at.min(bytes.len()));
    match draw.below(8) {
        0 => bytes.truncate(at),
        1 => bytes.extend((0..=draw.below(64)).map(|byte| byte as u8)),
        2 => drop(bytes.drain(at..at + length)),
        3 => bytes[at..at + length].fill(0),
        4 => bytes[at..at + length].fill(0xff),
        5 if bytes.len() >= 8 => {
            // A length or an offset, as the formats hold them.
            let at = (at / 8 * 8).min(bytes.len() - 8);
            let numbers = [0, 1, 7, 1 << 20, 1 << 31, u64::MAX >> 1, u64::MAX];
            let number = numbers[draw.below(numbers.len() as u64) as usize];
            bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        _ => {
            for _ in 0..=draw.below(3) {
                let at = draw.below(bytes.len().max(1) as u64) as usize;
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << draw.below(8);
                }
            }
        }
    }
}

/// Changes one value of a manifest.
fn mutate_json(value: &mut Value, draw: &mut Stream) {
    let other = [
        Value::Null,
        Value::from(0),
        Value::from(-1),
        Value::from(u64::MAX),
        Value::from(1_u64 << 33),
        Value::from(0.5),
        Value::from(""),
        Value::from("../x"),
        Value::from("0123456789abcdef"),
        Value::Array(vec![]),
        serde_json::json!({}),
        serde_json::json!([3, 1]),
    ];
    let stop = draw.below(5) == 0;
    match value {
        Value::Object(map) if !map.is_empty() && !stop => {
            let at = draw.below(map.len() as u64) as usize;
            let key = map.keys().nth(at).cloned().unwrap();
            if draw.below(12) == 0 {
                map.remove(&key);
            } else {
                mutate_json(&mut map[&key], draw);
            }
        }
        Value::Array(items) if !items.is_empty() && !stop => {
            let at = draw.below(items.len() as u64) as usize;
            match draw.below(12) {
                0 => drop(items.remove(at)),
                1 => items.push(items[at].clone()),
                _ => mutate_json(&mut items[at], draw),
            }
        }
        _ => *value = other[draw.below(other.len() as u64) as usize].clone(),
    }
}

/// Makes sizes, checksums and identities fit what is there.
fn make_fit(folder: &Path) {
    let mut identities: Vec<(String, String)> = Vec::new();
    for name in CHAIN {
        let manifest = folder.join(name).join("manifest.json");
        let Ok(text) = fs::read_to_string(&manifest) else { return };
        let Ok(mut value) = serde_json::from_str::<Value>(&text) else { return };
        if !value.is_object() {
            return;
        }
        for entry in value.get_mut("files").and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(file) = entry["file"].as_str().filter(|_| entry.is_object()) else { continue };
            let Ok(bytes) = fs::read(folder.join(name).join(file)) else { continue };
            entry["bytes"] = bytes.len().into();
            entry["xxh3"] = hex(xxh3_64(&bytes)).into();
        }
        for link in ["parent", "base"] {
            let known = value["delta"][link]["name"].as_str().and_then(|link| {
                identities.iter().find(|(name, _)| name == link).map(|(_, own)| own.clone())
            });
            if let Some(identity) = known {
                value["delta"][link]["identity"] = identity.into();
            }
        }
        let text = serde_json::to_string_pretty(&value).unwrap();
        let Some((place, identity)) = seal(&text) else { return };
        let text = text[..place].to_owned() + &identity + &text[place + identity.len()..];
        identities.push((name.to_owned(), identity));
        fs::write(&manifest, text).unwrap();
    }
}

/// Everything that reads a checkpoint, the costly ones now and then.
fn read_all(folder: &Path, whole: &Chain, all: bool) -> Result<bool, ModelError> {
    let checkpoint = Checkpoint::open(&folder.join(HEAD))?;
    let chain = checkpoint.chain()?;
    if all {
        for out in ["anew", "table.parquet", "table.arrow", "table.safetensors"] {
            let out = folder.join(out);
            let _ = if out.is_dir() { fs::remove_dir_all(out) } else { fs::remove_file(out) };
        }
        chain.reshard(2, &folder.join("anew"))?;
        let columns = ExportColumns::All;
        chain.export("user", ExportFormat::Parquet, columns, &folder.join("table.parquet"))?;
        chain.export("user", ExportFormat::Arrow, columns, &folder.join("table.arrow"))?;
        let out = folder.join("table.safetensors");
        chain.export("user", ExportFormat::Safetensors, columns, &out)?;
    }
    chain.verify_rows()?;
    Ok(whole.diff(&chain)?.equal)
}

#[test]
fn no_damage_makes_a_reader_panic() {
    let fixture = Fixture::new();
    fixture.train(&short(10), "run");
    for name in ["step-00000020", "step-00000025", "step-00000030"] {
        fs::remove_dir_all(fixture.path("run").join(name)).unwrap();
    }
    let whole = fixture.chain("run", 15);
    let folder = fixture.path("damaged");
    copy(&fixture.path("run"), &folder);
    let files: Vec<(PathBuf, Vec<u8>)> =
        content(&folder).into_iter().map(|(name, bytes)| (folder.join(name), bytes)).collect();
    assert!(read_all(&folder, &whole, true).unwrap());
    let manifests: Vec<_> =
        CHAIN.iter().map(|name| folder.join(name).join("manifest.json")).collect();
    let originals: Vec<_> = manifests.iter().map(|path| fs::read(path).unwrap()).collect();
    let mut draw = Stream::new(5, &[]);
    let (mut refused, mut equal, mut other) = (0, 0, 0);
    for round in 0..4_000_u32 {
        let (path, bytes) = &files[draw.below(files.len() as u64) as usize];
        let is_manifest = path.ends_with("manifest.json");
        let mut damaged = bytes.clone();
        if is_manifest && draw.below(4) > 0 {
            let mut value: Value = serde_json::from_slice(bytes).unwrap();
            mutate_json(&mut value, &mut draw);
            damaged = serde_json::to_vec_pretty(&value).unwrap();
        } else {
            mutate(&mut damaged, &mut draw);
        }
        fs::write(path, &damaged).unwrap();
        let forged = draw.below(2) == 0;
        if forged {
            make_fit(&folder);
        }
        let what = format!("round {round}, {}", path.display());
        match read_all(&folder, &whole, round.is_multiple_of(200)) {
            Ok(true) => equal += 1,
            // Only content that fits its checksums can be another one.
            Ok(false) if forged => other += 1,
            Ok(false) => panic!("{what}: other content passed for whole"),
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().is_empty() && error.to_string().len() < 2_000, "{what}");
                let hinted =
                    !matches!(error, ModelError::Checkpoint { .. } | ModelError::Delta { .. });
                assert!(hinted || error.hint().is_some(), "{what}: {error}");
            }
        }
        fs::write(path, bytes).unwrap();
        for (path, original) in manifests.iter().zip(&originals).filter(|_| forged) {
            fs::write(path, original).unwrap();
        }
    }
    assert!(read_all(&folder, &whole, true).unwrap());
    // Some of each, or the damage would be of one kind only.
    assert!(refused > 2_000 && equal > 10 && other > 10, "{refused}, {equal}, {other}");
}
