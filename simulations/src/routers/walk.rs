//! The machine under the routers of the literature: people meet, and the ends of each contact send each other one
//! message after the other, as fast as the radio allows and until the contact ends.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

use silbo_protocol::chance::Chance;

use super::{Outcome, Router, Walk};
use crate::bits::Bits;

/// Kind byte and length of a frame with one envelope.
const FRAME_BYTES: u64 = 3;
/// A vaccine: the preimage of the tag.
const VACCINE_BYTES: u64 = 16;

/// What is due. Within one instant in this order, so that whole intervals are used, ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Begin { contact: usize },
    Write { message: u32 },
    Arrive { contact: usize, side: usize, message: u32, copies: u8 },
    Expire { message: u32 },
    End { contact: usize },
}

/// One direction of a contact that is on.
#[derive(Default)]
struct Way {
    queue: VecDeque<u32>,
    /// A message comes this way once a contact, however often it is forgotten and taken again.
    offered: BTreeSet<u32>,
    in_flight: Option<(u32, u8)>,
    broken: bool,
}

struct Person {
    holds: Bits,
    /// What it has as its recipient, or is being sent.
    has: Bits,
    coming: Bits,
    /// What it knows to have arrived.
    immune: Bits,
    /// What it took, and may have dropped.
    taken: Bits,
    /// Messages of others, oldest first; some may be gone already.
    carried: VecDeque<u32>,
    carried_count: usize,
    copies: BTreeMap<u32, u8>,
    near: BTreeMap<u32, usize>,
}

struct Machine<'a> {
    router: Router,
    walk: &'a Walk<'a>,
    people: Vec<Person>,
    ways: BTreeMap<usize, [Way; 2]>,
    live: Bits,
    heap: BinaryHeap<Reverse<(u64, Due)>>,
    now_us: u64,
    chance: Chance,
    delays: Vec<Option<u64>>,
    transmissions: u64,
    bytes: u64,
    hasher: blake3::Hasher,
}

pub(super) fn run(router: Router, walk: &Walk<'_>) -> Outcome {
    let mut machine = Machine::new(router, walk);
    while let Some(Reverse((at_us, due))) = machine.heap.pop() {
        machine.now_us = at_us;
        machine.turn(due);
    }
    Outcome {
        delays: machine.delays,
        transmissions: machine.transmissions,
        bytes: machine.bytes,
        hash: machine.hasher.finalize().to_hex().to_string(),
    }
}

impl<'a> Machine<'a> {
    fn new(router: Router, walk: &'a Walk<'a>) -> Self {
        let none = Bits::new(walk.messages.len());
        let person = || Person {
            holds: none.clone(),
            has: none.clone(),
            coming: none.clone(),
            immune: none.clone(),
            taken: none.clone(),
            carried: VecDeque::new(),
            carried_count: 0,
            copies: BTreeMap::new(),
            near: BTreeMap::new(),
        };
        let mut heap = BinaryHeap::new();
        for (contact, meeting) in walk.trace.contacts().iter().enumerate() {
            let up_ms = meeting.start_ms + walk.radio.setup_of(walk.seed, contact);
            if up_ms <= meeting.end_ms {
                heap.push(Reverse((up_ms * 1_000, Due::Begin { contact })));
                heap.push(Reverse((meeting.end_ms * 1_000, Due::End { contact })));
            }
        }
        for (message, written) in walk.messages.iter().enumerate() {
            let message = message as u32;
            heap.push(Reverse((written.at_ms * 1_000, Due::Write { message })));
            heap.push(Reverse((written.at_ms.saturating_add(walk.ttl_ms) * 1_000, Due::Expire { message })));
        }
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&walk.seed.to_be_bytes());
        Self {
            router,
            walk,
            people: (0..walk.trace.people()).map(|_| person()).collect(),
            ways: BTreeMap::new(),
            live: none.clone(),
            heap,
            now_us: 0,
            chance: Chance::from_seed(seed),
            delays: vec![None; walk.honest],
            transmissions: 0,
            bytes: 0,
            hasher: blake3::Hasher::new(),
        }
    }

    fn turn(&mut self, due: Due) {
        match due {
            Due::Begin { contact } => self.begin(contact),
            Due::Write { message } => self.write(message),
            Due::Arrive { contact, side, message, copies } => self.arrive(contact, side, message, copies),
            Due::Expire { message } => self.expire(message),
            Due::End { contact } => self.end(contact),
        }
    }

    fn ends(&self, contact: usize) -> [u32; 2] {
        let meeting = self.walk.trace.contacts()[contact];
        [meeting.a, meeting.b]
    }

    fn begin(&mut self, contact: usize) {
        let ends = self.ends(contact);
        self.ways.insert(contact, Default::default());
        for side in 0..2 {
            self.people[ends[side] as usize].near.insert(ends[1 - side], contact);
        }
        if self.router.has_vaccine() {
            for side in 0..2 {
                let (from, to) = (&self.people[ends[side] as usize], &self.people[ends[1 - side] as usize]);
                for message in from.immune.ones_not(&to.immune) {
                    self.bytes += VACCINE_BYTES;
                    self.learn(ends[1 - side], message as u32);
                }
            }
        }
        for side in 0..2 {
            let (from, to) = (&self.people[ends[side] as usize], &self.people[ends[1 - side] as usize]);
            // The recipient's own mail goes first, then what is oldest.
            let mut queue = from.holds.ones_not(&to.holds);
            queue.sort_by_key(|message| self.walk.messages[*message].to != ends[1 - side]);
            if let Some(ways) = self.ways.get_mut(&contact) {
                ways[side].queue = queue.into_iter().map(|message| message as u32).collect();
            }
            self.feed(contact, side);
        }
    }

    fn end(&mut self, contact: usize) {
        let ends = self.ends(contact);
        let Some(ways) = self.ways.remove(&contact) else { return };
        for (side, way) in ways.into_iter().enumerate() {
            self.people[ends[side] as usize].near.remove(&ends[1 - side]);
            if let Some((message, copies)) = way.in_flight {
                self.people[ends[1 - side] as usize].coming.remove(message as usize);
                self.give_back(ends[side], message, copies);
            }
        }
    }

    fn write(&mut self, message: u32) {
        let from = self.walk.messages[message as usize].from;
        self.live.insert(message as usize);
        if let Router::Spray { copies } = self.router {
            self.people[from as usize].copies.insert(message, copies);
        }
        self.hold(from, message);
    }

    fn expire(&mut self, message: u32) {
        self.live.remove(message as usize);
        for at in 0..self.people.len() {
            self.forget(at as u32, message);
            self.people[at].immune.remove(message as usize);
        }
    }

    /// A person has a copy now and offers it to everyone near.
    fn hold(&mut self, person: u32, message: u32) {
        let state = &mut self.people[person as usize];
        state.holds.insert(message as usize);
        let near: Vec<usize> = state.near.values().copied().collect();
        for contact in near {
            let side = usize::from(self.ends(contact)[0] != person);
            if let Some(ways) = self.ways.get_mut(&contact) {
                ways[side].queue.push_back(message);
                self.feed(contact, side);
            }
        }
    }

    fn forget(&mut self, person: u32, message: u32) {
        let state = &mut self.people[person as usize];
        if state.holds.remove(message as usize) && self.walk.messages[message as usize].from != person {
            state.carried_count -= 1;
        }
        state.copies.remove(&message);
    }

    /// A person hears that a message has arrived, and so does everyone joined with it.
    fn learn(&mut self, person: u32, message: u32) {
        let mut told = vec![person];
        while let Some(one) = told.pop() {
            if !self.live.contains(message as usize) || !self.people[one as usize].immune.insert(message as usize) {
                continue;
            }
            self.forget(one, message);
            for other in self.people[one as usize].near.keys() {
                if !self.people[*other as usize].immune.contains(message as usize) {
                    self.bytes += VACCINE_BYTES;
                    told.push(*other);
                }
            }
        }
    }

    /// Starts the next transfer of a direction that is free.
    fn feed(&mut self, contact: usize, side: usize) {
        let ends = self.ends(contact);
        let (from, to) = (ends[side], ends[1 - side]);
        let Some(way) = self.ways.get(&contact).map(|ways| &ways[side]) else { return };
        if way.in_flight.is_some() || way.broken {
            return;
        }
        let frame_bytes = self.walk.envelope_bytes + FRAME_BYTES;
        loop {
            let Some(way) = self.ways.get_mut(&contact).map(|ways| &mut ways[side]) else { return };
            let Some(message) = way.queue.pop_front() else { return };
            if way.offered.contains(&message) {
                continue;
            }
            let Some(copies) = self.share(from, to, message) else { continue };
            let took = self.walk.radio.transfer_us(frame_bytes, &mut self.chance);
            let Some(way) = self.ways.get_mut(&contact).map(|ways| &mut ways[side]) else { return };
            let Some(took) = took else {
                way.broken = true;
                self.give_back(from, message, copies);
                return;
            };
            way.offered.insert(message);
            way.in_flight = Some((message, copies));
            self.people[to as usize].coming.insert(message as usize);
            self.heap.push(Reverse((self.now_us + took, Due::Arrive { contact, side, message, copies })));
            return;
        }
    }

    /// How many copies `from` gives to `to`; `None` when it gives none.
    fn share(&mut self, from: u32, to: u32, message: u32) -> Option<u8> {
        let at = message as usize;
        let written = self.walk.messages[at];
        let (giver, taker) = (&self.people[from as usize], &self.people[to as usize]);
        let unknown = !(taker.holds.contains(at)
            || taker.has.contains(at)
            || taker.coming.contains(at)
            || taker.immune.contains(at)
            || (self.router == Router::EpidemicVaccineBuffer && taker.taken.contains(at)));
        let silent = self.walk.droppers[from as usize] && written.from != from;
        if !giver.holds.contains(at) || !self.live.contains(at) || !unknown || silent {
            return None;
        }
        if written.to == to {
            return Some(0);
        }
        if self.walk.buffer == 0 && !self.router.has_endless_buffer() {
            return None;
        }
        match self.router {
            Router::Direct | Router::Silbo => None,
            Router::Spray { .. } => {
                let held = self.people[from as usize].copies.get_mut(&message).filter(|held| **held > 1)?;
                let given = *held / 2;
                *held -= given;
                Some(given)
            }
            Router::Epidemic
            | Router::EpidemicVaccine
            | Router::EpidemicVaccineBuffer
            | Router::EpidemicVaccineRetake => Some(0),
        }
    }

    fn give_back(&mut self, person: u32, message: u32, copies: u8) {
        if let Some(held) = self.people[person as usize].copies.get_mut(&message) {
            *held += copies;
        }
    }

    fn arrive(&mut self, contact: usize, side: usize, message: u32, copies: u8) {
        let to = self.ends(contact)[1 - side];
        // The contact has ended meanwhile, and with it the transfer.
        let Some(way) = self.ways.get_mut(&contact).map(|ways| &mut ways[side]) else { return };
        way.in_flight = None;
        self.transmissions += u64::from((message as usize) < self.walk.honest);
        self.bytes += self.walk.envelope_bytes + FRAME_BYTES;
        self.note(to, message);
        self.people[to as usize].coming.remove(message as usize);
        if self.live.contains(message as usize) {
            self.take(to, message, copies);
        }
        self.feed(contact, side);
    }

    fn take(&mut self, person: u32, message: u32, copies: u8) {
        let at = message as usize;
        let written = self.walk.messages[at];
        if written.to == person {
            self.people[person as usize].has.insert(at);
            if let Some(delay) = self.delays.get_mut(at) {
                delay.get_or_insert(self.now_us.div_ceil(1_000) - written.at_ms);
            }
            if self.router.has_vaccine() {
                self.learn(person, message);
            }
            return;
        }
        if self.people[person as usize].immune.contains(at) {
            return;
        }
        if !self.router.has_endless_buffer() {
            self.make_room(person);
        }
        let state = &mut self.people[person as usize];
        state.taken.insert(at);
        state.carried.push_back(message);
        state.carried_count += 1;
        if copies > 0 {
            state.copies.insert(message, copies);
        }
        self.hold(person, message);
    }

    fn make_room(&mut self, person: u32) {
        while self.people[person as usize].carried_count >= self.walk.buffer.max(1) {
            let Some(oldest) = self.people[person as usize].carried.pop_front() else { return };
            self.forget(person, oldest);
        }
    }

    fn note(&mut self, person: u32, message: u32) {
        self.hasher.update(&self.now_us.to_be_bytes());
        self.hasher.update(&person.to_be_bytes());
        self.hasher.update(&message.to_be_bytes());
    }
}
