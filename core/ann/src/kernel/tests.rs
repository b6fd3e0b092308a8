use rectool_base::Stream;

use super::level::{Kernel, Level, dispatch_at};
use super::rows::integer_dots_at;
use super::scan::{BLOCK, GROUP, Line, Scan, scan_at};
use super::{
    Arithmetic, ByteQuery, LANES, Panels, dot, dot_with, floor_of, pack_panels, panel_lines,
    reaching,
};

fn lines(stream: &mut Stream, count: usize) -> Vec<Line> {
    (0..count).map(|_| Line(std::array::from_fn(|_| stream.next_u64() as u8))).collect()
}

#[test]
fn every_level_scans_alike() {
    let mut stream = Stream::new(7, &[1]);
    for (blocks, width) in [(1, 1), (5, 2), (9, 8), (3, 9), (16, 32)] {
        let codes = lines(&mut stream, blocks * width);
        let table = lines(&mut stream, width);
        for threshold in [0, 255, 100 * width as u16 * GROUP as u16, u16::MAX] {
            let mut found = Vec::new();
            for level in Level::supported() {
                let mut sums = vec![[1u16; BLOCK]; blocks];
                let mut masks = vec![9; blocks];
                let scan = Scan { codes: &codes, table: &table, next: &[], threshold };
                scan_at(level, scan, &mut sums, &mut masks);
                found.push((sums, masks));
            }
            #[cfg(target_arch = "x86_64")]
            if Level::supported().contains(&Level::Avx512) {
                // What a processor runs that has no VBMI.
                let scan = Scan { codes: &codes, table: &table, next: &[], threshold };
                let (mut sums, mut masks) = (vec![[1u16; BLOCK]; blocks], vec![9; blocks]);
                #[expect(unsafe_code, reason = "calls a function compiled for AVX-512")]
                // SAFETY: the level above is supported, as the processor said.
                unsafe {
                    super::scan_x86::avx512(scan, &mut sums, &mut masks);
                }
                found.push((sums, masks));
            }
            assert!(found.windows(2).all(|pair| pair[0] == pair[1]), "{blocks} {width}");
            let (sums, masks) = &found[0];
            let code = |block: usize, position: usize, vector: usize| {
                let byte = codes[block * width + position / 4].0[position % 4 * 16 + vector % 16];
                usize::from(if vector < 16 { byte & 15 } else { byte >> 4 })
            };
            for (block, sums) in sums.iter().enumerate() {
                for (vector, sum) in sums.iter().enumerate() {
                    let entry = |position: usize| {
                        table[position / 4].0[position % 4 * 16 + code(block, position, vector)]
                    };
                    let expected: u32 = (0..4 * width).map(|at| u32::from(entry(at))).sum();
                    assert_eq!(u32::from(*sum), expected);
                    assert_eq!(masks[block] >> vector & 1 == 1, *sum > threshold);
                }
            }
        }
    }
}

struct Dot<'a>(&'a [f32], &'a [f32]);

impl Kernel for Dot<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<A: Arithmetic>(self) -> f32 {
        dot_with::<A>(self.0, self.1)
    }
}

#[test]
fn levels_agree_within_rounding() {
    let mut stream = Stream::new(7, &[2]);
    for dim in [1, 3, 15, 16, 17, 64, 100, 129] {
        let mut vector = || (0..dim).map(|_| stream.next_normal()).collect::<Vec<f32>>();
        let (a, b) = (vector(), vector());
        let exact: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        for level in Level::supported() {
            let found = dispatch_at(level, Dot(&a, &b));
            assert!((f64::from(found) - exact).abs() < 1e-4, "{level:?}: {found} {exact}");
        }
    }
}

#[test]
fn panels_multiply_as_the_definition_says() {
    let mut stream = Stream::new(7, &[3]);
    for (rows, vectors, dim) in [(1, 1, 1), (7, 16, 5), (13, 33, 64), (6, 50, 17)] {
        let mut matrix =
            |count: usize| (0..count * dim).map(|_| stream.next_normal()).collect::<Vec<f32>>();
        let (left, right) = (matrix(rows), matrix(vectors));
        let panels = Panels::new(dim, right.chunks_exact(dim));
        let width = vectors.div_ceil(16) * 16;
        let mut out = vec![0.0; rows * width];
        panels.view().products(&left, &mut out);
        for (row, out) in left.chunks_exact(dim).zip(out.chunks_exact(width)) {
            for (vector, found) in right.chunks_exact(dim).zip(out) {
                let exact: f32 = row.iter().zip(vector).map(|(a, b)| a * b).sum();
                assert!((found - exact).abs() < 1e-3);
            }
            assert!(out[vectors..].iter().all(|padding| *padding == 0.0));
        }
    }
}

#[test]
fn integer_rows_multiply_exactly() {
    let mut stream = Stream::new(7, &[4]);
    for dim in [1, 31, 64, 100, 2048] {
        let values: Vec<i8> = (0..dim * 40).map(|_| stream.next_u64() as i8).collect();
        let mut query = super::IntegerQuery::default();
        query.set(&(0..dim).map(|_| stream.next_normal()).collect::<Vec<f32>>());
        let rows: Vec<u32> = (0..40).rev().chain([40, u32::MAX]).collect();
        let plane = super::Plane::new(dim, &values);
        let mut out = Vec::new();
        super::integer_dots(plane, &query.values, &rows, &mut out);
        for level in Level::supported() {
            let mut found = Vec::new();
            integer_dots_at(level, plane, &query.values, &rows, &mut found);
            assert_eq!(found, out, "{level:?}");
        }
        for (row, found) in rows.iter().zip(&out) {
            let row = values.get(*row as usize * dim..).and_then(|row| row.get(..dim));
            let exact = row.map_or(0, |row| {
                row.iter().zip(&query.values).map(|(a, b)| i64::from(*a) * i64::from(*b)).sum()
            });
            assert_eq!(i64::from(*found), exact);
        }
    }
}

#[test]
fn panels_of_bytes_give_the_same_products_at_every_level() {
    for (dim, count) in [(1, 1), (6, 40), (64, 35), (129, 16), (17, 100), (5, 300)] {
        let mut stream = Stream::new(8, &[dim as u64]);
        let centroids: Vec<f32> = (0..count * dim).map(|_| stream.next_normal()).collect();
        let query: Vec<f32> = (0..dim).map(|_| stream.next_normal()).collect();
        let biases = (0..count).map(|at| at as f32 * 0.01);
        let (panels, facts) = pack_panels(dim, &centroids, biases.clone());
        assert_eq!(panels.len(), facts.len() * panel_lines(dim));
        let mut bytes = ByteQuery::default();
        bytes.set(&query);
        let (mut out, mut most) = (Vec::new(), Vec::new());
        bytes.products(&panels, &facts, &mut out, &mut most);
        for ((at, centroid), bias) in centroids.chunks_exact(dim).enumerate().zip(biases) {
            let exact = dot(&query, centroid) + bias;
            assert!(
                (out[at] - exact).abs() < 0.06 * (dim as f32).sqrt(),
                "{at}: {} {exact}",
                out[at]
            );
        }
        assert!(out[count..].iter().all(|score| *score == f32::NEG_INFINITY));
        assert_eq!(most.len(), facts.len().div_ceil(LANES) * LANES);
        for (at, most) in most.iter().enumerate() {
            let own = out.chunks(LANES * LANES).nth(at / LANES).unwrap();
            let own = own.iter().skip(at % LANES).step_by(LANES).copied();
            assert_eq!(own.fold(f32::NEG_INFINITY, f32::max), *most);
        }
        let floor = floor_of(&mut most, count.min(3));
        let mut reached = Vec::new();
        reaching(&out, floor, |lane, score| reached.push((lane as usize, score)));
        let expected = out.iter().copied().enumerate().filter(|(_, score)| *score >= floor);
        assert!(reached.iter().copied().eq(expected) && reached.len() >= count.min(3));
        let mut levels = Level::supported().into_iter().map(|level| {
            let mut sums = vec![[0; LANES]; facts.len()];
            super::directory::sums_at(level, &panels, bytes.packed(), &mut sums);
            sums
        });
        let first = levels.next().unwrap();
        assert!(levels.all(|sums| sums == first));
    }
}

#[test]
fn the_largest_bytes_do_not_overflow() {
    let (dim, query) = (4096, vec![-1.0f32; 4096]);
    let (panels, facts) = pack_panels(dim, &vec![1.0; dim], std::iter::once(0.0));
    let (mut bytes, mut out, mut most) = (ByteQuery::default(), Vec::new(), Vec::new());
    bytes.set(&query);
    bytes.products(&panels, &facts, &mut out, &mut most);
    assert!((out[0] + 4096.0).abs() < 1.0, "{}", out[0]);
    bytes.set(&vec![0.0; dim]);
    bytes.products(&panels, &facts, &mut out, &mut most);
    assert_eq!(out[0], 0.0);
}
