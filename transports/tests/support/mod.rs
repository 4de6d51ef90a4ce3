//! Nodes on 127.0.0.1 and waiting for what they say. Every wait is for an event, with a time limit that only failing
//! tests reach.

#![allow(dead_code)] // each test file uses a part of it

use std::time::Duration;

use silbo_protocol::ids::{LinkId, PeerAddress, PeerKey};
use silbo_protocol::input::Route;
use silbo_transports::internet::{Internet, InternetSettings, NetSnapshot, multiaddr_text, start};
use silbo_transports::{LinkCommand, LinkEvent};
use tokio::time::timeout;

/// Shows the log of a test when `RUST_LOG` asks for it.
pub fn log() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer();
    // Another test of this process was first.
    let _set_already = log.try_init();
}

/// Longest wait for one thing.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Settings of a node that touches nothing but loopback.
pub fn settings(listen: &str) -> InternetSettings {
    InternetSettings { listen: vec![listen.to_owned()], mdns: false, upnp: false, ..InternetSettings::default() }
}

pub const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
pub const TCP: &str = "/ip4/127.0.0.1/tcp/0";

/// A running node and what it has said about itself.
pub struct Node {
    pub net: Internet,
    pub address: PeerAddress,
}

impl Node {
    pub async fn start(settings: InternetSettings) -> Self {
        log();
        let mut net = start(settings).await.expect("the node starts");
        let address = own_address(&mut net, |_| true).await;
        Self { net, address }
    }

    pub fn key(&self) -> PeerKey {
        self.net.local.clone()
    }

    /// The TCP port it listens on, if that is how it does.
    pub fn tcp_port(&self) -> u16 {
        let text = multiaddr_text(&self.address.addrs[0]).expect("text");
        text.rsplit('/').next().and_then(|port| port.parse().ok()).expect("a port")
    }

    pub async fn command(&self, command: LinkCommand) {
        self.net.commands.send(command).await.expect("the node runs");
    }

    pub async fn dial(&self, address: &PeerAddress) {
        self.command(LinkCommand::Dial { address: address.clone(), relay: false }).await;
    }

    pub async fn frame(&self, link: LinkId, bytes: &[u8]) {
        self.command(LinkCommand::Frame { link, bytes: bytes.to_vec() }).await;
    }

    /// Waits for the first event that `pick` takes; what it leaves is dropped.
    pub async fn wait<T>(&mut self, what: &str, mut pick: impl FnMut(LinkEvent) -> Option<T>) -> T {
        let waiting = async {
            loop {
                let event = self.net.events.recv().await.expect("the node runs");
                if let Some(found) = pick(event) {
                    return found;
                }
            }
        };
        timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("no {what} in time"))
    }

    pub async fn up(&mut self) -> (LinkId, PeerKey, Route) {
        self.wait("link", |event| match event {
            LinkEvent::Up { link, peer, route, .. } => Some((link, peer, route)),
            _ => None,
        })
        .await
    }

    pub async fn down(&mut self) -> LinkId {
        self.wait("end of a link", |event| match event {
            LinkEvent::Down { link } => Some(link),
            _ => None,
        })
        .await
    }

    pub async fn next_frame(&mut self) -> (LinkId, Vec<u8>) {
        self.wait("frame", |event| match event {
            LinkEvent::Frame { link, bytes } => Some((link, bytes)),
            LinkEvent::Down { .. } => panic!("the link went down"),
            _ => None,
        })
        .await
    }

    /// Waits until the snapshot is as wanted.
    pub async fn see(&mut self, what: &str, wanted: impl FnMut(&NetSnapshot) -> bool) -> NetSnapshot {
        let seen = timeout(PATIENCE, self.net.snapshot.wait_for(wanted)).await;
        seen.unwrap_or_else(|_| panic!("never saw {what}")).expect("the node runs").clone()
    }
}

/// Waits for an address of our own that is as wanted.
pub async fn own_address(net: &mut Internet, wanted: impl Fn(&PeerAddress) -> bool) -> PeerAddress {
    let waiting = async {
        loop {
            if let LinkEvent::OwnAddress { address } = net.events.recv().await.expect("the node runs")
                && wanted(&address)
            {
                return address;
            }
        }
    };
    timeout(PATIENCE, waiting).await.expect("an own address in time")
}

/// Two nodes with a link, and its names at both ends.
pub async fn linked(a: InternetSettings, b: InternetSettings) -> (Node, LinkId, Node, LinkId) {
    let (mut a, mut b) = (Node::start(a).await, Node::start(b).await);
    a.dial(&b.address).await;
    let (a_link, peer, _) = a.up().await;
    assert_eq!(peer, b.key());
    let (b_link, peer, _) = b.up().await;
    assert_eq!(peer, a.key());
    (a, a_link, b, b_link)
}
