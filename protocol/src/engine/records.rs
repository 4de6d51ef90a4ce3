//! Loading what was committed, and writing records back.

use prost::Message;

use super::account::Own;
use super::contacts::Contact;
use super::invites::Invite;
use super::relays::Relay;
use super::turn::Turn;
use super::{Engine, Live};
use crate::crypto::hash::cid;
use crate::delivery::outbox::{Departure, Deposit, Flight, entry_key};
use crate::ids::{ChatId, InviteId, MessageId, PeerKey, Preimage, QueueRid, QueueSid, SessionId, Tag};
use crate::session::{Session, SkippedKey};
use crate::store::{Pair, StoreError, Table};
use crate::time::UnixTime;
use crate::wire::envelope::Envelope;

/// Generated from `proto/engine_state.proto`.
#[allow(missing_docs, clippy::all)]
pub(super) mod state {
    include!(concat!(env!("OUT_DIR"), "/silbo.state.engine.rs"));
}

use state::{
    ChatRecord, ContactRecord, HopRecord, InviteRecord, OutboxRecord, OwnRecord, QueueRecord, RelayRecord, TraceRecord,
};

/// Key of the one own record.
const OWN: &[u8] = b"own";
/// Pairs read at a time while loading.
const PAGE: usize = 512;

impl Engine {
    /// Reads everything the engine keeps in memory.
    pub(super) fn load(&mut self, turn: &mut Turn) -> Result<(), StoreError> {
        if let Some(record) = turn.record::<OwnRecord>(Table::Meta, OWN)? {
            self.own = Some(Own::read(record).ok_or(StoreError::Damaged { table: Table::Meta })?);
        }
        each(turn, Table::Chat, |key, value| {
            self.chats.insert(ChatId::read(key)?, ChatRecord::decode(value).ok()?);
            Some(())
        })?;
        each(turn, Table::Contact, |key, value| {
            let own = self.own.as_ref()?;
            let contact = Contact::read(ContactRecord::decode(value).ok()?, own)?;
            self.contacts.insert(ChatId::read(key)?, contact);
            Some(())
        })?;
        each(turn, Table::Invite, |key, value| {
            let invite = Invite::read(InviteRecord::decode(value).ok()?)?;
            self.invites.insert(InviteId::read(key)?, invite);
            Some(())
        })?;
        each(turn, Table::Relay, |key, value| {
            self.relays.insert(PeerKey(key.to_vec()), Relay::new(RelayRecord::decode(value).ok()?));
            Some(())
        })?;
        each(turn, Table::OwnQueue, |key, value| {
            self.queues.insert(QueueRid::read(key)?, QueueRecord::decode(value).ok()?);
            Some(())
        })?;
        each(turn, Table::Session, |key, value| {
            let (chat, bytes) = value.split_at_checked(ChatId::LEN)?;
            let live = Live {
                chat: ChatId::read(chat)?,
                session: Session::decode(bytes)?,
                tags: Vec::new(),
                registered: (0, 0),
            };
            self.sessions.insert(SessionId::read(key)?, live);
            Some(())
        })?;
        let mut of_groups = Vec::new();
        each(turn, Table::Outbox, |key, value| {
            let (chat, seq) = key.split_at_checked(ChatId::LEN)?;
            let seq = u64::from_be_bytes(seq.try_into().ok()?);
            let record = OutboxRecord::decode(value).ok()?;
            if record.group.is_empty() {
                self.outbox.restore(ChatId::read(chat)?, seq, read_flight(&record)?);
            } else {
                of_groups.push((ChatId::read(chat)?, seq, record));
            }
            Some(())
        })?;
        for (chat, seq, mut record) in of_groups {
            // The letter may have reached the end of its time before every member had it.
            let Some(letter) = letter_record(&record, turn)? else { continue };
            record.envelope = letter.envelope;
            self.outbox.restore(chat, seq, read_flight(&record).ok_or(StoreError::Damaged { table: Table::Outbox })?);
        }
        each(turn, Table::Spray, |key, value| {
            let (chat, seq) = key.split_at_checked(ChatId::LEN)?;
            let seq = u64::from_be_bytes(seq.try_into().ok()?);
            let sprayed = u32::from_be_bytes(value.try_into().ok()?);
            if let Some(flight) = self.outbox.flight_mut(&ChatId::read(chat)?, seq) {
                flight.sprayed = sprayed;
            }
            Some(())
        })?;
        each(turn, Table::Skipped, |key, value| {
            let session = SkippedKey::decode(value)?.session();
            self.skipped.entry(session).or_default().push_back(Tag::read(key)?);
            Some(())
        })?;
        let ids: Vec<SessionId> = self.sessions.keys().copied().collect();
        for id in ids {
            self.register_tags(id);
        }
        for chat in self.contacts.keys().copied().collect::<Vec<_>>() {
            self.register_reset_tags(chat);
        }
        for id in self.invites.keys().copied().collect::<Vec<_>>() {
            self.register_invite_tags(id);
        }
        self.load_groups(turn)?;
        self.load_channels(turn)?;
        self.load_carried(turn)?;
        self.load_sheets(turn)
    }

    pub(super) fn save_own(&self, turn: &mut Turn) {
        if let Some(own) = &self.own {
            turn.put_record(Table::Meta, OWN, &own.record);
        }
    }

    pub(super) fn save_contact(&self, chat: &ChatId, turn: &mut Turn) {
        if let Some(contact) = self.contacts.get(chat) {
            turn.put_record(Table::Contact, chat.as_bytes(), &contact.rec);
        }
    }

    pub(super) fn save_chat(&self, chat: &ChatId, turn: &mut Turn) {
        if let Some(record) = self.chats.get(chat) {
            turn.put_record(Table::Chat, chat.as_bytes(), record);
        }
    }

    pub(super) fn save_invite(&self, id: &InviteId, turn: &mut Turn) {
        if let Some(invite) = self.invites.get(id) {
            turn.put_record(Table::Invite, id.as_bytes(), &invite.rec);
        }
    }

    pub(super) fn save_relay(&self, peer: &PeerKey, turn: &mut Turn) {
        if let Some(relay) = self.relays.get(peer) {
            turn.put_record(Table::Relay, &peer.0, &relay.rec);
        }
    }

    pub(super) fn save_queue(&self, rid: &QueueRid, turn: &mut Turn) {
        if let Some(queue) = self.queues.get(rid) {
            turn.put_record(Table::OwnQueue, rid.as_bytes(), queue);
        }
    }

    pub(super) fn save_session(&self, id: &SessionId, turn: &mut Turn) {
        if let Some(live) = self.sessions.get(id) {
            let mut value = live.chat.0.to_vec();
            value.extend_from_slice(&live.session.encode());
            turn.put(Table::Session, id.as_bytes(), value);
        }
    }

    /// An outbox entry as it is stored; the envelope of a group's letter is not in it.
    pub(super) fn outbox_entry(
        &self,
        chat: &ChatId,
        seq: u64,
        turn: &Turn,
    ) -> Result<Option<OutboxRecord>, StoreError> {
        turn.record(Table::Outbox, &entry_key(chat, seq))
    }

    /// An outbox entry with its envelope, wherever that is stored.
    pub(super) fn outbox_record(
        &self,
        chat: &ChatId,
        seq: u64,
        turn: &Turn,
    ) -> Result<Option<OutboxRecord>, StoreError> {
        let Some(mut record) = self.outbox_entry(chat, seq, turn)? else { return Ok(None) };
        if !record.group.is_empty() {
            let Some(letter) = letter_record(&record, turn)? else { return Ok(None) };
            record.envelope = letter.envelope;
        }
        Ok(Some(record))
    }

    /// Adds a hop to the trace of a message.
    pub(super) fn add_hop(
        &self,
        chat: &ChatId,
        id: &MessageId,
        hop: HopRecord,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let mut trace: TraceRecord = turn.record(Table::Trace, id.as_bytes())?.unwrap_or_default();
        trace.chat = chat.0.to_vec();
        if trace.hops.len() < crate::limits::TRACE_HOPS_MAX {
            trace.hops.push(hop);
            turn.put_record(Table::Trace, id.as_bytes(), &trace);
        }
        Ok(())
    }
}

/// Runs over a whole table in pages; `None` from `take` means the record is damaged.
pub(super) fn each(turn: &Turn, table: Table, take: impl FnMut(&[u8], &[u8]) -> Option<()>) -> Result<(), StoreError> {
    each_under(turn, table, &[], take)
}

/// The same for the keys that begin with `prefix`, of which `take` is given the rest.
pub(super) fn each_under(
    turn: &Turn,
    table: Table,
    prefix: &[u8],
    mut take: impl FnMut(&[u8], &[u8]) -> Option<()>,
) -> Result<(), StoreError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page: Vec<Pair> = turn.store().scan(table, prefix, after.as_deref(), PAGE)?;
        for (key, value) in &page {
            let rest = key.get(prefix.len()..).unwrap_or_default();
            take(rest, value).ok_or(StoreError::Damaged { table })?;
        }
        match page.into_iter().next_back() {
            Some((last, _)) => after = Some(last),
            None => return Ok(()),
        }
    }
}

/// The letter an outbox entry of a group points to.
fn letter_record(record: &OutboxRecord, turn: &Turn) -> Result<Option<state::LetterRecord>, StoreError> {
    turn.record(Table::GroupLetter, &[record.group.as_slice(), &record.letter].concat())
}

fn read_flight(record: &OutboxRecord) -> Option<Flight> {
    let deposited = record.deposited.iter().filter_map(|d| {
        Some(Deposit { relay: PeerKey(d.relay.clone()), sid: QueueSid::read(&d.sid)?, until: UnixTime(d.until) })
    });
    let head = Envelope::parse(&record.envelope).ok()?.head;
    let departure = Departure {
        tag: Tag::read(&record.tag)?,
        cid: cid(&record.envelope),
        size: record.envelope.len(),
        class: head.class,
        created_at: UnixTime(record.created_at),
        expires_at: UnixTime(record.expires_at),
    };
    Some(Flight {
        preimage: Preimage::read(&record.preimage),
        message: MessageId::read(&record.message),
        group: ChatId::read(&record.group),
        no_infra: head.no_infra,
        carried: !record.not_carried,
        session: SessionId::read(&record.session)?,
        chain: record.chain,
        n: record.n,
        first_contact: record.first_contact,
        deposited: deposited.collect(),
        ..Flight::new(departure)
    })
}
