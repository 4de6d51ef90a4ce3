//! Bluetooth LE on the real bluetoothd, in the radio lab: `tests/radio-lab/ble` starts the guest and this program in it.

#![cfg(target_os = "linux")]

#[path = "support/person.rs"]
mod person;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bluer::AddressType;
use bluer::l2cap::{SeqPacket, Socket, SocketAddr};
use futures::StreamExt as _;
use person::{PATIENCE, Person, text};
use silbo_transports::bluetooth::advert::Advert;
use silbo_transports::bluetooth::{self, Bluetooth, BluetoothSettings, BluetoothState, Cause, HubEnds, Off, SERVICE};
use silbo_transports::packets::End;
use tokio::time::timeout;

/// Where channels are accepted.
const PSM: u16 = 0xd5;
const MESSAGES: usize = 100;

fn radio(person: &Person, adapter: &str, rotation: Duration) -> Bluetooth {
    let settings = BluetoothSettings { adapter: Some(adapter.to_owned()), rotation, ..BluetoothSettings::default() };
    bluetooth::start(settings, HubEnds::of(&person.node.hub))
}

const QUARTER: Duration = Duration::from_secs(900);

async fn on(radio: &mut Bluetooth) {
    let on = radio.snapshot.wait_for(|snapshot| snapshot.state == BluetoothState::On);
    timeout(PATIENCE, on).await.expect("in time").expect("the radio runs");
}

/// `RUST_LOG` says what is printed.
fn log() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    drop(tracing_subscriber::fmt().with_env_filter(filter).try_init());
}

async fn power(adapter: &str, on: bool) {
    let session = bluer::Session::new().await.expect("bluetoothd");
    session.adapter(adapter).expect("an adapter").set_powered(on).await.expect("a switch");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the radio lab: tests/radio-lab/ble"]
async fn two_meet_by_qr_text_and_a_hundred_messages_each_way_survive_a_power_cycle() {
    log();
    let (mut ann, mut bob) = (Person::new("Ann", 1).await, Person::new("Bob", 2).await);
    let qr = ann.invite().await;
    let to_ann = bob.follow(qr).await;
    let began = Instant::now();
    let (mut a, mut b) = (radio(&ann, "hci0", QUARTER), radio(&bob, "hci1", QUARTER));
    on(&mut a).await;
    on(&mut b).await;
    println!("both radios on after {:?}", began.elapsed());
    let (mut linked, mut first) = (None, None);
    let (mut of_bob, mut of_ann, mut cycled) = (0, 0, false);
    let all = async {
        loop {
            if linked.is_none() && !bob.node.hub.snapshot.borrow().links.is_empty() {
                linked = Some(began.elapsed());
            }
            if first.is_none() && !ann.received().is_empty() {
                first = Some(began.elapsed());
            }
            if bob.accepted() && of_bob < MESSAGES && of_bob <= ann.received().len() + 16 {
                bob.ask(text(to_ann, format!("b{of_bob}"))).await;
                of_bob += 1;
            }
            if !ann.received().is_empty() && of_ann < MESSAGES && of_ann <= bob.received().len() + 16 {
                let to_bob = ann.contact().await;
                ann.ask(text(to_bob, format!("a{of_ann}"))).await;
                of_ann += 1;
            }
            if !cycled && ann.received().len() >= MESSAGES / 2 {
                cycled = true;
                power("hci1", false).await;
                power("hci1", true).await;
            }
            if ann.delivered() == MESSAGES && bob.delivered() == MESSAGES {
                return;
            }
            tokio::select! {
                () = ann.turn() => {}
                () = bob.turn() => {}
            }
        }
    };
    let in_time = timeout(Duration::from_secs(180), all).await.is_ok();
    println!("link after {linked:?}, first message after {first:?}, all after {:?}", began.elapsed());
    println!(
        "delivered: {} of Ann, {} of Bob; {:?}",
        ann.delivered(),
        bob.delivered(),
        *ann.node.hub.snapshot.borrow()
    );
    assert!(in_time, "everything arrives; {:?} {:?}", *a.snapshot.borrow(), *b.snapshot.borrow());
    for (person, letter) in [(&ann, 'b'), (&bob, 'a')] {
        let mut texts = person.received();
        texts.sort();
        let mut expected: Vec<String> = (0..MESSAGES).map(|number| format!("{letter}{number}")).collect();
        expected.sort();
        assert_eq!(texts, expected, "each once");
    }
    a.running.stop().await;
    b.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the radio lab: tests/radio-lab/ble"]
async fn a_rotating_id_changes_on_the_air_and_the_link_stays() {
    log();
    let (mut ann, mut bob) = (Person::new("Ann", 3).await, Person::new("Bob", 4).await);
    let (a, b) = (radio(&ann, "hci0", Duration::from_secs(4)), radio(&bob, "hci1", QUARTER));
    ann.node.hand_over(&mut bob.node, b"a link").await;
    let mut link = None;
    let heard = ids_of("hci0", "hci2", 3, |count| {
        // By then, of two links that came up at once, one is gone.
        if count == 2 && link.is_none() {
            link = ann.node.hub.snapshot.borrow().links.first().map(|known| known.link);
        }
    });
    let heard = timeout(PATIENCE, heard).await.expect("three ids are heard");
    assert_eq!(heard.len(), 3, "{heard:?}");
    println!("a stranger heard {heard:x?}");
    ann.node.hand_over(&mut bob.node, b"the same link").await;
    assert_eq!(Some(ann.node.hub.snapshot.borrow().links[0].link), link, "no other one was needed");
    assert_eq!(bob.node.hub.snapshot.borrow().links.len(), 1);
    a.running.stop().await;
    b.running.stop().await;
}

/// `ble-air ctl` of the lab.
fn air(words: &[&str]) {
    let done = std::process::Command::new("ble-air").arg("ctl").args(words).output().expect("the lab's air");
    assert!(done.status.success(), "{done:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the radio lab: tests/radio-lab/ble"]
async fn a_link_that_is_cut_is_back_at_once_each_time() {
    log();
    let (mut ann, mut bob) = (Person::new("Ann", 6).await, Person::new("Bob", 7).await);
    let (a, b) = (radio(&ann, "hci0", QUARTER), radio(&bob, "hci1", QUARTER));
    let mut took = Vec::new();
    for cut in 0..CUTS {
        // A link that has lasted was a good one, and is dialled again without a long pause.
        let up = Instant::now();
        while up.elapsed() < LASTED {
            ann.node.hand_over(&mut bob.node, &[cut; 180]).await;
        }
        let before = Instant::now();
        air(&["drop", "0-1"]);
        ann.node.hand_over(&mut bob.node, &[cut]).await;
        took.push(before.elapsed());
    }
    println!("back after {took:?}");
    assert!(took.iter().all(|took| *took < BACK), "no handshake ran into its time limit: {took:?}");
    a.running.stop().await;
    b.running.stop().await;
}

/// How often a link is cut, how long it lasts before, and when it is back at the latest: the pause before a dial, the dial, and
/// not the five seconds of a handshake that nobody answers.
const CUTS: u8 = 6;
const LASTED: Duration = Duration::from_secs(21);
const BACK: Duration = Duration::from_secs(8);

/// What a stranger at one adapter hears on the air from another, until so many ids have been heard; `each` is told
/// how many it has been each time.
async fn ids_of(speaker: &str, listener: &str, count: usize, mut each: impl FnMut(usize)) -> BTreeSet<[u8; 6]> {
    let session = bluer::Session::new().await.expect("bluetoothd");
    let address = session.adapter(speaker).expect("an adapter").address().await.expect("an address");
    let adapter = session.adapter(listener).expect("an adapter");
    let mut events = Box::pin(adapter.discover_devices_with_changes().await.expect("a scan"));
    let mut heard = BTreeSet::new();
    while heard.len() < count {
        events.next().await.expect("the scan goes on");
        let device = adapter.device(address).expect("a device");
        let data = device.service_data().await.ok().flatten().unwrap_or_default();
        heard.extend(data.get(&SERVICE).and_then(|bytes| Advert::read(bytes)).map(|advert| advert.rid));
        each(heard.len());
    }
    heard
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the radio lab: tests/radio-lab/ble"]
async fn t55_a_link_moves_to_l2cap_and_strangers_cannot_take_its_channel() {
    log();
    let (mut ann, mut bob) = (Person::new("Ann", 8).await, Person::new("Bob", 9).await);
    let (mut a, b) = (radio(&ann, "hci0", QUARTER), radio(&bob, "hci1", QUARTER));
    ann.node.hand_over(&mut bob.node, b"a link").await;
    let moved = a.snapshot.wait_for(|snapshot| snapshot.channels == 1);
    timeout(PATIENCE, moved).await.expect("in time").expect("the radio runs");
    let session = bluer::Session::new().await.expect("bluetoothd");
    let address = async |name: &str| session.adapter(name).expect("an adapter").address().await.expect("an address");
    let listens = if ann.node.hub.snapshot.borrow().links[0].end == End::Listener { "hci0" } else { "hci1" };
    let own = SocketAddr::new(address("hci2").await, AddressType::LePublic, 0);
    let to = SocketAddr::new(address(listens).await, AddressType::LePublic, PSM);
    for first in [vec![0; 16], vec![7; 17], vec![1; 2_000]] {
        let socket = Socket::<SeqPacket>::new_seq_packet().expect("a socket");
        socket.bind(own).expect("bound");
        let channel = timeout(PATIENCE, socket.connect(to)).await.expect("in time").expect("a connection");
        let opened = async {
            while channel.send_mtu().is_err() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, opened).await.expect("it opens");
        channel.send(&first).await.expect("sent");
        let mut answer = [0; 8];
        let answered = timeout(PATIENCE, channel.recv(&mut answer)).await.expect("closed in time");
        assert!(!matches!(answered, Ok(1..)), "a stranger is welcome: {answer:?}");
    }
    ann.node.hand_over(&mut bob.node, &[5; 100_000]).await;
    assert_eq!((bob.node.hub.snapshot.borrow().links.len(), a.snapshot.borrow().channels), (1, 1));
    a.running.stop().await;
    b.running.stop().await;
}

#[tokio::test]
async fn a_machine_without_a_radio_says_so_and_stops() {
    let ann = Person::new("Ann", 5).await;
    let mut radio = radio(&ann, "hci77", QUARTER);
    let off = radio.snapshot.wait_for(|snapshot| matches!(snapshot.state, BluetoothState::Off(_)));
    let shown = timeout(PATIENCE, off).await.expect("in time").expect("the radio runs").clone();
    let BluetoothState::Off(Off { cause, why }) = shown.state else { panic!("off") };
    // Without the service it is that which is missing, with it the adapter.
    assert!(matches!(cause, Cause::Service | Cause::NamedAdapter), "{cause:?}");
    assert!(why.contains("Bluetooth"), "{why}");
    timeout(PATIENCE, radio.running.stop()).await.expect("it stops");
}
