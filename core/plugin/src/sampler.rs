//! A configured sampler plugin.

use std::sync::Arc;

use rectool_base::{BatchPlace, ItemStatistics, PluginFault, Sampler, Samples, mix64};
use wasmtime::component::ComponentExportIndex;

use crate::abi;
use crate::fault::Failure;
use crate::instance::{Instance, Prepared};
use crate::pool::Pool;

type Configured = Result<(), abi::Fault>;
type Sampled = Result<abi::Samples, abi::Fault>;

/// How far above 0 a logarithm of a probability may lie: the rounding of a sum of 32-bit floats.
const LOG_PROBABILITY_MAX: f32 = 1e-4;

/// Where a sampler's functions are.
#[derive(Clone)]
pub(crate) struct Functions {
    configure: ComponentExportIndex,
    sample: ComponentExportIndex,
}

impl Functions {
    pub(crate) fn find(prepared: &Prepared, instance: &mut Instance) -> Result<Self, String> {
        let id = crate::contract::interface_id("sampler");
        let functions = Self {
            configure: prepared.export(&id, "configure")?,
            sample: prepared.export(&id, "sample")?,
        };
        instance.typed::<(&[abi::Parameter], abi::Items<'_>), (Configured,)>(
            &functions.configure,
            "configure",
        )?;
        instance.typed::<(&[i64], u32, u64), (Sampled,)>(&functions.sample, "sample")?;
        Ok(functions)
    }
}

pub(crate) struct PluginSampler {
    name: String,
    prepared: Arc<Prepared>,
    functions: Functions,
    parameters: Vec<abi::Parameter>,
    items: ItemStatistics,
    known: Ids,
    pool: Pool,
}

impl PluginSampler {
    pub(crate) fn new(
        name: &str,
        prepared: Arc<Prepared>,
        functions: Functions,
        parameters: Vec<abi::Parameter>,
        items: &ItemStatistics,
    ) -> Result<Self, PluginFault> {
        let first = configured(&prepared, &functions, &parameters, items)?;
        let (items, known) = (items.clone(), Ids::new(&items.ids));
        let (name, pool) = (name.to_owned(), Pool::new(first));
        Ok(Self { name, prepared, functions, parameters, items, known, pool })
    }

    /// As [`Sampler::sample`].
    pub(crate) fn run(
        &self,
        positives: &[i64],
        count: usize,
        seed: u64,
        place: BatchPlace,
    ) -> Result<Samples, Failure> {
        let identity = &self.prepared.identity;
        self.pool.with(
            || configured(&self.prepared, &self.functions, &self.parameters, &self.items),
            |instance| {
                let arguments = (positives, count as u32, seed);
                let sampled: Sampled =
                    instance.call(&self.functions.sample, arguments, Some(place))?;
                let samples = sampled
                    .map_err(|fault| Failure::Refused(identity.told(Some(place), &fault)))?;
                self.check(&samples, positives.len(), count)
                    .map_err(|message| identity.fault(Some(place), message))?;
                let abi::Samples { ids, log_probabilities } = samples;
                Ok(Samples { ids, log_probabilities })
            },
        )
    }

    /// Instances that wait, and the bytes of their memories.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        self.pool.size()
    }

    fn check(&self, samples: &abi::Samples, rows: usize, count: usize) -> Result<(), String> {
        let expected = rows * count;
        let lengths =
            [("ids", samples.ids.len()), ("log-probabilities", samples.log_probabilities.len())];
        for (what, found) in lengths {
            if found != expected {
                return Err(format!(
                    "returned {found} {what}, expected {expected} ({count} for each of {rows} rows)"
                ));
            }
        }
        if let Some(at) = samples.ids.iter().position(|id| !self.known.contains(*id)) {
            let (id, row) = (samples.ids[at], at / count);
            return Err(format!("drew {id} for row {row} of the call, which is not an item"));
        }
        let fits = |value: &f32| value.is_finite() && *value <= LOG_PROBABILITY_MAX;
        match samples.log_probabilities.iter().position(|value| !fits(value)) {
            None => Ok(()),
            Some(at) => {
                let (found, row) = (samples.log_probabilities[at], at / count);
                let expected = "a finite number of at most 0";
                Err(format!("row {row} of the call: log-probability {found}, expected {expected}"))
            }
        }
    }
}

fn configured(
    prepared: &Arc<Prepared>,
    functions: &Functions,
    parameters: &[abi::Parameter],
    items: &ItemStatistics,
) -> Result<Instance, PluginFault> {
    let mut instance = prepared.instantiate()?;
    let ItemStatistics { ids, counts, last_rows, scores } = items;
    let items = abi::Items { ids, counts, last_rows, scores };
    let configured: Configured = instance.call(&functions.configure, (parameters, items), None)?;
    configured.map_err(|fault| prepared.identity.told(None, &fault))?;
    Ok(instance)
}

impl Sampler for PluginSampler {
    fn name(&self) -> &str {
        &self.name
    }

    fn sample(
        &self,
        positives: &[i64],
        count: usize,
        seed: u64,
        place: BatchPlace,
    ) -> Result<Samples, PluginFault> {
        self.run(positives, count, seed, place).map_err(Failure::into_fault)
    }
}

/// Whether an id is one of many, in a few nanoseconds: B · K ids are asked about per batch.
enum Ids {
    /// All from the first to the last.
    Range(i64, i64),
    /// An open-addressing table, at most half full; `None` where free.
    Table(Vec<Option<i64>>),
}

impl Ids {
    fn new(ids: &[i64]) -> Self {
        let (Some(&first), Some(&last)) = (ids.first(), ids.last()) else {
            return Self::Table(vec![None]);
        };
        if last.checked_sub(first).is_some_and(|span| span as usize == ids.len() - 1) {
            return Self::Range(first, last);
        }
        let mut table = vec![None; (ids.len() * 2).next_power_of_two()];
        let mask = table.len() - 1;
        for id in ids {
            let mut at = mix64(*id as u64) as usize & mask;
            while table[at].is_some_and(|other| other != *id) {
                at = (at + 1) & mask;
            }
            table[at] = Some(*id);
        }
        Self::Table(table)
    }

    fn contains(&self, id: i64) -> bool {
        match self {
            Self::Range(first, last) => (*first..=*last).contains(&id),
            Self::Table(table) => {
                let mask = table.len() - 1;
                let mut at = mix64(id as u64) as usize & mask;
                while let Some(other) = table[at] {
                    if other == id {
                        return true;
                    }
                    at = (at + 1) & mask;
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found() {
        for ids in [vec![], vec![7], (3..90).collect(), vec![i64::MIN, -1, 5, 9, i64::MAX]] {
            let set = Ids::new(&ids);
            for id in ids.iter().copied().chain([-2, 0, 1, 2, 6, 8, 90, 91]) {
                assert_eq!(set.contains(id), ids.contains(&id), "{id} in {ids:?}");
            }
        }
    }
}
