use core::time::Duration;
use std::net::IpAddr;

use ike_proto::wire::registry::{EncrId, IntegId, KeId, PrfId};

use super::model::*;
use super::*;
use crate::files::Memory;
use crate::net::{Endpoint, IpNet};

mod files;
mod grammar;
mod leniency;
mod options;
mod remotes;
mod sainfos;
mod suites;
mod verdicts;

const PROPOSAL: &str = "proposal { encryption_algorithm aes 256; hash_algorithm sha256;
    authentication_method pre_shared_key; dh_group modp3072; }";
const SAINFO: &str =
    "{ encryption_algorithm aes; authentication_algorithm hmac_sha256; compression_algorithm deflate; }";

fn parse_text(text: &str, files: &Memory) -> (Option<RacoonConfig>, String) {
    let (config, diagnostics) = parse(Path::new("/etc/racoon/racoon.conf"), text.as_bytes(), files);
    (config, diagnostics.to_string().replace("/etc/racoon/racoon.conf:", ""))
}

/// What is said, but for the warning about `exchange_mode`.
fn said(text: &str) -> String {
    let said = parse_text(text, &Memory::new()).1;
    said.lines()
        .filter(|line| !line.contains("exchange_mode` has no"))
        .map(|line| format!("{line}\n"))
        .collect()
}

fn config(text: &str) -> RacoonConfig {
    let (config, said) = parse_text(text, &Memory::new());
    config.unwrap_or_else(|| panic!("{said}"))
}

fn remote_text(options: &str) -> String {
    format!("remote anonymous {{ exchange_mode main; {PROPOSAL}\n{options} }}")
}

fn remote(options: &str) -> Remote {
    config(&remote_text(options)).remotes.remove(0)
}

fn remote_said(options: &str) -> String {
    said(&remote_text(options))
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}
