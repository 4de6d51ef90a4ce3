//! Message rows: kept, ordered, found and erased, together with what the search index knows of them.

use std::borrow::Cow;

use rusqlite::{Connection, OptionalExtension, Row, params};
use silbo_protocol::ids::{AccountId, ChatId, MessageId};
use silbo_protocol::store::ItemRow;
use silbo_protocol::time::UnixTime;

use super::guard::{guarded, unguarded};
use super::{Database, PRIVATE_FILE, StorageError, event_log, search_index};

/// Columns of a row as [`read_row`] expects them.
pub(super) const COLUMNS: &str = "items.chat, items.id, items.lamport, items.sent_at, items.stored_at, items.outgoing, \
     items.visible, items.state, items.expires_at, items.body, items.body_at, items.slot, \
     items.author";

impl Database {
    /// Up to `limit` visible messages of a conversation, oldest first: the latest before `before`, or the earliest after
    /// `after`, or the latest of all. A message that is gone still marks its place by the time in its id.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn history(
        &self,
        chat: &ChatId,
        before: Option<&MessageId>,
        after: Option<&MessageId>,
        limit: usize,
    ) -> Result<Vec<ItemRow>, StorageError> {
        let lower = after.map(|id| place(&self.private, chat, id)).transpose()?;
        let upper = before.map(|id| place(&self.private, chat, id)).transpose()?;
        let forward = lower.is_some() && upper.is_none();
        let (from, to) = (lower.unwrap_or(Place::FIRST), upper.unwrap_or(Place::LAST));
        let order = if forward { "ASC" } else { "DESC" };
        let sql = format!(
            "SELECT {COLUMNS} FROM items WHERE chat = ?1 AND visible = 1
               AND (lamport, sent_at, id) > (?2, ?3, ?4) AND (lamport, sent_at, id) < (?5, ?6, ?7)
             ORDER BY lamport {order}, sent_at {order}, id {order} LIMIT ?8"
        );
        let bounds = params![
            chat.0,
            from.lamport,
            from.sent_at,
            from.id,
            to.lamport,
            to.sent_at,
            to.id,
            i64::try_from(limit).unwrap_or(i64::MAX)
        ];
        let mut rows = rows(&self.private, &sql, bounds)?;
        if !forward {
            rows.reverse();
        }
        Ok(rows)
    }

    /// The message with this id, in whichever conversation.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn item_by_id(&self, id: &MessageId) -> Result<Option<ItemRow>, StorageError> {
        let sql = format!("SELECT {COLUMNS} FROM items WHERE id = ?1 LIMIT 1");
        Ok(rows(&self.private, &sql, params![id.0])?.pop())
    }
}

/// Sets a row. Says whether a text that was visible has disappeared with it.
pub(super) fn put(connection: &Connection, item: &ItemRow) -> Result<bool, StorageError> {
    let body = if item.visible { item.body.as_str() } else { "" };
    let known = indexed(connection, &item.chat, &item.id)?;
    // A delivery state that moves is the most frequent change: it leaves every index as it is.
    if let Some(known) = known.as_ref().filter(|known| known.has_place_and_text(item, body)) {
        update(connection, item, body, known.row).map_err(failed)?;
        return Ok(false);
    }
    let row = write(connection, item, body, known.as_ref().map(|known| known.row)).map_err(failed)?;
    let old = known.map(|known| known.body).unwrap_or_default();
    if old != body {
        search_index::change(connection, row, &old, body)?;
    }
    let hidden = !old.is_empty() && body.is_empty();
    if hidden {
        event_log::forget_text(connection, &item.chat, &item.id)?;
    }
    Ok(hidden || old != body && !old.is_empty())
}

/// Erases a row, its words in the search index, and its text in the event log. Says whether there was one.
pub(super) fn erase(connection: &Connection, chat: &ChatId, id: &MessageId) -> Result<bool, StorageError> {
    let Some(Known { row, body, .. }) = indexed(connection, chat, id)? else { return Ok(false) };
    search_index::change(connection, row, &body, "")?;
    connection
        .prepare_cached("DELETE FROM items WHERE row = ?1")
        .and_then(|mut statement| statement.execute([row]))
        .map_err(failed)?;
    event_log::forget_text(connection, chat, id)?;
    Ok(true)
}

/// Erases every row of a conversation, and what the search index and the event log hold of it.
pub(super) fn erase_chat(connection: &Connection, chat: &ChatId) -> Result<(), StorageError> {
    let mut statement =
        connection.prepare_cached("SELECT row, body FROM items WHERE chat = ?1 AND body <> ''").map_err(failed)?;
    let mut found = statement.query(params![chat.0]).map_err(failed)?;
    while let Some(row) = found.next().map_err(failed)? {
        let (row, body): (i64, String) = (row.get(0).map_err(failed)?, row.get(1).map_err(failed)?);
        search_index::change(connection, row, &body, "")?;
    }
    connection
        .prepare_cached("DELETE FROM items WHERE chat = ?1")
        .and_then(|mut statement| statement.execute(params![chat.0]))
        .map_err(failed)?;
    event_log::forget_chat(connection, chat)
}

pub(super) fn of_chat(connection: &Connection, chat: &ChatId, id: &MessageId) -> Result<Option<ItemRow>, StorageError> {
    let sql = format!("SELECT {COLUMNS} FROM items WHERE chat = ?1 AND id = ?2");
    Ok(rows(connection, &sql, params![chat.0, id.0])?.pop())
}

/// Message ids of a conversation greater than `after`, in id order.
pub(super) fn ids_of_chat(
    connection: &Connection,
    chat: &ChatId,
    after: Option<&MessageId>,
    limit: usize,
) -> Result<Vec<MessageId>, StorageError> {
    // No bytes come before any id.
    let after = after.map_or(&[][..], |id| id.as_bytes());
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let read = || {
        connection
            .prepare_cached("SELECT id FROM items WHERE chat = ?1 AND id > ?2 ORDER BY id LIMIT ?3")?
            .query_map(params![chat.0, after, limit], |row| row.get(0).map(MessageId))?
            .collect::<rusqlite::Result<Vec<_>>>()
    };
    read().map_err(failed)
}

pub(super) fn expiring(
    connection: &Connection,
    until: UnixTime,
    limit: usize,
) -> Result<Vec<(ChatId, MessageId)>, StorageError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let read = || {
        connection
            .prepare_cached(
                "SELECT chat, id FROM items WHERE expires_at > 0 AND expires_at <= ?1
                 ORDER BY expires_at, chat, id LIMIT ?2",
            )?
            .query_map(params![integer(until.0), limit], |row| Ok((ChatId(row.get(0)?), MessageId(row.get(1)?))))?
            .collect::<rusqlite::Result<Vec<_>>>()
    };
    read().map_err(failed)
}

pub(super) fn next_expiry(connection: &Connection) -> Result<Option<UnixTime>, StorageError> {
    connection
        .prepare_cached("SELECT expires_at FROM items WHERE expires_at > 0 ORDER BY expires_at LIMIT 1")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)).optional())
        .map(|at: Option<i64>| at.map(|at| UnixTime(natural(at))))
        .map_err(failed)
}

/// Rows of a query that selects [`COLUMNS`].
pub(super) fn rows(
    connection: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> Result<Vec<ItemRow>, StorageError> {
    let read = || connection.prepare_cached(sql)?.query_map(params, read_row)?.collect::<rusqlite::Result<Vec<_>>>();
    let rows: Vec<Option<ItemRow>> = read().map_err(failed)?;
    rows.into_iter()
        .map(|row| row.ok_or_else(|| StorageError::damaged(PRIVATE_FILE, "the end of a message is missing")))
        .collect()
}

/// SQLite's integers have 63 bits for counting. Larger Lamport numbers and times (after the year 292 million) are kept
/// as the largest; the slot has the exact ones.
pub(super) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The number [`integer`] has stored.
pub(super) fn natural(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A place in the order of a conversation.
struct Place {
    lamport: i64,
    sent_at: i64,
    id: [u8; MessageId::LEN],
}

impl Place {
    const FIRST: Place = Place { lamport: -1, sent_at: -1, id: [0; MessageId::LEN] };
    const LAST: Place = Place { lamport: i64::MAX, sent_at: i64::MAX, id: [0xFF; MessageId::LEN] };
}

fn place(connection: &Connection, chat: &ChatId, id: &MessageId) -> Result<Place, StorageError> {
    let known = connection
        .prepare_cached("SELECT lamport, sent_at FROM items WHERE chat = ?1 AND id = ?2")
        .and_then(|mut statement| {
            statement.query_row(params![chat.0, id.0], |row| Ok((row.get(0)?, row.get(1)?))).optional()
        })
        .map_err(failed)?;
    if let Some((lamport, sent_at)) = known {
        return Ok(Place { lamport, sent_at, id: id.0 });
    }
    let [a, b, c, d, e, f, ..] = id.0;
    let written_at = i64::from_be_bytes([0, 0, a, b, c, d, e, f]);
    let lamport = connection
        .prepare_cached("SELECT coalesce(max(lamport), -1) FROM items WHERE chat = ?1 AND sent_at <= ?2")
        .and_then(|mut statement| statement.query_row(params![chat.0, written_at], |row| row.get(0)))
        .map_err(failed)?;
    Ok(Place { lamport, sent_at: written_at, id: id.0 })
}

/// What the indexes know of a message.
struct Known {
    row: i64,
    lamport: i64,
    sent_at: i64,
    body: String,
}

impl Known {
    fn has_place_and_text(&self, item: &ItemRow, body: &str) -> bool {
        self.lamport == integer(item.lamport) && self.sent_at == integer(item.sent_at.0) && self.body == body
    }
}

fn indexed(connection: &Connection, chat: &ChatId, id: &MessageId) -> Result<Option<Known>, StorageError> {
    connection
        .prepare_cached("SELECT row, lamport, sent_at, body FROM items WHERE chat = ?1 AND id = ?2")
        .and_then(|mut statement| {
            let known = |row: &Row<'_>| {
                Ok(Known { row: row.get(0)?, lamport: row.get(1)?, sent_at: row.get(2)?, body: row.get(3)? })
            };
            statement.query_row(params![chat.0, id.0], known).optional()
        })
        .map_err(failed)
}

fn update(connection: &Connection, item: &ItemRow, body: &str, row: i64) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "UPDATE items SET stored_at = ?2, outgoing = ?3, visible = ?4, state = ?5, expires_at = ?6, body_at = ?7, slot = ?8,
           author = ?9
         WHERE row = ?1",
    )?;
    let (stored_at, expires_at) = (integer(item.stored_at.0), integer(item.expires_at.0));
    let (body_at, slot) = without_body(&item.slot, body);
    statement
        .execute(params![
            row,
            stored_at,
            item.outgoing,
            item.visible,
            item.state,
            expires_at,
            body_at,
            guarded(&slot),
            author_of(item)
        ])
        .map(drop)
}

fn write(connection: &Connection, item: &ItemRow, body: &str, row: Option<i64>) -> rusqlite::Result<i64> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO items(row, chat, id, lamport, sent_at, stored_at, outgoing, visible, state, expires_at, body, body_at,
                           slot, author)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
         ON CONFLICT(chat, id) DO UPDATE SET
           lamport = excluded.lamport, sent_at = excluded.sent_at, stored_at = excluded.stored_at,
           outgoing = excluded.outgoing, visible = excluded.visible, state = excluded.state,
           expires_at = excluded.expires_at, body = excluded.body, body_at = excluded.body_at,
           slot = excluded.slot, author = excluded.author
         RETURNING row",
    )?;
    let (body_at, slot) = without_body(&item.slot, body);
    statement.query_row(
        params![
            row,
            item.chat.0,
            item.id.0,
            integer(item.lamport),
            integer(item.sent_at.0),
            integer(item.stored_at.0),
            item.outgoing,
            item.visible,
            item.state,
            integer(item.expires_at.0),
            body,
            body_at,
            guarded(&slot),
            author_of(item),
        ],
        |row| row.get(0),
    )
}

/// A row of [`COLUMNS`]; `None` if the end of its slot or of its author is not what was written.
fn read_row(row: &Row<'_>) -> rusqlite::Result<Option<ItemRow>> {
    let time = |at| row.get(at).map(|ms| UnixTime(natural(ms)));
    let body: String = row.get(9)?;
    let Some(slot) = unguarded(row.get(11)?).and_then(|slot| with_body(slot, &body, row.get(10).ok()?)) else {
        return Ok(None);
    };
    let stored: Vec<u8> = row.get(12)?;
    let author = unguarded(stored.clone()).and_then(|account| AccountId::read(&account));
    if author.is_none() && !stored.is_empty() {
        return Ok(None);
    }
    Ok(Some(ItemRow {
        chat: ChatId(row.get(0)?),
        id: MessageId(row.get(1)?),
        lamport: natural(row.get(2)?),
        sent_at: time(3)?,
        stored_at: time(4)?,
        outgoing: row.get(5)?,
        author,
        visible: row.get(6)?,
        state: row.get(7)?,
        expires_at: time(8)?,
        body,
        slot,
    }))
}

/// The column behind the slot: nothing, or a guarded account.
fn author_of(item: &ItemRow) -> Vec<u8> {
    item.author.map(|account| guarded(account.as_bytes())).unwrap_or_default()
}

/// Where a slot may hold its body and still be kept without it: its text is its first long field.
const BODY_AT_MAX: usize = 256;
/// Bodies for which leaving them out is worth it.
const BODY_BYTES_MIN: usize = 64;

/// The place of the body in the slot and the slot without it: a text is kept once, so that rows, which are written anew
/// whenever their delivery state moves, are half as long. -1 and the whole slot if it does not hold the body.
fn without_body<'a>(slot: &'a [u8], body: &str) -> (i64, Cow<'a, [u8]>) {
    let found = || slot.windows(body.len()).take(BODY_AT_MAX).position(|bytes| bytes == body.as_bytes());
    let cut = |at: usize| {
        let (head, tail) = (slot.get(..at)?, slot.get(at + body.len()..)?);
        Some((i64::try_from(at).ok()?, Cow::Owned([head, tail].concat())))
    };
    let place = if body.len() < BODY_BYTES_MIN { None } else { found() };
    place.and_then(cut).unwrap_or((-1, Cow::Borrowed(slot)))
}

/// The whole slot; `None` if the place of the body is not in it.
fn with_body(slot: Vec<u8>, body: &str, body_at: i64) -> Option<Vec<u8>> {
    if body_at == -1 {
        return Some(slot);
    }
    let (head, tail) = slot.split_at_checked(usize::try_from(body_at).ok()?)?;
    Some([head, body.as_bytes(), tail].concat())
}

fn failed(error: rusqlite::Error) -> StorageError {
    StorageError::from_sqlite(PRIVATE_FILE, &error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_kept_without_the_body_it_holds() {
        let body = "b".repeat(BODY_BYTES_MIN);
        let slot = [b"head".as_slice(), body.as_bytes(), b"tail"].concat();
        let (at, rest) = without_body(&slot, &body);
        assert_eq!((at, rest.as_ref()), (4, b"headtail".as_slice()));
        assert_eq!(with_body(rest.into_owned(), &body, at), Some(slot));
    }

    #[test]
    fn a_slot_without_the_body_is_kept_whole() {
        let body = "b".repeat(BODY_BYTES_MIN);
        let far = [vec![0; BODY_AT_MAX], body.clone().into_bytes()].concat();
        for (slot, body) in
            [(b"other".to_vec(), body.as_str()), (far, &body), (b"short".to_vec(), "short"), (vec![], "")]
        {
            let (at, rest) = without_body(&slot, body);
            assert_eq!((at, rest.as_ref()), (-1, slot.as_slice()));
            assert_eq!(with_body(slot.clone(), body, at), Some(slot));
        }
        assert_eq!(with_body(b"short".to_vec(), &body, 6), None);
    }
}
