//! The driver: one thread owns engine and database and is the only caller of `Engine::handle`.
//!
//! ```text
//!   inputs (up to 256) ─▶ engine ─▶ one transaction ─▶ commit ─▶ sends ─▶ replies ─▶ events
//! ```
//! What a step asks for leaves only after the commit. When the disk fails, nothing of the batch has happened: whoever
//! asked is told, the engine is opened anew on what was committed, and peers send again what they had no receipt for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand::Rng;
use silbo_protocol::Engine;
use silbo_protocol::ids::{LinkId, PeerAddress};
use silbo_protocol::input::{Input, Request, RequestId};
use silbo_protocol::step::{LiveEvent, Reply, RequestError, Send as Outgoing, Step};
use silbo_protocol::store::{StoreError, Table, Write};
use silbo_protocol::time::{Moment, Now, UnixTime};
use silbo_protocol::wire::joining::join_frames;
use silbo_transports::link::{is_radio, is_wifi_direct};
use silbo_transports::{LinkCommand, LinkEvent};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tracing::{error, warn};

use crate::shutdown::Shutdown;
use crate::storage::{Database, StorageError};

/// Requests and reads that wait for the core; one more is answered `Busy`.
const INBOX_MAX: usize = 1_024;
/// Inputs that share one transaction.
const BATCH_MAX: usize = 256;
/// A batch of so many inputs is not alone: it waits this long for more before it is committed. Each commit syncs, and
/// encrypts some fifteen pages whatever is in it; a message by itself never waits.
const GATHER_FROM: usize = 4;
const GATHER: Duration = Duration::from_micros(500);
/// Live events a slow subscriber may fall behind.
const LIVE_MAX: usize = 256;
/// Commands that wait for a busy transport; beyond it link events wait in turn.
const BACKLOG_MAX: usize = 8_192;
/// When nothing has happened for so long, the search index catches up and the radios learn what has changed.
const QUIET_MS: u64 = 200;
/// They learn it after so long at the latest.
const HELD_LATE_MS: u64 = 2_000;
/// Pause after a failed commit before timers run again.
const DISK_PAUSE_MS: u64 = 2_000;
/// How old events may get, and how many are kept.
const EVENT_AGE_MS: u64 = 90 * 86_400_000;
const EVENTS_MAX: u64 = 1_000_000;
/// The event log is pruned after so many events.
const PRUNE_EVERY: u64 = 10_000;

/// Why the core did not do something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CoreError {
    /// The engine refused.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The inbox is full.
    #[error("the node is busy")]
    Busy,
    /// The core thread is gone.
    #[error("the node is stopping")]
    Stopped,
    /// The database cannot be used.
    #[error("the database cannot be used: {0}")]
    Storage(String),
    /// There is no space left on the disk. Nothing was changed; a later try may succeed.
    #[error("the disk is full")]
    DiskFull,
}

impl From<StorageError> for CoreError {
    fn from(problem: StorageError) -> CoreError {
        match problem {
            StorageError::Full => CoreError::DiskFull,
            other => CoreError::Storage(other.to_string()),
        }
    }
}

type Answer = oneshot::Sender<Result<Reply, CoreError>>;
type Read = Box<dyn FnOnce(&mut Database, &Engine) + Send>;

/// One thing for the core thread to do.
enum Job {
    Request(Box<Request>, Answer),
    Read(Read),
}

/// The way to the core thread. Clones share it.
#[derive(Clone, Debug)]
pub struct CoreHandle {
    jobs: mpsc::Sender<Job>,
    live: broadcast::Sender<LiveEvent>,
    head: watch::Receiver<u64>,
}

impl CoreHandle {
    /// Asks the engine. Cancelling the future does not take the request back.
    ///
    /// # Errors
    /// [`CoreError`].
    pub async fn request(&self, request: Request) -> Result<Reply, CoreError> {
        let (sender, reply) = oneshot::channel();
        self.jobs.try_send(Job::Request(Box::new(request), sender)).map_err(refused)?;
        reply.await.map_err(|_| CoreError::Stopped)?
    }

    /// Runs `f` with the database, between two transactions.
    ///
    /// # Errors
    /// [`CoreError`].
    pub async fn read<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Database) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, CoreError> {
        self.read_with_engine(move |db, _| f(db)).await
    }

    /// As [`CoreHandle::read`], with what the engine knows at that moment: it is what was committed. A request would
    /// wait for the commit of a batch.
    ///
    /// # Errors
    /// [`CoreError`].
    pub async fn read_with_engine<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Database, &Engine) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, CoreError> {
        let (sender, reply) = oneshot::channel();
        let job = move |db: &mut Database, engine: &Engine| drop(sender.send(f(db, engine)));
        self.jobs.try_send(Job::Read(Box::new(job))).map_err(refused)?;
        reply.await.map_err(|_| CoreError::Stopped)?.map_err(CoreError::from)
    }

    /// News of the moment.
    pub fn live(&self) -> broadcast::Receiver<LiveEvent> {
        self.live.subscribe()
    }

    /// Number of the newest committed event.
    pub fn event_head(&self) -> watch::Receiver<u64> {
        self.head.clone()
    }
}

fn refused(error: mpsc::error::TrySendError<Job>) -> CoreError {
    match error {
        mpsc::error::TrySendError::Full(_) => CoreError::Busy,
        mpsc::error::TrySendError::Closed(_) => CoreError::Stopped,
    }
}

/// The other ends of a transport, as the core holds them.
pub struct Medium {
    /// What it noticed.
    pub events: mpsc::Receiver<LinkEvent>,
    /// What it should do.
    pub commands: mpsc::Sender<LinkCommand>,
    /// What radios should do, whose events come with the others.
    pub radio: Option<mpsc::Sender<LinkCommand>>,
    /// What Wi-Fi Direct should do, in the same way.
    pub wifi_direct: Option<mpsc::Sender<LinkCommand>>,
}

/// A running core thread.
pub struct Core {
    /// The way to it.
    pub handle: CoreHandle,
    thread: std::thread::JoinHandle<Result<(), StorageError>>,
}

impl Core {
    /// Starts the thread. It ends when `shutdown` closes, after a last commit, and closes the database.
    ///
    /// # Errors
    /// An I/O error if the thread cannot be made.
    pub fn start(engine: Opened, medium: Medium, shutdown: Shutdown) -> std::io::Result<Self> {
        let (jobs, inbox) = mpsc::channel(INBOX_MAX);
        let (live, _) = broadcast::channel(LIVE_MAX);
        let (head_out, head) = watch::channel(engine.db.event_head().unwrap_or(0));
        let handle = CoreHandle { jobs, live: live.clone(), head };
        let driver = Driver {
            db: engine.db,
            engine: engine.engine,
            links: BTreeSet::new(),
            address: None,
            waiting: BTreeMap::new(),
            next_request: 0,
            backlog: VecDeque::new(),
            commands: medium.commands,
            radio: medium.radio,
            wifi_direct: medium.wifi_direct,
            live,
            head: head_out,
            paused_until: Moment(0),
            events_since_prune: 0,
            held_since: Some(now().moment),
            first: None,
            stale: None,
            #[cfg(debug_assertions)]
            key_log: crate::key_log::KeyLog::open(),
        };
        let first = engine.first;
        let events = medium.events;
        let thread = std::thread::Builder::new().name("silbo-core".to_owned()).spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(StorageError::from)?;
            runtime.block_on(driver.run(first, inbox, events, shutdown))
        })?;
        Ok(Self { handle, thread })
    }

    /// Waits until the thread has closed the database.
    pub async fn stopped(self) {
        drop(self.handle);
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        match joined {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(problem))) => error!(%problem, "the database did not close cleanly"),
            _ => error!("the core thread ended by a panic"),
        }
    }
}

/// Database and engine, opened together, and what the engine wants first.
pub struct Opened {
    db: Database,
    engine: Engine,
    first: Step,
}

impl Opened {
    /// Opens the engine on a database.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub fn open(db: Database) -> Result<Self, StoreError> {
        let (engine, first) = Engine::open(&db, seed(), now())?;
        Ok(Self { db, engine, first })
    }

    /// Runs one request before any transport is up (making the account, turning the relay role on).
    ///
    /// # Errors
    /// [`CoreError`].
    pub fn request(&mut self, request: Request) -> Result<Reply, CoreError> {
        let input = Input::Request { id: RequestId(0), request: Box::new(request) };
        self.db.begin()?;
        let mut writes = std::mem::take(&mut self.first.writes);
        let result = self.engine.handle(input, now(), &self.db).map_err(|e| CoreError::Storage(e.to_string()));
        let done = result.and_then(|mut step| {
            writes.append(&mut step.writes);
            self.db.apply(&writes)?;
            Ok(step)
        });
        match done {
            Ok(step) => {
                self.db.commit()?;
                self.first.sends.extend(step.sends);
                let answer = step.reply.into_iter().next().map(|(_, answer)| answer);
                answer.unwrap_or(Ok(Reply::Done)).map_err(CoreError::Request)
            }
            Err(problem) => {
                self.db.rollback();
                Err(problem)
            }
        }
    }

    /// The engine, for what does not change it.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}

/// Both clocks. The monotonic one counts sleep, so that time-outs run on while a laptop is closed.
pub fn now() -> Now {
    let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let moment = u64::try_from(boot.tv_sec).unwrap_or(0) * 1_000 + u64::try_from(boot.tv_nsec).unwrap_or(0) / 1_000_000;
    let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_millis());
    let unix = u64::try_from(unix).unwrap_or(u64::MAX);
    #[cfg(debug_assertions)]
    let unix = unix.saturating_add(clock_ahead_ms());
    Now { moment: Moment(moment), unix: UnixTime(unix) }
}

/// How far the wall clock of a test's node is ahead, from `$SILBO_CLOCK_AHEAD_MS`. Debug builds only.
#[cfg(debug_assertions)]
fn clock_ahead_ms() -> u64 {
    static AHEAD: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    *AHEAD.get_or_init(|| std::env::var("SILBO_CLOCK_AHEAD_MS").ok().and_then(|ms| ms.parse().ok()).unwrap_or(0))
}

fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    rand::rng().fill_bytes(&mut seed);
    seed
}

struct Driver {
    db: Database,
    engine: Engine,
    links: BTreeSet<LinkId>,
    address: Option<PeerAddress>,
    waiting: BTreeMap<RequestId, Answer>,
    next_request: u64,
    backlog: VecDeque<LinkCommand>,
    commands: mpsc::Sender<LinkCommand>,
    radio: Option<mpsc::Sender<LinkCommand>>,
    wifi_direct: Option<mpsc::Sender<LinkCommand>>,
    live: broadcast::Sender<LiveEvent>,
    head: watch::Sender<u64>,
    paused_until: Moment,
    events_since_prune: u64,
    /// Since when the radios have not been told that what is held has changed.
    held_since: Option<Moment>,
    /// What the engine wanted when it was opened, until it is committed with the next batch.
    first: Option<Step>,
    /// Why the engine, which is ahead of the database, could not be opened anew: it may not be asked anything.
    stale: Option<StorageError>,
    #[cfg(debug_assertions)]
    key_log: crate::key_log::KeyLog,
}

/// One turn of the loop.
enum Happened {
    Stop,
    Job(Job),
    Link(LinkEvent),
    Wake,
    Flushed,
    Quiet,
}

impl Driver {
    async fn run(
        mut self,
        first: Step,
        mut inbox: mpsc::Receiver<Job>,
        mut events: mpsc::Receiver<LinkEvent>,
        shutdown: Shutdown,
    ) -> Result<(), StorageError> {
        self.first = Some(first);
        self.batch(Input::Wake, &mut inbox, &mut events);
        loop {
            let happened = self.next(&mut inbox, &mut events, &shutdown).await;
            let input = match happened {
                Happened::Stop => break,
                Happened::Flushed => continue,
                Happened::Quiet => {
                    if let Err(problem) = self.db.index_some() {
                        warn!(%problem, "the search index lags behind");
                    }
                    self.tell_held();
                    continue;
                }
                Happened::Job(Job::Read(read)) => {
                    read(&mut self.db, &self.engine);
                    continue;
                }
                Happened::Job(Job::Request(request, answer)) => self.expect(*request, answer),
                Happened::Link(event) => match self.note(event) {
                    Some(input) => input,
                    None => continue,
                },
                Happened::Wake => Input::Wake,
            };
            self.batch(input, &mut inbox, &mut events);
            if self.held_since.is_some_and(|since| since.after_ms(HELD_LATE_MS) <= now().moment) {
                self.tell_held(); // it is never quiet here
            }
        }
        for (_, answer) in std::mem::take(&mut self.waiting) {
            drop(answer.send(Err(CoreError::Stopped)));
        }
        self.db.close()
    }

    async fn next(
        &mut self,
        inbox: &mut mpsc::Receiver<Job>,
        events: &mut mpsc::Receiver<LinkEvent>,
        shutdown: &Shutdown,
    ) -> Happened {
        let wake = self.engine.next_wake().map(|at| at.max(self.paused_until).0.saturating_sub(now().moment.0));
        let quiet = (self.held_since.is_some() || self.db.waits_for_index()).then_some(QUIET_MS);
        let outlet = self.backlog.front().map(|command| self.outlet(command).clone());
        let flush = async {
            match outlet {
                None => std::future::pending().await,
                Some(outlet) => outlet.reserve_owned().await.ok(),
            }
        };
        let listen = self.backlog.len() < BACKLOG_MAX;
        tokio::select! {
            biased;
            () = shutdown.closed() => Happened::Stop,
            permit = flush => {
                // Without a permit the transport is gone, and what was for it with it.
                if let (Some(permit), Some(command)) = (permit, self.backlog.pop_front()) {
                    permit.send(command);
                }
                Happened::Flushed
            }
            Some(event) = events.recv(), if listen => Happened::Link(event),
            job = inbox.recv() => job.map_or(Happened::Stop, Happened::Job),
            () = sleep(wake) => Happened::Wake,
            () = sleep(quiet) => Happened::Quiet,
        }
    }

    fn held_changes(&mut self) {
        self.held_since.get_or_insert_with(|| now().moment);
    }

    /// Lets radios say on the air that there is something else to be had here. A radio that is busy is told later.
    fn tell_held(&mut self) {
        if self.held_since.take().is_some()
            && let Some(radio) = &self.radio
        {
            let fingerprint = self.engine.held_fingerprint();
            if let Err(mpsc::error::TrySendError::Full(_)) = radio.try_send(LinkCommand::Held { fingerprint }) {
                self.held_changes();
            }
        }
    }

    /// Where a command goes: radio links have names of their own, everything else is for the internet.
    fn outlet(&self, command: &LinkCommand) -> &mpsc::Sender<LinkCommand> {
        let (LinkCommand::Frame { link, .. } | LinkCommand::Close { link } | LinkCommand::Vouch { link }) = command
        else {
            return &self.commands;
        };
        let of_their_own = match link {
            link if is_radio(*link) => self.radio.as_ref(),
            link if is_wifi_direct(*link) => self.wifi_direct.as_ref(),
            _ => None,
        };
        of_their_own.unwrap_or(&self.commands)
    }

    fn expect(&mut self, request: Request, answer: Answer) -> Input {
        self.next_request += 1;
        let id = RequestId(self.next_request);
        self.waiting.insert(id, answer);
        Input::Request { id, request: Box::new(request) }
    }

    /// Remembers what a fresh engine would have to be told, and translates.
    fn note(&mut self, event: LinkEvent) -> Option<Input> {
        Some(match event {
            LinkEvent::Up { link, peer, local, route } => {
                self.links.insert(link);
                Input::LinkUp { link, peer, local, route }
            }
            LinkEvent::Route { link, route } => Input::LinkRoute { link, route },
            LinkEvent::Frame { link, bytes } => Input::Frame { link, bytes },
            LinkEvent::Down { link } => {
                self.links.remove(&link);
                self.held_changes(); // mail for whoever was linked waits for others now
                Input::LinkDown { link }
            }
            LinkEvent::DialFailed { peer } => Input::DialFailed { peer },
            LinkEvent::Nearby { address } => Input::Nearby { address },
            LinkEvent::OwnAddress { address } => {
                self.address = Some(address.clone());
                Input::OwnAddress { address }
            }
            LinkEvent::Record { key, value } => Input::Record { key, value },
            LinkEvent::Health(health) => {
                tracing::info!(?health, "medium");
                return None;
            }
        })
    }

    /// Handles an input and whatever waits behind it in one transaction.
    fn batch(&mut self, first: Input, inbox: &mut mpsc::Receiver<Job>, events: &mut mpsc::Receiver<LinkEvent>) {
        let mut reads = Vec::new();
        if let Some(problem) = self.stale.take() {
            self.open_anew(&problem);
        }
        let outcome = match self.stale.clone() {
            Some(problem) => Err(problem),
            None => self.transact(first, inbox, events, &mut reads),
        };
        match outcome {
            Ok(done) => self.publish(done),
            Err(problem) => self.recover(&problem),
        }
        for read in reads {
            read(&mut self.db, &self.engine);
        }
    }

    fn transact(
        &mut self,
        first: Input,
        inbox: &mut mpsc::Receiver<Job>,
        events: &mut mpsc::Receiver<LinkEvent>,
        reads: &mut Vec<Read>,
    ) -> Result<Done, StorageError> {
        self.db.begin()?;
        let mut done = Done::default();
        let opened = self.first.take();
        if let Some(step) = opened {
            done.add(step, &mut self.db)?;
            if let Some(address) = self.address.clone() {
                let input = Input::OwnAddress { address };
                done.add(self.engine.handle(input, now(), &self.db).map_err(store_failure)?, &mut self.db)?;
            }
        }
        let mut next = Some(first);
        let mut gathered = false;
        for count in 0..BATCH_MAX {
            let mut input = next.take().or_else(|| self.waiting_input(inbox, events, reads));
            if input.is_none() && count >= GATHER_FROM && !gathered {
                gathered = true;
                std::thread::sleep(GATHER); // the thread is this loop's own, and a commit blocks it as well
                input = self.waiting_input(inbox, events, reads);
            }
            let Some(input) = input else { break };
            done.add(self.engine.handle(input, now(), &self.db).map_err(store_failure)?, &mut self.db)?;
        }
        self.db.commit()?;
        Ok(done)
    }

    /// The next input that is there without waiting. Reads are set aside until the batch is over, because they must see
    /// a committed state.
    fn waiting_input(
        &mut self,
        inbox: &mut mpsc::Receiver<Job>,
        events: &mut mpsc::Receiver<LinkEvent>,
        reads: &mut Vec<Read>,
    ) -> Option<Input> {
        if self.backlog.len() < BACKLOG_MAX {
            while let Ok(event) = events.try_recv() {
                if let Some(input) = self.note(event) {
                    return Some(input);
                }
            }
        }
        loop {
            match inbox.try_recv() {
                Ok(Job::Request(request, answer)) => return Some(self.expect(*request, answer)),
                Ok(Job::Read(read)) => reads.push(read),
                Err(_) => return None,
            }
            if reads.len() >= BATCH_MAX {
                return None;
            }
        }
    }

    fn publish(&mut self, done: Done) {
        if done.held_changed {
            self.held_changes();
        }
        self.hand_out(join_frames(done.sends));
        for (id, answer) in done.replies {
            if let Some(waiting) = self.waiting.remove(&id) {
                drop(waiting.send(answer.map_err(CoreError::Request)));
            }
        }
        for event in done.live {
            drop(self.live.send(event)); // nobody listening is fine
        }
        if let Some(newest) = done.newest {
            self.head.send_replace(newest);
        }
        self.events_since_prune += done.events;
        if self.events_since_prune >= PRUNE_EVERY {
            self.events_since_prune = 0;
            if let Err(problem) = self.db.prune_events(now().unix, EVENT_AGE_MS, EVENTS_MAX) {
                warn!(%problem, "old events were not pruned");
            }
        }
    }

    /// Passes commands to the transport in order; what it cannot take yet waits.
    fn hand_out(&mut self, sends: Vec<Outgoing>) {
        for send in sends {
            #[cfg(debug_assertions)]
            if let Outgoing::Frame { bytes, .. } = &send {
                self.key_log.note(bytes);
            }
            let command = command(send);
            if !self.backlog.is_empty() {
                self.backlog.push_back(command);
                continue;
            }
            match self.outlet(&command).try_send(command) {
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
                Err(mpsc::error::TrySendError::Full(command)) => self.backlog.push_back(command),
            }
        }
    }

    /// The batch did not happen. Everybody who waits is told; a fresh engine goes on from what was committed.
    fn recover(&mut self, problem: &StorageError) {
        error!(%problem, "nothing was written; the engine is opened anew");
        self.db.rollback();
        for (_, answer) in std::mem::take(&mut self.waiting) {
            drop(answer.send(Err(problem.clone().into())));
        }
        self.paused_until = now().moment.after_ms(DISK_PAUSE_MS);
        if self.stale.is_none() {
            self.open_anew(problem);
        }
    }

    /// Opens the engine on what was committed, after an error also the files below it.
    fn open_anew(&mut self, problem: &StorageError) {
        let reopened = if *problem == StorageError::Full { Ok(()) } else { self.db.reopen() };
        match reopened.and_then(|()| Engine::open(&self.db, seed(), now()).map_err(store_failure)) {
            Ok((engine, first)) => {
                self.engine = engine;
                self.first = Some(first);
                self.close_links();
            }
            Err(problem) => {
                error!(%problem, "the database cannot be opened again");
                self.stale = Some(problem);
            }
        }
    }

    /// Closes every link: a fresh engine knows nothing of what was asked, promised or followed on them, and what came in
    /// the lost batch was never answered. Peers see the end, dial again and ask again.
    fn close_links(&mut self) {
        let links = self.links.clone();
        self.hand_out(links.into_iter().map(|link| Outgoing::Close { link }).collect());
    }
}

/// A read of the engine failed: whatever it was, the files are opened anew before they are trusted again.
fn store_failure(problem: StoreError) -> StorageError {
    StorageError::Io(problem.to_string())
}

/// What a batch came to, once it is committed.
#[derive(Default)]
struct Done {
    sends: Vec<Outgoing>,
    replies: Vec<(RequestId, Result<Reply, RequestError>)>,
    live: Vec<LiveEvent>,
    newest: Option<u64>,
    events: u64,
    /// What may be offered to others is perhaps not what it was.
    held_changed: bool,
}

impl Done {
    /// Adds what one step asked for, its writes to the open transaction.
    fn add(&mut self, step: Step, db: &mut Database) -> Result<(), StorageError> {
        let events = db.apply(&step.writes)?;
        self.held_changed |= step.writes.iter().any(changes_held);
        self.newest = events.last().map(|(seq, _)| *seq).or(self.newest);
        self.events += events.len() as u64;
        self.sends.extend(step.sends);
        self.replies.extend(step.reply);
        self.live.extend(step.events);
        Ok(())
    }
}

/// Whether a write is about what may be offered to others: mail that is carried, receipts, own mail.
fn changes_held(write: &Write) -> bool {
    let (Write::Put { table, .. } | Write::Delete { table, .. }) = write else { return false };
    matches!(table, Table::Carried | Table::Vaccine | Table::Outbox | Table::GroupLetter)
}

fn command(send: Outgoing) -> LinkCommand {
    match send {
        Outgoing::Frame { link, bytes } => LinkCommand::Frame { link, bytes },
        Outgoing::Dial { address, relay } => LinkCommand::Dial { address, relay },
        Outgoing::Close { link } => LinkCommand::Close { link },
        Outgoing::Vouch { link } => LinkCommand::Vouch { link },
        Outgoing::ReserveCircuit { address } => LinkCommand::ReserveCircuit { address },
        Outgoing::PublishRecord { key, value } => LinkCommand::PublishRecord { key, value },
        Outgoing::FindRecord { key } => LinkCommand::FindRecord { key },
    }
}

async fn sleep(ms: Option<u64>) {
    match ms {
        Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
        None => std::future::pending().await,
    }
}
