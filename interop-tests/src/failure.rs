//! Why a scenario or the launcher could not go on, in words for a person.

use std::fmt;

/// One failure; its text is the whole story, outermost context first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(String);

/// The result of everything here.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A failure with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Failure(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// Adds what was being done to an error.
pub trait Context<T> {
    /// Puts `what` in front of the error's text.
    ///
    /// # Errors
    /// The same as before, with more words.
    fn context(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: fmt::Display> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Failure(format!("{}: {error}", what())))
    }
}

impl<T> Context<T> for Option<T> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.ok_or_else(|| Failure(what()))
    }
}

/// Returns a [`Failure`] from the enclosing function.
#[macro_export]
macro_rules! fail {
    ($($words:tt)*) => { return Err($crate::failure::Failure::new(format!($($words)*))) };
}

/// Returns a [`Failure`] from the enclosing function unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($words:tt)*) => { if !$condition { $crate::fail!($($words)*); } };
}
