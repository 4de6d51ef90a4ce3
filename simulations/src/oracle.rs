//! What physics allows: the earliest arrival of every message over the temporal contact graph.
//!
//! Every contact is usable in its whole interval, ends included, needs no set-up and carries everything at once, over
//! any number of hops within one instant. Nobody refuses, forgets or drops anything. No router can deliver more
//! messages, or one of them earlier.
//!
//! People who are joined by contacts at some instant hold the same messages, so one bit set a person is kept, and a
//! new contact unites the sets of the two groups that it joins:
//!
//! ```text
//!   contact begins ──▶ group A ∪ group B hold A ∪ B        message ──▶ its writer's whole group holds it
//!   contact ends   ──▶ groups may fall apart, sets stay
//! ```

use crate::bits::Bits;
use crate::mobility::{ContactTrace, Message};

/// Earliest delay of every message in milliseconds; `None` where no path exists until the trace ends. A lifetime is
/// a bound on the delay: what arrives earliest also arrives within the shortest lifetime.
pub fn earliest_delays(trace: &ContactTrace, messages: &[Message]) -> Vec<Option<u64>> {
    Oracle::new(trace.people(), messages).run(trace)
}

enum Change {
    Begin(u32, u32),
    Write(usize),
    End(u32, u32),
}

struct Oracle<'a> {
    messages: &'a [Message],
    holds: Vec<Bits>,
    /// Messages for a person.
    for_person: Vec<Bits>,
    neighbours: Vec<Vec<u32>>,
    delays: Vec<Option<u64>>,
}

impl<'a> Oracle<'a> {
    fn new(people: usize, messages: &'a [Message]) -> Self {
        let mut for_person = vec![Bits::new(messages.len()); people];
        for (at, message) in messages.iter().enumerate() {
            for_person[message.to as usize].insert(at);
        }
        Self {
            messages,
            holds: vec![Bits::new(messages.len()); people],
            for_person,
            neighbours: vec![Vec::new(); people],
            delays: vec![None; messages.len()],
        }
    }

    fn run(mut self, trace: &ContactTrace) -> Vec<Option<u64>> {
        // Within one instant all contacts that touch it are there: begin before write before end.
        let mut changes: Vec<(u64, u8, Change)> = Vec::new();
        for contact in trace.contacts() {
            changes.push((contact.start_ms, 0, Change::Begin(contact.a, contact.b)));
            changes.push((contact.end_ms, 2, Change::End(contact.a, contact.b)));
        }
        for (at, message) in self.messages.iter().enumerate() {
            changes.push((message.at_ms, 1, Change::Write(at)));
        }
        changes.sort_by_key(|(at_ms, order, _)| (*at_ms, *order));
        for (now_ms, _, change) in changes {
            match change {
                Change::Begin(a, b) => self.begin(a, b, now_ms),
                Change::Write(at) => {
                    for person in self.group(self.messages[at].from) {
                        self.holds[person as usize].insert(at);
                        if self.messages[at].to == person {
                            self.delays[at] = Some(0);
                        }
                    }
                }
                Change::End(a, b) => {
                    self.neighbours[a as usize].retain(|other| *other != b);
                    self.neighbours[b as usize].retain(|other| *other != a);
                }
            }
        }
        self.delays
    }

    fn begin(&mut self, a: u32, b: u32, now_ms: u64) {
        if self.holds[a as usize] != self.holds[b as usize] {
            let (of_a, of_b) = (self.group(a), self.group(b));
            let mut union = self.holds[a as usize].clone();
            union.insert_all(&self.holds[b as usize]);
            for (group, one) in [(of_a, a), (of_b, b)] {
                if self.holds[one as usize] == union {
                    continue;
                }
                for person in group {
                    self.arrive(person, &union, now_ms);
                }
            }
        }
        self.neighbours[a as usize].push(b);
        self.neighbours[b as usize].push(a);
    }

    fn arrive(&mut self, person: u32, union: &Bits, now_ms: u64) {
        let place = person as usize;
        for at in union.ones_of_both_and_not(&self.for_person[place], &self.holds[place]) {
            self.delays[at].get_or_insert(now_ms - self.messages[at].at_ms);
        }
        self.holds[place].clone_from(union);
    }

    /// Everyone who is joined with a person at this instant.
    fn group(&self, person: u32) -> Vec<u32> {
        let mut group = vec![person];
        let mut known = Bits::new(self.neighbours.len());
        known.insert(person as usize);
        let mut at = 0;
        while let Some(one) = group.get(at) {
            at += 1;
            for other in &self.neighbours[*one as usize] {
                if known.insert(*other as usize) {
                    group.push(*other);
                }
            }
        }
        group
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mobility::MessageList;

    fn delays(contacts: &str, messages: &str) -> Vec<Option<u64>> {
        let mut trace = ContactTrace::read(contacts).expect("good contacts");
        let list = MessageList::read(messages, &mut trace).expect("good messages");
        earliest_delays(&trace, &list.0)
    }

    #[test]
    fn a_message_waits_for_its_contacts_in_their_order() {
        // 1 meets 2 at 10, 2 meets 3 at 30: 1 reaches 3, and 3 does not reach 1.
        let contacts = "t_start,t_end,a,b\n10,12,1,2\n30,32,2,3\n";
        assert_eq!(delays(contacts, "t,src,dst\n0,1,3\n0,3,1\n"), [Some(30_000), None]);
        // Written too late for the first contact.
        assert_eq!(delays(contacts, "t,src,dst\n13,1,3\n12,1,3\n"), [Some(18_000), None]);
    }

    #[test]
    fn a_contact_is_usable_from_its_first_to_its_last_instant_and_over_many_hops_at_once() {
        let contacts = "t_start,t_end,a,b\n0,50,1,2\n50,60,2,3\n55,70,3,4\n55,56,4,5\n";
        let messages = "t,src,dst\n20,1,2\n20,1,3\n55,2,5\n57,2,5\n70,4,3\n71,4,3\n";
        assert_eq!(delays(contacts, messages), [Some(0), Some(30_000), Some(0), None, Some(0), None]);
    }

    #[test]
    fn what_a_group_holds_passes_on_with_each_of_its_members() {
        // 1-2 are together, 3 joins them by 2 later, 1 leaves before 3 meets 4.
        let contacts = "t_start,t_end,a,b\n0,100,1,2\n40,60,2,3\n80,90,3,4\n";
        assert_eq!(delays(contacts, "t,src,dst\n5,1,4\n61,1,4\n"), [Some(75_000), None]);
    }

    /// Earliest arrival by looking at every contact again until nothing changes.
    fn brute_force(trace: &ContactTrace, message: &Message) -> Option<u64> {
        let mut arrival: Vec<Option<u64>> = vec![None; trace.people()];
        arrival[message.from as usize] = Some(message.at_ms);
        loop {
            let before = arrival.clone();
            for contact in trace.contacts() {
                for (from, to) in [(contact.a, contact.b), (contact.b, contact.a)] {
                    let Some(held) = arrival[from as usize].filter(|held| *held <= contact.end_ms) else { continue };
                    let at = held.max(contact.start_ms);
                    if arrival[to as usize].is_none_or(|known| known > at) {
                        arrival[to as usize] = Some(at);
                    }
                }
            }
            if before == arrival {
                return arrival[message.to as usize].map(|at| at - message.at_ms);
            }
        }
    }

    proptest! {
        #[test]
        fn the_oracle_equals_brute_force(
            meetings in prop::collection::vec((0_u64..60, 0_u64..12, 0_u32..9, 0_u32..9), 0..60),
            messages in prop::collection::vec((0_u64..70, 0_u32..9, 0_u32..9), 1..20),
        ) {
            let meetings = meetings.into_iter().filter(|(_, _, a, b)| a != b);
            let trace = ContactTrace::of_model(9, meetings.map(|(at, len, a, b)| (at, at + len, a, b)).collect());
            let messages: Vec<Message> = messages
                .into_iter()
                .filter(|(_, from, to)| from != to)
                .map(|(at_ms, from, to)| Message { at_ms, from, to })
                .collect();
            let expected: Vec<_> = messages.iter().map(|message| brute_force(&trace, message)).collect();
            prop_assert_eq!(earliest_delays(&trace, &messages), expected);
        }
    }
}
