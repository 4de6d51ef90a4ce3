//! Envelopes on their way: what is asked for on one link is not asked for on another at the same time.
//!
//! Several carriers met at once have much the same. Each names an envelope differently, but four bytes of every name
//! are of its tag. What another link is about to bring is *postponed*: asked for when it has not come in time, or when
//! that link is gone. It makes no difference for whom the envelope is, so nothing about that shows.

use std::collections::BTreeMap;

use super::Engine;
use super::timers::Timer;
use super::turn::Turn;
use crate::ids::{LinkId, Tag};
use crate::limits::{ASK_PATIENCE_MS, COMING_MAX};
use crate::time::Moment;
use crate::wire::encounter::{ItemId, Offer};

/// Who is asked for an envelope that several have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asking {
    /// The first one.
    One,
    /// All of them: the first one has failed.
    Everyone,
}

/// Which link brings an envelope, and until when that is believed, by the first bytes of its tag.
#[derive(Debug, Default)]
pub(super) struct Coming(BTreeMap<[u8; 4], (LinkId, Moment)>);

impl Coming {
    /// True when another link is about to bring it.
    fn elsewhere(&self, id: &ItemId, link: LinkId, now: Moment) -> bool {
        self.0.get(&prefix(id)).is_some_and(|(by, until)| *by != link && *until > now)
    }

    /// True when another link is about to bring it; otherwise this one is from now on.
    pub(super) fn elsewhere_or_ask(&mut self, id: &ItemId, link: LinkId, now: Moment) -> bool {
        if self.elsewhere(id, link, now) {
            return true;
        }
        if self.0.len() >= COMING_MAX {
            self.0.retain(|_, (_, until)| *until > now);
        }
        if self.0.len() < COMING_MAX {
            self.0.insert(prefix(id), (link, now.after_ms(ASK_PATIENCE_MS)));
        }
        false
    }

    /// It is here.
    pub(super) fn arrived(&mut self, tag: &Tag) {
        let [a, b, c, d, ..] = tag.0;
        self.0.remove(&[a, b, c, d]);
    }

    /// A link is gone; true when something was to come by it.
    pub(super) fn gone(&mut self, link: LinkId) -> bool {
        let before = self.0.len();
        self.0.retain(|_, (by, _)| *by != link);
        self.0.len() < before
    }
}

impl Engine {
    /// Asks for what another link was to bring and has not, all who have it: several who only pretend to have it cost
    /// no more time than one.
    pub(super) fn ask_again(&mut self, turn: &mut Turn) {
        let now = turn.now.moment;
        let (mut missing, mut waits) = (Vec::new(), false);
        for (link, state) in &mut self.links {
            let Some(meeting) = state.meeting.as_deref_mut() else { continue };
            meeting.postponed.retain(|id, _| !self.carried.knows(prefix(id)));
            let late = |id: &ItemId, _: &mut Offer| !self.coming.elsewhere(id, *link, now);
            let late: Vec<Offer> = meeting.postponed.extract_if(.., late).map(|(_, offer)| offer).collect();
            waits |= !meeting.postponed.is_empty();
            missing.push((*link, late));
        }
        for (link, late) in missing.into_iter().filter(|(_, late)| !late.is_empty()) {
            self.ask_for(link, &late, Vec::new(), Asking::Everyone, turn);
        }
        if waits {
            self.arm_asking(now);
        }
    }

    /// Something was postponed.
    pub(super) fn arm_asking(&mut self, now: Moment) {
        self.timers.set_earlier(Timer::AskAgain, now.after_ms(ASK_PATIENCE_MS));
    }
}

fn prefix(id: &ItemId) -> [u8; 4] {
    let [a, b, c, d, ..] = *id;
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment(1_000_000);

    fn named(n: u32, salted: u8) -> ItemId {
        let [a, b, c, d] = n.to_be_bytes();
        [a, b, c, d, salted, salted]
    }

    #[test]
    fn one_link_is_asked_until_it_brings_it_or_fails() {
        let (one, other, mut coming) = (LinkId(1), LinkId(2), Coming::default());
        assert!(!coming.elsewhere_or_ask(&named(7, 1), one, NOW));
        assert!(coming.elsewhere_or_ask(&named(7, 2), other, NOW), "it is on its way");
        assert!(!coming.elsewhere_or_ask(&named(7, 1), one, NOW), "its own link may be asked once more");
        assert!(!coming.elsewhere_or_ask(&named(7, 2), other, NOW.after_ms(ASK_PATIENCE_MS)), "it took too long");
        assert!(coming.gone(other) && !coming.gone(other));
        assert!(!coming.elsewhere_or_ask(&named(7, 1), one, NOW));
        coming.arrived(&Tag([0, 0, 0, 7, 9, 9, 9, 9, 9, 9, 9, 9]));
        assert!(!coming.elsewhere_or_ask(&named(7, 2), other, NOW));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_forgotten_in_time() {
        let mut coming = Coming::default();
        for n in 0..COMING_MAX as u32 + 10 {
            assert!(!coming.elsewhere_or_ask(&named(n, 1), LinkId(1), NOW));
        }
        assert_eq!(coming.0.len(), COMING_MAX);
        assert!(!coming.elsewhere_or_ask(&named(u32::MAX, 1), LinkId(1), NOW.after_ms(ASK_PATIENCE_MS)));
        assert_eq!(coming.0.len(), 1);
    }
}
