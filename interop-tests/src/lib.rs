//! Scenarios in a real kernel with real peers.
//!
//! A scenario builds hosts (network namespaces) and the networks between them, starts a keying daemon on each host,
//! sends traffic, and judges three witnesses: the ESP counters of both kernels, a capture of the wire, and the
//! daemons' own words. [`launch`] runs scenarios in the machine's own kernel where that can install ESP SAs, else in
//! User-Mode Linux booted from the machine's own file system; `interop-guest` is the program that runs inside.
#![allow(clippy::disallowed_methods, reason = "a harness around real processes lives in real time")]

pub mod capture;
pub mod demo;
pub mod failure;
pub mod guest;
pub mod judge;
pub mod launch;
pub mod net;
pub mod pcap;
pub mod peer;
pub mod pki;
pub mod process;
pub mod scenario;
pub mod stage;
pub mod stream;
pub mod suite;
pub mod traffic;
pub mod wait;
pub mod wire;
pub mod xfrm;
