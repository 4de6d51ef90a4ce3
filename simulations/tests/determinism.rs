//! A failure can be replayed: the same scenario and seed give the same trace, and another seed another one.

use silbo_simulations::scenarios::find;

#[test]
fn the_same_seed_gives_the_same_trace_hash() {
    for name in ["direct", "chaos"] {
        let scenario = find(name).expect("the scenario exists");
        let first = scenario.run(7, false);
        let again = scenario.run(7, false);
        let other = scenario.run(8, false);
        assert_eq!((&first.trace, first.steps), (&again.trace, again.steps), "{name}");
        assert_ne!(first.trace, other.trace, "{name}");
    }
}
