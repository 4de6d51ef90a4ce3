//! What a simulated person costs, and how that grows: the village model at several sizes, engines only.
//!
//! Everybody writes to somebody anywhere in the region and is a contact of everyone they meet; eight of those carry for
//! them. [`measure`] runs one size, [`line()`] shows a row. Virtual results follow from the seed alone; seconds and
//! memory are of the machine.

use serde::Serialize;
use silbo_protocol::chance::Chance;

use crate::experiment::Experiment;
use crate::failure::Failure;
use crate::mobility::MessageList;
use crate::mobility::village::Villages;
use crate::process;
use crate::progress::Progress;
use crate::routers::Router;

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// People.
    pub nodes: u32,
    /// Days of the village model.
    pub days: u32,
    /// Messages that are written, for every hundred people and day.
    pub messages_per_hundred: u32,
    /// All chance follows from it.
    pub seed: u64,
    /// Engines at work at once.
    pub threads: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { nodes: 100, days: 1, messages_per_hundred: 100, seed: 1, threads: process::cores() }
    }
}

/// One size.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// People.
    pub nodes: u32,
    /// Times two of them met.
    pub meetings: usize,
    /// Messages written.
    pub messages: usize,
    /// Messages that arrived.
    pub delivered: usize,
    /// Of those that could have.
    pub oracle_ratio: Option<f64>,
    /// Hand-overs of a message for each written one.
    pub transmissions_per_message: Option<f64>,
    /// Real seconds until everybody has an account and contacts.
    pub prepare_s: f64,
    /// Real seconds of the days.
    pub walk_s: f64,
    /// Real seconds in all.
    pub wall_s: f64,
    /// Processor seconds in all.
    pub cpu_s: Option<f64>,
    /// Processor microseconds for a person and hour, accounts and contacts included.
    pub cpu_us_per_node_hour: Option<f64>,
    /// Real microseconds for a person and hour of the days alone.
    pub walk_us_per_node_hour: f64,
    /// Most memory of the process so far: measure the smaller sizes first.
    pub memory_mib: Option<u64>,
    /// The same for each person.
    pub memory_kib_per_node: Option<u64>,
    /// Hash over everything that happened.
    pub trace_hash: String,
}

/// Runs one size.
///
/// # Errors
/// A broken invariant.
pub fn measure(settings: &Settings, progress: &Progress) -> Result<Row, Failure> {
    let key = |of: &str| Chance::from_seed(blake3::derive_key(of, &settings.seed.to_be_bytes()));
    let villages = Villages { people: settings.nodes, days: settings.days, ..Villages::default() };
    let trace = villages.contacts(key("silbo simulations mobility"));
    let count = u64::from(settings.nodes) * u64::from(settings.messages_per_hundred) * u64::from(settings.days) / 100;
    // Written in the first half, so that there is time to arrive.
    let until_ms = (trace.end_ms() / 2).max(1);
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let messages = MessageList::random(settings.nodes, count, until_ms, &mut key("silbo simulations mail"));
    let experiment =
        Experiment { trace, messages, seed: settings.seed, threads: settings.threads, ..Experiment::default() };
    let before = process::cpu_s();
    let report = experiment.run(&[Router::Silbo], progress)?;
    let cpu_s = process::cpu_s().zip(before).map(|(after, before)| after - before);
    let node_hours = (f64::from(settings.nodes) * f64::from(settings.days) * 24.0).max(1.0);
    let walk_s = report.routers.first().map_or(0.0, |row| row.wall_s) - report.prepare_s;
    Ok(Row {
        nodes: settings.nodes,
        meetings: report.contacts,
        messages: report.messages,
        delivered: report.delivered,
        oracle_ratio: report.oracle_ratio,
        transmissions_per_message: report.transmissions_per_message,
        prepare_s: report.prepare_s,
        walk_s,
        wall_s: report.wall_s,
        cpu_s,
        cpu_us_per_node_hour: cpu_s.map(|cpu_s| cpu_s * 1e6 / node_hours),
        walk_us_per_node_hour: walk_s * 1e6 / node_hours,
        memory_mib: report.memory_mib,
        memory_kib_per_node: report.memory_mib.map(|mib| mib * 1_024 / u64::from(settings.nodes.max(1))),
        trace_hash: report.trace_hash,
    })
}

/// The head of the table for people.
pub fn head() -> String {
    let [a, b, c, d, e] = ["people", "meetings", "messages", "delivered", "tx/message"];
    let [f, g, h, i, j, k, l] = ["prepare s", "days s", "wall s", "cpu s", "cpu µs/p·h", "days µs/p·h", "MiB (KiB/p)"];
    format!("{a:>7} {b:>8} {c:>8} {d:>16} {e:>10} {f:>9} {g:>7} {h:>7} {i:>7} {j:>10} {k:>11} {l:>14}\n")
}

/// A row of it.
pub fn line(row: &Row) -> String {
    let some = |value: Option<f64>, decimals: usize| value.map_or(String::from("-"), |v| format!("{v:.decimals$}"));
    let share = row.oracle_ratio.map_or(String::from("-"), |ratio| format!("{:.1} %", 100.0 * ratio));
    let memory = row.memory_mib.zip(row.memory_kib_per_node);
    format!(
        "{:>7} {:>8} {:>8} {:>16} {:>10} {:>9.1} {:>7.1} {:>7.1} {:>7} {:>10} {:>11.0} {:>14}\n",
        row.nodes,
        row.meetings,
        row.messages,
        format!("{} ({share})", row.delivered),
        some(row.transmissions_per_message, 1),
        row.prepare_s,
        row.walk_s,
        row.wall_s,
        some(row.cpu_s, 1),
        some(row.cpu_us_per_node_hour, 0),
        row.walk_us_per_node_hour,
        memory.map_or(String::from("-"), |(mib, kib)| format!("{mib} ({kib})")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_on_several_threads_do_exactly_what_they_do_on_one() -> Result<(), Failure> {
        let one = Settings { nodes: 40, threads: 1, ..Settings::default() };
        let many = Settings { threads: 4, ..one };
        let (one, many) = (measure(&one, &Progress::silent())?, measure(&many, &Progress::silent())?);
        assert_eq!(one.trace_hash, many.trace_hash);
        assert_eq!((one.delivered, one.transmissions_per_message), (many.delivered, many.transmissions_per_message));
        assert!(line(&one).contains("40") && one.messages == 40);
        Ok(())
    }
}
