//! The port a TCP dial comes from.
//!
//! libp2p dials from the port it listens on, so that routers keep one mapping and others learn a port that can be
//! dialled back. It binds that port on all addresses, and gives the dial up when anything on the machine holds the same
//! number on any one address. [`OrNewPort`] dials from a new port then.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use libp2p::Multiaddr;
use libp2p::core::Transport;
use libp2p::core::transport::{DialOpts, ListenerId, PortUse, TransportError, TransportEvent};

/// Transport whose dials need no port that is taken.
pub(super) struct OrNewPort<T>(pub(super) T);

impl<T> Transport for OrNewPort<T>
where
    T: Transport<Error = io::Error> + Unpin,
    T::Output: Send + 'static,
    T::Dial: Send + 'static,
{
    type Output = T::Output;
    type Error = io::Error;
    type ListenerUpgrade = T::ListenerUpgrade;
    type Dial = BoxFuture<'static, io::Result<T::Output>>;

    fn listen_on(&mut self, id: ListenerId, addr: Multiaddr) -> Result<(), TransportError<io::Error>> {
        self.0.listen_on(id, addr)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.0.remove_listener(id)
    }

    fn dial(&mut self, addr: Multiaddr, opts: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        let fresh = match opts.port_use {
            PortUse::Reuse => Some(self.0.dial(addr.clone(), DialOpts { port_use: PortUse::New, ..opts })?),
            PortUse::New => None,
        };
        let first = self.0.dial(addr, opts)?;
        Ok(Box::pin(or_else_in_use(first, fresh)))
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<T::ListenerUpgrade, io::Error>> {
        Pin::new(&mut self.0).poll(cx)
    }
}

/// The second dial when the first found its port taken.
async fn or_else_in_use<T>(
    first: impl Future<Output = io::Result<T>>,
    fresh: Option<impl Future<Output = io::Result<T>>>,
) -> io::Result<T> {
    match (first.await, fresh) {
        (Err(error), Some(fresh)) if error.kind() == io::ErrorKind::AddrInUse => {
            tracing::debug!(%error, "the port we listen on is taken on another address: dialling from a new one");
            fresh.await
        }
        (result, _) => result,
    }
}
