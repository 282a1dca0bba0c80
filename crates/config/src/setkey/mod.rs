//! setkey's language: `ipsec-tools.conf` and whatever is fed to `setkey -f` and `setkey -c`.
//!
//! The whole language is read and modelled: policies with priorities and rules, manual SAs, deletions, dumps. What the
//! daemon itself can key is asked separately ([`check_keyable`]), for `setkey` loads what the kernel takes.

mod address;
mod algorithms;
mod lexer;
pub mod model;
mod names;
mod parser;
mod policy;
mod sa;
mod secrets;
mod set;

use std::path::Path;

use zeroize::Zeroizing;

use crate::diag::{Diagnostic, Diagnostics, Severity, Source};
use crate::files::Files;

pub use model::PolicyFile;
pub use set::{FwdCopies, PolicySet, check_keyable};

/// Reads setkey files in order. They are there if none has an error: a set of policies is loaded whole or not at all.
#[must_use]
pub fn load<P: AsRef<Path>>(
    paths: impl IntoIterator<Item = P>,
    files: &dyn Files,
) -> (Option<Vec<PolicyFile>>, Diagnostics) {
    let mut diagnostics = Diagnostics::new();
    let mut read = Vec::new();
    for path in paths {
        let path = path.as_ref();
        let name = path.display().to_string();
        match files.read(path).map(|(_, octets)| Zeroizing::new(octets)) {
            Ok(octets) => {
                let (file, said) = parse(&name, &octets, files);
                diagnostics.append(said);
                read.extend(file);
            }
            Err(error) => {
                let message = format!("cannot read the policies: {error}");
                diagnostics.push(Diagnostic::about_file(Severity::Error, &name, message));
            }
        }
    }
    ((!diagnostics.has_errors()).then_some(read), diagnostics)
}

/// Parses the text of one file; `name` is for the diagnostics, `files` for names of hosts, services and protocols.
#[must_use]
pub fn parse(name: &str, octets: &[u8], files: &dyn Files) -> (Option<PolicyFile>, Diagnostics) {
    let mut diagnostics = Diagnostics::new();
    let source = Source::new(name, octets, &secrets::find(octets));
    let commands = parser::parse(source, octets, files, &mut diagnostics);
    let replaces = set::begins_with_flushes(&commands);
    let file = PolicyFile { name: name.to_owned(), replaces, commands };
    ((!diagnostics.has_errors()).then_some(file), diagnostics)
}

#[cfg(test)]
mod tests;
