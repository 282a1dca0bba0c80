//! The keying daemon, as a library so that its parts can be tested.

pub mod cli;
pub mod clock;
pub mod control;
pub mod engine;
pub mod entropy;
pub mod estate;
pub mod jobs;
pub mod kernel;
pub mod program;
pub mod refusal;
pub mod reload;
pub mod sockets;

pub mod start;
pub mod status;
pub mod translate;
pub mod view;
pub mod watch;

#[cfg(test)]
mod testing;
