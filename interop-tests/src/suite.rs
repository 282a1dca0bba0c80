//! The suites of the matrix, in the words of each peer and of the kernel.

/// One choice of algorithms for IKE and ESP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suite {
    /// Its name in scenario names.
    pub name: &'static str,
    /// strongSwan's IKE proposal.
    pub swan_ike: &'static str,
    /// strongSwan's ESP proposal, PFS group included.
    pub swan_esp: &'static str,
    /// `encryption_algorithm` in racoon.conf, both phases.
    pub encryption: &'static str,
    /// `hash_algorithm` in racoon.conf: the PRF, and the integrity algorithm where the cipher needs one.
    pub hash: &'static str,
    /// `dh_group` and `pfs_group` in racoon.conf.
    pub group: &'static str,
    /// `authentication_algorithm` in racoon.conf; none with an AEAD.
    pub authentication: Option<&'static str>,
    /// What an ESP SA of this suite has in the kernel, salts of AEADs included.
    pub kernel: &'static [&'static str],
}

/// AES-256-GCM with X25519: the default of Coati, and of every scenario that is not about suites.
pub const AES256GCM_X25519: Suite = Suite {
    name: "aes256gcm-x25519",
    swan_ike: "aes256gcm16-prfsha256-x25519",
    swan_esp: "aes256gcm16-x25519",
    encryption: "aes_gcm_16 256",
    hash: "sha256",
    group: "curve25519",
    authentication: None,
    kernel: &["rfc4106(gcm(aes)) 288"],
};

/// AES-128-CBC with HMAC-SHA2-256 and modp3072: what the example mesh says in racoon's words.
pub const AES128CBC_MODP3072: Suite = Suite {
    name: "aes128cbc-sha256-modp3072",
    swan_ike: "aes128-sha256-modp3072",
    swan_esp: "aes128-sha256-modp3072",
    encryption: "aes",
    hash: "sha256",
    group: "modp3072",
    authentication: Some("hmac_sha256"),
    kernel: &["hmac(sha256) 256", "cbc(aes) 128"],
};

/// Every suite of the matrix.
pub const ALL: [Suite; 4] = [
    AES256GCM_X25519,
    Suite {
        name: "aes256gcm-p384",
        swan_ike: "aes256gcm16-prfsha384-ecp384",
        swan_esp: "aes256gcm16-ecp384",
        encryption: "aes_gcm_16 256",
        hash: "sha384",
        group: "ecp384",
        authentication: None,
        kernel: &["rfc4106(gcm(aes)) 288"],
    },
    AES128CBC_MODP3072,
    Suite {
        name: "chacha20poly1305-x25519",
        swan_ike: "chacha20poly1305-prfsha256-x25519",
        swan_esp: "chacha20poly1305-x25519",
        encryption: "chacha20poly1305",
        hash: "sha256",
        group: "curve25519",
        authentication: None,
        kernel: &["rfc7539esp(chacha20,poly1305) 288"],
    },
];
