//! `contact.*` and `retention.*`.

use std::sync::Arc;

use silbo_protocol::ids::ChatId;
use silbo_protocol::input::{GroupChanges, Request};
use silbo_protocol::step::Reply;

use super::unexpected;
use crate::api::error::ApiError;
use crate::api::types::{
    ByChat, ByContact, Contact, ContactAdd, ContactList, ContactSet, ContactVerify, Done, List, Retention,
    RetentionSet, Verification,
};
use crate::api::{Api, convert, members, people};

pub(super) async fn add(api: Arc<Api>, params: ContactAdd) -> Result<Contact, ApiError> {
    match api.core.request(Request::ContactAdd { link: params.link, alias: params.alias }).await? {
        Reply::Contact(contact) => Ok(convert::contact(*contact)),
        _ => Err(unexpected("ContactAdd")),
    }
}

pub(super) async fn list(api: Arc<Api>, params: ContactList) -> Result<List<Contact>, ApiError> {
    let Reply::Contacts(contacts) = api.core.request(Request::ContactList).await? else {
        return Err(unexpected("ContactList"));
    };
    let contacts = contacts.into_iter().map(convert::contact);
    let wanted = |contact: &Contact| params.state.is_none_or(|state| contact.state == state);
    Ok(List { items: contacts.filter(wanted).collect() })
}

pub(super) async fn show(api: Arc<Api>, params: ByContact) -> Result<Contact, ApiError> {
    let chat = people::find_contact(&api, &params.contact).await?;
    shown(&api, chat).await
}

pub(super) async fn verify(api: Arc<Api>, params: ContactVerify) -> Result<Verification, ApiError> {
    let chat = people::find_contact(&api, &params.contact).await?;
    match api.core.request(Request::ContactVerify { chat, code: params.code }).await? {
        Reply::Verification(view) => Ok(Verification { digits: view.digits, qr: view.qr, level: view.level }),
        _ => Err(unexpected("ContactVerify")),
    }
}

pub(super) async fn accept_key(api: Arc<Api>, params: ByContact) -> Result<Contact, ApiError> {
    changed(&api, &params.contact, |chat| Request::ContactAcceptKey { chat }).await
}

pub(super) async fn accept(api: Arc<Api>, params: ByContact) -> Result<Contact, ApiError> {
    changed(&api, &params.contact, |chat| Request::ContactDecide { chat, accept: true }).await
}

pub(super) async fn reject(api: Arc<Api>, params: ByContact) -> Result<Contact, ApiError> {
    let chat = people::find_contact(&api, &params.contact).await?;
    // A rejected request may be forgotten, so what is shown is what it was until then.
    let before = shown(&api, chat).await?;
    match api.core.request(Request::ContactDecide { chat, accept: false }).await? {
        Reply::Contact(contact) => Ok(convert::contact(*contact)),
        _ => Ok(shown(&api, chat).await.unwrap_or(before)),
    }
}

pub(super) async fn block(api: Arc<Api>, params: ByContact) -> Result<Contact, ApiError> {
    changed(&api, &params.contact, |chat| Request::ContactBlock { chat, block: true }).await
}

pub(super) async fn unblock(api: Arc<Api>, params: ByContact) -> Result<Contact, ApiError> {
    changed(&api, &params.contact, |chat| Request::ContactBlock { chat, block: false }).await
}

pub(super) async fn remove(api: Arc<Api>, params: ByContact) -> Result<Done, ApiError> {
    let chat = people::find_contact(&api, &params.contact).await?;
    api.core.request(Request::ContactRemove { chat }).await?;
    Ok(Done {})
}

pub(super) async fn set(api: Arc<Api>, params: ContactSet) -> Result<Contact, ApiError> {
    let ContactSet { contact, alias, presence, read_receipts, typing } = params;
    changed(&api, &contact, |chat| Request::ContactSet { chat, alias, presence, read_receipts, typing }).await
}

pub(super) async fn retention_show(api: Arc<Api>, params: ByChat) -> Result<Retention, ApiError> {
    let chat = people::find(&api, &params.chat, "chat").await?;
    retention(&api, chat).await
}

pub(super) async fn retention_set(api: Arc<Api>, params: RetentionSet) -> Result<Retention, ApiError> {
    let chat = people::find(&api, &params.chat, "chat").await?;
    let request = match members::view(&api, chat).await? {
        Some(_) => {
            let changes = GroupChanges { retention_s: Some(params.seconds), ..GroupChanges::default() };
            Request::GroupSet { chat, changes }
        }
        None => Request::SetRetention { chat, seconds: params.seconds },
    };
    api.core.request(request).await?;
    Ok(Retention { chat: chat.full(), seconds: params.seconds })
}

async fn retention(api: &Api, chat: ChatId) -> Result<Retention, ApiError> {
    let me = api.me().await?;
    let seconds = if me.chat == chat {
        me.retention_s
    } else if let Some(group) = members::view(api, chat).await? {
        group.retention_s
    } else {
        match api.core.request(Request::Contact { chat }).await? {
            Reply::Contact(contact) => contact.retention_s,
            _ => return Err(unexpected("Contact")),
        }
    };
    Ok(Retention { chat: chat.full(), seconds })
}

/// Does what `request` says with a contact, and shows it as it is afterwards.
async fn changed(api: &Api, contact: &str, request: impl FnOnce(ChatId) -> Request) -> Result<Contact, ApiError> {
    let chat = people::find_contact(api, contact).await?;
    match api.core.request(request(chat)).await? {
        Reply::Contact(contact) => Ok(convert::contact(*contact)),
        _ => shown(api, chat).await,
    }
}

async fn shown(api: &Api, chat: ChatId) -> Result<Contact, ApiError> {
    match api.core.request(Request::Contact { chat }).await? {
        Reply::Contact(contact) => Ok(convert::contact(*contact)),
        _ => Err(unexpected("Contact")),
    }
}
