//! Remedies that are shown apart from the error they belong to.

/// An error that may know what to do about itself.
///
/// The error's `Display` states the fact; the hint states the remedy, and is printed on its own
/// `hint:` line.
pub trait Hint: std::error::Error {
    /// What the user can do, in one line without a full stop, or `None`.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// The name in `known` that a typo of it most likely meant, if one is near enough.
///
/// ```
/// let known = ["learning_rate", "momentum"];
/// assert_eq!(rectool_base::nearest_name("lerning_rate", known), Some("learning_rate"));
/// assert_eq!(rectool_base::nearest_name("xyz", known), None);
/// ```
pub fn nearest_name<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Three edits in a ten-letter word are still a typo; three in a four-letter word are not.
    let allowed = (wrong.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(wrong, name), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, name)| name)
}

/// `` `a`, `b`, `c` ``, for messages that list what is allowed.
pub fn quoted_list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
