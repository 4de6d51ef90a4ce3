//! The key of one message that has been overtaken: enough to open that one envelope and to receipt it.

use super::body::{open_body, split_envelope};
use super::ratchet::OpenError;
use super::tags::tag_of;
use crate::crypto::Secret;
use crate::ids::{Preimage, SessionId, Tag};
use crate::time::UnixTime;

/// Kept by the caller under its tag, at most `limits::SKIPPED_KEYS_PER_SESSION_MAX` a session, until used or expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedKey {
    pub(super) session: SessionId,
    pub(super) n: u32,
    /// Before the message's salt is mixed in.
    pub(super) message_key: Secret<32>,
    pub(super) header_key: Secret<32>,
    pub(super) preimage: Preimage,
    pub(super) ad: [u8; 32],
    pub(super) expires_at: UnixTime,
}

/// What an overtaken envelope held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedSkipped {
    /// The padded plaintext.
    pub plaintext: Vec<u8>,
    /// The receipt.
    pub preimage: Preimage,
    /// First bytes of the sender's device log head.
    pub log_head3: [u8; 3],
}

impl SkippedKey {
    /// The session it belongs to.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The message's number in its chain.
    pub fn n(&self) -> u32 {
        self.n
    }

    /// The tag of the envelope it opens.
    pub fn tag(&self) -> Tag {
        tag_of(&self.preimage)
    }

    /// When the caller drops it.
    pub fn expires_at(&self) -> UnixTime {
        self.expires_at
    }
}

/// Opens an overtaken envelope. The caller deletes the key in the transaction that stores the message.
///
/// # Errors
/// [`OpenError`]; the key stays good, because somebody else may have copied the tag.
pub fn open_skipped(key: &SkippedKey, envelope: &[u8]) -> Result<OpenedSkipped, OpenError> {
    let parts = split_envelope(envelope)?;
    if parts.tag != key.tag() {
        return Err(OpenError::UnknownTag);
    }
    let header = parts.header(&key.header_key)?;
    let plaintext = open_body(&key.message_key, &key.ad, &parts, &header)?;
    Ok(OpenedSkipped { plaintext, preimage: key.preimage, log_head3: header.clear.log_head })
}
