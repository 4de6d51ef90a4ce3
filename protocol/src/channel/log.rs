//! Which posts of a channel are here. What is held is a function of the set of posts that came, not of their order.
//!
//! The owner signs one post for each number, and each names the one before it. Two posts for one number, or one that names
//! another predecessor than the one that is here, are a *fork*: both are signed, so only the owner, or whoever has its
//! key, can have made it. What came first stays, what follows is still taken, and the channel is marked for ever.

use std::collections::BTreeMap;

use super::post::{Post, PostHash};
use super::ranges::Ranges;

/// What a channel takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Posts with a smaller number are not wanted: they were dropped, or are of before the link.
    pub floor: u64,
    /// Days before this one cannot be read, or are over.
    pub day_min: u32,
    /// Later days have not come.
    pub day_max: u32,
}

/// What becomes of a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is taken.
    New,
    /// It is taken, and does not follow what is here: a fork.
    Diverging,
    /// It is here.
    Known,
    /// Another one with its number is here: a fork.
    Contradicting,
    /// It is out of bounds.
    Refused,
}

/// The posts that are here.
#[derive(Clone, Debug, Default)]
pub struct ChannelLog {
    entries: BTreeMap<u64, Entry>,
    held: Ranges,
    bytes: usize,
}

/// What is kept in memory of a post.
#[derive(Clone, Debug)]
struct Entry {
    hash: PostHash,
    prev: PostHash,
    day: u32,
    bytes: usize,
}

impl ChannelLog {
    /// What would become of a post; nothing is changed.
    pub fn judge(&self, post: &Post, bounds: &Bounds) -> Verdict {
        let place = post.place();
        if place.seq < bounds.floor || place.day < bounds.day_min || place.day > bounds.day_max {
            return Verdict::Refused;
        }
        match self.entries.get(&place.seq) {
            Some(known) if known.hash == post.hash() => return Verdict::Known,
            Some(_) => return Verdict::Contradicting,
            None => {}
        }
        let before = self.entries.range(..place.seq).next_back();
        let after = self.entries.range(place.seq..).next();
        if before.is_some_and(|(_, entry)| entry.day > place.day)
            || after.is_some_and(|(_, entry)| entry.day < place.day)
        {
            return Verdict::Refused;
        }
        let follows = before.is_none_or(|(seq, entry)| seq + 1 != place.seq || entry.hash == place.prev);
        let is_followed = after.is_none_or(|(seq, entry)| place.seq + 1 != *seq || entry.prev == post.hash());
        if follows && is_followed { Verdict::New } else { Verdict::Diverging }
    }

    /// Takes a post that [`Self::judge`] found new or diverging. `bytes`: its length as it is stored.
    pub fn insert(&mut self, post: &Post, bytes: usize) {
        let place = post.place();
        let entry = Entry { hash: post.hash(), prev: place.prev, day: place.day, bytes };
        self.bytes += bytes;
        self.held.insert(place.seq);
        if let Some(replaced) = self.entries.insert(place.seq, entry) {
            self.bytes -= replaced.bytes;
        }
    }

    /// Drops the post with the smallest number, and says which that was.
    pub fn drop_first(&mut self) -> Option<u64> {
        let (seq, entry) = self.entries.pop_first()?;
        self.bytes -= entry.bytes;
        self.held.remove_below(seq + 1);
        Some(seq)
    }

    /// The day of the post with the smallest number.
    pub fn first_day(&self) -> Option<u32> {
        self.entries.first_key_value().map(|(_, entry)| entry.day)
    }

    /// Number and hash of the last post.
    pub fn head(&self) -> Option<(u64, PostHash)> {
        self.entries.last_key_value().map(|(seq, entry)| (*seq, entry.hash))
    }

    /// The hash of a post that is here.
    pub fn hash_of(&self, seq: u64) -> Option<PostHash> {
        self.entries.get(&seq).map(|entry| entry.hash)
    }

    /// The day of a post that is here.
    pub fn day_of(&self, seq: u64) -> Option<u32> {
        self.entries.get(&seq).map(|entry| entry.day)
    }

    /// The smallest number of those of a day or later.
    pub fn first_since(&self, day: u32) -> Option<u64> {
        self.entries.iter().find(|(_, entry)| entry.day >= day).map(|(seq, _)| *seq)
    }

    /// Numbers of what is here.
    pub fn held(&self) -> &Ranges {
        &self.held
    }

    /// How many posts are here.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True without a post.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Their bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
