//! First contact and session resets: both are one sealed envelope that needs no answer to be useful.
//!
//! Both are boxed by [`first_contact::seal_box`]. The box key comes from the invite secret (first contact) or from the static secret of the pair (reset), so that
//! a relay sees the same random bytes as in any other envelope.

use prost::Message;

use super::account::read_hint;
use super::contacts::Contact;
use super::inbound::Outcome;
use super::outbound::Errand;
use super::records::state::{ContactRecord, OutboxRecord};
use super::turn::Turn;
use super::{Engine, Live, TagOwner};
use crate::crypto::hash::cid;
use crate::crypto::kdf::kdf;
use crate::crypto::secret::Secret;
use crate::delivery::outbox::{Departure, Flight, entry_key};
use crate::identity::card::{self, VerifiedCard};
use crate::identity::device_log::DeviceLog;
use crate::ids::{AccountId, ChatId, InviteId, LinkId, Preimage, SessionId, Tag};
use crate::input::InviteKind;
use crate::limits::{
    CONTACTS_MAX, FIRST_CONTACT_TTL_MS, HELLO_BYTES_MAX, PENDING_REQUESTS_MAX, SESSION_RESET_EVERY_MS, TEXT_TTL_MS,
};
use crate::session::OwnPrekeys;
use crate::session::first_contact::BOX_OVERHEAD;
use crate::session::handshake::{self, Initiator, Responder};
use crate::session::{PeerPrekeys, Session, TagPlace, first_contact, pair};
use crate::step::{ContactState, DeliveryState, EventKind, FailReason};
use crate::store::{StoreError, Table};
use crate::time::UnixTime;
use crate::wire::envelope::{Class, Envelope, EnvelopeHead};
use crate::wire::{padding, proto};

/// First-contact envelopes are padded to multiples of this.
const INIT_PAD_BYTES: usize = 1_024;

/// What a handshake envelope is addressed with.
enum Address {
    /// By an invitation we follow.
    Invite { box_key: Secret<32>, psk: Secret<32>, tag: Tag, preimage: Option<Preimage> },
    /// By the static secret of an existing contact.
    Pair { box_key: Secret<32>, psk: Secret<32>, tag: Tag, preimage: Preimage },
}

impl Engine {
    /// A sealed card arrived, from a relay or over a link.
    pub(super) fn card_arrived(
        &mut self,
        link: Option<LinkId>,
        blob_id: &[u8],
        sealed: &[u8],
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let by_radio = link.and_then(|link| self.wanted_by_radio(blob_id, link));
        let stranger = by_radio.is_some();
        let wanted = by_radio.or_else(|| {
            self.contacts.keys().copied().find_map(|chat| {
                let code = self.wanted_card(&chat)?;
                (code.keys().blob_id.as_bytes() == blob_id).then_some((chat, code))
            })
        });
        let Some((chat, code)) = wanted else { return Ok(()) };
        if stranger && sealed.is_empty() {
            return Ok(()); // anybody near can say no; only the card itself proves who has made the invitation
        }
        if sealed.is_empty() {
            return self.refuse_contact(chat, turn);
        }
        let keys = code.keys();
        // A card that does not verify is the sender's fault, whoever it is: keep looking.
        let Ok(card) = card::open_card(&keys.card, sealed, &code.aid20) else { return Ok(()) };
        let Some(bundle) = card.bundles.first().cloned() else { return Ok(()) };
        if !self.adopt_card(chat, &card) {
            return Ok(());
        }
        if let Some(state) = link.and_then(|link| self.links.get_mut(&link)) {
            state.brought = Some(chat);
        }
        let (tag, preimage) = match code.kind {
            InviteKind::OneTime => {
                let (tag, preimage) = first_contact::one_time_tag(&keys.first_contact, 0);
                (tag, Some(preimage))
            }
            InviteKind::Reusable => {
                let slot = u32::try_from(self.chance.below(1_024)).unwrap_or(0);
                (first_contact::reusable_tag(&keys.first_contact, slot), None)
            }
        };
        let box_key = kdf(keys.first_contact.expose(), &[], "silbo/1/init-box");
        let address = Address::Invite { box_key, psk: keys.psk.clone(), tag, preimage };
        self.meet_relays_of(&chat, turn);
        self.ensure_queues(chat, turn)?;
        if self.initiate(chat, &bundle, address, turn)? {
            self.seal_waiting(chat, turn)?;
            self.ask_to_join(turn)?;
            turn.event(Some(chat), None, EventKind::ContactUpdated);
            self.hello_again(turn)?;
            self.drive_all(chat, turn)?;
        }
        Ok(())
    }

    /// Takes over what a verified card says about a contact.
    fn adopt_card(&mut self, chat: ChatId, card: &VerifiedCard) -> bool {
        let Some(own) = &self.own else { return false };
        let Some(old) = self.contacts.get(&chat) else { return false };
        let mut rec = old.rec.clone();
        if !adopt_log(&mut rec, &card.log) {
            return false;
        }
        if let Some(presence) = &card.presence {
            rec.presence = presence.encode_to_vec();
        }
        let Some(mut contact) = Contact::read(rec, own) else { return false };
        contact.set_grants(card.mailboxes.clone());
        let mut peers: Vec<_> = card.peers.iter().filter_map(read_hint).collect();
        peers.extend(
            contact
                .peers
                .iter()
                .filter(|known| !card.peers.iter().any(|p| p.peer == known.peer.0))
                .cloned()
                .collect::<Vec<_>>(),
        );
        contact.set_peers(peers);
        contact.set_profile(&card.profile);
        self.contacts.insert(chat, contact);
        true
    }

    /// Seals a handshake to a contact and makes its session the sending one.
    fn initiate(
        &mut self,
        chat: ChatId,
        bundle: &proto::PrekeyBundle,
        address: Address,
        turn: &mut Turn,
    ) -> Result<bool, StoreError> {
        let epoch = self.contacts.get(&chat).map_or(1, |c| c.rec.epoch + 1);
        let (Some(own), Some(contact)) = (&self.own, self.contacts.get(&chat)) else { return Ok(false) };
        let Some(peer_aid) = contact.aid() else { return Ok(false) };
        let today = turn.now.unix.day_2024();
        let Ok(dik) = crate::crypto::ed25519::VerifyingKey::read(&contact.rec.dik) else { return Ok(false) };
        let Ok(peer) = PeerPrekeys::read(peer_aid, &contact.rec.device_cert, &dik, bundle, today) else {
            return Ok(false);
        };
        let identity = proto::InitIdentity {
            aid: own.aid().0.to_vec(),
            log: own.account.log().entries().to_vec(),
            device_id: own.account.device_id().0.to_vec(),
            bundle: None,
            reply_to: self.grants_for(&chat),
            hello: String::new(),
            profile: Some(own.profile(false)),
            presence: Some(own.presence.public()),
            epoch,
            peers: self.address.iter().map(|a| super::account::hint(a, 0)).collect(),
        };
        let me = Initiator { aid: own.aid(), ddh: own.account.ddh() };
        let (box_key, psk, tag, preimage) = match address {
            Address::Invite { box_key, psk, tag, preimage } => (box_key, psk, tag, preimage),
            Address::Pair { box_key, psk, tag, preimage } => (box_key, psk, tag, Some(preimage)),
        };
        let now = turn.now.unix;
        let identity = identity.encode_to_vec();
        let Ok((mut init, mut session, id)) = handshake::initiate(&me, &peer, &psk, &identity, &mut self.chance) else {
            return Ok(false);
        };
        session.epoch = epoch;
        session.set_created_at(now);
        // The first message travels inside: having opened it, the responder can write back at once.
        let head = EnvelopeHead::new(Class::Control, FIRST_CONTACT_TTL_MS, now, &mut self.chance).encode();
        let greeting = proto::Plain { ts_ms: now.0, ..proto::Plain::default() }.encode_to_vec();
        let Ok(padded) = padding::pad(padding::PadClass::Constrained, &greeting, 0) else { return Ok(false) };
        let Ok(first) = session.seal(head, &padded, own.account.log().head3(), now, &mut self.chance) else {
            return Ok(false);
        };
        init.first = first.envelope;
        let envelope = seal_init(&init, &box_key, &tag, turn.now.unix, &mut self.chance);
        self.adopt_session(chat, id, session, epoch, turn);
        let departure = Departure {
            tag,
            cid: cid(&envelope),
            size: envelope.len(),
            class: Class::Control,
            created_at: turn.now.unix,
            expires_at: turn.now.unix.after_ms(TEXT_TTL_MS),
        };
        let flight = Flight { preimage, session: id, first_contact: true, ..Flight::new(departure) };
        self.store_flight(chat, flight, envelope, Vec::new(), turn);
        Ok(true)
    }

    /// Makes a session known; it becomes the sending one if its epoch is higher, or equal with the lower id
    /// (both sides started at once). The other one stays readable.
    fn adopt_session(&mut self, chat: ChatId, id: SessionId, session: Session, epoch: u32, turn: &mut Turn) {
        self.sessions.insert(id, Live { chat, session, tags: Vec::new(), registered: (0, 0) });
        self.save_session(&id, turn);
        let Some(contact) = self.contacts.get_mut(&chat) else { return };
        let wins = match contact.session() {
            None => true,
            Some(current) => epoch > contact.rec.epoch || (epoch == contact.rec.epoch && id < current),
        };
        if wins {
            let old = std::mem::replace(&mut contact.rec.session, id.0.to_vec());
            if !old.is_empty() {
                contact.rec.archived.push(old);
            }
            contact.rec.epoch = contact.rec.epoch.max(epoch);
        } else {
            contact.rec.archived.push(id.0.to_vec());
        }
        self.save_contact(&chat, turn);
        self.register_tags(id);
        self.register_reset_tags(chat);
    }

    /// A first contact by one of our invites.
    pub(super) fn first_contact(
        &mut self,
        invite: InviteId,
        n: u32,
        envelope: &[u8],
        turn: &mut Turn,
    ) -> Result<Outcome, StoreError> {
        let Some(found) = self.invites.get(&invite) else { return Ok(Outcome::Unknown) };
        let kind = found.kind();
        let preimage = match kind {
            InviteKind::OneTime => Some(first_contact::one_time_tag(&found.keys.first_contact, n).1),
            InviteKind::Reusable => None,
        };
        let done = || match preimage {
            Some(preimage) => Outcome::Done { preimage },
            None => Outcome::DoneUnnamed,
        };
        let box_key = kdf(found.keys.first_contact.expose(), &[], "silbo/1/init-box");
        let Some(init) = open_init(envelope, &box_key) else { return Ok(Outcome::Unknown) };
        let psk = found.keys.psk.clone();
        let may = found.open(turn.now.unix);
        let own_prekeys = found.prekeys.clone();
        let Some(met) = self.respond(&init, &own_prekeys, &psk, turn) else { return Ok(Outcome::Unknown) };
        let chat = met.aid.chat();
        if self.sessions.contains_key(&met.id) {
            return Ok(done()); // a repetition: our answer was lost
        }
        let state = self.contacts.get(&chat).map(Contact::state);
        let refused = turn.value(Table::Pending, chat.as_bytes())?.is_some() && kind == InviteKind::Reusable;
        if !may || refused || state == Some(ContactState::Blocked) {
            return Ok(Outcome::Dropped);
        }
        let pending = self.contacts.values().filter(|c| c.state() == ContactState::Incoming).count();
        let known = state.is_some();
        if !known
            && (self.contacts.len() >= CONTACTS_MAX
                || (kind == InviteKind::Reusable && pending >= PENDING_REQUESTS_MAX))
        {
            return Ok(Outcome::Unknown);
        }
        if !self.adopt_identity(chat, &met, invite, turn) {
            return Ok(Outcome::Dropped);
        }
        let group = self.invites.get(&invite).and_then(|found| found.group());
        if let Some(group) = group
            && !known
            && let Some(contact) = self.contacts.get_mut(&chat)
        {
            contact.rec.group = group.0.to_vec();
        }
        if let Some(found) = self.invites.get_mut(&invite) {
            found.rec.used += 1;
            // The one-time key is gone with its one use: what it protected cannot be recomputed from our disk.
            found.prekeys.drop_one_time();
            found.rec.prekeys = found.prekeys.encode();
        }
        self.save_invite(&invite, turn);
        let expected = matches!(state, Some(ContactState::Active | ContactState::Requested | ContactState::Member))
            || kind == InviteKind::OneTime
            || group.is_some();
        self.adopt_session(chat, met.id, met.session, met.identity.epoch.max(1), turn);
        if kind == InviteKind::OneTime {
            self.hand_over_queues(invite, chat, turn);
            self.close_invite(invite, false, turn);
            self.forget_invite_tags(&invite);
            if let (Ok(envelope), Some(preimage)) = (Envelope::parse(envelope), preimage) {
                self.remember_seen(&envelope.tag, &preimage, &chat, turn);
            }
        }
        if expected {
            self.accept_contact(chat, turn)?;
        } else {
            let (name, hello) =
                self.contacts.get(&chat).map(|c| (c.rec.name.clone(), c.rec.hello.clone())).unwrap_or_default();
            turn.event(Some(chat), None, EventKind::ContactRequest { name, hello });
        }
        Ok(done())
    }

    /// A contact sets up the session anew.
    pub(super) fn reset_arrived(
        &mut self,
        chat: ChatId,
        epoch: u32,
        envelope: &[u8],
        turn: &mut Turn,
    ) -> Result<Outcome, StoreError> {
        let (Some(own), Some(contact)) = (&self.own, self.contacts.get(&chat)) else { return Ok(Outcome::Unknown) };
        let (Some(pair_key), Some(peer_aid)) = (&contact.pair, contact.aid()) else { return Ok(Outcome::Unknown) };
        let (box_key, psk) = reset_keys(pair_key);
        let (_, preimage) = pair::reset_tag(pair_key, &peer_aid, &own.aid(), epoch, 0);
        let Some(init) = open_init(envelope, &box_key) else { return Ok(Outcome::Unknown) };
        let candidates = own.prekeys.clone();
        for prekeys in candidates.iter().rev().filter(|p| p.answers(&init)) {
            let Some(met) = self.respond(&init, prekeys, &psk, turn) else { continue };
            if met.aid.chat() != chat || met.identity.epoch != epoch {
                return Ok(Outcome::Dropped);
            }
            if self.sessions.contains_key(&met.id) {
                // The same reset by another way: taking it again would turn the session back and use its keys twice.
                return Ok(Outcome::Done { preimage });
            }
            let key_before = self.contacts.get(&chat).map(|c| c.rec.dik.clone()).unwrap_or_default();
            if !self.adopt_identity(chat, &met, InviteId([0; 8]), turn) {
                return Ok(Outcome::Dropped);
            }
            if self.contacts.get(&chat).is_some_and(|c| c.rec.dik != key_before) {
                self.key_changed(chat, turn);
            }
            self.adopt_session(chat, met.id, met.session, epoch, turn);
            turn.event(Some(chat), None, EventKind::SessionReset);
            self.seal_anew(chat, turn)?;
            return Ok(Outcome::Done { preimage });
        }
        Ok(Outcome::Unknown)
    }

    fn key_changed(&mut self, chat: ChatId, turn: &mut Turn) {
        if let Some(contact) = self.contacts.get_mut(&chat) {
            contact.rec.key_changed = true;
            self.save_contact(&chat, turn);
            turn.event(Some(chat), None, EventKind::ContactKeyChanged);
        }
    }

    /// The log of a contact grew. A changed device or root is a changed key.
    pub(super) fn log_grew(&mut self, chat: ChatId, entries: &[proto::Signed], turn: &mut Turn) {
        let Some(contact) = self.contacts.get(&chat) else { return };
        let Some(mut log) = contact.log() else { return };
        if log.merge(entries).is_err() {
            return;
        }
        let mut rec = contact.rec.clone();
        let before = rec.dik.clone();
        rec.log = log.entries().iter().map(Message::encode_to_vec).collect();
        let still_there = log.live_devices().iter().any(|d| d.dik.as_bytes() == before.as_slice());
        if let Some(contact) = self.contacts.get_mut(&chat) {
            let grew = contact.rec.log != rec.log;
            contact.rec = rec;
            self.save_contact(&chat, turn);
            if grew && !still_there {
                self.key_changed(chat, turn);
            }
        }
    }

    /// The handshake as far as it can go without trust: identity decrypted, log verified, keys agreed.
    fn respond(&mut self, init: &proto::InitBlock, prekeys: &OwnPrekeys, psk: &Secret<32>, turn: &Turn) -> Option<Met> {
        let own = self.own.as_ref()?;
        let me = Responder { aid: own.aid(), cert: own.account.device_cert_bytes(), ddh: own.account.ddh() };
        let half = handshake::respond_identity(prekeys, &me, psk, init).ok()?;
        let identity = proto::InitIdentity::decode(half.identity()).ok()?;
        let log = DeviceLog::read(&identity.log).ok()?;
        let aid = AccountId::read(&identity.aid)?;
        if log.aid() != aid || aid == own.aid() || identity.hello.len() > HELLO_BYTES_MAX {
            return None;
        }
        let device = log.live_devices().iter().find(|d| d.id.0 == identity.device_id.as_slice())?.clone();
        let (session, id) = half.finish(&aid, &device.ddh).ok()?;
        let first_tag = Envelope::parse(&init.first).ok()?.tag;
        let place: TagPlace = session.tags().into_iter().find(|(tag, _)| *tag == first_tag)?.1;
        // Opening the first message is what proves the claimed identity.
        let mut session = session.open(place, &init.first, turn.now.unix, &mut self.chance).ok()?.session;
        session.epoch = identity.epoch;
        session.set_created_at(turn.now.unix);
        Some(Met { id, session, aid, log, identity })
    }

    /// Takes over what a verified handshake says about its sender.
    fn adopt_identity(&mut self, chat: ChatId, met: &Met, invite: InviteId, turn: &mut Turn) -> bool {
        let Some(own) = &self.own else { return false };
        let mut rec = match self.contacts.get(&chat) {
            Some(contact) => contact.rec.clone(),
            None => ContactRecord {
                state: 1, // incoming, until somebody decides
                read_receipts: true,
                typing: true,
                added_at: turn.now.unix.0,
                ..ContactRecord::default()
            },
        };
        let device = DeviceIdBytes(met.identity.device_id.clone());
        if !adopt_device(&mut rec, &met.log, Some(&device)) {
            return false;
        }
        rec.hello = met.identity.hello.clone();
        if let Some(presence) = &met.identity.presence {
            rec.presence = presence.encode_to_vec();
        }
        if invite.0 != [0; 8] {
            rec.invite_id = invite.0.to_vec();
        }
        let old = self.contacts.remove(&chat);
        let Some(mut contact) = Contact::read(rec, own) else {
            if let Some(old) = old {
                self.contacts.insert(chat, old);
            }
            return false;
        };
        if let Some(old) = old {
            contact.reset_tags = old.reset_tags;
        }
        contact.set_grants(met.identity.reply_to.clone());
        contact.set_peers(met.identity.peers.iter().filter_map(read_hint).collect());
        if let Some(profile) = &met.identity.profile {
            contact.set_profile(profile);
        }
        self.contacts.insert(chat, contact);
        self.chats.entry(chat).or_default();
        self.save_contact(&chat, turn);
        self.save_chat(&chat, turn);
        true
    }

    /// From now on both sides can write: says so with everything they need from us.
    pub(super) fn accept_contact(&mut self, chat: ChatId, turn: &mut Turn) -> Result<(), StoreError> {
        let Some(contact) = self.contacts.get_mut(&chat) else { return Ok(()) };
        let was = contact.state();
        let state = contact.settled_state();
        contact.set_state(state);
        contact.rec.invite_link.clear();
        self.save_contact(&chat, turn);
        self.vouch_for(&chat, turn);
        if state == ContactState::Active && was != state {
            turn.event(Some(chat), None, EventKind::ContactAdded);
        }
        let sessions: Vec<SessionId> =
            self.sessions.iter().filter(|(_, l)| l.chat == chat).map(|(id, _)| *id).collect();
        for id in sessions {
            self.register_tags(id);
        }
        self.register_reset_tags(chat);
        self.meet_relays_of(&chat, turn);
        self.ensure_queues(chat, turn)?;
        self.welcome(chat, turn)?;
        self.hello_again(turn)?;
        self.refetch(turn);
        self.timers.set(super::Timer::FindContact(chat), turn.now.moment);
        Ok(())
    }

    fn welcome(&mut self, chat: ChatId, turn: &mut Turn) -> Result<(), StoreError> {
        let grants = self.grants_for(&chat);
        let rev = self.bump_told(chat, &grants, turn);
        let Some(own) = &self.own else { return Ok(()) };
        let decision = proto::Decision {
            accepted: true,
            profile: Some(own.profile(true)),
            bundle: own.bundle(turn.now.unix),
            grants,
            rev,
            peers: self.address.iter().map(|a| super::account::hint(a, 0)).collect(),
            presence: Some(own.presence.public()),
            log: Vec::new(),
        };
        self.queue_control(chat, proto::plain::Kind::Decision(decision), FIRST_CONTACT_TTL_MS, turn)
    }

    /// Sets up the session with a contact anew, at most once a day, and seals what waits for it again.
    pub(super) fn reset_session(&mut self, chat: ChatId, turn: &mut Turn) -> Result<(), StoreError> {
        let (Some(own), Some(contact)) = (&self.own, self.contacts.get(&chat)) else { return Ok(()) };
        let too_soon = contact.rec.last_reset_at.saturating_add(SESSION_RESET_EVERY_MS) > turn.now.unix.0;
        if !matches!(contact.state(), ContactState::Active | ContactState::Member) || too_soon || contact.key_blocked()
        {
            return Ok(());
        }
        let (Some(pair_key), Some(peer_aid)) = (&contact.pair, contact.aid()) else { return Ok(()) };
        let Ok(bundle) = proto::PrekeyBundle::decode(contact.rec.bundle.as_slice()) else { return Ok(()) };
        let (box_key, psk) = reset_keys(pair_key);
        let (tag, preimage) = pair::reset_tag(pair_key, &own.aid(), &peer_aid, contact.rec.epoch + 1, 0);
        if self.initiate(chat, &bundle, Address::Pair { box_key, psk, tag, preimage }, turn)? {
            if let Some(contact) = self.contacts.get_mut(&chat) {
                contact.rec.last_reset_at = turn.now.unix.0;
                contact.unknown_tags.clear();
            }
            self.save_contact(&chat, turn);
            turn.event(Some(chat), None, EventKind::SessionReset);
            self.seal_anew(chat, turn)?;
            self.drive_all(chat, turn)?;
        }
        Ok(())
    }

    /// Seals waiting mail again under the current session: the other side cannot open the old one any more.
    /// The message ids stay, so that a copy which arrived after all is not shown twice.
    fn seal_anew(&mut self, chat: ChatId, turn: &mut Turn) -> Result<(), StoreError> {
        let Some(current) = self.contacts.get(&chat).and_then(Contact::session) else { return Ok(()) };
        let Some(lane) = self.outbox.lane(&chat) else { return Ok(()) };
        let stale: Vec<u64> = lane
            .flights
            .iter()
            .filter(|(_, f)| f.of_session() && f.session != current && !f.first_contact)
            .map(|(seq, _)| *seq)
            .collect();
        for seq in stale {
            let Some(record) = self.outbox_entry(&chat, seq, turn)? else { continue };
            let (no_infra, carried) =
                self.drop_flight(&chat, seq, turn).map_or((false, true), |f| (f.no_infra, f.carried));
            let message = crate::ids::MessageId::read(&record.message);
            let errand = Errand { message, expires_at: UnixTime(record.expires_at), no_infra, carried };
            if self.seal_and_queue(chat, &record.plain, errand, turn)?.is_err()
                && let Some(id) = message
            {
                self.raise(chat, id, DeliveryState::Failed(FailReason::Expired), None, turn)?;
            }
        }
        Ok(())
    }

    /// Registers the tags by which a contact may set up the session anew.
    pub(super) fn register_reset_tags(&mut self, chat: ChatId) {
        let (Some(own), Some(contact)) = (&self.own, self.contacts.get_mut(&chat)) else { return };
        for tag in contact.reset_tags.drain(..) {
            self.tags.remove(&tag);
        }
        let (Some(pair_key), Some(aid)) = (&contact.pair, AccountId::read(&contact.rec.aid)) else { return };
        if contact.rec.state != 2 {
            return;
        }
        for epoch in contact.rec.epoch..=contact.rec.epoch.saturating_add(3) {
            let (tag, _) = pair::reset_tag(pair_key, &aid, &own.aid(), epoch, 0);
            contact.reset_tags.push(tag);
            self.tags.insert(tag, TagOwner::Reset(chat, epoch));
        }
    }

    /// Writes an outbox entry to memory and store.
    pub(super) fn store_flight(
        &mut self,
        chat: ChatId,
        flight: Flight,
        envelope: Vec<u8>,
        plain: Vec<u8>,
        turn: &mut Turn,
    ) -> u64 {
        let (group, letter) = match &flight.group {
            Some(group) => (group.0.to_vec(), flight.cid.0.to_vec()),
            None => Default::default(),
        };
        let record = OutboxRecord {
            tag: flight.tag.0.to_vec(),
            preimage: flight.preimage.map(|p| p.0.to_vec()).unwrap_or_default(),
            message: flight.message.map(|m| m.0.to_vec()).unwrap_or_default(),
            envelope,
            plain,
            created_at: flight.created_at.0,
            expires_at: flight.expires_at.0,
            deposited: Vec::new(),
            session: flight.session.0.to_vec(),
            chain: flight.chain,
            n: flight.n,
            first_contact: flight.first_contact,
            not_carried: !flight.carried,
            group,
            letter,
            on_link: Vec::new(),
        };
        let seq = self.outbox.push(chat, flight);
        turn.put_record(Table::Outbox, &entry_key(&chat, seq), &record);
        seq
    }
}

/// A stranger or contact whose handshake verified.
struct Met {
    id: SessionId,
    session: Session,
    aid: AccountId,
    log: DeviceLog,
    identity: proto::InitIdentity,
}

/// A device id as it came.
struct DeviceIdBytes(Vec<u8>);

/// Takes the first live device of a verified log.
fn adopt_log(rec: &mut ContactRecord, log: &DeviceLog) -> bool {
    adopt_device(rec, log, None)
}

/// Takes over a verified log and one of its live devices. A different account never replaces a known one.
fn adopt_device(rec: &mut ContactRecord, log: &DeviceLog, wanted: Option<&DeviceIdBytes>) -> bool {
    if !rec.aid.is_empty() && rec.aid != log.aid().0 {
        return false;
    }
    let device = log.live_devices().iter().find(|d| wanted.is_none_or(|w| w.0 == d.id.0.as_slice()));
    let Some(device) = device else { return false };
    rec.aid = log.aid().0.to_vec();
    rec.log = log.entries().iter().map(Message::encode_to_vec).collect();
    rec.device_id = device.id.0.to_vec();
    rec.device_cert = device.cert_bytes.clone();
    rec.dik = device.dik.as_bytes().to_vec();
    rec.ddh = device.ddh.as_bytes().to_vec();
    true
}

fn reset_keys(pair_key: &Secret<32>) -> (Secret<32>, Secret<32>) {
    (kdf(pair_key.expose(), &[], "silbo/1/reset-box"), kdf(pair_key.expose(), &[], "silbo/1/reset-psk"))
}

fn seal_init(
    init: &proto::InitBlock,
    box_key: &Secret<32>,
    tag: &Tag,
    now: UnixTime,
    chance: &mut crate::chance::Chance,
) -> Vec<u8> {
    let head = EnvelopeHead::new(Class::Control, FIRST_CONTACT_TTL_MS, now, chance);
    let fixed = head.with_tag(tag);
    let plain = init.encode_to_vec();
    let whole = (plain.len() + 1 + BOX_OVERHEAD).next_multiple_of(INIT_PAD_BYTES);
    let padded = padding::pad_to(&plain, whole - BOX_OVERHEAD).unwrap_or(plain);
    first_contact::seal_box(box_key, &fixed, &padded, chance)
}

fn open_init(envelope: &[u8], box_key: &Secret<32>) -> Option<proto::InitBlock> {
    let padded = first_contact::open_box(box_key, envelope)?;
    proto::InitBlock::decode(padding::unpad(&padded)?).ok()
}
