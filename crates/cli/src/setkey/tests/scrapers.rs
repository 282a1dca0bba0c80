//! The regular expressions and one-liners found in the wild (racoon-compat.md, 3.8), run by the tools they are written for.

use std::io::Write as _;
use std::process::{Command, Stdio};

use xfrm_sys::{Encap, FakeKernel, Sa, Xfrm};

use super::dump::{example, policy_example};
use super::*;
use crate::setkey::{Ports, SocketPolicies, dump_policies, dump_sas};

/// What a program prints when this is its input.
fn pipe(program: &str, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

fn grep(pattern: &str, input: &str) -> Vec<String> {
    pipe("grep", &["-oP", pattern], input).lines().map(str::to_owned).collect()
}

/// Two SAs, one of them encapsulated.
fn sas() -> String {
    let mut fake = FakeKernel::new();
    fake.set_time(NOW - 124);
    fake.add_sa(&example()).unwrap();
    let mut second = Sa { encap: Some(Encap::udp(4500, 4500)), ..example() };
    second.id.spi = 0x1234;
    fake.add_sa(&second).unwrap();
    fake.carry(example().id, 36, 5040);
    dump_sas(&mut fake, None, &scene(), Ports::WhereUsed).unwrap().to_string()
}

#[test]
fn the_expressions_find_what_they_look_for() {
    let text = sas();
    let pairs = [r"203.0.113.9[4500] 198.51.100.7[4500] ", "203.0.113.9 198.51.100.7 "];
    assert_eq!(grep(r"^(\S+)(\[\d+\])? (\S+?)(\[\d+\])? ?$", &text), pairs);
    assert_eq!(grep(r"^\t(esp|ah) mode=(\w+) spi=\d+\(\K(0x[0-9a-f]+)(?=\))", &text), ["0xdeadbeef"]);
    assert_eq!(grep(r"^\tE: \K(\S+) (.*)", &text)[0], "aes-cbc  00112233 44556677 8899aabb ccddeeff");
    assert_eq!(grep(r"state=\K(\w+)", &text), ["mature", "mature"]);
    assert_eq!(grep(r"^\tdiff: \K(\d+)", &text), ["124", "124"]);
    assert_eq!(grep(r"current: \K(\d+)(?=\(bytes\))", &text), ["0", "5040"]);
    assert_eq!(grep(r"replay=\K(\d+)", &text), ["4", "4"]);
}

#[test]
fn one_liners_count_and_pick() {
    let text = sas();
    assert_eq!(pipe("grep", &["-c", "^\tesp"], &text), "2\n");
    assert_eq!(pipe("grep", &["-c", "state=mature"], &text), "2\n");
    let first_and_spi = r#"/^[^\t]/ { pair = $1 " " $2 } /spi=/ { sub(/.*spi=[0-9]*\(/, ""); sub(/\).*/, ""); print pair, $0 }"#;
    assert_eq!(
        pipe("awk", &[first_and_spi], &text),
        "203.0.113.9[4500] 198.51.100.7[4500] 0x00001234\n203.0.113.9 198.51.100.7 0xdeadbeef\n"
    );
    let bytes = r#"/current: [0-9]+\(bytes\)/ { split($2, part, "("); sum += part[1] } END { print sum }"#;
    assert_eq!(pipe("awk", &[bytes], &text), "5040\n");
    // The last block ends the dump by its number.
    assert_eq!(grep(r"sadb_seq=\K\d+", &text), ["1", "0"]);
}

#[test]
fn one_liners_over_policies_find_pairs_and_directions() {
    let mut fake = FakeKernel::new();
    for policy in
        [policy_example("192.0.2.1/32", "192.0.2.2/32"), policy_example("192.0.2.1/32", "192.0.2.3/32")]
    {
        fake.add_policy(&policy).unwrap();
    }
    let text = dump_policies(&mut fake, SocketPolicies::Shown, &scene(), Ports::WhereUsed).unwrap();
    assert_eq!(pipe("grep", &["-c", "^\tout .*ipsec$"], &text), "2\n");
    assert_eq!(pipe("grep", &["-c", "esp/transport//require$"], &text), "2\n");
    let peers = r#"/^[0-9]/ { sub(/\[any\]/, "", $2); print $2 }"#;
    assert_eq!(pipe("awk", &[peers], &text), "192.0.2.3\n192.0.2.2\n");
    assert_eq!(grep(r"spid=\K\d+", &text).len(), 2);
}
