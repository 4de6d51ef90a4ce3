//! Frames of an encounter of two carriers: fixed binary, network order, one kind byte before each (see `wire/frame.rs`).
//!
//! ```text
//!   30 Meet       rate u8, pressure u8, flags u8 (b0 takes parcels), then the opening of the reconciliation
//!   31 Reconcile  a message of the reconciliation (carry/reconcile.rs)
//!   32 Have       repeated: id 6, copies u8, varint size·2 + gives
//!   33 Want       repeated: id 6
//!   34 Parcels    repeated: copies u8, hops u8, varint age in minutes, varint length, envelope
//!   35 Taken      varint number of parcels handled since the last one
//!   36 Vaccines   repeated: preimage 16, expiry hour u16
//!   37 Sheet      flags u8 (b0 replaces, b1 last part), version u32, removed u16, removed tags 5, entries: tag 5, depth u8
//!   38 SheetAt    version u32 of the sheet held for the other end; 0 for none
//! ```
//! An id names an envelope within one encounter only: it is salted with the nonces of both sides.

use crate::carry::item::ShortTag;
use crate::ids::Preimage;
use crate::limits::{ENCOUNTER_IDS_PER_FRAME_MAX, ENVELOPE_BYTES_MAX, ENVELOPES_PER_FRAME_MAX};

/// Names an item within one encounter.
pub type ItemId = [u8; 6];
/// A truncated tag on a sheet, and how many appointments it has passed.
pub type SheetEntry = (ShortTag, u8);

/// What one side tells of itself first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meet {
    /// Encounters in the last 24 hours, at most 255.
    pub rate: u8,
    /// How full its store is, 0 to 255.
    pub pressure: u8,
    /// It takes parcels for others.
    pub takes: bool,
    /// Opening of the reconciliation.
    pub opening: Vec<u8>,
}

/// An envelope a side has and the other has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its name in this encounter.
    pub id: ItemId,
    /// Copies there are, as far as its carrier knows.
    pub copies: u8,
    /// Bytes of the envelope.
    pub size: u32,
    /// Whoever wants it may have it; otherwise it is for those who asked for it before.
    pub gives: bool,
}

/// An envelope on its way through carriers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireParcel {
    /// Copies there are, the taker's included.
    pub copies: u8,
    /// Devices it has passed through.
    pub hops: u8,
    /// Minutes it has travelled.
    pub age_min: u32,
    /// The envelope.
    pub envelope: Vec<u8>,
}

/// A published preimage and when it may be forgotten, in hours since 2024-01-01 modulo 65,536.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireVaccine {
    /// The preimage.
    pub preimage: Preimage,
    /// The hour.
    pub expiry_hour: u16,
}

/// Part of a pickup sheet, or of what has changed about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SheetPart {
    /// Everything told before is void.
    pub replaces: bool,
    /// The sheet is complete.
    pub last: bool,
    /// The version it has when it is complete; 0 takes the appointment back.
    pub version: u32,
    /// Tags no longer wanted.
    pub removed: Vec<ShortTag>,
    /// Tags wanted from now on.
    pub entries: Vec<SheetEntry>,
}

impl Meet {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.rate, self.pressure, u8::from(self.takes)]);
        out.extend_from_slice(&self.opening);
    }

    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let ([rate, pressure, flags], opening) = body.split_first_chunk()?;
        Some(Self { rate: *rate, pressure: *pressure, takes: flags & 1 != 0, opening: opening.to_vec() })
    }
}

pub(super) fn encode_offers(offers: &[Offer], out: &mut Vec<u8>) {
    for offer in offers {
        out.extend_from_slice(&offer.id);
        out.push(offer.copies);
        prost::encoding::encode_varint(u64::from(offer.size) << 1 | u64::from(offer.gives), out);
    }
}

pub(super) fn decode_offers(mut body: &[u8]) -> Option<Vec<Offer>> {
    let mut offers = Vec::new();
    while let Some(([a, b, c, d, e, f, copies], rest)) = body.split_first_chunk() {
        body = rest;
        let packed = prost::encoding::decode_varint(&mut body).ok()?;
        if offers.len() == ENCOUNTER_IDS_PER_FRAME_MAX {
            return None;
        }
        offers.push(Offer {
            id: [*a, *b, *c, *d, *e, *f],
            copies: *copies,
            size: u32::try_from(packed >> 1).ok()?,
            gives: packed & 1 != 0,
        });
    }
    body.is_empty().then_some(offers)
}

pub(super) fn encode_ids(ids: &[ItemId], out: &mut Vec<u8>) {
    for id in ids {
        out.extend_from_slice(id);
    }
}

pub(super) fn decode_ids(body: &[u8]) -> Option<Vec<ItemId>> {
    let (ids, rest) = body.as_chunks::<6>();
    (rest.is_empty() && ids.len() <= ENCOUNTER_IDS_PER_FRAME_MAX).then(|| ids.to_vec())
}

pub(super) fn encode_parcels(parcels: &[WireParcel], out: &mut Vec<u8>) {
    for parcel in parcels {
        out.extend_from_slice(&[parcel.copies, parcel.hops]);
        prost::encoding::encode_varint(u64::from(parcel.age_min), out);
        prost::encoding::encode_varint(parcel.envelope.len() as u64, out);
        out.extend_from_slice(&parcel.envelope);
    }
}

pub(super) fn decode_parcels(mut body: &[u8]) -> Option<Vec<WireParcel>> {
    let mut parcels = Vec::new();
    while let Some(([copies, hops], rest)) = body.split_first_chunk() {
        body = rest;
        let age_min = u32::try_from(prost::encoding::decode_varint(&mut body).ok()?).ok()?;
        let len = usize::try_from(prost::encoding::decode_varint(&mut body).ok()?).ok()?;
        if len > ENVELOPE_BYTES_MAX || parcels.len() == ENVELOPES_PER_FRAME_MAX {
            return None;
        }
        let (envelope, rest) = body.split_at_checked(len)?;
        body = rest;
        parcels.push(WireParcel { copies: *copies, hops: *hops, age_min, envelope: envelope.to_vec() });
    }
    body.is_empty().then_some(parcels)
}

pub(super) fn encode_vaccines(vaccines: &[WireVaccine], out: &mut Vec<u8>) {
    for vaccine in vaccines {
        out.extend_from_slice(vaccine.preimage.as_bytes());
        out.extend_from_slice(&vaccine.expiry_hour.to_be_bytes());
    }
}

pub(super) fn decode_vaccines(body: &[u8]) -> Option<Vec<WireVaccine>> {
    let (records, rest) = body.as_chunks::<18>();
    if !rest.is_empty() || records.len() > ENCOUNTER_IDS_PER_FRAME_MAX {
        return None;
    }
    records
        .iter()
        .map(|record| {
            let (preimage, hour) = record.split_first_chunk()?;
            let expiry_hour = u16::from_be_bytes(hour.try_into().ok()?);
            Some(WireVaccine { preimage: Preimage(*preimage), expiry_hour })
        })
        .collect()
}

impl SheetPart {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.replaces) | u8::from(self.last) << 1);
        out.extend_from_slice(&self.version.to_be_bytes());
        let removed = u16::try_from(self.removed.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&removed.to_be_bytes());
        for tag in self.removed.iter().take(usize::from(removed)) {
            out.extend_from_slice(tag);
        }
        for (tag, depth) in &self.entries {
            out.extend_from_slice(tag);
            out.push(*depth);
        }
    }

    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let (flags, body) = body.split_first()?;
        let (version, body) = body.split_first_chunk()?;
        let (count, body) = body.split_first_chunk()?;
        let (removed, body) = body.split_at_checked(usize::from(u16::from_be_bytes(*count)) * 5)?;
        let (records, rest) = body.as_chunks::<6>();
        let removed = removed.as_chunks::<5>().0;
        if !rest.is_empty() || records.len().max(removed.len()) > ENCOUNTER_IDS_PER_FRAME_MAX {
            return None;
        }
        let entries = records.iter().map(|[a, b, c, d, e, depth]| ([*a, *b, *c, *d, *e], *depth)).collect();
        Some(Self {
            replaces: flags & 1 != 0,
            last: flags & 2 != 0,
            version: u32::from_be_bytes(*version),
            removed: removed.to_vec(),
            entries,
        })
    }
}

pub(super) fn decode_count(mut body: &[u8]) -> Option<u32> {
    let count = u32::try_from(prost::encoding::decode_varint(&mut body).ok()?).ok()?;
    body.is_empty().then_some(count)
}
