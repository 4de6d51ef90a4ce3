//! Who is at the other end of a link. A peer key proves nothing about an account; a pair token does.
//!
//! Each side sends one `Hello` with 8 bytes for every contact it has, derived from the static Diffie-Hellman secret
//! of the pair, both peer keys and a nonce, and padded with noise to a power of two. Contacts recognise each other;
//! a stranger sees random bytes and roughly how many contacts there are at most.

use std::collections::{BTreeMap, BTreeSet};

use super::channels::exchange::{Exchange, token_room};
use super::couriers::{Meeting, near};
use super::groups::sync::Comparison;
use super::timers::Timer;
use super::turn::Turn;
use super::{Engine, Waiting};
use crate::ids::{ChatId, LinkId, PeerAddress, PeerKey};
use crate::input::Route;
use crate::limits::{CONTACTS_MAX, FRAME_BYTES_UNPROVEN_MAX, LINKS_MAX};
use crate::session::pair;
use crate::step::{LiveEvent, Send};
use crate::store::StoreError;
use crate::time::{MINUTE_MS, Moment, SECOND_MS};
use crate::wire::frame::Frame;
use crate::wire::proto;

/// A link that proved neither a contact nor a relay after so long is closed.
const UNPROVEN_MS: u64 = 2 * MINUTE_MS;
/// Fewest tokens a Hello carries: with less than this many contacts their number stays hidden.
const TOKENS_MIN: usize = 16;
/// First pause between attempts to find a contact; doubles each time.
const FIND_FIRST_MS: u64 = 5 * SECOND_MS;
/// Longest pause between attempts to find a contact.
const FIND_MAX_MS: u64 = 10 * MINUTE_MS;
/// Bits of `Hello.roles`.
const ROLE_RELAY: u32 = 1;
const ROLE_CARRIER: u32 = 2;
/// Malformed frames a link may send before it is closed.
const BAD_FRAMES_MAX: u32 = 8;

/// A link and what is known of its other end.
pub(super) struct Link {
    pub(super) peer: PeerKey,
    pub(super) local: PeerKey,
    pub(super) route: Route,
    /// The contact at the other end, proven by its token.
    pub(super) chat: Option<ChatId>,
    /// The contact whose card came over this link: not proven, but who else would have had it.
    pub(super) brought: Option<ChatId>,
    /// Malformed frames so far.
    bad_frames: u32,
    /// The Hello they sent last.
    their_hello: Option<proto::Hello>,
    /// Nonces of the first Hello of each side: an encounter is salted with them.
    pub(super) own_nonce: Option<[u8; 16]>,
    pub(super) their_nonce: Option<[u8; 16]>,
    /// The other end can carry.
    pub(super) carries: bool,
    /// When it came up.
    pub(super) up_at: Moment,
    /// The encounter on this link, once both sides have said that they carry.
    pub(super) meeting: Option<Box<Meeting>>,
    /// Comparisons of groups' letters with the member at the other end.
    pub(super) comparisons: BTreeMap<ChatId, Comparison>,
    /// Channels that the other end reads too.
    pub(super) channels: BTreeMap<ChatId, Exchange>,
}

impl Link {
    /// The last well-formed Hello of the other end.
    pub(super) fn hello(&self) -> Option<&proto::Hello> {
        self.their_hello.as_ref()
    }
}

impl Engine {
    pub(super) fn link_up(
        &mut self,
        link: LinkId,
        peer: PeerKey,
        local: PeerKey,
        route: Route,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        if self.links.len() >= LINKS_MAX {
            turn.send(Send::Close { link });
            return Ok(());
        }
        let state = Link {
            peer: peer.clone(),
            local,
            route,
            chat: None,
            brought: None,
            their_hello: None,
            bad_frames: 0,
            own_nonce: None,
            their_nonce: None,
            carries: false,
            up_at: turn.now.moment,
            meeting: None,
            comparisons: BTreeMap::new(),
            channels: BTreeMap::new(),
        };
        self.links.insert(link, state);
        self.mail.link_up(link, &mut self.chance);
        self.timers.set(Timer::Unproven(link), turn.now.moment.after_ms(UNPROVEN_MS));
        self.send_hello(link, turn);
        self.relay_link_up(&peer, link, turn);
        for chat in self.chats_hinted_at(&peer) {
            self.ask_for_card(chat, link, turn);
            self.drive_all(chat, turn)?;
        }
        if route == Route::Radio {
            self.ask_by_radio(link, turn);
        }
        Ok(())
    }

    pub(super) fn link_route(&mut self, link: LinkId, route: Route, turn: &mut Turn) -> Result<(), StoreError> {
        if let Some(state) = self.links.get_mut(&link) {
            state.route = route;
            if let Some(chat) = state.chat {
                self.drive_all(chat, turn)?;
            }
        }
        Ok(())
    }

    pub(super) fn link_down(&mut self, link: LinkId, turn: &mut Turn) -> Result<(), StoreError> {
        let Some(state) = self.links.remove(&link) else { return Ok(()) };
        self.mail.link_down(link);
        self.timers.cancel(&Timer::Unproven(link));
        self.outbox.link_down(link);
        if self.coming.gone(link) {
            self.ask_again(turn);
        }
        self.relay_link_down(&state.peer, link, turn);
        self.parted(&state, turn);
        self.channels_parted(&state.channels, turn);
        if let Some(chat) = state.chat {
            if self.best_link(&chat).is_none()
                && let Some(contact) = self.contacts.get_mut(&chat)
            {
                contact.find_attempts = 0;
                if std::mem::take(&mut contact.beat) {
                    turn.live(LiveEvent::Presence { chat, online: false });
                }
            }
            self.timers.set(Timer::FindContact(chat), turn.now.moment.after_ms(SECOND_MS));
            self.drive_all(chat, turn)?;
        }
        Ok(())
    }

    /// Time spent nearby counts when carriers are chosen.
    fn parted(&mut self, state: &Link, turn: &mut Turn) {
        let Some(chat) = state.chat.filter(|_| near(state.route)) else { return };
        if let Some(contact) = self.contacts.get_mut(&chat) {
            let together_ms = turn.now.moment.0.saturating_sub(state.up_at.0);
            contact.rec.met_s = contact.rec.met_s.saturating_add(together_ms / SECOND_MS);
            self.save_contact(&chat, turn);
        }
    }

    pub(super) fn close_unproven(&mut self, link: LinkId, turn: &mut Turn) {
        let Some(state) = self.links.get(&link) else { return };
        let useful = state.chat.is_some()
            || self.relay_wanted(&state.peer)
            || !self.chats_hinted_at(&state.peer).is_empty()
            || state.meeting.is_some()
            || self.is_kept_for_channels(link)
            || self.mail.limits().is_some();
        if useful {
            self.timers.set(Timer::Unproven(link), turn.now.moment.after_ms(UNPROVEN_MS));
        } else {
            turn.send(Send::Close { link });
        }
    }

    /// A frame arrived. Malformed ones change nothing; a link that sends many is closed.
    pub(super) fn frame(&mut self, link: LinkId, bytes: &[u8], turn: &mut Turn) -> Result<(), StoreError> {
        let Some(state) = self.links.get_mut(&link) else { return Ok(()) };
        let proven = state.chat.is_some() || self.relays.contains_key(&state.peer);
        let frame = match Frame::decode(bytes) {
            Ok(frame) if proven || self.mail.limits().is_some() || bytes.len() <= FRAME_BYTES_UNPROVEN_MAX => frame,
            _ => {
                self.malformed(link, turn);
                return Ok(());
            }
        };
        match frame {
            Frame::Hello(hello) => self.hello(link, hello, turn),
            Frame::Envelopes(envelopes) => self.envelopes_arrived(link, &envelopes, turn),
            Frame::Receipts(preimages) => self.receipts_arrived(link, &preimages, turn),
            Frame::MboxReq(req) => self.serve_request(link, req, turn),
            Frame::MboxRes(res) => self.relay_answered(link, res, turn),
            Frame::MboxPush(push) => self.relay_pushed(link, push, turn),
            Frame::CardReq(req) => {
                self.card_asked(link, &req, turn);
                Ok(())
            }
            Frame::CardRes(res) => self.card_arrived(Some(link), &res.blob_id, &res.sealed, turn),
            Frame::Meet(meet) => self.meet_arrived(link, meet, turn),
            Frame::Reconcile(message) => self.reconcile_arrived(link, &message, turn),
            Frame::Have(offers) => {
                self.have_arrived(link, &offers, turn);
                Ok(())
            }
            Frame::Want(ids) => self.want_arrived(link, &ids, turn),
            Frame::Parcels(parcels) => self.parcels_arrived(link, parcels, turn),
            Frame::Taken(count) => self.parcels_taken(link, count, turn),
            Frame::Vaccines(vaccines) => self.vaccines_arrived(link, &vaccines, turn),
            Frame::Sheet(part) => {
                self.sheet_arrived(link, &part, turn);
                Ok(())
            }
            Frame::GroupSync(sync) => self.group_sync_arrived(link, sync, turn),
            Frame::ChannelSync(sync) => self.channel_sync_arrived(link, sync, turn),
            Frame::SheetAt(version) => {
                self.sheet_held(link, version, turn);
                Ok(())
            }
        }
    }

    /// A frame was malformed, or what is in it.
    pub(super) fn malformed(&mut self, link: LinkId, turn: &mut Turn) {
        let Some(state) = self.links.get_mut(&link) else { return };
        state.bad_frames += 1;
        if state.bad_frames > BAD_FRAMES_MAX {
            turn.send(Send::Close { link });
        }
    }

    /// Says hello, or again after a contact was made or a channel joined.
    pub(super) fn send_hello(&mut self, link: LinkId, turn: &mut Turn) {
        let nonce: [u8; 16] = self.chance.bytes();
        let Some(state) = self.links.get_mut(&link) else { return };
        state.own_nonce.get_or_insert(nonce);
        let (local, peer) = (state.local.clone(), state.peer.clone());
        let mut tokens: Vec<[u8; 8]> = self
            .contacts
            .values()
            .filter(|c| c.recognisable())
            .filter_map(|c| c.pair.as_ref())
            .map(|pair| pair::link_token(pair, &local.0, &peer.0, &nonce))
            .collect();
        let room = token_room(tokens.len());
        tokens.extend(self.channel_tokens(&local, &peer, &nonce, turn.now.unix, room));
        let padded = tokens.len().max(TOKENS_MIN).next_power_of_two();
        while tokens.len() < padded {
            tokens.push(self.chance.bytes());
        }
        tokens.sort_unstable();
        let roles = u32::from(self.mail.limits().is_some()) * ROLE_RELAY + ROLE_CARRIER;
        let hello = proto::Hello { v: 1, nonce: nonce.to_vec(), tokens8: tokens.concat(), roles };
        turn.frame(link, &Frame::Hello(hello));
    }

    /// Says hello again on every link that has not proven a contact: one has just been made.
    pub(super) fn hello_again(&mut self, turn: &mut Turn) -> Result<(), StoreError> {
        let unproven: Vec<LinkId> = self.links.iter().filter(|(_, l)| l.chat.is_none()).map(|(id, _)| *id).collect();
        for link in unproven {
            self.send_hello(link, turn);
            self.recognise(link, turn)?;
        }
        Ok(())
    }

    fn hello(&mut self, link: LinkId, hello: proto::Hello, turn: &mut Turn) -> Result<(), StoreError> {
        let well_formed = hello.nonce.len() == 16
            && hello.tokens8.len().is_multiple_of(8)
            && hello.tokens8.len() <= 8 * CONTACTS_MAX.next_power_of_two();
        if !well_formed {
            return Ok(());
        }
        let carries = hello.roles & ROLE_CARRIER != 0;
        if let Some(state) = self.links.get_mut(&link) {
            if let Ok(nonce) = hello.nonce.as_slice().try_into() {
                state.their_nonce.get_or_insert(nonce);
            }
            state.carries = carries;
            state.their_hello = Some(hello);
        }
        self.recognise(link, turn)?;
        self.recognise_channels(link, turn);
        if carries {
            self.meet(link, turn);
        }
        Ok(())
    }

    /// Compares the tokens of their last Hello with what each contact would have sent.
    fn recognise(&mut self, link: LinkId, turn: &mut Turn) -> Result<(), StoreError> {
        let Some(state) = self.links.get(&link) else { return Ok(()) };
        let Some(hello) = &state.their_hello else { return Ok(()) };
        let Ok(nonce) = <[u8; 16]>::try_from(hello.nonce.as_slice()) else { return Ok(()) };
        let tokens: BTreeSet<&[u8]> = hello.tokens8.chunks_exact(8).collect();
        let found = self.contacts.iter().find_map(|(chat, contact)| {
            let pair = contact.recognisable().then_some(contact.pair.as_ref()).flatten()?;
            tokens.contains(pair::link_token(pair, &state.peer.0, &state.local.0, &nonce).as_slice()).then_some(*chat)
        });
        let Some(chat) = found else { return Ok(()) };
        if state.chat == Some(chat) {
            return Ok(());
        }
        if let Some(state) = self.links.get_mut(&link) {
            state.chat = Some(chat);
        }
        self.vouch_for(&chat, turn);
        self.timers.cancel(&Timer::Unproven(link));
        self.timers.cancel(&Timer::FindContact(chat));
        if let Some(contact) = self.contacts.get_mut(&chat) {
            contact.find_attempts = 0;
            contact.unknown_tags.clear();
        }
        self.drive_all(chat, turn)?;
        self.say_sheet(link, chat, turn);
        self.compare_letters(link, turn);
        self.tell_grants(chat, turn)?;
        self.beat(chat, turn)
    }

    /// The best link to a contact: proven by a token, or to the very peer its signed card or record names.
    pub(super) fn best_link(&self, chat: &ChatId) -> Option<LinkId> {
        let proven = self.links.iter().filter(|(_, l)| l.chat == Some(*chat)).max_by_key(|(id, l)| (l.route, **id));
        if let Some((link, _)) = proven {
            return Some(*link);
        }
        let contact = self.contacts.get(chat)?;
        let named = |l: &Link| l.brought == Some(*chat) || contact.peers.iter().any(|p| p.peer == l.peer);
        let hinted = |l: &Link| l.chat.is_none() && named(l);
        self.links.iter().filter(|(_, l)| hinted(l)).max_by_key(|(id, l)| (l.route, **id)).map(|(link, _)| *link)
    }

    /// Conversations whose card, record or last message named this peer.
    fn chats_hinted_at(&self, peer: &PeerKey) -> Vec<ChatId> {
        self.contacts.iter().filter(|(_, c)| c.peers.iter().any(|p| p.peer == *peer)).map(|(chat, _)| *chat).collect()
    }

    /// A peer on the same network: worth a dial, because only a link can tell who it is.
    pub(super) fn nearby(&mut self, address: PeerAddress, turn: &mut Turn) {
        let known = self.links.values().any(|l| l.peer == address.peer);
        if self.own.is_some() && !known {
            turn.send(Send::Dial { address, relay: false });
        }
    }

    /// Dials a contact where it was last known and asks the DHT where it is; then again, ever more rarely.
    pub(super) fn find_contact(&mut self, chat: ChatId, turn: &mut Turn) {
        // Without an address of our own there is no network to look in; the first one brings us back here.
        if self.address.is_none() {
            return;
        }
        self.seek_card(chat, turn);
        if self.best_link(&chat).is_some() && self.wanted_card(&chat).is_none() {
            return;
        }
        let Some(contact) = self.contacts.get_mut(&chat) else { return };
        if !contact.state().exchanges_mail() {
            return;
        }
        let pause = FIND_FIRST_MS.saturating_mul(1 << contact.find_attempts.min(20)).min(FIND_MAX_MS);
        contact.find_attempts += 1;
        for address in contact.peers.clone() {
            turn.send(Send::Dial { address, relay: false });
        }
        let today = super::account::unix_day(turn.now.unix);
        for (day, key) in contact.lookup_keys(today) {
            self.wanted_records.insert(key, (chat, day));
            turn.send(Send::FindRecord { key });
        }
        let jitter = self.chance.below(pause / 5 + 1);
        self.timers.set(Timer::FindContact(chat), turn.now.moment.after_ms(pause + jitter));
    }

    /// The DHT answered. The value is verified here once more: the DHT is only ever a hint.
    pub(super) fn record_found(&mut self, key: &[u8; 32], value: &[u8], turn: &mut Turn) -> Result<(), StoreError> {
        let Some((chat, day)) = self.wanted_records.get(key).copied() else {
            self.channel_record_found(key, value, turn);
            return Ok(());
        };
        let Some(contact) = self.contacts.get_mut(&chat) else { return Ok(()) };
        let Some(presence) = contact.presence() else { return Ok(()) };
        let now_s = turn.now.unix.0 / 1_000;
        let Ok(validated) = crate::presence::validate(key, value, now_s) else { return Ok(()) };
        if validated.seq <= contact.record_seq {
            return Ok(());
        }
        let Ok(plain) = crate::presence::open(&presence, day, value) else { return Ok(()) };
        contact.record_seq = validated.seq;
        let Some(address) = plain.me.as_ref().and_then(super::account::read_hint) else { return Ok(()) };
        if !contact.peers.contains(&address) {
            contact.set_peers(vec![address.clone()]);
            self.save_contact(&chat, turn);
        }
        if self.best_link(&chat).is_none() {
            turn.send(Send::Dial { address, relay: false });
        }
        Ok(())
    }

    /// The ping of ours that this nonce answers, and when it left.
    pub(super) fn ping_of(
        &self,
        chat: &ChatId,
        nonce: &[u8],
    ) -> Option<(crate::input::RequestId, crate::time::Moment)> {
        self.waiting.iter().find_map(|(id, waiting)| match waiting {
            Waiting::Ping { chat: of, nonce: wanted, sent } if of == chat && wanted == nonce => Some((*id, *sent)),
            _ => None,
        })
    }
}
