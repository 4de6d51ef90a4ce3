//! Links of radios that carry packets, driven as an embedding app would: pipes between hubs, good and bad.

#[path = "support/person.rs"]
mod person;

use std::collections::VecDeque;
use std::time::Duration;

use person::{Node, PATIENCE, Person, text};
use silbo_transports::host_radio::{self, BACKLOG_BYTES, Beside, HALF_OPEN_MAX, Happening, Hub, PipeEnd, adopt, pipe};
use silbo_transports::packets::End;
use silbo_transports::packets::packet::PACKET_BYTES_MAX;
use silbo_transports::{LinkCommand, LinkEvent};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How bad the air is: of a hundred packets so many are lost, doubled, or swapped with the next one.
#[derive(Clone, Copy)]
struct Air {
    lost: u64,
    doubled: u64,
    swapped: u64,
}

const CLEAR: Air = Air { lost: 0, doubled: 0, swapped: 0 };
const BAD: Air = Air { lost: 5, doubled: 5, swapped: 5 };

/// Connects two hubs: `a` dials. Aborting the task takes the connection away.
async fn connect(a: &Hub, b: &Hub, packet_bytes: usize, air: Air, seed: u64) -> JoinHandle<()> {
    let (a_pipe, a_end) = pipe(End::Dialler, packet_bytes, 4);
    let (b_pipe, b_end) = pipe(End::Listener, packet_bytes, 4);
    a.pipes.send(a_pipe).await.expect("the hub runs");
    b.pipes.send(b_pipe).await.expect("the hub runs");
    let PipeEnd { incoming: to_a, outgoing: from_a, packet_bytes: a_size, tell: _, told: _ } = a_end;
    let PipeEnd { incoming: to_b, outgoing: from_b, packet_bytes: b_size, tell: _, told: _ } = b_end;
    tokio::spawn(async move {
        let _sizes = (a_size, b_size);
        tokio::select! {
            () = carry(from_a, to_b, packet_bytes, air, seed) => {}
            () = carry(from_b, to_a, packet_bytes, air, seed + 1) => {}
        }
    })
}

async fn carry(mut from: mpsc::Receiver<Vec<u8>>, to: mpsc::Sender<Vec<u8>>, bytes_max: usize, air: Air, seed: u64) {
    let mut random = seed | 1;
    let mut below = |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % bound
    };
    let mut held: VecDeque<Vec<u8>> = VecDeque::new();
    while let Some(packet) = from.recv().await {
        assert!(packet.len() <= bytes_max, "{} bytes", packet.len());
        if below(100) < air.lost {
            continue;
        }
        if below(100) < air.doubled {
            held.push_back(packet.clone());
        }
        held.push_back(packet);
        if below(100) < air.swapped {
            continue; // the next one overtakes it
        }
        while let Some(packet) = held.pop_back() {
            if to.send(packet).await.is_err() {
                return;
            }
        }
    }
}

#[tokio::test]
async fn frames_cross_packets_of_every_size_on_a_good_and_a_bad_radio() {
    for (packet_bytes, air) in [(20, CLEAR), (182, BAD), (244, CLEAR), (510, BAD)] {
        let (mut a, mut b) = (Node::new(), Node::new());
        let wire = connect(&a.hub, &b.hub, packet_bytes, air, 5).await;
        let (to_b, to_a) = (a.up().await, b.up().await);
        for size in [0, 1, 300, 5_000, 40_000] {
            a.send(to_b, vec![1; size]).await;
            b.send(to_a, vec![2; size]).await;
        }
        for size in [0, 1, 300, 5_000, 40_000] {
            assert_eq!(b.frame().await, vec![1; size]);
            assert_eq!(a.frame().await, vec![2; size]);
        }
        a.hub.commands.send(LinkCommand::Close { link: to_b }).await.expect("the hub runs");
        assert_eq!(a.next().await, LinkEvent::Down { link: to_b });
        assert_eq!(b.next().await, LinkEvent::Down { link: to_a });
        wire.await.expect("the wire ends by itself");
        a.hub.running.stop().await;
        b.hub.running.stop().await;
    }
}

#[tokio::test]
async fn two_that_dial_each_other_at_once_keep_one_and_the_same_link() {
    for seed in 0..4 {
        let (mut a, mut b) = (Node::new(), Node::new());
        let one = connect(&a.hub, &b.hub, 182, CLEAR, seed).await;
        let two = connect(&b.hub, &a.hub, 182, CLEAR, seed + 9).await;
        // One of the two wires ends: whichever end has seen it first has closed the second link.
        let dialled_by_a = tokio::select! { _ = one => false, _ = two => true };
        a.links(1).await;
        b.links(1).await;
        let (of_a, of_b) = (a.hub.snapshot.borrow().links[0].clone(), b.hub.snapshot.borrow().links[0].clone());
        assert_eq!((of_a.end, of_b.end) == (End::Dialler, End::Listener), dialled_by_a);
        assert_eq!(of_a.instance, *b.hub.name.borrow());
        assert_eq!(dialled_by_a, *a.hub.name.borrow() < *b.hub.name.borrow(), "the lower name's link stays");
        a.send(of_a.link, b"still here".to_vec()).await;
        assert_eq!(b.frame().await, b"still here");
        a.hub.running.stop().await;
        b.hub.running.stop().await;
    }
}

#[tokio::test]
async fn who_stands_beside_hears_of_backlogs_of_contacts_and_of_what_the_other_end_says() {
    let (mut a, mut b) = (Node::new(), Node::new());
    let (mut at_a, mut at_b) = (a.hub.beside.take().expect("it is there"), b.hub.beside.take().expect("it is there"));
    assert!(a.hub.beside.is_none(), "it is taken once");
    let wire = connect(&a.hub, &b.hub, 182, CLEAR, 3).await;
    let (to_b, to_a) = (a.up().await, b.up().await);

    let say = |bytes: &[u8]| (to_b, bytes.to_vec());
    at_a.records.send(say(b"one")).await.expect("the hub runs");
    let told = Happening::Record { link: to_a, vouched: false, bytes: b"one".to_vec() };
    assert_eq!(happening(&mut at_b).await, told, "a stranger");
    b.hub.commands.send(LinkCommand::Vouch { link: to_a }).await.expect("the hub runs");
    b.hub.commands.send(LinkCommand::Frame { link: to_a, bytes: b"vouched".to_vec() }).await.expect("the hub runs");
    assert_eq!(a.frame().await, b"vouched");
    at_a.records.send(say(b"two")).await.expect("the hub runs");
    let told = Happening::Record { link: to_a, vouched: true, bytes: b"two".to_vec() };
    assert_eq!(happening(&mut at_b).await, told, "a contact");

    // Three times as much as is told of: most of it still waits when the other end is vouched for.
    for _ in 0..3 * BACKLOG_BYTES / 60_000 {
        a.send(to_b, vec![7; 60_000]).await;
    }
    a.hub.commands.send(LinkCommand::Vouch { link: to_b }).await.expect("the hub runs");
    a.send(to_b, vec![8; 60_000]).await;
    assert_eq!(happening(&mut at_a).await, Happening::Backlog { link: to_b }, "once: before, nobody had vouched");
    wire.abort();
    assert_eq!(happening(&mut at_a).await, Happening::Down { link: to_b });
    a.hub.running.stop().await;
    b.hub.running.stop().await;
}

async fn happening(beside: &mut Beside) -> Happening {
    timeout(PATIENCE, beside.happenings.recv()).await.expect("in time").expect("the hub runs")
}

#[tokio::test]
async fn a_new_name_keeps_the_links_and_neighbours_learn_it() {
    let (mut a, mut b) = (Node::new(), Node::new());
    let _wire = connect(&a.hub, &b.hub, 20, CLEAR, 1).await;
    let (to_b, _) = (a.up().await, b.up().await);
    let name = host_radio::new_instance();
    a.hub.name.send_replace(name);
    let known = b.hub.snapshot.wait_for(|snapshot| snapshot.links.iter().any(|link| link.instance == name));
    timeout(PATIENCE, known).await.expect("in time").expect("the hub runs");
    a.send(to_b, b"the same link".to_vec()).await;
    assert_eq!(b.frame().await, b"the same link");
}

#[tokio::test]
async fn t55_handshakes_that_nobody_goes_on_with_take_a_bounded_number_of_places_for_a_bounded_time() {
    let mut node = Node::new();
    let mut silent = Vec::new();
    for _ in 0..HALF_OPEN_MAX {
        let (listener, end) = pipe(End::Listener, 182, 4);
        node.hub.pipes.send(listener).await.expect("the hub runs");
        silent.push(end);
    }
    let (listener, mut end) = pipe(End::Listener, 182, 4);
    node.hub.pipes.send(listener).await.expect("the hub runs");
    assert_eq!(timeout(PATIENCE, end.outgoing.recv()).await.expect("at once"), None, "one too many");
    assert_eq!(node.hub.snapshot.borrow().refused, 1);
    for end in &mut silent {
        assert_eq!(timeout(PATIENCE, end.outgoing.recv()).await.expect("its time is over"), None);
    }
    let mut other = Node::new();
    let _wire = connect(&other.hub, &node.hub, 182, CLEAR, 1).await;
    other.up().await;
    node.up().await;
}

/// What this process holds, in KiB.
fn held_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// A thousand links and their pipes would hold far more than this.
const ATTACK_KIB_MAX: u64 = 16 * 1_024;

#[tokio::test]
async fn t55_a_thousand_half_open_handshakes_hold_eight_places_and_disturb_no_link() {
    let (mut node, mut friend) = (Node::new(), Node::new());
    let _wire = connect(&friend.hub, &node.hub, 182, CLEAR, 1).await;
    let (to_node, _) = (friend.up().await, node.up().await);
    let before = held_kib();
    let mut ends = Vec::new();
    for number in 0..1_000u32 {
        let (listener, end) = pipe(End::Listener, 182, 4);
        node.hub.pipes.send(listener).await.expect("the hub runs");
        // The first piece of a handshake that never goes on; one that was refused at once has no reader any more.
        drop(end.incoming.try_send(vec![0x01, 0x00, 0x55]));
        ends.push(end);
        friend.send(to_node, number.to_be_bytes().to_vec()).await;
        assert_eq!(node.frame().await, number.to_be_bytes(), "the friend's link goes on");
        let half_open = node.hub.snapshot.borrow().half_open;
        assert!(half_open <= HALF_OPEN_MAX, "{half_open} half-open ones");
    }
    let grown = held_kib().saturating_sub(before);
    assert!(grown <= ATTACK_KIB_MAX, "{grown} KiB more than before");
    let done = node.hub.snapshot.wait_for(|snapshot| snapshot.half_open == 0);
    let refused = timeout(PATIENCE, done).await.expect("their time is over").expect("the hub runs").refused;
    assert!(refused >= 900, "{refused} of a thousand were refused at once");
    println!("{refused} of a thousand refused at once, {grown} KiB more held");
    node.links(1).await;
    let mut other = Node::new();
    let _wire = connect(&other.hub, &node.hub, 182, CLEAR, 2).await;
    other.up().await;
    node.links(2).await;
}

#[tokio::test]
async fn garbage_ends_only_the_link_it_came_on() {
    let (mut a, mut b) = (Node::new(), Node::new());
    let _wire = connect(&a.hub, &b.hub, 182, CLEAR, 1).await;
    let (to_b, _) = (a.up().await, b.up().await);
    for garbage in [vec![0xff; 182], vec![], vec![0x01, 0x00, 0xff, 0xff, 0xff, 0x7f]] {
        let (listener, mut end) = pipe(End::Listener, 182, 4);
        b.hub.pipes.send(listener).await.expect("the hub runs");
        end.incoming.send(garbage).await.expect("a pipe");
        // The last one is a piece of a record that never ends: its place is taken back as well.
        timeout(PATIENCE, async { while end.outgoing.recv().await.is_some() {} }).await.expect("closed");
    }
    a.send(to_b, b"unharmed".to_vec()).await;
    assert_eq!(b.frame().await, b"unharmed");
}

#[tokio::test]
async fn two_engines_meet_by_qr_text_over_a_radio_and_write_while_the_link_comes_and_goes() {
    let (mut ann, mut bob) = (Person::new("Ann", 1).await, Person::new("Bob", 2).await);
    let mut eve = Person::new("Eve", 3).await;
    let qr = ann.invite().await;
    let to_ann = bob.follow(qr).await;
    let _to_eve = connect(&bob.node.hub, &eve.node.hub, 182, CLEAR, 7).await;
    let mut wire = connect(&bob.node.hub, &ann.node.hub, 182, BAD, 1).await;
    let texts: Vec<String> = (0..20).map(|number| format!("message {number}")).collect();
    let mut unsent = texts.clone().into_iter();
    let mut answered = false;
    let mut flaps = 0;
    let done = async {
        loop {
            if bob.accepted()
                && let Some(body) = unsent.next()
            {
                bob.ask(text(to_ann, body)).await;
            }
            if ann.received().len() >= 5 * (flaps + 1) && flaps < 2 {
                flaps += 1;
                wire.abort();
                let again = if flaps == 1 { (&ann.node.hub, &bob.node.hub) } else { (&bob.node.hub, &ann.node.hub) };
                wire = connect(again.0, again.1, 20, BAD, 30 + flaps as u64).await;
            }
            if !answered && ann.received().len() == texts.len() {
                answered = true;
                let to_bob = ann.contact().await;
                ann.ask(text(to_bob, "all twenty".to_owned())).await;
            }
            if bob.received() == ["all twenty"] && bob.delivered() == texts.len() {
                return;
            }
            tokio::select! {
                () = ann.turn() => {}
                () = bob.turn() => {}
                () = eve.turn() => {}
            }
        }
    };
    timeout(Duration::from_secs(120), done).await.expect("everything arrives");
    let mut received = ann.received();
    received.sort_by_key(|text| texts.iter().position(|known| known == text));
    assert_eq!(received, texts, "each once");
    assert_eq!(flaps, 2);
    assert!(eve.received().is_empty());
}

/// Two connected sockets on the loopback.
async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (dialled, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    (dialled.expect("a socket"), accepted.expect("a socket").0)
}

#[tokio::test]
async fn sockets_that_an_app_hands_over_carry_links_until_they_are_cut() {
    let (mut a, mut b) = (Node::new(), Node::new());
    let (dialled, accepted) = sockets().await;
    let (a_pipe, a_moves) = adopt(End::Dialler, dialled);
    let (b_pipe, b_moves) = adopt(End::Listener, accepted);
    a.hub.pipes.send(a_pipe).await.expect("the hub runs");
    b.hub.pipes.send(b_pipe).await.expect("the hub runs");
    let cut = tokio::spawn(a_moves);
    let other = tokio::spawn(b_moves);
    let (to_b, to_a) = (a.up().await, b.up().await);
    for size in [0, 1, 5_000, 200_000] {
        a.send(to_b, vec![1; size]).await;
        assert_eq!(b.frame().await, vec![1; size]);
        b.send(to_a, vec![2; size]).await;
        assert_eq!(a.frame().await, vec![2; size]);
    }
    cut.abort();
    assert_eq!(a.next().await, LinkEvent::Down { link: to_b });
    assert_eq!(b.next().await, LinkEvent::Down { link: to_a });
    let ended = timeout(PATIENCE, other).await.expect("in time").expect("it ends by itself");
    assert!(ended.is_err(), "whoever adopted the socket learns that it was cut");
}

#[tokio::test]
async fn a_socket_that_promises_too_much_is_dropped_before_anything_is_held_for_it() {
    for length in [0, PACKET_BYTES_MAX as u16 + 1, u16::MAX] {
        let node = Node::new();
        let (mut hostile, accepted) = sockets().await;
        let (pipe, moves) = adopt(End::Listener, accepted);
        node.hub.pipes.send(pipe).await.expect("the hub runs");
        hostile.write_all(&length.to_be_bytes()).await.expect("two bytes");
        let ended = timeout(PATIENCE, moves).await.expect("in time");
        assert_eq!(ended.map_err(|error| error.kind()), Err(std::io::ErrorKind::InvalidData), "{length}");
    }
}
