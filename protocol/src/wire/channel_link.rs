//! Links to channels: whose it is, the key of the first readable day, and where somebody may be asked.
//!
//! ```text
//!  0   1  version = 1 (4 bits) | kind 0 (4 bits)
//!  1   1  flags, none yet; unknown ones are kept
//!  2   2  first readable day: days since 2024-01-01
//!  4  32  key of that day
//! 36  32  the owner's key
//! 68   8  number of the first post that is wanted
//! 76  ..  hints: kind byte, length byte, value, as in invitations: 3 a reader (key 32, multiaddr) | 5 name
//! end  2  CRC-16/GENIBUS of everything before
//! ```
//! Who holds the link reads from that day on, and nothing of before. It cannot be taken back.

use super::invite::{Hint, crc16, finish, strip_scheme};
use super::{base32, base64};
use crate::channel::keys::DayKey;
use crate::crypto::ed25519::VerifyingKey;
use crate::limits::{CHANNEL_LINK_BYTES_MAX, CHANNEL_SEQ_MAX};

/// The only version of this layout.
const VERSION: u8 = 1;
const FIXED_BYTES: usize = 76;
const CRC_BYTES: usize = 2;

/// What a link says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelLink {
    /// Unknown flags, kept.
    pub flags: u8,
    /// Key of the first readable day.
    pub key: DayKey,
    /// The owner.
    pub owner: VerifyingKey,
    /// The first post that is wanted.
    pub first_seq: u64,
    /// Readers to ask, and what to show until a post has said what the channel is called.
    pub hints: Vec<Hint>,
}

/// Why a text or bytes are no link to a channel, in words for who pasted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelLinkError {
    /// Neither of the forms.
    #[error("this is not a link to a channel: one begins with silbo:c/")]
    NotALink,
    /// Shorter than any.
    #[error("the link is cut off: the end is missing")]
    TooShort,
    /// Longer than any.
    #[error("the link is too long for one to a channel")]
    TooLong,
    /// A character that no link has, or an impossible length.
    #[error("the link contains characters that do not belong there")]
    BadCharacter,
    /// The checksum does not match.
    #[error("the link is damaged: check it for typing errors or copy it again")]
    Damaged,
    /// Written by a later version.
    #[error("the link is of version {0}, made by a newer Silbo: update to use it")]
    UnknownVersion(u8),
    /// The checksum matches, the content does not make sense.
    #[error("the link was made by a faulty program")]
    Malformed,
}

impl ChannelLink {
    /// What the channel is called, as the link says.
    pub fn name(&self) -> Option<&str> {
        self.hints.iter().find_map(|hint| match hint {
            Hint::Name(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// The bytes. Hints that cannot be written, or that would make it too long, are left out.
    pub fn encode(&self) -> Vec<u8> {
        let day = u16::try_from(self.key.day()).unwrap_or(u16::MAX);
        let mut out = vec![VERSION << 4, self.flags];
        out.extend_from_slice(&day.to_be_bytes());
        out.extend_from_slice(self.key.expose());
        out.extend_from_slice(self.owner.as_bytes());
        out.extend_from_slice(&self.first_seq.to_be_bytes());
        finish(&mut out, &self.hints, CHANNEL_LINK_BYTES_MAX);
        out
    }

    /// Reads the bytes.
    ///
    /// # Errors
    /// [`ChannelLinkError`]; the checksum is checked before anything else, so that a typing error is called one.
    pub fn decode(bytes: &[u8]) -> Result<Self, ChannelLinkError> {
        if bytes.len() < FIXED_BYTES + CRC_BYTES {
            return Err(ChannelLinkError::TooShort);
        }
        if bytes.len() > CHANNEL_LINK_BYTES_MAX {
            return Err(ChannelLinkError::TooLong);
        }
        let (content, crc) = bytes.split_last_chunk::<CRC_BYTES>().ok_or(ChannelLinkError::TooShort)?;
        if crc16(content) != u16::from_be_bytes(*crc) {
            return Err(ChannelLinkError::Damaged);
        }
        let first = content.first().copied().unwrap_or_default();
        if first >> 4 != VERSION {
            return Err(ChannelLinkError::UnknownVersion(first >> 4));
        }
        read_content(content).ok_or(ChannelLinkError::Malformed)
    }

    /// The link, for chats and mails.
    pub fn link(&self) -> String {
        format!("silbo:c/{}", base64::encode(&self.encode()))
    }

    /// The text of the QR code, in its alphanumeric mode.
    pub fn qr(&self) -> String {
        format!("SILBO:C/{}", base32::encode_upper(&self.encode()))
    }

    /// Reads either form; white space is ignored, the case of the scheme as well.
    ///
    /// # Errors
    /// [`ChannelLinkError`], in words that say what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, ChannelLinkError> {
        if text.len() > 4 * CHANNEL_LINK_BYTES_MAX {
            return Err(ChannelLinkError::TooLong);
        }
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let rest = strip_scheme(&text, "silbo:").ok_or(ChannelLinkError::NotALink)?;
        let bytes = match rest.strip_prefix("//").unwrap_or(rest).split_at_checked(2) {
            Some(("c/", code)) => base64::decode(code),
            Some(("C/", code)) => base32::decode(code),
            _ => return Err(ChannelLinkError::NotALink),
        };
        Self::decode(&bytes.ok_or(ChannelLinkError::BadCharacter)?)
    }
}

fn read_content(content: &[u8]) -> Option<ChannelLink> {
    let ([first, flags], rest) = content.split_first_chunk()?;
    let (day, rest) = rest.split_first_chunk()?;
    let (key, rest) = rest.split_first_chunk::<32>()?;
    let (owner, rest) = rest.split_first_chunk::<32>()?;
    let (first_seq, mut rest) = rest.split_first_chunk()?;
    let mut hints: Vec<Hint> = Vec::new();
    while !rest.is_empty() {
        let ([kind, length], after) = rest.split_first_chunk()?;
        let (value, after) = after.split_at_checked(usize::from(*length))?;
        let hint = Hint::read(*kind, value)?;
        if matches!(hint, Hint::Name(_)) && hints.iter().any(|hint| matches!(hint, Hint::Name(_))) {
            return None;
        }
        hints.push(hint);
        rest = after;
    }
    let link = ChannelLink {
        flags: *flags,
        key: DayKey::read(u32::from(u16::from_be_bytes(*day)), key)?,
        owner: VerifyingKey::read(owner).ok()?,
        first_seq: u64::from_be_bytes(*first_seq),
        hints,
    };
    (first & 0x0f == 0 && link.first_seq < CHANNEL_SEQ_MAX).then_some(link)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::crypto::ed25519::SigningKey;
    use crate::ids::PeerKey;

    fn link(hints: Vec<Hint>) -> ChannelLink {
        let peer_prefix = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
        let peer = PeerKey([&peer_prefix[..], &[9; 32]].concat());
        let hints = hints.into_iter().chain([Hint::Peer { peer, addr: vec![4, 127, 0, 0, 1] }]).collect();
        ChannelLink {
            flags: 0,
            key: DayKey::read(1_000, &[3; 32]).expect("32 bytes"),
            owner: SigningKey::from_seed(&[1; 32]).verifying_key(),
            first_seq: 77,
            hints,
        }
    }

    #[test]
    fn a_link_comes_back_from_every_form() {
        let link = link(Hint::name("Bulletin").into_iter().collect());
        assert_eq!(link.name(), Some("Bulletin"));
        for text in [link.link(), link.qr(), format!("  {}\n{} ", &link.qr()[..30], &link.qr()[30..])] {
            assert_eq!(ChannelLink::parse(&text), Ok(link.clone()), "{text}");
        }
        assert!(link.qr().len() < 260, "{}", link.qr().len());
    }

    #[test]
    fn what_is_no_link_says_why() {
        let good = link(Vec::new());
        let text = good.link();
        let parse = |text: &str| ChannelLink::parse(text).expect_err("no link");
        assert_eq!(parse("hello"), ChannelLinkError::NotALink);
        assert_eq!(parse("silbo:i/AAAA"), ChannelLinkError::NotALink);
        assert_eq!(parse("silbo:c/AAAA"), ChannelLinkError::TooShort);
        assert_eq!(parse("silbo:c/*"), ChannelLinkError::BadCharacter);
        assert_eq!(parse(&"x".repeat(5_000)), ChannelLinkError::TooLong);
        let typo = if text.ends_with('A') { "B" } else { "A" };
        assert!(ChannelLink::parse(&format!("{}{typo}", &text[..text.len() - 1])).is_err());
        let with_crc = |mut bytes: Vec<u8>| {
            let crc = crc16(&bytes);
            bytes.extend_from_slice(&crc.to_be_bytes());
            ChannelLink::decode(&bytes)
        };
        let mut bytes = good.encode();
        bytes.truncate(bytes.len() - 2);
        assert_eq!(with_crc(bytes.clone()), Ok(good));
        let changed = |at: usize, to: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = to;
            with_crc(bytes)
        };
        assert_eq!(changed(0, 0x20), Err(ChannelLinkError::UnknownVersion(2)));
        assert_eq!(changed(0, 0x11), Err(ChannelLinkError::Malformed));
        assert_eq!(changed(68, 1), Err(ChannelLinkError::Malformed), "no post has such a number");
        assert_eq!(with_crc([&bytes[..36], &[0; 32], &bytes[68..]].concat()), Err(ChannelLinkError::Malformed));
    }

    #[test]
    fn hints_that_do_not_fit_are_left_out() {
        let PeerKey(peer) = PeerKey([&[0x00, 0x24, 0x08, 0x01, 0x12, 0x20][..], &[9; 32]].concat());
        let many = (0..20).map(|_| Hint::Peer { peer: PeerKey(peer.clone()), addr: vec![4; 60] }).collect();
        let bytes = link(many).encode();
        assert!(bytes.len() <= CHANNEL_LINK_BYTES_MAX);
        assert!(ChannelLink::decode(&bytes).is_ok_and(|link| link.hints.len() == 4));
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes: Vec<u8>, text: String) {
            let _ = ChannelLink::decode(&bytes);
            let _ = ChannelLink::parse(&text);
        }

        #[test]
        fn whatever_reads_is_written_the_same(tail in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut bytes = link(Vec::new()).encode()[..FIXED_BYTES].to_vec();
            bytes.extend_from_slice(&tail);
            let crc = crc16(&bytes);
            bytes.extend_from_slice(&crc.to_be_bytes());
            if let Ok(link) = ChannelLink::decode(&bytes) {
                prop_assert_eq!(link.encode(), bytes);
            }
        }
    }
}
