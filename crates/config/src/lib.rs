//! racoon's configuration languages, `racoon.conf`, `psk.txt` and setkey's `ipsec-tools.conf`; and `coati.toml`, Coati's own.
//!
//! Each language is read whole: every error is reported with its place, nothing is passed over in silence, and what has
//! no meaning in IKEv2 is a warning. Parsing is linear in the size of the input and never panics.

mod base64;
pub mod diag;
pub mod dn;
pub mod files;
pub mod language;
pub mod native;
pub mod net;
pub mod plain_rsa;
pub mod psk;
pub mod racoon;
pub mod setkey;
mod spelling;
