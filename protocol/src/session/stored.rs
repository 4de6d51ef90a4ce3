//! Sessions, skipped keys and prekeys as bytes for the device's own database (`proto/session_state.proto`).
//!
//! One encoding per state: equal states have equal bytes, so a hash of the bytes tells whether anything changed.

use prost::Message as _;
use zeroize::Zeroize as _;

use super::chains::{ReceivingChain, SendingChain};
use super::prekeys::OwnPrekeys;
use super::ratchet::Session;
use super::skipped::SkippedKey;
use super::state;
use crate::crypto::kem::DecapsulationKey;
use crate::crypto::x25519::{PublicKey, SecretKey};
use crate::crypto::{Secret, hash};
use crate::ids::{Preimage, SessionId};
use crate::time::UnixTime;

/// Version of all three encodings.
const VERSION: u32 = 1;

impl Session {
    /// The bytes to store.
    pub fn encode(&self) -> Vec<u8> {
        let mut stored = state::SessionState {
            version: VERSION,
            id: self.id.as_bytes().to_vec(),
            ad_send: self.ad_send.to_vec(),
            ad_receive: self.ad_receive.to_vec(),
            root: self.root.expose().to_vec(),
            ratchet_secret: self.ratchet_secret.expose().to_vec(),
            peer_ratchet: self.peer_ratchet.map(|key| key.as_bytes().to_vec()).unwrap_or_default(),
            sending: self.sending.as_ref().map(|chain| state::SendingChain {
                header_key: chain.header_key.expose().to_vec(),
                chain_key: chain.chain_key.expose().to_vec(),
                index: chain.index,
                next: chain.next,
                confirmed: chain.confirmed,
                receipted: chain.receipted,
            }),
            next_send_key: self.next_send_key.expose().to_vec(),
            receiving: self.receiving.as_ref().map(|chain| state::ReceivingChain {
                header_key: chain.header_key.expose().to_vec(),
                chain_key: chain.chain_key.expose().to_vec(),
                next: chain.next,
            }),
            next_receive_key: self.next_receive_key.expose().to_vec(),
            previous_len: self.previous_len,
            epoch: self.epoch,
            answered: self.answered,
            created_ms: self.created_at.0,
            last_sent_ms: self.last_sent.0,
            last_received_ms: self.last_received.0,
        };
        let bytes = stored.encode_to_vec();
        wipe_session(&mut stored);
        bytes
    }

    /// Reads what [`Self::encode`] wrote; `None` for a damaged record or one of a newer program.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut stored = state::SessionState::decode(bytes).ok()?;
        let session = read_session(&stored);
        wipe_session(&mut stored);
        session
    }

    /// A hash over the whole state, for tests: equal if and only if nothing changed.
    pub fn state_hash(&self) -> [u8; 32] {
        let mut bytes = self.encode();
        let digest = hash("silbo/1/statehash", &[&bytes]);
        bytes.zeroize();
        digest
    }
}

impl SkippedKey {
    /// The bytes to store.
    pub fn encode(&self) -> Vec<u8> {
        let mut stored = state::SkippedKey {
            version: VERSION,
            session: self.session.as_bytes().to_vec(),
            n: self.n,
            message_key: self.message_key.expose().to_vec(),
            header_key: self.header_key.expose().to_vec(),
            preimage: self.preimage.as_bytes().to_vec(),
            ad: self.ad.to_vec(),
            expires_ms: self.expires_at.0,
        };
        let bytes = stored.encode_to_vec();
        stored.message_key.zeroize();
        stored.header_key.zeroize();
        bytes
    }

    /// Reads what [`Self::encode`] wrote; `None` for a damaged record or one of a newer program.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut stored = state::SkippedKey::decode(bytes).ok()?;
        let key = read_skipped(&stored);
        stored.message_key.zeroize();
        stored.header_key.zeroize();
        key
    }
}

impl OwnPrekeys {
    /// The bytes to store.
    pub fn encode(&self) -> Vec<u8> {
        let mut stored = state::OwnPrekeys {
            version: VERSION,
            spk: self.spk.expose().to_vec(),
            spk_id: self.spk_id,
            pq_seed: self.pq.seed().expose().to_vec(),
            pq_id: self.pq_id,
            otk_id: self.otk.as_ref().map_or(0, |(id, _)| *id),
            otk: self.otk.as_ref().map(|(_, key)| key.expose().to_vec()).unwrap_or_default(),
            created_ms: self.created_ms,
        };
        let bytes = stored.encode_to_vec();
        wipe_prekeys(&mut stored);
        bytes
    }

    /// Reads what [`Self::encode`] wrote; `None` for a damaged record or one of a newer program.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut stored = state::OwnPrekeys::decode(bytes).ok()?;
        let keys = read_prekeys(&stored);
        wipe_prekeys(&mut stored);
        keys
    }
}

fn read_session(stored: &state::SessionState) -> Option<Session> {
    if stored.version != VERSION {
        return None;
    }
    let sending = match &stored.sending {
        Some(chain) => Some(SendingChain {
            header_key: Secret::read(&chain.header_key)?,
            chain_key: Secret::read(&chain.chain_key)?,
            index: chain.index,
            next: chain.next,
            confirmed: chain.confirmed,
            receipted: chain.receipted,
        }),
        None => None,
    };
    let receiving = match &stored.receiving {
        Some(chain) => Some(ReceivingChain {
            header_key: Secret::read(&chain.header_key)?,
            chain_key: Secret::read(&chain.chain_key)?,
            next: chain.next,
        }),
        None => None,
    };
    let peer_ratchet = match stored.peer_ratchet.as_slice() {
        [] => None,
        key => Some(PublicKey::read(key).ok()?),
    };
    Some(Session {
        id: SessionId::read(&stored.id)?,
        ad_send: stored.ad_send.as_slice().try_into().ok()?,
        ad_receive: stored.ad_receive.as_slice().try_into().ok()?,
        root: Secret::read(&stored.root)?,
        ratchet_secret: SecretKey::read(&stored.ratchet_secret)?,
        peer_ratchet,
        sending,
        next_send_key: Secret::read(&stored.next_send_key)?,
        receiving,
        next_receive_key: Secret::read(&stored.next_receive_key)?,
        previous_len: stored.previous_len,
        epoch: stored.epoch,
        answered: stored.answered,
        created_at: UnixTime(stored.created_ms),
        last_sent: UnixTime(stored.last_sent_ms),
        last_received: UnixTime(stored.last_received_ms),
    })
}

fn read_skipped(stored: &state::SkippedKey) -> Option<SkippedKey> {
    if stored.version != VERSION {
        return None;
    }
    Some(SkippedKey {
        session: SessionId::read(&stored.session)?,
        n: stored.n,
        message_key: Secret::read(&stored.message_key)?,
        header_key: Secret::read(&stored.header_key)?,
        preimage: Preimage::read(&stored.preimage)?,
        ad: stored.ad.as_slice().try_into().ok()?,
        expires_at: UnixTime(stored.expires_ms),
    })
}

fn read_prekeys(stored: &state::OwnPrekeys) -> Option<OwnPrekeys> {
    if stored.version != VERSION {
        return None;
    }
    let otk = match stored.otk_id {
        0 => None,
        id => Some((id, SecretKey::read(&stored.otk)?)),
    };
    Some(OwnPrekeys {
        spk: SecretKey::read(&stored.spk)?,
        spk_id: stored.spk_id,
        pq: DecapsulationKey::from_seed(Secret::read(&stored.pq_seed)?),
        pq_id: stored.pq_id,
        otk,
        created_ms: stored.created_ms,
    })
}

fn wipe_session(stored: &mut state::SessionState) {
    stored.root.zeroize();
    stored.ratchet_secret.zeroize();
    stored.next_send_key.zeroize();
    stored.next_receive_key.zeroize();
    if let Some(chain) = &mut stored.sending {
        chain.header_key.zeroize();
        chain.chain_key.zeroize();
    }
    if let Some(chain) = &mut stored.receiving {
        chain.header_key.zeroize();
        chain.chain_key.zeroize();
    }
}

fn wipe_prekeys(stored: &mut state::OwnPrekeys) {
    stored.spk.zeroize();
    stored.pq_seed.zeroize();
    stored.otk.zeroize();
}
