//! What a setkey file says: commands, policies, manual SAs.

use core::fmt;
use std::net::IpAddr;

use ike_proto::secret::Secret;

use crate::diag::Place;
use crate::net::{Endpoint, IpNet};

/// One ipsec-tools.conf.
#[derive(Debug, PartialEq, Eq)]
pub struct PolicyFile {
    /// The file as it was named.
    pub name: String,
    /// `flush; spdflush;` (in either order) stand before everything else: the file means to replace the whole set.
    pub replaces: bool,
    /// Every command in order, the two flushes included.
    pub commands: Vec<Command>,
}

/// One command and where it begins.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    /// Its first word.
    pub place: Place,
    /// What to do.
    pub action: Action,
}

/// What a command does.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// `flush [proto]`: delete SAs.
    Flush(Option<SaProtocol>),
    /// `dump [proto]`: print SAs.
    Dump(Option<SaProtocol>),
    /// `spdflush`: delete policies.
    SpdFlush,
    /// `spddump`: print policies.
    SpdDump,
    /// `spdadd`: add a policy; one with the same selector and direction must not be there.
    SpdAdd(SpdPolicy),
    /// `spdupdate`: add or replace a policy.
    SpdUpdate(SpdPolicy),
    /// `spddelete`: delete by selector and direction.
    SpdDelete(SpdSelector),
    /// `add`: install a manual SA.
    Add(Box<ManualSa>),
    /// `get`: print an SA.
    Get(SaId),
    /// `delete`: remove an SA.
    Delete(SaId),
    /// `deleteall`: remove all SAs between two addresses.
    DeleteAll {
        /// Source.
        src: IpAddr,
        /// Destination.
        dst: IpAddr,
        /// Protocol.
        protocol: SaProtocol,
    },
}

/// What a policy is about, and the key by which it is found again.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpdSelector {
    /// Source addresses.
    pub src: IpNet,
    /// Source port, ICMP type or upper half of a GRE key; `None` is any.
    pub sport: Option<u16>,
    /// Destination addresses.
    pub dst: IpNet,
    /// Destination port, ICMP code or lower half of a GRE key; `None` is any.
    pub dport: Option<u16>,
    /// IP protocol; 0 is any.
    pub protocol: u8,
    /// Which traffic.
    pub direction: Direction,
    /// `-ctx`: SELinux label.
    pub context: Option<SecurityContext>,
}

impl fmt::Debug for SpdSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = |port: Option<u16>| port.map_or_else(|| "any".to_owned(), |p| p.to_string());
        let (sport, dport) = (port(self.sport), port(self.dport));
        write!(f, "{}[{sport}] {}[{dport}] {} {}", self.src, self.dst, self.protocol, self.direction)
    }
}

/// `-ctx DOI ALG "label"`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecurityContext {
    /// Domain of interpretation.
    pub doi: u8,
    /// Algorithm: 1 is SELinux.
    pub algorithm: u8,
    /// The label.
    pub label: String,
}

/// Direction of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// To this host.
    In,
    /// From this host.
    Out,
    /// Through this host.
    Fwd,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::In => "in",
            Self::Out => "out",
            Self::Fwd => "fwd",
        })
    }
}

/// One policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpdPolicy {
    /// Where its command begins.
    pub place: Place,
    /// What it is about.
    pub selector: SpdSelector,
    /// The kernel's priority: the lowest number is looked at first.
    pub priority: u32,
    /// What it orders.
    pub action: PolicyAction,
}

/// What a policy orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyAction {
    /// `none`: let pass in clear.
    None,
    /// `discard`: drop.
    Discard,
    /// `ipsec`: protect, first rule innermost.
    Ipsec(Vec<Rule>),
}

/// One `PROTO/MODE/SRC-DST/LEVEL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Where it begins.
    pub place: Place,
    /// Protocol.
    pub protocol: RuleProtocol,
    /// Mode with its end points.
    pub mode: Mode,
    /// How strict.
    pub level: Level,
}

/// Protocol of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleProtocol {
    /// `esp`
    Esp,
    /// `ah`
    Ah,
    /// `ipcomp`
    Ipcomp,
}

/// Mode of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `transport`; addresses are unusual there and kept as written.
    Transport(Option<(Endpoint, Endpoint)>),
    /// `tunnel`: outer source and destination.
    Tunnel {
        /// Outer source.
        src: Endpoint,
        /// Outer destination.
        dst: Endpoint,
    },
}

/// Level of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// `default`, or nothing: as `require`.
    Default,
    /// `use`: in clear until there is an SA.
    Use,
    /// `require`: never in clear.
    Require,
    /// `unique` or `unique:N`: `require` with SAs of its own, reqid N.
    Unique(Option<u32>),
}

impl Level {
    /// The reqid the policy is loaded with: N of `unique:N`, else 0 (`unique` alone is to be given one).
    #[must_use]
    pub const fn reqid(self) -> u32 {
        match self {
            Self::Unique(Some(reqid)) => reqid,
            Self::Default | Self::Use | Self::Require | Self::Unique(None) => 0,
        }
    }
}

/// Protocol of a manual SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaProtocol {
    /// `esp`
    Esp,
    /// `esp-old` (RFC 1827)
    EspOld,
    /// `esp-udp`: ESP in UDP, with the original address behind a NAT.
    EspUdp {
        /// NAT-OA.
        original: Option<IpAddr>,
    },
    /// `ah`
    Ah,
    /// `ah-old`
    AhOld,
    /// `ipcomp`
    Ipcomp,
    /// `tcp`: TCP-MD5.
    Tcp,
}

/// How one SA is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaId {
    /// Source address and port.
    pub src: Endpoint,
    /// Destination address and port.
    pub dst: Endpoint,
    /// Protocol.
    pub protocol: SaProtocol,
    /// SPI, or CPI of IPComp.
    pub spi: u32,
}

/// `add`: one manual SA.
#[derive(Debug, PartialEq, Eq)]
pub struct ManualSa {
    /// Where its command begins.
    pub place: Place,
    /// Addresses, protocol, SPI.
    pub id: SaId,
    /// `-m`.
    pub mode: ManualMode,
    /// `-r`: replay window in packets (8 for each octet written); 0 is off.
    pub replay_window: u32,
    /// `-u`: reqid.
    pub reqid: u32,
    /// `-f zero-pad` and the like.
    pub padding: Option<Padding>,
    /// `-f nocyclic-seq`.
    pub nocyclic_seq: bool,
    /// `-lh`, `-ls`, `-bh`, `-bs`.
    pub lifetimes: ManualLifetimes,
    /// `-ctx`.
    pub context: Option<SecurityContext>,
    /// `-E`.
    pub encryption: Option<ManualKey<ManualCipher>>,
    /// `-A`.
    pub authentication: Option<ManualKey<ManualAuth>>,
    /// `-C`: `deflate`.
    pub compression: bool,
}

/// Mode of a manual SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManualMode {
    /// `transport`
    Transport,
    /// `tunnel`
    Tunnel,
    /// `any`, or nothing: on Linux, transport.
    Any,
}

/// Padding of a manual SA: no effect on Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// `zero-pad`
    Zero,
    /// `random-pad`
    Random,
    /// `seq-pad`
    Sequence,
}

/// Lifetimes of a manual SA; `None` is for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ManualLifetimes {
    /// `-lh` in seconds.
    pub hard_seconds: Option<u64>,
    /// `-ls` in seconds.
    pub soft_seconds: Option<u64>,
    /// `-bh` in octets.
    pub hard_octets: Option<u64>,
    /// `-bs` in octets.
    pub soft_octets: Option<u64>,
}

/// An algorithm with its key.
#[derive(Debug, PartialEq, Eq)]
pub struct ManualKey<A> {
    /// Which.
    pub algorithm: A,
    /// The key (with its salt, where the algorithm has one).
    pub key: Secret,
}

/// Encryption of a manual SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManualCipher {
    /// `des-cbc`
    DesCbc,
    /// `3des-cbc`
    TripleDesCbc,
    /// `null`, `simple`
    Null,
    /// `blowfish-cbc`
    BlowfishCbc,
    /// `cast128-cbc`
    Cast128Cbc,
    /// `des-deriv`
    DesDeriv,
    /// `des-32iv`
    Des32Iv,
    /// `twofish-cbc`
    TwofishCbc,
    /// `aes-cbc`, `rijndael-cbc`
    AesCbc,
    /// `aes-ctr`: the last 32 bits are the nonce.
    AesCtr,
    /// `camellia-cbc`
    CamelliaCbc,
    /// `aes-gcm-16`: the last 32 bits are the salt; authenticates too.
    AesGcm16,
}

/// Authentication of a manual SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManualAuth {
    /// `hmac-md5`, truncated to 96 bits.
    HmacMd5,
    /// `hmac-sha1`, truncated to 96 bits.
    HmacSha1,
    /// `keyed-md5`
    KeyedMd5,
    /// `keyed-sha1`
    KeyedSha1,
    /// `null`
    Null,
    /// `hmac-sha256`, `hmac-sha2-256`: truncated to 96 bits, as setkey meant on Linux.
    HmacSha256Trunc96,
    /// `hmac-sha256-128`, `hmac-sha2-256-128`: truncated to 128 bits (RFC 4868).
    HmacSha256Trunc128,
    /// `hmac-sha384`, truncated to 192 bits.
    HmacSha384,
    /// `hmac-sha512`, truncated to 256 bits.
    HmacSha512,
    /// `hmac-ripemd160`, truncated to 96 bits.
    HmacRipemd160,
    /// `aes-xcbc-mac`, truncated to 96 bits.
    AesXcbcMac,
    /// `tcp-md5`
    TcpMd5,
}
