//! The engine's tables that live in the spool: what is carried for others.
//!
//! The spool knows no transactions, so the changes of the open one wait in an overlay: reads look through it, the commit
//! hands them over in one batch after both databases, a rollback forgets them. **The spool may fail without anybody
//! losing anything that exists only once**: it is then replaced by one in memory for the rest of the run, and the engine
//! forgets a copy whose bytes it does not find.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use silbo_protocol::store::Pair;
use silbo_protocol::time::UnixTime;

use crate::spool::{MemorySpool, NEVER, SPOOL_VALUE_BYTES_MAX, Space, Spool, SpoolError, SpoolKey, SpoolRecord};

/// What is read expires never, so any time will do.
const ANY_TIME: UnixTime = UnixTime(0);

/// A spool and the changes of the open transaction.
pub(super) struct Spooled {
    spool: RefCell<Arc<dyn Spool>>,
    /// A value to put, or none to remove.
    overlay: BTreeMap<SpoolKey, Option<Vec<u8>>>,
}

impl Default for Spooled {
    fn default() -> Spooled {
        Spooled::on(Arc::new(MemorySpool::new(crate::spool::NODE_SPOOL_BYTES_MAX)))
    }
}

impl Spooled {
    pub(super) fn on(spool: Arc<dyn Spool>) -> Spooled {
        Spooled { spool: RefCell::new(spool), overlay: BTreeMap::new() }
    }

    pub(super) fn put(&mut self, space: Space, key: &[u8], value: &[u8]) {
        if value.len() > SPOOL_VALUE_BYTES_MAX {
            // The engine's own bounds are smaller; a copy without bytes is one it forgets.
            tracing::warn!(bytes = value.len(), "a record too large for the spool is left out");
            return;
        }
        self.overlay.insert((space, key.to_vec()), Some(value.to_vec()));
    }

    pub(super) fn delete(&mut self, space: Space, key: &[u8]) {
        self.overlay.insert((space, key.to_vec()), None);
    }

    pub(super) fn value(&self, space: Space, key: &[u8]) -> Option<Vec<u8>> {
        match self.overlay.get(&(space, key.to_vec())) {
            Some(change) => change.clone(),
            None => self.read(|spool| spool.get(space, key, ANY_TIME)),
        }
    }

    pub(super) fn scan(&self, space: Space, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<Pair> {
        let changed = || {
            let from = (space, prefix.to_vec());
            let all = self.overlay.range(from..).take_while(|((of, key), _)| *of == space && key.starts_with(prefix));
            all.filter(|((_, key), _)| after.is_none_or(|after| key.as_slice() > after))
        };
        // Every change may hide one record, so that as many more are read.
        let wanted = limit.saturating_add(changed().count());
        let stored = self.read(|spool| spool.scan(space, prefix, after, ANY_TIME, wanted));
        let mut pairs: BTreeMap<Vec<u8>, Vec<u8>> = stored.into_iter().collect();
        for ((_, key), change) in changed() {
            match change {
                Some(value) => pairs.insert(key.clone(), value.clone()),
                None => pairs.remove(key),
            };
        }
        pairs.into_iter().take(limit).collect()
    }

    /// Hands the changes of the transaction over; durable on return as far as the spool is.
    pub(super) fn commit(&mut self) {
        if self.overlay.is_empty() {
            return;
        }
        let (mut records, mut removals) = (Vec::new(), Vec::new());
        for ((space, key), change) in std::mem::take(&mut self.overlay) {
            match change {
                Some(value) => records.push(SpoolRecord { space, key, value, expires_at: NEVER }),
                None => removals.push((space, key)),
            }
        }
        let changed = self.spool.borrow().change_batch(&records, &removals);
        if let Err(problem) = changed {
            self.give_up(&problem);
            if let Err(problem) = self.spool.borrow().change_batch(&records, &removals) {
                tracing::warn!(%problem, "what is carried was not kept");
            }
        }
    }

    pub(super) fn rollback(&mut self) {
        self.overlay.clear();
    }

    fn read<T: Default>(&self, read: impl FnOnce(&dyn Spool) -> Result<T, SpoolError>) -> T {
        let found = read(self.spool.borrow().as_ref());
        found.unwrap_or_else(|problem| {
            self.give_up(&problem);
            T::default()
        })
    }

    fn give_up(&self, problem: &SpoolError) {
        tracing::warn!(%problem, "the spool failed; until the next start what is carried for others is kept in memory");
        self.spool.replace(Spooled::default().spool.into_inner());
    }
}
