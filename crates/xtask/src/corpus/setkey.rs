//! The model of a setkey file in canonical form: its commands, and the policies that they leave behind.

use coati_config::net::{Endpoint, IpNet};
use coati_config::setkey::model::{
    Action, Command, Direction, Level, ManualAuth, ManualCipher, ManualMode, ManualSa, Mode, Padding,
    PolicyAction, PolicyFile, Rule, RuleProtocol, SaId, SaProtocol, SecurityContext, SpdPolicy, SpdSelector,
};
use coati_config::setkey::{FwdCopies, PolicySet, check_keyable};
use serde_json::{Value, json};

use super::place;
use super::psk::key;

pub(super) fn model(file: PolicyFile) -> Value {
    let files = [file];
    let (set, mut said) = PolicySet::of(&files, FwdCopies::Made);
    said.append(check_keyable(&set.policies, false));
    let [file] = files;
    json!({
        "replaces": file.replaces,
        "commands": file.commands.iter().map(command).collect::<Vec<_>>(),
        "policies": set.policies.iter().map(policy).collect::<Vec<_>>(),
        "coatid": said.to_json(),
    })
}

fn command(command: &Command) -> Value {
    let (name, about) = match &command.action {
        Action::Flush(protocol) => ("flush", json!({ "protocol": protocol.map(protocol_name) })),
        Action::Dump(protocol) => ("dump", json!({ "protocol": protocol.map(protocol_name) })),
        Action::SpdFlush => ("spdflush", Value::Null),
        Action::SpdDump => ("spddump", Value::Null),
        Action::SpdAdd(added) => ("spdadd", policy(added)),
        Action::SpdUpdate(added) => ("spdupdate", policy(added)),
        Action::SpdDelete(deleted) => ("spddelete", json!({ "selector": selector(deleted) })),
        Action::Add(added) => ("add", sa(added)),
        Action::Get(id) => ("get", json!({ "id": sa_id(id) })),
        Action::Delete(id) => ("delete", json!({ "id": sa_id(id) })),
        Action::DeleteAll { src, dst, protocol } => {
            ("deleteall", json!({ "src": src, "dst": dst, "protocol": protocol_name(*protocol) }))
        }
    };
    json!({ "place": place(&command.place), "command": name, "about": about })
}

fn policy(policy: &SpdPolicy) -> Value {
    let (action, rules) = match &policy.action {
        PolicyAction::None => ("none", Vec::new()),
        PolicyAction::Discard => ("discard", Vec::new()),
        PolicyAction::Ipsec(rules) => ("ipsec", rules.iter().map(rule).collect()),
    };
    json!({ "selector": selector(&policy.selector), "priority": policy.priority, "action": action, "rules": rules })
}

fn selector(selector: &SpdSelector) -> Value {
    let net = |net: IpNet| format!("{}/{}", net.addr, net.prefix);
    json!({
        "direction": match selector.direction {
            Direction::In => "in",
            Direction::Out => "out",
            Direction::Fwd => "fwd",
        },
        "src": net(selector.src),
        "sport": selector.sport,
        "dst": net(selector.dst),
        "dport": selector.dport,
        "protocol": selector.protocol,
        "context": selector.context.as_ref().map(context),
    })
}

fn context(context: &SecurityContext) -> Value {
    json!({ "doi": context.doi, "algorithm": context.algorithm, "label": context.label })
}

fn rule(rule: &Rule) -> Value {
    let (mode, ends) = match &rule.mode {
        Mode::Transport(ends) => ("transport", ends.as_ref().map(|(src, dst)| (src, dst))),
        Mode::Tunnel { src, dst } => ("tunnel", Some((src, dst))),
    };
    let (level, reqid) = match rule.level {
        Level::Default => ("default", None),
        Level::Use => ("use", None),
        Level::Require => ("require", None),
        Level::Unique(reqid) => ("unique", reqid),
    };
    json!({
        "protocol": match rule.protocol {
            RuleProtocol::Esp => "esp",
            RuleProtocol::Ah => "ah",
            RuleProtocol::Ipcomp => "ipcomp",
        },
        "mode": mode,
        "src": ends.map(|(src, _)| src.to_string()),
        "dst": ends.map(|(_, dst)| dst.to_string()),
        "level": level,
        "reqid": reqid,
    })
}

fn sa_id(id: &SaId) -> Value {
    let endpoint = |endpoint: &Endpoint| endpoint.to_string();
    let original = match id.protocol {
        SaProtocol::EspUdp { original } => original,
        _ => None,
    };
    json!({
        "src": endpoint(&id.src),
        "dst": endpoint(&id.dst),
        "protocol": protocol_name(id.protocol),
        "nat_oa": original,
        "spi": id.spi,
    })
}

fn sa(sa: &ManualSa) -> Value {
    json!({
        "id": sa_id(&sa.id),
        "mode": match sa.mode {
            ManualMode::Transport => "transport",
            ManualMode::Tunnel => "tunnel",
            ManualMode::Any => "any",
        },
        "replay_window": sa.replay_window,
        "reqid": sa.reqid,
        "padding": sa.padding.map(|padding| match padding {
            Padding::Zero => "zero-pad",
            Padding::Random => "random-pad",
            Padding::Sequence => "seq-pad",
        }),
        "nocyclic_seq": sa.nocyclic_seq,
        "hard_seconds": sa.lifetimes.hard_seconds,
        "soft_seconds": sa.lifetimes.soft_seconds,
        "hard_octets": sa.lifetimes.hard_octets,
        "soft_octets": sa.lifetimes.soft_octets,
        "context": sa.context.as_ref().map(context),
        "encryption": sa.encryption.as_ref().map(|cipher| json!({
            "algorithm": cipher_name(cipher.algorithm), "key": key(cipher.key.expose()),
        })),
        "authentication": sa.authentication.as_ref().map(|auth| {
            let (name, bits) = auth_name(auth.algorithm);
            json!({ "algorithm": name, "truncated_to_bits": bits, "key": key(auth.key.expose()) })
        }),
        "compression": sa.compression.then_some("deflate"),
    })
}

const fn protocol_name(protocol: SaProtocol) -> &'static str {
    match protocol {
        SaProtocol::Esp => "esp",
        SaProtocol::EspOld => "esp-old",
        SaProtocol::EspUdp { .. } => "esp-udp",
        SaProtocol::Ah => "ah",
        SaProtocol::AhOld => "ah-old",
        SaProtocol::Ipcomp => "ipcomp",
        SaProtocol::Tcp => "tcp",
    }
}

const fn cipher_name(cipher: ManualCipher) -> &'static str {
    match cipher {
        ManualCipher::DesCbc => "des-cbc",
        ManualCipher::TripleDesCbc => "3des-cbc",
        ManualCipher::Null => "null",
        ManualCipher::BlowfishCbc => "blowfish-cbc",
        ManualCipher::Cast128Cbc => "cast128-cbc",
        ManualCipher::DesDeriv => "des-deriv",
        ManualCipher::Des32Iv => "des-32iv",
        ManualCipher::TwofishCbc => "twofish-cbc",
        ManualCipher::AesCbc => "aes-cbc",
        ManualCipher::AesCtr => "aes-ctr",
        ManualCipher::CamelliaCbc => "camellia-cbc",
        ManualCipher::AesGcm16 => "aes-gcm-16",
    }
}

const fn auth_name(auth: ManualAuth) -> (&'static str, Option<u16>) {
    match auth {
        ManualAuth::HmacMd5 => ("hmac-md5", Some(96)),
        ManualAuth::HmacSha1 => ("hmac-sha1", Some(96)),
        ManualAuth::KeyedMd5 => ("keyed-md5", Some(128)),
        ManualAuth::KeyedSha1 => ("keyed-sha1", Some(160)),
        ManualAuth::Null => ("null", None),
        ManualAuth::HmacSha256Trunc96 => ("hmac-sha256", Some(96)),
        ManualAuth::HmacSha256Trunc128 => ("hmac-sha256", Some(128)),
        ManualAuth::HmacSha384 => ("hmac-sha384", Some(192)),
        ManualAuth::HmacSha512 => ("hmac-sha512", Some(256)),
        ManualAuth::HmacRipemd160 => ("hmac-ripemd160", Some(96)),
        ManualAuth::AesXcbcMac => ("aes-xcbc-mac", Some(96)),
        ManualAuth::TcpMd5 => ("tcp-md5", None),
    }
}
