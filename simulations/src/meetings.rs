//! Physical contacts: two devices come within reach of each other, their radios make a link, and they part again.
//!
//! A contact gives both engines a link of `Route::Radio`, whatever else keeps them apart; the [`Radio`] says what
//! it carries. A device that restarts while another one is near makes a link again. What arrives over such links is
//! counted in a [`Tally`].
//!
//! [`Route::Local`]: silbo_protocol::input::Route::Local

use std::collections::{BTreeMap, BTreeSet};

use silbo_protocol::input::Request;
use silbo_protocol::wire::frame::Frame;

use crate::node::NodeId;
use crate::radio::Radio;
use crate::world::{Happening, World};

/// Where the tag of an envelope is.
const TAG: std::ops::Range<usize> = 4..16;

/// Who is near whom.
#[derive(Debug, Default)]
pub(crate) struct Meetings {
    pub(crate) radio: Radio,
    near: BTreeMap<(NodeId, NodeId), Meeting>,
    neighbours: BTreeMap<NodeId, BTreeSet<NodeId>>,
    next: u64,
}

#[derive(Debug)]
struct Meeting {
    number: u64,
    link: Option<u64>,
}

/// What arrived over the links of physical contacts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Hand-overs of an envelope that carries a message, deliveries included.
    pub messages: u64,
    /// Hand-overs of other envelopes, those of a flooding stranger among them.
    pub control: u64,
    /// Bytes of all frames.
    pub bytes: u64,
    /// Frames and their bytes by their kind byte.
    pub by_kind: BTreeMap<u8, (u64, u64)>,
}

impl World {
    /// What physical contacts can carry from now on. Links that exist keep their place in the queue.
    pub fn set_radio(&mut self, radio: Radio) {
        self.network.meetings.radio = radio;
    }

    /// What arrived over physical contacts since the last [`World::take_tally`].
    pub fn tally(&self) -> &Tally {
        &self.network.tally
    }

    /// Hands the count out and starts again from zero.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.network.tally)
    }

    /// Two devices come within reach; their link is up after the set-up time of the radio. Nothing happens while they
    /// are within reach already.
    pub fn contact_begins(&mut self, a: NodeId, b: NodeId) {
        let range = self.network.meetings.radio.setup_ms.clone();
        let setup_ms = range.start() + self.chance.below(range.end().saturating_sub(*range.start()) + 1);
        self.contact_begins_after(a, b, setup_ms);
    }

    /// The same with a set-up time of the scenario's own.
    pub fn contact_begins_after(&mut self, a: NodeId, b: NodeId, setup_ms: u64) {
        let pair = (a.min(b), a.max(b));
        let meetings = &mut self.network.meetings;
        if a == b || meetings.near.contains_key(&pair) {
            return;
        }
        meetings.next += 1;
        let meeting = meetings.next;
        meetings.near.insert(pair, Meeting { number: meeting, link: None });
        meetings.neighbours.entry(a).or_default().insert(b);
        meetings.neighbours.entry(b).or_default().insert(a);
        if setup_ms == 0 {
            self.in_reach(pair.0, pair.1, meeting);
        } else {
            self.after(setup_ms, Happening::InReach { a: pair.0, b: pair.1, meeting });
        }
    }

    /// Two devices part. Their link goes down at both ends at once, and what is under way is lost.
    pub fn contact_ends(&mut self, a: NodeId, b: NodeId) {
        let meetings = &mut self.network.meetings;
        let Some(meeting) = meetings.near.remove(&(a.min(b), a.max(b))) else { return };
        for (one, other) in [(a, b), (b, a)] {
            if let Some(near) = meetings.neighbours.get_mut(&one) {
                near.remove(&other);
            }
        }
        if let Some(link) = meeting.link {
            self.end_radio_link(link);
        }
    }

    /// Plans a contact from `at_ms` for `for_ms`. Its set-up time is the scenario's to subtract.
    pub fn plan_contact(&mut self, a: NodeId, b: NodeId, at_ms: u64, for_ms: u64) {
        self.at(at_ms, Happening::Meet { a, b, for_ms });
    }

    /// Plans a request of a person. While the node is off it is lost.
    pub fn plan_request(&mut self, node: NodeId, at_ms: u64, request: Request) {
        self.at(at_ms, Happening::Post { node, request: Box::new(request) });
    }

    /// From now on the node takes mail of others and never hands it on. Its own mail it sends.
    pub fn drop_carried(&mut self, node: NodeId) {
        self.node_mut(node).drops_carried = true;
    }

    /// The mail of this node does not count as messages: it floods.
    pub fn floods(&mut self, node: NodeId) {
        self.node_mut(node).floods = true;
    }

    pub(crate) fn meet(&mut self, a: NodeId, b: NodeId, for_ms: u64) {
        self.contact_begins_after(a, b, 0);
        self.after(for_ms, Happening::Part { a, b });
    }

    pub(crate) fn in_reach(&mut self, a: NodeId, b: NodeId, number: u64) {
        let known = self.network.meetings.near.get(&(a, b)).filter(|meeting| meeting.number == number);
        let linked = known.is_none_or(|meeting| meeting.link.is_some_and(|link| self.is_link_alive(link)));
        let able = [a, b].iter().all(|node| self.node(*node).is_on() && self.node(*node).online);
        if linked || !able {
            return;
        }
        let link = self.add_radio_link(a, b);
        if let Some(meeting) = self.network.meetings.near.get_mut(&(a, b)) {
            meeting.link = Some(link);
        }
    }

    /// A node is back: it makes links with everyone near.
    pub(crate) fn meet_again(&mut self, node: NodeId) {
        let near: Vec<NodeId> = self.network.meetings.neighbours.get(&node).into_iter().flatten().copied().collect();
        for other in near {
            let (a, b) = (node.min(other), node.max(other));
            let Some(meeting) = self.network.meetings.near.get(&(a, b)).map(|meeting| meeting.number) else { continue };
            let range = self.network.meetings.radio.setup_ms.clone();
            let setup_ms = range.start() + self.chance.below(range.end().saturating_sub(*range.start()) + 1);
            self.after(setup_ms, Happening::InReach { a, b, meeting });
        }
    }

    pub(crate) fn count_frame(&mut self, bytes: &[u8]) {
        let tally = &mut self.network.tally;
        tally.bytes += bytes.len() as u64;
        let of_kind = tally.by_kind.entry(bytes.first().copied().unwrap_or_default()).or_default();
        of_kind.0 += 1;
        of_kind.1 += bytes.len() as u64;
        for envelope in handed_over(bytes) {
            let tag = envelope.get(TAG).and_then(|tag| <[u8; 12]>::try_from(tag).ok()).unwrap_or_default();
            match self.ledger.mail_of(&tag) {
                Some(mail) if mail.is_message && !self.node(mail.author).floods => self.network.tally.messages += 1,
                _ => self.network.tally.control += 1,
            }
        }
    }

    /// A frame as a carrier sends it that keeps what it carries; `None` when nothing is left.
    pub(crate) fn without_carried(&self, from: NodeId, bytes: Vec<u8>) -> Option<Vec<u8>> {
        let Ok(Frame::Parcels(mut parcels)) = Frame::decode(&bytes) else { return Some(bytes) };
        let is_own = |envelope: &[u8]| {
            let tag = envelope.get(TAG).and_then(|tag| <[u8; 12]>::try_from(tag).ok()).unwrap_or_default();
            self.ledger.mail_of(&tag).is_some_and(|mail| mail.author == from)
        };
        parcels.retain(|parcel| is_own(&parcel.envelope));
        (!parcels.is_empty()).then(|| Frame::Parcels(parcels).encode())
    }
}

/// Every envelope that a frame hands over.
fn handed_over(bytes: &[u8]) -> Vec<Vec<u8>> {
    match Frame::decode(bytes) {
        Ok(Frame::Envelopes(envelopes)) => envelopes,
        Ok(Frame::Parcels(parcels)) => parcels.into_iter().map(|parcel| parcel.envelope).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;
    use crate::network::Reach;

    fn two_apart() -> (World, NodeId, NodeId) {
        let mut world = World::new(1);
        let ann = world.person_at("ann", Reach::BehindNat).expect("an account is made");
        let ben = world.person_at("ben", Reach::BehindNat).expect("an account is made");
        (world, ann, ben)
    }

    #[test]
    fn people_without_a_network_talk_while_they_are_within_reach() -> Result<(), Failure> {
        let (mut world, ann, ben) = two_apart();
        world.contact_begins(ann, ben);
        world.befriend(ann, ben)?;
        world.contact_ends(ann, ben);
        world.run_for(60_000)?;
        let sent = world.send(ann, ben, "when we meet")?;
        world.run_for(3_600_000)?;
        assert!(!world.linked(ann, ben) && world.node(ben).shown.is_empty());
        world.take_tally();
        world.contact_begins(ben, ann);
        world.wait_delivered(ann, sent, 60_000)?;
        assert!(world.tally().messages == 1 && world.tally().bytes > 200);
        Ok(())
    }

    #[test]
    fn a_contact_that_is_shorter_than_its_set_up_makes_no_link() -> Result<(), Failure> {
        let (mut world, ann, ben) = two_apart();
        world.set_radio(Radio { setup_ms: 2_000..=2_000, ..Radio::default() });
        world.contact_begins(ann, ben);
        world.run_for(1_999)?;
        assert!(!world.linked(ann, ben));
        world.contact_ends(ann, ben);
        world.run_for(10_000)?;
        assert!(!world.linked(ann, ben));
        world.contact_begins(ann, ben);
        world.run_for(2_001)?;
        assert!(world.linked(ann, ben));
        Ok(())
    }

    #[test]
    fn a_restarted_device_links_again_with_who_is_near() -> Result<(), Failure> {
        let (mut world, ann, ben) = two_apart();
        world.contact_begins(ann, ben);
        world.run_for(1_000)?;
        world.crash(ann, 5_000);
        world.run_for(30_000)?;
        assert!(world.linked(ann, ben));
        Ok(())
    }
}
