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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::constants::{NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_MULTI, XFRM_MSG_GETPOLICY, XFRM_MSG_GETSA};
    use crate::error::{Object, Operation};
    use crate::policy::{Direction, Policy, PolicyQuery};
    use crate::sa::{Sa, SaId};
    use crate::selector::{Prefix, Selector};

    /// What the kernel does with one datagram of requests, given the messages in it.
    type Answers = Vec<Result<Vec<Message>, Errno>>;

    /// A kernel that answers each datagram with what a test put down for it.
    #[derive(Default)]
    struct Script {
        answers: VecDeque<fn(&[Message]) -> Answers>,
        queue: VecDeque<Result<Vec<u8>, Errno>>,
        last: Vec<u8>,
        sent: Vec<usize>,
        reopened: usize,
    }

    impl Transport for Script {
        fn send(&mut self, octets: &[u8]) -> Result<(), Errno> {
            let requests: Vec<Message> = messages(octets).map(Result::unwrap).collect();
            self.sent.push(requests.len());
            let answer = self.answers.pop_front().unwrap_or(acknowledge);
            for datagram in answer(&requests) {
                self.queue.push_back(datagram.map(|messages| {
                    messages.iter().flat_map(|message| message.to_octets().unwrap().to_vec()).collect()
                }));
            }
            Ok(())
        }

        fn recv(&mut self) -> Result<&[u8], Errno> {
            self.last = self.queue.pop_front().unwrap_or(Err(Errno::EAGAIN))?;
            Ok(&self.last)
        }

        fn wipe(&mut self) {
            self.last.clear();
        }

        fn reopen(&mut self) -> Result<(), Errno> {
            self.reopened += 1;
            self.queue.clear();
            Ok(())
        }
    }

    fn exchange(answers: &[fn(&[Message]) -> Answers]) -> Exchange<Script> {
        Exchange::new(Script { answers: answers.iter().copied().collect(), ..Script::default() })
    }

    fn message(request: &Message, flags: u16, body: Body) -> Message {
        Message { flags, sequence: request.sequence, port: 1, body }
    }

    fn ack(request: &Message, errno: i32) -> Message {
        let text = (errno != 0).then(|| String::from("words"));
        message(request, NLM_F_CAPPED | NLM_F_ACK_TLVS, Body::Error(Ack { code: -errno, text }))
    }

    fn acknowledge(requests: &[Message]) -> Answers {
        vec![Ok(requests.iter().map(|request| ack(request, 0)).collect())]
    }

    fn policy(number: u32) -> Policy {
        let host = Prefix::host(IpAddr::V4(Ipv4Addr::from_bits(number)));
        Policy { priority: number, ..Policy::new(Selector::new(host, host), Direction::OUT) }
    }

    fn row(request: &Message, flags: u16, number: u32) -> Message {
        message(request, flags | NLM_F_MULTI, Body::NewPolicy(Box::new(policy(number))))
    }

    fn done(request: &Message) -> Message {
        message(request, NLM_F_MULTI, Body::Done(Ack::default()))
    }

    fn dump(exchange: &mut Exchange<Script>) -> Result<Vec<u32>, Cause> {
        let subject = Subject { operation: Operation::DumpPolicies, object: Object::None };
        let row = |body| if let Body::NewPolicy(policy) = body { Some(policy.priority) } else { None };
        exchange.dump(&subject, XFRM_MSG_GETPOLICY, |_| {}, row).map_err(|error| error.cause)
    }

    fn ask(exchange: &mut Exchange<Script>) -> Result<Body, Cause> {
        let id = SaId::esp(Ipv4Addr::LOCALHOST.into(), 9);
        let subject = Subject { operation: Operation::GetSa, object: Object::Sa(id) };
        exchange.ask(&subject, XFRM_MSG_GETSA, |to| id.write(to)).map_err(|error| error.cause)
    }

    fn an_sa() -> Body {
        let address = Ipv4Addr::LOCALHOST.into();
        Body::NewSa(Box::new(Sa::new(address, SaId::esp(address, 9))))
    }

    #[test]
    fn acknowledgements_are_matched_by_number_in_any_order_and_datagram() {
        let mut exchange = exchange(&[|requests| {
            vec![
                Ok(vec![ack(&requests[2], 0)]),
                Ok(vec![ack(&requests[1], libc::EEXIST), ack(&requests[0], 0)]),
            ]
        }]);
        let policies = [policy(1), policy(2), policy(3)];
        let results = exchange.batch(&policies.each_ref().map(RequestRef::AddPolicy));
        assert!(results[0].is_ok() && results[2].is_ok());
        let error = results[1].as_ref().unwrap_err();
        assert_eq!((error.errno(), error.text()), (Some(Errno::EEXIST), Some("words")));
        assert_eq!(error.object, PolicyQuery::same_as(&policies[1]).into());
        assert_eq!(exchange.transport.sent, [3]);
    }

    #[test]
    fn a_request_that_cannot_be_sent_fails_alone() {
        let mut exchange = exchange(&[]);
        let mut mixed = policy(2);
        mixed.selector.source = Prefix::host(std::net::Ipv6Addr::LOCALHOST.into());
        let mut long = policy(3);
        long.other = vec![crate::Attribute { kind: 99, value: vec![0; 70_000].into() }];
        let policies = [policy(1), mixed, long, policy(4)];
        let results = exchange.batch(&policies.each_ref().map(RequestRef::AddPolicy));
        let causes: Vec<_> =
            results.iter().map(|result| result.as_ref().err().map(|error| &error.cause)).collect();
        assert!(matches!(causes[..], [None, Some(Cause::Invalid(_)), Some(Cause::Invalid(TOO_LONG)), None]));
        assert_eq!(exchange.transport.sent, [2]);
    }

    #[test]
    fn a_long_batch_is_split_by_number_and_by_size() {
        let mut by_number = exchange(&[]);
        let policies: Vec<_> = (0..150).map(policy).collect();
        let requests: Vec<_> = policies.iter().map(RequestRef::AddPolicy).collect();
        assert!(by_number.batch(&requests).iter().all(Result::is_ok));
        assert_eq!(by_number.transport.sent, [64, 64, 22]);

        let mut by_size = exchange(&[]);
        let mut big = policy(1);
        big.other = vec![crate::Attribute { kind: 99, value: vec![0; 40_000].into() }];
        let results = by_size.batch(&[RequestRef::AddPolicy(&big); 3]);
        assert_eq!((results.len(), results.iter().all(Result::is_ok)), (3, true));
        assert_eq!(by_size.transport.sent, [1, 1, 1]);
        assert_eq!(by_size.batch(&[]), []);
    }

    #[test]
    fn lost_and_missing_acknowledgements_leave_the_rest_uncertain() {
        let lost: fn(&[Message]) -> Answers =
            |requests| vec![Ok(vec![ack(&requests[0], 0)]), Err(Errno::ENOBUFS)];
        let missing: fn(&[Message]) -> Answers = |requests| vec![Ok(vec![ack(&requests[0], 0)])];
        for (answer, cause) in [(lost, Cause::Socket(Errno::ENOBUFS)), (missing, Cause::Timeout)] {
            let mut exchange = exchange(&[answer]);
            let policies = [policy(1), policy(2)];
            let results = exchange.batch(&policies.each_ref().map(RequestRef::AddPolicy));
            assert!(results[0].is_ok());
            let error = results[1].as_ref().unwrap_err();
            assert_eq!((&error.cause, error.is_uncertain()), (&cause, true));
            assert!(
                exchange.batch(&[RequestRef::FlushPolicies])[0].is_ok(),
                "the next request is not disturbed"
            );
        }
    }

    #[test]
    fn a_late_answer_is_not_taken_for_the_next_requests() {
        let mut exchange = exchange(&[
            |_| vec![Err(Errno::EAGAIN)],
            |requests| {
                let late = Message { sequence: requests[0].sequence - 1, ..ack(&requests[0], libc::EPERM) };
                vec![Ok(vec![late]), Ok(vec![ack(&requests[0], 0)])]
            },
        ]);
        assert!(exchange.batch(&[RequestRef::FlushPolicies])[0].is_err());
        assert!(exchange.batch(&[RequestRef::FlushPolicies])[0].is_ok());
    }

    #[test]
    fn an_object_comes_before_its_acknowledgement_or_there_is_no_answer() {
        let mut exchange = exchange(&[
            |requests| vec![Ok(vec![message(&requests[0], 0, an_sa())]), Ok(vec![ack(&requests[0], 0)])],
            acknowledge,
            |requests| vec![Ok(vec![message(&requests[0], 0, an_sa()), ack(&requests[0], libc::ESRCH)])],
            |_| vec![],
        ]);
        assert_eq!(ask(&mut exchange), Ok(an_sa()));
        assert_eq!(ask(&mut exchange), Err(Cause::NoAnswer));
        assert!(matches!(ask(&mut exchange), Err(Cause::Refused { errno: Errno::ESRCH, .. })));
        assert_eq!(ask(&mut exchange), Err(Cause::Timeout));
    }

    #[test]
    fn answers_to_nobody_do_not_hold_a_request_for_ever() {
        let mut exchange = exchange(&[|requests| {
            let stale = Message { sequence: requests[0].sequence.wrapping_sub(9), ..ack(&requests[0], 0) };
            (0..STALE_DATAGRAMS + 2).map(|_| Ok(vec![stale.clone()])).collect()
        }]);
        assert_eq!(ask(&mut exchange), Err(Cause::Timeout));
    }

    #[test]
    fn a_dump_that_the_table_changed_under_is_made_again() {
        let mut exchange = exchange(&[
            |requests| {
                vec![Ok(vec![
                    row(&requests[0], 0, 1),
                    row(&requests[0], NLM_F_DUMP_INTR, 2),
                    done(&requests[0]),
                ])]
            },
            |requests| {
                vec![Ok(vec![row(&requests[0], 0, 3)]), Ok(vec![row(&requests[0], 0, 4), done(&requests[0])])]
            },
        ]);
        assert_eq!(dump(&mut exchange), Ok(vec![3, 4]));
        assert_eq!(exchange.transport.sent, [1, 1]);
    }

    #[test]
    fn a_table_that_never_rests_is_given_up() {
        let restless: fn(&[Message]) -> Answers =
            |requests| vec![Ok(vec![row(&requests[0], NLM_F_DUMP_INTR, 1), done(&requests[0])])];
        let mut exchange = exchange(&[restless; DUMP_ATTEMPTS + 1]);
        assert_eq!(dump(&mut exchange), Err(Cause::Interrupted));
        assert_eq!(exchange.transport.sent.len(), DUMP_ATTEMPTS);
    }

    #[test]
    fn a_dump_refused_or_cut_off_says_so_and_leaves_the_socket_usable() {
        let mut exchange = exchange(&[
            |requests| vec![Ok(vec![ack(&requests[0], libc::EPERM)])],
            |requests| {
                let failed = Ack { code: -libc::EINVAL, text: Some("words".into()) };
                vec![Ok(vec![message(&requests[0], NLM_F_MULTI | NLM_F_ACK_TLVS, Body::Done(failed))])]
            },
            |requests| vec![Ok(vec![row(&requests[0], 0, 1)])],
            |requests| vec![Ok(vec![done(&requests[0])])],
        ]);
        assert!(matches!(dump(&mut exchange), Err(Cause::Refused { errno: Errno::EPERM, .. })));
        let failed = dump(&mut exchange);
        assert!(matches!(failed, Err(Cause::Refused { errno: Errno::EINVAL, text: Some(_) })), "{failed:?}");
        assert_eq!(exchange.transport.reopened, 0);
        assert_eq!(dump(&mut exchange), Err(Cause::Timeout));
        assert_eq!(exchange.transport.reopened, 1);
        assert_eq!(dump(&mut exchange), Ok(vec![]));
    }

    #[test]
    fn a_dump_with_an_unreadable_row_is_read_to_its_end_and_fails() {
        let mut exchange = exchange(&[|requests| {
            let unreadable = crate::message::Payload(vec![1, 2, 3].into());
            let body = Body::Unknown { kind: crate::constants::XFRM_MSG_NEWPOLICY, payload: unreadable };
            vec![
                Ok(vec![row(&requests[0], 0, 1), message(&requests[0], 0, body)]),
                Ok(vec![done(&requests[0])]),
            ]
        }]);
        assert!(matches!(dump(&mut exchange), Err(Cause::Unreadable(_))));
        assert!(exchange.transport.queue.is_empty());
    }

    #[test]
    fn sequence_numbers_wrap() {
        let mut exchange = exchange(&[]);
        exchange.sequence = u32::MAX - 1;
        let policies = [policy(1), policy(2), policy(3)];
        assert!(exchange.batch(&policies.each_ref().map(RequestRef::AddPolicy)).iter().all(Result::is_ok));
        assert_eq!(exchange.sequence, 1);
    }
}
