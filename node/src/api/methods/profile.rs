//! `profile.*` and `invite.*`.

use std::sync::Arc;

use silbo_protocol::ids::InviteId;
use silbo_protocol::input::{InviteKind, Request};
use silbo_protocol::step::Reply;

use super::unexpected;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::types::{ById, Done, Invite, InviteCreate, List, Nothing, Profile, ProfileSet, Words};
use crate::api::{Api, convert};
use silbo_protocol::wire::base64;

pub(super) async fn show(api: Arc<Api>, _: Nothing) -> Result<Profile, ApiError> {
    Ok(convert::profile(api.me().await?))
}

pub(super) async fn set(api: Arc<Api>, params: ProfileSet) -> Result<Profile, ApiError> {
    let avatar = match params.avatar {
        Some(text) => {
            Some(base64::decode(&text).ok_or_else(|| ApiError::invalid("avatar", "base64url without padding"))?)
        }
        None => None,
    };
    api.core.request(Request::SetProfile { name: params.name, status: params.status, avatar }).await?;
    Ok(convert::profile(api.me().await?))
}

pub(super) async fn words(api: Arc<Api>, _: Nothing) -> Result<Words, ApiError> {
    match api.core.request(Request::RecoveryWords).await? {
        Reply::Words(words) => Ok(Words { words }),
        _ => Err(unexpected("RecoveryWords")),
    }
}

pub(super) async fn invite_create(api: Arc<Api>, params: InviteCreate) -> Result<Invite, ApiError> {
    let kind = if params.reusable { InviteKind::Reusable } else { InviteKind::OneTime };
    match api.core.request(Request::InviteCreate { kind, ttl_ms: params.ttl_ms }).await? {
        Reply::Invite(invite) => Ok(convert::invite(invite)),
        _ => Err(unexpected("InviteCreate")),
    }
}

pub(super) async fn invite_list(api: Arc<Api>, _: Nothing) -> Result<List<Invite>, ApiError> {
    match api.core.request(Request::InviteList).await? {
        Reply::Invites(invites) => Ok(List { items: invites.into_iter().map(convert::invite).collect() }),
        _ => Err(unexpected("InviteList")),
    }
}

pub(super) async fn invite_revoke(api: Arc<Api>, params: ById) -> Result<Done, ApiError> {
    let id = InviteId::parse(&params.id).ok_or_else(|| {
        ApiError::new(ErrorKind::NotFound, "no such invite")
            .field("id")
            .hint("`silbo invite list` shows the invitations")
    })?;
    api.core.request(Request::InviteRevoke { id }).await?;
    Ok(Done {})
}
