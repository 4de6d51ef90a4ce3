//! Groups: who may read, with which keys, and what a message looks like.

mod bits;
pub mod graph;
pub mod membership;
pub mod operation;
mod resolve;
mod standing;

#[cfg(test)]
mod graph_tests;
#[cfg(test)]
mod measure;
#[cfg(test)]
mod model;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod resolve_tests;
#[cfg(test)]
mod test_people;
