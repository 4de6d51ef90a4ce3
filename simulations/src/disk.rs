//! The disk of a virtual node: a [`MemoryStore`] that survives crashes and can be told to fail.

use std::cell::Cell;

use silbo_protocol::ids::{ChatId, MessageId};
use silbo_protocol::memory_store::MemoryStore;
use silbo_protocol::store::{ItemRow, Pair, Store, StoreError, Table, Write};
use silbo_protocol::time::UnixTime;

/// What a node has committed, and how much longer the disk works.
#[derive(Debug, Default)]
pub struct Disk {
    store: MemoryStore,
    reads_left: Cell<Option<u32>>,
    full: bool,
}

impl Disk {
    /// The committed state.
    pub fn store(&self) -> &MemoryStore {
        &self.store
    }

    /// Makes every read after the next `reads` fail.
    pub fn fail_after_reads(&mut self, reads: u32) {
        self.reads_left.set(Some(reads));
    }

    /// Makes every commit fail, or work again.
    pub fn set_full(&mut self, full: bool) {
        self.full = full;
    }

    /// Lets reads work again, as after a restart.
    pub fn allow_reads(&mut self) {
        self.reads_left.set(None);
    }

    /// Ends all faults.
    pub fn repair(&mut self) {
        self.reads_left.set(None);
        self.full = false;
    }

    /// What is committed, as a copy of the device would have it.
    pub fn copy(&self) -> Self {
        Self { store: self.store.clone(), ..Self::default() }
    }

    /// Forgets everything.
    pub fn wipe(&mut self) {
        self.store = MemoryStore::new();
    }

    /// Commits all of `writes` or none.
    ///
    /// # Errors
    /// `Broken` while the disk is full.
    pub fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        if self.full && !writes.is_empty() {
            return Err(StoreError::Broken(String::from("no space left")));
        }
        self.store.apply(writes);
        Ok(())
    }

    fn read(&self) -> Result<(), StoreError> {
        match self.reads_left.get() {
            None => Ok(()),
            Some(0) => Err(StoreError::Broken(String::from("read failed"))),
            Some(left) => {
                self.reads_left.set(Some(left - 1));
                Ok(())
            }
        }
    }
}

impl Store for Disk {
    fn value(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read()?;
        self.store.value(table, key)
    }

    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.read()?;
        self.store.scan(table, prefix, after, limit)
    }

    fn item(&self, chat: &ChatId, id: &MessageId) -> Result<Option<ItemRow>, StoreError> {
        self.read()?;
        self.store.item(chat, id)
    }

    fn chat_items(&self, chat: &ChatId, after: Option<&MessageId>, limit: usize) -> Result<Vec<MessageId>, StoreError> {
        self.read()?;
        self.store.chat_items(chat, after, limit)
    }

    fn items_expiring(&self, until: UnixTime, limit: usize) -> Result<Vec<(ChatId, MessageId)>, StoreError> {
        self.read()?;
        self.store.items_expiring(until, limit)
    }

    fn next_expiry(&self) -> Result<Option<UnixTime>, StoreError> {
        self.read()?;
        self.store.next_expiry()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_commits_nothing_and_a_repaired_one_everything() {
        let write = Write::Put { table: Table::Meta, key: b"k".to_vec(), value: b"v".to_vec() };
        let mut disk = Disk::default();
        disk.set_full(true);
        assert!(disk.commit(std::slice::from_ref(&write)).is_err());
        assert_eq!(disk.store().count(Table::Meta), 0);
        disk.repair();
        disk.commit(&[write]).expect("a repaired disk works");
        disk.fail_after_reads(1);
        assert!(disk.value(Table::Meta, b"k").is_ok());
        assert!(disk.value(Table::Meta, b"k").is_err());
    }
}
