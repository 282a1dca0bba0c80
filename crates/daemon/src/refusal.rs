//! Why the daemon does not start, or does not take a new configuration.

use core::fmt;

use coati_config::diag::Diagnostics;

/// One clear message for the operator. Nothing has changed in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The files are wrong: each fault with its place.
    Files(Diagnostics),
    /// Anything else.
    Other(String),
}

impl Refusal {
    /// Something else than a fault in a file.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self::Other(message.into())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(diagnostics) => f.write_str(diagnostics.to_string().trim_end()),
            Self::Other(message) => f.write_str(message),
        }
    }
}

impl core::error::Error for Refusal {}
