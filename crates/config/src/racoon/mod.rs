//! racoon.conf: its lexical rules, its grammar, and what each option means in IKEv2.
//!
//! Every option has one of four fates: it works as it did or by the nearest meaning; it changes nothing that can be seen;
//! it has no meaning in IKEv2 (a warning); or passing it over would weaken security (an error). Names that racoon did not
//! have are accepted too: `dh_group` and `pfs_group` also take `curve25519` (`x25519`, 31), `ecp256`, `ecp384`, `ecp521`
//! (19 to 21); `encryption_algorithm` also takes `aes_gcm_16 [bits]` (256 unless written) and `chacha20poly1305`, with
//! which a proposal's `hash_algorithm` names the PRF and a sainfo needs no `authentication_algorithm`.

mod algorithms;
mod ast;
mod feature;
mod include;
mod lexer;
mod lookup;
mod lower;
mod meaning;
pub mod model;
pub mod options;
mod parser;

use std::path::Path;

use crate::diag::{Diagnostics, Source};
use crate::files::{Files, load_configuration};

pub use feature::{Feature, Use};
pub use lookup::{Ambiguous, SaInfoQuery};
pub use model::RacoonConfig;

/// Reads a racoon.conf and everything it includes. The configuration is there if there are no errors.
#[must_use]
pub fn load(path: &Path, files: &dyn Files) -> (Option<RacoonConfig>, Diagnostics) {
    load_configuration(path, files, |octets| parse(path, octets, files))
}

/// Parses the text of a racoon.conf that is named `path`; `files` is for what it includes and for `keyid` files.
#[must_use]
pub fn parse(path: &Path, octets: &[u8], files: &dyn Files) -> (Option<RacoonConfig>, Diagnostics) {
    let mut diagnostics = Diagnostics::new();
    let statements = include::statements(path, octets, files, &mut diagnostics);
    meaning::note(&statements, &mut diagnostics);
    let config = lower::lower(statements, files, &mut diagnostics);
    diagnostics.sort();
    ((!diagnostics.has_errors()).then_some(config), diagnostics)
}

/// What may be shown of a racoon.conf: `bind_pw` and the secrets of `radiuscfg` are masked, and so is whatever looks like
/// a key.
fn source(path: &Path, octets: &[u8]) -> std::sync::Arc<Source> {
    Source::new(&path.display().to_string(), octets, &secrets::find(octets))
}

mod secrets;

#[cfg(test)]
mod tests;
