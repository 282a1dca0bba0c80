//! A message as one line of a trace: the peer's octets escaped, and bounded.

use core::fmt;
use core::fmt::Write as _;

use super::header::Header;
use super::payload::Payload;

/// Octets of one field that are shown.
const SHOWN_OCTETS: usize = 64;

/// Characters of one message that are shown.
const SHOWN_CHARS: usize = 2000;

/// A message for a trace: `IKE_SA_INIT request 0 ... { SA[...] KE(CURVE25519) Nonce }`.
///
/// What a peer sent cannot end the line, move the cursor or fill the log: octets that are not printable ASCII are
/// escaped, a field shows at most 64 octets and the line at most 2,000 characters of payloads.
#[derive(Debug)]
pub struct Pretty<'a> {
    /// The header.
    pub header: &'a Header,
    /// The payloads, in clear.
    pub payloads: &'a [Payload],
}

impl fmt::Display for Pretty<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {{", self.header)?;
        let mut line = Bounded { f, left: SHOWN_CHARS };
        let shown = self.payloads.iter().try_for_each(|payload| write!(line, " {payload}"));
        // The only writer's error that is not the formatter's own is the bound.
        let cut = shown.is_err() && line.left == 0;
        if !cut {
            shown?;
        }
        f.write_str(if cut { "... }" } else { " }" })
    }
}

/// Hands through as many characters as are left, then fails.
struct Bounded<'a, 'f> {
    f: &'a mut fmt::Formatter<'f>,
    left: usize,
}

impl fmt::Write for Bounded<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
            self.f.write_char(character)?;
        }
        Ok(())
    }
}

/// A peer's text: printable ASCII as it is, the rest as `\xNN`, at most 64 octets.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for octet in self.0.iter().take(SHOWN_OCTETS) {
            match octet {
                b'"' | b'\\' => write!(f, "\\{}", char::from(*octet))?,
                b' '..=b'~' => f.write_char(char::from(*octet))?,
                other => write!(f, "\\x{other:02x}")?,
            }
        }
        f.write_str(if self.0.len() > SHOWN_OCTETS { "\"..." } else { "\"" })
    }
}

/// A peer's octets in hexadecimal, at most 64 of them.
#[derive(Clone, Copy, Debug)]
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(SHOWN_OCTETS).try_for_each(|octet| write!(f, "{octet:02x}"))?;
        if self.0.len() > SHOWN_OCTETS { f.write_str("...") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::captured::{INIT_RESPONSE, octets};
    use crate::wire::{Located, Vendor, locate};

    fn shown(payloads: &[Payload]) -> String {
        let header = Header::read(&octets(INIT_RESPONSE)).unwrap();
        Pretty { header: &header, payloads }.to_string()
    }

    #[test]
    fn a_message_is_one_line() {
        let message = octets(INIT_RESPONSE);
        let header = Header::read(&message).unwrap();
        let Ok(Located::Plain(payloads)) = locate(&message, &header) else { panic!("not in clear") };
        assert_eq!(
            shown(&payloads),
            "IKE_SA_INIT response 0 abb44ee13fa269da_i 0f9c2950a66beca1_r { \
             SA[1 IKE ENCR_AES_GCM_16-256 PRF_HMAC_SHA2_256 CURVE25519] KE(CURVE25519) Nonce \
             N(NAT_DETECTION_SOURCE_IP) N(NAT_DETECTION_DESTINATION_IP) N(IKEV2_FRAGMENTATION_SUPPORTED) \
             N(SIGNATURE_HASH_ALGORITHMS) N(CHILDLESS_IKEV2_SUPPORTED) N(MULTIPLE_AUTH_SUPPORTED) }"
        );
    }

    #[test]
    fn a_message_without_payloads_has_empty_braces() {
        assert!(shown(&[]).ends_with("_r { }"));
    }

    #[test]
    fn what_a_peer_sent_cannot_leave_its_line() {
        let every_octet = Payload::Vendor(Vendor((0..=255).collect()));
        let line = shown(&vec![every_octet; 8]);
        assert!(line.chars().all(|character| (' '..='~').contains(&character)), "{line}");
    }

    #[test]
    fn a_field_and_a_line_are_bounded() {
        assert_eq!(Hex(&[0xab; 65]).to_string(), format!("{}...", "ab".repeat(64)));
        assert_eq!(Hex(&[0xab; 64]).to_string(), "ab".repeat(64));
        assert_eq!(Escaped(&[b'a'; 65]).to_string(), format!("\"{}\"...", "a".repeat(64)));
        let line = shown(&vec![Payload::Vendor(Vendor(vec![0; 1000])); 64]);
        assert!(line.ends_with("... }"), "{line}");
        let (head, _) = line.split_once('{').unwrap();
        assert_eq!(line.len(), head.len() + 1 + SHOWN_CHARS + "... }".len());
    }
}
