//! `sainfo`: its selector, and each listed cipher with each listed integrity algorithm.

use core::ops::Range;
use core::time::Duration;
use std::path::Path;
use std::sync::Arc;

use ike_proto::wire::registry::{IntegId, KeId};

use super::{LIFETIME_BYTE, Lowering};
use crate::diag::{Diagnostic, Severity, Source};
use crate::net::{IpNet, full_prefix};
use crate::racoon::algorithms::{self, Cipher, Fate, Phase};
use crate::racoon::ast::{SaInfoBlock, SaInfoOption, SaInfoSide, Spanned, WrittenAlgorithm};
use crate::racoon::feature::Feature;
use crate::racoon::model::{DEFAULT_LIFETIME, EspProposal, SaInfo, SaInfoId};

/// One list line: its span, and its algorithms.
type Line = Spanned<Vec<WrittenAlgorithm>>;

/// The lines of a block.
#[derive(Default)]
struct Lines {
    pfs: Vec<KeId>,
    remoteid: u32,
    lifetime: Option<Duration>,
    encryption: Vec<Line>,
    authentication: Vec<Line>,
    compression: bool,
    /// Whether a statement could not be read: what seems to be missing may be that one.
    broken: bool,
}

impl Lowering<'_> {
    /// Takes in one block.
    pub(super) fn sainfo(
        &mut self,
        source: &Arc<Source>,
        directory: &Path,
        span: Range<usize>,
        block: SaInfoBlock,
    ) {
        if let Some(group) = block.group {
            let message = "`group` is for XAuth groups, which IKEv2 does not have: leaving the restriction out would weaken security";
            self.error(source, group, message);
        }
        let from = block.from.as_ref().and_then(|id| self.identifier(source, directory, id));
        let local = self.sainfo_side(source, directory, block.local);
        let remote = self.sainfo_side(source, directory, block.remote);
        if [&local, &remote].iter().any(|side| matches!(side, Some(SaInfoId::Name(_)))) {
            let message = "a sainfo for a name matches nothing: traffic selectors of IKEv2 are addresses";
            self.warn(source, span.clone(), message);
        }
        if let Some(id) = &block.from {
            self.uses(Feature::SaInfoFrom, source, &id.span);
        }
        let broken = block.broken;
        let lines = Lines { broken, ..self.sainfo_lines(source, block.options) };
        let proposals = self.esp_proposals(source, &span, &lines);
        if !lines.compression && !broken {
            let help = "write `compression_algorithm deflate;`: racoon's grammar asks for it, though nothing is compressed";
            self.error_with_help(source, span.clone(), "this sainfo has no `compression_algorithm`", help);
        }
        let (Some(local), Some(remote)) = (local, remote) else { return };
        self.config.sainfos.push(SaInfo {
            place: source.place(span.start),
            local,
            remote,
            from,
            remoteid: lines.remoteid,
            pfs: lines.pfs,
            lifetime: lines.lifetime.unwrap_or(DEFAULT_LIFETIME),
            proposals,
        });
    }

    fn sainfo_side(&mut self, source: &Arc<Source>, directory: &Path, side: SaInfoSide) -> Option<SaInfoId> {
        match side {
            SaInfoSide::Anonymous => Some(SaInfoId::Any),
            SaInfoSide::ClientAddress => Some(SaInfoId::ClientAddress),
            SaInfoSide::Net { addr, last: Some(last), port, protocol, .. } => {
                Some(SaInfoId::Range { first: addr, last, port, protocol })
            }
            SaInfoSide::Net { addr, prefix, last: None, port, protocol } => {
                let net = IpNet { addr, prefix: prefix.unwrap_or(full_prefix(addr)) };
                Some(SaInfoId::Net { net, port, protocol })
            }
            SaInfoSide::Id(id) => self.identifier(source, directory, &id).map(SaInfoId::Name),
        }
    }

    fn sainfo_lines(&mut self, source: &Arc<Source>, options: Vec<Spanned<SaInfoOption>>) -> Lines {
        let mut lines = Lines::default();
        for option in options {
            let span = option.span;
            match option.value {
                SaInfoOption::PfsGroup(group) => {
                    lines.pfs = self.groups(source, &group, span).unwrap_or_default();
                }
                SaInfoOption::RemoteId(id) => {
                    lines.remoteid = id;
                    self.uses(Feature::RemoteId, source, &span);
                }
                SaInfoOption::Lifetime(time) => lines.lifetime = Some(time),
                SaInfoOption::LifetimeByte => {
                    self.error(source, span, LIFETIME_BYTE);
                }
                SaInfoOption::Encryption(value) => lines.encryption.push(Spanned { value, span }),
                SaInfoOption::Authentication(value) => lines.authentication.push(Spanned { value, span }),
                SaInfoOption::Compression => lines.compression = true,
            }
        }
        lines
    }

    /// Weak algorithms leave the lists; a list that is left empty gets the default. Then each with each.
    fn esp_proposals(
        &mut self,
        source: &Arc<Source>,
        span: &Range<usize>,
        lines: &Lines,
    ) -> Vec<EspProposal> {
        let cipher = |algorithm: &WrittenAlgorithm| {
            algorithms::encryption(&algorithm.name, algorithm.bits, Phase::Esp)
        };
        let integ = |algorithm: &WrittenAlgorithm| match algorithm.bits {
            None => algorithms::authentication(&algorithm.name),
            Some(_) => Fate::Refused(format!("`{}` takes no key length", algorithm.name)),
        };
        let mut ciphers = self.fates(source, &lines.encryption, cipher);
        self.warn_of_weak(
            source,
            &lines.encryption,
            cipher,
            "AES-256-GCM is used instead",
            ciphers.is_empty(),
        );
        if ciphers.is_empty() {
            ciphers.push(Cipher::DEFAULT);
        }
        let needs_integrity = ciphers.iter().any(|cipher| !cipher.aead);
        let mut integs: Vec<IntegId> = self.fates(source, &lines.authentication, integ);
        let instead = if needs_integrity {
            "HMAC-SHA2-256 is used instead"
        } else {
            "the cipher authenticates by itself"
        };
        self.warn_of_weak(source, &lines.authentication, integ, instead, integs.is_empty());
        if lines.encryption.is_empty() && !lines.broken {
            self.error(source, span.clone(), "this sainfo has no `encryption_algorithm`");
        }
        if lines.authentication.is_empty() && needs_integrity && !lines.broken {
            self.error(source, span.clone(), "this sainfo has no `authentication_algorithm`");
        }
        if integs.is_empty() {
            integs.push(IntegId::HMAC_SHA2_256_128);
        }
        let mut proposals = Vec::new();
        for cipher in ciphers {
            for integ in &integs {
                let proposal = cipher.with(Some(*integ));
                if !proposals.contains(&proposal) {
                    proposals.push(proposal);
                }
            }
        }
        proposals
    }

    /// The sound ones of some lists, once each; refused ones are reported.
    fn fates<T: PartialEq>(
        &mut self,
        source: &Arc<Source>,
        lines: &[Line],
        fate: impl Fn(&WrittenAlgorithm) -> Fate<T>,
    ) -> Vec<T> {
        let mut sound = Vec::new();
        let all = || lines.iter().flat_map(|line| &line.value);
        let has_others = all().any(|algorithm| matches!(fate(algorithm), Fate::Sound(_) | Fate::Weak));
        for algorithm in all() {
            match fate(algorithm) {
                Fate::Sound(value) if !sound.contains(&value) => sound.push(value),
                Fate::Sound(_) | Fate::Weak => {}
                Fate::Missing => {
                    let message = format!("Coati does not have `{}`", algorithm.name);
                    match has_others {
                        true => self.warn(
                            source,
                            algorithm.span.clone(),
                            format!("{message}: the others are used"),
                        ),
                        false => {
                            self.error_with_help(source, algorithm.span.clone(), message, "add `aes 256`")
                        }
                    }
                }
                Fate::Refused(why) => self.error(source, algorithm.span.clone(), why),
            }
        }
        sound
    }

    /// One warning for each line with weak algorithms in it.
    fn warn_of_weak<T>(
        &mut self,
        source: &Arc<Source>,
        lines: &[Line],
        fate: impl Fn(&WrittenAlgorithm) -> Fate<T>,
        instead: &str,
        none_left: bool,
    ) {
        for line in lines {
            let weak: Vec<&WrittenAlgorithm> =
                line.value.iter().filter(|algorithm| matches!(fate(algorithm), Fate::Weak)).collect();
            let Some(first) = weak.first() else { continue };
            let names =
                weak.iter().map(|algorithm| format!("`{}`", algorithm.name)).collect::<Vec<_>>().join(", ");
            let verb = if weak.len() == 1 { "is weak and never used" } else { "are weak and never used" };
            let rest = if none_left { instead } else { "the others that are listed are used" };
            self.warn_weak(source, first.span.clone(), format!("{names} {verb}: {rest}"));
        }
    }

    /// Sorts by specificity. Two blocks for the same, whatever their ports, are an error; but as in racoon a second one is only
    /// never reached if its local end is anonymous or its remote end `clientaddr`.
    pub(super) fn finish_sainfos(&mut self) {
        let sainfos = &mut self.config.sainfos;
        sainfos.sort_by_key(|sainfo| core::cmp::Reverse(sainfo.specificity()));
        let key = |sainfo: &SaInfo| {
            let ends = (without_port(&sainfo.local), without_port(&sainfo.remote));
            format!("{:?}", (ends, &sainfo.from, sainfo.remoteid))
        };
        let mut first_of = std::collections::BTreeMap::new();
        for sainfo in &*sainfos {
            let Some(first) = first_of.get(&key(sainfo)) else {
                first_of.insert(key(sainfo), sainfo.place.clone());
                continue;
            };
            let passed = sainfo.local == SaInfoId::Any || sainfo.remote == SaInfoId::ClientAddress;
            let has_port = [&sainfo.local, &sainfo.remote].iter().any(|id| without_port(id) != **id);
            let (severity, end) = match (passed, has_port) {
                (true, _) => (Severity::Warning, ", which is used"),
                (false, true) => (Severity::Error, ", and ports do not count"),
                (false, false) => (Severity::Error, ""),
            };
            let message = format!("a second sainfo for the same traffic: the first is at {first}{end}");
            self.diagnostics.push(Diagnostic::about_place(severity, sainfo.place.clone(), message));
        }
    }
}

/// The end without its port, which is not compared.
fn without_port(id: &SaInfoId) -> SaInfoId {
    let mut id = id.clone();
    if let SaInfoId::Net { port, .. } | SaInfoId::Range { port, .. } = &mut id {
        *port = None;
    }
    id
}
