//! An SA database that holds nothing: it gives SPIs and agrees to everything, so that its own cost is none.

use ike_proto::ids::ChildSpi;
use ike_proto::policy::sad::{Acquire, Encap, SaKey, SaSpec, SaUsage, Sad, SadError, SpiRequest};

/// The database of one host.
#[derive(Debug)]
pub(crate) struct EmptySad {
    last: u32,
}

impl EmptySad {
    /// SPIs begin behind the reserved ones (RFC 4303 §2.1).
    pub(crate) const fn new() -> Self {
        Self { last: 255 }
    }
}

impl Sad for EmptySad {
    fn reserve_spi(&mut self, _request: &SpiRequest) -> Result<ChildSpi, SadError> {
        self.last = self.last.wrapping_add(1);
        Ok(ChildSpi(self.last))
    }

    fn add_inbound(&mut self, _sa: &SaSpec) -> Result<(), SadError> {
        Ok(())
    }

    fn add_outbound(&mut self, _sa: &SaSpec) -> Result<(), SadError> {
        Ok(())
    }

    fn move_ports(&mut self, _key: &SaKey, _encap: Encap) -> Result<(), SadError> {
        Ok(())
    }

    fn remove(&mut self, _key: &SaKey) -> Result<(), SadError> {
        Ok(())
    }

    /// No traffic: every peer has to be asked whether it is there.
    fn query(&mut self, _key: &SaKey) -> Result<SaUsage, SadError> {
        Ok(SaUsage::default())
    }

    fn release_acquire(&mut self, _acquire: &Acquire) {}
}
