//! What the driver and a medium say to each other. Plain values; the driver owns every decision.
//!
//! Order is kept per link: `Up`, then its `Frame`s and `Route`s, then `Down`, and nothing after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use silbo_protocol::ids::{LinkId, PeerAddress, PeerKey};
use silbo_protocol::input::Route;

/// Something a medium noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// A link is up and both ends may send frames.
    Up {
        /// Its name from now on.
        link: LinkId,
        /// The peer at the other end, proven by the medium.
        peer: PeerKey,
        /// Our own key on this link.
        local: PeerKey,
        /// How the bytes travel.
        route: Route,
    },
    /// The link got better or worse without going down.
    Route {
        /// The link.
        link: LinkId,
        /// How the bytes travel from now on.
        route: Route,
    },
    /// A whole frame arrived.
    Frame {
        /// The link.
        link: LinkId,
        /// The bytes, at most `limits::FRAME_BYTES_MAX`.
        bytes: Vec<u8>,
    },
    /// The link is gone; frames handed to it may or may not have arrived.
    Down {
        /// The link.
        link: LinkId,
    },
    /// A dial failed at every address, or brought up no link in time.
    DialFailed {
        /// The peer that could not be reached.
        peer: PeerKey,
    },
    /// A peer was seen on the local network.
    Nearby {
        /// Where it is.
        address: PeerAddress,
    },
    /// Where we can be dialled has changed: direct addresses and circuits.
    OwnAddress {
        /// Our own key and addresses.
        address: PeerAddress,
    },
    /// The DHT answered a lookup with a record that the validator accepts.
    Record {
        /// The DHT key.
        key: [u8; 32],
        /// The value.
        value: Vec<u8>,
    },
    /// News about the medium itself, for the status page. No decision depends on it.
    Health(Health),
}

/// State of a medium that a person may want to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Listening on an address did not work.
    ListenFailed {
        /// The address, as text.
        address: String,
        /// Why, in words.
        error: String,
    },
    /// Discovery on the local network does not work here.
    DiscoveryUnavailable {
        /// Why, in words.
        error: String,
    },
    /// Others can (not) reach us directly.
    Reachable(bool),
}

/// Something for a medium to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkCommand {
    /// Hand a frame to a link. Dropped when the link is gone; a link whose queue is full is closed.
    Frame {
        /// The link.
        link: LinkId,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Look for peers right away: on the local network whoever answers is a `Nearby`, radios listen without a pause for a
    /// while. Nothing where discovery is off.
    LookAround,
    /// For radios: another number whenever the node holds something else. It leaves the device only as a short hash.
    Held {
        /// Over all that may be offered to others.
        fingerprint: u64,
    },
    /// Try to bring up a link; answered by `Up` or `DialFailed`, or not at all when one is up already.
    Dial {
        /// Whom and where. Without addresses the medium uses those it knows itself.
        address: PeerAddress,
        /// True for relays of ours or of a contact: may also serve as DHT server and reachability probe, and private
        /// addresses are dialled.
        relay: bool,
    },
    /// Close a link and the connection below it.
    Close {
        /// The link.
        link: LinkId,
    },
    /// The other end of a link is a contact: what costs something, such as a faster link beside it, may be done for it.
    Vouch {
        /// The link.
        link: LinkId,
    },
    /// Reserve a circuit at a relay and keep it; `OwnAddress` shows when it holds.
    ReserveCircuit {
        /// The relay.
        address: PeerAddress,
    },
    /// Store a record in the DHT; kept and tried again until a DHT server has taken it.
    PublishRecord {
        /// The DHT key.
        key: [u8; 32],
        /// The value.
        value: Vec<u8>,
    },
    /// Look a record up; answers come as `Record`, silence means not found.
    FindRecord {
        /// The DHT key.
        key: [u8; 32],
    },
}

/// Hands out link names, never one twice in a run. Media of one kind in a node share it by cloning.
#[derive(Clone, Debug, Default)]
pub struct LinkIds(Arc<AtomicU64>);

/// Names from here on are of radio links, so that whoever has several media knows where a link belongs,
const RADIO_LINKS_FROM: u64 = 1 << 63;
/// and from here on of links over Wi-Fi Direct.
const WIFI_DIRECT_LINKS_FROM: u64 = RADIO_LINKS_FROM | 1 << 62;

impl LinkIds {
    /// Names for the links of radios.
    pub fn of_radios() -> Self {
        Self(Arc::new(AtomicU64::new(RADIO_LINKS_FROM)))
    }

    /// Names for links over Wi-Fi Direct.
    pub fn of_wifi_direct() -> Self {
        Self(Arc::new(AtomicU64::new(WIFI_DIRECT_LINKS_FROM)))
    }

    /// A name no link has had.
    pub fn next_id(&self) -> LinkId {
        LinkId(self.0.fetch_add(1, Ordering::Relaxed).wrapping_add(1))
    }
}

/// Whether a link's name came from [`LinkIds::of_radios`].
pub fn is_radio(link: LinkId) -> bool {
    (RADIO_LINKS_FROM + 1..WIFI_DIRECT_LINKS_FROM).contains(&link.0)
}

/// Whether a link's name came from [`LinkIds::of_wifi_direct`].
pub fn is_wifi_direct(link: LinkId) -> bool {
    link.0 > WIFI_DIRECT_LINKS_FROM
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_of_each_medium_is_known_by_its_name() {
        let (internet, radio, wifi) = (LinkIds::default(), LinkIds::of_radios(), LinkIds::of_wifi_direct());
        for _ in 0..3 {
            let of = |ids: &LinkIds| {
                let link = ids.next_id();
                (is_radio(link), is_wifi_direct(link))
            };
            assert_eq!([of(&internet), of(&radio), of(&wifi)], [(false, false), (true, false), (false, true)]);
        }
    }
}
