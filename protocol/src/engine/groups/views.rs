//! A group as people and programs see it.

use std::collections::BTreeSet;

use super::super::{Answer, Engine};
use super::Group;
use crate::group::membership::Void;
use crate::group::operation::{Kind, Operation};
use crate::group::view::FormerMemberView;
use crate::group::{GroupHistory, GroupRole, GroupState, GroupView, JoinRequestView, MemberView, VoidView};
use crate::ids::{AccountId, ChatId, OperationId};
use crate::step::{ContactState, Reply, RequestError};
use crate::time::UnixTime;

impl Engine {
    pub(super) fn group_reply(&self, chat: &ChatId) -> Answer {
        self.group_view(chat).map(|view| Reply::Group(Box::new(view))).ok_or(RequestError::NotFound("group"))
    }

    pub(super) fn group_views(&self) -> Vec<GroupView> {
        self.groups.keys().chain(self.joining.keys()).filter_map(|chat| self.group_view(chat)).collect()
    }

    fn group_view(&self, chat: &ChatId) -> Option<GroupView> {
        let Some(group) = self.groups.get(chat) else {
            return self.joining.contains_key(chat).then(|| self.joining_view(chat));
        };
        let own = self.own.as_ref()?.aid();
        let membership = &group.membership;
        let info = membership.info.clone();
        let members = membership.roster.iter().map(|(account, member)| MemberView {
            account: *account,
            name: self.member_name(chat, account),
            role: member.role,
            own: *account == own,
            contact: self
                .contacts
                .get(&account.chat())
                .filter(|contact| contact.state() == ContactState::Active)
                .map(|_| account.chat()),
            added_by: (member.added_by != *account).then_some(member.added_by),
            muted_until: membership.muted.get(account).map(|until| UnixTime(*until)),
            forked: membership.forked.iter().any(|device| device.account == *account),
        });
        let ever: BTreeSet<AccountId> = group.signers.keys().map(|device| device.account).collect();
        let former: Vec<AccountId> =
            ever.into_iter().filter(|account| !membership.roster.contains_key(account)).collect();
        let good_links = membership.links.iter().filter(|(_, link)| link.left != Some(0)).map(|(link, _)| link);
        let requests = group.rec.requests.iter().filter_map(|request| {
            let account = self.contacts.get(&ChatId::read(&request.chat)?)?.aid()?;
            Some(JoinRequestView { account, name: request.name.clone(), at: UnixTime(request.at) })
        });
        Some(GroupView {
            chat: *chat,
            name: info.name.unwrap_or_default(),
            topic: info.topic.unwrap_or_default(),
            avatar: info.avatar.unwrap_or_default(),
            state: group.state(),
            role: group.role_of(&own),
            members: members.collect(),
            former: former
                .into_iter()
                .map(|account| FormerMemberView { account, name: self.member_name(chat, &account) })
                .collect(),
            epoch: group.epoch_name(),
            rekey_due: group.rekey_due(),
            retention_s: info.retention_s.unwrap_or(0),
            history: match info.history_days {
                None | Some(0) => GroupHistory::None,
                Some(u32::MAX) => GroupHistory::All,
                Some(days) => GroupHistory::Days(days),
            },
            may_add: info.add_role.unwrap_or(GroupRole::Admin),
            may_send: info.send_role.unwrap_or(GroupRole::Member),
            may_delete: info.delete_role.unwrap_or(GroupRole::Moderator),
            slow_mode_s: info.slow_s.unwrap_or(0),
            frozen: membership.frozen,
            links: good_links.filter_map(|link| self.link_view(chat, link)).collect(),
            requests: requests.collect(),
            void: membership.void.keys().filter_map(|id| group.void_view(id)).collect(),
            pins: self.pins_of(chat),
            checkpoint: group.checkpoint_view(),
        })
    }

    fn joining_view(&self, chat: &ChatId) -> GroupView {
        GroupView {
            chat: *chat,
            name: self.joining_name(chat),
            topic: String::new(),
            avatar: Vec::new(),
            state: GroupState::Joining,
            role: None,
            members: Vec::new(),
            former: Vec::new(),
            epoch: [0; 4],
            rekey_due: false,
            retention_s: 0,
            history: GroupHistory::None,
            may_add: GroupRole::Admin,
            may_send: GroupRole::Member,
            may_delete: GroupRole::Moderator,
            slow_mode_s: 0,
            frozen: false,
            links: Vec::new(),
            requests: Vec::new(),
            void: Vec::new(),
            pins: Vec::new(),
            checkpoint: None,
        }
    }
}

impl Group {
    /// What an operation without effect would have done, and why it has none.
    pub(super) fn void_view(&self, id: &OperationId) -> Option<VoidView> {
        let operation = self.graph.operation(id)?;
        let why = self.membership.void.get(id)?;
        Some(VoidView { author: operation.author().account, what: what(operation), why: why_void(*why) })
    }
}

fn what(operation: &Operation) -> String {
    let short = |account: &AccountId| account.to_string();
    match operation.kind() {
        Kind::Create { .. } => "create the group".to_owned(),
        Kind::Add { account, .. } => format!("add {}", short(account)),
        Kind::Remove { accounts, .. } => {
            format!("remove {}", accounts.iter().map(short).collect::<Vec<_>>().join(", "))
        }
        Kind::Role { account, role } => format!("make {} {}", short(account), role.name()),
        Kind::Devices { .. } => "change the devices of an account".to_owned(),
        Kind::Leave { .. } => "leave".to_owned(),
        Kind::Info(_) => "change the settings".to_owned(),
        Kind::Rekey { .. } => "change the key".to_owned(),
        Kind::Link { .. } => "make a link".to_owned(),
        Kind::RevokeLink { .. } => "revoke a link".to_owned(),
        Kind::Join { account, .. } => format!("let {} in", short(account)),
        Kind::Freeze { on: true } => "freeze the group".to_owned(),
        Kind::Freeze { on: false } => "unfreeze the group".to_owned(),
        Kind::Mute { account, .. } => format!("mute {}", short(account)),
        Kind::Checkpoint { .. } => "note a checkpoint".to_owned(),
        Kind::Other => "something this version does not know".to_owned(),
    }
}

fn why_void(void: Void) -> String {
    match void {
        Void::NotMember => "whoever did it was no member then",
        Void::NotAllowed => "their role did not permit it, or there was nothing to do",
        Void::Frozen => "the group was frozen",
        Void::Unsound => "it rests on keys or a link that do not exist",
        Void::LinkSpent => "the link had let in as many as it may",
        Void::Against(_) => "something done at the same time goes before it",
        Void::LastOwner => "the last owner cannot be removed",
        Void::Circle => "it waits for others that nobody was allowed to make",
    }
    .to_owned()
}
