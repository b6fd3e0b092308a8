//! Samplers: what they get, what they may return.

use rectool_base::{ItemStatistics, Samples};

use super::guest::Guest;
use super::*;
use crate::{Kind, Parameters, cases, check};

/// Draws item 5 or 7, each half of the time, by a bit of a hash of seed and position.
fn coin() -> Guest {
    Guest::new(Kind::Sampler)
        .work(
            "(local $all i32) (local $at i32) (local $z i64) (local $ids i32) (local $logs i32)
             (local.set $all (i32.mul (local.get 1) (local.get 2)))
             (local.set $ids (call $allocate (i32.mul (local.get $all) (i32.const 8))))
             (local.set $logs (call $allocate (i32.mul (local.get $all) (i32.const 4))))
             (local.set $z (local.get 3))
             (block $done (loop $next
               (br_if $done (i32.ge_u (local.get $at) (local.get $all)))
               (local.set $z (i64.add (i64.mul (local.get $z) (i64.const 6364136223846793005))
                 (i64.const 1442695040888963407)))
               (i64.store (i32.add (local.get $ids) (i32.shl (local.get $at) (i32.const 3)))
                 (i64.add (i64.const 5) (i64.shl (i64.shr_u (local.get $z) (i64.const 63)) (i64.const 1))))
               (f32.store (i32.add (local.get $logs) (i32.shl (local.get $at) (i32.const 2)))
                 (f32.const -0.6931472))
               (local.set $at (i32.add (local.get $at) (i32.const 1))) (br $next)))
             (i32.store (i32.const 304) (local.get $ids)) (i32.store (i32.const 308) (local.get $all))
             (i32.store (i32.const 312) (local.get $logs)) (i32.store (i32.const 316) (local.get $all))
             (global.set $free (i32.const 4096))
             (i32.const 300)",
        )
        .more("(func $allocate (param $size i32) (result i32)
            (local $at i32)
            (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
            (global.set $free (i32.add (local.get $at) (local.get $size)))
            (block $enough (loop $grow
              (br_if $enough (i32.le_u (global.get $free) (i32.shl (memory.size) (i32.const 16))))
              (if (i32.eq (i32.const -1) (memory.grow (i32.const 1))) (then (unreachable)))
              (br $grow)))
            (local.get $at))")
}

fn items() -> ItemStatistics {
    ItemStatistics { ids: vec![5, 7], counts: vec![1, 1], last_rows: vec![0, 1], scores: vec![] }
}

fn sample(text: String, positives: &[i64], count: usize) -> Result<Samples, String> {
    let plugin = host().load_bytes("sampler", text.into()).unwrap();
    let sampler = plugin.sampler(&Parameters::new(), &items()).unwrap();
    sampler.sample(positives, count, 3, place(positives.len())).map_err(|fault| fault.message)
}

#[test]
fn samples_come_back() {
    let found = sample(coin().text(), &[5, 7], 3).unwrap();
    assert_eq!((found.ids.len(), found.log_probabilities.len()), (6, 6));
    assert_eq!(sample(coin().text(), &[5, 7], 3).unwrap(), found);
}

#[test]
fn broken_samples_are_found() {
    let text = coin().text();
    let foreign = text.replace("(i64.const 5)", "(i64.const 6)");
    let found = sample(foreign, &[5, 5], 1).unwrap_err();
    assert!(found.ends_with("for row 0 of the call, which is not an item"), "{found}");
    for (value, shown) in [("0.5", "0.5"), ("nan", "NaN"), ("-inf", "-inf")] {
        let wrong = text.replace("(f32.const -0.6931472)", &format!("(f32.const {value})"));
        let expected = format!(
            "row 0 of the call: log-probability {shown}, expected a finite number of at most 0"
        );
        assert_eq!(sample(wrong, &[5], 1).unwrap_err(), expected);
    }
    let empty = Guest::new(Kind::Sampler).text();
    let expected = "returned 0 ids, expected 6 (3 for each of 2 rows)";
    assert_eq!(sample(empty, &[5, 7], 3).unwrap_err(), expected);
}

const CASES: &str = r#"
{"name": "a coin", "items": {"ids": [5, 7], "counts": [1, 1], "last_rows": [0, 1]}, "positives": [5, 7], "count": 2, "seed": 1, "log_probabilities": [-0.6931472, -0.6931472, -0.6931472, -0.6931472]}
"#;

#[test]
fn true_probabilities_pass_and_false_ones_do_not() {
    let cases = cases::read(Kind::Sampler, CASES).unwrap();
    let plugin = host().load_bytes("sampler", coin().text().into()).unwrap();
    for verdict in check::check(&plugin, &cases) {
        assert_eq!(verdict.outcome, check::Outcome::Passed, "{}", verdict.name);
    }
    let text = coin().text().replace("(f32.const -0.6931472)", "(f32.const -0.8)");
    let plugin = host().load_bytes("sampler", text.into()).unwrap();
    let verdicts = check::check(&plugin, &cases);
    let verdict = verdicts.iter().find(|verdict| verdict.name == "probabilities are true").unwrap();
    let check::Outcome::Failed(what) = &verdict.outcome else { panic!("{verdict:?}") };
    assert!(what.contains("its log-probability -0.8 says 17973"), "{what}");
}
