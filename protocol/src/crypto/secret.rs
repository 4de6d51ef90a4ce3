//! Bytes nobody may see: zeroed when dropped, compared in constant time, printed as `Secret(..)`.

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::chance::Chance;

/// `N` secret bytes.
#[derive(Clone)]
pub struct Secret<const N: usize>([u8; N]);

impl<const N: usize> Secret<N> {
    /// Takes over `bytes`; the caller wipes its own copy if it keeps one.
    pub fn new(bytes: [u8; N]) -> Self {
        Self(bytes)
    }

    /// Fresh random bytes.
    pub fn random(chance: &mut Chance) -> Self {
        Self(chance.bytes())
    }

    /// Reads exactly `N` bytes; `None` for any other length.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes, for the primitive that needs them.
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }

    /// Splits off the first `A` bytes; `B` are the rest.
    ///
    /// # Panics
    /// If `A + B` is not `N`, which is a mistake in the calling line, not in any input.
    pub fn split<const A: usize, const B: usize>(&self) -> (Secret<A>, Secret<B>) {
        assert_eq!(A + B, N, "both halves cover the whole secret");
        let (mut a, mut b) = ([0; A], [0; B]);
        let (left, right) = self.0.split_at(A);
        a.copy_from_slice(left);
        b.copy_from_slice(right);
        (Secret(a), Secret(b))
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<const N: usize> PartialEq for Secret<N> {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl<const N: usize> Eq for Secret<N> {}

impl<const N: usize> std::fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_nothing_of_itself() {
        assert_eq!(format!("{:?}", Secret::new([0xAB; 4])), "Secret(..)");
    }

    #[test]
    fn secrets_compare_by_value() {
        assert_eq!(Secret::new([1, 2]), Secret::new([1, 2]));
        assert_ne!(Secret::new([1, 2]), Secret::new([1, 3]));
    }

    #[test]
    fn a_wrong_length_is_refused() {
        assert!(Secret::<4>::read(&[0; 3]).is_none());
        assert!(Secret::<4>::read(&[0; 5]).is_none());
    }

    #[test]
    fn split_keeps_the_order() {
        let (a, b) = Secret::new([1, 2, 3]).split::<1, 2>();
        assert_eq!((a, b), (Secret::new([1]), Secret::new([2, 3])));
    }
}
