//! L2CAP channels: a road beside GATT that carries packets of the same link, larger ones, with the flow control of the kernel.
//!
//! ```text
//!   listener ──told inside the link: PSM, token──▶ dialler ──channel, token first──▶ listener ──one byte──▶ dialler
//! ```
//! From then on both ends send the link's packets over the channel; numbers and repeats go on, so nothing is lost. What is in
//! the channel is sealed as before: whoever took it over could only be silent. When it closes, the link is over.
//! Bluetooth sockets exist in the first network namespace only; elsewhere links stay on GATT.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bluer::l2cap::{PSM_LE_DYN_START, PSM_LE_MAX, SeqPacket, SeqPacketListener, Socket, SocketAddr};
use bluer::{Adapter, Address, AddressType};
use rand::Rng;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::connections::Connections;
use crate::host_radio::TAKEN_AT_ONCE;
use crate::packets::packet::{PACKET_BYTES_MAX, PACKET_BYTES_MIN};

/// The same at every node, so that it tells none from another. From the dynamic range of LE (Core Specification vol. 3
/// part A, 4.22).
const PSM: u16 = 0xd5;
const TOKEN_BYTES: usize = 16;
/// PSM u16, token.
const OFFER_BYTES: usize = 2 + TOKEN_BYTES;
/// The listener's answer to a token it knows.
const WELCOME: &[u8] = &[1];
/// Channels that were accepted and have not shown a token yet; one more is closed at once.
const UNKNOWN_MAX: usize = 8;
/// Errors in a row before the PSM is asked for again.
const ERRORS_MAX: u32 = 8;
/// Pause before a channel is asked for again whose PSM nobody listens at: the other end may be about to.
const DIAL_AGAIN: Duration = Duration::from_millis(500);
/// Each step of opening a channel.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause before the PSM is asked for again.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);
/// How often it is looked whether the kernel has opened a channel.
const LOOK: Duration = Duration::from_millis(10);
/// With a device whose channel was refused, or has ended soon, none is opened for so long.
const DISTRUST: Duration = Duration::from_secs(60);
const GOOD: Duration = Duration::from_secs(10);
/// Devices whose channels were; the one that was longest ago goes first.
const DISTRUSTED_MAX: usize = 16;

/// The right to bring the channel of one link.
type Token = [u8; TOKEN_BYTES];

/// The channels of one adapter.
#[derive(Clone)]
pub(super) struct Channels {
    own: SocketAddr,
    expected: Arc<Mutex<Vec<Expected>>>,
    /// Channels that carry packets.
    open: Connections,
    distrusted: Arc<Mutex<Distrusted>>,
}

/// Devices with which no channel is opened for a while, and since when.
type Distrusted = VecDeque<([u8; 6], Instant)>;

/// A channel that a link waits for.
struct Expected {
    token: Token,
    device: Address,
    to: oneshot::Sender<SeqPacket>,
}

impl Channels {
    /// Those of this adapter, or `None` where there are no Bluetooth sockets.
    pub(super) async fn of(adapter: &Adapter) -> Option<Self> {
        let own = match (adapter.address().await, adapter.address_type().await) {
            (Ok(address), Ok(kind)) => SocketAddr::new(address, kind, 0),
            _ => return None,
        };
        if let Err(problem) = socket(own) {
            tracing::info!(%problem, "there are no L2CAP channels here: links stay on GATT");
            return None;
        }
        Some(Self { own, expected: Arc::default(), open: Connections::default(), distrusted: Arc::default() })
    }

    /// Accepts channels until what is returned is dropped.
    pub(super) fn accept(&self) -> JoinSet<()> {
        let mut accepts = JoinSet::new();
        accepts.spawn(self.clone().listen());
        accepts
    }

    /// A channel of before that the kernel has not closed yet holds the PSM: it is asked for again.
    async fn listen(self) {
        let mut told = false;
        loop {
            let own = SocketAddr { psm: PSM, ..self.own };
            match socket(own).and_then(|socket| socket.listen(UNKNOWN_MAX as u32)) {
                Ok(listener) => self.clone().run(listener).await,
                Err(problem) if !told => {
                    tracing::info!(%problem, "L2CAP channels cannot be accepted yet");
                    told = true;
                }
                Err(_) => {}
            }
            sleep_until(Instant::now() + LISTEN_AGAIN).await;
        }
    }

    async fn run(self, listener: SeqPacketListener) {
        let mut unknown = JoinSet::new();
        let mut errors = 0;
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((channel, from)) => {
                        errors = 0;
                        if unknown.len() < UNKNOWN_MAX {
                            unknown.spawn(self.clone().greet(channel, from.addr));
                        } else {
                            tracing::debug!("one channel too many at a time");
                        }
                    }
                    // One that was gone before it was accepted is no reason to refuse the next.
                    Err(problem) if errors < ERRORS_MAX => {
                        tracing::debug!(%problem, "a channel was not accepted");
                        errors += 1;
                        sleep_until(Instant::now() + LOOK).await;
                    }
                    Err(problem) => {
                        tracing::debug!(%problem, "no channels are accepted any more");
                        return;
                    }
                },
                Some(_) = unknown.join_next() => {}
            }
        }
    }

    /// Finds the link that a channel belongs to by its first bytes.
    async fn greet(self, channel: SeqPacket, from: Address) {
        let mut first = [0; TOKEN_BYTES + 1];
        let Ok(Ok(len)) = timeout(PATIENCE, channel.recv(&mut first)).await else { return };
        let Some(to) = first.get(..len).and_then(|shown| self.take(shown, from)) else {
            tracing::debug!("a channel that no link waits for was closed");
            return;
        };
        if channel.send(WELCOME).await.is_ok() && to.send(channel).is_err() {
            tracing::trace!("the link of a channel ended meanwhile");
        }
    }

    /// A token counts once, and only from the device whose link it was told in.
    fn take(&self, shown: &[u8], from: Address) -> Option<oneshot::Sender<SeqPacket>> {
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        let at = expected.iter().position(|known| known.token == shown)?;
        let known = expected.swap_remove(at);
        (known.device == from).then_some(known.to)
    }

    /// What the other end of a link with this device is to be told, and where its channel comes to.
    pub(super) fn expect(&self, device: Address) -> (Vec<u8>, oneshot::Receiver<SeqPacket>) {
        let mut token = [0; TOKEN_BYTES];
        rand::rng().fill_bytes(&mut token);
        let (to, comes) = oneshot::channel();
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        expected.retain(|known| !known.to.is_closed());
        expected.push(Expected { token, device, to });
        ([&PSM.to_be_bytes()[..], &token].concat(), comes)
    }

    /// Opens the channel that was offered on the connection to this device.
    ///
    /// # Errors
    /// What the kernel says, `InvalidInput` for an offer that is none, `TimedOut`, and `ConnectionRefused` where the token
    /// was not taken or channels have not lasted lately.
    pub(super) async fn open(&self, device: [u8; 6], kind: AddressType, offer: &[u8]) -> io::Result<SeqPacket> {
        if self.distrusts(device) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (psm, token) = read_offer(offer).ok_or(io::ErrorKind::InvalidInput)?;
        let to = SocketAddr::new(Address(device), kind, psm);
        let opened = timeout(PATIENCE, async {
            loop {
                match self.connect(to, token).await {
                    // The kernel's word, not the answer to the token.
                    Err(problem) if problem.raw_os_error().is_some() => {
                        tracing::debug!(%problem, "a channel is asked for again");
                        sleep_until(Instant::now() + DIAL_AGAIN).await;
                    }
                    opened => return opened,
                }
            }
        });
        let opened = opened.await;
        let opened = opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        if opened.is_err() {
            self.distrust(device);
        }
        opened
    }

    async fn connect(&self, to: SocketAddr, token: Token) -> io::Result<SeqPacket> {
        let channel = socket(self.own)?.connect(to).await?;
        // It is said to be open before the other end has agreed; the kernel knows the size of packets when it has.
        while channel.send_mtu().is_err() {
            sleep_until(Instant::now() + LOOK).await;
        }
        channel.send(&token).await?;
        let mut answer = [0; 2];
        let len = channel.recv(&mut answer).await?;
        if answer.get(..len) == Some(WELCOME) { Ok(channel) } else { Err(io::ErrorKind::ConnectionRefused.into()) }
    }

    fn distrusts(&self, device: [u8; 6]) -> bool {
        let mut distrusted = self.distrusted.lock().unwrap_or_else(PoisonError::into_inner);
        distrusted.retain(|(_, since)| since.elapsed() < DISTRUST);
        distrusted.iter().any(|(known, _)| *known == device)
    }

    fn distrust(&self, device: [u8; 6]) {
        let mut distrusted = self.distrusted.lock().unwrap_or_else(PoisonError::into_inner);
        if distrusted.len() >= DISTRUSTED_MAX {
            distrusted.pop_front();
        }
        distrusted.push_back((device, Instant::now()));
    }

    /// Channels that carry packets.
    pub(super) fn open_now(&self) -> usize {
        self.open.count()
    }

    /// Moves packets over the channel until the link or the channel is over.
    pub(super) async fn carry(
        self,
        channel: SeqPacket,
        device: [u8; 6],
        incoming: mpsc::Sender<Vec<u8>>,
        mut outgoing: mpsc::Receiver<Vec<u8>>,
    ) {
        let _open = self.open.enter(device);
        let began = Instant::now();
        let out = async {
            let mut packets = Vec::with_capacity(TAKEN_AT_ONCE);
            while outgoing.recv_many(&mut packets, TAKEN_AT_ONCE).await > 0 {
                for packet in packets.drain(..) {
                    if let Err(problem) = channel.send(&packet).await {
                        return Some(problem);
                    }
                }
            }
            None
        };
        let back = async {
            let mut packet = vec![0; PACKET_BYTES_MAX];
            // Taken from the kernel only when the link has room: the kernel then holds the other end back.
            while let Ok(room) = incoming.reserve().await {
                match channel.recv(&mut packet).await {
                    Ok(0) => return Some(io::ErrorKind::ConnectionReset.into()),
                    Ok(len) => room.send(packet.get(..len).unwrap_or_default().to_vec()),
                    Err(problem) => return Some(problem),
                }
            }
            None
        };
        let ended = tokio::select! {
            ended = out => ended,
            ended = back => ended,
        };
        if let Some(problem) = ended {
            tracing::debug!(%problem, "an L2CAP channel ended");
            if began.elapsed() < GOOD {
                self.distrust(device);
            }
        }
    }
}

/// How large a packet may be on this channel; `None` where it is too small for any.
pub(super) fn packet_bytes(channel: &SeqPacket) -> Option<usize> {
    let bytes = channel.send_mtu().ok()?.min(PACKET_BYTES_MAX);
    (bytes >= PACKET_BYTES_MIN).then_some(bytes)
}

/// A socket of this adapter that takes the largest packet.
fn socket(own: SocketAddr) -> io::Result<Socket<SeqPacket>> {
    let socket = Socket::new_seq_packet()?;
    socket.bind(own)?;
    socket.set_recv_mtu(PACKET_BYTES_MAX as u16)?;
    Ok(socket)
}

/// An offer; other lengths are of later versions, and other PSMs are not for programs like this one.
fn read_offer(offer: &[u8]) -> Option<(u16, Token)> {
    let (psm, token) = offer.split_first_chunk::<2>()?;
    let psm = u16::from_be_bytes(*psm);
    (PSM_LE_DYN_START..=PSM_LE_MAX).contains(&psm).then_some((psm, token.try_into().ok()?))
}

const _: () = assert!(crate::packets::link::TOLD_BYTES_MAX >= OFFER_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    fn channels() -> Channels {
        Channels {
            own: SocketAddr::any_le(),
            expected: Arc::default(),
            open: Connections::default(),
            distrusted: Arc::default(),
        }
    }

    #[test]
    fn an_offer_is_read_as_it_was_made_and_no_other_length_is() {
        let (offer, _comes) = channels().expect(Address([1; 6]));
        let (psm, token) = read_offer(&offer).expect("an offer");
        assert_eq!((psm, &offer[2..]), (PSM, &token[..]));
        assert_eq!(read_offer(&[]), None);
        assert_eq!(read_offer(&[&[0, 0x25], &token[..]].concat()), None, "a PSM of the system");
        assert_eq!(read_offer(&offer[..OFFER_BYTES - 1]), None);
        assert_eq!(read_offer(&[&offer[..], &[0]].concat()), None);
    }

    #[test]
    fn t55_a_token_counts_once_and_only_from_the_device_it_was_told_to() {
        let channels = channels();
        let (ann, bob) = (Address([1; 6]), Address([2; 6]));
        let (offer, _comes) = channels.expect(ann);
        let (_, token) = read_offer(&offer).expect("an offer");
        let mut wrong = token;
        wrong[0] ^= 1;
        assert!(channels.take(&wrong, ann).is_none(), "a wrong token");
        assert!(channels.take(&token[..TOKEN_BYTES - 1], ann).is_none() && channels.take(&[], ann).is_none());
        assert!(channels.take(&token, ann).is_some());
        assert!(channels.take(&token, ann).is_none(), "a token twice");
        let (offer, _comes) = channels.expect(ann);
        let (_, token) = read_offer(&offer).expect("an offer");
        assert!(channels.take(&token, bob).is_none(), "a token of another device");
        assert!(channels.take(&token, ann).is_none(), "that others know counts no more");
    }

    #[test]
    fn tokens_of_links_that_are_over_are_forgotten() {
        let channels = channels();
        for _ in 0..100 {
            drop(channels.expect(Address([3; 6])));
        }
        assert_eq!(channels.expected.lock().expect("a lock").len(), 1);
    }
}
