//! The pre-shared keys that a coati.toml names: a psk.txt, and files with one key each.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ike_proto::secret::Secret;
use zeroize::Zeroizing;

use super::reader::{Located, Reader};
use crate::diag::{Diagnostic, Severity};
use crate::files::Files;
use crate::psk::{self, PskFile};

/// The longest key file that makes sense, in octets.
const LONGEST: usize = 1000;

/// A file with the key of one peer.
#[derive(Clone, Debug)]
pub(super) struct OwnKey {
    pub(super) file: Located<PathBuf>,
    pub(super) addresses: Vec<IpAddr>,
}

impl Reader<'_> {
    /// Reads psk.txt, if it is wanted, and the files of single peers.
    pub(super) fn keys(
        &mut self,
        psk_txt: Option<&Path>,
        own: &[OwnKey],
        files: &dyn Files,
    ) -> Option<PskFile> {
        let mut listed = None;
        if let Some(path) = psk_txt {
            let (file, said) = psk::load(path, files, true);
            self.diagnostics.append(said);
            listed = Some(file?);
        }
        if own.is_empty() {
            return Some(listed.unwrap_or_default());
        }
        // Lines behind those of psk.txt, so that the places of its own lines are right.
        let mut text = Zeroizing::new(Vec::new());
        if let Some(path) = psk_txt {
            text = files.read(path).map(|(_, octets)| Zeroizing::new(octets)).unwrap_or_default();
            text.push(b'\n');
        }
        for key in own {
            let secret = self.own_key(key, files)?;
            for address in &key.addresses {
                if listed.as_ref().is_some_and(|listed| listed.entry(address.to_string()).is_some()) {
                    let message = format!("{address} has a key of its own here, and another one in psk.txt");
                    self.error(&key.file.span, message);
                }
                let mut line = Zeroizing::new(format!("{address} 0x").into_bytes());
                for octet in secret.expose() {
                    line.extend(format!("{octet:02x}").bytes());
                }
                line.push(b'\n');
                // What grows leaves a copy behind: the text is made anew, and the old one wiped.
                let mut longer = Zeroizing::new(Vec::with_capacity(text.len() + line.len()));
                longer.extend_from_slice(&text);
                longer.extend_from_slice(&line);
                text = longer;
            }
        }
        let name = psk_txt.map_or_else(|| self.source.name().to_string(), |path| path.display().to_string());
        let (file, said) = psk::parse(&name, &text);
        // Of psk.txt everything was said above.
        for said in said.iter().filter(|said| psk_txt.is_none() || said.severity == Severity::Error) {
            let first = own.first().map_or(0..0, |key| key.file.span.clone());
            self.diagnostics.push(Diagnostic::at(said.severity, &self.source, first, said.message.clone()));
        }
        file
    }

    /// The key in a file of its own: one word, as racoon's psk.txt would have it behind the identity.
    fn own_key(&mut self, key: &OwnKey, files: &dyn Files) -> Option<Secret> {
        let Located { value: path, span } = &key.file;
        let shown = path.display();
        let (facts, octets) = match files.read(path) {
            Ok((facts, octets)) => (facts, Zeroizing::new(octets)),
            Err(error) => {
                self.error(span, format!("cannot read {shown}: {error}"));
                return None;
            }
        };
        let me = files.effective_uid();
        if !facts.regular || facts.owner != me || facts.mode & 0o077 != 0 {
            let message = format!("{shown} must be a regular file of uid {me} with mode 0600");
            self.error_with_help(span, message, "`chmod 600` the file, and `chown` it to the daemon's user");
            return None;
        }
        let key = octets.trim_ascii();
        let is_word = !key.is_empty() && key.len() <= LONGEST && key.iter().all(u8::is_ascii_graphic);
        if !is_word {
            let help = "a psk.txt with identities is named once, at the top of the file";
            self.error_with_help(
                span,
                format!("{shown} must hold one word, the key, and nothing else"),
                help,
            );
            return None;
        }
        match key.strip_prefix(b"0x") {
            None => Some(Secret::from_slice(key)),
            Some(digits) => {
                let pair = |pair: &[u8]| u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok();
                let is_hex = digits.len().is_multiple_of(2) && digits.iter().all(u8::is_ascii_hexdigit);
                let octets = digits.chunks(2).map(pair).collect::<Option<Vec<u8>>>();
                match octets.filter(|octets| is_hex && !octets.is_empty()) {
                    Some(octets) => Some(Secret::new(octets)),
                    None => {
                        let help = "after 0x, write an even number of hexadecimal digits";
                        self.error_with_help(span, format!("the key in {shown} is malformed"), help);
                        None
                    }
                }
            }
        }
    }
}
