//! The relay side of mailboxes: one request in, writes and frames out.
//!
//! ```text
//!   MboxReq ──▶ MailboxServer::handle ──▶ MailStep { writes, frames }      commit the writes, then send the frames
//! ```
//! A refused request writes nothing. What is stored links no two queues: keys are random, sequences count within one
//! queue, nothing carries an address, a sender or the time of a login; an envelope kept for a week or longer expires at
//! the beginning of a day, so that its expiry does not tell the hour it came. Counters are kept in the same transaction
//! as what they count, so opening a store of a million envelopes reads four records.

mod clock;
mod links;
mod operations;
mod records;
#[cfg(test)]
mod tests;

use crate::chance::Chance;
use crate::crypto::ed25519::SigningKey;
use crate::ids::{BlobId, Cid, LinkId, Preimage, QueueRid, Tag};
use crate::input::RelayLimits;
use crate::limits::{FETCH_ANSWER_BYTES_MAX, RETENTION_DAYS_RANGE};
use crate::mailbox::auth::{LinkBinding, limits_sig_input};
use crate::step::RelayStatusView;
use crate::store::{Store, StoreError, Table, Write};
use crate::time::{HOUR_MS, Moment, Now};
use crate::wire::frame::Frame;
use crate::wire::proto;
use crate::wire::proto::mbox_req::Op;

use clock::AgeClock;
use links::Links;
use records::{
    Batch, Expiring, META_CLOCK, META_COUNTERS, META_KEY, META_LIMITS, decode, item_key, state, tag_in, tag_key,
};

/// Entries of the expiry index one sweep removes: 512 envelopes are a few milliseconds of database work.
const SWEEP_BATCH: usize = 512;
/// What a published preimage counts against the store, with its keys.
const RECEIPT_BYTES: u64 = 128;
/// Pairs read at a time while a queue is deleted.
const DELETE_PAGE: usize = 256;

/// How a request ended, as `MboxRes.code` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Code {
    /// Done.
    Done = 0,
    /// The request does not make sense.
    Malformed = 1,
    /// No such queue or blob, or a wrong key: the two look alike.
    Refused = 2,
    /// A quota is used up; keep the mail and try elsewhere or later.
    Full = 3,
    /// The envelope or blob is too large.
    TooLarge = 4,
    /// Too many requests, or the link is not known; ask STATUS first.
    Busy = 5,
    /// This node takes nothing new for others.
    RoleOff = 6,
}

/// What one call led to: commit `writes`, then send `frames`.
#[must_use = "a promise that is sent but not committed is lost mail"]
#[derive(Debug, Default)]
pub struct MailStep {
    /// Durable changes, all or nothing; empty when the request was refused.
    pub writes: Vec<Write>,
    /// What leaves once the writes are on disk.
    pub frames: Vec<(LinkId, Frame)>,
}

/// The relay role of a node. A store error leaves it unusable: drop it and open it again.
pub struct MailboxServer {
    key: SigningKey,
    limits: Option<RelayLimits>,
    counters: state::Counters,
    clock: AgeClock,
    saved_hour: u32,
    links: Links,
    refused: u64,
    next_sweep: Moment,
    /// When a call last wrote: a sweep of the same step could not see it in the store yet.
    wrote_at: Option<Now>,
}

/// Why an operation stopped; nothing of it is kept.
enum Stop {
    Code(Code),
    Store(StoreError),
}

impl From<Code> for Stop {
    fn from(code: Code) -> Self {
        Self::Code(code)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// One call while it runs.
struct Call<'a> {
    now: Now,
    link: LinkId,
    binding: LinkBinding,
    batch: Batch<'a>,
    counters: state::Counters,
    mail: Vec<(LinkId, proto::Mail)>,
    receipts: Vec<(LinkId, Preimage)>,
}

impl MailboxServer {
    /// Opens the relay on what was committed; the first time, makes its key. The writes belong to the same commit as
    /// whatever else opening the node writes.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read or holds records that do not decode.
    pub fn open(store: &dyn Store, now: Now, chance: &mut Chance) -> Result<(Self, Vec<Write>), StoreError> {
        let mut batch = Batch::new(store);
        let key = match batch.value(Table::MailMeta, META_KEY)? {
            Some(seed) => SigningKey::read(&seed).ok_or(StoreError::Damaged { table: Table::MailMeta })?,
            None => SigningKey::generate(chance),
        };
        let clock = match batch.record(Table::MailMeta, META_CLOCK)? {
            Some(saved) => AgeClock::resume(&saved, now),
            None => AgeClock::start(now),
        };
        let limits = batch.record::<state::Limits>(Table::MailMeta, META_LIMITS)?.map(|limits| RelayLimits {
            retention_days: limits.retention_days,
            queue_envelopes_max: limits.queue_envelopes_max,
            queue_kib_max: limits.queue_kib_max,
            total_mib_max: limits.total_mib_max,
        });
        batch.put(Table::MailMeta, META_KEY.to_vec(), key.expose().to_vec());
        batch.put_record(Table::MailMeta, META_CLOCK, &clock.save());
        let server = Self {
            key,
            limits,
            counters: batch.record(Table::MailMeta, META_COUNTERS)?.unwrap_or_default(),
            saved_hour: clock.hour(),
            clock,
            links: Links::default(),
            refused: 0,
            next_sweep: now.moment,
            wrote_at: None,
        };
        Ok((server, batch.into_writes()))
    }

    /// Turns the role on with these limits, or off; what is held stays until it expires. Survives a restart.
    #[must_use = "without the commit, a restart forgets the role"]
    pub fn set_limits(&mut self, limits: Option<RelayLimits>) -> Vec<Write> {
        self.limits = limits.map(|limits| RelayLimits {
            retention_days: limits.retention_days.clamp(*RETENTION_DAYS_RANGE.start(), *RETENTION_DAYS_RANGE.end()),
            ..limits
        });
        let key = META_LIMITS.to_vec();
        let Some(limits) = self.limits else {
            return vec![Write::Delete { table: Table::MailMeta, key }];
        };
        let record = state::Limits {
            retention_days: limits.retention_days,
            queue_envelopes_max: limits.queue_envelopes_max,
            queue_kib_max: limits.queue_kib_max,
            total_mib_max: limits.total_mib_max,
        };
        vec![Write::Put { table: Table::MailMeta, key, value: prost::Message::encode_to_vec(&record) }]
    }

    /// The limits in force; `None` while the role is off.
    pub fn limits(&self) -> Option<RelayLimits> {
        self.limits
    }

    /// The seed of the relay's signing key; the driver makes the transport identity of it.
    pub fn relay_seed(&self) -> [u8; 32] {
        *self.key.expose()
    }

    /// The relay's public key, as grants name it.
    pub fn relay_vk(&self) -> [u8; 32] {
        *self.key.verifying_key().as_bytes()
    }

    /// A link came up; gives the challenge that requests on it must carry (it is also in the answer to STATUS).
    pub fn link_up(&mut self, link: LinkId, chance: &mut Chance) -> [u8; 32] {
        self.links.up(link, chance)
    }

    /// A link is gone: nothing is pushed to it any more.
    pub fn link_down(&mut self, link: LinkId) {
        self.links.down(link);
    }

    /// What is held, for the operator.
    pub fn status(&self) -> RelayStatusView {
        RelayStatusView {
            limits: self.limits,
            held: self.counters.held,
            bytes: self.counters.bytes,
            queues: self.counters.queues,
            blobs: self.counters.blobs,
            refused: self.refused,
        }
    }

    /// When [`Self::sweep`] wants to run again.
    pub fn next_sweep(&self) -> Moment {
        self.next_sweep
    }

    /// Answers one request.
    ///
    /// # Errors
    /// [`StoreError`] only for a broken store; whatever a peer does wrong is an answer.
    pub fn handle(
        &mut self,
        link: LinkId,
        req: proto::MboxReq,
        now: Now,
        store: &dyn Store,
    ) -> Result<MailStep, StoreError> {
        self.clock.advance(now);
        let Some(challenge) = self.links.challenge(link) else {
            return Ok(MailStep { writes: Vec::new(), frames: vec![(link, answer(req.id, Code::Busy))] });
        };
        let mut call = Call {
            now,
            link,
            binding: LinkBinding { relay_vk: self.relay_vk(), challenge },
            batch: Batch::new(store),
            counters: self.counters,
            mail: Vec::new(),
            receipts: Vec::new(),
        };
        let done = match req.op {
            None => Err(Stop::Code(Code::Malformed)),
            Some(Op::Create(create)) => self.create(&mut call, create),
            Some(Op::Del(delete)) => self.delete(&mut call, &delete),
            Some(Op::Deposit(deposit)) => self.deposit(&mut call, &deposit),
            Some(Op::Fetch(fetch)) => self.fetch(&mut call, &fetch),
            Some(Op::Ack(ack)) => self.ack(&mut call, &ack),
            Some(Op::Collect(collect)) => self.collect(&call, &collect),
            Some(Op::Bput(put)) => self.blob_put(&mut call, put),
            Some(Op::Bget(get)) => self.blob_get(&call, &get),
            Some(Op::Bdel(delete)) => self.blob_del(&mut call, &delete),
            Some(Op::Status(_)) => Ok(self.limits_answer(&call)),
        };
        match done {
            Ok(mut res) => {
                res.id = req.id;
                Ok(self.finish(call, res))
            }
            Err(Stop::Code(code)) => {
                self.refused = self.refused.saturating_add(u64::from(code == Code::Full));
                Ok(MailStep { writes: Vec::new(), frames: vec![(link, answer(req.id, code))] })
            }
            Err(Stop::Store(error)) => Err(error),
        }
    }

    /// Removes what has expired, up to a bound; call it at the moment of [`Self::next_sweep`]. In the very millisecond
    /// of a call that wrote it puts itself off, so that one step never commits two versions of a record.
    ///
    /// # Errors
    /// [`StoreError`] for a broken store.
    pub fn sweep(&mut self, now: Now, store: &dyn Store) -> Result<MailStep, StoreError> {
        if self.wrote_at == Some(now) {
            self.next_sweep = now.moment.after_ms(1);
            return Ok(MailStep::default());
        }
        self.clock.advance(now);
        let hour = self.clock.hour();
        let mut batch = Batch::new(store);
        let mut counters = self.counters;
        let entries = store.scan(Table::MailExpiry, &[], None, SWEEP_BATCH)?;
        let full = entries.len() == SWEEP_BATCH;
        let mut next_hour = None;
        for (key, _) in entries {
            let (due, expiring) = Expiring::read(&key).ok_or(StoreError::Damaged { table: Table::MailExpiry })?;
            if due > hour {
                next_hour = Some(due);
                break;
            }
            remove_expired(&mut batch, &mut counters, due, expiring)?;
            if let Expiring::Queue(rid) = expiring {
                self.links.unfollow_all(&rid);
            }
            batch.delete(Table::MailExpiry, key);
        }
        let wait_ms = match next_hour {
            None if full => 1,
            Some(due) if !self.clock.is_catching_up() => {
                u64::from(due).saturating_mul(HOUR_MS).saturating_sub(self.clock.age_ms()).clamp(1, HOUR_MS)
            }
            _ => HOUR_MS,
        };
        self.next_sweep = now.moment.after_ms(wait_ms);
        let writes = self.commit(batch, counters, true);
        Ok(MailStep { writes, frames: Vec::new() })
    }

    /// The signed limits: the first answer a client needs, because it carries the challenge.
    fn limits_answer(&self, call: &Call) -> proto::MboxRes {
        let (retention_days, max_env, max_kib) =
            self.limits.map_or((0, 0, 0), |l| (l.retention_days, l.queue_envelopes_max, l.queue_kib_max));
        let mut limits = proto::Limits {
            retention_days,
            max_env,
            max_kib,
            relay_vk: call.binding.relay_vk.to_vec(),
            challenge: call.binding.challenge.to_vec(),
            ..Default::default()
        };
        limits.sig = limits_sig_input(&limits).sign(&self.key);
        proto::MboxRes { limits: Some(limits), ..Default::default() }
    }

    fn finish(&mut self, call: Call, res: proto::MboxRes) -> MailStep {
        let mut frames = vec![(call.link, Frame::MboxRes(res))];
        frames.extend(pushes(call.mail, call.receipts));
        let writes = self.commit(call.batch, call.counters, false);
        if !writes.is_empty() {
            self.wrote_at = Some(call.now);
        }
        MailStep { writes, frames }
    }

    /// Turns a batch into writes, with the counters, and with the clock when its hour is not saved yet.
    fn commit(&mut self, mut batch: Batch, counters: state::Counters, with_clock: bool) -> Vec<Write> {
        if self.counters != counters {
            batch.put_record(Table::MailMeta, META_COUNTERS, &counters);
            self.counters = counters;
        }
        if self.saved_hour != self.clock.hour() && (with_clock || !batch.is_empty()) {
            batch.put_record(Table::MailMeta, META_CLOCK, &self.clock.save());
            self.saved_hour = self.clock.hour();
        }
        batch.into_writes()
    }
}

impl std::fmt::Debug for MailboxServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MailboxServer").field("status", &self.status()).finish_non_exhaustive()
    }
}

fn answer(id: u64, code: Code) -> Frame {
    Frame::MboxRes(proto::MboxRes { id, code: code as u32, ..Default::default() })
}

/// Groups pushes by link, in frames no larger than a fetch answer.
fn pushes(mail: Vec<(LinkId, proto::Mail)>, receipts: Vec<(LinkId, Preimage)>) -> Vec<(LinkId, Frame)> {
    let mut frames = Vec::new();
    let mut links: Vec<LinkId> = mail.iter().map(|(l, _)| *l).chain(receipts.iter().map(|(l, _)| *l)).collect();
    links.sort_unstable();
    links.dedup();
    for link in links {
        let mut push = proto::MboxPush::default();
        push.p.extend(receipts.iter().filter(|(l, _)| *l == link).map(|(_, p)| p.0.to_vec()));
        let mut bytes = 0;
        for (_, mail) in mail.iter().filter(|(l, _)| *l == link) {
            if bytes > 0 && bytes + mail.env.len() > FETCH_ANSWER_BYTES_MAX {
                frames.push((link, Frame::MboxPush(std::mem::take(&mut push))));
                bytes = 0;
            }
            bytes += mail.env.len();
            push.mail.push(mail.clone());
        }
        frames.push((link, Frame::MboxPush(push)));
    }
    frames
}

/// Removes what an entry of the expiry index names; the entry itself is the caller's.
fn remove_expired(
    batch: &mut Batch,
    counters: &mut state::Counters,
    due: u32,
    expiring: Expiring,
) -> Result<(), StoreError> {
    match expiring {
        Expiring::Item(rid, seq) => {
            let Some(envelope) = batch.value(Table::MailItem, &item_key(&rid, seq))? else { return Ok(()) };
            let tag = envelope.get(4..16).and_then(Tag::read).ok_or(StoreError::Damaged { table: Table::MailItem })?;
            remove_bodies(batch, counters, &rid, &tag, |body| body.seq == seq)?;
        }
        Expiring::Receipt(rid, tag) => {
            let key = tag_key(&rid, &tag);
            if batch.value(Table::MailReceipt, &key)?.is_some() {
                batch.delete(Table::MailReceipt, key);
                counters.bytes = counters.bytes.saturating_sub(RECEIPT_BYTES);
            }
        }
        Expiring::Blob(id) => {
            let blob = batch.record::<state::Blob>(Table::MailBlob, id.as_bytes())?;
            if let Some(blob) = blob.filter(|blob| blob.until_hour == due) {
                remove_blob(batch, counters, &id, &blob);
            }
        }
        Expiring::Queue(rid) => {
            let queue = batch.record::<state::Queue>(Table::MailQueue, rid.as_bytes())?;
            if let Some(queue) = queue.filter(|queue| queue.until_hour == due) {
                remove_queue(batch, counters, &rid, &queue)?;
            }
        }
    }
    Ok(())
}

/// Removes the envelopes of one tag that `which` names; gives them.
fn remove_bodies(
    batch: &mut Batch,
    counters: &mut state::Counters,
    rid: &QueueRid,
    tag: &Tag,
    which: impl Fn(&state::Body) -> bool,
) -> Result<Vec<state::Body>, StoreError> {
    let key = tag_key(rid, tag);
    let Some(tagged) = batch.record::<state::Tagged>(Table::MailTag, &key)? else { return Ok(Vec::new()) };
    let (removed, kept): (Vec<_>, Vec<_>) = tagged.bodies.into_iter().partition(which);
    if removed.is_empty() {
        return Ok(removed);
    }
    let mut queue: state::Queue = batch.record(Table::MailQueue, rid.as_bytes())?.unwrap_or_default();
    for body in &removed {
        batch.delete(Table::MailItem, item_key(rid, body.seq));
        batch.delete(Table::MailExpiry, Expiring::Item(*rid, body.seq).key(body.until_hour));
        queue.held = queue.held.saturating_sub(1);
        queue.bytes = queue.bytes.saturating_sub(u64::from(body.size));
        counters.held = counters.held.saturating_sub(1);
        counters.bytes = counters.bytes.saturating_sub(u64::from(body.size));
    }
    if !queue.owner_vk.is_empty() {
        batch.put_record(Table::MailQueue, rid.as_bytes(), &queue);
    }
    if kept.is_empty() {
        batch.delete(Table::MailTag, key);
    } else {
        batch.put_record(Table::MailTag, &key, &state::Tagged { bodies: kept });
    }
    Ok(removed)
}

fn remove_blob(batch: &mut Batch, counters: &mut state::Counters, id: &BlobId, blob: &state::Blob) {
    batch.delete(Table::MailBlob, id.as_bytes().to_vec());
    batch.delete(Table::MailExpiry, Expiring::Blob(*id).key(blob.until_hour));
    counters.blobs = counters.blobs.saturating_sub(1);
    counters.bytes = counters.bytes.saturating_sub(blob.ct.len() as u64);
}

/// Removes a queue with everything in it, at once.
fn remove_queue(
    batch: &mut Batch,
    counters: &mut state::Counters,
    rid: &QueueRid,
    queue: &state::Queue,
) -> Result<(), StoreError> {
    loop {
        let page = batch.scan(Table::MailTag, rid.as_bytes(), DELETE_PAGE)?;
        for (key, _) in &page {
            let tag = tag_in(key).ok_or(StoreError::Damaged { table: Table::MailTag })?;
            remove_bodies(batch, counters, rid, &tag, |_| true)?;
            batch.delete(Table::MailTag, key.clone());
        }
        if page.len() < DELETE_PAGE {
            break;
        }
    }
    loop {
        let page = batch.scan(Table::MailReceipt, rid.as_bytes(), DELETE_PAGE)?;
        for (key, value) in &page {
            let tag = tag_in(key).ok_or(StoreError::Damaged { table: Table::MailReceipt })?;
            let receipt: state::Receipt = decode(Table::MailReceipt, value)?;
            batch.delete(Table::MailExpiry, Expiring::Receipt(*rid, tag).key(receipt.until_hour));
            batch.delete(Table::MailReceipt, key.clone());
            counters.bytes = counters.bytes.saturating_sub(RECEIPT_BYTES);
        }
        if page.len() < DELETE_PAGE {
            break;
        }
    }
    batch.delete(Table::MailQueue, rid.as_bytes().to_vec());
    batch.delete(Table::MailSid, queue.sid.clone());
    batch.delete(Table::MailExpiry, Expiring::Queue(*rid).key(queue.until_hour));
    counters.queues = counters.queues.saturating_sub(1);
    Ok(())
}

/// A body's content id, for comparison.
fn has_cid(body: &state::Body, cid: &Cid) -> bool {
    body.cid == cid.as_bytes()
}
