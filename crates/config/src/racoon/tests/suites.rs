//! What becomes of algorithms.

use super::*;

#[test]
fn weak_algorithms_are_replaced_with_one_warning_a_line() {
    let text = "remote anonymous { exchange_mode main;
proposal {
 encryption_algorithm 3des;
 hash_algorithm md5;
 authentication_method pre_shared_key;
 dh_group 2;
} }
sainfo anonymous {
 pfs_group modp768;
 encryption_algorithm des, blowfish 448, null_enc;
 authentication_algorithm hmac_md5, non_auth;
 compression_algorithm deflate;
}
sainfo address 10.0.0.1 any address 10.0.0.2 any {
 encryption_algorithm aes, 3des;
 authentication_algorithm hmac_md5;
 compression_algorithm deflate;
}
";
    let expected = "3:23: warning: `3des` is weak and never used: AES-256-GCM is used instead
4:17: warning: `md5` is weak and never used: SHA2-256 is used instead
6:11: warning: group `2` is weak and never used: curve25519, ecp256, ecp384, modp3072 and modp4096 are used instead
9:12: warning: group `modp768` is weak and never used: curve25519, ecp256, ecp384, modp3072 and modp4096 are used instead
10:23: warning: `des`, `blowfish`, `null_enc` are weak and never used: AES-256-GCM is used instead
11:27: warning: `hmac_md5`, `non_auth` are weak and never used: the cipher authenticates by itself
15:28: warning: `3des` is weak and never used: the others that are listed are used
16:27: warning: `hmac_md5` is weak and never used: HMAC-SHA2-256 is used instead
";
    assert_eq!(said(text), expected);
    let config = config(text);
    let proposal = &config.remotes[0].proposals[0];
    assert_eq!((proposal.encr, proposal.key_bits, proposal.integ), (EncrId::AES_GCM_16, Some(256), None));
    assert_eq!(proposal.prf, PrfId::HMAC_SHA2_256);
    let groups = [KeId::CURVE25519, KeId::ECP256, KeId::ECP384, KeId::MODP3072, KeId::MODP4096];
    assert_eq!(proposal.ke, groups);
    let [specific, anonymous] = config.sainfos.as_slice() else { panic!() };
    let gcm = EspProposal { encr: EncrId::AES_GCM_16, key_bits: Some(256), integ: None };
    assert_eq!((anonymous.pfs.as_slice(), anonymous.proposals.as_slice()), (&groups[..], &[gcm][..]));
    let cbc =
        EspProposal { encr: EncrId::AES_CBC, key_bits: Some(128), integ: Some(IntegId::HMAC_SHA2_256_128) };
    assert_eq!((specific.pfs.len(), specific.proposals.as_slice()), (0, &[cbc][..]));
}

#[test]
fn the_dialect_has_curves_gcm_and_chacha() {
    let text = "remote anonymous { exchange_mode main;
        proposal { encryption_algorithm aes_gcm_16; hash_algorithm sha384; authentication_method pre_shared_key; dh_group x25519; }
        proposal { encryption_algorithm chacha20poly1305; hash_algorithm sha512; authentication_method pre_shared_key; dh_group 19; }
        proposal { encryption_algorithm aes_gcm_16 128; hash_algorithm sha256; authentication_method pre_shared_key; dh_group ecp521; } }
        sainfo anonymous { pfs_group 31; encryption_algorithm aes_gcm_16, chacha20poly1305; compression_algorithm deflate; }";
    let config = config(text);
    let proposals: Vec<_> =
        config.remotes[0].proposals.iter().map(|p| (p.encr, p.key_bits, p.integ, p.prf, p.ke[0])).collect();
    let expected = [
        (EncrId::AES_GCM_16, Some(256), None, PrfId::HMAC_SHA2_384, KeId::CURVE25519),
        (EncrId::CHACHA20_POLY1305, None, None, PrfId::HMAC_SHA2_512, KeId::ECP256),
        (EncrId::AES_GCM_16, Some(128), None, PrfId::HMAC_SHA2_256, KeId::ECP521),
    ];
    assert_eq!(proposals, expected);
    assert_eq!(config.sainfos[0].pfs, [KeId::CURVE25519]);
    assert_eq!(config.sainfos[0].proposals.len(), 2);
}

#[test]
fn each_cipher_goes_with_each_integrity_algorithm_in_order() {
    let text = "sainfo anonymous { encryption_algorithm aes 256, aes_gcm_16; encryption_algorithm aes;
        authentication_algorithm hmac_sha512, hmac_sha256; compression_algorithm deflate; lifetime time 1 hour; }";
    let sainfo = config(text).sainfos.remove(0);
    let (sha512, sha256) = (Some(IntegId::HMAC_SHA2_512_256), Some(IntegId::HMAC_SHA2_256_128));
    let proposals: Vec<_> = sainfo.proposals.iter().map(|p| (p.encr, p.key_bits, p.integ)).collect();
    let expected = [
        (EncrId::AES_CBC, Some(256), sha512),
        (EncrId::AES_CBC, Some(256), sha256),
        (EncrId::AES_GCM_16, Some(256), None),
        (EncrId::AES_CBC, Some(128), sha512),
        (EncrId::AES_CBC, Some(128), sha256),
    ];
    assert_eq!(proposals, expected);
    assert_eq!(sainfo.lifetime, Duration::from_secs(3600));
}
