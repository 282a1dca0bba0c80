//! A numbered stream of datagrams both ways through a pair, which tells what was lost, and when.
//!
//! A run with something going on is held against a run without, in the same boot: that is the control.

use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::failure::{Context, Failure, Result};
use crate::net::Host;
use crate::peer::Pair;
use crate::traffic::Marker;
use crate::wait;

/// How long the last packet may be on its way.
const STRAGGLERS: Duration = Duration::from_millis(1500);
/// How long a receiver sleeps at most before it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);
/// Octets of a datagram: its number, and the marker after it.
const SIZE: usize = 160;

/// One end of a stream.
#[derive(Debug, Clone, Copy)]
pub struct End<'a> {
    /// The host.
    pub host: &'a Host,
    /// Its own address and the other's, as it sees them.
    pub pair: &'a Pair,
}

/// A running stream between two hosts. It ends with [`Stream::finish`]; dropped, it stops sending.
#[derive(Debug)]
pub struct Stream {
    begin: Instant,
    stop: StopOnDrop,
    ways: [Running; 2],
}

/// Tells the threads to stop when it goes.
#[derive(Debug)]
struct StopOnDrop(Arc<AtomicBool>);

/// One direction of a finished stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// Who sent, and who was to receive.
    pub hosts: [String; 2],
    /// The time from one packet to the next.
    pub pace: Duration,
    /// Packets given to the kernel, those that it refused included.
    pub sent: u32,
    /// Packets that the kernel refused at once (a policy without an SA may do so); they are lost too.
    pub refused: u32,
    /// Packets that arrived once more.
    pub repeated: u32,
    /// When each packet arrived, after the stream's beginning.
    arrivals: Vec<Option<Duration>>,
}

#[derive(Debug)]
struct Running {
    hosts: [String; 2],
    pace: Duration,
    seen: Arc<Mutex<Seen>>,
    sender: JoinHandle<Sent>,
    receiver: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Seen {
    arrivals: Vec<Option<Duration>>,
    repeated: u32,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    all: u32,
    refused: u32,
}

impl Stream {
    /// Starts sending both ways: `per_second` datagrams, to `port` on either host.
    ///
    /// # Errors
    /// When a socket cannot be made.
    pub fn start(ends: [End<'_>; 2], port: u16, per_second: u32, marker: &Marker) -> Result<Self> {
        let [first, second] = [bind(ends[0], port)?, bind(ends[1], port)?];
        let shared = |socket: &UdpSocket| socket.try_clone().context(|| "stream socket".to_owned());
        let (begin, stop) = (Instant::now(), Arc::new(AtomicBool::new(false)));
        let pace = Duration::from_secs(1) / per_second.max(1);
        let names = ends.map(|end| end.host.name().to_owned());
        let backwards = [names[1].clone(), names[0].clone()];
        let way = |hosts, from, target: IpAddr, at| {
            Running::start(hosts, (from, SocketAddr::new(target, port)), at, (begin, pace), &stop, marker)
        };
        let ways = [
            way(names, shared(&first)?, ends[0].pair.remote, shared(&second)?),
            way(backwards, second, ends[1].pair.remote, first),
        ];
        Ok(Stream { begin, stop: StopOnDrop(stop), ways })
    }

    /// The time since the beginning: what the times of a [`Way`] are counted from.
    pub fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    /// How many packets have arrived so far, by direction.
    pub fn arrived(&self) -> [usize; 2] {
        [0, 1].map(|way| lock(&self.ways[way].seen).arrivals.iter().flatten().count())
    }

    /// Waits until a packet that was sent after this call has arrived, in both directions, and gives how long that took.
    ///
    /// # Errors
    /// When `limit` is over first.
    pub fn wait_flowing(&self, limit: Duration) -> Result<Duration> {
        let asked = self.elapsed();
        wait::until(limit, "traffic to flow both ways", || {
            let flows = |way: &Running| way.first_sent_after(asked);
            Ok(flows(&self.ways[0]).zip(flows(&self.ways[1])).map(|(one, other)| one.max(other) - asked))
        })
    }

    /// Goes on until `length` after the beginning, then ends as [`Stream::finish`] does.
    ///
    /// # Errors
    /// As [`Stream::finish`].
    pub fn finish_after(self, length: Duration) -> Result<[Way; 2]> {
        std::thread::sleep(length.saturating_sub(self.elapsed()));
        self.finish()
    }

    /// Stops sending: what [`Stream::finish`] does first.
    pub fn stop(&self) {
        self.stop.0.store(true, Ordering::Relaxed);
    }

    /// Stops sending, waits for the last packets and gives what became of all, by direction: as given to
    /// [`Stream::start`], and backwards.
    ///
    /// # Errors
    /// When a thread of the stream has panicked.
    pub fn finish(self) -> Result<[Way; 2]> {
        let Stream { stop, ways: [one, other], .. } = self;
        drop(stop);
        Ok([one.finish()?, other.finish()?])
    }
}

impl Way {
    /// The numbers of the packets that did not arrive. Packet `n` was due `n` times the pace after the beginning.
    pub fn lost(&self) -> Vec<u32> {
        (0..self.sent).zip(&self.arrivals).filter(|(_, arrival)| arrival.is_none()).map(|(n, _)| n).collect()
    }

    /// When the first packet arrived that was sent at or after `moment`, both counted from the beginning.
    pub fn first_sent_after(&self, moment: Duration) -> Option<Duration> {
        first_sent_after(&self.arrivals, self.pace, moment)
    }

    /// The longest time for which nothing arrived of what was sent.
    pub fn longest_gap(&self) -> Duration {
        let runs = self.arrivals.split(Option::is_some).map(<[_]>::len);
        self.pace * u32::try_from(runs.max().unwrap_or(0)).unwrap_or(u32::MAX)
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lost, [from, to]) = (self.lost(), &self.hosts);
        write!(f, "{from} to {to}: {} sent, {} lost", self.sent, lost.len())?;
        if self.refused > 0 {
            write!(f, " ({} refused)", self.refused)?;
        }
        if !lost.is_empty() {
            let times: Vec<String> = runs(&lost).map(|run| self.show_run(run)).collect();
            write!(f, ", at {} s", times.join(", "))?;
        }
        if self.repeated > 0 {
            write!(f, ", {} repeated", self.repeated)?;
        }
        Ok(())
    }
}

impl Way {
    /// `3.20` for one packet, `3.20-3.90` for several in a row.
    fn show_run(&self, (first, last): (u32, u32)) -> String {
        let at = |number: u32| (self.pace * number).as_secs_f64();
        if first == last { format!("{:.2}", at(first)) } else { format!("{:.2}-{:.2}", at(first), at(last)) }
    }
}

impl Running {
    fn start(
        hosts: [String; 2],
        (from, target): (UdpSocket, SocketAddr),
        at: UdpSocket,
        (begin, pace): (Instant, Duration),
        stop: &Arc<AtomicBool>,
        marker: &Marker,
    ) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let text = marker.payload(SIZE - 4);
        let sender = std::thread::spawn({
            let (stop, text) = (stop.clone(), text.clone());
            move || send(&from, target, (begin, pace), &text, &stop)
        });
        let receiver = std::thread::spawn({
            let (stop, seen) = (stop.clone(), seen.clone());
            move || receive(&at, begin, &text, &stop, &seen)
        });
        Running { hosts, pace, seen, sender, receiver }
    }

    fn first_sent_after(&self, moment: Duration) -> Option<Duration> {
        first_sent_after(&lock(&self.seen).arrivals, self.pace, moment)
    }

    fn finish(self) -> Result<Way> {
        let panicked = |_| Failure::new("a thread of the stream panicked");
        let sent = self.sender.join().map_err(panicked)?;
        self.receiver.join().map_err(panicked)?;
        let mut seen = lock(&self.seen);
        let mut arrivals = std::mem::take(&mut seen.arrivals);
        arrivals.resize(usize::try_from(sent.all).unwrap_or(usize::MAX), None);
        Ok(Way {
            hosts: self.hosts,
            pace: self.pace,
            sent: sent.all,
            refused: sent.refused,
            repeated: seen.repeated,
            arrivals,
        })
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The receiver's lock is held for a moment only, and nothing in it is half done.
fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bind(end: End<'_>, port: u16) -> Result<UdpSocket> {
    let at = SocketAddr::new(end.pair.local, port);
    let name = end.host.name();
    let socket = end.host.enter(|| UdpSocket::bind(at))?.context(|| format!("{name} cannot use {at}"))?;
    socket.set_read_timeout(Some(LOOK)).context(|| "stream socket".to_owned())?;
    Ok(socket)
}

/// Sends packet after packet, each at its own time by the clock: a late one does not delay the rest. After a pause of the
/// whole machine what is late goes at four times the pace, not at once, or queues would overflow.
fn send(
    socket: &UdpSocket,
    target: SocketAddr,
    (begin, pace): (Instant, Duration),
    text: &[u8],
    stop: &AtomicBool,
) -> Sent {
    let mut sent = Sent { all: 0, refused: 0 };
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep((pace * sent.all).saturating_sub(begin.elapsed()).max(pace / 4));
        let datagram = [&sent.all.to_be_bytes(), text].concat();
        sent.refused += u32::from(socket.send_to(&datagram, target).is_err());
        sent.all += 1;
    }
    sent
}

/// Notes what arrives, until it is told to stop and stragglers have had their time.
fn receive(socket: &UdpSocket, begin: Instant, text: &[u8], stop: &AtomicBool, seen: &Mutex<Seen>) {
    let mut buffer = vec![0; SIZE + 1];
    let mut stopped: Option<Instant> = None;
    while stopped.is_none_or(|at| at.elapsed() < STRAGGLERS) {
        if stopped.is_none() && stop.load(Ordering::Relaxed) {
            stopped = Some(Instant::now());
        }
        match socket.recv(&mut buffer) {
            Ok(length) => {
                let Some(number) = buffer.get(..length).and_then(|datagram| number(datagram, text)) else {
                    continue;
                };
                lock(seen).note(number, begin.elapsed());
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            // ICMP errors of what the same socket has sent; a moment later there may be a packet again.
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// The number of a datagram that is the stream's own.
fn number(datagram: &[u8], text: &[u8]) -> Option<u32> {
    let (number, rest) = datagram.split_first_chunk::<4>()?;
    (rest == text).then_some(u32::from_be_bytes(*number))
}

impl Seen {
    fn note(&mut self, number: u32, when: Duration) {
        let Ok(at) = usize::try_from(number) else { return };
        if self.arrivals.len() <= at {
            self.arrivals.resize(at + 1, None);
        }
        match self.arrivals.get_mut(at) {
            Some(slot @ None) => *slot = Some(when),
            _ => self.repeated += 1,
        }
    }
}

fn first_sent_after(arrivals: &[Option<Duration>], pace: Duration, moment: Duration) -> Option<Duration> {
    let due = (0..).map(|number| pace * number);
    due.zip(arrivals).find_map(|(due, arrival)| arrival.filter(|_| due >= moment))
}

/// Numbers in a row, as their first and last.
fn runs(numbers: &[u32]) -> impl Iterator<Item = (u32, u32)> {
    numbers.chunk_by(|one, next| one + 1 == *next).filter_map(|run| Some((*run.first()?, *run.last()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Duration = Duration::from_millis(100);

    fn way(arrivals: &[Option<u64>]) -> Way {
        let arrivals: Vec<_> = arrivals.iter().map(|at| at.map(Duration::from_millis)).collect();
        Way {
            hosts: ["a".to_owned(), "b".to_owned()],
            pace: PACE,
            sent: u32::try_from(arrivals.len()).unwrap(),
            refused: 1,
            repeated: 0,
            arrivals,
        }
    }

    #[test]
    fn what_is_lost_is_told_with_its_time() {
        let way = way(&[Some(5), None, None, Some(305), None]);
        assert_eq!(way.lost(), [1, 2, 4]);
        assert_eq!(way.longest_gap(), PACE * 2);
        assert_eq!(way.to_string(), "a to b: 5 sent, 3 lost (1 refused), at 0.10-0.20, 0.40 s");
    }

    #[test]
    fn the_first_packet_after_a_moment_is_one_that_was_sent_after_it() {
        // Packet 1 was sent before the moment and arrived late.
        let way = way(&[Some(5), Some(250), None, Some(305)]);
        assert_eq!(way.first_sent_after(PACE * 2), Some(Duration::from_millis(305)));
        assert_eq!(way.first_sent_after(PACE * 4), None);
    }

    #[test]
    fn a_packet_that_comes_again_arrived_once() {
        let mut seen = Seen::default();
        for number in [0, 2, 2] {
            seen.note(number, PACE);
        }
        assert_eq!((seen.arrivals, seen.repeated), (vec![Some(PACE), None, Some(PACE)], 1));
    }

    #[test]
    fn only_the_streams_own_datagrams_have_numbers() {
        assert_eq!(number(b"\0\0\0\x07<m>", b"<m>"), Some(7));
        assert_eq!(number(b"\0\0\0\x07<x>", b"<m>"), None);
        assert_eq!(number(b"\0\0", b"<m>"), None);
    }
}
