//! Wi-Fi Direct on Linux, over wpa_supplicant's D-Bus: a fast link beside the Bluetooth one, for as long as it is of use.
//!
//! ```text
//!   hub ─ Happening ─▶ upgrade ─ Call ─▶ supervisor ─▶ wpa      names, PIN, group
//!       ◀─ records ───                       │
//!                                            └─▶ group: internet (QUIC on the loopback) ⇄ tunnel ⇄ [fe80::…%group]
//! ```
//! Two nodes that have met on Bluetooth and know each other agree inside that link's seal ([`record`], [`upgrade`]) on names
//! and a PIN, make a group (`wpa`), and run a QUIC of its own over its link-local addresses (`tunnel`): another transport
//! key for each group. The group is removed when nothing moves in it; no other one is ever touched.

mod group;
mod left;
mod power;
pub mod record;
mod supervisor;
mod tunnel;
pub mod upgrade;
mod wpa;

#[cfg(test)]
mod upgrade_tests;

use std::path::PathBuf;

use rand::Rng as _;
use silbo_protocol::radio::Conditions;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::host_radio::{Beside, Hub, RadioSnapshot};
use crate::link::{LinkCommand, LinkEvent};
use crate::running::Running;
use supervisor::Supervisor;

/// Commands that may wait.
const COMMANDS_MAX: usize = 256;

/// Settings.
#[derive(Clone, Debug)]
pub struct WifiDirectSettings {
    /// `wlan0` and so on; `None` takes the first that wpa_supplicant has with Wi-Fi Direct.
    pub interface: Option<String>,
    /// Address of the D-Bus with wpa_supplicant; `None` takes the system's.
    pub bus: Option<String>,
    /// Where is written down what has to be taken back after a crash.
    pub left_path: Option<PathBuf>,
    /// The battery decides who would rather own a group; may change.
    pub conditions: watch::Receiver<Conditions>,
}

/// Whether it works.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WifiDirectState {
    /// It was not tried yet.
    #[default]
    Starting,
    /// It does not, and why, in words.
    Off(String),
    /// A group can be made.
    On,
    /// It works, but the radio is used for something else, in words.
    Busy(String),
    /// A group is being made with this node.
    Forming([u8; 6]),
    /// There is a group with this node.
    Group {
        /// What it was called when the group was made.
        rid: [u8; 6],
        /// This node is the owner.
        owner: bool,
    },
}

/// How it looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WifiDirectSnapshot {
    /// Whether it works.
    pub state: WifiDirectState,
    /// The interface in use.
    pub interface: Option<String>,
    /// Groups in which a link came up.
    pub groups: u32,
    /// Why the last attempt or group ended, in words.
    pub ended: Option<String>,
}

/// It runs. Dropping it ends it, without waiting.
#[derive(Debug)]
pub struct WifiDirect {
    /// What to do with links. A full channel is an answer: try later.
    pub commands: mpsc::Sender<LinkCommand>,
    /// How it looks.
    pub snapshot: watch::Receiver<WifiDirectSnapshot>,
    /// Ends it.
    pub running: Running,
}

/// What connects it with the hub of the radios.
#[derive(Debug)]
pub struct HubEnds {
    beside: Beside,
    links: watch::Receiver<RadioSnapshot>,
}

impl HubEnds {
    /// The ends of this hub; `None` if they were taken.
    pub fn of(hub: &mut Hub) -> Option<Self> {
        let beside = hub.beside.take()?;
        Some(Self { beside, links: hub.snapshot.clone() })
    }
}

/// Starts it; what happens on its links goes into `events`. A machine without Wi-Fi Direct only says so in the snapshot.
/// Must be called inside a tokio runtime.
pub fn start(settings: WifiDirectSettings, hub: HubEnds, events: mpsc::Sender<LinkEvent>) -> WifiDirect {
    let (commands, commands_in) = mpsc::channel(COMMANDS_MAX);
    let snapshot = watch::Sender::new(WifiDirectSnapshot::default());
    let seen = snapshot.subscribe();
    let stop = CancellationToken::new();
    let mut seed = [0; 32];
    rand::rng().fill_bytes(&mut seed);
    let supervisor = Supervisor::new(settings, hub, events, commands_in, snapshot, seed);
    let task = tokio::spawn(supervisor.run(stop.clone()));
    let running = Running::new("Wi-Fi Direct transport", task, stop);
    WifiDirect { commands, snapshot: seen, running }
}

/// Puts back what a run that was killed has changed, and nothing else: for a node that does not use Wi-Fi Direct any more.
pub async fn put_back(bus: Option<String>, left_path: PathBuf) {
    if let Err(problem) = supervisor::open(bus.as_deref(), None, Some(&left_path)).await {
        tracing::info!(%problem, "what Wi-Fi Direct had changed is not put back yet");
    }
}
