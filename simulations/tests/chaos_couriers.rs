//! Mail that walks survives crashes between any two phases of a step, jumping clocks, lossy radios, repeated and
//! reordered frames, and carriers that drop. A dozen seeds here, because a build without
//! optimisation takes seconds for each; a hundred and more with `silbo-sim run --scenario walking-chaos --seeds 2000`.

use silbo_simulations::scenarios::check;

#[test]
fn every_letter_arrives_once_after_a_day_of_trouble_without_a_network() {
    check("walking-chaos", 1..=12);
}

/// Seeds that found something: a crash between the two files that lost a receipt, a clock set back that kept one.
#[test]
fn every_receipt_is_published_whatever_happens_to_files_and_clocks() {
    check("walking-chaos", 1253..=1253);
    check("walking-chaos", 1330..=1330);
}
