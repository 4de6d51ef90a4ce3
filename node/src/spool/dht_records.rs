//! DHT records this node keeps for others. They are signed and blinded; nothing here can read or judge them.

use std::sync::Arc;

use silbo_protocol::limits::DHT_VALUE_BYTES_MAX;
use silbo_protocol::time::{DAY_MS, UnixTime};

use super::{Space, Spool, SpoolError, SpoolPair, SpoolRecord};

/// Longest time a record is kept without being published again, whatever it claims.
const RECORD_KEEP_MS_MAX: u64 = 2 * DAY_MS;

/// The DHT records in a spool.
#[derive(Clone)]
pub struct DhtRecords {
    spool: Arc<dyn Spool>,
}

impl DhtRecords {
    /// The DHT records in this spool.
    #[must_use]
    pub fn new(spool: Arc<dyn Spool>) -> DhtRecords {
        DhtRecords { spool }
    }

    /// Keeps a record until `expires_at`, at most two days.
    ///
    /// # Errors
    /// The value is larger than a DHT value may be, or the spool cannot be used.
    pub fn store(&self, key: &[u8], value: &[u8], expires_at: UnixTime, now: UnixTime) -> Result<(), SpoolError> {
        if value.len() > DHT_VALUE_BYTES_MAX {
            return Err(SpoolError::TooLarge { bytes: value.len() });
        }
        self.spool.put_batch(&[SpoolRecord {
            space: Space::Record,
            key: key.to_vec(),
            value: value.to_vec(),
            expires_at: expires_at.min(now.after_ms(RECORD_KEEP_MS_MAX)),
        }])
    }

    /// The record under `key`, if it is kept and has not expired.
    ///
    /// # Errors
    /// When the spool cannot be used.
    pub fn load(&self, key: &[u8], now: UnixTime) -> Result<Option<Vec<u8>>, SpoolError> {
        self.spool.get(Space::Record, key, now)
    }

    /// Up to `limit` records, in key order.
    ///
    /// # Errors
    /// When the spool cannot be used.
    pub fn all(&self, limit: usize, now: UnixTime) -> Result<Vec<SpoolPair>, SpoolError> {
        self.spool.scan(Space::Record, &[], None, now, limit)
    }

    /// Forgets a record.
    ///
    /// # Errors
    /// When the spool cannot be used.
    pub fn forget(&self, key: &[u8]) -> Result<(), SpoolError> {
        self.spool.remove(Space::Record, key)
    }
}
