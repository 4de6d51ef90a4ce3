//! Frames of a link: one kind byte, then the body. Every medium carries them whole; nothing here is encrypted,
//! because links are (Noise or TLS) and what matters inside is end-to-end encrypted anyway.
//!
//! ```text
//!   01 Hello         protobuf
//!   02 Envelopes     repeated: varint length, envelope
//!   03 Receipts      repeated 16-byte preimages P
//!   10 MboxReq  11 MboxRes  12 MboxPush  20 CardReq  21 CardRes      protobuf
//!   30 … 38      encounters of carriers, see `wire/encounter.rs`
//!   40 GroupSync  41 ChannelSync      protobuf
//! ```

use crate::ids::Preimage;
use crate::limits::{ENVELOPE_BYTES_MAX, ENVELOPES_PER_FRAME_MAX, FRAME_BYTES_MAX, RECEIPTS_PER_FRAME_MAX};
use crate::wire::encounter::{self, ItemId, Meet, Offer, SheetPart, WireParcel, WireVaccine};
use crate::wire::proto;

/// A whole frame.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// First frame of each side.
    Hello(proto::Hello),
    /// Sealed envelopes for the other end.
    Envelopes(Vec<Vec<u8>>),
    /// What the sender of this frame has committed.
    Receipts(Vec<Preimage>),
    /// A request to the relay at the other end.
    MboxReq(proto::MboxReq),
    /// Its answer.
    MboxRes(proto::MboxRes),
    /// Unasked news of the relay.
    MboxPush(proto::MboxPush),
    /// A request for the contact card of an invitation.
    CardReq(proto::CardReq),
    /// Its answer.
    CardRes(proto::CardRes),
    /// A carrier says what it is like and opens the comparison of what both carry.
    Meet(Meet),
    /// The comparison goes on.
    Reconcile(Vec<u8>),
    /// Envelopes the other end lacks.
    Have(Vec<Offer>),
    /// Envelopes the sender of this frame wants.
    Want(Vec<ItemId>),
    /// Envelopes that were wanted.
    Parcels(Vec<WireParcel>),
    /// So many parcels were handled since the last of these.
    Taken(u32),
    /// Proofs that envelopes have arrived: copies of them are not needed any more.
    Vaccines(Vec<WireVaccine>),
    /// What the sender of this frame asks the other end to pick up for it.
    Sheet(SheetPart),
    /// The version of the sheet that the sender of this frame holds for the other end.
    SheetAt(u32),
    /// Two members of a group compare and exchange its letters.
    GroupSync(proto::GroupSync),
    /// Two readers of a channel compare and exchange its posts.
    ChannelSync(proto::ChannelSync),
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than `limits::FRAME_BYTES_MAX`.
    #[error("the frame is too long")]
    TooLong,
    /// No bytes, or an unknown kind byte.
    #[error("the frame has no known kind")]
    UnknownKind,
    /// The body does not parse, or a count is over its bound.
    #[error("the frame is malformed")]
    Malformed,
}

const HELLO: u8 = 0x01;
pub(super) const ENVELOPES: u8 = 0x02;
pub(super) const RECEIPTS: u8 = 0x03;
const MBOX_REQ: u8 = 0x10;
const MBOX_RES: u8 = 0x11;
const MBOX_PUSH: u8 = 0x12;
const CARD_REQ: u8 = 0x20;
const CARD_RES: u8 = 0x21;
const MEET: u8 = 0x30;
const RECONCILE: u8 = 0x31;
const HAVE: u8 = 0x32;
const WANT: u8 = 0x33;
const PARCELS: u8 = 0x34;
const TAKEN: u8 = 0x35;
const VACCINES: u8 = 0x36;
const SHEET: u8 = 0x37;
const SHEET_AT: u8 = 0x38;
const GROUP_SYNC: u8 = 0x40;
const CHANNEL_SYNC: u8 = 0x41;

impl Frame {
    /// The bytes to hand to a link.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Hello(m) => with_kind(HELLO, m),
            Self::Envelopes(list) => {
                let mut out = Vec::with_capacity(1 + list.iter().map(|e| e.len() + 3).sum::<usize>());
                out.push(ENVELOPES);
                for envelope in list {
                    prost::encoding::encode_varint(envelope.len() as u64, &mut out);
                    out.extend_from_slice(envelope);
                }
                out
            }
            Self::Receipts(list) => {
                let mut out = Vec::with_capacity(1 + list.len() * Preimage::LEN);
                out.push(RECEIPTS);
                for preimage in list {
                    out.extend_from_slice(preimage.as_bytes());
                }
                out
            }
            Self::MboxReq(m) => with_kind(MBOX_REQ, m),
            Self::MboxRes(m) => with_kind(MBOX_RES, m),
            Self::MboxPush(m) => with_kind(MBOX_PUSH, m),
            Self::CardReq(m) => with_kind(CARD_REQ, m),
            Self::CardRes(m) => with_kind(CARD_RES, m),
            Self::Meet(meet) => with_body(MEET, |out| meet.encode(out)),
            Self::Reconcile(message) => with_body(RECONCILE, |out| out.extend_from_slice(message)),
            Self::Have(offers) => with_body(HAVE, |out| encounter::encode_offers(offers, out)),
            Self::Want(ids) => with_body(WANT, |out| encounter::encode_ids(ids, out)),
            Self::Parcels(parcels) => with_body(PARCELS, |out| encounter::encode_parcels(parcels, out)),
            Self::Taken(count) => with_body(TAKEN, |out| prost::encoding::encode_varint(u64::from(*count), out)),
            Self::Vaccines(list) => with_body(VACCINES, |out| encounter::encode_vaccines(list, out)),
            Self::Sheet(part) => with_body(SHEET, |out| part.encode(out)),
            Self::SheetAt(version) => with_body(SHEET_AT, |out| out.extend_from_slice(&version.to_be_bytes())),
            Self::GroupSync(m) => with_kind(GROUP_SYNC, m),
            Self::ChannelSync(m) => with_kind(CHANNEL_SYNC, m),
        }
    }

    /// Reads a frame from a peer.
    ///
    /// # Errors
    /// [`FrameError`], always the peer's fault; nothing is allocated beyond the bytes given.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(FrameError::TooLong);
        }
        let (&kind, body) = bytes.split_first().ok_or(FrameError::UnknownKind)?;
        match kind {
            HELLO => parse(body).map(Self::Hello),
            ENVELOPES => envelopes(body).map(Self::Envelopes),
            RECEIPTS => receipts(body).map(Self::Receipts),
            MBOX_REQ => parse(body).map(Self::MboxReq),
            MBOX_RES => parse(body).map(Self::MboxRes),
            MBOX_PUSH => parse(body).map(Self::MboxPush),
            CARD_REQ => parse(body).map(Self::CardReq),
            CARD_RES => parse(body).map(Self::CardRes),
            MEET => Meet::decode(body).map(Self::Meet).ok_or(FrameError::Malformed),
            RECONCILE => Ok(Self::Reconcile(body.to_vec())),
            HAVE => encounter::decode_offers(body).map(Self::Have).ok_or(FrameError::Malformed),
            WANT => encounter::decode_ids(body).map(Self::Want).ok_or(FrameError::Malformed),
            PARCELS => encounter::decode_parcels(body).map(Self::Parcels).ok_or(FrameError::Malformed),
            TAKEN => encounter::decode_count(body).map(Self::Taken).ok_or(FrameError::Malformed),
            VACCINES => encounter::decode_vaccines(body).map(Self::Vaccines).ok_or(FrameError::Malformed),
            SHEET_AT => match body.try_into() {
                Ok(version) => Ok(Self::SheetAt(u32::from_be_bytes(version))),
                Err(_) => Err(FrameError::Malformed),
            },
            SHEET => SheetPart::decode(body).map(Self::Sheet).ok_or(FrameError::Malformed),
            GROUP_SYNC => parse(body).map(Self::GroupSync),
            CHANNEL_SYNC => parse(body).map(Self::ChannelSync),
            _ => Err(FrameError::UnknownKind),
        }
    }
}

fn with_body(kind: u8, body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = vec![kind];
    body(&mut out);
    out
}

fn with_kind(kind: u8, message: &impl prost::Message) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + message.encoded_len());
    out.push(kind);
    message.encode_raw(&mut out);
    out
}

fn parse<M: prost::Message + Default>(body: &[u8]) -> Result<M, FrameError> {
    M::decode(body).map_err(|_| FrameError::Malformed)
}

fn envelopes(mut body: &[u8]) -> Result<Vec<Vec<u8>>, FrameError> {
    let mut out = Vec::new();
    while !body.is_empty() {
        let len = prost::encoding::decode_varint(&mut body).map_err(|_| FrameError::Malformed)?;
        let len = usize::try_from(len).map_err(|_| FrameError::Malformed)?;
        if len > ENVELOPE_BYTES_MAX || out.len() == ENVELOPES_PER_FRAME_MAX {
            return Err(FrameError::Malformed);
        }
        let (envelope, rest) = body.split_at_checked(len).ok_or(FrameError::Malformed)?;
        out.push(envelope.to_vec());
        body = rest;
    }
    Ok(out)
}

fn receipts(body: &[u8]) -> Result<Vec<Preimage>, FrameError> {
    if !body.len().is_multiple_of(Preimage::LEN) || body.len() / Preimage::LEN > RECEIPTS_PER_FRAME_MAX {
        return Err(FrameError::Malformed);
    }
    Ok(body.chunks_exact(Preimage::LEN).filter_map(Preimage::read).collect())
}
