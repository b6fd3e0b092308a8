//! Templates of the SDKs, built as `plugin.toml` says and run on their golden cases.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Instant;

use rectool::base::Hint;
use rectool::plugin::check::{self, Outcome};
use rectool::plugin::{Host, HostOptions, Kind, Limits, Plugin, cases};
use serde::Deserialize;

use crate::harness::{Dir, root};

const PLACEHOLDER: &str = "{{name}}";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    name: String,
    kind: String,
    language: String,
    build: Option<Build>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Build {
    tool: String,
    command: Vec<String>,
    output: String,
    sources: Vec<String>,
    hint: String,
}

/// PATH with what `.ci/setup --wasm` installed in front.
fn path() -> OsString {
    let own = root().join(".wasm-tools").join("bin");
    let given = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(own).chain(std::env::split_paths(&given))).unwrap()
}

fn is_installed(tool: &str) -> bool {
    std::env::split_paths(&path()).any(|folder| folder.join(tool).is_file())
}

/// One host for all tests; its cache outlives them, as compiling Python takes many seconds.
fn host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| {
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sdk-plugins");
        Host::new(HostOptions { cache: Some(cache), limits: Limits::default() }).unwrap()
    })
}

/// The template's folder for a plugin called `name`, as `rectool plugin new` makes it.
fn instantiate(template: &Path, name: &str) -> Dir {
    let dir = Dir::new();
    for entry in std::fs::read_dir(template).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap().replace(PLACEHOLDER, name);
        dir.write(&file, &std::fs::read_to_string(&path).unwrap().replace(PLACEHOLDER, name));
    }
    dir
}

/// Builds the plugin in `dir`; `None` where its toolchain is missing.
fn build(dir: &Dir, manifest: &Manifest) -> Option<PathBuf> {
    let Some(build) = &manifest.build else {
        return Some(dir.join(&format!("{}.wat", manifest.name)));
    };
    let (program, arguments) = build.command.split_first().unwrap();
    if let Some(tool) = [&build.tool, program].into_iter().find(|tool| !is_installed(tool)) {
        println!("skipped: {} needs `{tool}`: {}", manifest.language, build.hint);
        return None;
    }
    for source in &build.sources {
        assert!(dir.join(source).is_file(), "{source} of plugin.toml is missing");
    }
    let sdk = root().join("sdk");
    let filled = |argument: &String| argument.replace("{sdk}", sdk.to_str().unwrap());
    let start = Instant::now();
    let output = Command::new(program)
        .args(arguments.iter().map(filled))
        .env("PATH", path())
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{program}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    println!("{}: built in {:.1} s", manifest.name, start.elapsed().as_secs_f64());
    Some(dir.join(&build.output))
}

/// A built plugin with its folder; `None` where its toolchain is missing.
fn built(folder: &str) -> Option<(Dir, Plugin)> {
    let template = root().join("sdk").join(folder);
    let name = format!("my-{}", folder.replace('/', "-"));
    let dir = instantiate(&template, &name);
    let text = std::fs::read_to_string(dir.join("plugin.toml")).unwrap();
    let manifest: Manifest = toml::from_str(&text).unwrap();
    let wasm = build(&dir, &manifest)?;
    let start = Instant::now();
    let plugin = host().load(&wasm).unwrap_or_else(|error| {
        panic!("{folder}: {error}\n{}", error.hint().unwrap_or_default());
    });
    println!("{name}: loaded in {:.1} s", start.elapsed().as_secs_f64());
    assert_eq!(plugin.description().name, name);
    assert_eq!(plugin.kind().name(), manifest.kind);
    Some((dir, plugin))
}

/// Replays the golden cases, and all the checks of `rectool plugin check`.
fn template_holds(folder: &str) {
    let Some((dir, plugin)) = built(folder) else { return };
    let text = std::fs::read_to_string(dir.join("cases.jsonl")).unwrap();
    let cases = cases::read(plugin.kind(), &text).unwrap();
    assert!(cases.len() >= 4, "{folder}: only {} cases", cases.len());
    for case in &cases {
        if let Err(difference) = case.replay(&plugin) {
            panic!("{folder}: case `{}`: {difference}", case.name);
        }
    }
    for verdict in check::check(&plugin, &cases) {
        if let Outcome::Failed(why) = &verdict.outcome {
            panic!("{folder}: {}: {why}", verdict.name);
        }
    }
}

macro_rules! templates {
    ($($name:ident: $folder:literal,)+) => {
        const TESTED: &[&str] = &[$($folder),+];
        $(
            #[test]
            fn $name() {
                template_holds($folder);
            }
        )+
    };
}

templates! {
    c: "c/template",
    c_loss: "c/template-loss",
    c_sampler: "c/template-sampler",
    cpp: "cpp/template",
    cpp_loss: "cpp/template-loss",
    cpp_sampler: "cpp/template-sampler",
    zig: "zig/template",
    zig_loss: "zig/template-loss",
    zig_sampler: "zig/template-sampler",
    go: "go/template",
    go_loss: "go/template-loss",
    go_sampler: "go/template-sampler",
    javascript: "js/template",
    javascript_loss: "js/template-loss",
    javascript_sampler: "js/template-sampler",
    typescript: "js/template-ts",
    python: "python/template",
    python_loss: "python/template-loss",
    python_sampler: "python/template-sampler",
    assemblyscript: "assemblyscript/template",
    assemblyscript_loss: "assemblyscript/template-loss",
    assemblyscript_sampler: "assemblyscript/template-sampler",
}

/// The same template in every language has the same cases, so that they stay comparable.
#[test]
fn templates_of_a_kind_share_their_cases() {
    let mut seen: BTreeMap<&str, BTreeMap<String, &str>> = BTreeMap::new();
    for folder in TESTED {
        let text = std::fs::read_to_string(root().join("sdk").join(folder).join("cases.jsonl"));
        // Draws differ between languages that have other random streams; all else is the same.
        let text = text.unwrap().replace(r#""ids": [5, 3, 13, 8], "#, "");
        let kind = match folder.split_once("template-") {
            Some((_, "loss")) => Kind::Loss,
            Some((_, "sampler")) => Kind::Sampler,
            _ => Kind::Transform,
        };
        seen.entry(kind.name()).or_default().insert(text, folder);
    }
    for (kind, texts) in seen {
        assert_eq!(texts.len(), 1, "{kind}: cases differ: {:?}", texts.values());
    }
}

/// Every template of the repository is tested here, but those of the Rust SDK, which has its own.
#[test]
fn every_template_is_tested() {
    let sdk = root().join("sdk");
    for language in std::fs::read_dir(&sdk).unwrap() {
        let language = language.unwrap().path();
        if !language.is_dir() || language.ends_with("rust") {
            continue;
        }
        for entry in std::fs::read_dir(&language).unwrap() {
            let path = entry.unwrap().path();
            let folder = path.strip_prefix(&sdk).unwrap().to_str().unwrap().to_owned();
            let is_template = path.join("plugin.toml").is_file();
            assert!(!is_template || TESTED.contains(&folder.as_str()), "{folder} is not tested");
        }
    }
}
