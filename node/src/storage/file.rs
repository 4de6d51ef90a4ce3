//! Opening one encrypted file: the key first, then the rules it is written by, then its schema.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};
use zeroize::Zeroizing;

use super::StorageError;
use super::schema::{self, Migration};

/// Longest value a row may hold: far above the largest envelope or slot, far below what could exhaust memory.
const VALUE_BYTES_MAX: i32 = 16 << 20;
/// Prepared statements kept a file; there are about fifty in all.
const STATEMENTS_MAX: usize = 64;

/// The one rule that is kept in the file itself. It only counts before the first table, and WAL writes a page.
const RULE_OF_NEW_FILES: &str = "PRAGMA auto_vacuum = INCREMENTAL";

/// What authenticates a page. Processors compute SHA-256 themselves; the default, SHA-512, is a tenth of each commit.
/// Part of the format of the files.
const PAGE_MAC: &str = "PRAGMA cipher_hmac_algorithm = HMAC_SHA256";

/// Rules of both files. `locking_mode` before WAL keeps the index of the log in the heap, so nothing is memory-mapped.
const RULES: &str = "
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA secure_delete = ON;
    PRAGMA foreign_keys = ON;
    PRAGMA trusted_schema = OFF;
    PRAGMA cell_size_check = ON;
    PRAGMA temp_store = MEMORY;
    PRAGMA mmap_size = 0;
    PRAGMA cache_size = -8192;
";

/// A write-ahead log of so many pages is checkpointed and cut back to this length. 1 MiB: small mailboxes stay small.
pub(super) const MAILBOX_LOG_PAGES: i64 = 256;
/// 4 MiB: a batch of messages changes some hundred pages, and a checkpoint syncs twice.
pub(super) const PRIVATE_LOG_PAGES: i64 = 1_024;
const PAGE_BYTES: i64 = 4_096;

/// What is known before a file is opened.
pub(super) struct Opening {
    pub(super) path: PathBuf,
    pub(super) name: &'static str,
    pub(super) key: Zeroizing<[u8; 32]>,
    /// Pages of the write-ahead log after which it is checkpointed.
    pub(super) log_pages: i64,
    /// True when the file was complete once, so that an absent or empty one is damage and not a beginning.
    pub(super) exists: bool,
    /// True when the key is known to be the right one, so that a file it does not open is damaged.
    pub(super) key_is_right: bool,
}

impl Opening {
    /// Opens or makes the file and brings its schema up to date.
    pub(super) fn open(self, migrations: &[Migration]) -> Result<Connection, StorageError> {
        let length = self.prepare()?;
        let log_length = length_of(&wal_path(&self.path))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags).map_err(|error| self.error(&error))?;
        self.unlock(&connection).map_err(|error| self.key_error(&error))?;
        self.set_rules(&connection, length == 0).map_err(|error| self.error(&error))?;
        if log_length == 0 {
            self.check_length(&connection, length)?;
        }
        schema::migrate(&connection, self.name, migrations)?;
        self.check_rules(&connection)?;
        Ok(connection)
    }

    /// Makes an empty file with the right mode if there may be none, and says how long it is.
    fn prepare(&self) -> Result<u64, StorageError> {
        let io_error = |error: &io::Error| StorageError::from_io(&self.path, error);
        let length = length_of(&self.path)?;
        if self.exists && length == 0 {
            return Err(StorageError::damaged(self.name, "the file is missing or empty"));
        }
        if length == 0 {
            OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&self.path)
                .and_then(|file| file.sync_all())
                .map_err(|error| io_error(&error))?;
        }
        Ok(length)
    }

    /// The key must be the first statement; whether it is right shows at the first read.
    fn unlock(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement = Zeroizing::new(String::with_capacity(100));
        statement.push_str("PRAGMA key = \"x'");
        for byte in self.key.iter() {
            for digit in [byte >> 4, byte & 15] {
                statement.push(char::from_digit(u32::from(digit), 16).expect("four bits are one hexadecimal digit"));
            }
        }
        statement.push_str("'\"");
        connection.execute_batch(&statement)?;
        connection.execute_batch(PAGE_MAC)?;
        // It would write to stderr; what is wrong is told by our errors.
        connection.execute_batch("PRAGMA cipher_log_level = NONE")?;
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0)).map(drop)
    }

    fn set_rules(&self, connection: &Connection, is_new: bool) -> rusqlite::Result<()> {
        if is_new {
            connection.execute_batch(RULE_OF_NEW_FILES)?;
        }
        connection.execute_batch(RULES)?;
        connection.execute_batch(&format!("PRAGMA wal_autocheckpoint = {}", self.log_pages))?;
        connection.execute_batch(&format!("PRAGMA journal_size_limit = {}", self.log_pages * PAGE_BYTES))?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)?;
        connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        Ok(())
    }

    /// SQLCipher reads pages beyond the end of a file as zeroes, so a cut file is noticed by its length. With a log
    /// beside it a file may be shorter than it says: its last pages are still in the log.
    fn check_length(&self, connection: &Connection, length: u64) -> Result<(), StorageError> {
        let pages: i64 =
            connection.pragma_query_value(None, "page_count", |row| row.get(0)).map_err(|error| self.error(&error))?;
        // SQLCipher answers in text.
        let page_bytes: String = connection
            .pragma_query_value(None, "cipher_page_size", |row| row.get(0))
            .map_err(|error| self.error(&error))?;
        let page_bytes: i64 =
            page_bytes.parse().map_err(|_| StorageError::Bug("the page size is not a number".to_owned()))?;
        let expected = pages.saturating_mul(page_bytes);
        if length > 0 && length < u64::try_from(expected).unwrap_or(0) {
            return Err(StorageError::damaged(self.name, format!("{length} of {expected} bytes are left")));
        }
        Ok(())
    }

    /// Pragmas fail silently; these three decide whether promises hold.
    fn check_rules(&self, connection: &Connection) -> Result<(), StorageError> {
        let text = |name| {
            connection.pragma_query_value(None, name, |row| row.get::<_, String>(0)).map_err(|error| self.error(&error))
        };
        let number = |name| {
            connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(|error| self.error(&error))
        };
        let (journal, synchronous, vacuum) = (text("journal_mode")?, number("synchronous")?, number("auto_vacuum")?);
        if journal != "wal" || synchronous != 2 || vacuum != 2 {
            return Err(StorageError::Io(format!(
                "{}: the file system does not allow a write-ahead log ({journal}, {synchronous}, {vacuum})",
                self.name
            )));
        }
        if text("cipher_version")?.is_empty() {
            return Err(StorageError::Bug("the library was built without encryption".to_owned()));
        }
        Ok(())
    }

    fn error(&self, error: &rusqlite::Error) -> StorageError {
        StorageError::from_sqlite(self.name, error)
    }

    fn key_error(&self, error: &rusqlite::Error) -> StorageError {
        match self.error(error) {
            StorageError::Damaged { .. } if !self.key_is_right => StorageError::WrongKey,
            other => other,
        }
    }
}

/// The content of the key check file, or `None` if there is none.
pub(super) fn read_check(path: &Path) -> Result<Option<Vec<u8>>, StorageError> {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(256).read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StorageError::from_io(path, &error)),
    }
}

/// Where SQLite keeps the write-ahead log of a file.
pub(super) fn wal_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

/// How long a file is; 0 if there is none.
pub(super) fn length_of(path: &Path) -> Result<u64, StorageError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(StorageError::from_io(path, &error)),
    }
}
