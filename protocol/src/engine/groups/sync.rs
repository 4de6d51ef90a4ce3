//! Anti-entropy: two members on a link find out which letters only one of them has, and hand them over sealed.
//!
//! ```text
//!   opening ──▶ ◀── answer       both know how many letters, and their digest; two openings may cross
//!   reconcile ◀──▶ reconcile     carry/reconcile.rs: about the price of the difference
//!   have ──▶   ◀── want          whoever lacks letters asks for them, a window at a time
//!   letters ──▶                  the stored envelopes, as their author sealed them
//! ```
//! The other end of the link is proven to be an account of the roster; to anybody else nothing is told, and what a
//! proven contact sends that is no member here yet is taken but never answered with letters. A letter that nobody's
//! key fits yet is kept and handed on: the operation that brings the key may be under way by another road.
//!
//! A letter that has just come is announced at once to members on other links, so that it crosses a chain of people as
//! fast as their links do. Where there are many links it is announced on few of them: on those that brought somebody a
//! letter before, and on others by lot. Whom that passes over is found by the comparisons that come again and again, as
//! is a bridge nobody has used yet. Sources: gossip with lazy push: Leitão, Pereira, Rodrigues, "Epidemic
//! Broadcast Trees", SRDS 2007; fanout: Kermarrec, Massoulié, Ganesh, "Probabilistic Reliable Dissemination in
//! Large-Scale Systems", IEEE TPDS 14(3), 2003.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::Engine;
use super::super::inbound::{Outcome, Source};
use super::super::records::state::LetterRecord;
use super::super::timers::Timer;
use super::super::turn::Turn;
use super::{Group, StoredLetter, UnreadLetter};
use crate::carry::reconcile::{Message, Opening, Reconciliation};
use crate::carry::salted_set::SaltedSet;
use crate::crypto::hash::{cid, hash, trunc};
use crate::group::welcome::read_heads;
use crate::ids::{AccountId, ChatId, Cid, LinkId, OperationId, Tag};
use crate::input::Route;
use crate::limits::{
    GROUP_LETTERS_MAX, GROUP_LETTERS_PER_HAVE_MAX, GROUP_UNREAD_LETTERS_MAX, GROUP_WANTS_BY_RADIO_MAX, GROUP_WANTS_MAX,
};
use crate::step::Path;
use crate::store::{StoreError, Table};
use crate::time::{MINUTE_MS, Moment, SECOND_MS};
use crate::wire::envelope::Envelope;
use crate::wire::frame::Frame;
use crate::wire::proto::{self, group_sync::S};

/// Bytes of letters, or of operations, put into one frame, unless one alone is larger.
pub(super) const LETTERS_BYTES: usize = 128 * 1_024;
/// A member on a link is compared with again so often: news can be lost with a link that comes and goes.
const COMPARE_MS: u64 = 10 * MINUTE_MS;
/// What was asked for and has not come after so long is asked of somebody else.
const WANT_MS: u64 = 5 * SECOND_MS;
/// Links on which a letter is announced. Where there are more, so many are drawn: one member in 150 is passed over (e^-5)
/// if nobody but these has it, and found by a comparison.
const ANNOUNCED_LINKS: usize = 8;
const ANNOUNCED_LINKS_OF_MANY: usize = 5;
/// Links on which sets are compared again at a time.
const COMPARED_LINKS: usize = 4;
/// With more members than this on links, an announced letter is asked for only after a while: its author is probably on
/// one of them, and handing it over.
const FEW_LINKS: usize = 8;
/// That while: longer than most links take.
const ASK_LATER_MS: u64 = 250;

/// The comparison of one group's letters with the member at the other end of a link.
#[derive(Debug)]
pub(in super::super) struct Comparison {
    stage: Stage,
    /// Letters the other end is known to have.
    known: BTreeSet<Cid>,
    /// Letters it has and we lack, not yet asked for.
    lacking: VecDeque<Cid>,
    /// Asked for and not yet here, and since when.
    asked: BTreeMap<Cid, Moment>,
    /// The other end asked for the last letter that we announced first.
    fruitful: bool,
    /// The other end was known to be a member when this began: to others an empty set is shown.
    with_member: bool,
}

#[derive(Debug)]
enum Stage {
    /// Our opening is out.
    Opened(SaltedSet),
    Running(Box<Reconciliation>),
    Over,
}

impl Comparison {
    fn new(set: SaltedSet, with_member: bool) -> Self {
        Self {
            stage: Stage::Opened(set),
            known: BTreeSet::new(),
            lacking: VecDeque::new(),
            asked: BTreeMap::new(),
            fruitful: false,
            with_member,
        }
    }

    fn note_known(&mut self, letter: Cid) {
        if self.known.len() >= GROUP_LETTERS_PER_HAVE_MAX {
            self.known.pop_first();
        }
        self.known.insert(letter);
    }
}

/// How long a letter may take that was asked for: four of the longest are ten seconds of a slow radio.
fn patience_ms(route: Route) -> u64 {
    if route == Route::Radio { 6 * WANT_MS } else { WANT_MS }
}

impl Engine {
    /// Groups that the account at the other end of a link is a member of, as far as is known here.
    fn groups_shared_on(&self, link: LinkId) -> Vec<ChatId> {
        let Some(account) = self.account_on(link) else { return Vec::new() };
        let shared = self.groups.iter().filter(|(_, group)| group.takes_part() && group.has_member(&account));
        shared.map(|(chat, _)| *chat).collect()
    }

    /// The account a link has proven.
    pub(super) fn account_on(&self, link: LinkId) -> Option<AccountId> {
        let chat = self.links.get(&link)?.chat?;
        self.contacts.get(&chat)?.aid()
    }

    /// Opens a comparison for each group shared with the other end.
    pub(in super::super) fn compare_letters(&mut self, link: LinkId, turn: &mut Turn) {
        for chat in self.groups_shared_on(link) {
            self.open_comparison(link, chat, turn);
            let _asked = self.ask_for_slices(link, chat, turn);
        }
    }

    /// Compares with those who are there: with a few of them, by lot, where there are many.
    pub(in super::super) fn compare_everywhere(&mut self, turn: &mut Turn) {
        let links: Vec<LinkId> = self.links.iter().filter(|(_, l)| l.chat.is_some()).map(|(id, _)| *id).collect();
        let mut drawn: Vec<(u64, LinkId)> = links.into_iter().map(|link| (self.chance.below(u64::MAX), link)).collect();
        drawn.sort_unstable();
        for (_, link) in drawn.into_iter().take(COMPARED_LINKS) {
            self.compare_letters(link, turn);
        }
        if !self.groups.is_empty() {
            self.timers.set(Timer::CompareLetters, turn.now.moment.after_ms(COMPARE_MS));
        }
    }

    fn open_comparison(&mut self, link: LinkId, chat: ChatId, turn: &mut Turn) {
        let comparison = self.links.get(&link).and_then(|l| l.comparisons.get(&chat));
        // Both may open at once; one that runs comes to its end.
        if comparison.is_some_and(|comparison| !matches!(comparison.stage, Stage::Over)) {
            return;
        }
        if let Some(opening) = self.begin_comparison(link, chat, turn) {
            self.say_with_heads(link, chat, S::Opening(opening), turn);
        }
    }

    /// The beginning of a comparison also names the operations that none here follows.
    fn say_with_heads(&self, link: LinkId, chat: ChatId, s: S, turn: &mut Turn) {
        let group = self.groups.get(&chat).filter(|_| self.is_with_member(link, &chat));
        let heads = group.map(Group::operation_heads).unwrap_or_default();
        turn.frame(link, &Frame::GroupSync(proto::GroupSync { gid: chat.0.to_vec(), heads, s: Some(s) }));
    }

    /// Makes the set that is compared, and its opening.
    fn begin_comparison(&mut self, link: LinkId, chat: ChatId, turn: &Turn) -> Option<Vec<u8>> {
        let set = self.salted_letters(link, &chat)?;
        let opening = Opening::of(&set).encode().to_vec();
        let with_member = self.is_with_member(link, &chat);
        let comparisons = &mut self.links.get_mut(&link)?.comparisons;
        match comparisons.get_mut(&chat) {
            Some(comparison) => {
                (comparison.stage, comparison.with_member) = (Stage::Opened(set), with_member);
            }
            None => drop(comparisons.insert(chat, Comparison::new(set, with_member))),
        }
        self.timers.set_if_unarmed(Timer::CompareLetters, turn.now.moment.after_ms(COMPARE_MS));
        Some(opening)
    }

    /// The letters of a group under a salt of this link; none for somebody who is not known to be a member.
    fn salted_letters(&self, link: LinkId, chat: &ChatId) -> Option<SaltedSet> {
        let state = self.links.get(&link)?;
        let (own, their) = (state.own_nonce?, state.their_nonce?);
        let (low, high) = if own < their { (own, their) } else { (their, own) };
        let salt = trunc::<16>(&hash("silbo/1/group/salt", &[&low, &high, chat.as_bytes()]));
        let member = self.is_with_member(link, chat);
        let group = self.groups.get(chat)?;
        let letters = group.letters.keys().filter(|_| member).map(|letter| letter.0);
        SaltedSet::new(&salt, letters).ok()
    }

    /// A frame of a group from the other end of a link.
    pub(in super::super) fn group_sync_arrived(
        &mut self,
        link: LinkId,
        sync: proto::GroupSync,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let Some(chat) = ChatId::read(&sync.gid).filter(|chat| self.groups.contains_key(chat)) else { return Ok(()) };
        if self.account_on(link).is_none() {
            return Ok(());
        }
        self.heads_named(link, chat, &sync.heads, turn);
        match sync.s {
            Some(S::Opening(opening)) => self.opening_arrived(link, chat, &opening, turn),
            Some(S::Answer(opening)) => {
                if let Some(theirs) = Opening::decode(&opening) {
                    self.compare_with(link, chat, &theirs, turn);
                }
            }
            Some(S::Reconcile(message)) => self.comparison_goes_on(link, chat, &message, turn),
            Some(S::Have(list)) => self.letters_announced(link, chat, &read_cids(&list), turn),
            Some(S::Want(list)) => return self.letters_wanted(link, chat, &read_cids(&list), turn),
            Some(S::Got(list)) => return self.letters_confirmed(link, chat, &read_cids(&list), turn),
            Some(S::Receipts(list)) => return self.letter_receipts_arrived(link, chat, &list, turn),
            Some(S::WantOps(list)) => self.operations_wanted(link, chat, &list, turn),
            Some(S::Ops(list)) => return self.operations_arrived(link, chat, &list, turn),
            Some(S::Letters(letters)) => return self.letters_arrived(link, chat, &letters, turn),
            Some(S::SliceWant(want)) => return self.slices_wanted(link, chat, &want, turn),
            Some(S::Slices(slices)) => return self.slices_arrived(link, chat, &slices, turn),
            None => {}
        }
        Ok(())
    }

    fn opening_arrived(&mut self, link: LinkId, chat: ChatId, bytes: &[u8], turn: &mut Turn) {
        let Some(theirs) = Opening::decode(bytes) else { return };
        let comparison = self.links.get(&link).and_then(|l| l.comparisons.get(&chat));
        if !comparison.is_some_and(|comparison| matches!(comparison.stage, Stage::Opened(_))) {
            // Whatever ran here, the other end has begun anew.
            let Some(opening) = self.begin_comparison(link, chat, turn) else { return };
            self.say_with_heads(link, chat, S::Answer(opening), turn);
        }
        self.compare_with(link, chat, &theirs, turn);
    }

    /// The opening of the other end, to a comparison that has been opened here; to none it means nothing.
    fn compare_with(&mut self, link: LinkId, chat: ChatId, theirs: &Opening, turn: &mut Turn) {
        let Some(comparison) = self.links.get_mut(&link).and_then(|l| l.comparisons.get_mut(&chat)) else { return };
        let stage = std::mem::replace(&mut comparison.stage, Stage::Over);
        let Stage::Opened(set) = stage else {
            comparison.stage = stage;
            return;
        };
        let (running, answers) = Reconciliation::start(set, theirs);
        comparison.stage = Stage::Running(Box::new(running));
        for answer in answers {
            say(link, chat, S::Reconcile(answer.encode()), turn);
        }
        self.perhaps_compared_letters(link, chat, turn);
    }

    fn comparison_goes_on(&mut self, link: LinkId, chat: ChatId, bytes: &[u8], turn: &mut Turn) {
        let Some(comparison) = self.links.get_mut(&link).and_then(|l| l.comparisons.get_mut(&chat)) else { return };
        let Stage::Running(running) = &mut comparison.stage else { return };
        let mut answers = Vec::new();
        let taken = Message::decode(bytes).is_ok_and(|message| running.handle(message, &mut answers).is_ok());
        if !taken {
            comparison.stage = Stage::Over;
        }
        for answer in answers {
            say(link, chat, S::Reconcile(answer.encode()), turn);
        }
        self.perhaps_compared_letters(link, chat, turn);
    }

    /// Tells the other end which letters only we have.
    fn perhaps_compared_letters(&mut self, link: LinkId, chat: ChatId, turn: &mut Turn) {
        let Some(comparison) = self.links.get_mut(&link).and_then(|l| l.comparisons.get_mut(&chat)) else { return };
        let Stage::Running(running) = &comparison.stage else { return };
        let Some(difference) = running.difference() else { return };
        let set = running.set();
        let mine: Vec<Cid> = difference.mine.iter().filter_map(|id| set.item(*id)).map(|key| Cid(*key)).collect();
        comparison.stage = Stage::Over;
        for part in mine.chunks(GROUP_LETTERS_PER_HAVE_MAX) {
            say(link, chat, S::Have(write_cids(part)), turn);
        }
    }

    /// The other end has letters: those we lack are asked for.
    fn letters_announced(&mut self, link: LinkId, chat: ChatId, list: &[Cid], turn: &mut Turn) {
        let Some(group) = self.groups.get(&chat) else { return };
        let wanted: Vec<Cid> = list.iter().filter(|letter| !group.letters.contains_key(letter)).copied().collect();
        let members = self.links.values().filter(|state| state.comparisons.contains_key(&chat)).count();
        let Some(state) = self.links.get_mut(&link) else { return };
        let Some(comparison) = state.comparisons.get_mut(&chat) else {
            // Before any comparison: an ordinary one finds them as well.
            return self.open_comparison(link, chat, turn);
        };
        for letter in list {
            comparison.note_known(*letter);
        }
        comparison.fruitful &= !wanted.is_empty();
        for letter in wanted {
            let room = comparison.lacking.len() < GROUP_LETTERS_PER_HAVE_MAX;
            if room && !comparison.lacking.contains(&letter) {
                comparison.lacking.push_back(letter);
            }
        }
        match list.len() == 1 && members > FEW_LINKS {
            true => self.timers.set_if_unarmed(Timer::AskForLetters, turn.now.moment.after_ms(ASK_LATER_MS)),
            false => self.ask_for_letters(link, chat, turn),
        }
    }

    /// Asks for what was announced a moment ago and has not come by itself.
    pub(in super::super) fn ask_everywhere(&mut self, turn: &mut Turn) {
        let lacking = self.links.iter().flat_map(|(link, state)| {
            let of_link = state.comparisons.iter().filter(|(_, comparison)| !comparison.lacking.is_empty());
            of_link.map(|(chat, _)| (*link, *chat))
        });
        for (link, chat) in lacking.collect::<Vec<_>>() {
            self.ask_for_letters(link, chat, turn);
        }
    }

    /// Asks for the next letters of the window, unless another link is bringing them already.
    fn ask_for_letters(&mut self, link: LinkId, chat: ChatId, turn: &mut Turn) {
        let comparisons = self.links.values().filter_map(|state| state.comparisons.get(&chat));
        let coming: BTreeSet<Cid> = comparisons.flat_map(|comparison| comparison.asked.keys().copied()).collect();
        let Some(group) = self.groups.get(&chat) else { return };
        let Some(state) = self.links.get_mut(&link) else { return };
        // A letter may be as long as an envelope, and a radio link is closed when it is owed a megabyte.
        let window = if state.route == Route::Radio {
            let others = state.comparisons.iter().filter(|(of, _)| **of != chat);
            GROUP_WANTS_BY_RADIO_MAX.saturating_sub(others.map(|(_, comparison)| comparison.asked.len()).sum())
        } else {
            GROUP_WANTS_MAX
        };
        let Some(comparison) = state.comparisons.get_mut(&chat) else { return };
        let mut batch = Vec::new();
        while comparison.asked.len() < window {
            let Some(letter) = comparison.lacking.pop_front() else { break };
            if !group.letters.contains_key(&letter) && !coming.contains(&letter) {
                comparison.asked.insert(letter, turn.now.moment);
                batch.push(letter);
            }
        }
        if !batch.is_empty() {
            self.timers.set_if_unarmed(Timer::LettersOverdue, turn.now.moment.after_ms(WANT_MS));
            say(link, chat, S::Want(write_cids(&batch)), turn);
        }
    }

    /// What was asked for and did not come may come from somebody else.
    pub(in super::super) fn letters_overdue(&mut self, turn: &mut Turn) {
        let now = turn.now.moment;
        let mut overdue: BTreeSet<Cid> = BTreeSet::new();
        let mut next: Option<Moment> = None;
        let on_links = self.links.values_mut().flat_map(|state| {
            let patience = patience_ms(state.route);
            state.comparisons.values_mut().map(move |comparison| (comparison, patience))
        });
        for (comparison, patience) in on_links {
            let late = comparison.asked.extract_if(.., |_, since| since.after_ms(patience) <= now);
            let late: Vec<Cid> = late.map(|(letter, _)| letter).collect();
            for letter in late {
                // Who says so and does not hand it over is not asked first again.
                comparison.known.remove(&letter);
                overdue.insert(letter);
            }
            next = comparison.asked.values().map(|since| since.after_ms(patience)).chain(next).min();
        }
        if let Some(at) = next {
            self.timers.set(Timer::LettersOverdue, at);
        }
        if overdue.is_empty() {
            return;
        }
        for comparison in self.links.values_mut().flat_map(|l| l.comparisons.values_mut()) {
            let here = overdue.intersection(&comparison.known).filter(|letter| !comparison.lacking.contains(letter));
            let here: Vec<Cid> = here.copied().collect();
            comparison.lacking.extend(here);
        }
        self.ask_everywhere(turn);
        self.compare_everywhere(turn);
    }

    fn letters_wanted(&mut self, link: LinkId, chat: ChatId, list: &[Cid], turn: &mut Turn) -> Result<(), StoreError> {
        let member = self.is_with_member(link, &chat);
        let Some(group) = self.groups.get(&chat) else { return Ok(()) };
        if let Some(comparison) = self.links.get_mut(&link).and_then(|l| l.comparisons.get_mut(&chat)) {
            comparison.fruitful |= member;
        }
        let mut batch = proto::GroupLetters::default();
        let mut bytes = 0;
        let radio = self.links.get(&link).is_some_and(|state| state.route == Route::Radio);
        let most = if radio { GROUP_WANTS_BY_RADIO_MAX } else { GROUP_WANTS_MAX };
        let held = list.iter().take(most).filter(|letter| member && group.letters.contains_key(letter));
        for letter in held {
            let Some(record) = stored_letter(&chat, letter, turn)? else { continue };
            if bytes > 0 && bytes + record.envelope.len() > LETTERS_BYTES {
                say(link, chat, S::Letters(std::mem::take(&mut batch)), turn);
                bytes = 0;
            }
            bytes += record.envelope.len();
            batch.env.push(record.envelope);
            batch.heads.push(record.heads);
        }
        if bytes > 0 {
            say(link, chat, S::Letters(batch), turn);
        }
        Ok(())
    }

    /// Hands an own letter to a member on a link.
    pub(in super::super) fn hand_letter(
        &mut self,
        link: LinkId,
        chat: ChatId,
        envelope: Vec<u8>,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let letter = cid(&envelope);
        let heads = stored_letter(&chat, &letter, turn)?.map(|record| record.heads).unwrap_or_default();
        if let Some(comparison) = self.links.get_mut(&link).and_then(|l| l.comparisons.get_mut(&chat)) {
            comparison.note_known(letter);
        }
        say(link, chat, S::Letters(proto::GroupLetters { env: vec![envelope], heads: vec![heads] }), turn);
        Ok(())
    }

    fn letters_arrived(
        &mut self,
        link: LinkId,
        chat: ChatId,
        list: &proto::GroupLetters,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let mut got: Vec<Cid> = Vec::new();
        for (at, envelope) in list.env.iter().take(GROUP_WANTS_MAX).enumerate() {
            let heads = list.heads.get(at).and_then(|bytes| read_heads(bytes)).unwrap_or_default();
            self.derive_epoch(chat, &heads, turn);
            let letter = cid(envelope);
            self.note_way(link, chat, letter);
            if let Some(comparison) = self.links.get_mut(&link).and_then(|l| l.comparisons.get_mut(&chat)) {
                comparison.note_known(letter);
                comparison.asked.remove(&letter);
            }
            match self.envelope(envelope, Source::Link(link), turn)? {
                Outcome::Unknown => self.keep_unread(chat, letter, envelope, heads, turn),
                Outcome::Done { .. } | Outcome::DoneUnnamed => got.push(letter),
                Outcome::Dropped => {}
            }
        }
        if !got.is_empty() {
            say(link, chat, S::Got(write_cids(&got)), turn);
        }
        self.ask_for_letters(link, chat, turn);
        Ok(())
    }

    /// Tells the author of letters that came by others that they are stored, if it is on a link.
    pub(super) fn confirm_on_link(
        &mut self,
        chat: ChatId,
        author: &AccountId,
        letters: &[Cid],
        turn: &mut Turn,
    ) -> bool {
        let link = self.link_to_member(author);
        if let Some(link) = link {
            say(link, chat, S::Got(write_cids(letters)), turn);
        }
        link.is_some()
    }

    /// The member at the other end has stored letters.
    fn letters_confirmed(
        &mut self,
        link: LinkId,
        chat: ChatId,
        list: &[Cid],
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let Some(account) = self.account_on(link) else { return Ok(()) };
        let path = self.links.get(&link).map(|state| Path::Direct(state.route));
        for letter in list {
            self.letter_is_at(chat, letter, account, path, turn)?;
        }
        Ok(())
    }

    /// True for a letter that was opened before.
    pub(in super::super) fn has_letter(&self, tag: &Tag, bytes: &[u8]) -> bool {
        self.groups.values().any(|group| {
            let letter = group.letter_tags.get(tag).filter(|letter| **letter == cid(bytes));
            letter.and_then(|letter| group.letters.get(letter)).is_some_and(|stored| stored.opened)
        })
    }

    /// A letter that no key fits yet: the operation that brings the key may still be under way.
    fn keep_unread(&mut self, chat: ChatId, letter: Cid, envelope: &[u8], heads: Vec<OperationId>, turn: &mut Turn) {
        let Some(group) = self.groups.get_mut(&chat) else { return };
        if group.unread.len() >= GROUP_UNREAD_LETTERS_MAX || group.letters.contains_key(&letter) {
            return;
        }
        self.store_letter(chat, envelope, false, heads, turn);
        self.announce_letter(chat, letter, turn);
    }

    /// Keeps a letter so that other members can have it from here.
    pub(super) fn store_letter(
        &mut self,
        chat: ChatId,
        bytes: &[u8],
        opened: bool,
        heads: Vec<OperationId>,
        turn: &mut Turn,
    ) -> Option<Cid> {
        let written = if heads.len() > 1 { heads.iter().flat_map(|head| head.0).collect() } else { Vec::new() };
        let envelope = Envelope::parse(bytes).ok()?;
        let group = self.groups.get_mut(&chat)?;
        let letter = cid(bytes);
        let expires_at = envelope.head.keep_until(turn.now.unix);
        if group.letters.len() >= GROUP_LETTERS_MAX && !group.letters.contains_key(&letter) {
            let oldest = group.letters.iter().min_by_key(|(_, stored)| stored.expires_at).map(|(id, _)| *id)?;
            group.forget_letter(&oldest);
            turn.delete(Table::GroupLetter, &letter_key(&chat, &oldest));
        }
        group.note_letter(letter, StoredLetter { tag: envelope.tag, expires_at, opened }, heads);
        let record = LetterRecord { envelope: bytes.to_vec(), expires_at: expires_at.0, opened, heads: written };
        turn.put_record(Table::GroupLetter, &letter_key(&chat, &letter), &record);
        Some(letter)
    }

    /// Tells members on other links that there is a letter: all of them where there are few.
    pub(super) fn announce_letter(&mut self, chat: ChatId, letter: Cid, turn: &mut Turn) {
        let Some(group) = self.groups.get(&chat) else { return };
        let Self { links, contacts, chance, .. } = self;
        let mut candidates = Vec::new();
        for (link, state) in links.iter_mut() {
            let account = state.chat.and_then(|chat| contacts.get(&chat)?.aid());
            if !account.is_some_and(|account| group.has_member(&account)) {
                continue;
            }
            let Some(comparison) = state.comparisons.get_mut(&chat) else { continue };
            if !comparison.known.contains(&letter) {
                // Who was glad of the last one comes first, then whom the lot names.
                candidates.push((!comparison.fruitful, chance.below(u64::MAX), *link, comparison));
            }
        }
        candidates.sort_unstable_by_key(|(barren, lot, link, _)| (*barren, *lot, *link));
        let fruitful = candidates.iter().filter(|(barren, ..)| !barren).count();
        let announced = match candidates.len() {
            few if few <= ANNOUNCED_LINKS => few,
            _ => fruitful.clamp(ANNOUNCED_LINKS_OF_MANY, ANNOUNCED_LINKS),
        };
        for (_, _, link, comparison) in candidates.into_iter().take(announced) {
            comparison.note_known(letter);
            say(link, chat, S::Have(write_cids(&[letter])), turn);
        }
    }

    /// Members on links are compared with, unless that has been done; who is none any more is not.
    pub(super) fn compare_with_members(&mut self, chat: ChatId, turn: &mut Turn) {
        let links: Vec<LinkId> = self.links.iter().filter(|(_, l)| l.chat.is_some()).map(|(id, _)| *id).collect();
        let takes_part = self.groups.get(&chat).is_some_and(Group::takes_part);
        for link in links {
            let member = takes_part && self.is_with_member(link, &chat);
            let Some(state) = self.links.get_mut(&link) else { continue };
            match state.comparisons.get_mut(&chat) {
                Some(comparison) if member && comparison.with_member => continue,
                Some(comparison) if member => comparison.stage = Stage::Over,
                Some(_) => drop(state.comparisons.remove(&chat)),
                None => {}
            }
            if member {
                self.open_comparison(link, chat, turn);
            }
        }
    }

    /// The other end of a link is a member, as far as is known here.
    pub(super) fn is_with_member(&self, link: LinkId, chat: &ChatId) -> bool {
        let group = self.groups.get(chat);
        self.account_on(link).is_some_and(|account| group.is_some_and(|group| group.has_member(&account)))
    }

    /// Letters whose time is over are not handed on any more.
    pub(in super::super) fn drop_old_letters(&mut self, turn: &mut Turn) {
        let now = turn.now.unix;
        for (chat, group) in &mut self.groups {
            let old = group.letters.iter().filter(|(_, stored)| stored.expires_at <= now);
            for letter in old.map(|(letter, _)| *letter).collect::<Vec<_>>() {
                group.forget_letter(&letter);
                turn.delete(Table::GroupLetter, &letter_key(chat, &letter));
            }
        }
    }
}

impl Group {
    /// A letter is kept, or has been opened.
    pub(super) fn note_letter(&mut self, letter: Cid, stored: StoredLetter, heads: Vec<OperationId>) {
        self.letters.insert(letter, stored);
        match stored.opened {
            true => {
                self.unread.remove(&letter);
                self.letter_tags.insert(stored.tag, letter);
            }
            false => {
                self.unread.insert(letter, UnreadLetter { tag: stored.tag, heads });
            }
        }
    }

    /// A letter is not kept any more.
    pub(super) fn forget_letter(&mut self, letter: &Cid) {
        self.unread.remove(letter);
        if let Some(stored) = self.letters.remove(letter).filter(|stored| stored.opened) {
            self.letter_tags.remove(&stored.tag);
        }
    }
}

pub(super) fn stored_letter(chat: &ChatId, letter: &Cid, turn: &Turn) -> Result<Option<LetterRecord>, StoreError> {
    turn.record(Table::GroupLetter, &letter_key(chat, letter))
}

pub(super) fn letter_key(chat: &ChatId, letter: &Cid) -> Vec<u8> {
    [chat.as_bytes(), letter.as_bytes()].concat()
}

pub(super) fn say(link: LinkId, chat: ChatId, s: S, turn: &mut Turn) {
    turn.frame(link, &Frame::GroupSync(proto::GroupSync { gid: chat.0.to_vec(), heads: Vec::new(), s: Some(s) }));
}

fn write_cids(list: &[Cid]) -> Vec<u8> {
    list.iter().flat_map(|letter| letter.0).collect()
}

/// As many as one frame may name; bytes that are no whole name are ignored.
fn read_cids(bytes: &[u8]) -> Vec<Cid> {
    bytes.chunks_exact(Cid::LEN).take(GROUP_LETTERS_PER_HAVE_MAX).filter_map(Cid::read).collect()
}
