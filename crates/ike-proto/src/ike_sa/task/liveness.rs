//! INFORMATIONAL without payloads: is the peer there? (RFC 7296 §2.4)
//!
//! ```text
//! --- SK {} -->
//! <--- SK {} ---      any verified message of the peer is as good
//! ```

use crate::ike_sa::core::Common;
use crate::ike_sa::env::Env;
use crate::ike_sa::handshake::auth::crash_token;
use crate::wire::registry::ExchangeType;

/// Gives the peer our token of quick crash detection in the same exchange (RFC 6290 §3). Tells whether there is one.
pub fn give_token(env: &mut Env<'_>, common: &mut Common) -> bool {
    let Some(token) = crash_token(env, &common.core) else { return false };
    common.request(env, ExchangeType::INFORMATIONAL, &[token]);
    true
}

/// Asks; the peer has the patience of its configuration to answer.
pub fn request(env: &mut Env<'_>, common: &mut Common) {
    common.request(env, ExchangeType::INFORMATIONAL, &[]);
    if let Some(liveness) = common.core.peer.liveness {
        common.window.bound(env.now + liveness.patience);
    }
}
