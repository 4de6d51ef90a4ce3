//! A rekey: one fresh secret, sealed for each device that stays.
//!
//! ```text
//!   material = ephemeral 32 | commitment to x 32 | root of the slices 32 | how many | how many without ML-KEM | [slices]
//!   slice    = step 2 | ChaCha20-Poly1305 of x under KDF(DH(ephemeral, device) ‖ root step)       50 bytes
//! ```
//! Up to `limits::GROUP_INLINE_SLICES_MAX` devices the slices travel with the operation; beyond, each device gets its
//! own with a Merkle proof, in an envelope that it recognises as soon as it has the operation ([`SliceCover`]). The
//! commitment makes sure that all devices get the same secret: two slices of one rekey cannot open to different ones.
//! Step 0 is a slice without ML-KEM: its root is 32 zeros.

use std::collections::BTreeMap;

use prost::Message as _;
use subtle::ConstantTimeEq as _;

use super::roots::{ReceivingRoot, SendingRoot};
use crate::chance::Chance;
use crate::crypto::hash::trunc;
use crate::crypto::kdf::{kdf, kdf_fields};
use crate::crypto::x25519::{PublicKey, SecretKey};
use crate::crypto::{Secret, aead, fields, hash};
use crate::ids::{GroupDevice, GroupId, OperationId, Preimage, Tag};
use crate::limits::{GROUP_DEVICES_MAX, GROUP_INLINE_SLICES_MAX, GROUP_ROOTS_PER_REKEYER_MAX};
use crate::session::tag_of;
use crate::wire::envelope::{ENVELOPE_FIXED_BYTES, Envelope, EnvelopeHead};
use crate::wire::padding::{PadClass, pad, unpad};
use crate::wire::proto;

/// Bytes of one slice.
pub const SLICE_BYTES: usize = 2 + 32 + aead::TAG_BYTES;
/// Bytes of a node of the tree.
const NODE_BYTES: usize = 16;
/// The ephemeral is fresh, so every key is, and the nonce is constant.
const NONCE_ONCE: [u8; 12] = [0; 12];
/// In place of a root step, for a device that has sent no init.
const NO_ROOT: [u8; 32] = [0; 32];

type Node = [u8; NODE_BYTES];

/// Who rekeys what: part of every slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RekeyPlace {
    /// The group.
    pub group: GroupId,
    /// Who rekeys.
    pub rekeyer: GroupDevice,
    /// What the rekey builds on, ascending.
    pub heads: Vec<OperationId>,
}

/// A device that gets a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The device.
    pub device: GroupDevice,
    /// Its agreement key for the group.
    pub key: PublicKey,
}

/// The key material of a rekey as its operation carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RekeyMaterial {
    pub(super) ephemeral: PublicKey,
    pub(super) commitment: [u8; 32],
    pub(super) slices_root: [u8; 32],
    pub(super) count: u16,
    pub(super) classical: u16,
    pub(super) inline: Vec<Slice>,
}

/// One sealed copy of the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Step of the root between rekeyer and device; 0 without.
    pub step: u16,
    /// The sealed secret.
    pub sealed: [u8; 32 + aead::TAG_BYTES],
}

/// A slice with the place of the device it is for, as it is said on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacedSlice {
    /// Place of the device among those of the rekey.
    pub index: u16,
    /// The slice.
    pub slice: Slice,
}

/// A slice on its own, as it travels in an envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenSlice {
    /// Place of the device among those of the rekey.
    pub index: u16,
    /// The slice.
    pub slice: Slice,
    /// The neighbours on the way to the root of the tree.
    pub proof: Vec<[u8; 16]>,
}

/// What a slice that travels on its own is wrapped in: only the rekeyer and the device can compute it, and both can
/// once the operation is known. Tag and receipt are those of mail between two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceCover {
    /// The receipt: shows that the device has stored the secret.
    pub preimage: Preimage,
    key: Secret<32>,
}

/// What a rekeyer has made. It sends nothing before roots and secret are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeRekey {
    /// For the operation.
    pub material: RekeyMaterial,
    /// All slices, in the order of the recipients.
    pub slices: Vec<Slice>,
    /// In the same order what they travel in, unless the operation carries them.
    pub covers: Vec<SliceCover>,
    /// The fresh secret.
    pub x: Secret<32>,
}

/// An opened slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedSlice {
    /// The fresh secret of the rekey.
    pub x: Secret<32>,
    /// Which of the given roots was used, and what replaces it; `None` for a slice without ML-KEM.
    pub root: Option<(usize, ReceivingRoot)>,
}

/// Why a rekey was not made or a slice not opened. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SliceError {
    /// No recipients, too many, or unsorted ones.
    #[error("the recipients are malformed")]
    Recipients,
    /// Bytes that are no rekey material or no slice.
    #[error("the key material is malformed")]
    Malformed,
    /// The slice is not under the root of the tree at this place.
    #[error("the slice does not belong to the rekey")]
    NotProven,
    /// It does not open with any of the roots.
    #[error("the slice does not open")]
    Rejected,
    /// It opens, to another secret than the rekey promises everybody.
    #[error("the slice holds another secret than the rekey")]
    AnotherSecret,
}

/// Makes a rekey for `recipients`, ascending, the rekeyer among them. Takes a step of each root there is.
///
/// # Errors
/// [`SliceError::Recipients`]; no root has moved.
pub fn make_rekey(
    place: &RekeyPlace,
    recipients: &[Recipient],
    roots: &mut BTreeMap<GroupDevice, SendingRoot>,
    chance: &mut Chance,
) -> Result<MadeRekey, SliceError> {
    let sorted = recipients.is_sorted_by(|a, b| a.device < b.device);
    if recipients.is_empty() || recipients.len() > GROUP_DEVICES_MAX || !sorted {
        return Err(SliceError::Recipients);
    }
    let (x, ephemeral) = (Secret::random(chance), SecretKey::generate(chance));
    let (public, commitment) = (ephemeral.public(), commitment_to(&x));
    let mut moved = BTreeMap::new();
    let mut slices = Vec::with_capacity(recipients.len());
    let mut covers = Vec::new();
    for (index, to) in (0..=u16::MAX).zip(recipients) {
        let step = roots.get(&to.device).and_then(SendingRoot::step);
        let (number, root) = match step {
            Some((number, key, after)) => {
                moved.insert(to.device, after);
                (number, key)
            }
            None => (0, Secret::new(NO_ROOT)),
        };
        let shared = ephemeral.diffie_hellman(&to.key).map_err(|_| SliceError::Recipients)?;
        let key = slice_key(&shared, &root, &public, &to.key);
        let ad = slice_ad(place, &public, &commitment, index, &to.device, number);
        let sealed = aead::seal(&key, &NONCE_ONCE, &ad, x.expose());
        let sealed = sealed.try_into().map_err(|_| SliceError::Malformed)?;
        slices.push(Slice { step: number, sealed });
        covers.push(SliceCover::new(&shared, &public, &to.key));
    }
    roots.extend(moved);
    let count = u16::try_from(slices.len()).map_err(|_| SliceError::Recipients)?;
    let classical = (0..=u16::MAX).zip(slices.iter().filter(|slice| slice.step == 0)).count();
    let material = RekeyMaterial {
        ephemeral: public,
        commitment,
        slices_root: tree_root(count, &leaves(&slices)),
        count,
        classical: u16::try_from(classical).map_err(|_| SliceError::Recipients)?,
        inline: if slices.len() <= GROUP_INLINE_SLICES_MAX { slices.clone() } else { Vec::new() },
    };
    Ok(MadeRekey { material, slices, covers, x })
}

/// Opens the slice at `index` for `me`, trying each of the roots shared with the rekeyer.
///
/// # Errors
/// [`SliceError`].
pub fn open_slice(
    place: &RekeyPlace,
    material: &RekeyMaterial,
    proven: &ProvenSlice,
    me: &GroupDevice,
    key: &SecretKey,
    roots: &[ReceivingRoot],
) -> Result<OpenedSlice, SliceError> {
    if !material.proves(proven) {
        return Err(SliceError::NotProven);
    }
    open_placed(place, material, &proven.placed(), me, key, roots)
}

/// Opens a slice without a proof: that it opens, and to the secret the rekey promises, shows the device for which it
/// is that it is the right one. Nobody else can tell.
///
/// # Errors
/// [`SliceError`].
pub fn open_placed(
    place: &RekeyPlace,
    material: &RekeyMaterial,
    placed: &PlacedSlice,
    me: &GroupDevice,
    key: &SecretKey,
    roots: &[ReceivingRoot],
) -> Result<OpenedSlice, SliceError> {
    let PlacedSlice { index, slice } = placed;
    let shared = key.diffie_hellman(&material.ephemeral).map_err(|_| SliceError::Rejected)?;
    let ad = slice_ad(place, &material.ephemeral, &material.commitment, *index, me, slice.step);
    let open = |root: &Secret<32>| {
        let key = slice_key(&shared, root, &material.ephemeral, &key.public());
        aead::open(&key, &NONCE_ONCE, &ad, &slice.sealed).ok().and_then(|x| Secret::<32>::read(&x))
    };
    let (x, root) = if slice.step == 0 {
        (open(&Secret::new(NO_ROOT)).ok_or(SliceError::Rejected)?, None)
    } else {
        let tried = roots.iter().take(GROUP_ROOTS_PER_REKEYER_MAX).enumerate();
        let mut opened = tried.filter_map(|(at, root)| {
            let (key, after) = root.reach(slice.step)?;
            Some((open(&key)?, Some((at, after))))
        });
        opened.next().ok_or(SliceError::Rejected)?
    };
    if !bool::from(commitment_to(&x).ct_eq(&material.commitment)) {
        return Err(SliceError::AnotherSecret);
    }
    Ok(OpenedSlice { x, root })
}

impl RekeyMaterial {
    /// The bytes for the operation.
    pub fn encode(&self) -> Vec<u8> {
        proto::RekeyMaterial {
            eph: self.ephemeral.as_bytes().to_vec(),
            commitment: self.commitment.to_vec(),
            slices_root: self.slices_root.to_vec(),
            devices: u32::from(self.count),
            classical: u32::from(self.classical),
            slices: Slice::write_all(&self.inline),
        }
        .encode_to_vec()
    }

    /// Reads the material of an operation for so many devices. Inline slices are checked against the root here.
    ///
    /// # Errors
    /// [`SliceError::Malformed`] or [`SliceError::NotProven`].
    pub fn decode(bytes: &[u8], devices: usize) -> Result<Self, SliceError> {
        let read = proto::RekeyMaterial::decode(bytes).map_err(|_| SliceError::Malformed)?;
        let count = u16::try_from(read.devices).map_err(|_| SliceError::Malformed)?;
        let classical = u16::try_from(read.classical).map_err(|_| SliceError::Malformed)?;
        let (slices, rest) = read.slices.as_chunks::<SLICE_BYTES>();
        let inline: Vec<Slice> = slices.iter().map(Slice::from_bytes).collect();
        let expected = if devices <= GROUP_INLINE_SLICES_MAX { devices } else { 0 };
        if usize::from(count) != devices
            || devices == 0
            || devices > GROUP_DEVICES_MAX
            || classical > count
            || inline.len() != expected
            || !rest.is_empty()
        {
            return Err(SliceError::Malformed);
        }
        let material = Self {
            ephemeral: PublicKey::read(&read.eph).map_err(|_| SliceError::Malformed)?,
            commitment: read.commitment.try_into().map_err(|_| SliceError::Malformed)?,
            slices_root: read.slices_root.try_into().map_err(|_| SliceError::Malformed)?,
            count,
            classical,
            inline,
        };
        if !material.inline.is_empty() {
            let told = material.inline.iter().filter(|slice| slice.step == 0).count() == usize::from(classical);
            let root = tree_root(count, &leaves(&material.inline));
            return if told && root == material.slices_root { Ok(material) } else { Err(SliceError::NotProven) };
        }
        Ok(material)
    }

    /// Whether these are the slices of all devices of the rekey.
    pub fn is_of(&self, slices: &[Slice]) -> bool {
        slices.len() == usize::from(self.count) && tree_root(self.count, &leaves(slices)) == self.slices_root
    }

    /// Slices without ML-KEM: the epoch is classical if there is one.
    pub fn classical(&self) -> u16 {
        self.classical
    }

    /// Whether the operation carries the slices.
    pub fn carries_slices(&self) -> bool {
        !self.inline.is_empty()
    }

    /// What the slice of the device with this key travels in; `None` if the operation carries it.
    pub fn cover(&self, key: &SecretKey) -> Option<SliceCover> {
        let shared = key.diffie_hellman(&self.ephemeral).ok().filter(|_| !self.carries_slices())?;
        Some(SliceCover::new(&shared, &self.ephemeral, &key.public()))
    }

    /// The slice at a place, if they travel with the operation.
    pub fn inline_slice(&self, index: u16) -> Option<ProvenSlice> {
        let slice = *self.inline.get(usize::from(index))?;
        Some(ProvenSlice { index, slice, proof: prove(&leaves(&self.inline), index) })
    }

    /// Whether the slice is under the root of the tree at its place.
    pub fn proves(&self, proven: &ProvenSlice) -> bool {
        let mut node = leaf(proven.index, &proven.slice);
        let (mut at, mut width) = (usize::from(proven.index), usize::from(self.count));
        if at >= width {
            return false;
        }
        let mut proof = proven.proof.iter();
        while width > 1 {
            if at % 2 == 1 || at + 1 < width {
                let Some(neighbour) = proof.next() else {
                    return false;
                };
                node = if at % 2 == 1 { parent(neighbour, &node) } else { parent(&node, neighbour) };
            }
            (at, width) = (at / 2, width.div_ceil(2));
        }
        proof.next().is_none() && top(self.count, &node) == self.slices_root
    }
}

impl SliceCover {
    fn new(shared: &Secret<32>, ephemeral: &PublicKey, device: &PublicKey) -> Self {
        let salt = fields(&[&ephemeral.typed(), &device.typed()]);
        let receipt: Secret<16> = kdf(shared.expose(), &salt, "silbo/1/group/slice-receipt");
        let key = kdf(shared.expose(), &salt, "silbo/1/group/slice-envelope");
        Self { preimage: Preimage(*receipt.expose()), key }
    }

    /// The tag of the envelope.
    pub fn tag(&self) -> Tag {
        tag_of(&self.preimage)
    }

    /// The envelope of a slice. A cover is used once.
    ///
    /// # Errors
    /// [`SliceError::Malformed`] for a slice with more than a proof.
    pub fn seal(&self, head: EnvelopeHead, proven: &ProvenSlice) -> Result<Vec<u8>, SliceError> {
        let fixed = head.with_tag(&self.tag());
        let overhead = ENVELOPE_FIXED_BYTES + aead::TAG_BYTES;
        let padded = pad(PadClass::Rich, &proven.encode(), overhead).map_err(|_| SliceError::Malformed)?;
        Ok([&fixed[..], &aead::seal(&self.key, &NONCE_ONCE, &fixed, &padded)].concat())
    }

    /// The slice in an envelope.
    ///
    /// # Errors
    /// [`SliceError::Rejected`] for somebody else's bytes under the tag, [`SliceError::Malformed`] for what the
    /// rekeyer has sealed and is no slice.
    pub fn open(&self, envelope: &[u8]) -> Result<ProvenSlice, SliceError> {
        let parsed = Envelope::parse(envelope).map_err(|_| SliceError::Rejected)?;
        let fixed = envelope.get(..ENVELOPE_FIXED_BYTES).ok_or(SliceError::Rejected)?;
        if !parsed.ext.is_empty() {
            return Err(SliceError::Rejected);
        }
        let padded = aead::open(&self.key, &NONCE_ONCE, fixed, parsed.sealed).map_err(|_| SliceError::Rejected)?;
        ProvenSlice::decode(unpad(&padded).ok_or(SliceError::Malformed)?)
    }
}

impl PlacedSlice {
    /// Bytes: a place and a slice.
    pub const BYTES: usize = 2 + SLICE_BYTES;

    /// The bytes on a link.
    pub fn to_bytes(self) -> Vec<u8> {
        [&self.index.to_be_bytes()[..], &self.slice.to_bytes()].concat()
    }

    /// Reads slices one after the other; what follows the last whole one is ignored.
    pub fn read_all(bytes: &[u8]) -> impl Iterator<Item = Self> {
        let (placed, _rest) = bytes.as_chunks::<{ Self::BYTES }>();
        placed.iter().map(|[high, low, slice @ ..]| Self {
            index: u16::from_be_bytes([*high, *low]),
            slice: Slice::from_bytes(slice),
        })
    }
}

impl ProvenSlice {
    /// The same without the proof.
    pub fn placed(&self) -> PlacedSlice {
        PlacedSlice { index: self.index, slice: self.slice }
    }

    /// The slice at `index` of a whole rekey, with its proof.
    pub fn of(slices: &[Slice], index: u16) -> Option<Self> {
        let slice = *slices.get(usize::from(index))?;
        Some(Self { index, slice, proof: prove(&leaves(slices), index) })
    }

    /// All slices of a rekey, each with its proof: the tree is built once.
    pub fn all(slices: &[Slice]) -> Vec<Self> {
        let mut levels = vec![leaves(slices)];
        while let Some(level) = levels.last().filter(|level| level.len() > 1) {
            levels.push(level_up(level));
        }
        let proof = |index: u16| {
            let places = std::iter::successors(Some(usize::from(index)), |at| Some(at / 2));
            levels.iter().zip(places).filter_map(|(level, at)| level.get(at ^ 1).copied()).collect()
        };
        (0..=u16::MAX).zip(slices).map(|(index, slice)| Self { index, slice: *slice, proof: proof(index) }).collect()
    }

    /// The bytes inside the envelope.
    pub fn encode(&self) -> Vec<u8> {
        let (slice, proof) = (self.slice.to_bytes().to_vec(), self.proof.concat());
        proto::ProvenSlice { index: u32::from(self.index), slice, proof }.encode_to_vec()
    }

    /// Reads [`Self::encode`].
    ///
    /// # Errors
    /// [`SliceError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, SliceError> {
        let read = proto::ProvenSlice::decode(bytes).map_err(|_| SliceError::Malformed)?;
        let slice: [u8; SLICE_BYTES] = read.slice.try_into().map_err(|_| SliceError::Malformed)?;
        let (proof, rest) = read.proof.as_chunks::<NODE_BYTES>();
        if proof.len() > GROUP_DEVICES_MAX.ilog2() as usize || !rest.is_empty() {
            return Err(SliceError::Malformed);
        }
        let index = u16::try_from(read.index).map_err(|_| SliceError::Malformed)?;
        Ok(Self { index, slice: Slice::from_bytes(&slice), proof: proof.to_vec() })
    }
}

impl Slice {
    /// All slices of a rekey, one after the other.
    pub fn write_all(slices: &[Self]) -> Vec<u8> {
        slices.iter().flat_map(|slice| slice.to_bytes()).collect()
    }

    /// Reads [`Self::write_all`]; `None` for bytes that are no whole slices, or too many.
    pub fn read_all(bytes: &[u8]) -> Option<Vec<Self>> {
        let (slices, rest) = bytes.as_chunks::<SLICE_BYTES>();
        (rest.is_empty() && slices.len() <= GROUP_DEVICES_MAX).then(|| slices.iter().map(Self::from_bytes).collect())
    }

    fn to_bytes(self) -> [u8; SLICE_BYTES] {
        let mut out = [0; SLICE_BYTES];
        let (step, sealed) = out.split_at_mut(2);
        step.copy_from_slice(&self.step.to_be_bytes());
        sealed.copy_from_slice(&self.sealed);
        out
    }

    fn from_bytes(bytes: &[u8; SLICE_BYTES]) -> Self {
        let [high, low, sealed @ ..] = *bytes;
        Self { step: u16::from_be_bytes([high, low]), sealed }
    }
}

fn commitment_to(x: &Secret<32>) -> [u8; 32] {
    hash("silbo/1/group/commitment", &[x.expose()])
}

fn slice_key(shared: &Secret<32>, root: &Secret<32>, ephemeral: &PublicKey, device: &PublicKey) -> Secret<32> {
    let salt = fields(&[&ephemeral.typed(), &device.typed()]);
    kdf_fields(&[shared.expose(), root.expose()], &salt, "silbo/1/group/slice")
}

fn slice_ad(
    place: &RekeyPlace,
    ephemeral: &PublicKey,
    commitment: &[u8; 32],
    index: u16,
    device: &GroupDevice,
    step: u16,
) -> [u8; 32] {
    let heads: Vec<&[u8]> = place.heads.iter().map(OperationId::as_bytes).collect();
    let parts: [&[u8]; 8] = [
        place.group.as_bytes(),
        &place.rekeyer.to_bytes(),
        &heads.concat(),
        ephemeral.as_bytes(),
        commitment,
        &index.to_be_bytes(),
        &device.to_bytes(),
        &step.to_be_bytes(),
    ];
    hash("silbo/1/group/slice-ad", &parts)
}

// ---------- the tree: neighbours are joined two by two; one without a neighbour goes up as it is

fn leaf(index: u16, slice: &Slice) -> Node {
    trunc(&hash("silbo/1/group/slice-leaf", &[&index.to_be_bytes(), &slice.to_bytes()]))
}

fn parent(left: &Node, right: &Node) -> Node {
    trunc(&hash("silbo/1/group/slice-node", &[left, right]))
}

fn top(count: u16, node: &Node) -> [u8; 32] {
    hash("silbo/1/group/slice-root", &[&count.to_be_bytes(), node])
}

fn leaves(slices: &[Slice]) -> Vec<Node> {
    (0..=u16::MAX).zip(slices).map(|(index, slice)| leaf(index, slice)).collect()
}

fn level_up(level: &[Node]) -> Vec<Node> {
    level
        .chunks(2)
        .filter_map(|pair| match pair {
            [left, right] => Some(parent(left, right)),
            [alone] => Some(*alone),
            _ => None,
        })
        .collect()
}

fn tree_root(count: u16, leaves: &[Node]) -> [u8; 32] {
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        level = level_up(&level);
    }
    top(count, level.first().unwrap_or(&[0; NODE_BYTES]))
}

fn prove(leaves: &[Node], index: u16) -> Vec<Node> {
    let (mut level, mut at, mut proof) = (leaves.to_vec(), usize::from(index), Vec::new());
    while level.len() > 1 {
        proof.extend(level.get(at ^ 1));
        (level, at) = (level_up(&level), at / 2);
    }
    proof
}
