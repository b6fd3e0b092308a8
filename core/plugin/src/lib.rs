//! Sandboxed WebAssembly plugins: feature transforms, negative samplers and losses.
//!
//! A [`Host`] loads plugins; [`Plugins`] finds them by name on a [`SearchPath`] and is the
//! [`PluginSource`](rectool_base::PluginSource) of a run. The contract is the WIT package in
//! `sdk/wit/v1`; this is the only crate that knows what runs it.
//!
//! A plugin is a WebAssembly component that imports nothing, or a core module or text that makes
//! one: modules with the contract's exports are wrapped when they are loaded, and what they want
//! from WASI is answered with nothing (`wasi.wat`). It gets no files, network, clock or randomness,
//! and gives the same bytes on every machine, unless it looks at the bits of NaNs that it computed.
//!
//! One instance serves one call at a time; loader threads that work at once have one each, all
//! configured alike. Every call has a deadline, every instance a memory limit ([`Limits`]). A call
//! that traps, overruns, or returns what the contract does not allow ends in a
//! [`PluginFault`](rectool_base::PluginFault), and its instance is dropped.

mod abi;
pub mod bench;
pub mod builtin;
mod cache;
pub mod cases;
pub mod check;
mod columns;
mod componentize;
mod contract;
mod description;
mod engine;
mod error;
mod fault;
mod host;
mod instance;
pub mod limits;
mod loss;
mod name;
mod parameters;
mod plugin;
mod pool;
pub mod project;
mod sampler;
mod source;
mod store;
mod surface;
#[cfg(test)]
mod tests;
mod ticker;
mod transform;

pub use contract::{Kind, VERSIONS, wit_files};
pub use description::{Description, ParameterType, ValueType};
pub use error::PluginError;
pub use host::{Host, HostOptions};
pub use limits::Limits;
pub use name::{is_plugin_name, user_cache};
pub use parameters::Parameters;
pub use plugin::Plugin;
pub use source::{Location, Plugins, SearchPath};
