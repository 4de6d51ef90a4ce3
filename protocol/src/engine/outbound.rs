//! Sealing, and the ladder every sealed envelope climbs until there is evidence that it arrived:
//! a direct link if there is one, else (or after ten seconds without a receipt) mailboxes at two relays.
//!
//! A retry hands out the stored bytes. The only second encryption is [`Engine::seal_anew`] after a session reset,
//! with other keys and the same message id.

use prost::Message;

use super::Engine;
use super::records::state::{Deposited, HopRecord};
use super::timers::Timer;
use super::turn::Turn;
use crate::conversation::path_code;
use crate::crypto::hash::cid;
use crate::delivery::outbox::{Departure, Deposit, Flight, deposit_pause_ms, entry_key, retry_pause_ms};
use crate::ids::{ChatId, Cid, LinkId, MessageId, PeerKey, Preimage, QueueSid};
use crate::input::Route;
use crate::limits::{
    DIRECT_PATIENCE_MS, ENVELOPES_PER_FRAME_MAX, FRAME_BYTES_UNPROVEN_MAX, MAILBOX_REPLICAS, OUTBOX_MAX,
};
use crate::session::SealError;
use crate::step::{DeliveryState, EventKind, FailReason, Path, RequestError};
use crate::store::{StoreError, Table};
use crate::time::{HOUR_MS, Moment, UnixTime};
use crate::wire::envelope::{Class, EnvelopeHead};
use crate::wire::frame::Frame;
use crate::wire::padding::{PadClass, pad};
use crate::wire::proto::{self, plain::Kind};

/// Bytes of envelopes put into one frame.
const FRAME_BATCH_BYTES: usize = 128 * 1024;

/// What is known of an envelope before it is sealed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Errand {
    /// The message it carries; `None` for control.
    pub(super) message: Option<MessageId>,
    /// When nobody tries any more.
    pub(super) expires_at: UnixTime,
    /// Only over radios between devices.
    pub(super) no_infra: bool,
    /// Carriers may take it; false for what would fill their stores and help nobody sooner.
    pub(super) carried: bool,
}

/// Why something was not sealed.
#[derive(Debug)]
pub(super) enum SealRefusal {
    /// A bound is reached.
    Full(&'static str),
    /// There is no session yet; it will be sealed by nobody.
    NoSession,
}

impl From<SealRefusal> for RequestError {
    fn from(refusal: SealRefusal) -> Self {
        match refusal {
            SealRefusal::Full(what) => Self::Limit(what),
            SealRefusal::NoSession => Self::Offline,
        }
    }
}

impl Engine {
    /// A plaintext with the next Lamport number of its conversation.
    pub(super) fn plain(&mut self, chat: &ChatId, id: MessageId, kind: Kind, turn: &mut Turn) -> proto::Plain {
        let lamport = self.next_lamport(chat, turn);
        proto::Plain {
            ts_ms: turn.now.unix.0,
            msg_id: id.0.to_vec(),
            lamport,
            kind: Some(kind),
            ..proto::Plain::default()
        }
    }

    /// A fresh message id: time first, so that ids sort.
    pub(super) fn new_message_id(&mut self, now: UnixTime) -> MessageId {
        let mut id = [0; 12];
        id[..6].copy_from_slice(&now.0.to_be_bytes()[2..]);
        id[6..].copy_from_slice(&self.chance.bytes::<6>());
        MessageId(id)
    }

    pub(super) fn next_lamport(&mut self, chat: &ChatId, turn: &mut Turn) -> u64 {
        let record = self.chats.entry(*chat).or_default();
        record.lamport = record.lamport.saturating_add(1);
        let lamport = record.lamport;
        self.save_chat(chat, turn);
        lamport
    }

    /// Nothing we write later may sort before what we have seen.
    pub(super) fn see_lamport(&mut self, chat: &ChatId, seen: u64, turn: &mut Turn) {
        /// A peer may not push the counter to its end.
        const STEP_MAX: u64 = 1 << 32;
        let record = self.chats.entry(*chat).or_default();
        if seen > record.lamport && seen - record.lamport <= STEP_MAX {
            record.lamport = seen;
            self.save_chat(chat, turn);
        }
    }

    /// Seals and queues something that is not a message of its own.
    pub(super) fn queue_control(
        &mut self,
        chat: ChatId,
        kind: Kind,
        ttl_ms: u64,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let id = self.new_message_id(turn.now.unix);
        let plain = self.plain(&chat, id, kind, turn);
        let expires_at = turn.now.unix.after_ms(ttl_ms);
        let carried = !matches!(plain.kind, Some(Kind::Bundle(_)));
        let errand = Errand { message: None, expires_at, no_infra: false, carried };
        if let Err(SealRefusal::Full(what)) = self.seal_and_queue(chat, &plain.encode_to_vec(), errand, turn)? {
            turn.event(Some(chat), None, EventKind::Warning { text: format!("not told to the contact: {what}") });
        }
        Ok(())
    }

    /// Seals under the sending session, stores, and starts the ladder.
    pub(super) fn seal_and_queue(
        &mut self,
        chat: ChatId,
        plain: &[u8],
        errand: Errand,
        turn: &mut Turn,
    ) -> Result<Result<(), SealRefusal>, StoreError> {
        if self.outbox.len() >= OUTBOX_MAX {
            return Ok(Err(SealRefusal::Full("too much undelivered mail: wait until some of it has arrived")));
        }
        let lifetime = errand.expires_at.0.saturating_sub(turn.now.unix.0);
        let class = if errand.message.is_some() { Class::Text } else { Class::Control };
        let sealed = match self.seal(&chat, plain, class, lifetime, errand.no_infra, turn) {
            Ok(sealed) => sealed,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let session = sealed.session;
        let departure = Departure {
            tag: sealed.sealed.tag,
            cid: cid(&sealed.sealed.envelope),
            size: sealed.sealed.envelope.len(),
            class,
            created_at: turn.now.unix,
            expires_at: errand.expires_at,
        };
        let flight = Flight {
            preimage: Some(sealed.sealed.preimage),
            message: errand.message,
            no_infra: errand.no_infra,
            carried: errand.carried,
            session,
            chain: sealed.sealed.place.chain,
            n: sealed.sealed.place.n,
            ..Flight::new(departure)
        };
        self.save_session(&session, turn);
        self.store_flight(chat, flight, sealed.sealed.envelope, plain.to_vec(), turn);
        self.feed(chat, turn)?;
        Ok(Ok(()))
    }

    fn seal(
        &mut self,
        chat: &ChatId,
        plain: &[u8],
        class: Class,
        lifetime_ms: u64,
        no_infra: bool,
        turn: &Turn,
    ) -> Result<SealedBy, SealRefusal> {
        let session =
            self.contacts.get(chat).and_then(super::contacts::Contact::session).ok_or(SealRefusal::NoSession)?;
        let live = self.sessions.get_mut(&session).ok_or(SealRefusal::NoSession)?;
        let head3 = self.own.as_ref().map(|own| own.account.log().head3()).unwrap_or_default();
        let padded = pad(PadClass::Rich, plain, live.session.seal_overhead())
            .map_err(|_| SealRefusal::Full("too long for one envelope"))?;
        let head = EnvelopeHead::new(class, lifetime_ms, turn.now.unix, &mut self.chance);
        let head = EnvelopeHead { no_infra, ..head }.encode();
        let sealed =
            live.session.seal(head, &padded, head3, turn.now.unix, &mut self.chance).map_err(|error| match error {
                SealError::NoSendingChain => SealRefusal::NoSession,
                SealError::TooFarAhead => SealRefusal::Full("too many messages to this contact are undelivered"),
                SealError::TooLong => SealRefusal::Full("too long for one envelope"),
            })?;
        Ok(SealedBy { session, sealed })
    }

    /// Seals something that is only true now and hands it to the direct link, if there is one. Never stored.
    pub(super) fn send_live(&mut self, chat: ChatId, kind: Kind, turn: &mut Turn) -> Result<(), StoreError> {
        /// Long enough for clocks that disagree.
        const LIVE_MS: u64 = HOUR_MS;
        let Some(link) = self.best_link(&chat) else { return Ok(()) };
        let plain = proto::Plain { ts_ms: turn.now.unix.0, kind: Some(kind), ..proto::Plain::default() };
        if let Ok(sealed) = self.seal(&chat, &plain.encode_to_vec(), Class::Live, LIVE_MS, false, turn) {
            self.save_session(&sealed.session, turn);
            turn.frame(link, &Frame::Envelopes(vec![sealed.sealed.envelope]));
        }
        Ok(())
    }

    /// Takes an entry out of memory and store.
    pub(super) fn drop_flight(&mut self, chat: &ChatId, seq: u64, turn: &mut Turn) -> Option<Flight> {
        let flight = self.outbox.remove(chat, seq)?;
        turn.delete(Table::Outbox, &entry_key(chat, seq));
        if flight.sprayed > 0 {
            turn.delete(Table::Spray, &entry_key(chat, seq));
            // Carriers have it for a while yet: it need not come back.
            self.carried.refuse((flight.tag, flight.cid), turn.now.unix);
        }
        Some(flight)
    }

    /// True when mail for this conversation may leave.
    pub(super) fn may_send(&self, chat: &ChatId) -> bool {
        self.contacts.get(chat).is_some_and(|c| c.state().exchanges_mail() && !c.key_blocked())
    }

    /// Hands what has not been handed out yet to the direct link, or to mailboxes where there is none.
    pub(super) fn feed(&mut self, chat: ChatId, turn: &mut Turn) -> Result<(), StoreError> {
        if !self.may_send(&chat) {
            return Ok(());
        }
        let Some(lane) = self.outbox.lane(&chat) else { return Ok(()) };
        if lane.unsent().is_empty() {
            return Ok(());
        }
        match self.best_link(&chat) {
            Some(link) => self.feed_link(chat, link, turn),
            None => {
                let unsent: Vec<u64> = lane.unsent().iter().copied().collect();
                self.timers.set_if_unarmed(Timer::FindContact(chat), turn.now.moment);
                self.timers.set_earlier(Timer::Retry(chat), turn.now.moment.after_ms(retry_pause_ms(1)));
                self.offer_own(chat, turn);
                self.deposit(chat, &unsent, turn)
            }
        }
    }

    fn feed_link(&mut self, chat: ChatId, link: LinkId, turn: &mut Turn) -> Result<(), StoreError> {
        let mut batch: Vec<Vec<u8>> = Vec::new();
        let mut bytes = 0;
        let proven = self.links.get(&link).is_some_and(|l| l.chat.is_some());
        let radio = self.links.get(&link).is_some_and(|l| l.route == Route::Radio);
        // Whoever does not know us yet takes short frames only.
        let frame_bytes = if proven { FRAME_BATCH_BYTES } else { FRAME_BYTES_UNPROVEN_MAX / 2 };
        while let Some(lane) = self.outbox.lane(&chat) {
            if lane.is_full() {
                break;
            }
            let may_go = |seq: &&u64| radio || lane.flights.get(seq).is_none_or(|f| !f.no_infra);
            let Some(seq) = lane.unsent().iter().find(may_go).copied() else { break };
            let Some(record) = self.outbox_record(&chat, seq, turn)? else {
                self.outbox.remove(&chat, seq);
                continue;
            };
            if !batch.is_empty()
                && (bytes + record.envelope.len() > frame_bytes || batch.len() == ENVELOPES_PER_FRAME_MAX)
            {
                turn.frame(link, &Frame::Envelopes(std::mem::take(&mut batch)));
                bytes = 0;
            }
            match ChatId::read(&record.group) {
                Some(group) => self.hand_letter(link, group, record.envelope, turn)?,
                None if proven && !record.on_link.is_empty() => self.hand_slice(link, &record.on_link, turn),
                None => {
                    bytes += record.envelope.len();
                    batch.push(record.envelope);
                }
            }
            let pause = self.jittered(retry_pause_ms(self.outbox.flight(&chat, seq).map_or(1, |f| f.attempts + 1)));
            let Some(lane) = self.outbox.lane_mut(&chat) else { break };
            lane.hand_out(seq);
            if let Some(flight) = lane.flights.get_mut(&seq) {
                flight.on_link = Some(link);
                flight.direct_since.get_or_insert(turn.now.moment);
                flight.attempts += 1;
                flight.next_at = turn.now.moment.after_ms(pause);
            }
        }
        if !batch.is_empty() {
            turn.frame(link, &Frame::Envelopes(batch));
        }
        self.timers.set_earlier(Timer::Retry(chat), turn.now.moment.after_ms(DIRECT_PATIENCE_MS));
        Ok(())
    }

    /// Looks at every waiting envelope of a conversation: expiry, retries, the second rung.
    pub(super) fn drive_all(&mut self, chat: ChatId, turn: &mut Turn) -> Result<(), StoreError> {
        self.fail_expired(chat, turn)?;
        if !self.may_send(&chat) {
            return Ok(());
        }
        let link = self.best_link(&chat);
        let now = turn.now.moment;
        // Without a link and without a network only expiry can change anything; links bring their own look.
        let reachable = link.is_some() || self.address.is_some();
        let Some(lane) = self.outbox.lane_mut(&chat) else { return Ok(()) };
        let mut impatient = Vec::new();
        let mut again = Vec::new();
        let mut next: Option<Moment> = None;
        for (seq, flight) in &mut lane.flights {
            let elsewhere = flight.on_link.is_some() && flight.on_link != link;
            if elsewhere || (flight.on_link.is_some() && flight.next_at <= now) {
                again.push(*seq);
            }
            let patient =
                link.is_some() && flight.direct_since.is_none_or(|since| since.after_ms(DIRECT_PATIENCE_MS) > now);
            if !patient && (flight.deposited.len() < MAILBOX_REPLICAS || flight.deposit_again_at <= now) {
                impatient.push(*seq);
            }
            let due = if patient {
                now.after_ms(DIRECT_PATIENCE_MS)
            } else if reachable {
                flight.next_at.max(now.after_ms(retry_pause_ms(1)))
            } else {
                now.after_ms(flight.expires_at.0.saturating_sub(turn.now.unix.0).max(1_000))
            };
            next = Some(next.map_or(due, |n| n.min(due)));
        }
        again.into_iter().for_each(|seq| lane.take_back(seq));
        if let Some(at) = next {
            self.timers.set(Timer::Retry(chat), at);
        }
        if link.is_none() {
            self.timers.set_if_unarmed(Timer::FindContact(chat), now);
        }
        self.deposit(chat, &impatient, turn)?;
        self.offer_own(chat, turn);
        if let Some(link) = link {
            self.feed_link(chat, link, turn)?;
        }
        self.reset_if_silent(chat, turn)
    }

    /// Envelopes that went over a proven link again and again without a receipt: the session is out of step.
    fn reset_if_silent(&mut self, chat: ChatId, turn: &mut Turn) -> Result<(), StoreError> {
        const ATTEMPTS: u32 = 4;
        let stuck = self.outbox.lane(&chat).is_some_and(|lane| {
            let old = |f: &Flight| f.of_session() && !f.first_contact && f.attempts >= ATTEMPTS && f.on_link.is_some();
            lane.flights.values().any(old)
        });
        let stale = self
            .contacts
            .get(&chat)
            .and_then(super::contacts::Contact::session)
            .and_then(|id| self.sessions.get(&id))
            .is_some_and(|live| live.session.is_stale(turn.now.unix));
        if stuck || stale { self.reset_session(chat, turn) } else { Ok(()) }
    }

    /// Asks the recipient's relays to hold envelopes, until two of them have signed for each.
    fn deposit(&mut self, chat: ChatId, seqs: &[u64], turn: &mut Turn) -> Result<(), StoreError> {
        let grants = self.contacts.get(&chat).map(|c| c.grants.clone()).unwrap_or_default();
        for grant in grants {
            let Some(relay) = grant.relay.as_ref().and_then(super::account::read_hint) else { continue };
            let Some(sid) = QueueSid::read(&grant.sid) else { continue };
            let peer = relay.peer.clone();
            if !self.relay_ready(&peer) {
                self.meet_relay(relay, turn);
                continue;
            }
            if self.refuses(&peer, &sid, turn.now.moment) {
                continue;
            }
            let narrow = self.narrow(&peer, &sid);
            if narrow.is_some() && self.depositing(&chat, &peer) {
                continue;
            }
            let mut batch: Vec<(u64, Cid)> = Vec::new();
            let mut envelopes: Vec<Vec<u8>> = Vec::new();
            let mut bytes = 0;
            for seq in seqs {
                if narrow.is_some_and(|width| envelopes.len() >= width) {
                    break;
                }
                let Some(flight) = self.outbox.flight(&chat, *seq).filter(|f| !f.no_infra) else { continue };
                let held = flight.deposited.iter().any(|d| d.relay == peer);
                let under_way = flight.depositing.len() + flight.deposited.len();
                let due = if held { flight.deposit_again_at <= turn.now.moment } else { under_way < MAILBOX_REPLICAS };
                if flight.depositing.contains(&peer) || !due {
                    continue;
                }
                if envelopes.len() == ENVELOPES_PER_FRAME_MAX || (bytes > 0 && bytes + flight.size > FRAME_BATCH_BYTES)
                {
                    self.send_deposit(
                        &peer,
                        chat,
                        &grant,
                        sid,
                        std::mem::take(&mut batch),
                        std::mem::take(&mut envelopes),
                        turn,
                    );
                    bytes = 0;
                }
                let Some(record) = self.outbox_record(&chat, *seq, turn)? else { continue };
                bytes += record.envelope.len();
                batch.push((*seq, cid(&record.envelope)));
                envelopes.push(record.envelope);
                if let Some(flight) = self.outbox.flight_mut(&chat, *seq) {
                    flight.depositing.insert(peer.clone());
                }
            }
            if !envelopes.is_empty() {
                self.send_deposit(&peer, chat, &grant, sid, batch, envelopes, turn);
            }
        }
        Ok(())
    }

    /// True while a deposit of this conversation waits for the answer of this relay.
    fn depositing(&self, chat: &ChatId, peer: &PeerKey) -> bool {
        self.outbox.lane(chat).is_some_and(|lane| lane.flights.values().any(|f| f.depositing.contains(peer)))
    }

    /// A relay signed for copies.
    pub(super) fn held(
        &mut self,
        relay: &PeerKey,
        chat: ChatId,
        sid: QueueSid,
        seqs: &[(u64, Cid)],
        until: UnixTime,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        for (seq, _) in seqs {
            let Some(mut record) = self.outbox_entry(&chat, *seq, turn)? else { continue };
            let Some(flight) = self.outbox.flight_mut(&chat, *seq) else { continue };
            flight.depositing.remove(relay);
            flight.deposits += 1;
            flight.deposit_again_at = turn.now.moment.after_ms(deposit_pause_ms(flight.deposits));
            if flight.deposited.iter().any(|d| d.relay == *relay) {
                continue;
            }
            flight.deposited.push(Deposit { relay: relay.clone(), sid, until });
            let relays = u8::try_from(flight.deposited.len()).unwrap_or(u8::MAX);
            let latest = flight.deposited.iter().map(|d| d.until).max().unwrap_or(until);
            let (of, message) = (flight.group.unwrap_or(chat), flight.message);
            record.deposited.push(Deposited {
                relay: relay.0.clone(),
                sid: sid.0.to_vec(),
                until: until.0,
                collected: false,
            });
            turn.put_record(Table::Outbox, &entry_key(&chat, *seq), &record);
            if let Some(id) = message {
                self.raise(of, id, DeliveryState::Held { relays, until: latest }, Some(Path::Relay), turn)?;
                let hop = HopRecord {
                    at: turn.now.unix.0,
                    what: "held".to_owned(),
                    path: path_code(Some(Path::Relay)),
                    peer: relay.0.clone(),
                    until: until.0,
                };
                self.add_hop(&of, &id, hop, turn)?;
            }
        }
        Ok(())
    }

    /// Evidence that a message was committed by the other device.
    pub(super) fn delivered(
        &mut self,
        chat: ChatId,
        id: MessageId,
        path: Option<Path>,
        peer: Option<&PeerKey>,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        self.raise(chat, id, DeliveryState::Delivered { at: turn.now.unix }, path, turn)?;
        let hop = HopRecord {
            at: turn.now.unix.0,
            what: "delivered".to_owned(),
            path: path_code(path),
            peer: peer.map(|p| p.0.clone()).unwrap_or_default(),
            until: 0,
        };
        self.add_hop(&chat, &id, hop, turn)
    }

    /// Copies that relays still hold are not needed any more: the preimage says so to them, too.
    pub(super) fn purge_copies(&mut self, flight: &Flight, preimage: &Preimage, turn: &mut Turn) {
        for deposit in &flight.deposited {
            let ack = proto::Ack {
                p: vec![preimage.0.to_vec()],
                rid: deposit.sid.0.to_vec(),
                seqs: Vec::new(),
                sig: Vec::new(),
            };
            if self.relay_ready(&deposit.relay) {
                self.ask(&deposit.relay, super::relays::Asked::Other, proto::mbox_req::Op::Ack(ack), turn);
            }
        }
    }

    /// Takes back a message that has not arrived: its copies at relays go as well. True if it was still waiting.
    pub(super) fn recall(&mut self, chat: ChatId, id: MessageId, turn: &mut Turn) -> bool {
        let waiting = self.outbox.carrying(&chat, &id);
        for (lane, seq) in &waiting {
            let Some(flight) = self.drop_flight(lane, *seq, turn) else { continue };
            if let Some(preimage) = flight.preimage {
                self.purge_copies(&flight, &preimage, turn);
            }
        }
        !waiting.is_empty()
    }

    fn fail_expired(&mut self, chat: ChatId, turn: &mut Turn) -> Result<(), StoreError> {
        let Some(lane) = self.outbox.lane(&chat) else { return Ok(()) };
        let now = turn.now.unix;
        let over: Vec<u64> = lane.flights.iter().filter(|(_, f)| f.expires_at <= now).map(|(seq, _)| *seq).collect();
        let blocked = self.contacts.get(&chat).is_some_and(super::contacts::Contact::key_blocked);
        let reason = if blocked { FailReason::KeyChanged } else { FailReason::Expired };
        for seq in over {
            self.fail_flight(chat, seq, reason, turn)?;
        }
        Ok(())
    }

    /// Gives up everything that waits for a conversation, visibly.
    pub(super) fn fail_all(&mut self, chat: ChatId, reason: FailReason, turn: &mut Turn) -> Result<(), StoreError> {
        let seqs: Vec<u64> = self.outbox.lane(&chat).map(|l| l.flights.keys().copied().collect()).unwrap_or_default();
        for seq in seqs {
            self.fail_flight(chat, seq, reason, turn)?;
        }
        Ok(())
    }

    pub(super) fn fail_flight(
        &mut self,
        chat: ChatId,
        seq: u64,
        reason: FailReason,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let Some(flight) = self.drop_flight(&chat, seq, turn) else { return Ok(()) };
        let Some(id) = flight.message else { return Ok(()) };
        if let Some(group) = flight.group {
            return self.letter_failed(group, id, chat, reason, turn);
        }
        self.raise(chat, id, DeliveryState::Failed(reason), None, turn)?;
        let hop = HopRecord { at: turn.now.unix.0, what: "failed".to_owned(), ..HopRecord::default() };
        self.add_hop(&chat, &id, hop, turn)
    }

    fn jittered(&mut self, pause_ms: u64) -> u64 {
        let fifth = pause_ms / 5;
        pause_ms - fifth / 2 + self.chance.below(fifth + 1)
    }
}

/// A sealed envelope and the session that sealed it.
struct SealedBy {
    session: crate::ids::SessionId,
    sealed: crate::session::Sealed,
}

#[cfg(test)]
#[path = "outbound_tests.rs"]
mod tests;
