//! Reversible padding: one byte 0x80, then zeros, up to a bucket that is shared with everything of about that size.
//!
//! The bucket is the size of the *whole envelope* as a stranger sees it; what is added around the plaintext later
//! (fixed part, tag, encrypted header, AEAD tag) is passed as `overhead`. Unpadding takes the same time for every
//! amount of padding. Padding is inside the encryption: nothing here authenticates.

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::limits::ENVELOPE_BYTES_MAX;

/// The class of the first link an envelope takes; decides the buckets, the content never does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PadClass {
    /// C0, radios of a few kilobytes a second: the next multiple of 16 bytes.
    Constrained,
    /// C2 and mailboxes: 512, 2,048, 16,384, then multiples of 16,384 bytes.
    Rich,
}

/// Why a plaintext cannot be padded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PaddingError {
    /// With padding and overhead it would be longer than the largest envelope.
    #[error("too long for an envelope")]
    TooLong,
}

/// Step of the constrained class.
const CONSTRAINED_STEP: usize = 16;
/// First buckets of the rich class.
const RICH_BUCKETS: [usize; 2] = [512, 2_048];
/// Step of the rich class beyond its first buckets.
const RICH_STEP: usize = 16 * 1_024;
/// The byte that ends the plaintext.
const MARK: u8 = 0x80;
/// Bytes looked at in one step.
const WORD_BYTES: usize = size_of::<u64>();

impl PadClass {
    /// The smallest bucket that holds `len` bytes; `None` beyond the largest envelope.
    pub fn bucket(self, len: usize) -> Option<usize> {
        let bucket = match self {
            Self::Constrained => len.max(1).checked_next_multiple_of(CONSTRAINED_STEP),
            Self::Rich => match RICH_BUCKETS.into_iter().find(|&bucket| len <= bucket) {
                Some(bucket) => Some(bucket),
                None => len.checked_next_multiple_of(RICH_STEP),
            },
        };
        bucket.filter(|&bucket| bucket <= ENVELOPE_BYTES_MAX)
    }
}

/// Pads so that `overhead` bytes around the result make a whole bucket of `class`.
///
/// # Errors
/// [`PaddingError::TooLong`] if no bucket is large enough.
pub fn pad(class: PadClass, plain: &[u8], overhead: usize) -> Result<Vec<u8>, PaddingError> {
    let least = plain.len().checked_add(1).and_then(|len| len.checked_add(overhead)).ok_or(PaddingError::TooLong)?;
    let bucket = class.bucket(least).ok_or(PaddingError::TooLong)?;
    let len = bucket.checked_sub(overhead).ok_or(PaddingError::TooLong)?;
    pad_to(plain, len).ok_or(PaddingError::TooLong)
}

/// Pads to exactly `len` bytes; `None` if the plaintext and its mark do not fit.
pub fn pad_to(plain: &[u8], len: usize) -> Option<Vec<u8>> {
    if plain.len() >= len {
        return None;
    }
    let mut out = Vec::with_capacity(len);
    out.extend_from_slice(plain);
    out.push(MARK);
    out.resize(len, 0);
    Some(out)
}

/// The plaintext without its padding; `None` if the end is not padding. Time depends on the length alone.
///
/// The mark is the last byte that is not zero. It is looked for eight bytes at a time: a step that takes the same time
/// for every byte costs as much for a kilobyte of padding as decrypting it.
pub fn unpad(padded: &[u8]) -> Option<&[u8]> {
    let (mut last, mut end_of_last, mut found) = (0u64, 0u64, Choice::from(0));
    let mut end = padded.len();
    for chunk in padded.rchunks(WORD_BYTES) {
        let mut bytes = [0; WORD_BYTES];
        let (_, high) = bytes.split_at_mut(WORD_BYTES - chunk.len());
        high.copy_from_slice(chunk);
        let word = u64::from_le_bytes(bytes);
        let is_last = !word.ct_eq(&0) & !found;
        last.conditional_assign(&word, is_last);
        end_of_last.conditional_assign(&(end as u64), is_last);
        found |= is_last;
        end -= chunk.len();
    }
    // The bytes of the word are in order, so its highest bits are its last byte.
    let zeroes = u64::from(last.leading_zeros() / 8);
    let mark = (last.checked_shl(8 * u32::try_from(zeroes).ok()?)? >> 56) as u8;
    if !bool::from(found & mark.ct_eq(&MARK)) {
        return None;
    }
    padded.get(..usize::try_from(end_of_last.checked_sub(zeroes + 1)?).ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_sizes_fall_into_known_buckets() {
        for (len, bucket) in [(0, 512), (512, 512), (513, 2_048), (2_049, 16_384), (16_385, 32_768), (98_304, 98_304)] {
            assert_eq!(PadClass::Rich.bucket(len), Some(bucket), "{len}");
        }
        for (len, bucket) in [(0, 16), (16, 16), (17, 32), (40, 48)] {
            assert_eq!(PadClass::Constrained.bucket(len), Some(bucket), "{len}");
        }
        assert_eq!(PadClass::Rich.bucket(ENVELOPE_BYTES_MAX + 1), None);
        assert_eq!(PadClass::Constrained.bucket(usize::MAX), None);
    }

    #[test]
    fn a_plaintext_beyond_the_largest_envelope_is_refused() {
        assert_eq!(pad(PadClass::Rich, &[0; ENVELOPE_BYTES_MAX], 0), Err(PaddingError::TooLong));
        assert_eq!(pad(PadClass::Rich, b"x", usize::MAX), Err(PaddingError::TooLong));
        let largest = vec![7; ENVELOPE_BYTES_MAX - 101];
        assert_eq!(pad(PadClass::Rich, &largest, 100).map(|p| p.len()), Ok(ENVELOPE_BYTES_MAX - 100));
    }

    #[test]
    fn bytes_without_padding_are_refused() {
        for bytes in [&[][..], &[0, 0, 0], &[1, 2, 3], &[0x80, 1, 0], &[0x80, 0, 0x81], &[0x80, 0x40]] {
            assert_eq!(unpad(bytes), None, "{bytes:?}");
        }
        assert_eq!(unpad(&[0x80]), Some(&[][..]));
        assert_eq!(unpad(&[0x80, 0x80, 0]), Some(&[0x80][..]));
    }

    proptest! {
        #[test]
        fn what_is_padded_fills_a_bucket_and_comes_back(
            plain in proptest::collection::vec(any::<u8>(), 0..5_000), overhead in 0usize..300, rich: bool,
        ) {
            let class = if rich { PadClass::Rich } else { PadClass::Constrained };
            let padded = pad(class, &plain, overhead).unwrap();
            let whole = padded.len() + overhead;
            let in_set = if rich { [512, 2_048].contains(&whole) || whole.is_multiple_of(16_384) } else { whole.is_multiple_of(16) };
            prop_assert!(in_set, "{}", whole);
            prop_assert_eq!(unpad(&padded), Some(&plain[..]));
        }

        #[test]
        fn the_mark_is_the_last_byte_that_is_not_zero(
            bytes in proptest::collection::vec(prop_oneof![4 => Just(0u8), 2 => Just(MARK), 1 => any::<u8>()], 0..40),
        ) {
            let last = bytes.iter().rposition(|&byte| byte != 0);
            let expected = last.filter(|&at| bytes[at] == MARK).map(|at| &bytes[..at]);
            prop_assert_eq!(unpad(&bytes), expected);
        }

        #[test]
        fn unpadding_foreign_bytes_never_panics(bytes: Vec<u8>) {
            if let Some(plain) = unpad(&bytes) {
                prop_assert_eq!(pad_to(plain, bytes.len()), Some(bytes.clone()));
            }
        }
    }
}
