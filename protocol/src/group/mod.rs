//! Groups: who may read, with which keys, and what a message looks like.

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
