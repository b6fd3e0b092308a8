//! Vectors on a plane, to be looked at.

use tch::{Device, Kind, Tensor};

use crate::ModelError;

/// Coordinates of `vectors` [N, E] along the two directions in which they vary most (principal
/// components; Pearson 1901), the first one first. Along a direction in which they do not vary, or for
/// E = 1 along the second, all are 0.
///
/// Signs are chosen so that the greatest coordinate is farther out than the least.
///
/// # Errors
/// If the eigenvectors cannot be found, as with values that are no numbers.
pub fn principal_plane(vectors: &[f32], width: usize) -> Result<Vec<[f32; 2]>, ModelError> {
    let count = vectors.len().checked_div(width).unwrap_or(0);
    if count == 0 {
        return Ok(Vec::new());
    }
    let plane = || -> Result<Vec<f32>, tch::TchError> {
        let rows = Tensor::f_from_slice(vectors)?.f_view([count as i64, width as i64])?;
        let rows = rows.f_to_kind(Kind::Double)?;
        let centred = rows.f_sub(&rows.f_mean_dim(0, true, Kind::Double)?)?;
        let covariance = centred.f_transpose(0, 1)?.f_matmul(&centred)?;
        let (_, directions) = covariance.f_linalg_eigh("L")?;
        // Eigenvalues rise: the last two directions, the very last one first.
        let wanted = directions.f_narrow(1, (width as i64 - 2).max(0), 2.min(width as i64))?;
        let found = centred.f_matmul(&wanted.f_flip([1])?)?.f_to_kind(Kind::Float)?;
        let found = found.f_contiguous()?.f_view(-1)?.f_to_device(Device::Cpu)?;
        let mut values = vec![0.0f32; found.numel()];
        found.f_copy_data(&mut values, found.numel())?;
        Ok(values)
    };
    let values = plane().map_err(ModelError::torch("projecting vectors"))?;
    let shown = width.min(2);
    let mut points: Vec<[f32; 2]> = values
        .chunks_exact(shown)
        .map(|row| [row[0], row.get(1).copied().unwrap_or(0.0)])
        .collect();
    for axis in 0..2 {
        let along = |fold: fn(f32, f32) -> f32| points.iter().map(|at| at[axis]).fold(0.0, fold);
        if -along(f32::min) > along(f32::max) {
            for at in &mut points {
                at[axis] = -at[axis];
            }
        }
    }
    Ok(points)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_axis_is_the_one_of_most_variance() {
        // Along (1, 1, 0) most, along (0, 0, 1) less.
        let vectors: Vec<f32> =
            [(3.0, 0.0), (-2.0, 1.0), (-1.0, -1.0), (0.0, 0.0)].map(|(a, b)| [a, a, b]).concat();
        let points = principal_plane(&vectors, 3).unwrap();
        let expected = [3.0f32, -2.0, -1.0, 0.0].map(|a| a * 2f32.sqrt());
        for (point, expected) in points.iter().zip(expected) {
            assert!((point[0] - expected).abs() < 0.2, "{points:?}");
        }
        let spread = |axis: usize| points.iter().map(|at| at[axis].powi(2)).sum::<f32>();
        assert!(spread(0) > 5.0 * spread(1) && spread(1) > 1.0);
    }

    #[test]
    fn few_or_narrow_vectors_are_no_trouble() {
        assert_eq!(principal_plane(&[], 4).unwrap(), [] as [[f32; 2]; 0]);
        assert_eq!(principal_plane(&[], 0).unwrap(), [] as [[f32; 2]; 0]);
        assert_eq!(principal_plane(&[1.0, 2.0], 2).unwrap(), [[0.0; 2]]);
        let line = principal_plane(&[0.0, 3.0, 0.0], 1).unwrap();
        assert!(line.iter().all(|at| at[1] == 0.0) && (line[1][0] - 2.0).abs() < 1e-5, "{line:?}");
    }
}
