//! Names of items within one encounter: six bytes.
//!
//! ```text
//!   envelope   the first 4 bytes of its tag, then 2 bytes for its content id under the salt of the encounter
//!   vaccine    6 bytes for its tag under the salt
//! ```
//! Whoever expects a tag, or has it on a sheet, finds the envelope by the first four bytes without computing anything.
//! That tells nobody anything: who is at the other end of the link may ask for every envelope, and nobody else reads
//! the link. The salted bytes keep a body that somebody made for the same tag apart from the real one, and cannot be
//! prepared. SipHash-2-4: Aumasson, Bernstein, INDOCRYPT 2012.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use crate::ids::{Cid, Tag};
use crate::wire::encounter::ItemId;

/// First bytes of a tag, as sheets hold them.
pub type ShortTag = [u8; 5];

/// Makes the names of one encounter.
#[derive(Clone, Copy, Debug)]
pub struct Namer {
    salt: [u8; 16],
}

impl Namer {
    /// Under the salt of an encounter.
    pub fn new(salt: [u8; 16]) -> Self {
        Self { salt }
    }

    /// The name of an envelope.
    pub fn envelope(&self, tag: &Tag, cid: &Cid) -> ItemId {
        let [a, b, c, d, ..] = tag.0;
        let [e, f, ..] = self.hash(b'c', cid.as_bytes()).to_be_bytes();
        [a, b, c, d, e, f]
    }

    /// The name of a vaccine.
    pub fn vaccine(&self, tag: &Tag) -> ItemId {
        let [a, b, c, d, e, f, ..] = self.hash(b'v', tag.as_bytes()).to_be_bytes();
        [a, b, c, d, e, f]
    }

    fn hash(&self, kind: u8, bytes: &[u8]) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.salt);
        hasher.write_u8(kind);
        hasher.write(bytes);
        hasher.finish()
    }
}

/// The first five bytes of a tag.
pub fn short(tag: &Tag) -> ShortTag {
    let [a, b, c, d, e, ..] = tag.0;
    [a, b, c, d, e]
}
