//! What a component imports and exports, read before anything is compiled.

use wasmparser::{Parser, Payload};

use crate::componentize::{Component, LOG};
use crate::contract::{Kind, PACKAGE, VERSIONS, interface_id};
use crate::error::PluginError;
use crate::fault::bounded;

/// Refuses a component that asks for anything, or is not exactly one kind of plugin.
pub(crate) fn inspect(name: &str, component: &Component<'_>) -> Result<Kind, PluginError> {
    let broken = |error: &wasmparser::BinaryReaderError| PluginError::Invalid {
        name: name.to_owned(),
        message: bounded(&error.to_string()),
    };
    let mut exports = Vec::new();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(&component.bytes) {
        match payload.map_err(|error| broken(&error))? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    let import = import.map_err(|error| broken(&error))?.name.name;
                    if !(component.wrapped && import == LOG) {
                        check_import(name, import)?;
                    }
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    exports.push(export.map_err(|error| broken(&error))?.name.name);
                }
            }
            _ => {}
        }
    }
    kind_of(name, exports)
}

/// The contract's types may be imported: there is nothing in them that could be called.
fn check_import(name: &str, import: &str) -> Result<(), PluginError> {
    match import.strip_prefix(PACKAGE).and_then(|rest| rest.strip_prefix("/types@")) {
        Some(version) if VERSIONS.contains(&version) => Ok(()),
        Some(version) => Err(version_error(name, version)),
        None => Err(import_error(name, import)),
    }
}

pub(crate) fn import_error(name: &str, import: &str) -> PluginError {
    PluginError::Import { name: name.to_owned(), import: bounded(import) }
}

fn version_error(name: &str, version: &str) -> PluginError {
    let accepted = VERSIONS.join(", ");
    PluginError::Version { name: name.to_owned(), found: bounded(version), accepted }
}

/// The kind that the exported interfaces make.
pub(crate) fn kind_of<'a>(
    name: &str,
    exports: impl IntoIterator<Item = &'a str>,
) -> Result<Kind, PluginError> {
    let mut found: Vec<&str> = Vec::new();
    for export in exports {
        let Some(rest) = export.strip_prefix(PACKAGE).and_then(|rest| rest.strip_prefix('/'))
        else {
            continue;
        };
        let (interface, version) = rest.split_once('@').unwrap_or((rest, "none"));
        if !VERSIONS.contains(&version) {
            return Err(version_error(name, version));
        }
        found.push(interface);
    }
    let kinds: Vec<Kind> =
        Kind::ALL.into_iter().filter(|kind| found.contains(&kind.interface())).collect();
    let missing = |what: String| PluginError::Missing { name: name.to_owned(), what };
    match kinds.as_slice() {
        [] => {
            let all = Kind::ALL.map(|kind| format!("`{}`", interface_id(kind.interface())));
            Err(missing(format!("any of {}", all.join(", "))))
        }
        [_] if !found.contains(&"about") => Err(missing(format!("`{}`", interface_id("about")))),
        [kind] => Ok(*kind),
        _ => {
            let found = kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(" and ");
            Err(PluginError::Kinds { name: name.to_owned(), found })
        }
    }
}
