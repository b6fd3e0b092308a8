//! What a plugin costs: to load, to instantiate, to call.

use std::hint::black_box;
use std::time::{Duration, Instant};

use rectool_base::{Column, LossInput, PluginFault, Schema};

use crate::cases::{Arguments, Case, Columns, LossArguments, SamplerArguments, place, rows};
use crate::componentize;
use crate::error::PluginError;
use crate::fault::Failure;
use crate::host::Caching;
use crate::plugin::Plugin;

/// What it takes until a plugin can be called.
#[derive(Clone, Copy, Debug)]
pub struct StartFigures {
    /// Compilation of the component.
    pub compile: Duration,
    /// Its compiled code from the cache; `None` if the host has no cache.
    pub cached: Option<Duration>,
    /// One instance, not yet configured.
    pub instantiate: Duration,
}

/// What calls cost, at the batch size asked for.
#[derive(Clone, Copy, Debug)]
pub struct CallFigures {
    /// Rows of each call.
    pub rows: usize,
    /// Values of each call: those of the input columns, the logits, or the samples drawn.
    pub values: usize,
    /// Time of a call, the median.
    pub call: Duration,
    /// Calls made.
    pub calls: usize,
    /// Linear memory of the instance, in bytes, after the calls.
    pub memory_bytes: usize,
}

impl CallFigures {
    /// Nanoseconds per row.
    pub fn ns_per_row(&self) -> f64 {
        self.call.as_nanos() as f64 / self.rows.max(1) as f64
    }

    /// Nanoseconds per value.
    pub fn ns_per_value(&self) -> f64 {
        self.call.as_nanos() as f64 / self.values.max(1) as f64
    }
}

/// Measures the start of a plugin. Compiles it once more, which takes seconds for an interpreter.
///
/// # Errors
/// If it cannot be instantiated any more, as when memory is short.
pub fn start(plugin: &Plugin) -> Result<StartFigures, PluginError> {
    let name = &plugin.description().name;
    let component = componentize::component(name, plugin.bytes())?;
    let host = &plugin.prepared().host;
    let timed = |caching| {
        let start = Instant::now();
        let compiled = host.compile(name, &component.bytes, caching)?;
        Ok::<_, PluginError>((start.elapsed(), compiled.cached))
    };
    let (compile, _) = timed(Caching::Skip)?;
    // The plugin was loaded through the cache, so it is there unless the cache is out of order.
    let (from_cache, was_cached) = timed(Caching::Use)?;
    let mut times = Vec::new();
    for _ in 0..20 {
        let start = Instant::now();
        let instance = plugin.prepared().instantiate()?;
        times.push(start.elapsed());
        drop(instance);
    }
    let cached = was_cached.then_some(from_cache);
    Ok(StartFigures { compile, cached, instantiate: median(&mut times) })
}

/// Measures calls with the inputs of a golden case, repeated to `rows` rows, for about `time`.
///
/// # Errors
/// If a call fails: choose a case that expects results.
pub fn calls(
    plugin: &Plugin,
    case: &Case,
    rows: usize,
    time: Duration,
) -> Result<CallFigures, PluginFault> {
    let figures = match &case.arguments {
        Arguments::Transform(inputs) => transform(plugin, case, &rows::tiled(inputs, rows), time),
        Arguments::Loss(given) => loss(plugin, case, given, rows, time),
        Arguments::Sampler(given) => sampler(plugin, case, given, rows, time),
    };
    figures.map_err(Failure::into_fault)
}

fn transform(
    plugin: &Plugin,
    case: &Case,
    inputs: &Columns,
    time: Duration,
) -> Result<CallFigures, Failure> {
    let transform = plugin.plugin_transform(&case.parameters)?;
    let place = place(inputs.rows());
    let work = || {
        black_box(transform.run(&inputs.schemas, &inputs.columns, place)?);
        Ok(())
    };
    let (call, calls) = repeated(time, work)?;
    let (rows, values) = (inputs.rows(), rows::values(inputs));
    Ok(CallFigures { rows, values, call, calls, memory_bytes: transform.waiting().1 })
}

fn loss(
    plugin: &Plugin,
    case: &Case,
    given: &LossArguments,
    rows: usize,
    time: Duration,
) -> Result<CallFigures, Failure> {
    let schema = Schema::new(given.columns.schemas.clone()).expect("checked when it was read");
    let loss = plugin.plugin_loss(&case.parameters, &schema)?;
    let logits = rows::tiled_values(&given.logits, rows);
    let labels = rows::tiled_values(&given.labels, rows);
    let weights = rows::tiled_values(&given.weights, rows);
    let columns = rows::tiled_apart(&given.columns, rows);
    let given = LossArguments { logits, labels, weights, columns };
    let columns: Vec<&Column> = given.demanded(&rectool_base::Loss::demands(&loss).columns);
    let (mut losses, mut gradients) = (vec![0.0; rows], vec![0.0; rows]);
    let LossArguments { logits, labels, weights, .. } = &given;
    let place = place(rows);
    let work = || {
        let input = LossInput { place, logits, labels, weights, columns: &columns };
        loss.run(input, &mut losses, &mut gradients)
    };
    let (call, calls) = repeated(time, work)?;
    Ok(CallFigures { rows, values: rows, call, calls, memory_bytes: loss.waiting().1 })
}

fn sampler(
    plugin: &Plugin,
    case: &Case,
    given: &SamplerArguments,
    rows: usize,
    time: Duration,
) -> Result<CallFigures, Failure> {
    let sampler = plugin.plugin_sampler(&case.parameters, &given.items)?;
    let positives = rows::tiled_values(&given.positives, rows);
    let (place, mut seed) = (place(rows), given.seed);
    let work = || {
        seed = seed.wrapping_add(1);
        black_box(sampler.run(&positives, given.count, seed, place)?);
        Ok(())
    };
    let (call, calls) = repeated(time, work)?;
    let values = rows * given.count;
    Ok(CallFigures { rows, values, call, calls, memory_bytes: sampler.waiting().1 })
}

/// Median time of a call, and how many were made: at least three, after one that is not counted.
fn repeated(
    time: Duration,
    mut work: impl FnMut() -> Result<(), Failure>,
) -> Result<(Duration, usize), Failure> {
    work()?;
    let start = Instant::now();
    let mut times = Vec::new();
    while times.len() < 3 || start.elapsed() < time {
        let start = Instant::now();
        work()?;
        times.push(start.elapsed());
    }
    Ok((median(&mut times), times.len()))
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
