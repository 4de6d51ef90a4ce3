//! The engine's ordered key-value tables, and its whole view of the databases: [`Store`].

use rusqlite::{Connection, OptionalExtension, Row, params};
use silbo_protocol::ids::{ChatId, MessageId};
use silbo_protocol::store::{self, ItemRow, Pair, Store, StoreError, Table};
use silbo_protocol::time::UnixTime;

use super::guard::{guarded, unguarded};
use super::{Database, File, MAILBOX_FILE, PRIVATE_FILE, StorageError, items};
use crate::spool::Space;

/// Where a table lives.
pub(super) enum Place {
    Database(File),
    Spool(Space),
}

/// Where a table lives.
pub(super) fn place(table: Table) -> Place {
    match table.file() {
        store::File::Private => Place::Database(File::Private),
        store::File::Mailbox => Place::Database(File::Mailbox),
        store::File::Spool => Place::Spool(match table {
            Table::Carried => Space::Carried,
            Table::CarriedState => Space::CarriedState,
            Table::Vaccine => Space::Vaccine,
            _ => unreachable!("a table of the spool has a space"),
        }),
    }
}

impl Store for Database {
    fn value(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let (connection, name) = match place(table) {
            Place::Database(file) => self.file(file),
            Place::Spool(space) => return Ok(self.spooled.value(space, key)),
        };
        if let Some(waiting) = self.pending.value(table, key) {
            return Ok(Some(waiting));
        }
        let stored = connection
            .prepare_cached("SELECT value FROM kv WHERE tab = ?1 AND key = ?2")
            .and_then(|mut statement| statement.query_row(params![table as u8, key], |row| row.get(0)).optional())
            .map_err(|error| StorageError::from_sqlite(name, &error))?;
        stored.map(|stored| unguarded(stored).ok_or(StoreError::Damaged { table })).transpose()
    }

    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        let (connection, name) = match place(table) {
            Place::Database(file) => self.file(file),
            Place::Spool(space) => return Ok(self.spooled.scan(space, prefix, after, limit)),
        };
        let first = match after {
            // The smallest key greater than `after` is `after` and a zero byte.
            Some(after) if after >= prefix => [after, &[0]].concat(),
            _ => prefix.to_vec(),
        };
        let count = i64::try_from(limit).unwrap_or(i64::MAX);
        let pair = |row: &Row<'_>| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?));
        let read = || match end_of(prefix) {
            Some(end) => connection
                .prepare_cached(
                    "SELECT key, value FROM kv WHERE tab = ?1 AND key >= ?2 AND key < ?3 ORDER BY key LIMIT ?4",
                )?
                .query_map(params![table as u8, first, end, count], pair)?
                .collect::<rusqlite::Result<Vec<Pair>>>(),
            None => connection
                .prepare_cached("SELECT key, value FROM kv WHERE tab = ?1 AND key >= ?2 ORDER BY key LIMIT ?3")?
                .query_map(params![table as u8, first, count], pair)?
                .collect(),
        };
        let pairs = read().map_err(|error| StorageError::from_sqlite(name, &error))?;
        let stored = pairs
            .into_iter()
            .map(|(key, stored)| Ok((key, unguarded(stored).ok_or(StoreError::Damaged { table })?)))
            .collect::<Result<Vec<Pair>, StoreError>>()?;
        Ok(self.pending.laid_over(stored, table, prefix, after, limit))
    }

    fn item(&self, chat: &ChatId, id: &MessageId) -> Result<Option<ItemRow>, StoreError> {
        Ok(items::of_chat(&self.private, chat, id)?)
    }

    fn items_expiring(&self, until: UnixTime, limit: usize) -> Result<Vec<(ChatId, MessageId)>, StoreError> {
        Ok(items::expiring(&self.private, until, limit)?)
    }

    fn chat_items(&self, chat: &ChatId, after: Option<&MessageId>, limit: usize) -> Result<Vec<MessageId>, StoreError> {
        Ok(items::ids_of_chat(&self.private, chat, after, limit)?)
    }

    fn next_expiry(&self) -> Result<Option<UnixTime>, StoreError> {
        Ok(items::next_expiry(&self.private)?)
    }
}

pub(super) fn put(connection: &Connection, table: Table, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
    connection
        .prepare_cached(
            "INSERT INTO kv(tab, key, value) VALUES (?1, ?2, ?3)
             ON CONFLICT(tab, key) DO UPDATE SET value = excluded.value",
        )
        .and_then(|mut statement| statement.execute(params![table as u8, key, guarded(value)]))
        .map(drop)
        .map_err(|error| StorageError::from_sqlite(name_of(table), &error))
}

pub(super) fn delete(connection: &Connection, table: Table, key: &[u8]) -> Result<(), StorageError> {
    connection
        .prepare_cached("DELETE FROM kv WHERE tab = ?1 AND key = ?2")
        .and_then(|mut statement| statement.execute(params![table as u8, key]))
        .map(drop)
        .map_err(|error| StorageError::from_sqlite(name_of(table), &error))
}

/// The file a table lives in, by name.
pub(super) fn name_of(table: Table) -> &'static str {
    match place(table) {
        Place::Database(File::Private) => PRIVATE_FILE,
        Place::Database(File::Mailbox) => MAILBOX_FILE,
        Place::Spool(_) => "the spool",
    }
}

/// The smallest key greater than every key with this prefix; `None` if there is no such key.
fn end_of(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != 0xFF)?;
    let mut end = prefix.get(..=last)?.to_vec();
    *end.last_mut()? += 1;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::end_of;

    #[test]
    fn a_prefix_ends_before_the_next_sibling() {
        assert_eq!(end_of(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(end_of(&[1, 0xFF, 0xFF]), Some(vec![2]));
        assert_eq!(end_of(&[0xFF]), None);
        assert_eq!(end_of(b""), None);
    }
}
