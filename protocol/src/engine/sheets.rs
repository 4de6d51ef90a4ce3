//! Friends who carry: appointing them, telling them what to pick up, and keeping their sheets.
//!
//! On a link to a contact nearby each side says which version of the other's sheet it holds; whoever has appointed the
//! other then tells what has changed. An appointment that was taken back is told in the same way.

use std::collections::BTreeMap;

use super::couriers::near;
use super::tags::Tags;
use super::turn::Turn;
use super::{Answer, Engine};
use crate::carry::item::{Namer, short};
use crate::carry::routing::DISTANCE_MAX;
use crate::carry::sheet::{DEPTH_TOLD_MAX, Sheet};
use crate::ids::{ChatId, LinkId, Tag};
use crate::limits::{SHEET_ENTRIES_PER_MEETING_MAX, SHEET_PEOPLE_MAX, SHEET_TAGS_CURRENT, SHEET_TAGS_NEXT, SHEETS_MAX};
use crate::session::Chain;
use crate::step::{ContactState, Reply, RequestError};
use crate::store::{StoreError, Table};
use crate::time::{MINUTE_MS, Moment};
use crate::wire::encounter::{SheetEntry, SheetPart};
use crate::wire::frame::Frame;

/// A friend whose sheet is up to date is told what has changed at most this often.
const TELL_EVERY_MS: u64 = 20 * MINUTE_MS;

/// What a friend was told last.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    sheet: Sheet,
    at: Option<Moment>,
}

impl Engine {
    /// Appoints a contact to carry for this device, or takes it back.
    pub(super) fn set_carrier(&mut self, chat: ChatId, on: bool, turn: &mut Turn) -> Answer {
        let Some(contact) = self.contacts.get_mut(&chat) else { return Err(RequestError::NotFound("contact")) };
        contact.rec.carrier = on;
        self.save_contact(&chat, turn);
        Ok(Reply::Done)
    }

    /// Reads the sheets of friends.
    pub(super) fn load_sheets(&mut self, turn: &mut Turn) -> Result<(), StoreError> {
        super::records::each(turn, Table::Sheet, |key, value| {
            self.sheets.insert(ChatId::read(key)?, Sheet::decode(value)?);
            Some(())
        })?;
        self.measure_distances(turn);
        Ok(())
    }

    /// Contacts that carry for this device: chosen by the person, or those it spends most time with. Who carries already
    /// stays until somebody is ahead by a quarter, because a change costs a whole sheet.
    pub(super) fn carriers(&self) -> Vec<ChatId> {
        let active = self.contacts.iter().filter(|(_, c)| c.state() == ContactState::Active);
        let time = |chat: &ChatId, met_s: u64| if self.told.contains_key(chat) { met_s / 4 * 5 } else { met_s };
        let mut by_time: Vec<(bool, u64, ChatId)> =
            active.map(|(chat, c)| (c.rec.carrier, time(chat, c.rec.met_s), *chat)).collect();
        by_time.sort_unstable_by(|a, b| b.cmp(a));
        let auto = usize::from(self.carried.settings().carriers);
        // Whoever is here for the first time may carry as well, while there are not enough others.
        let here = |chat: &ChatId| self.links.values().any(|l| l.chat == Some(*chat) && near(l.route));
        let chosen = by_time
            .iter()
            .enumerate()
            .filter(|(at, (wanted, met, chat))| *wanted || (*at < auto && (*met > 0 || here(chat))));
        chosen.map(|(_, (_, _, chat))| *chat).collect()
    }

    /// A contact is on a link nearby: says which of its sheets is here.
    pub(super) fn say_sheet(&mut self, link: LinkId, chat: ChatId, turn: &mut Turn) {
        if self.links.get(&link).is_some_and(|l| near(l.route) && l.carries) && self.carried.settings().enabled {
            let version = self.sheets.get(&chat).map_or(0, |sheet| sheet.version);
            turn.frame(link, &Frame::SheetAt(version));
        }
    }

    /// The other side holds this version of our sheet; it is told what has changed since.
    pub(super) fn sheet_held(&mut self, link: LinkId, version: u32, turn: &mut Turn) {
        let Some(chat) = self.links.get(&link).and_then(|l| l.chat) else { return };
        if !self.carriers().contains(&chat) {
            self.told.remove(&chat);
            if version > 0 {
                turn.frame(link, &Frame::Sheet(SheetPart { replaces: true, last: true, ..SheetPart::default() }));
            }
            return;
        }
        let told = self.told.remove(&chat).filter(|told| told.sheet.version == version).unwrap_or_default();
        if told.at.is_some_and(|at| at.after_ms(TELL_EVERY_MS) > turn.now.moment) {
            self.told.insert(chat, told);
            return;
        }
        let wanted = self.own_sheet(&chat);
        let (sheet, parts) = told.sheet.step_to(&wanted);
        self.told.insert(chat, Told { sheet, at: Some(turn.now.moment) });
        for part in parts {
            turn.frame(link, &Frame::Sheet(part));
        }
    }

    /// What this device asks a friend to pick up: what it expects itself, what those who appointed it expect, decoys.
    fn own_sheet(&mut self, friend: &ChatId) -> Sheet {
        let mut entries: Vec<SheetEntry> = Vec::new();
        for live in self.sessions.values() {
            if self.contacts.get(&live.chat).is_none_or(|c| c.state() != ContactState::Active) {
                continue;
            }
            let (_, next) = live.session.receiving_position();
            let near = live.tags.iter().filter(|(_, place)| match place.chain {
                Chain::Current => place.n < next.saturating_add(SHEET_TAGS_CURRENT),
                Chain::Next => place.n < SHEET_TAGS_NEXT,
            });
            entries.extend(near.map(|(tag, _)| (short(tag), 0)));
        }
        let time = |chat: &ChatId| {
            let met_s = self.contacts.get(chat).map_or(0, |c| c.rec.met_s);
            if self.passed_on.contains(chat) { met_s / 4 * 5 } else { met_s }
        };
        let mut people: Vec<(u64, ChatId)> = self.sheets.keys().map(|chat| (time(chat), *chat)).collect();
        people.sort_unstable_by(|a, b| b.cmp(a));
        people.truncate(SHEET_PEOPLE_MAX);
        self.passed_on = people.iter().map(|(_, chat)| *chat).collect();
        for (_, chat) in people.into_iter().filter(|(_, chat)| chat != friend) {
            let told = self.sheets.get(&chat).into_iter().flat_map(Sheet::entries);
            entries.extend(told.filter(|(_, depth)| *depth <= DEPTH_TOLD_MAX).copied());
        }
        let namer = Namer::new(self.run_key());
        let decoys = entries.len() / 4;
        entries.extend((0..decoys).map(|n| {
            let mut tag = [0; 12];
            tag[..8].copy_from_slice(&(n as u64).to_be_bytes());
            let [a, b, c, d, e, _] = namer.vaccine(&Tag(tag));
            ([a, b, c, d, e], u8::from(n % 2 == 1))
        }));
        Sheet::new(0, entries)
    }

    /// A friend tells what to pick up for it.
    pub(super) fn sheet_arrived(&mut self, link: LinkId, part: &SheetPart, turn: &mut Turn) {
        let Some(chat) = self.links.get(&link).and_then(|l| l.chat) else { return };
        if part.entries.len() > SHEET_ENTRIES_PER_MEETING_MAX || !self.carried.settings().enabled {
            return;
        }
        if part.version == 0 {
            self.sheets.remove(&chat);
            turn.delete(Table::Sheet, chat.as_bytes());
            self.measure_distances(turn);
            return;
        }
        if !self.sheets.contains_key(&chat) && self.sheets.len() >= SHEETS_MAX {
            return;
        }
        let sheet = self.sheets.entry(chat).or_default();
        sheet.apply(part, 1);
        if part.last {
            let stored = sheet.encode();
            turn.put(Table::Sheet, chat.as_bytes(), stored);
            self.measure_distances(turn);
        }
    }

    /// A contact is gone: its sheet goes too.
    pub(super) fn forget_sheet(&mut self, chat: &ChatId, turn: &mut Turn) {
        self.told.remove(chat);
        if self.sheets.remove(chat).is_some() {
            turn.delete(Table::Sheet, chat.as_bytes());
            self.measure_distances(turn);
        }
    }

    fn measure_distances(&mut self, turn: &mut Turn) {
        let (sheets, tags) = (&self.sheets, &self.tags);
        let writes = self.carried.set_distances(|tag| distance(tags, sheets, tag));
        self.couriers_write(writes, turn);
    }

    /// How far an envelope with this tag is from who wants it.
    pub(super) fn distance(&self, tag: &Tag) -> u8 {
        distance(&self.tags, &self.sheets, tag)
    }
}

fn distance(own: &Tags, sheets: &BTreeMap<ChatId, Sheet>, tag: &Tag) -> u8 {
    if own.has(tag) {
        return 0;
    }
    sheets.values().filter_map(|sheet| sheet.depth(&short(tag))).min().unwrap_or(DISTANCE_MAX).min(DISTANCE_MAX)
}
