//! Two contacts write to each other while nothing goes wrong.

use silbo_protocol::input::{RelayLimits, Request, Route};
use silbo_protocol::limits::TEXT_BYTES_MAX;
use silbo_protocol::step::{EventKind, Path};
use silbo_protocol::store::Table;
use silbo_protocol::time::{DAY_MS, HOUR_MS, MINUTE_MS};

use super::{await_delivered, ensure, ensure_same_history, pair_with_relay, settle};
use crate::failure::Failure;
use crate::network::Reach;
use crate::node::NodeId;
use crate::people::RELAY_LIMITS;
use crate::world::World;

pub(super) fn direct(world: &mut World) -> Result<(), Failure> {
    let (ann, ben) = (world.person("ann")?, world.person("ben")?);
    world.befriend(ann, ben)?;
    talk(world, ann, ben, 10)?;
    ensure_path(world, ben, Path::Direct(Route::Direct))
}

pub(super) fn nearby(world: &mut World) -> Result<(), Failure> {
    let (ann, ben) = (world.person("ann")?, world.person("ben")?);
    world.set_reach(ann, Reach::Lan(1));
    world.set_reach(ben, Reach::Lan(1));
    world.run_for(10_000)?;
    world.befriend(ann, ben)?;
    talk(world, ann, ben, 5)?;
    ensure_path(world, ben, Path::Direct(Route::Local))
}

pub(super) fn circuit(world: &mut World) -> Result<(), Failure> {
    let relay = world.relay("relay")?;
    let (ann, ben) = (world.person("ann")?, world.person("ben")?);
    for id in [ann, ben] {
        world.set_reach(id, Reach::BehindNat);
        world.use_relay(id, relay)?;
    }
    world.befriend(ann, ben)?;
    world.run_until("a circuit joins the two", HOUR_MS, |world| world.linked(ann, ben))?;
    settle(world)?;
    talk(world, ann, ben, 5)?;
    ensure_path(world, ben, Path::Direct(Route::Circuit))
}

pub(super) fn offline(world: &mut World) -> Result<(), Failure> {
    let pair = pair_with_relay(world)?;
    world.stop(pair.ben);
    world.run_for(MINUTE_MS)?;
    let sent = world.send(pair.ann, pair.ben, "while you were out")?;
    world.wait_held(pair.ann, sent, 1, 10 * MINUTE_MS)?;
    world.stop(pair.ann);
    world.run_for(DAY_MS)?;
    world.start(pair.ben);
    world.wait_shown(pair.ben, "while you were out", 10 * MINUTE_MS)?;
    let path = world.node(pair.ben).shown.last().map(|shown| shown.path);
    ensure(path == Some(Path::Relay), &format!("the message came by {path:?}"))?;
    settle(world)?;
    world.stop(pair.ben);
    world.run_for(DAY_MS)?;
    world.start(pair.ann);
    world.wait_delivered(pair.ann, sent, HOUR_MS)?;
    ensure_same_history(world, pair.ann, pair.ben, 1)
}

pub(super) fn backlog(world: &mut World) -> Result<(), Failure> {
    const MESSAGES: usize = 300;
    let pair = pair_with_relay(world)?;
    world.stop(pair.ben);
    let mut sent = Vec::new();
    for at in 0..MESSAGES {
        sent.push(world.send(pair.ann, pair.ben, &format!("message {at}"))?);
    }
    let last = sent[MESSAGES - 1];
    world.wait_held(pair.ann, last, 1, DAY_MS)?;
    world.run_for(HOUR_MS)?;
    world.stop(pair.ann);
    world.start(pair.ben);
    world.run_until("the whole backlog is shown", HOUR_MS, |world| world.node(pair.ben).shown.len() == MESSAGES)?;
    world.start(pair.ann);
    await_delivered(world, pair.ann, &sent, HOUR_MS)?;
    ensure_same_history(world, pair.ann, pair.ben, MESSAGES)
}

pub(super) fn long_texts(world: &mut World) -> Result<(), Failure> {
    const MESSAGES: usize = 12;
    let pair = pair_with_relay(world)?;
    world.stop(pair.ben);
    world.run_for(MINUTE_MS)?;
    let mut sent = Vec::new();
    for at in 0..MESSAGES {
        let mut text = format!("{at:02} ");
        text.push_str(&"ñ".repeat((TEXT_BYTES_MAX - text.len()) / 2));
        sent.push(world.send(pair.ann, pair.ben, &text)?);
    }
    world.wait_held(pair.ann, sent[MESSAGES - 1], 1, DAY_MS)?;
    world.stop(pair.ann);
    world.start(pair.ben);
    world.run_until("all long texts are shown", HOUR_MS, |world| world.node(pair.ben).shown.len() == MESSAGES)?;
    world.start(pair.ann);
    await_delivered(world, pair.ann, &sent, HOUR_MS)?;
    ensure_same_history(world, pair.ann, pair.ben, MESSAGES)
}

pub(super) fn full_queue(world: &mut World) -> Result<(), Failure> {
    const MESSAGES: usize = 50;
    let pair = pair_with_relay(world)?;
    world.keep_apart(pair.ann, pair.ben);
    let limits = Some(RelayLimits { queue_envelopes_max: 20, ..RELAY_LIMITS });
    world.request(pair.relay, Request::RelayServe { limits })?;
    world.stop(pair.ben);
    world.run_for(MINUTE_MS)?;
    let mut sent = Vec::new();
    for at in 0..MESSAGES {
        sent.push(world.send(pair.ann, pair.ben, &format!("message {at}"))?);
    }
    world.run_for(HOUR_MS)?;
    let held = world.node(pair.relay).disk.store().count(Table::MailItem);
    ensure(held <= 20, &format!("the relay holds {held} envelopes and promised no more than 20"))?;
    world.start(pair.ben);
    await_delivered(world, pair.ann, &sent, DAY_MS)?;
    ensure_same_history(world, pair.ann, pair.ben, MESSAGES)
}

pub(super) fn disappearing(world: &mut World) -> Result<(), Failure> {
    const TEXT: &str = "burn after reading";
    let pair = pair_with_relay(world)?;
    let chat = world.chat_of(pair.ben)?;
    let body = TEXT.to_owned();
    let request =
        Request::Send { chat, body, reply_to: None, expire_s: Some(60), client_id: None, ttl_s: None, no_infra: false };
    world.request(pair.ann, request)?;
    world.wait_shown(pair.ben, TEXT, MINUTE_MS)?;
    world.run_for(HOUR_MS)?;
    for id in [pair.ann, pair.ben] {
        let node = world.node(id);
        ensure(!node.remembers(TEXT), &format!("{} still has the text on disk", node.name))?;
    }
    Ok(())
}

pub(super) fn blocked(world: &mut World) -> Result<(), Failure> {
    let pair = pair_with_relay(world)?;
    let (ann, ben) = (pair.ann, pair.ben);
    let ann_at_ben = world.chat_of(ann)?;
    world.request(ben, Request::ContactBlock { chat: ann_at_ben, block: true })?;
    let sent = world.send(ann, ben, "can you hear me")?;
    world.run_for(DAY_MS)?;
    ensure(world.node(ben).shown.is_empty(), "a blocked contact was shown")?;
    ensure(!world.is_delivered(ann, &sent), "a blocked contact got a receipt")?;
    world.request(ben, Request::ContactBlock { chat: ann_at_ben, block: false })?;
    let later = world.send(ann, ben, "and now")?;
    world.wait_delivered(ann, later, DAY_MS)
}

pub(super) fn changes(world: &mut World) -> Result<(), Failure> {
    let pair = pair_with_relay(world)?;
    let (ann, ben) = (pair.ann, pair.ben);
    let kept = world.send(ann, ben, "see you at nine")?;
    let gone = world.send(ann, ben, "wrong chat")?;
    await_delivered(world, ann, &[kept, gone], HOUR_MS)?;
    world.stop(ben);
    world.request(ann, Request::Edit { id: kept, body: String::from("see you at ten") })?;
    world.request(ann, Request::React { id: kept, emoji: String::from("👍"), remove: false })?;
    world.request(ann, Request::Delete { ids: vec![gone], for_both: true })?;
    world.run_for(10 * MINUTE_MS)?;
    world.stop(ann);
    world.start(ben);
    let of_kept = |world: &World, wanted: fn(&EventKind) -> bool| {
        world.node(ben).events.iter().any(|event| event.message == Some(kept) && wanted(&event.kind))
    };
    world.run_until("edit, reaction and deletion arrive", HOUR_MS, |world| {
        let gone = |event: &silbo_protocol::step::Event| {
            event.message == Some(gone) && matches!(event.kind, EventKind::MessageDeleted { .. })
        };
        of_kept(world, |kind| matches!(kind, EventKind::MessageEdited { .. }))
            && of_kept(world, |kind| matches!(kind, EventKind::MessageReaction { .. }))
            && world.node(ben).events.iter().any(gone)
    })?;
    let history = world.node(ben).history(&world.chat_of(ann)?);
    ensure(history == ["see you at ten"], &format!("the reader sees {history:?}"))
}

fn talk(world: &mut World, ann: NodeId, ben: NodeId, turns: usize) -> Result<(), Failure> {
    let mut by_ann = Vec::new();
    let mut by_ben = Vec::new();
    for turn in 0..turns {
        by_ann.push(world.send(ann, ben, &format!("question {turn}"))?);
        let pause = world.chance().below(3_000);
        world.run_for(pause)?;
        by_ben.push(world.send(ben, ann, &format!("answer {turn}"))?);
    }
    await_delivered(world, ann, &by_ann, 10 * MINUTE_MS)?;
    await_delivered(world, ben, &by_ben, 10 * MINUTE_MS)?;
    ensure_same_history(world, ann, ben, 2 * turns)
}

fn ensure_path(world: &World, id: NodeId, path: Path) -> Result<(), Failure> {
    let last = world.node(id).shown.last().map(|shown| shown.path);
    ensure(last == Some(path), &format!("the last message came by {last:?} and not by {path:?}"))
}
