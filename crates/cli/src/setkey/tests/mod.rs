//! The texts that scripts parse, and what the commands do to a kernel in memory.

mod commands;
mod dump;
mod scrapers;

use coati_config::files::Memory;
use jiff::tz::TimeZone;

use super::Scene;

/// Nov 3 2021, 09:17:44 UTC.
const NOW: u64 = 1_635_931_064;

/// As on Debian, whose /etc/protocols has no name for 255.
fn files() -> Memory {
    Memory::new().with(
        "/etc/protocols",
        "icmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\ngre 47 GRE\nesp 50\nipv6-icmp 58 IPv6-ICMP\nmobility-header 135\n",
    )
}

fn scene() -> Scene {
    Scene::at(NOW, TimeZone::UTC, 40110, &files())
}
