//! The mailbox client: relays we keep queues at, relays we leave mail at, and what was asked of them.
//!
//! A relay knows queues, never accounts. Every queue has its own random names and its own keys, and nothing in a
//! request ties one to another but the connection it came over.

use std::collections::{BTreeMap, BTreeSet};

use super::account::{hint, read_hint};
use super::inbound::{Outcome, Source};
use super::records::state::{QueueRecord, RelayRecord};
use super::timers::Timer;
use super::turn::Turn;
use super::{Answer, Engine, Waiting};
use crate::crypto::ed25519::SigningKey;
use crate::crypto::hash::{hash, trunc};
use crate::ids::{ChatId, Cid, InviteId, LinkId, PeerAddress, PeerKey, Preimage, QueueRid, QueueSid, Tag};
use crate::input::RequestId;
use crate::limits::{
    CONTROL_TTL_MS, ENVELOPES_PER_FRAME_MAX, FETCH_ANSWER_BYTES_MAX, FETCH_QUEUES_MAX, GRANTS_PER_CONTACT_MAX,
    MAILBOX_REPLICAS, QUEUE_ENVELOPES_MAX, QUEUE_KIB_MAX, RECEIPTS_PER_FRAME_MAX, RELAY_DIAL_MAX_MS,
    RELAY_REQUESTS_IN_FLIGHT_MAX, RELAYS_MAX, RETENTION_DAYS_DEFAULT,
};
use crate::mailbox::auth::{self, LinkBinding};
use crate::step::{ContactState, EventKind, Path, RelayView, Reply, RequestError, Send};
use crate::store::{StoreError, Table};
use crate::time::{MINUTE_MS, Moment, SECOND_MS, UnixTime};
use crate::wire::frame::Frame;
use crate::wire::proto::{self, mbox_req::Op, plain::Kind};

/// First pause before dialling a relay again; doubles up to `RELAY_DIAL_MAX_MS`.
const DIAL_FIRST_MS: u64 = 2 * SECOND_MS;
/// A relay that leaves every request unanswered for so long is dialled anew: longer than a slow link needs for the
/// largest frame (192 KiB at 128 kbit/s).
const ANSWER_MS: u64 = 15 * SECOND_MS;
/// How long the reply to `relay add` waits for the relay.
const ADD_WAIT_MS: u64 = 10 * SECOND_MS;
/// What became of deposits, and what lies in our queues, is asked this often; news is pushed as well.
const COLLECT_MS: u64 = 5 * MINUTE_MS;
/// A queue that was full or unknown is left alone for so long.
const REFUSED_PAUSE_MS: u64 = MINUTE_MS;
/// Answers of relays, as `MboxRes.code` has them.
const CODE_DONE: u32 = 0;
const CODE_REFUSED: u32 = 2;
const CODE_FULL: u32 = 3;

/// A relay and the conversation with it.
pub(super) struct Relay {
    pub(super) rec: RelayRecord,
    link: Option<LinkId>,
    binding: Option<LinkBinding>,
    attempts: u32,
    asked: BTreeMap<u64, Asked>,
    /// Where reading of each queue stands on this link.
    cursors: BTreeMap<QueueRid, u64>,
    /// Queues of others that refused mail, and until when they are left alone.
    refused: BTreeMap<QueueSid, Moment>,
    /// Queues of others that were full, and how many envelopes at a time they are offered since.
    narrow: BTreeMap<QueueSid, usize>,
    /// A fetch is under way; another one is wanted after it.
    fetching: bool,
    fetch_again: bool,
    /// Its queues were created again on this link.
    recreated: bool,
}

/// What a request to a relay was for.
pub(super) enum Asked {
    /// Limits and challenge.
    Status,
    /// A queue of ours.
    Create(QueueRid),
    /// The end of a queue of ours.
    Delete(QueueRid),
    /// Mail for a contact.
    Deposit { chat: ChatId, sid: QueueSid, items: Vec<(u64, Cid)> },
    /// Our mail.
    Fetch,
    /// What became of deposits.
    Collect,
    /// A contact card of ours.
    BlobPut(InviteId),
    /// A contact card of somebody else.
    BlobGet(ChatId),
    /// Nothing hangs on the answer.
    Other,
}

impl Relay {
    pub(super) fn new(rec: RelayRecord) -> Self {
        Self {
            rec,
            link: None,
            binding: None,
            attempts: 0,
            asked: BTreeMap::new(),
            cursors: BTreeMap::new(),
            refused: BTreeMap::new(),
            narrow: BTreeMap::new(),
            fetching: false,
            fetch_again: false,
            recreated: false,
        }
    }

    fn address(&self, peer: &PeerKey) -> PeerAddress {
        PeerAddress { peer: peer.clone(), addrs: self.rec.addrs.clone() }
    }

    /// The relay as contacts are told.
    pub(super) fn hint(&self, peer: &PeerKey) -> proto::PeerHint {
        hint(&self.address(peer), 1)
    }
}

impl Engine {
    // ---- which relays

    /// Uses a relay from now on. The reply waits a few seconds for its first answer.
    pub(super) fn relay_add(
        &mut self,
        id: RequestId,
        address: PeerAddress,
        turn: &mut Turn,
    ) -> Result<Option<Answer>, StoreError> {
        let own = self.relays.values().filter(|r| r.rec.own).count();
        let known = self.relays.get(&address.peer).is_some_and(|r| r.rec.own);
        if own >= RELAYS_MAX && !known {
            return Ok(Some(Err(RequestError::Limit("relays: remove one"))));
        }
        if address.addrs.is_empty() {
            let why = "a multiaddr with /p2p/ and the relay's key is needed".to_owned();
            return Ok(Some(Err(RequestError::Invalid { field: "address", why })));
        }
        let peer = address.peer.clone();
        let relay = self.relays.entry(peer.clone()).or_insert_with(|| Relay::new(RelayRecord::default()));
        relay.rec.own = true;
        relay.rec.addrs = address.addrs;
        relay.attempts = 0;
        self.save_relay(&peer, turn);
        turn.event(None, None, EventKind::RelayAdded { peer: peer.clone() });
        let chats = self.active_chats();
        for chat in chats {
            self.ensure_queues(chat, turn)?;
        }
        let invites: Vec<InviteId> = self.invites.values().filter(|i| i.open(turn.now.unix)).map(|i| i.id).collect();
        for invite in invites {
            if !self.queues.values().any(|q| q.invite == invite.as_bytes() && q.relay == peer.0) {
                self.add_queue(&peer, None, Some(invite), turn);
            }
        }
        if self.relay_ready(&peer) {
            self.settle_relay(&peer, turn)?;
            return Ok(Some(Ok(self.relay_reply(&peer))));
        }
        self.dial_relay(&peer, turn);
        self.waiting.insert(id, Waiting::Relay { peer });
        self.timers.set(Timer::Request(id), turn.now.moment.after_ms(ADD_WAIT_MS));
        Ok(None)
    }

    pub(super) fn relay_reply(&self, peer: &PeerKey) -> Reply {
        Reply::Relays(self.relay_view_list().into_iter().filter(|r| r.address.peer == *peer).collect())
    }

    pub(super) fn relay_views(&self) -> Vec<RelayView> {
        self.relay_view_list()
    }

    pub(super) fn relay_view_list(&self) -> Vec<RelayView> {
        let confirmed =
            |peer: &PeerKey| self.queues.values().filter(|q| q.relay == peer.0 && q.confirmed && !q.doomed).count();
        self.relays
            .iter()
            .filter(|(peer, _)| self.relay_in_use(peer))
            .map(|(peer, relay)| RelayView {
                address: relay.address(peer),
                connected: relay.binding.is_some(),
                queues: u32::try_from(confirmed(peer)).unwrap_or(u32::MAX),
                own: relay.rec.own,
                retention_days: relay.rec.retention_days,
                heard_at: (relay.rec.heard_at > 0).then_some(UnixTime(relay.rec.heard_at)),
            })
            .collect()
    }

    /// Stops using a relay: its queues go, contacts are told where to write instead.
    pub(super) fn relay_remove(&mut self, peer: &PeerKey, turn: &mut Turn) -> Result<Answer, StoreError> {
        if !self.relay_in_use(peer) {
            return Ok(super::not_found("relay"));
        }
        if let Some(relay) = self.relays.get_mut(peer) {
            relay.rec.own = false;
        }
        self.save_relay(peer, turn);
        let queues: Vec<QueueRid> =
            self.queues.iter().filter(|(_, q)| q.relay == peer.0).map(|(rid, _)| *rid).collect();
        for rid in queues {
            self.doom_queue(&rid, turn);
        }
        for chat in self.active_chats() {
            self.ensure_queues(chat, turn)?;
            self.tell_grants(chat, turn)?;
        }
        Ok(Ok(Reply::Done))
    }

    /// True for relays of ours, and for those of contacts where we keep a queue.
    fn relay_in_use(&self, peer: &PeerKey) -> bool {
        self.relays.get(peer).is_some_and(|r| r.rec.own || self.queues.values().any(|q| q.relay == peer.0 && !q.doomed))
    }

    /// A relay somebody else named: known from now on, dialled if it is not connected.
    pub(super) fn meet_relay(&mut self, address: PeerAddress, turn: &mut Turn) {
        let peer = address.peer.clone();
        let relay = self.relays.entry(peer.clone()).or_insert_with(|| Relay::new(RelayRecord::default()));
        let grew = address.addrs.iter().any(|a| !relay.rec.addrs.contains(a));
        if grew && !relay.rec.own {
            relay.rec.addrs = address.addrs;
            self.save_relay(&peer, turn);
        }
        if self.relays.get(&peer).is_some_and(|r| r.link.is_none()) {
            self.timers.set_if_unarmed(Timer::DialRelay(peer), turn.now.moment);
        }
    }

    /// The relays at which a contact takes mail.
    pub(super) fn meet_relays_of(&mut self, chat: &ChatId, turn: &mut Turn) {
        for grant in self.contacts.get(chat).map(|c| c.grants.clone()).unwrap_or_default() {
            if let Some(relay) = grant.relay.as_ref().and_then(read_hint) {
                self.meet_relay(relay, turn);
            }
        }
    }

    /// True while something of ours depends on this relay.
    pub(super) fn relay_wanted(&self, peer: &PeerKey) -> bool {
        self.relays.get(peer).is_some_and(|relay| {
            relay.rec.own
                || self.queues.values().any(|q| q.relay == peer.0)
                || self
                    .contacts
                    .values()
                    .any(|c| c.grants.iter().any(|g| g.relay.as_ref().is_some_and(|r| r.peer == peer.0)))
                || self.contacts.keys().any(|chat| self.wanted_card(chat).is_some())
        })
    }

    pub(super) fn dial_relay(&mut self, peer: &PeerKey, turn: &mut Turn) {
        let wanted = self.relay_wanted(peer);
        let Some(relay) = self.relays.get_mut(peer) else { return };
        if relay.link.is_some() || !wanted {
            return;
        }
        let pause = DIAL_FIRST_MS.saturating_mul(1 << relay.attempts.min(20)).min(RELAY_DIAL_MAX_MS);
        relay.attempts += 1;
        turn.send(Send::Dial { address: relay.address(peer), relay: true });
        let jitter = self.chance.below(pause / 5 + 1);
        self.timers.set(Timer::DialRelay(peer.clone()), turn.now.moment.after_ms(pause + jitter));
    }

    pub(super) fn relay_link_up(&mut self, peer: &PeerKey, link: LinkId, turn: &mut Turn) {
        if !self.relay_wanted(peer) {
            return;
        }
        let Some(relay) = self.relays.get_mut(peer) else { return };
        relay.link = Some(link);
        relay.binding = None;
        relay.asked.clear();
        relay.cursors.clear();
        relay.refused.clear();
        relay.narrow.clear();
        relay.fetching = false;
        relay.fetch_again = false;
        relay.recreated = false;
        self.ask_any(peer, Asked::Status, Op::Status(proto::Status { limits: true }), turn);
    }

    pub(super) fn relay_link_down(&mut self, peer: &PeerKey, link: LinkId, turn: &mut Turn) {
        let other = self.links.iter().find(|(_, l)| l.peer == *peer).map(|(id, _)| *id);
        let Some(relay) = self.relays.get_mut(peer) else { return };
        if relay.link != Some(link) {
            return;
        }
        relay.link = None;
        relay.binding = None;
        relay.asked.clear();
        relay.attempts = 0;
        self.timers.cancel(&Timer::RelayAnswer(peer.clone()));
        self.outbox.relay_down(peer);
        match other {
            Some(other) => self.relay_link_up(peer, other, turn),
            None => self.timers.set(Timer::DialRelay(peer.clone()), turn.now.moment.after_ms(DIAL_FIRST_MS / 4)),
        }
    }

    /// True when requests to this relay can be authenticated.
    pub(super) fn relay_ready(&self, peer: &PeerKey) -> bool {
        self.relays.get(peer).is_some_and(|r| r.binding.is_some())
    }

    /// What ties requests to the link that is up.
    pub(super) fn binding(&self, peer: &PeerKey) -> Option<LinkBinding> {
        self.relays.get(peer)?.binding
    }

    /// True when it makes sense to wait a moment for this relay.
    pub(super) fn relay_worth_waiting(&self, peer: &PeerKey) -> bool {
        self.relays.get(peer).is_some_and(|r| r.link.is_some() || r.attempts <= 2)
    }

    // ---- asking

    /// Asks a relay that is ready; otherwise nothing happens, because everything is asked again when it becomes ready.
    pub(super) fn ask(&mut self, peer: &PeerKey, asked: Asked, op: Op, turn: &mut Turn) -> bool {
        self.relay_ready(peer) && self.ask_any(peer, asked, op, turn)
    }

    fn ask_any(&mut self, peer: &PeerKey, asked: Asked, op: Op, turn: &mut Turn) -> bool {
        let id = self.next_relay_request;
        let Some(relay) = self.relays.get_mut(peer) else { return false };
        let Some(link) = relay.link else { return false };
        if relay.asked.len() >= RELAY_REQUESTS_IN_FLIGHT_MAX * 16 {
            return false;
        }
        self.next_relay_request += 1;
        relay.asked.insert(id, asked);
        self.timers.set_if_unarmed(Timer::RelayAnswer(peer.clone()), turn.now.moment.after_ms(ANSWER_MS));
        turn.frame(link, &Frame::MboxReq(proto::MboxReq { id, op: Some(op) }));
        true
    }

    /// A relay that leaves requests unanswered may be gone without a word (killed, or behind another address now):
    /// the link is closed, and dialled again at once.
    pub(super) fn relay_silent(&mut self, peer: &PeerKey, turn: &mut Turn) {
        let Some(relay) = self.relays.get(peer) else { return };
        if let Some(link) = relay.link.filter(|_| !relay.asked.is_empty()) {
            turn.send(Send::Close { link });
        }
    }

    /// Hands envelopes to a relay, authenticated for this link only.
    #[allow(clippy::too_many_arguments)] // one batch of one queue; a struct would only name the same things again
    pub(super) fn send_deposit(
        &mut self,
        peer: &PeerKey,
        chat: ChatId,
        grant: &proto::MailboxGrant,
        sid: QueueSid,
        items: Vec<(u64, Cid)>,
        env: Vec<Vec<u8>>,
        turn: &mut Turn,
    ) {
        let Some(binding) = self.relays.get(peer).and_then(|r| r.binding) else { return };
        let Ok(send_key) = <[u8; auth::SEND_KEY_BYTES]>::try_from(grant.send_key.as_slice()) else { return };
        let cids: Vec<Cid> = items.iter().map(|(_, cid)| *cid).collect();
        let mac = auth::deposit_mac(&binding, &send_key, &sid, &cids).to_vec();
        let deposit = proto::Deposit { sid: sid.0.to_vec(), env, mac };
        let seqs: Vec<u64> = items.iter().map(|(seq, _)| *seq).collect();
        if !self.ask(peer, Asked::Deposit { chat, sid, items }, Op::Deposit(deposit), turn) {
            self.not_depositing(peer, chat, &seqs);
        }
    }

    fn not_depositing(&mut self, peer: &PeerKey, chat: ChatId, seqs: &[u64]) {
        for seq in seqs {
            if let Some(flight) = self.outbox.flight_mut(&chat, *seq) {
                flight.depositing.remove(peer);
            }
        }
    }

    /// True while this queue of a contact should be left alone.
    pub(super) fn refuses(&self, peer: &PeerKey, sid: &QueueSid, now: Moment) -> bool {
        self.relays.get(peer).and_then(|r| r.refused.get(sid)).is_some_and(|until| *until > now)
    }

    /// How many envelopes this queue of a contact is offered at a time, once it has been full.
    pub(super) fn narrow(&self, peer: &PeerKey, sid: &QueueSid) -> Option<usize> {
        self.relays.get(peer)?.narrow.get(sid).copied()
    }

    /// A full queue takes nothing of a deposit that does not fit whole: smaller ones are tried, down to one
    /// envelope, before it is left alone for a while.
    fn queue_full(&mut self, peer: &PeerKey, chat: ChatId, sid: QueueSid, offered: usize, turn: &mut Turn) {
        let Some(relay) = self.relays.get_mut(peer) else { return };
        if offered > 1 {
            relay.narrow.insert(sid, offered / 2);
            self.timers.set_earlier(Timer::Retry(chat), turn.now.moment.after_ms(1));
            return;
        }
        relay.narrow.insert(sid, 1);
        relay.refused.insert(sid, turn.now.moment.after_ms(REFUSED_PAUSE_MS));
        turn.event(Some(chat), None, EventKind::RelayQuota { peer: peer.clone() });
        self.timers.set_earlier(Timer::Retry(chat), turn.now.moment.after_ms(REFUSED_PAUSE_MS));
    }

    // ---- queues of our own

    /// Makes a queue, here at once, at the relay as soon as it can be asked.
    pub(super) fn add_queue(
        &mut self,
        relay: &PeerKey,
        chat: Option<ChatId>,
        invite: Option<InviteId>,
        turn: &mut Turn,
    ) {
        let rid = QueueRid(self.chance.bytes());
        let record = QueueRecord {
            sid: self.chance.bytes::<16>().to_vec(),
            owner_seed: self.chance.bytes::<32>().to_vec(),
            send_key: self.chance.bytes::<16>().to_vec(),
            relay: relay.0.clone(),
            chat: chat.map(|c| c.0.to_vec()).unwrap_or_default(),
            invite: invite.map(|i| i.0.to_vec()).unwrap_or_default(),
            ..QueueRecord::default()
        };
        self.queues.insert(rid, record);
        self.save_queue(&rid, turn);
        self.create_queue(&rid, turn);
    }

    fn create_queue(&mut self, rid: &QueueRid, turn: &mut Turn) {
        let Some(queue) = self.queues.get(rid) else { return };
        let peer = PeerKey(queue.relay.clone());
        let Some(binding) = self.relays.get(&peer).and_then(|r| r.binding) else { return };
        let Some(owner) = SigningKey::read(&queue.owner_seed) else { return };
        let mut create = proto::QCreate {
            rid: rid.0.to_vec(),
            sid: queue.sid.clone(),
            owner_vk: owner.verifying_key().as_bytes().to_vec(),
            send_key: queue.send_key.clone(),
            ttl_days: RETENTION_DAYS_DEFAULT,
            max_env: QUEUE_ENVELOPES_MAX,
            max_kib: QUEUE_KIB_MAX,
            sig: Vec::new(),
        };
        create.sig = auth::create_sig_input(&binding, &create).sign(&owner);
        self.ask(&peer, Asked::Create(*rid), Op::Create(create), turn);
    }

    /// Queues for a contact: at our own relays, or where we have none, at theirs.
    pub(super) fn ensure_queues(&mut self, chat: ChatId, turn: &mut Turn) -> Result<(), StoreError> {
        let own: Vec<PeerKey> = self
            .relays
            .iter()
            .filter(|(_, r)| r.rec.own)
            .map(|(p, _)| p.clone())
            .take(GRANTS_PER_CONTACT_MAX)
            .collect();
        let theirs = || -> Vec<PeerKey> {
            self.grants_around(&chat)
                .into_iter()
                .filter_map(|g| g.relay.as_ref())
                .map(|r| PeerKey(r.peer.clone()))
                .collect::<BTreeSet<_>>()
                .into_iter()
                .take(MAILBOX_REPLICAS)
                .collect()
        };
        let wanted = if own.is_empty() { theirs() } else { own };
        for relay in wanted {
            let there = self.queues.values().any(|q| q.chat == chat.as_bytes() && q.relay == relay.0 && !q.doomed);
            if !there {
                self.add_queue(&relay, Some(chat), None, turn);
            }
        }
        Ok(())
    }

    /// Where a contact, or the members of a group, take mail.
    fn grants_around(&self, chat: &ChatId) -> Vec<&proto::MailboxGrant> {
        let of = |chat: &ChatId| self.contacts.get(chat).map(|c| c.grants.as_slice()).unwrap_or_default();
        match self.groups.get(chat) {
            None => of(chat).iter().collect(),
            Some(group) => group.lanes().flat_map(|lane| of(&lane)).collect(),
        }
    }

    /// The queue of a used one-time invite becomes its contact's.
    pub(super) fn hand_over_queues(&mut self, invite: InviteId, chat: ChatId, turn: &mut Turn) {
        let rids: Vec<QueueRid> =
            self.queues.iter().filter(|(_, q)| q.invite == invite.as_bytes() && !q.doomed).map(|(r, _)| *r).collect();
        for rid in rids {
            if let Some(queue) = self.queues.get_mut(&rid) {
                queue.chat = chat.0.to_vec();
            }
            self.save_queue(&rid, turn);
        }
    }

    /// A queue is not wanted any more; the relay is told as soon as it can be.
    pub(super) fn doom_queue(&mut self, rid: &QueueRid, turn: &mut Turn) {
        let Some(queue) = self.queues.get_mut(rid) else { return };
        queue.doomed = true;
        self.save_queue(rid, turn);
        self.delete_queue(rid, turn);
    }

    fn delete_queue(&mut self, rid: &QueueRid, turn: &mut Turn) {
        let Some(queue) = self.queues.get(rid) else { return };
        let peer = PeerKey(queue.relay.clone());
        let Some(binding) = self.relays.get(&peer).and_then(|r| r.binding) else { return };
        let Some(owner) = SigningKey::read(&queue.owner_seed) else { return };
        let sig = auth::delete_sig_input(&binding, rid).sign(&owner);
        self.ask(&peer, Asked::Delete(*rid), Op::Del(proto::QDelete { rid: rid.0.to_vec(), sig }), turn);
    }

    /// The right to leave mail in a queue, as contacts get it.
    pub(super) fn grant(&self, queue: &QueueRecord) -> Option<proto::MailboxGrant> {
        let peer = PeerKey(queue.relay.clone());
        let relay = self.relays.get(&peer)?;
        Some(proto::MailboxGrant {
            relay: Some(relay.hint(&peer)),
            sid: queue.sid.clone(),
            send_key: queue.send_key.clone(),
            retention_days: relay.rec.retention_days,
            max_kib: QUEUE_KIB_MAX,
            relay_vk: relay.rec.relay_vk.clone(),
        })
    }

    /// Where a contact may leave mail for us.
    pub(super) fn grants_for(&self, chat: &ChatId) -> Vec<proto::MailboxGrant> {
        let queues = self.queues.values().filter(|q| q.chat == chat.as_bytes() && !q.doomed);
        queues.filter_map(|q| self.grant(q)).take(GRANTS_PER_CONTACT_MAX).collect()
    }

    /// Tells a contact where to leave mail and where we are, if that is not what it was told last.
    pub(super) fn tell_grants(&mut self, chat: ChatId, turn: &mut Turn) -> Result<(), StoreError> {
        let grants = self.grants_for(&chat);
        let Some(contact) = self.contacts.get(&chat) else { return Ok(()) };
        if !matches!(contact.state(), ContactState::Active | ContactState::Member)
            || contact.session().is_none()
            || contact.rec.told == self.told_hash(&grants)
        {
            return Ok(());
        }
        let rev = self.bump_told(chat, &grants, turn);
        let peers = self.address.iter().map(|a| hint(a, 0)).collect();
        self.queue_control(chat, Kind::Mailbox(proto::MailboxUpdate { grants, peers, rev }), CONTROL_TTL_MS, turn)
    }

    fn told_hash(&self, grants: &[proto::MailboxGrant]) -> Vec<u8> {
        let mut parts: Vec<Vec<u8>> = grants.iter().map(|g| g.sid.clone()).collect();
        if let Some(address) = &self.address {
            parts.push(address.peer.0.clone());
            parts.extend(address.addrs.iter().cloned());
        }
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        trunc::<16>(&hash("silbo/1/told", &parts)).to_vec()
    }

    /// Notes what a contact is being told; the revision makes the newest news win at the other end.
    pub(super) fn bump_told(&mut self, chat: ChatId, grants: &[proto::MailboxGrant], turn: &mut Turn) -> u64 {
        let told = self.told_hash(grants);
        let Some(contact) = self.contacts.get_mut(&chat) else { return 0 };
        contact.rec.told = told;
        contact.rec.told_rev = contact.rec.told_rev.max(turn.now.unix.0).saturating_add(1);
        let rev = contact.rec.told_rev;
        self.save_contact(&chat, turn);
        rev
    }

    // ---- answers

    pub(super) fn relay_answered(
        &mut self,
        link: LinkId,
        res: proto::MboxRes,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let Some(peer) = self.links.get(&link).map(|l| l.peer.clone()) else { return Ok(()) };
        let Some(asked) =
            self.relays.get_mut(&peer).filter(|r| r.link == Some(link)).and_then(|r| r.asked.remove(&res.id))
        else {
            return Ok(());
        };
        let idle = self.relays.get(&peer).is_none_or(|r| r.asked.is_empty());
        match idle {
            true => self.timers.cancel(&Timer::RelayAnswer(peer.clone())),
            false => self.timers.set(Timer::RelayAnswer(peer.clone()), turn.now.moment.after_ms(ANSWER_MS)),
        }
        match asked {
            Asked::Status => self.relay_introduced(&peer, res, turn),
            Asked::Create(rid) => self.queue_created(&peer, rid, res.code, turn),
            Asked::Delete(rid) => {
                if matches!(res.code, CODE_DONE | CODE_REFUSED) && self.queues.remove(&rid).is_some() {
                    turn.delete(Table::OwnQueue, rid.as_bytes());
                }
                Ok(())
            }
            Asked::Deposit { chat, sid, items } => self.deposit_answered(&peer, chat, sid, items, &res, turn),
            Asked::Fetch => {
                if let Some(relay) = self.relays.get_mut(&peer) {
                    relay.fetching = false;
                }
                if res.code == CODE_REFUSED {
                    self.create_queues_again(&peer, turn);
                    return Ok(());
                }
                self.mail(&peer, &res.mail, turn)?;
                let again = self.relays.get_mut(&peer).is_some_and(|r| std::mem::take(&mut r.fetch_again));
                if (res.more && !res.mail.is_empty()) || again {
                    self.fetch(&peer, turn);
                }
                Ok(())
            }
            Asked::Collect => self.preimages(&peer, &res.p, turn),
            Asked::BlobPut(invite) => {
                match res.code {
                    CODE_DONE => self.card_held(invite, &peer, turn),
                    _ => self.card_settled(invite, &peer, turn),
                }
                Ok(())
            }
            Asked::BlobGet(chat) => self.card_from_relay(chat, &res, turn),
            Asked::Other => Ok(()),
        }
    }

    /// A relay that does not know one of our queues has lost it (a wiped disk): all are created again, once a link.
    fn create_queues_again(&mut self, peer: &PeerKey, turn: &mut Turn) {
        let Some(relay) = self.relays.get_mut(peer) else { return };
        if std::mem::replace(&mut relay.recreated, true) {
            return;
        }
        let queues: Vec<QueueRid> =
            self.queues.iter().filter(|(_, q)| q.relay == peer.0 && !q.doomed).map(|(r, _)| *r).collect();
        for rid in queues {
            self.create_queue(&rid, turn);
        }
    }

    fn card_from_relay(&mut self, chat: ChatId, res: &proto::MboxRes, turn: &mut Turn) -> Result<(), StoreError> {
        /// A relay that has no card may simply not have it yet; after so many answers there is none.
        const MISSES_MAX: u32 = 3;
        let Some(code) = self.wanted_card(&chat) else { return Ok(()) };
        if res.code == CODE_DONE && !res.blob.is_empty() {
            return self.card_arrived(None, code.keys().blob_id.as_bytes(), &res.blob, turn);
        }
        let Some(contact) = self.contacts.get_mut(&chat) else { return Ok(()) };
        contact.card_misses += 1;
        if contact.card_misses >= MISSES_MAX { self.refuse_contact(chat, turn) } else { Ok(()) }
    }

    /// The relay said who it is and what it promises: now everything that waited for it is asked.
    fn relay_introduced(&mut self, peer: &PeerKey, res: proto::MboxRes, turn: &mut Turn) -> Result<(), StoreError> {
        let Some(relay) = self.relays.get_mut(peer) else { return Ok(()) };
        let pinned = <[u8; 32]>::try_from(relay.rec.relay_vk.as_slice()).ok();
        let introduced = res.limits.and_then(|limits| Some((auth::binding_of(&limits, pinned.as_ref())?, limits)));
        let Some((binding, limits)) = introduced else {
            // Damaged on the way, or another relay under this address: a fresh link asks again.
            if let Some(link) = relay.link {
                turn.send(Send::Close { link });
            }
            return Ok(());
        };
        relay.binding = Some(binding);
        relay.attempts = 0;
        relay.rec.relay_vk = binding.relay_vk.to_vec();
        relay.rec.retention_days = limits.retention_days;
        relay.rec.heard_at = turn.now.unix.0;
        let address = relay.address(peer);
        let own = relay.rec.own;
        self.save_relay(peer, turn);
        self.timers.cancel(&Timer::DialRelay(peer.clone()));
        if own || self.queues.values().any(|q| q.relay == peer.0) {
            turn.send(Send::ReserveCircuit { address });
        }
        self.settle_relay(peer, turn)?;
        let waiting: Vec<RequestId> = self
            .waiting
            .iter()
            .filter(|(_, w)| matches!(w, Waiting::Relay { peer: p } if p == peer))
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            let reply = self.relay_reply(peer);
            self.settle(id, Ok(reply), turn);
        }
        Ok(())
    }

    /// Queues to make and to delete, mail to read, cards to leave and to fetch, deposits to make and to ask about.
    pub(super) fn settle_relay(&mut self, peer: &PeerKey, turn: &mut Turn) -> Result<(), StoreError> {
        if !self.relay_ready(peer) {
            return Ok(());
        }
        let queues: Vec<(QueueRid, bool, bool)> = self
            .queues
            .iter()
            .filter(|(_, q)| q.relay == peer.0)
            .map(|(rid, q)| (*rid, q.confirmed, q.doomed))
            .collect();
        for (rid, confirmed, doomed) in queues {
            match (confirmed, doomed) {
                (_, true) => self.delete_queue(&rid, turn),
                (false, false) => self.create_queue(&rid, turn),
                (true, false) => {}
            }
        }
        self.fetch(peer, turn);
        if self.relays.get(peer).is_some_and(|r| r.rec.own) {
            let invites: Vec<InviteId> =
                self.invites.values().filter(|i| i.open(turn.now.unix)).map(|i| i.id).collect();
            for id in invites {
                self.put_card(&id, peer, turn);
            }
        }
        for chat in self.contacts.keys().copied().collect::<Vec<_>>() {
            self.seek_card(chat, turn);
        }
        self.collect(peer, turn)?;
        for chat in self.outbox.chats() {
            self.drive_all(chat, turn)?;
        }
        Ok(())
    }

    fn queue_created(&mut self, peer: &PeerKey, rid: QueueRid, code: u32, turn: &mut Turn) -> Result<(), StoreError> {
        let Some(queue) = self.queues.get_mut(&rid) else { return Ok(()) };
        if code != CODE_DONE {
            turn.event(None, None, EventKind::RelayQuota { peer: peer.clone() });
            return Ok(());
        }
        queue.confirmed = true;
        let chat = ChatId::read(&queue.chat);
        self.save_queue(&rid, turn);
        if self.address_reserves(peer) {
            let address = self.relays.get(peer).map(|r| r.address(peer));
            if let Some(address) = address {
                turn.send(Send::ReserveCircuit { address });
            }
        }
        self.fetch(peer, turn);
        match chat {
            Some(chat) if self.groups.contains_key(&chat) => self.tell_members(chat, turn),
            Some(chat) => self.tell_grants(chat, turn),
            None => Ok(()),
        }
    }

    /// The first confirmed queue at a relay that is not ours: from now on it is worth a circuit.
    fn address_reserves(&self, peer: &PeerKey) -> bool {
        self.queues.values().filter(|q| q.relay == peer.0 && q.confirmed).count() == 1
    }

    fn deposit_answered(
        &mut self,
        peer: &PeerKey,
        chat: ChatId,
        sid: QueueSid,
        items: Vec<(u64, Cid)>,
        res: &proto::MboxRes,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let seqs: Vec<u64> = items.iter().map(|(seq, _)| *seq).collect();
        let Some(vk) = self.relays.get(peer).and_then(|r| r.binding).map(|b| b.relay_vk) else { return Ok(()) };
        let signed = res.held.as_ref().filter(|held| held.sid == sid.0 && auth::held_is_signed_by(held, &vk));
        self.not_depositing(peer, chat, &seqs);
        // What was fetched already is answered with its preimage instead of a promise.
        self.preimages(peer, &res.p, turn)?;
        match (res.code, signed) {
            (CODE_DONE, Some(held)) => {
                let named: BTreeSet<&[u8]> = held.cids.iter().map(Vec::as_slice).collect();
                let kept: Vec<(u64, Cid)> =
                    items.into_iter().filter(|(_, cid)| named.contains(cid.as_bytes())).collect();
                self.held(peer, chat, sid, &kept, auth::hour_start(held.until_hour), turn)?;
                if let Some(relay) = self.relays.get_mut(peer)
                    && let Some(width) = relay.narrow.remove(&sid)
                {
                    relay.narrow.insert(sid, (width * 2).min(ENVELOPES_PER_FRAME_MAX));
                    self.timers.set_earlier(Timer::Retry(chat), turn.now.moment.after_ms(1));
                }
                self.timers.set_if_unarmed(Timer::Collect(peer.clone()), turn.now.moment.after_ms(COLLECT_MS));
            }
            (CODE_DONE, None) if !res.p.is_empty() => {}
            (CODE_FULL, _) => self.queue_full(peer, chat, sid, seqs.len(), turn),
            _ => {
                if let Some(relay) = self.relays.get_mut(peer) {
                    relay.refused.insert(sid, turn.now.moment.after_ms(REFUSED_PAUSE_MS));
                }
                self.timers.set_earlier(Timer::Retry(chat), turn.now.moment.after_ms(REFUSED_PAUSE_MS));
            }
        }
        Ok(())
    }

    /// Reads all our queues at a relay, and follows them.
    fn fetch(&mut self, peer: &PeerKey, turn: &mut Turn) {
        let Some(relay) = self.relays.get_mut(peer) else { return };
        let Some(binding) = relay.binding else { return };
        if relay.fetching {
            relay.fetch_again = true;
            return;
        }
        let mut reads = Vec::new();
        for (rid, queue) in
            self.queues.iter().filter(|(_, q)| q.relay == peer.0 && q.confirmed && !q.doomed).take(FETCH_QUEUES_MAX)
        {
            let Some(owner) = SigningKey::read(&queue.owner_seed) else { continue };
            let after = relay.cursors.get(rid).copied().unwrap_or(0);
            let sig = auth::read_sig_input(&binding, rid, after).sign(&owner);
            reads.push(proto::QRead { rid: rid.0.to_vec(), after, sig });
        }
        if reads.is_empty() {
            return;
        }
        relay.fetching = true;
        let max_kib = u32::try_from(FETCH_ANSWER_BYTES_MAX / 1_024).unwrap_or(192);
        self.ask(peer, Asked::Fetch, Op::Fetch(proto::Fetch { reads, max_kib, follow: true }), turn);
    }

    /// Mail nobody could open may belong to a contact made since: reads everything from the beginning.
    pub(super) fn refetch(&mut self, turn: &mut Turn) {
        for peer in self.relays.keys().cloned().collect::<Vec<_>>() {
            if let Some(relay) = self.relays.get_mut(&peer) {
                relay.cursors.clear();
            }
            self.fetch(&peer, turn);
        }
    }

    pub(super) fn relay_pushed(
        &mut self,
        link: LinkId,
        push: proto::MboxPush,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let Some(peer) = self.links.get(&link).map(|l| l.peer.clone()) else { return Ok(()) };
        if !self.relay_ready(&peer) {
            return Ok(());
        }
        self.mail(&peer, &push.mail, turn)?;
        self.preimages(&peer, &push.p, turn)
    }

    fn preimages(&mut self, peer: &PeerKey, list: &[Vec<u8>], turn: &mut Turn) -> Result<(), StoreError> {
        for preimage in list.iter().take(RECEIPTS_PER_FRAME_MAX).filter_map(|p| Preimage::read(p)) {
            self.receipt(&preimage, Some(Path::Relay), Some(peer), turn)?;
        }
        Ok(())
    }

    /// Mail from our queues. What was opened (now or before) is acknowledged; what nobody can open yet stays there.
    fn mail(&mut self, peer: &PeerKey, list: &[proto::Mail], turn: &mut Turn) -> Result<(), StoreError> {
        let mut opened: BTreeMap<QueueRid, Vec<Vec<u8>>> = BTreeMap::new();
        let mut unnamed: BTreeMap<QueueRid, Vec<u64>> = BTreeMap::new();
        for mail in list {
            let Some(rid) =
                QueueRid::read(&mail.rid).filter(|rid| self.queues.get(rid).is_some_and(|q| q.relay == peer.0))
            else {
                continue;
            };
            if let Some(relay) = self.relays.get_mut(peer) {
                let cursor = relay.cursors.entry(rid).or_insert(0);
                *cursor = (*cursor).max(mail.seq);
            }
            match self.envelope(&mail.env, Source::Mailbox, turn)? {
                Outcome::Done { preimage, .. } => opened.entry(rid).or_default().push(preimage.0.to_vec()),
                Outcome::DoneUnnamed | Outcome::Dropped => unnamed.entry(rid).or_default().push(mail.seq),
                Outcome::Unknown => {}
            }
        }
        for (rid, p) in opened {
            let ack = proto::Ack { p, rid: rid.0.to_vec(), seqs: Vec::new(), sig: Vec::new() };
            self.ask(peer, Asked::Other, Op::Ack(ack), turn);
        }
        for (rid, seqs) in unnamed {
            let Some(binding) = self.relays.get(peer).and_then(|r| r.binding) else { continue };
            let Some(owner) = self.queues.get(&rid).and_then(|q| SigningKey::read(&q.owner_seed)) else { continue };
            let sig = auth::ack_sig_input(&binding, &rid, &seqs).sign(&owner);
            self.ask(peer, Asked::Other, Op::Ack(proto::Ack { p: Vec::new(), rid: rid.0.to_vec(), seqs, sig }), turn);
        }
        Ok(())
    }

    /// News is pushed, but a push can be lost: now and then everything is asked again.
    pub(super) fn look_again(&mut self, peer: &PeerKey, turn: &mut Turn) -> Result<(), StoreError> {
        if let Some(relay) = self.relays.get_mut(peer) {
            relay.cursors.clear();
        }
        self.fetch(peer, turn);
        self.collect(peer, turn)
    }

    /// Asks a relay which of our deposits have been fetched.
    pub(super) fn collect(&mut self, peer: &PeerKey, turn: &mut Turn) -> Result<(), StoreError> {
        let Some(binding) = self.relays.get(peer).and_then(|r| r.binding) else { return Ok(()) };
        let mut held = false;
        for chat in self.outbox.chats() {
            let grants = self.contacts.get(&chat).map(|c| c.grants.clone()).unwrap_or_default();
            let Some(lane) = self.outbox.lane(&chat) else { continue };
            let mut by_queue: BTreeMap<QueueSid, Vec<Tag>> = BTreeMap::new();
            for flight in lane.flights.values() {
                for deposit in flight.deposited.iter().filter(|d| d.relay == *peer) {
                    by_queue.entry(deposit.sid).or_default().push(flight.tag);
                }
            }
            for (sid, mut tags) in by_queue {
                held = true;
                tags.truncate(RECEIPTS_PER_FRAME_MAX);
                let Some(grant) = grants.iter().find(|g| g.sid == sid.0) else { continue };
                let Ok(key) = <[u8; auth::SEND_KEY_BYTES]>::try_from(grant.send_key.as_slice()) else { continue };
                let mac = auth::collect_mac(&binding, &key, &sid, &tags).to_vec();
                let tags = tags.iter().map(|t| t.0.to_vec()).collect();
                self.ask(peer, Asked::Collect, Op::Collect(proto::Collect { sid: sid.0.to_vec(), tags, mac }), turn);
            }
        }
        if held || self.queues.values().any(|q| q.relay == peer.0) {
            self.timers.set(Timer::Collect(peer.clone()), turn.now.moment.after_ms(COLLECT_MS));
        }
        Ok(())
    }
}
