//! Requests to the kernel.

mod exchange;

use std::fmt;
use std::os::fd::AsRawFd;
use std::time::Duration;

use exchange::Exchange;

use crate::constants::{XFRM_MSG_ALLOCSPI, XFRM_MSG_GETPOLICY, XFRM_MSG_GETSA};
use crate::error::{Cause, Error, Object, Operation};
use crate::message::Body;
use crate::policy::{Policy, PolicyQuery};
use crate::request::{MIXED, Request, RequestRef, Subject, Xfrm};
use crate::sa::{Sa, SaFilter, SaId, SaQuery, SpiRequest};
use crate::selector::Protocol;
use crate::socket::XfrmSocket;

/// The XFRM database of the network namespace of the thread that opened it.
///
/// One request, one answer: a call returns when the kernel has answered. It carries requests out within the system
/// call that sends them, so that the answer is there at once.
pub struct Client {
    exchange: Exchange<XfrmSocket>,
}

/// Octets of answers the kernel may queue: the acknowledgements of a batch, and a datagram of a dump.
const QUEUE: usize = 1024 * 1024;

/// How long to wait for an answer that should be there already.
const TIMEOUT: Duration = Duration::from_secs(5);

impl Client {
    /// Opens a socket of its own.
    ///
    /// # Errors
    ///
    /// The kernel has no XFRM. (Lack of `CAP_NET_ADMIN` shows at the first request, as `EPERM`.)
    pub fn open() -> Result<Self, Error> {
        let open = || {
            let mut socket = XfrmSocket::open(QUEUE)?;
            socket.set_timeout(TIMEOUT)?;
            Ok(socket)
        };
        let subject = Subject { operation: Operation::Open, object: Object::None };
        let socket = open().map_err(|errno| subject.error(Cause::Socket(errno)))?;
        Ok(Self { exchange: Exchange::new(socket) })
    }

    /// Makes a request that is answered by yes or no.
    fn order(&mut self, request: RequestRef<'_>) -> Result<(), Error> {
        self.exchange.batch(&[request]).pop().unwrap_or(Err(request.subject().error(Cause::NoAnswer)))
    }
}

impl Xfrm for Client {
    fn add_sa(&mut self, sa: &Sa) -> Result<(), Error> {
        self.order(RequestRef::AddSa(sa))
    }

    fn update_sa(&mut self, sa: &Sa) -> Result<(), Error> {
        self.order(RequestRef::UpdateSa(sa))
    }

    fn delete_sa(&mut self, query: &SaQuery) -> Result<(), Error> {
        self.order(RequestRef::DeleteSa(query))
    }

    fn get_sa(&mut self, query: &SaQuery) -> Result<Sa, Error> {
        let subject = Subject { operation: Operation::GetSa, object: Object::Sa(query.id) };
        sa(&subject, self.exchange.ask(&subject, XFRM_MSG_GETSA, |to| query.write(to))?)
    }

    fn dump_sas(&mut self, filter: &SaFilter) -> Result<Vec<Sa>, Error> {
        let object = filter.protocol.map_or(Object::None, Object::Sas);
        let subject = Subject { operation: Operation::DumpSas, object };
        self.exchange.dump(
            &subject,
            XFRM_MSG_GETSA,
            |to| filter.write(to),
            |body| match body {
                Body::NewSa(sa) => Some(*sa),
                _ => None,
            },
        )
    }

    fn flush_sas(&mut self, protocol: Protocol) -> Result<(), Error> {
        self.order(RequestRef::FlushSas(protocol))
    }

    fn alloc_spi(&mut self, request: &SpiRequest) -> Result<Sa, Error> {
        let id = SaId { destination: request.destination, spi: 0, protocol: request.protocol };
        let subject = Subject { operation: Operation::AllocSpi, object: Object::Sa(id) };
        if !request.is_consistent() {
            return Err(subject.error(Cause::Invalid(MIXED)));
        }
        sa(&subject, self.exchange.ask(&subject, XFRM_MSG_ALLOCSPI, |to| request.write(to))?)
    }

    fn add_policy(&mut self, policy: &Policy) -> Result<(), Error> {
        self.order(RequestRef::AddPolicy(policy))
    }

    fn update_policy(&mut self, policy: &Policy) -> Result<(), Error> {
        self.order(RequestRef::UpdatePolicy(policy))
    }

    fn delete_policy(&mut self, query: &PolicyQuery) -> Result<(), Error> {
        self.order(RequestRef::DeletePolicy(query))
    }

    fn get_policy(&mut self, query: &PolicyQuery) -> Result<Policy, Error> {
        let subject = Subject { operation: Operation::GetPolicy, object: (*query).into() };
        match self.exchange.ask(&subject, XFRM_MSG_GETPOLICY, |to| query.write(to))? {
            Body::NewPolicy(policy) => Ok(*policy),
            _ => Err(subject.error(Cause::NoAnswer)),
        }
    }

    fn dump_policies(&mut self) -> Result<Vec<Policy>, Error> {
        let subject = Subject { operation: Operation::DumpPolicies, object: Object::None };
        self.exchange.dump(
            &subject,
            XFRM_MSG_GETPOLICY,
            |_| {},
            |body| match body {
                Body::NewPolicy(policy) => Some(*policy),
                _ => None,
            },
        )
    }

    fn flush_policies(&mut self) -> Result<(), Error> {
        self.order(RequestRef::FlushPolicies)
    }

    fn batch(&mut self, requests: &[Request]) -> Vec<Result<(), Error>> {
        let requests: Vec<_> = requests.iter().map(Request::as_ref).collect();
        self.exchange.batch(&requests)
    }
}

fn sa(subject: &Subject, body: Body) -> Result<Sa, Error> {
    match body {
        Body::NewSa(sa) => Ok(*sa),
        _ => Err(subject.error(Cause::NoAnswer)),
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client(descriptor {})", self.exchange.transport().as_raw_fd())
    }
}
