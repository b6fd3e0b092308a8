//! What `sdk/wit/v1` says, as Rust. Each interface is generated once, so that all kinds of plugin
//! share its types; what a plugin exports in the end is its kind's world.

#![allow(missing_docs, unsafe_code, clippy::pedantic, reason = "generated")]

pub mod about {
    wit_bindgen::generate!({
        path: "../wit/v1",
        inline: "package rectool:sdk-about; world description { export rectool:plugin/about@1.0.0; }",
        world: "rectool:sdk-about/description",
        pub_export_macro: true,
        generate_all,
        generate_unused_types: true,
        additional_derives: [PartialEq],
    });
}

pub mod transform {
    wit_bindgen::generate!({
        path: "../wit/v1",
        inline: "package rectool:sdk-transform; world transform-kind { export rectool:plugin/transform@1.0.0; }",
        world: "rectool:sdk-transform/transform-kind",
        pub_export_macro: true,
        with: { "rectool:plugin/types@1.0.0": crate::wit::about::rectool::plugin::types },
    });
}

pub mod loss {
    wit_bindgen::generate!({
        path: "../wit/v1",
        inline: "package rectool:sdk-loss; world loss-kind { export rectool:plugin/objective@1.0.0; }",
        world: "rectool:sdk-loss/loss-kind",
        pub_export_macro: true,
        with: { "rectool:plugin/types@1.0.0": crate::wit::about::rectool::plugin::types },
    });
}

pub mod sampler {
    wit_bindgen::generate!({
        path: "../wit/v1",
        inline: "package rectool:sdk-sampler; world sampler-kind { export rectool:plugin/sampler@1.0.0; }",
        world: "rectool:sdk-sampler/sampler-kind",
        pub_export_macro: true,
        additional_derives: [PartialEq],
        with: { "rectool:plugin/types@1.0.0": crate::wit::about::rectool::plugin::types },
    });
}

pub use about::rectool::plugin::types;
