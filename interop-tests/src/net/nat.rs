//! A box that hides an inner network behind its one outer address.

use super::{Host, Lan, Port};
use crate::failure::Result;
use crate::process;

/// A masquerading router between an inner and an outer network.
#[derive(Debug)]
pub struct NatBox {
    host: Host,
    /// Its cable on the outer network.
    pub outer: Port,
}

impl NatBox {
    /// Makes the box with these addresses (`address/length`) on the two networks.
    ///
    /// UDP leaves from ports that are not the sender's, as it does behind a busy box: an end that expects 500 or 4500
    /// as the other's port fails here.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn new(name: &str, inside: (&Lan, &str), outside: (&Lan, &str)) -> Result<Self> {
        let host = Host::new(name)?;
        inside.0.join(&host, "in0", &[inside.1])?;
        let outer = outside.0.join(&host, "out0", &[outside.1])?;
        host.forward()?;
        for rule in [
            "-A POSTROUTING -o out0 -p udp -j MASQUERADE --to-ports 40000-49999",
            "-A POSTROUTING -o out0 -j MASQUERADE",
        ] {
            process::output(host.command("iptables-legacy").args(["-w", "-t", "nat"]).args(rule.split(' ')))?;
        }
        Ok(NatBox { host, outer })
    }

    /// The box's namespace.
    pub fn host(&self) -> &Host {
        &self.host
    }
}
