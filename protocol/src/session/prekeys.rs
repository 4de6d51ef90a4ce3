//! Prekeys: what a device publishes so that others can write to it while it is away, and its secret half.
//!
//! [`PeerPrekeys::read`] is the only way to a peer's bundle: what it returns is signed by the device's key,
//! unexpired and made of usable keys. It may not be built any other way.

use prost::Message as _;

use super::handshake::{HandshakeError, SUITE};
use crate::chance::Chance;
use crate::crypto::ed25519::{SigningKey, VerifyingKey};
use crate::crypto::kem::{DecapsulationKey, EncapsulationKey};
use crate::crypto::x25519::{PublicKey, SecretKey};
use crate::crypto::{KeyKind, typed};
use crate::identity::device_log::device_id;
use crate::ids::{AccountId, DeviceId};
use crate::time::UnixTime;
use crate::wire::proto;

/// Purpose of the signature on a bundle.
const BUNDLE_PURPOSE: &str = "silbo/1/bundle";

/// A peer device's prekeys, verified under its signing key.
#[derive(Clone, Debug)]
pub struct PeerPrekeys {
    pub(super) aid: AccountId,
    pub(super) cert: Vec<u8>,
    pub(super) device: DeviceId,
    pub(super) ddh: PublicKey,
    pub(super) spk: PublicKey,
    pub(super) spk_id: u32,
    pub(super) pq: EncapsulationKey,
    pub(super) pq_id: u32,
    pub(super) otk: Option<(u32, PublicKey)>,
}

impl PeerPrekeys {
    /// Reads a bundle. `cert` is the encoded `DeviceCert` from the account's verified device log and `dik` its
    /// signing key; `today` counts days since 2024-01-01.
    ///
    /// # Errors
    /// [`HandshakeError`]: `BadBundle` for anything that does not fit together, `Expired`, `Suite`, or a bad key.
    pub fn read(
        aid: AccountId,
        cert: &[u8],
        dik: &VerifyingKey,
        bundle: &proto::PrekeyBundle,
        today: u32,
    ) -> Result<Self, HandshakeError> {
        let parsed = proto::DeviceCert::decode(cert).map_err(|_| HandshakeError::BadBundle)?;
        let device = DeviceId::read(&bundle.device_id).ok_or(HandshakeError::BadBundle)?;
        if parsed.dik != dik.as_bytes() || parsed.device_id != bundle.device_id || device != device_id(dik) {
            return Err(HandshakeError::BadBundle);
        }
        if !parsed.suites.contains(&SUITE) {
            return Err(HandshakeError::Suite);
        }
        dik.verify(BUNDLE_PURPOSE, &[&signed_part(bundle)], &bundle.sig).map_err(|_| HandshakeError::BadBundle)?;
        if bundle.expires_day < today {
            return Err(HandshakeError::Expired);
        }
        let otk = match &bundle.otk {
            Some(one) if one.id == 0 => return Err(HandshakeError::BadBundle),
            Some(one) => Some((one.id, PublicKey::read(&one.x25519)?)),
            None => None,
        };
        Ok(Self {
            aid,
            cert: cert.to_vec(),
            device,
            ddh: PublicKey::read(&parsed.ddh)?,
            spk: PublicKey::read(&bundle.spk)?,
            spk_id: bundle.spk_id,
            pq: EncapsulationKey::read(&bundle.pq)?,
            pq_id: bundle.pq_id,
            otk,
        })
    }

    /// The account the bundle belongs to.
    pub fn aid(&self) -> &AccountId {
        &self.aid
    }

    /// The device the bundle belongs to.
    pub fn device(&self) -> &DeviceId {
        &self.device
    }

    /// The device's long-term agreement key, for [`pair_secret`](super::pair_secret).
    pub fn ddh(&self) -> &PublicKey {
        &self.ddh
    }
}

/// The secret half of one bundle. The caller keeps older ones for `limits::PREKEY_KEEP_MS` and finds them by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnPrekeys {
    /// Also the first ratchet key of every session it answers.
    pub(super) spk: SecretKey,
    pub(super) spk_id: u32,
    pub(super) pq: DecapsulationKey,
    pub(super) pq_id: u32,
    pub(super) otk: Option<(u32, SecretKey)>,
    pub(super) created_ms: u64,
}

impl OwnPrekeys {
    /// Fresh keys under one id; with `one_time_id` also a one-time prekey. Ids are the caller's to choose and must
    /// not repeat among the keys it keeps; 0 as `one_time_id` means none, as on the wire.
    pub fn generate(id: u32, one_time_id: Option<u32>, now: UnixTime, chance: &mut Chance) -> Self {
        Self {
            spk: SecretKey::generate(chance),
            spk_id: id,
            pq: DecapsulationKey::generate(chance),
            pq_id: id,
            otk: one_time_id.filter(|id| *id != 0).map(|id| (id, SecretKey::generate(chance))),
            created_ms: now.0,
        }
    }

    /// When they were generated.
    pub fn created_at(&self) -> UnixTime {
        UnixTime(self.created_ms)
    }

    /// The id of the signed prekey, as init blocks name it.
    pub fn spk_id(&self) -> u32 {
        self.spk_id
    }

    /// Forgets the one-time prekey, in the transaction that stores the session made with it.
    pub fn drop_one_time(&mut self) {
        self.otk = None;
    }

    /// Whether `init` was made for these keys: the lookup among current and older ones.
    pub fn answers(&self, init: &proto::InitBlock) -> bool {
        let otk_fits = init.otk_id == 0 || self.otk.as_ref().is_some_and(|(id, _)| *id == init.otk_id);
        self.spk_id == init.spk_id && self.pq_id == init.pq_id && otk_fits
    }

    /// The public half, signed by the device.
    pub fn bundle(&self, device: &DeviceId, dik: &SigningKey, expires_day: u32) -> proto::PrekeyBundle {
        let mut bundle = proto::PrekeyBundle {
            device_id: device.as_bytes().to_vec(),
            spk: self.spk.public().as_bytes().to_vec(),
            spk_id: self.spk_id,
            pq: self.pq.public().as_bytes().to_vec(),
            pq_id: self.pq_id,
            otk: self
                .otk
                .as_ref()
                .map(|(id, key)| proto::OneTime { id: *id, x25519: key.public().as_bytes().to_vec() }),
            expires_day,
            sig: Vec::new(),
        };
        sign(&mut bundle, dik);
        bundle
    }
}

/// Puts the device's signature on a bundle.
pub(super) fn sign(bundle: &mut proto::PrekeyBundle, dik: &SigningKey) {
    bundle.sig = dik.sign(BUNDLE_PURPOSE, &[&signed_part(bundle)]).to_vec();
}

/// Every field of the bundle but the signature, each key with its type byte.
fn signed_part(bundle: &proto::PrekeyBundle) -> Vec<u8> {
    let (has_otk, otk_id, otk) = match &bundle.otk {
        Some(one) => (1, one.id, typed(KeyKind::X25519, &one.x25519)),
        None => (0, 0, Vec::new()),
    };
    crate::crypto::fields(&[
        &SUITE.to_be_bytes(),
        &bundle.device_id,
        &bundle.spk_id.to_be_bytes(),
        &typed(KeyKind::X25519, &bundle.spk),
        &bundle.pq_id.to_be_bytes(),
        &typed(KeyKind::MlKem768, &bundle.pq),
        &[has_otk],
        &otk_id.to_be_bytes(),
        &otk,
        &bundle.expires_day.to_be_bytes(),
    ])
}
