//! Villages: a model of people who live together, work in small groups, meet on market days, and rarely travel.
//!
//! ```text
//!   20–6 h   at home: a household is together all night
//!    7–15 h  in the fields: groups of a village, whose members come near each other now and then
//!    9–13 h  market day: some people of each cluster of villages meet in one of them
//!    8–17 h  travellers: a few people spend the day in another village of their cluster or the next one
//!   16–19 h  on the square: everyone meets a few others of the village
//! ```
//! Radios reach as far as people talk; distances do not appear. The same seed gives the same contacts.

use silbo_protocol::chance::Chance;

use super::ContactTrace;

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;
/// Villages that share a market.
const CLUSTER: usize = 5;

/// Settings of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Villages {
    /// People in all.
    pub people: u32,
    /// People of the smallest village.
    pub village_min: u32,
    /// People of the largest village.
    pub village_max: u32,
    /// Days to make contacts for.
    pub days: u32,
    /// People who travel on a day, in per mille.
    pub travellers_per_mille: u16,
    /// People who go to the market on its day, in per mille.
    pub market_per_mille: u16,
}

impl Default for Villages {
    fn default() -> Self {
        Self {
            people: 240,
            village_min: 24,
            village_max: 120,
            days: 1,
            travellers_per_mille: 20,
            market_per_mille: 150,
        }
    }
}

/// A model on its way to a trace.
struct Life {
    chance: Chance,
    meetings: Vec<(u64, u64, u32, u32)>,
}

impl Villages {
    /// Makes the contacts.
    pub fn contacts(&self, chance: Chance) -> ContactTrace {
        let mut life = Life { chance, meetings: Vec::new() };
        let villages = life.villages(self);
        let households: Vec<Vec<u32>> = villages.iter().flat_map(|village| life.split(village, 3, 7)).collect();
        for household in &households {
            let end = 6 * HOUR_MS + life.chance.below(HOUR_MS);
            life.together(household, 0, end);
        }
        for day in 0..u64::from(self.days) {
            let dawn = day * DAY_MS;
            for (at, village) in villages.iter().enumerate() {
                life.work(village, dawn);
                life.square(village, dawn);
                life.travel(self, &villages, at, dawn);
            }
            for cluster in villages.chunks(CLUSTER) {
                life.market(self, cluster, dawn);
            }
            for household in &households {
                let begin = dawn + 20 * HOUR_MS + life.chance.below(HOUR_MS);
                let end = dawn + 30 * HOUR_MS + life.chance.below(HOUR_MS);
                life.together(household, begin, end.min(u64::from(self.days) * DAY_MS));
            }
        }
        ContactTrace::of_model(self.people, life.meetings)
    }
}

impl Life {
    fn villages(&mut self, settings: &Villages) -> Vec<Vec<u32>> {
        let everyone: Vec<u32> = (0..settings.people).collect();
        self.split(&everyone, settings.village_min.max(1), settings.village_max)
    }

    /// Groups of random sizes; the last one is what is left.
    fn split(&mut self, people: &[u32], min: u32, max: u32) -> Vec<Vec<u32>> {
        let mut groups = Vec::new();
        let mut rest = people;
        while !rest.is_empty() {
            let size = u64::from(min) + self.chance.below(u64::from(max.saturating_sub(min)) + 1);
            let (group, behind) = rest.split_at(rest.len().min(size as usize));
            groups.push(group.to_vec());
            rest = behind;
        }
        groups
    }

    fn is_hit(&mut self, per_mille: u16) -> bool {
        self.chance.below(1_000) < u64::from(per_mille)
    }

    fn one_of(&mut self, people: &[u32]) -> Option<u32> {
        people.get(self.chance.below(people.len() as u64) as usize).copied()
    }

    fn meet(&mut self, a: u32, b: u32, begin: u64, end: u64) {
        if a != b && begin < end {
            self.meetings.push((begin, end, a, b));
        }
    }

    fn together(&mut self, group: &[u32], begin: u64, end: u64) {
        for (at, a) in group.iter().enumerate() {
            for b in &group[..at] {
                self.meet(*a, *b, begin, end);
            }
        }
    }

    /// A short meeting at some time of an interval.
    fn pass_by(&mut self, a: u32, b: u32, from: u64, to: u64) {
        let begin = from + self.chance.below(to - from);
        let end = begin + MINUTE_MS + self.chance.below(9 * MINUTE_MS);
        self.meet(a, b, begin, end.min(to));
    }

    fn work(&mut self, village: &[u32], dawn: u64) {
        let mut working: Vec<u32> = Vec::new();
        for person in village {
            if self.is_hit(850) {
                working.push(*person);
            }
        }
        for left in (1..working.len()).rev() {
            let other = self.chance.below(left as u64 + 1) as usize;
            working.swap(left, other);
        }
        for group in self.split(&working, 2, 6) {
            for (at, a) in group.iter().enumerate() {
                for b in &group[..at] {
                    for _ in 0..1 + self.chance.below(3) {
                        self.pass_by(*a, *b, dawn + 7 * HOUR_MS, dawn + 15 * HOUR_MS);
                    }
                }
            }
        }
    }

    fn square(&mut self, village: &[u32], dawn: u64) {
        for person in village {
            for _ in 0..1 + self.chance.below(4) {
                if let Some(other) = self.one_of(village) {
                    self.pass_by(*person, other, dawn + 16 * HOUR_MS, dawn + 19 * HOUR_MS);
                }
            }
        }
    }

    fn market(&mut self, settings: &Villages, cluster: &[Vec<u32>], dawn: u64) {
        let mut there = Vec::new();
        for person in cluster.iter().flatten() {
            if self.is_hit(settings.market_per_mille) {
                there.push(*person);
            }
        }
        for person in &there {
            for _ in 0..1 + self.chance.below(6) {
                if let Some(other) = self.one_of(&there) {
                    self.pass_by(*person, other, dawn + 9 * HOUR_MS, dawn + 13 * HOUR_MS);
                }
            }
        }
    }

    fn travel(&mut self, settings: &Villages, villages: &[Vec<u32>], home: usize, dawn: u64) {
        let near = CLUSTER as u64;
        for person in &villages[home] {
            if !self.is_hit(settings.travellers_per_mille) {
                continue;
            }
            let away = 1 + self.chance.below(near) as usize;
            let there =
                if self.chance.below(2) == 0 { home + away } else { home + villages.len() - away % villages.len() };
            let hosts = &villages[there % villages.len()];
            for _ in 0..3 + self.chance.below(6) {
                if let Some(host) = self.one_of(hosts) {
                    self.pass_by(*person, host, dawn + 8 * HOUR_MS, dawn + 17 * HOUR_MS);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contacts(settings: &Villages, seed: u8) -> ContactTrace {
        settings.contacts(Chance::from_seed([seed; 32]))
    }

    #[test]
    fn people_meet_some_ten_times_a_day_and_mostly_in_their_village() {
        let settings = Villages { people: 600, days: 2, ..Villages::default() };
        let trace = contacts(&settings, 1);
        let per_day = trace.contacts().len() as f64 * 2.0 / 600.0 / 2.0;
        assert!((8.0..40.0).contains(&per_day), "{per_day} contacts a person and day");
        assert!(trace.contacts().iter().all(|c| c.end_ms <= 2 * DAY_MS && c.start_ms < c.end_ms));
        let near = trace.contacts().iter().filter(|c| c.b - c.a < 120).count();
        assert!(near * 10 > trace.contacts().len() * 7, "{near} of {} are near", trace.contacts().len());
    }

    #[test]
    fn the_same_seed_gives_the_same_contacts() {
        let settings = Villages { people: 60, ..Villages::default() };
        assert_eq!(contacts(&settings, 1), contacts(&settings, 1));
        assert_ne!(contacts(&settings, 1), contacts(&settings, 2));
        assert_eq!(contacts(&Villages { people: 1, ..settings }, 1).contacts(), []);
    }
}
