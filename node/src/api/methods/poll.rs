//! `message.poll`, `message.vote`, and how a poll is shown.

use std::sync::Arc;

use silbo_protocol::conversation::{PollView, SlotAuthor, VoteView};
use silbo_protocol::ids::ChatId;
use silbo_protocol::input::Request;

use super::message::{check_body, message_id, sent, who};
use crate::api::error::ApiError;
use crate::api::members::Members;
use crate::api::types::{Done, MessagePoll, MessageVote, Poll, PollOption, Sent, Voter};
use crate::api::{Api, people};

pub(super) async fn ask(api: Arc<Api>, params: MessagePoll) -> Result<Sent, ApiError> {
    check_body(&params.body)?;
    let chat = people::find_known(&api, &params.chat, "chat").await?;
    let request = Request::Poll {
        chat,
        question: params.body,
        options: params.options,
        choices_max: params.max_choices.unwrap_or(1),
        ends_in_s: params.ends_in_s,
        client_id: params.client_id,
    };
    sent(api.core.request(request).await?)
}

pub(super) async fn vote(api: Arc<Api>, params: MessageVote) -> Result<Done, ApiError> {
    let id = message_id(&params.id, "id")?;
    let from_0 = |number: &u32| number.checked_sub(1);
    let choices = params.choices.iter().map(from_0).collect::<Option<Vec<u32>>>();
    let choices = choices.ok_or_else(|| ApiError::invalid("choices", "options are numbered from 1"))?;
    api.core.request(Request::Vote { id, choices }).await?;
    Ok(Done {})
}

/// In the order of the votes, which is the same for all members.
pub(super) fn shown(mut view: PollView, chat: &ChatId, note: bool, members: &Members) -> Poll {
    let key = |vote: &VoteView| (vote.at, members.author(chat, vote.author.member()).map(|author| author.account));
    view.votes.sort_by_cached_key(key);
    let is_own = |vote: &&VoteView| vote.author == SlotAuthor::Me;
    let mine = view.votes.iter().find(is_own).map(|vote| vote.choices.numbers().map(|n| n + 1).collect());
    let voter = |vote: &VoteView| {
        let (from, author) = who(members, chat, vote.author, note);
        Voter { from, author }
    };
    let option = |(number, text): (u32, String)| {
        let chosen = view.votes.iter().filter(|vote| vote.choices.numbers().any(|n| n == number));
        PollOption { text, votes: chosen.map(voter).collect() }
    };
    Poll {
        options: (0..).zip(view.poll.options).map(option).collect(),
        max_choices: view.poll.choices_max,
        voters: u32::try_from(view.votes.len()).unwrap_or(u32::MAX),
        ends_at: view.poll.ends_at.map(|at| at.0),
        mine: mine.unwrap_or_default(),
    }
}
