//! The distributed hash table of the virtual world: one honest map that checks values like every node must.

use std::collections::BTreeMap;

use silbo_protocol::presence;
use silbo_protocol::time::UnixTime;

/// Records by key, as all servers together hold them.
#[derive(Debug, Default)]
pub struct Dht {
    records: BTreeMap<[u8; 32], Vec<u8>>,
    /// While true nobody reaches it.
    pub down: bool,
}

impl Dht {
    /// Takes a value as every server of the table does: if it validates and replaces what is held. Says whether it
    /// validates.
    pub fn publish(&mut self, key: [u8; 32], value: Vec<u8>, now: UnixTime) -> bool {
        if self.down {
            return false;
        }
        let now_s = now.0 / 1_000;
        let Ok(offered) = presence::validate(&key, &value, now_s) else { return false };
        let held = self.records.get(&key).and_then(|held| presence::validate(&key, held, now_s).ok());
        if held.is_none_or(|held| offered.replaces(&held)) {
            self.records.insert(key, value);
        }
        true
    }

    /// The value under a key.
    pub fn find(&self, key: &[u8; 32]) -> Option<&Vec<u8>> {
        self.records.get(key).filter(|_| !self.down)
    }

    /// Records held.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// True without a record.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}
