//! Members who are no contacts: enough is known of them to recognise them on a link and to leave letters for them.

use std::collections::BTreeSet;

use prost::Message;

use super::super::Engine;
use super::super::account::{check_text, hint, read_hint};
use super::super::contacts::Contact;
use super::super::records::state::{ContactRecord, GroupName};
use super::super::timers::Timer;
use super::super::turn::Turn;
use super::operations::voucher;
use crate::crypto::hash::{hash, trunc};
use crate::group::operation::{Kind, Operation};
use crate::ids::{AccountId, ChatId};
use crate::limits::{CONTACTS_MAX, NAME_BYTES_MAX};
use crate::step::ContactState;
use crate::store::{StoreError, Table};
use crate::wire::proto::{self, plain::Kind as Content};

/// The state of a contact record that is only a member.
const MEMBER: u32 = 5;

impl Engine {
    /// Makes every member recognisable, tells those who do not know us what we are called and where we take mail, and
    /// compares letters with those who are there.
    pub(in super::super) fn know_members(&mut self, chat: ChatId, turn: &mut Turn) -> Result<(), StoreError> {
        let Some(own) = self.own.as_ref().map(super::super::account::Own::aid) else { return Ok(()) };
        let Some(group) = self.groups.get(&chat) else { return Ok(()) };
        let mut made = false;
        for account in group.others(&own) {
            made |= self.know_member(chat, &account, turn);
        }
        if made {
            self.hello_again(turn)?;
        }
        self.compare_with_members(chat, turn);
        self.tell_members(chat, turn)
    }

    /// True if the member was not known at all.
    fn know_member(&mut self, chat: ChatId, account: &AccountId, turn: &mut Turn) -> bool {
        let lane = account.chat();
        if self.contacts.contains_key(&lane) || self.contacts.len() >= CONTACTS_MAX {
            return false;
        }
        let (Some(own), Some(group)) = (&self.own, self.groups.get(&chat)) else { return false };
        let Some(device) = group.membership.roster.get(account).and_then(|member| member.devices.first()) else {
            return false;
        };
        let theirs = group.graph.operations().filter(|operation| operation.owner_of_devices() == *account);
        // A log only grows.
        let vouchers = theirs.filter_map(|operation| voucher(operation.kind().devices()));
        let vouch = vouchers.max_by_key(|vouch| vouch.len()).unwrap_or_default();
        let log = proto::LogUpdate::decode(vouch).unwrap_or_default();
        let rec = ContactRecord {
            aid: account.0.to_vec(),
            log: log.entries.iter().map(Message::encode_to_vec).collect(),
            device_id: device.id.0.to_vec(),
            dik: device.sign.as_bytes().to_vec(),
            ddh: device.agree.as_bytes().to_vec(),
            name: self.member_name(&chat, account),
            state: MEMBER,
            group: chat.0.to_vec(),
            added_at: turn.now.unix.0,
            ..ContactRecord::default()
        };
        let Some(contact) = Contact::read(rec, own) else { return false };
        self.contacts.insert(lane, contact);
        self.save_contact(&lane, turn);
        self.timers.set(Timer::FindContact(lane), turn.now.moment);
        true
    }

    /// Says under which name we are here and where we take mail, if somebody in the group has not got it from us as a
    /// contact, and it is not what was said last.
    pub(in super::super) fn tell_members(&mut self, chat: ChatId, turn: &mut Turn) -> Result<(), StoreError> {
        let Some(own) = &self.own else { return Ok(()) };
        let (aid, profile) = (own.aid(), own.profile(false));
        let Some(group) = self.groups.get(&chat).filter(|group| group.takes_part()) else { return Ok(()) };
        let is_stranger = |account: &AccountId| {
            self.contacts.get(&account.chat()).is_none_or(|contact| contact.state() != ContactState::Active)
        };
        if !group.others(&aid).iter().any(is_stranger) {
            return Ok(());
        }
        self.ensure_queues(chat, turn)?;
        let grants = self.grants_for(&chat);
        let parts =
            [grants.iter().map(|g| g.sid.clone()).collect::<Vec<_>>().concat(), profile.name.clone().into_bytes()];
        let addresses: Vec<Vec<u8>> = self.address.iter().flat_map(|a| a.addrs.iter().cloned()).collect();
        let addresses = addresses.concat();
        let told = trunc::<16>(&hash("silbo/1/group/told", &[&parts[0], &parts[1], &addresses])).to_vec();
        let Some(group) = self.groups.get_mut(&chat) else { return Ok(()) };
        if group.rec.told == told {
            return Ok(());
        }
        group.rec.told = told;
        group.rec.told_rev = group.rec.told_rev.max(turn.now.unix.0).saturating_add(1);
        let rev = group.rec.told_rev;
        let peers = self.address.iter().map(|a| hint(a, 0)).collect();
        let update = proto::ProfileUpdate { profile: Some(profile), presence: None };
        let said = self.post_control(chat, Content::Profile(update), None, turn)?.is_ok();
        let mailbox = Content::Mailbox(proto::MailboxUpdate { grants, peers, rev });
        let said = said && self.post_control(chat, mailbox, None, turn)?.is_ok();
        if let Some(group) = self.groups.get_mut(&chat)
            && !said
        {
            // The keys are not here yet; it is said when they are.
            group.rec.told.clear();
        }
        self.save_group(&chat, turn);
        Ok(())
    }

    /// The name, an address or a mailbox of this device has changed.
    pub(in super::super) fn tell_all_groups(&mut self, turn: &mut Turn) -> Result<(), StoreError> {
        for chat in self.groups.keys().copied().collect::<Vec<_>>() {
            self.tell_members(chat, turn)?;
        }
        Ok(())
    }

    /// A member says where it takes mail. What a contact has told us itself goes before it.
    pub(super) fn member_moved(
        &mut self,
        account: AccountId,
        update: proto::MailboxUpdate,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let lane = account.chat();
        let Some(contact) = self.contacts.get_mut(&lane) else { return Ok(()) };
        if contact.state() != ContactState::Member || update.rev <= contact.rec.grants_rev {
            return Ok(());
        }
        contact.rec.grants_rev = update.rev;
        contact.set_grants(update.grants);
        let peers: Vec<_> = update.peers.iter().filter_map(read_hint).collect();
        if !peers.is_empty() {
            contact.set_peers(peers);
        }
        self.save_contact(&lane, turn);
        self.meet_relays_of(&lane, turn);
        self.timers.set_earlier(Timer::FindContact(lane), turn.now.moment);
        self.drive_all(lane, turn)
    }

    /// Whoever brings somebody in says what they are called; they may say otherwise themselves.
    pub(super) fn name_newcomer(&mut self, chat: ChatId, operation: &Operation, name: &str, turn: &mut Turn) {
        let (Kind::Add { account, .. } | Kind::Join { account, .. }) = operation.kind() else { return };
        if check_text("name", name, 1, NAME_BYTES_MAX).is_ok() && self.member_name(&chat, account).is_empty() {
            self.name_member(chat, *account, name, turn);
        }
    }

    /// What a member calls itself.
    pub(super) fn name_member(&mut self, chat: ChatId, account: AccountId, name: &str, turn: &mut Turn) {
        let Some(group) = self.groups.get_mut(&chat) else { return };
        match group.rec.names.iter_mut().find(|known| known.aid == account.0) {
            Some(known) => name.clone_into(&mut known.name),
            None => group.rec.names.push(GroupName { aid: account.0.to_vec(), name: name.to_owned() }),
        }
        self.save_group(&chat, turn);
        if let Some(contact) = self.contacts.get_mut(&account.chat())
            && contact.state() == ContactState::Member
        {
            name.clone_into(&mut contact.rec.name);
            self.save_contact(&account.chat(), turn);
        }
    }

    /// The name a member gives itself; empty while unknown.
    pub(super) fn member_name(&self, chat: &ChatId, account: &AccountId) -> String {
        if let Some(own) = self.own.as_ref().filter(|own| own.aid() == *account) {
            return own.record.name.clone();
        }
        let of_contact = self.contacts.get(&account.chat()).map(|contact| contact.rec.name.clone());
        if let Some(name) = of_contact.filter(|name| !name.is_empty()) {
            return name;
        }
        let names = self.groups.get(chat).map(|group| group.rec.names.as_slice()).unwrap_or_default();
        names.iter().find(|known| known.aid == account.0).map(|known| known.name.clone()).unwrap_or_default()
    }

    /// Members have gone, or may not write any more: what they may still have written before they knew is counted from now on.
    pub(super) fn note_partings(&mut self, chat: ChatId, gone: &[AccountId], turn: &mut Turn) {
        let Some(group) = self.groups.get_mut(&chat) else { return };
        if gone.is_empty() {
            return;
        }
        for account in gone {
            group.note_parting(account, turn.now.unix);
        }
        self.save_group(&chat, turn);
        self.forget_strangers(turn);
    }

    /// People who were known as members of a group only, and are in none any more.
    pub(super) fn forget_strangers(&mut self, turn: &mut Turn) {
        let known: BTreeSet<ChatId> = self
            .groups
            .values()
            .filter(|group| group.takes_part())
            .flat_map(|group| group.membership.roster.keys().map(AccountId::chat))
            .collect();
        let strangers: Vec<ChatId> = self
            .contacts
            .iter()
            .filter(|(lane, contact)| contact.state() == ContactState::Member && !known.contains(lane))
            .filter(|(_, contact)| contact.session().is_none())
            .map(|(lane, _)| *lane)
            .collect();
        for lane in strangers {
            let waiting: Vec<u64> =
                self.outbox.lane(&lane).map(|queue| queue.flights.keys().copied().collect()).unwrap_or_default();
            for seq in waiting {
                self.drop_flight(&lane, seq, turn);
            }
            self.contacts.remove(&lane);
            turn.delete(Table::Contact, lane.as_bytes());
            for link in self.links.values_mut().filter(|link| link.chat == Some(lane)) {
                link.chat = None;
            }
        }
    }
}
