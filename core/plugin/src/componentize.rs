//! From what a plugin's author hands over to a component: text is assembled, a core module wrapped.

use std::borrow::Cow;
use std::sync::LazyLock;

use wasmparser::{Encoding, Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::Resolve;

use crate::contract::{self, Kind, PACKAGE};
use crate::error::PluginError;
use crate::fault::bounded;

/// WASI with nothing behind it, for guests whose libc insists on it.
const WASI: &str = include_str!("wasi.wat");
const WASI_NAME: &str = "wasi_snapshot_preview1";
/// What the adapter passes on: text for the message of a failure. Only components that were wrapped
/// here may import it.
pub(crate) const LOG: &str = "rectool:host/log@1.0.0";
const LOG_WIT: &str = "package rectool:host@1.0.0;
    interface log { write: func(text: list<u8>); }
    world adapter { import log; }";

/// A component, and who made it.
pub(crate) struct Component<'a> {
    pub(crate) bytes: Cow<'a, [u8]>,
    /// Whether it is a core module that was wrapped here.
    pub(crate) wrapped: bool,
}

/// The component that `bytes` are, or make.
pub(crate) fn component<'a>(name: &str, bytes: &'a [u8]) -> Result<Component<'a>, PluginError> {
    let binary = binary(name, bytes)?;
    match encoding(&binary) {
        Some(Encoding::Component) => Ok(Component { bytes: binary, wrapped: false }),
        Some(Encoding::Module) => {
            let bytes = wrapped(name, &binary).map(Cow::Owned)?;
            Ok(Component { bytes, wrapped: true })
        }
        None => Err(PluginError::NotWasm { name: name.to_owned(), found: opening(bytes) }),
    }
}

/// Assembles text; leaves anything else as it is.
fn binary<'a>(name: &str, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>, PluginError> {
    let text = std::str::from_utf8(bytes).ok().map(str::trim_start);
    if !text.is_some_and(|text| text.starts_with('(') || text.starts_with(";;")) {
        return Ok(Cow::Borrowed(bytes));
    }
    wat::parse_bytes(bytes)
        .map_err(|error| PluginError::Text { name: name.to_owned(), message: error.to_string() })
}

fn encoding(bytes: &[u8]) -> Option<Encoding> {
    match Parser::new(0).parse_all(bytes).next()?.ok()? {
        Payload::Version { encoding, .. } => Some(encoding),
        _ => None,
    }
}

fn opening(bytes: &[u8]) -> String {
    match bytes {
        [] => "an empty file".to_owned(),
        _ => format!("a file that starts with `{}`", bytes[..bytes.len().min(8)].escape_ascii()),
    }
}

fn invalid(name: &str, error: &impl std::fmt::Display) -> PluginError {
    PluginError::Invalid { name: name.to_owned(), message: bounded(&format!("{error:#}")) }
}

/// Wraps a core module whose exports are those of one of the contract's worlds.
fn wrapped(name: &str, module: &[u8]) -> Result<Vec<u8>, PluginError> {
    let outline = outline(name, module)?;
    let mut module = Cow::Borrowed(module);
    if !outline.typed {
        let interfaces = outline.exports.iter().filter_map(|export| export.split_once('#'));
        let kind = crate::surface::kind_of(name, interfaces.map(|(interface, _)| interface))?;
        embed(name, module.to_mut(), kind)?;
    }
    let invalid = |error| invalid(name, &format!("{error:#}"));
    let mut encoder =
        ComponentEncoder::default().validate(true).module(&module).map_err(invalid)?;
    if outline.wants_wasi {
        encoder = encoder.adapter(WASI_NAME, adapter()).map_err(invalid)?;
    }
    encoder.encode().map_err(invalid)
}

fn adapter() -> &'static [u8] {
    static ADAPTER: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut adapter = wat::parse_str(WASI).expect("our own adapter is valid text");
        let mut resolve = Resolve::default();
        let package = resolve.push_source("log.wit", LOG_WIT).expect("our own WIT is valid");
        let world = resolve.select_world(&[package], None).expect("it has one world");
        wit_component::embed_component_metadata(
            &mut adapter,
            &resolve,
            world,
            StringEncoding::UTF8,
        )
        .expect("the world is that of the adapter");
        adapter
    });
    &ADAPTER
}

fn embed(name: &str, module: &mut Vec<u8>, kind: Kind) -> Result<(), PluginError> {
    let (resolve, package) = contract::resolved();
    let world = resolve
        .select_world(&[*package], Some(kind.world()))
        .expect("the contract has a world for every kind");
    wit_component::embed_component_metadata(module, resolve, world, StringEncoding::UTF8)
        .map_err(|error| invalid(name, &error))
}

struct Outline {
    /// Names of the exports that belong to the contract.
    exports: Vec<String>,
    wants_wasi: bool,
    /// Whether a binding generator left the module's types in it.
    typed: bool,
}

fn outline(name: &str, module: &[u8]) -> Result<Outline, PluginError> {
    let mut outline = Outline { exports: Vec::new(), wants_wasi: false, typed: false };
    for payload in Parser::new(0).parse_all(module) {
        match payload.map_err(|error| invalid(name, &error))? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import.map_err(|error| invalid(name, &error))?;
                    if import.module != WASI_NAME {
                        let import = format!("{}.{}", import.module, import.name);
                        return Err(crate::surface::import_error(name, &import));
                    }
                    outline.wants_wasi = true;
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export.map_err(|error| invalid(name, &error))?;
                    if export.name.starts_with(PACKAGE) {
                        outline.exports.push(export.name.to_owned());
                    }
                }
            }
            Payload::CustomSection(section) => {
                outline.typed |= section.name().starts_with("component-type");
            }
            _ => {}
        }
    }
    Ok(outline)
}
