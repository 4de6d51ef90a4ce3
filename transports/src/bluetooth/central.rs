//! The end that dials: who is heard, whom to dial and when, and a pump for each connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use btleplug::api::{Central as _, CentralEvent, Manager as _, Peripheral as _, ScanFilter, WriteType};
use btleplug::platform::{Adapter, Manager, Peripheral, PeripheralId};
use futures::StreamExt as _;
use rand::RngExt as _;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::advert::Advert;
use super::connections::Connections;
use super::{
    BluetoothSnapshot, CLAIM, Calls, HubEnds, Neighbour, RadioError, SERVICE, SLOTS, characteristic, packet_bytes,
};
use crate::host_radio::{PipeEnd, pipe};
use crate::packets::End;

/// Connections this end may have dialled.
const DIALLED_MAX: usize = 4;
/// Nodes that are remembered; the one that was heard least recently goes first.
const SEEN_MAX: usize = 64;
/// Who has not been heard for so long is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(10 * 60);
/// Connecting: nobody is heard meanwhile.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(6);
/// Each later step of a dial.
const STEP_TIMEOUT: Duration = Duration::from_secs(15);
/// Of two that hear each other the one with the lower id dials; the other waits so long, and a little by chance.
const COURTESY: Duration = Duration::from_secs(3);
/// First and longest pause after a dial that led to nothing.
const PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(120));
/// A link that has lasted so long was a good one: the next dial does not wait.
const GOOD: Duration = Duration::from_secs(20);
/// How often it is asked whom to dial, and the snapshot is renewed.
const LOOK: Duration = Duration::from_millis(250);
/// Scans that may be refused one after the other, a look apart.
const REFUSED_SCANS_MAX: u32 = 12;
/// Packets that wait for the radio.
const AHEAD: usize = 4;

/// Somebody who is heard.
struct Seen {
    advert: Advert,
    rssi: Option<i16>,
    heard: Instant,
    /// Not to be dialled before.
    not_before: Instant,
    failures: u32,
}

/// The dialling end of one adapter.
pub(super) struct Central {
    adapter: Adapter,
    hub: HubEnds,
    connections: Connections,
    seen: BTreeMap<PeripheralId, Seen>,
    /// Connections that were dialled: a token that ends each.
    dialled: BTreeMap<PeripheralId, CancellationToken>,
    dials: JoinSet<(PeripheralId, Instant)>,
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
        connections: Connections,
        calls: Arc<Calls>,
    ) -> Result<Self, RadioError> {
        let manager = Manager::new().await?;
        for adapter in manager.adapters().await? {
            // "hci1 (usb:v1D6Bp0246d0542)" on BlueZ.
            if adapter.adapter_info().await?.split(' ').next() == Some(name) {
                let (seen, dialled, dials) = (BTreeMap::new(), BTreeMap::new(), JoinSet::new());
                return Ok(Self {
                    adapter,
                    hub,
                    connections,
                    seen,
                    dialled,
                    dials,
                    connecting: None,
                    calls,
                    paused: false,
                    rotates: false,
                    refused_scans: 0,
                    _manager: manager,
                });
            }
        }
        Err(RadioError::NoAdapter)
    }

    /// Scans and dials until the service is gone.
    pub(super) async fn run(mut self, snapshot: &watch::Sender<BluetoothSnapshot>) -> Result<(), RadioError> {
        let mut events = self.adapter.events().await?;
        self.scan().await?;
        let mut look = Instant::now();
        let calls = self.calls.clone();
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => self.on_event(event).await,
                    None => return Ok(()),
                },
                Some(ended) = self.dials.join_next() => match ended {
                    Ok((id, began)) => self.on_ended(&id, began),
                    Err(problem) => tracing::error!(%problem, "a dial ended badly"),
                },
                () = over(&mut self.connecting), if self.connecting.is_some() => {
                    self.connecting = None;
                    if !self.paused {
                        self.scan().await?;
                    }
                }
                () = calls.pause.notified() => {
                    // A scan that began now would have an address that outlives the next id.
                    self.paused = true;
                    if self.connecting.is_none() {
                        self.stop_scan().await;
                    }
                }
                () = calls.scan.notified() => {
                    (self.paused, self.rotates) = (false, true);
                    if self.connecting.is_none() {
                        self.stop_scan().await;
                        self.scan().await?;
                    }
                }
                () = sleep_until(look) => {
                    look = Instant::now() + LOOK;
                    if self.refused_scans > 0 && self.connecting.is_none() && !self.paused {
                        self.scan().await?;
                    }
                    self.seen.retain(|_, seen| seen.heard.elapsed() < FORGOTTEN);
                    self.dial_next().await;
                    self.show(snapshot);
                }
            }
        }
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
                if let Some(seen) = self.seen.get_mut(&id) {
                    (seen.rssi, seen.heard) = (Some(rssi), Instant::now());
                }
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
        let now = Instant::now();
        if let Some(seen) = self.seen.get_mut(&id) {
            if seen.advert.rid != advert.rid {
                // It may be linked, and its new name still on the way.
                seen.not_before = seen.not_before.max(now + COURTESY);
            }
            (seen.advert, seen.heard, seen.rssi) = (advert, now, rssi.or(seen.rssi));
            return;
        }
        if self.seen.len() >= SEEN_MAX
            && let Some(oldest) = self.seen.iter().min_by_key(|(_, seen)| seen.heard).map(|(id, _)| id.clone())
        {
            self.seen.remove(&oldest);
        }
        let courtesy = if self.hub.name.borrow().rid() < advert.rid { Duration::ZERO } else { COURTESY };
        let chance = Duration::from_millis(rand::rng().random_range(0..500));
        let not_before = now + courtesy + chance;
        self.seen.insert(id, Seen { advert, rssi, heard: now, not_before, failures: 0 });
    }

    /// Dials whoever has waited longest, if there is room.
    async fn dial_next(&mut self) {
        if self.dialled.len() >= DIALLED_MAX || self.connecting.is_some() || self.paused {
            return;
        }
        let now = Instant::now();
        let ready = self.seen.iter().filter(|(id, seen)| {
            seen.not_before <= now && !self.dialled.contains_key(*id) && !self.hub.linked(seen.advert.rid)
        });
        let Some(id) = ready.min_by_key(|(_, seen)| seen.not_before).map(|(id, _)| id.clone()) else { return };
        let Ok(peripheral) = self.adapter.peripheral(&id).await else {
            self.seen.remove(&id);
            return;
        };
        let device = peripheral.address().into_inner();
        if self.connections.used(device) {
            // It has dialled us: the one connection there can be is up, and a link comes of it or does not.
            if let Some(seen) = self.seen.get_mut(&id) {
                seen.not_before = now + COURTESY;
            }
            return;
        }
        // The kernel connects when it hears the other end anew, and while it scans it reports each advertisement once.
        self.stop_scan().await;
        let (connected, connecting) = oneshot::channel();
        self.connecting = Some(connecting);
        let gone = CancellationToken::new();
        self.dialled.insert(id.clone(), gone.clone());
        let (hub, connections) = (self.hub.clone(), self.connections.clone());
        self.dials.spawn(async move {
            let mut began = Instant::now();
            let outcome = tokio::select! {
                biased;
                () = gone.cancelled() => Ok(()),
                outcome = dial(&peripheral, &hub, &connections, connected, &mut began) => outcome,
            };
            if let Err(problem) = outcome {
                tracing::debug!(%problem, "a dial led to nothing");
            }
            if !connections.used(device)
                && let Ok(Err(problem)) = timeout(STEP_TIMEOUT, peripheral.disconnect()).await
            {
                tracing::trace!(%problem, "there was nothing to disconnect");
            }
            (id, began)
        });
    }

    /// Begins to scan. A service that is still busy with the scan before is asked again at the next look.
    async fn scan(&mut self) -> Result<(), RadioError> {
        match self.adapter.start_scan(ScanFilter::default()).await {
            Ok(()) => {
                self.refused_scans = 0;
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

    async fn stop_scan(&self) {
        if let Err(problem) = self.adapter.stop_scan().await {
            tracing::debug!(%problem, "there was no scan to stop");
        }
    }

    fn on_ended(&mut self, id: &PeripheralId, began: Instant) {
        self.dialled.remove(id);
        let Some(seen) = self.seen.get_mut(id) else { return };
        seen.failures = if began.elapsed() > GOOD { 0 } else { (seen.failures + 1).min(8) };
        let pause = PAUSES.0.saturating_mul(1 << seen.failures).min(PAUSES.1);
        seen.not_before = Instant::now() + pause.mul_f64(rand::rng().random_range(0.5..1.0));
    }

    fn show(&self, snapshot: &watch::Sender<BluetoothSnapshot>) {
        let neighbours: Vec<Neighbour> = self
            .seen
            .values()
            .map(|seen| Neighbour {
                rid: seen.advert.rid,
                rssi: seen.rssi,
                heard_s: seen.heard.elapsed().as_secs(),
                linked: self.hub.linked(seen.advert.rid),
            })
            .collect();
        snapshot.send_if_modified(|shown| {
            let changed = shown.neighbours != neighbours;
            if changed {
                shown.neighbours = neighbours;
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
    connected: oneshot::Sender<()>,
    began: &mut Instant,
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
        *began = Instant::now();
        let (pipe, end) = pipe(End::Dialler, packet_bytes(peripheral.mtu().into()), AHEAD);
        let PipeEnd { incoming, mut outgoing, packet_bytes: _size } = end;
        if hub.pipes.try_send(pipe).is_err() {
            return Ok(());
        }
        loop {
            tokio::select! {
                packet = outgoing.recv() => match packet {
                    Some(packet) => peripheral.write(characteristic, &packet, WriteType::WithoutResponse).await?,
                    None => return Ok(()),
                },
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
            }
        }
    }
    Ok(())
}
