//! The contact card: what an invitation leads to. Device log, profile, prekey bundles, mailboxes, presence, addresses.
//!
//! ```text
//!   sealed = salt 24 ‖ ChaCha20-Poly1305(key and nonce from (k_card, salt), padded Signed{Card}), a multiple of 4,096 B
//! ```
//! Everybody with the invitation can open the card and could seal another; so the card inside is signed by a live
//! device of the log it carries, and the log must be the one the invitation commits to. The signatures of the prekey
//! bundles are checked where they are used, in `session`. The avatar does not fit: it follows over the session.

use prost::Message;
use zeroize::Zeroizing;

use super::account::OwnAccount;
use super::device_log::{ALG_ED25519, DeviceLog, LogError};
use crate::chance::Chance;
use crate::crypto::{Secret, aead, kdf};
use crate::ids::{AccountId, DeviceId};
use crate::limits::{
    ADDRESSES_PER_PEER_MAX, BLOB_BYTES_MAX, CARD_PAD_BYTES, DEVICES_MAX, GRANTS_PER_CONTACT_MAX, NAME_BYTES_MAX,
    STATUS_BYTES_MAX,
};
use crate::wire::invite::Aid20;
use crate::wire::padding::{pad_to, unpad};
use crate::wire::proto;

/// Addresses of stable peers in a card.
pub const CARD_PEERS_MAX: usize = 4;

const SALT_BYTES: usize = 24;
const OVERHEAD_BYTES: usize = SALT_BYTES + aead::TAG_BYTES;
const CARD_PURPOSE: &str = "silbo/1/sign/card";

/// Why a card cannot be made or used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CardError {
    /// With all its parts it is larger than a relay keeps: leave mailboxes or bundles out.
    #[error("the contact card is too large")]
    TooLarge,
    /// Not sealed with the key of this invitation, or damaged.
    #[error("the contact card cannot be decrypted with this invitation")]
    Rejected,
    /// Decrypted, but not a card.
    #[error("the contact card is malformed")]
    Malformed,
    /// The card is of another account than the invitation names.
    #[error("the contact card belongs to another account than the invitation")]
    OtherAccount,
    /// Not signed by a live device of the account.
    #[error("the contact card is not signed by a device of its account")]
    Signature,
    /// The account has been closed by its owner.
    #[error("the account of this invitation has been closed")]
    Closed,
    /// The log in it does not verify.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// A card whose account, log and signature have been checked, with all counts within their bounds.
#[derive(Clone, Debug)]
pub struct VerifiedCard {
    /// The account.
    pub aid: AccountId,
    /// Its devices.
    pub log: DeviceLog,
    /// Name and status; no avatar, no control characters.
    pub profile: proto::Profile,
    /// One per live device at most; their signatures are for the session to check.
    pub bundles: Vec<proto::PrekeyBundle>,
    /// Where to leave mail.
    pub mailboxes: Vec<proto::MailboxGrant>,
    /// How to find it in the DHT.
    pub presence: Option<proto::Presence>,
    /// Where to dial.
    pub peers: Vec<proto::PeerHint>,
    /// Suites it speaks.
    pub suites: Vec<u32>,
    /// Counts up with each edition.
    pub seq: u32,
}

/// The parts of a card that are not the account itself.
#[derive(Clone, Debug, Default)]
pub struct CardParts {
    /// Profile; its avatar is left out.
    pub profile: proto::Profile,
    /// Prekey bundles of the devices.
    pub bundles: Vec<proto::PrekeyBundle>,
    /// At most `limits::GRANTS_PER_CONTACT_MAX` are taken.
    pub mailboxes: Vec<proto::MailboxGrant>,
    /// Presence keys.
    pub presence: Option<proto::Presence>,
    /// At most [`CARD_PEERS_MAX`] are taken.
    pub peers: Vec<proto::PeerHint>,
    /// Counts up with each edition.
    pub seq: u32,
}

/// The card of this account.
pub fn build_card(account: &OwnAccount, mut parts: CardParts) -> proto::Card {
    parts.profile.avatar.clear();
    parts.mailboxes.truncate(GRANTS_PER_CONTACT_MAX);
    parts.peers.truncate(CARD_PEERS_MAX);
    proto::Card {
        aid: account.aid().0.to_vec(),
        log: account.log().entries().to_vec(),
        profile: Some(parts.profile),
        bundles: parts.bundles,
        mailboxes: parts.mailboxes,
        presence: parts.presence,
        peers: parts.peers,
        suites: vec![1],
        seq: parts.seq,
    }
}

/// Signs the card with this device and seals it for who holds the invitation.
///
/// # Errors
/// [`CardError::TooLarge`].
pub fn seal_card(
    k_card: &Secret<32>,
    card: &proto::Card,
    account: &OwnAccount,
    chance: &mut Chance,
) -> Result<Vec<u8>, CardError> {
    let aid20 = Aid20::of(&account.aid());
    let body = card.encode_to_vec();
    let sig = account.dik().sign(CARD_PURPOSE, &[&aid20.0, &body]).to_vec();
    let signed = proto::Signed { body, sig, alg: ALG_ED25519, signer: account.device_id().0.to_vec() };
    let plain = Zeroizing::new(signed.encode_to_vec());
    let whole = plain.len().saturating_add(1 + OVERHEAD_BYTES).next_multiple_of(CARD_PAD_BYTES);
    if whole > BLOB_BYTES_MAX {
        return Err(CardError::TooLarge);
    }
    let padded = Zeroizing::new(pad_to(&plain, whole - OVERHEAD_BYTES).ok_or(CardError::TooLarge)?);
    let salt: [u8; SALT_BYTES] = chance.bytes();
    let (key, nonce) = seal_key(k_card, &salt);
    let mut out = salt.to_vec();
    out.extend_from_slice(&aead::seal(&key, nonce.expose(), &aid20.0, &padded));
    Ok(out)
}

/// Opens and verifies a card.
///
/// # Errors
/// [`CardError`].
pub fn open_card(k_card: &Secret<32>, sealed: &[u8], aid20: &Aid20) -> Result<VerifiedCard, CardError> {
    if sealed.is_empty() || !sealed.len().is_multiple_of(CARD_PAD_BYTES) || sealed.len() > BLOB_BYTES_MAX {
        return Err(CardError::Rejected);
    }
    let (salt, ciphertext) = sealed.split_first_chunk::<SALT_BYTES>().ok_or(CardError::Rejected)?;
    let (key, nonce) = seal_key(k_card, salt);
    let padded = aead::open(&key, nonce.expose(), &aid20.0, ciphertext).map_err(|_| CardError::Rejected)?;
    let signed =
        proto::Signed::decode(unpad(&padded).ok_or(CardError::Malformed)?).map_err(|_| CardError::Malformed)?;
    let card = proto::Card::decode(signed.body.as_slice()).map_err(|_| CardError::Malformed)?;
    let log = DeviceLog::read(&card.log)?;
    let aid = log.aid();
    if Aid20::of(&aid) != *aid20 || card.aid != aid.0 {
        return Err(CardError::OtherAccount);
    }
    if log.closed() {
        return Err(CardError::Closed);
    }
    let signer = DeviceId::read(&signed.signer).and_then(|id| log.device(&id)).ok_or(CardError::Signature)?;
    if signed.alg != ALG_ED25519 || signer.dik.verify(CARD_PURPOSE, &[&aid20.0, &signed.body], &signed.sig).is_err() {
        return Err(CardError::Signature);
    }
    Ok(VerifiedCard::bounded(aid, log, card))
}

impl VerifiedCard {
    fn bounded(aid: AccountId, log: DeviceLog, card: proto::Card) -> Self {
        let is_live = |id: &[u8]| DeviceId::read(id).is_some_and(|id| log.device(&id).is_some());
        let mut bundles: Vec<proto::PrekeyBundle> = Vec::new();
        for bundle in card.bundles.into_iter().filter(|bundle| is_live(&bundle.device_id)) {
            if bundles.len() < DEVICES_MAX && bundles.iter().all(|other| other.device_id != bundle.device_id) {
                bundles.push(bundle);
            }
        }
        let mut mailboxes = card.mailboxes;
        mailboxes.truncate(GRANTS_PER_CONTACT_MAX);
        for relay in mailboxes.iter_mut().filter_map(|grant| grant.relay.as_mut()) {
            relay.addrs.truncate(ADDRESSES_PER_PEER_MAX);
        }
        let mut peers = card.peers;
        peers.truncate(CARD_PEERS_MAX);
        for peer in &mut peers {
            peer.addrs.truncate(ADDRESSES_PER_PEER_MAX);
        }
        let mut suites = card.suites;
        suites.truncate(8);
        let profile = bounded_profile(card.profile.unwrap_or_default());
        let presence = card.presence.filter(crate::presence::is_usable);
        Self { aid, log, profile, bundles, mailboxes, presence, peers, suites, seq: card.seq }
    }
}

fn bounded_profile(profile: proto::Profile) -> proto::Profile {
    proto::Profile {
        name: bounded_text(&profile.name, NAME_BYTES_MAX),
        status: bounded_text(&profile.status, STATUS_BYTES_MAX),
        avatar: Vec::new(),
        rev: profile.rev,
    }
}

/// Cut at a character, without control characters that could forge a line on a terminal.
fn bounded_text(text: &str, bytes_max: usize) -> String {
    let mut out = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        if out.len() + c.len_utf8() > bytes_max {
            break;
        }
        out.push(c);
    }
    out
}

/// Key and nonce of one sealing; the random salt makes both fresh.
fn seal_key(k_card: &Secret<32>, salt: &[u8; SALT_BYTES]) -> (Secret<32>, Secret<12>) {
    kdf::<44>(k_card.expose(), salt, "silbo/1/card").split()
}

#[cfg(test)]
#[path = "card_tests.rs"]
mod tests;
