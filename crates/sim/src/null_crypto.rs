//! A provider that is fast and honest, and not secret: shared secrets need both sides, every flipped bit is noticed,
//! keys matter, and the text inside an SK payload stays readable, so that a trace can show it.

use ike_proto::crypto::provider::{Fault, KeyExchange, Prf, Protection, ProtectionKeys, Provider};
use ike_proto::rng::Seed;
use ike_proto::secret::{Secret, same};
use ike_proto::wire::registry::{EncrId, IntegId, KeId, PrfId};

/// The provider; it has no state. Its lengths are those of the real algorithms.
#[derive(Clone, Copy, Default, Debug)]
pub struct NullProvider;

impl NullProvider {
    pub(crate) fn find_prf(id: PrfId) -> Option<&'static dyn Prf> {
        let found = PRFS.iter().find(|prf| prf.id == id)?;
        Some(found)
    }

    pub(crate) fn find_key_exchange(id: KeId) -> Option<&'static dyn KeyExchange> {
        let found = METHODS.iter().find(|method| method.id == id)?;
        Some(found)
    }
}

/// Every kind of protection there is.
pub(crate) fn protections() -> impl Iterator<Item = &'static dyn Protection> {
    PROTECTIONS.iter().map(|protection| -> &dyn Protection { protection })
}

/// The place of a kind among [`protections`].
pub(crate) fn place(encr: EncrId, key_bits: Option<u16>, integ: Option<IntegId>) -> Option<usize> {
    let integ = integ.filter(|id| *id != IntegId::NONE);
    PROTECTIONS.iter().position(|it| (it.encr, it.key_bits, it.integ) == (encr, key_bits, integ))
}

impl Provider for NullProvider {
    fn prf(&self, id: PrfId) -> Option<&dyn Prf> {
        Self::find_prf(id)
    }

    fn protection(
        &self,
        encr: EncrId,
        key_bits: Option<u16>,
        integ: Option<IntegId>,
    ) -> Option<&dyn Protection> {
        protections().nth(place(encr, key_bits, integ)?)
    }

    fn key_exchange(&self, id: KeId) -> Option<&dyn KeyExchange> {
        Self::find_key_exchange(id)
    }

    fn sha1(&self, parts: &[&[u8]]) -> [u8; 20] {
        let mut mixer = Mixer::new(&[]);
        parts.iter().for_each(|part| mixer.absorb(part));
        let mut out = [0; 20];
        mixer.fill(&mut out);
        out
    }
}

/// 128 bits of state over octets. Each step is a bijection of the state for given input and of the input for a given state:
/// two inputs of one length that differ in one word never end in the same state.
#[derive(Clone, Debug)]
pub struct Mixer {
    lanes: [u64; 2],
    word: u64,
    filled: u32,
    length: u64,
}

impl Mixer {
    /// A state that depends on `key`.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        let mut mixer =
            Self { lanes: [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344], word: 0, filled: 0, length: 0 };
        mixer.absorb(key);
        // Where the key ends is part of the state: a key and text are not another key and text.
        mixer.close();
        mixer
    }

    /// Takes in `octets`; how they are cut into calls does not matter.
    pub fn absorb(&mut self, octets: &[u8]) {
        for octet in octets {
            self.word = (self.word << 8) | u64::from(*octet);
            self.filled += 1;
            self.length += 1;
            if self.filled == 8 {
                self.step();
            }
        }
    }

    /// The state as a number, for comparing texts.
    #[must_use]
    pub fn digest(mut self) -> Digest {
        self.close();
        Digest(self.lanes.map(scramble))
    }

    /// Fills `out` with what follows from the state.
    pub fn fill(mut self, out: &mut [u8]) {
        self.close();
        for (number, chunk) in (0_u64..).zip(out.chunks_mut(16)) {
            let turn = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let words = self.lanes.map(|lane| scramble(lane.wrapping_add(turn)).to_be_bytes());
            let block = words.as_flattened();
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }

    fn close(&mut self) {
        if self.filled > 0 {
            self.step();
        }
        self.word = self.length;
        self.step();
    }

    fn step(&mut self) {
        let [left, right] = self.lanes;
        self.lanes = [
            (left ^ self.word).wrapping_mul(0x9fb2_1c65_1e98_df25).rotate_left(29),
            right.wrapping_add(self.word).wrapping_mul(0xd6e8_feb8_6659_fd93).rotate_left(37),
        ];
        (self.word, self.filled) = (0, 0);
    }
}

/// What a [`Mixer`] makes of octets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Digest(pub [u64; 2]);

impl Digest {
    /// Of some octets.
    #[must_use]
    pub fn of(octets: &[u8]) -> Self {
        let mut mixer = Mixer::new(&[]);
        mixer.absorb(octets);
        mixer.digest()
    }
}

/// A bijection of 64 bits in which every input bit reaches every output bit (the finisher of SplitMix64).
const fn scramble(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

struct NullPrf {
    id: PrfId,
    len: usize,
}

const PRFS: &[NullPrf] = &[
    NullPrf { id: PrfId::HMAC_SHA2_256, len: 32 },
    NullPrf { id: PrfId::HMAC_SHA2_384, len: 48 },
    NullPrf { id: PrfId::HMAC_SHA2_512, len: 64 },
];

impl Prf for NullPrf {
    fn id(&self) -> PrfId {
        self.id
    }

    fn output_len(&self) -> usize {
        self.len
    }

    fn compute(&self, key: &[u8], parts: &[&[u8]]) -> Secret {
        let mut mixer = Mixer::new(key);
        mixer.absorb(&self.id.0.to_be_bytes());
        parts.iter().for_each(|part| mixer.absorb(part));
        let mut out = vec![0; self.len];
        mixer.fill(&mut out);
        Secret::new(out)
    }
}

struct NullProtection {
    encr: EncrId,
    key_bits: Option<u16>,
    integ: Option<IntegId>,
    encr_key: usize,
    integ_key: usize,
    iv: usize,
    block: usize,
    icv: usize,
}

const fn aead(encr: EncrId, key_bits: Option<u16>, encr_key: usize) -> NullProtection {
    NullProtection { encr, key_bits, integ: None, encr_key, integ_key: 0, iv: 8, block: 1, icv: 16 }
}

const fn cbc(bits: u16, encr_key: usize, integ: IntegId, integ_key: usize) -> NullProtection {
    NullProtection {
        encr: EncrId::AES_CBC,
        key_bits: Some(bits),
        integ: Some(integ),
        encr_key,
        integ_key,
        iv: 16,
        block: 16,
        icv: integ_key / 2,
    }
}

const PROTECTIONS: &[NullProtection] = &[
    aead(EncrId::AES_GCM_16, Some(128), 20),
    aead(EncrId::AES_GCM_16, Some(192), 28),
    aead(EncrId::AES_GCM_16, Some(256), 36),
    aead(EncrId::CHACHA20_POLY1305, None, 36),
    cbc(128, 16, IntegId::HMAC_SHA2_256_128, 32),
    cbc(128, 16, IntegId::HMAC_SHA2_384_192, 48),
    cbc(128, 16, IntegId::HMAC_SHA2_512_256, 64),
    cbc(192, 24, IntegId::HMAC_SHA2_256_128, 32),
    cbc(192, 24, IntegId::HMAC_SHA2_384_192, 48),
    cbc(192, 24, IntegId::HMAC_SHA2_512_256, 64),
    cbc(256, 32, IntegId::HMAC_SHA2_256_128, 32),
    cbc(256, 32, IntegId::HMAC_SHA2_384_192, 48),
    cbc(256, 32, IntegId::HMAC_SHA2_512_256, 64),
];

impl NullProtection {
    fn check(
        &self,
        keys: &ProtectionKeys,
        iv: &[u8],
        associated: &[u8],
        text: &[u8],
    ) -> Result<Vec<u8>, Fault> {
        let fits = keys.encr.len() == self.encr_key
            && keys.integ.len() == self.integ_key
            && iv.len() == self.iv
            && text.len().is_multiple_of(self.block);
        if !fits {
            return Err(Fault::Length);
        }
        let mut mixer = Mixer::new(&[keys.encr.expose(), keys.integ.expose()].concat());
        // The three lengths keep octets from moving between the parts unnoticed.
        for part in [associated, iv, text] {
            mixer.absorb(&part.len().to_be_bytes());
            mixer.absorb(part);
        }
        let mut icv = vec![0; self.icv];
        mixer.fill(&mut icv);
        Ok(icv)
    }
}

impl Protection for NullProtection {
    fn encr_key_len(&self) -> usize {
        self.encr_key
    }

    fn integ_key_len(&self) -> usize {
        self.integ_key
    }

    fn iv_len(&self) -> usize {
        self.iv
    }

    fn block_len(&self) -> usize {
        self.block
    }

    fn icv_len(&self) -> usize {
        self.icv
    }

    fn initialization_vector(&self, _keys: &ProtectionKeys, sequence: u64, out: &mut Vec<u8>) {
        out.extend(sequence.to_be_bytes());
        out.resize(out.len() + self.iv - 8, 0);
    }

    fn seal(
        &self,
        keys: &ProtectionKeys,
        iv: &[u8],
        associated: &[u8],
        text: &mut [u8],
    ) -> Result<Vec<u8>, Fault> {
        self.check(keys, iv, associated, text)
    }

    fn open(
        &self,
        keys: &ProtectionKeys,
        iv: &[u8],
        associated: &[u8],
        text: &mut [u8],
        icv: &[u8],
    ) -> Result<(), Fault> {
        let wanted = self.check(keys, iv, associated, text)?;
        if same(&wanted, icv) { Ok(()) } else { Err(Fault::Unauthentic) }
    }
}

/// Diffie-Hellman in the field of 2^61 - 1, the public value padded to the length of the method it stands for.
struct NullKe {
    id: KeId,
    public: usize,
}

const METHODS: &[NullKe] = &[
    NullKe { id: KeId::MODP2048, public: 256 },
    NullKe { id: KeId::MODP3072, public: 384 },
    NullKe { id: KeId::MODP4096, public: 512 },
    NullKe { id: KeId::MODP6144, public: 768 },
    NullKe { id: KeId::MODP8192, public: 1024 },
    NullKe { id: KeId::ECP256, public: 64 },
    NullKe { id: KeId::ECP384, public: 96 },
    NullKe { id: KeId::ECP521, public: 132 },
    NullKe { id: KeId::CURVE25519, public: 32 },
];

const MODULUS: u64 = (1 << 61) - 1;
const GENERATOR: u64 = 37;

fn power(base: u64, mut exponent: u64) -> u64 {
    let times = |left: u64, right: u64| {
        // Below the modulus, so it fits.
        u64::try_from(u128::from(left) * u128::from(right) % u128::from(MODULUS)).unwrap_or(0)
    };
    let (mut square, mut product) = (base, 1);
    while exponent > 0 {
        if exponent & 1 == 1 {
            product = times(product, square);
        }
        square = times(square, square);
        exponent >>= 1;
    }
    product
}

impl NullKe {
    /// The group element, then octets that follow from it.
    fn public_value(&self, element: u64) -> Vec<u8> {
        let mut out = vec![0; self.public];
        let mut mixer = Mixer::new(&self.id.0.to_be_bytes());
        mixer.absorb(&element.to_be_bytes());
        mixer.fill(&mut out);
        out[..8].copy_from_slice(&element.to_be_bytes());
        out
    }

    fn element(&self, public: &[u8]) -> Result<u64, Fault> {
        if public.len() != self.public {
            return Err(Fault::Length);
        }
        let (head, _) = public.split_first_chunk().ok_or(Fault::Length)?;
        let element = u64::from_be_bytes(*head);
        let valid = (2..=MODULUS - 2).contains(&element) && self.public_value(element) == public;
        if valid { Ok(element) } else { Err(Fault::PublicValue) }
    }

    fn exponent(seed: &Seed) -> u64 {
        let [left, _] = Digest::of(seed.expose()).0;
        left % (MODULUS - 3) + 2
    }

    fn shared(&self, element: u64) -> Secret {
        let mut mixer = Mixer::new(b"shared");
        mixer.absorb(&self.id.0.to_be_bytes());
        mixer.absorb(&element.to_be_bytes());
        let mut out = vec![0; 32];
        mixer.fill(&mut out);
        Secret::new(out)
    }
}

impl KeyExchange for NullKe {
    fn id(&self) -> KeId {
        self.id
    }

    fn public_len(&self) -> usize {
        self.public
    }

    fn reply_len(&self) -> usize {
        self.public
    }

    fn start(&self, seed: &Seed) -> Result<(Secret, Vec<u8>), Fault> {
        let exponent = Self::exponent(seed);
        let private = Secret::from_slice(&exponent.to_be_bytes());
        Ok((private, self.public_value(power(GENERATOR, exponent))))
    }

    fn respond(&self, seed: &Seed, public: &[u8]) -> Result<(Vec<u8>, Secret), Fault> {
        let theirs = self.element(public)?;
        let exponent = Self::exponent(seed);
        Ok((self.public_value(power(GENERATOR, exponent)), self.shared(power(theirs, exponent))))
    }

    fn finish(&self, private: &Secret, reply: &[u8]) -> Result<Secret, Fault> {
        let theirs = self.element(reply)?;
        let exponent = <[u8; 8]>::try_from(private.expose()).map_err(|_| Fault::Length)?;
        Ok(self.shared(power(theirs, u64::from_be_bytes(exponent))))
    }
}

#[cfg(test)]
mod tests {
    use ike_proto::crypto::suite;

    use super::*;

    #[test]
    fn both_sides_agree_and_a_third_does_not() {
        for method in METHODS {
            let (private, public) = method.start(&Seed::from_u64(1)).unwrap();
            let (reply, theirs) = method.respond(&Seed::from_u64(2), &public).unwrap();
            assert!(method.finish(&private, &reply).unwrap() == theirs);
            let (other, _) = method.start(&Seed::from_u64(3)).unwrap();
            assert!(method.finish(&other, &reply).unwrap() != theirs);
            assert_eq!((public.len(), reply.len()), suite::ke_lens(method.id).unwrap());
        }
    }

    #[test]
    fn a_damaged_public_value_is_refused() {
        let method = &METHODS[0];
        let (_, public) = method.start(&Seed::from_u64(1)).unwrap();
        for bit in 0..public.len() * 8 {
            let mut damaged = public.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(method.respond(&Seed::from_u64(2), &damaged).is_err(), "bit {bit}");
        }
        assert_eq!(method.respond(&Seed::from_u64(2), &public[1..]).err(), Some(Fault::Length));
    }

    #[test]
    fn a_flipped_bit_anywhere_or_another_key_is_noticed() {
        for protection in PROTECTIONS {
            let keys = |first: u8| ProtectionKeys {
                encr: Secret::new([vec![first], vec![7; protection.encr_key - 1]].concat()),
                integ: Secret::new(vec![9; protection.integ_key]),
            };
            let (associated, mut iv) = (*b"the header", Vec::new());
            protection.initialization_vector(&keys(1), 5, &mut iv);
            let mut text = vec![3; 48];
            let icv = protection.seal(&keys(1), &iv, &associated, &mut text).unwrap();
            assert_eq!((iv.len(), icv.len()), (protection.iv, protection.icv));
            let open = |key, parts: &mut [Vec<u8>; 4]| {
                let [associated, iv, text, icv] = parts;
                protection.open(&keys(key), iv, associated, text, icv)
            };
            let whole = [associated.to_vec(), iv, text, icv];
            assert_eq!(open(1, &mut whole.clone()), Ok(()));
            assert_eq!(open(2, &mut whole.clone()), Err(Fault::Unauthentic));
            for part in 0..whole.len() {
                for bit in 0..whole[part].len() * 8 {
                    let mut damaged = whole.clone();
                    damaged[part][bit / 8] ^= 1 << (bit % 8);
                    assert_eq!(open(1, &mut damaged), Err(Fault::Unauthentic), "part {part} bit {bit}");
                }
            }
        }
    }

    #[test]
    fn lengths_are_those_of_the_suite_table() {
        for protection in PROTECTIONS {
            let encr = suite::Encr { id: protection.encr, key_bits: protection.key_bits };
            assert_eq!(encr.key_len(), protection.encr_key, "{encr}");
            assert_eq!(encr.is_aead(), protection.integ.is_none());
            let integ = protection.integ.map_or(Some(0), suite::integ_key_len);
            assert_eq!(integ, Some(protection.integ_key), "{encr}");
        }
        for prf in PRFS {
            assert_eq!(suite::prf_len(prf.id), Some(prf.len));
        }
    }

    #[test]
    fn a_prf_depends_on_its_key_its_text_and_not_on_how_the_text_is_cut() {
        let prf = &PRFS[0];
        let of = |key: &[u8], parts: &[&[u8]]| prf.compute(key, parts);
        assert!(of(b"k", &[b"ab", b"c"]) == of(b"k", &[b"abc"]));
        assert!(of(b"k", &[b"abc"]) != of(b"l", &[b"abc"]));
        assert!(of(b"k", &[b"abc"]) != of(b"ka", &[b"bc"]));
        assert!(of(b"k", &[b"abc"]) != of(b"k", &[b"abc\0"]));
    }
}
