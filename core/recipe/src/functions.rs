//! The functions a recipe can call.

use std::sync::Arc;

use rectool_base::Hint;
use rectool_data::{ChainOp, ChainStep, Keep};
use rectool_model::Schedule;
use rhai::{Array, Dynamic, Engine, EvalAltResult, ImmutableString, Map, NativeCallContext};

use crate::call::{Call, raise};
use crate::dataset::{Dataset, Split};
use crate::error::RecipeError;
use crate::evaluation::EvaluationRequest;
use crate::executor::{Metrics, TrainResult};
use crate::features::Features;
use crate::job::TrainJob;
use crate::network::Model;
use crate::optimize::{Optimizer, warmup_decay};
use crate::params::{Limits, name_of};
use crate::plugin::{Plugin, apply};
use crate::retrieval::{RetrievalRequest, TwoStageRequest};
use crate::session::Session;
use crate::values::{described, to_json};

/// Every function with the way it is called, for hints.
pub(crate) const SIGNATURES: &[(&str, &str)] = &[
    ("param", "param(\"name\", default) or param(\"name\", default, #{min: 1, help: \"…\"})"),
    ("dataset", "dataset(\"path\")"),
    ("join", "data.join(movies, #{key: \"item\"}), where movies is a dataset or a split"),
    ("side", "data.side(\"item\")"),
    ("plugin", "plugin(\"focal-loss\", #{gamma: 2.0})"),
    ("apply", "apply(\"column\", plugin(\"log1p\")) or apply([\"C1\", \"C2\"], plugin(…))"),
    ("features", "features(dataset, #{ids: [\"user\"], …})"),
    ("impute", "impute(\"column\", 0.0)"),
    ("log1p", "log1p(\"column\")"),
    ("clip", "clip(\"column\", 0.0, 10.0)"),
    ("standardize", "standardize(\"column\", mean, deviation)"),
    ("modulo", "modulo(\"column\", 1000000)"),
    ("truncate", "truncate(\"column\", 10) or truncate(\"column\", 10, \"first\")"),
    ("reject_missing", "reject_missing(\"column\")"),
    ("sgd", "sgd(#{learning_rate: 0.1})"),
    ("adagrad", "adagrad(#{learning_rate: 0.01})"),
    ("rowwise_adagrad", "rowwise_adagrad(#{learning_rate: 0.01})"),
    ("adam", "adam(#{learning_rate: 0.001})"),
    ("adamw", "adamw(#{learning_rate: 0.001, weight_decay: 0.01})"),
    ("rowwise_adam", "rowwise_adam(#{learning_rate: 0.001})"),
    ("ftrl", "ftrl(#{learning_rate: 0.1, l1: 0.001})"),
    ("constant", "constant()"),
    ("warmup_decay", "warmup_decay(#{warmup_steps: 1000, decay_start: 10000, decay_steps: 5000})"),
    ("dlrm", "dlrm(#{features: inputs, embedding_dim: 16, top: [256], …})"),
    ("deepfm", "deepfm(#{features: inputs, embedding_dim: 16, hidden: [256], …})"),
    ("wide_deep", "wide_deep(#{features: inputs, embedding_dim: 16, hidden: [256], …})"),
    ("dcnv2", "dcnv2(#{features: inputs, embedding_dim: 16, hidden: [256], cross_layers: 3, …})"),
    (
        "din",
        "din(#{features: inputs, embedding_dim: 16, hidden: [80], history: \"seen\", target: \"item\", …})",
    ),
    (
        "two_tower",
        "two_tower(#{features: inputs, embedding_dim: 64, query: #{id: \"user\", ids: [\"user\"]}, \
         candidate: #{id: \"item\", ids: [\"item\"]}, …})",
    ),
    ("train", "train(model, #{train: data.train, batch_size: 2048, …})"),
    ("evaluate", "evaluate(model, data.test) or evaluate(model, data.test, #{group_by: \"user\"})"),
    ("evaluate_retrieval", "evaluate_retrieval(model, data.test, #{k: [10, 20]})"),
    (
        "index",
        "index(#{vectors: \"items.arrow\", metric: \"inner_product\", recall_target: 0.95, …})",
    ),
    ("search", "search(index, #{queries: \"users.arrow\", k: 10, …})"),
    (
        "evaluate_two_stage",
        "evaluate_two_stage(towers, ranker, data.test, #{candidates: 100, k: [10, 20]})",
    ),
    ("report", "report(#{name: value})"),
    ("rank", "rank()"),
    ("ranks", "ranks()"),
    ("log", "log(\"text\")"),
    ("print", "print(\"text\")"),
];

type Raised<T> = Result<T, Box<EvalAltResult>>;

/// Makes every function of a recipe known to the engine.
pub(crate) fn register(engine: &mut Engine, session: &Arc<Session>) {
    engine
        .register_type_with_name::<Dataset>("Dataset")
        .register_type_with_name::<Split>("Split")
        .register_type_with_name::<Features>("Features")
        .register_type_with_name::<ChainStep>("ChainStep")
        .register_type_with_name::<Plugin>("Plugin")
        .register_type_with_name::<Optimizer>("Optimizer")
        .register_type_with_name::<Schedule>("Schedule")
        .register_type_with_name::<Model>("Model");
    register_params(engine, session);
    register_data(engine, session);
    crate::join::register(engine, session);
    register_plugins(engine, session);
    register_chain(engine, session);
    register_options(engine, session);
    register_actions(engine, session);
    crate::index::register(engine, session);
    register_absent(engine, session);
}

/// Functions of the language that recipes do without: they would wait, or end a script on one rank.
fn register_absent(engine: &mut Engine, session: &Arc<Session>) {
    let shared = session.clone();
    let refuse = Arc::new(move |context: &NativeCallContext<'_>| -> Raised<()> {
        let call = Call::new(&shared, context);
        Err(raise(call.error(format!("recipes have no '{}'", call.function), None)))
    });
    let absent = refuse.clone();
    engine.register_fn("sleep", move |context: NativeCallContext<'_>, _: i64| absent(&context));
    let absent = refuse.clone();
    engine.register_fn("sleep", move |context: NativeCallContext<'_>, _: f64| absent(&context));
    let absent = refuse.clone();
    engine.register_fn("exit", move |context: NativeCallContext<'_>, _: Dynamic| absent(&context));
    engine.register_fn("exit", move |context: NativeCallContext<'_>| refuse(&context));
}

fn register_params(engine: &mut Engine, session: &Arc<Session>) {
    let shared = session.clone();
    engine.register_fn(
        "param",
        move |context: NativeCallContext<'_>, name: Dynamic, default: Dynamic| {
            let call = Call::new(&shared, &context);
            param(&shared, &call, (&name, &default), None).map_err(raise)
        },
    );
    let shared = session.clone();
    engine.register_fn(
        "param",
        move |context: NativeCallContext<'_>, name: Dynamic, default: Dynamic, limits: Map| {
            let call = Call::new(&shared, &context);
            param(&shared, &call, (&name, &default), Some(limits)).map_err(raise)
        },
    );
}

fn param(
    session: &Session,
    call: &Call,
    (name, default): (&Dynamic, &Dynamic),
    limits: Option<Map>,
) -> Result<Dynamic, RecipeError> {
    let name = name_of(call, name)?;
    let limits: Limits = match limits {
        None => Limits::default(),
        Some(map) => crate::options::Options::new(call, map).rest()?,
    };
    session.parameters().declare(call, &name, default, limits)
}

fn register_data(engine: &mut Engine, session: &Arc<Session>) {
    let shared = session.clone();
    engine.register_fn("dataset", move |context: NativeCallContext<'_>, path: ImmutableString| {
        let call = Call::new(&shared, &context);
        let dataset = Dataset::open(&call, path.as_str()).map_err(raise)?;
        shared.add_dataset(&dataset.0);
        Raised::Ok(dataset)
    });
    let shared = session.clone();
    engine.register_fn(
        "features",
        move |context: NativeCallContext<'_>, dataset: Dataset, map: Map| {
            let call = Call::new(&shared, &context);
            Features::read(&call, dataset, map, shared.plugin_source()).map_err(raise)
        },
    );
    engine.register_get("rows", |dataset: &mut Dataset| dataset.0.manifest().rows() as i64);
    engine.register_get("path", |dataset: &mut Dataset| dataset.0.path().display().to_string());
    engine.register_get("schema", |dataset: &mut Dataset| -> Map {
        dataset
            .columns()
            .iter()
            .map(|column| (column.name.as_str().into(), column.kind.to_string().into()))
            .collect()
    });
    engine.register_get("splits", |dataset: &mut Dataset| -> Array {
        dataset.0.splits().map(|name| name.to_owned().into()).collect()
    });
    engine.register_get("rows", |split: &mut Split| split.rows.rows() as i64);
    engine.register_get("name", |split: &mut Split| split.rows.name().to_owned());
    let shared = session.clone();
    // Called for every property that is not one of the above: splits have any name.
    engine.register_indexer_get(
        move |context: NativeCallContext<'_>, dataset: &mut Dataset, name: ImmutableString| {
            let call = Call::new(&shared, &context);
            dataset.split(&call, &name).map_err(raise)
        },
    );
}

fn register_plugins(engine: &mut Engine, session: &Arc<Session>) {
    let shared = session.clone();
    engine.register_fn("plugin", move |context: NativeCallContext<'_>, name: &str| {
        let call = Call::new(&shared, &context);
        Plugin::find(&shared, &call, name, &Map::new()).map_err(raise)
    });
    let shared = session.clone();
    engine.register_fn(
        "plugin",
        move |context: NativeCallContext<'_>, name: &str, parameters: Map| {
            let call = Call::new(&shared, &context);
            Plugin::find(&shared, &call, name, &parameters).map_err(raise)
        },
    );
    let shared = session.clone();
    engine.register_fn(
        "apply",
        move |context: NativeCallContext<'_>, columns: Dynamic, plugin: Plugin| {
            apply(&Call::new(&shared, &context), &columns, &plugin).map_err(raise)
        },
    );
}

fn register_chain(engine: &mut Engine, session: &Arc<Session>) {
    step0(engine, session, "log1p", ChainOp::Log1p);
    step0(engine, session, "reject_missing", ChainOp::RejectMissing);
    step1(engine, session, "impute", |call, value| {
        Ok(ChainOp::Impute { value: number(call, value)? })
    });
    step1(engine, session, "modulo", |call, value| {
        Ok(ChainOp::Modulo { buckets: count(call, value)? })
    });
    let truncate = |call: &Call, value: &Dynamic| {
        Ok(ChainOp::Truncate { max: count(call, value)? as usize, keep: Keep::default() })
    };
    step1(engine, session, "truncate", truncate);
    let shared = session.clone();
    // Before the language's own `truncate` of a string, which has this very signature.
    engine.register_fn(
        "truncate",
        move |context: NativeCallContext<'_>, column: &str, max: i64| {
            let call = Call::new(&shared, &context);
            truncate(&call, &max.into()).and_then(|op| checked(&call, column, op)).map_err(raise)
        },
    );
    step2(engine, session, "clip", |call, min, max| {
        Ok(ChainOp::Clip { min: number(call, min)?, max: number(call, max)? })
    });
    step2(engine, session, "standardize", |call, mean, std| {
        Ok(ChainOp::Standardize { mean: number(call, mean)?, std: number(call, std)? })
    });
    step2(engine, session, "truncate", |call, max, keep| {
        let keep = match keep.clone().into_string().as_deref() {
            Ok("first") => Keep::First,
            Ok("last") => Keep::Last,
            _ => {
                let message =
                    format!("truncate expects \"first\" or \"last\", found {}", described(keep));
                return Err(call.error(message, None));
            }
        };
        Ok(ChainOp::Truncate { max: count(call, max)? as usize, keep })
    });
}

/// Checks a step's own numbers, so that the error is at its place.
fn checked(call: &Call, column: &str, op: ChainOp) -> Result<ChainStep, RecipeError> {
    match op.transform(&rectool_base::NoPlugins) {
        Ok(_) => Ok(ChainStep::on(column, op)),
        Err(error) => Err(call.error(error.to_string(), error.hint())),
    }
}

/// Registers a step without numbers.
fn step0(engine: &mut Engine, session: &Arc<Session>, name: &'static str, op: ChainOp) {
    let shared = session.clone();
    engine.register_fn(name, move |context: NativeCallContext<'_>, column: &str| {
        checked(&Call::new(&shared, &context), column, op.clone()).map_err(raise)
    });
}

/// Registers a step with one argument besides the column.
fn step1(
    engine: &mut Engine,
    session: &Arc<Session>,
    name: &'static str,
    read: impl Fn(&Call, &Dynamic) -> Result<ChainOp, RecipeError> + Send + Sync + 'static,
) {
    let shared = session.clone();
    engine.register_fn(
        name,
        move |context: NativeCallContext<'_>, column: &str, value: Dynamic| {
            let call = Call::new(&shared, &context);
            read(&call, &value).and_then(|op| checked(&call, column, op)).map_err(raise)
        },
    );
}

/// Registers a step with two arguments besides the column.
fn step2(
    engine: &mut Engine,
    session: &Arc<Session>,
    name: &'static str,
    read: impl Fn(&Call, &Dynamic, &Dynamic) -> Result<ChainOp, RecipeError> + Send + Sync + 'static,
) {
    let shared = session.clone();
    engine.register_fn(
        name,
        move |context: NativeCallContext<'_>, column: &str, first: Dynamic, second: Dynamic| {
            let call = Call::new(&shared, &context);
            read(&call, &first, &second).and_then(|op| checked(&call, column, op)).map_err(raise)
        },
    );
}

fn number(call: &Call, value: &Dynamic) -> Result<f32, RecipeError> {
    let number = value.as_float().or_else(|_| value.as_int().map(|whole| whole as f64));
    number.map(|number| number as f32).map_err(|_| {
        let message = format!("{} expects a number, found {}", call.function, described(value));
        call.error(message, None)
    })
}

fn count(call: &Call, value: &Dynamic) -> Result<u64, RecipeError> {
    let count = value.as_int().ok().and_then(|whole| u64::try_from(whole).ok());
    count.ok_or_else(|| {
        let (function, found) = (&call.function, described(value));
        let message = format!("{function} expects a whole number, 1 or more, found {found}");
        call.error(message, None)
    })
}

fn register_options(engine: &mut Engine, session: &Arc<Session>) {
    for name in Optimizer::FUNCTIONS {
        let shared = session.clone();
        engine.register_fn(name, move |context: NativeCallContext<'_>| {
            Optimizer::read(&Call::new(&shared, &context), Map::new()).map_err(raise)
        });
        let shared = session.clone();
        engine.register_fn(name, move |context: NativeCallContext<'_>, map: Map| {
            Optimizer::read(&Call::new(&shared, &context), map).map_err(raise)
        });
    }
    engine.register_fn("constant", || Schedule::Constant);
    let shared = session.clone();
    engine.register_fn("warmup_decay", move |context: NativeCallContext<'_>, map: Map| {
        warmup_decay(&Call::new(&shared, &context), map).map_err(raise)
    });
    for name in Model::RANKERS {
        let shared = session.clone();
        engine.register_fn(name, move |context: NativeCallContext<'_>, map: Map| {
            let call = Call::new(&shared, &context);
            Model::ranker(&call, map, shared.plugin_source()).map_err(raise)
        });
    }
    let shared = session.clone();
    engine.register_fn("two_tower", move |context: NativeCallContext<'_>, map: Map| {
        let call = Call::new(&shared, &context);
        Model::two_tower(&call, map, shared.plugin_source()).map_err(raise)
    });
}

fn register_actions(engine: &mut Engine, session: &Arc<Session>) {
    let shared = session.clone();
    engine.register_fn("train", move |context: NativeCallContext<'_>, model: Model, map: Map| {
        let call = Call::new(&shared, &context);
        train(&shared, &call, &model, map).map_err(raise)
    });
    let shared = session.clone();
    engine.register_fn(
        "evaluate",
        move |context: NativeCallContext<'_>, model: Model, split: Split| {
            let call = Call::new(&shared, &context);
            evaluate(&shared, &call, &model, split, Map::new()).map_err(raise)
        },
    );
    let shared = session.clone();
    engine.register_fn(
        "evaluate",
        move |context: NativeCallContext<'_>, model: Model, split: Split, map: Map| {
            let call = Call::new(&shared, &context);
            evaluate(&shared, &call, &model, split, map).map_err(raise)
        },
    );
    let shared = session.clone();
    engine.register_fn(
        "evaluate_retrieval",
        move |context: NativeCallContext<'_>, model: Model, split: Split| {
            let call = Call::new(&shared, &context);
            retrieve(&shared, &call, &model, split, Map::new()).map_err(raise)
        },
    );
    let shared = session.clone();
    engine.register_fn(
        "evaluate_retrieval",
        move |context: NativeCallContext<'_>, model: Model, split: Split, map: Map| {
            let call = Call::new(&shared, &context);
            retrieve(&shared, &call, &model, split, map).map_err(raise)
        },
    );
    let shared = session.clone();
    engine.register_fn(
        "evaluate_two_stage",
        move |context: NativeCallContext<'_>,
              towers: Model,
              ranker: Model,
              split: Split,
              map: Map| {
            let call = Call::new(&shared, &context);
            two_stage(&shared, &call, (&towers, &ranker), split, map).map_err(raise)
        },
    );
    let shared = session.clone();
    engine.register_fn("report", move |context: NativeCallContext<'_>, map: Map| {
        let call = Call::new(&shared, &context);
        report(&shared, &call, &map).map_err(raise)
    });
    let (rank, ranks) = (session.comm.rank() as i64, session.ranks as i64);
    engine.register_fn("rank", move || rank);
    engine.register_fn("ranks", move || ranks);
    engine.register_fn("log", move |text: Dynamic| {
        if rank == 0 {
            tracing::info!("{text}");
        }
    });
}

fn train(session: &Session, call: &Call, model: &Model, map: Map) -> Result<Map, RecipeError> {
    session.before_action()?;
    let job = TrainJob::read(call, model, map)?;
    let result = session.executor().train(call, model, &job)?;
    let TrainResult { steps, samples, seconds, samples_per_s, valid } = result;
    record(session, "valid", &valid);
    let mut map = metrics_map(&valid);
    map.insert("steps".into(), Dynamic::from(steps as i64));
    map.insert("samples".into(), Dynamic::from(samples as i64));
    map.insert("seconds".into(), Dynamic::from(seconds));
    map.insert("samples_per_s".into(), Dynamic::from(samples_per_s));
    Ok(map)
}

fn evaluate(
    session: &Session,
    call: &Call,
    model: &Model,
    split: Split,
    map: Map,
) -> Result<Map, RecipeError> {
    session.before_action()?;
    let request = EvaluationRequest::read(call, model, split, map)?;
    let metrics = session.executor().evaluate(call, model, &request)?;
    record(session, request.split.rows.name(), &metrics);
    Ok(metrics_map(&metrics))
}

fn retrieve(
    session: &Session,
    call: &Call,
    model: &Model,
    split: Split,
    map: Map,
) -> Result<Map, RecipeError> {
    session.before_action()?;
    let request = RetrievalRequest::read(call, model, split, map)?;
    let metrics = session.executor().retrieve(call, model, &request)?;
    Ok(keep(session, request.test.rows.name(), metrics))
}

fn two_stage(
    session: &Session,
    call: &Call,
    models: (&Model, &Model),
    split: Split,
    map: Map,
) -> Result<Map, RecipeError> {
    session.before_action()?;
    let request = TwoStageRequest::read(call, models, split, map)?;
    let metrics = session.executor().retrieve_and_rank(call, models, &request)?;
    Ok(keep(session, &format!("{}_ranked", request.retrieval.test.rows.name()), metrics))
}

/// Keeps metrics of what was retrieved as `test_recall@20` and so on; gives them to the script.
fn keep(session: &Session, split: &str, metrics: Vec<(String, f64)>) -> Map {
    let mut all = session.metrics();
    for (name, value) in &metrics {
        all.insert(format!("{split}_{name}"), to_json(&metric(name, *value)).unwrap_or_default());
    }
    let shown = metrics.into_iter().map(|(name, value)| {
        let value = metric(&name, value);
        (name.into(), value)
    });
    shown.collect()
}

/// Keeps metrics of a split as `test_auc` and so on; a later evaluation replaces an earlier one.
fn record(session: &Session, split: &str, metrics: &Metrics) {
    let mut all = session.metrics();
    for (name, value) in metrics {
        let value = to_json(&metric(name, *value)).unwrap_or_default();
        all.insert(format!("{split}_{name}"), value);
    }
}

fn metrics_map(metrics: &Metrics) -> Map {
    metrics.iter().map(|(name, value)| (name.into(), metric(name, *value))).collect()
}

/// A metric as a script sees it: counts are whole numbers.
fn metric(name: &str, value: f64) -> Dynamic {
    if ["samples", "users"].contains(&name) || name.starts_with("gauc_groups") {
        Dynamic::from(value as i64)
    } else {
        Dynamic::from(value)
    }
}

fn report(session: &Session, call: &Call, map: &Map) -> Result<(), RecipeError> {
    for (name, value) in map {
        let Some(json) = to_json(value).filter(|json| !json.is_null()) else {
            let found = described(value);
            let place = call.place_of_keys(&[name]);
            let message = format!("report: '{name}' is {found}, expected a plain value");
            return Err(RecipeError::script(place, message, None));
        };
        session.metrics().insert(name.to_string(), json);
    }
    Ok(())
}
