//! `proposal`: one IKE proposal each, weak algorithms replaced, duplicates collapsed.

use core::ops::Range;
use core::time::Duration;
use std::sync::Arc;

use ike_proto::wire::registry::{IntegId, PrfId};

use super::remote::WrittenProposal;
use super::{LIFETIME_BYTE, Lowering};
use crate::diag::Source;
use crate::racoon::algorithms::{self, Cipher, DEFAULT_GROUPS, DEFAULT_GROUPS_TEXT, Fate, Phase};
use crate::racoon::ast::{ProposalOption, Spanned, WrittenAlgorithm};
use crate::racoon::feature::Feature;
use crate::racoon::model::{Authentication, IkeProposal};
use crate::spelling::nearest;

/// What is used instead of a weak hash.
const DEFAULT_HASH: (PrfId, IntegId) = (PrfId::HMAC_SHA2_256, IntegId::HMAC_SHA2_256_128);

/// The last line of each kind in a block.
#[derive(Default)]
struct Lines {
    lifetime: Option<Duration>,
    encryption: Option<Spanned<WrittenAlgorithm>>,
    hash: Option<Spanned<String>>,
    method: Option<Spanned<String>>,
    group: Option<Spanned<String>>,
}

impl Lowering<'_> {
    /// The proposals of one remote in order; those that say the same twice are there once, those with a cipher that Coati
    /// does not have are left out.
    pub(super) fn proposals(&mut self, written: &[WrittenProposal], lifetime: Duration) -> Vec<IkeProposal> {
        let mut proposals: Vec<IkeProposal> = Vec::new();
        let has_others = written.iter().any(|written| missing_cipher(written).is_none());
        for written in written {
            if let Some((value, span)) = missing_cipher(written).filter(|_| has_others) {
                let message = format!("Coati does not have `{}`: this proposal is left out", value.name);
                self.warn(&written.source, span, message);
                continue;
            }
            let Some(proposal) = self.proposal(written, lifetime) else { continue };
            let says_the_same = |other: &IkeProposal| {
                *other
                    == IkeProposal {
                        place: other.place.clone(),
                        lifetime: other.lifetime,
                        ..proposal.clone()
                    }
            };
            if !proposals.iter().any(says_the_same) {
                proposals.push(proposal);
            }
        }
        proposals
    }

    fn proposal(&mut self, written: &WrittenProposal, lifetime: Duration) -> Option<IkeProposal> {
        let (source, span) = (&written.source, written.span.clone());
        let lines = self.proposal_lines(source, &written.block.options);
        let missing = [
            (lines.encryption.is_none(), "encryption_algorithm"),
            (lines.hash.is_none(), "hash_algorithm"),
            (lines.method.is_none(), "authentication_method"),
            (lines.group.is_none(), "dh_group"),
        ];
        for (_, name) in missing.iter().filter(|(missing, _)| *missing && !written.block.broken) {
            self.error(source, span.clone(), format!("this proposal has no `{name}`"));
        }
        let cipher = lines.encryption.and_then(|line| self.cipher(source, &line));
        let hash = lines.hash.and_then(|line| self.hash(source, &line));
        let auth = lines.method.and_then(|line| self.method(source, &line));
        let ke = lines.group.and_then(|line| self.groups(source, &line.value, line.span));
        let (cipher, (prf, integ), auth, ke) = (cipher?, hash?, auth?, ke?);
        Some(IkeProposal {
            place: source.place(span.start),
            encr: cipher.encr,
            key_bits: cipher.key_bits,
            integ: (!cipher.aead).then_some(integ),
            prf,
            ke,
            auth,
            lifetime: lines.lifetime.unwrap_or(lifetime),
        })
    }

    fn proposal_lines(&mut self, source: &Arc<Source>, options: &[Spanned<ProposalOption>]) -> Lines {
        let mut lines = Lines::default();
        for option in options {
            let span = option.span.clone();
            let word = |value: &String| Some(Spanned { value: value.clone(), span: span.clone() });
            match &option.value {
                ProposalOption::Lifetime(time) => lines.lifetime = Some(*time),
                ProposalOption::LifetimeByte => {
                    self.error(source, span, LIFETIME_BYTE);
                }
                ProposalOption::Encryption(value) => {
                    lines.encryption = Some(Spanned { value: value.clone(), span });
                }
                ProposalOption::Hash(value) => lines.hash = word(value),
                ProposalOption::Authentication(value) => lines.method = word(value),
                ProposalOption::DhGroup(value) => lines.group = word(value),
                // Kerberos itself is refused with its authentication method.
                ProposalOption::GssId => {}
            }
        }
        lines
    }

    fn cipher(&mut self, source: &Arc<Source>, line: &Spanned<WrittenAlgorithm>) -> Option<Cipher> {
        let name = &line.value.name;
        match algorithms::encryption(name, line.value.bits, Phase::Ike) {
            Fate::Sound(cipher) => Some(cipher),
            Fate::Weak => {
                self.warn_weak(
                    source,
                    line.span.clone(),
                    format!("`{name}` is weak and never used: AES-256-GCM is used instead"),
                );
                Some(Cipher::DEFAULT)
            }
            Fate::Missing => {
                let message = format!("Coati does not have `{name}`");
                self.error_with_help(source, line.span.clone(), message, "write `aes 256`");
                None
            }
            Fate::Refused(why) => self.refuse(source, line.span.clone(), why),
        }
    }

    fn hash(&mut self, source: &Arc<Source>, line: &Spanned<String>) -> Option<(PrfId, IntegId)> {
        match algorithms::hash(&line.value) {
            Fate::Sound(hash) => Some(hash),
            Fate::Weak => {
                let message = format!("`{}` is weak and never used: SHA2-256 is used instead", line.value);
                self.warn_weak(source, line.span.clone(), message);
                Some(DEFAULT_HASH)
            }
            Fate::Missing => {
                self.refuse(source, line.span.clone(), format!("Coati does not have `{}`", line.value))
            }
            Fate::Refused(why) => self.refuse(source, line.span.clone(), why),
        }
    }

    fn method(&mut self, source: &Arc<Source>, line: &Spanned<String>) -> Option<Authentication> {
        match algorithms::method(&line.value) {
            Ok(method) => {
                if method == Authentication::Signature {
                    self.uses(Feature::Signatures, source, &line.span);
                }
                Some(method)
            }
            Err(why) => {
                let help = "write `pre_shared_key` or `rsasig`, on both ends";
                self.error_with_help(source, line.span.clone(), why, help);
                None
            }
        }
    }

    /// The groups for a line `dh_group` or `pfs_group`: the one written, or the defaults for a weak one.
    pub(super) fn groups(
        &mut self,
        source: &Arc<Source>,
        written: &str,
        span: Range<usize>,
    ) -> Option<Vec<ike_proto::wire::registry::KeId>> {
        match algorithms::group(written) {
            Fate::Sound(group) => Some(vec![group]),
            Fate::Weak => {
                let message = format!(
                    "group `{written}` is weak and never used: {DEFAULT_GROUPS_TEXT} are used instead"
                );
                self.warn_weak(source, span, message);
                Some(DEFAULT_GROUPS.to_vec())
            }
            Fate::Missing => self.refuse(source, span, format!("Coati does not have group `{written}`")),
            Fate::Refused(why) => {
                match nearest(written, algorithms::GROUP_NAMES.iter().copied()) {
                    Some(near) if near != written => {
                        self.error_with_help(source, span, why, format!("did you mean `{near}`?"));
                    }
                    _ => self.error(source, span, why),
                }
                None
            }
        }
    }

    /// Reports an error and gives nothing.
    pub(super) fn refuse<T>(&mut self, source: &Arc<Source>, span: Range<usize>, why: String) -> Option<T> {
        self.error(source, span, why);
        None
    }
}

/// The cipher of a proposal and its place, if Coati does not have it.
fn missing_cipher(written: &WrittenProposal) -> Option<(&WrittenAlgorithm, Range<usize>)> {
    let last = written.block.options.iter().rev().find_map(|option| match &option.value {
        ProposalOption::Encryption(value) => Some((value, option.span.clone())),
        _ => None,
    });
    last.filter(|(value, _)| algorithms::encryption(&value.name, value.bits, Phase::Ike) == Fate::Missing)
}
