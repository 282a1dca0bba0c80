//! `setkey`: loads SAs and policies, removes them, and prints them, as ipsec-tools' setkey did, but by XFRM netlink.

mod dump_sa;
mod dump_spd;
mod names;
mod scene;

pub use dump_sa::{Ports, dump_sas, sas_text};
pub use dump_spd::{SocketPolicies, dump_policies, policies_text};
pub use scene::Scene;

#[cfg(test)]
mod tests;
