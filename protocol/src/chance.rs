//! Chance: one ChaCha generator per engine, seeded by the driver. Same seed and inputs, same bytes.

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

/// The engine's only source of randomness. `Debug` prints no state.
pub struct Chance(ChaCha20Rng);

impl Chance {
    /// Seeds the generator; the driver takes the seed from the operating system, the simulator from its own seed.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ChaCha20Rng::from_seed(seed))
    }

    /// `N` fresh bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        self.0.fill_bytes(&mut out);
        out
    }

    /// A number below `bound`; 0 when `bound` is 0. Bias is below 2^-32 for the bounds used here.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.0.next_u64() % bound }
    }

    /// The generator itself, for crates that want one.
    pub fn rng(&mut self) -> &mut ChaCha20Rng {
        &mut self.0
    }
}

impl std::fmt::Debug for Chance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chance(..)")
    }
}
