//! Links over the internet and the local network, by rust-libp2p.
//!
//! ```text
//!   commands ─▶ driver (owns the swarm) ─▶ streams: open this ─▶ link task (owns the stream) ─▶ events
//!                  │  ▲                                               │
//!                  │  └──────────────────── notes ────────────────────┘
//!                  └─ dht · circuits · announce · peers: the parts of the driver, by what they decide
//! ```
//! One long-lived stream per peer (`/silbo/msg/1`) carries all frames. Peer keys are disposable unless a seed is
//! given, and never say who somebody is. The driver never waits for a peer or for the engine: every queue is bounded,
//! and a link that cannot take a frame is closed, because the outbox sends again what nobody has confirmed.

mod address;
mod announce;
mod behaviour;
mod circuits;
mod clock;
mod contained;
mod dht;
mod dial_port;
mod driver;
mod framing;
mod gate;
mod link_task;
mod peers;
mod reach;
mod records;
mod settings;
mod snapshot;
mod streams;
mod transport;

use std::time::Duration;

use libp2p::identity::Keypair;
use libp2p::swarm::{Config, Swarm};
use silbo_protocol::ids::PeerKey;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use address::{AddressError, multiaddr_text, parse_multiaddr_with_peer, parse_peer, peer_text};
pub use settings::{DhtMode, InternetSettings, Validate};
pub use snapshot::{NatStatus, NetPeer, NetSnapshot};

use crate::link::{LinkCommand, LinkEvent};
use crate::running::Running;

/// Commands that may wait for the driver.
const COMMANDS_MAX: usize = 256;
/// Events that may wait for the engine; a full channel holds the links back.
const EVENTS_MAX: usize = 256;
/// Connections nobody uses are kept this long.
const UNUSED_CONNECTION: Duration = Duration::from_secs(20);

/// A running internet transport. Dropping it ends it too, without waiting.
#[derive(Debug)]
pub struct Internet {
    /// What happens.
    pub events: mpsc::Receiver<LinkEvent>,
    /// Where another medium of the same node puts what happens on it.
    pub events_in: mpsc::WeakSender<LinkEvent>,
    /// What to do. A full channel is an answer: try later.
    pub commands: mpsc::Sender<LinkCommand>,
    /// How it looks.
    pub snapshot: watch::Receiver<NetSnapshot>,
    /// Our transport key.
    pub local: PeerKey,
    /// Ends it.
    pub running: Running,
}

/// Why a transport did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A configured address is not a multiaddr.
    #[error("not a multiaddr: {0}")]
    BadAddress(String),
    /// None of the configured addresses can be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The first that failed.
        address: String,
        /// Why, in words.
        error: String,
    },
    /// The transport key is unusable.
    #[error("cannot use the transport key: {0}")]
    Key(String),
}

/// Starts the transport and returns once it listens. Must be called inside a tokio runtime.
///
/// Cancelling it ends what it has started.
///
/// # Errors
/// [`StartError`]: the settings are at fault, or every listening address is taken.
pub async fn start(settings: InternetSettings) -> Result<Internet, StartError> {
    let key = match settings.identity_seed {
        Some(seed) => Keypair::ed25519_from_bytes(seed).map_err(|error| StartError::Key(error.to_string()))?,
        None => Keypair::generate_ed25519(),
    };
    let peer = key.public().to_peer_id();
    let reach = reach::Reach::new(settings.private_is_public);
    let (transport, relay_client) = transport::build(&key).map_err(|error| StartError::Key(error.to_string()))?;
    let (node, mdns_error) = behaviour::Node::new(&key, relay_client, &settings, &reach);

    let tasks = TaskTracker::new();
    let executor = {
        let tasks = tasks.clone();
        move |task| {
            tasks.spawn(task);
        }
    };
    let config = Config::with_executor(executor)
        .with_idle_connection_timeout(UNUSED_CONNECTION)
        .with_max_negotiating_inbound_streams(32)
        .with_smart_dial();
    let swarm = Swarm::new(transport, node, peer, config);

    let stop = CancellationToken::new();
    let (events_out, events) = mpsc::channel(EVENTS_MAX);
    let (commands, commands_in) = mpsc::channel(COMMANDS_MAX);
    let events_in = events_out.downgrade();
    let channels = driver::Channels { events: events_out, commands: commands_in, stop: stop.clone() };
    let mut driver = driver::Driver::new(swarm, settings, reach, tasks, channels);
    if let Some(error) = mdns_error {
        driver.report_discovery(error);
    }
    driver.listen().await?;
    let snapshot = driver.watch();
    let local = address::peer_key(&peer);
    let driver = tokio::spawn(driver.run());
    let running = Running::new("internet transport", driver, stop);
    Ok(Internet { events, events_in, commands, snapshot, local, running })
}

impl Internet {
    /// Closes every link and connection and returns when no task is left. Events not read are lost.
    pub async fn stop(self) {
        let Self { events, commands, running, .. } = self;
        drop((events, commands));
        running.stop().await;
    }
}
