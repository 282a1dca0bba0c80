//! The UDP sockets: one per family, port and listening address.
//!
//! One of both families would not do: `IP_XFRM_POLICY` does not work on it, and ESP in UDP would be checked against the
//! policies before it is decapsulated.

use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::task::Poll;

use ike_proto::output::{Flow, Transmit};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, SockaddrLike as _,
    SockaddrStorage, bind, getsockname, recvmsg, sendmsg, setsockopt, socket, sockopt,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use xfrm_sys::sockopt::{allow_fragmentation, bypass_policies, set_udp_encap};

use crate::manager::Kept;
use crate::refusal::Refusal;
use crate::watch::watch;

/// Longest datagram there is.
pub const LONGEST_DATAGRAM: usize = 65_535;

/// Octets of datagrams the kernel may queue for one socket: some thousands of handshakes.
const RECEIVE_QUEUE: usize = 4 * 1024 * 1024;

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listen {
    /// Address and port; an unspecified address is every address of its family.
    pub address: SocketAddr,
    /// Whether it is the port for encapsulated IKE and ESP.
    pub natt: bool,
}

impl Listen {
    /// Both ports, on every address of both families.
    #[must_use]
    pub fn everywhere(ike_port: u16, natt_port: u16) -> Vec<Self> {
        let any: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        any.into_iter()
            .flat_map(|address| [(address, ike_port, false), (address, natt_port, true)])
            .map(|(address, port, natt)| Self { address: SocketAddr::new(address, port), natt })
            .collect()
    }

    /// Whether the socket listens here, for the same.
    fn is_of(&self, kept: &Kept) -> bool {
        let bound = getsockname::<SockaddrStorage>(kept.descriptor.as_raw_fd());
        self.natt == kept.natt && bound.is_ok_and(|bound| address_of(&bound) == Some(self.address))
    }
}

/// All sockets of the daemon. Needs a tokio runtime.
#[derive(Debug)]
pub struct Sockets {
    sockets: Vec<AsyncFd<IkeSocket>>,
}

impl Sockets {
    /// Opens a socket for each of `listens`, unless it was `kept` of a daemon before. A host without IPv6 gets a warning and no
    /// IPv6 sockets. `shared` ports may be another daemon's too, if it allows that.
    ///
    /// # Errors
    /// The first address that cannot be had, and why.
    pub fn open(
        listens: &[Listen],
        shared: bool,
        mut kept: Vec<Kept>,
    ) -> Result<(Self, Vec<String>), Refusal> {
        let (mut sockets, mut warnings) = (Vec::new(), Vec::new());
        for listen in listens {
            let same = kept.iter().position(|kept| listen.is_of(kept));
            let opened = match same.map(|place| kept.swap_remove(place)) {
                Some(kept) => IkeSocket::adopt(kept, bypass_policies),
                None => IkeSocket::open(listen, shared, bypass_policies),
            };
            match opened {
                Ok(socket) => sockets.push(
                    watch(socket)
                        .map_err(|error| Refusal::new(format!("cannot watch a UDP socket: {error}")))?,
                ),
                Err(errno) if is_without_ipv6(listen, errno) => {
                    let warning = "this host has no IPv6: IPv4 only".to_owned();
                    if !warnings.contains(&warning) {
                        warnings.push(warning);
                    }
                }
                Err(errno) => return Err(refusal(listen, errno)),
            }
        }
        if sockets.is_empty() {
            return Err(Refusal::new("there is no address to listen on"));
        }
        Ok((Self { sockets }, warnings))
    }

    /// These sockets, to which the kernel's policies apply.
    #[cfg(test)]
    pub(crate) fn of(listens: &[Listen]) -> Result<Self, Errno> {
        let open = |listen| IkeSocket::open(listen, false, |_| Ok(())).map(|socket| watch(socket).unwrap());
        Ok(Self { sockets: listens.iter().map(open).collect::<Result<_, _>>()? })
    }

    /// All of them, and which are for encapsulated IKE and ESP.
    pub fn descriptors(&self) -> impl Iterator<Item = (BorrowedFd<'_>, bool)> {
        self.sockets.iter().map(AsyncFd::get_ref).map(|socket| (socket.as_fd(), socket.natt))
    }

    /// Waits until a socket has something; returns its number.
    pub async fn readable(&self) -> usize {
        poll_fn(|cx| {
            for (number, socket) in self.sockets.iter().enumerate() {
                // An error here means that the runtime is going away.
                if let Poll::Ready(Ok(_)) = socket.poll_read_ready(cx) {
                    return Poll::Ready(number);
                }
            }
            Poll::Pending
        })
        .await
    }

    /// How many sockets there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.sockets.len()
    }

    /// The next datagram of a socket, with its length in `buffer`; `None` if there is none now.
    ///
    /// # Errors
    /// What the socket says, or why the datagram is of no use. The next call may succeed.
    pub fn receive(&self, number: usize, buffer: &mut [u8]) -> io::Result<Option<(Flow, usize)>> {
        let Some(socket) = self.sockets.get(number) else { return Ok(None) };
        match socket.try_io(Interest::READABLE, |socket| socket.receive(buffer)) {
            Ok(received) => Ok(Some(received)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends from the address and the port that the flow names.
    ///
    /// # Errors
    /// No socket is bound to them, or what the socket says; a full one loses the datagram, as a network would.
    pub fn send(&self, transmit: &Transmit) -> io::Result<()> {
        let socket = self.sockets.iter().map(AsyncFd::get_ref).find(|socket| socket.is_for(&transmit.flow));
        let socket = socket.ok_or_else(|| io::Error::other("no socket for this flow"))?;
        socket.send(&transmit.flow, &transmit.datagram)
    }
}

/// One bound socket.
#[derive(Debug)]
pub struct IkeSocket {
    descriptor: OwnedFd,
    bound: SocketAddr,
    natt: bool,
}

impl IkeSocket {
    /// Opens it, has it prepared, and binds it: whatever comes from then on finds it prepared.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open(
        listen: &Listen,
        shared: bool,
        prepare: impl FnOnce(&OwnedFd) -> Result<(), Errno>,
    ) -> Result<Self, Errno> {
        let family = if listen.address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let descriptor = socket(family, SockType::Datagram, flags, None)?;
        if listen.address.is_ipv6() {
            // Before it is bound, or never.
            setsockopt(&descriptor, sockopt::Ipv6V6Only, &true)?;
        }
        set_up(&descriptor, listen.natt)?;
        prepare(&descriptor)?;
        if shared {
            // Of two sockets with one port the kernel takes that of the packet's address first: racoon's, as long as it is there.
            setsockopt(&descriptor, sockopt::ReuseAddr, &true)?;
        }
        bind(descriptor.as_raw_fd(), &SockaddrStorage::from(listen.address))?;
        // From now on a successor may share the port; two daemons that know nothing of each other do not.
        setsockopt(&descriptor, sockopt::ReuseAddr, &true)?;
        Self::bound(descriptor, listen.natt)
    }

    /// Goes on with a socket of a daemon before this one, which may have prepared it otherwise.
    ///
    /// # Errors
    /// The kernel's.
    pub fn adopt(kept: Kept, prepare: impl FnOnce(&OwnedFd) -> Result<(), Errno>) -> Result<Self, Errno> {
        set_up(&kept.descriptor, kept.natt)?;
        prepare(&kept.descriptor)?;
        Self::bound(kept.descriptor, kept.natt)
    }

    fn bound(descriptor: OwnedFd, natt: bool) -> Result<Self, Errno> {
        let bound: SockaddrStorage = getsockname(descriptor.as_raw_fd())?;
        let bound = address_of(&bound).ok_or(Errno::EAFNOSUPPORT)?;
        Ok(Self { descriptor, bound, natt })
    }

    fn is_for(&self, flow: &Flow) -> bool {
        let ours = self.bound.ip();
        self.natt == flow.natt
            && self.bound.port() == flow.local.port()
            && ours.is_ipv4() == flow.local.is_ipv4()
            && (ours.is_unspecified() || ours == flow.local.ip())
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<(Flow, usize)> {
        let mut parts = [IoSliceMut::new(buffer)];
        let mut control = cmsg_space!(libc::in_pktinfo, libc::in6_pktinfo);
        let descriptor = self.descriptor.as_raw_fd();
        let received = loop {
            match recvmsg::<SockaddrStorage>(descriptor, &mut parts, Some(&mut control), MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                result => break result?,
            }
        };
        if received.flags.contains(MsgFlags::MSG_TRUNC) {
            return Err(io::Error::other("a datagram was longer than one can be"));
        }
        let remote = received.address.as_ref().and_then(address_of);
        let remote = remote.ok_or_else(|| io::Error::other("a datagram came from no address"))?;
        let local = received.cmsgs()?.find_map(|message| self.destination(&message));
        let local =
            local.ok_or_else(|| io::Error::other(format!("a datagram of {remote} was not for this host")))?;
        Ok((Flow { local, remote, natt: self.natt }, received.bytes))
    }

    /// Our address that a datagram was sent to; `None` for a broadcast or multicast one.
    fn destination(&self, message: &ControlMessageOwned) -> Option<SocketAddr> {
        match message {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                // What the packet says, and the local address that an answer is to come from.
                let same = info.ipi_addr.s_addr == info.ipi_spec_dst.s_addr;
                let address = Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes());
                same.then(|| SocketAddrV4::new(address, self.bound.port()).into())
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                let scope = if address.is_unicast_link_local() { info.ipi6_ifindex } else { 0 };
                (!address.is_multicast())
                    .then(|| SocketAddrV6::new(address, self.bound.port(), 0, scope).into())
            }
            _ => None,
        }
    }

    fn send(&self, flow: &Flow, datagram: &[u8]) -> io::Result<()> {
        let parts = [IoSlice::new(datagram)];
        let to = SockaddrStorage::from(flow.remote);
        let descriptor = self.descriptor.as_raw_fd();
        let send = |from: ControlMessage<'_>| loop {
            match sendmsg(descriptor, &parts, &[from], MsgFlags::empty(), Some(&to)) {
                Err(Errno::EINTR) => {}
                result => return result,
            }
        };
        let sent = match flow.local {
            SocketAddr::V4(local) => send(ControlMessage::Ipv4PacketInfo(&libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(local.ip().octets()) },
                ipi_addr: libc::in_addr { s_addr: 0 },
            })),
            SocketAddr::V6(local) => send(ControlMessage::Ipv6PacketInfo(&libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr { s6_addr: local.ip().octets() },
                ipi6_ifindex: local.scope_id(),
            })),
        };
        Ok(sent.map(drop)?)
    }
}

impl AsFd for IkeSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl AsRawFd for IkeSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

/// What every socket of the daemon has, bound or not.
fn set_up(descriptor: &OwnedFd, natt: bool) -> Result<(), Errno> {
    let bound: SockaddrStorage = getsockname(descriptor.as_raw_fd())?;
    if bound.family() == Some(AddressFamily::Inet) {
        setsockopt(descriptor, sockopt::Ipv4PacketInfo, &true)?;
    } else {
        setsockopt(descriptor, sockopt::Ipv6RecvPacketInfo, &true)?;
    }
    allow_fragmentation(descriptor)?;
    if setsockopt(descriptor, sockopt::RcvBufForce, &RECEIVE_QUEUE).is_err() {
        // Without the capability: as much as the host allows.
        setsockopt(descriptor, sockopt::RcvBuf, &RECEIVE_QUEUE)?;
    }
    if natt { set_udp_encap(descriptor) } else { Ok(()) }
}

fn address_of(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::V4((*v4).into()));
    }
    address.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into()))
}

/// Whether the socket failed for want of IPv6, and nobody asked for an IPv6 address by name.
fn is_without_ipv6(listen: &Listen, errno: Errno) -> bool {
    listen.address.is_ipv6()
        && listen.address.ip().is_unspecified()
        && matches!(errno, Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL)
}

fn refusal(listen: &Listen, errno: Errno) -> Refusal {
    let address = listen.address;
    Refusal::new(match errno {
        Errno::EADDRINUSE => {
            format!(
                "UDP port {} is in use ({address}): is another IKE daemon running? (`--take-over` takes its place)",
                address.port()
            )
        }
        Errno::EACCES => format!("may not listen on {address}: CAP_NET_BIND_SERVICE is needed"),
        Errno::EPERM => {
            format!("may not bypass the policies on the socket of {address}: CAP_NET_ADMIN is needed")
        }
        Errno::EADDRNOTAVAIL => format!("cannot listen on {address}: it is no address of this host"),
        Errno::ENOPROTOOPT if listen.natt => {
            format!("the kernel has no ESP in UDP (UDP_ENCAP on {address}: {})", errno.desc())
        }
        _ => format!("cannot listen on {address}: {} ({errno:?})", errno.desc()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel's policies apply to it.
    fn plain(_: &OwnedFd) -> Result<(), Errno> {
        Ok(())
    }

    fn open(address: &str, natt: bool) -> AsyncFd<IkeSocket> {
        let listen = Listen { address: address.parse().unwrap(), natt };
        watch(IkeSocket::open(&listen, false, plain).unwrap()).unwrap()
    }

    fn pair_of(first: &str, second: &str, natt: bool) -> Sockets {
        Sockets { sockets: vec![open(first, natt), open(second, natt)] }
    }

    async fn next(sockets: &Sockets, buffer: &mut [u8]) -> (usize, Flow, usize) {
        loop {
            let number = sockets.readable().await;
            if let Some((flow, length)) = sockets.receive(number, buffer).unwrap() {
                return (number, flow, length);
            }
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_answer_leaves_from_the_address_that_was_asked() {
        for (any, own, asked) in [("0.0.0.0:0", "127.0.0.1:0", "127.0.0.77"), ("[::]:0", "[::1]:0", "::1")] {
            let sockets = pair_of(any, own, true);
            let [server, client] = [0, 1].map(|n| sockets.sockets[n].get_ref().bound);
            let asked = SocketAddr::new(asked.parse().unwrap(), server.port());
            let datagram = b"\0\0\0\0question".to_vec();
            sockets
                .send(&Transmit {
                    flow: Flow { local: client, remote: asked, natt: true },
                    datagram: datagram.clone(),
                })
                .unwrap();
            let mut buffer = vec![0; LONGEST_DATAGRAM];
            let (number, flow, length) = next(&sockets, &mut buffer).await;
            assert_eq!((number, &buffer[..length]), (0, datagram.as_slice()));
            assert_eq!(flow, Flow { local: asked, remote: client, natt: true });
            sockets.send(&Transmit { flow, datagram }).unwrap();
            let (number, flow, _) = next(&sockets, &mut buffer).await;
            assert_eq!((number, flow), (1, Flow { local: client, remote: asked, natt: true }));
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn messages_of_1280_and_of_3000_octets_are_sent_and_taken_whole() {
        for (any, own) in [("127.0.0.1:0", "127.0.0.1:0"), ("[::1]:0", "[::1]:0")] {
            let sockets = pair_of(any, own, true);
            let [server, client] = [0, 1].map(|n| sockets.sockets[n].get_ref().bound);
            for length in [1280, 3000] {
                // Behind the marker of IKE.
                let octets = [0; 4].into_iter().chain((0..=250_u8).cycle());
                let datagram: Vec<u8> = octets.take(length).collect();
                let flow = Flow { local: client, remote: server, natt: true };
                sockets.send(&Transmit { flow, datagram: datagram.clone() }).unwrap();
                let mut buffer = vec![0; LONGEST_DATAGRAM];
                let (_, _, taken) = next(&sockets, &mut buffer).await;
                assert!(buffer[..taken] == datagram, "{taken} of {length} octets");
            }
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_datagram_for_everybody_is_refused_and_the_next_one_read() {
        let sockets = pair_of("0.0.0.0:0", "127.0.0.1:0", false);
        let [server, client] = [0, 1].map(|n| sockets.sockets[n].get_ref().bound);
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.set_broadcast(true).unwrap();
        sender.send_to(b"to all", ("127.255.255.255", server.port())).unwrap();
        sender.send_to(b"to you", ("127.0.0.1", server.port())).unwrap();
        let mut buffer = vec![0; 100];
        let mut seen = Vec::new();
        while seen.len() < 2 {
            let number = sockets.readable().await;
            match sockets.receive(number, &mut buffer) {
                Ok(Some((_, length))) => seen.push(buffer[..length].to_vec()),
                Ok(None) => {}
                Err(_) => seen.push(b"error".to_vec()),
            }
        }
        assert_eq!(seen, [b"error".as_slice(), b"to you"]);
        let nowhere = Flow { local: client, remote: client, natt: true };
        assert!(sockets.send(&Transmit { flow: nowhere, datagram: Vec::new() }).is_err());
    }

    #[test]
    fn a_port_in_use_and_an_address_that_is_not_ours_are_named() {
        let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let listen = Listen { address: taken.local_addr().unwrap(), natt: false };
        let said = refusal(&listen, IkeSocket::open(&listen, false, plain).unwrap_err()).to_string();
        let port = listen.address.port();
        let expected =
            format!("UDP port {port} is in use (127.0.0.1:{port}): is another IKE daemon running?");
        assert!(said.starts_with(&expected), "{said}");
        // That one does not share.
        assert_eq!(IkeSocket::open(&listen, true, plain).unwrap_err(), Errno::EADDRINUSE);
        let foreign = Listen { address: "192.0.2.99:0".parse().unwrap(), natt: false };
        let said = refusal(&foreign, IkeSocket::open(&foreign, false, plain).unwrap_err()).to_string();
        assert_eq!(said, "cannot listen on 192.0.2.99:0: it is no address of this host");
    }

    #[test]
    fn a_port_is_shared_with_whoever_allows_it() {
        let listen = Listen { address: "127.0.0.1:0".parse().unwrap(), natt: true };
        let first = IkeSocket::open(&listen, false, plain).unwrap();
        let everywhere = Listen { address: SocketAddr::from(([0, 0, 0, 0], first.bound.port())), natt: true };
        assert!(IkeSocket::open(&everywhere, true, plain).is_ok());
        assert_eq!(IkeSocket::open(&everywhere, false, plain).unwrap_err(), Errno::EADDRINUSE);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_kept_socket_goes_on_with_what_came_meanwhile_where_it_is_listened_for_the_same() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let listen = Listen { address: any.parse().unwrap(), natt: true };
            let before = IkeSocket::open(&listen, false, plain).unwrap();
            let kept = Kept { descriptor: before.descriptor, natt: true };
            let listen = Listen { address: before.bound, natt: true };
            assert!(listen.is_of(&kept));
            assert!(!Listen { natt: false, ..listen }.is_of(&kept));
            let mut elsewhere = listen;
            elsewhere.address.set_port(listen.address.port() ^ 1);
            assert!(!elsewhere.is_of(&kept));
            let sender = std::net::UdpSocket::bind(any).unwrap();
            sender.send_to(b"\0\0\0\0early", listen.address).unwrap();
            let sockets = Sockets { sockets: vec![watch(IkeSocket::adopt(kept, plain).unwrap()).unwrap()] };
            let mut buffer = vec![0; 100];
            let (_, flow, length) = next(&sockets, &mut buffer).await;
            assert_eq!(&buffer[4..length], b"early");
            let remote = sender.local_addr().unwrap();
            assert_eq!(flow, Flow { local: listen.address, remote, natt: true });
        }
    }

    #[test]
    fn only_the_want_of_any_ipv6_is_forgiven() {
        let any = Listen { address: "[::]:500".parse().unwrap(), natt: false };
        let named = Listen { address: "[2001:db8::1]:500".parse().unwrap(), natt: false };
        assert!(is_without_ipv6(&any, Errno::EAFNOSUPPORT));
        assert!(!is_without_ipv6(&any, Errno::EADDRINUSE));
        assert!(!is_without_ipv6(&named, Errno::EADDRNOTAVAIL));
    }
}
