//! Who somebody is: an account as a signed causal log of its devices, contact cards, safety numbers.
//!
//! ```text
//!   device_log.rs   parses, verifies and keeps the entries      log_rules.rs      which of them count
//!   account.rs      the account of this node, with its keys     card.rs           what an invitation leads to
//!   safety_number.rs  what two people compare
//! ```
//! Signatures are checked over the bytes that travelled, never over a re-encoded struct. Nothing here talks to a
//! network or keeps time; whether a session may be set up with a device is asked here and decided in `session`.

pub mod account;
pub mod card;
pub mod device_log;
mod log_rules;
pub mod safety_number;

pub use account::OwnAccount;
pub use device_log::{Device, DeviceLog, LogError};

/// Generated from `proto/identity_state.proto`.
#[allow(missing_docs, clippy::all)]
pub(crate) mod state {
    include!(concat!(env!("OUT_DIR"), "/silbo.state.identity.rs"));
}
