//! The attacker of `tests/radio-lab/hostile`: does on two adapters of its own, for a while, what a node must withstand. It
//! passes when it could do all of it; what that did to others, the script finds out.

#![cfg(target_os = "linux")]

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bluer::gatt::WriteOp;
use bluer::gatt::remote::{Characteristic, CharacteristicWriteRequest};
use bluer::l2cap::{SeqPacket, Socket, SocketAddr};
use bluer::{Adapter, AdapterEvent, Address, AddressType, Device};
use futures::StreamExt as _;
use rand::{Rng as _, RngExt as _};
use silbo_protocol::chance::Chance;
use silbo_transports::bluetooth::SERVICE;
use silbo_transports::packets::link::RECORD_BYTES_MAX;
use silbo_transports::packets::noise::{self, TAG_BYTES};
use silbo_transports::packets::pieces::Pieces;
use tokio::time::{sleep, timeout};

/// The lab's air.
const AIR: &str = "/run/ble-air.sock";
/// Where channels are accepted.
const PSM: u16 = 0xd5;
/// Each step of an attack; those who refuse do not hold it up.
const STEP: Duration = Duration::from_secs(4);
/// How long somebody stays who has what it came for.
const STAYS: Duration = Duration::from_secs(8);

#[derive(Default)]
struct Done {
    adverts: AtomicU64,
    connections: AtomicU64,
    claims: AtomicU64,
    half_open: AtomicU64,
    writes: AtomicU64,
    sealed: AtomicU64,
    channels: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn until() -> Instant {
    let seconds = std::env::var("ATTACK_S").ok().and_then(|value| value.parse().ok()).unwrap_or(40);
    Instant::now() + Duration::from_secs(seconds)
}

fn noise_bytes(longest: usize) -> Vec<u8> {
    let mut bytes = vec![0; rand::rng().random_range(0..=longest)];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

/// As the air's commands want it.
fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "-".to_owned();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A word with the air; its answer.
fn air(words: &str) -> String {
    let mut socket = UnixStream::connect(AIR).expect("the lab's air");
    writeln!(socket, "{words}").expect("a word");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    answer
}

/// Data of the honest nodes' advertisements, as they were heard.
fn captured() -> Vec<Vec<u8>> {
    let path = "/tmp/captured";
    air(&format!("capture {path}"));
    std::thread::sleep(Duration::from_secs(2));
    air("capture off");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let heard = text.lines().filter_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let data = words.get(5).filter(|_| words.get(1) == Some(&"ADV"))?;
        (0..data.len() / 2).map(|at| u8::from_str_radix(data.get(2 * at..2 * at + 2)?, 16).ok()).collect()
    });
    heard.collect()
}

/// Advertisements from addresses nobody has: of every length, of other versions, random, and heard before.
fn adverts(done: &Done, end: Instant) {
    let heard = captured();
    let uuid: Vec<u8> = SERVICE.as_u128().to_le_bytes().to_vec();
    while Instant::now() < end {
        let mut address = [0; 6];
        rand::rng().fill_bytes(&mut address);
        let data = match rand::rng().random_range(0..4) {
            0 if !heard.is_empty() => heard[rand::rng().random_range(0..heard.len())].clone(),
            1 => noise_bytes(31),
            kind => {
                // Some as nodes of this version have them, with an id nobody has.
                let mut payload = if kind == 2 { noise_bytes(10) } else { vec![0x20; 10] };
                if kind == 3 {
                    rand::rng().fill_bytes(&mut payload[1..]);
                }
                let len = u8::try_from(payload.len() + 17).unwrap_or(0);
                [&[2, 1, 6, len, 0x21][..], &uuid, &payload].concat()
            }
        };
        let answer = air(&format!("advert 2 {} {}", hex(&address), hex(&data)));
        assert!(answer.starts_with("ok"), "{answer}");
        count(&done.adverts);
        std::thread::sleep(Duration::from_millis(2));
    }
}

const WITHOUT_RESPONSE: WriteOp = WriteOp::Command;

async fn write(characteristic: &Characteristic, bytes: &[u8], how: WriteOp) -> bool {
    let request = CharacteristicWriteRequest { op_type: how, ..CharacteristicWriteRequest::default() };
    matches!(timeout(STEP, characteristic.write_ext(bytes, &request)).await, Ok(Ok(())))
}

/// The slots of a device, connected to.
async fn slots(device: &Device) -> Vec<Characteristic> {
    let mut slots = Vec::new();
    let Ok(Ok(())) = timeout(STEP, device.connect()).await else { return slots };
    let Ok(Ok(services)) = timeout(STEP, device.services()).await else { return slots };
    for service in services {
        let ours = service.uuid().await.is_ok_and(|uuid| uuid.as_u128() >> 16 == SERVICE.as_u128() >> 16);
        if ours && let Ok(characteristics) = service.characteristics().await {
            slots.extend(characteristics);
        }
    }
    slots
}

/// Packets that a link must not take, at both ends of what is allowed and beyond.
fn garbage() -> Vec<u8> {
    match rand::rng().random_range(0..6) {
        0 => vec![0xff; 510],
        1 => Vec::new(),
        2 => [&[0x01, rand::rng().random_range(0..32)][..], &noise_bytes(500)].concat(),
        3 => [&[0x03, 0, 0x7f, 0xff, 0xff, 0xff][..], &noise_bytes(500)].concat(),
        4 => vec![0x0c, 0, 32, 0xff, 0xff, 0xff, 0xff],
        _ => noise_bytes(510),
    }
}

/// A whole handshake, then sealed records whose length fields lie.
async fn sealed(slot: &Characteristic, done: &Done) -> Option<()> {
    let mut notifications = Box::pin(timeout(STEP, slot.notify()).await.ok()?.ok()?);
    let mut seed = [0; 32];
    rand::rng().fill_bytes(&mut seed);
    let (initiator, first) = noise::begin(&mut Chance::from_seed(seed));
    let mut pieces = Pieces::new(180, RECORD_BYTES_MAX + TAG_BYTES);
    pieces.send(first);
    let mut initiator = Some(initiator);
    let mut now = 0;
    loop {
        now += 1;
        while let Ok(Some(packet)) = pieces.next_packet(now) {
            write(slot, &packet, WITHOUT_RESPONSE).await;
        }
        let packet = timeout(STEP, notifications.next()).await.ok()??;
        pieces.arrived(&packet, now).ok()?;
        let Some(record) = pieces.next_record() else { continue };
        let Some(waits) = initiator.take() else { continue };
        let mut keys = waits.finish(&record).ok()?;
        pieces.send(keys.out.seal(&[&[0][..], &seed[..16]].concat()));
        let lies: [u32; 3] = [0x8000_0000, u32::MAX, 262_144];
        let len = lies[rand::rng().random_range(0..lies.len())];
        pieces.send(keys.out.seal(&[&[2][..], &len.to_be_bytes(), b"part"].concat()));
        for _ in 0..8 {
            pieces.send(keys.out.seal(&[&[3][..], &vec![9; 2_000]].concat()));
        }
        count(&done.sealed);
    }
}

/// One visit to a node; each does something else.
async fn visit(device: &Device, done: &Done, turn: usize) {
    let slots = slots(device).await;
    if slots.is_empty() {
        return;
    }
    count(&done.connections);
    match turn % 5 {
        // All slots, and then nothing, as long as it lasts.
        0 => {
            for slot in &slots {
                if write(slot, &[0], WriteOp::Request).await {
                    count(&done.claims);
                }
            }
            sleep(STAYS).await;
        }
        // Somebody else's slots, with all that can be written.
        1 => {
            for _ in 0..200 {
                for slot in &slots {
                    if write(slot, &garbage(), WITHOUT_RESPONSE).await {
                        count(&done.writes);
                    }
                }
            }
        }
        // A slot of its own, and garbage in it.
        2 => {
            for slot in &slots {
                if write(slot, &[0], WriteOp::Request).await && timeout(STEP, slot.notify()).await.is_ok() {
                    for _ in 0..20 {
                        write(slot, &garbage(), WITHOUT_RESPONSE).await;
                        count(&done.writes);
                    }
                }
            }
        }
        3 => {
            for slot in &slots {
                if write(slot, &[0], WriteOp::Request).await {
                    drop(timeout(STEP, sealed(slot, done)).await);
                    break;
                }
            }
        }
        // Handshakes that nobody goes on with, one after the other in the same slot.
        _ => {
            for turn in 0..40 {
                let slot = &slots[turn % slots.len()];
                if write(slot, &[0], WriteOp::Request).await && timeout(STEP, slot.notify()).await.is_ok() {
                    let first = [&[3, 0][..], &noise_bytes(40)].concat();
                    write(slot, &first, WITHOUT_RESPONSE).await;
                    count(&done.half_open);
                }
            }
        }
    }
}

/// Channels with tokens nobody has given.
async fn channels(own: Address, victim: Address, done: &Done) {
    let open = async {
        let socket = Socket::<SeqPacket>::new_seq_packet()?;
        socket.bind(SocketAddr::new(own, AddressType::LePublic, 0))?;
        let channel = socket.connect(SocketAddr::new(victim, AddressType::LePublic, PSM)).await?;
        while channel.send_mtu().is_err() {
            sleep(Duration::from_millis(5)).await;
        }
        channel.send(&noise_bytes(16)).await?;
        std::io::Result::Ok(channel)
    };
    if let Ok(Ok(_channel)) = timeout(STEP, open).await {
        count(&done.channels);
    }
}

/// Scans until somebody is heard.
async fn heard(adapter: &Adapter, whom: Address) {
    let Ok(found) = adapter.discover_devices().await else { return };
    let mut found = Box::pin(found);
    while let Some(event) = found.next().await {
        if matches!(event, AdapterEvent::DeviceAdded(device) if device == whom) {
            return;
        }
    }
}

async fn attack(adapter: &Adapter, victims: &[Address], done: &Done, mut turn: usize, end: Instant) {
    let own = adapter.address().await.expect("an address");
    while Instant::now() < end {
        for victim in victims {
            // The kernel connects to whom it hears, and while somebody scans it hears everybody once.
            if timeout(STEP, heard(adapter, *victim)).await.is_err() {
                continue;
            }
            let Ok(device) = adapter.device(*victim) else { continue };
            let left = end.saturating_duration_since(Instant::now());
            drop(timeout(left, visit(&device, done, turn)).await);
            turn += 1;
            if device.is_connected().await.unwrap_or(false) {
                for _ in 0..4 {
                    channels(own, *victim, done).await;
                }
                drop(timeout(STEP, device.disconnect()).await);
            }
        }
    }
    for victim in victims {
        if let Ok(device) = adapter.device(*victim) {
            drop(timeout(STEP, device.disconnect()).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the attacker of tests/radio-lab/hostile"]
async fn t55_t56_t57_t58_attacks_two_nodes() {
    let end = until();
    let session = bluer::Session::new().await.expect("bluetoothd");
    let mut victims = Vec::new();
    for name in ["hci0", "hci1"] {
        victims.push(session.adapter(name).expect("an adapter").address().await.expect("an address"));
    }
    let adapters = [session.adapter("hci2").expect("an adapter"), session.adapter("hci3").expect("an adapter")];
    let done = std::sync::Arc::new(Done::default());
    let on_air = tokio::task::spawn_blocking({
        let done = done.clone();
        move || adverts(&done, end)
    });
    let [one, two] = &adapters;
    let backwards: Vec<Address> = victims.iter().rev().copied().collect();
    tokio::join!(attack(one, &victims, &done, 0, end), attack(two, &backwards, &done, 3, end));
    on_air.await.expect("the advertisements were on the air");
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "attacked with {} advertisements, {} connections, {} slots claimed and left alone, {} handshakes left half open, {} writes of garbage, {} sealed lies, {} channels with wrong tokens",
        of(&done.adverts),
        of(&done.connections),
        of(&done.claims),
        of(&done.half_open),
        of(&done.writes),
        of(&done.sealed),
        of(&done.channels)
    );
    assert!(of(&done.adverts) > 0 && of(&done.connections) > 0, "the attack was none");
}
