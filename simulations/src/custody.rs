//! Mail in custody: what a node has taken on it gives up for a reason, and what it has sealed it does not seal again.
//!
//! ```text
//!   own envelope       delivered │ failed │ taken back │ sealed anew under another session       else I1
//!   carried envelope   its preimage is known │ its time is over │ there is no room              else I1
//!   stored envelope    stays as it is until it goes                                             else I3
//!   key of an opened   goes with the commit that notes the envelope as seen                     else I3
//! ```
//! A commit is looked at twice: before it for what it will take away, after it for what then gives the reason.

use silbo_protocol::carry::store::CarrySettings;
use silbo_protocol::ids::{ChatId, MessageId};
use silbo_protocol::step::{DeliveryState, EventKind};
use silbo_protocol::store::{Store, Table, Write};
use silbo_protocol::time::UnixTime;

use crate::node::NodeId;
use crate::world::World;

/// Key of the settings in [`Table::Meta`].
const SETTINGS: &[u8] = b"carry";

/// An entry of the outbox, as far as the world reads it: fields 1, 3 and 4, in the order they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutboxEntry<'a> {
    /// What the envelope is recognised by.
    pub(crate) tag: [u8; 12],
    /// The message it carries; `None` for control.
    pub(crate) message: Option<MessageId>,
    /// The whole envelope.
    pub(crate) envelope: &'a [u8],
}

impl<'a> OutboxEntry<'a> {
    pub(crate) fn read(value: &'a [u8]) -> Option<Self> {
        let rest = value.strip_prefix(&[0x0a, 12])?;
        let (tag, rest) = rest.split_first_chunk()?;
        let rest = match rest.strip_prefix(&[0x12, 16]) {
            Some(rest) => rest.get(16..)?,
            None => rest,
        };
        let (message, rest) = match rest.strip_prefix(&[0x1a, 12]) {
            Some(rest) => rest.split_first_chunk().map(|(id, rest)| (Some(MessageId(*id)), rest))?,
            None => (None, rest),
        };
        let (len, rest) = length(rest.strip_prefix(&[0x22])?)?;
        Some(Self { tag: *tag, message, envelope: rest.get(..len)? })
    }
}

/// The envelope of a stored letter of a group: field 1.
pub(crate) fn letter_envelope(value: &[u8]) -> Option<&[u8]> {
    let (len, rest) = length(value.strip_prefix(&[0x0a])?)?;
    rest.get(..len)
}

/// What a commit takes away.
#[derive(Debug, Default)]
pub(crate) struct Released {
    own: Vec<(ChatId, MessageId)>,
    /// Tags of carried envelopes whose time is not over.
    carried: Vec<[u8; 12]>,
    /// How many of these there is no room for.
    crowded_out: usize,
}

impl World {
    /// Before a commit: notes what it takes away.
    pub(crate) fn note_release(&mut self, id: NodeId, writes: &[Write]) -> Released {
        let now = self.nodes[id.0].now(self.now_ms()).unix;
        let store = self.nodes[id.0].disk.store();
        let read = |table: Table, key: &[u8]| store.value(table, key).ok().flatten();
        let mut released = Released::default();
        let (mut newcomers, mut replaced) = (0, false);
        for write in writes {
            match write {
                Write::Put { table: Table::Outbox, key, value } => {
                    let same = |old: &[u8]| {
                        // Neither is read where the envelope is a group's letter, which is stored elsewhere.
                        OutboxEntry::read(old) == OutboxEntry::read(value)
                    };
                    replaced |= read(Table::Outbox, key).is_some_and(|old| !same(&old));
                }
                Write::Delete { table: Table::Outbox, key } => {
                    let old = read(Table::Outbox, key);
                    let message = old.as_deref().and_then(OutboxEntry::read).and_then(|entry| entry.message);
                    let chat = key.first_chunk().map(|chat| ChatId(*chat));
                    released.own.extend(chat.zip(message));
                }
                Write::Put { table: Table::Carried, key, .. } => {
                    newcomers += usize::from(read(Table::Carried, key).is_none());
                }
                Write::Delete { table: Table::Carried, key } => match read(Table::Carried, key) {
                    // It came and went within the step.
                    None => newcomers += 1,
                    Some(envelope) => {
                        let is_over = read(Table::CarriedState, key)
                            .and_then(|state| expiry(&state))
                            .is_none_or(|end| end <= now);
                        let tag = envelope.get(4..).and_then(|rest| rest.first_chunk()).filter(|_| !is_over);
                        released.carried.extend(tag);
                    }
                },
                _ => {}
            }
        }
        if !released.carried.is_empty() {
            released.crowded_out = self.crowded_out(id, newcomers, writes);
        }
        if replaced {
            self.broken("I3", id, String::from("stores another envelope in the place of one that may have left"));
        }
        released
    }

    /// After a commit: for everything it took away there is a reason.
    pub(crate) fn check_release(&mut self, id: NodeId, writes: &[Write], released: Released) {
        for (chat, message) in released.own {
            if !self.may_forget(id, writes, &chat, &message) {
                self.broken("I1", id, format!("gave up {message}, its own, without evidence that it has arrived"));
            }
        }
        let store = self.nodes[id.0].disk.store();
        let arrived = |tag: &[u8; 12]| store.value(Table::Vaccine, tag).is_ok_and(|vaccine| vaccine.is_some());
        let unexplained: Vec<[u8; 12]> = released.carried.into_iter().filter(|tag| !arrived(tag)).collect();
        if unexplained.len() > released.crowded_out {
            self.broken(
                "I1",
                id,
                format!("gave up a carried envelope that may be on its way, one of {unexplained:02x?}"),
            );
        }
        for write in writes {
            if let Write::Put { table: Table::Seen, key, .. } = write
                && self.nodes[id.0].disk.store().value(Table::Skipped, key).is_ok_and(|stored| stored.is_some())
            {
                self.broken("I3", id, format!("still has the key of the envelope {key:02x?}, which it has opened"));
            }
        }
    }

    fn may_forget(&self, id: NodeId, writes: &[Write], chat: &ChatId, message: &MessageId) -> bool {
        let settled = |state: &DeliveryState| {
            matches!(state, DeliveryState::Delivered { .. } | DeliveryState::Read { .. } | DeliveryState::Failed(_))
        };
        let told = writes.iter().any(|write| match write {
            Write::AppendEvent(event) if event.message == Some(*message) => {
                matches!(&event.kind, EventKind::MessageState { state, .. } if settled(state))
            }
            _ => false,
        });
        let node = &self.nodes[id.0];
        if told || node.states.get(message).is_some_and(settled) {
            return true;
        }
        let store = node.disk.store();
        let is_gone = store.item(chat, message).is_ok_and(|row| row.is_none_or(|row| !row.visible));
        let names_it = |value: &[u8]| OutboxEntry::read(value).is_some_and(|entry| entry.message == Some(*message));
        is_gone || store.pairs(Table::Outbox).any(|(key, value)| key.starts_with(chat.as_bytes()) && names_it(value))
    }

    /// For how many of the carried envelopes there is no room when `newcomers` are taken in; all of them when the
    /// settings change or it is the bytes that do not fit.
    fn crowded_out(&self, id: NodeId, newcomers: usize, writes: &[Write]) -> usize {
        let store = self.nodes[id.0].disk.store();
        let changed = |write: &Write| matches!(write, Write::Put { table: Table::Meta, key, .. } if key == SETTINGS);
        if writes.iter().any(changed) {
            return usize::MAX;
        }
        let stored = store.value(Table::Meta, SETTINGS).ok().flatten();
        let Some((envelopes_max, bytes_max)) = limits(stored.as_deref()) else { return usize::MAX };
        let crowd = (store.count(Table::Carried) + newcomers).saturating_sub(envelopes_max);
        if crowd > 0 {
            return crowd;
        }
        let new_bytes = writes.iter().map(|write| match write {
            Write::Put { table: Table::Carried, value, .. } => value.len() as u64,
            _ => 0,
        });
        let bytes = store.pairs(Table::Carried).map(|(_, value)| value.len() as u64).chain(new_bytes).sum::<u64>();
        if bytes > bytes_max { usize::MAX } else { 0 }
    }
}

/// Most envelopes and bytes that the stored settings allow.
fn limits(stored: Option<&[u8]>) -> Option<(usize, u64)> {
    let Some(stored) = stored else {
        let default = CarrySettings::default();
        return Some((default.envelopes_max as usize, default.bytes_max));
    };
    let envelopes_max = u32::from_be_bytes(*stored.get(2..)?.first_chunk()?);
    Some((envelopes_max as usize, u64::from_be_bytes(*stored.get(6..)?.first_chunk()?)))
}

/// When a copy expires, from its record: copies, hops, birth, expiry.
fn expiry(state: &[u8]) -> Option<UnixTime> {
    Some(UnixTime(u64::from_be_bytes(*state.get(10..)?.first_chunk()?)))
}

/// A length as protobuf writes it, and what follows.
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (at, byte) in bytes.iter().enumerate().take(4) {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(at + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use silbo_protocol::step::Event;

    use super::*;
    use crate::failure::Failure;

    const CHAT: ChatId = ChatId([9; 16]);
    const MESSAGE: MessageId = MessageId([7; 12]);

    fn ann() -> (World, NodeId) {
        let mut world = World::new(1);
        let ann = world.person("ann").expect("an account is made");
        (world, ann)
    }

    /// Commits as the driver does, without telling the engine.
    fn commit(world: &mut World, id: NodeId, writes: &[Write]) -> Option<(&'static str, String)> {
        let released = world.note_release(id, writes);
        world.nodes[id.0].disk.commit(writes).expect("the disk works");
        world.check_release(id, writes, released);
        match world.failure() {
            Some(Failure::Broken { invariant, what, .. }) => Some((invariant, what.clone())),
            _ => None,
        }
    }

    fn put(table: Table, key: &[u8], value: Vec<u8>) -> Write {
        Write::Put { table, key: key.to_vec(), value }
    }

    fn delete(table: Table, key: &[u8]) -> Write {
        Write::Delete { table, key: key.to_vec() }
    }

    fn envelope(filling: u8) -> Vec<u8> {
        vec![filling; 200]
    }

    fn entry_key(seq: u8) -> Vec<u8> {
        [&CHAT.0[..], &[0, 0, 0, 0, 0, 0, 0, seq]].concat()
    }

    fn entry(seq: u8, filling: u8) -> Write {
        let mut value = [&[0x0a, 12], &[filling; 12][..], &[0x12, 16], &[1; 16], &[0x1a, 12], &MESSAGE.0].concat();
        value.extend_from_slice(&[0x22, 0xc8, 0x01]);
        value.extend_from_slice(&envelope(filling));
        put(Table::Outbox, &entry_key(seq), value)
    }

    fn row(world: &World, id: NodeId) -> Write {
        let row = silbo_protocol::store::ItemRow {
            chat: CHAT,
            id: MESSAGE,
            lamport: 1,
            sent_at: UnixTime(1),
            stored_at: world.node(id).now(world.now_ms()).unix,
            author: None,
            outgoing: true,
            visible: true,
            body: String::from("text"),
            state: 0,
            expires_at: UnixTime(0),
            slot: Vec::new(),
        };
        Write::PutItem(Box::new(row))
    }

    fn state(state: DeliveryState) -> Write {
        let kind = EventKind::MessageState { state, path: None };
        Write::AppendEvent(Event { at: UnixTime(1), chat: Some(CHAT), message: Some(MESSAGE), kind })
    }

    /// A carried envelope that expires a day from now.
    fn carried(world: &World, id: NodeId, filling: u8) -> [Write; 2] {
        let now = world.node(id).now(world.now_ms()).unix;
        let ends = now.after_ms(86_400_000).0.to_be_bytes();
        let record = [&[1, 1], &now.0.to_be_bytes()[..], &ends].concat();
        [put(Table::Carried, &[filling; 16], envelope(filling)), put(Table::CarriedState, &[filling; 16], record)]
    }

    #[test]
    fn i1_an_own_message_that_leaves_the_outbox_without_evidence_is_found() {
        for (reason, is_good) in [
            (None, false),
            (Some(state(DeliveryState::Held { relays: 2, until: UnixTime(9) })), false),
            (Some(state(DeliveryState::Delivered { at: UnixTime(1) })), true),
            (Some(entry(2, 4)), true),
            (Some(Write::EraseItem { chat: CHAT, id: MESSAGE }), true),
        ] {
            let (mut world, ann) = ann();
            let written = [row(&world, ann), entry(1, 3)];
            assert_eq!(commit(&mut world, ann, &written), None);
            let mut gone = vec![delete(Table::Outbox, &entry_key(1))];
            gone.extend(reason.clone());
            let found = commit(&mut world, ann, &gone);
            assert_eq!(found.is_none(), is_good, "{reason:?}: {found:?}");
            assert!(found.is_none_or(|(invariant, _)| invariant == "I1"));
        }
    }

    #[test]
    fn i3_an_envelope_that_takes_the_place_of_a_stored_one_is_found() {
        let (mut world, ann) = ann();
        assert_eq!(commit(&mut world, ann, &[entry(1, 3)]), None);
        assert_eq!(commit(&mut world, ann, &[entry(1, 3)]), None);
        assert!(commit(&mut world, ann, &[entry(1, 4)]).is_some_and(|(invariant, _)| invariant == "I3"));
    }

    #[test]
    fn i1_a_carried_envelope_goes_only_with_its_own_proof() {
        for (proof, is_good) in [([3; 12], true), ([4; 12], false)] {
            let (mut world, ann) = ann();
            let taken = carried(&world, ann, 3);
            assert_eq!(commit(&mut world, ann, &taken), None);
            let gone = [
                delete(Table::Carried, &[3; 16]),
                delete(Table::CarriedState, &[3; 16]),
                put(Table::Vaccine, &proof, vec![0; 24]),
            ];
            let found = commit(&mut world, ann, &gone);
            assert_eq!(found.is_none(), is_good, "{found:?}");
        }
    }

    #[test]
    fn i1_one_newcomer_pushes_out_one_envelope_of_a_full_store_and_not_two() {
        let settings = [&[1, 0], &2_u32.to_be_bytes()[..], &u64::MAX.to_be_bytes()].concat();
        for (victims, is_good) in [(1, true), (2, false)] {
            let (mut world, ann) = ann();
            let mut writes = vec![put(Table::Meta, SETTINGS, settings.clone())];
            writes.extend(carried(&world, ann, 3));
            writes.extend(carried(&world, ann, 4));
            assert_eq!(commit(&mut world, ann, &writes), None);
            let mut writes = Vec::from(carried(&world, ann, 5));
            writes.extend([3, 4].into_iter().take(victims).map(|victim| delete(Table::Carried, &[victim; 16])));
            assert_eq!(commit(&mut world, ann, &writes).is_none(), is_good);
        }
    }

    #[test]
    fn i3_the_key_of_an_opened_envelope_that_stays_is_found() {
        let (mut world, ann) = ann();
        let writes = [put(Table::Skipped, &[3; 12], vec![1]), put(Table::Seen, &[4; 12], vec![1])];
        assert_eq!(commit(&mut world, ann, &writes), None);
        let opened = [put(Table::Seen, &[3; 12], vec![1])];
        assert!(commit(&mut world, ann, &opened).is_some_and(|(invariant, _)| invariant == "I3"));
    }
}
