//! The libp2p side of links: opens `/silbo/msg/1` streams on the connection we name and reports those the other end
//! opens, with the connection they came on. What a stream means is decided in `links.rs`.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll, Waker};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::swarm::handler::{ConnectionEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    NotifyHandler, Stream, StreamProtocol, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

/// Name of the protocol on the wire.
const PROTOCOL: StreamProtocol = StreamProtocol::new("/silbo/msg/1");

/// Streams a handler holds for the behaviour at a time; a peer that opens more loses them.
const WAITING_STREAMS_MAX: usize = 4;

/// What happened to a stream.
#[derive(Debug)]
pub(super) struct StreamEvent {
    /// The authenticated other end.
    pub(super) peer: PeerId,
    /// The connection the stream is on.
    pub(super) connection: ConnectionId,
    /// What happened.
    pub(super) kind: StreamKind,
}

/// Kinds of [`StreamEvent`].
#[derive(Debug)]
pub(super) enum StreamKind {
    /// The other end opened a stream.
    Inbound(Stream),
    /// The stream we asked for is open.
    Outbound(Stream),
    /// The stream we asked for could not be opened.
    Failed,
}

/// Opens and accepts link streams.
#[derive(Default)]
pub(super) struct Behaviour {
    pending: VecDeque<ToSwarm<StreamEvent, Open>>,
    waker: Option<Waker>,
}

impl Behaviour {
    /// Opens a stream on a connection; answered by exactly one event while the connection lives.
    pub(super) fn open(&mut self, peer: PeerId, connection: ConnectionId) {
        self.pending.push_back(ToSwarm::NotifyHandler {
            peer_id: peer,
            handler: NotifyHandler::One(connection),
            event: Open,
        });
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = StreamEvent;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::default())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::default())
    }

    fn on_swarm_event(&mut self, _: FromSwarm) {}

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, kind: THandlerOutEvent<Self>) {
        self.pending.push_back(ToSwarm::GenerateEvent(StreamEvent { peer, connection, kind }));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<StreamEvent, THandlerInEvent<Self>>> {
        if let Some(event) = self.pending.pop_front() {
            return Poll::Ready(event);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// Asks a handler for a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open;

/// The part of [`Behaviour`] on one connection.
#[derive(Default)]
pub(super) struct Handler {
    wanted: usize,
    done: VecDeque<StreamKind>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = StreamKind;
    type InboundProtocol = Upgrade;
    type OutboundProtocol = Upgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Upgrade> {
        SubstreamProtocol::new(Upgrade, ())
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Upgrade, (), StreamKind>> {
        if let Some(kind) = self.done.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(kind));
        }
        if let Some(rest) = self.wanted.checked_sub(1) {
            self.wanted = rest;
            let protocol = SubstreamProtocol::new(Upgrade, ());
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, Open: Open) {
        self.wanted = self.wanted.saturating_add(1);
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<Upgrade, Upgrade>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. })
                if self.done.len() < WAITING_STREAMS_MAX =>
            {
                self.done.push_back(StreamKind::Inbound(protocol));
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, .. }) => {
                self.done.push_back(StreamKind::Outbound(protocol));
            }
            ConnectionEvent::DialUpgradeError(_) => self.done.push_back(StreamKind::Failed),
            _ => {}
        }
    }
}

/// Negotiates the protocol name and hands out the raw stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Upgrade;

impl UpgradeInfo for Upgrade {
    type Info = StreamProtocol;
    type InfoIter = std::iter::Once<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once(PROTOCOL)
    }
}

impl InboundUpgrade<Stream> for Upgrade {
    type Output = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, _: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
    }
}

impl OutboundUpgrade<Stream> for Upgrade {
    type Output = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, _: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
    }
}
