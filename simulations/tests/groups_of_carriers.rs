//! Several carriers met at once have the same mail: it is handed over once, and by another one when the first fails.

use silbo_protocol::input::Request;
use silbo_protocol::limits::ASK_PATIENCE_MS;
use silbo_protocol::time::SECOND_MS;
use silbo_simulations::{Failure, NodeId, Reach, World};

/// Four letters by Sue to Vic, carried by three others; Vic has met nobody.
fn carried() -> Result<(World, NodeId, [NodeId; 3]), Failure> {
    let mut world = World::new(1);
    world.forget_history();
    world.dht.down = true;
    let mut person = |name| world.person_at(name, Reach::BehindNat);
    let [sue, vic, tom, uma, wim] = [person("sue")?, person("vic")?, person("tom")?, person("uma")?, person("wim")?];
    world.contact_begins(sue, vic);
    world.befriend(sue, vic)?;
    world.contact_ends(sue, vic);
    for node in [sue, vic, tom, uma, wim] {
        world.stop(node);
        world.set_reach(node, Reach::RadioOnly);
        world.start(node);
    }
    let chat = world.chat_of(vic)?;
    for n in 0..4 {
        let (reply_to, expire_s, ttl_s, client_id) = (None, None, None, None);
        let body = format!("letter {n}");
        world.request(sue, Request::Send { chat, body, reply_to, expire_s, ttl_s, no_infra: true, client_id })?;
    }
    for carrier in [tom, uma, wim] {
        world.contact_begins(sue, carrier);
        world.run_for(10 * SECOND_MS)?;
        world.contact_ends(sue, carrier);
        world.run_for(SECOND_MS)?;
    }
    world.take_tally();
    Ok((world, vic, [tom, uma, wim]))
}

fn letters(world: &World, person: NodeId) -> usize {
    world.node(person).texts().iter().filter(|text| text.starts_with("letter")).count()
}

#[test]
fn a_group_that_is_met_hands_a_letter_over_once() {
    let (mut world, vic, carriers) = carried().expect("the letters are carried");
    for carrier in carriers {
        world.contact_begins(carrier, vic);
    }
    world.run_for(3 * ASK_PATIENCE_MS).expect("no invariant breaks");
    assert_eq!(letters(&world, vic), 4);
    assert_eq!(world.take_tally().messages, 4, "once each, although three had them");
}

#[test]
fn what_some_of_a_group_do_not_hand_over_another_one_does_after_one_pause() {
    let (mut world, vic, carriers) = carried().expect("the letters are carried");
    world.drop_carried(carriers[0]);
    world.drop_carried(carriers[1]);
    for carrier in carriers {
        world.contact_begins(carrier, vic);
    }
    world.run_for(ASK_PATIENCE_MS + SECOND_MS).expect("no invariant breaks");
    assert_eq!(letters(&world, vic), 4);
}

#[test]
fn when_the_link_that_was_asked_is_gone_another_one_is_asked_at_once() {
    let (mut world, vic, carriers) = carried().expect("the letters are carried");
    world.drop_carried(carriers[0]);
    for carrier in carriers {
        world.contact_begins(carrier, vic);
    }
    world.run_for(SECOND_MS).expect("no invariant breaks");
    assert_eq!(letters(&world, vic), 0, "the first one was asked");
    world.contact_ends(carriers[0], vic);
    world.run_for(SECOND_MS).expect("no invariant breaks");
    assert_eq!(letters(&world, vic), 4);
}
