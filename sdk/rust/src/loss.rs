//! Losses.

pub use crate::wit::loss::exports::rectool::plugin::objective::{Demands, Labels, Prediction};
use crate::{About, Column, ColumnType, Fault, Parameters};

/// The rows of a batch, as a loss sees them.
#[derive(Clone, Copy, Debug)]
pub struct LossBatch<'a> {
    /// \[B\].
    pub logits: &'a [f32],
    /// \[B\].
    pub labels: &'a [f32],
    /// \[B\], or empty where every row weighs 1.
    pub weights: &'a [f32],
    /// The columns that [`Demands`] named, in that order.
    pub columns: &'a [Column],
}

impl LossBatch<'_> {
    /// The weight of a row.
    #[inline]
    pub fn weight(&self, row: usize) -> f32 {
        if self.weights.is_empty() { 1.0 } else { self.weights[row] }
    }

    /// Loss and gradient of each row from its logit and label alone.
    #[inline]
    pub fn each_row(
        &self,
        losses: &mut [f32],
        gradients: &mut [f32],
        f: impl Fn(f32, f32) -> (f32, f32),
    ) {
        let inputs = self.logits.iter().zip(self.labels);
        for ((loss, gradient), (logit, label)) in losses.iter_mut().zip(gradients).zip(inputs) {
            (*loss, *gradient) = f(*logit, *label);
        }
    }
}

/// Who multiplies losses and gradients by the weights of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weighting {
    /// This crate, row by row, after [`Loss::evaluate`].
    PerRow,
    /// The loss itself: its rows depend on each other.
    ByLoss,
}

/// An objective: value and gradient of a batch. One value of the type is one configured plugin.
pub trait Loss: Sized + 'static {
    /// Who applies the weights.
    const WEIGHTING: Weighting = Weighting::PerRow;

    /// Name, version, purpose, parameters.
    fn about() -> About;

    /// The configured loss, and what it asks of training.
    ///
    /// # Errors
    /// If the parameters do not fit.
    fn configure(parameters: &Parameters) -> Result<(Self, Demands), Fault>;

    /// Hears the types of the columns that it asked for.
    ///
    /// # Errors
    /// If one of them does not fit.
    fn bind(&mut self, columns: &[ColumnType]) -> Result<(), Fault> {
        let _ = columns;
        Ok(())
    }

    /// Writes the loss of each row, and the derivative of the sum of all losses by the row's logit:
    /// both \[B\], and 0 when they come.
    ///
    /// # Errors
    /// If a value is refused; say which row.
    fn evaluate(
        &self,
        batch: &LossBatch<'_>,
        losses: &mut [f32],
        gradients: &mut [f32],
    ) -> Result<(), Fault>;
}

/// Makes a type that implements [`Loss`] the plugin that this crate is.
#[macro_export]
macro_rules! export_loss {
    ($type:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Exported = $crate::export::LossPlugin<$type>;
    $crate::wit::about::export!(Exported with_types_in $crate::wit::about);
    $crate::wit::loss::export!(Exported with_types_in $crate::wit::loss);
        };
    };
}
