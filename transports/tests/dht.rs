//! The DHT between nodes on this machine: valid records are found, others never stored.

mod support;

use std::time::Duration;

use futures::StreamExt as _;
use libp2p::kad::store::MemoryStore;
use libp2p::kad::{self, GetRecordOk, QueryResult, Quorum, Record, RecordKey};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, StreamProtocol, SwarmBuilder, noise, yamux};
use silbo_transports::internet::{InternetSettings, multiaddr_text};
use silbo_transports::{LinkCommand, LinkEvent};
use support::{Node, PATIENCE, QUIC, TCP, settings};
use tokio::time::timeout;

/// A stand-in for the engine's rule: `v`, sequence, first byte of the key, and "not expired".
fn validate(key: &[u8; 32], value: &[u8], _: u64) -> Option<u64> {
    match value {
        [b'v', seq, owner, b'!', ..] if owner == &key[0] => Some(u64::from(*seq)),
        _ => None,
    }
}

fn dht(listen: &str) -> InternetSettings {
    InternetSettings { validate, ..settings(listen) }
}

async fn record(node: &mut Node) -> ([u8; 32], Vec<u8>) {
    node.wait("record", |event| match event {
        LinkEvent::Record { key, value } => Some((key, value)),
        _ => None,
    })
    .await
}

async fn join(node: &mut Node, server: &Node) {
    node.command(LinkCommand::Dial { address: server.address.clone(), relay: true }).await;
    node.see("the DHT server", |snapshot| snapshot.dht_peers > 0).await;
}

#[tokio::test]
async fn a_record_is_found_by_a_node_that_only_knows_the_server() {
    let server = Node::start(InternetSettings { relay_server: true, ..dht(QUIC) }).await;
    let (mut a, mut b) = (Node::start(dht(QUIC)).await, Node::start(dht(QUIC)).await);
    join(&mut a, &server).await;
    join(&mut b, &server).await;
    let (key, value) = ([1; 32], vec![b'v', 1, 1, b'!']);
    a.command(LinkCommand::PublishRecord { key, value: value.clone() }).await;
    // The put may still be on its way when the first lookups come back empty.
    let found = async {
        loop {
            b.command(LinkCommand::FindRecord { key }).await;
            if let Ok(found) = timeout(Duration::from_millis(500), record(&mut b)).await {
                return found;
            }
        }
    };
    assert_eq!(timeout(PATIENCE, found).await.expect("found in time"), (key, value));
    assert!(server.net.snapshot.borrow().dht_server);
    assert!(!a.net.snapshot.borrow().dht_server, "a node that is not public only asks");
    for node in [a, b, server] {
        node.net.stop().await;
    }
}

#[tokio::test]
async fn a_record_published_before_any_server_is_known_is_published_when_one_appears() {
    let server = Node::start(InternetSettings { relay_server: true, ..dht(QUIC) }).await;
    let (mut a, mut b) = (Node::start(dht(QUIC)).await, Node::start(dht(QUIC)).await);
    let (key, value) = ([2; 32], vec![b'v', 1, 2, b'!']);
    a.command(LinkCommand::PublishRecord { key, value: value.clone() }).await;
    join(&mut a, &server).await;
    join(&mut b, &server).await;
    let found = async {
        loop {
            b.command(LinkCommand::FindRecord { key }).await;
            if let Ok(found) = timeout(Duration::from_millis(500), record(&mut b)).await {
                return found;
            }
        }
    };
    assert_eq!(timeout(PATIENCE, found).await.expect("found in time"), (key, value));
    for node in [a, b, server] {
        node.net.stop().await;
    }
}

/// A libp2p node that puts whatever it likes.
struct Forger {
    swarm: libp2p::Swarm<kad::Behaviour<MemoryStore>>,
}

impl Forger {
    async fn connect(server: &Node) -> Self {
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(Default::default(), noise::Config::new, yamux::Config::default)
            .expect("TCP")
            .with_behaviour(|key| {
                let mut config = kad::Config::new(StreamProtocol::new("/silbo/kad/1"));
                config.set_max_packet_size(1 << 20);
                let local = key.public().to_peer_id();
                kad::Behaviour::with_config(local, MemoryStore::new(local), config)
            })
            .expect("a behaviour")
            .build();
        let target = PeerId::from_bytes(&server.key().0).expect("a peer id");
        let addr: Multiaddr = multiaddr_text(&server.address.addrs[0]).expect("text").parse().expect("an address");
        swarm.behaviour_mut().add_address(&target, addr);
        Self { swarm }
    }

    /// Puts at the server, and waits until it has answered or hung up.
    async fn put(&mut self, key: &[u8], value: Vec<u8>) {
        let target: Vec<PeerId> = self
            .swarm
            .behaviour_mut()
            .kbuckets()
            .flat_map(|bucket| bucket.iter().map(|entry| *entry.node.key.preimage()).collect::<Vec<_>>())
            .collect();
        let record = Record::new(key.to_vec(), value);
        let query = self.swarm.behaviour_mut().put_record_to(record, target.into_iter(), Quorum::One);
        let done = async {
            loop {
                if let SwarmEvent::Behaviour(kad::Event::OutboundQueryProgressed { id, step, .. }) =
                    self.swarm.select_next_some().await
                    && id == query
                    && step.last
                {
                    return;
                }
            }
        };
        timeout(PATIENCE, done).await.expect("the put ends");
    }

    /// What the server returns.
    async fn get(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        let query = self.swarm.behaviour_mut().get_record(RecordKey::new(&key));
        let answer = async {
            let mut found = None;
            loop {
                if let SwarmEvent::Behaviour(kad::Event::OutboundQueryProgressed {
                    id,
                    result: QueryResult::GetRecord(result),
                    step,
                    ..
                }) = self.swarm.select_next_some().await
                    && id == query
                {
                    if let Ok(GetRecordOk::FoundRecord(record)) = result {
                        found = Some(record.record.value);
                    }
                    if step.last {
                        return found;
                    }
                }
            }
        };
        timeout(PATIENCE, answer).await.expect("the get ends")
    }
}

#[tokio::test]
async fn t40_invalid_records_are_never_stored_nor_returned() {
    let server = Node::start(InternetSettings { relay_server: true, ..dht(TCP) }).await;
    let mut forger = Forger::connect(&server).await;
    let key = [4; 32];
    let good = vec![b'v', 5, 4, b'!'];
    forger.put(&key, good.clone()).await;
    assert_eq!(forger.get(&key).await, Some(good.clone()), "the forger can put what is valid");

    for (what, value) in [
        ("unsigned", b"hello".to_vec()),
        ("signed by another key", vec![b'v', 9, 5, b'!']),
        ("an older sequence", vec![b'v', 4, 4, b'!']),
        ("expired", vec![b'v', 9, 4, b'?']),
        ("65 KiB", [&[b'v', 9, 4, b'!'][..], &[0; 65 * 1024]].concat()),
        ("over the limit by one", [&[b'v', 9, 4, b'!'][..], &[0; 1_021]].concat()),
    ] {
        forger.put(&key, value).await;
        assert_eq!(forger.get(&key).await, Some(good.clone()), "{what}");
    }
    let elsewhere = [6; 32];
    forger.put(&elsewhere, good.clone()).await;
    assert_eq!(forger.get(&elsewhere).await, None, "valid, but for another key");
    forger.put(&[4; 31], good.clone()).await;
    assert_eq!(forger.get(&[4; 31]).await, None, "a key of another length");

    let newer = vec![b'v', 6, 4, b'!'];
    forger.put(&key, newer.clone()).await;
    assert_eq!(forger.get(&key).await, Some(newer), "a newer sequence replaces it");
    server.net.stop().await;
}

#[tokio::test]
async fn our_own_invalid_record_is_not_published() {
    let server = Node::start(InternetSettings { relay_server: true, ..dht(TCP) }).await;
    let mut a = Node::start(dht(TCP)).await;
    join(&mut a, &server).await;
    a.command(LinkCommand::PublishRecord { key: [7; 32], value: b"bad".to_vec() }).await;
    a.command(LinkCommand::PublishRecord { key: [7; 32], value: vec![b'v', 1, 7, b'!'] }).await;
    a.command(LinkCommand::FindRecord { key: [7; 32] }).await;
    assert_eq!(record(&mut a).await, ([7; 32], vec![b'v', 1, 7, b'!']));
    a.net.stop().await;
    server.net.stop().await;
}
