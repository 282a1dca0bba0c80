//! The key schedule against values that another implementation gave: Python's `hmac` and `hashlib`, from the formulas of RFC 7296
//! §2.13 to §2.18. Nonces are 00..1f and 40..5f, the first shared secret is 5a and the second a5, 32 octets each.

use ike_crypto::DefaultProvider;
use ike_proto::crypto::keymat::{IkeKeys, Nonces, SkeySeed, shared_key_auth};
use ike_proto::crypto::provider::{Prf, Provider};
use ike_proto::crypto::suite::{Encr, EspSuite, IkeSuite};
use ike_proto::ids::{IkeSpi, Role};
use ike_proto::secret::Secret;
use ike_proto::wire::registry::{EncrId, IntegId, KeId, PrfId};

const SPI_I: IkeSpi = IkeSpi(0x0102_0304_0506_0708);
const SPI_R: IkeSpi = IkeSpi(0x1112_1314_1516_1718);

fn nonces() -> Nonces {
    Nonces { ni: (0x00..0x20).collect(), nr: (0x40..0x60).collect() }
}

fn prf() -> &'static dyn Prf {
    DefaultProvider.prf(PrfId::HMAC_SHA2_256).expect("the provider has it")
}

const fn gcm() -> Encr {
    Encr { id: EncrId::AES_GCM_16, key_bits: Some(256) }
}

fn expanded(seed: SkeySeed) -> IkeKeys {
    let suite = IkeSuite { encr: gcm(), prf: PrfId::HMAC_SHA2_256, integ: None, ke: KeId::CURVE25519 };
    seed.expand(&DefaultProvider, &suite, &nonces(), SPI_I, SPI_R).expect("the provider has the suite")
}

fn first() -> IkeKeys {
    expanded(SkeySeed::initial(prf(), &nonces(), &[Secret::new(vec![0x5a; 32])]))
}

fn hex(secret: &Secret) -> String {
    secret.expose().iter().map(|octet| format!("{octet:02x}")).collect()
}

#[test]
fn an_ike_sa_has_the_keys_of_section_2_14_whichever_end_it_is() {
    let (initiator, _) = first().split(Role::Initiator);
    let (responder, _) = first().split(Role::Responder);
    let ei = "2607ab39edfacec79ac90dd1a29e162143e213817a684c68b59191c6148b6dbf704538cb";
    let er = "8e3b5de14b337a572a375772f7d97b7b0f97323dbb4b74381b546fa1afd73714ad2f75bb";
    assert_eq!((hex(&initiator.outbound.encr).as_str(), hex(&initiator.inbound.encr).as_str()), (ei, er));
    assert_eq!((hex(&responder.outbound.encr).as_str(), hex(&responder.inbound.encr).as_str()), (er, ei));
}

#[test]
fn auth_by_shared_key_is_that_of_section_2_15() {
    let (_, keys) = first().split(Role::Initiator);
    let id = [1, 0, 0, 0, 192, 0, 2, 1];
    let octets = keys.own.signed_octets(prf(), b"message", &nonces().nr, &id);
    let auth = shared_key_auth(prf(), &Secret::from_slice(b"secret"), &octets);
    assert_eq!(hex(&auth), "0013fc302e8ce4ac91bcf8124225c236f11ea6d29bc8987b27764b774ce6a19c");
}

#[test]
fn a_child_with_a_key_exchange_of_its_own_has_the_keys_of_section_2_17() {
    let (keys, _) = first().split(Role::Initiator);
    let suite = EspSuite { encr: gcm(), integ: None, ke: None, esn: true };
    let child = keys.sk_d.child_keys(prf(), &suite, &[Secret::new(vec![0xa5; 32])], &nonces());
    let ci = "43d77858a2da7f422c2e510c99d3f5e23a9b064802ed4669edf871e0ba1d19c1cc12ecf2";
    let cr = "f4e9e7ab5115f2244ba59fe1873cf92aac339ddac2939b578b9b7259d8dda056d0445127";
    assert_eq!((hex(&child.initiator.encr).as_str(), hex(&child.responder.encr).as_str()), (ci, cr));
}

#[test]
fn a_child_with_integrity_has_its_encryption_key_first() {
    let (keys, _) = first().split(Role::Initiator);
    let encr = Encr { id: EncrId::AES_CBC, key_bits: Some(128) };
    let suite = EspSuite { encr, integ: Some(IntegId::HMAC_SHA2_256_128), ke: None, esn: false };
    let child = keys.sk_d.child_keys(prf(), &suite, &[], &nonces());
    assert_eq!(hex(&child.initiator.encr), "64fcdbd4c1d20a9d5bfc4b94203c7567");
    assert_eq!(
        hex(&child.initiator.integ),
        "d3d999ec7d612f75c928e113ec4297898f1795837a7a3450aed18adbe9f8688a"
    );
    assert_eq!(hex(&child.responder.encr), "8bd86bd7efe33b877484fc33e01b0e56");
    assert_eq!(
        hex(&child.responder.integ),
        "f4aed96ff7e512a82a801bfdc8f9783f87290dab33c9527c4b9f744f8c725e72"
    );
}

#[test]
fn a_rekeyed_ike_sa_and_its_children_have_the_keys_of_section_2_18() {
    let (old, _) = first().split(Role::Initiator);
    let seed = SkeySeed::rekeyed(prf(), &old.sk_d, &nonces(), &[Secret::new(vec![0xa5; 32])]);
    let (new, _) = expanded(seed).split(Role::Initiator);
    assert_eq!(
        hex(&new.outbound.encr),
        "df046d27c5f6c3110c27d089bea090b09589b1676acabace1b6a988677b6c3c5fbbd088a"
    );
    assert_eq!(
        hex(&new.inbound.encr),
        "de982185db58ed6ab92ea05e8568ff84f46102041583289f0c3457ab7f4d06fc247435da"
    );
    let suite = EspSuite { encr: gcm(), integ: None, ke: None, esn: true };
    let child = new.sk_d.child_keys(prf(), &suite, &[], &nonces());
    assert_eq!(
        hex(&child.initiator.encr),
        "7082776ddf640a9a8fecaa2f7b8994f5846c171a3c815b8eec90e105465df4e94b251163"
    );
}
