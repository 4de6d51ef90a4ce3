//! Who holds which slot, and who is shunned: so that one stranger cannot have all of them, nor anybody keep them from others.
//!
//! - A device has one slot: who claims another has lost the link it had, or wants more than its share.
//! - When all are held and somebody asks, whoever has held one longest, and long enough, gives way, and the place waits for
//!   who asked.
//! - Who does what no node does, again and again, is sent away and gets no slot for a while.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bluer::Address;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::SLOTS;

/// A slot that was held for less is not given to others.
const TURN: Duration = Duration::from_secs(60);
/// A place that was made is kept so long for whom it was made.
const PROMISED: Duration = Duration::from_secs(15);
/// Points in [`SPAN`] that make a device shunned for as long.
const POINTS_MAX: u32 = 64;
const SPAN: Duration = Duration::from_secs(60);
/// Devices whose points are counted; the one that was counted first goes first.
const COUNTED_MAX: usize = 32;

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Offence {
    /// A packet for a slot of somebody else: some are under way when a link is lost.
    ForeignPacket,
    /// A slot that was claimed for nothing: no link came of it, or none that lasted.
    Claim,
}

impl Offence {
    fn points(self) -> u32 {
        match self {
            Self::ForeignPacket => 1,
            Self::Claim => 8,
        }
    }
}

/// The slots of one adapter.
#[derive(Clone, Debug, Default)]
pub(super) struct Holders(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    held: [Option<Holder>; SLOTS as usize],
    promised: Option<(u8, Address, Instant)>,
    counted: VecDeque<(Address, u32, Instant)>,
    number: u64,
}

#[derive(Debug)]
struct Holder {
    device: Address,
    since: Instant,
    number: u64,
    gives_way: CancellationToken,
}

/// A slot that somebody holds; dropping it frees the slot.
#[derive(Debug)]
pub(super) struct Place {
    holders: Holders,
    slot: u8,
    number: u64,
    /// Cancelled when the slot is to be free.
    pub(super) gives_way: CancellationToken,
}

impl Holders {
    /// Claims a slot for a device.
    pub(super) fn claim(&self, slot: u8, device: Address, now: Instant) -> Option<Place> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.promised = state.promised.filter(|(.., until)| *until > now);
        if state.points(device, now) >= POINTS_MAX {
            return None;
        }
        let taken = state.held.get(usize::from(slot))?.as_ref().is_some_and(|holder| holder.device != device);
        if taken || state.promised.is_some_and(|(kept, whom, _)| kept == slot && whom != device) {
            state.make_place(device, now);
            return None;
        }
        state.promised = state.promised.filter(|(_, whom, _)| *whom != device);
        for holder in state.held.iter().flatten().filter(|holder| holder.device == device) {
            holder.gives_way.cancel();
        }
        state.number += 1;
        let (number, gives_way) = (state.number, CancellationToken::new());
        *state.held.get_mut(usize::from(slot))? =
            Some(Holder { device, since: now, number, gives_way: gives_way.clone() });
        Some(Place { holders: self.clone(), slot, number, gives_way })
    }

    /// Whether a slot is this device's.
    pub(super) fn holds(&self, slot: u8, device: Address) -> bool {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state
            .held
            .get(usize::from(slot))
            .is_some_and(|held| held.as_ref().is_some_and(|holder| holder.device == device))
    }

    /// Counts against a device; true when it is to be sent away.
    pub(super) fn offended(&self, device: Address, offence: Offence, now: Instant) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let points = state.points(device, now).saturating_add(offence.points());
        match state.counted.iter_mut().find(|(known, ..)| *known == device) {
            Some(counted) => counted.1 = points,
            None => {
                if state.counted.len() >= COUNTED_MAX {
                    state.counted.pop_front();
                }
                state.counted.push_back((device, points, now));
            }
        }
        points >= POINTS_MAX
    }
}

impl State {
    fn points(&mut self, device: Address, now: Instant) -> u32 {
        self.counted.retain(|(.., since)| now.duration_since(*since) < SPAN);
        self.counted.iter().find(|(known, ..)| *known == device).map_or(0, |(_, points, _)| *points)
    }

    /// All slots are held by others: the one that was held longest is to be free for this device.
    fn make_place(&mut self, device: Address, now: Instant) {
        let mine = self.held.iter().flatten().any(|holder| holder.device == device);
        if mine || self.promised.is_some() || self.held.iter().any(Option::is_none) {
            return;
        }
        let held = (0..SLOTS).zip(self.held.iter().flatten());
        let Some((slot, oldest)) = held.min_by_key(|(_, holder)| holder.since) else { return };
        if now.duration_since(oldest.since) >= TURN {
            oldest.gives_way.cancel();
            self.promised = Some((slot, device, now + PROMISED));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.holders.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = state.held.get_mut(usize::from(self.slot))
            && held.as_ref().is_some_and(|holder| holder.number == self.number)
        {
            *held = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(number: u8) -> Address {
        Address([number; 6])
    }

    #[test]
    fn t55_a_device_has_one_slot_and_its_last_claim_counts() {
        let (holders, now) = (Holders::default(), Instant::now());
        let first = holders.claim(0, device(1), now).expect("free");
        let second = holders.claim(3, device(1), now).expect("free");
        assert!(first.gives_way.is_cancelled() && !second.gives_way.is_cancelled());
        drop(first);
        assert!(!holders.holds(0, device(1)) && holders.holds(3, device(1)));
        let again = holders.claim(3, device(1), now).expect("its own");
        drop(second);
        assert!(holders.holds(3, device(1)), "what was held before does not free what is held");
        assert!(holders.claim(3, device(2), now).is_none());
        drop(again);
        assert!(holders.claim(3, device(2), now).is_some());
    }

    #[test]
    fn t55_when_all_slots_are_held_the_oldest_gives_way_after_its_turn_to_who_asked() {
        let (holders, now) = (Holders::default(), Instant::now());
        let held: Vec<Place> = (0..SLOTS).map(|slot| holders.claim(slot, device(slot), now).expect("free")).collect();
        let ask = |who, now| (0..SLOTS).find_map(|slot| holders.claim(slot, device(who), now));
        assert!(ask(9, now + TURN / 2).is_none());
        assert!(held.iter().all(|place| !place.gives_way.is_cancelled()), "their turn is not over");
        assert!(ask(9, now + TURN).is_none());
        let (gone, _stay): (Vec<Place>, Vec<Place>) =
            held.into_iter().partition(|place| place.gives_way.is_cancelled());
        assert_eq!(gone.len(), 1, "one, not more");
        drop(gone);
        assert!(ask(8, now + TURN).is_none(), "the place is not for others");
        let _nine = ask(9, now + TURN).expect("it is for who asked");
    }

    #[test]
    fn a_place_nobody_takes_is_free_again() {
        let (holders, now) = (Holders::default(), Instant::now());
        let held: Vec<Place> = (0..SLOTS).map(|slot| holders.claim(slot, device(slot), now).expect("free")).collect();
        assert!(holders.claim(0, device(9), now + TURN).is_none());
        drop(held);
        assert!(holders.claim(0, device(8), now + TURN).is_none());
        assert!(holders.claim(0, device(8), now + TURN + PROMISED).is_some());
    }

    #[test]
    fn t57_who_floods_is_sent_away_and_comes_back_after_a_while() {
        let (holders, now) = (Holders::default(), Instant::now());
        let floods = (0..1_000).filter(|_| holders.offended(device(1), Offence::ForeignPacket, now)).count();
        assert_eq!(floods, 1_001 - POINTS_MAX as usize);
        assert!(holders.claim(0, device(1), now).is_none());
        assert!(holders.claim(0, device(2), now).is_some(), "others have no disadvantage");
        assert!(holders.claim(1, device(1), now + SPAN).is_some());
        for number in 0..200 {
            holders.offended(device(number), Offence::Claim, now);
        }
        assert_eq!(holders.0.lock().expect("a lock").counted.len(), COUNTED_MAX);
    }
}
