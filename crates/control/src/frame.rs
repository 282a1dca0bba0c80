//! Messages on the wire: JSON, each ended by one NUL octet.

use std::io;

/// No request is longer, in octets without its NUL.
pub const LARGEST_REQUEST: usize = 64 * 1024;

/// No reply is longer, in octets without its NUL: some 20,000 pairs.
pub const LARGEST_REPLY: usize = 64 * 1024 * 1024;

/// Cuts messages out of a stream of octets.
#[derive(Debug)]
pub struct Frames {
    buffer: Vec<u8>,
    /// Octets of `buffer` that hold no NUL.
    searched: usize,
    largest: usize,
}

impl Frames {
    /// A stream whose messages have at most `largest` octets.
    #[must_use]
    pub const fn new(largest: usize) -> Self {
        Self { buffer: Vec::new(), searched: 0, largest }
    }

    /// Appends what was read.
    pub fn push(&mut self, octets: &[u8]) {
        self.buffer.extend_from_slice(octets);
    }

    /// The next whole message, without its NUL.
    ///
    /// # Errors
    /// The message is longer than it may be.
    pub fn next_message(&mut self) -> io::Result<Option<Vec<u8>>> {
        let rest = self.buffer.get(self.searched..).unwrap_or_default();
        let end = rest.iter().position(|octet| *octet == 0).map(|at| self.searched + at);
        if end.unwrap_or(self.buffer.len()) > self.largest {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is too long"));
        }
        let Some(end) = end else {
            self.searched = self.buffer.len();
            return Ok(None);
        };
        let after = self.buffer.split_off(end + 1);
        let mut message = core::mem::replace(&mut self.buffer, after);
        message.pop();
        self.searched = 0;
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_however_the_octets_arrive() {
        for step in 1..9 {
            let mut frames = Frames::new(8);
            let mut seen = Vec::new();
            for piece in b"one\0\0three\0fo".chunks(step) {
                frames.push(piece);
                while let Some(message) = frames.next_message().unwrap() {
                    seen.push(message);
                }
            }
            assert_eq!(seen, [b"one".as_slice(), b"", b"three"], "{step}");
        }
    }

    #[test]
    fn a_message_without_end_is_refused_at_the_limit() {
        let mut frames = Frames::new(4);
        frames.push(b"1234");
        assert_eq!(frames.next_message().unwrap(), None);
        frames.push(b"5");
        assert!(frames.next_message().is_err());
        let mut whole = Frames::new(4);
        whole.push(b"12345\0");
        assert!(whole.next_message().is_err());
    }
}
