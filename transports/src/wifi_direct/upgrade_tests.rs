//! Two ends of an upgrade against each other, against the clock, and against an end that says anything.

use proptest::prelude::*;
use silbo_protocol::ids::{LinkId, PeerKey};

use super::record::{self, Name, Pin, Place, Reason, Record};
use super::upgrade::{Call, Input, Output, Plan, Upgrade, View};
use crate::host_radio::Happening;

const LINK: LinkId = LinkId(7);

fn backlog(link: LinkId) -> Input {
    Input::OnLink(Happening::Backlog { link })
}

fn end(seed: u8, intent: fn() -> u8) -> Upgrade {
    let mut upgrade = Upgrade::new([seed; 32], Box::new(intent));
    upgrade.handle(Input::Works(true), 0);
    upgrade
}

fn outputs(upgrade: &mut Upgrade) -> Vec<Output> {
    std::iter::from_fn(|| upgrade.next_output()).collect()
}

fn place(last: u16) -> Place {
    let address = std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last);
    Place { address, port: 40_000 + last, peer: PeerKey([&[0, 0x24, 8, 1, 0x12, 0x20][..], &[7; 32]].concat()) }
}

/// Two ends whose records reach each other and whose radios do what they are asked for.
struct Two {
    ends: [Upgrade; 2],
    plans: [Option<Plan>; 2],
    linked: [Option<(Place, bool)>; 2],
    left: [u32; 2],
    busy: [bool; 2],
    /// Records that are lost, by their kind.
    loses: Option<u8>,
}

impl Two {
    fn new(intents: [fn() -> u8; 2]) -> Self {
        let [a, b] = intents;
        let ends = [end(1, a), end(2, b)];
        Self { ends, plans: [None, None], linked: [None, None], left: [0; 2], busy: [false; 2], loses: None }
    }

    /// Until nobody has anything to do.
    fn settle(&mut self, now: u64) {
        loop {
            let mut quiet = true;
            for at in 0..2 {
                for output in outputs(&mut self.ends[at]) {
                    quiet = false;
                    self.carry_out(at, output, now);
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn carry_out(&mut self, at: usize, output: Output, now: u64) {
        let answer = match output {
            Output::Say { bytes, .. } => {
                if self.loses != bytes.first().copied() {
                    self.ends[1 - at]
                        .handle(Input::OnLink(Happening::Record { link: LINK, vouched: true, bytes }), now);
                }
                return;
            }
            Output::Do(Call::Prepare) if self.busy[at] => Input::Prepared(Err(Reason::Busy)),
            Output::Do(Call::Prepare) => Input::Prepared(Ok(())),
            Output::Do(Call::Join(plan)) => {
                self.plans[at] = Some(plan);
                Input::Joined(Ok(place(at as u16 + 1)))
            }
            Output::Do(Call::Link { theirs, dials }) => {
                self.linked[at] = Some((theirs, dials));
                Input::Linked
            }
            Output::Do(Call::Leave) => {
                self.left[at] += 1;
                Input::Left
            }
        };
        self.ends[at].handle(answer, now);
    }

    fn views(&self) -> [View; 2] {
        [self.ends[0].view(), self.ends[1].view()]
    }
}

#[test]
fn two_agree_on_one_group_and_give_it_up_when_nothing_moves() {
    let mut two = Two::new([|| 14, || 3]);
    two.ends[1].handle(backlog(LINK), 0);
    two.settle(0);
    assert_eq!(two.views(), [View::Up(LINK); 2]);
    let [Some(a), Some(b)] = &two.plans else { panic!("both have a plan") };
    assert_eq!((a.own, a.theirs, a.pin), (b.theirs, b.own, b.pin));
    assert_eq!((a.asks, b.asks, a.intent, b.intent), (false, true, 14, 3));
    assert_eq!(two.linked, [Some((place(2), false)), Some((place(1), true))]);
    two.ends[1].handle(Input::Moved, 0);
    two.ends[0].handle(Input::Moved, 15_000);
    for end in &mut two.ends {
        end.tick(20_000);
    }
    assert_eq!(two.views(), [View::Up(LINK), View::Idle], "the other end has moved nothing for so long");
    two.settle(20_000);
    assert_eq!(two.left, [0, 1]);
    two.ends[0].handle(Input::Over("the link is gone".to_owned()), 20_100);
    two.settle(20_100);
    assert_eq!(two.left, [1, 1]);
    assert_eq!(two.ends[1].ended(), Some("there was nothing more to move"));
    two.ends[1].handle(backlog(LINK), 23_000);
    two.settle(23_000);
    assert_eq!(two.views(), [View::Up(LINK); 2], "and again when it is wanted");
}

#[test]
fn a_group_that_carried_nothing_is_not_made_again_at_once() {
    let mut two = Two::new([|| 14, || 3]);
    two.ends[1].handle(backlog(LINK), 0);
    two.settle(0);
    assert_eq!(two.views(), [View::Up(LINK); 2]);
    for end in &mut two.ends {
        end.handle(Input::Over("the link is gone".to_owned()), 100);
    }
    two.settle(100);
    for (now, view) in [(29_000, View::Idle), (31_000, View::Up(LINK))] {
        two.ends[1].handle(backlog(LINK), now);
        two.settle(now);
        assert_eq!(two.views(), [view; 2], "after {now} ms");
    }
}

#[test]
fn of_two_that_ask_at_once_one_question_stays_and_equals_never_want_it_alike() {
    for when in 0..2 {
        let mut two = Two::new([|| 14, || 14]);
        two.ends[when].handle(backlog(LINK), 0);
        two.ends[1 - when].handle(backlog(LINK), 0);
        two.settle(0);
        assert_eq!(two.views(), [View::Up(LINK); 2]);
        let [Some(a), Some(b)] = &two.plans else { panic!("both have a plan") };
        assert_eq!((a.own, a.theirs, a.pin), (b.theirs, b.own, b.pin));
        assert!(a.asks != b.asks && a.intent != b.intent && a.intent.max(b.intent) == 15);
    }
}

#[test]
fn a_busy_radio_is_said_and_asked_again_after_a_pause_only() {
    let mut two = Two::new([|| 14, || 14]);
    two.busy = [false, true];
    two.ends[0].handle(backlog(LINK), 0);
    two.settle(0);
    assert_eq!((two.views(), two.left), ([View::Idle; 2], [1, 1]));
    assert_eq!(two.ends[0].ended(), Some("the other end's radio is busy"));
    assert_eq!(two.ends[1].ended(), Some("the radio is busy here"));
    two.busy = [false, false];
    two.ends[0].handle(backlog(LINK), 29_999);
    assert_eq!(outputs(&mut two.ends[0]), []);
    two.ends[0].handle(backlog(LINK), 30_000);
    two.settle(30_000);
    assert_eq!(two.views(), [View::Up(LINK); 2]);
}

#[test]
fn a_neighbour_with_whom_it_never_works_does_not_keep_others_waiting() {
    let (bad, good) = (LinkId(1), LinkId(2));
    let mut upgrade = end(1, || 14);
    let asked_at = |upgrade: &mut Upgrade, link: LinkId, now: u64| {
        upgrade.handle(backlog(link), now);
        let asked = outputs(upgrade).contains(&Output::Do(Call::Prepare));
        if asked {
            upgrade.handle(Input::Prepared(Err(Reason::Busy)), now);
            outputs(upgrade);
            upgrade.handle(Input::Left, now);
        }
        asked
    };
    let tries: Vec<u64> = (0..4_000).map(|s| s * 1_000).filter(|now| asked_at(&mut upgrade, bad, *now)).collect();
    assert_eq!(tries, [0, 30_000, 90_000, 210_000, 450_000, 930_000, 1_890_000, 2_850_000, 3_810_000]);
    assert!(!asked_at(&mut upgrade, bad, 3_900_000));
    assert!(asked_at(&mut upgrade, good, 3_900_000), "the other one has done nothing");
    assert!(!asked_at(&mut upgrade, LinkId(3), 3_909_999), "but the radio has a pause");
    upgrade.handle(Input::OnLink(Happening::Down { link: bad }), 3_909_999);
    assert!(asked_at(&mut upgrade, bad, 3_910_000), "a new link is a new beginning");
}

#[test]
fn every_stage_ends_by_itself_when_a_record_is_lost() {
    for lost in 1..=4 {
        let mut two = Two::new([|| 14, || 14]);
        two.loses = Some(lost);
        two.ends[0].handle(backlog(LINK), 0);
        two.settle(0);
        while let Some(at) =
            two.ends.iter().filter(|end| end.view() != View::Up(LINK)).filter_map(Upgrade::next_wake).min()
        {
            two.ends.iter_mut().for_each(|end| end.tick(at));
            two.settle(at);
        }
        if lost != 3 {
            assert_eq!(two.views(), [View::Idle; 2], "record {lost}");
        }
    }
}

#[test]
fn a_radio_link_that_is_lost_ends_what_is_not_up_yet_and_leaves_the_group_alone() {
    let mut early = end(1, || 14);
    early.handle(backlog(LINK), 0);
    early.handle(Input::Prepared(Ok(())), 0);
    early.handle(Input::OnLink(Happening::Down { link: LinkId(8) }), 1);
    assert_eq!(early.view(), View::Forming(LINK));
    early.handle(Input::OnLink(Happening::Down { link: LINK }), 1);
    assert!(outputs(&mut early).contains(&Output::Do(Call::Leave)));

    let mut two = Two::new([|| 14, || 14]);
    two.ends[0].handle(backlog(LINK), 0);
    two.settle(0);
    for end in &mut two.ends {
        end.handle(Input::OnLink(Happening::Down { link: LINK }), 1);
        end.tick(20_001);
        assert_eq!(end.view(), View::Up(LINK), "it is the only way now");
        end.tick(120_001);
        assert_eq!(end.view(), View::Idle);
    }
}

#[test]
fn strangers_are_refused_and_nothing_of_ours_is_on_the_air_for_them() {
    let mut upgrade = end(1, || 14);
    let ask = record::write(Name([1; 8]), &Record::Ask { pin: Pin::new(5), intent: 14 });
    for _ in 0..1_000 {
        upgrade.handle(Input::OnLink(Happening::Record { link: LINK, vouched: false, bytes: ask.clone() }), 0);
        let said = outputs(&mut upgrade);
        let no = record::write(Name([1; 8]), &Record::No(Reason::Stranger));
        assert_eq!(said, [Output::Say { link: LINK, bytes: no }]);
    }
}

#[test]
fn a_contact_that_asks_a_thousand_times_gets_one_attempt_at_a_time() {
    let mut upgrade = end(1, || 14);
    let mut prepared = 0;
    for n in 0..1_000u16 {
        let now = u64::from(n) * 10;
        let [a, b] = n.to_be_bytes();
        let ask = Record::Ask { pin: Pin::new(n.into()), intent: 14 };
        let bytes = record::write(Name([a, b, 0, 0, 0, 0, 0, 0]), &ask);
        upgrade.handle(Input::OnLink(Happening::Record { link: LINK, vouched: true, bytes }), now);
        for output in outputs(&mut upgrade) {
            match output {
                Output::Do(Call::Prepare) => {
                    prepared += 1;
                    upgrade.handle(Input::Prepared(Err(Reason::Busy)), now);
                }
                Output::Do(Call::Leave) => upgrade.handle(Input::Left, now),
                _ => {}
            }
        }
        assert!(outputs(&mut upgrade).len() <= 2);
    }
    assert_eq!(prepared, 1, "ten seconds are one pause");
}

/// Anything at all, in any order.
fn inputs() -> impl Strategy<Value = (Input, u64)> {
    let link = (0u64..3).prop_map(LinkId);
    let id = (0u8..3).prop_map(|n| Name([n; 8]));
    let record = prop_oneof![
        (any::<u32>(), 0u8..15).prop_map(|(pin, intent)| Record::Ask { pin: Pin::new(pin), intent }),
        (any::<[u8; 8]>(), 0u8..15).prop_map(|(name, intent)| Record::Yes { name: Name(name), intent }),
        Just(Record::No(Reason::Failed)),
        Just(Record::No(Reason::Later)),
        Just(Record::At(place(3))),
    ];
    let known = (id, record).prop_map(|(id, record)| record::write(id, &record));
    let bytes = prop_oneof![known, prop::collection::vec(any::<u8>(), 0..64)];
    let input = prop_oneof![
        4 => (link.clone(), any::<bool>(), bytes).prop_map(|(link, vouched, bytes)| Input::OnLink(Happening::Record { link, vouched, bytes })),
        2 => link.clone().prop_map(backlog),
        1 => link.prop_map(|link| Input::OnLink(Happening::Down { link })),
        1 => any::<bool>().prop_map(Input::Works),
        2 => any::<bool>().prop_map(|free| Input::Prepared(if free { Ok(()) } else { Err(Reason::Busy) })),
        2 => any::<bool>().prop_map(|good| Input::Joined(if good { Ok(place(1)) } else { Err("no".to_owned()) })),
        2 => Just(Input::Linked),
        1 => Just(Input::Moved),
        1 => Just(Input::Over("gone".to_owned())),
        2 => Just(Input::Left),
    ];
    (input, 0u64..20_000)
}

proptest! {
    /// Whatever comes: calls come one after the other in an order that makes sense, every attempt that began is taken back
    /// exactly once, and nothing waits without a time limit.
    #[test]
    fn calls_make_sense_whatever_the_other_end_says(inputs in prop::collection::vec(inputs(), 0..200)) {
        let mut upgrade = end(9, || 7);
        let mut now = 0;
        let mut last: Option<Call> = None;
        for (input, later) in inputs {
            now += later;
            upgrade.tick(now);
            upgrade.handle(input, now);
            for output in outputs(&mut upgrade) {
                let Output::Do(call) = output else { continue };
                let sense = matches!(
                    (&last, &call),
                    (None | Some(Call::Leave), Call::Prepare)
                        | (Some(Call::Prepare), Call::Join(_))
                        | (Some(Call::Join(_)), Call::Link { .. })
                        | (Some(Call::Prepare | Call::Join(_) | Call::Link { .. }), Call::Leave)
                );
                prop_assert!(sense, "{:?} after {:?}", call, last);
                if let Call::Link { theirs, .. } = &call {
                    prop_assert!(theirs.address.is_unicast_link_local() && theirs.port != 0);
                }
                last = Some(call);
            }
            let at_rest = matches!(last, None | Some(Call::Leave));
            prop_assert_eq!(upgrade.view() == View::Idle, at_rest);
            prop_assert_eq!(upgrade.next_wake().is_none(), at_rest);
            prop_assert!(upgrade.next_wake().is_none_or(|at| at <= now + 120_000));
        }
    }
}
