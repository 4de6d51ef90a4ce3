//! The double ratchet with encrypted headers (Signal specification §4; protocol.md §2.4).
//!
//! ```text
//!   envelope = fixed 4 | tag 12 | header, encrypted | body, ChaCha20-Poly1305
//!   mk_ec = HMAC(ck, 1)   ck' = HMAC(ck, 2)   key ‖ nonce = KDF(mk_ec, mk_pq; salt of the header, "silbo/1/mk")
//!   AD of the body = AD of the session and direction ‖ fixed 4 and tag 12 ‖ header as sent
//! ```
//! `mk_pq` is the slot of the ML-KEM braid and empty in suite 1. [`Session::open`] takes `&self` and returns the
//! advanced session, so a refused envelope cannot change anything; nothing is derived from what an envelope says
//! about the past (PN) before its body has verified. Messages that were overtaken live on as
//! [`SkippedKey`]s in the caller's store; the session itself keeps the current chain only.

use std::collections::BTreeMap;

use super::body::{FIXED_BYTES, Parts, body_ad, body_key, open_body, split_envelope};
use super::chains::{ReceivingChain, SendingChain, chain_step, root_step};
use super::handshake::HandshakeError;
use super::header::{self, Header};
use super::skipped::SkippedKey;
use super::tags::{TagKey, header_cipher_key, tag_of, window};
use crate::chance::Chance;
use crate::crypto::hash::trunc;
use crate::crypto::x25519::{PublicKey, SecretKey};
use crate::crypto::{Secret, aead, hash};
use crate::ids::{Preimage, SessionId, Tag};
use crate::limits::{
    ENVELOPE_BYTES_MAX, RATCHET_JUMP_MAX, SEND_AHEAD_MAX, SESSION_UNANSWERED_MS_MAX, SKIPPED_KEY_AGE_MS,
    SKIPPED_KEYS_PER_SESSION_MAX, TAG_LANDMARK_CURRENT_MAX, TAG_LANDMARK_NEXT_MAX, TAG_LANDMARK_STEP,
    TAG_WINDOW_CURRENT, TAG_WINDOW_NEXT,
};
use crate::time::UnixTime;

/// One end of a session. Every field is zeroed when dropped; `Debug` prints the id only.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    pub(super) id: SessionId,
    pub(super) ad_send: [u8; 32],
    pub(super) ad_receive: [u8; 32],
    pub(super) root: Secret<32>,
    pub(super) ratchet_secret: SecretKey,
    pub(super) peer_ratchet: Option<PublicKey>,
    pub(super) sending: Option<SendingChain>,
    pub(super) next_send_key: Secret<32>,
    pub(super) receiving: Option<ReceivingChain>,
    pub(super) next_receive_key: Secret<32>,
    pub(super) previous_len: u32,
    /// Number of this session in its conversation; set by the caller, as the handshake's identity carries it.
    pub epoch: u32,
    /// Whether a message of the peer has been opened.
    pub answered: bool,
    /// When the handshake was made; set by the caller, 0 for unknown.
    pub created_at: UnixTime,
    /// When a message was last sealed; 0 for never.
    pub last_sent: UnixTime,
    /// When a message was last opened in order or ahead; 0 for never.
    pub last_received: UnixTime,
}

/// What the handshake gives: forward is initiator to responder.
pub(super) struct SessionKeys {
    pub(super) id: SessionId,
    pub(super) ad_forward: [u8; 32],
    pub(super) ad_back: [u8; 32],
    pub(super) root: Secret<32>,
    pub(super) forward_header: Secret<32>,
    pub(super) back_header: Secret<32>,
}

/// Which receiving chain a tag belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Chain {
    /// The one messages are being read from.
    Current,
    /// The one the peer opens with its next ratchet key.
    Next,
}

/// What a tag of [`Session::tags`] means. Good until the session moves to another receiving chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TagPlace {
    /// The chain.
    pub chain: Chain,
    /// The number in it.
    pub n: u32,
}

/// Place of a sent message: sending chain of the session and number in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SentPlace {
    /// How many sending chains came before.
    pub chain: u32,
    /// The number in the chain.
    pub n: u32,
}

/// A sealed message. The caller stores it together with the session it came from, then sends; a retry sends these bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The envelope's tag.
    pub tag: Tag,
    /// The receipt the peer will publish.
    pub preimage: Preimage,
    /// The whole envelope.
    pub envelope: Vec<u8>,
    /// For [`Session::receipt`].
    pub place: SentPlace,
    /// A hash of key and nonce, so that tests can count reuse.
    pub key_id: [u8; 16],
}

/// An opened message and everything to store with it in one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Replaces the session; its [`tags`](Session::tags) replace the old ones.
    pub session: Session,
    /// The padded plaintext.
    pub plaintext: Vec<u8>,
    /// The receipt to publish after the commit.
    pub preimage: Preimage,
    /// First bytes of the sender's device log head.
    pub log_head3: [u8; 3],
    /// Keys of overtaken messages, oldest first; at most `limits::SKIPPED_KEYS_PER_SESSION_MAX`, the newest.
    pub skipped: Vec<(Tag, SkippedKey)>,
}

/// Why a message was not sealed. The session is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The responder seals only after it has opened a message: before that the peer is a claim.
    #[error("the session has not received its first message")]
    NoSendingChain,
    /// `limits::SEND_AHEAD_MAX` messages are without a receipt; wait for one.
    #[error("too many messages are without a receipt")]
    TooFarAhead,
    /// The envelope would exceed `limits::ENVELOPE_BYTES_MAX`.
    #[error("the plaintext is too long for one envelope")]
    TooLong,
}

/// Why an envelope was not opened. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Too short or too long for an envelope.
    #[error("the envelope has an impossible length")]
    Length,
    /// The tag is not the one of this place, or the place is behind the chain: read already, or skipped.
    #[error("the tag does not belong to this place")]
    UnknownTag,
    /// The place is further ahead than `limits::RATCHET_JUMP_MAX`, or the peer says its last chain was.
    #[error("the message is too far ahead")]
    TooFar,
    /// The header does not decrypt to one.
    #[error("the header is malformed")]
    BadHeader,
    /// The body does not verify: changed on the way, or not from the peer.
    #[error("the envelope does not verify")]
    Rejected,
}

impl Session {
    pub(super) fn initiator(
        keys: SessionKeys,
        peer_spk: PublicKey,
        chance: &mut Chance,
    ) -> Result<Self, HandshakeError> {
        let ratchet_secret = SecretKey::generate(chance);
        let step = root_step(&keys.root, &ratchet_secret.diffie_hellman(&peer_spk)?);
        Ok(Self {
            id: keys.id,
            ad_send: keys.ad_forward,
            ad_receive: keys.ad_back,
            root: step.root,
            ratchet_secret,
            peer_ratchet: Some(peer_spk),
            sending: Some(SendingChain::new(keys.forward_header, step.chain_key, 0)),
            next_send_key: step.next_header_key,
            receiving: None,
            next_receive_key: keys.back_header,
            previous_len: 0,
            epoch: 0,
            answered: false,
            created_at: UnixTime(0),
            last_sent: UnixTime(0),
            last_received: UnixTime(0),
        })
    }

    pub(super) fn responder(keys: SessionKeys, spk: SecretKey) -> Self {
        Self {
            id: keys.id,
            ad_send: keys.ad_back,
            ad_receive: keys.ad_forward,
            root: keys.root,
            ratchet_secret: spk,
            peer_ratchet: None,
            sending: None,
            next_send_key: keys.back_header,
            receiving: None,
            next_receive_key: keys.forward_header,
            previous_len: 0,
            epoch: 0,
            answered: false,
            created_at: UnixTime(0),
            last_sent: UnixTime(0),
            last_received: UnixTime(0),
        }
    }

    /// The session's name; of two made at once, the lower one is the one to send on.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Sets when the handshake was made, for [`Self::is_stale`].
    pub fn set_created_at(&mut self, now: UnixTime) {
        self.created_at = now;
    }

    /// Which receiving chain is current (0 for none yet) and the number of its next message: as long as the chain
    /// stays the same, places of earlier [`Self::tags`] stay good.
    pub fn receiving_position(&self) -> (u32, u32) {
        match (&self.receiving, &self.sending) {
            (Some(receiving), Some(sending)) => (sending.index.saturating_add(1), receiving.next),
            _ => (0, 0),
        }
    }

    /// Whether nobody has answered for so long that a new handshake must come before the next message (T-16).
    pub fn is_stale(&self, now: UnixTime) -> bool {
        !self.answered && self.created_at.0 != 0 && now.0.saturating_sub(self.created_at.0) > SESSION_UNANSWERED_MS_MAX
    }

    /// Whether [`Self::seal`] has a chain to seal with: always for the initiator, after the first message for the responder.
    pub fn can_seal(&self) -> bool {
        self.sending.is_some()
    }

    /// Bytes the next sealed envelope is longer than its padded plaintext: pad for this, and its size tells nothing.
    pub fn seal_overhead(&self) -> usize {
        let chain = self.sending.as_ref();
        header::sealed_len(chain.is_none_or(|c| !c.confirmed), self.previous_len) + FIXED_BYTES + aead::TAG_BYTES
    }

    /// Seals a padded plaintext into an envelope with the given four fixed bytes.
    ///
    /// # Errors
    /// [`SealError`]; the session is as before.
    pub fn seal(
        &mut self,
        head: [u8; 4],
        padded_plaintext: &[u8],
        log_head3: [u8; 3],
        now: UnixTime,
        chance: &mut Chance,
    ) -> Result<Sealed, SealError> {
        let Some(chain) = &mut self.sending else {
            return Err(SealError::NoSendingChain);
        };
        if chain.next.saturating_sub(chain.receipted) >= SEND_AHEAD_MAX {
            return Err(SealError::TooFarAhead);
        }
        let n = chain.next;
        let following = n.checked_add(1).ok_or(SealError::TooFarAhead)?;
        let preimage = TagKey::of(&chain.header_key).preimage(n);
        let tag = tag_of(&preimage);
        let header = Header {
            salt: chance.bytes(),
            // A scalar multiplication: only where the header carries it.
            dh: (!chain.confirmed).then(|| self.ratchet_secret.public()),
            previous_len: self.previous_len,
            log_head: log_head3,
        };
        let mut envelope = [&head[..], tag.as_bytes()].concat();
        envelope.extend_from_slice(&header.seal(&header_cipher_key(&chain.header_key), &tag));
        if envelope.len() + padded_plaintext.len() + aead::TAG_BYTES > ENVELOPE_BYTES_MAX {
            return Err(SealError::TooLong);
        }
        let (message_key, next_chain_key) = chain_step(&chain.chain_key);
        let (key, nonce) = body_key(&message_key, &header.salt);
        let (fixed, sealed_header) = envelope.split_at(FIXED_BYTES);
        let body = aead::seal(&key, nonce.expose(), &body_ad(&self.ad_send, fixed, sealed_header), padded_plaintext);
        envelope.extend_from_slice(&body);

        let place = SentPlace { chain: chain.index, n };
        (chain.chain_key, chain.next) = (next_chain_key, following);
        self.last_sent = now;
        let key_id = trunc(&hash("silbo/1/keyid", &[key.expose(), nonce.expose()]));
        Ok(Sealed { tag, preimage, envelope, place, key_id })
    }

    /// Opens the envelope found at `place`; the session itself stays as it is.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(
        &self,
        place: TagPlace,
        envelope: &[u8],
        now: UnixTime,
        chance: &mut Chance,
    ) -> Result<Opened, OpenError> {
        let parts = split_envelope(envelope)?;
        let (mut session, message) = match place.chain {
            Chain::Current => self.open_current(place.n, &parts, now)?,
            Chain::Next => self.open_next(place.n, &parts, now, chance)?,
        };
        session.answered = true;
        session.last_received = now;
        let excess = message.skipped.len().saturating_sub(SKIPPED_KEYS_PER_SESSION_MAX);
        let skipped = message.skipped.into_iter().skip(excess).map(|key| (key.tag(), key)).collect();
        Ok(Opened {
            session,
            plaintext: message.plaintext,
            preimage: message.preimage,
            log_head3: message.log_head,
            skipped,
        })
    }

    fn open_current(&self, n: u32, parts: &Parts<'_>, now: UnixTime) -> Result<(Self, Message), OpenError> {
        let chain = self.receiving.as_ref().ok_or(OpenError::UnknownTag)?;
        let preimage = chain.check(n, RATCHET_JUMP_MAX, parts)?;
        let header = parts.header(&header_cipher_key(&chain.header_key))?;
        if header.clear.dh.is_some() && header.clear.dh != self.peer_ratchet {
            return Err(OpenError::BadHeader);
        }
        let reached = chain.advance(n);
        let plaintext = open_body(&reached.message_key, &self.ad_receive, parts, &header)?;
        let skipped = self.skipped_keys(chain, reached.passed, now);
        let mut session = self.clone();
        session.receiving = Some(reached.chain);
        Ok((session, Message { plaintext, preimage, log_head: header.clear.log_head, skipped }))
    }

    fn open_next(
        &self,
        n: u32,
        parts: &Parts<'_>,
        now: UnixTime,
        chance: &mut Chance,
    ) -> Result<(Self, Message), OpenError> {
        // The chain key is not known before the header is read; the header key is.
        let header_key = self.next_receive_key.clone();
        let unread = ReceivingChain { header_key, chain_key: Secret::new([0; 32]), next: 0 };
        let preimage = unread.check(n, TAG_LANDMARK_NEXT_MAX, parts)?;
        let header = parts.header(&header_cipher_key(&unread.header_key))?;
        let peer_ratchet = header.clear.dh.ok_or(OpenError::BadHeader)?;
        let shared = self.ratchet_secret.diffie_hellman(&peer_ratchet).map_err(|_| OpenError::BadHeader)?;
        let receive_step = root_step(&self.root, &shared);
        let opened = ReceivingChain { chain_key: receive_step.chain_key, ..unread };
        let reached = opened.advance(n);
        let plaintext = open_body(&reached.message_key, &self.ad_receive, parts, &header)?;

        // From here on the header is the peer's word.
        let mut skipped = Vec::new();
        if let Some(old) = &self.receiving {
            let missing = header.clear.previous_len.saturating_sub(old.next);
            if missing > RATCHET_JUMP_MAX {
                return Err(OpenError::TooFar);
            }
            if missing > 0 {
                skipped = self.skipped_keys(old, old.advance_by(missing).1, now);
            }
        }
        skipped.extend(self.skipped_keys(&opened, reached.passed, now));

        let ratchet_secret = SecretKey::generate(chance);
        let shared = ratchet_secret.diffie_hellman(&peer_ratchet).map_err(|_| OpenError::BadHeader)?;
        let send_step = root_step(&receive_step.root, &shared);
        let (index, previous_len) =
            self.sending.as_ref().map_or((0, 0), |chain| (chain.index.wrapping_add(1), chain.next));
        let session = Self {
            root: send_step.root,
            ratchet_secret,
            peer_ratchet: Some(peer_ratchet),
            sending: Some(SendingChain::new(self.next_send_key.clone(), send_step.chain_key, index)),
            next_send_key: send_step.next_header_key,
            receiving: Some(reached.chain),
            next_receive_key: receive_step.next_header_key,
            previous_len,
            ..self.clone()
        };
        Ok((session, Message { plaintext, preimage, log_head: header.clear.log_head, skipped }))
    }

    /// Every tag this session listens for, with its place: the dense windows and the landmarks of the current and
    /// the next chain. Skipped keys carry their own tags.
    pub fn tags(&self) -> Vec<(Tag, TagPlace)> {
        self.tags_beyond(&BTreeMap::new())
    }

    /// [`Self::tags`] for a caller that remembers some of them: only the others are computed, two hashes each. What it
    /// remembers must be of the receiving chain that [`Self::receiving_position`] names.
    pub fn tags_beyond(&self, known: &BTreeMap<TagPlace, Tag>) -> Vec<(Tag, TagPlace)> {
        let place_of = |key: &TagKey, place: TagPlace| match known.get(&place) {
            Some(tag) => (*tag, place),
            None => (key.tag(place.n), place),
        };
        let current = self.receiving.iter().flat_map(|chain| {
            let key = TagKey::of(&chain.header_key);
            window(chain.next, TAG_WINDOW_CURRENT, TAG_LANDMARK_STEP, TAG_LANDMARK_CURRENT_MAX)
                .map(move |n| place_of(&key, TagPlace { chain: Chain::Current, n }))
        });
        let key = TagKey::of(&self.next_receive_key);
        let next = window(0, TAG_WINDOW_NEXT, TAG_LANDMARK_STEP, TAG_LANDMARK_NEXT_MAX)
            .map(|n| place_of(&key, TagPlace { chain: Chain::Next, n }));
        current.chain(next).collect()
    }

    /// A receipt for the message at `place`: confirms the chain and moves the bound of [`SealError::TooFarAhead`].
    /// Receipts for older chains or repeated ones change nothing.
    pub fn receipt(&mut self, place: SentPlace) {
        let Some(chain) = &mut self.sending else {
            return;
        };
        if place.chain == chain.index && place.n < chain.next {
            chain.confirmed = true;
            chain.receipted = chain.receipted.max(place.n.saturating_add(1));
        }
    }

    /// [`Self::receipt`] for a caller that has only the preimage. `false` if it is none of the current chain's
    /// messages above the highest receipted one. Costs one HMAC for each of those.
    pub fn receipt_preimage(&mut self, preimage: &Preimage) -> bool {
        let Some(chain) = &self.sending else {
            return false;
        };
        let key = TagKey::of(&chain.header_key);
        let Some(n) = (chain.receipted..chain.next).find(|n| key.preimage(*n) == *preimage) else {
            return false;
        };
        self.receipt(SentPlace { chain: chain.index, n });
        true
    }

    /// Says that the peer has shown to know the current ratchet key: headers leave it out from then on.
    pub fn confirm_chain(&mut self) {
        if let Some(chain) = &mut self.sending {
            chain.confirmed = true;
        }
    }

    fn skipped_keys(&self, chain: &ReceivingChain, passed: Vec<(u32, Secret<32>)>, now: UnixTime) -> Vec<SkippedKey> {
        if passed.is_empty() {
            return Vec::new();
        }
        let (tag_key, header_key) = (TagKey::of(&chain.header_key), header_cipher_key(&chain.header_key));
        let excess = passed.len().saturating_sub(SKIPPED_KEYS_PER_SESSION_MAX);
        let kept = passed.into_iter().skip(excess);
        kept.map(|(n, message_key)| SkippedKey {
            session: self.id,
            n,
            message_key,
            header_key: header_key.clone(),
            preimage: tag_key.preimage(n),
            ad: self.ad_receive,
            expires_at: now.after_ms(SKIPPED_KEY_AGE_MS),
        })
        .collect()
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({})", self.id)
    }
}

struct Message {
    plaintext: Vec<u8>,
    preimage: Preimage,
    log_head: [u8; 3],
    skipped: Vec<SkippedKey>,
}
