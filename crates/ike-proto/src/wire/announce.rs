//! What an end says it verifies: SIGNATURE_HASH_ALGORITHMS (RFC 7427 §4) and SUPPORTED_AUTH_METHODS (RFC 9593 §3.2).
//!
//! Both are lists in the data of a notify. What is not understood in them is passed over, as both RFCs ask.

use super::notify::Notify;
use super::registry::{AuthMethod, NotifyType, SignatureHash};

/// One way of authentication that its sender accepts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announcement {
    /// The method.
    pub method: AuthMethod,
    /// For [`AuthMethod::DIGITAL_SIGNATURE`] the AlgorithmIdentifier in DER, at most 252 octets; else empty.
    pub algorithm: Vec<u8>,
}

/// Announcements of one notify that are looked at.
const MOST: usize = 64;

impl Announcement {
    /// A method that needs no more to be said about it.
    #[must_use]
    pub const fn of(method: AuthMethod) -> Self {
        Self { method, algorithm: Vec::new() }
    }

    /// A digital signature of this algorithm.
    #[must_use]
    pub const fn signature(algorithm: Vec<u8>) -> Self {
        Self { method: AuthMethod::DIGITAL_SIGNATURE, algorithm }
    }

    /// The octets of one announcement: its length, the method, for signatures the authority it holds for (zero: all), the
    /// algorithm.
    fn write(&self, out: &mut Vec<u8>) {
        let signs = !matches!(self.method, AuthMethod::SHARED_KEY | AuthMethod::NULL | AuthMethod::GSPM);
        let rest = if signs { [&[0], self.algorithm.as_slice()].concat() } else { Vec::new() };
        if let Ok(length) = u8::try_from(2 + rest.len()) {
            out.extend([length, self.method.0]);
            out.extend(rest);
        }
    }
}

/// The notify that announces `methods`.
#[must_use]
pub fn supported_auth_methods(methods: &[Announcement]) -> Notify {
    let mut data = Vec::new();
    methods.iter().for_each(|method| method.write(&mut data));
    Notify::status(NotifyType::SUPPORTED_AUTH_METHODS, data)
}

/// The methods that a notify announces, as far as they can be read; which authority one is bound to does not matter here.
#[must_use]
pub fn announced(notify: &Notify) -> Vec<Announcement> {
    let mut rest = notify.data.as_slice();
    let mut found = Vec::new();
    while let Some((length, behind)) = rest.split_first() {
        let own = usize::from(*length).saturating_sub(1);
        let Some((one, behind)) = behind.split_at_checked(own) else { break };
        rest = behind;
        if let Some((method, more)) = one.split_first()
            && found.len() < MOST
        {
            let algorithm = more.get(1..).unwrap_or_default().to_vec();
            found.push(Announcement { method: AuthMethod(*method), algorithm });
        }
    }
    found
}

/// The notify that names `hashes`.
#[must_use]
pub fn signature_hash_algorithms(hashes: &[SignatureHash]) -> Notify {
    let data = hashes.iter().flat_map(|hash| hash.0.to_be_bytes()).collect();
    Notify::status(NotifyType::SIGNATURE_HASH_ALGORITHMS, data)
}

/// The hashes that a notify names.
#[must_use]
pub fn hashes(notify: &Notify) -> Vec<SignatureHash> {
    let (pairs, _) = notify.data.as_chunks::<2>();
    pairs.iter().take(MOST).map(|pair| SignatureHash(u16::from_be_bytes(*pair))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements_have_the_three_forms_of_the_rfc() {
        // RFC 9593 §3.2.1 to §3.2.3: two octets, three with the authority, more with an AlgorithmIdentifier (Ed25519's here).
        let ed25519 = vec![0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];
        let methods = [
            Announcement::of(AuthMethod::SHARED_KEY),
            Announcement::of(AuthMethod::ECDSA_256),
            Announcement::signature(ed25519.clone()),
        ];
        let notify = supported_auth_methods(&methods);
        assert_eq!(notify.data, [&[2, 2, 3, 9, 0, 10, 14, 0], ed25519.as_slice()].concat());
        assert_eq!(announced(&notify), methods);
    }

    #[test]
    fn what_cannot_be_read_ends_the_list_and_does_no_harm() {
        let data =
            |data: &[u8]| announced(&Notify::status(NotifyType::SUPPORTED_AUTH_METHODS, data.to_vec()));
        let shared_key = Announcement::of(AuthMethod::SHARED_KEY);
        assert_eq!(data(&[]), []);
        assert_eq!(data(&[2, 2, 9, 14, 0]), std::slice::from_ref(&shared_key));
        // A length of zero or one says nothing of a method; it must not stop the reader from getting on.
        assert_eq!(data(&[0, 1, 2, 2]), [shared_key]);
        assert_eq!(
            data(&[3, 14, 7, 4, 14, 1, 5]),
            [Announcement::of(AuthMethod::DIGITAL_SIGNATURE), Announcement::signature(vec![5]),]
        );
        assert_eq!(data(&[2; 8000]).len(), MOST);
    }

    #[test]
    fn hashes_are_numbers_of_two_octets() {
        let named = [SignatureHash::SHA2_256, SignatureHash::IDENTITY];
        let notify = signature_hash_algorithms(&named);
        assert_eq!(notify.data, [0, 2, 0, 5]);
        assert_eq!(hashes(&notify), named);
        assert_eq!(hashes(&Notify::status(NotifyType::SIGNATURE_HASH_ALGORITHMS, vec![0, 2, 0])), [named[0]]);
    }
}
