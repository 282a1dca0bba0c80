//! The netlink socket.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use netlink_sys::protocols::NETLINK_XFRM;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeVal;
use zeroize::{Zeroize, Zeroizing};

/// The kernel fills a dump's datagrams up to 32 KiB.
const DATAGRAM: usize = 64 * 1024;

/// What carries requests to a kernel and brings its answers.
pub(crate) trait Transport {
    /// Sends one datagram.
    fn send(&mut self, octets: &[u8]) -> Result<(), Errno>;

    /// The next datagram from the kernel. `EAGAIN`: none came in time.
    fn recv(&mut self) -> Result<&[u8], Errno>;

    /// Wipes the octets of the last datagram.
    fn wipe(&mut self);

    /// Starts anew, with nothing outstanding.
    fn reopen(&mut self) -> Result<(), Errno>;
}

/// A bound `NETLINK_XFRM` socket and its receive buffer.
pub(crate) struct XfrmSocket {
    socket: Socket,
    receive_space: usize,
    timeout: Option<Duration>,
    buffer: Zeroizing<Vec<u8>>,
    filled: usize,
}

impl XfrmSocket {
    /// Opens a socket in the network namespace of this thread. `receive_space`: octets the kernel may queue.
    pub(crate) fn open(receive_space: usize) -> Result<Self, Errno> {
        let socket = bound_socket(receive_space).map_err(errno)?;
        let buffer = Zeroizing::new(vec![0; DATAGRAM]);
        Ok(Self { socket, receive_space, timeout: None, buffer, filled: 0 })
    }

    /// How long [`Transport::recv`] waits; it does so for ever if this is never called.
    pub(crate) fn set_timeout(&mut self, timeout: Duration) -> Result<(), Errno> {
        // Zero would mean for ever.
        let micros = timeout.as_micros().clamp(1, 1_000_000_000_000);
        let micros = i64::try_from(micros).map_err(|_| Errno::EINVAL)?;
        setsockopt(
            &self.socket,
            sockopt::ReceiveTimeout,
            &TimeVal::new(micros / 1_000_000, micros % 1_000_000),
        )?;
        self.timeout = Some(timeout);
        Ok(())
    }

    pub(crate) fn set_non_blocking(&self) -> Result<(), Errno> {
        self.socket.set_non_blocking(true).map_err(errno)
    }

    /// Subscribes to a group (`XFRMNLGRP_*`).
    pub(crate) fn join(&self, group: u32) -> Result<(), Errno> {
        self.socket.add_membership(group).map_err(errno)
    }
}

impl Transport for XfrmSocket {
    fn send(&mut self, octets: &[u8]) -> Result<(), Errno> {
        let kernel = SocketAddr::new(0, 0);
        loop {
            match self.socket.send_to(octets, &kernel, 0).map_err(errno) {
                // Nothing was sent yet, since netlink takes a datagram whole.
                Err(Errno::EINTR) => {}
                result => return result.map(|_| ()),
            }
        }
    }

    fn recv(&mut self) -> Result<&[u8], Errno> {
        self.wipe();
        loop {
            let received = self.socket.recv_from(&mut &mut self.buffer[..], libc::MSG_TRUNC).map_err(errno);
            let (length, sender) = match received {
                Err(Errno::EINTR) => continue,
                received => received?,
            };
            self.filled = length.min(self.buffer.len());
            if sender.port_number() != 0 {
                // Another process, not the kernel.
                continue;
            }
            return self.buffer.get(..length).ok_or(Errno::EMSGSIZE);
        }
    }

    fn wipe(&mut self) {
        if let Some(used) = self.buffer.get_mut(..self.filled) {
            used.zeroize();
        }
        self.filled = 0;
    }

    fn reopen(&mut self) -> Result<(), Errno> {
        self.socket = bound_socket(self.receive_space).map_err(errno)?;
        self.timeout.map_or(Ok(()), |timeout| self.set_timeout(timeout))
    }
}

impl AsFd for XfrmSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for XfrmSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

fn bound_socket(receive_space: usize) -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_XFRM)?;
    // Errors with the kernel's words, and without the request quoted, which may hold keys.
    socket.set_ext_ack(true)?;
    socket.set_cap_ack(true)?;
    if setsockopt(&socket, sockopt::RcvBufForce, &receive_space).is_err() {
        // Without CAP_NET_ADMIN: as much as net.core.rmem_max allows.
        setsockopt(&socket, sockopt::RcvBuf, &receive_space)?;
    }
    socket.bind_auto()?;
    Ok(socket)
}

fn errno(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Writer;
    use crate::constants::{NLM_F_ACK, NLM_F_REQUEST};

    #[test]
    fn the_kernel_is_asked_for_words_and_not_to_quote_requests() {
        let mut opened = XfrmSocket::open(65536).expect("a kernel with XFRM");
        for _ in 0..2 {
            assert!(opened.socket.get_ext_ack().unwrap());
            assert!(opened.socket.get_cap_ack().unwrap());
            assert!(opened.socket.get_rx_buf_sz().unwrap() >= 65536);
            opened.reopen().unwrap();
        }
    }

    #[test]
    fn a_datagram_longer_than_the_buffer_is_not_taken_for_a_whole_one() {
        let mut socket = XfrmSocket::open(65536).expect("a kernel with XFRM");
        socket.set_timeout(Duration::from_secs(5)).unwrap();
        // No message type of this kernel: it answers with an error of 36 octets.
        let mut request = Writer::new();
        request.message(0x3fff, NLM_F_REQUEST | NLM_F_ACK, 1, 0, |_| {});
        socket.buffer.truncate(35);
        socket.send(request.octets().unwrap()).unwrap();
        assert_eq!(socket.recv(), Err(Errno::EMSGSIZE));
        socket.buffer.push(0);
        socket.send(request.octets().unwrap()).unwrap();
        assert_eq!(socket.recv().map(<[u8]>::len), Ok(36));
        socket.wipe();
        assert!(socket.buffer.iter().all(|octet| *octet == 0));
    }

    #[test]
    fn a_receive_without_an_answer_ends_in_time() {
        let mut socket = XfrmSocket::open(65536).expect("a kernel with XFRM");
        socket.set_timeout(Duration::ZERO).unwrap();
        assert_eq!(socket.recv(), Err(Errno::EAGAIN));
        socket.reopen().unwrap();
        assert_eq!(socket.recv(), Err(Errno::EAGAIN), "a new socket waits no longer than the old one");
    }
}
