//! What is wrong with octets that cannot be read, where, and in which payload.

use core::fmt;

use super::registry::PayloadType;

/// Why a message was not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WireError {
    /// The octets break the format (INVALID_SYNTAX, RFC 7296 §3.10.1).
    Malformed {
        /// The payload being read; `NONE` for the header and the chain itself.
        payload: PayloadType,
        /// Octets from the start of what was handed in (the message, or the decrypted chain) to the fault.
        offset: usize,
        /// What is wrong there.
        fault: Fault,
    },
    /// A payload of a type not known here has its critical bit set (UNSUPPORTED_CRITICAL_PAYLOAD, RFC 7296 §2.5).
    UnsupportedCritical(PayloadType),
}

/// What is wrong; each names the field in the RFC's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The octets end before the field does.
    Truncated(&'static str),
    /// A length that the field cannot have.
    Length(&'static str),
    /// More of them than are accepted.
    TooMany(&'static str),
    /// None where one is required.
    Missing(&'static str),
    /// A value that the field cannot have.
    Value(&'static str),
    /// Octets are left over behind the last field.
    Trailing,
    /// An SK or SKF payload where none may stand.
    Misplaced,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { payload: PayloadType::NONE, offset, fault } => {
                write!(f, "malformed message at octet {offset}: {fault}")
            }
            Self::Malformed { payload, offset, fault } => {
                write!(f, "malformed {payload} payload at octet {offset}: {fault}")
            }
            Self::UnsupportedCritical(payload) => write!(f, "critical payload of unknown type {payload}"),
        }
    }
}

impl core::error::Error for WireError {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated(field) => write!(f, "ends inside the {field}"),
            Self::Length(field) => write!(f, "impossible length of the {field}"),
            Self::TooMany(field) => write!(f, "too many {field}"),
            Self::Missing(field) => write!(f, "no {field}"),
            Self::Value(field) => write!(f, "impossible {field}"),
            Self::Trailing => f.write_str("octets left over"),
            Self::Misplaced => f.write_str("encrypted payload out of place"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_payload_offset_and_field() {
        let error = WireError::Malformed {
            payload: PayloadType::SA,
            offset: 36,
            fault: Fault::Truncated("proposal"),
        };
        assert_eq!(error.to_string(), "malformed SA payload at octet 36: ends inside the proposal");
        let error = WireError::Malformed { payload: PayloadType::NONE, offset: 28, fault: Fault::Trailing };
        assert_eq!(error.to_string(), "malformed message at octet 28: octets left over");
    }
}
