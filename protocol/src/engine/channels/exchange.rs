//! Two readers on a link: they recognise each other, say which posts they have, and hand over what the other lacks.
//!
//! ```text
//!   Hello ◀▶ Hello   one of its tokens is that of a channel     Have ◀▶ Have   numbers, and the hash of the last post
//!   Want ─▶  ◀─ Posts   as many as were asked for, in pieces; what is new here is announced on other links
//! ```
//! Only what was asked for is looked at: who brings anything else costs nothing. Who brings a post that its owner has not
//! signed is left, and not exchanged with until the next start.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Engine;
use super::super::timers::Timer;
use super::super::turn::Turn;
use super::{fork_key, post_key};
use crate::channel::keys::TOKEN_BYTES;
use crate::channel::log::Verdict;
use crate::channel::post::{Post, PostError};
use crate::channel::ranges::Ranges;
use crate::ids::{ChatId, LinkId, PeerKey};
use crate::limits::{
    CHANNEL_ANNOUNCED_LINKS, CHANNEL_DISTRUSTED_MAX, CHANNEL_FRAME_BYTES, CHANNEL_LINKS_MAX, CHANNEL_POSTS_MAX,
    CHANNEL_SERVED_BYTES_MAX, CHANNEL_WANTS_MAX, CHANNELS_SERVED_BYTES_MAX, CONTACTS_MAX, STRANGER_WINDOW_MS,
};
use crate::step::{Path, Send};
use crate::store::{StoreError, Table};
use crate::time::{MINUTE_MS, Moment, SECOND_MS, UnixTime};
use crate::wire::frame::Frame;
use crate::wire::proto::{self, channel_sync::S};

/// What was asked for and has not come after so long without any progress is asked of somebody else: the largest post takes
/// as long on the slowest radio.
const PATIENCE_MS: u64 = 30 * SECOND_MS;
/// Readers on links are compared with again so often: an announcement reaches few of many.
const COMPARE_MS: u64 = 10 * MINUTE_MS;
/// A link is gone: others are looked for after so long, and no sooner, however often one comes and goes.
const FIND_AGAIN_MS: u64 = 10 * SECOND_MS;
/// Links on which posts are compared again at a time.
const COMPARED_LINKS: usize = 4;
/// Posts of a link that are not asked for a second time.
const REFUSED_MAX: usize = 1_024;
/// Posts that prove a fork: two for one number, and their neighbours.
const PROOF_POSTS: usize = 4;

/// What is known of a reader at the other end of a link.
#[derive(Debug, Default)]
pub(in super::super) struct Exchange {
    /// Posts it says it has.
    theirs: Ranges,
    /// Asked for and not yet here.
    asked: BTreeSet<u64>,
    /// The last progress of that.
    since: Moment,
    /// The proof of a fork was asked for.
    asked_proof: bool,
    /// It did not hand over what it says it has: until it says something anew nothing is asked of it.
    idle: bool,
    /// What it has and is not taken here.
    refused: BTreeSet<u64>,
    /// Bytes handed over to it, and since when.
    served: usize,
    served_since: Moment,
}

impl Exchange {
    fn may_ask(&self, seq: u64) -> bool {
        self.asked.len() < CHANNEL_WANTS_MAX && !self.asked.contains(&seq)
    }

    /// Time runs from the first that is asked for, and anew with each that comes: asking for more does not stretch it.
    fn ask(&mut self, numbers: impl IntoIterator<Item = u64>, now: Moment) {
        if self.asked.is_empty() {
            self.since = now;
        }
        self.asked.extend(numbers);
    }
}

impl Engine {
    // ---- recognising

    /// What a Hello says of the channels that are read here.
    pub(in super::super) fn channel_tokens(
        &mut self,
        local: &PeerKey,
        peer: &PeerKey,
        nonce: &[u8; 16],
        now: UnixTime,
        room: usize,
    ) -> Vec<[u8; TOKEN_BYTES]> {
        let today = now.day_2024();
        let keys = self.channels.values_mut().filter_map(|channel| channel.key_today(today));
        keys.map(|key| key.token(&local.0, &peer.0, nonce)).take(room).collect()
    }

    /// Looks for channels of ours in the last Hello of the other end.
    pub(in super::super) fn recognise_channels(&mut self, link: LinkId, turn: &mut Turn) {
        let Some(state) = self.links.get(&link) else { return };
        let Some(hello) = state.hello() else { return };
        if self.channels.is_empty() || self.distrusted.contains(&state.peer) {
            return;
        }
        let tokens: BTreeSet<&[u8]> = hello.tokens8.chunks_exact(TOKEN_BYTES).collect();
        let today = turn.now.unix.day_2024();
        let mut found = Vec::new();
        for (chat, channel) in self.channels.iter_mut().filter(|(chat, _)| !state.channels.contains_key(chat)) {
            let said = |key: &crate::channel::keys::DayKey| key.token(&state.peer.0, &state.local.0, &hello.nonce);
            if channel.keys_around(today).iter().any(|key| tokens.contains(said(key).as_slice())) {
                channel.find_attempts = 0;
                found.push(*chat);
            }
        }
        for chat in found {
            if let Some(state) = self.links.get_mut(&link) {
                state.channels.insert(chat, Exchange::default());
            }
            self.timers.set_if_unarmed(Timer::ComparePosts, turn.now.moment.after_ms(COMPARE_MS));
            self.say_have(link, chat, false, turn);
        }
    }

    /// Says hello again everywhere: one channel more is read here.
    pub(super) fn hello_to_all(&mut self, turn: &mut Turn) {
        for link in self.links.keys().copied().collect::<Vec<_>>() {
            self.send_hello(link, turn);
            self.recognise_channels(link, turn);
        }
    }

    /// Links whose other end reads a channel.
    pub(super) fn links_of_channel(&self, chat: &ChatId) -> impl Iterator<Item = LinkId> {
        let chat = *chat;
        self.links.iter().filter(move |(_, state)| state.channels.contains_key(&chat)).map(|(link, _)| *link)
    }

    /// True for a link to a reader, unless there are many of them that came earlier and are nothing else.
    pub(in super::super) fn is_kept_for_channels(&self, link: LinkId) -> bool {
        let reads = self.links.get(&link).is_some_and(|state| !state.channels.is_empty());
        let earlier = self.links.range(..link).filter(|(_, state)| state.chat.is_none() && !state.channels.is_empty());
        reads && earlier.count() < CHANNEL_LINKS_MAX
    }

    /// A link is gone: what was to come over it is asked for elsewhere.
    pub(in super::super) fn channels_parted(&mut self, channels: &BTreeMap<ChatId, Exchange>, turn: &mut Turn) {
        for chat in channels.keys().filter(|chat| self.channels.contains_key(chat)).copied().collect::<Vec<_>>() {
            self.timers.set_earlier(Timer::FindChannel(chat), turn.now.moment.after_ms(FIND_AGAIN_MS));
            self.ask_everywhere_for_posts(chat, turn);
        }
    }

    // ---- saying what is here

    fn say_have(&self, link: LinkId, chat: ChatId, ask: bool, turn: &mut Turn) {
        let Some(channel) = self.channels.get(&chat) else { return };
        let have = proto::ChannelHave {
            numbers: channel.log.held().write(),
            head: channel.log.head().map(|(_, hash)| hash.to_vec()).unwrap_or_default(),
            ask,
            forked: channel.rec.forked,
        };
        say(link, chat, S::Have(have), turn);
    }

    /// Tells others of new posts: the one they came from, so that it knows, and some of the rest by lot.
    pub(super) fn announce_posts(&mut self, chat: ChatId, from: Option<LinkId>, turn: &mut Turn) {
        let others: Vec<LinkId> = self.links_of_channel(&chat).filter(|link| Some(*link) != from).collect();
        let drawn = self.draw(others, CHANNEL_ANNOUNCED_LINKS);
        for link in from.into_iter().chain(drawn) {
            self.say_have(link, chat, false, turn);
        }
    }

    fn draw(&mut self, links: Vec<LinkId>, count: usize) -> Vec<LinkId> {
        if links.len() <= count {
            return links;
        }
        let mut drawn: Vec<(u64, LinkId)> = links.into_iter().map(|link| (self.chance.below(u64::MAX), link)).collect();
        drawn.sort_unstable();
        drawn.into_iter().take(count).map(|(_, link)| link).collect()
    }

    /// Compares with some of those who are there.
    pub(in super::super) fn compare_posts(&mut self, turn: &mut Turn) {
        let mut shared = false;
        for chat in self.channels.keys().copied().collect::<Vec<_>>() {
            let links: Vec<LinkId> = self.links_of_channel(&chat).collect();
            shared |= !links.is_empty();
            for link in self.draw(links, COMPARED_LINKS) {
                self.say_have(link, chat, true, turn);
            }
        }
        if shared {
            self.timers.set(Timer::ComparePosts, turn.now.moment.after_ms(COMPARE_MS));
        }
    }

    // ---- frames

    /// A frame of a channel from the other end of a link. Who has not shown that it reads the channel is not answered, as
    /// if it were not read here.
    pub(in super::super) fn channel_sync_arrived(
        &mut self,
        link: LinkId,
        sync: proto::ChannelSync,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let Some(chat) = ChatId::read(&sync.channel) else { return Ok(()) };
        let Some(state) = self.links.get(&link) else { return Ok(()) };
        if !state.channels.contains_key(&chat) || !self.channels.contains_key(&chat) {
            return Ok(());
        }
        let path = Path::Direct(state.route);
        match sync.s {
            Some(S::Have(have)) => self.posts_told(link, chat, &have, path, turn),
            Some(S::Want(want)) => self.posts_wanted(link, chat, &want, turn),
            Some(S::Posts(posts)) => self.posts_arrived(link, chat, &posts, path, turn),
            None => Ok(()),
        }
    }

    fn posts_told(
        &mut self,
        link: LinkId,
        chat: ChatId,
        have: &proto::ChannelHave,
        path: Path,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let Some(theirs) = Ranges::read(&have.numbers) else {
            self.malformed(link, turn);
            return Ok(());
        };
        let Some(channel) = self.channels.get(&chat) else { return Ok(()) };
        let forked = channel.rec.forked;
        // The same number under another hash: one of the two will show a fork, or the other end a lie.
        let last = theirs.last();
        let differs = last.and_then(|seq| channel.log.hash_of(seq)).is_some_and(|hash| hash[..] != have.head[..]);
        let has_more = channel.log.held().beyond(&theirs, 0).next().is_some();
        let Some(exchange) = self.exchange(link, &chat) else { return Ok(()) };
        exchange.theirs = theirs.clone();
        exchange.idle = false;
        let proof = have.forked && !forked && !std::mem::replace(&mut exchange.asked_proof, have.forked && !forked);
        let contradiction = last.filter(|seq| differs && !forked && exchange.may_ask(*seq));
        if contradiction.is_some() {
            exchange.ask(contradiction, turn.now.moment);
            self.timers.set_if_unarmed(Timer::PostsOverdue, turn.now.moment.after_ms(PATIENCE_MS));
        }
        if proof || contradiction.is_some() {
            let want = proto::ChannelWant { numbers: Ranges::of(contradiction).write(), fork: proof };
            say(link, chat, S::Want(want), turn);
        }
        self.posts_seen(chat, &theirs, path, turn)?;
        self.ask_for_posts(link, chat, turn);
        if have.ask && has_more {
            self.say_have(link, chat, false, turn);
        }
        Ok(())
    }

    /// Asks for what the other end has and nobody is bringing, the oldest first.
    pub(super) fn ask_for_posts(&mut self, link: LinkId, chat: ChatId, turn: &mut Turn) {
        let exchanges = self.links.values().filter_map(|state| state.channels.get(&chat));
        let coming: BTreeSet<u64> = exchanges.flat_map(|exchange| exchange.asked.iter().copied()).collect();
        let Some(channel) = self.channels.get(&chat) else { return };
        let Some(exchange) = self.links.get_mut(&link).and_then(|state| state.channels.get_mut(&chat)) else { return };
        // Half a window at a time, so that few frames ask for many posts.
        if exchange.idle || exchange.asked.len() > CHANNEL_WANTS_MAX / 2 {
            return;
        }
        let Some(last) = exchange.theirs.last() else { return };
        let from = channel.rec.floor.max((last + 1).saturating_sub(CHANNEL_POSTS_MAX as u64));
        let lacking = exchange.theirs.beyond(channel.log.held(), from);
        let room = CHANNEL_WANTS_MAX - exchange.asked.len();
        let wanted = lacking.filter(|seq| !coming.contains(seq) && !exchange.refused.contains(seq)).take(room);
        let wanted = Ranges::of(wanted);
        if wanted.is_empty() {
            return;
        }
        exchange.ask(wanted.numbers(), turn.now.moment);
        self.timers.set_if_unarmed(Timer::PostsOverdue, turn.now.moment.after_ms(PATIENCE_MS));
        say(link, chat, S::Want(proto::ChannelWant { numbers: wanted.write(), fork: false }), turn);
    }

    fn ask_everywhere_for_posts(&mut self, chat: ChatId, turn: &mut Turn) {
        for link in self.links_of_channel(&chat).collect::<Vec<_>>() {
            self.ask_for_posts(link, chat, turn);
        }
    }

    /// What was asked for and did not come may come from somebody else.
    pub(in super::super) fn posts_overdue(&mut self, turn: &mut Turn) {
        let now = turn.now.moment;
        let (mut late, mut next): (BTreeSet<ChatId>, Option<Moment>) = (BTreeSet::new(), None);
        for (chat, exchange) in self.links.values_mut().flat_map(|state| state.channels.iter_mut()) {
            let due = exchange.since.after_ms(PATIENCE_MS);
            if exchange.asked.is_empty() {
                continue;
            }
            if due <= now {
                exchange.asked.clear();
                exchange.idle = true;
                late.insert(*chat);
            } else {
                next = Some(next.map_or(due, |next| next.min(due)));
            }
        }
        if let Some(at) = next {
            self.timers.set(Timer::PostsOverdue, at);
        }
        for chat in late {
            self.ask_everywhere_for_posts(chat, turn);
        }
    }

    fn posts_wanted(
        &mut self,
        link: LinkId,
        chat: ChatId,
        want: &proto::ChannelWant,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let Some(numbers) = Ranges::read(&want.numbers) else {
            self.malformed(link, turn);
            return Ok(());
        };
        let Some(channel) = self.channels.get(&chat) else { return Ok(()) };
        let held = numbers.numbers().take(CHANNEL_WANTS_MAX).filter(|seq| channel.log.held().contains(*seq));
        let keys: Vec<Vec<u8>> = held.map(|seq| post_key(&chat, seq)).collect();
        self.hand_over_posts(link, chat, &keys, false, turn)?;
        let at = self.channels.get(&chat).filter(|channel| want.fork && channel.rec.forked).map(|c| c.rec.forked_at);
        if let Some(at) = at {
            let around = at.saturating_sub(1)..=at.saturating_add(1);
            let keys: Vec<Vec<u8>> = around.map(|seq| post_key(&chat, seq)).chain([fork_key(&chat, at)]).collect();
            self.hand_over_posts(link, chat, &keys, true, turn)?;
        }
        Ok(())
    }

    /// Hands posts over in frames, as many as one link gets in a while.
    fn hand_over_posts(
        &mut self,
        link: LinkId,
        chat: ChatId,
        keys: &[Vec<u8>],
        fork: bool,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let now = turn.now.moment;
        if self.posts_served.1.after_ms(STRANGER_WINDOW_MS) <= now {
            self.posts_served = (0, now);
        }
        let room = CHANNELS_SERVED_BYTES_MAX.saturating_sub(self.posts_served.0);
        let Some(exchange) = self.exchange(link, &chat) else { return Ok(()) };
        if exchange.served_since.after_ms(STRANGER_WINDOW_MS) <= now {
            (exchange.served, exchange.served_since) = (0, now);
        }
        let room = room.min(CHANNEL_SERVED_BYTES_MAX.saturating_sub(exchange.served));
        let (mut batch, mut bytes, mut served) = (Vec::new(), 0, 0);
        for key in keys {
            let Some(post) = turn.value(Table::ChannelPost, key)? else { continue };
            if served + post.len() > room {
                break;
            }
            served += post.len();
            if bytes > 0 && bytes + post.len() > CHANNEL_FRAME_BYTES {
                say(link, chat, S::Posts(proto::ChannelPosts { post: std::mem::take(&mut batch), fork }), turn);
                bytes = 0;
            }
            bytes += post.len();
            batch.push(post);
        }
        if !batch.is_empty() {
            say(link, chat, S::Posts(proto::ChannelPosts { post: batch, fork }), turn);
        }
        exchange.served += served;
        self.posts_served.0 += served;
        Ok(())
    }

    fn posts_arrived(
        &mut self,
        link: LinkId,
        chat: ChatId,
        posts: &proto::ChannelPosts,
        path: Path,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let mut news = false;
        let Some(exchange) = self.exchange(link, &chat) else { return Ok(()) };
        let is_proof = posts.fork && std::mem::take(&mut exchange.asked_proof);
        let count = if is_proof { PROOF_POSTS } else { CHANNEL_WANTS_MAX };
        for bytes in posts.post.iter().take(count) {
            let Some(place) = Post::stored(chat, bytes).map(|post| *post.place()) else {
                self.malformed(link, turn);
                continue;
            };
            let Some(exchange) = self.exchange(link, &chat) else { break };
            if !exchange.asked.remove(&place.seq) && !is_proof {
                continue;
            }
            exchange.since = turn.now.moment;
            let Some(owner) = self.channels.get(&chat).map(|channel| channel.owner) else { break };
            let post = match Post::read(chat, &owner, bytes) {
                Ok(post) => post,
                Err(PostError::Malformed) => continue,
                Err(PostError::Forged) => {
                    self.distrust(link, turn);
                    break;
                }
            };
            match self.take_post(chat, &post, path, turn)? {
                Verdict::New | Verdict::Diverging => news = true,
                Verdict::Refused => {
                    if let Some(exchange) = self.exchange(link, &chat) {
                        exchange.refused.insert(place.seq);
                        exchange.idle |= exchange.refused.len() >= REFUSED_MAX;
                    }
                }
                Verdict::Known | Verdict::Contradicting => {}
            }
        }
        self.ask_for_posts(link, chat, turn);
        if news {
            let from = self.links.contains_key(&link).then_some(link);
            self.announce_posts(chat, from, turn);
        }
        Ok(())
    }

    /// Who brings forgeries reads no channel as far as this device is concerned.
    fn distrust(&mut self, link: LinkId, turn: &mut Turn) {
        let Some(state) = self.links.get_mut(&link) else { return };
        let shared = std::mem::take(&mut state.channels);
        if self.distrusted.len() >= CHANNEL_DISTRUSTED_MAX {
            self.distrusted.pop_first();
        }
        self.distrusted.insert(state.peer.clone());
        if state.chat.is_none() {
            turn.send(Send::Close { link });
        }
        self.channels_parted(&shared, turn);
    }

    fn exchange(&mut self, link: LinkId, chat: &ChatId) -> Option<&mut Exchange> {
        self.links.get_mut(&link)?.channels.get_mut(chat)
    }
}

fn say(link: LinkId, chat: ChatId, s: S, turn: &mut Turn) {
    turn.frame(link, &Frame::ChannelSync(proto::ChannelSync { channel: chat.0.to_vec(), s: Some(s) }));
}

/// Channels that leave room for the tokens of all contacts in a Hello.
pub(in super::super) fn token_room(contacts: usize) -> usize {
    CONTACTS_MAX.next_power_of_two().saturating_sub(contacts)
}
