//! What a spool holds, without the values: which key expires when and how large it is.

use std::collections::{BTreeMap, BTreeSet};

use silbo_protocol::time::UnixTime;

use super::NEVER;

/// Keys by name and by expiry, and the sum of their sizes.
#[derive(Clone, Debug, Default)]
pub(super) struct Shelf {
    entries: BTreeMap<Vec<u8>, Entry>,
    /// Those that expire at all: half the memory for a spool full of carried mail.
    by_expiry: BTreeSet<(UnixTime, Vec<u8>)>,
    bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    expires_at: UnixTime,
    bytes: u64,
}

impl Shelf {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn is_alive(&self, key: &[u8], now: UnixTime) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.expires_at > now)
    }

    pub(super) fn insert(&mut self, key: Vec<u8>, value_bytes: usize, expires_at: UnixTime) {
        self.remove(&key);
        let bytes = (key.len() as u64).saturating_add(value_bytes as u64);
        self.bytes = self.bytes.saturating_add(bytes);
        if expires_at != NEVER {
            self.by_expiry.insert((expires_at, key.clone()));
        }
        self.entries.insert(key, Entry { expires_at, bytes });
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes = self.bytes.saturating_sub(entry.bytes);
            self.by_expiry.remove(&(entry.expires_at, key.to_vec()));
        }
    }

    /// Removes what expires soonest until no more than `bytes_max` are left, and says what that was.
    pub(super) fn make_room(&mut self, bytes_max: u64) -> Vec<Vec<u8>> {
        let mut evicted = Vec::new();
        while self.bytes > bytes_max {
            let soonest = self.by_expiry.first().map(|(_, key)| key);
            let Some(key) = soonest.or_else(|| self.entries.keys().next()).cloned() else { break };
            self.remove(&key);
            evicted.push(key);
        }
        evicted
    }

    /// Keys that have expired.
    pub(super) fn expired(&self, now: UnixTime) -> Vec<Vec<u8>> {
        self.by_expiry.iter().take_while(|(at, _)| *at <= now).map(|(_, key)| key.clone()).collect()
    }
}
