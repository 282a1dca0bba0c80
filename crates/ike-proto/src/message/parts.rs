//! The payloads of a message, found by kind.

use crate::error::Error;
use crate::wire::registry::NotifyType;
use crate::wire::{Auth, Cert, CertReq, Delete, Id, Ke, Nonce, Notify, Payload, Sa, Ts, Vendor};

/// Payloads of one message, in their order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Parts(pub Vec<Payload>);

macro_rules! single {
    ($($(#[$doc:meta])* $name:ident: $variant:ident -> $type:ty, $text:literal;)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// If there is none, or more than one.
        pub fn $name(&self) -> Result<&$type, Error> {
            let mut found = self.0.iter().filter_map(|payload| match payload {
                Payload::$variant(value) => Some(value),
                _ => None,
            });
            match (found.next(), found.next()) {
                (Some(value), None) => Ok(value),
                (None, _) => Err(Error::malformed(concat!("the ", $text, " payload is missing"))),
                (Some(_), Some(_)) => Err(Error::malformed(concat!("there are two ", $text, " payloads"))),
            }
        }
    )*};
}

impl Parts {
    single! {
        /// The one SA payload.
        sa: Sa -> Sa, "SA";
        /// The one KE payload.
        ke: Ke -> Ke, "KE";
        /// The one nonce.
        nonce: Nonce -> Nonce, "Nonce";
        /// The one initiator's identity.
        id_i: IdI -> Id, "IDi";
        /// The one responder's identity.
        id_r: IdR -> Id, "IDr";
        /// The one AUTH payload.
        auth: Auth -> Auth, "AUTH";
        /// The one TSi payload.
        ts_i: TsI -> Ts, "TSi";
        /// The one TSr payload.
        ts_r: TsR -> Ts, "TSr";
    }

    /// The KE payload, where it may be left out.
    ///
    /// # Errors
    /// If there is more than one.
    pub fn optional_ke(&self) -> Result<Option<&Ke>, Error> {
        if self.0.iter().any(|payload| matches!(payload, Payload::Ke(_))) {
            self.ke().map(Some)
        } else {
            Ok(None)
        }
    }

    /// Whether there is an SA payload.
    #[must_use]
    pub fn has_sa(&self) -> bool {
        self.0.iter().any(|payload| matches!(payload, Payload::Sa(_)))
    }

    /// Whether there is an AUTH payload.
    #[must_use]
    pub fn has_auth(&self) -> bool {
        self.0.iter().any(|payload| matches!(payload, Payload::Auth(_)))
    }

    /// All notifies.
    pub fn notifies(&self) -> impl Iterator<Item = &Notify> {
        self.0.iter().filter_map(|payload| match payload {
            Payload::Notify(notify) => Some(notify),
            _ => None,
        })
    }

    /// The first notify of `notify_type`.
    #[must_use]
    pub fn notify(&self, notify_type: NotifyType) -> Option<&Notify> {
        self.notifies().find(|notify| notify.notify_type == notify_type)
    }

    /// Whether there is a notify of `notify_type`.
    #[must_use]
    pub fn has(&self, notify_type: NotifyType) -> bool {
        self.notify(notify_type).is_some()
    }

    /// The first notify that reports an error.
    #[must_use]
    pub fn error(&self) -> Option<&Notify> {
        self.notifies().find(|notify| notify.notify_type.is_error())
    }

    /// All DELETE payloads.
    pub fn deletes(&self) -> impl Iterator<Item = &Delete> {
        self.0.iter().filter_map(|payload| match payload {
            Payload::Delete(delete) => Some(delete),
            _ => None,
        })
    }

    /// All certificates.
    pub fn certs(&self) -> impl Iterator<Item = &Cert> {
        self.0.iter().filter_map(|payload| match payload {
            Payload::Cert(cert) => Some(cert),
            _ => None,
        })
    }

    /// All requests for certificates.
    pub fn certreqs(&self) -> impl Iterator<Item = &CertReq> {
        self.0.iter().filter_map(|payload| match payload {
            Payload::CertReq(certreq) => Some(certreq),
            _ => None,
        })
    }

    /// All vendor ids.
    pub fn vendors(&self) -> impl Iterator<Item = &Vendor> {
        self.0.iter().filter_map(|payload| match payload {
            Payload::Vendor(vendor) => Some(vendor),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_found_none_and_two_are_errors() {
        let nonce = || Payload::Nonce(Nonce(vec![7; 32]));
        assert!(Parts(Vec::new()).nonce().is_err());
        assert_eq!(Parts(vec![nonce()]).nonce(), Ok(&Nonce(vec![7; 32])));
        assert!(Parts(vec![nonce(), nonce()]).nonce().is_err());
        assert_eq!(Parts(vec![nonce()]).optional_ke(), Ok(None));
    }

    #[test]
    fn errors_are_told_from_status() {
        let parts = Parts(vec![
            Payload::Notify(Notify::status(NotifyType::USE_TRANSPORT_MODE, Vec::new())),
            Payload::Notify(Notify::error(NotifyType::TS_UNACCEPTABLE)),
        ]);
        assert_eq!(parts.error().map(|n| n.notify_type), Some(NotifyType::TS_UNACCEPTABLE));
        assert!(parts.has(NotifyType::USE_TRANSPORT_MODE));
        assert!(!parts.has(NotifyType::COOKIE));
    }
}
