//! Addresses of peers that could be reached once, so that a restarted node finds its way without asking anybody.

use std::sync::Arc;

use silbo_protocol::ids::{PeerAddress, PeerKey};
use silbo_protocol::limits::ADDRESSES_PER_PEER_MAX;
use silbo_protocol::time::{DAY_MS, UnixTime};

use super::{SPOOL_KEY_BYTES_MAX, Space, Spool, SpoolError, SpoolRecord};

/// How long a peer that was reached is remembered.
const KEEP_REACHED_MS: u64 = 30 * DAY_MS;
/// How long a peer that never was reached is remembered.
const KEEP_UNREACHED_MS: u64 = DAY_MS;
/// Longest address kept.
const ADDRESS_BYTES_MAX: usize = 512;
/// Peers looked at when the best are chosen.
const PEERS_MAX: usize = 20_000;
const VERSION: u8 = 1;

/// The peers in a spool.
#[derive(Clone)]
pub struct PeerCache {
    spool: Arc<dyn Spool>,
}

/// What is remembered of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedPeer {
    /// Where it was reached.
    pub address: PeerAddress,
    /// How often it was reached.
    pub successes: u32,
    /// How often it was not, since it last was.
    pub failures: u32,
    /// When it was last reached; 0 if never.
    pub reached_at: UnixTime,
}

impl PeerCache {
    /// The peers in this spool.
    #[must_use]
    pub fn new(spool: Arc<dyn Spool>) -> PeerCache {
        PeerCache { spool }
    }

    /// Notes that a peer was (not) reached. Addresses replace what was known, unless there are none.
    ///
    /// # Errors
    /// When the spool cannot be used.
    pub fn remember(&self, address: &PeerAddress, reached: bool, now: UnixTime) -> Result<(), SpoolError> {
        let key = &address.peer.0;
        if key.is_empty() || key.len() > SPOOL_KEY_BYTES_MAX {
            return Ok(());
        }
        let stored = self.spool.get(Space::Peer, key, now)?;
        let mut peer = stored.and_then(|bytes| decode(key, &bytes)).unwrap_or_else(|| CachedPeer {
            address: PeerAddress { peer: address.peer.clone(), addrs: Vec::new() },
            successes: 0,
            failures: 0,
            reached_at: UnixTime(0),
        });
        if !address.addrs.is_empty() {
            peer.address.addrs = address.addrs.clone();
        }
        if reached {
            peer.successes = peer.successes.saturating_add(1);
            peer.failures = 0;
            peer.reached_at = now;
        } else {
            peer.failures = peer.failures.saturating_add(1);
        }
        let expires_at = if peer.successes > 0 {
            peer.reached_at.after_ms(KEEP_REACHED_MS)
        } else {
            now.after_ms(KEEP_UNREACHED_MS)
        };
        let record = SpoolRecord { space: Space::Peer, key: key.clone(), value: encode(&peer), expires_at };
        self.spool.put_batch(&[record])
    }

    /// What is known of one peer.
    ///
    /// # Errors
    /// When the spool cannot be used.
    pub fn recall(&self, peer: &PeerKey, now: UnixTime) -> Result<Option<CachedPeer>, SpoolError> {
        Ok(self.spool.get(Space::Peer, &peer.0, now)?.and_then(|bytes| decode(&peer.0, &bytes)))
    }

    /// The peers most worth a try, best first: fewest failures since they were reached, then reached last.
    ///
    /// # Errors
    /// When the spool cannot be used.
    pub fn best(&self, limit: usize, now: UnixTime) -> Result<Vec<CachedPeer>, SpoolError> {
        let pairs = self.spool.scan(Space::Peer, &[], None, now, PEERS_MAX)?;
        let mut peers: Vec<CachedPeer> = pairs.iter().filter_map(|(key, value)| decode(key, value)).collect();
        peers.sort_by_key(|peer| (peer.successes == 0, peer.failures, std::cmp::Reverse(peer.reached_at)));
        peers.truncate(limit);
        Ok(peers)
    }
}

fn encode(peer: &CachedPeer) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&peer.successes.to_be_bytes());
    bytes.extend_from_slice(&peer.failures.to_be_bytes());
    bytes.extend_from_slice(&peer.reached_at.0.to_be_bytes());
    let usable = peer.address.addrs.iter().filter(|addr| addr.len() <= ADDRESS_BYTES_MAX);
    for addr in usable.take(ADDRESSES_PER_PEER_MAX) {
        bytes.extend_from_slice(&(addr.len() as u16).to_be_bytes());
        bytes.extend_from_slice(addr);
    }
    bytes
}

/// `None` for what another version wrote or a damaged disk made of it: the peer is learned anew.
fn decode(key: &[u8], bytes: &[u8]) -> Option<CachedPeer> {
    let (&version, rest) = bytes.split_first()?;
    let (successes, rest) = rest.split_first_chunk()?;
    let (failures, rest) = rest.split_first_chunk()?;
    let (reached_at, mut rest) = rest.split_first_chunk()?;
    let mut addrs = Vec::new();
    while let Some((length, tail)) = rest.split_first_chunk() {
        let (addr, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        addrs.push(addr.to_vec());
        rest = tail;
    }
    (version == VERSION && rest.is_empty() && addrs.len() <= ADDRESSES_PER_PEER_MAX).then(|| CachedPeer {
        address: PeerAddress { peer: PeerKey(key.to_vec()), addrs },
        successes: u32::from_be_bytes(*successes),
        failures: u32::from_be_bytes(*failures),
        reached_at: UnixTime(u64::from_be_bytes(*reached_at)),
    })
}
