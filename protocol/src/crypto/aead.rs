//! ChaCha20-Poly1305 with full 16-byte tags. Every key here is used once or with a nonce derived beside it.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, KeyInit, Nonce};

use super::Secret;

/// Bytes a sealed text is longer than its plaintext.
pub const TAG_BYTES: usize = 16;

/// The text was not sealed with this key, nonce and associated data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ciphertext does not verify")]
pub struct Rejected;

/// Encrypts and authenticates. The pair of key and nonce must never be used for a second plaintext.
///
/// # Panics
/// Above 256 GiB, which no bounded input reaches.
pub fn seal(key: &Secret<32>, nonce: &[u8; 12], ad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    cipher(key)
        .encrypt(&Nonce::from(*nonce), Payload { msg: plaintext, aad: ad })
        .expect("a plaintext is far below 256 GiB")
}

/// Verifies and decrypts.
///
/// # Errors
/// [`Rejected`] for anything but the exact bytes that were sealed.
pub fn open(key: &Secret<32>, nonce: &[u8; 12], ad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Rejected> {
    cipher(key).decrypt(&Nonce::from(*nonce), Payload { msg: sealed, aad: ad }).map_err(|_| Rejected)
}

fn cipher(key: &Secret<32>) -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new(&Key::from(*key.expose()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_only_with_the_same_data() {
        let key = Secret::new([1; 32]);
        let sealed = seal(&key, &[2; 12], b"ad", b"text");
        assert_eq!(sealed.len(), 4 + TAG_BYTES);
        assert_eq!(open(&key, &[2; 12], b"ad", &sealed), Ok(b"text".to_vec()));
        assert_eq!(open(&key, &[2; 12], b"da", &sealed), Err(Rejected));
        assert_eq!(open(&key, &[3; 12], b"ad", &sealed), Err(Rejected));
        assert_eq!(open(&Secret::new([2; 32]), &[2; 12], b"ad", &sealed), Err(Rejected));
        assert_eq!(open(&key, &[2; 12], b"ad", &sealed[..15]), Err(Rejected));
    }
}
