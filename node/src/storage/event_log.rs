//! The persisted event log: numbered without reuse, read by consumers that remember how far they are.
//!
//! Sequence numbers only grow; holes are normal (events of an erased conversation go with it). What is older than the
//! floor was pruned, and a consumer that stands before it is told that it missed something.

use rusqlite::{Connection, OptionalExtension, params};
use silbo_protocol::conversation::event_record::{decode_event, encode_event};
use silbo_protocol::ids::{ChatId, MessageId};
use silbo_protocol::step::{Event, EventKind};
use silbo_protocol::time::UnixTime;

use super::guard::{guarded, unguarded};
use super::items::{integer, natural};
use super::{Database, PRIVATE_FILE, StorageError};

impl Database {
    /// Up to `limit` events after `seq`, oldest first. Kinds that only a later version knows are skipped.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn events_after(&self, seq: u64, limit: usize) -> Result<Vec<(u64, Event)>, StorageError> {
        let mut events = Vec::new();
        let mut statement =
            self.private.prepare_cached("SELECT seq, data FROM events WHERE seq > ?1 ORDER BY seq").map_err(failed)?;
        let mut rows = statement.query([integer(seq)]).map_err(failed)?;
        while events.len() < limit {
            let Some(row) = rows.next().map_err(failed)? else { break };
            let (seq, data) = (row.get(0).map_err(failed)?, row.get(1).map_err(failed)?);
            events.extend(event_of(data)?.map(|event| (natural(seq), event)));
        }
        Ok(events)
    }

    /// The number of the latest event there ever was; 0 if there was none.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn event_head(&self) -> Result<u64, StorageError> {
        head(&self.private)
    }

    /// The smallest number that was not pruned: a consumer whose cursor is below `floor - 1` has missed events.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn event_floor(&self) -> Result<u64, StorageError> {
        floor(&self.private)
    }

    /// Forgets the oldest events: those more than `max_age_ms` before `now`, and all but the latest `max_count`. Returns
    /// how many.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn prune_events(&mut self, now: UnixTime, max_age_ms: u64, max_count: u64) -> Result<u64, StorageError> {
        self.in_private(|connection| {
            let next = head(connection)?.saturating_add(1);
            let cutoff = integer(now.0.saturating_sub(max_age_ms));
            // Clocks jump: the first event that is young enough keeps everything after it.
            let first_young = connection
                .prepare_cached("SELECT seq FROM events WHERE at >= ?1 ORDER BY seq LIMIT 1")
                .and_then(|mut statement| statement.query_row([cutoff], |row| row.get(0)).optional())
                .map_err(failed)?
                .map_or(next, natural);
            let keep_from = first_young.max(next.saturating_sub(max_count));
            if keep_from <= floor(connection)? {
                return Ok(0);
            }
            let pruned = connection
                .prepare_cached("DELETE FROM events WHERE seq < ?1")
                .and_then(|mut statement| statement.execute([integer(keep_from)]))
                .map_err(failed)?;
            connection
                .prepare_cached(
                    "INSERT INTO node(name, value) VALUES ('event_floor', ?1)
                     ON CONFLICT(name) DO UPDATE SET value = excluded.value",
                )
                .and_then(|mut statement| statement.execute([keep_from.to_be_bytes()]))
                .map_err(failed)?;
            Ok(pruned as u64)
        })
    }

    /// How far a consumer has read; 0 if it is not known.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn cursor(&self, consumer: &str) -> Result<u64, StorageError> {
        self.private
            .prepare_cached("SELECT seq FROM consumers WHERE name = ?1")
            .and_then(|mut statement| statement.query_row([consumer], |row| row.get(0)).optional())
            .map(|seq| seq.map_or(0, natural))
            .map_err(failed)
    }

    /// Remembers how far a consumer has read. Cursors only move forward, and not beyond the head.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn set_cursor(&mut self, consumer: &str, seq: u64) -> Result<(), StorageError> {
        self.in_private(|connection| {
            let seq = seq.min(head(connection)?);
            connection
                .prepare_cached(
                    "INSERT INTO consumers(name, seq) VALUES (?1, ?2)
                     ON CONFLICT(name) DO UPDATE SET seq = max(seq, excluded.seq)",
                )
                .and_then(|mut statement| statement.execute(params![consumer, integer(seq)]))
                .map(drop)
                .map_err(failed)
        })
    }
}

/// What the API calls a kind of event.
#[must_use]
pub fn event_kind_name(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::MessageReceived { .. } => "message.received",
        EventKind::MessageSent { .. } => "message.sent",
        EventKind::MessageState { .. } => "message.state",
        EventKind::MessageEdited { .. } => "message.edited",
        EventKind::MessageDeleted { .. } => "message.deleted",
        EventKind::MessageExpired => "message.expired",
        EventKind::MessageReaction { .. } => "message.reaction",
        EventKind::MessagePinned { .. } => "message.pinned",
        EventKind::MessageVoted { .. } => "message.voted",
        EventKind::ContactAdded => "contact.added",
        EventKind::ContactUpdated => "contact.updated",
        EventKind::ContactRequest { .. } => "contact.request",
        EventKind::ContactAccepted => "contact.accepted",
        EventKind::ContactRemoved => "contact.removed",
        EventKind::ContactKeyChanged => "contact.keyChanged",
        EventKind::SessionReset => "session.reset",
        EventKind::ChatRetention { .. } => "chat.retention",
        EventKind::ChatUpdated => "chat.updated",
        EventKind::ChatRead => "chat.read",
        EventKind::RelayAdded { .. } => "relay.added",
        EventKind::RelayQuota { .. } => "relay.quota",
        EventKind::GroupUpdated => "group.updated",
        EventKind::GroupMemberJoined { .. } => "group.memberJoined",
        EventKind::GroupMemberLeft { .. } => "group.memberLeft",
        EventKind::GroupJoinRequest { .. } => "group.joinRequest",
        EventKind::GroupMemberForked { .. } => "group.memberForked",
        EventKind::GroupDisputed { .. } => "group.disputed",
        EventKind::GroupVoided { .. } => "group.voided",
        EventKind::GroupHistory { .. } => "group.history",
        EventKind::ChannelUpdated => "channel.updated",
        EventKind::ChannelForked { .. } => "channel.forked",
        EventKind::Warning { .. } => "system.warning",
    }
}

/// Appends an event and returns its number.
pub(super) fn append(connection: &Connection, event: &Event) -> Result<u64, StorageError> {
    connection
        .prepare_cached("INSERT INTO events(at, chat, message, kind, data) VALUES (?1, ?2, ?3, ?4, ?5)")
        .and_then(|mut statement| {
            statement.insert(params![
                integer(event.at.0),
                event.chat.map(|chat| chat.0),
                event.message.map(|message| message.0),
                event_kind_name(&event.kind),
                guarded(&encode_event(event)),
            ])
        })
        .map(natural)
        .map_err(failed)
}

/// Takes the text of an erased message out of the log. Its events stay, so that a consumer sees the same order of things.
pub(super) fn forget_text(connection: &Connection, chat: &ChatId, message: &MessageId) -> Result<(), StorageError> {
    let read = || {
        connection
            .prepare_cached(
                "SELECT seq, data FROM events WHERE chat = ?1 AND message = ?2
                   AND kind IN ('message.received', 'message.sent', 'message.edited', 'message.reaction')",
            )?
            .query_map(params![chat.0, message.0], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)))?
            .collect::<rusqlite::Result<Vec<_>>>()
    };
    for (seq, data) in read().map_err(failed)? {
        let Some(mut event) = event_of(data)? else { continue };
        match &mut event.kind {
            EventKind::MessageReceived { body, .. }
            | EventKind::MessageSent { body }
            | EventKind::MessageEdited { body, .. } => body.clear(),
            EventKind::MessageReaction { emoji, .. } => emoji.clear(),
            _ => continue,
        }
        connection
            .prepare_cached("UPDATE events SET data = ?2 WHERE seq = ?1")
            .and_then(|mut statement| statement.execute(params![seq, guarded(&encode_event(&event))]))
            .map_err(failed)?;
    }
    Ok(())
}

/// Takes what people wrote in an erased conversation out of the log.
pub(super) fn forget_chat(connection: &Connection, chat: &ChatId) -> Result<(), StorageError> {
    connection
        .prepare_cached("DELETE FROM events WHERE chat = ?1 AND (message IS NOT NULL OR kind = 'contact.request')")
        .and_then(|mut statement| statement.execute(params![chat.0]))
        .map(drop)
        .map_err(failed)
}

fn head(connection: &Connection) -> Result<u64, StorageError> {
    connection
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'events'")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)).optional())
        .map(|seq| seq.map_or(0, natural))
        .map_err(failed)
}

fn floor(connection: &Connection) -> Result<u64, StorageError> {
    let stored: Option<[u8; 8]> = connection
        .prepare_cached("SELECT value FROM node WHERE name = 'event_floor'")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)).optional())
        .map_err(failed)?;
    Ok(stored.map_or(1, u64::from_be_bytes))
}

/// The event, or `None` for a kind of a later version.
fn event_of(stored: Vec<u8>) -> Result<Option<Event>, StorageError> {
    unguarded(stored)
        .map(|bytes| decode_event(&bytes))
        .ok_or_else(|| StorageError::damaged(PRIVATE_FILE, "the end of an event is missing"))
}

fn failed(error: rusqlite::Error) -> StorageError {
    StorageError::from_sqlite(PRIVATE_FILE, &error)
}
