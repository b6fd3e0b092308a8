//! Checks of losses, above all that the gradient is the derivative.

use rectool_base::{Column, Labels, Loss, LossInput, Schema};

use super::{Outcome, Report, VALUES_MANY, each, may_refuse, must_not_fail};
use crate::cases::{Arguments, Case, Columns, LossArguments, place, rows};
use crate::fault::Failure;
use crate::loss::PluginLoss;
use crate::plugin::Plugin;

/// Half the distance of a difference quotient. A power of two, so that it is exact; of this size, so
/// that neither rounding (6e-8 / step) nor curvature (step² / 6) passes 1e-4.
const STEP: f32 = 1.0 / 64.0;
/// How far a gradient may be from the quotient, up to 1 absolutely, beyond relatively.
const GRADIENT_TOLERANCE: f64 = 2e-3;
/// Rows whose gradients are checked per case: every row costs four calls.
const ROWS_MAX: usize = 64;

pub(super) fn check(plugin: &Plugin, cases: &[&Case], report: &mut Report) {
    let over = |check: fn(&PluginLoss, &LossArguments) -> Result<(), String>| {
        each(cases, |case| {
            let arguments = arguments(case);
            check(&built(plugin, case, arguments)?, arguments)
        })
    };
    report.run("gradients of the cases", || over(gradients));
    let alone = |case: &&Case| arguments(case).columns.columns.is_empty();
    report.run("gradients over the range of logits", || {
        if !cases.iter().all(alone) {
            return Outcome::Skipped("the loss looks at columns beside the labels".to_owned());
        }
        over(|loss, _| gradients(loss, &grid(loss.demands().labels)))
    });
    report.run("no rows", || over(|loss, given| sized(loss, given, 0)));
    report.run("one row", || over(|loss, given| sized(loss, given, 1)));
    report.run("very many rows", || over(|loss, given| sized(loss, given, VALUES_MANY)));
    report.run("extreme logits", || over(extreme));
}

fn arguments(case: &Case) -> &LossArguments {
    let Arguments::Loss(arguments) = &case.arguments else {
        unreachable!("the cases were read for a loss")
    };
    arguments
}

fn built(plugin: &Plugin, case: &Case, given: &LossArguments) -> Result<PluginLoss, String> {
    let schema = Schema::new(given.columns.schemas.clone()).map_err(|error| error.to_string())?;
    plugin.plugin_loss(&case.parameters, &schema).map_err(|fault| fault.message)
}

/// Losses and gradients.
fn run(loss: &PluginLoss, given: &LossArguments) -> Result<(Vec<f32>, Vec<f32>), Failure> {
    let LossArguments { logits, labels, weights, .. } = given;
    let columns: Vec<&Column> = given.demanded(&loss.demands().columns);
    let (mut losses, mut gradients) = (vec![0.0; logits.len()], vec![0.0; logits.len()]);
    let place = place(logits.len());
    let input = LossInput { place, logits, labels, weights, columns: &columns };
    loss.run(input, &mut losses, &mut gradients)?;
    Ok((losses, gradients))
}

/// Logits from -10 to 10 under every label that the loss takes, of varying weight.
fn grid(labels: Labels) -> LossArguments {
    let labels: &[f32] = match labels {
        Labels::Binary => &[0.0, 1.0],
        Labels::NonNegative => &[0.0, 1.0, 3.5],
        Labels::Any => &[-2.5, 0.0, 1.0],
        Labels::Class(_) => unreachable!("the contract of plugins has no classes"),
    };
    let points = (0..20).flat_map(|at| labels.iter().map(move |label| (at as f32 - 9.7, *label)));
    let (logits, labels): (Vec<f32>, Vec<f32>) = points.unzip();
    let weights = (0..logits.len()).map(|row| [1.0, 0.5, 2.0, 0.0][row % 4]).collect();
    LossArguments { logits, labels, weights, columns: Columns::default() }
}

/// Compares each row's gradient with the difference quotient of the sum of all losses.
fn gradients(loss: &PluginLoss, given: &LossArguments) -> Result<(), String> {
    let (_, gradients) = must_not_fail(run(loss, given))?;
    for (row, gradient) in gradients.iter().enumerate().take(ROWS_MAX) {
        let at = given.logits[row];
        let step = STEP * (at.abs() / 256.0).max(1.0);
        let quotient = |from: f32, to: f32| -> Result<f64, String> {
            let sum = |logit: f32| -> Result<f64, String> {
                let mut given = given.clone();
                given.logits[row] = logit;
                let (losses, _) = must_not_fail(run(loss, &given))?;
                Ok(losses.iter().map(|loss| f64::from(*loss)).sum())
            };
            Ok((sum(to)? - sum(from)?) / (f64::from(to) - f64::from(from)))
        };
        let (left, right) = (quotient(at - step, at)?, quotient(at, at + step)?);
        let (low, high) = (left.min(right), left.max(right));
        let gradient = f64::from(*gradient);
        let allowed = GRADIENT_TOLERANCE * gradient.abs().max(1.0);
        // Where the loss bends sharply inside the step, as a hinge does, any slope between those of
        // both sides is right.
        let bends = high - low > 50.0 * allowed;
        let expected = if bends { gradient.clamp(low, high) } else { f64::midpoint(left, right) };
        if (gradient - expected).abs() > allowed {
            let label = given.labels[row];
            return Err(format!(
                "row {row} (logit {at}, label {label}): the gradient is {gradient:.6}, the \
                 losses around it rise by {expected:.6}"
            ));
        }
    }
    Ok(())
}

fn sized(loss: &PluginLoss, given: &LossArguments, count: usize) -> Result<(), String> {
    let given = LossArguments {
        logits: rows::tiled_values(&given.logits, count),
        labels: rows::tiled_values(&given.labels, count),
        weights: rows::tiled_values(&given.weights, count),
        columns: rows::tiled_apart(&given.columns, count),
    };
    must_not_fail(run(loss, &given)).map(drop)
}

/// Logits of a training that runs away may be refused, or give infinite losses, which the host
/// reports; confident ones may not.
fn extreme(loss: &PluginLoss, given: &LossArguments) -> Result<(), String> {
    let with = |logit: f32| {
        let mut given = given.clone();
        given.logits.fill(logit);
        run(loss, &given)
    };
    for logit in [-40.0, -20.0, 0.0, 20.0, 40.0] {
        must_not_fail(with(logit)).map_err(|what| format!("logit {logit}: {what}"))?;
    }
    for logit in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN] {
        match may_refuse(with(logit)) {
            // Not finite in, not finite out: said by the host, row by row.
            Err(what) if what.starts_with("row ") => {}
            result => result.map_err(|what| format!("logit {logit}: {what}"))?,
        }
    }
    Ok(())
}
