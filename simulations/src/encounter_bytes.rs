//! What it costs two carriers to find out what only one of them has: the code of the protocol, measured, beside the
//! ways not taken.
//!
//! Half of `differences` are only in the one set of `items` items, and the rest only in the other (of one more if the
//! number is odd). That is the costliest split for [`Reconciliation`]. Bytes are those of messages in both directions, without the frames
//! around them and without the openings, which are [`Opening::LEN`] bytes each way whatever the sets are.
//!
//! | column | what is counted |
//! |---|---|
//! | ids 8 B | one list of 8-byte ids, then 8 bytes for each item only the other has; computed |
//! | Bloom 1 % | one filter each way, 9.585 bits an item; leaves out 1 % of the differences; computed |
//! | GCS 2^-10 | one Golomb-coded set each way, 11.58 bits an item; leaves out 0.1 %; computed |
//! | cells | 9-byte coded cells until the reader is done; the teller learns nothing; measured |
//! | negentropy | protocol version 1 with random times; the answering end learns nothing; measured |
//! | reconcile | everything said until both ends know; measured |

use std::collections::VecDeque;
use std::fmt::Write as _;

use anyhow::Context as _;
use negentropy::{Id, Negentropy, NegentropyStorageVector};
use serde::Serialize;
use silbo_protocol::carry::reconcile::{Opening, Reconciliation};
use silbo_protocol::carry::riblt::{Cell, Decoder, Encoder, Progress};
use silbo_protocol::carry::salted_set::{ItemKey, SaltedSet};

/// Sizes and differences of the table.
pub const CASES: [(u64, u64); 6] = [(100, 5), (400, 20), (2_000, 20), (2_000, 100), (10_000, 20), (10_000, 200)];

/// Mean and worst of the salts tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Measured {
    /// Rounded.
    pub mean: u64,
    /// The largest.
    pub worst: u64,
}

/// Bytes for one size and difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Items of each set.
    pub items: u64,
    /// Items that only one of the two has.
    pub differences: u64,
    /// A list of 8-byte ids.
    pub ids: u64,
    /// Two Bloom filters.
    pub bloom: u64,
    /// Two Golomb-coded sets.
    pub gcs: u64,
    /// Coded cells alone.
    pub cells: Measured,
    /// Negentropy.
    pub negentropy: Measured,
    /// The reconciliation of an encounter.
    pub reconcile: Measured,
    /// Messages of it, both directions.
    pub messages: Measured,
}

/// The table over so many salts.
///
/// # Errors
/// A defect of one of the methods.
pub fn table(seeds: u64) -> anyhow::Result<Vec<Row>> {
    CASES.iter().map(|&(items, differences)| row(items, differences, seeds)).collect()
}

/// One row over so many salts.
///
/// # Errors
/// A defect of one of the methods.
pub fn row(items: u64, differences: u64, seeds: u64) -> anyhow::Result<Row> {
    let mut measured = [const { Vec::new() }; 4];
    for seed in 0..seeds {
        let (one, other) = sets(items, differences, seed)?;
        let (bytes, messages) = reconcile(one.clone(), other.clone(), differences)?;
        let given = [cells(&one, &other)?, negentropy(items, differences, seed)?, bytes, messages];
        for (list, bytes) in measured.iter_mut().zip(given) {
            list.push(bytes);
        }
    }
    let [cells, negentropy, reconcile, messages] = measured.map(|list| summary(&list));
    Ok(Row {
        items,
        differences,
        ids: 8 * items + 8 * (differences - differences / 2),
        bloom: 2 * (items * 9_585).div_ceil(8_000),
        gcs: 2 * (items * 1_158).div_ceil(800),
        cells,
        negentropy,
        reconcile,
        messages,
    })
}

/// The rows as text, with a line that says what was done.
pub fn render(rows: &[Row], seeds: u64) -> String {
    let mut out = format!("Bytes to find the difference, mean / worst of {seeds} salts\n");
    let pair = |m: Measured| format!("{} / {}", m.mean, m.worst);
    let head = ["items", "diff", "ids 8 B", "Bloom 1 %", "GCS 2^-10", "cells", "negentropy", "reconcile", "messages"];
    let body = rows.iter().map(|row| {
        let numbers = [row.items, row.differences, row.ids, row.bloom, row.gcs].map(|n| n.to_string());
        let pairs = [row.cells, row.negentropy, row.reconcile, row.messages].map(pair);
        numbers.into_iter().chain(pairs).collect::<Vec<_>>()
    });
    for line in std::iter::once(head.map(String::from).to_vec()).chain(body) {
        for (at, field) in line.iter().enumerate() {
            let width = if at < 2 {
                7
            } else if at < 5 {
                11
            } else {
                16
            };
            // Writing to a string cannot fail.
            let _ = write!(out, "{field:>width$}");
        }
        out.push('\n');
    }
    let _ = writeln!(out, "Openings: {} bytes each way, not counted above; equal sets say nothing more.", Opening::LEN);
    out
}

fn sets(items: u64, differences: u64, seed: u64) -> anyhow::Result<(SaltedSet, SaltedSet)> {
    let salt = u128::from(seed).to_be_bytes();
    let set = |range: std::ops::Range<u64>| {
        let keys = range.map(|n| -> ItemKey { u128::from(n).to_be_bytes() });
        SaltedSet::new(&salt, keys).context("salt a set")
    };
    let shift = differences / 2;
    Ok((set(0..items)?, set(shift..items + differences - shift)?))
}

fn reconcile(one: SaltedSet, other: SaltedSet, differences: u64) -> anyhow::Result<(u64, u64)> {
    let openings = [Opening::of(&one), Opening::of(&other)];
    let (one, first) = Reconciliation::start(one, &openings[1]);
    let (other, second) = Reconciliation::start(other, &openings[0]);
    let mut ends = [one, other];
    let mut wire: VecDeque<_> = first.into_iter().map(|message| (1, message)).collect();
    wire.extend(second.into_iter().map(|message| (0, message)));
    let (mut bytes, mut messages) = (0, 0);
    while let Some((to, message)) = wire.pop_front() {
        bytes += message.encode().len() as u64;
        messages += 1;
        let mut answers = Vec::new();
        ends[to].handle(message, &mut answers).context("reconcile")?;
        wire.extend(answers.into_iter().map(|message| (1 - to, message)));
    }
    for end in &ends {
        let difference = end.difference().context("both ends have a result")?;
        let found = (difference.mine.len() + difference.theirs.len()) as u64;
        anyhow::ensure!(found == differences, "{found} of {differences} differences were found");
    }
    Ok((bytes, messages))
}

fn cells(one: &SaltedSet, other: &SaltedSet) -> anyhow::Result<u64> {
    let mut encoder = Encoder::new(one.hash(), one.ids());
    let mut decoder = Decoder::new(other.hash(), other.ids());
    while decoder.progress() == Progress::Undecided {
        decoder.push(encoder.next_cell());
    }
    anyhow::ensure!(decoder.progress() == Progress::Complete, "the cells contradict each other");
    Ok((decoder.cells() * Cell::LEN) as u64)
}

fn negentropy(items: u64, differences: u64, seed: u64) -> anyhow::Result<u64> {
    let storage = |range: std::ops::Range<u64>| -> anyhow::Result<NegentropyStorageVector> {
        let mut storage = NegentropyStorageVector::new();
        for n in range {
            let id = *blake3::hash(&[n.to_be_bytes(), seed.to_be_bytes()].concat()).as_bytes();
            // Thirty days of seconds.
            let time = id.iter().take(8).fold(0_u64, |time, byte| time << 8 | u64::from(*byte)) % 2_592_000;
            storage.insert(time, Id::from_byte_array(id)).context("insert an item")?;
        }
        storage.seal().context("seal the items")?;
        Ok(storage)
    };
    let shift = differences / 2;
    let (here, there) = (storage(0..items)?, storage(shift..items + differences - shift)?);
    let mut one = Negentropy::borrowed(&here, 0).context("start")?;
    let mut other = Negentropy::borrowed(&there, 0).context("start")?;
    let (mut have, mut need) = (Vec::new(), Vec::new());
    let mut next = Some(one.initiate().context("initiate")?);
    let mut bytes = 0;
    while let Some(query) = next {
        let answer = other.reconcile(&query).context("answer")?;
        bytes += (query.len() + answer.len()) as u64;
        next = one.reconcile_with_ids(&answer, &mut have, &mut need).context("reconcile")?;
    }
    let found = (have.len() + need.len()) as u64;
    anyhow::ensure!(found == differences, "{found} of {differences} differences were found");
    Ok(bytes)
}

fn summary(list: &[u64]) -> Measured {
    let count = (list.len() as u64).max(1);
    Measured { mean: (list.iter().sum::<u64>() + count / 2) / count, worst: list.iter().max().copied().unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_differences_cost_the_same_among_few_and_many_items() {
        let few = row(400, 20, 3).unwrap();
        let many = row(2_000, 20, 3).unwrap();
        assert!(few.reconcile.worst <= 420 && many.reconcile.worst <= 420, "{few:?} {many:?}");
        assert!(many.reconcile.worst < many.bloom.min(many.gcs).min(many.ids).min(many.negentropy.mean));
    }

    #[test]
    fn the_text_has_a_line_a_row() {
        let rows = vec![row(100, 5, 2).unwrap()];
        assert_eq!(render(&rows, 2).lines().count(), 4);
    }
}
