//! What stands out in a group: who is mentioned, what moderators have pinned, and what members vote on.

use silbo_protocol::conversation::{ItemView, view};
use silbo_protocol::group::{GroupHistory, GroupRole};
use silbo_protocol::ids::{ChatId, MessageId};
use silbo_protocol::input::{GroupChanges, Request};
use silbo_protocol::limits::{GROUP_SAID_PER_MESSAGE_MAX, PINS_MAX};
use silbo_protocol::step::{EventKind, Reply, RequestError};
use silbo_protocol::store::Store;
use silbo_protocol::time::MINUTE_MS;
use silbo_simulations::{Failure, NodeId, World};

type Done = Result<(), Failure>;

fn three(seed: u64) -> Result<(World, [NodeId; 3], ChatId), Failure> {
    let mut world = World::new(seed);
    let people = [world.person("Ada")?, world.person("Bob")?, world.person("Carol")?];
    let chat = world.founded_group(&people)?;
    world.run_for(MINUTE_MS)?;
    Ok((world, people, chat))
}

fn item(world: &World, node: NodeId, chat: ChatId, id: MessageId) -> ItemView {
    let row = world.node(node).disk.store().item(&chat, &id).expect("the disk works").expect("the message");
    view(&row).expect("a slot")
}

fn mentioned(world: &World, node: NodeId, chat: ChatId, id: MessageId) -> Vec<String> {
    let item = item(world, node, chat, id);
    let text =
        |m: &silbo_protocol::conversation::Mention| item.body[m.from as usize..(m.from + m.len) as usize].to_owned();
    item.mentions.iter().map(text).collect()
}

/// Whether the message with this text was told as one that mentions this account.
fn told_of_me(world: &World, node: NodeId, text: &str) -> bool {
    let told =
        |kind: &EventKind| matches!(kind, EventKind::MessageReceived { body, mentions_me: true, .. } if body == text);
    world.node(node).count_events(told) == 1
}

fn pins(world: &mut World, node: NodeId, chat: ChatId) -> Result<Vec<MessageId>, Failure> {
    let view = world.group(node, chat)?.expect("a group");
    Ok(view.pins.iter().map(|pin| pin.id).collect())
}

#[test]
fn who_is_mentioned_is_told_and_the_others_see_whom_it_means() -> Done {
    let (mut world, [ada, bob, carol], chat) = three(1)?;
    let text = "@bob, and not mail@Carol: Saturday?";
    let id = world.say(ada, chat, text)?;
    for reader in [bob, carol] {
        world.wait_shown(reader, text, MINUTE_MS)?;
        assert_eq!(mentioned(&world, reader, chat, id), ["@bob"]);
    }
    assert!(told_of_me(&world, bob, text) && !told_of_me(&world, carol, text));
    // Another name later: the mention stays his.
    let profile = Request::SetProfile { name: Some("Robert".to_owned()), status: None, avatar: None };
    world.request(bob, profile)?;
    world.request(ada, Request::Edit { id, body: "@Carol, after all".to_owned() })?;
    world.run_for(MINUTE_MS)?;
    assert_eq!(mentioned(&world, bob, chat, id), ["@Carol"]);
    let second = world.say(ada, chat, "@Robert it is")?;
    world.wait_shown(carol, "@Robert it is", MINUTE_MS)?;
    assert_eq!(mentioned(&world, carol, chat, second), ["@Robert"]);
    // In a conversation of two nobody is meant.
    let alone = world.send(ada, bob, "@Robert hello")?;
    world.wait_shown(bob, "@Robert hello", MINUTE_MS)?;
    let between = world.chat_of(ada)?;
    assert!(item(&world, bob, between, alone).mentions.is_empty() && !told_of_me(&world, bob, "@Robert hello"));
    Ok(())
}

#[test]
fn moderators_pin_and_members_do_not() -> Done {
    let (mut world, [ada, bob, carol], chat) = three(2)?;
    let one = world.say(carol, chat, "one")?;
    let two = world.say(bob, chat, "two")?;
    for (reader, text) in [(ada, "one"), (ada, "two"), (bob, "one"), (carol, "two")] {
        world.wait_shown(reader, text, MINUTE_MS)?;
    }
    let refused = world.request(bob, Request::Pin { id: one, remove: false });
    assert!(matches!(refused, Err(Failure::Refused { error: RequestError::NotAllowed(_), .. })), "{refused:?}");
    world.set_role(ada, chat, bob, GroupRole::Moderator)?;
    world.run_for(MINUTE_MS)?;
    world.request(bob, Request::Pin { id: one, remove: false })?;
    world.run_for(MINUTE_MS)?;
    world.request(ada, Request::Pin { id: two, remove: false })?;
    world.run_for(MINUTE_MS)?;
    for member in [ada, bob, carol] {
        assert_eq!(pins(&mut world, member, chat)?, [two, one]);
        assert!(item(&world, member, chat, one).pinned);
    }
    let told = |kind: &EventKind| matches!(kind, EventKind::MessagePinned { outgoing: false, removed: false, .. });
    assert_eq!(world.node(carol).count_events(told), 2);
    world.request(bob, Request::Pin { id: two, remove: true })?;
    world.request(carol, Request::Delete { ids: vec![one], for_both: true })?;
    world.run_for(MINUTE_MS)?;
    for member in [ada, bob, carol] {
        assert!(pins(&mut world, member, chat)?.is_empty(), "taken back, and deleted");
    }
    Ok(())
}

#[test]
fn two_who_pin_and_take_back_at_once_come_to_one_list() -> Done {
    let (mut world, [ada, bob, carol], chat) = three(3)?;
    world.set_role(ada, chat, bob, GroupRole::Moderator)?;
    let id = world.say(carol, chat, "pin me")?;
    world.wait_shown(ada, "pin me", MINUTE_MS)?;
    world.wait_shown(bob, "pin me", MINUTE_MS)?;
    world.run_for(MINUTE_MS)?;
    world.split(&[&[ada], &[bob], &[carol]], true);
    world.request(ada, Request::Pin { id, remove: false })?;
    world.request(bob, Request::Pin { id, remove: false })?;
    world.request(bob, Request::Pin { id, remove: true })?;
    world.split(&[&[ada], &[bob], &[carol]], false);
    world.run_for(10 * MINUTE_MS)?;
    for member in [ada, bob, carol] {
        assert!(pins(&mut world, member, chat)?.is_empty(), "Bob has said more, and last");
        assert!(!item(&world, member, chat, id).pinned);
    }
    Ok(())
}

#[test]
fn a_newcomer_sees_what_is_pinned_and_whom_texts_mention() -> Done {
    let (mut world, [ada, bob, carol], chat) = three(4)?;
    let id = world.say(bob, chat, "@Carol the plan")?;
    world.wait_shown(ada, "@Carol the plan", MINUTE_MS)?;
    world.request(ada, Request::Pin { id, remove: false })?;
    let changes = GroupChanges { history: Some(GroupHistory::All), ..GroupChanges::default() };
    world.request(ada, Request::GroupSet { chat, changes })?;
    let dora = world.person("Dora")?;
    world.befriend(ada, dora)?;
    world.add_members(ada, chat, &[dora])?;
    world.wait_members(dora, chat, 4)?;
    world.run_for(MINUTE_MS)?;
    assert_eq!(pins(&mut world, dora, chat)?, [id]);
    assert_eq!(mentioned(&world, dora, chat, id), ["@Carol"]);
    world.stop(dora);
    world.start(dora);
    assert_eq!(pins(&mut world, dora, chat)?, [id], "a restart forgets no pin");
    let _ = carol;
    Ok(())
}

#[test]
fn either_side_of_a_conversation_of_two_pins() -> Done {
    let mut world = World::new(5);
    let [ada, bob] = [world.person("Ada")?, world.person("Bob")?];
    world.befriend(ada, bob)?;
    let id = world.send(ada, bob, "keep this")?;
    world.wait_shown(bob, "keep this", MINUTE_MS)?;
    world.request(bob, Request::Pin { id, remove: false })?;
    world.run_for(MINUTE_MS)?;
    assert!(item(&world, ada, world.chat_of(bob)?, id).pinned);
    assert!(item(&world, bob, world.chat_of(ada)?, id).pinned);
    world.request(ada, Request::Pin { id, remove: true })?;
    world.run_for(MINUTE_MS)?;
    assert!(!item(&world, bob, world.chat_of(ada)?, id).pinned);
    Ok(())
}

#[test]
fn so_many_messages_are_pinned_and_no_more() -> Done {
    let mut world = World::new(6);
    let ada = world.person("Ada")?;
    let chat = world.create_group(ada, &[])?;
    let mut ids = Vec::new();
    for n in 0..=PINS_MAX {
        ids.push(world.say(ada, chat, &format!("message {n}"))?);
    }
    for id in &ids[..PINS_MAX] {
        world.request(ada, Request::Pin { id: *id, remove: false })?;
    }
    let last = ids[PINS_MAX];
    let refused = world.request(ada, Request::Pin { id: last, remove: false });
    assert!(matches!(refused, Err(Failure::Refused { error: RequestError::Limit(_), .. })), "{refused:?}");
    world.request(ada, Request::Pin { id: ids[0], remove: true })?;
    world.request(ada, Request::Pin { id: last, remove: false })?;
    let listed = pins(&mut world, ada, chat)?;
    assert_eq!((listed.len(), listed[0]), (PINS_MAX, last));
    Ok(())
}

fn ask(
    world: &mut World,
    node: NodeId,
    chat: ChatId,
    choices_max: u32,
    ends_in_s: Option<u32>,
) -> Result<MessageId, Failure> {
    let options = ["Saturday", "Sunday", "Monday"].map(str::to_owned).to_vec();
    let question = "Which day?".to_owned();
    let request = Request::Poll { chat, question, options, choices_max, ends_in_s, client_id: None };
    match world.request(node, request)? {
        Reply::Message { id, .. } => Ok(id),
        other => panic!("{other:?}"),
    }
}

/// How many have chosen each option.
fn tally(world: &World, node: NodeId, chat: ChatId, id: MessageId) -> Vec<usize> {
    let poll = item(world, node, chat, id).poll.expect("a poll");
    let count = |n: u32| poll.votes.iter().filter(|vote| vote.choices.numbers().any(|number| number == n)).count();
    (0..).zip(&poll.poll.options).map(|(n, _)| count(n)).collect()
}

/// The field a request was refused for.
fn wrong_field<T: std::fmt::Debug>(answer: Result<T, Failure>) -> &'static str {
    match answer {
        Err(Failure::Refused { error: RequestError::Invalid { field, .. }, .. }) => field,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_vote_counts_for_all_and_the_last_one_of_each() -> Done {
    let (mut world, [ada, bob, carol], chat) = three(7)?;
    let id = ask(&mut world, ada, chat, 2, Some(3_600))?;
    world.wait_shown(bob, "Which day?", MINUTE_MS)?;
    world.wait_shown(carol, "Which day?", MINUTE_MS)?;
    world.request(bob, Request::Vote { id, choices: vec![0, 1] })?;
    world.request(carol, Request::Vote { id, choices: vec![2] })?;
    world.request(ada, Request::Vote { id, choices: vec![0] })?;
    world.run_for(MINUTE_MS)?;
    world.request(carol, Request::Vote { id, choices: vec![1] })?;
    world.request(ada, Request::Vote { id, choices: Vec::new() })?;
    world.run_for(MINUTE_MS)?;
    for member in [ada, bob, carol] {
        assert_eq!(tally(&world, member, chat, id), [1, 2, 0]);
    }
    let told = |kind: &EventKind| matches!(kind, EventKind::MessageVoted { outgoing: false, .. });
    assert_eq!(world.node(bob).count_events(told), 4, "Carol's two votes and Ada's, the second one taken back");
    for wrong in [vec![3], vec![0, 0], vec![0, 1, 2]] {
        assert_eq!(wrong_field(world.request(bob, Request::Vote { id, choices: wrong })), "choices");
    }
    assert_eq!(wrong_field(world.request(ada, Request::Edit { id, body: "Which hill?".to_owned() })), "id");
    world.run_for(60 * MINUTE_MS)?;
    assert_eq!(wrong_field(world.request(bob, Request::Vote { id, choices: vec![0] })), "id", "the poll is over");
    assert_eq!(wrong_field(ask(&mut world, ada, chat, 4, None)), "maxChoices");
    assert_eq!(wrong_field(ask(&mut world, ada, chat, 1, Some(5))), "endsInS");
    Ok(())
}

#[test]
fn a_newcomer_sees_the_votes_and_a_restart_forgets_none() -> Done {
    let (mut world, [ada, bob, carol], chat) = three(8)?;
    let id = ask(&mut world, carol, chat, 1, None)?;
    world.wait_shown(bob, "Which day?", MINUTE_MS)?;
    world.request(bob, Request::Vote { id, choices: vec![1] })?;
    let changes = GroupChanges { history: Some(GroupHistory::All), ..GroupChanges::default() };
    world.request(ada, Request::GroupSet { chat, changes })?;
    world.run_for(MINUTE_MS)?;
    // However often somebody changes their mind, the votes of others are told as well.
    for n in 0..GROUP_SAID_PER_MESSAGE_MAX as u32 + 8 {
        world.request(carol, Request::Vote { id, choices: vec![[0, 2][n as usize % 2]] })?;
        world.run_for(100)?;
    }
    world.request(carol, Request::Vote { id, choices: Vec::new() })?;
    world.run_for(MINUTE_MS)?;
    world.request(ada, Request::Vote { id, choices: vec![0] })?;
    world.run_for(MINUTE_MS)?;
    let dora = world.person("Dora")?;
    world.befriend(ada, dora)?;
    world.add_members(ada, chat, &[dora])?;
    world.wait_members(dora, chat, 4)?;
    world.run_for(MINUTE_MS)?;
    world.request(dora, Request::Vote { id, choices: vec![1] })?;
    world.run_for(MINUTE_MS)?;
    world.stop(bob);
    world.start(bob);
    for member in [ada, bob, carol, dora] {
        assert_eq!(tally(&world, member, chat, id), [1, 2, 0]);
    }
    Ok(())
}

#[test]
fn who_may_only_read_does_not_vote() -> Done {
    let (mut world, [ada, bob, carol], chat) = three(9)?;
    let id = ask(&mut world, ada, chat, 1, None)?;
    let text = world.say(ada, chat, "not a poll")?;
    for reader in [bob, carol] {
        world.wait_shown(reader, "Which day?", MINUTE_MS)?;
        world.wait_shown(reader, "not a poll", MINUTE_MS)?;
    }
    world.set_role(ada, chat, bob, GroupRole::Reader)?;
    world.run_for(MINUTE_MS)?;
    let refused = world.request(bob, Request::Vote { id, choices: vec![0] });
    assert!(matches!(refused, Err(Failure::Refused { error: RequestError::NotAllowed(_), .. })), "{refused:?}");
    for none in [text, MessageId([7; 12])] {
        let refused = world.request(carol, Request::Vote { id: none, choices: vec![0] });
        assert!(matches!(refused, Err(Failure::Refused { error: RequestError::NotFound(_), .. })), "{refused:?}");
    }
    Ok(())
}

#[test]
fn two_people_vote_too() -> Done {
    let mut world = World::new(10);
    let [ada, bob] = [world.person("Ada")?, world.person("Bob")?];
    world.befriend(ada, bob)?;
    let of_bob = world.chat_of(bob)?;
    let id = ask(&mut world, ada, of_bob, 1, None)?;
    world.wait_shown(bob, "Which day?", MINUTE_MS)?;
    world.request(bob, Request::Vote { id, choices: vec![2] })?;
    world.run_for(MINUTE_MS)?;
    assert_eq!(tally(&world, ada, of_bob, id), [0, 0, 1]);
    Ok(())
}
