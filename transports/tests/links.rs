//! Links between two nodes on this machine.

mod support;

use silbo_protocol::ids::{PeerAddress, PeerKey};
use silbo_protocol::input::Route;
use silbo_protocol::limits::FRAME_BYTES_MAX;
use silbo_transports::internet::{StartError, multiaddr_text, parse_multiaddr_with_peer, peer_text, start};
use silbo_transports::{LinkCommand, LinkEvent};
use support::{Node, QUIC, TCP, linked, settings};

async fn exchange_frames(listen: &str) {
    let (mut a, a_link, mut b, b_link) = linked(settings(listen), settings(listen)).await;
    a.frame(a_link, b"hello").await;
    assert_eq!(b.next_frame().await, (b_link, b"hello".to_vec()));
    b.frame(b_link, b"").await;
    assert_eq!(a.next_frame().await, (a_link, Vec::new()));
    let large = vec![7; FRAME_BYTES_MAX];
    b.frame(b_link, &large).await;
    assert_eq!(a.next_frame().await, (a_link, large));
    for i in 0..200u8 {
        a.frame(a_link, &[i]).await;
    }
    for i in 0..200u8 {
        assert_eq!(b.next_frame().await.1, [i]);
    }
    a.net.stop().await;
    assert_eq!(b.down().await, b_link);
    b.net.stop().await;
}

#[tokio::test]
async fn two_nodes_exchange_frames_over_quic() {
    exchange_frames(QUIC).await;
}

#[tokio::test]
async fn two_nodes_exchange_frames_over_tcp() {
    exchange_frames(TCP).await;
}

#[tokio::test]
async fn a_program_with_our_port_on_another_address_does_not_stop_our_dials() {
    let mut a = Node::start(settings(TCP)).await;
    let b = Node::start(settings(TCP)).await;
    let _other = std::net::TcpListener::bind(("127.0.0.2", b.tcp_port())).expect("the other address is free");
    b.dial(&a.address).await;
    assert_eq!(a.up().await.1, b.key());
    a.net.stop().await;
    b.net.stop().await;
}

#[tokio::test]
async fn a_link_on_this_machine_is_local_and_shows_in_the_snapshot() {
    let (mut a, _, b, _) = linked(settings(QUIC), settings(QUIC)).await;
    let snapshot = a.see("the link", |snapshot| !snapshot.peers.is_empty()).await;
    assert_eq!(snapshot.peers[0].peer, b.key());
    assert_eq!(snapshot.peers[0].route, Route::Local);
    assert!(snapshot.peers[0].connected_at > 0);
    assert!(snapshot.listen[0].starts_with("/ip4/127.0.0.1/udp/"));
    a.net.stop().await;
    b.net.stop().await;
}

#[tokio::test]
async fn a_simultaneous_dial_yields_exactly_one_link() {
    for round in 0..10 {
        let listen = if round % 2 == 0 { QUIC } else { TCP };
        let (mut a, mut b) = (Node::start(settings(listen)).await, Node::start(settings(listen)).await);
        let (a_address, b_address) = (a.address.clone(), b.address.clone());
        tokio::join!(a.dial(&b_address), b.dial(&a_address));
        let ((a_link, ..), (b_link, ..)) = tokio::join!(a.up(), b.up());
        // A frame each way over these very links, and nothing went down or up meanwhile.
        a.frame(a_link, b"from a").await;
        b.frame(b_link, b"from b").await;
        for (node, link, text) in [(&mut a, a_link, "from b"), (&mut b, b_link, "from a")] {
            let event = node
                .wait("frame", |event| match event {
                    LinkEvent::OwnAddress { .. } | LinkEvent::Health(_) => None,
                    other => Some(other),
                })
                .await;
            assert_eq!(event, LinkEvent::Frame { link, bytes: text.into() }, "round {round}");
        }
        a.net.stop().await;
        b.net.stop().await;
    }
}

#[tokio::test]
async fn closing_a_link_takes_it_down_at_both_ends_and_it_can_be_dialled_again() {
    let (mut a, a_link, mut b, b_link) = linked(settings(QUIC), settings(QUIC)).await;
    a.command(LinkCommand::Close { link: a_link }).await;
    assert_eq!(a.down().await, a_link);
    assert_eq!(b.down().await, b_link);
    b.dial(&a.address).await;
    let (again, ..) = b.up().await;
    assert_ne!(again, b_link, "link names are never reused");
    a.up().await;
    a.net.stop().await;
    b.net.stop().await;
}

#[tokio::test]
async fn a_peer_that_moved_and_dials_again_replaces_its_old_link() {
    let seed = Some([9; 32]);
    let mut a = Node::start(settings(TCP)).await;
    let first = Node::start(support_with_seed(seed)).await;
    first.dial(&a.address).await;
    let (old, ..) = a.up().await;
    // The same key from elsewhere, while the old connection still looks alive.
    let second = Node::start(support_with_seed(seed)).await;
    second.dial(&a.address).await;
    let mut order = Vec::new();
    a.wait("replacement", |event| match event {
        LinkEvent::Down { link } => {
            order.push(("down", link));
            None
        }
        LinkEvent::Up { link, .. } => {
            order.push(("up", link));
            Some(())
        }
        _ => None,
    })
    .await;
    assert_eq!(order[0], ("down", old));
    assert_eq!(order.len(), 2);
    for node in [a, first, second] {
        node.net.stop().await;
    }
}

fn support_with_seed(identity_seed: Option<[u8; 32]>) -> silbo_transports::internet::InternetSettings {
    silbo_transports::internet::InternetSettings { identity_seed, ..settings(TCP) }
}

#[tokio::test]
async fn a_second_dial_of_a_linked_peer_changes_nothing() {
    let (mut a, a_link, mut b, b_link) = linked(settings(QUIC), settings(QUIC)).await;
    a.dial(&b.address).await;
    b.dial(&a.address).await;
    a.frame(a_link, b"still here").await;
    assert_eq!(b.next_frame().await, (b_link, b"still here".to_vec()));
    b.frame(b_link, b"here too").await;
    assert_eq!(a.next_frame().await, (a_link, b"here too".to_vec()));
    a.net.stop().await;
    b.net.stop().await;
}

#[tokio::test]
async fn a_dial_that_cannot_work_fails() {
    let mut a = Node::start(settings(TCP)).await;
    let gone = Node::start(settings(TCP)).await;
    let refused = gone.address.clone();
    gone.net.stop().await;
    let nonsense = PeerAddress { peer: PeerKey(vec![1, 2, 3]), addrs: Vec::new() };
    let nowhere = PeerAddress { peer: support_key(), addrs: Vec::new() };
    let ourselves = a.address.clone();
    for address in [refused, nonsense, nowhere, ourselves] {
        a.dial(&address).await;
        let failed = a.wait("failure", |event| match event {
            LinkEvent::DialFailed { peer } => Some(peer),
            _ => None,
        });
        assert_eq!(failed.await, address.peer);
    }
    a.net.stop().await;
}

#[tokio::test]
async fn an_address_learned_while_a_dial_hangs_is_tried_at_once() {
    let (mut a, b) = (Node::start(settings(QUIC)).await, Node::start(settings(QUIC)).await);
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket that never answers");
    let port = silent.local_addr().expect("bound").port();
    let text = format!("/ip4/127.0.0.1/udp/{port}/quic-v1/p2p/{}", peer_text(&b.key()));
    let stale = parse_multiaddr_with_peer(&text).expect("valid");
    a.dial(&stale).await;
    a.dial(&b.address).await;
    let linked = a.wait("link", |event| match event {
        LinkEvent::Up { peer, .. } => Some(peer),
        LinkEvent::DialFailed { .. } => panic!("waited for the address that leads nowhere"),
        _ => None,
    });
    assert_eq!(linked.await, b.key());
    a.net.stop().await;
    b.net.stop().await;
}

fn support_key() -> PeerKey {
    silbo_transports::internet::parse_peer("12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN").expect("a peer id")
}

#[tokio::test]
async fn a_dial_of_the_wrong_key_fails() {
    let mut a = Node::start(settings(QUIC)).await;
    let b = Node::start(settings(QUIC)).await;
    let wrong = PeerAddress { peer: support_key(), addrs: b.address.addrs.clone() };
    a.dial(&wrong).await;
    let failed = a.wait("failure", |event| match event {
        LinkEvent::DialFailed { peer } => Some(peer),
        LinkEvent::Up { .. } => panic!("linked to somebody else"),
        _ => None,
    });
    assert_eq!(failed.await, support_key());
    a.net.stop().await;
    b.net.stop().await;
}

#[tokio::test]
async fn a_link_whose_reader_stopped_is_closed_when_its_queue_is_full() {
    let (mut a, a_link, b, _) = linked(settings(TCP), settings(TCP)).await;
    // Nobody reads b's events: its channel fills, then the stream's window, then a's queue.
    let large = vec![1; FRAME_BYTES_MAX];
    let commands = a.net.commands.clone();
    let flood = tokio::spawn(async move {
        while commands.send(LinkCommand::Frame { link: a_link, bytes: large.clone() }).await.is_ok() {}
    });
    assert_eq!(a.down().await, a_link);
    a.net.stop().await;
    flood.await.expect("the flood ends with the node");
    b.net.stop().await;
}

#[tokio::test]
async fn an_address_is_binary_without_the_peer() {
    let node = Node::start(settings(QUIC)).await;
    assert_eq!(node.address.peer, node.key());
    let text = multiaddr_text(&node.address.addrs[0]).expect("a multiaddr");
    assert!(text.starts_with("/ip4/127.0.0.1/udp/") && text.ends_with("/quic-v1"), "{text}");
    node.net.stop().await;
}

#[tokio::test]
async fn a_seed_keeps_the_key_and_no_seed_makes_a_new_one() {
    let mut keys = Vec::new();
    for seed in [Some([7; 32]), Some([7; 32]), None, None] {
        let node = Node::start(support_with_seed(seed)).await;
        keys.push(node.key());
        node.net.stop().await;
    }
    assert_eq!(keys[0], keys[1]);
    assert_ne!(keys[1], keys[2]);
    assert_ne!(keys[2], keys[3]);
}

#[tokio::test]
async fn a_node_that_cannot_listen_says_why() {
    assert!(matches!(start(settings("hello")).await, Err(StartError::BadAddress(_))));
    assert!(matches!(start(settings("/ip4/192.0.2.1/tcp/1")).await, Err(StartError::Listen { .. })));
}

/// Runs two linked nodes in a runtime of their own and returns how many tasks are left after `end`.
fn tasks_left(end: impl AsyncFnOnce(Node, Node)) -> usize {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let busy = silbo_transports::internet::InternetSettings {
            listen: vec![QUIC.to_owned(), TCP.to_owned()],
            mdns: true,
            upnp: true,
            relay_server: true,
            ..settings(QUIC)
        };
        let (a, _, b, _) = linked(busy.clone(), busy).await;
        end(a, b).await;
        let deadline = std::time::Instant::now() + support::PATIENCE;
        let metrics = tokio::runtime::Handle::current().metrics();
        while metrics.num_alive_tasks() > 0 && std::time::Instant::now() < deadline {
            tokio::task::yield_now().await;
        }
        metrics.num_alive_tasks()
    })
}

#[test]
fn stop_leaves_no_task_running() {
    let left = tasks_left(async |a, b| {
        a.net.stop().await;
        b.net.stop().await;
    });
    assert_eq!(left, 0);
}

#[test]
fn a_dropped_node_leaves_no_task_running() {
    let left = tasks_left(async |a, b| drop((a, b)));
    assert_eq!(left, 0);
}
