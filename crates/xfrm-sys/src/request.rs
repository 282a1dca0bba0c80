//! What can be asked of an XFRM database, and the trait of whatever answers.

use crate::codec::Writer;
use crate::constants::{
    XFRM_MSG_DELPOLICY, XFRM_MSG_DELSA, XFRM_MSG_FLUSHPOLICY, XFRM_MSG_FLUSHSA, XFRM_MSG_NEWPOLICY,
    XFRM_MSG_NEWSA, XFRM_MSG_UPDPOLICY, XFRM_MSG_UPDSA,
};
use crate::error::{Cause, Error, Object, Operation};
use crate::message::write_flush;
use crate::monitor::Acquire;
use crate::policy::{Policy, PolicyQuery};
use crate::sa::{Sa, SaFilter, SaQuery, SpiRequest};
use crate::selector::Protocol;

/// An XFRM database: the kernel's ([`crate::Client`]) or one in memory ([`crate::FakeKernel`]).
///
/// Every call is synchronous. `# Errors`, for all of them: the [`Error`] says what was refused and why.
pub trait Xfrm {
    /// Adds an SA. `EEXIST` if there is one of this id, be it a larval one: that wants [`Xfrm::update_sa`]. The
    /// acquire's larval state goes, if `sa.seq` or the addresses, mode, reqid and protocol are the acquire's.
    ///
    /// # Errors
    ///
    /// See [`Xfrm`].
    fn add_sa(&mut self, sa: &Sa) -> Result<(), Error>;

    /// Replaces a larval SA by this one, or gives an SA new limits, encapsulation ports, output mark and interface
    /// (keys and all else stay). `ESRCH` if there is none.
    ///
    /// # Errors
    ///
    /// See [`Xfrm`].
    fn update_sa(&mut self, sa: &Sa) -> Result<(), Error>;

    /// Deletes an SA. `ESRCH` if there is none.
    ///
    /// # Errors
    ///
    /// See [`Xfrm`].
    fn delete_sa(&mut self, query: &SaQuery) -> Result<(), Error>;

    /// One SA. `ESRCH` if there is none.
    ///
    /// # Errors
    ///
    /// See [`Xfrm`].
    fn get_sa(&mut self, query: &SaQuery) -> Result<Sa, Error>;

    /// All SAs that pass `filter`, larval ones too, the newest first.
    ///
    /// # Errors
    ///
    /// See [`Xfrm`].
    fn dump_sas(&mut self, filter: &SaFilter) -> Result<Vec<Sa>, Error>;

    /// Deletes all SAs of a protocol, or of every protocol with [`Protocol::IPSEC_ANY`]. None is no error.
    ///
    /// # Errors
    ///
    /// See [`Xfrm`].
    fn flush_sas(&mut self, protocol: Protocol) -> Result<(), Error>;

    /// Gives a larval SA an SPI: see [`SpiRequest`]. `ENOENT` if none is free.
    ///
    /// # Errors
    ///
    /// See [`Xfrm`].
    fn alloc_spi(&mut self, request: &SpiRequest) -> Result<Sa, Error>;

    /// Adds a policy. `EEXIST` if there is one of the same selector, direction, mark, interface and database.
    ///
    /// # Errors
    ///
    /// See [`Xfrm`].
    fn add_policy(&mut self, policy: &Policy) -> Result<(), Error>;

    /// Replaces the policy of the same selector, direction, mark, interface and database in one step, and keeps its
    /// index; or adds the policy if there is none.
    ///
    /// # Errors
    ///
    /// See [`Xfrm`].
    fn update_policy(&mut self, policy: &Policy) -> Result<(), Error>;

    /// Deletes a policy. `ENOENT` if there is none.
    ///
    /// # Errors
    ///
    /// See [`Xfrm`].
    fn delete_policy(&mut self, query: &PolicyQuery) -> Result<(), Error>;

    /// One policy. `ENOENT` if there is none.
    ///
    /// # Errors
    ///
    /// See [`Xfrm`].
    fn get_policy(&mut self, query: &PolicyQuery) -> Result<Policy, Error>;

    /// All policies, those of sockets too ([`crate::Direction::is_socket`]), the newest first.
    ///
    /// # Errors
    ///
    /// See [`Xfrm`].
    fn dump_policies(&mut self) -> Result<Vec<Policy>, Error>;

    /// Deletes all policies of the main database but those of sockets. None is no error.
    ///
    /// # Errors
    ///
    /// See [`Xfrm`].
    fn flush_policies(&mut self) -> Result<(), Error>;

    /// Makes several requests in one system call where that is possible. Each is carried out, in this order, whatever
    /// became of the one before, and has its result in its place.
    fn batch(&mut self, requests: &[Request]) -> Vec<Result<(), Error>>;

    /// Deletes the larval state of an acquire, so that the next packet raises another. The kernel has no request for
    /// that, since the state has no SPI: it is given one, and deleted by it. Harmless if the state is gone.
    ///
    /// # Errors
    ///
    /// See [`Xfrm`].
    fn delete_acquire(&mut self, acquire: &Acquire) -> Result<(), Error> {
        let larval = self.alloc_spi(&acquire.spi_request(0x100, u32::MAX))?;
        match self.delete_sa(&SaQuery { mark: larval.mark, ..SaQuery::from(larval.id) }) {
            Err(error) if error.is_missing() => Ok(()),
            result => result,
        }
    }
}

/// A request that is answered by yes or no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// [`Xfrm::add_sa`].
    AddSa(Box<Sa>),
    /// [`Xfrm::update_sa`].
    UpdateSa(Box<Sa>),
    /// [`Xfrm::delete_sa`].
    DeleteSa(SaQuery),
    /// [`Xfrm::flush_sas`].
    FlushSas(Protocol),
    /// [`Xfrm::add_policy`].
    AddPolicy(Box<Policy>),
    /// [`Xfrm::update_policy`].
    UpdatePolicy(Box<Policy>),
    /// [`Xfrm::delete_policy`].
    DeletePolicy(PolicyQuery),
    /// [`Xfrm::flush_policies`].
    FlushPolicies,
}

impl Request {
    /// Its fields, by reference.
    pub(crate) fn as_ref(&self) -> RequestRef<'_> {
        match self {
            Self::AddSa(sa) => RequestRef::AddSa(sa),
            Self::UpdateSa(sa) => RequestRef::UpdateSa(sa),
            Self::DeleteSa(query) => RequestRef::DeleteSa(query),
            Self::FlushSas(protocol) => RequestRef::FlushSas(*protocol),
            Self::AddPolicy(policy) => RequestRef::AddPolicy(policy),
            Self::UpdatePolicy(policy) => RequestRef::UpdatePolicy(policy),
            Self::DeletePolicy(query) => RequestRef::DeletePolicy(query),
            Self::FlushPolicies => RequestRef::FlushPolicies,
        }
    }
}

/// A borrowed [`Request`]: nothing is copied to make one.
#[derive(Clone, Copy)]
pub(crate) enum RequestRef<'a> {
    AddSa(&'a Sa),
    UpdateSa(&'a Sa),
    DeleteSa(&'a SaQuery),
    FlushSas(Protocol),
    AddPolicy(&'a Policy),
    UpdatePolicy(&'a Policy),
    DeletePolicy(&'a PolicyQuery),
    FlushPolicies,
}

impl RequestRef<'_> {
    /// The message's type.
    pub(crate) fn kind(&self) -> u16 {
        match self {
            Self::AddSa(_) => XFRM_MSG_NEWSA,
            Self::UpdateSa(_) => XFRM_MSG_UPDSA,
            Self::DeleteSa(_) => XFRM_MSG_DELSA,
            Self::FlushSas(_) => XFRM_MSG_FLUSHSA,
            Self::AddPolicy(_) => XFRM_MSG_NEWPOLICY,
            Self::UpdatePolicy(_) => XFRM_MSG_UPDPOLICY,
            Self::DeletePolicy(_) => XFRM_MSG_DELPOLICY,
            Self::FlushPolicies => XFRM_MSG_FLUSHPOLICY,
        }
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        match self {
            Self::AddSa(sa) | Self::UpdateSa(sa) => sa.write(to),
            Self::DeleteSa(query) => query.write(to),
            Self::FlushSas(protocol) => write_flush(*protocol, to),
            Self::AddPolicy(policy) | Self::UpdatePolicy(policy) => policy.write(to),
            Self::DeletePolicy(query) => query.write(to),
            Self::FlushPolicies => {}
        }
    }

    /// What an error about this request says.
    pub(crate) fn subject(&self) -> Subject {
        let (operation, object) = match self {
            Self::AddSa(sa) => (Operation::AddSa, Object::Sa(sa.id)),
            Self::UpdateSa(sa) => (Operation::UpdateSa, Object::Sa(sa.id)),
            Self::DeleteSa(query) => (Operation::DeleteSa, Object::Sa(query.id)),
            Self::FlushSas(protocol) => (Operation::FlushSas, Object::Sas(*protocol)),
            Self::AddPolicy(policy) => (Operation::AddPolicy, PolicyQuery::same_as(policy).into()),
            Self::UpdatePolicy(policy) => (Operation::UpdatePolicy, PolicyQuery::same_as(policy).into()),
            Self::DeletePolicy(query) => (Operation::DeletePolicy, (**query).into()),
            Self::FlushPolicies => (Operation::FlushPolicies, Object::None),
        };
        Subject { operation, object }
    }

    /// Refuses what the wire cannot say: the kernel would read other addresses than were meant.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let consistent = match self {
            Self::AddSa(sa) | Self::UpdateSa(sa) => sa.is_consistent(),
            Self::AddPolicy(policy) | Self::UpdatePolicy(policy) => policy.is_consistent(),
            Self::DeleteSa(_) | Self::FlushSas(_) | Self::DeletePolicy(_) | Self::FlushPolicies => true,
        };
        if consistent { Ok(()) } else { Err(self.subject().error(Cause::Invalid(MIXED))) }
    }
}

/// An address family or prefix length that makes no sense.
pub(crate) const MIXED: &str = "its addresses are of two families, or a prefix is longer than its address";

/// The operation and object of a request.
#[derive(Clone)]
pub(crate) struct Subject {
    pub(crate) operation: Operation,
    pub(crate) object: Object,
}

impl Subject {
    pub(crate) fn error(&self, cause: Cause) -> Error {
        Error { operation: self.operation, object: self.object.clone(), cause }
    }
}
