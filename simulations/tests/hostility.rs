//! Relays, contacts and strangers misbehave; nothing is lost, nothing is shown twice, nothing is changed.

use silbo_simulations::scenarios::check;

#[test]
fn a_relay_that_repeats_and_reorders_delays_messages_at_most() {
    check("confused-relay", 1..=5);
}

#[test]
fn t31_everything_arrives_once_through_a_relay_that_drops_repeats_reorders_and_corrupts() {
    check("hostile-relay", 1..=10);
}

#[test]
fn a_corrupting_link_to_a_contact_is_survived() {
    check("hostile-peer", 1..=5);
}

#[test]
fn garbage_of_strangers_leaves_the_disk_as_it_was() {
    check("garbage", 1..=3);
}

#[test]
fn replayed_and_altered_frames_of_strangers_show_nothing() {
    check("replays", 1..=5);
}
