//! Routers from the literature, to compare ours with: the same contacts, messages, buffers, envelopes, radio and
//! faults, without cryptography.
//!
//! They are given more than any device could have: each side of a contact knows for free what the other one holds,
//! nothing is asked for twice, and frames arrive without delay. What they hand over costs the same bytes and time as
//! ours. See `routers/walk.rs` for the machine; a [`Router`] only says who gets a copy.

pub(crate) mod walk;

use crate::mobility::{ContactTrace, Message};
use crate::radio::Radio;

/// Who is given a copy of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Router {
    /// The engine of Silbo.
    Silbo,
    /// Only the recipient.
    Direct,
    /// Binary spray and wait: who holds more than one copy gives half of them to anyone, the last only to the
    /// recipient.
    Spray {
        /// Copies in all.
        copies: u8,
    },
    /// Everyone, and buffers never fill.
    Epidemic,
    /// Everyone, until they hear that it has arrived; buffers never fill.
    EpidemicVaccine,
    /// The same with the buffer of the run. Nobody takes a message twice, as in the published figures.
    EpidemicVaccineBuffer,
    /// The same, and people take again what they had to drop, which costs many transmissions.
    EpidemicVaccineRetake,
}

impl Router {
    /// Every router of a comparison, ours first.
    pub const ALL: [Self; 8] = [
        Self::Silbo,
        Self::Direct,
        Self::Spray { copies: 4 },
        Self::Spray { copies: 8 },
        Self::Epidemic,
        Self::EpidemicVaccine,
        Self::EpidemicVaccineBuffer,
        Self::EpidemicVaccineRetake,
    ];

    /// What `--router` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Silbo => "silbo",
            Self::Direct => "direct",
            Self::Spray { copies: 4 } => "spray-4",
            Self::Spray { copies: 8 } => "spray-8",
            Self::Spray { .. } => "spray",
            Self::Epidemic => "epidemic",
            Self::EpidemicVaccine => "epidemic-vaccine",
            Self::EpidemicVaccineBuffer => "epidemic-vaccine-buffer",
            Self::EpidemicVaccineRetake => "epidemic-vaccine-retake",
        }
    }

    /// The router of a name.
    ///
    /// # Errors
    /// The names there are.
    pub fn named(name: &str) -> Result<Self, String> {
        let names: Vec<&str> = Self::ALL.iter().map(|router| router.name()).collect();
        let found = Self::ALL.into_iter().find(|router| router.name() == name);
        found.ok_or_else(|| format!("no router is called \"{name}\"; write one of {}", names.join(", ")))
    }

    fn has_vaccine(self) -> bool {
        matches!(self, Self::EpidemicVaccine | Self::EpidemicVaccineBuffer | Self::EpidemicVaccineRetake)
    }

    fn has_endless_buffer(self) -> bool {
        matches!(self, Self::Epidemic | Self::EpidemicVaccine)
    }
}

/// What every router of a comparison is given.
#[derive(Clone, Debug)]
pub struct Walk<'a> {
    /// Who meets whom.
    pub trace: &'a ContactTrace,
    /// Who writes to whom, and behind `honest` what a stranger floods, in order of time in each part.
    pub messages: &'a [Message],
    /// How many of the messages people wrote.
    pub honest: usize,
    /// Lifetime of a message.
    pub ttl_ms: u64,
    /// Messages of others that a person carries; own mail is not counted.
    pub buffer: usize,
    /// The links.
    pub radio: &'a Radio,
    /// Bytes of a sealed message.
    pub envelope_bytes: u64,
    /// People who take copies and never hand them on.
    pub droppers: &'a [bool],
    /// All chance follows from it.
    pub seed: u64,
}

/// How a router did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Delay of every honest message that arrived within its lifetime, in milliseconds.
    pub delays: Vec<Option<u64>>,
    /// Hand-overs of an honest message to another person, deliveries included.
    pub transmissions: u64,
    /// Bytes that arrived over links.
    pub bytes: u64,
    /// Hash over everything that happened.
    pub hash: String,
}

impl Router {
    /// Runs a router of the literature.
    ///
    /// # Panics
    /// For [`Router::Silbo`], which needs engines: [`crate::experiment`].
    pub fn run(self, walk: &Walk<'_>) -> Outcome {
        assert!(self != Self::Silbo, "ours runs in a world of engines");
        walk::run(self, walk)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mobility::MessageList;
    use crate::oracle;

    const DAY_MS: u64 = 86_400_000;
    const BIG: usize = 1 << 20;

    /// Fast enough that nothing ever waits for the radio.
    fn fast() -> Radio {
        Radio { rate: 1 << 40, ..Radio::default() }
    }

    fn run(router: Router, trace: &ContactTrace, messages: &[Message], buffer: usize, radio: &Radio) -> Outcome {
        let droppers = vec![false; trace.people()];
        router.run(&Walk {
            trace,
            messages,
            honest: messages.len(),
            ttl_ms: DAY_MS,
            buffer,
            radio,
            envelope_bytes: 234,
            droppers: &droppers,
            seed: 1,
        })
    }

    fn read(contacts: &str, messages: &str) -> (ContactTrace, Vec<Message>) {
        let mut trace = ContactTrace::read(contacts).expect("good contacts");
        let list = MessageList::read(messages, &mut trace).expect("good messages");
        (trace, list.0)
    }

    fn delivered(outcome: &Outcome) -> usize {
        outcome.delays.iter().flatten().count()
    }

    /// 1 meets 2, 3 and 4 in turn; each of them meets 5.
    const STAR: &str = "t_start,t_end,a,b\n10,20,1,2\n30,40,1,3\n50,60,1,4\n70,80,2,5\n90,95,3,5\n96,99,4,5\n";

    #[test]
    fn who_gets_a_copy_is_what_tells_routers_apart() {
        let (trace, messages) = read(STAR, "t,src,dst\n0,1,5\n");
        let figures = |router| {
            let outcome = run(router, &trace, &messages, BIG, &fast());
            (outcome.delays[0], outcome.transmissions)
        };
        assert_eq!(figures(Router::Direct), (None, 0));
        // Four copies: 2 get 2, 3 gets 1, none is left for 4; 2 delivers.
        assert_eq!(figures(Router::Spray { copies: 4 }), (Some(70_000), 3));
        // 2, 3, 4 and 5 are given a copy.
        assert_eq!(figures(Router::Epidemic), (Some(70_000), 4));
        assert_eq!(figures(Router::EpidemicVaccine), (Some(70_000), 4));
    }

    #[test]
    fn a_vaccine_stops_copies_that_are_not_needed_any_more() {
        let contacts = "t_start,t_end,a,b\n10,20,1,2\n30,40,1,3\n50,60,3,4\n";
        let (trace, messages) = read(contacts, "t,src,dst\n0,1,2\n");
        assert_eq!(run(Router::Epidemic, &trace, &messages, BIG, &fast()).transmissions, 3);
        assert_eq!(run(Router::EpidemicVaccine, &trace, &messages, BIG, &fast()).transmissions, 1);
    }

    #[test]
    fn a_full_buffer_forgets_the_oldest_and_never_own_mail() {
        let contacts = "t_start,t_end,a,b\n10,20,1,2\n30,40,2,3\n";
        let (trace, messages) = read(contacts, "t,src,dst\n0,1,3\n1,1,3\n2,2,3\n3,2,3\n");
        let outcome = run(Router::EpidemicVaccineBuffer, &trace, &messages, 1, &fast());
        assert_eq!(outcome.delays, [None, Some(29_000), Some(28_000), Some(27_000)]);
    }

    #[test]
    fn a_message_ends_with_its_lifetime_and_a_transfer_with_its_contact() {
        let (trace, messages) = read("t_start,t_end,a,b\n86401,86402,1,2\n", "t,src,dst\n0,1,2\n1,1,2\n");
        assert_eq!(run(Router::Direct, &trace, &messages, BIG, &fast()).delays, [None, Some(86_400_000)]);
        // 244 bytes on the air at 100 B/s take 2.44 s.
        let slow = Radio { rate: 100, ..Radio::default() };
        let (trace, messages) = read("t_start,t_end,a,b\n1,6,1,2\n", "t,src,dst\n0,1,2\n0,1,2\n0,1,2\n");
        let outcome = run(Router::Direct, &trace, &messages, BIG, &slow);
        assert_eq!(outcome.delays, [Some(3_440), Some(5_880), None]);
        let set_up = Radio { setup_ms: 3_000..=3_000, ..slow };
        assert_eq!(delivered(&run(Router::Direct, &trace, &messages, BIG, &set_up)), 0);
    }

    #[test]
    fn droppers_take_copies_and_hand_on_only_what_they_wrote() {
        let (trace, messages) = read("t_start,t_end,a,b\n1,9,1,2\n20,29,2,3\n", "t,src,dst\n0,1,3\n0,2,3\n");
        let droppers = [false, true, false];
        let radio = fast();
        let walk = Walk {
            trace: &trace,
            messages: &messages,
            honest: 2,
            ttl_ms: DAY_MS,
            buffer: BIG,
            radio: &radio,
            envelope_bytes: 234,
            droppers: &droppers,
            seed: 1,
        };
        let outcome = Router::Epidemic.run(&walk);
        assert_eq!(outcome.delays, [None, Some(20_000)]);
    }

    proptest! {
        #[test]
        fn more_copies_never_deliver_less_and_nobody_beats_the_oracle(
            meetings in prop::collection::vec((0_u64..6_000, 1_u64..300, 0_u32..12, 0_u32..12), 0..80),
            seed in 0_u64..1_000,
        ) {
            let meetings = meetings.into_iter().filter(|(_, _, a, b)| a != b);
            let meetings = meetings.map(|(at, len, a, b)| (at * 1_000, (at + len) * 1_000, a, b)).collect();
            let trace = ContactTrace::of_model(12, meetings);
            let mut chance = silbo_protocol::chance::Chance::from_seed([seed as u8; 32]);
            let messages = MessageList::random(12, 40, 4_000_000, &mut chance).0;
            let best = oracle::earliest_delays(&trace, &messages);
            let counts: Vec<usize> = [Router::Direct, Router::Spray { copies: 4 }, Router::Epidemic]
                .into_iter()
                .map(|router| {
                    let outcome = run(router, &trace, &messages, BIG, &fast());
                    for (delay, best) in outcome.delays.iter().zip(&best) {
                        if let Some(delay) = delay {
                            assert!(best.is_some_and(|best| best <= *delay), "{router:?} beats the oracle");
                        }
                    }
                    delivered(&outcome)
                })
                .collect();
            prop_assert!(counts[0] <= counts[1] && counts[1] <= counts[2], "{:?}", counts);
            let vaccine = run(Router::EpidemicVaccine, &trace, &messages, BIG, &fast());
            prop_assert_eq!(delivered(&vaccine), counts[2]);
            prop_assert_eq!(&vaccine, &run(Router::EpidemicVaccine, &trace, &messages, BIG, &fast()));
        }
    }
}
