//! coati.toml, a configuration of Coati's own: one file says peers, their authentication and algorithms, and the policies.
//!
//! It is lowered into what racoon's files are lowered into ([`RacoonConfig`], [`PskFile`], [`PolicySet`]), so that the daemon
//! has one path for both. Every key is in [`schema`] and in docs/coati.toml.md.
//!
//! Secrets are never in it: it names files with keys, and those must be private. So it may be shown, copied and kept under
//! version control.

mod convert;
mod keys;
mod lower;
mod policy;
mod reader;
pub mod schema;
mod secrets;
mod settings;
mod words;

use std::path::Path;

use toml::de::DeTable;

use crate::diag::{Diagnostics, Source};
use crate::files::{Files, load_configuration};
use crate::psk::PskFile;
use crate::racoon::RacoonConfig;
use crate::setkey::PolicySet;

pub use convert::{Originals, convert, describe};

/// The most octets of a coati.toml: a mesh of 100,000 hosts has a fifth of it.
pub const LARGEST: usize = 32 << 20;

/// What a coati.toml says.
#[derive(Debug, PartialEq, Eq)]
pub struct NativeConfig {
    /// Peers and settings, in racoon's terms.
    pub racoon: RacoonConfig,
    /// The keys that the file names.
    pub psks: PskFile,
    /// The policies; nothing if the file makes none, and those in the kernel are used.
    pub policies: Option<PolicySet>,
}

/// Whether a file of this name is a coati.toml.
#[must_use]
pub fn is_native(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml")
}

/// Reads a coati.toml and the key files it names. The configuration is there if there are no errors.
#[must_use]
pub fn load(path: &Path, files: &dyn Files) -> (Option<NativeConfig>, Diagnostics) {
    load_configuration(path, files, |octets| parse(path, octets, files))
}

/// Parses the text of a coati.toml that is named `path`; `files` is for the key files it names.
#[must_use]
pub fn parse(path: &Path, octets: &[u8], files: &dyn Files) -> (Option<NativeConfig>, Diagnostics) {
    let mut diagnostics = Diagnostics::new();
    let source = Source::new(&path.display().to_string(), octets, &secrets::find(octets));
    if octets.len() > LARGEST {
        diagnostics.error(&source, 0..0, "the file is larger than 32 MiB");
        return (None, diagnostics);
    }
    let text = match core::str::from_utf8(octets) {
        Ok(text) => text,
        Err(error) => {
            let at = error.valid_up_to();
            diagnostics.error(&source, at..at + 1, "this is not UTF-8");
            return (None, diagnostics);
        }
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        diagnostics.error(&source, error.span().unwrap_or(0..0), first_line(error.message()));
    }
    if !errors.is_empty() {
        diagnostics.sort();
        return (None, diagnostics);
    }
    let directory = path.parent().unwrap_or(Path::new("")).to_owned();
    let reader = reader::Reader { source, diagnostics: &mut diagnostics, directory };
    let config = lower::lower(table.get_ref(), reader, files);
    diagnostics.sort();
    let config = config.filter(|_| !diagnostics.has_errors());
    // Without errors there is a configuration.
    debug_assert_eq!(config.is_none(), diagnostics.has_errors());
    (config, diagnostics)
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or("this is not TOML").chars().take(200).collect()
}

#[cfg(test)]
mod tests;
