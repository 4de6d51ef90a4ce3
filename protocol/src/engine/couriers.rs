//! Couriers: meeting another carrier, handing over what it may carry, taking what comes, and ending journeys.
//!
//! ```text
//!   Hello ◀▶ Hello   both can carry: the salt of this encounter is made of both nonces
//!   Meet  ◀▶ Meet    rates, pressure; then Reconcile ◀▶ Reconcile until both know what the other lacks
//!   Vaccines, Have ─▶   ◀─ Want (one's own mail, what a sheet asks for, cover, what was given)   Parcels ─▶   ◀─ Taken
//! ```
//! What a device wants for itself it asks for in the same breath as what it only carries. A copy of one's own mail is
//! kept and passed on like any other until the receipt is published, after a while that nobody can predict.

mod vaccines;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use self::vaccines::{read_times, vaccine_end};
use super::coming::Asking;
use super::inbound::{Outcome, Source};
use super::records::state::HopRecord;
use super::timers::Timer;
use super::turn::Turn;
use super::{Engine, TagOwner};
use crate::carry::item::Namer;
use crate::carry::reconcile::{Message, Opening, Reconciliation};
use crate::carry::routing;
use crate::carry::salted_set::{SaltedId, SaltedSet};
use crate::carry::store::{CarrySettings, Parcel, Pool, Refusal};
use crate::crypto::hash::{hash, trunc};
use crate::delivery::outbox::{Flight, entry_key};
use crate::ids::{ChatId, Cid, LinkId, PeerKey, Preimage, Tag};
use crate::input::Route;
use crate::limits::{
    CARRIED_TEXT_BYTES_MAX, DIRECT_PATIENCE_MS, ENCOUNTER_ASKED_MAX, ENCOUNTER_IDS_PER_FRAME_MAX,
    PARCELS_IN_FLIGHT_BYTES_MAX, PARCELS_IN_FLIGHT_MAX, RECONCILE_ITEMS_MAX, STRANGER_BYTES_MAX, STRANGER_PARCELS_MAX,
    STRANGER_WINDOW_MS,
};
use crate::radio::RadioPower;
use crate::step::{MeshView, Path, Reply};
use crate::store::{StoreError, Table};
use crate::time::{MINUTE_MS, Moment};
use crate::wire::encounter::{ItemId, Meet, Offer, WireParcel};
use crate::wire::envelope::Envelope;
use crate::wire::frame::Frame;

/// Parcels and bytes put into one frame.
const PARCELS_PER_FRAME: usize = 16;
const PARCEL_FRAME_BYTES: usize = 16 * 1_024;
/// Coming back within this time is no new encounter.
const SAME_ENCOUNTER_MS: u64 = 10 * MINUTE_MS;
/// Expired copies removed at a time.
const SWEEP_BATCH: usize = 512;
/// Pause between looks for expired copies.
const SWEEP_MS: u64 = 10 * MINUTE_MS;
/// Key of the settings in [`Table::Meta`].
const SETTINGS: &[u8] = b"carry";
/// Key of the radios' power mode there.
const RADIO_POWER: &[u8] = b"radio-power";
/// Modes by their stored number.
const RADIO_POWERS: [RadioPower; 3] = [RadioPower::Saver, RadioPower::Balanced, RadioPower::Performance];

/// One encounter, as long as its link is up.
pub(super) struct Meeting {
    namer: Namer,
    /// Tells this peer from others, for this run.
    name: Pool,
    /// What we have, by its name in this encounter.
    items: BTreeMap<ItemId, Item>,
    comparing: Comparing,
    /// The other side has said what it is like.
    met: bool,
    /// Both know what the other lacks; what comes later is offered at once.
    compared: bool,
    rate: u8,
    pressure: u8,
    takes: bool,
    pool: Pool,
    /// What they have and we lack, until they have said what they give.
    lacking: Vec<ItemId>,
    asked: BTreeSet<ItemId>,
    /// What would have been asked for, had another link not been about to bring it.
    pub(super) postponed: BTreeMap<ItemId, Offer>,
    owed: VecDeque<ItemId>,
    in_flight: VecDeque<usize>,
    window_since: Moment,
    window_parcels: u32,
    window_bytes: u64,
    window_vaccines: usize,
}

impl Meeting {
    /// What is taken from one peer is counted anew from time to time.
    fn roll_window(&mut self, now: Moment) {
        if now.0.saturating_sub(self.window_since.0) >= STRANGER_WINDOW_MS {
            (self.window_since, self.window_parcels, self.window_bytes) = (now, 0, 0);
            self.window_vaccines = 0;
        }
    }

    /// Both sides have this now. Beyond the bound it is forgotten, and at worst offered once more.
    fn remember(&mut self, id: ItemId, item: Item) {
        if self.items.len() < RECONCILE_ITEMS_MAX {
            self.items.insert(id, item);
        }
    }
}

/// How far the comparison of both sets is.
enum Comparing {
    /// The other side's opening has not come.
    Waiting(SaltedSet),
    Running(Box<Reconciliation>),
    /// Over, or given up: what comes later is offered piece by piece.
    Over,
}

/// Something this side has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Item {
    Copy(Cid),
    Own(ChatId, u64),
    Vaccine(Tag),
}

impl Engine {
    /// Reads the settings and what is carried.
    pub(super) fn load_carried(&mut self, turn: &mut Turn) -> Result<(), StoreError> {
        let settings = match turn.value(Table::Meta, SETTINGS)? {
            Some(stored) => read_settings(&stored).ok_or(StoreError::Damaged { table: Table::Meta })?,
            None => CarrySettings::default(),
        };
        if let Some(stored) = turn.value(Table::Meta, RADIO_POWER)? {
            let known = stored.first().and_then(|mode| RADIO_POWERS.get(usize::from(*mode)));
            self.radio_power = *known.ok_or(StoreError::Damaged { table: Table::Meta })?;
        }
        let (carried, writes) = crate::carry::store::CarrierStore::open(turn.store(), settings)?;
        self.carried = carried;
        self.couriers_write(writes, turn);
        super::records::each(turn, Table::Publish, |key, value| {
            let (at, expires_at) = read_times(value)?;
            self.unpublished.insert((at, Preimage::read(key)?), expires_at);
            Some(())
        })?;
        self.arm_publishing(turn);
        self.timers.set(Timer::SweepCarried, turn.now.moment.after_ms(SWEEP_MS));
        Ok(())
    }

    /// Changes how much is carried for others.
    pub(super) fn set_carry(&mut self, settings: CarrySettings, turn: &mut Turn) -> super::Answer {
        let mut value = vec![u8::from(settings.enabled), settings.carriers];
        value.extend_from_slice(&settings.envelopes_max.to_be_bytes());
        value.extend_from_slice(&settings.bytes_max.to_be_bytes());
        turn.put(Table::Meta, SETTINGS, value);
        let writes = self.carried.set(settings);
        self.couriers_write(writes, turn);
        Ok(Reply::Mesh(self.mesh_view(turn.now.moment)))
    }

    /// Changes how much of the battery the radios get; the radios are told by who asked.
    pub(super) fn set_radio_power(&mut self, power: RadioPower, turn: &mut Turn) -> super::Answer {
        turn.put(Table::Meta, RADIO_POWER, vec![power as u8]);
        self.radio_power = power;
        Ok(Reply::Mesh(self.mesh_view(turn.now.moment)))
    }

    /// How much of the battery the radios get.
    pub fn radio_power(&self) -> RadioPower {
        self.radio_power
    }

    /// Another number whenever this device has other things to offer to whom it meets; the same after the same set, in
    /// whatever order it came. It never leaves the device as it is.
    pub fn held_fingerprint(&self) -> u64 {
        // Names are cut from hashes themselves.
        let of = |name: &[u8]| name.first_chunk().map_or(0, |head| u64::from_be_bytes(*head));
        let copies = self.carried.copies().map(|(cid, _)| of(&cid.0));
        let vaccines = self.carried.vaccines().map(|(tag, _)| of(&tag.0));
        // Whoever is linked is handed its mail on that link; nobody has to be told.
        let away = self.outbox.chats().into_iter().filter(|chat| self.best_link(chat).is_none());
        let lanes = away.filter_map(|chat| self.outbox.lane(&chat));
        let own = lanes.flat_map(|lane| lane.flights.values()).map(|flight| of(&flight.cid.0));
        let letters = self.groups.values().flat_map(|group| group.letter_names()).map(|letter| of(&letter.0));
        copies.chain(vaccines).chain(own).chain(letters).fold(0, |all, one| all ^ one)
    }

    /// What is carried, and with whom.
    pub(super) fn mesh_view(&mut self, now: Moment) -> MeshView {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        MeshView {
            settings: self.carried.settings(),
            radio_power: self.radio_power,
            carried: count(self.carried.len()),
            pinned: count(self.carried.pinned_count()),
            carried_bytes: self.carried.bytes(),
            vaccines: count(self.carried.vaccine_count()),
            waiting: self.outbox.messages(),
            appointed: count(self.carriers().len()),
            carries_for: count(self.sheets.len()),
            carriers: count(self.links.values().filter(|l| l.meeting.as_ref().is_some_and(|m| m.met)).count()),
            encounters_per_day: self.rate.per_day(now),
            handed_over: self.handed_over,
            taken: self.taken,
        }
    }

    pub(super) fn couriers_write(&mut self, writes: Vec<crate::store::Write>, turn: &mut Turn) {
        for write in writes {
            turn.extend_seen(write);
        }
    }

    /// Both ends have said hello and both can carry.
    pub(super) fn meet(&mut self, link: LinkId, turn: &mut Turn) {
        let Some(state) = self.links.get(&link) else { return };
        if !near(state.route) || state.meeting.is_some() || self.own.is_none() {
            return;
        }
        let (Some(mine), Some(theirs)) = (state.own_nonce, state.their_nonce) else { return };
        let (low, high) = if mine < theirs { (mine, theirs) } else { (theirs, mine) };
        let salt: [u8; 16] = trunc(&hash("silbo/1/encounter", &[&low, &high]));
        let radio = state.route == Route::Radio;
        let (peer, known) = (state.peer.clone(), state.chat.is_some());
        let name = self.pool_of(&peer);
        let pool = if known { Pool::KNOWN } else { name };
        let namer = Namer::new(salt);
        let items = self.items(&namer, radio, turn);
        let ids = items.keys().filter_map(|id| SaltedId::read(id)).take(RECONCILE_ITEMS_MAX);
        let Ok(set) = SaltedSet::of_ids(&salt, ids.collect()) else { return };
        let meet = Meet {
            rate: self.rate.per_day(turn.now.moment),
            pressure: self.carried.pressure(),
            takes: self.carried.settings().enabled,
            opening: Opening::of(&set).encode().to_vec(),
        };
        let meeting = Meeting {
            namer,
            name,
            items,
            comparing: Comparing::Waiting(set),
            met: false,
            compared: false,
            rate: 0,
            pressure: 0,
            takes: false,
            pool,
            lacking: Vec::new(),
            asked: BTreeSet::new(),
            postponed: BTreeMap::new(),
            owed: VecDeque::new(),
            in_flight: VecDeque::new(),
            window_since: turn.now.moment,
            window_parcels: 0,
            window_bytes: 0,
            window_vaccines: 0,
        };
        if let Some(state) = self.links.get_mut(&link) {
            state.meeting = Some(Box::new(meeting));
        }
        turn.frame(link, &Frame::Meet(meet));
    }

    /// Fairness needs to tell peers apart for as long as this run lasts, and no longer.
    fn pool_of(&mut self, peer: &PeerKey) -> Pool {
        let key = self.run_key();
        let name: [u8; 8] = trunc(&hash("silbo/1/pool", &[&key, &peer.0]));
        Pool(u64::from_be_bytes(name).max(1))
    }

    pub(super) fn run_key(&mut self) -> [u8; 16] {
        *self.run_key.get_or_insert_with(|| self.chance.bytes::<16>())
    }

    /// Counts an encounter, unless the two have only just parted.
    fn count_encounter(&mut self, name: Pool, now: Moment) {
        self.last_met.retain(|_, at| at.after_ms(SAME_ENCOUNTER_MS) > now);
        if self.last_met.insert(name, now).is_none() {
            self.rate.count(now);
        }
    }

    /// Everything that may be offered on a link, by its name in this encounter.
    fn items(&self, namer: &Namer, radio: bool, turn: &Turn) -> BTreeMap<ItemId, Item> {
        let now = turn.now.unix;
        let mut items = BTreeMap::new();
        for (cid, copy) in self.carried.copies() {
            if copy.expires_at > now && (radio || !copy.no_infra) {
                items.insert(namer.envelope(&copy.tag, cid), Item::Copy(*cid));
            }
        }
        for (tag, vaccine) in self.carried.vaccines() {
            if vaccine.expires_at > now {
                items.insert(namer.vaccine(tag), Item::Vaccine(*tag));
            }
        }
        for chat in self.outbox.chats() {
            for seq in self.own_mail(&chat, turn.now.moment) {
                let Some(flight) = self.outbox.flight(&chat, seq) else { continue };
                if radio || !flight.no_infra {
                    items.insert(namer.envelope(&flight.tag, &flight.cid), Item::Own(chat, seq));
                }
            }
        }
        items
    }

    /// Own envelopes that nobody has receipted for a while and that carriers may take.
    fn own_mail(&self, chat: &ChatId, now: Moment) -> Vec<u64> {
        let Some(lane) = self.outbox.lane(chat).filter(|_| self.may_send(chat)) else { return Vec::new() };
        let linked = self.best_link(chat).is_some();
        let ready = lane.flights.iter().filter(|(_, f)| {
            let patient = linked && f.direct_since.is_none_or(|since| since.after_ms(DIRECT_PATIENCE_MS) > now);
            !patient && f.carried && f.size <= CARRIED_TEXT_BYTES_MAX
        });
        ready.map(|(seq, _)| *seq).collect()
    }

    pub(super) fn meet_arrived(&mut self, link: LinkId, meet: Meet, turn: &mut Turn) -> Result<(), StoreError> {
        // Their Meet can overtake nothing: it follows their Hello on the same link.
        self.meet(link, turn);
        let now = turn.now.moment;
        let Some(meeting) = self.links.get_mut(&link).and_then(|l| l.meeting.as_deref_mut()) else { return Ok(()) };
        if std::mem::replace(&mut meeting.met, true) {
            return Ok(());
        }
        (meeting.rate, meeting.pressure, meeting.takes) = (meet.rate, meet.pressure, meet.takes);
        let name = meeting.name;
        let waiting = std::mem::replace(&mut meeting.comparing, Comparing::Over);
        let (Comparing::Waiting(set), Some(opening)) = (waiting, Opening::decode(&meet.opening)) else { return Ok(()) };
        let (running, answers) = Reconciliation::start(set, &opening);
        meeting.comparing = Comparing::Running(Box::new(running));
        self.count_encounter(name, now);
        for answer in answers {
            turn.frame(link, &Frame::Reconcile(answer.encode()));
        }
        self.perhaps_compared(link, turn)
    }

    pub(super) fn reconcile_arrived(&mut self, link: LinkId, bytes: &[u8], turn: &mut Turn) -> Result<(), StoreError> {
        let Some(meeting) = self.links.get_mut(&link).and_then(|l| l.meeting.as_deref_mut()) else { return Ok(()) };
        let Comparing::Running(running) = &mut meeting.comparing else { return Ok(()) };
        let mut answers = Vec::new();
        let taken = Message::decode(bytes).is_ok_and(|message| running.handle(message, &mut answers).is_ok());
        if !taken {
            meeting.comparing = Comparing::Over;
        }
        for answer in answers {
            turn.frame(link, &Frame::Reconcile(answer.encode()));
        }
        self.perhaps_compared(link, turn)
    }

    /// The comparison is over: hand out proofs and offers, ask for what is ours.
    fn perhaps_compared(&mut self, link: LinkId, turn: &mut Turn) -> Result<(), StoreError> {
        let Some(meeting) = self.links.get_mut(&link).and_then(|l| l.meeting.as_deref_mut()) else { return Ok(()) };
        let Comparing::Running(running) = &meeting.comparing else { return Ok(()) };
        let Some(difference) = running.difference() else { return Ok(()) };
        let ids = |ids: &[SaltedId]| ids.iter().map(|id| id.to_bytes()).collect::<Vec<ItemId>>();
        let (ours, theirs) = (ids(&difference.mine), ids(&difference.theirs));
        meeting.comparing = Comparing::Over;
        meeting.compared = true;
        let mut vaccines = Vec::new();
        let mut offers = Vec::new();
        for id in &ours {
            match meeting.items.get(id) {
                Some(Item::Vaccine(tag)) => vaccines.push(*tag),
                Some(item) => offers.push((*id, *item)),
                None => {}
            }
        }
        meeting.lacking = theirs;
        self.send_vaccines(link, &vaccines, turn);
        self.offer(link, &offers, true, turn);
        Ok(())
    }

    /// Which of these names are of envelopes for this device or asked for by a sheet it keeps, and how far they are.
    fn recognised(&self, ids: &[ItemId]) -> BTreeMap<ItemId, u8> {
        let distance = |id: &ItemId| {
            let [a, b, c, d, ..] = *id;
            let (first, last) =
                (Tag([a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0]), Tag([a, b, c, d, !0, !0, !0, !0, !0, !0, !0, !0]));
            match self.tags.has_any(first..=last) {
                true => Some(0),
                false => self.sheets.values().filter_map(|sheet| sheet.depth_of_prefix([a, b, c, d])).min(),
            }
        };
        ids.iter().filter_map(|id| Some((*id, distance(id)?))).collect()
    }

    /// Own envelopes to a contact that have not arrived: their sequence numbers and sizes.
    pub(super) fn waiting_mail(&self, chat: &ChatId) -> Vec<(u64, usize)> {
        let Some(lane) = self.outbox.lane(chat).filter(|_| self.may_send(chat)) else { return Vec::new() };
        let fits = lane.flights.iter().filter(|(_, f)| f.size <= CARRIED_TEXT_BYTES_MAX);
        fits.map(|(seq, f)| (*seq, f.size)).collect()
    }

    /// Says what there is for whoever wants it. The first time it is said even if there is nothing: the other side asks
    /// for everything at once, so that nobody sees what it would have asked for anyway.
    fn offer(&mut self, link: LinkId, items: &[(ItemId, Item)], first: bool, turn: &mut Turn) {
        let Some(state) = self.links.get(&link) else { return };
        let Some(meeting) = state.meeting.as_deref().filter(|m| m.compared) else { return };
        let (contact, takes) = (state.chat, meeting.takes);
        let (their_rate, their_pressure) = (meeting.rate, meeting.pressure);
        let (own_rate, now) = (self.rate.per_day(turn.now.moment), turn.now.unix);
        let mut offers: Vec<(u8, Offer)> = Vec::new();
        for (id, item) in items {
            let found = match item {
                Item::Copy(cid) => self
                    .carried
                    .copy(cid)
                    .map(|c| (c.copies, c.size, c.class, c.urgent, routing::is_late(c.born_at, c.expires_at, now))),
                // The direct link gives the contact its own mail.
                Item::Own(chat, _) if contact == Some(*chat) => None,
                Item::Own(chat, seq) => self.outbox.flight(chat, *seq).map(|f| {
                    let late = routing::is_late(f.created_at, f.expires_at, now);
                    (own_copies(f), u32::try_from(f.size).unwrap_or(u32::MAX), f.class, false, late)
                }),
                Item::Vaccine(_) => None,
            };
            let Some((copies, size, class, urgent, late)) = found else { continue };
            let gives = takes && !late && routing::gives(copies, own_rate, their_rate, their_pressure);
            // What both compared is known to the other side by name; only what is given needs saying.
            if gives || !first {
                // Control before urgent before the rest.
                let order = (class as u8) * 2 + u8::from(!urgent);
                offers.push((order, Offer { id: *id, copies, size, gives }));
            }
        }
        // Then what there are few of, and small before large.
        offers.sort_by_key(|(order, offer)| (*order, offer.copies, offer.size, offer.id));
        let offers: Vec<Offer> = offers.into_iter().map(|(_, offer)| offer).collect();
        if first && offers.is_empty() {
            turn.frame(link, &Frame::Have(Vec::new()));
        }
        for part in offers.chunks(ENCOUNTER_IDS_PER_FRAME_MAX) {
            turn.frame(link, &Frame::Have(part.to_vec()));
        }
    }

    pub(super) fn have_arrived(&mut self, link: LinkId, offers: &[Offer], turn: &mut Turn) {
        let Some(meeting) = self.links.get_mut(&link).and_then(|l| l.meeting.as_deref_mut()) else { return };
        if meeting.met {
            let lacking = std::mem::take(&mut meeting.lacking);
            self.ask_for(link, offers, lacking, Asking::One, turn);
        }
    }

    /// Asks for what is welcome of these offers, and for what is recognised or drawn of what was not offered.
    pub(super) fn ask_for(
        &mut self,
        link: LinkId,
        offers: &[Offer],
        lacking: Vec<ItemId>,
        asking: Asking,
        turn: &mut Turn,
    ) {
        let carries = self.carried.settings().enabled;
        let Some(meeting) = self.links.get(&link).and_then(|l| l.meeting.as_deref()) else { return };
        let namer = meeting.namer;
        let unknown = |id: &ItemId| !meeting.items.contains_key(id) && !meeting.asked.contains(id);
        let fits = |o: &&Offer| o.gives && carries && o.size as usize <= CARRIED_TEXT_BYTES_MAX && unknown(&o.id);
        let given: Vec<Offer> = offers.iter().filter(fits).copied().collect();
        let others = offers.iter().filter(|o| !o.gives).map(|o| o.id).chain(lacking);
        let others: BTreeSet<ItemId> = others.filter(|id| unknown(id)).collect();
        let all: Vec<ItemId> = given.iter().map(|o| o.id).chain(others.iter().copied()).collect();
        let near = self.recognised(&all);
        let refused: BTreeSet<ItemId> =
            self.carried.refused(turn.now.unix).map(|(tag, cid)| namer.envelope(tag, cid)).collect();
        let weight = |o: &Offer| {
            let distance = near.get(&o.id).copied().unwrap_or(routing::DISTANCE_MAX);
            (distance, routing::weight_offered(distance, o.copies.saturating_add(1), turn.now.unix))
        };
        let weights: Vec<_> = given.iter().map(weight).collect();
        let taken = self.carried.would_take(&weights);
        let welcome = |(o, taken): &(&Offer, bool)| near.get(&o.id) == Some(&0) || (*taken && !refused.contains(&o.id));
        // In the order of the offer what is small and matters comes first; what was not offered follows.
        let mut want: Vec<ItemId> = given.iter().zip(taken).filter(welcome).map(|(o, _)| o.id).collect();
        let settled: BTreeSet<ItemId> = given.iter().map(|o| o.id).collect();
        let mut indifferent = Vec::new();
        for id in others.into_iter().filter(|id| !settled.contains(id)) {
            match near.get(&id) {
                Some(0) => want.push(id),
                _ if refused.contains(&id) => {}
                Some(_) => want.push(id),
                None => indifferent.push(id),
            }
        }
        // One at most: cover that is thrown away for want of room costs as much as mail.
        let drawn = usize::try_from(self.chance.below(routing::COVER_ASK_ONE_IN.max(indifferent.len() as u64)));
        if let Some(cover) = drawn.ok().and_then(|at| indifferent.get(at)).filter(|_| carries) {
            want.push(*cover);
        }
        let Some(meeting) = self.links.get_mut(&link).and_then(|l| l.meeting.as_deref_mut()) else { return };
        want.truncate(ENCOUNTER_ASKED_MAX.saturating_sub(meeting.asked.len()));
        let (later, want): (Vec<ItemId>, Vec<ItemId>) = want
            .into_iter()
            .partition(|id| self.coming.elsewhere_or_ask(id, link, turn.now.moment) && asking == Asking::One);
        meeting.asked.extend(want.iter().copied());
        meeting.postponed.retain(|id, _| !meeting.asked.contains(id));
        let offered: BTreeMap<ItemId, Offer> = offers.iter().map(|offer| (offer.id, *offer)).collect();
        for id in later {
            let offered = offered.get(&id).copied();
            if meeting.postponed.len() < ENCOUNTER_ASKED_MAX {
                meeting.postponed.insert(id, offered.unwrap_or(Offer { id, copies: 0, size: 0, gives: false }));
            }
        }
        let postponed = !meeting.postponed.is_empty();
        for part in want.chunks(ENCOUNTER_IDS_PER_FRAME_MAX) {
            turn.frame(link, &Frame::Want(part.to_vec()));
        }
        if postponed {
            self.arm_asking(turn.now.moment);
        }
    }

    pub(super) fn want_arrived(&mut self, link: LinkId, ids: &[ItemId], turn: &mut Turn) -> Result<(), StoreError> {
        let Some(meeting) = self.links.get_mut(&link).and_then(|l| l.meeting.as_deref_mut()) else { return Ok(()) };
        for id in ids {
            let giveable = matches!(meeting.items.get(id), Some(Item::Copy(_) | Item::Own(..)));
            if giveable && meeting.owed.len() < ENCOUNTER_IDS_PER_FRAME_MAX && !meeting.owed.contains(id) {
                meeting.owed.push_back(*id);
            }
        }
        self.hand_over(link, turn)
    }

    pub(super) fn parcels_taken(&mut self, link: LinkId, count: u32, turn: &mut Turn) -> Result<(), StoreError> {
        let Some(meeting) = self.links.get_mut(&link).and_then(|l| l.meeting.as_deref_mut()) else { return Ok(()) };
        let taken = meeting.in_flight.len().min(count as usize);
        meeting.in_flight.drain(..taken);
        self.hand_over(link, turn)
    }

    /// Sends what is owed, as far as the other side keeps up. A copy is counted before it leaves.
    fn hand_over(&mut self, link: LinkId, turn: &mut Turn) -> Result<(), StoreError> {
        loop {
            let mut parcels = Vec::new();
            let mut bytes = 0;
            while parcels.len() < PARCELS_PER_FRAME && bytes < PARCEL_FRAME_BYTES {
                let Some(meeting) = self.links.get_mut(&link).and_then(|l| l.meeting.as_deref_mut()) else { break };
                let in_flight_bytes = meeting.in_flight.iter().sum::<usize>() + bytes;
                if meeting.in_flight.len() + parcels.len() >= PARCELS_IN_FLIGHT_MAX
                    || in_flight_bytes >= PARCELS_IN_FLIGHT_BYTES_MAX
                {
                    break;
                }
                let Some(id) = meeting.owed.pop_front() else { break };
                let Some(item) = meeting.items.get(&id).copied() else { continue };
                let Some(parcel) = self.parcel(item, turn)? else { continue };
                bytes += parcel.envelope.len();
                parcels.push(parcel);
            }
            if parcels.is_empty() {
                return Ok(());
            }
            if let Some(meeting) = self.links.get_mut(&link).and_then(|l| l.meeting.as_deref_mut()) {
                meeting.in_flight.extend(parcels.iter().map(|parcel| parcel.envelope.len()));
            }
            self.handed_over += parcels.len() as u64;
            turn.frame(link, &Frame::Parcels(parcels));
        }
    }

    pub(super) fn parcel(&mut self, item: Item, turn: &mut Turn) -> Result<Option<WireParcel>, StoreError> {
        match item {
            Item::Vaccine(_) => Ok(None),
            Item::Copy(cid) => {
                let Some(copy) = self.carried.copy(&cid).copied() else { return Ok(None) };
                let Some(envelope) = turn.value(Table::Carried, cid.as_bytes())? else {
                    // The spool made room by itself.
                    let writes = self.carried.forget(&cid);
                    self.couriers_write(writes, turn);
                    return Ok(None);
                };
                let copies = copy.copies.saturating_add(1);
                let write = self.carried.change(&cid, |copy| copy.copies = copies);
                self.couriers_write(write.into_iter().collect(), turn);
                let age_min = copy.age_min(turn.now.unix);
                Ok(Some(WireParcel { copies, hops: copy.hops, age_min, envelope }))
            }
            Item::Own(chat, seq) => {
                let Some(record) = self.outbox_record(&chat, seq, turn)? else { return Ok(None) };
                let Some(flight) = self.outbox.flight_mut(&chat, seq) else { return Ok(None) };
                let first = flight.sprayed == 0;
                flight.sprayed = flight.sprayed.saturating_add(1);
                let (copies, hops, disguise_min) = routing::disguise(own_copies(flight), &mut self.chance);
                let (sprayed, message, of) = (flight.sprayed, flight.message, flight.group.unwrap_or(chat));
                let waited = turn.now.unix.0.saturating_sub(flight.created_at.0) / MINUTE_MS;
                let age_min = disguise_min.saturating_add(u32::try_from(waited).unwrap_or(u32::MAX));
                turn.put(Table::Spray, &entry_key(&chat, seq), sprayed.to_be_bytes().to_vec());
                if let Some(id) = message.filter(|_| first) {
                    let hop = HopRecord {
                        at: turn.now.unix.0,
                        what: "carried".to_owned(),
                        path: crate::conversation::path_code(Some(Path::Courier)),
                        ..HopRecord::default()
                    };
                    self.add_hop(&of, &id, hop, turn)?;
                }
                Ok(Some(WireParcel { copies, hops, age_min, envelope: record.envelope }))
            }
        }
    }

    pub(super) fn parcels_arrived(
        &mut self,
        link: LinkId,
        parcels: Vec<WireParcel>,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let count = u32::try_from(parcels.len()).unwrap_or(u32::MAX);
        for parcel in parcels {
            self.parcel_arrived(link, &parcel, turn)?;
        }
        turn.frame(link, &Frame::Taken(count));
        Ok(())
    }

    fn parcel_arrived(&mut self, link: LinkId, parcel: &WireParcel, turn: &mut Turn) -> Result<(), StoreError> {
        let Ok(envelope) = Envelope::parse(&parcel.envelope) else { return Ok(()) };
        let cid = crate::crypto::hash::cid(&parcel.envelope);
        let Some(state) = self.links.get_mut(&link) else { return Ok(()) };
        let stranger = state.chat.is_none();
        let Some(meeting) = state.meeting.as_deref_mut() else { return Ok(()) };
        let id = meeting.namer.envelope(&envelope.tag, &cid);
        // Only what was asked for, once.
        if !meeting.asked.remove(&id) || meeting.items.contains_key(&id) {
            return Ok(());
        }
        self.coming.arrived(&envelope.tag);
        meeting.roll_window(turn.now.moment);
        meeting.window_parcels = meeting.window_parcels.saturating_add(1);
        meeting.window_bytes = meeting.window_bytes.saturating_add(parcel.envelope.len() as u64);
        let too_much =
            stranger && (meeting.window_parcels > STRANGER_PARCELS_MAX || meeting.window_bytes > STRANGER_BYTES_MAX);
        let pool = meeting.pool;
        let mine = self.tags.has(&envelope.tag);
        if too_much && !mine {
            return Ok(());
        }
        self.taken += 1;
        if let Some(TagOwner::Group(chat, _)) = self.tags.get(&envelope.tag).copied() {
            self.note_way(link, chat, cid);
        }
        let (_, kept) = self.take_in(parcel, &envelope.tag, pool, Some(link), turn)?;
        if matches!(kept, Ok(()) | Err(Refusal::Known))
            && let Some(meeting) = self.links.get_mut(&link).and_then(|l| l.meeting.as_deref_mut())
        {
            meeting.remember(id, Item::Copy(cid));
        }
        Ok(())
    }

    /// Opens what a carrier or a bag brought, if it is ours, and carries it on either way. Says whether it was ours, and
    /// what the carrier store made of it.
    pub(super) fn take_in(
        &mut self,
        parcel: &WireParcel,
        tag: &Tag,
        pool: Pool,
        from: Option<LinkId>,
        turn: &mut Turn,
    ) -> Result<(bool, Result<(), Refusal>), StoreError> {
        let distance = self.distance(tag);
        let opened = self.opened_from_carrier(&parcel.envelope, turn)?;
        // What has arrived is carried on for others to see, and is the first to go when room is needed.
        let distance = if opened { routing::DISTANCE_MAX } else { distance };
        let travelled = Parcel { copies: parcel.copies, hops: parcel.hops, age_min: parcel.age_min };
        let kept = self.carried.put(&parcel.envelope, travelled, distance, pool, turn.now.unix);
        let kept = kept.map(|(cid, writes)| {
            self.couriers_write(writes, turn);
            self.tell_others(from, *tag, cid, turn);
        });
        Ok((opened, kept))
    }

    /// An envelope came by a carrier or in a bag: if it is ours it is opened, and its receipt will be published.
    pub(super) fn opened_from_carrier(&mut self, envelope: &[u8], turn: &mut Turn) -> Result<bool, StoreError> {
        let Outcome::Done { preimage } = self.envelope(envelope, Source::Courier, turn)? else { return Ok(false) };
        let parsed = Envelope::parse(envelope).map(|e| e.head);
        let expires_at = parsed.map_or(turn.now.unix, |head| vaccine_end(&head, turn.now.unix));
        self.publish_later(preimage, expires_at, turn);
        Ok(true)
    }

    /// Something new is here: whoever is met already may want it.
    fn tell_others(&mut self, except: Option<LinkId>, tag: Tag, cid: Cid, turn: &mut Turn) {
        let links: Vec<LinkId> = self.links.keys().copied().filter(|link| Some(*link) != except).collect();
        for link in links {
            self.tell(link, tag, cid, Item::Copy(cid), turn);
        }
    }

    fn tell(&mut self, link: LinkId, tag: Tag, cid: Cid, item: Item, turn: &mut Turn) {
        let Some(state) = self.links.get_mut(&link) else { return };
        let radio = state.route == Route::Radio;
        let Some(meeting) = state.meeting.as_deref_mut().filter(|m| m.compared) else { return };
        let no_infra = match item {
            Item::Copy(cid) => self.carried.copy(&cid).is_some_and(|c| c.no_infra),
            Item::Own(chat, seq) => self.outbox.flight(&chat, seq).is_some_and(|f| f.no_infra),
            Item::Vaccine(_) => false,
        };
        let id = meeting.namer.envelope(&tag, &cid);
        if meeting.postponed.remove(&id).is_some() {
            // They have it, and it came by another link meanwhile.
            meeting.remember(id, item);
            return;
        }
        if (no_infra && !radio) || meeting.items.contains_key(&id) {
            return;
        }
        meeting.remember(id, item);
        self.offer(link, &[(id, item)], false, turn);
    }

    /// Own mail that has waited long enough is offered to whoever is met already.
    pub(super) fn offer_own(&mut self, chat: ChatId, turn: &mut Turn) {
        let met: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, l)| l.meeting.as_deref().is_some_and(|m| m.compared))
            .map(|(link, _)| *link)
            .collect();
        if met.is_empty() {
            return;
        }
        for seq in self.own_mail(&chat, turn.now.moment) {
            let Some((tag, cid)) = self.outbox.flight(&chat, seq).map(|f| (f.tag, f.cid)) else { continue };
            for link in &met {
                self.tell(*link, tag, cid, Item::Own(chat, seq), turn);
            }
        }
    }

    /// Drops what has expired, and what the spool has made needless.
    pub(super) fn sweep_carried(&mut self, turn: &mut Turn) {
        let writes = self.carried.sweep(turn.now.unix, SWEEP_BATCH);
        let pause = if writes.len() >= SWEEP_BATCH { 1_000 } else { SWEEP_MS };
        self.couriers_write(writes, turn);
        let now = turn.now.moment;
        for (_, preimage) in self.published.extract_if(.., |(at, _)| *at < now) {
            turn.delete(Table::Publish, preimage.as_bytes());
        }
        let (carried, outbox) = (&self.carried, &self.outbox);
        for meeting in self.links.values_mut().filter_map(|l| l.meeting.as_deref_mut()) {
            // A link may last for weeks.
            meeting.items.retain(|_, item| match item {
                Item::Copy(cid) => carried.copy(cid).is_some(),
                Item::Own(chat, seq) => outbox.flight(chat, *seq).is_some(),
                Item::Vaccine(tag) => carried.vaccine(tag).is_some(),
            });
        }
        self.timers.set(Timer::SweepCarried, turn.now.moment.after_ms(pause));
    }
}

/// Links on which carriers meet.
pub(super) fn near(route: Route) -> bool {
    matches!(route, Route::Radio | Route::Local)
}

/// Copies there are of an envelope of our own, this one included.
fn own_copies(flight: &Flight) -> u8 {
    u8::try_from(flight.sprayed.saturating_add(1)).unwrap_or(u8::MAX)
}

fn read_settings(bytes: &[u8]) -> Option<CarrySettings> {
    let ([enabled, carriers], rest) = bytes.split_first_chunk()?;
    let (envelopes_max, rest) = rest.split_first_chunk()?;
    Some(CarrySettings {
        enabled: *enabled != 0,
        carriers: *carriers,
        envelopes_max: u32::from_be_bytes(*envelopes_max),
        bytes_max: u64::from_be_bytes(rest.try_into().ok()?),
    })
}

#[cfg(test)]
#[path = "couriers_tests.rs"]
mod tests;
