//! A message slot: everything that is known of one message id, joined whatever the order it arrives in.
//!
//! ```text
//!   text      the least text, own before the other's     versions  up to 64 edits an author, newest last
//!   reactions one an author, last writer wins            deleted   once set, for ever, and wipes the rest
//!   pin       one for all, last writer wins       votes     one an author, last writer wins
//! ```
//! Each part is a join-semilattice, so the slot is one: equal sets of operations give equal slots for any order,
//! duplication or partition. An edit or reaction may come before its text and waits for it; edits of anyone but the
//! text's author are kept (the text may still turn out to be theirs) but never shown. A second text by the same author
//! under the same id can replace nothing unseen: it shows as an edit.

use std::collections::BTreeMap;

use crate::crypto::fields;
use crate::crypto::hash::{sha256, trunc};
use crate::ids::{AccountId, ChatId, MessageId};
use crate::limits::{
    REACTION_BYTES_MAX, SLOT_EDITORS_MAX, SLOT_EDITS_MAX, SLOT_REACTIONS_MAX, SLOT_VOTES_MAX, TEXT_BYTES_MAX,
};
use crate::step::{DeliveryState, Path};
use crate::store::ItemRow;
use crate::time::UnixTime;

use super::mention::Mention;
use super::poll::{Choices, Poll};
use super::retention::{ORPHAN_MS, TOMBSTONE_MS, expiry, sooner};

/// A text that a later edit has replaced is kept up to this length: 64 × 4 KiB bound what a slot holds per author.
pub const SUPERSEDED_BYTES_MAX: usize = 4 * 1_024;

/// Who did something to a message. Stored: 0 is me, 1 the other account, 2 a member of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SlotAuthor {
    /// This account.
    Me,
    /// The other account of a conversation of two.
    Peer,
    /// Another member of the group.
    Member(AccountId),
}

/// One operation on a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotOp {
    /// Who did it, proven by the session it came in.
    pub author: SlotAuthor,
    /// The author's Lamport number.
    pub lamport: u64,
    /// When the author says it happened.
    pub ts: UnixTime,
    /// The id of the operation's own message (of a text: the slot's id).
    pub op_id: MessageId,
    /// What was done.
    pub kind: SlotOpKind,
}

/// What was done to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotOpKind {
    /// It was written.
    Text {
        /// Its text, 1 to `limits::TEXT_BYTES_MAX` bytes.
        body: String,
        /// The message it answers.
        reply_to: Option<MessageId>,
        /// Seconds after which it disappears; 0 is never.
        expire_s: u32,
        /// Whom it mentions, at most `limits::MENTIONS_MAX`.
        mentions: Vec<Mention>,
        /// What can be chosen from, where the text is a question.
        poll: Option<Poll>,
    },
    /// Its text was changed.
    Edit {
        /// The text from then on.
        body: String,
        /// Whom it mentions.
        mentions: Vec<Mention>,
    },
    /// The author's reaction was set or taken back.
    React {
        /// One emoji, 1 to `limits::REACTION_BYTES_MAX` bytes.
        emoji: String,
        /// True takes it back.
        remove: bool,
    },
    /// It was pinned or not any more, by somebody who may.
    Pin {
        /// True takes it back.
        off: bool,
    },
    /// The author's answer to a poll was set or taken back.
    Vote {
        /// What they chose.
        choices: Choices,
    },
    /// It was deleted, by either side.
    Delete,
}

/// What an operation changed, for the event to publish. Store the row unless it is `Nothing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// Nothing: known already, out of bounds, or too late. The slot is as it was.
    Nothing,
    /// Something that is not visible, or not visible yet.
    Kept,
    /// The message can be shown from now on.
    Appeared,
    /// The visible text is another one.
    Edited,
    /// A reaction of the operation's author to a visible message changed.
    Reacted,
    /// A visible message is pinned, or not any more.
    Pinned,
    /// The vote of the operation's author that counts in a visible poll is another one.
    Voted,
    /// The message is deleted.
    Deleted,
}

/// Order of operations: Lamport number, time, id; the digest of the content makes it total.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct OpKey {
    pub(super) lamport: u64,
    pub(super) ts: UnixTime,
    pub(super) op: MessageId,
    pub(super) digest: [u8; 8],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) author: SlotAuthor,
    pub(super) key: OpKey,
    pub(super) body: String,
    pub(super) reply_to: Option<MessageId>,
    pub(super) expire_s: u32,
    pub(super) mentions: Vec<Mention>,
    pub(super) poll: Option<Poll>,
}

/// What an edit made of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) body: String,
    pub(super) mentions: Vec<Mention>,
}

/// Who said last whether a message is pinned; the greatest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pin {
    /// The Lamport number of who said it.
    pub lamport: u64,
    /// When they say it was.
    pub ts: UnixTime,
    /// The id of the operation.
    pub op: MessageId,
    /// Who.
    pub author: SlotAuthor,
    /// True: it is not pinned any more.
    pub off: bool,
}

/// Ordered as last-writer-wins needs it: the greatest counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reaction {
    pub(super) lamport: u64,
    pub(super) ts: UnixTime,
    pub(super) op: MessageId,
    pub(super) emoji: String,
    pub(super) removed: bool,
}

/// Ordered like a reaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Vote {
    pub(super) lamport: u64,
    pub(super) ts: UnixTime,
    pub(super) op: MessageId,
    pub(super) choices: Choices,
}

/// Everything known of one message id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    pub(super) deleted: bool,
    pub(super) text: Option<Text>,
    pub(super) versions: BTreeMap<(SlotAuthor, OpKey), Words>,
    pub(super) reactions: BTreeMap<SlotAuthor, Reaction>,
    pub(super) pin: Option<Pin>,
    pub(super) votes: BTreeMap<SlotAuthor, Vote>,
    pub(super) delivery: Option<DeliveryState>,
    pub(super) path: Option<Path>,
}

impl SlotAuthor {
    /// The member of a group it is, if it is one.
    pub fn member(&self) -> Option<AccountId> {
        match self {
            Self::Member(account) => Some(*account),
            Self::Me | Self::Peer => None,
        }
    }
}

impl Slot {
    /// Adds one operation.
    pub fn apply(&mut self, op: &SlotOp) -> Changed {
        match &op.kind {
            SlotOpKind::Text { body, .. } | SlotOpKind::Edit { body, .. }
                if !(1..=TEXT_BYTES_MAX).contains(&body.len()) =>
            {
                Changed::Nothing
            }
            SlotOpKind::React { emoji, .. } if !(1..=REACTION_BYTES_MAX).contains(&emoji.len()) => Changed::Nothing,
            SlotOpKind::Text { poll: Some(poll), .. } if poll.check().is_err() => Changed::Nothing,
            SlotOpKind::Text { body, reply_to, expire_s, mentions, poll } => {
                let reply = reply_to.as_ref().map_or(&[][..], MessageId::as_bytes);
                let asked = poll.as_ref().map(poll_digest);
                let expire = expire_s.to_be_bytes();
                let mut content = vec![body.as_bytes(), reply, &expire];
                content.extend(asked.as_ref().map(|digest| &digest[..]));
                let key = op.key(&content, mentions);
                let (body, reply_to, mentions, poll) = (body.clone(), *reply_to, mentions.clone(), poll.clone());
                let text = Text { author: op.author, key, body, reply_to, expire_s: *expire_s, mentions, poll };
                self.changing(|slot| slot.join_text(text))
            }
            SlotOpKind::Edit { body, mentions } => {
                let key = op.key(&[body.as_bytes()], mentions);
                let words = Words { body: body.clone(), mentions: mentions.clone() };
                self.changing(|slot| slot.join_version(op.author, key, words))
            }
            SlotOpKind::Pin { off } => {
                let pin = Pin { lamport: op.lamport, ts: op.ts, op: op.op_id, author: op.author, off: *off };
                let before = self.pinned().is_some();
                match self.join_pin(pin) {
                    true if self.is_visible() && before == *off => Changed::Pinned,
                    true => Changed::Kept,
                    false => Changed::Nothing,
                }
            }
            SlotOpKind::React { emoji, remove } => {
                let (lamport, ts, op_id) = (op.lamport, op.ts, op.op_id);
                let reaction = Reaction { lamport, ts, op: op_id, emoji: emoji.clone(), removed: *remove };
                match self.join_reaction(op.author, reaction) {
                    true if self.is_visible() => Changed::Reacted,
                    true => Changed::Kept,
                    false => Changed::Nothing,
                }
            }
            SlotOpKind::Vote { choices } => {
                let vote = Vote { lamport: op.lamport, ts: op.ts, op: op.op_id, choices: *choices };
                let before = self.counted_vote(op.author);
                match self.join_vote(op.author, vote) {
                    true if before != self.counted_vote(op.author) => Changed::Voted,
                    true => Changed::Kept,
                    false => Changed::Nothing,
                }
            }
            SlotOpKind::Delete if self.deleted => Changed::Nothing,
            SlotOpKind::Delete => {
                self.delete();
                Changed::Deleted
            }
        }
    }

    /// Adds everything another slot of the same message knows.
    pub fn merge(&mut self, other: &Self) {
        if other.deleted && !self.deleted {
            self.delete();
        }
        if let Some(text) = &other.text {
            self.join_text(text.clone());
        }
        for ((author, key), words) in &other.versions {
            self.join_version(*author, *key, words.clone());
        }
        for (author, reaction) in &other.reactions {
            self.join_reaction(*author, reaction.clone());
        }
        if let Some(pin) = other.pin {
            self.join_pin(pin);
        }
        for (author, vote) in &other.votes {
            self.join_vote(*author, *vote);
        }
        if let Some(state) = other.delivery {
            self.raise(state, other.path);
        }
    }

    /// Takes evidence about the delivery; true if it changed the slot. The path is that of the highest state.
    pub fn raise(&mut self, state: DeliveryState, path: Option<Path>) -> bool {
        let before = (self.delivery, self.path);
        let Some(known) = self.delivery else {
            (self.delivery, self.path) = (Some(state), path);
            return true;
        };
        let raised = known.raised(state);
        self.delivery = Some(raised);
        self.path = match (raised.code() == known.code(), raised.code() == state.code()) {
            (true, true) => self.path.into_iter().chain(path).max_by_key(Path::code),
            (true, false) => self.path,
            _ => path,
        };
        before != (self.delivery, self.path)
    }

    /// The delivery state: what was raised, else `Local` for a message of somebody else and `Queued` for an own one.
    pub fn delivery(&self) -> DeliveryState {
        let unknown = match self.author() {
            Some(SlotAuthor::Peer | SlotAuthor::Member(_)) => DeliveryState::Local,
            Some(SlotAuthor::Me) | None => DeliveryState::Queued,
        };
        self.delivery.unwrap_or(unknown)
    }

    /// Who wrote the text, once it is known.
    pub fn author(&self) -> Option<SlotAuthor> {
        self.text.as_ref().map(|text| text.author)
    }

    /// True once it was deleted; nothing undoes that.
    pub fn is_deleted(&self) -> bool {
        self.deleted
    }

    /// True while there is a text to show.
    pub fn is_visible(&self) -> bool {
        !self.deleted && self.text.is_some()
    }

    /// The text as it is after all edits of its author; `None` when there is nothing to show.
    pub fn body(&self) -> Option<&str> {
        let text = self.text.as_ref().filter(|_| !self.deleted)?;
        Some(self.edits().last().map_or(&text.body, |(_, words)| &words.body))
    }

    /// Whom the text mentions as it is.
    pub fn mentions(&self) -> &[Mention] {
        let Some(text) = self.text.as_ref().filter(|_| !self.deleted) else { return &[] };
        self.edits().last().map_or(&text.mentions, |(_, words)| &words.mentions)
    }

    /// What can be chosen from, of a visible text that asks.
    pub fn poll(&self) -> Option<&Poll> {
        self.text.as_ref().filter(|_| !self.deleted)?.poll.as_ref()
    }

    /// What an account has chosen in the poll; `None` for nothing that counts.
    pub fn counted_vote(&self, author: SlotAuthor) -> Option<Choices> {
        let (poll, vote) = (self.poll()?, self.votes.get(&author)?);
        poll.counts(vote.choices, vote.ts).then_some(vote.choices)
    }

    /// The operation by which an account voted last, whether that counts or not.
    pub fn last_vote(&self, author: SlotAuthor) -> Option<MessageId> {
        self.votes.get(&author).map(|vote| vote.op)
    }

    /// Who pinned the message, while it is pinned.
    pub fn pinned(&self) -> Option<&Pin> {
        self.pin.as_ref().filter(|pin| !pin.off && !self.deleted)
    }

    /// The row to store. `retention_s` is the conversation's setting; `now` matters only for a deleted message, whose
    /// empty row stays as long as its tombstone.
    pub fn row(&self, chat: ChatId, id: MessageId, stored_at: UnixTime, retention_s: u32, now: UnixTime) -> ItemRow {
        let text = self.text.as_ref();
        let expires_at = match text {
            _ if self.deleted => sooner(expiry(stored_at, 0, retention_s), now.after_ms(TOMBSTONE_MS)),
            Some(text) => expiry(stored_at, text.expire_s, retention_s),
            None => sooner(expiry(stored_at, 0, retention_s), stored_at.after_ms(ORPHAN_MS)),
        };
        ItemRow {
            chat,
            id,
            lamport: text.map_or(0, |text| text.key.lamport),
            sent_at: text.map_or(stored_at, |text| text.key.ts),
            stored_at,
            outgoing: self.author() == Some(SlotAuthor::Me),
            author: self.author().and_then(|author| author.member()),
            visible: self.is_visible(),
            body: self.body().unwrap_or_default().to_owned(),
            state: self.delivery().code(),
            expires_at,
            slot: self.encode(),
        }
    }

    /// What its author made of the text, oldest first. A question stays as it was asked: votes are about it.
    pub(super) fn edits(&self) -> impl DoubleEndedIterator<Item = (&OpKey, &Words)> {
        let author = self.text.as_ref().filter(|text| text.poll.is_none()).map(|text| text.author);
        author.into_iter().flat_map(|author| self.edits_of(author))
    }

    /// Edits of one author, oldest first.
    pub(super) fn edits_of(&self, author: SlotAuthor) -> impl DoubleEndedIterator<Item = (&OpKey, &Words)> {
        self.versions.iter().filter(move |((who, _), _)| *who == author).map(|((_, key), words)| (key, words))
    }

    /// Runs a change of texts and says what it did to the visible text.
    fn changing(&mut self, change: impl FnOnce(&mut Self) -> bool) -> Changed {
        let before = self.body().map(|body| sha256(body.as_bytes()));
        if !change(self) {
            return Changed::Nothing;
        }
        let after = self.body().map(|body| sha256(body.as_bytes()));
        match (before, after) {
            (None, Some(_)) => Changed::Appeared,
            (before, after) if before != after => Changed::Edited,
            _ => Changed::Kept,
        }
    }

    /// The least text wins, own before the other's; the one that loses stays as a version of its author.
    fn join_text(&mut self, mut text: Text) -> bool {
        if self.deleted {
            text.wipe();
        }
        let rank = |text: &Text| (text.author, text.key);
        match &self.text {
            None => {
                self.text = Some(text);
                true
            }
            Some(known) if rank(known) == rank(&text) => false,
            Some(known) if rank(known) < rank(&text) => {
                let Text { author, key, body, mentions, .. } = text;
                self.join_version(author, key, Words { body, mentions })
            }
            Some(_) => {
                if let Some(lost) = self.text.replace(text) {
                    let Text { author, key, body, mentions, .. } = lost;
                    self.join_version(author, key, Words { body, mentions });
                }
                true
            }
        }
    }

    fn join_version(&mut self, author: SlotAuthor, key: OpKey, words: Words) -> bool {
        if self.deleted || self.versions.contains_key(&(author, key)) {
            return false;
        }
        self.versions.insert((author, key), words);
        let mut keys: Vec<OpKey> = self.edits_of(author).map(|(key, _)| *key).collect();
        for oldest in keys.drain(..keys.len().saturating_sub(SLOT_EDITS_MAX)) {
            self.versions.remove(&(author, oldest));
        }
        self.bound_editors();
        keys.pop();
        for superseded in keys {
            if let Some(Words { body, mentions }) = self.versions.get_mut(&(author, superseded)) {
                body.truncate(body.floor_char_boundary(SUPERSEDED_BYTES_MAX));
                mentions.clear(); // only those of the text as it is are shown
            }
        }
        self.versions.contains_key(&(author, key))
    }

    fn join_reaction(&mut self, author: SlotAuthor, reaction: Reaction) -> bool {
        if self.deleted || self.reactions.get(&author).is_some_and(|known| *known >= reaction) {
            return false;
        }
        self.reactions.insert(author, reaction);
        while self.reactions.len() > SLOT_REACTIONS_MAX {
            self.reactions.pop_last();
        }
        self.reactions.contains_key(&author)
    }

    fn join_pin(&mut self, pin: Pin) -> bool {
        if self.deleted || self.pin.is_some_and(|known| known >= pin) {
            return false;
        }
        self.pin = Some(pin);
        true
    }

    fn join_vote(&mut self, author: SlotAuthor, vote: Vote) -> bool {
        if self.deleted || self.votes.get(&author).is_some_and(|known| *known >= vote) {
            return false;
        }
        self.votes.insert(author, vote);
        while self.votes.len() > SLOT_VOTES_MAX {
            self.votes.pop_last();
        }
        self.votes.contains_key(&author)
    }

    /// Keeps the edits of the least authors, whoever came first: what is left is a function of the set.
    fn bound_editors(&mut self) {
        let mut editors: Vec<SlotAuthor> = self.versions.keys().map(|(author, _)| *author).collect();
        editors.dedup();
        if let Some(first_out) = editors.get(SLOT_EDITORS_MAX) {
            self.versions.retain(|(author, _), _| author < first_out);
        }
    }

    pub(super) fn delete(&mut self) {
        self.deleted = true;
        self.versions.clear();
        self.reactions.clear();
        self.pin = None;
        self.votes.clear();
        if let Some(text) = &mut self.text {
            text.wipe();
        }
    }
}

impl SlotOp {
    fn key(&self, content: &[&[u8]], mentions: &[Mention]) -> OpKey {
        let place = |mention: &Mention| {
            [&mention.from.to_be_bytes()[..], &mention.len.to_be_bytes(), &mention.account.0].concat()
        };
        let mentions: Vec<u8> = mentions.iter().flat_map(place).collect();
        // Of a text without mentions, the digest is the one of rows from before there were any.
        let all: Vec<&[u8]> = content.iter().copied().chain((!mentions.is_empty()).then_some(&mentions[..])).collect();
        OpKey { lamport: self.lamport, ts: self.ts, op: self.op_id, digest: trunc(&sha256(&fields(&all))) }
    }
}

impl Text {
    /// What stays of a deleted message: who wrote it and where it stood.
    fn wipe(&mut self) {
        self.body.clear();
        self.key.digest = [0; 8];
        self.reply_to = None;
        self.expire_s = 0;
        self.mentions.clear();
        self.poll = None;
    }
}

/// One field for all of a poll.
fn poll_digest(poll: &Poll) -> [u8; 32] {
    let ends = poll.ends_at.map_or(0, |at| at.0).to_be_bytes();
    let options: Vec<&[u8]> = poll.options.iter().map(String::as_bytes).collect();
    sha256(&fields(&[&fields(&options), &poll.choices_max.to_be_bytes(), &ends]))
}
