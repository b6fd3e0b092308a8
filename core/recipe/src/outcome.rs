//! `result.json`, `report.html` and the recipe as it was run.

use std::path::Path;

use rectool_base::Hint;
use rectool_embedding::PlacedTable;
use rectool_model::{HeadEvaluation, PhaseTimes, libtorch_version};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::error::RecipeError;
use crate::library::Found;
use crate::placement_text::place_text;
use crate::record::{Event, Placed, Record};
use crate::report::{
    CalibrationBin, EvaluationPoint, LossPoint, PhaseTime, PlacedTableRow, PlacementReport,
    PredictedPhase, ReportData, RunStatus, render,
};
use crate::run_dir::{RunDir, recipe_name};
use crate::session::Session;

/// How a run ended.
pub(crate) struct Ending<'a> {
    pub(crate) status: RunStatus,
    pub(crate) error: Option<&'a RecipeError>,
    pub(crate) started: OffsetDateTime,
    pub(crate) seconds: f64,
}

/// Writes the files, if the run has a folder.
pub(crate) fn write_files(
    session: &Session,
    record: &Record,
    ending: &Ending<'_>,
) -> Result<(), RecipeError> {
    let Some(path) = &record.run_dir else { return Ok(()) };
    let folder = RunDir::at(path);
    for (name, text) in session.sources() {
        // Modules keep their file name; two of one name in different folders are told apart.
        let own = name == session.recipe;
        let file = if own { "recipe.rhai".to_owned() } else { module_file(&name) };
        folder.write(&file, text.as_bytes())?;
    }
    let data = report_data(session, record, ending);
    folder.write("report.html", render(&data).as_bytes())?;
    let mut result = serde_json::to_vec_pretty(&result(session, record, &data))
        .expect("a JSON value becomes text");
    result.push(b'\n');
    // Last: who finds it finds the others.
    folder.write("result.json", &result)
}

/// `modules/shared_net.rhai` for `recipes/shared/net.rhai` and the like.
fn module_file(name: &str) -> String {
    let parts: Vec<String> = Path::new(name)
        .components()
        .filter_map(|part| match part {
            std::path::Component::Normal(part) => Some(part.to_string_lossy().into_owned()),
            _ => None,
        })
        .collect();
    format!("modules/{}", parts.join("_"))
}

fn result(session: &Session, record: &Record, data: &ReportData) -> Value {
    let parameters = session.parameters().declared().to_vec();
    let values: Map<String, Value> =
        parameters.into_iter().map(|parameter| (parameter.name, parameter.value)).collect();
    let versions: Map<String, Value> =
        data.versions.iter().map(|(name, version)| (name.clone(), json!(version))).collect();
    let mut result = json!({
        "status": data.status.word(),
        "metrics": session.metrics().clone(),
        "samples_per_s": data.samples_per_s,
        "seconds": data.seconds,
        "ranks": data.ranks,
        "threads_per_rank": record.threads,
        "device": record.device,
        "seed": values.get("seed").cloned().unwrap_or(Value::Null),
        "params": values,
        "recipe": session.recipe,
        "started": data.started,
        "versions": versions,
        "tables": data.tables,
        "page_faults": data.page_faults,
    });
    if let Some(placed) = &data.placement {
        result["embedding_plan"] = json!(placed);
    }
    if !data.retrieved.is_empty() {
        result["retrieval"] = json!(data.retrieved);
    }
    let plugins = session.plugins();
    if !plugins.is_empty() {
        let entry = |Found { call, .. }: Found| {
            let entry = json!({ "version": call.version, "sha256": call.sha256 });
            (call.name, entry)
        };
        result["plugins"] = plugins.into_iter().map(entry).collect::<Map<_, _>>().into();
    }
    if let Some(error) = &data.error {
        result["error"] = json!(error);
    }
    if !data.warnings.is_empty() {
        result["warnings"] = json!(data.warnings);
    }
    result
}

fn report_data(session: &Session, record: &Record, ending: &Ending<'_>) -> ReportData {
    let mut losses = Vec::new();
    let mut evaluations = Vec::new();
    let last = record.lines.last().map_or(1, |line| line.training);
    for line in record.lines.iter().filter(|line| line.training == last) {
        match &line.event {
            Event::Step(report) => {
                losses.push(LossPoint { step: report.step, loss: report.loss });
            }
            Event::Evaluation(report) => evaluations.push(EvaluationPoint {
                step: report.step,
                auc: report.evaluation.auc,
                logloss: report.evaluation.logloss,
                rmse: report.evaluation.rmse,
                loss: report.evaluation.loss,
                recall: report.evaluation.recall,
                heads: report.evaluation.heads.iter().map(main_metric).collect(),
                best: report.best,
            }),
            Event::Tables(_) => {}
        }
    }
    let curve = record.evaluated.as_ref().map(|evaluation| evaluation.curve.as_slice());
    let bin = |bin: &rectool_model::CalibrationBin| CalibrationBin {
        predicted: bin.prediction,
        observed: bin.click_rate,
        count: bin.rows,
    };
    let phases = record.phases.named();
    let last_shown = record.retrieved.last();
    let threads = record.threads;
    let plural = if threads == 1 { "" } else { "s" };
    ReportData {
        recipe: recipe_name(Path::new(&session.recipe)),
        status: ending.status,
        error: ending.error.map(error_text),
        started: time_text(ending.started),
        seconds: ending.seconds,
        samples_per_s: record.samples_per_s,
        ranks: session.ranks,
        device: format!("{}, {threads} thread{plural} per rank", record.device),
        metrics: session.metrics().clone().into_iter().collect(),
        parameters: session.parameters().declared().to_vec(),
        losses,
        evaluations,
        calibration: curve.unwrap_or_default().iter().map(bin).collect(),
        retrieved: record.retrieved.iter().map(|it| it.outcome.clone()).collect(),
        examples: last_shown.map(|it| it.examples.clone()).unwrap_or_default(),
        map: last_shown.map(|it| it.map.clone()).unwrap_or_default(),
        phases: phases.map(|(name, ms)| PhaseTime { name: name.to_owned(), ms }).to_vec(),
        limit: record.limit,
        tables: record.tables.clone(),
        page_faults: record.page_faults,
        placement: record.placed.as_ref().map(placement),
        versions: versions(&session.plugins()),
        warnings: record.warnings.clone(),
    }
}

/// Name and value of the metric that says most of a head.
fn main_metric(HeadEvaluation { label, evaluation }: &HeadEvaluation) -> (String, Option<f64>) {
    let known = [
        ("auc", evaluation.auc),
        ("accuracy", evaluation.accuracy.filter(|_| evaluation.positives.is_none())),
        ("rmse", evaluation.rmse),
    ];
    let found = known.into_iter().find(|(_, value)| value.is_some());
    let (name, value) = found.unwrap_or(("logloss", evaluation.logloss));
    (format!("{name}_{label}"), value)
}

/// The plan of the tables, with predicted beside measured times of a step on rank 0.
fn placement(placed: &Placed) -> PlacementReport {
    let Placed { placement, steps, measured } = placed;
    let plan = &placement.plan;
    let cost = placement.rank_cost();
    let phase = |name: &str, predicted_ms: f64, measured_ms: fn(&PhaseTimes) -> f64| {
        let measured_ms = measured.as_ref().map(measured_ms);
        PredictedPhase { name: name.to_owned(), predicted_ms, measured_ms }
    };
    let table = |table: &PlacedTable| PlacedTableRow {
        name: table.name.clone(),
        place: place_text(&table.sharding),
        rows: table.rows,
        rank_bytes_max: table.bytes.iter().copied().max().unwrap_or(0),
        predicted_ms: table.lookup_ms + table.exchange_ms + table.update_ms,
    };
    let prepare = if placement.ahead { "prepare (ahead of the step)" } else { "prepare" };
    PlacementReport {
        steps: *steps,
        phases: vec![
            phase(prepare, placement.prepare_ms(), |step| step.prepare_ms),
            phase("lookup", placement.lookup_ms(), |step| step.lookup_ms),
            phase("exchange", cost.exchange_ms, |step| step.exchange_ms),
            phase("embedding update", cost.update_ms, |step| step.embedding_update_ms),
            phase("all-reduce", placement.all_reduce_ms, |step| step.all_reduce_ms),
        ],
        tables: plan.tables.iter().map(table).collect(),
        memory_bytes_max: plan.memory_bytes_max,
        rank_bytes_max: plan.ranks.iter().map(|rank| rank.bytes).max().unwrap_or(0),
        notes: placement.notes.clone(),
    }
}

/// The error with its causes, and its hint.
fn error_text(error: &RecipeError) -> String {
    let mut text = error.to_string();
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    for cause in causes.map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    match error.hint() {
        Some(hint) => format!("{text}\nhint: {hint}"),
        None => text,
    }
}

/// `2026-11-22 10:07:45 UTC`.
fn time_text(time: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    time.format(&format).unwrap_or_else(|_| time.unix_timestamp().to_string())
}

/// What took part in the run.
fn versions(plugins: &[Found]) -> Vec<(String, String)> {
    let mut versions = vec![("rectool".to_owned(), env!("CARGO_PKG_VERSION").to_owned())];
    versions.extend(libtorch_version().map(|version| ("libtorch".to_owned(), version)));
    versions.extend(rectool_comm::mpi_version().map(|version| ("mpi".to_owned(), version)));
    let rustc = option_env!("RECTOOL_RUSTC").unwrap_or_default();
    if !rustc.is_empty() {
        versions.push(("rustc".to_owned(), rustc.to_owned()));
    }
    for Found { call, kind, .. } in plugins {
        let sha256: String = call.sha256.chars().take(12).collect();
        versions.push((format!("{kind} {}", call.name), format!("{} ({sha256})", call.version)));
    }
    versions
}
