//! Channels: one owner, and readers who know neither each other nor the owner.
//!
//! ```text
//!   changes.rs   made, joined, left, changed; links       posts.rs   written here, and taken in
//!   exchange.rs  readers recognise each other on a link, compare and hand over
//!   keeping.rs   what is kept of posts, and how long      finding.rs where readers and owners say that they are
//! ```
//! A reader hands on what it has to whoever shows that it holds a link. Everybody else is shown a Hello like any other.

mod changes;
pub(super) mod exchange;
mod finding;
mod keeping;
mod posts;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::records::each;
use super::records::state::ChannelRecord;
use super::timers::Timer;
use super::turn::Turn;
use super::{Answer, Engine};
pub(super) use posts::check_post_length;

use crate::channel::keys::{DayKey, DayKeys};
use crate::channel::log::{Bounds, ChannelLog};
use crate::channel::post::Post;
use crate::channel::view::ChannelView;
use crate::crypto::ed25519::{SigningKey, VerifyingKey};
use crate::ids::ChatId;
use crate::input::Request;
use crate::step::{Reply, RequestError};
use crate::store::{StoreError, Table};
use crate::time::{DAY_MS, EPOCH_2024_MS, UnixTime};

/// A channel, decoded.
pub(super) struct Channel {
    pub(super) rec: ChannelRecord,
    owner: VerifyingKey,
    /// The owner's secret, if it is this account.
    seed: Option<SigningKey>,
    keys: DayKeys,
    log: ChannelLog,
    /// The keys of yesterday, today and tomorrow, as far as they are known, and of which day that is today.
    around: (u32, Vec<DayKey>),
    find_attempts: u32,
    /// Where this device says that it reads the channel, drawn once a run.
    slot: Option<u8>,
}

impl Channel {
    fn read(rec: ChannelRecord) -> Option<Self> {
        let owner = VerifyingKey::read(&rec.owner).ok()?;
        let seed = if rec.seed.is_empty() { None } else { Some(SigningKey::read(&rec.seed)?) };
        let keys = DayKeys::new(DayKey::read(rec.first_day, &rec.first_key)?);
        let around = (u32::MAX, Vec::new());
        Some(Self { rec, owner, seed, keys, log: ChannelLog::default(), around, find_attempts: 0, slot: None })
    }

    pub(super) fn name(&self) -> &str {
        &self.rec.name
    }

    fn is_own(&self) -> bool {
        self.seed.is_some()
    }

    /// Clocks of readers differ: a token of a day beside today's is recognised too.
    fn keys_around(&mut self, today: u32) -> &[DayKey] {
        if self.around.0 != today {
            let days = today.saturating_sub(1)..=today.saturating_add(1);
            self.around = (today, days.filter_map(|day| self.keys.first().on(day)).collect());
        }
        &self.around.1
    }

    /// The key of today; by whose clock the link is of tomorrow, of that day.
    fn key_today(&mut self, today: u32) -> Option<DayKey> {
        let day = today.max(self.keys.first().day());
        self.keys_around(today).iter().find(|key| key.day() == day).cloned()
    }

    fn bounds(&self, today: u32) -> Bounds {
        let kept_from = match self.rec.retention_days {
            0 => 0,
            days => today.saturating_sub(days),
        };
        Bounds {
            floor: self.rec.floor,
            day_min: kept_from.max(self.keys.first().day()),
            day_max: today.saturating_add(1),
        }
    }
}

impl Engine {
    /// Answers a request about channels.
    pub(super) fn channel_request(&mut self, request: Request, turn: &mut Turn) -> Result<Answer, StoreError> {
        match request {
            Request::ChannelCreate { name, topic, retention_days } => {
                self.channel_create(name, topic, retention_days, turn)
            }
            Request::ChannelJoin { link, serve } => self.channel_join(&link, serve, turn),
            Request::ChannelLeave { chat } => Ok(self.channel_leave(chat, turn)),
            Request::ChannelList => Ok(Ok(Reply::Channels(self.channel_views()))),
            Request::Channel { chat } => Ok(self.channel_reply(&chat)),
            Request::ChannelSet { chat, changes } => self.channel_set(chat, changes, turn),
            Request::ChannelLink { chat, from } => self.channel_link(chat, from, turn),
            _ => Ok(super::not_found("request")),
        }
    }

    /// True for a conversation that is a channel. A driver may read it between two transactions, when it is what was
    /// committed.
    pub fn is_channel(&self, chat: &ChatId) -> bool {
        self.channels.contains_key(chat)
    }

    /// Why this account does not write in a conversation that is a channel.
    pub(super) fn may_write_channel(&self, chat: &ChatId) -> Result<(), RequestError> {
        match self.channels.get(chat) {
            Some(channel) if !channel.is_own() => Err(RequestError::NotOwner),
            _ => Ok(()),
        }
    }

    fn channel_reply(&self, chat: &ChatId) -> Answer {
        let view = self.channels.get(chat).map(|channel| self.channel_view(chat, channel));
        view.map(|view| Reply::Channel(Box::new(view))).ok_or(RequestError::NotFound("channel"))
    }

    fn channel_views(&self) -> Vec<ChannelView> {
        self.channels.iter().map(|(chat, channel)| self.channel_view(chat, channel)).collect()
    }

    fn channel_view(&self, chat: &ChatId, channel: &Channel) -> ChannelView {
        ChannelView {
            chat: *chat,
            name: channel.rec.name.clone(),
            topic: channel.rec.topic.clone(),
            owner: channel.is_own(),
            readable_from: beginning_of(channel.keys.first().day()),
            posts: u32::try_from(channel.log.len()).unwrap_or(u32::MAX),
            bytes: channel.log.bytes() as u64,
            newest: channel.log.head().map(|(seq, _)| seq),
            retention_days: channel.rec.retention_days,
            forked: channel.rec.forked.then_some(channel.rec.forked_at),
            readers: u32::try_from(self.links_of_channel(chat).count()).unwrap_or(u32::MAX),
            serve: channel.rec.serve,
            joined_at: UnixTime(channel.rec.joined_at),
        }
    }

    // ---- stored form

    /// Reads every channel that was committed.
    pub(super) fn load_channels(&mut self, turn: &mut Turn) -> Result<(), StoreError> {
        let mut channels: BTreeMap<ChatId, Channel> = BTreeMap::new();
        each(turn, Table::Channel, |key, value| {
            let channel = Channel::read(prost::Message::decode(value).ok()?)?;
            channels.insert(ChatId::read(key)?, channel);
            Some(())
        })?;
        each(turn, Table::ChannelPost, |key, value| {
            let (chat, place) = key.split_at_checked(ChatId::LEN)?;
            let chat = ChatId::read(chat)?;
            // The other post of a fork has a longer key.
            if place.len() == POST_KEY_BYTES
                && let Some(channel) = channels.get_mut(&chat)
            {
                channel.log.insert(&Post::stored(chat, value)?, value.len());
            }
            Some(())
        })?;
        for chat in channels.keys() {
            self.timers.set(Timer::FindChannel(*chat), turn.now.moment);
        }
        self.channels = channels;
        Ok(())
    }

    fn save_channel(&self, chat: &ChatId, turn: &mut Turn) {
        if let Some(channel) = self.channels.get(chat) {
            turn.put_record(Table::Channel, chat.as_bytes(), &channel.rec);
        }
    }
}

const POST_KEY_BYTES: usize = 8;

fn post_key(chat: &ChatId, seq: u64) -> Vec<u8> {
    [chat.as_bytes(), &seq.to_be_bytes()].concat()
}

/// The key of the other post of a fork.
fn fork_key(chat: &ChatId, seq: u64) -> Vec<u8> {
    [&post_key(chat, seq)[..], &[1]].concat()
}

fn beginning_of(day: u32) -> UnixTime {
    UnixTime(EPOCH_2024_MS).after_ms(u64::from(day) * DAY_MS)
}
