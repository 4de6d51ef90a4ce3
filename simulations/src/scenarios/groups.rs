//! Groups that fall apart into parts which go on by themselves, and meet again.

use std::collections::{BTreeMap, BTreeSet};

use silbo_protocol::group::{GroupRole, GroupView};
use silbo_protocol::ids::{AccountId, ChatId};
use silbo_protocol::store::Table;
use silbo_protocol::time::{DAY_MS, HOUR_MS, MINUTE_MS};

use super::ensure;
use crate::failure::Failure;
use crate::node::{Node, NodeId};
use crate::world::World;

/// How large a split group is, and how much goes on while it is split.
pub(super) struct Split {
    /// Members when it falls apart.
    pub(super) members: usize,
    /// Rounds of posts and changes in each of the three parts; they take three days together.
    pub(super) rounds: u64,
}

/// Parts of the group.
const PARTS: usize = 3;
/// How long they do not hear of each other.
const APART_MS: u64 = 3 * DAY_MS;
/// Longest time until all agree again: links are made anew within half an hour, and then compared once.
const AGREE_MS_MAX: u64 = HOUR_MS;
/// Comparisons that one may open with another until then: one, and one more for each time a link was made anew.
const COMPARISONS_MAX: u32 = 12;

pub(super) fn split_of_nine(world: &mut World) -> Result<(), Failure> {
    Split { members: 9, rounds: 3 }.play(world)
}

pub(super) fn split_of_fifty(world: &mut World) -> Result<(), Failure> {
    Split { members: 50, rounds: 9 }.play(world)
}

/// What was said, and who could know what.
struct Post {
    author: NodeId,
    /// Whom the author took for members.
    roster: BTreeSet<AccountId>,
    /// What was on the author's screen before.
    before: BTreeSet<String>,
}

struct Part {
    people: Vec<NodeId>,
    /// Changes the group here, as long as nobody elsewhere says otherwise.
    officer: NodeId,
    /// Contacts of the officer who are not in the group yet.
    outside: Vec<NodeId>,
}

struct Talk {
    chat: ChatId,
    posts: BTreeMap<String, Post>,
}

impl Split {
    fn play(&self, world: &mut World) -> Result<(), Failure> {
        let people: Vec<NodeId> =
            (0..self.members).map(|n| world.person(&format!("p{n}"))).collect::<Result<_, _>>()?;
        let chat = world.founded_group(&people)?;
        let mut talk = Talk { chat, posts: BTreeMap::new() };
        let mut parts = Vec::new();
        for at in 0..PARTS {
            let mut part = Part {
                people: people.iter().copied().skip(at).step_by(PARTS).collect(),
                officer: people[at],
                outside: Vec::new(),
            };
            for n in 0..2 {
                let newcomer = world.person(&format!("new{at}{n}"))?;
                world.befriend(part.officer, newcomer)?;
                part.outside.push(newcomer);
            }
            parts.push(part);
        }
        for officer in &people[1..PARTS] {
            world.set_role(people[0], chat, *officer, GroupRole::Admin)?;
        }
        world.run_for(10 * MINUTE_MS)?;

        set_apart(world, &parts, true);
        for round in 0..self.rounds {
            for at in 0..PARTS {
                self.live(world, &mut talk, &mut parts, at, round)?;
                world.run_for(APART_MS / (self.rounds * PARTS as u64))?;
            }
        }
        world.take_traffic();
        set_apart(world, &parts, false);
        let everybody: Vec<NodeId> = parts.iter().flat_map(|part| part.people.iter().copied()).collect();
        agree(world, &talk, people[0], &everybody)
    }

    /// A third of a round: one part writes and changes something.
    fn live(
        &self,
        world: &mut World,
        talk: &mut Talk,
        parts: &mut [Part],
        at: usize,
        round: u64,
    ) -> Result<(), Failure> {
        let chat = talk.chat;
        let everybody: Vec<NodeId> = parts.iter().flat_map(|part| part.people.iter().copied()).collect();
        let Some(part) = parts.get_mut(at) else { return Ok(()) };
        for n in 0..4 {
            let author = any(world, &part.people);
            talk.say(world, author, &format!("{at}.{round}.{n}"))?;
            let pause = world.chance().below(MINUTE_MS);
            world.run_for(pause)?;
        }
        let whom = any(world, &everybody);
        let is_officer = whom == part.officer;
        match round % 3 {
            // One of another part or of this one; a part does not hear at once that it is removed.
            0 if !is_officer => permitted(world.remove_member(part.officer, chat, whom))?,
            1 => {
                if let Some(newcomer) = part.outside.pop() {
                    permitted(world.add_members(part.officer, chat, &[newcomer]))?;
                    part.people.push(newcomer);
                }
            }
            _ if !is_officer => {
                let role = [GroupRole::Reader, GroupRole::Moderator][world.chance().below(2) as usize];
                permitted(world.set_role(part.officer, chat, whom, role))?;
            }
            _ => {}
        }
        world.run_for(MINUTE_MS)?;
        let author = any(world, &part.people);
        talk.say(world, author, &format!("{at}.{round}.last"))
    }
}

impl Talk {
    /// Somebody writes, if they may.
    fn say(&mut self, world: &mut World, author: NodeId, text: &str) -> Result<(), Failure> {
        let Some(view) = world.group(author, self.chat)? else { return Ok(()) };
        let before = world.node(author).history(&self.chat).into_iter().collect();
        match world.say(author, self.chat, text) {
            Ok(_) => {
                let roster = view.members.iter().map(|member| member.account).collect();
                self.posts.insert(text.to_owned(), Post { author, roster, before });
                Ok(())
            }
            result => permitted(result.map(|_| ())),
        }
    }

    /// Nobody reads what was not for them, and nothing stands before what its author had read.
    fn check(&self, world: &World, everybody: &[NodeId], reference: &[String]) -> Result<(), Failure> {
        let place: BTreeMap<&String, usize> = reference.iter().zip(0..).collect();
        for (text, post) in &self.posts {
            ensure(place.contains_key(text), &format!("the founder never read {text}"))?;
            for earlier in &post.before {
                let late = place.get(earlier) > place.get(text);
                ensure(!late, &format!("{earlier} is shown after {text}, whose author had read it"))?;
            }
        }
        for reader in everybody {
            let node = world.node(*reader);
            let history = node.history(&self.chat);
            let places: Vec<Option<&usize>> = history.iter().map(|text| place.get(text)).collect();
            ensure(places.is_sorted(), &format!("{} has another order: {history:?}", node.name))?;
            for text in &history {
                let Some(post) = self.posts.get(text) else { continue };
                let meant = post.author == *reader || node.account.is_some_and(|of| post.roster.contains(&of));
                ensure(meant, &format!("{} reads {text}, and its author knew they were out", node.name))?;
            }
        }
        Ok(())
    }

    /// Members lack nothing that was written while its author took them for members.
    fn lacking(&self, world: &World, members: &[NodeId]) -> Vec<String> {
        let mut lacking = Vec::new();
        for member in members {
            let node = world.node(*member);
            let history: BTreeSet<String> = node.history(&self.chat).into_iter().collect();
            let meant = |post: &Post| node.account.is_some_and(|account| post.roster.contains(&account));
            let missing = self.posts.iter().filter(|(text, post)| meant(post) && !history.contains(*text));
            lacking.extend(missing.map(|(text, _)| format!("{} lacks {text}", node.name)));
        }
        lacking
    }
}

/// Waits until all members say the same of the group and have the same messages.
fn agree(world: &mut World, talk: &Talk, founder: NodeId, everybody: &[NodeId]) -> Result<(), Failure> {
    let healed_ms = world.now_ms();
    let chat = talk.chat;
    loop {
        world.run_for(10_000)?;
        let Some(first) = world.group(founder, chat)?.map(|view| said_of(world.node(founder), &view)) else { continue };
        let (mut members, mut others) = (Vec::new(), Vec::new());
        for node in everybody {
            match first.roster.keys().any(|account| world.node(*node).account == Some(*account)) {
                true => members.push(*node),
                false => others.push(*node),
            }
        }
        let mut apart = Vec::new();
        for member in &members {
            let said = world.group(*member, chat)?.map(|view| said_of(world.node(*member), &view));
            if said.as_ref() != Some(&first) {
                apart.push(format!("{} says {}", world.node(*member).name, difference(&first, said)));
            }
        }
        apart.extend(talk.lacking(world, &members));
        if members.len() != first.roster.len() {
            apart.push(String::from("members nobody knows"));
        }
        let took_ms = world.now_ms() - healed_ms;
        if apart.is_empty() {
            let traffic = world.take_traffic();
            let (pairs, all) = (traffic.comparisons.len().max(1), traffic.comparisons.values().sum::<u32>());
            let most = traffic.comparisons.values().max().copied().unwrap_or(0);
            println!(
                "{} members, {} void, {} posts: agreed {} s after the parts met, {} KB, {:.1} comparisons a pair, at most {}",
                members.len(),
                first.void.len(),
                talk.posts.len(),
                took_ms / 1_000,
                traffic.bytes / 1_000,
                f64::from(all) / pairs as f64,
                most
            );
            ensure(
                all as usize <= 2 * pairs && most <= COMPARISONS_MAX,
                "what is missing is found by one comparison, not by one after the other",
            )?;
            let reference = world.node(founder).history(&chat);
            talk.check(world, everybody, &reference)?;
            return afterwards(world, chat, founder, &members, &others);
        }
        if took_ms > AGREE_MS_MAX {
            let what = format!("all agree\n{}", apart.join("\n"));
            return Err(Failure::TimedOut { waited_ms: took_ms, what, state: world.summary() });
        }
    }
}

/// All members read what is written then, and nobody else.
fn afterwards(
    world: &mut World,
    chat: ChatId,
    founder: NodeId,
    members: &[NodeId],
    others: &[NodeId],
) -> Result<(), Failure> {
    world.say(founder, chat, "together again")?;
    for member in members.iter().filter(|member| **member != founder) {
        world.wait_shown(*member, "together again", 10 * MINUTE_MS)?;
    }
    world.run_for(HOUR_MS)?;
    for other in others {
        let node = world.node(*other);
        ensure(!node.texts().contains(&"together again"), &format!("{} is out and reads on", node.name))?;
    }
    Ok(())
}

/// What has to be equal everywhere.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    roster: BTreeMap<AccountId, GroupRole>,
    void: BTreeSet<String>,
    epoch: [u8; 4],
    rekey_due: bool,
    /// Names of the operations that are on disk.
    operations: BTreeSet<Vec<u8>>,
}

fn said_of(node: &Node, view: &GroupView) -> Said {
    let operations = node.disk.store().pairs(Table::GroupOperation).map(|(key, _)| key.to_vec());
    Said {
        operations: operations.collect(),
        roster: view.members.iter().map(|member| (member.account, member.role)).collect(),
        void: view.void.iter().map(|void| format!("{} {} {}", void.author, void.what, void.why)).collect(),
        epoch: view.epoch,
        rekey_due: view.rekey_due,
    }
}

/// What one says and the founder does not, and the other way round.
fn difference(founder: &Said, said: Option<Said>) -> String {
    let Some(said) = said else { return String::from("nothing") };
    let names = |a: &Said, b: &Said| {
        let names = a.operations.difference(&b.operations);
        names.map(|key| format!("{:02x?}", key.get(16..20))).collect::<Vec<_>>().join(" ")
    };
    let (more, less) = (names(&said, founder), names(founder, &said));
    format!("epoch {:?}, {} members, operations more {more} less {less}", said.epoch, said.roster.len())
}

fn set_apart(world: &mut World, parts: &[Part], apart: bool) {
    let people: Vec<Vec<NodeId>> =
        parts.iter().map(|part| part.people.iter().chain(&part.outside).copied().collect()).collect();
    let people: Vec<&[NodeId]> = people.iter().map(Vec::as_slice).collect();
    world.split(&people, apart);
}

fn any(world: &mut World, people: &[NodeId]) -> NodeId {
    people[world.chance().below(people.len() as u64) as usize]
}

/// Somebody may have lost the right by what others did; everything else is a failure.
fn permitted(result: Result<(), Failure>) -> Result<(), Failure> {
    match result {
        Err(Failure::Refused { .. }) => Ok(()),
        result => result,
    }
}
