//! What of a file may be shown: no secrets, nothing that controls the terminal, nothing that cannot be seen.

use core::ops::Range;

/// Text of the same length as `octets`: secrets as stars and blanks, what is no text as `?`, what cannot be seen as a mark.
pub(super) fn showable(octets: &[u8], secrets: &[Range<usize>]) -> String {
    let mut copy = octets.to_vec();
    for secret in secrets {
        for (n, octet) in copy.get_mut(secret.clone()).unwrap_or_default().iter_mut().enumerate() {
            match *octet {
                b'\n' => {}
                // A fixed number of stars, so that the length does not show; blanks keep the offsets.
                _ => *octet = if n < 8 { b'*' } else { b' ' },
            }
        }
    }
    let mut text = String::with_capacity(copy.len());
    for chunk in copy.utf8_chunks() {
        for character in chunk.valid().chars() {
            match is_showable(character) {
                true => text.push(character),
                false => text.push_str(stand_in(character)),
            }
        }
        text.extend(core::iter::repeat_n('?', chunk.invalid().len()));
    }
    text
}

/// Whether a character can be seen, neither controls the terminal nor changes the direction of the text.
fn is_showable(character: char) -> bool {
    match character {
        ' ' | '\n' | '\t' => true,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}' => false,
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => false,
        _ => !character.is_control() && !character.is_whitespace(),
    }
}

/// What is shown for a character that cannot be seen: as many octets, for offsets, and one character, for columns.
const fn stand_in(character: char) -> &'static str {
    match character.len_utf8() {
        1 => "?",
        2 => "¿",
        3 => "\u{fffd}",
        _ => "????",
    }
}

/// The first character by its number, if it cannot be seen.
pub(crate) fn unseen(octets: &[u8]) -> Option<String> {
    let first = octets.utf8_chunks().next()?.valid().chars().next().filter(|first| !is_showable(*first))?;
    let name = match first {
        '\u{a0}' => " (a blank that does not break)",
        '\u{feff}' => " (a byte order mark)",
        _ => "",
    };
    Some(format!("U+{:04X}{name}", u32::from(first)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::{Diagnostic, Severity, Source};

    #[test]
    fn what_cannot_be_seen_is_shown_as_a_mark_and_moves_no_column() {
        for unseen in ["\u{a0}", "\u{ad}", "\u{200b}", "\u{200f}", "\u{2060}", "\u{3000}", "\u{feff}"] {
            let text = format!("a{unseen}b");
            let source = Source::new("a.conf", text.as_bytes(), &[]);
            let diagnostic = Diagnostic::at(Severity::Error, &source, 1 + unseen.len()..text.len(), "no");
            assert_eq!(diagnostic.place.column, 3, "{unseen:?}");
            assert!(!diagnostic.render(false).contains(unseen), "{unseen:?}");
        }
        assert_eq!(unseen("\u{a0}x".as_bytes()).as_deref(), Some("U+00A0 (a blank that does not break)"));
        assert_eq!(unseen("\u{feff}".as_bytes()).as_deref(), Some("U+FEFF (a byte order mark)"));
        assert_eq!(unseen(b"\x01").as_deref(), Some("U+0001"));
        assert_eq!((unseen("é".as_bytes()), unseen(b"\xff"), unseen(b"")), (None, None, None));
    }
}
