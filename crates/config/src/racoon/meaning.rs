//! Which options of a file mean what comes nearest in IKEv2: noted from the statements as they were read, for whoever moves.

use core::ops::Range;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::algorithms::{self, Fate as AlgorithmFate, Phase};
use super::ast::{
    CertificateOption, ListenOption, NumberOption, ProposalOption, Remark, RemoteOption, SaInfoOption,
    Spanned, StatementKind, Switch, TimerOption, WrittenAlgorithm,
};
use super::include::Placed;
use super::model::GeneratePolicy;
use super::options::{Block, Fate, OPTIONS};
use crate::diag::{Diagnostics, Note, Source};

/// Characters of an option that are shown.
const LONGEST_SHOWN: usize = 60;

/// Notes each option whose row says "nearest meaning": once, where it is used first.
pub(super) fn note(statements: &[Placed], diagnostics: &mut Diagnostics) {
    let mut notes = Notes { noted: BTreeSet::new(), diagnostics };
    for Placed { statement, .. } in statements {
        let source = &statement.source;
        match &statement.kind {
            StatementKind::Listen(options) => notes.all(source, Block::Listen, options, listen),
            StatementKind::Timer(options) => notes.all(source, Block::Timer, options, timer),
            StatementKind::Remote(block) => {
                notes.all(source, Block::Remote, &block.options, remote);
                for option in &block.options {
                    if let RemoteOption::Proposal(block) = &option.value {
                        notes.all(source, Block::Proposal, &block.options, proposal);
                    }
                }
            }
            StatementKind::SaInfo(block) => notes.all(source, Block::SaInfo, &block.options, sainfo),
            _ => {}
        }
    }
}

struct Notes<'d> {
    noted: BTreeSet<(Block, &'static str)>,
    diagnostics: &'d mut Diagnostics,
}

impl Notes<'_> {
    /// Notes those of a block's options of which `begin` gives the beginning of a row of the table.
    fn all<T>(
        &mut self,
        source: &Arc<Source>,
        block: Block,
        options: &[Spanned<T>],
        begin: impl Fn(&T) -> Option<&'static str>,
    ) {
        for option in options {
            let Some(begin) = begin(&option.value) else { continue };
            let row = OPTIONS.iter().find(|row| {
                row.block == block
                    && row.written.strip_prefix(begin).is_some_and(|rest| rest.starts_with([' ', ';']))
            });
            let Some(row) = row.filter(|row| row.fate == Fate::Nearest) else { continue };
            if self.noted.insert((row.block, row.written)) {
                let keyword = row.written.split([' ', ';']).next().unwrap_or_default();
                self.diagnostics.note(Note {
                    place: source.place(option.span.start),
                    block: block.to_string(),
                    written: shown(source, &option.span, keyword),
                    meaning: row.meaning,
                });
            }
        }
    }
}

/// The option as the file has it, on one line; spans begin at the keyword or at the value.
fn shown(source: &Arc<Source>, span: &Range<usize>, keyword: &str) -> String {
    let text = source.quote_to(span.start, b';', LONGEST_SHOWN);
    match text.starts_with(keyword) {
        true => text,
        false => format!("{keyword} {text}"),
    }
}

const fn listen(option: &ListenOption) -> Option<&'static str> {
    match option {
        ListenOption::AdminSocket { .. } => Some("adminsock \"/var/run/racoon.sock\""),
        _ => None,
    }
}

const fn timer(option: &TimerOption) -> Option<&'static str> {
    match option {
        TimerOption::Counter(_) => Some("counter"),
        TimerOption::Interval(_) => Some("interval"),
        TimerOption::Phase1(_) => Some("phase1"),
        TimerOption::Phase2(_) => Some("phase2"),
        _ => None,
    }
}

const fn remote(option: &RemoteOption) -> Option<&'static str> {
    match option {
        RemoteOption::Switch(Switch::VerifyIdentifier, false) => Some("verify_identifier off"),
        RemoteOption::Switch(Switch::VerifyCert, false) => Some("verify_cert off"),
        RemoteOption::Certificate(CertificateOption::OwnPlainRsa(_)) => Some("certificate_type plain_rsa"),
        RemoteOption::Certificate(CertificateOption::PeersPlainRsa(_)) => Some("peers_certfile plain_rsa"),
        RemoteOption::IkeFrag(true) => Some("ike_frag on"),
        RemoteOption::Number(NumberOption::DpdDelay, _) => Some("dpd_delay"),
        RemoteOption::Number(NumberOption::DpdRetry, _) => Some("dpd_retry"),
        RemoteOption::Number(NumberOption::DpdMaxfail, _) => Some("dpd_maxfail"),
        RemoteOption::GeneratePolicy(GeneratePolicy::Require | GeneratePolicy::Unique) => {
            Some("generate_policy on")
        }
        RemoteOption::Remark(Remark::Rekey) => Some("rekey on"),
        _ => None,
    }
}

fn proposal(option: &ProposalOption) -> Option<&'static str> {
    match option {
        ProposalOption::Encryption(algorithm) if is_addition(algorithm, Phase::Ike) => {
            Some("encryption_algorithm aes_gcm_16")
        }
        ProposalOption::Authentication(method) if method == "rsasig" => Some("authentication_method rsasig"),
        ProposalOption::DhGroup(group) if algorithms::is_elliptic(group) => Some("dh_group curve25519"),
        _ => None,
    }
}

fn sainfo(option: &SaInfoOption) -> Option<&'static str> {
    match option {
        SaInfoOption::Encryption(list) if list.iter().any(|one| is_addition(one, Phase::Esp)) => {
            Some("encryption_algorithm aes_gcm_16")
        }
        _ => None,
    }
}

/// A cipher that racoon did not have.
fn is_addition(algorithm: &WrittenAlgorithm, phase: Phase) -> bool {
    match algorithms::encryption(&algorithm.name, algorithm.bits, phase) {
        AlgorithmFate::Sound(cipher) => cipher.aead,
        _ => false,
    }
}
