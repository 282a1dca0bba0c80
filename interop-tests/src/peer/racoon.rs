//! racoon's three files, written for a [`Config`].

use std::fmt::Write;
use std::net::IpAddr;

use super::{Config, Pair, Times};
use crate::judge::Clear;
use crate::suite::Suite;

/// racoon.conf as the example mesh has it, with these algorithms and times.
pub fn racoon_conf(suite: &Suite, times: Times) -> String {
    let Suite { encryption, hash, group, .. } = suite;
    let authentication =
        suite.authentication.map(|a| format!("\n    authentication_algorithm {a};")).unwrap_or_default();
    let lifetime = |seconds: Option<u64>, usual: &str| match seconds {
        Some(seconds) => format!("{seconds} seconds"),
        None => usual.to_owned(),
    };
    let (ike, child) = (lifetime(times.ike, "24 hours"), lifetime(times.child, "8 hours"));
    let silence = times.silence.unwrap_or(20);
    format!(
        "path pre_shared_key \"psk.txt\";

remote anonymous {{
    exchange_mode main;
    my_identifier address;
    nat_traversal force;
    dpd_delay {silence};
    lifetime time {ike};
    proposal {{
        encryption_algorithm {encryption};
        hash_algorithm {hash};
        authentication_method pre_shared_key;
        dh_group {group};
    }}
}}

sainfo anonymous {{
    pfs_group {group};
    encryption_algorithm {encryption};{authentication}
    compression_algorithm deflate;
    lifetime time {child};
}}
"
    )
}

/// psk.txt: each pair's key under the address at which this end sees the peer.
pub fn psk_txt(pairs: &[Pair]) -> String {
    pairs.iter().map(|pair| format!("{} {}\n", pair.remote, pair.key)).collect()
}

/// ipsec-tools.conf: the exclusions, then both policies of each pair.
pub fn ipsec_tools_conf(config: &Config) -> String {
    let mut text = String::from("#!/usr/sbin/setkey -f\nflush;\nspdflush;\n\n");
    let mut families: Vec<bool> = config.pairs.iter().map(|pair| pair.local.is_ipv6()).collect();
    families.sort_unstable();
    families.dedup();
    for v6 in families {
        for clear in &config.clear {
            text += &exclusion(*clear, v6);
        }
    }
    for Pair { local, remote, .. } in &config.pairs {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "spdadd {local} {remote} any -P out ipsec esp/transport//require;");
        let _ = writeln!(text, "spdadd {remote} {local} any -P in ipsec esp/transport//require;");
    }
    text
}

fn exclusion(clear: Clear, v6: bool) -> String {
    let (any, icmp) = if v6 { ("::/0", "icmp6") } else { ("0.0.0.0/0", "icmp") };
    let selectors = match clear {
        Clear::Icmp => vec![format!("{any} {any} {icmp}")],
        Clear::Tcp(port) => vec![format!("{any} {any}[{port}] tcp"), format!("{any}[{port}] {any} tcp")],
    };
    let lines = selectors.iter().flat_map(|selector| {
        ["out", "in"].map(|direction| format!("spdadd {selector} -P {direction} prio def + 100 none;\n"))
    });
    lines.collect()
}

/// The same policies as `ip xfrm policy add` arguments: for policies that somebody else has put into the kernel.
pub fn ip_xfrm_policies(config: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    for Pair { local, remote, .. } in &config.pairs {
        lines.push(policy(*local, *remote, "out"));
        lines.push(policy(*remote, *local, "in"));
    }
    lines
}

fn policy(source: IpAddr, destination: IpAddr, direction: &str) -> String {
    format!(
        "xfrm policy add src {source} dst {destination} dir {direction} priority 2147483648 \
         tmpl src {source} dst {destination} proto esp mode transport level required"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite;

    #[test]
    fn an_aead_needs_no_authentication_algorithm() {
        assert!(
            !racoon_conf(&suite::AES256GCM_X25519, Times::default()).contains("authentication_algorithm")
        );
        assert!(
            racoon_conf(&suite::AES128CBC_MODP3072, Times::default())
                .contains("    authentication_algorithm hmac_sha256;\n")
        );
    }

    #[test]
    fn times_are_the_example_meshes_unless_given() {
        let usual = racoon_conf(&suite::AES256GCM_X25519, Times::default());
        for line in ["dpd_delay 20;", "    lifetime time 24 hours;", "    lifetime time 8 hours;"] {
            assert!(usual.contains(line), "{line}");
        }
        let times = Times { child: Some(3), ike: Some(9), silence: Some(2) };
        let short = racoon_conf(&suite::AES256GCM_X25519, times);
        let sainfo = short.split("sainfo").nth(1).unwrap();
        assert!(short.contains("dpd_delay 2;") && short.contains("    lifetime time 9 seconds;"));
        assert!(sainfo.contains("    lifetime time 3 seconds;") && !sainfo.contains("hours"));
    }

    #[test]
    fn policies_name_both_directions_and_the_family_of_the_pair() {
        let pair = Pair::new("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        let text = ipsec_tools_conf(&Config::one(suite::AES256GCM_X25519, pair));
        assert!(text.contains("spdadd 2001:db8::1 2001:db8::2 any -P out ipsec esp/transport//require;"));
        assert!(text.contains("spdadd 2001:db8::2 2001:db8::1 any -P in ipsec esp/transport//require;"));
        assert!(text.contains("spdadd ::/0 ::/0[22] tcp -P out prio def + 100 none;"));
        assert!(text.contains("spdadd ::/0 ::/0 icmp6 -P in prio def + 100 none;"));
        assert!(!text.contains("0.0.0.0"));
    }
}
