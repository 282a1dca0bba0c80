//! The example mesh's data centre: private addresses on one network, each mapped one to one to a public address.

use std::net::Ipv4Addr;

use super::{Host, Lan, Port};
use crate::failure::Result;

/// The private network 192.0.2.0/24 and a router that maps 192.0.2.N to 198.51.100.N and back, without state.
///
/// A packet from 192.0.2.1 to 198.51.100.2 reaches box 2 as 198.51.100.1 to 192.0.2.2. Private traffic stays on the
/// bridge, untouched.
#[derive(Debug)]
pub struct Cloud {
    lan: Lan,
    boxes: Vec<(Host, Port)>,
}

impl Cloud {
    /// Makes the network with boxes 1 to `count`, named box01 and so on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn new(count: u8) -> Result<Self> {
        let lan = Lan::new("cloud")?;
        let router = lan.home();
        router.ip("addr add 192.0.2.254/24 dev br0")?;
        router.forward()?;
        router.tc("qdisc add dev br0 clsact")?;
        router.tc(&format!(
            "filter add dev br0 ingress protocol ip u32 match ip dst 198.51.100.0/24 {}",
            mapping(count)
        ))?;
        let mut boxes = Vec::new();
        for number in 1..=count {
            let host = Host::new(&format!("box{number:02}"))?;
            let port = lan.join(&host, "eth0", &[&format!("{}/24", Self::private(number))])?;
            host.ip("route add default via 192.0.2.254")?;
            boxes.push((host, port));
        }
        Ok(Cloud { lan, boxes })
    }

    /// Box `number`'s own address.
    pub fn private(number: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, number)
    }

    /// The address under which the others reach box `number` through the router.
    pub fn public(number: u8) -> Ipv4Addr {
        Ipv4Addr::new(198, 51, 100, number)
    }

    /// The boxes and their cables, box 1 first.
    pub fn boxes(&self) -> &[(Host, Port)] {
        &self.boxes
    }

    /// The network they share.
    pub fn lan(&self) -> &Lan {
        &self.lan
    }
}

/// The actions that rewrite both addresses: a source of ours becomes public, a public destination becomes private.
fn mapping(count: u8) -> String {
    let sources =
        (1..=count).map(|n| format!("action nat egress {} {} pipe", Cloud::private(n), Cloud::public(n)));
    let destinations =
        (1..=count).map(|n| format!("action nat ingress {} {} pipe", Cloud::public(n), Cloud::private(n)));
    let all = sources.chain(destinations).collect::<Vec<_>>().join(" ");
    all.trim_end_matches(" pipe").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mapping_rewrites_source_and_destination() {
        assert_eq!(
            mapping(1),
            "action nat egress 192.0.2.1 198.51.100.1 pipe action nat ingress 198.51.100.1 192.0.2.1"
        );
    }
}
