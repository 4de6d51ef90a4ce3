//! Groups: what members tell about keys, letters from anybody and from members, and what a node keeps of both.

use silbo_protocol::chance::Chance;
use silbo_protocol::crypto::ed25519::SigningKey;
use silbo_protocol::crypto::kem::DecapsulationKey;
use silbo_protocol::crypto::mac::mac;
use silbo_protocol::crypto::x25519::SecretKey;
use silbo_protocol::crypto::{Secret, aead, fields, kdf};
use silbo_protocol::group::chain::{Chain, EpochChains, LetterPlace, SenderChains, SkippedLetter};
use silbo_protocol::group::epoch::EpochSecret;
use silbo_protocol::group::key_graph::{KeyKind, KeyOperation};
use silbo_protocol::group::key_ring::{KeyRing, Secrecy};
use silbo_protocol::group::letter::{Cover, Draft, Origin, open, seal};
use silbo_protocol::group::roots::{ReceivingRoot, RootEnds, SendingRoot, make_init, take_init};
use silbo_protocol::group::slices::{
    MadeRekey, ProvenSlice, Recipient, RekeyMaterial, RekeyPlace, make_rekey, open_slice,
};
use silbo_protocol::group::welcome::Welcome;
use silbo_protocol::ids::{AccountId, DeviceId, EpochId, GroupDevice, GroupId, OperationId};
use silbo_protocol::time::UnixTime;
use silbo_protocol::wire::envelope::EnvelopeHead;
use silbo_protocol::wire::padding::PadClass;

const GROUP: GroupId = GroupId([7; 16]);
const EPOCH: EpochId = EpochId([1; 16]);
const HEAD: [u8; 4] = [0x28, 0x60, 0x12, 0x34];

fn device(n: u8) -> GroupDevice {
    GroupDevice { account: AccountId([n; 32]), device: DeviceId([n; 8]) }
}

fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes([n; 32])
}

fn place() -> RekeyPlace {
    RekeyPlace { group: GROUP, rekeyer: device(1), heads: vec![OperationId([1; 16])] }
}

/// Both ends of the root between the rekeyer and the second device.
fn roots() -> (SendingRoot, ReceivingRoot) {
    let mut chance = Chance::from_seed([3; 32]);
    let kem = DecapsulationKey::generate(&mut chance);
    let ends = RootEnds { group: GROUP, rekeyer: device(1), device: device(2) };
    let (init, receiving) = make_init(&ends, &kem.public(), &mut chance);
    (take_init(&ends, &kem, &init).expect("an init of our own"), receiving)
}

/// A rekey for three devices, the second of which has a root.
fn rekey() -> (MadeRekey, ReceivingRoot) {
    let (sending, receiving) = roots();
    let recipients: Vec<Recipient> = (1..4).map(|n| Recipient { device: device(n), key: key(n).public() }).collect();
    let mut chance = Chance::from_seed([4; 32]);
    let made = make_rekey(&place(), &recipients, &mut [(device(2), sending)].into(), &mut chance);
    (made.expect("sorted recipients"), receiving)
}

/// A ring with a genesis, two additions beside each other, and their merge.
fn ring() -> KeyRing {
    let mut ring = KeyRing::new(GROUP, device(1));
    let operation = |n: u8, kind, heads: &[u8], named: u8| KeyOperation {
        id: OperationId([n; 16]),
        kind,
        heads: heads.iter().map(|head| OperationId([*head; 16])).collect(),
        devices: vec![device(named)],
    };
    ring.learn(&operation(1, KeyKind::Genesis, &[], 1)).expect("a genesis");
    ring.hold_fresh(&OperationId([1; 16]), &Secret::new([9; 32]), Secrecy::PostQuantum).expect("one's own");
    ring.learn(&operation(2, KeyKind::Forward, &[1], 2)).expect("an addition");
    ring.learn(&operation(3, KeyKind::Forward, &[1], 3)).expect("an addition");
    ring.merge(&[OperationId([2; 16]), OperationId([3; 16])]).expect("both heads are held");
    ring
}

/// A member's letter, and the chains it is read with.
fn letter() -> (Vec<u8>, SenderChains, Secret<32>) {
    let secret = EpochSecret::read(&[5; 32]).expect("32 bytes").unfold(&GROUP, &EPOCH);
    let chains = EpochChains::cut(&secret.chain_root, &[device(1), device(2)]);
    let chain = chains.chain(1).expect("two writers").clone();
    let Chain::Silent(seed) = &chain else { unreachable!("nobody was heard") };
    let seed = seed.clone();
    let head = EnvelopeHead::decode(HEAD).expect("a known head");
    let cover = Cover { head, extensions: &[], class: PadClass::Constrained };
    let draft = Draft { lamport: 3, parents: vec![[1; 6]], body: b"text".to_vec() };
    let sealed = seal(&origin(), &chain, &signer(), &cover, &draft, &mut Chance::from_seed([6; 32]));
    let mut kept = SenderChains::default();
    kept.insert(EPOCH, chains);
    (sealed.expect("a short letter").envelope, kept, seed)
}

fn origin() -> Origin {
    Origin { group: GROUP, epoch: EPOCH, sender: device(2) }
}

fn signer() -> SigningKey {
    SigningKey::from_seed(&[8; 32])
}

/// Welcomes, rekey material and slices, each kind by its first byte.
pub fn told(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % 3 {
        0 => {
            let Some(welcome) = Welcome::decode(bytes) else { return };
            assert_eq!(Welcome::decode(&welcome.encode()), Some(welcome.clone()));
            let before = ring();
            let mut after = before.clone();
            for secret in &welcome.secrets {
                if after.accept(secret).is_err() {
                    assert_eq!(after, before, "a refusal changes nothing");
                    return;
                }
            }
        }
        1 => {
            let (_, root) = rekey();
            let Ok(material) = RekeyMaterial::decode(bytes, 3) else { return };
            assert_eq!(RekeyMaterial::decode(&material.encode(), 3), Ok(material.clone()));
            for n in 0..3u8 {
                let slice = material.inline_slice(u16::from(n)).expect("three slices travel with the operation");
                assert!(material.proves(&slice));
                let (me, own) = (device(n + 1), key(n + 1));
                let _ = open_slice(&place(), &material, &slice, &me, &own, std::slice::from_ref(&root));
            }
        }
        _ => {
            let (made, root) = rekey();
            let Ok(slice) = ProvenSlice::decode(bytes) else { return };
            assert_eq!(ProvenSlice::decode(&slice.encode()), Ok(slice.clone()));
            let opened = open_slice(&place(), &made.material, &slice, &device(2), &key(2), &[root]);
            assert_eq!(
                opened.is_ok(),
                made.material.inline_slice(1) == Some(slice),
                "only the slice of the rekey opens"
            );
        }
    }
}

/// An envelope as it is, with the tag of a letter, and its sealed part as the inside of a letter that a member sealed.
pub fn read_letter(data: &[u8]) {
    let (genuine, chains, seed) = letter();
    let at = LetterPlace { epoch: EPOCH, writer: 1, n: 0 };
    let found = chains.find(at).expect("the first letter of a silent chain");
    let tag = chains.chain(&EPOCH, 1).expect("two writers").tag(0);
    let outside = [&HEAD[..], tag.as_bytes()].concat();
    let (_, chain_key) = kdf::<64>(seed.expose(), b"", "silbo/1/group/sender").split::<32, 32>();
    let message_key = mac(chain_key.expose(), &[1]);
    let (key, nonce) = kdf::<44>(&message_key, &[0; 16], "silbo/1/group/letter").split::<32, 12>();
    let ad = fields(&[GROUP.as_bytes(), EPOCH.as_bytes(), &device(2).to_bytes(), &0u32.to_be_bytes(), &outside]);
    let by_member = [&outside[..], &[0; 16], &aead::seal(&key, nonce.expose(), &ad, data)].concat();
    let mut with_tag = data.to_vec();
    if let Some(slot) = with_tag.get_mut(4..16) {
        slot.copy_from_slice(tag.as_bytes());
    }
    for envelope in [data.to_vec(), with_tag, by_member] {
        let opened = open(&origin(), &found, &signer().verifying_key(), &envelope);
        assert_eq!(opened.is_ok(), envelope == genuine, "only its author makes a letter");
    }
}

/// Rings, chains, skipped keys and roots as they are stored.
pub fn stored(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % 7 {
        0 => {
            let operations: Vec<KeyOperation> = ring().graph().operations().collect();
            stable(bytes, |bytes| KeyRing::decode(bytes, &operations), |ring| Some(ring.encode()));
        }
        6 => stable(bytes, KeyOperation::decode, |operation| Some(operation.encode())),
        1 => stable(bytes, Chain::decode, Chain::encode),
        2 => stable(bytes, |bytes| EpochChains::decode(bytes, &[]), |chains| Some(chains.encode_silent())),
        3 => stable(bytes, SkippedLetter::decode, |key| Some(key.encode())),
        4 => stable(bytes, SendingRoot::decode, |root| Some(root.encode())),
        _ => stable(bytes, ReceivingRoot::decode, |root| Some(root.encode())),
    }
}

fn stable<T>(bytes: &[u8], decode: impl Fn(&[u8]) -> Option<T>, encode: impl Fn(&T) -> Option<Vec<u8>>) {
    if let Some(value) = decode(bytes) {
        let canonical = encode(&value).expect("what was decoded has a record");
        let again = decode(&canonical).expect("what was encoded decodes");
        assert_eq!(encode(&again), Some(canonical));
    }
}

/// Seeds of [`told`].
pub fn told_seeds() -> Vec<Vec<u8>> {
    let (made, _) = rekey();
    let ring = ring();
    let secret = ring.welcome(&OperationId([2; 16]), &device(2)).expect("the base is held");
    let welcome = Welcome { group: GROUP, secrets: vec![secret] };
    vec![
        [&[0][..], &welcome.encode()].concat(),
        [&[1][..], &made.material.encode()].concat(),
        [&[2][..], &ProvenSlice::of(&made.slices, 1).expect("three slices").encode()].concat(),
    ]
}

/// Seeds of [`read_letter`]: an envelope, and an inside without a good signature.
pub fn letter_seeds() -> Vec<Vec<u8>> {
    vec![letter().0, [&[2, 0x20, 3][..], &[0; 64], b"text\x80"].concat()]
}

/// Seeds of [`stored`].
pub fn stored_seeds() -> Vec<Vec<u8>> {
    let (_, root) = rekey();
    let (_, mut chains, _) = letter();
    let silent = chains.epoch(&EPOCH).expect("its chains are kept").encode_silent();
    let found = chains.find(LetterPlace { epoch: EPOCH, writer: 1, n: 2 }).expect("two ahead");
    chains.commit(found, UnixTime(1));
    let heard = chains.chain(&EPOCH, 1).and_then(Chain::encode).expect("it was heard");
    let skipped = chains.skipped().next().expect("two were passed").1.encode();
    let (_, passed) = root.reach(3).expect("two steps passed");
    let ring = ring();
    let operation = ring.graph().operations().last().expect("three operations").encode();
    [ring.encode(), heard, silent, skipped, roots().0.encode(), passed.encode(), operation]
        .iter()
        .zip(0u8..)
        .map(|(bytes, kind)| [&[kind][..], bytes].concat())
        .collect()
}
