//! Members who misbehave, and those who listen: what they do stays without effect, and what they see says nothing.

use silbo_protocol::group::{GroupChanges, GroupRole, GroupState};
use silbo_protocol::ids::ChatId;
use silbo_protocol::input::Request;
use silbo_protocol::limits::{GROUP_CHECKPOINT_OPERATIONS, GROUP_OPERATIONS_PER_MEMBER_MAX, GROUP_PARTING_LETTERS_MAX};
use silbo_protocol::step::{EventKind, Reply, RequestError};
use silbo_protocol::store::Table;
use silbo_protocol::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS};
use silbo_simulations::{Failure, NodeId, World};

type Done = Result<(), Failure>;

fn three(seed: u64) -> Result<(World, [NodeId; 3], ChatId), Failure> {
    let mut world = World::new(seed);
    let [ada, bob, carol] = [world.person("Ada")?, world.person("Bob")?, world.person("Carol")?];
    let chat = world.founded_group(&[ada, bob, carol])?;
    world.run_for(MINUTE_MS)?;
    Ok((world, [ada, bob, carol], chat))
}

/// T-24: for a while it may have been written before they knew; then it was not.
#[test]
fn t24_of_a_removed_member_who_keeps_posting_only_so_much_is_shown_and_later_nothing() -> Done {
    let (mut world, [ada, bob, carol], chat) = three(1)?;
    world.split(&[&[ada, bob], &[carol]], true);
    world.remove_member(ada, chat, carol)?;
    world.say(ada, chat, "without carol")?;
    world.wait_shown(bob, "without carol", MINUTE_MS)?;
    let posts = GROUP_PARTING_LETTERS_MAX as usize + 44;
    for n in 0..posts {
        world.say(carol, chat, &format!("still here {n}"))?;
    }
    // Carol never learns of it from Ada; Bob meets her within the time.
    world.unblock_pair(bob, carol);
    world.run_for(HOUR_MS)?;
    let shown = |world: &World| world.node(bob).texts().iter().filter(|text| text.starts_with("still here")).count();
    assert!(shown(&world) <= GROUP_PARTING_LETTERS_MAX as usize, "{} were shown", shown(&world));
    let before = shown(&world);
    for node in [ada, bob, carol] {
        world.stop(node);
    }
    world.run_for(8 * DAY_MS)?;
    for node in [ada, bob, carol] {
        world.start(node);
    }
    if world.group(carol, chat)?.is_some_and(|view| view.state == GroupState::Active) {
        world.say(carol, chat, "still here, much later")?;
    }
    world.run_for(HOUR_MS)?;
    assert_eq!(shown(&world), before, "a week later nothing is");
    assert!(!world.node(carol).texts().contains(&"without carol"));
    Ok(())
}

/// T-26: what one may not do is refused at home, and nobody hears of it.
#[test]
fn t26_a_member_who_is_no_admin_changes_nothing() -> Done {
    let (mut world, [ada, bob, carol], chat) = three(2)?;
    for result in [
        world.remove_member(bob, chat, carol),
        world.set_role(bob, chat, bob, GroupRole::Owner),
        world.set_role(bob, chat, ada, GroupRole::Reader),
    ] {
        assert!(matches!(result, Err(Failure::Refused { .. })), "{result:?}");
    }
    world.run_for(HOUR_MS)?;
    for member in [ada, bob, carol] {
        let view = world.group(member, chat)?.expect("a member");
        assert_eq!((view.members.len(), view.void.len()), (3, 0));
    }
    Ok(())
}

/// T-28, T-11: frames of members, played back by a stranger and on a member's next link, show nothing twice.
#[test]
fn t28_replayed_letters_show_nothing_and_change_nothing() -> Done {
    let (mut world, [ada, bob, carol], chat) = three(3)?;
    world.record_frames(bob);
    world.say(ada, chat, "once")?;
    world.set_role(ada, chat, carol, GroupRole::Moderator)?;
    world.wait_shown(bob, "once", MINUTE_MS)?;
    world.set_role(ada, chat, carol, GroupRole::Member)?;
    world.run_for(MINUTE_MS)?;
    let frames = world.recorded_frames();
    assert!(!frames.is_empty());
    let link = world.stranger_link(bob);
    for frame in frames.iter().chain(&frames) {
        world.inject(bob, link, frame.clone());
    }
    world.run_for(HOUR_MS)?;
    assert_eq!(world.node(bob).texts(), ["once"]);
    let role = |world: &mut World, of: NodeId| -> Result<Option<GroupRole>, Failure> {
        let carol = world.node(carol).account;
        let view = world.group(of, chat)?.expect("a member");
        Ok(view.members.iter().find(|member| Some(member.account) == carol).map(|member| member.role))
    };
    assert_eq!(role(&mut world, bob)?, Some(GroupRole::Member));
    assert_eq!(role(&mut world, ada)?, Some(GroupRole::Member));
    Ok(())
}

/// T-22: whoever keeps mail for members sees no group, nobody's account and no text.
#[test]
fn t22_a_relay_learns_neither_group_nor_members_nor_text() -> Done {
    const TEXT: &str = "meet me where the river bends";
    let mut world = World::new(4);
    let relay = world.relay("Relay")?;
    let people = [world.person("Ada")?, world.person("Bob")?, world.person("Carol")?];
    let [ada, bob, carol] = people;
    for person in people {
        world.use_relay(person, relay)?;
    }
    let chat = world.founded_group(&people)?;
    world.run_for(MINUTE_MS)?;
    world.stop(carol);
    world.record_frames(relay);
    let id = world.say(bob, chat, TEXT)?;
    world.wait_shown(ada, TEXT, MINUTE_MS)?;
    world.wait_held(bob, id, 1, HOUR_MS).or_else(|_| world.run_for(0))?;
    world.stop(ada);
    world.stop(bob);
    world.start(carol);
    world.wait_shown(carol, TEXT, HOUR_MS)?;
    let frames = world.recorded_frames();
    let kept = [Table::MailItem, Table::MailTag];
    let store = world.node(relay).disk.store();
    let on_disk = kept.iter().flat_map(|table| store.pairs(*table)).map(|(key, value)| [key, value].concat());
    let seen: Vec<Vec<u8>> = frames.into_iter().chain(on_disk).collect();
    assert!(seen.iter().any(|bytes| bytes.len() > 200), "letters passed the relay");
    let mut secrets: Vec<Vec<u8>> = vec![TEXT.as_bytes().to_vec(), b"climbing".to_vec(), chat.as_bytes().to_vec()];
    secrets.extend(people.iter().filter_map(|node| world.node(*node).account).map(|account| account.0[..8].to_vec()));
    for (secret, bytes) in secrets.iter().flat_map(|secret| seen.iter().map(move |bytes| (secret, bytes))) {
        let found = bytes.windows(secret.len()).any(|window| window == &secret[..]);
        assert!(!found, "{secret:02x?} stands in what the relay sees");
    }
    Ok(())
}

fn rename(world: &mut World, by: NodeId, chat: ChatId, name: &str) -> Done {
    let changes = GroupChanges { name: Some(name.to_owned()), ..GroupChanges::default() };
    world.request(by, Request::GroupSet { chat, changes }).map(|_| ())
}

fn wait_name(world: &mut World, of: NodeId, chat: ChatId, name: &str) -> Done {
    for _ in 0..60 {
        if world.group(of, chat)?.is_some_and(|view| view.name == name) {
            return Ok(());
        }
        world.run_for(MINUTE_MS)?;
    }
    panic!("{} never calls the group {name}", world.node(of).name);
}

/// A copied device tells one part of the group this and the other part that, with the same keys: each part can read only
/// one of the letters. Both changes reach everybody all the same, and everybody is told.
#[test]
fn a_device_that_tells_two_parts_of_a_group_different_things_is_shown_and_divides_nobody() -> Done {
    let (mut world, [ada, bob, carol], chat) = three(5)?;
    world.set_role(ada, chat, bob, GroupRole::Admin)?;
    world.set_role(ada, chat, carol, GroupRole::Owner)?;
    world.run_for(MINUTE_MS)?;
    let copy = world.node(bob).disk.copy();
    world.split(&[&[ada, bob], &[carol]], true);
    rename(&mut world, bob, chat, "rocks")?;
    wait_name(&mut world, ada, chat, "rocks")?;
    world.set_back(bob, copy);
    world.split(&[&[ada], &[bob, carol]], true);
    world.unblock_pair(bob, carol);
    world.start(bob);
    rename(&mut world, bob, chat, "rivers")?;
    wait_name(&mut world, carol, chat, "rivers")?;
    world.stop(bob);
    // What Carol does builds on what Ada cannot read.
    world.set_role(carol, chat, bob, GroupRole::Member)?;
    world.unblock_pair(ada, carol);
    world.run_for(2 * HOUR_MS)?;
    let views = [ada, carol].map(|node| world.group(node, chat).ok().flatten().expect("a member"));
    assert_eq!(views[0].name, views[1].name);
    assert_eq!((views[0].epoch, &views[0].void), (views[1].epoch, &views[1].void));
    for view in &views {
        let forked: Vec<&str> = view.members.iter().filter(|m| m.forked).map(|m| m.name.as_str()).collect();
        assert_eq!(forked, ["Bob"]);
        let bob = view.members.iter().find(|member| member.name == "Bob").expect("a member still");
        assert_eq!(bob.role, GroupRole::Member, "what came after it counts");
    }
    world.say(carol, chat, "whom do you believe?")?;
    world.wait_shown(ada, "whom do you believe?", MINUTE_MS)
}

/// An admin who changes things without end is stopped at home and by everybody else; the others go on, and put him out.
#[test]
fn an_admin_who_floods_the_group_with_changes_uses_up_nothing_but_his_own_share() -> Done {
    let (mut world, [ada, bob, carol], chat) = three(6)?;
    world.set_role(ada, chat, bob, GroupRole::Admin)?;
    world.run_for(MINUTE_MS)?;
    let mut written = 0;
    let refused = loop {
        match rename(&mut world, bob, chat, &format!("flood {written}")) {
            Ok(()) => written += 1,
            refused => break refused,
        }
        assert!(written <= GROUP_OPERATIONS_PER_MEMBER_MAX, "there is no end to it");
    };
    assert!(matches!(&refused, Err(Failure::Refused { error: RequestError::Limit(_), .. })), "{refused:?}");
    let last = format!("flood {}", written - 1);
    wait_name(&mut world, ada, chat, &last)?;
    wait_name(&mut world, carol, chat, &last)?;
    world.remove_member(ada, chat, bob)?;
    rename(&mut world, ada, chat, "quiet again")?;
    wait_name(&mut world, carol, chat, "quiet again")?;
    world.say(carol, chat, "at last")?;
    world.wait_shown(ada, "at last", MINUTE_MS)?;
    assert!(written > GROUP_OPERATIONS_PER_MEMBER_MAX - 8, "{written} changes");
    Ok(())
}

/// T-29: a member who lets in one stranger after the other goes with all of them at once.
#[test]
fn t29_whoever_lets_in_a_crowd_of_strangers_is_removed_with_all_of_them() -> Done {
    const STRANGERS: usize = 40;
    let (mut world, [ada, bob, carol], chat) = three(7)?;
    world.set_role(ada, chat, bob, GroupRole::Admin)?;
    world.run_for(MINUTE_MS)?;
    let invite = Request::GroupInvite { chat, uses: 1_000, ttl_ms: DAY_MS, approval: false };
    let Reply::GroupLink(link) = world.request(bob, invite)? else { panic!("no link") };
    let mut strangers = Vec::new();
    for n in 0..STRANGERS {
        let stranger = world.person(&format!("s{n}"))?;
        world.request(stranger, Request::GroupJoin { link: link.link.clone() })?;
        strangers.push(stranger);
    }
    world.wait_members(ada, chat, 3 + STRANGERS)?;
    let bobs = world.node(bob).account.expect("he has one");
    world.request(ada, Request::GroupRemove { chat, members: vec![bobs], with_branch: true })?;
    world.wait_members(carol, chat, 2)?;
    world.say(carol, chat, "among ourselves")?;
    world.wait_shown(ada, "among ourselves", MINUTE_MS)?;
    // The link has gone with him.
    let late = world.person("late")?;
    let _refused = world.request(late, Request::GroupJoin { link: link.link.clone() });
    world.run_for(HOUR_MS)?;
    for outside in strangers.into_iter().chain([bob, late]) {
        assert!(!world.node(outside).texts().contains(&"among ourselves"));
    }
    for member in [ada, carol] {
        assert_eq!(world.group(member, chat)?.map(|view| view.members.len()), Some(2));
    }
    Ok(())
}

#[test]
fn after_many_changes_an_admin_says_what_they_come_to_and_all_compare() -> Done {
    let mut world = World::new(81);
    let people = [world.person("Ada")?, world.person("Bob")?, world.person("Carol")?];
    let chat = world.founded_group(&people)?;
    world.set_role(people[0], chat, people[1], GroupRole::Admin)?;
    world.run_for(MINUTE_MS)?;
    for n in 0..GROUP_CHECKPOINT_OPERATIONS {
        let changes = GroupChanges { topic: Some(format!("{n}")), ..GroupChanges::default() };
        world.request(people[n % 2], Request::GroupSet { chat, changes })?;
        world.run_for(SECOND_MS)?;
    }
    world.stop(people[1]);
    world.start(people[1]);
    world.run_for(15 * MINUTE_MS)?;
    let mut seen = Vec::new();
    for member in people {
        let checkpoint = world.group(member, chat)?.expect("a group").checkpoint.expect("a checkpoint");
        assert!(checkpoint.agrees && checkpoint.operations as usize >= GROUP_CHECKPOINT_OPERATIONS, "{checkpoint:?}");
        seen.push(checkpoint);
    }
    assert!(seen.iter().all(|checkpoint| *checkpoint == seen[0]), "{seen:?}");
    world.stop(people[2]);
    world.start(people[2]);
    assert_eq!(
        world.group(people[2], chat)?.expect("a group").checkpoint,
        Some(seen[0]),
        "compared again after a start"
    );
    let disputed = |kind: &EventKind| matches!(kind, EventKind::GroupDisputed { .. });
    assert!(people.iter().all(|member| world.node(*member).count_events(disputed) == 0));
    Ok(())
}
