//! What may be a secret in a coati.toml, where none belongs: it is not shown.

use core::ops::Range;

/// Letters from which on a word of hexadecimal digits or base64 is taken for a key.
const KEY_LETTERS: usize = 32;

/// The ranges to mask: the values of keys that sound like secrets, PEM blocks of private keys, long words that may be keys.
pub(super) fn find(octets: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut in_pem = false;
    // A value in triple quotes goes on over the next lines.
    let mut in_secret_text = false;
    for line in octets.split(|octet| *octet == b'\n') {
        let range = start..start + line.len();
        let pem_begins = contains(line, b"PRIVATE KEY-----") && contains(line, b"-----BEGIN");
        let quotes = line.windows(3).filter(|three| matches!(*three, b"\"\"\"" | b"'''")).count();
        if in_pem || pem_begins || in_secret_text {
            found.push(range.clone());
            in_secret_text &= quotes == 0;
        } else if let Some(at) = secret_value(line) {
            found.push(range.start + at..range.end);
            in_secret_text = quotes == 1;
        } else {
            found.extend(long_words(line).map(|word| start + word.start..start + word.end));
        }
        in_pem = (in_pem || pem_begins) && !contains(line, b"-----END");
        start = range.end + 1;
    }
    found
}

fn contains(line: &[u8], wanted: &[u8]) -> bool {
    line.windows(wanted.len()).any(|window| window == wanted)
}

/// Where the value begins of a key such as `psk`, `my_secret`, `password`, but not `psk-file`.
fn secret_value(line: &[u8]) -> Option<usize> {
    let equals = line.iter().position(|octet| *octet == b'=')?;
    let key: Vec<u8> = line.get(..equals)?.to_ascii_lowercase();
    let sounds = [&b"psk"[..], b"secret", b"passw", b"passphrase"].iter().any(|word| contains(&key, word));
    (sounds && !contains(&key, b"file")).then_some(equals + 1)
}

fn long_words(line: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let is_letter = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'=');
    let mut start = 0;
    line.split(move |octet| !is_letter(octet)).filter_map(move |word| {
        let range = start..start + word.len();
        start = range.end + 1;
        (word.len() >= KEY_LETTERS).then_some(range)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sounds_like_a_secret_is_found() {
        let text = "psk = \"sesame\"\npsk-file = \"psk.txt\"\n[peer.x]\npassword=\"\"\"\nopen\n\"\"\"\nlocal = \"192.0.2.1\"\nx = \"0123456789abcdef0123456789abcdef01\"\n-----BEGIN PRIVATE KEY-----\nMIG\n-----END PRIVATE KEY-----\nlog = \"info\"";
        let found: Vec<&str> = find(text.as_bytes()).into_iter().map(|range| &text[range]).collect();
        let expected = [
            " \"sesame\"",
            "\"\"\"",
            "open",
            "\"\"\"",
            "0123456789abcdef0123456789abcdef01",
            "-----BEGIN PRIVATE KEY-----",
            "MIG",
            "-----END PRIVATE KEY-----",
        ];
        assert_eq!(found, expected);
    }
}
