//! Messages of a reconciliation as bytes: one kind byte, then the body; its length comes from the frame around it.
//!
//! ```text
//!   01 Sums       repeated 6-byte power sums        02 MoreSums    u8
//!   03 Cells      repeated 9-byte cells             04 MoreCells   u16
//!   05 Found      varint n, n varint gaps, then repeated 6-byte ids
//!   06 Ids        repeated 6-byte ids               07 Lacks       bits, the first item lowest
//! ```
//! Everything is big-endian. Positions in `Found` ascend: each is written as the gap to the one before, minus one.

use super::super::riblt::Cell;
use super::super::salted_set::{SaltedId, number_bytes, read_number};
use super::SUMS_MAX;
use crate::limits::RECONCILE_ITEMS_MAX;

/// Cells in one message: 36 KiB.
pub const CELLS_PER_MESSAGE_MAX: usize = 4_096;
/// Ids in one part of a list: 24 KiB.
pub const IDS_PER_MESSAGE_MAX: usize = 4_096;
/// Bytes of one part of the answer to a list.
pub const LACKS_BYTES_MAX: usize = RECONCILE_ITEMS_MAX / 8;
/// Ids of each half in `Found`, and cells of one reconciliation: 16,384·(6+3) B = 144 KiB fit into a frame.
pub(super) const FOUND_MAX: usize = 16_384;

/// What the two ends say to each other after their openings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The next power sums of the teller's set, below 2^48.
    Sums(Vec<u64>),
    /// So many more, please; 1 to [`SUMS_MAX`].
    MoreSums(usize),
    /// The next cells of the teller's set.
    Cells(Vec<Cell>),
    /// So many more, please; 1 to [`CELLS_PER_MESSAGE_MAX`].
    MoreCells(usize),
    /// The difference, told by the reader.
    Found {
        /// Positions in the teller's ascending ids of those the reader lacks; ascending.
        yours: Vec<u32>,
        /// What the teller lacks; ascending.
        mine: Vec<SaltedId>,
    },
    /// The next part of a list of ids; the parts together ascend.
    Ids(Vec<SaltedId>),
    /// For each id of a list, whether it is lacking here.
    Lacks(Vec<u8>),
}

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// No bytes, or an unknown kind byte.
    #[error("the message has no known kind")]
    UnknownKind,
    /// The body does not parse, is empty, or a count is over its bound.
    #[error("the message is malformed")]
    Malformed,
}

const SUMS: u8 = 0x01;
const MORE_SUMS: u8 = 0x02;
const CELLS: u8 = 0x03;
const MORE_CELLS: u8 = 0x04;
const FOUND: u8 = 0x05;
const IDS: u8 = 0x06;
const LACKS: u8 = 0x07;

impl Message {
    /// The bytes to put into a frame.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Sums(sums) => with_kind(SUMS, sums.iter().flat_map(|sum| number_bytes(*sum))),
            Self::MoreSums(count) => vec![MORE_SUMS, *count as u8],
            Self::Cells(cells) => with_kind(CELLS, cells.iter().flat_map(|cell| cell.to_bytes())),
            Self::MoreCells(count) => with_kind(MORE_CELLS, (*count as u16).to_be_bytes()),
            Self::Found { yours, mine } => {
                let mut out = vec![FOUND];
                prost::encoding::encode_varint(yours.len() as u64, &mut out);
                let mut next = 0;
                for position in yours {
                    prost::encoding::encode_varint(u64::from(*position).saturating_sub(next), &mut out);
                    next = u64::from(*position) + 1;
                }
                out.extend(mine.iter().flat_map(|id| id.to_bytes()));
                out
            }
            Self::Ids(ids) => with_kind(IDS, ids.iter().flat_map(|id| id.to_bytes())),
            Self::Lacks(bits) => with_kind(LACKS, bits.iter().copied()),
        }
    }

    /// Reads a message from a peer.
    ///
    /// # Errors
    /// [`MessageError`], always the peer's fault; what is allocated is proportional to the bytes given.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let (&kind, body) = bytes.split_first().ok_or(MessageError::UnknownKind)?;
        match kind {
            SUMS => repeated(body, SaltedId::LEN, SUMS_MAX, read_number).map(Self::Sums),
            MORE_SUMS if body.len() == 1 => number(1..=SUMS_MAX, body).map(Self::MoreSums),
            CELLS => repeated(body, Cell::LEN, CELLS_PER_MESSAGE_MAX, Cell::read).map(Self::Cells),
            MORE_CELLS if body.len() == 2 => number(1..=CELLS_PER_MESSAGE_MAX, body).map(Self::MoreCells),
            FOUND => found(body),
            IDS => ids(body, IDS_PER_MESSAGE_MAX).map(Self::Ids),
            LACKS if (1..=LACKS_BYTES_MAX).contains(&body.len()) => Ok(Self::Lacks(body.to_vec())),
            MORE_SUMS | MORE_CELLS | LACKS => Err(MessageError::Malformed),
            _ => Err(MessageError::UnknownKind),
        }
    }
}

fn with_kind(kind: u8, body: impl IntoIterator<Item = u8>) -> Vec<u8> {
    std::iter::once(kind).chain(body).collect()
}

/// One to `max` values of `len` bytes.
fn repeated<T>(body: &[u8], len: usize, max: usize, read: impl Fn(&[u8]) -> Option<T>) -> Result<Vec<T>, MessageError> {
    if body.is_empty() || body.len() / len > max {
        return Err(MessageError::Malformed);
    }
    // A rest shorter than a value is not read, and refused with it.
    body.chunks(len).map(read).collect::<Option<_>>().ok_or(MessageError::Malformed)
}

/// A big-endian number that is the whole body.
fn number(range: std::ops::RangeInclusive<usize>, body: &[u8]) -> Result<usize, MessageError> {
    let number = body.iter().fold(0, |number, byte| number << 8 | usize::from(*byte));
    range.contains(&number).then_some(number).ok_or(MessageError::Malformed)
}

/// A number below 2^21 in as few bytes as it needs.
fn varint(body: &mut &[u8]) -> Result<u64, MessageError> {
    let mut number = 0;
    for shift in [0, 7, 14] {
        let (&byte, rest) = body.split_first().ok_or(MessageError::Malformed)?;
        *body = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return if byte == 0 && shift > 0 { Err(MessageError::Malformed) } else { Ok(number) };
        }
    }
    Err(MessageError::Malformed)
}

fn ids(body: &[u8], max: usize) -> Result<Vec<SaltedId>, MessageError> {
    let ids = repeated(body, SaltedId::LEN, max, SaltedId::read)?;
    ids.is_sorted_by(|a, b| a < b).then_some(ids).ok_or(MessageError::Malformed)
}

fn found(mut body: &[u8]) -> Result<Message, MessageError> {
    let count = varint(&mut body)?;
    if count > FOUND_MAX as u64 {
        return Err(MessageError::Malformed);
    }
    let mut yours = Vec::new();
    let mut next = 0_u64;
    for _ in 0..count {
        let position = next.checked_add(varint(&mut body)?).ok_or(MessageError::Malformed)?;
        if position >= RECONCILE_ITEMS_MAX as u64 {
            return Err(MessageError::Malformed);
        }
        yours.push(position as u32);
        next = position + 1;
    }
    let mine = if body.is_empty() { Vec::new() } else { ids(body, FOUND_MAX)? };
    Ok(Message::Found { yours, mine })
}
