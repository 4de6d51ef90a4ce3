//! What a curious device notes of its links with another one: every frame, in which direction it went, and when.

use crate::node::NodeId;
use crate::world::World;

/// A frame as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overheard {
    /// Virtual time.
    pub at_ms: u64,
    /// Who sent it.
    pub from: NodeId,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Whose frames are noted, and what was noted so far.
#[derive(Debug, Default)]
pub(crate) struct Wiretap {
    pair: Option<(NodeId, NodeId)>,
    heard: Vec<Overheard>,
}

impl World {
    /// Notes every frame between two nodes from now on, and nobody else's.
    pub fn tap(&mut self, a: NodeId, b: NodeId) {
        self.wiretap = Wiretap { pair: Some((a.min(b), a.max(b))), heard: Vec::new() };
    }

    /// Ends it and hands out the notes.
    pub fn take_heard(&mut self) -> Vec<Overheard> {
        std::mem::take(&mut self.wiretap).heard
    }

    pub(crate) fn overhear(&mut self, from: NodeId, to: NodeId, bytes: &[u8]) {
        if self.wiretap.pair == Some((from.min(to), from.max(to))) {
            let at_ms = self.now_ms();
            self.wiretap.heard.push(Overheard { at_ms, from, bytes: bytes.to_vec() });
        }
    }
}
