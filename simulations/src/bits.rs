//! A set of small numbers, a bit each.

/// A set of numbers below a bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    /// The empty set of numbers below `bound`.
    pub(crate) fn new(bound: usize) -> Self {
        Self(vec![0; bound.div_ceil(64)])
    }

    pub(crate) fn contains(&self, number: usize) -> bool {
        self.0[number / 64] & (1 << (number % 64)) != 0
    }

    /// Says whether it is new.
    pub(crate) fn insert(&mut self, number: usize) -> bool {
        let word = &mut self.0[number / 64];
        let before = *word;
        *word |= 1 << (number % 64);
        before != *word
    }

    /// Says whether it was there.
    pub(crate) fn remove(&mut self, number: usize) -> bool {
        let word = &mut self.0[number / 64];
        let before = *word;
        *word &= !(1 << (number % 64));
        before != *word
    }

    pub(crate) fn insert_all(&mut self, other: &Self) {
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }

    /// Numbers of this set and of `also`, and not of `except`, in order.
    pub(crate) fn ones_of_both_and_not(&self, also: &Self, except: &Self) -> Vec<usize> {
        let words = self.0.iter().zip(&also.0).zip(&except.0).map(|((word, also), except)| word & also & !except);
        ones(words)
    }

    /// Numbers of this set and not of `except`, in order.
    pub(crate) fn ones_not(&self, except: &Self) -> Vec<usize> {
        ones(self.0.iter().zip(&except.0).map(|(word, except)| word & !except))
    }
}

fn ones(words: impl Iterator<Item = u64>) -> Vec<usize> {
    let mut out = Vec::new();
    for (at, mut word) in words.enumerate() {
        while word != 0 {
            out.push(at * 64 + word.trailing_zeros() as usize);
            word &= word - 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_in_order_and_only_where_they_belong() {
        let mut a = Bits::new(130);
        assert!(a.insert(3) && a.insert(129) && a.insert(64) && !a.insert(3));
        let mut b = Bits::new(130);
        b.insert(64);
        assert_eq!(a.ones_not(&b), [3, 129]);
        assert_eq!(a.ones_of_both_and_not(&b, &Bits::new(130)), [64]);
        b.insert_all(&a);
        assert_eq!(a, b);
        assert!(a.remove(129) && !a.remove(129) && !a.contains(129) && a.contains(3));
    }
}
