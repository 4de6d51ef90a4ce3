//! What the screen should show: messages and what was done to them.
//!
//! ```text
//!   SlotOp ──▶ Slot::apply ──▶ Slot::row ──▶ ItemRow (store) ──▶ view() ──▶ ItemView
//! ```
//! A [`slot::Slot`] joins the operations on one message id whatever their order; [`retention`] says when it must go and
//! keeps what is gone from coming back; [`delivery_state`] orders the evidence about its delivery; [`event_record`]
//! encodes the event log. Nothing here knows sessions, links or a clock.

pub mod delivery_state;
pub mod event_record;
pub mod mention;
pub mod poll;
pub mod retention;
pub mod slot;
mod slot_record;
#[cfg(test)]
mod slot_tests;
pub mod view;

pub use delivery_state::{path_code, path_of_code};
pub use mention::Mention;
pub use poll::{Choices, Poll, PollView, VoteView};
pub use slot::{Changed, Pin, Slot, SlotAuthor, SlotOp, SlotOpKind};
pub use view::{ItemView, view};

/// Generated from `proto/conversation_state.proto`.
#[allow(missing_docs, clippy::all)]
pub(crate) mod state {
    include!(concat!(env!("OUT_DIR"), "/silbo.state.conversation.rs"));
}
