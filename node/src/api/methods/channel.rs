//! `channel.*`.

use std::sync::Arc;

use silbo_protocol::channel::view::{self, ChannelChanges, ChannelView};
use silbo_protocol::input::Request;
use silbo_protocol::step::Reply;

use super::unexpected;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::types::{
    ByChannel, Channel, ChannelCreate, ChannelFrom, ChannelJoin, ChannelLink, ChannelLinkMake, ChannelSet, Done, List,
    Nothing,
};
use crate::api::{Api, people};

pub(super) async fn create(api: Arc<Api>, params: ChannelCreate) -> Result<Channel, ApiError> {
    let ChannelCreate { name, topic, retention_days } = params;
    let name = bare_name(&name)?;
    channel(api.core.request(Request::ChannelCreate { name, topic, retention_days }).await?)
}

pub(super) async fn join(api: Arc<Api>, params: ChannelJoin) -> Result<Channel, ApiError> {
    let ChannelJoin { link, serve } = params;
    channel(api.core.request(Request::ChannelJoin { link, serve }).await?)
}

pub(super) async fn leave(api: Arc<Api>, params: ByChannel) -> Result<Done, ApiError> {
    let chat = people::find_channel(&api, &params.channel).await?.chat;
    api.core.request(Request::ChannelLeave { chat }).await?;
    Ok(Done {})
}

pub(super) async fn list(api: Arc<Api>, _: Nothing) -> Result<List<Channel>, ApiError> {
    Ok(List { items: people::channels(&api).await?.into_iter().map(shown).collect() })
}

pub(super) async fn get(api: Arc<Api>, params: ByChannel) -> Result<Channel, ApiError> {
    people::find_channel(&api, &params.channel).await.map(shown)
}

pub(super) async fn set(api: Arc<Api>, params: ChannelSet) -> Result<Channel, ApiError> {
    let ChannelSet { channel: which, name, topic, retention_days, serve } = params;
    let name = name.as_deref().map(bare_name).transpose()?;
    let changes = ChannelChanges { name, topic, retention_days, serve };
    if changes == ChannelChanges::default() {
        return Err(ApiError::new(ErrorKind::InvalidParams, "there is nothing to change")
            .hint("name, topic, retentionDays and serve can be set"));
    }
    let chat = people::find_channel(&api, &which).await?.chat;
    channel(api.core.request(Request::ChannelSet { chat, changes }).await?)
}

pub(super) async fn link(api: Arc<Api>, params: ChannelLinkMake) -> Result<ChannelLink, ApiError> {
    let chat = people::find_channel(&api, &params.channel).await?.chat;
    let from = match params.from {
        ChannelFrom::Today => view::ChannelFrom::Today,
        ChannelFrom::First => view::ChannelFrom::First,
    };
    match api.core.request(Request::ChannelLink { chat, from }).await? {
        Reply::ChannelLink(view) => Ok(ChannelLink {
            id: view.chat.full(),
            link: view.link,
            qr: view.qr,
            readable_from_at: view.readable_from.0,
        }),
        _ => Err(unexpected("ChannelLink")),
    }
}

fn channel(reply: Reply) -> Result<Channel, ApiError> {
    match reply {
        Reply::Channel(view) => Ok(shown(*view)),
        _ => Err(unexpected("Channel")),
    }
}

fn shown(view: ChannelView) -> Channel {
    Channel {
        id: view.chat.full(),
        name: view.name,
        topic: view.topic,
        owner: view.owner,
        readable_from_at: view.readable_from.0,
        posts: view.posts,
        bytes: view.bytes,
        newest: view.newest,
        retention_days: view.retention_days,
        forked: view.forked,
        readers: view.readers,
        serve: view.serve,
        joined_at: view.joined_at.0,
    }
}

/// The name without the `#` people write before it.
fn bare_name(text: &str) -> Result<String, ApiError> {
    let name = text.strip_prefix('#').unwrap_or(text).trim();
    if name.is_empty() {
        return Err(ApiError::invalid("name", "a channel needs a name"));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_named_with_or_without_its_sign() {
        assert_eq!(bare_name("#news").as_deref(), Ok("news"));
        for nothing in ["", "#", " "] {
            assert_eq!(bare_name(nothing).expect_err("no name").data.field.as_deref(), Some("name"), "{nothing:?}");
        }
    }
}
