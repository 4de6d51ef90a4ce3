//! The task that owns everything: asks `upgrade` what to do, makes its calls one after the other, and passes frames between
//! the engine and the QUIC of the group.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use silbo_protocol::ids::LinkId;
use silbo_protocol::input::Route;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::group::{self, Made};
use super::left::{self, Left};
use super::record::{Place, Reason};
use super::upgrade::{Call, Input, Output, Upgrade, View};
use super::wpa::{Problem, Wpa};
use super::{HubEnds, WifiDirectSettings, WifiDirectSnapshot, WifiDirectState, power};
use crate::host_radio::Happening;
use crate::link::{LinkCommand, LinkEvent, LinkIds};

/// How often wpa_supplicant is looked for, or whether the radio is free,
const LOOK: Duration = Duration::from_secs(30);
/// and whether a group is still there.
const LOOK_AT_GROUP: Duration = Duration::from_secs(3);
/// Pause before a failed dial is made again.
const DIAL_AGAIN: Duration = Duration::from_secs(1);

/// What a call came to.
enum Done {
    Opened(Result<Wpa, Problem>),
    /// Who uses the radio; an error means that wpa_supplicant is gone.
    Looked(Result<Option<String>, Problem>),
    Prepared(Result<Option<String>, Problem>),
    Made(Box<Made>, Result<Place, String>),
    Left,
}

type Job = Pin<Box<dyn Future<Output = Done> + Send>>;

/// One turn of the loop.
enum Turn {
    Stop,
    Done(Done),
    Happening(Happening),
    Command(LinkCommand),
    Event(LinkEvent),
    /// Something that waited has left.
    Passed,
    Tick,
}

pub(super) struct Supervisor {
    settings: WifiDirectSettings,
    hub: HubEnds,
    events: mpsc::Sender<LinkEvent>,
    commands: mpsc::Receiver<LinkCommand>,
    snapshot: watch::Sender<WifiDirectSnapshot>,
    ids: LinkIds,
    upgrade: Upgrade,
    wpa: Option<Wpa>,
    /// Why there is no wpa_supplicant, or who uses the radio.
    why: Option<String>,
    made: Option<Made>,
    /// Calls that wait for the one before, and the one that runs.
    calls: VecDeque<Call>,
    job: Option<Job>,
    /// Ends the job early.
    give_up: CancellationToken,
    look: Instant,
    dial_at: Option<Instant>,
    /// Links the engine knows of.
    links: BTreeSet<LinkId>,
    /// An event for the engine, a command for the group: each waits for room.
    event: VecDeque<LinkEvent>,
    command: VecDeque<LinkCommand>,
    /// With whom.
    with: [u8; 6],
    groups: u32,
    began: Instant,
}

impl Supervisor {
    pub(super) fn new(
        settings: WifiDirectSettings,
        hub: HubEnds,
        events: mpsc::Sender<LinkEvent>,
        commands: mpsc::Receiver<LinkCommand>,
        snapshot: watch::Sender<WifiDirectSnapshot>,
        seed: [u8; 32],
    ) -> Self {
        let now = Instant::now();
        let conditions = settings.conditions.clone();
        let intent = Box::new(move || power::intent(conditions.borrow().battery));
        Self {
            settings,
            hub,
            events,
            commands,
            snapshot,
            ids: LinkIds::of_wifi_direct(),
            upgrade: Upgrade::new(seed, intent),
            wpa: None,
            why: None,
            made: None,
            calls: VecDeque::new(),
            job: None,
            give_up: CancellationToken::new(),
            look: now,
            dial_at: None,
            links: BTreeSet::new(),
            event: VecDeque::new(),
            command: VecDeque::new(),
            with: [0; 6],
            groups: 0,
            began: now,
        }
    }

    /// Runs until stopped, then takes back whatever there is.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            match self.turn(&stop).await {
                Turn::Stop => break,
                Turn::Done(done) => self.on_done(done),
                Turn::Happening(happening) => self.on_happening(happening),
                Turn::Command(command) => self.on_command(command),
                Turn::Event(event) => self.on_event(event),
                Turn::Passed => {}
                Turn::Tick => self.on_tick(),
            }
            self.work();
            self.show();
        }
        self.give_up.cancel();
        if let Some(job) = self.job.take()
            && let Done::Made(made, _) = job.await
        {
            self.made = Some(*made);
        }
        if let Some(made) = self.made.take() {
            made.undo(self.wpa.as_ref(), self.settings.left_path.as_ref()).await;
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn handle(&mut self, input: Input) {
        let now = self.now();
        self.upgrade.handle(input, now);
    }

    async fn turn(&mut self, stop: &CancellationToken) -> Turn {
        let wake = self.upgrade.next_wake().map(|at| self.began + Duration::from_millis(at));
        // While a job runs its end is the next turn.
        let look = self.job.is_none().then_some(self.look);
        let due = [look, wake, self.dial_at].into_iter().flatten().min().unwrap_or_else(|| Instant::now() + LOOK);
        let net = self.made.as_mut().and_then(|made| made.net.as_mut());
        let (net_commands, net_events) = match net {
            Some(net) => (Some(&net.commands), Some(&mut net.events)),
            None => (None, None),
        };
        let (holds, tells) = (!self.command.is_empty(), !self.event.is_empty());
        let job = async {
            match &mut self.job {
                Some(job) => job.await,
                None => std::future::pending().await,
            }
        };
        let room = async {
            match net_commands.filter(|_| holds) {
                Some(commands) => commands.reserve().await.ok(),
                None => std::future::pending().await,
            }
        };
        let news = async {
            match net_events.filter(|_| !tells) {
                Some(events) => events.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => Turn::Stop,
            done = job => {
                self.job = None;
                Turn::Done(done)
            }
            permit = self.events.reserve(), if tells => match (permit, self.event.pop_front()) {
                (Ok(permit), Some(event)) => {
                    permit.send(event);
                    Turn::Passed
                }
                _ => Turn::Stop, // nobody listens any more
            },
            permit = room => {
                if let (Some(permit), Some(command)) = (permit, self.command.pop_front()) {
                    permit.send(command);
                }
                Turn::Passed
            }
            happening = self.hub.beside.happenings.recv() => happening.map_or(Turn::Stop, Turn::Happening),
            command = self.commands.recv(), if !holds => command.map_or(Turn::Stop, Turn::Command),
            Some(event) = news => Turn::Event(event),
            () = sleep_until(due) => Turn::Tick,
        }
    }

    fn on_happening(&mut self, happening: Happening) {
        let (Happening::Backlog { link } | Happening::Record { link, .. } | Happening::Down { link }) = happening;
        let known =
            self.hub.links.borrow().links.iter().find(|known| known.link == link).map(|known| known.instance.rid());
        let idle = self.upgrade.view() == View::Idle;
        self.handle(Input::OnLink(happening));
        if idle && self.upgrade.view() != View::Idle {
            self.with = known.unwrap_or_default();
        }
    }

    fn on_command(&mut self, command: LinkCommand) {
        let (LinkCommand::Frame { link, .. } | LinkCommand::Close { link }) = &command else { return };
        if self.links.contains(link) {
            if matches!(command, LinkCommand::Frame { .. }) {
                self.handle(Input::Moved);
            }
            self.command.push_back(command);
        }
    }

    /// Something in the QUIC of the group. Only links and their frames are of interest, and only with whom it was agreed.
    fn on_event(&mut self, mut event: LinkEvent) {
        let Some(made) = &self.made else { return };
        match &mut event {
            LinkEvent::Up { link, peer, route, .. } => {
                if made.peer.as_ref() != Some(peer) {
                    self.command.push_back(LinkCommand::Close { link: *link });
                    return;
                }
                *route = Route::Radio; // QUIC sees the loopback and knows no better
                self.links.insert(*link);
                self.groups = self.groups.saturating_add(u32::from(matches!(self.upgrade.view(), View::Forming(_))));
                self.handle(Input::Linked);
            }
            LinkEvent::Down { link } => {
                if !self.links.remove(link) {
                    return;
                }
                if self.links.is_empty() {
                    self.handle(Input::Over("the link in the group is gone".to_owned()));
                }
            }
            LinkEvent::Frame { link, .. } if self.links.contains(link) => self.handle(Input::Moved),
            LinkEvent::DialFailed { peer } => {
                let wanted = self.links.is_empty() && made.peer.as_ref() == Some(peer);
                self.dial_at = wanted.then(|| Instant::now() + DIAL_AGAIN);
                return;
            }
            _ => return,
        }
        self.event.push_back(event);
    }

    fn on_tick(&mut self) {
        let now = Instant::now();
        let ms = self.now();
        self.upgrade.tick(ms);
        if self.dial_at.is_some_and(|at| at <= now) {
            self.dial_at = None;
            if let Some(made) = &self.made {
                made.dial();
            }
        }
        if self.look <= now && self.job.is_none() && self.calls.is_empty() {
            self.look = now + LOOK;
            self.look();
        }
    }

    /// Looks for wpa_supplicant, or at what it does.
    fn look(&mut self) {
        let Some(wpa) = self.wpa.clone() else {
            let WifiDirectSettings { interface, bus, left_path, .. } = self.settings.clone();
            self.job = Some(Box::pin(async move {
                Done::Opened(open(bus.as_deref(), interface.as_deref(), left_path.as_ref()).await)
            }));
            return;
        };
        match &self.made {
            None => self.job = Some(Box::pin(async move { Done::Looked(wpa.busy().await) })),
            Some(made) => {
                self.look = Instant::now() + LOOK_AT_GROUP;
                if made.is_cut() {
                    self.handle(Input::Over("the group is gone".to_owned()));
                } else if let Some(group) = made.group.clone() {
                    self.job = Some(Box::pin(async move {
                        Done::Looked(if wpa.is_there(&group).await { Ok(None) } else { Err(Problem::NoGroup) })
                    }));
                }
            }
        }
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Opened(Ok(wpa)) => {
                tracing::info!(interface = wpa.name, "Wi-Fi Direct can be used");
                self.wpa = Some(wpa);
                self.why = None;
                self.handle(Input::Works(true));
                self.look = Instant::now();
            }
            Done::Opened(Err(problem)) => self.lost(&problem),
            Done::Looked(Ok(busy)) => self.why = busy,
            Done::Looked(Err(Problem::NoGroup)) => self.handle(Input::Over("the group was removed".to_owned())),
            Done::Looked(Err(problem)) => self.lost(&problem),
            Done::Prepared(Ok(busy)) => {
                let free = if busy.is_none() { Ok(()) } else { Err(Reason::Busy) };
                self.why = busy;
                self.handle(Input::Prepared(free));
            }
            Done::Prepared(Err(problem)) => {
                self.handle(Input::Prepared(Err(Reason::Off)));
                self.lost(&problem);
            }
            Done::Made(made, outcome) => {
                self.made = Some(*made);
                if let Err(why) = &outcome {
                    tracing::debug!(why, "no group");
                }
                self.look = Instant::now() + LOOK_AT_GROUP;
                self.handle(Input::Joined(outcome));
            }
            Done::Left => {
                self.look = Instant::now();
                self.handle(Input::Left);
            }
        }
    }

    /// There is no wpa_supplicant any more, or none yet.
    fn lost(&mut self, problem: &Problem) {
        let why = problem.to_string();
        if self.why.as_ref() != Some(&why) {
            tracing::info!(why, "no Wi-Fi Direct");
        }
        self.why = Some(why);
        self.wpa = None;
        self.look = Instant::now() + LOOK;
        self.handle(Input::Works(false));
    }

    /// Says what is to be said, and makes the next call when the one before is done.
    fn work(&mut self) {
        while let Some(output) = self.upgrade.next_output() {
            match output {
                Output::Say { link, bytes } => {
                    if self.hub.beside.records.try_send((link, bytes)).is_err() {
                        tracing::debug!(%link, "a record found no room");
                    }
                }
                Output::Do(Call::Leave) => {
                    self.calls.clear();
                    self.calls.push_back(Call::Leave);
                    self.give_up.cancel();
                }
                Output::Do(call) => self.calls.push_back(call),
            }
        }
        if self.job.is_some() {
            return;
        }
        let Some(call) = self.calls.pop_front() else { return };
        let (wpa, left_path) = (self.wpa.clone(), self.settings.left_path.clone());
        match (call, wpa) {
            (Call::Leave, wpa) => {
                self.part();
                let made = self.made.take().unwrap_or_default();
                self.job = Some(Box::pin(async move {
                    made.undo(wpa.as_ref(), left_path.as_ref()).await;
                    Done::Left
                }));
            }
            (Call::Prepare, Some(wpa)) => {
                self.job = Some(Box::pin(async move { Done::Prepared(wpa.busy().await) }));
            }
            (Call::Join(plan), Some(wpa)) => {
                self.give_up = CancellationToken::new();
                let (stop, ids) = (self.give_up.clone(), self.ids.clone());
                self.job = Some(Box::pin(async move {
                    let (made, outcome) = group::make(&wpa, &plan, ids, left_path.as_ref(), &stop).await;
                    Done::Made(Box::new(made), outcome)
                }));
            }
            (Call::Link { theirs, dials }, Some(_)) => {
                if let Some(made) = &mut self.made {
                    made.connect(&theirs, dials);
                }
            }
            (Call::Prepare, None) => self.handle(Input::Prepared(Err(Reason::Off))),
            (Call::Join(_) | Call::Link { .. }, None) => {} // `Works(false)` has ended it
        }
    }

    /// The engine is told that the links of the group are gone.
    fn part(&mut self) {
        self.dial_at = None;
        self.command.clear();
        let gone = std::mem::take(&mut self.links).into_iter().map(|link| LinkEvent::Down { link });
        self.event.extend(gone);
    }

    fn show(&mut self) {
        let owner = self.made.as_ref().and_then(|made| made.group.as_ref()).is_some_and(|group| group.owner);
        let state = match (&self.wpa, self.upgrade.view(), &self.why) {
            (None, _, Some(why)) => WifiDirectState::Off(why.clone()),
            (None, _, None) => WifiDirectState::Starting,
            (Some(_), View::Forming(_), _) => WifiDirectState::Forming(self.with),
            (Some(_), View::Up(_), _) => WifiDirectState::Group { rid: self.with, owner },
            (Some(_), View::Idle, Some(why)) => WifiDirectState::Busy(why.clone()),
            (Some(_), View::Idle, None) => WifiDirectState::On,
        };
        let shown = WifiDirectSnapshot {
            state,
            interface: self.wpa.as_ref().map(|wpa| wpa.name.clone()),
            groups: self.groups,
            ended: self.upgrade.ended().map(str::to_owned),
        };
        self.snapshot.send_if_modified(|known| {
            let changed = *known != shown;
            if changed {
                *known = shown;
            }
            changed
        });
    }
}

/// Opens wpa_supplicant's interface, and takes back what a run that was killed has left.
pub(super) async fn open(
    bus: Option<&str>,
    interface: Option<&str>,
    left_path: Option<&PathBuf>,
) -> Result<Wpa, Problem> {
    let wpa = Wpa::open(bus, interface).await?;
    let Some(left) = Left::read(left_path) else { return Ok(wpa) };
    tracing::info!("what the last run had left of a Wi-Fi Direct group is removed");
    let put_back = if left.interface == wpa.name {
        group::tidy(&wpa, &left, None, left_path).await
    } else {
        match Wpa::open(bus, Some(&left.interface)).await {
            Ok(other) => group::tidy(&other, &left, None, left_path).await,
            Err(Problem::NoInterface(_)) => {
                left::forget(left_path); // it has gone, and all that was set on it
                true
            }
            Err(problem) => return Err(problem),
        }
    };
    if put_back { Ok(wpa) } else { Err(Problem::NotPutBack) }
}
