//! What strangers and hostile readers learn of a device that reads channels, and what they can make it do.

use super::*;
use crate::chance::Chance;
use crate::channel::channel_id;
use crate::channel::post::{Place, Post, message_id};
use crate::ids::{LinkId, MessageId, PeerAddress, PeerKey};
use crate::input::{ChannelChanges, ChannelFrom, Input, RequestId, Route};
use crate::limits::{
    CHANNEL_AWAITED_MAX, CHANNEL_BYTES_MAX, CHANNEL_LINKS_MAX, CHANNEL_SEQ_MAX, CHANNEL_SERVED_BYTES_MAX,
    CHANNEL_TEXT_BYTES_MAX, CHANNEL_WANTS_MAX, CHANNELS_MAX, CHANNELS_SERVED_BYTES_MAX, STRANGER_WINDOW_MS,
};
use crate::memory_store::MemoryStore;
use crate::step::{EventKind, Send};
use crate::store::Write;
use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS, Moment, Now, SECOND_MS};
use crate::wire::channel_link::ChannelLink;
use crate::wire::frame::Frame;
use crate::wire::proto::{self, channel_sync::S, plain::Kind};
use prost::Message;

const DAY: u32 = 900;
const LINK: LinkId = LinkId(1);
const NONCE: [u8; 16] = [3; 16];

/// A device with an account, and what it has committed.
struct Device {
    engine: Engine,
    store: MemoryStore,
    now: Now,
    events: Vec<EventKind>,
    writes: usize,
    closed: Vec<LinkId>,
}

impl Device {
    fn new() -> Self {
        let unix = UnixTime(EPOCH_2024_MS + u64::from(DAY) * DAY_MS + HOUR_MS);
        let now = Now { moment: Moment(DAY_MS), unix };
        let mut store = MemoryStore::new();
        let (engine, step) = Engine::open(&store, [7; 32], now).expect("an empty store opens");
        store.apply(&step.writes);
        let mut device = Self { engine, store, now, events: Vec::new(), writes: 0, closed: Vec::new() };
        device.ask(Request::CreateAccount { name: String::from("ann") }).expect("an account is made");
        device
    }

    fn reopen(&mut self) {
        let (engine, step) = Engine::open(&self.store, [8; 32], self.now).expect("it opens what it has committed");
        self.store.apply(&step.writes);
        self.engine = engine;
    }

    fn step(&mut self, input: Input) -> (Vec<Frame>, Vec<(RequestId, Answer)>) {
        let step = self.engine.handle(input, self.now, &self.store).expect("the store works");
        self.writes = step.writes.len();
        self.store.apply(&step.writes);
        self.events.extend(step.writes.iter().filter_map(|write| match write {
            Write::AppendEvent(event) => Some(event.kind.clone()),
            _ => None,
        }));
        let mut frames = Vec::new();
        for send in step.sends {
            match send {
                Send::Frame { bytes, .. } => frames.push(Frame::decode(&bytes).expect("a frame")),
                Send::Close { link } => self.closed.push(link),
                _ => {}
            }
        }
        (frames, step.reply)
    }

    fn ask(&mut self, request: Request) -> Answer {
        let (_, replies) = self.step(Input::Request { id: RequestId(1), request: Box::new(request) });
        replies.into_iter().next().expect("an answer at once").1
    }

    fn post(&mut self, chat: ChatId, body: &str) -> Answer {
        let body = body.to_owned();
        self.ask(Request::Send {
            chat,
            body,
            reply_to: None,
            expire_s: None,
            client_id: None,
            ttl_s: None,
            no_infra: false,
        })
    }

    /// What is said to a peer when its link comes up.
    fn up(&mut self, link: LinkId, n: u8) -> Vec<Frame> {
        self.step(Input::LinkUp { link, peer: peer(n), local: peer(0), route: Route::Local }).0
    }

    fn take(&mut self, link: LinkId, frame: &Frame) -> Vec<Frame> {
        self.step(Input::Frame { link, bytes: frame.encode() }).0
    }

    fn sync(&mut self, chat: ChatId, s: S) -> Vec<Frame> {
        self.take(LINK, &Frame::ChannelSync(proto::ChannelSync { channel: chat.0.to_vec(), s: Some(s) }))
    }

    fn wait(&mut self, ms: u64) -> Vec<Frame> {
        self.now = Now { moment: self.now.moment.after_ms(ms), unix: self.now.unix.after_ms(ms) };
        self.step(Input::Wake).0
    }

    fn view(&mut self, chat: ChatId) -> ChannelView {
        match self.ask(Request::Channel { chat }) {
            Ok(Reply::Channel(view)) => *view,
            other => panic!("no channel: {other:?}"),
        }
    }

    fn texts(&self, chat: &ChatId) -> Vec<String> {
        self.store.rows(chat).into_iter().filter(|row| row.visible).map(|row| row.body).collect()
    }

    /// The post that comes at this place of its table.
    fn stored_post(&self, chat: ChatId, at: usize) -> Post {
        let (_, bytes) = self.store.pairs(Table::ChannelPost).nth(at).expect("so many posts");
        Post::stored(chat, bytes).expect("a post")
    }

    fn create(&mut self) -> ChatId {
        let request = Request::ChannelCreate { name: "news".into(), topic: String::new(), retention_days: 0 };
        match self.ask(request) {
            Ok(Reply::Channel(view)) => view.chat,
            other => panic!("no channel: {other:?}"),
        }
    }

    fn link(&mut self, chat: ChatId, from: ChannelFrom) -> ChannelLink {
        match self.ask(Request::ChannelLink { chat, from }) {
            Ok(Reply::ChannelLink(view)) => ChannelLink::parse(&view.link).expect("a link"),
            other => panic!("no link: {other:?}"),
        }
    }
}

fn peer(n: u8) -> PeerKey {
    PeerKey(vec![n; 38])
}

/// The Hello of a peer that reads the channel of this key, or of one that reads none.
fn hello(n: u8, key: Option<&DayKey>) -> Frame {
    let mut tokens8 = key.map_or(vec![9; 8], |key| key.token(&peer(n).0, &peer(0).0, &NONCE).to_vec());
    tokens8.resize(16 * 8, 4);
    Frame::Hello(proto::Hello { v: 1, nonce: NONCE.to_vec(), tokens8, roles: 0 })
}

fn tokens_of(frames: &[Frame]) -> Vec<u8> {
    let found = frames.iter().find_map(|frame| match frame {
        Frame::Hello(hello) => Some(hello.tokens8.clone()),
        _ => None,
    });
    found.expect("a Hello")
}

fn syncs(frames: Vec<Frame>) -> Vec<S> {
    frames.into_iter().filter_map(|frame| if let Frame::ChannelSync(sync) = frame { sync.s } else { None }).collect()
}

fn wanted(frames: Vec<Frame>) -> Vec<u64> {
    let wants = syncs(frames).into_iter().filter_map(|s| if let S::Want(want) = s { Some(want.numbers) } else { None });
    wants
        .flat_map(|numbers| {
            crate::channel::ranges::Ranges::read(&numbers).expect("ranges").numbers().collect::<Vec<_>>()
        })
        .collect()
}

fn posts_in(frames: Vec<Frame>) -> Vec<Vec<u8>> {
    let posts = syncs(frames).into_iter().filter_map(|s| if let S::Posts(posts) = s { Some(posts.post) } else { None });
    posts.flatten().collect()
}

fn have(numbers: &[u64], posts: &[Post]) -> S {
    let head = posts.last().map(|post| post.hash().to_vec()).unwrap_or_default();
    S::Have(proto::ChannelHave { numbers: numbers.to_vec(), head, ask: false, forked: false })
}

fn handed(posts: &[Post]) -> S {
    S::Posts(proto::ChannelPosts { post: posts.iter().map(Post::encode).collect(), fork: false })
}

/// An owner that is no device: it can sign whatever it likes.
struct Owner {
    seed: SigningKey,
    key: DayKey,
    chance: Chance,
}

impl Owner {
    fn new() -> Self {
        let key = DayKey::read(DAY, &[5; 32]).expect("32 bytes");
        Self { seed: SigningKey::from_seed(&[6; 32]), key, chance: Chance::from_seed([1; 32]) }
    }

    fn chat(&self) -> ChatId {
        channel_id(&self.seed.verifying_key())
    }

    fn link(&self) -> String {
        let owner = self.seed.verifying_key();
        ChannelLink { flags: 0, key: self.key.clone(), owner, first_seq: 0, hints: Vec::new() }.link()
    }

    fn post(&mut self, seq: u64, prev: [u8; 32], at: UnixTime, body: &str) -> Post {
        let text = proto::Text { body: body.to_owned(), ..proto::Text::default() };
        let plain = proto::Plain {
            ts_ms: at.0,
            msg_id: message_id(&self.chat(), seq, at).0.to_vec(),
            lamport: seq + 1,
            kind: Some(Kind::Text(text)),
            ..proto::Plain::default()
        };
        let day = at.day_2024();
        let key = self.key.on(day).expect("a later day");
        let place = Place { seq, prev, day };
        Post::write(&self.seed, self.chat(), &key, place, &plain.encode_to_vec(), &mut self.chance).expect("short")
    }

    fn posts(&mut self, count: u64, at: UnixTime) -> Vec<Post> {
        let (mut prev, mut posts) = ([0; 32], Vec::new());
        for seq in 0..count {
            let post = self.post(seq, prev, at, &format!("post {seq}"));
            prev = post.hash();
            posts.push(post);
        }
        posts
    }
}

/// A device that reads the channel of an owner, and a reader at the other end of a link.
fn reader(owner: &Owner) -> Device {
    let mut device = Device::new();
    device.ask(Request::ChannelJoin { link: owner.link(), serve: false }).expect("it joins");
    device.up(LINK, 1);
    assert!(matches!(syncs(device.take(LINK, &hello(1, Some(&owner.key))))[..], [S::Have(_)]));
    device
}

#[test]
fn a_hello_looks_the_same_with_channels_and_without() {
    let mut device = Device::new();
    let without = tokens_of(&device.up(LINK, 1));
    let chat = device.create();
    device.create();
    let (first, second) = (tokens_of(&device.up(LinkId(2), 2)), tokens_of(&device.up(LinkId(3), 3)));
    assert_eq!((without.len(), first.len(), second.len()), (128, 128, 128));
    let common = first.chunks(8).filter(|token| second.chunks(8).any(|other| other == *token)).count();
    assert_eq!(common, 0, "nothing links what is said to two peers");
    // But the channel is among them, for who knows it.
    let key = device.link(chat, ChannelFrom::First).key;
    let frames = device.up(LinkId(4), 4);
    let Some(Frame::Hello(hello)) = frames.first() else { panic!("no Hello") };
    let token = key.token(&peer(0).0, &peer(4).0, &hello.nonce);
    assert!(hello.tokens8.chunks(8).any(|said| said == token));
}

#[test]
fn who_does_not_show_the_link_is_not_answered_as_if_nobody_read_the_channel() {
    let mut device = Device::new();
    let chat = device.create();
    device.up(LINK, 1);
    // Neither without a token, nor with our own given back, nor with one of the day after tomorrow.
    let key = device.link(chat, ChannelFrom::First).key;
    let late = key.on(DAY + 2).expect("a later day");
    let mirrored = key.token(&peer(0).0, &peer(1).0, &NONCE);
    let mirror = proto::Hello { v: 1, nonce: NONCE.to_vec(), tokens8: mirrored.to_vec(), roles: 0 };
    for frame in [hello(1, None), hello(1, Some(&late)), Frame::Hello(mirror)] {
        assert!(device.take(LINK, &frame).is_empty());
        let ask = S::Have(proto::ChannelHave { numbers: vec![0, 9], head: vec![1; 32], ask: true, forked: true });
        let want = S::Want(proto::ChannelWant { numbers: vec![0, 9], fork: true });
        for s in [ask, want] {
            assert!(device.sync(chat, s).is_empty());
            assert_eq!(device.writes, 0);
        }
    }
    device.take(LINK, &hello(1, Some(&key)));
    assert_eq!(posts_in(device.sync(chat, S::Want(proto::ChannelWant { numbers: vec![0, 9], fork: false }))).len(), 1);
}

#[test]
fn a_reader_takes_what_it_asked_for_and_hands_it_on() {
    let mut owner = Owner::new();
    let mut device = reader(&owner);
    let (chat, posts) = (owner.chat(), owner.posts(3, device.now.unix));
    assert_eq!(wanted(device.sync(chat, have(&[0, 3], &posts))), [0, 1, 2]);
    device.sync(chat, handed(&posts));
    assert_eq!(device.texts(&chat), ["post 0", "post 1", "post 2"]);
    device.reopen();
    device.up(LINK, 1);
    device.take(LINK, &hello(1, Some(&owner.key)));
    let served = posts_in(device.sync(chat, S::Want(proto::ChannelWant { numbers: vec![1, 2], fork: false })));
    assert_eq!(served, [posts[1].encode(), posts[2].encode()]);
    assert_eq!(device.view(chat).posts, 3);
}

#[test]
fn nothing_that_was_not_asked_for_is_looked_at() {
    let mut owner = Owner::new();
    let mut device = reader(&owner);
    let (chat, posts) = (owner.chat(), owner.posts(3, device.now.unix));
    assert!(device.sync(chat, handed(&posts)).is_empty());
    assert_eq!((device.writes, device.view(chat).posts), (0, 0));
    // Nor a second time.
    device.sync(chat, have(&[0, 1], &posts[..1]));
    device.sync(chat, handed(&posts[..1]));
    device.sync(chat, handed(&posts));
    assert_eq!((device.writes, device.view(chat).posts), (0, 1));
}

#[test]
fn who_brings_a_forged_post_is_left_and_not_exchanged_with_again() {
    let mut owner = Owner::new();
    let mut device = reader(&owner);
    let chat = owner.chat();
    let mut forger = Owner { seed: SigningKey::from_seed(&[66; 32]), ..Owner::new() };
    let mut forged =
        proto::ChannelPost::decode(forger.posts(1, device.now.unix)[0].encode().as_slice()).expect("a post");
    forged.ct = vec![0; 200];
    assert_eq!(wanted(device.sync(chat, have(&[0, 5], &[]))).len(), 5);
    let posts = proto::ChannelPosts { post: vec![forged.encode_to_vec(); 5], fork: false };
    device.sync(chat, S::Posts(posts));
    assert_eq!((device.closed.clone(), device.view(chat).posts, device.writes), (vec![LINK], 0, 0));
    device.up(LinkId(2), 1);
    assert!(device.take(LinkId(2), &hello(1, Some(&owner.key))).is_empty(), "it is known");
    // Another reader brings the real ones.
    device.up(LinkId(3), 2);
    assert_eq!(syncs(device.take(LinkId(3), &hello(2, Some(&owner.key)))).len(), 1);
    let real = owner.posts(1, device.now.unix);
    let frame = |s| Frame::ChannelSync(proto::ChannelSync { channel: chat.0.to_vec(), s: Some(s) });
    assert_eq!(wanted(device.take(LinkId(3), &frame(have(&[0, 1], &real)))), [0]);
    device.take(LinkId(3), &frame(handed(&real)));
    assert_eq!(device.texts(&chat), ["post 0"]);
}

#[test]
fn who_claims_all_numbers_is_asked_for_a_few_and_then_for_none() {
    let owner = Owner::new();
    let mut device = reader(&owner);
    let chat = owner.chat();
    assert_eq!(wanted(device.sync(chat, have(&[0, CHANNEL_SEQ_MAX], &[]))).len(), CHANNEL_WANTS_MAX);
    assert!(device.wait(60 * SECOND_MS).is_empty(), "it did not hand anything over");
    for _ in 0..8 {
        assert!(device.sync(chat, have(&[0, u64::MAX], &[])).is_empty());
    }
    assert!(device.closed.is_empty());
    device.sync(chat, have(&[5, 0], &[]));
    assert_eq!(device.closed, [LINK], "who sends what is malformed again and again is left");
}

#[test]
fn what_one_reader_does_not_bring_is_asked_of_another() {
    let mut owner = Owner::new();
    let mut device = reader(&owner);
    let (chat, posts) = (owner.chat(), owner.posts(2, device.now.unix));
    device.up(LinkId(2), 2);
    device.take(LinkId(2), &hello(2, Some(&owner.key)));
    let told = Frame::ChannelSync(proto::ChannelSync { channel: chat.0.to_vec(), s: Some(have(&[0, 2], &posts)) });
    assert_eq!(wanted(device.sync(chat, have(&[0, 2], &posts))), [0, 1]);
    assert!(wanted(device.take(LinkId(2), &told)).is_empty(), "it is on its way");
    assert_eq!(wanted(device.wait(31 * SECOND_MS)), [0, 1]);
    // And at once when a link goes.
    device.sync(chat, have(&[0, 2], &posts));
    assert_eq!(wanted(device.step(Input::LinkDown { link: LinkId(2) }).0), [0, 1]);
}

#[test]
fn readers_are_kept_beyond_their_first_minutes_but_not_all_of_a_crowd() {
    let mut device = Device::new();
    let chat = device.create();
    let key = device.link(chat, ChannelFrom::First).key;
    let come = |device: &mut Device, n: u8| {
        device.up(LinkId(u64::from(n)), n);
        device.take(LinkId(u64::from(n)), &hello(n, Some(&key)));
    };
    come(&mut device, 1);
    device.wait(3 * MINUTE_MS);
    assert!(device.closed.is_empty(), "a reader stays");
    let crowd = u8::try_from(CHANNEL_LINKS_MAX).expect("few") + 10;
    for n in 2..=crowd {
        come(&mut device, n);
    }
    assert_eq!(device.view(chat).readers, u32::from(crowd));
    device.wait(3 * MINUTE_MS);
    let gone: Vec<LinkId> = (crowd - 9..=crowd).map(|n| LinkId(u64::from(n))).collect();
    assert_eq!(device.closed, gone, "of too many, those that came last");
}

#[test]
fn one_reader_is_served_so_many_bytes_in_a_while() {
    let mut device = Device::new();
    let chat = device.create();
    let largest = "x".repeat(CHANNEL_TEXT_BYTES_MAX);
    for _ in 0..20 {
        device.post(chat, &largest).expect("it is posted");
    }
    assert!(device.post(chat, &"x".repeat(CHANNEL_TEXT_BYTES_MAX + 1)).is_err());
    let key = device.link(chat, ChannelFrom::First).key;
    device.up(LINK, 1);
    device.take(LINK, &hello(1, Some(&key)));
    let mut served = 0;
    let all = || S::Want(proto::ChannelWant { numbers: vec![0, 30], fork: false });
    for _ in 0..30 {
        let frames = device.sync(chat, all());
        assert!(frames.iter().all(|frame| frame.encode().len() < 64 * 1024), "a stranger takes no longer frames");
        served += posts_in(frames).iter().map(Vec::len).sum::<usize>();
    }
    assert!(served <= CHANNEL_SERVED_BYTES_MAX && served > CHANNEL_SERVED_BYTES_MAX - 2 * 48 * 1_024, "{served}");
    // Nor more than so many over ever new links.
    let frame = |s| Frame::ChannelSync(proto::ChannelSync { channel: chat.0.to_vec(), s: Some(s) });
    for n in 2..8 {
        let link = LinkId(u64::from(n));
        device.up(link, n);
        device.take(link, &hello(n, Some(&key)));
        for _ in 0..15 {
            served += posts_in(device.take(link, &frame(all()))).iter().map(Vec::len).sum::<usize>();
        }
    }
    assert!(served <= CHANNELS_SERVED_BYTES_MAX && served > CHANNELS_SERVED_BYTES_MAX - 2 * 48 * 1_024, "{served}");
    device.wait(STRANGER_WINDOW_MS);
    assert!(!posts_in(device.sync(chat, all())).is_empty());
}

#[test]
fn two_posts_of_one_number_mark_the_channel_for_good_and_the_proof_is_handed_on() {
    let mut owner = Owner::new();
    let mut device = reader(&owner);
    let (chat, at) = (owner.chat(), device.now.unix);
    let posts = owner.posts(2, at);
    let other = owner.post(1, posts[0].hash(), at, "another history");
    device.sync(chat, have(&[0, 2], &posts));
    device.sync(chat, handed(&posts));
    // The same numbers, another last post.
    assert_eq!(wanted(device.sync(chat, have(&[0, 2], std::slice::from_ref(&other)))), [1]);
    device.sync(chat, handed(std::slice::from_ref(&other)));
    assert_eq!(device.view(chat).forked, Some(1));
    assert_eq!(device.events.iter().filter(|kind| **kind == EventKind::ChannelForked { post: 1 }).count(), 1);
    assert_eq!(device.texts(&chat), ["post 0", "post 1"], "what came first stays");
    device.reopen();
    assert_eq!(device.view(chat).forked, Some(1));
    device.up(LINK, 1);
    device.take(LINK, &hello(1, Some(&owner.key)));
    let proof = posts_in(device.sync(chat, S::Want(proto::ChannelWant { numbers: Vec::new(), fork: true })));
    // Somebody who has seen one side only is convinced by it.
    let mut third = reader(&owner);
    third.sync(chat, have(&[0, 2], &posts));
    third.sync(chat, handed(&posts));
    let told = proto::ChannelHave { numbers: vec![0, 2], head: posts[1].hash().to_vec(), ask: false, forked: true };
    let asked = syncs(third.sync(chat, S::Have(told)));
    assert!(matches!(&asked[..], [S::Want(want)] if want.fork), "{asked:?}");
    third.sync(chat, S::Posts(proto::ChannelPosts { post: proof, fork: true }));
    assert_eq!(third.view(chat).forked, Some(1));
}

#[test]
fn who_is_let_in_later_has_no_key_and_no_post_of_before() {
    let mut device = Device::new();
    let chat = device.create();
    device.post(chat, "the secret of monday").expect("it is posted");
    device.wait(DAY_MS);
    let link = device.link(chat, ChannelFrom::Today);
    assert_eq!((link.key.day(), link.first_seq, link.name()), (DAY + 1, 2, Some("news")));
    assert_eq!(link.key.on(DAY), None);
    let first = device.stored_post(chat, 1);
    assert_eq!(first.open(&link.key), None);
    // What it is called stands at the beginning of what it can read.
    let info = device.stored_post(chat, 2);
    let said = proto::Plain::decode(info.open(&link.key).expect("readable").as_slice()).expect("a plain");
    assert!(matches!(said.kind, Some(Kind::Channel(info)) if info.name == "news"));
    assert_eq!(device.link(chat, ChannelFrom::Today).first_seq, 2, "and only once a day");
}

#[test]
fn posts_go_when_their_owner_wants_it_and_do_not_come_back() {
    let mut owner = Owner::new();
    let mut device = reader(&owner);
    let (chat, at) = (owner.chat(), device.now.unix);
    let posts = owner.posts(2, at);
    let info = proto::ChannelInfo { name: "short".into(), topic: String::new(), retention_days: 3 };
    let plain = proto::Plain { ts_ms: at.0, lamport: 9, kind: Some(Kind::Channel(info)), ..proto::Plain::default() };
    let place = Place { seq: 2, prev: posts[1].hash(), day: DAY };
    let info =
        Post::write(&owner.seed, chat, &owner.key, place, &plain.encode_to_vec(), &mut owner.chance).expect("short");
    let all = [&posts[..], &[info]].concat();
    device.sync(chat, have(&[0, 3], &all));
    device.sync(chat, handed(&all));
    assert_eq!((device.view(chat).name.as_str(), device.view(chat).posts), ("short", 3));
    device.wait(4 * DAY_MS);
    for _ in 0..5 {
        device.wait(HOUR_MS);
    }
    assert_eq!((device.view(chat).posts, device.texts(&chat).len()), (0, 0));
    // Somebody who keeps them longer is not believed.
    device.step(Input::LinkDown { link: LINK });
    let key = owner.key.on(DAY + 4).expect("a later day");
    device.up(LINK, 1);
    device.take(LINK, &hello(1, Some(&key)));
    assert!(wanted(device.sync(chat, have(&[0, 3], &all))).is_empty());
}

#[test]
fn a_channel_has_room_for_so_many_bytes_and_the_owner_keeps_what_it_wrote() {
    let mut device = Device::new();
    let chat = device.create();
    let largest = "x".repeat(CHANNEL_TEXT_BYTES_MAX);
    let count = CHANNEL_BYTES_MAX / CHANNEL_TEXT_BYTES_MAX + 1;
    for _ in 0..count {
        device.post(chat, &largest).expect("it is posted");
        device.now.unix = device.now.unix.after_ms(1);
    }
    let view = device.view(chat);
    assert!(view.bytes <= CHANNEL_BYTES_MAX as u64 && (view.posts as usize) < count);
    assert_eq!(device.texts(&chat).len(), count);
    let numbers = device.engine.channels[&chat].log.held().write();
    assert_eq!(numbers.len(), 2);
    assert_eq!(device.link(chat, ChannelFrom::First).first_seq, numbers[0]);
}

#[test]
fn what_falls_out_at_a_reader_is_gone_from_its_screen_too() {
    let mut owner = Owner::new();
    let mut device = reader(&owner);
    let (chat, posts) = (owner.chat(), owner.posts(2, device.now.unix));
    device.sync(chat, have(&[0, 2], &posts));
    device.sync(chat, handed(&posts));
    let mut turn = Turn::new(device.now, &device.store);
    // As if there were no room left.
    let channel = device.engine.channels.get_mut(&chat).expect("it is there");
    channel.log.insert(&posts[1], CHANNEL_BYTES_MAX + 1);
    device.engine.bound_posts(chat, &mut turn).expect("the store works");
    let step = turn.finish();
    device.store.apply(&step.writes);
    assert!(device.texts(&chat).is_empty());
}

#[test]
fn readers_do_not_write_react_pin_or_delete_for_others() {
    let mut owner = Owner::new();
    let mut device = reader(&owner);
    let (chat, posts) = (owner.chat(), owner.posts(1, device.now.unix));
    device.sync(chat, have(&[0, 1], &posts));
    device.sync(chat, handed(&posts));
    let id: MessageId = message_id(&chat, 0, device.now.unix);
    let refused = Err(RequestError::NotOwner);
    assert_eq!(device.post(chat, "me too"), refused);
    assert_eq!(device.ask(Request::React { id, emoji: "👍".into(), remove: false }), refused);
    assert_eq!(device.ask(Request::Pin { id, remove: false }), refused);
    assert_eq!(device.ask(Request::Delete { ids: vec![id], for_both: true }), refused);
    let changes = ChannelChanges { name: Some("mine".into()), ..ChannelChanges::default() };
    assert_eq!(device.ask(Request::ChannelSet { chat, changes }), refused);
    assert_eq!(device.ask(Request::SetRetention { chat, seconds: 86_400 }), refused);
    assert_eq!(device.ask(Request::ChannelLink { chat, from: ChannelFrom::Today }), refused);
    assert_eq!(device.ask(Request::MarkRead { chat, upto: None }), Ok(Reply::Count(1)));
    assert_eq!(device.ask(Request::Delete { ids: vec![id], for_both: false }), Ok(Reply::Count(1)));
    assert!(device.texts(&chat).is_empty());
}

#[test]
fn a_channel_that_was_left_leaves_nothing() {
    let mut owner = Owner::new();
    let mut device = reader(&owner);
    let (chat, posts) = (owner.chat(), owner.posts(3, device.now.unix));
    device.sync(chat, have(&[0, 3], &posts));
    device.sync(chat, handed(&posts));
    device.ask(Request::ChannelLeave { chat }).expect("it leaves");
    assert_eq!(device.store.count(Table::Channel) + device.store.count(Table::ChannelPost), 0);
    assert!(device.texts(&chat).is_empty());
    assert!(device.sync(chat, have(&[0, 3], &posts)).is_empty());
    assert_eq!(device.ask(Request::ChannelLeave { chat }), Err(RequestError::NotFound("channel")));
    assert!(device.ask(Request::ChannelJoin { link: owner.link(), serve: false }).is_ok(), "and can be joined again");
}

#[test]
fn links_that_do_not_fit_and_one_channel_too_many_are_refused() {
    let mut device = Device::new();
    let owner = Owner::new();
    let link = ChannelLink::parse(&owner.link()).expect("a link");
    let join = |link: &ChannelLink| Request::ChannelJoin { link: link.link(), serve: false };
    let tomorrow = ChannelLink { key: owner.key.on(DAY + 2).expect("a day"), ..link.clone() };
    assert!(matches!(device.ask(join(&tomorrow)), Err(RequestError::BadLink(_))));
    device.ask(join(&link)).expect("it joins");
    let other_key = ChannelLink { key: DayKey::read(DAY, &[1; 32]).expect("32 bytes"), ..link.clone() };
    assert!(matches!(device.ask(join(&other_key)), Err(RequestError::BadLink(_))));
    assert!(matches!(
        device.ask(Request::ChannelJoin { link: "hello".into(), serve: false }),
        Err(RequestError::BadLink(_))
    ));
    for _ in 1..CHANNELS_MAX {
        device.create();
    }
    let request = Request::ChannelCreate { name: "more".into(), topic: String::new(), retention_days: 0 };
    assert!(matches!(device.ask(request), Err(RequestError::Limit(_))));
    assert_eq!(tokens_of(&device.up(LINK, 1)).len(), 64 * 8, "a power of two");
}

#[test]
fn a_link_of_an_earlier_day_opens_what_is_before() {
    let owner = Owner::new();
    let mut device = Device::new();
    device.wait(2 * DAY_MS);
    let link = ChannelLink::parse(&owner.link()).expect("a link");
    let later = ChannelLink { key: owner.key.on(DAY + 1).expect("a day"), first_seq: 7, ..link.clone() };
    device.ask(Request::ChannelJoin { link: later.link(), serve: false }).expect("it joins");
    assert_eq!(device.view(owner.chat()).readable_from, beginning_of(DAY + 1));
    device.ask(Request::ChannelJoin { link: link.link(), serve: false }).expect("it joins");
    assert_eq!(device.view(owner.chat()).readable_from, beginning_of(DAY));
    assert_eq!(device.engine.channels[&owner.chat()].rec.floor, 0);
}

#[test]
fn an_owner_that_was_set_back_goes_on_behind_what_readers_have() {
    let mut device = Device::new();
    let chat = device.create();
    let before = device.store.clone();
    device.post(chat, "lost").expect("it is posted");
    let lost = device.stored_post(chat, 1);
    device.store = before;
    device.reopen();
    let key = device.link(chat, ChannelFrom::First).key;
    device.up(LINK, 1);
    device.take(LINK, &hello(1, Some(&key)));
    assert_eq!(wanted(device.sync(chat, have(&[0, 2], std::slice::from_ref(&lost)))), [1]);
    device.sync(chat, handed(&[lost]));
    device.post(chat, "found").expect("it is posted");
    assert_eq!(device.view(chat).newest, Some(2));
    assert_eq!(device.view(chat).forked, None);
    assert_eq!(device.texts(&chat), ["lost", "found"]);
}

#[test]
fn asking_for_more_does_not_stretch_the_time_of_what_does_not_come() {
    let mut owner = Owner::new();
    let mut device = reader(&owner);
    let (chat, posts) = (owner.chat(), owner.posts(40, device.now.unix));
    device.up(LinkId(2), 2);
    device.take(LinkId(2), &hello(2, Some(&owner.key)));
    // The first end claims one more every ten seconds and hands nothing over; each time under another last hash.
    for claimed in 1..4_u64 {
        device.sync(chat, have(&[0, claimed], &posts[..1]));
        device.wait(10_000);
    }
    let honest =
        Frame::ChannelSync(proto::ChannelSync { channel: chat.0.to_vec(), s: Some(have(&[0, 3], &posts[..3])) });
    let asked = wanted(device.take(LinkId(2), &honest));
    assert_eq!(asked, [0, 1, 2], "half a minute after the first was asked for");
    // However often it contradicts itself, a window of numbers is all that it is asked for.
    let mut asked = 0;
    for claimed in 1..=40_u64 {
        asked += wanted(device.sync(chat, have(&[0, claimed], &posts[..1]))).len();
    }
    assert!(asked <= crate::limits::CHANNEL_WANTS_MAX, "{asked}");
}

#[test]
fn an_owner_who_speaks_of_posts_that_never_were_fills_no_disk() {
    let mut owner = Owner::new();
    let mut device = reader(&owner);
    let (chat, at) = (owner.chat(), device.now.unix);
    let mut prev = [0; 32];
    for seq in 0..CHANNEL_AWAITED_MAX as u64 + 40 {
        let invented = |n: u8| [&seq.to_be_bytes()[..], &[n; 4]].concat();
        let ids = (0..2).map(invented).collect();
        let kind = match seq % 2 {
            0 => Kind::Delete(proto::Delete { ids, scope: 2 }),
            _ => Kind::React(proto::Reaction { to: invented(0), emoji: "x".into(), remove: false }),
        };
        let id = message_id(&chat, seq, at).0.to_vec();
        let (ts_ms, kind) = (at.0, Some(kind));
        let plain = proto::Plain { ts_ms, msg_id: id, lamport: seq + 1, kind, ..proto::Plain::default() };
        let place = Place { seq, prev, day: at.day_2024() };
        let post = Post::write(&owner.seed, chat, &owner.key, place, &plain.encode_to_vec(), &mut owner.chance);
        let post = post.expect("short");
        prev = post.hash();
        device.sync(chat, have(&[0, seq + 1], std::slice::from_ref(&post)));
        device.sync(chat, handed(&[post]));
    }
    assert!(device.view(chat).posts as usize > CHANNEL_AWAITED_MAX);
    let rows = device.store.rows(&chat).len();
    let gone = device.store.pairs(Table::Gone).count();
    assert!((1..=CHANNEL_AWAITED_MAX).contains(&rows.max(gone)), "{rows} rows, {gone} tombstones");
}

#[test]
fn the_link_of_a_reader_who_does_not_serve_says_nothing_of_its_address() {
    let owner = Owner::new();
    let mut device = reader(&owner);
    let chat = owner.chat();
    // As libp2p names an Ed25519 key.
    let own = PeerKey([&[0, 36, 8, 1, 18, 32][..], &[7; 32]].concat());
    let address = PeerAddress { peer: own, addrs: vec![vec![4, 127, 0, 0, 1, 6, 16, 225]] };
    device.step(Input::OwnAddress { address });
    let peers = |link: &ChannelLink| {
        let own = |hint: &&crate::wire::invite::Hint| matches!(hint, crate::wire::invite::Hint::Peer { .. });
        link.hints.iter().filter(own).count()
    };
    assert_eq!(peers(&device.link(chat, ChannelFrom::First)), 0);
    let changes = ChannelChanges { serve: Some(true), ..ChannelChanges::default() };
    device.ask(Request::ChannelSet { chat, changes }).expect("it serves");
    assert_eq!(peers(&device.link(chat, ChannelFrom::First)), 1);
}
