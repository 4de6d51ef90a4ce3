//! Random trouble: crashes between any two phases, cuts, absences, clock jumps and broken disks, all from the seed.

use crate::driver::Phase;
use crate::hostile::Hostility;
use crate::node::NodeId;
use crate::world::{Happening, World};

pub(crate) const HOUR_MS_SIGNED: i64 = 3_600_000;
/// Largest jump of a wall clock, in either direction.
const CLOCK_JUMP_MS_MAX: u64 = 36 * 3_600_000;

/// How much trouble, and of which kinds. The numbers are shares; a kind with 0 never happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chaos {
    /// Mean time between two troubles.
    pub every_ms: u64,
    /// Longest time a crashed or absent node is away.
    pub away_ms_max: u64,
    /// Dying within a step.
    pub crash: u64,
    /// Cutting a link.
    pub cut: u64,
    /// Leaving the network.
    pub offline: u64,
    /// Moving a wall clock by up to 36 hours.
    pub clock: u64,
    /// Failing reads or commits.
    pub disk: u64,
}

impl Chaos {
    /// Crashes and cuts, nothing else.
    pub const CRASHES_AND_CUTS: Self =
        Self { every_ms: 4_000, away_ms_max: 20_000, crash: 6, cut: 3, offline: 0, clock: 0, disk: 0 };
    /// Everything.
    pub const ALL: Self =
        Self { every_ms: 6_000, away_ms_max: 60_000, crash: 5, cut: 3, offline: 2, clock: 1, disk: 2 };
}

impl World {
    /// Starts random trouble, or changes its kind.
    pub fn set_chaos(&mut self, chaos: Chaos) {
        if self.chaos.replace(chaos).is_none() {
            self.after(chaos.every_ms, Happening::Chaos);
        }
    }

    /// Ends all trouble: everything runs, is honest and reaches everything its place allows. Wall clocks stay wrong.
    pub fn heal(&mut self) {
        self.chaos = None;
        self.network.unblock_all();
        for at in 0..self.nodes.len() {
            let id = NodeId(at);
            let node = self.node_mut(id);
            node.hostility = Hostility::default();
            node.planned_crash = None;
            node.disk.repair();
            self.start(id);
            if !self.node(id).online {
                self.go_online(id);
            }
        }
    }

    pub(crate) fn strike(&mut self) {
        let Some(chaos) = self.chaos else { return };
        let wait = 1 + self.chance.below(chaos.every_ms.saturating_mul(2));
        self.after(wait, Happening::Chaos);
        let id = NodeId(self.chance.below(self.nodes.len() as u64) as usize);
        let away_ms = self.chance.below(chaos.away_ms_max + 1);
        let mut pick = self.chance.below(chaos.crash + chaos.cut + chaos.offline + chaos.clock + chaos.disk);
        let mut falls_on = |share: u64| {
            let hit = pick < share;
            pick = pick.wrapping_sub(share);
            hit
        };
        if falls_on(chaos.crash) {
            let phase = Phase::ALL[self.chance.below(Phase::ALL.len() as u64) as usize];
            let ahead = 1 + self.chance.below(6);
            self.crash_at(id, ahead, phase, away_ms);
        } else if falls_on(chaos.cut) {
            let pick = self.chance.below(1 << 32);
            if let Some(link) = self.network.any_link(pick) {
                self.cut_link(link);
            }
        } else if falls_on(chaos.offline) {
            self.go_offline(id);
            self.after(away_ms, Happening::Online { node: id });
        } else if falls_on(chaos.clock) {
            let by_ms = self.chance.below(2 * CLOCK_JUMP_MS_MAX) as i64 - CLOCK_JUMP_MS_MAX as i64;
            let skew_ms = self.node(id).wall_skew_ms;
            self.jump_clock(id, by_ms - skew_ms);
        } else if self.chance.below(2) == 0 {
            let reads = self.chance.below(20) as u32;
            self.node_mut(id).disk.fail_after_reads(reads);
        } else {
            self.node_mut(id).disk.set_full(true);
            self.after(away_ms, Happening::DiskRepaired { node: id });
        }
    }
}
