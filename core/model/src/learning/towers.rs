//! What two towers learn from a batch: the objective over their vectors, and heads beside it.

use rectool_comm::Comm;
use rectool_data::{Cells, FeatureChain};

use super::{Outcome, ids_behind, ids_of};
use crate::contrast::{Contrast, Pairs};
use crate::{ModelError, ModelSpec, RetrievalSpec};

/// The towers of a model at work. An output row O is the query's vector and the candidate's, 2 E values,
/// then the H outputs of the heads.
pub(super) struct Towers {
    spec: RetrievalSpec,
    item: Cells,
    /// One of so many rows was read, the others were drawn for it.
    group: usize,
    pub(super) contrast: Contrast,
    /// H.
    heads: usize,
    /// Outputs apart, where there are heads: [B, 2 E] and [B, H].
    vectors: Vec<f32>,
    pub(super) of_heads: Vec<f32>,
    /// Scores of rows \[B\], and the gradient of their vectors [B, 2 E], where each row is for itself.
    pub(super) scores: Vec<f32>,
    alone: Vec<f32>,
    /// With heads: all scores, or the gradient of all outputs, row by row.
    joined: Vec<f32>,
}

impl Towers {
    /// Of `spec`, whose towers learn as `retrieval` says, on rows that leave `chain`.
    pub(super) fn new(
        spec: &ModelSpec,
        retrieval: &RetrievalSpec,
        chain: &FeatureChain,
    ) -> Result<Self, ModelError> {
        let item = ids_behind(chain, &retrieval.item, "candidate.id")?;
        ids_behind(chain, &retrieval.query, "query.id")?;
        Ok(Self {
            spec: retrieval.clone(),
            item,
            group: spec.features.negatives.as_ref().map_or(1, |spec| 1 + spec.per_row),
            contrast: Contrast::new(retrieval.clone()),
            heads: spec.head_logits(),
            vectors: Vec::new(),
            of_heads: Vec::new(),
            scores: Vec::new(),
            alone: Vec::new(),
            joined: Vec::new(),
        })
    }

    pub(super) fn is_contrastive(&self) -> bool {
        self.spec.objective.is_contrastive()
    }

    /// What the objective is multiplied by.
    pub(super) fn weight(&self) -> f32 {
        self.spec.weight
    }

    /// Takes the outputs of a batch of `rows` apart, as all other functions want them; where there are no
    /// heads they are the vectors.
    pub(super) fn take(&mut self, outputs: &[f32], rows: usize) {
        if self.heads == 0 {
            return;
        }
        self.vectors.clear();
        self.of_heads.clear();
        let width = outputs.len().checked_div(rows).unwrap_or(self.heads);
        for row in outputs.chunks_exact(width) {
            let (vectors, heads) = row.split_at(width - self.heads);
            self.vectors.extend_from_slice(vectors);
            self.of_heads.extend_from_slice(heads);
        }
    }

    /// Losses and gradients of queries among the candidates of the batch. In training queries count by
    /// their weights, else all the same.
    ///
    /// # Collective
    /// Every rank.
    pub(super) fn contrast(
        &mut self,
        comm: &dyn Comm,
        Outcome { input, batch, outputs }: Outcome<'_>,
        training: bool,
    ) -> Result<(), ModelError> {
        let pairs = Pairs {
            vectors: if self.heads == 0 { outputs } else { &self.vectors },
            ids: &ids_of(&self.item, batch),
            labels: input.label_values(batch),
            group: self.group,
            weights: if training { input.weight_values(batch) } else { &[] },
            log_q: input.log_q_values(batch),
        };
        Ok(self.contrast.evaluate(comm, &pairs, training)?)
    }

    /// Dot products over the temperature: \[B\].
    pub(super) fn score(&mut self, outputs: &[f32], rows: usize) -> &[f32] {
        let inverse = self.inverse();
        let vectors = if self.heads == 0 { outputs } else { &self.vectors };
        let width = vectors.len().checked_div(rows).unwrap_or(0);
        let dot = |row: &[f32]| {
            let (query, item) = row.split_at(width / 2);
            query.iter().zip(item).map(|(a, b)| a * b).sum::<f32>() * inverse
        };
        self.scores.clear();
        self.scores.extend(vectors.chunks_exact(width.max(1)).map(dot));
        &self.scores
    }

    /// All that is said of a row by itself: its score, if it has one, then those of the heads.
    pub(super) fn score_all(&mut self, outputs: &[f32], rows: usize) -> &[f32] {
        if self.is_contrastive() {
            return &self.of_heads;
        }
        self.score(outputs, rows);
        if self.heads == 0 {
            return &self.scores;
        }
        self.joined.clear();
        for (score, heads) in self.scores.iter().zip(self.of_heads.chunks_exact(self.heads)) {
            self.joined.push(*score);
            self.joined.extend_from_slice(heads);
        }
        &self.joined
    }

    /// From the gradient of scores to that of vectors.
    pub(super) fn spread(&mut self, gradients: &[f32], outputs: &[f32]) {
        let inverse = self.inverse();
        let vectors = if self.heads == 0 { outputs } else { &self.vectors };
        let width = vectors.len().checked_div(gradients.len()).unwrap_or(0);
        self.alone.resize(vectors.len(), 0.0);
        let rows = vectors.chunks_exact(width.max(1)).zip(gradients);
        for (into, (row, gradient)) in self.alone.chunks_exact_mut(width.max(1)).zip(rows) {
            let (query, item) = row.split_at(width / 2);
            let gradient = gradient * inverse;
            let crosswise = item.iter().chain(query);
            into.iter_mut().zip(crosswise).for_each(|(into, other)| *into = gradient * other);
        }
    }

    /// Puts the gradient of the heads' outputs [B, H] behind that of the vectors, which is that of the
    /// objective times its weight.
    pub(super) fn join(&mut self, heads: &[f32]) {
        let weight = self.spec.weight;
        let vectors = if self.is_contrastive() { &self.contrast.gradients } else { &self.alone };
        let rows = heads.chunks_exact(self.heads);
        let width = vectors.len().checked_div(rows.len()).unwrap_or(0);
        self.joined.clear();
        for (vectors, heads) in vectors.chunks_exact(width.max(1)).zip(rows) {
            self.joined.extend(vectors.iter().map(|value| value * weight));
            self.joined.extend_from_slice(heads);
        }
    }

    /// The gradient of all outputs: [B, O].
    pub(super) fn gradients(&self) -> &[f32] {
        if self.heads > 0 {
            &self.joined
        } else if self.is_contrastive() {
            &self.contrast.gradients
        } else {
            &self.alone
        }
    }

    fn inverse(&self) -> f32 {
        1.0 / self.spec.temperature
    }
}
