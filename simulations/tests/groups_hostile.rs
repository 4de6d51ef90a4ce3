//! Members who misbehave, and those who listen: what they do stays without effect, and what they see says nothing.

use silbo_protocol::group::{GroupRole, GroupState};
use silbo_protocol::ids::ChatId;
use silbo_protocol::limits::GROUP_PARTING_LETTERS_MAX;
use silbo_protocol::store::Table;
use silbo_protocol::time::{DAY_MS, HOUR_MS, MINUTE_MS};
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
