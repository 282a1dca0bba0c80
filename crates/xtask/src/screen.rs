//! How words look: colours on a terminal, none elsewhere.

use std::io::IsTerminal;

/// A heading.
pub(crate) fn heading(text: &str) -> String {
    paint("1;36", text)
}

/// Something went well.
pub(crate) fn good(text: &str) -> String {
    paint("1;32", text)
}

/// Something went wrong.
pub(crate) fn bad(text: &str) -> String {
    paint("1;31", text)
}

/// An aside.
pub(crate) fn faint(text: &str) -> String {
    paint("2", text)
}

fn paint(code: &str, text: &str) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some() || !std::io::stdout().is_terminal();
    if plain { text.to_owned() } else { format!("\x1b[{code}m{text}\x1b[0m") }
}
