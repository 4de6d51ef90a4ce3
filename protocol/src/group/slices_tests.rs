//! A rekey opens for whom it was made, to one secret, and to nobody else.

use std::collections::BTreeMap;

use super::roots::{ReceivingRoot, RootEnds, SendingRoot, make_init, take_init};
use super::slices::{
    MadeRekey, PlacedSlice, ProvenSlice, Recipient, RekeyMaterial, RekeyPlace, SLICE_BYTES, Slice, SliceError,
    make_rekey, open_placed, open_slice,
};
use super::test_group::{GROUP, device, ids};
use crate::chance::Chance;
use crate::crypto::kem::DecapsulationKey;
use crate::crypto::x25519::SecretKey;
use crate::ids::GroupDevice;
use crate::limits::{GROUP_DEVICES_MAX, GROUP_INLINE_SLICES_MAX};
use crate::time::{DAY_MS, UnixTime};
use crate::wire::envelope::{Class, Envelope, EnvelopeHead};

fn place() -> RekeyPlace {
    RekeyPlace { group: GROUP, rekeyer: device(0), heads: ids(&[1, 2]) }
}

fn key(n: u16) -> SecretKey {
    let [high, low] = n.to_be_bytes();
    let mut bytes = [7; 32];
    (bytes[0], bytes[1]) = (high, low);
    SecretKey::from_bytes(bytes)
}

fn recipients(count: u16) -> Vec<Recipient> {
    (0..count).map(|n| Recipient { device: device(n), key: key(n).public() }).collect()
}

fn rekey(count: u16, roots: &mut BTreeMap<GroupDevice, SendingRoot>) -> MadeRekey {
    make_rekey(&place(), &recipients(count), roots, &mut Chance::from_seed([5; 32])).unwrap()
}

/// Both ends of the root between the rekeyer and device `n`.
fn root(n: u16, seed: u8) -> (SendingRoot, ReceivingRoot) {
    let mut chance = Chance::from_seed([seed; 32]);
    let kem = DecapsulationKey::generate(&mut chance);
    let ends = RootEnds { group: GROUP, rekeyer: device(0), device: device(n) };
    let (init, receiving) = make_init(&ends, &kem.public(), &mut chance);
    (take_init(&ends, &kem, &init).unwrap(), receiving)
}

#[test]
fn every_device_opens_its_slice_to_the_same_secret() {
    for count in [1, 2, 3, 5, 64] {
        let made = rekey(count, &mut BTreeMap::new());
        let bytes = made.material.encode();
        let material = RekeyMaterial::decode(&bytes, usize::from(count)).unwrap();
        assert_eq!(material, made.material);
        assert_eq!(material.classical(), count);
        for n in 0..count {
            let proven = material.inline_slice(n).unwrap();
            let opened = open_slice(&place(), &material, &proven, &device(n), &key(n), &[]).unwrap();
            assert_eq!((opened.x, opened.root), (made.x.clone(), None));
        }
    }
}

#[test]
fn a_large_rekey_travels_without_slices_and_a_phone_fetches_its_own() {
    let count = 1_500;
    let made = rekey(count, &mut BTreeMap::new());
    let bytes = made.material.encode();
    assert!(bytes.len() < 120, "{}", bytes.len());
    let material = RekeyMaterial::decode(&bytes, usize::from(count)).unwrap();
    assert_eq!(material.inline_slice(0), None);
    for n in [0, 1, 700, 1_023, 1_024, 1_498, 1_499] {
        let fetched = ProvenSlice::of(&made.slices, n).unwrap().encode();
        assert!(fetched.len() <= SLICE_BYTES + 11 * 16 + 10, "{}", fetched.len());
        let proven = ProvenSlice::decode(&fetched).unwrap();
        let opened = open_slice(&place(), &material, &proven, &device(n), &key(n), &[]).unwrap();
        assert_eq!(opened.x, made.x);
        for other in [n ^ 1, n + 2] {
            let moved = ProvenSlice { index: other, ..proven.clone() };
            assert!(!material.proves(&moved), "{other}");
        }
        let mut longer = proven.clone();
        longer.proof.push([0; 16]);
        assert!(!material.proves(&longer));
        let mut shorter = proven.clone();
        shorter.proof.pop();
        assert!(!material.proves(&shorter));
    }
    let mut foreign = ProvenSlice::of(&made.slices, 3).unwrap();
    foreign.slice.sealed[0] ^= 1;
    let opened = open_slice(&place(), &material, &foreign, &device(3), &key(3), &[]);
    assert_eq!(opened, Err(SliceError::NotProven));
}

#[test]
fn every_width_of_the_tree_proves_every_place() {
    let made = rekey(70, &mut BTreeMap::new());
    for count in 65..=70u16 {
        let made = make_rekey(&place(), &recipients(count), &mut BTreeMap::new(), &mut Chance::from_seed([1; 32]));
        let made = made.unwrap();
        for n in 0..count {
            assert!(made.material.proves(&ProvenSlice::of(&made.slices, n).unwrap()), "{n} of {count}");
        }
    }
    assert!(!made.material.proves(&ProvenSlice { index: 70, ..ProvenSlice::of(&made.slices, 69).unwrap() }));
}

#[test]
fn a_root_makes_a_slice_post_quantum_and_steps_on_both_ends() {
    let (sending, receiving) = root(1, 1);
    let mut roots = BTreeMap::from([(device(1), sending)]);
    let first = rekey(3, &mut roots);
    let second = rekey(3, &mut roots);
    assert_eq!(first.material.classical(), 2);
    // The second comes first.
    let open = |made: &MadeRekey, root: &ReceivingRoot| {
        let proven = made.material.inline_slice(1).unwrap();
        open_slice(&place(), &made.material, &proven, &device(1), &key(1), std::slice::from_ref(root))
    };
    let opened = open(&second, &receiving).unwrap();
    let (at, after) = opened.root.unwrap();
    assert_eq!((opened.x, at), (second.x.clone(), 0));
    let opened = open(&first, &after).unwrap();
    assert_eq!(opened.x, first.x);
    assert_eq!(open(&first, &opened.root.unwrap().1), Err(SliceError::Rejected), "the step is used");
}

#[test]
fn a_device_that_made_a_second_init_opens_with_either_root() {
    let ((old_sending, old), (_, fresh)) = (root(1, 1), root(1, 2));
    let made = rekey(2, &mut BTreeMap::from([(device(1), old_sending)]));
    let proven = made.material.inline_slice(1).unwrap();
    let opened = open_slice(&place(), &made.material, &proven, &device(1), &key(1), &[fresh, old]).unwrap();
    assert_eq!(opened.root.map(|(at, _)| at), Some(1));
}

#[test]
fn without_the_agreed_root_x25519_alone_does_not_open_a_slice() {
    let (sending, _) = root(1, 1);
    let made = rekey(2, &mut BTreeMap::from([(device(1), sending)]));
    let proven = made.material.inline_slice(1).unwrap();
    let opened = open_slice(&place(), &made.material, &proven, &device(1), &key(1), &[root(1, 2).1]);
    assert_eq!(opened, Err(SliceError::Rejected));
    assert_eq!(open_slice(&place(), &made.material, &proven, &device(1), &key(1), &[]), Err(SliceError::Rejected));
}

#[test]
fn a_slice_belongs_to_one_rekey_device_group_and_rekeyer() {
    let made = rekey(3, &mut BTreeMap::new());
    let proven = made.material.inline_slice(1).unwrap();
    let open = |place: &RekeyPlace, me: u16, with: u16| {
        open_slice(place, &made.material, &proven, &device(me), &key(with), &[])
    };
    assert!(open(&place(), 1, 1).is_ok());
    assert_eq!(open(&place(), 2, 2), Err(SliceError::Rejected), "another device's slice");
    assert_eq!(open(&place(), 1, 2), Err(SliceError::Rejected), "another key");
    for other in [
        RekeyPlace { group: crate::ids::GroupId([1; 16]), ..place() },
        RekeyPlace { rekeyer: device(1), ..place() },
        RekeyPlace { heads: ids(&[1]), ..place() },
    ] {
        assert_eq!(open(&other, 1, 1), Err(SliceError::Rejected), "copied into an operation of one's own");
    }
}

#[test]
fn a_rekeyer_cannot_give_two_devices_two_secrets() {
    // Two rekeys, and the slices of one under the commitment of the other: the tree is made anew, the seal is not.
    let made = rekey(2, &mut BTreeMap::new());
    let other = make_rekey(&place(), &recipients(2), &mut BTreeMap::new(), &mut Chance::from_seed([6; 32])).unwrap();
    let mixed = RekeyMaterial { commitment: made.material.commitment, ..other.material };
    let proven = mixed.inline_slice(1).unwrap();
    assert_eq!(open_slice(&place(), &mixed, &proven, &device(1), &key(1), &[]), Err(SliceError::Rejected));
}

#[test]
fn recipients_are_sorted_and_bounded_and_a_refusal_moves_no_root() {
    let mut roots = BTreeMap::from([(device(1), root(1, 1).0)]);
    let before = roots.clone();
    let mut chance = Chance::from_seed([1; 32]);
    let mut backwards = recipients(3);
    backwards.reverse();
    for bad in [Vec::new(), backwards, recipients(GROUP_DEVICES_MAX as u16 + 1)] {
        assert_eq!(make_rekey(&place(), &bad, &mut roots, &mut chance), Err(SliceError::Recipients));
        assert_eq!(roots, before);
    }
}

#[test]
fn changed_or_cut_material_is_refused() {
    let made = rekey(3, &mut BTreeMap::new());
    let bytes = made.material.encode();
    for len in 0..bytes.len() {
        assert!(RekeyMaterial::decode(&bytes[..len], 3).is_err(), "{len} bytes");
    }
    assert_eq!(RekeyMaterial::decode(&bytes, 4), Err(SliceError::Malformed), "another number of devices");
    assert_eq!(RekeyMaterial::decode(&bytes, 0), Err(SliceError::Malformed));
    let mut flipped = 0;
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let Ok(material) = RekeyMaterial::decode(&changed, 3) else {
            flipped += 1;
            continue;
        };
        if material == made.material {
            continue; // the highest bit of a number, or an unknown field
        }
        for n in 0..3 {
            let proven = material.inline_slice(n).unwrap();
            assert!(open_slice(&place(), &material, &proven, &device(n), &key(n), &[]).is_err(), "bit {bit}");
        }
    }
    assert!(flipped > 3 * 8 * SLICE_BYTES, "{flipped}");
    let large = rekey(GROUP_INLINE_SLICES_MAX as u16 + 1, &mut BTreeMap::new()).material;
    let lying = RekeyMaterial { count: 64, ..large };
    assert_eq!(RekeyMaterial::decode(&lying.encode(), 64), Err(SliceError::Malformed), "inline slices are missing");
}

#[test]
fn roots_read_back_from_their_bytes() {
    let (sending, receiving) = root(1, 1);
    let (_, _, sending) = sending.step().unwrap();
    let (_, receiving) = receiving.reach(5).unwrap();
    let (sending_bytes, receiving_bytes) = (sending.encode(), receiving.encode());
    assert_eq!(SendingRoot::decode(&sending_bytes), Some(sending));
    assert_eq!(ReceivingRoot::decode(&receiving_bytes), Some(receiving));
    for len in 0..receiving_bytes.len() {
        assert_eq!(ReceivingRoot::decode(&receiving_bytes[..len]), None, "{len} bytes");
        assert_eq!(SendingRoot::decode(&sending_bytes[..len.min(sending_bytes.len() - 1)]), None);
    }
}

fn head() -> EnvelopeHead {
    EnvelopeHead::new(Class::Control, DAY_MS, UnixTime(0), &mut Chance::from_seed([1; 32]))
}

#[test]
fn every_device_of_a_large_rekey_recognises_its_envelope_and_opens_its_slice() {
    for count in [GROUP_INLINE_SLICES_MAX as u16 + 1, 100, 1_500] {
        let made = rekey(count, &mut BTreeMap::new());
        let material = RekeyMaterial::decode(&made.material.encode(), usize::from(count)).unwrap();
        let all = ProvenSlice::all(&made.slices);
        assert_eq!((all.len(), made.covers.len()), (usize::from(count), usize::from(count)));
        for n in (0..count).step_by(usize::from(count) / 32) {
            let at = usize::from(n);
            assert_eq!(Some(&all[at]), ProvenSlice::of(&made.slices, n).as_ref());
            let envelope = made.covers[at].seal(head(), &all[at]).unwrap();
            assert_eq!(envelope.len(), 512, "as long as a short message");
            let cover = material.cover(&key(n)).unwrap();
            assert_eq!(Envelope::parse(&envelope).unwrap().tag, cover.tag());
            let slice = cover.open(&envelope).unwrap();
            assert_eq!(open_slice(&place(), &material, &slice, &device(n), &key(n), &[]).unwrap().x, made.x);
        }
    }
    let small = rekey(GROUP_INLINE_SLICES_MAX as u16, &mut BTreeMap::new());
    assert!(small.material.carries_slices());
    assert_eq!(small.material.cover(&key(1)), None, "travels with the operation");
}

#[test]
fn t24_a_slice_of_somebody_else_or_of_another_secret_is_refused_whatever_it_travels_in() {
    let made = rekey(100, &mut BTreeMap::new());
    let all = ProvenSlice::all(&made.slices);
    let other = make_rekey(&place(), &recipients(100), &mut BTreeMap::new(), &mut Chance::from_seed([6; 32])).unwrap();
    let open = |slice: &ProvenSlice| open_slice(&place(), &made.material, slice, &device(7), &key(7), &[]);
    // The tags of two devices, or of one in two rekeys, have nothing to do with each other.
    let mine = made.material.cover(&key(7)).unwrap();
    for cover in [&made.covers[8], &other.covers[7]] {
        assert_ne!(cover.tag(), mine.tag());
        assert_eq!(mine.open(&cover.seal(head(), &all[7]).unwrap()), Err(SliceError::Rejected));
    }
    // What the rekeyer itself seals for the device and is not its slice.
    for (wrong, why) in [
        (all[8].clone(), SliceError::Rejected),
        (ProvenSlice { index: 7, ..all[8].clone() }, SliceError::NotProven),
        (ProvenSlice { slice: other.slices[7], ..all[7].clone() }, SliceError::NotProven),
        (ProvenSlice { proof: Vec::new(), ..all[7].clone() }, SliceError::NotProven),
        (ProvenSlice::of(&other.slices, 7).unwrap(), SliceError::NotProven),
    ] {
        let slice = mine.open(&made.covers[7].seal(head(), &wrong).unwrap()).unwrap();
        assert_eq!(open(&slice), Err(why));
    }
    // A changed envelope, at each of its bytes.
    let envelope = made.covers[7].seal(head(), &all[7]).unwrap();
    for at in 0..envelope.len() {
        let mut changed = envelope.clone();
        changed[at] ^= 1;
        assert_eq!(mine.open(&changed), Err(SliceError::Rejected), "byte {at}");
    }
    assert_eq!(open(&mine.open(&envelope).unwrap()).unwrap().x, made.x, "the good one is taken after all of them");
}

#[test]
fn a_device_takes_its_slice_from_anybody_and_all_slices_only_if_they_are_those_of_the_rekey() {
    let made = rekey(100, &mut BTreeMap::new());
    let bytes = Slice::write_all(&made.slices);
    assert_eq!(bytes.len(), 100 * SLICE_BYTES);
    let read = Slice::read_all(&bytes).unwrap();
    assert!(made.material.is_of(&read));
    let open = |placed: &PlacedSlice| open_placed(&place(), &made.material, placed, &device(7), &key(7), &[]);
    let mine = PlacedSlice { index: 7, slice: read[7] };
    assert_eq!(open(&mine).unwrap().x, made.x);
    assert_eq!(PlacedSlice::read_all(&mine.to_bytes()).collect::<Vec<_>>(), [mine]);
    for wrong in [PlacedSlice { index: 8, ..mine }, PlacedSlice { index: 7, slice: read[8] }] {
        assert_eq!(open(&wrong), Err(SliceError::Rejected));
    }
    // Another secret for one device, well sealed: the rekey promises the same to all.
    let other = make_rekey(&place(), &recipients(100), &mut BTreeMap::new(), &mut Chance::from_seed([6; 32])).unwrap();
    assert_eq!(open(&PlacedSlice { index: 7, slice: other.slices[7] }), Err(SliceError::Rejected));

    let mut swapped = read.clone();
    swapped.swap(3, 4);
    assert!(!made.material.is_of(&swapped) && !made.material.is_of(&read[..99]) && !made.material.is_of(&[]));
    assert_eq!(Slice::read_all(&bytes[1..]), None, "no whole slices");
    assert_eq!(Slice::read_all(&vec![0; SLICE_BYTES * (GROUP_DEVICES_MAX + 1)]), None, "too many");
    assert_eq!(PlacedSlice::read_all(&[0; PlacedSlice::BYTES - 1]).count(), 0);
}
