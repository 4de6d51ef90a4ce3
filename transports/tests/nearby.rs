//! Discovery on the local network. Needs an interface besides loopback and multicast on it.

mod support;

use std::net::{Ipv4Addr, UdpSocket};

use silbo_transports::LinkEvent;
use silbo_transports::internet::{InternetSettings, multiaddr_text};
use support::{Node, settings};

/// The address of an interface on which multicast comes back to this machine.
fn multicast_interface() -> Option<Ipv4Addr> {
    let probe = UdpSocket::bind("0.0.0.0:0").ok()?;
    probe.connect("224.0.0.251:5353").ok()?;
    match probe.local_addr().ok()?.ip() {
        std::net::IpAddr::V4(ip) if !ip.is_loopback() && !ip.is_unspecified() => Some(ip),
        _ => None,
    }
}

#[tokio::test]
async fn two_nodes_on_one_network_find_each_other_and_link() {
    let Some(ip) = multicast_interface() else {
        println!("skipped: no interface with multicast besides loopback");
        return;
    };
    let listen = format!("/ip4/{ip}/udp/0/quic-v1");
    let near = InternetSettings { mdns: true, ..settings(&listen) };
    let (mut a, mut b) = (Node::start(near.clone()).await, Node::start(near).await);
    let wanted = b.key();
    let found = a.wait("neighbour", |event| match event {
        LinkEvent::Nearby { address } if address.peer == wanted => Some(address),
        _ => None,
    });
    let address = found.await;
    let text = multiaddr_text(&address.addrs[0]).expect("an address");
    assert!(text.starts_with(&format!("/ip4/{ip}/")), "{text}");
    a.dial(&address).await;
    a.up().await;
    b.up().await;
    // Links make a node ask less often; it is still found by others.
    let mut late = Node::start(InternetSettings { mdns: true, ..settings(&listen) }).await;
    let wanted = a.key();
    late.wait("neighbour", |event| {
        matches!(event, LinkEvent::Nearby { address } if address.peer == wanted).then_some(())
    })
    .await;
    for node in [a, b, late] {
        node.net.stop().await;
    }
}
