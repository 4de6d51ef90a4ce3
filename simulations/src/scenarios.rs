//! Scenarios by name, for tests and for `silbo-sim`: a world is set up, something happens, and what must be true is
//! awaited. The invariants run underneath in all of them.

mod couriers;
mod first_contact;
mod groups;
mod hostility;
mod large_groups;
mod meshes;
mod messages;
mod trouble;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use silbo_protocol::ids::MessageId;

use crate::failure::Failure;
use crate::node::NodeId;
use crate::world::World;

/// A story with a name.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// What `--scenario` takes.
    pub name: &'static str,
    /// What happens, in a sentence.
    pub story: &'static str,
    run: fn(&mut World) -> Result<(), Failure>,
}

/// How a run went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Hash over everything that happened.
    pub trace: String,
    /// Inputs handled by all engines.
    pub steps: u64,
    /// Virtual time that passed.
    pub virtual_ms: u64,
    /// What went wrong, if anything.
    pub failure: Option<Failure>,
}

/// Every scenario.
pub const ALL: &[Scenario] = &[
    Scenario { name: "direct", story: "two nodes talk over a direct link", run: messages::direct },
    Scenario { name: "nearby", story: "two nodes behind NAT talk on their local network", run: messages::nearby },
    Scenario { name: "circuit", story: "two nodes behind NAT talk through a relay's circuit", run: messages::circuit },
    Scenario { name: "offline", story: "a message waits at a relay for its reader", run: messages::offline },
    Scenario { name: "backlog", story: "three hundred messages wait at a relay", run: messages::backlog },
    Scenario {
        name: "changes",
        story: "edits, reactions and deletions reach an absent reader",
        run: messages::changes,
    },
    Scenario {
        name: "direct-invite",
        story: "an invitation is followed while both are online",
        run: first_contact::direct,
    },
    Scenario { name: "reusable-invite", story: "three people follow one address", run: first_contact::reusable },
    Scenario {
        name: "never-together",
        story: "invited and met through a relay only",
        run: first_contact::never_together,
    },
    Scenario { name: "crossing", story: "both follow each other's invitation at once", run: first_contact::crossing },
    Scenario {
        name: "two-relays",
        story: "one of two relays loses everything it signed for",
        run: trouble::two_relays,
    },
    Scenario { name: "relay-restart", story: "a relay dies right after its receipt", run: trouble::relay_restart },
    Scenario { name: "crashes", story: "crashes and cuts everywhere while two people write", run: trouble::crashes },
    Scenario {
        name: "crashes-first",
        story: "crashes and cuts during first contact",
        run: trouble::crashes_at_first_contact,
    },
    Scenario { name: "chaos", story: "every kind of trouble at once", run: trouble::everything },
    Scenario {
        name: "relay-crashes",
        story: "the same, and the two reach only the relay",
        run: trouble::relay_crashes,
    },
    Scenario { name: "relay-chaos", story: "every kind of trouble, through the relay only", run: trouble::relay_chaos },
    Scenario { name: "circle", story: "five people write to each other under crashes", run: trouble::circle },
    Scenario { name: "long-texts", story: "the longest texts wait at a relay", run: messages::long_texts },
    Scenario {
        name: "full-queue",
        story: "a queue holds twenty envelopes and fifty are sent",
        run: messages::full_queue,
    },
    Scenario { name: "disappearing", story: "a message disappears on both sides", run: messages::disappearing },
    Scenario { name: "blocked", story: "a blocked contact shows nothing and learns nothing", run: messages::blocked },
    Scenario { name: "clocks", story: "wall clocks jump by up to 36 hours", run: trouble::clocks },
    Scenario {
        name: "lost-receipts",
        story: "receipts get lost until the session is set up anew and the message sealed again",
        run: trouble::lost_receipts,
    },
    Scenario { name: "full-disk", story: "a disk is full for an hour", run: trouble::full_disk },
    Scenario {
        name: "walking-chaos",
        story: "the mail of twenty people walks for a day while everything goes wrong",
        run: couriers::walking_chaos,
    },
    Scenario { name: "confused-relay", story: "a relay repeats and reorders frames", run: hostility::confused_relay },
    Scenario {
        name: "hostile-relay",
        story: "a relay drops, repeats, reorders and corrupts",
        run: hostility::hostile_relay,
    },
    Scenario { name: "hostile-peer", story: "a contact's link corrupts frames", run: hostility::hostile_peer },
    Scenario { name: "garbage", story: "strangers flood a node with garbage", run: hostility::garbage },
    Scenario { name: "replays", story: "strangers replay everything they have seen", run: hostility::replays },
    Scenario {
        name: "split-9",
        story: "a group of nine goes on in three parts for three days, and agrees afterwards",
        run: groups::split_of_nine,
    },
    Scenario {
        name: "removal-66",
        story: "one of 66 is removed, and each of the others gets its slice of the new key; to be run in release",
        run: large_groups::removal_from_many,
    },
    Scenario { name: "split-50", story: "the same with fifty; to be run in release", run: groups::split_of_fifty },
    Scenario {
        name: "line-10",
        story: "a group of ten of whom each reaches the one before and the one after",
        run: meshes::line_of_ten,
    },
    Scenario { name: "grid-4", story: "a group in a grid of four by four", run: meshes::grid_of_four },
    Scenario { name: "grid-5", story: "a group in a grid of five by five", run: meshes::grid_of_five },
    Scenario {
        name: "churn-20",
        story: "a group of twenty of whom one goes and one returns every minute",
        run: meshes::comings_and_goings_of_a_few,
    },
    Scenario {
        name: "churn-100",
        story: "a group of a hundred of whom ten go or return every minute; to be run in release",
        run: meshes::comings_and_goings,
    },
];

/// The scenario of a name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}

impl Scenario {
    /// Runs it in a fresh world.
    pub fn run(&self, seed: u64, verbose: bool) -> Outcome {
        let mut world = World::new(seed);
        world.trace.verbose = verbose;
        let failure = (self.run)(&mut world).err();
        Outcome { trace: world.trace.hash(), steps: world.trace.steps(), virtual_ms: world.now_ms(), failure }
    }

    /// Runs every seed, so many at once, and tells the outcomes in the order of the seeds as they come.
    pub fn run_all(&self, seeds: Range<u64>, threads: usize, verbose: bool, mut tell: impl FnMut(u64, &Outcome)) {
        let next = AtomicU64::new(seeds.start);
        let (told, outcomes) = mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..threads.max(1) {
                let (told, next) = (told.clone(), &next);
                scope.spawn(move || {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= seeds.end || told.send((seed, self.run(seed, verbose))).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(told);
            let (mut early, mut due) = (BTreeMap::new(), seeds.start);
            for (seed, outcome) in outcomes {
                early.insert(seed, outcome);
                while let Some(outcome) = early.remove(&due) {
                    tell(due, &outcome);
                    due += 1;
                }
            }
        });
    }

    /// The command that runs it again.
    pub fn replay(&self, seed: u64) -> String {
        format!("silbo-sim run --scenario {} --seed {seed} --verbose", self.name)
    }
}

/// Runs a scenario for tests.
///
/// # Panics
/// With the failure, the seed and the command that replays it.
pub fn check(name: &str, seeds: impl IntoIterator<Item = u64>) {
    let scenario = find(name).unwrap_or_else(|| panic!("no scenario is called {name}"));
    let mut failures = Vec::new();
    for seed in seeds {
        if let Some(failure) = scenario.run(seed, false).failure {
            failures.push(format!("seed {seed}: {failure}\n  replay: {}", scenario.replay(seed)));
        }
    }
    assert!(failures.is_empty(), "{} failed with {} seeds\n{}", name, failures.len(), failures.join("\n"));
}

/// A pair of contacts who both use one relay.
struct Pair {
    ann: NodeId,
    ben: NodeId,
    relay: NodeId,
}

fn pair_with_relay(world: &mut World) -> Result<Pair, Failure> {
    let relay = world.relay("relay")?;
    let ann = world.person("ann")?;
    let ben = world.person("ben")?;
    world.use_relay(ann, relay)?;
    world.use_relay(ben, relay)?;
    world.befriend(ann, ben)?;
    settle(world)?;
    Ok(Pair { ann, ben, relay })
}

/// Time in which control messages (grants, profiles) are exchanged.
fn settle(world: &mut World) -> Result<(), Failure> {
    world.run_for(120_000)
}

fn ensure(holds: bool, what: &str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure::Unexpected(what.to_owned())) }
}

fn await_delivered(world: &mut World, from: NodeId, messages: &[MessageId], max_ms: u64) -> Result<(), Failure> {
    let what = format!("all {} messages of {} are delivered", messages.len(), world.node(from).name);
    world.run_until(&what, max_ms, |world| messages.iter().all(|id| world.is_delivered(from, id)))
}

/// Both screens show the same conversation.
fn ensure_same_history(world: &World, a: NodeId, b: NodeId, messages: usize) -> Result<(), Failure> {
    let at_a = world.node(a).history(&world.chat_of(b)?);
    let at_b = world.node(b).history(&world.chat_of(a)?);
    ensure(at_a.len() == messages, &format!("{messages} messages were written, and one side shows {at_a:?}"))?;
    ensure(at_a == at_b, &format!("the two sides show different histories\n{at_a:?}\n{at_b:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_run_at_once_come_in_order_and_as_if_alone() {
        let scenario = find("direct").expect("the scenario exists");
        let mut told = Vec::new();
        scenario.run_all(5..17, 3, false, |seed, outcome| told.push((seed, outcome.trace.clone())));
        let alone: Vec<(u64, String)> = (5..17).map(|seed| (seed, scenario.run(seed, false).trace)).collect();
        assert_eq!(told, alone);
    }
}
