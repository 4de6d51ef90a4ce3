//! `KDF(ikm, salt, info)`: HKDF-SHA-256. Every info string starts with `silbo/1/`.

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{Secret, fields};

/// The beginning of every info string.
pub const INFO_PREFIX: &str = "silbo/1/";

/// More output was asked for than HKDF can give (255 × 32 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more bytes were asked for than HKDF-SHA-256 gives")]
pub struct TooLong;

/// Derives `N` bytes (at most 8,160) from one input.
///
/// # Panics
/// If `info` does not start with [`INFO_PREFIX`] or `N` is above 8,160: both are mistakes in the calling line.
pub fn kdf<const N: usize>(ikm: &[u8], salt: &[u8], info: &str) -> Secret<N> {
    assert!(info.starts_with(INFO_PREFIX), "every info string starts with silbo/1/");
    let mut out = Zeroizing::new([0; N]);
    hkdf_sha256(ikm, salt, info.as_bytes(), out.as_mut_slice()).expect("no key here is longer than 8,160 bytes");
    Secret::new(*out)
}

/// Derives `N` bytes from several inputs, each length-prefixed.
///
/// # Panics
/// As [`kdf`].
pub fn kdf_fields<const N: usize>(ikm: &[&[u8]], salt: &[u8], info: &str) -> Secret<N> {
    kdf(&Zeroizing::new(fields(ikm)), salt, info)
}

/// Bare HKDF-SHA-256, for the published vectors. The protocol uses [`kdf`].
///
/// # Errors
/// [`TooLong`] when `out` is longer than 8,160 bytes.
pub fn hkdf_sha256(ikm: &[u8], salt: &[u8], info: &[u8], out: &mut [u8]) -> Result<(), TooLong> {
    Hkdf::<Sha256>::new(Some(salt), ikm).expand(info, out).map_err(|_| TooLong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_salt_and_input_each_change_the_key() {
        let key = kdf::<32>(b"ikm", b"salt", "silbo/1/a");
        assert_ne!(key, kdf::<32>(b"ikm", b"salt", "silbo/1/b"));
        assert_ne!(key, kdf::<32>(b"ikm", b"tlas", "silbo/1/a"));
        assert_ne!(key, kdf::<32>(b"mki", b"salt", "silbo/1/a"));
    }

    #[test]
    #[should_panic(expected = "silbo/1/")]
    fn an_info_string_without_the_prefix_is_a_bug() {
        let _ = kdf::<32>(b"", b"", "x");
    }
}
