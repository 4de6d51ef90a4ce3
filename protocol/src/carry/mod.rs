//! What is carried for others: the store of sealed envelopes, the routing of their copies, and how two carriers find out
//! what only one of them has.
//!
//! ```text
//!   store.rs        copies and vaccines, quotas, eviction      routing.rs   who gets a copy, what is kept
//!   reconcile.rs    what only one of two has                    item.rs      names within one encounter
//!   sheet.rs        what friends are asked to pick up
//!   salted_set.rs   riblt.rs   power_sums.rs                    the sets, the coded cells, the power sums
//! ```
//! An encounter itself is run by the engine (`engine/couriers.rs`), its frames are in `wire/encounter.rs`.

pub mod item;
pub mod power_sums;
pub mod reconcile;
pub mod riblt;
pub mod routing;
pub mod salted_set;
pub mod sheet;
pub mod store;
