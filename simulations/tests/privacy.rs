//! What a curious carrier learns from an encounter: whether an envelope it handed over was for the other device.
//!
//! ```text
//!   Sue, Tom ──letters to Vic or Wim──▶ Uma, the observer ◀──tapped──▶ Vic
//! ```
//! Whom a letter is for is a fair coin, and nothing else differs. The observer knows what it carries and sees every
//! frame of its links with Vic, with times. It learns its rules on one half of the worlds and is judged by the other.

use std::collections::BTreeMap;

use silbo_protocol::carry::store::CarrySettings;
use silbo_protocol::chance::Chance;
use silbo_protocol::ids::ChatId;
use silbo_protocol::input::Request;
use silbo_protocol::session::tag_of;
use silbo_protocol::store::Table;
use silbo_protocol::wire::frame::Frame;
use silbo_simulations::wiretap::Overheard;
use silbo_simulations::{Failure, NodeId, Reach, World};

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;
/// Worlds, and encounters in each.
const WORLDS: u64 = 20;
const ENCOUNTERS: usize = 20;
/// What a guess may be right in, in per cent. Even odds give 50, with a standard error of about 2.
const ACCURACY_MAX: f64 = 55.0;
/// What a device that hides nothing must be recognised in, in per cent.
const ACCURACY_OF_THE_OBVIOUS: f64 = 90.0;

/// What the observer looks at, for each envelope.
const FEATURES: [&str; 19] = [
    "asked for",
    "place in the Want",
    "place in the Want after its place in the Have",
    "ms from Have to Want",
    "ms from Parcels to Taken",
    "frames before the Want",
    "bytes before the Want",
    "frames after the hand-over",
    "bytes after the hand-over",
    "offers after the hand-over",
    "asked for after the hand-over",
    "its vaccine",
    "vaccines after the hand-over",
    "pressure when they meet again",
    "asked for when they meet again",
    "offered when they meet again",
    "frames when they meet again",
    "bytes when they meet again",
    "frames that are not of encounters",
];

/// An envelope: what was seen of it, and whether it was for Vic.
struct Sample {
    seen: [f64; FEATURES.len()],
    for_vic: bool,
}

/// How Vic and the observer meet.
#[derive(Clone, Copy)]
struct Setting {
    /// Vic carries for others.
    carries: bool,
    /// Times from the first moment at which they come near each other and part.
    contacts: &'static [(u64, u64)],
}

/// Ten minutes, with an interruption.
const TEN_MINUTES: Setting =
    Setting { carries: true, contacts: &[(0, 4 * MINUTE_MS), (5 * MINUTE_MS, 10 * MINUTE_MS)] };
/// A long evening side by side.
const EVENING: Setting = Setting { carries: true, contacts: &[(0, 90 * MINUTE_MS)] };
/// Vic carries nothing for others, which the threat model says shows.
const NO_CARRIER: Setting = Setting { carries: false, ..TEN_MINUTES };

struct Lab {
    world: World,
    chance: Chance,
    sue: NodeId,
    tom: NodeId,
    vic: NodeId,
    wim: NodeId,
    uma: NodeId,
}

impl Lab {
    fn new(seed: u64, setting: Setting) -> Result<Self, Failure> {
        let mut world = World::new(seed);
        world.forget_history();
        world.dht.down = true;
        let mut person = |name| world.person_at(name, Reach::BehindNat);
        let [sue, tom, vic, wim, uma] =
            [person("sue")?, person("tom")?, person("vic")?, person("wim")?, person("uma")?];
        for (a, b) in [(sue, vic), (sue, wim), (tom, vic), (tom, wim)] {
            world.contact_begins(a, b);
            world.befriend(a, b)?;
            world.contact_ends(a, b);
        }
        for node in [sue, tom, vic, wim, uma] {
            world.stop(node);
            world.set_reach(node, Reach::RadioOnly);
            world.start(node);
        }
        let settings = CarrySettings { enabled: setting.carries, ..CarrySettings::default() };
        world.request(vic, Request::SetCarry(settings))?;
        let chance = Chance::from_seed(world.chance().bytes());
        let mut lab = Self { world, chance, sue, tom, vic, wim, uma };
        lab.everybody_meets()?;
        Ok(lab)
    }

    /// One observed encounter, and then a few hours in which everything ends.
    fn encounter(&mut self, setting: Setting, samples: &mut Vec<Sample>) -> Result<(), Failure> {
        for _ in 0..1 + self.chance.below(5) {
            let (from, to) = (self.one_of(self.sue, self.tom), self.one_of(self.vic, self.wim));
            self.write(from, to)?;
        }
        for _ in 0..self.chance.below(3) {
            let to = self.one_of(self.sue, self.tom);
            self.write(self.vic, to)?;
        }
        self.meet(self.sue, self.uma)?;
        self.meet(self.tom, self.uma)?;
        let pause_ms = self.chance.below(20 * MINUTE_MS);
        self.world.run_for(pause_ms)?;
        let letters = self.letters();
        let mine = self.world.node(self.uma).disk.store().pairs(Table::Carried);
        let mine: Vec<[u8; 12]> = mine.filter_map(|(_, envelope)| envelope.get(4..16)?.try_into().ok()).collect();
        self.world.tap(self.uma, self.vic);
        let begin_ms = self.world.now_ms();
        for (from_ms, to_ms) in setting.contacts {
            self.world.plan_contact(self.uma, self.vic, begin_ms + from_ms, to_ms - from_ms);
        }
        let end_ms = setting.contacts.last().map_or(0, |(_, to_ms)| *to_ms);
        self.world.run_for(end_ms + SECOND_MS)?;
        let heard = self.world.take_heard();
        let again_ms = setting.contacts.get(1).map_or(u64::MAX, |(from_ms, _)| begin_ms + from_ms);
        for tag in mine {
            if let Some(for_vic) = letters.get(&tag) {
                samples.push(Sample { seen: features(&heard, self.vic, &tag, again_ms), for_vic: *for_vic });
            }
        }
        self.everybody_meets()
    }

    fn one_of(&mut self, a: NodeId, b: NodeId) -> NodeId {
        if self.chance.below(2) == 0 { a } else { b }
    }

    fn write(&mut self, from: NodeId, to: NodeId) -> Result<(), Failure> {
        let chat = self.world.chat_of(to)?;
        let body = "x".repeat(1 + self.chance.below(200) as usize);
        let (reply_to, expire_s, ttl_s, client_id) = (None, None, None, None);
        self.world.request(from, Request::Send { chat, body, reply_to, expire_s, ttl_s, no_infra: true, client_id })?;
        Ok(())
    }

    fn meet(&mut self, a: NodeId, b: NodeId) -> Result<(), Failure> {
        self.world.contact_begins(a, b);
        self.world.run_for(10 * SECOND_MS)?;
        self.world.contact_ends(a, b);
        self.world.run_for(SECOND_MS)
    }

    /// The tags of letters that have not arrived, and whether they are for Vic.
    fn letters(&self) -> BTreeMap<[u8; 12], bool> {
        let mut letters = BTreeMap::new();
        for (to, for_vic) in [(self.vic, true), (self.wim, false)] {
            let chat: ChatId = self.world.node(to).chat().expect("everybody has an account");
            for from in [self.sue, self.tom] {
                let entries = self.world.node(from).disk.store().pairs(Table::Outbox);
                let theirs = entries.filter(|(key, _)| key.starts_with(chat.as_bytes()));
                letters.extend(theirs.filter_map(|(_, entry)| Some((entry.get(2..14)?.try_into().ok()?, for_vic))));
            }
        }
        letters
    }

    /// All mail arrives, all receipts are published, all copies go.
    fn everybody_meets(&mut self) -> Result<(), Failure> {
        let (sue, tom, vic, wim, uma) = (self.sue, self.tom, self.vic, self.wim, self.uma);
        for (a, b) in [(sue, vic), (sue, wim), (tom, vic), (tom, wim)] {
            self.meet(a, b)?;
        }
        self.world.run_for(3 * HOUR_MS)?;
        for (a, b) in [(vic, wim), (sue, tom), (vic, sue), (wim, tom), (uma, vic), (uma, wim), (uma, sue), (uma, tom)] {
            self.meet(a, b)?;
        }
        self.world.run_for(HOUR_MS)
    }
}

/// What the observer sees of one envelope. The second encounter begins at `again_ms`.
fn features(heard: &[Overheard], vic: NodeId, tag: &[u8; 12], again_ms: u64) -> [f64; FEATURES.len()] {
    let is_it = |id: &[u8; 6]| id[..4] == tag[..4];
    let mut seen = [0.0; FEATURES.len()];
    let (mut had_ms, mut had_at, mut given_ms, mut asked) = (None, None, None, 0_usize);
    let (mut before, mut before_bytes) = (0.0, 0.0);
    for noted in heard {
        let Ok(frame) = Frame::decode(&noted.bytes) else { continue };
        let (mine, again, after) = (noted.from != vic, noted.at_ms >= again_ms, given_ms.is_some());
        let bytes = noted.bytes.len() as f64;
        if mine {
            match frame {
                Frame::Have(offers) if !again => {
                    had_at = had_at.or(offers.iter().position(|offer| is_it(&offer.id)));
                    had_ms = had_ms.or(Some(noted.at_ms));
                }
                Frame::Parcels(parcels) if parcels.iter().any(|parcel| parcel.envelope.get(4..16) == Some(tag)) => {
                    given_ms = given_ms.or(Some(noted.at_ms));
                }
                _ => {}
            }
            continue;
        }
        match (again, after) {
            (true, _) => (seen[16], seen[17]) = (seen[16] + 1.0, seen[17] + bytes),
            (false, true) => (seen[7], seen[8]) = (seen[7] + 1.0, seen[8] + bytes),
            (false, false) => (before, before_bytes) = (before + 1.0, before_bytes + bytes),
        }
        match frame {
            Frame::Want(ids) if again => seen[14] += ids.iter().filter(|id| is_it(id)).count() as f64,
            Frame::Want(ids) => {
                if let Some(at) = ids.iter().position(is_it).filter(|_| seen[0] == 0.0) {
                    seen[0] = 1.0;
                    seen[1] = (asked + at) as f64;
                    seen[2] = seen[1] - had_at.map_or(-1.0, |at| at as f64);
                    seen[3] = had_ms.map_or(-1.0, |had_ms| noted.at_ms.saturating_sub(had_ms) as f64);
                    (seen[5], seen[6]) = (before, before_bytes);
                }
                asked += ids.len();
                seen[10] += if after { ids.len() as f64 } else { 0.0 };
            }
            Frame::Taken(_) => {
                if let Some(given_ms) = given_ms.filter(|_| seen[4] == 0.0) {
                    seen[4] = noted.at_ms.saturating_sub(given_ms) as f64;
                }
            }
            Frame::Have(offers) if again => seen[15] += offers.iter().filter(|offer| is_it(&offer.id)).count() as f64,
            Frame::Have(offers) => seen[9] += if after { offers.len() as f64 } else { 0.0 },
            Frame::Vaccines(list) => {
                seen[11] += list.iter().filter(|vaccine| tag_of(&vaccine.preimage).as_bytes() == tag).count() as f64;
                seen[12] += if after || again { list.len() as f64 } else { 0.0 };
            }
            Frame::Meet(meet) if again => seen[13] = f64::from(meet.pressure),
            Frame::Hello(_) | Frame::Meet(_) | Frame::Reconcile(_) | Frame::Parcels(_) | Frame::SheetAt(_) => {}
            _ => seen[18] += 1.0,
        }
    }
    seen
}

/// The share of right guesses, in per cent.
fn accuracy(samples: &[Sample], guess: impl Fn(&Sample) -> bool) -> f64 {
    let right = samples.iter().filter(|sample| guess(sample) == sample.for_vic).count();
    100.0 * right as f64 / samples.len() as f64
}

/// Up to fifteen values of a feature that split the samples into equal parts.
fn cuts(samples: &[Sample], feature: usize) -> Vec<f64> {
    let mut values: Vec<f64> = samples.iter().map(|sample| sample.seen[feature]).collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    let parts = 16.min(values.len());
    (1..parts).map(|part| values[part * values.len() / parts]).collect()
}

/// The best threshold of one feature, and on which side of it an envelope counts as Vic's.
fn threshold(samples: &[Sample], feature: usize) -> impl Fn(&Sample) -> bool {
    let sides = [true, false];
    let rules = cuts(samples, feature).into_iter().flat_map(|cut| sides.map(|above| (cut, above)));
    let right = |(cut, above): &(f64, bool)| accuracy(samples, |sample| (sample.seen[feature] >= *cut) == *above);
    let best = rules.max_by(|a, b| right(a).total_cmp(&right(b))).unwrap_or((0.0, true));
    move |sample| (sample.seen[feature] >= best.0) == best.1
}

/// Naive Bayes over all features.
fn bayes(samples: &[Sample]) -> impl Fn(&Sample) -> bool {
    let cuts: Vec<Vec<f64>> = (0..FEATURES.len()).map(|feature| cuts(samples, feature)).collect();
    let bin = move |sample: &Sample, feature: usize| cuts[feature].partition_point(|cut| *cut <= sample.seen[feature]);
    let mut counts = vec![[[1.0_f64; 16]; 2]; FEATURES.len()];
    let mut totals = [16.0_f64; 2];
    for sample in samples {
        totals[usize::from(sample.for_vic)] += 1.0;
        for (feature, counts) in counts.iter_mut().enumerate() {
            counts[usize::from(sample.for_vic)][bin(sample, feature)] += 1.0;
        }
    }
    move |sample| {
        let odds = counts.iter().enumerate().map(|(feature, counts)| {
            let at = bin(sample, feature);
            (counts[1][at] / totals[1]).ln() - (counts[0][at] / totals[0]).ln()
        });
        odds.sum::<f64>() + (totals[1] / totals[0]).ln() > 0.0
    }
}

/// How often the observer is right with each feature and with all of them, best first.
fn observe(setting: Setting, worlds: u64) -> Vec<(&'static str, f64)> {
    let (mut known, mut judged) = (Vec::new(), Vec::new());
    for seed in 1..=worlds {
        let samples = if seed % 2 == 0 { &mut known } else { &mut judged };
        let mut lab = Lab::new(seed, setting).expect("the world is set up");
        for _ in 0..ENCOUNTERS {
            lab.encounter(setting, samples).unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
        }
    }
    let mut table: Vec<(&str, f64)> = FEATURES
        .iter()
        .enumerate()
        .map(|(feature, name)| (*name, accuracy(&judged, threshold(&known, feature))))
        .collect();
    table.push(("all together", accuracy(&judged, bayes(&known))));
    table.sort_by(|a, b| b.1.total_cmp(&a.1));
    println!("{} envelopes to learn from, {} judged", known.len(), judged.len());
    for (name, accuracy) in &table {
        println!("  {accuracy:5.1} %  {name}");
    }
    table
}

fn best(table: &[(&'static str, f64)]) -> (&'static str, f64) {
    table.first().copied().expect("there are features")
}

#[test]
fn an_encounter_does_not_show_for_whom_an_envelope_is() {
    let (name, accuracy) = best(&observe(TEN_MINUTES, WORLDS));
    assert!(accuracy <= ACCURACY_MAX, "{name} tells recipient from courier in {accuracy:.1} % of the cases");
}

#[test]
fn a_long_evening_with_a_courier_does_not_show_for_whom_an_envelope_is() {
    let (name, accuracy) = best(&observe(EVENING, WORLDS));
    assert!(accuracy <= ACCURACY_MAX, "{name} tells recipient from courier in {accuracy:.1} % of the cases");
}

/// The same observer with the same features is not blind.
#[test]
fn who_carries_nothing_for_others_is_seen_asking_for_its_own() {
    let (name, accuracy) = best(&observe(NO_CARRIER, WORLDS / 5));
    assert!(accuracy > ACCURACY_OF_THE_OBVIOUS, "{name} is right in only {accuracy:.1} % of the cases");
}
