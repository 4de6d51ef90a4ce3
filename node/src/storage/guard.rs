//! One byte at the end of every stored value, against pages that read as zeroes.
//!
//! SQLCipher authenticates each page but accepts one that is all zeroes, because SQLite reads such pages when it grows
//! a file. Of a long value, SQLite notices a zeroed page in the middle (the chain of pages ends too early), but not the
//! last one: the value's tail would silently be zeroes. The last byte of every value therefore is not zero.

const GUARD: u8 = 1;

/// The value as it is stored.
pub(super) fn guarded(value: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(value.len() + 1);
    stored.extend_from_slice(value);
    stored.push(GUARD);
    stored
}

/// The value as it was given, or `None` if its end is not what was written.
pub(super) fn unguarded(mut stored: Vec<u8>) -> Option<Vec<u8>> {
    (stored.pop() == Some(GUARD)).then_some(stored)
}
