//! The outbox: sealed envelopes in sending order, and where each stands on the ladder
//! (direct link, then mailboxes). It holds no bytes of envelopes; the store does, and a retry sends those.
//!
//! An entry leaves only by evidence (its preimage, or an answer for a first contact) or by a visible failure.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{ChatId, Cid, LinkId, MessageId, PeerKey, Preimage, QueueSid, SessionId, Tag};
use crate::limits::{ENVELOPES_IN_FLIGHT_BYTES_MAX, ENVELOPES_IN_FLIGHT_MAX, RETRY_FIRST_MS, RETRY_MAX_MS};
use crate::time::{DAY_MS, HOUR_MS, Moment, UnixTime};
use crate::wire::envelope::Class;

/// A copy a relay has signed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deposit {
    /// The relay.
    pub relay: PeerKey,
    /// The queue.
    pub sid: QueueSid,
    /// Until when it promised to hold it.
    pub until: UnixTime,
}

/// One sealed envelope on its way.
#[derive(Clone, Debug)]
pub struct Flight {
    /// Its tag.
    pub tag: Tag,
    /// Its preimage; `None` where the tag has none (reusable invites).
    pub preimage: Option<Preimage>,
    /// The message it carries; `None` for control.
    pub message: Option<MessageId>,
    /// The group whose letter it is; the lane is that of one member then.
    pub group: Option<ChatId>,
    /// Content id of the envelope.
    pub cid: Cid,
    /// Bytes of the envelope.
    pub size: usize,
    /// What kind of content it is.
    pub class: Class,
    /// May only travel over radios between devices.
    pub no_infra: bool,
    /// Carriers may take it.
    pub carried: bool,
    /// When it was sealed.
    pub created_at: UnixTime,
    /// When it must have arrived.
    pub expires_at: UnixTime,
    /// The session that sealed it.
    pub session: SessionId,
    /// How many sending chains of the session came before its own.
    pub chain: u32,
    /// Its number in the sending chain.
    pub n: u32,
    /// It carries a handshake.
    pub first_contact: bool,
    /// Copies at relays.
    pub deposited: Vec<Deposit>,
    /// Relays asked and not yet answered.
    pub depositing: BTreeSet<PeerKey>,
    /// The link it was last handed to.
    pub on_link: Option<LinkId>,
    /// When it was first handed to a direct link.
    pub direct_since: Option<Moment>,
    /// How often it was handed to a link.
    pub attempts: u32,
    /// When it may be handed out again.
    pub next_at: Moment,
    /// How often relays signed for it.
    pub deposits: u32,
    /// When relays that signed for it are handed it once more: one of them may have lost it.
    pub deposit_again_at: Moment,
    /// Copies given to carriers.
    pub sprayed: u32,
}

/// What every flight begins with.
#[derive(Clone, Copy, Debug)]
pub struct Departure {
    /// Its tag.
    pub tag: Tag,
    /// Content id of the envelope.
    pub cid: Cid,
    /// Bytes of the envelope.
    pub size: usize,
    /// What kind of content it is.
    pub class: Class,
    /// When it was sealed.
    pub created_at: UnixTime,
    /// When it must have arrived.
    pub expires_at: UnixTime,
}

impl Flight {
    /// An envelope at the beginning of its way: of no session, carried by whoever wants, for a network or none.
    pub fn new(departure: Departure) -> Self {
        let Departure { tag, cid, size, class, created_at, expires_at } = departure;
        Self {
            tag,
            preimage: None,
            message: None,
            group: None,
            cid,
            size,
            class,
            no_infra: false,
            carried: true,
            created_at,
            expires_at,
            session: SessionId([0; 16]),
            chain: 0,
            n: 0,
            first_contact: false,
            deposited: Vec::new(),
            depositing: BTreeSet::new(),
            on_link: None,
            direct_since: None,
            attempts: 0,
            next_at: Moment(0),
            deposits: 0,
            deposit_again_at: Moment(0),
            sprayed: 0,
        }
    }

    /// True for mail between two, which a session has sealed; false for what belongs to a group.
    pub fn of_session(&self) -> bool {
        self.session != SessionId([0; 16])
    }
}

/// Outgoing mail of one conversation.
#[derive(Debug, Default)]
pub struct Lane {
    /// In sending order.
    pub flights: BTreeMap<u64, Flight>,
    /// Not yet handed to the direct link that is up.
    unsent: BTreeSet<u64>,
    /// Bytes of the flights that are not in `unsent`.
    in_flight_bytes: usize,
}

impl Lane {
    /// What is not yet handed to the direct link that is up, in sending order.
    pub fn unsent(&self) -> &BTreeSet<u64> {
        &self.unsent
    }

    /// Whether the link is owed as much as it should be: envelopes handed to it and not yet receipted.
    pub fn is_full(&self) -> bool {
        self.flights.len() - self.unsent.len() >= ENVELOPES_IN_FLIGHT_MAX
            || self.in_flight_bytes >= ENVELOPES_IN_FLIGHT_BYTES_MAX
    }

    /// An entry has been handed to the direct link.
    pub fn hand_out(&mut self, seq: u64) {
        if self.unsent.remove(&seq) {
            self.in_flight_bytes += self.flights.get(&seq).map_or(0, |flight| flight.size);
        }
    }

    /// An entry is to be handed out again.
    pub fn take_back(&mut self, seq: u64) {
        let Some(flight) = self.flights.get(&seq) else { return };
        if self.unsent.insert(seq) {
            self.in_flight_bytes -= flight.size;
        }
    }
}

/// All outgoing mail.
#[derive(Debug, Default)]
pub struct Outbox {
    lanes: BTreeMap<ChatId, Lane>,
    /// A letter to a group lies in the lane of every member, under one tag.
    by_tag: BTreeSet<(Tag, ChatId, u64)>,
    next_seq: u64,
}

/// The store key of an entry: chat ‖ sequence, so that a scan gives sending order.
pub fn entry_key(chat: &ChatId, seq: u64) -> Vec<u8> {
    let mut key = chat.0.to_vec();
    key.extend_from_slice(&seq.to_be_bytes());
    key
}

/// Pause before the next hand-out after `attempts`, without jitter.
pub fn retry_pause_ms(attempts: u32) -> u64 {
    RETRY_FIRST_MS.saturating_mul(1 << attempts.saturating_sub(1).min(20)).min(RETRY_MAX_MS)
}

/// Pause before relays that signed are handed the same envelope again: an hour, then ever longer up to a day.
pub fn deposit_pause_ms(deposits: u32) -> u64 {
    HOUR_MS.saturating_mul(1 << deposits.saturating_sub(1).min(20)).min(DAY_MS)
}

impl Outbox {
    /// Adds an entry at the end of its lane and returns its sequence.
    pub fn push(&mut self, chat: ChatId, flight: Flight) -> u64 {
        let seq = self.next_seq;
        self.restore(chat, seq, flight);
        seq
    }

    /// Puts back an entry read from the store.
    pub fn restore(&mut self, chat: ChatId, seq: u64, flight: Flight) {
        self.next_seq = self.next_seq.max(seq + 1);
        self.by_tag.insert((flight.tag, chat, seq));
        let lane = self.lanes.entry(chat).or_default();
        lane.flights.insert(seq, flight);
        lane.unsent.insert(seq);
    }

    /// Takes an entry out.
    pub fn remove(&mut self, chat: &ChatId, seq: u64) -> Option<Flight> {
        let lane = self.lanes.get_mut(chat)?;
        let flight = lane.flights.remove(&seq)?;
        if !lane.unsent.remove(&seq) {
            lane.in_flight_bytes -= flight.size;
        }
        if lane.flights.is_empty() {
            self.lanes.remove(chat);
        }
        self.by_tag.remove(&(flight.tag, *chat, seq));
        Some(flight)
    }

    /// Where the envelope with this tag is; of several lanes the first.
    pub fn find(&self, tag: &Tag) -> Option<(ChatId, u64)> {
        self.all_with(tag).next()
    }

    /// Every place where an envelope with this tag is.
    pub fn all_with(&self, tag: &Tag) -> impl Iterator<Item = (ChatId, u64)> {
        let range = (*tag, ChatId([0; 16]), 0)..=(*tag, ChatId([0xff; 16]), u64::MAX);
        self.by_tag.range(range).map(|(_, chat, seq)| (*chat, *seq))
    }

    /// Where a message of a conversation waits: in its lane, or for a group in those of its members.
    pub fn carrying(&self, chat: &ChatId, id: &MessageId) -> Vec<(ChatId, u64)> {
        let of = |lane: &ChatId, flight: &Flight| {
            flight.message == Some(*id) && flight.group.as_ref().unwrap_or(lane) == chat
        };
        let lanes = self.lanes.iter().filter(|(lane, _)| *lane == chat || !self.lanes.contains_key(chat));
        lanes
            .flat_map(|(lane, queue)| queue.flights.iter().map(move |(seq, flight)| (*lane, *seq, flight)))
            .filter(|(lane, _, flight)| of(lane, flight))
            .map(|(lane, seq, _)| (lane, seq))
            .collect()
    }

    /// An entry.
    pub fn flight(&self, chat: &ChatId, seq: u64) -> Option<&Flight> {
        self.lanes.get(chat)?.flights.get(&seq)
    }

    /// An entry, to change.
    pub fn flight_mut(&mut self, chat: &ChatId, seq: u64) -> Option<&mut Flight> {
        self.lanes.get_mut(chat)?.flights.get_mut(&seq)
    }

    /// A lane; `None` when nothing waits.
    pub fn lane(&self, chat: &ChatId) -> Option<&Lane> {
        self.lanes.get(chat)
    }

    /// A lane, to change.
    pub fn lane_mut(&mut self, chat: &ChatId) -> Option<&mut Lane> {
        self.lanes.get_mut(chat)
    }

    /// Conversations with waiting mail.
    pub fn chats(&self) -> Vec<ChatId> {
        self.lanes.keys().copied().collect()
    }

    /// Entries in all.
    pub fn len(&self) -> usize {
        self.by_tag.len()
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.by_tag.is_empty()
    }

    /// Messages (not control) that wait.
    pub fn messages(&self) -> u32 {
        let count = self.lanes.values().flat_map(|l| l.flights.values()).filter(|f| f.message.is_some()).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// A link is gone: what it carried may be handed out again at once.
    pub fn link_down(&mut self, link: LinkId) {
        for lane in self.lanes.values_mut() {
            let mut lost = Vec::new();
            for (seq, flight) in &mut lane.flights {
                if flight.on_link == Some(link) {
                    flight.on_link = None;
                    flight.next_at = Moment(0);
                    lost.push(*seq);
                }
            }
            lost.into_iter().for_each(|seq| lane.take_back(seq));
        }
    }

    /// A relay's connection is gone: its unanswered deposits may be asked again.
    pub fn relay_down(&mut self, relay: &PeerKey) {
        for flight in self.lanes.values_mut().flat_map(|lane| lane.flights.values_mut()) {
            flight.depositing.remove(relay);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight(tag: u8) -> Flight {
        Flight::new(Departure {
            tag: Tag([tag; 12]),
            cid: Cid([tag; 16]),
            size: 100,
            class: Class::Text,
            created_at: UnixTime(0),
            expires_at: UnixTime(0),
        })
    }

    #[test]
    fn entries_keep_their_order_and_are_found_by_tag() {
        let mut outbox = Outbox::default();
        let chat = ChatId([1; 16]);
        let first = outbox.push(chat, flight(1));
        let second = outbox.push(chat, flight(2));
        assert!(first < second);
        assert_eq!(outbox.find(&Tag([2; 12])), Some((chat, second)));
        assert!(outbox.remove(&chat, first).is_some());
        assert!(outbox.remove(&chat, first).is_none());
        assert_eq!(outbox.len(), 1);
    }

    #[test]
    fn a_lane_is_full_by_bytes_and_every_way_out_of_it_makes_room() {
        let mut outbox = Outbox::default();
        let (chat, link) = (ChatId([1; 16]), LinkId(7));
        let large = |tag| Flight { size: ENVELOPES_IN_FLIGHT_BYTES_MAX / 4, on_link: Some(link), ..flight(tag) };
        let seqs: Vec<u64> = (0..8).map(|tag| outbox.push(chat, large(tag))).collect();
        let full = |outbox: &Outbox| outbox.lane(&chat).expect("it has mail").is_full();
        let hand_out = |outbox: &mut Outbox, seq| outbox.lane_mut(&chat).expect("it has mail").hand_out(seq);
        for seq in &seqs[..4] {
            assert!(!full(&outbox));
            hand_out(&mut outbox, *seq);
            hand_out(&mut outbox, *seq); // twice is once
        }
        assert!(full(&outbox));
        assert!(outbox.remove(&chat, seqs[0]).is_some());
        assert!(!full(&outbox), "a receipt");
        hand_out(&mut outbox, seqs[4]);
        assert!(full(&outbox));
        outbox.lane_mut(&chat).expect("it has mail").take_back(seqs[1]);
        assert!(!full(&outbox), "a retry");
        assert!(outbox.remove(&chat, seqs[1]).is_some());
        hand_out(&mut outbox, seqs[5]);
        assert!(full(&outbox));
        outbox.link_down(link);
        assert_eq!(outbox.lane(&chat).expect("it has mail").unsent().len(), 6);
        for seq in &seqs[2..5] {
            hand_out(&mut outbox, *seq);
            assert!(!full(&outbox), "a link that is gone");
        }
    }

    #[test]
    fn a_lost_link_frees_what_it_carried() {
        let mut outbox = Outbox::default();
        let chat = ChatId([1; 16]);
        let seq = outbox.push(chat, flight(1));
        let lane = outbox.lane_mut(&chat).expect("pushed above");
        lane.hand_out(seq);
        lane.flights.get_mut(&seq).expect("pushed above").on_link = Some(LinkId(7));
        outbox.link_down(LinkId(7));
        assert!(outbox.lane(&chat).expect("still there").unsent().contains(&seq));
    }

    #[test]
    fn pauses_double_up_to_six_hours() {
        assert_eq!(retry_pause_ms(1), 30_000);
        assert_eq!(retry_pause_ms(2), 60_000);
        assert_eq!(retry_pause_ms(40), RETRY_MAX_MS);
    }
}
