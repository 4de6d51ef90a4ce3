//! `group.*`.

use std::sync::Arc;

use silbo_protocol::group::GroupView;
use silbo_protocol::ids::{AccountId, ChatId};
use silbo_protocol::input::{GroupChanges, Request};
use silbo_protocol::limits::GROUP_TOPIC_BYTES_MAX;
use silbo_protocol::step::{ContactView, Reply};
use silbo_protocol::wire::base64;

use super::unexpected;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::types::{
    ByGroup, Done, Group, GroupAdd, GroupCreate, GroupDecide, GroupInvite, GroupJoin, GroupLink, GroupMute,
    GroupRemove, GroupRevokeLink, GroupSet, GroupSetRole, List, Nothing,
};
use crate::api::{Api, groups, members, people};

/// Members one call may name.
const MEMBERS_PER_CALL_MAX: usize = 1_000;

pub(super) async fn create(api: Arc<Api>, params: GroupCreate) -> Result<Group, ApiError> {
    let name = group_name(&params.name)?;
    check_topic(&params.topic)?;
    let members = contacts(&api, &params.members).await?;
    let topic = params.topic;
    match api.core.request(Request::GroupCreate { name, topic, members }).await? {
        Reply::Group(view) => shown(&api, *view).await,
        _ => Err(unexpected("GroupCreate")),
    }
}

pub(super) async fn list(api: Arc<Api>, _: Nothing) -> Result<List<Group>, ApiError> {
    let views = people::groups(&api).await?;
    let (contacts, own) = people_here(&api).await?;
    Ok(List { items: views.into_iter().map(|view| groups::group(view, &contacts, own)).collect() })
}

pub(super) async fn get(api: Arc<Api>, params: ByGroup) -> Result<Group, ApiError> {
    let view = people::find_group(&api, &params.group, "group").await?;
    shown(&api, view).await
}

pub(super) async fn set(api: Arc<Api>, params: GroupSet) -> Result<Group, ApiError> {
    let avatar = params
        .avatar
        .as_deref()
        .map(|text| base64::decode(text).ok_or_else(|| ApiError::invalid("avatar", "base64url without padding")));
    params.topic.as_deref().map_or(Ok(()), check_topic)?;
    let changes = GroupChanges {
        name: params.name.as_deref().map(group_name).transpose()?,
        topic: params.topic,
        avatar: avatar.transpose()?,
        retention_s: params.retention_s,
        history: params.history.map(groups::history_of),
        may_add: params.may_add.map(groups::role_of),
        may_send: params.may_send.map(groups::role_of),
        may_delete: params.may_delete.map(groups::role_of),
        slow_mode_s: params.slow_mode_s,
        frozen: params.frozen,
    };
    if changes == GroupChanges::default() {
        return Err(ApiError::new(ErrorKind::InvalidParams, "there is nothing to change")
            .hint("`silbo schema` lists what of a group can be changed"));
    }
    changed(&api, &params.group, |view| Ok(Request::GroupSet { chat: view.chat, changes })).await
}

pub(super) async fn add(api: Arc<Api>, params: GroupAdd) -> Result<Group, ApiError> {
    some_members(&params.members)?;
    let members = contacts(&api, &params.members).await?;
    changed(&api, &params.group, |view| Ok(Request::GroupAdd { chat: view.chat, members })).await
}

pub(super) async fn remove(api: Arc<Api>, params: GroupRemove) -> Result<Group, ApiError> {
    some_members(&params.members)?;
    let contacts = people::contacts(&api).await?;
    let found = |view: &GroupView| {
        let find = |member: &String| people::find_member(view, &contacts, member, "members");
        params.members.iter().map(find).collect::<Result<Vec<AccountId>, _>>()
    };
    let with_branch = params.with_branch;
    changed(&api, &params.group, |view| {
        Ok(Request::GroupRemove { chat: view.chat, members: found(view)?, with_branch })
    })
    .await
}

pub(super) async fn set_role(api: Arc<Api>, params: GroupSetRole) -> Result<Group, ApiError> {
    let contacts = people::contacts(&api).await?;
    changed(&api, &params.group, |view| {
        let member = people::find_member(view, &contacts, &params.member, "member")?;
        Ok(Request::GroupSetRole { chat: view.chat, member, role: groups::role_of(params.role) })
    })
    .await
}

pub(super) async fn mute(api: Arc<Api>, params: GroupMute) -> Result<Group, ApiError> {
    let contacts = people::contacts(&api).await?;
    changed(&api, &params.group, |view| {
        let member = people::find_member(view, &contacts, &params.member, "member")?;
        Ok(Request::GroupMute { chat: view.chat, member, seconds: params.seconds })
    })
    .await
}

pub(super) async fn leave(api: Arc<Api>, params: ByGroup) -> Result<Group, ApiError> {
    changed(&api, &params.group, |view| Ok(Request::GroupLeave { chat: view.chat })).await
}

pub(super) async fn invite(api: Arc<Api>, params: GroupInvite) -> Result<GroupLink, ApiError> {
    if params.uses == 0 {
        return Err(ApiError::invalid("uses", "at least 1"));
    }
    let chat = people::find_group(&api, &params.group, "group").await?.chat;
    let GroupInvite { uses, ttl_ms, approval, .. } = params;
    match api.core.request(Request::GroupInvite { chat, uses, ttl_ms, approval }).await? {
        Reply::GroupLink(link) => Ok(groups::link(link)),
        _ => Err(unexpected("GroupInvite")),
    }
}

pub(super) async fn revoke_link(api: Arc<Api>, params: GroupRevokeLink) -> Result<Done, ApiError> {
    let view = people::find_group(&api, &params.group, "group").await?;
    let link = people::find_link(&view, &params.link)?;
    api.core.request(Request::GroupLinkRevoke { chat: view.chat, link }).await?;
    Ok(Done {})
}

pub(super) async fn join(api: Arc<Api>, params: GroupJoin) -> Result<Group, ApiError> {
    match api.core.request(Request::GroupJoin { link: params.link }).await? {
        Reply::Group(view) => shown(&api, *view).await,
        _ => Err(unexpected("GroupJoin")),
    }
}

pub(super) async fn decide(api: Arc<Api>, params: GroupDecide) -> Result<Group, ApiError> {
    changed(&api, &params.group, |view| {
        let member = people::find_request(view, &params.member)?;
        Ok(Request::GroupDecide { chat: view.chat, member, accept: params.accept })
    })
    .await
}

/// Does what `request` says with a group, and shows it as it is afterwards.
async fn changed(
    api: &Api,
    group: &str,
    request: impl FnOnce(&GroupView) -> Result<Request, ApiError>,
) -> Result<Group, ApiError> {
    let view = people::find_group(api, group, "group").await?;
    let chat = view.chat;
    match api.core.request(request(&view)?).await? {
        Reply::Group(view) => shown(api, *view).await,
        _ => match members::view(api, chat).await? {
            Some(view) => shown(api, view).await,
            None => shown(api, view).await,
        },
    }
}

async fn shown(api: &Api, view: GroupView) -> Result<Group, ApiError> {
    let (contacts, own) = people_here(api).await?;
    Ok(groups::group(view, &contacts, own))
}

async fn people_here(api: &Api) -> Result<(Vec<ContactView>, AccountId), ApiError> {
    let (me, contacts) = tokio::join!(api.me(), people::contacts(api));
    Ok((contacts?, me?.account))
}

async fn contacts(api: &Api, names: &[String]) -> Result<Vec<ChatId>, ApiError> {
    if names.len() > MEMBERS_PER_CALL_MAX {
        return Err(ApiError::invalid("members", format!("at most {MEMBERS_PER_CALL_MAX} at a time")));
    }
    let (me, contacts) = tokio::join!(api.me(), people::contacts(api));
    let (me, contacts) = (me?, contacts?);
    let mut chats = Vec::new();
    for name in names {
        let chat = people::pick_contact(&contacts, &me, name, "members")?;
        if !chats.contains(&chat) {
            chats.push(chat);
        }
    }
    Ok(chats)
}

fn some_members(members: &[String]) -> Result<(), ApiError> {
    if members.is_empty() || members.len() > MEMBERS_PER_CALL_MAX {
        return Err(ApiError::invalid("members", format!("1 to {MEMBERS_PER_CALL_MAX} of them")));
    }
    Ok(())
}

/// The name without the `#` people write before it.
fn group_name(text: &str) -> Result<String, ApiError> {
    let name = text.strip_prefix('#').unwrap_or(text).trim();
    if name.is_empty() {
        return Err(ApiError::invalid("name", "a group needs a name"));
    }
    Ok(name.to_owned())
}

fn check_topic(topic: &str) -> Result<(), ApiError> {
    if topic.len() > GROUP_TOPIC_BYTES_MAX {
        return Err(ApiError::invalid("topic", format!("at most {GROUP_TOPIC_BYTES_MAX} bytes")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_named_with_or_without_its_sign() {
        assert_eq!(group_name("#climbing").as_deref(), Ok("climbing"));
        assert_eq!(group_name(" Friday Club ").as_deref(), Ok("Friday Club"));
        for nothing in ["", "#", "  ", "# "] {
            assert_eq!(group_name(nothing).expect_err("no name").data.field.as_deref(), Some("name"), "{nothing:?}");
        }
    }

    #[test]
    fn a_topic_has_its_bound_and_a_call_a_number_of_members() {
        assert!(check_topic(&"x".repeat(GROUP_TOPIC_BYTES_MAX)).is_ok());
        assert!(check_topic(&"x".repeat(GROUP_TOPIC_BYTES_MAX + 1)).is_err());
        let members = |count| vec!["bob".to_owned(); count];
        assert!(some_members(&members(MEMBERS_PER_CALL_MAX)).is_ok());
        assert!(some_members(&members(MEMBERS_PER_CALL_MAX + 1)).is_err() && some_members(&[]).is_err());
    }
}
