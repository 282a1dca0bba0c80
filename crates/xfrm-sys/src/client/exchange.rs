//! Requests and answers, matched by sequence number.

use nix::errno::Errno;

use crate::codec::{Malformed, Writer};
use crate::constants::{NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST};
use crate::error::{Cause, Error};
use crate::message::{Ack, Body, Message, messages};
use crate::request::{RequestRef, Subject};
use crate::socket::Transport;

/// At most this many requests go into one datagram: their acknowledgements must fit the receive queue.
const BATCH_REQUESTS: usize = 64;
/// And about this many octets: the kernel refuses datagrams above the send queue's space, 208 KiB by default.
const BATCH_OCTETS: usize = 64 * 1024;
/// How often a dump is made when the table changes under it.
const DUMP_ATTEMPTS: usize = 10;
/// How many datagrams in one wait may be answers to requests that were given up before.
const STALE_DATAGRAMS: usize = 4096;

const TOO_LONG: &str = "it is longer than netlink can say";

/// A transport, and the number of the last request on it.
pub(super) struct Exchange<T> {
    transport: T,
    sequence: u32,
    writer: Writer,
}

/// The answer to one request of a batch, once it is there.
type Answer = Option<Result<(), Cause>>;

impl<T: Transport> Exchange<T> {
    pub(super) fn new(transport: T) -> Self {
        Self { transport, sequence: 0, writer: Writer::new() }
    }

    pub(super) fn transport(&self) -> &T {
        &self.transport
    }

    /// Makes requests that are answered by yes or no, as many in a system call as sensible.
    pub(super) fn batch(&mut self, requests: &[RequestRef<'_>]) -> Vec<Result<(), Error>> {
        let mut results = Vec::with_capacity(requests.len());
        while let Some(rest) = requests.get(results.len()..).filter(|rest| !rest.is_empty()) {
            let answers = self.datagram(rest);
            results.extend(rest.iter().zip(answers).map(|(request, answer)| {
                answer.unwrap_or(Err(Cause::NoAnswer)).map_err(|cause| request.subject().error(cause))
            }));
        }
        self.wipe();
        results
    }

    /// Makes a request that is answered by one object.
    pub(super) fn ask(
        &mut self,
        subject: &Subject,
        kind: u16,
        body: impl Fn(&mut Writer),
    ) -> Result<Body, Error> {
        let answer = self.ask_inner(kind, body);
        self.wipe();
        answer.map_err(|cause| subject.error(cause))
    }

    /// Makes a request that is answered by a table, again if the table changed meanwhile.
    pub(super) fn dump<O>(
        &mut self,
        subject: &Subject,
        kind: u16,
        body: impl Fn(&mut Writer),
        row: impl Fn(Body) -> Option<O>,
    ) -> Result<Vec<O>, Error> {
        for _ in 0..DUMP_ATTEMPTS {
            let table = self.dump_once(kind, &body, &row);
            self.wipe();
            match table {
                Ok(Some(rows)) => return Ok(rows),
                Ok(None) => {}
                Err(cause) => {
                    if matches!(cause, Cause::Socket(_) | Cause::Timeout) {
                        // The kernel may think that the dump goes on, and refuse another on this socket.
                        self.transport.reopen().map_err(|errno| subject.error(Cause::Socket(errno)))?;
                    }
                    return Err(subject.error(cause));
                }
            }
        }
        Err(subject.error(Cause::Interrupted))
    }

    /// Sends the first of `requests`, as many as fit one datagram, and collects their answers: at least one.
    fn datagram(&mut self, requests: &[RequestRef<'_>]) -> Vec<Answer> {
        self.writer.clear();
        let mut answers: Vec<Answer> = Vec::new();
        let first = self.sequence.wrapping_add(1);
        for request in requests.iter().take(BATCH_REQUESTS) {
            let before = self.writer.len();
            let answer = self.append(request);
            if self.writer.len() > BATCH_OCTETS && before > 0 {
                // It goes first in the next datagram.
                self.writer.truncate(before);
                self.sequence = self.sequence.wrapping_sub(1);
                break;
            }
            answers.push(answer);
        }
        if let Err(cause) = self.send().and_then(|()| self.collect(first, &mut answers)) {
            for answer in answers.iter_mut().filter(|answer| answer.is_none()) {
                *answer = Some(Err(cause.clone()));
            }
        }
        answers
    }

    /// Writes one request with the next sequence number; gives an answer if it cannot be sent.
    fn append(&mut self, request: &RequestRef<'_>) -> Answer {
        self.sequence = self.sequence.wrapping_add(1);
        if let Err(error) = request.check() {
            return Some(Err(error.cause));
        }
        let before = self.writer.len();
        self.writer
            .message(request.kind(), NLM_F_REQUEST | NLM_F_ACK, self.sequence, 0, |to| request.write(to));
        if self.writer.octets().is_ok() {
            return None;
        }
        self.writer.truncate(before);
        Some(Err(Cause::Invalid(TOO_LONG)))
    }

    /// Waits for the answers that are still `None`; the first one's sequence number is `first`.
    fn collect(&mut self, first: u32, answers: &mut [Answer]) -> Result<(), Cause> {
        let mut stale = 0;
        while answers.iter().any(Option::is_none) {
            let mut ours = false;
            for message in self.receive()? {
                let message = message.map_err(Cause::Unreadable)?;
                let offset = usize::try_from(message.sequence.wrapping_sub(first)).ok();
                let place = offset.and_then(|offset| answers.get_mut(offset));
                if let (Body::Error(ack), Some(place @ None)) = (message.body, place) {
                    *place = Some(verdict(ack));
                    ours = true;
                }
            }
            count_stale(&mut stale, ours)?;
        }
        Ok(())
    }

    fn ask_inner(&mut self, kind: u16, body: impl Fn(&mut Writer)) -> Result<Body, Cause> {
        self.write_one(kind, NLM_F_REQUEST | NLM_F_ACK, body);
        self.send()?;
        let mut answer = Err(Cause::NoAnswer);
        let mut stale = 0;
        loop {
            let mut ours = false;
            for message in self.receive()? {
                match message {
                    Err(malformed) => answer = Err(Cause::Unreadable(malformed)),
                    Ok(message) if message.sequence != self.sequence => {}
                    Ok(Message { body: Body::Error(ack), .. }) => return verdict(ack).and(answer),
                    Ok(message) => {
                        answer = Ok(message.body);
                        ours = true;
                    }
                }
            }
            count_stale(&mut stale, ours)?;
        }
    }

    /// One dump; `None` if the table changed meanwhile.
    fn dump_once<O>(
        &mut self,
        kind: u16,
        body: impl Fn(&mut Writer),
        row: impl Fn(Body) -> Option<O>,
    ) -> Result<Option<Vec<O>>, Cause> {
        self.write_one(kind, NLM_F_REQUEST | NLM_F_DUMP, body);
        self.send()?;
        let mut rows = Vec::new();
        let mut consistent = true;
        let mut unreadable = None;
        let mut stale = 0;
        loop {
            let mut ours = false;
            for message in self.receive()? {
                let message = match message {
                    Err(malformed) => {
                        // The dump is read to its end, so that the socket is ready for the next request.
                        unreadable = unreadable.or(Some(malformed));
                        ours = true;
                        continue;
                    }
                    Ok(message) if message.sequence != self.sequence => continue,
                    Ok(message) => message,
                };
                ours = true;
                consistent &= message.flags & NLM_F_DUMP_INTR == 0;
                match message.body {
                    Body::Done(ack) | Body::Error(ack) => {
                        verdict(ack)?;
                        return match unreadable {
                            Some(malformed) => Err(Cause::Unreadable(malformed)),
                            None => Ok(consistent.then_some(rows)),
                        };
                    }
                    body => rows.extend(row(body)),
                }
            }
            count_stale(&mut stale, ours)?;
        }
    }

    fn write_one(&mut self, kind: u16, flags: u16, body: impl Fn(&mut Writer)) {
        self.sequence = self.sequence.wrapping_add(1);
        self.writer.clear();
        self.writer.message(kind, flags, self.sequence, 0, |to| body(to));
    }

    /// Sends what is written, if anything is.
    fn send(&mut self) -> Result<(), Cause> {
        match self.writer.octets() {
            Ok([]) => Ok(()),
            Ok(octets) => self.transport.send(octets).map_err(Cause::Socket),
            Err(_) => Err(Cause::Invalid(TOO_LONG)),
        }
    }

    fn receive(&mut self) -> Result<Vec<Result<Message, Malformed>>, Cause> {
        match self.transport.recv() {
            Ok(datagram) => Ok(messages(datagram).collect()),
            Err(Errno::EAGAIN) => Err(Cause::Timeout),
            Err(errno) => Err(Cause::Socket(errno)),
        }
    }

    fn wipe(&mut self) {
        self.writer.clear();
        self.transport.wipe();
    }
}

/// Gives up after too many datagrams in a row that were not for this request.
fn count_stale(stale: &mut usize, ours: bool) -> Result<(), Cause> {
    *stale = if ours { 0 } else { *stale + 1 };
    if *stale > STALE_DATAGRAMS { Err(Cause::Timeout) } else { Ok(()) }
}

fn verdict(ack: Ack) -> Result<(), Cause> {
    match ack.code {
        0 => Ok(()),
        code => Err(Cause::Refused { errno: Errno::from_raw(code.wrapping_neg()), text: ack.text }),
    }
}
