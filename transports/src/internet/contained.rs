//! A behaviour whose background tasks live in a small runtime of their own.
//!
//! libp2p's mDNS and UPnP start tasks that outlive the behaviour (an mDNS interface task keeps asking for as long as
//! the process runs). Started inside [`Contained`], they end when it is dropped.

use std::io;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use tokio::runtime::{Builder, Runtime};

/// A behaviour and the runtime its tasks run in.
pub(super) struct Contained<B> {
    /// `Some` until dropped; first, because it must go before its runtime does.
    inner: Option<B>,
    runtime: Option<Runtime>,
}

impl<B> Contained<B> {
    /// Builds the behaviour inside a new runtime of one thread.
    pub(super) fn new(name: &str, build: impl FnOnce() -> io::Result<B>) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name(name).enable_all().build()?;
        let inner = {
            let _inside = runtime.enter();
            build()
        };
        match inner {
            Ok(inner) => Ok(Self { inner: Some(inner), runtime: Some(runtime) }),
            Err(error) => {
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut B) -> T) -> T {
        let _inside = self.runtime.as_ref().map(Runtime::enter);
        act(self.inner.as_mut().expect("the behaviour is there until the drop"))
    }
}

impl<B> Drop for Contained<B> {
    fn drop(&mut self) {
        let _inside = self.runtime.as_ref().map(Runtime::enter);
        drop(self.inner.take());
        drop(_inside);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for Contained<B> {
    type ConnectionHandler = B::ConnectionHandler;
    type ToSwarm = B::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.with(|inner| inner.handle_pending_inbound_connection(connection, local, remote))
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.with(|inner| inner.handle_established_inbound_connection(connection, peer, local, remote))
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.with(|inner| inner.handle_pending_outbound_connection(connection, peer, addresses, role))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        addr: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.with(|inner| inner.handle_established_outbound_connection(connection, peer, addr, role, port))
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        self.with(|inner| inner.on_swarm_event(event));
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        self.with(|inner| inner.on_connection_handler_event(peer, connection, event));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.with(|inner| inner.poll(cx))
    }
}
