//! The way of QUIC through a group: packets between this machine's loopback and the one address at the other end.
//!
//! ```text
//!   QUIC of this group ⇄ 127.0.0.1 ⇄ tunnel ⇄ [fe80::…%group] ⇄ the same at the other end
//! ```
//! libp2p's QUIC cannot be told the interface of a link-local address. The tunnel can, and it opens nothing but one port on
//! the group's own interface, which takes packets of one address only. Both ends are sealed by QUIC; nothing is read here.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until};

use super::record::Place;

/// How long the kernel may take to give an interface its address, checked for doubles.
const ADDRESS: Duration = Duration::from_secs(8);
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(100);
/// Longest packet: that of an Ethernet frame, and a little.
const PACKET_BYTES_MAX: usize = 2_048;
/// Flags of an address in `/proc/net/if_inet6`: it is still checked for doubles, or there was one.
const TENTATIVE: u32 = 0x40;
const DOUBLE: u32 = 0x08;

/// An address and the number of its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scoped {
    pub(super) address: Ipv6Addr,
    scope: u32,
}

/// The link-local address of an interface, as soon as it has one.
pub(super) async fn link_local(interface: &str) -> Option<Scoped> {
    let until = Instant::now() + ADDRESS;
    loop {
        let table = fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
        if let Some(found) = in_table(&table, interface) {
            return Some(found);
        }
        if Instant::now() >= until {
            return None;
        }
        sleep_until(Instant::now() + LOOK).await;
    }
}

/// Lines are: address, interface number, prefix length, scope, flags (all hexadecimal), name.
fn in_table(table: &str, interface: &str) -> Option<Scoped> {
    table.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let address = u128::from_str_radix(words.next()?, 16).ok().map(Ipv6Addr::from)?;
        let scope = u32::from_str_radix(words.next()?, 16).ok()?;
        let flags = u32::from_str_radix(words.nth(2)?, 16).ok()?;
        let usable = address.is_unicast_link_local() && flags & (TENTATIVE | DOUBLE) == 0;
        (usable && words.next()? == interface).then_some(Scoped { address, scope })
    })
}

/// One end of the way. Dropping it closes it.
#[derive(Debug)]
pub(super) struct Tunnel {
    inside: UdpSocket,
    outside: UdpSocket,
    scope: u32,
}

impl Tunnel {
    /// At this address; `quic_port` is where QUIC listens on the loopback.
    pub(super) async fn open(at: Scoped, quic_port: u16) -> io::Result<Self> {
        let outside = UdpSocket::bind(SocketAddrV6::new(at.address, 0, 0, at.scope)).await?;
        let inside = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        // The kernel drops whatever comes from anywhere else.
        inside.connect((Ipv4Addr::LOCALHOST, quic_port)).await?;
        Ok(Self { inside, outside, scope: at.scope })
    }

    /// Where the other end sends to.
    pub(super) fn outside_port(&self) -> io::Result<u16> {
        Ok(self.outside.local_addr()?.port())
    }

    /// Where QUIC dials to reach the other end.
    pub(super) fn inside_port(&self) -> io::Result<u16> {
        Ok(self.inside.local_addr()?.port())
    }

    /// Passes packets on until it is dropped.
    ///
    /// # Errors
    /// When the interface is gone.
    pub(super) async fn carry(&self, theirs: &Place) -> io::Result<()> {
        let theirs = SocketAddr::V6(SocketAddrV6::new(theirs.address, theirs.port, 0, self.scope));
        let (mut out, mut back) = ([0; PACKET_BYTES_MAX], [0; PACKET_BYTES_MAX]);
        loop {
            tokio::select! {
                read = self.inside.recv(&mut out) => {
                    // A port that nobody listens on yet is told as an error of the socket; QUIC sends again.
                    let Ok(len) = read else { continue };
                    if let Err(error) = self.outside.send_to(out.get(..len).unwrap_or_default(), theirs).await
                        && is_gone(&error)
                    {
                        return Err(error);
                    }
                }
                read = self.outside.recv_from(&mut back) => {
                    let Ok((len, from)) = read else { continue };
                    if same(from, theirs) && self.inside.send(back.get(..len).unwrap_or_default()).await.is_err() {
                        tracing::trace!("QUIC does not listen");
                    }
                }
            }
        }
    }
}

fn same(a: SocketAddr, b: SocketAddr) -> bool {
    a.ip() == b.ip() && a.port() == b.port()
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::NetworkDown)
        || matches!(error.raw_os_error(), Some(6 | 19)) // ENXIO, ENODEV
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
00000000000000000000000000000001 01 80 10 80       lo
fe80000000000000ffff000000000001 03 40 20 c0    wlan0
20010db8000000000000000000000001 04 40 00 00  p2p-w-0
fe80000000000000ffff000000000002 04 40 20 80  p2p-w-0
";

    #[test]
    fn only_a_finished_link_local_address_of_the_interface_is_taken() {
        assert_eq!(in_table(TABLE, "wlan0"), None, "still checked for doubles");
        let found = in_table(TABLE, "p2p-w-0").expect("it has one");
        assert_eq!(found, Scoped { address: "fe80::ffff:0:0:2".parse().expect("an address"), scope: 4 });
        assert_eq!(in_table(TABLE, "p2p-w"), None);
        assert_eq!(in_table("fe80 zz\n\n1", "lo"), None);
    }
}
