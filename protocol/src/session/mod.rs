//! One session between two devices: handshake, double ratchet with encrypted headers, tags, skipped keys.
//!
//! ```text
//!   PeerPrekeys ──initiate──▶ InitBlock + Session          OwnPrekeys + InitBlock ──respond_identity──▶ HalfOpen
//!                                                          HalfOpen ──finish(verified AID, DDH)──▶ Session
//!   Session::seal ──▶ Sealed { tag, preimage, envelope }
//!   Session::tags ──▶ (tag → place);  Session::open(place, envelope) ──▶ Opened { the advanced session, plaintext, skipped keys }
//! ```
//! An init block travels with the first ratchet envelope, in a box of [`first_contact`]: the responder seals only
//! after it has opened a ratchet message, because only that proves the sender.
//!
//! Pure: nothing here stores, sends or knows a contact. The caller stores the advanced session and what it got
//! from it in one transaction, before anything leaves (architecture, "the one contract"). What fails changes nothing.
//!
//! Both ends may initiate at once: two independent sessions exist, both sides send on the one with the lower
//! [`SessionId`](crate::ids::SessionId) and keep the other for receiving.

mod body;
mod chains;
pub mod first_contact;
pub mod handshake;
mod header;
pub mod pair;
pub mod prekeys;
pub mod ratchet;
pub mod skipped;
mod stored;
pub mod tags;

#[cfg(test)]
mod handshake_tests;
#[cfg(test)]
mod ratchet_tests;
#[cfg(test)]
mod test_pair;

pub(crate) use chains::chain_step;
pub use handshake::{HalfOpen, HandshakeError, Initiator, Responder, initiate, respond_identity};
pub use pair::{link_token, pair_secret, reset_tag};
pub use prekeys::{OwnPrekeys, PeerPrekeys};
pub use ratchet::{Chain, OpenError, Opened, SealError, Sealed, SentPlace, Session, TagPlace};
pub use skipped::{OpenedSkipped, SkippedKey, open_skipped};
pub use tags::tag_of;
pub(crate) use tags::window;

/// Generated from `proto/session_state.proto`.
#[allow(missing_docs, clippy::all)]
mod state {
    include!(concat!(env!("OUT_DIR"), "/silbo.state.session.rs"));
}
