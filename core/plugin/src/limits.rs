//! What a plugin may use, each with its unit and why it is there.

use std::time::Duration;

/// Limits of one instance of a plugin, and of one call of it.
///
/// ```
/// use rectool_plugin::Limits;
/// let limits = Limits { memory_bytes_max: 64 << 20, ..Limits::default() };
/// assert_eq!(limits.deadline.as_secs(), 10);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of an instance, all its memories together. 256 MiB hold a Python interpreter
    /// with its libraries (about 40 MiB) and a batch of 65,536 rows of 40 columns twice over.
    pub memory_bytes_max: usize,
    /// Time that one call may take, instantiation included. The slowest guest measured, Python at
    /// 3.4 µs per row, needs 30 ms for a batch of 8,192.
    pub deadline: Duration,
    /// Stack of the guest's calls. It lies on the calling thread's stack, and Rust's threads have
    /// 2 MiB.
    pub stack_bytes_max: usize,
    /// Bytes that one call may return, counted as the host holds them: a guest can name one piece
    /// of its memory as the contents of many lists.
    pub output_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes_max: 256 << 20,
            deadline: Duration::from_secs(10),
            stack_bytes_max: 512 << 10,
            output_bytes_max: 256 << 20,
        }
    }
}

/// Bytes of a plugin file: the largest guest measured, Python with its standard library, has 18 MB.
pub const FILE_BYTES_MAX: usize = 128 << 20;
/// Elements of all tables of an instance: Python's interpreter has about 20,000.
pub const TABLE_ELEMENTS_MAX: usize = 1_000_000;
/// Core instances of a component: Python's has about 40, one per shared library and shim.
pub const INSTANCES_MAX: usize = 1_000;
/// Memories and tables of a component, each.
pub const MEMORIES_MAX: usize = 100;
/// Parameters of a plugin: a recipe has to be readable.
pub const PARAMETERS_MAX: usize = 64;
/// Choices of a text parameter.
pub const CHOICES_MAX: usize = 256;
/// Characters of a plugin's, parameter's or column's name.
pub const NAME_CHARS_MAX: usize = 128;
/// Characters of a plugin's message or help text that are shown; a message beyond is cut.
pub const TEXT_CHARS_MAX: usize = 1_000;
/// Columns that a transform may make.
pub const OUTPUTS_MAX: usize = rectool_base::limits::COLUMNS_MAX;
