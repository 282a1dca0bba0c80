//! Names of protocols and services: the usual ones from a table, others from the system's files.

use std::path::Path;

use crate::files::Files;

/// Upper-layer protocols by name. `esp`, `ah` and `ipcomp` are setkey's own words and no names of protocols.
const PROTOCOLS: &[(&str, u8)] = &[
    ("any", 0),
    ("icmp", 1),
    ("igmp", 2),
    ("ip4", 4),
    ("ipencap", 4),
    ("tcp", 6),
    ("udp", 17),
    ("dccp", 33),
    ("ipv6", 41),
    ("gre", 47),
    ("icmp6", 58),
    ("ipv6-icmp", 58),
    ("ospf", 89),
    ("ipip", 94),
    ("etherip", 97),
    ("pim", 103),
    ("vrrp", 112),
    ("l2tp", 115),
    ("sctp", 132),
    ("mh", 135),
    ("mobility-header", 135),
    ("udplite", 136),
];

/// Services that policies name.
const SERVICES: &[(&str, u16)] = &[
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("domain", 53),
    ("tftp", 69),
    ("http", 80),
    ("pop3", 110),
    ("ntp", 123),
    ("imap", 143),
    ("snmp", 161),
    ("bgp", 179),
    ("ldap", 389),
    ("https", 443),
    ("isakmp", 500),
    ("syslog", 514),
    ("nfs", 2049),
    ("l2f", 1701),
    ("l2tp", 1701),
    ("radius", 1812),
    ("ipsec-nat-t", 4500),
    ("mysql", 3306),
    ("postgresql", 5432),
];

/// The number of a protocol's name.
pub(super) fn protocol(name: &str, files: &dyn Files) -> Option<u8> {
    let known = PROTOCOLS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    known.or_else(|| from_file("/etc/protocols", name, files)?.parse().ok())
}

/// The number of a service's name.
pub(super) fn service(name: &str, files: &dyn Files) -> Option<u16> {
    let known = SERVICES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    known.or_else(|| from_file("/etc/services", name, files)?.split('/').next()?.parse().ok())
}

/// The second word of the line that has `name` as its first word or as an alias.
fn from_file(path: &str, name: &str, files: &dyn Files) -> Option<String> {
    let (_, octets) = files.read(Path::new(path)).ok()?;
    let text = String::from_utf8_lossy(&octets);
    text.lines().find_map(|line| {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let (first, second) = (words.next()?, words.next()?);
        (first == name || words.any(|alias| alias == name)).then(|| second.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Memory;

    #[test]
    fn names_come_from_the_table_and_then_from_the_system() {
        let files = Memory::new()
            .with("/etc/protocols", "# x\nhip\t139\tHIP  # Host Identity\nudp 99 UDP\n")
            .with("/etc/services", "gdomap 538/tcp alias1\ngdomap 538/udp\n");
        assert_eq!(protocol("udp", &files), Some(17));
        assert_eq!(protocol("HIP", &files), Some(139));
        assert_eq!(protocol("nothing", &files), None);
        assert_eq!(service("alias1", &files), Some(538));
        assert_eq!(service("ssh", &Memory::new()), Some(22));
        assert_eq!(service("gdomap", &Memory::new()), None);
    }
}
