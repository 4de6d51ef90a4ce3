//! Who writes to whom, when.

use std::collections::BTreeSet;

use silbo_protocol::chance::Chance;

use super::contact_trace::{ContactTrace, seconds};
use super::{BadLine, milliseconds, person, rows};

/// The header of a message file.
pub const HEADER: &str = "t,src,dst";

/// One message of one person to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Message {
    /// When it is written.
    pub at_ms: u64,
    /// Who writes.
    pub from: u32,
    /// Who shall read.
    pub to: u32,
}

/// Messages in order of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageList(pub Vec<Message>);

impl MessageList {
    /// Reads `t,src,dst`: seconds and the ids of the contact file, a header line. People who are in no contact are
    /// added to `trace`.
    ///
    /// # Errors
    /// [`BadLine`] for what is no message.
    pub fn read(text: &str, trace: &mut ContactTrace) -> Result<Self, BadLine> {
        let mut read = Vec::new();
        let mut labels = BTreeSet::new();
        for (line, [at, from, to]) in rows(text, HEADER)? {
            let at_ms = milliseconds(line, "t", at)?;
            let (from, to) = (person(line, "src", from)?, person(line, "dst", to)?);
            if from == to {
                return Err(BadLine { line, what: format!("{from} writes to itself; src and dst must differ") });
            }
            labels.extend([from, to]);
            read.push((at_ms, from, to));
        }
        let places = trace.admit(&labels);
        let mut list: Vec<Message> =
            read.into_iter().map(|(at_ms, from, to)| Message { at_ms, from: places[&from], to: places[&to] }).collect();
        list.sort_by_key(|message| message.at_ms);
        Ok(Self(list))
    }

    /// `count` messages of random people to random others, evenly over `until_ms`.
    pub fn random(people: u32, count: u32, until_ms: u64, chance: &mut Chance) -> Self {
        let mut list = Vec::with_capacity(count as usize);
        for _ in 0..if people < 2 { 0 } else { count } {
            let at_ms = chance.below(until_ms);
            let from = chance.below(u64::from(people)) as u32;
            let to = (from + 1 + chance.below(u64::from(people) - 1) as u32) % people;
            list.push(Message { at_ms, from, to });
        }
        list.sort_by_key(|message| message.at_ms);
        Self(list)
    }

    /// The file that [`MessageList::read`] reads.
    pub fn to_csv(&self, trace: &ContactTrace) -> String {
        let mut out = format!("{HEADER}\n");
        for message in &self.0 {
            let (from, to) = (trace.label(message.from), trace.label(message.to));
            out.push_str(&format!("{},{from},{to}\n", seconds(message.at_ms)));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_without_contacts_are_added_and_contacts_keep_their_people() {
        let mut trace = ContactTrace::read("t_start,t_end,a,b\n0,20,10,30\n").expect("a good file");
        let list = MessageList::read("t,src,dst\n5,30,20\n1,10,30\n", &mut trace).expect("a good file");
        assert_eq!((trace.people(), trace.contacts()[0].b), (3, 2));
        assert_eq!(list.0[0], Message { at_ms: 1_000, from: 0, to: 2 });
        assert_eq!(list.0[1], Message { at_ms: 5_000, from: 2, to: 1 });
        assert_eq!(MessageList::read(&list.to_csv(&trace), &mut trace), Ok(list));
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = |text| MessageList::read(text, &mut ContactTrace::default()).expect_err("wrong").to_string();
        assert_eq!(error("t,src,dst\n1,2,2\n"), "line 2: 2 writes to itself; src and dst must differ");
        assert_eq!(error("t,src,dst\n1,2\n"), "line 2: 2 fields, and 3 are expected: t,src,dst");
        assert_eq!(error("t,from,to\n"), "line 1: the header is \"t,from,to\", and \"t,src,dst\" is expected");
    }
}
