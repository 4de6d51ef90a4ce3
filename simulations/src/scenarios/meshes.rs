//! Groups in which hardly anybody reaches everybody: lines, grids, and people who come and go.

use std::collections::BTreeMap;

use silbo_protocol::ids::ChatId;
use silbo_protocol::time::{MINUTE_MS, SECOND_MS};

use super::ensure;
use crate::failure::Failure;
use crate::network::Reach;
use crate::node::NodeId;
use crate::world::World;

/// Longest time until a post is everywhere.
const EVERYWHERE_MS_MAX: u64 = 30 * MINUTE_MS;

pub(super) fn line_of_ten(world: &mut World) -> Result<(), Failure> {
    let mesh = Mesh::new(world, 10, |a, b| a + 1 == b)?;
    let delays = mesh.all_post(world, "line of ten")?;
    ensure(delays.iter().all(|ms| *ms <= 30 * SECOND_MS), "a line of ten takes half a minute at most")
}

pub(super) fn grid_of_four(world: &mut World) -> Result<(), Failure> {
    grid(world, 4)
}

pub(super) fn grid_of_five(world: &mut World) -> Result<(), Failure> {
    grid(world, 5)
}

fn grid(world: &mut World, side: usize) -> Result<(), Failure> {
    let beside = |a: usize, b: usize| b == a + side || (b == a + 1 && !b.is_multiple_of(side));
    let mesh = Mesh::new(world, side * side, beside)?;
    mesh.all_post(world, &format!("grid of {side} x {side}"))?;
    mesh.corner_to_corner(world, &format!("grid of {side} x {side}"))
}

/// A hundred people of whom each reaches eight; every minute five go, and the five who went two minutes ago return.
pub(super) fn comings_and_goings(world: &mut World) -> Result<(), Failure> {
    churn(world, 100, 5)
}

pub(super) fn comings_and_goings_of_a_few(world: &mut World) -> Result<(), Failure> {
    churn(world, 20, 1)
}

fn churn(world: &mut World, people: usize, leaving: usize) -> Result<(), Failure> {
    const MINUTES: u64 = 20;
    let beside =
        |a: usize, b: usize| [1, 2, 5, 9].iter().any(|step| (a + step) % people == b || (b + step) % people == a);
    let mesh = Mesh::new(world, people, beside)?;
    let mut sent: BTreeMap<String, u64> = BTreeMap::new();
    let mut away: Vec<Vec<NodeId>> = Vec::new();
    world.take_traffic();
    for minute in 0..MINUTES {
        if away.len() >= 2 {
            for node in away.remove(0) {
                world.start(node);
            }
        }
        let mut going = Vec::new();
        while going.len() < leaving {
            let node = mesh.anybody(world);
            if world.node(node).is_on() {
                world.stop(node);
                going.push(node);
            }
        }
        away.push(going);
        for half in 0..2 {
            let author = loop {
                let node = mesh.anybody(world);
                if world.node(node).is_on() {
                    break node;
                }
            };
            let text = format!("at {minute}.{half}");
            world.say(author, mesh.chat, &text)?;
            sent.insert(text, world.now_ms());
            world.run_for(MINUTE_MS / 2)?;
        }
    }
    for node in away.into_iter().flatten() {
        world.start(node);
    }
    let (chat, nodes) = (mesh.chat, &mesh.people);
    world.run_until("every post is everywhere", EVERYWHERE_MS_MAX, |world| {
        nodes.iter().all(|node| world.node(*node).history(&chat).len() == sent.len())
    })?;
    let delays = sent.iter().map(|(text, at_ms)| mesh.shown_everywhere_ms(world, text) - at_ms).collect();
    let traffic = world.take_traffic();
    print(&format!("{people} people, {} of them leave or return every minute", 2 * leaving), delays, traffic.frames);
    Ok(())
}

/// A group of people who reach only those beside them.
struct Mesh {
    people: Vec<NodeId>,
    chat: ChatId,
}

impl Mesh {
    /// `beside` is asked for every pair, the first of both first.
    fn new(world: &mut World, people: usize, beside: impl Fn(usize, usize) -> bool) -> Result<Self, Failure> {
        let people: Vec<NodeId> = (0..people).map(|n| world.person(&format!("p{n}"))).collect::<Result<_, _>>()?;
        let chat = world.founded_group(&people)?;
        for (a, node) in people.iter().enumerate() {
            for (b, other) in people.iter().enumerate().skip(a + 1) {
                if !beside(a, b) {
                    world.keep_apart(*node, *other);
                }
            }
        }
        // Links made over the internet would stay: everybody begins anew where there is none.
        for node in &people {
            world.stop(*node);
            world.set_reach(*node, Reach::Lan(1));
        }
        for node in &people {
            world.start(*node);
        }
        world.run_for(30 * MINUTE_MS)?;
        Ok(Self { people, chat })
    }

    fn anybody(&self, world: &mut World) -> NodeId {
        self.people[world.chance().below(self.people.len() as u64) as usize]
    }

    /// Everybody writes once, and everybody reads it.
    fn all_post(&self, world: &mut World, what: &str) -> Result<Vec<u64>, Failure> {
        world.take_traffic();
        let mut delays = Vec::new();
        for (n, author) in self.people.iter().enumerate() {
            let text = format!("post {n}");
            let begin_ms = world.now_ms();
            let id = world.say(*author, self.chat, &text)?;
            world.run_until(&format!("{text} is everywhere"), EVERYWHERE_MS_MAX, |world| {
                self.people
                    .iter()
                    .all(|node| node == author || world.node(*node).shown.iter().rev().any(|shown| shown.body == text))
            })?;
            delays.push(world.now_ms() - begin_ms);
            // Receipts go back from hop to hop.
            world.wait_delivered(*author, id, MINUTE_MS)?;
            world.run_for(MINUTE_MS)?;
        }
        let traffic = world.take_traffic();
        print(what, delays.clone(), traffic.frames);
        Ok(delays)
    }

    /// The first writes to the last, who is no neighbour, without the group: who is between hands it on at once.
    fn corner_to_corner(&self, world: &mut World, what: &str) -> Result<(), Failure> {
        const MESSAGES: usize = 20;
        let (Some(from), Some(to)) = (self.people.first(), self.people.last()) else { return Ok(()) };
        let mut delays = Vec::new();
        world.take_traffic();
        for n in 0..MESSAGES {
            let (text, begin_ms) = (format!("dm {n}"), world.now_ms());
            world.send(*from, *to, &text)?;
            world.wait_shown(*to, &text, MINUTE_MS)?;
            delays.push(world.now_ms() - begin_ms);
            world.run_for(MINUTE_MS)?;
        }
        let traffic = world.take_traffic();
        print(&format!("{what}, direct messages across"), delays, traffic.frames);
        Ok(())
    }

    /// When the last one was shown a text.
    fn shown_everywhere_ms(&self, world: &World, text: &str) -> u64 {
        let shown = self.people.iter().flat_map(|node| &world.node(*node).shown);
        shown.filter(|shown| shown.body == text).map(|shown| shown.at_ms).max().unwrap_or(0)
    }
}

fn print(what: &str, mut delays: Vec<u64>, frames: u64) {
    delays.sort_unstable();
    let at =
        |part: usize| delays.get((delays.len() * part / 100).min(delays.len().saturating_sub(1))).copied().unwrap_or(0);
    let (median, p95, max) = (at(50), at(95), at(100));
    println!(
        "{what}: {} messages, everywhere after median {median} ms, p95 {p95} ms, at most {max} ms; {frames} frames",
        delays.len()
    );
}
