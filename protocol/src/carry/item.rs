//! Names of items within one encounter: six bytes under a salt that both sides have a share in.
//!
//! ```text
//!   envelope   4 bytes for the first five bytes of its tag, 2 bytes for its content id
//!   vaccine    6 bytes for its tag
//! ```
//! Whoever expects a tag, or holds a sheet with its first five bytes, can tell the envelope by the first four bytes of
//! its name; to everybody else the name says nothing outside this encounter. SipHash-2-4 (Aumasson, Bernstein,
//! INDOCRYPT 2012) under the salt is a pseudo-random function of short inputs, which is all that is needed here.

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
        let [a, b, c, d] = self.tag_part(&short(tag));
        let [e, f, ..] = self.hash(b'c', cid.as_bytes()).to_be_bytes();
        [a, b, c, d, e, f]
    }

    /// The name of a vaccine.
    pub fn vaccine(&self, tag: &Tag) -> ItemId {
        let [a, b, c, d, e, f, ..] = self.hash(b'v', tag.as_bytes()).to_be_bytes();
        [a, b, c, d, e, f]
    }

    /// What names of envelopes with this tag begin with.
    pub fn tag_part(&self, tag: &ShortTag) -> [u8; 4] {
        let [a, b, c, d, ..] = self.hash(b't', tag).to_be_bytes();
        [a, b, c, d]
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
