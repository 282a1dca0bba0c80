//! The model of a psk.txt in canonical form: keys as their length and SHA-256.

use coati_config::psk::PskFile;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::place;

pub(super) fn model(file: &PskFile) -> Value {
    let entries: Vec<Value> = file
        .entries()
        .iter()
        .map(
            |entry| json!({ "place": place(&entry.place), "id": entry.id(), "key": key(entry.key.expose()) }),
        )
        .collect();
    json!({ "entries": entries })
}

/// A key without the key.
pub(super) fn key(octets: &[u8]) -> Value {
    let digest: String = Sha256::digest(octets).iter().map(|octet| format!("{octet:02x}")).collect();
    json!({ "octets": octets.len(), "sha256": digest })
}
