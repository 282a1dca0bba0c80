//! Reads capture files in the classic pcap format, as tcpdump writes them on the same machine.

use crate::failure::Result;
use crate::{ensure, fail};

const MAGIC_MICROSECONDS: u32 = 0xa1b2_c3d4;
const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
const LINKTYPE_ETHERNET: u32 = 1;
const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;

/// The frames of a capture, oldest first. A record cut short at the end (the writer still runs) is left out.
///
/// # Errors
/// When this is not a little-endian pcap of Ethernet frames.
pub fn frames(file: &[u8]) -> Result<Vec<&[u8]>> {
    let Some(magic) = word(file, 0) else { return Ok(Vec::new()) };
    ensure!(matches!(magic, MAGIC_MICROSECONDS | MAGIC_NANOSECONDS), "unknown magic number {magic:#010x}");
    match word(file, 20) {
        Some(LINKTYPE_ETHERNET) => {}
        other => fail!("link type {other:?} is not Ethernet"),
    }
    let mut frames = Vec::new();
    let mut rest = file.get(FILE_HEADER..).unwrap_or_default();
    while let Some(length) = word(rest, 8).and_then(|length| usize::try_from(length).ok()) {
        let Some(frame) = rest.get(RECORD_HEADER..RECORD_HEADER + length) else { break };
        frames.push(frame);
        rest = &rest[RECORD_HEADER + length..];
    }
    Ok(frames)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(four.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header that tcpdump 4.99 writes on x86-64: version 2.4, snap length 262144, Ethernet.
    const HEADER: [u8; 24] =
        [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];

    fn record(frame: &[u8]) -> Vec<u8> {
        let length = u32::try_from(frame.len()).unwrap().to_le_bytes();
        [&[0; 8], &length[..], &length[..], frame].concat()
    }

    #[test]
    fn each_record_is_one_frame() {
        let file = [&HEADER[..], &record(b"first"), &record(b"second one")].concat();
        assert_eq!(frames(&file).unwrap(), [&b"first"[..], b"second one"]);
    }

    #[test]
    fn a_record_still_being_written_is_left_out() {
        let file = [&HEADER[..], &record(b"first"), &record(b"second one")].concat();
        assert_eq!(frames(&file[..file.len() - 1]).unwrap(), [b"first"]);
        assert!(frames(&[]).unwrap().is_empty());
    }

    #[test]
    fn another_format_is_refused() {
        assert!(frames(&[0x0a, 0x0d, 0x0d, 0x0a, 0, 0, 0, 0]).is_err());
        let mut cooked = HEADER;
        cooked[20] = 113;
        assert!(frames(&cooked).is_err());
    }
}
