//! Groups in the simulated world: real engines, real keys, virtual time.

use silbo_protocol::group::{GroupRole, GroupState, GroupView};
use silbo_protocol::ids::ChatId;
use silbo_protocol::input::Request;
use silbo_protocol::step::{DeliveryState, Reply};
use silbo_simulations::node::NodeId;
use silbo_simulations::scenarios::check;
use silbo_simulations::world::World;

const MINUTE: u64 = 60_000;

fn names(view: &GroupView) -> Vec<String> {
    let mut names: Vec<String> = view.members.iter().map(|member| member.name.clone()).collect();
    names.sort();
    names
}

fn wait_members(world: &mut World, of: NodeId, chat: ChatId, count: usize) -> GroupView {
    for _ in 0..240 {
        if let Some(view) = world
            .group(of, chat)
            .expect("an answer")
            .filter(|v| v.members.len() == count && v.state == GroupState::Active)
        {
            return view;
        }
        world.run_for(1_000).expect("no invariant is broken");
    }
    let last = world.group(of, chat).expect("an answer");
    panic!("{}: {last:?}", world.node(of).name);
}

#[test]
fn three_people_talk_though_two_of_them_are_no_contacts() {
    let mut world = World::new(1);
    let [ada, bob, carol] = ["Ada", "Bob", "Carol"].map(|name| world.person(name).unwrap());
    world.befriend(ada, bob).unwrap();
    world.befriend(ada, carol).unwrap();
    let chat = world.create_group(ada, &[bob, carol]).unwrap();
    for member in [ada, bob, carol] {
        let view = wait_members(&mut world, member, chat, 3);
        assert_eq!(names(&view), ["Ada", "Bob", "Carol"], "{}", world.node(member).name);
    }
    let id = world.say(bob, chat, "Saturday?").unwrap();
    for reader in [ada, carol] {
        world.wait_shown(reader, "Saturday?", MINUTE).unwrap();
    }
    world
        .run_until("delivered to both", 2 * MINUTE, |world| {
            matches!(world.node(bob).states.get(&id), Some(DeliveryState::Delivered { .. }))
        })
        .unwrap();
    world.say(carol, chat, "Sunday.").unwrap();
    world.wait_shown(bob, "Sunday.", MINUTE).unwrap();
    world.wait_shown(ada, "Sunday.", MINUTE).unwrap();
}

#[test]
fn a_restart_forgets_no_key_though_several_came_at_the_same_moment() {
    let mut world = World::new(8);
    let people = ["Ada", "Bob", "Carol", "Dora"].map(|name| world.person(name).unwrap());
    let [ada, bob, carol, dora] = people;
    for other in [bob, carol, dora] {
        world.befriend(ada, other).unwrap();
    }
    let chat = world.create_group(ada, &[bob, carol, dora]).unwrap();
    for member in people {
        wait_members(&mut world, member, chat, 4);
    }
    for person in people {
        world.stop(person);
        world.start(person);
    }
    for (author, text) in [(ada, "still here"), (dora, "so am I")] {
        let id = world.say(author, chat, text).unwrap();
        world
            .run_until("delivered to all", 5 * MINUTE, |world| {
                matches!(world.node(author).states.get(&id), Some(DeliveryState::Delivered { .. }))
            })
            .unwrap();
    }
}

#[test]
fn who_was_removed_reads_nothing_more() {
    let mut world = World::new(2);
    let [ada, bob, carol] = ["Ada", "Bob", "Carol"].map(|name| world.person(name).unwrap());
    world.befriend(ada, bob).unwrap();
    world.befriend(ada, carol).unwrap();
    let chat = world.create_group(ada, &[bob, carol]).unwrap();
    for member in [ada, bob, carol] {
        wait_members(&mut world, member, chat, 3);
    }
    let epoch = world.group(ada, chat).unwrap().unwrap().epoch;
    world.remove_member(ada, chat, carol).unwrap();
    let bobs = wait_members(&mut world, bob, chat, 2);
    assert!(!bobs.rekey_due);
    assert_ne!(world.group(ada, chat).unwrap().unwrap().epoch, epoch);
    world.say(bob, chat, "without carol").unwrap();
    world.wait_shown(ada, "without carol", MINUTE).unwrap();
    world.run_for(10 * MINUTE).unwrap();
    assert!(!world.node(carol).texts().contains(&"without carol"));
    assert_eq!(world.group(carol, chat).unwrap().unwrap().state, GroupState::Removed);
    assert_eq!(world.group(bob, chat).unwrap().unwrap().epoch, world.group(ada, chat).unwrap().unwrap().epoch);
}

fn invite(world: &mut World, by: NodeId, chat: ChatId, approval: bool) -> String {
    let request = Request::GroupInvite { chat, uses: 5, ttl_ms: 86_400_000, approval };
    match world.request(by, request).expect("a link") {
        Reply::GroupLink(view) => view.link,
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_follows_a_link_is_let_in_and_reads_nothing_of_before() {
    let mut world = World::new(3);
    let [ada, bob, dora] = ["Ada", "Bob", "Dora"].map(|name| world.person(name).unwrap());
    world.befriend(ada, bob).unwrap();
    let chat = world.create_group(ada, &[bob]).unwrap();
    wait_members(&mut world, bob, chat, 2);
    world.say(bob, chat, "before").unwrap();
    world.wait_shown(ada, "before", MINUTE).unwrap();
    let link = invite(&mut world, ada, chat, false);
    world.request(dora, Request::GroupJoin { link: link.clone() }).unwrap();
    for member in [ada, bob, dora] {
        let view = wait_members(&mut world, member, chat, 3);
        assert_eq!(names(&view), ["Ada", "Bob", "Dora"], "{}", world.node(member).name);
    }
    world.say(dora, chat, "here I am").unwrap();
    for reader in [ada, bob] {
        world.wait_shown(reader, "here I am", MINUTE).unwrap();
    }
    world.say(bob, chat, "welcome").unwrap();
    world.wait_shown(dora, "welcome", MINUTE).unwrap();
    assert!(!world.node(dora).texts().contains(&"before"));
    let ada_is_a_contact = world.is_active(dora, ada).unwrap();
    assert!(!ada_is_a_contact, "a member met through a group is no contact");
    world.request(dora, Request::GroupJoin { link }).unwrap();
}

#[test]
fn a_link_that_asks_for_approval_lets_in_whom_somebody_lets_in() {
    let mut world = World::new(4);
    let [ada, dora] = ["Ada", "Dora"].map(|name| world.person(name).unwrap());
    let chat = world.create_group(ada, &[]).unwrap();
    let link = invite(&mut world, ada, chat, true);
    world.request(dora, Request::GroupJoin { link }).unwrap();
    for _ in 0..60 {
        world.run_for(1_000).unwrap();
        if !world.group(ada, chat).unwrap().unwrap().requests.is_empty() {
            break;
        }
    }
    let requests = world.group(ada, chat).unwrap().unwrap().requests;
    assert_eq!(requests.len(), 1);
    assert_eq!(world.group(dora, chat).unwrap().unwrap().state, GroupState::Joining);
    let member = requests[0].account;
    world.request(ada, Request::GroupDecide { chat, member, accept: true }).unwrap();
    wait_members(&mut world, dora, chat, 2);
}

#[test]
fn a_member_who_was_away_finds_everything_at_its_relay() {
    let mut world = World::new(5);
    let relay = world.relay("Relay").unwrap();
    let [ada, bob, carol] = ["Ada", "Bob", "Carol"].map(|name| world.person(name).unwrap());
    for person in [ada, bob, carol] {
        world.use_relay(person, relay).unwrap();
    }
    world.befriend(ada, bob).unwrap();
    world.befriend(ada, carol).unwrap();
    let chat = world.create_group(ada, &[bob, carol]).unwrap();
    for member in [ada, bob, carol] {
        wait_members(&mut world, member, chat, 3);
    }
    world.run_for(MINUTE).unwrap();
    world.stop(carol);
    let id = world.say(bob, chat, "while you were away").unwrap();
    world.wait_shown(ada, "while you were away", MINUTE).unwrap();
    world.run_for(MINUTE).unwrap();
    world.stop(bob);
    world.stop(ada);
    world.run_for(MINUTE).unwrap();
    world.start(carol);
    world.wait_shown(carol, "while you were away", 2 * MINUTE).unwrap();
    world.run_for(MINUTE).unwrap();
    world.stop(carol);
    world.run_for(MINUTE).unwrap();
    world.start(bob);
    world
        .run_until("delivered to both", 5 * MINUTE, |world| {
            matches!(world.node(bob).states.get(&id), Some(DeliveryState::Delivered { .. }))
        })
        .unwrap();
}

#[test]
fn both_sides_of_a_split_go_on_and_agree_afterwards() {
    let mut world = World::new(6);
    let people = ["Ada", "Bob", "Carol", "Dora", "Emil", "Fritz"].map(|name| world.person(name).unwrap());
    let [ada, bob, carol, dora, emil, fritz] = people;
    for (a, b) in [(ada, bob), (ada, carol), (ada, dora), (ada, emil), (dora, fritz), (dora, emil), (bob, carol)] {
        world.befriend(a, b).unwrap();
    }
    let chat = world.create_group(ada, &[bob, carol, dora, emil]).unwrap();
    for member in [ada, bob, carol, dora, emil] {
        wait_members(&mut world, member, chat, 5);
    }
    world.set_role(ada, chat, dora, GroupRole::Admin).unwrap();
    world.run_for(MINUTE).unwrap();

    world.split(&[&[ada, bob, carol], &[dora, emil, fritz]], true);
    world.say(bob, chat, "left").unwrap();
    world.wait_shown(carol, "left", MINUTE).unwrap();
    world.remove_member(ada, chat, carol).unwrap();
    world.say(ada, chat, "left without carol").unwrap();
    world.wait_shown(bob, "left without carol", MINUTE).unwrap();
    world.say(emil, chat, "right").unwrap();
    world.wait_shown(dora, "right", MINUTE).unwrap();
    world.add_members(dora, chat, &[fritz]).unwrap();
    wait_members(&mut world, fritz, chat, 6);
    world.say(fritz, chat, "hello from the right").unwrap();
    world.wait_shown(emil, "hello from the right", MINUTE).unwrap();
    world.run_for(3 * 86_400_000).unwrap();

    world.split(&[&[ada, bob, carol], &[dora, emil, fritz]], false);
    let together = [ada, bob, dora, emil, fritz];
    for member in together {
        let view = wait_members(&mut world, member, chat, 5);
        assert_eq!(names(&view), ["Ada", "Bob", "Dora", "Emil", "Fritz"], "{}", world.node(member).name);
    }
    for text in ["left", "left without carol"] {
        for reader in [dora, emil] {
            world.wait_shown(reader, text, 20 * MINUTE).unwrap();
        }
    }
    for text in ["right", "hello from the right"] {
        for reader in [ada, bob] {
            world.wait_shown(reader, text, 20 * MINUTE).unwrap();
        }
    }
    world.say(ada, chat, "together again").unwrap();
    for reader in [bob, dora, emil, fritz] {
        world.wait_shown(reader, "together again", 5 * MINUTE).unwrap();
    }
    let epochs: Vec<[u8; 4]> = together.map(|member| world.group(member, chat).unwrap().unwrap().epoch).to_vec();
    assert!(epochs.windows(2).all(|pair| pair[0] == pair[1]), "{epochs:?}");
    assert!(!world.node(carol).texts().contains(&"left without carol"));
    assert!(!world.node(carol).texts().contains(&"together again"));
    let histories: Vec<Vec<String>> = [ada, bob].map(|member| world.node(member).history(&chat)).to_vec();
    assert_eq!(histories[0], histories[1], "the same order on every device");
}

#[test]
fn three_parts_of_a_group_agree_after_three_days_and_nobody_reads_what_was_not_for_them() {
    check("split-9", [1, 6, 12]);
}

#[test]
fn a_post_crosses_a_line_of_ten_within_half_a_minute() {
    check("line-10", [1]);
}

#[test]
fn every_post_crosses_a_grid() {
    check("grid-4", [1]);
    check("grid-5", [1]);
}

#[test]
fn every_post_reaches_everybody_though_somebody_goes_or_comes_every_minute() {
    check("churn-20", [1]);
}

#[test]
fn a_receipt_that_is_lost_with_whoever_passes_it_on_is_made_good_later() {
    let mut world = World::new(11);
    let people = [world.person("Ada").unwrap(), world.person("Bob").unwrap(), world.person("Carol").unwrap()];
    let [ada, bob, carol] = people;
    let chat = world.founded_group(&people).unwrap();
    world.keep_apart(ada, carol);
    world.run_for(MINUTE).unwrap();
    let id = world.say(ada, chat, "by way of Bob").unwrap();
    world.wait_shown(carol, "by way of Bob", MINUTE).unwrap();
    world.stop(bob);
    assert!(!world.is_delivered(ada, &id));
    world.start(bob);
    world.run_for(10 * MINUTE).unwrap();
    assert!(!world.is_delivered(ada, &id), "nobody has the receipt any more");
    world.wait_delivered(ada, id, 2 * 60 * MINUTE).unwrap();
}
