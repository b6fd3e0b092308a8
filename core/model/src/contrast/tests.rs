//! The objectives beside the plainest possible ones in double precision.

use rectool_base::Stream;
use rectool_comm::{Comm, Solo, on_ranks};

use super::*;

const OBJECTIVES: [RetrievalObjective; 3] = [
    RetrievalObjective::Softmax,
    RetrievalObjective::Bpr,
    RetrievalObjective::Ccl { margin: 0.1, negative_weight: 2.0 },
];

/// A batch of rows.
#[derive(Clone)]
struct Case {
    spec: RetrievalSpec,
    width: usize,
    vectors: Vec<f32>,
    ids: Vec<i64>,
    labels: Vec<f32>,
    weights: Vec<f32>,
    log_q: Vec<f32>,
}

impl Case {
    /// `rows` rows of which some items repeat; with `extra`, every third row is a drawn item.
    fn new(objective: RetrievalObjective, rows: usize, width: usize, extra: bool) -> Self {
        let mut stream = Stream::new(11, &[rows as u64, width as u64]);
        let drawn = |row: usize| extra && row % 3 == 2;
        Self {
            spec: RetrievalSpec {
                item: "item_id".into(),
                query: "user".into(),
                objective,
                weight: 1.0,
                temperature: 0.5,
                log_q: true,
                drop_hits: true,
                across_ranks: true,
            },
            width,
            vectors: (0..rows * 2 * width).map(|_| 0.4 * stream.next_normal()).collect(),
            ids: (0..rows).map(|_| stream.below(1 + rows as u64 / 2) as i64).collect(),
            labels: (0..rows).map(|row| f32::from(!drawn(row))).collect(),
            weights: (0..rows).map(|_| 0.5 + stream.next_f32()).collect(),
            log_q: (0..rows).map(|row| if drawn(row) { -3.0 } else { 0.0 }).collect(),
        }
    }

    fn pairs(&self, rows: std::ops::Range<usize>) -> Pairs<'_> {
        let width = 2 * self.width;
        Pairs {
            vectors: &self.vectors[rows.start * width..rows.end * width],
            ids: &self.ids[rows.clone()],
            labels: &self.labels[rows.clone()],
            group: 1,
            weights: &self.weights[rows.clone()],
            log_q: &self.log_q[rows],
        }
    }

    fn run(&self, comm: &dyn Comm) -> Contrast {
        let rows = self.ids.len();
        let (rank, ranks) = (comm.rank(), comm.size());
        let (first, last) = (rank * rows / ranks, (rank + 1) * rows / ranks);
        let mut contrast = Contrast::new(self.spec.clone());
        contrast.evaluate(comm, &self.pairs(first..last), true).unwrap();
        contrast
    }

    /// The mean loss in double precision, with the vectors moved along `direction` by `by`.
    fn loss(&self, direction: &[f32], by: f64) -> f64 {
        let width = self.width;
        let value = |at: usize| f64::from(self.vectors[at]) + by * f64::from(direction[at]);
        let mut frequency = Frequency::default();
        let chosen = (0..self.ids.len()).filter(|row| self.labels[*row] > 0.0);
        frequency.observe(chosen.clone().map(|row| self.ids[row]));
        let corrects = self.spec.log_q && self.spec.objective == RetrievalObjective::Softmax;
        let bias = |row: usize| match (corrects, self.labels[row] > 0.0) {
            (false, _) => 0.0,
            (true, true) => -f64::from(frequency.log_probability(self.ids[row])),
            (true, false) => -f64::from(self.log_q[row]),
        };
        let score = |row: usize, item: usize| {
            let product: f64 = (0..width)
                .map(|at| value(row * 2 * width + at) * value(item * 2 * width + width + at))
                .sum();
            product / f64::from(self.spec.temperature) + bias(item)
        };
        let (mut sum, mut total) = (0.0, 0.0);
        for row in chosen {
            let own = score(row, row);
            let same = |item: &usize| {
                *item != row && !(self.spec.drop_hits && self.ids[*item] == self.ids[row])
            };
            let others: Vec<f64> =
                (0..self.ids.len()).filter(same).map(|item| score(row, item)).collect();
            let mean = |of: &dyn Fn(f64) -> f64| {
                others.iter().map(|score| of(*score)).sum::<f64>() / others.len().max(1) as f64
            };
            let loss = match self.spec.objective {
                RetrievalObjective::Softmax => {
                    let sum: f64 = others.iter().map(|score| (score - own).exp()).sum();
                    sum.ln_1p()
                }
                RetrievalObjective::Bpr => mean(&|score| (score - own).exp().ln_1p()),
                RetrievalObjective::Ccl { margin, negative_weight } => {
                    let beyond = mean(&|score| (score - f64::from(margin)).max(0.0));
                    1.0 - own + f64::from(negative_weight) * beyond
                }
                RetrievalObjective::Pairs => unreachable!(),
            };
            sum += f64::from(self.weights[row]) * loss;
            total += f64::from(self.weights[row]);
        }
        sum / total
    }
}

fn total(contrast: &Contrast) -> f64 {
    contrast.losses.iter().map(|loss| f64::from(*loss)).sum()
}

#[test]
fn losses_and_gradients_are_those_of_the_plain_formulas() {
    for objective in OBJECTIVES {
        for (rows, width, extra) in [(1, 3, false), (7, 5, true), (150, 16, false), (701, 17, true)]
        {
            let case = Case::new(objective, rows, width, extra);
            let contrast = case.run(&Solo);
            let queries = case.labels.iter().zip(&case.weights).filter(|(label, _)| **label > 0.0);
            let weight: f64 = queries.map(|(_, weight)| f64::from(*weight)).sum();
            let none = vec![0.0; case.vectors.len()];
            let (found, expected) = (total(&contrast) / weight, case.loss(&none, 0.0));
            assert!((found - expected).abs() < 2e-5, "{objective:?} {rows}: {found}, {expected}");
            let mut stream = Stream::new(3, &[rows as u64]);
            for _ in 0..5 {
                let direction: Vec<f32> =
                    (0..case.vectors.len()).map(|_| stream.next_normal()).collect();
                let slope = contrast.gradients.iter().zip(&direction);
                let slope: f64 = slope.map(|(g, d)| f64::from(*g) * f64::from(*d)).sum();
                let by = 1e-6;
                let expected =
                    (case.loss(&direction, by) - case.loss(&direction, -by)) / (2.0 * by);
                let error = (slope - expected).abs();
                assert!(
                    error < 1e-4 * (1.0 + expected.abs()),
                    "{objective:?} {rows}: {slope}, {expected}"
                );
            }
        }
    }
}

#[test]
fn greater_scores_of_later_candidates_leave_nothing_of_lesser_ones() {
    let (rows, width) = (600, 4);
    let mut case = Case::new(RetrievalObjective::Softmax, rows, width, false);
    (case.spec.temperature, case.spec.log_q) = (1.0, false);
    case.ids = (0..rows as i64).collect();
    // Scores rise by a tenth from item to item: the early ones' exponentials, taken below the greatest
    // of their chunk, are nothing beside the last ones'.
    for (row, vectors) in case.vectors.chunks_exact_mut(2 * width).enumerate() {
        vectors.copy_from_slice(&[1.0, 0.0, 0.0, 0.0, 0.1 * row as f32, 0.0, 0.0, 0.0]);
    }
    let contrast = case.run(&Solo);
    let exponentials = (0..rows).map(|at| (-0.1 * at as f64).exp());
    let greatest = 0.1 * (rows - 1) as f64 + exponentials.sum::<f64>().ln();
    let weight: f64 = case.weights.iter().map(|weight| f64::from(*weight)).sum();
    for (row, loss) in contrast.losses.iter().enumerate() {
        let expected = f64::from(case.weights[row]) * (greatest - 0.1 * row as f64);
        assert!((f64::from(*loss) - expected).abs() < 1e-3, "{row}: {loss}, {expected}");
    }
    let of_last = f64::from(contrast.gradients[(rows - 1) * 2 * width + width]);
    let share = (1.0 - (-0.1f64).exp()) * weight;
    let expected = (share - f64::from(case.weights[rows - 1])) / weight;
    assert!((of_last - expected).abs() < 1e-4, "{of_last}, {expected}");
    assert!(contrast.gradients[width].abs() <= 1.6 / weight as f32);
}

#[test]
fn ranks_that_share_candidates_equal_one_rank() {
    for objective in OBJECTIVES {
        let case = Case::new(objective, 90, 8, true);
        let single = case.run(&Solo);
        for ranks in [2, 3, 4] {
            let parts = on_ranks(ranks, |comm| {
                let part = case.run(&*comm);
                (part.losses, part.gradients, part.frequency.state())
            });
            let losses: Vec<f32> = parts.iter().flat_map(|part| part.0.clone()).collect();
            let gradients: Vec<f32> = parts.iter().flat_map(|part| part.1.clone()).collect();
            let near = |a: &f32, b: &f32| (a - b).abs() <= 1e-5 * (1.0 + b.abs());
            assert!(losses.iter().zip(&single.losses).all(|(a, b)| near(a, b)), "{objective:?}");
            assert!(gradients.iter().zip(&single.gradients).all(|(a, b)| near(a, b)));
            assert_eq!(
                (losses.len(), gradients.len()),
                (single.losses.len(), single.gradients.len())
            );
            assert!(parts.iter().all(|part| part.2 == single.frequency.state()));
        }
    }
}

#[test]
fn a_rank_of_its_own_sees_only_its_candidates() {
    let mut case = Case::new(RetrievalObjective::Softmax, 40, 4, false);
    (case.spec.across_ranks, case.spec.log_q) = (false, false);
    let parts = on_ranks(2, |comm| case.run(&*comm).losses);
    let half = Case {
        vectors: case.vectors[..20 * 8].to_vec(),
        ids: case.ids[..20].to_vec(),
        labels: case.labels[..20].to_vec(),
        weights: case.weights[..20].to_vec(),
        log_q: case.log_q[..20].to_vec(),
        ..case.clone()
    };
    assert_eq!(parts[0], half.run(&Solo).losses);
}

#[test]
fn a_rank_without_rows_and_a_batch_without_queries_are_no_failure() {
    let mut case = Case::new(RetrievalObjective::Softmax, 2, 4, false);
    let parts = on_ranks(3, |comm| case.run(&*comm).losses.len());
    assert_eq!(parts.iter().sum::<usize>(), 2);
    case.labels = vec![0.0; 2];
    let contrast = case.run(&Solo);
    assert!(contrast.losses.is_empty());
    assert!(contrast.gradients.iter().all(|gradient| *gradient == 0.0));
}

#[test]
fn a_query_without_other_candidates_learns_nothing_of_them() {
    let mut case = Case::new(RetrievalObjective::Softmax, 3, 4, false);
    case.ids = vec![5; 3];
    let contrast = case.run(&Solo);
    assert!(contrast.losses.iter().all(|loss| loss.abs() < 1e-6), "{:?}", contrast.losses);
    assert!(contrast.gradients.iter().all(|gradient| gradient.abs() < 1e-6));
}

#[test]
fn a_broken_vector_is_not_hidden() {
    for objective in OBJECTIVES {
        let mut case = Case::new(objective, 20, 4, false);
        case.vectors[3] = f32::NAN;
        assert!(total(&case.run(&Solo)).is_nan(), "{objective:?}");
    }
}
