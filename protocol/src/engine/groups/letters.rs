//! Letters: what a member says to the group, sealed once, laid into the lane of every other member, and kept so that
//! any member can hand it on.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use super::super::Engine;
use super::super::account::check_text;
use super::super::inbound::{Outcome, Source};
use super::super::messages::written_before;
use super::super::outbound::Errand;
use super::super::records::state::GroupParting;
use super::super::timers::Timer;
use super::super::turn::Turn;
use super::super::{TagOwner, message_id};
use super::keys::Sending;
use super::sync::{letter_key, stored_letter};
use super::{Group, chain_key, place_key, read_operation};
use crate::conversation::SlotAuthor;
use crate::crypto::hash::{cid, hash, trunc};
use crate::delivery::outbox::{Departure, Flight};
use crate::group::GroupRole;
use crate::group::chain::LetterPlace;
use crate::group::letter::{self, Cover, Draft, Origin};
use crate::group::membership::Membership;
use crate::ids::{AccountId, ChatId, Cid, EpochId, GroupDevice, MessageId};
use crate::limits::{
    CONTROL_TTL_MS, GROUP_PARTING_LETTERS_MAX, GROUP_PARTING_MS, GROUP_SEEN_PER_LETTER_MAX, GROUP_UNSENT_MAX,
    LETTER_PARENTS_MAX, NAME_BYTES_MAX,
};
use crate::step::{DeliveryState, FailReason, Path, RequestError};
use crate::store::{StoreError, Table};
use crate::time::{DAY_MS, MINUTE_MS, SECOND_MS, UnixTime};
use crate::wire::envelope::{Class, EnvelopeHead};
use crate::wire::padding::PadClass;
use crate::wire::proto::{self, group_ctl::C, plain::Kind};

/// Letters that came within so long are confirmed together, in a group of few. A confirmation is a letter that all
/// members keep: with many of them it waits longer, so that the group does not say more of its letters than in them.
const SEEN_PAUSE_MS: u64 = SECOND_MS;
/// The same where a receipt has gone back the way the letter came, which is nearly always enough.
const SEEN_ANYWAY_MS: u64 = 30 * MINUTE_MS;
/// Members of a group of few.
const FEW_MEMBERS: u64 = 8;
/// A confirmation that has not arrived after so long is not needed any more.
const SEEN_TTL_MS: u64 = 3 * DAY_MS;

impl Engine {
    /// True where this account may write to a group now.
    pub(in super::super) fn may_post(&self, chat: &ChatId, now: UnixTime) -> Result<(), RequestError> {
        let (Some(own), Some(group)) = (&self.own, self.groups.get(chat)) else {
            return Err(RequestError::NotFound("group"));
        };
        let Some(role) = group.role_of(&own.aid()).filter(|_| group.takes_part()) else {
            return Err(RequestError::NotMember);
        };
        if role < group.send_role() {
            return Err(RequestError::NotAllowed("write in this group"));
        }
        if group.membership.muted.get(&own.aid()).is_some_and(|until| *until > now.0) {
            return Err(RequestError::NotAllowed("write in this group for now: a moderator has muted you"));
        }
        let slow_ms = u64::from(group.membership.info.slow_s.unwrap_or(0)) * SECOND_MS;
        if role < GroupRole::Moderator && group.rec.posted_at.saturating_add(slow_ms) > now.0 && slow_ms > 0 {
            return Err(RequestError::Limit("messages in slow mode: wait a little"));
        }
        Ok(())
    }

    /// True where this account may delete what others wrote.
    pub(in super::super) fn may_moderate(&self, chat: &ChatId) -> bool {
        let own = self.own.as_ref().map(super::super::account::Own::aid);
        let role = self.groups.get(chat).zip(own).and_then(|(group, own)| group.role_of(&own));
        role >= self.groups.get(chat).map(Group::delete_role)
    }

    /// True if this deletion counts: in a conversation of two always, in a group by the author or a moderator. One
    /// that comes before its message is remembered.
    pub(in super::super) fn may_delete(
        &mut self,
        chat: &ChatId,
        id: &MessageId,
        by: SlotAuthor,
        turn: &mut Turn,
    ) -> Result<bool, StoreError> {
        let (Some(group), SlotAuthor::Member(account)) = (self.groups.get(chat), by) else { return Ok(true) };
        if group.role_of(&account) >= Some(group.delete_role()) {
            return Ok(true);
        }
        // A message names its author: whose it is can be told before it has come.
        Ok(is_message_of(id, &account) || turn.item(chat, id)?.is_some_and(|row| row.author == Some(account)))
    }

    /// A message id that only this account can have made: the last four bytes commit to it, so that nobody can put a
    /// text of their own under the id of somebody else's.
    pub(in super::super) fn new_group_message_id(&mut self, now: UnixTime) -> MessageId {
        let MessageId(mut id) = self.new_message_id(now);
        if let Some(own) = &self.own {
            let (start, end) = id.split_at_mut(8);
            end.copy_from_slice(&author_mark(start, &own.aid()));
        }
        MessageId(id)
    }

    /// The id of a new text: two bytes of chance are few for who posts many in one millisecond.
    pub(in super::super) fn unused_group_message_id(
        &mut self,
        chat: &ChatId,
        turn: &Turn,
    ) -> Result<MessageId, StoreError> {
        let mut at = turn.now.unix;
        loop {
            let id = self.new_group_message_id(at);
            if turn.item(chat, &id)?.is_none() {
                return Ok(id);
            }
            at = at.after_ms(1);
        }
    }

    /// Says something to the group.
    pub(in super::super) fn post(
        &mut self,
        chat: ChatId,
        plain: &proto::Plain,
        errand: Errand,
        turn: &mut Turn,
    ) -> Result<Result<(), RequestError>, StoreError> {
        let ready = self.ready_keys(chat, turn)?;
        let Some(group) = self.groups.get_mut(&chat) else { return Ok(Err(RequestError::NotFound("group"))) };
        if errand.message.is_some() {
            group.rec.posted_at = turn.now.unix.0;
        }
        match (ready, errand.message) {
            (Some(sending), _) => self.seal_letter(chat, sending, plain, errand, None, turn),
            // The keys are under way: the message is sealed when they are here.
            (None, Some(id)) if group.rec.unsent.len() < GROUP_UNSENT_MAX => {
                group.rec.unsent.push(id.0.to_vec());
                self.save_group(&chat, turn);
                Ok(Ok(()))
            }
            (None, Some(_)) => Ok(Err(RequestError::Limit("messages while the group's keys are under way"))),
            (None, None) => Ok(Err(RequestError::Offline)),
        }
    }

    /// Seals what was written while the keys were under way.
    pub(super) fn seal_unsent(&mut self, chat: ChatId, turn: &mut Turn) -> Result<(), StoreError> {
        if self.groups.get(&chat).is_none_or(|group| group.rec.unsent.is_empty()) || self.sending(&chat).is_none() {
            return Ok(());
        }
        let Some(group) = self.groups.get_mut(&chat) else { return Ok(()) };
        for id in std::mem::take(&mut group.rec.unsent).iter().filter_map(|bytes| message_id(bytes)) {
            let Some(item) = self.item_view(&chat, &id, turn)?.filter(|item| item.visible) else { continue };
            let (plain, errand) = written_before(item);
            if self.post(chat, &plain, errand, turn)?.is_err() {
                self.raise(chat, id, DeliveryState::Failed(FailReason::Expired), None, turn)?;
            }
        }
        self.save_group(&chat, turn);
        Ok(())
    }

    /// Seals a letter, keeps it, and lays it into the lanes of its readers: everybody, or some.
    pub(super) fn seal_letter(
        &mut self,
        chat: ChatId,
        sending: Sending,
        plain: &proto::Plain,
        errand: Errand,
        to: Option<BTreeSet<AccountId>>,
        turn: &mut Turn,
    ) -> Result<Result<(), RequestError>, StoreError> {
        let (Some(me), Some(own), Some(group)) = (self.own_device(), &self.own, self.groups.get_mut(&chat)) else {
            return Ok(Err(RequestError::NotFound("group")));
        };
        if self.outbox.len() >= crate::limits::OUTBOX_MAX {
            return Ok(Err(RequestError::Limit("too much undelivered mail: wait until some of it has arrived")));
        }
        let Some(chain) = group.chains.chain(&sending.epoch, sending.writer) else {
            return Ok(Err(RequestError::Offline));
        };
        let place = LetterPlace { epoch: sending.epoch, writer: sending.writer, n: chain.next() };
        let class = if errand.message.is_some() { Class::Text } else { Class::Control };
        let lifetime = errand.expires_at.0.saturating_sub(turn.now.unix.0);
        let head = EnvelopeHead::new(class, lifetime, turn.now.unix, &mut self.chance);
        let head = EnvelopeHead { no_infra: errand.no_infra, ..head };
        let origin = Origin { group: group.id(), epoch: sending.epoch, sender: me };
        let draft = Draft { lamport: plain.lamport, parents: group.parents(), body: plain.encode_to_vec() };
        let cover = Cover { head, extensions: &[], class: PadClass::Rich };
        let sealed = letter::seal(&origin, chain, own.account.dik(), &cover, &draft, &mut self.chance);
        let Ok(sealed) = sealed else { return Ok(Err(RequestError::Limit("the length of a letter"))) };
        let Ok(found) = group.chains.find(place) else { return Ok(Err(RequestError::Offline)) };
        let others = group.others(&me.account);
        let heads = group.heads_of(&sending.epoch);
        self.move_chain(chat, place, found, turn);
        if let Some(group) = self.groups.get_mut(&chat) {
            group.follow(sealed.id.as_bytes(), &draft.parents);
        }
        self.save_group(&chat, turn);
        self.keep_own(chat, &sealed.letter, plain, &heads, turn)?;
        let Some(letter) = self.store_letter(chat, &sealed.envelope, true, heads, turn) else { return Ok(Ok(())) };
        if let Some(id) = errand.message {
            self.follow_delivery(chat, id, &others, turn);
        }
        for account in others.iter().filter(|account| to.as_ref().is_none_or(|to| to.contains(account))) {
            let lane = account.chat();
            let departure = Departure {
                tag: sealed.tag,
                cid: letter,
                size: sealed.envelope.len(),
                class,
                created_at: turn.now.unix,
                expires_at: errand.expires_at,
            };
            let flight = Flight {
                message: errand.message,
                group: Some(chat),
                no_infra: errand.no_infra,
                carried: errand.carried,
                ..Flight::new(departure)
            };
            self.store_flight(lane, flight, Vec::new(), Vec::new(), turn);
            self.feed(lane, turn)?;
        }
        self.announce_letter(chat, letter, turn);
        Ok(Ok(()))
    }

    /// Moves a chain behind a letter: its key is gone, those it overtook are kept, tags follow.
    fn move_chain(&mut self, chat: ChatId, place: LetterPlace, found: crate::group::chain::Found, turn: &mut Turn) {
        let Some(group) = self.groups.get_mut(&chat) else { return };
        let skipped_before: BTreeSet<LetterPlace> = group.chains.skipped().map(|(place, _)| *place).collect();
        for (tag, _) in group.chains.tags_of(&place.epoch, place.writer) {
            self.tags.remove(&tag);
        }
        if let Some(chain) = group.chains.chain(&place.epoch, place.writer) {
            self.tags.remove(&chain.tag(place.n));
        }
        group.chains.commit(found, turn.now.unix);
        if let Some(chain) = group.chains.chain(&place.epoch, place.writer) {
            if let Some(bytes) = chain.encode() {
                turn.put(Table::GroupChain, &chain_key(&chat, &place.epoch, place.writer), bytes);
            }
            if place.n == 0
                && let Some(chains) = group.chains.epoch(&place.epoch)
            {
                // The seed must not stay behind: the key of every letter follows from it.
                let key = super::epoch_key(&chat, &place.epoch);
                if let Ok(Some(record)) = turn.value(Table::GroupEpoch, &key)
                    && let Some((order, _)) = record.split_first_chunk::<8>()
                {
                    turn.put(Table::GroupEpoch, &key, [&order[..], &chains.encode_silent()].concat());
                }
            }
        }
        for (tag, at) in group.chains.tags_of(&place.epoch, place.writer) {
            self.tags.insert(tag, TagOwner::Group(chat, at));
        }
        let skipped: BTreeSet<LetterPlace> = group.chains.skipped().map(|(place, _)| *place).collect();
        for gone in skipped_before.difference(&skipped) {
            turn.delete(Table::GroupSkipped, &place_key(&chat, gone));
        }
        for (at, key) in group.chains.skipped().filter(|(at, _)| !skipped_before.contains(at)) {
            turn.put(Table::GroupSkipped, &place_key(&chat, at), key.encode());
            if let Some(chain) = group.chains.chain(&at.epoch, at.writer) {
                self.tags.insert(chain.tag(at.n), TagOwner::Group(chat, *at));
            }
        }
    }

    /// A letter whose tag is one of a group.
    pub(in super::super) fn open_letter(
        &mut self,
        chat: ChatId,
        place: LetterPlace,
        bytes: &[u8],
        source: Source,
        turn: &mut Turn,
    ) -> Result<Outcome, StoreError> {
        let Some(group) = self.groups.get(&chat) else { return Ok(Outcome::Unknown) };
        let letter = cid(bytes);
        if group.letters.get(&letter).is_some_and(|stored| stored.opened) {
            return Ok(Outcome::DoneUnnamed);
        }
        let Some(sender) = group.writer(&place) else { return Ok(Outcome::Unknown) };
        if Some(sender) == self.own_device() {
            return Ok(Outcome::Dropped); // an own chain: only a copy of this device could have written it
        }
        let Ok(found) = group.chains.find(place) else { return Ok(Outcome::Unknown) };
        let origin = Origin { group: group.id(), epoch: place.epoch, sender };
        let keys = group.signers.get(&sender).cloned().unwrap_or_default();
        let Some(opened) = keys.iter().find_map(|key| letter::open(&origin, &found, key, bytes).ok()) else {
            return Ok(Outcome::Unknown); // a squatter copied the tag, or a member wrote on another's chain
        };
        self.move_chain(chat, place, found, turn);
        let heads = self.groups.get(&chat).map(|group| group.heads_of(&place.epoch)).unwrap_or_default();
        self.store_letter(chat, bytes, true, heads.clone(), turn);
        let mut wrote = None;
        if let Some(group) = self.groups.get_mut(&chat) {
            group.follow(opened.id.as_bytes(), &opened.parents);
        }
        let plain = proto::Plain::decode(opened.body.as_slice()).ok();
        if let (Some(group), Some(plain)) = (self.groups.get_mut(&chat), &plain) {
            wrote = group
                .accepts(&sender.account, plain, turn.now.unix)
                .map(|writes| Standing { writes, epoch: place.epoch });
        }
        self.announce_letter(chat, letter, turn);
        if let (Some(standing), Some(plain)) = (wrote, plain) {
            let account = sender.account;
            let confirms = matches!(&plain.kind, Some(Kind::Group(proto::GroupCtl { c: Some(C::Seen(_)), .. })));
            if !confirms && !self.came_from(source, &account) {
                self.note_unconfirmed(chat, &sender, letter, turn);
            }
            self.apply_letter(chat, account, standing, plain.clone(), source, turn)?;
            if standing.writes {
                self.keep_said(chat, &opened, &plain, &heads, turn)?;
            }
        }
        self.save_group(&chat, turn);
        // The window of its chain has moved: what came too early may be in it.
        self.read_unread(chat, turn)?;
        Ok(Outcome::DoneUnnamed)
    }

    /// What a member says.
    fn apply_letter(
        &mut self,
        chat: ChatId,
        account: AccountId,
        standing: Standing,
        plain: proto::Plain,
        source: Source,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let path = self.path_from(source);
        self.see_lamport(&chat, plain.lamport, turn);
        let Some(kind) = plain.kind.clone() else { return Ok(()) };
        let author = SlotAuthor::Member(account);
        match kind {
            Kind::Text(text) => {
                let named = message_id(&plain.msg_id).is_some_and(|id| is_message_of(&id, &account));
                if !named || !standing.writes {
                    return Ok(());
                }
                self.text_arrived(chat, author, &plain, text, path, turn)
            }
            Kind::Edit(_) | Kind::React(_) | Kind::Vote(_) if standing.writes => {
                self.operation_arrived(chat, author, &plain, kind, turn)
            }
            Kind::Pin(_) if standing.writes && self.may_pin(&chat, &account) => {
                self.operation_arrived(chat, author, &plain, kind, turn)
            }
            Kind::Delete(_) => self.operation_arrived(chat, author, &plain, kind, turn),
            Kind::Group(ctl) => match ctl.c {
                Some(C::Op(bytes)) => match read_operation(&bytes) {
                    Some(operation) => {
                        self.name_newcomer(chat, &operation, &ctl.name, turn);
                        let id = operation.id();
                        self.take_operation(chat, operation, &account, turn)?;
                        self.note_who_cannot_read(chat, &standing.epoch, &id, turn);
                        Ok(())
                    }
                    None => Ok(()),
                },
                Some(C::Seen(seen)) => self.seen_by(chat, account, &seen, path, turn),
                _ => Ok(()),
            },
            Kind::Profile(update) => {
                if let Some(profile) = update.profile
                    && check_text("name", &profile.name, 1, NAME_BYTES_MAX).is_ok()
                {
                    self.name_member(chat, account, &profile.name, turn);
                }
                Ok(())
            }
            Kind::Mailbox(update) => self.member_moved(account, update, turn),
            _ => Ok(()),
        }
    }

    /// True if a letter came from its author itself: that link has confirmed it.
    fn came_from(&self, source: Source, account: &AccountId) -> bool {
        matches!(source, Source::Link(link) if self.account_on(link) == Some(*account))
    }

    /// Letters no key fitted before.
    pub(super) fn read_unread(&mut self, chat: ChatId, turn: &mut Turn) -> Result<(), StoreError> {
        // Each letter read can bring the key of the next: that one is for the loop that is under way, however many
        // there are.
        let Some(group) = self.groups.get_mut(&chat).filter(|group| !group.reading) else { return Ok(()) };
        group.reading = true;
        loop {
            let Some((letter, place)) = self.next_readable(&chat) else {
                match self.derive_epochs(chat, turn) {
                    true => continue,
                    false => break,
                }
            };
            let outcome = match stored_letter(&chat, &letter, turn)? {
                Some(record) => self.open_letter(chat, place, &record.envelope, Source::Courier, turn)?,
                None => Outcome::Dropped,
            };
            if !matches!(outcome, Outcome::DoneUnnamed) {
                // Somebody else's bytes under the tag: it goes, the real one may still come.
                if let Some(group) = self.groups.get_mut(&chat) {
                    group.forget_letter(&letter);
                }
                turn.delete(Table::GroupLetter, &letter_key(&chat, &letter));
            }
        }
        if let Some(group) = self.groups.get_mut(&chat) {
            group.reading = false;
        }
        Ok(())
    }

    fn next_readable(&self, chat: &ChatId) -> Option<(Cid, LetterPlace)> {
        let unread = &self.groups.get(chat)?.unread;
        unread.iter().find_map(|(letter, stored)| match self.tags.get(&stored.tag) {
            Some(TagOwner::Group(of, place)) if of == chat => Some((*letter, *place)),
            _ => None,
        })
    }

    // ---- which letters are here

    /// The author of a letter is told that it is here: at once on a link, by a receipt the way it came, and by a letter
    /// to all after a while.
    fn note_unconfirmed(&mut self, chat: ChatId, sender: &GroupDevice, letter: Cid, turn: &mut Turn) {
        let author = sender.account;
        if self.confirm_on_link(chat, &author, &[letter], turn) {
            return;
        }
        let receipted = self.send_receipt(chat, sender, letter, turn);
        let Some(group) = self.groups.get_mut(&chat) else { return };
        if group.rec.unconfirmed.len() < GROUP_SEEN_PER_LETTER_MAX {
            let entry =
                super::super::records::state::GroupUnconfirmed { author: author.0.to_vec(), letter: letter.0.to_vec() };
            group.rec.unconfirmed.push(entry);
        }
        let pause_ms = if receipted { SEEN_ANYWAY_MS } else { SEEN_PAUSE_MS };
        let pause_ms = pause_ms * (group.membership.roster.len() as u64 / FEW_MEMBERS).max(1);
        let wait = pause_ms + self.chance.below(pause_ms);
        self.timers.set_earlier(Timer::TellSeen(chat), turn.now.moment.after_ms(wait));
    }

    /// Confirms what has come by other roads than from its author.
    pub(in super::super) fn tell_seen(&mut self, chat: ChatId, turn: &mut Turn) -> Result<(), StoreError> {
        let Some(group) = self.groups.get_mut(&chat) else { return Ok(()) };
        let mut unconfirmed = std::mem::take(&mut group.rec.unconfirmed);
        let mut by_author: BTreeMap<AccountId, Vec<Cid>> = BTreeMap::new();
        for entry in &unconfirmed {
            if let (Some(author), Some(letter)) = (AccountId::read(&entry.author), Cid::read(&entry.letter)) {
                by_author.entry(author).or_default().push(letter);
            }
        }
        by_author.retain(|author, letters| !self.confirm_on_link(chat, author, letters, turn));
        unconfirmed
            .retain(|entry| AccountId::read(&entry.author).is_some_and(|author| by_author.contains_key(&author)));
        if unconfirmed.is_empty() || self.ready_keys(chat, turn)?.is_none() {
            if let Some(group) = self.groups.get_mut(&chat) {
                group.rec.unconfirmed = unconfirmed;
            }
            self.save_group(&chat, turn);
            return Ok(());
        }
        let authors = unconfirmed.iter().filter_map(|entry| AccountId::read(&entry.author)).collect();
        let letters = unconfirmed.into_iter().flat_map(|entry| entry.letter).collect();
        let seen = proto::GroupCtl { c: Some(C::Seen(proto::GroupSeen { letters })), ..Default::default() };
        let Some(sending) = self.sending(&chat) else { return Ok(()) };
        let id = self.new_group_message_id(turn.now.unix);
        let plain = self.plain(&chat, id, Kind::Group(seen), turn);
        let expires_at = turn.now.unix.after_ms(SEEN_TTL_MS.min(CONTROL_TTL_MS));
        let errand = Errand { message: None, expires_at, no_infra: false, carried: true };
        let _told = self.seal_letter(chat, sending, &plain, errand, Some(authors), turn)?;
        self.save_group(&chat, turn);
        Ok(())
    }

    /// A member says which letters it has.
    fn seen_by(
        &mut self,
        chat: ChatId,
        account: AccountId,
        seen: &proto::GroupSeen,
        path: Path,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let letters = seen.letters.chunks_exact(Cid::LEN).take(GROUP_SEEN_PER_LETTER_MAX).filter_map(Cid::read);
        for letter in letters {
            self.letter_is_at(chat, &letter, account, Some(path), turn)?;
        }
        Ok(())
    }

    /// A member has one of our letters: it leaves their lane.
    pub(super) fn letter_is_at(
        &mut self,
        chat: ChatId,
        letter: &Cid,
        account: AccountId,
        path: Option<Path>,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let lane = account.chat();
        let Some(tag) = self.groups.get(&chat).and_then(|group| group.letters.get(letter)).map(|stored| stored.tag)
        else {
            return Ok(());
        };
        let found: Option<u64> = self.outbox.all_with(&tag).find(|(of, _)| *of == lane).map(|(_, seq)| seq);
        let Some(flight) = found.and_then(|seq| self.drop_flight(&lane, seq, turn)) else { return Ok(()) };
        if let Some(id) = flight.message {
            self.member_has(chat, id, account, path, turn)?;
        }
        self.feed(lane, turn)
    }
}

/// What a letter's author may do, as far as is known here.
#[derive(Clone, Copy, Debug)]
struct Standing {
    writes: bool,
    /// Under whose keys the letter was.
    epoch: EpochId,
}

impl Group {
    fn send_role(&self) -> GroupRole {
        self.membership.info.send_role.unwrap_or(GroupRole::Member)
    }

    fn delete_role(&self) -> GroupRole {
        self.membership.info.delete_role.unwrap_or(GroupRole::Moderator)
    }

    /// Whose chain a letter is on.
    fn writer(&self, place: &LetterPlace) -> Option<GroupDevice> {
        let heads = self.ring.epoch(&place.epoch)?.heads();
        self.ring.graph().writers(heads)?.get(usize::from(place.writer)).copied()
    }

    /// Whether a letter counts, and if so whether what it says may be shown. Of somebody who has gone or may not
    /// write any more, those do that may have been written before they knew: for a while, and not without end.
    fn accepts(&mut self, account: &AccountId, plain: &proto::Plain, now: UnixTime) -> Option<bool> {
        let member = self.has_member(account);
        let muted = self.membership.muted.get(account).is_some_and(|until| *until > plain.ts_ms);
        if self.has_voice(&self.membership, account) && !muted {
            return Some(true);
        }
        let content =
            matches!(&plain.kind, Some(Kind::Text(_) | Kind::Edit(_) | Kind::React(_) | Kind::Pin(_) | Kind::Vote(_)));
        if member && !content {
            return Some(false);
        }
        // Whose addition is void has no parting yet: it wrote, and was read, where nobody knew.
        if !member && !self.rec.partings.iter().any(|parting| parting.aid == account.0) {
            self.note_parting(account, now);
        }
        let Some(parting) = self.rec.partings.iter_mut().find(|parting| parting.aid == account.0) else {
            return Some(false);
        };
        let late = parting.seen_at.saturating_add(GROUP_PARTING_MS) <= now.0;
        let late = late || parting.letters >= GROUP_PARTING_LETTERS_MAX;
        if !late {
            parting.letters += 1;
        }
        match (late, member) {
            (false, _) => Some(true),
            (true, true) => Some(false),
            (true, false) => None,
        }
    }

    /// From now on it is counted what somebody may have written before they knew that they may not.
    pub(super) fn note_parting(&mut self, account: &AccountId, now: UnixTime) {
        self.rec.partings.retain(|parting| parting.aid != account.0);
        self.rec.partings.push(GroupParting { aid: account.0.to_vec(), seen_at: now.0, letters: 0 });
    }

    /// True for a member whose role lets it write.
    pub(super) fn has_voice(&self, membership: &Membership, account: &AccountId) -> bool {
        let least = membership.info.send_role.unwrap_or(GroupRole::Member);
        membership.roster.get(account).is_some_and(|member| member.role >= least)
    }

    /// The letters nobody has followed, as the next one names them.
    fn parents(&self) -> Vec<[u8; letter::PARENT_BYTES]> {
        let mut parents: Vec<_> = self.rec.frontier.iter().filter_map(|id| id.as_slice().try_into().ok()).collect();
        parents.sort_unstable();
        parents.dedup();
        parents.truncate(LETTER_PARENTS_MAX);
        parents
    }

    /// A letter came or went out that follows these.
    fn follow(&mut self, id: &[u8], parents: &[[u8; letter::PARENT_BYTES]]) {
        let followed = |known: &Vec<u8>| parents.iter().any(|parent| parent[..] == known[..]);
        self.rec.frontier.retain(|known| !followed(known));
        self.rec.frontier.push(id.iter().copied().take(letter::PARENT_BYTES).collect());
        let over = self.rec.frontier.len().saturating_sub(LETTER_PARENTS_MAX);
        self.rec.frontier.drain(..over);
    }
}

/// The last four bytes of the id of a message to a group.
fn author_mark(start: &[u8], account: &AccountId) -> [u8; 4] {
    trunc(&hash("silbo/1/group/message-id", &[start, account.as_bytes()]))
}

pub(super) fn is_message_of(id: &MessageId, account: &AccountId) -> bool {
    let (start, end) = id.0.split_at(8);
    author_mark(start, account) == end
}
