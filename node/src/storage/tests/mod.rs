//! The databases from outside: what is kept, what is found, what is gone, and every way in which a file can be wrong.

mod damage;
mod erasing;
mod event_log;
mod history;
mod opening;
mod spooled;
mod transactions;

use std::path::Path;

use silbo_protocol::ids::{ChatId, MessageId};
use silbo_protocol::step::{Event, EventKind};
use silbo_protocol::store::{ItemRow, Table, Write};
use silbo_protocol::time::UnixTime;
use tempfile::TempDir;

use super::{Database, File};
use crate::vault::DatabaseKey;

const ADA: ChatId = ChatId([1; 16]);
const BOB: ChatId = ChatId([2; 16]);

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn key() -> DatabaseKey {
    DatabaseKey::from_bytes(&[7; 32])
}

fn open(dir: &Path) -> Database {
    Database::open(dir, &key()).expect("the databases open")
}

fn id(number: u64) -> MessageId {
    let mut bytes = [0; 12];
    bytes[..6].copy_from_slice(&number.to_be_bytes()[2..]);
    MessageId(bytes)
}

/// Message `number` of a conversation, written at that millisecond.
fn item(chat: ChatId, number: u64, body: &str) -> ItemRow {
    ItemRow {
        chat,
        id: id(number),
        lamport: number,
        sent_at: UnixTime(number),
        stored_at: UnixTime(number + 1),
        outgoing: number.is_multiple_of(2),
        author: None,
        visible: true,
        body: body.to_owned(),
        state: 3,
        expires_at: UnixTime(0),
        slot: format!("slot of {body}").into_bytes(),
    }
}

fn put_item(row: ItemRow) -> Write {
    Write::PutItem(Box::new(row))
}

fn put(table: Table, key: &[u8], value: &[u8]) -> Write {
    Write::Put { table, key: key.to_vec(), value: value.to_vec() }
}

fn received(chat: ChatId, number: u64, body: &str) -> Event {
    Event {
        at: UnixTime(number),
        chat: Some(chat),
        message: Some(id(number)),
        kind: EventKind::MessageReceived {
            body: body.to_owned(),
            sent_at: UnixTime(number),
            reply_to: None,
            path: silbo_protocol::step::Path::Relay,
            author: None,
            mentions_me: false,
            muted: false,
        },
    }
}

fn commit(database: &mut Database, writes: &[Write]) -> Vec<(u64, Event)> {
    database.begin().expect("begin");
    let events = database.apply(writes).expect("apply");
    database.commit().expect("commit");
    events
}
