//! When a message must disappear, and tombstones: ids that must never be shown again, even if their envelope comes
//! once more from some carrier.

use prost::Message;

use crate::ids::{ChatId, MessageId};
use crate::store::{Store, StoreError, Table, Write};
use crate::time::{DAY_MS, SECOND_MS, UnixTime};

use super::state;

/// How long a tombstone is remembered: three times the longest life of an envelope (protocol §9.5).
pub const TOMBSTONE_MS: u64 = 90 * DAY_MS;
/// Edits and reactions whose text never came are forgotten after the longest time it could have come.
pub const ORPHAN_MS: u64 = 90 * DAY_MS;

/// When a message disappears: the sooner of its own lifetime and the conversation's, both from when this device first
/// stored it (a sender's clock can neither shorten nor stretch it). 0 in and out means never.
pub fn expiry(stored_at: UnixTime, expire_s: u32, chat_retention_s: u32) -> UnixTime {
    let seconds = match (expire_s, chat_retention_s) {
        (0, 0) => return UnixTime(0),
        (0, only) | (only, 0) => only,
        (a, b) => a.min(b),
    };
    // At least 1: an `expires_at` of 0 means never.
    UnixTime(stored_at.after_ms(u64::from(seconds) * SECOND_MS).0.max(1))
}

/// The sooner of two times at which something disappears; 0 is never.
pub fn sooner(a: UnixTime, b: UnixTime) -> UnixTime {
    match (a.0, b.0) {
        (0, _) => b,
        (_, 0) => a,
        _ => a.min(b),
    }
}

/// The write that remembers a deleted or expired message.
pub fn bury(chat: &ChatId, id: &MessageId, now: UnixTime) -> Write {
    let value = state::Gone { until: now.after_ms(TOMBSTONE_MS).0 }.encode_to_vec();
    Write::Put { table: Table::Gone, key: gone_key(chat, id), value }
}

/// Whether a message was deleted or expired here and must not come back.
///
/// # Errors
/// [`StoreError`] when the store cannot be read or the record does not decode.
pub fn is_gone(store: &dyn Store, chat: &ChatId, id: &MessageId, now: UnixTime) -> Result<bool, StoreError> {
    let Some(value) = store.value(Table::Gone, &gone_key(chat, id))? else { return Ok(false) };
    gone_until(&value).map(|until| until > now)
}

/// When the value of a tombstone may be forgotten.
///
/// # Errors
/// [`StoreError::Damaged`] when it does not decode.
pub fn gone_until(value: &[u8]) -> Result<UnixTime, StoreError> {
    let gone = state::Gone::decode(value).map_err(|_| StoreError::Damaged { table: Table::Gone })?;
    Ok(UnixTime(gone.until))
}

/// The key of a tombstone in [`Table::Gone`]: chat ‖ id.
pub fn gone_key(chat: &ChatId, id: &MessageId) -> Vec<u8> {
    [chat.as_bytes(), id.as_bytes()].concat()
}

/// Where [`forget_tombstones`] is in the table; `None` starts at its beginning.
pub type TombstoneCursor = Option<Vec<u8>>;

/// Looks at up to `limit` tombstones after a cursor and gives the deletes for those that are over, with the cursor for
/// the next call; the cursor is `None` again after the last one.
///
/// # Errors
/// [`StoreError`] when the store cannot be read or a record does not decode.
pub fn forget_tombstones(
    store: &dyn Store,
    after: TombstoneCursor,
    now: UnixTime,
    limit: usize,
) -> Result<(Vec<Write>, TombstoneCursor), StoreError> {
    let pairs = store.scan(Table::Gone, &[], after.as_deref(), limit)?;
    let next = if pairs.len() == limit { pairs.last().map(|(key, _)| key.clone()) } else { None };
    let mut writes = Vec::new();
    for (key, value) in pairs {
        if gone_until(&value)? <= now {
            writes.push(Write::Delete { table: Table::Gone, key });
        }
    }
    Ok((writes, next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_store::MemoryStore;

    const CHAT: ChatId = ChatId([1; 16]);
    const NOW: UnixTime = UnixTime(1_800_000_000_000);

    #[test]
    fn the_sooner_lifetime_counts_and_zero_is_never() {
        assert_eq!(expiry(NOW, 0, 0), UnixTime(0));
        assert_eq!(expiry(NOW, 5, 0), NOW.after_ms(5_000));
        assert_eq!(expiry(NOW, 0, 86_400), NOW.after_ms(DAY_MS));
        assert_eq!(expiry(NOW, 5, 86_400), NOW.after_ms(5_000));
        assert_eq!(expiry(NOW, 86_400, 5), NOW.after_ms(5_000));
        assert_eq!(expiry(UnixTime(u64::MAX), u32::MAX, u32::MAX), UnixTime(u64::MAX));
        assert_eq!(sooner(UnixTime(0), UnixTime(7)), UnixTime(7));
        assert_eq!(sooner(UnixTime(7), UnixTime(0)), UnixTime(7));
        assert_eq!(sooner(UnixTime(7), UnixTime(6)), UnixTime(6));
    }

    #[test]
    fn a_buried_message_stays_gone_until_its_envelope_cannot_come_any_more() {
        let mut store = MemoryStore::new();
        let (id, other) = (MessageId([1; 12]), MessageId([2; 12]));
        store.apply(&[bury(&CHAT, &id, NOW)]);
        assert!(is_gone(&store, &CHAT, &id, NOW).unwrap());
        assert!(is_gone(&store, &CHAT, &id, NOW.after_ms(TOMBSTONE_MS - 1)).unwrap());
        assert!(!is_gone(&store, &CHAT, &id, NOW.after_ms(TOMBSTONE_MS)).unwrap());
        assert!(!is_gone(&store, &CHAT, &other, NOW).unwrap());
        assert!(!is_gone(&store, &ChatId([9; 16]), &id, NOW).unwrap());
    }

    #[test]
    fn tombstones_are_forgotten_in_bounded_steps_when_they_are_over() {
        let mut store = MemoryStore::new();
        for n in 0..10 {
            let at = if n < 5 { NOW } else { NOW.after_ms(DAY_MS) };
            store.apply(&[bury(&CHAT, &MessageId([n; 12]), at)]);
        }
        let (mut cursor, mut rounds) = (None, 0);
        loop {
            let (writes, next) = forget_tombstones(&store, cursor, NOW.after_ms(TOMBSTONE_MS), 3).unwrap();
            assert!(writes.len() <= 3);
            store.apply(&writes);
            rounds += 1;
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!((store.count(Table::Gone), rounds), (5, 4));
    }
}
