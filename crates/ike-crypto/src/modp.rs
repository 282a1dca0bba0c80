//! MODP groups 14 to 18 (RFC 3526): constant-time exponentiation with short exponents.

use std::sync::LazyLock;

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Odd, U256, U320, U384, U448, U2048, U3072, U4096, U6144, U8192, Uint};
use ike_proto::crypto::provider::Fault;
use ike_proto::rng::Rng;
use ike_proto::secret::Secret;
use ike_proto::wire::registry::KeId;
use zeroize::Zeroizing;

use crate::dh::{DiffieHellman, Group};

// The exponents are twice as long as the group is strong, with some to spare (RFC 7919 §5.2: 225, 275, 325, 375
// and 400 bits).
pub(crate) static MODP2048: DiffieHellman<Modp<{ U2048::LIMBS }, { U256::LIMBS }>> =
    Modp::new(KeId::MODP2048, || FixedMontyParams::new(Odd::from_be_hex(P2048)));
pub(crate) static MODP3072: DiffieHellman<Modp<{ U3072::LIMBS }, { U320::LIMBS }>> =
    Modp::new(KeId::MODP3072, || FixedMontyParams::new(Odd::from_be_hex(P3072)));
pub(crate) static MODP4096: DiffieHellman<Modp<{ U4096::LIMBS }, { U384::LIMBS }>> =
    Modp::new(KeId::MODP4096, || FixedMontyParams::new(Odd::from_be_hex(P4096)));
pub(crate) static MODP6144: DiffieHellman<Modp<{ U6144::LIMBS }, { U384::LIMBS }>> =
    Modp::new(KeId::MODP6144, || FixedMontyParams::new(Odd::from_be_hex(P6144)));
pub(crate) static MODP8192: DiffieHellman<Modp<{ U8192::LIMBS }, { U448::LIMBS }>> =
    Modp::new(KeId::MODP8192, || FixedMontyParams::new(Odd::from_be_hex(P8192)));

/// The integers modulo a safe prime of `LIMBS` limbs, with private exponents of `EXPONENT` limbs.
pub(crate) struct Modp<const LIMBS: usize, const EXPONENT: usize> {
    id: KeId,
    params: LazyLock<FixedMontyParams<LIMBS>>,
}

impl<const LIMBS: usize, const EXPONENT: usize> Modp<LIMBS, EXPONENT> {
    const GENERATOR: Uint<LIMBS> = Uint::from_u8(2);

    const fn new(id: KeId, params: fn() -> FixedMontyParams<LIMBS>) -> DiffieHellman<Self> {
        DiffieHellman(Self { id, params: LazyLock::new(params) })
    }

    /// `base` to the power of `private`, in as many octets as the prime has; leading zeros stay (RFC 7296 §2.14).
    fn power(&self, base: &Uint<LIMBS>, private: &Secret) -> Result<Secret, Fault> {
        if private.len() != Uint::<EXPONENT>::BYTES {
            return Err(Fault::Length);
        }
        let exponent = Zeroizing::new(Uint::<EXPONENT>::from_be_slice(private.expose()));
        let base = FixedMontyForm::new(base, &self.params);
        let power = Zeroizing::new(base.pow_bounded_exp(&exponent, Uint::<EXPONENT>::BITS));
        let octets = Zeroizing::new(Zeroizing::new(power.retrieve()).to_be_bytes());
        Ok(Secret::from_slice(octets.as_slice()))
    }
}

impl<const LIMBS: usize, const EXPONENT: usize> Group for Modp<LIMBS, EXPONENT> {
    fn id(&self) -> KeId {
        self.id
    }

    fn public_len(&self) -> usize {
        Uint::<LIMBS>::BYTES
    }

    fn private(&self, rng: &mut Rng) -> Secret {
        Secret::new(rng.octets(Uint::<EXPONENT>::BYTES))
    }

    fn public(&self, private: &Secret) -> Result<Vec<u8>, Fault> {
        Ok(self.power(&Self::GENERATOR, private)?.expose().to_vec())
    }

    /// `2 <= peer <= p - 2` leaves no value of small order, for `p` is a safe prime (RFC 6989 §2.1).
    fn agree(&self, private: &Secret, peer: &[u8]) -> Result<Secret, Fault> {
        let peer = Uint::from_be_slice(peer);
        let last = self.params.modulus().wrapping_sub(&Uint::from_u8(2));
        if peer < Uint::from_u8(2) || peer > last {
            return Err(Fault::PublicValue);
        }
        self.power(&peer, private)
    }
}

// RFC 3526 §3 to §7.
const P2048: &str = "\
    FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD\
    EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
    EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F\
    83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B\
    E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510\
    15728E5A8AACAA68FFFFFFFFFFFFFFFF\
";

const P3072: &str = "\
    FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD\
    EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
    EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F\
    83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B\
    E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510\
    15728E5A8AAAC42DAD33170D04507A33A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7\
    ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864D87602733EC86A64521F2B18177B200C\
    BBE117577A615D6C770988C0BAD946E208E24FA074E5AB3143DB5BFCE0FD108E4B82D120A93AD2CAFFFFFFFFFFFFFFFF\
";

const P4096: &str = "\
    FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD\
    EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
    EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F\
    83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B\
    E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510\
    15728E5A8AAAC42DAD33170D04507A33A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7\
    ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864D87602733EC86A64521F2B18177B200C\
    BBE117577A615D6C770988C0BAD946E208E24FA074E5AB3143DB5BFCE0FD108E4B82D120A92108011A723C12A787E6D7\
    88719A10BDBA5B2699C327186AF4E23C1A946834B6150BDA2583E9CA2AD44CE8DBBBC2DB04DE8EF92E8EFC141FBECAA6\
    287C59474E6BC05D99B2964FA090C3A2233BA186515BE7ED1F612970CEE2D7AFB81BDD762170481CD0069127D5B05AA9\
    93B4EA988D8FDDC186FFB7DC90A6C08F4DF435C934063199FFFFFFFFFFFFFFFF\
";

const P6144: &str = "\
    FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD\
    EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
    EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F\
    83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B\
    E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510\
    15728E5A8AAAC42DAD33170D04507A33A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7\
    ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864D87602733EC86A64521F2B18177B200C\
    BBE117577A615D6C770988C0BAD946E208E24FA074E5AB3143DB5BFCE0FD108E4B82D120A92108011A723C12A787E6D7\
    88719A10BDBA5B2699C327186AF4E23C1A946834B6150BDA2583E9CA2AD44CE8DBBBC2DB04DE8EF92E8EFC141FBECAA6\
    287C59474E6BC05D99B2964FA090C3A2233BA186515BE7ED1F612970CEE2D7AFB81BDD762170481CD0069127D5B05AA9\
    93B4EA988D8FDDC186FFB7DC90A6C08F4DF435C93402849236C3FAB4D27C7026C1D4DCB2602646DEC9751E763DBA37BD\
    F8FF9406AD9E530EE5DB382F413001AEB06A53ED9027D831179727B0865A8918DA3EDBEBCF9B14ED44CE6CBACED4BB1B\
    DB7F1447E6CC254B332051512BD7AF426FB8F401378CD2BF5983CA01C64B92ECF032EA15D1721D03F482D7CE6E74FEF6\
    D55E702F46980C82B5A84031900B1C9E59E7C97FBEC7E8F323A97A7E36CC88BE0F1D45B7FF585AC54BD407B22B4154AA\
    CC8F6D7EBF48E1D814CC5ED20F8037E0A79715EEF29BE32806A1D58BB7C5DA76F550AA3D8A1FBFF0EB19CCB1A313D55C\
    DA56C9EC2EF29632387FE8D76E3C0468043E8F663F4860EE12BF2D5B0B7474D6E694F91E6DCC4024FFFFFFFFFFFFFFFF\
";

const P8192: &str = "\
    FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD\
    EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
    EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F\
    83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B\
    E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510\
    15728E5A8AAAC42DAD33170D04507A33A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7\
    ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864D87602733EC86A64521F2B18177B200C\
    BBE117577A615D6C770988C0BAD946E208E24FA074E5AB3143DB5BFCE0FD108E4B82D120A92108011A723C12A787E6D7\
    88719A10BDBA5B2699C327186AF4E23C1A946834B6150BDA2583E9CA2AD44CE8DBBBC2DB04DE8EF92E8EFC141FBECAA6\
    287C59474E6BC05D99B2964FA090C3A2233BA186515BE7ED1F612970CEE2D7AFB81BDD762170481CD0069127D5B05AA9\
    93B4EA988D8FDDC186FFB7DC90A6C08F4DF435C93402849236C3FAB4D27C7026C1D4DCB2602646DEC9751E763DBA37BD\
    F8FF9406AD9E530EE5DB382F413001AEB06A53ED9027D831179727B0865A8918DA3EDBEBCF9B14ED44CE6CBACED4BB1B\
    DB7F1447E6CC254B332051512BD7AF426FB8F401378CD2BF5983CA01C64B92ECF032EA15D1721D03F482D7CE6E74FEF6\
    D55E702F46980C82B5A84031900B1C9E59E7C97FBEC7E8F323A97A7E36CC88BE0F1D45B7FF585AC54BD407B22B4154AA\
    CC8F6D7EBF48E1D814CC5ED20F8037E0A79715EEF29BE32806A1D58BB7C5DA76F550AA3D8A1FBFF0EB19CCB1A313D55C\
    DA56C9EC2EF29632387FE8D76E3C0468043E8F663F4860EE12BF2D5B0B7474D6E694F91E6DBE115974A3926F12FEE5E4\
    38777CB6A932DF8CD8BEC4D073B931BA3BC832B68D9DD300741FA7BF8AFC47ED2576F6936BA424663AAB639C5AE4F568\
    3423B4742BF1C978238F16CBE39D652DE3FDB8BEFC848AD922222E04A4037C0713EB57A81A23F0C73473FC646CEA306B\
    4BCBC8862F8385DDFA9D4B7FA2C087E879683303ED5BDD3A062B3CF5B3A278A66D2A13F83F44F82DDF310EE074AB6A36\
    4597E899A0255DC164F31CC50846851DF9AB48195DED7EA1B1D510BD7EE74D73FAF36BC31ECFA268359046F4EB879F92\
    4009438B481C6CD7889A002ED5EE382BC9190DA6FC026E479558E4475677E9AA9E3050E2765694DFC81F56E880B96E71\
    60C980DD98EDD3DFFFFFFFFFFFFFFFFF\
";

#[cfg(test)]
mod tests {
    use crypto_bigint::{Limb, NonZero, U64};
    use ike_proto::crypto::provider::KeyExchange;
    use ike_proto::rng::Seed;
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::testing::hex;

    /// Room for pi with 8256 binary digits.
    type Wide = Uint<{ U8192::LIMBS + 2 * U64::LIMBS }>;

    /// RFC 3526 defines its primes as `2^n - 2^(n-64) - 1 + 2^64 * (floor(2^(n-130) * pi) + k)`.
    #[test]
    fn primes_are_those_made_from_pi() {
        fn check<const LIMBS: usize, const EXPONENT: usize>(
            DiffieHellman(group): &DiffieHellman<Modp<LIMBS, EXPONENT>>,
            k: u64,
        ) {
            let n = Uint::<LIMBS>::BITS;
            let power = |bits| Wide::ONE.shl(bits);
            let digits = pi().shr(PI_DIGITS - (n - 130)).wrapping_add(&Wide::from_u64(k));
            let prime = digits.shl(64).wrapping_add(&power(n - 1)).wrapping_add(&power(n - 1));
            let prime = prime.wrapping_sub(&power(n - 64)).wrapping_sub(&Wide::ONE);
            assert_eq!(group.params.modulus().get().resize(), prime, "{}", group.id);
        }
        check(&MODP2048, 124_476);
        check(&MODP3072, 1_690_314);
        check(&MODP4096, 240_904);
        check(&MODP6144, 929_484);
        check(&MODP8192, 4_743_158);
    }

    const PI_DIGITS: u32 = 8256;

    /// pi as a fixed-point number, by Machin's formula: 16 arctan(1/5) - 4 arctan(1/239).
    fn pi() -> Wide {
        let (fifth, small) = (arctan_of_inverse(5), arctan_of_inverse(239));
        fifth.shl(4).wrapping_sub(&small.shl(2))
    }

    /// `1/x - 1/3x^3 + 1/5x^5 - ...`
    fn arctan_of_inverse(x: u32) -> Wide {
        let over = |number: &Wide, by: u32| number.div_rem_limb(NonZero::new(Limb::from_u32(by)).unwrap()).0;
        let mut power = over(&Wide::ONE.shl(PI_DIGITS), x);
        let (mut sum, mut divisor, mut positive) = (Wide::ZERO, 1, true);
        while power != Wide::ZERO {
            let term = over(&power, divisor);
            sum = if positive { sum.wrapping_add(&term) } else { sum.wrapping_sub(&term) };
            (power, divisor, positive) = (over(&power, x * x), divisor + 2, !positive);
        }
        sum
    }

    /// With i = 01 02 03 .. and r = ff fe fd .., SHA-256 of g^i, g^r and g^ir by Python's `pow(2, i, p)` and `hashlib`,
    /// with p as `openssl genpkey -algorithm DH -pkeyopt group:modp_2048` (and so on) has it, of
    /// the two largest as the formula gives it.
    #[test]
    fn powers_agree_with_another_implementation() {
        check_known(
            &MODP2048,
            [
                "0b9cb9036d2a594a7e3b43169bdf47ee9c7b64a2292203f1bb137b0b648d7e3c",
                "86a1d7faaf49103ab6513a58c3e43904640171424430e9e362b7600a26fa6408",
                "5b91085381e0a37a8ecdcc9c214901b3681eb500e620fa2e7a7f63246879fc43",
            ],
        );
        check_known(
            &MODP3072,
            [
                "71cd9b27251732586c6a41ac0f0a75656b6a8230b1ec2452d3bca7a4da036034",
                "00cc35c244585ded46631cd6bf9c65413591ed69cf1bdc6e4632b8b3e390660a",
                "2aab248c9578f2436ba89dd6fe38cb5a8a64170995429d6219fbc7e437a52224",
            ],
        );
        check_known(
            &MODP4096,
            [
                "98c3085677538ebfdd402b16495acba6e957e790870ccdca22443050c2fe4768",
                "dea41b0ef2a7b533aabc0283ed80537101a08823afea930071025962640b8ac0",
                "df4f6e3425c1a15e71abe8d23426328b53606f25d2d987fe90eaa2efb48ea8ec",
            ],
        );
        check_known(
            &MODP6144,
            [
                "92ab7e413f32d664bc3409384258dda1b703432fec9f2e5a02ab5b507a4e3e13",
                "7ab1fd708fc555e73689b63522105e36ac75d8be144c110e14297118cd95485a",
                "a1cbfc4304b9ca344064f71bb9f84bd84e85f517826e5ebf1c9d500ed18cf1c5",
            ],
        );
        check_known(
            &MODP8192,
            [
                "c503dad9d869f57884092c76f3a6745d71f87a7a2d295abe980e58298e3b9851",
                "931e1edd3f5f53ffc5c15640ec34423e55ba4c80e70755664295b4d27052afa4",
                "e52e50fd980f2c7fb42f6b40691871df82f4a41b9a0ba9d7b8ea6e0af7a7314c",
            ],
        );
    }

    fn check_known<const LIMBS: usize, const EXPONENT: usize>(
        group: &DiffieHellman<Modp<LIMBS, EXPONENT>>,
        digests: [&str; 3],
    ) {
        let len = Uint::<EXPONENT>::BYTES;
        let i = Secret::new((1..=0xff).take(len).collect());
        let r = Secret::new((0..=0xff).rev().take(len).collect());
        let (gi, gr) = (group.0.public(&i).unwrap(), group.0.public(&r).unwrap());
        let (by_i, by_r) = (group.finish(&i, &gr).unwrap(), group.finish(&r, &gi).unwrap());
        assert_eq!(by_i, by_r);
        for (value, digest) in [&gi[..], &gr, by_i.expose()].into_iter().zip(digests) {
            assert_eq!(value.len(), group.public_len());
            assert_eq!(Sha256::digest(value).as_slice(), hex(digest), "{}", group.id());
        }
    }

    #[test]
    fn values_keep_their_leading_zeros() {
        let padded = |number: u8, len: usize| [vec![0; len - 1], vec![number]].concat();
        let shared = MODP2048.finish(&Secret::new(padded(3, 32)), &padded(4, 256)).unwrap();
        assert_eq!(shared.expose(), padded(64, 256));
        assert_eq!(MODP2048.0.public(&Secret::new(padded(7, 32))), Ok(padded(128, 256)));
    }

    #[test]
    fn only_two_to_p_minus_two_are_public_values() {
        fn check<const LIMBS: usize, const EXPONENT: usize>(group: &DiffieHellman<Modp<LIMBS, EXPONENT>>) {
            let (private, _) = group.start(&Seed::from_u64(1)).unwrap();
            let p = group.0.params.modulus().get();
            let finish = |y: Uint<LIMBS>| group.finish(&private, y.to_be_bytes().as_slice());
            let below = |d: u8| p.wrapping_sub(&Uint::from_u8(d));
            for y in [Uint::ZERO, Uint::ONE, below(1), p, p.wrapping_add(&Uint::ONE), Uint::MAX] {
                assert_eq!(finish(y), Err(Fault::PublicValue), "{}: {y}", group.id());
            }
            for y in [Uint::from_u8(2), below(2)] {
                assert!(finish(y).is_ok(), "{}: {y}", group.id());
            }
        }
        check(&MODP2048);
        check(&MODP3072);
        check(&MODP4096);
        check(&MODP6144);
        check(&MODP8192);
    }
}
