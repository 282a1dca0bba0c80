//! The control socket: its protocol and the client.
//!
//! The protocol is Varlink's over a Unix stream socket, so `varlinkctl` speaks it too:
//!
//! ```text
//! varlinkctl introspect /run/coati/control.sock org.coati.control
//! varlinkctl call /run/coati/control.sock org.coati.control.Status '{}'
//! ```
//!
//! What each method takes and gives is in [`protocol::DESCRIPTION`]; `coati status --json` prints the parameters of the
//! reply to `Status`, which [`status::Status`] is.

pub mod client;
pub mod event;
pub mod frame;
pub mod protocol;
pub mod status;
