//! After crashes, cuts, wiped relays, jumping clocks and full disks everything has arrived, once and in order.

use silbo_simulations::scenarios::check;

#[test]
fn one_of_two_relays_may_lose_everything_it_signed_for() {
    check("two-relays", 1..=5);
}

#[test]
fn t36_a_relay_that_dies_right_after_its_receipt_still_has_the_message() {
    check("relay-restart", 1..=10);
}

#[test]
fn nothing_is_lost_or_shown_twice_through_two_hundred_worlds_of_crashes() {
    check("crashes", 1..=200);
}

#[test]
fn first_contact_survives_crashes() {
    check("crashes-first", 1..=40);
}

#[test]
fn nothing_is_lost_or_shown_twice_when_everything_goes_wrong() {
    check("chaos", 1..=40);
}

#[test]
fn messages_keep_their_order_when_wall_clocks_jump() {
    check("clocks", 1..=20);
}

#[test]
fn a_full_disk_delays_a_message_and_loses_none() {
    check("full-disk", 1..=3);
}

#[test]
fn crashes_lose_nothing_when_two_people_only_meet_at_a_relay() {
    check("relay-crashes", 1..=40);
}

#[test]
fn nothing_is_lost_when_everything_goes_wrong_between_two_people_and_their_relay() {
    check("relay-chaos", 1..=40);
}

#[test]
fn five_people_write_to_each_other_through_crashes() {
    check("circle", 1..=5);
}

#[test]
fn a_message_that_is_sealed_again_after_a_reset_is_shown_once() {
    check("lost-receipts", 1..=5);
}
