//! Vaccines: proofs that an envelope has arrived. They are published after a pause and passed on, and every copy they meet goes.

use super::super::Engine;
use super::super::timers::Timer;
use super::super::turn::Turn;
use super::{Item, SAME_ENCOUNTER_MS};
use crate::carry::store::Vaccine;
use crate::ids::{LinkId, Preimage, Tag};
use crate::limits::{ENCOUNTER_IDS_PER_FRAME_MAX, VACCINES_MAX};
use crate::session::tag_of;
use crate::step::Path;
use crate::store::{StoreError, Table};
use crate::time::{HOUR_MS, MINUTE_MS, UnixTime};
use crate::wire::encounter::WireVaccine;
use crate::wire::envelope::EnvelopeHead;
use crate::wire::frame::Frame;

/// A receipt is published when the encounter is over and a pause with this mean has passed, so that whoever handed the
/// mail over cannot tell for whom it was.
const PUBLISH_MEAN_MS: u64 = 10 * MINUTE_MS;
/// Longer than any pause that is drawn.
const PUBLISH_PAUSE_MS_MAX: u64 = SAME_ENCOUNTER_MS + 4 * PUBLISH_MEAN_MS;

impl Engine {
    /// Vaccines as they are handed over, the youngest last.
    pub(in super::super) fn wire_vaccines(&self, limit: usize) -> Vec<WireVaccine> {
        self.carried.vaccines().take(limit).map(|(_, v)| wire(v)).collect()
    }

    pub(super) fn send_vaccines(&mut self, link: LinkId, tags: &[Tag], turn: &mut Turn) {
        let list: Vec<WireVaccine> = tags.iter().filter_map(|tag| self.carried.vaccine(tag)).map(wire).collect();
        for part in list.chunks(ENCOUNTER_IDS_PER_FRAME_MAX) {
            turn.frame(link, &Frame::Vaccines(part.to_vec()));
        }
    }

    /// Publishes a receipt after a pause that is drawn anew each time.
    pub(in super::super) fn publish_later(&mut self, preimage: Preimage, expires_at: UnixTime, turn: &mut Turn) {
        if self.carried.vaccine(&tag_of(&preimage)).is_some() || self.unpublished.keys().any(|(_, p)| *p == preimage) {
            return;
        }
        let pause_ms = SAME_ENCOUNTER_MS + exponential_ms(PUBLISH_MEAN_MS, &mut self.chance);
        let at = turn.now.unix.after_ms(pause_ms);
        self.unpublished.insert((at, preimage), expires_at);
        let mut value = at.0.to_be_bytes().to_vec();
        value.extend_from_slice(&expires_at.0.to_be_bytes());
        turn.put(Table::Publish, preimage.as_bytes(), value);
        self.arm_publishing(turn);
    }

    pub(super) fn arm_publishing(&mut self, turn: &Turn) {
        if let Some(((at, _), _)) = self.unpublished.first_key_value() {
            let pause = at.0.saturating_sub(turn.now.unix.0).min(PUBLISH_PAUSE_MS_MAX);
            self.timers.set(Timer::Publish, turn.now.moment.after_ms(pause));
        }
    }

    /// Receipts whose pause is over.
    pub(in super::super) fn publish_due(&mut self, turn: &mut Turn) {
        let now = turn.now.unix;
        // What is to wait longer than anything does was noted by a clock that has been set back since.
        let over = |at: UnixTime| at <= now || at > now.after_ms(PUBLISH_PAUSE_MS_MAX);
        let due: Vec<_> = self.unpublished.extract_if(.., |(at, _), _| over(*at)).collect();
        for ((_, preimage), expires_at) in due {
            self.published.push((turn.now.moment, preimage));
            self.publish(preimage, expires_at, None, turn);
        }
        self.arm_publishing(turn);
    }

    /// Ends the journey of an envelope, here and wherever the proof gets.
    pub(super) fn publish(&mut self, preimage: Preimage, expires_at: UnixTime, from: Option<LinkId>, turn: &mut Turn) {
        let Some((tag, writes)) = self.carried.publish(preimage, expires_at, turn.now.unix) else { return };
        self.couriers_write(writes, turn);
        let [a, b, c, d, ..] = tag.0;
        let links: Vec<LinkId> = self.links.keys().copied().filter(|link| Some(*link) != from).collect();
        for link in links {
            let Some(meeting) = self.links.get_mut(&link).and_then(|l| l.meeting.as_deref_mut()) else { continue };
            // Whoever gave or took the envelope on this very link would know that it ends or began here.
            let passed = meeting.items.range([a, b, c, d, 0, 0]..=[a, b, c, d, !0, !0]).next().is_some();
            if meeting.compared && (from.is_some() || !passed) {
                meeting.remember(meeting.namer.vaccine(&tag), Item::Vaccine(tag));
                self.send_vaccines(link, &[tag], turn);
            }
        }
    }

    pub(in super::super) fn vaccines_arrived(
        &mut self,
        link: LinkId,
        vaccines: &[WireVaccine],
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let Some(state) = self.links.get(&link) else { return Ok(()) };
        let met = state.meeting.as_deref().is_some_and(|m| m.met);
        if !met {
            return Ok(());
        }
        for vaccine in vaccines {
            let Some(meeting) = self.links.get_mut(&link).and_then(|l| l.meeting.as_deref_mut()) else { break };
            meeting.roll_window(turn.now.moment);
            meeting.window_vaccines = meeting.window_vaccines.saturating_add(1);
            // One peer may not make everybody check and pass on proofs without end; an honest one never has more.
            if meeting.window_vaccines > VACCINES_MAX {
                break;
            }
            let tag = tag_of(&vaccine.preimage);
            meeting.remember(meeting.namer.vaccine(&tag), Item::Vaccine(tag));
            self.vaccine_arrived(vaccine, Some(link), turn)?;
        }
        Ok(())
    }

    /// Proof that an envelope has arrived, ours or anybody's.
    pub(in super::super) fn vaccine_arrived(
        &mut self,
        vaccine: &WireVaccine,
        from: Option<LinkId>,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let end = turn.now.unix.nearest_hour_2024(vaccine.expiry_hour);
        self.receipt(&vaccine.preimage, Some(Path::Courier), None, turn)?;
        self.publish(vaccine.preimage, end, from, turn);
        Ok(())
    }
}

fn wire(vaccine: &Vaccine) -> WireVaccine {
    let expiry_hour = vaccine.expires_at.after_ms(HOUR_MS).hour_2024();
    WireVaccine { preimage: vaccine.preimage, expiry_hour }
}

/// Until when a proof must be known: as long as copies can be offered anywhere.
pub(super) fn vaccine_end(head: &EnvelopeHead, now: UnixTime) -> UnixTime {
    head.keep_until(now).after_ms(4 * HOUR_MS)
}

/// A draw from the exponential distribution, from a table of 16 quantiles: the same on every machine.
fn exponential_ms(mean_ms: u64, chance: &mut crate::chance::Chance) -> u64 {
    /// -ln(1 - (i + 1/2) / 16) in thousandths.
    const QUANTILES: [u64; 16] =
        [32, 98, 170, 247, 330, 421, 521, 633, 758, 901, 1_068, 1_269, 1_520, 1_856, 2_367, 3_466];
    let quantile = QUANTILES.get(chance.below(16) as usize).copied().unwrap_or(1_000);
    let base = mean_ms.saturating_mul(quantile) / 1_000;
    base + chance.below(mean_ms / 16 + 1)
}

pub(super) fn read_times(bytes: &[u8]) -> Option<(UnixTime, UnixTime)> {
    let (at, end) = bytes.split_first_chunk()?;
    Some((UnixTime(u64::from_be_bytes(*at)), UnixTime(u64::from_be_bytes(end.try_into().ok()?))))
}
