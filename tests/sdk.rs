//! Templates of the SDKs, built as `plugin.toml` says and run on their golden cases.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Instant;

use rectool::base::Hint;
use rectool::plugin::cases::{self, Case};
use rectool::plugin::check::{self, Outcome};
use rectool::plugin::{Host, HostOptions, Kind, Limits, Plugin};
use serde::Deserialize;

use crate::harness::{Dir, root};

const PLACEHOLDER: &str = "{{name}}";

/// Where a plugin's folder holds the SDK while it is built.
const SDK: &str = ".rectool/sdk";

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
    let filled = |argument: &String| argument.replace("{sdk}", SDK);
    let kept = kept(dir, manifest);
    if kept.is_file() {
        return Some(kept);
    }
    unpack_sdk(dir, manifest);
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
    std::fs::create_dir_all(kept.parent().unwrap()).unwrap();
    // Renamed into place, so that no other test run finds half of it.
    let new = kept.with_extension(format!("{}.tmp", std::process::id()));
    std::fs::copy(dir.join(&build.output), &new).unwrap();
    std::fs::rename(&new, &kept).unwrap();
    Some(kept)
}

/// Where the result of these sources is kept: building again would give the same, and compiling
/// another build of Python's interpreter would take many seconds.
fn kept(dir: &Dir, manifest: &Manifest) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    let tools = std::fs::read_link(root().join(".wasm-tools")).unwrap_or_default();
    tools.hash(&mut hasher);
    let sdk = root().join("sdk");
    // C++ is a layer over C.
    for path in files(dir.path()).into_iter().chain(sdk_files(manifest)) {
        path.strip_prefix(dir.path())
            .or_else(|_| path.strip_prefix(&sdk))
            .unwrap()
            .hash(&mut hasher);
        std::fs::read(&path).unwrap().hash(&mut hasher);
    }
    let name = format!("{}-{:016x}.wasm", manifest.name, hasher.finish());
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("sdk-built").join(name)
}

/// What a language's build may read: the contract, its binding, and that of C, on which C++ stands.
fn sdk_files(manifest: &Manifest) -> Vec<PathBuf> {
    let language = match manifest.language.as_str() {
        "ts" => "js",
        language => language,
    };
    let folders: BTreeSet<&str> = ["wit", "c", language].into();
    folders.iter().flat_map(|folder| files(&root().join("sdk").join(folder))).collect()
}

/// Copies the SDK into the plugin's folder: builds leave files of theirs beside its sources.
fn unpack_sdk(dir: &Dir, manifest: &Manifest) {
    for path in sdk_files(manifest) {
        let name = path.strip_prefix(root().join("sdk")).unwrap().to_str().unwrap();
        if let Ok(text) = std::fs::read_to_string(&path) {
            dir.write(&format!("{SDK}/{name}"), &text);
        }
    }
}

/// All files below a folder but templates, in the order of their names.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    let is_template = |path: &PathBuf| path.join("plugin.toml").is_file();
    entries.retain(|path| !is_template(path) && !path.ends_with("__pycache__"));
    let below = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    entries.into_iter().flat_map(below).collect()
}

/// A built plugin with its folder; `None` where its toolchain is missing.
fn built(folder: &str) -> Option<(Dir, Plugin)> {
    let name = format!("my-{}", folder.replace('/', "-"));
    let dir = instantiate(&root().join("sdk").join(folder), &name);
    let manifest = manifest(&dir);
    let plugin = load(&dir, &manifest)?;
    assert_eq!(plugin.description().name, name);
    assert_eq!(plugin.kind().name(), manifest.kind);
    Some((dir, plugin))
}

fn manifest(dir: &Dir) -> Manifest {
    toml::from_str(&std::fs::read_to_string(dir.join("plugin.toml")).unwrap()).unwrap()
}

/// Builds the plugin in `dir` and loads it; `None` where its toolchain is missing.
fn load(dir: &Dir, manifest: &Manifest) -> Option<Plugin> {
    let name = &manifest.name;
    let wasm = build(dir, manifest)?;
    let start = Instant::now();
    let plugin = host().load(&wasm).unwrap_or_else(|error| {
        panic!("{name}: {error}\n{}", error.hint().unwrap_or_default());
    });
    println!("{name}: loaded in {:.1} s", start.elapsed().as_secs_f64());
    Some(plugin)
}

fn replay(plugin: &Plugin, cases: &[Case]) {
    for case in cases {
        if let Err(difference) = case.replay(plugin) {
            panic!("{}: case `{}`: {difference}", plugin.title(), case.name);
        }
    }
}

/// Replays the golden cases, and all the checks of `rectool plugin check`.
fn template_holds(folder: &str) {
    let Some((dir, plugin)) = built(folder) else { return };
    let text = std::fs::read_to_string(dir.join("cases.jsonl")).unwrap();
    let cases = cases::read(plugin.kind(), &text).unwrap();
    assert!(cases.len() >= 4, "{folder}: only {} cases", cases.len());
    replay(&plugin, &cases);
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
    wat: "wat/template",
}

/// A plugin that takes every type of column and parameter through its language's binding.
fn echo(language: &str, file: &str) {
    let folder = root().join("tests").join("echo");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let dir = instantiate(&root().join("sdk").join(language).join("template"), "echo");
    dir.write(&format!("plugin.{}", file.rsplit_once('.').unwrap().1), &read(file));
    let Some(plugin) = load(&dir, &manifest(&dir)) else { return };
    replay(&plugin, &cases::read(Kind::Transform, &read("cases.jsonl")).unwrap());

    let large_ids = cases::read(Kind::Transform, &read("large-ids.jsonl")).unwrap();
    if language == "js" {
        let refusal = large_ids[0].replay(&plugin).unwrap_err();
        assert!(refusal.contains("2^53"), "{refusal}");
    } else {
        replay(&plugin, &large_ids);
    }
}

macro_rules! echoes {
    ($($name:ident: $language:literal $file:literal,)+) => {
        $(
            #[test]
            fn $name() {
                echo($language, $file);
            }
        )+
    };
}

echoes! {
    c_echo: "c" "plugin.c",
    cpp_echo: "cpp" "plugin.cpp",
    zig_echo: "zig" "plugin.zig",
    go_echo: "go" "plugin.go",
    javascript_echo: "js" "plugin.js",
    python_echo: "python" "plugin.py",
    assemblyscript_echo: "assemblyscript" "plugin.ts",
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
