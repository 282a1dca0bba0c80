//! Cookies (RFC 7296 §2.6): a first request is answered without state until its sender shows that it receives at its address.

use std::net::IpAddr;

use crate::crypto::provider::{Prf, Provider};
use crate::ids::IkeSpi;
use crate::rng::Rng;
use crate::secret::{self, Secret};
use crate::time::{Duration, Instant};
use crate::wire::registry::PrfId;

/// A secret makes cookies this long; those it made are accepted as long again.
const ROTATION: Duration = Duration::from_secs(120);
/// Octets of a cookie's digest (RFC 7296 §2.6: a cookie has 1 to 64 octets).
const DIGEST: usize = 16;

/// The secrets cookies are made with.
pub(super) struct Cookies {
    current: (u8, Secret),
    previous: Option<(u8, Secret)>,
    rotate_at: Instant,
}

impl Cookies {
    /// Cookies with a fresh secret.
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self { current: (0, Secret::new(rng.octets(32))), previous: None, rotate_at: Instant::ZERO }
    }

    /// Takes a new secret if the present one is old enough.
    pub(super) fn rotate(&mut self, now: Instant, rng: &mut Rng) {
        if now < self.rotate_at {
            return;
        }
        // A secret that was not used for a second span is not accepted any more either.
        let idle = now >= self.rotate_at + ROTATION;
        let next = (self.current.0.wrapping_add(1), Secret::new(rng.octets(32)));
        let old = std::mem::replace(&mut self.current, next);
        self.previous = (!idle).then_some(old);
        self.rotate_at = now + ROTATION;
    }

    /// The cookie for a request from `address` with this SPI and nonce.
    pub(super) fn make(
        &self,
        provider: &dyn Provider,
        address: IpAddr,
        spi: IkeSpi,
        ni: &[u8],
    ) -> Option<Vec<u8>> {
        let prf = provider.prf(PrfId::HMAC_SHA2_256)?;
        Some(cookie(prf, &self.current, address, spi, ni))
    }

    /// Whether a cookie that came back is one of ours for this request.
    pub(super) fn accept(
        &self,
        provider: &dyn Provider,
        shown: &[u8],
        address: IpAddr,
        spi: IkeSpi,
        ni: &[u8],
    ) -> bool {
        let Some(prf) = provider.prf(PrfId::HMAC_SHA2_256) else { return false };
        let secrets = std::iter::once(&self.current).chain(&self.previous);
        secrets.into_iter().any(|with| secret::same(&cookie(prf, with, address, spi, ni), shown))
    }
}

fn cookie(prf: &dyn Prf, (version, key): &(u8, Secret), address: IpAddr, spi: IkeSpi, ni: &[u8]) -> Vec<u8> {
    let spi = spi.0.to_be_bytes();
    let digest = match address {
        IpAddr::V4(v4) => prf.compute(key.expose(), &[ni, &v4.octets(), &spi]),
        IpAddr::V6(v6) => prf.compute(key.expose(), &[ni, &v6.octets(), &spi]),
    };
    let mut cookie = vec![*version];
    cookie.extend(digest.expose().iter().take(DIGEST));
    cookie
}
