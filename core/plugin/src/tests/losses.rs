//! Losses: what they get, what they may return.

use rectool_base::{Labels, LossInput, Prediction, Schema};

use super::guest::Guest;
use super::*;
use crate::{Kind, Parameters, cases, check};

/// Half the squared logit, whatever the label: gradient = logit. The results reuse the logits'
/// memory for the gradients and the labels' for the losses.
fn squares() -> Guest {
    Guest::new(Kind::Loss).work(
        "(local $at i32)
         (block $done (loop $next
           (br_if $done (i32.ge_u (local.get $at) (i32.shl (local.get 1) (i32.const 2))))
           (f32.store (i32.add (local.get 2) (local.get $at)) (f32.mul (f32.const 0.5) (f32.mul
             (f32.load (i32.add (local.get 0) (local.get $at)))
             (f32.load (i32.add (local.get 0) (local.get $at))))))
           (local.set $at (i32.add (local.get $at) (i32.const 4))) (br $next)))
         (i32.store (i32.const 304) (local.get 2)) (i32.store (i32.const 308) (local.get 3))
         (i32.store (i32.const 312) (local.get 0)) (i32.store (i32.const 316) (local.get 1))
         (i32.const 300)",
    )
}

fn evaluate(guest: &Guest, logits: &[f32]) -> Result<(Vec<f32>, Vec<f32>), String> {
    let plugin = host().load_bytes("loss", guest.text().into()).unwrap();
    let loss =
        plugin.loss(&Parameters::new(), &Schema::default()).map_err(|fault| fault.to_string())?;
    assert_eq!(
        (loss.demands().prediction, loss.demands().labels),
        (Prediction::Logit, Labels::Binary)
    );
    let rows = logits.len();
    let (mut losses, mut gradients) = (vec![9.0; rows], vec![9.0; rows]);
    let labels = vec![0.0; rows];
    let place = place(rows);
    let input = LossInput { place, logits, labels: &labels, weights: &[], columns: &[] };
    match loss.evaluate(input, &mut losses, &mut gradients) {
        Ok(()) => Ok((losses, gradients)),
        Err(fault) => {
            // What was there before is untouched.
            assert!(losses.iter().chain(&gradients).all(|value| *value == 9.0));
            Err(fault.message)
        }
    }
}

#[test]
fn losses_and_gradients_come_back() {
    assert_eq!(evaluate(&squares(), &[2.0, -4.0]).unwrap(), (vec![2.0, 8.0], vec![2.0, -4.0]));
    assert_eq!(evaluate(&squares(), &[]).unwrap(), (vec![], vec![]));
}

#[test]
fn broken_results_name_the_row() {
    let found = evaluate(&squares(), &[1.0, f32::NAN]).unwrap_err();
    assert_eq!(found, "row 101 of the batch: one of its losses is NaN");
    let gradient = squares().words(1024, &[f32::INFINITY.to_bits(); 2]).work(
        "(i32.store (i32.const 304) (local.get 2)) (i32.store (i32.const 308) (local.get 3))
         (i32.store (i32.const 312) (i32.const 1024)) (i32.store (i32.const 316) (local.get 1))
         (i32.const 300)",
    );
    let found = evaluate(&gradient, &[1.0, 2.0]).unwrap_err();
    assert_eq!(found, "row 100 of the batch: one of its gradients is inf");
    let short = Guest::new(Kind::Loss);
    assert_eq!(evaluate(&short, &[1.0]).unwrap_err(), "returned 0 losses, expected 1");
}

#[test]
fn demanded_columns_have_to_be_there() {
    // `demands` with one column, `usr`: prediction, labels, the list at 400 of (480, 3).
    let guest = squares()
        .words(320, &[0, 0, 400, 1])
        .words(400, &[480, 3])
        .more("(data (i32.const 480) \"usr\")")
        .configure("(i32.const 320)");
    let plugin = host().load_bytes("loss", guest.text().into()).unwrap();
    let schema =
        |name| Schema::new(vec![ColumnSchema::plain(name, ColumnKind::I64 { width: 1 })]).unwrap();
    let fault = plugin.loss(&Parameters::new(), &schema("user")).err().unwrap();
    assert_eq!(fault.message, "wants column `usr`, which there is not");
    assert_eq!(fault.hint.unwrap(), "did you mean `user`?");
    let loss = plugin.loss(&Parameters::new(), &schema("usr")).unwrap();
    assert_eq!(loss.demands().columns, ["usr"]);
}

const CASES: &str = r#"
{"name": "two rows", "logits": [2, -4], "labels": [0, 1], "losses": [2, 8], "gradients": [2, -4]}
"#;

#[test]
fn good_losses_pass_their_check() {
    let plugin = host().load_bytes("loss", squares().text().into()).unwrap();
    let cases = cases::read(Kind::Loss, CASES).unwrap();
    for verdict in check::check(&plugin, &cases) {
        // The grid has weights, which this loss leaves out; both results leave them out alike.
        assert_eq!(verdict.outcome, check::Outcome::Passed, "{}", verdict.name);
    }
}

#[test]
fn wrong_gradients_are_found() {
    let text = squares().text().replace("(f32.const 0.5)", "(f32.const 0.6)");
    let plugin = host().load_bytes("loss", text.into()).unwrap();
    let cases = cases::read(Kind::Loss, CASES).unwrap();
    let verdicts = check::check(&plugin, &cases);
    let outcome =
        |name: &str| &verdicts.iter().find(|verdict| verdict.name == name).unwrap().outcome;
    let check::Outcome::Failed(what) = outcome("gradients of the cases") else { panic!() };
    let expected = "inputs of case `two rows`: row 0 (logit 2, label 0): the gradient is 2.000000, \
                    the losses around it rise by 2.4";
    assert!(what.starts_with(expected), "{what}");
    let check::Outcome::Failed(what) = outcome("case `two rows`") else { panic!() };
    assert!(what.starts_with("losses: value 0 is 2.4"), "{what}");
}
