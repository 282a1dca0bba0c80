//! `setkey -D`: the kernel's SAs as setkey printed them. Scripts read this text: not an octet of it is free.

use std::fmt::Write as _;
use std::net::IpAddr;

use xfrm_sys::constants::{NLA_TYPE_MASK, XFRM_INF, XFRMA_ALG_COMP};
use xfrm_sys::{EncapType, Error, Key, Mode, Protocol, Sa, SaFilter, SaFlags, Xfrm};
use zeroize::Zeroizing;

use super::names;
use super::scene::Scene;

/// PF_KEY's flags of an SA (`SADB_SAFLAGS_*` of Linux), and the kernel's.
const FLAGS: &[(SaFlags, u32)] =
    &[(SaFlags::NOECN, 0x8000_0000), (SaFlags::DECAP_DSCP, 0x4000_0000), (SaFlags::NOPMTUDISC, 0x2000_0000)];

/// Whether ports are printed with every address (`-p`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Only those of UDP encapsulation.
    WhereUsed,
    /// Always.
    Always,
}

/// The text of `setkey -D` and of `racoonctl show-sa esp|ah|ipsec`: the SAs of one protocol, or of all, keys included.
///
/// # Errors
/// The kernel's refusal to list them.
pub fn dump_sas(
    xfrm: &mut impl Xfrm,
    protocol: Option<Protocol>,
    scene: &Scene,
    ports: Ports,
) -> Result<Zeroizing<String>, Error> {
    let sas = xfrm.dump_sas(&SaFilter { protocol, addresses: None })?;
    Ok(sas_text(&sas, scene, ports))
}

/// The text of a dump of these SAs; `No SAD entries.` if there is none.
#[must_use]
pub fn sas_text(sas: &[Sa], scene: &Scene, ports: Ports) -> Zeroizing<String> {
    // What outgrows its room is copied, and the copy left behind would hold keys.
    let mut text = Zeroizing::new(String::with_capacity(1024 + sas.len() * 1024));
    if sas.is_empty() {
        text.push_str("No SAD entries.\n");
    }
    for (number, sa) in sas.iter().enumerate() {
        // The last one is numbered 0: the end of the dump.
        let number = if number + 1 == sas.len() { 0 } else { number + 1 };
        // Writing to a string does not fail.
        let _ = write_sa(&mut text, sa, scene, ports, number);
    }
    text
}

/// What setkey calls the protocol of an SA.
fn protocol_name(sa: &Sa) -> String {
    let name = match sa.id.protocol {
        Protocol::ESP => "esp",
        Protocol::AH => "ah",
        Protocol::IPCOMP => "ipcomp",
        other => return other.to_string(),
    };
    match sa.encap {
        None => name.to_owned(),
        Some(encap) if encap.kind == EncapType::ESPINUDP && name == "esp" => "esp-udp".to_owned(),
        Some(_) => format!("natt+{name}"),
    }
}

/// Whether an SA has no keys yet, is in use, or is past a soft limit. Netlink does not tell, but it tells what that depends on.
pub(super) fn state(sa: &Sa, now: u64) -> &'static str {
    let (limits, usage) = (&sa.limits, &sa.usage);
    let past = |limit: u64, since: u64| limit != 0 && since != 0 && now.saturating_sub(since) >= limit;
    let used_up = |limit: u64, used: u64| limit != XFRM_INF && limit != 0 && used >= limit;
    if sa.is_larval() {
        "larval"
    } else if past(limits.soft_add_seconds, usage.add_time)
        || past(limits.soft_use_seconds, usage.use_time)
        || used_up(limits.soft_bytes, usage.bytes)
        || used_up(limits.soft_packets, usage.packets)
    {
        "dying"
    } else {
        "mature"
    }
}

fn write_sa(to: &mut String, sa: &Sa, scene: &Scene, ports: Ports, number: usize) -> std::fmt::Result {
    let (source, destination) = match (sa.encap, ports) {
        (Some(encap), _) => (Some(encap.source_port), Some(encap.destination_port)),
        (None, Ports::Always) => (Some(0), Some(0)),
        (None, Ports::WhereUsed) => (None, None),
    };
    writeln!(to, "{} {} ", end(sa.source, source), end(sa.id.destination, destination))?;
    let mode = match sa.mode {
        Mode::TRANSPORT => "transport".to_owned(),
        Mode::TUNNEL => "tunnel".to_owned(),
        other => other.to_string(),
    };
    writeln!(
        to,
        "\t{} mode={mode} spi={}({:#010x}) reqid={}({:#010x})",
        protocol_name(sa),
        sa.id.spi,
        sa.id.spi,
        sa.reqid,
        sa.reqid
    )?;
    if let Some(original) = sa.encap.and_then(|encap| encap.original_address) {
        writeln!(to, "\tNAT OA={original}")?;
    }
    write_algorithms(to, sa)?;
    let flags = FLAGS.iter().filter(|(flag, _)| sa.flags.contains(*flag)).fold(0, |all, (_, bit)| all | bit);
    let window = sa.replay_esn.as_ref().map_or(u32::from(sa.replay_window), |replay| replay.window);
    let state = state(sa, scene.now());
    writeln!(to, "\tseq=0x00000000 replay={} flags={flags:#010x} state={state} ", window.div_ceil(8))?;
    write_lifetimes(to, sa, scene)?;
    writeln!(to, "\tsadb_seq={number} pid={} refcnt=0", scene.pid())
}

fn write_algorithms(to: &mut String, sa: &Sa) -> std::fmt::Result {
    if let Some(aead) = &sa.aead {
        write_key(to, 'E', &names::aead(aead), &aead.key)?;
    }
    // What has no key is NULL, and has no line.
    if let Some(encryption) = sa.encryption.as_ref().filter(|encryption| !encryption.key.is_empty()) {
        write_key(to, 'E', &names::cipher(encryption), &encryption.key)?;
    }
    if let Some(authentication) =
        sa.authentication.as_ref().filter(|authentication| !authentication.key.is_empty())
    {
        write_key(to, 'A', &names::auth(authentication), &authentication.key)?;
    }
    if sa.id.protocol == Protocol::IPCOMP
        && sa.other.iter().any(|other| other.kind & NLA_TYPE_MASK == XFRMA_ALG_COMP)
    {
        // No newline: so it was.
        to.push_str("\tC: deflate ");
    }
    Ok(())
}

/// Groups of 4 octets, 8 of them a line; a line after the first begins with a blank.
fn write_key(to: &mut String, letter: char, name: &str, key: &Key) -> std::fmt::Result {
    write!(to, "\t{letter}: {name} ")?;
    for (number, octet) in key.expose().iter().enumerate() {
        if number != 0 && number % 32 == 0 {
            to.push('\n');
        }
        if number % 4 == 0 {
            to.push(' ');
        }
        write!(to, "{octet:02x}")?;
    }
    to.push('\n');
    Ok(())
}

fn write_lifetimes(to: &mut String, sa: &Sa, scene: &Scene) -> std::fmt::Result {
    let (limits, usage) = (&sa.limits, &sa.usage);
    let limit = |limit: u64| if limit == XFRM_INF { 0 } else { limit };
    let age = if usage.add_time == 0 { 0 } else { scene.now().saturating_sub(usage.add_time) };
    let last = sa.last_used.filter(|last| *last != 0).unwrap_or(usage.use_time);
    writeln!(to, "\tcreated: {}\tcurrent: {}", scene.date(usage.add_time), scene.date(scene.now()))?;
    writeln!(
        to,
        "\tdiff: {age}(s)\thard: {}(s)\tsoft: {}(s)",
        limits.hard_add_seconds, limits.soft_add_seconds
    )?;
    writeln!(
        to,
        "\tlast: {}\thard: {}(s)\tsoft: {}(s)",
        scene.date(last),
        limits.hard_use_seconds,
        limits.soft_use_seconds
    )?;
    writeln!(
        to,
        "\tcurrent: {}(bytes)\thard: {}(bytes)\tsoft: {}(bytes)",
        usage.bytes,
        limit(limits.hard_bytes),
        limit(limits.soft_bytes)
    )?;
    writeln!(
        to,
        "\tallocated: {}\thard: {}\tsoft: {}",
        usage.packets,
        limit(limits.hard_packets),
        limit(limits.soft_packets)
    )
}

/// An address, with its port in brackets if one is to be shown.
pub(super) fn end(address: IpAddr, port: Option<u16>) -> String {
    port.map_or_else(|| address.to_string(), |port| format!("{address}[{port}]"))
}
