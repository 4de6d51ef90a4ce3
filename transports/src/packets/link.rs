//! A whole link over packets: the handshake, then frames in sealed records, each end with its own pace.
//!
//! ```text
//!   frames ─▶ records (kind u8 ‖ body, at most 2,048 B) ─▶ sealed ─▶ pieces ─▶ packets
//! ```
//! No long record is taken before the handshake is done, and memory for a frame grows only with bytes that have come.

use std::collections::VecDeque;

use silbo_protocol::chance::Chance;
use silbo_protocol::crypto::hash;
use silbo_protocol::ids::PeerKey;
use silbo_protocol::limits::FRAME_BYTES_MAX;

use super::noise::{self, FIRST_BYTES, Initiator, Keys, Refused, SECOND_BYTES, TAG_BYTES};
use super::pieces::{PieceError, Pieces};

/// Longest record before it is sealed.
pub const RECORD_BYTES_MAX: usize = 2_048;
/// A handshake that takes longer gives its place to somebody else.
pub const HANDSHAKE_MS: u64 = 5_000;
/// After so much silence the other end is asked whether it is there.
const QUIET_MS: u64 = 15_000;
/// Frames that came and were not fetched: from here on the other end has to wait.
const UNREAD_BYTES_MAX: usize = 64 * 1024;
/// Records cut ahead of the radio.
const RECORDS_AHEAD: usize = 4;
/// What a `PeerId` of an Ed25519 key begins with; radio peers have keys of the same form.
const PEER_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// Longest record that hubs tell each other.
pub const BESIDE_BYTES_MAX: usize = 256;
/// Longest record that radios tell each other.
pub const TOLD_BYTES_MAX: usize = 64;

/// Kinds of records. Unknown ones from [`KIND_IGNORED`] on are for later versions and passed over.
const KIND_HELLO: u8 = 0;
const KIND_FRAME: u8 = 1;
const KIND_FRAME_BEGINS: u8 = 2;
const KIND_FRAME_GOES_ON: u8 = 3;
const KIND_BESIDE: u8 = 0x40;
const KIND_IGNORED: u8 = 0x40;
const KIND_TOLD: u8 = 0x42;
/// Things to say that were not fetched: nothing more is taken from here on.
const NEWS_MAX: usize = 256;

/// Which end dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// We did.
    Dialler,
    /// They did.
    Listener,
}

/// Names a node towards everybody it has a radio link with, until it takes a new one; 16 random bytes. The first six
/// are on the air as the rotating id; the rest is only said inside links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instance(pub [u8; 16]);

impl Instance {
    /// What is on the air.
    pub fn rid(&self) -> [u8; 6] {
        let [a, b, c, d, e, f, ..] = self.0;
        [a, b, c, d, e, f]
    }
}

/// For whom a record is that is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressee {
    /// Whoever has the links: they agree on a faster one.
    Hub,
    /// The radio below the link: they agree on another way for the same packets.
    Radio,
}

impl Addressee {
    fn kind(self) -> u8 {
        match self {
            Self::Hub => KIND_BESIDE,
            Self::Radio => KIND_TOLD,
        }
    }

    fn takes(self, record: &[u8]) -> bool {
        let max = match self {
            Self::Hub => BESIDE_BYTES_MAX,
            Self::Radio => TOLD_BYTES_MAX,
        };
        (1..=max).contains(&record.len())
    }
}

/// What a link has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Both ends may send frames.
    Up {
        /// The other end's key: of this link only, bound to its handshake.
        peer: PeerKey,
        /// Our own.
        local: PeerKey,
        /// Who the other end says it is, to find two links between the same two.
        instance: Instance,
    },
    /// The other end has taken a new name.
    Renamed(Instance),
    /// A frame arrived.
    Frame(Vec<u8>),
    /// A record that is no frame.
    Told(Addressee, Vec<u8>),
}

impl News {
    /// Bytes that wait to be fetched.
    fn bytes(&self) -> usize {
        match self {
            Self::Frame(bytes) | Self::Told(_, bytes) => bytes.len(),
            Self::Up { .. } | Self::Renamed(_) => 0,
        }
    }
}

/// Why a link is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Below the records.
    #[error(transparent)]
    Pieces(#[from] PieceError),
    /// The handshake or a seal.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A record that makes no sense.
    #[error("a record that makes no sense")]
    Nonsense,
    /// The handshake did not end in time.
    #[error("the handshake took too long")]
    Late,
}

impl Broken {
    /// The other end is at fault: not the radio, and not the distance.
    pub fn is_violation(self) -> bool {
        !matches!(self, Self::Pieces(PieceError::Silent) | Self::Late)
    }
}

enum State {
    /// We dialled and wait for the second message.
    Waits(Initiator),
    /// They dialled and owe the first message.
    Listens,
    /// Sealed; the other end's hello is still to come.
    Sealed(Keys),
    /// Both may send.
    Up(Keys),
    /// Broken.
    Over,
}

/// One link.
pub struct PacketLink {
    end: End,
    state: State,
    pieces: Pieces,
    chance: Chance,
    own: Instance,
    began: u64,
    heard: u64,
    frames: VecDeque<Vec<u8>>,
    /// How much of the first frame is in records already.
    offset: usize,
    incoming: Option<(usize, Vec<u8>)>,
    news: VecDeque<News>,
    unread_bytes: usize,
}

impl PacketLink {
    /// A link over packets of `packet_bytes`, at time `now`.
    pub fn new(end: End, packet_bytes: usize, own: Instance, seed: [u8; 32], now: u64) -> Self {
        let mut chance = Chance::from_seed(seed);
        let first_record = if end == End::Dialler { SECOND_BYTES } else { FIRST_BYTES };
        let mut pieces = Pieces::new(packet_bytes, first_record);
        let state = match end {
            End::Dialler => {
                let (initiator, first) = noise::begin(&mut chance);
                pieces.send(first);
                State::Waits(initiator)
            }
            End::Listener => State::Listens,
        };
        Self {
            end,
            state,
            pieces,
            chance,
            own,
            began: now,
            heard: now,
            frames: VecDeque::new(),
            offset: 0,
            incoming: None,
            news: VecDeque::new(),
            unread_bytes: 0,
        }
    }

    /// Frames may flow.
    pub fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    /// Packets may have this many bytes from now on.
    pub fn set_packet_bytes(&mut self, packet_bytes: usize) {
        self.pieces.set_packet_bytes(packet_bytes);
    }

    /// Queues a frame. Whoever queues keeps count: see [`PacketLink::queued`].
    pub fn send(&mut self, frame: Vec<u8>) {
        self.frames.push_back(frame);
    }

    /// Whether [`PacketLink::tell`] is of use: up, and not many records wait. One end that takes nothing must not make the
    /// other one keep answers for it.
    pub fn has_room_beside(&self) -> bool {
        self.is_up() && self.pieces.waiting() < 2 * RECORDS_AHEAD
    }

    /// Sends a record that is no frame. Dropped where it is empty or too long, or the link is not up.
    pub fn tell(&mut self, to: Addressee, record: &[u8]) {
        if let State::Up(keys) = &mut self.state
            && to.takes(record)
        {
            self.pieces.send(keys.out.seal(&[&[to.kind()][..], record].concat()));
        }
    }

    /// Takes a new name; the other end is told.
    pub fn rename(&mut self, own: Instance) {
        self.own = own;
        if let State::Sealed(keys) | State::Up(keys) = &mut self.state {
            self.pieces.send(keys.out.seal(&[&[KIND_HELLO][..], &own.0].concat()));
        }
    }

    /// So much waits to be fetched that nothing more should be given to [`PacketLink::arrived`]: the other end goes on
    /// although it was told that there is no room.
    pub fn is_full(&self) -> bool {
        self.unread_bytes >= 2 * UNREAD_BYTES_MAX || self.news.len() >= NEWS_MAX
    }

    /// Frames and bytes that wait to be cut into records.
    pub fn queued(&self) -> (usize, usize) {
        (self.frames.len(), self.frames.iter().map(Vec::len).sum::<usize>().saturating_sub(self.offset))
    }

    /// Everything that was sent has been acknowledged.
    pub fn is_idle(&self) -> bool {
        self.frames.is_empty() && self.pieces.is_idle()
    }

    /// A packet arrived.
    ///
    /// # Errors
    /// [`Broken`]: nothing more comes of this link.
    pub fn arrived(&mut self, packet: &[u8], now: u64) -> Result<(), Broken> {
        self.pieces.arrived(packet, now).map_err(Broken::from).and_then(|()| self.read_records(now)).inspect_err(
            |_| {
                self.state = State::Over;
            },
        )?;
        self.heard = now;
        Ok(())
    }

    fn read_records(&mut self, now: u64) -> Result<(), Broken> {
        while let Some(record) = self.pieces.next_record() {
            let state = std::mem::replace(&mut self.state, State::Over);
            self.state = match state {
                State::Listens => {
                    let (keys, second) = noise::answer(&record, &mut self.chance)?;
                    self.pieces.send(second);
                    self.say_hello(keys, now)
                }
                State::Waits(initiator) => {
                    let keys = initiator.finish(&record)?;
                    self.say_hello(keys, now)
                }
                State::Sealed(mut keys) => {
                    let plain = keys.back.open(&record)?;
                    let Some((&KIND_HELLO, hello)) = plain.split_first() else { return Err(Broken::Nonsense) };
                    let instance = read_instance(hello)?;
                    let (dialler, listener) = (peer_key(&keys.hash, End::Dialler), peer_key(&keys.hash, End::Listener));
                    let (local, peer) =
                        if self.end == End::Dialler { (dialler, listener) } else { (listener, dialler) };
                    self.news.push_back(News::Up { peer, local, instance });
                    State::Up(keys)
                }
                State::Up(mut keys) => {
                    let plain = keys.back.open(&record)?;
                    self.read_plain(&plain)?;
                    State::Up(keys)
                }
                State::Over => return Ok(()),
            };
        }
        Ok(())
    }

    fn say_hello(&mut self, mut keys: Keys, now: u64) -> State {
        self.began = now;
        self.pieces.set_record_bytes_max(RECORD_BYTES_MAX + TAG_BYTES);
        self.pieces.send(keys.out.seal(&[&[KIND_HELLO][..], &self.own.0].concat()));
        State::Sealed(keys)
    }

    fn read_plain(&mut self, plain: &[u8]) -> Result<(), Broken> {
        let (&kind, body) = plain.split_first().ok_or(Broken::Nonsense)?;
        match kind {
            KIND_HELLO => self.news.push_back(News::Renamed(read_instance(body)?)),
            KIND_FRAME if self.incoming.is_none() => self.unread(News::Frame(body.to_vec())),
            KIND_FRAME_BEGINS if self.incoming.is_none() => {
                let (len, part) = body.split_at_checked(4).ok_or(Broken::Nonsense)?;
                let len = u32::from_be_bytes(len.try_into().map_err(|_| Broken::Nonsense)?);
                let len = usize::try_from(len).ok().filter(|len| *len <= FRAME_BYTES_MAX && *len > part.len());
                self.incoming = Some((len.ok_or(Broken::Nonsense)?, part.to_vec()));
            }
            KIND_FRAME_GOES_ON => {
                let (len, mut frame) = self.incoming.take().ok_or(Broken::Nonsense)?;
                frame.extend_from_slice(body);
                match frame.len().cmp(&len) {
                    std::cmp::Ordering::Less if !body.is_empty() => self.incoming = Some((len, frame)),
                    std::cmp::Ordering::Equal => self.unread(News::Frame(frame)),
                    _ => return Err(Broken::Nonsense),
                }
            }
            KIND_BESIDE if Addressee::Hub.takes(body) => self.unread(News::Told(Addressee::Hub, body.to_vec())),
            KIND_TOLD if Addressee::Radio.takes(body) => self.unread(News::Told(Addressee::Radio, body.to_vec())),
            KIND_IGNORED.. => {}
            _ => return Err(Broken::Nonsense),
        }
        Ok(())
    }

    fn unread(&mut self, news: News) {
        self.unread_bytes = self.unread_bytes.saturating_add(news.bytes());
        self.news.push_back(news);
        self.pieces.set_open(self.unread_bytes < UNREAD_BYTES_MAX);
    }

    /// The next thing this link has to say.
    pub fn next_news(&mut self) -> Option<News> {
        let news = self.news.pop_front();
        if let Some(bytes) = news.as_ref().map(News::bytes).filter(|bytes| *bytes > 0) {
            self.unread_bytes = self.unread_bytes.saturating_sub(bytes);
            self.pieces.set_open(self.unread_bytes < UNREAD_BYTES_MAX);
        }
        news
    }

    /// The next packet for the radio, if there is one now.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn next_packet(&mut self, now: u64) -> Result<Option<Vec<u8>>, Broken> {
        match &self.state {
            State::Over => return Ok(None),
            State::Up(_) if now.saturating_sub(self.heard) >= QUIET_MS => {
                // `heard` moves on with the question: the repeats of the pieces do the rest.
                self.heard = now;
                self.pieces.ask(now);
            }
            State::Up(_) => {}
            _ if now.saturating_sub(self.began) >= HANDSHAKE_MS => {
                self.state = State::Over;
                return Err(Broken::Late);
            }
            _ => {}
        }
        self.cut();
        self.pieces.next_packet(now).map_err(|error| {
            self.state = State::Over;
            error.into()
        })
    }

    /// Cuts frames into records, not far ahead of the radio.
    fn cut(&mut self) {
        let record_bytes = self.pieces.full_packets(RECORD_BYTES_MAX + TAG_BYTES) - TAG_BYTES;
        let State::Up(keys) = &mut self.state else { return };
        while self.pieces.waiting() < RECORDS_AHEAD {
            let Some(frame) = self.frames.front() else { return };
            let rest = frame.get(self.offset..).unwrap_or_default();
            let mut plain = Vec::with_capacity(record_bytes.min(rest.len() + 5));
            if self.offset > 0 {
                plain.push(KIND_FRAME_GOES_ON);
            } else if rest.len() < record_bytes {
                plain.push(KIND_FRAME);
            } else {
                plain.push(KIND_FRAME_BEGINS);
                plain.extend(u32::try_from(rest.len()).unwrap_or(u32::MAX).to_be_bytes());
            }
            let part = rest.get(..record_bytes - plain.len()).unwrap_or(rest);
            plain.extend_from_slice(part);
            let sealed = keys.out.seal(&plain);
            if part.len() == rest.len() {
                self.frames.pop_front();
                self.offset = 0;
            } else {
                self.offset += part.len();
            }
            self.pieces.send(sealed);
        }
    }

    /// When `next_packet` should be asked again even if nothing happens.
    pub fn next_wake(&self) -> Option<u64> {
        let own = match &self.state {
            State::Over => return None,
            State::Up(_) => self.heard + QUIET_MS,
            _ => self.began + HANDSHAKE_MS,
        };
        Some(self.pieces.next_wake().map_or(own, |at| at.min(own)))
    }
}

/// What a hello says; longer ones are of later versions.
fn read_instance(body: &[u8]) -> Result<Instance, Broken> {
    body.get(..16).and_then(|id| id.try_into().ok()).map(Instance).ok_or(Broken::Nonsense)
}

/// The key of one end of one link: whoever is in the middle has other ones on both sides.
fn peer_key(handshake: &[u8; 32], end: End) -> PeerKey {
    let name: &[u8] = if end == End::Dialler { b"dialler" } else { b"listener" };
    PeerKey([&PEER_PREFIX[..], &hash("silbo/1/packets/peer", &[handshake, name])].concat())
}
