//! What two nodes say to each other, inside the seal of their radio link, to bring up a group.
//!
//! ```text
//!   01 Ask  attempt 8 ‖ version u8 ‖ PIN u32 ‖ intent u8          make a group with me
//!   02 Yes  attempt 8 ‖ name 8 ‖ intent u8                        I look for you, as …
//!   03 No   attempt 8 ‖ reason u8                                 not now, or no longer
//!   04 At   attempt 8 ‖ address 16 ‖ port u16 ‖ key 32            I am in the group, at …
//! ```
//! The attempt is random and is also the name under which the one who asks is looked for. The bytes are in
//! `docs/wire-format.md` §7.6.

use std::net::Ipv6Addr;

use silbo_protocol::ids::PeerKey;

/// The version of all this.
pub const VERSION: u8 = 1;
/// Highest intent anybody says; one more is left for who wins among equals (Wi-Fi Direct §3.1.4.2: 15 must be the owner).
pub const INTENT_MAX: u8 = 14;
/// What the key of a `PeerId` of libp2p begins with, when it is one of Ed25519.
const PEER_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// A name on the air for one attempt: eight random bytes, in hexadecimal there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(pub [u8; 8]);

impl Name {
    /// As it is on the air.
    pub fn text(&self) -> String {
        hex(self.0)
    }
}

/// A WPS PIN: seven random digits and their checksum (Wi-Fi Simple Configuration 2.0.8, §7.4.1).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pin(u32);

impl std::fmt::Debug for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pin(..)")
    }
}

impl Pin {
    /// From random digits.
    pub fn new(random: u32) -> Self {
        let digits = random % 10_000_000;
        Self(digits * 10 + checksum(digits))
    }

    /// One that was told; `None` if it has no right checksum.
    fn read(pin: u32) -> Option<Self> {
        (pin < 100_000_000 && checksum(pin / 10) == pin % 10).then_some(Self(pin))
    }

    /// Its eight digits.
    pub fn text(&self) -> String {
        format!("{:08}", self.0)
    }
}

/// Bytes as text.
pub(super) fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every second digit counts three times, and all with their checksum come to a multiple of ten.
fn checksum(digits: u32) -> u32 {
    let mut sum = 0;
    let mut rest = digits;
    let mut weight = 3;
    while rest > 0 {
        sum += weight * (rest % 10);
        rest /= 10;
        weight = 4 - weight;
    }
    (10 - sum % 10) % 10
}

/// Where one end of a group listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its link-local address.
    pub address: Ipv6Addr,
    /// Its UDP port.
    pub port: u16,
    /// Its key in this group.
    pub peer: PeerKey,
}

/// Why there is no group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Wi-Fi Direct does not work there.
    Off,
    /// The radio is used for something else.
    Busy,
    /// Only for contacts.
    Stranger,
    /// It was tried and did not work.
    Failed,
    /// One has just been tried.
    Later,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Make a group with me.
    Ask {
        /// The PIN the group is made with.
        pin: Pin,
        /// How much the sender wants to be the owner.
        intent: u8,
    },
    /// I am looking for you.
    Yes {
        /// The sender's name.
        name: Name,
        /// How much the sender wants to be the owner.
        intent: u8,
    },
    /// Not now, or no longer.
    No(Reason),
    /// I am in the group.
    At(Place),
}

/// Writes a record of this attempt.
pub fn write(attempt: Name, record: &Record) -> Vec<u8> {
    let (kind, body) = match record {
        Record::Ask { pin, intent } => (1, [&[VERSION][..], &pin.0.to_be_bytes(), &[*intent]].concat()),
        Record::Yes { name, intent } => (2, [&name.0[..], &[*intent]].concat()),
        Record::No(reason) => (3, vec![*reason as u8]),
        Record::At(place) => {
            let key = place.peer.0.get(PEER_PREFIX.len()..).unwrap_or_default();
            (4, [&place.address.octets()[..], &place.port.to_be_bytes(), key].concat())
        }
    };
    [&[kind][..], &attempt.0, &body].concat()
}

/// Reads a record; `None` for what makes no sense, and for what later versions may say.
pub fn read(bytes: &[u8]) -> Option<(Name, Record)> {
    let (&kind, rest) = bytes.split_first()?;
    let (attempt, body) = rest.split_first_chunk::<8>()?;
    let record = match (kind, body) {
        (1, &[VERSION, a, b, c, d, intent]) => {
            Record::Ask { pin: Pin::read(u32::from_be_bytes([a, b, c, d]))?, intent: read_intent(intent)? }
        }
        (2, &[a, b, c, d, e, f, g, h, intent]) => {
            Record::Yes { name: Name([a, b, c, d, e, f, g, h]), intent: read_intent(intent)? }
        }
        (3, &[reason]) => Record::No(read_reason(reason)?),
        (4, body) => Record::At(read_place(body)?),
        _ => return None,
    };
    Some((Name(*attempt), record))
}

fn read_intent(intent: u8) -> Option<u8> {
    (intent <= INTENT_MAX).then_some(intent)
}

fn read_reason(reason: u8) -> Option<Reason> {
    use Reason::{Busy, Failed, Later, Off, Stranger};
    [Off, Busy, Stranger, Failed, Later].into_iter().find(|known| *known as u8 == reason)
}

/// Only addresses of the link itself: nobody is to be sent anywhere else.
fn read_place(body: &[u8]) -> Option<Place> {
    let (address, rest) = body.split_first_chunk::<16>()?;
    let (port, key) = rest.split_first_chunk::<2>()?;
    let key: &[u8; 32] = key.try_into().ok()?;
    let (address, port) = (Ipv6Addr::from(*address), u16::from_be_bytes(*port));
    let sane = address.is_unicast_link_local() && port >= 1024;
    sane.then(|| Place { address, port, peer: PeerKey([&PEER_PREFIX[..], key].concat()) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(address: &str, port: u16) -> Place {
        let peer = PeerKey([&PEER_PREFIX[..], &[7; 32]].concat());
        Place { address: address.parse().expect("an address"), port, peer }
    }

    #[test]
    fn pins_have_the_checksum_of_the_specification() {
        // The PIN of the specification's own example, and one with leading zeros.
        assert_eq!(Pin::new(1_234_567).text(), "12345670");
        assert_eq!(Pin::new(0).text(), "00000000");
        assert_eq!(Pin::read(12_345_670), Some(Pin(12_345_670)));
        assert_eq!(Pin::read(12_345_671), None);
        assert_eq!(format!("{:?}", Pin::new(1_234_567)), "Pin(..)");
    }

    #[test]
    fn addresses_that_lead_elsewhere_are_refused() {
        let attempt = Name([1; 8]);
        let good = Record::At(place("fe80::1", 40_000));
        assert_eq!(read(&write(attempt, &good)), Some((attempt, good)));
        for (address, port) in [
            ("::1", 40_000),
            ("2001:db8::1", 40_000),
            ("::ffff:10.0.0.1", 40_000),
            ("ff02::1", 40_000),
            ("fec0::1", 9_999),
        ] {
            assert_eq!(read(&write(attempt, &Record::At(place(address, port)))), None, "{address}");
        }
        for port in [0, 53, 1_023] {
            assert_eq!(read(&write(attempt, &Record::At(place("fe80::1", port)))), None, "{port}");
        }
    }

    #[test]
    fn nothing_is_read_of_what_is_cut_short_or_too_long() {
        let attempt = Name([1; 8]);
        for record in [
            Record::Ask { pin: Pin::new(5), intent: 14 },
            Record::Yes { name: Name([2; 8]), intent: 0 },
            Record::No(Reason::Later),
            Record::At(place("fe80::1", 40_000)),
        ] {
            let bytes = write(attempt, &record);
            assert_eq!(read(&bytes), Some((attempt, record)));
            for len in 0..bytes.len() {
                assert_eq!(read(&bytes[..len]), None);
            }
            assert_eq!(read(&[&bytes[..], &[0]].concat()), None);
        }
        assert_eq!(read(&[&[2][..], &[0; 16], &[15]].concat()), None, "an intent nobody may have");
        assert_eq!(read(&[&[3][..], &[0; 8], &[5]].concat()), None, "a reason of another version");
        assert_eq!(read(&[&[1][..], &[0; 8], &[2, 0, 0, 0, 0, 7]].concat()), None, "a question of another version");
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_written_the_same(bytes in prop::collection::vec(any::<u8>(), 0..80), kind in 1u8..5) {
            let bytes = [&[kind][..], &bytes].concat();
            if let Some((attempt, record)) = read(&bytes) {
                prop_assert_eq!(write(attempt, &record), bytes);
            }
        }
    }
}
