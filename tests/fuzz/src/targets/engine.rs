//! The whole engine as a state machine: arbitrary frames, records, links and times; and arbitrary content of a contact.

use silbo_protocol::chance::Chance;
use silbo_protocol::engine::Engine;
use silbo_protocol::ids::{LinkId, PeerAddress, PeerKey};
use silbo_protocol::input::{Input, Route};
use silbo_protocol::memory_store::MemoryStore;
use silbo_protocol::session::Session;
use silbo_protocol::time::{Moment, Now, UnixTime};
use silbo_protocol::wire::frame::Frame;
use silbo_protocol::wire::padding::{PadClass, pad};

use crate::Pieces;
use crate::fixture::{NOW_MS, fixture, peer_key};

/// Steps of one input; more would only repeat.
const STEPS_MAX: usize = 64;

/// One node under one input.
struct Node {
    engine: Engine,
    store: MemoryStore,
    now: Now,
}

impl Node {
    fn handle(&mut self, input: Input) {
        let step = self.engine.handle(input, self.now, &self.store).expect("what the engine wrote, it can read");
        self.store.apply(&step.writes);
    }
}

/// Each step is a kind byte and what belongs to it. Whatever comes, the node can be opened again on what it committed.
pub fn engine(data: &[u8]) {
    let node = run(data);
    let (again, _) = Engine::open(&node.store, [3; 32], node.now).expect("what the engine wrote, it can read");
    assert!(again.next_wake().is_some());
}

fn run(data: &[u8]) -> Node {
    let fixture = fixture();
    let store = fixture.node_store.clone();
    let now = Now { moment: Moment(1_000_000), unix: UnixTime(NOW_MS) };
    let (engine, step) = Engine::open(&store, [1; 32], now).expect("the store is sound");
    let mut node = Node { engine, store, now };
    node.store.apply(&step.writes);
    let mut contact = Session::decode(&fixture.contact_session).expect("a stored session");
    let mut chance = Chance::from_seed([2; 32]);
    node.handle(link_up(1, peer_key(2)));
    node.handle(link_up(2, peer_key(9)));
    let mut pieces = Pieces::new(data);
    for _ in 0..STEPS_MAX {
        let Some(kind) = pieces.byte() else { break };
        let link = LinkId(u64::from(kind >> 4 & 1) + 1);
        match kind & 7 {
            0 | 1 => {
                let bytes = pieces.piece().to_vec();
                node.handle(Input::Frame { link, bytes });
            }
            2 | 3 => {
                // What a contact can make: any plaintext, sealed as it should be.
                let Ok(padded) = pad(PadClass::Constrained, pieces.piece(), 96) else { continue };
                let Ok(sealed) = contact.seal([0x28, 0x60, 0, 0], &padded, [0; 3], now.unix, &mut chance) else {
                    continue;
                };
                let bytes = Frame::Envelopes(vec![sealed.envelope]).encode();
                node.handle(Input::Frame { link, bytes });
            }
            4 => {
                // An envelope under a tag that is listened for.
                let body = pieces.piece();
                let tag = fixture.tags[usize::from(kind >> 3) % fixture.tags.len()];
                let envelope = [&[0x28, 0x60, 0, 0][..], tag.as_bytes(), body].concat();
                let bytes = Frame::Envelopes(vec![envelope]).encode();
                node.handle(Input::Frame { link, bytes });
            }
            5 => {
                let seconds = u64::from(pieces.short()) * 60;
                node.now.moment = node.now.moment.after_ms(seconds * 1_000);
                node.now.unix = node.now.unix.after_ms(seconds * 1_000);
                node.handle(Input::Wake);
            }
            6 => {
                node.handle(Input::LinkDown { link });
                node.handle(link_up(link.0, peer_key(kind >> 5)));
            }
            _ => {
                let bytes = pieces.piece().to_vec();
                let address = PeerAddress { peer: peer_key(kind >> 5), addrs: vec![bytes.clone()] };
                node.handle(match kind >> 5 & 3 {
                    0 => Input::Record { key: fixture.presence_key, value: bytes },
                    1 => Input::Nearby { address },
                    2 => Input::OwnAddress { address },
                    _ => Input::DialFailed { peer: PeerKey(bytes) },
                });
            }
        }
    }
    node
}

fn link_up(link: u64, peer: PeerKey) -> Input {
    Input::LinkUp { link: LinkId(link), peer, local: peer_key(1), route: Route::Direct }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds::seeds;

    #[test]
    fn the_seeds_reach_what_is_behind_the_seal() {
        let chat = fixture().contact_chat;
        let nodes: Vec<Node> = seeds("engine").iter().map(|seed| run(seed)).collect();
        assert_eq!(nodes.iter().map(|node| node.store.rows(&chat).len()).collect::<Vec<_>>(), [0, 1, 0, 0]);
        assert!(nodes[1].store.events().len() > fixture().node_store.events().len());
        assert_ne!(nodes[2].store, fixture().node_store);
    }
}
