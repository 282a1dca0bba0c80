//! `spdadd`, `spdupdate`, `spddelete`: selectors, priorities, rules.

use super::address;
use super::lexer::{Kind, Mode as Tokens};
use super::model::{Direction, Level, Mode, PolicyAction, Rule, RuleProtocol, SpdPolicy, SpdSelector};
use super::names;
use super::parser::{NameOptions, Parsed, Parser, Spanned};
use crate::diag::Place;
use crate::net::{Endpoint, parse_address};

/// The priority of a policy that names none.
pub(super) const DEFAULT_PRIORITY: u32 = 0x8000_0000;
const LOW: i64 = 0xC000_0000;
const HIGH: i64 = 0x4000_0000;
/// The largest reqid that may be written by hand; the kernel counts up above it.
const LARGEST_REQID: u32 = 0x3fff;

/// What stands between `-P` and `;`.
struct Policy {
    direction: Direction,
    priority: u32,
    action: Option<PolicyAction>,
}

/// The word that says what a policy orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Ipsec,
    None,
    Discard,
    /// `entrust` or `bypass`.
    Socket,
}

/// What a policy is written for. Of one that is to go, what it ordered does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Add,
    Delete,
}

impl Parser<'_, '_> {
    /// What stands behind `spdadd` and `spdupdate`.
    pub(super) fn policy_command(&mut self, place: &Place) -> Parsed<SpdPolicy> {
        let options = self.name_options()?;
        let mut selector = self.selector(options)?;
        let policy = self.policy(Purpose::Add)?;
        selector.direction = policy.direction;
        match policy.action {
            Some(action) => {
                Ok(SpdPolicy { place: place.clone(), selector, priority: policy.priority, action })
            }
            None => self.expected("`ipsec`, `none` or `discard`"),
        }
    }

    /// What stands behind `spddelete`: of the policy only the direction counts.
    pub(super) fn policy_delete(&mut self) -> Parsed<SpdSelector> {
        let options = self.name_options()?;
        let mut selector = self.selector(options)?;
        selector.direction = self.policy(Purpose::Delete)?.direction;
        Ok(selector)
    }

    /// `SRC DST UPPER [-ctx ...]`; the direction is not known yet.
    fn selector(&mut self, options: NameOptions) -> Parsed<SpdSelector> {
        if self.peek_word() == Some("tagged") {
            let token = self.peek();
            return self.fail(token.span, "`tagged` is a feature of BSD: Linux has no tags in policies");
        }
        let (src, sport) = self.range(options)?;
        let (dst, dport) = self.range(options)?;
        if src.value.addr.is_ipv4() != dst.value.addr.is_ipv4() {
            return self.fail(dst.span, "source and destination are of different families");
        }
        let ports = src.span.start..self.lexer.last_end;
        let protocol = self.upper_protocol()?;
        let extra = self.upper_extra(protocol)?;
        if extra.is_some() && (sport.is_some() || dport.is_some()) {
            self.warn(
                ports,
                "these ports are passed over: what stands behind the protocol is in their place",
            );
        } else if !may_have_ports(protocol, sport, dport) {
            self.warn(ports, "no packet of this protocol has these ports: none will match this policy");
        }
        // Zero is any: setkey wrote the two as ports, and a port of zero is none to Linux.
        let any_if_zero = |half: u16| Some(half).filter(|half| *half != 0);
        let (sport, dport) =
            extra.map_or((sport, dport), |(high, low)| (any_if_zero(high), any_if_zero(low)));
        let context = if self.eat_flag("-ctx") { Some(self.context()?) } else { None };
        let (src, dst) = (src.value, dst.value);
        Ok(SpdSelector { src, sport, dst, dport, protocol, direction: Direction::In, context })
    }

    fn upper_protocol(&mut self) -> Parsed<u8> {
        let token = self.peek();
        let Some(word) = self.peek_word().map(str::to_owned) else {
            return self.expected("an upper-layer protocol, or `any`");
        };
        if word.bytes().all(|octet| octet.is_ascii_digit()) {
            let number = self.number_to(255, "a protocol number")?;
            // PF_KEY's "any" is 255.
            return Ok(u8::try_from(number.value).ok().filter(|number| *number != 255).unwrap_or(0));
        }
        if let Some(number) =
            [("esp", 50), ("ah", 51), ("ipcomp", 108)].iter().find(|(name, _)| *name == word)
        {
            let message = format!("`{word}` is no name of an upper-layer protocol here");
            return self.fail_with_help(token.span, message, format!("write the number, {}", number.1));
        }
        match names::protocol(&word, self.files) {
            Some(number) => {
                self.next();
                Ok(number)
            }
            None => self.expected("an upper-layer protocol, or `any`"),
        }
    }

    /// `type,code` of ICMP and mobility headers, the key of GRE.
    fn upper_extra(&mut self, protocol: u8) -> Parsed<Option<(u16, u16)>> {
        let token = self.peek();
        let Some(word) = self.peek_word().map(str::to_owned) else { return Ok(None) };
        match protocol {
            1 | 58 | 135 => {
                let kind = self.number_to(255, "an ICMP type")?;
                let comma = self.peek();
                if comma.kind != Kind::Mark(b',') || comma.span.start != kind.span.end {
                    let help = "write type and code with a comma and no blank between, such as `8,0`";
                    return self.fail_with_help(kind.span, "expected `type,code`", help);
                }
                self.next();
                let code = self.number_to(255, "an ICMP code")?;
                if kind.value == 0 {
                    let message = "type 0 stands for every type here, as it did in setkey: Linux had no other word for it";
                    self.warn(kind.span, message);
                }
                let short = |number: u32| u16::try_from(number).unwrap_or(0);
                Ok(Some((short(kind.value), short(code.value))))
            }
            47 => {
                let dotted = word.parse::<std::net::Ipv4Addr>().ok().map(u32::from);
                let Some(key) = dotted.or_else(|| word.parse().ok()) else {
                    return self.expected("a GRE key, as a number or as a.b.c.d");
                };
                self.next();
                let [a, b, c, d] = key.to_be_bytes();
                let halves = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
                if halves.0 == 0 || halves.1 == 0 {
                    let message =
                        "half of this key is zero, which stands for every half here, as it did in setkey";
                    self.warn(token.span, message);
                }
                Ok(Some(halves))
            }
            _ => self.fail(
                token.span,
                format!("expected `-P`, found `{}`", word.chars().take(40).collect::<String>()),
            ),
        }
    }

    /// `-P DIR [PRIO] ACTION`; the action may be missing.
    fn policy(&mut self, purpose: Purpose) -> Parsed<Policy> {
        if !self.eat_flag("-P") {
            return self.expected("`-P`");
        }
        self.lexer.set_mode(Tokens::Policy);
        const DIRECTIONS: &[(&str, Direction)] =
            &[("in", Direction::In), ("out", Direction::Out), ("fwd", Direction::Fwd)];
        let direction = self.word_of(DIRECTIONS, "`in`, `out` or `fwd`")?.value;
        let mut priority = DEFAULT_PRIORITY;
        if matches!(self.peek_word(), Some("prio" | "priority")) {
            self.next();
            priority = self.priority()?;
        }
        let action = if self.at(b';') { None } else { Some(self.action(purpose)?) };
        Ok(Policy { direction, priority, action })
    }

    /// racoon-compatible arithmetic: what is written higher is a lower number.
    fn priority(&mut self) -> Parsed<u32> {
        let base = match self.peek_word() {
            Some("low") => Some(LOW),
            Some("def") => Some(i64::from(DEFAULT_PRIORITY)),
            Some("high") => Some(HIGH),
            _ => None,
        };
        let start = self.peek().span.start;
        if base.is_some() {
            self.next();
        }
        let sign = match (self.peek().kind, base) {
            (Kind::Mark(b'-'), _) => {
                self.next();
                Some(1)
            }
            (Kind::Mark(b'+'), Some(_)) => {
                self.next();
                Some(-1)
            }
            (_, Some(_)) => None,
            (_, None) => Some(-1),
        };
        let offset = match sign {
            None => 0,
            Some(sign) => {
                let number = self.number("a number, `low`, `def` or `high`")?;
                // Far beyond every range is as wrong as just beyond it.
                sign * i64::try_from(number.value).unwrap_or(i64::MAX).min(1 << 40)
            }
        };
        let (range, message) = match base {
            None => (
                -0x8000_0000..=0x7fff_ffff_i64,
                "priority offset not in valid range [-2147483647, 2147483648]",
            ),
            Some(_) => (
                -0x4000_0000..=0x3fff_ffff_i64,
                "priority offset from base not in valid range [-1073741823, 1073741824]",
            ),
        };
        let value = base.unwrap_or(i64::from(DEFAULT_PRIORITY)) + offset;
        match u32::try_from(value).ok().filter(|_| range.contains(&offset)) {
            Some(priority) => Ok(priority),
            None => self.fail(start..self.lexer.last_end, message),
        }
    }

    fn action(&mut self, purpose: Purpose) -> Parsed<PolicyAction> {
        let what = "`ipsec`, `none` or `discard`";
        const ACTIONS: &[(&str, Word)] = &[
            ("ipsec", Word::Ipsec),
            ("none", Word::None),
            ("discard", Word::Discard),
            ("entrust", Word::Socket),
            ("bypass", Word::Socket),
        ];
        let action = self.word_of(ACTIONS, what)?;
        if action.value == Word::Socket && purpose == Purpose::Add {
            let message = "`entrust` and `bypass` are for policies of sockets, not for these";
            return self.fail(action.span, message);
        }
        let start = self.peek().span.start;
        let rules = self.rules(action.value)?;
        match action.value {
            Word::Ipsec if rules.is_empty() && purpose == Purpose::Add => {
                let help = "write a rule, such as `esp/transport//require`";
                let message = "`ipsec` without a rule would let everything pass in clear";
                self.fail_with_help(action.span, message, help)
            }
            Word::Ipsec => Ok(PolicyAction::Ipsec(rules)),
            word => {
                if !rules.is_empty() && purpose == Purpose::Add {
                    let message =
                        "rules are for `ipsec`: they are passed over, and no packet is protected by them";
                    self.warn(start..self.lexer.last_end, message);
                }
                Ok(if word == Word::Discard { PolicyAction::Discard } else { PolicyAction::None })
            }
        }
    }

    /// The rules behind an action; behind another than `ipsec` they may stand, and end with what is none.
    fn rules(&mut self, action: Word) -> Parsed<Vec<Rule>> {
        let mut rules = Vec::new();
        while !self.at(b';') && self.peek().kind != Kind::End {
            if action != Word::Ipsec && !matches!(self.peek_word(), Some("esp" | "ah" | "ipcomp")) {
                break;
            }
            rules.push(self.rule()?);
        }
        Ok(rules)
    }

    fn rule(&mut self) -> Parsed<Rule> {
        const PROTOCOLS: &[(&str, RuleProtocol)] =
            &[("esp", RuleProtocol::Esp), ("ah", RuleProtocol::Ah), ("ipcomp", RuleProtocol::Ipcomp)];
        let protocol = self.word_of(PROTOCOLS, "a rule (`esp/...`, `ah/...`, `ipcomp/...`) or `;`")?;
        if !self.eat(b'/') {
            return self.expected("`/` and a mode");
        }
        let tunnel = self.word_of(&[("transport", false), ("tunnel", true)], "`transport` or `tunnel`")?;
        let mut ends = None;
        let mut level = Level::Default;
        if self.eat(b'/') {
            ends = self.rule_ends()?;
            if self.eat(b'/') {
                level = self.level()?;
            }
        }
        let mode = match (tunnel.value, ends) {
            (false, ends) => Mode::Transport(ends),
            (true, Some((src, dst))) => Mode::Tunnel { src, dst },
            (true, None) => {
                let help = "write `esp/tunnel/SRC-DST/LEVEL`";
                return self.fail_with_help(tunnel.span, "a tunnel needs its two outer addresses", help);
            }
        };
        Ok(Rule { place: self.place(&protocol.span), protocol: protocol.value, mode, level })
    }

    /// `SRC-DST`, or nothing.
    fn rule_ends(&mut self) -> Parsed<Option<(Endpoint, Endpoint)>> {
        let token = self.peek();
        let is_end = match self.peek_word() {
            Some("me" | "any") => {
                return self
                    .fail(token.span, "`me` and `any` are for policies of sockets: write the addresses");
            }
            Some(word) => parse_address(word).is_some() || address::short_form(word).is_some(),
            None => false,
        };
        // A level or the next rule may follow at once; what is neither is an address gone wrong.
        if !is_end && !self.at(b'/') && !self.at(b';') && token.kind != Kind::End {
            return match self.peek_word() {
                Some("esp" | "ah" | "ipcomp") => Ok(None),
                _ => self.expected("`/` and a level, or addresses `SRC-DST`"),
            };
        }
        if !is_end {
            return Ok(None);
        }
        let src = self.rule_end()?;
        if !self.eat(b'-') {
            return self.expected("`-` and the destination");
        }
        let dst = self.rule_end()?;
        if src.value.addr.is_ipv4() != dst.value.addr.is_ipv4() {
            return self.fail(dst.span, "the outer addresses are of different families");
        }
        Ok(Some((src.value, dst.value)))
    }

    fn rule_end(&mut self) -> Parsed<Spanned<Endpoint>> {
        let token = self.peek();
        let Some(mut endpoint) = self.numeric_address() else {
            return self.expected("a numeric address");
        };
        self.next();
        endpoint.port = self.port()?;
        Ok(Spanned { value: endpoint, span: token.span })
    }

    fn level(&mut self) -> Parsed<Level> {
        let token = self.peek();
        let Some(reqid) = self.peek_word().and_then(|word| word.strip_prefix("unique:")).map(str::to_owned)
        else {
            const LEVELS: &[(&str, Level)] = &[
                ("default", Level::Default),
                ("use", Level::Use),
                ("require", Level::Require),
                ("unique", Level::Unique(None)),
            ];
            // `esp/transport//` ends here.
            if self.at(b';') || matches!(self.peek_word(), Some("esp" | "ah" | "ipcomp")) {
                return Ok(Level::Default);
            }
            return Ok(self.word_of(LEVELS, "`use`, `require`, `unique` or `default`")?.value);
        };
        self.next();
        let is_decimal = !reqid.is_empty() && reqid.bytes().all(|octet| octet.is_ascii_digit());
        match reqid.parse::<u32>() {
            Ok(0) if is_decimal => Ok(Level::Unique(None)),
            Ok(reqid) if is_decimal && reqid <= LARGEST_REQID => Ok(Level::Unique(Some(reqid))),
            Ok(_) if is_decimal => {
                let message = format!(
                    "a reqid above {LARGEST_REQID} is not for hand-written policies: one is given, as the kernel did"
                );
                self.warn(token.span, message);
                Ok(Level::Unique(None))
            }
            _ => {
                self.fail(token.span, format!("after `unique:`, expected a number from 1 to {LARGEST_REQID}"))
            }
        }
    }
}

/// Whether a packet can have these ports. Linux compares them with what stands in their place in the packet: type and code of
/// ICMP, type of a mobility header, halves of a GRE key. Of any protocol each packet has its own.
const fn may_have_ports(protocol: u8, sport: Option<u16>, dport: Option<u16>) -> bool {
    const fn is_octet(port: Option<u16>) -> bool {
        matches!(port, None | Some(0..=255))
    }
    match protocol {
        0 | 6 | 17 | 33 | 47 | 132 | 136 => true,
        1 | 58 => is_octet(sport) && is_octet(dport),
        135 => is_octet(sport) && dport.is_none(),
        _ => sport.is_none() && dport.is_none(),
    }
}
