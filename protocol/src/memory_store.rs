//! A [`Store`] in memory, for tests and simulations: ordered tables, message rows and the event log.
//!
//! It holds exactly what was given to [`MemoryStore::apply`], in order, all or nothing per call. Cloning it is a
//! snapshot, which is how simulations crash and restart a node. It may not be used for a real account: it forgets.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::ids::{ChatId, MessageId};
use crate::step::Event;
use crate::store::{ItemRow, Pair, Store, StoreError, Table, Write};
use crate::time::UnixTime;

/// Everything a node has committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryStore {
    tables: BTreeMap<Table, BTreeMap<Vec<u8>, Vec<u8>>>,
    items: BTreeMap<(ChatId, MessageId), ItemRow>,
    expiring: BTreeMap<(UnixTime, ChatId, MessageId), ()>,
    events: Vec<Event>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Commits the writes of one step.
    pub fn apply(&mut self, writes: &[Write]) {
        for write in writes {
            match write {
                Write::Put { table, key, value } => {
                    self.tables.entry(*table).or_default().insert(key.clone(), value.clone());
                }
                Write::Delete { table, key } => {
                    if let Some(pairs) = self.tables.get_mut(table) {
                        pairs.remove(key);
                    }
                }
                Write::PutItem(row) => self.put_item(row),
                Write::EraseItem { chat, id } => self.erase_item(*chat, *id),
                Write::EraseChat { chat } => {
                    let ids: Vec<MessageId> = self.chat_rows(chat).map(|row| row.id).collect();
                    for id in ids {
                        self.erase_item(*chat, id);
                    }
                }
                Write::AppendEvent(event) => self.events.push(event.clone()),
            }
        }
    }

    /// The persisted events, oldest first.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The rows of a conversation as a screen orders them: by Lamport number, then `sent_at`, then id.
    pub fn rows(&self, chat: &ChatId) -> Vec<ItemRow> {
        let mut rows: Vec<ItemRow> = self.chat_rows(chat).cloned().collect();
        rows.sort_by_key(|row| (row.lamport, row.sent_at, row.id));
        rows
    }

    /// How many pairs a table holds.
    pub fn count(&self, table: Table) -> usize {
        self.tables.get(&table).map_or(0, BTreeMap::len)
    }

    /// Every pair of a table, in key order.
    pub fn pairs(&self, table: Table) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.tables.get(&table).into_iter().flatten().map(|(key, value)| (key.as_slice(), value.as_slice()))
    }

    fn chat_rows(&self, chat: &ChatId) -> impl Iterator<Item = &ItemRow> {
        let from = (*chat, MessageId([0; 12]));
        let to = (*chat, MessageId([0xff; 12]));
        self.items.range(from..=to).map(|(_, row)| row)
    }

    fn put_item(&mut self, row: &ItemRow) {
        self.erase_item(row.chat, row.id);
        if row.expires_at.0 > 0 {
            self.expiring.insert((row.expires_at, row.chat, row.id), ());
        }
        self.items.insert((row.chat, row.id), row.clone());
    }

    fn erase_item(&mut self, chat: ChatId, id: MessageId) {
        if let Some(row) = self.items.remove(&(chat, id)) {
            self.expiring.remove(&(row.expires_at, chat, id));
        }
    }
}

impl Store for MemoryStore {
    fn value(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.tables.get(&table).and_then(|pairs| pairs.get(key)).cloned())
    }

    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        let Some(pairs) = self.tables.get(&table) else { return Ok(Vec::new()) };
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        Ok(pairs
            .range::<[u8], _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(limit)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }

    fn item(&self, chat: &ChatId, id: &MessageId) -> Result<Option<ItemRow>, StoreError> {
        Ok(self.items.get(&(*chat, *id)).cloned())
    }

    fn items_expiring(&self, until: UnixTime, limit: usize) -> Result<Vec<(ChatId, MessageId)>, StoreError> {
        Ok(self
            .expiring
            .keys()
            .take_while(|(at, _, _)| *at <= until)
            .take(limit)
            .map(|(_, chat, id)| (*chat, *id))
            .collect())
    }

    fn chat_items(&self, chat: &ChatId, after: Option<&MessageId>, limit: usize) -> Result<Vec<MessageId>, StoreError> {
        let from = match after {
            Some(after) => Bound::Excluded((*chat, *after)),
            None => Bound::Included((*chat, MessageId([0; 12]))),
        };
        let to = Bound::Included((*chat, MessageId([0xff; 12])));
        if after.is_some_and(|after| after.0 == [0xff; 12]) {
            return Ok(Vec::new());
        }
        Ok(self.items.range((from, to)).take(limit).map(|((_, id), _)| *id).collect())
    }

    fn next_expiry(&self) -> Result<Option<UnixTime>, StoreError> {
        Ok(self.expiring.keys().next().map(|(at, _, _)| *at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &[u8], value: &[u8]) -> Write {
        Write::Put { table: Table::Meta, key: key.to_vec(), value: value.to_vec() }
    }

    fn row(chat: u8, id: u8, expires_at: u64) -> ItemRow {
        ItemRow {
            chat: ChatId([chat; 16]),
            id: MessageId([id; 12]),
            lamport: u64::from(id),
            sent_at: UnixTime(1),
            stored_at: UnixTime(1),
            outgoing: false,
            author: None,
            visible: true,
            body: String::from("text"),
            state: 0,
            expires_at: UnixTime(expires_at),
            slot: Vec::new(),
        }
    }

    #[test]
    fn a_scan_sees_only_its_prefix_after_its_cursor() {
        let mut store = MemoryStore::new();
        store.apply(&[put(b"a1", b"1"), put(b"b1", b"2"), put(b"b2", b"3"), put(b"b3", b"4"), put(b"c1", b"5")]);
        let keys = |after: Option<&[u8]>, limit| -> Vec<Vec<u8>> {
            store.scan(Table::Meta, b"b", after, limit).unwrap().into_iter().map(|(key, _)| key).collect()
        };
        assert_eq!(keys(None, 10), [b"b1", b"b2", b"b3"]);
        assert_eq!(keys(Some(b"b1"), 10), [b"b2", b"b3"]);
        assert_eq!(keys(Some(b"b1"), 1), [b"b2"]);
        assert_eq!(keys(Some(b"a"), 10), [b"b1", b"b2", b"b3"]);
        assert!(keys(Some(b"b3"), 10).is_empty());
        assert!(store.scan(Table::MailItem, b"", None, 10).unwrap().is_empty());
    }

    #[test]
    fn a_later_write_of_the_same_step_wins() {
        let mut store = MemoryStore::new();
        let delete = Write::Delete { table: Table::Meta, key: b"k".to_vec() };
        store.apply(&[put(b"k", b"1"), delete.clone()]);
        assert_eq!(store.value(Table::Meta, b"k").unwrap(), None);
        store.apply(&[delete, put(b"k", b"2")]);
        assert_eq!(store.value(Table::Meta, b"k").unwrap(), Some(b"2".to_vec()));
    }

    #[test]
    fn ids_of_a_conversation_come_in_order_after_a_cursor() {
        let mut store = MemoryStore::new();
        for (chat, id) in [(1, 3), (1, 1), (2, 2), (1, 255)] {
            store.apply(&[Write::PutItem(Box::new(row(chat, id, 0)))]);
        }
        let chat = ChatId([1; 16]);
        let id = |n| MessageId([n; 12]);
        assert_eq!(store.chat_items(&chat, None, 9).unwrap(), [id(1), id(3), id(255)]);
        assert_eq!(store.chat_items(&chat, Some(&id(1)), 1).unwrap(), [id(3)]);
        assert!(store.chat_items(&chat, Some(&id(255)), 9).unwrap().is_empty());
    }

    #[test]
    fn replaced_and_erased_rows_leave_no_expiry_behind() {
        let mut store = MemoryStore::new();
        store.apply(&[Write::PutItem(Box::new(row(1, 1, 50))), Write::PutItem(Box::new(row(1, 2, 20)))]);
        assert_eq!(store.next_expiry().unwrap(), Some(UnixTime(20)));
        store.apply(&[Write::PutItem(Box::new(row(1, 2, 0)))]);
        assert_eq!(store.next_expiry().unwrap(), Some(UnixTime(50)));
        assert_eq!(store.items_expiring(UnixTime(50), 9).unwrap(), [(ChatId([1; 16]), MessageId([1; 12]))]);
        store.apply(&[Write::PutItem(Box::new(row(2, 1, 50))), Write::EraseChat { chat: ChatId([1; 16]) }]);
        assert_eq!(store.items_expiring(UnixTime(99), 9).unwrap(), [(ChatId([2; 16]), MessageId([1; 12]))]);
        assert!(store.rows(&ChatId([1; 16])).is_empty());
        assert!(store.item(&ChatId([1; 16]), &MessageId([1; 12])).unwrap().is_none());
    }
}
