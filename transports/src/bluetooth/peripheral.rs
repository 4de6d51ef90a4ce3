//! The end that is dialled: the advertisement, and slots that centrals claim.

use std::num::NonZeroU16;
use std::time::Duration;

use bluer::adv::{Advertisement, AdvertisementHandle};
use bluer::gatt::CharacteristicWriter;
use bluer::gatt::local::{
    Application, ApplicationHandle, Characteristic, CharacteristicControl, CharacteristicControlEvent,
    CharacteristicNotify, CharacteristicNotifyMethod, CharacteristicWrite, CharacteristicWriteMethod, ReqError,
    Service, characteristic_control,
};
use bluer::l2cap::SeqPacket;
use bluer::{Adapter, Address};
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::advert::Advert;
use super::connections::{Connections, OnConnection};
use super::holders::{Holders, Offence, Place};
use super::l2cap::{self, Channels};
use super::{CLAIM, SERVICE, SLOTS, characteristic, packet_bytes, service};
use crate::host_radio::{Pipe, PipeEnd, TAKEN_AT_ONCE, pipe};
use crate::packets::End;

/// A slot that was claimed and is not listened to is free again after this long.
const UNHEARD: Duration = Duration::from_secs(5);
/// Numbers of the services in the attribute table: far behind what a system has itself.
const HANDLES: u16 = 0x6000;
const HANDLES_OF_A_SLOT: u16 = 0x10;
/// Packets that wait for the radio; the link's window is larger, so the radio never waits for the link.
const AHEAD: usize = 16;
/// How often it is looked whether an advertisement is off the air, and how many times.
const OFF_AIR_LOOK: Duration = Duration::from_millis(20);
const OFF_AIR_LOOKS: u32 = 50;
/// What bluer has taken off the MTU it reports.
const BLUER_KEEPS: usize = 5;
/// A link that has ended sooner led to nothing.
const LASTED: Duration = Duration::from_secs(6);
/// Devices that wait to be sent away; more are when they go on.
const AWAY_MAX: usize = 8;
/// Writes that wait for a slot; more are dropped and sent again.
const WRITES_MAX: usize = 64;

/// The served slots. Dropping it ends them.
pub(super) struct Served {
    _applications: Vec<ApplicationHandle>,
    _sends_away: JoinSet<()>,
    _slots: JoinSet<()>,
}

/// Puts an advertisement on the air, so often where the system lets us say; dropping the handle takes it off.
pub(super) async fn advertise(
    adapter: &Adapter,
    (advert, every): &(Advert, Duration),
) -> bluer::Result<AdvertisementHandle> {
    let advertisement = Advertisement {
        service_data: [(SERVICE, advert.write().to_vec())].into(),
        discoverable: Some(true),
        min_interval: Some(*every),
        max_interval: Some(*every + *every / 4),
        ..Advertisement::default()
    };
    adapter.advertise(advertisement).await
}

/// Takes an advertisement off the air, and waits until it is: two ids are never heard side by side.
pub(super) async fn take_off(adapter: &Adapter, on_air: AdvertisementHandle) -> bluer::Result<()> {
    let before = adapter.active_advertising_instances().await?;
    drop(on_air);
    for _ in 0..OFF_AIR_LOOKS {
        if adapter.active_advertising_instances().await? < before {
            break;
        }
        sleep_until(Instant::now() + OFF_AIR_LOOK).await;
    }
    Ok(())
}

/// A write that came in.
struct Write {
    device: Address,
    bytes: Vec<u8>,
    /// For a claim: whether it was granted.
    claim: Option<oneshot::Sender<bool>>,
}

/// Serves the slots; connections go to `pipes`.
pub(super) async fn serve(
    adapter: &Adapter,
    pipes: &mpsc::Sender<Pipe>,
    connections: &Connections,
    channels: Option<&Channels>,
) -> bluer::Result<Served> {
    let holders = Holders::default();
    let (away, sent_away) = mpsc::channel(AWAY_MAX);
    let mut sends_away = JoinSet::new();
    sends_away.spawn(send_away(adapter.clone(), sent_away));
    let mut slots = JoinSet::new();
    let mut applications = Vec::new();
    for slot in 0..SLOTS {
        // Each on its own, under the same numbers everywhere: those of one application are given in an order that is another in
        // every process, and grow with each start. bluetoothd answers everybody with them, and with a hash over them.
        let handle = NonZeroU16::new(HANDLES + HANDLES_OF_A_SLOT * u16::from(slot));
        let offer = |handle| offer(slot, handle, &holders, &away);
        let mut offered = offer(handle);
        let application = match adapter.serve_gatt_application(std::mem::take(&mut offered.application)).await {
            Ok(application) => application,
            Err(problem) => {
                tracing::info!(%problem, "the numbers of the services are taken: this machine can be told by others");
                offered = offer(None);
                adapter.serve_gatt_application(std::mem::take(&mut offered.application)).await?
            }
        };
        applications.push(application);
        let (adapter, pipes, connections) = (adapter.clone(), pipes.clone(), connections.clone());
        let (channels, holders) = (channels.cloned(), holders.clone());
        let slot = Slot { slot, adapter, pipes, connections, channels, holders, held: None };
        slots.spawn(slot.run(offered.writes, offered.control));
    }
    Ok(Served { _applications: applications, _sends_away: sends_away, _slots: slots })
}

/// A slot as it is offered, and what comes of it.
struct Offered {
    application: Application,
    writes: mpsc::Receiver<Write>,
    control: CharacteristicControl,
}

fn offer(slot: u8, handle: Option<NonZeroU16>, holders: &Holders, away: &mpsc::Sender<Address>) -> Offered {
    let (writes_in, writes) = mpsc::channel(WRITES_MAX);
    let (control, control_handle) = characteristic_control();
    let (holders, away) = (holders.clone(), away.clone());
    let both_ways = Characteristic {
        uuid: characteristic(slot),
        write: Some(CharacteristicWrite {
            write: true,
            write_without_response: true,
            method: CharacteristicWriteMethod::Fun(Box::new(move |bytes, request| {
                let device = request.device_address;
                if bytes != CLAIM && !holders.holds(slot, device) {
                    // Not even queued: it would take the room of whoever holds the slot.
                    if holders.offended(device, Offence::ForeignPacket, Instant::now())
                        && away.try_send(device).is_err()
                    {
                        tracing::trace!("others are sent away already");
                    }
                    return async { Err(ReqError::NotPermitted) }.boxed();
                }
                written(writes_in.clone(), device, bytes).boxed()
            })),
            ..CharacteristicWrite::default()
        }),
        notify: Some(CharacteristicNotify {
            notify: true,
            method: CharacteristicNotifyMethod::Io,
            ..CharacteristicNotify::default()
        }),
        control_handle,
        ..Characteristic::default()
    };
    let (uuid, characteristics) = (service(slot), vec![both_ways]);
    let service = Service { uuid, handle, primary: true, characteristics, ..Service::default() };
    Offered { application: Application { services: vec![service], ..Application::default() }, writes, control }
}

/// Ends the connections of devices that offend.
async fn send_away(adapter: Adapter, mut devices: mpsc::Receiver<Address>) {
    while let Some(device) = devices.recv().await {
        tracing::debug!("a device that floods is sent away");
        let gone = async { adapter.device(device)?.disconnect().await };
        if let Err(problem) = gone.await {
            tracing::debug!(%problem, "it could not be sent away");
        }
    }
}

async fn written(writes: mpsc::Sender<Write>, device: Address, bytes: Vec<u8>) -> Result<(), ReqError> {
    if bytes != CLAIM {
        // A full slot drops it: whoever wrote it sends it again.
        return writes.try_send(Write { device, bytes, claim: None }).map_err(|_| ReqError::InProgress);
    }
    let (claim, granted) = oneshot::channel();
    writes.try_send(Write { device, bytes, claim: Some(claim) }).map_err(|_| ReqError::InProgress)?;
    if granted.await.unwrap_or(false) { Ok(()) } else { Err(ReqError::NotPermitted) }
}

/// The next packets; none when the link is over. Cancelling loses nothing.
async fn some_of(outgoing: &mut mpsc::Receiver<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut packets = Vec::with_capacity(TAKEN_AT_ONCE);
    outgoing.recv_many(&mut packets, TAKEN_AT_ONCE).await;
    packets
}

/// The channel that is waited for, or `None` at once.
async fn comes(
    channel: &mut Option<oneshot::Receiver<SeqPacket>>,
) -> Option<Result<SeqPacket, oneshot::error::RecvError>> {
    match channel {
        Some(channel) => Some(channel.await),
        None => None,
    }
}

/// One slot and who has it.
struct Slot {
    slot: u8,
    adapter: Adapter,
    pipes: mpsc::Sender<Pipe>,
    connections: Connections,
    channels: Option<Channels>,
    holders: Holders,
    held: Option<Held>,
}

struct Held {
    device: Address,
    place: Place,
    on: OnConnection,
    end: PipeEnd,
    /// Until the central listens.
    pipe: Option<Pipe>,
    writer: Option<CharacteristicWriter>,
    /// Brings the channel that was offered.
    channel: Option<oneshot::Receiver<SeqPacket>>,
    /// Moves the packets over that channel: GATT brings only what was under way.
    carries: Option<BoxFuture<'static, ()>>,
    /// When the slot is free again unless somebody listens.
    until: Instant,
    since: Instant,
}

enum Happened {
    Write(Option<Write>),
    Listens(Option<CharacteristicControlEvent>),
    /// None: the link is over.
    Packets(Vec<Vec<u8>>),
    Channel(Option<SeqPacket>),
    Unheard,
    GivesWay,
    Left,
}

impl Slot {
    async fn run(mut self, mut writes: mpsc::Receiver<Write>, mut control: CharacteristicControl) {
        loop {
            match self.next(&mut writes, &mut control).await {
                Happened::Write(None) | Happened::Listens(None) => return,
                Happened::Write(Some(write)) => self.on_write(write),
                Happened::Listens(Some(CharacteristicControlEvent::Notify(writer))) => self.on_listens(writer),
                Happened::Listens(Some(_)) => {}
                Happened::Packets(packets) if packets.is_empty() => self.hang_up().await,
                Happened::Packets(packets) => self.send(&packets).await,
                Happened::Channel(channel) => self.on_channel(channel),
                Happened::Unheard | Happened::GivesWay => self.hang_up().await,
                Happened::Left => {
                    if let Some(held) = &mut self.held {
                        // Another subscriber replaces the session; its own end of it comes next, or the central is gone.
                        (held.writer, held.until) = (None, Instant::now() + Duration::from_secs(1));
                    }
                }
            }
        }
    }

    async fn next(&mut self, writes: &mut mpsc::Receiver<Write>, control: &mut CharacteristicControl) -> Happened {
        let Some(held) = &mut self.held else {
            return tokio::select! {
                write = writes.recv() => Happened::Write(write),
                event = control.next() => Happened::Listens(event),
            };
        };
        let Held { place, end, writer, until, channel, carries, .. } = held;
        if let Some(carries) = carries {
            return tokio::select! {
                write = writes.recv() => Happened::Write(write),
                event = control.next() => Happened::Listens(event),
                () = place.gives_way.cancelled() => Happened::GivesWay,
                () = carries => Happened::Packets(Vec::new()),
            };
        }
        match writer {
            None => tokio::select! {
                write = writes.recv() => Happened::Write(write),
                event = control.next() => Happened::Listens(event),
                () = place.gives_way.cancelled() => Happened::GivesWay,
                () = sleep_until(*until) => Happened::Unheard,
            },
            Some(writer) => tokio::select! {
                write = writes.recv() => Happened::Write(write),
                event = control.next() => Happened::Listens(event),
                () = place.gives_way.cancelled() => Happened::GivesWay,
                packets = some_of(&mut end.outgoing) => Happened::Packets(packets),
                Some(channel) = comes(channel) => Happened::Channel(channel.ok()),
                _ = writer.closed() => Happened::Left,
            },
        }
    }

    fn on_write(&mut self, write: Write) {
        let Some(claim) = write.claim else {
            if let Some(held) = self.held.as_ref().filter(|held| held.device == write.device)
                && held.end.incoming.try_send(write.bytes).is_err()
            {
                tracing::trace!("a packet was dropped: the link is busy");
            }
            return;
        };
        // On the connection before the slot: what the device held before does not end it.
        let on = self.connections.enter(write.device.0);
        let place = self.holders.claim(self.slot, write.device, Instant::now());
        let free = place.is_some();
        if let Some(place) = place {
            // Somebody who claims its own slot again has lost the link it had there. bluetoothd 5.66 may go on with the session
            // it had, without a word: the link begins on that one, until another is opened.
            self.count_claim();
            let session = self.held.take().and_then(|held| held.writer);
            let (pipe, end) = pipe(End::Listener, packet_bytes(0), AHEAD);
            let since = Instant::now();
            let (device, pipe, until) = (write.device, Some(pipe), since + UNHEARD);
            let (writer, channel, carries) = (None, None, None);
            self.held = Some(Held { device, place, on, end, pipe, writer, channel, carries, until, since });
            if let Some(session) = session {
                self.on_listens(session);
            }
        }
        if claim.send(free).is_err() {
            tracing::trace!("a claim was given up");
        }
    }

    fn on_listens(&mut self, writer: CharacteristicWriter) {
        let Some(held) = &mut self.held else { return };
        if held.carries.is_none() {
            held.end.packet_bytes.send_replace(packet_bytes(writer.mtu() + BLUER_KEEPS));
        }
        held.writer = Some(writer);
        let Some(pipe) = held.pipe.take() else { return };
        if let Some(channels) = &self.channels {
            let (offer, channel) = channels.expect(held.device);
            held.channel = held.end.tell.try_send(offer).is_ok().then_some(channel);
        }
        if self.pipes.try_send(pipe).is_err() {
            self.held = None;
        }
    }

    fn on_channel(&mut self, channel: Option<SeqPacket>) {
        let Some(held) = &mut self.held else { return };
        held.channel = None;
        let (Some(channel), Some(channels)) = (channel, &self.channels) else { return };
        let Some(bytes) = l2cap::packet_bytes(&channel) else { return };
        held.end.packet_bytes.send_replace(bytes);
        tracing::debug!(bytes, "a link goes on over an L2CAP channel");
        let (_none, nothing) = mpsc::channel(1);
        let outgoing = std::mem::replace(&mut held.end.outgoing, nothing);
        let incoming = held.end.incoming.clone();
        held.carries = Some(channels.clone().carry(channel, held.device.0, incoming, outgoing).boxed());
    }

    async fn send(&mut self, packets: &[Vec<u8>]) {
        let Some(writer) = self.held.as_ref().and_then(|held| held.writer.as_ref()) else { return };
        for packet in packets {
            if let Err(problem) = writer.send(packet).await {
                tracing::debug!(%problem, "a notification could not be sent");
                if let Some(held) = &mut self.held {
                    (held.writer, held.until) = (None, Instant::now() + Duration::from_secs(1));
                }
                return;
            }
        }
    }

    /// A slot that was claimed for nothing is counted.
    fn count_claim(&self) {
        if let Some(held) = self.held.as_ref().filter(|held| held.since.elapsed() < LASTED)
            && self.holders.offended(held.device, Offence::Claim, Instant::now())
        {
            tracing::debug!("a device claims slots for nothing");
        }
    }

    /// The link is over; so is the connection, unless it carries another.
    async fn hang_up(&mut self) {
        self.count_claim();
        let Some(Held { device, on, .. }) = self.held.take() else { return };
        drop(on);
        if self.connections.used(device.0) {
            return;
        }
        let gone = async { self.adapter.device(device)?.disconnect().await };
        if let Err(problem) = gone.await {
            tracing::debug!(%problem, "a central did not have to be sent away");
        }
    }
}
