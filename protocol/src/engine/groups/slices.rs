//! Slices of rekeys for more devices than an operation has room for: each on its own, in the lane of its account and
//! behind the operation.
//!
//! ```text
//!   on a link with the account    GroupSync.slices    52 bytes and the names of group and rekey
//!   else                          an envelope         like mail: left at mailboxes, carried, confirmed by its receipt
//!   lacking                       GroupSync.slice_want ──▶ ◀── GroupSync.slices
//! ```
//! Whoever has the operation and the key of the device recognises the envelope. The rekeyer keeps all slices, and so does
//! every admin who could have rekeyed in its place: a device that lacks its own asks any of them, on a link, until it has
//! it. Nobody can read the slice of somebody else, so that it does not matter who hands it over; all of them together
//! are checked against the root that the operation names before they are kept.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;

use super::super::Engine;
use super::super::TagOwner;
use super::super::inbound::Outcome;
use super::super::records::each_under;
use super::super::records::state::OutboxRecord;
use super::super::timers::Timer;
use super::super::turn::Turn;
use super::Group;
use super::sync::say;
use crate::crypto::hash::cid;
use crate::delivery::outbox::{Departure, Flight, entry_key};
use crate::group::GroupRole;
use crate::group::key_graph::epoch_of;
use crate::group::operation::{Kind, Operation};
use crate::group::slices::{
    MadeRekey, PlacedSlice, ProvenSlice, Recipient, RekeyMaterial, RekeyPlace, Slice, SliceCover, SliceError,
    open_placed,
};
use crate::ids::{AccountId, ChatId, GroupDevice, LinkId, OperationId, Preimage};
use crate::limits::{CONTROL_TTL_MS, GROUP_SLICES_AWAITED_MAX, GROUP_SLICES_KEPT_MAX};
use crate::store::{StoreError, Table};
use crate::time::{Moment, SECOND_MS};
use crate::wire::envelope::{Class, EnvelopeHead};
use crate::wire::frame::Frame;
use crate::wire::proto::{self, group_sync::S};

/// The rekeyer says each slice by itself right behind the operation: only what has not come then is asked for.
const ASK_AFTER_MS: u64 = 2 * SECOND_MS;
/// Who keeps slices may not have had them yet: asked again so late.
const ASK_AGAIN_MS: u64 = 20 * SECOND_MS;
/// All slices of a rekey are asked for again so late: they may be 100 KiB.
const ASK_ALL_AGAIN_MS: u64 = 60 * SECOND_MS;

/// Which rekeys of a group have slices that travel on their own, and what is here of them.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// The latest of them, by lamport number.
    latest: BTreeSet<(u64, OperationId)>,
    /// All slices are here.
    whole: BTreeSet<OperationId>,
    /// The own slice is not.
    awaited: BTreeSet<OperationId>,
    /// When all slices were asked for.
    asked: BTreeMap<OperationId, Moment>,
}

/// A rekey whose slice travels on its own, as the device sees it that the slice is for.
struct Awaited {
    place: RekeyPlace,
    material: RekeyMaterial,
    index: u16,
    cover: SliceCover,
}

impl Group {
    /// Whether an account is one that keeps all slices of a rekey: who made it, and whoever could have.
    fn keeps_slices(&self, rekey: &OperationId, account: &AccountId) -> bool {
        let author = self.graph.operation(rekey).map(|operation| operation.author().account);
        author == Some(*account) || self.role_of(account) >= Some(GroupRole::Admin)
    }

    /// The material of a rekey whose slices travel on their own.
    fn large_rekey(&self, rekey: &OperationId) -> Option<(&Operation, RekeyMaterial)> {
        let operation = self.graph.operation(rekey)?;
        let Kind::Rekey { material, .. } = operation.kind() else { return None };
        let devices = self.graph.recipients_of(rekey)?.len();
        let material = RekeyMaterial::decode(material, devices).ok()?;
        (!material.carries_slices()).then_some((operation, material))
    }
}

impl Engine {
    // ---- the rekeyer

    /// Lays the slices of an own rekey into the lanes of those they are for, unless the operation carries them.
    pub(super) fn send_slices(
        &mut self,
        chat: ChatId,
        rekey: &OperationId,
        recipients: &[Recipient],
        made: &MadeRekey,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let Some(me) = self.own_device().filter(|_| !made.material.carries_slices()) else { return Ok(()) };
        self.keep_slices(chat, rekey, &made.slices, turn);
        let expires_at = turn.now.unix.after_ms(CONTROL_TTL_MS);
        let proven = ProvenSlice::all(&made.slices);
        for ((to, cover), slice) in recipients.iter().zip(&made.covers).zip(&proven) {
            if to.device.account == me.account {
                continue;
            }
            let head = EnvelopeHead::new(Class::Control, CONTROL_TTL_MS, turn.now.unix, &mut self.chance);
            let Ok(envelope) = cover.seal(head, slice) else { continue };
            let departure = Departure {
                tag: cover.tag(),
                cid: cid(&envelope),
                size: envelope.len(),
                class: Class::Control,
                created_at: turn.now.unix,
                expires_at,
            };
            let flight = Flight { preimage: Some(cover.preimage), ..Flight::new(departure) };
            let lane = to.device.account.chat();
            let seq = self.store_flight(lane, flight, envelope, Vec::new(), turn);
            if let Some(mut record) = turn.record::<OutboxRecord>(Table::Outbox, &entry_key(&lane, seq))? {
                let own = slice.placed().to_bytes();
                let said = proto::GroupSlices { rekey: rekey.0.to_vec(), own, all: Vec::new() };
                record.on_link =
                    proto::GroupSync { gid: chat.0.to_vec(), s: Some(S::Slices(said)), ..Default::default() }
                        .encode_to_vec();
                turn.put_record(Table::Outbox, &entry_key(&lane, seq), &record);
            }
            self.feed(lane, turn)?;
        }
        Ok(())
    }

    /// Says a slice on a link with its account, in place of its envelope.
    pub(in super::super) fn hand_slice(&mut self, link: LinkId, said: &[u8], turn: &mut Turn) {
        if let Ok(sync) = proto::GroupSync::decode(said) {
            turn.frame(link, &Frame::GroupSync(sync));
        }
    }

    // ---- keeping

    fn keep_slices(&mut self, chat: ChatId, rekey: &OperationId, slices: &[Slice], turn: &mut Turn) {
        let Some(group) = self.groups.get_mut(&chat) else { return };
        group.slices.whole.insert(*rekey);
        group.slices.asked.remove(rekey);
        turn.put(Table::GroupSlices, &slices_key(&chat, rekey), Slice::write_all(slices));
    }

    /// A rekey whose slices travel on their own is known from now on; the oldest may be too many.
    fn note_large_rekey(&mut self, chat: ChatId, rekey: &OperationId, turn: &mut Turn) {
        let Some(group) = self.groups.get_mut(&chat) else { return };
        let Some(lamport) = group.large_rekey(rekey).map(|(operation, _)| operation.lamport()) else { return };
        group.slices.latest.insert((lamport, *rekey));
        if group.slices.latest.len() > GROUP_SLICES_KEPT_MAX
            && let Some((_, old)) = group.slices.latest.pop_first()
        {
            group.slices.asked.remove(&old);
            if group.slices.whole.remove(&old) {
                turn.delete(Table::GroupSlices, &slices_key(&chat, &old));
            }
        }
    }

    /// Takes up what was kept and what had not come before a restart.
    pub(super) fn load_slices(&mut self, chat: &ChatId, turn: &Turn) -> Result<(), StoreError> {
        let Some(group) = self.groups.get_mut(chat) else { return Ok(()) };
        each_under(turn, Table::GroupSlices, chat.as_bytes(), |rekey, value| {
            let rekey = OperationId::read(rekey)?;
            let which = if value.is_empty() { &mut group.slices.awaited } else { &mut group.slices.whole };
            which.insert(rekey);
            Some(())
        })?;
        let large = group.graph.operations().map(Operation::id);
        let large = large.filter_map(|id| Some((group.large_rekey(&id)?.0.lamport(), id)));
        let mut latest: BTreeSet<(u64, OperationId)> = large.collect();
        while latest.len() > GROUP_SLICES_KEPT_MAX {
            latest.pop_first();
        }
        group.slices.latest = latest;
        for rekey in group.slices.awaited.clone() {
            if let Some(awaited) = self.awaited(chat, &rekey) {
                self.tags.insert(awaited.cover.tag(), TagOwner::Slice(*chat, rekey));
            }
        }
        Ok(())
    }

    // ---- the device a slice is for

    /// Listens for the own slice of a rekey, if it travels on its own.
    pub(super) fn await_slice(&mut self, chat: ChatId, rekey: &OperationId, turn: &mut Turn) {
        self.note_large_rekey(chat, rekey, turn);
        let Some(awaited) = self.awaited(&chat, rekey) else { return };
        let Some(group) = self.groups.get_mut(&chat) else { return };
        if group.slices.awaited.len() >= GROUP_SLICES_AWAITED_MAX {
            return; // it still comes in its envelope to whoever asks the relays again
        }
        group.slices.awaited.insert(*rekey);
        turn.put(Table::GroupSlices, &slices_key(&chat, rekey), Vec::new());
        self.tags.insert(awaited.cover.tag(), TagOwner::Slice(chat, *rekey));
        let wait = ASK_AFTER_MS + self.chance.below(ASK_AFTER_MS);
        self.timers.set_if_unarmed(Timer::AskSlices(chat), turn.now.moment.after_ms(wait));
        // It may lie at a relay already, passed over as nobody's.
        self.refetch(turn);
    }

    fn awaited(&self, chat: &ChatId, rekey: &OperationId) -> Option<Awaited> {
        let (own, me, group) = (self.own.as_ref()?, self.own_device()?, self.groups.get(chat)?);
        let (operation, material) = group.large_rekey(rekey)?;
        if operation.author() == me || group.ring.epoch(&epoch_of(&[*rekey])).is_some() {
            return None;
        }
        let index = place_of(&me, group.graph.recipients_of(rekey)?)?;
        let cover = material.cover(own.account.ddh())?;
        let heads = operation.kind().heads()?.to_vec();
        let place = RekeyPlace { group: group.id(), rekeyer: operation.author(), heads };
        Some(Awaited { place, material, index, cover })
    }

    /// An envelope under the tag of an own slice.
    pub(in super::super) fn slice_arrived(
        &mut self,
        chat: ChatId,
        rekey: OperationId,
        bytes: &[u8],
        turn: &mut Turn,
    ) -> Result<Outcome, StoreError> {
        let Some(awaited) = self.awaited(&chat, &rekey) else { return Ok(Outcome::Unknown) };
        let proven = match awaited.cover.open(bytes) {
            Ok(proven) => proven,
            // Somebody copied the tag: the real one may still come.
            Err(SliceError::Rejected) => return Ok(Outcome::Unknown),
            // The rekeyer sent it so. A good one is still taken.
            Err(_) => return Ok(Outcome::Dropped),
        };
        if !awaited.material.proves(&proven) {
            return Ok(Outcome::Dropped);
        }
        let preimage = self.take_slice(chat, rekey, &proven.placed(), turn)?;
        Ok(preimage.map_or(Outcome::Dropped, |preimage| Outcome::Done { preimage }))
    }

    /// The own slice is here: the receipt, if it is the right one.
    fn take_slice(
        &mut self,
        chat: ChatId,
        rekey: OperationId,
        placed: &PlacedSlice,
        turn: &mut Turn,
    ) -> Result<Option<Preimage>, StoreError> {
        let (Some(awaited), Some(me), Some(own)) = (self.awaited(&chat, &rekey), self.own_device(), &self.own) else {
            return Ok(None);
        };
        if placed.index != awaited.index {
            return Ok(None);
        }
        let opened = open_placed(&awaited.place, &awaited.material, placed, &me, own.account.ddh(), &[]);
        let Ok(opened) = opened else { return Ok(None) };
        let (tag, preimage) = (awaited.cover.tag(), awaited.cover.preimage);
        self.tags.remove(&tag);
        self.remember_seen(&tag, &preimage, &awaited.place.rekeyer.account.chat(), turn);
        if let Some(group) = self.groups.get_mut(&chat)
            && group.slices.awaited.remove(&rekey)
            && !group.slices.whole.contains(&rekey)
        {
            turn.delete(Table::GroupSlices, &slices_key(&chat, &rekey));
        }
        self.hold_fresh(chat, &rekey, &opened.x, turn);
        self.follow_heads(chat, turn);
        self.read_unread(chat, turn)?;
        self.seal_unsent(chat, turn)?;
        if self.groups.get(&chat).is_some_and(Group::takes_part) {
            self.tell_members(chat, turn)?;
        }
        Ok(Some(preimage))
    }

    // ---- asking and answering on links

    /// Asks the members who are there and keep slices.
    pub(in super::super) fn ask_everybody_for_slices(&mut self, chat: ChatId, turn: &mut Turn) {
        let links: Vec<LinkId> = self.links.iter().filter(|(_, l)| l.chat.is_some()).map(|(id, _)| *id).collect();
        let mut asked = false;
        for link in links {
            asked |= self.ask_for_slices(link, chat, turn);
        }
        // Where nobody is there to be asked, the next link or comparison brings it up again.
        if asked {
            let wait = ASK_AGAIN_MS + self.chance.below(ASK_AGAIN_MS);
            self.timers.set_if_unarmed(Timer::AskSlices(chat), turn.now.moment.after_ms(wait));
        }
    }

    /// Asks for the own slices that have not come, and, whoever is to keep them, for all. True if there were any.
    pub(super) fn ask_for_slices(&mut self, link: LinkId, chat: ChatId, turn: &mut Turn) -> bool {
        let (Some(account), Some(me)) = (self.account_on(link), self.own_device()) else { return false };
        let Some(group) = self.groups.get_mut(&chat).filter(|group| group.has_member(&account)) else { return false };
        let mut asks = false;
        let keeper = group.role_of(&me.account) >= Some(GroupRole::Admin);
        let rekeys: BTreeSet<OperationId> =
            group.slices.latest.iter().map(|(_, rekey)| *rekey).chain(group.slices.awaited.iter().copied()).collect();
        for rekey in rekeys {
            if !group.keeps_slices(&rekey, &account) {
                continue;
            }
            let asked = group.slices.asked.get(&rekey);
            let all = keeper
                && !group.slices.whole.contains(&rekey)
                && asked.is_none_or(|at| at.after_ms(ASK_ALL_AGAIN_MS) <= turn.now.moment);
            if all {
                group.slices.asked.insert(rekey, turn.now.moment);
            }
            if all || group.slices.awaited.contains(&rekey) {
                say(link, chat, S::SliceWant(proto::GroupSliceWant { rekey: rekey.0.to_vec(), all }), turn);
                asks = true;
            }
        }
        asks
    }

    /// A member asks for slices: its own, or all if it is to keep them.
    pub(super) fn slices_wanted(
        &mut self,
        link: LinkId,
        chat: ChatId,
        want: &proto::GroupSliceWant,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let (Some(account), Some(rekey)) = (self.account_on(link), OperationId::read(&want.rekey)) else {
            return Ok(());
        };
        let Some(group) = self.groups.get(&chat).filter(|group| group.has_member(&account)) else { return Ok(()) };
        let Some(devices) = group.graph.recipients_of(&rekey).filter(|_| group.slices.whole.contains(&rekey)) else {
            return Ok(());
        };
        let Some(bytes) = turn.value(Table::GroupSlices, &slices_key(&chat, &rekey))? else { return Ok(()) };
        let keeper = group.role_of(&account) >= Some(GroupRole::Admin);
        let mut answer = proto::GroupSlices { rekey: want.rekey.clone(), ..Default::default() };
        if want.all && keeper {
            answer.all = bytes;
        } else {
            let slices = Slice::read_all(&bytes).ok_or(StoreError::Damaged { table: Table::GroupSlices })?;
            let theirs = (0..=u16::MAX).zip(devices).zip(slices).filter(|((_, device), _)| device.account == account);
            answer.own = theirs.flat_map(|((index, _), slice)| PlacedSlice { index, slice }.to_bytes()).collect();
        }
        if !answer.own.is_empty() || !answer.all.is_empty() {
            say(link, chat, S::Slices(answer), turn);
        }
        Ok(())
    }

    /// Slices from a member: the own one is confirmed as its envelope would be, all of them are kept.
    pub(super) fn slices_arrived(
        &mut self,
        link: LinkId,
        chat: ChatId,
        said: &proto::GroupSlices,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let (Some(me), Some(rekey)) = (self.own_device(), OperationId::read(&said.rekey)) else { return Ok(()) };
        let Some(group) = self.groups.get(&chat) else { return Ok(()) };
        let Some((_, material)) = group.large_rekey(&rekey) else { return Ok(()) };
        let place = group.graph.recipients_of(&rekey).and_then(|devices| place_of(&me, devices));
        let keeps = group.role_of(&me.account) >= Some(GroupRole::Admin) && !group.slices.whole.contains(&rekey);
        let mut own = PlacedSlice::read_all(&said.own).find(|placed| Some(placed.index) == place);
        if let Some(all) = Slice::read_all(&said.all).filter(|all| keeps && material.is_of(all)) {
            let mine = place.and_then(|index| Some(PlacedSlice { index, slice: *all.get(usize::from(index))? }));
            own = own.or(mine);
            self.keep_slices(chat, &rekey, &all, turn);
        }
        let Some(placed) = own else { return Ok(()) };
        let receipt = match self.take_slice(chat, rekey, &placed, turn)? {
            Some(preimage) => Some(preimage),
            // It came before: the receipt may have been lost.
            None => self.receipt_of_slice(&chat, &rekey, &material),
        };
        if let Some(preimage) = receipt {
            turn.frame(link, &Frame::Receipts(vec![preimage]));
        }
        Ok(())
    }

    fn receipt_of_slice(&self, chat: &ChatId, rekey: &OperationId, material: &RekeyMaterial) -> Option<Preimage> {
        let (own, group) = (self.own.as_ref()?, self.groups.get(chat)?);
        group.ring.epoch(&epoch_of(&[*rekey]))?;
        material.cover(own.account.ddh()).map(|cover| cover.preimage)
    }
}

/// The place of a device among those of a rekey.
fn place_of(device: &GroupDevice, devices: &[GroupDevice]) -> Option<u16> {
    u16::try_from(devices.binary_search(device).ok()?).ok()
}

fn slices_key(chat: &ChatId, rekey: &OperationId) -> Vec<u8> {
    [chat.as_bytes(), rekey.as_bytes()].concat()
}
