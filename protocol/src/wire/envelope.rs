//! The envelope: what a relay, a carrier or a listener sees of a message. Fixed binary, network order.
//!
//! ```text
//!  0   1  b7..5 version = 1 | b4..3 class | b2 no_infra | b1 urgent | b0 has_ext
//!  1   1  b7..4 ttl code | b3..0 size code (advisory, 0 from this version)
//!  2   2  expiry hour: hours since 2024-01-01 modulo 65,536 (wraps after 7.4 years)
//!  4  12  tag
//! 16  ..  extensions if has_ext, then the sealed rest (encrypted header and body): opaque here
//! ```
//! An extension is a kind byte (its highest bit: another one follows), a length byte and the value, in ascending
//! order of kinds. The first 16 bytes are authenticated by whoever seals the rest; nothing here encrypts.

use crate::chance::Chance;
use crate::ids::Tag;
use crate::limits::{ENVELOPE_BYTES_MAX, ENVELOPE_BYTES_MIN};
use crate::time::{DAY_MS, HOUR_MS, UnixTime};

/// The only version of this layout.
pub const ENVELOPE_VERSION: u8 = 1;
/// Bytes before the extensions: head and tag.
pub const ENVELOPE_FIXED_BYTES: usize = 4 + Tag::LEN;
/// Longest run of extensions a reader accepts: the three known ones take 9 + 1 + 12 + 6 bytes.
pub const EXTENSION_BYTES_MAX: usize = 64;
/// Kind of the work stamp: 8 bytes nonce, 1 byte cost.
pub const EXTENSION_STAMP: u8 = 1;
/// Kind of the zone: 1 byte.
pub const EXTENSION_ZONE: u8 = 2;
/// Kind of the purge commitment of an author: 12 bytes.
pub const EXTENSION_PURGE: u8 = 3;

/// Shortest sealed rest.
const SEALED_BYTES_MIN: usize = ENVELOPE_BYTES_MIN - ENVELOPE_FIXED_BYTES;
/// The expiry hour is moved back by 0, 1 or 2 hours so that it does not tell the hour of writing.
const EXPIRY_JITTER_HOURS: u64 = 2;
const MORE_EXTENSIONS: u8 = 0x80;

/// What a carrier may know of the content: enough to order and to bound it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Receipts, session set-up, updates.
    Control = 0,
    /// Messages of people.
    Text = 1,
    /// File chunks, history.
    Bulk = 2,
    /// Worthless in a minute; never stored.
    Live = 3,
}

/// How long an envelope may be kept by anybody: the smallest step that covers its lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ttl {
    /// One hour.
    Hour1 = 0,
    /// Six hours.
    Hours6 = 1,
    /// A day.
    Day1 = 2,
    /// Three days.
    Days3 = 3,
    /// A week.
    Days7 = 4,
    /// Two weeks.
    Days14 = 5,
    /// Thirty days, the most there is.
    Days30 = 6,
}

/// First four bytes of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnvelopeHead {
    /// What kind of content.
    pub class: Class,
    /// Only over radios between devices, never over the internet.
    pub no_infra: bool,
    /// Asks for early transfer; rationed by carriers.
    pub urgent: bool,
    /// Extensions follow the tag.
    pub has_ext: bool,
    /// Longest time anybody keeps it.
    pub ttl: Ttl,
    /// Four advisory bits about the size; this version writes 0 and ignores what it reads.
    pub size_code: u8,
    /// Hours since 2024-01-01 modulo 65,536.
    pub expiry_hour: u16,
}

/// A whole envelope, borrowed from its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The readable part.
    pub head: EnvelopeHead,
    /// What the recipient recognises it by.
    pub tag: Tag,
    /// The extensions as they stand, empty without; see [`Envelope::extension`].
    pub ext: &'a [u8],
    /// Encrypted header and body.
    pub sealed: &'a [u8],
}

/// Why bytes are not an envelope; always the fault of who wrote them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Shorter than the shortest envelope.
    #[error("the envelope is too short")]
    TooShort,
    /// Longer than `limits::ENVELOPE_BYTES_MAX`.
    #[error("the envelope is too long")]
    TooLong,
    /// A version this build cannot read.
    #[error("the envelope has version {0}, which is not known here")]
    UnknownVersion(u8),
    /// A lifetime code that has no meaning.
    #[error("the envelope has an unknown lifetime code")]
    UnknownTtl,
    /// Extensions that are cut off, out of order, of a wrong length or too many.
    #[error("the extensions of the envelope are malformed")]
    BadExtension,
}

impl Ttl {
    const ALL: [Self; 7] =
        [Self::Hour1, Self::Hours6, Self::Day1, Self::Days3, Self::Days7, Self::Days14, Self::Days30];

    /// The smallest step that covers `lifetime_ms`; thirty days for anything longer.
    pub fn covering(lifetime_ms: u64) -> Self {
        Self::ALL.into_iter().find(|ttl| ttl.ms() >= lifetime_ms).unwrap_or(Self::Days30)
    }

    /// Its length in milliseconds.
    pub fn ms(self) -> u64 {
        match self {
            Self::Hour1 => HOUR_MS,
            Self::Hours6 => 6 * HOUR_MS,
            Self::Day1 => DAY_MS,
            Self::Days3 => 3 * DAY_MS,
            Self::Days7 => 7 * DAY_MS,
            Self::Days14 => 14 * DAY_MS,
            Self::Days30 => 30 * DAY_MS,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

impl EnvelopeHead {
    /// Length of the encoded head.
    pub const LEN: usize = 4;

    /// The head of an envelope written at `now` that shall live for `lifetime_ms` (an hour to thirty days).
    ///
    /// The expiry is rounded down to the hour and moved back by up to two more, but always lies in the future.
    pub fn new(class: Class, lifetime_ms: u64, now: UnixTime, jitter: &mut Chance) -> Self {
        let ttl = Ttl::covering(lifetime_ms);
        let hours = lifetime_ms.clamp(HOUR_MS, ttl.ms()) / HOUR_MS;
        let jitter_hours = jitter.below(EXPIRY_JITTER_HOURS + 1).min(hours.saturating_sub(1));
        let lifetime_ms = (hours - jitter_hours) * HOUR_MS;
        Self {
            class,
            no_infra: false,
            urgent: false,
            has_ext: false,
            ttl,
            size_code: 0,
            expiry_hour: now.after_ms(lifetime_ms).hour_2024(),
        }
    }

    /// The four bytes on the wire.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let flags = u8::from(self.no_infra) << 2 | u8::from(self.urgent) << 1 | u8::from(self.has_ext);
        let [hour_high, hour_low] = self.expiry_hour.to_be_bytes();
        [
            ENVELOPE_VERSION << 5 | (self.class as u8) << 3 | flags,
            (self.ttl as u8) << 4 | (self.size_code & 0x0f),
            hour_high,
            hour_low,
        ]
    }

    /// Reads the four bytes.
    ///
    /// # Errors
    /// Another version, or a lifetime code without meaning.
    pub fn decode(bytes: [u8; Self::LEN]) -> Result<Self, EnvelopeError> {
        let [first, second, hour_high, hour_low] = bytes;
        if first >> 5 != ENVELOPE_VERSION {
            return Err(EnvelopeError::UnknownVersion(first >> 5));
        }
        let class = match first >> 3 & 3 {
            0 => Class::Control,
            1 => Class::Text,
            2 => Class::Bulk,
            _ => Class::Live,
        };
        Ok(Self {
            class,
            no_infra: first & 4 != 0,
            urgent: first & 2 != 0,
            has_ext: first & 1 != 0,
            ttl: Ttl::from_code(second >> 4).ok_or(EnvelopeError::UnknownTtl)?,
            size_code: second & 0x0f,
            expiry_hour: u16::from_be_bytes([hour_high, hour_low]),
        })
    }

    /// Head and tag: the bytes that stand before the sealed rest and that its seal authenticates.
    pub fn with_tag(&self, tag: &Tag) -> [u8; ENVELOPE_FIXED_BYTES] {
        let mut out = [0; ENVELOPE_FIXED_BYTES];
        out[..Self::LEN].copy_from_slice(&self.encode());
        out[Self::LEN..].copy_from_slice(tag.as_bytes());
        out
    }

    /// When it expires: of all times with this hour, the one nearest to `now`.
    pub fn expires_at(&self, now: UnixTime) -> UnixTime {
        now.nearest_hour_2024(self.expiry_hour)
    }

    /// Until when it may be kept: its expiry, and never longer than its lifetime from `now`, whatever it claims.
    pub fn keep_until(&self, now: UnixTime) -> UnixTime {
        self.expires_at(now).min(now.after_ms(self.ttl.ms()))
    }

    /// Whether it expired more than `tolerance_ms` ago; two hours allow for the jitter and for wrong clocks.
    pub fn expired(&self, now: UnixTime, tolerance_ms: u64) -> bool {
        self.expires_at(now).after_ms(tolerance_ms) <= now
    }
}

impl<'a> Envelope<'a> {
    /// Reads an envelope; every accepted byte string has exactly one meaning and every envelope one byte string.
    ///
    /// # Errors
    /// [`EnvelopeError`]; nothing is allocated.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, EnvelopeError> {
        if bytes.len() < ENVELOPE_BYTES_MIN {
            return Err(EnvelopeError::TooShort);
        }
        if bytes.len() > ENVELOPE_BYTES_MAX {
            return Err(EnvelopeError::TooLong);
        }
        let (head, rest) = bytes.split_first_chunk().ok_or(EnvelopeError::TooShort)?;
        let head = EnvelopeHead::decode(*head)?;
        let (tag, rest) = rest.split_first_chunk().ok_or(EnvelopeError::TooShort)?;
        let ext_len = if head.has_ext { extensions_len(rest)? } else { 0 };
        let (ext, sealed) = rest.split_at_checked(ext_len).ok_or(EnvelopeError::BadExtension)?;
        if sealed.len() < SEALED_BYTES_MIN {
            return Err(EnvelopeError::TooShort);
        }
        Ok(Self { head, tag: Tag(*tag), ext, sealed })
    }

    /// The value of the extension of this kind, if it is there.
    pub fn extension(&self, kind: u8) -> Option<&'a [u8]> {
        let mut rest = self.ext;
        while let Some((found, value, after)) = next_extension(rest) {
            if found & !MORE_EXTENSIONS == kind {
                return Some(value);
            }
            rest = after;
        }
        None
    }
}

/// Length of the run of extensions at the start of `bytes`, checked for order, lengths and bounds.
fn extensions_len(bytes: &[u8]) -> Result<usize, EnvelopeError> {
    let (mut rest, mut last) = (bytes, 0);
    loop {
        let (kind, value, after) = next_extension(rest).ok_or(EnvelopeError::BadExtension)?;
        let more = kind & MORE_EXTENSIONS != 0;
        let kind = kind & !MORE_EXTENSIONS;
        let length_is_right = match kind {
            EXTENSION_STAMP => value.len() == 9,
            EXTENSION_ZONE => value.len() == 1,
            EXTENSION_PURGE => value.len() == 12,
            _ => true,
        };
        if kind <= last || !length_is_right {
            return Err(EnvelopeError::BadExtension);
        }
        (last, rest) = (kind, after);
        let len = bytes.len().saturating_sub(rest.len());
        if len > EXTENSION_BYTES_MAX {
            return Err(EnvelopeError::BadExtension);
        }
        if !more {
            return Ok(len);
        }
    }
}

fn next_extension(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let ([kind, len], rest) = bytes.split_first_chunk()?;
    let (value, rest) = rest.split_at_checked(usize::from(*len))?;
    Some((*kind, value, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::EPOCH_2024_MS;

    const NOW: UnixTime = UnixTime(EPOCH_2024_MS + 1_000 * DAY_MS + 17 * crate::time::MINUTE_MS);

    fn head(lifetime_ms: u64) -> EnvelopeHead {
        EnvelopeHead::new(Class::Text, lifetime_ms, NOW, &mut Chance::from_seed([3; 32]))
    }

    fn bytes(head: EnvelopeHead, after_tag: &[u8]) -> Vec<u8> {
        let mut out = head.with_tag(&Tag([7; 12])).to_vec();
        out.extend_from_slice(after_tag);
        out
    }

    #[test]
    fn a_known_head_has_known_bytes() {
        let head = EnvelopeHead {
            class: Class::Text,
            no_infra: true,
            urgent: false,
            has_ext: true,
            ttl: Ttl::Days30,
            size_code: 0,
            expiry_hour: 0x5e10,
        };
        assert_eq!(head.encode(), [0b0010_1101, 0x60, 0x5e, 0x10]);
        assert_eq!(EnvelopeHead::decode(head.encode()), Ok(head));
    }

    #[test]
    fn the_smallest_covering_lifetime_is_chosen() {
        for (lifetime_ms, ttl) in [
            (0, Ttl::Hour1),
            (HOUR_MS, Ttl::Hour1),
            (HOUR_MS + 1, Ttl::Hours6),
            (DAY_MS, Ttl::Day1),
            (4 * DAY_MS, Ttl::Days7),
            (14 * DAY_MS, Ttl::Days14),
            (30 * DAY_MS, Ttl::Days30),
            (u64::MAX, Ttl::Days30),
        ] {
            assert_eq!(head(lifetime_ms).ttl, ttl, "{lifetime_ms}");
        }
    }

    #[test]
    fn an_envelope_expires_within_three_hours_before_its_lifetime_ends() {
        let mut chance = Chance::from_seed([9; 32]);
        for lifetime_ms in [6 * HOUR_MS, DAY_MS, 30 * DAY_MS] {
            for _ in 0..50 {
                let head = EnvelopeHead::new(Class::Text, lifetime_ms, NOW, &mut chance);
                let early_ms = NOW.after_ms(lifetime_ms).0 - head.expires_at(NOW).0;
                assert!(early_ms < 3 * HOUR_MS, "{early_ms}");
            }
        }
    }

    #[test]
    fn even_the_shortest_lifetime_is_not_expired_at_birth() {
        for seed in 0..50 {
            let head = EnvelopeHead::new(Class::Live, 1, NOW, &mut Chance::from_seed([seed; 32]));
            assert!(!head.expired(NOW, 0));
            assert!(head.expired(NOW.after_ms(HOUR_MS), 0));
            assert!(!head.expired(NOW.after_ms(HOUR_MS), 2 * HOUR_MS));
        }
    }

    #[test]
    fn expiry_survives_the_wrap_of_the_hour_counter() {
        let wrap = UnixTime(EPOCH_2024_MS + 65_536 * HOUR_MS);
        let before = UnixTime(wrap.0 - DAY_MS);
        let head = EnvelopeHead::new(Class::Text, 7 * DAY_MS, before, &mut Chance::from_seed([1; 32]));
        assert!(head.expiry_hour < 200, "wrapped");
        assert!(!head.expired(before, 0));
        assert!(!head.expired(UnixTime(wrap.0 + 5 * DAY_MS), 0));
        assert!(head.expired(UnixTime(wrap.0 + 6 * DAY_MS + HOUR_MS), 0));
        assert!(head.expires_at(before) > wrap);
    }

    #[test]
    fn an_old_envelope_stays_expired_for_years() {
        let head = head(DAY_MS);
        for days in [2, 40, 365, 1_200] {
            assert!(head.expired(NOW.after_ms(days * DAY_MS), 2 * HOUR_MS), "{days}");
        }
    }

    #[test]
    fn a_claimed_expiry_in_the_far_future_is_kept_no_longer_than_its_lifetime() {
        let head = EnvelopeHead { expiry_hour: NOW.hour_2024().wrapping_add(20_000), ..head(DAY_MS) };
        assert_eq!(head.keep_until(NOW), NOW.after_ms(DAY_MS));
    }

    #[test]
    fn a_device_whose_clock_stands_in_1970_computes_without_overflow() {
        for hour in [0, 1, 32_767, 32_768, 65_535] {
            let head = EnvelopeHead { expiry_hour: hour, ..head(DAY_MS) };
            assert!(head.expires_at(UnixTime(0)) >= UnixTime(EPOCH_2024_MS));
            let _ = head.expired(UnixTime(u64::MAX), u64::MAX);
        }
    }

    #[test]
    fn unknown_versions_and_lifetimes_are_refused() {
        let good = head(DAY_MS).encode();
        for version in (0..8).filter(|&v| v != ENVELOPE_VERSION) {
            let bytes = [version << 5 | good[0] & 0x1f, good[1], good[2], good[3]];
            assert_eq!(EnvelopeHead::decode(bytes), Err(EnvelopeError::UnknownVersion(version)));
        }
        for code in 7..16 {
            assert_eq!(EnvelopeHead::decode([good[0], code << 4, 0, 0]), Err(EnvelopeError::UnknownTtl));
        }
    }

    #[test]
    fn t32_sizes_outside_the_limits_are_refused() {
        let whole = bytes(head(DAY_MS), &[0; SEALED_BYTES_MIN]);
        assert!(Envelope::parse(&whole).is_ok());
        for len in 0..whole.len() {
            assert_eq!(Envelope::parse(&whole[..len]), Err(EnvelopeError::TooShort), "{len}");
        }
        let mut large = whole.clone();
        large.resize(ENVELOPE_BYTES_MAX, 0);
        assert!(Envelope::parse(&large).is_ok());
        large.push(0);
        assert_eq!(Envelope::parse(&large), Err(EnvelopeError::TooLong));
    }

    #[test]
    fn extensions_are_found_by_kind() {
        let head = EnvelopeHead { has_ext: true, ..head(DAY_MS) };
        let mut after = vec![0x80 | EXTENSION_ZONE, 1, 42, 0x80 | EXTENSION_PURGE, 12];
        after.extend_from_slice(&[5; 12]);
        after.extend_from_slice(&[77, 0]);
        after.extend_from_slice(&[1; SEALED_BYTES_MIN]);
        let whole = bytes(head, &after);
        let envelope = Envelope::parse(&whole).unwrap();
        assert_eq!(envelope.extension(EXTENSION_ZONE), Some(&[42][..]));
        assert_eq!(envelope.extension(EXTENSION_PURGE), Some(&[5; 12][..]));
        assert_eq!(envelope.extension(77), Some(&[][..]));
        assert_eq!(envelope.extension(EXTENSION_STAMP), None);
        assert_eq!(envelope.sealed, [1; SEALED_BYTES_MIN]);
    }

    #[test]
    fn t15_extensions_have_one_encoding() {
        let head = EnvelopeHead { has_ext: true, ..head(DAY_MS) };
        for bad in [
            &[0x80 | 3, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 9][..], // out of order
            &[0x80 | 2, 1, 9, 2, 1, 9],                                       // twice
            &[0, 1, 9],                                                       // kind 0
            &[2, 2, 9, 9],                                                    // wrong length
            &[40, 63],                                                        // over the bound
            &[40, 200],                                                       // cut off
        ] {
            let mut after = bad.to_vec();
            after.extend_from_slice(&[0; 80]);
            assert_eq!(Envelope::parse(&bytes(head, &after)), Err(EnvelopeError::BadExtension), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn t15_every_accepted_byte_string_is_the_encoding_of_what_it_says(
            flags in any::<u8>(), second in any::<u8>(), mut whole in proptest::collection::vec(any::<u8>(), 30..200),
        ) {
            whole[0] = ENVELOPE_VERSION << 5 | flags & 0x1f;
            whole[1] = second;
            if let Ok(envelope) = Envelope::parse(&whole) {
                let mut again = envelope.head.with_tag(&envelope.tag).to_vec();
                again.extend_from_slice(envelope.ext);
                again.extend_from_slice(envelope.sealed);
                prop_assert_eq!(envelope.ext.is_empty(), !envelope.head.has_ext);
                prop_assert_eq!(&again, &whole);
            }
        }
    }
}
