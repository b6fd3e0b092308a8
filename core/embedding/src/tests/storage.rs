//! Tables of 16-bit values.

use std::sync::Arc;

use rectool_base::Stream;
use rectool_comm::Solo;

use super::case::{Case, content, feature, sgd, table};
use crate::{EmbeddingCollection, Ids, Init, Layout, Mode, Storage, TableOptions};

const NARROW: [Storage; 2] = [Storage::Bf16, Storage::F16];

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    for (seed, storage) in [(0, Storage::Bf16), (1, Storage::F16), (2, Storage::Bf16)] {
        let case = Case::draw(seed, 4_000).stored(storage);
        let mut runs = Vec::new();
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            runs.push(pool.install(|| {
                let mut collection = case.collection(Arc::new(Solo));
                let outputs = case.train(&mut collection, |rows| 0..rows);
                format!("{outputs:?} {:?}", content(&collection))
            }));
        }
        assert!(runs[0] == runs[1], "case {seed}");
    }
}

#[test]
fn a_row_is_the_same_before_and_after_it_is_made() {
    for storage in NARROW {
        let init = Init::Normal { std: 0.1 };
        let options = TableOptions { init, storage, ..table("t", 19, sgd(0.1)) };
        let mut collection =
            EmbeddingCollection::new(vec![options], vec![feature("f", "t")], 3, Arc::new(Solo))
                .unwrap();
        let ids = [Ids::Fixed { values: &[7, 99], width: 1, at: 0 }];
        let mut batch = collection.prepare(&ids, 2, 0).unwrap();
        let outputs = [Mode::Evaluate, Mode::Train, Mode::Evaluate].map(|mode| {
            let mut out = vec![0.0; 38];
            collection.forward(&mut batch, mode, &mut out, &Layout::packed([19])).unwrap();
            out
        });
        assert!(outputs[0] == outputs[1] && outputs[0] == outputs[2]);
    }
}

/// Mean square distance of a table's rows to targets that come with noise, after steps that are
/// each far below the last place of a 16-bit value.
fn distance(storage: Storage) -> f32 {
    const KEYS: usize = 64;
    const DIM: usize = 24;
    let options = TableOptions { storage, ..table("t", DIM, sgd(0.002)) };
    let mut collection =
        EmbeddingCollection::new(vec![options], vec![feature("f", "t")], 3, Arc::new(Solo))
            .unwrap();
    let layout = Layout::packed([DIM]);
    let mut stream = Stream::new(11, &[]);
    let target: Vec<f32> = (0..KEYS * DIM).map(|_| 1.0 + stream.next_normal()).collect();
    let values: Vec<i64> = (0..KEYS as i64).collect();
    let ids = [Ids::Fixed { values: &values, width: 1, at: 0 }];
    let mut out = vec![0.0; KEYS * DIM];
    for _ in 0..3_000 {
        let mut batch = collection.prepare(&ids, KEYS, 0).unwrap();
        collection.forward(&mut batch, Mode::Train, &mut out, &layout).unwrap();
        let gradient: Vec<f32> =
            out.iter().zip(&target).map(|(x, y)| x - y + 0.1 * stream.next_normal()).collect();
        collection.backward(&mut batch, &gradient, &layout, 1.0).unwrap();
        collection.recycle(batch);
    }
    let squares = out.iter().zip(&target).map(|(x, y)| (x - y) * (x - y));
    squares.sum::<f32>() / out.len() as f32
}

#[test]
fn training_arrives_where_it_does_with_32_bits() {
    let full = distance(Storage::F32);
    assert!(full < 1e-4, "{full}");
    // The last place is 2^-8 to 2^-11 of a value, and its rounding a random walk that the gradient
    // pulls back; rounded to the nearest value, no step of 0.002 · 0.5 would move a value of 1.
    let (brain, half) = (distance(Storage::Bf16), distance(Storage::F16));
    assert!(half < 4e-3 && brain < 2e-2, "{half}, {brain}");
}
