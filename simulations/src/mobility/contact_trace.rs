//! A contact trace: pairs of people and the times they are within reach of each other.

use std::collections::{BTreeMap, BTreeSet};

use super::{BadLine, milliseconds, person, rows};

/// The header of a contact file.
pub const HEADER: &str = "t_start,t_end,a,b";

/// Two people within reach of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Contact {
    /// First millisecond.
    pub start_ms: u64,
    /// Last millisecond.
    pub end_ms: u64,
    /// The smaller one of the two, counted from 0.
    pub a: u32,
    /// The larger one.
    pub b: u32,
}

/// Contacts in order of time. No pair has two contacts that overlap or touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContactTrace {
    labels: Vec<u64>,
    contacts: Vec<Contact>,
}

impl ContactTrace {
    /// Reads `t_start,t_end,a,b`: seconds, integer ids, a header line. Contacts of one pair that overlap, touch or
    /// repeat are merged.
    ///
    /// # Errors
    /// [`BadLine`] for what is no contact.
    pub fn read(text: &str) -> Result<Self, BadLine> {
        let mut labels = BTreeSet::new();
        let mut read = Vec::new();
        for (line, [start, end, a, b]) in rows(text, HEADER)? {
            let start_ms = milliseconds(line, "t_start", start)?;
            let end_ms = milliseconds(line, "t_end", end)?;
            let (a, b) = (person(line, "a", a)?, person(line, "b", b)?);
            if a == b {
                return Err(BadLine { line, what: format!("{a} meets itself; a and b must differ") });
            }
            if end_ms < start_ms {
                return Err(BadLine { line, what: format!("t_end {end} is before t_start {start}") });
            }
            labels.extend([a, b]);
            read.push((start_ms, end_ms, a, b));
        }
        let labels: Vec<u64> = labels.into_iter().collect();
        let place = |label: u64| labels.binary_search(&label).unwrap_or_default() as u32;
        let contacts = read.into_iter().map(|(start_ms, end_ms, a, b)| (start_ms, end_ms, place(a), place(b)));
        let contacts = merged(contacts.collect());
        Ok(Self { labels, contacts })
    }

    /// A trace of `people` who are labelled as they are counted.
    pub fn of_model(people: u32, meetings: Vec<(u64, u64, u32, u32)>) -> Self {
        Self { labels: (0..u64::from(people)).collect(), contacts: merged(meetings) }
    }

    /// How many people there are, those who meet nobody included.
    pub fn people(&self) -> usize {
        self.labels.len()
    }

    /// The id of a person in the file.
    pub fn label(&self, person: u32) -> u64 {
        self.labels.get(person as usize).copied().unwrap_or_else(|| u64::from(person))
    }

    /// All contacts, in order of their start.
    pub fn contacts(&self) -> &[Contact] {
        &self.contacts
    }

    /// When the last contact ends.
    pub fn end_ms(&self) -> u64 {
        self.contacts.iter().map(|contact| contact.end_ms).max().unwrap_or_default()
    }

    /// Adds people who write or are written to and meet nobody, and returns the place of every label.
    pub(crate) fn admit(&mut self, more: &BTreeSet<u64>) -> BTreeMap<u64, u32> {
        let all: BTreeSet<u64> = self.labels.iter().chain(more).copied().collect();
        let places: BTreeMap<u64, u32> = all.iter().zip(0..).map(|(label, place)| (*label, place)).collect();
        let moved: Vec<u32> = self.labels.iter().map(|label| places[label]).collect();
        for contact in &mut self.contacts {
            contact.a = moved[contact.a as usize];
            contact.b = moved[contact.b as usize];
        }
        self.contacts.sort_unstable();
        self.labels = all.into_iter().collect();
        places
    }

    /// The same contacts, and one person more who is wherever `beside` is; returns that person.
    pub(crate) fn with_shadow(&self, beside: u32) -> (Self, u32) {
        let shadow = self.labels.len() as u32;
        let mut labels = self.labels.clone();
        labels.push(labels.last().map_or(0, |last| last.saturating_add(1)));
        let mut contacts = self.contacts.clone();
        for contact in &self.contacts {
            let other = match (contact.a == beside, contact.b == beside) {
                (true, _) => contact.b,
                (_, true) => contact.a,
                _ => continue,
            };
            contacts.push(Contact { a: other, b: shadow, ..*contact });
        }
        contacts.sort_unstable();
        (Self { labels, contacts }, shadow)
    }

    /// The file that [`ContactTrace::read`] reads.
    pub fn to_csv(&self) -> String {
        let mut out = format!("{HEADER}\n");
        for contact in &self.contacts {
            let (start, end) = (seconds(contact.start_ms), seconds(contact.end_ms));
            out.push_str(&format!("{start},{end},{},{}\n", self.label(contact.a), self.label(contact.b)));
        }
        out
    }
}

/// Milliseconds as seconds, with decimals where there are any.
pub(super) fn seconds(ms: u64) -> String {
    match ms % 1_000 {
        0 => format!("{}", ms / 1_000),
        part => format!("{}.{part:03}", ms / 1_000),
    }
}

fn merged(mut meetings: Vec<(u64, u64, u32, u32)>) -> Vec<Contact> {
    for (_, _, a, b) in &mut meetings {
        (*a, *b) = ((*a).min(*b), (*a).max(*b));
    }
    meetings.sort_unstable_by_key(|(start_ms, end_ms, a, b)| (*a, *b, *start_ms, *end_ms));
    let mut out: Vec<Contact> = Vec::with_capacity(meetings.len());
    for (start_ms, end_ms, a, b) in meetings {
        match out.last_mut().filter(|last| (last.a, last.b) == (a, b) && last.end_ms >= start_ms) {
            Some(last) => last.end_ms = last.end_ms.max(end_ms),
            None => out.push(Contact { start_ms, end_ms, a, b }),
        }
    }
    out.sort_unstable();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        ContactTrace::read(text).expect_err("the file is wrong").to_string()
    }

    #[test]
    fn a_file_is_read_in_order_of_time_and_ids() {
        let trace = ContactTrace::read("t_start,t_end,a,b\n20,40.5,900,7\r\n\n0,20,7,31\n").expect("a good file");
        assert_eq!(trace.people(), 3);
        assert_eq!((trace.label(0), trace.label(2)), (7, 900));
        let contacts = [
            Contact { start_ms: 0, end_ms: 20_000, a: 0, b: 1 },
            Contact { start_ms: 20_000, end_ms: 40_500, a: 0, b: 2 },
        ];
        assert_eq!(trace.contacts(), contacts);
        assert_eq!(ContactTrace::read(&trace.to_csv()), Ok(trace));
    }

    #[test]
    fn contacts_of_one_pair_that_overlap_touch_or_repeat_are_one() {
        let text = "t_start,t_end,a,b\n0,20,1,2\n20,30,2,1\n0,20,1,2\n5,10,2,1\n31,40,1,2\n20,30,1,3\n";
        let trace = ContactTrace::read(text).expect("a good file");
        let of_pair: Vec<_> = trace.contacts().iter().filter(|c| c.b == 1).map(|c| (c.start_ms, c.end_ms)).collect();
        assert_eq!(of_pair, [(0, 30_000), (31_000, 40_000)]);
        assert_eq!(trace.contacts().len(), 3);
    }

    #[test]
    fn a_bad_line_is_named_with_what_was_expected() {
        assert_eq!(
            error("from,to,a,b\n"),
            "line 1: the header is \"from,to,a,b\", and \"t_start,t_end,a,b\" is expected"
        );
        assert_eq!(error("t_start,t_end,a,b\n1,2,3\n"), "line 2: 3 fields, and 4 are expected: t_start,t_end,a,b");
        assert_eq!(
            error("t_start,t_end,a,b\n1,2,3,4\n1,x,3,4\n"),
            "line 3: t_end is \"x\": seconds are expected, such as 120 or 120.5"
        );
        assert_eq!(error("t_start,t_end,a,b\n9,2,3,4\n"), "line 2: t_end 2 is before t_start 9");
        assert_eq!(error("t_start,t_end,a,b\n1,2,3,3\n"), "line 2: 3 meets itself; a and b must differ");
        assert_eq!(error("t_start,t_end,a,b\n1,2,3,bob\n"), "line 2: b is \"bob\": an integer id is expected");
        assert_eq!(
            error("t_start,t_end,a,b\n-1,2,3,4\n"),
            "line 2: t_start is \"-1\": times start at 0; shift the whole file"
        );
        assert!(error("1e300,2,3,4\n").contains("t_start"));
        assert!(error("99999999999999999999,2,3,4\n").contains("too large"));
    }

    #[test]
    fn a_shadow_meets_whom_the_person_beside_it_meets() {
        let trace = ContactTrace::read("t_start,t_end,a,b\n0,20,1,2\n5,9,2,3\n").expect("a good file");
        let (with, shadow) = trace.with_shadow(1);
        let of_shadow: Vec<_> = with.contacts().iter().filter(|c| c.b == shadow).map(|c| (c.start_ms, c.a)).collect();
        assert_eq!((shadow, of_shadow), (3, vec![(0, 0), (5_000, 2)]));
    }
}
