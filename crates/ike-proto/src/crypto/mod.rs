//! What the engine asks of cryptography: small traits, jobs for what is slow, suites and the key schedule.

pub mod credential;
pub mod job;
pub mod keymat;
pub mod provider;
pub mod suite;
