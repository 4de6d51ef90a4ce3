//! Links through a relay, and their replacement by direct ones.

mod support;

use silbo_protocol::input::Route;
use silbo_transports::LinkCommand;
use silbo_transports::internet::{InternetSettings, multiaddr_text};
use support::{Node, QUIC, TCP, own_address, settings};

fn relay(listen: &str) -> InternetSettings {
    InternetSettings { relay_server: true, identity_seed: Some([3; 32]), ..settings(listen) }
}

/// A node behind a relay that can be reached through it alone.
async fn behind(relay: &Node, settings: InternetSettings) -> Node {
    let mut node = Node::start(InternetSettings { listen: Vec::new(), ..settings }).await;
    node.command(LinkCommand::ReserveCircuit { address: relay.address.clone() }).await;
    node.address = own_address(&mut node.net, |address| !address.addrs.is_empty()).await;
    let text = multiaddr_text(&node.address.addrs[0]).expect("an address");
    assert!(text.ends_with("/p2p-circuit"), "{text}");
    node
}

async fn exchange_through_a_relay(listen: &str) {
    let relay = Node::start(relay(listen)).await;
    let still = InternetSettings { hole_punching: false, ..settings(listen) };
    let mut b = behind(&relay, still.clone()).await;
    let mut a = Node::start(InternetSettings { listen: Vec::new(), ..still }).await;
    // a has no listener of its own: it knows b only through the relay, whom it dials as a relay.
    a.command(LinkCommand::Dial { address: relay.address.clone(), relay: true }).await;
    let (_, peer, _) = a.up().await;
    assert_eq!(peer, relay.key());
    a.dial(&b.address).await;
    let (a_link, peer, route) = a.up().await;
    assert_eq!((peer, route), (b.key(), Route::Circuit));
    let (b_link, peer, route) = b.up().await;
    assert_eq!((peer, route), (a.key(), Route::Circuit));
    a.frame(a_link, &[5; 200_000]).await;
    assert_eq!(b.next_frame().await, (b_link, vec![5; 200_000]));
    b.frame(b_link, b"back").await;
    assert_eq!(a.next_frame().await, (a_link, b"back".to_vec()));
    for node in [a, b, relay] {
        node.net.stop().await;
    }
}

#[tokio::test]
async fn two_nodes_exchange_frames_through_a_relay_over_quic() {
    exchange_through_a_relay(QUIC).await;
}

#[tokio::test]
async fn two_nodes_exchange_frames_through_a_relay_over_tcp() {
    exchange_through_a_relay(TCP).await;
}

#[tokio::test]
async fn a_circuit_link_moves_to_the_direct_path_that_hole_punching_finds() {
    let relay = Node::start(relay(QUIC)).await;
    let mut b = Node::start(settings(QUIC)).await;
    b.command(LinkCommand::ReserveCircuit { address: relay.address.clone() }).await;
    let circuits = |bytes: &Vec<u8>| multiaddr_text(bytes).is_some_and(|text| text.ends_with("/p2p-circuit"));
    let mut address = own_address(&mut b.net, |address| address.addrs.iter().any(circuits)).await;
    address.addrs.retain(circuits);
    let mut a = Node::start(settings(QUIC)).await;
    a.command(LinkCommand::Dial { address: relay.address.clone(), relay: true }).await;
    a.up().await;
    a.dial(&address).await;
    let (first, _, route) = a.up().await;
    assert_eq!(route, Route::Circuit);
    let (second, peer, route) = a.up().await;
    assert_eq!((peer, route), (b.key(), Route::Local));
    assert_ne!(first, second);
    a.frame(second, b"direct").await;
    let arrived = b.wait("frame", |event| match event {
        silbo_transports::LinkEvent::Frame { bytes, .. } => Some(bytes),
        _ => None,
    });
    assert_eq!(arrived.await, b"direct");
    for node in [a, b, relay] {
        node.net.stop().await;
    }
}

#[tokio::test]
async fn a_circuit_is_reserved_again_after_the_relay_came_back() {
    let first = Node::start(relay(TCP)).await;
    let text = multiaddr_text(&first.address.addrs[0]).expect("an address");
    let mut b = behind(&first, settings(TCP)).await;
    first.net.stop().await;
    own_address(&mut b.net, |address| address.addrs.is_empty()).await;
    let again = Node::start(InternetSettings { listen: vec![text], ..relay(TCP) }).await;
    own_address(&mut b.net, |address| !address.addrs.is_empty()).await;
    b.net.stop().await;
    again.net.stop().await;
}
