//! Messages arrive, whichever way the two ends are joined.

use silbo_protocol::input::Request;
use silbo_protocol::step::{DeliveryState, FailReason};
use silbo_protocol::time::{DAY_MS, HOUR_MS, MINUTE_MS};
use silbo_simulations::scenarios::check;
use silbo_simulations::{Reach, World};

#[test]
fn two_nodes_talk_over_a_direct_link() {
    check("direct", 1..=5);
}

#[test]
fn two_nodes_behind_nat_talk_on_their_local_network() {
    check("nearby", 1..=5);
}

#[test]
fn two_nodes_behind_nat_talk_through_a_circuit() {
    check("circuit", 1..=5);
}

#[test]
fn a_message_waits_at_a_relay_for_its_reader() {
    check("offline", 1..=5);
}

#[test]
fn three_hundred_messages_wait_at_a_relay() {
    check("backlog", 1..=1);
}

#[test]
fn edits_reactions_and_deletions_reach_an_absent_reader() {
    check("changes", 1..=5);
}

#[test]
fn the_longest_texts_wait_at_a_relay() {
    check("long-texts", 1..=2);
}

#[test]
fn t37_a_full_queue_delays_messages_and_loses_none() {
    check("full-queue", 1..=3);
}

#[test]
fn a_disappearing_message_leaves_no_text_on_either_disk() {
    check("disappearing", 1..=3);
}

#[test]
fn a_blocked_contact_is_not_shown_and_gets_no_receipt() {
    check("blocked", 1..=3);
}

#[test]
fn a_message_fails_when_its_time_is_over_although_another_one_waits_for_longer() {
    let mut world = World::new(1);
    let mut person = |name| world.person_at(name, Reach::BehindNat).expect("a person");
    let [ann, ben] = [person("ann"), person("ben")];
    world.contact_begins(ann, ben);
    world.befriend(ann, ben).expect("contacts");
    world.contact_ends(ann, ben);
    world.stop(ann);
    world.set_reach(ann, Reach::RadioOnly);
    world.start(ann);
    let chat = world.chat_of(ben).expect("a contact");
    for (body, ttl_ms) in [("patient", 30 * DAY_MS), ("urgent", HOUR_MS)] {
        let (reply_to, expire_s, client_id, ttl_s) = (None, None, None, u32::try_from(ttl_ms / 1_000).ok());
        let body = body.to_owned();
        let text = Request::Send { chat, body, reply_to, expire_s, ttl_s, no_infra: false, client_id };
        world.request(ann, text).expect("it is taken in");
        world.run_for(2 * MINUTE_MS).expect("no invariant breaks");
    }
    world.run_for(HOUR_MS).expect("no invariant breaks");
    let failed = DeliveryState::Failed(FailReason::Expired);
    assert_eq!(world.node(ann).states.values().filter(|state| **state == failed).count(), 1);
}
