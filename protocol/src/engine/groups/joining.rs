//! How people come in: added by somebody who knows them, or by a link.
//!
//! ```text
//!   added       Add ─ letter to all;  welcome ─ in the session with the newcomer
//!   by a link   first contact by the invitation ─▶ request with the link's signature ─▶ Join ─ letter to all; welcome
//! ```
//! A welcome has every operation, the secret of the newcomer's own addition, and what the others are called and where
//! they take mail. It says nothing of before: keys of earlier letters do not follow from it. What was said before is
//! told in parts of its own (`history.rs`), where the group wants that.

use prost::Message;

use super::super::account::{Own, check_text};
use super::super::contacts::Contact;
use super::super::invites::Invite;
use super::super::records::state::{GroupOwnLink, GroupRecord, GroupRequest, PartsRecord};
use super::super::turn::Turn;
use super::super::{Answer, Engine, not_found};
use super::operations::{device_keys, vouched};
use super::{Group, read_operation};
use crate::crypto::ed25519::SigningKey;
use crate::crypto::kdf::kdf;
use crate::group::graph::Graph;
use crate::group::key_ring::HeadSecret;
use crate::group::operation::{self, Kind, Operation};
use crate::group::welcome::Welcome;
use crate::group::{GroupLinkView, GroupRole};
use crate::ids::{AccountId, ChatId, InviteId, OperationId};
use crate::input::{InviteKind, RequestId};
use crate::limits::{
    CONTROL_TTL_MS, GROUP_LINK_USES_MAX, GROUP_PART_BYTES, GROUP_PARTS_MAX, GROUP_REQUESTS_MAX, GROUPS_MAX,
    GROUPS_PER_CONTACT_DAY_MAX, NAME_BYTES_MAX,
};
use crate::step::{EventKind, RequestError};
use crate::store::{StoreError, Table};
use crate::time::{DAY_MS, UnixTime};
use crate::wire::invite::InviteCode;
use crate::wire::proto::{self, group_ctl::C, plain::Kind as Content};

/// Where a new invitation to a group leads.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Destination {
    pub(in super::super) group: ChatId,
    pub(in super::super) link: OperationId,
    pub(in super::super) secret: [u8; 16],
}

/// Why a request was turned down, as it travels.
const REFUSED_LINK: u32 = 1;
const REFUSED_DECISION: u32 = 2;

impl Engine {
    // ---- welcomes

    /// Tells a newcomer everything it needs, in the session there is with it.
    pub(super) fn welcome_newcomer(
        &mut self,
        chat: ChatId,
        account: AccountId,
        addition: OperationId,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let Some(group) = self.groups.get(&chat) else { return Ok(()) };
        let Some(devices) = group.membership.roster.get(&account).map(|member| member.devices.clone()) else {
            return Ok(());
        };
        let device = devices.iter().map(|d| crate::ids::GroupDevice { account, device: d.id });
        let secrets: Vec<_> = device.filter_map(|device| group.ring.welcome(&addition, &device).ok()).take(1).collect();
        if secrets.is_empty() {
            return Ok(());
        }
        self.tell_everything(chat, account, secrets, turn)
    }

    /// Every operation, and secrets: for a newcomer that of its own addition, for a member that came on one side of a
    /// split that of both sides together. Operations of the other side are sealed under keys it does not have.
    pub(super) fn tell_everything(
        &mut self,
        chat: ChatId,
        account: AccountId,
        secrets: Vec<HeadSecret>,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let Some(group) = self.groups.get(&chat) else { return Ok(()) };
        let cards = group.membership.roster.keys().filter(|of| **of != account).map(|of| self.member_card(&chat, of));
        let welcome = proto::GroupWelcome {
            gid: chat.0.to_vec(),
            ops: group.graph.operations().map(|operation| operation.signed().encode_to_vec()).collect(),
            secrets: Welcome { group: group.id(), secrets }.encode(),
            members: cards.collect(),
        };
        let bytes = welcome.encode_to_vec();
        let parts: Vec<Vec<u8>> = bytes.chunks(GROUP_PART_BYTES).map(<[u8]>::to_vec).collect();
        let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        for (part, bytes) in (0..).zip(parts) {
            let part = proto::GroupPart { gid: chat.0.to_vec(), part, parts: count, bytes };
            let ctl = proto::GroupCtl { c: Some(C::Welcome(part)), ..Default::default() };
            self.queue_control(account.chat(), Content::Group(ctl), CONTROL_TTL_MS, turn)?;
        }
        Ok(())
    }

    fn member_card(&self, chat: &ChatId, account: &AccountId) -> proto::GroupMemberCard {
        let contact = self.contacts.get(&account.chat());
        let member_only = contact.filter(|contact| contact.state() == crate::step::ContactState::Member);
        proto::GroupMemberCard {
            aid: account.0.to_vec(),
            name: self.member_name(chat, account),
            // What a contact has given us is for us; what a member has told the group is for all of it.
            grants: member_only.map(|contact| contact.grants.clone()).unwrap_or_default(),
            peers: member_only
                .map(|contact| contact.peers.iter().map(|peer| super::super::account::hint(peer, 0)).collect())
                .unwrap_or_default(),
            rev: member_only.map_or(0, |contact| contact.rec.grants_rev),
        }
    }

    /// What a contact says about groups.
    pub(in super::super) fn group_ctl_arrived(
        &mut self,
        from: ChatId,
        ctl: proto::GroupCtl,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        match ctl.c {
            Some(C::Welcome(part)) => self.welcome_part(from, &part, turn),
            Some(C::Join(request)) => self.join_requested(from, &request, turn),
            Some(C::Refused(refusal)) => {
                self.join_refused(from, &refusal, turn);
                Ok(())
            }
            Some(C::History(history)) => self.history_arrived(from, history, turn),
            // Operations and confirmations count only in letters.
            Some(C::Op(_) | C::Seen(_)) | None => Ok(()),
        }
    }

    fn welcome_part(&mut self, from: ChatId, part: &proto::GroupPart, turn: &mut Turn) -> Result<(), StoreError> {
        let count = usize::try_from(part.parts).unwrap_or(usize::MAX);
        let at = usize::try_from(part.part).unwrap_or(usize::MAX);
        let Some(chat) = ChatId::read(&part.gid) else { return Ok(()) };
        if count > GROUP_PARTS_MAX || at >= count || part.bytes.len() > GROUP_PART_BYTES {
            return Ok(());
        }
        if count == 1 {
            return self.welcome_arrived(from, chat, &part.bytes, turn);
        }
        let key = [chat.as_bytes(), from.as_bytes()].concat();
        let mut record: PartsRecord = turn.record(Table::GroupWaiting, &key)?.unwrap_or_default();
        if record.got.len() != count {
            record.got = vec![Vec::new(); count];
        }
        if let Some(slot) = record.got.get_mut(at) {
            slot.clone_from(&part.bytes);
        }
        if record.got.iter().any(Vec::is_empty) {
            record.at = turn.now.unix.0;
            turn.put_record(Table::GroupWaiting, &key, &record);
            return Ok(());
        }
        turn.delete(Table::GroupWaiting, &key);
        self.welcome_arrived(from, chat, &record.got.concat(), turn)
    }

    /// A whole welcome: into a group that is not known, or back into one.
    fn welcome_arrived(&mut self, from: ChatId, chat: ChatId, bytes: &[u8], turn: &mut Turn) -> Result<(), StoreError> {
        let Some(by) = self.contacts.get(&from).and_then(Contact::aid) else { return Ok(()) };
        let Some(own) = self.own.as_ref().map(Own::aid) else { return Ok(()) };
        let Some(read) = read_welcome(by, own, chat, bytes) else { return Ok(()) };
        let known = self.groups.contains_key(&chat);
        let asked = self.joining.contains_key(&chat);
        if !known && !asked && !self.takes_groups_from(from, turn.now.unix, turn)? {
            let text = "a contact has added you to more groups than are taken in a day".to_owned();
            turn.event(Some(from), None, EventKind::Warning { text });
            return Ok(());
        }
        let Some(me) = self.own_device() else { return Ok(()) };
        let comes_in = self.groups.get(&chat).is_none_or(|group| !group.takes_part());
        if !known {
            let rec = GroupRecord { genesis: read.genesis.id().0.to_vec(), ..GroupRecord::default() };
            let genesis = read.genesis.clone();
            let Ok(graph) = Graph::new(genesis) else { return Ok(()) };
            let key = [chat.as_bytes(), read.genesis.id().as_bytes()].concat();
            turn.put(Table::GroupOperation, &key, read.genesis.signed().encode_to_vec());
            self.groups.insert(chat, Group::new(graph, me, rec));
            self.chats.entry(chat).or_default();
            self.save_chat(&chat, turn);
            self.joining.remove(&chat);
            self.learn_key(chat, &read.genesis.id(), turn);
        }
        for card in &read.cards {
            if let Some(account) = AccountId::read(&card.aid)
                && check_text("name", &card.name, 1, NAME_BYTES_MAX).is_ok()
            {
                self.name_member(chat, account, &card.name, turn);
            }
        }
        let operations = self.groups.get(&chat).map_or(0, |group| group.graph.count());
        self.take_vouched(chat, read.operations, &read.by, turn)?;
        if self.groups.get(&chat).is_some_and(|group| known && group.graph.count() > operations) {
            // Those this account let in are as far behind as it was.
            let guests = self.groups.get(&chat).map(|group| {
                let of = |account: &&AccountId| group.brought_in(account, &me.account);
                group.membership.roster.keys().filter(of).copied().collect()
            });
            self.note_behind(chat, guests.unwrap_or_default(), turn);
        }
        let mut all = Vec::new();
        if let Some(group) = self.groups.get_mut(&chat) {
            for secret in &read.welcome.secrets {
                if let Ok(changes) = group.ring.accept(secret) {
                    all.push(changes);
                }
            }
        }
        for changes in all {
            self.keys_changed(chat, changes, turn);
        }
        for card in read.cards {
            if let Some(account) = AccountId::read(&card.aid) {
                let update = proto::MailboxUpdate { grants: card.grants, peers: card.peers, rev: card.rev };
                self.member_moved(account, update, turn)?;
            }
        }
        self.follow_heads(chat, turn);
        self.read_unread(chat, turn)?;
        self.seal_unsent(chat, turn)?;
        self.tell_members(chat, turn)?;
        if let Some(group) = self.groups.get_mut(&chat).filter(|_| comes_in) {
            group.rec.welcomed_at = turn.now.unix.0;
            (group.rec.history_letters, group.rec.history_bytes) = (0, 0);
        }
        self.save_group(&chat, turn);
        self.take_early_history(chat, from, turn)?;
        self.refetch(turn);
        Ok(())
    }

    /// A contact may take this account into groups; not into hundreds.
    fn takes_groups_from(&mut self, from: ChatId, now: UnixTime, turn: &mut Turn) -> Result<bool, StoreError> {
        if self.groups.len() >= GROUPS_MAX {
            return Ok(false);
        }
        let Some(contact) = self.contacts.get_mut(&from) else { return Ok(false) };
        if contact.rec.groups_day_at.saturating_add(DAY_MS) <= now.0 {
            (contact.rec.groups_day_at, contact.rec.groups_day) = (now.0, 0);
        }
        contact.rec.groups_day += 1;
        let takes = contact.rec.groups_day <= GROUPS_PER_CONTACT_DAY_MAX;
        self.save_contact(&from, turn);
        Ok(takes)
    }

    // ---- links

    /// Makes a link. The reply comes when relays hold the card of the invitation behind it.
    pub(super) fn group_invite(
        &mut self,
        request: RequestId,
        chat: ChatId,
        uses: u32,
        ttl_ms: u64,
        approval: bool,
        turn: &mut Turn,
    ) -> Result<Option<Answer>, StoreError> {
        if let Err(error) = self.may_change(&chat) {
            return Ok(Some(Err(error)));
        }
        if !(1..=GROUP_LINK_USES_MAX).contains(&uses) {
            let why = format!("from 1 to {GROUP_LINK_USES_MAX}");
            return Ok(Some(Err(RequestError::Invalid { field: "uses", why })));
        }
        if let Err(error) = super::super::invites::check_ttl(ttl_ms) {
            return Ok(Some(Err(error)));
        }
        let secret: [u8; 16] = self.chance.bytes();
        let expires_day = turn.now.unix.after_ms(ttl_ms).day_2024();
        let key = link_key(&secret).verifying_key();
        let kind = Kind::Link { key, uses, expires_day, role: GroupRole::Member, approval };
        let link = match self.write_operation(chat, &kind, turn)? {
            Ok(link) => link,
            Err(refusal) => return Ok(Some(Err(refusal))),
        };
        let destination = Destination { group: chat, link, secret };
        let invite = super::super::invites::invite_id(&secret);
        if let Some(group) = self.groups.get_mut(&chat) {
            group.rec.links.push(GroupOwnLink { id: link.0.to_vec(), invite: invite.0.to_vec() });
        }
        self.save_group(&chat, turn);
        self.invite_create(request, InviteKind::Reusable, ttl_ms, Some(destination), turn)
    }

    pub(super) fn group_link_revoke(
        &mut self,
        chat: ChatId,
        link: OperationId,
        turn: &mut Turn,
    ) -> Result<Answer, StoreError> {
        if let Err(error) = self.may_change(&chat) {
            return Ok(Err(error));
        }
        let known = self.groups.get(&chat).is_some_and(|group| group.membership.links.contains_key(&link));
        if !known {
            return Ok(not_found("link of this group"));
        }
        if let Err(refusal) = self.write_operation(chat, &Kind::RevokeLink { link }, turn)? {
            return Ok(Err(refusal));
        }
        if let Some(invite) = self.own_link(&chat, &link) {
            self.close_invite(invite, true, turn);
        }
        Ok(self.group_reply(&chat))
    }

    fn own_link(&self, chat: &ChatId, link: &OperationId) -> Option<InviteId> {
        let links = &self.groups.get(chat)?.rec.links;
        InviteId::read(&links.iter().find(|own| own.id == link.0)?.invite)
    }

    /// A link as its maker or any member sees it.
    pub(super) fn link_view(&self, chat: &ChatId, id: &OperationId) -> Option<GroupLinkView> {
        let group = self.groups.get(chat)?;
        let link = group.membership.links.get(id)?;
        let Kind::Link { uses, .. } = group.graph.operation(id)?.kind() else { return None };
        let invite = self.own_link(chat, id).and_then(|invite| self.invites.get(&invite));
        let end_of_day = UnixTime(crate::time::EPOCH_2024_MS).after_ms((u64::from(link.expires_day) + 1) * DAY_MS);
        Some(GroupLinkView {
            id: id.0,
            link: invite.map(|invite| invite.rec.link.clone()).unwrap_or_default(),
            qr: invite.map(|invite| invite.rec.qr.clone()).unwrap_or_default(),
            expires_at: end_of_day,
            uses: *uses,
            used: uses.saturating_sub(link.left.unwrap_or(*uses)),
            approval: link.approval,
        })
    }

    /// The same for who has just made it: with the minute at which the invitation behind it ends.
    pub(in super::super) fn group_link_view(&self, chat: &ChatId, invite: &Invite) -> Option<GroupLinkView> {
        let group = self.groups.get(chat)?;
        let own = group.rec.links.iter().find(|own| own.invite == invite.id.0)?;
        let expires_at = UnixTime(invite.rec.expires_at);
        Some(GroupLinkView { expires_at, ..self.link_view(chat, &OperationId::read(&own.id)?)? })
    }

    /// Follows a link: meets whoever made it, and asks to be let in.
    pub(super) fn group_join(&mut self, link: &str, turn: &mut Turn) -> Result<Answer, StoreError> {
        let code = match InviteCode::parse(link) {
            Ok(code) => code,
            Err(error) => return Ok(Err(RequestError::BadInvite(error.to_string()))),
        };
        let Some((chat, _)) = code.group() else {
            return Ok(Err(RequestError::BadInvite("it leads to a person: add them as a contact".to_owned())));
        };
        if self.groups.get(&chat).is_some_and(Group::takes_part) {
            return Ok(self.group_reply(&chat));
        }
        if self.joining.len() + self.groups.len() >= GROUPS_MAX {
            return Ok(Err(RequestError::Limit("groups: leave some")));
        }
        if let Err(error) = self.follow_group_invitation(&code, chat, turn)? {
            return Ok(Err(error));
        }
        let rec = GroupRecord { join_link: code.link(), ..GroupRecord::default() };
        turn.put_record(Table::Group, chat.as_bytes(), &rec);
        self.joining.insert(chat, rec);
        self.ask_to_join(turn)?;
        Ok(self.group_reply(&chat))
    }

    /// Sends requests for which there is a session by this time.
    pub(in super::super) fn ask_to_join(&mut self, turn: &mut Turn) -> Result<(), StoreError> {
        let waiting: Vec<(ChatId, InviteCode)> = self
            .joining
            .iter()
            .filter(|(_, rec)| rec.told.is_empty())
            .filter_map(|(chat, rec)| Some((*chat, InviteCode::parse(&rec.join_link).ok()?)))
            .collect();
        for (chat, code) in waiting {
            let Some((_, link)) = code.group() else { continue };
            let lane = code.aid20.chat();
            if !self.has_session(&lane) {
                continue;
            }
            let Some(own) = &self.own else { continue };
            let devices = device_keys(own.account.log());
            let key = link_key(code.secret.expose());
            let gid = crate::ids::GroupId(chat.0);
            let proof = operation::sign_join(&key, &gid, &link, &own.aid(), &devices).to_vec();
            let name = own.record.name.clone();
            let request = proto::GroupJoinRequest { gid: chat.0.to_vec(), link: link.0.to_vec(), proof, name };
            let ctl = proto::GroupCtl { c: Some(C::Join(request)), ..Default::default() };
            self.queue_control(lane, Content::Group(ctl), CONTROL_TTL_MS, turn)?;
            if let Some(rec) = self.joining.get_mut(&chat) {
                rec.told = vec![1];
                turn.put_record(Table::Group, chat.as_bytes(), rec);
            }
        }
        Ok(())
    }

    /// Somebody who holds a link asks to be let in.
    fn join_requested(
        &mut self,
        from: ChatId,
        request: &proto::GroupJoinRequest,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let (Some(chat), Some(link)) = (ChatId::read(&request.gid), OperationId::read(&request.link)) else {
            return Ok(());
        };
        let Some(account) = self.contacts.get(&from).and_then(|contact| contact.aid()) else { return Ok(()) };
        let Some(group) = self.groups.get_mut(&chat).filter(|group| group.takes_part()) else {
            return self.refuse_join(from, chat, REFUSED_LINK, turn);
        };
        if group.has_member(&account) {
            let since = group.membership.roster.get(&account).map(|member| member.since);
            return match since {
                Some(addition) => self.welcome_newcomer(chat, account, addition, turn),
                None => Ok(()),
            };
        }
        let good = group.membership.links.get(&link).is_some_and(|link| {
            link.left != Some(0) && (link.expires_day == 0 || link.expires_day >= turn.now.unix.day_2024())
        });
        if !good {
            return self.refuse_join(from, chat, REFUSED_LINK, turn);
        }
        let approval = group.membership.links.get(&link).is_some_and(|link| link.approval);
        let name = match check_text("name", &request.name, 1, NAME_BYTES_MAX) {
            Ok(()) => request.name.clone(),
            Err(_) => String::new(),
        };
        let waiting = GroupRequest {
            chat: from.0.to_vec(),
            link_id: link.0.to_vec(),
            proof: request.proof.clone(),
            name: name.clone(),
            at: turn.now.unix.0,
        };
        if !approval {
            self.name_member(chat, account, &name, turn);
            return self.let_in(chat, &waiting, turn).map(|_| ());
        }
        let again = group.rec.requests.iter().any(|known| known.chat == from.0);
        if !again && group.rec.requests.len() < GROUP_REQUESTS_MAX {
            group.rec.requests.push(waiting);
            self.save_group(&chat, turn);
            turn.event(Some(chat), None, EventKind::GroupJoinRequest { account, name });
        }
        Ok(())
    }

    /// Writes the Join of somebody who asked, and welcomes them.
    fn let_in(&mut self, chat: ChatId, request: &GroupRequest, turn: &mut Turn) -> Result<Answer, StoreError> {
        let Some(from) = ChatId::read(&request.chat) else { return Ok(not_found("request")) };
        let contact = self.contacts.get(&from);
        let (Some(account), Some(log)) = (contact.and_then(|c| c.aid()), contact.and_then(|c| c.log())) else {
            return Ok(not_found("request"));
        };
        let Some(link) = OperationId::read(&request.link_id) else { return Ok(not_found("link of this group")) };
        // The key that the newcomer is given is made from the one in use.
        let _ready = self.ready_keys(chat, turn)?;
        let Some(group) = self.groups.get(&chat) else { return Ok(not_found("group")) };
        let heads = group.membership.key_heads.iter().copied().collect();
        let kind = Kind::Join { link, account, devices: device_keys(&log), proof: request.proof.clone(), heads };
        match self.write_operation(chat, &kind, turn)? {
            Ok(addition) => {
                self.welcome_newcomer(chat, account, addition, turn)?;
                self.hand_history(chat, account, turn)?;
                Ok(self.group_reply(&chat))
            }
            Err(refusal) => {
                self.refuse_join(from, chat, REFUSED_LINK, turn)?;
                Ok(Err(refusal))
            }
        }
    }

    fn refuse_join(&mut self, from: ChatId, chat: ChatId, why: u32, turn: &mut Turn) -> Result<(), StoreError> {
        let ctl = proto::GroupCtl {
            c: Some(C::Refused(proto::GroupRefusal { gid: chat.0.to_vec(), why })),
            ..Default::default()
        };
        self.queue_control(from, Content::Group(ctl), CONTROL_TTL_MS, turn)
    }

    /// We are not let in: the wish is forgotten, and the person told why.
    fn join_refused(&mut self, from: ChatId, refusal: &proto::GroupRefusal, turn: &mut Turn) {
        let Some(chat) = ChatId::read(&refusal.gid) else { return };
        let code = self.joining.get(&chat).and_then(|rec| InviteCode::parse(&rec.join_link).ok());
        if !code.is_some_and(|code| code.aid20.0.starts_with(&from.0)) {
            return;
        }
        self.joining.remove(&chat);
        turn.delete(Table::Group, chat.as_bytes());
        let text = match refusal.why {
            REFUSED_DECISION => "the request to join the group was turned down",
            _ => "the link to the group is not valid any more: ask for another",
        };
        turn.event(Some(chat), None, EventKind::Warning { text: text.to_owned() });
        turn.event(Some(chat), None, EventKind::GroupUpdated);
    }

    pub(super) fn group_decide(
        &mut self,
        chat: ChatId,
        member: AccountId,
        accept: bool,
        turn: &mut Turn,
    ) -> Result<Answer, StoreError> {
        if let Err(error) = self.may_change(&chat) {
            return Ok(Err(error));
        }
        let Some(group) = self.groups.get_mut(&chat) else { return Ok(not_found("group")) };
        let lane = member.chat();
        let Some(at) = group.rec.requests.iter().position(|request| request.chat == lane.0) else {
            return Ok(not_found("request to join this group"));
        };
        let request = group.rec.requests.remove(at);
        self.save_group(&chat, turn);
        if accept {
            self.name_member(chat, member, &request.name, turn);
            return self.let_in(chat, &request, turn);
        }
        self.refuse_join(lane, chat, REFUSED_DECISION, turn)?;
        Ok(self.group_reply(&chat))
    }

    /// Names known of a group we ask to be let into.
    pub(super) fn joining_name(&self, chat: &ChatId) -> String {
        let code = self.joining.get(chat).and_then(|rec| InviteCode::parse(&rec.join_link).ok());
        code.and_then(|code| code.name().map(str::to_owned)).unwrap_or_default()
    }
}

struct ReadWelcome {
    by: AccountId,
    genesis: Operation,
    operations: Vec<Operation>,
    welcome: Welcome,
    cards: Vec<proto::GroupMemberCard>,
}

/// The key whose holder may join by a link.
fn link_key(secret: &[u8; 16]) -> SigningKey {
    SigningKey::from_seed(kdf::<32>(secret, b"", "silbo/1/group/link").expose())
}

/// A welcome that makes sense: of this group, from a member, for this account, and without anybody whose keys are not
/// those of their account.
fn read_welcome(by: AccountId, own: AccountId, chat: ChatId, bytes: &[u8]) -> Option<ReadWelcome> {
    let read = proto::GroupWelcome::decode(bytes).ok()?;
    let welcome = Welcome::decode(&read.secrets).filter(|w| w.group.as_bytes() == chat.as_bytes())?;
    let mut operations: Vec<Operation> = read.ops.iter().map(|bytes| read_operation(bytes)).collect::<Option<_>>()?;
    operations.sort_by_key(|operation| (operation.lamport(), operation.id()));
    if !operations.iter().all(vouched) {
        return None;
    }
    let mut rest = operations.clone().into_iter();
    let genesis = rest.next()?;
    let mut graph = Graph::new(genesis.clone()).ok()?;
    for operation in rest {
        graph.insert(operation, &by).ok()?;
    }
    let membership = graph.membership();
    let sound = graph.group().as_bytes() == chat.as_bytes()
        && membership.roster.contains_key(&by)
        && membership.roster.contains_key(&own);
    sound.then_some(ReadWelcome { by, genesis, operations, welcome, cards: read.members })
}

#[cfg(test)]
mod tests {
    use super::super::operations::tests::{account, founding};
    use super::*;
    use crate::chance::Chance;
    use crate::group::operation::DeviceKeys;
    use crate::identity::account::OwnAccount;
    use crate::ids::GroupDevice;

    /// A welcome for `guest` to the group that begins with this.
    fn welcome(genesis: &Operation, founder: &OwnAccount, guest: &OwnAccount) -> (ChatId, Vec<u8>) {
        let mut graph = Graph::new(genesis.clone()).unwrap();
        let me = GroupDevice { account: genesis.author().account, device: founder.device_id() };
        let (account, devices, heads) = (guest.aid(), device_keys(guest.log()), vec![genesis.id()]);
        let add = Kind::Add { account, role: GroupRole::Member, devices, heads };
        let signed = graph.write(&add, &me, &[genesis.id()], founder.dik()).unwrap();
        graph.insert(Operation::read(&signed).unwrap(), &me.account).unwrap();
        let ops = graph.operations().map(|operation| operation.signed().encode_to_vec()).collect();
        let secrets = Welcome { group: graph.group(), secrets: Vec::new() }.encode();
        let gid = graph.group().0;
        (ChatId(gid), proto::GroupWelcome { gid: gid.to_vec(), ops, secrets, members: Vec::new() }.encode_to_vec())
    }

    #[test]
    fn nobody_founds_a_group_in_the_name_of_somebody_else() {
        let mut chance = Chance::from_seed([2; 32]);
        let [ada, bob, eve] = [0; 3].map(|_| account(&mut chance));
        let honest = founding(&ada, ada.aid(), device_keys(ada.log()), &mut chance);
        let (chat, bytes) = welcome(&honest, &ada, &bob);
        assert!(read_welcome(ada.aid(), bob.aid(), chat, &bytes).is_some());
        assert!(read_welcome(eve.aid(), bob.aid(), chat, &bytes).is_none(), "from somebody who is no member");
        assert!(read_welcome(ada.aid(), eve.aid(), chat, &bytes).is_none(), "for somebody else");
        // Eve's keys under Ada's name, with Ada's device log, with her own, and with none.
        let own = device_keys(eve.log());
        let vouchers = [device_keys(ada.log())[0].vouch.clone(), own[0].vouch.clone(), Vec::new()];
        for vouch in vouchers {
            let mut devices: Vec<DeviceKeys> = own.clone();
            devices[0].vouch = vouch;
            let forged = founding(&eve, ada.aid(), devices, &mut chance);
            let (chat, bytes) = welcome(&forged, &eve, &bob);
            assert!(read_welcome(ada.aid(), bob.aid(), chat, &bytes).is_none());
        }
    }
}
