//! Golden cases and gradient checks, natively: what `rectool plugin check` does with the component,
//! `cargo test` does with the code. Feature `testing`.
//!
//! Every function panics with what was found and expected: they are assertions.

mod json;

use crate::{
    About, Column, ColumnType, Fault, Items, Loss, LossBatch, Parameters, Sampler, Samples,
};
use crate::{Transform, Value};
use json::Case;

/// Replays the cases of a transform, one JSON object per line.
///
/// # Panics
/// If a case fails.
pub fn replay_transform<T: Transform>(cases: &str) {
    replay(cases, |case| {
        let inputs = case.columns("inputs");
        let types: Vec<ColumnType> = inputs.iter().map(|(kind, _)| kind.clone()).collect();
        let rows = case.rows();
        let parameters = case.parameters(&T::about())?;
        let (transform, announced) = T::configure(&parameters, &types)?;
        let columns = inputs.into_iter().map(|(_, column)| column).collect();
        let made = transform.apply(rows, columns)?;
        if !case.fails() {
            let wanted = case.columns("outputs");
            let types: Vec<ColumnType> = wanted.iter().map(|(kind, _)| kind.clone()).collect();
            assert_eq!(announced, types, "case `{}`", case.name());
            assert_eq!(made.len(), wanted.len(), "case `{}`: columns made", case.name());
            for (found, (kind, wanted)) in made.iter().zip(&wanted) {
                case.compare_columns(&kind.name, found, wanted);
            }
        }
        Ok(())
    });
}

/// Replays the cases of a loss, one JSON object per line.
///
/// # Panics
/// If a case fails.
pub fn replay_loss<T: Loss>(cases: &str) {
    replay(cases, |case| {
        let (mut loss, demands) = T::configure(&case.parameters(&T::about())?)?;
        let (types, columns): (Vec<ColumnType>, Vec<Column>) =
            case.columns("columns").into_iter().unzip();
        let names: Vec<&String> = types.iter().map(|kind| &kind.name).collect();
        assert_eq!(demands.columns.iter().collect::<Vec<_>>(), names, "case `{}`", case.name());
        loss.bind(&types)?;
        let (logits, labels) = (case.floats("logits"), case.floats("labels"));
        let weights = case.floats("weights");
        let batch =
            LossBatch { logits: &logits, labels: &labels, weights: &weights, columns: &columns };
        let (losses, gradients) = crate::export::evaluate(&loss, &batch)?;
        if !case.fails() {
            case.compare("losses", &losses, &case.floats("losses"));
            case.compare("gradients", &gradients, &case.floats("gradients"));
        }
        Ok(())
    });
}

/// Replays the cases of a sampler, one JSON object per line; each is also drawn a second time by
/// another instance, which must give the same.
///
/// # Panics
/// If a case fails.
pub fn replay_sampler<T: Sampler>(cases: &str) {
    replay(cases, |case| {
        let draw = || {
            let sampler = T::configure(&case.parameters(&T::about())?, case.items())?;
            samples(&sampler, &case.ids("positives"), case.count(), case.seed())
        };
        let drawn = draw()?;
        assert_eq!(Ok(drawn.clone()), draw(), "case `{}`: drawn again", case.name());
        if case.has("ids") {
            assert_eq!(drawn.ids, case.ids("ids"), "case `{}`: ids", case.name());
        }
        if case.has("log_probabilities") {
            let wanted = case.floats("log_probabilities");
            case.compare("log probabilities", &drawn.log_probabilities, &wanted);
        }
        Ok(())
    });
}

fn replay(cases: &str, run: impl Fn(&Case) -> Result<(), Fault>) {
    let mut count = 0;
    for line in cases.lines().filter(|line| !line.trim().is_empty()) {
        count += 1;
        let case = Case::parse(line);
        match (run(&case), case.error()) {
            (Ok(()), None) => {}
            (Ok(()), Some(error)) => panic!("case `{}` should fail: {error}", case.name()),
            (Err(fault), None) => panic!("case `{}` failed: {}", case.name(), fault.message),
            (Err(fault), Some(error)) => assert!(
                fault.message.contains(error),
                "case `{}` failed with: {}; expected: {error}",
                case.name(),
                fault.message
            ),
        }
    }
    assert!(count > 0, "no cases");
}

/// What a sampler draws.
///
/// # Errors
/// Its own.
///
/// # Panics
/// If it draws more or fewer than asked for.
pub fn samples<T: Sampler>(
    sampler: &T,
    positives: &[i64],
    count: usize,
    seed: u64,
) -> Result<Samples, Fault> {
    let mut samples = Samples { ids: Vec::new(), log_probabilities: Vec::new() };
    sampler.sample(positives, count, seed, &mut samples)?;
    let wanted = positives.len() * count;
    assert_eq!((samples.ids.len(), samples.log_probabilities.len()), (wanted, wanted));
    Ok(samples)
}

/// Checks that a sampler draws each item as often as its probability says, and never the positive.
///
/// # Panics
/// If they differ by more than chance makes them.
pub fn check_frequencies<T: Sampler>(parameters: &[(&str, Value)], items: &Items, positive: i64) {
    const DRAWS: usize = 200_000;
    let parameters = Parameters::of(&T::about(), parameters).expect("parameters fit");
    let sampler = T::configure(&parameters, items.clone()).expect("configures");
    let drawn = samples(&sampler, &[positive], DRAWS, 7).expect("samples");
    let mut total = 0.0;
    for id in &items.ids {
        let places: Vec<usize> = (0..DRAWS).filter(|at| drawn.ids[*at] == *id).collect();
        assert!(*id != positive || places.is_empty(), "the positive {id} was drawn");
        let Some(first) = places.first() else { continue };
        let probability = f64::from(drawn.log_probabilities[*first]).exp();
        let found = places.len() as f64 / DRAWS as f64;
        // Five standard deviations of a binomial share.
        let margin = 5.0 * (probability * (1.0 - probability) / DRAWS as f64).sqrt() + 1e-6;
        assert!((found - probability).abs() < margin, "{id}: drawn {found}, said {probability}");
        total += probability;
    }
    assert!((total - 1.0).abs() < 1e-3, "probabilities of what was drawn add up to {total}");
}

/// Checks the gradients of a loss against differences of its values.
///
/// # Panics
/// If they differ.
pub fn check_gradients<T: Loss>(
    parameters: &[(&str, Value)],
    batch: &LossBatch<'_>,
    types: &[ColumnType],
) {
    const STEP: f32 = 4e-3;
    let parameters = Parameters::of(&T::about(), parameters).expect("parameters fit");
    let (mut loss, _) = T::configure(&parameters).expect("configures");
    loss.bind(types).expect("binds");
    let sum = |logits: &[f32]| -> f64 {
        let moved = LossBatch { logits, ..*batch };
        let (losses, _) = crate::export::evaluate(&loss, &moved).expect("evaluates");
        losses.iter().map(|loss| f64::from(*loss)).sum()
    };
    let (_, gradients) = crate::export::evaluate(&loss, batch).expect("evaluates");
    for (row, gradient) in gradients.iter().enumerate() {
        let (mut low, mut high) = (batch.logits.to_vec(), batch.logits.to_vec());
        low[row] -= STEP;
        high[row] += STEP;
        let width = f64::from(high[row]) - f64::from(low[row]);
        let slope = (sum(&high) - sum(&low)) / width;
        let margin = 2e-3 * slope.abs().max(0.1);
        let off = (slope - f64::from(*gradient)).abs();
        assert!(off < margin, "row {row}: gradient {gradient}, difference {slope}");
    }
}

/// Checks that a README tells of every parameter in a table row that starts with its name.
///
/// # Panics
/// If a parameter is missing, or the title is not the name.
pub fn check_readme(about: &About, readme: &str) {
    assert!(readme.starts_with(&format!("# {}\n", about.name)), "the title is the plugin's name");
    for parameter in &about.parameters {
        let row = format!("\n| `{}` |", parameter.declared.name);
        assert!(readme.contains(&row), "no row for `{}`", parameter.declared.name);
    }
}
