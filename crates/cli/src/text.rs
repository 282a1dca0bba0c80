//! The listing of `coati status`.

use core::fmt::Write as _;

use coati_control::status::{Child, Corrections, IkeSa, Pair, PairState, Status};

/// The listing, each line ended by a newline. Text that came from a peer is escaped.
#[must_use]
pub fn listing(status: &Status) -> String {
    let mut out = String::new();
    let count = |state| status.pairs.iter().filter(|pair| pair.state == state).count();
    let states =
        [PairState::Up, PairState::Childless, PairState::Connecting, PairState::Retrying, PairState::Idle];
    let counted = states
        .map(|state| (count(state), state_name(state)))
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| format!("{count} {name}"))
        .collect::<Vec<_>>()
        .join(", ");
    let _ = writeln!(
        out,
        "coatid {} (pid {}), running {}, {}: {}",
        escaped(&status.version),
        status.pid,
        duration(status.since.age_seconds),
        plural(status.policies, "outbound policy", "outbound policies"),
        if counted.is_empty() { "no pairs" } else { &counted },
    );
    correction_line(&mut out, &status.corrections);
    let names: Vec<String> =
        status.pairs.iter().map(|pair| format!("{} <=> {}", pair.local, pair.remote)).collect();
    let width = names.iter().map(String::len).max().unwrap_or(0);
    for (pair, name) in status.pairs.iter().zip(&names) {
        pair_lines(&mut out, pair, name, width);
    }
    out
}

/// What had to be put right, if anything had.
fn correction_line(out: &mut String, corrections: &Corrections) {
    let counted = [
        (corrections.policies_restored, "policy put back", "policies put back"),
        (corrections.policies_deleted, "stray policy deleted", "stray policies deleted"),
        (
            corrections.children_restored,
            "child with missing SAs made anew",
            "children with missing SAs made anew",
        ),
        (corrections.sas_deleted, "stray SA deleted", "stray SAs deleted"),
    ];
    let counted = counted.into_iter().filter(|(count, ..)| *count > 0);
    let counted: Vec<String> = counted.map(|(count, one, other)| plural(count, one, other)).collect();
    if !counted.is_empty() {
        let _ = writeln!(out, "put right in the kernel: {}", counted.join(", "));
    }
}

fn pair_lines(out: &mut String, pair: &Pair, name: &str, width: usize) {
    let state = state_name(pair.state);
    let next = match pair.retry_in_seconds {
        Some(seconds) => format!(", next attempt in {}", duration(seconds)),
        None => String::new(),
    };
    let _ = writeln!(
        out,
        "\n{name:width$}  {state:<10}  for {} (since {}){next}",
        duration(pair.since.age_seconds),
        escaped(&pair.since.at)
    );
    pair.ike_sas.iter().for_each(|sa| ike_lines(out, sa));
    if let Some(failure) = &pair.last_error {
        let _ = writeln!(
            out,
            "  last error {} ago: {}",
            duration(failure.when.age_seconds),
            escaped(&failure.cause)
        );
    }
}

fn ike_lines(out: &mut String, sa: &IkeSa) {
    let _ = writeln!(
        out,
        "  IKE {:<11} {:<9} {}:{}  {}",
        escaped(&sa.state),
        escaped(&sa.role),
        escaped(&sa.spi_i),
        escaped(&sa.spi_r),
        duration(sa.since.age_seconds)
    );
    let remote_id = sa.remote_id.as_deref().unwrap_or("?");
    let _ = writeln!(
        out,
        "      {} ({}) to {} ({})",
        sa.local,
        escaped(&sa.local_id),
        sa.remote,
        escaped(remote_id)
    );
    if let Some(algorithms) = &sa.algorithms {
        let _ = writeln!(out, "      {}", escaped(algorithms));
    }
    sa.children.iter().for_each(|child| child_lines(out, child));
}

fn child_lines(out: &mut String, child: &Child) {
    let protocol =
        if child.protocol == 0 { "any".to_owned() } else { format!("protocol {}", child.protocol) };
    let reqid = if child.reqid == 0 { String::new() } else { format!(" reqid {}", child.reqid) };
    let _ = writeln!(
        out,
        "  ESP {} <=> {} {protocol}, {}{}{reqid}  {}{}",
        escaped(&child.local),
        escaped(&child.remote),
        escaped(&child.mode),
        if child.udp_encapsulation { " in UDP" } else { "" },
        duration(child.since.age_seconds),
        if child.one_way { "  one-way?" } else { "" }
    );
    let _ = writeln!(out, "      {}", escaped(&child.algorithms));
    for (way, spi, bytes, packets) in [
        ("in ", &child.spi_in, child.bytes_in, child.packets_in),
        ("out", &child.spi_out, child.bytes_out, child.packets_out),
    ] {
        let carried = match (bytes, packets) {
            (Some(bytes), Some(packets)) => {
                format!("{:>10}  {}", size(bytes), plural(packets, "packet", "packets"))
            }
            _ => "   missing in the kernel".to_owned(),
        };
        let _ = writeln!(out, "      {way} {}  {carried}", escaped(spi));
    }
}

pub(crate) const fn state_name(state: PairState) -> &'static str {
    match state {
        PairState::Idle => "idle",
        PairState::Connecting => "connecting",
        PairState::Up => "up",
        PairState::Childless => "childless",
        PairState::Retrying => "retrying",
    }
}

/// Control characters would let a peer's text steer the terminal.
pub(crate) fn escaped(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}

fn plural(count: u64, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

/// A time in its two largest units.
pub(crate) fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if days > 0 => format!("{days}d {}h", hours % 24),
        () if hours > 0 => format!("{hours}h {}m", minutes % 60),
        () if minutes > 0 => format!("{minutes}m {}s", seconds % 60),
        () => format!("{seconds}s"),
    }
}

/// Octets in binary units, with one decimal from KiB on, rounded down.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut shown = format!("{bytes} B");
    let mut unit = 1_u128;
    for name in UNITS {
        unit *= 1024;
        if u128::from(bytes) < unit {
            break;
        }
        let tenths = u128::from(bytes) * 10 / unit;
        shown = format!("{}.{} {name}", tenths / 10, tenths % 10);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use coati_control::status::{Failure, Time};

    fn time(age_seconds: u64) -> Time {
        Time { at: "2026-11-22T06:30:00Z".to_owned(), age_seconds }
    }

    fn child() -> Child {
        Child {
            local: "192.0.2.1".to_owned(),
            remote: "192.0.2.2".to_owned(),
            protocol: 0,
            mode: "transport".to_owned(),
            reqid: 0,
            spi_in: "c0ffee01".to_owned(),
            spi_out: "0badcafe".to_owned(),
            bytes_in: Some(12_600),
            packets_in: Some(150),
            bytes_out: None,
            packets_out: None,
            algorithms: "ENCR_AES_GCM_16-256/ESN".to_owned(),
            udp_encapsulation: true,
            one_way: true,
            since: time(59),
            rekey_in_seconds: None,
        }
    }

    fn status() -> Status {
        let sa = IkeSa {
            state: "established".to_owned(),
            role: "initiator".to_owned(),
            since: time(3599),
            spi_i: "0123456789abcdef".to_owned(),
            spi_r: "fedcba9876543210".to_owned(),
            local: "192.0.2.1:4500".parse().unwrap(),
            remote: "192.0.2.2:4500".parse().unwrap(),
            local_id: "192.0.2.1".to_owned(),
            remote_id: Some("192.0.2.2".to_owned()),
            algorithms: Some("ENCR_AES_GCM_16-256/PRF_HMAC_SHA2_256/CURVE25519".to_owned()),
            rekey_in_seconds: None,
            check_in_seconds: None,
            expires_in_seconds: None,
            children: vec![child()],
        };
        let up = Pair {
            local: "192.0.2.1".parse().unwrap(),
            remote: "192.0.2.2".parse().unwrap(),
            state: PairState::Up,
            since: time(3600),
            retry_in_seconds: None,
            last_error: None,
            clear_text: false,
            other_sas: false,
            ike_sas: vec![sa],
        };
        let retrying = Pair {
            remote: "198.51.100.203".parse().unwrap(),
            state: PairState::Retrying,
            since: time(61),
            retry_in_seconds: Some(7),
            last_error: Some(Failure { when: time(3), cause: "no answer\n\x1b[31m".to_owned() }),
            clear_text: false,
            other_sas: false,
            ike_sas: Vec::new(),
            ..up.clone()
        };
        Status {
            version: "0.1.0".to_owned(),
            pid: 42,
            since: time(90_000),
            policies: 2,
            corrections: Corrections { policies_restored: 3, sas_deleted: 1, ..Corrections::default() },
            pairs: vec![up, retrying],
        }
    }

    #[test]
    fn the_listing_shows_all_there_is() {
        let expected = "\
coatid 0.1.0 (pid 42), running 1d 1h, 2 outbound policies: 1 up, 1 retrying
put right in the kernel: 3 policies put back, 1 stray SA deleted

192.0.2.1 <=> 192.0.2.2       up          for 1h 0m (since 2026-11-22T06:30:00Z)
  IKE established initiator 0123456789abcdef:fedcba9876543210  59m 59s
      192.0.2.1:4500 (192.0.2.1) to 192.0.2.2:4500 (192.0.2.2)
      ENCR_AES_GCM_16-256/PRF_HMAC_SHA2_256/CURVE25519
  ESP 192.0.2.1 <=> 192.0.2.2 any, transport in UDP  59s  one-way?
      ENCR_AES_GCM_16-256/ESN
      in  c0ffee01    12.3 KiB  150 packets
      out 0badcafe     missing in the kernel

192.0.2.1 <=> 198.51.100.203  retrying    for 1m 1s (since 2026-11-22T06:30:00Z), next attempt in 7s
  last error 3s ago: no answer\\n\\u{1b}[31m
";
        assert_eq!(listing(&status()), expected);
    }

    #[test]
    fn a_daemon_without_pairs_says_so() {
        let corrections = Corrections::default();
        let empty = Status { pairs: Vec::new(), policies: 1, corrections, ..status() };
        assert!(listing(&empty).ends_with("1 outbound policy: no pairs\n"));
    }

    #[test]
    fn sizes_are_rounded_down_in_binary_units() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1023.9 KiB"),
            (1_048_576, "1.0 MiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn the_json_has_the_fields_of_the_description() {
        let value = serde_json::to_value(status()).unwrap();
        let fields = |of: &str| {
            let body = coati_control::protocol::DESCRIPTION.split_once(of).unwrap().1;
            let body = body.split_once('(').unwrap().1.split("\n)").next().unwrap();
            let mut names: Vec<String> = body
                .lines()
                .filter_map(|line| line.trim().split_once(':'))
                .map(|(name, _)| name.to_owned())
                .collect();
            names.sort();
            names
        };
        let keys = |value: &serde_json::Value| {
            let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
            keys.sort();
            keys
        };
        assert_eq!(keys(&value), fields("method Status() -> "));
        let pair = &value["pairs"][1];
        assert_eq!(keys(&value["corrections"]), fields("type Corrections "));
        assert_eq!(keys(pair), fields("type Pair "));
        assert_eq!(keys(&pair["last_error"]), fields("type Failure "));
        let sa = &value["pairs"][0]["ike_sas"][0];
        assert_eq!(keys(sa), fields("type IkeSa "));
        assert_eq!(keys(&sa["children"][0]), fields("type Child "));
        assert_eq!(keys(&value["since"]), fields("type Time "));
        assert_eq!(pair["state"], "retrying");
    }
}
