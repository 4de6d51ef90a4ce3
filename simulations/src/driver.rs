//! Drives an engine exactly as the node does: commit, then send, then answer, then tell; and dies between any two.

use silbo_protocol::input::Input;
use silbo_protocol::presence;
use silbo_protocol::step::{EventKind, Send, Step};
use silbo_protocol::store::{File, Write};
use silbo_protocol::time::UnixTime;
use silbo_protocol::wire::frame::Frame;

use crate::node::{NodeId, Shown, WORLD_BEGINS_MS};
use crate::world::{Happening, World};

/// Where in a step a node dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The step is lost.
    BeforeCommit,
    /// The private file is committed, the mailbox file is not.
    BetweenFiles,
    /// Committed; nothing was sent.
    AfterCommit,
    /// Half of the sends left.
    MidSends,
    /// All left; nobody was answered.
    AfterSends,
    /// Answered; ephemeral news is lost.
    AfterReplies,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Self; 6] = [
        Self::BeforeCommit,
        Self::BetweenFiles,
        Self::AfterCommit,
        Self::MidSends,
        Self::AfterSends,
        Self::AfterReplies,
    ];
}

/// Steps of one node within one virtual millisecond beyond which it is taken to spin.
const STEPS_PER_MS_MAX: u32 = 5_000;
/// How long a node whose disk failed stays down.
const AFTER_DISK_ERROR_MS: u64 = 5_000;

impl World {
    /// One input to one engine, and all its consequences. Does nothing while the node is off.
    pub fn give(&mut self, id: NodeId, input: Input) {
        let garbage = matches!(&input, Input::Frame { bytes, .. } if Frame::decode(bytes).is_err());
        if garbage && self.is_wake_due(id) {
            // What is due anyway must not be blamed on the garbage.
            self.give(id, Input::Wake);
        }
        let now_ms = self.now_ms();
        let rehearsed = self.rehearsed(id, &input);
        let node = &mut self.nodes[id.0];
        let now = node.now(now_ms);
        let Some(engine) = node.engine.as_mut() else { return };
        node.inputs += 1;
        self.trace.input(now_ms, id, &input);
        let outcome = rehearsed.unwrap_or_else(|| engine.handle(input, now, &node.disk));
        self.check_rest(id);
        match outcome {
            Ok(step) => {
                if garbage && !(step.writes.is_empty() && step.reply.is_empty()) {
                    self.broken("I4", id, String::from("bytes that are no frame changed something"));
                }
                self.carry_out(id, step);
            }
            Err(error) => {
                self.trace.note(now_ms, id, &error.to_string());
                self.crash(id, AFTER_DISK_ERROR_MS);
            }
        }
    }

    pub(crate) fn carry_out(&mut self, id: NodeId, mut step: Step) {
        self.trace.step(self.now_ms(), id, &step);
        let planned = self.nodes[id.0].crash_due();
        let dies = |phase: Phase| planned.is_some_and(|planned| planned.phase == phase);
        let dead_ms = planned.map_or(0, |planned| planned.dead_ms);
        if dies(Phase::BeforeCommit) {
            return self.crash(id, dead_ms);
        }
        if dies(Phase::BetweenFiles) {
            step.writes.retain(|write| file(write) == File::Private);
        }
        if !self.commit(id, &step.writes) {
            return self.crash(id, AFTER_DISK_ERROR_MS);
        }
        if dies(Phase::BetweenFiles) || dies(Phase::AfterCommit) {
            return self.crash(id, dead_ms);
        }
        let sends_kept = if dies(Phase::MidSends) { step.sends.len() / 2 } else { step.sends.len() };
        for send in step.sends.drain(..sends_kept) {
            self.hand_out(id, send);
        }
        if dies(Phase::MidSends) || dies(Phase::AfterSends) {
            return self.crash(id, dead_ms);
        }
        for (request, reply) in step.reply {
            self.check_reply(id, &reply);
            self.pending.remove(&request);
            self.nodes[id.0].replies.insert(request, reply);
        }
        if dies(Phase::AfterReplies) {
            return self.crash(id, dead_ms);
        }
        if self.keeps_history {
            self.nodes[id.0].live.extend(step.events);
        }
        self.arm_wake(id);
    }

    fn commit(&mut self, id: NodeId, writes: &[Write]) -> bool {
        let now_ms = self.now_ms();
        let released = self.note_release(id, writes);
        if let Err(error) = self.nodes[id.0].disk.commit(writes) {
            self.trace.note(now_ms, id, &error.to_string());
            return false;
        }
        self.check_committed(id, writes);
        self.check_release(id, writes, released);
        let node = &mut self.nodes[id.0];
        for write in writes {
            let Write::AppendEvent(event) = write else { continue };
            match (&event.kind, event.chat, event.message) {
                (EventKind::MessageReceived { body, path, .. }, Some(chat), Some(message)) => {
                    node.shown.push(Shown { at_ms: now_ms, chat, id: message, body: body.clone(), path: *path });
                }
                (EventKind::MessageState { state, .. }, _, Some(message)) => {
                    node.states.insert(message, *state);
                }
                _ => {}
            }
            if self.keeps_history
                || !matches!(event.kind, EventKind::MessageSent { .. } | EventKind::MessageState { .. })
            {
                node.events.push(event.clone());
            }
        }
        true
    }

    fn hand_out(&mut self, id: NodeId, send: Send) {
        match send {
            Send::Frame { link, bytes } => self.send_frame(id, link, bytes),
            Send::Dial { address, .. } => self.dial(id, address),
            Send::Close { link } => self.lose_end(link),
            Send::Vouch { .. } => {}
            Send::ReserveCircuit { address } => self.reserve_circuit(id, &address),
            Send::PublishRecord { key, value } => {
                let own_s = self.nodes[id.0].now(self.now_ms()).unix.0 / 1_000;
                if presence::validate(&key, &value, own_s).is_err() {
                    self.broken("I8", id, String::from("published a record that does not validate"));
                }
                if self.has_network(id) {
                    let servers_now = UnixTime(WORLD_BEGINS_MS + self.now_ms());
                    self.dht.publish(key, value, servers_now);
                }
            }
            Send::FindRecord { key } => {
                if let Some(value) = self.dht.find(&key).filter(|_| self.has_network(id)).cloned() {
                    let delay = 100 + self.chance.below(2_000);
                    let run = self.nodes[id.0].run;
                    self.after(delay, Happening::Record { node: id, run, key, value });
                }
            }
        }
    }

    pub(crate) fn arm_wake(&mut self, id: NodeId) {
        let now_ms = self.now_ms();
        let node = &mut self.nodes[id.0];
        let wanted = node.engine.as_ref().and_then(|engine| engine.next_wake());
        let at_ms = wanted.map(|moment| node.at_ms(moment).max(now_ms));
        if at_ms == node.wake_at_ms {
            return;
        }
        node.wake_at_ms = at_ms;
        node.wake_generation += 1;
        let generation = node.wake_generation;
        if let Some(at_ms) = at_ms {
            self.at(at_ms, Happening::Wake { node: id, generation });
        }
    }

    fn is_wake_due(&self, id: NodeId) -> bool {
        let node = &self.nodes[id.0];
        let wake = node.engine.as_ref().and_then(|engine| engine.next_wake());
        wake.is_some_and(|moment| node.at_ms(moment) <= self.now_ms())
    }

    fn check_rest(&mut self, id: NodeId) {
        let now_ms = self.now_ms();
        let node = &mut self.nodes[id.0];
        if node.busy_at_ms != now_ms {
            node.busy_at_ms = now_ms;
            node.busy_steps = 0;
        }
        node.busy_steps += 1;
        if node.busy_steps > STEPS_PER_MS_MAX {
            self.broken("rest", id, format!("{STEPS_PER_MS_MAX} steps within one millisecond"));
        }
    }
}

fn file(write: &Write) -> File {
    match write {
        Write::Put { table, .. } | Write::Delete { table, .. } => table.file(),
        _ => File::Private,
    }
}
