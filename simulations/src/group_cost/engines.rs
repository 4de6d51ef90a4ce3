//! A group of real engines in one process.

use std::collections::BTreeMap;

use silbo_protocol::ids::ChatId;
use silbo_protocol::input::Request;
use silbo_protocol::step::Reply;
use silbo_protocol::time::{DAY_MS, MINUTE_MS};

use super::{Settings, broken};
use crate::failure::Failure;
use crate::node::NodeId;
use crate::process;
use crate::world::World;

/// After each change everybody is left alone so long, so that confirmations and comparisons are counted with it.
const SETTLE_MS: u64 = 2 * MINUTE_MS;

/// What one change cost all engines together.
#[derive(Clone, Debug, Default)]
pub(super) struct Cost {
    pub(super) frames: u64,
    pub(super) bytes: u64,
    /// Frames and bytes by what they are for.
    pub(super) kinds: BTreeMap<&'static str, (u64, u64)>,
    /// Bytes to and from the newcomer, of a join or an addition.
    pub(super) newcomer: u64,
    pub(super) cpu_ms: f64,
    /// Virtual milliseconds until everybody had it.
    pub(super) took_ms: u64,
}

/// All of them.
#[derive(Clone, Debug)]
pub(super) struct Engines {
    pub(super) founding: Cost,
    /// Nothing happens for as long as after each change.
    pub(super) idle: Cost,
    /// The mean of several.
    pub(super) post: Cost,
    pub(super) add: Cost,
    pub(super) remove: Cost,
    pub(super) join: Cost,
    /// Devices that stay after the removal.
    pub(super) remaining: usize,
}

pub(super) fn measure(settings: &Settings) -> Result<Engines, Failure> {
    let mut world = World::new(settings.seed);
    world.forget_history();
    let people: Vec<NodeId> =
        (0..settings.engines).map(|n| world.person(&format!("p{n}"))).collect::<Result<_, _>>()?;
    let (friend, guest) = (world.person("friend")?, world.person("guest")?);
    let founder = *people.first().ok_or_else(|| broken("nobody"))?;
    world.befriend(founder, friend)?;
    let mut chat = None;
    let founding = cost(&mut world, |world| {
        chat = Some(world.founded_group(&people)?);
        Ok(())
    })?;
    let chat = chat.ok_or_else(|| broken("no group"))?;
    world.run_for(10 * MINUTE_MS)?;
    world.take_traffic();
    let idle = cost(&mut world, |_| Ok(()))?;

    let mut post = Cost::default();
    for n in 0..settings.posts {
        let author = people[n as usize * 7 % people.len()];
        let text = format!("{n:>40}");
        let one = cost(&mut world, |world| {
            world.say(author, chat, &text)?;
            shown(world, &people, author, &text)
        })?;
        post.add(&one);
    }
    post.divide(settings.posts);

    world.watch(Some(friend));
    let add = cost(&mut world, |world| {
        world.add_members(founder, chat, &[friend])?;
        everybody_counts(world, &people, friend, chat, people.len() + 1)
    })?;
    world.watch(None);

    let (leaver, stay) = people.split_last().ok_or_else(|| broken("nobody"))?;
    let remove = cost(&mut world, |world| {
        world.remove_member(founder, chat, *leaver)?;
        everybody_counts(world, stay, friend, chat, stay.len() + 1)
    })?;
    let text = "under the new key";
    world.say(friend, chat, text)?;
    shown(&mut world, stay, friend, text)?;
    if world.node(*leaver).texts().contains(&text) {
        return Err(broken("who was removed reads on"));
    }

    world.watch(Some(guest));
    let join = cost(&mut world, |world| {
        let request = Request::GroupInvite { chat, uses: 5, ttl_ms: DAY_MS, approval: false };
        let Reply::GroupLink(view) = world.request(founder, request)? else { return Err(broken("no link")) };
        world.request(guest, Request::GroupJoin { link: view.link })?;
        everybody_counts(world, stay, guest, chat, stay.len() + 2)
    })?;
    world.watch(None);
    Ok(Engines { founding, idle, post, add, remove, join, remaining: stay.len() + 1 })
}

impl Cost {
    fn add(&mut self, other: &Self) {
        self.frames += other.frames;
        self.bytes += other.bytes;
        self.cpu_ms += other.cpu_ms;
        self.took_ms += other.took_ms;
        for (kind, (frames, bytes)) in &other.kinds {
            let sum = self.kinds.entry(kind).or_default();
            *sum = (sum.0 + frames, sum.1 + bytes);
        }
    }

    fn divide(&mut self, by: u32) {
        let by = u64::from(by.max(1));
        self.frames /= by;
        self.bytes /= by;
        self.took_ms /= by;
        self.cpu_ms /= by as f64;
        for sum in self.kinds.values_mut() {
            *sum = (sum.0 / by, sum.1 / by);
        }
    }
}

/// What something cost, and what followed from it within a while.
fn cost(world: &mut World, act: impl FnOnce(&mut World) -> Result<(), Failure>) -> Result<Cost, Failure> {
    world.take_traffic();
    let (begun_ms, cpu_s) = (world.now_ms(), process::cpu_s());
    act(world)?;
    let took_ms = world.now_ms() - begun_ms;
    world.run_for(SETTLE_MS)?;
    let cpu_ms = process::cpu_s().zip(cpu_s).map_or(0.0, |(after, before)| (after - before) * 1e3);
    let traffic = world.take_traffic();
    let (frames, bytes) = (traffic.frames, traffic.bytes);
    Ok(Cost { frames, bytes, kinds: traffic.kinds, newcomer: traffic.watched, cpu_ms, took_ms })
}

fn shown(world: &mut World, readers: &[NodeId], author: NodeId, text: &str) -> Result<(), Failure> {
    for reader in readers.iter().filter(|reader| **reader != author) {
        world.wait_shown(*reader, text, 10 * MINUTE_MS)?;
    }
    Ok(())
}

fn everybody_counts(
    world: &mut World,
    members: &[NodeId],
    newcomer: NodeId,
    chat: ChatId,
    count: usize,
) -> Result<(), Failure> {
    for member in members.iter().chain([&newcomer]) {
        world.wait_members(*member, chat, count)?;
    }
    Ok(())
}
