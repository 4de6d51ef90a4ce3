//! Channels: links that anybody makes, posts that anybody brings, and a reader among whom anybody may be.

use std::sync::OnceLock;

use prost::Message;
use silbo_protocol::chance::Chance;
use silbo_protocol::channel::channel_id;
use silbo_protocol::channel::keys::DayKey;
use silbo_protocol::channel::post::{Place, Post, PostError, message_id};
use silbo_protocol::crypto::ed25519::SigningKey;
use silbo_protocol::engine::Engine;
use silbo_protocol::ids::{ChatId, LinkId};
use silbo_protocol::input::{Input, Request, RequestId, Route};
use silbo_protocol::memory_store::MemoryStore;
use silbo_protocol::time::{Moment, Now, UnixTime};
use silbo_protocol::wire::channel_link::ChannelLink;
use silbo_protocol::wire::frame::Frame;
use silbo_protocol::wire::invite::Hint;
use silbo_protocol::wire::proto::{self, channel_sync::S, plain::Kind};

use super::text::crc16;
use crate::fixture::{NOW_MS, fixture, peer_key};
use crate::{Pieces, piece};

/// Steps of one input; more would only repeat.
const STEPS_MAX: usize = 64;
const NONCE: [u8; 16] = [5; 16];
const LINK: LinkId = LinkId(1);

/// An owner, and the key of the day on which it lets people in.
pub struct Owner {
    seed: SigningKey,
    key: DayKey,
}

impl Owner {
    fn chat(&self) -> ChatId {
        channel_id(&self.seed.verifying_key())
    }

    /// A link of its channel.
    pub fn link(&self) -> ChannelLink {
        let owner = self.seed.verifying_key();
        ChannelLink { flags: 0, key: self.key.clone(), owner, first_seq: 0, hints: Vec::new() }
    }

    /// A post that says this.
    pub fn post(&self, seq: u64, prev: [u8; 32], day: u32, said: &[u8]) -> Option<Post> {
        let place = Place { seq, prev, day };
        let key = self.key.on(day)?;
        Post::write(&self.seed, self.chat(), &key, place, said, &mut Chance::from_seed([7; 32])).ok()
    }
}

/// The owner of all inputs.
pub fn owner() -> &'static Owner {
    static OWNER: OnceLock<Owner> = OnceLock::new();
    OWNER.get_or_init(|| {
        let day = UnixTime(NOW_MS).day_2024().saturating_sub(2);
        Owner { seed: SigningKey::from_seed(&[8; 32]), key: DayKey::read(day, &[9; 32]).expect("32 bytes") }
    })
}

/// Links: the bytes as they are and with the checksum made right, and the text.
pub fn link(data: &[u8]) {
    let crc = crc16(data).to_be_bytes();
    for bytes in [data.to_vec(), [data, &crc].concat()] {
        if let Ok(link) = ChannelLink::decode(&bytes) {
            assert_eq!(link.encode(), bytes, "one encoding");
            for text in [link.link(), link.qr()] {
                assert_eq!(ChannelLink::parse(&text).as_ref(), Ok(&link));
            }
        }
    }
    if let Ok(link) = ChannelLink::parse(&String::from_utf8_lossy(data)) {
        assert_eq!(ChannelLink::decode(&link.encode()), Ok(link));
    }
}

/// Posts: the bytes from a stranger, and as what the owner says.
pub fn post(data: &[u8]) {
    let owner = owner();
    let (chat, vk) = (owner.chat(), owner.seed.verifying_key());
    let other = SigningKey::from_seed(&[10; 32]).verifying_key();
    if let Ok(post) = Post::read(chat, &vk, data) {
        assert_eq!(Post::read(chat, &other, data), Err(PostError::Forged));
        assert_eq!(Post::read(chat, &vk, &post.encode()).as_ref(), Ok(&post));
    }
    let Some(post) = owner.post(1, [1; 32], owner.key.day(), data) else { return };
    assert_eq!(post.open(&owner.key).as_deref(), Some(data));
    assert_eq!(Post::stored(chat, &post.encode()).as_ref(), Some(&post));
}

/// A device that reads the channel, and what a reader says to it: frames, and posts with any content.
pub fn reader(data: &[u8]) {
    let (owner, mut store) = (owner(), fixture().node_store.clone());
    let mut now = Now { moment: Moment(1_000_000), unix: UnixTime(NOW_MS) };
    let (mut engine, step) = Engine::open(&store, [1; 32], now).expect("the store is sound");
    store.apply(&step.writes);
    let mut handle = |input: Input, now: Now| {
        let step = engine.handle(input, now, &store).expect("what the engine wrote, it can read");
        store.apply(&step.writes);
    };
    let request = Request::ChannelJoin { link: owner.link().link(), serve: true };
    handle(Input::Request { id: RequestId(1), request: Box::new(request) }, now);
    handle(Input::LinkUp { link: LINK, peer: peer_key(2), local: peer_key(1), route: Route::Local }, now);
    let key = owner.key.on(now.unix.day_2024()).expect("a later day");
    let tokens8 = key.token(&peer_key(2).0, &peer_key(1).0, &NONCE).to_vec();
    let hello = proto::Hello { v: 1, nonce: NONCE.to_vec(), tokens8, roles: 0 };
    let frame = |frame: Frame| Input::Frame { link: LINK, bytes: frame.encode() };
    handle(frame(Frame::Hello(hello)), now);
    let sync = |s| frame(Frame::ChannelSync(proto::ChannelSync { channel: owner.chat().0.to_vec(), s: Some(s) }));
    let (mut seq, mut prev) = (0, [0; 32]);
    let mut pieces = Pieces::new(data);
    for _ in 0..STEPS_MAX {
        let Some(kind) = pieces.byte() else { break };
        match kind & 3 {
            0 => {
                // Anything a frame of this channel can say.
                let Ok(mut said) = proto::ChannelSync::decode(pieces.piece()) else { continue };
                said.channel = owner.chat().0.to_vec();
                handle(frame(Frame::ChannelSync(said)), now);
            }
            1 | 2 => {
                // A post of the owner's with any content, told of and handed over; sometimes a fork, or one left out.
                let day = now.unix.day_2024().saturating_sub(u32::from(kind >> 6));
                let follows = if kind & 4 == 0 { prev } else { [kind; 32] };
                let Some(post) = owner.post(seq, if seq == 0 { [0; 32] } else { follows }, day, pieces.piece()) else {
                    continue;
                };
                let have = proto::ChannelHave {
                    numbers: vec![seq, 1],
                    head: post.hash().to_vec(),
                    ask: kind & 8 != 0,
                    forked: kind & 16 != 0,
                };
                handle(sync(S::Have(have)), now);
                handle(sync(S::Posts(proto::ChannelPosts { post: vec![post.encode()], fork: kind & 16 != 0 })), now);
                if kind & 32 == 0 {
                    (seq, prev) = (seq + 1 + u64::from(kind & 4), post.hash());
                }
            }
            _ => {
                let seconds = u64::from(pieces.short()) * 60;
                now.moment = now.moment.after_ms(seconds * 1_000);
                now.unix = now.unix.after_ms(seconds * 1_000);
                handle(Input::Wake, now);
            }
        }
    }
    reopened(&store, now);
}

fn reopened(store: &MemoryStore, now: Now) {
    let (again, _) = Engine::open(store, [3; 32], now).expect("what the engine wrote, it can read");
    assert!(again.next_wake().is_some());
}

/// Real links.
pub fn link_seeds() -> Vec<Vec<u8>> {
    let link = ChannelLink { hints: Hint::name("news").into_iter().collect(), ..owner().link() };
    let bytes = link.encode();
    vec![bytes[..bytes.len() - 2].to_vec(), bytes, link.link().into_bytes()]
}

/// A real post, and what posts say.
pub fn post_seeds() -> Vec<Vec<u8>> {
    let said = told(Kind::Channel(proto::ChannelInfo { name: "news".into(), topic: "new".into(), retention_days: 7 }));
    let post = owner().post(1, [1; 32], owner().key.day(), &said).expect("short");
    vec![post.encode(), said]
}

/// A channel that is told what it is, a text, an edit and a deletion; one that forks; and what readers say.
pub fn reader_seeds() -> Vec<Vec<u8>> {
    let info =
        |days| Kind::Channel(proto::ChannelInfo { name: "n".into(), topic: String::new(), retention_days: days });
    let at = UnixTime(NOW_MS);
    let id = message_id(&owner().chat(), 1, at).0.to_vec();
    let text = |body: &str| proto::Text { body: body.into(), ..proto::Text::default() };
    let written = proto::Plain {
        ts_ms: at.0,
        msg_id: id.clone(),
        lamport: 2,
        kind: Some(Kind::Text(text("hi"))),
        ..proto::Plain::default()
    };
    let edit = proto::Edit { of: id.clone(), text: Some(text("ho")), rev: 0 };
    let step = |kind: u8, said: &[u8]| [&[kind][..], &piece(said)].concat();
    let history = [
        step(1, &told(info(3))),
        step(1, &written.encode_to_vec()),
        step(1, &told(Kind::Edit(edit))),
        step(1, &told(Kind::Delete(proto::Delete { ids: vec![id], scope: 2 }))),
        vec![3, 16, 0],
    ];
    let forked = [step(33, &told(info(0))), step(1, &told(info(1))), step(5, b"x"), step(17, b"y")];
    let have = S::Have(proto::ChannelHave { numbers: vec![0, 9], head: vec![1; 32], ask: true, forked: true });
    let want = S::Want(proto::ChannelWant { numbers: vec![0, 9], fork: true });
    let sync = |s| proto::ChannelSync { channel: Vec::new(), s: Some(s) }.encode_to_vec();
    let talk = [step(0, &sync(have)), step(0, &sync(want)), step(1, &told(info(0)))];
    vec![history.concat(), forked.concat(), talk.concat()]
}

fn told(kind: Kind) -> Vec<u8> {
    proto::Plain { ts_ms: NOW_MS, msg_id: vec![1; 12], lamport: 1, kind: Some(kind), ..proto::Plain::default() }
        .encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds::seeds;

    #[test]
    fn the_seeds_are_links_and_posts() {
        assert!(seeds("channel_link").iter().any(|seed| ChannelLink::decode(seed).is_ok()));
        let vk = owner().seed.verifying_key();
        assert!(seeds("channel_post").iter().any(|seed| Post::read(owner().chat(), &vk, seed).is_ok()));
        for seed in seeds("channel_reader") {
            reader(&seed);
        }
    }
}
