//! racoon's place on a host, without racoon: its ports, and SAs as it leaves them in the kernel.
//!
//! Its SAs have reqid 0, AES-CBC with 96 bits of HMAC-SHA-256, and ESP in UDP on port 4500.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt,
};
use xfrm_sys::sockopt::{bypass_policies, set_udp_encap};

use crate::failure::{Context, Result};
use crate::net::Host;
use crate::traffic::Marker;

/// What a running racoon holds on a host; dropped, it was killed: the kernel keeps its SAs and policies.
#[derive(Debug)]
pub struct RacoonsPorts(#[expect(dead_code, reason = "they are held")] [OwnedFd; 2]);

impl RacoonsPorts {
    /// Takes the ports 500 and 4500 of one address as racoon does on Linux: by address, to be shared, and outside of the policies.
    ///
    /// # Errors
    /// When they cannot be had.
    pub fn take(host: &Host, address: IpAddr) -> Result<Self> {
        let open = |port: u16| -> std::result::Result<OwnedFd, nix::errno::Errno> {
            let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
            let socket = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
            setsockopt(&socket, sockopt::ReuseAddr, &true)?;
            bypass_policies(&socket)?;
            bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(address, port)))?;
            Ok(socket)
        };
        let both = host.enter(|| {
            let (ike, natt) = (open(500)?, open(4500)?);
            set_udp_encap(&natt).map(|()| [ike, natt])
        })?;
        both.map(Self).context(|| format!("racoon's ports on {}", host.name()))
    }
}

/// One direction of a pair that racoon has keyed.
#[derive(Debug, Clone)]
pub struct RacoonsSa {
    source: IpAddr,
    destination: IpAddr,
    spi: u32,
    key: String,
}

impl RacoonsSa {
    /// New keys for packets from `source`.
    ///
    /// # Errors
    /// When the kernel gives no randomness.
    pub fn new(source: IpAddr, destination: IpAddr, spi: u32) -> Result<Self> {
        let random = Marker::new("k")?.payload(16);
        let key = random.iter().map(|octet| format!("{octet:02x}")).collect();
        Ok(Self { source, destination, spi, key })
    }

    /// Puts it into a host's kernel.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn add(&self, host: &Host) -> Result<()> {
        let Self { source, destination, spi, key } = self;
        host.ip(&format!(
            "xfrm state add src {source} dst {destination} proto esp spi {spi:#x} reqid 0 mode transport \
             replay-window 32 auth-trunc hmac(sha256) 0x{key}{key} 96 enc cbc(aes) 0x{key} \
             encap espinudp 4500 4500 0.0.0.0"
        ))?;
        Ok(())
    }

    /// Deletes it from a host's kernel.
    ///
    /// # Errors
    /// When it is not there.
    pub fn delete(&self, host: &Host) -> Result<()> {
        let Self { source, destination, spi, .. } = self;
        host.ip(&format!("xfrm state delete src {source} dst {destination} proto esp spi {spi:#x}"))?;
        Ok(())
    }
}
