//! Every key of a coati.toml: what the reader knows, and what docs/coati.toml.md shows.

/// One key of one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its table; `settings` stands for `[defaults]`, `[peer.NAME]` and `[group.NAME]`, an empty one for the file itself.
    pub table: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What its value is, with the unit.
    pub kind: &'static str,
    /// What it is unless written.
    pub default: &'static str,
    /// A line that says it.
    pub example: &'static str,
    /// What it does.
    pub meaning: &'static str,
}

/// A row: table, name, kind, default, example, meaning.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("", "local", "address, or list", "none", r#"local = ["192.0.2.1", "2001:db8::1"]"#, "Our addresses. A peer is protected from each of its own family."),
    ("", "psk-file", "file", "`psk.txt`", r#"psk-file = "psk.txt""#, "psk.txt of the keys: `ADDRESS KEY` lines, mode 0600, the daemon's own. Read only if a peer uses `psk`."),
    ("", "ca-dir", "directory", "`certs`", r#"ca-dir = "/etc/coati/certs""#, "CA certificates and CRLs by OpenSSL's hashed names."),
    ("", "crl", "file, or list", "none", r#"crl = "pki/ca.crl""#, "Lists of revoked certificates, beside those in `ca-dir`."),
    ("", "crl-policy", "`soft` or `strict`", "`soft`", r#"crl-policy = "strict""#, "`strict`: a certificate whose authority has no valid list of revoked ones is refused; `soft`: that is said in the log."),
    ("", "exclude", "list of traffic", "`[]`", r#"exclude = ["tcp/22", "icmp"]"#, "Traffic that passes in clear with everybody: `PROTOCOL`, or `PROTOCOL/PORT` of either end."),
    ("", "log", "level", "`info`", r#"log = "info""#, "`error`, `warning`, `notify`, `info`, `debug` or `debug2`."),
    ("", "replace-policies", "boolean", "`false`", r#"replace-policies = false"#, "Policies of others in the kernel go, as behind `spdflush;`."),
    ("", "pid-file", "file", "none", r#"pid-file = "/run/coatid.pid""#, "As racoon's `path pidfile`."),
    ("", "kernel-buffer", "kilobytes", "the daemon's", "kernel-buffer = 8192", "As racoon's `pfkey_buffer`."),
    ("listen", "ike", "address, address:port, or list", "as `natt`, else every address; port 500", r#"ike = ["192.0.2.1", "[2001:db8::1]:500"]"#, "Where plain IKE is listened for."),
    ("listen", "natt", "address, address:port, or list", "as `ike`, else every address; port 4500", r#"natt = "192.0.2.1:4500""#, "Where encapsulated IKE and ESP are listened for."),
    ("listen", "strict", "boolean", "`false`", "strict = true", "An address that is missing is fatal."),
    ("control", "enabled", "boolean", "`true`", "enabled = true", "Whether there is a control socket."),
    ("control", "socket", "file", "the daemon's", r#"socket = "/run/coati/control.sock""#, "As racoon's `adminsock`."),
    ("control", "owner", "name or number", "the daemon's user", r#"owner = "root""#, "Owner of the socket."),
    ("control", "group", "name or number", "the daemon's group", r#"group = "adm""#, "Group of the socket."),
    ("control", "mode", "octal text", "`\"0600\"`", r#"mode = "0660""#, "Permissions of the socket."),
    ("privileges", "user", "name or number", "none", r#"user = "coati""#, "Privileges are dropped to this user."),
    ("privileges", "group", "name or number", "none", r#"group = "coati""#, "And to this group."),
    ("privileges", "chroot", "directory", "none", r#"chroot = "/var/empty""#, "And to this directory."),
    ("timers", "retransmit", "time", "the daemon's", r#"retransmit = "500ms""#, "First wait before a message is sent again."),
    ("timers", "retries", "number", "the daemon's", "retries = 10", "How often a message is sent again."),
    ("timers", "ike-setup", "time", "the daemon's", r#"ike-setup = "30s""#, "How long setting up an IKE SA may take."),
    ("timers", "child-setup", "time", "the daemon's", r#"child-setup = "30s""#, "How long setting up a child SA may take."),
    ("timers", "nat-keepalive", "time", "the daemon's", r#"nat-keepalive = "20s""#, "Pause between keepalives; `0s` turns them off."),
    ("peer", "address", "address, list, or `\"any\"`", "must be written", r#"address = "192.0.2.2""#, "The peer's addresses; `\"any\"` is every peer that no other table names."),
    ("peer", "port", "number", "500", "port = 500", "The peer's UDP port for IKE."),
    ("group", "addresses", "list of addresses", "`[]`", r#"addresses = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]"#, "Peers with the same settings. Our own addresses among them are passed over: every host may have the same list."),
    ("group", "networks", "list of networks", "`[]`", r#"networks = ["192.0.2.0/24"]"#, "Everybody in these networks is a peer."),
    ("group", "except", "list of addresses and networks", "`[]`", r#"except = ["192.0.2.254"]"#, "Of these networks and addresses, those that are no peers: traffic with them passes in clear."),
    ("settings", "auth", "`psk`, `certificate`, `raw-key`, or list", "`psk`", r#"auth = "certificate""#, "How both ends prove who they are, unless `peer-auth` says another way for the peer; of several, the first is preferred."),
    ("settings", "peer-auth", "as `auth`", "as `auth`", r#"peer-auth = "psk""#, "How the peer proves who it is, where that is another way than ours."),
    ("settings", "psk-file", "file", "the file's `psk-file`", r#"psk-file = "keys/db1.psk""#, "In a `[peer]` only: a file with nothing but this peer's key, mode 0600."),
    ("settings", "id", "identity", "`address`", r#"id = "fqdn:db1.example.org""#, "Our identity: `address`, `address:A`, `fqdn:NAME`, `email:NAME`, `keyid:TEXT`, `keyid:0xHEX`, `dn`, `dn:C=DE, CN=x`."),
    ("settings", "peer-id", "identity, or list", "any", r#"peer-id = "fqdn:db2.example.org""#, "The peer must be one of these. A `*` in a `dn:` matches anything."),
    ("settings", "verify-peer-id", "boolean", "`true`", "verify-peer-id = false", "`false`: another identity than `peer-id` is let in too, as racoon did; its key or certificate must fit all the same."),
    ("settings", "certificate", "file", "none", r#"certificate = "pki/db1.pem""#, "Our certificate; those of authorities above it may follow in the file."),
    ("settings", "key", "file", "none", r#"key = "pki/db1.key""#, "Its private key, mode 0600, the daemon's own; with `raw-key`, our key without a certificate: PEM, DER, or a FreeS/WAN key file."),
    ("settings", "certificates", "list of `certificate` and `key`", "none", r#"certificates = [{ certificate = "pki/new.pem", key = "pki/new.key" }, { certificate = "pki/old.pem", key = "pki/old.key" }]"#, "Several certificates of ours, in place of the one: the peer's CERTREQ chooses; of those it asks for, and where it asks for none, the first is shown."),
    ("settings", "ca", "file", "none", r#"ca = "pki/ca.pem""#, "A CA that peers' certificates must lead to, beside those in `ca-dir`."),
    ("settings", "peer-certificate", "file", "none", r#"peer-certificate = "pki/db2.pem""#, "The peer's certificate, pinned."),
    ("settings", "peer-key", "file, or list", "none", r#"peer-key = "db2.pub""#, "The peer's raw keys, pinned: public keys as PEM or DER, or FreeS/WAN key files."),
    ("settings", "verify-certificate", "boolean", "`true`", "verify-certificate = true", "`false`: a pinned certificate needs no CA. Without `peer-certificate` it must stay `true`."),
    ("settings", "send-certificate", "boolean", "`true`", "send-certificate = true", "Our certificate goes to the peer."),
    ("settings", "send-certreq", "boolean", "`true`", "send-certreq = true", "The peer is asked for a certificate."),
    ("settings", "ike", "list of suites", "`aes256gcm` with `sha256`, `sha384`, `sha512` and the groups of `pfs`", r#"ike = ["aes256gcm-sha256-x25519", "aes256-sha512-modp4096"]"#, "`CIPHER-HASH-GROUP[-GROUP...]`, the preferred one first."),
    ("settings", "ike-lifetime", "time", "`24h`", r#"ike-lifetime = "24h""#, "After it an IKE SA is rekeyed."),
    ("settings", "esp", "list of suites", "`[\"aes256gcm\"]`", r#"esp = ["aes256gcm", "aes256-sha256"]"#, "`CIPHER` or `CIPHER-HASH`. In `[defaults]` an empty list leaves only what `[[traffic]]` names."),
    ("settings", "pfs", "list of groups", "`[\"x25519\", \"ecp256\", \"ecp384\", \"modp3072\", \"modp4096\"]`", r#"pfs = ["x25519"]"#, "Key exchange for each child SA but the first; empty: none."),
    ("settings", "child-lifetime", "time", "`8h`", r#"child-lifetime = "8h""#, "After it a child SA is rekeyed."),
    ("settings", "nat", "`force`, `auto`, `off`", "`force`", r#"nat = "auto""#, "ESP in UDP: always, where a NAT is found, never."),
    ("settings", "fragmentation", "boolean", "`true`", "fragmentation = true", "Long IKE messages go in fragments (RFC 7383)."),
    ("settings", "initial-contact", "boolean", "`true`", "initial-contact = true", "The first message after a start says that there is nothing older."),
    ("settings", "passive", "boolean", "`false`", "passive = true", "Never begins, only answers."),
    ("settings", "dpd-delay", "time", "`20s`", r#"dpd-delay = "20s""#, "Silence after which the peer is asked whether it is there."),
    ("settings", "dpd-retry", "time", "`5s`", r#"dpd-retry = "5s""#, "With `dpd-retries`: how long an answer is waited for in all."),
    ("settings", "dpd-retries", "number", "5", "dpd-retries = 5", "See `dpd-retry`."),
    ("settings", "nonce", "octets", "32", "nonce = 32", "Size of our nonces, 16 to 256."),
    ("settings", "generate-policy", "`off`, `require`, `unique`", "`off`", r#"generate-policy = "off""#, "As racoon's `generate_policy`."),
    ("settings", "script-up", "file", "none", r#"script-up = "scripts/up""#, "Runs when an IKE SA is set up, as racoon's `phase1_up`."),
    ("settings", "script-down", "file", "none", r#"script-down = "scripts/down""#, "Runs when an IKE SA ends, as racoon's `phase1_down`."),
    ("settings", "script-dead", "file", "none", r#"script-dead = "scripts/dead""#, "Runs when a peer does not answer, as racoon's `phase1_dead`."),
    ("settings", "protect", "`\"all\"`, `\"nothing\"`, or list of traffic", "`\"all\"`", r#"protect = ["tcp/5432"]"#, "For which traffic policies are made. `\"nothing\"`: they come from `[[policy]]`, or are in the kernel."),
    ("settings", "level", "`require`, `use`", "`require`", r#"level = "require""#, "`use`: in clear until there is an SA. For moving hosts one by one; not for good."),
    ("certificates", "certificate", "file", "must be written", r#"certificate = "pki/new.pem""#, "As in the settings."),
    ("certificates", "key", "file", "must be written", r#"key = "pki/new.key""#, "As in the settings."),
    ("traffic", "peer", "name of a peer or group", "every one", r#"peer = "db1""#, "With whom."),
    ("traffic", "from", "identity", "any", r#"from = "fqdn:db1.example.org""#, "With peers of this identity only."),
    ("traffic", "local", "`any`, network, or A-B", "`any`", r#"local = "192.0.2.0/24""#, "Our end of the policy, exactly; host bits do not count."),
    ("traffic", "remote", "`any`, `peer`, network, or A-B", "`any`", r#"remote = "198.51.100.0/24""#, "The peer's end; `peer` is its address."),
    ("traffic", "protocol", "name or number", "`any`", r#"protocol = "tcp""#, "Of the policy; goes with `local` or `remote`."),
    ("traffic", "esp", "list of suites", "as in `[defaults]`", r#"esp = ["aes128gcm"]"#, "As in `[defaults]`."),
    ("traffic", "pfs", "list of groups", "as in `[defaults]`", r#"pfs = []"#, "As in `[defaults]`."),
    ("traffic", "child-lifetime", "time", "as in `[defaults]`", r#"child-lifetime = "1h""#, "As in `[defaults]`."),
    ("policy", "local", "address, network, or list", "`local` of the file", r#"local = "192.0.2.1""#, "Our end: each of these with each of `remote`."),
    ("policy", "remote", "address, network, or list", "must be written", r#"remote = ["198.51.100.2", "198.51.100.3"]"#, "The other end."),
    ("policy", "protocol", "name or number", "`any`", r#"protocol = "tcp""#, "Upper-layer protocol."),
    ("policy", "local-port", "number", "any", "local-port = 5432", "Port at our end."),
    ("policy", "remote-port", "number", "any", "remote-port = 5432", "Port at the other end."),
    ("policy", "direction", "`out`, `in`, or list", "`[\"out\", \"in\"]`", r#"direction = ["out", "in"]"#, "Directions, in the order in which the policies are loaded."),
    ("policy", "action", "`protect`, `bypass`, `drop`", "`protect`", r#"action = "bypass""#, "ESP in transport mode, clear text, or nothing at all."),
    ("policy", "level", "`require`, `use`, `unique`, `unique:N`, `default`", "`require`", r#"level = "unique""#, "As setkey's levels."),
    ("policy", "priority", "number", "2147483648", "priority = 2147483548", "The kernel's: the lowest is looked at first."),
    ("policy", "setkey", "text", "none", r#"setkey = "spdadd 192.0.2.1 192.0.2.9 icmp 8,0 -P out none;""#, "Policies in setkey's own language, for what the other keys cannot say; stands alone."),
];

/// Every key, in the order of the documentation.
pub fn keys() -> impl Iterator<Item = Key> {
    ROWS.iter().map(|(table, name, kind, default, example, meaning)| Key {
        table,
        name,
        kind,
        default,
        example,
        meaning,
    })
}

/// The names a table may hold.
pub(super) fn names(table: &str) -> impl Iterator<Item = &'static str> {
    let has_settings = matches!(table, "defaults" | "peer" | "group");
    ROWS.iter()
        .filter(move |row| row.0 == table || (has_settings && row.0 == "settings"))
        .map(|row| row.1)
        .chain(TABLES.iter().copied().filter(move |_| table.is_empty()))
}

/// Tables of the file.
const TABLES: &[&str] =
    &["listen", "control", "privileges", "timers", "defaults", "peer", "group", "traffic", "policy"];
