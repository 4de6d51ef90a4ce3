//! `net.*`, and what the snapshot of the network means.

use std::sync::Arc;

use silbo_protocol::input::Request;
use silbo_protocol::step::Reply;
use silbo_transports::internet::{NatStatus, NetSnapshot};

use super::unexpected;
use crate::api::error::ApiError;
use crate::api::limits::WAIT_MS_MAX;
use crate::api::types::{List, NetCheck, NetPing, Nothing, Peer, Pong};
use crate::api::{Api, convert, people};

pub(super) async fn peers(api: Arc<Api>, _: Nothing) -> Result<List<Peer>, ApiError> {
    let net = api.facts.net.borrow().clone();
    let peers = net.peers.into_iter().map(|peer| Peer {
        peer: convert::peer(&peer.peer),
        addresses: peer.addrs,
        route: convert::route(peer.route),
        connected_at: peer.connected_at,
        contact: None,
    });
    Ok(List { items: peers.collect() })
}

pub(super) async fn check(api: Arc<Api>, _: Nothing) -> Result<NetCheck, ApiError> {
    let net = api.facts.net.borrow().clone();
    Ok(NetCheck {
        nat: nat(&net).to_owned(),
        quic: listens(&net, "/quic-v1"),
        tcp: listens(&net, "/tcp/"),
        upnp: net.upnp,
        mdns: net.mdns,
        listen: net.listen,
        external: net.external,
        circuits: net.circuits,
    })
}

pub(super) async fn ping(api: Arc<Api>, params: NetPing) -> Result<Pong, ApiError> {
    let chat = people::find_contact(&api, &params.contact).await?;
    let timeout_ms = params.timeout_ms.min(WAIT_MS_MAX);
    match api.core.request(Request::Ping { chat, timeout_ms }).await? {
        Reply::Pong { rtt_ms, path } => Ok(Pong { rtt_ms, path: convert::path(path) }),
        _ => Err(unexpected("Ping")),
    }
}

/// Whether others reach this node directly, as text.
pub(super) fn nat(net: &NetSnapshot) -> &'static str {
    match net.nat {
        NatStatus::Unknown => "unknown",
        NatStatus::Public => "public",
        NatStatus::Private => "private",
    }
}

/// Whether an address listened on has this part.
pub(super) fn listens(net: &NetSnapshot, part: &str) -> bool {
    net.listen.iter().any(|address| address.contains(part))
}

/// Addresses to hand to others, best first: seen from outside, circuits, then the local network. This machine alone is
/// of use to nobody else unless there is nothing better.
pub(super) fn own_addresses(net: &NetSnapshot) -> Vec<String> {
    let this_machine = |address: &&String| address.starts_with("/ip4/127.") || address.starts_with("/ip6/::1/");
    let near = net.listen.iter().filter(|address| !this_machine(address));
    let here = net.listen.iter().filter(this_machine);
    let mut all: Vec<String> = Vec::new();
    for address in net.external.iter().chain(&net.circuits).chain(near).chain(here) {
        let whole = if address.contains("/p2p/") && address.ends_with(&net.peer_id) {
            address.clone()
        } else {
            format!("{address}/p2p/{}", net.peer_id)
        };
        if !all.contains(&whole) {
            all.push(whole);
        }
    }
    all
}
