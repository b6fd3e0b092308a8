//! The page around the charts.

use std::fmt::Write as _;

use rectool_embedding::TableTotals;
use serde_json::Value;

use super::chart::{self, Labels, Point};
use super::data::{EvaluationPoint, ReportData, RunStatus};
use super::text::{duration, escaped, short};
use super::{placed, retrieved};
use crate::plan::{bytes_text, grouped};

const STYLE: &str = include_str!("page.css");

/// Tiles at the top, at most: metric names in order of interest.
const HEADLINES: [(&str, &str); 19] = [
    ("test_recall@20", "test recall in 20"),
    ("test_ndcg@20", "test NDCG in 20"),
    ("test_auc", "test AUC"),
    ("test_gauc", "test GAUC"),
    ("test_logloss", "test log loss"),
    ("test_ne", "test normalised entropy"),
    ("test_calibration", "test calibration"),
    ("test_rmse", "test RMSE"),
    ("test_mae", "test MAE"),
    ("test_loss", "test loss"),
    ("valid_recall", "valid recall"),
    ("valid_ndcg", "valid NDCG"),
    ("valid_auc", "valid AUC"),
    ("valid_logloss", "valid log loss"),
    ("valid_ne", "valid normalised entropy"),
    ("valid_calibration", "valid calibration"),
    ("valid_rmse", "valid RMSE"),
    ("valid_mae", "valid MAE"),
    ("valid_loss", "valid loss"),
];
const HEADLINES_MAX: usize = 4;

/// Title, name and value of the validation curve: the first metric that the model has.
type Watched = (&'static str, &'static str, fn(&EvaluationPoint) -> Option<f64>);
const VALIDATION: [Watched; 4] = [
    ("Validation recall", "Validation recall by step", |point| point.recall),
    ("Validation AUC", "Validation AUC by step", |point| point.auc),
    ("Validation RMSE", "Validation RMSE by step", |point| point.rmse),
    ("Validation loss", "Validation loss by step", |point| point.loss),
];

/// The whole page.
///
/// # Determinism
/// The same data give the same bytes.
pub fn render(data: &ReportData) -> String {
    let mut page = String::with_capacity(32 << 10);
    let name = escaped(&data.recipe);
    push(
        &mut page,
        format_args!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{name} · rectool</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
        ),
    );
    header(&mut page, data);
    tiles(&mut page, data);
    page.push_str("<div class=\"row\">\n");
    curves(&mut page, data);
    metrics(&mut page, data);
    page.push_str("</div>\n");
    retrieved::sections(&mut page, data);
    time_split(&mut page, data);
    placed::section(&mut page, data);
    page.push_str("<div class=\"row\">\n");
    parameters(&mut page, data);
    versions(&mut page, data);
    page.push_str("</div>\n");
    tables(&mut page, data);
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn header(page: &mut String, data: &ReportData) {
    let (name, status) = (escaped(&data.recipe), data.status.word());
    let ranks = data.ranks;
    let plural = if ranks == 1 { "" } else { "s" };
    let (started, device) = (escaped(&data.started), escaped(&data.device));
    push(
        page,
        format_args!(
            "<header><h1>{name}<span class=\"status {status}\">{status}</span></h1>\n\
             <p>{started} · {ranks} rank{plural} · {device}</p></header>\n"
        ),
    );
    if let Some(error) = &data.error {
        let title = if data.status == RunStatus::Failed { "Error" } else { "Ended early" };
        let error = escaped(error);
        push(page, format_args!("<section><h2>{title}</h2><pre>{error}</pre></section>\n"));
    }
    if !data.warnings.is_empty() {
        page.push_str("<section><h2>Warnings</h2><ul>");
        for warning in &data.warnings {
            push(page, format_args!("<li>{}</li>", escaped(warning)));
        }
        page.push_str("</ul></section>\n");
    }
}

fn tiles(page: &mut String, data: &ReportData) {
    page.push_str("<div class=\"tiles\">\n");
    let found = HEADLINES.iter().filter_map(|(key, words)| {
        let (_, value) = data.metrics.iter().find(|(name, _)| name == key)?;
        Some(((*words).to_owned(), value.as_f64()?))
    });
    // Those of heads are called by their labels.
    let main = |name: &str| {
        ["test_auc_", "test_accuracy_", "test_rmse_"].iter().any(|start| name.starts_with(start))
    };
    let of_heads = data.metrics.iter().filter(|(name, _)| main(name));
    let of_heads = of_heads
        .filter_map(|(name, value)| Some((escaped(&name.replacen('_', " ", 2)), value.as_f64()?)));
    let of_heads: Vec<(String, f64)> = of_heads.collect();
    // Beside what towers find, up to half of the place is theirs.
    let own = HEADLINES_MAX - of_heads.len().min(HEADLINES_MAX / 2);
    for (words, value) in found.take(own).chain(of_heads).take(HEADLINES_MAX) {
        let value = format!("{value:.4}");
        push(page, format_args!("<div class=\"tile\"><b>{value}</b><span>{words}</span></div>\n"));
    }
    let speed = short(data.samples_per_s);
    let time = duration(data.seconds);
    push(
        page,
        format_args!(
            "<div class=\"tile\"><b>{speed}</b><span>samples per second</span></div>\n\
             <div class=\"tile\"><b>{time}</b><span>in all</span></div>\n</div>\n"
        ),
    );
}

fn curves(page: &mut String, data: &ReportData) {
    let mut charts = Vec::new();
    if !data.losses.is_empty() {
        let points: Vec<Point> = data
            .losses
            .iter()
            .map(|point| Point { x: point.step as f64, y: point.loss, best: false })
            .collect();
        let labels = Labels { name: "Training loss by step", x: "step", class: "loss" };
        let title = "Training loss".to_owned();
        charts.push((title, chart::line(&points, &labels), "mean loss per sample"));
    }
    let watched = VALIDATION.iter().find(|(_, _, value)| {
        data.evaluations.iter().any(|point| value(point).is_some_and(f64::is_finite))
    });
    if let Some((title, name, value)) = watched {
        charts.push(((*title).to_owned(), validation(data, name, value), RINGS));
    }
    let heads = data.evaluations.first().map(|point| point.heads.as_slice()).unwrap_or_default();
    for (at, (metric, _)) in heads.iter().enumerate() {
        let name = format!("Validation {metric} by step");
        let value = |point: &EvaluationPoint| point.heads.get(at).and_then(|(_, value)| *value);
        let title = format!("Validation {}", escaped(metric));
        charts.push((title, validation(data, &name, value), RINGS));
    }
    if !data.calibration.is_empty() {
        let note = "one dot per group of samples with similar predictions; its size is their \
                    number, the dashed line is perfect calibration";
        charts.push((
            "Calibration: positives by prediction".to_owned(),
            chart::calibration(&data.calibration),
            note,
        ));
    }
    for (title, svg, note) in charts {
        push(
            page,
            format_args!("<section><h2>{title}</h2>{svg}<p class=\"note\">{note}</p></section>\n"),
        );
    }
}

/// What rings on a curve mean.
const RINGS: &str = "rings mark a new best";

/// The curve of a metric on the validation split.
fn validation(
    data: &ReportData,
    name: &str,
    value: impl Fn(&EvaluationPoint) -> Option<f64>,
) -> String {
    let point = |point: &EvaluationPoint| {
        let y = value(point).unwrap_or(f64::NAN);
        Point { x: point.step as f64, y, best: point.best }
    };
    let points: Vec<Point> = data.evaluations.iter().map(point).collect();
    chart::line(&points, &Labels { name, x: "step", class: "auc" })
}

fn time_split(page: &mut String, data: &ReportData) {
    let total: f64 = data.phases.iter().map(|phase| phase.ms).sum();
    if data.phases.is_empty() || total <= 0.0 {
        return;
    }
    let bar = chart::phases(&data.phases);
    push(
        page,
        format_args!(
            "<section><h2>Where the training time went</h2>{bar}<table><tr><th>phase</th>\
             <th class=\"n\">seconds</th><th class=\"n\">share</th></tr>"
        ),
    );
    for (at, phase) in data.phases.iter().enumerate() {
        push(
            page,
            format_args!(
                "<tr><td><span class=\"swatch phase-{at}\"></span>{}</td>\
                 <td class=\"n\">{:.2}</td><td class=\"n\">{:.1} %</td></tr>",
                escaped(&phase.name),
                phase.ms / 1000.0,
                100.0 * phase.ms / total
            ),
        );
    }
    page.push_str("</table><p class=\"note\">on rank 0, evaluations left out</p>");
    if let Some(limit) = &data.limit {
        push(
            page,
            format_args!(
                "<p class=\"note\">{:.0} % of the speed limit: a sample takes {:.2} MFLOP and moves \
                 {:.1} kB, and this machine was measured at {:.0} GFLOP/s and {:.1} GB/s</p>",
                100.0 * limit.share,
                limit.sample_mflop,
                limit.sample_kb,
                limit.gflops,
                limit.memory_gb_per_s
            ),
        );
    }
    if let Some(faults) = &data.page_faults {
        push(
            page,
            format_args!(
                "<p class=\"note\">page faults of all ranks in training: {} that read a disk, {} others</p>",
                grouped(faults.major),
                grouped(faults.minor)
            ),
        );
    }
    page.push_str("</section>\n");
}

fn parameters(page: &mut String, data: &ReportData) {
    if data.parameters.is_empty() {
        return;
    }
    page.push_str("<section><h2>Parameters</h2><table>");
    for parameter in &data.parameters {
        let set = if parameter.set {
            format!(" <span class=\"set\">set, default {}</span>", value_text(&parameter.default))
        } else {
            String::new()
        };
        push(
            page,
            format_args!(
                "<tr><td title=\"{}\">{}</td><td><code>{}</code>{set}</td></tr>",
                escaped(&parameter.help),
                escaped(&parameter.name),
                value_text(&parameter.value)
            ),
        );
    }
    page.push_str("</table></section>\n");
}

fn metrics(page: &mut String, data: &ReportData) {
    if data.metrics.is_empty() {
        return;
    }
    page.push_str("<section><h2>Metrics</h2><table>");
    for (name, value) in &data.metrics {
        let value = match value.as_f64() {
            Some(number) if !value.is_u64() => format!("{number:.6}"),
            Some(number) => grouped(number as u64),
            None => value_text(value),
        };
        let name = escaped(name);
        push(page, format_args!("<tr><td>{name}</td><td class=\"n\">{value}</td></tr>"));
    }
    page.push_str("</table></section>\n");
}

fn tables(page: &mut String, data: &ReportData) {
    if data.tables.is_empty() {
        return;
    }
    page.push_str(
        "<section><h2>Embedding tables</h2><table><tr><th>table</th><th class=\"n\">rows</th>\
         <th class=\"n\">size</th></tr>",
    );
    let (mut rows, mut bytes) = (0, 0);
    for table in &data.tables {
        (rows, bytes) = (rows + table.rows, bytes + table.bytes);
        table_row(page, &escaped(&table.name), table.rows, table.bytes);
    }
    if data.tables.len() > 1 {
        table_row(page, "<b>all</b>", rows, bytes);
    }
    page.push_str("</table>");
    turnover(page, data);
    page.push_str("</section>\n");
}

/// Keys that were turned away and rows that were given up, where there were any.
fn turnover(page: &mut String, data: &ReportData) {
    if !data.tables.iter().any(TableTotals::has_turnover) {
        return;
    }
    page.push_str(
        "<h3>Keys that came and went</h3><table><tr><th>table</th><th class=\"n\">admitted</th>\
         <th class=\"n\">turned away</th><th class=\"n\">uncounted</th>\
         <th class=\"n\">expired by age</th><th class=\"n\">expired by use</th>\
         <th class=\"n\">sketch used</th></tr>",
    );
    for table in data.tables.iter().filter(|table| table.has_turnover()) {
        let counts = &table.counts;
        push(page, format_args!("<tr><td>{}</td>", escaped(&table.name)));
        let numbers = [
            counts.admitted,
            counts.rejected,
            counts.saturated,
            counts.expired_by_age,
            counts.expired_by_use,
        ];
        for number in numbers {
            push(page, format_args!("<td class=\"n\">{}</td>", grouped(number)));
        }
        let used =
            table.sketch_used.map_or_else(String::new, |used| format!("{:.1} %", used * 1e2));
        push(page, format_args!("<td class=\"n\">{used}</td></tr>"));
    }
    page.push_str("</table>");
}

/// `name` is markup.
fn table_row(page: &mut String, name: &str, rows: u64, bytes: u64) {
    let (rows, bytes) = (grouped(rows), bytes_text(bytes));
    push(
        page,
        format_args!(
            "<tr><td>{name}</td><td class=\"n\">{rows}</td><td class=\"n\">{bytes}</td></tr>"
        ),
    );
}

fn versions(page: &mut String, data: &ReportData) {
    if data.versions.is_empty() {
        return;
    }
    page.push_str("<section><h2>Versions</h2><table>");
    for (name, version) in &data.versions {
        let (name, version) = (escaped(name), escaped(version));
        push(page, format_args!("<tr><td>{name}</td><td><code>{version}</code></td></tr>"));
    }
    page.push_str("</table></section>\n");
}

/// A value as text, strings without their quotes, ready for the page.
fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) => escaped(text),
        other => escaped(&other.to_string()),
    }
}

pub(super) fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a string takes any text");
}

#[cfg(test)]
mod tests {
    use rectool_embedding::{PageFaults, RowCounts};

    use super::super::data::{CalibrationBin, LossPoint, PhaseTime, SpeedLimit};
    use super::*;
    use crate::params::Parameter;

    fn table_totals(at: u64) -> TableTotals {
        TableTotals {
            name: format!("C{at}"),
            rows: at * 81_234,
            bytes: at * 11_005_952,
            counts: RowCounts { rejected: 1_000 * at, ..RowCounts::default() },
            sketch_used: Some(0.25),
        }
    }

    /// A run that shows every part of the page.
    fn made_up() -> ReportData {
        let loss =
            |at: u64| 0.45 + 0.24 / (1.0 + at as f64 / 12.0) + 0.01 * (at as f64 * 1.7).sin();
        let phase = |(name, ms): (&str, f64)| PhaseTime { name: name.into(), ms };
        let bin = |at: u64| {
            let predicted = (at as f64 + 0.5) / 12.0;
            let observed = predicted * (1.08 - 0.1 * predicted);
            CalibrationBin { predicted, observed, count: 40_000 / (at + 1) }
        };
        let evaluation = |at: u64| {
            let auc = 0.79 - 0.06 / (at as f64 + 1.0) - if at > 7 { 0.002 } else { 0.0 };
            let (step, auc) = (at * 500 + 500, Some(auc));
            EvaluationPoint { step, auc, best: at <= 7, ..Default::default() }
        };
        let phases = [
            ("data", 210.0),
            ("prepare", 480.0),
            ("lookup", 2100.0),
            ("forward", 9100.0),
            ("loss", 60.0),
            ("backward", 16_000.0),
            ("all-reduce", 700.0),
            ("dense update", 850.0),
            ("embedding update", 3900.0),
        ];
        let parameter = |name: &str, value: Value, default: Value| Parameter {
            set: value != default,
            name: name.into(),
            value,
            default,
            help: "what it is".into(),
        };
        ReportData {
            recipe: "dlrm".into(),
            started: "2026-11-22 10:07:45 UTC".into(),
            seconds: 431.0,
            samples_per_s: 27_312.0,
            ranks: 2,
            device: "cpu, 1 thread per rank".into(),
            metrics: vec![
                ("test_auc".into(), 0.790_12.into()),
                ("test_logloss".into(), 0.457_81.into()),
                ("test_ne".into(), 0.812_3.into()),
                ("test_calibration".into(), 1.002.into()),
                ("test_samples".into(), 1_000_000_u64.into()),
                ("valid_auc".into(), 0.791_7.into()),
            ],
            parameters: vec![
                parameter("data", "data/criteo".into(), "data/criteo".into()),
                parameter("embedding_dim", 32.into(), 16.into()),
                parameter("top", vec![512, 256].into(), vec![512, 256].into()),
            ],
            losses: (1..600).map(|at| LossPoint { step: at * 10, loss: loss(at) }).collect(),
            evaluations: (0..12).map(evaluation).collect(),
            calibration: (0..12).map(bin).collect(),
            phases: phases.into_iter().map(phase).collect(),
            tables: (1..6).map(table_totals).collect(),
            versions: vec![
                ("rectool".into(), "0.1.0".into()),
                ("libtorch".into(), "2.11.0".into()),
            ],
            warnings: vec!["torch runs 1 thread per rank: mpirun bound each to a core".into()],
            ..ReportData::default()
        }
    }

    #[test]
    fn every_section_is_there_and_stands_alone() {
        let limit = SpeedLimit {
            gflops: 234.4,
            memory_gb_per_s: 25.3,
            sample_mflop: 2.76,
            sample_kb: 31.0,
            share: 0.841,
        };
        let page_faults = Some(PageFaults { minor: 1_234, major: 5 });
        let data = ReportData { limit: Some(limit), page_faults, ..made_up() };
        let page = render(&data);
        if let Some(path) = std::env::var_os("RECTOOL_TEST_REPORT") {
            std::fs::write(path, &page).unwrap();
        }
        for part in [
            "0.7901",
            "27,312",
            "7 min 11 s",
            "Training loss",
            "Validation AUC",
            "Calibration",
            "embedding update",
            "84 % of the speed limit",
            "5 that read a disk, 1,234 others",
            "set, default 16",
            "Embedding tables",
            "libtorch",
            "mpirun bound",
        ] {
            assert!(page.contains(part), "no {part}");
        }
        for foreign in ["http:", "https:", "<script", "src=", "NaN", "inf"] {
            assert!(!page.contains(foreign), "{foreign} in the page");
        }
        assert_eq!(page.matches("<section").count(), page.matches("</section>").count());
        assert_eq!(page.matches("<svg").count(), 4);
        assert_eq!(page, render(&data));
    }

    #[test]
    fn the_validation_curve_is_of_a_metric_that_the_model_has() {
        let of = |rmse, loss| ReportData {
            evaluations: vec![EvaluationPoint { step: 1, rmse, loss, ..Default::default() }],
            ..ReportData::default()
        };
        assert!(render(&of(Some(2.0), Some(1.0))).contains("Validation RMSE"));
        assert!(render(&of(None, Some(1.0))).contains("Validation loss"));
        let none = render(&of(None, None));
        assert!(!none.contains("Validation") && !none.contains("NaN"));
    }

    #[test]
    fn text_from_outside_stays_text() {
        let evil = "</pre><script>alert('x')</script>\"";
        let mut data = made_up();
        data.recipe = evil.into();
        data.error = Some(evil.into());
        data.started = evil.into();
        data.device = evil.into();
        data.warnings = vec![evil.into()];
        data.metrics.push((evil.into(), evil.into()));
        data.versions.push((evil.into(), evil.into()));
        data.tables.push(TableTotals { name: evil.into(), ..TableTotals::default() });
        data.phases.push(PhaseTime { name: evil.into(), ms: 1.0 });
        let value: Value = vec![evil].into();
        let (name, help) = (evil.into(), evil.into());
        data.parameters.push(Parameter { name, help, default: value.clone(), value, set: true });
        assert!(!render(&data).contains("<script"));
    }

    #[test]
    fn an_empty_run_is_a_page_too() {
        let page = render(&ReportData { status: RunStatus::Failed, ..ReportData::default() });
        assert!(page.contains("failed") && !page.contains("<svg"));
        let mut data = ReportData::default();
        data.losses.push(LossPoint { step: 1, loss: f64::NAN });
        data.calibration.push(CalibrationBin { predicted: f64::NAN, observed: 0.0, count: 0 });
        assert!(!render(&data).contains("NaN"));
    }
}
