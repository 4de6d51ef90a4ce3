//! Several engines at work at once, in a world that cannot tell.
//!
//! ```text
//!   next in the heap:  Frame a │ Frame b │ Frame c │ Wake d …      all at the same millisecond
//!   rehearse           a, b, c on threads: Engine::handle, nothing else
//!   then, in order     Frame a: what its engine made of it is carried out; Frame b; Frame c …
//! ```
//! Only what a node does with a frame is done early: reading its own disk, changing its own engine. Nothing of the
//! world is touched; dice, trace, links and invariants come in the order of the heap. It is exact because between the
//! rehearsal and its turn nothing reaches the node: the frames are the next happenings, no node is among them twice,
//! what they cause comes later in the heap, and a frame arrives whatever other nodes did in that millisecond.

use std::collections::BTreeSet;

use silbo_protocol::ids::LinkId;
use silbo_protocol::input::Input;
use silbo_protocol::step::Step;
use silbo_protocol::store::StoreError;
use silbo_protocol::wire::frame::Frame;

use crate::node::{Node, NodeId};
use crate::world::{Happening, World};

/// Fewer frames are not worth a thread: it takes some 30 µs to start one, and a frame of an encounter about as much.
const FRAMES_MIN: usize = 16;
/// Frames rehearsed at a time: what their steps hold stays in memory until their turn.
const FRAMES_MAX: usize = 1_024;

/// What an engine made of a frame whose turn has not come.
pub(crate) struct Rehearsed {
    link: LinkId,
    outcome: Result<Step, StoreError>,
}

impl World {
    /// A frame is about to arrive: if many others are next, the engines of all of them work at the same time.
    pub(crate) fn rehearse(&mut self, link: LinkId, bytes: &[u8]) {
        if self.threads < 2 || !self.rehearsed.is_empty() {
            return;
        }
        let now_ms = self.now_ms();
        let mut readers = BTreeSet::new();
        let mut frames: Vec<(NodeId, LinkId, &[u8])> = Vec::new();
        let next = self.heap.iter().take_while(|((at_ms, _), _)| *at_ms == now_ms).map_while(|(_, next)| match next {
            Happening::Frame { link, bytes } => Some((*link, bytes.as_slice())),
            _ => None,
        });
        for (link, bytes) in std::iter::once((link, bytes)).chain(next.take(FRAMES_MAX)) {
            // Of two frames for one node the second has to wait for what the first one does.
            let reader = self.network.reader(link).filter(|(node, run)| {
                let state = &self.nodes[node.0];
                readers.insert(*node) && state.is_on() && state.run == *run && state.online
            });
            if let Some((node, _)) = reader {
                frames.push((node, link, bytes));
            }
        }
        if frames.len() < FRAMES_MIN {
            return;
        }
        frames.sort_unstable_by_key(|(node, ..)| *node);
        let mut jobs = Vec::with_capacity(frames.len());
        let (mut rest, mut passed) = (self.nodes.as_mut_slice(), 0);
        for (node, link, bytes) in frames {
            let Some((reader, behind)) = std::mem::take(&mut rest)[node.0 - passed..].split_first_mut() else { break };
            (rest, passed) = (behind, node.0 + 1);
            jobs.push((reader, link, bytes));
        }
        let share = jobs.len().div_ceil(self.threads);
        let rehearsed = std::thread::scope(|scope| {
            let work = |part: &mut [Job]| -> Vec<_> { part.iter_mut().filter_map(|job| handle(job, now_ms)).collect() };
            let mut parts = jobs.chunks_mut(share);
            let own = parts.next();
            let others: Vec<_> = parts.map(|part| scope.spawn(move || work(part))).collect();
            let mut done = own.map(work).unwrap_or_default();
            for other in others {
                done.extend(other.join().expect("an engine does not panic"));
            }
            done
        });
        self.rehearsed.extend(rehearsed);
    }

    /// What the engine of this node has made of this input already.
    pub(crate) fn rehearsed(&mut self, id: NodeId, input: &Input) -> Option<Result<Step, StoreError>> {
        let rehearsed = self.rehearsed.remove(&id)?;
        let is_same = matches!(input, Input::Frame { link, .. } if *link == rehearsed.link);
        assert!(is_same, "nothing reaches a node between the rehearsal of a frame and the frame");
        Some(rehearsed.outcome)
    }
}

/// A node, and the frame that reaches it next.
type Job<'a> = (&'a mut Node, LinkId, &'a [u8]);

/// What the driver does with a frame, up to the step. Bytes that are no frame are left to it.
fn handle((node, link, bytes): &mut Job<'_>, now_ms: u64) -> Option<(NodeId, Rehearsed)> {
    if Frame::decode(bytes).is_err() {
        return None;
    }
    let now = node.now(now_ms);
    let input = Input::Frame { link: *link, bytes: bytes.to_vec() };
    let outcome = node.engine.as_mut()?.handle(input, now, &node.disk);
    Some((node.id, Rehearsed { link: *link, outcome }))
}
