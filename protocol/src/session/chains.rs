//! Sending and receiving chains, and the two derivations that move them: root step and chain step.

use super::body::Parts;
use super::ratchet::OpenError;
use super::tags::{TagKey, tag_of};
use crate::crypto::mac::mac;
use crate::crypto::{Secret, kdf};
use crate::ids::Preimage;

/// Where the next message is sealed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct SendingChain {
    pub(super) header_key: Secret<32>,
    pub(super) chain_key: Secret<32>,
    /// How many sending chains came before.
    pub(super) index: u32,
    pub(super) next: u32,
    /// The peer has shown that it knows the ratchet key of this chain; headers leave it out from then on.
    pub(super) confirmed: bool,
    /// Highest receipted number plus one.
    pub(super) receipted: u32,
}

/// Where messages are opened.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ReceivingChain {
    pub(super) header_key: Secret<32>,
    pub(super) chain_key: Secret<32>,
    pub(super) next: u32,
}

impl SendingChain {
    pub(super) fn new(header_key: Secret<32>, chain_key: Secret<32>, index: u32) -> Self {
        Self { header_key, chain_key, index, next: 0, confirmed: false, receipted: 0 }
    }
}

/// A receiving chain moved to a message.
pub(super) struct Reached {
    pub(super) chain: ReceivingChain,
    pub(super) message_key: Secret<32>,
    pub(super) passed: Vec<(u32, Secret<32>)>,
}

impl ReceivingChain {
    /// The receipt of message `n`, if it is ahead within `reach` and the envelope carries its tag.
    pub(super) fn check(&self, n: u32, reach: u32, parts: &Parts<'_>) -> Result<Preimage, OpenError> {
        let ahead = n.checked_sub(self.next).ok_or(OpenError::UnknownTag)?;
        if ahead > reach || n == u32::MAX {
            return Err(OpenError::TooFar);
        }
        let preimage = TagKey::of(&self.header_key).preimage(n);
        if tag_of(&preimage) == parts.tag { Ok(preimage) } else { Err(OpenError::UnknownTag) }
    }

    /// Moves behind message `n`, which [`Self::check`] found to be ahead and within reach.
    pub(super) fn advance(&self, n: u32) -> Reached {
        let (at, passed) = self.advance_by(n.saturating_sub(self.next));
        let (message_key, chain_key) = chain_step(&at.chain_key);
        let chain = Self { chain_key, next: n.saturating_add(1), ..at };
        Reached { chain, message_key, passed }
    }

    /// Moves over `count` messages, bounded by the caller, and returns their keys.
    pub(super) fn advance_by(&self, count: u32) -> (Self, Vec<(u32, Secret<32>)>) {
        let mut chain = self.clone();
        // Allocated once: growing would leave copies of keys behind.
        let mut passed = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
        for _ in 0..count {
            let (message_key, chain_key) = chain_step(&chain.chain_key);
            passed.push((chain.next, message_key));
            chain = Self { chain_key, next: chain.next.saturating_add(1), ..chain };
        }
        (chain, passed)
    }
}

pub(super) struct RootStep {
    pub(super) root: Secret<32>,
    pub(super) chain_key: Secret<32>,
    pub(super) next_header_key: Secret<32>,
}

pub(super) fn root_step(root: &Secret<32>, shared: &Secret<32>) -> RootStep {
    let (root, rest) = kdf::<96>(shared.expose(), root.expose(), "silbo/1/root").split::<32, 64>();
    let (chain_key, next_header_key) = rest.split();
    RootStep { root, chain_key, next_header_key }
}

/// The message key and the next chain key.
pub(crate) fn chain_step(chain_key: &Secret<32>) -> (Secret<32>, Secret<32>) {
    (Secret::new(mac(chain_key.expose(), &[1])), Secret::new(mac(chain_key.expose(), &[2])))
}
