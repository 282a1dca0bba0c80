//! The model of a racoon.conf in canonical form.

use core::fmt::Display;
use core::time::Duration;

use coati_config::racoon::RacoonConfig;
use coati_config::racoon::model::{
    AdminSocket, Authentication, EspProposal, GeneratePolicy, Identifier, IkeProposal, Listen, LogLevel,
    NatTraversal, OwnCertificate, PeerCertificate, Privsep, Remote, RemoteSelector, SaInfo, SaInfoId,
    ScriptEvent, Timers,
};
use serde_json::{Value, json};

use super::{name_of, place};

pub(super) fn model(config: &RacoonConfig) -> Value {
    json!({
        "path": {
            "pre_shared_key": name_of(&config.pre_shared_key),
            "certificate": name_of(&config.certificate_dir),
            "script": name_of(&config.script_dir),
            "pidfile": config.pid_file.as_ref().map(name_of),
        },
        "log": match config.log_level {
            LogLevel::Error => "error",
            LogLevel::Warning => "warning",
            LogLevel::Notify => "notify",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Debug2 => "debug2",
        },
        "listen": listen(&config.listen),
        "timer": timer(&config.timers),
        "privsep": config.privsep.as_ref().map(privsep),
        "pfkey_buffer": config.kernel_buffer_kb,
        "remotes": config.remotes.iter().map(remote).collect::<Vec<_>>(),
        "sainfos": config.sainfos.iter().map(sainfo).collect::<Vec<_>>(),
        "asked_of_the_daemon": config.uses.iter().map(|wish| json!({
            "feature": wish.feature.to_string(),
            "place": place(&wish.place),
        })).collect::<Vec<_>>(),
    })
}

fn texts<T: Display>(all: &[T]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

fn seconds(time: Option<Duration>) -> Option<u64> {
    time.map(|time| time.as_secs())
}

fn listen(listen: &Listen) -> Value {
    json!({
        "isakmp": texts(&listen.isakmp),
        "isakmp_natt": texts(&listen.isakmp_natt),
        "strict_address": listen.strict_address,
        "adminsock": match &listen.admin_socket {
            AdminSocket::Default => Value::Null,
            AdminSocket::Disabled => json!("disabled"),
            AdminSocket::At { path, owner, group, mode } => json!({
                "path": name_of(path), "owner": owner, "group": group, "mode": mode.map(|mode| format!("{mode:04o}")),
            }),
        },
    })
}

fn timer(timers: &Timers) -> Value {
    json!({
        "counter": timers.counter,
        "interval": seconds(timers.interval),
        "phase1": seconds(timers.phase1),
        "phase2": seconds(timers.phase2),
        "natt_keepalive": seconds(timers.natt_keepalive),
    })
}

fn privsep(privsep: &Privsep) -> Value {
    json!({ "user": privsep.user, "group": privsep.group, "chroot": privsep.chroot.as_ref().map(name_of) })
}

fn remote(remote: &Remote) -> Value {
    let (kind, name) = match &remote.selector {
        RemoteSelector::Anonymous { .. } => ("anonymous", None),
        RemoteSelector::Address(_) => ("address", None),
        RemoteSelector::Named { name, .. } => ("named", Some(name)),
    };
    let scripts: Vec<Value> = remote
        .scripts
        .iter()
        .map(|script| {
            let event = match script.event {
                ScriptEvent::Phase1Up => "phase1_up",
                ScriptEvent::Phase1Down => "phase1_down",
                ScriptEvent::Phase1Dead => "phase1_dead",
            };
            json!({ "event": event, "path": name_of(&script.path) })
        })
        .collect();
    json!({
        "place": place(&remote.place),
        "kind": kind,
        "name": name,
        "address": remote.selector.address().map(|endpoint| match &endpoint.scope {
            Some(scope) => format!("{}%{scope}", endpoint.addr),
            None => endpoint.addr.to_string(),
        }),
        "port": remote.selector.port(),
        "my_identifier": identifier(&remote.my_identifier),
        "peers_identifier": remote.peers_identifiers.iter().map(identifier).collect::<Vec<_>>(),
        "verify_identifier": remote.verify_identifier,
        "certificate_type": remote.certificates.first().map(|own| match own {
            OwnCertificate::X509 { certificate, key } =>
                json!({ "type": "x509", "certificate": name_of(&certificate.path), "key": name_of(&key.path) }),
            OwnCertificate::RawKey { key } => json!({ "type": "plain_rsa", "key": name_of(&key.path) }),
        }),
        "peers_certfile": remote.peers_certificates.iter().map(|peer| match peer {
            PeerCertificate::X509(file) => json!({ "type": "x509", "file": name_of(&file.path) }),
            PeerCertificate::RawKey(file) => json!({ "type": "plain_rsa", "file": name_of(&file.path) }),
        }).collect::<Vec<_>>(),
        "ca_type": remote.ca_certificate.as_ref().map(|file| name_of(&file.path)),
        "verify_cert": remote.verify_cert,
        "send_cert": remote.send_cert,
        "send_cr": remote.send_certreq,
        "nonce_size": remote.nonce_octets,
        "passive": remote.passive,
        "generate_policy": match remote.generate_policy {
            GeneratePolicy::Off => "off",
            GeneratePolicy::Require => "require",
            GeneratePolicy::Unique => "unique",
        },
        "initial_contact": remote.initial_contact,
        "lifetime": remote.lifetime.as_secs(),
        "nat_traversal": match remote.nat_traversal {
            NatTraversal::Off => "off",
            NatTraversal::On => "on",
            NatTraversal::Force => "force",
        },
        "ike_frag": remote.ike_frag,
        "dpd_delay": seconds(remote.dpd_delay),
        "dpd_retry": seconds(remote.dpd_retry),
        "dpd_maxfail": remote.dpd_maxfail,
        "script": scripts,
        "ph1id": remote.ph1id,
        "proposals": remote.proposals.iter().map(ike_proposal).collect::<Vec<_>>(),
    })
}

fn identifier(id: &Identifier) -> Value {
    let (kind, value) = match id {
        Identifier::Address(address) => ("address", address.map(|address| address.to_string())),
        Identifier::Fqdn(name) => ("fqdn", Some(name.clone())),
        Identifier::UserFqdn(name) => ("user_fqdn", Some(name.clone())),
        Identifier::KeyId(octets) => ("keyid", Some(octets.escape_ascii().to_string())),
        Identifier::Asn1Dn(name) => ("asn1dn", name.as_ref().map(ToString::to_string)),
    };
    json!({ "type": kind, "value": value })
}

fn ike_proposal(proposal: &IkeProposal) -> Value {
    json!({
        "place": place(&proposal.place),
        "encryption": proposal.encr.to_string(),
        "key_bits": proposal.key_bits,
        "integrity": proposal.integ.map(|integ| integ.to_string()),
        "prf": proposal.prf.to_string(),
        "dh_group": texts(&proposal.ke),
        "authentication_method": match proposal.auth {
            Authentication::PreSharedKey => "pre_shared_key",
            Authentication::Signature => "rsasig",
        },
        "lifetime": proposal.lifetime.as_secs(),
    })
}

fn sainfo(sainfo: &SaInfo) -> Value {
    json!({
        "place": place(&sainfo.place),
        "local": sainfo_id(&sainfo.local),
        "remote": sainfo_id(&sainfo.remote),
        "from": sainfo.from.as_ref().map(identifier),
        "remoteid": sainfo.remoteid,
        "pfs_group": texts(&sainfo.pfs),
        "lifetime": sainfo.lifetime.as_secs(),
        "proposals": sainfo.proposals.iter().map(esp_proposal).collect::<Vec<_>>(),
    })
}

fn sainfo_id(id: &SaInfoId) -> Value {
    match id {
        SaInfoId::Any => json!({ "type": "anonymous" }),
        SaInfoId::ClientAddress => json!({ "type": "clientaddr" }),
        SaInfoId::Net { net, port, protocol } => {
            json!({ "type": "address", "net": format!("{}/{}", net.addr, net.prefix), "port": port, "protocol": protocol })
        }
        SaInfoId::Range { first, last, port, protocol } => {
            json!({ "type": "range", "first": first, "last": last, "port": port, "protocol": protocol })
        }
        SaInfoId::Name(name) => json!({ "type": "name", "name": identifier(name) }),
    }
}

fn esp_proposal(proposal: &EspProposal) -> Value {
    json!({
        "encryption": proposal.encr.to_string(),
        "key_bits": proposal.key_bits,
        "integrity": proposal.integ.map(|integ| integ.to_string()),
    })
}
