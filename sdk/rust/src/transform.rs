//! Transforms.

use crate::{About, Column, ColumnType, Fault, Parameters};

/// Computes columns from columns. One value of the type is one configured plugin.
///
/// The result depends on the arguments and the configuration alone: the host makes as many instances
/// as it has threads, and cuts the data into batches as it likes.
pub trait Transform: Sized + 'static {
    /// Name, version, purpose, parameters.
    fn about() -> About;

    /// The configured transform, and the columns it will make of `inputs`. A column that is named
    /// like an input takes its place in the batch; another name adds one.
    ///
    /// # Errors
    /// If the parameters or the inputs' types do not fit.
    fn configure(
        parameters: &Parameters,
        inputs: &[ColumnType],
    ) -> Result<(Self, Vec<ColumnType>), Fault>;

    /// The columns that `configure` announced, for a batch of `rows` rows, 0 included. The columns
    /// are the transform's own: change them in place where that saves a copy.
    ///
    /// # Errors
    /// If a value is refused; say which row.
    fn apply(&self, rows: usize, columns: Vec<Column>) -> Result<Vec<Column>, Fault>;
}

/// Makes a type that implements [`Transform`] the plugin that this crate is.
#[macro_export]
macro_rules! export_transform {
    ($type:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Exported = $crate::export::TransformPlugin<$type>;
    $crate::wit::about::export!(Exported with_types_in $crate::wit::about);
    $crate::wit::transform::export!(Exported with_types_in $crate::wit::transform);
        };
    };
}
