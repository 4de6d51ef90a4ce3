//! Groups in the simulated world: real engines, real keys, virtual time.

use silbo_protocol::group::{GroupState, GroupView};
use silbo_protocol::ids::{ChatId, MessageId};
use silbo_protocol::input::Request;
use silbo_protocol::step::{DeliveryState, Reply};
use silbo_simulations::failure::Failure;
use silbo_simulations::node::NodeId;
use silbo_simulations::world::World;

const MINUTE: u64 = 60_000;

fn create(world: &mut World, by: NodeId, members: &[NodeId]) -> ChatId {
    let members = members.iter().map(|member| world.chat_of(*member).unwrap()).collect();
    let request = Request::GroupCreate { name: "climbing".to_owned(), topic: String::new(), members };
    match world.request(by, request).unwrap() {
        Reply::Group(view) => view.chat,
        other => panic!("{other:?}"),
    }
}

fn view(world: &mut World, of: NodeId, chat: ChatId) -> Option<GroupView> {
    match world.request(of, Request::Group { chat }) {
        Ok(Reply::Group(view)) => Some(*view),
        Err(Failure::Refused { .. }) => None,
        other => panic!("{other:?}"),
    }
}

fn names(view: &GroupView) -> Vec<String> {
    let mut names: Vec<String> = view.members.iter().map(|member| member.name.clone()).collect();
    names.sort();
    names
}

fn post(world: &mut World, by: NodeId, chat: ChatId, text: &str) -> MessageId {
    let request = Request::Send {
        chat,
        body: text.to_owned(),
        reply_to: None,
        expire_s: None,
        client_id: None,
        ttl_s: None,
        no_infra: false,
    };
    match world.request(by, request).unwrap() {
        Reply::Message { id, .. } => id,
        other => panic!("{other:?}"),
    }
}

fn wait_members(world: &mut World, of: NodeId, chat: ChatId, count: usize) -> GroupView {
    for _ in 0..240 {
        if let Some(view) = view(world, of, chat).filter(|v| v.members.len() == count && v.state == GroupState::Active)
        {
            return view;
        }
        world.run_for(1_000).unwrap();
    }
    let last = view(world, of, chat);
    panic!("{}: {last:?}", world.node(of).name);
}

#[test]
fn three_people_talk_though_two_of_them_are_no_contacts() {
    let mut world = World::new(1);
    let [ada, bob, carol] = ["Ada", "Bob", "Carol"].map(|name| world.person(name).unwrap());
    world.befriend(ada, bob).unwrap();
    world.befriend(ada, carol).unwrap();
    let chat = create(&mut world, ada, &[bob, carol]);
    for member in [ada, bob, carol] {
        let view = wait_members(&mut world, member, chat, 3);
        assert_eq!(names(&view), ["Ada", "Bob", "Carol"], "{}", world.node(member).name);
    }
    let id = post(&mut world, bob, chat, "Saturday?");
    for reader in [ada, carol] {
        world.wait_shown(reader, "Saturday?", MINUTE).unwrap();
    }
    world
        .run_until("delivered to both", 2 * MINUTE, |world| {
            matches!(world.node(bob).states.get(&id), Some(DeliveryState::Delivered { .. }))
        })
        .unwrap();
    post(&mut world, carol, chat, "Sunday.");
    world.wait_shown(bob, "Sunday.", MINUTE).unwrap();
    world.wait_shown(ada, "Sunday.", MINUTE).unwrap();
}

#[test]
fn who_was_removed_reads_nothing_more() {
    let mut world = World::new(2);
    let [ada, bob, carol] = ["Ada", "Bob", "Carol"].map(|name| world.person(name).unwrap());
    world.befriend(ada, bob).unwrap();
    world.befriend(ada, carol).unwrap();
    let chat = create(&mut world, ada, &[bob, carol]);
    for member in [ada, bob, carol] {
        wait_members(&mut world, member, chat, 3);
    }
    let epoch = view(&mut world, ada, chat).unwrap().epoch;
    let carol_account = world.node(carol).account.unwrap();
    world.request(ada, Request::GroupRemove { chat, members: vec![carol_account], with_branch: false }).unwrap();
    let bobs = wait_members(&mut world, bob, chat, 2);
    assert!(!bobs.rekey_due);
    assert_ne!(view(&mut world, ada, chat).unwrap().epoch, epoch);
    post(&mut world, bob, chat, "without carol");
    world.wait_shown(ada, "without carol", MINUTE).unwrap();
    world.run_for(10 * MINUTE).unwrap();
    assert!(!world.node(carol).texts().contains(&"without carol"));
    assert_eq!(view(&mut world, carol, chat).unwrap().state, GroupState::Removed);
    assert_eq!(view(&mut world, bob, chat).unwrap().epoch, view(&mut world, ada, chat).unwrap().epoch);
}
