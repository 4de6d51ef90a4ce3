//! Bluetooth LE on Linux: scanning and dialling through btleplug, advertising and serving GATT through BlueZ (bluer).
//!
//! ```text
//!   supervisor ─┬─ peripheral   advertisement; slots that centrals claim      ──┐
//!               ├─ central      who is heard, whom to dial, one pump a link   ──┤ Pipe ─▶ host_radio::Hub
//!               └─ adapter gone or off: everything ends, and begins again when it is back
//! ```
//! A link is a slot: a characteristic that the central writes without response and that notifies. BlueZ has one
//! notification session a characteristic and not one a central, so a server has [`SLOTS`] of them, and a central claims a
//! free one by writing a single zero byte with response. Where both ends can, the packets of a link then move to an L2CAP
//! channel of the same connection (`l2cap`).

pub mod advert;
mod central;
mod connections;
mod holders;
mod l2cap;
mod machine_name;
mod peripheral;

use std::sync::Arc;
use std::time::Duration;

use bluer::AdapterEvent;
use bluer::adv::AdvertisementHandle;
use futures::{FutureExt as _, StreamExt as _};
use rand::Rng;
use silbo_protocol::limits::RADIO_ADVERTISE_MS;
use silbo_protocol::radio::{self, Conditions, Duty};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::host_radio::{self, Pipe, RadioLink, RadioSnapshot, Wishes};
use crate::link::LinkCommand;
use crate::packets::packet::PACKET_BYTES_MIN;
use crate::packets::{End, Instance};
use crate::running::Running;
use advert::Advert;
use l2cap::Channels;
use machine_name::MachineName;

/// Links a node serves at a time.
pub const SLOTS: u8 = 4;
/// The name of every node's advertisement's data; those of its services and characteristics begin with the same.
pub const SERVICE: Uuid = Uuid::from_u128(0x5e61_c3a4_9d0b_4f7e_8b52_1f0d_7a90_0000);
/// What a central writes to claim a slot; no packet of a link is a single zero.
const CLAIM: &[u8] = &[0];
/// Whoever dials takes the advertisement off the air with most controllers; it is put there again after so long, once for
/// several that dial at the same time.
const AGAIN: Duration = Duration::from_millis(500);
/// Other news than that of an id is put on the air after so long at the earliest, several at once.
const NEWS: Duration = Duration::from_secs(5);
/// The kernel gives addresses 15 minutes, counts them from when it made them, and changes none that scans and dials while
/// anything is advertised. So an id goes off the air a little before,
const LEAD: Duration = Duration::from_secs(2);
/// nothing is advertised until the address has run out,
const SILENCE: Duration = Duration::from_secs(5);
/// and the next id waits for the first scan under a new one; a dial may have to end before.
const SCAN_PATIENCE: Duration = Duration::from_secs(7);
/// Pause before the radio is tried again, doubled up to the second.
const TRY_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The service of a slot.
fn service(slot: u8) -> Uuid {
    Uuid::from_u128(SERVICE.as_u128() | 0x100 | u128::from(slot))
}

/// Its characteristic, which a central writes and which notifies it.
fn characteristic(slot: u8) -> Uuid {
    Uuid::from_u128(SERVICE.as_u128() | 0x200 | u128::from(slot))
}

/// Largest packet in an attribute value: those have 512 B, and bluetoothd 5.66 cannot pass on the last two of a write.
const GATT_PACKET_BYTES_MAX: usize = 510;

/// What an ATT MTU leaves for a packet.
fn packet_bytes(mtu: usize) -> usize {
    mtu.saturating_sub(3).clamp(PACKET_BYTES_MIN, GATT_PACKET_BYTES_MAX)
}

/// How long a rotating id stays on the air unless a shorter time is set.
pub const ROTATION: Duration = Duration::from_secs(15 * 60);

/// Settings of the radio.
#[derive(Clone, Debug)]
pub struct BluetoothSettings {
    /// `hci0` and so on; `None` takes the system's first.
    pub adapter: Option<String>,
    /// How long a rotating id stays on the air.
    pub rotation: Duration,
    /// Power mode, battery and motion; may change.
    pub conditions: watch::Receiver<Conditions>,
    /// While the radio is on, the machine's Bluetooth name, which everybody in range can read, says nothing.
    pub hide_name: bool,
    /// Links move from GATT to an L2CAP channel where both ends can.
    pub l2cap: bool,
}

impl Default for BluetoothSettings {
    fn default() -> Self {
        let conditions = watch::Sender::new(Conditions::default()).subscribe();
        Self { adapter: None, rotation: ROTATION, conditions, hide_name: true, l2cap: true }
    }
}

/// Whether the radio works.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BluetoothState {
    /// It was not tried yet.
    #[default]
    Starting,
    /// It advertises and scans.
    On,
    /// It does not, and why.
    Off(Off),
}

/// Why a radio does not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Off {
    /// What would have to change.
    pub cause: Cause,
    /// In words.
    pub why: String,
}

/// What would have to change for a radio to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The person does not want it.
    Unwanted,
    /// The system's service for it does not run, or is not installed.
    Service,
    /// This user may not use the service.
    Permission,
    /// The machine has no adapter.
    Adapter,
    /// It has not the one that the settings name.
    NamedAdapter,
    /// It is switched off.
    Switch,
    /// Something else.
    Failure,
}

/// Somebody who is heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// What it is called for now.
    pub rid: [u8; 6],
    /// How well it is heard, in dBm.
    pub rssi: Option<i16>,
    /// Seconds since it was heard last.
    pub heard_s: u64,
    /// There is a link to it.
    pub linked: bool,
}

/// How the radio looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BluetoothSnapshot {
    /// Whether it works.
    pub state: BluetoothState,
    /// The adapter in use.
    pub adapter: Option<String>,
    /// Nodes that are heard.
    pub neighbours: Vec<Neighbour>,
    /// How much of the time it listens and how often it says that it is there; `None` while it does neither.
    pub duty: Option<Duty>,
    /// Links that go over L2CAP channels; the others are on GATT.
    pub channels: usize,
}

/// A running radio. Dropping it ends it, without waiting.
#[derive(Debug)]
pub struct Bluetooth {
    /// How it looks.
    pub snapshot: watch::Receiver<BluetoothSnapshot>,
    /// Ends it.
    pub running: Running,
}

/// What connects the radio with its hub.
#[derive(Clone, Debug)]
pub struct HubEnds {
    /// Where connections go.
    pub pipes: mpsc::Sender<Pipe>,
    /// What this node is called; the radio changes it.
    pub name: watch::Sender<Instance>,
    /// Who is linked.
    pub links: watch::Receiver<RadioSnapshot>,
    /// What the node wants.
    pub wishes: watch::Receiver<Wishes>,
    /// Links are closed here.
    pub commands: mpsc::Sender<LinkCommand>,
}

impl HubEnds {
    /// The ends of this hub.
    pub fn of(hub: &host_radio::Hub) -> Self {
        Self {
            pipes: hub.pipes.clone(),
            name: hub.name.clone(),
            links: hub.snapshot.clone(),
            wishes: hub.wishes.clone(),
            commands: hub.commands.clone(),
        }
    }

    /// Ends the links to whoever is called this now. A hub that is busy is asked again at the next look.
    fn let_go(&self, rid: [u8; 6]) {
        let of = |link: &&RadioLink| link.instance.rid() == rid;
        let links: Vec<_> = self.links.borrow().links.iter().filter(of).map(|link| link.link).collect();
        for link in links {
            if let Err(problem) = self.commands.try_send(LinkCommand::Close { link }) {
                tracing::debug!(%problem, "a link is let go later");
            }
        }
    }

    fn linked(&self, rid: [u8; 6]) -> bool {
        self.links.borrow().links.iter().any(|link| link.instance.rid() == rid)
    }
}

/// Why the radio does not work.
#[derive(Debug, thiserror::Error)]
enum RadioError {
    #[error("the Bluetooth service does not answer: {0}")]
    Service(bluer::Error),
    #[error("there is no Bluetooth adapter{0}")]
    NoAdapter(String),
    #[error("Bluetooth is switched off")]
    SwitchedOff,
    #[error("Bluetooth does not work: {0}")]
    BlueZ(#[from] bluer::Error),
    #[error("Bluetooth does not work: {0}")]
    Central(#[from] btleplug::Error),
}

impl RadioError {
    fn cause(&self) -> Cause {
        // Both crates keep the name of an error of D-Bus only in what they print.
        let denied = |text: String| text.contains("AccessDenied") || text.contains("NotPermitted");
        match self {
            Self::NoAdapter(named) if named.is_empty() => Cause::Adapter,
            Self::NoAdapter(_) => Cause::NamedAdapter,
            Self::SwitchedOff => Cause::Switch,
            Self::Service(problem) | Self::BlueZ(problem) if denied(format!("{problem:?}")) => Cause::Permission,
            Self::Central(problem) if denied(format!("{problem:?}")) => Cause::Permission,
            Self::Service(_) => Cause::Service,
            Self::BlueZ(problem) if problem.kind == bluer::ErrorKind::NotReady => Cause::Switch,
            Self::BlueZ(_) | Self::Central(_) => Cause::Failure,
        }
    }
}

/// Whether the kernel knows an adapter, whatever the service says.
fn has_adapter() -> bool {
    std::fs::read_dir("/sys/class/bluetooth").is_ok_and(|adapters| adapters.count() > 0)
}

fn no_adapter(settings: &BluetoothSettings) -> RadioError {
    RadioError::NoAdapter(settings.adapter.as_ref().map_or_else(String::new, |name| format!(" called {name}")))
}

/// Starts the radio. A machine without one only says so in the snapshot. Must be called inside a tokio runtime.
pub fn start(settings: BluetoothSettings, hub: HubEnds) -> Bluetooth {
    let snapshot = watch::Sender::new(BluetoothSnapshot::default());
    let seen = snapshot.subscribe();
    let stop = CancellationToken::new();
    let task = tokio::spawn(supervise(settings, hub, snapshot, stop.clone()));
    let running = Running::new("Bluetooth transport", task, stop);
    Bluetooth { snapshot: seen, running }
}

/// Runs the radio as long as it works, and tries again when it does not.
async fn supervise(
    settings: BluetoothSettings,
    hub: HubEnds,
    snapshot: watch::Sender<BluetoothSnapshot>,
    stop: CancellationToken,
) {
    let mut pause = TRY_AGAIN.0;
    let mut named = MachineName::default();
    loop {
        let began = Instant::now();
        let ended = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            ended = run(&settings, &hub, &snapshot, &mut named) => Some(ended),
        };
        named.restore().await;
        let Some(ended) = ended else { return };
        let off = match ended {
            Ok(()) => Off { cause: Cause::Service, why: "the Bluetooth service has gone".to_owned() },
            // Without an adapter nobody misses the service.
            Err(problem) if problem.cause() == Cause::Service && !has_adapter() => {
                let problem = no_adapter(&settings);
                Off { cause: problem.cause(), why: problem.to_string() }
            }
            Err(problem) => Off { cause: problem.cause(), why: problem.to_string() },
        };
        let why = off.why.clone();
        let off = BluetoothSnapshot { state: BluetoothState::Off(off), ..BluetoothSnapshot::default() };
        if snapshot.send_replace(off.clone()) != off {
            tracing::info!(why, "no Bluetooth");
        }
        pause = if began.elapsed() > TRY_AGAIN.1 { TRY_AGAIN.0 } else { (pause * 2).min(TRY_AGAIN.1) };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = sleep_until(Instant::now() + pause) => {}
        }
    }
}

/// One life of the radio, from a working adapter until it is gone.
async fn run(
    settings: &BluetoothSettings,
    hub: &HubEnds,
    snapshot: &watch::Sender<BluetoothSnapshot>,
    named: &mut MachineName,
) -> Result<(), RadioError> {
    let session = bluer::Session::new().await.map_err(RadioError::Service)?;
    let name = match &settings.adapter {
        Some(name) => name.clone(),
        None => {
            let names = session.adapter_names().await.map_err(RadioError::Service)?;
            names.into_iter().min().ok_or_else(|| no_adapter(settings))?
        }
    };
    let adapter = session.adapter(&name).map_err(|_| no_adapter(settings))?;
    match adapter.is_powered().await {
        Ok(true) => {}
        Ok(false) => return Err(RadioError::SwitchedOff),
        Err(error) if error.kind == bluer::ErrorKind::NotFound => return Err(no_adapter(settings)),
        Err(error) => return Err(RadioError::Service(error)),
    }
    if settings.hide_name {
        named.hide(&adapter).await?;
    }
    // Whatever was off meanwhile comes back with other addresses: the id they had goes with them.
    hub.name.send_replace(host_radio::new_instance());
    let mut events = std::pin::pin!(adapter.events().await?);
    let connections = connections::Connections::default();
    let channels = if settings.l2cap { Channels::of(&adapter).await } else { None };
    let _accepts = channels.as_ref().map(Channels::accept);
    let _served = peripheral::serve(&adapter, &hub.pipes, &connections, channels.as_ref()).await?;
    let mut conditions = settings.conditions.clone();
    let (mut links, mut wishes) = (hub.links.clone(), hub.wishes.clone());
    let mut secret = [0; 32];
    rand::rng().fill_bytes(&mut secret);
    let says = || {
        let every = RADIO_ADVERTISE_MS[settings.conditions.borrow().mode() as usize];
        (advert(hub, &secret), Duration::from_millis(every))
    };
    let mut said = says();
    let mut on_air = OnAir::Advertised(peripheral::advertise(&adapter, &said).await?);
    let calls = Arc::new(Calls::default());
    let heard = settings.conditions.clone();
    let central = central::Central::new(&name, hub.clone(), heard, connections, channels, calls.clone()).await?;
    snapshot.send_modify(|shown| (shown.state, shown.adapter) = (BluetoothState::On, Some(name.clone())));
    tracing::info!(adapter = name, "Bluetooth is on");
    let central = central.run(snapshot);
    tokio::pin!(central);
    let kept = settings.rotation.saturating_sub(LEAD);
    let mut rotate = Instant::now() + kept;
    let mut next = rotate;
    loop {
        tokio::select! {
            ended = &mut central => return ended,
            event = events.next() => match event {
                None => return Ok(()),
                Some(AdapterEvent::PropertyChanged(bluer::AdapterProperty::Powered(false))) => {
                    return Err(RadioError::SwitchedOff);
                }
                Some(_) => {}
            },
            () = calls.dialled_us.notified(), if matches!(on_air, OnAir::Advertised(_)) => {
                next = next.min(Instant::now() + AGAIN);
            }
            Ok(()) = async { tokio::select! {
                changed = links.changed() => changed,
                changed = wishes.changed() => changed,
                changed = conditions.changed() => changed,
            } } => {
                if matches!(on_air, OnAir::Advertised(_)) && says() != said {
                    next = next.min(Instant::now() + NEWS);
                }
            }
            () = calls.scans_anew.notified(), if matches!(on_air, OnAir::Scans) => next = Instant::now(),
            () = sleep_until(next) => (on_air, next) = match on_air {
                OnAir::Advertised(old) => {
                    peripheral::take_off(&adapter, old).await?;
                    if rotate <= Instant::now() {
                        calls.pause.notify_one();
                        (OnAir::Silent, Instant::now() + SILENCE)
                    } else {
                        said = says();
                        (OnAir::Advertised(peripheral::advertise(&adapter, &said).await?), rotate)
                    }
                }
                OnAir::Silent => {
                    let _late = calls.scans_anew.notified().now_or_never(); // of a scan that came too late for the id before
                    calls.scan.notify_one();
                    (OnAir::Scans, Instant::now() + SCAN_PATIENCE)
                }
                OnAir::Scans => {
                    hub.name.send_replace(host_radio::new_instance());
                    tracing::debug!("a new id is on the air");
                    rotate = Instant::now() + kept;
                    said = says();
                    (OnAir::Advertised(peripheral::advertise(&adapter, &said).await?), rotate)
                }
            },
        }
    }
}

/// Where an id is in its life.
enum OnAir {
    Advertised(AdvertisementHandle),
    /// Nothing is on the air: the addresses of the old id run out.
    Silent,
    /// A scan under a new address is to begin before the new id is heard.
    Scans,
}

/// What both ends of the radio tell each other.
#[derive(Debug, Default)]
struct Calls {
    /// Somebody has dialled this node.
    dialled_us: Notify,
    /// Nothing is on the air: no scan and no dial is to begin.
    pause: Notify,
    /// The scan is to begin anew, under a new address.
    scan: Notify,
    /// It has begun.
    scans_anew: Notify,
}

/// What is to be on the air.
fn advert(hub: &HubEnds, secret: &[u8; 32]) -> Advert {
    let rid = hub.name.borrow().rid();
    let served = hub.links.borrow().links.iter().filter(|link| link.end == End::Listener).count();
    let roles = if served >= usize::from(SLOTS) { advert::FULL } else { 0 };
    Advert { roles, rid, load: 0, digest: radio::digest(secret, &rid, hub.wishes.borrow().held) }
}
