//! Sandboxed WebAssembly plugins.
