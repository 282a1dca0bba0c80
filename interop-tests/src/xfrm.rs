//! The kernel's SAs and policies on a host, as `ip xfrm` tells them: a witness independent of the daemons.

use std::net::IpAddr;

use crate::failure::{Context, Result};
use crate::net::Host;
use crate::process;

/// One SA of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Its source address.
    pub source: IpAddr,
    /// Its destination address.
    pub destination: IpAddr,
    /// Its SPI; 0 for the larval state of an acquire.
    pub spi: u32,
    /// `transport`, `tunnel` and so on.
    pub mode: String,
    /// The kernel's names of its algorithms with the key's length in bits: `rfc4106(gcm(aes)) 288`.
    pub algorithms: Vec<String>,
    /// Source and destination port of its UDP encapsulation.
    pub encapsulation: Option<(u16, u16)>,
    /// Octets it has carried.
    pub bytes: u64,
    /// Packets it has carried.
    pub packets: u64,
}

impl State {
    /// Whether it has keys, which the larval states of acquires and reserved SPIs have not.
    pub fn is_complete(&self) -> bool {
        self.spi != 0 && !self.algorithms.is_empty()
    }
}

/// The ESP SAs of a host that have keys.
///
/// # Errors
/// When `ip` fails or writes what is not understood.
pub fn states(host: &Host) -> Result<Vec<State>> {
    let text = process::output(host.command("ip").args(["-s", "xfrm", "state"]))?;
    Ok(parse_states(&text)?.into_iter().filter(State::is_complete).collect())
}

/// Packets carried from `source` to `destination` by all SAs of a host.
///
/// # Errors
/// As [`states`].
pub fn packets(host: &Host, source: IpAddr, destination: IpAddr) -> Result<u64> {
    let all = states(host)?;
    Ok(all.iter().filter(|s| s.source == source && s.destination == destination).map(|s| s.packets).sum())
}

/// Every policy of a host but those of sockets, one string each, without lifetimes and use times.
///
/// # Errors
/// When `ip` fails.
pub fn policies(host: &Host) -> Result<Vec<String>> {
    let text = host.ip("xfrm policy")?;
    let mut all: Vec<String> = paragraphs(&text)
        .into_iter()
        .map(|lines| lines.join(" "))
        .filter(|policy| !policy.contains(" socket in ") && !policy.contains(" socket out "))
        .collect();
    all.sort();
    Ok(all)
}

/// Whether this host's kernel can install an ESP SA: tries with a throw-away one.
///
/// # Errors
/// The kernel's refusal.
pub fn try_esp(host: Option<&Host>) -> Result<()> {
    let words = "xfrm state VERB src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x7c0a7101";
    let key = "mode transport aead rfc4106(gcm(aes)) 0x000102030405060708090a0b0c0d0e0f10111213 128";
    let ip = |verb: &str, more: &str| {
        let line = format!("{} {more}", words.replace("VERB", verb));
        match host {
            Some(host) => host.ip(&line),
            None => process::output(std::process::Command::new("ip").args(line.split_whitespace())),
        }
    };
    ip("add", key)?;
    ip("delete", "")?;
    Ok(())
}

/// Lines of a dump, grouped: a line that starts at the margin begins a group.
fn paragraphs(text: &str) -> Vec<Vec<&str>> {
    let mut all: Vec<Vec<&str>> = Vec::new();
    for line in text.lines() {
        match all.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) => last.push(line.trim()),
            _ => all.push(vec![line.trim()]),
        }
    }
    all
}

fn parse_states(text: &str) -> Result<Vec<State>> {
    let esp = |lines: &Vec<&str>| lines.iter().any(|line| line.starts_with("proto esp "));
    paragraphs(text).iter().filter(|lines| esp(lines)).map(|lines| parse_state(lines)).collect()
}

fn parse_state(lines: &[&str]) -> Result<State> {
    let all = lines.join(" ");
    let words: Vec<&str> = all.split_whitespace().collect();
    let after =
        |name: &str| words.iter().position(|word| *word == name).and_then(|at| words.get(at + 1)).copied();
    let not = |what: &str| format!("no {what} in the state {all:?}");
    let address = |name: &str| -> Result<IpAddr> {
        after(name).context(|| not(name))?.parse().context(|| format!("{name} of {all:?}"))
    };
    let spi = after("spi").context(|| not("spi"))?;
    let spi = spi.split('(').next().unwrap_or_default().trim_start_matches("0x");
    let counter = |unit: &str| {
        let current = all.split("lifetime current:").nth(1).unwrap_or_default();
        current
            .split_whitespace()
            .find_map(|word| word.trim_end_matches(',').strip_suffix(unit)?.parse().ok())
    };
    Ok(State {
        source: address("src")?,
        destination: address("dst")?,
        spi: u32::from_str_radix(spi, 16).context(|| format!("SPI of {all:?}"))?,
        mode: after("mode").context(|| not("mode"))?.to_owned(),
        algorithms: lines.iter().filter_map(|line| algorithm(line)).collect(),
        encapsulation: encapsulation(lines),
        bytes: counter("(bytes)").unwrap_or(0),
        packets: counter("(packets)").unwrap_or(0),
    })
}

/// `aead rfc4106(gcm(aes)) 0x… (288 bits) 128` becomes `rfc4106(gcm(aes)) 288`.
fn algorithm(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    matches!(words.next()?, "aead" | "enc" | "auth" | "auth-trunc").then_some(())?;
    let name = words.next()?;
    let key = words.next()?.trim_start_matches("0x");
    // With `ip -s` the length stands behind the key; without, it is that of the hexadecimal digits.
    let written = words.next().and_then(|word| word.trim_start_matches('(').parse::<usize>().ok());
    let bits = if line.contains(" bits)") { written? } else { key.len() * 4 };
    Some(format!("{name} {bits}"))
}

/// `encap type espinudp sport 4500 dport 4500 addr 0.0.0.0` becomes `(4500, 4500)`.
fn encapsulation(lines: &[&str]) -> Option<(u16, u16)> {
    let line = lines.iter().find(|line| line.starts_with("encap type espinudp "))?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let after = |name: &str| {
        words.iter().position(|word| *word == name).and_then(|at| words.get(at + 1)?.parse().ok())
    };
    Some((after("sport")?, after("dport")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ip -s xfrm state` of iproute2 6.1 on Linux 6.1, SAs made by strongSwan 5.9.8; keys replaced.
    const DUMP: &str = "\
src 203.0.113.1 dst 203.0.113.2
\tproto esp spi 0xc7d0b7b5(3352344501) reqid 1(0x00000001) mode transport
\treplay-window 0 seq 0x00000000 flag  (0x00000000)
\taead rfc4106(gcm(aes)) 0x00 (288 bits) 128
\tencap type espinudp sport 4500 dport 4500 addr 0.0.0.0
\tanti-replay context: seq 0x0, oseq 0x2, bitmap 0x00000000
\tlifetime config:
\t  limit: soft (INF)(bytes), hard (INF)(bytes)
\t  limit: soft (INF)(packets), hard (INF)(packets)
\t  expire add: soft 3358(sec), hard 3960(sec)
\t  expire use: soft 0(sec), hard 0(sec)
\tlifetime current:
\t  168(bytes), 2(packets)
\t  add 2026-11-22 06:14:02 use 2026-11-22 06:14:02
\tstats:
\t  replay-window 0 replay 0 failed 0
\tsel src 203.0.113.1/32 dst 203.0.113.2/32
src 203.0.113.1 dst 203.0.113.9
\tproto esp spi 0x00000000(0) reqid 2(0x00000002) mode transport
\treplay-window 0 seq 0x00000000 flag  (0x00000000)
\tlifetime current:
\t  0(bytes), 0(packets)
";

    #[test]
    fn a_state_is_read_with_its_counters() {
        let states = parse_states(DUMP).unwrap();
        assert_eq!(
            states[0],
            State {
                source: "203.0.113.1".parse().unwrap(),
                destination: "203.0.113.2".parse().unwrap(),
                spi: 0xc7d0_b7b5,
                mode: "transport".to_owned(),
                algorithms: vec!["rfc4106(gcm(aes)) 288".to_owned()],
                encapsulation: Some((4500, 4500)),
                bytes: 168,
                packets: 2,
            }
        );
    }

    #[test]
    fn the_larval_state_of_an_acquire_is_not_complete() {
        let states = parse_states(DUMP).unwrap();
        assert_eq!(states.iter().map(State::is_complete).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn a_key_without_a_length_is_measured() {
        assert_eq!(
            algorithm("enc cbc(aes) 0x00112233445566778899aabbccddeeff"),
            Some("cbc(aes) 128".to_owned())
        );
        assert_eq!(algorithm("replay-window 0"), None);
    }
}
