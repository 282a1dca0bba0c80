//! What several test files share.
#![allow(dead_code, reason = "each test file is a crate of its own and uses a part of this")]
#![allow(clippy::unwrap_used, reason = "a failed test is all it leads to")]

pub(crate) mod any;

use std::path::Path;

use xfrm_sys::Message;

/// The octets of a fixture: `#` lines say where they come from, the others are hexadecimal.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name).with_extension("hex");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let digits: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// The names of all fixtures.
pub(crate) fn fixtures() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert!(names.len() > 40, "fixtures are missing");
    names
}

/// The one message of a fixture.
pub(crate) fn message(name: &str) -> Message {
    let octets = fixture(name);
    let (message, rest) = Message::parse(&octets).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(rest.is_empty(), "{name}: {} octets behind the message", rest.len());
    message
}
