//! Who asks whom for a group, and how it ends: one attempt at a time, without clock, radio or task.
//!
//! ```text
//!   asks      prepare ─▶ Ask ─────▶ (Yes) ─▶ join ─▶ At ─▶ (At) ─▶ link ─▶ up ─▶ leave
//!   answers   (Ask) ─▶ prepare ─▶ Yes ─────▶ join ─▶ At ─▶ (At) ─▶ link ─▶ up ─▶ leave
//! ```
//! Inputs are what the radio link, wpa_supplicant and the clock bring, outputs are records to say and calls to make. Every
//! stage has a time limit, whatever the other end does; what fails ends in [`Call::Leave`], which takes back what was done.

use std::collections::{BTreeMap, VecDeque};

use silbo_protocol::chance::Chance;
use silbo_protocol::ids::LinkId;

use super::record::{self, Name, Pin, Place, Reason, Record};
use crate::host_radio::Happening;

/// From a first record to the answer.
const AGREE_MS: u64 = 15_000;
/// From the answer to a group that both are in: discovery takes 10 s at its worst, a repeat as long again.
const JOIN_MS: u64 = 60_000;
/// From there to a link.
const LINK_MS: u64 = 20_000;
/// A group that carries nothing for so long is given up, where Bluetooth is there to go on with,
const IDLE_MS: u64 = 20_000;
/// and where it is not.
const IDLE_ALONE_MS: u64 = 120_000;
/// Pause before the same neighbour is asked again after a failure; doubles up to the second.
const PAUSES_MS: (u64, u64) = (30_000, 960_000);
/// Pause after a group that was of use.
const PAUSE_MS: u64 = 2_000;
/// After an attempt that failed nobody is asked, and nobody's question is taken up, for so long.
const RADIO_PAUSE_MS: u64 = 10_000;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Wi-Fi Direct works here, or does not any more.
    Works(bool),
    /// On a radio link.
    OnLink(Happening),
    /// Answer to [`Call::Prepare`]: the radio is free, or why not.
    Prepared(Result<(), Reason>),
    /// Answer to [`Call::Join`]: where we are in the group, or why there is none, in words.
    Joined(Result<Place, String>),
    /// Answer to [`Call::Link`]: the link in the group is up.
    Linked,
    /// A frame went through the group.
    Moved,
    /// The group, or the link in it, is gone; in words.
    Over(String),
    /// Answer to [`Call::Leave`]: nothing of the attempt is left.
    Left,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Say this on a radio link.
    Say {
        /// The link.
        link: LinkId,
        /// The record.
        bytes: Vec<u8>,
    },
    /// Make a call to the radio. Each is answered before the next one is made, except that a leave ends any other.
    Do(Call),
}

/// A call to the radio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// See whether it is free.
    Prepare,
    /// Make the group.
    Join(Plan),
    /// Make a link to the other end.
    Link {
        /// Where it is.
        theirs: Place,
        /// This end dials.
        dials: bool,
    },
    /// Take back whatever was done.
    Leave,
}

/// How a group is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Our name on the air.
    pub own: Name,
    /// Theirs.
    pub theirs: Name,
    /// Only the two know it.
    pub pin: Pin,
    /// This end asks for the group on the air as well, and shows the PIN; the other one waits, and enters it.
    pub asks: bool,
    /// How much this end wants to be the owner; never the same at both ends.
    pub intent: u8,
}

/// How far it is, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Nothing is under way.
    Idle,
    /// A group is being made with the node at the other end of a link.
    Forming(LinkId),
    /// It is there.
    Up(LinkId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The radio is asked whether it is free.
    Preparing,
    /// The other end is.
    Asked,
    /// The group is being made.
    Joining,
    /// We are in it; the other end has not said where it is.
    Joined,
    /// The link in it is being made.
    Linking,
    Up,
    /// Being taken back.
    Leaving,
}

struct Attempt {
    link: LinkId,
    id: Name,
    /// Our name; that of the attempt if we ask.
    own: Name,
    asks: bool,
    pin: Pin,
    intent: u8,
    their_intent: u8,
    their_name: Name,
    stage: Stage,
    /// Where the other end is.
    theirs: Option<Place>,
    until: u64,
    /// The radio link it was agreed on is gone.
    alone: bool,
    was_up: bool,
}

/// What came of attempts with one neighbour, as long as the radio link to it lasts.
#[derive(Default)]
struct Tried {
    failures: u32,
    ask_from: u64,
}

/// All of it. At most one attempt.
pub struct Upgrade {
    chance: Chance,
    intent: Box<dyn Fn() -> u8 + Send>,
    works: bool,
    attempt: Option<Attempt>,
    /// Neighbours with whom it failed.
    tried: BTreeMap<LinkId, Tried>,
    ask_from: u64,
    answer_from: u64,
    /// Why the last one ended.
    ended: Option<String>,
    outputs: VecDeque<Output>,
}

impl Upgrade {
    /// Nothing under way. `intent` says how much this machine wants to be the owner, 0 to 14.
    pub fn new(seed: [u8; 32], intent: Box<dyn Fn() -> u8 + Send>) -> Self {
        Self {
            chance: Chance::from_seed(seed),
            intent,
            works: false,
            attempt: None,
            tried: BTreeMap::new(),
            ask_from: 0,
            answer_from: 0,
            ended: None,
            outputs: VecDeque::new(),
        }
    }

    /// What is to be done next.
    pub fn next_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Upgrade::tick`] has something to do.
    pub fn next_wake(&self) -> Option<u64> {
        self.attempt.as_ref().filter(|attempt| attempt.stage != Stage::Leaving).map(|attempt| attempt.until)
    }

    /// How far it is.
    pub fn view(&self) -> View {
        match &self.attempt {
            None => View::Idle,
            Some(attempt) if attempt.stage == Stage::Leaving => View::Idle,
            Some(attempt) if attempt.stage == Stage::Up => View::Up(attempt.link),
            Some(attempt) => View::Forming(attempt.link),
        }
    }

    /// Why the last attempt ended, in words.
    pub fn ended(&self) -> Option<&str> {
        self.ended.as_deref()
    }

    /// The time is `now`.
    pub fn tick(&mut self, now: u64) {
        let Some(attempt) = &self.attempt else { return };
        if attempt.stage == Stage::Leaving || now < attempt.until {
            return;
        }
        match attempt.stage {
            Stage::Up => self.leave("there was nothing more to move", None, now),
            Stage::Preparing | Stage::Asked => self.leave("the other end does not answer", Some(Reason::Failed), now),
            Stage::Joining => self.leave("the group took too long", Some(Reason::Failed), now),
            _ => self.leave("no link came up in the group", Some(Reason::Failed), now),
        }
    }

    /// Something happened at `now`.
    pub fn handle(&mut self, input: Input, now: u64) {
        match input {
            Input::Works(works) => {
                self.works = works;
                if !works {
                    self.leave("Wi-Fi Direct does not work any more", Some(Reason::Off), now);
                }
            }
            Input::OnLink(Happening::Backlog { link }) => self.backlog(link, now),
            Input::OnLink(Happening::Record { link, vouched, bytes }) => {
                if let Some((attempt, record)) = record::read(&bytes) {
                    self.record(link, vouched, attempt, record, now);
                }
            }
            Input::OnLink(Happening::Down { link }) => self.link_down(link, now),
            Input::Prepared(free) => self.prepared(free, now),
            Input::Joined(Ok(place)) => self.joined(&place, now),
            Input::Joined(Err(why)) => {
                if self.stage() == Some(Stage::Joining) {
                    self.leave(&why, Some(Reason::Failed), now);
                }
            }
            Input::Linked => {
                if let Some(attempt) = self.at(Stage::Linking) {
                    attempt.stage = Stage::Up;
                    attempt.until = now + attempt.idle_ms();
                }
            }
            Input::Moved => {
                if let Some(attempt) = self.at(Stage::Up) {
                    attempt.was_up = true;
                    attempt.until = now + attempt.idle_ms();
                }
            }
            Input::Over(why) => {
                if let Some(Stage::Joined | Stage::Linking | Stage::Up) = self.stage() {
                    self.leave(&why, Some(Reason::Failed), now);
                }
            }
            Input::Left => {
                if self.stage() == Some(Stage::Leaving) {
                    self.attempt = None;
                }
            }
        }
    }

    fn stage(&self) -> Option<Stage> {
        self.attempt.as_ref().map(|attempt| attempt.stage)
    }

    fn at(&mut self, stage: Stage) -> Option<&mut Attempt> {
        self.attempt.as_mut().filter(|attempt| attempt.stage == stage)
    }

    fn say(&mut self, link: LinkId, id: Name, record: &Record) {
        self.outputs.push_back(Output::Say { link, bytes: record::write(id, record) });
    }

    fn call(&mut self, call: Call) {
        self.outputs.push_back(Output::Do(call));
    }

    fn backlog(&mut self, link: LinkId, now: u64) {
        let ask_from = self.tried.get(&link).map_or(0, |tried| tried.ask_from).max(self.ask_from);
        if !self.works || self.attempt.is_some() || now < ask_from {
            return;
        }
        let own = Name(self.chance.bytes());
        let pin = Pin::new(u32::from_be_bytes(self.chance.bytes()));
        self.begin(link, own, own, pin, now);
    }

    fn begin(&mut self, link: LinkId, id: Name, own: Name, pin: Pin, now: u64) {
        let attempt = Attempt {
            link,
            id,
            own,
            asks: id == own,
            pin,
            intent: (self.intent)(),
            their_intent: 0,
            their_name: id,
            stage: Stage::Preparing,
            theirs: None,
            until: now + AGREE_MS,
            alone: false,
            was_up: false,
        };
        self.attempt = Some(attempt);
        self.call(Call::Prepare);
    }

    fn record(&mut self, link: LinkId, vouched: bool, id: Name, record: Record, now: u64) {
        if let Record::Ask { pin, intent } = record {
            return self.asked(link, vouched, id, pin, intent, now);
        }
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.link == link && attempt.id == id) else {
            return;
        };
        match record {
            Record::Yes { name, intent } if attempt.stage == Stage::Asked => {
                (attempt.their_name, attempt.their_intent) = (name, intent);
                self.join(now);
            }
            Record::At(place) if attempt.theirs.is_none() => match attempt.stage {
                Stage::Joining => attempt.theirs = Some(place),
                Stage::Joined => self.link(place, now),
                _ => {}
            },
            Record::No(reason) => {
                let why = match reason {
                    Reason::Off => "the other end has no Wi-Fi Direct",
                    Reason::Busy => "the other end's radio is busy",
                    Reason::Stranger => "the other end does not know us",
                    Reason::Failed => "it did not work at the other end",
                    Reason::Later => "the other end wants a pause",
                };
                self.leave(why, None, now);
            }
            _ => {}
        }
    }

    fn asked(&mut self, link: LinkId, vouched: bool, id: Name, pin: Pin, intent: u8, now: u64) {
        let refused = match &mut self.attempt {
            _ if !vouched => Reason::Stranger,
            _ if !self.works => Reason::Off,
            None if now < self.answer_from => Reason::Later,
            None => {
                let own = Name(self.chance.bytes());
                self.begin(link, id, own, pin, now);
                if let Some(attempt) = &mut self.attempt {
                    attempt.their_intent = intent;
                }
                return;
            }
            Some(attempt) if attempt.link == link && attempt.id == id => return, // twice
            // Both asked: the lower attempt is the one that goes on.
            Some(attempt) if attempt.link == link && attempt.asks && attempt.is_open() => {
                if id < attempt.id {
                    (attempt.id, attempt.asks, attempt.pin) = (id, false, pin);
                    (attempt.their_name, attempt.their_intent) = (id, intent);
                    if attempt.stage == Stage::Asked {
                        self.agree(now);
                    }
                }
                return;
            }
            Some(_) => Reason::Busy,
        };
        self.say(link, id, &Record::No(refused));
    }

    fn prepared(&mut self, free: Result<(), Reason>, now: u64) {
        let Some(attempt) = self.at(Stage::Preparing) else { return };
        let (link, id, pin, intent) = (attempt.link, attempt.id, attempt.pin, attempt.intent);
        match free {
            Err(reason) => {
                let tell = (!attempt.asks).then_some(reason);
                let why =
                    if reason == Reason::Off { "Wi-Fi Direct does not work here" } else { "the radio is busy here" };
                self.leave(why, tell, now);
            }
            Ok(()) if attempt.asks => {
                (attempt.stage, attempt.until) = (Stage::Asked, now + AGREE_MS);
                self.say(link, id, &Record::Ask { pin, intent });
            }
            Ok(()) => self.agree(now),
        }
    }

    /// Says yes to what the other end has asked.
    fn agree(&mut self, now: u64) {
        let Some(attempt) = &self.attempt else { return };
        let (link, id, yes) = (attempt.link, attempt.id, Record::Yes { name: attempt.own, intent: attempt.intent });
        self.say(link, id, &yes);
        self.join(now);
    }

    fn join(&mut self, now: u64) {
        let Some(attempt) = &mut self.attempt else { return };
        (attempt.stage, attempt.until) = (Stage::Joining, now + JOIN_MS);
        // Of two that want it alike the lower name wants it a little more.
        let wins = attempt.intent == attempt.their_intent && attempt.own < attempt.their_name;
        let plan = Plan {
            own: attempt.own,
            theirs: attempt.their_name,
            pin: attempt.pin,
            asks: attempt.asks,
            intent: attempt.intent + u8::from(wins),
        };
        self.call(Call::Join(plan));
    }

    fn joined(&mut self, place: &Place, now: u64) {
        let Some(attempt) = self.at(Stage::Joining) else { return };
        (attempt.stage, attempt.until) = (Stage::Joined, now + LINK_MS);
        let (link, id, theirs) = (attempt.link, attempt.id, attempt.theirs.take());
        self.say(link, id, &Record::At(place.clone()));
        if let Some(theirs) = theirs {
            self.link(theirs, now);
        }
    }

    fn link(&mut self, theirs: Place, now: u64) {
        let Some(attempt) = &mut self.attempt else { return };
        (attempt.stage, attempt.until) = (Stage::Linking, now + LINK_MS);
        attempt.theirs = Some(theirs.clone());
        let dials = attempt.asks;
        self.call(Call::Link { theirs, dials });
    }

    fn link_down(&mut self, link: LinkId, now: u64) {
        self.tried.remove(&link);
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.link == link) else { return };
        attempt.alone = true;
        match attempt.stage {
            Stage::Up => attempt.until = now + attempt.idle_ms(),
            Stage::Linking | Stage::Leaving => {}
            _ => self.leave("the other end is out of reach", None, now),
        }
    }

    /// Ends the attempt, if there is one; `tell` says it to the other end.
    fn leave(&mut self, why: &str, tell: Option<Reason>, now: u64) {
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.stage != Stage::Leaving) else { return };
        let (link, id) = (attempt.link, attempt.id);
        attempt.stage = Stage::Leaving;
        if attempt.was_up {
            self.tried.remove(&link);
            self.ask_from = now + PAUSE_MS;
        } else {
            self.ask_from = now + RADIO_PAUSE_MS;
            self.answer_from = now + RADIO_PAUSE_MS;
            if !attempt.alone {
                let tried = self.tried.entry(link).or_default();
                let pause = PAUSES_MS.0.saturating_mul(1 << tried.failures.min(8)).min(PAUSES_MS.1);
                tried.failures += 1;
                tried.ask_from = now + pause;
            }
        }
        self.ended = Some(why.to_owned());
        if let Some(reason) = tell {
            self.say(link, id, &Record::No(reason));
        }
        self.call(Call::Leave);
    }
}

impl Attempt {
    fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Preparing | Stage::Asked)
    }

    fn idle_ms(&self) -> u64 {
        if self.alone { IDLE_ALONE_MS } else { IDLE_MS }
    }
}
