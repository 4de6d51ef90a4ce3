//! How two people become contacts.

use silbo_protocol::input::{InviteKind, Request};
use silbo_protocol::step::{ContactState, EventKind, Reply};
use silbo_protocol::time::{HOUR_MS, MINUTE_MS};

use super::{await_delivered, ensure, ensure_same_history, settle};
use crate::failure::Failure;
use crate::node::NodeId;
use crate::world::World;

pub(super) fn direct(world: &mut World) -> Result<(), Failure> {
    let (ann, ben, eve) = (world.person("ann")?, world.person("ben")?, world.person("eve")?);
    let invite = world.invite(ann, InviteKind::OneTime)?;
    world.follow(ben, &invite.link)?;
    world.wait_active(ann, ben)?;
    // A used invitation opens no second door.
    if world.follow(eve, &invite.link).is_ok() {
        world.run_for(HOUR_MS)?;
        ensure(!world.is_active(ann, eve)?, "a one-time invitation worked twice")?;
    }
    ensure(world.contacts(ann)?.len() == 1, "the inviter has one contact")
}

pub(super) fn reusable(world: &mut World) -> Result<(), Failure> {
    let ann = world.person("ann")?;
    let invite = world.invite(ann, InviteKind::Reusable)?;
    let mut guests = Vec::new();
    for name in ["ben", "cem", "dot"] {
        let guest = world.person(name)?;
        world.follow(guest, &invite.link)?;
        guests.push(guest);
    }
    let is_request = |kind: &EventKind| matches!(kind, EventKind::ContactRequest { .. });
    world.run_until("three requests arrive", HOUR_MS, |world| world.node(ann).count_events(is_request) == 3)?;
    let (ben, dot) = (guests[0], guests[2]);
    for (guest, accept) in guests.iter().zip([true, true, false]) {
        let chat = world.chat_of(*guest)?;
        world.request(ann, Request::ContactDecide { chat, accept })?;
    }
    world.wait_active(ann, ben)?;
    world.wait_active(ann, guests[1])?;
    world.run_for(HOUR_MS)?;
    ensure(!world.is_active(dot, ann)?, "a rejected requester is no contact")?;
    let sent = world.send(ben, ann, "thank you")?;
    await_delivered(world, ben, &[sent], HOUR_MS)
}

/// Ann and Ben are never online at the same time, from the invitation to the tenth message.
pub(super) fn never_together(world: &mut World) -> Result<(), Failure> {
    let relay = world.relay("relay")?;
    let (ann, ben) = (world.person("ann")?, world.person("ben")?);
    world.stop(ben);
    world.use_relay(ann, relay)?;
    let invite = world.invite(ann, InviteKind::OneTime)?;
    wait_card_held(world, ann)?;
    world.stop(ann);

    world.start(ben);
    world.use_relay(ben, relay)?;
    world.follow(ben, &invite.link)?;
    settle(world)?;
    swap(world, ben, ann)?;
    ensure(world.is_active(ann, ben)?, "the inviter has the contact after its first start")?;

    let (mut here, mut away) = (ann, ben);
    let mut sent = Vec::new();
    for turn in 0..10 {
        let text = format!("letter {turn}");
        sent.push((here, world.send(here, away, &text)?));
        settle(world)?;
        swap(world, here, away)?;
        world.wait_shown(away, &text, 10 * MINUTE_MS)?;
        (here, away) = (away, here);
    }
    settle(world)?;
    swap(world, here, away)?;
    settle(world)?;
    swap(world, away, here)?;
    for (author, message) in sent {
        ensure(world.is_delivered(author, &message), "every letter counts as delivered")?;
    }
    ensure_same_history(world, ann, ben, 10)
}

pub(super) fn crossing(world: &mut World) -> Result<(), Failure> {
    let (ann, ben) = (world.person("ann")?, world.person("ben")?);
    let by_ann = world.invite(ann, InviteKind::OneTime)?;
    let by_ben = world.invite(ben, InviteKind::OneTime)?;
    let first = world.post(ann, Request::ContactAdd { link: by_ben.link, alias: None });
    let second = world.post(ben, Request::ContactAdd { link: by_ann.link, alias: None });
    world.run_for(MINUTE_MS)?;
    world.answer(ann, first)?;
    world.answer(ben, second)?;
    world.wait_active(ann, ben)?;
    let mut messages = [Vec::new(), Vec::new()];
    for turn in 0..8 {
        messages[0].push(world.send(ann, ben, &format!("ann {turn}"))?);
        messages[1].push(world.send(ben, ann, &format!("ben {turn}"))?);
        let pause = world.chance().below(2_000);
        world.run_for(pause)?;
    }
    await_delivered(world, ann, &messages[0], HOUR_MS)?;
    await_delivered(world, ben, &messages[1], HOUR_MS)?;
    for id in [ann, ben] {
        let contacts = world.contacts(id)?;
        let active = contacts.iter().filter(|view| view.state == ContactState::Active).count();
        ensure(contacts.len() == 1 && active == 1, &format!("one contact, not {contacts:?}"))?;
    }
    ensure_same_history(world, ann, ben, 16)
}

fn swap(world: &mut World, leaves: NodeId, comes: NodeId) -> Result<(), Failure> {
    world.stop(leaves);
    world.run_for(HOUR_MS)?;
    world.start(comes);
    settle(world)
}

pub(super) fn wait_card_held(world: &mut World, id: NodeId) -> Result<(), Failure> {
    for _ in 0..60 {
        if let Reply::Invites(invites) = world.request(id, Request::InviteList)?
            && invites.iter().any(|invite| invite.held_by_relays > 0)
        {
            return Ok(());
        }
        world.run_for(1_000)?;
    }
    Err(Failure::TimedOut { waited_ms: 60_000, what: String::from("a relay holds the card"), state: world.summary() })
}
