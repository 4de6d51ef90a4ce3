//! What another carrier says while two find out what only one of them has.

use silbo_protocol::carry::reconcile::{Message, Opening, Reconciliation, SUMS_MAX};
use silbo_protocol::carry::riblt::{Cell, Decoder, Encoder, Progress, Side};
use silbo_protocol::carry::salted_set::{SaltedId, SaltedSet};

use crate::Pieces;

/// `count` items from number `first` on, under the salt of all inputs.
pub fn set(first: u8, count: u8) -> SaltedSet {
    let items = (u128::from(first)..).take(usize::from(count)).map(u128::to_be_bytes);
    SaltedSet::new(&[7; 16], items).expect("few items")
}

/// First byte: items of my set. The rest are cells: as they are, and as damage to the stream of a similar set. A set
/// that explains all cells has these very cells.
pub fn riblt_cells(data: &[u8]) {
    let mut pieces = Pieces::new(data);
    let own = set(0, pieces.byte().unwrap_or(0) & 63);
    let given: Vec<&[u8]> = pieces.rest().chunks_exact(Cell::LEN).collect();
    let peer = set(3, own.ids().len() as u8);
    let mut honest = Encoder::new(peer.hash(), peer.ids());
    let damaged = given.iter().map(|chunk| {
        let bytes: Vec<u8> = honest.next_cell().to_bytes().iter().zip(*chunk).map(|(a, b)| a ^ b).collect();
        Cell::read(&bytes).expect("nine bytes")
    });
    decode(&own, damaged.collect());
    decode(&own, given.iter().filter_map(|chunk| Cell::read(chunk)).collect());
}

fn decode(own: &SaltedSet, cells: Vec<Cell>) {
    let mut decoder = Decoder::new(own.hash(), own.ids());
    for cell in &cells {
        decoder.push(*cell);
        assert!(decoder.found().count() <= decoder.cells());
        assert!(decoder.cells_wanted() <= 4 * decoder.cells() + 8 + 2 * decoder.found().count());
    }
    if decoder.progress() != Progress::Complete {
        return;
    }
    let mut ids: Vec<SaltedId> = own.ids().to_vec();
    for (id, side) in decoder.found() {
        match side {
            Side::Mine => ids.retain(|own| *own != id),
            Side::Theirs => ids.push(id),
        }
    }
    let mut encoder = Encoder::new(own.hash(), &ids);
    assert!(cells.iter().all(|cell| *cell == encoder.next_cell()));
}

/// First byte: items of my set, second: of the peer's. The rest are pieces, each a message to the smaller or the larger
/// end. What an end sends is bounded by the two sets.
pub fn reconcile_message(data: &[u8]) {
    if let Ok(message) = Message::decode(data) {
        assert_eq!(message.encode(), data);
    }
    if let Some(opening) = Opening::decode(data) {
        assert_eq!(&opening.encode()[..], data);
        Reconciliation::start(set(0, 20), &opening);
    }
    let mut pieces = Pieces::new(data);
    let (own, peer) = (set(0, pieces.byte().unwrap_or(0)), set(3, pieces.byte().unwrap_or(0)));
    let items = own.ids().len() + peer.ids().len();
    let (mut end, mut sent) = Reconciliation::start(own, &Opening::of(&peer));
    for _ in 0..64 {
        let piece = pieces.piece();
        let Ok(message) = Message::decode(piece) else { break };
        let before = sent.len();
        if end.handle(message, &mut sent).is_err() {
            assert_eq!(sent.len(), before);
            break;
        }
    }
    if let Some(difference) = end.difference() {
        assert!(difference.mine.iter().all(|id| end.set().holds(*id)));
        assert!(difference.theirs.iter().all(|id| !end.set().holds(*id)));
        let kept = end.set().ids().len() - difference.mine.len();
        assert_eq!(kept + difference.theirs.len(), peer.ids().len());
    }
    let bytes: usize = sent.iter().map(|message| message.encode().len()).sum();
    assert!(bytes <= 6 * SUMS_MAX + 9 * (items + 64) + 7 * items + 300);
}
