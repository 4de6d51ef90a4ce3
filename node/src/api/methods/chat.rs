//! `chat.*`: what is set for a conversation on this device.

use std::sync::Arc;

use silbo_protocol::ids::MessageId;
use silbo_protocol::input::Request;
use silbo_protocol::step::{ChatView, Reply};

use super::unexpected;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::types::{ByChat, Chat, ChatList, ChatSet, Draft, List};
use crate::api::{Api, people};

pub(super) async fn list(api: Arc<Api>, params: ChatList) -> Result<List<Chat>, ApiError> {
    match api.core.request(Request::ChatList).await? {
        Reply::Chats(chats) => {
            let wanted = |chat: &ChatView| params.archived.is_none_or(|archived| archived == chat.archived);
            Ok(List { items: chats.into_iter().filter(wanted).map(shown).collect() })
        }
        _ => Err(unexpected("ChatList")),
    }
}

pub(super) async fn get(api: Arc<Api>, params: ByChat) -> Result<Chat, ApiError> {
    let chat = people::find_known(&api, &params.chat, "chat").await?;
    match api.core.request(Request::Chat { chat }).await? {
        Reply::Chat(chat) => Ok(shown(chat)),
        _ => Err(unexpected("Chat")),
    }
}

pub(super) async fn set(api: Arc<Api>, params: ChatSet) -> Result<Chat, ApiError> {
    let ChatSet { chat, mute_s, archived, draft, reply_to } = params;
    if mute_s.is_none() && archived.is_none() && draft.is_none() {
        return Err(ApiError::new(ErrorKind::InvalidParams, "there is nothing to change")
            .hint("muteS, archived and draft can be set"));
    }
    if reply_to.is_some() && draft.is_none() {
        return Err(ApiError::invalid("replyTo", "only with a draft"));
    }
    let read = |id: &str| MessageId::parse(id).ok_or_else(|| ApiError::invalid("replyTo", "the id of a message"));
    let reply_to = reply_to.as_deref().map(read).transpose()?;
    let chat = people::find_known(&api, &chat, "chat").await?;
    let draft = draft.map(|body| (body, reply_to));
    match api.core.request(Request::ChatSet { chat, mute_s, archived, draft }).await? {
        Reply::Chat(chat) => Ok(shown(chat)),
        _ => Err(unexpected("ChatSet")),
    }
}

fn shown(view: ChatView) -> Chat {
    Chat {
        id: view.chat.full(),
        group: view.group,
        channel: view.channel,
        name: view.name,
        muted: view.muted_until.is_some(),
        muted_until_at: view.muted_until.map(|until| until.0).filter(|until| *until != u64::MAX),
        archived: view.archived,
        draft: view.draft.map(|draft| Draft {
            body: draft.body,
            reply_to: draft.reply_to.map(|id| id.full()),
            at: draft.at.0,
        }),
    }
}
