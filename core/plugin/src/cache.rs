//! Compiled code, kept in a folder, trusted only with our own seal on it.
//!
//! An entry is `magic · HMAC-SHA256(secret, key · code) · code`. The secret is random, per folder,
//! readable by its owner alone; the key hashes the component, the engine's version and settings and
//! the machine's instruction set. Whatever does not fit is compiled again.

use std::hash::{Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

const MAGIC: &[u8; 16] = b"rectool plugin 1";
const SECRET: &str = "secret";
const SECRET_BYTES: usize = 32;
const SEAL_BYTES: usize = 32;
/// The least recently used entries beyond this are removed: 1 GiB holds ten Python guests.
const CACHE_BYTES_MAX: u64 = 1 << 30;

pub(crate) struct Cache {
    folder: PathBuf,
    secret: [u8; SECRET_BYTES],
    /// What the code depends on beside the component.
    engine: String,
    /// Whose files we trust.
    owner: u32,
}

impl Cache {
    /// Opens the folder or makes it; `None`, with a warning, if that cannot be done safely.
    pub(crate) fn open(folder: &Path, engine: &Engine) -> Option<Self> {
        match Self::try_open(folder, engine) {
            Ok(cache) => Some(cache),
            Err(error) => {
                let folder = folder.display();
                tracing::warn!("plugins are compiled at every start: {folder}: {error}");
                None
            }
        }
    }

    fn try_open(folder: &Path, engine: &Engine) -> std::io::Result<Self> {
        make_private(folder)?;
        // Whoever owns a file that we make is us; this also tells whether the folder is writable.
        let owner = owner(&tempfile::tempfile_in(folder)?.metadata()?);
        check_private(&std::fs::metadata(folder)?, owner)?;
        let secret = secret(folder, owner)?;
        let mut hasher = Collect::default();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let engine = format!("{} {:x}", std::env::consts::ARCH, Hex(&Sha256::digest(&hasher.0)));
        Ok(Self { folder: folder.to_owned(), secret, engine, owner })
    }

    /// The component, if it was kept and nobody touched it.
    pub(crate) fn find(&self, engine: &Engine, bytes: &[u8]) -> Option<Component> {
        let key = self.key(bytes);
        let path = self.path(&key);
        let entry = self.read(&path)?;
        let Some(code) = self.unsealed(&key, &entry) else {
            tracing::warn!("{}: changed since it was written; compiled again", path.display());
            return None;
        };
        let component = deserialized(engine, &code);
        match component {
            Ok(component) => {
                touch(&path);
                Some(component)
            }
            Err(error) => {
                tracing::warn!("{}: {error:#}; compiled again", path.display());
                None
            }
        }
    }

    /// Keeps the compiled component. Failing to is worth a warning, not an error.
    pub(crate) fn keep(&self, bytes: &[u8], component: &Component) {
        if let Err(error) = self.try_keep(bytes, component) {
            tracing::warn!("{}: {error}", self.folder.display());
        }
    }

    fn try_keep(&self, bytes: &[u8], component: &Component) -> std::io::Result<()> {
        let code =
            component.serialize().map_err(|error| std::io::Error::other(error.to_string()))?;
        let key = self.key(bytes);
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(MAGIC)?;
        file.write_all(&self.seal(&key, &code).finalize().into_bytes())?;
        file.write_all(&code)?;
        file.persist(self.path(&key))?;
        self.prune()
    }

    fn key(&self, bytes: &[u8]) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(Sha256::digest(bytes));
        hash.update(self.engine.as_bytes());
        hash.finalize().into()
    }

    fn path(&self, key: &[u8; 32]) -> PathBuf {
        self.folder.join(format!("{:x}.code", Hex(key)))
    }

    fn seal(&self, key: &[u8; 32], code: &[u8]) -> Hmac<Sha256> {
        let mut seal = Hmac::<Sha256>::new_from_slice(&self.secret).expect("any length is a key");
        seal.update(key);
        seal.update(code);
        seal
    }

    fn read(&self, path: &Path) -> Option<Vec<u8>> {
        let ours = std::fs::symlink_metadata(path).ok()?;
        if let Err(error) = check_private(&ours, self.owner) {
            tracing::warn!("{}: {error}; compiled again", path.display());
            return None;
        }
        std::fs::read(path).ok()
    }

    /// The code of an entry that we sealed for this key.
    fn unsealed<'a>(&self, key: &[u8; 32], entry: &'a [u8]) -> Option<Sealed<'a>> {
        let rest = entry.strip_prefix(MAGIC)?;
        let (seal, code) = rest.split_at_checked(SEAL_BYTES)?;
        self.seal(key, code).verify_slice(seal).ok()?;
        Some(Sealed(code))
    }

    /// Removes the entries used longest ago while all together are too large.
    fn prune(&self) -> std::io::Result<()> {
        let mut entries: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            // Another process may prune at the same time.
            let Ok(metadata) = std::fs::metadata(&path) else { continue };
            if path.extension().is_some_and(|extension| extension == "code") {
                let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                entries.push((used, metadata.len(), path));
            }
        }
        entries.sort();
        let mut bytes: u64 = entries.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, size, path) in entries {
            if bytes <= CACHE_BYTES_MAX {
                break;
            }
            bytes -= size;
            let _ = std::fs::remove_file(path);
        }
        Ok(())
    }
}

/// Code whose seal was checked.
struct Sealed<'a>(&'a [u8]);

#[allow(unsafe_code, reason = "wasmtime cannot check machine code, so loading it is unsafe")]
fn deserialized(engine: &Engine, code: &Sealed<'_>) -> wasmtime::Result<Component> {
    // SAFETY: the bytes have to be what `Component::serialize` returned. `Cache::unsealed` is the
    // only source of a `Sealed`: its bytes carry an HMAC that only the holder of the folder's secret
    // can make, and the only code that makes one is `Cache::try_keep`, over the output of
    // `Component::serialize`. The bytes are a private copy in our memory, not a mapping that another
    // process could change after the check. An engine of another version or other settings is not
    // a matter of safety: `deserialize` refuses its code, and the key differs.
    unsafe { Component::deserialize(engine, code.0) }
}

fn touch(path: &Path) {
    // Only tells pruning what is in use; a read-only folder works as well.
    let file = std::fs::File::options().append(true).open(path);
    let _ = file.and_then(|file| file.set_modified(SystemTime::now()));
}

/// The folder's secret, made by whoever comes first.
fn secret(folder: &Path, owner: u32) -> std::io::Result<[u8; SECRET_BYTES]> {
    let path = folder.join(SECRET);
    if !path.exists() {
        let mut fresh = [0; SECRET_BYTES];
        getrandom::fill(&mut fresh).map_err(|error| std::io::Error::other(error.to_string()))?;
        // Temporary files are private from the start.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&fresh)?;
        match file.persist_noclobber(&path) {
            Err(error) if error.error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(error.error);
            }
            _ => {}
        }
    }
    check_private(&std::fs::symlink_metadata(&path)?, owner)?;
    let bytes = std::fs::read(&path)?;
    let wrong = |_| std::io::Error::other(format!("`{SECRET}` is broken; remove it"));
    bytes.try_into().map_err(wrong)
}

#[cfg(unix)]
fn make_private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(unix)]
fn owner(metadata: &std::fs::Metadata) -> u32 {
    std::os::unix::fs::MetadataExt::uid(metadata)
}

/// That nobody but its owner, and that is us, can change it.
#[cfg(unix)]
fn check_private(metadata: &std::fs::Metadata, us: u32) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode();
    if owner(metadata) != us || mode & 0o022 != 0 || metadata.is_symlink() {
        return Err(std::io::Error::other("others can write to it"));
    }
    Ok(())
}

#[cfg(not(unix))]
fn make_private(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)
}

#[cfg(not(unix))]
fn owner(_: &std::fs::Metadata) -> u32 {
    0
}

#[cfg(not(unix))]
fn check_private(_: &std::fs::Metadata, _: u32) -> std::io::Result<()> {
    Ok(())
}

/// Collects what is hashed, so that a cryptographic hash can be taken of it.
#[derive(Default)]
struct Collect(Vec<u8>);

impl Hasher for Collect {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

struct Hex<'a>(&'a [u8]);

impl std::fmt::LowerHex for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
