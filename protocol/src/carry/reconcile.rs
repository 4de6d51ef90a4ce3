//! Two ends that each hold a set find out what only one of them has, for about the price of the difference.
//!
//! ```text
//!   both: Opening (size, digest, sketch)                          equal digests: done, nothing more is said
//!   teller = larger set          reader = smaller set             both come to the same plan from the openings
//!     Sums  ───────────────────▶                                  1  power sums, up to 48 differences, 6 B each
//!           ◀─────────────────── MoreSums
//!     Cells ───────────────────▶                                  2  beyond: coded cells, 9 B each, 1.4 a difference
//!           ◀─────────────────── MoreCells
//!           ◀─────────────────── Found                            the reader has decoded: here is your half
//!           ◀─────────────────── Ids                              3  small or very different sets, or too many cells:
//!     Lacks, Ids ──────────────▶                                     the whole list, and what follows from it
//! ```
//! [`Reconciliation`] is one end. Whatever was found is believed only if it turns my digest into theirs, so that a
//! wrong answer means a lying peer (or a chance of 2^-64). Every count is bounded by the openings: any peer comes to an
//! end, and an end costs at most the cells' cap and one list.
//!
//! What the other end has and I lack comes as an id of this session only; it means something to an end that has the
//! item, or had it and computes its id with [`SaltedSet::new`].

mod message;
mod plan;

pub use message::{CELLS_PER_MESSAGE_MAX, IDS_PER_MESSAGE_MAX, LACKS_BYTES_MAX, Message, MessageError};
pub use plan::{Opening, SUMS_MAX};

use super::power_sums::{PowerSums, roots};
use super::riblt::{Cell, Decoder, Encoder, Progress};
use super::salted_set::{SaltedId, SaltedSet, sum};
use plan::{Method, Plan, Role, cells_first, cells_max, cells_more, sums_more};

/// What only one of the two has; both lists ascend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Only this end has these.
    pub mine: Vec<SaltedId>,
    /// Only the other end has these.
    pub theirs: Vec<SaltedId>,
}

/// Why a reconciliation came to nothing. Always the peer's fault; the end is closed afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReconcileError {
    /// Not a message that this end waits for, or more than was agreed.
    #[error("a message that nobody asked for")]
    Unexpected,
    /// Its result does not fit its opening.
    #[error("the answer contradicts the opening")]
    Contradiction,
    /// The reconciliation is over.
    #[error("the reconciliation is over")]
    Closed,
}

/// One end of a reconciliation. `Err` closes it; there are no timers.
#[derive(Debug)]
pub struct Reconciliation {
    set: SaltedSet,
    peer: Opening,
    state: State,
}

#[derive(Debug)]
enum State {
    Reading(Reading),
    /// The whole list is sent; waits for what the other end lacks of it, then for what this end lacks.
    Listed {
        lacks: Vec<bool>,
        theirs: Vec<SaltedId>,
    },
    Telling(Telling),
    /// The other end is sending its whole list.
    Listening {
        list: Vec<SaltedId>,
    },
    Done(Difference),
    Closed,
}

#[derive(Debug)]
enum Reading {
    Sums {
        own: PowerSums,
        /// Of the difference.
        sums: Vec<u64>,
        /// In the next message.
        asked: usize,
    },
    Cells {
        decoder: Box<Decoder>,
        asked: usize,
    },
}

#[derive(Debug)]
struct Telling {
    sums: PowerSums,
    sums_sent: usize,
    /// Made when the first cell is asked for.
    cells: Option<Encoder>,
    cells_sent: usize,
}

impl Reconciliation {
    /// Starts this end: `peer` is the other end's opening under the same salt. Returns what is to be sent at once.
    pub fn start(set: SaltedSet, peer: &Opening) -> (Self, Vec<Message>) {
        let plan = Plan::new(&Opening::of(&set), peer);
        let mut out = Vec::new();
        let state = match (plan.role, plan.method) {
            (Role::Equal, _) => State::Done(Difference::default()),
            (Role::Reader, Method::Sums(asked)) => {
                State::Reading(Reading::Sums { own: PowerSums::new(set.ids()), sums: Vec::new(), asked })
            }
            (Role::Reader, Method::Cells(asked)) => State::Reading(read_cells(&set, asked)),
            (Role::Reader, Method::List) => list(&set, &mut out),
            (Role::Teller, Method::List) => State::Listening { list: Vec::new() },
            (Role::Teller, Method::Sums(count)) => {
                let mut telling = Telling::new(&set);
                out.push(telling.next_sums(count));
                State::Telling(telling)
            }
            (Role::Teller, Method::Cells(count)) => {
                let mut telling = Telling::new(&set);
                out.push(telling.next_cells(&set, count));
                State::Telling(telling)
            }
        };
        let mut end = Self { set, peer: *peer, state };
        // An empty list has no message: its answer follows from the opening.
        if matches!(end.state, State::Listening { .. }) && peer.items == 0 {
            end.state = answer(&end.set, &[], &mut out);
        }
        (end, out)
    }

    /// Takes the next message of the other end; answers are added to `out`.
    ///
    /// # Errors
    /// [`ReconcileError`]; nothing is added to `out` then, and the end is closed.
    pub fn handle(&mut self, message: Message, out: &mut Vec<Message>) -> Result<(), ReconcileError> {
        let mut answers = Vec::new();
        let state = std::mem::replace(&mut self.state, State::Closed);
        self.state = match state {
            State::Reading(reading) => self.read(reading, message, &mut answers),
            State::Listed { lacks, theirs } => self.take_answer(lacks, theirs, message),
            State::Telling(telling) => self.tell(telling, message, &mut answers),
            State::Listening { list } => self.listen(list, message, &mut answers),
            State::Done(difference) => {
                self.state = State::Done(difference);
                return Err(ReconcileError::Closed);
            }
            State::Closed => Err(ReconcileError::Closed),
        }?;
        out.append(&mut answers);
        Ok(())
    }

    /// The result, once there is one. The reader has it when it sends its last message, the teller when it gets that.
    pub fn difference(&self) -> Option<&Difference> {
        match &self.state {
            State::Done(difference) => Some(difference),
            _ => None,
        }
    }

    /// This end's items, to map ids back.
    pub fn set(&self) -> &SaltedSet {
        &self.set
    }

    // ---------- reader

    fn read(&self, reading: Reading, message: Message, out: &mut Vec<Message>) -> Result<State, ReconcileError> {
        match (reading, message) {
            (Reading::Sums { mut own, mut sums, asked }, Message::Sums(given)) if given.len() == asked => {
                sums.extend(given.iter().map(|sum| sum ^ own.next_sum()));
                if let Some(difference) = roots(&sums).and_then(|ids| self.split(ids)) {
                    return Ok(self.found(difference, out));
                }
                let asked = sums_more(sums.len());
                if asked > 0 {
                    out.push(Message::MoreSums(asked));
                    return Ok(State::Reading(Reading::Sums { own, sums, asked }));
                }
                let asked = cells_first(SUMS_MAX).min(self.cells_max());
                out.push(Message::MoreCells(asked));
                Ok(State::Reading(read_cells(&self.set, asked)))
            }
            (Reading::Cells { mut decoder, asked }, Message::Cells(cells)) if cells.len() == asked => {
                for cell in cells {
                    decoder.push(cell);
                    if decoder.progress() != Progress::Undecided {
                        break;
                    }
                }
                let ids = decoder.found().map(|(id, _)| id).collect();
                match decoder.progress() {
                    Progress::Complete => match self.split(ids) {
                        Some(difference) => return Ok(self.found(difference, out)),
                        None => return Ok(list(&self.set, out)),
                    },
                    Progress::Contradictory => return Ok(list(&self.set, out)),
                    Progress::Undecided => {}
                }
                let left = self.cells_max() - decoder.cells();
                let asked = cells_more(decoder.cells(), decoder.cells_wanted()).min(left);
                if asked == 0 {
                    return Ok(list(&self.set, out));
                }
                out.push(Message::MoreCells(asked));
                Ok(State::Reading(Reading::Cells { decoder, asked }))
            }
            _ => Err(ReconcileError::Unexpected),
        }
    }

    fn cells_max(&self) -> usize {
        cells_max(self.set.ids().len(), self.peer.items as usize)
    }

    /// The ids that only one end has, by who has them; `None` if that is not what the peer's opening says.
    fn split(&self, ids: Vec<SaltedId>) -> Option<Difference> {
        let (mine, theirs): (Vec<_>, Vec<_>) = ids.into_iter().partition(|id| self.set.holds(*id));
        self.believe(mine, theirs).ok()
    }

    fn believe(&self, mine: Vec<SaltedId>, theirs: Vec<SaltedId>) -> Result<Difference, ReconcileError> {
        let count = self.set.ids().len().checked_sub(mine.len()).and_then(|kept| kept.checked_add(theirs.len()));
        if count == Some(self.peer.items as usize)
            && !theirs.iter().any(|id| self.set.holds(*id))
            && self.set.digest_with(&mine, &theirs) == self.peer.digest
        {
            Ok(Difference { mine, theirs })
        } else {
            Err(ReconcileError::Contradiction)
        }
    }

    /// Tells the teller its half by position in its own list, which this end knows by now, and the rest by id.
    fn found(&self, difference: Difference, out: &mut Vec<Message>) -> State {
        let kept = self.set.ids().iter().filter(|id| difference.mine.binary_search(id).is_err());
        let mut peer_ids: Vec<SaltedId> = kept.chain(&difference.theirs).copied().collect();
        peer_ids.sort_unstable();
        let positions = difference.theirs.iter().filter_map(|id| peer_ids.binary_search(id).ok());
        out.push(Message::Found { yours: positions.map(|at| at as u32).collect(), mine: difference.mine.clone() });
        State::Done(difference)
    }

    fn take_answer(
        &self,
        mut lacks: Vec<bool>,
        mut theirs: Vec<SaltedId>,
        message: Message,
    ) -> Result<State, ReconcileError> {
        let items = self.set.ids().len();
        match message {
            Message::Lacks(bits) if lacks.len() < items && bits.len() == lacks_bytes(items - lacks.len()) => {
                lacks.extend(bits.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1)));
                // The last byte may be filled up.
                lacks.truncate(items);
            }
            Message::Ids(ids) if lacks.len() == items && ascends(theirs.last(), &ids) => theirs.extend(ids),
            _ => return Err(ReconcileError::Unexpected),
        }
        let lacking = lacks.iter().filter(|lack| **lack).count();
        let expected = (self.peer.items as usize).checked_sub(lacks.len() - lacking);
        let expected = expected.ok_or(ReconcileError::Contradiction)?;
        if lacks.len() < items || theirs.len() < expected {
            return Ok(State::Listed { lacks, theirs });
        }
        let mine = self.set.ids().iter().zip(&lacks).filter(|(_, lack)| **lack).map(|(id, _)| *id).collect();
        self.believe(mine, theirs).map(State::Done)
    }

    // ---------- teller

    fn tell(&self, mut telling: Telling, message: Message, out: &mut Vec<Message>) -> Result<State, ReconcileError> {
        match message {
            Message::MoreSums(count) if telling.cells.is_none() && count <= SUMS_MAX - telling.sums_sent => {
                out.push(telling.next_sums(count));
                Ok(State::Telling(telling))
            }
            Message::MoreCells(count) if count <= self.cells_max() - telling.cells_sent => {
                out.push(telling.next_cells(&self.set, count));
                Ok(State::Telling(telling))
            }
            Message::Found { yours, mine } => {
                let ids = yours.iter().map(|at| self.set.ids().get(*at as usize).copied());
                let yours = ids.collect::<Option<Vec<_>>>().ok_or(ReconcileError::Contradiction)?;
                self.believe(yours, mine).map(State::Done)
            }
            Message::Ids(_) => self.listen(Vec::new(), message, out),
            _ => Err(ReconcileError::Unexpected),
        }
    }

    fn listen(
        &self,
        mut heard: Vec<SaltedId>,
        message: Message,
        out: &mut Vec<Message>,
    ) -> Result<State, ReconcileError> {
        let Message::Ids(ids) = message else { return Err(ReconcileError::Unexpected) };
        if !ascends(heard.last(), &ids) {
            return Err(ReconcileError::Unexpected);
        }
        heard.extend(ids);
        if heard.len() < self.peer.items as usize {
            return Ok(State::Listening { list: heard });
        }
        if heard.len() > self.peer.items as usize || sum(self.set.hash(), &heard) != self.peer.digest {
            return Err(ReconcileError::Contradiction);
        }
        Ok(answer(&self.set, &heard, out))
    }
}

impl Telling {
    fn new(set: &SaltedSet) -> Self {
        Self { sums: PowerSums::new(set.ids()), sums_sent: 0, cells: None, cells_sent: 0 }
    }

    fn next_sums(&mut self, count: usize) -> Message {
        self.sums_sent += count;
        Message::Sums((0..count).map(|_| self.sums.next_sum()).collect())
    }

    fn next_cells(&mut self, set: &SaltedSet, count: usize) -> Message {
        self.cells_sent += count;
        let encoder = self.cells.get_or_insert_with(|| Encoder::new(set.hash(), set.ids()));
        Message::Cells((0..count).map(|_| encoder.next_cell()).collect::<Vec<Cell>>())
    }
}

fn read_cells(set: &SaltedSet, asked: usize) -> Reading {
    Reading::Cells { decoder: Box::new(Decoder::new(set.hash(), set.ids())), asked }
}

/// Sends everything.
fn list(set: &SaltedSet, out: &mut Vec<Message>) -> State {
    out.extend(set.ids().chunks(IDS_PER_MESSAGE_MAX).map(|ids| Message::Ids(ids.to_vec())));
    State::Listed { lacks: Vec::new(), theirs: Vec::new() }
}

/// Answers the whole list of the other end.
fn answer(set: &SaltedSet, heard: &[SaltedId], out: &mut Vec<Message>) -> State {
    for part in heard.chunks(8 * LACKS_BYTES_MAX) {
        let byte = |ids: &[SaltedId]| ids.iter().rev().fold(0, |byte, id| byte << 1 | u8::from(!set.holds(*id)));
        out.push(Message::Lacks(part.chunks(8).map(byte).collect()));
    }
    let mine: Vec<_> = set.ids().iter().copied().filter(|id| heard.binary_search(id).is_err()).collect();
    let theirs = heard.iter().copied().filter(|id| !set.holds(*id)).collect();
    out.extend(mine.chunks(IDS_PER_MESSAGE_MAX).map(|ids| Message::Ids(ids.to_vec())));
    State::Done(Difference { mine, theirs })
}

fn lacks_bytes(items_left: usize) -> usize {
    items_left.div_ceil(8).min(LACKS_BYTES_MAX)
}

/// A list goes on, in order and without an id twice; an empty part would never end.
fn ascends(last: Option<&SaltedId>, ids: &[SaltedId]) -> bool {
    !ids.is_empty() && last < ids.first() && ids.is_sorted_by(|a, b| a < b)
}

#[cfg(test)]
#[path = "reconcile_tests.rs"]
mod tests;
