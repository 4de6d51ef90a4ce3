//! What two devices share outside of sessions: link tokens and the tags of session resets.

use super::tags::tag_of;
use crate::crypto::kdf::kdf_fields;
use crate::crypto::mac::mac_trunc;
use crate::crypto::x25519::{PublicKey, SecretKey, X25519Error};
use crate::crypto::{Secret, kdf};
use crate::ids::{AccountId, Preimage, Tag};

/// The static secret of two devices. Both ends compute the same.
///
/// # Errors
/// [`X25519Error::SmallOrder`] if the agreement gives nothing.
pub fn pair_secret(own_ddh: &SecretKey, peer_ddh: &PublicKey) -> Result<Secret<32>, X25519Error> {
    let own = own_ddh.public();
    let (low, high) = if own < *peer_ddh { (&own, peer_ddh) } else { (peer_ddh, &own) };
    let shared = own_ddh.diffie_hellman(peer_ddh)?;
    Ok(kdf_fields(&[shared.expose(), &low.typed(), &high.typed()], b"", "silbo/1/pair"))
}

/// Tag number `n` of the envelopes by which `from` offers `to` a new session of this epoch.
pub fn reset_tag(pair: &Secret<32>, from: &AccountId, to: &AccountId, epoch: u32, n: u32) -> (Tag, Preimage) {
    let key = kdf::<32>(pair.expose(), b"", "silbo/1/reset");
    let parts: [&[u8]; 4] = [from.as_bytes(), to.as_bytes(), &epoch.to_be_bytes(), &n.to_be_bytes()];
    let preimage = Preimage(mac_trunc(key.expose(), &parts));
    (tag_of(&preimage), preimage)
}

/// How `sender_peer` shows `receiver_peer` on a link that they are contacts, bound to the sender's `Hello.nonce`.
pub fn link_token(pair: &Secret<32>, sender_peer: &[u8], receiver_peer: &[u8], nonce: &[u8; 16]) -> [u8; 8] {
    let key = kdf::<32>(pair.expose(), b"", "silbo/1/link");
    mac_trunc(key.expose(), &[sender_peer, receiver_peer, nonce])
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: AccountId = AccountId([1; 32]);
    const B: AccountId = AccountId([2; 32]);

    #[test]
    fn both_ends_share_one_secret() {
        let (a, b) = (SecretKey::from_bytes([1; 32]), SecretKey::from_bytes([2; 32]));
        assert_eq!(pair_secret(&a, &b.public()), pair_secret(&b, &a.public()));
    }

    #[test]
    fn a_link_token_is_bound_to_direction_peers_and_nonce() {
        let pair = Secret::new([5; 32]);
        let token = link_token(&pair, b"a", b"b", &[1; 16]);
        assert_ne!(token, link_token(&pair, b"b", b"a", &[1; 16]));
        assert_ne!(token, link_token(&pair, b"a", b"c", &[1; 16]));
        assert_ne!(token, link_token(&pair, b"a", b"b", &[2; 16]));
        assert_eq!(token, link_token(&pair, b"a", b"b", &[1; 16]));
    }

    #[test]
    fn reset_tags_differ_by_direction_epoch_and_number() {
        let pair = Secret::new([5; 32]);
        let (tag, preimage) = reset_tag(&pair, &A, &B, 1, 0);
        assert_eq!(tag_of(&preimage), tag);
        for other in [reset_tag(&pair, &B, &A, 1, 0), reset_tag(&pair, &A, &B, 2, 0), reset_tag(&pair, &A, &B, 1, 1)] {
            assert_ne!(other.0, tag);
        }
    }
}
