//! The invariants of the threat model, checked at every step from what leaves a node and what it commits.
//!
//! | | |
//! |---|---|
//! | I1 | acknowledged means durable: what counts as delivered is on the receiver's disk, what counts as held on the relay's; what is in `custody` is not given up without a reason |
//! | I2 | a message is shown at most once, and histories show each author's messages in the author's order |
//! | I3 | a tag never carries two different ciphertexts of one node, and what leaves is what was stored |
//! | I4 | rejected input changes nothing (checked by the driver) |
//! | I5 | a shown message was written by the account it is shown under, to this account, with this text |
//! | I8 | tables, queues and frames stay within `limits` |

use std::collections::{BTreeMap, BTreeSet};

use silbo_protocol::ids::{AccountId, ChatId, MessageId};
use silbo_protocol::limits;
use silbo_protocol::step::{DeliveryState, Event, EventKind, Reply, RequestError};
use silbo_protocol::store::{ItemRow, Store, Table, Write};
use silbo_protocol::wire::envelope::{Class, Envelope};
use silbo_protocol::wire::frame::Frame;
use silbo_protocol::wire::proto::GroupSync;
use silbo_protocol::wire::proto::group_sync::S;
use silbo_protocol::wire::proto::mbox_req::Op;

use crate::custody::{OutboxEntry, letter_envelope};
use crate::node::NodeId;
use crate::world::World;

/// Where the tag of an envelope is.
const TAG: std::ops::Range<usize> = 4..16;

/// What the world remembers to judge by.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    written: BTreeMap<MessageId, Written>,
    shown: BTreeSet<(NodeId, MessageId)>,
    ciphertexts: BTreeMap<(NodeId, [u8; 12]), blake3::Hash>,
    deposits: BTreeMap<(NodeId, Vec<u8>), Vec<u8>>,
    /// By node, conversation and author.
    histories: BTreeMap<(NodeId, ChatId, NodeId), History>,
    mail: BTreeMap<[u8; 12], Mail>,
    sealed: BTreeSet<MessageId>,
    readers: BTreeMap<ChatId, NodeId>,
    /// Nodes whose disk was set back: what they send may have the keys of what they sent before.
    copied: BTreeSet<NodeId>,
}

/// An envelope, by its tag.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mail {
    /// Who sealed it.
    pub(crate) author: NodeId,
    /// It carries a message, not control.
    pub(crate) is_message: bool,
    /// The message, when it is the first envelope that names it.
    message: Option<MessageId>,
}

/// What went over links.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// Frames that were handed to links.
    pub frames: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Frames and bytes by what they are for.
    pub kinds: BTreeMap<&'static str, (u64, u64)>,
    /// Bytes to and from the node that is watched ([`World::watch`]).
    pub watched: u64,
    /// How often one node opened a comparison of a group's letters with another.
    pub comparisons: BTreeMap<(NodeId, NodeId), u32>,
}

impl Ledger {
    /// Whose envelope carries a tag.
    pub(crate) fn mail_of(&self, tag: &[u8; 12]) -> Option<Mail> {
        self.mail.get(tag).copied()
    }

    /// An envelope is in an outbox.
    fn note_mail(&mut self, tag: [u8; 12], author: NodeId, message: Option<MessageId>) {
        if !self.mail.contains_key(&tag) {
            let first = message.filter(|message| self.sealed.insert(*message));
            self.mail.insert(tag, Mail { author, is_message: message.is_some(), message: first });
        }
    }

    /// A node is a copy of what it was.
    pub(crate) fn note_copied(&mut self, node: NodeId) {
        self.copied.insert(node);
    }

    /// A node has an account, which others know by this conversation.
    pub(crate) fn note_account(&mut self, chat: ChatId, node: NodeId) {
        self.readers.insert(chat, node);
    }
}

/// A message as its author committed it.
#[derive(Debug)]
struct Written {
    author: NodeId,
    chat: ChatId,
    texts: Vec<String>,
    order: usize,
}

/// Messages of one author in one conversation of one node: by place on the screen, their order of writing.
#[derive(Debug, Default)]
struct History {
    places: BTreeMap<Place, usize>,
    by_id: BTreeMap<MessageId, Place>,
}

type Place = (u64, u64, MessageId);

impl World {
    /// What a node is about to hand to a link.
    pub(crate) fn check_sent(&mut self, id: NodeId, to: Option<NodeId>, bytes: &[u8]) {
        let frame = match Frame::decode(bytes) {
            Ok(frame) => frame,
            Err(error) => return self.broken("I8", id, format!("sent bytes that are no frame: {error}")),
        };
        self.traffic.frames += 1;
        self.traffic.bytes += bytes.len() as u64;
        let kind = self.traffic.kinds.entry(kind_of(&frame)).or_default();
        *kind = (kind.0 + 1, kind.1 + bytes.len() as u64);
        if self.watched.is_some() && (self.watched == Some(id) || self.watched == to) {
            self.traffic.watched += bytes.len() as u64;
        }
        match frame {
            Frame::GroupSync(GroupSync { s: Some(S::Opening(_)), .. }) => {
                if let Some(to) = to {
                    *self.traffic.comparisons.entry((id, to)).or_default() += 1;
                }
            }
            Frame::Envelopes(list) => self.check_ciphertexts(id, &list),
            Frame::Parcels(parcels) => {
                for parcel in parcels {
                    if self.is_author(id, &parcel.envelope) {
                        self.check_ciphertexts(id, &[parcel.envelope]);
                    }
                }
            }
            Frame::MboxReq(request) => {
                if let Some(Op::Deposit(deposit)) = request.op {
                    self.check_ciphertexts(id, &deposit.env);
                }
            }
            Frame::MboxRes(answer) => {
                for cid in answer.held.into_iter().flat_map(|held| held.cids) {
                    self.check_held(id, cid);
                }
            }
            _ => {}
        }
    }

    /// Remembers what is on its way into a relay.
    pub(crate) fn note_deposit(&mut self, relay: NodeId, bytes: &[u8]) {
        if self.nodes[relay.0].serves.is_none() {
            return;
        }
        if let Ok(Frame::MboxReq(request)) = Frame::decode(bytes)
            && let Some(Op::Deposit(deposit)) = request.op
        {
            for envelope in deposit.env {
                let cid = blake3::hash(&envelope).as_bytes()[..16].to_vec();
                self.ledger.deposits.insert((relay, cid), envelope);
            }
        }
    }

    /// A step has been committed.
    pub(crate) fn check_committed(&mut self, id: NodeId, writes: &[Write]) {
        for write in writes {
            match write {
                Write::AppendEvent(event) => self.check_event(id, event),
                Write::Put { table, key, value } => {
                    if *table == Table::Outbox
                        && let Some(entry) = OutboxEntry::read(value)
                    {
                        self.ledger.note_mail(entry.tag, id, entry.message);
                        self.check_ciphertext(id, entry.tag, entry.envelope);
                    }
                    if *table == Table::GroupLetter
                        && let Some(bytes) = letter_envelope(value)
                        && let Ok(envelope) = Envelope::parse(bytes)
                    {
                        self.check_ciphertext(id, envelope.tag.0, bytes);
                    }
                    if *table == Table::Vaccine {
                        self.check_vaccine(id, key);
                    }
                    self.check_bounds(id, *table, key);
                }
                _ => {}
            }
        }
        for write in writes {
            match write {
                Write::PutItem(row) => self.check_place(id, row),
                Write::EraseItem { chat, id: message } => self.forget_place(id, chat, message),
                Write::EraseChat { chat } => {
                    self.ledger.histories.retain(|(node, of, _), _| (*node, of) != (id, chat));
                }
                _ => {}
            }
        }
    }

    /// A node says that a request is done.
    pub(crate) fn check_reply(&mut self, id: NodeId, reply: &Result<Reply, RequestError>) {
        if let Ok(Reply::Message { id: message, chat, .. }) = reply
            && !self.holds(id, chat, message)
        {
            self.broken("I1", id, format!("answered that {message} is written, and it is not on disk"));
        }
    }

    /// What a node hands out of its own is what it has stored; only what is never stored comes unannounced.
    fn check_ciphertexts(&mut self, id: NodeId, envelopes: &[Vec<u8>]) {
        for bytes in envelopes {
            let Ok(envelope) = Envelope::parse(bytes) else {
                return self.broken("I8", id, String::from("sent an envelope that is none"));
            };
            let tag = envelope.tag.0;
            if envelope.head.class != Class::Live && !self.ledger.ciphertexts.contains_key(&(id, tag)) {
                return self.broken(
                    "I3",
                    id,
                    format!("sent the envelope {tag:02x?}, which is not the one it has stored"),
                );
            }
            self.check_ciphertext(id, tag, bytes);
        }
    }

    fn check_ciphertext(&mut self, id: NodeId, tag: [u8; 12], envelope: &[u8]) {
        // Two devices with the keys of one. A letter that is kept for others does not say whose it is.
        let author = self.ledger.mail_of(&tag).map(|mail| mail.author);
        if !self.ledger.copied.is_empty() && author.is_none_or(|author| self.ledger.copied.contains(&author)) {
            return;
        }
        let hash = blake3::hash(envelope);
        let first = *self.ledger.ciphertexts.entry((id, tag)).or_insert(hash);
        if first != hash {
            self.broken("I3", id, format!("made two different envelopes under tag {tag:02x?}"));
        }
    }

    fn is_author(&self, id: NodeId, envelope: &[u8]) -> bool {
        let tag = envelope.get(TAG).and_then(|tag| <[u8; 12]>::try_from(tag).ok());
        tag.and_then(|tag| self.ledger.mail_of(&tag)).is_some_and(|mail| mail.author == id)
    }

    fn check_held(&mut self, relay: NodeId, cid: Vec<u8>) {
        let Some(envelope) = self.ledger.deposits.get(&(relay, cid)) else {
            return self.broken("I1", relay, String::from("signed for an envelope that it never got"));
        };
        let store = self.nodes[relay.0].disk.store();
        let held = store.pairs(Table::MailItem).any(|(_, value)| contains(value, envelope));
        let tag = envelope.get(TAG).unwrap_or_default();
        let collected = store.pairs(Table::MailReceipt).any(|(key, _)| key.ends_with(tag));
        if !held && !collected {
            self.broken("I1", relay, String::from("signed for an envelope that is not on its disk"));
        }
    }

    fn check_event(&mut self, id: NodeId, event: &Event) {
        let (Some(chat), Some(message)) = (event.chat, event.message) else { return };
        match &event.kind {
            EventKind::MessageSent { body } => self.note_written(id, chat, message, body),
            EventKind::MessageEdited { body, .. } => {
                if let Some(written) = self.ledger.written.get_mut(&message).filter(|written| written.author == id) {
                    written.texts.push(body.clone());
                }
            }
            EventKind::MessageReceived { body, author, .. } => self.check_shown(id, chat, message, body, *author),
            EventKind::MessageState { state, .. } => self.check_state(id, chat, message, *state),
            _ => {}
        }
    }

    fn note_written(&mut self, id: NodeId, chat: ChatId, message: MessageId, body: &str) {
        let order = self.ledger.written.len();
        let written = Written { author: id, chat, texts: vec![body.to_owned()], order };
        if self.ledger.written.insert(message, written).is_some() {
            self.broken("I2", id, format!("{message} was written twice"));
        }
    }

    fn check_shown(&mut self, id: NodeId, chat: ChatId, message: MessageId, body: &str, author: Option<AccountId>) {
        if !self.ledger.shown.insert((id, message)) {
            return self.broken("I2", id, format!("{message} ({body:?}) was shown twice"));
        }
        let Some(written) = self.ledger.written.get(&message) else {
            return self.broken("I5", id, format!("{message} ({body:?}) was shown and nobody wrote it"));
        };
        let of_group = written.chat == chat && author == self.nodes[written.author.0].account;
        let of_channel = written.chat == chat && author.is_none() && self.nodes[id.0].chat() != Some(chat);
        let of_group = of_group || of_channel;
        let author_is_right = of_group || self.nodes[written.author.0].chat() == Some(chat);
        let reader_is_right = of_group || self.nodes[id.0].chat() == Some(written.chat);
        if !author_is_right || !reader_is_right || !written.texts.iter().any(|text| text == body) {
            self.broken("I5", id, format!("{message} ({body:?}) was shown under the wrong author, reader or text"));
        }
    }

    fn check_state(&mut self, id: NodeId, chat: ChatId, message: MessageId, state: DeliveryState) {
        let is_final =
            |state: &DeliveryState| matches!(state, DeliveryState::Delivered { .. } | DeliveryState::Read { .. });
        if self.nodes[id.0].states.get(&message).is_some_and(is_final) && !is_final(&state) {
            self.broken("I1", id, format!("{message} went back from delivered to {state:?}"));
        }
        if !is_final(&state) {
            return;
        }
        let known = self.ledger.readers.get(&chat).copied().filter(|node| self.nodes[node.0].chat() == Some(chat));
        let reader = known.or_else(|| self.nodes.iter().find(|node| node.chat() == Some(chat)).map(|node| node.id));
        let author_chat = self.nodes[id.0].chat();
        let (Some(reader), Some(author_chat)) = (reader, author_chat) else { return };
        if !self.holds(reader, &author_chat, &message) {
            let name = self.nodes[reader.0].name.clone();
            self.broken("I1", id, format!("{message} counts as delivered, and {name} has not stored it"));
        }
    }

    /// A node keeps a proof that an envelope has arrived.
    fn check_vaccine(&mut self, id: NodeId, key: &[u8]) {
        let mail = <[u8; 12]>::try_from(key).ok().and_then(|tag| self.ledger.mail_of(&tag));
        let Some((mail, message)) = mail.and_then(|mail| Some((mail, mail.message?))) else { return };
        let Some(chat) = self.ledger.written.get(&message).map(|written| written.chat) else { return };
        let reader = self.ledger.readers.get(&chat).copied().filter(|node| self.nodes[node.0].chat() == Some(chat));
        let (Some(reader), Some(author_chat)) = (reader, self.nodes[mail.author.0].chat()) else { return };
        if !self.holds(reader, &author_chat, &message) {
            let name = self.nodes[reader.0].name.clone();
            self.broken("I1", id, format!("keeps a proof that {message} has arrived, and {name} has not stored it"));
        }
    }

    /// A node has the message, or has deleted it and knows.
    fn holds(&self, id: NodeId, chat: &ChatId, message: &MessageId) -> bool {
        let node = &self.nodes[id.0];
        let store = node.disk.store();
        let there = store.item(chat, message).is_ok_and(|row| row.is_some());
        let gone = || store.pairs(Table::Gone).any(|(key, _)| contains(key, message.as_bytes()));
        let removed =
            || node.events.iter().any(|event| event.chat == Some(*chat) && event.kind == EventKind::ContactRemoved);
        let ended = || {
            let mut own = node.events.iter().filter(|event| event.message == Some(*message));
            own.any(|event| matches!(event.kind, EventKind::MessageDeleted { .. } | EventKind::MessageExpired))
        };
        there || gone() || ended() || removed()
    }

    fn check_place(&mut self, id: NodeId, row: &ItemRow) {
        self.forget_place(id, &row.chat, &row.id);
        let Some(written) = self.ledger.written.get(&row.id).filter(|_| row.visible) else { return };
        let place = (row.lamport, row.sent_at.0, row.id);
        let order = written.order;
        let history = self.ledger.histories.entry((id, row.chat, written.author)).or_default();
        let before = history.places.range(..place).next_back().map(|(_, order)| *order);
        let behind = history.places.range(place..).next().map(|(_, order)| *order);
        history.places.insert(place, order);
        history.by_id.insert(row.id, place);
        if before.is_some_and(|before| before > order) || behind.is_some_and(|behind| behind < order) {
            self.broken("I2", id, format!("{} ({:?}) stands in the wrong place of the history", row.id, row.body));
        }
    }

    fn forget_place(&mut self, id: NodeId, chat: &ChatId, message: &MessageId) {
        let (first, last) = ((id, *chat, NodeId(0)), (id, *chat, NodeId(usize::MAX)));
        for (_, history) in self.ledger.histories.range_mut(first..=last) {
            if let Some(place) = history.by_id.remove(message) {
                history.places.remove(&place);
            }
        }
    }

    fn check_bounds(&mut self, id: NodeId, table: Table, key: &[u8]) {
        let store = self.nodes[id.0].disk.store();
        let (count, max) = match table {
            Table::Contact => (store.count(table), limits::CONTACTS_MAX),
            Table::Invite => (store.count(table), limits::INVITES_MAX),
            Table::Skipped => (store.count(table), limits::SKIPPED_KEYS_MAX),
            Table::Outbox => (store.count(table), limits::OUTBOX_MAX),
            Table::Pending => (store.count(table), limits::PENDING_REQUESTS_MAX),
            Table::Relay => (store.count(table), limits::RELAYS_MAX),
            Table::MailItem => {
                let queue = key.get(..16).unwrap_or_default();
                let max = limits::QUEUE_ENVELOPES_MAX as usize;
                (store.scan(table, queue, None, max + 1).map_or(0, |pairs| pairs.len()), max)
            }
            _ => return,
        };
        if count > max {
            self.broken("I8", id, format!("{count} entries in {table:?}, {max} allowed"));
        }
    }
}

/// What a frame is for.
fn kind_of(frame: &Frame) -> &'static str {
    match frame {
        Frame::GroupSync(GroupSync { s: Some(S::Letters(_)), .. }) => "letters",
        Frame::GroupSync(GroupSync { s: Some(S::Have(_)), .. }) => "announced",
        Frame::GroupSync(GroupSync { s: Some(S::Want(_)), .. }) => "wanted",
        Frame::GroupSync(GroupSync { s: Some(S::Got(_) | S::Receipts(_)), .. }) => "confirmed",
        Frame::GroupSync(GroupSync { s: Some(S::Opening(_) | S::Answer(_) | S::Reconcile(_)), .. }) => "compared",
        Frame::GroupSync(GroupSync { s: Some(S::WantOps(_) | S::Ops(_)), .. }) => "operations",
        Frame::GroupSync(GroupSync { s: Some(S::SliceWant(_) | S::Slices(_)), .. }) => "slices",
        Frame::ChannelSync(_) => "channels",
        Frame::Envelopes(_) | Frame::Receipts(_) => "envelopes",
        _ => "rest",
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty() && haystack.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use silbo_protocol::step::Path;
    use silbo_protocol::time::UnixTime;
    use silbo_protocol::wire::encounter::WireParcel;

    use super::*;
    use crate::failure::Failure;

    const MESSAGE: MessageId = MessageId([7; 12]);

    fn broken(world: &World) -> Option<&'static str> {
        match world.failure() {
            Some(Failure::Broken { invariant, .. }) => Some(invariant),
            _ => None,
        }
    }

    fn event(chat: ChatId, kind: EventKind) -> Write {
        Write::AppendEvent(Event { at: UnixTime(1), chat: Some(chat), message: Some(MESSAGE), kind })
    }

    fn received(body: &str) -> EventKind {
        EventKind::MessageReceived {
            body: body.to_owned(),
            sent_at: UnixTime(1),
            reply_to: None,
            path: Path::Relay,
            author: None,
            mentions_me: false,
            muted: false,
        }
    }

    fn row(chat: ChatId, id: u8, lamport: u64) -> Write {
        Write::PutItem(Box::new(ItemRow {
            chat,
            id: MessageId([id; 12]),
            lamport,
            sent_at: UnixTime(1),
            stored_at: UnixTime(1),
            outgoing: true,
            author: None,
            visible: true,
            body: String::from("text"),
            state: 0,
            expires_at: UnixTime(0),
            slot: Vec::new(),
        }))
    }

    /// Ann and Ben, and how each names the conversation with the other.
    fn two_people() -> (World, NodeId, NodeId, ChatId, ChatId) {
        let mut world = World::new(1);
        let ann = world.person("ann").expect("an account is made");
        let ben = world.person("ben").expect("an account is made");
        let chats = (world.chat_of(ann).expect("just made"), world.chat_of(ben).expect("just made"));
        (world, ann, ben, chats.0, chats.1)
    }

    #[test]
    fn i1_a_delivered_message_that_the_reader_does_not_hold_is_found() {
        let (mut world, ann, _, _, with_ben) = two_people();
        let state = DeliveryState::Delivered { at: UnixTime(1) };
        world.check_committed(ann, &[event(with_ben, EventKind::MessageState { state, path: None })]);
        assert_eq!(broken(&world), Some("I1"));
    }

    #[test]
    fn i2_a_message_shown_twice_is_found() {
        let (mut world, ann, ben, with_ann, with_ben) = two_people();
        world.check_committed(ann, &[event(with_ben, EventKind::MessageSent { body: String::from("hi") })]);
        world.check_committed(ben, &[event(with_ann, received("hi"))]);
        assert_eq!(broken(&world), None);
        world.check_committed(ben, &[event(with_ann, received("hi"))]);
        assert_eq!(broken(&world), Some("I2"));
    }

    #[test]
    fn i2_a_history_in_another_order_than_it_was_written_is_found() {
        let (mut world, ann, _, _, with_ben) = two_people();
        world.note_written(ann, with_ben, MessageId([1; 12]), "first");
        world.note_written(ann, with_ben, MessageId([2; 12]), "second");
        world.check_committed(ann, &[row(with_ben, 1, 5), row(with_ben, 2, 6)]);
        assert_eq!(broken(&world), None);
        world.check_committed(ann, &[row(with_ben, 2, 4)]);
        assert_eq!(broken(&world), Some("I2"));
    }

    /// An envelope of control, and the outbox entry that holds it.
    fn sealed(filling: u8) -> (Vec<u8>, Write) {
        let mut envelope = vec![filling; 64];
        envelope[0] = 1 << 5;
        let mut value = [&[0x0a, 12], &envelope[TAG], &[0x22, 64]].concat();
        value.extend_from_slice(&envelope);
        (envelope, Write::Put { table: Table::Outbox, key: vec![filling; 24], value })
    }

    #[test]
    fn i3_two_ciphertexts_under_one_tag_are_found() {
        let (mut world, ann, ..) = two_people();
        let (mut envelope, entry) = sealed(3);
        world.check_committed(ann, &[entry]);
        world.check_sent(ann, None, &Frame::Envelopes(vec![envelope.clone()]).encode());
        world.check_sent(ann, None, &Frame::Envelopes(vec![envelope.clone()]).encode());
        assert_eq!(broken(&world), None);
        envelope[40] ^= 1;
        world.check_sent(ann, None, &Frame::Envelopes(vec![envelope]).encode());
        assert_eq!(broken(&world), Some("I3"));
    }

    #[test]
    fn i3_two_ciphertexts_under_one_tag_are_found_when_a_carrier_gets_the_second() {
        let (mut world, ann, ben, ..) = two_people();
        let (mut envelope, entry) = sealed(3);
        world.check_committed(ann, &[entry]);
        envelope[40] ^= 1;
        let parcel = WireParcel { copies: 1, hops: 0, age_min: 0, envelope };
        // What somebody else hands on is not of their making.
        world.check_sent(ben, None, &Frame::Parcels(vec![parcel.clone()]).encode());
        assert_eq!(broken(&world), None);
        world.check_sent(ann, None, &Frame::Parcels(vec![parcel]).encode());
        assert_eq!(broken(&world), Some("I3"));
    }

    #[test]
    fn i3_an_envelope_that_was_never_stored_is_found_when_it_leaves() {
        let (mut world, ann, ..) = two_people();
        world.check_sent(ann, None, &Frame::Envelopes(vec![sealed(3).0]).encode());
        assert_eq!(broken(&world), Some("I3"));
    }

    #[test]
    fn i5_a_message_under_the_wrong_text_is_found() {
        let (mut world, ann, ben, with_ann, with_ben) = two_people();
        world.check_committed(ann, &[event(with_ben, EventKind::MessageSent { body: String::from("yes") })]);
        world.check_committed(ben, &[event(with_ann, received("no"))]);
        assert_eq!(broken(&world), Some("I5"));
    }

    #[test]
    fn i8_bytes_that_are_no_frame_are_found_when_they_leave() {
        let (mut world, ann, ..) = two_people();
        world.check_sent(ann, None, &[0x7f, 1, 2]);
        assert_eq!(broken(&world), Some("I8"));
    }
}
