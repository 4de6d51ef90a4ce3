//! A slot as bytes: equal slots give equal bytes.

use prost::Message;

use crate::ids::{AccountId, MessageId};
use crate::store::{ItemRow, StoreError, Table};
use crate::time::UnixTime;
use crate::wire::invite::Aid20;

use super::delivery_state::{path_code, path_of_code};
use super::mention::Mention;
use super::poll::{Choices, Poll};
use super::slot::{OpKey, Pin, Reaction, Slot, SlotAuthor, Text, Vote, Words};
use super::state;
use crate::step::DeliveryState;

impl Slot {
    /// The bytes for `ItemRow::slot`.
    pub fn encode(&self) -> Vec<u8> {
        let text = self.text.as_ref().map(|text| state::Text {
            who: who(text.author),
            account: account(text.author),
            lamport: text.key.lamport,
            ts: text.key.ts.0,
            op: text.key.op.0.to_vec(),
            digest: text.key.digest.to_vec(),
            body: text.body.clone(),
            reply_to: text.reply_to.map(|id| id.0.to_vec()).unwrap_or_default(),
            expire_s: text.expire_s,
            mentions: text.mentions.iter().map(mention).collect(),
            poll: text.poll.as_ref().map(poll),
        });
        let versions = self.versions.iter().map(|((author, key), words)| state::Version {
            who: who(*author),
            account: account(*author),
            lamport: key.lamport,
            ts: key.ts.0,
            op: key.op.0.to_vec(),
            digest: key.digest.to_vec(),
            body: words.body.clone(),
            mentions: words.mentions.iter().map(mention).collect(),
        });
        let reactions = self.reactions.iter().map(|(author, reaction)| state::Reaction {
            who: who(*author),
            account: account(*author),
            lamport: reaction.lamport,
            ts: reaction.ts.0,
            op: reaction.op.0.to_vec(),
            emoji: reaction.emoji.clone(),
            removed: reaction.removed,
        });
        let votes = self.votes.iter().map(|(author, vote)| state::Vote {
            who: who(*author),
            account: account(*author),
            lamport: vote.lamport,
            ts: vote.ts.0,
            op: vote.op.0.to_vec(),
            options: vote.choices.bits(),
        });
        state::Slot {
            deleted: self.deleted,
            text,
            versions: versions.collect(),
            reactions: reactions.collect(),
            delivery: self.delivery.map(DeliveryState::to_record),
            path: path_code(self.path),
            pin: self.pin.map(|pin| state::Pin {
                who: who(pin.author),
                account: account(pin.author),
                lamport: pin.lamport,
                ts: pin.ts.0,
                op: pin.op.0.to_vec(),
                off: pin.off,
            }),
            votes: votes.collect(),
        }
        .encode_to_vec()
    }

    /// The slot of a stored row.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when it does not decode; rows have no table of their own, so the conversation's is named.
    pub fn of_row(row: &ItemRow) -> Result<Self, StoreError> {
        Self::decode(&row.slot).ok_or(StoreError::Damaged { table: Table::Chat })
    }

    /// Reads what [`Self::encode`] wrote, and no bytes as an empty slot; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let record = state::Slot::decode(bytes).ok()?;
        let mut slot = Self { deleted: record.deleted, path: path_of_code(record.path), ..Self::default() };
        if let Some(text) = record.text {
            slot.text = Some(Text {
                author: author(text.who, &text.account)?,
                key: key(text.lamport, text.ts, &text.op, &text.digest)?,
                body: text.body,
                reply_to: if text.reply_to.is_empty() { None } else { Some(MessageId::read(&text.reply_to)?) },
                expire_s: text.expire_s,
                mentions: mentions(&text.mentions)?,
                poll: match text.poll {
                    Some(stored) => Some(Poll::of(stored.options, stored.choices_max, stored.ends)?),
                    None => None,
                },
            });
        }
        for version in record.versions {
            let key = key(version.lamport, version.ts, &version.op, &version.digest)?;
            let words = Words { body: version.body, mentions: mentions(&version.mentions)? };
            slot.versions.insert((author(version.who, &version.account)?, key), words);
        }
        for reaction in record.reactions {
            let of = author(reaction.who, &reaction.account)?;
            let reaction = Reaction {
                lamport: reaction.lamport,
                ts: UnixTime(reaction.ts),
                op: MessageId::read(&reaction.op)?,
                emoji: reaction.emoji,
                removed: reaction.removed,
            };
            slot.reactions.insert(of, reaction);
        }
        if let Some(pin) = record.pin {
            let (author, op) = (author(pin.who, &pin.account)?, MessageId::read(&pin.op)?);
            slot.pin = Some(Pin { lamport: pin.lamport, ts: UnixTime(pin.ts), op, author, off: pin.off });
        }
        for stored in record.votes {
            let of = author(stored.who, &stored.account)?;
            let (op, choices) = (MessageId::read(&stored.op)?, Choices::of_bits(stored.options)?);
            slot.votes.insert(of, Vote { lamport: stored.lamport, ts: UnixTime(stored.ts), op, choices });
        }
        if let Some(delivery) = record.delivery {
            slot.delivery = Some(DeliveryState::from_record(&delivery)?);
        }
        if slot.deleted {
            slot.delete();
        }
        Some(slot)
    }
}

fn mention(mention: &Mention) -> state::Mention {
    state::Mention { from: mention.from, len: mention.len, aid20: mention.account.0.to_vec() }
}

fn mentions(stored: &[state::Mention]) -> Option<Vec<Mention>> {
    let read = |stored: &state::Mention| {
        Some(Mention { from: stored.from, len: stored.len, account: Aid20::read(&stored.aid20)? })
    };
    stored.iter().map(read).collect()
}

fn poll(poll: &Poll) -> state::Poll {
    let ends = poll.ends_at.map_or(0, |at| at.0);
    state::Poll { options: poll.options.clone(), choices_max: poll.choices_max, ends }
}

fn who(author: SlotAuthor) -> u32 {
    match author {
        SlotAuthor::Me => 0,
        SlotAuthor::Peer => 1,
        SlotAuthor::Member(_) => 2,
    }
}

fn account(author: SlotAuthor) -> Vec<u8> {
    author.member().map(|account| account.0.to_vec()).unwrap_or_default()
}

/// Rows of before there were groups know 0 and 1 and name no account.
fn author(who: u32, account: &[u8]) -> Option<SlotAuthor> {
    match who {
        0 => Some(SlotAuthor::Me),
        1 => Some(SlotAuthor::Peer),
        2 => Some(SlotAuthor::Member(AccountId::read(account)?)),
        _ => None,
    }
}

fn key(lamport: u64, ts: u64, op: &[u8], digest: &[u8]) -> Option<OpKey> {
    Some(OpKey { lamport, ts: UnixTime(ts), op: MessageId::read(op)?, digest: digest.try_into().ok()? })
}
