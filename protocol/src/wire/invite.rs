//! Invitations: 42 bytes and hints, as a link, a QR code, or the fragment of any web address.
//!
//! ```text
//!  0   1  version = 1 (4 bits) | kind (4 bits): 0 one-time, 1 reusable address
//!  1   1  flags: b0 relay hints | b1 DHT | b2 BLE here | b3 LAN here | b4 bundle in person | b5 persona | b6 stamp
//!  2   2  expiry day: days since 2024-01-01
//!  4  16  secret
//! 20  20  first 20 bytes of the inviter's account id
//! 40  ..  hints: kind byte, length byte, value
//!         1 relay (key 32, multiaddr) | 3 the inviter itself (the same) | 5 name | 6 minute of the expiry day
//!         8 group (id 16, link 16): the invitation leads into this group, and the name is the group's
//! end  2  CRC-16/GENIBUS (CCITT polynomial, complemented) of everything before: links are also typed by hand
//! ```
//! The account id is a commitment: everything else is verified through the device log in the contact card. Who never
//! saw the secret can neither find nor read nor answer the card; [`InviteKeys`] holds what is derived from it.
//! Hints are only hints; a wrong one costs a failed dial.

use crate::crypto::ed25519::SigningKey;
use crate::crypto::{Secret, hash, kdf};
use crate::ids::{AccountId, BlobId, ChatId, OperationId, PeerKey};
pub use crate::input::InviteKind;
use crate::time::{DAY_MS, EPOCH_2024_MS, MINUTE_MS, UnixTime};
use crate::wire::{base32, base64};

/// The only version of this layout.
pub const INVITE_VERSION: u8 = 1;
/// Longest invitation: what fits a QR code a phone camera still reads.
pub const INVITE_BYTES_MAX: usize = 512;
/// Longest name in an invitation; it serves recognition before the card has come.
pub const HINT_NAME_BYTES_MAX: usize = 24;
/// Longest binary multiaddr in an invitation.
pub const ADDRESS_BYTES_MAX: usize = 64;

/// Flag bits of the second byte.
pub mod flags {
    /// Relay hints follow.
    pub const RELAY: u8 = 1;
    /// The card can be found through the DHT.
    pub const DHT: u8 = 1 << 1;
    /// The inviter is reachable over Bluetooth at the moment.
    pub const BLE: u8 = 1 << 2;
    /// The inviter is reachable in the local network at the moment.
    pub const LAN: u8 = 1 << 3;
    /// The bundle with the post-quantum key is handed over in person.
    pub const IN_PERSON: u8 = 1 << 4;
    /// The account is one of several faces of a person.
    pub const PERSONA: u8 = 1 << 5;
    /// A request needs a work stamp.
    pub const STAMP: u8 = 1 << 6;
}

/// Bytes before the hints.
const FIXED_BYTES: usize = 40;
const CRC_BYTES: usize = 2;
/// A libp2p `PeerId` of an Ed25519 key is this and the key: identity multihash of a protobuf.
const PEER_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
const HINT_RELAY: u8 = 1;
const HINT_PEER: u8 = 3;
const HINT_NAME: u8 = 5;
const HINT_MINUTE: u8 = 6;
const HINT_GROUP: u8 = 8;
const MINUTES_PER_DAY: u16 = 24 * 60;

/// First 20 bytes of an account id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Aid20(pub [u8; 20]);

/// One invitation, as its link carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InviteCode {
    /// For one person or for many.
    pub kind: InviteKind,
    /// Bits of [`flags`]; unknown ones are kept.
    pub flags: u8,
    /// Days since 2024-01-01; it expires at the end of this day unless a hint names the minute.
    pub expiry_day: u16,
    /// What only the invited know.
    pub secret: Secret<16>,
    /// Whom the card must belong to.
    pub aid20: Aid20,
    /// Where to look, in order of preference.
    pub hints: Vec<Hint>,
}

/// Where the card may be found, and what to show until it has been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// A relay that holds the card.
    Relay {
        /// Its key.
        peer: PeerKey,
        /// One binary multiaddr.
        addr: Vec<u8>,
    },
    /// The inviter itself.
    Peer {
        /// Its key.
        peer: PeerKey,
        /// One binary multiaddr.
        addr: Vec<u8>,
    },
    /// What the inviter calls itself.
    Name(String),
    /// Minute of the expiry day in UTC, 0 to 1,439.
    ExpiryMinute(u16),
    /// The group it leads into.
    Group {
        /// Its conversation.
        group: ChatId,
        /// The operation that made the link.
        link: OperationId,
    },
    /// A kind of a later version; kept as it is.
    Other {
        /// Its kind byte.
        kind: u8,
        /// Its value.
        value: Vec<u8>,
    },
}

/// What is derived from the secret of an invitation. `Debug` prints no bytes.
#[derive(Clone, Debug)]
pub struct InviteKeys {
    /// Encrypts the contact card.
    pub card: Secret<32>,
    /// Mixed into the handshake of the first message.
    pub psk: Secret<32>,
    /// Makes the tags of first-contact envelopes.
    pub first_contact: Secret<32>,
    /// Makes the place in the DHT.
    pub rdv: Secret<32>,
    /// Authenticates a request for the card.
    pub request: Secret<32>,
    /// Owns the card at a relay. Everybody who holds the invitation can derive it, so holders of a published address
    /// can replace the card there; it is signed inside, so all they gain is that it cannot be used.
    pub blob_owner: SigningKey,
    /// Name of the card at a relay.
    pub blob_id: BlobId,
}

/// Why a text or bytes are not an invitation, in words for who pasted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InviteError {
    /// None of the three forms.
    #[error("this is not a Silbo link: one begins with silbo:i/ or ends with /k# and a code")]
    NotSilbo,
    /// A Silbo text of another purpose.
    #[error("this is a Silbo code, but not an invitation")]
    NotAnInvite,
    /// Shorter than any invitation.
    #[error("the link is cut off: the end is missing")]
    TooShort,
    /// Longer than any invitation.
    #[error("the link is too long for an invitation")]
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
    /// A purpose this version does not know.
    #[error("the link is of kind {0}, which this version cannot use")]
    UnknownKind(u8),
    /// The checksum matches, the content does not make sense.
    #[error("the link was made by a faulty program")]
    Malformed,
}

impl InviteKeys {
    /// All that is derived from the secret of an invitation.
    pub fn derive(secret: &[u8; 16]) -> Self {
        let key = |info| kdf(secret, b"", info);
        let blob_id: Secret<16> = kdf(secret, b"", "silbo/1/invite/blob");
        Self {
            card: key("silbo/1/invite/card"),
            psk: key("silbo/1/invite/psk"),
            first_contact: key("silbo/1/invite/fc"),
            rdv: key("silbo/1/invite/rdv"),
            request: key("silbo/1/invite/req-mac"),
            blob_owner: SigningKey::from_seed(key("silbo/1/invite/blob-owner").expose()),
            blob_id: BlobId(*blob_id.expose()),
        }
    }
}

impl Aid20 {
    /// The commitment to this account.
    pub fn of(aid: &AccountId) -> Self {
        Self(hash::trunc(&aid.0))
    }

    /// The conversation with this account.
    pub fn chat(&self) -> ChatId {
        let mut id = [0; ChatId::LEN];
        id.copy_from_slice(&self.0[..ChatId::LEN]);
        ChatId(id)
    }

    /// Reads exactly 20 bytes.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl std::fmt::Debug for Aid20 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Aid20({})", base32::encode_lower(self.0.get(..5).unwrap_or_default()))
    }
}

impl Hint {
    /// A name hint: cut at a character, control characters left out. `None` if nothing is left.
    pub fn name(name: &str) -> Option<Self> {
        let mut kept = String::new();
        for c in name.trim().chars().filter(|c| !c.is_control()) {
            if kept.len() + c.len_utf8() > HINT_NAME_BYTES_MAX {
                break;
            }
            kept.push(c);
        }
        (!kept.is_empty()).then_some(Self::Name(kept))
    }

    /// Kind and value; `None` if it cannot be written: a peer that is no Ed25519 `PeerId`, an address or a name too long.
    pub(super) fn encode(&self) -> Option<(u8, Vec<u8>)> {
        let fits = |addr: &Vec<u8>| (1..=ADDRESS_BYTES_MAX).contains(&addr.len());
        Some(match self {
            Self::Relay { peer, addr } if fits(addr) => (HINT_RELAY, [short_peer(peer)?, addr].concat()),
            Self::Peer { peer, addr } if fits(addr) => (HINT_PEER, [short_peer(peer)?, addr].concat()),
            Self::Name(name) if is_name(name) => (HINT_NAME, name.as_bytes().to_vec()),
            Self::ExpiryMinute(minute) if *minute < MINUTES_PER_DAY => (HINT_MINUTE, minute.to_be_bytes().to_vec()),
            Self::Group { group, link } => (HINT_GROUP, [group.0, link.0].concat()),
            Self::Other { kind, value }
                if !matches!(*kind, HINT_RELAY | HINT_PEER | HINT_NAME | HINT_MINUTE | HINT_GROUP) =>
            {
                (*kind, value.clone())
            }
            _ => return None,
        })
        .filter(|(_, value)| value.len() <= usize::from(u8::MAX))
    }

    pub(super) fn read(kind: u8, value: &[u8]) -> Option<Self> {
        Some(match kind {
            HINT_RELAY | HINT_PEER => {
                let (peer, addr) = value.split_first_chunk::<32>()?;
                if addr.is_empty() || addr.len() > ADDRESS_BYTES_MAX {
                    return None;
                }
                let (peer, addr) = (long_peer(peer), addr.to_vec());
                if kind == HINT_RELAY { Self::Relay { peer, addr } } else { Self::Peer { peer, addr } }
            }
            HINT_NAME => Self::Name(std::str::from_utf8(value).ok().filter(|name| is_name(name))?.to_owned()),
            HINT_MINUTE => {
                Self::ExpiryMinute(Some(u16::from_be_bytes(value.try_into().ok()?)).filter(|m| *m < MINUTES_PER_DAY)?)
            }
            HINT_GROUP => {
                let (group, link) = value.split_at_checked(ChatId::LEN)?;
                Self::Group { group: ChatId::read(group)?, link: OperationId::read(link)? }
            }
            _ => Self::Other { kind, value: value.to_vec() },
        })
    }
}

impl InviteCode {
    /// An invitation of `aid` that expires at `expires_at`: its minute is put in front of the hints.
    pub fn new(kind: InviteKind, expires_at: UnixTime, secret: [u8; 16], aid: &AccountId, hints: Vec<Hint>) -> Self {
        let expiry_day = u16::try_from(expires_at.day_2024()).unwrap_or(u16::MAX);
        let into_day_ms = expires_at.0.saturating_sub(EPOCH_2024_MS) % DAY_MS;
        let minute = u16::try_from(into_day_ms / MINUTE_MS).unwrap_or(0);
        let flags = if hints.iter().any(|hint| matches!(hint, Hint::Relay { .. })) { flags::RELAY } else { 0 };
        let hints = std::iter::once(Hint::ExpiryMinute(minute)).chain(hints).collect();
        Self { kind, flags, expiry_day, secret: Secret::new(secret), aid20: Aid20::of(aid), hints }
    }

    /// What is derived from its secret.
    pub fn keys(&self) -> InviteKeys {
        InviteKeys::derive(self.secret.expose())
    }

    /// When it expires: the minute if it is given, else the end of the day. The inviter enforces it to the millisecond.
    pub fn expires_at(&self) -> UnixTime {
        let minute = self.hints.iter().find_map(|hint| match hint {
            Hint::ExpiryMinute(minute) => Some(u64::from(*minute) * MINUTE_MS),
            _ => None,
        });
        UnixTime(EPOCH_2024_MS).after_ms(u64::from(self.expiry_day) * DAY_MS).after_ms(minute.unwrap_or(DAY_MS))
    }

    /// The name to show until the card has come.
    pub fn name(&self) -> Option<&str> {
        self.hints.iter().find_map(|hint| match hint {
            Hint::Name(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// The group it leads into, and the operation that made the link.
    pub fn group(&self) -> Option<(ChatId, OperationId)> {
        self.hints.iter().find_map(|hint| match hint {
            Hint::Group { group, link } => Some((*group, *link)),
            _ => None,
        })
    }

    /// The bytes. Hints that cannot be written, or that would make it longer than a code can be, are left out.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        let kind = match self.kind {
            InviteKind::OneTime => 0,
            InviteKind::Reusable => 1,
        };
        out.push(INVITE_VERSION << 4 | kind);
        out.push(self.flags);
        out.extend_from_slice(&self.expiry_day.to_be_bytes());
        out.extend_from_slice(self.secret.expose());
        out.extend_from_slice(&self.aid20.0);
        finish(&mut out, &self.hints, INVITE_BYTES_MAX);
        out
    }

    /// Reads the bytes.
    ///
    /// # Errors
    /// [`InviteError`]; the checksum is checked before anything else, so that a typing error is called one.
    pub fn decode(bytes: &[u8]) -> Result<Self, InviteError> {
        if bytes.len() < FIXED_BYTES + CRC_BYTES {
            return Err(InviteError::TooShort);
        }
        if bytes.len() > INVITE_BYTES_MAX {
            return Err(InviteError::TooLong);
        }
        let (content, crc) = bytes.split_last_chunk::<CRC_BYTES>().ok_or(InviteError::TooShort)?;
        if crc16(content) != u16::from_be_bytes(*crc) {
            return Err(InviteError::Damaged);
        }
        read_content(content)
    }

    /// The link, for chats and mails.
    pub fn link(&self) -> String {
        format!("silbo:i/{}", base64::encode(&self.encode()))
    }

    /// The text of the QR code, in its alphanumeric mode.
    pub fn qr(&self) -> String {
        format!("SILBO:I/{}", base32::encode_upper(&self.encode()))
    }

    /// A web address that carries it in its fragment, which browsers never send. `base` is `https://host`.
    pub fn web_link(&self, base: &str) -> String {
        format!("{}/k#{}", base.trim_end_matches('/'), base64::encode(&self.encode()))
    }

    /// Reads any of the three forms; white space around and inside is ignored, the case of the scheme as well.
    ///
    /// # Errors
    /// [`InviteError`], in words that say what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, InviteError> {
        // Longest: base32 of the largest invitation, a scheme or a long web address, and line breaks.
        if text.len() > 4 * INVITE_BYTES_MAX {
            return Err(InviteError::TooLong);
        }
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let bytes = if let Some(rest) = strip_scheme(&text, "silbo:") {
            let rest = rest.strip_prefix("//").unwrap_or(rest);
            match rest.split_at_checked(2) {
                Some(("i/", code)) => base64::decode(code),
                Some(("I/", code)) => base32::decode(code),
                _ => return Err(InviteError::NotAnInvite),
            }
        } else if strip_scheme(&text, "https://").or_else(|| strip_scheme(&text, "http://")).is_some() {
            let (address, code) = text.split_once('#').ok_or(InviteError::NotSilbo)?;
            if !address.trim_end_matches('/').ends_with("/k") {
                return Err(InviteError::NotSilbo);
            }
            base64::decode(code)
        } else {
            return Err(InviteError::NotSilbo);
        };
        Self::decode(&bytes.ok_or(InviteError::BadCharacter)?)
    }
}

/// Appends hints, as long as the whole stays within so many bytes, and the checksum.
pub(super) fn finish(out: &mut Vec<u8>, hints: &[Hint], bytes_max: usize) {
    for (kind, value) in hints.iter().filter_map(Hint::encode) {
        let Ok(length) = u8::try_from(value.len()) else { continue };
        if out.len() + 2 + value.len() + CRC_BYTES > bytes_max {
            break;
        }
        out.extend_from_slice(&[kind, length]);
        out.extend_from_slice(&value);
    }
    let crc = crc16(out);
    out.extend_from_slice(&crc.to_be_bytes());
}

fn read_content(content: &[u8]) -> Result<InviteCode, InviteError> {
    let (fixed, mut rest) = content.split_first_chunk::<FIXED_BYTES>().ok_or(InviteError::TooShort)?;
    let [first, flags, day_high, day_low, tail @ ..] = fixed;
    if first >> 4 != INVITE_VERSION {
        return Err(InviteError::UnknownVersion(first >> 4));
    }
    let kind = match first & 0x0f {
        0 => InviteKind::OneTime,
        1 => InviteKind::Reusable,
        kind => return Err(InviteError::UnknownKind(kind)),
    };
    let (secret, aid20) = tail.split_at_checked(16).ok_or(InviteError::TooShort)?;
    let mut hints = Vec::new();
    while !rest.is_empty() {
        let ([kind, len], after) = rest.split_first_chunk().ok_or(InviteError::Malformed)?;
        let (value, after) = after.split_at_checked(usize::from(*len)).ok_or(InviteError::Malformed)?;
        let only_once = matches!(*kind, HINT_NAME | HINT_MINUTE | HINT_GROUP);
        let hint = Hint::read(*kind, value).ok_or(InviteError::Malformed)?;
        if only_once && hints.iter().any(|h| std::mem::discriminant(h) == std::mem::discriminant(&hint)) {
            return Err(InviteError::Malformed);
        }
        hints.push(hint);
        rest = after;
    }
    Ok(InviteCode {
        kind,
        flags: *flags,
        expiry_day: u16::from_be_bytes([*day_high, *day_low]),
        secret: Secret::read(secret).ok_or(InviteError::TooShort)?,
        aid20: Aid20::read(aid20).ok_or(InviteError::TooShort)?,
        hints,
    })
}

pub(super) fn strip_scheme<'a>(text: &'a str, scheme: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

fn is_name(name: &str) -> bool {
    (1..=HINT_NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// The 32 bytes of an Ed25519 `PeerId` that are not constant.
fn short_peer(peer: &PeerKey) -> Option<&[u8]> {
    peer.0.strip_prefix(&PEER_PREFIX).filter(|key| key.len() == 32)
}

fn long_peer(key: &[u8; 32]) -> PeerKey {
    PeerKey([&PEER_PREFIX[..], key].concat())
}

/// CRC-16/GENIBUS, the CCITT polynomial: finds every error within 16 neighbouring bits. The complement at the end
/// matters: without it, zeros appended to a valid text would pass.
pub(super) fn crc16(bytes: &[u8]) -> u16 {
    !bytes.iter().fold(0xffff, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc: u16, _| crc << 1 ^ if crc & 0x8000 != 0 { 0x1021 } else { 0 })
    })
}

#[cfg(test)]
#[path = "invite_tests.rs"]
mod tests;
