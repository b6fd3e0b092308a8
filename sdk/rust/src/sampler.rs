//! Samplers.

pub use crate::wit::sampler::exports::rectool::plugin::sampler::{Items, Samples};
use crate::{About, Fault, Parameters};

/// Draws items that a row did not choose. One value of the type is one configured plugin.
pub trait Sampler: Sized + 'static {
    /// Name, version, purpose, parameters.
    fn about() -> About;

    /// The configured sampler over `items`.
    ///
    /// # Errors
    /// If the parameters or the items do not fit.
    fn configure(parameters: &Parameters, items: Items) -> Result<Self, Fault>;

    /// Appends `count` samples for each row, given the item that the row chose: \[B\]. Random
    /// numbers come from a [`crate::Stream`] of `seed` alone.
    ///
    /// # Errors
    /// If a row cannot be served; say which.
    fn sample(
        &self,
        positives: &[i64],
        count: usize,
        seed: u64,
        samples: &mut Samples,
    ) -> Result<(), Fault>;
}

impl Items {
    /// Where item `id` stands in the lists, if it is there.
    pub fn place_of(&self, id: i64) -> Option<usize> {
        self.ids.binary_search(&id).ok()
    }
}

impl Samples {
    /// Appends a drawn item.
    #[inline]
    pub fn push(&mut self, id: i64, log_probability: f32) {
        self.ids.push(id);
        self.log_probabilities.push(log_probability);
    }
}

/// Makes a type that implements [`Sampler`] the plugin that this crate is.
#[macro_export]
macro_rules! export_sampler {
    ($type:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Exported = $crate::export::SamplerPlugin<$type>;
    $crate::wit::about::export!(Exported with_types_in $crate::wit::about);
    $crate::wit::sampler::export!(Exported with_types_in $crate::wit::sampler);
        };
    };
}
