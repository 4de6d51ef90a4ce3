//! Persisted events as bytes, for the event log.

use prost::Message;

use crate::ids::{AccountId, ChatId, MessageId, PeerKey};
use crate::step::{DeliveryState, Event, EventKind};
use crate::time::UnixTime;

use super::delivery_state::{path_code, path_of_code};
use super::state::{self, event::Kind};

/// The bytes of an event.
pub fn encode_event(event: &Event) -> Vec<u8> {
    state::Event {
        at: event.at.0,
        chat: event.chat.map(|id| id.0.to_vec()).unwrap_or_default(),
        message: event.message.map(|id| id.0.to_vec()).unwrap_or_default(),
        author: author_of(&event.kind).map(|id| id.0.to_vec()).unwrap_or_default(),
        kind: Some(kind_to_record(&event.kind)),
    }
    .encode_to_vec()
}

/// Reads an event; `None` for a kind of a later version, which a reader skips, and for damage.
pub fn decode_event(bytes: &[u8]) -> Option<Event> {
    let record = state::Event::decode(bytes).ok()?;
    Some(Event {
        at: UnixTime(record.at),
        chat: optional(&record.chat, ChatId::read)?,
        message: optional(&record.message, MessageId::read)?,
        kind: kind_from_record(record.kind?, optional(&record.author, AccountId::read)?)?,
    })
}

/// The member an event is about, for the kinds that keep it beside the rest.
fn author_of(kind: &EventKind) -> Option<AccountId> {
    match kind {
        EventKind::MessageReceived { author, .. }
        | EventKind::MessageEdited { author, .. }
        | EventKind::MessageDeleted { author }
        | EventKind::MessageReaction { author, .. }
        | EventKind::MessagePinned { author, .. }
        | EventKind::MessageVoted { author, .. } => *author,
        _ => None,
    }
}

fn kind_to_record(kind: &EventKind) -> Kind {
    let nothing = state::Nothing {};
    match kind {
        EventKind::MessageReceived { body, sent_at, reply_to, path, author: _, mentions_me, muted } => {
            Kind::Received(state::Received {
                body: body.clone(),
                sent_at: sent_at.0,
                reply_to: reply_to.map(|id| id.0.to_vec()).unwrap_or_default(),
                path: path_code(Some(*path)),
                mentions_me: *mentions_me,
                muted: *muted,
            })
        }
        EventKind::MessagePinned { outgoing, removed, author: _ } => {
            Kind::Pinned(state::Pinned { outgoing: *outgoing, removed: *removed })
        }
        EventKind::MessageVoted { outgoing, removed, author: _ } => {
            Kind::Voted(state::Voted { outgoing: *outgoing, removed: *removed })
        }
        EventKind::MessageSent { body } => Kind::Sent(body.clone()),
        EventKind::MessageState { state, path } => {
            Kind::State(state::State { state: Some(state.to_record()), path: path_code(*path) })
        }
        EventKind::MessageEdited { body, author: _ } => Kind::Edited(body.clone()),
        EventKind::MessageDeleted { author: _ } => Kind::Deleted(nothing),
        EventKind::MessageExpired => Kind::Expired(nothing),
        EventKind::MessageReaction { outgoing, emoji, removed, author: _ } => {
            Kind::Reaction(state::Reacted { outgoing: *outgoing, emoji: emoji.clone(), removed: *removed })
        }
        EventKind::ContactAdded => Kind::ContactAdded(nothing),
        EventKind::ContactUpdated => Kind::ContactUpdated(nothing),
        EventKind::ContactRequest { name, hello } => {
            Kind::ContactRequest(state::Request { name: name.clone(), hello: hello.clone() })
        }
        EventKind::ContactAccepted => Kind::ContactAccepted(nothing),
        EventKind::ContactRemoved => Kind::ContactRemoved(nothing),
        EventKind::ContactKeyChanged => Kind::ContactKeyChanged(nothing),
        EventKind::SessionReset => Kind::SessionReset(nothing),
        EventKind::ChatRetention { seconds, outgoing } => {
            Kind::Retention(state::Retention { seconds: *seconds, outgoing: *outgoing })
        }
        EventKind::ChatUpdated => Kind::ChatUpdated(nothing),
        EventKind::ChatRead => Kind::ChatRead(nothing),
        EventKind::RelayAdded { peer } => Kind::RelayAdded(peer.0.clone()),
        EventKind::RelayQuota { peer } => Kind::RelayQuota(peer.0.clone()),
        EventKind::GroupUpdated => Kind::GroupUpdated(nothing),
        EventKind::GroupMemberJoined { account, name } => Kind::GroupJoined(member(account, name, false)),
        EventKind::GroupMemberLeft { account, name, removed } => Kind::GroupLeft(member(account, name, *removed)),
        EventKind::GroupJoinRequest { account, name } => Kind::GroupRequest(member(account, name, false)),
        EventKind::GroupMemberForked { account, name } => Kind::GroupForked(member(account, name, false)),
        EventKind::GroupDisputed { account, name } => Kind::GroupDisputed(member(account, name, false)),
        EventKind::GroupHistory { messages } => Kind::GroupHistory(*messages),
        EventKind::ChannelUpdated => Kind::ChannelUpdated(nothing),
        EventKind::ChannelForked { post } => Kind::ChannelForked(*post),
        EventKind::GroupVoided { what, why } => {
            Kind::GroupVoided(state::Voided { what: what.clone(), why: why.clone() })
        }
        EventKind::Warning { text } => Kind::Warning(text.clone()),
    }
}

fn member(account: &AccountId, name: &str, removed: bool) -> state::Member {
    state::Member { account: account.0.to_vec(), name: name.to_owned(), removed }
}

fn kind_from_record(kind: Kind, author: Option<AccountId>) -> Option<EventKind> {
    Some(match kind {
        Kind::Received(received) => EventKind::MessageReceived {
            body: received.body,
            sent_at: UnixTime(received.sent_at),
            reply_to: optional(&received.reply_to, MessageId::read)?,
            path: path_of_code(received.path)?,
            author,
            mentions_me: received.mentions_me,
            muted: received.muted,
        },
        Kind::Pinned(state::Pinned { outgoing, removed }) => EventKind::MessagePinned { outgoing, removed, author },
        Kind::Voted(state::Voted { outgoing, removed }) => EventKind::MessageVoted { outgoing, removed, author },
        Kind::Sent(body) => EventKind::MessageSent { body },
        Kind::State(state) => EventKind::MessageState {
            state: DeliveryState::from_record(&state.state?)?,
            path: path_of_code(state.path),
        },
        Kind::Edited(body) => EventKind::MessageEdited { body, author },
        Kind::Deleted(_) => EventKind::MessageDeleted { author },
        Kind::Expired(_) => EventKind::MessageExpired,
        Kind::Reaction(state::Reacted { outgoing, emoji, removed }) => {
            EventKind::MessageReaction { outgoing, emoji, removed, author }
        }
        Kind::ContactAdded(_) => EventKind::ContactAdded,
        Kind::ContactUpdated(_) => EventKind::ContactUpdated,
        Kind::ContactRequest(state::Request { name, hello }) => EventKind::ContactRequest { name, hello },
        Kind::ContactAccepted(_) => EventKind::ContactAccepted,
        Kind::ContactRemoved(_) => EventKind::ContactRemoved,
        Kind::ContactKeyChanged(_) => EventKind::ContactKeyChanged,
        Kind::SessionReset(_) => EventKind::SessionReset,
        Kind::Retention(state::Retention { seconds, outgoing }) => EventKind::ChatRetention { seconds, outgoing },
        Kind::ChatUpdated(_) => EventKind::ChatUpdated,
        Kind::ChannelUpdated(_) => EventKind::ChannelUpdated,
        Kind::ChannelForked(post) => EventKind::ChannelForked { post },
        Kind::ChatRead(_) => EventKind::ChatRead,
        Kind::RelayAdded(peer) => EventKind::RelayAdded { peer: PeerKey(peer) },
        Kind::RelayQuota(peer) => EventKind::RelayQuota { peer: PeerKey(peer) },
        Kind::GroupUpdated(_) => EventKind::GroupUpdated,
        Kind::GroupJoined(state::Member { account, name, .. }) => {
            EventKind::GroupMemberJoined { account: AccountId::read(&account)?, name }
        }
        Kind::GroupLeft(state::Member { account, name, removed }) => {
            EventKind::GroupMemberLeft { account: AccountId::read(&account)?, name, removed }
        }
        Kind::GroupRequest(state::Member { account, name, .. }) => {
            EventKind::GroupJoinRequest { account: AccountId::read(&account)?, name }
        }
        Kind::GroupForked(state::Member { account, name, .. }) => {
            EventKind::GroupMemberForked { account: AccountId::read(&account)?, name }
        }
        Kind::GroupDisputed(state::Member { account, name, .. }) => {
            EventKind::GroupDisputed { account: AccountId::read(&account)?, name }
        }
        Kind::GroupVoided(state::Voided { what, why }) => EventKind::GroupVoided { what, why },
        Kind::GroupHistory(messages) => EventKind::GroupHistory { messages },
        Kind::Warning(text) => EventKind::Warning { text },
    })
}

/// `Some(None)` for no bytes, `None` for bytes that are no id.
fn optional<T>(bytes: &[u8], read: impl Fn(&[u8]) -> Option<T>) -> Option<Option<T>> {
    if bytes.is_empty() { Some(None) } else { read(bytes).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::Route;
    use crate::step::{FailReason, Path};

    fn every_kind() -> Vec<EventKind> {
        let peer = PeerKey(vec![1, 2, 3]);
        let id = MessageId([5; 12]);
        let account = AccountId([7; 32]);
        vec![
            EventKind::MessageReceived {
                body: "hi".into(),
                sent_at: UnixTime(7),
                reply_to: Some(id),
                path: Path::Direct(Route::Local),
                author: None,
                mentions_me: false,
                muted: true,
            },
            EventKind::MessageReceived {
                body: String::new(),
                sent_at: UnixTime(0),
                reply_to: None,
                path: Path::Relay,
                author: Some(account),
                mentions_me: true,
                muted: false,
            },
            EventKind::MessagePinned { outgoing: true, removed: false, author: None },
            EventKind::MessagePinned { outgoing: false, removed: true, author: Some(account) },
            EventKind::MessageVoted { outgoing: false, removed: false, author: Some(account) },
            EventKind::MessageVoted { outgoing: true, removed: true, author: None },
            EventKind::MessageSent { body: "yo".into() },
            EventKind::MessageState {
                state: DeliveryState::Held { relays: 2, until: UnixTime(9) },
                path: Some(Path::Relay),
            },
            EventKind::MessageState { state: DeliveryState::Delivered { at: UnixTime(9) }, path: None },
            EventKind::MessageState { state: DeliveryState::Failed(FailReason::Refused), path: None },
            EventKind::MessageState { state: DeliveryState::Partial { delivered: 2, of: 5 }, path: None },
            EventKind::MessageEdited { body: "hm".into(), author: None },
            EventKind::MessageEdited { body: "hm".into(), author: Some(account) },
            EventKind::MessageDeleted { author: None },
            EventKind::MessageDeleted { author: Some(account) },
            EventKind::GroupUpdated,
            EventKind::GroupMemberJoined { account, name: "N".into() },
            EventKind::GroupMemberLeft { account, name: "N".into(), removed: true },
            EventKind::GroupJoinRequest { account, name: "N".into() },
            EventKind::GroupMemberForked { account, name: "N".into() },
            EventKind::GroupDisputed { account, name: "N".into() },
            EventKind::GroupVoided { what: "w".into(), why: "y".into() },
            EventKind::GroupHistory { messages: 7 },
            EventKind::MessageExpired,
            EventKind::MessageReaction { outgoing: true, emoji: "👍".into(), removed: false, author: Some(account) },
            EventKind::ContactAdded,
            EventKind::ContactUpdated,
            EventKind::ContactRequest { name: "N".into(), hello: "H".into() },
            EventKind::ContactAccepted,
            EventKind::ContactRemoved,
            EventKind::ContactKeyChanged,
            EventKind::SessionReset,
            EventKind::ChatRetention { seconds: 86_400, outgoing: true },
            EventKind::ChatUpdated,
            EventKind::ChatRead,
            EventKind::RelayAdded { peer: peer.clone() },
            EventKind::RelayQuota { peer },
            EventKind::Warning { text: "low disk".into() },
        ]
    }

    #[test]
    fn every_kind_reads_back() {
        for kind in every_kind() {
            for (chat, message) in [(Some(ChatId([1; 16])), Some(MessageId([2; 12]))), (None, None)] {
                let event = Event { at: UnixTime(5), chat, message, kind: kind.clone() };
                assert_eq!(decode_event(&encode_event(&event)), Some(event));
            }
        }
    }

    #[test]
    fn a_kind_of_a_later_version_and_damage_are_skipped() {
        // Field 99, a kind this version does not know.
        assert_eq!(decode_event(&[0x08, 0x05, 0x9a, 0x06, 0x00]), None);
        assert_eq!(decode_event(&[0xff]), None);
        let event = Event { at: UnixTime(5), chat: None, message: None, kind: EventKind::ChatRead };
        let mut bytes = encode_event(&event);
        bytes.extend_from_slice(&[0x12, 0x01, 0x01]);
        assert_eq!(decode_event(&bytes), None);
    }
}
