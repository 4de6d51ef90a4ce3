//! Operations on a group: written here and announced, or taken in from a letter or a welcome.

use std::collections::BTreeSet;

use prost::Message;

use super::super::Engine;
use super::super::outbound::Errand;
use super::super::timers::Timer;
use super::super::turn::Turn;
use super::Group;
use crate::crypto::Secret;
use crate::group::GroupState;
use crate::group::key_graph::{KeyGraph, KeyKind, KeyOperation};
use crate::group::key_ring::Secrecy;
use crate::group::membership::Membership;
use crate::group::operation::{DeviceKeys, Kind, Operation};
use crate::group::slices::{RekeyMaterial, RekeyPlace, open_slice};
use crate::identity::device_log::DeviceLog;
use crate::ids::{AccountId, ChatId, GroupDevice, OperationId};
use crate::limits::CONTROL_TTL_MS;
use crate::step::{EventKind, RequestError};
use crate::store::{StoreError, Table};
use crate::time::SECOND_MS;
use crate::wire::proto::{self, group_ctl::C, plain::Kind as Content};

/// A member who may rekey, but is not the first to do so, waits so long for somebody else.
const REKEY_PATIENCE_MS: u64 = 20 * SECOND_MS;
/// Whoever lets somebody in tells them the keys of the other side of a split; others wait so long for that.
const COMPLEMENT_PATIENCE_MS: u64 = 30 * SECOND_MS;

impl Engine {
    /// Writes an operation: announced under the keys as they were, then in force here.
    pub(super) fn write_operation(
        &mut self,
        chat: ChatId,
        kind: &Kind,
        turn: &mut Turn,
    ) -> Result<Result<OperationId, RequestError>, StoreError> {
        let rekey = matches!(kind, Kind::Rekey { .. });
        if !rekey && self.ready_keys(chat, turn)?.is_none() {
            return Ok(Err(RequestError::Offline));
        }
        let (Some(me), Some(own), Some(group)) = (self.own_device(), &self.own, self.groups.get(&chat)) else {
            return Ok(Err(RequestError::NotFound("group")));
        };
        let parents = group.graph.parents_for(&group.membership);
        let Some(signed) = group.graph.write(kind, &me, &parents, own.account.dik()) else {
            return Ok(Err(RequestError::NotFound("group")));
        };
        let Ok(operation) = Operation::read(&signed) else {
            return Ok(Err(RequestError::Limit("what one change to a group may say")));
        };
        // Tried on a copy: what would be void is refused with the reason, and nobody hears of it.
        let mut tried = group.graph.clone();
        if tried.insert(operation.clone(), &me.account).is_err() {
            return Ok(Err(RequestError::Limit("changes to this group")));
        }
        let id = operation.id();
        if tried.membership().void.contains_key(&id) {
            return Ok(Err(RequestError::NotAllowed("change that in this group")));
        }
        if !group.others(&me.account).is_empty() {
            let name = match kind {
                Kind::Add { account, .. } | Kind::Join { account, .. } => self.member_name(&chat, account),
                _ => String::new(),
            };
            let ctl = proto::GroupCtl { c: Some(C::Op(signed.encode_to_vec())), name };
            let posted = match rekey {
                true => self.post_rekey(chat, Content::Group(ctl), turn)?,
                false => self.post_control(chat, Content::Group(ctl), None, turn)?,
            };
            if let Err(refusal) = posted {
                return Ok(Err(refusal));
            }
        }
        self.take_operation(chat, operation, &me.account, turn)?;
        Ok(Ok(id))
    }

    /// Says something to the group that is no message of its own.
    pub(super) fn post_control(
        &mut self,
        chat: ChatId,
        content: Content,
        to: Option<BTreeSet<AccountId>>,
        turn: &mut Turn,
    ) -> Result<Result<(), RequestError>, StoreError> {
        let Some(sending) = self.ready_keys(chat, turn)? else { return Ok(Err(RequestError::Offline)) };
        let (plain, errand) = self.control(chat, content, turn);
        self.seal_letter(chat, sending, &plain, errand, to, turn)
    }

    /// Announces a rekey, under the key it replaces.
    fn post_rekey(
        &mut self,
        chat: ChatId,
        content: Content,
        turn: &mut Turn,
    ) -> Result<Result<(), RequestError>, StoreError> {
        let Some(sending) = self.sending_known_outside(&chat) else { return Ok(Err(RequestError::Offline)) };
        let (plain, errand) = self.control(chat, content, turn);
        self.seal_letter(chat, sending, &plain, errand, None, turn)
    }

    fn control(&mut self, chat: ChatId, content: Content, turn: &mut Turn) -> (proto::Plain, Errand) {
        let id = self.new_group_message_id(turn.now.unix);
        let plain = self.plain(&chat, id, content, turn);
        let expires_at = turn.now.unix.after_ms(CONTROL_TTL_MS);
        (plain, Errand { message: None, expires_at, no_infra: false, carried: true })
    }

    /// Takes an operation in and does what follows from it. A bad one changes nothing.
    pub(super) fn take_operation(
        &mut self,
        chat: ChatId,
        operation: Operation,
        from: &AccountId,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        self.take_operations(chat, vec![operation], from, turn)
    }

    pub(super) fn take_operations(
        &mut self,
        chat: ChatId,
        operations: Vec<Operation>,
        from: &AccountId,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        self.take_vouched(chat, operations.into_iter().filter(vouched).collect(), from, turn)
    }

    /// The same for those of which it was checked already.
    pub(super) fn take_vouched(
        &mut self,
        chat: ChatId,
        operations: Vec<Operation>,
        from: &AccountId,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let Some(group) = self.groups.get_mut(&chat) else { return Ok(()) };
        let mut added = Vec::new();
        for operation in operations {
            // A hostile or damaged one is dropped; who wrote it is known by the letter's signature.
            if let Ok(taken) = group.graph.insert(operation, from) {
                added.extend(taken.added);
            }
        }
        self.plan_asking(chat, turn);
        let Some(group) = self.groups.get_mut(&chat).filter(|_| !added.is_empty()) else { return Ok(()) };
        let before = std::mem::replace(&mut group.membership, group.graph.membership());
        for id in &added {
            group.note_signers(id);
            if let Some(operation) = group.graph.operation(id) {
                let key = [chat.as_bytes(), id.as_bytes()].concat();
                turn.put(Table::GroupOperation, &key, operation.signed().encode_to_vec());
            }
        }
        for id in &added {
            self.learn_key(chat, id, turn);
        }
        self.membership_changed(chat, &before, turn)
    }

    /// A key operation: takes it into the ring, and opens its slice if one is for this device.
    pub(super) fn learn_key(&mut self, chat: ChatId, id: &OperationId, turn: &mut Turn) {
        let (Some(own), Some(group)) = (&self.own, self.groups.get_mut(&chat)) else { return };
        let Some(operation) = key_operation(group, id) else { return };
        let Ok(changes) = group.ring.learn(&operation) else { return };
        let mut opened = None;
        if operation.kind == KeyKind::Rekey
            && let Some(Kind::Rekey { material, .. }) = group.graph.operation(id).map(Operation::kind)
            && let Some(author) = group.graph.operation(id).map(Operation::author)
        {
            let me = group.ring.me();
            let place = RekeyPlace { group: group.id(), rekeyer: author, heads: operation.heads.clone() };
            opened = open_own_slice(&place, material, &operation.devices, &me, own.account.ddh());
        }
        self.keys_changed(chat, changes, turn);
        match opened {
            Some(x) => self.hold_fresh(chat, id, &x, turn),
            None if operation.kind == KeyKind::Rekey => self.await_slice(chat, id, turn),
            None => {}
        }
    }

    /// The fresh secret of a rekey or of the beginning is known.
    pub(super) fn hold_fresh(&mut self, chat: ChatId, id: &OperationId, x: &Secret<32>, turn: &mut Turn) {
        let Some(group) = self.groups.get_mut(&chat) else { return };
        if let Ok(changes) = group.ring.hold_fresh(id, x, Secrecy::Classical) {
            self.keys_changed(chat, changes, turn);
        }
    }

    /// Everything that follows from another membership: events, lanes, keys, what was waiting.
    fn membership_changed(&mut self, chat: ChatId, before: &Membership, turn: &mut Turn) -> Result<(), StoreError> {
        let Some(own) = self.own.as_ref().map(super::super::account::Own::aid) else { return Ok(()) };
        let Some(group) = self.groups.get(&chat) else { return Ok(()) };
        let accounts = |membership: &Membership| membership.roster.keys().copied().collect::<BTreeSet<AccountId>>();
        let (was, is) = (accounts(before), accounts(&group.membership));
        let joined: Vec<AccountId> = is.difference(&was).copied().collect();
        let gone: Vec<AccountId> = was.difference(&is).copied().collect();
        let left_by_choice = |account: &AccountId| {
            let leaves = |operation: &&Operation| {
                matches!(operation.kind(), Kind::Leave { .. }) && operation.author().account == *account
            };
            group.graph.operations().any(|operation| leaves(&operation))
        };
        let departures: Vec<(AccountId, bool)> =
            gone.iter().map(|account| (*account, !left_by_choice(account))).collect();
        let voided: Vec<OperationId> =
            group.membership.void.keys().filter(|id| !before.void.contains_key(id)).copied().collect();
        let told = voided.iter().filter_map(|id| group.void_view(id)).collect::<Vec<_>>();
        let info_changed = group.membership.info != before.info;
        let others_changed = group.membership.frozen != before.frozen
            || group.membership.links != before.links
            || group.membership.muted != before.muted
            || roles(&group.membership) != roles(before);
        let retention_s = group.membership.info.retention_s.unwrap_or(0);
        let forked: BTreeSet<AccountId> =
            group.membership.forked.difference(&before.forked).map(|device| device.account).collect();
        let here = is.contains(&own);
        let muted = |account: &&AccountId| {
            let until = |membership: &Membership| membership.muted.get(*account).copied();
            until(&group.membership) > until(before)
        };
        let lost_voice = |account: &&AccountId| {
            group.has_voice(before, account) && (muted(account) || !group.has_voice(&group.membership, account))
        };
        let silenced: Vec<AccountId> = is.intersection(&was).filter(lost_voice).copied().collect();
        for account in &joined {
            let name = self.member_name(&chat, account);
            turn.event(Some(chat), None, EventKind::GroupMemberJoined { account: *account, name });
        }
        for (account, removed) in &departures {
            let name = self.member_name(&chat, account);
            turn.event(Some(chat), None, EventKind::GroupMemberLeft { account: *account, name, removed: *removed });
        }
        for account in forked {
            let name = self.member_name(&chat, &account);
            turn.event(Some(chat), None, EventKind::GroupMemberForked { account, name });
        }
        for void in told {
            turn.event(Some(chat), None, EventKind::GroupVoided { what: void.what, why: void.why });
        }
        if info_changed || others_changed {
            turn.event(Some(chat), None, EventKind::GroupUpdated);
        }
        if self.chats.get(&chat).is_none_or(|record| record.retention_s != retention_s) {
            let rev = self.chats.get(&chat).map_or(1, |record| record.retention_rev + 1);
            self.adopt_retention(chat, retention_s, rev, false, turn)?;
        }
        if !here {
            return self.no_longer_member(
                chat,
                departures.iter().any(|(account, removed)| *account == own && *removed),
                turn,
            );
        }
        if let Some(group) = self.groups.get_mut(&chat)
            && group.state() != GroupState::Active
        {
            group.set_state(GroupState::Active);
            turn.event(Some(chat), None, EventKind::GroupUpdated);
        }
        self.save_group(&chat, turn);
        self.know_members(chat, turn)?;
        self.members_gone(chat, &gone, turn)?;
        self.note_partings(chat, &[gone.clone(), silenced].concat(), turn);
        self.follow_heads(chat, turn);
        self.plan_keys(chat, turn);
        self.follow_checkpoints(chat, turn);
        self.read_unread(chat, turn)?;
        self.seal_unsent(chat, turn)
    }

    /// Rekeys and complements that are due: by whom first, and by whom if that one does not.
    fn plan_keys(&mut self, chat: ChatId, turn: &mut Turn) {
        let Some(own) = self.own.as_ref().map(super::super::account::Own::aid) else { return };
        let Some(group) = self.groups.get(&chat) else { return };
        if group.rekey_due() && group.may_rekey(&own) {
            let first = group.first_rekeyer() == Some(own);
            let wait = if first { 0 } else { REKEY_PATIENCE_MS + self.chance.below(REKEY_PATIENCE_MS) };
            self.timers.set_earlier(Timer::RekeyGroup(chat), turn.now.moment.after_ms(wait));
        }
        let lacking = group.devices_lacking_heads();
        if !lacking.is_empty() {
            let wait = COMPLEMENT_PATIENCE_MS + self.chance.below(COMPLEMENT_PATIENCE_MS);
            self.timers.set_earlier(Timer::Complement(chat), turn.now.moment.after_ms(wait));
            let mine = lacking.iter().map(|device| device.account);
            let mine = mine.filter(|account| group.brought_in(account, &own)).collect();
            self.note_behind(chat, mine, turn);
        }
    }
}

fn roles(membership: &Membership) -> Vec<crate::group::GroupRole> {
    membership.roster.values().map(|member| member.role).collect()
}

/// What the keys need to know of an operation; `None` for one that makes no key, or names heads it does not know.
fn key_operation(group: &Group, id: &OperationId) -> Option<KeyOperation> {
    let operation = group.graph.operation(id)?;
    let account = |account: &AccountId, devices: &[DeviceKeys]| {
        devices.iter().map(|device| GroupDevice { account: *account, device: device.id }).collect::<Vec<_>>()
    };
    let (kind, mut devices) = match operation.kind() {
        Kind::Create { devices, .. } => (KeyKind::Genesis, account(&operation.author().account, devices)),
        Kind::Add { account: of, devices, .. } | Kind::Join { account: of, devices, .. } => {
            (KeyKind::Forward, account(of, devices))
        }
        Kind::Rekey { .. } => (KeyKind::Rekey, group.graph.recipients_of(id)?.to_vec()),
        _ => return None,
    };
    devices.sort_unstable();
    Some(KeyOperation { id: *id, kind, heads: operation.kind().heads()?.to_vec(), devices })
}

/// All of them that the keys can use, heads before what builds on them.
pub(super) fn key_operations(group: &Group) -> Vec<KeyOperation> {
    let mut graph = KeyGraph::default();
    let all = group.graph.operations().filter_map(|operation| key_operation(group, &operation.id()));
    all.filter(|operation| graph.insert(operation).is_ok()).collect()
}

/// The fresh secret of a rekey, if a slice of it is for this device.
fn open_own_slice(
    place: &RekeyPlace,
    material: &[u8],
    devices: &[GroupDevice],
    me: &GroupDevice,
    key: &crate::crypto::x25519::SecretKey,
) -> Option<Secret<32>> {
    let index = u16::try_from(devices.binary_search(me).ok()?).ok()?;
    let material = RekeyMaterial::decode(material, devices.len()).ok()?;
    let proven = material.inline_slice(index)?;
    open_slice(place, &material, &proven, me, key, &[]).ok().map(|opened| opened.x)
}

/// Every device it brings in has the keys its account's device log gives it: who could add an account with keys of
/// their own choice would speak for it.
pub(super) fn vouched(operation: &Operation) -> bool {
    let (account, devices) = (operation.owner_of_devices(), operation.kind().devices());
    let common = voucher(devices).unwrap_or_default();
    devices.iter().all(|device| {
        let vouch = if device.vouch.is_empty() { common } else { &device.vouch };
        let Ok(log) = proto::LogUpdate::decode(vouch) else { return false };
        DeviceLog::read(&log.entries).is_ok_and(|log| {
            let live = log.live_devices();
            let same = |known: &crate::identity::device_log::Device| {
                known.id == device.id && known.dik == device.sign && known.ddh == device.agree
            };
            log.aid() == account && live.iter().any(same)
        })
    })
}

/// The voucher of devices that carry none of their own: the first there is.
pub(super) fn voucher(devices: &[DeviceKeys]) -> Option<&[u8]> {
    devices.iter().map(|device| device.vouch.as_slice()).find(|vouch| !vouch.is_empty())
}

/// The devices of an account as an operation carries them: the first one vouches for all.
pub(super) fn device_keys(log: &DeviceLog) -> Vec<DeviceKeys> {
    let mut devices: Vec<DeviceKeys> = log
        .live_devices()
        .iter()
        .map(|device| DeviceKeys { id: device.id, sign: device.dik, agree: device.ddh, vouch: Vec::new() })
        .collect();
    devices.sort_unstable_by_key(|device| device.id);
    if let Some(first) = devices.first_mut() {
        first.vouch = proto::LogUpdate { entries: log.entries().to_vec(), head: Vec::new() }.encode_to_vec();
    }
    devices
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::chance::Chance;
    use crate::crypto::ed25519::SigningKey;
    use crate::crypto::x25519::SecretKey;
    use crate::group::operation::{Info, sign};
    use crate::identity::account::{OwnAccount, Signer, device_cert};

    /// An account of two devices.
    pub(in super::super) fn account(chance: &mut Chance) -> OwnAccount {
        let mut account = OwnAccount::create(chance, 1_000);
        let (dik, ddh) = (SigningKey::generate(chance), SecretKey::generate(chance));
        account.add_device(Signer::ThisDevice, device_cert(&dik, &ddh, 1_000)).unwrap();
        account
    }

    /// The beginning of a group by a device of this account, in the name of another or its own.
    pub(in super::super) fn founding(
        by: &OwnAccount,
        account: AccountId,
        devices: Vec<DeviceKeys>,
        chance: &mut Chance,
    ) -> Operation {
        let author = GroupDevice { account, device: by.device_id() };
        let create = Kind::Create { info: Info::default(), devices };
        let author = author.to_bytes().to_vec();
        let op = proto::GroupOp { author, b: create.to_proto(chance.bytes()), ..proto::GroupOp::default() };
        Operation::read(&sign(by.dik(), &op)).unwrap()
    }

    #[test]
    fn the_first_device_vouches_for_all_of_its_account_and_for_no_other() {
        let mut chance = Chance::from_seed([1; 32]);
        let (ada, eve) = (account(&mut chance), account(&mut chance));
        let devices = device_keys(ada.log());
        assert!(devices.len() == 2 && devices[1].vouch.is_empty());
        assert!(vouched(&founding(&ada, ada.aid(), devices.clone(), &mut chance)));
        let own: Vec<DeviceKeys> =
            devices.iter().map(|device| DeviceKeys { vouch: devices[0].vouch.clone(), ..device.clone() }).collect();
        assert!(vouched(&founding(&ada, ada.aid(), own, &mut chance)), "each for itself");

        let mut none = devices.clone();
        none[0].vouch.clear();
        assert!(!vouched(&founding(&ada, ada.aid(), none, &mut chance)), "nobody vouches");
        let mut strange = devices.clone();
        strange[1] = DeviceKeys { vouch: Vec::new(), ..device_keys(eve.log())[1].clone() };
        strange.sort_unstable_by_key(|device| device.id);
        assert!(!vouched(&founding(&ada, ada.aid(), strange, &mut chance)), "a device of somebody else");
        let mut wrong = devices.clone();
        wrong[0].vouch = device_keys(eve.log())[0].vouch.clone();
        assert!(!vouched(&founding(&ada, ada.aid(), wrong, &mut chance)), "somebody else vouches");
        let mut later = devices;
        later[1].vouch = device_keys(eve.log())[0].vouch.clone();
        assert!(!vouched(&founding(&ada, ada.aid(), later, &mut chance)), "a voucher of its own must be good");
    }
}
