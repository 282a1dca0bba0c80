//! Words that name hosts, on the command line.

/// A host's name as the name of a file or directory.
///
/// # Errors
/// It would be hidden, an option, or somewhere else.
pub(crate) fn file_name(name: &str) -> Result<&str, String> {
    let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || b"._-:@".contains(&octet);
    let is_good =
        !name.is_empty() && name.len() <= 200 && !name.starts_with(['.', '-']) && name.bytes().all(is_plain);
    if is_good { Ok(name) } else { Err(format!("{name:?} cannot be the name of a file")) }
}
