//! What a person sets for a conversation on this device: muted, archived, a text to go on with. Nobody is told.

use super::records::state::DraftRecord;
use super::turn::Turn;
use super::{Answer, Engine, message_id};
use crate::ids::{ChatId, MessageId};
use crate::limits::TEXT_BYTES_MAX;
use crate::step::{ChatView, ContactState, DraftView, EventKind, Reply, RequestError};
use crate::store::{StoreError, Table};
use crate::time::{SECOND_MS, UnixTime};

impl Engine {
    pub(super) fn chat_list(&self, turn: &Turn) -> Result<Answer, StoreError> {
        let own = self.own.iter().map(super::account::Own::chat);
        let shown = |state| matches!(state, ContactState::Active | ContactState::Requested | ContactState::Blocked);
        let contacts = self.contacts.iter().filter(|(_, contact)| shown(contact.state())).map(|(chat, _)| *chat);
        let chats = own.chain(contacts).chain(self.groups.keys().copied()).chain(self.channels.keys().copied());
        let views = chats.map(|chat| self.chat_view(chat, turn)).collect::<Result<Vec<_>, _>>()?;
        Ok(Ok(Reply::Chats(views)))
    }

    pub(super) fn chat_reply(&self, chat: ChatId, turn: &Turn) -> Result<Answer, StoreError> {
        match self.has_chat(&chat) {
            true => Ok(Ok(Reply::Chat(self.chat_view(chat, turn)?))),
            false => Ok(super::not_found("conversation")),
        }
    }

    pub(super) fn chat_set(
        &mut self,
        chat: ChatId,
        mute_s: Option<u32>,
        archived: Option<bool>,
        draft: Option<(String, Option<MessageId>)>,
        turn: &mut Turn,
    ) -> Result<Answer, StoreError> {
        if !self.has_chat(&chat) {
            return Ok(super::not_found("conversation"));
        }
        if draft.as_ref().is_some_and(|(body, _)| body.len() > TEXT_BYTES_MAX) {
            let why = format!("at most {TEXT_BYTES_MAX} bytes");
            return Ok(Err(RequestError::Invalid { field: "draft", why }));
        }
        let before = self.chat_view(chat, turn)?;
        let record = self.chats.entry(chat).or_default();
        if let Some(seconds) = mute_s {
            record.muted_until = match seconds {
                0 => 0,
                u32::MAX => u64::MAX,
                _ => turn.now.unix.after_ms(u64::from(seconds) * SECOND_MS).0,
            };
        }
        record.archived = archived.unwrap_or(record.archived);
        self.save_chat(&chat, turn);
        match draft {
            Some((body, _)) if body.is_empty() => turn.delete(Table::Draft, chat.as_bytes()),
            Some((body, reply_to)) => {
                let reply_to = reply_to.map(|id| id.0.to_vec()).unwrap_or_default();
                turn.put_record(Table::Draft, chat.as_bytes(), &DraftRecord { body, reply_to, at: turn.now.unix.0 });
            }
            None => {}
        }
        let after = self.chat_view(chat, turn)?;
        if after != before {
            turn.event(Some(chat), None, EventKind::ChatUpdated);
        }
        Ok(Ok(Reply::Chat(after)))
    }

    /// A message has come: an archived conversation is in sight again, unless it is muted. True if it is muted.
    pub(super) fn stir(&mut self, chat: ChatId, turn: &mut Turn) -> bool {
        let Some(record) = self.chats.get_mut(&chat) else { return false };
        if record.muted_until > turn.now.unix.0 {
            return true;
        }
        if record.archived {
            record.archived = false;
            self.save_chat(&chat, turn);
            turn.event(Some(chat), None, EventKind::ChatUpdated);
        }
        false
    }

    fn has_chat(&self, chat: &ChatId) -> bool {
        let own = self.own.as_ref().is_some_and(|own| own.chat() == *chat);
        let shared = self.groups.contains_key(chat) || self.channels.contains_key(chat);
        own || shared || self.contacts.contains_key(chat)
    }

    fn chat_view(&self, chat: ChatId, turn: &Turn) -> Result<ChatView, StoreError> {
        let record = self.chats.get(&chat);
        let draft: Option<DraftRecord> = turn.record(Table::Draft, chat.as_bytes())?;
        let draft = draft.map(|draft| DraftView {
            reply_to: message_id(&draft.reply_to),
            body: draft.body,
            at: UnixTime(draft.at),
        });
        let muted_until = record.map_or(0, |record| record.muted_until);
        let group = self.groups.get(&chat);
        let contact = self.contacts.get(&chat);
        let own = self.own.as_ref().map(|own| own.record.name.clone());
        let channel = self.channels.get(&chat);
        let shared = group.map(|group| group.name().to_owned()).or(channel.map(|channel| channel.name().to_owned()));
        let name = shared.or(contact.map(super::contacts::Contact::shown_name));
        Ok(ChatView {
            chat,
            group: group.is_some(),
            channel: channel.is_some(),
            name: name.or(own).unwrap_or_default(),
            muted_until: (muted_until > turn.now.unix.0).then_some(UnixTime(muted_until)),
            archived: record.is_some_and(|record| record.archived),
            draft,
        })
    }
}
