//! Ours: a world of real engines, one a person, with real cryptography and real frames.
//!
//! ```text
//!   before 0   accounts; every pair of the message list, and everybody who meets, makes contact over an ideal link
//!   from 0     devices have no network at all: only those within reach of their radios
//!   delivered  the recipient's engine has committed `MessageReceived` within the lifetime
//! ```

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use silbo_protocol::carry::store::CarrySettings;
use silbo_protocol::input::{InviteKind, Request};
use silbo_protocol::step::Reply;
use silbo_protocol::time::{DAY_MS, HOUR_MS};

use super::{Experiment, NOBODY, TEXT_BYTES, Trouble};
use crate::chaos::Chaos;
use crate::failure::Failure;
use crate::network::Reach;
use crate::node::NodeId;
use crate::people;
use crate::progress::Progress;
use crate::radio::Radio;
use crate::routers::{Outcome, Walk};
use crate::world::World;

/// Virtual time for a step of a handshake over an ideal link.
const HANDSHAKE_STEP_MS: u64 = 25;
/// Steps after which a handshake counts as failed.
const HANDSHAKE_STEPS_MAX: u32 = 800;
/// Messages that a stranger writes to one absent recipient: fewer than a session lets run ahead.
const FLOOD_PER_RECIPIENT: usize = 1_500;
/// Parts of the virtual time after which progress is shown.
const PROGRESS_STEPS: u64 = 200;

/// A world on its way through a trace.
struct Ours<'a> {
    walk: &'a Walk<'a>,
    friends: u8,
    trouble: Trouble,
    progress: &'a Progress,
    world: World,
    people: Vec<NodeId>,
    /// Accounts that exist so that a stranger has somebody to write to.
    absent: Vec<NodeId>,
}

/// How it went, and the real time until the trace began.
pub(super) fn run(
    walk: &Walk<'_>,
    experiment: &Experiment,
    progress: &Progress,
) -> Result<(Outcome, Duration), Failure> {
    let begun = Instant::now();
    let mut world = World::new(walk.seed);
    world.forget_history();
    world.set_threads(experiment.threads);
    world.dht.down = true;
    let (friends, trouble) = (experiment.friends, experiment.trouble);
    let mut ours = Ours { walk, friends, trouble, progress, world, people: Vec::new(), absent: Vec::new() };
    ours.make_accounts()?;
    ours.make_contacts()?;
    let prepared = begun.elapsed();
    Ok((ours.walk_through()?, prepared))
}

impl Ours<'_> {
    fn make_accounts(&mut self) -> Result<(), Failure> {
        let people = self.walk.trace.people();
        for person in 0..people {
            self.progress.step("accounts", person as u64, people as u64);
            let name = format!("p{}", self.walk.trace.label(person as u32));
            self.people.push(self.world.person_at(&name, Reach::BehindNat)?);
        }
        let flooded = self.walk.messages.len() - self.walk.honest;
        for absent in 0..flooded.div_ceil(FLOOD_PER_RECIPIENT) {
            self.absent.push(self.world.person_at(&format!("absent{absent}"), Reach::BehindNat)?);
        }
        Ok(())
    }

    /// Who reads a message: for what a stranger floods, accounts that nobody meets.
    fn recipient(&self, at: usize) -> NodeId {
        match self.walk.messages[at].to {
            NOBODY => self.absent[(at - self.walk.honest) / FLOOD_PER_RECIPIENT],
            person => self.people[person as usize],
        }
    }

    /// Handshakes of all pairs, as many side by side as have no person in common.
    fn make_contacts(&mut self) -> Result<(), Failure> {
        let mut pairs = BTreeSet::new();
        for (at, message) in self.walk.messages.iter().enumerate() {
            let (from, to) = (self.people[message.from as usize], self.recipient(at));
            pairs.insert((from.min(to), from.max(to)));
        }
        if self.friends > 0 {
            let met = self.walk.trace.contacts().iter();
            pairs.extend(met.map(|contact| {
                let (a, b) = (self.people[contact.a as usize], self.people[contact.b as usize]);
                (a.min(b), a.max(b))
            }));
        }
        let all = pairs.len() as u64;
        self.world.set_radio(Radio { rate: 1 << 40, delay_ms: 1, ..Radio::default() });
        while !pairs.is_empty() {
            self.progress.step("handshakes", all - pairs.len() as u64, all);
            let mut busy = BTreeSet::new();
            let round: Vec<(NodeId, NodeId)> = pairs
                .iter()
                .copied()
                .filter(|(a, b)| !busy.contains(b) && busy.insert(*a) && busy.insert(*b))
                .collect();
            for pair in &round {
                pairs.remove(pair);
            }
            self.make_contacts_of(&round)?;
        }
        for absent in &self.absent {
            self.world.stop(*absent);
        }
        // A device that starts without a network looks for nobody there.
        for person in &self.people {
            self.world.stop(*person);
            self.world.set_reach(*person, Reach::RadioOnly);
            self.world.start(*person);
        }
        Ok(())
    }

    fn make_contacts_of(&mut self, pairs: &[(NodeId, NodeId)]) -> Result<(), Failure> {
        let mut invited = Vec::with_capacity(pairs.len());
        for (a, b) in pairs {
            self.world.contact_begins(*a, *b);
            let request = Request::InviteCreate { kind: InviteKind::OneTime, ttl_ms: DAY_MS };
            invited.push((*a, *b, self.world.post(*a, request)));
        }
        self.world.run_for(HANDSHAKE_STEP_MS)?;
        for (a, b, request) in invited {
            let Reply::Invite(invite) = self.world.answer(a, request)? else { continue };
            self.world.post(b, Request::ContactAdd { link: invite.link, alias: None });
        }
        let mut open = pairs.to_vec();
        for _ in 0..HANDSHAKE_STEPS_MAX {
            self.world.run_for(HANDSHAKE_STEP_MS)?;
            open.retain(|(a, b)| !self.world.are_contacts(*a, *b));
            if open.is_empty() {
                break;
            }
        }
        if let Some((a, b)) = open.first() {
            let names = [*a, *b].map(|node| self.world.node(node).name.clone());
            return Err(Failure::Unexpected(format!("{} and {} did not become contacts", names[0], names[1])));
        }
        for (a, b) in pairs {
            self.world.contact_ends(*a, *b);
        }
        Ok(())
    }

    fn walk_through(mut self) -> Result<Outcome, Failure> {
        // The trace begins at a full hour, when all timers of the handshakes are over.
        let begin_ms = (self.world.now_ms() / HOUR_MS + 1) * HOUR_MS;
        let wait_ms = begin_ms - self.world.now_ms();
        self.world.run_for(wait_ms)?;
        self.world.set_radio(self.walk.radio.clone());
        self.plan(begin_ms)?;
        self.world.take_tally();
        if let Some(chaos) = chaos_of(self.trouble) {
            self.world.set_chaos(chaos);
        }
        let end_ms = self.walk.trace.end_ms();
        for step in 1..=PROGRESS_STEPS {
            self.progress.step("silbo", step - 1, PROGRESS_STEPS);
            let until = begin_ms + end_ms * step / PROGRESS_STEPS;
            let wait_ms = until.saturating_sub(self.world.now_ms());
            self.world.run_for(wait_ms)?;
        }
        let tally = self.world.take_tally();
        Ok(Outcome {
            delays: self.delays(begin_ms),
            transmissions: tally.messages,
            bytes: tally.bytes,
            hash: self.world.trace.hash(),
        })
    }

    fn plan(&mut self, begin_ms: u64) -> Result<(), Failure> {
        for (at, contact) in self.walk.trace.contacts().iter().enumerate() {
            let setup_ms = self.walk.radio.setup_of(self.walk.seed, at);
            let for_ms = contact.end_ms - contact.start_ms;
            if setup_ms <= for_ms {
                let (a, b) = (self.people[contact.a as usize], self.people[contact.b as usize]);
                self.world.plan_contact(a, b, begin_ms + contact.start_ms + setup_ms, for_ms - setup_ms);
            }
        }
        for (at, message) in self.walk.messages.iter().enumerate() {
            let chat = self.world.chat_of(self.recipient(at))?;
            let request = people::walking_text(chat, &text(at), self.walk.ttl_ms);
            self.world.plan_request(self.people[message.from as usize], begin_ms + message.at_ms, request);
        }
        let envelopes_max = u32::try_from(self.walk.buffer).unwrap_or(u32::MAX);
        for person in &self.people {
            let settings = CarrySettings { envelopes_max, carriers: self.friends, ..CarrySettings::default() };
            self.world.post(*person, Request::SetCarry(settings));
        }
        if let Some(flood) = self.walk.messages.get(self.walk.honest) {
            self.world.floods(self.people[flood.from as usize]);
        }
        for (person, drops) in self.walk.droppers.iter().enumerate() {
            if *drops {
                self.world.drop_carried(self.people[person]);
            }
        }
        Ok(())
    }

    fn delays(&self, begin_ms: u64) -> Vec<Option<u64>> {
        let mut delays = vec![None; self.walk.honest];
        for shown in self.people.iter().flat_map(|person| &self.world.node(*person).shown) {
            let Some(at) = number_in(&shown.body) else { continue };
            let Some(message) = self.walk.messages.get(at) else { continue };
            let delay_ms = shown.at_ms.saturating_sub(begin_ms + message.at_ms);
            if let Some(delay) = delays.get_mut(at).filter(|_| delay_ms <= self.walk.ttl_ms) {
                *delay = Some(delay_ms);
            }
        }
        delays
    }
}

fn chaos_of(trouble: Trouble) -> Option<Chaos> {
    const CLOCKS_EVERY_MS: u64 = HOUR_MS;
    const AWAY_MS_MAX: u64 = HOUR_MS / 6;
    let (crash, clock) = (u64::from(trouble.crash_every_ms.is_some()), u64::from(trouble.clocks));
    let every_ms = trouble.crash_every_ms.unwrap_or(CLOCKS_EVERY_MS) / (crash + clock).max(1);
    let chaos = Chaos { every_ms, away_ms_max: AWAY_MS_MAX, crash, cut: 0, offline: 0, clock, disk: 0 };
    (crash + clock > 0).then_some(chaos)
}

/// The text of a message: its number, and signs up to [`TEXT_BYTES`].
fn text(at: usize) -> String {
    format!("{at:<TEXT_BYTES$}").replace(' ', ".")
}

fn number_in(text: &str) -> Option<usize> {
    text.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_its_length_and_gives_its_number_back() {
        assert_eq!(text(123).len(), TEXT_BYTES);
        assert_eq!(number_in(&text(123)), Some(123));
    }
}
