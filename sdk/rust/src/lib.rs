//! Feature transforms, negative samplers and losses for rectool, in Rust.
//!
//! A plugin is a `cdylib` crate that implements [`Transform`], [`Loss`] or [`Sampler`] for one type,
//! names that type in [`export_transform!`], [`export_loss!`] or [`export_sampler!`], and is built
//! for `wasm32-unknown-unknown`. It sees a batch, column by column, and nothing else: no files, no
//! network, no clock, and no random numbers but a [`Stream`] from the seed that it is given.
//!
//! ```
//! use rectool_plugin_sdk::{
//!     About, Column, ColumnType, Fault, Parameter, Parameters, Transform, export_transform,
//! };
//!
//! /// Multiplies floats.
//! struct Scale {
//!     factor: f32,
//! }
//!
//! impl Transform for Scale {
//!     fn about() -> About {
//!         About::new("scale", "1.0.0", "multiplies floats by a factor")
//!             .parameter(Parameter::number("factor").default(2.0).help("what they are multiplied by"))
//!     }
//!
//!     fn configure(
//!         parameters: &Parameters,
//!         inputs: &[ColumnType],
//!     ) -> Result<(Self, Vec<ColumnType>), Fault> {
//!         for input in inputs {
//!             input.expect_floats()?;
//!         }
//!         Ok((Self { factor: parameters.number("factor") as f32 }, inputs.to_vec()))
//!     }
//!
//!     fn apply(&self, _rows: usize, mut columns: Vec<Column>) -> Result<Vec<Column>, Fault> {
//!         for column in &mut columns {
//!             column.floats_mut().iter_mut().for_each(|value| *value *= self.factor);
//!         }
//!         Ok(columns)
//!     }
//! }
//!
//! export_transform!(Scale);
//!
//! // What the host does, for a test on this machine:
//! let parameters = Parameters::of(&Scale::about(), &[("factor", 3.0.into())]).unwrap();
//! let (scale, _) = Scale::configure(&parameters, &[ColumnType::floats("price", 1)]).unwrap();
//! assert_eq!(scale.apply(2, vec![Column::Floats(vec![1.0, 2.0])]).unwrap()[0].floats(), [3.0, 6.0]);
//! ```
//!
//! Feature `testing` replays golden cases and checks gradients in `cargo test`.

mod about;
mod column;
#[doc(hidden)]
pub mod export;
pub mod groups;
mod hash;
mod loss;
pub mod math;
mod parameters;
mod sampler;
mod stream;
#[cfg(feature = "testing")]
pub mod testing;
mod texts;
mod transform;
#[doc(hidden)]
pub mod wit;

pub use about::{About, Parameter};
pub use hash::{bucket_of, hash_text, mix64};
pub use loss::{Demands, Labels, Loss, LossBatch, Prediction, Weighting};
pub use parameters::Parameters;
pub use sampler::{Items, Sampler, Samples};
pub use stream::Stream;
pub use transform::Transform;
pub use wit::types::{
    Column, ColumnType, Element, Fault, FloatLists, IntLists, Shape, TextLists, Texts, Value,
};

/// The id that stands for a missing one.
pub const MISSING_ID: i64 = -1;

impl Fault {
    /// A fault of the configuration, or of a batch as a whole.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), row: None }
    }

    /// A fault of row `row` of this call, from 0.
    pub fn at_row(row: usize, message: impl Into<String>) -> Self {
        Self { message: message.into(), row: Some(row as u32) }
    }
}
