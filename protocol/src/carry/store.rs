//! The carrier store: sealed envelopes of others that this device carries, and the vaccines that end their journey.
//!
//! ```text
//!   put ──▶ Copy (copies, hops, age) ──▶ offered at encounters ──▶ expired │ vaccinated │ evicted
//! ```
//! The index is in memory, the bytes are in the store: [`Table::Carried`] holds an envelope under its content id,
//! [`Table::CarriedState`] what changes about it, [`Table::Vaccine`] published preimages under their tag. All three are
//! in the spool: nothing in them says whose an envelope is, who handed it over or when.
//!
//! Full is an answer. When a pool is over its share its own copies make room first, so that nobody who hands over a lot
//! can push out what others handed over; then the copy with the largest [`routing::weight`] goes. What friends have asked
//! this device to pick up for them is *pinned*: it has a quota of its own and is no part of the rest.

use std::collections::{BTreeMap, BTreeSet};

use crate::carry::routing::{self, Weight};
use crate::crypto::hash::cid;
use crate::ids::{Cid, Preimage, Tag};
use crate::limits::{
    BODIES_PER_TAG_MAX, CARRIED_BULK_BYTES_MAX, CARRIED_BYTES_MAX, CARRIED_ENVELOPES_MAX, CARRIED_HOPS_MAX,
    CARRIED_TEXT_BYTES_MAX, PINNED_BYTES_MAX, PINNED_ENVELOPES_MAX, POOL_SHARE_MIN, POOL_SHARE_PERCENT, VACCINES_MAX,
};
use crate::session::tag_of;
use crate::store::{Store, StoreError, Table, Write};
use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS, UnixTime};
use crate::wire::envelope::{Class, Envelope};

/// How much clocks may disagree before mail counts as expired by its expiry hour, and what that hour was rounded by.
const CLOCK_TOLERANCE_MS: u64 = 3 * HOUR_MS;
/// By the time it says it has travelled an envelope counts as expired sooner: no clocks are compared, and it only looks
/// older than it is by what its writer made up.
const AGE_TOLERANCE_MS: u64 = routing::DISGUISE_MINUTES_MAX * MINUTE_MS;
/// A vaccine outlives any copy it was made for.
const VACCINE_AGE_MS: u64 = 30 * DAY_MS;
/// What there was no room for is not asked for again for so long, or it would come back at every encounter.
const REFUSED_MS: u64 = 12 * HOUR_MS;
/// The distance of what a friend has asked this device to pick up for it.
const PINNED_DISTANCE: u8 = 1;
/// Envelopes that are remembered as refused.
const REFUSED_MAX: usize = 4_096;
/// Pairs read at a time while opening.
const PAGE: usize = 512;
/// Length of a record of [`Table::CarriedState`].
const STATE_BYTES: usize = 1 + 1 + 8 + 8;
/// Length of a record of [`Table::Vaccine`].
const VACCINE_BYTES: usize = Preimage::LEN + 8;

/// How much this device is willing to carry for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CarrySettings {
    /// False: carries nothing for others; own mail still travels with those who carry.
    pub enabled: bool,
    /// Most envelopes.
    pub envelopes_max: u32,
    /// Most bytes of envelopes.
    pub bytes_max: u64,
    /// How many contacts carry for this device because it spends most time with them; 0 leaves it to the person.
    pub carriers: u8,
}

impl Default for CarrySettings {
    fn default() -> Self {
        Self { enabled: true, envelopes_max: CARRIED_ENVELOPES_MAX, bytes_max: CARRIED_BYTES_MAX, carriers: 0 }
    }
}

/// Who handed a copy over, as far as fairness needs it: a name that means nothing outside this run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pool(pub u64);

impl Pool {
    /// Contacts, bags, and what was here before this run.
    pub const KNOWN: Self = Self(0);
}

/// What is known of a copy apart from its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Its tag.
    pub tag: Tag,
    /// What kind of content.
    pub class: Class,
    /// May only travel over radios between devices.
    pub no_infra: bool,
    /// Asks for early transfer.
    pub urgent: bool,
    /// Bytes of the envelope.
    pub size: u32,
    /// From then on nobody offers it.
    pub expires_at: UnixTime,
    /// When it set out, as its carriers counted: a property of the envelope, not of this device.
    pub born_at: UnixTime,
    /// Copies there are of it, as far as this one knows, itself included.
    pub copies: u8,
    /// Devices it has passed through.
    pub hops: u8,
    /// How far it is from who wants it, see `routing`. Not stored: it would say something about people.
    pub distance: u8,
    /// Who handed it over.
    pub pool: Pool,
    /// Kept for a friend, in the quota for that.
    pub pinned: bool,
}

impl Copy {
    /// Minutes it has travelled.
    pub fn age_min(&self, now: UnixTime) -> u32 {
        u32::try_from(now.0.saturating_sub(self.born_at.0) / MINUTE_MS).unwrap_or(u32::MAX)
    }
}

/// What comes with an envelope from a carrier; none of it is authenticated, all of it is clamped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parcel {
    /// Copies there are of it, the taker's included.
    pub copies: u8,
    /// Devices it has passed through.
    pub hops: u8,
    /// Minutes it has travelled.
    pub age_min: u32,
}

/// Why a copy was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// This device carries nothing for others.
    #[error("this device carries nothing for others")]
    Off,
    /// Not an envelope, or not of a kind that is carried.
    #[error("this is not an envelope that is carried")]
    Malformed,
    /// Too large to be carried.
    #[error("the envelope is too large to be carried")]
    TooLarge,
    /// Its time is over, or it passed through too many devices.
    #[error("the envelope has travelled long enough")]
    Expired,
    /// It has arrived already.
    #[error("the envelope has arrived already")]
    Vaccinated,
    /// It is here already, or other bodies with its tag are.
    #[error("the envelope is carried already")]
    Known,
    /// What is carried is worth more.
    #[error("the carrier store is full")]
    Full,
}

/// A published preimage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vaccine {
    /// It proves that the envelope with the tag `H(P)` has arrived.
    pub preimage: Preimage,
    /// Until when it is kept.
    pub expires_at: UnixTime,
}

/// The carried envelopes of one device.
#[derive(Debug, Default)]
pub struct CarrierStore {
    settings: CarrySettings,
    copies: BTreeMap<Cid, Copy>,
    by_tag: BTreeMap<Tag, Vec<Cid>>,
    vaccines: BTreeMap<Tag, Vaccine>,
    /// Vaccines by when they end, so that the oldest makes room.
    vaccine_ends: BTreeSet<(UnixTime, Tag)>,
    /// What is not pinned, by weight: the last goes first.
    order: BTreeSet<(Weight, Cid)>,
    /// What is pinned, and its bytes.
    pinned: BTreeSet<(Weight, Cid)>,
    pinned_bytes: u64,
    /// The copies of each stranger.
    pools: BTreeMap<Pool, BTreeSet<(Weight, Cid)>>,
    pool_sizes: BTreeSet<(usize, Pool)>,
    /// Envelopes there was no room for, and until when they are not asked for again.
    refused: BTreeMap<(Tag, Cid), UnixTime>,
    bytes: u64,
}

impl CarrierStore {
    /// Reads what was spooled; [`CarrierStore::set_distances`] then says what is pinned, and drops what is too much. Records that do not decode are removed: the spool is replicated by design.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn open(store: &dyn Store, settings: CarrySettings) -> Result<(Self, Vec<Write>), StoreError> {
        let mut carried = Self { settings, ..Self::default() };
        let mut writes = Vec::new();
        each(store, Table::Vaccine, |key, value| {
            match Tag::read(key).zip(read_vaccine(value)).filter(|(tag, v)| tag_of(&v.preimage) == *tag) {
                Some((tag, vaccine)) => {
                    carried.vaccine_ends.insert((vaccine.expires_at, tag));
                    carried.vaccines.insert(tag, vaccine);
                }
                None => writes.push(delete(Table::Vaccine, key)),
            }
            Ok(())
        })?;
        each(store, Table::CarriedState, |key, value| {
            let read = Cid::read(key).zip(read_state(value));
            let Some((cid, state)) = read else {
                writes.push(delete(Table::CarriedState, key));
                return Ok(());
            };
            let envelope = store.value(Table::Carried, key)?;
            match envelope.as_deref().and_then(|bytes| copy_of(bytes, state)) {
                Some(copy) if !carried.vaccines.contains_key(&copy.tag) => carried.insert(cid, copy),
                _ => {
                    writes.push(delete(Table::CarriedState, key));
                    writes.push(delete(Table::Carried, key));
                }
            }
            Ok(())
        })?;
        // A crash between two spool batches can leave bytes without state: nobody knows them any more.
        each(store, Table::Carried, |key, _| {
            if Cid::read(key).is_none_or(|cid| !carried.copies.contains_key(&cid)) {
                writes.push(delete(Table::Carried, key));
            }
            Ok(())
        })?;
        Ok((carried, writes))
    }

    /// The settings in force.
    pub fn settings(&self) -> CarrySettings {
        self.settings
    }

    /// Changes how much is carried; what is over the new bounds is dropped.
    pub fn set(&mut self, settings: CarrySettings) -> Vec<Write> {
        self.settings = settings;
        let mut writes = Vec::new();
        if !settings.enabled {
            let all: Vec<Cid> = self.copies.keys().copied().collect();
            for cid in all {
                self.remove(&cid, &mut writes);
            }
        }
        while self.pinned.len() > self.pinned_max() || self.pinned_bytes > self.pinned_bytes_max() {
            let Some((_, cid)) = self.pinned.last().copied() else { break };
            self.relink(&cid, |copy| copy.pinned = false);
        }
        self.trim(&mut writes);
        writes
    }

    /// Drops what does not fit any more.
    fn trim(&mut self, writes: &mut Vec<Write>) {
        while self.over(0, 0) {
            let Some((_, cid)) = self.order.last().copied() else { break };
            self.remove(&cid, writes);
        }
    }

    /// Envelopes carried.
    pub fn len(&self) -> usize {
        self.copies.len()
    }

    /// True when nothing is carried.
    pub fn is_empty(&self) -> bool {
        self.copies.is_empty()
    }

    /// Bytes of envelopes carried.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Envelopes of them that are kept for friends.
    pub fn pinned_count(&self) -> usize {
        self.pinned.len()
    }

    /// Vaccines kept.
    pub fn vaccine_count(&self) -> usize {
        self.vaccines.len()
    }

    /// How full it is, from 0 to 255, not counting what is pinned.
    pub fn pressure(&self) -> u8 {
        let of = |used: u64, max: u64| used.saturating_mul(255).checked_div(max).unwrap_or(255).min(255);
        let fullest = of(self.order.len() as u64, u64::from(self.settings.envelopes_max))
            .max(of(self.bytes.saturating_sub(self.pinned_bytes), self.settings.bytes_max));
        u8::try_from(fullest).unwrap_or(u8::MAX)
    }

    /// Every copy, by content id.
    pub fn copies(&self) -> impl Iterator<Item = (&Cid, &Copy)> {
        self.copies.iter()
    }

    /// Every vaccine, by tag.
    pub fn vaccines(&self) -> impl Iterator<Item = (&Tag, &Vaccine)> {
        self.vaccines.iter()
    }

    /// True when an envelope is here, or known to have arrived, whose tag begins like this.
    pub fn knows(&self, [a, b, c, d]: [u8; 4]) -> bool {
        let range = Tag([a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0])..=Tag([a, b, c, d, !0, !0, !0, !0, !0, !0, !0, !0]);
        self.by_tag.range(range.clone()).next().is_some() || self.vaccines.range(range).next().is_some()
    }

    /// The envelopes under a tag.
    pub fn named(&self, tag: &Tag) -> Vec<Cid> {
        self.by_tag.get(tag).cloned().unwrap_or_default()
    }

    /// One copy.
    pub fn copy(&self, cid: &Cid) -> Option<&Copy> {
        self.copies.get(cid)
    }

    /// The vaccine of a tag.
    pub fn vaccine(&self, tag: &Tag) -> Option<&Vaccine> {
        self.vaccines.get(tag)
    }

    /// Takes an envelope, evicting what is worth less.
    ///
    /// # Errors
    /// [`Refusal`]; nothing has changed then.
    pub fn put(
        &mut self,
        envelope: &[u8],
        parcel: Parcel,
        distance: u8,
        pool: Pool,
        now: UnixTime,
    ) -> Result<(Cid, Vec<Write>), Refusal> {
        let name = cid(envelope);
        let mut copy = match self.fits(envelope, parcel, distance, pool, now) {
            Ok(copy) => copy,
            Err(refusal) => {
                // Its time is over sooner here than there, because ages are counted in minutes on each way.
                if let (Refusal::Expired, Ok(parsed)) = (refusal, Envelope::parse(envelope)) {
                    self.refuse((parsed.tag, name), now);
                }
                return Err(refusal);
            }
        };
        if self.copies.contains_key(&name)
            || self.by_tag.get(&copy.tag).is_some_and(|bodies| bodies.len() >= BODIES_PER_TAG_MAX)
        {
            return Err(Refusal::Known);
        }
        let mut writes = Vec::new();
        let weight = routing::weight_of(&copy);
        copy.pinned = self.pins(&copy);
        while !copy.pinned && self.over(1, u64::from(copy.size)) {
            // Only the first eviction is a question of worth: a large newcomer that wins it takes what it needs.
            let heaviest = || self.order.last().map(|(_, cid)| *cid);
            let victim = self.victim(weight, &pool).or_else(|| heaviest().filter(|_| !writes.is_empty()));
            let Some(victim) = victim else {
                self.refuse((copy.tag, name), now);
                return Err(Refusal::Full);
            };
            self.push_out(&victim, now, &mut writes);
        }
        writes.push(put(Table::Carried, &name.0, envelope.to_vec()));
        writes.push(put(Table::CarriedState, &name.0, state_bytes(&copy)));
        self.insert(name, copy);
        Ok((name, writes))
    }

    /// Checks everything about an envelope but whether there is room.
    fn fits(&self, envelope: &[u8], parcel: Parcel, distance: u8, pool: Pool, now: UnixTime) -> Result<Copy, Refusal> {
        if !self.settings.enabled {
            return Err(Refusal::Off);
        }
        let travelled = u64::from(parcel.age_min).saturating_mul(MINUTE_MS);
        let state = State {
            copies: parcel.copies.max(1),
            hops: parcel.hops.saturating_add(1),
            born_at: UnixTime(now.0.saturating_sub(travelled)),
            expires_at: UnixTime(0),
        };
        let mut copy = copy_of(envelope, state).ok_or(Refusal::Malformed)?;
        let parsed = Envelope::parse(envelope).map_err(|_| Refusal::Malformed)?;
        let size_max = match copy.class {
            Class::Control | Class::Text => CARRIED_TEXT_BYTES_MAX,
            Class::Bulk => CARRIED_BULK_BYTES_MAX,
            Class::Live => return Err(Refusal::Malformed),
        };
        if envelope.len() > size_max {
            return Err(Refusal::TooLarge);
        }
        let left = parsed.head.ttl.ms().saturating_add(AGE_TOLERANCE_MS).saturating_sub(travelled);
        copy.expires_at = parsed.head.expires_at(now).after_ms(CLOCK_TOLERANCE_MS).min(now.after_ms(left));
        (copy.pool, copy.distance) = (pool, distance);
        if copy.expires_at <= now || copy.hops > CARRIED_HOPS_MAX {
            return Err(Refusal::Expired);
        }
        if self.vaccines.contains_key(&copy.tag) {
            return Err(Refusal::Vaccinated);
        }
        Ok(copy)
    }

    /// True when `more` envelopes of `bytes` bytes do not fit.
    fn over(&self, more: usize, bytes: u64) -> bool {
        let used = self.bytes.saturating_sub(self.pinned_bytes);
        self.order.len().saturating_add(more) > self.settings.envelopes_max as usize
            || used.saturating_add(bytes) > self.settings.bytes_max
    }

    /// True when there is room for it among what is kept for friends.
    fn pins(&self, copy: &Copy) -> bool {
        copy.distance == PINNED_DISTANCE
            && self.pinned.len() < self.pinned_max()
            && self.pinned_bytes.saturating_add(u64::from(copy.size)) <= self.pinned_bytes_max()
    }

    /// Who gives little for strangers gives no more for friends.
    fn pinned_max(&self) -> usize {
        PINNED_ENVELOPES_MAX.min(self.settings.envelopes_max) as usize
    }

    fn pinned_bytes_max(&self) -> u64 {
        PINNED_BYTES_MAX.min(self.settings.bytes_max)
    }

    /// What makes room for a newcomer of this weight and pool; `None` when everything is worth more.
    fn victim(&self, weight: Weight, pool: &Pool) -> Option<Cid> {
        let share = (self.order.len() * POOL_SHARE_PERCENT / 100).max(POOL_SHARE_MIN);
        if let Some((size, largest)) = self.pool_sizes.last().copied()
            && size > share
        {
            let (heaviest, cid) = self.pools.get(&largest)?.last().copied()?;
            // A pool over its share does not grow at the cost of others.
            return (largest != *pool || weight < heaviest).then_some(cid);
        }
        let (heaviest, cid) = self.order.last().copied()?;
        routing::pushes_out(weight, heaviest).then_some(cid)
    }

    /// Which of these newcomers, by distance and weight, there is or would be made room for, the lightest first.
    pub fn would_take(&self, newcomers: &[(u8, Weight)]) -> Vec<bool> {
        let room = (self.settings.envelopes_max as usize).saturating_sub(self.order.len());
        let mut pins = self.pinned_max().saturating_sub(self.pinned.len());
        let mut heaviest = self.order.iter().rev();
        let mut by_weight: Vec<usize> = (0..newcomers.len()).collect();
        by_weight.sort_by_key(|at| newcomers.get(*at).map(|(_, weight)| *weight));
        let mut taken = vec![false; newcomers.len()];
        let mut place = 0;
        for at in by_weight {
            let Some(((distance, weight), taken)) = newcomers.get(at).zip(taken.get_mut(at)) else { continue };
            if *distance == PINNED_DISTANCE && pins > 0 {
                (*taken, pins) = (true, pins - 1);
                continue;
            }
            *taken = place < room || heaviest.next().is_some_and(|(kept, _)| routing::pushes_out(*weight, *kept));
            place += 1;
        }
        taken
    }

    /// What was refused not long ago.
    pub fn refused(&self, now: UnixTime) -> impl Iterator<Item = &(Tag, Cid)> {
        self.refused.iter().filter(move |(_, until)| **until > now).map(|(name, _)| name)
    }

    fn push_out(&mut self, name: &Cid, now: UnixTime, writes: &mut Vec<Write>) {
        if let Some(tag) = self.copies.get(name).map(|copy| copy.tag) {
            self.refuse((tag, *name), now);
        }
        self.remove(name, writes);
    }

    /// There was no room for it, or its time is over: it is not asked for again for a while.
    pub fn refuse(&mut self, name: (Tag, Cid), now: UnixTime) {
        if self.refused.len() >= REFUSED_MAX {
            self.refused.retain(|_, until| *until > now);
        }
        if self.refused.len() < REFUSED_MAX {
            self.refused.insert(name, now.after_ms(REFUSED_MS));
        }
    }

    /// Sheets have changed: every copy learns its distance anew. What is kept for friends no longer may have to go.
    pub fn set_distances(&mut self, distance: impl Fn(&Tag) -> u8) -> Vec<Write> {
        let moved = self.copies.iter().map(|(cid, copy)| (*cid, copy.distance, distance(&copy.tag)));
        let moved: Vec<(Cid, u8)> = moved.filter(|(_, was, is)| was != is).map(|(cid, _, is)| (cid, is)).collect();
        for (cid, distance) in moved {
            self.relink(&cid, |copy| (copy.distance, copy.pinned) = (distance, false));
        }
        let near = self.order.iter().filter(|(_, cid)| self.copies.get(cid).is_some_and(|copy| self.pins(copy)));
        let near: Vec<Cid> = near.map(|(_, cid)| *cid).collect();
        for cid in near {
            let pinned = self.copies.get(&cid).is_some_and(|copy| self.pins(copy));
            self.relink(&cid, |copy| copy.pinned = pinned);
        }
        let mut writes = Vec::new();
        self.trim(&mut writes);
        writes
    }

    /// A copy was made.
    pub fn change(&mut self, name: &Cid, change: impl FnOnce(&mut Copy)) -> Option<Write> {
        let copy = self.relink(name, change)?;
        Some(put(Table::CarriedState, &name.0, state_bytes(&copy)))
    }

    /// Changes a copy, and its place among the others with it.
    fn relink(&mut self, name: &Cid, change: impl FnOnce(&mut Copy)) -> Option<Copy> {
        let mut copy = *self.copies.get(name)?;
        self.unlink(name, &copy);
        change(&mut copy);
        self.link(*name, &copy);
        self.copies.insert(*name, copy);
        Some(copy)
    }

    /// A preimage was published: its copies go and never come back. `None` when it is known already or its time is over.
    pub fn publish(&mut self, preimage: Preimage, expires_at: UnixTime, now: UnixTime) -> Option<(Tag, Vec<Write>)> {
        let tag = tag_of(&preimage);
        let expires_at = expires_at.min(now.after_ms(VACCINE_AGE_MS));
        if self.vaccines.contains_key(&tag) || expires_at <= now {
            return None;
        }
        let mut writes = Vec::new();
        for cid in self.named(&tag) {
            self.remove(&cid, &mut writes);
        }
        while self.vaccines.len() >= VACCINES_MAX {
            let Some((_, soonest)) = self.vaccine_ends.pop_first() else { break };
            self.vaccines.remove(&soonest);
            writes.push(delete(Table::Vaccine, &soonest.0));
        }
        let vaccine = Vaccine { preimage, expires_at };
        self.vaccines.insert(tag, vaccine);
        self.vaccine_ends.insert((expires_at, tag));
        let mut value = preimage.0.to_vec();
        value.extend_from_slice(&expires_at.0.to_be_bytes());
        writes.push(put(Table::Vaccine, &tag.0, value));
        Some((tag, writes))
    }

    /// Drops what has expired, up to `limit` records.
    pub fn sweep(&mut self, now: UnixTime, limit: usize) -> Vec<Write> {
        let mut writes = Vec::new();
        let over: Vec<Cid> =
            self.copies.iter().filter(|(_, c)| c.expires_at <= now).map(|(cid, _)| *cid).take(limit).collect();
        for cid in over {
            // Others may believe for a few minutes more that its time is not over.
            self.push_out(&cid, now, &mut writes);
        }
        while let Some((end, tag)) = self.vaccine_ends.first().copied()
            && end <= now
            && writes.len() < limit.saturating_mul(2)
        {
            self.vaccine_ends.remove(&(end, tag));
            self.vaccines.remove(&tag);
            writes.push(delete(Table::Vaccine, &tag.0));
        }
        writes
    }

    /// Drops one copy.
    pub fn forget(&mut self, name: &Cid) -> Vec<Write> {
        let mut writes = Vec::new();
        self.remove(name, &mut writes);
        writes
    }

    fn remove(&mut self, name: &Cid, writes: &mut Vec<Write>) {
        let Some(copy) = self.copies.remove(name) else { return };
        self.unlink(name, &copy);
        self.bytes = self.bytes.saturating_sub(u64::from(copy.size));
        if let Some(bodies) = self.by_tag.get_mut(&copy.tag) {
            bodies.retain(|body| body != name);
            if bodies.is_empty() {
                self.by_tag.remove(&copy.tag);
            }
        }
        writes.push(delete(Table::Carried, &name.0));
        writes.push(delete(Table::CarriedState, &name.0));
    }

    fn insert(&mut self, name: Cid, copy: Copy) {
        self.link(name, &copy);
        self.bytes = self.bytes.saturating_add(u64::from(copy.size));
        self.by_tag.entry(copy.tag).or_default().push(name);
        self.copies.insert(name, copy);
    }

    fn link(&mut self, name: Cid, copy: &Copy) {
        let weight = routing::weight_of(copy);
        if copy.pinned {
            self.pinned.insert((weight, name));
            self.pinned_bytes = self.pinned_bytes.saturating_add(u64::from(copy.size));
            return;
        }
        self.order.insert((weight, name));
        if copy.pool == Pool::KNOWN {
            return;
        }
        let pool = self.pools.entry(copy.pool).or_default();
        self.pool_sizes.remove(&(pool.len(), copy.pool));
        pool.insert((weight, name));
        self.pool_sizes.insert((pool.len(), copy.pool));
    }

    fn unlink(&mut self, name: &Cid, copy: &Copy) {
        let weight = routing::weight_of(copy);
        if copy.pinned {
            self.pinned.remove(&(weight, *name));
            self.pinned_bytes = self.pinned_bytes.saturating_sub(u64::from(copy.size));
            return;
        }
        self.order.remove(&(weight, *name));
        let Some(pool) = self.pools.get_mut(&copy.pool) else { return };
        self.pool_sizes.remove(&(pool.len(), copy.pool));
        pool.remove(&(weight, *name));
        match pool.len() {
            0 => drop(self.pools.remove(&copy.pool)),
            len => drop(self.pool_sizes.insert((len, copy.pool))),
        }
    }
}

/// The part of a copy that the spool keeps beside the envelope.
struct State {
    copies: u8,
    hops: u8,
    born_at: UnixTime,
    expires_at: UnixTime,
}

fn copy_of(envelope: &[u8], state: State) -> Option<Copy> {
    let parsed = Envelope::parse(envelope).ok()?;
    Some(Copy {
        tag: parsed.tag,
        class: parsed.head.class,
        no_infra: parsed.head.no_infra,
        urgent: parsed.head.urgent,
        size: u32::try_from(envelope.len()).ok()?,
        expires_at: state.expires_at,
        born_at: state.born_at,
        copies: state.copies,
        hops: state.hops,
        distance: routing::DISTANCE_MAX,
        pool: Pool::KNOWN,
        pinned: false,
    })
}

fn state_bytes(copy: &Copy) -> Vec<u8> {
    let mut out = Vec::with_capacity(STATE_BYTES);
    out.extend_from_slice(&[copy.copies, copy.hops]);
    out.extend_from_slice(&copy.born_at.0.to_be_bytes());
    out.extend_from_slice(&copy.expires_at.0.to_be_bytes());
    out
}

fn read_state(bytes: &[u8]) -> Option<State> {
    let ([copies, hops], rest) = bytes.split_first_chunk()?;
    let (born_at, rest) = rest.split_first_chunk()?;
    let expires_at = rest.try_into().ok()?;
    Some(State {
        copies: *copies,
        hops: *hops,
        born_at: UnixTime(u64::from_be_bytes(*born_at)),
        expires_at: UnixTime(u64::from_be_bytes(expires_at)),
    })
}

fn read_vaccine(bytes: &[u8]) -> Option<Vaccine> {
    if bytes.len() != VACCINE_BYTES {
        return None;
    }
    let (preimage, end) = bytes.split_first_chunk()?;
    let expires_at = UnixTime(u64::from_be_bytes(end.try_into().ok()?));
    Some(Vaccine { preimage: Preimage(*preimage), expires_at })
}

fn put(table: Table, key: &[u8], value: Vec<u8>) -> Write {
    Write::Put { table, key: key.to_vec(), value }
}

fn delete(table: Table, key: &[u8]) -> Write {
    Write::Delete { table, key: key.to_vec() }
}

/// Runs over a whole table in pages.
fn each(
    store: &dyn Store,
    table: Table,
    mut take: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store.scan(table, &[], after.as_deref(), PAGE)?;
        for (key, value) in &page {
            take(key, value)?;
        }
        match page.into_iter().next_back() {
            Some((last, _)) => after = Some(last),
            None => return Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
