//! `Noise_NN_25519_ChaChaPoly_SHA256`: fresh keys at both ends, no identity. Who the other end is, a proof inside says.
//!
//! Written on the primitives of `silbo_protocol::crypto`, one generation of crates for everything; `snow` is the
//! independent witness in the tests. A message that is refused leaves nothing behind: the link is closed.

use silbo_protocol::chance::Chance;
use silbo_protocol::crypto::aead;
use silbo_protocol::crypto::mac::mac;
use silbo_protocol::crypto::x25519::{PublicKey, SecretKey};
use silbo_protocol::crypto::{Secret, sha256};

/// Exactly 32 bytes, so it is the first hash itself (Noise §5.2).
const NAME: &[u8; 32] = b"Noise_NN_25519_ChaChaPoly_SHA256";
/// Bytes a seal adds.
pub const TAG_BYTES: usize = 16;
/// The first message: an ephemeral key and a payload in clear.
pub const FIRST_BYTES: usize = 32 + PAYLOAD.len();
/// The second one: an ephemeral key and a sealed payload.
pub const SECOND_BYTES: usize = 32 + PAYLOAD.len() + TAG_BYTES;
/// What both sides say in the handshake: the version of this link.
const PAYLOAD: [u8; 1] = [1];
/// Bound into the handshake, so that it is good for nothing else.
const PROLOGUE: &[u8] = b"silbo/1/packets";

/// The other end broke the rules of the handshake or a seal does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the other end does not speak this link")]
pub struct Refused;

struct Symmetric {
    chaining: Secret<32>,
    hash: [u8; 32],
}

impl Symmetric {
    fn new() -> Self {
        let mut symmetric = Self { chaining: Secret::new(*NAME), hash: *NAME };
        symmetric.mix_hash(PROLOGUE);
        symmetric
    }

    fn mix_hash(&mut self, data: &[u8]) {
        self.hash = sha256(&[&self.hash[..], data].concat());
    }

    /// Two outputs of Noise's HKDF.
    fn derive(&self, input: &[u8]) -> (Secret<32>, Secret<32>) {
        let temporary = Secret::new(mac(self.chaining.expose(), input));
        let first = Secret::new(mac(temporary.expose(), &[1]));
        let mut block = [2; 33];
        block[..32].copy_from_slice(first.expose());
        let block = Secret::new(block);
        let second = Secret::new(mac(temporary.expose(), block.expose()));
        (first, second)
    }
}

/// The dialling end, after its first message.
pub struct Initiator {
    symmetric: Symmetric,
    ephemeral: SecretKey,
}

/// Both directions of an agreed link.
pub struct Keys {
    /// For what we send.
    pub out: Direction,
    /// For what we get.
    pub back: Direction,
    /// The hash over the whole handshake: the same at both ends and on no other link.
    pub hash: [u8; 32],
}

/// The key of one direction and the number of the next record.
pub struct Direction {
    key: Secret<32>,
    next: u64,
}

impl Direction {
    fn new(key: Secret<32>) -> Self {
        Self { key, next: 0 }
    }

    /// Seals the next record.
    pub fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        let nonce = self.nonce();
        self.next += 1;
        aead::seal(&self.key, &nonce, &[], plain)
    }

    /// Opens the next record. One that is refused does not move the counter.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn open(&mut self, sealed: &[u8]) -> Result<Vec<u8>, Refused> {
        let plain = aead::open(&self.key, &self.nonce(), &[], sealed).map_err(|_| Refused)?;
        self.next += 1;
        Ok(plain)
    }

    fn nonce(&self) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.next.to_le_bytes());
        nonce
    }
}

/// Begins: the state and the first message.
pub fn begin(chance: &mut Chance) -> (Initiator, Vec<u8>) {
    let ephemeral = SecretKey::generate(chance);
    let mut symmetric = Symmetric::new();
    let public = ephemeral.public();
    symmetric.mix_hash(public.as_bytes());
    symmetric.mix_hash(&PAYLOAD);
    (Initiator { symmetric, ephemeral }, [&public.as_bytes()[..], &PAYLOAD].concat())
}

/// Answers a first message: the keys and the second message.
///
/// # Errors
/// [`Refused`].
pub fn answer(first: &[u8], chance: &mut Chance) -> Result<(Keys, Vec<u8>), Refused> {
    let (theirs, payload) = first.split_at_checked(32).ok_or(Refused)?;
    if payload != PAYLOAD {
        return Err(Refused);
    }
    let theirs = PublicKey::read(theirs).map_err(|_| Refused)?;
    let mut symmetric = Symmetric::new();
    symmetric.mix_hash(theirs.as_bytes());
    symmetric.mix_hash(payload);
    let ephemeral = SecretKey::generate(chance);
    let public = ephemeral.public();
    symmetric.mix_hash(public.as_bytes());
    let key = mix_key(&mut symmetric, &ephemeral, &theirs)?;
    let sealed = aead::seal(&key, &[0; 12], &symmetric.hash, &PAYLOAD);
    symmetric.mix_hash(&sealed);
    let (to_us, from_us) = symmetric.derive(&[]);
    let keys = Keys { out: Direction::new(from_us), back: Direction::new(to_us), hash: symmetric.hash };
    Ok((keys, [&public.as_bytes()[..], &sealed].concat()))
}

impl Initiator {
    /// Reads the second message.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn finish(mut self, second: &[u8]) -> Result<Keys, Refused> {
        let (theirs, sealed) = second.split_at_checked(32).ok_or(Refused)?;
        let theirs = PublicKey::read(theirs).map_err(|_| Refused)?;
        self.symmetric.mix_hash(theirs.as_bytes());
        let key = mix_key(&mut self.symmetric, &self.ephemeral, &theirs)?;
        let payload = aead::open(&key, &[0; 12], &self.symmetric.hash, sealed).map_err(|_| Refused)?;
        if payload != PAYLOAD {
            return Err(Refused);
        }
        self.symmetric.mix_hash(sealed);
        let (from_us, to_us) = self.symmetric.derive(&[]);
        Ok(Keys { out: Direction::new(from_us), back: Direction::new(to_us), hash: self.symmetric.hash })
    }
}

fn mix_key(symmetric: &mut Symmetric, own: &SecretKey, theirs: &PublicKey) -> Result<Secret<32>, Refused> {
    let shared = own.diffie_hellman(theirs).map_err(|_| Refused)?;
    let (chaining, key) = symmetric.derive(shared.expose());
    symmetric.chaining = chaining;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chance(seed: u8) -> Chance {
        Chance::from_seed([seed; 32])
    }

    fn snow(initiator: bool) -> snow::HandshakeState {
        let builder = snow::Builder::new("Noise_NN_25519_ChaChaPoly_SHA256".parse().expect("a pattern"));
        let builder = builder.prologue(PROLOGUE).expect("a prologue");
        if initiator { builder.build_initiator() } else { builder.build_responder() }.expect("a state")
    }

    #[test]
    fn both_ends_agree_on_keys_and_hash() {
        let (initiator, first) = begin(&mut chance(1));
        assert_eq!(first.len(), FIRST_BYTES);
        let (mut theirs, second) = answer(&first, &mut chance(2)).expect("an answer");
        assert_eq!(second.len(), SECOND_BYTES);
        let mut ours = initiator.finish(&second).expect("keys");
        assert_eq!(ours.hash, theirs.hash);
        for text in [&b"one"[..], b"two", b""] {
            let sealed = ours.out.seal(text);
            assert_eq!(theirs.back.open(&sealed).expect("opens"), text);
            let sealed = theirs.out.seal(text);
            assert_eq!(ours.back.open(&sealed).expect("opens"), text);
        }
    }

    #[test]
    fn an_independent_responder_understands_us() {
        let (initiator, first) = begin(&mut chance(3));
        let mut other = snow(false);
        let mut buffer = [0; 128];
        let got = other.read_message(&first, &mut buffer).expect("our first message");
        assert_eq!(buffer[..got], PAYLOAD);
        let len = other.write_message(&PAYLOAD, &mut buffer).expect("a second message");
        let mut keys = initiator.finish(&buffer[..len]).expect("keys");
        assert_eq!(other.get_handshake_hash(), keys.hash);
        let mut other = other.into_transport_mode().expect("done");
        for text in [&b"first"[..], b"second"] {
            let mut plain = [0; 64];
            let len = other.read_message(&keys.out.seal(text), &mut plain).expect("opens");
            assert_eq!(&plain[..len], text);
            let len = other.write_message(text, &mut buffer).expect("seals");
            assert_eq!(keys.back.open(&buffer[..len]).expect("opens"), text);
        }
    }

    #[test]
    fn an_independent_initiator_understands_us() {
        let mut other = snow(true);
        let mut buffer = [0; 128];
        let len = other.write_message(&PAYLOAD, &mut buffer).expect("a first message");
        let (mut keys, second) = answer(&buffer[..len], &mut chance(4)).expect("an answer");
        other.read_message(&second, &mut buffer).expect("our second message");
        assert_eq!(other.get_handshake_hash(), keys.hash);
        let mut other = other.into_transport_mode().expect("done");
        let len = other.write_message(b"to us", &mut buffer).expect("seals");
        assert_eq!(keys.back.open(&buffer[..len]).expect("opens"), b"to us");
        let len = other.read_message(&keys.out.seal(b"from us"), &mut buffer).expect("opens");
        assert_eq!(&buffer[..len], b"from us");
    }

    #[test]
    fn every_changed_bit_of_a_handshake_is_refused_or_seen() {
        let (_, first) = begin(&mut chance(5));
        for bit in 0..first.len() * 8 {
            let (initiator, mut first) = begin(&mut chance(5));
            first[bit / 8] ^= 1 << (bit % 8);
            if let Ok((_, second)) = answer(&first, &mut chance(6)) {
                assert!(initiator.finish(&second).is_err(), "bit {bit} of the first message");
            }
        }
        let (_, second) = answer(&first, &mut chance(6)).expect("an answer");
        for bit in 0..second.len() * 8 {
            let (initiator, _) = begin(&mut chance(5));
            let mut second = second.clone();
            second[bit / 8] ^= 1 << (bit % 8);
            assert!(initiator.finish(&second).is_err(), "bit {bit} of the second message");
        }
        for len in 0..first.len() {
            assert!(answer(&first[..len], &mut chance(6)).is_err());
        }
    }

    #[test]
    fn a_record_that_does_not_open_changes_nothing() {
        let (initiator, first) = begin(&mut chance(7));
        let (mut theirs, second) = answer(&first, &mut chance(8)).expect("an answer");
        let mut ours = initiator.finish(&second).expect("keys");
        let sealed = ours.out.seal(b"true");
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(theirs.back.open(&changed), Err(Refused));
        }
        assert_eq!(theirs.back.open(&sealed).expect("the true one still opens"), b"true");
        assert_eq!(theirs.back.open(&sealed), Err(Refused), "and only once");
    }
}
