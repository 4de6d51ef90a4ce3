//! Groups: who may read, with which keys, and what a message looks like.

pub mod key_graph;
