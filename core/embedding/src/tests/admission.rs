//! Which keys get rows, on any number of ranks and threads.

use std::sync::Arc;

use proptest::prelude::*;
use rectool_base::Stream;
use rectool_comm::{Solo, on_ranks};

use super::case::{
    Case, Content, assert_close, assert_contents_close, content, feature, join, sgd, share, table,
};
use crate::table::Table;
use crate::{
    Admission, BUCKETS, EmbeddingCollection, Expiry, FilterState, Ids, IndexKind, Init, Layout,
    Mode, RowCounts, ShardingPlan, TableOptions, TableTotals, Unadmitted,
};

fn counted(sightings: u32, window_steps: u32) -> Admission {
    Admission::Count { sightings, window_steps, cells: 1 << 16 }
}

fn one_table(options: TableOptions) -> EmbeddingCollection {
    let features = vec![feature("f", "t")];
    EmbeddingCollection::new(vec![options], features, 5, Arc::new(Solo)).unwrap()
}

/// Trains on `keys`, with gradients of one; returns what was read.
fn step(collection: &mut EmbeddingCollection, keys: &[i64]) -> Vec<f32> {
    let layout = Layout::packed([1]);
    let ids = [Ids::Fixed { values: keys, width: 1, at: 0 }];
    let mut out = vec![0.0; keys.len()];
    let mut batch = collection.prepare(&ids, keys.len(), 0).unwrap();
    // Looking up twice does not count twice.
    collection.forward(&mut batch, Mode::Train, &mut out, &layout).unwrap();
    collection.forward(&mut batch, Mode::Train, &mut out, &layout).unwrap();
    collection.backward(&mut batch, &vec![1.0; keys.len()], &layout, 1.0).unwrap();
    out
}

#[test]
fn a_key_gets_a_row_when_enough_batches_had_it() {
    let init = Init::Uniform { bound: 0.5 };
    let unadmitted = Unadmitted::Constant { value: 9.0 };
    let admission = counted(3, 1_000);
    let options = TableOptions { init, admission, unadmitted, ..table("t", 1, sgd(1.0)) };
    let mut collection = one_table(options.clone());
    let start = super::oracle::initial(&options, 5, 7).values[0] as f32;
    // Twice in a batch is one sighting.
    assert_eq!(step(&mut collection, &[7, 7]), [9.0, 9.0]);
    assert_eq!(step(&mut collection, &[8]), [9.0]);
    assert_eq!(step(&mut collection, &[7]), [9.0]);
    assert_eq!(collection.rows_total().unwrap(), 0);
    assert_eq!(step(&mut collection, &[7, 8]), [start, 9.0]);
    assert_eq!(step(&mut collection, &[7]), [start - 1.0]);
    let expected = TableTotals {
        name: "t".to_owned(),
        rows: 1,
        bytes: collection.bytes() as u64,
        counts: RowCounts { admitted: 1, rejected: 4, ..RowCounts::default() },
        // Key 8; key 7 gave its cell back.
        sketch_used: Some(1.0 / 65_536.0),
    };
    assert_eq!(collection.totals().unwrap(), [expected]);
    // A row that is removed must be earned again.
    assert_eq!(collection.remove(0, &[7]).unwrap(), 1);
    assert_eq!(step(&mut collection, &[7]), [9.0]);
}

#[test]
fn a_batch_looked_up_ahead_of_an_expiry_is_seen_once() {
    // Each step looks for rows to give up, so that what was looked up ahead is looked up again.
    let expiry = Expiry { after_steps: Some(1_000), every_steps: 1, ..Expiry::default() };
    let options = TableOptions { admission: counted(3, 1_000), expiry, ..table("t", 1, sgd(1.0)) };
    let mut collection = one_table(options);
    let layout = Layout::packed([1]);
    let ids = [Ids::Fixed { values: &[7], width: 1, at: 0 }];
    let mut next = collection.prepare(&ids, 1, 0).unwrap();
    for sighting in 1..=4 {
        let mut batch = next;
        collection.forward(&mut batch, Mode::Train, &mut [0.0], &layout).unwrap();
        next = collection.prepare(&ids, 1, 0).unwrap();
        collection.answer(&mut next).unwrap();
        collection.backward(&mut batch, &[1.0], &layout, 1.0).unwrap();
        assert_eq!(collection.rows_total().unwrap(), u64::from(sighting >= 3), "{sighting}");
    }
    let counts = RowCounts { admitted: 1, rejected: 2, ..RowCounts::default() };
    assert_eq!(collection.totals().unwrap()[0].counts, counts);
}

#[test]
fn sightings_are_forgotten_after_the_window() {
    let options = TableOptions { admission: counted(2, 4), ..table("t", 1, sgd(1.0)) };
    let mut collection = one_table(options);
    step(&mut collection, &[1]);
    for _ in 0..4 {
        step(&mut collection, &[]);
    }
    step(&mut collection, &[1]);
    assert_eq!(collection.rows_total().unwrap(), 0);
    step(&mut collection, &[1]);
    assert_eq!(collection.rows_total().unwrap(), 1);
}

#[test]
fn a_full_sketch_admits_and_says_so() {
    let admission = Admission::Count { sightings: 2, window_steps: 100, cells: 1 };
    let mut collection = one_table(TableOptions { admission, ..table("t", 1, sgd(1.0)) });
    let keys: Vec<i64> = (0..200_000).collect();
    step(&mut collection, &keys);
    assert_eq!(collection.rows_total().unwrap(), 0);
    let used = collection.totals().unwrap()[0].sketch_used.unwrap();
    assert!(used > 20.0 / 21.0 && used <= 1.0, "{used}");
    step(&mut collection, &(200_000..201_000).collect::<Vec<_>>());
    let counts = collection.totals().unwrap()[0].counts;
    assert!(counts.saturated > 900 && counts.admitted >= counts.saturated, "{counts:?}");
    assert_eq!(collection.rows_total().unwrap(), counts.admitted);
}

#[test]
fn a_full_sketch_admits_the_same_keys_in_any_order() {
    let admitted = |backwards: bool| {
        let admission = Admission::Count { sightings: 2, window_steps: 100, cells: 1 };
        let mut collection = one_table(TableOptions { admission, ..table("t", 1, sgd(1.0)) });
        step(&mut collection, &(0..200_000).collect::<Vec<_>>());
        // Some come again, and their cells become free; others come and find none.
        let mut keys: Vec<i64> = (0..500).chain(300_000..301_000).collect();
        if backwards {
            keys.reverse();
        }
        step(&mut collection, &keys);
        let keys: Vec<u64> = content(&collection).keys().map(|(_, key)| *key).collect();
        (keys, collection.totals().unwrap()[0].counts)
    };
    assert_eq!(admitted(false), admitted(true));
}

#[test]
fn a_probability_admits_its_share() {
    let admission = Admission::Probability { p: 0.25 };
    let mut collection = one_table(TableOptions { admission, ..table("t", 1, sgd(1.0)) });
    let keys: Vec<i64> = (0..20_000).collect();
    step(&mut collection, &keys);
    let first = collection.rows_total().unwrap();
    assert!((4_700..5_300).contains(&first), "{first}");
    step(&mut collection, &keys);
    let second = collection.rows_total().unwrap();
    assert!((8_500..9_000).contains(&second), "{second}");
}

#[test]
fn rows_go_when_they_are_old_or_too_many() {
    let expiry = Expiry { after_steps: Some(4), rows_max: Some(3), every_steps: 2 };
    let options = TableOptions { expiry, init: Init::Zero, ..table("t", 1, sgd(1.0)) };
    let mut collection = one_table(options);
    let keys = |collection: &EmbeddingCollection| -> Vec<u64> {
        content(collection).keys().map(|(_, key)| *key).collect()
    };
    step(&mut collection, &[1, 2, 3, 4, 5]);
    assert_eq!(keys(&collection), [1, 2, 3, 4, 5]);
    assert_eq!(collection.take_removed(0).unwrap(), Vec::<u64>::new());
    step(&mut collection, &[1, 2]);
    // Of three with a count of one, the lowest keys go.
    assert_eq!(keys(&collection), [1, 2, 5]);
    assert_eq!(collection.take_removed(0).unwrap(), [3, 4]);
    step(&mut collection, &[3]);
    step(&mut collection, &[]);
    // Key 3 came back as a new one, and is younger than key 5.
    assert_eq!(keys(&collection), [1, 2, 3]);
    step(&mut collection, &[]);
    step(&mut collection, &[]);
    assert_eq!(keys(&collection), [3]);
    assert_eq!(step(&mut collection, &[1, 3]), [0.0, -1.0]);
    assert_eq!(collection.expire().unwrap(), 0);
    let counts =
        RowCounts { admitted: 7, expired_by_age: 2, expired_by_use: 3, ..RowCounts::default() };
    assert_eq!(collection.totals().unwrap()[0].counts, counts);
    // A batch that is on its way would update rows that are another key's by now.
    let layout = Layout::packed([1]);
    let mut batch =
        collection.prepare(&[Ids::Fixed { values: &[9], width: 1, at: 0 }], 1, 0).unwrap();
    collection.forward(&mut batch, Mode::Train, &mut [0.0], &layout).unwrap();
    collection.expire().unwrap();
    assert!(collection.backward(&mut batch, &[1.0], &layout, 1.0).is_err());
    assert_eq!(keys(&collection), [1, 3, 9]);
}

/// A case whose tables admit and give up rows in different ways.
fn admitting(seed: u64, rows_max: u64) -> Case {
    let mut case = Case::draw(seed, rows_max);
    for (t, table) in case.tables.iter_mut().enumerate() {
        table.admission = match (seed as usize + t) % 3 {
            0 => counted(2, 6),
            1 => counted(3, 1_000),
            _ => Admission::Probability { p: 0.4 },
        };
        table.expiry = match (seed as usize + t) % 4 {
            0 => Expiry::default(),
            1 => Expiry { after_steps: Some(3), rows_max: None, every_steps: 2 },
            2 => Expiry { after_steps: None, rows_max: Some(9), every_steps: 3 },
            _ => Expiry { after_steps: Some(5), rows_max: Some(12), every_steps: 1 },
        };
    }
    case
}

/// The states of all ranks as one.
fn joined(states: &[FilterState]) -> FilterState {
    let mut all = FilterState::default();
    for state in states {
        assert_eq!(state.buckets.start, all.buckets.end);
        all.buckets.end = state.buckets.end;
        all.counts.add(state.counts);
        let Some(part) = &state.sketch else { continue };
        let sketch = all.sketch.get_or_insert_default();
        sketch.generation = part.generation;
        sketch.current.extend_from_slice(&part.current);
        sketch.past.extend_from_slice(&part.past);
    }
    assert_eq!(all.buckets, 0..BUCKETS);
    all
}

fn states(collection: &EmbeddingCollection) -> Vec<FilterState> {
    (0..collection.tables().len()).map(|t| collection.filter_state(t).unwrap()).collect()
}

#[test]
fn ranks_admit_what_one_rank_admits() {
    for (seed, ranks) in [(1, 2), (2, 3), (3, 4), (4, 2), (5, 3), (6, 3)] {
        let case = admitting(seed, 24);
        let mut single = case.collection(Arc::new(Solo));
        let expected: Vec<_> =
            (0..3).flat_map(|_| case.train(&mut single, |rows| 0..rows)).collect();
        let parts = on_ranks(ranks, |comm| {
            let rank = comm.rank();
            let mut collection = case.collection(comm);
            let outputs: Vec<_> = (0..3)
                .flat_map(|_| case.train(&mut collection, |rows| share(rank, ranks, rows)))
                .collect();
            let totals = collection.totals().unwrap();
            (outputs, content(&collection), states(&collection), totals)
        });
        for (n, expected) in expected.iter().enumerate() {
            let found: Vec<f32> =
                parts.iter().flat_map(|(outputs, ..)| outputs[n].iter().copied()).collect();
            assert_close(&found, expected, 1e-4, &format!("output of step {n}"));
        }
        for (t, expected) in states(&single).iter().enumerate() {
            let found: Vec<FilterState> =
                parts.iter().map(|(_, _, states, _)| states[t].clone()).collect();
            assert_eq!(
                joined(&found),
                joined(std::slice::from_ref(expected)),
                "case {seed}, table {t}"
            );
        }
        let totals = single.totals().unwrap();
        assert!(totals.iter().any(|total| total.counts.rejected > 0), "case {seed}");
        let shared = |total: &TableTotals| (total.rows, total.counts, total.sketch_used.is_some());
        let expected: Vec<_> = totals.iter().map(shared).collect();
        for (.., found) in &parts {
            assert_eq!(found.iter().map(shared).collect::<Vec<_>>(), expected, "case {seed}");
        }
        let found: Content = parts.into_iter().flat_map(|(_, content, ..)| content).collect();
        assert_contents_close(&found, &content(&single), 1e-4);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn places_admit_and_give_up_the_same_rows(seed in 0..u64::from(u32::MAX), ranks in 1..6usize) {
        let case = admitting(seed, 24);
        let run = |plan: &ShardingPlan| {
            let parts = on_ranks(ranks, |comm| {
                let rank = comm.rank();
                let mut collection = case.collection_with(comm, plan);
                let outputs: Vec<_> = (0..3)
                    .flat_map(|_| case.train(&mut collection, |rows| share(rank, ranks, rows)))
                    .collect();
                let counts: Vec<_> =
                    collection.totals().unwrap().iter().map(|t| (t.rows, t.counts)).collect();
                (format!("{outputs:?} {counts:?}"), content(&collection), states(&collection))
            });
            let filters = |t: usize| -> Vec<FilterState> {
                let states = parts.iter().map(|(.., states)| states[t].clone());
                // The others hold the same as one that speaks.
                states.filter(|state| !state.buckets.is_empty()).collect()
            };
            let filters: Vec<_> = (0..case.tables.len()).map(|t| joined(&filters(t))).collect();
            let (seen, contents): (Vec<_>, Vec<_>) =
                parts.into_iter().map(|(seen, content, _)| (seen, content)).unzip();
            (seen, join(contents), filters)
        };
        let plan = case.draw_plan(&mut Stream::new(seed, &[3]), ranks);
        let (found, expected) = (run(&plan), run(&ShardingPlan::row_wise(&case.tables)));
        prop_assert!(found == expected, "{:?}", plan);
    }
}

#[test]
fn admission_goes_on_at_another_number_of_ranks() {
    for (seed, before, after) in [(1, 2, 3), (2, 3, 1), (3, 1, 4), (4, 4, 2)] {
        let case = admitting(seed, 24);
        let mut whole = case.collection(Arc::new(Solo));
        (0..2).for_each(|_| drop(case.train(&mut whole, |rows| 0..rows)));
        let parts = on_ranks(before, |comm| {
            let rank = comm.rank();
            let mut collection = case.collection(comm);
            case.train(&mut collection, |rows| share(rank, before, rows));
            let tables = 0..case.tables.len();
            let rows: Vec<Vec<_>> =
                tables.map(|t| collection.export(t, 100).unwrap().collect()).collect();
            (rows, states(&collection), collection.steps())
        });
        let found = on_ranks(after, |comm| {
            let rank = comm.rank();
            let mut collection = case.collection(comm);
            for (rows, states, steps) in &parts {
                for t in 0..case.tables.len() {
                    for rows in &rows[t] {
                        collection.import(t, rows).unwrap();
                    }
                    collection.set_filter_state(t, &states[t]).unwrap();
                }
                collection.set_steps(*steps);
            }
            case.train(&mut collection, |rows| share(rank, after, rows));
            (content(&collection), states(&collection))
        });
        for (t, expected) in states(&whole).iter().enumerate() {
            let found: Vec<FilterState> =
                found.iter().map(|(_, states)| states[t].clone()).collect();
            assert_eq!(
                joined(&found),
                joined(std::slice::from_ref(expected)),
                "case {seed}, table {t}"
            );
        }
        let found: Content = found.into_iter().flat_map(|(content, _)| content).collect();
        assert_contents_close(&found, &content(&whole), 1e-4);
    }
}

#[test]
fn any_number_of_threads_admits_the_same_keys() {
    let case = admitting(3, 3_000);
    let mut runs = Vec::new();
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        runs.push(pool.install(|| {
            let mut collection = case.collection(Arc::new(Solo));
            let outputs = case.train(&mut collection, |rows| 0..rows);
            (format!("{outputs:?} {:?}", content(&collection)), states(&collection))
        }));
    }
    assert!(runs[0] == runs[1] && runs[0] == runs[2]);
}

#[test]
fn a_sketch_of_another_size_is_refused() {
    let collection = |cells| {
        let admission = Admission::Count { sightings: 2, window_steps: 9, cells };
        one_table(TableOptions { admission, ..table("t", 1, sgd(1.0)) })
    };
    let state = collection(1 << 17).filter_state(0).unwrap();
    assert_eq!(
        collection(1 << 18).set_filter_state(0, &state).unwrap_err().to_string(),
        "table `t`: cannot load rows: cells of the sketch: found 131072, expected 262144"
    );
    assert!(collection(1 << 17).set_filter_state(1, &state).is_err());
}

#[test]
fn removed_rows_give_their_memory_back() {
    let dense = IndexKind::Dense { rows: 4_000 };
    // Rows stay in the first chunk, or in the first and the last one.
    let first = |key: &u64| *key < 30;
    let apart = |key: &u64| *key < 10 || *key > 3_980;
    let stays: [fn(&u64) -> bool; 2] = [first, apart];
    for (index, stays) in
        [IndexKind::Hash, dense].into_iter().flat_map(|i| stays.map(|s| (i.clone(), s)))
    {
        let init = Init::Uniform { bound: 0.5 };
        let mut collection = one_table(TableOptions { index, init, ..table("t", 1, sgd(1.0)) });
        let keys: Vec<i64> = (0..4_000).collect();
        step(&mut collection, &keys);
        let before = content(&collection);
        let chunks = |collection: &EmbeddingCollection| collection.tables[0].slab.chunks_open();
        let full = chunks(&collection);
        assert!(full > 8, "{full} chunks");
        let gone: Vec<u64> = (0..4_000).filter(|key| !stays(key)).collect();
        assert_eq!(collection.remove(0, &gone).unwrap(), gone.len());
        assert!(chunks(&collection) < full / 2, "{} of {full}", chunks(&collection));
        let mut rest = before.clone();
        rest.retain(|(_, key), _| stays(key));
        assert_eq!(content(&collection), rest);
        // Whoever comes back begins anew, and nobody else notices.
        step(&mut collection, &keys);
        let after = content(&collection);
        assert_eq!(after.len(), 4_000);
        assert!(gone.iter().all(|key| after[&(0, *key)] == before[&(0, *key)]));
        assert!((0..10).all(|key| after[&(0, key)] != before[&(0, key)]));
    }
}

#[test]
fn memory_that_is_not_there_is_an_error() {
    // More bytes than there are addresses, which options do not allow.
    let admission = Admission::Count { sightings: 2, window_steps: 9, cells: u64::MAX };
    let options = TableOptions { admission, ..table("t", 1, sgd(1.0)) };
    let error = Table::new(options, 0..1, 0..BUCKETS, 5).err().unwrap().to_string();
    assert!(error.starts_with("table `t`: no memory for the sketch"), "{error}");
}
