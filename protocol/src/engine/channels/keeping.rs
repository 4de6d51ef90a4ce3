//! What is kept of posts: as long as their owner says, and no more than there is room for.
//!
//! What falls out by number is gone from the screen too, so that no channel can fill a disk; what its owner wrote stays
//! with the owner. Posts with smaller numbers are not taken again.

use prost::Message;

use super::super::Engine;
use super::super::turn::Turn;
use super::post_key;
use crate::channel::post::{self, Post};
use crate::ids::{ChatId, MessageId};
use crate::limits::{CHANNEL_BYTES_MAX, CHANNEL_POSTS_MAX, CHANNELS_BYTES_MAX, CHANNELS_POSTS_MAX};
use crate::store::{StoreError, Table};
use crate::time::UnixTime;
use crate::wire::proto::{self, plain::Kind};

impl Engine {
    /// Drops the oldest posts of a channel that has more than it may, then of the largest while all together have.
    pub(super) fn bound_posts(&mut self, chat: ChatId, turn: &mut Turn) -> Result<(), StoreError> {
        let is_over =
            |log: &crate::channel::log::ChannelLog| log.len() > CHANNEL_POSTS_MAX || log.bytes() > CHANNEL_BYTES_MAX;
        while self.channels.get(&chat).is_some_and(|channel| is_over(&channel.log)) {
            self.drop_first_post(chat, true, turn)?;
        }
        loop {
            let all = self.channels.values().map(|channel| &channel.log);
            let (posts, bytes) = all.fold((0, 0), |(posts, bytes), log| (posts + log.len(), bytes + log.bytes()));
            if posts <= CHANNELS_POSTS_MAX && bytes <= CHANNELS_BYTES_MAX {
                return Ok(());
            }
            let share = |log: &crate::channel::log::ChannelLog| {
                (log.len() * (CHANNELS_BYTES_MAX / CHANNELS_POSTS_MAX)).max(log.bytes())
            };
            let largest = self.channels.iter().max_by_key(|(_, channel)| share(&channel.log)).map(|(chat, _)| *chat);
            let Some(largest) = largest else { return Ok(()) };
            self.drop_first_post(largest, true, turn)?;
        }
    }

    /// Drops what is older than the owner of a channel wants it kept. The texts go by themselves.
    pub(super) fn drop_old_posts(&mut self, chat: ChatId, turn: &mut Turn) {
        let today = turn.now.unix.day_2024();
        loop {
            let Some(channel) = self.channels.get(&chat) else { return };
            let kept_from = channel.bounds(today).day_min;
            if channel.log.first_day().is_none_or(|day| day >= kept_from) {
                return;
            }
            // Without erasing nothing is read, so nothing fails.
            let _nothing = self.drop_first_post(chat, false, turn);
        }
    }

    /// The same for all channels.
    pub(in super::super) fn drop_all_old_posts(&mut self, turn: &mut Turn) {
        for chat in self.channels.keys().copied().collect::<Vec<_>>() {
            self.drop_old_posts(chat, turn);
        }
    }

    fn drop_first_post(&mut self, chat: ChatId, erase: bool, turn: &mut Turn) -> Result<(), StoreError> {
        let Some(channel) = self.channels.get_mut(&chat) else { return Ok(()) };
        let Some(seq) = channel.log.drop_first() else { return Ok(()) };
        channel.rec.floor = channel.rec.floor.max(seq + 1);
        if erase
            && let Some(id) = self.text_of_post(chat, seq, turn)?
            && turn.item(&chat, &id)?.is_some_and(|row| !row.outgoing)
        {
            turn.erase_item(chat, id);
            turn.delete(Table::Trace, id.as_bytes());
            self.list_pin(chat, id, turn)?;
        }
        turn.delete(Table::ChannelPost, &post_key(&chat, seq));
        self.save_channel(&chat, turn);
        Ok(())
    }

    /// The id of the text of a post that is here, if it is one.
    fn text_of_post(&mut self, chat: ChatId, seq: u64, turn: &Turn) -> Result<Option<MessageId>, StoreError> {
        let Some(bytes) = turn.value(Table::ChannelPost, &post_key(&chat, seq))? else { return Ok(None) };
        let Some(channel) = self.channels.get_mut(&chat) else { return Ok(None) };
        let opened = Post::stored(chat, &bytes).and_then(|post| post.open(&channel.keys.at(post.place().day)?));
        let plain = opened.and_then(|said| proto::Plain::decode(said.as_slice()).ok());
        let plain = plain.filter(|plain| matches!(plain.kind, Some(Kind::Text(_))));
        Ok(plain.map(|plain| post::message_id(&chat, seq, UnixTime(plain.ts_ms))))
    }
}
