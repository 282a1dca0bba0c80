//! racoon.conf as written: statements and options with their spans, before anything is decided about them.

use core::ops::Range;
use core::time::Duration;
use std::net::IpAddr;
use std::sync::Arc;

use super::model::{GeneratePolicy, LogLevel, NatTraversal, ScriptEvent};
use crate::diag::Source;
use crate::net::Endpoint;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spanned<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
}

/// The octets of a quoted string.
pub(crate) type Text = Spanned<Vec<u8>>;

/// One top-level statement.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) source: Arc<Source>,
    /// Its first word.
    pub(crate) span: Range<usize>,
    pub(crate) kind: StatementKind,
}

#[derive(Debug)]
pub(crate) enum StatementKind {
    Path(PathKind, Text),
    Include(Text),
    Log(LogLevel),
    Listen(Vec<Spanned<ListenOption>>),
    Timer(Vec<Spanned<TimerOption>>),
    Privsep(Vec<Spanned<PrivsepOption>>),
    KernelBuffer(u32),
    /// A statement without meaning in IKEv2, or one that nothing uses.
    NoMeaning(&'static str),
    /// A statement that changes nothing.
    Cosmetic,
    Remote(Box<RemoteBlock>),
    SaInfo(Box<SaInfoBlock>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathKind {
    Include,
    PreSharedKey,
    Certificate,
    Script,
    BackupSa,
    PidFile,
}

#[derive(Debug)]
pub(crate) enum ListenOption {
    Isakmp(Endpoint),
    IsakmpNatt(Endpoint),
    StrictAddress,
    AdminSocket { path: Text, owner: Option<Text>, group: Option<Text>, mode: Option<u32> },
    AdminSocketDisabled,
}

#[derive(Debug)]
pub(crate) enum TimerOption {
    Counter(u32),
    Interval(Duration),
    Persend(u32),
    Phase1(Duration),
    Phase2(Duration),
    NattKeepalive(Duration),
    AutoExitDelay,
}

#[derive(Debug)]
pub(crate) enum PrivsepOption {
    User(String),
    Group(String),
    Chroot(Text),
}

/// Whom a `remote` names, or what it inherits from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RemoteName {
    Anonymous(Option<u16>),
    Address(Endpoint),
    Named(String),
}

#[derive(Debug)]
pub(crate) struct RemoteBlock {
    pub(crate) name: Spanned<RemoteName>,
    pub(crate) inherit: Option<Spanned<RemoteName>>,
    pub(crate) options: Vec<Spanned<RemoteOption>>,
    /// Whether a statement in it could not be read: what seems to be missing may be that one.
    pub(crate) broken: bool,
}

/// One option of a remote; the span is the option's keyword.
#[derive(Debug)]
pub(crate) enum RemoteOption {
    RemoteAddress(Endpoint),
    Switch(Switch, bool),
    Number(NumberOption, u32),
    MyIdentifier(WrittenId),
    PeersIdentifier(WrittenId),
    Certificate(CertificateOption),
    GeneratePolicy(GeneratePolicy),
    Lifetime(Duration),
    NatTraversal(NatTraversal),
    IkeFrag(bool),
    Script(Text, ScriptEvent),
    Proposal(ProposalBlock),
    ExchangeMode,
    Remark(Remark),
}

/// Options that name certificates and keys.
#[derive(Debug)]
pub(crate) enum CertificateOption {
    OwnX509 { certificate: Text, key: Text },
    OwnPlainRsa(Text),
    PeersX509(Text),
    PeersPlainRsa(Text),
    PeersDnssec,
    Ca(Text),
}

/// Options of which nothing is left but what is said about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remark {
    /// `doi ipsec_doi`, `situation identity_only`: nothing is said.
    Cosmetic,
    /// A situation other than `identity_only`.
    Situation,
    XauthLogin,
    ProposalCheckExact,
    LifetimeByte,
    /// `rekey on`, `rekey force`: nothing is said.
    Rekey,
    RekeyOff,
}

/// Options that are `on` or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Switch {
    VerifyIdentifier,
    VerifyCert,
    SendCert,
    SendCr,
    MatchEmptyCr,
    Passive,
    SupportProxy,
    InitialContact,
    ModeCfg,
    WeakPhase1Check,
    Dpd,
}

/// Options that are a plain number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NumberOption {
    NonceSize,
    EspFrag,
    DpdDelay,
    DpdRetry,
    DpdMaxfail,
    Ph1id,
}

#[derive(Clone, Debug)]
pub(crate) struct ProposalBlock {
    pub(crate) options: Vec<Spanned<ProposalOption>>,
    /// As in [`RemoteBlock`].
    pub(crate) broken: bool,
}

/// One option of a proposal; the span is its value's.
#[derive(Clone, Debug)]
pub(crate) enum ProposalOption {
    Lifetime(Duration),
    LifetimeByte,
    Encryption(WrittenAlgorithm),
    Hash(String),
    Authentication(String),
    DhGroup(String),
    GssId,
}

/// An algorithm by its name, with a key length if one is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WrittenAlgorithm {
    pub(crate) name: String,
    pub(crate) bits: Option<u32>,
    pub(crate) span: Range<usize>,
}

/// An identifier as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WrittenId {
    pub(crate) kind: IdKind,
    pub(crate) span: Range<usize>,
    pub(crate) value: Option<Text>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdKind {
    Address,
    Fqdn,
    UserFqdn,
    /// The value names a file whose octets are the identity.
    KeyIdFile,
    KeyIdTag,
    Asn1Dn,
}

#[derive(Debug)]
pub(crate) struct SaInfoBlock {
    pub(crate) local: SaInfoSide,
    pub(crate) remote: SaInfoSide,
    pub(crate) from: Option<WrittenId>,
    pub(crate) group: Option<Range<usize>>,
    pub(crate) options: Vec<Spanned<SaInfoOption>>,
    /// As in [`RemoteBlock`].
    pub(crate) broken: bool,
}

#[derive(Debug)]
pub(crate) enum SaInfoSide {
    Anonymous,
    ClientAddress,
    Net { addr: IpAddr, prefix: Option<u8>, last: Option<IpAddr>, port: Option<u16>, protocol: u8 },
    Id(WrittenId),
}

/// One option of a sainfo; the span is the whole option.
#[derive(Debug)]
pub(crate) enum SaInfoOption {
    PfsGroup(String),
    RemoteId(u32),
    Lifetime(Duration),
    LifetimeByte,
    Encryption(Vec<WrittenAlgorithm>),
    Authentication(Vec<WrittenAlgorithm>),
    Compression,
}
