//! The built daemon against this machine's kernel, each test in a network namespace of its own: what it refuses, it
//! refuses with one clear message and before anything changes in the kernel.
//!
//! They need root: a test that cannot have a namespace fails and says so.
#![allow(clippy::unwrap_used, reason = "a failed test is all it leads to")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use xfrm_sys::{
    Aead, AlgorithmName, Client, Direction, Key, Level, Policy, Prefix, Sa, SaId, SaQuery, Selector,
    Template, Xfrm,
};

const KEY: &str = "0x9d507d3c6fd6c78d17d5438c5d2d4138a90f99980ea3248615ed94ad886d8412";

const RACOON: &str = "path pre_shared_key \"psk.txt\";
remote anonymous {
    exchange_mode main;
    nat_traversal force;
    proposal {
        encryption_algorithm aes_gcm_16;
        hash_algorithm sha256;
        authentication_method pre_shared_key;
        dh_group curve25519;
    }
}
sainfo anonymous {
    encryption_algorithm aes_gcm_16;
    compression_algorithm deflate;
}
";

const POLICIES: &str = "flush;
spdflush;
spdadd 10.0.0.1 10.0.0.2 any -P out ipsec esp/transport//require;
spdadd 10.0.0.2 10.0.0.1 any -P in ipsec esp/transport//require;
";

/// A directory with a box's three files, in a network namespace of this thread's own that has one policy already.
struct Host {
    dir: PathBuf,
    kernel: Client,
}

impl Host {
    fn new(name: &str) -> Self {
        unshare(CloneFlags::CLONE_NEWNET).unwrap_or_else(|errno| {
            panic!("cannot make a network namespace: {errno}. These tests need root (CAP_SYS_ADMIN); run them with sudo")
        });
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
        assert!(up.is_ok_and(|status| status.success()), "these tests need the ip command (iproute2)");
        let dir = std::env::temp_dir().join(format!("coatid-start-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let mut kernel = Client::open().unwrap();
        let host = |text: &str| Prefix::host(text.parse().unwrap());
        let mut policy = Policy::new(Selector::new(host("192.0.2.1"), host("192.0.2.2")), Direction::OUT);
        policy.templates = vec![Template {
            level: Level::Optional,
            ..Template::esp_transport("192.0.2.1".parse().unwrap())
        }];
        kernel.add_policy(&policy).unwrap();
        let this = Self { dir, kernel };
        this.write("racoon.conf", RACOON);
        this.write("psk.txt", &format!("10.0.0.2 {KEY}\n"));
        this.write("ipsec-tools.conf", POLICIES);
        this
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.join(name), text).unwrap();
        fs::set_permissions(self.dir.join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    fn arguments(&self) -> Vec<String> {
        [
            "-f",
            &self.path("racoon.conf"),
            "--policy",
            &self.path("ipsec-tools.conf"),
            "--control-socket",
            &self.path("control.sock"),
            "--state-dir",
            &self.path("state"),
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn run(&self, more: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_coatid")).args(self.arguments()).args(more).output().unwrap()
    }

    /// Starts the daemon, which must refuse; returns what it says.
    fn refusal(&mut self) -> String {
        let before = self.policies();
        let output = self.run(&[]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(output.stdout, b"");
        assert_eq!(self.policies(), before, "{said}");
        assert_eq!(self.kernel.dump_sas(&xfrm_sys::SaFilter::ALL).unwrap(), [], "{said}");
        assert!(!self.dir.join("control.sock").exists());
        assert!(!said.contains("9d507d3c"), "{said}");
        said
    }

    /// The policies that are not of sockets.
    fn policies(&mut self) -> Vec<Policy> {
        let mut policies = self.kernel.dump_policies().unwrap();
        policies.retain(|policy| !policy.direction.is_socket());
        policies
    }

    /// Found out by trying, as the daemon does.
    fn has_esp(&mut self) -> bool {
        let localhost = "127.0.0.1".parse().unwrap();
        let id = SaId::esp(localhost, 0x7777);
        let mut sa = Sa::new(localhost, id);
        sa.aead =
            Some(Aead { name: AlgorithmName::RFC4106_GCM_AES, key: Key::new(vec![7; 36]), icv_bits: 128 });
        let added = self.kernel.add_sa(&sa).is_ok();
        if added {
            self.kernel.delete_sa(&SaQuery::from(id)).unwrap();
        }
        added
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn bad_files_are_refused_with_their_place() {
    let mut host = Host::new("files");
    for (file, good, bad, expected) in [
        ("racoon.conf", "nat_traversal force", "frobnicate on", "racoon.conf:4:5"),
        ("racoon.conf", "hash_algorithm sha256", "hash_algorithm sha257", "racoon.conf:7:"),
        ("racoon.conf", "psk.txt", "other.txt", "other.txt: cannot read the pre-shared keys"),
        ("ipsec-tools.conf", "10.0.0.2 any", "10.0.0.2 anything", "ipsec-tools.conf:3:"),
        (
            "ipsec-tools.conf",
            "esp/transport//require;\n",
            "ah/transport//require;\n",
            "Coati does not key AH",
        ),
        ("psk.txt", "10.0.0.2 ", "10.0.0.3 ", "has no key for 10.0.0.2"),
    ] {
        let path = host.dir.join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(good), "{good}");
        fs::write(&path, text.replacen(good, bad, 1)).unwrap();
        let said = host.refusal();
        assert!(said.contains("error") && said.contains(expected), "{expected}\n{said}");
        fs::write(&path, text).unwrap();
    }
}

#[test]
fn a_psk_file_that_others_can_read_is_refused() {
    let mut host = Host::new("psk");
    fs::set_permissions(host.dir.join("psk.txt"), fs::Permissions::from_mode(0o644)).unwrap();
    let said = host.refusal();
    assert!(said.contains("weak file permission 0644, expected 0600"), "{said}");
    assert_eq!(said.matches("error").count(), 1, "{said}");
}

#[test]
fn without_the_capability_it_says_which() {
    let host = Host::new("capability");
    // Root of a user namespace of its own, which the network namespace does not belong to.
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", env!("CARGO_BIN_EXE_coatid")])
        .args(host.arguments())
        .output()
        .unwrap_or_else(|error| panic!("this test needs the unshare command (util-linux): {error}"));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("coatid: CAP_NET_ADMIN is needed"), "{said}");
}

#[test]
fn files_are_checked_without_a_kernel() {
    let host = Host::new("check");
    let output = host.run(&["--check"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("the configuration is good (1 warnings)"), "{said}");
    assert!(said.contains("`exchange_mode` has no meaning in IKEv2"), "{said}");
    host.write("racoon.conf", "remote anonymous {");
    assert_eq!(host.run(&["--check"]).status.code(), Some(1));
}

#[test]
fn a_kernel_without_esp_is_refused_in_its_own_words_and_one_with_it_is_used() {
    let mut host = Host::new("esp");
    if !host.has_esp() {
        let said = host.refusal();
        assert!(
            said.contains("coatid: the kernel cannot do ESP in UDP over IPv4 with ENCR_AES_GCM_16-256"),
            "{said}"
        );
        assert!(said.contains("cannot add SA (esp 0xc0a71000 to 127.0.0.1)"), "{said}");
        return;
    }
    let taken = UdpSocket::bind("0.0.0.0:4500").unwrap();
    assert!(host.refusal().contains("UDP port 4500 is in use"));
    drop(taken);
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_coatid"))
        .args(host.arguments())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(daemon.stderr.take().unwrap()).lines();
    assert!(log.any(|line| line.unwrap().contains("is up")), "the log ended");
    assert_eq!(host.policies().len(), 3);
    let pid = Pid::from_raw(i32::try_from(daemon.id()).unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    assert!(daemon.wait().unwrap().success());
    assert_eq!(host.policies().len(), 3);
    assert!(!host.dir.join("control.sock").exists());
}
