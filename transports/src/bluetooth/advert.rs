//! The ten bytes a node has on the air, as service data under one UUID that all nodes share. Nothing else is said.
//!
//! ```text
//!   version (3 bits) ‖ roles (5)  1 │ rotating id  6 │ pressure (4) ‖ rate class (4)  1 │ set digest  2
//! ```

/// Bytes of the payload: with its UUID and the flags exactly the 31 of a legacy advertisement.
pub const ADVERT_BYTES: usize = 10;
/// The version this node writes and reads.
const VERSION: u8 = 1;

/// The role of a node that has no place for another link.
pub const FULL: u8 = 1;

/// What a node says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advert {
    /// Five bits: relay, internet, external power, Wi-Fi Direct, [`FULL`]. Only the last is used: the others would tell
    /// devices apart, and are said inside links where somebody needs them.
    pub roles: u8,
    /// Changes with the address; contacts and strangers see noise.
    pub rid: [u8; 6],
    /// How full it is (high half) and how many it meets (low half). Said inside links, 0 here.
    pub load: u8,
    /// Of what it holds (`silbo_protocol::radio::digest`).
    pub digest: [u8; 2],
}

impl Advert {
    /// Reads a payload. `None` for other versions and lengths; longer ones are of later versions as well.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let &[head, a, b, c, d, e, f, load, x, y] = bytes else { return None };
        (head >> 5 == VERSION).then_some(Self { roles: head & 0x1f, rid: [a, b, c, d, e, f], load, digest: [x, y] })
    }

    /// The payload.
    pub fn write(&self) -> [u8; ADVERT_BYTES] {
        let [a, b, c, d, e, f] = self.rid;
        let [x, y] = self.digest;
        [VERSION << 5 | (self.roles & 0x1f), a, b, c, d, e, f, self.load, x, y]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn other_lengths_and_versions_are_not_read() {
        let advert = Advert { roles: 3, rid: [1; 6], load: 0x25, digest: [9, 8] };
        let bytes = advert.write();
        assert_eq!(Advert::read(&bytes), Some(advert));
        assert_eq!(Advert::read(&bytes[..9]), None);
        assert_eq!(Advert::read(&[&bytes[..], &[0]].concat()), None);
        assert_eq!(Advert::read(&[]), None);
        for version in [0u8, 2, 3, 7] {
            let mut other = bytes;
            other[0] = version << 5;
            assert_eq!(Advert::read(&other), None);
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_written_the_same(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            if let Some(advert) = Advert::read(&bytes) {
                prop_assert_eq!(&advert.write()[..], &bytes[..]);
            }
        }
    }
}
