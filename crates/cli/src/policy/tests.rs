use coati_config::files::Memory;
use xfrm_sys::{AlgorithmName, Encryption, FakeKernel, Key, Operation, Sa, SaId};

use super::*;

const FIRST: &str = "/etc/ipsec-tools.conf";
const SECOND: &str = "/etc/ipsec-tools.d/mesh.conf";

const HEAD: &str = "flush; spdflush;\n";
const PAIR: &str = "spdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/transport//require;
spdadd 192.0.2.2 192.0.2.1 any -P in ipsec esp/transport//require;
";
const OTHER: &str = "spdadd 192.0.2.1 192.0.2.3 any -P out ipsec esp/transport//require;
spdadd 192.0.2.3 192.0.2.1 any -P in ipsec esp/transport//require;
spdadd 0.0.0.0/0 0.0.0.0/0[22] tcp -P out prio def + 100 none;
";

struct Ran {
    code: u8,
    out: String,
    err: String,
}

fn ran(fake: &FakeKernel, files: &Memory, arguments: &Arguments, is_sync: bool) -> Ran {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run(arguments, is_sync, files, &mut out, &mut err, || Ok(fake.clone())).unwrap();
    Ran { code, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

fn defaults(json: bool) -> Arguments {
    Arguments { file: Vec::new(), json }
}

fn plan(fake: &FakeKernel, files: &Memory) -> Ran {
    ran(fake, files, &defaults(false), false)
}

fn sync(fake: &FakeKernel, files: &Memory) -> Ran {
    ran(fake, files, &defaults(false), true)
}

fn files(first: &str, second: &str) -> Memory {
    Memory::new().with(FIRST, first).with(SECOND, second)
}

fn changes(fake: &FakeKernel) -> Vec<Operation> {
    let all = fake.journal().into_iter().map(|(operation, _)| operation);
    all.filter(|operation| *operation != Operation::DumpPolicies).collect()
}

#[test]
fn what_coatid_made_for_a_peer_and_what_was_moved_to_its_sas_is_left_as_it_is() {
    let mut fake = FakeKernel::new();
    let files = files(&format!("{HEAD}{PAIR}"), OTHER);
    assert_eq!(sync(&fake, &files).code, 0);
    let outbound = fake.policies().into_iter().find(coati_spd::may_move).unwrap();
    fake.update_policy(&coati_spd::moved(&outbound)).unwrap();
    let mut made = Policy { priority: coati_spd::MADE_PRIORITY, index: 0, ..outbound };
    made.selector.protocol = xfrm_sys::Protocol::UDP;
    fake.add_policy(&made).unwrap();
    let before = fake.policies();
    assert_eq!((plan(&fake, &files).code, sync(&fake, &files).code), (0, 0));
    assert_eq!(fake.policies(), before);
}

#[test]
fn a_plan_says_what_a_sync_does_and_then_there_is_nothing_to_do() {
    let fake = FakeKernel::new();
    let files = files(&format!("{HEAD}{PAIR}"), OTHER);
    let planned = plan(&fake, &files);
    assert_eq!((planned.code, changes(&fake)), (2, vec![]), "{}", planned.err);
    assert_eq!(
        planned.out,
        "found in the kernel: 0 policies, fwd copies included
point-to-point of those: 0
loaded from: /etc/ipsec-tools.conf
loaded from: /etc/ipsec-tools.d/mesh.conf
found in files: 5 policies, 7 with their fwd copies
changed: 0
new: 7
  + 192.0.2.1[any] 192.0.2.2[any] any out prio def ipsec esp/transport//require # /etc/ipsec-tools.conf:2:1
  + 192.0.2.2[any] 192.0.2.1[any] any in prio def ipsec esp/transport//require # /etc/ipsec-tools.conf:3:1
  + 192.0.2.2[any] 192.0.2.1[any] any fwd prio def ipsec esp/transport//require # /etc/ipsec-tools.conf:3:1
  + 192.0.2.1[any] 192.0.2.3[any] any out prio def ipsec esp/transport//require # /etc/ipsec-tools.d/mesh.conf:1:1
  + 192.0.2.3[any] 192.0.2.1[any] any in prio def ipsec esp/transport//require # /etc/ipsec-tools.d/mesh.conf:2:1
  + 192.0.2.3[any] 192.0.2.1[any] any fwd prio def ipsec esp/transport//require # /etc/ipsec-tools.d/mesh.conf:2:1
  + 0.0.0.0/0[any] 0.0.0.0/0[22] tcp out prio def + 100 none # /etc/ipsec-tools.d/mesh.conf:3:1
old: 0
"
    );
    let synced = sync(&fake, &files);
    assert_eq!(synced.code, 0, "{}", synced.err);
    assert_eq!(synced.out, planned.out + "done: 7 added, 0 changed, 0 deleted\n");
    let since = changes(&fake).len();
    let again = plan(&fake, &files);
    assert_eq!(again.code, 0);
    assert!(again.out.starts_with("found in the kernel: 7 policies"), "{}", again.out);
    assert!(again.out.contains("point-to-point of those: 4\n"), "{}", again.out);
    assert_eq!((sync(&fake, &files).code, changes(&fake).len()), (0, since));
}

#[test]
fn the_difference_is_changed_and_sas_stay() {
    let mut fake = FakeKernel::new();
    sync(&fake, &files(&format!("{HEAD}{PAIR}"), OTHER));
    let mut sa = Sa::new("192.0.2.1".parse().unwrap(), SaId::esp("192.0.2.2".parse().unwrap(), 4096));
    sa.encryption = Some(Encryption { name: AlgorithmName::ECB_CIPHER_NULL, key: Key::new(Vec::new()) });
    fake.add_sa(&sa).unwrap();
    let sas = fake.sas();
    let since = changes(&fake).len();
    let edited = PAIR.replace("out ipsec esp/transport//require", "out ipsec esp/transport//use");
    let synced = sync(&fake, &files(&format!("{HEAD}{edited}"), &OTHER.replace("192.0.2.3", "192.0.2.4")));
    assert_eq!(synced.code, 0, "{}", synced.err);
    assert!(
        synced.out.contains(
            "changed: 1\n  ~ 192.0.2.1[any] 192.0.2.2[any] any out prio def ipsec esp/transport//use \
             (was 192.0.2.1[any] 192.0.2.2[any] any out prio def ipsec esp/transport//require) # /etc/ipsec-tools.conf:2:1\n"
        ),
        "{}",
        synced.out
    );
    assert!(synced.out.ends_with("done: 3 added, 1 changed, 3 deleted\n"), "{}", synced.out);
    assert!(synced.out.contains("\nold: 3\n  - 192.0.2.3["), "{}", synced.out);
    use Operation::{AddPolicy, DeletePolicy, UpdatePolicy};
    let expected = [UpdatePolicy, AddPolicy, AddPolicy, AddPolicy, DeletePolicy, DeletePolicy, DeletePolicy];
    assert_eq!(changes(&fake)[since..], expected);
    assert_eq!(fake.sas(), sas);
}

#[test]
fn files_without_flushes_leave_what_they_do_not_name() {
    let fake = FakeKernel::new();
    sync(&fake, &files(&format!("{HEAD}{PAIR}"), OTHER));
    let theirs = files(PAIR, "");
    let planned = plan(&fake, &theirs);
    assert_eq!(planned.code, 0);
    assert!(planned.out.contains("\nold: 4 (left alone: the files do not begin"), "{}", planned.out);
    assert!(planned.out.contains("\n  - 0.0.0.0/0[any] 0.0.0.0/0[22] tcp out"), "{}", planned.out);
    assert_eq!(sync(&fake, &theirs).code, 0);
    assert_eq!(fake.policies().len(), 7);
}

#[test]
fn a_refusal_changes_nothing_and_names_its_line() {
    let fake = FakeKernel::new();
    let good = files(&format!("{HEAD}{PAIR}"), OTHER);
    let before = fake.policies();
    fake.fail_after(4, Errno::EINVAL);
    let failed = sync(&fake, &good);
    assert_eq!((failed.code, failed.out.as_str()), (1, ""));
    assert!(
        failed.err.starts_with("coati: /etc/ipsec-tools.d/mesh.conf:1:1: cannot add policy"),
        "{}",
        failed.err
    );
    assert!(failed.err.ends_with("the policies are as they were\n"), "{}", failed.err);
    assert_eq!(fake.policies(), before);

    let since = fake.journal().len();
    let broken = sync(&fake, &files(&format!("{HEAD}{PAIR}"), "spdadd nonsense;\n"));
    assert_eq!(broken.code, 1);
    assert!(broken.err.contains("mesh.conf:1:"), "{}", broken.err);
    assert_eq!(fake.journal().len(), since, "the kernel was not even asked");
    // Two meanings for one selector.
    let twice = sync(&fake, &files(PAIR, &PAIR.replace("require", "use")));
    assert_eq!((twice.code, fake.journal().len()), (1, since), "{}", twice.err);
}

#[test]
fn files_can_be_named_and_none_at_all_is_an_error() {
    let fake = FakeKernel::new();
    let none = sync(&fake, &Memory::new());
    assert!(none.code == 1 && none.err.contains("--file"), "{}", none.err);
    let named = Arguments { file: vec!["a.conf".into()], json: false };
    let files = Memory::new().with("a.conf", PAIR).with(FIRST, OTHER);
    assert_eq!(ran(&fake, &files, &named, true).code, 0);
    assert_eq!(fake.policies().len(), 3);
    let missing = Arguments { file: vec!["b.conf".into()], json: false };
    let missing = ran(&fake, &files, &missing, true);
    assert!(missing.code == 1 && missing.err.contains("b.conf"), "{}", missing.err);
    // Of the usual two, one is enough.
    assert_eq!(plan(&fake, &Memory::new().with(SECOND, PAIR)).code, 0);
}

#[test]
fn what_it_does_not_do_is_said() {
    let sas = "add 192.0.2.1 192.0.2.2 esp 4096 -E aes-cbc 0x000102030405060708090a0b0c0d0e0f;\n";
    let fake = FakeKernel::new();
    let synced = sync(&fake, &files(&format!("{HEAD}{PAIR}"), sas));
    assert!(synced.code == 0 && synced.err.contains("`setkey -f` loads them"), "{}", synced.err);
    assert_eq!(fake.sas(), []);
    let labelled = PAIR.replacen("any -P", "any -ctx 1 1 \"label\" -P", 1);
    let refused = sync(&fake, &files(&labelled, ""));
    assert!(refused.code == 1 && refused.err.contains("security labels"), "{}", refused.err);
}

#[test]
fn the_json_has_the_same() {
    let fake = FakeKernel::new();
    sync(&fake, &files(&format!("{HEAD}{PAIR}"), OTHER));
    let edited = files(&format!("{HEAD}{}", PAIR.replace("//require", "//unique:5")), "");
    let planned = ran(&fake, &edited, &defaults(true), false);
    let json: serde_json::Value = serde_json::from_str(&planned.out).unwrap();
    assert_eq!(planned.code, 2);
    assert_eq!(json["kernel"], serde_json::json!({ "policies": 7, "point_to_point": 4 }));
    assert_eq!(
        json["files"],
        serde_json::json!({ "names": [FIRST, SECOND], "policies": 2, "with_copies": 3 })
    );
    assert_eq!(json["changed"].as_array().unwrap().len(), 2);
    assert_eq!(
        json["changed"][0],
        serde_json::json!({
            "policy": "192.0.2.1[any] 192.0.2.2[any] any out prio def ipsec esp/transport//unique:5",
            "was": "192.0.2.1[any] 192.0.2.2[any] any out prio def ipsec esp/transport//require",
            "place": "/etc/ipsec-tools.conf:2:1",
        })
    );
    assert_eq!((json["new"].as_array().unwrap().len(), json["old"].as_array().unwrap().len()), (0, 4));
    assert_eq!((&json["replaces"], &json["done"]), (&true.into(), &serde_json::Value::Null));
    let synced = ran(&fake, &edited, &defaults(true), true);
    let json: serde_json::Value = serde_json::from_str(&synced.out).unwrap();
    assert_eq!(json["done"], serde_json::json!({ "added": 0, "changed": 2, "deleted": 4 }));
}

#[test]
fn neighbour_discovery_is_kept_out_as_the_daemon_does() {
    let fake = FakeKernel::new();
    let six =
        files(&format!("{HEAD}spdadd 2001:db8::1 2001:db8::2 any -P out ipsec esp/transport//require;"), "");
    assert_eq!(sync(&fake, &six).code, 0);
    assert_eq!(fake.policies().len(), 11);
    assert_eq!(plan(&fake, &six).code, 0);
}
