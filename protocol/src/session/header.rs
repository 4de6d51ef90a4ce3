//! The header of a ratchet message: `flags 1 | salt 8 | [DH 32] | PN varint | loghead 3`, encrypted.
//!
//! ChaCha20 under the chain's header cipher key with the tag as nonce; the body's AEAD covers the encrypted bytes.
//! There is no length in clear: the flags, decrypted first, and the varint decide where the header ends.
//! The salt (8 bytes more than protocol.md §2.4) goes into the message key, so that a state restored from a
//! backup that seals another text for the same place does not use a key and nonce twice (threats C4). In that
//! case two headers share a keystream: their XOR shows at most that PN or the log head differ.

use crate::crypto::x25519::PublicKey;
use crate::crypto::{Secret, stream};
use crate::ids::Tag;

/// Longest header: flags, salt, DH, five varint bytes, log head.
const HEADER_BYTES_MAX: usize = 1 + SALT_BYTES + 32 + 5 + 3;
/// Fresh bytes a message mixes into its key.
const SALT_BYTES: usize = 8;
/// Flag: the sender's ratchet key is present.
const HAS_DH: u8 = 1;

/// Length of a header.
pub(super) fn sealed_len(has_dh: bool, previous_len: u32) -> usize {
    let dh = if has_dh { 32 } else { 0 };
    1 + SALT_BYTES + dh + prost::encoding::encoded_len_varint(u64::from(previous_len)) + 3
}

/// A header in clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) salt: [u8; SALT_BYTES],
    pub(super) dh: Option<PublicKey>,
    pub(super) previous_len: u32,
    pub(super) log_head: [u8; 3],
}

impl Header {
    /// The encrypted bytes.
    pub(super) fn seal(&self, key: &Secret<32>, tag: &Tag) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES_MAX);
        out.push(if self.dh.is_some() { HAS_DH } else { 0 });
        out.extend_from_slice(&self.salt);
        if let Some(dh) = &self.dh {
            out.extend_from_slice(dh.as_bytes());
        }
        prost::encoding::encode_varint(u64::from(self.previous_len), &mut out);
        out.extend_from_slice(&self.log_head);
        stream::apply(key, &tag.0, &mut out);
        out
    }

    /// Reads the header in front of `sealed`, and how many bytes it has. What it says is a claim until the body opens.
    pub(super) fn open(key: &Secret<32>, tag: &Tag, sealed: &[u8]) -> Option<(Self, usize)> {
        let mut clear = sealed.get(..HEADER_BYTES_MAX.min(sealed.len()))?.to_vec();
        stream::apply(key, &tag.0, &mut clear);
        let mut rest = clear.as_slice();
        let flags = take::<1>(&mut rest)?[0];
        if flags & !HAS_DH != 0 {
            return None;
        }
        let salt = take(&mut rest)?;
        let dh = if flags & HAS_DH == 0 { None } else { Some(PublicKey::read(&take::<32>(&mut rest)?).ok()?) };
        let previous_len = minimal_varint(&mut rest)?;
        let log_head = take(&mut rest)?;
        Some((Self { salt, dh, previous_len, log_head }, clear.len() - rest.len()))
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*first)
}

/// A u32 in its only accepted encoding.
fn minimal_varint(rest: &mut &[u8]) -> Option<u32> {
    let before = rest.len();
    let value = prost::encoding::decode_varint(rest).ok()?;
    let minimal = prost::encoding::encoded_len_varint(value) == before - rest.len();
    u32::try_from(value).ok().filter(|_| minimal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::x25519::SecretKey;

    fn header(dh: bool, previous_len: u32) -> Header {
        let dh = dh.then(|| SecretKey::from_bytes([3; 32]).public());
        Header { salt: [1; 8], dh, previous_len, log_head: [7, 8, 9] }
    }

    #[test]
    fn a_header_reads_back_with_any_body_behind_it() {
        let (key, tag) = (Secret::new([1; 32]), Tag([2; 12]));
        for wanted in [header(false, 0), header(true, 0), header(false, 300), header(true, u32::MAX)] {
            let mut sealed = wanted.seal(&key, &tag);
            let len = sealed.len();
            sealed.extend_from_slice(&[0xEE; 100]);
            assert_eq!(Header::open(&key, &tag, &sealed), Some((wanted, len)));
        }
        assert_eq!(header(false, 0).seal(&key, &tag).len(), 13);
    }

    #[test]
    fn t15_unknown_flags_long_varints_and_short_headers_are_refused() {
        let (key, tag) = (Secret::new([1; 32]), Tag([2; 12]));
        let sealed = header(false, 5).seal(&key, &tag);
        for len in 0..sealed.len() {
            assert_eq!(Header::open(&key, &tag, &sealed[..len]), None, "{len} bytes");
        }
        for bit in 1..8 {
            let mut flipped = sealed.clone();
            flipped[0] ^= 1 << bit;
            assert_eq!(Header::open(&key, &tag, &flipped), None, "flag {bit}");
        }
        let mut padded = [&[0; 9][..], &[0x80, 0x00], &[0; 3]].concat();
        stream::apply(&key, &tag.0, &mut padded);
        assert_eq!(Header::open(&key, &tag, &padded), None);
    }
}
