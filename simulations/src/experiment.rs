//! One comparison: routers on the same contacts, messages, buffers, radio and faults, and the oracle beside them.
//!
//! [`Experiment::run`] gives a [`Report`], which is what `silbo-sim trace --json` prints. Ours runs in a world of real
//! engines (`experiment/ours.rs`); the others are [`crate::routers`].

mod ours;
mod report;

use std::time::{Duration, Instant};

use silbo_protocol::chance::Chance;

use crate::failure::Failure;
use crate::mobility::{ContactTrace, Message, MessageList};
use crate::oracle;
use crate::process;
use crate::progress::Progress;
use crate::radio::Radio;
use crate::routers::{Outcome, Router, Walk};

use report::Row;
pub use report::{Figures, Report};

/// What to run.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// Who meets whom.
    pub trace: ContactTrace,
    /// Who writes to whom.
    pub messages: MessageList,
    /// Lifetime of a message.
    pub ttl_ms: u64,
    /// Envelopes of others that a device carries.
    pub buffer: usize,
    /// All chance follows from it.
    pub seed: u64,
    /// The links.
    pub radio: Radio,
    /// Share of the people who take mail of others and never hand it on.
    pub droppers_per_mille: u16,
    /// A stranger writes so many messages for each message of the list.
    pub flood: u32,
    /// People with whom each spends most time, who carry for it: everybody who meets is a contact then. 0: only those
    /// who write to each other are contacts, and nobody carries for anybody in particular.
    pub friends: u8,
    /// What goes wrong with the devices of people.
    pub trouble: Trouble,
    /// Engines at work at once. The result does not depend on it.
    pub threads: usize,
}

/// What goes wrong with devices. Only engines can fail like this; the routers of the literature know no crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// Mean time between two crashes, each of them between two phases of a step of some device.
    pub crash_every_ms: Option<u64>,
    /// Wall clocks jump by up to 36 hours.
    pub clocks: bool,
}

impl Default for Experiment {
    fn default() -> Self {
        const DAY_MS: u64 = 86_400_000;
        Self {
            trace: ContactTrace::default(),
            messages: MessageList::default(),
            ttl_ms: DAY_MS,
            buffer: 400,
            seed: 1,
            radio: Radio::default(),
            droppers_per_mille: 0,
            flood: 0,
            friends: FRIENDS,
            trouble: Trouble::default(),
            threads: process::cores(),
        }
    }
}

/// Bytes of a sealed message of [`TEXT_BYTES`], which a test of the engine confirms.
pub const ENVELOPE_BYTES: u64 = 234;
/// People who carry for each, unless the experiment says otherwise.
pub const FRIENDS: u8 = 8;
/// Bytes of the text of every message.
pub const TEXT_BYTES: usize = 40;

impl Experiment {
    /// Runs `routers` one after the other. The first one is the subject of the report.
    ///
    /// # Errors
    /// A broken invariant of the world of engines.
    pub fn run(&self, routers: &[Router], progress: &Progress) -> Result<Report, Failure> {
        let begun = Instant::now();
        progress.say("oracle");
        let mut best = oracle::earliest_delays(&self.trace, &self.messages.0);
        for delay in &mut best {
            *delay = delay.filter(|delay| *delay <= self.ttl_ms);
        }
        let mut rows = Vec::with_capacity(routers.len());
        for router in routers {
            progress.say(router.name());
            let started = Instant::now();
            let (outcome, prepared) = self.outcome(*router, progress)?;
            rows.push(Row { router: *router, outcome, wall: started.elapsed(), prepared });
        }
        progress.done();
        Ok(Report::new(self, &best, &rows, begun.elapsed()))
    }

    /// How a router did, and the real time until the trace began.
    fn outcome(&self, router: Router, progress: &Progress) -> Result<(Outcome, Duration), Failure> {
        let (mut droppers, flood) = (self.droppers(), self.flood());
        let honest = self.messages.0.len();
        let mut messages = self.messages.0.clone();
        let mut shadowed = None;
        if let Some(beside) = flood.map(|(beside, _)| beside) {
            let (trace, stranger) = self.trace.with_shadow(beside);
            // The stranger takes what it is given and hands on only its own.
            droppers.push(true);
            for (at, _) in (0..flood.map_or(0, |(_, count)| count)).zip(0..) {
                let at_ms = self.messages.0[at as usize % honest].at_ms;
                messages.push(Message { at_ms, from: stranger, to: NOBODY });
            }
            shadowed = Some(trace);
        }
        let walk = Walk {
            trace: shadowed.as_ref().unwrap_or(&self.trace),
            messages: &messages,
            honest,
            ttl_ms: self.ttl_ms,
            buffer: self.buffer,
            radio: &self.radio,
            envelope_bytes: ENVELOPE_BYTES,
            droppers: &droppers,
            seed: self.seed,
        };
        if router == Router::Silbo { ours::run(&walk, self, progress) } else { Ok((router.run(&walk), Duration::ZERO)) }
    }

    /// Who drops, drawn from the seed.
    fn droppers(&self) -> Vec<bool> {
        let people = self.trace.people();
        let mut droppers = vec![false; people];
        let mut order: Vec<usize> = (0..people).collect();
        let mut chance = self.chance("droppers");
        for left in (1..people).rev() {
            order.swap(left, chance.below(left as u64 + 1) as usize);
        }
        let count = people * usize::from(self.droppers_per_mille) / 1_000;
        for person in order.into_iter().take(count) {
            droppers[person] = true;
        }
        droppers
    }

    /// The person beside whom the flooding stranger walks, who has the most contacts, and how much it writes.
    fn flood(&self) -> Option<(u32, u64)> {
        let count = self.messages.0.len() as u64 * u64::from(self.flood);
        let mut contacts = vec![0_u64; self.trace.people()];
        for contact in self.trace.contacts() {
            contacts[contact.a as usize] += 1;
            contacts[contact.b as usize] += 1;
        }
        let busiest = (0_u32..).zip(&contacts).max_by_key(|(person, count)| (**count, std::cmp::Reverse(*person)));
        busiest.filter(|_| count > 0).map(|(person, _)| (person, count))
    }

    fn chance(&self, of: &str) -> Chance {
        Chance::from_seed(blake3::derive_key(of, &self.seed.to_be_bytes()))
    }
}

/// The recipient of what a stranger floods.
const NOBODY: u32 = u32::MAX;
