//! Files of PEM blocks (RFC 7468): keys, certificates and CRLs, several in one file, with text between them.

use ike_proto::secret::Secret;
use pem_rfc7468::{Decoder, LineEnding};

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
/// The header with which OpenSSL's older files say that what follows is encrypted (RFC 1421 §4.6.1.1).
const ENCRYPTED: &[u8] = b"Proc-Type: 4,ENCRYPTED";

/// One block; its octets are wiped when it is dropped, for they may be a key.
pub(crate) struct Block {
    pub(crate) label: String,
    pub(crate) content: Content,
}

pub(crate) enum Content {
    Der(Secret),
    /// Encrypted by headers inside the block.
    Encrypted,
    /// Not base64, or without its end.
    Broken,
}

/// Whether `file` is PEM and not DER: it has a block's first line.
pub(crate) fn is_pem(file: &[u8]) -> bool {
    position(file, BEGIN).is_some()
}

/// All blocks of `file`, in order; what stands between them is skipped.
pub(crate) fn blocks(file: &[u8]) -> Vec<Block> {
    let mut found = Vec::new();
    let mut rest = file;
    while let Some(block) = position(rest, BEGIN).and_then(|at| rest.get(at..)) {
        let len = block_len(block);
        let (block, behind) = block.split_at_checked(len).unwrap_or((block, &[]));
        found.push(read(block));
        rest = behind;
    }
    found
}

/// The certificates' or CRLs' DER in `file`, which is PEM with blocks of one of `labels`, or one DER object.
pub(crate) fn ders(file: &[u8], labels: &[&str]) -> Vec<Vec<u8>> {
    if !is_pem(file) {
        return vec![file.to_vec()];
    }
    let wanted = blocks(file).into_iter().filter(|block| labels.contains(&block.label.as_str()));
    wanted
        .map(|block| match block.content {
            Content::Der(der) => der.expose().to_vec(),
            Content::Encrypted | Content::Broken => Vec::new(),
        })
        .collect()
}

/// A block of `der`, lines of 64 letters.
pub(crate) fn encode(label: &str, der: &[u8]) -> String {
    // Its label is one of ours and its length bounded by what was read: nothing of it can fail.
    pem_rfc7468::encode_string(label, LineEnding::LF, der).unwrap_or_default()
}

/// Octets up to and with the line that ends the block; all there are if no line does.
fn block_len(block: &[u8]) -> usize {
    let Some(end) = position(block, END) else { return block.len() };
    let behind = end + END.len();
    let tail = block.get(behind..).unwrap_or_default();
    let dashes = position(tail, b"-----").map_or(tail.len(), |at| at + 5);
    behind + dashes
}

fn read(block: &[u8]) -> Block {
    let label = block.get(BEGIN.len()..).unwrap_or_default();
    let label = position(label, b"-----").and_then(|end| label.get(..end)).unwrap_or_default();
    let label = String::from_utf8_lossy(label).into_owned();
    if position(block, ENCRYPTED).is_some() {
        return Block { label, content: Content::Encrypted };
    }
    let mut der = Vec::with_capacity(block.len());
    let whole = Decoder::new_detect_wrap(block)
        .and_then(|mut decoder| decoder.decode_to_end(&mut der).map(|_| ()))
        .is_ok();
    let der = Secret::new(der);
    Block { label, content: if whole { Content::Der(der) } else { Content::Broken } }
}

fn position(within: &[u8], wanted: &[u8]) -> Option<usize> {
    within.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_among_text_and_keep_their_order() {
        let file = b"Certificate:\n text\n-----BEGIN A-----\nAAEC\n-----END A-----\nmore\r\n-----BEGIN B C-----\r\nAwQ=\r\n-----END B C-----\r\n";
        let found: Vec<_> = blocks(file)
            .into_iter()
            .map(|block| match block.content {
                Content::Der(der) => (block.label, der.expose().to_vec()),
                _ => panic!("{} is broken", block.label),
            })
            .collect();
        assert_eq!(found, [("A".to_owned(), vec![0, 1, 2]), ("B C".to_owned(), vec![3, 4])]);
        assert!(is_pem(file) && !is_pem(&[0x30, 0x03, 0x02, 0x01, 0x00]));
    }

    #[test]
    fn what_is_cut_off_or_no_base64_is_broken_and_not_left_out() {
        for file in [
            "-----BEGIN A-----\nAAEC\n",
            "-----BEGIN A-----\n!!!!\n-----END A-----\n",
            "-----BEGIN ",
            "-----BEGIN A",
        ] {
            let found = blocks(file.as_bytes());
            assert!(matches!(found.as_slice(), [Block { content: Content::Broken, .. }]), "{file}");
        }
    }

    #[test]
    fn a_file_that_is_not_pem_is_one_der_object() {
        assert_eq!(ders(&[0x30, 0x00], &["CERTIFICATE"]), [vec![0x30, 0x00]]);
        let file = b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n";
        assert_eq!(ders(file, &["CERTIFICATE"]), [vec![0x30, 0x00]]);
    }
}
