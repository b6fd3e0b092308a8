//! Guests that do what they must not: each ends in its own words, in time, and nothing else suffers.

use std::time::{Duration, Instant};

use rectool_base::{Column, ColumnKind, ColumnSchema, PluginFault, TransformError};

use super::guest::Guest;
use super::*;
use crate::{Kind, Limits, Parameters, PluginError};

const DEADLINE: Duration = Duration::from_millis(200);

fn strict() -> Host {
    let limits = Limits {
        deadline: DEADLINE,
        memory_bytes_max: 64 << 20,
        output_bytes_max: 8 << 20,
        ..Limits::default()
    };
    Host::new(HostOptions { limits, ..HostOptions::default() }).unwrap()
}

fn transform() -> Guest {
    Guest::new(Kind::Transform)
}

/// Loads a transform and applies it to two rows of `dense`, f32[2].
fn apply(guest: &Guest) -> PluginFault {
    let plugin = strict().load_bytes("hostile", guest.text().into()).unwrap();
    let transform = plugin.transform(&Parameters::new()).unwrap();
    let (schema, column) = floats("dense", 2, &[1.0, 2.0, 3.0, 4.0]);
    let start = Instant::now();
    let error = transform.apply(&[schema], vec![column], place(2)).unwrap_err();
    // A busy machine may leave the ticker waiting: the bound only tells a stop from a hang.
    assert!(start.elapsed() < DEADLINE + Duration::from_secs(5), "{:?}", start.elapsed());
    let TransformError::Plugin(fault) = error else { panic!("{error}") };
    assert_eq!((fault.kind, fault.plugin.as_str()), ("transform", "guest 1.0.0"));
    fault
}

/// The message of a call of `apply`, whose place is checked.
fn message(guest: &Guest) -> String {
    let fault = apply(guest);
    assert_eq!(fault.place, Some(place(2)));
    fault.message
}

#[test]
fn endless_loops_are_stopped() {
    let endless = "(loop $again (br $again)) (unreachable)";
    let expected = "ran longer than 200ms, stopped";
    let fault = apply(&transform().work(endless));
    assert_eq!(fault.message, expected);
    let text = fault.to_string();
    let shown = "transform plugin `guest 1.0.0` (epoch 1, step 2, rows 100 to 102): ran longer";
    assert!(text.starts_with(shown), "{text}");
    assert_eq!(apply(&transform().configure(endless)).message, expected);
    let start = Instant::now();
    let guest = transform().start("(loop $again (br $again))");
    let error = strict().load_bytes("hostile", guest.text().into()).unwrap_err();
    assert_eq!(error.to_string(), format!("transform plugin `hostile`: {expected}"));
    assert!(start.elapsed() < DEADLINE + Duration::from_secs(5));
}

#[test]
fn memory_is_limited() {
    let bomb = "(loop $again
        (if (i32.eq (i32.const -1) (memory.grow (i32.const 16))) (then (unreachable)))
        (br $again)) (unreachable)";
    let expected = "asked for more than 64 MiB of memory";
    assert_eq!(message(&transform().work(bomb)), expected);
    let error =
        strict().load_bytes("hostile", transform().pages(20_000).text().into()).unwrap_err();
    assert_eq!(error.to_string(), format!("transform plugin `hostile`: {expected}"));
    // A guest that asks and takes no for an answer goes on.
    let modest = "(drop (memory.grow (i32.const 20000))) (drop (i32.div_u (i32.const 1) (i32.const 1)))
        (i32.store (i32.const 132) (local.get 1)) (i32.store (i32.const 136) (local.get 2)) (i32.const 128)";
    let plugin = strict().load_bytes("modest", transform().work(modest).text().into()).unwrap();
    let (schema, column) = floats("dense", 1, &[1.0]);
    let transform = plugin.transform(&Parameters::new()).unwrap();
    assert_eq!(transform.apply(&[schema], vec![column.clone()], place(1)).unwrap(), [column]);
}

#[test]
fn tables_are_limited() {
    let guest = transform()
        .work(
            "(loop $again
            (if (i32.eq (i32.const -1) (table.grow (ref.null func) (i32.const 100000)))
              (then (unreachable)))
            (br $again)) (unreachable)",
        )
        .more("(table 1 funcref)");
    assert_eq!(message(&guest), "asked for more than 1000000 table elements");
}

#[test]
fn memory_comes_back() {
    let guest = transform().work(
        "(drop (memory.grow (i32.const 900)))
        (memory.fill (i32.const 65536) (i32.const 1) (i32.const 58000000)) (unreachable)",
    );
    let plugin = strict().load_bytes("hostile", guest.text().into()).unwrap();
    let transform = plugin.transform(&Parameters::new()).unwrap();
    let before = resident_bytes();
    for _ in 0..20 {
        let (schema, column) = floats("dense", 1, &[1.0]);
        transform.apply(&[schema], vec![column], place(1)).unwrap_err();
    }
    // One instance that stayed would hold 55 MiB.
    let kept = resident_bytes().saturating_sub(before);
    assert!(kept < 400 << 20, "{kept} bytes of 20 failed instances stayed");
    let plugin_transform = plugin.plugin_transform(&Parameters::new()).unwrap();
    let (schema, column) = floats("dense", 1, &[1.0]);
    plugin_transform.run(&[schema], &[column], place(1)).unwrap_err();
    assert_eq!(plugin_transform.waiting(), (0, 0));
}

/// Memory of this process, all its threads and tests.
fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

#[test]
fn deep_recursion_is_stopped() {
    let expected = "used more than 512 KiB of stack: it recurses too deeply";
    let endless = transform().work("(call $down (i32.const 0))").more(
        "(func $down (param i32) (result i32)
           (i32.add (call $down (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))",
    );
    assert_eq!(message(&endless), expected);
    let deep = transform().work("(call $down (i32.const 100000))").more(
        "(func $down (param i32) (result i32)
           (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 0))
             (else (i32.add (i32.const 1) (call $down (i32.sub (local.get 0) (i32.const 1)))))))",
    );
    assert_eq!(message(&deep), expected);
}

#[test]
fn traps_are_told_apart() {
    for (body, expected) in [
        ("(unreachable)", "stopped itself: a panic, abort or failed assertion"),
        ("(i32.div_u (i32.const 1) (i32.const 0))", "divided an integer by zero"),
        ("(i32.div_s (i32.const -2147483648) (i32.const -1))", "an integer operation overflowed"),
        ("(i32.load (i32.const -4))", "read or wrote outside its memory"),
        (
            "(i32.trunc_f32_s (f32.const nan))",
            "converted a NaN or a number out of range to an integer",
        ),
        (
            "(call_indirect (result i32) (i32.const 9))",
            "called a function through a broken pointer",
        ),
    ] {
        assert_eq!(message(&transform().work(body).more("(table 1 funcref)")), expected);
    }
}

#[test]
fn a_trap_shows_where_it_was() {
    let guest = transform()
        .work("(call $outer)")
        .more("(func $outer (result i32) (call $_ZN3foo3bar17h0123456789abcdefE))")
        .more("(func $_ZN3foo3bar17h0123456789abcdefE (result i32) (unreachable))");
    let hint = apply(&guest).hint.unwrap();
    let lines: Vec<&str> =
        hint.lines().map(|line| line.split(" at ").next().unwrap().trim()).collect();
    assert_eq!(lines[..3], ["Wasm backtrace, innermost first:", "foo::bar", "outer"], "{hint}");
}

#[test]
fn guests_fault_in_their_own_words() {
    // A `result` with an error: its message at 512, row 1.
    let guest = transform()
        .words(140, &[0])
        .words(128, &[1, 512, 25, 1, 1])
        .more("(data (i32.const 512) \"\\1b[31mcolumn `a`\\nis empty\\00\")")
        .work("(i32.const 128)");
    // `configure` stores its own result there, so it needs a place of its own.
    let guest = guest.configure(
        "(i32.store (i32.const 300) (i32.const 0)) (i32.store (i32.const 304) (local.get 2))
         (i32.store (i32.const 308) (local.get 3)) (i32.const 300)",
    );
    let message = message(&guest);
    assert_eq!(message, "row 101 of the batch: \\u{1b}[31mcolumn `a` is empty\\u{0}");
}

/// A transform that returns, for `apply`, these words of memory from 512 on as its columns.
fn returning(kind: ColumnKind, count: u32, words: &[u32]) -> Guest {
    let (element, shape, width) = match kind {
        ColumnKind::F32 { width } => (0, 0, width as u32),
        ColumnKind::I64 { width } => (1, 0, width as u32),
        ColumnKind::Text { width } => (2, 0, width as u32),
        ColumnKind::F32List => (0, 1, 0),
        ColumnKind::I64List => (1, 1, 0),
        _ => (2, 1, 0),
    };
    // A column type: name, element, shape, no members.
    transform()
        .words(400, &[480, 3, element, shape, width, 0, 0])
        .more("(data (i32.const 480) \"out\")")
        .words(300, &[0, 400, 1])
        .configure("(i32.const 300)")
        .words(320, &[0, 512, count])
        .words(512, words)
        .work("(i32.const 320)")
}

#[test]
fn results_have_the_announced_shape() {
    let f32x1 = ColumnKind::F32 { width: 1 };
    let text = ColumnKind::Text { width: 1 };
    let cases: [(Guest, &str); 14] = [
        (returning(f32x1, 0, &[]), "returned 0 columns, announced 1"),
        (returning(f32x1, 1, &[1, 1024, 2]), "column `out`: returned i64 values, announced f32[1]"),
        (returning(f32x1, 1, &[0, 1024, 3]), "column `out`: 3 values, expected 2 (2 rows of 1)"),
        (returning(f32x1, 1, &[9, 0, 0]), "returned what cannot be read"),
        (
            returning(f32x1, 1, &[0, 1 << 20, 2]),
            "returned what cannot be read: list pointer/length out of bounds of memory",
        ),
        (
            returning(f32x1, 1, &[0, 1024, u32::MAX]),
            "returned what cannot be read: list pointer/length out of bounds of memory",
        ),
        (
            returning(f32x1, 1, &[0, 1026, 2]),
            "returned what cannot be read: list pointer is not aligned",
        ),
        (
            returning(ColumnKind::F32List, 1, &[3, 1024, 2, 1024, 0]),
            "column `out`: 2 offsets, expected 3 for 2 rows",
        ),
        (
            returning(ColumnKind::F32List, 1, &[3, 1024, 3, 1024, 1]).words(1024, &[0, 2, 1]),
            "column `out`: the offsets fall from 2 to 1 at row 1",
        ),
        (
            returning(ColumnKind::I64List, 1, &[4, 1024, 3, 1024, 5]).words(1024, &[0, 2, 4]),
            "column `out`: the last offset is 4, expected 5, the number of values",
        ),
        (
            returning(ColumnKind::I64List, 1, &[4, 1024, 3, 1024, 4]).words(1024, &[1, 2, 4]),
            "column `out`: the first offset is 1, expected 0",
        ),
        (
            returning(text, 1, &[2, 1024, 3, 1040, 2, 0, 0])
                .words(1024, &[0, 1, 2])
                .more("(data (i32.const 1040) \"a\\ff\")"),
            "column `out`: bytes: invalid UTF-8 in text 1, expected UTF-8",
        ),
        (
            returning(text, 1, &[2, 1024, 2, 1040, 1, 0, 0]).words(1024, &[0, 1]),
            "column `out`: 1 values, expected 2 (2 rows of 1)",
        ),
        (
            returning(text, 1, &[2, 1024, 3, 1040, 9, 0, 0]).words(1024, &[0, 1, 2]),
            "column `out`: last offset: 2, expected 9",
        ),
    ];
    for (guest, expected) in cases {
        let found = message(&guest);
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
}

#[test]
fn results_are_limited() {
    // Columns over and over, each naming the same MiB.
    let guest = transform()
        .pages(40)
        .configure(
            "(i32.store (i32.const 304) (local.get 2)) (i32.store (i32.const 308) (local.get 3))
             (i32.const 300)",
        )
        .words(320, &[0, 4096, 1000])
        .work(&format!(
            "(local $at i32) (local.set $at (i32.const 4096))
             (loop $next
               (i32.store (local.get $at) (i32.const 0))
               (i32.store offset=4 (local.get $at) (i32.const 65536))
               (i32.store offset=8 (local.get $at) (i32.const {}))
               (local.set $at (i32.add (local.get $at) (i32.const 36)))
               (br_if $next (i32.lt_u (local.get $at) (i32.const 65000))))
             (i32.const 320)",
            1 << 18
        ));
    assert_eq!(message(&guest), "returned more than 8 MiB");
}

#[test]
fn announced_columns_are_checked() {
    let announced = |types: &[u32], count: u32| {
        let guest = transform()
            .more("(data (i32.const 480) \"out\\1b\")")
            .words(300, &[0, 400, count])
            .words(400, types)
            .configure("(i32.const 300)");
        let fault = apply(&guest);
        assert_eq!(fault.place, None);
        fault.message
    };
    let f32s = |width| [480, 3, 0, 0, width, 0, 0];
    assert_eq!(announced(&f32s(1), 0), "announced 0 columns, expected 1 to 4096");
    let width = "announced a broken schema: column `out`: 0 values per row, expected 1 to 65536";
    assert_eq!(announced(&f32s(0), 1), width);
    assert_eq!(announced(&f32s(1 << 31), 1), width.replace(": 0", ": 2147483648"));
    let twice = [f32s(1), f32s(1)].concat();
    assert_eq!(announced(&twice, 2), "announced a broken schema: column `out` appears twice");
    let name = "announced the column name `out\\u{1b}`, expected 1 to 128 printable characters";
    assert_eq!(announced(&[480, 4, 0, 0, 1, 0, 0], 1), name);
    assert!(
        announced(&[480, 3, 0, 0, 1, 1 << 20, 2], 1).starts_with("returned what cannot be read")
    );
}

#[test]
fn bad_allocators_are_found() {
    let text = transform().text().replace("(local.get $at))\n", "(i32.const -16))\n");
    let plugin = strict().load_bytes("hostile", text.into()).unwrap();
    let transform = plugin.transform(&Parameters::new()).unwrap();
    let schema = ColumnSchema::plain("dense", ColumnKind::F32 { width: 1 });
    let error = transform.outputs(&[schema]).unwrap_err().to_string();
    assert!(error.contains("returned what cannot be read: realloc return"), "{error}");
}

#[test]
fn other_instances_go_on() {
    // Fails for a single row and passes everything else.
    let guest = transform().work(
        "(if (i32.eq (local.get 0) (i32.const 1)) (then (unreachable)))
         (i32.store (i32.const 132) (local.get 1)) (i32.store (i32.const 136) (local.get 2))
         (i32.const 128)",
    );
    let plugin = strict().load_bytes("moody", guest.text().into()).unwrap();
    let transform = plugin.transform(&Parameters::new()).unwrap();
    for rows in [2, 1, 3, 1, 1, 4] {
        let (schema, column) = floats("dense", 1, &vec![0.5; rows]);
        let result = transform.apply(&[schema], vec![column.clone()], place(rows));
        match rows {
            1 => assert!(result.is_err()),
            _ => assert_eq!(result.unwrap(), [column] as [Column; 1]),
        }
    }
}

#[test]
fn plugins_are_given_nothing() {
    let import = |text: &str| {
        let error = strict().load_bytes("greedy", text.into()).unwrap_err();
        assert!(matches!(error, PluginError::Import { .. }), "{error}");
        error.to_string()
    };
    let shown = "plugin `greedy` imports `env.now`; plugins are given nothing to import";
    assert_eq!(import(r#"(module (import "env" "now" (func)))"#), shown);
    let component = r#"(component (import "wasi:clocks/wall-clock@0.2.0" (instance)))"#;
    assert_eq!(import(component), shown.replace("env.now", "wasi:clocks/wall-clock@0.2.0"));
}
