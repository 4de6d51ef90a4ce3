//! Peers that break the rules, as libp2p nodes of their own that speak the protocol wrongly.

mod support;

use std::io;
use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _, StreamExt as _};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, StreamProtocol, SwarmBuilder, noise, yamux};
use silbo_transports::LinkEvent;
use silbo_transports::internet::{InternetSettings, multiaddr_text};
use support::{Node, PATIENCE, TCP, settings};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const PROTOCOL: StreamProtocol = StreamProtocol::new("/silbo/msg/1");

/// A bare libp2p node connected to `node`.
struct Attacker {
    control: libp2p_stream::Control,
    target: PeerId,
    task: JoinHandle<()>,
}

impl Attacker {
    async fn connect(node: &Node) -> Self {
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(Default::default(), noise::Config::new, yamux::Config::default)
            .expect("TCP")
            .with_behaviour(|_| libp2p_stream::Behaviour::new())
            .expect("a behaviour")
            .with_swarm_config(|config| config.with_idle_connection_timeout(PATIENCE))
            .build();
        let target = PeerId::from_bytes(&node.key().0).expect("a peer id");
        let addr: Multiaddr = multiaddr_text(&node.address.addrs[0]).expect("text").parse().expect("an address");
        swarm.dial(addr.with_p2p(target).expect("no peer in it yet")).expect("dials");
        let connected =
            async { while !matches!(swarm.next().await, Some(SwarmEvent::ConnectionEstablished { .. })) {} };
        timeout(PATIENCE, connected).await.expect("connects");
        let control = swarm.behaviour().new_control();
        let task = tokio::spawn(async move { while swarm.next().await.is_some() {} });
        Self { control, target, task }
    }

    async fn open(&mut self) -> libp2p::Stream {
        timeout(PATIENCE, self.control.open_stream(self.target, PROTOCOL)).await.expect("in time").expect("a stream")
    }

    /// A stream that the node has taken for its link.
    async fn link(&mut self) -> libp2p::Stream {
        let mut stream = self.open().await;
        let mut accepted = [0; 1];
        stream.read_exact(&mut accepted).await.expect("an answer");
        assert_eq!(accepted, [1]);
        stream.write_all(&[2]).await.expect("confirms");
        stream.flush().await.expect("confirms");
        stream
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads until the other end closes.
async fn closed(mut stream: libp2p::Stream) {
    let mut rest = Vec::new();
    let reading = stream.read_to_end(&mut rest);
    // A reset is as good as an end.
    let _ended = timeout(PATIENCE, reading).await.expect("the node closes the stream");
}

#[tokio::test]
async fn an_oversize_frame_closes_the_link() {
    let mut node = Node::start(settings(TCP)).await;
    let mut attacker = Attacker::connect(&node).await;
    let mut stream = attacker.link().await;
    let (link, ..) = node.up().await;
    stream.write_all(&[3, b'a', b'b', b'c']).await.expect("a frame");
    stream.write_all(&[0x81, 0x80, 0x10]).await.expect("a length of 256 KiB and one");
    stream.flush().await.expect("flushes");
    assert_eq!(node.next_frame().await, (link, b"abc".to_vec()));
    assert_eq!(node.down().await, link);
    closed(stream).await;
    node.net.stop().await;
}

#[tokio::test]
async fn a_stream_that_is_never_confirmed_is_not_a_way_to_send() {
    let mut node = Node::start(settings(TCP)).await;
    let mut attacker = Attacker::connect(&node).await;
    let mut stream = attacker.open().await;
    stream.write_all(&[3, b'a', b'b', b'c']).await.expect("a frame without the agreement");
    stream.flush().await.expect("flushes");
    let (link, ..) = node.up().await;
    assert_eq!(node.down().await, link);
    closed(stream).await;
    node.net.stop().await;
}

#[tokio::test]
async fn t47_a_peer_that_opens_many_streams_keeps_its_one_link() {
    let mut node = Node::start(settings(TCP)).await;
    let mut attacker = Attacker::connect(&node).await;
    let mut stream = attacker.link().await;
    let (link, ..) = node.up().await;
    let mut others = Vec::new();
    for _ in 0..40 {
        others.push(attacker.open().await);
    }
    stream.write_all(&[2, b'o', b'k']).await.expect("a frame");
    stream.flush().await.expect("flushes");
    assert_eq!(node.next_frame().await, (link, b"ok".to_vec()));
    // All but the one that is being asked are closed.
    let mut open = 0;
    for mut other in others {
        let mut byte = [0; 1];
        let answer = timeout(PATIENCE, other.read(&mut byte)).await.expect("an answer or an end");
        open += usize::from(matches!(answer, Ok(1)));
    }
    assert!(open <= 1, "{open} streams were taken");
    node.net.stop().await;
}

#[tokio::test]
async fn t49_half_open_connections_do_not_keep_others_out() {
    let mut node = Node::start(settings(TCP)).await;
    let port = node.tcp_port();
    let mut silent = Vec::new();
    for _ in 0..300 {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.2:0".parse().expect("an address")).expect("binds");
        let connecting = socket.connect(([127, 0, 0, 1], port).into());
        if let Ok(Ok(stream)) = timeout(Duration::from_secs(2), connecting).await {
            silent.push(stream);
        }
    }
    assert!(silent.len() >= 64, "the flood is real");
    let honest = Node::start(settings(TCP)).await;
    honest.dial(&node.address).await;
    node.up().await;
    let is_open = |stream: &tokio::net::TcpStream| {
        stream.try_read(&mut [0; 1]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    };
    assert!(silent.iter().any(is_open), "the link did not have to wait for the end of the others");
    honest.net.stop().await;
    node.net.stop().await;
}

#[tokio::test]
async fn t50_connections_of_one_peer_are_limited() {
    let node = Node::start(settings(TCP)).await;
    let attacker = Attacker::connect(&node).await;
    drop(attacker);
    let key = libp2p::identity::Keypair::generate_ed25519();
    let mut swarm = SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(Default::default(), noise::Config::new, yamux::Config::default)
        .expect("TCP")
        .with_behaviour(|_| libp2p::ping::Behaviour::default())
        .expect("a behaviour")
        .with_swarm_config(|config| config.with_idle_connection_timeout(PATIENCE))
        .build();
    let target = PeerId::from_bytes(&node.key().0).expect("a peer id");
    let addr: Multiaddr = multiaddr_text(&node.address.addrs[0]).expect("text").parse().expect("an address");
    for _ in 0..8 {
        let opts = libp2p::swarm::dial_opts::DialOpts::peer_id(target)
            .condition(libp2p::swarm::dial_opts::PeerCondition::Always)
            .addresses(vec![addr.clone()])
            .build();
        swarm.dial(opts).expect("dials");
    }
    let (mut opened, mut refused) = (0, 0);
    let counting = async {
        while opened < 8 || refused < 4 {
            match swarm.next().await {
                Some(SwarmEvent::ConnectionEstablished { .. }) => opened += 1,
                Some(SwarmEvent::ConnectionClosed { .. }) => refused += 1,
                Some(SwarmEvent::OutgoingConnectionError { .. }) => {
                    opened += 1;
                    refused += 1;
                }
                _ => {}
            }
        }
    };
    timeout(PATIENCE, counting).await.expect("four of eight are closed again");
    assert_eq!(swarm.network_info().connection_counters().num_established(), 4);
    node.net.stop().await;
}

#[tokio::test]
async fn t52_a_contact_cannot_make_us_knock_at_private_doors() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let port = listener.local_addr().expect("bound").port();
    // Listening on a wildcard with an interface besides loopback makes loopback somebody else's business.
    let wildcard = InternetSettings { listen: vec!["/ip4/0.0.0.0/tcp/0".to_owned()], ..settings(TCP) };
    let mut node = Node::start(wildcard).await;
    let only_loopback =
        node.see("listeners", |s| !s.listen.is_empty()).await.listen.iter().all(|a| a.contains("/127."));
    if only_loopback {
        println!("skipped: this machine has no interface besides loopback");
        return;
    }
    let victim: Multiaddr = format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("an address");
    let peer = silbo_transports::internet::parse_peer("12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN");
    let address = silbo_protocol::ids::PeerAddress { peer: peer.expect("a peer"), addrs: vec![victim.to_vec(); 1_000] };
    node.dial(&address).await;
    node.wait("failure", |event| matches!(event, LinkEvent::DialFailed { .. }).then_some(())).await;
    assert!(listener.accept().now_or_never().is_none(), "somebody knocked");
    node.net.stop().await;
}
