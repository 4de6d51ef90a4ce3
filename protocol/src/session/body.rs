//! The body of a ratchet envelope, and where an envelope is cut: fixed part, tag, header, body.

use super::header::Header;
use super::ratchet::OpenError;
use crate::crypto::kdf::kdf_fields;
use crate::crypto::{Secret, aead, fields};
use crate::ids::Tag;
use crate::limits::ENVELOPE_BYTES_MAX;

/// Fixed part and tag of an envelope.
pub(super) const FIXED_BYTES: usize = 4 + Tag::LEN;

/// An envelope cut at its fixed places.
pub(super) struct Parts<'a> {
    fixed: &'a [u8],
    pub(super) tag: Tag,
    rest: &'a [u8],
}

/// A decrypted header and the two byte ranges it divides the rest into.
pub(super) struct OpenHeader<'a> {
    pub(super) clear: Header,
    sealed: &'a [u8],
    body: &'a [u8],
}

impl<'a> Parts<'a> {
    pub(super) fn header(&self, key: &Secret<32>) -> Result<OpenHeader<'a>, OpenError> {
        let (clear, len) = Header::open(key, &self.tag, self.rest).ok_or(OpenError::BadHeader)?;
        let (sealed, body) = self.rest.split_at_checked(len).ok_or(OpenError::BadHeader)?;
        Ok(OpenHeader { clear, sealed, body })
    }
}

pub(super) fn split_envelope(envelope: &[u8]) -> Result<Parts<'_>, OpenError> {
    if envelope.len() > ENVELOPE_BYTES_MAX {
        return Err(OpenError::Length);
    }
    let (fixed, rest) = envelope.split_at_checked(FIXED_BYTES).ok_or(OpenError::Length)?;
    let tag = fixed.get(4..).and_then(Tag::read).ok_or(OpenError::Length)?;
    Ok(Parts { fixed, tag, rest })
}

pub(super) fn open_body(
    message_key: &Secret<32>,
    ad: &[u8; 32],
    parts: &Parts<'_>,
    header: &OpenHeader<'_>,
) -> Result<Vec<u8>, OpenError> {
    let (key, nonce) = body_key(message_key, &header.clear.salt);
    aead::open(&key, nonce.expose(), &body_ad(ad, parts.fixed, header.sealed), header.body)
        .map_err(|_| OpenError::Rejected)
}

/// Key and nonce of one body.
pub(super) fn body_key(message_key: &Secret<32>, salt: &[u8]) -> (Secret<32>, Secret<12>) {
    const NO_BRAID: &[u8] = &[];
    kdf_fields::<44>(&[message_key.expose(), NO_BRAID], salt, "silbo/1/mk").split()
}

pub(super) fn body_ad(session: &[u8; 32], fixed: &[u8], header: &[u8]) -> Vec<u8> {
    fields(&[session, fixed, header])
}
