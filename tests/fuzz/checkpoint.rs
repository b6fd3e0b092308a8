//! Reads a checkpoint of which one file is whatever the fuzzer comes up with.
//!
//! The first byte of an input says which file the rest of it stands in for. Sizes and checksums are made to fit,
//! as whoever forges a checkpoint would do, or readers would look no further; those of a manifest only now and
//! then. Readers must say what is wrong or read what is there; a panic, a hang or a great claim of memory is a
//! defect.

#![no_main]

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use rectool_base::panic_is_caught;
use rectool_model::{Chain, Checkpoint, ExportColumns, ExportFormat, ModelError};
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

const MANIFEST: &str = "manifest.json";

/// By name, in the order in which `make fuzz` numbers its seeds.
const FILES: [&str; 6] = [
    "dense.safetensors",
    MANIFEST,
    "tables/item/part-00000.arrow",
    "tables/item/part-00001.arrow",
    "tables/user/part-00000.arrow",
    "tables/user/part-00001.arrow",
];

/// Marks a manifest that is left as it is.
const UNFIT: u8 = 0x80;

/// What a manifest's own checksum is taken with in its place.
const UNSEALED: &str = "0000000000000000";

/// A whole checkpoint, and a copy to be damaged.
struct Fixture {
    whole: Chain,
    originals: Vec<Vec<u8>>,
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../checkpoints/version-1");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let originals =
            FILES.map(|name| fs::read(source.join(name)).expect("the checkpoint is there"));
        for (name, bytes) in FILES.iter().zip(&originals) {
            let path = folder.path().join("damaged").join(name);
            fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("a folder");
            fs::write(path, bytes).expect("a file");
        }
        let whole = Checkpoint::open(&source).and_then(|checkpoint| checkpoint.chain());
        Self { whole: whole.expect("the checkpoint is whole"), originals: originals.into(), folder }
    }

    /// Reads the copy with `bytes` in the place of one file.
    fn read_with(&self, file: usize, bytes: &[u8], fit: bool) {
        let folder = self.folder.path().join("damaged");
        let (changed, manifest) = (folder.join(FILES[file]), folder.join(MANIFEST));
        fs::write(&changed, bytes).expect("a file");
        if fit && let Some(text) = fitted(&folder) {
            fs::write(&manifest, text).expect("a manifest");
        }
        match read_all(&self.whole, &folder, self.folder.path()) {
            Ok(()) => {}
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        fs::write(&changed, &self.originals[file]).expect("a file");
        fs::write(&manifest, &self.originals[1]).expect("a manifest");
    }
}

/// Everything that reads a checkpoint.
fn read_all(whole: &Chain, folder: &Path, room: &Path) -> Result<(), ModelError> {
    let chain = Checkpoint::open(folder)?.chain()?;
    chain.verify_rows()?;
    whole.diff(&chain)?;
    for table in ["item", "user"] {
        let out = room.join("table.arrow");
        let _ = fs::remove_file(&out);
        chain.export(table, ExportFormat::Arrow, ExportColumns::All, &out)?;
    }
    let out = room.join("resharded");
    let _ = fs::remove_dir_all(&out);
    chain.reshard(3, &out)?;
    Ok(())
}

/// The manifest with the sizes and checksums of the files that are there, and its own checksum.
fn fitted(folder: &Path) -> Option<String> {
    let mut manifest: Value =
        serde_json::from_slice(&fs::read(folder.join(MANIFEST)).ok()?).ok()?;
    for entry in manifest.get_mut("files").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(name) = entry.get("file").and_then(Value::as_str) else { continue };
        let Some(at) = FILES.iter().position(|file| *file == name) else { continue };
        let bytes = fs::read(folder.join(FILES[at])).ok()?;
        entry["bytes"] = bytes.len().into();
        entry["xxh3"] = hex(&bytes).into();
    }
    // Manifests of version 1 have no checksum of their own.
    if let Some(seal) = manifest.get_mut("manifest_xxh3") {
        *seal = UNSEALED.into();
    }
    let text = serde_json::to_string_pretty(&manifest).ok()?;
    let seal = format!("\"manifest_xxh3\": \"{UNSEALED}");
    let sealed = format!("\"manifest_xxh3\": \"{}", hex(text.as_bytes()));
    Some(text.replace(&seal, &sealed))
}

fn hex(bytes: &[u8]) -> String {
    format!("{:016x}", xxh3_64(bytes))
}

/// Leaves to the fuzzer, which aborts, the panics that readers do not turn into errors.
fn pass_caught_panics() {
    let abort = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !panic_is_caught() {
            abort(panic);
        }
    }));
}

fuzz_target!(init: pass_caught_panics(), |input: &[u8]| {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    let Some((choice, bytes)) = input.split_first() else { return };
    let file = usize::from(choice & !UNFIT) % FILES.len();
    let fit = FILES[file] != MANIFEST || choice & UNFIT == 0;
    FIXTURE.get_or_init(Fixture::new).read_with(file, bytes, fit);
});
