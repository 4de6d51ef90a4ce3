//! Who is in range, whom to dial next, and which link makes room for somebody else.
//!
//! Links are kept while there is room. Where more are in range than there are places, a link over which nothing is handed
//! over any more gives its place to whoever holds something new; a device that saves its battery lets such links go without
//! anybody waiting. *Settled* is who was linked and shows the same digest as then, while this device, too, holds the same: a
//! link would bring nothing. One whose link was let go is not dialled before that changes.

use std::collections::{BTreeMap, BTreeSet};

use super::duty::RadioPower;
use crate::limits::{
    DIAL_COURTESY_MS, DIAL_PAUSE_RANGE_MS, LETTING_GO_MS, LINK_GOOD_MS, LINK_KEPT_MS, LINK_QUIET_MS, LINK_SAVED_MS,
    NEIGHBOUR_FORGOTTEN_MS, NEIGHBOUR_PRESENT_MS, NEIGHBOURS_MAX, SETTLED_MS,
};
use crate::time::Moment;

/// A rotating id.
type Rid = [u8; 6];

/// What somebody says of itself on the air.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// What it is called for now.
    pub rid: Rid,
    /// Of what it holds, under this id.
    pub digest: [u8; 2],
    /// It has no place for another link.
    pub full: bool,
    /// How well it is heard, in dBm.
    pub rssi: Option<i16>,
}

/// A link that is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linked {
    /// What the other end is called now.
    pub rid: Rid,
    /// This end has dialled it, and it takes one of our places.
    pub dialled: bool,
    /// When it came up.
    pub since: Moment,
    /// When something was handed over last, either way.
    pub used: Moment,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<K> {
    /// Dial this one.
    Dial(K),
    /// End the link to whoever is called this.
    LetGo(Rid),
}

/// Somebody in range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// What it said last.
    pub heard: Heard,
    /// When.
    pub at: Moment,
    not_before: Moment,
    failures: u32,
    /// A link with it has lasted: it comes before strangers, of whom anybody can put as many on the air as they like.
    known: bool,
}

/// What both ends held when a link ended.
#[derive(Clone, Copy, Debug)]
struct Settled {
    digest: [u8; 2],
    fingerprint: u64,
    at: Moment,
    /// Nothing was handed over any more when it ended.
    quiet: bool,
    /// It had lasted then: one of the two has let it go.
    let_go: bool,
}

/// Everybody in range. `K` is what the platform calls them.
#[derive(Clone, Debug)]
pub struct Neighbours<K> {
    seen: BTreeMap<K, Neighbour>,
    settled: BTreeMap<Rid, Settled>,
    linked: BTreeMap<Rid, Linked>,
    fingerprint: u64,
    news: Moment,
    /// When a link was let go that has not ended yet: its place is still taken.
    letting_go: Option<Moment>,
}

impl<K: Ord + Clone> Neighbours<K> {
    /// Nobody yet.
    pub fn new(now: Moment) -> Self {
        Self {
            seen: BTreeMap::new(),
            settled: BTreeMap::new(),
            linked: BTreeMap::new(),
            fingerprint: 0,
            news: now,
            letting_go: None,
        }
    }

    /// When something last changed.
    pub fn news(&self) -> Moment {
        self.news
    }

    /// Those in range.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &Neighbour)> {
        self.seen.iter()
    }

    /// What this device holds now.
    pub fn hold(&mut self, fingerprint: u64) {
        self.fingerprint = fingerprint;
    }

    /// An advertisement was heard. `own` is our own id, `chance_ms` keeps two from dialling each other in step.
    pub fn heard(&mut self, key: K, heard: Heard, own: Rid, chance_ms: u64, now: Moment) {
        if let Some(known) = self.seen.get_mut(&key) {
            if known.heard.rid != heard.rid {
                // It may be linked, and its new name still on the way.
                known.not_before = known.not_before.max(now.after_ms(DIAL_COURTESY_MS));
            }
            if known.heard.rid != heard.rid || known.heard.digest != heard.digest {
                self.news = now;
            }
            // A device that takes a new id takes a new address as well: this is somebody else, or says so.
            known.known &= known.heard.rid == heard.rid;
            let rssi = heard.rssi.or(known.heard.rssi);
            (known.heard, known.at) = (Heard { rssi, ..heard }, now);
            return;
        }
        if self.seen.len() >= NEIGHBOURS_MAX
            && let Some(oldest) =
                self.seen.iter().min_by_key(|(_, seen)| (seen.known, seen.at)).map(|(key, _)| key.clone())
        {
            self.seen.remove(&oldest);
        }
        let courtesy = if own < heard.rid { 0 } else { DIAL_COURTESY_MS };
        let not_before = now.after_ms(courtesy + chance_ms);
        self.seen.insert(key, Neighbour { heard, at: now, not_before, failures: 0, known: false });
        self.news = now;
    }

    /// How well somebody is heard has changed.
    pub fn signal(&mut self, key: &K, rssi: i16, now: Moment) {
        if let Some(seen) = self.seen.get_mut(key) {
            (seen.heard.rssi, seen.at) = (Some(rssi), now);
        }
    }

    /// The platform does not know it any more.
    pub fn gone(&mut self, key: &K) {
        self.seen.remove(key);
    }

    /// A dial to it has ended, `lasted_ms` after its link came up (0: there was none). `chance` is from 0 to 255.
    pub fn ended(&mut self, key: &K, lasted_ms: u64, chance: u8, now: Moment) {
        self.letting_go = None;
        let Some(seen) = self.seen.get_mut(key) else { return };
        seen.known |= lasted_ms > LINK_GOOD_MS;
        seen.failures = if lasted_ms > LINK_GOOD_MS { 0 } else { (seen.failures + 1).min(8) };
        let pause = (DIAL_PAUSE_RANGE_MS.start() << seen.failures).min(*DIAL_PAUSE_RANGE_MS.end());
        seen.not_before = now.after_ms(pause / 2 + pause / 2 * u64::from(chance) / 255);
    }

    /// A dial is to wait: somebody else uses the connection.
    pub fn wait(&mut self, key: &K, now: Moment) {
        if let Some(seen) = self.seen.get_mut(key) {
            seen.not_before = now.after_ms(DIAL_COURTESY_MS);
        }
    }

    /// Which links are up now. Those that are not any more are remembered with what their ends held.
    pub fn links(&mut self, links: &[Linked], now: Moment) {
        let up: BTreeMap<Rid, Linked> = links.iter().map(|link| (link.rid, *link)).collect();
        for (rid, link) in &self.linked {
            if up.contains_key(rid) {
                continue;
            }
            self.news = now;
            let Some(digest) = self.seen.values().find(|seen| seen.heard.rid == *rid).map(|seen| seen.heard.digest)
            else {
                continue;
            };
            // One that was cut in the middle settles nothing.
            let quiet = link.used.after_ms(LINK_QUIET_MS) <= now;
            let let_go = quiet && link.since.after_ms(LINK_KEPT_MS) <= now;
            self.settled.insert(*rid, Settled { digest, fingerprint: self.fingerprint, at: now, quiet, let_go });
        }
        self.linked = up;
        self.settled.retain(|_, settled| settled.at.after_ms(SETTLED_MS) > now);
        self.seen.retain(|_, seen| seen.at.after_ms(NEIGHBOUR_FORGOTTEN_MS) > now);
    }

    /// The link was told to end; nobody else is let go until it has, or could not.
    pub fn lets_go(&mut self, now: Moment) {
        self.letting_go = Some(now);
    }

    /// Whom to dial or let go, if anybody. `dialling` is whom the platform is busy with; `places` how many of our dials
    /// may be up or under way, `taken` how many are.
    pub fn next(
        &self,
        power: RadioPower,
        dialling: impl Fn(&K) -> bool,
        (taken, places): (usize, usize),
        now: Moment,
    ) -> Option<Next<K>> {
        let saves = power == RadioPower::Saver;
        let settled = |seen: &Neighbour| self.settled(&seen.heard);
        let known: BTreeSet<Rid> = self.seen.values().filter(|seen| seen.known).map(|seen| seen.heard.rid).collect();
        // An advertisement of somebody we know, said again by somebody else.
        let replayed = |seen: &Neighbour| !seen.known && known.contains(&seen.heard.rid);
        let ready = self.seen.iter().filter(|(key, seen)| {
            seen.not_before <= now
                && seen.at.after_ms(NEIGHBOUR_PRESENT_MS) > now
                && !dialling(key)
                && !replayed(seen)
                && !self.linked.contains_key(&seen.heard.rid)
                && !settled(seen).is_some_and(|settled| settled.let_go || saves && settled.quiet)
        });
        let best =
            ready.min_by_key(|(_, seen)| (settled(seen).is_some(), seen.heard.full, !seen.known, seen.not_before));
        if taken < places {
            if let Some((key, _)) = best {
                return Some(Next::Dial(key.clone()));
            }
        } else if best.is_some_and(|(_, seen)| settled(seen).is_none() && !seen.heard.full) {
            return self.quietest(true, LINK_QUIET_MS, now).map(Next::LetGo);
        }
        if saves { self.quietest(false, LINK_SAVED_MS, now).map(Next::LetGo) } else { None }
    }

    fn settled(&self, heard: &Heard) -> Option<&Settled> {
        let settled = self.settled.get(&heard.rid)?;
        (settled.digest == heard.digest && settled.fingerprint == self.fingerprint).then_some(settled)
    }

    /// The link that was not used for longest, at least so long.
    fn quietest(&self, dialled: bool, quiet_ms: u64, now: Moment) -> Option<Rid> {
        if self.letting_go.is_some_and(|since| since.after_ms(LETTING_GO_MS) > now) {
            return None;
        }
        let old = self.linked.values().filter(|link| {
            (link.dialled || !dialled)
                && link.since.after_ms(LINK_KEPT_MS) <= now
                && link.used.after_ms(quiet_ms) <= now
        });
        old.min_by_key(|link| link.used).map(|link| link.rid)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWN: Rid = [5; 6];
    const NO_DIAL: fn(&u8) -> bool = |_| false;

    fn heard(rid: u8, digest: u8) -> Heard {
        Heard { rid: [rid; 6], digest: [digest; 2], full: false, rssi: None }
    }

    fn linked(rid: u8, since: u64, used: u64) -> Linked {
        Linked { rid: [rid; 6], dialled: true, since: Moment(since), used: Moment(used) }
    }

    fn next(of: &Neighbours<u8>, power: RadioPower, taken: usize, now: u64) -> Option<Next<u8>> {
        of.next(power, NO_DIAL, (taken, 4), Moment(now))
    }

    #[test]
    fn the_lower_id_dials_at_once_and_the_other_after_a_courtesy() {
        let mut near = Neighbours::new(Moment(0));
        near.heard(1, heard(9, 0), OWN, 0, Moment(0));
        near.heard(2, heard(1, 0), OWN, 0, Moment(0));
        assert_eq!(next(&near, RadioPower::Balanced, 0, 0), Some(Next::Dial(1)));
        let busy = |key: &u8| *key == 1;
        let at = |now| near.next(RadioPower::Balanced, busy, (1, 4), Moment(now));
        assert_eq!((at(0), at(DIAL_COURTESY_MS)), (None, Some(Next::Dial(2))));
    }

    #[test]
    fn failures_make_pauses_longer_and_a_good_link_makes_them_short() {
        let mut near = Neighbours::new(Moment(0));
        near.heard(1, heard(9, 0), OWN, 0, Moment(0));
        let mut pauses = Vec::new();
        for lasted in [0, 0, 0, 0, 0, 0, 0, 0, 0, LINK_GOOD_MS + 1] {
            near.ended(&1, lasted, 255, Moment(0));
            let ready = (0..1_000).map(|step| step * 500).find(|now| {
                near.signal(&1, -50, Moment(*now));
                next(&near, RadioPower::Balanced, 0, *now).is_some()
            });
            pauses.push(ready.unwrap_or(u64::MAX));
        }
        assert!(pauses.windows(2).take(8).all(|pair| pair[0] <= pair[1]), "{pauses:?}");
        assert_eq!((pauses[8], pauses[9]), (*DIAL_PAUSE_RANGE_MS.end(), *DIAL_PAUSE_RANGE_MS.start()));
    }

    #[test]
    fn a_quiet_link_makes_room_for_who_holds_something_new_and_a_busy_one_does_not() {
        let mut near = Neighbours::new(Moment(0));
        near.heard(9, heard(9, 0), OWN, 0, Moment(0));
        let now = LINK_KEPT_MS;
        let busy: Vec<Linked> = (1..5).map(|rid| linked(rid, 0, now)).collect();
        near.links(&busy, Moment(now));
        assert_eq!(next(&near, RadioPower::Balanced, 4, now), None);
        let mut quiet = busy.clone();
        quiet[2].used = Moment(now - LINK_QUIET_MS);
        near.links(&quiet, Moment(now));
        assert_eq!(next(&near, RadioPower::Balanced, 4, now), Some(Next::LetGo([3; 6])));
        // Who was let go is not dialled in turn, which would go on for ever.
        near.heard(3, heard(3, 0), OWN, 0, Moment(0));
        near.links(&[busy[0], busy[1], busy[3]], Moment(now));
        assert_eq!(next(&near, RadioPower::Balanced, 3, now), Some(Next::Dial(9)));
        near.gone(&9);
        assert_eq!(next(&near, RadioPower::Balanced, 3, now), None);
        // Until it shows that it holds something else, or we do.
        let before = near.clone();
        near.heard(3, heard(3, 1), OWN, 0, Moment(now));
        assert_eq!(next(&near, RadioPower::Balanced, 3, now), Some(Next::Dial(3)));
        let mut near = before;
        near.hold(1);
        assert_eq!(next(&near, RadioPower::Balanced, 3, now), Some(Next::Dial(3)));
    }

    #[test]
    fn who_is_full_or_settled_is_dialled_last_and_nobody_is_let_go_for_them() {
        let mut near = Neighbours::new(Moment(0));
        near.heard(9, Heard { full: true, ..heard(9, 0) }, OWN, 0, Moment(0));
        near.heard(8, heard(8, 0), OWN, 100, Moment(0));
        assert_eq!(next(&near, RadioPower::Balanced, 0, 200), Some(Next::Dial(8)));
        near.gone(&8);
        assert_eq!(next(&near, RadioPower::Balanced, 0, 200), Some(Next::Dial(9)));
        let four: Vec<Linked> = (1..5).map(|rid| linked(rid, 0, 0)).collect();
        near.links(&four, Moment(LINK_KEPT_MS));
        assert_eq!(next(&near, RadioPower::Balanced, 4, LINK_KEPT_MS), None);
    }

    #[test]
    fn a_saver_lets_quiet_links_go_and_comes_back_for_something_new() {
        let mut near = Neighbours::new(Moment(0));
        near.heard(9, heard(9, 0), OWN, 0, Moment(0));
        near.links(&[linked(9, 0, 5)], Moment(10));
        assert_eq!(next(&near, RadioPower::Saver, 1, LINK_SAVED_MS), None);
        let quiet = LINK_SAVED_MS + 5;
        assert_eq!(next(&near, RadioPower::Saver, 1, quiet), Some(Next::LetGo([9; 6])));
        assert_eq!(next(&near, RadioPower::Balanced, 1, quiet), None);
        near.links(&[], Moment(quiet));
        assert_eq!(next(&near, RadioPower::Saver, 0, quiet + 1), None);
        near.heard(9, heard(9, 1), OWN, 0, Moment(quiet + 2));
        assert_eq!(next(&near, RadioPower::Saver, 0, quiet + 2), Some(Next::Dial(9)));
    }

    #[test]
    fn a_link_that_was_cut_in_the_middle_is_dialled_again_whatever_the_power() {
        let mut near = Neighbours::new(Moment(0));
        near.heard(9, heard(9, 0), OWN, 0, Moment(0));
        near.links(&[linked(9, 0, 4_000)], Moment(4_000));
        near.links(&[], Moment(4_001));
        for power in [RadioPower::Saver, RadioPower::Balanced, RadioPower::Performance] {
            assert_eq!(next(&near, power, 0, 4_001), Some(Next::Dial(9)));
        }
    }

    #[test]
    fn one_newcomer_costs_one_link_however_long_its_end_takes() {
        let mut near = Neighbours::new(Moment(0));
        let now = LINK_KEPT_MS;
        near.heard(9, heard(9, 0), OWN, 0, Moment(now));
        let four: Vec<Linked> = (1..5).map(|rid| linked(rid, 0, 0)).collect();
        near.links(&four, Moment(now));
        assert_eq!(next(&near, RadioPower::Balanced, 4, now), Some(Next::LetGo([1; 6])));
        near.lets_go(Moment(now));
        near.links(&four[1..], Moment(now + 250));
        assert_eq!(next(&near, RadioPower::Balanced, 4, now + 250), None, "its place is still taken");
        near.ended(&1, now, 0, Moment(now + 2_000));
        assert_eq!(next(&near, RadioPower::Balanced, 3, now + 2_000), Some(Next::Dial(9)));
    }

    #[test]
    fn who_has_not_been_heard_for_a_while_is_not_dialled_and_a_new_id_is_nobody_known() {
        let mut near = Neighbours::new(Moment(0));
        near.heard(1, heard(7, 0), OWN, 0, Moment(0));
        near.ended(&1, LINK_GOOD_MS + 1, 0, Moment(0));
        near.heard(2, heard(8, 0), OWN, 0, Moment(NEIGHBOUR_PRESENT_MS));
        assert_eq!(next(&near, RadioPower::Balanced, 0, NEIGHBOUR_PRESENT_MS), Some(Next::Dial(2)));
        near.heard(1, heard(8, 0), OWN, 0, Moment(NEIGHBOUR_PRESENT_MS));
        let later = NEIGHBOUR_PRESENT_MS + DIAL_COURTESY_MS;
        assert_eq!(
            next(&near, RadioPower::Balanced, 0, later),
            Some(Next::Dial(2)),
            "an id that is claimed hides nobody"
        );
    }

    #[test]
    fn t55_somebody_known_comes_before_any_number_of_strangers_and_of_replays() {
        let mut near = Neighbours::new(Moment(0));
        near.heard(0, heard(9, 0), OWN, 0, Moment(0));
        near.ended(&0, LINK_GOOD_MS + 1, 0, Moment(0));
        for n in 1..200u8 {
            near.heard(n, heard(if n % 2 == 0 { 9 } else { n }, 0), OWN, 0, Moment(u64::from(n)));
        }
        assert_eq!(next(&near, RadioPower::Balanced, 0, 10_000), Some(Next::Dial(0)));
        let replays = near.iter().filter(|(key, seen)| **key != 0 && seen.heard.rid == [9; 6]).count();
        assert!(replays > 10, "{replays}");
        let mut dialled = BTreeSet::from([0]);
        while let Some(Next::Dial(who)) =
            near.next(RadioPower::Balanced, |key| dialled.contains(key), (0, 4), Moment(10_000))
        {
            assert!(who % 2 == 1, "{who} is a replay");
            dialled.insert(who);
        }
    }

    #[test]
    fn a_crowd_is_remembered_up_to_the_bound_and_who_left_is_forgotten() {
        let mut near = Neighbours::new(Moment(0));
        for n in 0..200u16 {
            near.heard(n, heard(1, 1), OWN, 0, Moment(u64::from(n)));
        }
        assert_eq!(near.iter().count(), NEIGHBOURS_MAX);
        assert!(near.iter().all(|(key, _)| usize::from(*key) >= 200 - NEIGHBOURS_MAX));
        near.links(&[], Moment(200 + NEIGHBOUR_FORGOTTEN_MS));
        assert_eq!(near.iter().count(), 0);
    }

    proptest! {
        /// Twenty in range, four places, whatever happens: the places are never exceeded, who is linked or under way is not
        /// dialled, and a link in use or young is not let go.
        #[test]
        fn bounds_hold_whatever_happens(
            steps in prop::collection::vec((0u8..5, 0u8..20, 0u8..4, 0u64..8_000), 1..200),
            saves in any::<bool>(),
        ) {
            let power = if saves { RadioPower::Saver } else { RadioPower::Balanced };
            let mut near = Neighbours::new(Moment(0));
            let mut links: Vec<Linked> = Vec::new();
            let mut now = 0;
            for (what, who, digest, later) in steps {
                now += later;
                match what {
                    0 | 1 => near.heard(who, heard(who, digest), OWN, u64::from(digest) * 50, Moment(now)),
                    2 => if let Some(link) = links.iter_mut().find(|link| link.rid == [who; 6]) { link.used = Moment(now) },
                    3 => links.retain(|link| link.rid != [who; 6]),
                    _ => near.hold(u64::from(digest)),
                }
                near.links(&links, Moment(now));
                match near.next(power, |_| false, (links.len(), 4), Moment(now)) {
                    Some(Next::Dial(who)) => {
                        prop_assert!(links.len() < 4 && links.iter().all(|link| link.rid != [who; 6]));
                        links.push(linked(who, now, now));
                    }
                    Some(Next::LetGo(rid)) => {
                        near.lets_go(Moment(now));
                        let link = links.iter().find(|link| link.rid == rid).copied();
                        prop_assert!(link.is_some_and(|l| l.since.0 + LINK_KEPT_MS <= now && l.used.0 + LINK_QUIET_MS <= now));
                        links.retain(|link| link.rid != rid);
                    }
                    None => {}
                }
            }
        }
    }
}
