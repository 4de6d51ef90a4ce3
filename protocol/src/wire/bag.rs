//! A bag: sealed mail and receipts as a file or a text, carried by hand from one device to another.
//!
//! ```text
//!   "SBAG" 1   repeated: varint length, frame (Parcels or Vaccines)   first 8 bytes of BLAKE3 over all of it before
//! ```
//! As a text it is `SILBO:B/` and Crockford base32 in upper case, which QR codes hold in their alphanumeric mode. The
//! checksum finds copying errors; what is inside is sealed by itself.

use crate::crypto::hash::trunc;
use crate::limits::{BAG_BYTES_MAX, FRAME_BYTES_MAX};
use crate::wire::base32;
use crate::wire::encounter::{WireParcel, WireVaccine};
use crate::wire::frame::Frame;

const MAGIC: &[u8; 5] = b"SBAG\x01";
const PREFIX: &str = "SILBO:B/";
const CHECKSUM_BYTES: usize = 8;

/// What a bag holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bag {
    /// Envelopes on their way.
    pub parcels: Vec<WireParcel>,
    /// Proofs that envelopes have arrived.
    pub vaccines: Vec<WireVaccine>,
}

/// Why bytes or a text are not a bag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BagError {
    /// It does not begin like one.
    #[error("this is not a bag of Silbo mail")]
    NotABag,
    /// A part is missing or was changed on the way.
    #[error("the bag is damaged: copy it again")]
    Damaged,
    /// Larger than `limits::BAG_BYTES_MAX`.
    #[error("the bag is too large")]
    TooLarge,
}

impl Bag {
    /// The bytes of a file.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        let parcels = self.parcels.chunks(8).map(|part| Frame::Parcels(part.to_vec()));
        let vaccines = self.vaccines.chunks(1_024).map(|part| Frame::Vaccines(part.to_vec()));
        for frame in vaccines.chain(parcels) {
            let frame = frame.encode();
            prost::encoding::encode_varint(frame.len() as u64, &mut out);
            out.extend_from_slice(&frame);
        }
        let checksum: [u8; CHECKSUM_BYTES] = trunc(blake3::hash(&out).as_bytes());
        out.extend_from_slice(&checksum);
        out
    }

    /// Reads the bytes of a file, or the text.
    ///
    /// # Errors
    /// [`BagError`]; nothing is allocated beyond a multiple of the input.
    pub fn decode(bytes: &[u8]) -> Result<Self, BagError> {
        if bytes.len() > BAG_BYTES_MAX {
            return Err(BagError::TooLarge);
        }
        let text = std::str::from_utf8(bytes).ok().map(str::trim);
        match text.and_then(|text| text.get(..PREFIX.len()).filter(|p| p.eq_ignore_ascii_case(PREFIX)).map(|_| text)) {
            Some(text) => {
                let body = text.get(PREFIX.len()..).ok_or(BagError::NotABag)?;
                Self::decode_bytes(&base32::decode(body).ok_or(BagError::Damaged)?)
            }
            None => Self::decode_bytes(bytes),
        }
    }

    /// The text of a QR code.
    pub fn text(&self) -> String {
        format!("{PREFIX}{}", base32::encode_lower(&self.encode()).to_ascii_uppercase())
    }

    fn decode_bytes(bytes: &[u8]) -> Result<Self, BagError> {
        if !bytes.starts_with(MAGIC) {
            return Err(BagError::NotABag);
        }
        let end = bytes.len().checked_sub(CHECKSUM_BYTES).ok_or(BagError::Damaged)?;
        let (content, checksum) = bytes.split_at_checked(end).ok_or(BagError::Damaged)?;
        let expected: [u8; CHECKSUM_BYTES] = trunc(blake3::hash(content).as_bytes());
        if checksum != expected {
            return Err(BagError::Damaged);
        }
        let mut rest = content.get(MAGIC.len()..).ok_or(BagError::Damaged)?;
        let mut bag = Self::default();
        while !rest.is_empty() {
            let len = prost::encoding::decode_varint(&mut rest).map_err(|_| BagError::Damaged)?;
            let len = usize::try_from(len).ok().filter(|len| *len <= FRAME_BYTES_MAX).ok_or(BagError::Damaged)?;
            let (frame, after) = rest.split_at_checked(len).ok_or(BagError::Damaged)?;
            rest = after;
            match Frame::decode(frame) {
                Ok(Frame::Parcels(parcels)) => bag.parcels.extend(parcels),
                Ok(Frame::Vaccines(vaccines)) => bag.vaccines.extend(vaccines),
                // A later version may put more in.
                Ok(_) => {}
                Err(_) => return Err(BagError::Damaged),
            }
        }
        Ok(bag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Preimage;

    fn bag() -> Bag {
        let parcel = |n: u8| WireParcel { copies: n, hops: 1, age_min: 300, envelope: vec![n; 200] };
        let vaccine = WireVaccine { preimage: Preimage([7; 16]), expiry_hour: 9 };
        Bag { parcels: (0..20).map(parcel).collect(), vaccines: vec![vaccine; 3] }
    }

    #[test]
    fn a_bag_comes_out_as_it_went_in() {
        assert_eq!(Bag::decode(&bag().encode()), Ok(bag()));
        assert_eq!(Bag::decode(bag().text().as_bytes()), Ok(bag()));
        assert_eq!(Bag::decode(format!(" {}\n", bag().text().to_lowercase()).as_bytes()), Ok(bag()));
        assert!(bag().text().chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == ':' || c == '/'));
    }

    #[test]
    fn a_damaged_bag_is_refused_whole() {
        let good = bag().encode();
        for at in [5, 50, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(Bag::decode(&bad), Err(BagError::Damaged));
        }
        assert_eq!(Bag::decode(&good[..good.len() - 3]), Err(BagError::Damaged));
        assert_eq!(Bag::decode(b"hello"), Err(BagError::NotABag));
        assert_eq!(Bag::decode(&[]), Err(BagError::NotABag));
    }
}
