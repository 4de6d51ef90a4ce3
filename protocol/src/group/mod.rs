//! Groups: who may read, with which keys, and what a message looks like.

mod bits;
pub mod graph;
pub mod membership;
pub mod operation;
mod resolve;
mod standing;
