//! People become contacts, online, through a relay, and both at once.

use silbo_simulations::scenarios::check;

#[test]
fn a_one_time_invitation_works_once() {
    check("direct-invite", 1..=5);
}

#[test]
fn three_people_follow_one_address_and_one_is_rejected() {
    check("reusable-invite", 1..=5);
}

#[test]
fn two_people_who_are_never_online_together_meet_and_exchange_ten_letters() {
    check("never-together", 1..=5);
}

#[test]
fn both_follow_each_others_invitation_at_once() {
    check("crossing", 1..=20);
}
