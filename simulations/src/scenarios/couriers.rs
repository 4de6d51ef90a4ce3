//! Mail that walks between people who have no network at all, and everything goes wrong on its way.

use std::collections::BTreeSet;

use silbo_protocol::carry::store::CarrySettings;
use silbo_protocol::chance::Chance;
use silbo_protocol::ids::MessageId;
use silbo_protocol::input::Request;
use silbo_protocol::store::Table;
use silbo_protocol::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS};

use super::ensure;
use crate::chaos::Chaos;
use crate::failure::Failure;
use crate::hostile::Hostility;
use crate::mobility::ContactTrace;
use crate::mobility::village::Villages;
use crate::mobility::waypoint::Waypoint;
use crate::network::Reach;
use crate::node::NodeId;
use crate::radio::Radio;
use crate::world::World;

const PEOPLE: u32 = 20;
const LETTERS: u64 = 40;
/// Who takes mail of others and hands on none, before the world heals.
const DROPPERS: usize = 4;
/// Whose frames arrive twice and out of order, before the world heals.
const CONFUSED: usize = 2;
/// Where everything strikes: a trouble every ten minutes of the day, half of them deaths within a step.
const TROUBLE: Chaos =
    Chaos { every_ms: 10 * MINUTE_MS, away_ms_max: 20 * MINUTE_MS, crash: 8, cut: 2, offline: 2, clock: 3, disk: 1 };
/// How long two people are near each other when everybody meets everybody.
const GATHERING_MS: u64 = 30 * SECOND_MS;

/// A letter that was written.
struct Letter {
    from: NodeId,
    to: NodeId,
    text: String,
    id: MessageId,
}

/// Twenty people live a day of the village model or of random waypoints, under every kind of trouble. Then the world
/// heals, and everybody meets everybody: every letter has arrived once, and its author knows.
pub(super) fn walking_chaos(world: &mut World) -> Result<(), Failure> {
    world.forget_history();
    world.dht.down = true;
    let people = (0..PEOPLE).map(|n| world.person_at(&format!("p{n}"), Reach::BehindNat));
    let people = people.collect::<Result<Vec<NodeId>, Failure>>()?;
    let pairs = make_friends(world, &people)?;
    let trace = contacts(world);
    let begin_ms = (world.now_ms() / HOUR_MS + 1) * HOUR_MS;
    run_to(world, begin_ms)?;
    plan(world, &people, &trace);
    for person in &people[..DROPPERS] {
        world.drop_carried(*person);
    }
    for person in &people[DROPPERS..DROPPERS + CONFUSED] {
        world.node_mut(*person).hostility = Hostility::CONFUSED;
    }
    world.set_chaos(TROUBLE);
    let letters = write(world, &pairs, begin_ms)?;
    run_to(world, begin_ms + DAY_MS)?;
    world.heal();
    for person in &people {
        world.node_mut(*person).drops_carried = false;
    }
    world.set_radio(Radio::default());
    gather(world, &people)?;
    all_arrived(world, &people, &letters)?;
    // The pauses before receipts are published are over.
    world.run_for(HOUR_MS)?;
    gather(world, &people)?;
    gather(world, &people)?;
    all_arrived(world, &people, &letters)?;
    for person in &people {
        let carried = world.node(*person).disk.store().count(Table::Carried);
        ensure(carried == 0, &format!("{} still carries {carried} envelopes", world.node(*person).name))?;
    }
    Ok(())
}

/// Everybody has one friend of their choice; then the networks are gone.
fn make_friends(world: &mut World, people: &[NodeId]) -> Result<Vec<(NodeId, NodeId)>, Failure> {
    let mut pairs = BTreeSet::new();
    for (at, a) in people.iter().enumerate() {
        let b = people[(at + 1 + world.chance().below(u64::from(PEOPLE) - 1) as usize) % people.len()];
        pairs.insert((*a.min(&b), *a.max(&b)));
    }
    for (a, b) in &pairs {
        world.contact_begins(*a, *b);
        world.befriend(*a, *b)?;
        world.contact_ends(*a, *b);
    }
    for person in people {
        world.stop(*person);
        world.set_reach(*person, Reach::RadioOnly);
        world.start(*person);
        let envelopes_max = 20 + world.chance().below(100) as u32;
        let settings = CarrySettings { envelopes_max, carriers: 4, ..CarrySettings::default() };
        world.request(*person, Request::SetCarry(settings))?;
    }
    Ok(pairs.into_iter().collect())
}

/// A day of villages or of random waypoints, by the seed.
fn contacts(world: &mut World) -> ContactTrace {
    let chance = Chance::from_seed(world.chance().bytes());
    if world.seed.is_multiple_of(2) {
        let villages = Villages {
            people: PEOPLE,
            village_min: 6,
            village_max: 12,
            travellers_per_mille: 150,
            ..Villages::default()
        };
        villages.contacts(chance)
    } else {
        let waypoint = Waypoint {
            people: PEOPLE,
            side_m: 800,
            pause_ms_max: HOUR_MS,
            step_ms: 30 * SECOND_MS,
            ..Waypoint::default()
        };
        waypoint.contacts(chance)
    }
}

fn plan(world: &mut World, people: &[NodeId], trace: &ContactTrace) {
    let radio = Radio { loss_per_mille: 100, setup_ms: 1_000..=3_000, ..Radio::default() };
    let begin_ms = world.now_ms();
    for (at, contact) in trace.contacts().iter().enumerate() {
        let setup_ms = radio.setup_of(world.seed, at);
        let for_ms = contact.end_ms - contact.start_ms;
        if setup_ms < for_ms {
            let (a, b) = (people[contact.a as usize], people[contact.b as usize]);
            world.plan_contact(a, b, begin_ms + contact.start_ms + setup_ms, for_ms - setup_ms);
        }
    }
    world.set_radio(radio);
}

/// Letters all through the day but its last hours.
fn write(world: &mut World, pairs: &[(NodeId, NodeId)], begin_ms: u64) -> Result<Vec<Letter>, Failure> {
    let mut letters = Vec::new();
    for number in 0..LETTERS {
        run_to(world, begin_ms + number * 20 * HOUR_MS / LETTERS)?;
        let (a, b) = pairs[world.chance().below(pairs.len() as u64) as usize];
        let (from, to) = if world.chance().below(2) == 0 { (a, b) } else { (b, a) };
        let text = format!("letter {number}");
        // Who is dead for longer than that is asked again: the text is its `client_id`, so it is written once.
        let asked = world.send_stubbornly(from, to, &text);
        let id = if let Err(Failure::Unexpected(_)) = asked { world.send_stubbornly(from, to, &text) } else { asked }?;
        letters.push(Letter { from, to, text, id });
    }
    Ok(letters)
}

/// Everybody meets everybody, two by two, as in a tournament.
fn gather(world: &mut World, people: &[NodeId]) -> Result<(), Failure> {
    let Some((last, circle)) = people.split_last() else { return Ok(()) };
    let size = circle.len();
    for round in 0..size {
        let now_ms = world.now_ms();
        world.plan_contact(circle[round], *last, now_ms, GATHERING_MS);
        for step in 1..=size / 2 {
            let (a, b) = (circle[(round + step) % size], circle[(round + size - step) % size]);
            world.plan_contact(a, b, now_ms, GATHERING_MS);
        }
        world.run_for(GATHERING_MS + SECOND_MS)?;
    }
    Ok(())
}

fn all_arrived(world: &World, people: &[NodeId], letters: &[Letter]) -> Result<(), Failure> {
    for letter in letters {
        let known = world.is_delivered(letter.from, &letter.id);
        let (from, to) = (&world.node(letter.from).name, &world.node(letter.to).name);
        ensure(known, &format!("{from} knows that {} reached {to}\n{}", letter.text, world.summary()))?;
    }
    for person in people {
        let mut shown = world.node(*person).texts();
        let mut written: Vec<&str> =
            letters.iter().filter(|letter| letter.to == *person).map(|letter| letter.text.as_str()).collect();
        shown.sort_unstable();
        written.sort_unstable();
        let name = &world.node(*person).name;
        ensure(shown == written, &format!("{name} was shown {shown:?}, and {written:?} were written"))?;
    }
    Ok(())
}

fn run_to(world: &mut World, at_ms: u64) -> Result<(), Failure> {
    let wait_ms = at_ms.saturating_sub(world.now_ms());
    world.run_for(wait_ms)
}
