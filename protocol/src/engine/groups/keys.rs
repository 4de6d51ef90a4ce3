//! Under which key a group is written to: merged heads, rekeys after somebody has gone, and what newcomers on one
//! side of a split are told of the other.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Engine;
use super::super::timers::Timer;
use super::super::turn::Turn;
use super::super::{TagOwner, account};
use super::{Group, chain_key, epoch_key, place_key};
use crate::group::GroupRole;
use crate::group::key_graph::epoch_of;
use crate::group::key_ring::{Changes, HeadSecret};
use crate::group::operation::Kind;
use crate::group::slices::{Recipient, RekeyPlace, make_rekey};
use crate::ids::{AccountId, ChatId, EpochId, GroupDevice, OperationId};
use crate::limits::{GROUP_FREE_REKEY_DEVICES_MAX, GROUP_MERGED_EPOCHS_MAX};
use crate::step::RequestError;
use crate::store::{StoreError, Table};
use crate::time::SECOND_MS;

/// What members have to be told anew is told together.
const COMPLEMENT_PAUSE_MS: u64 = 2 * SECOND_MS;

/// Where the next letter is sealed.
pub(super) struct Sending {
    pub(super) epoch: EpochId,
    pub(super) writer: u16,
}

impl Group {
    fn key_heads(&self) -> Vec<OperationId> {
        self.membership.key_heads.iter().copied().collect()
    }

    fn devices_in(&self) -> BTreeSet<GroupDevice> {
        self.membership.devices().collect()
    }

    /// True while somebody outside of the group may know the key of the heads, or somebody inside cannot be told it.
    pub(super) fn rekey_due(&self) -> bool {
        let (heads, devices, graph) = (self.key_heads(), self.devices_in(), self.ring.graph());
        !self.membership.unkeyed.is_empty() || graph.must_rekey(&heads, &devices) || graph.leaves_out(&heads, &devices)
    }

    /// Admins, and in a small group everybody.
    pub(super) fn may_rekey(&self, account: &AccountId) -> bool {
        let small = self.devices_in().len() <= GROUP_FREE_REKEY_DEVICES_MAX;
        let least = if small { GroupRole::Reader } else { GroupRole::Admin };
        self.role_of(account).is_some_and(|role| role >= least)
    }

    /// Who rekeys at once when it is due: of the highest role, the least account.
    pub(super) fn first_rekeyer(&self) -> Option<AccountId> {
        let by_power = |(account, member): &(&AccountId, &crate::group::membership::Member)| {
            (std::cmp::Reverse(member.role), **account)
        };
        self.membership.roster.iter().min_by_key(by_power).map(|(account, _)| *account)
    }

    /// Devices of members that came on one side of a split and have not been told the keys of the other.
    pub(super) fn devices_lacking_heads(&self) -> Vec<GroupDevice> {
        let heads = self.key_heads();
        if heads.len() < 2 { Vec::new() } else { self.devices_lacking(&heads) }
    }

    /// Devices of members that some of these heads were not for, and that have written nothing under all of them.
    fn devices_lacking(&self, heads: &[OperationId]) -> Vec<GroupDevice> {
        let merged = epoch_of(heads);
        let writers = self.ring.graph().writers(heads).unwrap_or_default();
        let heard = |device: &GroupDevice| {
            let writer = writers.binary_search(device).ok().and_then(|at| u16::try_from(at).ok());
            writer.and_then(|writer| self.chains.chain(&merged, writer)).is_some_and(|chain| chain.next() > 0)
        };
        let of_each: Vec<Vec<GroupDevice>> =
            heads.iter().map(|head| self.ring.graph().writers(&[*head]).unwrap_or_default()).collect();
        let lacks = |device: &GroupDevice| of_each.iter().any(|writers| writers.binary_search(device).is_err());
        self.devices_in().into_iter().filter(|device| lacks(device) && !heard(device)).collect()
    }

    /// True if `by` let this member in.
    pub(super) fn brought_in(&self, member: &AccountId, by: &AccountId) -> bool {
        self.membership.roster.get(member).is_some_and(|of| of.added_by == *by && member != by)
    }

    /// Members to whom a letter with an operation says nothing, because it was sealed under keys of before them or of
    /// the other side of a split. What they were told when they came is not meant.
    fn who_cannot_read(&self, epoch: &EpochId, operation: &OperationId) -> BTreeSet<AccountId> {
        let Some(heads) = self.ring.epoch(epoch).map(|epoch| epoch.heads()) else { return BTreeSet::new() };
        let lacking = self.devices_lacking(heads).into_iter().map(|device| device.account);
        let since = |account: &AccountId| self.membership.roster.get(account).map(|member| member.since);
        let was_told = |since: &OperationId| since == operation || self.graph.knows(since, operation);
        lacking.filter(|account| since(account).is_some_and(|since| !was_told(&since))).collect()
    }

    /// The heads of an epoch, if it is held.
    pub(super) fn heads_of(&self, epoch: &EpochId) -> Vec<OperationId> {
        self.ring.epoch(epoch).map(|epoch| epoch.heads().to_vec()).unwrap_or_default()
    }

    /// A short name of the keys in use.
    pub(super) fn epoch_name(&self) -> [u8; 4] {
        let EpochId([a, b, c, d, ..]) = epoch_of(&self.key_heads());
        [a, b, c, d]
    }
}

impl Engine {
    /// The place of the next own letter, if the keys for it are here and nobody outside knows them.
    pub(super) fn sending(&self, chat: &ChatId) -> Option<Sending> {
        let sending = self.sending_known_outside(chat)?;
        (!self.groups.get(chat)?.rekey_due()).then_some(sending)
    }

    /// The same, though somebody who has gone may still know the key: only a rekey is said so, which tells nothing.
    pub(super) fn sending_known_outside(&self, chat: &ChatId) -> Option<Sending> {
        let (me, group) = (self.own_device()?, self.groups.get(chat)?);
        let heads = group.key_heads();
        let epoch = epoch_of(&heads);
        group.ring.epoch(&epoch)?;
        let writer = group.ring.graph().writers(&heads)?.binary_search(&me).ok()?;
        Some(Sending { epoch, writer: u16::try_from(writer).ok()? })
    }

    /// Makes the keys ready for sending as far as that can be done here.
    pub(super) fn ready_keys(&mut self, chat: ChatId, turn: &mut Turn) -> Result<Option<Sending>, StoreError> {
        self.follow_heads(chat, turn);
        if self.sending(&chat).is_none() {
            self.rekey_if_due(chat, turn)?;
        }
        Ok(self.sending(&chat))
    }

    /// Whether something can be said in a group now, or waits for keys.
    pub(in super::super) fn has_keys(&mut self, chat: ChatId, turn: &mut Turn) -> Result<bool, StoreError> {
        Ok(self.ready_keys(chat, turn)?.is_some())
    }

    /// Derives the epoch of the heads, and lets the others grow old.
    pub(super) fn follow_heads(&mut self, chat: ChatId, turn: &mut Turn) {
        let Some(group) = self.groups.get_mut(&chat) else { return };
        let heads = group.key_heads();
        if heads.len() > 1 && group.ring.epoch(&epoch_of(&heads)).is_none() {
            // What is lacking comes with a complement.
            if let Ok(changes) = group.ring.merge(&heads) {
                self.keys_changed(chat, changes, turn);
            }
        }
        let Some(group) = self.groups.get_mut(&chat) else { return };
        let changes = group.ring.keep_current(&heads, turn.now.unix);
        self.keys_changed(chat, changes, turn);
    }

    /// Derives the epoch of heads that were together somewhere else, if a letter is said to be of it. True if it was
    /// not known.
    pub(super) fn derive_epoch(&mut self, chat: ChatId, heads: &[OperationId], turn: &mut Turn) -> bool {
        let Some(group) = self.groups.get_mut(&chat) else { return false };
        if heads.len() < 2 || group.ring.epoch(&epoch_of(heads)).is_some() {
            return false;
        }
        let merged = group.ring.epochs().filter(|(_, epoch)| epoch.heads().len() > 1).count();
        if merged >= GROUP_MERGED_EPOCHS_MAX {
            return false;
        }
        let Ok(changes) = group.ring.merge(heads) else { return false };
        self.keys_changed(chat, changes, turn);
        true
    }

    /// The same for all letters that cannot be read. True if there is a new one.
    pub(super) fn derive_epochs(&mut self, chat: ChatId, turn: &mut Turn) -> bool {
        let Some(group) = self.groups.get(&chat) else { return false };
        let said: BTreeSet<Vec<OperationId>> =
            group.unread.values().map(|letter| &letter.heads).filter(|heads| heads.len() > 1).cloned().collect();
        let mut derived = false;
        for heads in said {
            derived |= self.derive_epoch(chat, &heads, turn);
        }
        derived
    }

    /// Stores a changed ring, and listens on the chains of new epochs.
    pub(super) fn keys_changed(&mut self, chat: ChatId, changes: Changes, turn: &mut Turn) {
        let Some(group) = self.groups.get_mut(&chat) else { return };
        let mut dropped = changes.dropped;
        for made in changes.made {
            let order = turn.now.unix.0.to_be_bytes();
            let record = [&order[..], &made.chains.encode_silent()].concat();
            turn.put(Table::GroupEpoch, &epoch_key(&chat, &made.id), record);
            let writers = made.chains.writers();
            dropped.extend(group.chains.insert(made.id, made.chains));
            for writer in 0..writers {
                for (tag, place) in group.chains.tags_of(&made.id, writer) {
                    self.tags.insert(tag, TagOwner::Group(chat, place));
                }
            }
        }
        for epoch in dropped {
            self.drop_epoch(chat, &epoch, turn);
        }
        self.save_ring(&chat, turn);
    }

    /// Forgets the chains of an epoch, and everything stored of them.
    fn drop_epoch(&mut self, chat: ChatId, epoch: &EpochId, turn: &mut Turn) {
        let Some(group) = self.groups.get_mut(&chat) else { return };
        turn.delete(Table::GroupEpoch, &epoch_key(&chat, epoch));
        let writers = group.chains.epoch(epoch).map_or(0, crate::group::chain::EpochChains::writers);
        for writer in 0..writers {
            for (tag, _) in group.chains.tags_of(epoch, writer) {
                self.tags.remove(&tag);
            }
            turn.delete(Table::GroupChain, &chain_key(&chat, epoch, writer));
        }
        let skipped: Vec<_> = group.chains.skipped().map(|(place, _)| *place).filter(|p| p.epoch == *epoch).collect();
        for place in skipped {
            turn.delete(Table::GroupSkipped, &place_key(&chat, &place));
        }
        group.chains.remove(epoch);
    }

    /// Somebody has gone: a fresh key for those who stay, unless somebody else has made one.
    pub(in super::super) fn rekey_if_due(&mut self, chat: ChatId, turn: &mut Turn) -> Result<(), StoreError> {
        let (Some(me), Some(group)) = (self.own_device(), self.groups.get(&chat)) else { return Ok(()) };
        if !group.takes_part() || !group.rekey_due() || !group.may_rekey(&me.account) {
            return Ok(());
        }
        // A failure leaves it due: it is tried again with the next message.
        let _refused = self.rekey(chat, turn)?;
        Ok(())
    }

    fn rekey(&mut self, chat: ChatId, turn: &mut Turn) -> Result<Result<(), RequestError>, StoreError> {
        let (Some(me), Some(group)) = (self.own_device(), self.groups.get(&chat)) else {
            return Ok(Err(RequestError::NotMember));
        };
        let parents = group.graph.parents_for(&group.membership);
        let devices = group.graph.recipients_after(&parents).unwrap_or_default();
        let recipients: Option<Vec<Recipient>> = devices
            .iter()
            .map(|device| Some(Recipient { device: *device, key: group.membership.device(device)?.agree }))
            .collect();
        let Some(recipients) = recipients else {
            return Ok(Err(RequestError::Offline)); // a member has gone of whom these parents do not know
        };
        let heads = group.key_heads();
        let place = RekeyPlace { group: group.id(), rekeyer: me, heads: heads.clone() };
        let Ok(made) = make_rekey(&place, &recipients, &mut BTreeMap::new(), &mut self.chance) else {
            return Ok(Err(RequestError::Limit("devices of this group")));
        };
        let kind = Kind::Rekey { heads, material: made.material.encode() };
        match self.write_operation(chat, &kind, turn)? {
            Ok(id) => {
                self.hold_fresh(chat, &id, &made.x, turn);
                self.send_slices(chat, &id, &recipients, &made, turn)?;
                self.follow_heads(chat, turn);
                self.read_unread(chat, turn)?;
                self.seal_unsent(chat, turn)?;
                Ok(Ok(()))
            }
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// Tells members who came on one side of a split the keys of both, as far as there is a session with them.
    pub(in super::super) fn complement_newcomers(&mut self, chat: ChatId, turn: &mut Turn) -> Result<(), StoreError> {
        let Some(group) = self.groups.get_mut(&chat).filter(|group| group.takes_part()) else { return Ok(()) };
        let heads = group.key_heads();
        let own = self.own.as_ref().map(account::Own::aid);
        // Operations alone help as well: a rekey has a slice for everybody.
        let behind = std::mem::take(&mut group.rec.behind);
        let mut told: BTreeMap<AccountId, Vec<HeadSecret>> =
            behind.iter().filter_map(|bytes| Some((AccountId::read(bytes)?, Vec::new()))).collect();
        for device in group.devices_lacking_heads() {
            if let Ok(secret) = group.ring.complement(&heads, &device) {
                told.insert(device.account, vec![secret]);
            }
        }
        told.retain(|account, _| group.has_member(account));
        self.save_group(&chat, turn);
        for (account, secrets) in told {
            if Some(account) != own && self.has_session(&account.chat()) {
                self.tell_everything(chat, account, secrets, turn)?;
            }
        }
        Ok(())
    }

    /// A letter with an operation was read here: whoever let people in who cannot read it tells them. Where that one
    /// has gone, everybody does who can.
    pub(super) fn note_who_cannot_read(
        &mut self,
        chat: ChatId,
        epoch: &EpochId,
        operation: &OperationId,
        turn: &mut Turn,
    ) {
        let Some(own) = self.own.as_ref().map(account::Own::aid) else { return };
        let Some(group) = self.groups.get(&chat) else { return };
        let mut behind = group.who_cannot_read(epoch, operation);
        behind.retain(|account| {
            let host = group.membership.roster.get(account).map(|member| member.added_by);
            host == Some(own) || host.is_some_and(|host| !group.has_member(&host))
        });
        self.note_behind(chat, behind, turn);
    }

    /// Members this account lets into everything there is, in a while.
    pub(super) fn note_behind(&mut self, chat: ChatId, accounts: BTreeSet<AccountId>, turn: &mut Turn) {
        let Some(group) = self.groups.get_mut(&chat) else { return };
        if accounts.is_empty() {
            return;
        }
        for account in accounts {
            if !group.rec.behind.iter().any(|known| known[..] == account.0[..]) {
                group.rec.behind.push(account.0.to_vec());
            }
        }
        self.save_group(&chat, turn);
        self.timers.set_earlier(Timer::Complement(chat), turn.now.moment.after_ms(COMPLEMENT_PAUSE_MS));
    }
}
