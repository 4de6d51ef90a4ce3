//! What newcomers read of the time before: letters are kept as they were signed, handed on by whoever lets somebody in,
//! and verified by whoever came.
//!
//! ```text
//!   letter sealed or opened ──▶ keep_said ──▶ GroupSaid ──▶ hand_history ══ session ══▶ history_arrived ──▶ slots
//!                                                │ deleted, expired: forget_said
//! ```
//! What disappears by itself is never kept here, and what is deleted or expired goes from here too. Nobody is notified
//! of history: it is there, in its place among the others, and read.

use prost::Message;

use super::super::records::state::HopRecord;
use super::super::turn::Turn;
use super::super::{Engine, message_id};
use super::Group;
use super::letters::is_message_of;
use crate::conversation::{Changed, Choices, Poll, SlotAuthor, SlotOp, SlotOpKind, mention, retention};
use crate::group::GroupRole;
use crate::group::history::{Pack, read, write};
use crate::group::letter::Letter;
use crate::ids::{AccountId, ChatId, GroupDevice, MessageId, OperationId};
use crate::limits::{
    CONTROL_TTL_MS, GROUP_HISTORY_BYTES_MAX, GROUP_HISTORY_LETTERS_MAX, GROUP_HISTORY_MESSAGES_MAX, GROUP_HISTORY_MS,
    GROUP_HISTORY_WAITING_MAX, GROUP_SAID_PER_MESSAGE_MAX, TEXT_BYTES_MAX,
};
use crate::step::{DeliveryState, EventKind};
use crate::store::{StoreError, Table};
use crate::time::{DAY_MS, MINUTE_MS, UnixTime};
use crate::wire::proto::{self, group_ctl::C, plain::Kind};

/// What a kept letter is to its message, as it stands in the key: texts come first.
const TEXT: u8 = 0;
const CHANGE: u8 = 1;
/// The last vote of an account, named by the account instead of the letter.
const VOTE: u8 = 2;

/// A text, or several of one author under one id, the changes, and the votes.
const SAID_OF_ONE_MAX: usize = 3 * GROUP_SAID_PER_MESSAGE_MAX;

impl Engine {
    // ---- kept

    /// Keeps an own letter, for newcomers.
    pub(super) fn keep_own(
        &self,
        chat: ChatId,
        letter: &Letter,
        plain: &proto::Plain,
        heads: &[OperationId],
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        match about(plain).filter(|(_, rank)| *rank != TEXT || plain.expire_s == 0) {
            Some((id, rank)) => self.keep(chat, id, rank, letter, heads, turn),
            None => Ok(()),
        }
    }

    /// Keeps a letter of somebody else, if what it says has found its message.
    pub(super) fn keep_said(
        &self,
        chat: ChatId,
        letter: &Letter,
        plain: &proto::Plain,
        heads: &[OperationId],
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let Some((id, rank)) = about(plain) else { return Ok(()) };
        let author = letter.origin.sender.account;
        let by_author = matches!(&plain.kind, Some(Kind::Text(_) | Kind::Edit(_)));
        let allowed = !matches!(&plain.kind, Some(Kind::Pin(_))) || self.may_pin(&chat, &author);
        if by_author && !is_message_of(&id, &author) || !allowed {
            return Ok(());
        }
        if self.gone(&chat, &id, turn)? || turn.item(&chat, &id)?.is_none() {
            return Ok(());
        }
        if rank == VOTE {
            let (slot, _) = self.slot(&chat, &id, turn)?;
            if slot.last_vote(SlotAuthor::Member(author)) != message_id(&plain.msg_id) {
                return Ok(());
            }
        }
        if rank == TEXT && plain.expire_s > 0 {
            return self.forget_said(&chat, &id, turn); // reactions may have come before it
        }
        self.keep(chat, id, rank, letter, heads, turn)
    }

    /// Nothing that disappears by itself comes here.
    fn keep(
        &self,
        chat: ChatId,
        id: MessageId,
        rank: u8,
        letter: &Letter,
        heads: &[OperationId],
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let prefix = said_prefix(&chat, &id);
        let of_rank = [&prefix[..], &[rank]].concat();
        let key = match rank {
            VOTE => [&of_rank[..], &letter.origin.sender.account.0].concat(),
            _ => [&of_rank[..], letter.id.as_bytes()].concat(),
        };
        let most = if rank == VOTE { GROUP_SAID_PER_MESSAGE_MAX } else { GROUP_SAID_PER_MESSAGE_MAX - 1 }; // and its text
        let full = rank != TEXT
            && turn.value(Table::GroupSaid, &key)?.is_none()
            && turn.pairs_under(Table::GroupSaid, &of_rank, most)?.len() >= most;
        if !full {
            turn.put_record(Table::GroupSaid, &key, &write(letter, heads));
        }
        Ok(())
    }

    /// A message is deleted or has expired: nothing that was said in it or about it is handed on.
    pub(in super::super) fn forget_said(
        &self,
        chat: &ChatId,
        id: &MessageId,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        if !self.groups.contains_key(chat) {
            return Ok(());
        }
        for (key, _) in turn.pairs_under(Table::GroupSaid, &said_prefix(chat, id), SAID_OF_ONE_MAX)? {
            turn.delete(Table::GroupSaid, &key);
        }
        Ok(())
    }

    // ---- handed on

    /// Tells somebody who has just been let in what was said before, as far as the group's policy goes: the newest
    /// first, so that it is here first.
    pub(super) fn hand_history(&mut self, chat: ChatId, account: AccountId, turn: &mut Turn) -> Result<(), StoreError> {
        let now = turn.now.unix;
        let Some(group) = self.groups.get(&chat).filter(|group| group.has_member(&account)) else { return Ok(()) };
        let Some(since) = group.history_since(now) else { return Ok(()) };
        let gid = group.id();
        let mut pack = Pack::default();
        for id in newest(&chat, since, now, turn)?.into_iter().rev() {
            let Some(row) = turn.item(&chat, &id)?.filter(|row| row.visible && row.sent_at >= since) else { continue };
            if row.expires_at.0 > 0 && row.expires_at <= now {
                continue;
            }
            let said = turn.pairs_under(Table::GroupSaid, &said_prefix(&chat, &id), SAID_OF_ONE_MAX)?;
            let has_text = said.first().is_some_and(|(key, _)| key.get(said_prefix(&chat, &id).len()) == Some(&TEXT));
            if !has_text {
                continue;
            }
            let letters = said.iter().map(|(_, value)| {
                proto::ToldLetter::decode(value.as_slice()).map_err(|_| StoreError::Damaged { table: Table::GroupSaid })
            });
            if !pack.add(letters.collect::<Result<_, _>>()?) {
                break;
            }
        }
        for part in pack.finish(&gid) {
            let ctl = proto::GroupCtl { c: Some(C::History(part)), ..Default::default() };
            self.queue_control(account.chat(), Kind::Group(ctl), CONTROL_TTL_MS, turn)?;
        }
        Ok(())
    }

    // ---- taken in

    /// Somebody tells what was said before this account came.
    pub(super) fn history_arrived(
        &mut self,
        from: ChatId,
        history: proto::GroupHistory,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let Some(chat) = ChatId::read(&history.gid) else { return Ok(()) };
        let (Some(by), Some(own)) = (self.contacts.get(&from).and_then(|contact| contact.aid()), self.own_device())
        else {
            return Ok(());
        };
        let Some(group) = self.groups.get(&chat) else { return keep_early(&chat, &from, &history, turn) };
        if !group.takes_history_from(&by, &own.account, turn.now.unix) {
            return Ok(());
        }
        let (mut shown, mut last) = (0, None);
        for told in &history.letters {
            let Some(group) = self.groups.get_mut(&chat).filter(|group| group.has_room_for(told)) else { break };
            group.rec.history_letters = group.rec.history_letters.saturating_add(1);
            group.rec.history_bytes = group.rec.history_bytes.saturating_add(told.body.len() as u64);
            let keys_of = |device: &GroupDevice| group.signers.get(device).map_or(&[][..], Vec::as_slice);
            let Some(letter) = read(told, group.id(), group.ring.graph(), keys_of) else { continue };
            if let Some(id) = self.take_told(chat, &letter, told, own.account, turn)? {
                shown += 1;
                last = last.max(Some(id));
            }
        }
        if let Some(last) = last {
            self.count_as_read(chat, last, turn);
            turn.event(Some(chat), None, EventKind::GroupHistory { messages: shown });
        }
        self.save_group(&chat, turn);
        Ok(())
    }

    /// A letter that its author has written: the message that can be shown from now on, if it makes one.
    fn take_told(
        &mut self,
        chat: ChatId,
        letter: &Letter,
        told: &proto::ToldLetter,
        own: AccountId,
        turn: &mut Turn,
    ) -> Result<Option<MessageId>, StoreError> {
        let Ok(plain) = proto::Plain::decode(letter.body.as_slice()) else { return Ok(None) };
        let account = letter.origin.sender.account;
        let Some((id, rank)) = about(&plain).filter(|_| plain.expire_s == 0) else { return Ok(None) };
        let Some(op_id) = message_id(&plain.msg_id) else { return Ok(None) };
        let kind = match plain.kind {
            Some(Kind::Text(text)) if is_message_of(&id, &account) => {
                let mentions = mention::read(&text.spans, &text.body);
                let (reply_to, poll) = (message_id(&text.reply_to), text.poll.and_then(Poll::read));
                SlotOpKind::Text { body: text.body, reply_to, expire_s: 0, mentions, poll }
            }
            Some(Kind::Edit(edit)) if is_message_of(&id, &account) => {
                let text = edit.text.unwrap_or_default();
                let mentions = mention::read(&text.spans, &text.body);
                SlotOpKind::Edit { body: text.body, mentions }
            }
            Some(Kind::React(reaction)) => SlotOpKind::React { emoji: reaction.emoji, remove: reaction.remove },
            Some(Kind::Vote(vote)) => match Choices::of(&vote.options) {
                Some(choices) => SlotOpKind::Vote { choices },
                None => return Ok(None),
            },
            Some(Kind::Pin(pin)) if self.may_pin(&chat, &account) => SlotOpKind::Pin { off: pin.off },
            _ => return Ok(None),
        };
        let bounded = match &kind {
            SlotOpKind::Text { body, .. } | SlotOpKind::Edit { body, .. } => (1..=TEXT_BYTES_MAX).contains(&body.len()),
            _ => true,
        };
        // As if it had been here since it was written: the group's retention counts from then.
        let stored_at = UnixTime(plain.ts_ms.min(turn.now.unix.0));
        let kept_s = self.chats.get(&chat).map_or(0, |record| record.retention_s);
        let until = retention::expiry(stored_at, 0, kept_s);
        if !bounded || (until.0 > 0 && until <= turn.now.unix) || self.gone(&chat, &id, turn)? {
            return Ok(None);
        }
        self.see_lamport(&chat, plain.lamport, turn);
        let author = if account == own { SlotAuthor::Me } else { SlotAuthor::Member(account) };
        let op = SlotOp { author, lamport: plain.lamport, ts: UnixTime(plain.ts_ms), op_id, kind };
        // Nothing is left to deliver, of an own one neither.
        let changed = self.apply_as_of(chat, id, &op, stored_at, (DeliveryState::Local, None), turn)?;
        if changed == Changed::Nothing {
            return Ok(None);
        }
        let heads = crate::group::welcome::read_heads(&told.heads).unwrap_or_default();
        self.keep(chat, id, rank, letter, &heads, turn)?;
        self.list_pin(chat, id, turn)?;
        if changed != Changed::Appeared {
            return Ok(None);
        }
        let hop = HopRecord { at: turn.now.unix.0, what: "received".to_owned(), ..HopRecord::default() };
        self.add_hop(&chat, &id, hop, turn)?;
        Ok(Some(id))
    }

    /// History is not unread. An author's clock that runs ahead does not make later messages read.
    fn count_as_read(&mut self, chat: ChatId, last: MessageId, turn: &mut Turn) {
        let last = last.min(first_id_at(turn.now.unix));
        let Some(record) = self.chats.get_mut(&chat) else { return };
        if message_id(&record.read_upto).is_none_or(|upto| upto < last) {
            record.read_upto = last.0.to_vec();
            self.save_chat(&chat, turn);
        }
    }

    /// Takes what came before its welcome.
    pub(super) fn take_early_history(&mut self, chat: ChatId, from: ChatId, turn: &mut Turn) -> Result<(), StoreError> {
        let prefix = [chat.as_bytes(), from.as_bytes()].concat();
        for (key, value) in turn.pairs_under(Table::GroupEarly, &prefix, GROUP_HISTORY_WAITING_MAX)? {
            turn.delete(Table::GroupEarly, &key);
            let part = value.get(8..).and_then(|bytes| proto::GroupHistory::decode(bytes).ok());
            if let Some(part) = part {
                self.history_arrived(from, part, turn)?;
            }
        }
        Ok(())
    }
}

impl Group {
    /// From when on a newcomer may read; `None` for nothing.
    fn history_since(&self, now: UnixTime) -> Option<UnixTime> {
        match self.membership.info.history_days {
            None | Some(0) => None,
            Some(u32::MAX) => Some(UnixTime(0)),
            Some(days) => Some(UnixTime(now.0.saturating_sub(u64::from(days) * DAY_MS))),
        }
    }

    /// For a while after coming in, from who let this account in and from admins, if newcomers may read anything.
    fn takes_history_from(&self, by: &AccountId, own: &AccountId, now: UnixTime) -> bool {
        let role = self.role_of(by);
        self.history_since(now).is_some()
            && self.takes_part()
            && self.rec.welcomed_at > 0
            && self.rec.welcomed_at.saturating_add(GROUP_HISTORY_MS) > now.0
            && (role >= Some(GroupRole::Admin) || role.is_some() && self.brought_in(own, by))
    }

    fn has_room_for(&self, told: &proto::ToldLetter) -> bool {
        (self.rec.history_letters as usize) < GROUP_HISTORY_LETTERS_MAX
            && self.rec.history_bytes.saturating_add(told.body.len() as u64) <= GROUP_HISTORY_BYTES_MAX as u64
    }
}

/// The message a content is about, and whether it is its text; `None` for what is not handed on.
fn about(plain: &proto::Plain) -> Option<(MessageId, u8)> {
    match plain.kind.as_ref()? {
        Kind::Text(_) => Some((message_id(&plain.msg_id)?, TEXT)),
        Kind::Edit(edit) => Some((message_id(&edit.of)?, CHANGE)),
        Kind::React(reaction) => Some((message_id(&reaction.to)?, CHANGE)),
        Kind::Pin(pin) => Some((message_id(&pin.of)?, CHANGE)),
        Kind::Vote(vote) => Some((message_id(&vote.of)?, VOTE)),
        _ => None,
    }
}

fn said_prefix(chat: &ChatId, id: &MessageId) -> Vec<u8> {
    [chat.as_bytes(), id.as_bytes()].concat()
}

/// The least id of a moment: ids begin with the time.
fn first_id_at(at: UnixTime) -> MessageId {
    let mut id = [0; MessageId::LEN];
    if let Some(time) = id.get_mut(..6) {
        time.copy_from_slice(at.0.to_be_bytes().get(2..).unwrap_or(&[0; 6]));
    }
    MessageId(id)
}

/// The newest messages of a conversation since a moment, as many as are handed on, in the order of their ids.
fn newest(chat: &ChatId, since: UnixTime, now: UnixTime, turn: &Turn) -> Result<Vec<MessageId>, StoreError> {
    let after =
        |at: u64| turn.store().chat_items(chat, Some(&first_id_at(UnixTime(at))), GROUP_HISTORY_MESSAGES_MAX + 1);
    let all = after(since.0)?;
    if all.len() <= GROUP_HISTORY_MESSAGES_MAX {
        return Ok(all);
    }
    // Rows are read forwards only: the moment since which there are few enough is found by halving.
    let (mut too_early, mut late_enough) = (since.0, now.0);
    while late_enough.saturating_sub(too_early) > MINUTE_MS {
        let middle = too_early + (late_enough - too_early) / 2;
        match after(middle)?.len() <= GROUP_HISTORY_MESSAGES_MAX {
            true => late_enough = middle,
            false => too_early = middle,
        }
    }
    let mut ids = after(late_enough)?;
    ids.truncate(GROUP_HISTORY_MESSAGES_MAX);
    Ok(ids)
}

/// Keeps a part that has overtaken its welcome. Key: group ‖ sender ‖ number; value: when it came, and the part.
fn keep_early(chat: &ChatId, from: &ChatId, history: &proto::GroupHistory, turn: &mut Turn) -> Result<(), StoreError> {
    let mut waiting = turn.pairs_under(Table::GroupEarly, &[], GROUP_HISTORY_WAITING_MAX)?;
    waiting.retain(|(key, value)| {
        let at = value.first_chunk::<8>().map_or(0, |at| u64::from_be_bytes(*at));
        let over = at.saturating_add(GROUP_HISTORY_MS) <= turn.now.unix.0;
        if over {
            turn.delete(Table::GroupEarly, key);
        }
        !over
    });
    let prefix = [chat.as_bytes(), from.as_bytes()].concat();
    let free = (0..=u8::MAX).find(|n| !waiting.iter().any(|(key, _)| *key == [&prefix[..], &[*n]].concat()));
    if let Some(n) = free.filter(|_| waiting.len() < GROUP_HISTORY_WAITING_MAX) {
        let value = [&turn.now.unix.0.to_be_bytes()[..], &history.encode_to_vec()].concat();
        turn.put(Table::GroupEarly, &[&prefix[..], &[n]].concat(), value);
    }
    Ok(())
}
