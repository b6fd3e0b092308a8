//! What plugins and parameters may be called, and the user's folders.

use std::path::PathBuf;

use crate::limits::NAME_CHARS_MAX;

/// Whether `name` is made of lower-case words and digits joined by `-`, the first starting with a
/// letter: `log1p`, `hash-cross`.
pub fn is_plugin_name(name: &str) -> bool {
    is_words(name, '-')
}

/// Whether `name` is made of such words joined by `joint`.
pub(crate) fn is_words(name: &str, joint: char) -> bool {
    let word = |word: &str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    let starts = name.starts_with(|first: char| first.is_ascii_lowercase());
    starts && name.len() <= NAME_CHARS_MAX && name.split(joint).all(word)
}

/// `$XDG_CACHE_HOME/rectool`: compiled plugins and tools to build them with. `None` for a user
/// without a home.
pub fn user_cache() -> Option<PathBuf> {
    let set = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let set = set.filter(|folder| folder.is_absolute());
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    Some(set.or_else(home)?.join("rectool"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words() {
        for good in ["log1p", "hash-cross", "a"] {
            assert!(is_plugin_name(good), "{good}");
        }
        for bad in ["", "-a", "a-", "a--b", "Log", "1a", "a_b", "../x", "a.b"] {
            assert!(!is_plugin_name(bad), "{bad}");
        }
        assert!(is_words("n_min", '_') && !is_words("n-min", '_'));
    }
}
