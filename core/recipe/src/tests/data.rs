//! A small dataset with every kind of column, and scripts on it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rectool_base::{Column, ColumnKind, ColumnSchema, Jagged, Schema, Stream};
use rectool_data::{DatasetWriter, WriterOptions};
use rectool_embedding::{
    Calibration, EmptyStep, Link, Lookup, MessageTime, OccurrenceTime, RowTime,
};
use tempfile::TempDir;

use crate::{Calibrate, RecipeOptions};

/// A folder with the dataset `clicks` in it.
pub(super) struct Fixture {
    pub(super) folder: TempDir,
}

impl Fixture {
    pub(super) fn new() -> Self {
        Self::of(0)
    }

    /// With the rows that `first` stands for.
    pub(super) fn of(first: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let packed = |name: &str, kind, members: &[&str]| {
            let members = members.iter().map(|member| (*member).to_owned()).collect();
            ColumnSchema::packed(name, kind, members)
        };
        let schema = Schema::new(vec![
            ColumnSchema::plain("label", ColumnKind::F32 { width: 1 }),
            ColumnSchema::plain("dense", ColumnKind::F32 { width: 2 }),
            packed("ids", ColumnKind::I64 { width: 2 }, &["user", "item"]),
            ColumnSchema::plain("genres", ColumnKind::I64List),
        ]);
        let path = folder.path().join("clicks");
        let options = WriterOptions::default();
        let mut writer = DatasetWriter::create(&path, schema.unwrap(), options).unwrap();
        for (at, (split, rows)) in
            [("train", 4000), ("valid", 1000), ("test", 1000)].iter().enumerate()
        {
            writer.write(split, rows_of(first + at as u64, *rows)).unwrap();
        }
        writer.finish().unwrap();
        Self { folder }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The dataset's path as a script writes it.
    pub(super) fn data(&self) -> String {
        self.path("clicks").display().to_string()
    }

    /// Writes `script` to `recipe.rhai`, with `DATA` replaced by the dataset's path.
    pub(super) fn recipe(&self, script: &str, set: &[&str]) -> RecipeOptions {
        let recipe = self.path("recipe.rhai");
        std::fs::write(&recipe, script.replace("DATA", &self.data())).unwrap();
        let set = set.iter().map(|pair| (*pair).to_owned()).collect();
        RecipeOptions { recipe, set, calibrate: made_up(), ..RecipeOptions::default() }
    }
}

/// A machine that was never measured: tests are to plan the same everywhere, and at once.
pub(super) fn made_up() -> Calibrate {
    let row = |(lookup, dim, rows, lookup_ns)| RowTime {
        lookup,
        dim,
        rows,
        lookup_ns,
        update_ns: 2.0 * lookup_ns,
        insert_ns: 10.0 * lookup_ns,
    };
    let occurrence =
        |(dim, pool_ns)| OccurrenceTime { dim, pool_ns, sum_ns: 2.0 * pool_ns, distinct_ns: 10.0 };
    let link = |bytes_per_ms: f64| {
        let time = |bytes: u64| MessageTime { bytes, ms: 0.01 + bytes as f64 / bytes_per_ms };
        Link::fit([1 << 8, 1 << 16, 1 << 22].map(time).to_vec())
    };
    let rows = [
        (Lookup::Dense, 16, 1 << 14, 5.0),
        (Lookup::Dense, 16, 1 << 21, 40.0),
        (Lookup::Dense, 128, 1 << 11, 20.0),
        (Lookup::Dense, 128, 1 << 18, 160.0),
        (Lookup::Hash, 16, 1 << 14, 15.0),
        (Lookup::Hash, 16, 1 << 21, 90.0),
    ];
    Calibrate::Given(Arc::new(Calibration {
        ranks: 1,
        ranks_per_node: 1 << 20,
        threads: 2,
        rows: rows.map(row).to_vec(),
        occurrences: [(16, 3.0), (128, 20.0)].map(occurrence).to_vec(),
        empty: EmptyStep { prepare_ns: 2e3, lookup_ns: 3e3, update_ns: 4e3 },
        copy_bytes_per_ms: 1e7,
        exchange_local: link(1e6),
        exchange_remote: link(1e5),
        all_reduce: link(1e6),
        seconds: 0.0,
    }))
}

/// Clicks that depend on user, item and the dense values.
fn rows_of(split: u64, rows: usize) -> Vec<Column> {
    let mut stream = Stream::new(11, &[split]);
    let (mut labels, mut dense, mut ids, mut genres) =
        (Vec::new(), Vec::new(), Vec::new(), Jagged::new());
    for _ in 0..rows {
        let (user, item) = (stream.below(20) as i64, 100 + stream.below(30) as i64);
        let values = [stream.next_f32() * 4.0, stream.next_f32()];
        let taste = Stream::new(1, &[user as u64]).next_normal();
        let appeal = Stream::new(2, &[item as u64]).next_normal();
        let score = 1.5 * taste + 1.5 * appeal + values[0] - 2.0;
        labels.push(f32::from(stream.next_f32() < 1.0 / (1.0 + (-score).exp())));
        dense.extend(values);
        ids.extend([user, item]);
        let count = stream.below(3);
        genres.push_row(&(0..count).map(|_| stream.below(9) as i64).collect::<Vec<_>>());
    }
    vec![
        Column::F32 { width: 1, values: labels },
        Column::F32 { width: 2, values: dense },
        Column::I64 { width: 2, values: ids },
        Column::I64List(genres),
    ]
}

/// A file of the repository.
pub(super) fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// A recipe that trains and evaluates in well under a second.
pub(super) const SMALL: &str = r#"
let epochs = param("epochs", 3);
let seed = param("seed", 5);
let data = dataset("DATA");
let model = dlrm(#{
    features: features(data, #{dense: ["dense"], ids: ["ids", "genres"], chain: [log1p("dense")]}),
    embedding_dim: 4, bottom: [8], top: [16], seed: seed,
    embedding_optimizer: adagrad(#{learning_rate: 0.1}),
    dense_optimizer: adam(#{learning_rate: 0.01}),
});
let result = train(model, #{
    train: data.train, valid: data.valid, epochs: epochs, batch_size: 100, eval_every: 40,
    checkpoint_every: 30, seed: seed,
});
let test = evaluate(model, data.test);
report(#{valid_minus_test: result.auc - test.auc});
"#;
