//! The contract: one way in, [`Engine::handle`]; one way out, the [`Step`].
//!
//! ```text
//!   mod.rs       passes one input to the parts, gathers one step; no rule of its own
//!   account.rs   own profile, prekeys, presence record     invites.rs   invitations and their cards
//!   contacts.rs  contact requests, decisions, verification handshakes.rs first contact and session resets
//!   links.rs     who is at the other end of a link          inbound.rs   envelopes and what is in them
//!   outbound.rs  sealing and the delivery ladder            relays/      the mailbox client
//!   messages.rs  what a person does with messages           serving.rs   the relay role
//!   couriers.rs  encounters with carriers, and vaccines      bags.rs      mail in a file or a text
//!   sheets.rs    friends who carry                         tags.rs      what this device listens for
//!   pins.rs      messages that stand out                   polls.rs     questions and votes
//!   groups/      groups                               channels/    channels
//! ```

mod account;
mod bags;
mod channels;
mod chats;
mod coming;
mod contacts;
mod couriers;
mod groups;
mod handshakes;
mod inbound;
mod invites;
mod links;
mod messages;
mod outbound;
mod pins;
mod polls;
mod radio_cards;
mod records;
mod relays;
mod serving;
mod sheets;
mod tags;
mod timers;
mod turn;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::carry::routing::Rate;
use crate::carry::sheet::Sheet;
use crate::carry::store::{CarrierStore, Pool};
use crate::chance::Chance;
use crate::delivery::outbox::Outbox;
use crate::group::chain::LetterPlace;
use crate::ids::{
    ChatId, InviteId, LinkId, MessageId, OperationId, PeerAddress, PeerKey, Preimage, QueueRid, SessionId, Tag,
};
use crate::input::{Input, Request, RequestId};
use crate::mailbox::server::MailboxServer;
use crate::radio::RadioPower;
use crate::session::{Session, TagPlace};
use crate::step::{LinkView, Reply, RequestError, Step};
use crate::store::{Store, StoreError};
use crate::time::{Moment, Now, UnixTime};
use crate::wire::proto;

use account::Own;
use channels::Channel;
use coming::Coming;
use contacts::Contact;
use groups::Group;
use invites::Invite;
use links::Link;
use messages::Letter;
use records::state::{ChatRecord, GroupRecord, QueueRecord};
use relays::Relay;
use sheets::Told;
use tags::Tags;
use timers::{Timer, Timers};
use turn::Turn;

/// The core of a node. Owned by one thread, the only caller of [`Engine::handle`].
///
/// A store error leaves the engine unusable: drop it and [`Engine::open`] a fresh one on what was committed.
pub struct Engine {
    chance: Chance,
    own: Option<Own>,
    contacts: BTreeMap<ChatId, Contact>,
    chats: BTreeMap<ChatId, ChatRecord>,
    invites: BTreeMap<InviteId, Invite>,
    sessions: BTreeMap<SessionId, Live>,
    tags: Tags,
    groups: BTreeMap<ChatId, Group>,
    channels: BTreeMap<ChatId, Channel>,
    /// DHT keys looked for where readers of a channel may be: which one, by which keys, of which day since 1970.
    wanted_channels: BTreeMap<[u8; 32], (ChatId, proto::Presence, u32)>,
    /// Bytes of posts handed over to readers, and since when.
    posts_served: (usize, Moment),
    /// Peers that have brought forged posts.
    distrusted: BTreeSet<PeerKey>,
    /// Groups we have asked to be let into.
    joining: BTreeMap<ChatId, GroupRecord>,
    outbox: Outbox,
    links: BTreeMap<LinkId, Link>,
    relays: BTreeMap<PeerKey, Relay>,
    queues: BTreeMap<QueueRid, QueueRecord>,
    address: Option<PeerAddress>,
    /// DHT keys looked for, and whose record they name.
    wanted_records: BTreeMap<[u8; 32], (ChatId, u32)>,
    /// Requests that wait for the network.
    waiting: BTreeMap<RequestId, Waiting>,
    next_relay_request: u64,
    timers: Timers,
    mail: MailboxServer,
    carried: CarrierStore,
    radio_power: RadioPower,
    coming: Coming,
    rate: Rate,
    /// When each peer was last met, by its pool: coming back at once is no new encounter.
    last_met: BTreeMap<Pool, Moment>,
    /// Pickup sheets of friends, and what they were told of ours.
    sheets: BTreeMap<ChatId, Sheet>,
    told: BTreeMap<ChatId, Told>,
    /// People whose sheets went with ours last.
    passed_on: BTreeSet<ChatId>,
    /// Receipts that wait to be published, by when; and until when they must be known.
    unpublished: BTreeMap<(UnixTime, Preimage), UnixTime>,
    /// Receipts that were published, and when: their note stays until the commit that put them into the spool is over.
    published: Vec<(Moment, Preimage)>,
    /// Drawn once a run: tells peers apart, and makes decoys.
    run_key: Option<[u8; 16]>,
    handed_over: u64,
    taken: u64,
    /// The first item that had no room in the last bag.
    bag_from: Option<couriers::Item>,
    /// Stored skipped keys, oldest first.
    skipped: BTreeMap<SessionId, VecDeque<Tag>>,
    /// How far housekeeping has looked through old notes.
    swept_seen: Option<Vec<u8>>,
    swept_gone: Option<Vec<u8>>,
}

/// A session and the tags registered for it.
struct Live {
    chat: ChatId,
    session: Session,
    tags: Vec<(Tag, TagPlace)>,
    /// Number of the receiving chain's next message when the tags were registered.
    registered: (u32, u32),
}

/// Who a tag belongs to.
#[derive(Clone, Copy, Debug)]
enum TagOwner {
    /// A ratchet session.
    Session(SessionId, TagPlace),
    /// First contact by an invite of ours.
    Invite(InviteId, u32),
    /// A session reset by a contact.
    Reset(ChatId, u32),
    /// A sender's chain of a group.
    Group(ChatId, LetterPlace),
    /// The own slice of a rekey of a group.
    Slice(ChatId, OperationId),
}

/// A request that waits for the network.
#[derive(Debug)]
enum Waiting {
    /// A ping: its nonce, and when it left.
    Ping { chat: ChatId, nonce: Vec<u8>, sent: Moment },
    /// An invitation whose card is on its way to relays.
    Invite { id: InviteId, left: BTreeSet<PeerKey> },
    /// A relay that has to answer first.
    Relay { peer: PeerKey },
}

impl Engine {
    /// Opens the engine on what was committed. `seed` must come fresh from the operating system at every start.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read or holds records that do not decode.
    pub fn open(store: &dyn Store, seed: [u8; 32], now: Now) -> Result<(Self, Step), StoreError> {
        let mut chance = Chance::from_seed(seed);
        let mut turn = Turn::new(now, store);
        let (mail, mail_writes) = MailboxServer::open(store, now, &mut chance)?;
        turn.extend(mail_writes);
        let mut engine = Self {
            chance,
            own: None,
            contacts: BTreeMap::new(),
            chats: BTreeMap::new(),
            invites: BTreeMap::new(),
            sessions: BTreeMap::new(),
            tags: Tags::default(),
            groups: BTreeMap::new(),
            channels: BTreeMap::new(),
            wanted_channels: BTreeMap::new(),
            posts_served: (0, Moment(0)),
            distrusted: BTreeSet::new(),
            joining: BTreeMap::new(),
            outbox: Outbox::default(),
            links: BTreeMap::new(),
            relays: BTreeMap::new(),
            queues: BTreeMap::new(),
            address: None,
            wanted_records: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next_relay_request: 1,
            timers: Timers::default(),
            mail,
            carried: CarrierStore::default(),
            radio_power: RadioPower::default(),
            coming: Coming::default(),
            rate: Rate::default(),
            unpublished: BTreeMap::new(),
            published: Vec::new(),
            last_met: BTreeMap::new(),
            sheets: BTreeMap::new(),
            told: BTreeMap::new(),
            passed_on: BTreeSet::new(),
            run_key: None,
            handed_over: 0,
            taken: 0,
            bag_from: None,
            skipped: BTreeMap::new(),
            swept_seen: None,
            swept_gone: None,
        };
        engine.load(&mut turn)?;
        engine.timers.set(Timer::Housekeeping, now.moment);
        engine.timers.set(Timer::MailSweep, now.moment);
        engine.arm_expiry(&mut turn)?;
        for peer in engine.relays.keys().cloned().collect::<Vec<_>>() {
            engine.timers.set(Timer::DialRelay(peer), now.moment);
        }
        for chat in engine.contacts.keys().copied().collect::<Vec<_>>() {
            engine.timers.set(Timer::FindContact(chat), now.moment);
            engine.timers.set(Timer::Retry(chat), now.moment);
        }
        engine.run_timers(&mut turn)?;
        engine.open_what_was_carried(&mut turn)?;
        Ok((engine, turn.finish()))
    }

    /// Handles one input: decides, changes its memory, and says what to commit, send, answer and tell.
    ///
    /// # Errors
    /// [`StoreError`] when the store fails; the engine must then be dropped and opened again. Whatever a peer or a
    /// person does wrong is an ordinary step.
    pub fn handle(&mut self, input: Input, now: Now, store: &dyn Store) -> Result<Step, StoreError> {
        let mut turn = Turn::new(now, store);
        match input {
            Input::Request { id, request } => self.request(id, *request, &mut turn)?,
            Input::LinkUp { link, peer, local, route } => self.link_up(link, peer, local, route, &mut turn)?,
            Input::LinkRoute { link, route } => self.link_route(link, route, &mut turn)?,
            Input::Frame { link, bytes } => self.frame(link, &bytes, &mut turn)?,
            Input::LinkDown { link } => self.link_down(link, &mut turn)?,
            Input::Nearby { address } => self.nearby(address, &mut turn),
            Input::OwnAddress { address } => self.own_address(address, &mut turn),
            Input::Record { key, value } => self.record_found(&key, &value, &mut turn)?,
            // The next dial is armed already; what waits for the peer waits on.
            Input::DialFailed { .. } | Input::Wake => {}
        }
        self.run_timers(&mut turn)?;
        self.open_what_was_carried(&mut turn)?;
        Ok(turn.finish())
    }

    /// When [`Input::Wake`] is wanted; it replaces any earlier wish.
    pub fn next_wake(&self) -> Option<Moment> {
        self.timers.next()
    }

    /// The seed of the key under which this node's relay role is known; stable for the life of the node.
    pub fn relay_seed(&self) -> [u8; 32] {
        self.mail.relay_seed()
    }

    /// Links that are up, as far as a person may want to know them.
    pub fn link_views(&self) -> Vec<LinkView> {
        let view = |(link, known): (&LinkId, &Link)| LinkView {
            link: *link,
            chat: known.chat,
            route: known.route,
            carries: known.carries,
            up_at: known.up_at,
        };
        self.links.iter().map(view).collect()
    }

    /// True while the relay role is on.
    pub fn serves_as_relay(&self) -> bool {
        self.mail.limits().is_some()
    }

    fn run_timers(&mut self, turn: &mut Turn) -> Result<(), StoreError> {
        while let Some(timer) = self.timers.pop_due(turn.now.moment) {
            match timer {
                Timer::Retry(chat) => self.drive_all(chat, turn)?,
                Timer::FindContact(chat) => self.find_contact(chat, turn),
                Timer::DialRelay(peer) => self.dial_relay(&peer, turn),
                Timer::RelayAnswer(peer) => self.relay_silent(&peer, turn),
                Timer::Collect(peer) => self.look_again(&peer, turn)?,
                Timer::Unproven(link) => self.close_unproven(link, turn),
                Timer::Request(id) => self.request_timed_out(id, turn),
                Timer::Expire => self.expire_items(turn)?,
                Timer::Housekeeping => self.housekeeping(turn)?,
                Timer::MailSweep => self.mail_sweep(turn)?,
                Timer::SweepCarried => self.sweep_carried(turn),
                Timer::Publish => self.publish_due(turn),
                Timer::AskAgain => self.ask_again(turn),
                Timer::TellAddresses => self.tell_addresses(turn)?,
                Timer::CompareLetters => self.compare_everywhere(turn),
                Timer::AskOperations(chat) => self.ask_operations(chat, turn),
                Timer::TellReceipts(chat) => self.tell_receipts(chat, turn),
                Timer::AskForLetters => self.ask_everywhere(turn),
                Timer::LettersOverdue => self.letters_overdue(turn),
                Timer::TellSeen(chat) => self.tell_seen(chat, turn)?,
                Timer::RekeyGroup(chat) => self.rekey_if_due(chat, turn)?,
                Timer::Checkpoint(chat) => self.checkpoint_timer(chat, turn)?,
                Timer::Complement(chat) => self.complement_newcomers(chat, turn)?,
                Timer::AskSlices(chat) => self.ask_everybody_for_slices(chat, turn),
                Timer::FindChannel(chat) => self.find_channel(chat, turn),
                Timer::ComparePosts => self.compare_posts(turn),
                Timer::PostsOverdue => self.posts_overdue(turn),
            }
        }
        Ok(())
    }

    fn request(&mut self, id: RequestId, request: Request, turn: &mut Turn) -> Result<(), StoreError> {
        // Without an answer it comes later, by the network or by a time-out.
        if let Some(answer) = self.answer(id, request, turn)? {
            turn.reply(id, answer);
        }
        Ok(())
    }

    /// `Ok(None)`: the reply comes later.
    fn answer(&mut self, id: RequestId, request: Request, turn: &mut Turn) -> Result<Option<Answer>, StoreError> {
        let answer = match request {
            Request::CreateAccount { name } => self.create_account(&name, turn),
            Request::RelayServe { limits } => self.serve(limits, turn),
            Request::RelayStatus => Ok(Reply::RelayStatus(self.mail.status())),
            Request::Status => Ok(Reply::Status(self.status_view())),
            _ if self.own.is_none() => Err(RequestError::NoAccount),
            Request::SetCarry(settings) => self.set_carry(settings, turn),
            Request::SetRadioPower(power) => self.set_radio_power(power, turn),
            Request::PackBag { chat, bytes_max } => self.pack_bag(chat, bytes_max, turn)?,
            Request::OpenBag { bag } => self.open_bag(&bag, turn)?,
            Request::SetCarrier { chat, on } => self.set_carrier(chat, on, turn),
            Request::MeshStatus => Ok(Reply::Mesh(self.mesh_view(turn.now.moment))),
            Request::Me => self.me(),
            Request::RecoveryWords => self.recovery_words(),
            Request::SetProfile { name, status, avatar } => self.set_profile(name, status, avatar, turn)?,
            Request::SetPrivacy { read_receipts, typing } => self.set_privacy(read_receipts, typing, turn),
            Request::InviteCreate { kind, ttl_ms } => return self.invite_create(id, kind, ttl_ms, None, turn),
            Request::InviteList => Ok(Reply::Invites(self.invite_views(turn.now.unix))),
            Request::InviteRevoke { id } => self.invite_revoke(id, turn),
            Request::ContactAdd { link, alias } => self.contact_add(&link, alias, turn)?,
            Request::ContactList => Ok(Reply::Contacts(self.contact_views())),
            Request::Contact { chat } => self.contact_reply(&chat),
            Request::ContactVerify { chat, code } => self.contact_verify(chat, code, turn),
            Request::ContactAcceptKey { chat } => self.contact_accept_key(chat, turn)?,
            Request::ContactDecide { chat, accept } => self.contact_decide(chat, accept, turn)?,
            Request::ContactBlock { chat, block } => self.contact_block(chat, block, turn)?,
            Request::ContactRemove { chat } => self.contact_remove(chat, turn)?,
            Request::ContactSet { chat, alias, presence, read_receipts, typing } => {
                self.contact_set(chat, alias, presence, read_receipts, typing, turn)?
            }
            Request::Send { chat, body, reply_to, expire_s, client_id, ttl_s, no_infra } => {
                let letter = Letter { body, reply_to, expire_s, client_id, ttl_s, no_infra, poll: None };
                self.send_text(chat, letter, turn)?
            }
            Request::Poll { chat, question, options, choices_max, ends_in_s, client_id } => {
                let asked = polls::Question { body: question, options, choices_max, ends_in_s, client_id };
                self.send_poll(chat, asked, turn)?
            }
            Request::Edit { id, body } => self.edit(id, body, turn)?,
            Request::Delete { ids, for_both } => self.delete(&ids, for_both, turn)?,
            Request::React { id, emoji, remove } => self.react(id, emoji, remove, turn)?,
            Request::ChatList => self.chat_list(turn)?,
            Request::Chat { chat } => self.chat_reply(chat, turn)?,
            Request::ChatSet { chat, mute_s, archived, draft } => self.chat_set(chat, mute_s, archived, draft, turn)?,
            Request::Vote { id, choices } => self.vote(id, &choices, turn)?,
            Request::Pin { id, remove } => self.pin(id, remove, turn)?,
            Request::MarkRead { chat, upto } => self.mark_read(chat, upto, turn)?,
            Request::Typing { chat, on } => self.typing(chat, on, turn)?,
            Request::Trace { id } => self.trace(id, turn)?,
            Request::SetRetention { chat, seconds } => self.set_retention(chat, seconds, turn)?,
            Request::RelayAdd { address } => return self.relay_add(id, address, turn),
            Request::RelayList => Ok(Reply::Relays(self.relay_views())),
            Request::RelayRemove { peer } => self.relay_remove(&peer, turn)?,
            request @ (Request::GroupCreate { .. }
            | Request::GroupList
            | Request::Group { .. }
            | Request::GroupSet { .. }
            | Request::GroupAdd { .. }
            | Request::GroupRemove { .. }
            | Request::GroupSetRole { .. }
            | Request::GroupMute { .. }
            | Request::GroupLeave { .. }
            | Request::GroupInvite { .. }
            | Request::GroupLinkRevoke { .. }
            | Request::GroupJoin { .. }
            | Request::GroupDecide { .. }
            | Request::Deliveries { .. }) => return self.group_request(id, request, turn),
            request @ (Request::ChannelCreate { .. }
            | Request::ChannelJoin { .. }
            | Request::ChannelLeave { .. }
            | Request::ChannelList
            | Request::Channel { .. }
            | Request::ChannelSet { .. }
            | Request::ChannelLink { .. }) => self.channel_request(request, turn)?,
            Request::Ping { chat, timeout_ms } => return self.ping(id, chat, timeout_ms, turn),
        };
        Ok(Some(answer))
    }

    fn request_timed_out(&mut self, id: RequestId, turn: &mut Turn) {
        let answer = match self.waiting.remove(&id) {
            None => return,
            Some(Waiting::Ping { .. }) => Err(RequestError::Timeout),
            Some(Waiting::Invite { id, .. }) => self.invite_reply(&id).unwrap_or(Err(RequestError::NotFound("invite"))),
            Some(Waiting::Relay { peer }) => Ok(self.relay_reply(&peer)),
        };
        turn.reply(id, answer);
    }

    /// Answers a waiting request before its time is over.
    fn settle(&mut self, id: RequestId, answer: Answer, turn: &mut Turn) {
        self.timers.cancel(&Timer::Request(id));
        self.waiting.remove(&id);
        turn.reply(id, answer);
    }
}

/// What a request came to.
type Answer = Result<Reply, RequestError>;

/// There is no such thing here.
fn not_found<T>(what: &'static str) -> Result<T, RequestError> {
    Err(RequestError::NotFound(what))
}

/// Fixed-length ids out of stored bytes: ours, so a wrong length is a damaged store and simply matches nothing.
fn message_id(bytes: &[u8]) -> Option<MessageId> {
    MessageId::read(bytes)
}
