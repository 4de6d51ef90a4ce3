//! What links reach beside a bare loop over the same calls of the same stack: `tests/radio-lab/goodput` starts the guest and
//! this program in it.
//!
//! Bare loops and links take turns over one connection of one run. The medians are compared; below [`SHARE_MIN`] it fails.

#![cfg(target_os = "linux")]

#[path = "support/person.rs"]
mod person;

use std::time::{Duration, Instant};

use bluer::gatt::CharacteristicWriter;
use bluer::gatt::local::{
    Application, ApplicationHandle, Characteristic, CharacteristicControl, CharacteristicControlEvent,
    CharacteristicNotify, CharacteristicNotifyMethod, CharacteristicWrite, CharacteristicWriteMethod, Service,
    characteristic_control,
};
use bluer::l2cap::{SeqPacket, Socket, SocketAddr};
use btleplug::api::{Central as _, Manager as _, Peripheral as _, ValueNotification, WriteType};
use btleplug::platform::{Adapter, Manager, Peripheral};
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use person::{Node, PATIENCE};
use silbo_protocol::ids::LinkId;
use silbo_transports::LinkEvent;
use silbo_transports::bluetooth::{self, Bluetooth, BluetoothSettings, BluetoothState, HubEnds};
use silbo_transports::packets::End;
use silbo_transports::packets::packet::PACKET_BYTES_MAX;
use tokio::sync::mpsc;
use tokio::time::timeout;
use uuid::Uuid;

/// The least that a link may reach of what a bare loop reaches.
const SHARE_MIN: f64 = 0.7;
const SERVICE: Uuid = Uuid::from_u128(0x0d1f_7b2e_4c55_4a10_9d3e_6b1a_52c0_0000);
/// Written without response.
const WRITTEN: Uuid = Uuid::from_u128(0x0d1f_7b2e_4c55_4a10_9d3e_6b1a_52c0_0001);
/// Notifies.
const NOTIFIES: Uuid = Uuid::from_u128(0x0d1f_7b2e_4c55_4a10_9d3e_6b1a_52c0_0002);
const FRAME_BYTES: usize = 4_000;
/// What the longest attribute value leaves where bluetoothd cannot pass on its last two bytes.
const GATT_PACKET_BYTES: usize = 510;
/// So many times as much goes over channels, which are that much faster.
const L2CAP_FASTER: usize = 4;
/// Frames that are under way at a time: enough that the link is never idle.
const FRAMES_AHEAD: usize = 8;

fn setting(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

/// The bare server on one adapter.
struct Bare {
    _session: bluer::Session,
    _application: ApplicationHandle,
    notifies: CharacteristicControl,
    written: mpsc::UnboundedReceiver<usize>,
}

async fn serve(adapter: &str) -> Bare {
    // bluetoothd asks back for what is served, and gives up when a busy machine answers late.
    for _ in 0..2 {
        if let Ok(bare) = try_serve(adapter).await {
            return bare;
        }
    }
    try_serve(adapter).await.expect("a server")
}

async fn try_serve(adapter: &str) -> bluer::Result<Bare> {
    let session = bluer::Session::new().await.expect("bluetoothd");
    let adapter = session.adapter(adapter).expect("an adapter");
    let (notifies, control_handle) = characteristic_control();
    let (writes, written) = mpsc::unbounded_channel();
    let write = move |bytes: Vec<u8>, _| {
        let told = writes.send(bytes.len());
        async move { told.map_err(|_| bluer::gatt::local::ReqError::Failed) }.boxed()
    };
    let written_to = Characteristic {
        uuid: WRITTEN,
        write: Some(CharacteristicWrite {
            write_without_response: true,
            method: CharacteristicWriteMethod::Fun(Box::new(write)),
            ..CharacteristicWrite::default()
        }),
        ..Characteristic::default()
    };
    let notifying = Characteristic {
        uuid: NOTIFIES,
        notify: Some(CharacteristicNotify {
            notify: true,
            method: CharacteristicNotifyMethod::Io,
            ..CharacteristicNotify::default()
        }),
        control_handle,
        ..Characteristic::default()
    };
    let service =
        Service { uuid: SERVICE, primary: true, characteristics: vec![written_to, notifying], ..Service::default() };
    let application = Application { services: vec![service], ..Application::default() };
    let application = adapter.serve_gatt_application(application).await?;
    Ok(Bare { _session: session, _application: application, notifies, written })
}

/// The other end of a bare loop.
struct BareCentral {
    peripheral: Peripheral,
    written: btleplug::api::Characteristic,
    notifications: BoxStream<'static, ValueNotification>,
    writer: CharacteristicWriter,
}

impl BareCentral {
    /// Over the connection there is between the two.
    async fn new(dials: &str, serves: &str, bare: &mut Bare) -> Self {
        let session = bluer::Session::new().await.expect("bluetoothd");
        let address = session.adapter(serves).expect("an adapter").address().await.expect("an address");
        let adapter = btleplug_adapter(dials).await;
        let known = adapter.peripherals().await.expect("devices");
        let at = |known: &&Peripheral| known.address().into_inner() == address.0;
        let peripheral = known.iter().find(at).expect("it was heard").clone();
        peripheral.connect().await.expect("it is connected");
        peripheral.discover_services().await.expect("services");
        let characteristics = peripheral.characteristics();
        let of = |uuid| characteristics.iter().find(|known| known.uuid == uuid).expect("the bare server").clone();
        let notifications = peripheral.notifications().await.expect("notifications");
        peripheral.subscribe(&of(NOTIFIES)).await.expect("subscribed");
        let writer = loop {
            let event = timeout(PATIENCE, bare.notifies.next()).await.expect("in time").expect("the server runs");
            if let CharacteristicControlEvent::Notify(writer) = event {
                break writer;
            }
        };
        Self { peripheral, written: of(WRITTEN), notifications, writer }
    }

    async fn write(&self, bare: &mut Bare, packet: usize, bytes: usize) -> f64 {
        let began = Instant::now();
        let count = bytes / packet;
        let sends = async {
            for _ in 0..count {
                self.peripheral.write(&self.written, &vec![7; packet], WriteType::WithoutResponse).await.expect("sent");
            }
        };
        let comes = async {
            for _ in 0..count {
                assert_eq!(timeout(PATIENCE, bare.written.recv()).await.expect("in time"), Some(packet));
            }
        };
        tokio::join!(sends, comes);
        kib_a_second(count * packet, began)
    }

    async fn notify(&mut self, packet: usize, bytes: usize) -> f64 {
        let began = Instant::now();
        let count = bytes / packet;
        let (writer, notifications) = (&self.writer, &mut self.notifications);
        let sends = async {
            for _ in 0..count {
                writer.send(&vec![7; packet]).await.expect("sent");
            }
        };
        let comes = async {
            let mut left = count;
            while left > 0 {
                let next = timeout(PATIENCE, notifications.next()).await.expect("in time").expect("connected");
                left -= usize::from(next.uuid == NOTIFIES);
            }
        };
        tokio::join!(sends, comes);
        kib_a_second(count * packet, began)
    }
}

async fn btleplug_adapter(name: &str) -> Adapter {
    let manager = Manager::new().await.expect("bluetoothd");
    for adapter in manager.adapters().await.expect("adapters") {
        if adapter.adapter_info().await.expect("its name").split(' ').next() == Some(name) {
            return adapter;
        }
    }
    panic!("no adapter {name}")
}

fn kib_a_second(bytes: usize, began: Instant) -> f64 {
    bytes as f64 / 1_024.0 / began.elapsed().as_secs_f64()
}

/// Frames over a link, as many bytes.
async fn over_link(from: &mut Node, link: LinkId, to: &mut Node, bytes: usize) -> f64 {
    let began = Instant::now();
    let count = bytes / FRAME_BYTES;
    let (mut sent, mut come) = (0, 0);
    while come < count {
        while sent < count && sent - come < FRAMES_AHEAD {
            from.send(link, vec![7; FRAME_BYTES]).await;
            sent += 1;
        }
        match to.next().await {
            LinkEvent::Frame { bytes, .. } => {
                assert_eq!(bytes.len(), FRAME_BYTES);
                come += 1;
            }
            other => panic!("the link ended: {other:?}"),
        }
    }
    kib_a_second(count * FRAME_BYTES, began)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[derive(Default)]
struct Beside {
    bare: Vec<f64>,
    link: Vec<f64>,
}

impl Beside {
    /// The median of the rounds' shares: what else the machine does meets both turns of a round.
    fn share(&mut self, what: &str) -> f64 {
        let mut shares: Vec<f64> = self.bare.iter().zip(&self.link).map(|(bare, link)| link / bare).collect();
        let (bare, link, share) = (median(&mut self.bare), median(&mut self.link), median(&mut shares));
        let (least, most) = (shares[0] * 100.0, shares[shares.len() - 1] * 100.0);
        println!(
            "{what}: bare loop {bare:.0} KiB/s, link {link:.0} KiB/s, share {:.0} % ({least:.0} to {most:.0})",
            share * 100.0
        );
        share
    }
}

/// Two nodes with a link between them, and who dialled whom.
struct Linked {
    nodes: [Node; 2],
    radios: [Bluetooth; 2],
    links: [LinkId; 2],
    dials: usize,
}

/// When nothing more has happened to a link for so long, it stays.
const SETTLED: Duration = Duration::from_secs(2);
const ADAPTERS: [&str; 2] = ["hci0", "hci1"];

impl Linked {
    async fn new(l2cap: bool) -> Self {
        let mut nodes = [Node::new(), Node::new()];
        let start = |at: usize, node: &Node| {
            let adapter = Some(ADAPTERS[at].to_owned());
            let settings = BluetoothSettings { adapter, l2cap, ..BluetoothSettings::default() };
            bluetooth::start(settings, HubEnds::of(&node.hub))
        };
        let mut radios = [start(0, &nodes[0]), start(1, &nodes[1])];
        for radio in &mut radios {
            let on = radio.snapshot.wait_for(|snapshot| snapshot.state == BluetoothState::On);
            timeout(PATIENCE, on).await.expect("in time").expect("the radio runs");
        }
        let mut links = [LinkId(0); 2];
        for (node, link) in nodes.iter_mut().zip(&mut links) {
            *link = node.up().await;
            // Both may have dialled: of two links one stays.
            while let Ok(event) = timeout(SETTLED, node.events.recv()).await {
                if let Some(LinkEvent::Up { link: next, .. }) = event {
                    *link = next;
                }
            }
        }
        let dials = usize::from(nodes[0].hub.snapshot.borrow().links[0].end == End::Listener);
        Self { nodes, radios, links, dials }
    }

    fn adapters(&self) -> (&'static str, &'static str) {
        (ADAPTERS[self.dials], ADAPTERS[1 - self.dials])
    }

    /// From the end that dialled, or to it.
    async fn frames(&mut self, from_dialler: bool, bytes: usize) -> f64 {
        let from = if from_dialler { self.dials } else { 1 - self.dials };
        let link = self.links[from];
        let [a, b] = &mut self.nodes;
        let (from, to) = if from == 0 { (a, b) } else { (b, a) };
        over_link(from, link, to, bytes).await
    }

    async fn stop(self) {
        for radio in self.radios {
            radio.running.stop().await;
        }
    }
}

fn log() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    drop(tracing_subscriber::fmt().with_env_filter(filter).try_init());
}

fn rounds_and_bytes() -> (usize, usize) {
    (setting("GOODPUT_ROUNDS", 9), setting("GOODPUT_KIB", 100) * 1_024)
}

fn assert_shares(shares: [f64; 2]) {
    assert!(shares.iter().all(|share| *share >= SHARE_MIN), "below {:.0} %: {shares:.2?}", SHARE_MIN * 100.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the radio lab: tests/radio-lab/goodput"]
async fn links_over_gatt_reach_most_of_what_a_bare_loop_reaches() {
    log();
    let (rounds, bytes) = rounds_and_bytes();
    let mut served = [serve(ADAPTERS[0]).await, serve(ADAPTERS[1]).await];
    let mut linked = Linked::new(false).await;
    let (dials, serves) = linked.adapters();
    let served = &mut served[1 - linked.dials];
    let mut central = BareCentral::new(dials, serves, served).await;
    let packet = usize::from(central.peripheral.mtu()).saturating_sub(3).min(GATT_PACKET_BYTES);
    println!("GATT, packets of {packet} B, {rounds} rounds of {} KiB each way", bytes / 1_024);
    let (mut write, mut notify) = (Beside::default(), Beside::default());
    for _ in 0..rounds {
        write.bare.push(central.write(served, packet, bytes).await);
        write.link.push(linked.frames(true, bytes).await);
        notify.bare.push(central.notify(packet, bytes).await);
        notify.link.push(linked.frames(false, bytes).await);
    }
    assert_eq!(linked.radios[0].snapshot.borrow().channels, 0);
    linked.stop().await;
    assert_shares([
        write.share("GATT, central to peripheral (write without response)"),
        notify.share("GATT, peripheral to central (notify)"),
    ]);
}

/// Records over a bare channel, as many bytes.
async fn over_channel(from: &SeqPacket, to: &SeqPacket, packet: usize, bytes: usize) -> f64 {
    let began = Instant::now();
    let count = bytes / packet;
    let sends = async {
        for _ in 0..count {
            from.send(&vec![7; packet]).await.expect("sent");
        }
    };
    let comes = async {
        let mut buffer = vec![0; packet];
        for _ in 0..count {
            assert_eq!(timeout(PATIENCE, to.recv(&mut buffer)).await.expect("in time").expect("open"), packet);
        }
    };
    tokio::join!(sends, comes);
    kib_a_second(count * packet, began)
}

/// A bare channel over the connection there is; the end that opened it first.
async fn bare_channel(dials: &str, serves: &str) -> (SeqPacket, SeqPacket) {
    let session = bluer::Session::new().await.expect("bluetoothd");
    let address = async |adapter: &str| {
        let address = session.adapter(adapter).expect("an adapter").address().await.expect("an address");
        SocketAddr::new(address, bluer::AddressType::LePublic, 0)
    };
    let socket = |own| {
        let socket = Socket::<SeqPacket>::new_seq_packet().expect("a socket");
        socket.bind(own).expect("bound");
        socket.set_recv_mtu(PACKET_BYTES_MAX as u16).expect("an MTU");
        socket
    };
    let to = SocketAddr { psm: 0x91, ..address(serves).await };
    let listener = socket(to).listen(1).expect("it listens");
    let opens = socket(address(dials).await).connect(to);
    let (out, back) = timeout(PATIENCE, async { tokio::join!(opens, listener.accept()) }).await.expect("in time");
    let (out, (back, _)) = (out.expect("a channel"), back.expect("a channel"));
    let open = async {
        while out.send_mtu().is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, open).await.expect("the kernel knows that it is open");
    (out, back)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the radio lab: tests/radio-lab/goodput"]
async fn links_over_l2cap_reach_most_of_what_a_bare_channel_reaches() {
    log();
    let (rounds, bytes) = rounds_and_bytes();
    let bytes = bytes * L2CAP_FASTER;
    let mut linked = Linked::new(true).await;
    for radio in &mut linked.radios {
        let moved = radio.snapshot.wait_for(|snapshot| snapshot.channels == 1);
        timeout(PATIENCE, moved).await.expect("in time").expect("the radio runs");
    }
    let (dials, serves) = linked.adapters();
    let (out, back) = bare_channel(dials, serves).await;
    println!("L2CAP, packets of {PACKET_BYTES_MAX} B, {rounds} rounds of {} KiB each way", bytes / 1_024);
    let (mut there, mut here) = (Beside::default(), Beside::default());
    for _ in 0..rounds {
        there.bare.push(over_channel(&out, &back, PACKET_BYTES_MAX, bytes).await);
        there.link.push(linked.frames(true, bytes).await);
        here.bare.push(over_channel(&back, &out, PACKET_BYTES_MAX, bytes).await);
        here.link.push(linked.frames(false, bytes).await);
    }
    linked.stop().await;
    assert_shares([there.share("L2CAP, central to peripheral"), here.share("L2CAP, peripheral to central")]);
}
