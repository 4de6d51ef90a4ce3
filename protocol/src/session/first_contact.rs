//! Envelopes outside of a session: the box around an init block, and the tags of invites.
//!
//! ```text
//!   fixed 4 | tag 12 | salt 16 | ChaCha20-Poly1305 under KDF(key, salt), AD = fixed and tag
//! ```
//! The key comes from the invite (first contact) or from the pair of devices (session reset): to everybody else the
//! box looks like any other envelope, and two boxes for one device show no common prekey id. The salt is there
//! because one tag may be boxed more than once: by a retry, or by two people who answer the same invite.
//! The box proves nothing about its sender; the handshake inside does.

use super::tags::tag_of;
use crate::chance::Chance;
use crate::crypto::hash::trunc;
use crate::crypto::mac::{mac_fields, mac_trunc};
use crate::crypto::{Secret, aead, kdf};
use crate::ids::{Preimage, Tag};
use crate::limits::ENVELOPE_BYTES_MAX;

/// Fixed part and tag.
const FIXED_BYTES: usize = 4 + Tag::LEN;
const SALT_BYTES: usize = 16;
/// Bytes an envelope is longer than what is boxed in it.
pub const BOX_OVERHEAD: usize = FIXED_BYTES + SALT_BYTES + aead::TAG_BYTES;
/// The salt makes the key fresh, so the nonce is constant.
const NONCE_ONCE: [u8; 12] = [0; 12];

/// Tag number `n` of a one-time invite. Only the two ends know its preimage, so it can be receipted.
pub fn one_time_tag(key: &Secret<32>, n: u32) -> (Tag, Preimage) {
    let preimage = Preimage(mac_trunc(key.expose(), &[b"v", &n.to_be_bytes()]));
    (tag_of(&preimage), preimage)
}

/// Tag number `n` of a reusable invite. Many know the key, so there is no preimage: nobody can purge another's request.
pub fn reusable_tag(key: &Secret<32>, n: u32) -> Tag {
    Tag(trunc(&mac_fields(key.expose(), &[b"g", &n.to_be_bytes()])))
}

/// Boxes padded bytes into a whole envelope. `fixed` is the envelope's fixed part and tag, authenticated with them.
pub fn seal_box(key: &Secret<32>, fixed: &[u8; FIXED_BYTES], padded: &[u8], chance: &mut Chance) -> Vec<u8> {
    let salt: [u8; SALT_BYTES] = chance.bytes();
    let body = aead::seal(&box_key(key, &salt), &NONCE_ONCE, fixed, padded);
    [fixed.as_slice(), &salt, &body].concat()
}

/// The padded bytes of a whole envelope. `None` for anything that was not boxed with this key.
pub fn open_box(key: &Secret<32>, envelope: &[u8]) -> Option<Vec<u8>> {
    if envelope.len() > ENVELOPE_BYTES_MAX {
        return None;
    }
    let (fixed, rest) = envelope.split_at_checked(FIXED_BYTES)?;
    let (salt, body) = rest.split_at_checked(SALT_BYTES)?;
    aead::open(&box_key(key, salt), &NONCE_ONCE, fixed, body).ok()
}

fn box_key(key: &Secret<32>, salt: &[u8]) -> Secret<32> {
    kdf(key.expose(), salt, "silbo/1/box")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(plain: &[u8], chance: &mut Chance) -> Vec<u8> {
        seal_box(&Secret::new([4; 32]), &[7; FIXED_BYTES], plain, chance)
    }

    #[test]
    fn a_box_opens_to_what_was_put_in() {
        let sealed = boxed(b"init", &mut Chance::from_seed([1; 32]));
        assert_eq!(sealed.len(), 4 + BOX_OVERHEAD);
        assert_eq!(open_box(&Secret::new([4; 32]), &sealed), Some(b"init".to_vec()));
        assert_eq!(open_box(&Secret::new([5; 32]), &sealed), None);
        assert_eq!(open_box(&Secret::new([4; 32]), &vec![0; ENVELOPE_BYTES_MAX + 1]), None);
    }

    #[test]
    fn one_tag_boxed_twice_uses_two_keys() {
        let mut chance = Chance::from_seed([1; 32]);
        let (one, two) = (boxed(&[0; 64], &mut chance), boxed(&[0; 64], &mut chance));
        assert_ne!(one[FIXED_BYTES + SALT_BYTES..], two[FIXED_BYTES + SALT_BYTES..]);
    }

    #[test]
    fn t14_every_flipped_bit_of_a_box_is_rejected() {
        let (key, sealed) = (Secret::new([4; 32]), boxed(&[9; 200], &mut Chance::from_seed([1; 32])));
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open_box(&key, &flipped), None, "bit {bit}");
        }
        for len in 0..sealed.len() {
            assert_eq!(open_box(&key, &sealed[..len]), None, "{len} bytes");
        }
    }

    #[test]
    fn tags_follow_the_invite_and_the_number() {
        let (a, b) = (Secret::new([1; 32]), Secret::new([2; 32]));
        let (tag, preimage) = one_time_tag(&a, 0);
        assert_eq!(tag_of(&preimage), tag);
        assert_ne!(one_time_tag(&a, 1).0, tag);
        assert_ne!(one_time_tag(&b, 0).0, tag);
        assert_ne!(reusable_tag(&a, 0), tag);
        assert_ne!(reusable_tag(&a, 0), reusable_tag(&a, 1));
    }
}
