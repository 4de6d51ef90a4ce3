//! From the core's views to what is shown. No rule lives here: each function only gives names and forms.

use silbo_protocol::carry::store::CarrySettings;
use silbo_protocol::ids::{AccountId, ChatId, PeerAddress, PeerKey};
use silbo_protocol::input::{InviteKind, Route};
use silbo_protocol::limits::{CARRIED_BYTES_MAX, CARRIED_ENVELOPES_MAX};
use silbo_protocol::radio::RadioPower;
use silbo_protocol::step::{
    ContactState, ContactView, DeliveryState, Event, EventKind, FailReason, Hop, InviteView, LiveEvent, MeView,
    MeshView, Path, RelayStatusView, RelayView, TraceView,
};
use silbo_transports::bluetooth::{BluetoothState, Cause};
use silbo_transports::internet::{multiaddr_text, peer_text};
use silbo_transports::wifi_direct::{WifiDirectSnapshot, WifiDirectState};

use super::groups::name_or_account;
use super::members::Members;
use super::types;
use crate::radio::RadioView;
use silbo_protocol::wire::base64;

/// Who wrote it, when it was this account.
pub(super) const ME: &str = "me";

/// Author of something in a conversation.
pub(super) fn author(chat: &ChatId, outgoing: bool) -> String {
    if outgoing { ME.to_owned() } else { chat.full() }
}

/// The own profile.
pub(super) fn profile(me: MeView) -> types::Profile {
    types::Profile {
        id: me.chat.full(),
        account: me.account.full(),
        name: me.name,
        status: me.status,
        avatar: base64::encode(&me.avatar),
        devices: me.devices,
        read_receipts: me.read_receipts,
        typing: me.typing,
    }
}

/// An invitation.
pub(super) fn invite(invite: InviteView) -> types::Invite {
    types::Invite {
        id: invite.id.full(),
        kind: match invite.kind {
            InviteKind::OneTime => types::InviteKind::OneTime,
            InviteKind::Reusable => types::InviteKind::Reusable,
        },
        link: invite.link,
        qr: invite.qr,
        expires_at: invite.expires_at.0,
        used: invite.used,
        held_by_relays: invite.held_by_relays,
    }
}

/// A contact.
pub(super) fn contact(contact: ContactView) -> types::Contact {
    types::Contact {
        id: contact.chat.full(),
        account: contact.account.full(),
        name: contact.name,
        profile_name: contact.profile_name,
        status: contact.status,
        avatar: base64::encode(&contact.avatar),
        state: match contact.state {
            ContactState::Requested => types::ContactState::Requested,
            ContactState::Incoming => types::ContactState::Incoming,
            ContactState::Active => types::ContactState::Active,
            ContactState::Blocked => types::ContactState::Blocked,
            ContactState::Refused => types::ContactState::Refused,
            ContactState::Member => types::ContactState::Member,
        },
        verification: contact.verification,
        key_changed: contact.key_changed,
        online: contact.online,
        route: contact.route.map(route),
        retention_s: contact.retention_s,
        presence: contact.presence,
        read_receipts: contact.read_receipts,
        typing: contact.typing,
        carrier: contact.carrier,
        added_at: contact.added_at.0,
    }
}

/// How a link runs.
pub(super) fn route(route: Route) -> types::LinkRoute {
    match route {
        Route::Circuit => types::LinkRoute::Circuit,
        Route::Radio => types::LinkRoute::Radio,
        Route::Direct => types::LinkRoute::Direct,
        Route::Local => types::LinkRoute::Local,
    }
}

/// How a message travelled.
pub(super) fn path(path: Path) -> types::MessagePath {
    match path {
        Path::Direct(Route::Direct | Route::Local) => types::MessagePath::Direct,
        Path::Direct(Route::Circuit) => types::MessagePath::Circuit,
        Path::Direct(Route::Radio) => types::MessagePath::Radio,
        Path::Courier => types::MessagePath::Courier,
        Path::Relay => types::MessagePath::Relay,
        Path::Local => types::MessagePath::Local,
    }
}

/// A delivery state taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StateParts {
    pub(super) state: types::ItemState,
    pub(super) held: Option<types::HeldBy>,
    pub(super) failed: Option<String>,
    pub(super) partial: Option<types::PartOf>,
}

/// A delivery state; `outgoing` tells a note to self from a message received.
pub(super) fn state(state: DeliveryState, outgoing: bool) -> StateParts {
    let plain = |state| StateParts { state, held: None, failed: None, partial: None };
    match state {
        DeliveryState::Queued => plain(types::ItemState::Queued),
        DeliveryState::Held { relays, until } => {
            StateParts { held: Some(types::HeldBy { relays, until_at: until.0 }), ..plain(types::ItemState::Held) }
        }
        DeliveryState::Partial { delivered, of } => {
            StateParts { partial: Some(types::PartOf { delivered, of }), ..plain(types::ItemState::Partial) }
        }
        DeliveryState::Delivered { .. } => plain(types::ItemState::Delivered),
        DeliveryState::Read { .. } => plain(types::ItemState::Read),
        DeliveryState::Failed(reason) => {
            StateParts { failed: Some(fail_reason(reason).to_owned()), ..plain(types::ItemState::Failed) }
        }
        DeliveryState::Local if outgoing => plain(types::ItemState::Note),
        DeliveryState::Local => plain(types::ItemState::Received),
    }
}

fn fail_reason(reason: FailReason) -> &'static str {
    match reason {
        FailReason::Expired => "expired",
        FailReason::Blocked => "blocked",
        FailReason::KeyChanged => "keyChanged",
        FailReason::Refused => "refused",
    }
}

/// Hops and receipts.
pub(super) fn trace(trace: TraceView, state: types::ItemState) -> types::Trace {
    types::Trace {
        id: trace.id.full(),
        chat: trace.chat.full(),
        state,
        hops: trace.hops.into_iter().map(hop).collect(),
        members: None,
    }
}

fn hop(hop: Hop) -> types::TraceHop {
    types::TraceHop {
        at: hop.at.0,
        what: hop.what.to_owned(),
        path: hop.path.map(path),
        peer: hop.peer.as_ref().map(peer),
        until_at: hop.until.map(|until| until.0),
    }
}

/// A peer as people copy it.
pub(super) fn peer(key: &PeerKey) -> String {
    peer_text(key)
}

/// The addresses of a peer, each with the peer at its end.
pub(super) fn addresses(address: &PeerAddress) -> Vec<String> {
    let peer = peer_text(&address.peer);
    let texts = address.addrs.iter().filter_map(|bytes| multiaddr_text(bytes));
    texts.map(|text| if text.ends_with(&peer) { text } else { format!("{text}/p2p/{peer}") }).collect()
}

/// A relay in use.
pub(super) fn relay(relay: RelayView) -> types::Relay {
    types::Relay {
        peer: peer(&relay.address.peer),
        address: addresses(&relay.address).into_iter().next().unwrap_or_default(),
        connected: relay.connected,
        queues: relay.queues,
        own: relay.own,
        retention_days: relay.retention_days,
        heard_at: relay.heard_at.map(|at| at.0),
    }
}

/// What this node holds for others, and where others find it.
pub(super) fn relay_status(status: RelayStatusView, addresses: Vec<String>) -> types::RelayStatus {
    types::RelayStatus {
        serving: status.limits.is_some(),
        address: addresses.first().cloned(),
        addresses,
        held: status.held,
        bytes: status.bytes,
        queues: status.queues,
        blobs: status.blobs,
        refused: status.refused,
        retention_days: status.limits.map_or(0, |limits| limits.retention_days),
        limits: status.limits.map(|limits| types::RelayLimitList {
            queue_envelopes_max: limits.queue_envelopes_max,
            queue_kib_max: limits.queue_kib_max,
            total_mib_max: limits.total_mib_max,
        }),
    }
}

/// Envelopes and bytes of a power mode.
pub(super) fn amounts(power: types::PowerMode) -> (u32, u64) {
    match power {
        types::PowerMode::Performance => (CARRIED_ENVELOPES_MAX, CARRIED_BYTES_MAX),
        types::PowerMode::Balanced => (20_000, 16 << 20),
        types::PowerMode::Saver => (2_000, 2 << 20),
    }
}

/// The power mode whose numbers these are.
pub(super) fn power_of(settings: CarrySettings) -> Option<types::PowerMode> {
    let all = [types::PowerMode::Performance, types::PowerMode::Balanced, types::PowerMode::Saver];
    all.into_iter().find(|power| amounts(*power) == (settings.envelopes_max, settings.bytes_max))
}

/// The power mode of radios, as the API calls it.
fn radio_power(power: RadioPower) -> types::PowerMode {
    match power {
        RadioPower::Performance => types::PowerMode::Performance,
        RadioPower::Balanced => types::PowerMode::Balanced,
        RadioPower::Saver => types::PowerMode::Saver,
    }
}

/// The power mode of the API, as radios call it.
pub(super) fn power_of_radios(power: types::PowerMode) -> RadioPower {
    match power {
        types::PowerMode::Performance => RadioPower::Performance,
        types::PowerMode::Balanced => RadioPower::Balanced,
        types::PowerMode::Saver => RadioPower::Saver,
    }
}

/// What a node is called on the air, as text.
pub(super) fn rid(rid: &[u8; 6]) -> String {
    rid.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What to do about a radio that does not work; nothing where that is as it should be.
pub(super) fn radio_hint(cause: Cause) -> Option<&'static str> {
    match cause {
        Cause::Unwanted | Cause::Adapter => None,
        Cause::NamedAdapter => {
            Some("see what there is, `bluetoothctl list`, and `silbo config set transports.bluetooth_adapter NAME`")
        }
        Cause::Service => {
            Some("install and start it: `sudo apt install bluez && sudo systemctl enable --now bluetooth`")
        }
        Cause::Permission => Some(
            "let this user use it: `sudo usermod -aG bluetooth $USER`, then log in again; in a container, pass the system bus in",
        ),
        Cause::Switch => Some("switch it on: `rfkill unblock bluetooth && bluetoothctl power on`"),
        Cause::Failure => Some("see what it says: `journalctl -u bluetooth`; the node tries again by itself"),
    }
}

/// The radios of this machine.
pub(super) fn radio(view: &RadioView) -> types::RadioStatus {
    let (links, bluetooth) = (view.links.borrow(), view.bluetooth.borrow());
    let (state, off) = match &bluetooth.state {
        BluetoothState::Starting => (types::RadioState::Starting, None),
        BluetoothState::On => (types::RadioState::On, None),
        BluetoothState::Off(off) => (types::RadioState::Off, Some(off)),
    };
    let items = bluetooth.neighbours.iter().map(|neighbour| types::RadioNeighbour {
        rid: rid(&neighbour.rid),
        rssi: neighbour.rssi,
        heard_seconds_ago: neighbour.heard_s,
        linked: neighbour.linked,
    });
    types::RadioStatus {
        wifi_direct: wifi_direct(&view.wifi_direct.borrow()),
        bluetooth: state,
        adapter: bluetooth.adapter.clone(),
        reason: off.map(|off| off.why.clone()),
        hint: off.and_then(|off| radio_hint(off.cause)).map(str::to_owned),
        power: radio_power(view.conditions.borrow().mode()),
        scan_percent: bluetooth.duty.map(|duty| duty.scan_percent()),
        advertise_ms: bluetooth.duty.map(|duty| duty.advertise_ms),
        links: u32::try_from(links.links.len()).unwrap_or(u32::MAX),
        items: items.collect(),
    }
}

fn wifi_direct(seen: &WifiDirectSnapshot) -> types::WifiDirectStatus {
    use types::WifiDirectState as State;
    let (state, reason, with, owner) = match &seen.state {
        WifiDirectState::Starting => (State::Starting, None, None, None),
        WifiDirectState::Off(why) => (State::Off, Some(why.clone()), None, None),
        WifiDirectState::On => (State::On, None, None, None),
        WifiDirectState::Busy(why) => (State::Busy, Some(why.clone()), None, None),
        WifiDirectState::Forming(rid) => (State::Forming, None, Some(self::rid(rid)), None),
        WifiDirectState::Group { rid, owner } => (State::Group, None, Some(self::rid(rid)), Some(*owner)),
    };
    let (interface, ended) = (seen.interface.clone(), seen.ended.clone());
    types::WifiDirectStatus { state, interface, reason, with, owner, groups: seen.groups, ended }
}

/// What is carried for others.
pub(super) fn mesh(view: MeshView) -> types::Mesh {
    types::Mesh {
        enabled: view.settings.enabled,
        power: power_of(view.settings),
        radio_power: radio_power(view.radio_power),
        max_envelopes: view.settings.envelopes_max,
        max_bytes: view.settings.bytes_max,
        carried: view.carried,
        pinned: view.pinned,
        carried_bytes: view.carried_bytes,
        vaccines: view.vaccines,
        waiting: view.waiting,
        appointed: view.appointed,
        auto_carriers: view.settings.carriers,
        carries_for: view.carries_for,
        carriers: view.carriers,
        encounters_per_day: view.encounters_per_day,
        handed_over: view.handed_over,
        taken: view.taken,
    }
}

/// A persisted event; `name` is what the contact or the group is called here.
pub(super) fn event(seq: u64, epoch: &str, event: Event, name: Option<String>, members: &Members) -> types::Event {
    let shown = types::Event {
        seq: Some(seq),
        epoch: Some(epoch.to_owned()),
        kind: crate::storage::event_kind_name(&event.kind).to_owned(),
        at: event.at.0,
        chat: event.chat.map(|chat| chat.full()),
        message: event.message.map(|message| message.full()),
        name,
        ..types::Event::default()
    };
    // In a group, who did it; in a conversation of two, nothing.
    let by = |shown: types::Event, author: Option<AccountId>| {
        let author = event.chat.and_then(|chat| members.author(&chat, author));
        let (from, account) = author.map(|author| (author.name, author.account)).unzip();
        types::Event { from, author: account, ..shown }
    };
    let about = |shown: types::Event, account: AccountId, name: String| types::Event {
        member: Some(name_or_account(name, &account)),
        account: Some(account.full()),
        ..shown
    };
    match event.kind {
        EventKind::MessageReceived { body, sent_at, reply_to, path: way, author, mentions_me, muted } => {
            let from = shown.chat.clone();
            let shown = by(shown, author);
            types::Event {
                body: Some(body),
                sent_at: Some(sent_at.0),
                reply_to: reply_to.map(|id| id.full()),
                path: Some(path(way)),
                from: shown.from.clone().or(from),
                mentions_me: mentions_me.then_some(true),
                muted: muted.then_some(true),
                ..shown
            }
        }
        EventKind::MessagePinned { outgoing, removed, author }
        | EventKind::MessageVoted { outgoing, removed, author } => {
            types::Event { outgoing: Some(outgoing), removed: Some(removed), ..by(shown, author) }
        }
        EventKind::MessageSent { body } => types::Event { body: Some(body), ..shown },
        EventKind::MessageEdited { body, author } => types::Event { body: Some(body), ..by(shown, author) },
        EventKind::MessageDeleted { author } => by(shown, author),
        EventKind::MessageState { state: reached, path: way } => {
            let parts = state(reached, true);
            types::Event {
                state: Some(parts.state),
                held: parts.held,
                failed: parts.failed,
                partial: parts.partial,
                path: way.map(path),
                ..shown
            }
        }
        EventKind::MessageReaction { outgoing, emoji, removed, author } => {
            types::Event { outgoing: Some(outgoing), emoji: Some(emoji), removed: Some(removed), ..by(shown, author) }
        }
        EventKind::ContactRequest { name, hello } => types::Event { name: Some(name), hello: Some(hello), ..shown },
        EventKind::ChatRetention { seconds, outgoing } => {
            types::Event { seconds: Some(seconds), outgoing: Some(outgoing), ..shown }
        }
        EventKind::RelayAdded { peer: key } | EventKind::RelayQuota { peer: key } => {
            types::Event { peer: Some(peer(&key)), ..shown }
        }
        EventKind::GroupMemberJoined { account, name }
        | EventKind::GroupMemberForked { account, name }
        | EventKind::GroupDisputed { account, name }
        | EventKind::GroupJoinRequest { account, name } => about(shown, account, name),
        EventKind::GroupMemberLeft { account, name, removed } => {
            types::Event { removed: Some(removed), ..about(shown, account, name) }
        }
        EventKind::GroupVoided { what, why } => types::Event { what: Some(what), why: Some(why), ..shown },
        EventKind::GroupHistory { messages } => types::Event { count: Some(messages), ..shown },
        EventKind::ChannelForked { post } => types::Event { post: Some(post), ..shown },
        EventKind::Warning { text } => types::Event { text: Some(text), ..shown },
        EventKind::GroupUpdated
        | EventKind::ChannelUpdated
        | EventKind::MessageExpired
        | EventKind::ContactAdded
        | EventKind::ContactUpdated
        | EventKind::ContactAccepted
        | EventKind::ContactRemoved
        | EventKind::ContactKeyChanged
        | EventKind::SessionReset
        | EventKind::ChatUpdated
        | EventKind::ChatRead => shown,
    }
}

/// An ephemeral event.
pub(super) fn live_event(event: &LiveEvent, at: u64) -> types::Event {
    match event {
        LiveEvent::Typing { chat, on } => types::Event {
            kind: "chat.typing".to_owned(),
            at,
            chat: Some(chat.full()),
            on: Some(*on),
            ..types::Event::default()
        },
        LiveEvent::Presence { chat, online } => types::Event {
            kind: "contact.presence".to_owned(),
            at,
            chat: Some(chat.full()),
            online: Some(*online),
            ..types::Event::default()
        },
    }
}
