//! Mail that walks survives crashes between any two phases of a step, jumping clocks, lossy radios, repeated and
//! reordered frames, and carriers that drop. More seeds: `silbo-sim run --scenario walking-chaos --seeds 2000`.

use silbo_simulations::scenarios::check;

#[test]
fn every_letter_arrives_once_after_a_day_of_trouble_without_a_network() {
    check("walking-chaos", 1..=100);
}
