//! Store-and-forward mailboxes at relays.
//!
//! ```text
//!   sender ── DEPOSIT(sid) ──▶ relay: queue of envelopes ── FETCH(rid) ──▶ owner
//!   sender ◀── Held, then P ──                           ◀── ACK(P) ──
//! ```
//! [`auth`] is what both ends sign, [`server`] the relay. A relay sees queues named by random bytes, sizes and an
//! expiry; it may not learn who owns a queue, who fills it, or that two queues belong together.

pub mod auth;
pub mod server;
