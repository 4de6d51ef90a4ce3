//! The relay's records: their keys, and one call's view of the store with what the call has already written.

use std::collections::BTreeMap;

use prost::Message;

use crate::ids::{BlobId, QueueRid, Tag};
use crate::store::{Pair, Store, StoreError, Table, Write};

/// Generated from `proto/mailbox_state.proto`.
#[allow(missing_docs, clippy::all)]
pub(super) mod state {
    include!(concat!(env!("OUT_DIR"), "/silbo.state.mailbox.rs"));
}

pub(super) const META_KEY: &[u8] = b"key";
pub(super) const META_COUNTERS: &[u8] = b"counters";
pub(super) const META_CLOCK: &[u8] = b"clock";
pub(super) const META_LIMITS: &[u8] = b"limits";

/// What an entry of the expiry index removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiring {
    /// An envelope.
    Item(QueueRid, u64),
    /// A preimage published for a purged envelope.
    Receipt(QueueRid, Tag),
    /// A blob.
    Blob(BlobId),
    /// A queue nobody has renewed.
    Queue(QueueRid),
}

const ITEM: u8 = 1;
const RECEIPT: u8 = 2;
const BLOB: u8 = 3;
const QUEUE: u8 = 4;

impl Expiring {
    /// The key in the index: hour, big-endian, then a kind byte, then what expires.
    pub(super) fn key(&self, hour: u32) -> Vec<u8> {
        let mut key = hour.to_be_bytes().to_vec();
        match self {
            Self::Item(rid, seq) => {
                key.push(ITEM);
                key.extend_from_slice(&item_key(rid, *seq));
            }
            Self::Receipt(rid, tag) => {
                key.push(RECEIPT);
                key.extend_from_slice(&tag_key(rid, tag));
            }
            Self::Blob(id) => {
                key.push(BLOB);
                key.extend_from_slice(id.as_bytes());
            }
            Self::Queue(rid) => {
                key.push(QUEUE);
                key.extend_from_slice(rid.as_bytes());
            }
        }
        key
    }

    /// Reads a key of the index.
    pub(super) fn read(key: &[u8]) -> Option<(u32, Self)> {
        let (hour, rest) = key.split_first_chunk::<4>()?;
        let (&kind, rest) = rest.split_first()?;
        let expiring = match kind {
            ITEM => {
                let (rid, seq) = rest.split_first_chunk::<16>()?;
                Self::Item(QueueRid(*rid), u64::from_be_bytes(seq.try_into().ok()?))
            }
            RECEIPT => {
                let (rid, tag) = rest.split_first_chunk::<16>()?;
                Self::Receipt(QueueRid(*rid), Tag::read(tag)?)
            }
            BLOB => Self::Blob(BlobId::read(rest)?),
            QUEUE => Self::Queue(QueueRid::read(rest)?),
            _ => return None,
        };
        Some((u32::from_be_bytes(*hour), expiring))
    }
}

/// Key of an envelope: rid ‖ sequence, big-endian, so that a scan gives oldest first.
pub(super) fn item_key(rid: &QueueRid, seq: u64) -> Vec<u8> {
    [rid.as_bytes(), &seq.to_be_bytes()].concat()
}

/// The sequence in a key of [`item_key`].
pub(super) fn seq_of(key: &[u8]) -> Option<u64> {
    key.get(16..)?.try_into().ok().map(u64::from_be_bytes)
}

/// Key of a tag within a queue.
pub(super) fn tag_key(rid: &QueueRid, tag: &Tag) -> Vec<u8> {
    [rid.as_bytes(), tag.as_bytes()].concat()
}

/// The tag in a key of [`tag_key`].
pub(super) fn tag_in(key: &[u8]) -> Option<Tag> {
    Tag::read(key.get(16..)?)
}

/// A record of ours read from the store; one that does not decode is damage.
pub(super) fn decode<M: Message + Default>(table: Table, bytes: &[u8]) -> Result<M, StoreError> {
    M::decode(bytes).map_err(|_| StoreError::Damaged { table })
}

/// One call's view of the store: reads see the call's own writes; dropping it undoes everything.
pub(super) struct Batch<'a> {
    store: &'a dyn Store,
    values: BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(store: &'a dyn Store) -> Self {
        Self { store, values: BTreeMap::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub(super) fn value(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.values.get(&(table, key.to_vec())) {
            Some(written) => Ok(written.clone()),
            None => self.store.value(table, key),
        }
    }

    pub(super) fn record<M: Message + Default>(&self, table: Table, key: &[u8]) -> Result<Option<M>, StoreError> {
        self.value(table, key)?.map(|bytes| decode(table, &bytes)).transpose()
    }

    pub(super) fn put(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.values.insert((table, key), Some(value));
    }

    pub(super) fn put_record(&mut self, table: Table, key: &[u8], record: &impl Message) {
        self.put(table, key.to_vec(), record.encode_to_vec());
    }

    pub(super) fn delete(&mut self, table: Table, key: Vec<u8>) {
        self.values.insert((table, key), None);
    }

    /// Up to `limit` pairs of `prefix` in key order, with this call's own writes merged in.
    pub(super) fn scan(&self, table: Table, prefix: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        let from = (table, prefix.to_vec());
        let written: Vec<(&Vec<u8>, &Option<Vec<u8>>)> = self
            .values
            .range(from..)
            .take_while(|((of, key), _)| *of == table && key.starts_with(prefix))
            .map(|((_, key), value)| (key, value))
            .collect();
        let stored = self.store.scan(table, prefix, None, limit.saturating_add(written.len()))?;
        let mut merged: BTreeMap<Vec<u8>, Vec<u8>> = stored.into_iter().collect();
        for (key, value) in written {
            match value {
                Some(value) => merged.insert(key.clone(), value.clone()),
                None => merged.remove(key),
            };
        }
        Ok(merged.into_iter().take(limit).collect())
    }

    /// Up to `limit` stored pairs of `prefix` after a cursor; for calls that write nothing to this table.
    pub(super) fn scan_after(
        &self,
        table: Table,
        prefix: &[u8],
        after: &[u8],
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        self.store.scan(table, prefix, Some(after), limit)
    }

    /// The writes to commit, each key once.
    pub(super) fn into_writes(self) -> Vec<Write> {
        self.values
            .into_iter()
            .map(|((table, key), value)| match value {
                Some(value) => Write::Put { table, key, value },
                None => Write::Delete { table, key },
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_store::MemoryStore;

    #[test]
    fn every_index_key_reads_back_and_sorts_by_hour_first() {
        let all = [
            Expiring::Item(QueueRid([1; 16]), 7),
            Expiring::Receipt(QueueRid([2; 16]), Tag([3; 12])),
            Expiring::Blob(BlobId([4; 16])),
            Expiring::Queue(QueueRid([5; 16])),
        ];
        for expiring in all {
            assert_eq!(Expiring::read(&expiring.key(300)), Some((300, expiring)));
        }
        assert!(Expiring::Queue(QueueRid([9; 16])).key(255) < Expiring::Item(QueueRid([0; 16]), 0).key(256));
        assert_eq!(Expiring::read(&[0, 0, 0, 1, 9, 1, 2]), None);
        assert_eq!(Expiring::read(&[0, 0, 0, 1]), None);
    }

    #[test]
    fn a_batch_reads_its_own_writes_and_deletes() {
        let mut store = MemoryStore::new();
        let put = |key: &[u8]| Write::Put { table: Table::MailBlob, key: key.to_vec(), value: vec![0] };
        store.apply(&[put(b"a1"), put(b"a2"), put(b"a3"), put(b"b1")]);
        let mut batch = Batch::new(&store);
        batch.delete(Table::MailBlob, b"a1".to_vec());
        batch.put(Table::MailBlob, b"a0".to_vec(), vec![9]);
        let keys: Vec<Vec<u8>> =
            batch.scan(Table::MailBlob, b"a", 2).unwrap().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, [b"a0", b"a2"]);
        assert_eq!(batch.value(Table::MailBlob, b"a1").unwrap(), None);
        assert_eq!(batch.value(Table::MailBlob, b"a0").unwrap(), Some(vec![9]));
        assert_eq!(batch.into_writes().len(), 2);
    }
}
