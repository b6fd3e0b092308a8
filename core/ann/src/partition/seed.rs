//! First centroids: far apart, but where points are (k-means++ of Arthur and Vassilvitskii, 2007).

use rectool_base::Stream;

use crate::kernel::{Arithmetic, Kernel, dispatch, dot_with};

/// Picks `count` of `points` [N, D]: each with a chance that grows with the squared distance from
/// those before it. Points that coincide are picked again only when there is no other.
pub(super) fn pick(points: &[f32], dim: usize, count: usize, stream: &mut Stream) -> Vec<usize> {
    let rows = points.len() / dim;
    let mut squares = vec![f32::INFINITY; rows];
    let mut picked = vec![stream.below(rows as u64) as usize];
    while picked.len() < count {
        let last = picked[picked.len() - 1];
        let center = &points[last * dim..][..dim];
        let total = dispatch(Lower { points, dim, center, squares: &mut squares });
        let mut left = stream.next_f64() * total;
        let drawn = squares.iter().position(|square| {
            left -= f64::from(*square);
            left < 0.0
        });
        // All points coincide with picked ones, or rounding left a crumb.
        picked.push(drawn.unwrap_or_else(|| stream.below(rows as u64) as usize));
    }
    picked
}

/// Lowers each point's squared distance to that from `center`, where it is less, and adds them up.
struct Lower<'a> {
    points: &'a [f32],
    dim: usize,
    center: &'a [f32],
    squares: &'a mut [f32],
}

impl Kernel for Lower<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<A: Arithmetic>(self) -> f64 {
        let own = dot_with::<A>(self.center, self.center);
        let mut total = 0.0;
        for (point, square) in self.points.chunks_exact(self.dim).zip(&mut *self.squares) {
            let square_of_point = dot_with::<A>(point, point);
            let between = square_of_point - 2.0 * dot_with::<A>(point, self.center) + own;
            *square = square.min(between.max(0.0));
            total += f64::from(*square);
        }
        total
    }
}
