//! Tables of both files, and the forward-only steps that lead to them.
//!
//! A step that was released is never edited. Each runs in a transaction of its own together with its number
//! (`user_version`), so a file is at one version or the next, never between.

use rusqlite::Connection;

use super::StorageError;

/// SQL that leads from one version to the next.
pub(super) type Migration = &'static str;

/// Steps of the private file.
pub(super) const PRIVATE: &[Migration] = &["
    CREATE TABLE node(                    -- single facts about this file
        name        TEXT NOT NULL PRIMARY KEY,
        value       BLOB NOT NULL
    ) STRICT;
    INSERT INTO node(name, value) VALUES ('epoch', randomblob(8));
    INSERT INTO node(name, value) VALUES ('indexed', zeroblob(8));   -- the search indexes know items up to this row

    CREATE TABLE kv(                      -- records of the engine
        tab         INTEGER NOT NULL,     -- number of the protocol's Table
        key         BLOB NOT NULL,
        value       BLOB NOT NULL,        -- and a guard byte
        PRIMARY KEY (tab, key)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE items(                   -- messages
        row         INTEGER PRIMARY KEY AUTOINCREMENT,
        chat        BLOB NOT NULL,
        id          BLOB NOT NULL,
        lamport     INTEGER NOT NULL,
        sent_at     INTEGER NOT NULL,     -- ms since 1970, by its author
        stored_at   INTEGER NOT NULL,     -- ms since 1970, here
        outgoing    INTEGER NOT NULL,
        visible     INTEGER NOT NULL,
        state       INTEGER NOT NULL,     -- delivery state code
        expires_at  INTEGER NOT NULL,     -- ms since 1970; 0 never
        body        TEXT NOT NULL,        -- empty when not visible
        body_at     INTEGER NOT NULL,     -- where the body belongs in the slot, which is kept without it; -1 nowhere
        slot        BLOB NOT NULL         -- the truth, and a guard byte; last, so that the guard ends the record
    ) STRICT;
    CREATE UNIQUE INDEX items_chat_id ON items(chat, id);
    CREATE INDEX items_id ON items(id);
    CREATE INDEX items_order ON items(chat, lamport, sent_at, id);
    CREATE INDEX items_expiry ON items(expires_at, chat, id) WHERE expires_at > 0;

    CREATE VIEW texts(row, body) AS SELECT row, body FROM items WHERE body <> '';
    CREATE VIRTUAL TABLE words USING fts5(
        body, content='texts', content_rowid='row', tokenize='unicode61 remove_diacritics 2', prefix='2 3');
    CREATE VIRTUAL TABLE grams USING fts5(
        body, content='texts', content_rowid='row', tokenize='trigram remove_diacritics 1');
    INSERT INTO words(words, rank) VALUES ('secure-delete', 1);
    INSERT INTO grams(grams, rank) VALUES ('secure-delete', 1);

    CREATE TABLE events(                  -- persisted event log
        seq         INTEGER PRIMARY KEY AUTOINCREMENT,
        at          INTEGER NOT NULL,     -- ms since 1970
        chat        BLOB,
        message     BLOB,
        kind        TEXT NOT NULL,        -- as in the API
        data        BLOB NOT NULL         -- the event, and a guard byte
    ) STRICT;
    CREATE INDEX events_message ON events(chat, message) WHERE chat IS NOT NULL;

    CREATE TABLE consumers(               -- how far a consumer has read the event log
        name        TEXT NOT NULL PRIMARY KEY,
        seq         INTEGER NOT NULL
    ) STRICT;

    CREATE TABLE api_tokens(
        name        TEXT NOT NULL PRIMARY KEY,
        hash        BLOB NOT NULL UNIQUE, -- of the token; the token itself is nowhere
        scopes      TEXT NOT NULL,        -- separated by spaces
        created_at  INTEGER NOT NULL,
        expires_at  INTEGER NOT NULL DEFAULT 0,   -- 0 never
        last_used_at INTEGER NOT NULL DEFAULT 0   -- 0 never
    ) STRICT;
", "
    -- The member of a group who wrote it; empty for this account and for the other side of a conversation of two. It lies
    -- behind the slot, so it has a guard byte of its own; where it is empty, the slot still ends the record.
    ALTER TABLE items ADD COLUMN author BLOB NOT NULL DEFAULT x'';
"];

/// Steps of the mailbox file.
pub(super) const MAILBOX: &[Migration] = &["
    CREATE TABLE kv(                      -- records of the relay
        tab         INTEGER NOT NULL,     -- number of the protocol's Table
        key         BLOB NOT NULL,
        value       BLOB NOT NULL,        -- and a guard byte
        PRIMARY KEY (tab, key)
    ) STRICT, WITHOUT ROWID;
"];

/// Takes the steps a file has not taken.
///
/// # Errors
/// A file that has taken more steps than are known is [`StorageError::Newer`] and stays untouched.
pub(super) fn migrate(connection: &Connection, file: &'static str, steps: &[Migration]) -> Result<(), StorageError> {
    let failed = |error: rusqlite::Error| StorageError::from_sqlite(file, &error);
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    let Some(missing) = usize::try_from(found).ok().and_then(|done| steps.get(done..)) else {
        let (found, known) = (u32::try_from(found).unwrap_or(u32::MAX), u32::try_from(steps.len()).unwrap_or(u32::MAX));
        return Err(StorageError::Newer { file, found, known });
    };
    for (version, step) in (found + 1..).zip(missing) {
        let taken = connection
            .execute_batch("BEGIN IMMEDIATE")
            .and_then(|()| connection.execute_batch(step))
            .and_then(|()| connection.pragma_update(None, "user_version", version))
            .and_then(|()| connection.execute_batch("COMMIT"));
        if let Err(error) = taken {
            if !connection.is_autocommit() {
                connection.execute_batch("ROLLBACK").map_err(failed)?;
            }
            return Err(failed(error));
        }
    }
    if !missing.is_empty() {
        connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))
            .map(drop)
            .map_err(failed)?;
    }
    Ok(())
}
