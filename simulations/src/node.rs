//! One node of the virtual world: its engine while it runs, its disk always, and what a person there was shown.

use std::collections::{BTreeMap, BTreeSet};

use silbo_protocol::Engine;
use silbo_protocol::ids::{AccountId, ChatId, MessageId, PeerAddress, PeerKey};
use silbo_protocol::input::{RelayLimits, RequestId};
use silbo_protocol::step::{DeliveryState, Event, EventKind, LiveEvent, Path, Reply, RequestError};
use silbo_protocol::store::Table;
use silbo_protocol::time::{Moment, Now, UnixTime};

use crate::disk::Disk;
use crate::driver::Phase;
use crate::hostile::Hostility;
use crate::{address, chaos};

/// A node of the world, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

/// Wall-clock time at the beginning of the world: 2026-01-01T00:00:00Z.
pub const WORLD_BEGINS_MS: u64 = 1_767_225_600_000;

/// Every table of the private file.
const PRIVATE_TABLES: [Table; 19] = [
    Table::Meta,
    Table::Contact,
    Table::Invite,
    Table::Session,
    Table::Skipped,
    Table::Outbox,
    Table::Seen,
    Table::Relay,
    Table::OwnQueue,
    Table::Chat,
    Table::Trace,
    Table::Gone,
    Table::Pending,
    Table::Sent,
    Table::GroupSaid,
    Table::GroupEarly,
    Table::Draft,
    Table::Channel,
    Table::ChannelPost,
];

/// A message as it was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Virtual time.
    pub at_ms: u64,
    /// The conversation.
    pub chat: ChatId,
    /// The message.
    pub id: MessageId,
    /// Its text.
    pub body: String,
    /// How it came.
    pub path: Path,
}

/// A crash that waits for its input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlannedCrash {
    /// Count of the input that it strikes.
    pub at_input: u64,
    /// Where in the step.
    pub phase: Phase,
    /// How long the node stays dead.
    pub dead_ms: u64,
}

/// A node.
pub struct Node {
    /// For messages to people who debug.
    pub name: String,
    /// Who it is.
    pub id: NodeId,
    /// What it has committed.
    pub disk: Disk,
    /// Its account, once it has one.
    pub account: Option<AccountId>,
    /// Every message shown, in the order it was shown.
    pub shown: Vec<Shown>,
    /// Every persisted event, in order.
    pub events: Vec<Event>,
    /// News that was never stored.
    pub live: Vec<LiveEvent>,
    /// Latest delivery state of every own message.
    pub states: BTreeMap<MessageId, DeliveryState>,
    /// Answers by request.
    pub replies: BTreeMap<RequestId, Result<Reply, RequestError>>,
    /// Inputs handled in all runs.
    pub inputs: u64,
    /// Runs so far; the current one while the node is on.
    pub run: u64,
    /// What it does to its frames.
    pub hostility: Hostility,
    /// Its wall clock minus the clock of the world.
    pub wall_skew_ms: i64,
    /// False while nothing on the network can reach it.
    pub online: bool,
    pub(crate) engine: Option<Engine>,
    pub(crate) serves: Option<RelayLimits>,
    pub(crate) peer: PeerKey,
    pub(crate) circuits: BTreeSet<NodeId>,
    pub(crate) started_at_ms: u64,
    pub(crate) moment_base: u64,
    pub(crate) wake_generation: u64,
    /// When the armed wake is due.
    pub(crate) wake_at_ms: Option<u64>,
    pub(crate) drops_carried: bool,
    /// Its mail is not counted: it floods.
    pub(crate) floods: bool,
    pub(crate) planned_crash: Option<PlannedCrash>,
    pub(crate) busy_at_ms: u64,
    pub(crate) busy_steps: u32,
    pub(crate) requests_lost: BTreeSet<RequestId>,
}

impl Node {
    pub(crate) fn new(id: NodeId, name: &str, serves: Option<RelayLimits>) -> Self {
        Self {
            name: name.to_owned(),
            id,
            disk: Disk::default(),
            account: None,
            shown: Vec::new(),
            events: Vec::new(),
            live: Vec::new(),
            states: BTreeMap::new(),
            replies: BTreeMap::new(),
            inputs: 0,
            run: 0,
            hostility: Hostility::default(),
            wall_skew_ms: 0,
            online: true,
            engine: None,
            serves,
            peer: PeerKey(Vec::new()),
            circuits: BTreeSet::new(),
            started_at_ms: 0,
            moment_base: 0,
            wake_generation: 0,
            wake_at_ms: None,
            drops_carried: false,
            floods: false,
            planned_crash: None,
            busy_at_ms: 0,
            busy_steps: 0,
            requests_lost: BTreeSet::new(),
        }
    }

    /// True while its engine runs.
    pub fn is_on(&self) -> bool {
        self.engine.is_some()
    }

    /// Its transport key in this run.
    pub fn peer(&self) -> &PeerKey {
        &self.peer
    }

    /// Where it says it can be dialled, before circuits.
    pub fn address(&self) -> PeerAddress {
        PeerAddress { peer: self.peer.clone(), addrs: vec![address::direct(self.id)] }
    }

    /// Its conversation with itself, which is also the name others have for the conversation with it.
    pub fn chat(&self) -> Option<ChatId> {
        self.account.map(|account| account.chat())
    }

    /// Texts shown, in the order they were shown.
    pub fn texts(&self) -> Vec<&str> {
        self.shown.iter().map(|shown| shown.body.as_str()).collect()
    }

    /// Texts of a conversation as the screen orders them, own and others'.
    pub fn history(&self, chat: &ChatId) -> Vec<String> {
        self.disk.store().rows(chat).into_iter().filter(|row| row.visible).map(|row| row.body).collect()
    }

    /// How often an event of this kind was persisted.
    pub fn count_events(&self, is: impl Fn(&EventKind) -> bool) -> usize {
        self.events.iter().filter(|event| is(&event.kind)).count()
    }

    /// True while a text stands anywhere in the tables or message rows of its disk, as it is. The event log is not
    /// looked at: the storage layer erases from it.
    pub fn remembers(&self, text: &str) -> bool {
        let store = self.disk.store();
        let has = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        let tables = PRIVATE_TABLES.iter().flat_map(|table| store.pairs(*table));
        let chats: BTreeSet<ChatId> = self.events.iter().filter_map(|event| event.chat).collect();
        let mut rows = chats.iter().flat_map(|chat| store.rows(chat));
        rows.any(|row| has(row.body.as_bytes()) || has(&row.slot)) || tables.into_iter().any(|(_, value)| has(value))
    }

    /// Both clocks of this node at a virtual time.
    pub fn now(&self, at_ms: u64) -> Now {
        let moment = Moment(self.moment_base + at_ms.saturating_sub(self.started_at_ms));
        let wall = (WORLD_BEGINS_MS + at_ms).saturating_add_signed(self.wall_skew_ms);
        Now { moment, unix: UnixTime(wall) }
    }

    /// Virtual time of a moment of this node's current run.
    pub(crate) fn at_ms(&self, moment: Moment) -> u64 {
        self.started_at_ms.saturating_add(moment.0.saturating_sub(self.moment_base))
    }

    /// Where the next step has to be cut off, if it has.
    pub(crate) fn crash_due(&mut self) -> Option<PlannedCrash> {
        let due = self.planned_crash.is_some_and(|planned| self.inputs >= planned.at_input);
        if due { self.planned_crash.take() } else { None }
    }

    /// One line for failure reports.
    pub fn summary(&self) -> String {
        let count = |is: fn(&DeliveryState) -> bool| self.states.values().filter(|state| is(state)).count();
        format!(
            "  {:<8} {} run {} inputs {} shown {} own: held {} delivered {} failed {} skew {} h{}",
            self.name,
            if !self.is_on() {
                "off    "
            } else if self.online {
                "online "
            } else {
                "offline"
            },
            self.run,
            self.inputs,
            self.shown.len(),
            count(|state| matches!(state, DeliveryState::Held { .. })),
            count(|state| matches!(state, DeliveryState::Delivered { .. } | DeliveryState::Read { .. })),
            count(|state| matches!(state, DeliveryState::Failed(_))),
            self.wall_skew_ms / chaos::HOUR_MS_SIGNED,
            if self.hostility.is_honest() { "" } else { " hostile" },
        )
    }
}
