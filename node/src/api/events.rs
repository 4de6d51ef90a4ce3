//! The event log for readers: a filter, and a feed that replays from a cursor and then goes live.
//!
//! A feed wakes when the newest committed number changes and reads the log again; it never asks in a loop. What it has
//! read is bounded by one page; a reader that does not keep up only falls behind in the log.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonrpsee::core::error::RegisterMethodError;
use jsonrpsee::types::{ErrorObjectOwned, Params};
use jsonrpsee::{Extensions, PendingSubscriptionSink, RpcModule, SubscriptionMessage};
use silbo_protocol::ids::ChatId;
use silbo_protocol::step::LiveEvent;
use silbo_transports::bluetooth::BluetoothSnapshot;
use tokio::sync::{broadcast, watch};

use super::connection::Connection;
use super::convert;
use super::error::ApiError;
use super::limits::{EVENTS_PER_READ, LABEL_BYTES_MAX};
use super::members::Members;
use super::radio_news::RadioNews;
use super::reads::{self, EventPage};
use super::registry::{Method, open};
use super::types::{self, Event, EventsSubscribe, Gap};
use super::{Api, people};
use crate::storage::event_kind_name;

/// Kinds or conversations one filter may name.
const FILTER_ITEMS_MAX: usize = 64;

/// Which events a reader wants; nothing named is everything.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    kinds: Option<BTreeSet<String>>,
    chats: Option<BTreeSet<ChatId>>,
}

impl Filter {
    /// Reads the parameters; conversations may be named like everywhere.
    pub(super) async fn read(
        api: &Api,
        kinds: Option<Vec<String>>,
        chats: Option<Vec<String>>,
    ) -> Result<Self, ApiError> {
        let sizes = [("kinds", kinds.as_ref().map_or(0, Vec::len)), ("chats", chats.as_ref().map_or(0, Vec::len))];
        for (field, size) in sizes {
            if size > FILTER_ITEMS_MAX {
                return Err(ApiError::invalid(field, format!("at most {FILTER_ITEMS_MAX}")));
            }
        }
        let mut filter = Filter { kinds: kinds.map(BTreeSet::from_iter), chats: None };
        if let Some(names) = chats {
            let mut chats = BTreeSet::new();
            for name in names {
                chats.insert(people::find(api, &name, "chats").await?);
            }
            filter.chats = Some(chats);
        }
        Ok(filter)
    }

    fn wants(&self, kind: &str, chat: Option<&ChatId>) -> bool {
        let kind = self.kinds.as_ref().is_none_or(|kinds| kinds.contains(kind));
        kind && self.chats.as_ref().is_none_or(|chats| chat.is_some_and(|chat| chats.contains(chat)))
    }
}

/// Checks the name of a consumer.
pub(super) fn check_consumer(name: &str) -> Result<(), ApiError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > LABEL_BYTES_MAX || !name.bytes().all(plain) {
        return Err(ApiError::invalid("consumer", format!("1 to {LABEL_BYTES_MAX} letters, digits, '-', '_' or '.'")));
    }
    Ok(())
}

/// Where to start: `since`, else the consumer's cursor, else `otherwise`.
pub(super) async fn start(
    api: &Api,
    since: Option<u64>,
    consumer: Option<String>,
    otherwise: u64,
) -> Result<u64, ApiError> {
    if let Some(consumer) = &consumer {
        check_consumer(consumer)?;
    }
    match (since, consumer) {
        (Some(since), _) => Ok(since),
        (None, Some(consumer)) => Ok(api.core.read(move |db| db.cursor(&consumer)).await?),
        (None, None) => Ok(otherwise),
    }
}

/// Turns a page of the log into events, with the names of their contacts, groups and members.
pub(super) async fn named(api: &Api, page: EventPage, filter: &Filter) -> Vec<Event> {
    let EventPage { events, epoch, names, channels, .. } = page;
    let mut names = Names::of_contacts(names);
    let mut out = Vec::new();
    for (seq, event) in events {
        if !filter.wants(event_kind_name(&event.kind), event.chat.as_ref()) {
            continue;
        }
        let name = match event.chat {
            Some(chat) => names.of(api, chat).await,
            None => None,
        };
        let channel = event.chat.is_some_and(|chat| channels.contains(&chat)).then_some(true);
        out.push(Event { channel, ..convert::event(seq, &epoch, event, name, &names.members) });
    }
    out
}

/// What the conversations of a page are called, each asked for once.
#[derive(Default)]
struct Names {
    known: BTreeMap<ChatId, Option<String>>,
    members: Members,
}

impl Names {
    /// The page brings those of contacts along.
    fn of_contacts(names: BTreeMap<ChatId, String>) -> Self {
        Self { known: names.into_iter().map(|(chat, name)| (chat, Some(name))).collect(), ..Self::default() }
    }

    async fn of(&mut self, api: &Api, chat: ChatId) -> Option<String> {
        if let Some(known) = self.known.get(&chat) {
            return known.clone();
        }
        let mut name = people::name(api, chat).await;
        if name.is_none() {
            let learned = match api.me().await {
                Ok(me) => self.members.learn(api, &me, chat).await,
                Err(error) => Err(error),
            };
            if let Err(error) = learned {
                tracing::debug!(%error, "the members of a conversation are not known");
            }
            name = self.members.group_name(&chat).map(str::to_owned);
        }
        self.known.insert(chat, name.clone());
        name
    }
}

/// The numbers between a cursor and the oldest event kept.
pub(super) fn gap(since: u64, floor: u64) -> Option<Gap> {
    (since.saturating_add(1) < floor).then(|| Gap { from: since.saturating_add(1), to: floor.saturating_sub(1) })
}

/// Events from a cursor on, without end.
pub(super) struct Feed {
    api: Arc<Api>,
    filter: Filter,
    cursor: u64,
    pending: VecDeque<Event>,
    head: watch::Receiver<u64>,
    live: broadcast::Receiver<LiveEvent>,
    bluetooth: watch::Receiver<BluetoothSnapshot>,
    radio: RadioNews,
}

impl Feed {
    /// Opens a feed; what happens after this call is in it.
    pub(super) async fn open(api: Arc<Api>, params: EventsSubscribe) -> Result<Self, ApiError> {
        let head = api.core.event_head();
        let live = api.core.live();
        let newest = *head.borrow();
        let mut bluetooth = api.facts.radio.bluetooth.clone();
        let radio = RadioNews::from(&bluetooth.borrow_and_update());
        let filter = Filter::read(&api, params.kinds, params.chats).await?;
        let cursor = start(&api, params.since, params.consumer, newest).await?;
        Ok(Self { api, filter, cursor, pending: VecDeque::new(), head, live, bluetooth, radio })
    }

    /// The next event; `None` when the node stops. Cancel safe except that a page being read is read again.
    pub(super) async fn next(&mut self) -> Result<Option<Event>, ApiError> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Ok(Some(event));
            }
            if self.cursor < *self.head.borrow_and_update() {
                self.read_page().await?;
                continue;
            }
            let live = tokio::select! {
                biased;
                changed = self.head.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return Ok(None),
                },
                live = self.live.recv() => live,
                // A node without radios has nobody who changes it.
                Ok(()) = self.bluetooth.changed() => {
                    let changes = self.radio.changes(&self.bluetooth.borrow_and_update());
                    self.pending.extend(changes.into_iter().filter(|event| self.filter.wants(&event.kind, None)));
                    continue;
                }
            };
            match live {
                Ok(event) => {
                    if let Some(event) = self.ephemeral(event).await {
                        return Ok(Some(event));
                    }
                }
                // Only news of the moment was missed, and the moment is over.
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return Ok(None),
            }
        }
    }

    async fn read_page(&mut self) -> Result<(), ApiError> {
        let since = self.cursor;
        let page = self
            .api
            .core
            .read_with_engine(move |db, engine| reads::events_after(db, engine, since, EVENTS_PER_READ as usize))
            .await?;
        let newest = page.events.last().map(|(seq, _)| *seq);
        // Nothing after the cursor although the head is above it: it was pruned.
        let cursor = newest.unwrap_or(page.head).max(since);
        let gap = gap(since, page.floor);
        let events = named(&self.api, page, &self.filter).await;
        self.cursor = cursor;
        self.pending.extend(gap.map(missed));
        self.pending.extend(events);
        Ok(())
    }

    async fn ephemeral(&self, event: LiveEvent) -> Option<Event> {
        let (LiveEvent::Typing { chat, .. } | LiveEvent::Presence { chat, .. }) = event;
        let mut shown = convert::live_event(&event, now_ms());
        if !self.filter.wants(&shown.kind, Some(&chat)) {
            return None;
        }
        shown.name = Names::default().of(&self.api, chat).await;
        Some(shown)
    }
}

fn missed(gap: Gap) -> Event {
    Event {
        kind: "events.gap".to_owned(),
        at: now_ms(),
        gap_from: Some(gap.from),
        gap_to: Some(gap.to),
        ..Event::default()
    }
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Registers `events.subscribe` and `events.unsubscribe`.
pub(super) fn register_subscription(
    module: &mut RpcModule<Api>,
    method: &Method<Api>,
) -> Result<(), RegisterMethodError> {
    let (name, scope) = (method.name, method.scope);
    let subscribe = move |params: Params<'static>,
                          pending: PendingSubscriptionSink,
                          api: Arc<Api>,
                          extensions: Extensions| async move {
        let opened = async {
            let params = open::<EventsSubscribe>(&extensions, name, scope, &params)?;
            Feed::open(api.clone(), params).await.map_err(ErrorObjectOwned::from)
        };
        match opened.await {
            Ok(feed) => run_subscription(feed, pending, api.limits.stall_timeout, extensions.get::<Connection>()).await,
            Err(error) => pending.reject(error).await,
        }
    };
    module.register_subscription(name, "event", UNSUBSCRIBE, subscribe)?;
    super::registry::name_parameters_of_unsubscription(module, UNSUBSCRIBE)
}

const UNSUBSCRIBE: &str = "events.unsubscribe";

async fn run_subscription(
    mut feed: Feed,
    pending: PendingSubscriptionSink,
    stall_timeout: std::time::Duration,
    connection: Option<&Connection>,
) {
    let Ok(sink) = pending.accept().await else { return };
    loop {
        let event = tokio::select! {
            biased;
            () = sink.closed() => return,
            event = feed.next() => event,
        };
        let event = match event {
            Ok(Some(event)) => event,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "a subscription ended");
                return;
            }
        };
        let Ok(message) = SubscriptionMessage::new(sink.method_name(), sink.subscription_id(), &event) else { return };
        match sink.send_timeout(message, stall_timeout).await {
            Ok(()) => {}
            Err(_) => {
                // Too slow, or gone: the connection is closed, the cursor is where it was.
                if let Some(connection) = connection {
                    connection.kill.cancel();
                }
                return;
            }
        }
    }
}

/// The schema of what a subscription brings.
pub(super) type Notification = types::Event;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_what_lies_between_the_cursor_and_the_oldest_event() {
        assert_eq!(gap(0, 1), None);
        assert_eq!(gap(7, 8), None);
        assert_eq!(gap(9, 8), None);
        assert_eq!(gap(3, 8), Some(Gap { from: 4, to: 7 }));
        assert_eq!(gap(u64::MAX, 8), None);
    }

    #[test]
    fn a_filter_passes_what_it_names() {
        let chat = ChatId([1; 16]);
        let all = Filter::default();
        assert!(all.wants("x", None));
        let kinds = Filter { kinds: Some(BTreeSet::from(["a".to_owned()])), chats: None };
        assert!(kinds.wants("a", None) && !kinds.wants("b", None));
        let chats = Filter { kinds: None, chats: Some(BTreeSet::from([chat])) };
        assert!(chats.wants("a", Some(&chat)) && !chats.wants("a", None) && !chats.wants("a", Some(&ChatId([2; 16]))));
    }

    #[test]
    fn names_of_consumers_are_plain() {
        assert!(check_consumer("alerts-1").is_ok());
        for name in ["", "a b", "a/b", &"x".repeat(LABEL_BYTES_MAX + 1)] {
            assert!(check_consumer(name).is_err(), "{name}");
        }
    }
}
