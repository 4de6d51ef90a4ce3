//! How much room the files take, giving it back, and whether they are intact.

use super::file::{length_of, wal_path};
use super::transaction::Transaction;
use super::{Database, File, MAILBOX_FILE, PRIVATE_FILE, StorageError, search_index};
use rusqlite::Connection;

/// Free pages below which nothing is given back: 64 × 4 KiB = 256 KiB are soon used again.
const FREE_PAGES_MIN: i64 = 64;
/// Pages given back after one commit: 1,024 × 4 KiB = 4 MiB, some milliseconds.
const VACUUM_PAGES_MAX: i64 = 1_024;

/// Bytes on disk, write-ahead logs included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileBytes {
    /// The private file.
    pub private: u64,
    /// The mailbox file.
    pub mailbox: u64,
}

impl FileBytes {
    /// Both files.
    #[must_use]
    pub fn total(self) -> u64 {
        self.private.saturating_add(self.mailbox)
    }
}

impl Database {
    /// How much room the files take.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn file_bytes(&self) -> Result<FileBytes, StorageError> {
        let bytes = |name| {
            let path = self.dir.join(name);
            Ok::<u64, StorageError>(length_of(&path)?.saturating_add(length_of(&wal_path(&path))?))
        };
        Ok(FileBytes { private: bytes(PRIVATE_FILE)?, mailbox: bytes(MAILBOX_FILE)? })
    }

    /// Reads both files from end to end: every page against its authentication code, every table against its indexes,
    /// the search indexes against the messages. Takes seconds for a large history.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] with the first thing that is wrong.
    pub fn integrity_check(&self) -> Result<(), StorageError> {
        for file in [File::Private, File::Mailbox] {
            let (connection, name) = self.file(file);
            let failed = |error: rusqlite::Error| StorageError::from_sqlite(name, &error);
            for (pragma, well) in [("cipher_integrity_check", None), ("integrity_check", Some("ok"))] {
                let complaint = first_complaint(connection, pragma, well).map_err(failed)?;
                if let Some(complaint) = complaint {
                    return Err(StorageError::damaged(name, complaint));
                }
            }
            let cut: i64 = connection
                .query_row("SELECT count(*) FROM kv WHERE substr(value, -1) <> x'01'", [], |row| row.get(0))
                .map_err(failed)?;
            if cut > 0 {
                return Err(StorageError::damaged(name, format!("the ends of {cut} values are missing")));
            }
        }
        let failed = |error: rusqlite::Error| StorageError::from_sqlite(PRIVATE_FILE, &error);
        self.index_everything()?;
        for index in ["words", "grams"] {
            let sql = format!("INSERT INTO {index}({index}, rank) VALUES ('integrity-check', 1)");
            self.private.execute(&sql, []).map_err(failed)?;
        }
        Ok(())
    }

    /// Builds both search indexes anew from the messages: the remedy when only they are damaged.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn rebuild_search(&mut self) -> Result<(), StorageError> {
        self.in_private(|connection| {
            connection
                .execute_batch(
                    "INSERT INTO words(words) VALUES ('rebuild'); INSERT INTO grams(grams) VALUES ('rebuild');",
                )
                .map_err(|error| StorageError::from_sqlite(PRIVATE_FILE, &error))?;
            search_index::knows_everything(connection)
        })
    }

    /// Housekeeping after a commit. What was committed stays committed whatever happens here, so a failure is noted and
    /// left to the next transaction to run into.
    pub(super) fn tend(&mut self, done: &Transaction) {
        for file in [File::Private, File::Mailbox] {
            if !done.touches(file) {
                continue;
            }
            let (connection, name) = self.file(file);
            let tended = give_back(connection).and_then(|()| {
                // Pages of erased messages are still in the log; a checkpoint overwrites them in the file and cuts it.
                if done.erased && file == File::Private { checkpoint(connection) } else { Ok(()) }
            });
            if let Err(error) = tended {
                let error = StorageError::from_sqlite(name, &error);
                tracing::warn!(%error, "housekeeping of a database failed");
            }
        }
    }
}

/// Returns free pages to the file system when more than a quarter of the file is free, so that a file that once was
/// large does not stay large, and one in steady use is not shuffled for nothing.
fn give_back(connection: &Connection) -> rusqlite::Result<()> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let free = number("freelist_count")?;
    if free < FREE_PAGES_MIN || free * 4 <= number("page_count")? {
        return Ok(());
    }
    // One page a row: the statement must be read to its end.
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES_MAX})"))?;
    let mut pages = statement.query([])?;
    while pages.next()?.is_some() {}
    Ok(())
}

fn checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

fn first_complaint(connection: &Connection, pragma: &str, well: Option<&str>) -> rusqlite::Result<Option<String>> {
    let mut statement = connection.prepare(&format!("PRAGMA {pragma}"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let text: String = row.get(0)?;
        if Some(text.as_str()) != well {
            return Ok(Some(text));
        }
    }
    Ok(None)
}
