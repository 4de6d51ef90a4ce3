//! One call of the engine while it runs: reads see what the call has already written; everything leaves as one `Step`.

use std::collections::BTreeMap;

use prost::Message;

use crate::ids::{ChatId, LinkId, MessageId};
use crate::input::RequestId;
use crate::step::{Event, EventKind, LiveEvent, Reply, RequestError, Send, Step};
use crate::store::{ItemRow, Pair, Store, StoreError, Table, Write};
use crate::time::Now;
use crate::wire::frame::Frame;

/// Gathers one step. May not decide anything.
pub(super) struct Turn<'a> {
    /// The clocks of this call.
    pub(super) now: Now,
    store: &'a dyn Store,
    values: BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>,
    items: BTreeMap<(ChatId, MessageId), Option<ItemRow>>,
    step: Step,
}

impl<'a> Turn<'a> {
    pub(super) fn new(now: Now, store: &'a dyn Store) -> Self {
        Self { now, store, values: BTreeMap::new(), items: BTreeMap::new(), step: Step::default() }
    }

    /// The whole step, ready for the driver. A record that was set several times is written once, as it is at last.
    pub(super) fn finish(self) -> Step {
        let Self { values, mut step, .. } = self;
        step.writes.extend(values.into_iter().map(|((table, key), value)| match value {
            Some(value) => Write::Put { table, key, value },
            None => Write::Delete { table, key },
        }));
        step
    }

    /// The store itself, for parts that keep their own overlay (the mailbox server).
    pub(super) fn store(&self) -> &'a dyn Store {
        self.store
    }

    pub(super) fn value(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.values.get(&(table, key.to_vec())) {
            Some(known) => Ok(known.clone()),
            None => self.store.value(table, key),
        }
    }

    /// A record of ours; one that does not decode is a damaged store.
    pub(super) fn record<M: Message + Default>(&self, table: Table, key: &[u8]) -> Result<Option<M>, StoreError> {
        match self.value(table, key)? {
            None => Ok(None),
            Some(bytes) => M::decode(bytes.as_slice()).map(Some).map_err(|_| StoreError::Damaged { table }),
        }
    }

    /// Up to `limit` stored pairs whose key starts with `prefix`, and those this call has set, without those it has
    /// deleted, in key order.
    pub(super) fn pairs_under(&self, table: Table, prefix: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        let mut pairs: BTreeMap<Vec<u8>, Vec<u8>> = self.store.scan(table, prefix, None, limit)?.into_iter().collect();
        let set = self.values.range((table, prefix.to_vec())..);
        for ((_, key), value) in set.take_while(|((of, key), _)| *of == table && key.starts_with(prefix)) {
            match value {
                Some(value) => pairs.insert(key.clone(), value.clone()),
                None => pairs.remove(key),
            };
        }
        Ok(pairs.into_iter().collect())
    }

    pub(super) fn put(&mut self, table: Table, key: &[u8], value: Vec<u8>) {
        self.values.insert((table, key.to_vec()), Some(value));
    }

    pub(super) fn put_record(&mut self, table: Table, key: &[u8], record: &impl Message) {
        self.put(table, key, record.encode_to_vec());
    }

    pub(super) fn delete(&mut self, table: Table, key: &[u8]) {
        self.values.insert((table, key.to_vec()), None);
    }

    pub(super) fn item(&self, chat: &ChatId, id: &MessageId) -> Result<Option<ItemRow>, StoreError> {
        match self.items.get(&(*chat, *id)) {
            Some(known) => Ok(known.clone()),
            None => self.store.item(chat, id),
        }
    }

    /// Messages of a conversation that this call has set so far: a look into the store does not find them.
    pub(super) fn items_set(&self, chat: &ChatId) -> Vec<MessageId> {
        let of_chat = self.items.iter().filter(|((of, _), row)| of == chat && row.is_some());
        of_chat.map(|((_, id), _)| *id).collect()
    }

    pub(super) fn put_item(&mut self, row: ItemRow) {
        self.items.insert((row.chat, row.id), Some(row.clone()));
        self.step.writes.push(Write::PutItem(Box::new(row)));
    }

    pub(super) fn erase_item(&mut self, chat: ChatId, id: MessageId) {
        self.items.insert((chat, id), None);
        self.step.writes.push(Write::EraseItem { chat, id });
    }

    pub(super) fn erase_chat(&mut self, chat: ChatId) {
        for ((of, _), row) in &mut self.items {
            if *of == chat {
                *row = None;
            }
        }
        self.step.writes.push(Write::EraseChat { chat });
    }

    /// Writes of a part that keeps its own overlay.
    pub(super) fn extend(&mut self, writes: Vec<Write>) {
        self.step.writes.extend(writes);
    }

    /// One write that later reads of this call must see.
    pub(super) fn extend_seen(&mut self, write: Write) {
        match write {
            Write::Put { table, key, value } => {
                self.values.insert((table, key), Some(value));
            }
            Write::Delete { table, key } => {
                self.values.insert((table, key), None);
            }
            other => self.step.writes.push(other),
        }
    }

    /// Appends to the persisted event log.
    pub(super) fn event(&mut self, chat: Option<ChatId>, message: Option<MessageId>, kind: EventKind) {
        let event = Event { at: self.now.unix, chat, message, kind };
        self.step.writes.push(Write::AppendEvent(event));
    }

    pub(super) fn live(&mut self, event: LiveEvent) {
        self.step.events.push(event);
    }

    pub(super) fn send(&mut self, send: Send) {
        self.step.sends.push(send);
    }

    pub(super) fn frame(&mut self, link: LinkId, frame: &Frame) {
        self.step.sends.push(Send::Frame { link, bytes: frame.encode() });
    }

    pub(super) fn reply(&mut self, id: RequestId, reply: Result<Reply, RequestError>) {
        self.step.reply.push((id, reply));
    }
}
