//! Contacts: following an invitation, deciding on requests, verification, blocking, forgetting.

use std::collections::BTreeMap;

use prost::Message;

use super::account::{Own, check_text, read_hint};
use super::records::state::ContactRecord;
use super::timers::Timer;
use super::turn::Turn;
use super::{Answer, Engine};
use crate::crypto::secret::Secret;
use crate::crypto::x25519;
use crate::identity::device_log::DeviceLog;
use crate::identity::safety_number::{Comparison, SafetyNumber};
use crate::ids::{AccountId, ChatId, LinkId, PeerAddress, QueueRid, SessionId, Tag};
use crate::input::Route;
use crate::limits::{CONTACTS_MAX, CONTROL_TTL_MS, NAME_BYTES_MAX};
use crate::session::pair;
use crate::step::{
    ContactState, ContactView, EventKind, FailReason, Reply, RequestError, Send as Outgoing, VerificationView,
};
use crate::store::{StoreError, Table};
use crate::wire::frame::Frame;
use crate::wire::invite::{Hint, InviteCode};
use crate::wire::proto;

/// A contact, decoded.
pub(super) struct Contact {
    pub(super) rec: ContactRecord,
    /// Static secret of the pair of devices; `None` until their card or handshake has been read.
    pub(super) pair: Option<Secret<32>>,
    /// Where they take mail.
    pub(super) grants: Vec<proto::MailboxGrant>,
    /// Where they were last known to be.
    pub(super) peers: Vec<PeerAddress>,
    /// Attempts to find them since they were last linked.
    pub(super) find_attempts: u32,
    /// They told us over the link that is up that they are there.
    pub(super) beat: bool,
    /// Sequence of the newest presence record seen.
    pub(super) record_seq: u64,
    /// Tags on proven links that match nothing: three of them mean the session is out of step.
    pub(super) unknown_tags: std::collections::BTreeSet<Tag>,
    /// Relays that said they have no card, while it is wanted.
    pub(super) card_misses: u32,
    /// Tags registered for a reset by them.
    pub(super) reset_tags: Vec<Tag>,
    /// Keys of their presence records by day: blinding one costs a tenth of a millisecond.
    lookup_keys: BTreeMap<u32, [u8; 32]>,
}

impl Contact {
    pub(super) fn read(rec: ContactRecord, own: &Own) -> Option<Self> {
        let pair = match rec.ddh.is_empty() {
            true => None,
            false => Some(pair::pair_secret(own.account.ddh(), &x25519::PublicKey::read(&rec.ddh).ok()?).ok()?),
        };
        let grants = rec.grants.iter().filter_map(|g| proto::MailboxGrant::decode(g.as_slice()).ok()).collect();
        let hints = rec.peers.iter().filter_map(|p| proto::PeerHint::decode(p.as_slice()).ok());
        let peers = hints.filter_map(|hint| read_hint(&hint)).collect();
        Some(Self {
            rec,
            pair,
            grants,
            peers,
            find_attempts: 0,
            beat: false,
            record_seq: 0,
            unknown_tags: Default::default(),
            card_misses: 0,
            reset_tags: Vec::new(),
            lookup_keys: BTreeMap::new(),
        })
    }

    pub(super) fn state(&self) -> ContactState {
        match self.rec.state {
            1 => ContactState::Incoming,
            2 => ContactState::Active,
            3 => ContactState::Blocked,
            4 => ContactState::Refused,
            5 => ContactState::Member,
            _ => ContactState::Requested,
        }
    }

    pub(super) fn set_state(&mut self, state: ContactState) {
        self.rec.state = state_code(state);
    }

    /// True when a link may show that we know each other.
    pub(super) fn recognisable(&self) -> bool {
        self.state().exchanges_mail()
    }

    /// Where the contact stands once both sides can write: those met through a group stay with it.
    pub(super) fn settled_state(&self) -> ContactState {
        if self.rec.group.is_empty() { ContactState::Active } else { ContactState::Member }
    }

    pub(super) fn aid(&self) -> Option<AccountId> {
        AccountId::read(&self.rec.aid)
    }

    pub(super) fn session(&self) -> Option<SessionId> {
        SessionId::read(&self.rec.session)
    }

    /// DHT keys of their presence records of this day and the one before.
    pub(super) fn lookup_keys(&mut self, today: u32) -> Vec<(u32, [u8; 32])> {
        let Some(presence) = self.presence() else { return Vec::new() };
        let days = [today, today.saturating_sub(1)];
        self.lookup_keys.retain(|day, _| days.contains(day));
        for day in days {
            if !self.lookup_keys.contains_key(&day)
                && let Ok(key) = crate::presence::lookup_key(&presence, day)
            {
                self.lookup_keys.insert(day, key);
            }
        }
        self.lookup_keys.iter().rev().map(|(day, key)| (*day, *key)).collect()
    }

    /// They have told us new keys of their presence records.
    pub(super) fn set_presence(&mut self, presence: &proto::Presence) {
        self.rec.presence = presence.encode_to_vec();
        self.lookup_keys.clear();
    }

    pub(super) fn presence(&self) -> Option<proto::Presence> {
        proto::Presence::decode(self.rec.presence.as_slice()).ok().filter(|p| !p.blind_vk.is_empty())
    }

    pub(super) fn log(&self) -> Option<DeviceLog> {
        let entries: Vec<proto::Signed> =
            self.rec.log.iter().map(|e| proto::Signed::decode(e.as_slice())).collect::<Result<_, _>>().ok()?;
        DeviceLog::read(&entries).ok()
    }

    pub(super) fn set_grants(&mut self, grants: Vec<proto::MailboxGrant>) {
        let sound = |g: &proto::MailboxGrant| {
            g.sid.len() == 16 && g.send_key.len() == 16 && g.relay.as_ref().is_some_and(|r| read_hint(r).is_some())
        };
        self.grants = grants.into_iter().filter(sound).take(crate::limits::GRANTS_PER_CONTACT_MAX).collect();
        self.rec.grants = self.grants.iter().map(Message::encode_to_vec).collect();
    }

    pub(super) fn set_peers(&mut self, peers: Vec<PeerAddress>) {
        self.peers = peers;
        self.peers.truncate(4);
        self.rec.peers = self.peers.iter().map(|p| super::account::hint(p, 0).encode_to_vec()).collect();
    }

    pub(super) fn set_profile(&mut self, profile: &proto::Profile) -> bool {
        let fits = check_text("name", &profile.name, 1, NAME_BYTES_MAX).is_ok()
            && check_text("status", &profile.status, 0, crate::limits::STATUS_BYTES_MAX).is_ok()
            && profile.avatar.len() <= crate::limits::AVATAR_BYTES_MAX;
        if !fits || profile.rev < self.rec.profile_rev {
            return false;
        }
        let changed =
            self.rec.name != profile.name || self.rec.status != profile.status || self.rec.avatar != profile.avatar;
        self.rec.name = profile.name.clone();
        self.rec.status = profile.status.clone();
        if !profile.avatar.is_empty() || profile.rev > self.rec.profile_rev {
            self.rec.avatar = profile.avatar.clone();
        }
        self.rec.profile_rev = profile.rev;
        changed
    }

    pub(super) fn shown_name(&self) -> String {
        match (self.rec.alias.is_empty(), self.rec.name.is_empty()) {
            (false, _) => self.rec.alias.clone(),
            (true, false) => self.rec.name.clone(),
            (true, true) => "(not answered yet)".to_owned(),
        }
    }

    /// True when nothing may be sent until the person acknowledges a changed key.
    pub(super) fn key_blocked(&self) -> bool {
        self.rec.key_changed && self.rec.verification >= 2
    }
}

fn state_code(state: ContactState) -> u32 {
    match state {
        ContactState::Requested => 0,
        ContactState::Incoming => 1,
        ContactState::Active => 2,
        ContactState::Blocked => 3,
        ContactState::Refused => 4,
        ContactState::Member => 5,
    }
}

impl Engine {
    pub(super) fn contact_view(&self, chat: &ChatId) -> Option<ContactView> {
        let contact = self.contacts.get(chat)?;
        let link = self.best_link(chat).and_then(|l| self.links.get(&l));
        let rec = &contact.rec;
        Some(ContactView {
            chat: *chat,
            account: contact.aid().unwrap_or(AccountId([0; 32])),
            name: contact.shown_name(),
            profile_name: rec.name.clone(),
            status: rec.status.clone(),
            avatar: rec.avatar.clone(),
            state: contact.state(),
            verification: u8::try_from(rec.verification).unwrap_or(0),
            key_changed: rec.key_changed,
            online: link.is_some() && contact.beat,
            route: link.map(|l| l.route),
            retention_s: self.chats.get(chat).map_or(0, |c| c.retention_s),
            presence: rec.presence_allowed,
            read_receipts: rec.read_receipts,
            typing: rec.typing,
            carrier: rec.carrier,
            added_at: crate::time::UnixTime(rec.added_at),
        })
    }

    /// What a conversation is called here, the notes to oneself included; `None` when the contact is gone. A driver may
    /// read it between two transactions, when it is what was committed.
    pub fn shown_name(&self, chat: &ChatId) -> Option<String> {
        let contact = self.contacts.get(chat).map(Contact::shown_name);
        let channel = self.channels.get(chat).map(|channel| channel.name().to_owned());
        contact
            .or(channel)
            .or_else(|| self.own.as_ref().filter(|own| own.chat() == *chat).map(|own| own.record.name.clone()))
    }

    pub(super) fn contact_views(&self) -> Vec<ContactView> {
        // Those met through a group only are no contacts of the person.
        let people = self.contacts.iter().filter(|(_, contact)| contact.rec.group.is_empty());
        people.filter_map(|(chat, _)| self.contact_view(chat)).collect()
    }

    pub(super) fn contact_reply(&self, chat: &ChatId) -> Answer {
        self.contact_view(chat).map(|view| Reply::Contact(Box::new(view))).ok_or(RequestError::NotFound("contact"))
    }

    /// Follows an invitation: remembers the wish at once, fetches the card wherever it can be had.
    pub(super) fn contact_add(
        &mut self,
        link: &str,
        alias: Option<String>,
        turn: &mut Turn,
    ) -> Result<Answer, StoreError> {
        let code = match InviteCode::parse(link) {
            Ok(code) => code,
            Err(error) => return Ok(Err(RequestError::BadInvite(error.to_string()))),
        };
        if let Some(Err(error)) = alias.as_deref().map(|a| check_text("alias", a, 1, NAME_BYTES_MAX)) {
            return Ok(Err(error));
        }
        if code.group().is_some() {
            return Ok(Err(RequestError::BadInvite("it leads into a group: join it instead".to_owned())));
        }
        self.follow_invitation(&code, alias, None, turn)
    }

    /// The same for a code that has been read; `group` is the one it leads into.
    pub(super) fn follow_invitation(
        &mut self,
        code: &InviteCode,
        alias: Option<String>,
        group: Option<ChatId>,
        turn: &mut Turn,
    ) -> Result<Answer, StoreError> {
        let Some(own) = &self.own else { return Ok(Err(RequestError::NoAccount)) };
        if own.aid().0.starts_with(&code.aid20.0) {
            return Ok(Err(RequestError::BadInvite("it is your own".to_owned())));
        }
        if code.expires_at().0 <= turn.now.unix.0 {
            return Ok(Err(RequestError::BadInvite("it has expired: ask for another".to_owned())));
        }
        let chat = code.aid20.chat();
        match self.contacts.get(&chat).map(Contact::state) {
            Some(ContactState::Active) => return Ok(self.contact_reply(&chat)),
            Some(ContactState::Blocked) => return Ok(Err(RequestError::Blocked)),
            None if self.contacts.len() >= CONTACTS_MAX => {
                return Ok(Err(RequestError::Limit("contacts: remove some")));
            }
            _ => {}
        }
        let mut rec = ContactRecord {
            alias: alias.unwrap_or_default(),
            invite_link: code.link(),
            read_receipts: true,
            typing: true,
            added_at: turn.now.unix.0,
            group: group.map(|group| group.0.to_vec()).unwrap_or_default(),
            ..ContactRecord::default()
        };
        if let Some(old) = self.contacts.get(&chat)
            && old.state() == ContactState::Incoming
        {
            // They asked already: following their invitation says yes.
            rec = old.rec.clone();
            self.contacts.entry(chat).and_modify(|c| c.rec = rec);
            self.save_contact(&chat, turn);
            return self.contact_decide(chat, true, turn);
        }
        let Some(mut contact) = Contact::read(rec, own) else { return Ok(Err(RequestError::NoAccount)) };
        let mut hinted = Vec::new();
        for hint in &code.hints {
            if let Hint::Peer { peer, addr } = hint {
                hinted.push(PeerAddress { peer: peer.clone(), addrs: vec![addr.clone()] });
            }
        }
        contact.set_peers(merge_addresses(hinted));
        self.contacts.insert(chat, contact);
        self.chats.entry(chat).or_default();
        self.save_contact(&chat, turn);
        self.save_chat(&chat, turn);
        for hint in &code.hints {
            if let Hint::Relay { peer, addr } = hint {
                self.meet_relay(PeerAddress { peer: peer.clone(), addrs: vec![addr.clone()] }, turn);
            }
        }
        self.seek_card(chat, turn);
        self.timers.set(Timer::FindContact(chat), turn.now.moment);
        Ok(self.contact_reply(&chat))
    }

    /// Asks everybody who may have the card of a followed invitation: relays of the link, peers of the link.
    pub(super) fn seek_card(&mut self, chat: ChatId, turn: &mut Turn) {
        let Some(code) = self.wanted_card(&chat) else { return };
        for hint in &code.hints {
            if let Hint::Relay { peer, .. } = &hint {
                let get = proto::BlobGet { id: code.keys().blob_id.0.to_vec() };
                self.ask(peer, super::relays::Asked::BlobGet(chat), proto::mbox_req::Op::Bget(get), turn);
            }
        }
        if let Some(link) = self.best_link(&chat) {
            self.ask_for_card(chat, link, turn);
        }
        self.ask_all_radios(chat, turn);
    }

    /// The invitation whose card is still wanted.
    pub(super) fn wanted_card(&self, chat: &ChatId) -> Option<InviteCode> {
        let contact = self.contacts.get(chat)?;
        let wanted = contact.state() == ContactState::Requested && contact.rec.session.is_empty();
        wanted.then(|| InviteCode::parse(&contact.rec.invite_link).ok()).flatten()
    }

    pub(super) fn ask_for_card(&mut self, chat: ChatId, link: LinkId, turn: &mut Turn) {
        let Some(code) = self.wanted_card(&chat) else { return };
        let keys = code.keys();
        let blob_id = keys.blob_id.0.to_vec();
        let mac = crate::crypto::mac::mac_fields(keys.request.expose(), &[&blob_id]).to_vec();
        turn.frame(link, &Frame::CardReq(proto::CardReq { blob_id, mac }));
    }

    /// The invitation is not valid any more: say so, keep the contact so that the person sees why.
    pub(super) fn refuse_contact(&mut self, chat: ChatId, turn: &mut Turn) -> Result<(), StoreError> {
        let Some(contact) = self.contacts.get_mut(&chat) else { return Ok(()) };
        contact.set_state(ContactState::Refused);
        self.save_contact(&chat, turn);
        turn.event(Some(chat), None, EventKind::ContactUpdated);
        turn.event(
            Some(chat),
            None,
            EventKind::Warning { text: "the invitation was used, revoked or has expired".to_owned() },
        );
        self.fail_waiting(chat, FailReason::Refused, turn)?;
        self.fail_all(chat, FailReason::Refused, turn)
    }

    /// Accepts or rejects a request that came by a reusable invitation.
    pub(super) fn contact_decide(&mut self, chat: ChatId, accept: bool, turn: &mut Turn) -> Result<Answer, StoreError> {
        let Some(contact) = self.contacts.get_mut(&chat) else { return Ok(super::not_found("contact request")) };
        if contact.state() == ContactState::Active && accept {
            return Ok(self.contact_reply(&chat));
        }
        if contact.state() != ContactState::Incoming {
            return Ok(super::not_found("contact request"));
        }
        if !accept {
            // Nothing is sent: a rejection would tell a stranger that somebody lives at this address.
            let view = self.contact_reply(&chat);
            self.forget_contact(chat, turn)?;
            turn.put(Table::Pending, chat.as_bytes(), turn.now.unix.0.to_be_bytes().to_vec());
            return Ok(view);
        }
        self.accept_contact(chat, turn)?;
        Ok(self.contact_reply(&chat))
    }

    pub(super) fn contact_block(&mut self, chat: ChatId, block: bool, turn: &mut Turn) -> Result<Answer, StoreError> {
        let Some(contact) = self.contacts.get_mut(&chat) else { return Ok(super::not_found("contact")) };
        if block == (contact.state() == ContactState::Blocked) {
            return Ok(self.contact_reply(&chat));
        }
        if block {
            contact.rec.state_before_block = contact.rec.state;
            contact.set_state(ContactState::Blocked);
            contact.beat = false;
            self.save_contact(&chat, turn);
            self.part_from(&chat, turn);
            self.fail_all(chat, FailReason::Blocked, turn)?;
            for rid in self.queues_of(&chat) {
                self.doom_queue(&rid, turn);
            }
        } else {
            contact.rec.state = contact.rec.state_before_block;
            self.save_contact(&chat, turn);
            self.vouch_for(&chat, turn);
            self.ensure_queues(chat, turn)?;
            self.tell_grants(chat, turn)?;
            self.hello_again(turn)?;
        }
        turn.event(Some(chat), None, EventKind::ContactUpdated);
        Ok(self.contact_reply(&chat))
    }

    pub(super) fn contact_remove(&mut self, chat: ChatId, turn: &mut Turn) -> Result<Answer, StoreError> {
        if !self.contacts.contains_key(&chat) {
            return Ok(super::not_found("contact"));
        }
        self.forget_contact(chat, turn)?;
        turn.event(Some(chat), None, EventKind::ContactRemoved);
        Ok(Ok(Reply::Done))
    }

    /// Everything about a contact goes: sessions, tags, queues, waiting mail, messages.
    /// Lets radios do more for somebody, on all links there are. Whoever is only followed, or known from a group, may not
    /// make this device show itself on Wi-Fi.
    pub(super) fn vouch_for(&self, chat: &ChatId, turn: &mut Turn) {
        if self.contacts.get(chat).is_some_and(|contact| contact.state() == ContactState::Active) {
            for (link, _) in self.links.iter().filter(|(_, link)| link.chat == Some(*chat)) {
                turn.send(Outgoing::Vouch { link: *link });
            }
        }
    }

    /// Ends radio links with somebody: what radios were told of it holds as long as they do.
    fn part_from(&self, chat: &ChatId, turn: &mut Turn) {
        let with = self.links.iter().filter(|(_, link)| link.chat == Some(*chat) && link.route == Route::Radio);
        for (link, _) in with {
            turn.send(Outgoing::Close { link: *link });
        }
    }

    fn forget_contact(&mut self, chat: ChatId, turn: &mut Turn) -> Result<(), StoreError> {
        self.fail_all(chat, FailReason::Blocked, turn)?;
        let sessions: Vec<SessionId> =
            self.sessions.iter().filter(|(_, l)| l.chat == chat).map(|(id, _)| *id).collect();
        for id in sessions {
            self.drop_session(id, turn);
        }
        for rid in self.queues_of(&chat) {
            self.doom_queue(&rid, turn);
        }
        if let Some(contact) = self.contacts.remove(&chat) {
            for tag in &contact.reset_tags {
                self.tags.remove(tag);
            }
        }
        self.forget_sheet(&chat, turn);
        self.chats.remove(&chat);
        turn.delete(Table::Draft, chat.as_bytes());
        self.part_from(&chat, turn);
        for link in self.links.values_mut().filter(|l| l.chat == Some(chat)) {
            link.chat = None;
        }
        self.timers.cancel(&Timer::FindContact(chat));
        turn.delete(Table::Contact, chat.as_bytes());
        turn.delete(Table::Chat, chat.as_bytes());
        turn.erase_chat(chat);
        // In a group they stay what they are.
        for group in self.groups.keys().copied().collect::<Vec<_>>() {
            self.know_members(group, turn)?;
        }
        Ok(())
    }

    pub(super) fn queues_of(&self, chat: &ChatId) -> Vec<QueueRid> {
        self.queues.iter().filter(|(_, q)| q.chat == chat.as_bytes() && !q.doomed).map(|(rid, _)| *rid).collect()
    }

    pub(super) fn contact_set(
        &mut self,
        chat: ChatId,
        alias: Option<String>,
        presence: Option<bool>,
        read_receipts: Option<bool>,
        typing: Option<bool>,
        turn: &mut Turn,
    ) -> Result<Answer, StoreError> {
        if let Some(Err(error)) = alias.as_deref().map(|a| check_text("alias", a, 1, NAME_BYTES_MAX)) {
            return Ok(Err(error));
        }
        let Some(contact) = self.contacts.get_mut(&chat) else { return Ok(super::not_found("contact")) };
        let rec = &mut contact.rec;
        rec.alias = alias.unwrap_or_else(|| rec.alias.clone());
        rec.presence_allowed = presence.unwrap_or(rec.presence_allowed);
        rec.read_receipts = read_receipts.unwrap_or(rec.read_receipts);
        rec.typing = typing.unwrap_or(rec.typing);
        self.save_contact(&chat, turn);
        turn.event(Some(chat), None, EventKind::ContactUpdated);
        if presence.is_some() {
            self.beat(chat, turn)?;
        }
        Ok(self.contact_reply(&chat))
    }

    pub(super) fn contact_verify(&mut self, chat: ChatId, code: Option<String>, turn: &mut Turn) -> Answer {
        let own = self.own.as_ref().ok_or(RequestError::NoAccount)?.aid();
        let contact = self.contacts.get_mut(&chat).ok_or(RequestError::NotFound("contact"))?;
        let theirs = contact.aid().ok_or(RequestError::Offline)?;
        let number = SafetyNumber::new(&own, &theirs);
        if let Some(code) = code {
            if !matches(&number, &code) {
                return Err(RequestError::Mismatch);
            }
            contact.rec.verification = 2;
            contact.rec.key_changed = false;
        }
        let level = u8::try_from(contact.rec.verification).unwrap_or(0);
        self.save_contact(&chat, turn);
        Ok(Reply::Verification(VerificationView { digits: number.digits(), qr: number.qr(), level }))
    }

    /// The person has seen that the key changed: verification starts over, sending works again.
    pub(super) fn contact_accept_key(&mut self, chat: ChatId, turn: &mut Turn) -> Result<Answer, StoreError> {
        let Some(contact) = self.contacts.get_mut(&chat) else { return Ok(super::not_found("contact")) };
        if contact.rec.key_changed {
            contact.rec.key_changed = false;
            contact.rec.verification = 0;
            self.save_contact(&chat, turn);
            turn.event(Some(chat), None, EventKind::ContactUpdated);
            self.drive_all(chat, turn)?;
        }
        Ok(self.contact_reply(&chat))
    }

    /// Tells a contact over the direct link whether we are here, if it may know.
    pub(super) fn beat(&mut self, chat: ChatId, turn: &mut Turn) -> Result<(), StoreError> {
        let Some(contact) = self.contacts.get(&chat) else { return Ok(()) };
        if contact.state() != ContactState::Active || self.best_link(&chat).is_none() {
            return Ok(());
        }
        let state = u32::from(contact.rec.presence_allowed);
        let beat = proto::PresenceBeat { state, valid_s: u32::try_from(CONTROL_TTL_MS / 1_000).unwrap_or(u32::MAX) };
        self.send_live(chat, proto::plain::Kind::Beat(beat), turn)
    }
}

/// Typed digits, with any spacing, or the text of a scanned code.
fn matches(number: &SafetyNumber, code: &str) -> bool {
    let digits: String = code.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
    digits == number.digits() || number.compare(code) == Ok(Comparison::Same)
}

/// Addresses of one peer in one entry.
fn merge_addresses(list: Vec<PeerAddress>) -> Vec<PeerAddress> {
    let mut out: Vec<PeerAddress> = Vec::new();
    for address in list {
        match out.iter_mut().find(|known| known.peer == address.peer) {
            Some(known) => known.addrs.extend(address.addrs),
            None => out.push(address),
        }
    }
    out
}
