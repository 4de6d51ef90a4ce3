//! What a hostile node does to the frames it sends: drops, repeats, reorders and corrupts them.

use silbo_protocol::chance::Chance;

/// Shares in per mille of the frames a node sends; all zero for an honest node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hostility {
    /// Frames that are never sent.
    pub drop: u16,
    /// Frames that are sent twice.
    pub duplicate: u16,
    /// Frames that arrive up to five seconds late and out of order.
    pub reorder: u16,
    /// Frames in which one bit is flipped.
    pub corrupt: u16,
}

/// Longest delay of a reordered or repeated frame.
const LATE_MS_MAX: u64 = 5_000;

/// A frame as it really leaves.
#[derive(Debug, PartialEq, Eq)]
pub struct Sent {
    /// The bytes, maybe corrupted.
    pub bytes: Vec<u8>,
    /// Delay beyond the latency; a late frame does not hold up the ones behind it.
    pub late_ms: Option<u64>,
}

impl Hostility {
    /// 30 % of each, as attack T-31 asks.
    pub const THIRTY_PERCENT: Self = Self { drop: 300, duplicate: 300, reorder: 300, corrupt: 300 };
    /// Hears everything and is never heard.
    pub const MUTE: Self = Self { drop: 1_000, duplicate: 0, reorder: 0, corrupt: 0 };
    /// Repeats and reorders everything it can, but loses and changes nothing.
    pub const CONFUSED: Self = Self { drop: 0, duplicate: 500, reorder: 500, corrupt: 0 };

    /// True for an honest node.
    pub fn is_honest(&self) -> bool {
        *self == Self::default()
    }

    /// What becomes of one frame.
    pub fn treat(&self, bytes: Vec<u8>, chance: &mut Chance) -> Vec<Sent> {
        if self.is_honest() {
            return vec![Sent { bytes, late_ms: None }];
        }
        if hits(self.drop, chance) {
            return Vec::new();
        }
        let mut out = Vec::with_capacity(2);
        if hits(self.duplicate, chance) {
            out.push(Sent { bytes: bytes.clone(), late_ms: Some(chance.below(LATE_MS_MAX)) });
        }
        let late_ms = hits(self.reorder, chance).then(|| chance.below(LATE_MS_MAX));
        let bytes = if hits(self.corrupt, chance) { with_flipped_bit(bytes, chance) } else { bytes };
        out.push(Sent { bytes, late_ms });
        out
    }
}

/// The same bytes with one bit flipped; unchanged when empty.
pub fn with_flipped_bit(mut bytes: Vec<u8>, chance: &mut Chance) -> Vec<u8> {
    let at = chance.below(bytes.len() as u64) as usize;
    let bit = chance.below(8);
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << bit;
    }
    bytes
}

fn hits(per_mille: u16, chance: &mut Chance) -> bool {
    per_mille > 0 && chance.below(1_000) < u64::from(per_mille)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_honest_node_sends_what_it_was_given_and_a_dropping_one_nothing() {
        let mut chance = Chance::from_seed([1; 32]);
        let sent = Hostility::default().treat(vec![1, 2], &mut chance);
        assert_eq!(sent, [Sent { bytes: vec![1, 2], late_ms: None }]);
        assert!(Hostility::MUTE.treat(vec![1, 2], &mut chance).is_empty());
        let flipped = with_flipped_bit(vec![0, 0], &mut chance);
        assert_eq!(flipped.iter().map(|byte| byte.count_ones()).sum::<u32>(), 1);
    }
}
