use rectool_base::Stream;

use super::{Codebook, Encoder, Table, pack, train};
use crate::kernel::{BLOCK, Line, Scan, scan};

fn normal(count: usize, address: u64) -> Vec<f32> {
    let mut stream = Stream::new(11, &[address]);
    (0..count).map(|_| stream.next_normal()).collect()
}

fn units(values: &[f32], dim: usize) -> Vec<f32> {
    values
        .chunks_exact(dim)
        .flat_map(|row| {
            let norm = row.iter().map(|v| v * v).sum::<f32>().sqrt();
            row.iter().map(move |v| v / norm)
        })
        .collect()
}

/// Positions of one to four columns; the last columns are not coded.
fn widths(dim: usize) -> Vec<u8> {
    let mut widths: Vec<u8> = Vec::new();
    while widths.iter().map(|width| usize::from(*width)).sum::<usize>() + 4 <= dim {
        widths.push([2, 1, 3, 2, 4][widths.len() % 5]);
    }
    widths
}

/// Mean losses along and across the vectors.
fn losses(dim: usize, rows: &[f32], directions: &[f32], weight: f32) -> (f32, f32) {
    let widths = widths(dim);
    let entries = train((dim, &widths), (rows, directions), &[], weight, 1);
    let codebook = Codebook { dim, widths: &widths, entries: &entries };
    let mut codes = Vec::new();
    Encoder { codebook, weight }.encode((rows, directions), &[], &mut codes);
    let (mut along, mut all) = (0.0, 0.0);
    for (at, codes) in codes.chunks_exact(entries.len()).enumerate() {
        let mut product = 0.0;
        let row = at * dim..(at + 1) * dim;
        let (mut row, mut direction) = (rows[row.clone()].to_vec(), directions[row].iter());
        let mut columns = row.iter_mut();
        for ((entries, width), code) in entries.iter().zip(&widths).zip(codes) {
            let values = entries.values.iter().take(usize::from(*width));
            for (values, column) in values.zip(&mut columns) {
                *column -= values[usize::from(*code)];
            }
        }
        for error in row {
            product += error * direction.next().unwrap();
            all += error * error;
        }
        along += product * product;
    }
    let count = (rows.len() / dim) as f32;
    (along / count, all / count)
}

#[test]
fn weight_moves_the_error_across_the_vector() {
    let rows = normal(3000 * 15, 1);
    let directions = units(&rows, 15);
    let (plain, plain_all) = losses(15, &rows, &directions, 0.0);
    let (weighted, weighted_all) = losses(15, &rows, &directions, 3.0);
    assert!(weighted < 0.4 * plain, "{weighted} {plain}");
    assert!(weighted_all < 1.3 * plain_all, "{weighted_all} {plain_all}");
    let threshold = Encoder::weight(64, 0.2);
    assert!((threshold - 1.625).abs() < 1e-3);
}

#[test]
fn table_sums_approximate_products() {
    for (dim, biased) in [(15, false), (64, false), (64, true), (700, false)] {
        let rows = normal(64 * dim, 2);
        let directions = units(&rows, dim);
        let biases = if biased { normal(64, 3) } else { Vec::new() };
        let widths = widths(dim);
        let entries = train((dim, &widths), (&rows, &directions), &biases, 0.0, 1);
        assert_eq!(entries.len(), Codebook::positions(&widths, biased));
        let codebook = Codebook { dim, widths: &widths, entries: &entries };
        let mut codes = Vec::new();
        Encoder { codebook, weight: 0.0 }.encode((&rows, &directions), &biases, &mut codes);
        let width = Codebook::lines(&widths, biased);
        let mut blocks = vec![Line([0; 64]); 2 * width];
        for (at, codes) in codes.chunks_exact(entries.len()).enumerate() {
            pack(codes, at % BLOCK, &mut blocks[at / BLOCK * width..][..width]);
        }
        let query = normal(dim, 4);
        let mut table = Table::default();
        table.set(codebook, &query);
        let (mut sums, mut masks) = ([[0; BLOCK]; 2], [0; 2]);
        let asked = Scan { codes: &blocks, table: &table.lines, next: &[], threshold: 0 };
        scan(asked, &mut sums, &mut masks);
        for (at, codes) in codes.chunks_exact(entries.len()).enumerate() {
            let mut exact = 0.0;
            let mut columns = query.iter();
            for (position, code) in codes.iter().enumerate() {
                let (entry, code) = (&entries[position], usize::from(*code));
                match widths.get(position) {
                    Some(width) => {
                        let columns = columns.by_ref().take(usize::from(*width));
                        let values = columns.zip(&entry.values);
                        exact += values.map(|(q, values)| q * values[code]).sum::<f32>();
                    }
                    None => exact += entry.values[0][code],
                }
            }
            let sum = sums[at / BLOCK][at % BLOCK];
            assert!(i32::from(sum) <= table.sum_max);
            let found = table.offset + f32::from(sum) / table.steps;
            let error_max = 0.5 * entries.len() as f32 / table.steps + 1e-3;
            assert!((found - exact).abs() < error_max, "{found} {exact}");
        }
    }
}

#[test]
fn a_query_of_zeros_has_a_table_of_zeros() {
    let rows = normal(40 * 4, 5);
    let widths = [1, 2];
    let entries = train((4, &widths), (&rows, &units(&rows, 4)), &[], 1.0, 1);
    let mut table = Table::default();
    table.set(Codebook { dim: 4, widths: &widths, entries: &entries }, &[0.0; 4]);
    assert_eq!((table.sum_max, table.offset, table.steps), (0, 0.0, 1.0));
}
