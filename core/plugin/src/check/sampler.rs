//! Checks of samplers, above all that what they draw is as likely as they say.

use std::collections::BTreeMap;

use rectool_base::Samples;

use super::{Report, VALUES_MANY, each, may_refuse, must_not_fail};
use crate::cases::{Arguments, Case, SamplerArguments, place};
use crate::fault::Failure;
use crate::plugin::Plugin;
use crate::sampler::PluginSampler;

/// Draws from which frequencies are counted.
const DRAWS: usize = 40_000;
/// Standard deviations by which a frequency may be off: by chance once in a billion.
const DEVIATIONS_MAX: f64 = 6.0;

pub(super) fn check(plugin: &Plugin, cases: &[&Case], report: &mut Report) {
    let over = |check: fn(&PluginSampler, &SamplerArguments) -> Result<(), String>| {
        each(cases, |case| {
            let Arguments::Sampler(given) = &case.arguments else {
                unreachable!("the cases were read for a sampler")
            };
            let sampler = plugin.plugin_sampler(&case.parameters, &given.items);
            check(&sampler.map_err(|fault| fault.message)?, given)
        })
    };
    report.run("probabilities are true", || over(frequencies));
    report.run("no rows", || {
        over(|sampler, given| must_not_fail(run(sampler, &[], given.count, 1)).map(drop))
    });
    report.run("one row", || {
        over(|sampler, given| must_not_fail(run(sampler, first(given), 1, 2)).map(drop))
    });
    report.run("very many samples", || {
        over(|sampler, given| {
            let positives = first(given).repeat(VALUES_MANY / 64);
            must_not_fail(run(sampler, &positives, 64, 3)).map(drop)
        })
    });
    report.run("positives that are no items", || {
        over(|sampler, _| may_refuse(run(sampler, &[-1, i64::MIN, i64::MAX], 2, 4)))
    });
}

fn first(given: &SamplerArguments) -> &[i64] {
    &given.positives[..given.positives.len().min(1)]
}

fn run(
    sampler: &PluginSampler,
    positives: &[i64],
    count: usize,
    seed: u64,
) -> Result<Samples, Failure> {
    sampler.run(positives, count, seed, place(positives.len()))
}

/// Draws one item for each of many equal rows and counts.
fn frequencies(sampler: &PluginSampler, given: &SamplerArguments) -> Result<(), String> {
    let positives = first(given).repeat(DRAWS);
    let samples = must_not_fail(run(sampler, &positives, 1, given.seed))?;
    let mut found: BTreeMap<i64, (usize, f32)> = BTreeMap::new();
    for (id, log_probability) in samples.ids.iter().zip(&samples.log_probabilities) {
        let (draws, first) = found.entry(*id).or_insert((0, *log_probability));
        *draws += 1;
        if (*first - log_probability).abs() > 1e-4 {
            return Err(format!(
                "item {id} was drawn with log-probability {first} and, for an equal row, {log_probability}"
            ));
        }
    }
    for (id, (draws, log_probability)) in found {
        let probability = f64::from(log_probability).exp().min(1.0);
        let draws_expected = probability * positives.len() as f64;
        let deviation = (draws_expected * (1.0 - probability)).sqrt();
        // One draw of slack, for probabilities so small that counts are not normal.
        if (draws as f64 - draws_expected).abs() > DEVIATIONS_MAX * deviation + 1.0 {
            let all = positives.len();
            return Err(format!(
                "item {id} came {draws} times in {all}, its log-probability {log_probability} \
                 says {draws_expected:.0}"
            ));
        }
    }
    Ok(())
}
