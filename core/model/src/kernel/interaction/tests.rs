//! Tests of the interaction: against its definition, torch, and itself on other threads.

use proptest::prelude::*;
use rectool_base::Stream;
use serde::Deserialize;

use super::*;

fn draws(seed: u64, len: usize) -> Vec<f32> {
    let mut stream = Stream::new(seed, &[]);
    (0..len).map(|_| stream.next_f32() * 2.0 - 1.0).collect()
}

/// What forward must give, in f64.
fn oracle(shape: &DotInteraction, vectors: &[f32]) -> Vec<f64> {
    let mut out = Vec::new();
    for sample in vectors.chunks(shape.features * shape.width) {
        if shape.first == FirstVector::Copy {
            out.extend(sample[..shape.width].iter().map(|x| f64::from(*x)));
        }
        let rows: Vec<&[f32]> = sample.chunks(shape.width).collect();
        for (i, row) in rows.iter().enumerate() {
            for other in &rows[..shape.row_len(i)] {
                let products = row.iter().zip(*other).map(|(a, b)| f64::from(*a) * f64::from(*b));
                out.push(products.sum());
            }
        }
    }
    out
}

/// The gradient of sum(d_out * out) by the product rule, in f64.
fn oracle_backward(shape: &DotInteraction, vectors: &[f32], d_out: &[f32]) -> Vec<f64> {
    let (features, width) = (shape.features, shape.width);
    let mut gradient = vec![0.0; vectors.len()];
    for sample in 0..vectors.len() / (features * width) {
        // By index: one vector without dots has no outputs, and no chunks of them.
        let d_out = &d_out[sample * shape.outputs()..][..shape.outputs()];
        let base = sample * features * width;
        let (first, mut dots) = d_out.split_at(shape.first_width());
        for (at, value) in first.iter().enumerate() {
            gradient[base + at] += f64::from(*value);
        }
        for i in 0..features {
            for j in 0..shape.row_len(i) {
                for d in 0..width {
                    let (a, b) = (base + i * width + d, base + j * width + d);
                    gradient[a] += f64::from(dots[0]) * f64::from(vectors[b]);
                    gradient[b] += f64::from(dots[0]) * f64::from(vectors[a]);
                }
                dots = &dots[1..];
            }
        }
    }
    gradient
}

fn close(found: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(*found) - expected).abs();
        assert!(error < tolerance * (1.0 + expected.abs()), "{at}: {found}, expected {expected}");
    }
}

fn check_all_levels(shape: DotInteraction, samples: usize, seed: u64) {
    let place = Place { stride: shape.outputs() + 5, offset: 3 };
    let vectors = draws(seed, samples * shape.features * shape.width);
    let d_out = draws(seed + 1, samples * place.stride);
    let inner = |values: &[f32]| -> Vec<f32> {
        let rows = values.chunks(place.stride);
        rows.flat_map(|row| row[3..3 + shape.outputs()].to_vec()).collect()
    };
    for level in Level::available() {
        let mut out = vec![7.5; samples * place.stride];
        shape.forward_at(level, &vectors, &mut out, place);
        close(&inner(&out), &oracle(&shape, &vectors), 2e-5);
        let around =
            |row: &[f32]| row[..3].iter().chain(&row[3 + shape.outputs()..]).all(|x| *x == 7.5);
        assert!(out.chunks(place.stride).all(around), "{level:?} wrote outside its place");

        let mut d_vectors = vec![f32::NAN; vectors.len()];
        shape.backward_at(level, (&vectors, &d_out), place, &mut d_vectors);
        close(&d_vectors, &oracle_backward(&shape, &vectors, &inner(&d_out)), 2e-5);
    }
}

#[test]
fn every_level_agrees_with_the_definition() {
    for (features, width) in [(27, 16), (27, 64), (1, 8), (2, 1), (4, 2), (40, 24), (70, 12)] {
        for self_dots in [SelfDots::Exclude, SelfDots::Include] {
            for first in [FirstVector::Copy, FirstVector::Omit] {
                check_all_levels(DotInteraction::new(features, width, self_dots, first), 3, 11);
            }
        }
    }
}

#[test]
fn an_empty_slice_of_a_batch_is_fine() {
    let shape = DotInteraction::new(27, 16, SelfDots::Exclude, FirstVector::Copy);
    let place = Place { stride: shape.outputs(), offset: 0 };
    shape.forward(&[], &mut [], place);
    shape.backward(&[], &[], place, &mut []);
}

#[test]
#[should_panic(expected = "are not [B, 3, 2]")]
fn a_wrong_shape_is_named() {
    let shape = DotInteraction::new(3, 2, SelfDots::Exclude, FirstVector::Omit);
    shape.forward(&[0.0; 6], &mut [0.0; 5], Place { stride: 3, offset: 0 });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_shape_agrees(features in 1usize..80, width in 1usize..70, own: bool) {
        let self_dots = if own { SelfDots::Include } else { SelfDots::Exclude };
        let shape = DotInteraction::new(features, width, self_dots, FirstVector::Omit);
        check_all_levels(shape, 2, features as u64);
    }
}

#[derive(Deserialize)]
struct Golden {
    features: usize,
    width: usize,
    self_dots: bool,
    vectors: Vec<f32>,
    out: Vec<f64>,
    d_out: Vec<f32>,
    d_vectors: Vec<f64>,
}

#[test]
fn agrees_with_torch() {
    let text = include_str!("../../../../../tests/golden/interaction.json");
    for golden in serde_json::from_str::<Vec<Golden>>(text).unwrap() {
        let self_dots = if golden.self_dots { SelfDots::Include } else { SelfDots::Exclude };
        let (features, width) = (golden.features, golden.width);
        let shape = DotInteraction::new(features, width, self_dots, FirstVector::Copy);
        let place = Place { stride: shape.outputs(), offset: 0 };
        for level in Level::available() {
            let mut out = vec![0.0; golden.out.len()];
            shape.forward_at(level, &golden.vectors, &mut out, place);
            close(&out, &golden.out, 1e-6);
            let mut d_vectors = vec![0.0; golden.vectors.len()];
            shape.backward_at(level, (&golden.vectors, &golden.d_out), place, &mut d_vectors);
            close(&d_vectors, &golden.d_vectors, 1e-6);
        }
    }
}
