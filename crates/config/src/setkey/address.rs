//! IPv4 addresses as C's `inet_aton` reads them, and with it getaddrinfo, by which setkey read all its addresses.

use std::net::Ipv4Addr;

/// `10.1` is 10.0.0.1 and `10.0.010.1` is 10.0.8.1: two to four numbers, octal behind a `0` and hexadecimal behind `0x`, of
/// which the last fills what is left. A number alone is none: setkey took it for a number.
pub(super) fn short_form(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u32> = text.split('.').map(number).collect::<Option<_>>()?;
    let (last, front) = parts.split_last()?;
    if front.is_empty() || front.len() > 3 {
        return None;
    }
    let front: Vec<u8> = front.iter().map(|part| u8::try_from(*part).ok()).collect::<Option<_>>()?;
    let [_, filled @ ..] = last.to_be_bytes();
    let (over, rest) = filled.split_at_checked(front.len() - 1)?;
    if *last > 0x00ff_ffff || over.iter().any(|octet| *octet != 0) {
        return None;
    }
    let octets: Vec<u8> = front.iter().chain(rest).copied().collect();
    <[u8; 4]>::try_from(octets).ok().map(Ipv4Addr::from)
}

/// A number in C's three notations.
fn number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (text.get(2..)?, 16),
        [b'0', _, ..] => (text.get(1..)?, 8),
        _ => (text, 10),
    };
    let is_plain = !digits.is_empty() && !digits.starts_with('+');
    is_plain.then(|| u32::from_str_radix(digits, radix).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_fills_what_is_left() {
        for (text, expected) in [
            ("10.1", "10.0.0.1"),
            ("10.0.1", "10.0.0.1"),
            ("192.168.1", "192.168.0.1"),
            ("10.65537", "10.1.0.1"),
            ("10.1.258", "10.1.1.2"),
            ("192.168.001.010", "192.168.1.8"),
            ("0x0a.1", "10.0.0.1"),
            ("10.0xFFFFFF", "10.255.255.255"),
            ("0.0", "0.0.0.0"),
            ("10.0.0.1", "10.0.0.1"),
        ] {
            assert_eq!(
                short_form(text).map(|address| address.to_string()).as_deref(),
                Some(expected),
                "{text}"
            );
        }
        for text in [
            "10",
            "",
            ".",
            "10.",
            ".1",
            "10..1",
            "1.2.3.4.",
            "1.2.3.4.5",
            "10.256.1",
            "10.0.65536",
            "10.16777216",
            "1.2.3.256",
            "10.08",
            "10.0x",
            "10.+1",
            "10.-1",
            "a.b",
            "1.2.3.4%lo",
            "10.99999999999",
        ] {
            assert_eq!(short_form(text), None, "{text}");
        }
    }
}
