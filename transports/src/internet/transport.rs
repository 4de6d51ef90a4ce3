//! The sockets: QUIC-v1, TCP with Noise and Yamux, circuits through relays, names through DNS.

use std::io;
use std::time::Duration;

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, Transport as _};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{PeerId, dns, noise, quic, relay, tcp, yamux};

use super::dial_port::OrNewPort;

/// From socket to authenticated connection; half-open ones are dropped after this (T-49). Shorter than the 10 s an
/// AutoNAT client waits for its probe: one that learns nothing probes again and again.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(8);
/// Keeps NAT bindings open: those of UDP last 30 s and more.
const QUIC_KEEP_ALIVE: Duration = Duration::from_secs(20);
/// A keep-alive is due and lost, and so are the probes QUIC sends after it, a second, two, four and eight later: who
/// only listens notices by this that the other end is gone.
const QUIC_IDLE_TIMEOUT_MS: u32 = 40_000;
/// Streams a peer may open on a connection; we use fewer than ten.
const STREAMS_MAX: u32 = 64;
/// Unread bytes of a stream: 10 Mbit/s at 300 ms and a good deal more.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
/// Unread bytes of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// Builds the transport and the behaviour that drives its circuits.
///
/// # Errors
/// When the key is unusable for Noise.
pub(super) fn build(
    key: &Keypair,
) -> Result<(Boxed<(PeerId, StreamMuxerBox)>, relay::client::Behaviour), noise::Error> {
    let (circuits, client) = relay::client::new(key.public().to_peer_id());
    let circuits = circuits
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(key)?)
        .multiplex(muxer())
        .timeout(HANDSHAKE_TIMEOUT);
    let sockets = || -> Result<_, noise::Error> {
        let tcp = OrNewPort(tcp::tokio::Transport::new(tcp::Config::default().nodelay(true)))
            .upgrade(Version::V1Lazy)
            .authenticate(noise::Config::new(key)?)
            .multiplex(muxer())
            .timeout(HANDSHAKE_TIMEOUT)
            .boxed();
        let quic = quic::tokio::Transport::new(quic_config(key))
            .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)))
            .boxed();
        Ok(quic.or_transport(tcp).map(|either, _| either.into_inner()))
    };
    let named = match dns::tokio::Transport::system(sockets()?) {
        Ok(named) => named.boxed(),
        Err(error) => {
            without_names(&error);
            sockets()?.boxed()
        }
    };
    let transport = circuits
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .or_transport(named)
        .map(|either, _| either.into_inner())
        .boxed();
    Ok((transport, client))
}

fn without_names(error: &io::Error) {
    tracing::warn!(%error, "no resolver configuration: addresses with names are not dialled");
}

fn muxer() -> yamux::Config {
    let mut config = yamux::Config::default();
    config.set_max_num_streams(STREAMS_MAX as usize);
    config
}

fn quic_config(key: &Keypair) -> quic::Config {
    let mut config = quic::Config::new(key);
    config.handshake_timeout = HANDSHAKE_TIMEOUT;
    config.keep_alive_interval = QUIC_KEEP_ALIVE;
    config.max_idle_timeout = QUIC_IDLE_TIMEOUT_MS;
    config.max_concurrent_stream_limit = STREAMS_MAX;
    config.max_stream_data = STREAM_WINDOW_BYTES;
    config.max_connection_data = CONNECTION_WINDOW_BYTES;
    config
}
