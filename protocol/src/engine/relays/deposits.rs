//! Mail left at relays for others, and what became of it.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Engine;
use super::super::timers::Timer;
use super::super::turn::Turn;
use super::{Asked, CODE_DONE, CODE_FULL};
use crate::ids::{ChatId, Cid, PeerKey, Preimage, QueueSid, Tag};
use crate::limits::{ENVELOPES_PER_FRAME_MAX, RECEIPTS_PER_FRAME_MAX};
use crate::mailbox::auth;
use crate::step::{EventKind, Path};
use crate::store::StoreError;
use crate::time::{MINUTE_MS, Moment};
use crate::wire::proto::{self, mbox_req::Op};

/// What became of deposits, and what lies in our queues, is asked this often; news is pushed as well.
const COLLECT_MS: u64 = 5 * MINUTE_MS;
/// A queue that was full or unknown is left alone for so long.
const REFUSED_PAUSE_MS: u64 = MINUTE_MS;

impl Engine {
    /// Hands envelopes to a relay, authenticated for this link only.
    #[allow(clippy::too_many_arguments)] // one batch of one queue; a struct would only name the same things again
    pub(in super::super) fn send_deposit(
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
    pub(in super::super) fn refuses(&self, peer: &PeerKey, sid: &QueueSid, now: Moment) -> bool {
        self.relays.get(peer).and_then(|r| r.refused.get(sid)).is_some_and(|until| *until > now)
    }

    /// How many envelopes this queue of a contact is offered at a time, once it has been full.
    pub(in super::super) fn narrow(&self, peer: &PeerKey, sid: &QueueSid) -> Option<usize> {
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

    pub(super) fn deposit_answered(
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

    pub(super) fn preimages(&mut self, peer: &PeerKey, list: &[Vec<u8>], turn: &mut Turn) -> Result<(), StoreError> {
        for preimage in list.iter().take(RECEIPTS_PER_FRAME_MAX).filter_map(|p| Preimage::read(p)) {
            self.receipt(&preimage, Some(Path::Relay), Some(peer), turn)?;
        }
        Ok(())
    }

    /// Asks a relay which of our deposits have been fetched.
    pub(in super::super) fn collect(&mut self, peer: &PeerKey, turn: &mut Turn) -> Result<(), StoreError> {
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
