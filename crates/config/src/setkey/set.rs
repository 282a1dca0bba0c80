//! From commands to the set of policies they leave behind.

use std::collections::BTreeMap;

use super::model::{
    Action, Command, Direction, Level, Mode, PolicyAction, PolicyFile, Rule, RuleProtocol, SpdPolicy,
    SpdSelector,
};
use crate::diag::{Diagnostic, Diagnostics, Place, Severity};

/// Whether each `in` policy gets its `fwd` copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FwdCopies {
    /// As `setkey` and `setkey -r`: RFC mode.
    Made,
    /// As `setkey -k`: kernel mode.
    NotMade,
}

/// The policies that some files' commands leave behind, in the order in which they were first added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicySet {
    /// The policies; a copy has the place of the policy it is of.
    pub policies: Vec<SpdPolicy>,
    /// The first file means to replace whatever is there (`flush; spdflush;` at its head).
    pub replaces: bool,
}

impl PolicySet {
    /// Plays the files' commands in order on an empty set.
    ///
    /// A policy that is added twice with the same meaning is a warning, with another meaning an error: the kernel would
    /// keep the first. An explicit `fwd` policy stands before a copy.
    #[must_use]
    pub fn of(files: &[PolicyFile], copies: FwdCopies) -> (Self, Diagnostics) {
        let mut builder =
            Builder { copies, entries: BTreeMap::new(), next: 0, diagnostics: Diagnostics::new() };
        for command in files.iter().flat_map(|file| &file.commands) {
            builder.play(command);
        }
        let mut entries: Vec<Entry> = builder.entries.into_values().collect();
        entries.sort_by_key(|entry| entry.order);
        let policies = entries.into_iter().map(|entry| entry.policy).collect();
        let replaces = files.first().is_some_and(|file| file.replaces);
        (Self { policies, replaces }, builder.diagnostics)
    }
}

/// Whether `flush;` and `spdflush;` stand before everything else.
pub(super) fn begins_with_flushes(commands: &[Command]) -> bool {
    let is_flush = |command: &&Command| matches!(command.action, Action::Flush(None) | Action::SpdFlush);
    let head: Vec<&Action> = commands.iter().take_while(is_flush).map(|command| &command.action).collect();
    head.contains(&&Action::SpdFlush) && head.contains(&&Action::Flush(None))
}

struct Entry {
    policy: SpdPolicy,
    order: u64,
    /// Made as the copy of an `in` policy.
    is_copy: bool,
}

struct Builder {
    copies: FwdCopies,
    entries: BTreeMap<SpdSelector, Entry>,
    next: u64,
    diagnostics: Diagnostics,
}

impl Builder {
    fn play(&mut self, command: &Command) {
        match &command.action {
            Action::SpdFlush => self.entries.clear(),
            Action::SpdAdd(policy) => self.add(policy),
            Action::SpdUpdate(policy) => self.update(policy),
            Action::SpdDelete(selector) => self.delete(selector, &command.place),
            Action::Flush(_)
            | Action::Dump(_)
            | Action::SpdDump
            | Action::Add(_)
            | Action::Get(_)
            | Action::Delete(_)
            | Action::DeleteAll { .. } => {}
        }
    }

    fn add(&mut self, policy: &SpdPolicy) {
        if let Some(there) = self.entries.get(&canonical(&policy.selector)).filter(|entry| !entry.is_copy) {
            let same = says_the_same(&there.policy, policy);
            let first = &there.policy.place;
            let (severity, message) = match same {
                true => (Severity::Warning, format!("this policy is there already: it was added at {first}")),
                false => {
                    (Severity::Error, format!("another policy for the same traffic was added at {first}"))
                }
            };
            let diagnostic = Diagnostic::about_place(severity, policy.place.clone(), message);
            self.diagnostics.push(match same {
                true => diagnostic,
                false => diagnostic.help("the kernel would keep the first; write `spdupdate` to replace it"),
            });
            return;
        }
        self.update(policy);
    }

    fn update(&mut self, policy: &SpdPolicy) {
        self.put(policy.clone(), false);
        // Not where a `fwd` policy was written.
        let written = self.entries.get(&canonical(&policy.selector).forwarded());
        if self.has_copy(&policy.selector) && written.is_none_or(|entry| entry.is_copy) {
            self.put(policy.forwarded(), true);
        }
    }

    fn delete(&mut self, selector: &SpdSelector, place: &Place) {
        let key = canonical(selector);
        if self.entries.remove(&key).is_none() {
            let message = "no entry: there is no such policy to delete";
            self.diagnostics.push(Diagnostic::about_place(Severity::Warning, place.clone(), message));
        }
        let fwd = key.forwarded();
        if self.has_copy(selector) && self.entries.get(&fwd).is_some_and(|entry| entry.is_copy) {
            self.entries.remove(&fwd);
        }
    }

    /// Whether a `fwd` copy comes and goes with the policy.
    fn has_copy(&self, selector: &SpdSelector) -> bool {
        selector.direction == Direction::In && self.copies == FwdCopies::Made
    }

    /// Puts a policy in the place of the one with its selector, or at the end.
    fn put(&mut self, policy: SpdPolicy, is_copy: bool) {
        let key = canonical(&policy.selector);
        let order = self.entries.get(&key).map_or(self.next, |entry| entry.order);
        self.next += 1;
        self.entries.insert(key, Entry { policy, order, is_copy });
    }
}

/// The selector as the kernel compares it: host bits cleared.
fn canonical(selector: &SpdSelector) -> SpdSelector {
    SpdSelector { src: selector.src.network(), dst: selector.dst.network(), ..selector.clone() }
}

fn says_the_same(left: &SpdPolicy, right: &SpdPolicy) -> bool {
    let rules = |policy: &SpdPolicy| match &policy.action {
        PolicyAction::Ipsec(rules) => {
            rules.iter().map(|rule| (rule.protocol, rule.mode.clone(), rule.level)).collect()
        }
        PolicyAction::None | PolicyAction::Discard => Vec::new(),
    };
    let kind = |policy: &SpdPolicy| core::mem::discriminant(&policy.action);
    left.priority == right.priority && kind(left) == kind(right) && rules(left) == rules(right)
}

impl SpdSelector {
    /// The selector of the `fwd` copy of an `in` policy.
    #[must_use]
    pub fn forwarded(&self) -> Self {
        Self { direction: Direction::Fwd, ..self.clone() }
    }
}

impl SpdPolicy {
    /// The `fwd` copy of an `in` policy. A first rule of level `unique` gets `require` and reqid 0; every other level stays:
    /// what `use` lets in in clear, it lets through in clear.
    #[must_use]
    pub fn forwarded(&self) -> Self {
        let mut copy = Self { selector: self.selector.forwarded(), ..self.clone() };
        if let PolicyAction::Ipsec(rules) = &mut copy.action
            && let Some(Rule { level: level @ Level::Unique(_), .. }) = rules.first_mut()
        {
            *level = Level::Require;
        }
        copy
    }
}

/// Says which policies the daemon cannot key: AH, IPComp, bundles, labels, and tunnels unless `ignore_tunnel`; and which it keys
/// with a traffic selector that peers may not know.
///
/// `setkey` loads them all the same; an SA for them must come from elsewhere.
#[must_use]
pub fn check_keyable(policies: &[SpdPolicy], ignore_tunnel: bool) -> Diagnostics {
    let mut diagnostics = Diagnostics::new();
    // A copy says nothing that its `in` policy does not say.
    for policy in policies.iter().filter(|policy| policy.selector.direction != Direction::Fwd) {
        let PolicyAction::Ipsec(rules) = &policy.action else { continue };
        let mut say = |severity, place: &Place, message: &str, help: &str| {
            diagnostics.push(Diagnostic::about_place(severity, place.clone(), message).help(help));
        };
        for Rule { place, protocol, mode, .. } in rules {
            match (protocol, mode) {
                (RuleProtocol::Ah, _) => {
                    say(Severity::Error, place, "Coati does not key AH", "write `esp`: it authenticates too");
                }
                (RuleProtocol::Ipcomp, _) => {
                    say(
                        Severity::Error,
                        place,
                        "Coati does not negotiate IPComp",
                        "remove the `ipcomp` rule",
                    );
                }
                (RuleProtocol::Esp, Mode::Tunnel { .. }) if ignore_tunnel => {
                    let help = "no SA is made for it";
                    say(
                        Severity::Warning,
                        place,
                        "Coati does not key tunnels yet: this policy is left alone",
                        help,
                    );
                }
                (RuleProtocol::Esp, Mode::Tunnel { .. }) => {
                    let help = "`--ignore-tunnel` goes on without this policy";
                    say(Severity::Error, place, "Coati does not key tunnels yet", help);
                }
                (RuleProtocol::Esp, Mode::Transport(_)) => {}
            }
        }
        if let [first, second, ..] = rules.as_slice()
            && [first, second].iter().all(|rule| rule.protocol == RuleProtocol::Esp)
        {
            say(Severity::Error, &second.place, "Coati keys one rule a policy, no bundles", "leave one rule");
        }
        let selector = &policy.selector;
        let has_port = selector.sport.is_some() || selector.dport.is_some();
        if selector.direction == Direction::Out && selector.protocol == 0 && has_port {
            let message = "IKEv2 has no traffic selector with ports and protocol `any` (RFC 7296 §3.13.1): other peers than Coati may refuse it";
            say(Severity::Warning, &policy.place, message, "write a policy for `tcp` and one for `udp`");
        }
        if policy.selector.context.is_some() {
            say(Severity::Error, &policy.place, "Coati does not negotiate security labels", "remove `-ctx`");
        }
    }
    diagnostics
}
