//! Under which key a group is written to: merged heads, rekeys after somebody has gone, and what newcomers on one
//! side of a split are told of the other.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Engine;
use super::super::turn::Turn;
use super::super::{TagOwner, account};
use super::{Group, chain_key, epoch_key, place_key};
use crate::group::GroupRole;
use crate::group::key_graph::epoch_of;
use crate::group::key_ring::Changes;
use crate::group::operation::Kind;
use crate::group::slices::{Recipient, RekeyPlace, make_rekey};
use crate::ids::{AccountId, ChatId, EpochId, GroupDevice, OperationId};
use crate::limits::GROUP_FREE_REKEY_DEVICES_MAX;
use crate::step::RequestError;
use crate::store::{StoreError, Table};

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

    /// True while somebody outside of the group may know the key of the heads.
    pub(super) fn rekey_due(&self) -> bool {
        !self.membership.unkeyed.is_empty() || self.ring.graph().must_rekey(&self.key_heads(), &self.devices_in())
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
        if heads.len() < 2 {
            return Vec::new();
        }
        let merged = epoch_of(&heads);
        let writers = self.ring.graph().writers(&heads).unwrap_or_default();
        let heard = |device: &GroupDevice| {
            let writer = writers.binary_search(device).ok().and_then(|at| u16::try_from(at).ok());
            writer.and_then(|writer| self.chains.chain(&merged, writer)).is_some_and(|chain| chain.next() > 0)
        };
        let of_each: Vec<Vec<GroupDevice>> =
            heads.iter().map(|head| self.ring.graph().writers(&[*head]).unwrap_or_default()).collect();
        let lacks = |device: &GroupDevice| of_each.iter().any(|writers| writers.binary_search(device).is_err());
        self.devices_in().into_iter().filter(|device| lacks(device) && !heard(device)).collect()
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
        let Some(group) = self.groups.get(&chat).filter(|group| group.takes_part()) else { return Ok(()) };
        let heads = group.key_heads();
        let own = self.own.as_ref().map(account::Own::aid);
        let mut told = Vec::new();
        for device in group.devices_lacking_heads() {
            if Some(device.account) == own || !self.has_session(&device.account.chat()) {
                continue;
            }
            let Ok(secret) = group.ring.complement(&heads, &device) else { continue };
            told.push((device.account, secret));
        }
        for (account, secret) in told {
            self.tell_everything(chat, account, vec![secret], turn)?;
        }
        Ok(())
    }
}
