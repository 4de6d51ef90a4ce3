//! The account of this node: profile, prekeys, presence record, and what the clock asks of them.

use prost::Message;

use super::records::state::OwnRecord;
use super::timers::Timer;
use super::turn::Turn;
use super::{Answer, Engine};
use crate::chance::Chance;
use crate::conversation::retention;
use crate::identity::account::OwnAccount;
use crate::ids::{AccountId, ChatId, PeerAddress, SessionId};
use crate::limits::{
    AVATAR_BYTES_MAX, CONTROL_TTL_MS, NAME_BYTES_MAX, PREKEY_KEEP_MS, PREKEY_RENEW_MS, PRESENCE_REPUBLISH_MS,
    SESSION_ARCHIVE_MS, STATUS_BYTES_MAX,
};
use crate::presence::{self, PresenceKeys};
use crate::session::OwnPrekeys;
use crate::step::{ContactState, MeView, Reply, RequestError, Send, StatusView};
use crate::store::{StoreError, Table};
use crate::time::{DAY_MS, HOUR_MS, UnixTime};
use crate::wire::proto;

/// Housekeeping runs this often; everything it does is far slower.
const HOUSEKEEPING_MS: u64 = HOUR_MS;
/// A published bundle is not sealed to after this many days (private halves are kept 45).
const BUNDLE_DAYS: u32 = 38;
/// Presence records live for at most two days in the DHT.
const PRESENCE_LIFE_MS: u64 = 2 * DAY_MS;

/// The account, decoded.
pub(super) struct Own {
    pub(super) record: OwnRecord,
    pub(super) account: OwnAccount,
    pub(super) presence: PresenceKeys,
    pub(super) prekeys: Vec<OwnPrekeys>,
}

impl Own {
    fn create(name: &str, now: UnixTime, chance: &mut Chance) -> Self {
        let account = OwnAccount::create(chance, now.day_2024());
        let presence = PresenceKeys::generate(chance);
        let record = OwnRecord {
            account: account.encode(),
            name: name.to_owned(),
            profile_rev: 1,
            read_receipts: true,
            typing: true,
            presence_keys: presence.encode(),
            next_prekey_id: 1,
            ..OwnRecord::default()
        };
        let mut own = Self { record, account, presence, prekeys: Vec::new() };
        own.add_prekeys(now, chance);
        own
    }

    pub(super) fn read(record: OwnRecord) -> Option<Self> {
        let account = OwnAccount::decode(&record.account)?;
        let presence = PresenceKeys::decode(&record.presence_keys)?;
        let prekeys = record.prekeys.iter().map(|bytes| OwnPrekeys::decode(bytes)).collect::<Option<_>>()?;
        Some(Self { record, account, presence, prekeys })
    }

    pub(super) fn aid(&self) -> AccountId {
        self.account.aid()
    }

    pub(super) fn chat(&self) -> ChatId {
        self.aid().chat()
    }

    /// Fresh ids for a set of prekeys.
    pub(super) fn next_prekey_id(&mut self) -> u32 {
        let id = self.record.next_prekey_id;
        self.record.next_prekey_id = id.wrapping_add(1).max(1);
        id
    }

    fn add_prekeys(&mut self, now: UnixTime, chance: &mut Chance) {
        let id = self.next_prekey_id();
        self.prekeys.push(OwnPrekeys::generate(id, None, now, chance));
        self.record.prekeys = self.prekeys.iter().map(OwnPrekeys::encode).collect();
    }

    fn drop_old_prekeys(&mut self, now: UnixTime) {
        self.prekeys.retain(|p| p.created_at().after_ms(PREKEY_KEEP_MS) > now);
        self.record.prekeys = self.prekeys.iter().map(OwnPrekeys::encode).collect();
    }

    /// The bundle contacts use to set a session up anew.
    pub(super) fn bundle(&self, now: UnixTime) -> Option<proto::PrekeyBundle> {
        self.prekeys.last().map(|prekeys| self.sign_bundle(prekeys, now))
    }

    /// A bundle of the given prekeys, signed by this device.
    pub(super) fn sign_bundle(&self, prekeys: &OwnPrekeys, now: UnixTime) -> proto::PrekeyBundle {
        let expires_day = now.day_2024().saturating_add(BUNDLE_DAYS);
        prekeys.bundle(&self.account.device_id(), self.account.dik(), expires_day)
    }

    pub(super) fn profile(&self, with_avatar: bool) -> proto::Profile {
        proto::Profile {
            name: self.record.name.clone(),
            status: self.record.status.clone(),
            avatar: if with_avatar { self.record.avatar.clone() } else { Vec::new() },
            rev: self.record.profile_rev,
        }
    }
}

impl Engine {
    pub(super) fn create_account(&mut self, name: &str, turn: &mut Turn) -> Answer {
        if self.own.is_some() {
            return Err(RequestError::AccountExists);
        }
        check_text("name", name, 1, NAME_BYTES_MAX)?;
        self.own = Some(Own::create(name, turn.now.unix, &mut self.chance));
        self.save_own(turn);
        self.me()
    }

    pub(super) fn me(&self) -> Answer {
        self.me_view().map(Reply::Me).ok_or(RequestError::NoAccount)
    }

    fn me_view(&self) -> Option<MeView> {
        let own = self.own.as_ref()?;
        Some(MeView {
            account: own.aid(),
            chat: own.chat(),
            name: own.record.name.clone(),
            status: own.record.status.clone(),
            avatar: own.record.avatar.clone(),
            devices: u32::try_from(own.account.log().live_devices().len()).unwrap_or(u32::MAX),
            read_receipts: own.record.read_receipts,
            typing: own.record.typing,
            retention_s: self.chats.get(&own.chat()).map_or(0, |chat| chat.retention_s),
        })
    }

    pub(super) fn recovery_words(&self) -> Answer {
        let own = self.own.as_ref().ok_or(RequestError::NoAccount)?;
        Ok(Reply::Words(own.account.words()))
    }

    pub(super) fn set_profile(
        &mut self,
        name: Option<String>,
        status: Option<String>,
        avatar: Option<Vec<u8>>,
        turn: &mut Turn,
    ) -> Result<Answer, StoreError> {
        if let Err(error) = check_profile(name.as_deref(), status.as_deref(), avatar.as_deref()) {
            return Ok(Err(error));
        }
        let Some(own) = &mut self.own else { return Ok(Err(RequestError::NoAccount)) };
        own.record.name = name.unwrap_or_else(|| own.record.name.clone());
        own.record.status = status.unwrap_or_else(|| own.record.status.clone());
        own.record.avatar = avatar.unwrap_or_else(|| own.record.avatar.clone());
        own.record.profile_rev += 1;
        self.save_own(turn);
        for chat in self.active_chats() {
            self.tell_profile(chat, turn)?;
        }
        self.tell_all_groups(turn)?;
        self.republish_cards(turn);
        Ok(self.me())
    }

    fn tell_profile(&mut self, chat: ChatId, turn: &mut Turn) -> Result<(), StoreError> {
        let Some(own) = &self.own else { return Ok(()) };
        let update = proto::ProfileUpdate { profile: Some(own.profile(true)), presence: Some(own.presence.public()) };
        self.queue_control(chat, proto::plain::Kind::Profile(update), CONTROL_TTL_MS, turn)
    }

    pub(super) fn set_privacy(&mut self, read_receipts: Option<bool>, typing: Option<bool>, turn: &mut Turn) -> Answer {
        let own = self.own.as_mut().ok_or(RequestError::NoAccount)?;
        own.record.read_receipts = read_receipts.unwrap_or(own.record.read_receipts);
        own.record.typing = typing.unwrap_or(own.record.typing);
        self.save_own(turn);
        self.me()
    }

    pub(super) fn status_view(&self) -> StatusView {
        let count = |f: &dyn Fn(ContactState) -> bool| {
            u32::try_from(self.contacts.values().filter(|c| f(c.state())).count()).unwrap_or(u32::MAX)
        };
        StatusView {
            me: self.me_view(),
            address: self.address.clone(),
            contacts: count(&|s| matches!(s, ContactState::Active | ContactState::Requested)),
            online: u32::try_from(self.contacts.keys().filter(|c| self.best_link(c).is_some()).count())
                .unwrap_or(u32::MAX),
            requests: count(&|s| s == ContactState::Incoming),
            queued: self.outbox.messages(),
            relays: self.relay_view_list(),
        }
    }

    /// Our own addresses changed: contacts and the DHT should know, after the dust has settled.
    pub(super) fn own_address(&mut self, address: PeerAddress, turn: &mut Turn) {
        if self.address.replace(address).is_none() {
            for chat in self.contacts.keys() {
                self.timers.set_if_unarmed(Timer::FindContact(*chat), turn.now.moment);
                self.timers.set(Timer::Retry(*chat), turn.now.moment);
            }
            for chat in self.channels.keys() {
                self.timers.set_if_unarmed(Timer::FindChannel(*chat), turn.now.moment);
            }
        }
        self.timers.set(Timer::TellAddresses, turn.now.moment.after_ms(500));
    }

    /// Tells the DHT, and those contacts a direct link is up to, where we are.
    pub(super) fn tell_addresses(&mut self, turn: &mut Turn) -> Result<(), StoreError> {
        self.publish_presence(turn);
        self.publish_channels(turn);
        self.republish_cards(turn);
        self.tell_all_groups(turn)?;
        for chat in self.active_chats() {
            if self.best_link(&chat).is_some() {
                self.tell_grants(chat, turn)?;
            }
        }
        Ok(())
    }

    fn publish_presence(&mut self, turn: &mut Turn) {
        let (Some(own), Some(address)) = (&self.own, &self.address) else { return };
        if self.contacts.is_empty() && self.invites.is_empty() {
            return;
        }
        let plain = proto::PresencePlain {
            me: Some(hint(address, 0)),
            relays: self.relays.iter().filter(|(_, r)| r.rec.own).take(3).map(|(p, r)| r.hint(p)).collect(),
            pad: Vec::new(),
        };
        let seq = turn.now.unix.0;
        let expires_s = turn.now.unix.after_ms(PRESENCE_LIFE_MS - HOUR_MS).0 / 1_000;
        for day in [unix_day(turn.now.unix), unix_day(turn.now.unix) + 1] {
            if let Ok((key, value)) = presence::publish(&own.presence, day, seq, &plain, expires_s) {
                turn.send(Send::PublishRecord { key, value });
            }
        }
    }

    /// What is due by the hour: prekeys, bundles, the presence record, old sessions, old invites.
    pub(super) fn housekeeping(&mut self, turn: &mut Turn) -> Result<(), StoreError> {
        let now = turn.now.unix;
        self.timers.set(Timer::Housekeeping, turn.now.moment.after_ms(HOUSEKEEPING_MS));
        if let Some(own) = &mut self.own {
            let newest = own.prekeys.last().map(OwnPrekeys::created_at);
            if newest.is_none_or(|at| at.after_ms(PREKEY_RENEW_MS) <= now) {
                own.add_prekeys(now, &mut self.chance);
                own.drop_old_prekeys(now);
                self.save_own(turn);
                for chat in self.active_chats() {
                    self.tell_bundle(chat, turn)?;
                }
            }
        }
        if turn.now.moment.0 / PRESENCE_REPUBLISH_MS
            != turn.now.moment.0.saturating_sub(HOUSEKEEPING_MS) / PRESENCE_REPUBLISH_MS
        {
            self.publish_presence(turn);
            self.publish_channels(turn);
        }
        self.drop_all_old_posts(turn);
        self.drop_old_letters(turn);
        self.ask_to_join(turn)?;
        self.drop_old_invites(turn);
        self.drop_old_sessions(turn);
        self.drop_old_notes(turn)
    }

    fn tell_bundle(&mut self, chat: ChatId, turn: &mut Turn) -> Result<(), StoreError> {
        let Some(bundle) = self.own.as_ref().and_then(|own| own.bundle(turn.now.unix)) else { return Ok(()) };
        let update = proto::BundleUpdate { bundles: vec![bundle] };
        self.queue_control(chat, proto::plain::Kind::Bundle(update), CONTROL_TTL_MS, turn)
    }

    /// Receive-only sessions are deleted 45 days after their last message.
    fn drop_old_sessions(&mut self, turn: &mut Turn) {
        let current: std::collections::BTreeSet<Vec<u8>> =
            self.contacts.values().map(|c| c.rec.session.clone()).collect();
        let old: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(id, live)| {
                let last = live.session.last_sent.max(live.session.last_received).max(live.session.created_at);
                !current.contains(id.as_bytes()) && last.after_ms(SESSION_ARCHIVE_MS) < turn.now.unix
            })
            .map(|(id, _)| *id)
            .collect();
        for id in old {
            self.drop_session(id, turn);
        }
    }

    pub(super) fn drop_session(&mut self, id: SessionId, turn: &mut Turn) {
        if let Some(live) = self.sessions.remove(&id) {
            for (tag, _) in &live.tags {
                self.tags.remove(tag);
            }
            if let Some(contact) = self.contacts.get_mut(&live.chat) {
                contact.rec.archived.retain(|s| s != id.as_bytes());
                self.save_contact(&live.chat, turn);
            }
            turn.delete(Table::Session, id.as_bytes());
        }
    }

    /// Notes about opened envelopes, skipped keys and tombstones are dropped when nothing can come any more.
    fn drop_old_notes(&mut self, turn: &mut Turn) -> Result<(), StoreError> {
        const BATCH: usize = 1_000;
        let now = turn.now.unix;
        for (key, value) in turn.store().scan(Table::Seen, &[], self.swept_seen.as_deref(), BATCH)? {
            let until = super::records::state::SeenRecord::decode(value.as_slice()).map(|r| r.until).unwrap_or(0);
            if until < now.0 {
                turn.delete(Table::Seen, &key);
            }
            self.swept_seen = Some(key);
        }
        if turn.store().scan(Table::Seen, &[], self.swept_seen.as_deref(), 1)?.is_empty() {
            self.swept_seen = None;
        }
        let (writes, next) = retention::forget_tombstones(turn.store(), self.swept_gone.take(), now, BATCH)?;
        turn.extend(writes);
        self.swept_gone = next;
        Ok(())
    }

    /// Conversations with contacts that can be written to.
    pub(super) fn active_chats(&self) -> Vec<ChatId> {
        self.contacts.iter().filter(|(_, c)| c.state() == ContactState::Active).map(|(chat, _)| *chat).collect()
    }
}

/// Days since 1970: the epoch of presence records.
pub(super) fn unix_day(now: UnixTime) -> u32 {
    u32::try_from(now.0 / DAY_MS).unwrap_or(u32::MAX)
}

/// An address as the wire carries it.
pub(super) fn hint(address: &PeerAddress, roles: u32) -> proto::PeerHint {
    let addrs = address.addrs.iter().take(crate::limits::ADDRESSES_PER_PEER_MAX).cloned().collect();
    proto::PeerHint { peer: address.peer.0.clone(), addrs, roles }
}

/// An address read from the wire, bounded.
pub(super) fn read_hint(hint: &proto::PeerHint) -> Option<PeerAddress> {
    const PEER_BYTES: std::ops::RangeInclusive<usize> = 32..=64;
    const ADDR_BYTES_MAX: usize = 256;
    PEER_BYTES.contains(&hint.peer.len()).then(|| PeerAddress {
        peer: crate::ids::PeerKey(hint.peer.clone()),
        addrs: hint
            .addrs
            .iter()
            .filter(|a| a.len() <= ADDR_BYTES_MAX)
            .take(crate::limits::ADDRESSES_PER_PEER_MAX)
            .cloned()
            .collect(),
    })
}

/// A text within its bounds and free of control characters that could forge a line on a terminal.
pub(super) fn check_text(field: &'static str, text: &str, min: usize, max: usize) -> Result<(), RequestError> {
    let invalid = |why: String| Err(RequestError::Invalid { field, why });
    if text.len() < min || text.len() > max {
        return invalid(format!("{min} to {max} bytes are allowed, these are {}", text.len()));
    }
    if text.chars().any(char::is_control) {
        return invalid("line breaks and control characters are not allowed".to_owned());
    }
    Ok(())
}

fn check_profile(name: Option<&str>, status: Option<&str>, avatar: Option<&[u8]>) -> Result<(), RequestError> {
    name.map_or(Ok(()), |name| check_text("name", name, 1, NAME_BYTES_MAX))?;
    status.map_or(Ok(()), |status| check_text("status", status, 0, STATUS_BYTES_MAX))?;
    let avatar_bytes = avatar.map_or(0, <[u8]>::len);
    if avatar_bytes > AVATAR_BYTES_MAX {
        let why = format!("at most {AVATAR_BYTES_MAX} bytes are allowed, these are {avatar_bytes}");
        return Err(RequestError::Invalid { field: "avatar", why });
    }
    Ok(())
}
