//! What a user says about tables.

use rectool_base::limits::EMBEDDING_DIM_MAX;
use serde::{Deserialize, Serialize};

use crate::optimizer::{Allowed, Number};
use crate::sketch::COUNT_MAX;
use crate::{Admission, Backing, EmbeddingError, Expiry, OptimizerOptions, Storage, Unadmitted};

/// One embedding table.
///
/// ```
/// use rectool_embedding::{Init, OptimizerOptions, TableOptions};
/// let table = TableOptions {
///     init: Init::Uniform { bound: 0.01 },
///     ..TableOptions::new("city", 16, OptimizerOptions::sgd(0.1))
/// };
/// assert_eq!(table.optimizer.state_width(table.dim), 0);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableOptions {
    /// Unique among the tables; part of the address of initial values.
    pub name: String,
    /// Width D of a row.
    pub dim: usize,
    /// How keys find their rows.
    pub index: IndexKind,
    /// Values of a row before its first update.
    pub init: Init,
    /// How gradients change a row.
    pub optimizer: OptimizerOptions,
    /// Format of the values in memory.
    #[serde(default)]
    pub storage: Storage,
    /// Longest norm of a row's summed gradient: a longer one is shortened to it, before weight decay.
    #[serde(default)]
    pub clip_norm: Option<f32>,
    /// Where the rows live.
    #[serde(default)]
    pub backing: Backing,
    /// Which keys get a row.
    #[serde(default)]
    pub admission: Admission,
    /// What keys without a row read.
    #[serde(default)]
    pub unadmitted: Unadmitted,
    /// When rows are given up.
    #[serde(default)]
    pub expiry: Expiry,
}

/// Cells of the largest sketch: 4 TiB.
const CELLS_MAX: u64 = 1 << 40;

/// How keys find their rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum IndexKind {
    /// The ids are 0..`rows`: no hashing, no stored keys; other ids are errors.
    Dense {
        /// Rows V.
        rows: u64,
    },
    /// Any 64-bit id; a row is made when an id is first trained on. Never a collision.
    Hash,
    /// Any 64-bit id; ids that are equal modulo `rows` share a row. For comparison: a collision costs
    /// quality. What is said of a key (initial values, exported rows) is said of the remainder.
    Modulo {
        /// Rows V.
        rows: u64,
    },
}

impl IndexKind {
    /// The bound of all keys, if there is one.
    pub(crate) fn keys_below(&self) -> Option<u64> {
        match *self {
            Self::Dense { rows } | Self::Modulo { rows } => Some(rows),
            Self::Hash => None,
        }
    }
}

/// Values of a row before its first update.
///
/// # Determinism
/// A pure function of seed, table name, key and column: the same for any number of ranks, order of
/// keys and kind of index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Init {
    /// Zeros.
    Zero,
    /// Uniform in [-`bound`, `bound`).
    Uniform {
        /// Largest magnitude.
        bound: f32,
    },
    /// Normal around zero.
    Normal {
        /// Standard deviation.
        std: f32,
    },
}

impl TableOptions {
    /// A table with a hash index and 32-bit values that begin as zeros. Other fields are set by
    /// struct update.
    pub fn new(name: impl Into<String>, dim: usize, optimizer: OptimizerOptions) -> Self {
        Self {
            name: name.into(),
            dim,
            index: IndexKind::Hash,
            init: Init::Zero,
            optimizer,
            storage: Storage::F32,
            clip_norm: None,
            backing: Backing::Memory,
            admission: Admission::All,
            unadmitted: Unadmitted::Initial,
            expiry: Expiry::default(),
        }
    }

    fn check_turnover(&self) -> Result<(), EmbeddingError> {
        let refuse =
            |option, found: &dyn ToString, expected| Err(self.refuse(option, found, expected));
        match self.admission {
            Admission::Count { sightings, .. }
                if !(1..=u32::from(COUNT_MAX)).contains(&sightings) =>
            {
                return refuse("sightings", &sightings, "1 to 15");
            }
            Admission::Count { window_steps: 0, .. } => {
                return refuse("window_steps", &0, "at least 1");
            }
            Admission::Count { cells, .. } if !(1..=CELLS_MAX).contains(&cells) => {
                return refuse("cells", &cells, "1 to 2^40");
            }
            Admission::Probability { p } if !(0.0..=1.0).contains(&p) => {
                return refuse("p", &p, "0 to 1");
            }
            _ => (),
        }
        if self.expiry.every_steps == 0 {
            return refuse("every_steps", &0, "at least 1");
        }
        if self.expiry.after_steps == Some(0) {
            return refuse("after_steps", &0, "at least 1");
        }
        if self.expiry.rows_max == Some(0) {
            return refuse("rows_max", &0, "at least 1");
        }
        match self.unadmitted {
            Unadmitted::Constant { value } if !value.is_finite() => {
                refuse("value", &value, "a finite number")
            }
            _ => Ok(()),
        }
    }

    /// Refuses what no table can work with.
    ///
    /// # Errors
    /// [`EmbeddingError::Dim`] or [`EmbeddingError::Option`], for the first of them.
    pub fn check(&self) -> Result<(), EmbeddingError> {
        if !(1..=EMBEDDING_DIM_MAX).contains(&self.dim) {
            return Err(EmbeddingError::Dim { table: self.name.clone(), found: self.dim });
        }
        if !Self::can_be_called(&self.name) {
            let expected = "a name that a folder can have, of 1 to 200 bytes";
            return Err(self.refuse("name", &self.name, expected));
        }
        if self.index.keys_below() == Some(0) {
            return Err(self.refuse("rows", &0, "at least 1"));
        }
        self.check_turnover()?;
        if matches!(&self.backing, Backing::File { folder } if folder.as_os_str().is_empty()) {
            return Err(self.refuse("folder", &"\"\"", "the path of a folder"));
        }
        let init = match self.init {
            Init::Zero => None,
            Init::Uniform { bound } => Some(("bound", bound, Allowed::NotNegative)),
            Init::Normal { std } => Some(("std", std, Allowed::NotNegative)),
        };
        let clip = self.clip_norm.map(|norm| ("clip_norm", norm, Allowed::Positive));
        let own = init.into_iter().chain(clip);
        let own = own.map(|(option, value, allowed)| Number { option, value, allowed });
        for number in own.chain(self.optimizer.numbers()) {
            if let Some(expected) = number.refusal() {
                return Err(self.refuse(number.option, &number.value, expected));
            }
        }
        match self.optimizer {
            OptimizerOptions::Adagrad { epsilon, initial_accumulator, .. }
            | OptimizerOptions::RowWiseAdagrad { epsilon, initial_accumulator, .. }
                if epsilon == 0.0 && initial_accumulator == 0.0 =>
            {
                // A gradient of zero would give 0 / 0.
                Err(self.refuse("epsilon", &epsilon, "above 0 when `initial_accumulator` is 0"))
            }
            _ => Ok(()),
        }
    }

    /// Whether a table can have the name, which a folder must be able to have: a checkpoint keeps each table in one of
    /// its own.
    pub fn can_be_called(name: &str) -> bool {
        let plain = !matches!(name, "" | "." | "..") && !name.contains(['/', '\0']);
        plain && name.len() <= TABLE_NAME_BYTES_MAX
    }

    fn refuse(
        &self,
        option: &'static str,
        found: &dyn ToString,
        expected: &'static str,
    ) -> EmbeddingError {
        EmbeddingError::Option {
            table: self.name.clone(),
            option,
            found: found.to_string(),
            expected,
        }
    }
}

/// Longest name of a table, in bytes: file systems take 255, and files of a table are called after it.
pub const TABLE_NAME_BYTES_MAX: usize = 200;
