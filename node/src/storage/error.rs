//! Why the databases cannot be used, in the few kinds that call for different reactions.

use std::io;
use std::path::Path;

use rusqlite::ErrorCode;
use rusqlite::ffi;
use silbo_protocol::store::StoreError;

/// A failure of the storage layer. Messages never contain SQL, keys or stored content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// Another process has the databases open.
    #[error("the databases are in use by another process{}", in_words(.pid))]
    InUse {
        /// Its process id, if it could be read.
        pid: Option<u32>,
    },
    /// The databases are encrypted under another key.
    #[error("the key does not open the databases")]
    WrongKey,
    /// A later version of silbo has written the file.
    #[error("{file} has schema version {found}; this version of silbo knows up to {known}")]
    Newer {
        /// The file.
        file: &'static str,
        /// The version found.
        found: u32,
        /// The latest version this code knows.
        known: u32,
    },
    /// Stored bytes were changed or are missing.
    #[error("{file} is damaged: {detail}")]
    Damaged {
        /// The file.
        file: &'static str,
        /// What was noticed.
        detail: String,
    },
    /// There is no space left. Nothing committed is lost; a later try may succeed.
    #[error("the disk is full")]
    Full,
    /// The operating system failed to read or write. The databases must be opened anew.
    #[error("the disk cannot be used: {0}")]
    Io(String),
    /// A broken promise of this code or its caller.
    #[error("the databases were used wrongly: {0}")]
    Bug(String),
}

impl StorageError {
    /// The exit class of `docs/api.md`: 8 locked, 9 limit, 11 version, 1 anything else.
    #[must_use]
    pub fn class(&self) -> u8 {
        match self {
            StorageError::WrongKey => 8,
            StorageError::Full => 9,
            StorageError::Newer { .. } => 11,
            _ => 1,
        }
    }

    /// What a read by the engine ran into.
    #[must_use]
    pub fn from_store(error: &StoreError) -> StorageError {
        match error {
            StoreError::Broken(detail) => StorageError::Io(detail.clone()),
            StoreError::Damaged { table } => StorageError::damaged(
                super::records::name_of(*table),
                format!("a record of table {table:?} does not decode"),
            ),
        }
    }

    pub(super) fn damaged(file: &'static str, detail: impl Into<String>) -> StorageError {
        StorageError::Damaged { file, detail: detail.into() }
    }

    pub(super) fn from_io(path: &Path, error: &io::Error) -> StorageError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StorageError::Full,
            _ => StorageError::Io(format!("{}: {error}", path.display())),
        }
    }

    pub(super) fn from_sqlite(file: &'static str, error: &rusqlite::Error) -> StorageError {
        let code = match error {
            rusqlite::Error::SqliteFailure(code, _) => *code,
            rusqlite::Error::SqlInputError { error, .. } => *error,
            rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::IntegralValueOutOfRange(..) => {
                return StorageError::damaged(file, "a column holds a value out of range");
            }
            rusqlite::Error::InvalidColumnType(_, column, _) => {
                return StorageError::damaged(file, format!("{column} holds a value of a wrong type"));
            }
            rusqlite::Error::QueryReturnedNoRows => return StorageError::damaged(file, "a row is missing"),
            other => return StorageError::Bug(format!("{file}: {other}")),
        };
        let words = ffi::code_to_str(code.extended_code);
        match code.code {
            ErrorCode::DiskFull => StorageError::Full,
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StorageError::damaged(file, words),
            ErrorCode::SystemIoFailure
                if matches!(code.extended_code, ffi::SQLITE_IOERR_SHORT_READ | ffi::SQLITE_IOERR_CORRUPTFS) =>
            {
                StorageError::damaged(file, words)
            }
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StorageError::InUse { pid: None },
            ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly
            | ErrorCode::NoLargeFileSupport
            | ErrorCode::OutOfMemory => StorageError::Io(format!("{file}: {words} ({})", code.extended_code)),
            _ => StorageError::Bug(format!("{file}: {words} ({})", code.extended_code)),
        }
    }
}

impl From<io::Error> for StorageError {
    fn from(error: io::Error) -> StorageError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StorageError::Full,
            _ => StorageError::Io(error.to_string()),
        }
    }
}

impl From<StorageError> for StoreError {
    fn from(error: StorageError) -> StoreError {
        StoreError::Broken(error.to_string())
    }
}

fn in_words(pid: &Option<u32>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}
