//! What was measured, as a document and as text.

use std::time::Duration;

use serde_json::{Value, json};

/// The middle one; 0 of none.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// How fast messages are acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Speed {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

impl Speed {
    pub(super) fn of(per_second: f64, mut times: Vec<Duration>) -> Speed {
        times.sort_unstable();
        let at = |share: usize| times.get((times.len() * share / 100).min(times.len().saturating_sub(1)));
        let ms = |share| at(share).map_or(0.0, |time| time.as_secs_f64() * 1e3);
        Speed { per_second, p50_ms: ms(50), p99_ms: ms(99) }
    }

    fn document(self) -> Value {
        let round = |value: f64| (value * 1e3).round() / 1e3;
        json!({"perSecond": self.per_second.round(), "p50Ms": round(self.p50_ms), "p99Ms": round(self.p99_ms)})
    }
}

/// Everything `bench pair` has found.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub(super) rtt_ms: f64,
    /// Raw with a sync for every message, raw with a sync for every batch, Silbo.
    pub(super) loopback: [Speed; 3],
    pub(super) slow: [Speed; 3],
    pub(super) raw_connect_bytes: u64,
    /// Of two nodes: with everything a node says to a relay of its own.
    pub(super) connect_bytes: Option<u64>,
    pub(super) first_contact_bytes: u64,
    pub(super) raw_wire_bytes: f64,
    pub(super) wire_bytes: f64,
    pub(super) idle_bytes_per_minute: Option<f64>,
    pub(super) idle_rss_mib: f64,
    pub(super) loaded_rss_mib: f64,
    pub(super) ready_ms: f64,
    pub(super) notes: Vec<String>,
}

const NAMES: [&str; 3] = ["raw", "rawGrouped", "silbo"];

impl Figures {
    /// For programs.
    #[must_use]
    pub fn document(&self) -> Value {
        let speeds = |speeds: [Speed; 3]| {
            let named = NAMES.iter().zip(speeds).map(|(name, speed)| ((*name).to_owned(), speed.document()));
            Value::Object(named.collect())
        };
        json!({
            "loopback": speeds(self.loopback),
            "slowLink": speeds(self.slow),
            "rttMs": self.rtt_ms,
            "wireBytesPer100ByteMessage": {"raw": self.raw_wire_bytes, "silbo": self.wire_bytes},
            "firstContactBytes": {"rawConnect": self.raw_connect_bytes, "relayConnect": self.connect_bytes, "silbo": self.first_contact_bytes},
            "idleBytesPerMinute": self.idle_bytes_per_minute,
            "rssMib": {"idle": self.idle_rss_mib, "loaded": self.loaded_rss_mib},
            "readyMs": self.ready_ms,
            "notes": self.notes,
        })
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines = Vec::new();
        lines.push("1 KB messages, committed and synced on both sides, 64 under way; medians".to_owned());
        lines.push(format!("{:<42} {:>10} {:>10} {:>10}", "", "msg/s", "p50 ms", "p99 ms"));
        self.table("loopback", self.loopback, &mut lines);
        self.table(&format!("{} ms RTT", self.rtt_ms), self.slow, &mut lines);
        let [raw, _, silbo] = self.loopback;
        lines.push(format!(
            "{:<42} {:>10.2}   (aim: at least 0.5)",
            "loopback msg/s, Silbo / raw",
            ratio(silbo.per_second, raw.per_second)
        ));
        let [raw, _, silbo] = self.slow;
        lines.push(format!(
            "{:<42} {:>10.2}   (aim: at most 1.25)",
            "slow link p50, Silbo / raw",
            ratio(silbo.p50_ms, raw.p50_ms)
        ));
        let number = |value: Option<f64>| value.map_or_else(|| "not counted".to_owned(), |value| format!("{value:.0}"));
        let count = |value: Option<u64>| number(value.map(|value| value as f64));
        lines.push(format!(
            "{:<42} {:>10}   (raw {}; aim: at most 712)",
            "wire bytes, 100-byte message",
            number(Some(self.wire_bytes)),
            number(Some(self.raw_wire_bytes))
        ));
        lines.push(format!(
            "{:<42} {:>10}   (connecting to a relay {}, raw {}; aim: at most 4096 above connecting)",
            "first contact, bytes in all",
            self.first_contact_bytes,
            count(self.connect_bytes),
            self.raw_connect_bytes
        ));
        lines.push(format!(
            "{:<42} {:>10}   (aim: at most 4096)",
            "idle bytes/min, one relay",
            number(self.idle_bytes_per_minute)
        ));
        lines.push(format!(
            "{:<42} {:>10.1}   (after load {:.1}; aim: at most 40)",
            "idle RSS, MiB", self.idle_rss_mib, self.loaded_rss_mib
        ));
        lines.push(format!("{:<42} {:>10.0}   (aim: at most 500)", "start to ready, ms", self.ready_ms));
        lines.extend(self.notes.iter().map(|note| format!("note: {note}")));
        lines.join("\n")
    }

    fn table(&self, link: &str, speeds: [Speed; 3], lines: &mut Vec<String>) {
        let names = ["raw QUIC, a sync per message", "raw QUIC, a sync per batch", "Silbo"];
        for (name, speed) in names.iter().zip(speeds) {
            let label = format!("{link}: {name}");
            lines.push(format!("{label:<42} {:>10.0} {:>10.2} {:>10.2}", speed.per_second, speed.p50_ms, speed.p99_ms));
        }
    }
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_times() {
        let times = (1..=100).rev().map(Duration::from_millis).collect();
        let speed = Speed::of(10.0, times);
        assert_eq!((speed.p50_ms, speed.p99_ms), (51.0, 100.0));
        assert_eq!(Speed::of(0.0, Vec::new()), Speed::default());
    }

    #[test]
    fn the_median_does_not_mind_one_bad_round() {
        assert_eq!(median(vec![900.0, 1.0, 1_000.0]), 900.0);
    }
}
