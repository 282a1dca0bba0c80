//! The fake's SAD: the rules of `net/xfrm/xfrm_state.c` and `xfrm_user.c`.

use std::net::IpAddr;

use nix::errno::Errno;

use super::{Database, refused};
use crate::attr::Mark;
use crate::constants::XFRMA_REPLAY_ESN_MAX;
use crate::error::{Error, Object, Operation};
use crate::fake::{expire_of, mapping_of};
use crate::lifetime::Usage;
use crate::monitor::{Acquire, Event, Group};
use crate::request::{RequestRef, Subject};
use crate::sa::{ReplayEsn, Sa, SaDirection, SaFilter, SaFlags, SaId, SaQuery, SpiRequest};
use crate::selector::{Prefix, Protocol, Selector};

/// `net.core.xfrm_acq_expires`, in seconds.
const ACQUIRE_EXPIRES: u64 = 30;

impl Database {
    pub(in crate::fake) fn add_sa(&mut self, sa: &Sa) -> Result<(), Error> {
        let subject = self.begin(Operation::AddSa, Object::Sa(sa.id))?;
        RequestRef::AddSa(sa).check()?;
        check_sa(&subject, sa)?;
        if self.find_sa(sa.id, sa.mark).is_some() {
            return Err(refused(&subject, Errno::EEXIST, None));
        }
        let acquire = self.sas.iter().position(|old| answers(sa, old)).or_else(|| self.find_acquire(sa));
        if let Some(acquire) = acquire {
            self.sas.remove(acquire);
        }
        let sa = self.insert_sa(sa);
        self.tell(Event::NewSa(Box::new(sa)));
        Ok(())
    }

    pub(in crate::fake) fn update_sa(&mut self, sa: &Sa) -> Result<(), Error> {
        let subject = self.begin(Operation::UpdateSa, Object::Sa(sa.id))?;
        RequestRef::UpdateSa(sa).check()?;
        check_sa(&subject, sa)?;
        let found = self.find_sa(sa.id, sa.mark);
        let Some((found, old)) = found.and_then(|found| Some((found, self.sas.get_mut(found)?))) else {
            return Err(refused(&subject, Errno::ESRCH, None));
        };
        let told = if old.is_larval() {
            // A direction that the larval state was not given is not found.
            if sa.direction.is_some() && old.direction != sa.direction {
                return Err(refused(&subject, Errno::ESRCH, None));
            }
            self.sas.remove(found);
            self.insert_sa(sa)
        } else {
            change_sa(&subject, old, sa)?;
            old.clone()
        };
        self.tell(Event::UpdatedSa(Box::new(told)));
        Ok(())
    }

    pub(in crate::fake) fn delete_sa(&mut self, query: &SaQuery) -> Result<(), Error> {
        let subject = self.begin(Operation::DeleteSa, Object::Sa(query.id))?;
        let found =
            self.find_sa(query.id, query.mark).ok_or_else(|| refused(&subject, Errno::ESRCH, None))?;
        let sa = self.sas.remove(found);
        self.tell(Event::DeletedSa(sa.id, Some(Box::new(sa))));
        Ok(())
    }

    pub(in crate::fake) fn get_sa(&mut self, query: &SaQuery) -> Result<Sa, Error> {
        let subject = self.begin(Operation::GetSa, Object::Sa(query.id))?;
        let found = self.find_sa(query.id, query.mark).and_then(|found| self.sas.get(found));
        found.cloned().ok_or_else(|| refused(&subject, Errno::ESRCH, None))
    }

    pub(in crate::fake) fn dump_sas(&mut self, filter: &SaFilter) -> Result<Vec<Sa>, Error> {
        self.begin(Operation::DumpSas, filter.protocol.map_or(Object::None, Object::Sas))?;
        Ok(self.sas.iter().rev().filter(|sa| passes(filter, sa)).cloned().collect())
    }

    pub(in crate::fake) fn flush_sas(&mut self, protocol: Protocol) -> Result<(), Error> {
        self.begin(Operation::FlushSas, Object::Sas(protocol))?;
        let before = self.sas.len();
        self.sas.retain(|sa| !covers(protocol, sa.id.protocol));
        if self.sas.len() < before {
            self.tell(Event::FlushedSas(protocol));
        }
        Ok(())
    }

    pub(in crate::fake) fn alloc_spi(&mut self, request: &SpiRequest) -> Result<Sa, Error> {
        let id = SaId { destination: request.destination, spi: 0, protocol: request.protocol };
        let subject = self.begin(Operation::AllocSpi, Object::Sa(id))?;
        if request.source.is_ipv4() != request.destination.is_ipv4() || request.min > request.max {
            return Err(refused(&subject, Errno::EINVAL, None));
        }
        let spi = self.free_spi(request).ok_or_else(|| refused(&subject, Errno::ENOENT, None))?;
        let wanted = larval_for(request, id);
        let by_seq = self.sas.iter().position(|sa| {
            request.seq != 0
                && sa.is_larval()
                && sa.seq == request.seq
                && sa.id.destination == request.destination
        });
        let adopted = by_seq.or_else(|| self.find_acquire(&wanted));
        let place = adopted.unwrap_or_else(|| {
            self.insert_sa(&wanted);
            self.sas.len() - 1
        });
        let Some(larval) = self.sas.get_mut(place) else {
            return Err(refused(&subject, Errno::ENOENT, None));
        };
        // An acquire that got its SPI before keeps it.
        if larval.id.spi == 0 {
            larval.id.spi = spi;
        }
        larval.direction = request.direction.or(larval.direction);
        Ok(larval.clone())
    }

    pub(in crate::fake) fn raise_acquire(&mut self, index: u32, packet: Selector) -> Option<Acquire> {
        let policy = self.policies.iter().find(|policy| policy.index == index)?.clone();
        let template = policy.templates.first()?;
        let given =
            |address: IpAddr, packet: Prefix| if address.is_unspecified() { packet.address } else { address };
        let destination = given(template.destination, packet.destination);
        let id = SaId { destination, spi: template.spi, protocol: template.protocol };
        let mut larval = Sa::new(given(template.source, packet.source), id);
        larval.mode = template.mode;
        larval.reqid = template.reqid;
        larval.selector = packet;
        larval.mark = policy.mark;
        larval.if_id = policy.if_id;
        larval.limits.hard_add_seconds = ACQUIRE_EXPIRES;
        let serves = |sa: &Sa| same_path(sa, &larval) && (!sa.is_larval() || sa.seq != 0);
        if self.sas.iter().any(serves) || !self.is_heard(Group::Acquire) {
            return None;
        }
        self.last_acquire = self.last_acquire.wrapping_add(1).max(1);
        larval.seq = self.last_acquire;
        larval.direction = Some(SaDirection::OUT);
        let larval = self.insert_sa(&larval);
        let acquire = Acquire {
            id,
            source: larval.source,
            selector: packet,
            aalgos: template.aalgos,
            ealgos: template.ealgos,
            calgos: template.calgos,
            seq: larval.seq,
            // The kernel says it of the larval state, not in the acquire.
            direction: None,
            pcpu: None,
            policy,
        };
        self.tell(Event::Acquire(Box::new(acquire.clone())));
        Some(acquire)
    }

    pub(in crate::fake) fn raise_expire(&mut self, id: SaId, hard: bool) -> bool {
        let Some(found) = self.sas.iter().position(|sa| sa.id == id) else { return false };
        let sa = if hard { Some(self.sas.remove(found)) } else { self.sas.get(found).cloned() };
        if let Some(sa) = sa {
            self.tell(Event::Expire(Box::new(expire_of(&sa, hard))));
        }
        true
    }

    pub(in crate::fake) fn expire_larval(&mut self) {
        let (larval, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.sas).into_iter().partition(Sa::is_larval);
        self.sas = kept;
        for sa in larval {
            self.tell(Event::Expire(Box::new(expire_of(&sa, true))));
        }
    }

    pub(in crate::fake) fn raise_mapping(&mut self, id: SaId, new_source: IpAddr, new_port: u16) -> bool {
        let sa = self.sas.iter().find(|sa| sa.id == id);
        let Some(mapping) = sa.and_then(|sa| mapping_of(sa, new_source, new_port)) else { return false };
        self.tell(Event::Mapping(mapping));
        true
    }

    pub(in crate::fake) fn carry(&mut self, id: SaId, packets: u64, bytes: u64) -> bool {
        let now = self.now;
        let Some(sa) = self.sas.iter_mut().find(|sa| sa.id == id) else { return false };
        sa.usage.packets += packets;
        sa.usage.bytes += bytes;
        sa.last_used = Some(now);
        if sa.usage.use_time == 0 {
            sa.usage.use_time = now;
        }
        true
    }

    pub(in crate::fake) fn forget_sa(&mut self, id: SaId) -> bool {
        let before = self.sas.len();
        self.sas.retain(|sa| sa.id != id);
        self.sas.len() < before
    }

    fn insert_sa(&mut self, sa: &Sa) -> Sa {
        let mut sa = sa.clone();
        sa.usage = Usage { add_time: self.now, ..Usage::default() };
        self.sas.push(sa.clone());
        sa
    }

    /// The newest SA of this id that accepts packets of this mark.
    fn find_sa(&self, id: SaId, mark: Option<Mark>) -> Option<usize> {
        if id.spi == 0 {
            // Not in the kernel's table by SPI.
            return None;
        }
        self.sas.iter().rposition(|sa| sa.id == id && accepts(sa, mark))
    }

    /// A larval state without an SPI that `sa` would take the place of.
    fn find_acquire(&self, sa: &Sa) -> Option<usize> {
        self.sas.iter().rposition(|old| old.is_larval() && old.id.spi == 0 && same_path(old, sa))
    }

    fn free_spi(&mut self, request: &SpiRequest) -> Option<u32> {
        let taken = |spi: u32| {
            let id = SaId { destination: request.destination, spi, protocol: request.protocol };
            self.sas.iter().any(|sa| sa.id == id)
        };
        let next = self.last_spi.checked_add(1).filter(|next| (request.min..=request.max).contains(next));
        let start = next.unwrap_or(request.min);
        let spi = (start..=request.max).chain(request.min..start).find(|spi| *spi != 0 && !taken(*spi))?;
        self.last_spi = spi;
        Some(spi)
    }
}

/// Whether adding `sa` ends the acquire that made `old`.
fn answers(sa: &Sa, old: &Sa) -> bool {
    sa.seq != 0
        && old.is_larval()
        && old.seq == sa.seq
        && old.id.protocol == sa.id.protocol
        && old.id.destination == sa.id.destination
}

/// Whether two SAs are for the same template and addresses.
fn same_path(a: &Sa, b: &Sa) -> bool {
    a.id.destination == b.id.destination
        && a.id.protocol == b.id.protocol
        && a.source == b.source
        && a.mode == b.mode
        && a.reqid == b.reqid
        && a.pcpu == b.pcpu
        && accepts(a, b.mark)
}

fn accepts(sa: &Sa, mark: Option<Mark>) -> bool {
    let packet = mark.map_or(0, |mark| mark.value & mark.mask);
    sa.mark.is_none_or(|own| packet & own.mask == own.value)
}

fn covers(wanted: Protocol, protocol: Protocol) -> bool {
    wanted == protocol || wanted == Protocol::IPSEC_ANY || wanted == Protocol::ANY
}

fn passes(filter: &SaFilter, sa: &Sa) -> bool {
    filter.protocol.is_none_or(|protocol| covers(protocol, sa.id.protocol))
        && filter.addresses.is_none_or(|(source, destination)| {
            source.contains(sa.source) && destination.contains(sa.id.destination)
        })
}

fn larval_for(request: &SpiRequest, id: SaId) -> Sa {
    let mut larval = Sa::new(request.source, id);
    larval.mode = request.mode;
    larval.reqid = request.reqid;
    larval.selector.source = Prefix::host(request.source);
    larval.selector.destination = Prefix::host(request.destination);
    larval.mark = request.mark;
    larval.if_id = request.if_id;
    larval.pcpu = request.pcpu;
    larval.limits.hard_add_seconds = ACQUIRE_EXPIRES;
    larval
}

/// What `verify_newsa_info` refuses, of what a keying daemon might get wrong.
fn check_sa(subject: &Subject, sa: &Sa) -> Result<(), Error> {
    let window = sa.replay_esn.as_ref().map(|replay| replay.window);
    let outbound = sa.direction == Some(SaDirection::OUT);
    let esn = sa.flags.contains(SaFlags::ESN);
    let fault = if sa.id.protocol == Protocol::ESP && sa.is_larval() {
        "Missing required attribute for ESP: at least one of AUTH_TRUNC, AUTH, AEAD, CRYPT"
    } else if sa.aead.is_some() && (sa.encryption.is_some() || sa.authentication.is_some()) {
        "Invalid combination of attributes for ESP: AEAD can't be used with AUTH, AUTH_TRUNC or CRYPT"
    } else if esn && window.is_none() {
        "Missing required attribute for ESN"
    } else if window.is_some() && sa.replay_window != 0 {
        "Replay window is incompatible with ESN"
    } else if window.is_some_and(|window| window > XFRMA_REPLAY_ESN_MAX) {
        "ESN bitmap length must be <= 128"
    } else if sa.replay_esn.as_ref().is_some_and(|replay| !fits_bitmap(replay)) {
        "ESN replay window is too large for the chosen bitmap size"
    } else if outbound && (sa.replay_window != 0 || window.is_some_and(|window| window != 0)) {
        "Replay window should not be set for output SA"
    } else if esn && !outbound && window == Some(0) {
        "ESN replay window must be > 0"
    } else {
        return Ok(());
    };
    Err(refused(subject, Errno::EINVAL, Some(fault)))
}

fn fits_bitmap(replay: &ReplayEsn) -> bool {
    usize::try_from(replay.window).is_ok_and(|window| window <= replay.bitmap.len() * 32)
}

/// What an update changes of an SA that is not larval.
fn change_sa(subject: &Subject, old: &mut Sa, sa: &Sa) -> Result<(), Error> {
    if old.direction != sa.direction {
        return Err(refused(subject, Errno::ESRCH, None));
    }
    if old.encap.map(|encap| encap.kind) != sa.encap.map(|encap| encap.kind) {
        return Err(refused(subject, Errno::EINVAL, None));
    }
    old.encap = sa.encap;
    old.limits = sa.limits;
    old.output_mark = sa.output_mark.or(old.output_mark);
    old.if_id = sa.if_id.or(old.if_id);
    Ok(())
}
