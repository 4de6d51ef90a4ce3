//! What is set for a conversation on one device: it stays there, survives restarts, and is told to nobody.

use silbo_protocol::ids::{ChatId, MessageId};
use silbo_protocol::input::Request;
use silbo_protocol::limits::TEXT_BYTES_MAX;
use silbo_protocol::step::{ChatView, EventKind, Reply, RequestError};
use silbo_protocol::time::{HOUR_MS, MINUTE_MS};
use silbo_simulations::{Failure, NodeId, World};

type Done = Result<(), Failure>;

fn two(seed: u64) -> Result<(World, [NodeId; 2]), Failure> {
    let mut world = World::new(seed);
    let people = [world.person("Ada")?, world.person("Bob")?];
    world.befriend(people[0], people[1])?;
    Ok((world, people))
}

fn set(chat: ChatId) -> Request {
    Request::ChatSet { chat, mute_s: None, archived: None, draft: None }
}

fn change(world: &mut World, node: NodeId, request: Request) -> Result<ChatView, Failure> {
    match world.request(node, request)? {
        Reply::Chat(view) => Ok(view),
        other => panic!("{other:?}"),
    }
}

fn mute(chat: ChatId, seconds: u32) -> Request {
    Request::ChatSet { chat, mute_s: Some(seconds), archived: None, draft: None }
}

fn archive(chat: ChatId) -> Request {
    Request::ChatSet { chat, mute_s: None, archived: Some(true), draft: None }
}

fn draft(chat: ChatId, body: &str, reply_to: Option<MessageId>) -> Request {
    Request::ChatSet { chat, mute_s: None, archived: None, draft: Some((body.to_owned(), reply_to)) }
}

fn came_muted(world: &World, node: NodeId, text: &str) -> bool {
    let muted = |kind: &EventKind| matches!(kind, EventKind::MessageReceived { body, muted: true, .. } if body == text);
    world.node(node).count_events(muted) == 1
}

#[test]
fn a_muted_conversation_says_so_of_what_comes_until_the_time_is_over() -> Done {
    let (mut world, [ada, bob]) = two(1)?;
    let chat = world.chat_of(ada)?;
    change(&mut world, bob, mute(chat, 3_600))?;
    world.send(ada, bob, "while muted")?;
    world.wait_shown(bob, "while muted", MINUTE_MS)?;
    assert!(came_muted(&world, bob, "while muted"));
    world.run_for(HOUR_MS)?;
    world.send(ada, bob, "an hour later")?;
    world.wait_shown(bob, "an hour later", MINUTE_MS)?;
    assert!(!came_muted(&world, bob, "an hour later"));
    assert_eq!(change(&mut world, bob, mute(chat, u32::MAX))?.muted_until.map(|until| until.0), Some(u64::MAX));
    world.run_for(HOUR_MS)?;
    world.send(ada, bob, "for ever")?;
    world.wait_shown(bob, "for ever", MINUTE_MS)?;
    assert!(came_muted(&world, bob, "for ever"));
    assert_eq!(change(&mut world, bob, mute(chat, 0))?.muted_until, None);
    let told = |kind: &EventKind| matches!(kind, EventKind::ChatUpdated);
    assert_eq!(world.node(ada).count_events(told), 0, "nobody is told");
    Ok(())
}

#[test]
fn a_message_brings_an_archived_conversation_back_unless_it_is_muted() -> Done {
    let (mut world, [ada, bob]) = two(2)?;
    let chat = world.chat_of(ada)?;
    assert!(change(&mut world, bob, archive(chat))?.archived);
    world.send(ada, bob, "one")?;
    world.wait_shown(bob, "one", MINUTE_MS)?;
    assert!(!change(&mut world, bob, set(chat))?.archived);
    change(&mut world, bob, archive(chat))?;
    change(&mut world, bob, mute(chat, 3_600))?;
    world.send(ada, bob, "two")?;
    world.wait_shown(bob, "two", MINUTE_MS)?;
    assert!(change(&mut world, bob, set(chat))?.archived);
    Ok(())
}

#[test]
fn a_draft_survives_a_restart_and_goes_with_the_contact() -> Done {
    let (mut world, [ada, bob]) = two(3)?;
    let chat = world.chat_of(ada)?;
    let id = world.send(ada, bob, "question")?;
    world.wait_shown(bob, "question", MINUTE_MS)?;
    change(&mut world, bob, draft(chat, "half an answer zanzibar", Some(id)))?;
    world.stop(bob);
    world.start(bob);
    let kept = change(&mut world, bob, set(chat))?.draft.expect("the draft");
    assert_eq!((kept.body.as_str(), kept.reply_to), ("half an answer zanzibar", Some(id)));
    assert!(world.node(bob).remembers("zanzibar") && !world.node(ada).remembers("zanzibar"));
    assert_eq!(change(&mut world, bob, draft(chat, "", None))?.draft, None);
    change(&mut world, bob, draft(chat, "again zanzibar", None))?;
    let long = world.request(bob, draft(chat, &"x".repeat(TEXT_BYTES_MAX + 1), None));
    assert!(matches!(long, Err(Failure::Refused { error: RequestError::Invalid { field: "draft", .. }, .. })));
    world.request(bob, Request::ContactRemove { chat })?;
    assert!(!world.node(bob).remembers("zanzibar"));
    assert!(matches!(world.request(bob, set(chat)), Err(Failure::Refused { .. })), "no such conversation any more");
    Ok(())
}

#[test]
fn groups_have_the_same_settings_and_all_conversations_are_listed() -> Done {
    let (mut world, [ada, bob]) = two(4)?;
    let group = world.create_group(ada, &[bob])?;
    world.wait_members(bob, group, 2)?;
    change(&mut world, bob, mute(group, 3_600))?;
    change(&mut world, bob, draft(group, "to all", None))?;
    world.say(ada, group, "quiet")?;
    world.wait_shown(bob, "quiet", MINUTE_MS)?;
    assert!(came_muted(&world, bob, "quiet"));
    let Reply::Chats(chats) = world.request(bob, Request::ChatList)? else { panic!("no list") };
    let names: Vec<(&str, bool)> = chats.iter().map(|chat| (chat.name.as_str(), chat.group)).collect();
    assert_eq!(names.len(), 3, "oneself, Ada and the group: {names:?}");
    assert!(names.contains(&("climbing", true)) && names.contains(&("Ada", false)) && names.contains(&("Bob", false)));
    let drafts = chats.iter().filter_map(|chat| chat.draft.as_ref()).map(|draft| draft.body.as_str());
    assert_eq!(drafts.collect::<Vec<_>>(), ["to all"]);
    Ok(())
}
