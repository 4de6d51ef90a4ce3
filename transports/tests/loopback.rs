//! The loopback speaks like any medium.

use silbo_protocol::ids::{LinkId, PeerAddress};
use silbo_protocol::limits::FRAME_BYTES_MAX;
use silbo_transports::loopback::{End, pair};
use silbo_transports::{LinkCommand, LinkEvent, LinkIds};

async fn next(end: &mut End) -> LinkEvent {
    loop {
        match end.events.recv().await.expect("the loopback runs") {
            LinkEvent::OwnAddress { .. } => {}
            event => return event,
        }
    }
}

async fn up(end: &mut End) -> LinkId {
    match next(end).await {
        LinkEvent::Up { link, .. } => link,
        other => panic!("expected a link, not {other:?}"),
    }
}

#[tokio::test]
async fn frames_cross_in_both_directions_and_a_closed_link_comes_back() {
    let (mut a, mut b, wire) = pair(LinkIds::default(), LinkIds::default());
    let (a_link, b_link) = (up(&mut a).await, up(&mut b).await);
    a.commands.send(LinkCommand::Frame { link: a_link, bytes: b"to b".to_vec() }).await.expect("runs");
    assert_eq!(next(&mut b).await, LinkEvent::Frame { link: b_link, bytes: b"to b".to_vec() });
    b.commands.send(LinkCommand::Frame { link: b_link, bytes: b"to a".to_vec() }).await.expect("runs");
    assert_eq!(next(&mut a).await, LinkEvent::Frame { link: a_link, bytes: b"to a".to_vec() });

    a.commands.send(LinkCommand::Close { link: a_link }).await.expect("runs");
    assert_eq!(next(&mut a).await, LinkEvent::Down { link: a_link });
    assert_eq!(next(&mut b).await, LinkEvent::Down { link: b_link });
    let address = PeerAddress { peer: a.local.clone(), addrs: Vec::new() };
    b.commands.send(LinkCommand::Dial { address, relay: false }).await.expect("runs");
    assert_ne!(up(&mut a).await, a_link);
    assert_ne!(up(&mut b).await, b_link);
    wire.stop().await;
    assert_eq!(a.events.recv().await, None);
}

#[tokio::test]
async fn an_unknown_peer_cannot_be_dialled() {
    let (mut a, _b, wire) = pair(LinkIds::default(), LinkIds::default());
    up(&mut a).await;
    let address = PeerAddress { peer: a.local.clone(), addrs: Vec::new() };
    a.commands.send(LinkCommand::Dial { address: address.clone(), relay: false }).await.expect("runs");
    assert_eq!(next(&mut a).await, LinkEvent::DialFailed { peer: address.peer });
    wire.stop().await;
}

#[tokio::test]
async fn an_oversize_frame_closes_the_link() {
    let (mut a, mut b, wire) = pair(LinkIds::default(), LinkIds::default());
    let (a_link, b_link) = (up(&mut a).await, up(&mut b).await);
    let bytes = vec![0; FRAME_BYTES_MAX + 1];
    a.commands.send(LinkCommand::Frame { link: a_link, bytes }).await.expect("runs");
    assert_eq!(next(&mut b).await, LinkEvent::Down { link: b_link });
    wire.stop().await;
}

#[tokio::test]
async fn records_published_at_one_end_are_found_at_the_other() {
    let (mut a, mut b, wire) = pair(LinkIds::default(), LinkIds::default());
    up(&mut a).await;
    up(&mut b).await;
    a.commands.send(LinkCommand::PublishRecord { key: [1; 32], value: b"value".to_vec() }).await.expect("runs");
    a.commands.send(LinkCommand::FindRecord { key: [1; 32] }).await.expect("runs");
    assert_eq!(next(&mut a).await, LinkEvent::Record { key: [1; 32], value: b"value".to_vec() });
    b.commands.send(LinkCommand::FindRecord { key: [1; 32] }).await.expect("runs");
    assert_eq!(next(&mut b).await, LinkEvent::Record { key: [1; 32], value: b"value".to_vec() });
    wire.stop().await;
}
