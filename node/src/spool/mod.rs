//! What is replicated by design and may be lost: addresses of peers and DHT records.
//!
//! ```text
//!   DhtRecords ─┐
//!               ├─▶ dyn Spool ──▶ SledSpool   sled, flushed and synced, of bounded size
//!   PeerCache ──┘            └──▶ MemorySpool when there is no disk to use
//! ```
//! Nothing that exists only once and nothing private goes in here: it is not encrypted, and a damaged spool is set aside
//! and begun anew. Every record expires. When the spool is full, what expires soonest makes room.

mod dht_records;
mod memory_spool;
mod peer_cache;
mod shelf;
mod sled_spool;

use silbo_protocol::time::UnixTime;

pub use dht_records::DhtRecords;
pub use memory_spool::MemorySpool;
pub use peer_cache::{CachedPeer, PeerCache};
pub use sled_spool::{SledSpool, SpoolOpened};

/// Bytes of keys and values a spool holds unless told otherwise: 16 MiB, for example 8,000 records of 1 KiB and 16,000
/// peers.
pub const SPOOL_BYTES_MAX: u64 = 16 << 20;
/// Largest key.
pub const SPOOL_KEY_BYTES_MAX: usize = 256;
/// Largest value. Far below a segment of sled, which would put larger ones into files of their own.
pub const SPOOL_VALUE_BYTES_MAX: usize = 8 * 1_024;

/// What a record belongs to. The numbers are stored: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Space {
    /// Peers by their key.
    Peer = 1,
    /// DHT records by their key.
    Record = 2,
}

/// One record to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolRecord {
    /// What it belongs to.
    pub space: Space,
    /// Under which key; an older record of the same key is replaced.
    pub key: Vec<u8>,
    /// What.
    pub value: Vec<u8>,
    /// From this time on it is gone.
    pub expires_at: UnixTime,
}

/// Why a spool did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpoolError {
    /// A key or value is larger than a spool takes. Nothing was changed.
    #[error("a record of {bytes} bytes is too large for the spool")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Another process has the spool open.
    #[error("the spool is in use by another process")]
    InUse,
    /// There is no space left on the disk.
    #[error("the disk is full")]
    Full,
    /// The operating system failed to read or write.
    #[error("the spool cannot be used: {0}")]
    Io(String),
    /// The engine of the spool failed on stored bytes. It refuses everything until it is opened anew.
    #[error("the spool is damaged: {0}")]
    Damaged(String),
}

/// A key and its value.
pub type SpoolPair = (Vec<u8>, Vec<u8>);

/// A store of expiring records with a bounded size. May be shared between threads.
pub trait Spool: Send + Sync {
    /// Keeps records, all or none, durable on return. What is older and what expires soonest makes room.
    ///
    /// # Errors
    /// A record is too large, or the disk cannot be used.
    fn put_batch(&self, records: &[SpoolRecord]) -> Result<(), SpoolError>;

    /// The value of `key`, unless it has expired.
    ///
    /// # Errors
    /// When the disk cannot be used.
    fn get(&self, space: Space, key: &[u8], now: UnixTime) -> Result<Option<Vec<u8>>, SpoolError>;

    /// Forgets a record; durable after the next put or flush. An absent one is fine.
    ///
    /// # Errors
    /// When the disk cannot be used.
    fn remove(&self, space: Space, key: &[u8]) -> Result<(), SpoolError>;

    /// Up to `limit` unexpired records whose key starts with `prefix`, in key order.
    ///
    /// # Errors
    /// When the disk cannot be used.
    fn scan(&self, space: Space, prefix: &[u8], now: UnixTime, limit: usize) -> Result<Vec<SpoolPair>, SpoolError>;

    /// Bytes of keys and values held, expired ones that were not swept included.
    fn len_bytes(&self) -> u64;

    /// Removes what has expired and says how many records that were.
    ///
    /// # Errors
    /// When the disk cannot be used.
    fn sweep(&self, now: UnixTime) -> Result<usize, SpoolError>;

    /// Makes everything durable.
    ///
    /// # Errors
    /// When the disk cannot be used.
    fn flush(&self) -> Result<(), SpoolError>;
}

/// Refuses records that are too large.
fn check_sizes(records: &[SpoolRecord]) -> Result<(), SpoolError> {
    let large =
        |record: &&SpoolRecord| record.key.len() > SPOOL_KEY_BYTES_MAX || record.value.len() > SPOOL_VALUE_BYTES_MAX;
    match records.iter().find(large) {
        Some(record) => Err(SpoolError::TooLarge { bytes: record.key.len().saturating_add(record.value.len()) }),
        None => Ok(()),
    }
}

/// The key as it is stored: its space first, so that spaces are ranges.
fn stored_key(space: Space, key: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(key.len() + 1);
    stored.push(space as u8);
    stored.extend_from_slice(key);
    stored
}

#[cfg(test)]
mod tests;
