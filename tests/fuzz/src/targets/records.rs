//! What a node reads back from its own disk. Damage there must be an error, never a panic or another meaning.

use silbo_protocol::conversation::Slot;
use silbo_protocol::conversation::event_record::{decode_event, encode_event};
use silbo_protocol::identity::OwnAccount;
use silbo_protocol::ids::{ChatId, MessageId};
use silbo_protocol::presence::PresenceKeys;
use silbo_protocol::session::{OwnPrekeys, Session, SkippedKey};
use silbo_protocol::time::UnixTime;

/// An entry of the event log.
pub fn event_record(data: &[u8]) {
    if let Some(event) = decode_event(data) {
        assert_eq!(decode_event(&encode_event(&event)), Some(event));
    }
}

/// Everything known of one message.
pub fn slot_record(data: &[u8]) {
    let Some(slot) = Slot::decode(data) else { return };
    assert_eq!(Slot::decode(&slot.encode()), Some(slot.clone()));
    let row = slot.row(ChatId([1; 16]), MessageId([2; 12]), UnixTime(3), 86_400, UnixTime(4));
    assert_eq!(row.visible, slot.is_visible());
    let mut merged = Slot::default();
    merged.merge(&slot);
    let once = merged.clone();
    merged.merge(&slot);
    assert_eq!(merged, once, "a slot adds nothing to what has it");
    assert_eq!(merged.is_deleted(), slot.is_deleted());
}

/// Accounts, sessions, prekeys, skipped keys, presence keys: what decodes encodes to something that decodes alike.
pub fn stored_state(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % 5 {
        0 => stable(bytes, Session::decode, Session::encode),
        1 => stable(bytes, SkippedKey::decode, SkippedKey::encode),
        2 => stable(bytes, OwnPrekeys::decode, OwnPrekeys::encode),
        3 => stable(bytes, PresenceKeys::decode, PresenceKeys::encode),
        _ => stable(bytes, OwnAccount::decode, OwnAccount::encode),
    }
}

fn stable<T>(bytes: &[u8], decode: impl Fn(&[u8]) -> Option<T>, encode: impl Fn(&T) -> Vec<u8>) {
    if let Some(value) = decode(bytes) {
        let canonical = encode(&value);
        let again = decode(&canonical).expect("what was encoded decodes");
        assert_eq!(encode(&again), canonical);
    }
}
