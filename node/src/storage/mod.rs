//! What exists only once or was promised to somebody: two encrypted SQLite files with one writer.
//!
//! ```text
//!   core thread ── Database ──┬─ private.db   account, sessions, messages, search, event log, tokens
//!                             ├─ mailbox.db   queues a relay has acknowledged for others
//!                             └─ the spool    what is carried for others; may be lost
//! ```
//! [`Database`] is the [`Store`](silbo_protocol::store::Store) the engine reads and the place its
//! [`Write`](silbo_protocol::store::Write)s go: [`Database::begin`], any number of [`Database::apply`], one
//! [`Database::commit`]. It belongs to one thread. It may not decide anything: what is kept and for how long is the
//! engine's business, and so is what a value means.
//!
//! Both database files are SQLCipher (AES-256 with an HMAC-SHA-256 a page) under keys derived from one
//! [`DatabaseKey`], in WAL mode with `synchronous=FULL`.

mod error;
mod event_log;
mod file;
mod guard;
mod items;
mod lock;
mod pending;
mod records;
mod schema;
mod search;
mod search_index;
mod space;
mod spooled;
mod tokens;
mod transaction;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use silbo_protocol::wire::base32;

use crate::atomic_file;
use crate::spool::Spool;
use crate::vault::DatabaseKey;
pub use error::StorageError;
pub use event_log::event_kind_name;
pub use search::SearchQuery;
pub use space::FileBytes;
pub use tokens::ApiToken;

use lock::ProcessLock;
use pending::Pending;
use spooled::Spooled;
use transaction::Transaction;

/// Names of the two database files, the private one first.
pub const DATABASE_FILES: [&str; 2] = [PRIVATE_FILE, MAILBOX_FILE];

const PRIVATE_FILE: &str = "private.db";
const MAILBOX_FILE: &str = "mailbox.db";
/// Exists once both files are complete, and tells a wrong key from a damaged file. Reveals nothing about the key.
const CHECK_FILE: &str = "key.check";

/// The open databases of one profile. Closing and unlocking happen on drop; [`Database::close`] also reports.
pub struct Database {
    private: Connection,
    mailbox: Connection,
    dir: PathBuf,
    key: DatabaseKey,
    epoch: String,
    transaction: Transaction,
    pending: Pending,
    spooled: Spooled,
    /// Message rows written that the search indexes may not know; an overestimate is harmless.
    unindexed: u32,
    /// Set after an I/O error: what the operating system holds in its caches is unknown from then on.
    unusable: Option<StorageError>,
    /// Last, so that it is released after both files are closed.
    _lock: ProcessLock,
}

impl Database {
    /// Opens the databases in `dir`, or makes them if there are none. Only one process can have them open.
    ///
    /// # Errors
    /// Another process has them open, the key is wrong, a file is damaged or was written by a later version, or the disk
    /// is full or failing.
    pub fn open(dir: &Path, key: &DatabaseKey) -> Result<Database, StorageError> {
        atomic_file::make_private_dir(dir).map_err(|error| StorageError::from_io(dir, &error))?;
        let lock = ProcessLock::take(dir)?;
        let files = Files::open(dir, key)?;
        Ok(Database {
            private: files.private,
            mailbox: files.mailbox,
            dir: dir.to_owned(),
            key: key.clone(),
            epoch: files.epoch,
            transaction: Transaction::default(),
            pending: Pending::default(),
            spooled: Spooled::default(),
            // An earlier run may have left some.
            unindexed: 1,
            unusable: None,
            _lock: lock,
        })
    }

    /// Keeps what is carried for others in `spool`; until then it is kept in memory. To be called before anything reads.
    pub fn use_spool(&mut self, spool: Arc<dyn Spool>) {
        self.spooled = Spooled::on(spool);
    }

    /// Closes both files and opens them again without letting another process in between: the way on after an I/O error.
    /// An open transaction is forgotten. Whoever has read before must read again: a commit that was reported as failed
    /// may turn out to have reached the disk.
    ///
    /// # Errors
    /// As [`Database::open`]. The handle then refuses transactions and reads until this succeeds.
    pub fn reopen(&mut self) -> Result<(), StorageError> {
        self.rollback();
        self.unusable = Some(StorageError::Io("the databases were closed after an error".to_owned()));
        for connection in [&mut self.private, &mut self.mailbox] {
            *connection = Connection::open_in_memory().map_err(|error| StorageError::from_sqlite("memory", &error))?;
        }
        let files = Files::open(&self.dir, &self.key)?;
        (self.private, self.mailbox, self.epoch) = (files.private, files.mailbox, files.epoch);
        self.unusable = None;
        Ok(())
    }

    /// Random name of this event log, made with the file: sequence numbers of another epoch mean nothing here.
    #[must_use]
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Closes both files, moving what is in the write-ahead logs into them.
    ///
    /// # Errors
    /// When a file could not be closed cleanly. What was committed is on disk all the same.
    pub fn close(mut self) -> Result<(), StorageError> {
        self.rollback();
        let Database { private, mailbox, .. } = self;
        let mailbox = mailbox.close().map_err(|(_, error)| StorageError::from_sqlite(MAILBOX_FILE, &error));
        let private = private.close().map_err(|(_, error)| StorageError::from_sqlite(PRIVATE_FILE, &error));
        mailbox.and(private)
    }
}

/// A database file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum File {
    /// The private database of the account.
    Private,
    /// Mailbox queues a relay has acknowledged for others.
    Mailbox,
}

/// Both files, opened.
struct Files {
    private: Connection,
    mailbox: Connection,
    epoch: String,
}

impl Files {
    fn open(dir: &Path, key: &DatabaseKey) -> Result<Files, StorageError> {
        let check_path = dir.join(CHECK_FILE);
        let expected = base32::encode_lower(&key.derive("silbo key check v1")[..16]);
        let check = file::read_check(&check_path)?;
        let key_is_right = check.as_deref() == Some(expected.as_bytes());
        let open = |name, label, log_pages, migrations| {
            let (path, key) = (dir.join(name), key.derive(label));
            file::Opening { path, name, key, log_pages, exists: check.is_some(), key_is_right }.open(migrations)
        };
        let private = open(PRIVATE_FILE, "silbo private database v1", file::PRIVATE_LOG_PAGES, schema::PRIVATE)?;
        let mailbox = open(MAILBOX_FILE, "silbo mailbox database v1", file::MAILBOX_LOG_PAGES, schema::MAILBOX)?;
        let epoch = private
            .query_row("SELECT value FROM node WHERE name = 'epoch'", [], |row| row.get::<_, Vec<u8>>(0))
            .map_err(|error| StorageError::from_sqlite(PRIVATE_FILE, &error))?;
        if !key_is_right {
            atomic_file::replace(&check_path, expected.as_bytes(), 0o600)
                .map_err(|error| StorageError::from_io(&check_path, &error))?;
        }
        Ok(Files { private, mailbox, epoch: base32::encode_lower(&epoch) })
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("dir", &self.dir).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
