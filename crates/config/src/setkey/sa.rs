//! Manual SAs: `add`, and how `get`, `delete` and `deleteall` name them.

use ike_proto::secret::Secret;
use zeroize::Zeroizing;

use super::algorithms::{self, AUTHS, CIPHERS, Row};
use super::lexer::Kind;
use super::model::{
    Action, ManualAuth, ManualCipher, ManualKey, ManualLifetimes, ManualMode, ManualSa, Padding, SaId,
    SaProtocol, SecurityContext,
};
use super::parser::{Host, NameOptions, Parsed, Parser, Spanned, hexadecimal};
use crate::diag::Place;
use crate::net::Endpoint;
use crate::spelling::nearest;

/// SPIs up to here are reserved (RFC 4303 §2.1).
const LAST_RESERVED_SPI: u32 = 255;

/// What stands between the SPI and the algorithms.
#[derive(Default)]
struct Extensions {
    mode: Option<ManualMode>,
    replay_window: u32,
    reqid: u32,
    padding: Option<Padding>,
    nocyclic_seq: bool,
    lifetimes: ManualLifetimes,
    context: Option<SecurityContext>,
}

/// `-E`, `-A`, `-C`.
#[derive(Default)]
struct Algorithms {
    encryption: Option<ManualKey<ManualCipher>>,
    authentication: Option<ManualKey<ManualAuth>>,
    compression: bool,
}

impl Parser<'_, '_> {
    /// What stands behind `add`: one SA for each pair of addresses of one family.
    pub(super) fn add(&mut self, place: &Place) -> Parsed<Vec<Action>> {
        let options = self.name_options()?;
        let (src, dst) = (self.end(options)?, self.end(options)?);
        let protocol = self.protocol_with_original()?;
        let at = self.peek().span;
        let spi = self.spi(protocol)?;
        if spi <= LAST_RESERVED_SPI && !matches!(protocol, SaProtocol::Ipcomp | SaProtocol::Tcp) {
            self.warn(at, "SPIs up to 255 are reserved (RFC 4303 §2.1)");
        }
        let extensions = self.extensions(protocol)?;
        let algorithms = self.sa_algorithms(protocol)?;
        let pairs = self.pairs(&src, &dst)?;
        let sa = |(src, dst): (Endpoint, Endpoint)| {
            Action::Add(Box::new(ManualSa {
                place: place.clone(),
                id: SaId { src, dst, protocol, spi },
                mode: extensions.mode.unwrap_or(ManualMode::Any),
                replay_window: extensions.replay_window,
                reqid: extensions.reqid,
                padding: extensions.padding,
                nocyclic_seq: extensions.nocyclic_seq,
                lifetimes: extensions.lifetimes,
                context: extensions.context.clone(),
                encryption: algorithms.encryption.as_ref().map(duplicate),
                authentication: algorithms.authentication.as_ref().map(duplicate),
                compression: algorithms.compression,
            }))
        };
        Ok(pairs.into_iter().map(sa).collect())
    }

    /// What stands behind `get` and `delete`.
    pub(super) fn one_sa(&mut self, get: bool) -> Parsed<SaId> {
        let options = self.name_options()?;
        let (src, dst) = (self.end(options)?, self.end(options)?);
        let protocol = self.protocol_with_original()?;
        let spi = self.spi(protocol)?;
        let at = self.peek().span;
        if self.extensions(protocol)?.mode.is_some() && get {
            self.warn(at, "a mode means nothing here");
        }
        match (src.addresses.as_slice(), dst.addresses.as_slice()) {
            ([src], [dst]) => Ok(SaId { src: src.clone(), dst: dst.clone(), protocol, spi }),
            _ => self
                .fail(src.span.start..dst.span.end, "multiple address specified: a name has more than one"),
        }
    }

    /// What stands behind `deleteall`.
    pub(super) fn delete_all(&mut self) -> Parsed<Vec<Action>> {
        let options = self.name_options()?;
        let (src, dst) = (self.end(options)?, self.end(options)?);
        let protocol = self.protocol_with_original()?;
        let pairs = self.pairs(&src, &dst)?;
        Ok(pairs
            .into_iter()
            .map(|(src, dst)| Action::DeleteAll { src: src.addr, dst: dst.addr, protocol })
            .collect())
    }

    /// An address with an optional port.
    fn end(&mut self, options: NameOptions) -> Parsed<Host> {
        let mut host = self.host(options)?;
        let port = self.port()?;
        for address in &mut host.addresses {
            address.port = port;
        }
        Ok(host)
    }

    fn pairs(&mut self, src: &Host, dst: &Host) -> Parsed<Vec<(Endpoint, Endpoint)>> {
        let pairs: Vec<_> = src
            .addresses
            .iter()
            .flat_map(|src| dst.addresses.iter().map(move |dst| (src.clone(), dst.clone())))
            .filter(|(src, dst)| src.addr.is_ipv4() == dst.addr.is_ipv4())
            .collect();
        if pairs.is_empty() {
            return self
                .fail(src.span.start..dst.span.end, "source and destination are of different families");
        }
        Ok(pairs)
    }

    /// A protocol; behind `esp-udp` an original address may stand.
    fn protocol_with_original(&mut self) -> Parsed<SaProtocol> {
        let protocol = self.sa_protocol()?;
        if protocol == (SaProtocol::EspUdp { original: None })
            && let Some(original) = self.numeric_address()
        {
            self.next();
            return Ok(SaProtocol::EspUdp { original: Some(original.addr) });
        }
        Ok(protocol)
    }

    fn spi(&mut self, protocol: SaProtocol) -> Parsed<u32> {
        let spi = self.number_to(u32::MAX, "an SPI")?;
        match protocol {
            SaProtocol::Ipcomp if spi.value > 0xffff || spi.value == 0 => {
                self.fail(spi.span, "the CPI of IPComp is a number from 1 to 65535")
            }
            SaProtocol::Ipcomp | SaProtocol::Tcp => Ok(spi.value),
            // No packet may have it (RFC 4303 §2.1), and the kernel finds no SA by it.
            _ if spi.value == 0 => self.fail(spi.span, "an SPI is a number from 1 to 4294967295"),
            _ => Ok(spi.value),
        }
    }

    fn extensions(&mut self, protocol: SaProtocol) -> Parsed<Extensions> {
        const MODES: &[(&str, ManualMode)] =
            &[("transport", ManualMode::Transport), ("tunnel", ManualMode::Tunnel), ("any", ManualMode::Any)];
        const FLAGS: &[(&str, Option<Padding>)] = &[
            ("zero-pad", Some(Padding::Zero)),
            ("random-pad", Some(Padding::Random)),
            ("seq-pad", Some(Padding::Sequence)),
            ("nocyclic-seq", None),
        ];
        let mut all = Extensions::default();
        loop {
            let token = self.peek();
            let flag = if token.kind == Kind::Flag { self.lexer.text(&token.span) } else { "" };
            match flag {
                "-m" | "-r" | "-u" | "-f" | "-lh" | "-ls" | "-bh" | "-bs" | "-ctx" => self.next(),
                _ => return Ok(all),
            };
            match flag {
                "-m" => all.mode = Some(self.word_of(MODES, "`transport`, `tunnel` or `any`")?.value),
                "-r" => {
                    let octets = self.number_to(4096, "a replay window in octets")?;
                    if octets.value > 0 && matches!(protocol, SaProtocol::EspOld | SaProtocol::AhOld) {
                        return self.fail(octets.span, "the old protocols have no replay window");
                    }
                    all.replay_window = octets.value * 8;
                }
                "-u" => all.reqid = self.number_to(u32::MAX, "a reqid")?.value,
                "-f" => {
                    match self.word_of(FLAGS, "`zero-pad`, `random-pad`, `seq-pad` or `nocyclic-seq`")?.value
                    {
                        Some(padding) => all.padding = Some(padding),
                        None => all.nocyclic_seq = true,
                    }
                }
                "-ctx" => all.context = Some(self.context()?),
                _ => {
                    let value = Some(self.number("a number")?.value).filter(|value| *value > 0);
                    let lifetimes = &mut all.lifetimes;
                    *match flag {
                        "-lh" => &mut lifetimes.hard_seconds,
                        "-ls" => &mut lifetimes.soft_seconds,
                        "-bh" => &mut lifetimes.hard_octets,
                        _ => &mut lifetimes.soft_octets,
                    } = value;
                }
            }
        }
    }

    fn sa_algorithms(&mut self, protocol: SaProtocol) -> Parsed<Algorithms> {
        let mut all = Algorithms::default();
        let start = self.peek().span;
        if self.eat_flag("-E") {
            all.encryption = Some(self.cipher(protocol)?);
        }
        if self.eat_flag("-A") {
            all.authentication = Some(self.authentication(protocol)?);
        }
        if self.eat_flag("-C") {
            let name = self.word_of(&[("deflate", true), ("oui", false), ("lzs", false)], "`deflate`")?;
            if !name.value {
                return self.fail(name.span, "only `deflate` was ever usable");
            }
            all.compression = true;
            self.eat_flag("-R");
        }
        let is_aead = all.encryption.as_ref().is_some_and(|key| key.algorithm == ManualCipher::AesGcm16);
        let (wants, right) = match protocol {
            SaProtocol::Esp | SaProtocol::EspOld | SaProtocol::EspUdp { .. } => {
                ("`-E`, then perhaps `-A`", all.encryption.is_some() && !all.compression)
            }
            SaProtocol::Ah | SaProtocol::AhOld | SaProtocol::Tcp => {
                ("`-A`", all.authentication.is_some() && all.encryption.is_none() && !all.compression)
            }
            SaProtocol::Ipcomp => {
                ("`-C`", all.compression && all.encryption.is_none() && all.authentication.is_none())
            }
        };
        if is_aead && all.authentication.is_some() {
            return self.fail(start, "`aes-gcm-16` authenticates by itself: it goes without `-A`");
        }
        if !right {
            let next = self.peek();
            return match next.kind {
                Kind::Flag => {
                    let flag = self.describe(&next);
                    self.fail(next.span, format!("{flag} does not belong here: this protocol takes {wants}"))
                }
                _ => self.fail(start, format!("this protocol takes {wants}")),
            };
        }
        Ok(all)
    }

    fn cipher(&mut self, protocol: SaProtocol) -> Parsed<ManualKey<ManualCipher>> {
        let (row, span) = self.algorithm(CIPHERS, "an encryption algorithm")?;
        match (row.algorithm, protocol) {
            (ManualCipher::DesDeriv, SaProtocol::Esp) | (ManualCipher::Des32Iv, SaProtocol::EspOld) => {}
            (ManualCipher::DesDeriv, _) => return self.fail(span, "`des-deriv` goes with `esp` only"),
            (ManualCipher::Des32Iv, _) => return self.fail(span, "`des-32iv` goes with `esp-old` only"),
            _ => {}
        }
        if row.name == "simple" {
            self.warn(span.clone(), "`simple` is an old name of `null`");
        }
        let key = self.key(row, row.algorithm == ManualCipher::Null)?;
        Ok(ManualKey { algorithm: row.algorithm, key })
    }

    fn authentication(&mut self, protocol: SaProtocol) -> Parsed<ManualKey<ManualAuth>> {
        let (row, span) = self.algorithm(AUTHS, "an authentication algorithm")?;
        if (row.algorithm == ManualAuth::TcpMd5) != (protocol == SaProtocol::Tcp) {
            return self.fail(span, "`tcp-md5` and the protocol `tcp` belong together");
        }
        if row.algorithm == ManualAuth::HmacSha256Trunc96 {
            let message = format!(
                "`{0}` is truncated to 96 bits here, as setkey did on Linux; for the 128 bits of RFC 4868 write `{0}-128`",
                row.name
            );
            self.warn(span, message);
        }
        let key = self.key(row, row.algorithm == ManualAuth::Null)?;
        Ok(ManualKey { algorithm: row.algorithm, key })
    }

    fn algorithm<A>(
        &mut self,
        table: &'static [Row<A>],
        what: &str,
    ) -> Parsed<(&'static Row<A>, core::ops::Range<usize>)> {
        let token = self.peek();
        let Some(word) = self.peek_word().map(str::to_owned) else { return self.expected(what) };
        let Some(row) = algorithms::find(table, &word) else {
            return match nearest(&word, table.iter().map(|row| row.name)) {
                Some(near) => {
                    let shown: String = word.chars().take(40).collect();
                    let message = format!("expected {what}, found `{shown}`");
                    self.fail_with_help(token.span, message, format!("did you mean `{near}`?"))
                }
                None => self.expected(what),
            };
        };
        self.next();
        if row.weak {
            self.warn(token.span.clone(), format!("`{}` is weak", row.name));
        }
        Ok((row, token.span))
    }

    /// A key: `"text"` or `0x...`, an odd number of digits filled up with a zero in front.
    fn key<A>(&mut self, row: &Row<A>, optional: bool) -> Parsed<Secret> {
        let key = match self.written_key()? {
            Some(key) => key,
            None if optional => Spanned { value: Secret::default(), span: 0..0 },
            None => return self.expected("a key, in quotes or as 0x..."),
        };
        let bits = key.value.len() * 8;
        if row.bits.allow(bits) || (bits == 0 && optional) {
            return Ok(key.value);
        }
        self.fail(
            key.span,
            format!("the key of `{}` has {bits} bits, expected {}", row.name, row.bits.text()),
        )
    }

    fn written_key(&mut self) -> Parsed<Option<Spanned<Secret>>> {
        let token = self.peek();
        let value = match (token.kind, hexadecimal(self.lexer.text(&token.span))) {
            (Kind::Text, _) => {
                let inside = token.span.start + 1..token.span.end - 1;
                Some(Secret::from_slice(self.lexer.octets(&inside)))
            }
            (Kind::Word, Some(digits)) => decode_hex(digits.as_bytes()),
            (Kind::Word, None) => None,
            _ => return Ok(None),
        };
        match value {
            Some(value) => {
                self.next();
                Ok(Some(Spanned { value, span: token.span }))
            }
            // The word may be a key: it is not repeated.
            None => self.fail(token.span, "expected a key, in quotes or as 0x and hexadecimal digits"),
        }
    }
}

fn duplicate<A: Copy>(key: &ManualKey<A>) -> ManualKey<A> {
    ManualKey { algorithm: key.algorithm, key: key.key.duplicate() }
}

/// Decodes hexadecimal digits, an odd number of them with a zero in front.
fn decode_hex(digits: &[u8]) -> Option<Secret> {
    let digit = |octet: &u8| char::from(*octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (odd, pairs) = digits.split_at_checked(digits.len() % 2)?;
    let mut octets = Zeroizing::new(Vec::with_capacity(digits.len().div_ceil(2)));
    for octet in odd {
        octets.push(digit(octet)?);
    }
    for pair in pairs.chunks(2) {
        let [high, low] = pair else { return None };
        octets.push(digit(high)? << 4 | digit(low)?);
    }
    (!octets.is_empty()).then(|| Secret::from_slice(&octets))
}
