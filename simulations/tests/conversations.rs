//! Messages arrive, whichever way the two ends are joined.

use silbo_simulations::scenarios::check;

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
