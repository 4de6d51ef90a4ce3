//! A virtual world that runs engines of Silbo: one clock, one heap of happenings, no thread, no socket, no disk.
//!
//! ```text
//!   scenario ──▶ World ──▶ driver ──▶ Engine::handle ──▶ Step ──▶ commit · send · answer · tell
//!                  │ ▲                                              │
//!                  │ └── network: links, routes, who reaches whom ◀─┘
//!                  └──── chaos: crashes between phases, cuts, clock jumps, full disks, hostile relays
//! ```
//! [`World`] holds the [`Node`]s, [`Trace`] hashes everything that happens, and the invariants of the threat model are
//! checked at every step. Same seed, same trace hash. It depends on `silbo-protocol` and knows no rule of the protocol
//! by itself: what it cannot read from frames, writes and events, it does not judge.

#![forbid(unsafe_code)]

pub mod address;
mod bits;
pub mod chaos;
pub mod compare;
mod custody;
pub mod dht;
pub mod disk;
pub mod driver;
pub mod encounter_bytes;
pub mod experiment;
pub mod failure;
pub mod group_cost;
pub mod groups;
pub mod hostile;
pub mod invariants;
pub mod meetings;
pub mod mobility;
pub mod network;
pub mod node;
pub mod oracle;
pub mod people;
pub mod process;
pub mod progress;
pub mod quantity;
pub mod radio;
mod rehearsal;
pub mod routers;
pub mod scenario_file;
pub mod scenarios;
pub mod trace;
pub mod village_cost;
pub mod wiretap;
pub mod world;

pub use chaos::Chaos;
pub use driver::Phase;
pub use failure::Failure;
pub use hostile::Hostility;
pub use network::Reach;
pub use node::{Node, NodeId};
pub use trace::Trace;
pub use world::World;
