//! A question with answers to choose from, and what each account has chosen.
//!
//! The options belong to the text that asks, so the question is a text like any other: searched, told to newcomers,
//! deleted. A vote is a word on the message, like a reaction: the last of an account counts. Which votes count is decided
//! when they are shown, so that a vote may come before its poll.

use crate::limits::{POLL_OPTION_BYTES_MAX, POLL_OPTIONS_RANGE};
use crate::step::RequestError;
use crate::time::UnixTime;
use crate::wire::proto;

use super::slot::SlotAuthor;

/// What can be chosen from, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poll {
    /// The answers, `limits::POLL_OPTIONS_RANGE` of them, each of 1 to `limits::POLL_OPTION_BYTES_MAX` bytes.
    pub options: Vec<String>,
    /// How many an account may choose, at least one.
    pub choices_max: u32,
    /// Votes said to be of later do not count; `None` for no end.
    pub ends_at: Option<UnixTime>,
}

/// Options by number, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Choices(u16);

/// What an account chose last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoteView {
    /// Who.
    pub author: SlotAuthor,
    /// What.
    pub choices: Choices,
    /// When they say they did.
    pub at: UnixTime,
}

/// A poll with the votes that count, in the order of their authors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PollView {
    /// What can be chosen from.
    pub poll: Poll,
    /// Who chose what.
    pub votes: Vec<VoteView>,
}

impl Poll {
    /// With these parts, `ends_ms` 0 for no end; `None` for a poll that could not have been sent.
    pub(super) fn of(options: Vec<String>, choices_max: u32, ends_ms: u64) -> Option<Self> {
        let ends_at = (ends_ms > 0).then_some(UnixTime(ends_ms));
        let poll = Self { options, choices_max, ends_at };
        poll.check().ok().map(|()| poll)
    }

    /// A poll that may be sent.
    ///
    /// # Errors
    /// [`RequestError::Invalid`] with what is wrong.
    pub fn check(&self) -> Result<(), RequestError> {
        let wrong = |field, why: String| Err(RequestError::Invalid { field, why });
        let (least, most) = (POLL_OPTIONS_RANGE.start(), POLL_OPTIONS_RANGE.end());
        let count = self.options.len();
        if !POLL_OPTIONS_RANGE.contains(&count) {
            return wrong("options", format!("{least} to {most} options are allowed, these are {count}"));
        }
        if self.options.iter().any(|option| !(1..=POLL_OPTION_BYTES_MAX).contains(&option.len())) {
            return wrong("options", format!("an option has 1 to {POLL_OPTION_BYTES_MAX} bytes"));
        }
        let mut different: Vec<&String> = self.options.iter().collect();
        different.sort_unstable();
        different.dedup();
        if different.len() < count {
            return wrong("options", "two options are the same".to_owned());
        }
        if !(1..=count).contains(&(self.choices_max as usize)) {
            return wrong("maxChoices", format!("from 1 to all {count} options may be chosen"));
        }
        Ok(())
    }

    /// The poll of a text that came; one that could not have been sent is none, and the text a text.
    #[must_use]
    pub fn read(wire: proto::Poll) -> Option<Self> {
        Self::of(wire.options, wire.choices_max, wire.ends_ms)
    }

    /// As it travels beside the question.
    #[must_use]
    pub fn write(&self) -> proto::Poll {
        let ends_ms = self.ends_at.map_or(0, |at| at.0);
        proto::Poll { options: self.options.clone(), choices_max: self.choices_max, ends_ms }
    }

    /// True for a vote that counts: for options there are, for no more than allowed, and not of after the end.
    #[must_use]
    pub fn counts(&self, choices: Choices, at: UnixTime) -> bool {
        choices.numbers().all(|number| (number as usize) < self.options.len())
            && (1..=self.choices_max).contains(&choices.0.count_ones())
            && self.ends_at.is_none_or(|end| at <= end)
    }

    /// True once nobody may vote any more.
    #[must_use]
    pub fn is_over(&self, now: UnixTime) -> bool {
        self.ends_at.is_some_and(|end| now > end)
    }
}

impl Choices {
    /// The options with these numbers, from 0; `None` if one can be the number of no option, or is there twice.
    #[must_use]
    pub fn of(numbers: &[u32]) -> Option<Self> {
        let mut bits = 0_u16;
        for number in numbers {
            let bit = 1_u16.checked_shl(*number)?;
            if bits & bit != 0 {
                return None;
            }
            bits |= bit;
        }
        Some(Self(bits))
    }

    /// The numbers of the options, ascending.
    pub fn numbers(self) -> impl Iterator<Item = u32> {
        (0..u16::BITS).filter(move |number| self.0 >> number & 1 == 1)
    }

    /// True where nothing is chosen: the vote is taken back.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn bits(self) -> u32 {
        u32::from(self.0)
    }

    pub(super) fn of_bits(bits: u32) -> Option<Self> {
        u16::try_from(bits).ok().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(options: usize, choices_max: u32) -> Poll {
        let options = (0..options).map(|n| format!("option {n}")).collect();
        Poll { options, choices_max, ends_at: None }
    }

    #[test]
    fn a_poll_has_several_different_options_of_bounded_length() {
        assert!(poll(2, 1).check().is_ok());
        assert!(poll(16, 16).check().is_ok());
        for (options, choices) in [(0, 1), (1, 1), (17, 1), (2, 0), (2, 3)] {
            assert!(poll(options, choices).check().is_err(), "{options} options, {choices} choices");
        }
        let mut same = poll(3, 1);
        same.options[2] = same.options[0].clone();
        assert!(same.check().is_err());
        for length in [0, POLL_OPTION_BYTES_MAX + 1] {
            let mut long = poll(2, 1);
            long.options[1] = "x".repeat(length);
            assert!(long.check().is_err(), "{length} bytes");
        }
    }

    #[test]
    fn what_could_not_be_sent_is_not_read() {
        let good = Poll { ends_at: Some(UnixTime(5)), ..poll(4, 2) };
        assert_eq!(Poll::read(good.write()), Some(good.clone()));
        assert_eq!(Poll::read(proto::Poll { choices_max: 5, ..good.write() }), None);
        assert_eq!(Poll::read(proto::Poll { options: Vec::new(), ..good.write() }), None);
    }

    #[test]
    fn choices_are_numbers_that_an_option_can_have_each_once() {
        assert_eq!(Choices::of(&[3, 0]).map(|choices| choices.numbers().collect()), Some(vec![0, 3]));
        assert!(Choices::of(&[]).is_some_and(Choices::is_empty));
        for wrong in [&[16][..], &[u32::MAX], &[1, 1]] {
            assert_eq!(Choices::of(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_vote_counts_for_options_there_are_and_in_time() {
        let poll = Poll { ends_at: Some(UnixTime(10)), ..poll(3, 2) };
        let counts = |numbers: &[u32], at| poll.counts(Choices::of(numbers).unwrap(), UnixTime(at));
        assert!(counts(&[0, 2], 10));
        assert!(!counts(&[0, 2], 11), "after the end");
        assert!(!counts(&[3], 1), "no such option");
        assert!(!counts(&[0, 1, 2], 1), "too many");
        assert!(!counts(&[], 1), "taken back");
    }
}
