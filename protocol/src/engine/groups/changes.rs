//! What a person does to a group.

use super::super::account::{Own, check_text};
use super::super::contacts::Contact;
use super::super::records::state::GroupRecord;
use super::super::turn::Turn;
use super::super::{Answer, Engine, not_found};
use super::Group;
use super::operations::device_keys;
use crate::crypto::Secret;
use crate::group::graph::Graph;
use crate::group::operation::{Info, Kind, Operation, sign};
use crate::group::{GroupHistory, GroupRole, GroupState};
use crate::ids::{AccountId, ChatId, OperationId};
use crate::input::GroupChanges;
use crate::limits::{
    CHAT_RETENTION_S_RANGE, GROUP_ADDITIONS_MAX, GROUP_AVATAR_BYTES_MAX, GROUP_REMOVALS_PER_OPERATION_MAX,
    GROUP_SLOW_S_MAX, GROUP_TOPIC_BYTES_MAX, GROUPS_MAX, NAME_BYTES_MAX,
};
use crate::step::{ContactState, EventKind, FailReason, RequestError};
use crate::store::{StoreError, Table};
use crate::time::SECOND_MS;
use crate::wire::proto;

impl Engine {
    /// True where this account is a member of a group that can be changed.
    pub(super) fn may_change(&self, chat: &ChatId) -> Result<(), RequestError> {
        match self.groups.get(chat) {
            None => Err(RequestError::NotFound("group")),
            Some(group) if !group.takes_part() => Err(RequestError::NotMember),
            Some(_) => Ok(()),
        }
    }

    pub(super) fn group_create(
        &mut self,
        name: String,
        topic: String,
        members: &[ChatId],
        turn: &mut Turn,
    ) -> Result<Answer, StoreError> {
        let checked = check_text("name", &name, 1, NAME_BYTES_MAX)
            .and(check_text("topic", &topic, 0, GROUP_TOPIC_BYTES_MAX))
            .and(self.may_add(members));
        if let Err(error) = checked {
            return Ok(Err(error));
        }
        if self.groups.len() >= GROUPS_MAX {
            return Ok(Err(RequestError::Limit("groups: leave some")));
        }
        let (Some(me), Some(own)) = (self.own_device(), &self.own) else { return Ok(Err(RequestError::NoAccount)) };
        let info = Info { name: Some(name), topic: Some(topic), ..Info::default() };
        let kind = Kind::Create { info, devices: device_keys(own.account.log()) };
        let body = proto::GroupOp {
            author: me.to_bytes().to_vec(),
            b: kind.to_proto(self.chance.bytes()),
            ..proto::GroupOp::default()
        };
        let signed = sign(own.account.dik(), &body);
        let Ok(genesis) = Operation::read(&signed) else { return Ok(Err(RequestError::Limit("the beginning"))) };
        let id = genesis.id();
        let Ok(graph) = Graph::new(genesis.clone()) else { return Ok(Err(RequestError::Limit("the beginning"))) };
        let chat = ChatId(graph.group().0);
        let key = [chat.as_bytes(), id.as_bytes()].concat();
        turn.put_record(Table::GroupOperation, &key, genesis.signed());
        let mut group = Group::new(graph, me, GroupRecord { genesis: id.0.to_vec(), ..GroupRecord::default() });
        group.set_state(GroupState::Active);
        self.groups.insert(chat, group);
        self.chats.entry(chat).or_default();
        self.save_chat(&chat, turn);
        self.learn_key(chat, &id, turn);
        let x = Secret::random(&mut self.chance);
        self.hold_fresh(chat, &id, &x, turn);
        self.follow_heads(chat, turn);
        self.save_group(&chat, turn);
        turn.event(Some(chat), None, EventKind::GroupUpdated);
        match members.is_empty() {
            true => Ok(self.group_reply(&chat)),
            false => self.group_add(chat, members, turn),
        }
    }

    /// Contacts that can be added: active ones, whose device log is known.
    fn may_add(&self, members: &[ChatId]) -> Result<(), RequestError> {
        if members.len() > GROUP_ADDITIONS_MAX {
            return Err(RequestError::Limit("people added at once"));
        }
        for member in members {
            let contact = self.contacts.get(member).ok_or(RequestError::NotFound("contact"))?;
            match contact.state() {
                ContactState::Active if contact.log().is_some() => {}
                ContactState::Blocked => return Err(RequestError::Blocked),
                _ => return Err(RequestError::NotFound("contact that has answered")),
            }
        }
        Ok(())
    }

    pub(super) fn group_add(
        &mut self,
        chat: ChatId,
        members: &[ChatId],
        turn: &mut Turn,
    ) -> Result<Answer, StoreError> {
        if let Err(error) = self.may_change(&chat).and(self.may_add(members)) {
            return Ok(Err(error));
        }
        for member in members {
            let contact = self.contacts.get(member);
            let Some((account, log)) = contact.and_then(|c| Some((c.aid()?, c.log()?))) else { continue };
            if self.is_member(&chat, &account) {
                continue;
            }
            // The key that the newcomer is given is made from the one in use.
            let _ready = self.ready_keys(chat, turn)?;
            let heads = self.groups.get(&chat).map(|g| g.membership.key_heads.iter().copied().collect());
            let heads: Vec<OperationId> = heads.unwrap_or_default();
            let kind = Kind::Add { account, role: GroupRole::Member, devices: device_keys(&log), heads };
            match self.write_operation(chat, &kind, turn)? {
                Ok(addition) => {
                    self.welcome_newcomer(chat, account, addition, turn)?;
                    self.hand_history(chat, account, turn)?;
                }
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        Ok(self.group_reply(&chat))
    }

    pub(super) fn group_remove(
        &mut self,
        chat: ChatId,
        members: &[AccountId],
        with_branch: bool,
        turn: &mut Turn,
    ) -> Result<Answer, StoreError> {
        if let Err(error) = self.may_change(&chat) {
            return Ok(Err(error));
        }
        let Some(own) = self.own.as_ref().map(Own::aid) else { return Ok(Err(RequestError::NoAccount)) };
        let Some(group) = self.groups.get(&chat) else { return Ok(not_found("group")) };
        if let Some(_unknown) = members.iter().find(|account| !group.has_member(account)) {
            return Ok(not_found("member of this group"));
        }
        if members.contains(&own) {
            let why = "yourself is removed by leaving the group".to_owned();
            return Ok(Err(RequestError::Invalid { field: "members", why }));
        }
        let mut accounts: std::collections::BTreeSet<AccountId> = members.iter().copied().collect();
        if with_branch {
            accounts.extend(members.iter().flat_map(|account| group.membership.branch(account)));
            accounts.remove(&own);
        }
        let accounts: Vec<AccountId> = accounts.into_iter().collect();
        for part in accounts.chunks(GROUP_REMOVALS_PER_OPERATION_MAX) {
            let kind = Kind::Remove { accounts: part.to_vec(), reason: 0 };
            if let Err(refusal) = self.write_operation(chat, &kind, turn)? {
                return Ok(Err(refusal));
            }
        }
        self.rekey_if_due(chat, turn)?;
        Ok(self.group_reply(&chat))
    }

    pub(super) fn group_set_role(
        &mut self,
        chat: ChatId,
        member: AccountId,
        role: GroupRole,
        turn: &mut Turn,
    ) -> Result<Answer, StoreError> {
        self.change(chat, &member, Kind::Role { account: member, role }, turn)
    }

    pub(super) fn group_mute(
        &mut self,
        chat: ChatId,
        member: AccountId,
        seconds: u32,
        turn: &mut Turn,
    ) -> Result<Answer, StoreError> {
        let until_ms = match seconds {
            0 => 0,
            _ => turn.now.unix.after_ms(u64::from(seconds) * SECOND_MS).0,
        };
        self.change(chat, &member, Kind::Mute { account: member, until_ms }, turn)
    }

    /// Writes an operation about one member.
    fn change(&mut self, chat: ChatId, member: &AccountId, kind: Kind, turn: &mut Turn) -> Result<Answer, StoreError> {
        if let Err(error) = self.may_change(&chat) {
            return Ok(Err(error));
        }
        if !self.is_member(&chat, member) {
            return Ok(not_found("member of this group"));
        }
        match self.write_operation(chat, &kind, turn)? {
            Ok(_) => Ok(self.group_reply(&chat)),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    pub(in super::super) fn group_set(
        &mut self,
        chat: ChatId,
        changes: GroupChanges,
        turn: &mut Turn,
    ) -> Result<Answer, StoreError> {
        if let Err(error) = self.may_change(&chat).and(check_changes(&changes)) {
            return Ok(Err(error));
        }
        let frozen = changes.frozen;
        let info = Info {
            name: changes.name,
            topic: changes.topic,
            avatar: changes.avatar,
            retention_s: changes.retention_s,
            history_days: changes.history.map(|history| match history {
                GroupHistory::None => 0,
                GroupHistory::Days(days) => days,
                GroupHistory::All => u32::MAX,
            }),
            add_role: changes.may_add,
            send_role: changes.may_send,
            delete_role: changes.may_delete,
            slow_s: changes.slow_mode_s,
        };
        let mut kinds = Vec::new();
        if info != Info::default() {
            kinds.push(Kind::Info(info));
        }
        kinds.extend(frozen.map(|on| Kind::Freeze { on }));
        for kind in kinds {
            if let Err(refusal) = self.write_operation(chat, &kind, turn)? {
                return Ok(Err(refusal));
            }
        }
        Ok(self.group_reply(&chat))
    }

    pub(super) fn group_leave(&mut self, chat: ChatId, turn: &mut Turn) -> Result<Answer, StoreError> {
        if self.joining.remove(&chat).is_some() {
            turn.delete(Table::Group, chat.as_bytes());
            return Ok(Ok(crate::step::Reply::Done));
        }
        if let Err(error) = self.may_change(&chat) {
            return Ok(Err(error));
        }
        match self.write_operation(chat, &Kind::Leave { reason: 0 }, turn)? {
            Ok(_) => Ok(self.group_reply(&chat)),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// This account is no member any more: what was written stays, everything else ends.
    pub(super) fn no_longer_member(&mut self, chat: ChatId, removed: bool, turn: &mut Turn) -> Result<(), StoreError> {
        let Some(group) = self.groups.get_mut(&chat) else { return Ok(()) };
        let state = if removed { GroupState::Removed } else { GroupState::Left };
        if group.state() == state {
            return Ok(());
        }
        group.set_state(state);
        let unsent = std::mem::take(&mut group.rec.unsent);
        group.rec.unconfirmed.clear();
        self.save_group(&chat, turn);
        for id in unsent.iter().filter_map(|bytes| super::super::message_id(bytes)) {
            self.raise(chat, id, crate::step::DeliveryState::Failed(FailReason::Refused), None, turn)?;
        }
        for link in self.links.values_mut() {
            link.comparisons.remove(&chat);
        }
        let invites: Vec<_> =
            self.invites.values().filter(|invite| invite.group() == Some(chat)).map(|invite| invite.id).collect();
        for invite in invites {
            self.close_invite(invite, true, turn);
        }
        if removed {
            // The others hear nothing of us any more. Who leaves still says so.
            let lanes: Vec<ChatId> = self.outbox.chats();
            for lane in lanes {
                let of_group = |flight: &crate::delivery::outbox::Flight| flight.group == Some(chat);
                let waiting: Vec<u64> = self.outbox.lane(&lane).map_or_else(Vec::new, |queue| {
                    queue.flights.iter().filter(|(_, flight)| of_group(flight)).map(|(seq, _)| *seq).collect()
                });
                for seq in waiting {
                    self.fail_flight(lane, seq, FailReason::Refused, turn)?;
                }
            }
            self.forget_strangers(turn);
        }
        turn.event(Some(chat), None, EventKind::GroupUpdated);
        Ok(())
    }

    /// Meets whoever made a link, as far as that is needed to ask them.
    pub(super) fn follow_group_invitation(
        &mut self,
        code: &crate::wire::invite::InviteCode,
        group: ChatId,
        turn: &mut Turn,
    ) -> Result<Result<(), RequestError>, StoreError> {
        let known = self.contacts.get(&code.aid20.chat()).is_some_and(|contact| Contact::session(contact).is_some());
        match known {
            true => Ok(Ok(())),
            false => Ok(self.follow_invitation(code, None, Some(group), turn)?.map(|_| ())),
        }
    }
}

fn check_changes(changes: &GroupChanges) -> Result<(), RequestError> {
    let invalid = |field, why: String| Err(RequestError::Invalid { field, why });
    if let Some(name) = &changes.name {
        check_text("name", name, 1, NAME_BYTES_MAX)?;
    }
    if let Some(topic) = &changes.topic {
        check_text("topic", topic, 0, GROUP_TOPIC_BYTES_MAX)?;
    }
    if changes.avatar.as_ref().is_some_and(|avatar| avatar.len() > GROUP_AVATAR_BYTES_MAX) {
        return invalid("avatar", format!("at most {GROUP_AVATAR_BYTES_MAX} bytes"));
    }
    if changes.retention_s.is_some_and(|s| s != 0 && !CHAT_RETENTION_S_RANGE.contains(&s)) {
        return invalid("seconds", "0 (for ever), or from 1 to 90 days".to_owned());
    }
    if changes.slow_mode_s.is_some_and(|s| s > GROUP_SLOW_S_MAX) {
        return invalid("slowModeS", format!("at most {GROUP_SLOW_S_MAX} seconds"));
    }
    Ok(())
}
