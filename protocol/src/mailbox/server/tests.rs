//! The relay against honest, careless and hostile clients.

use proptest::prelude::*;

use super::*;
use crate::crypto::hash::cid;
use crate::ids::QueueSid;
use crate::limits::{
    BLOB_BYTES_MAX, BLOB_PUTS_PER_LINK_HOUR, ENVELOPE_BYTES_MAX, ENVELOPE_BYTES_MIN, ENVELOPES_PER_FRAME_MAX,
    FRAME_BYTES_MAX, QUEUE_CREATES_PER_LINK_HOUR,
};
use crate::mailbox::auth;
use crate::memory_store::MemoryStore;
use crate::session::tags::tag_of;
use crate::time::{DAY_MS, UnixTime};
use crate::wire::envelope::{Class, EnvelopeHead};

const START: UnixTime = UnixTime(1_800_000_000_000);
const LIMITS: RelayLimits =
    RelayLimits { retention_days: 30, queue_envelopes_max: 100, queue_kib_max: 1_024, total_mib_max: 64 };
const SENDER: LinkId = LinkId(1);
const OWNER: LinkId = LinkId(2);

/// A relay with its store and clocks.
struct Relay {
    server: MailboxServer,
    store: MemoryStore,
    chance: Chance,
    now: Now,
    next_id: u64,
}

/// Both ends' secrets of a queue.
struct Queue {
    rid: QueueRid,
    sid: QueueSid,
    owner: SigningKey,
    send_key: [u8; 16],
}

fn queue(n: u8) -> Queue {
    Queue {
        rid: QueueRid([n; 16]),
        sid: QueueSid([n | 0x80; 16]),
        owner: SigningKey::from_seed(&[n; 32]),
        send_key: [n; 16],
    }
}

fn preimage(n: u16) -> Preimage {
    let mut bytes = [7; 16];
    bytes[..2].copy_from_slice(&n.to_be_bytes());
    Preimage(bytes)
}

/// An envelope with the tag of `preimage(n)`.
fn envelope(n: u16, fill: u8, len: usize) -> Vec<u8> {
    envelope_living(n, fill, len, 30 * DAY_MS)
}

fn envelope_living(n: u16, fill: u8, len: usize, lifetime_ms: u64) -> Vec<u8> {
    let head = EnvelopeHead::new(Class::Text, lifetime_ms, START, &mut Chance::from_seed([0; 32]));
    let mut bytes = head.with_tag(&tag_of(&preimage(n))).to_vec();
    bytes.resize(len, fill);
    bytes
}

impl Relay {
    fn new() -> Self {
        let mut chance = Chance::from_seed([42; 32]);
        let mut store = MemoryStore::new();
        let now = Now { moment: Moment(0), unix: START };
        let (mut server, writes) = MailboxServer::open(&store, now, &mut chance).unwrap();
        store.apply(&writes);
        store.apply(&server.set_limits(Some(LIMITS)));
        server.link_up(SENDER, &mut chance);
        server.link_up(OWNER, &mut chance);
        Self { server, store, chance, now, next_id: 0 }
    }

    /// Forgets everything that was not committed.
    fn restart(&mut self) {
        let (server, writes) = MailboxServer::open(&self.store, self.now, &mut self.chance).unwrap();
        self.store.apply(&writes);
        self.server = server;
        self.server.link_up(SENDER, &mut self.chance);
        self.server.link_up(OWNER, &mut self.chance);
    }

    fn wait(&mut self, ms: u64) {
        self.now = Now { moment: self.now.moment.after_ms(ms), unix: self.now.unix.after_ms(ms) };
    }

    fn binding(&self, link: LinkId) -> LinkBinding {
        let challenge = self.server.links.challenge(link).unwrap();
        LinkBinding { relay_vk: self.server.relay_vk(), challenge }
    }

    fn step(&mut self, link: LinkId, op: Op) -> MailStep {
        self.next_id += 1;
        self.wait(1);
        let req = proto::MboxReq { id: self.next_id, op: Some(op) };
        self.server.handle(link, req, self.now, &self.store).unwrap()
    }

    /// One request, committed; its answer, and what was pushed to others.
    fn ask_all(&mut self, link: LinkId, op: Op) -> (proto::MboxRes, Vec<(LinkId, proto::MboxPush)>) {
        let mut step = self.step(link, op);
        self.store.apply(&step.writes);
        let (to, Frame::MboxRes(res)) = step.frames.remove(0) else { panic!("the first frame is the answer") };
        assert_eq!((to, res.id), (link, self.next_id));
        if res.code != 0 {
            assert!(step.writes.is_empty(), "a refused request writes nothing");
        }
        let pushes = step.frames.into_iter().map(|(link, frame)| match frame {
            Frame::MboxPush(push) => (link, push),
            other => panic!("not a push: {other:?}"),
        });
        (res, pushes.collect())
    }

    fn ask(&mut self, link: LinkId, op: Op) -> proto::MboxRes {
        self.ask_all(link, op).0
    }

    fn create_op(&self, queue: &Queue) -> proto::QCreate {
        let mut create = proto::QCreate {
            rid: queue.rid.0.to_vec(),
            sid: queue.sid.0.to_vec(),
            owner_vk: queue.owner.verifying_key().as_bytes().to_vec(),
            send_key: queue.send_key.to_vec(),
            ..Default::default()
        };
        create.sig = auth::create_sig_input(&self.binding(OWNER), &create).sign(&queue.owner);
        create
    }

    fn create(&mut self, queue: &Queue) {
        let op = Op::Create(self.create_op(queue));
        assert_eq!(self.ask(OWNER, op).code, Code::Done as u32);
    }

    fn deposit_op(&self, queue: &Queue, env: Vec<Vec<u8>>) -> Op {
        let cids: Vec<Cid> = env.iter().map(|bytes| cid(bytes)).collect();
        let mac = auth::deposit_mac(&self.binding(SENDER), &queue.send_key, &queue.sid, &cids).to_vec();
        Op::Deposit(proto::Deposit { sid: queue.sid.0.to_vec(), env, mac })
    }

    fn deposit(&mut self, queue: &Queue, env: Vec<Vec<u8>>) -> proto::MboxRes {
        let op = self.deposit_op(queue, env);
        self.ask(SENDER, op)
    }

    fn fetch_op(&self, queue: &Queue, after: u64, follow: bool) -> Op {
        let sig = auth::read_sig_input(&self.binding(OWNER), &queue.rid, after).sign(&queue.owner);
        let reads = vec![proto::QRead { rid: queue.rid.0.to_vec(), after, sig }];
        Op::Fetch(proto::Fetch { reads, max_kib: 0, follow })
    }

    fn fetch(&mut self, queue: &Queue) -> Vec<proto::Mail> {
        let op = self.fetch_op(queue, 0, false);
        let res = self.ask(OWNER, op);
        assert_eq!(res.code, Code::Done as u32);
        res.mail
    }

    fn ack(&mut self, rid: &[u8], preimages: &[Preimage]) -> (proto::MboxRes, Vec<(LinkId, proto::MboxPush)>) {
        let p = preimages.iter().map(|p| p.0.to_vec()).collect();
        self.ask_all(OWNER, Op::Ack(proto::Ack { p, rid: rid.to_vec(), ..Default::default() }))
    }

    fn sweep_all(&mut self) {
        loop {
            self.wait(1);
            let step = self.server.sweep(self.now, &self.store).unwrap();
            self.store.apply(&step.writes);
            if self.server.next_sweep() > self.now.moment.after_ms(1) {
                break;
            }
        }
    }

    /// Counts what is stored the slow way and compares.
    fn assert_counters_are_right(&self) {
        let status = self.server.status();
        let items: u64 = self.store.pairs(Table::MailItem).map(|(_, env)| env.len() as u64).sum();
        let receipts = self.store.count(Table::MailReceipt) as u64 * RECEIPT_BYTES;
        let blobs: u64 = self
            .store
            .pairs(Table::MailBlob)
            .map(|(_, blob)| decode::<state::Blob>(Table::MailBlob, blob).unwrap().ct.len() as u64)
            .sum();
        assert_eq!(status.held, self.store.count(Table::MailItem) as u64);
        assert_eq!(status.bytes, items + receipts + blobs);
        assert_eq!(status.queues, self.store.count(Table::MailQueue) as u64);
        assert_eq!(status.blobs, self.store.count(Table::MailBlob) as u64);
        let indexed = status.held + status.queues + status.blobs + self.store.count(Table::MailReceipt) as u64;
        assert_eq!(self.store.count(Table::MailExpiry) as u64, indexed);
        for (rid, record) in self.store.pairs(Table::MailQueue) {
            let queue: state::Queue = decode(Table::MailQueue, record).unwrap();
            let of: Vec<u64> = self
                .store
                .pairs(Table::MailItem)
                .filter(|(key, _)| key.starts_with(rid))
                .map(|(_, env)| env.len() as u64)
                .collect();
            assert_eq!((u64::from(queue.held), queue.bytes), (of.len() as u64, of.iter().sum()));
        }
    }
}

#[test]
fn an_envelope_goes_in_comes_out_and_is_gone_after_its_preimage() {
    let (mut relay, q) = (Relay::new(), queue(1));
    relay.create(&q);
    let sent = vec![envelope(1, 0, 100), envelope(2, 0, 200)];
    let res = relay.deposit(&q, sent.clone());
    let held = res.held.unwrap();
    assert!(auth::held_is_signed_by(&held, &relay.server.relay_vk()));
    assert!(!auth::held_is_signed_by(&held, &[0; 32]));
    assert_eq!(held.cids, sent.iter().map(|env| cid(env).0.to_vec()).collect::<Vec<_>>());
    let mail = relay.fetch(&q);
    assert_eq!(mail.iter().map(|m| m.env.clone()).collect::<Vec<_>>(), sent);
    assert_eq!(mail.iter().map(|m| m.seq).collect::<Vec<_>>(), [1, 2]);
    let (res, pushes) = relay.ack(q.rid.as_bytes(), &[preimage(1)]);
    assert_eq!(res.code, 0);
    assert_eq!(pushes, [(SENDER, proto::MboxPush { p: vec![preimage(1).0.to_vec()], mail: vec![] })]);
    assert_eq!(relay.fetch(&q).len(), 1);
    let tags = [tag_of(&preimage(1)), tag_of(&preimage(2))];
    let mac = auth::collect_mac(&relay.binding(SENDER), &q.send_key, &q.sid, &tags).to_vec();
    let collect = proto::Collect { sid: q.sid.0.to_vec(), tags: tags.iter().map(|t| t.0.to_vec()).collect(), mac };
    assert_eq!(relay.ask(SENDER, Op::Collect(collect)).p, [preimage(1).0.to_vec()]);
    relay.assert_counters_are_right();
}

#[test]
fn a_followed_queue_pushes_new_mail_and_an_unfinished_fetch_does_not() {
    let (mut relay, q) = (Relay::new(), queue(1));
    relay.create(&q);
    relay.deposit(&q, vec![envelope(1, 0, 90_000), envelope(2, 0, 90_000)]);
    relay.deposit(&q, vec![envelope(3, 0, 90_000)]);
    let op = relay.fetch_op(&q, 0, true);
    let res = relay.ask(OWNER, op);
    assert_eq!((res.mail.len(), res.more), (2, true));
    let op = relay.deposit_op(&q, vec![envelope(4, 0, 100)]);
    assert!(relay.ask_all(SENDER, op).1.is_empty());
    let op = relay.fetch_op(&q, 2, true);
    let res = relay.ask(OWNER, op);
    assert_eq!((res.mail.len(), res.more), (2, false));
    let op = relay.deposit_op(&q, vec![envelope(5, 0, 100), envelope(6, 0, 100)]);
    let pushes = relay.ask_all(SENDER, op).1;
    assert_eq!(pushes.len(), 1);
    assert_eq!((pushes[0].0, pushes[0].1.mail.len(), pushes[0].1.mail[0].seq), (OWNER, 2, 5));
    relay.server.link_down(OWNER);
    let op = relay.deposit_op(&q, vec![envelope(7, 0, 100)]);
    assert!(relay.ask_all(SENDER, op).1.is_empty());
}

#[test]
fn t31_a_repeated_deposit_is_acknowledged_again_and_stored_once() {
    let (mut relay, q) = (Relay::new(), queue(1));
    relay.create(&q);
    let first = relay.deposit(&q, vec![envelope(1, 0, 100)]);
    let again = relay.deposit(&q, vec![envelope(1, 0, 100), envelope(1, 0, 100)]);
    assert_eq!((first.code, again.code), (0, 0));
    assert_eq!(again.held.unwrap().cids.len(), 2);
    assert_eq!(relay.fetch(&q).len(), 1);
    relay.ack(q.rid.as_bytes(), &[preimage(1)]);
    let late = relay.deposit(&q, vec![envelope(1, 0, 100)]);
    assert_eq!((late.code, late.held, late.p), (0, None, vec![preimage(1).0.to_vec()]));
    assert!(relay.fetch(&q).is_empty(), "a purged envelope is never taken again");
    relay.assert_counters_are_right();
}

#[test]
fn t31_a_tag_takes_two_bodies_and_its_preimage_removes_both() {
    let (mut relay, q) = (Relay::new(), queue(1));
    relay.create(&q);
    assert_eq!(relay.deposit(&q, vec![envelope(1, 1, 100), envelope(1, 2, 100)]).code, 0);
    assert_eq!(relay.deposit(&q, vec![envelope(1, 3, 100)]).code, Code::Full as u32);
    relay.ack(q.rid.as_bytes(), &[preimage(1)]);
    assert!(relay.fetch(&q).is_empty());
    relay.assert_counters_are_right();
}

#[test]
fn t32_deposits_out_of_bounds_are_refused_and_write_nothing() {
    let (mut relay, q) = (Relay::new(), queue(1));
    relay.create(&q);
    let good = envelope(1, 0, ENVELOPE_BYTES_MIN);
    let mut version = good.clone();
    version[0] ^= 0x60;
    let mut live = good.clone();
    live[0] |= 0x18;
    let mut radio_only = good.clone();
    radio_only[0] |= 0x04;
    let malformed = Code::Malformed as u32;
    for env in [vec![], good[..ENVELOPE_BYTES_MIN - 1].to_vec(), version, live, radio_only] {
        assert_eq!(relay.deposit(&q, vec![good.clone(), env]).code, malformed);
    }
    let too_large = envelope(2, 0, ENVELOPE_BYTES_MAX + 1);
    assert_eq!(relay.deposit(&q, vec![good.clone(), too_large]).code, Code::TooLarge as u32);
    assert_eq!(relay.deposit(&q, vec![]).code, malformed);
    assert_eq!(relay.deposit(&q, vec![good.clone(); ENVELOPES_PER_FRAME_MAX + 1]).code, malformed);
    assert_eq!(relay.deposit(&q, vec![good; ENVELOPES_PER_FRAME_MAX]).code, 0);
    assert_eq!(relay.deposit(&q, vec![envelope(2, 0, ENVELOPE_BYTES_MAX)]).code, 0);
    assert_eq!(relay.store.count(Table::MailItem), 2);
}

#[test]
fn t32_requests_of_wrong_shape_are_malformed() {
    let mut relay = Relay::new();
    let short = vec![0; 15];
    let ops = [
        Op::Create(proto::QCreate::default()),
        Op::Del(proto::QDelete { rid: short.clone(), sig: vec![] }),
        Op::Deposit(proto::Deposit { sid: short.clone(), env: vec![envelope(1, 0, 99)], mac: vec![] }),
        Op::Fetch(proto::Fetch::default()),
        Op::Fetch(proto::Fetch { reads: vec![proto::QRead::default()], ..Default::default() }),
        Op::Ack(proto::Ack { rid: vec![0; 16], ..Default::default() }),
        Op::Ack(proto::Ack { rid: vec![0; 16], p: vec![short.clone()], ..Default::default() }),
        Op::Collect(proto::Collect { sid: vec![0; 16], tags: vec![short.clone()], mac: vec![] }),
        Op::Bput(proto::BlobPut::default()),
        Op::Bget(proto::BlobGet { id: short.clone() }),
        Op::Bdel(proto::BlobDel { id: short, sig: vec![] }),
    ];
    for op in ops {
        assert_eq!(relay.ask(OWNER, op.clone()).code, Code::Malformed as u32, "{op:?}");
    }
    let step = relay.server.handle(OWNER, proto::MboxReq { id: 9, op: None }, relay.now, &relay.store).unwrap();
    assert_eq!(step.frames, [(OWNER, answer(9, Code::Malformed))]);
    let req = proto::MboxReq { id: 9, op: Some(Op::Status(proto::Status::default())) };
    let step = relay.server.handle(LinkId(77), req, relay.now, &relay.store).unwrap();
    assert_eq!(step.frames, [(LinkId(77), answer(9, Code::Busy))]);
}

#[test]
fn t33_ten_thousand_deposits_hit_the_quota_and_leave_other_queues_alone() {
    let (mut relay, flooded, quiet) = (Relay::new(), queue(1), queue(2));
    relay.create(&flooded);
    relay.create(&quiet);
    let mut full = 0_u32;
    for n in 0..10_000 {
        let code = relay.deposit(&flooded, vec![envelope(n, 0, 100)]).code;
        full += u32::from(code == Code::Full as u32);
        assert!(code == 0 || code == Code::Full as u32);
    }
    assert_eq!((full, relay.store.count(Table::MailItem)), (9_900, 100));
    assert_eq!(relay.server.status().refused, 9_900);
    assert_eq!(relay.deposit(&quiet, vec![envelope(1, 0, 100)]).code, 0);
}

#[test]
fn t33_a_link_cannot_create_queues_or_blobs_without_end() {
    let mut relay = Relay::new();
    let nth = |n: u32| {
        let mut q = queue(1);
        q.rid.0[..4].copy_from_slice(&n.to_be_bytes());
        q.sid.0[..4].copy_from_slice(&n.to_be_bytes());
        q
    };
    for n in 0..QUEUE_CREATES_PER_LINK_HOUR {
        relay.create(&nth(n));
    }
    let op = Op::Create(relay.create_op(&nth(u32::MAX)));
    assert_eq!(relay.ask(OWNER, op).code, Code::Busy as u32);
    relay.create(&nth(0));
    relay.wait(HOUR_MS);
    relay.create(&nth(u32::MAX));
    let owner = SigningKey::from_seed(&[1; 32]);
    for n in 0..=BLOB_PUTS_PER_LINK_HOUR {
        let put = auth::blob_put(&relay.binding(OWNER), &BlobId([n as u8; 16]), &owner, vec![1], 1);
        let expected = if n < BLOB_PUTS_PER_LINK_HOUR { Code::Done } else { Code::Busy };
        assert_eq!(relay.ask(OWNER, Op::Bput(put)).code, expected as u32);
    }
}

#[test]
fn t34_an_unknown_queue_and_a_wrong_key_look_alike() {
    let (mut relay, q, unknown) = (Relay::new(), queue(1), queue(9));
    relay.create(&q);
    relay.deposit(&q, vec![envelope(1, 0, 100)]);
    let wrong = |rid: QueueRid, sid: QueueSid| Queue { rid, sid, ..queue(5) };
    let answers = |relay: &mut Relay, q: &Queue| {
        let binding = relay.binding(OWNER);
        let tags = [tag_of(&preimage(1))];
        let ops = vec![
            relay.fetch_op(q, 0, true),
            relay.deposit_op(q, vec![envelope(2, 0, 100)]),
            Op::Del(proto::QDelete {
                rid: q.rid.0.to_vec(),
                sig: auth::delete_sig_input(&binding, &q.rid).sign(&q.owner),
            }),
            Op::Ack(proto::Ack {
                rid: q.rid.0.to_vec(),
                seqs: vec![1],
                sig: auth::ack_sig_input(&binding, &q.rid, &[1]).sign(&q.owner),
                p: vec![],
            }),
            Op::Ack(proto::Ack { rid: q.rid.0.to_vec(), p: vec![preimage(99).0.to_vec()], ..Default::default() }),
            Op::Collect(proto::Collect {
                sid: q.sid.0.to_vec(),
                tags: tags.iter().map(|t| t.0.to_vec()).collect(),
                mac: auth::collect_mac(&binding, &q.send_key, &q.sid, &tags).to_vec(),
            }),
        ];
        let mut answers = Vec::new();
        for op in ops {
            let mut res = relay.ask(OWNER, op);
            res.id = 0;
            answers.push(res);
        }
        answers
    };
    let known = answers(&mut relay, &wrong(q.rid, q.sid));
    assert_eq!(known, answers(&mut relay, &unknown));
    assert_eq!(known.iter().map(|res| res.code).collect::<Vec<_>>(), [2, 2, 2, 2, 0, 2]);
    assert_eq!(relay.fetch(&q).len(), 1);
}

#[test]
fn t34_one_wrong_signature_refuses_the_whole_fetch() {
    let (mut relay, a, b) = (Relay::new(), queue(1), queue(2));
    relay.create(&a);
    relay.create(&b);
    relay.deposit(&a, vec![envelope(1, 0, 100)]);
    let (Op::Fetch(mut fetch), Op::Fetch(other)) = (relay.fetch_op(&a, 0, true), relay.fetch_op(&b, 0, true)) else {
        panic!("both are fetches")
    };
    fetch.reads.extend(other.reads);
    assert_eq!(relay.ask(OWNER, Op::Fetch(fetch.clone())).mail.len(), 1);
    fetch.reads[1].after = 7;
    let res = relay.ask(OWNER, Op::Fetch(fetch));
    assert_eq!((res.code, res.mail.len(), res.more), (Code::Refused as u32, 0, false));
}

#[test]
fn t35_captured_requests_are_worthless_on_another_link_later_and_at_another_relay() {
    let (mut relay, q) = (Relay::new(), queue(1));
    relay.create(&q);
    relay.deposit(&q, vec![envelope(1, 0, 100)]);
    let captured = [
        (SENDER, relay.deposit_op(&q, vec![envelope(2, 0, 100)])),
        (OWNER, relay.fetch_op(&q, 0, false)),
        (
            OWNER,
            Op::Del(proto::QDelete {
                rid: q.rid.0.to_vec(),
                sig: auth::delete_sig_input(&relay.binding(OWNER), &q.rid).sign(&q.owner),
            }),
        ),
    ];
    let refused = Code::Refused as u32;
    for (link, op) in &captured {
        let thief = if *link == OWNER { SENDER } else { OWNER };
        assert_eq!(relay.ask(thief, op.clone()).code, refused);
    }
    relay.server.link_down(OWNER);
    relay.server.link_down(SENDER);
    relay.server.link_up(OWNER, &mut relay.chance);
    relay.server.link_up(SENDER, &mut relay.chance);
    relay.wait(HOUR_MS);
    for (link, op) in &captured {
        assert_eq!(relay.ask(*link, op.clone()).code, refused);
    }
    let mut other = Relay::new();
    other.server.key = SigningKey::from_seed(&[99; 32]);
    other.create(&q);
    for (link, op) in &captured {
        assert_eq!(other.ask(*link, op.clone()).code, refused);
    }
    assert_eq!(relay.fetch(&q).len(), 1);
}

#[test]
fn t36_what_was_acknowledged_is_served_after_a_restart() {
    let (mut relay, q) = (Relay::new(), queue(1));
    relay.create(&q);
    let op = relay.deposit_op(&q, vec![envelope(1, 0, 100)]);
    let step = relay.step(SENDER, op);
    assert!(step.writes.iter().any(|w| matches!(w, Write::Put { table: Table::MailItem, .. })));
    let before = relay.store.clone();
    relay.store.apply(&step.writes);
    let (vk, status) = (relay.server.relay_vk(), relay.server.status());
    relay.restart();
    assert_eq!((relay.server.relay_vk(), relay.server.status()), (vk, status));
    assert_eq!(relay.fetch(&q).len(), 1);
    relay.store = before;
    relay.restart();
    assert!(relay.fetch(&q).is_empty(), "what was not committed was not promised");
    relay.assert_counters_are_right();
}

#[test]
fn t37_a_full_queue_says_so_stores_nothing_of_the_call_and_takes_mail_when_there_is_room() {
    let (mut relay, q) = (Relay::new(), queue(1));
    relay.create(&q);
    for n in 0..99 {
        relay.deposit(&q, vec![envelope(n, 0, 100)]);
    }
    let two = vec![envelope(200, 0, 100), envelope(201, 0, 100)];
    assert_eq!(relay.deposit(&q, two.clone()).code, Code::Full as u32);
    assert_eq!(relay.store.count(Table::MailItem), 99);
    assert_eq!(relay.deposit(&q, vec![envelope(5, 0, 100)]).code, 0, "what is held is acknowledged even when full");
    relay.ack(q.rid.as_bytes(), &[preimage(0)]);
    assert_eq!(relay.deposit(&q, two).code, 0);
    relay.assert_counters_are_right();
}

#[test]
fn t37_a_full_store_takes_nothing_but_still_gives_and_purges() {
    let (mut relay, q) = (Relay::new(), queue(1));
    relay.create(&q);
    relay.deposit(&q, vec![envelope(1, 0, 100)]);
    let writes = relay.server.set_limits(Some(RelayLimits { total_mib_max: 0, ..LIMITS }));
    relay.store.apply(&writes);
    assert_eq!(relay.deposit(&q, vec![envelope(2, 0, 100)]).code, Code::Full as u32);
    let op = Op::Create(relay.create_op(&queue(2)));
    assert_eq!(relay.ask(OWNER, op).code, Code::Full as u32);
    let put = auth::blob_put(&relay.binding(OWNER), &BlobId([1; 16]), &q.owner, vec![1], 1);
    assert_eq!(relay.ask(OWNER, Op::Bput(put)).code, Code::Full as u32);
    assert_eq!(relay.fetch(&q).len(), 1);
    assert_eq!(relay.ack(q.rid.as_bytes(), &[preimage(1)]).0.code, 0);
    assert!(relay.fetch(&q).is_empty());
}

#[test]
fn t38_the_relay_keeps_mail_by_its_own_age_and_never_longer_than_promised() {
    let (mut relay, q) = (Relay::new(), queue(1));
    relay.create(&q);
    let held = relay.deposit(&q, vec![envelope(1, 0, 100)]).held.unwrap();
    let until = auth::hour_start(held.until_hour);
    assert!(until > START.after_ms(28 * DAY_MS) && until <= START.after_ms(30 * DAY_MS));
    relay.now.unix = START.after_ms(365 * DAY_MS);
    relay.sweep_all();
    assert_eq!(relay.fetch(&q).len(), 1, "a jump forward purges nothing");
    relay.now.unix = UnixTime(START.0 - 365 * DAY_MS);
    relay.wait(20 * DAY_MS);
    relay.sweep_all();
    assert_eq!(relay.fetch(&q).len(), 1, "a jump back purges nothing");
    relay.wait(11 * DAY_MS);
    relay.sweep_all();
    assert!(relay.fetch(&q).is_empty(), "age purges whatever the wall clock says");
    relay.assert_counters_are_right();
}

#[test]
fn t38_a_sender_can_shorten_the_life_of_its_mail_but_not_lengthen_it() {
    let (mut relay, q) = (Relay::new(), queue(1));
    relay.create(&q);
    let until = |relay: &mut Relay, env: Vec<u8>| {
        let held = relay.deposit(&q, vec![env]).held.unwrap();
        auth::hour_start(held.until_hour).0.saturating_sub(START.0)
    };
    let short = until(&mut relay, envelope_living(1, 0, 100, DAY_MS));
    assert!((20 * HOUR_MS..=26 * HOUR_MS).contains(&short));
    for (n, hour) in [(2, 0_u16), (3, 0x7fff), (4, 0xffff)] {
        let mut env = envelope(n, 0, 100);
        env[2..4].copy_from_slice(&START.hour_2024().wrapping_add(hour).to_be_bytes());
        let kept = until(&mut relay, env);
        assert!((HOUR_MS..=30 * DAY_MS).contains(&kept), "{kept}");
    }
}

#[test]
fn t38_a_store_that_was_off_for_a_year_is_not_purged_at_once() {
    let (mut relay, q) = (Relay::new(), queue(1));
    relay.create(&q);
    relay.deposit(&q, vec![envelope(1, 0, 100)]);
    relay.now = Now { moment: Moment(0), unix: START.after_ms(365 * DAY_MS) };
    relay.restart();
    relay.sweep_all();
    assert_eq!(relay.fetch(&q).len(), 1);
    for _ in 0..31 {
        relay.wait(HOUR_MS);
        relay.sweep_all();
    }
    assert!(relay.fetch(&q).is_empty());
}

#[test]
fn t39_a_small_request_gets_at_most_one_bounded_answer_and_paging_reaches_the_end() {
    let (mut relay, q) = (Relay::new(), queue(1));
    relay.create(&q);
    for n in 0..10 {
        assert_eq!(relay.deposit(&q, vec![envelope(n, 0, 60_000)]).code, 0);
    }
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let op = relay.fetch_op(&q, after, false);
        let res = relay.ask(OWNER, op);
        assert!(Frame::MboxRes(res.clone()).encode().len() <= FRAME_BYTES_MAX);
        seen.extend(res.mail.iter().map(|m| m.seq));
        after = seen.last().copied().unwrap();
        if !res.more {
            break;
        }
    }
    assert_eq!(seen, (1..=10).collect::<Vec<_>>());
    let Op::Fetch(mut fetch) = relay.fetch_op(&q, 0, false) else { panic!("a fetch") };
    fetch.max_kib = 1;
    let res = relay.ask(OWNER, Op::Fetch(fetch));
    assert_eq!((res.mail.len(), res.more), (1, true), "the first envelope always fits");
}

#[test]
fn create_is_idempotent_for_its_owner_and_refused_to_anyone_else() {
    let (mut relay, q) = (Relay::new(), queue(1));
    relay.create(&q);
    relay.create(&q);
    assert_eq!(relay.server.status().queues, 1);
    let refused = Code::Refused as u32;
    let same_rid = Queue { rid: q.rid, ..queue(2) };
    let same_sid = Queue { sid: q.sid, ..queue(3) };
    for thief in [same_rid, same_sid] {
        let op = Op::Create(relay.create_op(&thief));
        assert_eq!(relay.ask(OWNER, op).code, refused);
    }
    let mut forged = relay.create_op(&queue(4));
    forged.ttl_days = 5;
    assert_eq!(relay.ask(OWNER, Op::Create(forged)).code, refused);
}

#[test]
fn the_sender_may_take_back_what_was_not_fetched() {
    let (mut relay, q) = (Relay::new(), queue(1));
    relay.create(&q);
    relay.deposit(&q, vec![envelope(1, 0, 100), envelope(2, 0, 100)]);
    relay.ack(q.sid.as_bytes(), &[preimage(1)]);
    assert_eq!(relay.fetch(&q).len(), 1);
}

#[test]
fn sequences_are_acknowledged_only_under_the_owners_signature() {
    let (mut relay, q) = (Relay::new(), queue(1));
    relay.create(&q);
    relay.deposit(&q, vec![envelope(1, 0, 100), envelope(2, 0, 100)]);
    let seqs = vec![1, 77];
    let sig = auth::ack_sig_input(&relay.binding(OWNER), &q.rid, &seqs).sign(&q.owner);
    let ack = proto::Ack { rid: q.rid.0.to_vec(), seqs, sig, p: vec![] };
    let unsigned = proto::Ack { sig: vec![], ..ack.clone() };
    assert_eq!(relay.ask(OWNER, Op::Ack(unsigned)).code, Code::Refused as u32);
    assert_eq!(relay.fetch(&q).len(), 2);
    assert_eq!(relay.ask(OWNER, Op::Ack(ack)).code, 0);
    assert_eq!(relay.fetch(&q)[0].seq, 2);
    relay.assert_counters_are_right();
}

#[test]
fn a_deleted_queue_takes_everything_with_it() {
    let (mut relay, q) = (Relay::new(), queue(1));
    relay.create(&q);
    for n in 0..90 {
        relay.deposit(&q, vec![envelope(n, 0, 100)]);
    }
    relay.ack(q.rid.as_bytes(), &[preimage(0), preimage(1)]);
    let sig = auth::delete_sig_input(&relay.binding(OWNER), &q.rid).sign(&q.owner);
    assert_eq!(relay.ask(OWNER, Op::Del(proto::QDelete { rid: q.rid.0.to_vec(), sig })).code, 0);
    let tables =
        [Table::MailQueue, Table::MailSid, Table::MailItem, Table::MailTag, Table::MailReceipt, Table::MailExpiry];
    for table in tables {
        assert_eq!(relay.store.count(table), 0, "{table:?}");
    }
    let status = relay.server.status();
    assert_eq!((status.held, status.bytes, status.queues), (0, 0, 0));
}

#[test]
fn blobs_belong_to_their_key_and_expire() {
    let mut relay = Relay::new();
    let (id, owner, thief) = (BlobId([1; 16]), SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]));
    let binding = relay.binding(OWNER);
    let put = |key: &SigningKey, ct: Vec<u8>| Op::Bput(auth::blob_put(&binding, &id, key, ct, 2));
    assert_eq!(relay.ask(OWNER, Op::Bget(proto::BlobGet { id: id.0.to_vec() })).code, Code::Refused as u32);
    assert_eq!(relay.ask(OWNER, put(&owner, vec![1; 10])).code, 0);
    assert_eq!(relay.ask(OWNER, put(&owner, vec![2; BLOB_BYTES_MAX])).code, 0);
    assert_eq!(relay.ask(OWNER, put(&owner, vec![2; BLOB_BYTES_MAX + 1])).code, Code::TooLarge as u32);
    assert_eq!(relay.ask(OWNER, put(&thief, vec![3])).code, Code::Refused as u32);
    let theft = Op::Bdel(auth::blob_del(&binding, &id, &thief));
    assert_eq!(relay.ask(OWNER, theft).code, Code::Refused as u32);
    assert_eq!(relay.ask(SENDER, Op::Bget(proto::BlobGet { id: id.0.to_vec() })).blob, vec![2; BLOB_BYTES_MAX]);
    relay.assert_counters_are_right();
    relay.wait(3 * DAY_MS);
    relay.sweep_all();
    assert_eq!(relay.server.status().blobs, 0);
    relay.assert_counters_are_right();
    assert_eq!(relay.ask(OWNER, put(&thief, vec![3])).code, 0);
    assert_eq!(relay.ask(OWNER, Op::Bdel(auth::blob_del(&binding, &id, &thief))).code, 0);
    assert_eq!(relay.store.count(Table::MailBlob), 0);
}

#[test]
fn a_role_that_is_off_takes_nothing_new_and_still_gives_what_it_holds() {
    let (mut relay, q) = (Relay::new(), queue(1));
    relay.create(&q);
    relay.deposit(&q, vec![envelope(1, 0, 100)]);
    let writes = relay.server.set_limits(None);
    relay.store.apply(&writes);
    relay.restart();
    assert_eq!(relay.server.limits(), None);
    let off = Code::RoleOff as u32;
    let op = Op::Create(relay.create_op(&queue(2)));
    assert_eq!(relay.ask(OWNER, op).code, off);
    assert_eq!(relay.deposit(&q, vec![envelope(2, 0, 100)]).code, off);
    let put = auth::blob_put(&relay.binding(OWNER), &BlobId([1; 16]), &q.owner, vec![1], 1);
    assert_eq!(relay.ask(OWNER, Op::Bput(put)).code, off);
    assert_eq!(relay.fetch(&q).len(), 1);
    relay.ack(q.rid.as_bytes(), &[preimage(1)]);
    assert!(relay.fetch(&q).is_empty());
}

#[test]
fn status_gives_signed_limits_and_the_challenge_of_the_link() {
    let mut relay = Relay::new();
    let limits = relay.ask(OWNER, Op::Status(proto::Status { limits: true })).limits.unwrap();
    assert_eq!(auth::binding_of(&limits, None), Some(relay.binding(OWNER)));
    assert_eq!((limits.retention_days, limits.max_env, limits.max_kib), (30, 100, 1_024));
    assert_ne!(relay.binding(OWNER).challenge, relay.binding(SENDER).challenge);
    let seed = relay.server.relay_seed();
    assert_eq!(SigningKey::from_seed(&seed).verifying_key().as_bytes(), &relay.server.relay_vk());
}

#[test]
fn retention_is_the_least_of_relay_and_queue() {
    let mut relay = Relay::new();
    let q = queue(1);
    let mut create = relay.create_op(&q);
    create.ttl_days = 3;
    create.sig = auth::create_sig_input(&relay.binding(OWNER), &create).sign(&q.owner);
    assert_eq!(relay.ask(OWNER, Op::Create(create)).code, 0);
    let held = relay.deposit(&q, vec![envelope(1, 0, 100)]).held.unwrap();
    assert!(auth::hour_start(held.until_hour) <= START.after_ms(3 * DAY_MS + 1_000));
    assert!(auth::hour_start(held.until_hour) >= START.after_ms(3 * DAY_MS - 2 * HOUR_MS));
    relay.wait(3 * DAY_MS + HOUR_MS);
    relay.sweep_all();
    assert!(relay.fetch(&q).is_empty());
}

#[test]
fn a_sweep_works_in_bounded_batches_and_forgets_abandoned_queues() {
    let mut relay = Relay::new();
    for n in 1..8 {
        let q = queue(n);
        relay.create(&q);
        for m in 0..99 {
            relay.deposit(&q, vec![envelope(m, 0, 50)]);
        }
        relay.ack(q.rid.as_bytes(), &[preimage(1)]);
    }
    relay.wait(31 * DAY_MS);
    let step = relay.server.sweep(relay.now, &relay.store).unwrap();
    let removed = step.writes.iter().filter(|w| matches!(w, Write::Delete { table: Table::MailExpiry, .. })).count();
    assert_eq!(removed, SWEEP_BATCH);
    relay.store.apply(&step.writes);
    relay.sweep_all();
    assert_eq!((relay.store.count(Table::MailItem), relay.store.count(Table::MailReceipt)), (0, 0));
    assert_eq!(relay.server.status().queues, 7);
    relay.assert_counters_are_right();
    relay.wait(200 * DAY_MS);
    relay.fetch(&queue(1));
    relay.wait(140 * DAY_MS);
    relay.sweep_all();
    assert_eq!(relay.server.status().queues, 1, "a queue that is read lives on");
    relay.assert_counters_are_right();
}

#[test]
fn a_sweep_in_the_step_of_a_deposit_puts_itself_off() {
    let (mut relay, q) = (Relay::new(), queue(1));
    relay.create(&q);
    let op = relay.deposit_op(&q, vec![envelope(1, 0, 100)]);
    let _uncommitted = relay.step(SENDER, op);
    let step = relay.server.sweep(relay.now, &relay.store).unwrap();
    assert!(step.writes.is_empty());
    assert_eq!(relay.server.next_sweep(), relay.now.moment.after_ms(1));
}

#[test]
fn the_store_names_no_link_and_no_two_queues_together() {
    let (mut relay, a, b) = (Relay::new(), queue(1), queue(2));
    relay.create(&a);
    relay.create(&b);
    relay.deposit(&a, vec![envelope(1, 0, 100)]);
    relay.deposit(&b, vec![envelope(1, 0, 100)]);
    relay.fetch(&a);
    relay.fetch(&b);
    let names_of = |q: &Queue| [q.rid.0.to_vec(), q.sid.0.to_vec(), q.owner.verifying_key().as_bytes().to_vec()];
    let contains = |hay: &[u8], needle: &[u8]| hay.windows(needle.len()).any(|window| window == needle);
    let tables = [
        Table::MailQueue,
        Table::MailSid,
        Table::MailItem,
        Table::MailTag,
        Table::MailExpiry,
        Table::MailMeta,
        Table::MailReceipt,
    ];
    for table in tables {
        for (key, value) in relay.store.pairs(table) {
            let record = [key, value].concat();
            let named = |q: &Queue| names_of(q).iter().any(|name| contains(&record, name));
            assert!(!(named(&a) && named(&b)), "{table:?} links two queues");
        }
    }
    let seqs: Vec<u64> = relay.store.pairs(Table::MailItem).filter_map(|(key, _)| records::seq_of(key)).collect();
    assert_eq!(seqs, [1, 1], "sequences count within a queue");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Any mix of work and restarts leaves the counters equal to a slow count.
    #[test]
    fn counters_stay_right_over_any_history(
        work in proptest::collection::vec((0_u8..7, 1_u8..3, 0_u16..6, 0_u64..20), 0..40),
    ) {
        let mut relay = Relay::new();
        relay.create(&queue(1));
        relay.create(&queue(2));
        for (what, who, n, days) in work {
            let q = queue(who);
            match what {
                0 | 1 => drop(relay.deposit(&q, vec![envelope(n, who, 60), envelope(n, n as u8, 80)])),
                2 => drop(relay.ack(q.rid.as_bytes(), &[preimage(n)])),
                3 => {
                    relay.wait(days * DAY_MS);
                    relay.sweep_all();
                }
                4 => relay.restart(),
                5 => {
                    let sig = auth::delete_sig_input(&relay.binding(OWNER), &q.rid).sign(&q.owner);
                    relay.ask(OWNER, Op::Del(proto::QDelete { rid: q.rid.0.to_vec(), sig }));
                    relay.create(&q);
                }
                _ => {
                    let put = auth::blob_put(&relay.binding(OWNER), &BlobId([who; 16]), &q.owner, vec![1; 9], 3);
                    relay.ask(OWNER, Op::Bput(put));
                }
            }
            relay.assert_counters_are_right();
        }
    }

    /// No request of random bytes makes the relay panic, and none that is refused writes.
    #[test]
    fn t32_no_bytes_make_the_relay_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(req) = <proto::MboxReq as prost::Message>::decode(bytes.as_slice()) {
            let mut relay = Relay::new();
            let step = relay.server.handle(OWNER, req, relay.now, &relay.store).unwrap();
            prop_assert_eq!(step.frames.len(), 1);
            prop_assert!(step.writes.is_empty());
        }
    }
}
