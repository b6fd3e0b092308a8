//! Exact top-k beside libtorch's `matmul` and `topk`: queries per second, and the share of the
//! product alone. `TensorCandidates`, the search for other devices, runs on the CPU here.
//!
//!     cargo bench -p rectool-model --bench top_k
//!
//! Without cargo's `--bench` it runs small, as a test.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::hint::black_box;
use std::time::Instant;

use rectool_base::Stream;
use rectool_model::{Candidates, TensorCandidates};
use tch::{Device, Kind, Tensor};

/// Queries that libtorch is given at a time: all products of all would not fit the memory.
const TORCH_QUERIES: i64 = 512;
const K: usize = 100;

/// The shortest of `rounds` times, in seconds.
fn seconds(rounds: usize, mut body: impl FnMut()) -> f64 {
    let times = (0..rounds).map(|_| {
        let start = Instant::now();
        body();
        start.elapsed().as_secs_f64()
    });
    times.fold(f64::INFINITY, f64::min)
}

fn main() {
    let full = std::env::args().any(|argument| argument == "--bench");
    let (queries, items, rounds) = if full { (6_000, 100_000, 5) } else { (70, 1_000, 1) };
    for width in [32, 64, 128] {
        let mut stream = Stream::new(1, &[]);
        let mut normal =
            |count: usize| -> Vec<f32> { (0..count).map(|_| stream.next_normal()).collect() };
        let (left, right) = (normal(queries * width), normal(items * width));
        let candidates = Candidates::new(&right, width);
        let own = seconds(rounds, || {
            black_box(candidates.top_k(&left, K, |_| &[]));
        });
        let tensors = TensorCandidates::new(&right, width, Device::Cpu).expect("memory");
        let by_tensors = seconds(rounds, || {
            black_box(tensors.top_k(&left, K, |_| &[]).expect("memory"));
        });
        let matrix = |values: &[f32]| Tensor::from_slice(values).view([-1, width as i64]);
        let (left, right) = (matrix(&left), matrix(&right).tr().contiguous());
        let blocks = left.split(TORCH_QUERIES, 0);
        let search = seconds(rounds, || {
            for block in &blocks {
                let _ = black_box(block.matmul(&right).topk(K as i64, 1, true, true));
            }
        });
        let product = Tensor::zeros([TORCH_QUERIES, items as i64], (Kind::Float, left.device()));
        let alone = seconds(rounds, || {
            for block in &blocks {
                let out = product.narrow(0, 0, block.size()[0]);
                let _ = black_box(block.matmul_out(&out, &right));
            }
        });
        let gflop = 2.0 * (queries * items * width) as f64 / 1e9;
        println!(
            "D {width}: {:.0} queries/s, {:.0} GFLOP/s; by tensors {:.0} queries/s; libtorch {:.0} \
             queries/s ({:.2}x), its product alone {:.0} GFLOP/s",
            queries as f64 / own,
            gflop / own,
            queries as f64 / by_tensors,
            queries as f64 / search,
            search / own,
            gflop / alone,
        );
    }
}
