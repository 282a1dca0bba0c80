//! Traffic whose payload can be recognised on the wire.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::failure::{Context, Result};
use crate::net::Host;
use crate::{ensure, fail, process, wait};

/// How long one transfer may take, the set-up of SAs included: three SYNs are sent within it.
const LIMIT: Duration = Duration::from_secs(30);

/// A random text that is in the traffic's payload again and again, and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker(String);

impl Marker {
    /// A new one of 32 characters, with `name` in front so that a person finds it in a capture.
    ///
    /// # Errors
    /// When the kernel gives no randomness.
    pub fn new(name: &str) -> Result<Self> {
        let mut random = [0; 12];
        let mut source = std::fs::File::open("/dev/urandom").context(|| "no /dev/urandom".to_owned())?;
        source.read_exact(&mut random).context(|| "no randomness".to_owned())?;
        let hex: String = random.iter().map(|octet| format!("{octet:02x}")).collect();
        Ok(Marker(format!("<{name}:{hex}>")))
    }

    /// The octets to look for.
    pub fn octets(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// A payload of exactly `length` octets: the marker repeated.
    pub fn payload(&self, length: usize) -> Vec<u8> {
        self.octets().iter().copied().cycle().take(length).collect()
    }
}

/// Sends `length` octets over one TCP connection and checks that exactly these arrive.
///
/// # Errors
/// When the connection is not made within 30 s, or something else arrives.
pub fn tcp(from: &Host, to: &Host, target: SocketAddr, marker: &Marker, length: usize) -> Result<()> {
    let at = listening_address(target);
    let listener =
        to.enter(|| TcpListener::bind(at))?.context(|| format!("{} cannot listen on {at}", to.name()))?;
    listener.set_nonblocking(true).context(|| "listener".to_owned())?;
    let payload = marker.payload(length);
    std::thread::scope(|scope| {
        let sink = scope.spawn(|| receive(&listener));
        let sent = from.enter(|| send(target, &payload))?;
        sent.context(|| format!("TCP from {} to {target}", from.name()))?;
        let arrived = sink.join().map_err(|_| crate::failure::Failure::new("the sink panicked"))??;
        ensure!(arrived == payload, "{} octets left {}, {} arrived", length, from.name(), arrived.len());
        Ok(())
    })
}

/// Sends `count` UDP datagrams of `size` octets, one every 5 ms, and gives the number that arrived.
///
/// # Errors
/// When a socket cannot be made or written to.
pub fn udp(
    from: &Host,
    to: &Host,
    target: SocketAddr,
    marker: &Marker,
    count: u32,
    size: usize,
) -> Result<u32> {
    let at = listening_address(target);
    let sink =
        to.enter(|| UdpSocket::bind(at))?.context(|| format!("{} cannot listen on {at}", to.name()))?;
    sink.set_read_timeout(Some(Duration::from_millis(500))).context(|| "sink".to_owned())?;
    let payload = marker.payload(size);
    std::thread::scope(|scope| {
        let counter = scope.spawn(|| count_datagrams(&sink, &payload, count));
        from.enter(|| send_datagrams(target, &payload, count))??;
        counter.join().map_err(|_| crate::failure::Failure::new("the sink panicked"))
    })
}

/// Sends datagrams at a place where nothing should answer, and does not mind refusal.
///
/// # Errors
/// When a socket cannot be made.
pub fn udp_blind(from: &Host, target: SocketAddr, marker: &Marker, count: u32) -> Result<()> {
    let payload = marker.payload(128);
    from.enter(|| {
        let socket = UdpSocket::bind(any_of(target)).context(|| "socket".to_owned())?;
        for _ in 0..count {
            // A policy without an SA may refuse with EAGAIN, a closed port with ECONNREFUSED: both are fine here.
            let _ = socket.send_to(&payload, target);
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    })?
}

/// Whether a TCP connection to `target` is made within `limit`; a listener is set up on `to` for it.
///
/// # Errors
/// When the listener cannot be set up.
pub fn tcp_connects(from: &Host, to: &Host, target: SocketAddr, limit: Duration) -> Result<bool> {
    let at = listening_address(target);
    let _listener =
        to.enter(|| TcpListener::bind(at))?.context(|| format!("{} cannot listen on {at}", to.name()))?;
    from.enter(|| TcpStream::connect_timeout(&target, limit).is_ok())
}

/// Sends three echo requests and checks that all are answered.
///
/// # Errors
/// When one is not.
pub fn ping(from: &Host, target: IpAddr) -> Result<()> {
    process::output(
        from.command("ping").args(["-n", "-q", "-c", "3", "-i", "0.2", "-W", "2"]).arg(target.to_string()),
    )?;
    Ok(())
}

/// Where the receiver listens: any address of its own, since a NAT may stand between it and `target`.
fn listening_address(target: SocketAddr) -> SocketAddr {
    let mut at = any_of(target);
    at.set_port(target.port());
    at
}

fn any_of(target: SocketAddr) -> SocketAddr {
    match target {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0u16; 8], 0).into(),
    }
}

fn receive(listener: &TcpListener) -> Result<Vec<u8>> {
    let mut stream = wait::until(LIMIT, "a TCP connection", || match listener.accept() {
        Ok((stream, _)) => Ok(Some(stream)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => fail!("accept: {error}"),
    })?;
    stream.set_nonblocking(false).context(|| "stream".to_owned())?;
    stream.set_read_timeout(Some(LIMIT)).context(|| "stream".to_owned())?;
    let mut arrived = Vec::new();
    stream.read_to_end(&mut arrived).context(|| "receiving".to_owned())?;
    Ok(arrived)
}

fn send(target: SocketAddr, payload: &[u8]) -> std::io::Result<()> {
    let mut stream = connect(target)?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.write_all(payload)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    // The other end closes after reading everything: the data has arrived when this returns.
    stream.set_read_timeout(Some(LIMIT))?;
    stream.read_to_end(&mut Vec::new()).map(|_| ())
}

/// Connects, again if the kernel refuses at once because the SA is not there yet.
fn connect(target: SocketAddr) -> std::io::Result<TcpStream> {
    let end = Instant::now() + LIMIT;
    loop {
        match TcpStream::connect_timeout(&target, LIMIT) {
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(100));
            }
            done => return done,
        }
    }
}

fn send_datagrams(target: SocketAddr, payload: &[u8], count: u32) -> Result<()> {
    let socket = UdpSocket::bind(any_of(target)).context(|| "socket".to_owned())?;
    for _ in 0..count {
        socket.send_to(payload, target).context(|| format!("UDP to {target}"))?;
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Counts until all have come, or none comes for half a second after the last was due.
fn count_datagrams(sink: &UdpSocket, payload: &[u8], count: u32) -> u32 {
    let end = Instant::now() + Duration::from_millis(5) * count + Duration::from_secs(2);
    let mut buffer = vec![0; payload.len() + 1];
    let mut arrived = 0;
    while arrived < count && Instant::now() < end {
        match sink.recv(&mut buffer) {
            Ok(length) if buffer.get(..length) == Some(payload) => arrived += 1,
            _ => {}
        }
    }
    arrived
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_the_marker_again_and_again() {
        let marker = Marker("<abc>".to_owned());
        assert_eq!(marker.payload(12), b"<abc><abc><a");
    }

    #[test]
    fn no_two_markers_are_alike() {
        assert_ne!(Marker::new("x").unwrap(), Marker::new("x").unwrap());
    }
}
