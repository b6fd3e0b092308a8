//! What is accepted as a plugin, and what is said of everything else.

use rectool_base::ItemStatistics;

use super::guest::Guest;
use super::*;
use crate::{Kind, Parameters};

fn error(text: &str) -> String {
    host().load_bytes("odd", text.into()).unwrap_err().to_string()
}

#[test]
fn other_files_are_refused() {
    let found = |what: &str| {
        format!("plugin `odd`: found {what}, expected a WebAssembly component, module or text")
    };
    assert_eq!(error(""), found("an empty file"));
    assert_eq!(error("\x7fELF\0\0"), found("a file that starts with `\\x7fELF\\x00\\x00`"));
    assert!(error("(module (func $a").starts_with("plugin `odd`: "));
    assert!(error("\0asm\u{1}\0\0\0\u{2}").starts_with("plugin `odd` is not valid: "));
    assert_eq!(
        error("\0asm\u{1}\0\0\0"),
        "plugin `odd` does not export any of `rectool:plugin/transform@1.0.0`, \
         `rectool:plugin/objective@1.0.0`, `rectool:plugin/sampler@1.0.0`"
    );
}

#[test]
fn other_contracts_are_named() {
    let guest = Guest::new(Kind::Loss).contract("2.0.0");
    assert_eq!(
        error(&guest.text()),
        "plugin `odd` implements version 2.0.0 of the plugin contract, expected 1.0.0"
    );
}

#[test]
fn a_plugin_is_one_thing_and_whole() {
    let both =
        Guest::new(Kind::Loss).more(r#"(func (export "rectool:plugin/sampler@1.0.0#configure"))"#);
    assert_eq!(
        error(&both.text()),
        "plugin `odd` is a loss and sampler at once, expected one kind"
    );
    let half = Guest::new(Kind::Sampler).text().replace("#sample", "#simple");
    let found = error(&half);
    assert!(
        found.contains("interface `rectool:plugin/sampler@1.0.0` function `sample`"),
        "{found}"
    );
    let nameless = Guest::new(Kind::Sampler).text().replace("about@1.0.0#", "abut@1.0.0#");
    assert_eq!(error(&nameless), "plugin `odd` does not export `rectool:plugin/about@1.0.0`");
    let component = "(component (instance $i) (export \"rectool:plugin/about@1.0.0\" (instance $i))
        (export \"rectool:plugin/transform@1.0.0\" (instance $i)))";
    assert_eq!(
        error(component),
        "plugin `odd` does not export `rectool:plugin/about@1.0.0#describe`"
    );
}

#[test]
fn names_and_versions_are_checked() {
    let expected = "plugin `odd` describes itself badly: its name is `Focal`, expected 1 to 128 \
                    characters: lower-case words and digits joined by `-`";
    assert_eq!(error(&Guest::new(Kind::Loss).name("Focal").text()), expected);
    let version = Guest::new(Kind::Loss).text().replace("\"1.0.0g", "\"1..00g");
    assert_eq!(
        error(&version),
        "plugin `odd` describes itself badly: its version is `1..00`, expected three numbers, such as `1.0.0`"
    );
}

#[test]
fn components_load_like_the_modules_they_were_made_of() {
    let component =
        crate::componentize::component("double", DOUBLE.as_bytes()).unwrap().bytes.into_owned();
    let plugin = host().load_bytes("double", component.clone()).unwrap();
    assert_eq!(plugin.title(), "double 1.0.0");
    assert_eq!(plugin.bytes()[..], component[..]);
    assert_eq!(plugin.sha256(), crate::host::sha256_hex(&component));
    assert_eq!(plugin.sha256().len(), 64);
}

#[test]
fn plugins_of_another_kind_say_so() {
    let plugin = host().load_bytes("double", DOUBLE.into()).unwrap();
    let fault = plugin.sampler(&Parameters::new(), &ItemStatistics::default()).err().unwrap();
    assert_eq!(
        fault.to_string(),
        "transform plugin `double 1.0.0`: is a transform, expected a sampler"
    );
}

#[test]
fn wasi_is_answered_with_nothing() {
    // Asks for what a libc's start asks for, and returns it as the values of a column.
    let guest = Guest::new(Kind::Transform)
        .more("(func $initialize (export \"_initialize\")
            (drop (call $environ_sizes (i32.const 600) (i32.const 604)))
            (drop (call $clock (i32.const 0) (i64.const 1) (i32.const 608)))
            (drop (call $random (i32.const 616) (i32.const 8)))
            (i32.store (i32.const 640) (call $open (i32.const 3) (i32.const 0) (i32.const 0)
              (i32.const 0) (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 0)))
            (i32.store (i32.const 700) (i32.const 704)) (i32.store (i32.const 704) (i32.const 5))
            (i32.store (i32.const 644) (call $write (i32.const 2) (i32.const 700) (i32.const 1) (i32.const 648))))")
        .words(400, &[480, 3, 1, 0, 6, 0, 0])
        .more("(data (i32.const 480) \"out\")")
        .words(300, &[0, 400, 1])
        .configure("(i32.const 300)")
        .words(320, &[0, 512, 1])
        .words(512, &[1, 600, 6])
        .work("(i32.const 320)");
    let import = |name: &str, parameters: &str| {
        format!(
            "(import \"wasi_snapshot_preview1\" \"{name}\" (func ${} (param {parameters}) (result i32)))",
            name.trim_end_matches("_get")
                .trim_end_matches("_time")
                .trim_start_matches("fd_")
                .trim_start_matches("path_")
        )
    };
    let imports = [
        import("environ_sizes_get", "i32 i32"),
        import("clock_time_get", "i32 i64 i32"),
        import("random_get", "i32 i32"),
        import("path_open", "i32 i32 i32 i32 i32 i64 i64 i32 i32"),
        import("fd_write", "i32 i32 i32 i32"),
    ];
    let text = guest.text().replacen("(module", &format!("(module {}", imports.concat()), 1);
    let plugin = host().load_bytes("libc", text.into()).unwrap();
    let run = || {
        let transform = plugin.transform(&Parameters::new()).unwrap();
        let (schema, column) = floats("dense", 1, &[1.0]);
        transform.apply(&[schema], vec![column], place(1)).unwrap()
    };
    let Column::I64 { values, .. } = &run()[0] else { panic!("{:?}", run()) };
    // No variables; time 1; a random number; nothing more there; opening fails with 8 (bad
    // descriptor), writing 5 bytes succeeds.
    assert_eq!((values[0], values[1]), (0, 1));
    assert_ne!(values[2], 0);
    assert_eq!((values[5] & 0xffff_ffff, values[5] >> 32), (8, 0));
    assert_eq!(run()[0], Column::I64 { width: 6, values: values.clone() });
}

#[test]
fn what_a_guest_wrote_explains_its_end() {
    // Writes "index out of range" to descriptor 2 and exits, as a panic in Go or an assert in C does.
    let guest = Guest::new(Kind::Transform)
        .words(600, &[512, 19])
        .more("(data (i32.const 512) \"index out of range\\0a\")")
        .work(
            "(drop (call $write (i32.const 2) (i32.const 600) (i32.const 1) (i32.const 640)))
             (call $exit (i32.const 2)) (i32.const 128)",
        );
    let imports = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;
    let text = guest.text().replacen("(module", imports, 1);
    let plugin = host().load_bytes("libc", text.into()).unwrap();
    let transform = plugin.transform(&Parameters::new()).unwrap();
    let (schema, column) = floats("dense", 1, &[1.0]);
    let error = transform.apply(&[schema], vec![column], place(1)).unwrap_err().to_string();
    let expected =
        "stopped itself: a panic, abort or failed assertion; it wrote: index out of range";
    assert!(error.ends_with(expected), "{error}");
    // The adapter's line to the host is for components that were wrapped here.
    let component = r#"(component (import "rectool:host/log@1.0.0" (instance)))"#;
    assert!(self::error(component).starts_with("plugin `odd` imports `rectool:host/log@1.0.0`"));
}
