//! The plugins that come with rectool: ordinary guests, built from `plugins/`.

/// A plugin inside the program.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    /// Its name.
    pub name: &'static str,
    /// Its file.
    pub component: &'static [u8],
    /// Its golden cases.
    pub cases: &'static str,
}

/// The plugin called `name`.
pub fn find(name: &str) -> Option<&'static Builtin> {
    PLUGINS.iter().find(|builtin| builtin.name == name)
}

macro_rules! builtin {
    ($name:literal) => {
        Builtin {
            name: $name,
            component: include_bytes!(concat!("../../../plugins/", $name, "/", $name, ".wasm")),
            cases: include_str!(concat!("../../../plugins/", $name, "/cases.jsonl")),
        }
    };
}

/// All of them.
pub const PLUGINS: &[Builtin] = &[
    builtin!("bce"),
    builtin!("bpr"),
    builtin!("bucketize"),
    builtin!("clip"),
    builtin!("date-parts"),
    builtin!("focal"),
    builtin!("hard"),
    builtin!("hash"),
    builtin!("hash-cross"),
    builtin!("hinge"),
    builtin!("huber"),
    builtin!("log1p"),
    builtin!("ngrams"),
    builtin!("poisson"),
    builtin!("popularity"),
    builtin!("recent-window"),
    builtin!("sampled-softmax"),
    builtin!("standardize"),
    builtin!("truncate"),
    builtin!("uniform"),
    builtin!("vocabulary"),
    builtin!("weighted-bce"),
];
