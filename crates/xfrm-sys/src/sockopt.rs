//! Options for the UDP sockets of a keying daemon.
#![expect(unsafe_code, reason = "nothing wraps these options")]

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage, getsockname};

use crate::codec::Writer;
use crate::constants::{IP_XFRM_POLICY, IPV6_XFRM_POLICY, UDP_ENCAP, UDP_ENCAP_ESPINUDP};
use crate::policy::{Direction, Policy};
use crate::selector::{Prefix, Selector};

/// Has the kernel take ESP in UDP (RFC 3948) off this UDP socket. IKE messages with the non-ESP marker still come up;
/// NAT keepalives do not.
///
/// # Errors
///
/// The kernel's: `ENOPROTOOPT` where it has no such encapsulation.
pub fn set_udp_encap(socket: &impl AsFd) -> Result<(), Errno> {
    set(socket, libc::IPPROTO_UDP, UDP_ENCAP, &UDP_ENCAP_ESPINUDP.to_ne_bytes())
}

/// Lets this socket's packets pass both ways whatever the policies say, by policies of its own. Both are needed: the
/// inbound one lets in ESP in UDP, which the kernel compares with the policies before it decapsulates.
///
/// The socket must be of one family: an IPv6 one with `IPV6_V6ONLY`.
///
/// # Errors
///
/// `EPERM` without `CAP_NET_ADMIN`; `EAFNOSUPPORT` if it is no IP socket.
pub fn bypass_policies(socket: &impl AsFd) -> Result<(), Errno> {
    let bound: SockaddrStorage = getsockname(socket.as_fd().as_raw_fd())?;
    let (level, option, any) = match bound.family() {
        Some(AddressFamily::Inet) => {
            (libc::IPPROTO_IP, IP_XFRM_POLICY, std::net::Ipv4Addr::UNSPECIFIED.into())
        }
        Some(AddressFamily::Inet6) => {
            (libc::IPPROTO_IPV6, IPV6_XFRM_POLICY, std::net::Ipv6Addr::UNSPECIFIED.into())
        }
        _ => return Err(Errno::EAFNOSUPPORT),
    };
    let everywhere = Prefix { address: any, length: 0 };
    for direction in [Direction::IN, Direction::OUT] {
        let mut value = Writer::new();
        Policy::new(Selector::new(everywhere, everywhere), direction).write_info(&mut value);
        set(socket, level, option, value.octets().map_err(|_| Errno::EINVAL)?)?;
    }
    Ok(())
}

/// Lets this socket's packets be fragmented on their way: IKE messages do not fit every path, and a lost "too big" must
/// not end a handshake.
///
/// # Errors
///
/// `EAFNOSUPPORT` if it is no IP socket.
pub fn allow_fragmentation(socket: &impl AsFd) -> Result<(), Errno> {
    let bound: SockaddrStorage = getsockname(socket.as_fd().as_raw_fd())?;
    let (level, option, value) = match bound.family() {
        Some(AddressFamily::Inet) => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT),
        Some(AddressFamily::Inet6) => (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DONT),
        _ => return Err(Errno::EAFNOSUPPORT),
    };
    set(socket, level, option, &value.to_ne_bytes())
}

fn set(socket: &impl AsFd, level: i32, option: i32, value: &[u8]) -> Result<(), Errno> {
    let length = libc::socklen_t::try_from(value.len()).map_err(|_| Errno::EINVAL)?;
    let descriptor = socket.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open as long as `socket` is borrowed, and the kernel reads `length` octets at the
    // pointer, which is what `value` has.
    let result = unsafe { libc::setsockopt(descriptor, level, option, value.as_ptr().cast(), length) };
    Errno::result(result).map(|_| ())
}
