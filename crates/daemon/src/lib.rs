//! The keying daemon, as a library so that its parts can be tested.

pub mod announce;
pub mod cli;
pub mod clock;
pub mod control;
pub mod detach;
pub mod engine;
pub mod entropy;
pub mod estate;
pub mod hooks;
pub mod jobs;
pub mod kernel;
pub mod log;
pub mod made;
pub mod manager;
pub mod pidfile;
pub mod privileges;
pub mod program;
pub mod racoon_cli;
pub mod refusal;
pub mod reload;
pub mod sockets;
pub mod start;
pub mod status;
pub mod succession;
pub mod translate;
pub mod view;
pub mod watch;

#[cfg(test)]
mod testing;
