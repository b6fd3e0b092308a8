//! Histories in libtorch's operations.

use tch::{Kind, Tensor};

use super::history::{HistoryKind, HistoryShape, Sequence};
use super::mlp::MlpShape;
use super::mlp_tensor::torch;
use super::towers_tensor::Weights;
use crate::ModelError;

/// What the score of a position without a vector is: its share is 0 beside any other.
const NO_SCORE: f64 = -1e30;

/// The pooled vectors [B, D] of a history among `vectors` [B, stride].
pub(super) fn pool(
    weights: &Weights,
    HistoryShape { sequence, kind }: &HistoryShape,
    vectors: &Tensor,
) -> Result<Tensor, ModelError> {
    let Sequence { from, length, dim, .. } = *sequence;
    let (rows, length, dim) = (vectors.size()[0], length as i64, dim as i64);
    let history = vectors.narrow(1, from as i64, length * dim).reshape([rows, length, dim]);
    // 1 where there is a vector, [B, L].
    let mask = torch(torch(history.detach().f_ne(0.0))?.f_any_dim(2, false))?;
    let mask = torch(mask.f_to_kind(Kind::Float))?;
    match kind {
        HistoryKind::Attention { query, distances } => {
            let scores = torch(history.f_matmul(&weights.entries[*query]))?;
            let behind = distances_from_end(&mask, length)?;
            let numbers = torch(weights.entries[*distances].f_take(&behind))?;
            let scores = torch(scores.f_add(&numbers))?;
            let scores = torch(scores.f_masked_fill(&torch(mask.f_eq(0.0))?, NO_SCORE))?;
            let shares = torch(torch(scores.f_softmax(1, Kind::Float))?.f_mul(&mask))?;
            weighted(&history, &shares)
        }
        HistoryKind::Gru { gate, candidate } => recur(weights, [gate, candidate], &history, &mask),
        HistoryKind::Target { weigher, target } => {
            let target = vectors.narrow(1, *target as i64, dim);
            let target = target.unsqueeze(1).expand([rows, length, dim], false);
            let products = torch(history.f_mul(&target))?;
            let differences = torch(history.f_sub(&target))?;
            let pairs = [&history, &target, &products, &differences];
            let read = torch(Tensor::f_cat(&pairs, 2))?.reshape([rows * length, 4 * dim]);
            let shares = weights.mlp(weigher, &read)?.reshape([rows, length]);
            weighted(&history, &torch(shares.f_mul(&mask))?)
        }
    }
}

/// How far each position is from the last one that has a vector, [B, L]; 0 behind it.
fn distances_from_end(mask: &Tensor, length: i64) -> Result<Tensor, ModelError> {
    let positions = Tensor::arange(length, (Kind::Float, mask.device()));
    let last = torch(torch(mask.f_mul(&positions))?.f_amax([1i64].as_slice(), true))?;
    let behind = torch(torch(last.f_sub(&positions))?.f_clamp_min(0.0))?;
    torch(behind.f_to_kind(Kind::Int64))
}

/// Σ over positions of shares [B, L] times vectors [B, L, D].
fn weighted(history: &Tensor, shares: &Tensor) -> Result<Tensor, ModelError> {
    let products = torch(history.f_mul(&shares.unsqueeze(2)))?;
    torch(products.f_sum_dim_intlist([1i64].as_slice(), false, Kind::Float))
}

fn recur(
    weights: &Weights,
    [gate, candidate]: [&MlpShape; 2],
    history: &Tensor,
    mask: &Tensor,
) -> Result<Tensor, ModelError> {
    let mut state = torch(history.select(1, 0).f_zeros_like())?;
    for position in 0..history.size()[1] {
        let input = history.select(1, position);
        let open = torch(weights.mlp(gate, &input)?.f_sigmoid())?;
        let open = torch(open.f_mul(&mask.narrow(1, position, 1)))?;
        let change = torch(weights.mlp(candidate, &input)?.f_sub(&state))?;
        state = torch(state.f_add(&torch(open.f_mul(&change))?))?;
    }
    Ok(state)
}
