//! Proposals: what we offer, what we choose of a peer's offer, and what we accept as its choice (RFC 7296 §2.7, §3.3).

use crate::crypto::suite::{self, Encr, EspSuite, IkeSuite};
use crate::error::Error;
use crate::wire::Ke;
use crate::wire::registry::{EncrId, EsnId, IntegId, KeId, NotifyType, PrfId, ProtocolId, TransformType};
use crate::wire::sa::{Proposal, Sa, Transform};

/// One proposal: for each kind of transform the values we like, best first. An empty list: the kind is not used.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Offer {
    /// Encryption.
    pub encr: Vec<Encr>,
    /// Pseudo-random functions; IKE only.
    pub prf: Vec<PrfId>,
    /// Integrity; empty with an AEAD.
    pub integ: Vec<IntegId>,
    /// Key exchange; for ESP the PFS methods.
    pub ke: Vec<KeId>,
    /// Sequence numbers; ESP only.
    pub esn: Vec<EsnId>,
}

impl Offer {
    /// What a user who writes nothing offers for an IKE SA.
    #[must_use]
    pub fn ike_defaults() -> Vec<Self> {
        let prf = vec![PrfId::HMAC_SHA2_256, PrfId::HMAC_SHA2_384, PrfId::HMAC_SHA2_512];
        let ke = vec![KeId::CURVE25519, KeId::ECP256, KeId::ECP384, KeId::MODP3072, KeId::MODP4096];
        vec![Self { encr: vec![Encr::AES_256_GCM], prf, ke, ..Self::default() }]
    }

    /// What a user who writes nothing offers for ESP.
    #[must_use]
    pub fn esp_defaults() -> Vec<Self> {
        let ke = vec![KeId::CURVE25519, KeId::ECP256, KeId::ECP384, KeId::MODP3072, KeId::MODP4096];
        vec![Self {
            encr: vec![Encr::AES_256_GCM],
            ke,
            esn: vec![EsnId::ESN, EsnId::NO_ESN],
            ..Self::default()
        }]
    }

    /// The same without key exchange, as IKE_AUTH needs it (RFC 7296 §1.2).
    #[must_use]
    pub fn without_ke(&self) -> Self {
        Self { ke: Vec::new(), ..self.clone() }
    }

    fn transforms(&self) -> Vec<Transform> {
        let plain = |kind, id| Transform { kind, id, key_bits: None, other_attributes: Vec::new() };
        let mut list: Vec<Transform> = Vec::new();
        list.extend(
            self.encr
                .iter()
                .map(|encr| Transform { key_bits: encr.key_bits, ..plain(TransformType::ENCR, encr.id.0) }),
        );
        list.extend(self.prf.iter().map(|id| plain(TransformType::PRF, id.0)));
        list.extend(self.integ.iter().map(|id| plain(TransformType::INTEG, id.0)));
        list.extend(self.ke.iter().map(|id| plain(TransformType::KE, id.0)));
        list.extend(self.esn.iter().map(|id| plain(TransformType::ESN, id.0)));
        list
    }
}

/// The SA payload of `offers`, numbered from one.
#[must_use]
pub fn to_payload(offers: &[Offer], protocol: ProtocolId, spi: &[u8]) -> Sa {
    let proposals = offers.iter().zip(1..=u8::MAX).map(|(offer, number)| Proposal {
        number,
        protocol,
        spi: spi.to_vec(),
        transforms: offer.transforms(),
    });
    Sa { proposals: proposals.collect() }
}

/// What was chosen of a peer's SA payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Choice<S> {
    /// The algorithms.
    pub suite: S,
    /// The peer's SPI, as its proposal has it.
    pub spi: Vec<u8>,
    /// The proposal to answer with, its SPI to be replaced by ours.
    pub answer: Proposal,
}

/// The transforms of one kind that `proposal` has.
fn of_kind(proposal: &Proposal, kind: TransformType) -> impl Iterator<Item = &Transform> {
    proposal.transforms.iter().filter(move |transform| transform.kind == kind)
}

/// A kind is settled: which value, and which of the peer's transforms says so (none, if both mean a default).
type Settled<T> = (Option<T>, Option<Transform>);

/// Settles one kind: the first of `ours` that the peer lists too.
///
/// `none` is the value that means "not used"; a peer may list it or leave the kind out.
fn settle<T: Copy + PartialEq>(
    ours: &[T],
    proposal: &Proposal,
    kind: TransformType,
    read: impl Fn(&Transform) -> Option<T>,
    none: Option<T>,
) -> Option<Settled<T>> {
    let listed = || of_kind(proposal, kind).filter(|transform| transform.other_attributes.is_empty());
    let find = |value: T| listed().find(|transform| read(transform) == Some(value)).cloned();
    if of_kind(proposal, kind).next().is_none() {
        // The peer leaves the kind out: fine if we do too, or if we also like what leaving it out means.
        let fits = ours.is_empty() || none.is_some_and(|none| ours.contains(&none));
        return fits.then_some((none.filter(|_| !ours.is_empty()), None));
    }
    if ours.is_empty() {
        return none.and_then(find).map(|transform| (None, Some(transform)));
    }
    ours.iter().find_map(|value| find(*value).map(|transform| (Some(*value), Some(transform))))
}

fn encr_of(transform: &Transform) -> Option<Encr> {
    let encr = Encr { id: EncrId(transform.id), key_bits: transform.key_bits };
    encr.is_known().then_some(encr)
}

/// A reader for kinds whose transforms have no Key Length.
fn plain<T>(make: impl Fn(u16) -> T) -> impl Fn(&Transform) -> Option<T> {
    move |transform| transform.key_bits.is_none().then(|| make(transform.id))
}

/// Whether `proposal` has a kind of transform that nobody here knows: it cannot be chosen (RFC 7296 §3.3.6).
fn has_unknown_kind(proposal: &Proposal) -> bool {
    proposal.transforms.iter().any(|transform| !TransformType::KNOWN.contains(&transform.kind))
}

fn answer(proposal: &Proposal, transforms: impl IntoIterator<Item = Option<Transform>>) -> Proposal {
    Proposal { transforms: transforms.into_iter().flatten().collect(), ..proposal.clone() }
}

/// Chooses the algorithms of an IKE SA: our first offer that one of theirs meets.
///
/// `sent` is the method of the peer's KE payload: among methods both like it is taken first, to save a round trip.
#[must_use]
pub fn choose_ike(ours: &[Offer], theirs: &Sa, sent: Option<KeId>) -> Option<Choice<IkeSuite>> {
    ours.iter()
        .find_map(|offer| theirs.proposals.iter().find_map(|proposal| ike_match(offer, proposal, sent)))
}

fn ike_match(offer: &Offer, proposal: &Proposal, sent: Option<KeId>) -> Option<Choice<IkeSuite>> {
    if proposal.protocol != ProtocolId::IKE || has_unknown_kind(proposal) {
        return None;
    }
    let (encr, encr_t) = settle(&offer.encr, proposal, TransformType::ENCR, encr_of, None)?;
    let (prf, prf_t) = settle(&offer.prf, proposal, TransformType::PRF, plain(PrfId), None)?;
    let (integ, integ_t) =
        settle(&offer.integ, proposal, TransformType::INTEG, plain(IntegId), Some(IntegId::NONE))?;
    let preferred: Vec<KeId> =
        sent.into_iter().filter(|id| offer.ke.contains(id)).chain(offer.ke.clone()).collect();
    let (ke, ke_t) = settle(&preferred, proposal, TransformType::KE, plain(KeId), None)?;
    if of_kind(proposal, TransformType::ESN).next().is_some() {
        return None;
    }
    let (encr, prf, ke) = (encr?, prf?, ke?);
    let suite = IkeSuite { encr, prf, integ: integ.filter(|id| *id != IntegId::NONE), ke };
    is_sound(encr, suite.integ).then(|| Choice {
        suite,
        spi: proposal.spi.clone(),
        answer: answer(proposal, [encr_t, prf_t, integ_t, ke_t]),
    })
}

/// An AEAD goes alone, any other cipher with an integrity algorithm.
fn is_sound(encr: Encr, integ: Option<IntegId>) -> bool {
    encr.is_aead() == integ.is_none() && integ.is_none_or(|id| suite::integ_key_len(id).is_some())
}

/// Chooses the algorithms of an ESP SA. Offers and proposals without KE make one that is keyed from the IKE SA alone.
#[must_use]
pub fn choose_esp(ours: &[Offer], theirs: &Sa, sent: Option<KeId>) -> Option<Choice<EspSuite>> {
    ours.iter()
        .find_map(|offer| theirs.proposals.iter().find_map(|proposal| esp_match(offer, proposal, sent)))
}

fn esp_match(offer: &Offer, proposal: &Proposal, sent: Option<KeId>) -> Option<Choice<EspSuite>> {
    if proposal.protocol != ProtocolId::ESP || proposal.spi.len() != 4 || has_unknown_kind(proposal) {
        return None;
    }
    let (encr, encr_t) = settle(&offer.encr, proposal, TransformType::ENCR, encr_of, None)?;
    let (integ, integ_t) =
        settle(&offer.integ, proposal, TransformType::INTEG, plain(IntegId), Some(IntegId::NONE))?;
    let preferred: Vec<KeId> =
        sent.into_iter().filter(|id| offer.ke.contains(id)).chain(offer.ke.clone()).collect();
    let (ke, ke_t) = settle(&preferred, proposal, TransformType::KE, plain(KeId), Some(KeId::NONE))?;
    let (esn, esn_t) = settle(&offer.esn, proposal, TransformType::ESN, plain(EsnId), Some(EsnId::NO_ESN))?;
    if of_kind(proposal, TransformType::PRF).next().is_some() {
        return None;
    }
    let encr = encr?;
    let suite = EspSuite {
        encr,
        integ: integ.filter(|id| *id != IntegId::NONE),
        ke: ke.filter(|id| *id != KeId::NONE),
        esn: esn == Some(EsnId::ESN),
    };
    is_sound(encr, suite.integ).then(|| Choice {
        suite,
        spi: proposal.spi.clone(),
        answer: answer(proposal, [encr_t, integ_t, ke_t, esn_t]),
    })
}

/// The one proposal of a response, if it is one that answers the offer of its number with one transform a kind.
fn sole_answer<'a>(ours: &'a [Offer], theirs: &'a Sa) -> Option<(&'a Offer, &'a Proposal)> {
    let [proposal] = theirs.proposals.as_slice() else { return None };
    let offer = ours.get(usize::from(proposal.number.checked_sub(1)?))?;
    let single = TransformType::KNOWN.iter().all(|kind| of_kind(proposal, *kind).count() <= 1);
    single.then_some((offer, proposal))
}

/// Checks a responder's choice against what we offered.
#[must_use]
pub fn accept_ike(ours: &[Offer], theirs: &Sa) -> Option<Choice<IkeSuite>> {
    let (offer, proposal) = sole_answer(ours, theirs)?;
    ike_match(offer, proposal, None)
}

/// Checks a responder's choice against what we offered.
#[must_use]
pub fn accept_esp(ours: &[Offer], theirs: &Sa) -> Option<Choice<EspSuite>> {
    let (offer, proposal) = sole_answer(ours, theirs)?;
    esp_match(offer, proposal, None)
}

/// The initiator's key, if it is one of the chosen `method` (RFC 7296 §1.3, §3.4).
///
/// # Errors
/// INVALID_KE_PAYLOAD naming `method`, or INVALID_SYNTAX for a key of another length than the method's.
pub fn expect_key(method: KeId, sent: Option<&Ke>) -> Result<&Ke, Error> {
    let ke = sent.filter(|ke| ke.method == method).ok_or_else(|| {
        let what = match sent {
            Some(ke) => format!("the peer's key is of method {}, {method} is wanted", ke.method),
            None => format!("a key of method {method} is wanted"),
        };
        let data = method.0.to_be_bytes().to_vec();
        Error::incompatible(NotifyType::INVALID_KE_PAYLOAD, what).with_data(data)
    })?;
    let fits = suite::ke_lens(method).is_some_and(|(public, _)| public == ke.data.len());
    fits.then_some(ke).ok_or_else(|| Error::malformed("the KE payload's length is not its method's"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Attribute, AttributeValue};

    fn esp(encr: Encr, integ: &[IntegId], esn: &[EsnId]) -> Offer {
        Offer { encr: vec![encr], integ: integ.to_vec(), esn: esn.to_vec(), ..Offer::default() }
    }

    fn esp_payload(offers: &[Offer]) -> Sa {
        to_payload(offers, ProtocolId::ESP, &[1, 2, 3, 4])
    }

    #[test]
    fn defaults_choose_themselves() {
        let ike = Offer::ike_defaults();
        let chosen = choose_ike(&ike, &to_payload(&ike, ProtocolId::IKE, &[]), None).unwrap();
        assert_eq!(chosen.suite.to_string(), "ENCR_AES_GCM_16-256/PRF_HMAC_SHA2_256/CURVE25519");
        let answer = Sa { proposals: vec![chosen.answer] };
        assert_eq!(accept_ike(&ike, &answer).unwrap().suite, chosen.suite);
    }

    #[test]
    fn the_method_already_sent_is_taken_if_we_like_it() {
        let ike = Offer::ike_defaults();
        let payload = to_payload(&ike, ProtocolId::IKE, &[]);
        assert_eq!(choose_ike(&ike, &payload, Some(KeId::ECP384)).unwrap().suite.ke, KeId::ECP384);
        assert_eq!(choose_ike(&ike, &payload, Some(KeId::MODP1024)).unwrap().suite.ke, KeId::CURVE25519);
    }

    #[test]
    fn a_peer_that_says_nothing_of_sequence_numbers_means_no_esn() {
        let ours = [esp(Encr::AES_256_GCM, &[], &[EsnId::ESN, EsnId::NO_ESN])];
        let theirs = esp_payload(&[esp(Encr::AES_256_GCM, &[], &[])]);
        let chosen = choose_esp(&ours, &theirs, None).unwrap();
        assert!(!chosen.suite.esn);
        assert!(chosen.answer.transforms.iter().all(|t| t.kind != TransformType::ESN));
        let only_esn = [esp(Encr::AES_256_GCM, &[], &[EsnId::ESN])];
        assert_eq!(choose_esp(&only_esn, &theirs, None), None);
    }

    #[test]
    fn an_aead_takes_no_integrity_but_the_transform_none() {
        let ours = [esp(Encr::AES_256_GCM, &[], &[EsnId::NO_ESN])];
        let with = |integ| esp_payload(&[esp(Encr::AES_256_GCM, &[integ], &[EsnId::NO_ESN])]);
        assert!(choose_esp(&ours, &with(IntegId::NONE), None).is_some());
        assert_eq!(choose_esp(&ours, &with(IntegId::HMAC_SHA2_256_128), None), None);
    }

    #[test]
    fn a_cipher_without_integrity_is_never_chosen_even_if_configured() {
        let naked = [esp(Encr::AES_256_CBC, &[], &[EsnId::NO_ESN])];
        assert_eq!(choose_esp(&naked, &esp_payload(&naked), None), None);
    }

    #[test]
    fn key_length_zero_unknown_attributes_and_unknown_kinds_are_never_chosen() {
        let ours = [esp(Encr::AES_256_GCM, &[], &[EsnId::NO_ESN])];
        let good = esp_payload(&ours);
        assert!(choose_esp(&ours, &good, None).is_some());
        let mut zero = good.clone();
        zero.proposals[0].transforms[0].key_bits = Some(0);
        assert_eq!(choose_esp(&ours, &zero, None), None);
        let mut unknown = good.clone();
        unknown.proposals[0].transforms.push(Transform {
            kind: TransformType(200),
            id: 1,
            key_bits: None,
            other_attributes: Vec::new(),
        });
        assert_eq!(choose_esp(&ours, &unknown, None), None);
        let mut wrong_spi = good;
        wrong_spi.proposals[0].spi = vec![1];
        assert_eq!(choose_esp(&ours, &wrong_spi, None), None);
    }

    #[test]
    fn an_unknown_transform_or_attribute_leaves_the_others_acceptable() {
        let ours = [esp(Encr::AES_256_GCM, &[], &[EsnId::NO_ESN])];
        let good = esp_payload(&ours);
        let known = good.proposals[0].transforms[0].clone();
        let odd = Attribute { kind: 99, value: AttributeValue::Short(1) };
        let unknown = Transform { id: 60_000, key_bits: None, ..known.clone() };
        let strange = Transform { other_attributes: vec![odd], ..known.clone() };
        // In front of the one we want, or alone.
        for unacceptable in [unknown, strange] {
            let mut beside = good.clone();
            beside.proposals[0].transforms.insert(0, unacceptable.clone());
            let chosen = choose_esp(&ours, &beside, None).unwrap();
            assert_eq!(chosen.answer.transforms[0], known);
            let mut alone = good.clone();
            alone.proposals[0].transforms[0] = unacceptable;
            assert_eq!(choose_esp(&ours, &alone, None), None);
            // Another proposal is not touched by it.
            alone.proposals.push(Proposal { number: 2, ..good.proposals[0].clone() });
            assert_eq!(choose_esp(&ours, &alone, None).unwrap().answer.number, 2);
        }
    }

    #[test]
    fn an_answer_we_did_not_offer_is_refused() {
        let ours = Offer::ike_defaults();
        let chosen = choose_ike(&ours, &to_payload(&ours, ProtocolId::IKE, &[]), None).unwrap();
        let good = Sa { proposals: vec![chosen.answer] };
        let mut number = good.clone();
        number.proposals[0].number = 2;
        assert_eq!(accept_ike(&ours, &number), None);
        let mut weaker = good.clone();
        weaker.proposals[0].transforms[0].key_bits = Some(128);
        assert_eq!(accept_ike(&ours, &weaker), None);
        let mut twice = good.clone();
        let ke = twice.proposals[0].transforms.last().unwrap().clone();
        twice.proposals[0].transforms.push(Transform { id: KeId::ECP256.0, ..ke });
        assert_eq!(accept_ike(&ours, &twice), None);
        let two = Sa { proposals: vec![good.proposals[0].clone(), good.proposals[0].clone()] };
        assert_eq!(accept_ike(&ours, &two), None);
    }

    #[test]
    fn pfs_is_required_where_the_offer_has_it() {
        let mut with = esp(Encr::AES_256_GCM, &[], &[EsnId::NO_ESN]);
        with.ke = vec![KeId::MODP3072];
        let without = with.without_ke();
        let ours = [with.clone()];
        assert_eq!(choose_esp(&ours, &esp_payload(core::slice::from_ref(&without)), None), None);
        assert_eq!(
            choose_esp(&ours, &esp_payload(&[with.clone()]), None).unwrap().suite.ke,
            Some(KeId::MODP3072)
        );
        assert_eq!(choose_esp(&[without], &esp_payload(&[with]), None), None);
    }
}
