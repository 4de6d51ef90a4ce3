//! Receipts for letters that others brought: they go back the way the letter came, put together on it.
//!
//! ```text
//!   author ──letter──▶ b ──letter──▶ c ──letter──▶ d
//!   author ◀─{b,c,d}── b ◀──{c,d}─── c ◀───{d}──── d        12 bytes each, `group/receipt.rs`
//! ```
//! Nothing of it is on disk: what is lost with a link or a power cut is made good by a letter to all, which comes much
//! later where receipts go back (`letters.rs`).

use std::collections::BTreeSet;

use super::super::Engine;
use super::super::timers::Timer;
use super::super::turn::Turn;
use super::sync::say;
use crate::group::receipt::LetterReceipt;
use crate::ids::{AccountId, ChatId, Cid, GroupDevice, LinkId};
use crate::limits::{GROUP_RECEIPTS_PER_LETTER_MAX, GROUP_RECEIPTS_WAITING_MAX, GROUP_WAYS_MAX};
use crate::step::Path;
use crate::store::StoreError;
use crate::wire::proto::{self, group_sync::S};

/// Receipts wait so long for others that go the same way.
const TOGETHER_MS: u64 = 300;

impl Engine {
    /// A member on a link handed a letter over: that is the way back to its author.
    pub(in super::super) fn note_way(&mut self, link: LinkId, chat: ChatId, letter: Cid) {
        let Some(account) = self.account_on(link) else { return };
        let Some(group) = self.groups.get_mut(&chat).filter(|group| !group.letters.contains_key(&letter)) else {
            return;
        };
        if group.ways.len() >= GROUP_WAYS_MAX {
            group.ways.pop_first();
        }
        group.ways.entry(letter).or_insert(account);
    }

    /// Sends a receipt back. False if there is no way.
    pub(super) fn send_receipt(&mut self, chat: ChatId, author: &GroupDevice, letter: Cid, turn: &Turn) -> bool {
        let (Some(me), Some(own), Some(group)) = (self.own_device(), &self.own, self.groups.get(&chat)) else {
            return false;
        };
        let Some(key) = group.membership.device(author).map(|device| device.agree) else { return false };
        let receipt = LetterReceipt::make(&group.id(), &letter, &me, own.account.ddh(), &key);
        receipt.is_some_and(|receipt| self.pass_back(chat, letter, &[receipt], turn))
    }

    /// Lays receipts where the next ones for that member wait.
    fn pass_back(&mut self, chat: ChatId, letter: Cid, receipts: &[LetterReceipt], turn: &Turn) -> bool {
        let Some(group) = self.groups.get_mut(&chat) else { return false };
        let Some(next) = group.ways.get(&letter) else { return false };
        let waiting: usize = group.receipts.values().map(BTreeSet::len).sum();
        let of_letter = group.receipts.entry((*next, letter)).or_default();
        let room = GROUP_RECEIPTS_WAITING_MAX
            .saturating_sub(waiting)
            .min(GROUP_RECEIPTS_PER_LETTER_MAX.saturating_sub(of_letter.len()));
        of_letter.extend(receipts.iter().take(room));
        self.timers.set_if_unarmed(Timer::TellReceipts(chat), turn.now.moment.after_ms(TOGETHER_MS));
        room >= receipts.len()
    }

    /// Sends what waits to those who are there; for others it goes on waiting.
    pub(in super::super) fn tell_receipts(&mut self, chat: ChatId, turn: &mut Turn) {
        let Some(group) = self.groups.get_mut(&chat) else { return };
        for ((next, letter), receipts) in std::mem::take(&mut group.receipts) {
            match self.link_to_member(&next) {
                Some(link) => {
                    let by = receipts.iter().flat_map(|receipt| receipt.to_bytes()).collect();
                    say(link, chat, S::Receipts(proto::GroupReceipts { letter: letter.0.to_vec(), by }), turn);
                }
                None => {
                    if let Some(group) = self.groups.get_mut(&chat) {
                        group.receipts.insert((next, letter), receipts);
                    }
                }
            }
        }
    }

    /// Receipts from a member: for a letter of ours, or to be passed on.
    pub(super) fn letter_receipts_arrived(
        &mut self,
        link: LinkId,
        chat: ChatId,
        list: &proto::GroupReceipts,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let Some(letter) = Cid::read(&list.letter).filter(|_| self.is_with_member(link, &chat)) else { return Ok(()) };
        let receipts = list.by.chunks_exact(LetterReceipt::LEN).take(GROUP_RECEIPTS_PER_LETTER_MAX);
        let receipts: BTreeSet<LetterReceipt> = receipts.filter_map(LetterReceipt::read).collect();
        let receipts: Vec<LetterReceipt> = receipts.into_iter().collect();
        if self.groups.get(&chat).is_some_and(|group| group.ways.contains_key(&letter)) {
            self.pass_back(chat, letter, &receipts, turn);
            return Ok(());
        }
        let path = self.links.get(&link).map(|state| Path::Direct(state.route));
        for account in self.confirmed_by(chat, letter, &receipts) {
            self.letter_is_at(chat, &letter, account, path, turn)?;
        }
        Ok(())
    }

    /// Whose receipts for a letter of ours these are, where they are anybody's.
    fn confirmed_by(&self, chat: ChatId, letter: Cid, receipts: &[LetterReceipt]) -> BTreeSet<AccountId> {
        let mut confirmed = BTreeSet::new();
        let (Some(own), Some(group)) = (&self.own, self.groups.get(&chat)) else { return confirmed };
        let Some(tag) = group.letters.get(&letter).map(|stored| stored.tag) else { return confirmed };
        // Who has confirmed has no copy waiting any more.
        let waits: BTreeSet<ChatId> = self.outbox.all_with(&tag).map(|(lane, _)| lane).collect();
        for device in group.membership.devices().filter(|device| waits.contains(&device.account.chat())) {
            let Some(keys) = group.membership.device(&device) else { continue };
            let by_it = |r: &LetterReceipt| r.is_of(&group.id(), &letter, &device, own.account.ddh(), &keys.agree);
            if receipts.iter().any(by_it) {
                confirmed.insert(device.account);
            }
        }
        confirmed
    }

    /// A link that has proven a member.
    pub(super) fn link_to_member(&self, account: &AccountId) -> Option<LinkId> {
        self.best_link(&account.chat()).filter(|link| self.account_on(*link) == Some(*account))
    }
}
