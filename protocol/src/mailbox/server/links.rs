//! What the relay remembers of its links, in memory only: challenges, followed queues, who deposited what, and rates.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::chance::Chance;
use crate::ids::{LinkId, QueueRid, Tag};
use crate::limits::{BLOB_PUTS_PER_LINK_HOUR, LINKS_MAX, QUEUE_CREATES_PER_LINK_HOUR};
use crate::time::{HOUR_MS, Moment};

/// Queues one link may follow: as many as it may create in an hour.
const FOLLOWED_PER_LINK_MAX: usize = QUEUE_CREATES_PER_LINK_HOUR as usize;
/// Deposits whose depositor is remembered, to tell them the preimage at once: 65,536 × about 100 B = 6.5 MB.
const DEPOSITORS_MAX: usize = 65_536;

struct Link {
    challenge: [u8; 32],
    followed: BTreeSet<QueueRid>,
    hour_began: Moment,
    creates: u32,
    blob_puts: u32,
}

/// All links that are up.
#[derive(Default)]
pub(super) struct Links {
    links: BTreeMap<LinkId, Link>,
    followers: BTreeMap<QueueRid, BTreeSet<LinkId>>,
    depositors: BTreeMap<(QueueRid, Tag), LinkId>,
    deposited: VecDeque<(QueueRid, Tag)>,
}

impl Links {
    /// Knows a link from now on. At the bound, the oldest link loses its place and is told to come again.
    pub(super) fn up(&mut self, link: LinkId, chance: &mut Chance) -> [u8; 32] {
        self.down(link);
        if self.links.len() >= LINKS_MAX
            && let Some(oldest) = self.links.keys().next().copied()
        {
            self.down(oldest);
        }
        let challenge = chance.bytes();
        let hour_began = Moment(0);
        self.links.insert(link, Link { challenge, followed: BTreeSet::new(), hour_began, creates: 0, blob_puts: 0 });
        challenge
    }

    pub(super) fn down(&mut self, link: LinkId) {
        let Some(gone) = self.links.remove(&link) else { return };
        for rid in gone.followed {
            if let Some(followers) = self.followers.get_mut(&rid) {
                followers.remove(&link);
                if followers.is_empty() {
                    self.followers.remove(&rid);
                }
            }
        }
    }

    pub(super) fn challenge(&self, link: LinkId) -> Option<[u8; 32]> {
        self.links.get(&link).map(|link| link.challenge)
    }

    /// Pushes mail of a queue to a link from now on; beyond the bound the link has to fetch.
    pub(super) fn follow(&mut self, link: LinkId, rid: QueueRid) {
        let Some(known) = self.links.get_mut(&link) else { return };
        if known.followed.len() < FOLLOWED_PER_LINK_MAX && known.followed.insert(rid) {
            self.followers.entry(rid).or_default().insert(link);
        }
    }

    /// Stops pushing mail of a queue that is gone.
    pub(super) fn unfollow_all(&mut self, rid: &QueueRid) {
        for link in self.followers.remove(rid).unwrap_or_default() {
            if let Some(link) = self.links.get_mut(&link) {
                link.followed.remove(rid);
            }
        }
    }

    pub(super) fn followers(&self, rid: &QueueRid) -> impl Iterator<Item = LinkId> {
        self.followers.get(rid).into_iter().flatten().copied()
    }

    /// Remembers who deposited a tag; the oldest is forgotten at the bound and has to COLLECT.
    pub(super) fn deposited(&mut self, link: LinkId, rid: QueueRid, tag: Tag) {
        if self.depositors.insert((rid, tag), link).is_none() {
            self.deposited.push_back((rid, tag));
        }
        while self.deposited.len() > DEPOSITORS_MAX {
            if let Some(oldest) = self.deposited.pop_front() {
                self.depositors.remove(&oldest);
            }
        }
    }

    /// Who deposited a tag, if the link is still up; forgets it.
    pub(super) fn take_depositor(&mut self, rid: &QueueRid, tag: &Tag) -> Option<LinkId> {
        let link = self.depositors.remove(&(*rid, *tag))?;
        self.links.contains_key(&link).then_some(link)
    }

    /// Counts a new queue against the hourly rate of the link; false when it is used up.
    pub(super) fn count_create(&mut self, link: LinkId, now: Moment) -> bool {
        self.rated(link, now).is_some_and(|link| count(&mut link.creates, QUEUE_CREATES_PER_LINK_HOUR))
    }

    /// Counts a blob against the hourly rate of the link; false when it is used up.
    pub(super) fn count_blob_put(&mut self, link: LinkId, now: Moment) -> bool {
        self.rated(link, now).is_some_and(|link| count(&mut link.blob_puts, BLOB_PUTS_PER_LINK_HOUR))
    }

    fn rated(&mut self, link: LinkId, now: Moment) -> Option<&mut Link> {
        let link = self.links.get_mut(&link)?;
        if now.0.saturating_sub(link.hour_began.0) >= HOUR_MS {
            (link.hour_began, link.creates, link.blob_puts) = (now, 0, 0);
        }
        Some(link)
    }
}

fn count(used: &mut u32, max: u32) -> bool {
    let allowed = *used < max;
    *used = used.saturating_add(u32::from(allowed));
    allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_went_down_follows_nothing_and_is_told_nothing() {
        let (mut links, mut chance) = (Links::default(), Chance::from_seed([1; 32]));
        let (rid, tag) = (QueueRid([1; 16]), Tag([2; 12]));
        let first = links.up(LinkId(1), &mut chance);
        links.follow(LinkId(1), rid);
        links.deposited(LinkId(1), rid, tag);
        assert_eq!(links.followers(&rid).collect::<Vec<_>>(), [LinkId(1)]);
        links.down(LinkId(1));
        assert_eq!(links.followers(&rid).count(), 0);
        assert_eq!(links.take_depositor(&rid, &tag), None);
        assert_ne!(links.up(LinkId(1), &mut chance), first);
    }

    #[test]
    fn depositors_links_and_followed_queues_are_bounded() {
        let (mut links, mut chance) = (Links::default(), Chance::from_seed([1; 32]));
        for n in 0..=LINKS_MAX as u64 {
            links.up(LinkId(n), &mut chance);
        }
        assert_eq!(links.links.len(), LINKS_MAX);
        assert_eq!(links.challenge(LinkId(0)), None);
        let rid = |n: usize| QueueRid((n as u128).to_be_bytes());
        for n in 0..FOLLOWED_PER_LINK_MAX + 9 {
            links.follow(LinkId(7), rid(n));
        }
        assert_eq!(links.followers.len(), FOLLOWED_PER_LINK_MAX);
        for n in 0..DEPOSITORS_MAX + 9 {
            links.deposited(LinkId(7), rid(n), Tag([0; 12]));
        }
        assert_eq!((links.depositors.len(), links.deposited.len()), (DEPOSITORS_MAX, DEPOSITORS_MAX));
        assert_eq!(links.take_depositor(&rid(0), &Tag([0; 12])), None);
        assert_eq!(links.take_depositor(&rid(100), &Tag([0; 12])), Some(LinkId(7)));
    }
}
