//! Bare ChaCha20, only for ratchet headers: their authenticity comes from the body's AEAD, which covers them.

use chacha20::cipher::{KeyIvInit, StreamCipher};
use chacha20::{ChaCha20, Key, Nonce};

use super::Secret;

/// Encrypts or decrypts in place. Gives secrecy and no authenticity.
pub fn apply(key: &Secret<32>, nonce: &[u8; 12], data: &mut [u8]) {
    ChaCha20::new(&Key::from(*key.expose()), &Nonce::from(*nonce)).apply_keystream(data);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applying_twice_restores_and_a_prefix_decrypts_alone() {
        let key = Secret::new([7; 32]);
        let mut whole = *b"header bytes";
        apply(&key, &[1; 12], &mut whole);
        assert_ne!(&whole, b"header bytes");
        let mut prefix = whole[..6].to_vec();
        apply(&key, &[1; 12], &mut prefix);
        assert_eq!(prefix, b"header");
    }
}
