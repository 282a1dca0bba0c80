//! Statements outside every block, and files that include others.

use super::*;

#[test]
fn top_level_statements_reach_the_model() {
    let config = config(
        "path pre_shared_key \"keys/psk.txt\"; path certificate \"/certs\"; path script \"hooks\"; path pidfile \"c.pid\";
        log debug2; pfkey_buffer 512; complex_bundle on; gss_id_enc utf-16le;
        listen { isakmp 192.0.2.1 [500]; isakmp fe80::1%eth0; isakmp_natt 192.0.2.1; strict_address;
            adminsock \"/run/r.sock\" \"root\" \"operator\" 0660; }
        timer { counter 7; interval 20 sec; persend 1; phase1 2 min; phase2 15 secs; natt_keepalive 0 sec; }
        padding { randomize off; randomize_length on; maximum_length 20; strict_check off; exclusive_tail on; }
        privsep { user \"racoon\"; group 42; chroot \"/var/empty\"; }",
    );
    assert_eq!(config.pre_shared_key, Path::new("/etc/racoon/keys/psk.txt"));
    assert_eq!(config.certificate_dir, Path::new("/certs"));
    assert_eq!(config.script_dir, Path::new("/etc/racoon/hooks"));
    assert_eq!(config.pid_file.as_deref(), Some(Path::new("/var/run/c.pid")));
    assert_eq!((config.log_level, config.kernel_buffer_kb), (LogLevel::Debug2, Some(512)));
    let listen = &config.listen;
    let isakmp: Vec<String> = listen.isakmp.iter().map(Endpoint::to_string).collect();
    assert_eq!(isakmp, ["192.0.2.1[500]", "fe80::1%eth0"]);
    assert_eq!(listen.isakmp_natt, [Endpoint::new(address("192.0.2.1"))]);
    assert!(listen.strict_address);
    let socket = AdminSocket::At {
        path: "/run/r.sock".into(),
        owner: Some("root".into()),
        group: Some("operator".into()),
        mode: Some(0o660),
    };
    assert_eq!(listen.admin_socket, socket);
    let seconds = |n| Some(Duration::from_secs(n));
    let timers = Timers {
        counter: Some(7),
        interval: seconds(20),
        phase1: seconds(120),
        phase2: seconds(15),
        natt_keepalive: seconds(0),
    };
    assert_eq!(config.timers, timers);
    let privsep = config.privsep.unwrap();
    assert_eq!((privsep.user.as_deref(), privsep.group.as_deref()), (Some("racoon"), Some("42")));
    assert_eq!(privsep.chroot.as_deref(), Some(Path::new("/var/empty")));
}

#[test]
fn an_empty_file_has_the_default_paths() {
    let config = config("");
    assert_eq!(config.pre_shared_key, Path::new(DEFAULT_PRE_SHARED_KEY));
    assert_eq!(config.log_level, LogLevel::Info);
    assert!(config.remotes.is_empty() && config.uses.is_empty());
}

#[test]
fn includes_are_read_in_order_where_they_stand() {
    let files = Memory::new()
        .with("/etc/racoon/conf.d/b.conf", "log debug;")
        .with("/etc/racoon/conf.d/a.conf", "log error; include \"deep/*.conf\";")
        .with("/etc/racoon/conf.d/.hidden.conf", "nonsense")
        .with("/etc/racoon/conf.d/deep/d.conf", "pfkey_buffer 7;")
        .with("/root/own.conf", "path pidfile \"own.pid\";")
        .with("/home/fred/own.conf", "timer { counter 3; }");
    let text =
        "path include \"conf.d\"; include \"*.conf\"; include \"~/own.conf\"; include \"~fred/own.conf\";";
    let (config, said) = parse_text(text, &files);
    let config = config.unwrap_or_else(|| panic!("{said}"));
    assert_eq!((config.log_level, config.kernel_buffer_kb), (LogLevel::Debug, Some(7)));
    assert_eq!(config.pid_file.as_deref(), Some(Path::new("/var/run/own.pid")));
    assert_eq!(config.timers.counter, Some(3));
    let (_, said) = parse_text("include \"none.conf\";", &files);
    assert_eq!(said, "1:9: error: cannot read `/etc/racoon/none.conf`: no such file\n");
    let (config, said) = parse_text("include \"/x/*.conf\";", &files);
    assert!(config.is_some() && said.starts_with("1:9: warning: no file matches `/x/*.conf`"), "{said}");
}

#[test]
fn errors_in_an_included_file_name_that_file() {
    let files = Memory::new().with("/etc/racoon/a.conf", "\n log loud;");
    let (_, said) = parse_text("include \"a.conf\";", &files);
    assert!(said.starts_with("/etc/racoon/a.conf:2:6: error: expected `error`"), "{said}");
}

#[test]
fn includes_that_never_end_are_refused() {
    let itself = Memory::new().with("/etc/racoon/racoon.conf", "include \"racoon.conf\";");
    let (config, said) = parse_text("include \"racoon.conf\";", &itself);
    assert!(config.is_none() && said.contains("includes itself"), "{said}");
    // Each includes the next, twice: without a limit 2^40 files.
    let mut chain = Memory::new();
    for n in 0..40 {
        chain = chain.with(format!("/etc/racoon/{n}"), format!("include \"{0}\"; include \"{0}\";", n + 1));
    }
    let (_, said) = parse_text("include \"0\";", &chain);
    assert!(said.contains("more than 10 deep"), "{said}");
    // Wide ones: 30 files, each of which includes all of the next level.
    let mut wide = Memory::new();
    for level in 0..9 {
        for n in 0..30 {
            wide = wide
                .with(format!("/etc/racoon/{level}-{n}.conf"), format!("include \"{}-*.conf\";", level + 1));
        }
    }
    let (config, said) = parse_text("include \"0-*.conf\";", &wide);
    assert!(config.is_none() && said.contains("more than 10000 files"), "{said}");
}

#[test]
fn passwords_of_other_services_are_not_rendered() {
    let text = "ldapcfg { bind_pw \"sesame\"; frob \"x\"; }\nradiuscfg { auth \"host\" \"sesame\" 1; }
        0x5e5a6e5e5a6e5e5a6e5e5a6e5e5a6e5e5a6e; ldapcfg { bind_pw \"sesame";
    let (_, diagnostics) = parse(Path::new("r"), text.as_bytes(), &Memory::new());
    let shown = diagnostics.render(false) + &format!("{diagnostics}{diagnostics:?}");
    assert!(diagnostics.has_errors() && !shown.contains("sesame") && !shown.contains("5e5a6e"), "{shown}");
}
