//! What a person does with messages, and what the other side did to them.

use prost::Message;

use super::account::check_text;
use super::channels::check_post_length;
use super::outbound::Errand;
use super::records::state::{HopRecord, TraceRecord};
use super::timers::Timer;
use super::turn::Turn;
use super::{Answer, Engine, Waiting, message_id};
use crate::conversation::{
    Changed, Choices, ItemView, Poll, Slot, SlotAuthor, SlotOp, SlotOpKind, mention, path_of_code, retention, view,
};
use crate::ids::{ChatId, MessageId, PeerKey};
use crate::input::{GroupChanges, RequestId};
use crate::limits::{
    CHAT_RETENTION_S_RANGE, CLIENT_ID_BYTES_MAX, CONTROL_TTL_MS, EXPIRE_S_RANGE, REACTION_BYTES_MAX, SEND_TTL_S_RANGE,
    TEXT_BYTES_MAX, TEXT_TTL_MS,
};
use crate::step::{ContactState, DeliveryState, EventKind, FailReason, Hop, Path, Reply, RequestError, TraceView};
use crate::store::{ItemRow, StoreError, Table};
use crate::time::{SECOND_MS, UnixTime};
use crate::wire::proto::{self, plain::Kind};

/// Messages that expire in one step; the rest follows in the next.
const EXPIRE_BATCH: usize = 500;
/// Messages one read receipt names.
const READ_BATCH: usize = 1_000;

/// A message as its author hands it in.
pub(super) struct Letter {
    pub(super) body: String,
    pub(super) reply_to: Option<MessageId>,
    pub(super) expire_s: Option<u32>,
    pub(super) client_id: Option<String>,
    pub(super) ttl_s: Option<u32>,
    pub(super) no_infra: bool,
    pub(super) poll: Option<Poll>,
}

impl Letter {
    fn check(&self) -> Result<(), RequestError> {
        check_body(&self.body)
            .and(check_expire(self.expire_s))
            .and(check_client_id(self.client_id.as_deref()))
            .and(check_ttl(self.ttl_s))
    }
}

impl Engine {
    pub(super) fn send_text(&mut self, chat: ChatId, letter: Letter, turn: &mut Turn) -> Result<Answer, StoreError> {
        if let Err(error) = letter.check() {
            return Ok(Err(error));
        }
        if let Some(known) =
            letter.client_id.as_ref().map(|id| turn.value(Table::Sent, id.as_bytes())).transpose()?.flatten()
            && let Some(id) = known.get(..MessageId::LEN).and_then(MessageId::read)
        {
            return self.message_reply(id, turn);
        }
        if self.channels.contains_key(&chat) {
            return self.channel_text(chat, letter, turn);
        }
        let Letter { body, reply_to, expire_s, client_id, ttl_s, no_infra, poll } = letter;
        let note = self.own.as_ref().is_some_and(|own| own.chat() == chat);
        let group = self.groups.contains_key(&chat);
        let allowed = match group {
            true => self.may_post(&chat, turn.now.unix),
            false => self.may_write(&chat),
        };
        if !note && let Err(error) = allowed {
            return Ok(Err(error));
        }
        let id = match group {
            true => self.unused_group_message_id(&chat, turn)?,
            false => self.new_message_id(turn.now.unix),
        };
        let expire_s = expire_s.unwrap_or(0);
        let mentions = self.mentions_in(&chat, &body);
        let text = proto::Text {
            body: body.clone(),
            reply_to: reply_to.map(|r| r.0.to_vec()).unwrap_or_default(),
            spans: mention::write(&mentions),
            poll: poll.as_ref().map(Poll::write),
        };
        let mut plain = self.plain(&chat, id, Kind::Text(text), turn);
        plain.expire_s = expire_s;
        let op = SlotOp {
            author: SlotAuthor::Me,
            lamport: plain.lamport,
            ts: turn.now.unix,
            op_id: id,
            kind: SlotOpKind::Text { body: body.clone(), reply_to, expire_s, mentions, poll },
        };
        let state = if note { DeliveryState::Local } else { DeliveryState::Queued };
        let sealed = group || self.has_session(&chat);
        let lifetime_ms = ttl_s.map_or(TEXT_TTL_MS, |s| u64::from(s) * SECOND_MS);
        let errand =
            Errand { message: Some(id), expires_at: turn.now.unix.after_ms(lifetime_ms), no_infra, carried: true };
        if group {
            if let Err(refusal) = self.post(chat, &plain, errand, turn)? {
                return Ok(Err(refusal));
            }
        } else if !note
            && sealed
            && let Err(refusal) = self.seal_and_queue(chat, &plain.encode_to_vec(), errand, turn)?
        {
            return Ok(Err(refusal.into()));
        }
        self.apply_op_with(chat, id, &op, Some(state), None, turn)?;
        if !note
            && !sealed
            && let Some(contact) = self.contacts.get_mut(&chat)
        {
            contact.rec.unsealed.push(id.0.to_vec());
            self.save_contact(&chat, turn);
        }
        self.text_sent(chat, (id, body), client_id, state, turn)
    }

    /// Notes a text that has just been written and stored, and answers.
    pub(super) fn text_sent(
        &mut self,
        chat: ChatId,
        (id, body): (MessageId, String),
        client_id: Option<String>,
        state: DeliveryState,
        turn: &mut Turn,
    ) -> Result<Answer, StoreError> {
        if let Some(client_id) = client_id {
            turn.put(Table::Sent, client_id.as_bytes(), id.0.to_vec());
        }
        let hop = HopRecord { at: turn.now.unix.0, what: "queued".to_owned(), ..HopRecord::default() };
        self.add_hop(&chat, &id, hop, turn)?;
        turn.event(Some(chat), Some(id), EventKind::MessageSent { body });
        Ok(Ok(Reply::Message { id, chat, state, sent_at: turn.now.unix }))
    }

    pub(super) fn has_session(&self, chat: &ChatId) -> bool {
        self.contacts.get(chat).is_some_and(|c| c.session().is_some())
    }

    fn may_write(&self, chat: &ChatId) -> Result<(), RequestError> {
        let contact = self.contacts.get(chat).ok_or(RequestError::NotFound("contact"))?;
        match contact.state() {
            ContactState::Blocked => Err(RequestError::Blocked),
            ContactState::Refused => {
                Err(RequestError::BadInvite("it was used, revoked or has expired: ask for another".to_owned()))
            }
            ContactState::Incoming => Err(RequestError::NotFound("contact (a request waits for your decision)")),
            _ if contact.key_blocked() => Err(RequestError::KeyChanged),
            _ if contact.rec.unsealed.len() >= 1_000 => Err(RequestError::Limit("messages before the first contact")),
            ContactState::Member => Err(RequestError::NotFound("contact (only a member of a group: invite them)")),
            ContactState::Active | ContactState::Requested => Ok(()),
        }
    }

    /// Seals what was written before there was a session.
    pub(super) fn seal_waiting(&mut self, chat: ChatId, turn: &mut Turn) -> Result<(), StoreError> {
        let Some(contact) = self.contacts.get_mut(&chat) else { return Ok(()) };
        let waiting = std::mem::take(&mut contact.rec.unsealed);
        if waiting.is_empty() {
            return Ok(());
        }
        self.save_contact(&chat, turn);
        for id in waiting.iter().filter_map(|bytes| message_id(bytes)) {
            let Some(item) = self.item_view(&chat, &id, turn)?.filter(|item| item.visible) else { continue };
            let (plain, errand) = written_before(item);
            if self.seal_and_queue(chat, &plain.encode_to_vec(), errand, turn)?.is_err() {
                self.raise(chat, id, DeliveryState::Failed(FailReason::Expired), None, turn)?;
            }
        }
        Ok(())
    }

    /// What was written before a first contact that will never be.
    pub(super) fn fail_waiting(&mut self, chat: ChatId, reason: FailReason, turn: &mut Turn) -> Result<(), StoreError> {
        let Some(contact) = self.contacts.get_mut(&chat) else { return Ok(()) };
        for id in std::mem::take(&mut contact.rec.unsealed).iter().filter_map(|bytes| message_id(bytes)) {
            self.raise(chat, id, DeliveryState::Failed(reason), None, turn)?;
        }
        self.save_contact(&chat, turn);
        Ok(())
    }

    pub(super) fn item_view(&self, chat: &ChatId, id: &MessageId, turn: &Turn) -> Result<Option<ItemView>, StoreError> {
        turn.item(chat, id)?.map(|row| view(&row)).transpose()
    }

    pub(super) fn chat_of(&self, id: &MessageId, turn: &Turn) -> Result<Option<ChatId>, StoreError> {
        let trace: Option<TraceRecord> = turn.record(Table::Trace, id.as_bytes())?;
        Ok(trace.and_then(|t| ChatId::read(&t.chat)))
    }

    fn message_reply(&self, id: MessageId, turn: &Turn) -> Result<Answer, StoreError> {
        let Some(chat) = self.chat_of(&id, turn)? else { return Ok(super::not_found("message")) };
        let Some(item) = self.item_view(&chat, &id, turn)? else { return Ok(super::not_found("message")) };
        Ok(Ok(Reply::Message { id, chat, state: item.delivery, sent_at: item.sent_at }))
    }

    /// True when a message was deleted or expired here: it never comes back.
    pub(super) fn gone(&self, chat: &ChatId, id: &MessageId, turn: &Turn) -> Result<bool, StoreError> {
        match turn.value(Table::Gone, &retention::gone_key(chat, id))? {
            Some(value) => Ok(retention::gone_until(&value)? > turn.now.unix),
            None => Ok(false),
        }
    }

    pub(super) fn apply_op(
        &mut self,
        chat: ChatId,
        id: MessageId,
        op: &SlotOp,
        path: Option<Path>,
        turn: &mut Turn,
    ) -> Result<Changed, StoreError> {
        self.apply_op_with(chat, id, op, None, path, turn)
    }

    /// Applies one operation to the slot of a message and stores the row it gives.
    fn apply_op_with(
        &mut self,
        chat: ChatId,
        id: MessageId,
        op: &SlotOp,
        state: Option<DeliveryState>,
        path: Option<Path>,
        turn: &mut Turn,
    ) -> Result<Changed, StoreError> {
        let (mut slot, stored_at) = self.slot(&chat, &id, turn)?;
        let changed = slot.apply(op);
        if changed == Changed::Nothing {
            return Ok(changed);
        }
        if let Some(state) = state.or(path.map(|_| DeliveryState::Local)) {
            slot.raise(state, path);
        }
        self.put_slot(chat, id, &slot, stored_at, turn);
        Ok(changed)
    }

    /// The same for what was written earlier than it came, as if it had been stored then: what was said before this account
    /// came, and posts of a channel.
    pub(super) fn apply_as_of(
        &mut self,
        chat: ChatId,
        id: MessageId,
        op: &SlotOp,
        stored_at: UnixTime,
        (state, path): (DeliveryState, Option<Path>),
        turn: &mut Turn,
    ) -> Result<Changed, StoreError> {
        let known = turn.item(&chat, &id)?.is_some();
        let (mut slot, known_at) = self.slot(&chat, &id, turn)?;
        let changed = slot.apply(op);
        if changed != Changed::Nothing {
            slot.raise(state, path);
            self.put_slot(chat, id, &slot, if known { known_at } else { stored_at }, turn);
        }
        Ok(changed)
    }

    pub(super) fn slot(&self, chat: &ChatId, id: &MessageId, turn: &Turn) -> Result<(Slot, UnixTime), StoreError> {
        match turn.item(chat, id)? {
            Some(row) => Ok((slot_of(&row)?, row.stored_at)),
            None => Ok((Slot::default(), turn.now.unix)),
        }
    }

    fn put_slot(&mut self, chat: ChatId, id: MessageId, slot: &Slot, stored_at: UnixTime, turn: &mut Turn) {
        let retention_s = self.chats.get(&chat).map_or(0, |c| c.retention_s);
        let row: ItemRow = slot.row(chat, id, stored_at, retention_s, turn.now.unix);
        if row.expires_at.0 > 0 {
            self.arm_expiry_at(row.expires_at, turn);
        }
        turn.put_item(row);
    }

    /// Raises the delivery state of an own message, if the evidence is new.
    pub(super) fn raise(
        &mut self,
        chat: ChatId,
        id: MessageId,
        state: DeliveryState,
        path: Option<Path>,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let Some(row) = turn.item(&chat, &id)? else { return Ok(()) };
        let (mut slot, stored_at) = (slot_of(&row)?, row.stored_at);
        if slot.raise(state, path) {
            self.put_slot(chat, id, &slot, stored_at, turn);
            turn.event(Some(chat), Some(id), EventKind::MessageState { state: slot.delivery(), path });
        }
        Ok(())
    }

    pub(super) fn edit(&mut self, id: MessageId, body: String, turn: &mut Turn) -> Result<Answer, StoreError> {
        if let Err(error) = check_body(&body) {
            return Ok(Err(error));
        }
        let Some(chat) = self.chat_of(&id, turn)? else { return Ok(super::not_found("message")) };
        if self.groups.contains_key(&chat)
            && let Err(error) = self.may_post(&chat, turn.now.unix)
        {
            return Ok(Err(error));
        }
        if self.channels.contains_key(&chat)
            && let Err(error) = self.may_write_channel(&chat).and(check_post_length(&body))
        {
            return Ok(Err(error));
        }
        let Some(row) = turn.item(&chat, &id)?.filter(|row| row.visible && row.outgoing) else {
            return Ok(super::not_found("own message"));
        };
        if row.body == body {
            return self.message_reply(id, turn);
        }
        if self.slot(&chat, &id, turn)?.0.poll().is_some() {
            let why = "a question that can be voted on stays as it was asked: delete it and ask anew".to_owned();
            return Ok(Err(RequestError::Invalid { field: "id", why }));
        }
        let mentions = self.mentions_in(&chat, &body);
        let text = proto::Text { body: body.clone(), spans: mention::write(&mentions), ..proto::Text::default() };
        let edit = proto::Edit { of: id.0.to_vec(), text: Some(text), rev: 0 };
        let op = self.own_op(chat, SlotOpKind::Edit { body: body.clone(), mentions }, turn);
        self.apply_op(chat, id, &op, None, turn)?;
        self.tell_operation(chat, &op, Kind::Edit(edit), turn)?;
        turn.event(Some(chat), Some(id), EventKind::MessageEdited { body, author: None });
        self.message_reply(id, turn)
    }

    pub(super) fn react(
        &mut self,
        id: MessageId,
        emoji: String,
        remove: bool,
        turn: &mut Turn,
    ) -> Result<Answer, StoreError> {
        if let Err(error) = check_text("emoji", &emoji, 1, REACTION_BYTES_MAX) {
            return Ok(Err(error));
        }
        let Some(chat) = self.chat_of(&id, turn)? else { return Ok(super::not_found("message")) };
        if turn.item(&chat, &id)?.is_none_or(|row| !row.visible) {
            return Ok(super::not_found("message"));
        }
        if self.groups.contains_key(&chat)
            && let Err(error) = self.may_post(&chat, turn.now.unix)
        {
            return Ok(Err(error));
        }
        if let Err(error) = self.may_write_channel(&chat) {
            return Ok(Err(error));
        }
        let op = self.own_op(chat, SlotOpKind::React { emoji: emoji.clone(), remove }, turn);
        if self.apply_op(chat, id, &op, None, turn)? != Changed::Nothing {
            let reaction = proto::Reaction { to: id.0.to_vec(), emoji: emoji.clone(), remove };
            self.tell_operation(chat, &op, Kind::React(reaction), turn)?;
            turn.event(
                Some(chat),
                Some(id),
                EventKind::MessageReaction { outgoing: true, emoji, removed: remove, author: None },
            );
        }
        Ok(Ok(Reply::Done))
    }

    pub(super) fn delete(&mut self, ids: &[MessageId], for_both: bool, turn: &mut Turn) -> Result<Answer, StoreError> {
        let mut by_chat: std::collections::BTreeMap<ChatId, Vec<MessageId>> = Default::default();
        for id in ids {
            let Some(chat) = self.chat_of(id, turn)? else { continue };
            let Some(row) = turn.item(&chat, id)?.filter(|row| row.visible) else { continue };
            if for_both && !row.outgoing && self.groups.contains_key(&chat) && !self.may_moderate(&chat) {
                return Ok(Err(RequestError::NotAllowed("delete what others wrote")));
            }
            if for_both && let Err(error) = self.may_write_channel(&chat) {
                return Ok(Err(error));
            }
            by_chat.entry(chat).or_default().push(*id);
        }
        let count = by_chat.values().map(Vec::len).sum::<usize>();
        if count == 0 {
            return Ok(super::not_found("message"));
        }
        for (chat, ids) in by_chat {
            let op = self.own_op(chat, SlotOpKind::Delete, turn);
            for id in &ids {
                self.delete_here(chat, *id, &op, turn)?;
                if for_both {
                    // It may have arrived all the same: the order to delete is sent in any case.
                    self.recall(chat, *id, turn);
                }
            }
            if for_both {
                let wire = proto::Delete { ids: ids.iter().map(|id| id.0.to_vec()).collect(), scope: 2 };
                self.tell_operation(chat, &op, Kind::Delete(wire), turn)?;
            }
        }
        Ok(Ok(Reply::Count(u32::try_from(count).unwrap_or(u32::MAX))))
    }

    fn delete_here(&mut self, chat: ChatId, id: MessageId, op: &SlotOp, turn: &mut Turn) -> Result<(), StoreError> {
        if self.apply_op(chat, id, op, None, turn)? == Changed::Deleted {
            turn.extend_seen(retention::bury(&chat, &id, turn.now.unix));
            self.forget_said(&chat, &id, turn)?;
            self.list_pin(chat, id, turn)?;
            turn.event(Some(chat), Some(id), EventKind::MessageDeleted { author: op.author.member() });
        }
        Ok(())
    }

    pub(super) fn own_op(&mut self, chat: ChatId, kind: SlotOpKind, turn: &mut Turn) -> SlotOp {
        let lamport = self.next_lamport(&chat, turn);
        let op_id = self.new_message_id(turn.now.unix);
        SlotOp { author: SlotAuthor::Me, lamport, ts: turn.now.unix, op_id, kind }
    }

    /// Sends an operation to the other side, under the numbers it was applied with here.
    pub(super) fn tell_operation(
        &mut self,
        chat: ChatId,
        op: &SlotOp,
        kind: Kind,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let (group, channel) = (self.groups.contains_key(&chat), self.channels.contains_key(&chat));
        let note = self.own.as_ref().is_some_and(|own| own.chat() == chat);
        if note || (!group && !channel && !self.has_session(&chat)) {
            return Ok(());
        }
        let plain = proto::Plain {
            ts_ms: op.ts.0,
            msg_id: op.op_id.0.to_vec(),
            lamport: op.lamport,
            kind: Some(kind),
            ..proto::Plain::default()
        };
        let expires_at = turn.now.unix.after_ms(CONTROL_TTL_MS);
        let errand = Errand { message: None, expires_at, no_infra: false, carried: true };
        let told = match group {
            true => self.post(chat, &plain, errand, turn)?.is_ok(),
            false if channel => self.post_operation(chat, &plain, turn)?.is_ok(),
            false => self.seal_and_queue(chat, &plain.encode_to_vec(), errand, turn)?.is_ok(),
        };
        if !told {
            let text = "a change could not be told to the others".to_owned();
            turn.event(Some(chat), None, EventKind::Warning { text });
        }
        Ok(())
    }

    /// An edit, reaction or deletion by the other side.
    pub(super) fn operation_arrived(
        &mut self,
        chat: ChatId,
        author: SlotAuthor,
        plain: &proto::Plain,
        kind: Kind,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let Some(op_id) = message_id(&plain.msg_id) else { return Ok(()) };
        let op = |kind| SlotOp { author, lamport: plain.lamport, ts: UnixTime(plain.ts_ms), op_id, kind };
        match kind {
            Kind::Edit(edit) => {
                let (Some(id), Some(text)) = (message_id(&edit.of), edit.text) else { return Ok(()) };
                if self.gone(&chat, &id, turn)? {
                    return Ok(());
                }
                let mentions = mention::read(&text.spans, &text.body);
                let op = op(SlotOpKind::Edit { body: text.body.clone(), mentions });
                if self.apply_op(chat, id, &op, None, turn)? == Changed::Edited {
                    let body = turn.item(&chat, &id)?.map(|row| row.body).unwrap_or_default();
                    turn.event(Some(chat), Some(id), EventKind::MessageEdited { body, author: author.member() });
                }
            }
            Kind::React(reaction) => {
                let Some(id) = message_id(&reaction.to) else { return Ok(()) };
                if self.gone(&chat, &id, turn)? || check_text("emoji", &reaction.emoji, 1, REACTION_BYTES_MAX).is_err()
                {
                    return Ok(());
                }
                let op = op(SlotOpKind::React { emoji: reaction.emoji.clone(), remove: reaction.remove });
                if self.apply_op(chat, id, &op, None, turn)? == Changed::Reacted {
                    let kind = EventKind::MessageReaction {
                        outgoing: false,
                        emoji: reaction.emoji,
                        removed: reaction.remove,
                        author: author.member(),
                    };
                    turn.event(Some(chat), Some(id), kind);
                }
            }
            Kind::Pin(pin) => {
                let Some(id) = message_id(&pin.of) else { return Ok(()) };
                if !self.gone(&chat, &id, turn)? {
                    self.pin_slot(chat, id, &op(SlotOpKind::Pin { off: pin.off }), turn)?;
                }
            }
            Kind::Vote(vote) => {
                let (Some(id), Some(choices)) = (message_id(&vote.of), Choices::of(&vote.options)) else {
                    return Ok(());
                };
                if !self.gone(&chat, &id, turn)? {
                    self.vote_in_slot(chat, id, &op(SlotOpKind::Vote { choices }), turn)?;
                }
            }
            Kind::Delete(delete) if delete.scope == 2 => {
                for id in delete.ids.iter().take(READ_BATCH).filter_map(|bytes| message_id(bytes)) {
                    if self.may_delete(&chat, &id, author, turn)? {
                        self.delete_here(chat, id, &op(SlotOpKind::Delete), turn)?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    // ---- reading

    pub(super) fn mark_read(
        &mut self,
        chat: ChatId,
        upto: Option<MessageId>,
        turn: &mut Turn,
    ) -> Result<Answer, StoreError> {
        let Some(record) = self.chats.get(&chat) else { return Ok(super::not_found("conversation")) };
        let after = message_id(&record.read_upto);
        let mut ids = turn.store().chat_items(&chat, after.as_ref(), READ_BATCH)?;
        ids.retain(|id| upto.is_none_or(|last| *id <= last));
        let Some(last) = ids.last().copied() else { return Ok(Ok(Reply::Count(0))) };
        let mut theirs = Vec::new();
        for id in ids {
            if turn.item(&chat, &id)?.is_some_and(|row| row.visible && !row.outgoing) {
                theirs.push(id.0.to_vec());
            }
        }
        if let Some(record) = self.chats.get_mut(&chat) {
            record.read_upto = last.0.to_vec();
        }
        self.save_chat(&chat, turn);
        turn.event(Some(chat), Some(last), EventKind::ChatRead);
        let count = u32::try_from(theirs.len()).unwrap_or(u32::MAX);
        let allowed = self.own.as_ref().is_some_and(|own| own.record.read_receipts)
            && self.contacts.get(&chat).is_some_and(|c| c.rec.read_receipts && c.state() == ContactState::Active);
        if allowed && !theirs.is_empty() {
            let receipt = proto::Receipt { ids: theirs, what: 2 };
            self.queue_control(chat, Kind::Receipt(receipt), CONTROL_TTL_MS, turn)?;
        }
        Ok(Ok(Reply::Count(count)))
    }

    pub(super) fn read_by_them(
        &mut self,
        chat: ChatId,
        receipt: &proto::Receipt,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        if receipt.what != 2 {
            return Ok(());
        }
        for id in receipt.ids.iter().take(READ_BATCH).filter_map(|bytes| message_id(bytes)) {
            if turn.item(&chat, &id)?.is_some_and(|row| row.outgoing) {
                self.raise(chat, id, DeliveryState::Read { at: turn.now.unix }, None, turn)?;
                let hop = HopRecord { at: turn.now.unix.0, what: "read".to_owned(), ..HopRecord::default() };
                self.add_hop(&chat, &id, hop, turn)?;
            }
        }
        Ok(())
    }

    pub(super) fn typing(&mut self, chat: ChatId, on: bool, turn: &mut Turn) -> Result<Answer, StoreError> {
        let Some(contact) = self.contacts.get(&chat) else { return Ok(super::not_found("contact")) };
        let allowed = self.own.as_ref().is_some_and(|own| own.record.typing);
        if allowed && contact.rec.typing && contact.state() == ContactState::Active {
            self.send_live(chat, Kind::Typing(proto::Typing { on }), turn)?;
        }
        Ok(Ok(Reply::Done))
    }

    pub(super) fn ping(
        &mut self,
        id: RequestId,
        chat: ChatId,
        timeout_ms: u64,
        turn: &mut Turn,
    ) -> Result<Option<Answer>, StoreError> {
        if !self.contacts.contains_key(&chat) {
            return Ok(Some(super::not_found("contact")));
        }
        if self.best_link(&chat).is_none() || !self.has_session(&chat) {
            self.timers.set(Timer::FindContact(chat), turn.now.moment);
            return Ok(Some(Err(RequestError::Offline)));
        }
        let nonce = self.chance.bytes::<8>().to_vec();
        self.send_live(chat, Kind::Ping(proto::Ping { nonce: nonce.clone(), answer: false }), turn)?;
        self.waiting.insert(id, Waiting::Ping { chat, nonce, sent: turn.now.moment });
        self.timers.set(Timer::Request(id), turn.now.moment.after_ms(timeout_ms.clamp(100, 600_000)));
        Ok(None)
    }

    pub(super) fn trace(&mut self, id: MessageId, turn: &mut Turn) -> Result<Answer, StoreError> {
        let trace: Option<TraceRecord> = turn.record(Table::Trace, id.as_bytes())?;
        let Some(trace) = trace else { return Ok(super::not_found("message")) };
        let Some(chat) = ChatId::read(&trace.chat) else { return Ok(super::not_found("message")) };
        let state = self.item_view(&chat, &id, turn)?.map_or(DeliveryState::Local, |item| item.delivery);
        let hops = trace.hops.iter().map(|hop| Hop {
            at: UnixTime(hop.at),
            what: hop_name(&hop.what),
            path: path_of_code(hop.path),
            peer: (!hop.peer.is_empty()).then(|| PeerKey(hop.peer.clone())),
            until: (hop.until > 0).then_some(UnixTime(hop.until)),
        });
        Ok(Ok(Reply::Trace(TraceView { id, chat, state, hops: hops.collect() })))
    }

    // ---- retention

    pub(super) fn set_retention(&mut self, chat: ChatId, seconds: u32, turn: &mut Turn) -> Result<Answer, StoreError> {
        if self.groups.contains_key(&chat) {
            let changes = GroupChanges { retention_s: Some(seconds), ..GroupChanges::default() };
            return self.group_set(chat, changes, turn);
        }
        if self.channels.contains_key(&chat) {
            return self.set_channel_retention(chat, seconds, turn);
        }
        if seconds != 0 && !CHAT_RETENTION_S_RANGE.contains(&seconds) {
            let why = "0 (for ever), or from 1 to 90 days".to_owned();
            return Ok(Err(RequestError::Invalid { field: "seconds", why }));
        }
        let note = self.own.as_ref().is_some_and(|own| own.chat() == chat);
        if !note && !self.contacts.contains_key(&chat) {
            return Ok(super::not_found("conversation"));
        }
        let record = self.chats.entry(chat).or_default();
        let rev = record.retention_rev + 1;
        self.adopt_retention(chat, seconds, rev, true, turn)?;
        if !note && self.has_session(&chat) {
            self.queue_control(chat, Kind::Retention(proto::RetentionProposal { seconds, rev }), CONTROL_TTL_MS, turn)?;
        }
        Ok(Ok(Reply::Done))
    }

    pub(super) fn retention_arrived(
        &mut self,
        chat: ChatId,
        proposal: &proto::RetentionProposal,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let valid = proposal.seconds == 0 || CHAT_RETENTION_S_RANGE.contains(&proposal.seconds);
        let Some(known) = self.chats.get(&chat) else { return Ok(()) };
        // Both changed it at once: the shorter one, on both sides.
        let shorter = |a: u32, b: u32| a != 0 && (b == 0 || a < b);
        let newer = proposal.rev > known.retention_rev
            || (proposal.rev == known.retention_rev && shorter(proposal.seconds, known.retention_s));
        if valid && newer { self.adopt_retention(chat, proposal.seconds, proposal.rev, false, turn) } else { Ok(()) }
    }

    pub(super) fn adopt_retention(
        &mut self,
        chat: ChatId,
        seconds: u32,
        rev: u64,
        outgoing: bool,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let record = self.chats.entry(chat).or_default();
        record.retention_s = seconds;
        record.retention_rev = rev;
        self.save_chat(&chat, turn);
        for id in turn.items_set(&chat) {
            let (slot, stored_at) = self.slot(&chat, &id, turn)?;
            self.put_slot(chat, id, &slot, stored_at, turn);
        }
        let mut after: Option<MessageId> = None;
        loop {
            let ids = turn.store().chat_items(&chat, after.as_ref(), READ_BATCH)?;
            let Some(last) = ids.last().copied() else { break };
            for id in ids {
                if turn.item(&chat, &id)?.is_some() {
                    let (slot, stored_at) = self.slot(&chat, &id, turn)?;
                    self.put_slot(chat, id, &slot, stored_at, turn);
                }
            }
            after = Some(last);
        }
        turn.event(Some(chat), None, EventKind::ChatRetention { seconds, outgoing });
        Ok(())
    }

    /// Arms the wake for the next message that disappears.
    pub(super) fn arm_expiry(&mut self, turn: &mut Turn) -> Result<(), StoreError> {
        if let Some(at) = turn.store().next_expiry()? {
            self.arm_expiry_at(at, turn);
        }
        Ok(())
    }

    fn arm_expiry_at(&mut self, at: UnixTime, turn: &Turn) {
        let wait = at.0.saturating_sub(turn.now.unix.0);
        self.timers.set_earlier(Timer::Expire, turn.now.moment.after_ms(wait));
    }

    /// Messages whose time is over go, and never come back.
    pub(super) fn expire_items(&mut self, turn: &mut Turn) -> Result<(), StoreError> {
        let due = turn.store().items_expiring(turn.now.unix, EXPIRE_BATCH)?;
        let erased = !due.is_empty();
        for (chat, id) in due {
            let was_visible = turn.item(&chat, &id)?.is_some_and(|row| row.visible);
            turn.erase_item(chat, id);
            turn.delete(Table::Trace, id.as_bytes());
            self.forget_said(&chat, &id, turn)?;
            self.list_pin(chat, id, turn)?;
            if was_visible {
                turn.extend_seen(retention::bury(&chat, &id, turn.now.unix));
                turn.event(Some(chat), Some(id), EventKind::MessageExpired);
            }
        }
        if erased {
            // In the store they are still the next: which ones come after them is seen in another step.
            self.timers.set(Timer::Expire, turn.now.moment.after_ms(10));
            return Ok(());
        }
        let later = turn.store().next_expiry()?.filter(|at| *at > turn.now.unix);
        if let Some(at) = later {
            self.arm_expiry_at(at, turn);
        }
        Ok(())
    }
}

/// A text that was written before there were keys to seal it with, as it is sealed when they are here.
pub(super) fn written_before(item: ItemView) -> (proto::Plain, Errand) {
    let text = proto::Text {
        reply_to: item.reply_to.map(|r| r.0.to_vec()).unwrap_or_default(),
        spans: mention::write(&item.mentions),
        poll: item.poll.map(|asked| asked.poll.write()),
        body: item.body,
    };
    let plain = proto::Plain {
        ts_ms: item.sent_at.0,
        msg_id: item.id.0.to_vec(),
        lamport: item.lamport,
        expire_s: item.expire_s,
        kind: Some(Kind::Text(text)),
        ..proto::Plain::default()
    };
    let expires_at = item.sent_at.after_ms(TEXT_TTL_MS);
    (plain, Errand { message: Some(item.id), expires_at, no_infra: false, carried: true })
}

fn slot_of(row: &ItemRow) -> Result<Slot, StoreError> {
    Slot::decode(&row.slot).ok_or_else(|| StoreError::Broken("a message row does not decode".to_owned()))
}

/// Names of hops are few and fixed.
fn hop_name(stored: &str) -> &'static str {
    const NAMES: [&str; 8] = ["queued", "sent", "held", "carried", "delivered", "read", "failed", "received"];
    NAMES.into_iter().find(|name| *name == stored).unwrap_or("noted")
}

fn check_body(body: &str) -> Result<(), RequestError> {
    if body.is_empty() || body.len() > TEXT_BYTES_MAX {
        let why = format!("1 to {TEXT_BYTES_MAX} bytes are allowed, these are {}", body.len());
        return Err(RequestError::Invalid { field: "body", why });
    }
    Ok(())
}

fn check_expire(expire_s: Option<u32>) -> Result<(), RequestError> {
    match expire_s {
        Some(seconds) if !EXPIRE_S_RANGE.contains(&seconds) => {
            Err(RequestError::Invalid { field: "expireS", why: "from 5 seconds to 90 days".to_owned() })
        }
        _ => Ok(()),
    }
}

fn check_ttl(ttl_s: Option<u32>) -> Result<(), RequestError> {
    match ttl_s {
        Some(seconds) if !SEND_TTL_S_RANGE.contains(&seconds) => {
            Err(RequestError::Invalid { field: "ttlS", why: "from 1 hour to 30 days".to_owned() })
        }
        _ => Ok(()),
    }
}

fn check_client_id(client_id: Option<&str>) -> Result<(), RequestError> {
    match client_id {
        Some(id) if id.is_empty() || id.len() > CLIENT_ID_BYTES_MAX => {
            Err(RequestError::Invalid { field: "clientId", why: format!("1 to {CLIENT_ID_BYTES_MAX} bytes") })
        }
        _ => Ok(()),
    }
}
