//! Things break: relays, processes, links, clocks and disks. Afterwards everything has arrived, once.

use silbo_protocol::ids::MessageId;
use silbo_protocol::input::{InviteKind, Request};
use silbo_protocol::step::{EventKind, Reply};
use silbo_protocol::time::{DAY_MS, HOUR_MS, MINUTE_MS};

use super::{Pair, await_delivered, ensure, ensure_same_history, pair_with_relay, settle};
use crate::chaos::Chaos;
use crate::driver::Phase;
use crate::failure::Failure;
use crate::hostile::Hostility;
use crate::node::NodeId;
use crate::world::World;

pub(super) fn two_relays(world: &mut World) -> Result<(), Failure> {
    let relays = [world.relay("north")?, world.relay("south")?];
    let (ann, ben) = (world.person("ann")?, world.person("ben")?);
    for relay in relays {
        world.use_relay(ann, relay)?;
        world.use_relay(ben, relay)?;
    }
    world.befriend(ann, ben)?;
    settle(world)?;
    world.stop(ben);
    world.run_for(MINUTE_MS)?;
    let sent = world.send(ann, ben, "twice is safer")?;
    world.wait_held(ann, sent, 2, HOUR_MS)?;
    world.stop(ann);
    let victim = relays[world.chance().below(2) as usize];
    world.wipe(victim);
    world.serve(victim)?;
    world.run_for(HOUR_MS)?;
    world.start(ben);
    world.wait_shown(ben, "twice is safer", HOUR_MS)?;
    world.start(ann);
    world.wait_delivered(ann, sent, HOUR_MS)?;
    // What is left of the two is enough, also for what the sender believed held by both.
    world.stop(ben);
    world.run_for(MINUTE_MS)?;
    let again = world.send(ann, ben, "still two")?;
    world.wait_held(ann, again, 1, DAY_MS)?;
    world.start(ben);
    world.wait_delivered(ann, again, DAY_MS)?;
    ensure_same_history(world, ann, ben, 2)
}

pub(super) fn relay_restart(world: &mut World) -> Result<(), Failure> {
    let pair = pair_with_relay(world)?;
    world.stop(pair.ben);
    world.run_for(MINUTE_MS)?;
    let sent = world.send(pair.ann, pair.ben, "keep this")?;
    world.wait_held(pair.ann, sent, 1, HOUR_MS)?;
    world.crash(pair.relay, 30_000);
    world.stop(pair.ann);
    world.run_for(MINUTE_MS)?;
    world.start(pair.ben);
    world.wait_shown(pair.ben, "keep this", HOUR_MS)?;
    world.start(pair.ann);
    world.wait_delivered(pair.ann, sent, HOUR_MS)
}

pub(super) fn crashes(world: &mut World) -> Result<(), Failure> {
    let pair = pair_with_relay(world)?;
    write_through(world, &pair, Chaos::CRASHES_AND_CUTS, 10)
}

pub(super) fn everything(world: &mut World) -> Result<(), Failure> {
    let pair = pair_with_relay(world)?;
    write_through(world, &pair, Chaos::ALL, 10)
}

pub(super) fn relay_crashes(world: &mut World) -> Result<(), Failure> {
    let pair = pair_with_relay(world)?;
    world.keep_apart(pair.ann, pair.ben);
    write_through(world, &pair, Chaos::CRASHES_AND_CUTS, 10)
}

pub(super) fn relay_chaos(world: &mut World) -> Result<(), Failure> {
    let pair = pair_with_relay(world)?;
    world.keep_apart(pair.ann, pair.ben);
    write_through(world, &pair, Chaos::ALL, 10)
}

pub(super) fn circle(world: &mut World) -> Result<(), Failure> {
    let relays = [world.relay("north")?, world.relay("south")?];
    let mut people = Vec::new();
    for (at, name) in ["ann", "ben", "cem", "dot", "eve"].into_iter().enumerate() {
        let person = world.person(name)?;
        world.use_relay(person, relays[at % 2])?;
        people.push(person);
    }
    for (at, a) in people.iter().enumerate() {
        for b in people.iter().skip(at + 1) {
            world.befriend(*a, *b)?;
        }
    }
    settle(world)?;
    world.set_chaos(Chaos { every_ms: 2_000, ..Chaos::CRASHES_AND_CUTS });
    let mut sent = Vec::new();
    for turn in 0..30 {
        let from = people[world.chance().below(5) as usize];
        let to = people[world.chance().below(5) as usize];
        if from != to {
            sent.push((from, to, world.send_stubbornly(from, to, &format!("note {turn}"))?));
        }
    }
    world.heal();
    world.run_until("every note is delivered", DAY_MS, |world| {
        sent.iter().all(|(from, _, message)| world.is_delivered(*from, message))
    })?;
    for person in &people {
        let to_me = sent.iter().filter(|(_, to, _)| to == person).count();
        ensure(world.node(*person).shown.len() == to_me, "everybody was shown what was written to them, once")?;
    }
    Ok(())
}

pub(super) fn crashes_at_first_contact(world: &mut World) -> Result<(), Failure> {
    let relay = world.relay("relay")?;
    let (ann, ben) = (world.person("ann")?, world.person("ben")?);
    world.use_relay(ann, relay)?;
    world.use_relay(ben, relay)?;
    world.set_chaos(Chaos::CRASHES_AND_CUTS);
    let invite = ask_stubbornly(world, ann, &Request::InviteCreate { kind: InviteKind::OneTime, ttl_ms: 7 * DAY_MS })?;
    let Reply::Invite(invite) = invite else { return Err(Failure::Unexpected(format!("{invite:?}"))) };
    let add = Request::ContactAdd { link: invite.link, alias: None };
    ask_stubbornly(world, ben, &add)?;
    world.run_for(5 * MINUTE_MS)?;
    world.heal();
    let mut waited = 0;
    while !(world.is_active(ann, ben)? && world.is_active(ben, ann)?) {
        ensure(waited < 24, "both are contacts a day after the last crash")?;
        world.run_for(HOUR_MS)?;
        waited += 1;
    }
    let there = world.send(ann, ben, "there")?;
    let back = world.send(ben, ann, "and back")?;
    await_delivered(world, ann, &[there], DAY_MS)?;
    await_delivered(world, ben, &[back], DAY_MS)?;
    ensure_same_history(world, ann, ben, 2)
}

pub(super) fn clocks(world: &mut World) -> Result<(), Failure> {
    let pair = pair_with_relay(world)?;
    let nodes = [pair.ann, pair.ben, pair.relay];
    let mut sent = [Vec::new(), Vec::new()];
    for turn in 0..12 {
        let victim = nodes[world.chance().below(3) as usize];
        let hours = world.chance().below(73) as i64 - 36;
        let skew_ms = world.node(victim).wall_skew_ms;
        world.jump_clock(victim, hours * 3_600_000 - skew_ms);
        if turn % 4 == 1 {
            world.crash(victim, 10_000);
            world.run_for(MINUTE_MS)?;
        }
        if turn % 4 == 3 {
            world.cut_between(pair.ann, pair.ben);
        }
        sent[0].push(world.send(pair.ann, pair.ben, &format!("ann {turn}"))?);
        sent[1].push(world.send(pair.ben, pair.ann, &format!("ben {turn}"))?);
        let pause = world.chance().below(2 * MINUTE_MS);
        world.run_for(pause)?;
    }
    world.heal();
    await_delivered(world, pair.ann, &sent[0], DAY_MS)?;
    await_delivered(world, pair.ben, &sent[1], DAY_MS)?;
    ensure_same_history(world, pair.ann, pair.ben, 24)
}

pub(super) fn full_disk(world: &mut World) -> Result<(), Failure> {
    let pair = pair_with_relay(world)?;
    world.node_mut(pair.ben).disk.set_full(true);
    let sent = world.send(pair.ann, pair.ben, "no room")?;
    world.run_for(HOUR_MS)?;
    ensure(world.node(pair.ben).shown.is_empty(), "nothing is shown that is not on disk")?;
    ensure(!world.is_delivered(pair.ann, &sent), "nothing counts as delivered that is not on disk")?;
    world.heal();
    world.wait_shown(pair.ben, "no room", DAY_MS)?;
    world.wait_delivered(pair.ann, sent, DAY_MS)
}

/// The one case in which a message reaches its reader in two envelopes.
pub(super) fn lost_receipts(world: &mut World) -> Result<(), Failure> {
    let (ann, ben) = (world.person("ann")?, world.person("ben")?);
    world.befriend(ann, ben)?;
    settle(world)?;
    world.node_mut(ben).hostility = Hostility::MUTE;
    let sent = world.send(ann, ben, "come across")?;
    world.wait_shown(ben, "come across", HOUR_MS)?;
    for node in [ann, ben] {
        let what = format!("{} knows of the new session", world.node(node).name);
        let is_reset = |world: &World| world.node(node).count_events(|kind| *kind == EventKind::SessionReset) > 0;
        world.run_until(&what, DAY_MS, is_reset)?;
    }
    world.run_for(HOUR_MS)?;
    ensure(!world.is_delivered(ann, &sent), "nothing counts as delivered without a receipt")?;
    world.heal();
    world.wait_delivered(ann, sent, DAY_MS)?;
    ensure_same_history(world, ann, ben, 1)
}

/// Both write while trouble strikes; a day after the world has healed everything has arrived, once and in order.
fn write_through(world: &mut World, pair: &Pair, chaos: Chaos, turns: usize) -> Result<(), Failure> {
    let (ann, ben) = (pair.ann, pair.ben);
    world.set_chaos(chaos);
    let mut sent: [Vec<MessageId>; 2] = [Vec::new(), Vec::new()];
    for turn in 0..turns {
        sent[0].push(world.send_stubbornly(ann, ben, &format!("ann {turn}"))?);
        let phase = Phase::ALL[world.chance().below(6) as usize];
        let victim = [ann, ben, pair.relay][world.chance().below(3) as usize];
        world.crash_at(victim, 1, phase, 2_000);
        sent[1].push(world.send_stubbornly(ben, ann, &format!("ben {turn}"))?);
        let pause = world.chance().below(10_000);
        world.run_for(pause)?;
    }
    world.heal();
    await_delivered(world, ann, &sent[0], DAY_MS)?;
    await_delivered(world, ben, &sent[1], DAY_MS)?;
    ensure_same_history(world, ann, ben, 2 * turns)
}

/// Asks until a running node has answered. What was committed before a crash may make a repetition fail; then the
/// last answer counts as given.
fn ask_stubbornly(world: &mut World, id: NodeId, request: &Request) -> Result<Reply, Failure> {
    for _ in 0..1_000 {
        let posted = world.post(id, request.clone());
        world.run_for(2_000)?;
        if world.node(id).replies.contains_key(&posted) {
            return world.answer(id, posted);
        }
    }
    Err(Failure::Unexpected(format!("{} never answered", world.node(id).name)))
}
