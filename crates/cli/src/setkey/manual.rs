//! `add`: from setkey's words to the kernel's SA.

use coati_config::setkey::model::{
    ManualAuth, ManualCipher, ManualKey, ManualMode, ManualSa, SaId as WrittenId, SaProtocol,
};
use ike_proto::secret::Secret;
use xfrm_sys::constants::{XFRM_INF, XFRMA_ALG_COMP, XFRMA_REPLAY_ESN_MAX};
use xfrm_sys::{
    Aead, AlgorithmName, Attribute, Authentication, Encap, Encryption, Key, Mode, Protocol, ReplayEsn, Sa,
    SaId,
};

use super::names;

/// The port of ESP in UDP where none is written (RFC 3948).
const ESP_IN_UDP: u16 = 4500;
/// The widest window that the kernel's old form holds, in packets.
const OLD_WINDOW: u8 = 32;

/// The kernel's protocol of an SA; none for TCP-MD5, which XFRM does not have.
pub(super) const fn kernel_protocol(protocol: SaProtocol) -> Option<Protocol> {
    match protocol {
        SaProtocol::Esp | SaProtocol::EspOld | SaProtocol::EspUdp { .. } => Some(Protocol::ESP),
        SaProtocol::Ah | SaProtocol::AhOld => Some(Protocol::AH),
        SaProtocol::Ipcomp => Some(Protocol::IPCOMP),
        SaProtocol::Tcp => None,
    }
}

/// What the kernel knows an SA by: it does not look at the source.
pub(super) fn kernel_id(written: &WrittenId) -> Option<SaId> {
    let protocol = kernel_protocol(written.protocol)?;
    Some(SaId { destination: written.dst.addr, spi: written.spi, protocol })
}

/// The SA that `add` asks for, or what Linux lacks for it.
pub(super) fn kernel_sa(written: &ManualSa) -> Result<Sa, String> {
    let old = match written.id.protocol {
        SaProtocol::EspOld => Some("esp-old"),
        SaProtocol::AhOld => Some("ah-old"),
        SaProtocol::Tcp => Some("tcp"),
        _ => None,
    };
    if let Some(old) = old {
        return Err(format!("Linux has no SAs of protocol `{old}`"));
    }
    if written.context.is_some() {
        return Err("security labels (`-ctx`) are not supported".to_owned());
    }
    let Some(id) = kernel_id(&written.id) else { return Err("Linux has no such SAs".to_owned()) };
    let mut sa = Sa::new(written.id.src.addr, id);
    sa.mode = match written.mode {
        ManualMode::Tunnel => Mode::TUNNEL,
        ManualMode::Transport | ManualMode::Any => Mode::TRANSPORT,
    };
    sa.reqid = written.reqid;
    if let SaProtocol::EspUdp { original } = written.id.protocol {
        let port = |port: Option<u16>| port.unwrap_or(ESP_IN_UDP);
        let encap = Encap::udp(port(written.id.src.port), port(written.id.dst.port));
        sa.encap = Some(Encap { original_address: original, ..encap });
    }
    match u8::try_from(written.replay_window) {
        Ok(window @ ..=OLD_WINDOW) => sa.replay_window = window,
        _ if written.replay_window <= XFRMA_REPLAY_ESN_MAX => {
            sa.replay_esn = Some(ReplayEsn::new(written.replay_window));
        }
        _ => return Err(format!("the replay window has at most {} octets", XFRMA_REPLAY_ESN_MAX / 8)),
    }
    let lifetimes = &written.lifetimes;
    sa.limits.hard_add_seconds = lifetimes.hard_seconds.unwrap_or(0);
    sa.limits.soft_add_seconds = lifetimes.soft_seconds.unwrap_or(0);
    sa.limits.hard_bytes = lifetimes.hard_octets.unwrap_or(XFRM_INF);
    sa.limits.soft_bytes = lifetimes.soft_octets.unwrap_or(XFRM_INF);
    if let Some(cipher) = &written.encryption {
        set_cipher(&mut sa, cipher)?;
    }
    if let Some(auth) = &written.authentication {
        set_auth(&mut sa, auth)?;
    }
    if written.compression {
        sa.other.push(deflate());
    }
    Ok(sa)
}

fn set_cipher(sa: &mut Sa, cipher: &ManualKey<ManualCipher>) -> Result<(), String> {
    let key = key_of(&cipher.key);
    if cipher.algorithm == ManualCipher::AesGcm16 {
        sa.aead = Some(Aead { name: AlgorithmName::RFC4106_GCM_AES, key, icv_bits: 128 });
        return Ok(());
    }
    let Some(name) = names::kernel_cipher(cipher.algorithm) else {
        return Err("Linux has neither `des-deriv` nor `des-32iv`".to_owned());
    };
    // NULL takes no key, whatever is written.
    let key = if cipher.algorithm == ManualCipher::Null { Key::new(Vec::new()) } else { key };
    sa.encryption = Some(Encryption { name, key });
    Ok(())
}

fn set_auth(sa: &mut Sa, auth: &ManualKey<ManualAuth>) -> Result<(), String> {
    let Some((name, bits)) = names::kernel_auth(auth.algorithm) else {
        return Err("Linux has neither `keyed-md5` nor `keyed-sha1`: write an HMAC".to_owned());
    };
    let key = if auth.algorithm == ManualAuth::Null { Key::new(Vec::new()) } else { key_of(&auth.key) };
    sa.authentication = Some(Authentication { name, key, truncation_bits: Some(bits) });
    Ok(())
}

fn key_of(secret: &Secret) -> Key {
    Key::copy_of(secret.expose())
}

/// `struct xfrm_algo` without a key.
fn deflate() -> Attribute {
    let mut value = vec![0; 68];
    if let Some(name) = value.get_mut(..7) {
        name.copy_from_slice(b"deflate");
    }
    Attribute { kind: XFRMA_ALG_COMP, value: value.into() }
}
