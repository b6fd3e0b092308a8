//! Plugins with random damage: refused, stopped or run, never a crash or a hang.

use std::ops::Range;
use std::time::Duration;

use rectool_base::Stream;
use wasmparser::{Parser, Payload};

use super::guest::Guest;
use super::*;
use crate::{Kind, Limits, Parameters};

const MUTANTS: usize = 10_000;

/// Damages up to four bytes of a range: flips a bit, replaces, removes or inserts one.
fn mutant(whole: &[u8], within: &Range<usize>, random: &mut Stream) -> Vec<u8> {
    let mut mutant = whole.to_vec();
    for _ in 0..=random.below(3) {
        let at = within.start + random.below(within.len() as u64 - 4) as usize;
        match random.below(6) {
            0 | 1 => mutant[at] ^= 1 << random.below(8),
            2 | 3 => mutant[at] = random.next_u64() as u8,
            4 => drop(mutant.remove(at)),
            _ => mutant.insert(at, random.next_u64() as u8),
        }
    }
    mutant
}

/// Where a module's code is: damage there passes validation more often.
fn code(module: &[u8]) -> Range<usize> {
    let mut sections = Parser::new(0).parse_all(module).map(Result::unwrap);
    let code = |payload| match payload {
        Payload::CodeSectionStart { range, .. } => Some(range),
        _ => None,
    };
    sections.find_map(code).unwrap()
}

#[test]
fn ten_thousand_damaged_plugins() {
    let limits = Limits {
        deadline: Duration::from_millis(20),
        memory_bytes_max: 16 << 20,
        output_bytes_max: 1 << 20,
        ..Limits::default()
    };
    let host = Host::new(HostOptions { limits, ..HostOptions::default() }).unwrap();
    let echo = "(i32.store (i32.const 132) (local.get 1)) (i32.store (i32.const 136) (local.get 2))
        (i32.const 128)";
    let text = Guest::new(Kind::Transform).work(echo).text();
    let module = wat::parse_str(&text).unwrap();
    let component = crate::componentize::component("whole", &module).unwrap().bytes.into_owned();
    let (code, all) = (code(&module), 0..component.len());
    let mut random = Stream::new(7, &[]);
    let (mut refused, mut failed, mut ran) = (0, 0, 0);
    for at in 0..MUTANTS {
        let mutant = match at % 2 {
            0 => mutant(&component, &all, &mut random),
            _ => mutant(&module, &code, &mut random),
        };
        let Ok(plugin) = host.load_bytes("mutant", mutant) else {
            refused += 1;
            continue;
        };
        let (schema, column) = floats("dense", 2, &[1.0, 2.0]);
        let transform = plugin.transform(&Parameters::new());
        let result = transform.map(|transform| transform.apply(&[schema], vec![column], place(1)));
        match result {
            Ok(Ok(_)) => ran += 1,
            _ => failed += 1,
        }
    }
    // Every way was taken often enough to mean something.
    println!("{refused} refused, {failed} failed, {ran} ran");
    assert!(refused > 1_000 && failed > 100 && ran > 100, "{refused} {failed} {ran}");
}
