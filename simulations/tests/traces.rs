//! Mail that walks, on a small trace of the village model. The figures for traces of real people (SocioPatterns and
//! CRAWDAD, which may not be shipped) come from `silbo-sim trace`.

use silbo_protocol::chance::Chance;
use silbo_simulations::experiment::{Experiment, Report, Trouble};
use silbo_simulations::mobility::village::Villages;
use silbo_simulations::mobility::{ContactTrace, MessageList};
use silbo_simulations::oracle;
use silbo_simulations::progress::Progress;
use silbo_simulations::radio::Radio;
use silbo_simulations::routers::Router;

const HOUR_MS: u64 = 3_600_000;

/// A dozen people in two hamlets for a day, and twenty messages in its first half.
fn village(seed: u8) -> Experiment {
    let settings =
        Villages { people: 12, village_min: 5, village_max: 7, travellers_per_mille: 200, ..Villages::default() };
    let trace = settings.contacts(Chance::from_seed([seed; 32]));
    let mut chance = Chance::from_seed([seed ^ 0xff; 32]);
    let messages = MessageList::random(12, 20, 12 * HOUR_MS, &mut chance);
    Experiment { trace, messages, seed: u64::from(seed), ..Experiment::default() }
}

fn run(experiment: &Experiment, routers: &[Router]) -> Report {
    experiment.run(routers, &Progress::silent()).expect("no invariant breaks")
}

#[test]
fn engines_deliver_nearly_what_physics_allows() {
    let report = run(&village(1), &Router::ALL);
    let ours = &report.routers[0];
    assert!(report.oracle_delivered >= 10, "a trace in which {} arrive says little", report.oracle_delivered);
    assert!(ours.delivered <= report.oracle_delivered, "{ours:?}");
    assert!(ours.delivered * 100 >= report.oracle_delivered * 97, "{ours:?} of {}", report.oracle_delivered);
    let direct = &report.routers[1];
    assert!(direct.delivered <= ours.delivered, "{direct:?} {ours:?}");
}

#[test]
fn the_same_seed_gives_the_same_trace_hash_and_another_seed_another_one() {
    let experiment = village(2);
    let first = run(&experiment, &[Router::Silbo]);
    assert_eq!(first.trace_hash, run(&experiment, &[Router::Silbo]).trace_hash);
    let other = Experiment { seed: 99, ..experiment };
    assert_ne!(first.trace_hash, run(&other, &[Router::Silbo]).trace_hash);
}

#[test]
fn nobody_beats_the_oracle_on_a_lossy_radio_with_crashing_devices() {
    let experiment = Experiment {
        radio: Radio { loss_per_mille: 100, setup_ms: 1_000..=3_000, ..Radio::default() },
        trouble: Trouble { crash_every_ms: Some(10 * 60_000), clocks: false },
        droppers_per_mille: 200,
        ..village(3)
    };
    let report = run(&experiment, &[Router::Silbo]);
    assert!(report.delivered > 0 && report.delivered <= report.oracle_delivered, "{report:?}");
}

#[test]
fn a_flooding_stranger_leaves_room_for_the_mail_of_others() {
    let quiet = village(4);
    let before = run(&quiet, &[Router::Silbo]).delivered;
    let after = run(&Experiment { flood: 10, ..quiet }, &[Router::Silbo]).delivered;
    assert!(after * 100 >= before * 90, "{before} without the flood, {after} with it");
}

#[test]
fn a_trace_goes_through_its_file_form_unchanged() {
    let experiment = village(5);
    let mut trace = ContactTrace::read(&experiment.trace.to_csv()).expect("a good file");
    let messages = MessageList::read(&experiment.messages.to_csv(&experiment.trace), &mut trace).expect("a good file");
    assert_eq!((trace.contacts(), &messages), (experiment.trace.contacts(), &experiment.messages));
    let delays = oracle::earliest_delays(&trace, &messages.0);
    assert_eq!(delays, oracle::earliest_delays(&experiment.trace, &experiment.messages.0));
}
