//! Part files that are cut off or changed: refused, or searched without a panic.

use std::path::Path;

use rectool_base::Stream;

use super::world::vectors;
use crate::{
    Attributes, BuildInput, BuildOptions, Effort, IndexKind, Metric, Part, SearchOptions, Vectors,
    build,
};

/// Bytes of small parts of every kind, with attributes.
fn files() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let base = vectors(200, 6, 1);
    let vectors = Vectors::new(6, &base).unwrap();
    let mut attributes = Attributes::new(200);
    let tokens: Vec<Vec<&str>> = (0..200).map(|row| vec![["a", "b", "c"][row % 3]]).collect();
    attributes.add_tokens("name", &tokens).unwrap();
    attributes.add_numbers("number", (0..200).map(f64::from).collect()).unwrap();
    let input = BuildInput { attributes: Some(&attributes), ..BuildInput::from(&vectors) };
    let mut files = Vec::new();
    for kind in [IndexKind::Flat, IndexKind::Ivf, IndexKind::Graph] {
        for metric in [Metric::InnerProduct, Metric::L2] {
            let leaves = Some(10);
            // With few links a narrow beam costs less than comparing all: a graph is gone along.
            let options =
                BuildOptions { kind: Some(kind), metric, leaves, degree: 4, ..Default::default() };
            let path = folder.path().join("part");
            build(&path, &input, &options, &()).unwrap();
            files.push(std::fs::read(&path).unwrap());
        }
    }
    files
}

/// Uses everything that a part offers; must not panic.
fn exercise(part: &Part) {
    let filters = [None, Some("name=a"), Some("number<50, name!=b")];
    for effort in [Effort::default(), Effort::Fixed { leaves: 3, candidates: 20 }] {
        for filter in filters {
            let filter = filter.map(|filter| filter.parse().unwrap());
            let options = SearchOptions { effort, filter, ..SearchOptions::new(5) };
            let _ = part.search(&[0.5, -0.25, 1.0, 0.0, 0.75, -1.0], &options);
        }
    }
    let _ = part.row_of(17);
    (0..part.rows().min(300)).for_each(|row| drop(part.vector(row)));
}

#[test]
fn cut_files_are_refused() {
    for bytes in files() {
        for length in (0..bytes.len()).step_by(97).chain([bytes.len() - 1]) {
            assert!(Part::from_bytes(Path::new("cut"), &bytes[..length]).is_err());
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(Part::from_bytes(Path::new("long"), &longer).is_err());
    }
}

#[test]
fn a_changed_byte_is_always_noticed_and_never_a_panic() {
    let mut stream = Stream::new(8, &[]);
    for bytes in files() {
        let whole = Part::from_bytes(Path::new("whole"), &bytes).unwrap();
        whole.verify().unwrap();
        for _ in 0..400 {
            let mut changed = bytes.clone();
            for _ in 0..=stream.below(3) {
                let at = stream.below(changed.len() as u64) as usize;
                changed[at] ^= 1 << stream.below(8);
            }
            if changed == bytes {
                continue;
            }
            if let Ok(part) = Part::from_bytes(Path::new("changed"), &changed) {
                assert!(part.verify().is_err());
                exercise(&part);
            }
        }
    }
}

/// As an attacker would: the checksums of the table and the header fit.
#[test]
fn sizes_that_lie_are_refused_or_harmless() {
    let mut stream = Stream::new(9, &[]);
    for bytes in files() {
        let table = u64::from_le_bytes(bytes[16..24].try_into().unwrap()) as usize;
        for _ in 0..400 {
            let mut changed = bytes.clone();
            let at = table + stream.below((bytes.len() - table) as u64) as usize;
            changed[at] ^= 1 << stream.below(8);
            let checksum = xxhash_rust::xxh3::xxh3_64(&changed[table..]);
            changed[32..40].copy_from_slice(&checksum.to_le_bytes());
            let checksum = xxhash_rust::xxh3::xxh3_64(&changed[..56]);
            changed[56..64].copy_from_slice(&checksum.to_le_bytes());
            if let Ok(part) = Part::from_bytes(Path::new("lying"), &changed) {
                exercise(&part);
            }
        }
    }
}

#[test]
fn whole_sections_of_noise_are_harmless() {
    let mut stream = Stream::new(10, &[]);
    for bytes in files() {
        let table = u64::from_le_bytes(bytes[16..24].try_into().unwrap()) as usize;
        for entry in (table..bytes.len()).step_by(32) {
            let number = |at: usize| {
                u64::from_le_bytes(bytes[entry + at..entry + at + 8].try_into().unwrap()) as usize
            };
            let (offset, length) = (number(8), number(16));
            let mut changed = bytes.clone();
            for byte in &mut changed[offset..offset + length] {
                *byte = stream.next_u64() as u8;
            }
            let fix = |changed: &mut [u8], at: usize, range: std::ops::Range<usize>| {
                let checksum = xxhash_rust::xxh3::xxh3_64(&changed[range]);
                changed[at..at + 8].copy_from_slice(&checksum.to_le_bytes());
            };
            fix(&mut changed, entry + 24, offset..offset + length);
            fix(&mut changed, 32, table..bytes.len());
            fix(&mut changed, 56, 0..56);
            if let Ok(part) = Part::from_bytes(Path::new("noise"), &changed) {
                exercise(&part);
            }
        }
    }
}
