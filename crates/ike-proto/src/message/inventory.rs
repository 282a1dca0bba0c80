//! The inventory that two Coatis tell each other in the liveness exchange: which children an end has, and what they carried.
//!
//! A peer shows that it knows it by [`VENDOR_ID`] in IKE_AUTH. The status notify is of the private range (RFC 7296 §3.10.1).
//!
//! ```text
//! octet    0          1        2           4                     8                      12
//!       | version=1 | flags  | zero      | next id it expects  | next id it will send | entries ...
//! entry:  SPI it receives on (4) | packets received on it (8) | packets sent on the child's other SPI (8)
//! ```
//!
//! The two ids say which exchanges the inventory knows of: it is compared only by an end that knows of the same ones, so that
//! a message that was late proves nothing.

use crate::error::Error;
use crate::ids::ChildSpi;
use crate::wire::registry::NotifyType;
use crate::wire::{Notify, Payload, Vendor};

/// By this an implementation is known to understand [`INVENTORY`].
pub const VENDOR_ID: &[u8] = b"Coati inventory 1";

/// The notify; of the range for private status types.
pub const INVENTORY: NotifyType = NotifyType(49_817);

/// Children of an inventory; an end with more tells none.
pub const MOST_ENTRIES: usize = 64;

const VERSION: u8 = 1;
const BUSY: u8 = 1;
const HEAD_LEN: usize = 12;
const ENTRY_LEN: usize = 20;

/// One child, as the end that tells of it has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The SPI it receives on.
    pub spi_in: ChildSpi,
    /// Packets it has received.
    pub received: u64,
    /// Packets it has sent.
    pub sent: u64,
}

/// What an end has.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Inventory {
    /// Whether an exchange about a child is under way or about to be: then nothing is compared.
    pub busy: bool,
    /// The message id of the next request it expects.
    pub expects: u32,
    /// The message id of its own next request; of this one, if this is a request.
    pub next: u32,
    /// All its children.
    pub entries: Vec<Entry>,
}

/// The vendor id, as a payload.
#[must_use]
pub fn vendor() -> Payload {
    Payload::Vendor(Vendor(VENDOR_ID.to_vec()))
}

impl Inventory {
    /// The notify of it.
    #[must_use]
    pub fn payload(&self) -> Payload {
        let mut data = Vec::with_capacity(HEAD_LEN + ENTRY_LEN * self.entries.len());
        data.extend([VERSION, if self.busy { BUSY } else { 0 }, 0, 0]);
        data.extend(self.expects.to_be_bytes());
        data.extend(self.next.to_be_bytes());
        for entry in &self.entries {
            data.extend(entry.spi_in.0.to_be_bytes());
            data.extend(entry.received.to_be_bytes());
            data.extend(entry.sent.to_be_bytes());
        }
        Payload::Notify(Notify::status(INVENTORY, data))
    }

    /// Reads a notify's data; `None` for a version that is not ours.
    ///
    /// # Errors
    /// If it has another length than its version wants.
    pub fn read(data: &[u8]) -> Result<Option<Self>, Error> {
        let malformed = || Error::malformed("the inventory has another length");
        let (head, entries) = data.split_first_chunk::<HEAD_LEN>().ok_or_else(malformed)?;
        let [version, flags, _, _, e0, e1, e2, e3, n0, n1, n2, n3] = *head;
        if version != VERSION {
            return Ok(None);
        }
        let (entries, rest) = entries.as_chunks::<ENTRY_LEN>();
        if !rest.is_empty() || entries.len() > MOST_ENTRIES {
            return Err(malformed());
        }
        Ok(Some(Self {
            busy: flags & BUSY != 0,
            expects: u32::from_be_bytes([e0, e1, e2, e3]),
            next: u32::from_be_bytes([n0, n1, n2, n3]),
            entries: entries.iter().map(Entry::read).collect(),
        }))
    }

    /// The entry of the child that the teller receives on under `spi_in`.
    #[must_use]
    pub fn entry(&self, spi_in: ChildSpi) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.spi_in == spi_in)
    }
}

impl Entry {
    fn read(octets: &[u8; ENTRY_LEN]) -> Self {
        let [s0, s1, s2, s3, r0, r1, r2, r3, r4, r5, r6, r7, t0, t1, t2, t3, t4, t5, t6, t7] = *octets;
        Self {
            spi_in: ChildSpi(u32::from_be_bytes([s0, s1, s2, s3])),
            received: u64::from_be_bytes([r0, r1, r2, r3, r4, r5, r6, r7]),
            sent: u64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(inventory: &Inventory) -> Vec<u8> {
        match inventory.payload() {
            Payload::Notify(notify) => notify.data,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let entry = Entry { spi_in: ChildSpi(0x0102_0304), received: 5, sent: u64::MAX };
        let inventory = Inventory { busy: true, expects: 7, next: 9, entries: vec![entry, entry] };
        let data = written(&inventory);
        assert_eq!(data.len(), 52);
        assert_eq!(Inventory::read(&data), Ok(Some(inventory)));
    }

    #[test]
    fn other_lengths_are_errors_and_other_versions_are_left_alone() {
        let data = written(&Inventory { entries: vec![], ..Inventory::default() });
        assert!(Inventory::read(data.get(..11).unwrap()).is_err());
        assert!(Inventory::read(&[data.as_slice(), &[0; 19]].concat()).is_err());
        let endless = [data.as_slice(), &[0; ENTRY_LEN * (MOST_ENTRIES + 1)]].concat();
        assert!(Inventory::read(&endless).is_err());
        let mut later = data;
        later[0] = 2;
        assert_eq!(Inventory::read(&later), Ok(None));
    }

    #[test]
    fn its_type_is_a_private_status_type() {
        assert!((40_960..=65_535).contains(&INVENTORY.0) && !INVENTORY.is_error());
    }
}
