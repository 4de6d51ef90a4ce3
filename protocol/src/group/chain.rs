//! Sender chains: for each epoch and each device one, known to all members, on which only that device sends.
//!
//! ```text
//!   chain root ──▶ seed of device d ──▶ tag key · ck ──▶ mk_0, ck' ──▶ mk_1, ck'' …
//! ```
//! A chain is only its seed until somebody is heard on it. Tags are plain: every member can compute them, so there is
//! no preimage by which one member could purge another's letters. Nothing here verifies a sender; that is the
//! signature in [`super::letter`].

use std::collections::BTreeMap;

use super::epoch::ChainRoot;
use crate::crypto::{Secret, kdf};
use crate::ids::{EpochId, GroupDevice, Tag};
use crate::limits::{
    GROUP_CHAINS_MAX, GROUP_JUMP_MAX, GROUP_SKIPPED_KEYS_MAX, GROUP_TAG_WINDOW, GROUP_TAG_WINDOW_SILENT,
    SKIPPED_KEY_AGE_MS, TAG_LANDMARK_STEP,
};
use crate::session::first_contact::reusable_tag;
use crate::session::{chain_step, window};
use crate::time::UnixTime;

/// Where a letter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LetterPlace {
    /// The epoch.
    pub epoch: EpochId,
    /// Place of the sender among the epoch's writers.
    pub writer: u16,
    /// The number in its chain.
    pub n: u32,
}

/// The chain of one device in one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chain {
    /// Nobody has been heard on it; its seed.
    Silent(Secret<32>),
    /// It has moved, or is about to.
    Heard(Box<Heard>),
}

/// A chain that is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    pub(super) tag_key: Secret<32>,
    pub(super) chain_key: Secret<32>,
    pub(super) next: u32,
}

/// Why a place is not reached. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// The place is behind: read already, or its key has expired.
    #[error("the letter has been read, or its key has expired")]
    Behind,
    /// The place is more than `limits::GROUP_JUMP_MAX` ahead.
    #[error("the letter is too far ahead")]
    TooFar,
    /// No such chain.
    #[error("there is no such chain")]
    Unknown,
}

/// A chain moved behind a place, and the keys of the places it passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    pub(super) chain: Chain,
    pub(super) message_key: Secret<32>,
    pub(super) passed: Vec<(u32, Secret<32>)>,
}

impl Chain {
    /// The tag of place `n`.
    pub fn tag(&self, n: u32) -> Tag {
        match self {
            Self::Heard(heard) => reusable_tag(&heard.tag_key, n),
            Self::Silent(seed) => reusable_tag(&wake(seed).tag_key, n),
        }
    }

    /// The number of the next letter.
    pub fn next(&self) -> u32 {
        match self {
            Self::Heard(heard) => heard.next,
            Self::Silent(_) => 0,
        }
    }

    /// Moves behind place `n`.
    ///
    /// # Errors
    /// [`ChainError::Behind`] or [`ChainError::TooFar`].
    pub fn reach(&self, n: u32) -> Result<Reached, ChainError> {
        let ahead = n.checked_sub(self.next()).ok_or(ChainError::Behind)?;
        let after = n.checked_add(1).ok_or(ChainError::TooFar)?;
        if ahead > GROUP_JUMP_MAX {
            return Err(ChainError::TooFar);
        }
        let mut heard = match self {
            Self::Heard(heard) => heard.as_ref().clone(),
            Self::Silent(seed) => wake(seed),
        };
        // Allocated once: growing would leave copies of keys behind.
        let mut passed = Vec::with_capacity(usize::try_from(ahead).unwrap_or(0));
        for number in heard.next..n {
            let (message_key, chain_key) = chain_step(&heard.chain_key);
            passed.push((number, message_key));
            heard.chain_key = chain_key;
        }
        let (message_key, chain_key) = chain_step(&heard.chain_key);
        (heard.chain_key, heard.next) = (chain_key, after);
        Ok(Reached { chain: Self::Heard(Box::new(heard)), message_key, passed })
    }

    /// The numbers that are listened for.
    fn numbers(&self) -> Box<dyn Iterator<Item = u32>> {
        match self {
            Self::Heard(heard) => Box::new(window(heard.next, GROUP_TAG_WINDOW, TAG_LANDMARK_STEP, GROUP_JUMP_MAX)),
            Self::Silent(_) => Box::new(0..GROUP_TAG_WINDOW_SILENT),
        }
    }
}

fn wake(seed: &Secret<32>) -> Heard {
    let (tag_key, chain_key) = kdf::<64>(seed.expose(), b"", "silbo/1/group/sender").split();
    Heard { tag_key, chain_key, next: 0 }
}

/// The chains of one epoch, in the order of its writers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochChains {
    pub(super) chains: Vec<Chain>,
}

impl EpochChains {
    /// Cuts the chains of all writers; the root is to be dropped afterwards.
    pub fn cut(root: &ChainRoot, writers: &[GroupDevice]) -> Self {
        Self { chains: writers.iter().map(|device| Chain::Silent(root.seed(device))).collect() }
    }

    /// How many writers there are.
    pub fn writers(&self) -> u16 {
        u16::try_from(self.chains.len()).unwrap_or(u16::MAX)
    }

    /// The chain of the writer at this place.
    pub fn chain(&self, writer: u16) -> Option<&Chain> {
        self.chains.get(usize::from(writer))
    }

    fn each(&self) -> impl Iterator<Item = (u16, &Chain)> {
        (0..=u16::MAX).zip(&self.chains)
    }
}

/// The key of one letter that has been overtaken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedLetter {
    pub(super) message_key: Secret<32>,
    pub(super) expires_at: UnixTime,
}

/// The key of a place, and what to store if the letter there is genuine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub(super) place: LetterPlace,
    pub(super) tag: Tag,
    pub(super) message_key: Secret<32>,
    /// The moved chain and the keys it passed; `None` if the place itself had been passed.
    pub(super) moved: Option<(Chain, Vec<(u32, Secret<32>)>)>,
}

/// All chains of one group that are kept, and the keys of overtaken letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SenderChains {
    pub(super) epochs: BTreeMap<EpochId, EpochChains>,
    /// Epochs in the order they came.
    pub(super) order: Vec<EpochId>,
    pub(super) skipped: BTreeMap<LetterPlace, SkippedLetter>,
}

impl SenderChains {
    /// Takes the chains of an epoch in; one that is known is not reset. Returns the epochs that made room, oldest
    /// first, because `limits::GROUP_CHAINS_MAX` was reached.
    pub fn insert(&mut self, epoch: EpochId, chains: EpochChains) -> Vec<EpochId> {
        if self.epochs.contains_key(&epoch) {
            return Vec::new();
        }
        let mut count = self.epochs.values().map(|kept| kept.chains.len()).sum::<usize>() + chains.chains.len();
        let mut made_room = Vec::new();
        while count > GROUP_CHAINS_MAX {
            let Some(&oldest) = self.order.first() else {
                break;
            };
            count -= self.epochs.get(&oldest).map_or(0, |kept| kept.chains.len());
            self.remove(&oldest);
            made_room.push(oldest);
        }
        self.order.push(epoch);
        self.epochs.insert(epoch, chains);
        made_room
    }

    /// Drops the chains of an epoch and its skipped keys.
    pub fn remove(&mut self, epoch: &EpochId) {
        self.epochs.remove(epoch);
        self.order.retain(|kept| kept != epoch);
        self.skipped.retain(|place, _| place.epoch != *epoch);
    }

    /// The chains of one epoch.
    pub fn epoch(&self, epoch: &EpochId) -> Option<&EpochChains> {
        self.epochs.get(epoch)
    }

    /// The chain of one writer.
    pub fn chain(&self, epoch: &EpochId, writer: u16) -> Option<&Chain> {
        self.epochs.get(epoch)?.chain(writer)
    }

    /// How many keys of overtaken letters are kept.
    pub fn skipped_len(&self) -> usize {
        self.skipped.len()
    }

    /// Every tag that is listened for: windows with landmarks of the chains that have been heard, the first tags of
    /// silent ones, and every skipped place. One's own chain is among them: a letter on it that this device does not
    /// remember sending shows that it runs on an old copy of its state.
    pub fn tags(&self) -> Vec<(Tag, LetterPlace)> {
        let windows = self.epochs.iter().flat_map(|(epoch, chains)| {
            chains.each().flat_map(move |(writer, chain)| {
                chain.numbers().map(move |n| (chain.tag(n), LetterPlace { epoch: *epoch, writer, n }))
            })
        });
        let skipped = self.skipped.keys().filter_map(|place| Some((self.tag_at(place)?, *place)));
        windows.chain(skipped).collect()
    }

    /// Tags of one chain, for a caller that keeps the others.
    pub fn tags_of(&self, epoch: &EpochId, writer: u16) -> Vec<(Tag, LetterPlace)> {
        let Some(chain) = self.chain(epoch, writer) else {
            return Vec::new();
        };
        chain.numbers().map(|n| (chain.tag(n), LetterPlace { epoch: *epoch, writer, n })).collect()
    }

    /// Looks for a tag in the whole windows of silent chains: some 50 hashes each. Only for envelopes that came from
    /// a member or are known to be of this group; a stranger's would cost too much.
    pub fn search_silent(&self, tag: &Tag) -> Option<LetterPlace> {
        self.epochs.iter().find_map(|(epoch, chains)| {
            chains.each().find_map(|(writer, chain)| {
                let Chain::Silent(seed) = chain else {
                    return None;
                };
                let tag_key = wake(seed).tag_key;
                window(0, GROUP_TAG_WINDOW, TAG_LANDMARK_STEP, GROUP_JUMP_MAX)
                    .find(|&n| reusable_tag(&tag_key, n) == *tag)
                    .map(|n| LetterPlace { epoch: *epoch, writer, n })
            })
        })
    }

    /// The key of a place, without any change here.
    ///
    /// # Errors
    /// [`ChainError`].
    pub fn find(&self, place: LetterPlace) -> Result<Found, ChainError> {
        let chain = self.chain(&place.epoch, place.writer).ok_or(ChainError::Unknown)?;
        let tag = chain.tag(place.n);
        if let Some(skipped) = self.skipped.get(&place) {
            return Ok(Found { place, tag, message_key: skipped.message_key.clone(), moved: None });
        }
        let Reached { chain, message_key, passed } = chain.reach(place.n)?;
        Ok(Found { place, tag, message_key, moved: Some((chain, passed)) })
    }

    /// The letter at this place was genuine: its key is gone afterwards, those it overtook are kept.
    pub fn commit(&mut self, found: Found, now: UnixTime) {
        let LetterPlace { epoch, writer, .. } = found.place;
        self.skipped.remove(&found.place);
        let Some((chain, passed)) = found.moved else {
            return;
        };
        self.put_chain(&epoch, writer, chain);
        let expires_at = now.after_ms(SKIPPED_KEY_AGE_MS);
        for (n, message_key) in passed {
            self.skipped.insert(LetterPlace { epoch, writer, n }, SkippedLetter { message_key, expires_at });
        }
        self.bound_skipped();
    }

    /// Drops keys of overtaken letters that have expired.
    pub fn expire(&mut self, now: UnixTime) {
        self.skipped.retain(|_, key| key.expires_at > now);
    }

    pub(super) fn put_chain(&mut self, epoch: &EpochId, writer: u16, moved: Chain) {
        let chains = self.epochs.get_mut(epoch);
        if let Some(chain) = chains.and_then(|chains| chains.chains.get_mut(usize::from(writer))) {
            *chain = moved;
        }
    }

    fn tag_at(&self, place: &LetterPlace) -> Option<Tag> {
        Some(self.chain(&place.epoch, place.writer)?.tag(place.n))
    }

    /// Whoever has most keys kept loses the oldest: jumping ahead costs others nothing.
    fn bound_skipped(&mut self) {
        while self.skipped.len() > GROUP_SKIPPED_KEYS_MAX {
            let mut counts: BTreeMap<(EpochId, u16), usize> = BTreeMap::new();
            for place in self.skipped.keys() {
                *counts.entry((place.epoch, place.writer)).or_default() += 1;
            }
            let Some(((epoch, writer), count)) = counts.iter().max_by_key(|(_, count)| **count) else {
                return;
            };
            let second = counts.values().filter(|other| *other < count).max().copied().unwrap_or(0);
            let over = (self.skipped.len() - GROUP_SKIPPED_KEYS_MAX).min((count - second).max(1));
            let of_chain = self.skipped.keys().filter(|p| p.epoch == *epoch && p.writer == *writer);
            let doomed: Vec<LetterPlace> = of_chain.take(over).copied().collect();
            for place in doomed {
                self.skipped.remove(&place);
            }
        }
    }
}
