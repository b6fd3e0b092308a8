//! Saved on some ranks, loaded on others.

use std::sync::Arc;

use rectool_comm::{Comm, on_ranks};
use rectool_embedding::{Admission, EmbeddingCollection, Rows, Sharding, ShardingPlan};

use super::{Fixture, short};
use crate::checkpoint::{CheckpointFolder, Form};
use crate::{Checkpoint, Ranker};

/// What a rank holds, and what the model says of the validation rows.
struct Held {
    /// The rows of each table, one by one.
    rows: Vec<Vec<Rows>>,
    /// Weights outside of tables, and their optimizer's state.
    dense: Vec<f32>,
    auc: f64,
    table_steps: u64,
}

fn held(ranker: &mut Ranker, fixture: &Fixture) -> Held {
    let tables = 0..ranker.tables.table_options().len();
    let rows = tables.map(|at| ranker.tables.export(at, 1).unwrap().collect()).collect();
    let dense = ranker.parameters.values().to_vec();
    let states: Vec<f32> =
        ranker.optimizer.state().into_iter().flat_map(|(_, state)| state.to_vec()).collect();
    let valid = fixture.data.split("valid").unwrap();
    let evaluation = ranker.evaluate(&valid, 50, 0).unwrap();
    let auc = evaluation.metric("auc").unwrap();
    Held { rows, dense: [dense, states].concat(), auc, table_steps: ranker.tables.steps() }
}

/// The tables of all ranks: rows by table and key.
fn union(ranks: &[Held]) -> Vec<Vec<Rows>> {
    let tables = 0..ranks[0].rows.len();
    let table = |at: usize| {
        let mut rows: Vec<Rows> = ranks.iter().flat_map(|rank| rank.rows[at].clone()).collect();
        rows.sort_by_key(|row| row.keys[0]);
        rows
    };
    tables.map(table).collect()
}

#[test]
fn any_number_of_ranks_loads_what_any_other_saved() {
    let fixture = Fixture::new();
    for (before, after, full_every) in [(1, 2, 0), (2, 4, 3), (4, 3, 3), (3, 1, 0), (2, 1, 3)] {
        let name = format!("run-{before}-{after}");
        let saved = on_ranks(before, |comm| {
            let mut ranker = fixture.ranker(comm);
            let mut how = short(full_every);
            how.steps_max = 24;
            fixture.fit(&mut ranker, &how, &name, None);
            held(&mut ranker, &fixture)
        });
        // The last one stands alone; the one before may be a delta.
        let checkpoint = fixture.checkpoint(&name, 24);
        let resharded = fixture.path(&format!("{name}-resharded"));
        checkpoint.chain().unwrap().reshard(after, &resharded).unwrap();
        let resharded = Checkpoint::open(&resharded).unwrap();
        assert_eq!(resharded.manifest().ranks, after);
        for checkpoint in [checkpoint, resharded] {
            let loaded = on_ranks(after, |comm| {
                let mut ranker = fixture.ranker(comm);
                checkpoint.load(&mut ranker).unwrap();
                held(&mut ranker, &fixture)
            });
            assert_eq!(union(&loaded), union(&saved), "{name}");
            for rank in &loaded {
                assert_eq!(rank.dense, saved[0].dense, "{name}");
                let steps = (rank.table_steps, saved[0].table_steps);
                assert_eq!((rank.auc, steps.0), (saved[0].auc, steps.1), "{name}");
            }
        }
    }
}

#[test]
fn a_delta_resumes_on_other_ranks() {
    let fixture = Fixture::new();
    on_ranks(2, |comm| fixture.fit(&mut fixture.ranker(comm), &short(4), "run", None));
    let whole = fixture.chain("run", 30);
    for ranks in [1, 3] {
        let name = format!("again-{ranks}");
        super::copy(&fixture.path("run"), &fixture.path(&name));
        for step in [20, 25, 30] {
            std::fs::remove_dir_all(fixture.path(&format!("{name}/step-{step:08}"))).unwrap();
        }
        on_ranks(ranks, |comm| {
            let mut ranker = fixture.ranker(comm);
            let checkpoint = fixture.checkpoint(&name, 15);
            assert!(checkpoint.manifest().delta.is_some());
            let state = checkpoint.load(&mut ranker).unwrap();
            fixture.fit(&mut ranker, &short(4), &name, Some(state));
        });
        // Sums over ranks are taken in another order.
        let diff = whole.diff(&fixture.chain(&name, 30)).unwrap();
        for table in &diff.tables {
            let other = table.rows_only_a + table.rows_only_b + table.dates_changed;
            assert_eq!(other, 0, "{table:?}");
            assert!(table.values_difference_max.unwrap() < 1e-5, "{table:?}");
        }
        // The delta of step 20 was made by other ranks than what it builds on.
        assert_eq!(fixture.checkpoint(&name, 20).manifest().ranks, ranks);
        fixture.chain(&name, 20).verify_rows().unwrap();
    }
}

/// The kinds of places that a table can have on some ranks.
fn places(ranks: usize) -> Vec<Sharding> {
    let last = ranks - 1;
    let columns = if ranks > 1 { vec![last, 0] } else { vec![0] };
    vec![
        Sharding::DataParallel,
        Sharding::TableWise { rank: last },
        Sharding::RowWise,
        Sharding::TableRowWise { first: ranks / 2, ranks: ranks - ranks / 2 },
        Sharding::ColumnWise { ranks: columns },
    ]
}

/// A model whose first table lives at place `at`, and the other at the next.
fn placed(fixture: &Fixture, comm: Arc<dyn Comm>, at: usize) -> Ranker {
    let mut ranker = fixture.ranker(Arc::clone(&comm));
    let (mut tables, features) = ranker.spec.tables();
    tables[0].admission = Admission::Count { sightings: 2, window_steps: 6, cells: 1 << 17 };
    let places = places(comm.size());
    let place = |n: usize| places[(at + n) % places.len()].clone();
    let named = tables.iter().enumerate().map(|(n, table)| (table.name.clone(), place(n)));
    let plan = ShardingPlan { tables: named.collect() };
    let seed = ranker.spec.seed;
    ranker.tables = EmbeddingCollection::with_plan(tables, features, seed, comm, &plan).unwrap();
    ranker
}

#[test]
fn any_plan_loads_what_any_other_saved() {
    let fixture = Fixture::new();
    let mut how = short(3);
    how.steps_max = 12;
    for (before, after) in [(1, 2), (2, 4), (4, 3), (3, 1), (2, 1)] {
        for at in 0..places(1).len() {
            let name = format!("run-{before}-{after}-{at}");
            let saved = on_ranks(before, |comm| {
                let mut ranker = placed(&fixture, comm, at);
                fixture.fit(&mut ranker, &how, &name, None);
                held(&mut ranker, &fixture).auc
            });
            // A delta, and one that stands alone.
            for step in [10, 12] {
                let chain = fixture.chain(&name, step);
                let again = fixture.path(&format!("{name}-{step}"));
                let loaded = on_ranks(after, |comm| {
                    let mut ranker = placed(&fixture, comm, at + 2);
                    let state = chain.head().load(&mut ranker).unwrap();
                    let path = again.clone();
                    let folder = CheckpointFolder { path, kept: 1, full_every: 0, recipe: None };
                    folder.save(&mut ranker, &state, Form::Full).unwrap();
                    held(&mut ranker, &fixture).auc
                });
                let again = Checkpoint::open(&again.join(chain.head().name())).unwrap();
                let diff = chain.diff(&again.chain().unwrap()).unwrap();
                assert!(diff.equal, "{name}, step {step}: {diff:?}");
                let known = chain.joined_filter("user").unwrap();
                assert!(known.counts.admitted > 0 && known.counts.rejected > 0, "{known:?}");
                let cells = known.sketch.unwrap();
                assert!(cells.current.iter().chain(&cells.past).any(|cell| *cell > 0));
                assert!(step != 12 || loaded.iter().all(|auc| *auc == saved[0]), "{name}");
            }
        }
    }
}
