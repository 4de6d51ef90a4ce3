//! A group of more devices than a rekey has room for slices in: each gets its own, by whatever way there is.

use silbo_protocol::group::GroupRole;
use silbo_protocol::time::MINUTE_MS;

use super::ensure;
use crate::failure::Failure;
use crate::node::NodeId;
use crate::world::World;

/// One is removed; of the 65 who stay one hears of it from an admin, one from another member, and one is away and finds
/// it at its relay.
pub(super) fn removal_from_many(world: &mut World) -> Result<(), Failure> {
    let relay = world.relay("Relay")?;
    let people: Vec<NodeId> = (0..66).map(|n| world.person(&format!("p{n}"))).collect::<Result<_, _>>()?;
    let [founder, admin, removed, asking, apart, away, ref rest @ ..] = people[..] else {
        return Err(Failure::Unexpected(String::from("there are more")));
    };
    world.use_relay(away, relay)?;
    // Most of them reach the founder only: fewer links, and quicker.
    for (n, a) in people.iter().enumerate().skip(1) {
        for b in &people[n + 1..] {
            world.block_pair(*a, *b);
        }
    }
    for (a, b) in [(admin, asking), (asking, apart)] {
        world.unblock_pair(a, b);
        world.befriend(a, b)?;
    }
    let chat = world.founded_group(&people)?;
    world.set_role(founder, chat, admin, GroupRole::Admin)?;
    world.run_for(2 * MINUTE_MS)?;

    world.block_pair(founder, asking);
    world.block_pair(founder, apart);
    world.stop(away);
    world.remove_member(founder, chat, removed)?;
    world.say(founder, chat, "without one")?;
    for member in rest.iter().chain([&asking]) {
        world.wait_shown(*member, "without one", 5 * MINUTE_MS)?;
    }
    world.wait_members(apart, chat, people.len() - 1)?;
    world.run_for(MINUTE_MS)?;
    let early = world.node(apart).texts().contains(&"without one");
    ensure(!early, "one has a slice whom nobody could have given it")?;

    // Whoever could hand the slice over is off: it lies at the relay.
    world.stop(founder);
    world.stop(admin);
    world.start(away);
    world.wait_shown(away, "without one", 5 * MINUTE_MS)?;

    // It is waited for over a restart, and the rekeyer still has it after one.
    world.stop(apart);
    for node in [founder, admin, apart] {
        world.start(node);
    }
    world.unblock_pair(founder, apart);
    world.wait_shown(apart, "without one", 20 * MINUTE_MS)?;
    world.say(apart, chat, "here again")?;
    let others = [founder, admin, asking, away];
    for member in rest.iter().chain(&others) {
        world.wait_shown(*member, "here again", 20 * MINUTE_MS)?;
    }
    for text in ["without one", "here again"] {
        ensure(!world.node(removed).texts().contains(&text), &format!("who was removed reads {text}"))?;
    }
    Ok(())
}
