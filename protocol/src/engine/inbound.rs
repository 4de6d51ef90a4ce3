//! Envelopes that arrive, by whatever way, and what is in them.
//!
//! ```text
//!   tag ─▶ session window │ invite │ reset │ stored skipped key │ already opened │ unknown
//! ```
//! State advances only after everything verified; the receipt leaves after the commit, because sends follow writes.

use prost::Message;

use super::account::read_hint;
use super::records::state::{HopRecord, SeenRecord};
use super::timers::Timer;
use super::turn::Turn;
use super::{Engine, TagOwner, message_id};
use crate::conversation::{Changed, Poll, SlotAuthor, SlotOp, SlotOpKind, mention};
use crate::ids::{ChatId, LinkId, PeerKey, Preimage, SessionId, Tag};
use crate::limits::{SKIPPED_KEYS_MAX, SKIPPED_KEYS_PER_SESSION_MAX, TEXT_BYTES_MAX};
use crate::session::{SkippedKey, open_skipped, tag_of};
use crate::step::{ContactState, EventKind, FailReason, LiveEvent, Path, Reply};
use crate::store::{StoreError, Table};
use crate::time::{DAY_MS, UnixTime};
use crate::wire::envelope::Envelope;
use crate::wire::frame::Frame;
use crate::wire::invite::Aid20;
use crate::wire::padding::unpad;
use crate::wire::proto::{self, plain::Kind};

/// Three envelopes on a proven link whose tags match nothing mean that the session is out of step.
const UNKNOWN_TAGS_MAX: usize = 3;
/// How long an opened tag is remembered: longer than any envelope lives, so that a repetition is answered again.
const SEEN_MS: u64 = 45 * DAY_MS;
/// Windows are registered anew after this many messages: 48 of the 64 tags ahead are always there.
const REGISTER_STEP: u32 = 16;

/// What became of an envelope.
pub(super) enum Outcome {
    /// Opened and stored, now or earlier; the preimage says so to whoever carried it.
    Done {
        /// The receipt.
        preimage: Preimage,
    },
    /// Opened and stored, but its tag has no preimage.
    DoneUnnamed,
    /// Nobody's, or not yet anybody's: whoever holds it should keep it.
    Unknown,
    /// From somebody we do not answer.
    Dropped,
}

/// Where an envelope came from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    Link(LinkId),
    Mailbox,
    Courier,
}

impl Engine {
    /// Envelopes from the other end of a link; receipts go back the same way, to contacts only.
    pub(super) fn envelopes_arrived(
        &mut self,
        link: LinkId,
        envelopes: &[Vec<u8>],
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let mut receipts = Vec::new();
        for envelope in envelopes {
            match self.envelope(envelope, Source::Link(link), turn)? {
                Outcome::Done { preimage, .. } => receipts.push(preimage),
                Outcome::Unknown => self.unknown_on_link(link, envelope, turn)?,
                Outcome::DoneUnnamed | Outcome::Dropped => {}
            }
        }
        if !receipts.is_empty() {
            turn.frame(link, &Frame::Receipts(receipts));
        }
        Ok(())
    }

    fn unknown_on_link(&mut self, link: LinkId, envelope: &[u8], turn: &mut Turn) -> Result<(), StoreError> {
        let Some(chat) = self.links.get(&link).and_then(|l| l.chat) else { return Ok(()) };
        let Ok(parsed) = Envelope::parse(envelope) else { return Ok(()) };
        let Some(contact) = self.contacts.get_mut(&chat) else { return Ok(()) };
        contact.unknown_tags.insert(parsed.tag);
        if contact.unknown_tags.len() < UNKNOWN_TAGS_MAX {
            return Ok(());
        }
        contact.unknown_tags.clear();
        self.reset_session(chat, turn)
    }

    /// One envelope, from anywhere.
    pub(super) fn envelope(&mut self, bytes: &[u8], source: Source, turn: &mut Turn) -> Result<Outcome, StoreError> {
        let Ok(envelope) = Envelope::parse(bytes) else { return Ok(Outcome::Dropped) };
        let tag = envelope.tag;
        match self.tags.get(&tag).copied() {
            Some(TagOwner::Session(id, place)) => {
                let Some(live) = self.sessions.get(&id) else { return Ok(Outcome::Unknown) };
                let Ok(opened) = live.session.open(place, bytes, turn.now.unix, &mut self.chance) else {
                    return Ok(Outcome::Unknown); // a squatter copied the tag: the real one may still come
                };
                let chat = live.chat;
                if self.contacts.get(&chat).is_none_or(|c| c.state() == ContactState::Blocked) {
                    return Ok(Outcome::Dropped);
                }
                self.advance(id, tag, opened.session, opened.skipped, turn)?;
                self.remember_seen(&tag, &opened.preimage, &chat, turn);
                self.opened(chat, Some(id), &opened.plaintext, source, turn)?;
                Ok(Outcome::Done { preimage: opened.preimage })
            }
            Some(TagOwner::Invite(invite, n)) => self.first_contact(invite, n, bytes, turn),
            Some(TagOwner::Reset(chat, epoch)) => {
                let outcome = self.reset_arrived(chat, epoch, bytes, turn)?;
                if let Outcome::Done { preimage, .. } = &outcome {
                    self.remember_seen(&tag, preimage, &chat, turn);
                }
                Ok(outcome)
            }
            Some(TagOwner::Group(chat, place)) => self.open_letter(chat, place, bytes, source, turn),
            Some(TagOwner::Slice(chat, rekey)) => self.slice_arrived(chat, rekey, bytes, turn),
            None if self.has_letter(&tag, bytes) => Ok(Outcome::DoneUnnamed),
            None => self.late(&tag, bytes, source, turn),
        }
    }

    /// A tag outside all windows: overtaken, or opened before.
    fn late(&mut self, tag: &Tag, bytes: &[u8], source: Source, turn: &mut Turn) -> Result<Outcome, StoreError> {
        if let Some(stored) = turn.value(Table::Skipped, tag.as_bytes())? {
            let key = SkippedKey::decode(&stored).ok_or(StoreError::Damaged { table: Table::Skipped })?;
            let Ok(opened) = open_skipped(&key, bytes) else { return Ok(Outcome::Unknown) };
            let Some(chat) = self.sessions.get(&key.session()).map(|l| l.chat) else { return Ok(Outcome::Unknown) };
            if self.contacts.get(&chat).is_none_or(|c| c.state() == ContactState::Blocked) {
                return Ok(Outcome::Dropped);
            }
            self.drop_skipped(&key.session(), tag, turn);
            self.remember_seen(tag, &opened.preimage, &chat, turn);
            self.opened(chat, Some(key.session()), &opened.plaintext, source, turn)?;
            return Ok(Outcome::Done { preimage: opened.preimage });
        }
        if let Some(seen) = turn.record::<SeenRecord>(Table::Seen, tag.as_bytes())?
            && let (Some(preimage), Some(chat)) = (Preimage::read(&seen.preimage), ChatId::read(&seen.chat))
        {
            let answers = self
                .contacts
                .get(&chat)
                .is_some_and(|c| matches!(c.state(), ContactState::Active | ContactState::Member));
            return Ok(if answers { Outcome::Done { preimage } } else { Outcome::Dropped });
        }
        Ok(Outcome::Unknown)
    }

    pub(super) fn remember_seen(&mut self, tag: &Tag, preimage: &Preimage, chat: &ChatId, turn: &mut Turn) {
        let until = turn.now.unix.after_ms(SEEN_MS).0;
        let record = SeenRecord { preimage: preimage.0.to_vec(), until, chat: chat.0.to_vec() };
        turn.put_record(Table::Seen, tag.as_bytes(), &record);
    }

    /// Replaces a session by its advanced state, in memory and store.
    fn advance(
        &mut self,
        id: SessionId,
        used: Tag,
        session: crate::session::Session,
        skipped: Vec<(Tag, SkippedKey)>,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let position = session.receiving_position();
        let Some(live) = self.sessions.get_mut(&id) else { return Ok(()) };
        live.session = session;
        self.tags.remove(&used);
        let (chain, n) = live.registered;
        let moved = position.0 != chain || position.1 >= n.saturating_add(REGISTER_STEP);
        for (tag, key) in skipped {
            self.tags.skipped(tag);
            self.store_skipped(&id, tag, &key, turn);
        }
        if moved {
            self.register_tags(id);
        }
        self.save_session(&id, turn);
        Ok(())
    }

    /// Registers the tag windows of a session, if its contact may be read.
    pub(super) fn register_tags(&mut self, id: SessionId) {
        let Some(live) = self.sessions.get_mut(&id) else { return };
        let before = std::mem::take(&mut live.tags);
        for (tag, _) in &before {
            if matches!(self.tags.get(tag), Some(TagOwner::Session(of, _)) if *of == id) {
                self.tags.remove(tag);
            }
        }
        let readable = self.contacts.get(&live.chat).is_some_and(|c| c.state() != ContactState::Incoming);
        if !readable {
            return;
        }
        // While the chain stays the same, only what has come into the windows is computed.
        let position = live.session.receiving_position();
        let same_chain = position.0 == live.registered.0;
        let known = before.into_iter().filter(|_| same_chain).map(|(tag, place)| (place, tag)).collect();
        live.tags = live.session.tags_beyond(&known);
        // Some two hundred of each contact stay in memory.
        live.tags.shrink_to_fit();
        for (tag, place) in &live.tags {
            self.tags.insert(*tag, TagOwner::Session(id, *place));
        }
        live.registered = position;
    }

    fn store_skipped(&mut self, session: &SessionId, tag: Tag, key: &SkippedKey, turn: &mut Turn) {
        turn.put(Table::Skipped, tag.as_bytes(), key.encode());
        let of_session = self.skipped.entry(*session).or_default();
        of_session.push_back(tag);
        if of_session.len() > SKIPPED_KEYS_PER_SESSION_MAX
            && let Some(oldest) = of_session.pop_front()
        {
            turn.delete(Table::Skipped, oldest.as_bytes());
        }
        let total: usize = self.skipped.values().map(std::collections::VecDeque::len).sum();
        if total > SKIPPED_KEYS_MAX
            && let Some(largest) = self.skipped.values_mut().max_by_key(|list| list.len())
            && let Some(oldest) = largest.pop_front()
        {
            turn.delete(Table::Skipped, oldest.as_bytes());
        }
    }

    fn drop_skipped(&mut self, session: &SessionId, tag: &Tag, turn: &mut Turn) {
        turn.delete(Table::Skipped, tag.as_bytes());
        if let Some(list) = self.skipped.get_mut(session) {
            list.retain(|known| known != tag);
        }
    }

    /// Receipts from the other end of a link: evidence that it committed.
    pub(super) fn receipts_arrived(
        &mut self,
        link: LinkId,
        preimages: &[Preimage],
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let Some(state) = self.links.get(&link) else { return Ok(()) };
        let (path, peer) = (Some(Path::Direct(state.route)), state.peer.clone());
        for preimage in preimages {
            self.receipt(preimage, path, Some(&peer), turn)?;
        }
        Ok(())
    }

    /// A preimage proves that the recipient's device has committed the envelope with its tag.
    pub(super) fn receipt(
        &mut self,
        preimage: &Preimage,
        path: Option<Path>,
        peer: Option<&PeerKey>,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let Some((chat, seq)) = self.outbox.find(&tag_of(preimage)) else { return Ok(()) };
        let Some(flight) = self.drop_flight(&chat, seq, turn) else { return Ok(()) };
        if let Some(live) = self.sessions.get_mut(&flight.session)
            && !flight.first_contact
        {
            live.session.receipt(crate::session::SentPlace { chain: flight.chain, n: flight.n });
            self.save_session(&flight.session, turn);
        }
        if let Some(id) = flight.message {
            self.delivered(chat, id, path, peer, turn)?;
        }
        if path == Some(Path::Relay) || !flight.deposited.is_empty() {
            self.purge_copies(&flight, preimage, turn);
        }
        if flight.sprayed > 0 && path != Some(Path::Courier) {
            // Carriers still walk about with copies that nobody needs.
            self.publish_later(*preimage, flight.expires_at, turn);
        }
        self.feed(chat, turn)
    }

    /// A decrypted, padded plaintext from a session of this conversation.
    pub(super) fn opened(
        &mut self,
        chat: ChatId,
        session: Option<SessionId>,
        padded: &[u8],
        source: Source,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        // What a peer sealed badly is theirs: the envelope is spent, nothing is shown.
        let Some(plain) = unpad(padded).and_then(|bytes| proto::Plain::decode(bytes).ok()) else { return Ok(()) };
        self.answered(chat, session, turn)?;
        self.apply(chat, plain, source, turn)
    }

    /// Whatever they send shows that they have read our handshake.
    fn answered(&mut self, chat: ChatId, session: Option<SessionId>, turn: &mut Turn) -> Result<(), StoreError> {
        let Some(lane) = self.outbox.lane(&chat) else { return self.became_active(chat, turn) };
        let first: Vec<u64> = lane
            .flights
            .iter()
            .filter(|(_, f)| f.first_contact && Some(f.session) == session)
            .map(|(seq, _)| *seq)
            .collect();
        for seq in first {
            self.drop_flight(&chat, seq, turn);
        }
        self.became_active(chat, turn)
    }

    fn became_active(&mut self, chat: ChatId, turn: &mut Turn) -> Result<(), StoreError> {
        let Some(contact) = self.contacts.get_mut(&chat) else { return Ok(()) };
        if contact.state() != ContactState::Requested {
            return Ok(());
        }
        let state = contact.settled_state();
        contact.set_state(state);
        contact.rec.invite_link.clear();
        self.save_contact(&chat, turn);
        self.vouch_for(&chat, turn);
        self.register_reset_tags(chat);
        if state == ContactState::Active {
            turn.event(Some(chat), None, EventKind::ContactAccepted);
            turn.event(Some(chat), None, EventKind::ContactAdded);
        }
        let Some(bundle) = self.own.as_ref().and_then(|own| own.bundle(turn.now.unix)) else { return Ok(()) };
        let update = proto::BundleUpdate { bundles: vec![bundle] };
        self.queue_control(chat, Kind::Bundle(update), crate::limits::CONTROL_TTL_MS, turn)?;
        self.hello_again(turn)
    }

    /// By which way something came.
    pub(super) fn path_from(&self, source: Source) -> Path {
        match source {
            Source::Link(link) => Path::Direct(self.links.get(&link).map_or(crate::input::Route::Direct, |l| l.route)),
            Source::Mailbox => Path::Relay,
            Source::Courier => Path::Courier,
        }
    }

    /// Applies one content item of an authenticated contact.
    fn apply(&mut self, chat: ChatId, plain: proto::Plain, source: Source, turn: &mut Turn) -> Result<(), StoreError> {
        let path = self.path_from(source);
        self.see_lamport(&chat, plain.lamport, turn);
        let Some(kind) = plain.kind.clone() else { return Ok(()) };
        match kind {
            Kind::Text(text) => self.text_arrived(chat, SlotAuthor::Peer, &plain, text, path, turn),
            Kind::Edit(_) | Kind::React(_) | Kind::Delete(_) | Kind::Pin(_) | Kind::Vote(_) => {
                self.operation_arrived(chat, SlotAuthor::Peer, &plain, kind, turn)
            }
            Kind::Receipt(receipt) => self.read_by_them(chat, &receipt, turn),
            Kind::Typing(typing) => {
                turn.live(LiveEvent::Typing { chat, on: typing.on });
                Ok(())
            }
            Kind::Beat(beat) => {
                let online = beat.state == 1;
                if let Some(contact) = self.contacts.get_mut(&chat)
                    && contact.beat != online
                {
                    contact.beat = online;
                    turn.live(LiveEvent::Presence { chat, online });
                }
                Ok(())
            }
            Kind::Profile(update) => {
                self.profile_arrived(chat, update.profile.as_ref(), update.presence.as_ref(), turn);
                Ok(())
            }
            Kind::Decision(decision) => self.decision_arrived(chat, decision, turn),
            Kind::Bundle(update) => {
                if let Some(bundle) = update.bundles.first() {
                    self.bundle_arrived(chat, bundle, turn);
                }
                Ok(())
            }
            Kind::Mailbox(update) => self.mailboxes_arrived(chat, update.grants, update.peers, update.rev, turn),
            Kind::Log(update) => {
                self.log_grew(chat, &update.entries, turn);
                Ok(())
            }
            Kind::Retention(proposal) => self.retention_arrived(chat, &proposal, turn),
            Kind::Ping(ping) => self.ping_arrived(chat, ping, path, turn),
            Kind::Group(ctl) => self.group_ctl_arrived(chat, ctl, turn),
            Kind::Channel(_) => Ok(()), // counts in posts only
            Kind::Reset(_) => Ok(()),   // resets travel as handshakes; this kind is reserved
        }
    }

    pub(super) fn text_arrived(
        &mut self,
        chat: ChatId,
        author: SlotAuthor,
        plain: &proto::Plain,
        text: proto::Text,
        path: Path,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let Some(id) = message_id(&plain.msg_id) else { return Ok(()) };
        if text.body.is_empty() || text.body.len() > TEXT_BYTES_MAX || self.gone(&chat, &id, turn)? {
            return Ok(());
        }
        let reply_to = message_id(&text.reply_to);
        let mentions = match author {
            SlotAuthor::Member(_) => mention::read(&text.spans, &text.body),
            SlotAuthor::Me | SlotAuthor::Peer => Vec::new(),
        };
        let poll = text.poll.and_then(Poll::read);
        let own = self.own.as_ref().map(|own| Aid20::of(&own.aid()));
        let mentions_me = mentions.iter().any(|mention| Some(mention.account) == own);
        let op = SlotOp {
            author,
            lamport: plain.lamport,
            ts: UnixTime(plain.ts_ms),
            op_id: id,
            kind: SlotOpKind::Text { body: text.body.clone(), reply_to, expire_s: plain.expire_s, mentions, poll },
        };
        if self.apply_op(chat, id, &op, Some(path), turn)? != Changed::Appeared {
            return Ok(());
        }
        let hop = HopRecord {
            at: turn.now.unix.0,
            what: "received".to_owned(),
            path: crate::conversation::path_code(Some(path)),
            ..HopRecord::default()
        };
        self.add_hop(&chat, &id, hop, turn)?;
        self.list_pin(chat, id, turn)?;
        let muted = self.stir(chat, turn);
        let sent_at = UnixTime(plain.ts_ms);
        turn.event(
            Some(chat),
            Some(id),
            EventKind::MessageReceived {
                body: text.body,
                sent_at,
                reply_to,
                path,
                author: author.member(),
                mentions_me,
                muted,
            },
        );
        Ok(())
    }

    fn profile_arrived(
        &mut self,
        chat: ChatId,
        profile: Option<&proto::Profile>,
        presence: Option<&proto::Presence>,
        turn: &mut Turn,
    ) {
        let Some(contact) = self.contacts.get_mut(&chat) else { return };
        let changed = profile.is_some_and(|p| contact.set_profile(p));
        if let Some(presence) = presence.filter(|p| p.blind_vk.len() == 32 && p.k_pres.len() == 32) {
            contact.set_presence(presence);
        }
        self.save_contact(&chat, turn);
        if changed {
            turn.event(Some(chat), None, EventKind::ContactUpdated);
        }
    }

    fn bundle_arrived(&mut self, chat: ChatId, bundle: &proto::PrekeyBundle, turn: &mut Turn) {
        let Some(contact) = self.contacts.get_mut(&chat) else { return };
        let (Some(aid), Ok(dik)) = (contact.aid(), crate::crypto::ed25519::VerifyingKey::read(&contact.rec.dik)) else {
            return;
        };
        let today = turn.now.unix.day_2024();
        if crate::session::PeerPrekeys::read(aid, &contact.rec.device_cert, &dik, bundle, today).is_ok() {
            contact.rec.bundle = bundle.encode_to_vec();
            self.save_contact(&chat, turn);
        }
    }

    fn decision_arrived(&mut self, chat: ChatId, decision: proto::Decision, turn: &mut Turn) -> Result<(), StoreError> {
        if !decision.accepted {
            return self.fail_all(chat, FailReason::Refused, turn);
        }
        self.profile_arrived(chat, decision.profile.as_ref(), decision.presence.as_ref(), turn);
        if let Some(bundle) = &decision.bundle {
            self.bundle_arrived(chat, bundle, turn);
        }
        if !decision.log.is_empty() {
            self.log_grew(chat, &decision.log, turn);
        }
        self.mailboxes_arrived(chat, decision.grants, decision.peers, decision.rev, turn)
    }

    /// Where the contact takes mail from now on. The whole list; a higher revision wins.
    fn mailboxes_arrived(
        &mut self,
        chat: ChatId,
        grants: Vec<proto::MailboxGrant>,
        peers: Vec<proto::PeerHint>,
        rev: u64,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let Some(contact) = self.contacts.get_mut(&chat) else { return Ok(()) };
        if rev <= contact.rec.grants_rev {
            return Ok(());
        }
        contact.rec.grants_rev = rev;
        if !grants.is_empty() {
            contact.set_grants(grants);
        }
        let peers: Vec<_> = peers.iter().filter_map(read_hint).collect();
        let known = contact.peers.clone();
        if !peers.is_empty() {
            contact.set_peers(peers);
        }
        let moved = contact.peers != known;
        self.save_contact(&chat, turn);
        if moved && self.best_link(&chat).is_none() {
            // The next attempt was planned for addresses that lead nowhere.
            self.timers.set_earlier(Timer::FindContact(chat), turn.now.moment);
        }
        self.meet_relays_of(&chat, turn);
        self.ensure_queues(chat, turn)?;
        self.drive_all(chat, turn)
    }

    fn ping_arrived(&mut self, chat: ChatId, ping: proto::Ping, path: Path, turn: &mut Turn) -> Result<(), StoreError> {
        if !ping.answer {
            let answer = proto::Ping { nonce: ping.nonce, answer: true };
            return self.send_live(chat, Kind::Ping(answer), turn);
        }
        if let Some((request, sent)) = self.ping_of(&chat, &ping.nonce) {
            let rtt_ms = turn.now.moment.0.saturating_sub(sent.0);
            self.settle(request, Ok(Reply::Pong { rtt_ms, path }), turn);
        }
        Ok(())
    }
}
