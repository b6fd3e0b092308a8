//! What `rectool plugin check` finds out about a plugin: golden cases, determinism, independent rows,
//! gradients, probabilities, and batches that are empty, huge or full of extremes.

mod extremes;
mod loss;
mod sampler;
mod transform;

use std::time::Instant;

use rectool_base::PluginFault;

use crate::cases::{Case, Results};
use crate::contract::Kind;
use crate::fault::Failure;
use crate::plugin::Plugin;

/// Values of a huge batch: as many as a batch of 8,192 rows of 32 columns. An interpreted guest
/// takes seconds for them, and still has to keep its deadline.
const VALUES_MANY: usize = 1 << 18;

/// What a check came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should be.
    Passed,
    /// What is wrong.
    Failed(String),
    /// Why it could not be checked.
    Skipped(String),
}

impl From<Result<(), String>> for Outcome {
    fn from(result: Result<(), String>) -> Self {
        match result {
            Ok(()) => Self::Passed,
            Err(what) => Self::Failed(what),
        }
    }
}

/// A check and what it came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What was checked.
    pub name: String,
    /// What it came to.
    pub outcome: Outcome,
    /// How long it took.
    pub millis: u64,
}

/// Checks a plugin. The golden cases also supply parameters and typical inputs of the other checks:
/// without any, only that it loads is known.
///
/// Nothing is printed; a check that fails does not keep the others from being made.
pub fn check(plugin: &Plugin, cases: &[Case]) -> Vec<Verdict> {
    let mut report = Report::default();
    if cases.is_empty() {
        let why = "there are no golden cases (`cases.jsonl`)".to_owned();
        report.run("golden cases", || Outcome::Skipped(why));
    }
    for case in cases {
        report.run(&format!("case `{}`", case.name), || case.replay(plugin).into());
    }
    let good: Vec<&Case> = cases.iter().filter(|case| !case.expects_error()).collect();
    if good.is_empty() {
        return report.verdicts;
    }
    report.run("same results again", || each(&good, |case| again(plugin, case)));
    match plugin.kind() {
        Kind::Transform => transform::check(plugin, &good, &mut report),
        Kind::Loss => loss::check(plugin, &good, &mut report),
        Kind::Sampler => sampler::check(plugin, &good, &mut report),
    }
    report.verdicts
}

#[derive(Default)]
struct Report {
    verdicts: Vec<Verdict>,
}

impl Report {
    fn run(&mut self, name: &str, check: impl FnOnce() -> Outcome) {
        let start = Instant::now();
        let outcome = check();
        let millis = start.elapsed().as_millis() as u64;
        self.verdicts.push(Verdict { name: name.to_owned(), outcome, millis });
    }
}

/// One check over all cases: the first failure, with the case it was found in.
fn each(cases: &[&Case], check: impl Fn(&Case) -> Result<(), String>) -> Outcome {
    let failed = |case: &&Case| check(case).err().map(|what| (case.name.clone(), what));
    match cases.iter().find_map(failed) {
        Some((name, what)) => Outcome::Failed(format!("inputs of case `{name}`: {what}")),
        None => Outcome::Passed,
    }
}

/// That a case gives the same bytes in an instance that has run it before, and in another one.
fn again(plugin: &Plugin, case: &Case) -> Result<(), String> {
    let run = || {
        let (one, another) = (case.prepared(plugin)?, case.prepared(plugin)?);
        Ok((one()?, one()?, another()?))
    };
    let (first, again, other) = run().map_err(|fault: PluginFault| fault.message)?;
    if !same(&first, &again) {
        return Err("gave other results when it was called again".to_owned());
    }
    if !same(&first, &other) {
        return Err("two instances gave different results".to_owned());
    }
    Ok(())
}

fn same(first: &Results, second: &Results) -> bool {
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    match (first, second) {
        (Results::Columns(first), Results::Columns(second)) => {
            first.schemas == second.schemas
                && transform::same_columns(&first.columns, &second.columns)
        }
        (
            Results::Losses { losses, gradients },
            Results::Losses { losses: other_losses, gradients: other_gradients },
        ) => bits(losses) == bits(other_losses) && bits(gradients) == bits(other_gradients),
        (Results::Samples(first), Results::Samples(second)) => {
            first.ids == second.ids
                && bits(&first.log_probabilities) == bits(&second.log_probabilities)
        }
        _ => false,
    }
}

/// Unusual input may be refused, but not end in a trap or a broken result.
fn may_refuse<T>(result: Result<T, Failure>) -> Result<(), String> {
    match result {
        Ok(_) | Err(Failure::Refused(_)) => Ok(()),
        Err(Failure::Broken(fault)) => Err(fault.message),
    }
}

fn must_not_fail<T>(result: Result<T, Failure>) -> Result<T, String> {
    result.map_err(|failure| failure.into_fault().message)
}
