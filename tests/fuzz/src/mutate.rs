//! Changes inputs, from a seed alone: the same seed gives the same inputs on every machine.

/// Longest input: frames may be longer, but every loop over them is entered long before.
const BYTES_MAX: usize = 16 * 1024;
/// Bytes and lengths where decoders tend to have their edges.
const EDGES: [u8; 12] = [0x00, 0x01, 0x02, 0x0f, 0x10, 0x12, 0x20, 0x7f, 0x80, 0x81, 0xfe, 0xff];

/// xorshift64*: small, fast and good enough to choose what to break.
pub struct Mutator(u64);

impl Mutator {
    /// Starts from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// A changed copy of one of the inputs; now and then bytes made of nothing.
    pub fn mutate(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut out = match self.below(16) {
            0 => (0..self.below(64)).map(|_| self.next() as u8).collect(),
            _ => corpus.get(self.below(corpus.len())).cloned().unwrap_or_default(),
        };
        for _ in 0..1 + self.below(6) {
            self.step(&mut out, corpus);
        }
        out.truncate(BYTES_MAX);
        out
    }

    fn step(&mut self, out: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.below(out.len() + 1);
        let len = self.below(out.len() - at + 1).min(1 << self.below(10));
        match self.below(11) {
            0 if at < out.len() => out[at] ^= 1 << self.below(8),
            1 if at < out.len() => out[at] = self.next() as u8,
            2 if at < out.len() => out[at] = EDGES[self.below(EDGES.len())],
            3 if at < out.len() => out[at] = out[at].wrapping_add(self.next() as u8 & 7).wrapping_sub(3),
            4 => out.insert(at, EDGES[self.below(EDGES.len())]),
            5 => drop(out.drain(at..at + len)),
            6 => {
                let copy = out[at..at + len].to_vec();
                let to = self.below(out.len() + 1);
                out.splice(to..to, copy);
            }
            7 => {
                let other = corpus.get(self.below(corpus.len())).cloned().unwrap_or_default();
                let from = self.below(other.len() + 1);
                let until = from + self.below(other.len() - from + 1);
                out.splice(at..at + len, other[from..until].iter().copied());
            }
            8 => out.truncate(at),
            9 => {
                // A varint, up to the longest and beyond.
                let bytes = self.below(11);
                out.splice(at..at, std::iter::repeat_n(0xff, bytes).chain([self.next() as u8 & 0x7f]));
            }
            _ => {
                let byte = EDGES[self.below(EDGES.len())];
                out.splice(at..at, std::iter::repeat_n(byte, len));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence_and_another_seed_another() {
        let corpus = [b"hello".to_vec(), vec![0; 100]];
        let run = |seed| {
            let mut mutator = Mutator::new(seed);
            (0..1_000).map(|_| mutator.mutate(&corpus)).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        assert!(run(3).iter().all(|input| input.len() <= BYTES_MAX));
    }

    #[test]
    fn an_empty_corpus_is_enough() {
        let mut mutator = Mutator::new(7);
        assert!((0..1_000).map(|_| mutator.mutate(&[])).any(|input| input.len() > 40));
    }
}
