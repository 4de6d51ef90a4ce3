//! The operations of a relay, one function each: check everything, then write. An operation that stops has changed
//! nothing; what it would have written is dropped with its batch.

use crate::crypto::ed25519::VerifyingKey;
use crate::crypto::hash::cid;
use crate::ids::{BlobId, Cid, Preimage, QueueRid, QueueSid, Tag};
use crate::input::RelayLimits;
use crate::limits::{
    BLOB_BYTES_MAX, ENVELOPE_BYTES_MAX, ENVELOPES_PER_FRAME_MAX, FETCH_ANSWER_BYTES_MAX, FETCH_QUEUES_MAX,
    RECEIPTS_PER_FRAME_MAX, RELAY_QUEUES_MAX, RETENTION_DAYS_RANGE,
};
use crate::mailbox::auth::{
    SEND_KEY_BYTES, SigInput, ack_sig_input, blob_del_sig_input, blob_put_sig_input, collect_mac_matches,
    create_sig_input, delete_sig_input, deposit_mac_matches, held_sig_input, hour_of, read_sig_input,
};
use crate::session::tags::tag_of;
use crate::store::{Pair, StoreError, Table};
use crate::time::{DAY_MS, HOUR_MS, Now};
use crate::wire::envelope::{Class, Envelope, EnvelopeError};
use crate::wire::proto;

use super::records::{Expiring, item_key, seq_of, state, tag_key};
use super::{Call, Code, MailboxServer, RECEIPT_BYTES, Stop, has_cid, remove_blob, remove_bodies, remove_queue};

/// A second body with the same tag may be a squatter's or the real one; a third is refused (protocol §3.2).
const BODIES_PER_TAG_MAX: usize = 2;
/// Kept longer than a week, an envelope expires at the beginning of a day.
const COARSE_RETENTION_DAYS: u32 = 7;
/// Jitter of the expiry and wrong clocks of senders.
const EXPIRY_TOLERANCE_MS: u64 = 2 * HOUR_MS;
/// A queue lives a year after its last renewal: longer than anybody is away, and abandoned ones do go.
const QUEUE_HOURS: u32 = 365 * 24;
/// Renewed only in its second half, so that the record tells no more of its owner than "within half a year".
const QUEUE_RENEW_HOURS: u32 = QUEUE_HOURS / 2;
/// Longest lifetime of a blob: that of the longest invitation, and a day.
const BLOB_DAYS_MAX: u32 = 366;
/// Envelopes read at a time while an answer is filled.
const FETCH_PAGE: usize = 8;
/// What a `Mail` adds to its envelope: rid, sequence, field heads.
const MAIL_OVERHEAD: usize = 48;

type Outcome = Result<proto::MboxRes, Stop>;

impl MailboxServer {
    pub(super) fn create(&mut self, call: &mut Call, create: proto::QCreate) -> Outcome {
        let limits = self.limits.ok_or(Code::RoleOff)?;
        let rid = QueueRid::read(&create.rid).ok_or(Code::Malformed)?;
        let sid = QueueSid::read(&create.sid).ok_or(Code::Malformed)?;
        let owner = VerifyingKey::read(&create.owner_vk).map_err(|_| Code::Malformed)?;
        if create.send_key.len() != SEND_KEY_BYTES || rid.as_bytes() == sid.as_bytes() {
            return Err(Code::Malformed.into());
        }
        if !create_sig_input(&call.binding, &create).is_signed_by(&owner, &create.sig) {
            return Err(Code::Refused.into());
        }
        if let Some(mut queue) = call.queue(&rid)? {
            let same =
                queue.sid == create.sid && queue.owner_vk == create.owner_vk && queue.send_key == create.send_key;
            if !same {
                return Err(Code::Refused.into());
            }
            self.renew(call, &rid, &mut queue);
            return Ok(done());
        }
        if call.batch.value(Table::MailSid, sid.as_bytes())?.is_some() {
            return Err(Code::Refused.into());
        }
        if call.counters.queues >= RELAY_QUEUES_MAX || over_total(&limits, &call.counters, 0) {
            return Err(Code::Full.into());
        }
        if !self.links.count_create(call.link, call.now.moment) {
            return Err(Code::Busy.into());
        }
        let until_hour = self.clock.hour().saturating_add(QUEUE_HOURS);
        let queue = state::Queue {
            ttl_days: retention(create.ttl_days, limits.retention_days),
            max_env: within(create.max_env, limits.queue_envelopes_max),
            max_kib: within(create.max_kib, limits.queue_kib_max),
            sid: create.sid,
            owner_vk: create.owner_vk,
            send_key: create.send_key,
            next_seq: 1,
            held: 0,
            bytes: 0,
            until_hour,
        };
        call.batch.put_record(Table::MailQueue, rid.as_bytes(), &queue);
        call.batch.put(Table::MailSid, sid.as_bytes().to_vec(), rid.as_bytes().to_vec());
        call.batch.put(Table::MailExpiry, Expiring::Queue(rid).key(until_hour), Vec::new());
        call.counters.queues = call.counters.queues.saturating_add(1);
        Ok(done())
    }

    pub(super) fn delete(&mut self, call: &mut Call, delete: &proto::QDelete) -> Outcome {
        let rid = QueueRid::read(&delete.rid).ok_or(Code::Malformed)?;
        let queue = self.owned(call, &rid, &delete_sig_input(&call.binding, &rid), &delete.sig)?;
        let queue = queue.ok_or(Code::Refused)?;
        remove_queue(&mut call.batch, &mut call.counters, &rid, &queue)?;
        self.links.unfollow_all(&rid);
        Ok(done())
    }

    pub(super) fn deposit(&mut self, call: &mut Call, deposit: &proto::Deposit) -> Outcome {
        let limits = self.limits.ok_or(Code::RoleOff)?;
        let sid = QueueSid::read(&deposit.sid).ok_or(Code::Malformed)?;
        if deposit.env.is_empty() || deposit.env.len() > ENVELOPES_PER_FRAME_MAX {
            return Err(Code::Malformed.into());
        }
        let cids: Vec<Cid> = deposit.env.iter().map(|bytes| cid(bytes)).collect();
        let (rid, mut queue) =
            self.authentic(call, &sid, |call, key| deposit_mac_matches(&call.binding, key, &sid, &cids, &deposit.mac))?;
        let mut held = proto::Held { sid: deposit.sid.clone(), until_hour: u32::MAX, ..Default::default() };
        let mut purged = Vec::new();
        let mut stored = Vec::new();
        for (bytes, cid) in deposit.env.iter().zip(&cids) {
            let envelope = storable(bytes)?;
            let key = tag_key(&rid, &envelope.tag);
            if let Some(receipt) = call.batch.record::<state::Receipt>(Table::MailReceipt, &key)? {
                purged.push(receipt.p);
                continue;
            }
            let mut tagged: state::Tagged = call.batch.record(Table::MailTag, &key)?.unwrap_or_default();
            let until_hour = match tagged.bodies.iter().find(|body| has_cid(body, cid)) {
                Some(body) => body.until_hour,
                None if tagged.bodies.len() >= BODIES_PER_TAG_MAX => return Err(Code::Full.into()),
                None => {
                    let until_hour = self.until_hour(&limits, queue.ttl_days, &envelope, call.now);
                    let size = bytes.len().min(ENVELOPE_BYTES_MAX) as u32;
                    let seq = queue.next_seq;
                    tagged.bodies.push(state::Body { seq, cid: cid.0.to_vec(), until_hour, size });
                    call.batch.put_record(Table::MailTag, &key, &tagged);
                    call.batch.put(Table::MailItem, item_key(&rid, seq), bytes.clone());
                    call.batch.put(Table::MailExpiry, Expiring::Item(rid, seq).key(until_hour), Vec::new());
                    queue.next_seq = seq.saturating_add(1);
                    queue.held = queue.held.saturating_add(1);
                    queue.bytes = queue.bytes.saturating_add(u64::from(size));
                    call.counters.held = call.counters.held.saturating_add(1);
                    call.counters.bytes = call.counters.bytes.saturating_add(u64::from(size));
                    stored.push((seq, envelope.tag, bytes));
                    until_hour
                }
            };
            held.cids.push(cid.0.to_vec());
            held.until_hour = held.until_hour.min(until_hour);
        }
        if !stored.is_empty() {
            let (max_env, max_kib) =
                (queue.max_env.min(limits.queue_envelopes_max), queue.max_kib.min(limits.queue_kib_max));
            let over_queue = queue.held > max_env || queue.bytes > u64::from(max_kib) * 1_024;
            if over_queue || over_total(&limits, &call.counters, 0) {
                return Err(Code::Full.into());
            }
            call.batch.put_record(Table::MailQueue, rid.as_bytes(), &queue);
        }
        for (seq, tag, bytes) in stored {
            self.links.deposited(call.link, rid, tag);
            let mail = proto::Mail { rid: rid.0.to_vec(), seq, env: bytes.clone() };
            call.mail.extend(self.links.followers(&rid).map(|link| (link, mail.clone())));
        }
        let held = if held.cids.is_empty() {
            None
        } else {
            held.until_hour = hour_of(self.clock.wall_at(held.until_hour));
            held.sig = held_sig_input(&held.sid, &held.cids, held.until_hour).sign(&self.key);
            Some(held)
        };
        Ok(proto::MboxRes { held, p: purged, ..Default::default() })
    }

    pub(super) fn fetch(&mut self, call: &mut Call, fetch: &proto::Fetch) -> Outcome {
        if fetch.reads.is_empty() || fetch.reads.len() > FETCH_QUEUES_MAX {
            return Err(Code::Malformed.into());
        }
        let mut reads = Vec::with_capacity(fetch.reads.len());
        let mut refused = false;
        for read in &fetch.reads {
            let rid = QueueRid::read(&read.rid).ok_or(Code::Malformed)?;
            let input = read_sig_input(&call.binding, &rid, read.after);
            match self.owned(call, &rid, &input, &read.sig)? {
                Some(queue) => reads.push((rid, read.after, queue)),
                None => refused = true,
            }
        }
        if refused {
            return Err(Code::Refused.into());
        }
        let asked = usize::try_from(fetch.max_kib).unwrap_or(usize::MAX).saturating_mul(1_024);
        let budget = if asked == 0 { FETCH_ANSWER_BYTES_MAX } else { asked.min(FETCH_ANSWER_BYTES_MAX) };
        let mut page = Page { budget, used: 0, mail: Vec::new() };
        let mut more = false;
        for (rid, after, queue) in &mut reads {
            self.renew(call, rid, queue);
            let drained = queue.held == 0 || page.fill(call, rid, *after)?;
            more |= !drained;
            if drained && fetch.follow {
                self.links.follow(call.link, *rid);
            }
        }
        Ok(proto::MboxRes { mail: page.mail, more, ..Default::default() })
    }

    /// Knowing a preimage is the right to purge its envelope, for the owner (by rid) and for the sender (by sid);
    /// sequence numbers need the owner's signature. Preimages are answered alike whether or not anything was there.
    pub(super) fn ack(&mut self, call: &mut Call, ack: &proto::Ack) -> Outcome {
        let name = QueueRid::read(&ack.rid).ok_or(Code::Malformed)?;
        let preimages: Option<Vec<Preimage>> = ack.p.iter().map(|p| Preimage::read(p)).collect();
        let preimages = preimages.ok_or(Code::Malformed)?;
        let count = preimages.len().max(ack.seqs.len());
        if count == 0 || count > RECEIPTS_PER_FRAME_MAX {
            return Err(Code::Malformed.into());
        }
        if !ack.seqs.is_empty() {
            let input = ack_sig_input(&call.binding, &name, &ack.seqs);
            self.owned(call, &name, &input, &ack.sig)?.ok_or(Code::Refused)?;
            for seq in &ack.seqs {
                let Some(envelope) = call.batch.value(Table::MailItem, &item_key(&name, *seq))? else { continue };
                let envelope =
                    Envelope::parse(&envelope).map_err(|_| StoreError::Damaged { table: Table::MailItem })?;
                remove_bodies(&mut call.batch, &mut call.counters, &name, &envelope.tag, |body| body.seq == *seq)?;
            }
        }
        let rid = match call.batch.value(Table::MailSid, name.as_bytes())? {
            Some(rid) => QueueRid::read(&rid).ok_or(StoreError::Damaged { table: Table::MailSid })?,
            None => name,
        };
        for preimage in preimages {
            self.purge(call, &rid, preimage)?;
        }
        Ok(done())
    }

    pub(super) fn collect(&self, call: &Call, collect: &proto::Collect) -> Outcome {
        let sid = QueueSid::read(&collect.sid).ok_or(Code::Malformed)?;
        let tags: Option<Vec<Tag>> = collect.tags.iter().map(|tag| Tag::read(tag)).collect();
        let tags = tags.filter(|tags| tags.len() <= RECEIPTS_PER_FRAME_MAX).ok_or(Code::Malformed)?;
        let (rid, _) =
            self.authentic(call, &sid, |call, key| collect_mac_matches(&call.binding, key, &sid, &tags, &collect.mac))?;
        let mut p = Vec::new();
        for tag in &tags {
            let receipt = call.batch.record::<state::Receipt>(Table::MailReceipt, &tag_key(&rid, tag))?;
            p.extend(receipt.map(|receipt| receipt.p));
        }
        Ok(proto::MboxRes { p, ..Default::default() })
    }

    pub(super) fn blob_put(&mut self, call: &mut Call, put: proto::BlobPut) -> Outcome {
        let limits = self.limits.ok_or(Code::RoleOff)?;
        let id = BlobId::read(&put.id).ok_or(Code::Malformed)?;
        let owner = VerifyingKey::read(&put.owner_vk).map_err(|_| Code::Malformed)?;
        if put.ct.is_empty() {
            return Err(Code::Malformed.into());
        }
        if put.ct.len() > BLOB_BYTES_MAX {
            return Err(Code::TooLarge.into());
        }
        if !blob_put_sig_input(&call.binding, &put).is_signed_by(&owner, &put.sig) {
            return Err(Code::Refused.into());
        }
        if let Some(blob) = call.batch.record::<state::Blob>(Table::MailBlob, id.as_bytes())? {
            if blob.owner_vk != put.owner_vk {
                return Err(Code::Refused.into());
            }
            remove_blob(&mut call.batch, &mut call.counters, &id, &blob);
        }
        if over_total(&limits, &call.counters, put.ct.len() as u64) {
            return Err(Code::Full.into());
        }
        if !self.links.count_blob_put(call.link, call.now.moment) {
            return Err(Code::Busy.into());
        }
        let days = put.ttl_days.clamp(1, BLOB_DAYS_MAX);
        let until_hour = self.clock.hour().saturating_add(days * 24);
        call.counters.blobs = call.counters.blobs.saturating_add(1);
        call.counters.bytes = call.counters.bytes.saturating_add(put.ct.len() as u64);
        let blob = state::Blob { owner_vk: put.owner_vk, ct: put.ct, until_hour };
        call.batch.put_record(Table::MailBlob, id.as_bytes(), &blob);
        call.batch.put(Table::MailExpiry, Expiring::Blob(id).key(until_hour), Vec::new());
        Ok(done())
    }

    pub(super) fn blob_get(&self, call: &Call, get: &proto::BlobGet) -> Outcome {
        let id = BlobId::read(&get.id).ok_or(Code::Malformed)?;
        let blob: state::Blob = call.batch.record(Table::MailBlob, id.as_bytes())?.ok_or(Code::Refused)?;
        Ok(proto::MboxRes { blob: blob.ct, ..Default::default() })
    }

    pub(super) fn blob_del(&mut self, call: &mut Call, delete: &proto::BlobDel) -> Outcome {
        let id = BlobId::read(&delete.id).ok_or(Code::Malformed)?;
        let blob = call.batch.record::<state::Blob>(Table::MailBlob, id.as_bytes())?;
        let owner = self.key_or_own(blob.as_ref().map(|blob| blob.owner_vk.as_slice()), Table::MailBlob)?;
        let signed = blob_del_sig_input(&call.binding, &id).is_signed_by(&owner, &delete.sig);
        let blob = blob.filter(|_| signed).ok_or(Code::Refused)?;
        remove_blob(&mut call.batch, &mut call.counters, &id, &blob);
        Ok(done())
    }

    /// The queue, if `sig` is its owner's. An unknown queue costs one verification like a known one (T-34).
    fn owned(
        &self,
        call: &Call,
        rid: &QueueRid,
        input: &SigInput,
        sig: &[u8],
    ) -> Result<Option<state::Queue>, StoreError> {
        let queue = call.queue(rid)?;
        let owner = self.key_or_own(queue.as_ref().map(|queue| queue.owner_vk.as_slice()), Table::MailQueue)?;
        let signed = input.is_signed_by(&owner, sig);
        Ok(queue.filter(|_| signed))
    }

    fn key_or_own(&self, key: Option<&[u8]>, table: Table) -> Result<VerifyingKey, StoreError> {
        match key {
            Some(key) => VerifyingKey::read(key).map_err(|_| StoreError::Damaged { table }),
            None => Ok(self.key.verifying_key()),
        }
    }

    /// The queue of a sid, if `matches` accepts its send key. An unknown sid costs one MAC like a known one (T-34).
    fn authentic(
        &self,
        call: &Call,
        sid: &QueueSid,
        matches: impl Fn(&Call, &[u8]) -> bool,
    ) -> Result<(QueueRid, state::Queue), Stop> {
        let found = match call.batch.value(Table::MailSid, sid.as_bytes())? {
            Some(rid) => {
                let rid = QueueRid::read(&rid).ok_or(StoreError::Damaged { table: Table::MailSid })?;
                call.queue(&rid)?.map(|queue| (rid, queue))
            }
            None => None,
        };
        let nobodys_key = [0; SEND_KEY_BYTES];
        let matched = matches(call, found.as_ref().map_or(&nobodys_key, |(_, queue)| &queue.send_key));
        Ok(found.filter(|_| matched).ok_or(Code::Refused)?)
    }

    /// Until when an envelope is kept, in hours of the age clock: the relay's retention or the queue's, and not longer
    /// than the sender wished. The sender's wish can only shorten, and one that makes no sense is ignored (T-38).
    fn until_hour(&self, limits: &RelayLimits, ttl_days: u32, envelope: &Envelope, now: Now) -> u32 {
        let days = limits.retention_days.min(ttl_days);
        let age_ms = self.clock.age_ms();
        let mut until_ms = age_ms.saturating_add(u64::from(days) * DAY_MS);
        if days >= COARSE_RETENTION_DAYS {
            until_ms -= until_ms % DAY_MS;
        }
        let wished = envelope.head.expires_at(now.unix).after_ms(EXPIRY_TOLERANCE_MS);
        let wished_ms = wished.0.saturating_sub(now.unix.0);
        if wished_ms > 0 {
            until_ms = until_ms.min(age_ms.saturating_add(wished_ms));
        }
        let until_hour = u32::try_from(until_ms / HOUR_MS).unwrap_or(u32::MAX);
        until_hour.max(self.clock.hour().saturating_add(1))
    }

    fn renew(&self, call: &mut Call, rid: &QueueRid, queue: &mut state::Queue) {
        let hour = self.clock.hour();
        if queue.until_hour.saturating_sub(hour) < QUEUE_RENEW_HOURS {
            call.batch.delete(Table::MailExpiry, Expiring::Queue(*rid).key(queue.until_hour));
            queue.until_hour = hour.saturating_add(QUEUE_HOURS);
            call.batch.put(Table::MailExpiry, Expiring::Queue(*rid).key(queue.until_hour), Vec::new());
            call.batch.put_record(Table::MailQueue, rid.as_bytes(), queue);
        }
    }

    /// Removes the envelopes of exactly this preimage's tag, keeps the preimage for the sender and tells who deposited.
    fn purge(&mut self, call: &mut Call, rid: &QueueRid, preimage: Preimage) -> Result<(), StoreError> {
        let tag = tag_of(&preimage);
        let removed = remove_bodies(&mut call.batch, &mut call.counters, rid, &tag, |_| true)?;
        let Some(until_hour) = removed.iter().map(|body| body.until_hour).max() else { return Ok(()) };
        let receipt = state::Receipt { p: preimage.0.to_vec(), until_hour };
        call.batch.put_record(Table::MailReceipt, &tag_key(rid, &tag), &receipt);
        call.batch.put(Table::MailExpiry, Expiring::Receipt(*rid, tag).key(until_hour), Vec::new());
        call.counters.bytes = call.counters.bytes.saturating_add(RECEIPT_BYTES);
        if let Some(link) = self.links.take_depositor(rid, &tag) {
            call.receipts.push((link, preimage));
        }
        Ok(())
    }
}

impl Call<'_> {
    fn queue(&self, rid: &QueueRid) -> Result<Option<state::Queue>, StoreError> {
        self.batch.record(Table::MailQueue, rid.as_bytes())
    }
}

/// A fetch answer while it is filled.
struct Page {
    budget: usize,
    used: usize,
    mail: Vec<proto::Mail>,
}

impl Page {
    /// Adds mail of one queue, oldest first; true when nothing newer is left there. The first envelope always fits.
    fn fill(&mut self, call: &Call, rid: &QueueRid, after: u64) -> Result<bool, StoreError> {
        let mut cursor = item_key(rid, after);
        loop {
            if self.used >= self.budget {
                return Ok(call.batch.scan_after(Table::MailItem, rid.as_bytes(), &cursor, 1)?.is_empty());
            }
            let pairs: Vec<Pair> = call.batch.scan_after(Table::MailItem, rid.as_bytes(), &cursor, FETCH_PAGE)?;
            let Some((last, _)) = pairs.last() else { return Ok(true) };
            cursor = last.clone();
            for (key, env) in pairs {
                let size = env.len().saturating_add(MAIL_OVERHEAD);
                if !self.mail.is_empty() && self.used.saturating_add(size) > self.budget {
                    self.used = self.budget;
                    return Ok(false);
                }
                let seq = seq_of(&key).ok_or(StoreError::Damaged { table: Table::MailItem })?;
                self.mail.push(proto::Mail { rid: rid.0.to_vec(), seq, env });
                self.used = self.used.saturating_add(size);
            }
        }
    }
}

fn done() -> proto::MboxRes {
    proto::MboxRes::default()
}

/// An envelope a relay may hold.
fn storable(bytes: &[u8]) -> Result<Envelope<'_>, Code> {
    match Envelope::parse(bytes) {
        Ok(envelope) if envelope.head.no_infra || envelope.head.class == Class::Live => Err(Code::Malformed),
        Ok(envelope) => Ok(envelope),
        Err(EnvelopeError::TooLong) => Err(Code::TooLarge),
        Err(_) => Err(Code::Malformed),
    }
}

fn over_total(limits: &RelayLimits, counters: &state::Counters, more: u64) -> bool {
    counters.bytes.saturating_add(more) > u64::from(limits.total_mib_max) * 1_024 * 1_024
}

/// A wish within a limit; 0 wishes nothing.
fn within(wish: u32, limit: u32) -> u32 {
    if wish == 0 { limit } else { wish.min(limit) }
}

fn retention(wish_days: u32, limit_days: u32) -> u32 {
    within(wish_days, limit_days).clamp(*RETENTION_DAYS_RANGE.start(), *RETENTION_DAYS_RANGE.end())
}
