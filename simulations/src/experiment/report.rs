//! What a comparison found, as JSON and as a table.

use std::time::Duration;

use serde::Serialize;

use super::Experiment;
use crate::process;
use crate::routers::{Outcome, Router};

/// The result of a comparison. The figures at the top are those of `router`.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Messages of the list.
    pub messages: usize,
    /// Delivered by `router` within their lifetime.
    pub delivered: usize,
    /// Delivered by the oracle.
    pub oracle_delivered: usize,
    /// Their quotient.
    pub oracle_ratio: Option<f64>,
    /// Hand-overs of a message for each delivered one.
    pub transmissions_per_delivered: Option<f64>,
    /// Hand-overs of a message for each written one.
    pub transmissions_per_message: Option<f64>,
    /// Bytes over links for each delivered message.
    pub bytes_per_delivered: Option<f64>,
    /// Median of the delays of what `router` delivered.
    pub median_delay_s: Option<f64>,
    /// Median of the delays of what the oracle delivered.
    pub oracle_median_delay_s: Option<f64>,
    /// Real seconds for everything.
    pub wall_s: f64,
    /// Real microseconds that `router` took for a person and an hour of the trace.
    pub wall_us_per_node_hour: Option<f64>,
    /// Real seconds of that before the trace begins: accounts and contacts are made.
    pub prepare_s: f64,
    /// Most memory this process has used so far, where the system says so.
    pub memory_mib: Option<u64>,
    /// Hash over everything that happened in the run of `router`.
    pub trace_hash: String,
    /// Name of the router.
    pub router: &'static str,
    /// People.
    pub nodes: usize,
    /// Contacts after merging.
    pub contacts: usize,
    /// Lifetime of a message.
    pub ttl_s: f64,
    /// Envelopes of others that a device carries.
    pub buffer: usize,
    /// The seed.
    pub seed: u64,
    /// Every router of this run.
    pub routers: Vec<Figures>,
}

/// How one router did.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Its name.
    pub router: &'static str,
    /// Delivered messages.
    pub delivered: usize,
    /// Delivered by it over delivered by the oracle.
    pub oracle_ratio: Option<f64>,
    /// Hand-overs of a message for each written one.
    pub transmissions_per_message: Option<f64>,
    /// Hand-overs of a message for each delivered one.
    pub transmissions_per_delivered: Option<f64>,
    /// Bytes over links for each delivered message.
    pub bytes_per_delivered: Option<f64>,
    /// Median of its delays.
    pub median_delay_s: Option<f64>,
    /// Real seconds.
    pub wall_s: f64,
}

/// One router's run.
pub(super) struct Row {
    pub(super) router: Router,
    pub(super) outcome: Outcome,
    pub(super) wall: Duration,
    pub(super) prepared: Duration,
}

impl Report {
    pub(super) fn new(experiment: &Experiment, best: &[Option<u64>], rows: &[Row], wall: Duration) -> Self {
        let messages = experiment.messages.0.len();
        let oracle_delivered = best.iter().flatten().count();
        let figures = |Row { router, outcome, wall, .. }: &Row| {
            let delivered = outcome.delays.iter().flatten().count();
            Figures {
                router: router.name(),
                delivered,
                oracle_ratio: quotient(delivered as u64, oracle_delivered),
                transmissions_per_message: quotient(outcome.transmissions, messages),
                transmissions_per_delivered: quotient(outcome.transmissions, delivered),
                bytes_per_delivered: quotient(outcome.bytes, delivered),
                median_delay_s: median_s(&outcome.delays),
                wall_s: rounded(wall.as_secs_f64()),
            }
        };
        let routers: Vec<Figures> = rows.iter().map(figures).collect();
        let subject = routers.first();
        Self {
            messages,
            delivered: subject.map_or(0, |row| row.delivered),
            oracle_delivered,
            oracle_ratio: subject.and_then(|row| row.oracle_ratio),
            transmissions_per_delivered: subject.and_then(|row| row.transmissions_per_delivered),
            transmissions_per_message: subject.and_then(|row| row.transmissions_per_message),
            bytes_per_delivered: subject.and_then(|row| row.bytes_per_delivered),
            median_delay_s: subject.and_then(|row| row.median_delay_s),
            oracle_median_delay_s: median_s(best),
            wall_s: rounded(wall.as_secs_f64()),
            wall_us_per_node_hour: rows.first().and_then(|Row { wall, .. }| {
                let node_hours = experiment.trace.people() as f64 * experiment.trace.end_ms() as f64 / 3_600_000.0;
                (node_hours > 0.0).then(|| rounded(wall.as_secs_f64() * 1e6 / node_hours))
            }),
            prepare_s: rows.first().map_or(0.0, |row| rounded(row.prepared.as_secs_f64())),
            memory_mib: process::memory_mib(),
            trace_hash: rows.first().map_or_else(String::new, |row| row.outcome.hash.clone()),
            router: subject.map_or("", |row| row.router),
            nodes: experiment.trace.people(),
            contacts: experiment.trace.contacts().len(),
            ttl_s: experiment.ttl_ms as f64 / 1_000.0,
            buffer: experiment.buffer,
            seed: experiment.seed,
            routers,
        }
    }

    /// A table for people.
    pub fn table(&self) -> String {
        let mut out = format!(
            "{} people, {} contacts, {} messages, lifetime {:.0} s, buffer {}, seed {}\n\n",
            self.nodes, self.contacts, self.messages, self.ttl_s, self.buffer, self.seed
        );
        out.push_str(&format!(
            "{:<24} {:>9} {:>8} {:>10} {:>12} {:>12} {:>12} {:>8}\n",
            "router", "delivered", "oracle", "tx/message", "tx/delivered", "bytes/deliv.", "median s", "wall s"
        ));
        let median = number(self.oracle_median_delay_s, 0);
        out.push_str(&format!("{:<24} {:>9} {:>8} {:>49}\n", "oracle", self.oracle_delivered, "100.0 %", median));
        for row in &self.routers {
            out.push_str(&format!(
                "{:<24} {:>9} {:>8} {:>10} {:>12} {:>12} {:>12} {:>8}\n",
                row.router,
                row.delivered,
                row.oracle_ratio.map_or_else(|| String::from("-"), |ratio| format!("{:.1} %", 100.0 * ratio)),
                number(row.transmissions_per_message, 2),
                number(row.transmissions_per_delivered, 2),
                number(row.bytes_per_delivered, 0),
                number(row.median_delay_s, 0),
                number(Some(row.wall_s), 1),
            ));
        }
        out.push_str(&format!(
            "\ntrace {} ({}), {:.1} s, {} µs a person and hour, {} MiB\n",
            self.trace_hash,
            self.router,
            self.wall_s,
            number(self.wall_us_per_node_hour, 0),
            self.memory_mib.map_or_else(|| String::from("-"), |mib| mib.to_string()),
        ));
        out
    }
}

fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| String::from("-"), |value| format!("{value:.decimals$}"))
}

fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}

/// `None` when there is nothing to divide by.
fn quotient(number: u64, by: usize) -> Option<f64> {
    (by > 0).then(|| rounded(number as f64 / by as f64))
}

fn median_s(delays: &[Option<u64>]) -> Option<f64> {
    let mut delays: Vec<u64> = delays.iter().flatten().copied().collect();
    delays.sort_unstable();
    let (low, high) = (delays.len().checked_sub(1)? / 2, delays.len() / 2);
    Some((delays[low] + delays[high]) as f64 / 2_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_two() {
        assert_eq!(median_s(&[None, Some(3_000), Some(1_000), Some(9_000)]), Some(3.0));
        assert_eq!(median_s(&[Some(3_000), Some(1_000)]), Some(2.0));
        assert_eq!(median_s(&[None]), None);
    }
}
