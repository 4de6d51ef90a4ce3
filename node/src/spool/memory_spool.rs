//! A spool that forgets at exit: for tests, and for a node whose disk has no room for a real one.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use silbo_protocol::time::UnixTime;

use super::shelf::Shelf;
use super::{
    SPOOL_BYTES_MAX, Space, Spool, SpoolError, SpoolKey, SpoolPair, SpoolRecord, check_sizes, first_key, stored_key,
};

/// A [`Spool`] in memory.
#[derive(Debug)]
pub struct MemorySpool {
    held: Mutex<Held>,
    bytes_max: u64,
}

#[derive(Debug, Default)]
struct Held {
    shelf: Shelf,
    values: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl MemorySpool {
    /// An empty spool that holds up to `bytes_max` bytes of keys and values.
    #[must_use]
    pub fn new(bytes_max: u64) -> MemorySpool {
        MemorySpool { held: Mutex::default(), bytes_max }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemorySpool {
    fn default() -> MemorySpool {
        MemorySpool::new(SPOOL_BYTES_MAX)
    }
}

impl Spool for MemorySpool {
    fn change_batch(&self, records: &[SpoolRecord], removals: &[SpoolKey]) -> Result<(), SpoolError> {
        check_sizes(records)?;
        let mut held = self.held();
        for (space, key) in removals {
            let key = stored_key(*space, key);
            held.shelf.remove(&key);
            held.values.remove(&key);
        }
        for record in records {
            let key = stored_key(record.space, &record.key);
            held.shelf.insert(key.clone(), record.value.len(), record.expires_at);
            held.values.insert(key, record.value.clone());
        }
        for key in held.shelf.make_room(self.bytes_max) {
            held.values.remove(&key);
        }
        Ok(())
    }

    fn get(&self, space: Space, key: &[u8], now: UnixTime) -> Result<Option<Vec<u8>>, SpoolError> {
        let key = stored_key(space, key);
        let held = self.held();
        Ok(held.values.get(&key).filter(|_| held.shelf.is_alive(&key, now)).cloned())
    }

    fn remove(&self, space: Space, key: &[u8]) -> Result<(), SpoolError> {
        let key = stored_key(space, key);
        let mut held = self.held();
        held.shelf.remove(&key);
        held.values.remove(&key);
        Ok(())
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        after: Option<&[u8]>,
        now: UnixTime,
        limit: usize,
    ) -> Result<Vec<SpoolPair>, SpoolError> {
        let first = first_key(space, prefix, after);
        let prefix = stored_key(space, prefix);
        let held = self.held();
        Ok(held
            .values
            .range(first..)
            .take_while(|(key, _)| key.starts_with(&prefix))
            .filter(|(key, _)| held.shelf.is_alive(key, now))
            .filter_map(|(key, value)| Some((key.get(1..)?.to_vec(), value.clone())))
            .take(limit)
            .collect())
    }

    fn len_bytes(&self) -> u64 {
        self.held().shelf.bytes()
    }

    fn sweep(&self, now: UnixTime) -> Result<usize, SpoolError> {
        let mut held = self.held();
        let expired = held.shelf.expired(now);
        for key in &expired {
            held.shelf.remove(key);
            held.values.remove(key);
        }
        Ok(expired.len())
    }

    fn flush(&self) -> Result<(), SpoolError> {
        Ok(())
    }
}
