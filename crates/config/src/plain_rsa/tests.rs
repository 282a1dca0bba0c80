use super::*;

/// A modulus of 2,048 bits as far as the parser looks: odd.
fn modulus() -> String {
    "c1".repeat(256)
}

fn private_text(modulus: &str, exponent: &str) -> String {
    format!(
        "# the key of box7\n: RSA\t{{\n\t# RSA 2048 bits box7 Mon Jan  1\n\t#pubkey=0sAQsesamesesamesesame\n\tModulus: 0x{modulus}\n\t\
         PublicExponent: {exponent}\n\t# everything after this point is secret\n\tPrivateExponent: 0x0000d1d2d3d4d5d6\n\t\
         Prime1: 0xa1\n\tPrime2: 0xa2\n\tExponent1: 0xe1\n\tExponent2: 0xe2\n\tCoefficient: 0xc\n\t}}\n# do not change the indenting of that \"}}\"\n"
    )
}

fn public_blob(exponent: &str, modulus: &str) -> String {
    format!("{:02x}{exponent}{modulus}", exponent.len() / 2)
}

fn public(text: &str) -> (Option<Vec<PublicKey>>, String) {
    let (keys, said) = parse_public("pub.rsa", text.as_bytes());
    (keys, said.to_string())
}

fn private(text: &str) -> (Option<Vec<PrivateKey>>, String) {
    let (keys, said) = parse_private("key.rsa", text.as_bytes());
    (keys, said.to_string())
}

#[test]
fn a_private_key_is_read_as_its_fields() {
    let (keys, said) = private(&private_text(&modulus(), "0x010001"));
    let keys = keys.unwrap_or_else(|| panic!("{said}"));
    let [key] = keys.as_slice() else { panic!("{keys:?}") };
    assert_eq!((key.place.line, key.ends), (2, Ends::default()));
    assert_eq!((key.modulus.clone(), key.public_exponent.as_slice()), (vec![0xc1; 256], &[1, 0, 1][..]));
    assert_eq!(key.private_exponent.expose(), [0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6]);
    let rest = [&key.prime1, &key.prime2, &key.exponent1, &key.exponent2, &key.coefficient];
    assert_eq!(
        rest.map(|secret| secret.expose().to_vec()),
        [[0xa1], [0xa2], [0xe1], [0xe2], [0xc]].map(Vec::from)
    );
    // The public half, for a file that racoon's tool wrote and a peer was given.
    let (keys, _) = public(&private_text(&modulus(), "0x010001"));
    assert_eq!(keys.unwrap()[0].exponent, [1, 0, 1]);
}

#[test]
fn public_keys_are_read_in_both_spellings_with_their_ends() {
    let blob = public_blob("010001", &modulus());
    let long = format!("000003010001{}", modulus());
    let text = format!(
        "# peers\n: PUB 0x{blob}\n192.0.2.0/24 2001:db8::1 : PUB 0x{long} # later\nany 192.0.2.7: PUB 0s{}\n198.51.100.1 : PUB 0x{blob}",
        encoded(&blob)
    );
    let (keys, said) = public(&text);
    let keys = keys.unwrap_or_else(|| panic!("{said}"));
    assert!(keys.iter().all(|key| key.modulus == vec![0xc1; 256] && key.exponent == [1, 0, 1]));
    let ends: Vec<String> = keys
        .iter()
        .map(|key| format!("{:?} {:?} {}", key.ends.local, key.ends.remote, key.place.line))
        .collect();
    let expected = [
        "None None 2",
        "Some(192.0.2.0/24) Some(2001:db8::1) 3",
        "None Some(192.0.2.7) 4",
        "None Some(198.51.100.1) 5",
    ];
    assert_eq!(ends, expected);
}

/// Base64 of hexadecimal digits.
fn encoded(digits: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: Vec<u8> = digits
        .bytes()
        .flat_map(|d| (0..4).rev().map(move |b| (char::from(d).to_digit(16).unwrap() >> b & 1) as u8))
        .collect();
    let letter = |six: &[u8]| {
        let value = six.iter().chain([0; 6].iter()).take(6).fold(0, |sum, bit| sum << 1 | usize::from(*bit));
        char::from(LETTERS[value])
    };
    bits.chunks(6).map(letter).collect()
}

#[test]
fn weak_keys_are_refused_with_the_command_for_a_new_one() {
    let short = "c1".repeat(255);
    for (text, what) in [
        (
            private_text(&short, "0x010001"),
            "2: error: this RSA key has 2040 bits: keys under 2048 are not used",
        ),
        (private_text(&modulus(), "0x03"), "a public exponent below 65537"),
        (format!(": PUB 0x{}", public_blob("03", &modulus())), "a public exponent below 65537"),
        (format!(": PUB 0x{}", public_blob("010001", &short)), "has 2040 bits"),
        (format!(": PUB 0x{}", public_blob("010001", &format!("{short}c2"))), "is even"),
        (format!(": PUB 0x{}", public_blob("010001", &"c1".repeat(2049))), "are the most that is read"),
    ] {
        let (keys, said) = public(&text);
        assert!(keys.is_none() && said.contains(what.trim_start_matches("2: error: ")), "{said}");
        assert!(said.contains("plainrsa-gen -b 3072 -e 65537 -f pub.rsa"), "{said}");
    }
}

#[test]
fn malformed_files_are_refused_at_their_place() {
    let blob = public_blob("010001", &modulus());
    for (text, what) in [
        ("", "there is no key in this file"),
        ("# x", "there is no key in this file"),
        (": PUB", "found the end of the file"),
        (": PUB 0xzz", "pub.rsa:1:7: error: expected a number"),
        (": PUB 0x", "expected a number"),
        (": PUB 0s!", "expected a number"),
        (": PUB 0x04010001", "cut short"),
        (": PUB 0x00", "cut short"),
        (": DSA {", "expected `RSA` or `PUB`"),
        ("host.example.org : PUB 0x00", "expected an address, `any` or `:`"),
        ("1.2.3.4 any any : PUB 0x00", "at most two ends"),
        (": RSA Modulus", "expected `{`"),
        (": RSA { Modulus: 0x1", "expected a field of the key, or `}`"),
        (": RSA { Modulo: 0x1 }", "expected one of Modulus"),
        (": RSA { Modulus: 0x1 Modulus: 0x1 }", "there twice"),
        (": RSA { Modulus: 0xc1 PublicExponent: 0x010001 }", "the key has no PrivateExponent, no Prime1"),
    ] {
        let (keys, said) = public(text);
        assert!(keys.is_none() && said.contains(what), "{text}: {said}");
    }
    assert!(private(&format!(": PUB 0x{blob}")).1.contains("there is no private key in this file"));
}

#[test]
fn no_key_is_ever_rendered() {
    let text = private_text(&modulus(), "0x03");
    let (_, said) = parse_private("k", text.as_bytes());
    let (_, more) = parse_private("k", text.replace("Coefficient", "Coefficent").as_bytes());
    let shown = said.render(false) + &more.render(false) + &format!("{said:?}{more:?}");
    assert!(
        shown.contains("RSA")
            && !shown.contains("c1c1")
            && !shown.contains("d1d2d3")
            && !shown.contains("sesame"),
        "{shown}"
    );
    let (keys, _) = private(&private_text(&modulus(), "0x010001"));
    assert!(!format!("{keys:?}").contains("209"), "octets of a secret");
}

#[test]
fn files_of_other_forms_are_told_apart() {
    for plain in
        [private_text(&modulus(), "0x010001").as_bytes(), b"0.0.0.0/0 : PUB 0sAQ\r\n", b"# \xc3\xa4\n"]
    {
        assert!(is_plain(plain));
    }
    // PEM with text before it, and the first octets of SubjectPublicKeyInfo, PKCS #8 and PKCS #1.
    for other in [
        &b"Public-Key\n-----BEGIN PUBLIC KEY-----\n"[..],
        b"0*0\x05\x06\x03+ep\x03!\x00",
        b"0.\x02\x01\x00",
        b"0\x82\x04\xa4\x02\x01\x00",
    ] {
        assert!(!is_plain(other), "{other:?}");
    }
}

proptest::proptest! {
    #[test]
    fn any_octets_are_survived(octets: Vec<u8>) {
        let _ = parse_public("x", &octets).1.render(true);
    }

    #[test]
    fn any_words_are_survived(text in "(:|RSA|PUB|\\{|\\}|Modulus:?|0x[0-9a-f]{0,6}|0s[A-Z]{0,9}|any|::1/[0-9]{1,3}|#x\n| ){0,30}") {
        let _ = parse_private("x", text.as_bytes()).1.render(true);
    }
}
