//! Real values as inputs: a few a target, small enough to be kept in the repository.

use prost::Message;
use silbo_protocol::carry::reconcile::{Opening, Reconciliation};
use silbo_protocol::carry::riblt::{Cell, Encoder};
use silbo_protocol::chance::Chance;
use silbo_protocol::conversation::event_record::encode_event;
use silbo_protocol::conversation::{Choices, Poll, Slot, SlotAuthor, SlotOp, SlotOpKind};
use silbo_protocol::identity::card::{CardParts, build_card, seal_card};
use silbo_protocol::ids::{MessageId, Preimage};
use silbo_protocol::mailbox::auth::{held_sig_input, limits_sig_input};
use silbo_protocol::presence;
use silbo_protocol::session::first_contact;
use silbo_protocol::step::{Event, EventKind};
use silbo_protocol::time::UnixTime;
use silbo_protocol::wire::frame::Frame;
use silbo_protocol::wire::padding::{PadClass, pad};
use silbo_protocol::wire::proto::{self, mbox_req::Op, plain::Kind};
use silbo_protocol::wire::{base32, base64};

use crate::fixture::{Fixture, NOW_MS, NOW_S, QUEUE, UNIX_DAY, fixture, peer_key};
use crate::piece;
use crate::targets::carry::set;
use crate::targets::{channel, group, group_operations};

/// The seeds of a target; none if there is no target of this name.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let f = fixture();
    match target {
        "base32" => vec![base32::encode_lower(&f.invite.encode()).into_bytes(), b"ZW-OIL0".to_vec()],
        "base64" => vec![base64::encode(&f.invite.encode()).into_bytes(), b"__--".to_vec()],
        "invite_text" => vec![f.invite.link(), f.invite.qr(), f.invite.web_link("https://silbo.example")]
            .into_iter()
            .map(String::into_bytes)
            .collect(),
        "invite_binary" => {
            let bytes = f.invite.encode();
            vec![bytes[..bytes.len() - 2].to_vec(), bytes]
        }
        "safety_number" => vec![f.number.qr().into_bytes(), f.number.digits().into_bytes()],
        "recovery_words" => vec![f.alice.account.words().join(" ").into_bytes()],
        "frame" => frames(f),
        "envelope" => vec![f.next_envelope.clone(), with_extensions(&f.next_envelope)],
        "padding" => vec![pad(PadClass::Constrained, b"text", 0).expect("short"), vec![0x80; 40]],
        "event_record" => events(),
        "slot_record" => vec![slot().encode()],
        "stored_state" => vec![
            [&[0][..], &f.session.encode()].concat(),
            [&[1][..], &f.skipped.encode()].concat(),
            [&[2][..], &f.bob.prekeys.encode()].concat(),
            [&[3][..], &f.presence.encode()].concat(),
            [&[4][..], &f.alice.account.encode()].concat(),
        ],
        "presence_validate" => vec![presence_record(f)],
        "presence_open" => vec![presence_record(f), presence_plain().encode_to_vec()],
        "session_open" => vec![[&[1][..], &f.next_envelope].concat(), [&[70][..], &f.skipped_envelope].concat()],
        "skipped_open" => vec![f.skipped_envelope.clone()],
        "init_box" => {
            let boxed = first_contact::seal_box(
                &f.box_key,
                &[0x20; 16],
                &f.init.encode_to_vec(),
                &mut Chance::from_seed([1; 32]),
            );
            vec![boxed, f.init.encode_to_vec()]
        }
        "init_block" => vec![f.init.encode_to_vec()],
        "prekey_bundle" => vec![f.bob.bundle().encode_to_vec()],
        "card" => cards(f),
        "device_log" => logs(f),
        "group_operations" => group_operations::seeds(),
        "mailbox_evidence" => evidence(f),
        "mailbox_server" => mailbox(f),
        "riblt_cells" => cells(),
        "reconcile_message" => reconciliations(),
        "group_told" => group::told_seeds(),
        "group_letter" => group::letter_seeds(),
        "group_stored" => group::stored_seeds(),
        "packets" => crate::targets::packets::seeds(),
        "channel_link" => channel::link_seeds(),
        "channel_post" => channel::post_seeds(),
        "channel_reader" => channel::reader_seeds(),
        "engine" => engine(f),
        _ => Vec::new(),
    }
}

fn cells() -> Vec<Vec<u8>> {
    let peer = set(2, 40);
    let mut encoder = Encoder::new(peer.hash(), peer.ids());
    let stream: Vec<u8> = (0..24).flat_map(|_| encoder.next_cell().to_bytes()).collect();
    vec![[&[40][..], &stream].concat(), [&[40][..], &[0; 24 * Cell::LEN]].concat()]
}

/// What each end hears in sessions that take the three ways, and an opening.
fn reconciliations() -> Vec<Vec<u8>> {
    let mut out = vec![Opening::of(&set(0, 20)).encode().to_vec()];
    for (own, peer) in [(200, 200), (150, 210), (10, 4)] {
        let sets = [set(0, own), set(3, peer)];
        let openings = [Opening::of(&sets[1]), Opening::of(&sets[0])];
        let mut heard = [vec![own, peer], vec![peer, own]];
        let mut waiting = std::collections::VecDeque::new();
        let mut ends = Vec::new();
        for (at, (set, opening)) in sets.into_iter().zip(openings).enumerate() {
            let (end, first) = Reconciliation::start(set, &opening);
            ends.push(end);
            waiting.extend(first.into_iter().map(|message| (1 - at, message)));
        }
        while let Some((to, message)) = waiting.pop_front() {
            heard[to].extend(piece(&message.encode()));
            let mut answers = Vec::new();
            ends[to].handle(message, &mut answers).expect("both ends are honest");
            waiting.extend(answers.into_iter().map(|message| (1 - to, message)));
        }
        // The end whose set begins at 0, as the one of the target does.
        let [first, _] = heard;
        out.push(first);
    }
    out
}

fn frames(f: &Fixture) -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> = f.frames.iter().filter(|frame| frame.len() < 4_096).take(3).cloned().collect();
    out.push(Frame::Receipts(vec![Preimage([1; 16]), Preimage([2; 16])]).encode());
    out.push(Frame::Envelopes(vec![f.next_envelope.clone(), f.skipped_envelope.clone()]).encode());
    for op in operations(f) {
        out.push(Frame::MboxReq(proto::MboxReq { id: 7, op: Some(op) }).encode());
    }
    out.push(Frame::CardRes(proto::CardRes { blob_id: vec![1; 16], sealed: vec![2; 40] }).encode());
    out
}

fn with_extensions(envelope: &[u8]) -> Vec<u8> {
    let mut out = envelope.to_vec();
    out[0] |= 1;
    out.splice(16..16, [0x81, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0x82, 1, 5, 0x03, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    out
}

fn events() -> Vec<Vec<u8>> {
    let kinds = [
        EventKind::ContactRequest { name: "Ann".into(), hello: "It is me".into() },
        EventKind::Warning { text: "disk".into() },
        EventKind::MessageReceived {
            body: "hello".into(),
            sent_at: UnixTime(1),
            reply_to: Some(MessageId([3; 12])),
            path: silbo_protocol::step::Path::Relay,
            author: None,
            mentions_me: false,
            muted: false,
        },
    ];
    let event = |kind| Event {
        at: UnixTime(NOW_MS),
        chat: Some(fixture().alice.account.aid().chat()),
        message: Some(MessageId([1; 12])),
        kind,
    };
    kinds.into_iter().map(|kind| encode_event(&event(kind))).collect()
}

fn poll() -> Option<Poll> {
    let options = vec!["Saturday".into(), "Sunday".into()];
    Some(Poll { options, choices_max: 1, ends_at: Some(UnixTime(NOW_MS + 60_000)) })
}

fn slot() -> Slot {
    let mut slot = Slot::default();
    let op = |n: u8, kind| SlotOp {
        author: SlotAuthor::Peer,
        lamport: u64::from(n),
        ts: UnixTime(5),
        op_id: MessageId([n; 12]),
        kind,
    };
    slot.apply(&op(
        1,
        SlotOpKind::Text {
            body: "hello".into(),
            reply_to: Some(MessageId([9; 12])),
            expire_s: 60,
            mentions: Vec::new(),
            poll: poll(),
        },
    ));
    slot.apply(&op(2, SlotOpKind::Edit { body: "hello!".into(), mentions: Vec::new() }));
    slot.apply(&op(3, SlotOpKind::React { emoji: "👍".into(), remove: false }));
    slot.apply(&op(4, SlotOpKind::Vote { choices: Choices::of(&[1]).unwrap_or_default() }));
    slot
}

fn presence_plain() -> proto::PresencePlain {
    let hint = |n| proto::PeerHint { peer: peer_key(n).0, addrs: vec![vec![4, 127, 0, 0, 1, 6, 0, 80]], roles: 1 };
    proto::PresencePlain { me: Some(hint(1)), relays: vec![hint(2), hint(3)], pad: Vec::new() }
}

fn presence_record(f: &Fixture) -> Vec<u8> {
    presence::publish(&f.presence, UNIX_DAY, 1, &presence_plain(), NOW_S + 3_600).expect("two relays fit").1
}

fn cards(f: &Fixture) -> Vec<Vec<u8>> {
    let parts = CardParts {
        profile: proto::Profile { name: "Alice".into(), status: "here".into(), avatar: Vec::new(), rev: 1 },
        bundles: vec![f.alice.bundle()],
        mailboxes: vec![grant()],
        presence: Some(f.presence.public()),
        peers: vec![proto::PeerHint { peer: peer_key(1).0, addrs: Vec::new(), roles: 0 }],
        seq: 1,
    };
    let card = build_card(&f.alice.account, parts);
    let sealed = seal_card(&f.card_key, &card, &f.alice.account, &mut Chance::from_seed([1; 32])).expect("it fits");
    vec![card.encode_to_vec(), sealed]
}

fn grant() -> proto::MailboxGrant {
    let relay = proto::PeerHint { peer: peer_key(7).0, addrs: vec![vec![4, 127, 0, 0, 1]], roles: 1 };
    proto::MailboxGrant {
        relay: Some(relay),
        sid: vec![2; 16],
        send_key: vec![3; 16],
        retention_days: 30,
        max_kib: 64,
        relay_vk: vec![4; 32],
    }
}

fn logs(f: &Fixture) -> Vec<Vec<u8>> {
    let genesis = f.alice.account.log().entries().to_vec();
    let mut grown = f.alice.account.clone();
    let day = 1;
    let cert = silbo_protocol::identity::account::device_cert(f.bob.account.dik(), f.bob.account.ddh(), day);
    let signer = silbo_protocol::identity::account::Signer::ThisDevice;
    grown.add_device(signer, cert).expect("a device of our own");
    grown
        .revoke_device(silbo_protocol::identity::account::Signer::Root, f.bob.account.device_id(), 1, day)
        .expect("revoked");
    grown.rotate_root(&mut Chance::from_seed([1; 32])).expect("rotated");
    let all = grown.log().entries().to_vec();
    let later = all[1..].to_vec();
    [genesis, all, later]
        .into_iter()
        .map(|entries| proto::LogUpdate { entries, head: Vec::new() }.encode_to_vec())
        .collect()
}

fn evidence(f: &Fixture) -> Vec<Vec<u8>> {
    let mut limits = proto::Limits {
        retention_days: 30,
        max_env: 5,
        max_kib: 6,
        relay_vk: f.relay.verifying_key().as_bytes().to_vec(),
        challenge: vec![2; 32],
        sig: Vec::new(),
    };
    limits.sig = limits_sig_input(&limits).sign(&f.relay);
    let mut held = proto::Held { sid: vec![1; 16], cids: vec![vec![2; 16]], until_hour: 99, sig: Vec::new() };
    held.sig = held_sig_input(&held.sid, &held.cids, held.until_hour).sign(&f.relay);
    vec![limits.encode_to_vec(), held.encode_to_vec()]
}

/// One request of each kind on the fixture's queue.
fn operations(f: &Fixture) -> Vec<Op> {
    let (rid, sid) = (QUEUE.0.0.to_vec(), QUEUE.1.0.to_vec());
    let tag = f.next_envelope[4..16].to_vec();
    vec![
        Op::Create(proto::QCreate {
            rid: vec![8; 16],
            sid: vec![9; 16],
            owner_vk: vec![0; 32],
            send_key: vec![4; 16],
            ttl_days: 3,
            max_env: 2,
            max_kib: 4,
            sig: vec![0; 64],
        }),
        Op::Deposit(proto::Deposit { sid: sid.clone(), env: vec![f.next_envelope.clone()], mac: vec![0; 16] }),
        Op::Fetch(proto::Fetch {
            reads: vec![proto::QRead { rid: rid.clone(), after: 0, sig: vec![0; 64] }],
            max_kib: 1,
            follow: true,
        }),
        Op::Ack(proto::Ack { p: vec![vec![1; 16]], rid: rid.clone(), seqs: vec![1], sig: vec![0; 64] }),
        Op::Collect(proto::Collect { sid, tags: vec![tag], mac: vec![0; 16] }),
        Op::Bput(proto::BlobPut {
            id: vec![6; 16],
            ct: vec![5; 20],
            ttl_days: 2,
            owner_vk: vec![0; 32],
            sig: vec![0; 64],
        }),
        Op::Bget(proto::BlobGet { id: vec![6; 16] }),
        Op::Bdel(proto::BlobDel { id: vec![6; 16], sig: vec![0; 64] }),
        Op::Status(proto::Status { limits: true }),
        Op::Del(proto::QDelete { rid, sig: vec![0; 64] }),
    ]
}

fn mailbox(f: &Fixture) -> Vec<Vec<u8>> {
    let request =
        |how: u8, op: Op| [&[how][..], &piece(&proto::MboxReq { id: 3, op: Some(op) }.encode_to_vec())].concat();
    let all: Vec<u8> = operations(f).into_iter().flat_map(|op| request(2, op)).collect();
    let mut far = all.clone();
    far.extend(operations(f).into_iter().take(3).flat_map(|op| request(0xe7, op)));
    vec![all, far]
}

fn engine(f: &Fixture) -> Vec<Vec<u8>> {
    let mut conversation = Vec::new();
    for frame in f.frames.iter().filter(|frame| frame.len() < 4_096) {
        conversation.push(0);
        conversation.extend(piece(frame));
    }
    let plain = |n: u8, kind| {
        let plain = proto::Plain {
            ts_ms: NOW_MS,
            msg_id: vec![n; 12],
            lamport: u64::from(n),
            kind: Some(kind),
            ..Default::default()
        };
        [&[2][..], &piece(&plain.encode_to_vec())].concat()
    };
    let text = |body: &str| proto::Text { body: body.into(), reply_to: vec![1; 12], ..proto::Text::default() };
    let log = f.alice.account.log().entries().to_vec();
    let first = [
        plain(1, Kind::Text(text("hello"))),
        plain(2, Kind::React(proto::Reaction { to: vec![1; 12], emoji: "👍".into(), remove: false })),
        plain(3, Kind::Edit(proto::Edit { of: vec![1; 12], text: Some(text("hello!")), rev: 1 })),
        plain(4, Kind::Receipt(proto::Receipt { ids: vec![vec![1; 12]], what: 2 })),
        plain(5, Kind::Typing(proto::Typing { on: true })),
        plain(6, Kind::Retention(proto::RetentionProposal { seconds: 86_400, rev: 3 })),
        plain(7, Kind::Delete(proto::Delete { ids: vec![vec![1; 12]], scope: 2 })),
        plain(8, Kind::Ping(proto::Ping { nonce: vec![1; 8], answer: false })),
        plain(9, Kind::Text(proto::Text { poll: poll().map(|poll| poll.write()), ..text("which?") })),
        plain(10, Kind::Vote(proto::Vote { of: vec![9; 12], options: vec![1] })),
        vec![5, 0, 90],
    ];
    let second = [
        plain(
            1,
            Kind::Profile(proto::ProfileUpdate {
                profile: Some(proto::Profile { name: "B".into(), status: "s".into(), avatar: vec![1; 50], rev: 9 }),
                presence: Some(f.presence.public()),
            }),
        ),
        plain(
            2,
            Kind::Mailbox(proto::MailboxUpdate {
                grants: vec![grant()],
                peers: vec![grant().relay.expect("set")],
                rev: 9,
            }),
        ),
        plain(3, Kind::Log(proto::LogUpdate { entries: log, head: Vec::new() })),
        plain(
            4,
            Kind::Decision(proto::Decision { accepted: true, rev: 10, grants: vec![grant()], ..Default::default() }),
        ),
        plain(5, Kind::Beat(proto::PresenceBeat { state: 1, valid_s: 60 })),
        vec![6, 5, 1, 0],
    ];
    let mut relayed = Vec::new();
    for op in operations(f) {
        relayed.push(0x10);
        relayed.extend(piece(&Frame::MboxReq(proto::MboxReq { id: 7, op: Some(op) }).encode()));
    }
    let record = presence::publish(&f.presence, UNIX_DAY, 1, &presence_plain(), NOW_S + 3_600).expect("it fits");
    relayed.push(7);
    relayed.extend(piece(&record.1));
    relayed.push(4);
    relayed.extend(piece(&f.next_envelope[16..]));
    vec![conversation, first.concat(), second.concat(), relayed]
}
