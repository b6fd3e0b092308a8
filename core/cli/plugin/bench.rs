//! `rectool plugin bench`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use rectool_plugin::bench::{CallFigures, StartFigures, calls, start};

use super::target::Target;
use crate::failure::{Exit, Failure};
use crate::output::print;

/// Speed of a training step to compare with where no run is named: a DLRM with 26 tables of width 16
/// on two cores (benches/README.md).
const SAMPLES_PER_S: f64 = 74_400.0;

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    target: Target,

    /// Golden cases, the first of which supplies inputs; by default `cases.jsonl` beside the plugin
    #[arg(long, value_name = "FILE")]
    cases: Option<PathBuf>,

    /// Rows of a batch: the case's rows are repeated
    #[arg(long, value_name = "N", default_value_t = 8_192, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    rows: u32,

    /// Time to spend on calls, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    seconds: f64,

    /// Run folder whose training speed the cost is compared with
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl BenchArgs {
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        let found = self.target.load()?;
        let cases = found.cases(self.cases.as_deref())?;
        let Some(case) = cases.iter().find(|case| !case.expects_error()) else {
            return Err(Failure::asked(
                "a bench needs inputs: a golden case that gives a result (`--cases FILE`)",
            ));
        };
        let speed = match &self.run {
            Some(folder) => samples_per_s(folder)?,
            None => SAMPLES_PER_S,
        };
        let time = Duration::from_secs_f64(self.seconds.clamp(0.01, 600.0));
        let start = start(&found.plugin).map_err(Failure::failed)?;
        let calls = calls(&found.plugin, case, self.rows as usize, time);
        let calls = calls.map_err(Failure::plugin)?;
        let figures = Figures { title: found.plugin.title(), start, calls, speed };
        print(&if self.json { figures.json() } else { figures.text() })?;
        Ok(Exit::Ok)
    }
}

/// The training speed that a run recorded.
fn samples_per_s(folder: &Path) -> Result<f64, Failure> {
    let path = folder.join("result.json");
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Failure::asked(format!("`{}`: {error}", path.display())))?;
    let result: Option<serde_json::Value> = serde_json::from_str(&text).ok();
    let speed = result.and_then(|result| result.get("samples_per_s")?.as_f64());
    speed.filter(|speed| *speed > 0.0).ok_or_else(|| {
        Failure::asked(format!(
            "`{}` holds no `samples_per_s`: the run did not train",
            path.display()
        ))
    })
}

struct Figures<'a> {
    title: &'a str,
    start: StartFigures,
    calls: CallFigures,
    speed: f64,
}

impl Figures<'_> {
    /// Part of a training step's time, were the plugin to run on the same core.
    fn share(&self) -> f64 {
        self.calls.ns_per_row() * 1e-9 * self.speed
    }

    fn text(&self) -> String {
        let Self { title, start, calls, speed } = self;
        let cached =
            start.cached.map_or("no cache".to_owned(), |cached| format!("{:.2} ms", ms(cached)));
        [
            (*title).to_owned(),
            format!("  compile      {:.1} ms", ms(start.compile)),
            format!("  from cache   {cached}"),
            format!("  instantiate  {:.1} us", start.instantiate.as_secs_f64() * 1e6),
            format!(
                "  call         {:.3} ms for {} rows ({} calls)",
                ms(calls.call),
                calls.rows,
                calls.calls
            ),
            format!("  per row      {:.1} ns", calls.ns_per_row()),
            format!("  per value    {:.2} ns", calls.ns_per_value()),
            format!("  memory       {:.1} MiB", calls.memory_bytes as f64 / f64::from(1 << 20)),
            format!(
                "  share        {:.2} % of a training step at {speed:.0} samples/s",
                100.0 * self.share()
            ),
        ]
        .join("\n")
            + "\n"
    }

    fn json(&self) -> String {
        let Self { title, start, calls, speed } = self;
        let value = serde_json::json!({
            "plugin": title,
            "compile_ms": ms(start.compile),
            "cached_ms": start.cached.map(ms),
            "instantiate_us": start.instantiate.as_secs_f64() * 1e6,
            "rows": calls.rows,
            "values": calls.values,
            "call_ms": ms(calls.call),
            "ns_per_row": calls.ns_per_row(),
            "ns_per_value": calls.ns_per_value(),
            "memory_bytes": calls.memory_bytes,
            "step_share": self.share(),
            "step_samples_per_s": speed,
        });
        format!("{}\n", serde_json::to_string_pretty(&value).expect("plain data"))
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
