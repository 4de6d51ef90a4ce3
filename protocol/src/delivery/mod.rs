//! Outgoing mail: what waits, what is under way, and what counts as evidence that it arrived.

pub mod outbox;
