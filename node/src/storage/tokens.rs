//! Tokens of the local API: their hashes, what they allow and when they were used.

use rusqlite::{OptionalExtension, Row, params};
use silbo_protocol::time::UnixTime;

use super::items::{integer, natural};
use super::{Database, PRIVATE_FILE, StorageError};

/// A token as it is kept: enough to recognise it, not enough to use it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// What its owner calls it; unique.
    pub name: String,
    /// Hash of the token.
    pub hash: [u8; 32],
    /// What it allows; without spaces.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created_at: UnixTime,
    /// When it stops working, if ever.
    pub expires_at: Option<UnixTime>,
    /// When it was last used, if ever.
    pub last_used_at: Option<UnixTime>,
}

impl std::fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiToken").field("scopes", &self.scopes).finish_non_exhaustive()
    }
}

const COLUMNS: &str = "name, hash, scopes, created_at, expires_at, last_used_at";

impl Database {
    /// Keeps a token. False, and nothing is changed, if the name is taken.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn token_add(&mut self, token: &ApiToken) -> Result<bool, StorageError> {
        self.in_private(|connection| {
            connection
                .prepare_cached(
                    "INSERT INTO api_tokens(name, hash, scopes, created_at, expires_at, last_used_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT(name) DO NOTHING",
                )
                .and_then(|mut statement| {
                    statement.execute(params![
                        token.name,
                        token.hash,
                        token.scopes.join(" "),
                        integer(token.created_at.0),
                        token.expires_at.map_or(0, |at| integer(at.0)),
                        token.last_used_at.map_or(0, |at| integer(at.0)),
                    ])
                })
                .map(|rows| rows == 1)
                .map_err(failed)
        })
    }

    /// The token with this hash. Whether it has expired is the caller's to judge.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn token_by_hash(&self, hash: &[u8; 32]) -> Result<Option<ApiToken>, StorageError> {
        self.private
            .prepare_cached(&format!("SELECT {COLUMNS} FROM api_tokens WHERE hash = ?1"))
            .and_then(|mut statement| statement.query_row([hash], read_token).optional())
            .map_err(failed)
    }

    /// All tokens, by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn tokens(&self) -> Result<Vec<ApiToken>, StorageError> {
        let read = || {
            self.private
                .prepare_cached(&format!("SELECT {COLUMNS} FROM api_tokens ORDER BY name"))?
                .query_map([], read_token)?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(failed)
    }

    /// Notes that a token was used. An unknown name is fine.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn token_used(&mut self, name: &str, at: UnixTime) -> Result<(), StorageError> {
        self.in_private(|connection| {
            connection
                .prepare_cached("UPDATE api_tokens SET last_used_at = ?2 WHERE name = ?1")
                .and_then(|mut statement| statement.execute(params![name, integer(at.0)]))
                .map(drop)
                .map_err(failed)
        })
    }

    /// Forgets a token. False if there was none.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn token_revoke(&mut self, name: &str) -> Result<bool, StorageError> {
        self.in_private(|connection| {
            connection
                .prepare_cached("DELETE FROM api_tokens WHERE name = ?1")
                .and_then(|mut statement| statement.execute([name]))
                .map(|rows| rows == 1)
                .map_err(failed)
        })
    }
}

fn read_token(row: &Row<'_>) -> rusqlite::Result<ApiToken> {
    let optional = |at| row.get(at).map(|ms: i64| (ms > 0).then(|| UnixTime(natural(ms))));
    Ok(ApiToken {
        name: row.get(0)?,
        hash: row.get(1)?,
        scopes: row.get::<_, String>(2)?.split_whitespace().map(str::to_owned).collect(),
        created_at: UnixTime(natural(row.get(3)?)),
        expires_at: optional(4)?,
        last_used_at: optional(5)?,
    })
}

fn failed(error: rusqlite::Error) -> StorageError {
    StorageError::from_sqlite(PRIVATE_FILE, &error)
}
