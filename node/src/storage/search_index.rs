//! The two full-text indexes over messages, and how far they have come.
//!
//! Indexing a message at a time costs more than everything else about storing it: the indexes live in pages that each
//! commit writes anew. So they follow the messages in batches when there is nothing else to do, and catch up before a
//! search. Up to which row they know the messages is written down in the same transaction.

use rusqlite::{Connection, params};

use super::{Database, PRIVATE_FILE, StorageError};

/// Messages that wait before a commit indexes some of them: a search that has to catch up takes a few tenths of a second.
pub(super) const WAITING_MAX: u32 = 4_096;
/// Messages one commit indexes then.
pub(super) const BATCH: u32 = 512;
/// Messages indexed at a time when there is nothing else to do: some ten milliseconds.
pub(super) const BATCH_OF_QUIET: u32 = 128;

/// Tells the indexes that the text of a row is another one (empty: none), if they know the row at all.
pub(super) fn change(connection: &Connection, row: i64, old: &str, new: &str) -> Result<(), StorageError> {
    if row > known_rows(connection)? {
        return Ok(());
    }
    // Both indexes have no text of their own, so they must be told what they forget.
    forget(connection, row, old)?;
    learn(connection, row, new)
}

/// Indexes the next messages, up to `limit`; true when there may be more.
pub(super) fn catch_up(connection: &Connection, limit: u32) -> Result<bool, StorageError> {
    let known = known_rows(connection)?;
    let waiting = || {
        connection
            .prepare_cached("SELECT row, body FROM items WHERE row > ?1 ORDER BY row LIMIT ?2")?
            .query_map(params![known, limit], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<Vec<(i64, String)>>>()
    };
    let waiting = waiting().map_err(failed)?;
    let Some((last, _)) = waiting.last() else { return Ok(false) };
    for (row, body) in &waiting {
        learn(connection, *row, body)?;
    }
    set_known_rows(connection, *last)?;
    Ok(waiting.len() >= limit as usize)
}

/// After a rebuild from all messages.
pub(super) fn knows_everything(connection: &Connection) -> Result<(), StorageError> {
    let last = connection.query_row("SELECT coalesce(max(row), 0) FROM items", [], |row| row.get(0)).map_err(failed)?;
    set_known_rows(connection, last)
}

impl Database {
    /// True when the indexes may not know every message.
    #[must_use]
    pub fn waits_for_index(&self) -> bool {
        self.unindexed > 0
    }

    /// Indexes some of the messages that wait, for when there is nothing else to do.
    ///
    /// # Errors
    /// As [`Database::commit`]; nothing more is tried then until there is another message.
    pub fn index_some(&mut self) -> Result<(), StorageError> {
        let waiting = std::mem::take(&mut self.unindexed);
        if self.in_private(|connection| catch_up(connection, BATCH_OF_QUIET))? {
            self.unindexed = waiting.saturating_sub(BATCH_OF_QUIET).max(1);
        }
        Ok(())
    }

    /// Brings the indexes up to the last message, in a transaction of its own unless one is open.
    pub(super) fn index_everything(&self) -> Result<(), StorageError> {
        let alone = self.private.is_autocommit();
        if alone {
            self.private.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
        }
        let mut more = Ok(true);
        while let Ok(true) = more {
            more = catch_up(&self.private, BATCH);
        }
        match more {
            Ok(_) if alone => self.private.execute_batch("COMMIT").map_err(failed),
            Ok(_) => Ok(()),
            Err(error) => {
                if alone && !self.private.is_autocommit() {
                    self.private.execute_batch("ROLLBACK").map_err(failed)?;
                }
                Err(error)
            }
        }
    }
}

fn known_rows(connection: &Connection) -> Result<i64, StorageError> {
    let stored: [u8; 8] = connection
        .prepare_cached("SELECT value FROM node WHERE name = 'indexed'")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .map_err(failed)?;
    Ok(i64::from_be_bytes(stored))
}

fn set_known_rows(connection: &Connection, row: i64) -> Result<(), StorageError> {
    connection
        .prepare_cached("UPDATE node SET value = ?1 WHERE name = 'indexed'")
        .and_then(|mut statement| statement.execute([row.to_be_bytes()]))
        .map(drop)
        .map_err(failed)
}

fn forget(connection: &Connection, row: i64, body: &str) -> Result<(), StorageError> {
    in_both(
        connection,
        row,
        body,
        [
            "INSERT INTO words(words, rowid, body) VALUES ('delete', ?1, ?2)",
            "INSERT INTO grams(grams, rowid, body) VALUES ('delete', ?1, ?2)",
        ],
    )
}

fn learn(connection: &Connection, row: i64, body: &str) -> Result<(), StorageError> {
    in_both(
        connection,
        row,
        body,
        ["INSERT INTO words(rowid, body) VALUES (?1, ?2)", "INSERT INTO grams(rowid, body) VALUES (?1, ?2)"],
    )
}

fn in_both(connection: &Connection, row: i64, body: &str, statements: [&str; 2]) -> Result<(), StorageError> {
    if body.is_empty() {
        return Ok(());
    }
    for sql in statements {
        connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params![row, body]))
            .map_err(failed)?;
    }
    Ok(())
}

fn failed(error: rusqlite::Error) -> StorageError {
    StorageError::from_sqlite(PRIVATE_FILE, &error)
}
