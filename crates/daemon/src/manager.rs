//! The service manager: it is told when the daemon is up, and keeps the UDP sockets open while none runs.
//!
//! A socket decapsulates ESP in UDP as long as anybody has it open. So a restart in which the SAs stay loses nothing if the
//! sockets stay too: systemd holds them from `FDSTORE=1` on (sd_pid_notify_with_fds(3)), and gives them to the next daemon
//! (sd_listen_fds(3)). Its own socket is opened once, for the root directory may be another one later.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

/// The name under which a socket is kept: for encapsulated IKE and ESP, or not.
const fn name(natt: bool) -> &'static str {
    if natt { "coati-natt" } else { "coati-ike" }
}

/// Who has started the daemon, if it wants to know how that is.
#[derive(Debug, Default)]
pub struct Manager(Option<UnixDatagram>);

/// A socket that the service manager has kept.
#[derive(Debug)]
pub struct Kept {
    /// The socket.
    pub descriptor: OwnedFd,
    /// Whether it was for encapsulated IKE and ESP.
    pub natt: bool,
}

impl Manager {
    /// The one that the environment names (`NOTIFY_SOCKET`), if any.
    ///
    /// # Errors
    /// It cannot be reached.
    pub fn of_environment() -> io::Result<Self> {
        std::env::var("NOTIFY_SOCKET").map_or_else(|_| Ok(Self::default()), |socket| Self::at(&socket))
    }

    /// The one that listens at this path, or at this abstract name if that begins with `@`.
    fn at(socket: &str) -> io::Result<Self> {
        let address = match socket.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(socket)?,
        };
        let own = UnixDatagram::unbound()?;
        own.connect_addr(&address)?;
        Ok(Self(Some(own)))
    }

    /// The daemon is up.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn say_ready(&self) -> io::Result<()> {
        self.say("READY=1", &[])
    }

    /// From now on these sockets, and whether they are for encapsulated IKE and ESP, are to stay open without the daemon, and
    /// those before are not.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn keep<'a>(&self, sockets: impl Iterator<Item = (BorrowedFd<'a>, bool)>) -> io::Result<()> {
        for natt in [false, true] {
            self.say(&format!("FDSTOREREMOVE=1\nFDNAME={}", name(natt)), &[])?;
        }
        for (socket, natt) in sockets {
            // An error of the network is no reason to close it.
            self.say(&format!("FDSTORE=1\nFDPOLL=0\nFDNAME={}", name(natt)), &[socket])?;
        }
        Ok(())
    }

    fn say(&self, message: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let Some(own) = &self.0 else { return Ok(()) };
        let raw: Vec<_> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let rights = if raw.is_empty() { &[][..] } else { &rights[..] };
        let parts = [IoSlice::new(message.as_bytes())];
        sendmsg::<()>(own.as_raw_fd(), &parts, rights, MsgFlags::empty(), None)?;
        Ok(())
    }
}

/// The sockets that were kept for this process; they are given once.
///
/// # Errors
/// What the environment says of them cannot be understood.
pub fn kept() -> io::Result<Vec<Kept>> {
    let given = sd_listen_fds::get().map_err(io::Error::other)?;
    given
        .into_iter()
        .filter_map(|(given, descriptor)| of_name(given?.as_str(), descriptor.into_std()))
        .collect()
}

fn of_name(given: &str, descriptor: OwnedFd) -> Option<io::Result<Kept>> {
    let natt = [false, true].into_iter().find(|natt| name(*natt) == given)?;
    // No program that the daemon starts is to have it.
    let closed = fcntl(descriptor.as_fd(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
    Some(closed.map(|_| Kept { descriptor, natt }).map_err(io::Error::from))
}

#[cfg(test)]
mod tests {
    use std::io::IoSliceMut;
    use std::net::UdpSocket;
    use std::os::fd::RawFd;
    use std::os::unix::fs::MetadataExt as _;

    use nix::cmsg_space;
    use nix::sys::socket::{ControlMessageOwned, recvmsg};

    use super::*;

    /// The next message, and the descriptors that came with it.
    fn hear(own: &UnixDatagram) -> (String, Vec<RawFd>) {
        let mut buffer = [0; 200];
        let mut control = cmsg_space!([RawFd; 4]);
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let heard = recvmsg::<()>(own.as_raw_fd(), &mut parts, Some(&mut control), flags).unwrap();
        let rights = heard.cmsgs().unwrap().flat_map(|message| match message {
            ControlMessageOwned::ScmRights(descriptors) => descriptors,
            other => panic!("{other:?}"),
        });
        let (rights, length) = (rights.collect(), heard.bytes);
        (String::from_utf8(buffer[..length].to_vec()).unwrap(), rights)
    }

    fn inode(descriptor: RawFd) -> u64 {
        std::fs::metadata(format!("/proc/self/fd/{descriptor}")).unwrap().ino()
    }

    #[test]
    fn it_is_told_what_to_keep_and_when_the_daemon_is_up() {
        let directory = crate::testing::scratch_dir("manager");
        let path = directory.join("notify");
        let abstract_name = format!("coati-manager-test-{}", std::process::id());
        let by_name = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        let ends = [
            (path.to_str().unwrap().to_owned(), UnixDatagram::bind(&path).unwrap()),
            (format!("@{abstract_name}"), UnixDatagram::bind_addr(&by_name).unwrap()),
        ];
        for (socket, end) in ends {
            let manager = Manager::at(&socket).unwrap();
            let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
            manager.keep([(sockets[0].as_fd(), false), (sockets[1].as_fd(), true)].into_iter()).unwrap();
            manager.say_ready().unwrap();
            let nothing = Vec::<RawFd>::new();
            assert_eq!(hear(&end), ("FDSTOREREMOVE=1\nFDNAME=coati-ike".to_owned(), nothing.clone()));
            assert_eq!(hear(&end), ("FDSTOREREMOVE=1\nFDNAME=coati-natt".to_owned(), nothing.clone()));
            for (socket, name) in sockets.iter().zip(["coati-ike", "coati-natt"]) {
                let (message, rights) = hear(&end);
                assert_eq!(message, format!("FDSTORE=1\nFDPOLL=0\nFDNAME={name}"));
                let [descriptor] = rights[..] else { panic!("{rights:?}") };
                assert_eq!(inode(descriptor), inode(socket.as_raw_fd()), "the same socket");
                nix::unistd::close(descriptor).unwrap();
            }
            assert_eq!(hear(&end), ("READY=1".to_owned(), nothing));
        }
    }

    #[test]
    fn without_one_nobody_is_told_and_one_that_is_not_there_is_an_error() {
        Manager::default().say_ready().unwrap();
        assert!(Manager::at("/nonexistent/notify").is_err());
    }

    #[test]
    fn only_what_the_daemon_gave_comes_back_and_its_children_do_not_get_it() {
        let socket = || OwnedFd::from(UdpSocket::bind("127.0.0.1:0").unwrap());
        assert!(of_name("somebody-elses", socket()).is_none());
        for natt in [false, true] {
            let inherited = socket();
            fcntl(&inherited, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
            let kept = of_name(name(natt), inherited).unwrap().unwrap();
            assert_eq!(kept.natt, natt);
            let flags = fcntl(&kept.descriptor, FcntlArg::F_GETFD).unwrap();
            assert_eq!(FdFlag::from_bits_truncate(flags), FdFlag::FD_CLOEXEC);
        }
    }
}
