//! Messages that stand out in a conversation: pinned by moderators in a group, by either side in a conversation of two.
//!
//! What counts is in the slot of each message; the conversation's record lists the pinned messages that are visible,
//! so that a group can be shown without reading all of it.

use super::records::state::PinRecord;
use super::turn::Turn;
use super::{Answer, Engine, message_id};
use crate::conversation::{Changed, Mention, Pin, SlotAuthor, SlotOp, SlotOpKind, mention};
use crate::group::{GroupRole, PinView};
use crate::ids::{AccountId, ChatId, MessageId};
use crate::limits::PINS_MAX;
use crate::step::{EventKind, Reply, RequestError};
use crate::store::StoreError;
use crate::time::UnixTime;
use crate::wire::proto::{self, plain::Kind};

impl Engine {
    /// Pins a message, or takes it back.
    pub(super) fn pin(&mut self, id: MessageId, off: bool, turn: &mut Turn) -> Result<Answer, StoreError> {
        let Some(chat) = self.chat_of(&id, turn)? else { return Ok(super::not_found("message")) };
        if turn.item(&chat, &id)?.is_none_or(|row| !row.visible) {
            return Ok(super::not_found("message"));
        }
        if let Err(error) = self.may_write_channel(&chat) {
            return Ok(Err(error));
        }
        let own = self.own.as_ref().map(super::account::Own::aid);
        if self.groups.contains_key(&chat) {
            if let Err(error) = self.may_post(&chat, turn.now.unix) {
                return Ok(Err(error));
            }
            if !own.is_some_and(|own| self.may_pin(&chat, &own)) {
                return Ok(Err(RequestError::NotAllowed("pin messages: moderators do")));
            }
        }
        let listed = self.chats.get(&chat).map_or(0, |record| record.pins.len());
        let known = self.slot(&chat, &id, turn)?.0.pinned().is_some();
        if known != off {
            return Ok(Ok(Reply::Done)); // as it is
        }
        if !off && listed >= PINS_MAX {
            return Ok(Err(RequestError::Limit("pinned messages: take one back")));
        }
        let op = self.own_op(chat, SlotOpKind::Pin { off }, turn);
        self.pin_slot(chat, id, &op, turn)?;
        self.tell_operation(chat, &op, Kind::Pin(proto::Pin { of: id.0.to_vec(), off }), turn)?;
        Ok(Ok(Reply::Done))
    }

    /// True for a member who may pin: a moderator or above.
    pub(super) fn may_pin(&self, chat: &ChatId, account: &AccountId) -> bool {
        self.role_in(chat, account) >= Some(GroupRole::Moderator)
    }

    /// Applies a word on a pin.
    pub(super) fn pin_slot(
        &mut self,
        chat: ChatId,
        id: MessageId,
        op: &SlotOp,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let changed = self.apply_op(chat, id, op, None, turn)?;
        if changed == Changed::Nothing {
            return Ok(());
        }
        self.list_pin(chat, id, turn)?;
        if changed == Changed::Pinned {
            let (outgoing, author) = (op.author == SlotAuthor::Me, op.author.member());
            let removed = matches!(op.kind, SlotOpKind::Pin { off: true });
            turn.event(Some(chat), Some(id), EventKind::MessagePinned { outgoing, removed, author });
        }
        Ok(())
    }

    /// Lists a message among the pinned ones, or takes it off, as its slot says. Of too many, those pinned last stay.
    pub(super) fn list_pin(&mut self, chat: ChatId, id: MessageId, turn: &mut Turn) -> Result<(), StoreError> {
        let (slot, _) = self.slot(&chat, &id, turn)?;
        let pin = slot.pinned().filter(|_| slot.is_visible()).map(|pin| record(&id, pin));
        let Some(chat_record) = self.chats.get_mut(&chat) else { return Ok(()) };
        let known = chat_record.pins.iter().position(|pin| pin.id == id.0);
        match (known, pin) {
            (None, None) => return Ok(()),
            (Some(at), None) => drop(chat_record.pins.remove(at)),
            (Some(at), Some(pin)) => {
                chat_record.pins.remove(at);
                chat_record.pins.push(pin);
            }
            (None, Some(pin)) => chat_record.pins.push(pin),
        }
        chat_record.pins.sort_by(|a, b| rank(a).cmp(&rank(b)));
        let over = chat_record.pins.len().saturating_sub(PINS_MAX);
        chat_record.pins.drain(..over);
        self.save_chat(&chat, turn);
        Ok(())
    }

    /// The pinned messages of a conversation, the last one pinned first.
    pub(super) fn pins_of(&self, chat: &ChatId) -> Vec<PinView> {
        let own = self.own.as_ref().map(super::account::Own::aid);
        let pins = self.chats.get(chat).map(|record| record.pins.as_slice()).unwrap_or_default();
        let view = |pin: &PinRecord| {
            let by = AccountId::read(&pin.by).or(own)?;
            Some(PinView { id: message_id(&pin.id)?, by, at: UnixTime(pin.ts) })
        };
        pins.iter().rev().filter_map(view).collect()
    }

    /// Whom a text to a group mentions: members by the names they gave themselves. Nobody in a conversation of two.
    pub(super) fn mentions_in(&self, chat: &ChatId, body: &str) -> Vec<Mention> {
        if !body.contains('@') {
            return Vec::new();
        }
        mention::find(body, &self.names_in(chat))
    }
}

fn record(id: &MessageId, pin: &Pin) -> PinRecord {
    PinRecord {
        id: id.0.to_vec(),
        lamport: pin.lamport,
        ts: pin.ts.0,
        op: pin.op.0.to_vec(),
        by: pin.author.member().map(|account| account.0.to_vec()).unwrap_or_default(),
    }
}

/// The order of pins: as in the slot.
fn rank(pin: &PinRecord) -> (u64, u64, &[u8]) {
    (pin.lamport, pin.ts, &pin.op)
}
