//! `message.*`, `history.list`, `search.find`.

use std::sync::Arc;
use std::time::Duration;

use silbo_protocol::conversation::{self, ItemView, SlotAuthor};
use silbo_protocol::ids::{ChatId, MessageId};
use silbo_protocol::input::Request;
use silbo_protocol::limits::TEXT_BYTES_MAX;
use silbo_protocol::step::{MeView, MemberDelivery, Reply};
use silbo_protocol::store::ItemRow;
use silbo_protocol::time::UnixTime;

use super::{poll, unexpected};
use crate::api::error::{ApiError, ErrorKind};
use crate::api::limits::{PAGE_MAX, WAIT_MS_MAX};
use crate::api::members::Members;
use crate::api::types::{
    ById, Count, Deliveries, Done, History, HistoryList, Item, ItemState, List, Mention, MessageDelete, MessageEdit,
    MessagePin, MessageReact, MessageRead, MessageSend, MessageTyping, MessageWait, Reaction, SearchFind, Sent,
    TextVersion, Trace, WaitState, Waited,
};
use crate::api::{Api, convert, groups, people};
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

pub(super) fn sent(reply: Reply) -> Result<Sent, ApiError> {
    match reply {
        Reply::Message { id, chat, state, sent_at } => {
            Ok(Sent { id: id.full(), chat: chat.full(), state: convert::state(state, true).state, sent_at: sent_at.0 })
        }
        _ => Err(unexpected("Send")),
    }
}

pub(super) fn check_body(body: &str) -> Result<(), ApiError> {
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

pub(super) async fn pin(api: Arc<Api>, params: MessagePin) -> Result<Done, ApiError> {
    let id = message_id(&params.id, "id")?;
    api.core.request(Request::Pin { id, remove: params.remove }).await?;
    Ok(Done {})
}

pub(super) async fn show(api: Arc<Api>, params: ById) -> Result<Item, ApiError> {
    item(&api, message_id(&params.id, "id")?).await
}

pub(super) async fn trace(api: Arc<Api>, params: ById) -> Result<Trace, ApiError> {
    let id = message_id(&params.id, "id")?;
    let shown = item(&api, id).await?;
    match api.core.request(Request::Trace { id }).await? {
        Reply::Trace(trace) => {
            let mut trace = convert::trace(trace, shown.state);
            if shown.author.is_some() && shown.outgoing {
                trace.members = Some(member_deliveries(&api, &shown, id).await?);
            }
            Ok(trace)
        }
        _ => Err(unexpected("Trace")),
    }
}

/// In a conversation of two, the one member is the contact.
pub(super) async fn deliveries(api: Arc<Api>, params: ById) -> Result<Deliveries, ApiError> {
    let id = message_id(&params.id, "id")?;
    let shown = item(&api, id).await?;
    let members = member_deliveries(&api, &shown, id).await?;
    Ok(Deliveries { id: shown.id, chat: shown.chat, state: shown.state, partial: shown.partial, members })
}

async fn member_deliveries(
    api: &Api,
    item: &Item,
    id: MessageId,
) -> Result<Vec<crate::api::types::MemberDelivery>, ApiError> {
    if item.author.is_some() {
        return match api.core.request(Request::Deliveries { id }).await? {
            Reply::Deliveries(list) => Ok(list.into_iter().map(groups::delivery).collect()),
            _ => Err(unexpected("Deliveries")),
        };
    }
    // Nothing is delivered of a note to self, nor by us of what another wrote.
    if !item.outgoing || item.state == ItemState::Note {
        return Ok(Vec::new());
    }
    let row = api.core.read(move |db| db.item_by_id(&id)).await?.ok_or_else(|| no_message("id"))?;
    let state = view_of(&row)?.delivery;
    // Nobody knows who reads a channel.
    if let Ok(Reply::Channel(_)) = api.core.request(Request::Channel { chat: row.chat }).await {
        return Ok(Vec::new());
    }
    match api.core.request(Request::Contact { chat: row.chat }).await? {
        Reply::Contact(contact) => {
            let delivery = MemberDelivery { account: contact.account, name: contact.profile_name, state };
            Ok(vec![groups::delivery(delivery)])
        }
        _ => Err(unexpected("Contact")),
    }
}

/// Wakes when something was committed, and reads the message again.
pub(super) async fn wait(api: Arc<Api>, params: MessageWait) -> Result<Waited, ApiError> {
    let id = message_id(&params.id, "id")?;
    let mut head = api.core.event_head();
    let me = api.me().await?;
    let mut members = Members::default();
    let timeout = tokio::time::sleep(Duration::from_millis(params.timeout_ms.min(WAIT_MS_MAX)));
    tokio::pin!(timeout);
    loop {
        head.borrow_and_update();
        let item = item_among(&api, &me, &mut members, id).await?;
        if reached(item.state, params.state) {
            let members = match item.author.is_some() && item.outgoing {
                true => Some(groups::by_name(&member_deliveries(&api, &item, id).await?)),
                false => None,
            };
            let Item { id, chat, state, path, held, partial, sent_at, .. } = item;
            return Ok(Waited { id, chat, state, path, held, partial, members, sent_at });
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
                if let Some(part) = item.partial {
                    let what = format!("{} of {} members have the message", part.delivered, part.of);
                    return Err(ApiError::new(ErrorKind::Partial, what)
                        .why("the others could not be reached in this time")
                        .hint("it is delivered later by itself; `silbo msg trace` shows who has it"));
                }
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
    let me = api.me().await?;
    // One more than asked says whether there is a page above.
    let upwards = before.is_some() || after.is_none();
    let wanted = limit + usize::from(upwards);
    let mut rows = api.core.read(move |db| db.history(&chat, before.as_ref(), after.as_ref(), wanted)).await?;
    let more = upwards && rows.len() > limit;
    if more {
        rows.drain(..rows.len() - limit);
    }
    let next = if more { rows.first().map(|row| row.id.full()) } else { None };
    let members = Members::of(&api, &me, std::iter::once(chat)).await?;
    Ok(History { items: shown(&rows, &me, &members)?, next })
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
    let me = api.me().await?;
    let query = SearchQuery {
        text: params.query,
        chat,
        after: params.after.map(UnixTime),
        before: params.before.map(UnixTime),
        limit,
    };
    let rows = api.core.read(move |db| db.search(&query)).await?;
    let members = Members::of(&api, &me, rows.iter().map(|row| row.chat)).await?;
    Ok(List { items: shown(&rows, &me, &members)? })
}

fn page_size(limit: u32) -> Result<usize, ApiError> {
    if limit == 0 || limit > PAGE_MAX {
        return Err(ApiError::invalid("limit", format!("1 to {PAGE_MAX}")));
    }
    Ok(limit as usize)
}

/// One message; deleted ones are still there, without their text.
async fn item(api: &Api, id: MessageId) -> Result<Item, ApiError> {
    let me = api.me().await?;
    item_among(api, &me, &mut Members::default(), id).await
}

/// The same, for who asks again and again: the members are read once.
async fn item_among(api: &Api, me: &MeView, members: &mut Members, id: MessageId) -> Result<Item, ApiError> {
    let row = api.core.read(move |db| db.item_by_id(&id)).await?.ok_or_else(|| no_message("id"))?;
    members.learn(api, me, row.chat).await?;
    Ok(item_of(view_of(&row)?, &me.chat, members))
}

fn view_of(row: &ItemRow) -> Result<ItemView, ApiError> {
    conversation::view(row).map_err(|error| ApiError::internal(error.to_string()))
}

fn shown(rows: &[ItemRow], me: &MeView, members: &Members) -> Result<Vec<Item>, ApiError> {
    rows.iter().map(|row| view_of(row).map(|view| item_of(view, &me.chat, members))).collect()
}

/// Who did something to a message, as it is shown: a name, and in a group the account.
pub(super) fn who(members: &Members, chat: &ChatId, author: SlotAuthor, note: bool) -> (String, Option<String>) {
    match members.author(chat, author.member()) {
        Some(author) => (author.name, Some(author.account)),
        None => (convert::author(chat, note || author == SlotAuthor::Me), None),
    }
}

fn item_of(view: ItemView, own_chat: &ChatId, members: &Members) -> Item {
    let note = view.chat == *own_chat;
    let parts = convert::state(view.delivery, view.outgoing || note);
    let author = members.author(&view.chat, view.author);
    let mut reactions: Vec<_> = view
        .reactions
        .into_iter()
        .map(|reaction| {
            let (from, author) = who(members, &view.chat, reaction.author, note);
            (reaction.at, Reaction { from, author, emoji: reaction.emoji })
        })
        .collect();
    // Each member's own reaction comes first in their slot; all see the same order.
    reactions.sort_by(|(at, one), (later, other)| (at, &one.author).cmp(&(later, &other.author)));
    let group = author.is_some();
    let mentions_me = group && view.mentions.iter().any(|mention| members.is_own(&mention.account));
    let mention = |mention: &conversation::Mention| {
        let of = members.mentioned(&view.chat, &mention.account)?;
        Some(Mention { account: of.account, name: of.name, from: mention.from, len: mention.len })
    };
    let mentions = view.mentions.iter().filter_map(mention).collect();
    let poll = view.poll.map(|poll| poll::shown(poll, &view.chat, note, members));
    Item {
        id: view.id.full(),
        chat: view.chat.full(),
        from: match &author {
            Some(author) => author.name.clone(),
            None => convert::author(&view.chat, view.outgoing || note),
        },
        author: author.map(|author| author.account),
        outgoing: view.outgoing,
        body: view.body,
        state: parts.state,
        path: view.path.map(convert::path),
        held: parts.held,
        failed: parts.failed,
        partial: parts.partial,
        sent_at: view.sent_at.0,
        stored_at: view.stored_at.0,
        edited_at: view.edited_at.map(|at| at.0),
        edits: view.edits.into_iter().map(|version| TextVersion { body: version.body, at: version.at.0 }).collect(),
        reply_to: view.reply_to.map(|id| id.full()),
        mentions,
        mentions_me,
        poll,
        pinned: view.pinned,
        reactions: reactions.into_iter().map(|(_, reaction)| reaction).collect(),
        expires_at: view.expires_at.map(|at| at.0),
        deleted: view.deleted,
    }
}

pub(super) fn message_id(text: &str, field: &str) -> Result<MessageId, ApiError> {
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
