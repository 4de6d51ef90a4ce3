//! Where readers of a channel find others over the internet: in the DHT, under keys that only holders of a link know.
//!
//! ```text
//!   the owner's record   signed by the owner's key, blinded by the day     8 places   for readers who want to be found
//! ```
//! Both are presence records as of contacts, sealed with keys of the day. Whoever holds a link can read them, and can write
//! into the places: what is found there is a hint, like everything in the DHT.

use super::super::Engine;
use super::super::account::{hint, read_hint, unix_day};
use super::super::timers::Timer;
use super::super::turn::Turn;
use super::Channel;
use crate::ids::{ChatId, PeerAddress};
use crate::limits::{CHANNEL_LINKS_WANTED, CHANNEL_SLOTS};
use crate::presence::{self, EXPIRES_AHEAD_S_MAX, PresenceKeys};
use crate::step::Send;
use crate::time::{DAY_MS, EPOCH_2024_MS, HOUR_MS, MINUTE_MS, SECOND_MS};
use crate::wire::proto;
use prost::Message;

/// First pause between looks for readers; doubles each time.
const FIND_FIRST_MS: u64 = 5 * SECOND_MS;
/// Longest pause.
const FIND_MAX_MS: u64 = 20 * MINUTE_MS;
/// Places of readers looked into at a time.
const SLOTS_AT_A_TIME: u64 = 2;
/// Days since 1970 at the beginning of the days of channels.
const FIRST_UNIX_DAY: u32 = (EPOCH_2024_MS / DAY_MS) as u32;

impl Channel {
    /// Keys under which this device says where it is on a day, if it does.
    fn place(&mut self, unix_day: u32) -> Option<PresenceKeys> {
        let day = unix_day.checked_sub(FIRST_UNIX_DAY)?;
        let key = self.keys.at(day)?;
        match (&self.seed, self.slot) {
            (Some(seed), _) => Some(key.owner_presence(seed)),
            (None, Some(slot)) => key.slot(slot),
            (None, None) => None,
        }
    }
}

impl Engine {
    /// Says for all channels where this device is.
    pub(in super::super) fn publish_channels(&mut self, turn: &mut Turn) {
        for chat in self.channels.keys().copied().collect::<Vec<_>>() {
            self.publish_channel(&chat, turn);
        }
    }

    /// Says to other readers where this device is, if it serves.
    pub(super) fn publish_channel(&mut self, chat: &ChatId, turn: &mut Turn) {
        let Some(address) = &self.address else { return };
        let Some(channel) = self.channels.get_mut(chat).filter(|channel| channel.rec.serve) else { return };
        let slot = self.chance.below(u64::from(CHANNEL_SLOTS));
        channel.slot.get_or_insert(u8::try_from(slot).unwrap_or_default());
        let plain = proto::PresencePlain { me: Some(hint(address, 0)), ..proto::PresencePlain::default() };
        let expires_s = turn.now.unix.0 / SECOND_MS + EXPIRES_AHEAD_S_MAX - HOUR_MS / SECOND_MS;
        let today = unix_day(turn.now.unix);
        for day in [today, today + 1] {
            let Some(keys) = channel.place(day) else { continue };
            if let Ok((key, value)) = presence::publish(&keys, day, turn.now.unix.0, &plain, expires_s) {
                turn.send(Send::PublishRecord { key, value });
            }
        }
    }

    /// Dials readers where they were and looks where the owner and others are; then again, ever more rarely.
    pub(in super::super) fn find_channel(&mut self, chat: ChatId, turn: &mut Turn) {
        // Without an address of our own there is no network to look in; the first one brings us back here.
        let Some(own) = self.address.clone() else { return };
        let enough = self.links_of_channel(&chat).count() >= CHANNEL_LINKS_WANTED;
        let Some(channel) = self.channels.get_mut(&chat) else { return };
        let pause = FIND_FIRST_MS.saturating_mul(1 << channel.find_attempts.min(20)).min(FIND_MAX_MS);
        channel.find_attempts = channel.find_attempts.saturating_add(1);
        let jitter = self.chance.below(pause / 5 + 1);
        self.timers.set(Timer::FindChannel(chat), turn.now.moment.after_ms(pause + jitter));
        if enough {
            return;
        }
        let first = self.chance.below(u64::from(CHANNEL_SLOTS));
        let Some(channel) = self.channels.get_mut(&chat) else { return };
        let peers = channel.rec.peers.iter();
        let known = peers.filter_map(|bytes| read_hint(&proto::PeerHint::decode(bytes.as_slice()).ok()?));
        let known: Vec<PeerAddress> = known.filter(|address| address.peer != own.peer).collect();
        let today = unix_day(turn.now.unix);
        let mut places = Vec::new();
        for unix_day in [today, today.saturating_sub(1)] {
            let key = unix_day.checked_sub(FIRST_UNIX_DAY).and_then(|day| channel.keys.at(day));
            let Some(key) = key else { continue };
            if !channel.is_own() {
                places.push((unix_day, key.owner_record(&channel.owner)));
            }
            if unix_day == today {
                let slots = (0..SLOTS_AT_A_TIME).map(|at| ((first + at) % u64::from(CHANNEL_SLOTS)) as u8);
                places.extend(slots.filter_map(|slot| key.slot(slot)).map(|keys| (unix_day, keys.public())));
            }
        }
        for address in known {
            self.dial_reader(address, turn);
        }
        self.wanted_channels.retain(|_, (of, _, _)| *of != chat);
        for (day, presence) in places {
            if let Ok(key) = presence::lookup_key(&presence, day) {
                self.wanted_channels.insert(key, (chat, presence, day));
                turn.send(Send::FindRecord { key });
            }
        }
    }

    /// The DHT answered. Signed and sealed by whoever holds a link: a hint where a reader may be.
    pub(in super::super) fn channel_record_found(&mut self, key: &[u8; 32], value: &[u8], turn: &mut Turn) {
        let Some((chat, presence, day)) = self.wanted_channels.get(key) else { return };
        let (chat, now_s) = (*chat, turn.now.unix.0 / SECOND_MS);
        if presence::validate(key, value, now_s).is_err() {
            return;
        }
        let Ok(plain) = presence::open(presence, *day, value) else { return };
        let Some(address) = plain.me.as_ref().and_then(read_hint) else { return };
        if self.address.as_ref().is_some_and(|own| own.peer == address.peer) {
            return;
        }
        self.note_reader(&chat, address.clone());
        self.save_channel(&chat, turn);
        self.dial_reader(address, turn);
    }

    fn dial_reader(&self, address: PeerAddress, turn: &mut Turn) {
        let linked = self.links.values().any(|state| state.peer == address.peer);
        if !linked && !self.distrusted.contains(&address.peer) {
            turn.send(Send::Dial { address, relay: false });
        }
    }
}
