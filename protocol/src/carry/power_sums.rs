//! Small differences at their price: 6 bytes each. The odd power sums of the ids of a set, as elements of GF(2^48);
//! `t` of them from each end give a difference of up to `t` ids, whichever the salt is.
//!
//! ```text
//!   PowerSums(my set) ── Σx, Σx³, Σx⁵, … ──▶ XOR with the other end's own ──▶ roots() ──▶ the ids only one end has
//! ```
//! What both sets have cancels out. `roots` takes time quadratic in `t`, about a millisecond for 20, so that larger
//! differences go to [`riblt`](super::riblt). It has no check of its own: compare digests.
//!
//! Sources: Dodis, Ostrovsky, Reyzin, Smith, "Fuzzy Extractors", section 6.3 (PinSketch), SIAM J. Comput. 2008;
//! Massey, "Shift-register synthesis and BCH decoding", 1969; Berlekamp, "Factoring polynomials over large finite
//! fields", 1970 (traces).

use super::salted_set::SaltedId;

/// An element of GF(2^48) = GF(2)[z] / (z^48 + z^5 + z^3 + z^2 + 1), below 2^48.
type Element = u64;
/// Coefficients, the constant first.
type Polynomial = Vec<Element>;

const BITS: u32 = 48;
const MASK: u64 = (1 << BITS) - 1;

/// Gives the odd power sums of a set, one after the other.
#[derive(Clone, Debug)]
pub struct PowerSums {
    /// Of each id, its square and its next odd power.
    powers: Vec<(Element, Element)>,
}

impl PowerSums {
    /// Starts with the sum of the ids themselves.
    pub fn new(ids: &[SaltedId]) -> Self {
        Self { powers: ids.iter().map(|id| (multiply(id.number(), id.number()), id.number())).collect() }
    }

    /// The next sum, below 2^48. Costs one multiplication an id.
    pub fn next_sum(&mut self) -> u64 {
        let mut sum = 0;
        for (square, power) in &mut self.powers {
            sum ^= *power;
            *power = multiply(*square, *power);
        }
        sum
    }
}

/// The ids whose first odd power sums these are, if they are at most as many as the sums; ascending.
///
/// A set of more ids gives `None`, or with a chance below 1/t! some other ids.
pub fn roots(sums: &[u64]) -> Option<Vec<SaltedId>> {
    let mut locator = connection(&all_sums(sums)?);
    while locator.last() == Some(&0) {
        locator.pop();
    }
    if locator.len() > sums.len() + 1 {
        return None;
    }
    // The ids are the inverses of the locator's roots: the roots of the reversed polynomial, whose leading 1 was the
    // constant.
    locator.reverse();
    let mut ids = split(locator)?.into_iter().map(SaltedId::new).collect::<Option<Vec<_>>>()?;
    ids.sort_unstable();
    Some(ids)
}

/// S1, S2, S3, … from S1, S3, …: in characteristic 2, S2k is the square of Sk.
fn all_sums(odd: &[u64]) -> Option<Vec<Element>> {
    let mut all: Vec<Element> = Vec::with_capacity(2 * odd.len());
    for (at, sum) in odd.iter().enumerate() {
        if *sum > MASK {
            return None;
        }
        all.push(*sum);
        let half = *all.get(at)?;
        all.push(multiply(half, half));
    }
    Some(all)
}

/// The shortest linear recurrence (Berlekamp and Massey): the polynomial Π(1 + x·z) over the ids x.
fn connection(sums: &[Element]) -> Polynomial {
    let (mut current, mut previous): (Polynomial, Polynomial) = (vec![1], vec![1]);
    let (mut length, mut shift, mut previous_gap) = (0, 1, 1);
    for n in 0..sums.len() {
        let terms = current.iter().zip(sums[..=n].iter().rev()).take(length + 1);
        let gap = terms.fold(0, |gap, (c, s)| gap ^ multiply(*c, *s));
        if gap == 0 {
            shift += 1;
            continue;
        }
        let before = current.clone();
        let factor = Multiples::of(multiply(gap, invert(previous_gap)));
        current.resize(current.len().max(previous.len() + shift), 0);
        for (c, p) in current[shift..].iter_mut().zip(&previous) {
            *c ^= factor.times(*p);
        }
        if 2 * length <= n {
            length = n + 1 - length;
            (previous, previous_gap, shift) = (before, gap, 1);
        } else {
            shift += 1;
        }
    }
    current
}

/// The roots of a monic polynomial that has as many different ones as its degree; else `None`.
fn split(polynomial: Polynomial) -> Option<Vec<Element>> {
    if polynomial.len() == 1 {
        return Some(Vec::new());
    }
    // z, z², z⁴, … modulo the polynomial. It splits into different linear factors exactly if z^(2^48) is z again.
    let mut frobenius = vec![remainder(vec![0, 1], &polynomial)];
    for at in 0..BITS as usize {
        frobenius.push(square(&frobenius[at], &polynomial));
    }
    if frobenius.pop() != frobenius.first().cloned() {
        return None;
    }
    let mut roots = Vec::new();
    let mut factors = vec![polynomial];
    for bit in 0..BITS {
        // Two different roots differ in the trace of (2^bit)·z for some bit.
        let (linear, rest): (Vec<_>, Vec<_>) = factors.into_iter().partition(|factor| factor.len() == 2);
        roots.extend(linear.iter().filter_map(|factor| factor.first()));
        if rest.is_empty() {
            return Some(roots);
        }
        let trace = trace(1 << bit, &frobenius);
        factors = rest.into_iter().flat_map(|factor| cut(factor, &trace)).collect();
    }
    roots.extend(factors.iter().filter(|factor| factor.len() == 2).filter_map(|factor| factor.first()));
    factors.iter().all(|factor| factor.len() == 2).then_some(roots)
}

/// The sum of (b·z)^(2^i): 0 at half of the field, 1 at the other.
fn trace(mut b: Element, frobenius: &[Polynomial]) -> Polynomial {
    let mut sum = Vec::new();
    for power in frobenius {
        sum.resize(power.len().max(sum.len()), 0);
        let multiples = Multiples::of(b);
        for (s, c) in sum.iter_mut().zip(power) {
            *s ^= multiples.times(*c);
        }
        b = multiply(b, b);
    }
    sum
}

/// A factor in two, if the trace tells its roots apart.
fn cut(factor: Polynomial, trace: &Polynomial) -> Vec<Polynomial> {
    let common = common_divisor(factor.clone(), remainder(trace.clone(), &factor));
    if common.len() == 1 || common.len() == factor.len() {
        return vec![factor];
    }
    let (quotient, _) = divide(factor, &common);
    vec![common, quotient]
}

/// Monic.
fn common_divisor(mut a: Polynomial, mut b: Polynomial) -> Polynomial {
    while let Some(lead) = b.last() {
        let inverse = Multiples::of(invert(*lead));
        for c in &mut b {
            *c = inverse.times(*c);
        }
        (a, b) = (b.clone(), remainder(a, &b));
    }
    a
}

fn square(a: &Polynomial, modulus: &Polynomial) -> Polynomial {
    let spread = a.iter().flat_map(|c| [multiply(*c, *c), 0]).collect();
    remainder(spread, modulus)
}

fn remainder(a: Polynomial, monic: &Polynomial) -> Polynomial {
    divide(a, monic).1
}

/// Quotient and remainder by a monic polynomial.
fn divide(mut a: Polynomial, monic: &Polynomial) -> (Polynomial, Polynomial) {
    let degree = monic.len() - 1;
    let mut quotient = vec![0; a.len().saturating_sub(degree)];
    for at in (0..quotient.len()).rev() {
        let lead = a[at + degree];
        quotient[at] = lead;
        if lead != 0 {
            let lead = Multiples::of(lead);
            for (c, m) in a[at..].iter_mut().zip(monic) {
                *c ^= lead.times(*m);
            }
        }
    }
    a.truncate(degree);
    while a.last() == Some(&0) {
        a.pop();
    }
    (quotient, a)
}

fn multiply(a: Element, b: Element) -> Element {
    Multiples::of(a).times(b)
}

/// An element times every polynomial of degree below 4: what a factor that comes often is made into once.
struct Multiples([u64; 16]);

impl Multiples {
    fn of(a: Element) -> Self {
        let mut multiples = [0; 16];
        for n in 1..16_usize {
            multiples[n] = if n % 2 == 1 { multiples[n - 1] ^ a } else { multiples[n / 2] << 1 };
        }
        Self(multiples)
    }

    /// Four bits at a time. A multiple is below 2^51, so that four of them side by side, and what is left of the sixteen
    /// bits before, fit into 64 bits.
    fn times(&self, b: Element) -> Element {
        let multiple = |nibble: u32| self.0[(b >> (4 * nibble) & 15) as usize];
        let four =
            |from: u32| multiple(from) ^ multiple(from + 1) << 4 ^ multiple(from + 2) << 8 ^ multiple(from + 3) << 12;
        let high = reduce(four(8));
        let middle = reduce(high << 16 ^ four(4));
        reduce(middle << 16 ^ four(0))
    }
}

/// z^48 = z^5 + z^3 + z^2 + 1.
fn reduce(value: u64) -> Element {
    let high = value >> BITS;
    value & MASK ^ high ^ high << 2 ^ high << 3 ^ high << 5
}

/// a^(2^48 - 2); 0 for 0.
fn invert(a: Element) -> Element {
    let (mut inverse, mut power) = (1, a);
    for _ in 1..BITS {
        power = multiply(power, power);
        inverse = multiply(inverse, power);
    }
    inverse
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::salted_set::mix;
    use super::*;

    fn ids(count: u64, seed: u64) -> Vec<SaltedId> {
        let mut ids: Vec<_> = (0..count).filter_map(|n| SaltedId::new(mix(n ^ seed << 20) >> 16)).collect();
        ids.sort_unstable();
        ids
    }

    fn sums(ids: &[SaltedId], count: usize) -> Vec<u64> {
        let mut sums = PowerSums::new(ids);
        (0..count).map(|_| sums.next_sum()).collect()
    }

    /// Multiplication by shifting, one bit at a time.
    fn multiply_slowly(a: u64, b: u64) -> u64 {
        let mut product: u128 = 0;
        for bit in 0..48 {
            product ^= u128::from(b >> bit & 1) * (u128::from(a) << bit);
        }
        for bit in (48..96).rev() {
            if product >> bit & 1 == 1 {
                product ^= (1 << 48 | 0b10_1101_u128) << (bit - 48);
            }
        }
        product as u64
    }

    #[test]
    fn the_modulus_is_irreducible() {
        // Rabin's test: z^(2^48) = z, and z^(2^24) - z, z^(2^16) - z are units; here 48 = 2^4·3.
        let mut power = 2;
        for square in 1..=48 {
            power = multiply(power, power);
            match square {
                16 | 24 => assert_eq!(multiply(power ^ 2, invert(power ^ 2)), 1),
                48 => assert_eq!(power, 2),
                _ => {}
            }
        }
    }

    #[test]
    fn as_many_sums_as_differences_are_enough() {
        for count in [0, 1, 2, 3, 5, 8, 20, 33, 48] {
            let ids = ids(count, count + 1);
            assert_eq!(roots(&sums(&ids, count as usize)), Some(ids));
        }
    }

    #[test]
    fn too_few_sums_give_nothing() {
        for seed in 1..20 {
            assert_eq!(roots(&sums(&ids(21, seed), 20)), None);
            assert_eq!(roots(&sums(&ids(40, seed), 12)), None);
        }
    }

    proptest! {
        #[test]
        fn multiplication_is_that_of_the_field(a in 0..=MASK, b in 0..=MASK, c in 0..=MASK) {
            prop_assert_eq!(multiply(a, b), multiply_slowly(a, b));
            prop_assert_eq!(multiply(a, b ^ c), multiply(a, b) ^ multiply(a, c));
            prop_assert_eq!(multiply(a, invert(a)), u64::from(a != 0));
        }

        #[test]
        fn any_sums_give_distinct_ids_that_have_these_sums_or_nothing(
            given in proptest::collection::vec(0..=MASK + 3, 0..8),
        ) {
            if let Some(found) = roots(&given) {
                prop_assert!(found.windows(2).all(|pair| pair[0] < pair[1]));
                prop_assert_eq!(sums(&found, given.len()), given);
            }
        }
    }
}
