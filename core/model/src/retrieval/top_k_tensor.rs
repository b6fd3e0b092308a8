//! The k candidates with the highest dot products, exactly, by libtorch's operations on any device.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use tch::kind::Element;
use tch::{Device, TchError, Tensor};

use super::RetrievalError;
use super::top_k::{Best, Recommended, before, rows_of};
use crate::Compute;
use crate::error::torch_message;

/// What a block of queries may take on the device, in bytes: products, and what is found among them.
/// Large enough that a GPU's product and selection take longer than to start them.
const BLOCK_BYTES: usize = 256 << 20;
/// Where the host has to decide, it takes the rows of a block in at most this many groups, to need less
/// memory than the device.
const GROUPS: usize = 8;

/// Vectors to search, on a device of libtorch's.
///
/// ```
/// use rectool_model::{RetrievalError, TensorCandidates};
/// let vectors = [1.0, 0.0, 0.0, 1.0, 1.0, 1.0];
/// let candidates = TensorCandidates::new(&vectors, 2, tch::Device::Cpu)?;
/// let found = candidates.top_k(&[2.0, 1.0], 2, |_| &[2])?;
/// assert_eq!(found, [vec![(0, 2.0), (1, 1.0)]]);
/// # Ok::<_, RetrievalError>(())
/// ```
#[derive(Debug)]
pub struct TensorCandidates {
    /// [V, E]. Tensors of libtorch's may move between threads, which cannot share them.
    vectors: Mutex<Tensor>,
    device: Device,
    width: usize,
    count: usize,
    block_bytes: usize,
}

impl TensorCandidates {
    /// Copies `vectors` [V, E], E = `width`, to `device`.
    ///
    /// # Errors
    /// If the device has no memory for them.
    ///
    /// # Panics
    /// If `width` is 0 or `vectors` are no whole number of rows.
    pub fn new(vectors: &[f32], width: usize, device: Device) -> Result<Self, RetrievalError> {
        Self::with_blocks(vectors, width, device, BLOCK_BYTES)
    }

    pub(super) fn with_blocks(
        vectors: &[f32],
        width: usize,
        device: Device,
        block_bytes: usize,
    ) -> Result<Self, RetrievalError> {
        let count = rows_of(vectors, width);
        let copied = rows(vectors, width, device).map_err(|error| {
            refused(device, format!("copying {count} vectors of {width} values"), &error)
        })?;
        Ok(Self { vectors: Mutex::new(copied), device, width, count, block_bytes })
    }

    /// As [`super::Candidates::top_k`], up to the rounding of products.
    ///
    /// # Errors
    /// If libtorch refuses an operation, such as for want of the device's memory.
    ///
    /// # Panics
    /// If `queries` are no whole number of rows.
    ///
    /// # Determinism
    /// The rounding of a query's products may depend on how many queries are searched with it. Ties
    /// do not depend on it: of equal scores the lower number always comes first.
    pub fn top_k<'a>(
        &self,
        queries: &[f32],
        k: usize,
        excluded: impl Fn(usize) -> &'a [u32],
    ) -> Result<Recommended, RetrievalError> {
        let (k, total) = (k.min(self.count), rows_of(queries, self.width));
        if k == 0 {
            return Ok(vec![Vec::new(); total]);
        }
        let vectors = self.vectors.lock().unwrap_or_else(PoisonError::into_inner);
        let block_rows = self.block_rows(k);
        let mut lists = Recommended::with_capacity(total);
        for queries in queries.chunks(block_rows.saturating_mul(self.width)) {
            let first = lists.len();
            let found = self.block(&vectors, queries, k, |query| excluded(first + query));
            lists.extend(found.map_err(|error| {
                let (queries, count, width) = (queries.len() / self.width, self.count, self.width);
                let doing = format!(
                    "searching {count} vectors of {width} values for {queries} queries at a time"
                );
                refused(self.device, doing, &error)
            })?);
        }
        Ok(lists)
    }

    /// Queries of a block: each takes its own values, V products, and k + 1 scores with their numbers.
    fn block_rows(&self, k: usize) -> usize {
        let (value, number) = (size_of::<f32>(), size_of::<i64>());
        let row = (self.width + self.count) * value + (k + 1) * (value + number);
        (self.block_bytes / row).max(1)
    }

    /// The lists of the queries of a block.
    fn block<'a>(
        &self,
        vectors: &Tensor,
        queries: &[f32],
        k: usize,
        excluded: impl Fn(usize) -> &'a [u32],
    ) -> Result<Recommended, TchError> {
        let queries = rows(queries, self.width, self.device)?;
        // In 32 bits on a GPU too: libtorch rounds the factors of such products to TF32 only if a program
        // asks for it, as nothing here does, or TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=1 is set.
        let products = queries.f_mm(&vectors.f_tr()?)?;
        self.exclude(&products, excluded)?;
        // The one after the k-th tells whether the k-th place is contested.
        let taken = (k + 1).min(self.count);
        let (scores, numbers) = products.f_topk(taken as i64, 1, true, true)?;
        let (scores, numbers) = (on_host::<f32>(&scores)?, on_host::<i64>(&numbers)?);
        let found = scores.par_chunks_exact(taken).zip(numbers.par_chunks_exact(taken));
        let mut lists: Vec<_> =
            found.map(|(scores, numbers)| certain(scores, numbers, k)).collect();
        self.decide(&products, k, &mut lists)?;
        Ok(lists.into_iter().flatten().collect())
    }

    /// Sets the products [B, V] of what is excluded to -∞.
    fn exclude<'a>(
        &self,
        products: &Tensor,
        excluded: impl Fn(usize) -> &'a [u32],
    ) -> Result<(), TchError> {
        let count = self.count as i64;
        let places = (0..products.size()[0]).flat_map(|query| {
            let numbers = excluded(query as usize).iter().map(|number| i64::from(*number));
            numbers.take_while(move |at| *at < count).map(move |at| query * count + at)
        });
        let places: Vec<i64> = places.collect();
        if !places.is_empty() {
            let places = Tensor::f_from_slice(&places)?.f_to_device(self.device)?;
            let _ = products.f_view(-1)?.f_index_fill_(0, &places, f64::NEG_INFINITY)?;
        }
        Ok(())
    }

    /// Makes the `lists` that are missing, on the host.
    fn decide(
        &self,
        products: &Tensor,
        k: usize,
        lists: &mut [Option<Vec<(u32, f32)>>],
    ) -> Result<(), TchError> {
        let missing = (0..lists.len()).filter(|query| lists[*query].is_none());
        let missing: Vec<i64> = missing.map(|query| query as i64).collect();
        for queries in missing.chunks(lists.len().div_ceil(GROUPS)) {
            let places = Tensor::f_from_slice(queries)?.f_to_device(self.device)?;
            let mut scores = on_host::<f32>(&products.f_index_select(0, &places)?)?;
            let found = scores.par_chunks_exact_mut(self.count).map(|scores| {
                for score in scores.iter_mut() {
                    *score = one_zero(*score);
                }
                let mut best = Best::new(k);
                best.add(scores, 0, &[]);
                best.sorted()
            });
            for (query, list) in queries.iter().zip(found.collect::<Vec<_>>()) {
                lists[*query as usize] = Some(list);
            }
        }
        Ok(())
    }
}

/// The list of a query whose greatest scores, falling, and their numbers these are. `None` if they leave
/// it open: with a NaN, which comes first in libtorch's order, or if the k-th place is contested, for
/// which libtorch takes any of those that score the same.
fn certain(scores: &[f32], numbers: &[i64], k: usize) -> Option<Vec<(u32, f32)>> {
    let last = scores[k - 1];
    let contested = last > f32::NEG_INFINITY && scores.get(k).is_some_and(|next| *next == last);
    if scores[0].is_nan() || contested {
        return None;
    }
    let found = numbers.iter().zip(scores).take(k);
    let found = found.filter(|(_, score)| **score > f32::NEG_INFINITY);
    let mut list: Vec<_> =
        found.map(|(number, score)| (*number as u32, one_zero(*score))).collect();
    list.sort_unstable_by(before);
    Some(list)
}

/// The score, and 0 for -0, which the order of lists tells apart.
fn one_zero(score: f32) -> f32 {
    score + 0.0
}

/// Rows of `width` values, on the device.
fn rows(values: &[f32], width: usize, device: Device) -> Result<Tensor, TchError> {
    let shape = [(values.len() / width) as i64, width as i64];
    Tensor::f_from_slice(values)?.f_view(shape)?.f_to_device(device)
}

fn on_host<T: Element + Copy + Default>(tensor: &Tensor) -> Result<Vec<T>, TchError> {
    let mut values = vec![T::default(); tensor.numel()];
    tensor.f_copy_data(&mut values, tensor.numel())?;
    Ok(values)
}

fn refused(device: Device, doing: String, error: &TchError) -> RetrievalError {
    let device = Compute::Tensor(device).name();
    RetrievalError::Torch { doing, device, message: torch_message(error) }
}
