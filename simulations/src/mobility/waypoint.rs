//! Random waypoint: everyone walks to a random place, pauses, and walks on. Two people meet while they are within
//! radio range. It has none of the regularity of real people and is the usual worst case of papers.

use std::collections::BTreeMap;

use silbo_protocol::chance::Chance;

use super::ContactTrace;

/// Settings of the model. Lengths are in metres.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waypoint {
    /// People in all.
    pub people: u32,
    /// Side of the square they walk in.
    pub side_m: u32,
    /// Reach of a radio.
    pub range_m: u32,
    /// Walking speed, in centimetres a second, drawn anew for each way from half of it to all of it.
    pub speed_cm_s: u32,
    /// Longest pause at a place.
    pub pause_ms_max: u64,
    /// How long they walk.
    pub duration_ms: u64,
    /// Time between two looks at who is near whom.
    pub step_ms: u64,
}

impl Default for Waypoint {
    fn default() -> Self {
        Self {
            people: 50,
            side_m: 1_000,
            range_m: 30,
            speed_cm_s: 150,
            pause_ms_max: 20 * 60_000,
            duration_ms: 86_400_000,
            step_ms: 10_000,
        }
    }
}

/// A person on the way. Places are in centimetres.
struct Walker {
    from: (i64, i64),
    to: (i64, i64),
    left_ms: u64,
    arrives_ms: u64,
    leaves_ms: u64,
}

impl Waypoint {
    /// Makes the contacts.
    pub fn contacts(&self, mut chance: Chance) -> ContactTrace {
        let place = |chance: &mut Chance| {
            let side = u64::from(self.side_m) * 100 + 1;
            (chance.below(side) as i64, chance.below(side) as i64)
        };
        let mut walkers: Vec<Walker> = Vec::new();
        for _ in 0..self.people {
            let here = place(&mut chance);
            walkers.push(Walker { from: here, to: here, left_ms: 0, arrives_ms: 0, leaves_ms: 0 });
        }
        let step_ms = self.step_ms.max(1);
        let mut since: BTreeMap<(u32, u32), u64> = BTreeMap::new();
        let mut meetings = Vec::new();
        for now_ms in (0..self.duration_ms).step_by(step_ms as usize) {
            for walker in &mut walkers {
                while walker.leaves_ms <= now_ms {
                    let to = place(&mut chance);
                    let half = u64::from(self.speed_cm_s.max(2)) / 2;
                    let speed = half + chance.below(half + 1);
                    let way_ms = distance(walker.to, to) * 1_000 / speed;
                    let left_ms = walker.leaves_ms;
                    let arrives_ms = left_ms + way_ms;
                    let leaves_ms = (arrives_ms + chance.below(self.pause_ms_max + 1)).max(left_ms + 1);
                    *walker = Walker { from: walker.to, to, left_ms, arrives_ms, leaves_ms };
                }
            }
            let near = self.near(&walkers, now_ms);
            since.retain(|pair, begun| {
                let still = near.contains_key(pair);
                if !still {
                    meetings.push((*begun, now_ms, pair.0, pair.1));
                }
                still
            });
            for pair in near.into_keys() {
                since.entry(pair).or_insert(now_ms);
            }
        }
        meetings.extend(since.into_iter().map(|((a, b), begun)| (begun, self.duration_ms, a, b)));
        ContactTrace::of_model(self.people, meetings)
    }

    /// Pairs within range, found by cells as wide as the range.
    fn near(&self, walkers: &[Walker], now_ms: u64) -> BTreeMap<(u32, u32), ()> {
        let range = i64::from(self.range_m.max(1)) * 100;
        let places: Vec<(i64, i64)> = walkers.iter().map(|walker| walker.place(now_ms)).collect();
        let mut cells: BTreeMap<(i64, i64), Vec<u32>> = BTreeMap::new();
        for ((x, y), person) in places.iter().zip(0..) {
            cells.entry((x / range, y / range)).or_default().push(person);
        }
        let mut near = BTreeMap::new();
        for ((column, row), people) in &cells {
            for (x, y) in [(0, 0), (1, -1), (1, 0), (1, 1), (0, 1)] {
                for other in cells.get(&(column + x, row + y)).into_iter().flatten() {
                    for one in people {
                        let is_near = distance(places[*one as usize], places[*other as usize]) <= range as u64;
                        if one != other && is_near {
                            near.insert((*one.min(other), *one.max(other)), ());
                        }
                    }
                }
            }
        }
        near
    }
}

impl Walker {
    fn place(&self, now_ms: u64) -> (i64, i64) {
        if now_ms >= self.arrives_ms {
            return self.to;
        }
        let (gone, way) = ((now_ms - self.left_ms) as i64, (self.arrives_ms - self.left_ms) as i64);
        let at = |from: i64, to: i64| from + (to - from) * gone / way;
        (at(self.from.0, self.to.0), at(self.from.1, self.to.1))
    }
}

fn distance(a: (i64, i64), b: (i64, i64)) -> u64 {
    let (x, y) = (a.0.abs_diff(b.0), a.1.abs_diff(b.1));
    (x * x + y * y).isqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walkers_meet_and_part_and_the_same_seed_gives_the_same_contacts() {
        let settings = Waypoint { people: 20, duration_ms: 4 * 3_600_000, ..Waypoint::default() };
        let trace = settings.contacts(Chance::from_seed([1; 32]));
        assert!(trace.contacts().len() > 20, "{} contacts", trace.contacts().len());
        assert!(trace.contacts().iter().all(|c| c.end_ms <= settings.duration_ms && c.start_ms < c.end_ms));
        assert_eq!(trace, settings.contacts(Chance::from_seed([1; 32])));
    }

    #[test]
    fn everyone_is_near_everyone_where_the_range_covers_the_square() {
        let settings = Waypoint { people: 4, side_m: 10, range_m: 20, duration_ms: 60_000, ..Waypoint::default() };
        let trace = settings.contacts(Chance::from_seed([2; 32]));
        assert_eq!(trace.contacts().len(), 6);
        assert!(trace.contacts().iter().all(|c| (c.start_ms, c.end_ms) == (0, 60_000)));
    }
}
