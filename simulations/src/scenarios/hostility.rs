//! Others misbehave: relays, contacts and strangers.

use silbo_protocol::input::Input;
use silbo_protocol::limits;
use silbo_protocol::time::{DAY_MS, HOUR_MS, MINUTE_MS};

use super::{await_delivered, ensure, ensure_same_history, pair_with_relay};
use crate::failure::Failure;
use crate::hostile::{Hostility, with_flipped_bit};
use crate::world::World;

pub(super) fn confused_relay(world: &mut World) -> Result<(), Failure> {
    through_bad_relay(world, Hostility::CONFUSED)
}

pub(super) fn hostile_relay(world: &mut World) -> Result<(), Failure> {
    through_bad_relay(world, Hostility::THIRTY_PERCENT)
}

/// Ann and Ben cannot reach each other, only the relay, which misbehaves for an hour.
fn through_bad_relay(world: &mut World, hostility: Hostility) -> Result<(), Failure> {
    let pair = pair_with_relay(world)?;
    let (ann, ben) = (pair.ann, pair.ben);
    world.block_pair(ann, ben);
    world.node_mut(pair.relay).hostility = hostility;
    let mut sent = [Vec::new(), Vec::new()];
    for turn in 0..20 {
        sent[0].push(world.send(ann, ben, &format!("ann {turn}"))?);
        sent[1].push(world.send(ben, ann, &format!("ben {turn}"))?);
        world.run_for(3 * MINUTE_MS)?;
    }
    world.node_mut(pair.relay).hostility = Hostility::default();
    await_delivered(world, ann, &sent[0], DAY_MS)?;
    await_delivered(world, ben, &sent[1], DAY_MS)?;
    ensure_same_history(world, ann, ben, 40)
}

pub(super) fn hostile_peer(world: &mut World) -> Result<(), Failure> {
    let pair = pair_with_relay(world)?;
    let (ann, ben) = (pair.ann, pair.ben);
    world.node_mut(ben).hostility = Hostility { corrupt: 300, duplicate: 300, ..Hostility::default() };
    let mut sent = [Vec::new(), Vec::new()];
    for turn in 0..10 {
        sent[0].push(world.send(ann, ben, &format!("ann {turn}"))?);
        sent[1].push(world.send(ben, ann, &format!("ben {turn}"))?);
        world.run_for(MINUTE_MS)?;
    }
    world.heal();
    await_delivered(world, ann, &sent[0], DAY_MS)?;
    await_delivered(world, ben, &sent[1], DAY_MS)?;
    ensure_same_history(world, ann, ben, 20)
}

pub(super) fn garbage(world: &mut World) -> Result<(), Failure> {
    let pair = pair_with_relay(world)?;
    world.run_for(HOUR_MS)?;
    for victim in [pair.ann, pair.relay] {
        world.give(victim, Input::Wake);
        let before = world.node(victim).disk.store().clone();
        for _ in 0..50 {
            let link = world.stranger_link(victim);
            for _ in 0..40 {
                let bytes = garbage_frame(world);
                world.inject(victim, link, bytes);
            }
        }
        ensure(*world.node(victim).disk.store() == before, "garbage changed what is on disk")?;
        ensure(world.failure().is_none(), "an invariant broke under garbage")?;
    }
    let sent = world.send(pair.ann, pair.ben, "still here")?;
    world.wait_delivered(pair.ann, sent, HOUR_MS)
}

pub(super) fn replays(world: &mut World) -> Result<(), Failure> {
    let pair = pair_with_relay(world)?;
    let (ann, ben) = (pair.ann, pair.ben);
    world.record_frames(ben);
    let mut sent = Vec::new();
    for turn in 0..5 {
        sent.push(world.send(ann, ben, &format!("once {turn}"))?);
    }
    await_delivered(world, ann, &sent, HOUR_MS)?;
    world.run_for(HOUR_MS)?;
    let frames = world.recorded_frames();
    ensure(!frames.is_empty(), "frames were recorded")?;
    for round in 0..4 {
        let link = world.stranger_link(ben);
        for frame in &frames {
            let bytes = if round % 2 == 0 { frame.clone() } else { with_flipped_bit(frame.clone(), world.chance()) };
            world.inject(ben, link, bytes);
        }
        world.run_for(MINUTE_MS)?;
    }
    ensure(world.node(ben).shown.len() == 5, "replays show nothing")?;
    let last = world.send(ann, ben, "still here")?;
    world.wait_delivered(ann, last, HOUR_MS)?;
    ensure_same_history(world, ann, ben, 6)
}

/// Random bytes behind a kind byte that is often a real one.
fn garbage_frame(world: &mut World) -> Vec<u8> {
    const KINDS: [u8; 9] = [0x01, 0x02, 0x03, 0x10, 0x11, 0x12, 0x20, 0x21, 0x7f];
    let chance = world.chance();
    let kind = KINDS[chance.below(KINDS.len() as u64) as usize];
    let len = match chance.below(20) {
        0 => limits::FRAME_BYTES_MAX as u64 + 1,
        1 => 0,
        _ => chance.below(600),
    };
    let mut bytes: Vec<u8> = (0..len.min(2_000)).map(|_| chance.below(256) as u8).collect();
    bytes.resize(len as usize, 0xff);
    if let Some(first) = bytes.first_mut() {
        *first = kind;
    }
    bytes
}
