//! Channels among readers who know nobody: what arrives, from whom, and what never does.

use silbo_protocol::channel::view::{ChannelFrom, ChannelView};
use silbo_protocol::ids::ChatId;
use silbo_protocol::input::Request;
use silbo_protocol::step::{DeliveryState, EventKind, Reply};
use silbo_protocol::store::Table;
use silbo_protocol::time::{DAY_MS, HOUR_MS, MINUTE_MS};
use silbo_simulations::{Failure, Hostility, NodeId, Phase, Reach, World};

type Done = Result<(), Failure>;

fn create(world: &mut World, owner: NodeId) -> Result<ChatId, Failure> {
    let request = Request::ChannelCreate { name: "news".into(), topic: "what is new".into(), retention_days: 0 };
    match world.request(owner, request)? {
        Reply::Channel(view) => Ok(view.chat),
        other => panic!("no channel: {other:?}"),
    }
}

fn link(world: &mut World, by: NodeId, chat: ChatId, from: ChannelFrom) -> Result<String, Failure> {
    match world.request(by, Request::ChannelLink { chat, from })? {
        Reply::ChannelLink(view) => Ok(view.link),
        other => panic!("no link: {other:?}"),
    }
}

fn join(world: &mut World, node: NodeId, link: &str, serve: bool) -> Done {
    world.request(node, Request::ChannelJoin { link: link.to_owned(), serve }).map(drop)
}

fn view(world: &mut World, node: NodeId, chat: ChatId) -> Result<ChannelView, Failure> {
    match world.request(node, Request::Channel { chat })? {
        Reply::Channel(view) => Ok(*view),
        other => panic!("no channel: {other:?}"),
    }
}

fn post_all(world: &mut World, owner: NodeId, chat: ChatId, texts: &[String]) -> Done {
    for text in texts {
        world.say(owner, chat, text)?;
        world.run_for(100)?;
    }
    Ok(())
}

fn texts(word: &str, count: usize) -> Vec<String> {
    (0..count).map(|at| format!("{word} {at}")).collect()
}

/// Waits until these nodes show exactly this, in this order.
fn wait_history(world: &mut World, nodes: &[NodeId], chat: ChatId, expected: &[String]) -> Done {
    world.run_until("everybody shows the posts", 30 * MINUTE_MS, |world| {
        nodes.iter().all(|node| world.node(*node).history(&chat) == expected)
    })
}

#[test]
fn twenty_readers_who_know_nobody_read_everything_and_late_ones_catch_up_without_the_owner() -> Done {
    let mut world = World::new(1);
    let owner = world.person_at("owner", Reach::Lan(1))?;
    let chat = create(&mut world, owner)?;
    let link = link(&mut world, owner, chat, ChannelFrom::First)?;
    let mut readers = Vec::new();
    for at in 0..20 {
        let reader = world.person_at(&format!("reader{at}"), Reach::Lan(1))?;
        join(&mut world, reader, &link, false)?;
        readers.push(reader);
    }
    let first = texts("early", 40);
    post_all(&mut world, owner, chat, &first)?;
    wait_history(&mut world, &readers, chat, &first)?;
    assert!(matches!(world.node(owner).states.values().next(), Some(DeliveryState::Delivered { .. })));
    assert_eq!(view(&mut world, readers[0], chat)?.topic, "what is new");
    // The owner and half of them go; others come.
    world.stop(owner);
    for reader in &readers[..10] {
        world.stop(*reader);
    }
    let mut late = Vec::new();
    for at in 0..5 {
        let reader = world.person_at(&format!("late{at}"), Reach::Lan(1))?;
        join(&mut world, reader, &link, false)?;
        late.push(reader);
    }
    wait_history(&mut world, &late, chat, &first)?;
    // And they hand on what they have to those who come back and to the owner's next posts' readers.
    world.start(owner);
    let more = texts("late", 10);
    post_all(&mut world, owner, chat, &more)?;
    world.run_for(MINUTE_MS)?;
    world.stop(owner);
    for reader in &readers[..10] {
        world.start(*reader);
    }
    let all = [first, more].concat();
    let everybody = [readers, late].concat();
    wait_history(&mut world, &everybody, chat, &all)?;
    for reader in everybody {
        let shown = world.node(reader).count_events(|kind| matches!(kind, EventKind::MessageReceived { .. }));
        assert_eq!(shown, all.len(), "each once");
        assert_eq!(view(&mut world, reader, chat)?.forked, None);
        assert_eq!(world.node(reader).count_events(|kind| matches!(kind, EventKind::ContactAdded)), 0);
    }
    Ok(())
}

#[test]
fn who_is_let_in_later_reads_from_that_day_on_and_holds_nothing_of_before() -> Done {
    let mut world = World::new(2);
    let owner = world.person_at("owner", Reach::Lan(1))?;
    let chat = create(&mut world, owner)?;
    let all = link(&mut world, owner, chat, ChannelFrom::First)?;
    let old = world.person_at("old", Reach::Lan(1))?;
    join(&mut world, old, &all, false)?;
    world.say(owner, chat, "before zanzibar")?;
    wait_history(&mut world, &[old], chat, &["before zanzibar".to_owned()])?;
    world.run_for(2 * DAY_MS)?;
    let today = link(&mut world, owner, chat, ChannelFrom::Today)?;
    let new = world.person_at("new", Reach::Lan(1))?;
    join(&mut world, new, &today, false)?;
    world.say(owner, chat, "after")?;
    wait_history(&mut world, &[new], chat, &["after".to_owned()])?;
    wait_history(&mut world, &[old], chat, &["before zanzibar".to_owned(), "after".to_owned()])?;
    world.run_for(HOUR_MS)?;
    assert!(!world.node(new).remembers("zanzibar"));
    assert_eq!(world.node(new).disk.store().count(Table::ChannelPost), 2, "what the channel is, and one text");
    assert_eq!(view(&mut world, new, chat)?.name, "news");
    Ok(())
}

#[test]
fn edits_deletions_and_pins_of_the_owner_reach_readers_who_come_later() -> Done {
    let mut world = World::new(3);
    let owner = world.person_at("owner", Reach::Lan(1))?;
    let chat = create(&mut world, owner)?;
    let link = link(&mut world, owner, chat, ChannelFrom::First)?;
    let early = world.person_at("early", Reach::Lan(1))?;
    join(&mut world, early, &link, false)?;
    let (first, second) = (world.say(owner, chat, "one")?, world.say(owner, chat, "two")?);
    world.say(owner, chat, "three")?;
    world.request(owner, Request::Edit { id: first, body: "ONE".into() })?;
    world.request(owner, Request::Delete { ids: vec![second], for_both: true })?;
    world.request(owner, Request::Pin { id: first, remove: false })?;
    let expected = ["ONE".to_owned(), "three".to_owned()];
    wait_history(&mut world, &[early], chat, &expected)?;
    world.stop(owner);
    let late = world.person_at("late", Reach::Lan(1))?;
    join(&mut world, late, &link, false)?;
    wait_history(&mut world, &[late], chat, &expected)?;
    assert_eq!(world.node(late).count_events(|kind| matches!(kind, EventKind::MessagePinned { .. })), 1);
    Ok(())
}

#[test]
fn over_the_internet_readers_find_the_owner_and_then_each_other() -> Done {
    let mut world = World::new(4);
    let owner = world.person("owner")?;
    let chat = create(&mut world, owner)?;
    let link = link(&mut world, owner, chat, ChannelFrom::First)?;
    let posts = texts("post", 3);
    post_all(&mut world, owner, chat, &posts)?;
    // Where the owner was when it made the link, nobody is any more.
    world.stop(owner);
    world.start(owner);
    let server = world.person("server")?;
    join(&mut world, server, &link, true)?;
    wait_history(&mut world, &[server], chat, &posts)?;
    world.stop(owner);
    let reader = world.person("reader")?;
    join(&mut world, reader, &link, false)?;
    wait_history(&mut world, &[reader], chat, &posts)?;
    // Who does not serve is not found.
    world.stop(server);
    let alone = world.person("alone")?;
    join(&mut world, alone, &link, false)?;
    world.run_for(2 * HOUR_MS)?;
    assert!(!world.linked(reader, alone) && world.node(alone).history(&chat).is_empty());
    Ok(())
}

#[test]
fn a_crash_at_any_point_of_a_post_forks_nothing_and_loses_nothing_that_was_confirmed() -> Done {
    let phases = [Phase::BeforeCommit, Phase::AfterCommit, Phase::MidSends, Phase::AfterSends, Phase::AfterReplies];
    let mut world = World::new(5);
    let owner = world.person_at("owner", Reach::Lan(1))?;
    let chat = create(&mut world, owner)?;
    let link = link(&mut world, owner, chat, ChannelFrom::First)?;
    let mut readers = Vec::new();
    for at in 0..4 {
        let reader = world.person_at(&format!("reader{at}"), Reach::Lan(1))?;
        join(&mut world, reader, &link, false)?;
        readers.push(reader);
    }
    world.run_for(MINUTE_MS)?;
    let mut expected = Vec::new();
    for (at, phase) in phases.into_iter().cycle().take(15).enumerate() {
        let text = format!("post {at}");
        world.crash_at(owner, 1, phase, 2_000);
        // Asked again after the crash, under the same name: it is written once.
        for _ in 0..3 {
            let request = Request::Send {
                chat,
                body: text.clone(),
                reply_to: None,
                expire_s: None,
                client_id: Some(text.clone()),
                ttl_s: None,
                no_infra: false,
            };
            world.post(owner, request);
            world.run_for(5_000)?;
        }
        expected.push(text);
        // Readers crash too.
        world.crash(readers[at % readers.len()], 1_000);
    }
    world.run_for(MINUTE_MS)?;
    wait_history(&mut world, &readers, chat, &expected)?;
    assert_eq!(world.node(owner).history(&chat), expected);
    for reader in readers {
        assert_eq!(view(&mut world, reader, chat)?.forked, None);
    }
    Ok(())
}

#[test]
fn a_reader_that_changes_what_it_hands_on_reaches_nobody_and_holds_nobody_up() -> Done {
    let mut world = World::new(6);
    let owner = world.person_at("owner", Reach::Lan(1))?;
    let chat = create(&mut world, owner)?;
    let link = link(&mut world, owner, chat, ChannelFrom::First)?;
    let (liar, honest) = (world.person_at("liar", Reach::Lan(1))?, world.person_at("honest", Reach::Lan(1))?);
    for reader in [liar, honest] {
        join(&mut world, reader, &link, false)?;
    }
    let posts = texts("post", 50);
    post_all(&mut world, owner, chat, &posts)?;
    wait_history(&mut world, &[liar, honest], chat, &posts)?;
    world.stop(owner);
    world.node_mut(liar).hostility = Hostility { corrupt: 600, ..Hostility::default() };
    let mut late = Vec::new();
    for at in 0..6 {
        let reader = world.person_at(&format!("late{at}"), Reach::Lan(1))?;
        join(&mut world, reader, &link, false)?;
        late.push(reader);
    }
    wait_history(&mut world, &late, chat, &posts)?;
    for reader in late {
        assert_eq!(view(&mut world, reader, chat)?.forked, None);
    }
    Ok(())
}
