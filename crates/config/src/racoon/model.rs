//! What a racoon.conf says, in the words of IKEv2: the daemon's input.

use core::fmt;
use core::time::Duration;
use std::net::IpAddr;
use std::path::PathBuf;

use ike_proto::wire::registry::{EncrId, IntegId, KeId, PrfId};

use super::feature::Use;
use crate::diag::Place;
pub use crate::dn::DistinguishedName;
use crate::net::{Endpoint, IpNet};

/// The psk.txt of a configuration that names none: what Debian's and Red Hat's files set.
pub const DEFAULT_PRE_SHARED_KEY: &str = "/etc/racoon/psk.txt";
/// Where relative names of certificates and keys begin unless `path certificate` says otherwise.
pub const DEFAULT_CERTIFICATE_DIR: &str = "/etc/racoon/certs";
/// Where relative names of scripts begin unless `path script` says otherwise.
pub const DEFAULT_SCRIPT_DIR: &str = "/etc/racoon/scripts";
/// Lifetime of an IKE SA and of a child SA of a racoon.conf that names none: racoon's 8 hours.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(8 * 3600);

/// One racoon.conf with everything it includes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RacoonConfig {
    /// `path pre_shared_key`, else [`DEFAULT_PRE_SHARED_KEY`]. A relative path counts from the file that says it.
    pub pre_shared_key: PathBuf,
    /// `path certificate`, else [`DEFAULT_CERTIFICATE_DIR`]; file names in the model are joined to it already.
    pub certificate_dir: PathBuf,
    /// Lists of revoked certificates beside those of [`RacoonConfig::certificate_dir`]; racoon.conf has no word for them.
    pub crls: Vec<NamedFile>,
    /// A certificate whose authority has no valid list is refused; racoon.conf has no word for it.
    pub strict_crls: bool,
    /// `path script`, else [`DEFAULT_SCRIPT_DIR`]; file names in the model are joined to it already.
    pub script_dir: PathBuf,
    /// `path pidfile`; a relative name is under /var/run. Unset: the daemon's default.
    pub pid_file: Option<PathBuf>,
    /// `log`; `info` unless set.
    pub log_level: LogLevel,
    /// `listen { }`.
    pub listen: Listen,
    /// `timer { }`.
    pub timers: Timers,
    /// `privsep { }`: an order to drop privileges.
    pub privsep: Option<Privsep>,
    /// `pfkey_buffer` in kilobytes: the receive buffer of the kernel's event socket.
    pub kernel_buffer_kb: Option<u32>,
    /// `remote` blocks in file order, inheritance resolved. See [`RacoonConfig::remote_for`].
    pub remotes: Vec<Remote>,
    /// `sainfo` blocks, most specific first, ties in file order. See [`RacoonConfig::sainfo_for`].
    pub sainfos: Vec<SaInfo>,
    /// What is asked of the daemon beyond the usual. See [`RacoonConfig::refuse_all_but`].
    pub uses: Vec<Use>,
}

impl RacoonConfig {
    /// A configuration that says nothing but where keys and certificates are.
    pub(crate) fn new(pre_shared_key: PathBuf, certificate_dir: PathBuf) -> Self {
        Self {
            pre_shared_key,
            certificate_dir,
            crls: Vec::new(),
            strict_crls: false,
            script_dir: DEFAULT_SCRIPT_DIR.into(),
            pid_file: None,
            log_level: LogLevel::Info,
            listen: Listen::default(),
            timers: Timers::default(),
            privsep: None,
            kernel_buffer_kb: None,
            remotes: Vec::new(),
            sainfos: Vec::new(),
            uses: Vec::new(),
        }
    }
}

/// How much to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// `error`
    Error,
    /// `warning`
    Warning,
    /// `notify`
    Notify,
    /// `info`
    Info,
    /// `debug`
    Debug,
    /// `debug2`
    Debug2,
}

/// `listen { }`: sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listen {
    /// `isakmp`: addresses for plain IKE; a port of `None` is 500. None at all: those of `isakmp_natt`, or
    /// every local address if there are none either.
    pub isakmp: Vec<Endpoint>,
    /// `isakmp_natt`: addresses for encapsulated IKE; a port of `None` is 4500. None at all: those of `isakmp`,
    /// or every local address if there are none either.
    pub isakmp_natt: Vec<Endpoint>,
    /// `strict_address`: a missing address is fatal and changes of addresses are not followed.
    pub strict_address: bool,
    /// `adminsock`.
    pub admin_socket: AdminSocket,
}

/// The control socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AdminSocket {
    /// Not mentioned: the daemon's default.
    #[default]
    Default,
    /// `adminsock disabled`.
    Disabled,
    /// `adminsock "path" [...]`.
    At {
        /// Where.
        path: PathBuf,
        /// Owner's name or number.
        owner: Option<String>,
        /// Group's name or number.
        group: Option<String>,
        /// Permission bits.
        mode: Option<u32>,
    },
}

/// `timer { }`; unset values are the daemon's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timers {
    /// `counter`: retransmissions of a message.
    pub counter: Option<u32>,
    /// `interval`: first interval between retransmissions.
    pub interval: Option<Duration>,
    /// `phase1`: how long setting up an IKE SA may take.
    pub phase1: Option<Duration>,
    /// `phase2`: how long setting up a child SA may take.
    pub phase2: Option<Duration>,
    /// `natt_keepalive`: zero turns keepalives off.
    pub natt_keepalive: Option<Duration>,
}

/// `privsep { }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Privsep {
    /// Where the block is.
    pub place: Place,
    /// `user`: name or number.
    pub user: Option<String>,
    /// `group`: name or number.
    pub group: Option<String>,
    /// `chroot`.
    pub chroot: Option<PathBuf>,
}

/// Which peers a `remote` block is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteSelector {
    /// `remote anonymous [port]`: any address.
    Anonymous {
        /// The peer's IKE port; 500 unless written.
        port: Option<u16>,
    },
    /// `remote 192.0.2.1 [port]`.
    Address(Endpoint),
    /// `remote "name"`.
    Named {
        /// The name, unique in a configuration.
        name: String,
        /// `remote_address`; without one the block matches any address.
        remote_address: Option<Endpoint>,
    },
}

impl RemoteSelector {
    /// The one address this is for; `None` means any.
    #[must_use]
    pub const fn address(&self) -> Option<&Endpoint> {
        match self {
            Self::Anonymous { .. } => None,
            Self::Address(endpoint) => Some(endpoint),
            Self::Named { remote_address, .. } => remote_address.as_ref(),
        }
    }

    /// The peer's IKE port, if the file says one.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        match self {
            Self::Anonymous { port } => *port,
            Self::Address(endpoint) | Self::Named { remote_address: Some(endpoint), .. } => endpoint.port,
            Self::Named { remote_address: None, .. } => None,
        }
    }
}

impl fmt::Display for RemoteSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous { port: None } => f.write_str("anonymous"),
            Self::Anonymous { port: Some(port) } => write!(f, "anonymous [{port}]"),
            Self::Address(endpoint) => fmt::Display::fmt(endpoint, f),
            Self::Named { name, .. } => write!(f, "\"{name}\""),
        }
    }
}

/// One `remote` block: how to speak IKE with its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Where the block begins.
    pub place: Place,
    /// For whom.
    pub selector: RemoteSelector,
    /// `my_identifier`; the address of our end unless set.
    pub my_identifier: Identifier,
    /// `peers_identifier`: any one may match.
    pub peers_identifiers: Vec<Identifier>,
    /// `verify_identifier`: the peer's identity must be one of `peers_identifiers`.
    pub verify_identifier: bool,
    /// How the peer proves itself, where that is another way than the one the proposals name for us; racoon.conf cannot say it.
    pub peer_auth: Option<Vec<Authentication>>,
    /// `certificate_type`: our certificates and keys, of which the peer's CERTREQ chooses; racoon.conf has one at most.
    pub certificates: Vec<OwnCertificate>,
    /// `peers_certfile`: pinned certificates and keys of the peer, one of which it must prove to hold.
    pub peers_certificates: Vec<PeerCertificate>,
    /// `ca_type x509`: a CA beside those of [`RacoonConfig::certificate_dir`].
    pub ca_certificate: Option<NamedFile>,
    /// `verify_cert`: a peer's certificate must have a chain to a CA. `off` has an effect only beside a `peers_certfile`,
    /// which then is enough; without one a chain is asked for all the same.
    pub verify_cert: bool,
    /// `send_cert`.
    pub send_cert: bool,
    /// `send_cr`.
    pub send_certreq: bool,
    /// `nonce_size` in octets, at least 16.
    pub nonce_octets: Option<u16>,
    /// `passive`: never initiate on traffic.
    pub passive: bool,
    /// `generate_policy`.
    pub generate_policy: GeneratePolicy,
    /// `initial_contact`.
    pub initial_contact: bool,
    /// `lifetime time`: of the IKE SA; 8 hours unless set.
    pub lifetime: Duration,
    /// `nat_traversal`; on unless set.
    pub nat_traversal: NatTraversal,
    /// `ike_frag`: IKE fragmentation (RFC 7383) is announced; on unless set.
    pub ike_frag: bool,
    /// `dpd_delay`; `None` (unset or 0) leaves liveness checks to the daemon's default.
    pub dpd_delay: Option<Duration>,
    /// `dpd_retry`.
    pub dpd_retry: Option<Duration>,
    /// `dpd_maxfail`.
    pub dpd_maxfail: Option<u32>,
    /// `script`: hooks.
    pub scripts: Vec<Script>,
    /// `ph1id`: the tag that a sainfo's `remoteid` names; 0 unless set.
    pub ph1id: u32,
    /// `proposal` blocks in order of preference, never empty, no duplicates.
    pub proposals: Vec<IkeProposal>,
}

impl Remote {
    /// Whether this end has a raw key instead of a certificate.
    #[must_use]
    pub fn has_raw_key(&self) -> bool {
        self.certificates.iter().any(|own| matches!(own, OwnCertificate::RawKey { .. }))
    }
}

/// A name for one end of an IKE SA (RFC 7296 §3.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identifier {
    /// `address [A]`: ID_IPV4_ADDR or ID_IPV6_ADDR; `None` is the end's own address.
    Address(Option<IpAddr>),
    /// `fqdn`: ID_FQDN.
    Fqdn(String),
    /// `user_fqdn`: ID_RFC822_ADDR.
    UserFqdn(String),
    /// `keyid`: ID_KEY_ID, its octets.
    KeyId(Vec<u8>),
    /// `asn1dn`: ID_DER_ASN1_DN; `None` is the subject of the certificate (own) or any subject (peer). A peer's may have
    /// wildcards.
    Asn1Dn(Option<DistinguishedName>),
}

/// A file that a directive names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// Where it is named.
    pub place: Place,
    /// Its path, joined to the directory it counts from.
    pub path: PathBuf,
}

/// Our certificate and private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnCertificate {
    /// `certificate_type x509`: PEM or DER files.
    X509 {
        /// The certificate.
        certificate: NamedFile,
        /// The unencrypted private key.
        key: NamedFile,
    },
    /// `certificate_type plain_rsa`: a private key whose public half the peers have (RFC 7670): FreeS/WAN's file (see
    /// [`crate::plain_rsa::parse_private`]), or PEM or DER.
    RawKey {
        /// The key file.
        key: NamedFile,
    },
}

/// What a peer must prove to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerCertificate {
    /// `peers_certfile x509`: a pinned certificate.
    X509(NamedFile),
    /// `peers_certfile plain_rsa`: public keys, FreeS/WAN's (see [`crate::plain_rsa::parse_public`]), or PEM or DER.
    RawKey(NamedFile),
}

/// `generate_policy`: whether a responder installs policies for what it negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GeneratePolicy {
    /// Selectors must be covered by a policy that is there.
    Off,
    /// Policies of level `require`.
    Require,
    /// Policies with a reqid of their own.
    Unique,
}

/// `nat_traversal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatTraversal {
    /// No NAT detection payloads, no encapsulation.
    Off,
    /// Encapsulate when a NAT is found (RFC 7296 §2.23).
    On,
    /// Pretend there is a NAT: encapsulate always.
    Force,
}

/// `script "file" event`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Where it is named.
    pub place: Place,
    /// The program.
    pub path: PathBuf,
    /// When it runs.
    pub event: ScriptEvent,
}

/// When a script runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ScriptEvent {
    /// `phase1_up`
    Phase1Up,
    /// `phase1_down`
    Phase1Down,
    /// `phase1_dead`
    Phase1Dead,
}

/// How the two ends of an IKE SA prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// `pre_shared_key`: a key from psk.txt.
    PreSharedKey,
    /// `rsasig`: signatures; with certificates, or with raw keys when the block names `plain_rsa` ones.
    Signature,
}

/// One `proposal` of a remote: an IKE proposal (RFC 7296 §3.3) with one cipher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IkeProposal {
    /// Where the block begins.
    pub place: Place,
    /// Encryption.
    pub encr: EncrId,
    /// Key length in bits, for ciphers that have more than one.
    pub key_bits: Option<u16>,
    /// Integrity; `None` with an AEAD cipher.
    pub integ: Option<IntegId>,
    /// Pseudo-random function.
    pub prf: PrfId,
    /// Key exchange methods in order of preference: one as written, several where a weak group was replaced.
    pub ke: Vec<KeId>,
    /// Authentication.
    pub auth: Authentication,
    /// Lifetime of an IKE SA made from it.
    pub lifetime: Duration,
}

/// Traffic a `sainfo` is for: one end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SaInfoId {
    /// `anonymous`.
    Any,
    /// `clientaddr`: the peer's own address.
    ClientAddress,
    /// `address` or `subnet`: compared as written, host bits aside, never by containment; ports are not compared.
    Net {
        /// Addresses.
        net: IpNet,
        /// Port; `None` is any.
        port: Option<u16>,
        /// IP protocol; 0 is any.
        protocol: u8,
    },
    /// `address A-B`.
    Range {
        /// First address, inclusive.
        first: IpAddr,
        /// Last address, inclusive.
        last: IpAddr,
        /// Port; `None` is any.
        port: Option<u16>,
        /// IP protocol; 0 is any.
        protocol: u8,
    },
    /// `fqdn "x"` and the like: a phase-2 name of IKEv1, which no traffic selector can carry; matches nothing.
    Name(Identifier),
}

/// One `sainfo` block: how to protect traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaInfo {
    /// Where the block begins.
    pub place: Place,
    /// Our end.
    pub local: SaInfoId,
    /// The peer's end.
    pub remote: SaInfoId,
    /// `from`: only with a peer of this identity.
    pub from: Option<Identifier>,
    /// `remoteid`: only with remotes of this `ph1id`; 0 is any.
    pub remoteid: u32,
    /// `pfs_group`: key exchange methods for CREATE_CHILD_SA in order of preference; empty is no PFS.
    pub pfs: Vec<KeId>,
    /// `lifetime time`: of a child SA; 8 hours unless set.
    pub lifetime: Duration,
    /// Each listed cipher with each listed integrity algorithm, in order, never empty.
    pub proposals: Vec<EspProposal>,
}

/// One combination of algorithms for ESP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EspProposal {
    /// Encryption.
    pub encr: EncrId,
    /// Key length in bits, for ciphers that have more than one.
    pub key_bits: Option<u16>,
    /// Integrity; `None` with an AEAD cipher.
    pub integ: Option<IntegId>,
}

/// Traffic for which a sainfo is sought: one end of a policy's selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selector {
    /// Addresses.
    pub net: IpNet,
    /// IP protocol; 0 is any.
    pub protocol: u8,
}
