//! Queues of our own at relays: made, told to contacts, read, given up.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Engine;
use super::super::account::hint;
use super::super::inbound::{Outcome, Source};
use super::super::records::state::QueueRecord;
use super::super::turn::Turn;
use super::{Asked, CODE_DONE};
use crate::crypto::ed25519::SigningKey;
use crate::crypto::hash::{hash, trunc};
use crate::ids::{ChatId, InviteId, PeerKey, QueueRid};
use crate::limits::{
    CONTROL_TTL_MS, FETCH_ANSWER_BYTES_MAX, FETCH_QUEUES_MAX, GRANTS_PER_CONTACT_MAX, MAILBOX_REPLICAS,
    QUEUE_ENVELOPES_MAX, QUEUE_KIB_MAX, RETENTION_DAYS_DEFAULT,
};
use crate::mailbox::auth;
use crate::step::{ContactState, EventKind, Send};
use crate::store::StoreError;
use crate::wire::proto::{self, mbox_req::Op, plain::Kind};

impl Engine {
    /// Makes a queue, here at once, at the relay as soon as it can be asked.
    pub(in super::super) fn add_queue(
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

    pub(super) fn create_queue(&mut self, rid: &QueueRid, turn: &mut Turn) {
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
    pub(in super::super) fn ensure_queues(&mut self, chat: ChatId, turn: &mut Turn) -> Result<(), StoreError> {
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
    pub(in super::super) fn hand_over_queues(&mut self, invite: InviteId, chat: ChatId, turn: &mut Turn) {
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
    pub(in super::super) fn doom_queue(&mut self, rid: &QueueRid, turn: &mut Turn) {
        let Some(queue) = self.queues.get_mut(rid) else { return };
        queue.doomed = true;
        self.save_queue(rid, turn);
        self.delete_queue(rid, turn);
    }

    pub(super) fn delete_queue(&mut self, rid: &QueueRid, turn: &mut Turn) {
        let Some(queue) = self.queues.get(rid) else { return };
        let peer = PeerKey(queue.relay.clone());
        let Some(binding) = self.relays.get(&peer).and_then(|r| r.binding) else { return };
        let Some(owner) = SigningKey::read(&queue.owner_seed) else { return };
        let sig = auth::delete_sig_input(&binding, rid).sign(&owner);
        self.ask(&peer, Asked::Delete(*rid), Op::Del(proto::QDelete { rid: rid.0.to_vec(), sig }), turn);
    }

    /// The right to leave mail in a queue, as contacts get it.
    pub(in super::super) fn grant(&self, queue: &QueueRecord) -> Option<proto::MailboxGrant> {
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
    pub(in super::super) fn grants_for(&self, chat: &ChatId) -> Vec<proto::MailboxGrant> {
        let queues = self.queues.values().filter(|q| q.chat == chat.as_bytes() && !q.doomed);
        queues.filter_map(|q| self.grant(q)).take(GRANTS_PER_CONTACT_MAX).collect()
    }

    /// Tells a contact where to leave mail and where we are, if that is not what it was told last.
    pub(in super::super) fn tell_grants(&mut self, chat: ChatId, turn: &mut Turn) -> Result<(), StoreError> {
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
    pub(in super::super) fn bump_told(&mut self, chat: ChatId, grants: &[proto::MailboxGrant], turn: &mut Turn) -> u64 {
        let told = self.told_hash(grants);
        let Some(contact) = self.contacts.get_mut(&chat) else { return 0 };
        contact.rec.told = told;
        contact.rec.told_rev = contact.rec.told_rev.max(turn.now.unix.0).saturating_add(1);
        let rev = contact.rec.told_rev;
        self.save_contact(&chat, turn);
        rev
    }

    /// A relay that does not know one of our queues has lost it (a wiped disk): all are created again, once a link.
    pub(super) fn create_queues_again(&mut self, peer: &PeerKey, turn: &mut Turn) {
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

    pub(super) fn queue_created(
        &mut self,
        peer: &PeerKey,
        rid: QueueRid,
        code: u32,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
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

    /// Reads all our queues at a relay, and follows them.
    pub(super) fn fetch(&mut self, peer: &PeerKey, turn: &mut Turn) {
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
    pub(in super::super) fn refetch(&mut self, turn: &mut Turn) {
        for peer in self.relays.keys().cloned().collect::<Vec<_>>() {
            if let Some(relay) = self.relays.get_mut(&peer) {
                relay.cursors.clear();
            }
            self.fetch(&peer, turn);
        }
    }

    /// Mail from our queues. What was opened (now or before) is acknowledged; what nobody can open yet stays there.
    pub(super) fn mail(&mut self, peer: &PeerKey, list: &[proto::Mail], turn: &mut Turn) -> Result<(), StoreError> {
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
    pub(in super::super) fn look_again(&mut self, peer: &PeerKey, turn: &mut Turn) -> Result<(), StoreError> {
        if let Some(relay) = self.relays.get_mut(peer) {
            relay.cursors.clear();
        }
        self.fetch(peer, turn);
        self.collect(peer, turn)
    }
}
