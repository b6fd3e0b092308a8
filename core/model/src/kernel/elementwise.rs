//! Arithmetic on values side by side: what cross layers, gates and attention do between products.

use super::vectorised;

/// Sums that a dot product keeps side by side: those of two vectors, whose additions need not wait
/// for each other.
const SUMS: usize = 16;

vectorised! {
    /// Σ aᵢ bᵢ, in an order that depends on the length alone.
    pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
        let mut sums = [0.0f32; SUMS];
        let (a_whole, b_whole) = (a.chunks_exact(SUMS), b.chunks_exact(SUMS));
        let rest = a_whole.remainder().iter().zip(b_whole.remainder());
        let rest: f32 = rest.map(|(a, b)| a * b).sum();
        for (a, b) in a_whole.zip(b_whole) {
            for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
                *sum += a * b;
            }
        }
        let mut width = SUMS / 2;
        while width > 0 {
            for at in 0..width {
                sums[at] += sums[at + width];
            }
            width /= 2;
        }
        sums[0] + rest
    }
}

vectorised! {
    /// `into += from`.
    pub(crate) fn add(into: &mut [f32], from: &[f32]) {
        for (into, from) in into.iter_mut().zip(from) {
            *into += from;
        }
    }
}

vectorised! {
    /// `into += scale * from`.
    pub(crate) fn add_scaled(into: &mut [f32], scale: f32, from: &[f32]) {
        for (into, from) in into.iter_mut().zip(from) {
            *into += scale * from;
        }
    }
}

vectorised! {
    /// A cross layer behind its product: `out = first · product + input`.
    pub(crate) fn cross(first: &[f32], product: &[f32], input: &[f32], out: &mut [f32]) {
        let given = first.iter().zip(product).zip(input);
        for (out, ((first, product), input)) in out.iter_mut().zip(given) {
            *out = first * product + input;
        }
    }
}

vectorised! {
    /// The gradient of [`cross`], given `first` and `product`: `d_product = gradient · first`, `d_first += gradient · product`.
    pub(crate) fn cross_back(
        gradient: &[f32],
        given: [&[f32]; 2],
        d_product: &mut [f32],
        d_first: &mut [f32],
    ) {
        let [first, product] = given;
        let given = gradient.iter().zip(first).zip(product);
        let wanted = d_product.iter_mut().zip(d_first);
        for ((d_product, d_first), ((gradient, first), product)) in wanted.zip(given) {
            *d_product = gradient * first;
            *d_first += gradient * product;
        }
    }
}

vectorised! {
    /// A gate of a recurrent unit: `state += gate · (candidate - state)`.
    pub(crate) fn gate(gate: &[f32], candidate: &[f32], state: &mut [f32]) {
        for ((state, gate), candidate) in state.iter_mut().zip(gate).zip(candidate) {
            *state += gate * (candidate - *state);
        }
    }
}

vectorised! {
    /// The gradient of [`gate`], given gate, candidate and the state before; the gate is the sigmoid
    /// of a sum: that of the sum, that of the candidate, and `gradient` becomes that of the state before.
    pub(crate) fn gate_back(
        given: [&[f32]; 3],
        gradient: &mut [f32],
        d_sum: &mut [f32],
        d_candidate: &mut [f32],
    ) {
        let [gate, candidate, before] = given;
        let given = gate.iter().zip(candidate).zip(before);
        let wanted = gradient.iter_mut().zip(d_sum).zip(d_candidate);
        for (((gradient, d_sum), d_candidate), ((gate, candidate), before)) in wanted.zip(given) {
            *d_sum = *gradient * (candidate - before) * gate * (1.0 - gate);
            *d_candidate = *gradient * gate;
            *gradient -= *d_candidate;
        }
    }
}

#[cfg(test)]
mod tests {
    use rectool_base::Stream;

    use super::*;
    use crate::kernel::Level;

    fn noise(stream: u64, len: usize) -> Vec<f32> {
        let mut stream = Stream::new(4, &[stream]);
        (0..len).map(|_| stream.next_normal()).collect()
    }

    #[test]
    fn every_level_gives_the_same_bits() {
        for len in [1, 7, 16, 45] {
            let [a, b, c] = [1, 2, 3].map(|stream| noise(stream, len));
            let results: Vec<_> = Level::available()
                .into_iter()
                .map(|level| {
                    let (mut d, mut e, mut f) = (a.clone(), b.clone(), c.clone());
                    add(level, &mut d, &b);
                    add_scaled(level, &mut d, 0.3, &c);
                    cross_back(level, &a, [&b, &c], &mut e, &mut f);
                    gate(level, &a, &b, &mut d);
                    cross(level, &d, &e, &f, &mut vec![0.0; len]);
                    gate_back(level, [&a, &b, &c], &mut d, &mut e, &mut f);
                    (dot(level, &a, &b), d, e, f)
                })
                .collect();
            assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{len}");
        }
    }

    #[test]
    fn a_dot_product_is_the_sum_of_products() {
        for len in [0, 1, 15, 16, 33, 64] {
            let (a, b) = (noise(1, len), noise(2, len));
            let exact: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            let found = f64::from(dot(Level::best(), &a, &b));
            assert!((found - exact).abs() < 1e-5 * (1.0 + exact.abs()), "{len}: {found}, {exact}");
        }
    }

    #[test]
    fn gradients_are_slopes() {
        let level = Level::best();
        let [sum, candidate, before, up] = [1, 2, 3, 4].map(|stream| noise(stream, 9));
        let sigmoids = |sum: &[f32]| sum.iter().map(|x| crate::sigmoid(*x)).collect::<Vec<_>>();
        let value = |sum: &[f32], candidate: &[f32], before: &[f32]| {
            let mut state = before.to_vec();
            gate(level, &sigmoids(sum), candidate, &mut state);
            f64::from(dot(level, &state, &up))
        };
        let (mut gradient, mut d_sum, mut d_candidate) = (up.clone(), vec![0.0; 9], vec![0.0; 9]);
        let given = [&*sigmoids(&sum), &candidate, &before];
        gate_back(level, given, &mut gradient, &mut d_sum, &mut d_candidate);
        let nudged = |values: &[f32], at: usize, step: f32| {
            let mut values = values.to_vec();
            values[at] += step;
            values
        };
        let step = 1e-2;
        for at in 0..9 {
            let slope = |of: &dyn Fn(f32) -> f64| (of(step) - of(-step)) / (2.0 * f64::from(step));
            let slopes = [
                slope(&|step| value(&nudged(&sum, at, step), &candidate, &before)),
                slope(&|step| value(&sum, &nudged(&candidate, at, step), &before)),
                slope(&|step| value(&sum, &candidate, &nudged(&before, at, step))),
            ];
            for (slope, found) in slopes.iter().zip([d_sum[at], d_candidate[at], gradient[at]]) {
                assert!((slope - f64::from(found)).abs() < 1e-3, "{at}: {slope}, {found}");
            }
        }
    }
}
