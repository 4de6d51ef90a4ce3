//! Pickup sheets: the truncated tags that somebody expects, handed to those appointed to carry for them.
//!
//! ```text
//!   own tags, depth 0 ┐
//!   sheets of those who appointed this device, depth 1 ┘──▶ a friend keeps them one deeper: 1 and 2
//! ```
//! A sheet is opaque numbers: whoever holds it knows which envelopes to pick up and from whom it has the sheet, not who
//! writes, nor which numbers are the friend's own and which decoys. Only what has changed is told at the next meeting.

use crate::carry::item::ShortTag;
use crate::limits::{ENCOUNTER_IDS_PER_FRAME_MAX, SHEET_ENTRIES_MAX, SHEET_ENTRIES_PER_MEETING_MAX};
use crate::wire::encounter::{SheetEntry, SheetPart};

/// The deepest entries that are passed on.
pub const DEPTH_TOLD_MAX: u8 = 1;

/// Entries in order of their tags, none twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sheet {
    /// Raised with every change; 0 before the first.
    pub version: u32,
    entries: Vec<SheetEntry>,
}

impl Sheet {
    /// A sheet of these entries; of a tag that comes twice the smaller depth counts. What is over
    /// `limits::SHEET_ENTRIES_MAX` is left out, the deepest first.
    pub fn new(version: u32, mut entries: Vec<SheetEntry>) -> Self {
        if entries.len() > SHEET_ENTRIES_MAX {
            entries.sort_unstable_by_key(|(tag, depth)| (*depth, *tag));
            entries.truncate(SHEET_ENTRIES_MAX);
        }
        entries.sort_unstable();
        entries.dedup_by_key(|(tag, _)| *tag);
        Self { version, entries }
    }

    /// The entries, by tag.
    pub fn entries(&self) -> &[SheetEntry] {
        &self.entries
    }

    /// The depth of a tag, if it is on the sheet.
    pub fn depth(&self, tag: &ShortTag) -> Option<u8> {
        let at = self.entries.binary_search_by_key(tag, |(tag, _)| *tag).ok()?;
        self.entries.get(at).map(|(_, depth)| *depth)
    }

    /// The smallest depth of the tags that begin like this.
    pub fn depth_of_prefix(&self, prefix: [u8; 4]) -> Option<u8> {
        let [a, b, c, d] = prefix;
        let from = self.entries.partition_point(|(tag, _)| *tag < [a, b, c, d, 0]);
        let same = self.entries.get(from..)?.iter().take_while(|(tag, _)| tag.starts_with(&prefix));
        same.map(|(_, depth)| *depth).min()
    }

    /// What has to be told so that this sheet becomes `wanted`, as far as one meeting allows, and what it is then.
    pub fn step_to(&self, wanted: &Sheet) -> (Sheet, Vec<SheetPart>) {
        let missing = |of: &Sheet, entry: &SheetEntry| of.entries.binary_search(entry).is_err();
        let gone = self.entries.iter().filter(|entry| wanted.depth(&entry.0).is_none());
        let removed: Vec<ShortTag> = gone.map(|(tag, _)| *tag).take(SHEET_ENTRIES_PER_MEETING_MAX).collect();
        let fresh = wanted.entries.iter().filter(|entry| missing(self, entry)).copied();
        let added: Vec<SheetEntry> = fresh.take(SHEET_ENTRIES_PER_MEETING_MAX).collect();
        if removed.is_empty() && added.is_empty() && self.version > 0 {
            return (self.clone(), Vec::new());
        }
        let mut next = self.clone();
        next.version = self.version.wrapping_add(1).max(1);
        let mut parts: Vec<SheetPart> = Vec::new();
        for part in removed.chunks(ENCOUNTER_IDS_PER_FRAME_MAX) {
            parts.push(SheetPart { removed: part.to_vec(), ..SheetPart::default() });
        }
        for part in added.chunks(ENCOUNTER_IDS_PER_FRAME_MAX) {
            parts.push(SheetPart { entries: part.to_vec(), ..SheetPart::default() });
        }
        if parts.is_empty() {
            parts.push(SheetPart::default());
        }
        let last = parts.len() - 1;
        for (at, part) in parts.iter_mut().enumerate() {
            (part.version, part.last) = (next.version, at == last);
            part.replaces = at == 0 && self.version == 0;
            next.apply(part, 0);
        }
        (next, parts)
    }

    /// Takes a part in; depths grow by `deeper`. Entries beyond the bounds are left out.
    pub fn apply(&mut self, part: &SheetPart, deeper: u8) {
        if part.replaces {
            self.entries.clear();
        }
        if !part.removed.is_empty() {
            let mut removed = part.removed.clone();
            removed.sort_unstable();
            self.entries.retain(|(tag, _)| removed.binary_search(tag).is_err());
        }
        let room = SHEET_ENTRIES_MAX.saturating_sub(self.entries.len());
        let told = part.entries.iter().filter(|(_, depth)| *depth <= DEPTH_TOLD_MAX).take(room);
        let mut fresh: Vec<SheetEntry> = told.map(|(tag, depth)| (*tag, depth + deeper)).collect();
        if !fresh.is_empty() {
            fresh.sort_unstable();
            fresh.dedup_by_key(|(tag, _)| *tag);
            self.entries = merged(&self.entries, &fresh);
        }
        if part.last {
            self.version = part.version;
        }
    }

    /// As it is stored: version, then entries of 6 bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.version.to_be_bytes().to_vec();
        for (tag, depth) in &self.entries {
            out.extend_from_slice(tag);
            out.push(*depth);
        }
        out
    }

    /// The inverse of [`Sheet::encode`].
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first_chunk()?;
        let (records, rest) = rest.as_chunks::<6>();
        let entries = records.iter().map(|[a, b, c, d, e, depth]| ([*a, *b, *c, *d, *e], *depth)).collect();
        rest.is_empty().then(|| Self::new(u32::from_be_bytes(*version), entries))
    }
}

/// Both lists in one, in order; of a tag in both the fresh entry counts.
fn merged(old: &[SheetEntry], fresh: &[SheetEntry]) -> Vec<SheetEntry> {
    let mut out = Vec::with_capacity(old.len() + fresh.len());
    let (mut old, mut fresh) = (old.iter().peekable(), fresh.iter().peekable());
    loop {
        let next = match (old.peek(), fresh.peek()) {
            (Some(a), Some(b)) if a.0 < b.0 => old.next(),
            (Some(a), Some(b)) => {
                if a.0 == b.0 {
                    old.next();
                }
                fresh.next()
            }
            (Some(_), None) => old.next(),
            (None, _) => fresh.next(),
        };
        match next {
            Some(entry) => out.push(*entry),
            None => return out,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entries() -> impl Strategy<Value = Vec<SheetEntry>> {
        proptest::collection::vec((0_u8..60, 0_u8..=1).prop_map(|(n, depth)| ([n, 1, 2, 3, 4], depth)), 0..60)
    }

    proptest! {
        /// Whatever was told before, the holder ends with the sheet that is wanted, one deeper.
        #[test]
        fn the_holder_follows(sheets in proptest::collection::vec(entries(), 1..5)) {
            let (mut sent, mut held) = (Sheet::default(), Sheet::default());
            for wanted in sheets {
                let wanted = Sheet::new(0, wanted);
                let (next, parts) = sent.step_to(&wanted);
                for part in &parts {
                    held.apply(part, 1);
                }
                sent = next;
                prop_assert_eq!(&sent.entries, &wanted.entries);
                prop_assert_eq!(sent.version, held.version);
                let deeper: Vec<SheetEntry> = wanted.entries.iter().map(|(tag, depth)| (*tag, depth + 1)).collect();
                prop_assert_eq!(&held.entries, &deeper);
                prop_assert_eq!(Sheet::decode(&held.encode()), Some(held.clone()));
            }
        }
    }

    #[test]
    fn a_large_sheet_takes_several_meetings_and_a_flood_is_bounded() {
        let entry = |n: u32| ([0, (n >> 24) as u8, (n >> 16) as u8, (n >> 8) as u8, n as u8], 0);
        let wanted = Sheet::new(0, (0..20_000).map(entry).collect());
        assert_eq!(wanted.entries.len(), SHEET_ENTRIES_MAX);
        let (mut sent, mut meetings) = (Sheet::default(), 0);
        while sent.entries != wanted.entries {
            sent = sent.step_to(&wanted).0;
            meetings += 1;
        }
        assert_eq!(meetings, 2);
        let flood = SheetPart { entries: (0..20_000).map(entry).collect(), ..SheetPart::default() };
        let mut held = Sheet::default();
        held.apply(&flood, 1);
        held.apply(&flood, 1);
        assert!(held.entries.len() <= SHEET_ENTRIES_MAX);
    }
}
