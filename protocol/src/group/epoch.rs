//! The secrets of one epoch, and the three ways an epoch comes from another.
//!
//! ```text
//!   rekey     x, fresh ───────────────▶ S ──▶ join · chain root · topic · knock · exporter
//!   forward   join of its base ───────▶ S'
//!   merge     a share of each join ───▶ S''        share_h = KDF(join_h, all heads)
//! ```
//! Every arrow is one-way. `S` is not kept: whoever is told it (a newcomer, a member who lacks a head) gets it worked
//! out anew from joins that are still held. The chain root exists only while the chains are cut from it: kept, it
//! would open everything ever sent in the epoch.

use zeroize::Zeroizing;

use super::key_graph::epoch_of;
use crate::crypto::kdf::kdf_fields;
use crate::crypto::{Secret, fields, kdf};
use crate::ids::{EpochId, GroupDevice, GroupId, OperationId};

/// `S`: all secrets of an epoch come from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochSecret(pub(super) Secret<32>);

/// What `S` unfolds into.
pub struct Unfolded {
    /// From which later epochs are made.
    pub join: Secret<32>,
    /// From which the sending chain of every device is cut.
    pub chain_root: ChainRoot,
    /// Names the gossip topics of the epoch.
    pub topic: Secret<32>,
    /// By which members show each other on a link that they are members.
    pub knock: Secret<32>,
    /// For whatever else needs a key of the whole group.
    pub exporter: Secret<32>,
}

/// The source of the chains of one epoch; to be dropped as soon as they are cut.
pub struct ChainRoot(Secret<32>);

impl EpochSecret {
    /// Of a genesis or a rekey: from its fresh secret. The id of the operation stands for all that it says.
    pub fn fresh(x: &Secret<32>, operation: &OperationId) -> Self {
        Self(kdf(x.expose(), operation.as_bytes(), "silbo/1/group/rekey"))
    }

    /// Of an addition, from the join of the epoch it builds on.
    pub fn forward(base_join: &Secret<32>, operation: &OperationId) -> Self {
        Self(kdf(base_join.expose(), operation.as_bytes(), "silbo/1/group/forward"))
    }

    /// Of several heads, from their joins in the order of `heads` (ascending). Lacking one of them is lacking all.
    pub fn merged(heads: &[OperationId], joins: &[&Secret<32>]) -> Self {
        let epoch = epoch_of(heads);
        let mut shares = Zeroizing::new(Vec::with_capacity(joins.len() * 36));
        for join in joins {
            let share = kdf::<32>(join.expose(), epoch.as_bytes(), "silbo/1/group/share");
            shares.extend_from_slice(&Zeroizing::new(fields(&[share.expose()])));
        }
        Self(kdf(&shares, epoch.as_bytes(), "silbo/1/group/merge"))
    }

    /// Reads what [`Self::expose`] gave.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        Secret::read(bytes).map(Self)
    }

    /// The bytes, for a welcome inside an encrypted session.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// The secrets of the epoch.
    pub fn unfold(&self, group: &GroupId, epoch: &EpochId) -> Unfolded {
        let salt = fields(&[group.as_bytes(), epoch.as_bytes()]);
        let all = kdf::<160>(self.0.expose(), &salt, "silbo/1/group/epoch");
        let (join, rest) = all.split::<32, 128>();
        let (chain_root, rest) = rest.split::<32, 96>();
        let (topic, rest) = rest.split::<32, 64>();
        let (knock, exporter) = rest.split();
        Unfolded { join, chain_root: ChainRoot(chain_root), topic, knock, exporter }
    }
}

impl ChainRoot {
    /// The seed of the chain on which `device` sends in this epoch.
    pub fn seed(&self, device: &GroupDevice) -> Secret<32> {
        kdf(self.0.expose(), &device.to_bytes(), "silbo/1/group/chain")
    }
}

/// How the name of today's gossip topic is made.
pub fn topic_of(topic: &Secret<32>, day_2024: u32) -> [u8; 16] {
    *kdf_fields::<16>(&[topic.expose(), &day_2024.to_be_bytes()], b"", "silbo/1/group/topic").expose()
}
