//! What newcomers to a group read of the time before, and what they do not believe.

use silbo_protocol::group::{GroupHistory, GroupRole};
use silbo_protocol::ids::{ChatId, MessageId};
use silbo_protocol::input::{GroupChanges, Request};
use silbo_protocol::limits::{ENVELOPE_BYTES_MAX, GROUP_HISTORY_MESSAGES_MAX, GROUP_SAID_PER_MESSAGE_MAX};
use silbo_protocol::step::{EventKind, Reply};
use silbo_protocol::store::{Table, Write};
use silbo_protocol::time::{DAY_MS, HOUR_MS, MINUTE_MS};
use silbo_simulations::node::WORLD_BEGINS_MS;
use silbo_simulations::{Failure, NodeId, World};

type Done = Result<(), Failure>;

/// Ada and Bob in a group of Ada's with this policy, and Dora, who is Ada's contact.
fn two_and_one(seed: u64, history: GroupHistory) -> Result<(World, [NodeId; 3], ChatId), Failure> {
    let mut world = World::new(seed);
    let people = [world.person("Ada")?, world.person("Bob")?, world.person("Dora")?];
    let [ada, bob, dora] = people;
    let chat = world.founded_group(&[ada, bob])?;
    world.befriend(ada, dora)?;
    set_history(&mut world, ada, chat, history)?;
    Ok((world, people, chat))
}

fn set_history(world: &mut World, by: NodeId, chat: ChatId, history: GroupHistory) -> Done {
    let changes = GroupChanges { history: Some(history), ..GroupChanges::default() };
    world.request(by, Request::GroupSet { chat, changes }).map(drop)
}

/// Says something, and waits until the other one has it.
fn say(world: &mut World, by: NodeId, to: NodeId, chat: ChatId, text: &str) -> Result<MessageId, Failure> {
    let id = world.say(by, chat, text)?;
    world.wait_shown(to, text, MINUTE_MS)?;
    Ok(id)
}

fn add_dora(world: &mut World, [ada, _, dora]: [NodeId; 3], chat: ChatId) -> Done {
    world.add_members(ada, chat, &[dora])?;
    world.wait_members(dora, chat, 3)?;
    world.run_for(MINUTE_MS)
}

fn told(world: &World, node: NodeId) -> u32 {
    let count = |kind: &EventKind| match kind {
        EventKind::GroupHistory { messages } => *messages,
        _ => 0,
    };
    world.node(node).events.iter().map(|event| count(&event.kind)).sum()
}

/// Every letter a member keeps for newcomers: key and encoded `ToldLetter`.
fn kept(world: &World, node: NodeId) -> Vec<(Vec<u8>, Vec<u8>)> {
    let pairs = world.node(node).disk.store().pairs(Table::GroupSaid);
    let kept: Vec<_> = pairs.map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    assert!(!kept.is_empty(), "there is something to lie about");
    kept
}

/// Changes what a member keeps of letters, as one who lies would.
fn tamper(world: &mut World, node: NodeId, change: impl Fn(&[u8]) -> Vec<u8>) {
    let put = |(key, value): (Vec<u8>, Vec<u8>)| Write::Put { table: Table::GroupSaid, key, value: change(&value) };
    let writes: Vec<Write> = kept(world, node).into_iter().map(put).collect();
    world.node_mut(node).disk.commit(&writes).expect("the disk works");
}

/// An encoded letter with another value for one of its fields: of two, the last counts.
fn with_field(letter: &[u8], number: u8, value: &[u8]) -> Vec<u8> {
    let (mut length, mut varint) = (value.len(), Vec::new());
    while length >= 0x80 {
        varint.push(length as u8 | 0x80);
        length >>= 7;
    }
    varint.push(length as u8);
    [letter, &[number << 3 | 2], &varint, value].concat()
}

fn replaced(letter: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let at = letter.windows(old.len()).position(|window| window == old).expect("it stands there");
    [&letter[..at], new, &letter[at + old.len()..]].concat()
}

#[test]
fn under_the_policy_all_a_newcomer_has_the_whole_history_in_its_order_and_nothing_is_announced() -> Done {
    let (mut world, people, chat) = two_and_one(1, GroupHistory::All)?;
    let [ada, bob, dora] = people;
    let plan = say(&mut world, ada, bob, chat, "Saturday at the quary")?;
    say(&mut world, bob, ada, chat, "Yes!")?;
    world.request(ada, Request::Edit { id: plan, body: "Saturday at the quarry".to_owned() })?;
    world.request(bob, Request::React { id: plan, emoji: "👍".to_owned(), remove: false })?;
    world.run_for(MINUTE_MS)?;
    add_dora(&mut world, people, chat)?;
    assert_eq!(world.node(dora).history(&chat), ["Saturday at the quarry", "Yes!"]);
    assert_eq!(world.node(dora).history(&chat), world.node(ada).history(&chat));
    assert!(world.node(dora).texts().is_empty(), "nothing is shown as new");
    assert_eq!(told(&world, dora), 2);
    assert_eq!(world.request(dora, Request::MarkRead { chat, upto: None })?, Reply::Count(0), "nothing is unread");
    // The order goes on after it, and what she may do with it is what everybody may.
    say(&mut world, dora, bob, chat, "Me too")?;
    world.request(dora, Request::React { id: plan, emoji: "🧗".to_owned(), remove: false })?;
    world.run_for(MINUTE_MS)?;
    for node in people {
        assert_eq!(world.node(node).history(&chat), ["Saturday at the quarry", "Yes!", "Me too"]);
    }
    let reacted = |kind: &EventKind| matches!(kind, EventKind::MessageReaction { emoji, .. } if emoji == "🧗");
    assert_eq!(world.node(bob).count_events(reacted), 1);
    world.stop(dora);
    world.start(dora);
    assert_eq!(world.node(dora).history(&chat).len(), 3, "a restart changes nothing");
    Ok(())
}

#[test]
fn by_default_a_newcomer_reads_nothing_of_before_and_nothing_of_it_is_on_its_disk() -> Done {
    let (mut world, people, chat) = two_and_one(2, GroupHistory::None)?;
    let [ada, bob, dora] = people;
    say(&mut world, ada, bob, chat, "before zanzibar")?;
    add_dora(&mut world, people, chat)?;
    assert!(world.node(dora).history(&chat).is_empty());
    assert!(!world.node(dora).remembers("zanzibar"));
    assert_eq!(told(&world, dora), 0);
    Ok(())
}

#[test]
fn a_number_of_days_is_kept_to() -> Done {
    let (mut world, people, chat) = two_and_one(3, GroupHistory::Days(3))?;
    let [ada, bob, dora] = people;
    say(&mut world, ada, bob, chat, "last week")?;
    world.run_for(5 * DAY_MS)?;
    say(&mut world, bob, ada, chat, "yesterday")?;
    world.run_for(DAY_MS)?;
    add_dora(&mut world, people, chat)?;
    assert_eq!(world.node(dora).history(&chat), ["yesterday"]);
    Ok(())
}

#[test]
fn who_follows_a_link_reads_as_much_and_hands_it_on_to_the_next() -> Done {
    let (mut world, people, chat) = two_and_one(4, GroupHistory::All)?;
    let [ada, bob, dora] = people;
    say(&mut world, bob, ada, chat, "before")?;
    let request = Request::GroupInvite { chat, uses: 5, ttl_ms: DAY_MS, approval: false };
    let Reply::GroupLink(link) = world.request(ada, request)? else { panic!("no link") };
    world.request(dora, Request::GroupJoin { link: link.link })?;
    world.wait_members(dora, chat, 3)?;
    world.run_for(MINUTE_MS)?;
    assert_eq!(world.node(dora).history(&chat), ["before"]);
    // Dora was told by Ada what Bob has written; she can show it to Emil just as well.
    let emil = world.person("Emil")?;
    world.befriend(dora, emil)?;
    world.set_role(ada, chat, dora, GroupRole::Admin)?;
    world.run_for(MINUTE_MS)?;
    world.split(&[&[ada, bob], &[dora, emil]], true);
    world.add_members(dora, chat, &[emil])?;
    world.wait_members(emil, chat, 4)?;
    world.run_for(MINUTE_MS)?;
    assert_eq!(world.node(emil).history(&chat), ["before"]);
    Ok(())
}

#[test]
fn what_is_deleted_or_disappears_or_has_expired_is_never_handed_on() -> Done {
    let (mut world, people, chat) = two_and_one(5, GroupHistory::All)?;
    let [ada, bob, dora] = people;
    let slip = say(&mut world, bob, ada, chat, "deleted zanzibar")?;
    world.request(bob, Request::Delete { ids: vec![slip], for_both: true })?;
    let secret = Request::Send {
        chat,
        body: "disappears zanzibar".to_owned(),
        reply_to: None,
        expire_s: Some(86_400),
        client_id: None,
        ttl_s: None,
        no_infra: false,
    };
    let Reply::Message { id: secret, .. } = world.request(bob, secret)? else { panic!("no message") };
    world.wait_shown(ada, "disappears zanzibar", MINUTE_MS)?;
    world.request(ada, Request::React { id: secret, emoji: "👍".to_owned(), remove: false })?;
    say(&mut world, bob, ada, chat, "expired zanzibar")?;
    let changes = GroupChanges { retention_s: Some(2 * 86_400), ..GroupChanges::default() };
    world.request(ada, Request::GroupSet { chat, changes })?;
    world.run_for(2 * DAY_MS + HOUR_MS)?;
    say(&mut world, bob, ada, chat, "stays")?;
    world.run_for(HOUR_MS)?;
    add_dora(&mut world, people, chat)?;
    assert_eq!(world.node(dora).history(&chat), ["stays"]);
    assert!(!world.node(dora).remembers("zanzibar"));
    for node in [ada, bob] {
        assert!(!world.node(node).remembers("zanzibar"), "{} keeps what is gone", world.node(node).name);
    }
    // Retention counts from when it was written, also for who came later.
    world.run_for(2 * DAY_MS)?;
    assert!(world.node(dora).history(&chat).is_empty());
    Ok(())
}

#[test]
fn forged_texts_and_forged_authors_are_refused() -> Done {
    type Lie = fn(&[u8]) -> Vec<u8>;
    let lies: [(&str, Lie); 6] = [
        ("another text", |letter| replaced(letter, b"genuine", b"forgery")),
        ("another author", |letter| with_field(letter, 2, &[7; 40])),
        ("another place", |letter| [letter, &[3 << 3, 5]].concat()),
        ("another signature", |letter| with_field(letter, 6, &[7; 64])),
        ("another epoch", |letter| with_field(letter, 1, &[7; 16])),
        ("too long", |letter| with_field(letter, 7, &vec![b'x'; ENVELOPE_BYTES_MAX + 1])),
    ];
    for (number, (lie, change)) in (10..).zip(lies) {
        let (mut world, people, chat) = two_and_one(number, GroupHistory::All)?;
        let [ada, bob, dora] = people;
        say(&mut world, bob, ada, chat, "genuine")?;
        tamper(&mut world, ada, change);
        add_dora(&mut world, people, chat)?;
        assert!(world.node(dora).history(&chat).is_empty(), "{lie}: {:?}", world.node(dora).history(&chat));
        assert_eq!(told(&world, dora), 0, "{lie}");
    }
    Ok(())
}

#[test]
fn a_letter_put_under_another_message_shows_nothing_twice() -> Done {
    let (mut world, people, chat) = two_and_one(20, GroupHistory::All)?;
    let [ada, bob, dora] = people;
    say(&mut world, bob, ada, chat, "one")?;
    say(&mut world, bob, ada, chat, "two")?;
    // Ada hands the letter of the first one on under both.
    let first = kept(&world, ada)[0].1.clone();
    tamper(&mut world, ada, |_| first.clone());
    add_dora(&mut world, people, chat)?;
    assert_eq!(world.node(dora).history(&chat), ["one"]);
    assert_eq!(told(&world, dora), 1);
    Ok(())
}

#[test]
fn a_replayed_history_shows_nothing_again_that_the_newcomer_has_deleted() -> Done {
    let (mut world, people, chat) = two_and_one(21, GroupHistory::All)?;
    let [ada, bob, dora] = people;
    let id = say(&mut world, bob, ada, chat, "once")?;
    world.record_frames(dora);
    add_dora(&mut world, people, chat)?;
    assert_eq!(world.node(dora).history(&chat), ["once"]);
    world.request(dora, Request::Delete { ids: vec![id], for_both: false })?;
    let frames = world.recorded_frames();
    let link = world.stranger_link(dora);
    for frame in frames {
        world.inject(dora, link, frame);
    }
    world.run_for(HOUR_MS)?;
    // And honestly once more: she leaves, and is added again.
    world.request(dora, Request::GroupLeave { chat })?;
    world.wait_members(ada, chat, 2)?;
    add_dora(&mut world, people, chat)?;
    assert!(world.node(dora).history(&chat).is_empty(), "{:?}", world.node(dora).history(&chat));
    assert_eq!(told(&world, dora), 1);
    Ok(())
}

#[test]
fn of_a_long_history_the_newest_messages_are_handed_on() -> Done {
    let (mut world, people, chat) = two_and_one(22, GroupHistory::All)?;
    let [ada, _, dora] = people;
    let all = GROUP_HISTORY_MESSAGES_MAX + 100;
    for n in 0..all {
        world.say(ada, chat, &format!("message {n}"))?;
        world.run_for(MINUTE_MS)?;
    }
    add_dora(&mut world, people, chat)?;
    let history = world.node(dora).history(&chat);
    assert!(history.len() <= GROUP_HISTORY_MESSAGES_MAX && history.len() >= 1_500, "{}", history.len());
    assert_eq!(history.last(), Some(&format!("message {}", all - 1)));
    assert_eq!(history, world.node(ada).history(&chat)[all - history.len()..]);
    Ok(())
}

/// A part of a history on the disk of somebody it came to before any welcome.
fn lay_early(world: &mut World, at: NodeId, from: NodeId, chat: ChatId, letter: &[u8]) -> Done {
    let part = with_field(&with_field(&[], 1, chat.as_bytes()), 2, letter);
    let value = [&WORLD_BEGINS_MS.to_be_bytes()[..], &part].concat();
    let key = [chat.as_bytes(), world.chat_of(from)?.as_bytes(), &[0]].concat();
    world.node_mut(at).disk.commit(&[Write::Put { table: Table::GroupEarly, key, value }]).expect("the disk works");
    Ok(())
}

#[test]
fn a_part_that_overtook_its_welcome_is_taken_with_it_but_not_under_a_policy_of_none() -> Done {
    for (seed, history, from_adder, shown) in [
        (30, GroupHistory::All, true, true),
        (31, GroupHistory::None, true, false),
        (32, GroupHistory::All, false, false),
    ] {
        let (mut world, people, chat) = two_and_one(seed, history)?;
        let [ada, bob, dora] = people;
        say(&mut world, bob, ada, chat, "early")?;
        let letters = kept(&world, ada);
        // What Ada would hand on comes by this way only.
        let gone = letters.iter().map(|(key, _)| Write::Delete { table: Table::GroupSaid, key: key.clone() });
        world.node_mut(ada).disk.commit(&gone.collect::<Vec<_>>()).expect("the disk works");
        lay_early(&mut world, dora, if from_adder { ada } else { bob }, chat, &letters[0].1)?;
        add_dora(&mut world, people, chat)?;
        assert_eq!(world.node(dora).history(&chat).len(), usize::from(shown), "{history:?} {from_adder}");
        assert_eq!(told(&world, dora), u32::from(shown));
    }
    Ok(())
}

#[test]
fn of_one_message_only_so_many_changes_are_kept() -> Done {
    let (mut world, [ada, bob, _], chat) = two_and_one(33, GroupHistory::All)?;
    let id = say(&mut world, ada, bob, chat, "popular")?;
    for n in 0..GROUP_SAID_PER_MESSAGE_MAX + 20 {
        world.request(ada, Request::React { id, emoji: "👍".to_owned(), remove: n % 2 == 1 })?;
    }
    world.run_for(MINUTE_MS)?;
    for node in [ada, bob] {
        assert_eq!(kept(&world, node).len(), GROUP_SAID_PER_MESSAGE_MAX, "with its text");
    }
    Ok(())
}
