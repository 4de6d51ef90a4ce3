//! A message as people and programs see it, read from its row.

use crate::ids::{AccountId, ChatId, MessageId};
use crate::step::{DeliveryState, Path};
use crate::store::{ItemRow, StoreError};
use crate::time::UnixTime;

use super::mention::Mention;
use super::poll::{PollView, VoteView};
use super::slot::{Slot, SlotAuthor};

/// A message with everything that was done to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemView {
    /// The conversation.
    pub chat: ChatId,
    /// The message.
    pub id: MessageId,
    /// True when this account wrote it.
    pub outgoing: bool,
    /// The member of the group who wrote it; `None` for this account, and for the other side of a conversation of two.
    pub author: Option<AccountId>,
    /// False while only edits or reactions have arrived, and once it is deleted.
    pub visible: bool,
    /// The text as it is; empty when not visible.
    pub body: String,
    /// The texts it had before, oldest first; long ones are shortened once replaced twice.
    pub edits: Vec<Version>,
    /// When the text was last changed.
    pub edited_at: Option<UnixTime>,
    /// The message it answers.
    pub reply_to: Option<MessageId>,
    /// Whom the text mentions as it is.
    pub mentions: Vec<Mention>,
    /// What can be chosen from and what was, where the text is a question.
    pub poll: Option<PollView>,
    /// True while it is pinned.
    pub pinned: bool,
    /// Reactions, at most one an account.
    pub reactions: Vec<ReactionView>,
    /// True once it was deleted.
    pub deleted: bool,
    /// Where it stands.
    pub delivery: DeliveryState,
    /// How it went or came, where known.
    pub path: Option<Path>,
    /// Order within the conversation.
    pub lamport: u64,
    /// When its author says it was written.
    pub sent_at: UnixTime,
    /// When this device first stored it.
    pub stored_at: UnixTime,
    /// Seconds its author gave it; 0 is no limit.
    pub expire_s: u32,
    /// When it disappears.
    pub expires_at: Option<UnixTime>,
}

/// A text that was replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The text.
    pub body: String,
    /// When its author says it was written.
    pub at: UnixTime,
}

/// A reaction that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReactionView {
    /// Whose.
    pub author: SlotAuthor,
    /// The emoji.
    pub emoji: String,
    /// When its author says it was made.
    pub at: UnixTime,
}

/// Reads a row for showing.
///
/// # Errors
/// [`StoreError::Damaged`] when its slot does not decode.
pub fn view(row: &ItemRow) -> Result<ItemView, StoreError> {
    let slot = Slot::of_row(row)?;
    let text = slot.text.as_ref().filter(|_| !slot.deleted);
    let mut edits: Vec<Version> = Vec::new();
    if let Some(text) = text {
        edits.push(Version { body: text.body.clone(), at: text.key.ts });
        edits.extend(slot.edits().map(|(key, words)| Version { body: words.body.clone(), at: key.ts }));
    }
    let current = edits.pop();
    let reactions = slot
        .reactions
        .iter()
        .filter(|(_, reaction)| !reaction.removed)
        .map(|(author, reaction)| ReactionView { author: *author, emoji: reaction.emoji.clone(), at: reaction.ts });
    let poll = slot.poll().map(|poll| {
        let counted = slot.votes.iter().filter(|(_, vote)| poll.counts(vote.choices, vote.ts));
        let shown = |(author, vote): (&SlotAuthor, &super::slot::Vote)| VoteView {
            author: *author,
            choices: vote.choices,
            at: vote.ts,
        };
        PollView { poll: poll.clone(), votes: counted.map(shown).collect() }
    });
    Ok(ItemView {
        chat: row.chat,
        id: row.id,
        outgoing: row.outgoing,
        author: row.author,
        visible: row.visible,
        edited_at: current.as_ref().filter(|_| !edits.is_empty()).map(|version| version.at),
        body: current.map(|version| version.body).unwrap_or_default(),
        edits,
        reply_to: text.and_then(|text| text.reply_to),
        mentions: slot.mentions().to_vec(),
        poll,
        pinned: slot.pinned().is_some(),
        reactions: reactions.collect(),
        deleted: slot.deleted,
        delivery: slot.delivery(),
        path: slot.path,
        lamport: row.lamport,
        sent_at: row.sent_at,
        stored_at: row.stored_at,
        expire_s: text.map_or(0, |text| text.expire_s),
        expires_at: (row.expires_at.0 > 0).then_some(row.expires_at),
    })
}
