//! The DHT as the engine uses it: publish and find blinded records, and who is let into the routing table.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;

use libp2p::kad::store::RecordStore as _;
use libp2p::kad::{self, GetRecordOk, InboundRequest, Mode, QueryId, QueryResult, Quorum, Record, RecordKey};
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId, identify};
use silbo_protocol::limits::ADDRESSES_PER_PEER_MAX;

use super::address::{Place, ip, place, without_peer};
use super::behaviour::KAD_PROTOCOL;
use super::driver::Driver;
use super::reach::Source;
use super::settings::DhtMode;
use super::snapshot::NatStatus;
use crate::link::LinkEvent;

/// Lookups at a time; more wait.
const LOOKUPS_MAX: usize = 32;
/// Lookups that wait; more push out the oldest.
const WAITING_MAX: usize = 1_024;
/// Records kept for another try because nobody has taken them.
const UNPUBLISHED_MAX: usize = 64;
/// Valid answers after which a lookup ends: one from each disjoint path.
const ANSWERS_ENOUGH: usize = 3;
/// Peers of one network in a bucket (T-42).
const PER_NETWORK_IN_BUCKET_MAX: usize = 2;
/// Relays whose DHT we join; far more than are in use.
const RELAYS_REMEMBERED_MAX: usize = 256;

/// Queries under way.
#[derive(Debug, Default)]
pub(super) struct Dht {
    lookups: HashMap<QueryId, Lookup>,
    waiting: VecDeque<[u8; 32]>,
    puts: HashMap<QueryId, [u8; 32]>,
    unpublished: BTreeMap<[u8; 32], Vec<u8>>,
    relays: BTreeSet<PeerId>,
}

#[derive(Debug)]
struct Lookup {
    key: [u8; 32],
    answers: usize,
    /// The newest sequence handed on.
    newest: Option<u64>,
}

impl Dht {
    /// A peer dialled as relay is welcome in the routing table at the address we reached it.
    pub(super) fn remember_relay(&mut self, peer: PeerId) {
        if self.relays.len() < RELAYS_REMEMBERED_MAX {
            self.relays.insert(peer);
        }
    }
}

impl Driver {
    /// Stores a record at the DHT servers nearest to its key, at once or as soon as one is known.
    pub(super) fn publish_record(&mut self, key: [u8; 32], value: Vec<u8>) {
        if self.swarm.behaviour_mut().kad.inner.store_mut().judge(&key, &value).is_none() {
            tracing::warn!("our own record is not valid and is not published");
            return;
        }
        let record = Record::new(key.to_vec(), value.clone());
        match self.swarm.behaviour_mut().kad.inner.put_record(record, Quorum::One) {
            Ok(query) => {
                self.dht.puts.insert(query, key);
                if self.dht.unpublished.len() >= UNPUBLISHED_MAX {
                    self.dht.unpublished.pop_first();
                }
                self.dht.unpublished.insert(key, value);
            }
            Err(error) => tracing::debug!(%error, "our record was not stored"),
        }
    }

    /// Starts a lookup, or queues it.
    pub(super) fn find_record(&mut self, key: [u8; 32]) {
        if self.dht.lookups.values().any(|lookup| lookup.key == key) || self.dht.waiting.contains(&key) {
            return;
        }
        if self.dht.lookups.len() >= LOOKUPS_MAX {
            if self.dht.waiting.len() >= WAITING_MAX {
                self.dht.waiting.pop_front();
            }
            self.dht.waiting.push_back(key);
            return;
        }
        let query = self.swarm.behaviour_mut().kad.inner.get_record(RecordKey::new(&key));
        self.dht.lookups.insert(query, Lookup { key, answers: 0, newest: None });
    }

    pub(super) fn on_kad_event(&mut self, event: kad::Event) {
        match event {
            kad::Event::InboundRequest { request: InboundRequest::PutRecord { record: Some(mut record), .. } } => {
                record.publisher = None;
                if let Err(error) = self.swarm.behaviour_mut().kad.inner.store_mut().put(record) {
                    tracing::debug!(%error, "a record was refused");
                }
            }
            kad::Event::OutboundQueryProgressed { id, result, step, .. } => match result {
                QueryResult::GetRecord(result) => {
                    if let Ok(GetRecordOk::FoundRecord(found)) = result {
                        self.on_found(id, &found.record);
                    }
                    if step.last {
                        self.end_lookup(id);
                    }
                }
                QueryResult::PutRecord(result) if step.last => {
                    if let Some(key) = self.dht.puts.remove(&id)
                        && result.is_ok()
                    {
                        self.dht.unpublished.remove(&key);
                    }
                }
                QueryResult::Bootstrap(_) if step.last => self.publish_left_over(),
                _ => {}
            },
            kad::Event::RoutingUpdated { is_new_peer: true, .. } => {
                self.publish_left_over();
                self.announce_soon();
            }
            _ => {}
        }
    }

    /// Tries records that nobody has taken yet, now that somebody may be there.
    fn publish_left_over(&mut self) {
        let busy: BTreeSet<[u8; 32]> = self.dht.puts.values().copied().collect();
        let left: Vec<_> = self.dht.unpublished.iter().filter(|(key, _)| !busy.contains(*key)).collect();
        let left: Vec<_> = left.into_iter().map(|(key, value)| (*key, value.clone())).collect();
        for (key, value) in left {
            self.publish_record(key, value);
        }
    }

    fn on_found(&mut self, query: QueryId, record: &Record) {
        let kad = &mut self.swarm.behaviour_mut().kad.inner;
        let judged = kad.store_mut().judge(record.key.as_ref(), &record.value);
        let Some(lookup) = self.dht.lookups.get_mut(&query) else {
            return;
        };
        let Some((_, seq)) = judged.filter(|(key, _)| *key == lookup.key) else {
            tracing::debug!("the DHT answered with an invalid record");
            return;
        };
        lookup.answers = lookup.answers.saturating_add(1);
        let news = lookup.newest.is_none_or(|newest| newest < seq);
        if lookup.answers >= ANSWERS_ENOUGH
            && let Some(mut query) = kad.query_mut(&query)
        {
            query.finish();
        }
        if news {
            lookup.newest = Some(seq);
            let key = lookup.key;
            self.push(LinkEvent::Record { key, value: record.value.clone() });
        }
    }

    fn end_lookup(&mut self, query: QueryId) {
        self.dht.lookups.remove(&query);
        if let Some(key) = self.dht.waiting.pop_front() {
            self.find_record(key);
        }
    }

    /// A peer said what it speaks and where it listens: DHT servers enter the routing table.
    pub(super) fn on_identified(&mut self, peer: PeerId, connection: ConnectionId, info: &identify::Info) {
        if !info.protocols.contains(&KAD_PROTOCOL) {
            return;
        }
        let mut addrs: Vec<Multiaddr> = info
            .listen_addrs
            .iter()
            .take(4 * ADDRESSES_PER_PEER_MAX)
            .filter_map(|addr| without_peer(addr.clone(), &peer))
            .filter(|addr| self.reach.allows(addr, Source::Stranger))
            .take(ADDRESSES_PER_PEER_MAX)
            .collect();
        let trusted = self.dht.relays.contains(&peer);
        if let Some(known) = self.connections.get(&connection)
            && known.dialled
            && let Some(addr) = without_peer(known.remote.clone(), &peer)
            && (trusted || self.reach.allows(&addr, Source::Stranger))
        {
            addrs.retain(|other| *other != addr);
            addrs.insert(0, addr);
        }
        if addrs.is_empty() || !(trusted || self.adds_variety(peer, &addrs)) {
            return;
        }
        let kad = &mut self.swarm.behaviour_mut().kad.inner;
        for addr in addrs {
            kad.add_address(&peer, addr);
        }
    }

    /// T-42: a bucket holds few peers of one network, or whoever owns a network owns the bucket.
    fn adds_variety(&mut self, peer: PeerId, addrs: &[Multiaddr]) -> bool {
        let networks: BTreeSet<Vec<u8>> = addrs.iter().filter_map(network).collect();
        let Some(bucket) = self.swarm.behaviour_mut().kad.inner.kbucket(peer) else {
            return false;
        };
        let crowded = |wanted: &Vec<u8>| {
            let same = bucket.iter().filter(|entry| {
                *entry.node.key.preimage() != peer && entry.node.value.iter().filter_map(network).any(|n| n == *wanted)
            });
            same.count() >= PER_NETWORK_IN_BUCKET_MAX
        };
        !networks.iter().any(crowded)
    }

    /// Answers DHT queries or only asks, as the settings and our reachability say.
    pub(super) fn review_dht_mode(&mut self) -> bool {
        let serves = match self.settings.dht_server {
            DhtMode::On => true,
            DhtMode::Off => false,
            DhtMode::Auto => self.settings.relay_server || self.nat == NatStatus::Public,
        };
        let mode = if serves { Mode::Server } else { Mode::Client };
        let kad = &mut self.swarm.behaviour_mut().kad.inner;
        // Set even if it is the same: libp2p would otherwise switch by itself, for a mere circuit address too.
        if self.dht_mode_set != Some(serves) {
            self.dht_mode_set = Some(serves);
            kad.set_mode(Some(mode));
        }
        serves
    }
}

/// The network a public address belongs to: /24 for IPv4, /48 for IPv6. Private ones are not counted.
fn network(addr: &Multiaddr) -> Option<Vec<u8>> {
    let ip = ip(addr).filter(|ip| place(*ip) == Place::Internet)?;
    Some(match ip {
        IpAddr::V4(ip) => ip.octets().iter().take(3).copied().collect(),
        IpAddr::V6(ip) => ip.octets().iter().take(6).copied().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t42_addresses_of_one_network_are_recognised() {
        let case = |text: &str| network(&text.parse().expect("a multiaddr"));
        assert_eq!(case("/ip4/198.51.100.1/tcp/1"), case("/ip4/198.51.100.250/udp/9/quic-v1"));
        assert_ne!(case("/ip4/198.51.100.1/tcp/1"), case("/ip4/198.51.101.1/tcp/1"));
        assert_eq!(case("/ip6/2001:db8:1::1/tcp/1"), case("/ip6/2001:db8:1:ffff::1/tcp/1"));
        assert_eq!(case("/ip4/192.168.1.1/tcp/1"), None);
        assert_eq!(case("/dns4/example.org/tcp/1"), None);
    }
}
