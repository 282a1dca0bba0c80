//! Identifiers: the value is checked for its type.

use std::path::Path;
use std::sync::Arc;

use super::{Lowering, file_name};
use crate::diag::Source;
use crate::dn::DistinguishedName;
use crate::net::parse_address;
use crate::racoon::ast::{IdKind, Text, WrittenId};
use crate::racoon::model::Identifier;

/// The longest identity that fits an ID payload beside its headers.
const LONGEST: usize = 16_384;

impl Lowering<'_> {
    pub(super) fn identifier(
        &mut self,
        source: &Arc<Source>,
        directory: &Path,
        id: &WrittenId,
    ) -> Option<Identifier> {
        let span = id.span.clone();
        match (id.kind, &id.value) {
            (IdKind::Address, None) => Some(Identifier::Address(None)),
            (IdKind::Asn1Dn, None) => Some(Identifier::Asn1Dn(None)),
            (_, None) => {
                self.error(source, span, "this identifier needs a value");
                None
            }
            (_, Some(value)) if value.value.is_empty() || value.value.len() > LONGEST => {
                let what = if value.value.is_empty() { "empty" } else { "too long" };
                self.error(source, value.span.clone(), format!("the identifier is {what}"));
                None
            }
            (IdKind::KeyIdTag, Some(value)) => Some(Identifier::KeyId(value.value.clone())),
            (IdKind::KeyIdFile, Some(value)) => self.keyid_file(source, directory, value),
            (kind, Some(value)) => {
                let Ok(text) = str::from_utf8(&value.value) else {
                    self.error(source, value.span.clone(), "the identifier is not UTF-8");
                    return None;
                };
                match kind {
                    IdKind::Fqdn => Some(Identifier::Fqdn(text.to_owned())),
                    IdKind::UserFqdn => Some(Identifier::UserFqdn(text.to_owned())),
                    IdKind::Address => {
                        let address = parse_address(text).map(|endpoint| endpoint.addr);
                        if address.is_none() {
                            self.error(source, value.span.clone(), "expected a numeric address");
                        }
                        address.map(|address| Identifier::Address(Some(address)))
                    }
                    IdKind::Asn1Dn | IdKind::KeyIdFile | IdKind::KeyIdTag => {
                        let name = DistinguishedName::parse(text);
                        name.map_err(|refusal| {
                            self.error_with_help(source, value.span.clone(), refusal.message, refusal.help);
                        })
                        .ok()
                        .map(|name| Identifier::Asn1Dn(Some(name)))
                    }
                }
            }
        }
    }

    fn keyid_file(&mut self, source: &Arc<Source>, directory: &Path, value: &Text) -> Option<Identifier> {
        let path = directory.join(file_name(value));
        let problem = match self.files.read(&path) {
            Ok((_, octets)) if octets.is_empty() => "it is empty".to_owned(),
            Ok((_, octets)) if octets.len() > LONGEST => "it is too long".to_owned(),
            Ok((_, octets)) => return Some(Identifier::KeyId(octets)),
            Err(error) => error.to_string(),
        };
        let message = format!("cannot take the identifier from the file `{}`: {problem}", path.display());
        let help = "`keyid \"x\"` names a file; for the text itself write `keyid tag \"x\"`";
        self.error_with_help(source, value.span.clone(), message, help);
        None
    }
}
