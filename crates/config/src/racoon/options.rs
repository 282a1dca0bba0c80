//! Every option of racoon.conf and what Coati does with it, once: `docs/racoon-migration.md` shows this table, `coati check` prints
//! it, and the tests hold both it and the parser to it.

use core::fmt;

use super::feature::Feature;

/// Where an option stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Block {
    /// Outside every block.
    Top,
    /// `listen { }`
    Listen,
    /// `timer { }`
    Timer,
    /// `privsep { }`
    Privsep,
    /// `remote ... { }`
    Remote,
    /// `proposal { }` in a remote
    Proposal,
    /// `sainfo ... { }`
    SaInfo,
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Top => "outside every block",
            Self::Listen => "listen",
            Self::Timer => "timer",
            Self::Privsep => "privsep",
            Self::Remote => "remote",
            Self::Proposal => "proposal",
            Self::SaInfo => "sainfo",
        })
    }
}

/// What becomes of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It does what it did.
    AsBefore,
    /// It does what comes nearest in IKEv2.
    Nearest,
    /// It changed nothing that can be seen, and changes nothing.
    Nothing,
    /// Weak: something better is used in its place, with a warning.
    Replaced,
    /// It has no meaning in IKEv2 or no effect here: a warning.
    NoMeaning,
    /// To pass it over would weaken security, or break a promise: an error.
    Refused,
    /// Understood, but the daemon does not do it yet: it refuses to start.
    NotYet,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AsBefore => "as before",
            Self::Nearest => "nearest meaning",
            Self::Nothing => "no difference",
            Self::Replaced => "warning, replaced",
            Self::NoMeaning => "warning",
            Self::Refused => "error",
            Self::NotYet => "error for now",
        })
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionRow {
    /// Where it stands.
    pub block: Block,
    /// The option as it may be written; `...` is whatever a block needs.
    pub written: &'static str,
    /// What becomes of it.
    pub fate: Fate,
    /// What Coati does, in a sentence or none.
    pub meaning: &'static str,
    /// The wish it is, for a daemon to grant.
    pub feature: Option<Feature>,
}

/// The table, by block.
pub const OPTIONS: &[OptionRow] = &{
    use Block::{Listen, Privsep, Proposal, Remote, SaInfo, Timer, Top};
    use Fate::{AsBefore, Nearest, NoMeaning, Nothing, Refused, Replaced};
    [
        row(
            Top,
            "path include \"/etc/racoon\";",
            AsBefore,
            "where relative names of `include` begin, from there on; unset, beside the file",
        ),
        row(Top, "path pre_shared_key \"/etc/racoon/psk.txt\";", AsBefore, "unset, /etc/racoon/psk.txt"),
        row(
            Top,
            "path certificate \"/etc/racoon/certs\";",
            AsBefore,
            "where relative names of certificates and keys begin, and the authorities and CRLs are (`<hash>.0`, `<hash>.r0`); unset, /etc/racoon/certs",
        ),
        row(
            Top,
            "path script \"/etc/racoon/scripts\";",
            AsBefore,
            "where relative names of scripts begin; unset, /etc/racoon/scripts",
        ),
        row(
            Top,
            "path backupsa \"/var/db/racoon.sa\";",
            NoMeaning,
            "after a start every pair is set up anew",
        ),
        wish(
            Top,
            "path pidfile \"racoon.pid\";",
            AsBefore,
            Feature::PidFile,
            "a relative name is under /var/run; of a daemon called `racoon`, unset, /var/run/racoon.pid",
        ),
        row(
            Top,
            "include \"/etc/racoon/conf.d/*.conf\";",
            AsBefore,
            "a pattern that matches nothing is a warning, a literal name without a file an error",
        ),
        row(Top, "log info;", AsBefore, ""),
        row(Top, "padding { maximum_length 20; }", Nothing, "IKEv2 pads as its cipher needs"),
        wish(
            Top,
            "pfkey_buffer 512;",
            NoMeaning,
            Feature::KernelBuffer,
            "the kernel's events have a buffer of 8 MiB",
        ),
        row(Top, "complex_bundle on;", Nothing, "a policy with several rules is refused where it stands"),
        row(Top, "gss_id_enc latin1;", Nothing, "Kerberos itself is refused"),
        row(Top, "mode_cfg { network4 192.0.2.1; }", NoMeaning, "no addresses are handed to road warriors"),
        row(Top, "radiuscfg { timeout 3; }", NoMeaning, "there is no XAuth in IKEv2"),
        row(Top, "ldapcfg { port 389; }", NoMeaning, "there is no XAuth in IKEv2"),
        row(Top, "remote anonymous { ... }", AsBefore, "for peers without a block of their own"),
        row(
            Top,
            "remote 192.0.2.1 { ... }",
            AsBefore,
            "before `anonymous`; of several for one address the first",
        ),
        wish(Top, "remote 192.0.2.1 [8000] { ... }", AsBefore, Feature::RemotePort, ""),
        row(Top, "remote \"name\" { ... }", AsBefore, "with `remote_address` for one peer, without for any"),
        row(
            Top,
            "remote 192.0.2.2 inherit \"name\" { ... }",
            AsBefore,
            "options replace inherited ones, proposals are added; an address is found whatever its port, and `inherit anonymous` works too",
        ),
        row(Top, "sainfo anonymous { ... }", AsBefore, "for traffic without a block of its own"),
        row(
            Top,
            "sainfo address 10.0.0.0/8 any address 10.1.0.0/16 any { ... }",
            AsBefore,
            "racoon's order of search, most specific first; a peer's traffic selectors are narrowed to the policy",
        ),
        row(Top, "sainfo address 10.0.0.1-10.0.0.9 [any] tcp anonymous { ... }", AsBefore, ""),
        row(
            Top,
            "sainfo subnet 10.0.0.0/8 any clientaddr { ... }",
            AsBefore,
            "`clientaddr` is the peer's address",
        ),
        row(
            Top,
            "sainfo fqdn \"a\" fqdn \"b\" { ... }",
            NoMeaning,
            "traffic selectors are addresses: it matches nothing",
        ),
        wish(Top, "sainfo anonymous from fqdn \"peer\" { ... }", AsBefore, Feature::SaInfoFrom, ""),
        row(
            Top,
            "sainfo anonymous group \"staff\" { ... }",
            Refused,
            "XAuth's groups restrict who may come in",
        ),
        wish(
            Listen,
            "isakmp 192.0.2.1 [500];",
            AsBefore,
            Feature::ListenAddresses,
            "none at all: every local address; without `isakmp_natt` port 4500 is at the same addresses (racoon: nowhere)",
        ),
        wish(
            Listen,
            "isakmp_natt 192.0.2.1 [4500];",
            AsBefore,
            Feature::ListenAddresses,
            "without a port 4500 (racoon 0.8.2 took 500); without `isakmp` port 500 is at the same addresses",
        ),
        wish(Listen, "strict_address;", AsBefore, Feature::StrictAddress, ""),
        wish(
            Listen,
            "adminsock \"/var/run/racoon.sock\" \"root\" \"adm\" 0660;",
            Nearest,
            Feature::AdminSocket,
            "who may speak to it is as before; what is spoken is Coati's own, so use Coati's racoonctl",
        ),
        row(Listen, "adminsock disabled;", AsBefore, "no control socket"),
        wish(
            Timer,
            "counter 5;",
            Nearest,
            Feature::Timers,
            "retransmissions of a request, with growing pauses",
        ),
        wish(Timer, "interval 10 sec;", Nearest, Feature::Timers, "the first pause; later ones grow"),
        row(Timer, "persend 2;", NoMeaning, "each message is sent once at a time"),
        wish(
            Timer,
            "phase1 30 sec;",
            Nearest,
            Feature::Timers,
            "how long setting up an IKE SA may take; the longer of this and `phase2`",
        ),
        wish(Timer, "phase2 30 sec;", Nearest, Feature::Timers, "see `phase1`"),
        wish(Timer, "natt_keepalive 20 sec;", AsBefore, Feature::NattKeepalive, ""),
        row(Timer, "auto_exit_delay 3 sec;", NoMeaning, "Apple's: the daemon does not exit by itself"),
        wish(
            Privsep,
            "user \"racoon\";",
            AsBefore,
            Feature::Privsep,
            "privileges are dropped but for those that keying needs",
        ),
        wish(Privsep, "group \"racoon\";", AsBefore, Feature::Privsep, ""),
        wish(Privsep, "chroot \"/var/empty\";", AsBefore, Feature::Privsep, ""),
        row(Remote, "remote_address 192.0.2.1;", AsBefore, "in a named block only"),
        row(
            Remote,
            "exchange_mode main;",
            NoMeaning,
            "IKEv2 has one exchange, which hides the identities; racoon's grammar asks for the line",
        ),
        row(Remote, "doi ipsec_doi;", Nothing, ""),
        row(Remote, "situation identity_only;", Nothing, ""),
        row(Remote, "situation secrecy;", Refused, "it was never implemented"),
        row(
            Remote,
            "my_identifier address 192.0.2.1;",
            AsBefore,
            "ID_IPV4_ADDR, ID_IPV6_ADDR; without an address that of our end",
        ),
        row(Remote, "my_identifier fqdn \"a.example.org\";", AsBefore, "ID_FQDN"),
        row(Remote, "my_identifier user_fqdn \"a@example.org\";", AsBefore, "ID_RFC822_ADDR"),
        row(
            Remote,
            "my_identifier keyid tag \"text\";",
            AsBefore,
            "ID_KEY_ID; `keyid \"x\"` and `keyid file \"x\"` take the octets of a file",
        ),
        row(
            Remote,
            "my_identifier asn1dn \"C=DE, CN=a\";",
            AsBefore,
            "ID_DER_ASN1_DN; without a value the certificate's subject",
        ),
        wish(
            Remote,
            "peers_identifier fqdn \"b.example.org\";",
            AsBefore,
            Feature::PeersIdentifier,
            "of several any one; `asn1dn` with `*` for any value",
        ),
        wish(
            Remote,
            "verify_identifier on; peers_identifier fqdn \"b\";",
            AsBefore,
            Feature::VerifyIdentifier,
            "",
        ),
        row(
            Remote,
            "verify_identifier off;",
            Nearest,
            "with a pre-shared key any identity will do; an identity must be in its certificate all the same (a warning)",
        ),
        row(Remote, "xauth_login \"user\";", Refused, "IKEv2 has no XAuth"),
        row(Remote, "certificate_type x509 \"cert.pem\" \"key.pem\";", AsBefore, "once in a block"),
        row(
            Remote,
            "certificate_type plain_rsa \"key.rsa\";",
            Nearest,
            "a raw public key (RFC 7670); keys under 2048 bits or with e < 65537 are errors",
        ),
        row(
            Remote,
            "peers_certfile x509 \"peer.pem\";",
            AsBefore,
            "the peer's certificate is pinned; `peers_certfile \"f\"` too, with a warning",
        ),
        row(
            Remote,
            "peers_certfile plain_rsa \"peer.rsa\";",
            Nearest,
            "the peer's raw key is pinned; several may be",
        ),
        row(Remote, "peers_certfile dnssec;", Refused, "nothing is fetched because a peer said so"),
        row(Remote, "ca_type x509 \"ca.pem\";", AsBefore, ""),
        row(Remote, "verify_cert on;", AsBefore, ""),
        row(
            Remote,
            "verify_cert off;",
            Nearest,
            "enough where `peers_certfile` pins the key; else the chain is verified all the same (a warning)",
        ),
        row(Remote, "send_cert off;", AsBefore, ""),
        row(Remote, "send_cr off;", AsBefore, "no CERTREQ"),
        row(Remote, "match_empty_cr on;", Nothing, "blocks are chosen by identity"),
        wish(Remote, "nonce_size 32;", NoMeaning, Feature::NonceSize, "nonces have 32 octets"),
        wish(Remote, "passive on;", AsBefore, Feature::Passive, ""),
        row(Remote, "generate_policy off;", AsBefore, ""),
        wish(
            Remote,
            "generate_policy on;",
            Nearest,
            Feature::GeneratePolicy,
            "of what a peer asks for where there is no policy, in transport mode, between the two addresses, if its key or certificate is that address's; they go with the pair's last SA; so `require`, and `unique` with reqids of their own",
        ),
        row(Remote, "support_proxy on;", Nothing, "traffic selectors are negotiated"),
        row(Remote, "support_mip6 on;", Nothing, "the old name of `support_proxy`"),
        row(Remote, "initial_contact on;", AsBefore, "INITIAL_CONTACT in IKE_AUTH"),
        wish(Remote, "initial_contact off;", AsBefore, Feature::NoInitialContact, ""),
        row(
            Remote,
            "proposal_check strict;",
            Nothing,
            "IKEv2 negotiates no lifetimes; algorithms are always from our own list",
        ),
        row(Remote, "proposal_check exact;", NoMeaning, "IKEv2 negotiates no lifetimes"),
        row(
            Remote,
            "lifetime time 8 hour;",
            AsBefore,
            "of the IKE SA, which is rekeyed before; unset, 8 hours",
        ),
        row(Remote, "lifetime byte 5 MB;", Refused, "racoon 0.8 had given it up too"),
        row(Remote, "nat_traversal on;", AsBefore, "also when unset (racoon: off)"),
        wish(
            Remote,
            "nat_traversal off;",
            AsBefore,
            Feature::NoNatTraversal,
            "nothing is detected or encapsulated",
        ),
        row(Remote, "nat_traversal force;", AsBefore, "always encapsulated"),
        row(Remote, "ike_frag on;", Nearest, "IKE fragmentation (RFC 7383); also when unset (racoon: off)"),
        wish(Remote, "ike_frag off;", AsBefore, Feature::NoFragmentation, "not announced"),
        row(Remote, "esp_frag 552;", NoMeaning, "it had no effect on Linux"),
        wish(
            Remote,
            "script \"up.sh\" phase1_up;",
            AsBefore,
            Feature::Scripts,
            "so `phase1_down` and `phase1_dead`: racoon's variables, no shell, a time limit, one at a time for a peer",
        ),
        row(Remote, "mode_cfg off;", Nothing, ""),
        row(Remote, "mode_cfg on;", Refused, "no addresses are handed to road warriors, and none taken"),
        row(Remote, "weak_phase1_check off;", Nothing, ""),
        row(Remote, "weak_phase1_check on;", NoMeaning, "only what is authenticated deletes an SA"),
        row(Remote, "dpd on;", Nothing, "liveness checks are part of IKEv2"),
        row(Remote, "dpd off;", NoMeaning, "every IKEv2 peer answers liveness checks"),
        row(
            Remote,
            "dpd_delay 20;",
            Nearest,
            "a peer is asked when nothing came from it for so long; 0 or unset leaves Coati's default (racoon: never)",
        ),
        wish(
            Remote,
            "dpd_retry 5;",
            Nearest,
            Feature::DpdTuning,
            "times `dpd_maxfail`: how long a peer may stay silent when asked",
        ),
        wish(Remote, "dpd_maxfail 5;", Nearest, Feature::DpdTuning, "see `dpd_retry`"),
        row(Remote, "rekey on;", Nearest, "every IKE SA is rekeyed, with or without DPD; so `force`"),
        row(Remote, "rekey off;", NoMeaning, "the child SAs would end with the IKE SA"),
        wish(Remote, "ph1id 16;", AsBefore, Feature::RemoteId, "the tag that a sainfo's `remoteid` names"),
        row(
            Remote,
            "proposal { ... }",
            AsBefore,
            "in order of preference; what says the same twice is there once",
        ),
        row(Proposal, "lifetime time 8 hour;", AsBefore, "else that of the remote"),
        row(
            Proposal,
            "encryption_algorithm aes 256;",
            AsBefore,
            "AES-CBC with 128 (also unwritten), 192 or 256 bits; so `rijndael`",
        ),
        row(
            Proposal,
            "encryption_algorithm aes_gcm_16 256;",
            Nearest,
            "an addition: `hash_algorithm` is the PRF only; so `chacha20poly1305`",
        ),
        row(Proposal, "encryption_algorithm 3des;", Replaced, "AES-256-GCM; so `des`, `blowfish`, `cast128`"),
        row(
            Proposal,
            "encryption_algorithm camellia;",
            Refused,
            "Coati does not have it; beside another proposal it is left out with a warning",
        ),
        row(Proposal, "hash_algorithm sha256;", AsBefore, "PRF and integrity; so `sha384`, `sha512`"),
        row(Proposal, "hash_algorithm sha1;", Replaced, "SHA2-256; so `md5`"),
        row(Proposal, "authentication_method pre_shared_key;", AsBefore, ""),
        wish(
            Proposal,
            "authentication_method rsasig;",
            Nearest,
            Feature::Signatures,
            "signatures of RFC 7427 or 7296 with certificates, or raw keys beside `plain_rsa`",
        ),
        row(
            Proposal,
            "authentication_method xauth_psk_server;",
            Refused,
            "all of `xauth_*` and `hybrid_*`: without the user's password less would be proved",
        ),
        row(
            Proposal,
            "authentication_method gssapi_krb;",
            Refused,
            "there is no Kerberos in IKEv2; `rsaenc`, `rsarev`, `dsssig` neither",
        ),
        row(Proposal, "dh_group modp2048;", AsBefore, "14 to 18, by name or number"),
        row(
            Proposal,
            "dh_group curve25519;",
            Nearest,
            "an addition: also `ecp256`, `ecp384`, `ecp521`, 19 to 21, 31",
        ),
        row(
            Proposal,
            "dh_group 2;",
            Replaced,
            "1, 2 and 5: curve25519, ecp256, ecp384, modp3072, modp4096 in this order",
        ),
        row(Proposal, "dh_group 3;", Refused, "3 and 4 were never usable"),
        row(Proposal, "gss_id \"x\";", Nothing, "Kerberos itself is refused"),
        row(Proposal, "gssapi_id \"x\";", Nothing, "the old name of `gss_id`"),
        row(
            SaInfo,
            "pfs_group 14;",
            AsBefore,
            "as `dh_group`; the first child of an IKE SA is keyed from the IKE SA's own exchange (RFC 7296 §1.2)",
        ),
        wish(
            SaInfo,
            "remoteid 16;",
            AsBefore,
            Feature::RemoteId,
            "for remotes with this `ph1id` only; without it a sainfo is for every remote (racoon: for those without a `ph1id`)",
        ),
        row(
            SaInfo,
            "lifetime time 1 hour;",
            AsBefore,
            "of a child SA, which is rekeyed before; unset, 8 hours",
        ),
        row(SaInfo, "lifetime byte 5 MB;", Refused, "racoon 0.8 had given it up too"),
        row(SaInfo, "encryption_algorithm aes 256, aes 128;", AsBefore, "in order of preference"),
        row(
            SaInfo,
            "encryption_algorithm aes_gcm_16;",
            Nearest,
            "an addition: needs no `authentication_algorithm`; so `chacha20poly1305`",
        ),
        row(
            SaInfo,
            "encryption_algorithm 3des;",
            Replaced,
            "left out of a list, AES-256-GCM alone; so `des`, `blowfish`, `cast128`, `twofish`, `null_enc`",
        ),
        row(
            SaInfo,
            "encryption_algorithm camellia;",
            Refused,
            "Coati does not have it; in a list it is left out with a warning",
        ),
        row(
            SaInfo,
            "authentication_algorithm hmac_sha256;",
            AsBefore,
            "128 bits of it (RFC 4868), where racoon's Linux took 96; so `hmac_sha384`, `hmac_sha512`",
        ),
        row(
            SaInfo,
            "authentication_algorithm hmac_sha1;",
            Replaced,
            "left out of a list, HMAC-SHA2-256 alone; so `hmac_md5`, `non_auth`",
        ),
        row(
            SaInfo,
            "compression_algorithm deflate;",
            Nothing,
            "nothing is compressed; a policy with an `ipcomp` rule is refused",
        ),
    ]
};

const fn row(block: Block, written: &'static str, fate: Fate, meaning: &'static str) -> OptionRow {
    OptionRow { block, written, fate, meaning, feature: None }
}

const fn wish(
    block: Block,
    written: &'static str,
    fate: Fate,
    feature: Feature,
    meaning: &'static str,
) -> OptionRow {
    OptionRow { block, written, fate, meaning, feature: Some(feature) }
}

/// One line: where, what, what becomes of it.
impl fmt::Display for OptionRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} [{}]", self.block, self.written, self.fate)?;
        if self.meaning.is_empty() { Ok(()) } else { write!(f, " {}", self.meaning) }
    }
}

/// The table as Markdown: a heading and a table for each block.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::new();
    let mut block = None;
    for row in OPTIONS {
        if block.replace(row.block) != Some(row.block) {
            let name = match row.block {
                Block::Top => "Outside every block".to_owned(),
                block => format!("`{block} {{ }}`"),
            };
            text += &format!("\n### {name}\n\n| option | what becomes of it | |\n|---|---|---|\n");
        }
        text += &format!("| `{}` | {} | {} |\n", row.written, row.fate, row.meaning);
    }
    text
}
