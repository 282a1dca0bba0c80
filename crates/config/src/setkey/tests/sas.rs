//! Manual SAs.

use super::*;

pub(super) fn sa(text: &str) -> ManualSa {
    match file(&format!("add 10.0.0.1 10.0.0.2 {text};")).commands.remove(0).action {
        Action::Add(sa) => *sa,
        other => panic!("{other:?}"),
    }
}

fn sa_said(text: &str) -> String {
    said(&format!("add 10.0.0.1 10.0.0.2 {text};"))
}

#[test]
fn a_manual_sa_is_read_whole() {
    let sa = sa(
        "esp 0x10001 -m tunnel -r 4 -u 77 -f random-pad -f nocyclic-seq -lh 100 -ls 80 -bh 1000 -bs 800
        -E aes-cbc 0x00112233445566778899aabbccddeeff -A hmac-sha256-128 \"12345678901234567890123456789012\"",
    );
    assert_eq!((sa.id.spi, sa.id.protocol, sa.mode), (0x10001, SaProtocol::Esp, ManualMode::Tunnel));
    assert_eq!(
        (sa.replay_window, sa.reqid, sa.padding, sa.nocyclic_seq),
        (32, 77, Some(Padding::Random), true)
    );
    let lifetimes = ManualLifetimes {
        hard_seconds: Some(100),
        soft_seconds: Some(80),
        hard_octets: Some(1000),
        soft_octets: Some(800),
    };
    assert_eq!(sa.lifetimes, lifetimes);
    let (cipher, auth) = (sa.encryption.unwrap(), sa.authentication.unwrap());
    assert_eq!((cipher.algorithm, cipher.key.expose()[15]), (ManualCipher::AesCbc, 0xff));
    assert_eq!(
        (auth.algorithm, auth.key.expose()),
        (ManualAuth::HmacSha256Trunc128, &b"12345678901234567890123456789012"[..])
    );
}

#[test]
fn manual_keys_are_checked_for_their_length() {
    assert_eq!(
        sa("esp 300 -E cast128-cbc 0x123456789").encryption.unwrap().key.expose(),
        [1, 0x23, 0x45, 0x67, 0x89]
    );
    assert_eq!(sa("esp 300 -E null").encryption.unwrap().key.len(), 0);
    assert_eq!(sa("esp 300 -E simple \"\" -A null").authentication.unwrap().algorithm, ManualAuth::Null);
    let gcm = format!("esp 300 -E aes-gcm-16 0x{}", "ab".repeat(20));
    assert_eq!(sa(&gcm).encryption.unwrap().algorithm, ManualCipher::AesGcm16);
    assert_eq!(sa("ah 300 -A hmac-md5 \"1234567890123456\"").authentication.unwrap().key.len(), 16);
    for (text, why) in [
        ("esp 300 -E aes-cbc \"short\"", "the key of `aes-cbc` has 40 bits, expected 128 or 192 or 256"),
        ("esp 300 -E aes-cbc 0xzz", "expected a key"),
        ("esp 300 -E aes-cbc", "expected a key"),
        ("esp 300 -E rc5-cbc \"kamekame\"", "expected an encryption algorithm, found `rc5-cbc`"),
        ("esp 300 -A hmac-md5 \"1234567890123456\"", "this protocol takes `-E`"),
        ("esp 300", "this protocol takes `-E`"),
        ("ah 300 -E null", "this protocol takes `-A`"),
        ("ipcomp 300 -C lzs", "only `deflate`"),
        ("ipcomp 70000 -C deflate", "from 1 to 65535"),
        ("esp 0 -E null", "an SPI is a number from 1 to 4294967295"),
        ("esp 4294967296 -E null", "at most 4294967295"),
        ("50 300 -E null", "expected `esp`"),
        ("esp-old 300 -r 4 -E null", "no replay window"),
        ("esp 300 -E des-32iv \"12341234\"", "goes with `esp-old` only"),
        ("esp 300 -A tcp-md5 \"x\"", "belong together"),
        (&format!("{gcm} -A null"), "goes without `-A`"),
    ] {
        let said = sa_said(text);
        assert!(said.contains("error") && said.contains(why), "{text}: {said}");
    }
    assert!(
        sa_said("ah 300 -A hmac-sha256 \"12345678901234567890123456789012\"")
            .contains("warning: `hmac-sha256` is truncated to 96 bits")
    );
    assert!(sa_said("esp 300 -E des-cbc \"12341234\"").contains("warning: `des-cbc` is weak"));
}

#[test]
fn reserved_spis_are_taken_with_a_warning_where_an_sa_is_added() {
    let id = |text: &str| match file(text).commands.remove(0).action {
        Action::Add(sa) => sa.id.spi,
        Action::Get(id) | Action::Delete(id) => id.spi,
        other => panic!("{other:?}"),
    };
    assert_eq!(id("add ::1 ::2 ah 0x2a -A null;"), 42);
    assert_eq!(id("get ::1 ::2 esp 1;"), 1);
    assert_eq!(id("delete ::1 ::2 esp 255;"), 255);
    let warning = "f:1:17: warning: SPIs up to 255 are reserved (RFC 4303 §2.1)";
    assert!(said("add ::1 ::2 esp 255 -E null;").starts_with(warning));
    for quiet in
        ["add ::1 ::2 esp 256 -E null;", "delete ::1 ::2 esp 255;", "add ::1 ::2 ipcomp 9 -C deflate;"]
    {
        assert_eq!(said(quiet), "");
    }
}

#[test]
fn hexadecimal_may_begin_with_a_capital_x() {
    let sa = sa("esp 0X1A2b -r 0X4 -E aes-cbc 0X00112233445566778899aabbccddeeff");
    assert_eq!((sa.id.spi, sa.replay_window), (0x1a2b, 32));
    assert_eq!(sa.encryption.unwrap().key.expose()[..3], [0, 0x11, 0x22]);
    assert_eq!(policy("spdadd ::1[0X16] ::2 tcp -P in none;").selector.sport, Some(22));
    assert!(sa_said("esp 0X -E null").contains("expected an SPI, found `0X`"));
}

#[test]
fn a_flag_and_its_value_need_no_blank_between() {
    let glued = sa("esp 0x1000 -mtunnel -r4 -u77 -fseq-pad -lh3600 -ls0x10 -bh9 -bs8
        -Eaes-cbc 0x00112233445566778899aabbccddeeff -Ahmac-sha512 \"1234567890123456789012345678901234567890123456789012345678901234\"");
    assert_eq!((glued.mode, glued.replay_window, glued.reqid), (ManualMode::Tunnel, 32, 77));
    assert_eq!(glued.padding, Some(Padding::Sequence));
    let seconds = (glued.lifetimes.hard_seconds, glued.lifetimes.soft_seconds);
    assert_eq!(seconds, (Some(3600), Some(16)));
    assert_eq!(glued.encryption.unwrap().algorithm, ManualCipher::AesCbc);
    assert_eq!(glued.authentication.unwrap().algorithm, ManualAuth::HmacSha512);
    assert!(sa("ipcomp 5 -Cdeflate -R").compression);
    let outward = policy("spdadd -n4 10.0.0.1 10.0.0.2 any -ctx1 1 \"x\" -Pout prio low none;");
    assert_eq!((outward.selector.direction, outward.priority), (Direction::Out, 0xC000_0000));
}

#[test]
fn a_flag_that_does_not_belong_somewhere_is_named() {
    for (text, flag) in [
        ("esp 300 -x 4 -E null", "`-x`"),
        ("esp 300 -lx4 -E null", "`-lx4`"),
        ("esp 300 -E null -r 4", "`-r`"),
        ("esp 300 -A null -E null", "`-E`"),
        ("esp 300 -A null -r 4", "`-r`"),
        ("ah 300 -C deflate -E null", "`-E`"),
        ("ah 300 -lx", "`-lx`"),
    ] {
        let said = sa_said(text);
        assert!(said.contains("error") && said.contains(flag), "{text}: {said}");
    }
    assert_eq!(
        sa_said("esp 300 -x 4 -E null"),
        "f:1:31: error: `-x` does not belong here: this protocol takes `-E`, then perhaps `-A`\n"
    );
}
