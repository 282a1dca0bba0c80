//! A local network: a bridge in a namespace of its own, a veth pair for each host that joins.

use std::time::Duration;

use super::Host;
use crate::failure::Result;

/// A bridge that hosts join. It lives on a namespace of its own, so a capture there sees what the hosts cannot change.
#[derive(Debug, Clone)]
pub struct Lan {
    home: Host,
}

/// The network's end of a host's cable: the place to capture and to impair.
#[derive(Debug, Clone)]
pub struct Port {
    /// The namespace of the network.
    pub home: Host,
    /// The device there.
    pub device: String,
}

/// What a cable does to the packets that leave the network towards the host.
#[derive(Debug, Clone, Copy)]
pub struct Impairment {
    /// Added to each packet's way.
    pub delay: Duration,
    /// Packets lost in a thousand.
    pub loss_per_mille: u32,
}

impl Lan {
    /// Makes the network.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn new(name: &str) -> Result<Self> {
        let home = Host::new(name)?;
        home.ip("link add br0 type bridge forward_delay 0 mcast_snooping 0")?;
        home.ip("link set br0 up")?;
        Ok(Lan { home })
    }

    /// The namespace the bridge lives on.
    pub fn home(&self) -> &Host {
        &self.home
    }

    /// Lays a cable from the host's new device `device`, with these addresses (`address/length`), to the bridge.
    ///
    /// # Errors
    /// When the kernel refuses, for instance a device name that the host has already.
    pub fn join(&self, host: &Host, device: &str, addresses: &[&str]) -> Result<Port> {
        let port = format!("{}-{device}", host.name());
        self.home.ip(&format!("link add {port} type veth peer name {device} netns {}", host.name()))?;
        self.home.ip(&format!("link set {port} master br0 up"))?;
        for address in addresses {
            let nodad = if address.contains(':') { "nodad" } else { "" };
            host.ip(&format!("addr add {address} dev {device} {nodad}"))?;
        }
        host.ip(&format!("link set {device} up"))?;
        Ok(Port { home: self.home.clone(), device: port })
    }
}

impl Port {
    /// Delays and loses packets on their way to the host.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn impair(&self, with: Impairment) -> Result<()> {
        let (whole, tenth) = (with.loss_per_mille / 10, with.loss_per_mille % 10);
        let delay = with.delay.as_micros();
        self.home.tc(&format!(
            "qdisc replace dev {} root netem delay {delay}us loss {whole}.{tenth}%",
            self.device
        ))?;
        Ok(())
    }
}
