//! Panics of other crates on input that they do not expect, as errors.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    /// How many calls of [`catch_panic`] this thread is in.
    static CATCHING: Cell<usize> = const { Cell::new(0) };
}

/// Runs code of a crate that may panic on damaged input; a panic's message is the error. What `run` changed
/// before it panicked is not to be used any more.
///
/// A panic hook is called all the same: one that ends the process must ask [`panic_is_caught`] first. Only
/// what runs on this thread is covered.
///
/// ```
/// # use rectool_base::catch_panic;
/// assert_eq!(catch_panic(|| 3), Ok(3));
/// assert_eq!(catch_panic(|| -> u8 { panic!("no page") }), Err("no page".to_owned()));
/// ```
///
/// # Errors
/// The message of the panic.
pub fn catch_panic<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    CATCHING.set(CATCHING.get() + 1);
    let caught = catch_unwind(AssertUnwindSafe(run));
    CATCHING.set(CATCHING.get() - 1);
    caught.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        text.unwrap_or("a panic without a message").to_owned()
    })
}

/// Whether a panic of this thread becomes an error of [`catch_panic`].
pub fn panic_is_caught() -> bool {
    CATCHING.get() > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_caught_is_expected() {
        assert!(!panic_is_caught());
        let inner = catch_panic(|| {
            assert_eq!(catch_panic(|| panic!("row {}", 7)), Err::<(), _>("row 7".to_owned()));
            panic_is_caught()
        });
        assert_eq!(inner, Ok(true));
        assert!(!panic_is_caught());
    }
}
