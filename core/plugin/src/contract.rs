//! The contract that plugins are written against: WIT packages, frozen by version.

use std::sync::LazyLock;

use serde::Serialize;
use wit_parser::{PackageId, Resolve, UnresolvedPackageGroup};

/// The versions of the contract that this host accepts.
pub const VERSIONS: [&str; 1] = ["1.0.0"];

pub(crate) const PACKAGE: &str = "rectool:plugin";

const WIT: [(&str, &str); 4] = [
    ("types.wit", include_str!("../../../sdk/wit/v1/types.wit")),
    ("transform.wit", include_str!("../../../sdk/wit/v1/transform.wit")),
    ("loss.wit", include_str!("../../../sdk/wit/v1/loss.wit")),
    ("sampler.wit", include_str!("../../../sdk/wit/v1/sampler.wit")),
];

/// The files of the contract, name and text: what a plugin's project needs to build.
pub fn wit_files() -> &'static [(&'static str, &'static str)] {
    &WIT
}

/// What a plugin is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Computes columns from columns.
    Transform,
    /// Gives loss and gradient of a batch.
    Loss,
    /// Draws negatives.
    Sampler,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Transform, Self::Loss, Self::Sampler];

    /// `transform`, `loss` or `sampler`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Transform => "transform",
            Self::Loss => "loss",
            Self::Sampler => "sampler",
        }
    }

    /// The WIT world that a plugin of this kind implements.
    pub fn world(self) -> &'static str {
        match self {
            Self::Transform => "feature-transform",
            Self::Loss => "loss",
            Self::Sampler => "negative-sampler",
        }
    }

    /// The interface that a plugin of this kind exports, beside `about`.
    pub fn interface(self) -> &'static str {
        match self {
            Self::Transform => "transform",
            Self::Loss => "objective",
            Self::Sampler => "sampler",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// `rectool:plugin/transform@1.0.0`.
pub(crate) fn interface_id(interface: &str) -> String {
    format!("{PACKAGE}/{interface}@{}", VERSIONS[0])
}

/// The contract as `wit-component` wants it, parsed once.
pub(crate) fn resolved() -> &'static (Resolve, PackageId) {
    static RESOLVED: LazyLock<(Resolve, PackageId)> = LazyLock::new(|| {
        let mut files = wit_parser::SourceMap::default();
        for (name, text) in WIT {
            files.push(std::path::Path::new(name), text.to_owned());
        }
        let group = files.parse().map_err(|(_, error)| error);
        let group: UnresolvedPackageGroup = group.expect("the contract in sdk/wit is valid WIT");
        let mut resolve = Resolve::default();
        let package = resolve.push_group(group).expect("the contract refers to nothing else");
        (resolve, package)
    });
    &RESOLVED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_world() {
        let (resolve, package) = resolved();
        for kind in Kind::ALL {
            let world = resolve.select_world(&[*package], Some(kind.world())).unwrap();
            let exports: Vec<String> = resolve.worlds[world]
                .exports
                .keys()
                .map(|key| resolve.name_world_key(key))
                .collect();
            assert_eq!(exports, [interface_id("about"), interface_id(kind.interface())]);
        }
    }
}
