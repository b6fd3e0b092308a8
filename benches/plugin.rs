//! The standard plugins beside plain Rust that does the same, and what plugins cost in training.
//!
//!     cargo bench --bench plugin                      transforms and losses, B = 8192
//!     cargo bench --bench plugin -- --data DIR        also training with and without plugins; DIR is a
//!                                                     dataset of `rectool data synth criteo`
//!
//! Native code and plugin take turns; medians are printed. Both must give the same columns.
#![expect(clippy::print_stdout, reason = "the result is a table on stdout")]

mod native;
#[expect(dead_code, reason = "shared with benches that read peers' data")]
mod peer;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use rectool::base::{
    BatchPlace, Column, ColumnKind, ColumnSchema, Jagged, LossInput, NoPlugins, ParameterValue,
    Schema, Stream, Texts, Transform,
};
use rectool::data::{ChainOp, Keep};
use rectool::plugin::{Host, HostOptions, Plugins, SearchPath};

const ROWS: usize = 8_192;
const ROUNDS: usize = 41;
const PLACE: BatchPlace = BatchPlace { epoch: 0, step: 0, row_first: 0, rows: ROWS };

fn main() {
    let flags = peer::Flags::new();
    let host = Host::new(HostOptions::default()).expect("a host");
    let plugins = Plugins::new(host, SearchPath::new());
    println!(
        "{:<16} {:>10} {:>10} {:>7} {:>10}",
        "transform", "native ms", "plugin ms", "ratio", "ns/value"
    );
    for case in cases() {
        case.measure(&plugins);
    }
    println!(
        "\n{:<16} {:>10} {:>10} {:>7} {:>10}",
        "loss", "native ms", "plugin ms", "ratio", "ns/row"
    );
    losses(&plugins);
    if let Some(data) = flags.text("--data") {
        training(data, flags.number("--steps", 60));
    }
}

type Parameters = BTreeMap<String, ParameterValue>;

fn parameters(list: &[(&str, ParameterValue)]) -> Parameters {
    list.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

/// A standard transform, its input, and the same in plain Rust.
struct Case {
    plugin: &'static str,
    parameters: Parameters,
    schema: ColumnSchema,
    input: Column,
    native: Native,
}

/// A column to a column.
type Native = Box<dyn Fn(Column) -> Column>;
/// Ids in place.
type InPlace = Box<dyn Fn(&mut [i64])>;

impl Case {
    fn measure(&self, plugins: &Plugins) {
        let plugin = plugins.find(self.plugin).expect("a standard plugin");
        let transform = plugin.transform(&self.parameters).expect("parameters fit");
        let schemas = std::slice::from_ref(&self.schema);
        transform.outputs(schemas).expect("the column fits");
        let run = |column| {
            transform.apply(schemas, vec![column], PLACE).expect("it works").swap_remove(0)
        };
        self.compare(&(self.native)(self.input.clone()), &run(self.input.clone()));
        let (mut native, mut plugin) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            // A chain hands columns over: both may work in place.
            let (first, second) = (self.input.clone(), self.input.clone());
            native.push(milliseconds(|| (self.native)(first)));
            plugin.push(milliseconds(|| run(second)));
        }
        let values = match &self.input {
            Column::F32 { values, .. } => values.len(),
            Column::I64 { values, .. } => values.len(),
            Column::I64List(jagged) => jagged.values.len(),
            Column::Text { values, .. } => values.len(),
            _ => ROWS,
        };
        line(self.plugin, &mut native, &mut plugin, values);
    }

    /// Both must have done the same work.
    fn compare(&self, native: &Column, plugin: &Column) {
        let (Column::F32 { values: a, .. }, Column::F32 { values: b, .. }) = (native, plugin)
        else {
            assert_eq!(native, plugin, "{}", self.plugin);
            return;
        };
        let close = |(a, b): (&f32, &f32)| {
            (a.is_nan() && b.is_nan()) || (a - b).abs() <= 2e-6 * a.abs().max(1.0)
        };
        assert!(a.len() == b.len() && a.iter().zip(b).all(close), "{}", self.plugin);
    }
}

fn milliseconds<R>(work: impl FnOnce() -> R) -> f64 {
    let started = Instant::now();
    let made = std::hint::black_box(work());
    let elapsed = started.elapsed().as_secs_f64() * 1e3;
    drop(made);
    elapsed
}

fn line(name: &str, native: &mut [f64], plugin: &mut [f64], values: usize) {
    let (native, plugin) = (peer::quantile(native, 0.5), peer::quantile(plugin, 0.5));
    let each = plugin * 1e6 / values as f64;
    println!("{name:<16} {native:>10.3} {plugin:>10.3} {:>6.2}x {each:>10.2}", plugin / native);
}

/// A native chain step as a function.
fn step(op: &ChainOp, schema: &ColumnSchema) -> Native {
    let (step, schema): (Arc<dyn Transform>, _) =
        (op.transform(&NoPlugins).expect("good options"), schema.clone());
    Box::new(move |column| {
        let schemas = std::slice::from_ref(&schema);
        step.apply(schemas, vec![column], PLACE).expect("it works").swap_remove(0)
    })
}

fn float_cases() -> Vec<Case> {
    let schema = ColumnSchema::plain("dense", ColumnKind::F32 { width: 13 });
    let mut stream = Stream::new(1, &[]);
    let counts = (0..ROWS * 13).map(|_| match stream.next_f32() {
        missing if missing < 0.1 => f32::NAN,
        draw => (draw * 10.0).exp().floor(),
    });
    let input = Column::F32 { width: 13, values: counts.collect() };
    let case = |plugin, parameters, native| Case {
        plugin,
        parameters,
        schema: schema.clone(),
        input: input.clone(),
        native,
    };
    let number = ParameterValue::Number;
    let boundaries: Vec<f64> = (0..20).map(|at| 2f64.powi(at)).collect();
    let floats: Vec<f32> = boundaries.iter().map(|x| *x as f32).collect();
    let bucketize = move |column| match column {
        Column::F32 { width, values } => {
            Column::I64 { width, values: native::bucketize(&values, &floats) }
        }
        other => other,
    };
    vec![
        case("log1p", Parameters::new(), step(&ChainOp::Log1p, &schema)),
        case(
            "clip",
            parameters(&[("min", number(0.0)), ("max", number(100.0))]),
            step(&ChainOp::Clip { min: 0.0, max: 100.0 }, &schema),
        ),
        case(
            "standardize",
            parameters(&[
                ("means", ParameterValue::Numbers(vec![3.0])),
                ("stds", ParameterValue::Numbers(vec![2.0])),
            ]),
            step(&ChainOp::Standardize { mean: 3.0, std: 2.0 }, &schema),
        ),
        case(
            "bucketize",
            parameters(&[("boundaries", ParameterValue::Numbers(boundaries))]),
            Box::new(bucketize),
        ),
    ]
}

fn id_cases() -> Vec<Case> {
    let schema = ColumnSchema::plain("ids", ColumnKind::I64 { width: 26 });
    let mut stream = Stream::new(2, &[]);
    let ids = (0..ROWS * 26).map(|_| match stream.next_f32() {
        missing if missing < 0.05 => -1,
        draw => (draw.powi(4) * 1e6) as i64,
    });
    let input = Column::I64 { width: 26, values: ids.collect() };
    let buckets = ("buckets", ParameterValue::Integer(1 << 20));
    let case = |plugin, parameters, native| Case {
        plugin,
        parameters,
        schema: schema.clone(),
        input: input.clone(),
        native,
    };
    let known: Vec<i64> = (0..1_000).map(|at| at * 7).collect();
    let table: HashMap<i64, i64> = known.iter().zip(0..).map(|(id, at)| (*id, at)).collect();
    let each = |work: InPlace| -> Native {
        Box::new(move |mut column| {
            if let Column::I64 { values, .. } = &mut column {
                work(values);
            }
            column
        })
    };
    vec![
        case(
            "hash",
            parameters(std::slice::from_ref(&buckets)),
            each(Box::new(|ids| native::hash(ids, 1 << 20))),
        ),
        case(
            "hash-cross",
            parameters(&[buckets]),
            Box::new(|column| match column {
                Column::I64 { width, values } => {
                    Column::I64 { width: 1, values: native::hash_cross(&values, width, 1 << 20) }
                }
                other => other,
            }),
        ),
        case(
            "vocabulary",
            parameters(&[("ids", ParameterValue::Integers(known))]),
            each(Box::new(move |ids| native::vocabulary(ids, &table))),
        ),
    ]
}

fn other_cases() -> Vec<Case> {
    let mut stream = Stream::new(3, &[]);
    let times = (0..ROWS).map(|_| stream.below(2_000_000_000) as i64).collect();
    let mut histories = Jagged::new();
    for row in 0..ROWS {
        let ids: Vec<i64> = (0..row % 50).map(|at| at as i64).collect();
        histories.push_row(&ids);
    }
    let words = ["running", "shoes", "for", "Women", "size", "38", "blue", "light-weight"];
    let texts: Texts = (0..ROWS)
        .map(|_| (0..6).map(|_| words[stream.below(8) as usize]).collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .iter()
        .map(|text| Some(text.as_str()))
        .collect();
    let lists = ColumnSchema::plain("history", ColumnKind::I64List);
    let keep = ChainOp::Truncate { max: 20, keep: Keep::Last };
    vec![
        Case {
            plugin: "date-parts",
            parameters: Parameters::new(),
            schema: ColumnSchema::plain("time", ColumnKind::I64 { width: 1 }),
            input: Column::I64 { width: 1, values: times },
            native: Box::new(|column| match column {
                Column::I64 { values, .. } => {
                    Column::I64 { width: 2, values: native::date_parts(&values) }
                }
                other => other,
            }),
        },
        Case {
            plugin: "truncate",
            parameters: parameters(&[("max", ParameterValue::Integer(20))]),
            native: step(&keep, &lists),
            schema: lists,
            input: Column::I64List(histories),
        },
        Case {
            plugin: "ngrams",
            parameters: parameters(&[("buckets", ParameterValue::Integer(1 << 20))]),
            schema: ColumnSchema::plain("title", ColumnKind::Text { width: 1 }),
            input: Column::Text { width: 1, values: texts },
            native: Box::new(|column| match column {
                Column::Text { values, .. } => Column::I64List(native::words(&values, 1 << 20)),
                other => other,
            }),
        },
    ]
}

fn cases() -> Vec<Case> {
    [float_cases(), id_cases(), other_cases()].into_iter().flatten().collect()
}

/// Each loss that looks at logits and labels alone, beside the native cross-entropy.
fn losses(plugins: &Plugins) {
    let mut stream = Stream::new(4, &[]);
    let logits: Vec<f32> = (0..ROWS).map(|_| stream.next_f32() * 8.0 - 4.0).collect();
    let labels: Vec<f32> = (0..ROWS).map(|_| f32::from(stream.next_f32() < 0.3)).collect();
    let input =
        LossInput { place: PLACE, logits: &logits, labels: &labels, weights: &[], columns: &[] };
    let (mut values, mut gradients) = (vec![0.0; ROWS], vec![0.0; ROWS]);
    let mut run = |loss: &dyn rectool::base::Loss| {
        milliseconds(|| loss.evaluate(input, &mut values, &mut gradients).expect("it works"))
    };
    for name in ["bce", "weighted-bce", "focal", "hinge", "huber", "poisson"] {
        let plugin = plugins.find(name).expect("a standard plugin");
        let loss = plugin.loss(&Parameters::new(), &Schema::default()).expect("defaults fit");
        let (mut native, mut plugin) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            native.push(run(&rectool::model::Bce));
            plugin.push(run(&*loss));
        }
        line(name, &mut native, &mut plugin, ROWS);
    }
}

/// Trains the recipe beside this file with and without plugins, in turns.
fn training(data: &str, steps: u64) {
    let variants =
        [("none", "native"), ("native", "native"), ("plugin", "native"), ("plugin", "plugin")];
    let folder = tempfile::tempdir().expect("a folder");
    let mut speeds: Vec<Vec<f64>> = vec![Vec::new(); variants.len()];
    for round in 0..5 {
        for (at, (transforms, loss)) in variants.iter().enumerate() {
            let run = folder.path().join(format!("{round}-{at}"));
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rectool"));
            command.args([
                "run",
                concat!(env!("CARGO_MANIFEST_DIR"), "/benches/plugin.rhai"),
                "--run-dir",
            ]);
            command.arg(&run).args([
                "--set",
                &format!("data={data}"),
                "--set",
                &format!("steps={steps}"),
            ]);
            command.args([
                "--set",
                &format!("transforms={transforms}"),
                "--set",
                &format!("loss={loss}"),
            ]);
            let output = command.output().expect("rectool starts");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let result = std::fs::read_to_string(run.join("result.json")).expect("a result");
            let result: serde_json::Value = serde_json::from_str(&result).expect("JSON");
            speeds[at].push(result["samples_per_s"].as_f64().expect("a speed"));
        }
    }
    println!("\n{:<12} {:<8} {:>11}", "transforms", "loss", "samples/s");
    let medians: Vec<f64> = speeds.iter_mut().map(|list| peer::quantile(list, 0.5)).collect();
    for ((transforms, loss), median) in variants.iter().zip(&medians) {
        let change = 100.0 * (medians[0] / median - 1.0);
        println!("{transforms:<12} {loss:<8} {median:>11.0}   step {change:+.1} %");
    }
}
