//! A link that can be made slow: a UDP relay which holds every datagram for a while, the same while both ways.
//!
//! Raw echo and nodes both go through one, so what the relay itself costs meets both.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use silbo_protocol::wire::invite::{Hint, InviteCode};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::broken;
use crate::cli::failure::Failure;

/// Datagrams on their way; beyond it they are lost, as on any link.
const UNDER_WAY_MAX: usize = 16_384;
const DATAGRAM_MAX: usize = 65_535;
/// `/ip4/127.0.0.1/udp/…`: the port follows, then `/quic-v1`.
const LOOPBACK_UDP: [u8; 7] = [0x04, 127, 0, 0, 1, 0x91, 0x02];

/// What an IPv4 and a UDP header add to a datagram.
const HEADER_BYTES: u64 = 28;

/// How a link is, and what it has carried.
#[derive(Clone, Default)]
struct Way {
    delay_us: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
}

/// One relay; its tasks end with it.
pub(super) struct SlowLink {
    /// Where datagrams for the other end go.
    pub(super) address: SocketAddr,
    way: Way,
    task: AbortHandle,
}

impl SlowLink {
    /// A link to an address, without a delay at first.
    pub(super) async fn to(address: SocketAddr) -> Result<SlowLink, Failure> {
        let front = Arc::new(socket().await?);
        let here = front.local_addr().map_err(failed)?;
        let way = Way::default();
        let task = tokio::spawn(carry(front, address, way.clone())).abort_handle();
        Ok(SlowLink { address: here, way, task })
    }

    /// A link to the inviter of an invitation, and the invitation as it reads for those who take this way.
    pub(super) async fn to_inviter(link: &str) -> Result<(SlowLink, String), Failure> {
        let mut code = InviteCode::parse(link).map_err(failed)?;
        let found = code.hints.iter().find_map(|hint| match hint {
            Hint::Peer { peer, addr } => Some((peer.clone(), addr.clone(), port(addr)?)),
            _ => None,
        });
        let (peer, mut addr, port) = found.ok_or_else(|| broken("the invitation names no address"))?;
        let link = SlowLink::to(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
        addr.splice(LOOPBACK_UDP.len()..LOOPBACK_UDP.len() + 2, link.address.port().to_be_bytes());
        code.hints.retain(|hint| !matches!(hint, Hint::Peer { .. } | Hint::Relay { .. }));
        code.hints.push(Hint::Peer { peer, addr });
        Ok((link, code.link()))
    }

    pub(super) fn delay(&self, one_way: Duration) {
        self.way.delay_us.store(u64::try_from(one_way.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Bytes it has carried both ways, with the headers of IP and UDP.
    pub(super) fn bytes(&self) -> u64 {
        self.way.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for SlowLink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn port(addr: &[u8]) -> Option<u16> {
    let rest = addr.strip_prefix(&LOOPBACK_UDP)?;
    rest.first_chunk().map(|port| u16::from_be_bytes(*port)).filter(|_| rest.len() == 4)
}

async fn socket() -> Result<UdpSocket, Failure> {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)
}

async fn carry(front: Arc<UdpSocket>, to: SocketAddr, way: Way) {
    let mut backs: HashMap<SocketAddr, Lane> = HashMap::new();
    let mut tasks = JoinSet::new();
    let mut buffer = vec![0; DATAGRAM_MAX];
    while let Ok((length, from)) = front.recv_from(&mut buffer).await {
        let lane = match backs.entry(from) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let Ok(back) = socket().await.map(Arc::new) else { return };
                let there = Lane::new(back.clone(), to, way.clone(), &mut tasks);
                let here = Lane::new(front.clone(), from, way.clone(), &mut tasks);
                tasks.spawn(async move {
                    let mut buffer = vec![0; DATAGRAM_MAX];
                    while let Ok((length, _)) = back.recv_from(&mut buffer).await {
                        here.pass(buffer.get(..length).unwrap_or_default()).await;
                    }
                });
                place.insert(there)
            }
        };
        lane.pass(buffer.get(..length).unwrap_or_default()).await;
    }
}

/// One direction: datagrams leave in the order they came.
struct Lane {
    socket: Arc<UdpSocket>,
    to: SocketAddr,
    way: Way,
    under_way: mpsc::Sender<(Instant, Vec<u8>)>,
}

impl Lane {
    fn new(socket: Arc<UdpSocket>, to: SocketAddr, way: Way, tasks: &mut JoinSet<()>) -> Lane {
        let (under_way, mut waiting) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY_MAX);
        let out = socket.clone();
        tasks.spawn(async move {
            while let Some((due, datagram)) = waiting.recv().await {
                sleep_until(due).await;
                drop(out.send_to(&datagram, to).await); // lost, as on any link
            }
        });
        Lane { socket, to, way, under_way }
    }

    async fn pass(&self, datagram: &[u8]) {
        let bytes = HEADER_BYTES + datagram.len() as u64;
        self.way.bytes.fetch_add(bytes, Ordering::Relaxed);
        match self.way.delay_us.load(Ordering::Relaxed) {
            0 => drop(self.socket.send_to(datagram, self.to).await),
            delay => drop(self.under_way.try_send((Instant::now() + Duration::from_micros(delay), datagram.to_vec()))),
        }
    }
}

fn failed(error: impl std::fmt::Display) -> Failure {
    broken("the slow link").why(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_a_loopback_address_is_found() {
        let addr = [&LOOPBACK_UDP[..], &[0x1f, 0x90, 0xcd, 0x03]].concat();
        assert_eq!(port(&addr), Some(8_080));
        assert_eq!(port(&addr[..8]), None);
        assert_eq!(port(&[0x04, 10, 0, 0, 1, 0x91, 0x02, 1, 1, 0xcd, 0x03]), None);
    }
}
