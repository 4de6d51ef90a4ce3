//! The end that dials: who is heard, whom to dial and when, and a pump for each connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bluer::AddressType;
use bluer::l2cap::SeqPacket;
use btleplug::api::{Central as _, CentralEvent, Manager as _, Peripheral as _, ScanFilter, WriteType};
use btleplug::platform::{Adapter, Manager, Peripheral, PeripheralId};
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use rand::RngExt as _;
use silbo_protocol::limits::RADIO_LOOK_MS;
use silbo_protocol::radio::{Conditions, Duty, Heard, Linked, Neighbours, Next, RadioPower};
use silbo_protocol::time::{Moment, SECOND_MS};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::advert::{self, Advert};
use super::connections::Connections;
use super::l2cap::{self, Channels};
use super::{
    BluetoothSnapshot, CLAIM, Calls, HubEnds, Neighbour, RadioError, SERVICE, SLOTS, characteristic, packet_bytes,
};
use crate::host_radio::{PipeEnd, RadioLink, TAKEN_AT_ONCE, pipe};
use crate::packets::End;

/// Connections this end may have dialled.
const DIALLED_MAX: usize = 4;
/// Connecting: nobody is heard meanwhile.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(6);
/// Each later step of a dial.
const STEP_TIMEOUT: Duration = Duration::from_secs(15);
/// How often at least it is asked whom to dial, and the snapshot is renewed.
const LOOK: Duration = Duration::from_millis(RADIO_LOOK_MS);
/// How long a wish to see who is near lasts.
const LOOK_LASTS_MS: u64 = 10 * SECOND_MS;
/// Scans that may be refused one after the other, a look apart.
const REFUSED_SCANS_MAX: u32 = 12;
/// Packets that wait for the radio.
const AHEAD: usize = 16;

/// The dialling end of one adapter.
pub(super) struct Central {
    adapter: Adapter,
    hub: HubEnds,
    connections: Connections,
    channels: Option<Channels>,
    conditions: watch::Receiver<Conditions>,
    /// When this run of the radio began: what [`Moment`]s count from, and what windows of scanning begin at.
    began: Instant,
    near: Neighbours<PeripheralId>,
    /// The adapter has been told to scan.
    scans: bool,
    /// Connections that were dialled: a token that ends each.
    dialled: BTreeMap<PeripheralId, CancellationToken>,
    dials: JoinSet<(PeripheralId, Duration)>,
    /// Closed when the dial that stopped the scan has connected, or has not.
    connecting: Option<oneshot::Receiver<()>>,
    calls: Arc<Calls>,
    /// Between two ids nobody is looked for or dialled.
    paused: bool,
    /// The next scan is the first under a new address.
    rotates: bool,
    /// How often in a row a scan was refused; it is to begin when this is not 0.
    refused_scans: u32,
    _manager: Manager,
}

impl Central {
    /// On the adapter of this name.
    pub(super) async fn new(
        name: &str,
        hub: HubEnds,
        conditions: watch::Receiver<Conditions>,
        connections: Connections,
        channels: Option<Channels>,
        calls: Arc<Calls>,
    ) -> Result<Self, RadioError> {
        let manager = Manager::new().await?;
        for adapter in manager.adapters().await? {
            // "hci1 (usb:v1D6Bp0246d0542)" on BlueZ.
            if adapter.adapter_info().await?.split(' ').next() == Some(name) {
                return Ok(Self {
                    adapter,
                    hub,
                    connections,
                    channels,
                    conditions,
                    began: Instant::now(),
                    near: Neighbours::new(Moment(0)),
                    scans: false,
                    dialled: BTreeMap::new(),
                    dials: JoinSet::new(),
                    connecting: None,
                    calls,
                    paused: false,
                    rotates: false,
                    refused_scans: 0,
                    _manager: manager,
                });
            }
        }
        Err(RadioError::NoAdapter(format!(" called {name}")))
    }

    /// Scans and dials until the service is gone.
    pub(super) async fn run(mut self, snapshot: &watch::Sender<BluetoothSnapshot>) -> Result<(), RadioError> {
        let mut events = self.adapter.events().await?;
        let mut look = Instant::now();
        let calls = self.calls.clone();
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => self.on_event(event).await,
                    None => return Ok(()),
                },
                Some(ended) = self.dials.join_next() => match ended {
                    Ok((id, lasted)) => self.on_ended(&id, lasted),
                    Err(problem) => tracing::error!(%problem, "a dial ended badly"),
                },
                () = over(&mut self.connecting), if self.connecting.is_some() => {
                    self.connecting = None;
                    look = Instant::now();
                }
                () = calls.pause.notified() => {
                    // A scan that began now would have an address that outlives the next id.
                    self.paused = true;
                    self.stop_scan().await;
                }
                () = calls.scan.notified() => {
                    // One that comes late does not stop what comes after it.
                    let _late = calls.pause.notified().now_or_never();
                    (self.paused, self.rotates) = (false, true);
                    self.stop_scan().await;
                    look = Instant::now();
                }
                Ok(()) = self.conditions.changed() => look = Instant::now(),
                Ok(()) = self.hub.wishes.changed() => look = Instant::now(),
                () = sleep_until(look) => look = self.look(snapshot).await?,
            }
        }
    }

    /// Scans or not, dials or lets go, as it is time for; says when to look again.
    async fn look(&mut self, snapshot: &watch::Sender<BluetoothSnapshot>) -> Result<Instant, RadioError> {
        let now = self.now();
        let wishes = *self.hub.wishes.borrow_and_update();
        let conditions = *self.conditions.borrow_and_update();
        let looks_until = wishes.look.map_or(Moment(0), |since| self.moment(since).after_ms(LOOK_LASTS_MS));
        let duty = Duty::of(&conditions, self.near.news(), looks_until, now);
        let (listens, change) = duty.listens(Moment(0), now);
        if self.connecting.is_none() && !self.paused {
            // The first scan under a new address does not wait for its window: the next id waits for it.
            if (listens || self.rotates) && !self.scans {
                self.scan().await?;
            } else if !listens && !self.rotates {
                self.stop_scan().await;
            }
        }
        let links = self.links();
        self.near.links(&links, now); // with what was held while they were up
        self.near.hold(wishes.held);
        self.act(conditions.mode(), now).await;
        self.show(duty, snapshot);
        Ok((self.began + Duration::from_millis(change.0)).min(Instant::now() + LOOK))
    }

    fn now(&self) -> Moment {
        self.moment(Instant::now())
    }

    fn moment(&self, at: Instant) -> Moment {
        Moment(u64::try_from(at.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX))
    }

    /// The links there are, whoever dialled them.
    fn links(&self) -> Vec<Linked> {
        let shown = self.hub.links.borrow();
        let linked = |link: &RadioLink| Linked {
            rid: link.instance.rid(),
            dialled: link.end == End::Dialler,
            since: self.moment(link.used.since()),
            used: self.moment(link.used.at()),
        };
        shown.links.iter().map(linked).collect()
    }

    async fn on_event(&mut self, event: CentralEvent) {
        match event {
            CentralEvent::ServiceDataAdvertisement { id, service_data } => {
                if let Some(advert) = service_data.get(&SERVICE).and_then(|bytes| Advert::read(bytes)) {
                    self.heard(id, advert, None);
                }
            }
            CentralEvent::DeviceDiscovered(id) => {
                // What was advertised may have come with the discovery instead of after it.
                let Ok(peripheral) = self.adapter.peripheral(&id).await else { return };
                if !self.dialled.contains_key(&id) && matches!(peripheral.is_connected().await, Ok(true)) {
                    self.calls.dialled_us.notify_one(); // a stranger's address was not known before
                }
                let Ok(Some(properties)) = peripheral.properties().await else { return };
                if let Some(advert) = properties.service_data.get(&SERVICE).and_then(|bytes| Advert::read(bytes)) {
                    self.heard(id, advert, properties.rssi);
                }
            }
            CentralEvent::RssiUpdate { id, rssi } => {
                let now = self.now();
                self.near.signal(&id, rssi, now);
            }
            CentralEvent::DeviceConnected(id) if !self.dialled.contains_key(&id) => self.calls.dialled_us.notify_one(),
            CentralEvent::DeviceDisconnected(id) => {
                if let Some(connection) = self.dialled.get(&id) {
                    connection.cancel();
                }
            }
            _ => {}
        }
    }

    fn heard(&mut self, id: PeripheralId, advert: Advert, rssi: Option<i16>) {
        let own = self.hub.name.borrow().rid();
        let chance = rand::rng().random_range(0..500);
        let heard = Heard { rid: advert.rid, digest: advert.digest, full: advert.roles & advert::FULL != 0, rssi };
        let now = self.now();
        self.near.heard(id, heard, own, chance, now);
    }

    /// Dials the next one or lets a link go.
    async fn act(&mut self, power: RadioPower, now: Moment) {
        if self.connecting.is_some() || self.paused {
            return;
        }
        let places = (self.dialled.len(), DIALLED_MAX);
        match self.near.next(power, |id| self.dialled.contains_key(id), places, now) {
            None => {}
            Some(Next::Dial(id)) => self.dial(id, now).await,
            Some(Next::LetGo(rid)) => {
                self.near.lets_go(now);
                self.hub.let_go(rid);
            }
        }
    }

    async fn dial(&mut self, id: PeripheralId, now: Moment) {
        let Ok(peripheral) = self.adapter.peripheral(&id).await else {
            self.near.gone(&id);
            return;
        };
        let device = peripheral.address().into_inner();
        if self.connections.used(device) {
            // It has dialled us: the one connection there can be is up, and a link comes of it or does not.
            self.near.wait(&id, now);
            return;
        }
        // The kernel connects when it hears the other end anew, and while it scans it reports each advertisement once.
        self.stop_scan().await;
        let (connected, connecting) = oneshot::channel();
        self.connecting = Some(connecting);
        let gone = CancellationToken::new();
        self.dialled.insert(id.clone(), gone.clone());
        let (hub, connections, channels) = (self.hub.clone(), self.connections.clone(), self.channels.clone());
        self.dials.spawn(async move {
            let mut up = None;
            let outcome = tokio::select! {
                biased;
                () = gone.cancelled() => Ok(()),
                outcome = dial(&peripheral, &hub, &connections, channels.as_ref(), connected, &mut up) => outcome,
            };
            if let Err(problem) = outcome {
                tracing::debug!(%problem, "a dial led to nothing");
            }
            if !connections.used(device)
                && let Ok(Err(problem)) = timeout(STEP_TIMEOUT, peripheral.disconnect()).await
            {
                tracing::trace!(%problem, "there was nothing to disconnect");
            }
            (id, up.map_or(Duration::ZERO, |up: Instant| up.elapsed()))
        });
    }

    /// Begins to scan. A service that is still busy with the scan before is asked again at the next look.
    async fn scan(&mut self) -> Result<(), RadioError> {
        match self.adapter.start_scan(ScanFilter::default()).await {
            Ok(()) => {
                (self.refused_scans, self.scans) = (0, true);
                if std::mem::take(&mut self.rotates) {
                    self.calls.scans_anew.notify_one();
                }
            }
            Err(problem) if self.refused_scans < REFUSED_SCANS_MAX => {
                tracing::debug!(%problem, "the scan does not begin yet");
                self.refused_scans += 1;
            }
            Err(problem) => return Err(problem.into()),
        }
        Ok(())
    }

    async fn stop_scan(&mut self) {
        if !std::mem::take(&mut self.scans) {
            return;
        }
        if let Err(problem) = self.adapter.stop_scan().await {
            tracing::debug!(%problem, "there was no scan to stop");
        }
    }

    fn on_ended(&mut self, id: &PeripheralId, lasted: Duration) {
        self.dialled.remove(id);
        let lasted = u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX);
        let now = self.now();
        self.near.ended(id, lasted, rand::rng().random_range(0..=255), now);
    }

    fn show(&self, duty: Duty, snapshot: &watch::Sender<BluetoothSnapshot>) {
        let now = self.now();
        let neighbours: Vec<Neighbour> = self
            .near
            .iter()
            .map(|(_, seen)| Neighbour {
                rid: seen.heard.rid,
                rssi: seen.heard.rssi,
                heard_s: now.0.saturating_sub(seen.at.0) / SECOND_MS,
                linked: self.hub.linked(seen.heard.rid),
            })
            .collect();
        snapshot.send_if_modified(|shown| {
            let channels = self.channels.as_ref().map_or(0, Channels::open_now);
            let now = (neighbours, channels, Some(duty));
            let changed = (&shown.neighbours, shown.channels, shown.duty) != (&now.0, now.1, now.2);
            if changed {
                (shown.neighbours, shown.channels, shown.duty) = now;
            }
            changed
        });
    }
}

/// Waits until a dial has dropped its end.
async fn over(connecting: &mut Option<oneshot::Receiver<()>>) {
    if let Some(connecting) = connecting {
        let _dropped = connecting.await;
    }
}

/// Connects, claims a slot, and pumps packets until the link or the connection is over.
async fn dial(
    peripheral: &Peripheral,
    hub: &HubEnds,
    connections: &Connections,
    channels: Option<&Channels>,
    connected: oneshot::Sender<()>,
    up: &mut Option<Instant>,
) -> Result<(), RadioError> {
    let late = |_| RadioError::Central(btleplug::Error::TimedOut(STEP_TIMEOUT));
    timeout(CONNECT_TIMEOUT, peripheral.connect()).await.map_err(late)??;
    drop(connected);
    let _on = connections.enter(peripheral.address().into_inner());
    timeout(STEP_TIMEOUT, peripheral.discover_services()).await.map_err(late)??;
    let characteristics = peripheral.characteristics();
    let of = |slot| characteristics.iter().find(|known| known.uuid == characteristic(slot));
    let first = rand::rng().random_range(0..SLOTS);
    for slot in (0..SLOTS).map(|step| (first + step) % SLOTS) {
        let Some(characteristic) = of(slot) else { continue };
        let claim = peripheral.write(characteristic, CLAIM, WriteType::WithResponse);
        if timeout(STEP_TIMEOUT, claim).await.map_err(late)?.is_err() {
            continue; // somebody else has it
        }
        let mut notifications = peripheral.notifications().await?;
        timeout(STEP_TIMEOUT, peripheral.subscribe(characteristic)).await.map_err(late)??;
        *up = Some(Instant::now());
        let (pipe, end) = pipe(End::Dialler, packet_bytes(peripheral.mtu().into()), AHEAD);
        let PipeEnd { incoming, mut outgoing, packet_bytes: size, tell: _, mut told } = end;
        let mut packets = Vec::with_capacity(TAKEN_AT_ONCE);
        let mut channel = None;
        let mut carries = None;
        if hub.pipes.try_send(pipe).is_err() {
            return Ok(());
        }
        loop {
            tokio::select! {
                taken = outgoing.recv_many(&mut packets, TAKEN_AT_ONCE), if carries.is_none() => {
                    if taken == 0 {
                        return Ok(());
                    }
                    for packet in packets.drain(..) {
                        peripheral.write(characteristic, &packet, WriteType::WithoutResponse).await?;
                    }
                }
                notification = notifications.next() => match notification {
                    Some(notification) if notification.uuid == characteristic.uuid => {
                        // What finds no room is sent again.
                        if let Err(tokio::sync::mpsc::error::TrySendError::Closed(_)) = incoming.try_send(notification.value) {
                            return Ok(());
                        }
                    }
                    Some(_) => {}
                    None => return Ok(()),
                },
                Some(offer) = told.recv() => {
                    if let Some(channels) = channels.filter(|_| channel.is_none() && carries.is_none()) {
                        channel = Some(open(peripheral, channels, offer).boxed());
                    }
                }
                Some(opened) = if_any(&mut channel) => {
                    channel = None;
                    if let (Some((opened, bytes)), Some(channels)) = (opened, channels) {
                        size.send_replace(bytes);
                        let (_none, nothing) = mpsc::channel(1);
                        let outgoing = std::mem::replace(&mut outgoing, nothing);
                        let device = peripheral.address().into_inner();
                        let carry = channels.clone().carry(opened, device, incoming.clone(), outgoing);
                        carries = Some(carry.boxed());
                    }
                }
                Some(()) = if_any(&mut carries) => return Ok(()),
            }
        }
    }
    Ok(())
}

/// What it comes to, or `None` at once.
async fn if_any<T>(future: &mut Option<BoxFuture<'_, T>>) -> Option<T> {
    match future {
        Some(future) => Some(future.await),
        None => None,
    }
}

/// The channel that the other end has offered, and how large a packet may be on it. Without one the link stays on GATT.
async fn open(peripheral: &Peripheral, channels: &Channels, offer: Vec<u8>) -> Option<(SeqPacket, usize)> {
    let kind = match peripheral.properties().await.ok()??.address_type? {
        btleplug::api::AddressType::Public => AddressType::LePublic,
        btleplug::api::AddressType::Random => AddressType::LeRandom,
    };
    match channels.open(peripheral.address().into_inner(), kind, &offer).await {
        Ok(channel) => l2cap::packet_bytes(&channel).map(|bytes| (channel, bytes)),
        Err(problem) => {
            tracing::debug!(%problem, "a link stays on GATT");
            None
        }
    }
}
