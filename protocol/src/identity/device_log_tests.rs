//! Tests of the device log: the rules one by one, every refusal, and that the order of arrival never matters.

use proptest::prelude::*;

use super::*;
use crate::chance::Chance;
use crate::crypto::ed25519::SigningKey;
use crate::crypto::x25519::SecretKey;
use crate::identity::account::{device_cert, sign_entry};
use crate::limits::DEVICES_MAX;

/// Keys of an account and the entries it has written.
struct World {
    root: SigningKey,
    devices: Vec<SigningKey>,
    aid: AccountId,
    entries: Vec<proto::Signed>,
}

/// Who writes in a test: the root, or the device of this number.
#[derive(Clone, Copy, Debug)]
enum By {
    Root,
    Device(usize),
}

impl World {
    /// An account whose devices have the given number; only number 0 is in the genesis.
    fn new(devices: usize) -> Self {
        let mut chance = Chance::from_seed([5; 32]);
        let root = SigningKey::generate(&mut chance);
        let devices: Vec<SigningKey> = (0..devices).map(|_| SigningKey::generate(&mut chance)).collect();
        let genesis = proto::Genesis {
            root_vk: root.verifying_key().as_bytes().to_vec(),
            first: Some(cert(&devices[0])),
            nonce: vec![1; 16],
        };
        let entry = proto::LogEntry { aid20: vec![], lamport: 0, prev: vec![], e: Some(E::Genesis(genesis)) };
        let signed = sign_entry(&root, &[], &entry);
        Self { root, devices, aid: account_id(&signed.body), entries: vec![signed] }
    }

    /// Writes an entry after the given ones and keeps it; its number.
    fn write(&mut self, by: By, prev: &[usize], kind: E) -> usize {
        let signed = self.entry(by, prev, kind);
        self.entries.push(signed);
        self.entries.len() - 1
    }

    fn entry(&self, by: By, prev: &[usize], kind: E) -> proto::Signed {
        let lamport = |signed: &proto::Signed| proto::LogEntry::decode(signed.body.as_slice()).unwrap().lamport;
        let entry = proto::LogEntry {
            aid20: Aid20::of(&self.aid).0.to_vec(),
            lamport: prev.iter().map(|p| lamport(&self.entries[*p]) + 1).max().unwrap_or(0),
            prev: prev.iter().map(|p| entry_id(&self.entries[*p]).to_vec()).collect(),
            e: Some(kind),
        };
        match by {
            By::Root => sign_entry(&self.root, &[], &entry),
            By::Device(n) => sign_entry(&self.devices[n], &self.id(n).0, &entry),
        }
    }

    fn add(&mut self, by: By, prev: &[usize], device: usize) -> usize {
        let cert = Some(cert(&self.devices[device]));
        self.write(by, prev, E::Add(proto::AddDevice { cert, link_transcript: vec![] }))
    }

    fn revoke(&mut self, by: By, prev: &[usize], device: usize) -> usize {
        let device_id = self.id(device).0.to_vec();
        self.write(by, prev, E::Revoke(proto::RevokeDevice { device_id, reason: 1, as_of_day: 9 }))
    }

    fn revoke_all(&mut self, prev: &[usize]) -> usize {
        self.write(By::Root, prev, E::Revoke(proto::RevokeDevice::default()))
    }

    fn rotate(&mut self, prev: &[usize], new: &SigningKey) -> usize {
        let new_root_vk = new.verifying_key().as_bytes().to_vec();
        let new_root_sig = new.sign(NEW_ROOT_PURPOSE, &[&Aid20::of(&self.aid).0, &new_root_vk]).to_vec();
        self.write(By::Root, prev, E::Rotate(proto::RotateRoot { new_root_vk, new_root_sig }))
    }

    fn id(&self, device: usize) -> DeviceId {
        device_id(&self.devices[device].verifying_key())
    }

    fn log(&self) -> DeviceLog {
        DeviceLog::read(&self.entries).unwrap()
    }

    /// Numbers of the live devices, in ascending order.
    fn live(&self) -> Vec<usize> {
        live(self, &self.log())
    }
}

fn live(world: &World, log: &DeviceLog) -> Vec<usize> {
    (0..world.devices.len()).filter(|n| log.device(&world.id(*n)).is_some()).collect()
}

fn cert(dik: &SigningKey) -> proto::DeviceCert {
    device_cert(dik, &SecretKey::from_bytes(*dik.expose()), 7)
}

fn policy() -> E {
    E::Policy(proto::LogPolicy { strict_link: 1, ..Default::default() })
}

#[test]
fn a_chain_of_additions_gives_all_devices_in_their_order() {
    let mut world = World::new(3);
    let a = world.add(By::Device(0), &[0], 1);
    let b = world.add(By::Device(1), &[a], 2);
    let log = world.log();
    assert_eq!(log.live_devices().iter().map(|d| d.id).collect::<Vec<_>>(), [world.id(0), world.id(1), world.id(2)]);
    assert_eq!(log.heads(), [entry_id(&world.entries[b])]);
    assert_eq!(log.aid(), world.aid);
    let device = log.device(&world.id(2)).unwrap();
    assert_eq!(device.cert_bytes, cert(&world.devices[2]).encode_to_vec());
    assert_eq!(device.dik, world.devices[2].verifying_key());
}

#[test]
fn a_revocation_leaves_what_it_has_seen_and_voids_the_rest() {
    let mut world = World::new(5);
    let add1 = world.add(By::Device(0), &[0], 1);
    let add2 = world.add(By::Device(1), &[add1], 2);
    world.revoke(By::Device(0), &[add2], 1);
    // The thief goes on from what it knows, and hides that it was revoked.
    let hidden = world.add(By::Device(1), &[add2], 3);
    world.add(By::Device(3), &[hidden], 4);
    assert_eq!(world.live(), [0, 2]);
    assert!(world.log().is_revoked(&world.id(1)));
    assert!(!world.log().is_revoked(&world.id(3)), "it never was a device");
}

#[test]
fn a_revoked_device_cannot_strike_back_after_the_fact() {
    let mut world = World::new(2);
    let add1 = world.add(By::Device(0), &[0], 1);
    let revoked = world.revoke(By::Device(0), &[add1], 1);
    world.revoke(By::Device(1), &[revoked], 0);
    assert_eq!(world.live(), [0]);
}

#[test]
fn two_devices_that_revoke_each_other_are_both_out() {
    let mut world = World::new(4);
    let add1 = world.add(By::Device(0), &[0], 1);
    let add2 = world.add(By::Device(0), &[add1], 2);
    world.revoke(By::Device(0), &[add2], 1);
    let mutual = world.revoke(By::Device(1), &[add2], 0);
    // What the thief does beside it is void: it was out.
    world.revoke(By::Device(1), &[mutual], 2);
    world.add(By::Device(1), &[add2], 3);
    assert_eq!(world.live(), [2]);
}

#[test]
fn a_circle_of_three_revocations_puts_all_three_out() {
    let mut world = World::new(4);
    let mut last = 0;
    for device in 1..4 {
        last = world.add(By::Device(0), &[last], device);
    }
    world.revoke(By::Device(0), &[last], 1);
    world.revoke(By::Device(1), &[last], 2);
    world.revoke(By::Device(2), &[last], 0);
    assert_eq!(world.live(), [3]);
}

#[test]
fn a_thief_that_hides_behind_a_device_it_added_unseen_takes_its_pursuer_along_but_gains_nothing() {
    let mut world = World::new(3);
    let add1 = world.add(By::Device(0), &[0], 1);
    world.revoke(By::Device(0), &[add1], 1);
    let unseen = world.add(By::Device(1), &[add1], 2);
    world.revoke(By::Device(2), &[unseen], 0);
    assert_eq!(world.live(), [] as [usize; 0]);
}

#[test]
fn the_root_stands_above_devices() {
    let mut world = World::new(3);
    let add1 = world.add(By::Device(0), &[0], 1);
    world.revoke(By::Root, &[add1], 1);
    world.revoke(By::Device(1), &[add1], 0);
    assert_eq!(world.live(), [0], "the thief's revocation is void, the root's is not mutual");
}

#[test]
fn a_revoked_device_never_comes_back() {
    let mut world = World::new(2);
    let add1 = world.add(By::Device(0), &[0], 1);
    let revoked = world.revoke(By::Device(0), &[add1], 1);
    world.add(By::Root, &[revoked], 1);
    assert_eq!(world.live(), [0]);
}

#[test]
fn the_root_revokes_all_that_it_knows_of_and_what_they_did_unseen() {
    let mut world = World::new(5);
    let add1 = world.add(By::Device(0), &[0], 1);
    let all = world.revoke_all(&[add1]);
    world.add(By::Root, &[all], 2);
    world.add(By::Device(1), &[add1], 3);
    world.add(By::Device(0), &[all], 4);
    assert_eq!(world.live(), [2]);
}

#[test]
fn a_rotated_root_key_is_worth_nothing_beyond_what_the_rotation_knows() {
    let mut world = World::new(4);
    let seen = world.add(By::Root, &[0], 1);
    let new = SigningKey::from_seed(&[77; 32]);
    let rotation = world.rotate(&[seen], &new);
    world.add(By::Root, &[seen], 2);
    assert_eq!(world.live(), [0, 1], "the old key's unseen entry is void");
    let with_old = world.entry(By::Root, &[rotation], policy());
    assert_eq!(world.log().merge(&[with_old]), Err(LogError::Signature), "the old key has no say after the rotation");
    world.root = new;
    world.add(By::Root, &[rotation], 3);
    assert_eq!(world.live(), [0, 1, 3]);
    assert_eq!(world.log().root_key(), world.root.verifying_key().as_bytes());
}

#[test]
fn of_two_rotations_of_one_key_everybody_picks_the_same() {
    let mut world = World::new(1);
    let (x, y) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]));
    let (rx, ry) = (world.rotate(&[0], &x), world.rotate(&[0], &y));
    let winner = if entry_id(&world.entries[rx]) < entry_id(&world.entries[ry]) { x } else { y };
    assert_eq!(world.log().root_key(), winner.verifying_key().as_bytes());
    world.entries.reverse();
    assert_eq!(world.log().root_key(), winner.verifying_key().as_bytes());
}

#[test]
fn a_new_root_key_must_accept_its_role() {
    let mut world = World::new(1);
    let new_root_vk = SigningKey::from_seed(&[1; 32]).verifying_key().as_bytes().to_vec();
    world.write(By::Root, &[0], E::Rotate(proto::RotateRoot { new_root_vk, new_root_sig: vec![0; 64] }));
    assert_eq!(DeviceLog::read(&world.entries).err(), Some(LogError::Signature));
}

#[test]
fn policies_closing_checkpoints_and_unknown_kinds_are_kept() {
    let mut world = World::new(1);
    let a = world.write(By::Device(0), &[0], policy());
    let b = world.write(By::Device(0), &[a], E::Checkpoint(proto::Checkpoint { covers: 2, ..Default::default() }));
    assert!(!world.log().closed());
    let c = world.write(By::Device(0), &[b], E::Closed(proto::Closed { reason: 1, day: 3 }));
    // A kind of a later version: field 63 of the oneof.
    let mut unknown = world.entry(By::Device(0), &[c], policy());
    let mut body = proto::LogEntry::decode(unknown.body.as_slice()).unwrap();
    body.e = None;
    unknown.body = [body.encode_to_vec(), vec![0xfa, 0x03, 1, 42]].concat();
    unknown.sig = world.devices[0].sign(ENTRY_PURPOSE, &[&unknown.signer, &unknown.body]).to_vec();
    world.entries.push(unknown.clone());
    let log = world.log();
    assert!(log.closed());
    assert_eq!(log.policy().map(|p| p.strict_link), Some(1));
    assert_eq!(log.entries().len(), 5);
    assert_eq!(log.heads(), [entry_id(&unknown)]);
    assert!(log.entries().contains(&unknown), "its bytes are untouched");
}

#[test]
fn a_gap_is_refused_and_filled_later() {
    let mut world = World::new(3);
    let a = world.add(By::Device(0), &[0], 1);
    world.add(By::Device(1), &[a], 2);
    let mut log = DeviceLog::read(&world.entries[..1]).unwrap();
    let before = log.head3();
    assert_eq!(log.merge(&world.entries[2..]), Err(LogError::Gap));
    assert_eq!((log.head3(), log.entries().len()), (before, 1), "nothing changed");
    assert_eq!(log.merge(&world.entries[1..]), Ok(true));
    assert_eq!(log.merge(&world.entries), Ok(false));
    assert_eq!(live(&world, &log), [0, 1, 2]);
    assert_ne!(log.head3(), before);
}

#[test]
fn one_bad_entry_refuses_the_whole_batch() {
    let mut world = World::new(3);
    let a = world.add(By::Device(0), &[0], 1);
    let mut log = DeviceLog::read(&world.entries[..1]).unwrap();
    let good = world.entries[a].clone();
    let mut bad = world.entry(By::Device(0), &[a], policy());
    bad.sig[3] ^= 1;
    for batch in [[good.clone(), bad.clone()], [bad, good]] {
        assert_eq!(log.merge(&batch), Err(LogError::Signature));
        assert_eq!(log.entries().len(), 1);
    }
}

#[test]
fn t14_every_flipped_bit_of_an_entry_is_refused() {
    let mut world = World::new(2);
    let a = world.add(By::Device(0), &[0], 1);
    let good = world.entries[a].clone();
    let base = DeviceLog::read(&world.entries[..1]).unwrap();
    for bit in 0..good.body.len() * 8 {
        let mut bad = good.clone();
        bad.body[bit / 8] ^= 1 << (bit % 8);
        assert!(base.clone().merge(&[bad]).is_err(), "body {bit}");
    }
    for bit in 0..64 * 8 {
        let mut bad = good.clone();
        bad.sig[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(base.clone().merge(&[bad]), Err(LogError::Signature), "signature {bit}");
    }
    for signer in [vec![], vec![1; 8], world.id(1).0.to_vec(), vec![0; 7]] {
        assert!(base.clone().merge(&[proto::Signed { signer, ..good.clone() }]).is_err());
    }
}

#[test]
fn entries_of_another_account_are_refused() {
    let world = World::new(1);
    let mut other = World::new(2);
    let genesis = proto::Genesis {
        root_vk: other.root.verifying_key().as_bytes().to_vec(),
        first: Some(cert(&other.devices[0])),
        nonce: vec![2; 16],
    };
    let entry = proto::LogEntry { e: Some(E::Genesis(genesis)), ..Default::default() };
    other.entries = vec![sign_entry(&other.root, &[], &entry)];
    other.aid = account_id(&other.entries[0].body);
    assert_ne!(other.aid, world.aid);
    assert_eq!(world.log().merge(&other.entries), Err(LogError::Genesis));
    // The same keys in both accounts: an entry of one must not pass in the other.
    other.aid = world.aid;
    other.entries = world.entries.clone();
    let mut foreign = other.entry(By::Device(0), &[0], policy());
    let mut body = proto::LogEntry::decode(foreign.body.as_slice()).unwrap();
    body.aid20 = vec![9; 20];
    foreign = sign_entry(&other.devices[0], &foreign.signer, &body);
    assert_eq!(world.log().merge(&[foreign]), Err(LogError::OtherAccount));
}

#[test]
fn what_only_the_root_may_say_is_refused_from_devices() {
    let world = World::new(1);
    for kind in [
        E::Revoke(proto::RevokeDevice::default()),
        E::Rotate(proto::RotateRoot {
            new_root_vk: world.root.verifying_key().as_bytes().to_vec(),
            new_root_sig: world
                .root
                .sign(NEW_ROOT_PURPOSE, &[&Aid20::of(&world.aid).0, world.root.verifying_key().as_bytes()])
                .to_vec(),
        }),
    ] {
        let entry = world.entry(By::Device(0), &[0], kind);
        assert_eq!(world.log().merge(&[entry]), Err(LogError::NeedsRoot));
    }
}

#[test]
fn impossible_entries_are_refused() {
    let world = World::new(2);
    let good = proto::LogEntry {
        aid20: Aid20::of(&world.aid).0.to_vec(),
        lamport: 1,
        prev: vec![entry_id(&world.entries[0]).to_vec()],
        e: Some(policy()),
    };
    let signed = |entry: &proto::LogEntry| sign_entry(&world.devices[0], &world.id(0).0, entry);
    assert_eq!(world.log().merge(&[signed(&good)]), Ok(true));
    let genesis_prev = good.prev[0].clone();
    let wrong_id = proto::DeviceCert { device_id: vec![0; 8], ..cert(&world.devices[1]) };
    let weak_key = proto::DeviceCert { ddh: vec![0; 32], ..cert(&world.devices[1]) };
    let add = |cert| Some(E::Add(proto::AddDevice { cert: Some(cert), link_transcript: vec![] }));
    for bad in [
        proto::LogEntry { lamport: 2, ..good.clone() },
        proto::LogEntry { lamport: 0, ..good.clone() },
        proto::LogEntry { prev: vec![], ..good.clone() },
        proto::LogEntry { prev: vec![genesis_prev.clone(), genesis_prev.clone()], ..good.clone() },
        proto::LogEntry { prev: vec![vec![0; 15]], ..good.clone() },
        proto::LogEntry { prev: (0..5).map(|n| vec![n; 16]).collect(), ..good.clone() },
        proto::LogEntry { e: add(wrong_id), ..good.clone() },
        proto::LogEntry { e: add(weak_key), ..good.clone() },
        proto::LogEntry { e: Some(E::Add(proto::AddDevice::default())), ..good.clone() },
        proto::LogEntry {
            e: Some(E::Revoke(proto::RevokeDevice { device_id: vec![1; 9], ..Default::default() })),
            ..good.clone()
        },
    ] {
        assert_eq!(world.log().merge(&[signed(&bad)]), Err(LogError::Malformed), "{bad:?}");
    }
    assert_eq!(world.log().merge(&[proto::Signed { alg: 2, ..signed(&good) }]), Err(LogError::Malformed));
    assert_eq!(DeviceLog::read(&[]).err(), Some(LogError::Genesis));
}

#[test]
fn a_device_that_was_never_added_cannot_write() {
    let world = World::new(2);
    let entry = world.entry(By::Device(1), &[0], policy());
    assert_eq!(world.log().merge(&[entry]), Err(LogError::UnknownSigner));
}

#[test]
fn a_stolen_device_cannot_fill_the_log_against_its_revocation() {
    let mut world = World::new(2);
    let mut last = world.add(By::Device(0), &[0], 1);
    while world.entries.len() <= LOG_ENTRIES_MAX - ROOT_RESERVE {
        last = world.write(By::Device(1), &[last], policy());
    }
    let mut log = world.log();
    let more = world.entry(By::Device(1), &[last], policy());
    assert_eq!(log.merge(&[more]), Err(LogError::Full));
    for _ in 0..ROOT_RESERVE - 1 {
        last = world.revoke(By::Root, &[last], 1);
    }
    assert_eq!(world.entries.len(), LOG_ENTRIES_MAX);
    assert_eq!(log.merge(&world.entries), Ok(true));
    assert_eq!(live(&world, &log), [0]);
    world.revoke(By::Root, &[last], 1);
    assert_eq!(log.merge(&world.entries), Err(LogError::Full));
}

#[test]
fn no_more_than_the_allowed_number_of_devices_is_live() {
    let mut world = World::new(DEVICES_MAX + 3);
    let mut last = 0;
    for device in 1..DEVICES_MAX + 2 {
        last = world.add(By::Device(0), &[last], device);
    }
    world.add(By::Root, &[last], DEVICES_MAX + 2);
    let live = world.live();
    assert_eq!(live.len(), DEVICES_MAX);
    assert!(live.contains(&(DEVICES_MAX + 2)), "what the root adds goes first");
}

#[test]
fn the_worst_log_of_mutual_revocations_is_judged() {
    let mut world = World::new(16);
    let mut last = 0;
    for device in 1..16 {
        last = world.add(By::Device(0), &[last], device);
    }
    'all: for by in 0..16 {
        for target in (0..16).filter(|t| *t != by) {
            if world.entries.len() > LOG_ENTRIES_MAX - ROOT_RESERVE {
                break 'all;
            }
            world.revoke(By::Device(by), &[last], target);
        }
    }
    // Twelve devices got to revoke the others before the log was full: a circle, all twelve are out. That they also
    // revoked the last four, beside their own revocation, is void.
    assert_eq!(world.live(), [12, 13, 14, 15]);
}

#[test]
fn an_entry_follows_at_most_four_heads_and_first_those_that_count() {
    let mut world = World::new(3);
    let add1 = world.add(By::Device(0), &[0], 1);
    let revoked = world.revoke(By::Device(0), &[add1], 1);
    for face in 0..6 {
        world.write(By::Device(1), &[add1], E::Policy(proto::LogPolicy { face, ..Default::default() }));
    }
    let next = world.log().next_entry(policy());
    assert_eq!(next.prev.len(), PREDECESSORS_MAX);
    assert_eq!(next.prev[0], entry_id(&world.entries[revoked]));
}

/// One random thing that happens to an account.
#[derive(Clone, Debug)]
struct Event {
    by: usize,
    after: Vec<usize>,
    what: usize,
    device: usize,
}

fn any_event() -> impl Strategy<Value = Event> {
    (0usize..6, proptest::collection::vec(any::<usize>(), 1..3), 0usize..10, 0usize..5)
        .prop_map(|(by, after, what, device)| Event { by, after, what, device })
}

/// Writes those of the events that a program could write: the author must have been added in their past.
fn play(events: &[Event]) -> World {
    let mut world = World::new(5);
    for event in events {
        let mut prev: Vec<usize> = event.after.iter().map(|n| n % world.entries.len()).collect();
        prev.sort_unstable();
        prev.dedup();
        let by = if event.by == 5 { By::Root } else { By::Device(event.by) };
        let number = world.entries.len();
        match event.what {
            0..=3 => world.add(by, &prev, event.device),
            4..=7 => world.revoke(by, &prev, event.device),
            8 => world.revoke_all(&prev),
            _ => world.write(by, &prev, policy()),
        };
        let repeated = world.entries[..number].contains(&world.entries[number]);
        if repeated || DeviceLog::read(&world.entries).is_err() {
            world.entries.truncate(number);
        }
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_order_and_repetition_of_entries_gives_the_same_state(
        events in proptest::collection::vec(any_event(), 0..14), seed: [u8; 32],
    ) {
        let world = play(&events);
        let expected = world.log();
        let mut chance = Chance::from_seed(seed);
        let mut shuffled: Vec<proto::Signed> = [&world.entries[..], &world.entries[..]].concat();
        for last in (1..shuffled.len()).rev() {
            shuffled.swap(last, chance.below(last as u64 + 1) as usize);
        }
        let read = DeviceLog::read(&shuffled).unwrap();
        prop_assert_eq!(read.live_devices(), expected.live_devices());
        prop_assert_eq!(read.entries(), expected.entries());
        prop_assert_eq!(read.head3(), expected.head3());
        // One by one, each time at the first entry whose predecessors have come.
        let mut grown = DeviceLog::read(&world.entries[..1]).unwrap();
        let mut left = shuffled;
        while !left.is_empty() {
            let before = left.len();
            left.retain(|entry| grown.merge(std::slice::from_ref(entry)) == Err(LogError::Gap));
            prop_assert!(left.len() < before);
        }
        prop_assert_eq!(grown.live_devices(), expected.live_devices());
        prop_assert_eq!(grown.heads(), expected.heads());
        prop_assert_eq!(grown.head3(), expected.head3());
    }

    #[test]
    fn a_root_revocation_that_knows_everything_puts_everybody_out(events in proptest::collection::vec(any_event(), 0..10)) {
        let mut world = play(&events);
        while world.log().heads().len() > 1 || !world.live().is_empty() {
            let heads = world.log().heads();
            let prev: Vec<usize> = (0..world.entries.len()).filter(|n| heads.contains(&entry_id(&world.entries[*n]))).take(4).collect();
            world.revoke_all(&prev);
        }
        prop_assert!(world.log().live_devices().is_empty());
    }

    #[test]
    fn foreign_bytes_never_panic(body: Vec<u8>, signer in proptest::collection::vec(any::<u8>(), 0..9)) {
        let signed = proto::Signed { body, sig: vec![0; 64], alg: ALG_ED25519, signer };
        prop_assert!(DeviceLog::read(&[signed]).is_err());
    }
}
