//! strongSwan 5.9 as Debian has it: charon-systemd with a configuration of its own, driven by swanctl.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::charon_log::{self, Rekey};
use super::list_sas::{self, IkeSa};
use super::{Config, Pair, Times};
use crate::failure::{Context, Result};
use crate::judge::Clear;
use crate::net::Host;
use crate::process::{self, Daemon};
use crate::stage::Stage;
use crate::wait;

/// What charon loads. Its own list would crash in the test kernel, and `bypass-lan` would let a LAN go in clear.
const PLUGINS: &str = "random nonce aes sha1 sha2 hmac kdf pem pkcs1 pkcs8 x509 revocation constraints pubkey \
                       openssl curve25519 gcm kernel-netlink socket-default vici updown counters";

/// A running charon on one host.
#[derive(Debug)]
pub struct StrongSwan {
    charon: Daemon,
    swanctl: Swanctl,
    log: PathBuf,
}

/// What it takes to run swanctl for one host.
#[derive(Debug, Clone)]
struct Swanctl {
    program: PathBuf,
    directory: PathBuf,
}

impl StrongSwan {
    /// Writes the configuration, starts charon and loads connections that initiate on traffic.
    ///
    /// # Errors
    /// When charon does not start or refuses its configuration.
    pub fn start(stage: &Stage, host: &Host, config: &Config) -> Result<Self> {
        Self::start_with(stage, host, &swanctl_conf(config))
    }

    /// The same, and sets every pair up at once.
    ///
    /// # Errors
    /// As [`StrongSwan::start`].
    pub fn start_and_initiate(stage: &Stage, host: &Host, config: &Config) -> Result<Self> {
        Self::start_with(stage, host, &swanctl_conf_at_start(config))
    }

    /// Starts charon and loads this swanctl.conf.
    ///
    /// # Errors
    /// As [`StrongSwan::start`].
    pub fn start_with(stage: &Stage, host: &Host, swanctl_conf: &str) -> Result<Self> {
        let directory = stage.work(host)?.join("strongswan");
        fs::create_dir_all(directory.join("conf.d"))
            .context(|| format!("cannot make {}", directory.display()))?;
        let log = stage.log(&format!("{}.charon.log", host.name()));
        let write = |name: &str, text: &str| {
            fs::write(directory.join(name), text).context(|| format!("cannot write {name} of strongSwan"))
        };
        write("strongswan.conf", &strongswan_conf(&directory, &log))?;
        write("swanctl.conf", swanctl_conf)?;

        let program = own_copy("charon-systemd", &directory)?;
        let swanctl = Swanctl { program: own_copy("swanctl", &directory)?, directory: directory.clone() };
        let mut command = host.command(program);
        swanctl.environment(&mut command);
        let output = stage.log(&format!("{}.charon.out", host.name()));
        let charon = Daemon::start(&format!("charon on {}", host.name()), &mut command, &output)?;
        let mut peer = StrongSwan { charon, swanctl, log };
        peer.load()?;
        Ok(peer)
    }

    /// Everything in charon's log.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn said(&self) -> Result<String> {
        fs::read_to_string(&self.log).context(|| format!("cannot read {}", self.log.display()))
    }

    /// The rekeys it tells of, so far.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub fn rekeys(&self) -> Result<Vec<Rekey>> {
        Ok(charon_log::rekeys(&self.said()?))
    }

    /// Its IKE SAs and their children, as `swanctl --list-sas` has them.
    ///
    /// # Errors
    /// When swanctl fails.
    pub fn sas(&self) -> Result<Vec<IkeSa>> {
        Ok(list_sas::read(&self.swanctl.run(&["--list-sas"])?))
    }

    /// How many handshakes of each connection came to an end, so far: [`charon_log::established`].
    ///
    /// # Errors
    /// When its log cannot be read.
    pub fn established(&self) -> Result<BTreeMap<String, usize>> {
        Ok(charon_log::established(&self.said()?))
    }

    /// Sets a pair up, by its place in the configuration, and waits until it is.
    ///
    /// # Errors
    /// When it is not in 15 s, or the peer refuses.
    pub fn initiate(&self, number: usize) -> Result<()> {
        let name = format!("pair{number}");
        self.swanctl.run(&["--initiate", "--child", &name, "--timeout", "15"]).map(|_| ())
    }

    /// Deletes the IKE SAs of a connection, here and at the peer.
    ///
    /// # Errors
    /// When it has none, or the peer does not answer in 15 s.
    pub fn terminate(&self, name: &str) -> Result<()> {
        self.swanctl.run(&["--terminate", "--ike", name, "--timeout", "15"]).map(|_| ())
    }

    /// Has it read its connections, certificates and keys anew, and forget those that are gone.
    ///
    /// # Errors
    /// When it refuses one.
    pub fn reload(&self) -> Result<()> {
        self.swanctl.run(&["--load-all", "--noprompt", "--clear"]).map(|_| ())
    }

    /// Stops the process where it stands, or lets it go on ([`Signal::SIGSTOP`], [`Signal::SIGCONT`]).
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.charon.signal(signal)
    }

    /// Ends the process by SIGKILL. What it has put into the kernel stays.
    ///
    /// # Errors
    /// When it is gone already.
    pub fn kill(mut self) -> Result<()> {
        self.charon.stop(Signal::SIGKILL, Duration::from_secs(10)).map(|_| ())
    }

    /// Initiates the first pair by hand: what swanctl says if the peer refuses, `None` if an SA was made.
    pub fn refused(&self) -> Option<String> {
        self.initiate(0).err().map(|failure| failure.to_string())
    }

    /// charon opens its socket before it is ready to answer: ask until it does.
    fn load(&mut self) -> Result<()> {
        let socket = self.swanctl.directory.join("charon.vici");
        wait::until(Duration::from_secs(20), "charon's vici socket", || {
            self.charon.check_running()?;
            Ok((socket.exists() && self.swanctl.run(&["--stats"]).is_ok()).then_some(()))
        })?;
        self.swanctl.run(&["--load-all", "--noprompt"]).map(|_| ())
    }
}

impl Swanctl {
    fn environment(&self, command: &mut Command) {
        command.env("STRONGSWAN_CONF", self.directory.join("strongswan.conf"));
        command.env("SWANCTL_DIR", &self.directory);
    }

    fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.program);
        self.environment(&mut command);
        let uri = format!("unix://{}", self.directory.join("charon.vici").display());
        let (verb, rest) = arguments.split_first().context(|| "swanctl needs a command".to_owned())?;
        process::output(command.arg(verb).args(["--uri", &uri]).args(rest))
    }
}

/// A copy of a program in `directory`: AppArmor binds Debian's profile to the program's own path and would keep it
/// from reading these configurations.
fn own_copy(program: &str, directory: &Path) -> Result<PathBuf> {
    let places = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(|place| Path::new(place).join(program));
    let original =
        places.into_iter().find(|place| place.exists()).context(|| format!("{program} is not installed"))?;
    let copy = directory.join(program);
    fs::copy(&original, &copy).context(|| format!("cannot copy {}", original.display()))?;
    Ok(copy)
}

/// A silent peer is given up after 16 s, not after strongSwan's 165: scenarios wait for that.
fn strongswan_conf(directory: &Path, log: &Path) -> String {
    let (directory, log) = (directory.display(), log.display());
    format!(
        "swanctl {{
    load = pem pkcs1 pkcs8 x509 pubkey openssl random
}}
charon-systemd {{
    load = {PLUGINS}
    include {directory}/strongswan.d/*.conf
    install_routes = no
    retransmit_timeout = 2.0
    retransmit_base = 1.5
    retransmit_tries = 3
    plugins {{
        vici {{
            socket = unix://{directory}/charon.vici
        }}
    }}
    filelog {{
        log {{
            path = {log}
            time_format = %H:%M:%S
            time_add_ms = yes
            flush_line = yes
            default = 1
            ike = 2
            cfg = 2
            knl = 2
        }}
    }}
    journal {{
        default = -1
    }}
}}
"
    )
}

/// One connection a pair with a trap policy, and connections that leave the exclusions in clear.
pub fn swanctl_conf(config: &Config) -> String {
    with_exclusions(config, "trap")
}

/// The same with every pair set up when the connections are loaded, too.
pub fn swanctl_conf_at_start(config: &Config) -> String {
    with_exclusions(config, "trap|start")
}

fn with_exclusions(config: &Config, start_action: &str) -> String {
    let mut connections = String::new();
    let mut secrets = String::new();
    for (number, pair) in config.pairs.iter().enumerate() {
        connections +=
            &connection(number, pair, config, "transport", &format!("start_action = {start_action}"));
        secrets += &secret(number, pair);
    }
    if let Some(pair) = config.pairs.first() {
        connections += &exclusions(&config.clear, pair.local.is_ipv6());
    }
    format!("connections {{\n{connections}}}\nsecrets {{\n{secrets}}}\n")
}

/// Pairs that are initiated by hand only, whose children may claim `selector` as their own address: a peer that reaches
/// for what is not its own.
pub fn swanctl_conf_claiming(config: &Config, selector: Option<IpAddr>) -> String {
    let pairs = config.pairs.iter().enumerate();
    let (connections, secrets): (String, String) =
        pairs.map(|(number, pair)| (by_hand(number, pair, config, selector), secret(number, pair))).unzip();
    format!("connections {{\n{connections}}}\nsecrets {{\n{secrets}}}\n")
}

fn by_hand(number: usize, pair: &Pair, config: &Config, claimed: Option<IpAddr>) -> String {
    match claimed {
        // In transport mode strongSwan would send no selector at all rather than one that is not its own address.
        Some(address) => connection(number, pair, config, "tunnel", &format!("local_ts = {address}")),
        None => connection(number, pair, config, "transport", ""),
    }
}

fn connection(number: usize, pair: &Pair, config: &Config, mode: &str, child: &str) -> String {
    let Pair { local, remote, local_id, remote_id, .. } = pair;
    let (ike, esp) = (config.suite.swan_ike, config.suite.swan_esp);
    let Times { child: child_time, ike: ike_time, silence } = config.times;
    // Chance takes a second or none of an IKE SA's time; of a child's more, since each of its two SAs has a time.
    let ike_life = lifetime(ike_time, "over_time");
    let child_life = lifetime(child_time.map(|seconds| seconds + 2), "life_time");
    let silence = silence.map(|seconds| format!("dpd_delay = {seconds}s")).unwrap_or_default();
    format!(
        "    pair{number} {{
        version = 2
        local_addrs = {local}
        remote_addrs = {remote}
        encap = yes
        mobike = no
        proposals = {ike}
        {ike_life}
        {silence}
        local {{
            auth = psk
            id = {local_id}
        }}
        remote {{
            auth = psk
            id = {remote_id}
        }}
        children {{
            pair{number} {{
                mode = {mode}
                esp_proposals = {esp}
                {child_life}
                {child}
            }}
        }}
    }}
"
    )
}

/// Rekeying after this time or up to two seconds earlier, by chance, and an end (`hard`) that is not reached meanwhile.
fn lifetime(seconds: Option<u64>, hard: &str) -> String {
    match seconds {
        Some(seconds) => format!("rekey_time = {seconds}s\n rand_time = 2s\n {hard} = {}s", 2 * seconds + 10),
        None => String::new(),
    }
}

fn secret(number: usize, Pair { local_id, remote_id, key, .. }: &Pair) -> String {
    format!(
        "    ike-pair{number} {{\n        id-1 = {local_id}\n        id-2 = {remote_id}\n        secret = {key}\n    }}\n"
    )
}

fn exclusions(clear: &[Clear], v6: bool) -> String {
    let (any, icmp, nobody) =
        if v6 { ("::/0", "ipv6-icmp", "::1") } else { ("0.0.0.0/0", "icmp", "127.0.0.1") };
    let children: String = clear
        .iter()
        .flat_map(|clear| match clear {
            Clear::Icmp => vec![("icmp".to_owned(), format!("[{icmp}]"), format!("[{icmp}]"))],
            Clear::Tcp(port) => vec![
                (format!("to-{port}"), "[tcp]".to_owned(), format!("[tcp/{port}]")),
                (format!("from-{port}"), format!("[tcp/{port}]"), "[tcp]".to_owned()),
            ],
        })
        .map(|(name, local, remote)| {
            format!(
                "            {name} {{
                local_ts = {any}{local}
                remote_ts = {any}{remote}
                mode = pass
                start_action = trap
            }}
"
            )
        })
        .collect();
    format!(
        "    clear {{\n        remote_addrs = {nobody}\n        children {{\n{children}        }}\n    }}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite;

    #[test]
    fn a_pair_behind_a_nat_is_known_by_its_own_identity() {
        let pair = Pair {
            remote_id: "192.0.2.10".parse().unwrap(),
            ..Pair::new("203.0.113.2".parse().unwrap(), "203.0.113.1".parse().unwrap())
        };
        let text = swanctl_conf(&Config::one(suite::AES256GCM_X25519, pair));
        assert!(text.contains("remote_addrs = 203.0.113.1\n"));
        assert!(text.contains("id = 192.0.2.10\n"));
        assert!(text.contains("id-2 = 192.0.2.10\n"));
        assert!(text.contains("remote_ts = 0.0.0.0/0[tcp/22]\n"));
        assert!(!text.contains("_time = ") && !text.contains("dpd_delay"));
    }

    #[test]
    fn rekeys_come_after_the_time_that_is_given() {
        let pair = Pair::new("203.0.113.2".parse().unwrap(), "203.0.113.1".parse().unwrap());
        let times = Times { child: Some(3), ike: Some(9), silence: Some(2) };
        let text = swanctl_conf(&Config { times, ..Config::one(suite::AES256GCM_X25519, pair) });
        let (ike, child) = text.split_once("children {").unwrap();
        assert!(ike.contains("rekey_time = 9s\n") && ike.contains("over_time = 28s\n"));
        assert!(child.contains("rekey_time = 5s\n") && child.contains("life_time = 20s\n"));
        assert!(ike.contains("rand_time = 2s\n") && child.contains("rand_time = 2s\n"));
        assert!(ike.contains("dpd_delay = 2s\n"));
    }
}
