//! The whole engine as a state machine: arbitrary frames, records, links and times; and arbitrary content of a contact.

use silbo_protocol::chance::Chance;
use silbo_protocol::engine::Engine;
use silbo_protocol::ids::{LinkId, PeerAddress, PeerKey};
use silbo_protocol::input::{Input, Route};
use silbo_protocol::memory_store::MemoryStore;
use silbo_protocol::session::Session;
use silbo_protocol::step::Step;
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
    fn handle(&mut self, input: Input) -> Step {
        let step = self.engine.handle(input, self.now, &self.store).expect("what the engine wrote, it can read");
        self.store.apply(&step.writes);
        step
    }
}

/// Each step is a kind byte and what belongs to it.
pub fn engine(data: &[u8]) {
    let fixture = fixture();
    let store = fixture.node_store.clone();
    let now = Now { moment: Moment(1_000_000), unix: UnixTime(NOW_MS) };
    let (engine, step) = Engine::open(&store, [1; 32], now).expect("the store is sound");
    let mut node = Node { engine, store, now };
    node.store.apply(&step.writes);
    let mut contact = fixture.contact_session.as_deref().and_then(Session::decode);
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
                let Some(session) = &mut contact else { continue };
                let Ok(padded) = pad(PadClass::Constrained, pieces.piece(), 96) else { continue };
                let Ok(sealed) = session.seal([0x28, 0x60, 0, 0], &padded, [0; 3], now.unix, &mut chance) else { continue };
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
    // Whatever came, the node can be opened again on what it committed.
    let (again, step) = Engine::open(&node.store, [3; 32], node.now).expect("what the engine wrote, it can read");
    node.store.apply(&step.writes);
    assert!(again.next_wake().is_some());
}

fn link_up(link: u64, peer: PeerKey) -> Input {
    Input::LinkUp { link: LinkId(link), peer, local: peer_key(1), route: Route::Direct }
}
