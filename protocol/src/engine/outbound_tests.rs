//! How much a link is handed before anything comes back.

use super::*;
use crate::input::{Input, InviteKind, Request, RequestId};
use crate::limits::{ENVELOPE_BYTES_MAX, ENVELOPES_IN_FLIGHT_BYTES_MAX, GROUP_WANTS_BY_RADIO_MAX, TEXT_BYTES_MAX};
use crate::memory_store::MemoryStore;
use crate::step::{Reply, Send};
use crate::time::{EPOCH_2024_MS, Now};

const LINK: LinkId = LinkId(1);

struct Device {
    engine: Engine,
    store: MemoryStore,
}

impl Device {
    fn new(name: &str, seed: u8) -> Self {
        let mut store = MemoryStore::new();
        let (engine, first) = Engine::open(&store, [seed; 32], now()).expect("an empty store opens");
        store.apply(&first.writes);
        let mut device = Self { engine, store };
        device.ask(Request::CreateAccount { name: name.to_owned() });
        device
    }

    /// What it sends on the link.
    fn give(&mut self, input: Input) -> (Vec<Vec<u8>>, Option<Reply>) {
        let step = self.engine.handle(input, now(), &self.store).expect("the store works");
        self.store.apply(&step.writes);
        let frames = step.sends.into_iter().filter_map(|send| match send {
            Send::Frame { bytes, .. } => Some(bytes),
            _ => None,
        });
        let reply = step.reply.into_iter().next().map(|(_, reply)| reply.expect("what can be done"));
        (frames.collect(), reply)
    }

    fn ask(&mut self, request: Request) -> (Vec<Vec<u8>>, Option<Reply>) {
        self.give(Input::Request { id: RequestId(1), request: Box::new(request) })
    }
}

fn now() -> Now {
    Now { moment: Moment(1_000), unix: UnixTime(EPOCH_2024_MS + 1_000) }
}

/// Frames to and fro until both are quiet.
fn settle(ends: &mut [Device; 2], link: LinkId, mut flying: Vec<(usize, Vec<u8>)>) {
    while !flying.is_empty() {
        for (to, bytes) in std::mem::take(&mut flying) {
            let (frames, _) = ends[to].give(Input::Frame { link, bytes });
            flying.extend(frames.into_iter().map(|bytes| (1 - to, bytes)));
        }
    }
}

/// Two contacts, and the frames of a link that has just come up between them.
fn contacts() -> ([Device; 2], ChatId) {
    let mut ends = [Device::new("Ann", 1), Device::new("Bob", 2)];
    let invite = Request::InviteCreate { kind: InviteKind::OneTime, ttl_ms: 3_600_000 };
    let (_, Some(Reply::Invite(invite))) = ends[0].ask(invite) else { panic!("an invitation") };
    let (_, Some(Reply::Contact(ann))) = ends[1].ask(Request::ContactAdd { link: invite.qr, alias: None }) else {
        panic!("a contact")
    };
    let flying = link_up(&mut ends, LINK);
    settle(&mut ends, LINK, flying);
    (ends, ann.chat)
}

fn link_up(ends: &mut [Device; 2], link: LinkId) -> Vec<(usize, Vec<u8>)> {
    let keys = [PeerKey(vec![1; 38]), PeerKey(vec![2; 38])];
    let mut flying = Vec::new();
    for at in 0..2 {
        let (local, peer) = (keys[at].clone(), keys[1 - at].clone());
        let (frames, _) = ends[at].give(Input::LinkUp { link, peer, local, route: Route::Radio });
        flying.extend(frames.into_iter().map(|bytes| (1 - at, bytes)));
    }
    flying
}

fn text(chat: ChatId) -> Request {
    let body = "x".repeat(TEXT_BYTES_MAX);
    Request::Send { chat, body, reply_to: None, expire_s: None, client_id: None, ttl_s: None, no_infra: false }
}

#[test]
fn a_backlog_of_long_texts_is_handed_to_a_link_a_window_at_a_time() {
    let (mut ends, ann) = contacts();
    let mut handed = Vec::new();
    for _ in 0..40 {
        handed.extend(ends[1].ask(text(ann)).0);
    }
    let bytes: usize = handed.iter().map(Vec::len).sum();
    let window = ENVELOPES_IN_FLIGHT_BYTES_MAX..ENVELOPES_IN_FLIGHT_BYTES_MAX + ENVELOPE_BYTES_MAX;
    assert!(window.contains(&bytes), "{bytes} bytes before any receipt");
    settle(&mut ends, LINK, handed.into_iter().map(|bytes| (0, bytes)).collect());
    assert!(ends[1].engine.outbox.is_empty(), "receipts bring the next ones on their way");
}

#[test]
fn a_backlog_of_long_posts_of_a_group_leaves_a_few_at_a_time() {
    let (mut ends, ann) = contacts();
    let group = Request::GroupCreate { name: "walkers".to_owned(), topic: String::new(), members: vec![ann] };
    let (frames, Some(Reply::Group(group))) = ends[1].ask(group) else { panic!("a group") };
    settle(&mut ends, LINK, frames.into_iter().map(|bytes| (0, bytes)).collect());
    for end in &mut ends {
        end.give(Input::LinkDown { link: LINK });
    }
    for _ in 0..20 {
        ends[1].ask(text(group.chat));
    }
    let again = LinkId(2);
    let mut flying = link_up(&mut ends, again);
    let mut most = 0;
    while !flying.is_empty() {
        let mut bytes = 0;
        for (to, frame) in std::mem::take(&mut flying) {
            let (frames, _) = ends[to].give(Input::Frame { link: again, bytes: frame });
            bytes += frames.iter().map(Vec::len).sum::<usize>();
            flying.extend(frames.into_iter().map(|bytes| (1 - to, bytes)));
        }
        most = most.max(bytes);
    }
    let long = ends[0].store.rows(&group.chat).iter().filter(|row| row.body.len() == TEXT_BYTES_MAX).count();
    assert_eq!(long, 20, "all of them arrive");
    // The same letters are mail too while nobody has said that they are here.
    let window = ENVELOPES_IN_FLIGHT_BYTES_MAX + GROUP_WANTS_BY_RADIO_MAX * ENVELOPE_BYTES_MAX;
    assert!(most <= window, "{most} bytes were owed at a time, a radio link takes a megabyte");
}
