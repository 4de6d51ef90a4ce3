//! What is replicated by design and may be lost: mail carried for others, addresses of peers and DHT records.
//!
//! ```text
//!   storage     ─┐  (carried mail and vaccines)
//!   DhtRecords  ─┼─▶ dyn Spool ──▶ SledSpool   sled, flushed and synced, of bounded size
//!   PeerCache   ─┘            └──▶ MemorySpool when there is no disk to use
//! ```
//! Nothing that exists only once and nothing private goes in here: it is not encrypted, and a damaged spool is set aside
//! and begun anew. When the spool is full, what expires soonest makes room. Records of the engine, which bounds and
//! sweeps them by itself, expire [`NEVER`] and make room last.

mod dht_records;
mod memory_spool;
mod peer_cache;
mod shelf;
mod sled_spool;

use silbo_protocol::limits::{CARRIED_BYTES_MAX, CARRIED_ENVELOPES_MAX, VACCINES_MAX};
use silbo_protocol::time::UnixTime;

pub use dht_records::DhtRecords;
pub use memory_spool::MemorySpool;
pub use peer_cache::{CachedPeer, PeerCache};
pub use sled_spool::{SledSpool, SpoolOpened};

/// Bytes of keys and values a spool holds unless told otherwise: 16 MiB, for example 8,000 records of 1 KiB and 16,000
/// peers.
pub const SPOOL_BYTES_MAX: u64 = 16 << 20;
/// What the spool of a node may hold: mail carried for others (64 MiB of envelopes and, for each of 100,000, 60 bytes of
/// keys and state), 20,000 vaccines of 40 bytes, and peers and DHT records: 87 MiB.
pub const NODE_SPOOL_BYTES_MAX: u64 =
    CARRIED_BYTES_MAX + CARRIED_ENVELOPES_MAX as u64 * 60 + VACCINES_MAX as u64 * 40 + SPOOL_BYTES_MAX;
/// Largest key.
pub const SPOOL_KEY_BYTES_MAX: usize = 256;
/// Largest value: the largest envelope that is carried has 16 KiB.
pub const SPOOL_VALUE_BYTES_MAX: usize = 20 * 1_024;
/// When a record expires that only its owner removes.
pub const NEVER: UnixTime = UnixTime(u64::MAX);

/// What a record belongs to. The numbers are stored: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Space {
    /// Peers by their key.
    Peer = 1,
    /// DHT records by their key.
    Record = 2,
    /// Envelopes carried for others, by content id.
    Carried = 3,
    /// What changes about a carried envelope, by content id.
    CarriedState = 4,
    /// Published preimages by tag.
    Vaccine = 5,
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
/// A key and what it belongs to.
pub type SpoolKey = (Space, Vec<u8>);

/// A store of expiring records with a bounded size. May be shared between threads.
pub trait Spool: Send + Sync {
    /// Removes and then keeps records, all or none, durable on return. What is older and what expires soonest makes room.
    ///
    /// # Errors
    /// A record is too large, or the disk cannot be used.
    fn change_batch(&self, records: &[SpoolRecord], removals: &[SpoolKey]) -> Result<(), SpoolError>;

    /// Keeps records, all or none, durable on return.
    ///
    /// # Errors
    /// As [`Spool::change_batch`].
    fn put_batch(&self, records: &[SpoolRecord]) -> Result<(), SpoolError> {
        self.change_batch(records, &[])
    }

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

    /// Up to `limit` unexpired records whose key starts with `prefix` and is greater than `after`, in key order.
    ///
    /// # Errors
    /// When the disk cannot be used.
    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        after: Option<&[u8]>,
        now: UnixTime,
        limit: usize,
    ) -> Result<Vec<SpoolPair>, SpoolError>;

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

/// The first stored key a scan may give.
fn first_key(space: Space, prefix: &[u8], after: Option<&[u8]>) -> Vec<u8> {
    match after {
        // The smallest key greater than `after` is `after` and a zero byte.
        Some(after) if after >= prefix => stored_key(space, &[after, &[0]].concat()),
        _ => stored_key(space, prefix),
    }
}

#[cfg(test)]
mod tests;
