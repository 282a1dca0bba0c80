//! The Authentication payload (RFC 7296 §3.8).

use core::fmt;

use super::error::WireError;
use super::octets::Reader;
use super::registry::AuthMethod;

/// The proof of one end's identity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Auth {
    /// How `data` was made.
    pub method: AuthMethod,
    /// The code or signature, 1 to [`Auth::MAX_DATA`] octets.
    pub data: Vec<u8>,
}

impl Auth {
    /// Octets of the longest proof that is read: RSA with 8,192 bits has 1,024, ML-DSA-87 has 4,627.
    pub const MAX_DATA: usize = 8192;

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let method = AuthMethod(reader.u8("auth method")?);
        reader.array::<3>("reserved field")?;
        Ok(Self { method, data: reader.rest(1..=Self::MAX_DATA, "authentication data")? })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend([self.method.0, 0, 0, 0]);
        out.extend(&self.data);
    }
}

impl fmt::Display for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AUTH({})", self.method)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::registry::PayloadType;
    use crate::wire::{Payload, strategies};

    #[test]
    fn each_field_is_where_the_rfc_draws_it() {
        // RFC 7296 §3.8: method, three reserved octets (ignored), data.
        let auth = Auth { method: AuthMethod::SHARED_KEY, data: vec![5, 6] };
        assert_eq!(Payload::read(PayloadType::AUTH, &[2, 1, 1, 1, 5, 6]), Ok(Payload::Auth(auth)));
    }

    #[test]
    fn there_is_a_proof_and_it_is_bounded() {
        assert!(Payload::read(PayloadType::AUTH, &[2, 0, 0, 0]).is_err());
        assert!(Payload::read(PayloadType::AUTH, &[2; 4 + Auth::MAX_DATA]).is_ok());
        assert!(Payload::read(PayloadType::AUTH, &[2; 5 + Auth::MAX_DATA]).is_err());
    }

    #[test]
    fn a_trace_does_not_show_the_proof() {
        let auth = Auth { method: AuthMethod::DIGITAL_SIGNATURE, data: vec![65; 3] };
        assert_eq!(auth.to_string(), "AUTH(Digital Signature)");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(auth in strategies::auth()) {
            let mut out = Vec::new();
            auth.write(&mut out);
            prop_assert_eq!(Payload::read(PayloadType::AUTH, &out), Ok(Payload::Auth(auth)));
        }
    }
}
