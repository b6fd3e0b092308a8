//! The scores of a split as they come, judged output by output.

use rectool_base::{Batch, Column, ColumnKind, Prediction};
use rectool_comm::{Comm, CommExt};
use rectool_data::{Cells, Split};

use crate::input::InputPlan;
use crate::joint::HeadRows;
use crate::{
    Evaluation, Evaluator, HeadEvaluation, MetricError, ModelError, Outputs, Ranker, gauc,
};

/// What is judged of each row: one score, or those of each head.
pub(super) struct Judged {
    judges: Vec<Judge>,
    groups: Option<Groups>,
    rows: u64,
}

/// One score, or one head.
struct Judge {
    /// Its number among all that the model learns.
    place: usize,
    outputs: Outputs,
    evaluator: Evaluator,
    grouped: Grouped,
}

/// Rows of which some are of one group.
#[derive(Default)]
struct Grouped {
    groups: Vec<i64>,
    scores: Vec<f32>,
    labels: Vec<f32>,
}

/// The column that says which rows are of one group.
pub(super) struct Groups {
    split: Split,
    cells: Cells,
    /// One of so many rows was read, the others were drawn for it.
    times: usize,
    /// Of the last batch.
    values: Vec<i64>,
    /// Rows of a whole batch.
    batch_rows: u64,
}

impl Groups {
    /// Fails if the split has no ids of that name, or nothing of the model has an AUC.
    pub(super) fn open(
        ranker: &Ranker,
        split: &Split,
        name: &str,
        times: usize,
    ) -> Result<Self, ModelError> {
        let is_ranked = |prediction| matches!(prediction, Prediction::Logit | Prediction::Score);
        let ranked = |outputs: &Outputs| is_ranked(outputs.prediction);
        if !ranker.learning.outputs().iter().any(ranked) {
            let expected = "none, as no output of the model has an AUC";
            return Err(ModelError::option("group_by", name, expected));
        }
        let cells =
            Cells::find_one(split.schema(), name, ColumnKind::I64 { width: 1 }, "group_by")?;
        Ok(Self { split: split.clone(), cells, times, values: Vec::new(), batch_rows: 0 })
    }

    /// Reads the groups of a batch of all rows in their order.
    fn read(&mut self, batch: &Batch) -> Result<(), ModelError> {
        if batch.step == 0 {
            self.batch_rows = (batch.rows_global / self.times) as u64;
        }
        let first = batch.step * self.batch_rows + (batch.row_first / self.times) as u64;
        let rows: Vec<u64> = (first..first + (batch.rows / self.times) as u64).collect();
        let column = self.split.gather(&rows, &[self.cells.column])?.pop();
        let Some(Column::I64 { values, .. }) = column else {
            unreachable!("the column was checked against the schema of the split")
        };
        let of_row = |row: usize| values[self.cells.at(row / self.times)];
        self.values = (0..batch.rows).map(of_row).collect();
        Ok(())
    }
}

impl Judged {
    pub(super) fn of(ranker: &Ranker, groups: Option<Groups>) -> Self {
        let judge = |(place, outputs): (usize, Outputs)| {
            let evaluator = Evaluator::of(outputs.prediction);
            Judge { place, outputs, evaluator, grouped: Grouped::default() }
        };
        let first = ranker.learning.first_scored();
        let judges = (first..).zip(ranker.learning.outputs()).map(judge).collect();
        Self { judges, groups, rows: 0 }
    }

    /// Notes which rows of `batch` are of one group, where that is asked.
    pub(super) fn read_groups(&mut self, batch: &Batch) -> Result<(), ModelError> {
        self.groups.as_mut().map_or(Ok(()), |groups| groups.read(batch))
    }

    /// Takes in the scores of `batch`, whose groups were read.
    pub(super) fn add(&mut self, scores: &[f32], input: &InputPlan, batch: &Batch) {
        self.rows += batch.rows as u64;
        let groups = self.groups.as_ref().map(|groups| groups.values.as_slice());
        let width = self.judges.last().map_or(0, |judge| judge.outputs.columns.end);
        let mut rows = HeadRows::default();
        for judge in &mut self.judges {
            let labels = input.labels_of(batch, judge.place);
            rows.take(&judge.outputs, (scores, width), (labels, &[]));
            judge.evaluator.add(&rows.logits, &rows.labels);
            judge.grouped.add(groups, &rows);
        }
    }

    /// The metrics over the rows of all ranks.
    ///
    /// # Collective
    /// Every rank.
    pub(super) fn finish(self, comm: &dyn Comm) -> Result<Evaluation, ModelError> {
        let has_groups = self.groups.is_some();
        let mut whole = Evaluation { rows: comm.sum_u64(self.rows)?, ..Evaluation::default() };
        for Judge { outputs, evaluator, grouped, .. } in self.judges {
            let mut evaluation = match evaluator.finish(comm) {
                // No row of the split has the head's label.
                Err(MetricError::Empty) if outputs.head.is_some() && whole.rows > 0 => {
                    Evaluation::default()
                }
                judged => judged?,
            };
            let ranked = matches!(outputs.prediction, Prediction::Logit | Prediction::Score);
            if has_groups && ranked && evaluation.rows > 0 {
                let Grouped { groups, scores, labels } = &grouped;
                evaluation.gauc = Some(gauc(comm, groups, scores, labels)?);
            }
            match outputs.head {
                None => whole = evaluation,
                Some(label) => whole.heads.push(HeadEvaluation { label, evaluation }),
            }
        }
        Ok(whole)
    }
}

impl Grouped {
    fn add(&mut self, groups: Option<&[i64]>, rows: &HeadRows) {
        let Some(groups) = groups else { return };
        self.groups.extend(rows.places.iter().map(|row| groups[*row]));
        self.scores.extend_from_slice(&rows.logits);
        self.labels.extend_from_slice(&rows.labels);
    }
}
