//! The handshake: the inputs of PQXDH, staged so that the sender's identity is encrypted (protocol.md §2.3).
//!
//! ```text
//!   A: EK ← X25519; (ct, ss) ← Encaps(PQPK_B); dh2 = EK·DDH_B; dh3 = EK·SPK_B; dh4 = EK·OTK_B if there is one
//!   th0   = H(suite, AID_B, DeviceCert_B, SPK_B, PQPK_B, OTK_B?, EK, ct)        ids and type bytes included
//!   k0    = KDF(FF^32, dh2, dh3, dh4?, ss, psk; salt th0)                       → k0.id, k0.chain
//!   id_ct = AEAD(k0.id, ad th0, identity of A)
//!   th1   = H(th0, id_ct, AID_A, DDH_A);  dh1 = DDH_A·SPK_B
//!   root, header key A→B, header key B→A = KDF(k0.chain, dh1; salt th1)
//! ```
//! The plaintext of `id_ct` is a claim until the caller has verified the device log it names and handed the DDH
//! found there to [`HalfOpen::finish`]; a false claim gives keys that open nothing. Who replays an init block gets
//! a session of the same id: the caller refuses ids it knows and drops the one-time prekey (T-03).

pub use super::prekeys::{OwnPrekeys, PeerPrekeys};
use super::ratchet::{Session, SessionKeys};
use crate::chance::Chance;
use crate::crypto::hash::trunc;
use crate::crypto::kdf::kdf_fields;
use crate::crypto::kem::{CIPHERTEXT_BYTES, EncapsulationKey, KemError};
use crate::crypto::x25519::{PublicKey, SecretKey, X25519Error};
use crate::crypto::{Secret, aead, hash};
use crate::ids::{AccountId, SessionId};
use crate::limits::ENVELOPE_BYTES_MAX;
use crate::wire::proto;

/// Suite 1: X25519, Ed25519, ML-KEM-768, SHA-256, ChaCha20-Poly1305.
pub const SUITE: u32 = 1;

/// Why there is no session. Except for `Expired`, the peer or somebody on the way is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The bundle's signature, ids or certificate do not fit together.
    #[error("the prekey bundle is not what its device signed")]
    BadBundle,
    /// The bundle's last day is over.
    #[error("the prekey bundle has expired")]
    Expired,
    /// Another suite than 1, or a certificate that does not offer it: a downgrade or a newer version.
    #[error("no common suite")]
    Suite,
    /// A field of the init block is missing or has a wrong length.
    #[error("the init block is malformed")]
    Malformed,
    /// The init block names prekeys that these are not.
    #[error("the init block is for other prekeys")]
    UnknownPrekey,
    /// An X25519 key is not usable.
    #[error(transparent)]
    X25519(#[from] X25519Error),
    /// A KEM key or ciphertext is not usable.
    #[error(transparent)]
    Kem(#[from] KemError),
    /// The identity does not decrypt: made for another account, device or invite, or changed on the way.
    #[error("the init block does not verify")]
    Rejected,
}

/// Who starts.
#[derive(Clone, Copy, Debug)]
pub struct Initiator<'a> {
    /// Own account.
    pub aid: AccountId,
    /// Own device's agreement key.
    pub ddh: &'a SecretKey,
}

/// Who answers.
#[derive(Clone, Copy, Debug)]
pub struct Responder<'a> {
    /// Own account.
    pub aid: AccountId,
    /// Own encoded `DeviceCert`, byte for byte as published.
    pub cert: &'a [u8],
    /// Own device's agreement key.
    pub ddh: &'a SecretKey,
}

/// Starts a session: the block to send in front of the first messages, and the session, ready to seal.
///
/// `psk` comes from the invite's secret; without an invite it is 32 zero bytes. `identity` is an encoded
/// `InitIdentity`; it carries the session epoch, which the caller also sets on
/// the session, as it sets `created_at`.
///
/// # Errors
/// [`HandshakeError::X25519`] if an agreement gives nothing; keys that came through `PeerPrekeys::read` do not.
pub fn initiate(
    me: &Initiator<'_>,
    peer: &PeerPrekeys,
    psk: &Secret<32>,
    identity: &[u8],
    chance: &mut Chance,
) -> Result<(proto::InitBlock, Session, SessionId), HandshakeError> {
    let ephemeral = SecretKey::generate(chance);
    let (kem_ct, shared) = peer.pq.encapsulate(chance);
    let otk = peer.otk.as_ref().map(|(_, key)| key);
    let th0 = transcript(&Transcript {
        aid: &peer.aid,
        cert: &peer.cert,
        spk: (peer.spk_id, &peer.spk),
        pq: (peer.pq_id, &peer.pq),
        otk: peer.otk.as_ref().map(|(id, key)| (*id, key)),
        ephemeral: &ephemeral.public(),
        kem_ct: &kem_ct,
    });
    let first = FirstStage::derive(
        &th0,
        &ephemeral.diffie_hellman(&peer.ddh)?,
        &ephemeral.diffie_hellman(&peer.spk)?,
        otk.map(|key| ephemeral.diffie_hellman(key)).transpose()?.as_ref(),
        &shared,
        psk,
    );
    let id_ct = aead::seal(&first.identity_key, &NONCE_ONCE, &th0, identity);
    let dh1 = me.ddh.diffie_hellman(&peer.spk)?;
    let keys = first.finish(&th0, &id_ct, (&me.aid, &me.ddh.public()), &peer.aid, &dh1);
    let session = Session::initiator(keys, peer.spk, chance)?;
    let init = proto::InitBlock {
        suite: SUITE,
        ek: ephemeral.public().as_bytes().to_vec(),
        kem_ct,
        spk_id: peer.spk_id,
        pq_id: peer.pq_id,
        otk_id: peer.otk.as_ref().map_or(0, |(id, _)| *id),
        id_ct,
        ..Default::default()
    };
    let id = session.id();
    Ok((init, session, id))
}

/// Decrypts who claims to write. Changes nothing; see [`HalfOpen`].
///
/// # Errors
/// Any [`HandshakeError`] but `BadBundle` and `Expired`.
pub fn respond_identity(
    own: &OwnPrekeys,
    me: &Responder<'_>,
    psk: &Secret<32>,
    init: &proto::InitBlock,
) -> Result<HalfOpen, HandshakeError> {
    if init.suite != SUITE {
        return Err(HandshakeError::Suite);
    }
    if init.kem_ct.len() != CIPHERTEXT_BYTES
        || init.id_ct.len() < aead::TAG_BYTES
        || init.id_ct.len() > ENVELOPE_BYTES_MAX
    {
        return Err(HandshakeError::Malformed);
    }
    if !own.answers(init) {
        return Err(HandshakeError::UnknownPrekey);
    }
    let ephemeral = PublicKey::read(&init.ek)?;
    let otk = own.otk.as_ref().filter(|(id, _)| *id == init.otk_id).map(|(id, key)| (*id, key));
    let th0 = transcript(&Transcript {
        aid: &me.aid,
        cert: me.cert,
        spk: (own.spk_id, &own.spk.public()),
        pq: (own.pq_id, &own.pq.public()),
        otk: otk.map(|(id, key)| (id, key.public())).as_ref().map(|(id, key)| (*id, key)),
        ephemeral: &ephemeral,
        kem_ct: &init.kem_ct,
    });
    let first = FirstStage::derive(
        &th0,
        &me.ddh.diffie_hellman(&ephemeral)?,
        &own.spk.diffie_hellman(&ephemeral)?,
        otk.map(|(_, key)| key.diffie_hellman(&ephemeral)).transpose()?.as_ref(),
        &own.pq.decapsulate(&init.kem_ct)?,
        psk,
    );
    let identity =
        aead::open(&first.identity_key, &NONCE_ONCE, &th0, &init.id_ct).map_err(|_| HandshakeError::Rejected)?;
    Ok(HalfOpen { identity, th0, id_ct: init.id_ct.clone(), first, own_aid: me.aid, spk: own.spk.clone() })
}

/// A handshake whose sender is claimed and not yet proven.
pub struct HalfOpen {
    identity: Vec<u8>,
    th0: [u8; 32],
    id_ct: Vec<u8>,
    first: FirstStage,
    own_aid: AccountId,
    spk: SecretKey,
}

impl HalfOpen {
    /// The encoded `InitIdentity`: a claim of whoever knows the bundle.
    pub fn identity(&self) -> &[u8] {
        &self.identity
    }

    /// The id the session will have; one that is known already means a replay.
    pub fn session_id(&self) -> SessionId {
        session_id(&self.th0)
    }

    /// The session, for the account and agreement key that the caller verified through the peer's device log.
    /// It proves the claim when it opens its first message, not before; until then it cannot seal.
    ///
    /// # Errors
    /// [`HandshakeError::X25519`] if the agreement gives nothing.
    pub fn finish(self, peer_aid: &AccountId, peer_ddh: &PublicKey) -> Result<(Session, SessionId), HandshakeError> {
        let dh1 = self.spk.diffie_hellman(peer_ddh)?;
        let keys = self.first.finish(&self.th0, &self.id_ct, (peer_aid, peer_ddh), &self.own_aid, &dh1);
        let session = Session::responder(keys, self.spk);
        let id = session.id();
        Ok((session, id))
    }
}

impl std::fmt::Debug for HalfOpen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HalfOpen({})", self.session_id())
    }
}

/// `k0.id` is used for one text only, so its nonce is constant.
const NONCE_ONCE: [u8; 12] = [0; 12];

struct Transcript<'a> {
    aid: &'a AccountId,
    cert: &'a [u8],
    spk: (u32, &'a PublicKey),
    pq: (u32, &'a EncapsulationKey),
    otk: Option<(u32, &'a PublicKey)>,
    ephemeral: &'a PublicKey,
    kem_ct: &'a [u8],
}

fn transcript(t: &Transcript<'_>) -> [u8; 32] {
    let (has_otk, otk_id, otk) = t.otk.map_or((0, 0, Vec::new()), |(id, key)| (1, id, key.typed()));
    hash(
        "silbo/1/th0",
        &[
            &SUITE.to_be_bytes(),
            t.aid.as_bytes(),
            t.cert,
            &t.spk.0.to_be_bytes(),
            &t.spk.1.typed(),
            &t.pq.0.to_be_bytes(),
            &t.pq.1.typed(),
            &[has_otk],
            &u32::to_be_bytes(otk_id),
            &otk,
            &t.ephemeral.typed(),
            t.kem_ct,
        ],
    )
}

fn session_id(th0: &[u8; 32]) -> SessionId {
    SessionId(trunc(&hash("silbo/1/session", &[th0])))
}

/// What both ends know before the sender is proven.
struct FirstStage {
    identity_key: Secret<32>,
    chain: Secret<32>,
}

impl FirstStage {
    fn derive(
        th0: &[u8; 32],
        dh2: &Secret<32>,
        dh3: &Secret<32>,
        dh4: Option<&Secret<32>>,
        shared: &Secret<32>,
        psk: &Secret<32>,
    ) -> Self {
        let dh4: &[u8] = dh4.map_or(&[], |secret| secret.expose());
        let ikm: [&[u8]; 6] = [&[0xFF; 32], dh2.expose(), dh3.expose(), dh4, shared.expose(), psk.expose()];
        let (identity_key, chain) = kdf_fields::<64>(&ikm, th0, "silbo/1/x0").split();
        Self { identity_key, chain }
    }

    /// `from` is the initiator with its agreement key, `to` the responder.
    fn finish(
        self,
        th0: &[u8; 32],
        id_ct: &[u8],
        from: (&AccountId, &PublicKey),
        to: &AccountId,
        dh1: &Secret<32>,
    ) -> SessionKeys {
        let th1 = hash("silbo/1/th1", &[th0, id_ct, from.0.as_bytes(), &from.1.typed()]);
        let out = kdf_fields::<96>(&[self.chain.expose(), dh1.expose()], &th1, "silbo/1/x1");
        let (root, header_keys) = out.split::<32, 64>();
        let (forward_header, back_header) = header_keys.split();
        SessionKeys {
            id: session_id(th0),
            ad_forward: hash("silbo/1/ad", &[&th1, from.0.as_bytes(), to.as_bytes()]),
            ad_back: hash("silbo/1/ad", &[&th1, to.as_bytes(), from.0.as_bytes()]),
            root,
            forward_header,
            back_header,
        }
    }
}
