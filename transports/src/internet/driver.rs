//! The task that owns the swarm: takes commands and libp2p's events and hands them to the part that decides.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use futures::StreamExt as _;
use libp2p::core::transport::ListenerId;
use libp2p::swarm::{ConnectionId, Swarm, SwarmEvent};
use libp2p::{Multiaddr, PeerId, autonat, identify, mdns, ping, upnp};
use silbo_protocol::ids::{LinkId, PeerAddress, PeerKey};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::StartError;
use super::address::{ip, is_circuit, peer_key};
use super::behaviour::{Node, NodeEvent};
use super::circuits::Circuit;
use super::dht::Dht;
use super::link_task::Note;
use super::peers::{Connection, Link, Peer};
use super::reach::{Reach, Source};
use super::settings::InternetSettings;
use super::snapshot::{NatStatus, NetSnapshot};
use super::streams::{StreamEvent, StreamKind};
use crate::link::{Health, LinkCommand, LinkEvent};

/// Events of the driver itself that may wait for the engine; links wait in their own tasks.
const PENDING_EVENTS_MAX: usize = 1_024;
/// Notes of link tasks that may wait.
const NOTES_MAX: usize = 256;
/// How long `start` waits for the interfaces to be known.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(2);
/// … and for the next one.
const LISTEN_QUIET: Duration = Duration::from_millis(20);
/// How long `stop` lets connections say goodbye.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(500);
/// How long `stop` waits for tasks that should have ended.
const TASKS_TIMEOUT: Duration = Duration::from_secs(5);

/// The driver's ends of the channels.
pub(super) struct Channels {
    pub(super) events: mpsc::Sender<LinkEvent>,
    pub(super) commands: mpsc::Receiver<LinkCommand>,
    pub(super) stop: CancellationToken,
}

/// What a deadline is for. Stale ones are recognised when they fire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// A dial should have led to a link.
    Dial(PeerId),
    /// A circuit is to be reserved again.
    Circuit(PeerId),
    /// Addresses and snapshot are to be published.
    Announce,
}

/// State of the transport. The methods live with what they decide: `peers`, `circuits`, `dht`, `announce`.
pub(super) struct Driver {
    pub(super) swarm: Swarm<Node>,
    pub(super) settings: InternetSettings,
    pub(super) reach: Reach,
    pub(super) local: PeerId,
    pub(super) local_key: PeerKey,

    pub(super) events: mpsc::Sender<LinkEvent>,
    pub(super) pending: VecDeque<LinkEvent>,
    commands: mpsc::Receiver<LinkCommand>,
    pub(super) notes_out: mpsc::Sender<Note>,
    notes: mpsc::Receiver<Note>,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
    pub(super) deadlines: BTreeSet<(Instant, Due)>,

    pub(super) peers: HashMap<PeerId, Peer>,
    pub(super) links: HashMap<LinkId, Link>,
    pub(super) connections: HashMap<ConnectionId, Connection>,
    pub(super) attempts: u64,

    pub(super) circuits: BTreeMap<PeerId, Circuit>,
    pub(super) dht: Dht,

    pub(super) nat: NatStatus,
    pub(super) upnp_addrs: BTreeSet<Multiaddr>,
    pub(super) own_external: BTreeSet<Multiaddr>,
    pub(super) announced: Option<PeerAddress>,
    pub(super) announce_armed: bool,
    pub(super) mdns_lonely: bool,
    pub(super) dht_mode_set: Option<bool>,
    pub(super) snapshot: watch::Sender<NetSnapshot>,
    pub(super) listeners: HashMap<ListenerId, Multiaddr>,
}

impl Driver {
    pub(super) fn new(
        swarm: Swarm<Node>,
        settings: InternetSettings,
        reach: Reach,
        tasks: TaskTracker,
        channels: Channels,
    ) -> Self {
        let local = *swarm.local_peer_id();
        let local_key = peer_key(&local);
        let (notes_out, notes) = mpsc::channel(NOTES_MAX);
        let snapshot = watch::Sender::new(NetSnapshot {
            local: local_key.clone(),
            peer_id: local.to_base58(),
            listen: Vec::new(),
            external: Vec::new(),
            circuits: Vec::new(),
            nat: NatStatus::Unknown,
            upnp: false,
            mdns: false,
            dht_peers: 0,
            dht_server: false,
            peers: Vec::new(),
        });
        Self {
            swarm,
            settings,
            reach,
            local,
            local_key,
            events: channels.events,
            pending: VecDeque::new(),
            commands: channels.commands,
            notes_out,
            notes,
            stop: channels.stop,
            tasks,
            deadlines: BTreeSet::new(),
            peers: HashMap::new(),
            links: HashMap::new(),
            connections: HashMap::new(),
            attempts: 0,
            circuits: BTreeMap::new(),
            dht: Dht::default(),
            nat: NatStatus::Unknown,
            upnp_addrs: BTreeSet::new(),
            own_external: BTreeSet::new(),
            announced: None,
            announce_armed: false,
            mdns_lonely: true,
            dht_mode_set: None,
            snapshot,
            listeners: HashMap::new(),
        }
    }

    /// A view that follows the transport.
    pub(super) fn watch(&self) -> watch::Receiver<NetSnapshot> {
        self.snapshot.subscribe()
    }

    /// Listens on the configured addresses and waits until each has found its interfaces.
    pub(super) async fn listen(&mut self) -> Result<(), StartError> {
        for text in self.settings.external.clone() {
            let addr: Multiaddr = text.parse().map_err(|_| StartError::BadAddress(text))?;
            self.swarm.add_external_address(addr);
        }
        let mut failed = None;
        for text in self.settings.listen.clone() {
            let addr: Multiaddr = text.parse().map_err(|_| StartError::BadAddress(text.clone()))?;
            match self.swarm.listen_on(addr.clone()) {
                Ok(listener) => {
                    self.listeners.insert(listener, addr);
                }
                Err(error) => {
                    tracing::warn!(%error, address = text, "cannot listen");
                    let error = error.to_string();
                    self.push(LinkEvent::Health(Health::ListenFailed { address: text.clone(), error: error.clone() }));
                    failed.get_or_insert(StartError::Listen { address: text, error });
                }
            }
        }
        if let Some(failed) = failed
            && self.listeners.is_empty()
        {
            return Err(failed);
        }
        let mut unknown: HashSet<ListenerId> = self.listeners.keys().copied().collect();
        let deadline = Instant::now() + LISTEN_TIMEOUT;
        while !unknown.is_empty() {
            let Ok(event) = tokio::time::timeout_at(deadline, self.swarm.select_next_some()).await else {
                break;
            };
            match &event {
                SwarmEvent::NewListenAddr { listener_id, .. } | SwarmEvent::ListenerClosed { listener_id, .. } => {
                    unknown.remove(listener_id);
                }
                _ => {}
            }
            self.on_swarm_event(event);
        }
        // A wildcard has several interfaces, which come one by one.
        while let Ok(event) = timeout(LISTEN_QUIET, self.swarm.select_next_some()).await {
            self.on_swarm_event(event);
        }
        self.announce();
        Ok(())
    }

    /// Runs until stopped, then closes everything.
    pub(super) async fn run(mut self) {
        let (stop, events) = (self.stop.clone(), self.events.clone());
        let timer = sleep_until(Instant::now());
        tokio::pin!(timer);
        loop {
            let due = self.deadlines.first().map(|(at, _)| *at);
            if let Some(at) = due
                && timer.deadline() != at
            {
                timer.as_mut().reset(at);
            }
            // Stopping first, then our own tasks and the engine, whose channels tokio's budget keeps from starving
            // the swarm.
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(note) = self.notes.recv() => self.on_note(note),
                command = self.commands.recv() => match command {
                    Some(command) => self.on_command(command),
                    None => break, // nobody can command any more
                },
                permit = events.reserve(), if !self.pending.is_empty() => {
                    match (permit, self.pending.pop_front()) {
                        (Ok(permit), Some(event)) => permit.send(event),
                        (Err(_), _) => break, // nobody listens any more
                        (Ok(_), None) => {}
                    }
                }
                () = &mut timer, if due.is_some() => self.on_deadlines(),
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
            }
        }
        self.close().await;
    }

    /// The closing sequence: links, connections, sockets, tasks.
    async fn close(mut self) {
        self.stop.cancel();
        self.links.clear();
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            if self.swarm.disconnect_peer_id(peer).is_err() {
                tracing::debug!("a peer was gone before the goodbye");
            }
        }
        let goodbye = async {
            while self.swarm.network_info().num_peers() > 0 {
                self.swarm.select_next_some().await;
            }
        };
        if timeout(GOODBYE_TIMEOUT, goodbye).await.is_err() {
            tracing::debug!("some peers did not answer the goodbye");
        }
        let tasks = self.tasks.clone();
        drop(self);
        tasks.close();
        if timeout(TASKS_TIMEOUT, tasks.wait()).await.is_err() {
            tracing::error!(left = tasks.len(), "tasks of the internet transport did not end");
        }
    }

    /// Queues an event of the driver itself; drops the oldest when the engine has stopped reading.
    pub(super) fn push(&mut self, event: LinkEvent) {
        if self.pending.len() >= PENDING_EVENTS_MAX {
            tracing::warn!("the engine does not read its events: the oldest is dropped");
            self.pending.pop_front();
        }
        self.pending.push_back(event);
    }

    /// Says that discovery on the local network does not work here.
    pub(super) fn report_discovery(&mut self, error: String) {
        tracing::warn!(error, "no discovery on the local network");
        self.push(LinkEvent::Health(Health::DiscoveryUnavailable { error }));
    }

    fn on_command(&mut self, command: LinkCommand) {
        match command {
            LinkCommand::Frame { link, bytes } => self.send_frame(link, bytes),
            LinkCommand::Dial { address, relay } => self.dial(&address, relay),
            LinkCommand::Close { link } => self.close_link(link),
            LinkCommand::LookAround => self.look_around(),
            LinkCommand::Held { .. } => {}
            LinkCommand::ReserveCircuit { address } => self.reserve_circuit(&address),
            LinkCommand::PublishRecord { key, value } => self.publish_record(key, value),
            LinkCommand::FindRecord { key } => self.find_record(key),
            LinkCommand::Vouch { .. } => {} // everybody is served alike
        }
    }

    fn on_deadlines(&mut self) {
        let now = Instant::now();
        while let Some((at, due)) = self.deadlines.first().copied() {
            if at > now {
                return;
            }
            self.deadlines.pop_first();
            match due {
                Due::Dial(peer) => self.on_dial_deadline(peer, now),
                Due::Circuit(relay) => self.on_circuit_due(relay, now),
                Due::Announce => {
                    self.announce_armed = false;
                    self.announce();
                }
            }
        }
    }

    fn on_swarm_event(&mut self, event: SwarmEvent<NodeEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_node_event(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_established(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                tracing::debug!(?cause, "connection closed");
                self.on_connection_closed(peer_id, connection_id);
            }
            SwarmEvent::OutgoingConnectionError { peer_id, connection_id, error } => {
                tracing::debug!(%error, "dial failed");
                self.on_dial_error(peer_id, connection_id);
            }
            SwarmEvent::NewListenAddr { listener_id, address } => {
                tracing::debug!(%address, "listening");
                self.on_circuit_listening(listener_id);
                self.announce_soon();
            }
            SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                tracing::debug!(?reason, "listener closed");
                if self.listeners.remove(&listener_id).is_none() {
                    self.on_circuit_closed(listener_id);
                }
                self.announce_soon();
            }
            SwarmEvent::ExternalAddrConfirmed { address } => {
                tracing::debug!(%address, "reachable");
                self.announce_soon();
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                tracing::debug!(%address, "no longer listening");
                if let Some(gone) = ip(&address).filter(|_| !is_circuit(&address)) {
                    self.on_address_lost(gone);
                }
                self.announce_soon();
            }
            SwarmEvent::ExternalAddrExpired { .. } => self.announce_soon(),
            _ => {}
        }
    }

    fn on_node_event(&mut self, event: NodeEvent) {
        match event {
            NodeEvent::Streams(StreamEvent { peer, connection, kind }) => match kind {
                StreamKind::Inbound(stream) => self.on_inbound(peer, connection, stream),
                StreamKind::Outbound(stream) => self.on_outbound(peer, connection, stream),
                StreamKind::Failed => self.on_open_failed(peer, connection),
            },
            // The first failure is silent, and the next one is that no stream could be opened for another ping.
            NodeEvent::Ping(ping::Event {
                peer,
                connection,
                result: Err(failure @ (ping::Failure::Timeout | ping::Failure::Other { .. })),
            }) => {
                tracing::debug!(%connection, %failure, "no answer to a ping");
                self.close_connection(peer, connection);
            }
            NodeEvent::Identify(identify::Event::Received { peer_id, connection_id, info }) => {
                self.on_identified(peer_id, connection_id, &info);
            }
            NodeEvent::Kad(event) => self.on_kad_event(event),
            NodeEvent::Mdns(mdns::Event::Discovered(found)) => self.on_nearby(found),
            NodeEvent::AutonatClient(autonat::v2::client::Event { tested_addr, result, .. }) => {
                tracing::debug!(address = %tested_addr, ok = result.is_ok(), "reachability probed");
                if result.is_err() && self.nat == NatStatus::Unknown {
                    self.nat = NatStatus::Private;
                }
                self.announce_soon();
            }
            NodeEvent::Upnp(upnp::Event::NewExternalAddr { external_addr, .. }) => {
                self.upnp_addrs.insert(external_addr);
                self.announce_soon();
            }
            NodeEvent::Upnp(upnp::Event::ExpiredExternalAddr { external_addr, .. }) => {
                self.upnp_addrs.remove(&external_addr);
                self.announce_soon();
            }
            NodeEvent::Dcutr(event) => tracing::debug!(ok = event.result.is_ok(), "hole punching"),
            _ => {}
        }
    }

    fn on_nearby(&mut self, found: Vec<(PeerId, Multiaddr)>) {
        let mut peers: BTreeMap<PeerId, Vec<Multiaddr>> = BTreeMap::new();
        for (peer, addr) in found {
            let Some(addr) = super::address::without_peer(addr, &peer) else {
                continue;
            };
            if peer != self.local && !is_circuit(&addr) && self.reach.allows(&addr, Source::Stranger) {
                peers.entry(peer).or_default().push(addr);
            }
        }
        for (peer, addrs) in peers {
            let addrs = addrs.iter().take(silbo_protocol::limits::ADDRESSES_PER_PEER_MAX).map(|a| a.to_vec()).collect();
            self.push(LinkEvent::Nearby { address: PeerAddress { peer: peer_key(&peer), addrs } });
        }
        self.announce_soon();
    }
}
