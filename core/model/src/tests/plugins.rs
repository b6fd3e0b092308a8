//! Chains that make columns, and what a checkpoint keeps of plugins.

use std::fs;
use std::sync::Arc;

use rectool_base::{Hint, NoPlugins};
use rectool_comm::Solo;
use rectool_data::{ChainOp, ChainStep};

use super::native::{Native, call, dataset, environment, model, step, training};
use crate::{
    Checkpoint, Environment, LossSpec, ModelError, ModelSpec, Quiet, Ranker, TrainJob, fit, latest,
};

/// Trains, and writes a checkpoint into `folder`.
fn trained(data: &rectool_data::Dataset, spec: ModelSpec, folder: &std::path::Path) -> Ranker {
    let train = data.split("train").unwrap();
    let mut ranker = Ranker::new(spec, data.schema(), environment(Arc::new(Solo))).unwrap();
    let (spec, checkpoints) = (&training(), Some(folder));
    let job =
        TrainJob { spec, train: &train, valid: None, checkpoints, resume: None, recipe: None };
    fit(&mut ranker, &job, &mut Quiet).unwrap();
    ranker
}

#[test]
fn a_transform_from_elsewhere_is_a_step_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path());
    let ids = ["user", "item"];
    let plain = model(LossSpec::Bce, "dense", &ids, Vec::new());
    let doubled = model(LossSpec::Bce, "halved", &ids, vec![step("double", &["halved"])]);
    let plain = trained(&data, plain, &folder.path().join("a"));
    let doubled = trained(&data, doubled, &folder.path().join("b"));
    assert_eq!(plain.parameters.values(), doubled.parameters.values());
}

#[test]
fn features_may_name_columns_that_only_the_chain_makes() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path());
    let chain = vec![
        step("length", &["city"]),
        step("cross", &["user", "group"]),
        ChainStep::on("cross", ChainOp::Modulo { buckets: 10_000 }),
    ];
    let spec = model(LossSpec::Bce, "dense", &["item", "cross", "length"], chain);
    let ranker = trained(&data, spec, &folder.path().join("a"));
    let read: Vec<_> = ranker.schema.columns().iter().map(|column| &*column.name).collect();
    assert_eq!(read, ["user", "item", "group", "dense", "click", "city"]);
    let tables = ranker.tables().tables();
    assert!(tables.iter().any(|table| table.name == "cross" && table.rows > 9));
    assert!(tables.iter().any(|table| table.name == "length" && table.rows == 3));
    // The same model from its checkpoint alone.
    let path = latest(&folder.path().join("a")).unwrap();
    let mut again = Checkpoint::open(&path).unwrap().ranker(environment(Arc::new(Solo))).unwrap();
    let (valid, mut ranker) = (data.split("valid").unwrap(), ranker);
    let (first, second) = (ranker.evaluate(&valid, 50, 0), again.evaluate(&valid, 50, 0));
    assert_eq!(first.unwrap(), second.unwrap());
    // Without a plugin nothing can make it.
    let spec = model(LossSpec::Bce, "dense", &["item", "cross"], Vec::new());
    let Err(error) = Ranker::new(spec, data.schema(), environment(Arc::new(Solo))) else {
        panic!("no error")
    };
    assert!(error.to_string().contains("no column `cross`"), "{error}");
}

#[test]
fn what_a_loss_wants_must_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path());
    let loss = || LossSpec::Plugin(call("grouped", "a"));
    let spec = model(loss(), "dense", &["user"], Vec::new());
    let bound = spec.bind(data.schema(), &Native).unwrap();
    let read: Vec<_> = bound.schema.columns().iter().map(|column| &*column.name).collect();
    assert_eq!(read, ["user", "group", "dense", "click"]);
    let without = data.schema().columns().iter().filter(|column| column.name != "group");
    let without = rectool_base::Schema::new(without.cloned().collect()).unwrap();
    let Err(error) = spec.bind(&without, &Native) else { panic!("no error") };
    assert!(error.to_string().contains("wants a column: no column `group`"), "{error}");
    let Err(error) = spec.bind(data.schema(), &NoPlugins) else { panic!("no error") };
    assert!(matches!(error, ModelError::Plugin(_)), "{error}");
}

#[test]
fn a_checkpoint_keeps_its_plugins_and_takes_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path());
    let ids = ["user", "item"];
    let chain = vec![step("double", &["halved"]), step("double", &["halved"])];
    let spec = model(LossSpec::Plugin(call("bce", "a")), "halved", &ids, chain);
    trained(&data, spec.clone(), folder.path());
    let path = latest(folder.path()).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    let text = fs::read_to_string(path.join("manifest.json")).unwrap();
    let kept: Vec<_> = checkpoint.manifest().plugins.iter().collect();
    assert_eq!(kept.len(), 2, "{text}");
    assert_eq!((&*kept[0].name, &*kept[0].kind), ("double", "transform"));
    assert_eq!((&*kept[1].name, &*kept[1].kind, &kept[1].file), ("bce", "loss", &None));
    assert_eq!(kept[0].file.as_deref(), Some("plugins/double-a.wat"));
    let bytes = checkpoint.plugin_bytes("double-a").unwrap();
    assert_eq!(bytes.as_deref(), Some(&b"double-a"[..]));
    assert_eq!(checkpoint.plugin_bytes("bce-a").unwrap(), None);
    checkpoint.verify().unwrap();
    let component = path.join("plugins/double-a.wat");
    fs::write(&component, "Double-a").unwrap();
    let error = checkpoint.verify().unwrap_err();
    assert!(error.to_string().contains("double-a.wat: checksum"), "{error}");
    fs::write(&component, "double-a").unwrap();

    let load = |spec: ModelSpec| {
        let mut ranker = Ranker::new(spec, data.schema(), environment(Arc::new(Solo))).unwrap();
        checkpoint.load(&mut ranker).map(drop)
    };
    load(spec.clone()).unwrap();
    let mut other = spec.clone();
    other.features.chain.steps = vec![
        ChainStep { inputs: vec!["halved".into()], op: ChainOp::Plugin(call("double", "b")) },
        step("double", &["halved"]),
    ];
    let error = load(other).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("plugin `double` is 1.0.0 (sha256 double-a)"), "{text}");
    assert!(text.ends_with("expected 1.0.0 (sha256 double-b)"), "{text}");
    assert!(error.hint().is_some_and(|hint| hint.contains("plugins/double-a.wat")));
    let mut native = spec.clone();
    native.loss = LossSpec::Bce;
    assert!(load(native).unwrap_err().to_string().contains("`loss`"));
    let (comm, plugins) = (Arc::new(Solo), Arc::new(NoPlugins));
    let compute = environment(Arc::new(Solo)).compute;
    let Err(error) = checkpoint.ranker(Environment { comm, compute, plugins }) else {
        panic!("no error")
    };
    assert!(error.to_string().contains("there are no plugins here"), "{error}");
}
