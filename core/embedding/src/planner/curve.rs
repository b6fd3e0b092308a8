//! Interpolation between measured points.

/// The value at `x` of the piecewise linear curve through `points`, which are in order of x; the
/// first and the last value continue outwards. 0 without points.
pub(super) fn between(points: &[(f64, f64)], x: f64) -> f64 {
    let at = points.partition_point(|(known, _)| *known < x);
    match (at.checked_sub(1).map(|before| points[before]), points.get(at).copied()) {
        (None, None) => 0.0,
        (Some((_, y)), None) | (None, Some((_, y))) => y,
        (Some((x0, y0)), Some((x1, y1))) => y0 + (y1 - y0) * (x - x0) / (x1 - x0),
    }
}

/// The straight line y = a + b·x, with a and b at least 0, that misses some points by the least
/// relative error.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Line {
    weight: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
}

impl Line {
    /// Takes in a point with y above 0.
    pub(super) fn add(&mut self, x: f64, y: f64) {
        let weight = 1.0 / (y * y);
        self.weight += weight;
        self.x += weight * x;
        self.y += weight * y;
        self.xx += weight * x * x;
        self.xy += weight * x * y;
    }

    /// (a, b).
    pub(super) fn fit(&self) -> (f64, f64) {
        let spread = self.weight * self.xx - self.x * self.x;
        let slope = (self.weight * self.xy - self.x * self.y) / spread;
        let start = (self.y - slope * self.x) / self.weight;
        if self.weight == 0.0 {
            (0.0, 0.0)
        } else if !slope.is_finite() || slope < 0.0 {
            (self.y / self.weight, 0.0)
        } else if start < 0.0 {
            (0.0, self.xy / self.xx)
        } else {
            (start, slope)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_go_through_their_points_and_stay_level_outside() {
        let points = [(1.0, 10.0), (3.0, 20.0), (5.0, 0.0)];
        for (x, y) in [(0.0, 10.0), (1.0, 10.0), (2.0, 15.0), (3.0, 20.0), (4.5, 5.0), (9.0, 0.0)] {
            assert_eq!(between(&points, x), y, "at {x}");
        }
        assert_eq!(between(&[], 2.0), 0.0);
    }

    #[test]
    fn lines_are_found_and_never_fall() {
        let fit = |points: &[(f64, f64)]| {
            let mut line = Line::default();
            for (x, y) in points {
                line.add(*x, *y);
            }
            line.fit()
        };
        let (start, slope) = fit(&[(0.0, 3.0), (10.0, 23.0), (1e6, 2e6 + 3.0)]);
        assert!((start - 3.0).abs() < 1e-6 && (slope - 2.0).abs() < 1e-6, "{start} {slope}");
        assert_eq!(fit(&[(1.0, 4.0), (2.0, 4.0)]), (4.0, 0.0));
        let (start, slope) = fit(&[(1.0, 1.0), (2.0, 4.0)]);
        assert!(start == 0.0 && slope > 1.0 && slope < 2.0, "{start} {slope}");
        assert_eq!(fit(&[(1.0, 9.0), (2.0, 4.0)]).1, 0.0);
        assert_eq!(fit(&[]), (0.0, 0.0));
        assert_eq!(fit(&[(5.0, 2.0)]), (2.0, 0.0));
    }
}
