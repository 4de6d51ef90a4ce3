//! The mailbox client: relays we keep queues at, relays we leave mail at, and what was asked of them.
//!
//! A relay knows queues, never accounts. Every queue has its own random names and its own keys, and nothing in a
//! request ties one to another but the connection it came over.

mod deposits;
mod queues;

use std::collections::BTreeMap;

use super::account::{hint, read_hint};
use super::records::state::RelayRecord;
use super::timers::Timer;
use super::turn::Turn;
use super::{Answer, Engine, Waiting};
use crate::ids::{ChatId, Cid, InviteId, LinkId, PeerAddress, PeerKey, QueueRid, QueueSid};
use crate::input::RequestId;
use crate::limits::{RELAY_DIAL_MAX_MS, RELAY_REQUESTS_IN_FLIGHT_MAX, RELAYS_MAX};
use crate::mailbox::auth::{self, LinkBinding};
use crate::step::{EventKind, RelayView, Reply, RequestError, Send};
use crate::store::{StoreError, Table};
use crate::time::{Moment, SECOND_MS, UnixTime};
use crate::wire::frame::Frame;
use crate::wire::proto::{self, mbox_req::Op};

/// First pause before dialling a relay again; doubles up to `RELAY_DIAL_MAX_MS`.
const DIAL_FIRST_MS: u64 = 2 * SECOND_MS;
/// A relay that leaves every request unanswered for so long is dialled anew: longer than a slow link needs for the
/// largest frame (192 KiB at 128 kbit/s).
const ANSWER_MS: u64 = 15 * SECOND_MS;
/// How long the reply to `relay add` waits for the relay.
const ADD_WAIT_MS: u64 = 10 * SECOND_MS;
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

    /// The first confirmed queue at a relay that is not ours: from now on it is worth a circuit.
    fn address_reserves(&self, peer: &PeerKey) -> bool {
        self.queues.values().filter(|q| q.relay == peer.0 && q.confirmed).count() == 1
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
}
