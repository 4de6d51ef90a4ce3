//! Which libp2p protocols run, with which parameters. Order matters: those that refuse stand first.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use libp2p::connection_limits::ConnectionLimits;
use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{
    PeerId, StreamProtocol, autonat, connection_limits, dcutr, identify, kad, mdns, memory_connection_limits, ping,
    relay, upnp,
};

use super::clock::unix_s;
use super::contained::Contained;
use super::gate::{Filtered, Gate};
use super::reach::Reach;
use super::records::{RECORD_TTL, Records};
use super::settings::InternetSettings;
use super::streams;

/// The DHT of Silbo nodes.
pub(super) const KAD_PROTOCOL: StreamProtocol = StreamProtocol::new("/silbo/kad/1");
/// What identify says about the protocol family.
const IDENTIFY_PROTOCOL: &str = "/silbo/1";
/// What identify says about the program: nothing that tells versions or platforms apart.
const AGENT: &str = "silbo";

/// mDNS asks this often while no peer is known …
const MDNS_LONELY: Duration = Duration::from_secs(5);
/// … and this often afterwards.
const MDNS_SETTLED: Duration = Duration::from_secs(5 * 60);

/// All protocols of a node.
#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p::swarm::derive_prelude")]
pub(super) struct Node {
    pub(super) gate: Gate,
    pub(super) limits: connection_limits::Behaviour,
    pub(super) memory: memory_connection_limits::Behaviour,
    pub(super) streams: streams::Behaviour,
    pub(super) ping: ping::Behaviour,
    pub(super) identify: Filtered<identify::Behaviour>,
    pub(super) kad: Filtered<kad::Behaviour<Records>>,
    pub(super) mdns: Toggle<Mdns>,
    pub(super) relay_client: relay::client::Behaviour,
    pub(super) relay_server: Toggle<relay::Behaviour>,
    pub(super) dcutr: Toggle<dcutr::Behaviour>,
    pub(super) autonat_client: autonat::v2::client::Behaviour,
    pub(super) autonat_server: Toggle<autonat::v2::server::Behaviour>,
    pub(super) upnp: Toggle<Contained<upnp::tokio::Behaviour>>,
}

/// mDNS, with its claims filtered and its tasks contained.
pub(super) type Mdns = Filtered<Contained<mdns::tokio::Behaviour>>;

impl Node {
    /// Builds all protocols. Discovery that does not work on this machine is left out and reported in words.
    pub(super) fn new(
        key: &Keypair,
        relay_client: relay::client::Behaviour,
        settings: &InternetSettings,
        reach: &Reach,
    ) -> (Self, Option<String>) {
        let local = key.public().to_peer_id();
        let serves = settings.relay_server;
        let (mdns, mdns_error) = match settings.mdns.then(|| mdns(local, reach, true)) {
            None => (None, None),
            Some(Ok(mdns)) => (Some(mdns), None),
            Some(Err(error)) => (None, Some(error.to_string())),
        };
        let upnp = settings
            .upnp
            .then(|| Contained::new("silbo-upnp", || Ok(upnp::tokio::Behaviour::default())))
            .and_then(|upnp| upnp.inspect_err(|error| tracing::warn!(%error, "no thread for UPnP")).ok());
        let node = Self {
            gate: Gate::new(reach.clone()),
            limits: connection_limits::Behaviour::new(connection_limits()),
            memory: memory_connection_limits::Behaviour::with_max_bytes(settings.memory_bytes_max),
            streams: streams::Behaviour::default(),
            ping: ping::Behaviour::new(
                ping::Config::new().with_interval(Duration::from_secs(60)).with_timeout(Duration::from_secs(20)),
            ),
            identify: Filtered::new(identify::Behaviour::new(identify_config(key)), reach.clone()),
            kad: Filtered::new(kad(local, settings), reach.clone()),
            mdns: mdns.into(),
            relay_client,
            relay_server: serves.then(|| relay_server(local)).into(),
            dcutr: settings.hole_punching.then(|| dcutr::Behaviour::new(local)).into(),
            autonat_client: autonat::v2::client::Behaviour::default(),
            autonat_server: serves.then(autonat::v2::server::Behaviour::default).into(),
            upnp: upnp.into(),
        };
        (node, mdns_error)
    }
}

/// mDNS that asks often (`lonely`) or rarely.
pub(super) fn mdns(local: PeerId, reach: &Reach, lonely: bool) -> std::io::Result<Mdns> {
    let query_interval = if lonely { MDNS_LONELY } else { MDNS_SETTLED };
    let config = mdns::Config { query_interval, ..mdns::Config::default() };
    let contained = Contained::new("silbo-mdns", || mdns::tokio::Behaviour::new(config, local))?;
    Ok(Filtered::new(contained, reach.clone()))
}

/// T-49, T-50: half-open, inbound, per peer, all.
fn connection_limits() -> ConnectionLimits {
    ConnectionLimits::default()
        .with_max_pending_incoming(Some(64))
        .with_max_pending_outgoing(Some(128))
        .with_max_established_incoming(Some(256))
        .with_max_established_per_peer(Some(4))
        .with_max_established(Some(512))
}

fn identify_config(key: &Keypair) -> identify::Config {
    identify::Config::new(IDENTIFY_PROTOCOL.to_owned(), key.public())
        .with_agent_version(AGENT.to_owned())
        .with_interval(Duration::from_secs(3600))
        .with_push_listen_addr_updates(true)
        .with_hide_listen_addrs(true)
        .with_cache_size(0)
}

fn kad(local: PeerId, settings: &InternetSettings) -> kad::Behaviour<Records> {
    const THREE: NonZeroUsize = NonZeroUsize::new(3).expect("three is not zero");
    let mut config = kad::Config::new(KAD_PROTOCOL);
    config
        .set_parallelism(THREE)
        .disjoint_query_paths(true)
        .set_record_ttl(Some(RECORD_TTL))
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_kbucket_inserts(kad::BucketInserts::Manual)
        .set_caching(kad::Caching::Disabled)
        .set_provider_publication_interval(None)
        .set_publication_interval(None) // the engine publishes anew, with a fresh sequence
        .set_replication_interval(settings.relay_server.then_some(Duration::from_secs(3600)))
        .set_periodic_bootstrap_interval(Some(Duration::from_secs(if settings.relay_server { 600 } else { 3600 })))
        .set_max_packet_size(16 * 1024);
    kad::Behaviour::with_config(local, Records::new(local, settings.validate, unix_s), config)
}

/// Limits for files and calls; libp2p's own (128 KiB, 2 minutes) are for strangers who only punch holes (T-53).
fn relay_server(local: PeerId) -> relay::Behaviour {
    const HOUR: Duration = Duration::from_secs(3600);
    const PER_IP: NonZeroU32 = NonZeroU32::new(600).expect("600 is not zero");
    const PER_PEER: NonZeroU32 = NonZeroU32::new(60).expect("60 is not zero");
    let config = relay::Config {
        max_reservations: 1_024,
        max_reservations_per_peer: 4,
        reservation_duration: HOUR,
        reservation_rate_limiters: Vec::new(),
        max_circuits: 512,
        max_circuits_per_peer: 16,
        max_circuit_duration: 2 * HOUR,
        max_circuit_bytes: 1 << 30,
        circuit_src_rate_limiters: Vec::new(),
    }
    .reservation_rate_per_peer(PER_PEER, HOUR / 60)
    .reservation_rate_per_ip(PER_IP, HOUR / 60)
    .circuit_src_per_peer(PER_PEER, HOUR / 60)
    .circuit_src_per_ip(PER_IP, HOUR / 60);
    let mut server = relay::Behaviour::new(local, config);
    server.set_status(Some(relay::Status::Enable));
    server
}
