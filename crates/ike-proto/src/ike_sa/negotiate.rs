//! A CHILD_SA negotiated: what is asked for, what is answered, and both halves put into the kernel (RFC 7296 §1.3.1, §2.9,
//! §2.17, §2.23.1).

use std::net::IpAddr;

use crate::crypto::keymat::{ChildKeys, Nonces};
use crate::crypto::suite::EspSuite;
use crate::error::Error;
use crate::ids::{ChildSpi, PolicyIndex, Role};
use crate::ike_sa::children::{self, Child, Children, Stage};
use crate::ike_sa::core::Core;
use crate::ike_sa::env::{Env, Signal, Wanted};
use crate::ike_sa::watch::Watch;
use crate::message::parts::Parts;
use crate::output::What;
use crate::policy::peer::MakePolicies;
use crate::policy::peer_db::Credential;
use crate::policy::proposal::{self, Choice, Offer};
use crate::policy::sad::{Direction, Lifetimes, Mode, NewPolicy, SaKey, SaSpec, SpiRequest};
use crate::policy::selector::{Selector, ip_selectors};
use crate::policy::spd::{Policy, Template};
use crate::secret::Secret;
use crate::time::Duration;
use crate::wire::registry::{KeId, NotifyType, ProtocolId};
use crate::wire::{IpSelector, Notify, Payload, Proposal, Sa, TrafficSelector, Ts};

/// Packets after which an SA without extended sequence numbers asks for a rekey: three quarters of 2^32.
const SOFT_PACKETS: u64 = 3 << 30;
/// Packets after which it is dead: some way before the number would wrap.
const HARD_PACKETS: u64 = (1 << 32) - (1 << 20);
/// Policies that are made for one peer: who wants more wants them all in one.
const MOST_MADE: usize = 16;

/// A child we asked for: what is to be compared with the answer.
#[derive(Debug)]
pub struct Plan {
    /// What is wanted.
    pub wanted: Wanted,
    /// What the child must carry at least: what the one carried in whose place it is made (RFC 7296 §2.9.2).
    pub at_least: Option<Selector>,
    spi_in: ChildSpi,
    offers: Vec<Offer>,
}

impl Plan {
    /// Reserves an SPI in the kernel. In IKE_AUTH the offers go without key exchange (RFC 7296 §1.2).
    ///
    /// # Errors
    /// If the kernel gives no SPI; then `wanted` comes back.
    pub fn reserve(
        env: &mut Env<'_>,
        core: &Core,
        wanted: Wanted,
        offers: Vec<Offer>,
    ) -> Result<Self, Box<(Wanted, Error)>> {
        let wanted = Wanted { selector: wanted.between(core.path.ends()), ..wanted };
        core.say(env, What::ChildWanted { role: Role::Initiator, selector: wanted.selector });
        match reserve(env, core, &wanted.template) {
            Ok(spi_in) => Ok(Self { wanted, at_least: None, spi_in, offers }),
            Err(error) => Err(Box::new((wanted, error))),
        }
    }

    /// SA, TSi, TSr and the wish for transport mode.
    #[must_use]
    pub fn payloads(&self) -> Vec<Payload> {
        let (local, remote) = self.wanted.selector.ts();
        let sa = proposal::to_payload(&self.offers, ProtocolId::ESP, &self.spi_in.0.to_be_bytes());
        let mut payloads = vec![Payload::Sa(sa), Payload::TsI(ts(local)), Payload::TsR(ts(remote))];
        if self.wanted.template.mode == Mode::Transport {
            payloads.push(transport_mode());
        }
        payloads
    }

    /// Gives the SPI back.
    pub fn abandon(self, env: &mut Env<'_>, core: &Core) -> Wanted {
        let _ = env.sad.remove(&SaKey { destination: core.path.local(), spi: self.spi_in });
        self.wanted
    }

    /// The SPI we will receive on.
    #[must_use]
    pub const fn spi_in(&self) -> ChildSpi {
        self.spi_in
    }

    /// The algorithms the peer chose, if they are among those we offered.
    ///
    /// # Errors
    /// The peer's error, or what is wrong with its choice.
    pub fn accept(&self, parts: &Parts) -> Result<Choice<EspSuite>, Error> {
        if let Some(notify) = parts.error() {
            return Err(Error::incompatible(notify.notify_type, "the peer refused the CHILD_SA"));
        }
        proposal::accept_esp(&self.offers, parts.sa()?).ok_or_else(|| {
            Error::misbehaved(NotifyType::NO_PROPOSAL_CHOSEN, "the peer chose what was not offered")
        })
    }

    /// Installs the child, as the initiator of the exchange does: both halves in one batch, or, when it is known already that
    /// another child wins (RFC 7296 §2.8.1), only the half on which the peer may send until it is deleted.
    ///
    /// # Errors
    /// What is wrong with the answer, or what the kernel says. The peer has installed its half by then: it is to be told.
    pub fn complete(
        &self,
        env: &mut Env<'_>,
        core: &Core,
        parts: &Parts,
        choice: &Choice<EspSuite>,
        keyed: &Keyed<'_>,
        install: Install,
    ) -> Result<Child, Error> {
        let transport = parts.has(NotifyType::USE_TRANSPORT_MODE);
        if transport != (self.wanted.template.mode == Mode::Transport) {
            return Err(refusal("the peer answered with another mode than the policy asks for"));
        }
        let local = as_seen(parts.ts_i()?, transport && core.path.nat.local, core.path.local());
        let remote = as_seen(parts.ts_r()?, transport && core.path.nat.remote, core.path.remote());
        let selector = self
            .wanted
            .selector
            .narrow(&local, &remote)
            .filter(|found| self.at_least.is_none_or(|old| found.covers(&old)))
            .ok_or_else(|| {
                refusal("the peer's traffic selectors do not meet the policy, or what is rekeyed")
            })?;
        authorize(env, core)?;
        let keys = keyed.keys(env, core, &choice.suite)?;
        let halves = Halves {
            selector,
            template: &self.wanted.template,
            policy: self.wanted.policy,
            spi_in: self.spi_in,
            spi_out: spi_of(&choice.spi)?,
            suite: choice.suite,
        };
        halves.install(env, core, keys, Side::Initiator, install)
    }
}

/// What a child is keyed with besides SK_d: the nonces of its exchange, and its own key exchange if it has one.
pub struct Keyed<'a> {
    /// Of the exchange.
    pub nonces: &'a Nonces,
    /// Of its key exchanges, in order; none in IKE_AUTH.
    pub shared: &'a [Secret],
}

impl Keyed<'_> {
    fn keys(&self, env: &Env<'_>, core: &Core, suite: &EspSuite) -> Result<ChildKeys, Error> {
        let keys = core.keys.as_ref().zip(core.prf(env)).map(|(sa, prf)| {
            let suite = EspSuite { ke: None, ..*suite };
            sa.sk_d.child_keys(prf, &suite, self.shared, self.nonces)
        });
        keys.ok_or_else(|| refusal("the IKE SA has no keys yet"))
    }
}

/// A peer's request for a child, found acceptable; nothing is in the kernel yet.
#[derive(Debug)]
pub struct Accepted {
    grant: Grant,
    selector: Selector,
    choice: Choice<EspSuite>,
}

/// The policy that a child is for.
#[derive(Debug)]
enum Grant {
    /// It is there.
    There(Policy),
    /// It is made when the child is (racoon's `generate_policy`).
    ToMake(NewPolicy),
}

impl Accepted {
    /// How much of a new child goes into the kernel before its initiator has it. Until our answer is there, something else may
    /// carry the traffic: one of `children`, another IKE SA of the pair, or somebody else's SA. Or the policy, of level `use`, lets
    /// it pass in clear. A peer that has lost its other IKE SA may still have the children: kernels outlive daemons.
    pub fn install_at_once(&self, env: &mut Env<'_>, core: &Core, children: &Children) -> Install {
        let carried = match &self.grant {
            Grant::There(policy) => policy.template.optional || children.serve(policy.index),
            Grant::ToMake(_) => false,
        };
        let (local, remote) = core.path.ends();
        if carried || core.is_beside(env.now) || env.sad.is_carried(local, remote) {
            Install::Beside
        } else {
            Install::Both
        }
    }

    /// The key exchange method it is to be keyed with.
    #[must_use]
    pub const fn ke(&self) -> Option<KeId> {
        self.choice.suite.ke
    }

    /// Reserves an SPI, installs the child and gives the answer's payloads. A first child goes live at once, a successor
    /// when the peer can receive on it (RFC 7296 §2.8).
    ///
    /// # Errors
    /// What the kernel says; then nothing is installed.
    pub fn install(
        self,
        env: &mut Env<'_>,
        core: &Core,
        keyed: &Keyed<'_>,
        install: Install,
    ) -> Result<(Child, Vec<Payload>), Error> {
        core.say(env, What::ChildWanted { role: Role::Responder, selector: self.selector });
        let spi_out = spi_of(&self.choice.spi)?;
        let keys = keyed.keys(env, core, &self.choice.suite)?;
        let (policy, is_new) = match self.grant {
            Grant::There(policy) => (policy, false),
            Grant::ToMake(wish) => (make(env, &wish)?, true),
        };
        let installed = reserve(env, core, &policy.template).and_then(|spi_in| {
            let halves = Halves {
                selector: self.selector,
                template: &policy.template,
                policy: policy.index,
                spi_in,
                spi_out,
                suite: self.choice.suite,
            };
            Ok((spi_in, halves.install(env, core, keys, Side::Responder, install)?))
        });
        let (spi_in, child) = match installed {
            Ok(installed) => installed,
            Err(error) => {
                if is_new {
                    let _ = env.sad.remove_policy(policy.index);
                }
                return Err(error);
            }
        };
        if is_new {
            env.signals.push(Signal::PolicyMade(Box::new(policy)));
        }
        // Behind a NAT these are the addresses as they are seen here (RFC 7296 §2.23.1).
        let (local, remote) = self.selector.ts();
        let answer = Proposal { spi: spi_in.0.to_be_bytes().to_vec(), ..self.choice.answer };
        let mut payloads = vec![
            Payload::Sa(Sa { proposals: vec![answer] }),
            Payload::TsI(ts(remote)),
            Payload::TsR(ts(local)),
        ];
        if child.mode == Mode::Transport {
            payloads.push(transport_mode());
        }
        Ok((child, payloads))
    }
}

/// Judges a peer's request for a child: its selectors against the policies that are the peer's, its proposals against ours.
///
/// # Errors
/// TS_UNACCEPTABLE, NO_PROPOSAL_CHOSEN or INVALID_SYNTAX.
pub fn judge(
    env: &Env<'_>,
    core: &Core,
    parts: &Parts,
    offers: &[Offer],
    replaces: Option<Selector>,
) -> Result<Accepted, Error> {
    let mode = match parts.has(NotifyType::USE_TRANSPORT_MODE) {
        true => Mode::Transport,
        false => Mode::Tunnel,
    };
    let (theirs, ours) = (parts.ts_i()?, parts.ts_r()?);
    let substitute = mode == Mode::Transport;
    let local = as_seen(ours, substitute && core.path.nat.local, core.path.local());
    let remote = as_seen(theirs, substitute && core.path.nat.remote, core.path.remote());
    let found = meet(env, core, mode, (&local, &remote), replaces);
    let made = || to_make(env, core, mode, (&local, &remote), replaces);
    let (grant, selector) = found.or_else(made).ok_or_else(|| {
        let (ts_r, ts_i) = (shown(&local), shown(&remote));
        refusal(format!("no policy found: no {mode:?} policy covers {ts_r} <=> {ts_i}"))
    })?;
    authorize(env, core)?;
    refuse_anothers(env, core, theirs)?;
    let sent = parts.optional_ke()?.map(|ke| ke.method);
    let choice = proposal::choose_esp(offers, parts.sa()?, sent).ok_or_else(|| {
        Error::incompatible(NotifyType::NO_PROPOSAL_CHOSEN, "none of the peer's ESP proposals is acceptable")
    })?;
    Ok(Accepted { grant, selector, choice })
}

/// The policy that serves what the peer asks for, and what of it: the first that grants the whole wish, else the first that
/// grants a part (RFC 7296 §2.9). What is rekeyed is not narrowed below what it was (§2.9.2). A policy that was made for another
/// wish of the peer's grants a whole one or none: another is made.
fn meet(
    env: &Env<'_>,
    core: &Core,
    mode: Mode,
    (local, remote): (&Ts, &Ts),
    replaces: Option<Selector>,
) -> Option<(Grant, Selector)> {
    let wish = core.path.everything().narrow(local, remote);
    let is_whole = |selector: &Selector| wish.is_some_and(|wish| selector.covers(&wish));
    let granted: Vec<(&Policy, Selector)> = env
        .policies
        .between(core.path.local(), core.path.remote())
        .filter(|policy| policy.template.mode == mode)
        .filter_map(|policy| Some((policy, policy.between(core.path.ends()).narrow(local, remote)?)))
        .filter(|(_, selector)| replaces.is_none_or(|old| selector.covers(&old)))
        .filter(|(policy, selector)| !policy.made || is_whole(selector))
        .collect();
    let whole = granted.iter().find(|(_, selector)| is_whole(selector));
    whole.or_else(|| granted.first()).map(|(policy, selector)| (Grant::There((*policy).clone()), *selector))
}

/// The policy to make where there is none and the configuration has them made: for the two ends' own packets, whatever the peer
/// asks for beside them. Whether it may have it is for [`authorize`] to say.
fn to_make(
    env: &Env<'_>,
    core: &Core,
    mode: Mode,
    (local, remote): (&Ts, &Ts),
    replaces: Option<Selector>,
) -> Option<(Grant, Selector)> {
    let unique = match core.peer.make_policies {
        MakePolicies::Never => return None,
        MakePolicies::Shared => false,
        MakePolicies::Unique => true,
    };
    let made = env.policies.between(core.path.local(), core.path.remote()).filter(|policy| policy.made);
    let selector = core.path.everything().narrow(local, remote)?;
    let keeps = replaces.is_none_or(|old| selector.covers(&old));
    (mode == Mode::Transport && keeps && made.count() < MOST_MADE)
        .then_some((Grant::ToMake(NewPolicy { selector, unique }), selector))
}

fn make(env: &mut Env<'_>, wish: &NewPolicy) -> Result<Policy, Error> {
    env.sad.make_policy(wish).map_err(|error| refusal(format!("the kernel takes no policy for it: {error}")))
}

/// A peer may key only what its credential is listed for (RFC 4301 §4.4.3): TS_UNACCEPTABLE otherwise.
fn authorize(env: &Env<'_>, core: &Core) -> Result<(), Error> {
    let remote = core.path.remote();
    let who = || core.remote_id.as_ref().map_or_else(|| "the peer".to_owned(), ToString::to_string);
    let why = match &core.credential {
        _ if may_key(env, core, remote) => return Ok(()),
        Some(Credential::Signature(proof)) => format!(
            "{} ({}) has not the address {remote} in its certificate, and no remote binds the two to each other",
            who(),
            proof.shown
        ),
        _ => format!("the key that authenticated {} is not the one listed for {remote}", who()),
    };
    Err(refusal(why))
}

/// Whether the peer may key traffic with `address`.
pub fn may_key(env: &Env<'_>, core: &Core, address: IpAddr) -> bool {
    let id = core.remote_id.as_ref();
    core.credential.as_ref().is_some_and(|used| env.peers.authorizes(used, id, address))
}

/// A peer that names an address for which we have a policy and it has not the key wants to key another's policy. Behind a NAT
/// its own address would stand for the one it names, and it would get an SA that is not what it asked for: it gets none.
fn refuse_anothers(env: &Env<'_>, core: &Core, theirs: &Ts) -> Result<(), Error> {
    let anothers = ip_selectors(theirs).filter(|ip| is_single(ip)).map(|ip| ip.start).find(|named| {
        *named != core.path.remote()
            && env.policies.between(core.path.local(), *named).next().is_some()
            && !may_key(env, core, *named)
    });
    anothers.map_or(Ok(()), |named| {
        Err(refusal(format!("the peer asks for the policy of {named}, whose key it does not have")))
    })
}

fn refusal(what: impl Into<String>) -> Error {
    Error::incompatible(NotifyType::TS_UNACCEPTABLE, what)
}

fn ts(selector: IpSelector) -> Ts {
    Ts { selectors: vec![TrafficSelector::Ip(selector)] }
}

fn transport_mode() -> Payload {
    Payload::Notify(Notify::status(NotifyType::USE_TRANSPORT_MODE, Vec::new()))
}

fn reserve(env: &mut Env<'_>, core: &Core, template: &Template) -> Result<ChildSpi, Error> {
    let request = SpiRequest {
        local: core.path.local(),
        remote: core.path.remote(),
        mode: template.mode,
        reqid: template.reqid,
    };
    env.sad.reserve_spi(&request).map_err(|error| {
        Error::incompatible(NotifyType::NO_PROPOSAL_CHOSEN, format!("the kernel gives no SPI: {error}"))
    })
}

fn spi_of(octets: &[u8]) -> Result<ChildSpi, Error> {
    let spi = <[u8; 4]>::try_from(octets).map(u32::from_be_bytes).unwrap_or_default();
    // 0 to 255 are reserved (RFC 4303 §2.1).
    if spi < 256 { Err(Error::malformed("the peer's SPI is not one of ESP")) } else { Ok(ChildSpi(spi)) }
}

fn shown(ts: &Ts) -> String {
    ip_selectors(ts).map(|ip| format!("{}-{}", ip.start, ip.end)).collect::<Vec<_>>().join(",")
}

/// Transport mode behind a NAT (RFC 7296 §2.23.1): the side's single addresses stand for the address its packets have here.
fn as_seen(ts: &Ts, substitute: bool, seen: IpAddr) -> Ts {
    let replaced = |selector: &TrafficSelector| match selector {
        TrafficSelector::Ip(ip) if substitute && is_single(ip) && ip.start.is_ipv4() == seen.is_ipv4() => {
            TrafficSelector::Ip(IpSelector { start: seen, end: seen, ..*ip })
        }
        other => other.clone(),
    };
    Ts { selectors: ts.selectors.iter().map(replaced).collect() }
}

fn is_single(ip: &IpSelector) -> bool {
    ip.start == ip.end
}

/// How much of a child goes into the kernel at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Install {
    /// Both halves.
    Both,
    /// The inbound half; the outbound one waits.
    InboundFirst,
    /// The same, for a moment only: something else carries the traffic.
    Beside,
    /// The inbound half; the child is to be deleted at once.
    InboundOnly,
}

/// Which end of the exchange we are: it decides which keys are ours.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Initiator,
    Responder,
}

/// Both directions of a child, ready for the kernel.
struct Halves<'a> {
    selector: Selector,
    template: &'a Template,
    policy: PolicyIndex,
    spi_in: ChildSpi,
    spi_out: ChildSpi,
    suite: EspSuite,
}

impl Halves<'_> {
    fn install(
        &self,
        env: &mut Env<'_>,
        core: &Core,
        keys: ChildKeys,
        side: Side,
        install: Install,
    ) -> Result<Child, Error> {
        let (own, theirs) = match side {
            Side::Initiator => (keys.initiator, keys.responder),
            Side::Responder => (keys.responder, keys.initiator),
        };
        let encap = core.path.esp_encap();
        let spec = |direction, spi, keys| SaSpec {
            direction,
            spi,
            local: core.path.local(),
            remote: core.path.remote(),
            mode: self.template.mode,
            reqid: self.template.reqid,
            selector: self.selector,
            suite: self.suite,
            keys,
            encap,
            replay_window: core.peer.child.replay_window,
            lifetimes: lifetimes(core.peer.child.lifetime, self.suite.esn),
        };
        let (inbound, outbound) =
            (spec(Direction::In, self.spi_in, theirs), spec(Direction::Out, self.spi_out, own));
        let added = match install {
            Install::Both => env.sad.add_pair(&inbound, &outbound),
            Install::InboundFirst | Install::Beside | Install::InboundOnly => env.sad.add_inbound(&inbound),
        };
        added.map_err(|error| {
            let _ = env.sad.remove(&inbound.key());
            Error::incompatible(NotifyType::NO_PROPOSAL_CHOSEN, format!("the kernel refuses the SA: {error}"))
        })?;
        let stage = match install {
            Install::Both => Stage::Live,
            Install::InboundFirst => children::half(env.now, outbound, children::HALF_LIFE),
            Install::Beside => children::half(env.now, outbound, children::BESIDE),
            Install::InboundOnly => Stage::Superseded { until: env.now },
        };
        let rekey_at = env.now + env.rng.jitter_down(core.peer.child.lifetime, 10);
        Ok(Child {
            id: env.child_id(),
            policy: self.policy,
            selector: self.selector,
            mode: self.template.mode,
            reqid: self.template.reqid,
            spi_in: self.spi_in,
            spi_out: self.spi_out,
            suite: self.suite,
            encap: encap.is_some(),
            since: env.now,
            rekey_at,
            refusals: 0,
            stage,
            deleting: false,
            seen: 0,
            watch: Watch::new(env.now),
        })
    }
}

/// The kernel's limits: packets where the sequence number is short, and time as a backstop at one and a half lifetimes.
fn lifetimes(lifetime: Duration, esn: bool) -> Lifetimes {
    Lifetimes {
        soft_packets: (!esn).then_some(SOFT_PACKETS),
        hard_packets: (!esn).then_some(HARD_PACKETS),
        hard_seconds: Some((lifetime + lifetime / 2).as_secs()),
        ..Lifetimes::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(address: &str) -> Ts {
        ts(IpSelector::host(address.parse().unwrap()))
    }

    #[test]
    fn substitution_touches_single_addresses_only() {
        let asked = host("10.0.0.1");
        let seen = as_seen(&asked, true, "198.51.100.1".parse().unwrap());
        assert_eq!(seen, host("198.51.100.1"));
        let range = Ts {
            selectors: vec![TrafficSelector::Ip(IpSelector::all_between(
                "10.0.0.0".parse().unwrap(),
                "10.0.0.255".parse().unwrap(),
            ))],
        };
        assert_eq!(as_seen(&range, true, "198.51.100.1".parse().unwrap()), range);
        assert_eq!(as_seen(&asked, true, "2001:db8::1".parse().unwrap()), asked);
    }

    #[test]
    fn an_spi_that_is_reserved_or_of_another_length_is_refused() {
        assert!(spi_of(&[0, 0, 0, 255]).is_err());
        assert!(spi_of(&[1, 2, 3]).is_err());
        assert_eq!(spi_of(&[0, 0, 1, 0]), Ok(ChildSpi(256)));
    }

    #[test]
    fn packet_limits_are_for_short_sequence_numbers() {
        assert_eq!(lifetimes(Duration::from_secs(100), true).hard_packets, None);
        let short = lifetimes(Duration::from_secs(100), false);
        assert_eq!((short.soft_packets, short.hard_seconds), (Some(SOFT_PACKETS), Some(150)));
    }
}
