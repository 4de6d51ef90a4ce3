//! Small records of the open transaction that are not in a file yet: each is written once, as it is at last.
//!
//! A session and the counters of a conversation change with every message of a batch. Reads look through here; the
//! commit writes what waits, in the order of the keys. Large values go to the file at once, so that this stays small.

use std::collections::BTreeMap;

use silbo_protocol::store::{Pair, Table};

/// Longest value that waits.
pub(super) const PENDING_VALUE_BYTES_MAX: usize = 1_024;
/// Records that wait: 2,048 × 1 KiB = 2 MiB. One more, and all are written before the commit.
pub(super) const PENDING_MAX: usize = 2_048;

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Pending(BTreeMap<(Table, Vec<u8>), Vec<u8>>);

impl Pending {
    /// Takes a record in; false if it has to be written at once.
    pub(super) fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> bool {
        if value.len() > PENDING_VALUE_BYTES_MAX {
            return false;
        }
        self.0.insert((table, key.to_vec()), value.to_vec());
        true
    }

    /// True when what waits has to be written before more is taken in.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= PENDING_MAX
    }

    /// Forgets a record: what is written to the file about this key comes later.
    pub(super) fn forget(&mut self, table: Table, key: &[u8]) {
        if !self.0.is_empty() {
            self.0.remove(&(table, key.to_vec()));
        }
    }

    /// The value that waits under this key.
    pub(super) fn value(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        if self.0.is_empty() { None } else { self.0.get(&(table, key.to_vec())).cloned() }
    }

    /// Up to `limit` records as a scan should see them, given the first `limit` the file has.
    pub(super) fn laid_over(
        &self,
        stored: Vec<Pair>,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Vec<Pair> {
        let of_prefix = |(of, key): &(Table, Vec<u8>)| *of == table && key.starts_with(prefix);
        let mut waiting = self
            .0
            .range((table, prefix.to_vec())..)
            .take_while(|(at, _)| of_prefix(at))
            .filter(|((_, key), _)| after.is_none_or(|after| key.as_slice() > after))
            .peekable();
        if waiting.peek().is_none() {
            return stored;
        }
        let mut pairs: BTreeMap<Vec<u8>, Vec<u8>> = stored.into_iter().collect();
        pairs.extend(waiting.map(|((_, key), value)| (key.clone(), value.clone())));
        pairs.into_iter().take(limit).collect()
    }

    /// Everything that waits, which then waits no more.
    pub(super) fn take(&mut self) -> impl Iterator<Item = ((Table, Vec<u8>), Vec<u8>)> + use<> {
        std::mem::take(&mut self.0).into_iter()
    }
}
