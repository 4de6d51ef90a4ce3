//! Questions with answers to choose from: asking, and voting.

use super::messages::Letter;
use super::turn::Turn;
use super::{Answer, Engine};
use crate::conversation::{Changed, Choices, Poll, SlotAuthor, SlotOp, SlotOpKind};
use crate::ids::{ChatId, MessageId};
use crate::limits::POLL_ENDS_S_RANGE;
use crate::step::{EventKind, Reply, RequestError};
use crate::store::StoreError;
use crate::time::SECOND_MS;
use crate::wire::proto::{self, plain::Kind};

/// A poll as its author hands it in.
pub(super) struct Question {
    pub(super) body: String,
    pub(super) options: Vec<String>,
    pub(super) choices_max: u32,
    pub(super) ends_in_s: Option<u32>,
    pub(super) client_id: Option<String>,
}

impl Engine {
    /// Asks: a text with options beside it.
    pub(super) fn send_poll(&mut self, chat: ChatId, asked: Question, turn: &mut Turn) -> Result<Answer, StoreError> {
        let Question { body, options, choices_max, ends_in_s, client_id } = asked;
        if self.channels.contains_key(&chat) {
            let why = "readers of a channel cannot answer: ask in a group".to_owned();
            return Ok(Err(RequestError::Invalid { field: "chat", why }));
        }
        if ends_in_s.is_some_and(|seconds| !POLL_ENDS_S_RANGE.contains(&seconds)) {
            let why = "from 1 minute to 365 days, or without an end".to_owned();
            return Ok(Err(RequestError::Invalid { field: "endsInS", why }));
        }
        let ends_at = ends_in_s.map(|seconds| turn.now.unix.after_ms(u64::from(seconds) * SECOND_MS));
        let poll = Poll { options, choices_max, ends_at };
        if let Err(error) = poll.check() {
            return Ok(Err(error));
        }
        let poll = Some(poll);
        let letter = Letter { body, reply_to: None, expire_s: None, client_id, ttl_s: None, no_infra: false, poll };
        self.send_text(chat, letter, turn)
    }

    /// Chooses among the options of a poll; nothing takes the own vote back.
    pub(super) fn vote(&mut self, id: MessageId, numbers: &[u32], turn: &mut Turn) -> Result<Answer, StoreError> {
        let Some(chat) = self.chat_of(&id, turn)? else { return Ok(super::not_found("message")) };
        if self.groups.contains_key(&chat)
            && let Err(error) = self.may_post(&chat, turn.now.unix)
        {
            return Ok(Err(error));
        }
        let (slot, _) = self.slot(&chat, &id, turn)?;
        let Some(poll) = slot.poll() else { return Ok(super::not_found("poll")) };
        if poll.is_over(turn.now.unix) {
            return Ok(Err(RequestError::Invalid { field: "id", why: "this poll is over".to_owned() }));
        }
        let choices = Choices::of(numbers).filter(|choices| {
            choices.is_empty() || poll.counts(*choices, turn.now.unix) // each once, and not too many
        });
        let Some(choices) = choices else {
            let (options, most) = (poll.options.len(), poll.choices_max);
            let why = format!("choose up to {most} of the {options} options, each once");
            return Ok(Err(RequestError::Invalid { field: "choices", why }));
        };
        if slot.counted_vote(SlotAuthor::Me).unwrap_or_default() == choices {
            return Ok(Ok(Reply::Done)); // as it is
        }
        let note = self.own.as_ref().is_some_and(|own| own.chat() == chat);
        let told = match self.groups.contains_key(&chat) {
            true => self.has_keys(chat, turn)?,
            false => note || self.has_session(&chat),
        };
        if !told {
            return Ok(Err(RequestError::Offline)); // the poll itself still waits for keys
        }
        let op = self.own_op(chat, SlotOpKind::Vote { choices }, turn);
        if self.vote_in_slot(chat, id, &op, turn)? {
            let options = choices.numbers().collect();
            self.tell_operation(chat, &op, Kind::Vote(proto::Vote { of: id.0.to_vec(), options }), turn)?;
        }
        Ok(Ok(Reply::Done))
    }

    /// Applies a vote; false where it changed nothing.
    pub(super) fn vote_in_slot(
        &mut self,
        chat: ChatId,
        id: MessageId,
        op: &SlotOp,
        turn: &mut Turn,
    ) -> Result<bool, StoreError> {
        let changed = self.apply_op(chat, id, op, None, turn)?;
        if changed == Changed::Voted {
            let (outgoing, author) = (op.author == SlotAuthor::Me, op.author.member());
            let removed = matches!(op.kind, SlotOpKind::Vote { choices } if choices.is_empty());
            turn.event(Some(chat), Some(id), EventKind::MessageVoted { outgoing, removed, author });
        }
        Ok(changed != Changed::Nothing)
    }
}
