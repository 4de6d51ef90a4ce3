//! Channels made, joined, left and changed, and links to them.

use super::super::account::{check_text, hint, read_hint};
use super::super::records::state::ChannelRecord;
use super::super::timers::Timer;
use super::super::turn::Turn;
use super::super::{Answer, Engine};
use super::{Channel, beginning_of};
use crate::channel::channel_id;
use crate::channel::keys::DayKey;
use crate::channel::view::{ChannelChanges, ChannelFrom, ChannelLinkView};
use crate::crypto::ed25519::SigningKey;
use crate::ids::{ChatId, PeerAddress};
use crate::limits::{
    CHANNEL_PEERS_MAX, CHANNEL_RETENTION_DAYS_RANGE, CHANNELS_MAX, GROUP_TOPIC_BYTES_MAX, NAME_BYTES_MAX,
};
use crate::step::{EventKind, Reply, RequestError};
use crate::store::{StoreError, Table};
use crate::time::{DAY_MS, SECOND_MS};
use crate::wire::channel_link::ChannelLink;
use crate::wire::invite::{ADDRESS_BYTES_MAX, Hint};
use crate::wire::proto;
use prost::Message;

/// Own addresses in a link.
const LINK_ADDRESSES: usize = 2;

impl Engine {
    pub(super) fn channel_create(
        &mut self,
        name: String,
        topic: String,
        retention_days: u32,
        turn: &mut Turn,
    ) -> Result<Answer, StoreError> {
        let info = proto::ChannelInfo { name, topic, retention_days };
        if let Err(error) = check_info(&info) {
            return Ok(Err(error));
        }
        if self.channels.len() >= CHANNELS_MAX {
            return Ok(Err(RequestError::Limit("channels: leave some")));
        }
        let seed = SigningKey::generate(&mut self.chance);
        let key = DayKey::generate(turn.now.unix.day_2024(), &mut self.chance);
        let rec = ChannelRecord {
            owner: seed.verifying_key().as_bytes().to_vec(),
            seed: seed.expose().to_vec(),
            first_day: key.day(),
            first_key: key.expose().to_vec(),
            head: vec![0; 32],
            joined_at: turn.now.unix.0,
            serve: true,
            ..ChannelRecord::default()
        };
        let chat = channel_id(&seed.verifying_key());
        self.add_channel(chat, rec, turn);
        if let Err(refusal) = self.say_info(chat, info, turn)? {
            return Ok(Err(refusal));
        }
        self.publish_channel(&chat, turn);
        self.hello_to_all(turn);
        Ok(self.channel_reply(&chat))
    }

    pub(super) fn channel_join(&mut self, text: &str, serve: bool, turn: &mut Turn) -> Result<Answer, StoreError> {
        let link = match ChannelLink::parse(text) {
            Ok(link) => link,
            Err(error) => return Ok(Err(RequestError::BadLink(error.to_string()))),
        };
        let today = turn.now.unix.day_2024();
        if link.key.day() > today.saturating_add(1) {
            return Ok(Err(RequestError::BadLink("it is of a day that has not come: look at the clock".to_owned())));
        }
        let chat = channel_id(&link.owner);
        if self.channels.contains_key(&chat) {
            return Ok(self.join_again(chat, &link, turn));
        }
        if self.contacts.contains_key(&chat) || self.groups.contains_key(&chat) {
            return Ok(Err(RequestError::BadLink("it is not of a channel".to_owned())));
        }
        if self.channels.len() >= CHANNELS_MAX {
            return Ok(Err(RequestError::Limit("channels: leave some")));
        }
        let peers = link.hints.iter().filter_map(peer_of).take(CHANNEL_PEERS_MAX);
        let rec = ChannelRecord {
            owner: link.owner.as_bytes().to_vec(),
            first_day: link.key.day(),
            first_key: link.key.expose().to_vec(),
            floor: link.first_seq,
            name: link.name().map_or_else(|| chat.to_string(), str::to_owned),
            peers: peers.map(|address| hint(&address, 0).encode_to_vec()).collect(),
            joined_at: turn.now.unix.0,
            serve,
            ..ChannelRecord::default()
        };
        self.add_channel(chat, rec, turn);
        turn.event(Some(chat), None, EventKind::ChannelUpdated);
        self.publish_channel(&chat, turn);
        self.hello_to_all(turn);
        Ok(self.channel_reply(&chat))
    }

    /// A link of an earlier day opens what is before.
    fn join_again(&mut self, chat: ChatId, link: &ChannelLink, turn: &mut Turn) -> Answer {
        let Some(channel) = self.channels.get_mut(&chat) else { return super::super::not_found("channel") };
        let known = channel.keys.first().clone();
        let (earlier, later) = if link.key.day() < known.day() { (&link.key, &known) } else { (&known, &link.key) };
        if earlier.on(later.day()).as_ref() != Some(later) {
            return Err(RequestError::BadLink("it has another key than the channel that is here".to_owned()));
        }
        let reaches_back = link.key.day() < known.day();
        let peers: Vec<PeerAddress> = link.hints.iter().filter_map(peer_of).collect();
        if reaches_back {
            let rec = &mut channel.rec;
            (rec.first_day, rec.first_key) = (link.key.day(), link.key.expose().to_vec());
            rec.floor = rec.floor.min(link.first_seq);
            channel.keys = crate::channel::keys::DayKeys::new(link.key.clone());
            channel.around = (u32::MAX, Vec::new());
        }
        for peer in peers {
            self.note_reader(&chat, peer);
        }
        self.save_channel(&chat, turn);
        self.timers.set(Timer::FindChannel(chat), turn.now.moment);
        for link in self.links_of_channel(&chat).collect::<Vec<_>>() {
            self.ask_for_posts(link, chat, turn);
        }
        self.channel_reply(&chat)
    }

    fn add_channel(&mut self, chat: ChatId, rec: ChannelRecord, turn: &mut Turn) {
        let Some(channel) = Channel::read(rec) else { return };
        self.channels.insert(chat, channel);
        self.save_channel(&chat, turn);
        self.chats.entry(chat).or_default();
        self.save_chat(&chat, turn);
        self.timers.set(Timer::FindChannel(chat), turn.now.moment);
    }

    /// The channel goes from this device, with its posts. An own one is over: nobody else can write in it.
    pub(super) fn channel_leave(&mut self, chat: ChatId, turn: &mut Turn) -> Answer {
        let Some(mut channel) = self.channels.remove(&chat) else { return super::super::not_found("channel") };
        while let Some(seq) = channel.log.drop_first() {
            turn.delete(Table::ChannelPost, &super::post_key(&chat, seq));
        }
        turn.delete(Table::ChannelPost, &super::fork_key(&chat, channel.rec.forked_at));
        turn.delete(Table::Channel, chat.as_bytes());
        self.chats.remove(&chat);
        turn.delete(Table::Chat, chat.as_bytes());
        turn.delete(Table::Draft, chat.as_bytes());
        turn.erase_chat(chat);
        for state in self.links.values_mut() {
            state.channels.remove(&chat);
        }
        self.wanted_channels.retain(|_, (of, _, _)| *of != chat);
        self.timers.cancel(&Timer::FindChannel(chat));
        Ok(Reply::Done)
    }

    pub(in super::super) fn channel_set(
        &mut self,
        chat: ChatId,
        changes: ChannelChanges,
        turn: &mut Turn,
    ) -> Result<Answer, StoreError> {
        let Some(channel) = self.channels.get(&chat) else { return Ok(super::super::not_found("channel")) };
        let ChannelChanges { name, topic, retention_days, serve } = changes;
        let known = channel.info();
        let info = proto::ChannelInfo {
            name: name.unwrap_or_else(|| known.name.clone()),
            topic: topic.unwrap_or_else(|| known.topic.clone()),
            retention_days: retention_days.unwrap_or(known.retention_days),
        };
        if info != known {
            if let Err(error) = self.may_write_channel(&chat).and(check_info(&info)) {
                return Ok(Err(error));
            }
            if let Err(refusal) = self.say_info(chat, info, turn)? {
                return Ok(Err(refusal));
            }
        }
        if let Some(channel) =
            self.channels.get_mut(&chat).filter(|channel| serve.is_some_and(|on| on != channel.rec.serve))
        {
            channel.rec.serve = !channel.rec.serve;
            self.save_channel(&chat, turn);
            self.publish_channel(&chat, turn);
        }
        Ok(self.channel_reply(&chat))
    }

    /// How long posts stay, in the words of conversations.
    pub(in super::super) fn set_channel_retention(
        &mut self,
        chat: ChatId,
        seconds: u32,
        turn: &mut Turn,
    ) -> Result<Answer, StoreError> {
        const DAY_S: u32 = (DAY_MS / SECOND_MS) as u32;
        if !seconds.is_multiple_of(DAY_S) {
            let why = "of a channel, whole days".to_owned();
            return Ok(Err(RequestError::Invalid { field: "seconds", why }));
        }
        let changes = ChannelChanges { retention_days: Some(seconds / DAY_S), ..ChannelChanges::default() };
        Ok(self.channel_set(chat, changes, turn)?.map(|_| Reply::Done))
    }

    pub(super) fn channel_link(
        &mut self,
        chat: ChatId,
        from: ChannelFrom,
        turn: &mut Turn,
    ) -> Result<Answer, StoreError> {
        let today = turn.now.unix.day_2024();
        let Some(channel) = self.channels.get(&chat) else { return Ok(super::super::not_found("channel")) };
        if from == ChannelFrom::Today {
            if !channel.is_own() {
                return Ok(Err(RequestError::NotOwner));
            }
            // Whoever begins today is told today what the channel is.
            let said = channel.rec.info.checked_sub(1).and_then(|seq| channel.log.day_of(seq));
            if said.is_none_or(|day| day < today) {
                let info = channel.info();
                if let Err(refusal) = self.say_info(chat, info, turn)? {
                    return Ok(Err(refusal));
                }
            }
        }
        let Some(channel) = self.channels.get_mut(&chat) else { return Ok(super::super::not_found("channel")) };
        let (key, first_seq) = match from {
            ChannelFrom::First => (Some(channel.keys.first().clone()), channel.rec.floor),
            ChannelFrom::Today => {
                let day = today.max(channel.rec.last_day);
                (channel.keys.at(day), channel.log.first_since(day).unwrap_or(channel.rec.next))
            }
        };
        let Some(key) = key else { return Ok(super::super::not_found("key of the day")) };
        let (owner, day) = (channel.owner, key.day());
        let mut hints: Vec<Hint> = Hint::name(&channel.rec.name).into_iter().collect();
        // Who does not serve is found by no link either: where other readers were is said instead.
        let own = self.address.clone().filter(|_| channel.is_own() || channel.rec.serve);
        let met = channel.rec.peers.iter().filter_map(|bytes| proto::PeerHint::decode(bytes.as_slice()).ok());
        let known = own.into_iter().chain(met.filter_map(|hint| read_hint(&hint)));
        let fitting = known.flat_map(|address| {
            let addrs = address.addrs.into_iter().filter(|addr| addr.len() <= ADDRESS_BYTES_MAX);
            addrs.map(move |addr| Hint::Peer { peer: address.peer.clone(), addr })
        });
        hints.extend(fitting.take(LINK_ADDRESSES));
        let link = ChannelLink { flags: 0, key, owner, first_seq, hints };
        let view = ChannelLinkView { chat, link: link.link(), qr: link.qr(), readable_from: beginning_of(day) };
        Ok(Ok(Reply::ChannelLink(view)))
    }

    /// Remembers where a reader was, those met last first.
    pub(super) fn note_reader(&mut self, chat: &ChatId, address: PeerAddress) {
        let Some(channel) = self.channels.get_mut(chat) else { return };
        let peers =
            channel.rec.peers.iter().filter_map(|bytes| read_hint(&proto::PeerHint::decode(bytes.as_slice()).ok()?));
        let mut all: Vec<PeerAddress> = peers.filter(|known| known.peer != address.peer).collect();
        all.insert(0, address);
        all.truncate(CHANNEL_PEERS_MAX);
        channel.rec.peers = all.iter().map(|address| hint(address, 0).encode_to_vec()).collect();
    }
}

impl Channel {
    /// What its posts say it is.
    pub(super) fn info(&self) -> proto::ChannelInfo {
        let ChannelRecord { name, topic, retention_days, .. } = &self.rec;
        proto::ChannelInfo { name: name.clone(), topic: topic.clone(), retention_days: *retention_days }
    }
}

/// What a channel may say of itself.
pub(super) fn check_info(info: &proto::ChannelInfo) -> Result<(), RequestError> {
    check_text("name", &info.name, 1, NAME_BYTES_MAX)?;
    check_text("topic", &info.topic, 0, GROUP_TOPIC_BYTES_MAX)?;
    if info.retention_days != 0 && !CHANNEL_RETENTION_DAYS_RANGE.contains(&info.retention_days) {
        let why = "0 (for ever), or from 1 to 90 days".to_owned();
        return Err(RequestError::Invalid { field: "retentionDays", why });
    }
    Ok(())
}

fn peer_of(hint: &Hint) -> Option<PeerAddress> {
    match hint {
        Hint::Peer { peer, addr } | Hint::Relay { peer, addr } => {
            Some(PeerAddress { peer: peer.clone(), addrs: vec![addr.clone()] })
        }
        _ => None,
    }
}
