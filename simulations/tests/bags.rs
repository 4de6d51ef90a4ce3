//! Mail in bags arrives in whatever order people bring it.

use silbo_protocol::input::Request;
use silbo_protocol::limits::BAG_BYTES_MAX;
use silbo_protocol::step::Reply;
use silbo_protocol::wire::bag::Bag;
use silbo_simulations::{Failure, NodeId, Reach, World};

fn letters(world: &World, person: NodeId) -> usize {
    world.node(person).texts().iter().filter(|text| text.starts_with("letter")).count()
}

/// What Sue packs for Vic, one bag a letter, the last one first. They have met, and are out of everybody's reach now.
fn bags_from_the_last(letters: usize) -> Result<(World, NodeId, Vec<Vec<u8>>), Failure> {
    let mut world = World::new(1);
    let mut person = |name| world.person_at(name, Reach::BehindNat);
    let [sue, vic] = [person("sue")?, person("vic")?];
    world.contact_begins(sue, vic);
    world.befriend(sue, vic)?;
    world.contact_ends(sue, vic);
    world.set_reach(sue, Reach::RadioOnly);
    let mut known = Vec::new();
    let mut bags = Vec::new();
    for n in 0..letters {
        world.send(sue, vic, &format!("letter {n}"))?;
        let request = Request::PackBag { chat: None, bytes_max: BAG_BYTES_MAX };
        let Reply::BagPacked { bag, .. } = world.request(sue, request)? else { panic!("a bag") };
        let Bag { parcels, .. } = Bag::decode(&bag).expect("a bag");
        let new: Vec<_> = parcels.into_iter().filter(|parcel| !known.contains(&parcel.envelope)).collect();
        known.extend(new.iter().map(|parcel| parcel.envelope.clone()));
        bags.push(Bag { parcels: new, ..Bag::default() }.encode());
    }
    bags.reverse();
    Ok((world, vic, bags))
}

#[test]
fn mail_from_beyond_the_window_is_read_when_the_window_gets_there() {
    for letters_sent in [12, 150] {
        let (mut world, vic, bags) = bags_from_the_last(letters_sent).expect("bags are packed");
        for bag in bags {
            world.request(vic, Request::OpenBag { bag }).expect("it is opened");
            if letters(&world, vic) == 0 {
                // What waits for the window waits through a restart.
                world.stop(vic);
                world.start(vic);
            }
        }
        assert_eq!(letters(&world, vic), letters_sent);
    }
}
