//! The engine's alarm clocks. One armed wake per node: the earliest of these, replaced, never added.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{ChatId, LinkId, PeerKey};
use crate::input::RequestId;
use crate::time::Moment;

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Look again at the outgoing mail of a conversation.
    Retry(ChatId),
    /// Try again to find a contact.
    FindContact(ChatId),
    /// Try again to reach a relay.
    DialRelay(PeerKey),
    /// Ask a relay what became of deposits.
    Collect(PeerKey),
    /// A relay has not answered for too long: its link may be dead.
    RelayAnswer(PeerKey),
    /// A link that proved nothing is closed.
    Unproven(LinkId),
    /// A request waits no longer.
    Request(RequestId),
    /// Messages disappear.
    Expire,
    /// Prekeys, presence records, session ages.
    Housekeeping,
    /// Expiry of what is held for others.
    MailSweep,
    /// Expiry of what is carried for others.
    SweepCarried,
    /// Receipts whose pause is over.
    Publish,
    /// Ask for what another link was to bring.
    AskAgain,
    /// Tell contacts where we are.
    TellAddresses,
    /// Compare letters of groups with the members on links.
    CompareLetters,
    /// Ask for operations of a group that have not come with their letters.
    AskOperations(ChatId),
    /// Send receipts for letters of a group back.
    TellReceipts(ChatId),
    /// Ask for letters of a group that were announced a moment ago.
    AskForLetters,
    /// Letters that were asked for have not come.
    LettersOverdue,
    /// Tell a group which of its letters are here.
    TellSeen(ChatId),
    /// A group has lost a member and nobody has changed its key.
    RekeyGroup(ChatId),
    /// Enough has happened in a group for an admin's word on what it comes to.
    Checkpoint(ChatId),
    /// Members may lack keys of the other side of a split.
    Complement(ChatId),
    /// Slices of rekeys of a large group have not come.
    AskSlices(ChatId),
    /// Look for readers of a channel.
    FindChannel(ChatId),
    /// Compare posts of channels with the readers on links.
    ComparePosts,
    /// Posts that were asked for have not come.
    PostsOverdue,
}

/// Alarm clocks by name: setting one again replaces it.
#[derive(Debug, Default)]
pub(super) struct Timers {
    by_time: BTreeSet<(Moment, Timer)>,
    by_name: BTreeMap<Timer, Moment>,
}

impl Timers {
    /// Sets or replaces.
    pub(super) fn set(&mut self, timer: Timer, at: Moment) {
        self.cancel(&timer);
        self.by_time.insert((at, timer.clone()));
        self.by_name.insert(timer, at);
    }

    /// Sets, unless an earlier one is armed.
    pub(super) fn set_earlier(&mut self, timer: Timer, at: Moment) {
        if self.by_name.get(&timer).is_none_or(|armed| *armed > at) {
            self.set(timer, at);
        }
    }

    /// Sets, unless one is armed.
    pub(super) fn set_if_unarmed(&mut self, timer: Timer, at: Moment) {
        if !self.by_name.contains_key(&timer) {
            self.set(timer, at);
        }
    }

    /// Disarms.
    pub(super) fn cancel(&mut self, timer: &Timer) {
        if let Some(at) = self.by_name.remove(timer) {
            self.by_time.remove(&(at, timer.clone()));
        }
    }

    /// Takes the earliest one that is due.
    pub(super) fn pop_due(&mut self, now: Moment) -> Option<Timer> {
        if self.by_time.first()?.0 > now {
            return None;
        }
        let (_, timer) = self.by_time.pop_first()?;
        self.by_name.remove(&timer);
        Some(timer)
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Moment> {
        self.by_time.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_a_timer_again_replaces_it() {
        let mut timers = Timers::default();
        timers.set(Timer::Expire, Moment(10));
        timers.set(Timer::Expire, Moment(20));
        assert_eq!(timers.next(), Some(Moment(20)));
        assert_eq!(timers.pop_due(Moment(19)), None);
        assert_eq!(timers.pop_due(Moment(20)), Some(Timer::Expire));
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn an_earlier_alarm_is_kept() {
        let mut timers = Timers::default();
        timers.set(Timer::Expire, Moment(10));
        timers.set_earlier(Timer::Expire, Moment(20));
        assert_eq!(timers.next(), Some(Moment(10)));
        timers.set_earlier(Timer::Expire, Moment(5));
        assert_eq!(timers.next(), Some(Moment(5)));
    }
}
