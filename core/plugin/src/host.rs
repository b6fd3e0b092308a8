//! The host: engine, clock and cache that all plugins share.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use crate::cache::Cache;
use crate::contract::Kind;
use crate::error::PluginError;
use crate::fault::{Identity, bounded};
use crate::instance::Prepared;
use crate::limits::{FILE_BYTES_MAX, Limits};
use crate::name::user_cache;
use crate::plugin::Plugin;
use crate::store::State;
use crate::ticker::Ticker;
use crate::{componentize, surface};

/// How plugins are run.
#[derive(Clone, Debug, Default)]
pub struct HostOptions {
    /// Folder for compiled code. Without one every load compiles.
    pub cache: Option<PathBuf>,
    /// What an instance and a call may use.
    pub limits: Limits,
}

/// Loads plugins and runs them.
///
/// ```
/// use rectool_plugin::{Host, HostOptions};
///
/// let host = Host::new(HostOptions::default())?;
/// let error = host.load_bytes("broken", b"no wasm".to_vec()).unwrap_err();
/// assert!(error.to_string().starts_with("plugin `broken`: found a file that starts with `no wasm`"));
/// # Ok::<(), rectool_plugin::PluginError>(())
/// ```
#[derive(Clone)]
pub struct Host {
    shared: Arc<Shared>,
}

/// What plugins keep of their host.
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) limits: Limits,
    pub(crate) ticker: Ticker,
    linker: Linker<State>,
    cache: Option<Cache>,
}

/// A component that was compiled, or found compiled.
pub(crate) struct Compiled {
    pub(crate) component: Component,
    /// Whether the cache had it.
    pub(crate) cached: bool,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("limits", &self.shared.limits).finish_non_exhaustive()
    }
}

impl Host {
    /// Sets up the engine and opens the cache. A cache that cannot be used is warned of and left.
    ///
    /// # Errors
    /// [`PluginError::Engine`] if this machine cannot run compiled WebAssembly.
    pub fn new(options: HostOptions) -> Result<Self, PluginError> {
        let (engine, linker) = crate::engine::engine(&options.limits)?;
        let ticker = Ticker::new(&engine)
            .map_err(|error| PluginError::Engine { message: error.to_string() })?;
        let cache = options.cache.and_then(|folder| Cache::open(&folder, &engine));
        let limits = options.limits;
        Ok(Self { shared: Arc::new(Shared { engine, limits, ticker, linker, cache }) })
    }

    /// The same with the user's cache of compiled code, and the usual limits.
    ///
    /// # Errors
    /// As [`Host::new`].
    pub fn for_user() -> Result<Self, PluginError> {
        let cache = user_cache().map(|cache| cache.join("plugins"));
        Self::new(HostOptions { cache, ..HostOptions::default() })
    }

    /// The limits that hold for every plugin of this host.
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Loads the plugin of a file: a component, a core module or WebAssembly text.
    ///
    /// # Errors
    /// If it cannot be read, is no plugin, wants something from the host, or fails to describe
    /// itself.
    pub fn load(&self, path: &Path) -> Result<Plugin, PluginError> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let read = |source| PluginError::Read { path: path.to_owned(), source };
        let bytes = std::fs::metadata(path).map_err(read)?.len() as usize;
        check_size(&name, bytes)?;
        self.load_bytes(&name, std::fs::read(path).map_err(read)?)
    }

    /// Loads a plugin from the bytes of its file; `name` stands for it in messages.
    ///
    /// # Errors
    /// As [`Host::load`].
    pub fn load_bytes(&self, name: &str, bytes: Vec<u8>) -> Result<Plugin, PluginError> {
        check_size(name, bytes.len())?;
        let name = bounded(name);
        let component = componentize::component(&name, &bytes)?;
        let kind = surface::inspect(&name, &component)?;
        let compiled = self.shared.compile(&name, &component.bytes, Caching::Use)?;
        let cached = compiled.cached;
        let prepared = self.prepare(&name, kind, &compiled.component)?;
        drop(component);
        Plugin::new(&name, Arc::new(prepared), bytes, cached)
    }

    fn prepare(
        &self,
        name: &str,
        kind: Kind,
        component: &Component,
    ) -> Result<Prepared, PluginError> {
        let pre = self.shared.linker.instantiate_pre(component).map_err(|error| {
            PluginError::Invalid { name: name.to_owned(), message: bounded(&format!("{error:#}")) }
        })?;
        let identity = Identity { kind, plugin: name.to_owned() };
        Ok(Prepared { host: Arc::clone(&self.shared), pre, identity })
    }
}

/// Whether compiled code may come from the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caching {
    Use,
    Skip,
}

impl Shared {
    /// Compiles a component, or takes it from the cache.
    pub(crate) fn compile(
        &self,
        name: &str,
        bytes: &[u8],
        caching: Caching,
    ) -> Result<Compiled, PluginError> {
        let cache = self.cache.as_ref().filter(|_| caching == Caching::Use);
        if let Some(component) = cache.and_then(|cache| cache.find(&self.engine, bytes)) {
            return Ok(Compiled { component, cached: true });
        }
        let component = Component::from_binary(&self.engine, bytes).map_err(|error| {
            PluginError::Invalid { name: name.to_owned(), message: bounded(&format!("{error:#}")) }
        })?;
        if let Some(cache) = cache {
            cache.keep(bytes, &component);
        }
        Ok(Compiled { component, cached: false })
    }
}

fn check_size(name: &str, found: usize) -> Result<(), PluginError> {
    let max = FILE_BYTES_MAX;
    if found > max {
        return Err(PluginError::TooLarge { name: bounded(name), found, max });
    }
    Ok(())
}

/// Lower-case hex digits of a SHA-256.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").expect("a String takes everything");
    }
    text
}
