//! What commands do to a kernel, and what is said of them.

use std::ffi::OsString;

use xfrm_sys::{AlgorithmName, Encap, Errno, FakeKernel, Mode, Operation, Policy, Protocol, Sa};

use super::*;
use crate::setkey::{Terminal, run};

const MESH: &str = "#!/usr/sbin/setkey -f
flush;
spdflush;
spdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/transport//require;
spdadd 192.0.2.2 192.0.2.1 any -P in ipsec esp/transport//require;
spdadd 0.0.0.0/0 0.0.0.0/0[22] tcp -P out prio def + 100 none;
";

const KEY: &str = "0x000102030405060708090a0b0c0d0e0f";

/// What a run of setkey printed, and whether all went well.
#[derive(Debug)]
struct Ran {
    well: bool,
    out: String,
    err: String,
}

struct Run<'a> {
    arguments: &'a str,
    file: &'a str,
    input: &'a str,
    interactive: bool,
}

impl Run<'_> {
    fn on(&self, fake: &FakeKernel) -> Ran {
        let files = files().with("p.conf", self.file);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut terminal = Terminal {
            files: &files,
            input: &mut self.input.as_bytes(),
            interactive: self.interactive,
            out: &mut out,
            err: &mut err,
            styled: false,
            scene: Some(scene()),
        };
        let arguments = self.arguments.split_whitespace().map(OsString::from);
        let well = run(arguments, &mut terminal, || Ok(fake.clone())).unwrap();
        Ran { well, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
    }
}

fn setkey(fake: &FakeKernel, arguments: &str) -> Ran {
    Run { arguments, file: "", input: "", interactive: false }.on(fake)
}

fn load(fake: &FakeKernel, file: &str) -> Ran {
    Run { arguments: "-f p.conf", file, input: "", interactive: false }.on(fake)
}

fn loaded(file: &str) -> FakeKernel {
    let fake = FakeKernel::new();
    let ran = load(&fake, file);
    assert!(ran.well, "{}", ran.err);
    fake
}

fn by_index(fake: &FakeKernel) -> Vec<Policy> {
    let mut all = fake.policies();
    all.sort_by_key(|policy| policy.index);
    all
}

/// What was asked of the kernel since, dumps left out.
fn asked(fake: &FakeKernel, since: usize) -> Vec<Operation> {
    let asked = fake.journal().into_iter().skip(since).map(|(operation, _)| operation);
    asked.filter(|operation| !matches!(operation, Operation::DumpSas | Operation::DumpPolicies)).collect()
}

fn add(spi: u32, rest: &str) -> String {
    format!("add 192.0.2.1 192.0.2.2 esp {spi} {rest};\n")
}

#[test]
fn a_mesh_file_loaded_again_flushes_sas_and_touches_no_policy() {
    let fake = loaded(MESH);
    let before = by_index(&fake);
    assert_eq!(before.len(), 4);
    let ran = load(&fake, &add(0x1000, &format!("-E aes-cbc {KEY}")));
    assert!(ran.well && fake.sas().len() == 1, "{}", ran.err);
    let since = fake.journal().len();
    assert!(load(&fake, MESH).well);
    assert_eq!(asked(&fake, since), [Operation::FlushSas]);
    assert_eq!((by_index(&fake), fake.sas()), (before, vec![]));
}

#[test]
fn an_edited_file_changes_the_difference_and_deletes_last() {
    let fake = loaded(MESH);
    let since = fake.journal().len();
    let edited = MESH.replace("192.0.2.2", "192.0.2.3").replace("none", "discard").replacen(
        "flush;\nspdflush",
        "spdflush",
        1,
    );
    assert!(load(&fake, &edited).well);
    use Operation::{AddPolicy, DeletePolicy, UpdatePolicy};
    let expected = [AddPolicy, AddPolicy, AddPolicy, UpdatePolicy, DeletePolicy, DeletePolicy, DeletePolicy];
    assert_eq!(asked(&fake, since), expected);
}

#[test]
fn a_file_with_a_syntax_error_changes_nothing_and_names_its_line() {
    let fake = loaded(MESH);
    let since = fake.journal().len();
    let ran = load(
        &fake,
        "flush;\nspdflush;\nspdadd 192.0.2.1 192.0.2.9 any -P out ipsec esp/trnsport//require;\n",
    );
    assert!(!ran.well);
    assert!(ran.err.contains("p.conf:3:"), "{}", ran.err);
    let words: Vec<&str> = ran.err.lines().rev().take(2).collect();
    assert_eq!(words[0], "parse failed, line 3.");
    assert!(words[1].starts_with("line 3: ") && words[1].ends_with(" at [trnsport]"), "{}", words[1]);
    assert_eq!((ran.out.as_str(), fake.journal().len()), ("", since));
}

#[test]
fn a_file_cut_anywhere_is_carried_out_or_changes_nothing() {
    let file =
        format!("{}{}", MESH.replace("192.0.2.2", "192.0.2.3"), add(0x1001, &format!("-E aes-cbc {KEY}")));
    let mut whole = 0;
    for cut in 0..=file.len() {
        let fake = loaded(MESH);
        let since = fake.journal().len();
        if load(&fake, &file[..cut]).well {
            whole += 1;
            let unfinished = file[..cut].lines().skip(1).last().and_then(|line| line.split(';').next_back());
            assert_eq!(unfinished.unwrap_or_default().trim(), "", "cut at {cut}");
        } else {
            assert_eq!(asked(&fake, since), [], "cut at {cut}");
        }
    }
    assert!(whole > 7, "{whole}");
}

#[test]
fn a_refusal_of_the_kernel_at_any_step_is_taken_back_and_names_its_line() {
    let keyed = add(0x1001, &format!("-E aes-cbc {KEY}")) + &add(0x1002, &format!("-E aes-cbc {KEY}"));
    let file = MESH.replace("192.0.2.2", "192.0.2.3").replacen("flush;\nspdflush", "spdflush", 1) + &keyed;
    let probe = loaded(MESH);
    let since = probe.journal().len();
    assert!(load(&probe, &file).well);
    let steps = asked(&probe, since).len();
    assert_eq!(steps, 8);
    for failing in 0..steps {
        let fake = loaded(MESH);
        let before = by_index(&fake);
        // Two dumps come first.
        fake.fail_after(failing + 2, Errno::EINVAL);
        let ran = load(&fake, &file);
        assert!(!ran.well, "step {failing}");
        assert_eq!((by_index(&fake), fake.sas()), (before, vec![]), "step {failing}: {}", ran.err);
        assert!(ran.err.ends_with("nothing was changed\n"), "{}", ran.err);
        // A policy that only goes is on no line.
        if failing < 5 {
            let line = [6, 7, 3, 4, 4][failing];
            let said = format!("The result of line {line}: Invalid argument.\nsetkey: p.conf:{line}:");
            assert!(ran.err.starts_with(&said), "step {failing}: {}", ran.err);
        }
    }
}

#[test]
fn what_clashes_with_the_kernel_is_found_before_anything_changes() {
    let fake = loaded(MESH);
    let since = fake.journal().len();
    let ran = load(
        &fake,
        "spdadd 192.0.2.1 192.0.2.9 any -P out ipsec esp/transport//require;
         spdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/transport//use;",
    );
    assert!(!ran.well && ran.err.contains("The result of line 2: File exists.\n"), "{}", ran.err);
    assert!(ran.err.contains("`spdupdate`") && ran.err.ends_with("nothing was changed\n"), "{}", ran.err);
    assert_eq!(asked(&fake, since), []);
}

#[test]
fn commands_that_have_nothing_to_do_are_said_and_the_others_are_carried_out() {
    let fake = loaded(MESH);
    let ran = load(
        &fake,
        "spdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/transport//require;
         spddelete 192.0.2.1 192.0.2.77 any -P out;
         delete 192.0.2.1 192.0.2.2 esp 0x1234;
         get 192.0.2.1 192.0.2.2 esp 0x1234;
         deleteall 192.0.2.1 192.0.2.2 esp;
         spdadd 192.0.2.1 192.0.2.9 any -P out discard;",
    );
    let results: Vec<&str> = ran.err.lines().filter(|line| line.starts_with("The result")).collect();
    assert_eq!(
        results,
        [
            "The result of line 1: File exists.",
            "The result of line 2: No entry.",
            "The result of line 3: No entry.",
            "The result of line 4: No entry."
        ]
    );
    assert!(!ran.well);
    assert_eq!(fake.policies().len(), 5);
}

#[test]
fn manual_sas_have_the_kernels_algorithms_and_what_else_is_written() {
    let octets = |count: usize| format!("0x{}", "5a".repeat(count));
    for (rest, cipher, auth, bits) in [
        (format!("-E aes-cbc {} -A hmac-sha256 {}", octets(32), octets(32)), "cbc(aes)", "hmac(sha256)", 96),
        (
            format!("-E aes-cbc {} -A hmac-sha256-128 {}", octets(16), octets(32)),
            "cbc(aes)",
            "hmac(sha256)",
            128,
        ),
        (format!("-E 3des-cbc {} -A hmac-md5 {}", octets(24), octets(16)), "cbc(des3_ede)", "hmac(md5)", 96),
        (
            format!("-E camellia-cbc {} -A hmac-sha512 {}", octets(16), octets(64)),
            "cbc(camellia)",
            "hmac(sha512)",
            256,
        ),
        (
            format!("-E aes-ctr {} -A hmac-sha384 {}", octets(20), octets(48)),
            "rfc3686(ctr(aes))",
            "hmac(sha384)",
            192,
        ),
        (format!("-E null -A aes-xcbc-mac {}", octets(16)), "ecb(cipher_null)", "xcbc(aes)", 96),
        (
            format!("-E des-cbc {} -A hmac-ripemd160 {}", octets(8), octets(20)),
            "cbc(des)",
            "hmac(rmd160)",
            96,
        ),
        (
            format!("-E blowfish-cbc {} -A hmac-sha1 {}", octets(16), octets(20)),
            "cbc(blowfish)",
            "hmac(sha1)",
            96,
        ),
        (
            format!("-E cast128-cbc {} -A hmac-sha1 {}", octets(16), octets(20)),
            "cbc(cast5)",
            "hmac(sha1)",
            96,
        ),
        (format!("-E twofish-cbc {} -A null", octets(16)), "cbc(twofish)", "digest_null", 0),
    ] {
        let sa = loaded(&add(0x1000, &rest)).sas().remove(0);
        let (encryption, authentication) = (sa.encryption.unwrap(), sa.authentication.unwrap());
        assert_eq!(encryption.name, AlgorithmName::new(cipher), "{rest}");
        let expected = (AlgorithmName::new(auth), Some(bits));
        assert_eq!((authentication.name, authentication.truncation_bits), expected, "{rest}");
    }
    let gcm = loaded(&add(0x1000, &format!("-E aes-gcm-16 {}", octets(36)))).sas().remove(0);
    let aead = gcm.aead.unwrap();
    assert_eq!((aead.name, aead.icv_bits, aead.key.len()), (AlgorithmName::RFC4106_GCM_AES, 128, 36));

    let file = format!(
        "add 192.0.2.1 [4500] 192.0.2.2 [1027] esp-udp 10.0.0.9 4096 -m tunnel -r 4 -u 7 -lh 3600 -ls 2880
         -bh 1000 -bs 900 -E aes-cbc {KEY} -A hmac-sha1 {};",
        octets(20)
    );
    let sa = loaded(&file).sas().remove(0);
    let encap = Encap { original_address: Some("10.0.0.9".parse().unwrap()), ..Encap::udp(4500, 1027) };
    assert_eq!((sa.mode, sa.reqid, sa.replay_window, sa.encap), (Mode::TUNNEL, 7, 32, Some(encap)));
    let limits = (sa.limits.hard_add_seconds, sa.limits.soft_add_seconds);
    assert_eq!((limits, sa.limits.hard_bytes, sa.limits.soft_bytes), ((3600, 2880), 1000, 900));

    let wide = loaded(&add(0x1000, &format!("-r 128 -E aes-cbc {KEY}"))).sas().remove(0);
    assert_eq!((wide.replay_window, wide.replay_esn.unwrap().window), (0, 1024));
    let plain =
        loaded(&format!("add 2001:db8::1 2001:db8::2 esp-udp 4096 -E aes-cbc {KEY};")).sas().remove(0);
    assert_eq!((plain.mode, plain.encap), (Mode::TRANSPORT, Some(Encap::udp(4500, 4500))));
}

#[test]
fn truncation_to_96_bits_is_warned_of() {
    let key = "5a".repeat(32);
    let fake = FakeKernel::new();
    let ran = load(&fake, &add(0x1000, &format!("-E aes-cbc {KEY} -A hmac-sha256 0x{key}")));
    assert!(ran.well && ran.err.contains("96 bits") && ran.err.contains("hmac-sha256-128"), "{}", ran.err);
    assert!(!ran.err.contains(&key) && !ran.err.contains(KEY), "{}", ran.err);
}

#[test]
fn what_linux_does_not_have_is_refused_before_anything_changes() {
    for rest in [
        "add 192.0.2.1 192.0.2.2 esp-old 4096 -E des-cbc 0x0011223344556677;",
        "add 192.0.2.1 192.0.2.2 tcp 4096 -A tcp-md5 \"secret\";",
        "add 192.0.2.1 192.0.2.2 esp 4096 -E des-deriv 0x0011223344556677;",
        "add 192.0.2.1 192.0.2.2 ah 4096 -A keyed-md5 0x00112233445566778899aabbccddeeff;",
        "spdadd 192.0.2.1 192.0.2.2 any -ctx 1 1 \"label\" -P out discard;",
    ] {
        let fake = loaded(MESH);
        let since = fake.journal().len();
        let ran = load(&fake, &format!("spdflush;\n{rest}\n"));
        assert!(!ran.well, "{rest}");
        assert!(ran.err.contains("The result of line 2: Operation not supported.\n"), "{rest}: {}", ran.err);
        assert_eq!(fake.journal().len(), since, "{rest}");
        // A check without a kernel finds it too.
        let run = Run { arguments: "-n -f p.conf", file: rest, input: "", interactive: false };
        assert!(!run.on(&fake).well, "{rest}");
    }
}

#[test]
fn sas_are_printed_found_and_deleted() {
    let key = format!("-E aes-cbc {KEY}");
    let fake = loaded(&(add(0x1001, &key) + &add(0x1002, &key)));
    assert!(load(&fake, &format!("add 192.0.2.9 192.0.2.2 esp 0x1003 {key};")).well);
    let ran = load(&fake, "get 192.0.2.1 192.0.2.2 esp 0x1002; dump esp; dump ah; dump tcp;");
    assert!(ran.well, "{}", ran.err);
    let spis: Vec<&str> = ran.out.split_whitespace().filter_map(|word| word.strip_prefix("spi=")).collect();
    assert_eq!(spis, ["4098(0x00001002)", "4099(0x00001003)", "4098(0x00001002)", "4097(0x00001001)"]);
    assert!(ran.out.ends_with("No SAD entries.\nNo SAD entries.\n"), "{}", ran.out);
    assert!(load(&fake, "delete 192.0.2.1 192.0.2.2 esp 0x1002;").well);
    assert_eq!(fake.sas().len(), 2);
    assert!(load(&fake, "deleteall 192.0.2.1 192.0.2.2 esp-udp;").well);
    assert_eq!(fake.sas().iter().map(|sa| sa.id.spi).collect::<Vec<_>>(), [0x1003]);
    assert!(load(&fake, "flush ah;").well && fake.sas().len() == 1);
    assert!(load(&fake, "flush esp;").well && fake.sas().is_empty());
}

#[test]
fn what_is_printed_in_the_middle_is_as_things_are_then() {
    let fake = loaded(MESH);
    let key = format!("-E aes-cbc {KEY}");
    let file = format!("spddump; spdflush; spddump; {} dump; flush; dump;", add(0x1001, &key));
    let ran = load(&fake, &file);
    assert!(ran.well, "{}", ran.err);
    let parts: Vec<usize> = ["refcnt=1", "No SPD entries.", "sadb_seq=0", "No SAD entries."]
        .iter()
        .map(|word| ran.out.rfind(word).unwrap_or_else(|| panic!("{word}: {}", ran.out)))
        .collect();
    assert!(parts.is_sorted(), "{parts:?}");
}

#[test]
fn an_sa_in_the_place_of_another_is_tried_out_first() {
    let first = add(0x1001, &format!("-E aes-cbc {KEY}"));
    let other = add(0x1001, &format!("-E aes-cbc {}", KEY.replace("00", "ff")));
    let fake = loaded(&first);
    let ran = load(&fake, &other);
    assert!(!ran.well && ran.err.contains("The result of line 1: File exists."), "{}", ran.err);
    assert!(load(&fake, &first).err.contains("the same SA"));

    let before = fake.sas();
    fake.fail_next(Operation::AddSa, Errno::ENOSYS, None);
    let ran = load(&fake, &format!("flush;\n{other}"));
    assert!(ran.err.contains("The result of line 2: Function not implemented."), "{}", ran.err);
    assert_eq!(fake.sas(), before);
    assert!(load(&fake, &format!("flush;\n{other}")).well);
    let key: Vec<Sa> = fake.sas();
    assert_eq!(key[0].encryption.as_ref().unwrap().key.expose()[0], 0xff);
    assert_eq!(key.len(), 1);
}

#[test]
fn an_authentication_header_and_compression_are_loaded_too() {
    let key = "5a".repeat(20);
    let fake = loaded(&format!(
        "add 192.0.2.1 192.0.2.2 ah 4096 -A hmac-sha1 0x{key};
         add 192.0.2.1 192.0.2.2 ipcomp 4097 -C deflate;
         spdadd 192.0.2.1 192.0.2.2 any -P out ipsec ipcomp/transport//use esp/transport//require ah/transport//require;"
    ));
    let protocols: Vec<Protocol> = fake.sas().iter().map(|sa| sa.id.protocol).collect();
    assert_eq!(protocols, [Protocol::IPCOMP, Protocol::AH]);
    assert_eq!(fake.policies()[0].templates.len(), 3);
    let text = setkey(&fake, "-D").out;
    assert!(
        text.contains("\tipcomp mode=transport spi=4097") && text.contains("\tC: deflate \tseq="),
        "{text}"
    );
}

#[test]
fn kernel_mode_makes_no_copies() {
    let fake = FakeKernel::new();
    let run = Run { arguments: "-kf p.conf", file: MESH, input: "", interactive: false };
    assert!(run.on(&fake).well);
    assert_eq!(fake.policies().len(), 3);
}

#[test]
fn flags_print_and_flush() {
    let fake = loaded(&format!("{MESH}{}", add(0x1001, &format!("-E aes-cbc {KEY}"))));
    assert!(setkey(&fake, "-D").out.starts_with("192.0.2.1 192.0.2.2 \n\tesp mode=transport spi=4097"));
    assert!(setkey(&fake, "-Dp").out.starts_with("192.0.2.1[0] 192.0.2.2[0] \n"));
    assert_eq!(setkey(&fake, "-DP").out.matches("refcnt=1").count(), 4);
    assert_eq!(setkey(&fake, "-n -D").out, "");
    assert!(setkey(&fake, "-F").well && fake.sas().is_empty() && fake.policies().len() == 4);
    assert!(setkey(&fake, "-FP").well && fake.policies().is_empty());
    assert_eq!(setkey(&fake, "-D").out, "No SAD entries.\n");
    assert_eq!(setkey(&fake, "-PD").out, "No SPD entries.\n");
    for question in ["-h", "-?", "", "-V"] {
        let ran = setkey(&fake, question);
        assert!(!ran.well && ran.out.contains("setkey") && ran.err.is_empty(), "{question}: {ran:?}");
    }
    let ran = setkey(&fake, "-q");
    assert!(!ran.well && ran.out.is_empty() && ran.err.contains("no option -q"), "{ran:?}");
}

#[test]
fn a_check_asks_the_kernel_nothing() {
    let fake = FakeKernel::new();
    let ran = Run { arguments: "-nf p.conf", file: MESH, input: "", interactive: false }.on(&fake);
    assert!(ran.well && fake.journal().is_empty(), "{ran:?}");
    let ran = Run { arguments: "-n -c", file: "", input: "spdadd nonsense;", interactive: false }.on(&fake);
    assert!(!ran.well && fake.journal().is_empty(), "{ran:?}");
}

#[test]
fn the_standard_input_is_a_file_and_on_a_terminal_a_conversation() {
    for arguments in ["-c", "-f -"] {
        let fake = FakeKernel::new();
        let run = Run { arguments, file: "", input: "spdflush;\nspdadd ! ;\n", interactive: false };
        let ran = run.on(&fake);
        assert!(!ran.well && ran.err.contains("parse failed, line 2."), "{}", ran.err);
        assert!(Run { input: MESH, ..run }.on(&fake).well);
        assert_eq!(fake.policies().len(), 4);
    }
    let fake = FakeKernel::new();
    let input =
        "spdadd 192.0.2.1 192.0.2.2 any\n -P out discard;\nspdadd nonsense;\nspddump;\nexit;\nspdflush;\n";
    let ran = Run { arguments: "-c", file: "", input, interactive: true }.on(&fake);
    assert!(!ran.well && ran.err.contains("parse failed"), "{}", ran.err);
    assert!(ran.out.contains("\tout prio def discard\n"), "{}", ran.out);
    assert_eq!(fake.policies().len(), 1);
}

#[test]
fn what_is_done_is_told_without_keys() {
    let file = format!("{MESH}{}", add(0x1001, &format!("-E aes-cbc {KEY}")));
    let ran =
        Run { arguments: "-vf p.conf", file: &file, input: "", interactive: false }.on(&FakeKernel::new());
    assert!(ran.well && ran.err.contains("setkey: add SA esp 0x00001001"), "{}", ran.err);
    assert!(ran.err.contains("setkey: add policy out 192.0.2.1/32 > 192.0.2.2/32"), "{}", ran.err);
    assert!(!ran.err.contains("0102030405"), "{}", ran.err);
}

#[test]
fn want_of_privilege_says_what_to_do() {
    let fake = FakeKernel::new();
    fake.refuse(Operation::DumpSas, Errno::EPERM, None);
    let ran = setkey(&fake, "-D");
    assert!(!ran.well && ran.err.contains("CAP_NET_ADMIN"), "{}", ran.err);
    let ran = load(&fake, MESH);
    assert!(!ran.well && ran.err.contains("CAP_NET_ADMIN"), "{}", ran.err);
}

#[test]
fn policies_that_catch_neighbour_discovery_are_warned_of() {
    let file = "spdadd 2001:db8::1 2001:db8::2 any -P out ipsec esp/transport//require;";
    let fake = FakeKernel::new();
    let ran = load(&fake, file);
    assert!(ran.well && ran.err.contains("neighbour discovery"), "{}", ran.err);
    assert_eq!(fake.policies().len(), 1);
    // Said once, not at every load.
    let ran = load(&fake, &format!("spdflush; {file}"));
    assert!(ran.well && ran.err.is_empty(), "{}", ran.err);
}

#[test]
fn the_last_sa_of_a_file_is_the_newest() {
    let key = format!("-E aes-cbc {KEY}");
    let fake = loaded(&(add(0x2000, &key) + &add(0x1000, &key)));
    assert_eq!(fake.sas().iter().map(|sa| sa.id.spi).collect::<Vec<_>>(), [0x1000, 0x2000]);
}

#[test]
fn a_hundred_thousand_policies_are_one_load() {
    let text: String = (0..100_000u32)
        .map(|n| {
            let [_, a, b, c] = n.to_be_bytes();
            format!("spdadd 192.0.2.1 10.{a}.{b}.{c} any -P out ipsec esp/transport//unique;\n")
        })
        .collect();
    let fake = FakeKernel::new();
    let ran = Run { arguments: "-n -f p.conf", file: &text, input: "", interactive: false }.on(&fake);
    assert!(ran.well, "{}", ran.err);
    let (file, _) = coati_config::setkey::parse("p.conf", text.as_bytes(), &files());
    let script = crate::setkey::script::Script::new(
        &file.unwrap().commands,
        coati_config::setkey::FwdCopies::Made,
        &mut fake.clone(),
    );
    assert_eq!(script.unwrap().stages[0].policies.summary().added, 100_000);
}
