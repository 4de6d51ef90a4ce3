//! Posts of a channel: written here by its owner, and taken in from whoever has them.

use prost::Message;

use super::super::messages::Letter;
use super::super::records::state::{ChannelUnseen, HopRecord};
use super::super::turn::Turn;
use super::super::{Answer, Engine, message_id};
use super::changes::check_info;
use super::{beginning_of, fork_key, post_key};
use crate::channel::log::Verdict;
use crate::channel::post::{self, Place, Post, PostHash};
use crate::channel::ranges::Ranges;
use crate::conversation::{Changed, SlotAuthor, SlotOp, SlotOpKind};
use crate::ids::{ChatId, MessageId};
use crate::limits::{
    CHANNEL_AWAITED_MAX, CHANNEL_POSTS_MAX, CHANNEL_TEXT_BYTES_MAX, CHANNEL_UNSEEN_MAX, TEXT_BYTES_MAX,
};
use crate::step::{DeliveryState, EventKind, Path, RequestError};
use crate::store::{StoreError, Table};
use crate::time::{DAY_MS, SECOND_MS, UnixTime};
use crate::wire::proto::{self, plain::Kind};

impl Engine {
    // ---- the owner writes

    /// Writes a text in an own channel.
    pub(in super::super) fn channel_text(
        &mut self,
        chat: ChatId,
        letter: Letter,
        turn: &mut Turn,
    ) -> Result<Answer, StoreError> {
        let Letter { body, reply_to, expire_s, client_id, ttl_s, no_infra, poll: _ } = letter; // none is asked in a channel
        let checked = self.may_write_channel(&chat).and(check_post(&body, ttl_s, no_infra));
        if let Err(error) = checked {
            return Ok(Err(error));
        }
        self.renew_info(chat, turn)?;
        let Some(channel) = self.channels.get(&chat) else { return Ok(super::super::not_found("channel")) };
        let seq = channel.rec.next;
        let id = post::message_id(&chat, seq, turn.now.unix);
        let expire_s = expire_s.unwrap_or(0);
        let text = proto::Text {
            body: body.clone(),
            reply_to: reply_to.map(|r| r.0.to_vec()).unwrap_or_default(),
            ..proto::Text::default()
        };
        let mut plain = self.plain(&chat, id, Kind::Text(text), turn);
        plain.expire_s = expire_s;
        let op = SlotOp {
            author: SlotAuthor::Me,
            lamport: plain.lamport,
            ts: turn.now.unix,
            op_id: id,
            kind: SlotOpKind::Text { body: body.clone(), reply_to, expire_s, mentions: Vec::new(), poll: None },
        };
        if let Err(refusal) = self.append(chat, &plain, Some(id), turn)? {
            return Ok(Err(refusal));
        }
        let state = DeliveryState::Queued;
        self.apply_as_of(chat, id, &op, turn.now.unix, (state, None), turn)?;
        self.text_sent(chat, (id, body), client_id, state, turn)
    }

    /// Says an edit, a deletion or a pin in an own channel.
    pub(in super::super) fn post_operation(
        &mut self,
        chat: ChatId,
        plain: &proto::Plain,
        turn: &mut Turn,
    ) -> Result<Result<(), RequestError>, StoreError> {
        if let Err(error) = self.may_write_channel(&chat) {
            return Ok(Err(error));
        }
        self.renew_info(chat, turn)?;
        self.append(chat, plain, None, turn)
    }

    /// Says what an own channel is, and goes by it.
    pub(super) fn say_info(
        &mut self,
        chat: ChatId,
        info: proto::ChannelInfo,
        turn: &mut Turn,
    ) -> Result<Result<(), RequestError>, StoreError> {
        let Some(channel) = self.channels.get(&chat) else { return Ok(Err(RequestError::NotFound("channel"))) };
        let (seq, id) = (channel.rec.next, self.new_message_id(turn.now.unix));
        let plain = self.plain(&chat, id, Kind::Channel(info.clone()), turn);
        if let Err(refusal) = self.append(chat, &plain, None, turn)? {
            return Ok(Err(refusal));
        }
        self.info_arrived(chat, seq, info, true, turn)?;
        Ok(Ok(()))
    }

    /// Says again what the channel is, when the last post that did will soon be kept by nobody: newcomers are told by it.
    fn renew_info(&mut self, chat: ChatId, turn: &mut Turn) -> Result<(), StoreError> {
        let Some(channel) = self.channels.get(&chat) else { return Ok(()) };
        let Some(seq) = channel.rec.info.checked_sub(1) else { return Ok(()) };
        let today = turn.now.unix.day_2024();
        let half = channel.rec.retention_days / 2;
        let is_old = channel.log.day_of(seq).is_none_or(|day| half > 0 && day.saturating_add(half) < today);
        if is_old || channel.rec.next.saturating_sub(seq) > CHANNEL_POSTS_MAX as u64 / 2 {
            let info = channel.info();
            // A refusal leaves things as they are: the next post tries again.
            let _refused = self.say_info(chat, info, turn)?;
        }
        Ok(())
    }

    /// Seals, signs and keeps the next post of an own channel. It leaves after this step was committed.
    fn append(
        &mut self,
        chat: ChatId,
        plain: &proto::Plain,
        message: Option<MessageId>,
        turn: &mut Turn,
    ) -> Result<Result<(), RequestError>, StoreError> {
        let Some(channel) = self.channels.get_mut(&chat) else { return Ok(Err(RequestError::NotFound("channel"))) };
        let Some(seed) = channel.seed.clone() else { return Ok(Err(RequestError::NotOwner)) };
        let day = turn.now.unix.day_2024().max(channel.rec.last_day);
        let Some(key) = channel.keys.at(day) else { return Ok(Err(RequestError::NotFound("key of the day"))) };
        let prev = PostHash::try_from(channel.rec.head.as_slice()).unwrap_or_default();
        let place = Place { seq: channel.rec.next, prev, day };
        let post = Post::write(&seed, chat, &key, place, &plain.encode_to_vec(), &mut self.chance);
        let Ok(post) = post else { return Ok(Err(RequestError::Limit("the length of a post"))) };
        let rec = &mut channel.rec;
        (rec.next, rec.head, rec.last_day) = (place.seq + 1, post.hash().to_vec(), day);
        if let Some(id) = message {
            rec.unseen.push(ChannelUnseen { seq: place.seq, message: id.0.to_vec() });
            let over = rec.unseen.len().saturating_sub(CHANNEL_UNSEEN_MAX);
            rec.unseen.drain(..over);
        }
        self.keep_post(chat, &post, turn);
        self.save_channel(&chat, turn);
        self.bound_posts(chat, turn)?;
        self.announce_posts(chat, None, turn);
        Ok(Ok(()))
    }

    fn keep_post(&mut self, chat: ChatId, post: &Post, turn: &mut Turn) {
        let bytes = post.encode();
        if let Some(channel) = self.channels.get_mut(&chat) {
            channel.log.insert(post, bytes.len());
        }
        turn.put(Table::ChannelPost, &post_key(&chat, post.place().seq), bytes);
    }

    /// Another reader says that it has posts of ours: they are not lost when this device goes.
    pub(super) fn posts_seen(
        &mut self,
        chat: ChatId,
        theirs: &Ranges,
        path: Path,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let Some(channel) = self.channels.get_mut(&chat) else { return Ok(()) };
        let seen = channel.rec.unseen.extract_if(.., |unseen| theirs.contains(unseen.seq));
        let seen: Vec<MessageId> = seen.filter_map(|unseen| message_id(&unseen.message)).collect();
        if seen.is_empty() {
            return Ok(());
        }
        self.save_channel(&chat, turn);
        for id in seen {
            let at = turn.now.unix;
            self.raise(chat, id, DeliveryState::Delivered { at }, Some(path), turn)?;
            let path = crate::conversation::path_code(Some(path));
            let hop = HopRecord { at: at.0, what: "delivered".to_owned(), path, ..HopRecord::default() };
            self.add_hop(&chat, &id, hop, turn)?;
        }
        Ok(())
    }

    // ---- readers take in

    /// Takes a post that was verified; true if it is new.
    pub(super) fn take_post(
        &mut self,
        chat: ChatId,
        post: &Post,
        path: Path,
        turn: &mut Turn,
    ) -> Result<Verdict, StoreError> {
        let Some(channel) = self.channels.get_mut(&chat) else { return Ok(Verdict::Refused) };
        let bounds = channel.bounds(turn.now.unix.day_2024());
        let (place, verdict) = (*post.place(), channel.log.judge(post, &bounds));
        match verdict {
            Verdict::Known => {}
            // Days go up: what is before it is as old.
            Verdict::Refused if place.day < bounds.day_min && place.seq >= bounds.floor => {
                channel.rec.floor = place.seq + 1;
                self.save_channel(&chat, turn);
            }
            Verdict::Refused => {}
            Verdict::Contradicting => self.forked(chat, post, true, turn),
            Verdict::New | Verdict::Diverging => {
                if verdict == Verdict::Diverging {
                    self.forked(chat, post, false, turn);
                }
                self.keep_post(chat, post, turn);
                self.follow_own(chat, post, turn);
                self.apply_post(chat, post, path, turn)?;
                self.bound_posts(chat, turn)?;
            }
        }
        Ok(verdict)
    }

    /// A post of an own channel comes from outside: this device was set back, or has a double. It goes on behind it.
    fn follow_own(&mut self, chat: ChatId, post: &Post, turn: &mut Turn) {
        let Some(channel) = self.channels.get_mut(&chat).filter(|channel| channel.is_own()) else { return };
        let (rec, place) = (&mut channel.rec, post.place());
        if place.seq >= rec.next {
            (rec.next, rec.head) = (place.seq + 1, post.hash().to_vec());
            rec.last_day = rec.last_day.max(place.day);
            self.save_channel(&chat, turn);
        }
    }

    /// Two histories with one signature. Both sides of the proof are kept, and the channel is marked for good.
    fn forked(&mut self, chat: ChatId, post: &Post, apart: bool, turn: &mut Turn) {
        let Some(channel) = self.channels.get_mut(&chat).filter(|channel| !channel.rec.forked) else { return };
        let seq = post.place().seq;
        (channel.rec.forked, channel.rec.forked_at) = (true, seq);
        if apart {
            turn.put(Table::ChannelPost, &fork_key(&chat, seq), post.encode());
        }
        self.save_channel(&chat, turn);
        turn.event(Some(chat), None, EventKind::ChannelForked { post: seq });
    }

    /// Shows what a post says, if its day can be read here.
    fn apply_post(&mut self, chat: ChatId, post: &Post, path: Path, turn: &mut Turn) -> Result<(), StoreError> {
        let Some(channel) = self.channels.get_mut(&chat) else { return Ok(()) };
        let (own, place) = (channel.is_own(), *post.place());
        let Some(said) = channel.keys.at(place.day).and_then(|key| post.open(&key)) else { return Ok(()) };
        let Ok(plain) = proto::Plain::decode(said.as_slice()) else { return Ok(()) };
        self.see_lamport(&chat, plain.lamport, turn);
        let author = if own { SlotAuthor::Me } else { SlotAuthor::Peer };
        match plain.kind.clone() {
            Some(Kind::Text(text)) => self.post_shown(chat, author, &place, &plain, text, path, turn),
            Some(kind @ (Kind::Edit(_) | Kind::Delete(_) | Kind::Pin(_) | Kind::React(_))) => {
                match self.about_known(chat, kind, turn)? {
                    Some(kind) => self.operation_arrived(chat, author, &plain, kind, turn),
                    None => Ok(()),
                }
            }
            Some(Kind::Channel(info)) => self.info_arrived(chat, place.seq, info, own, turn),
            _ => Ok(()),
        }
    }

    /// What an operation is about, as far as it is here or there is room to wait for it: an owner who speaks of posts
    /// that never were fills nobody's disk.
    fn about_known(&mut self, chat: ChatId, mut kind: Kind, turn: &mut Turn) -> Result<Option<Kind>, StoreError> {
        let mut ids = match &mut kind {
            Kind::Delete(delete) => std::mem::take(&mut delete.ids),
            Kind::Edit(edit) => vec![edit.of.clone()],
            Kind::React(reaction) => vec![reaction.to.clone()],
            Kind::Pin(pin) => vec![pin.of.clone()],
            _ => Vec::new(),
        };
        let mut here = Vec::new();
        for bytes in ids.drain(..) {
            let Some(id) = message_id(&bytes) else { continue };
            if turn.item(&chat, &id)?.is_some() || self.gone(&chat, &id, turn)? || self.await_post(&chat, &id, turn) {
                here.push(bytes);
            }
        }
        let some = !here.is_empty();
        if let Kind::Delete(delete) = &mut kind {
            delete.ids = here;
        }
        Ok(some.then_some(kind))
    }

    /// Notes that something was said of a post that has not come; false where too many are waited for.
    fn await_post(&mut self, chat: &ChatId, id: &MessageId, turn: &mut Turn) -> bool {
        let Some(channel) = self.channels.get_mut(chat) else { return false };
        if !channel.rec.awaited.iter().any(|known| *known == id.0) {
            if channel.rec.awaited.len() >= CHANNEL_AWAITED_MAX {
                return false;
            }
            channel.rec.awaited.push(id.0.to_vec());
            self.save_channel(chat, turn);
        }
        true
    }

    #[allow(clippy::too_many_arguments)] // what a post is, and what came with it
    fn post_shown(
        &mut self,
        chat: ChatId,
        author: SlotAuthor,
        place: &Place,
        plain: &proto::Plain,
        text: proto::Text,
        path: Path,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let sent_at = UnixTime(plain.ts_ms);
        let id = post::message_id(&chat, place.seq, sent_at);
        let fits = plain.msg_id == id.0 && (1..=TEXT_BYTES_MAX).contains(&text.body.len());
        // How long it stays counts from its day, however late it comes.
        let day = beginning_of(place.day);
        let stored_at = sent_at.max(day).min(day.after_ms(DAY_MS - 1)).min(turn.now.unix);
        let is_over = plain.expire_s > 0 && stored_at.after_ms(u64::from(plain.expire_s) * SECOND_MS) <= turn.now.unix;
        if !fits || is_over || self.gone(&chat, &id, turn)? {
            return Ok(());
        }
        if let Some(channel) = self.channels.get_mut(&chat) {
            channel.rec.awaited.retain(|known| *known != id.0);
        }
        let reply_to = message_id(&text.reply_to);
        let kind = SlotOpKind::Text {
            body: text.body.clone(),
            reply_to,
            expire_s: plain.expire_s,
            mentions: Vec::new(),
            poll: None,
        };
        let op = SlotOp { author, lamport: plain.lamport, ts: sent_at, op_id: id, kind };
        let delivery = (DeliveryState::Local, Some(path));
        if self.apply_as_of(chat, id, &op, stored_at, delivery, turn)? != Changed::Appeared {
            return Ok(());
        }
        let code = crate::conversation::path_code(Some(path));
        let hop = HopRecord { at: turn.now.unix.0, what: "received".to_owned(), path: code, ..HopRecord::default() };
        self.add_hop(&chat, &id, hop, turn)?;
        self.list_pin(chat, id, turn)?;
        if author == SlotAuthor::Me {
            return Ok(());
        }
        let muted = self.stir(chat, turn);
        let received = EventKind::MessageReceived {
            body: text.body,
            sent_at,
            reply_to,
            path,
            author: None,
            mentions_me: false,
            muted,
        };
        turn.event(Some(chat), Some(id), received);
        Ok(())
    }

    fn info_arrived(
        &mut self,
        chat: ChatId,
        seq: u64,
        info: proto::ChannelInfo,
        outgoing: bool,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let Some(channel) = self.channels.get_mut(&chat) else { return Ok(()) };
        if channel.rec.info > seq || check_info(&info).is_err() {
            return Ok(());
        }
        let before = channel.info();
        channel.rec.info = seq + 1;
        let proto::ChannelInfo { name, topic, retention_days } = info.clone();
        (channel.rec.name, channel.rec.topic, channel.rec.retention_days) = (name, topic, retention_days);
        self.save_channel(&chat, turn);
        if before != info {
            turn.event(Some(chat), None, EventKind::ChannelUpdated);
        }
        if before.retention_days != retention_days {
            let seconds = retention_days.saturating_mul((DAY_MS / SECOND_MS) as u32);
            self.adopt_retention(chat, seconds, seq + 1, outgoing, turn)?;
            self.drop_old_posts(chat, turn);
        }
        Ok(())
    }
}

fn check_post(body: &str, ttl_s: Option<u32>, no_infra: bool) -> Result<(), RequestError> {
    check_post_length(body)?;
    if ttl_s.is_some() {
        let why = "posts of a channel stay as long as its retention says".to_owned();
        return Err(RequestError::Invalid { field: "ttlS", why });
    }
    if no_infra {
        let why = "posts of a channel go to whoever reads it, by any way".to_owned();
        return Err(RequestError::Invalid { field: "noInfra", why });
    }
    Ok(())
}

/// A text that fits into a post.
pub(in super::super) fn check_post_length(body: &str) -> Result<(), RequestError> {
    if body.is_empty() || body.len() > CHANNEL_TEXT_BYTES_MAX {
        let why = format!("1 to {CHANNEL_TEXT_BYTES_MAX} bytes are allowed in a channel, these are {}", body.len());
        return Err(RequestError::Invalid { field: "body", why });
    }
    Ok(())
}
