//! What the two ends of a mailbox sign and authenticate: one labelled byte string a purpose, built here for client and
//! server alike.
//!
//! ```text
//!   owner  ── Ed25519, one fresh key a queue ──▶ CREATE  FETCH  ACK(seqs)  DELETE  BLOB_PUT  BLOB_DEL
//!   sender ── HMAC, one key a queue ───────────▶ DEPOSIT  COLLECT
//!   relay  ── Ed25519, its own key ────────────▶ Held  Limits
//! ```
//! Everything a client authenticates carries the relay's key and the challenge of the link, so that a captured request
//! is worthless at another relay, on another link and after a reconnect. A relay's `Held` carries neither: it is evidence
//! to show to others. Nothing here reads a store or a clock.

use crate::crypto::ed25519::{SigningKey, VerifyingKey};
use crate::crypto::fields;
use crate::crypto::mac::{mac_matches, mac_trunc};
use crate::ids::{BlobId, Cid, QueueRid, QueueSid, Tag};
use crate::time::{EPOCH_2024_MS, HOUR_MS, UnixTime};
use crate::wire::proto;

/// Bytes of the key a sender authenticates deposits with.
pub const SEND_KEY_BYTES: usize = 16;
/// Bytes of the MAC over a deposit or a collect.
pub const MAC_BYTES: usize = 16;

/// What ties an authenticator to one link of one relay: the relay's key and the challenge it gave on that link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkBinding {
    /// The relay's Ed25519 key.
    pub relay_vk: [u8; 32],
    /// Drawn by the relay when the link came up; 32 bytes.
    pub challenge: [u8; 32],
}

/// A labelled byte string to be signed or verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigInput {
    purpose: &'static str,
    bytes: Vec<u8>,
}

impl SigInput {
    /// The signature by `key`.
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        key.sign(self.purpose, &[&self.bytes]).to_vec()
    }

    /// Whether `sig` is the signature of `key`.
    pub fn is_signed_by(&self, key: &VerifyingKey, sig: &[u8]) -> bool {
        key.verify(self.purpose, &[&self.bytes], sig).is_ok()
    }

    fn new(purpose: &'static str, parts: &[&[u8]]) -> Self {
        Self { purpose, bytes: fields(parts) }
    }

    fn bound(purpose: &'static str, binding: &LinkBinding, parts: &[&[u8]]) -> Self {
        let mut bytes = fields(&[&binding.relay_vk, &binding.challenge]);
        bytes.extend_from_slice(&fields(parts));
        Self { purpose, bytes }
    }
}

/// CREATE, by the queue's owner key: everything in the request but the signature.
pub fn create_sig_input(binding: &LinkBinding, create: &proto::QCreate) -> SigInput {
    SigInput::bound(
        "silbo/1/mbox/create",
        binding,
        &[
            &create.rid,
            &create.sid,
            &create.owner_vk,
            &create.send_key,
            &create.ttl_days.to_be_bytes(),
            &create.max_env.to_be_bytes(),
            &create.max_kib.to_be_bytes(),
        ],
    )
}

/// One queue of a FETCH, by its owner key.
pub fn read_sig_input(binding: &LinkBinding, rid: &QueueRid, after: u64) -> SigInput {
    SigInput::bound("silbo/1/mbox/read", binding, &[rid.as_bytes(), &after.to_be_bytes()])
}

/// ACK by sequence numbers, by the queue's owner key.
pub fn ack_sig_input(binding: &LinkBinding, rid: &QueueRid, seqs: &[u64]) -> SigInput {
    let seqs: Vec<u8> = seqs.iter().flat_map(|seq| seq.to_be_bytes()).collect();
    SigInput::bound("silbo/1/mbox/ack", binding, &[rid.as_bytes(), &seqs])
}

/// DELETE of a whole queue, by its owner key.
pub fn delete_sig_input(binding: &LinkBinding, rid: &QueueRid) -> SigInput {
    SigInput::bound("silbo/1/mbox/delete", binding, &[rid.as_bytes()])
}

/// BLOB_PUT, by the blob's owner key.
pub fn blob_put_sig_input(binding: &LinkBinding, put: &proto::BlobPut) -> SigInput {
    let parts: [&[u8]; 4] = [&put.id, &put.ct, &put.ttl_days.to_be_bytes(), &put.owner_vk];
    SigInput::bound("silbo/1/mbox/blob-put", binding, &parts)
}

/// BLOB_DEL, by the blob's owner key.
pub fn blob_del_sig_input(binding: &LinkBinding, id: &BlobId) -> SigInput {
    SigInput::bound("silbo/1/mbox/blob-del", binding, &[id.as_bytes()])
}

/// A signed BLOB_PUT; the blob can only be replaced or deleted by the same `owner`.
pub fn blob_put(binding: &LinkBinding, id: &BlobId, owner: &SigningKey, ct: Vec<u8>, ttl_days: u32) -> proto::BlobPut {
    let owner_vk = owner.verifying_key().as_bytes().to_vec();
    let mut put = proto::BlobPut { id: id.0.to_vec(), ct, ttl_days, owner_vk, sig: Vec::new() };
    put.sig = blob_put_sig_input(binding, &put).sign(owner);
    put
}

/// A signed BLOB_DEL.
pub fn blob_del(binding: &LinkBinding, id: &BlobId, owner: &SigningKey) -> proto::BlobDel {
    proto::BlobDel { id: id.0.to_vec(), sig: blob_del_sig_input(binding, id).sign(owner) }
}

/// The relay's signed promise to hold envelopes until an hour.
pub fn held_sig_input(sid: &[u8], cids: &[Vec<u8>], until_hour: u32) -> SigInput {
    let parts: Vec<&[u8]> = cids.iter().map(Vec::as_slice).collect();
    SigInput::new("silbo/1/held", &[sid, &fields(&parts), &until_hour.to_be_bytes()])
}

/// The relay's signed limits: its key and the challenge of this link are among them.
pub fn limits_sig_input(limits: &proto::Limits) -> SigInput {
    let numbers = [limits.retention_days, limits.max_env, limits.max_kib].map(u32::to_be_bytes).concat();
    SigInput::new("silbo/1/mbox/limits", &[&numbers, &limits.relay_vk, &limits.challenge])
}

/// MAC of a DEPOSIT, by the queue's send key over the content ids of its envelopes.
pub fn deposit_mac(
    binding: &LinkBinding,
    send_key: &[u8; SEND_KEY_BYTES],
    sid: &QueueSid,
    cids: &[Cid],
) -> [u8; MAC_BYTES] {
    mac_trunc(send_key, &mac_parts("silbo/1/mbox/deposit", binding, sid, &joined(cids.iter().map(Cid::as_bytes))))
}

/// Whether `mac` is the MAC of this DEPOSIT; in constant time.
pub fn deposit_mac_matches(binding: &LinkBinding, send_key: &[u8], sid: &QueueSid, cids: &[Cid], mac: &[u8]) -> bool {
    let cids = joined(cids.iter().map(Cid::as_bytes));
    mac.len() == MAC_BYTES && mac_matches(send_key, &mac_parts("silbo/1/mbox/deposit", binding, sid, &cids), mac)
}

/// MAC of a COLLECT, by the queue's send key over the tags asked for.
pub fn collect_mac(
    binding: &LinkBinding,
    send_key: &[u8; SEND_KEY_BYTES],
    sid: &QueueSid,
    tags: &[Tag],
) -> [u8; MAC_BYTES] {
    mac_trunc(send_key, &mac_parts("silbo/1/mbox/collect", binding, sid, &joined(tags.iter().map(Tag::as_bytes))))
}

/// Whether `mac` is the MAC of this COLLECT; in constant time.
pub fn collect_mac_matches(binding: &LinkBinding, send_key: &[u8], sid: &QueueSid, tags: &[Tag], mac: &[u8]) -> bool {
    let tags = joined(tags.iter().map(Tag::as_bytes));
    mac.len() == MAC_BYTES && mac_matches(send_key, &mac_parts("silbo/1/mbox/collect", binding, sid, &tags), mac)
}

/// Checks a relay's answer to STATUS and gives what ties later requests to this link; `None` if the answer is not
/// signed by the key it names, or that key is not the `expected` one.
pub fn binding_of(limits: &proto::Limits, expected: Option<&[u8; 32]>) -> Option<LinkBinding> {
    let relay_vk: [u8; 32] = limits.relay_vk.as_slice().try_into().ok()?;
    let challenge: [u8; 32] = limits.challenge.as_slice().try_into().ok()?;
    let key = VerifyingKey::read(&relay_vk).ok()?;
    if expected.is_some_and(|expected| *expected != relay_vk)
        || !limits_sig_input(limits).is_signed_by(&key, &limits.sig)
    {
        return None;
    }
    Some(LinkBinding { relay_vk, challenge })
}

/// Whether a relay signed this promise.
pub fn held_is_signed_by(held: &proto::Held, relay_vk: &[u8; 32]) -> bool {
    VerifyingKey::read(relay_vk)
        .is_ok_and(|key| held_sig_input(&held.sid, &held.cids, held.until_hour).is_signed_by(&key, &held.sig))
}

/// Whole hours since 2024-01-01 as `Held` carries them (not wrapped, unlike in envelopes); rounded down.
pub fn hour_of(time: UnixTime) -> u32 {
    u32::try_from(time.0.saturating_sub(EPOCH_2024_MS) / HOUR_MS).unwrap_or(u32::MAX)
}

/// The beginning of an hour of [`hour_of`].
pub fn hour_start(hour: u32) -> UnixTime {
    UnixTime(EPOCH_2024_MS.saturating_add(u64::from(hour).saturating_mul(HOUR_MS)))
}

fn mac_parts<'a>(purpose: &'static str, binding: &'a LinkBinding, sid: &'a QueueSid, list: &'a [u8]) -> [&'a [u8]; 5] {
    [purpose.as_bytes(), &binding.relay_vk, &binding.challenge, sid.as_bytes(), list]
}

fn joined<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    parts.flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BINDING: LinkBinding = LinkBinding { relay_vk: [1; 32], challenge: [2; 32] };
    const OTHER_RELAY: LinkBinding = LinkBinding { relay_vk: [3; 32], challenge: [2; 32] };
    const OTHER_LINK: LinkBinding = LinkBinding { relay_vk: [1; 32], challenge: [4; 32] };

    #[test]
    fn t35_an_authenticator_is_good_for_one_relay_one_link_and_one_purpose() {
        let key = SigningKey::from_seed(&[7; 32]);
        let public = key.verifying_key();
        let rid = QueueRid([9; 16]);
        let sig = read_sig_input(&BINDING, &rid, 0).sign(&key);
        assert!(read_sig_input(&BINDING, &rid, 0).is_signed_by(&public, &sig));
        assert!(!read_sig_input(&OTHER_RELAY, &rid, 0).is_signed_by(&public, &sig));
        assert!(!read_sig_input(&OTHER_LINK, &rid, 0).is_signed_by(&public, &sig));
        assert!(!read_sig_input(&BINDING, &rid, 1).is_signed_by(&public, &sig));
        assert!(!ack_sig_input(&BINDING, &rid, &[0]).is_signed_by(&public, &sig));
        let sig = delete_sig_input(&BINDING, &rid).sign(&key);
        assert!(!blob_del_sig_input(&BINDING, &BlobId(rid.0)).is_signed_by(&public, &sig));
    }

    #[test]
    fn t35_a_mac_is_good_for_one_relay_one_link_one_queue_and_one_list() {
        let (sid, cids) = (QueueSid([5; 16]), [Cid([6; 16]), Cid([7; 16])]);
        let mac = deposit_mac(&BINDING, &[8; 16], &sid, &cids);
        assert!(deposit_mac_matches(&BINDING, &[8; 16], &sid, &cids, &mac));
        assert!(!deposit_mac_matches(&OTHER_RELAY, &[8; 16], &sid, &cids, &mac));
        assert!(!deposit_mac_matches(&OTHER_LINK, &[8; 16], &sid, &cids, &mac));
        assert!(!deposit_mac_matches(&BINDING, &[9; 16], &sid, &cids, &mac));
        assert!(!deposit_mac_matches(&BINDING, &[8; 16], &QueueSid([4; 16]), &cids, &mac));
        assert!(!deposit_mac_matches(&BINDING, &[8; 16], &sid, &cids[..1], &mac));
        assert!(!deposit_mac_matches(&BINDING, &[8; 16], &sid, &cids, &mac[..8]));
        assert!(!deposit_mac_matches(&BINDING, &[8; 16], &sid, &cids, &[]));
        let tags = [Tag([6; 12])];
        let mac = collect_mac(&BINDING, &[8; 16], &sid, &tags);
        assert!(collect_mac_matches(&BINDING, &[8; 16], &sid, &tags, &mac));
        assert!(!deposit_mac_matches(&BINDING, &[8; 16], &sid, &[], &mac));
    }

    #[test]
    fn signed_limits_give_the_binding_and_altered_ones_do_not() {
        let key = SigningKey::from_seed(&[7; 32]);
        let relay_vk = *key.verifying_key().as_bytes();
        let mut limits = proto::Limits {
            retention_days: 30,
            max_env: 5,
            max_kib: 6,
            relay_vk: relay_vk.to_vec(),
            challenge: vec![2; 32],
            ..Default::default()
        };
        assert_eq!(binding_of(&limits, None), None);
        limits.sig = limits_sig_input(&limits).sign(&key);
        assert_eq!(binding_of(&limits, Some(&relay_vk)), Some(LinkBinding { relay_vk, challenge: [2; 32] }));
        assert_eq!(binding_of(&limits, Some(&[0; 32])), None);
        limits.retention_days = 31;
        assert_eq!(binding_of(&limits, None), None);
    }

    #[test]
    fn hours_round_down_and_start_where_they_say() {
        let time = UnixTime(EPOCH_2024_MS + 5 * HOUR_MS + 1);
        assert_eq!(hour_of(time), 5);
        assert_eq!(hour_start(5), UnixTime(EPOCH_2024_MS + 5 * HOUR_MS));
        assert_eq!(hour_of(UnixTime(0)), 0);
        assert_eq!(hour_of(UnixTime(u64::MAX)), u32::MAX);
        assert_eq!(hour_of(hour_start(u32::MAX)), u32::MAX);
    }
}
