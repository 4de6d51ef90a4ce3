//! A rateless invertible Bloom lookup table: an endless stream of cells that describes a set, of which any prefix of
//! about 1.4 to 1.8 cells for each *difference* is enough for the other end, however large the sets are.
//!
//! ```text
//!   Encoder(my set) ── cell 0, 1, 2, … ──▶ Decoder(its set) ──▶ only mine · only theirs
//! ```
//! Cell `i` holds each id with probability 1/(1+i/2); cell 0 holds all. The decoder takes its own set out of each cell;
//! a cell left with a single id gives that id, which is taken out of the other cells, and so on.
//!
//! Source: Yang, Gilad, Alizadeh, "Practical Rateless Set Reconciliation", SIGCOMM 2024, sections 4 and 5.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::salted_set::{IdHash, SaltedId, mix, number_bytes, read_number};

/// One cell of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// XOR of the ids, 48 bits.
    id_xor: u64,
    /// XOR of their 16-bit checksums.
    check_xor: u16,
    /// How many ids, mod 256; in a difference, theirs minus mine.
    count: i8,
}

impl Cell {
    /// Bytes on the wire: 6 of the id, 2 of the checksum, 1 of the count.
    pub const LEN: usize = 9;

    /// The bytes on the wire.
    pub fn to_bytes(self) -> [u8; 9] {
        let [a, b, c, d, e, f] = number_bytes(self.id_xor);
        let [g, h] = self.check_xor.to_be_bytes();
        let [i] = self.count.to_be_bytes();
        [a, b, c, d, e, f, g, h, i]
    }

    /// Reads a cell; `None` for another length. Every nine bytes are a cell.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (id, rest) = bytes.split_at_checked(6)?;
        let &[g, h, i] = rest else { return None };
        Some(Self { id_xor: read_number(id)?, check_xor: u16::from_be_bytes([g, h]), count: i8::from_be_bytes([i]) })
    }

    fn is_empty(self) -> bool {
        self == Self::default()
    }

    fn apply(&mut self, id: SaltedId, hash: IdHash, sign: i8) {
        self.id_xor ^= id.number();
        self.check_xor ^= checksum(hash, id);
        self.count = self.count.wrapping_add(sign);
    }

    fn minus(self, other: Self) -> Self {
        Self {
            id_xor: self.id_xor ^ other.id_xor,
            check_xor: self.check_xor ^ other.check_xor,
            count: self.count.wrapping_sub(other.count),
        }
    }
}

/// Gives the cells of a set, one after the other.
#[derive(Clone, Debug)]
pub struct Encoder {
    hash: IdHash,
    next_index: u64,
    /// Every id with the next cell it is in, the nearest first.
    waiting: BinaryHeap<Reverse<Waiting>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    place: Place,
    id: SaltedId,
    sign: i8,
}

impl Encoder {
    /// Starts before cell 0. Repeated ids would cancel out: give each once.
    pub fn new(hash: IdHash, ids: &[SaltedId]) -> Self {
        let waiting = ids.iter().map(|&id| Reverse(Waiting { place: Place::first(hash, id), id, sign: 1 })).collect();
        Self { hash, next_index: 0, waiting }
    }

    /// The next cell. Costs the logarithm of the set for each id in the cell.
    pub fn next_cell(&mut self) -> Cell {
        let mut cell = Cell::default();
        while let Some(mut top) = self.waiting.peek_mut() {
            if top.0.place.index != self.next_index {
                break;
            }
            cell.apply(top.0.id, self.hash, top.0.sign);
            top.0.place.advance();
        }
        self.next_index = self.next_index.saturating_add(1);
        cell
    }
}

/// Where an id goes: a walk over cell indices, the same at both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    index: u64,
    state: u64,
}

impl Place {
    fn first(hash: IdHash, id: SaltedId) -> Self {
        Self { index: 0, state: mix(hash.of(id) ^ 0x7269_626c_745f_3031) }
    }

    /// From cell `i` on, no cell up to `j` holds the id with probability about ((i+1.5)/(j+1.5))²: the paper's jump,
    /// for a uniform `u` in (0, 1], is `(i+1.5)·(1/√u − 1)`. IEEE multiplication, division and square root are exact
    /// to the last bit, so that every machine takes the same walk.
    fn advance(&mut self) {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let uniform = ((mix(self.state) >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        let jump = ((self.index as f64 + 1.5) * (1.0 / uniform.sqrt() - 1.0)).ceil().max(1.0);
        self.index = self.index.saturating_add(jump as u64);
    }
}

/// The share of ids that a cell holds.
fn density(index: usize) -> f64 {
    1.0 / (1.0 + index as f64 / 2.0)
}

/// By multiplication alone, which is exact to the last bit everywhere.
fn power(mut base: f64, mut exponent: usize) -> f64 {
    let mut product = 1.0;
    while exponent > 0 {
        if exponent % 2 == 1 {
            product *= base;
        }
        base *= base;
        exponent /= 2;
    }
    product
}

fn checksum(hash: IdHash, id: SaltedId) -> u16 {
    hash.of(id) as u16
}

/// Who has an id that the other has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Only the decoder's set has it.
    Mine,
    /// Only the encoder's set has it.
    Theirs,
}

/// How far a decoder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More cells are needed.
    Undecided,
    /// All cells are explained by the ids found.
    Complete,
    /// No set gives these cells; more of them do not help.
    Contradictory,
}

/// Finds the difference between the set of a cell stream and its own.
#[derive(Clone, Debug)]
pub struct Decoder {
    hash: IdHash,
    own: Vec<SaltedId>,
    /// What is known of the other set: my own, corrected by what was found.
    known: Encoder,
    /// Received cells without what is known.
    cells: Vec<Cell>,
    /// Cells that are not empty.
    open: usize,
    found: BTreeMap<SaltedId, Side>,
    /// Of each cell, the id that was found in it. No cell is believed twice.
    sources: Vec<Option<SaltedId>>,
    steps: usize,
    mistakes: usize,
}

impl Decoder {
    /// Starts before cell 0 with its own ids, ascending.
    pub fn new(hash: IdHash, own: &[SaltedId]) -> Self {
        Self {
            hash,
            own: own.to_vec(),
            known: Encoder::new(hash, own),
            cells: Vec::new(),
            open: 0,
            found: BTreeMap::new(),
            sources: Vec::new(),
            steps: 0,
            mistakes: 0,
        }
    }

    /// Takes the next cell. Each cell gives one id at most, so that a stream of any bytes costs no more than an honest
    /// one.
    pub fn push(&mut self, cell: Cell) {
        let rest = cell.minus(self.known.next_cell());
        self.open += usize::from(!rest.is_empty());
        self.cells.push(rest);
        self.sources.push(None);
        self.peel(self.cells.len() - 1);
    }

    /// Cells taken so far.
    pub fn cells(&self) -> usize {
        self.cells.len()
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        if self.mistakes > MISTAKES_MAX {
            Progress::Contradictory
        } else if self.open == 0 && !self.cells.is_empty() {
            Progress::Complete
        } else {
            Progress::Undecided
        }
    }

    /// What was found so far, by id; all of it once [`Progress::Complete`].
    pub fn found(&self) -> impl Iterator<Item = (SaltedId, Side)> {
        self.found.iter().map(|(id, side)| (*id, *side))
    }

    /// How many more cells are likely to be enough, at least 1: those for as many ids as would leave so many cells open.
    ///
    /// Once all cells hold ids, nothing but "many" follows from them: ask for half as many again at most.
    pub fn cells_wanted(&self) -> usize {
        let (mut least, mut most) = (0, self.cells.len().saturating_mul(2) + 1);
        while most - least > 1 {
            let middle = least + (most - least) / 2;
            let expected: f64 = (0..self.cells.len()).map(|index| 1.0 - power(1.0 - density(index), middle)).sum();
            if expected > self.open as f64 {
                most = middle;
            } else {
                least = middle;
            }
        }
        let likely = (most + self.found.len()) * 29 / 20;
        likely.saturating_sub(self.cells.len()).max(self.cells.len() / 10).max(1)
    }

    fn peel(&mut self, start: usize) {
        let mut suspects = vec![start];
        while let Some(at) = suspects.pop() {
            let Some((id, side)) = self.single(at) else { continue };
            if self.mistakes > MISTAKES_MAX {
                return;
            }
            self.steps += 1;
            if let Some(source) = self.sources.get_mut(at) {
                *source = Some(id);
            }
            if self.found.contains_key(&id) {
                self.take_back(id, &mut suspects);
            } else {
                self.take_out(id, side, &mut suspects);
            }
        }
    }

    /// The id of a cell that seems to hold a single one and was not believed before.
    fn single(&self, at: usize) -> Option<(SaltedId, Side)> {
        let cell = self.cells.get(at)?;
        let side = match cell.count {
            1 => Side::Theirs,
            -1 => Side::Mine,
            _ => return None,
        };
        let id = SaltedId::new(cell.id_xor)?;
        let good = checksum(self.hash, id) == cell.check_xor && self.belongs(id, at) && self.sources.get(at)?.is_none();
        let known = self.own.binary_search(&id).is_ok() ^ self.found.contains_key(&id);
        (good && known == (side == Side::Mine)).then_some((id, side))
    }

    fn belongs(&self, id: SaltedId, at: usize) -> bool {
        let mut place = Place::first(self.hash, id);
        while place.index < at as u64 {
            place.advance();
        }
        place.index == at as u64
    }

    fn take_out(&mut self, id: SaltedId, side: Side, suspects: &mut Vec<usize>) {
        self.found.insert(id, side);
        let reopened = self.apply(id, if side == Side::Theirs { -1 } else { 1 }, suspects);
        // A cell that an id was found in holds known ids only. If this one opens it again, one of the two was a
        // checksum met by chance; which one cannot be seen, and the true one will be found in another cell.
        let wrong: Vec<SaltedId> = reopened.iter().filter_map(|at| *self.sources.get(*at)?).collect();
        if !wrong.is_empty() {
            self.take_back(id, suspects);
        }
        for id in wrong {
            self.take_back(id, suspects);
        }
    }

    fn take_back(&mut self, id: SaltedId, suspects: &mut Vec<usize>) {
        let Some(side) = self.found.remove(&id) else { return };
        self.mistakes += 1;
        self.apply(id, if side == Side::Theirs { 1 } else { -1 }, suspects);
    }

    /// Changes all cells of an id, also those to come; returns those that were empty.
    fn apply(&mut self, id: SaltedId, sign: i8, suspects: &mut Vec<usize>) -> Vec<usize> {
        let mut reopened = Vec::new();
        let mut place = Place::first(self.hash, id);
        while let Some(cell) = usize::try_from(place.index).ok().and_then(|index| self.cells.get_mut(index)) {
            let at = place.index as usize;
            if cell.is_empty() {
                self.open += 1;
                reopened.push(at);
            }
            cell.apply(id, self.hash, sign);
            self.open -= usize::from(cell.is_empty());
            suspects.push(at);
            place.advance();
        }
        self.known.waiting.push(Reverse(Waiting { place, id, sign: -sign }));
        reopened
    }
}

/// Ids taken back before a stream is given up. One checksum in 65,536 fits by chance, which happens once in a thousand
/// streams and costs two or three ids.
const MISTAKES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids(range: std::ops::Range<u64>, salt: u64) -> Vec<SaltedId> {
        let mut ids: Vec<_> = range.filter_map(|n| SaltedId::new(mix(n ^ salt << 32) >> 16)).collect();
        ids.sort_unstable();
        ids
    }

    /// Cells until complete, and what was found.
    fn run(hash: IdHash, theirs: &[SaltedId], mine: &[SaltedId]) -> (usize, Vec<(SaltedId, Side)>) {
        let (mut encoder, mut decoder) = (Encoder::new(hash, theirs), Decoder::new(hash, mine));
        while decoder.progress() == Progress::Undecided && decoder.cells() < 20_000 {
            decoder.push(encoder.next_cell());
        }
        assert_eq!(decoder.progress(), Progress::Complete);
        (decoder.cells(), decoder.found().collect())
    }

    #[test]
    fn mean_cells_a_difference_are_as_in_the_paper() {
        for (differences, runs) in [(20, 400), (50, 200), (200, 60)] {
            let mut cells = 0;
            for salt in 0..runs {
                let hash = IdHash::for_test(salt + 1);
                let mine = ids(0..300, salt);
                let theirs = ids(differences / 2..300 + differences / 2, salt);
                cells += run(hash, &theirs, &mine).0;
            }
            let mean = cells as f64 / (runs * differences) as f64;
            assert!((1.3..2.0).contains(&mean), "{differences}: {mean}");
        }
    }

    #[test]
    fn equal_sets_are_complete_with_the_first_cell() {
        let set = ids(0..100, 1);
        assert_eq!(run(IdHash::for_test(1), &set, &set), (1, Vec::new()));
        assert_eq!(run(IdHash::for_test(1), &[], &[]).0, 1);
    }

    #[test]
    fn another_salt_at_the_other_end_never_completes() {
        let set = ids(0..100, 1);
        let mut encoder = Encoder::new(IdHash::for_test(1), &set);
        let mut decoder = Decoder::new(IdHash::for_test(2), &set);
        for _ in 0..600 {
            decoder.push(encoder.next_cell());
            assert_ne!(decoder.progress(), Progress::Complete);
        }
    }

    #[test]
    fn a_checksum_met_by_chance_is_taken_back() {
        let ids = |numbers: &[u64]| {
            let mut ids: Vec<_> = numbers.iter().filter_map(|n| SaltedId::new(mix(*n) >> 16)).collect();
            ids.sort_unstable();
            ids
        };
        let mine = ids(&[1, 273, 361]);
        let theirs = ids(&[
            2, 13, 27, 47, 62, 88, 101, 191, 202, 225, 241, 248, 252, 268, 274, 307, 313, 318, 320, 331, 343, 354, 364,
            372, 380, 383, 388,
        ]);
        let hash = IdHash::for_test(16563821263049568);
        let (mut encoder, mut decoder) = (Encoder::new(hash, &theirs), Decoder::new(hash, &mine));
        while decoder.progress() == Progress::Undecided {
            decoder.push(encoder.next_cell());
        }
        assert_eq!(decoder.progress(), Progress::Complete);
        assert!(decoder.mistakes > 0);
        assert_eq!(decoder.found().count(), mine.len() + theirs.len());
    }

    proptest! {
        #[test]
        fn exactly_the_difference_is_found(
            mine in proptest::collection::btree_set(1_u64..400, 0..150),
            theirs in proptest::collection::btree_set(1_u64..400, 0..150),
            salt: u64,
        ) {
            let id = |n: &u64| SaltedId::new(mix(*n) >> 16).unwrap();
            let mut own: Vec<_> = mine.iter().map(id).collect();
            own.sort_unstable();
            let other: Vec<_> = theirs.iter().map(id).collect();
            let (_, found) = run(IdHash::for_test(salt), &other, &own);
            let mut expected: Vec<_> = mine.difference(&theirs).map(|n| (id(n), Side::Mine)).collect();
            expected.extend(theirs.difference(&mine).map(|n| (id(n), Side::Theirs)));
            expected.sort_unstable_by_key(|(id, _)| *id);
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn any_cells_end_in_bounded_work(bytes in proptest::collection::vec(any::<u8>(), 0..2_000), ours in 0_u64..50) {
            let mut decoder = Decoder::new(IdHash::for_test(3), &ids(0..ours, 3));
            for chunk in bytes.chunks_exact(Cell::LEN) {
                let cell = Cell::read(chunk).unwrap();
                prop_assert_eq!(&cell.to_bytes()[..], chunk);
                decoder.push(cell);
            }
            prop_assert!(decoder.steps <= decoder.cells());
        }

        #[test]
        fn a_changed_cell_never_gives_a_wrong_answer_that_is_complete(
            at in 0_usize..20, byte in 0_usize..9, flip in 1_u8..,
        ) {
            let (mine, theirs) = (ids(0..100, 9), ids(5..105, 9));
            let hash = IdHash::for_test(9);
            let (mut encoder, mut decoder) = (Encoder::new(hash, &theirs), Decoder::new(hash, &mine));
            for index in 0..200 {
                let mut bytes = encoder.next_cell().to_bytes();
                if index == at {
                    bytes[byte] ^= flip;
                }
                decoder.push(Cell::read(&bytes).unwrap());
                if index >= at {
                    prop_assert_ne!(decoder.progress(), Progress::Complete);
                }
            }
        }
    }
}
