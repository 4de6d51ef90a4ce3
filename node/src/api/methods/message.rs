//! `message.*`, `history.list`, `search.find`.

use std::sync::Arc;
use std::time::Duration;

use silbo_protocol::conversation::{self, ItemView, SlotAuthor};
use silbo_protocol::ids::{ChatId, MessageId};
use silbo_protocol::input::Request;
use silbo_protocol::limits::TEXT_BYTES_MAX;
use silbo_protocol::step::Reply;
use silbo_protocol::store::ItemRow;
use silbo_protocol::time::UnixTime;

use super::unexpected;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::limits::{PAGE_MAX, WAIT_MS_MAX};
use crate::api::types::{
    ById, Count, Done, History, HistoryList, Item, ItemState, List, MessageDelete, MessageEdit, MessageReact,
    MessageRead, MessageSend, MessageTyping, MessageWait, Reaction, SearchFind, Sent, TextVersion, Trace, WaitState,
    Waited,
};
use crate::api::{Api, convert, people};
use crate::storage::SearchQuery;

/// Messages one call may delete.
const DELETE_MAX: usize = 1_000;

pub(super) async fn send(api: Arc<Api>, params: MessageSend) -> Result<Sent, ApiError> {
    check_body(&params.body)?;
    let reply_to = params.reply_to.as_deref().map(|id| message_id(id, "replyTo")).transpose()?;
    let chat = people::find_known(&api, &params.chat, "chat").await?;
    let request = Request::Send {
        chat,
        body: params.body,
        reply_to,
        expire_s: params.expire_s,
        client_id: params.client_id,
        ttl_s: params.ttl_s,
        no_infra: params.no_infra,
    };
    sent(api.core.request(request).await?)
}

pub(super) async fn edit(api: Arc<Api>, params: MessageEdit) -> Result<Sent, ApiError> {
    check_body(&params.body)?;
    let id = message_id(&params.id, "id")?;
    match api.core.request(Request::Edit { id, body: params.body }).await? {
        reply @ Reply::Message { .. } => sent(reply),
        _ => {
            let item = item(&api, id).await?;
            Ok(Sent { id: item.id, chat: item.chat, state: item.state, sent_at: item.sent_at })
        }
    }
}

fn sent(reply: Reply) -> Result<Sent, ApiError> {
    match reply {
        Reply::Message { id, chat, state, sent_at } => {
            Ok(Sent { id: id.full(), chat: chat.full(), state: convert::state(state, true).state, sent_at: sent_at.0 })
        }
        _ => Err(unexpected("Send")),
    }
}

fn check_body(body: &str) -> Result<(), ApiError> {
    if body.is_empty() {
        return Err(ApiError::invalid("body", "the text is empty"));
    }
    if body.len() > TEXT_BYTES_MAX {
        return Err(ApiError::new(ErrorKind::Limit, format!("the text has more than {TEXT_BYTES_MAX} bytes"))
            .field("body")
            .hint("send it in parts"));
    }
    Ok(())
}

pub(super) async fn delete(api: Arc<Api>, params: MessageDelete) -> Result<Count, ApiError> {
    if params.ids.is_empty() || params.ids.len() > DELETE_MAX {
        return Err(ApiError::invalid("ids", format!("1 to {DELETE_MAX} messages")));
    }
    let ids = params.ids.iter().map(|id| message_id(id, "ids")).collect::<Result<Vec<_>, _>>()?;
    match api.core.request(Request::Delete { ids, for_both: params.for_both }).await? {
        Reply::Count(count) => Ok(Count { count }),
        _ => Err(unexpected("Delete")),
    }
}

pub(super) async fn react(api: Arc<Api>, params: MessageReact) -> Result<Done, ApiError> {
    let id = message_id(&params.id, "id")?;
    api.core.request(Request::React { id, emoji: params.emoji, remove: params.remove }).await?;
    Ok(Done {})
}

pub(super) async fn show(api: Arc<Api>, params: ById) -> Result<Item, ApiError> {
    item(&api, message_id(&params.id, "id")?).await
}

pub(super) async fn trace(api: Arc<Api>, params: ById) -> Result<Trace, ApiError> {
    let id = message_id(&params.id, "id")?;
    let shown = item(&api, id).await?;
    match api.core.request(Request::Trace { id }).await? {
        Reply::Trace(trace) => Ok(convert::trace(trace, shown.state)),
        _ => Err(unexpected("Trace")),
    }
}

/// Wakes when something was committed, and reads the message again.
pub(super) async fn wait(api: Arc<Api>, params: MessageWait) -> Result<Waited, ApiError> {
    let id = message_id(&params.id, "id")?;
    let mut head = api.core.event_head();
    let timeout = tokio::time::sleep(Duration::from_millis(params.timeout_ms.min(WAIT_MS_MAX)));
    tokio::pin!(timeout);
    loop {
        head.borrow_and_update();
        let item = item(&api, id).await?;
        if reached(item.state, params.state) {
            let Item { id, chat, state, path, held, sent_at, .. } = item;
            return Ok(Waited { id, chat, state, path, held, sent_at });
        }
        if item.state == ItemState::Failed {
            let why = item.failed.unwrap_or_default();
            return Err(ApiError::new(ErrorKind::Failed, "the message will not arrive")
                .why(why)
                .hint("silbo msg trace"));
        }
        if item.deleted {
            return Err(no_message("id"));
        }
        tokio::select! {
            biased;
            changed = head.changed() => if changed.is_err() {
                return Err(ApiError::new(ErrorKind::NoDaemon, "the node is stopping").hint("start it: `silbo up`"));
            },
            () = timeout.as_mut() => {
                let state = serde_json::to_value(item.state).unwrap_or_default();
                return Err(ApiError::new(ErrorKind::Timeout, "the message has not got so far in this time")
                    .why(format!("it is {}", state.as_str().unwrap_or("queued")))
                    .hint("it is delivered later by itself"));
            }
        }
    }
}

fn reached(state: ItemState, wanted: WaitState) -> bool {
    let level = match state {
        ItemState::Failed => return false,
        ItemState::Queued => WaitState::Queued,
        ItemState::Held | ItemState::Partial => WaitState::Held,
        ItemState::Delivered => WaitState::Delivered,
        ItemState::Read | ItemState::Received | ItemState::Note => WaitState::Read,
    };
    level as u8 >= wanted as u8
}

pub(super) async fn mark_read(api: Arc<Api>, params: MessageRead) -> Result<Done, ApiError> {
    let upto = params.upto.as_deref().map(|id| message_id(id, "upto")).transpose()?;
    let chat = people::find(&api, &params.chat, "chat").await?;
    api.core.request(Request::MarkRead { chat, upto }).await?;
    Ok(Done {})
}

pub(super) async fn typing(api: Arc<Api>, params: MessageTyping) -> Result<Done, ApiError> {
    let chat = people::find(&api, &params.chat, "chat").await?;
    api.core.request(Request::Typing { chat, on: params.on }).await?;
    Ok(Done {})
}

pub(super) async fn history(api: Arc<Api>, params: HistoryList) -> Result<History, ApiError> {
    let limit = page_size(params.limit)?;
    let before = params.before.as_deref().map(|id| message_id(id, "before")).transpose()?;
    let after = params.after.as_deref().map(|id| message_id(id, "after")).transpose()?;
    let chat = people::find(&api, &params.chat, "chat").await?;
    let own_chat = api.me().await?.chat;
    // One more than asked says whether there is a page above.
    let upwards = before.is_some() || after.is_none();
    let wanted = limit + usize::from(upwards);
    let mut rows = api.core.read(move |db| db.history(&chat, before.as_ref(), after.as_ref(), wanted)).await?;
    let more = upwards && rows.len() > limit;
    if more {
        rows.drain(..rows.len() - limit);
    }
    let next = if more { rows.first().map(|row| row.id.full()) } else { None };
    Ok(History { items: shown(rows, &own_chat)?, next })
}

pub(super) async fn search(api: Arc<Api>, params: SearchFind) -> Result<List<Item>, ApiError> {
    let limit = page_size(params.limit)?;
    if params.query.trim().is_empty() {
        return Err(ApiError::invalid("query", "at least one word"));
    }
    let chat = match params.chat {
        Some(chat) => Some(people::find(&api, &chat, "chat").await?),
        None => None,
    };
    let own_chat = api.me().await?.chat;
    let query = SearchQuery {
        text: params.query,
        chat,
        after: params.after.map(UnixTime),
        before: params.before.map(UnixTime),
        limit,
    };
    let rows = api.core.read(move |db| db.search(&query)).await?;
    Ok(List { items: shown(rows, &own_chat)? })
}

fn page_size(limit: u32) -> Result<usize, ApiError> {
    if limit == 0 || limit > PAGE_MAX {
        return Err(ApiError::invalid("limit", format!("1 to {PAGE_MAX}")));
    }
    Ok(limit as usize)
}

/// One message; deleted ones are still there, without their text.
async fn item(api: &Api, id: MessageId) -> Result<Item, ApiError> {
    let row = api.core.read(move |db| db.item_by_id(&id)).await?.ok_or_else(|| no_message("id"))?;
    let own_chat = api.me().await?.chat;
    shown(vec![row], &own_chat)?.pop().ok_or_else(|| no_message("id"))
}

fn shown(rows: Vec<ItemRow>, own_chat: &ChatId) -> Result<Vec<Item>, ApiError> {
    let view = |row: &ItemRow| conversation::view(row).map_err(|error| ApiError::internal(error.to_string()));
    rows.iter().map(|row| view(row).map(|view| item_of(view, own_chat))).collect()
}

fn item_of(view: ItemView, own_chat: &ChatId) -> Item {
    let note = view.chat == *own_chat;
    let parts = convert::state(view.delivery, view.outgoing || note);
    let reactions = view.reactions.into_iter().map(|reaction| Reaction {
        from: convert::author(&view.chat, note || reaction.author == SlotAuthor::Me),
        emoji: reaction.emoji,
    });
    Item {
        id: view.id.full(),
        chat: view.chat.full(),
        from: convert::author(&view.chat, view.outgoing || note),
        outgoing: view.outgoing,
        body: view.body,
        state: parts.state,
        path: view.path.map(convert::path),
        held: parts.held,
        failed: parts.failed,
        sent_at: view.sent_at.0,
        stored_at: view.stored_at.0,
        edited_at: view.edited_at.map(|at| at.0),
        edits: view.edits.into_iter().map(|version| TextVersion { body: version.body, at: version.at.0 }).collect(),
        reply_to: view.reply_to.map(|id| id.full()),
        reactions: reactions.collect(),
        expires_at: view.expires_at.map(|at| at.0),
        deleted: view.deleted,
    }
}

fn message_id(text: &str, field: &str) -> Result<MessageId, ApiError> {
    MessageId::parse(text).ok_or_else(|| no_message(field))
}

fn no_message(field: &str) -> ApiError {
    ApiError::new(ErrorKind::NotFound, "no such message")
        .field(field)
        .hint("it may have been deleted, or the id is of another account")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_better_state_than_the_one_waited_for_will_do() {
        assert!(reached(ItemState::Queued, WaitState::Queued));
        assert!(!reached(ItemState::Queued, WaitState::Held));
        assert!(reached(ItemState::Delivered, WaitState::Held));
        assert!(!reached(ItemState::Delivered, WaitState::Read));
        assert!(reached(ItemState::Note, WaitState::Read));
        assert!(!reached(ItemState::Failed, WaitState::Queued));
    }
}
