//! Groups: who may read, with which keys, and what a message looks like.
//!
//! ```text
//!   KeyGraph ──writers, holders, must_rekey──┐          make_rekey ──▶ slices ──open_slice──▶ x
//!   KeyRing::learn · hold_fresh · merge · accept ──▶ Changes { made: chains of new epochs, dropped }
//!   SenderChains::tags ──▶ (tag → place);  find(place) ──▶ Found;  letter::open(found, envelope) ──▶ Letter;  commit(found)
//!   letter::seal(chain, draft) ──▶ SealedLetter { envelope, the moved chain }
//! ```
//! Pure: nothing here stores, sends or keeps time. Who is a member is not decided by the keys: they are told which
//! operations exist and which of them are the current heads. What fails changes nothing.

pub mod chain;
pub mod epoch;
pub mod key_graph;
pub mod key_ring;
pub mod letter;
pub mod roots;
pub mod slices;
mod stored;
pub mod welcome;

#[cfg(test)]
mod chain_tests;
#[cfg(test)]
mod closure_tests;
#[cfg(test)]
mod key_ring_tests;
#[cfg(test)]
mod letter_tests;
#[cfg(test)]
mod slices_tests;
#[cfg(test)]
mod test_group;

/// Generated from `proto/group_state.proto`.
#[allow(missing_docs, clippy::all)]
mod state {
    include!(concat!(env!("OUT_DIR"), "/silbo.state.group.rs"));
}
