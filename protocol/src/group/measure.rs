//! How long the resolution takes. Prints, asserts no time: `cargo test --release -p silbo-protocol --lib
//! group::measure -- --ignored --nocapture`.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a measurement has a clock

use std::time::Instant;

use super::graph::Graph;
use super::operation::{Info, Kind, Role};
use super::properties::Random;
use super::test_people::{World, deliver};

/// A group as groups are: people come, some go, keys are renewed, now and then two write at once.
fn grown(operations: usize) -> World {
    let mut world = World::new(200, 1);
    let mut heads = vec![0];
    let mut key = 0;
    for n in 1..operations {
        let person = 1 + n % 199;
        let kind = match n % 10 {
            0 => world.remove(&[person]),
            1..=5 => world.add(person, if person < 5 { Role::Owner } else { Role::Member }),
            6 => Kind::Info(Info { name: Some(format!("{n}")), ..Info::default() }),
            7 => world.rekey(&[key]),
            8 => Kind::Mute { account: world.account(person), until_ms: 9 },
            _ => world.set_role(person, Role::Moderator),
        };
        let is_rekey = matches!(kind, Kind::Rekey { .. });
        let op = world.write(0, &heads, kind);
        if is_rekey {
            key = op;
        }
        // Two at once, joined by the next.
        heads = if n % 7 == 3 { vec![heads[0], op] } else { vec![op] };
        heads.dedup();
    }
    world
}

/// Owners who all remove each other, pair by pair, group after group of them.
fn quarrel(owners: usize) -> World {
    let mut world = World::with(&vec![Role::Owner; owners], owners + 1, 1);
    let last = world.last();
    for by in 1..=owners {
        for whom in (1..=owners).filter(|whom| *whom != by) {
            world.write(by, &[last], world.remove(&[whom]));
        }
    }
    world
}

/// One pair of owners after the other removes each other, and is added again by the founder.
fn circle_after_circle(operations: usize) -> World {
    let mut world = World::with(&[Role::Owner, Role::Owner], 3, 1);
    while world.ops.len() + 4 <= operations {
        let last = world.last();
        let (a, b) = (world.write(1, &[last], world.remove(&[2])), world.write(2, &[last], world.remove(&[1])));
        let again = world.write(0, &[a, b], world.add(1, Role::Owner));
        world.write(0, &[again], world.add(2, Role::Owner));
    }
    world
}

#[test]
#[ignore = "a measurement, of use in release builds only"]
fn how_long_the_resolution_takes() {
    let worlds: [(&str, &dyn Fn() -> World); 6] = [
        ("grown", &|| grown(1_000)),
        ("31 owners against each other", &|| quarrel(31)),
        ("circle after circle", &|| circle_after_circle(1_000)),
        ("random quarrels", &|| Random::play_on(3, Some(500))),
        ("grown", &|| grown(3_800)),
        ("circle after circle", &|| circle_after_circle(3_800)),
    ];
    for (name, world) in worlds {
        let world = world();
        let started = Instant::now();
        let membership = (0..10).map(|_| world.graph.membership()).next_back().unwrap();
        let resolved = started.elapsed() / 10;
        let started = Instant::now();
        let mut graph = Graph::new(world.ops[0].clone()).unwrap();
        deliver(&mut graph, &world.ops[1..].iter().collect::<Vec<_>>());
        println!(
            "{name}: {} operations, {} members, {} void: resolved in {resolved:?}, taken in anew in {:?}",
            world.ops.len(),
            membership.roster.len(),
            membership.void.len(),
            started.elapsed()
        );
    }
}
