//! `relay.*`.

use std::sync::Arc;

use silbo_protocol::ids::PeerKey;
use silbo_protocol::input::Request;
use silbo_protocol::step::{RelayView, Reply};
use silbo_transports::internet::{parse_multiaddr_with_peer, parse_peer};

use super::{net, unexpected};
use crate::api::error::{ApiError, ErrorKind};
use crate::api::types::{Done, List, Nothing, Relay, RelayAdd, RelayRemove, RelayStatus};
use crate::api::{Api, convert};

pub(super) async fn add(api: Arc<Api>, params: RelayAdd) -> Result<Relay, ApiError> {
    let address = parse_multiaddr_with_peer(&params.address).map_err(|error| {
        ApiError::invalid("address", error.to_string())
            .hint("like /ip4/203.0.113.7/udp/4001/quic-v1/p2p/12D3KooW…; the relay shows it: `silbo relay status`")
    })?;
    let peer = address.peer.clone();
    api.core.request(Request::RelayAdd { address }).await?;
    let relays = in_use(&api).await?;
    let added = relays.into_iter().find(|relay| relay.address.peer == peer);
    added.map(convert::relay).ok_or_else(|| ApiError::internal("the relay is not in the list after it was added"))
}

pub(super) async fn list(api: Arc<Api>, _: Nothing) -> Result<List<Relay>, ApiError> {
    Ok(List { items: in_use(&api).await?.into_iter().map(convert::relay).collect() })
}

pub(super) async fn remove(api: Arc<Api>, params: RelayRemove) -> Result<Done, ApiError> {
    api.core.request(Request::RelayRemove { peer: peer_of(&params.peer)? }).await?;
    Ok(Done {})
}

pub(super) async fn status(api: Arc<Api>, _: Nothing) -> Result<RelayStatus, ApiError> {
    own_status(&api).await
}

/// What this node holds for others.
pub(super) async fn own_status(api: &Api) -> Result<RelayStatus, ApiError> {
    let Reply::RelayStatus(status) = api.core.request(Request::RelayStatus).await? else {
        return Err(unexpected("RelayStatus"));
    };
    let addresses = net::own_addresses(&api.facts.net.borrow());
    Ok(convert::relay_status(status, addresses))
}

async fn in_use(api: &Api) -> Result<Vec<RelayView>, ApiError> {
    match api.core.request(Request::RelayList).await? {
        Reply::Relays(relays) => Ok(relays),
        _ => Err(unexpected("RelayList")),
    }
}

fn peer_of(text: &str) -> Result<PeerKey, ApiError> {
    if text.starts_with('/') {
        return Ok(parse_multiaddr_with_peer(text).map_err(|error| ApiError::invalid("peer", error.to_string()))?.peer);
    }
    parse_peer(text).map_err(|_| {
        ApiError::new(ErrorKind::NotFound, "no such relay").field("peer").hint("`silbo relay list` shows the relays")
    })
}
