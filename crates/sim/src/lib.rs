//! A deterministic simulator for the IKEv2 engine: virtual clock, links that lose, reorder, duplicate, damage and delay, NAT
//! boxes, modelled kernels and traffic, and an oracle that looks after every step (ARCHITECTURE.md, decision 7).
//!
//! A run is a function of one number and a [`scenario::Scenario`]: [`run()`] does it, a failed one prints the number and the
//! messages of the pair. A test that wants to look in between steps a [`world::World`] itself.

pub mod draw;
pub mod flood;
pub mod forge;
pub mod host;
pub mod impostor;
pub mod link;
pub mod nat;
pub mod network;
pub mod null_credential;
pub mod null_crypto;
pub mod oracle;
pub mod packet;
pub mod run;
pub mod sad;
pub mod scenario;
pub mod script;
pub mod spd;
pub mod trace;
pub mod traffic;
pub mod world;

pub use run::{Failure, Outcome, reach, run, sweep};
pub use scenario::{Scenario, TwoHosts};
pub use world::World;
