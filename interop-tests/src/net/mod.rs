//! Hosts and the networks between them: network namespaces, bridges, veth pairs and NAT boxes.

mod cloud;
mod host;
mod lan;
mod nat;

pub use cloud::Cloud;
pub use host::Host;
pub use lan::{Impairment, Lan, Port};
pub use nat::NatBox;
