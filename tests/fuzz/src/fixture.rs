//! What the inputs are thrown at: two accounts, a session between them, a mailbox queue, a node with a contact.
//! Built once from fixed seeds, the same in every run and on every machine.

use std::sync::OnceLock;

use prost::Message;
use silbo_protocol::chance::Chance;
use silbo_protocol::crypto::ed25519::SigningKey;
use silbo_protocol::crypto::{Secret, kdf};
use silbo_protocol::engine::Engine;
use silbo_protocol::identity::OwnAccount;
use silbo_protocol::identity::safety_number::SafetyNumber;
use silbo_protocol::ids::{ChatId, LinkId, PeerAddress, PeerKey, QueueRid, QueueSid, Tag};
use silbo_protocol::input::{Input, InviteKind, RelayLimits, Request, RequestId, Route};
use silbo_protocol::mailbox::auth::{self, LinkBinding};
use silbo_protocol::mailbox::server::MailboxServer;
use silbo_protocol::memory_store::MemoryStore;
use silbo_protocol::presence::PresenceKeys;
use silbo_protocol::session::handshake::{Initiator, Responder};
use silbo_protocol::session::{
    Chain, OwnPrekeys, PeerPrekeys, Sealed, Session, SkippedKey, TagPlace, first_contact, initiate, respond_identity,
};
use silbo_protocol::step::{Reply, Send};
use silbo_protocol::store::{Store, Table};
use silbo_protocol::time::{Moment, Now, UnixTime};
use silbo_protocol::wire::invite::InviteCode;
use silbo_protocol::wire::proto;

/// The time of all inputs.
pub const NOW_MS: u64 = 1_800_000_000_000;
/// The same in seconds.
pub const NOW_S: u64 = NOW_MS / 1_000;
/// The same in days since 1970.
pub const UNIX_DAY: u32 = (NOW_S / 86_400) as u32;
/// The same in days since 2024-01-01.
pub const TODAY: u32 = ((NOW_MS - 1_704_067_200_000) / 86_400_000) as u32;
/// The two names of the queue in the mailbox store.
pub const QUEUE: (QueueRid, QueueSid) = (QueueRid([0x11; 16]), QueueSid([0x22; 16]));

/// An account with its secrets.
pub struct Person {
    /// Account and device.
    pub account: OwnAccount,
    /// The root key of the account.
    pub root: SigningKey,
    /// Prekeys 7 with one-time prekey 9.
    pub prekeys: OwnPrekeys,
}

/// Everything the targets use.
pub struct Fixture {
    /// Who starts.
    pub alice: Person,
    /// Who answers.
    pub bob: Person,
    /// Of Alice, as Bob sees it or the other way round.
    pub number: SafetyNumber,
    /// Presence keys of Alice.
    pub presence: PresenceKeys,
    /// Encrypts cards.
    pub card_key: Secret<32>,
    /// Encrypts boxes.
    pub box_key: Secret<32>,
    /// Of the invitation.
    pub psk: Secret<32>,
    /// An init block of Alice to Bob.
    pub init: proto::InitBlock,
    /// Bob's end, with a current receiving chain.
    pub session: Session,
    /// Its state hash.
    pub session_hash: [u8; 32],
    /// What it listens for.
    pub session_tags: Vec<(Tag, TagPlace)>,
    /// An envelope that the session can open, with its place.
    pub next_envelope: Vec<u8>,
    /// A key for an overtaken envelope.
    pub skipped: SkippedKey,
    /// That envelope.
    pub skipped_envelope: Vec<u8>,
    /// Signs for a relay.
    pub relay: SigningKey,
    /// Owns the queue of the mailbox store.
    pub queue_owner: SigningKey,
    /// A relay with one queue.
    pub mail_store: MemoryStore,
    /// A node with an open invitation, the relay role, and a contact.
    pub node_store: MemoryStore,
    /// Its conversation with the contact.
    pub contact_chat: ChatId,
    /// The contact's end of their session, as it is stored.
    pub contact_session: Vec<u8>,
    /// Tags the node listens for.
    pub tags: Vec<Tag>,
    /// Where the node looks for the contact.
    pub presence_key: [u8; 32],
    /// Frames that went to the node while the fixture was made.
    pub frames: Vec<Vec<u8>>,
    /// An invitation of the node.
    pub invite: InviteCode,
}

/// The fixture, made at the first call.
pub fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(build)
}

/// A libp2p peer id with a recognisable key.
pub fn peer_key(n: u8) -> PeerKey {
    PeerKey([&[0x00, 0x24, 0x08, 0x01, 0x12, 0x20][..], &[n; 32]].concat())
}

impl Person {
    fn new(seed: u8) -> Self {
        let mut chance = Chance::from_seed([seed; 32]);
        let account = OwnAccount::create(&mut chance, TODAY);
        let stored = StoredAccount::decode(account.encode().as_slice()).expect("an account's own encoding");
        let root = SigningKey::from_seed(kdf::<32>(&stored.root_seed, b"", "silbo/1/root").expose());
        let prekeys = OwnPrekeys::generate(7, Some(9), UnixTime(NOW_MS), &mut chance);
        Self { account, root, prekeys }
    }

    /// As one who answers handshakes.
    pub fn responder(&self) -> Responder<'_> {
        Responder { aid: self.account.aid(), cert: self.account.device_cert_bytes(), ddh: self.account.ddh() }
    }

    /// The bundle of its prekeys.
    pub fn bundle(&self) -> proto::PrekeyBundle {
        self.prekeys.bundle(&self.account.device_id(), self.account.dik(), TODAY + 38)
    }
}

/// The one field of the stored account that is needed here.
#[derive(Clone, PartialEq, prost::Message)]
struct StoredAccount {
    #[prost(bytes = "vec", tag = "2")]
    root_seed: Vec<u8>,
}

fn build() -> Fixture {
    let (alice, bob) = (Person::new(1), Person::new(2));
    let mut chance = Chance::from_seed([3; 32]);
    let psk = Secret::new([0x50; 32]);
    let (init, session, next_envelope, skipped, skipped_envelope) = sessions(&alice, &bob, &psk, &mut chance);
    let queue_owner = SigningKey::generate(&mut chance);
    let (node_store, contact_session, frames, invite) = nodes();
    let (chat, _) = node_store.pairs(Table::Contact).next().expect("the two nodes became contacts");
    let contact_chat = ChatId::read(chat).expect("a chat id");
    let mut tags: Vec<Tag> = (0..4).map(|n| first_contact::one_time_tag(&invite.keys().first_contact, n).0).collect();
    for (_, value) in node_store.pairs(Table::Session) {
        if let Some(session) = value.get(16..).and_then(Session::decode) {
            tags.extend(session.tags().into_iter().take(8).map(|(tag, _)| tag));
        }
    }
    Fixture {
        number: SafetyNumber::new(&alice.account.aid(), &bob.account.aid()),
        presence: PresenceKeys::generate(&mut chance),
        card_key: Secret::new([4; 32]),
        box_key: Secret::new([5; 32]),
        session_hash: session.state_hash(),
        session_tags: session.tags(),
        mail_store: mail_store(&queue_owner),
        relay: SigningKey::generate(&mut chance),
        presence_key: [0; 32],
        alice,
        bob,
        psk,
        init,
        session,
        next_envelope,
        skipped,
        skipped_envelope,
        queue_owner,
        node_store,
        contact_chat,
        contact_session,
        tags,
        frames,
        invite,
    }
}

type Sessions = (proto::InitBlock, Session, Vec<u8>, SkippedKey, Vec<u8>);

/// Alice starts, each side writes once, then Bob reads Alice's third message before her second.
fn sessions(alice: &Person, bob: &Person, psk: &Secret<32>, chance: &mut Chance) -> Sessions {
    let cert = bob.account.device_cert_bytes();
    let dik = bob.account.dik().verifying_key();
    let published =
        PeerPrekeys::read(bob.account.aid(), cert, &dik, &bob.bundle(), TODAY).expect("a bundle of our own");
    let me = Initiator { aid: alice.account.aid(), ddh: alice.account.ddh() };
    let (init, mut from, _) = initiate(&me, &published, psk, b"identity", chance).expect("good keys agree");
    let half = respond_identity(&bob.prekeys, &bob.responder(), psk, &init).expect("good keys agree");
    let (mut to, _) = half.finish(&alice.account.aid(), &alice.account.ddh().public()).expect("good keys agree");
    let first = seal(&mut from, b"one", chance);
    to = open(&to, &first.envelope, chance).0;
    let answer = seal(&mut to, b"two", chance);
    from = open(&from, &answer.envelope, chance).0;
    let messages: Vec<Sealed> = (0..4).map(|n| seal(&mut from, &[n; 40], chance)).collect();
    to = open(&to, &messages[0].envelope, chance).0;
    let (to, skipped) = open(&to, &messages[2].envelope, chance);
    let skipped = skipped.into_iter().next().expect("the second was overtaken");
    (init, to, messages[3].envelope.clone(), skipped, messages[1].envelope.clone())
}

fn seal(session: &mut Session, text: &[u8], chance: &mut Chance) -> Sealed {
    session.seal([0x28, 0x60, 0x12, 0x34], text, [1, 2, 3], UnixTime(NOW_MS), chance).expect("the session may seal")
}

fn open(session: &Session, envelope: &[u8], chance: &mut Chance) -> (Session, Vec<SkippedKey>) {
    let tag = envelope.get(4..16).and_then(Tag::read).expect("an envelope has a tag");
    let tags = session.tags();
    let (_, place) = tags.iter().find(|(known, _)| *known == tag).expect("it is listened for");
    assert!(matches!(place.chain, Chain::Current | Chain::Next));
    let opened = session.open(*place, envelope, UnixTime(NOW_MS), chance).expect("the peer sealed it");
    (opened.session, opened.skipped.into_iter().map(|(_, key)| key).collect())
}

fn mail_store(owner: &SigningKey) -> MemoryStore {
    let mut store = MemoryStore::new();
    let mut chance = Chance::from_seed([6; 32]);
    let now = Now { moment: Moment(0), unix: UnixTime(NOW_MS) };
    let (mut server, writes) = MailboxServer::open(&store, now, &mut chance).expect("an empty store");
    store.apply(&writes);
    let limits = RelayLimits { retention_days: 30, queue_envelopes_max: 8, queue_kib_max: 64, total_mib_max: 1 };
    store.apply(&server.set_limits(Some(limits)));
    let binding = LinkBinding { relay_vk: server.relay_vk(), challenge: server.link_up(LinkId(1), &mut chance) };
    let mut create = proto::QCreate {
        rid: QUEUE.0.0.to_vec(),
        sid: QUEUE.1.0.to_vec(),
        owner_vk: owner.verifying_key().as_bytes().to_vec(),
        send_key: vec![4; 16],
        ttl_days: 30,
        max_env: 8,
        max_kib: 64,
        sig: Vec::new(),
    };
    create.sig = auth::create_sig_input(&binding, &create).sign(owner);
    let req = proto::MboxReq { id: 1, op: Some(proto::mbox_req::Op::Create(create)) };
    let step = server.handle(LinkId(1), req, now, &store).expect("an empty store");
    assert!(!step.writes.is_empty(), "the queue was created");
    store.apply(&step.writes);
    store
}

struct Node {
    engine: Engine,
    store: MemoryStore,
    peer: PeerKey,
    now: Now,
    replies: Vec<Reply>,
}

impl Node {
    fn new(seed: u8) -> Self {
        let store = MemoryStore::new();
        let now = Now { moment: Moment(1_000), unix: UnixTime(NOW_MS) };
        let (engine, step) = Engine::open(&store, [seed; 32], now).expect("an empty store");
        let mut node = Self { engine, store, peer: peer_key(seed), now, replies: Vec::new() };
        node.store.apply(&step.writes);
        node.ask(Request::CreateAccount { name: format!("Person {seed}") });
        node
    }

    fn handle(&mut self, input: Input) -> Vec<Vec<u8>> {
        self.now.moment = self.now.moment.after_ms(1);
        let step = self.engine.handle(input, self.now, &self.store).expect("a sound store");
        self.store.apply(&step.writes);
        self.replies.extend(step.reply.into_iter().filter_map(|(_, reply)| reply.ok()));
        let frames = step.sends.into_iter().filter_map(|send| match send {
            Send::Frame { bytes, .. } => Some(bytes),
            _ => None,
        });
        frames.collect()
    }

    fn ask(&mut self, request: Request) -> Vec<Vec<u8>> {
        self.handle(Input::Request { id: RequestId(1), request: Box::new(request) })
    }
}

type Nodes = (MemoryStore, Vec<u8>, Vec<Vec<u8>>, InviteCode);

/// Two nodes on one link: one invites, the other follows, and they talk until both are silent.
fn nodes() -> Nodes {
    let (mut node, mut contact) = (Node::new(1), Node::new(2));
    let address = PeerAddress { peer: node.peer.clone(), addrs: vec![vec![4, 127, 0, 0, 1]] };
    node.handle(Input::OwnAddress { address });
    let limits = RelayLimits { retention_days: 30, queue_envelopes_max: 100, queue_kib_max: 1_024, total_mib_max: 8 };
    node.ask(Request::RelayServe { limits: Some(limits) });
    let used = invite(&mut node);
    let open = invite(&mut node);
    let link = |local: &Node, peer: &Node| Input::LinkUp {
        link: LinkId(1),
        peer: peer.peer.clone(),
        local: local.peer.clone(),
        route: Route::Direct,
    };
    let (up_node, up_contact) = (link(&node, &contact), link(&contact, &node));
    let mut to_contact = node.handle(up_node);
    let mut to_node = contact.handle(up_contact);
    to_node.extend(contact.ask(Request::ContactAdd { link: used.link(), alias: None }));
    let mut seen = Vec::new();
    for _ in 0..50 {
        for bytes in std::mem::take(&mut to_node) {
            seen.push(bytes.clone());
            to_contact.extend(node.handle(Input::Frame { link: LinkId(1), bytes }));
        }
        for bytes in std::mem::take(&mut to_contact) {
            to_node.extend(contact.handle(Input::Frame { link: LinkId(1), bytes }));
        }
    }
    let session = contact.store.scan(Table::Session, &[], None, 1).expect("memory").into_iter().next();
    let session = session.and_then(|(_, value)| value.get(16..).map(<[u8]>::to_vec));
    (node.store, session.expect("the two nodes became contacts"), seen, open)
}

fn invite(node: &mut Node) -> InviteCode {
    node.replies.clear();
    node.ask(Request::InviteCreate { kind: InviteKind::OneTime, ttl_ms: 7 * 86_400_000 });
    let link = node.replies.iter().find_map(|reply| match reply {
        Reply::Invite(view) => Some(view.link.clone()),
        _ => None,
    });
    InviteCode::parse(&link.expect("an invitation without relays is ready at once")).expect("our own link")
}
