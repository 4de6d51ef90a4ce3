//! Numbers of posts as ranges: which are here, which another reader says it has, and what follows from both.

use std::collections::BTreeMap;

use crate::limits::{CHANNEL_RANGES_MAX, CHANNEL_SEQ_MAX};

/// A set of numbers below `limits::CHANNEL_SEQ_MAX`: disjoint ranges that do not touch, by their first number, each with
/// the number behind its last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Reads what travelled: first number and length, by turns, ascending, the ranges apart from each other.
    /// `None` for anything else, and for more ranges than one message may have.
    pub fn read(pairs: &[u64]) -> Option<Self> {
        let (pairs, []) = pairs.as_chunks::<2>() else { return None };
        if pairs.len() > CHANNEL_RANGES_MAX {
            return None;
        }
        let (mut ranges, mut free_from) = (BTreeMap::new(), 0);
        for [first, length] in pairs {
            let end = first.checked_add(*length).filter(|end| *end <= CHANNEL_SEQ_MAX)?;
            if *length == 0 || *first < free_from {
                return None;
            }
            ranges.insert(*first, end);
            free_from = end + 1;
        }
        Some(Self(ranges))
    }

    /// What travels: of more ranges than one message may have, the last.
    pub fn write(&self) -> Vec<u64> {
        let skipped = self.0.len().saturating_sub(CHANNEL_RANGES_MAX);
        self.0.iter().skip(skipped).flat_map(|(first, end)| [*first, end - first]).collect()
    }

    /// These numbers, in any order.
    pub fn of(numbers: impl IntoIterator<Item = u64>) -> Self {
        let mut ranges = Self::default();
        for number in numbers {
            ranges.insert(number);
        }
        ranges
    }

    /// Adds a number. One that no post can have is left out.
    pub fn insert(&mut self, number: u64) {
        if number >= CHANNEL_SEQ_MAX || self.contains(number) {
            return;
        }
        let (mut first, mut end) = (number, number + 1);
        if let Some(after) = self.0.remove(&end) {
            end = after;
        }
        if let Some((before, _)) = self.0.range(..number).next_back().filter(|(_, until)| **until == number) {
            first = *before;
        }
        self.0.insert(first, end);
    }

    /// Takes away every number below this one.
    pub fn remove_below(&mut self, floor: u64) {
        let mut kept = self.0.split_off(&floor);
        if let Some((_, end)) = self.0.pop_last().filter(|(_, end)| *end > floor) {
            kept.insert(floor, end);
        }
        self.0 = kept;
    }

    /// True for a number that is in it.
    pub fn contains(&self, number: u64) -> bool {
        self.0.range(..=number).next_back().is_some_and(|(_, end)| *end > number)
    }

    /// The largest number.
    pub fn last(&self) -> Option<u64> {
        self.0.last_key_value().map(|(_, end)| end - 1)
    }

    /// True without a number.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The numbers, ascending; take as many as you can bear: there may be 2^48.
    pub fn numbers(&self) -> impl Iterator<Item = u64> {
        self.0.iter().flat_map(|(first, end)| *first..*end)
    }

    /// The numbers from `from` on that are in this set and not in the other, ascending. Each step costs a look-up, however
    /// long the ranges are.
    pub fn beyond<'a>(&'a self, other: &'a Self, from: u64) -> impl Iterator<Item = u64> + 'a {
        let mut ranges = self.0.iter();
        let mut range = 0..0;
        std::iter::from_fn(move || {
            loop {
                if range.start >= range.end {
                    let (first, end) = ranges.next()?;
                    range = (*first).max(from)..*end;
                    continue;
                }
                let at = range.start;
                match other.0.range(..=at).next_back().filter(|(_, end)| **end > at) {
                    Some((_, end)) => range.start = *end,
                    None => {
                        range.start = at + 1;
                        return Some(at);
                    }
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_list_of_ranges_is_refused() {
        for pairs in
            [&[1][..], &[1, 0], &[5, 2, 3, 1], &[1, 2, 3, 1], &[0, u64::MAX], &[u64::MAX, 2], &[0, CHANNEL_SEQ_MAX + 1]]
        {
            assert_eq!(Ranges::read(pairs), None, "{pairs:?}");
        }
        let many: Vec<u64> = (0..=CHANNEL_RANGES_MAX as u64).flat_map(|at| [at * 2, 1]).collect();
        assert_eq!(Ranges::read(&many), None);
        assert!(Ranges::read(&many[2..]).is_some());
        assert_eq!(Ranges::read(&[]), Some(Ranges::default()));
    }

    #[test]
    fn who_claims_all_numbers_costs_a_few_steps() {
        let all = Ranges::read(&[0, CHANNEL_SEQ_MAX]).expect("as many as there can be");
        let here = Ranges::of(0..10_000);
        assert_eq!(all.beyond(&here, 0).take(3).collect::<Vec<_>>(), [10_000, 10_001, 10_002]);
        assert_eq!(all.beyond(&here, CHANNEL_SEQ_MAX - 1).collect::<Vec<_>>(), [CHANNEL_SEQ_MAX - 1]);
    }

    #[test]
    fn of_too_many_ranges_the_last_are_told() {
        let holes = Ranges::of((0..100).map(|at| at * 2));
        let told = Ranges::read(&holes.write()).expect("as many as one message may have");
        assert_eq!((told.last(), told.0.len()), (Some(198), CHANNEL_RANGES_MAX));
    }

    proptest! {
        #[test]
        fn ranges_are_the_set_of_their_numbers(
            numbers in proptest::collection::vec(0u64..60, 0..60), others in proptest::collection::vec(0u64..60, 0..60), floor in 0u64..60,
        ) {
            let (set, other): (BTreeSet<u64>, BTreeSet<u64>) = (numbers.iter().copied().collect(), others.iter().copied().collect());
            let (mut ranges, against) = (Ranges::of(numbers), Ranges::of(others));
            prop_assert_eq!(ranges.numbers().collect::<BTreeSet<_>>(), set.clone());
            prop_assert_eq!(ranges.last(), set.last().copied());
            prop_assert_eq!((0..60).filter(|at| ranges.contains(*at)).collect::<BTreeSet<_>>(), set.clone());
            let expected: Vec<u64> = set.difference(&other).copied().filter(|at| *at >= floor).collect();
            prop_assert_eq!(ranges.beyond(&against, floor).collect::<Vec<_>>(), expected);
            if ranges.0.len() <= CHANNEL_RANGES_MAX {
                prop_assert_eq!(Ranges::read(&ranges.write()), Some(ranges.clone()));
            }
            ranges.remove_below(floor);
            prop_assert_eq!(ranges.numbers().collect::<Vec<_>>(), set.range(floor..).copied().collect::<Vec<_>>());
        }

        #[test]
        fn reading_anything_never_panics(pairs in proptest::collection::vec(any::<u64>(), 0..70)) {
            if let Some(ranges) = Ranges::read(&pairs) {
                prop_assert_eq!(ranges.write(), pairs);
                let _ = ranges.beyond(&Ranges::of(0..5), 3).take(10).count();
            }
        }
    }
}
