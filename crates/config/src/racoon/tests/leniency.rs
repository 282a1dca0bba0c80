//! Where racoon's parser let something pass: taken with the value that was meant.

use super::*;

#[test]
fn equal_signs_are_taken_before_every_kind_of_value() {
    let (found, said) = parse_text(
        &remote_text(
            "lifetime time = 90 min; lifetime = time 30min; my_identifier = fqdn = \"a\"; passive = on;",
        ),
        &Memory::new(),
    );
    let remote = found.unwrap_or_else(|| panic!("{said}")).remotes.remove(0);
    assert_eq!((remote.lifetime, remote.passive), (Duration::from_secs(1800), true));
    assert_eq!(remote.my_identifier, Identifier::Fqdn("a".into()));
    assert_eq!(said.matches("`=` does not belong here").count(), 5, "{said}");
    assert!(remote_said("lifetime time == 90 min;").contains("error: "));
}

#[test]
fn addresses_may_be_glued_to_the_word_before_them() {
    let remote = remote("my_identifier address192.0.2.1; peers_identifier address::1;");
    assert_eq!(remote.my_identifier, Identifier::Address(Some(address("192.0.2.1"))));
    assert_eq!(remote.peers_identifiers, [Identifier::Address(Some(address("::1")))]);
    assert!(remote_said("my_identifier addressx;").contains("did you mean `address`?"));
}

#[test]
fn times_of_nothing_leave_the_defaults() {
    let said = said("timer { interval 0 sec; phase1 0 min; phase2 0 hour; natt_keepalive 0 sec; }");
    assert_eq!(said.matches("warning: a time of nothing").count(), 3, "{said}");
    let remote = remote("lifetime time 0 sec;");
    assert_eq!(remote.lifetime, DEFAULT_LIFETIME);
}

#[test]
fn files_count_from_the_directory_that_is_set_where_they_are_named() {
    let one = |name: &str, option: &str| {
        format!("remote \"{name}\" {{ exchange_mode main; {PROPOSAL} {option} }}\n")
    };
    let text = [
        one("first", "ca_type x509 \"ca\"; script \"up\" phase1_up;"),
        "path certificate \"/a\"; path script \"/s\";\n".to_owned(),
        one("second", "ca_type x509 \"ca\"; script \"up\" phase1_up;"),
        "path certificate \"/b\"; path script \"/t\"; path pre_shared_key \"/p1\"; path pre_shared_key \"/p2\";\n".to_owned(),
        one("third", "ca_type x509 \"ca\"; script \"up\" phase1_up;"),
    ]
    .concat();
    let config = config(&text);
    let paths: Vec<String> = config
        .remotes
        .iter()
        .map(|remote| {
            let ca = remote.ca_certificate.as_ref().map(|file| file.path.display().to_string());
            format!("{} {}", ca.unwrap_or_default(), remote.scripts[0].path.display())
        })
        .collect();
    assert_eq!(paths, ["/a/ca /s/up", "/a/ca /s/up", "/b/ca /t/up"]);
    assert_eq!(config.pre_shared_key, Path::new("/p2"));
}

#[test]
fn a_matched_file_that_cannot_be_read_is_passed_over() {
    struct Broken(Memory);
    impl Files for Broken {
        fn read(&self, path: &Path) -> std::io::Result<(crate::files::FileFacts, Vec<u8>)> {
            match path.ends_with("b.conf") {
                true => Err(std::io::ErrorKind::PermissionDenied.into()),
                false => self.0.read(path),
            }
        }
        fn glob(&self, pattern: &str) -> std::io::Result<Vec<std::path::PathBuf>> {
            self.0.glob(pattern)
        }
        fn home(&self, user: &str) -> Option<std::path::PathBuf> {
            self.0.home(user)
        }
        fn resolve(&self, host: &str) -> std::io::Result<Vec<IpAddr>> {
            self.0.resolve(host)
        }
        fn effective_uid(&self) -> u32 {
            0
        }
    }
    let files = Broken(
        Memory::new().with("/d/a.conf", "log error;").with("/d/b.conf", "").with("/d/c.conf", "log debug;"),
    );
    let (config, said) = parse(Path::new("/d/r"), b"include \"/d/*.conf\";", &files);
    assert_eq!(config.map(|config| config.log_level), Some(LogLevel::Debug), "{said}");
    assert!(said.to_string().contains("1:9: warning: cannot read `/d/b.conf`"), "{said}");
    let (config, said) = parse(Path::new("/d/r"), b"include \"/d/b.conf\";", &files);
    assert!(config.is_none(), "{said}");
}

#[test]
fn words_of_other_lines_of_racoon_are_read() {
    let said = said(
        "ldap_cfg { host 192.0.2.1; uri \"x\"; debug 1; timeout 3; tls on; } timer { auto_exit_delay 3 sec; }",
    );
    assert!(!said.contains("error: ") && said.matches("warning: ").count() == 2, "{said}");
}

#[test]
fn a_cipher_that_coati_does_not_have_is_left_out_where_there_is_another() {
    let sainfo = |ciphers: &str| {
        SAINFO.replace("encryption_algorithm aes", &format!("encryption_algorithm {ciphers}"))
    };
    let (found, said) =
        parse_text(&format!("sainfo anonymous {}", sainfo("camellia 256, aes 128")), &Memory::new());
    let proposals = found.unwrap_or_else(|| panic!("{said}")).sainfos.remove(0).proposals;
    assert_eq!(
        proposals.iter().map(|proposal| (proposal.encr, proposal.key_bits)).collect::<Vec<_>>(),
        [(EncrId::AES_CBC, Some(128))]
    );
    assert!(said.contains("1:41: warning: Coati does not have `camellia`: the others are used"), "{said}");
    let (found, said) = parse_text(&format!("sainfo anonymous {}", sainfo("camellia")), &Memory::new());
    assert!(
        found.is_none() && said.contains("1:41: error: Coati does not have `camellia` (add `aes 256`)"),
        "{said}"
    );

    let camellia = PROPOSAL.replace("aes 256", "camellia 192");
    let (found, said) = parse_text(&remote_text(&camellia), &Memory::new());
    let remote = found.unwrap_or_else(|| panic!("{said}")).remotes.remove(0);
    assert_eq!(remote.proposals.iter().map(|proposal| proposal.encr).collect::<Vec<_>>(), [EncrId::AES_CBC]);
    assert!(
        said.contains("3:33: warning: Coati does not have `camellia`: this proposal is left out"),
        "{said}"
    );
    let alone = remote_text("").replace(PROPOSAL, &camellia);
    assert!(
        parse_text(&alone, &Memory::new())
            .1
            .contains("error: Coati does not have `camellia` (write `aes 256`)")
    );
    assert!(remote_said(&PROPOSAL.replace("aes 256", "camellia 100")).contains("not 100"));
}

#[test]
fn what_cannot_be_seen_is_named() {
    let marked = said("\u{feff}log info;");
    assert!(
        marked.starts_with("1:1: error: ") && marked.contains("found U+FEFF (a byte order mark)"),
        "{marked}"
    );
    let blank = said("log\u{a0}info;");
    assert!(blank.starts_with("1:4: error: ") && blank.contains("found U+00A0"), "{blank}");
}
