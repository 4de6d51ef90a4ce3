//! One operation on a group: what somebody says, after what, and signed.
//!
//! The bytes that are signed are kept and hashed as they travelled. What is outside of the kind (group, author,
//! lamport, parents, lengths) is read strictly and refused when wrong. A kind, a role or a field value this version
//! does not know is *kept* as [`Kind::Other`], an operation without effect: were it refused, everything that follows
//! it would be missing here, and the group split between versions.

use prost::Message;
use prost::encoding::{DecodeContext, decode_key, skip_field};

pub use super::role::GroupRole as Role;
use crate::crypto::ed25519::{SigningKey, VerifyingKey};
use crate::crypto::hash::{hash, trunc};
use crate::crypto::x25519::PublicKey;
use crate::identity::device_log::ALG_ED25519;
use crate::ids::{AccountId, DeviceId, GroupDevice, GroupId, OperationId};
use crate::limits::{
    DEVICES_MAX, GROUP_AVATAR_BYTES_MAX, GROUP_OPERATION_BYTES_MAX, GROUP_OPERATIONS_MAX,
    GROUP_REMOVALS_PER_OPERATION_MAX, GROUP_TOPIC_BYTES_MAX, NAME_BYTES_MAX,
};
use crate::wire::proto;
use crate::wire::proto::group_op::B;

/// Purpose of the signature of an operation.
const OPERATION_PURPOSE: &str = "silbo/1/sign/group-operation";
/// Purpose of the signature by which the holder of a link asks to be let in.
const JOIN_PURPOSE: &str = "silbo/1/sign/group-join";
/// Parents an operation may name.
pub const PARENTS_MAX: usize = 8;
/// Key heads an operation may build on.
pub const KEY_HEADS_MAX: usize = 64;
/// Longest voucher of a device: a device log of a few entries.
const VOUCHER_BYTES_MAX: usize = 2 * 1_024;

/// A device of a member, with the keys it has in this group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceKeys {
    /// The device.
    pub id: DeviceId,
    /// Signs operations and messages.
    pub sign: VerifyingKey,
    /// Receives fresh keys.
    pub agree: PublicKey,
    /// What binds both to the account's device log; opaque here.
    pub vouch: Vec<u8>,
}

/// Settings of a group; in an operation only those it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// What the group is called.
    pub name: Option<String>,
    /// What it is about.
    pub topic: Option<String>,
    /// A small picture; opaque here.
    pub avatar: Option<Vec<u8>>,
    /// Seconds messages are kept; 0 for ever.
    pub retention_s: Option<u32>,
    /// Days of history a newcomer is given; 0 none, `u32::MAX` all.
    pub history_days: Option<u32>,
    /// Least role that may add members.
    pub add_role: Option<Role>,
    /// Least role that may write.
    pub send_role: Option<Role>,
    /// Least role that may delete what others wrote.
    pub delete_role: Option<Role>,
    /// Seconds between two messages of one member.
    pub slow_s: Option<u32>,
}

/// What an operation says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The beginning: the author is the owner.
    Create {
        /// The first settings.
        info: Info,
        /// The founder's devices.
        devices: Vec<DeviceKeys>,
    },
    /// Brings an account in.
    Add {
        /// Whom.
        account: AccountId,
        /// As what.
        role: Role,
        /// With which devices.
        devices: Vec<DeviceKeys>,
        /// The key heads its key builds on.
        heads: Vec<OperationId>,
    },
    /// Puts accounts out.
    Remove {
        /// Ascending. To take the branch somebody brought in along, all of it is named (`Membership::branch`).
        accounts: Vec<AccountId>,
        /// For people; opaque here.
        reason: u32,
    },
    /// Gives a member a role.
    Role {
        /// Whom.
        account: AccountId,
        /// Which.
        role: Role,
    },
    /// Changes the devices of the author's account. Drops come first: a device in both is replaced.
    Devices {
        /// Devices, or keys for known ones.
        add: Vec<DeviceKeys>,
        /// Ascending.
        drop: Vec<DeviceId>,
    },
    /// The author's account goes.
    Leave {
        /// For people; opaque here.
        reason: u32,
    },
    /// Changes settings.
    Info(Info),
    /// A fresh key for everybody who is a member as far as the operation's past knows.
    Rekey {
        /// The key heads it builds on.
        heads: Vec<OperationId>,
        /// The key, sealed for them; opaque here.
        material: Vec<u8>,
    },
    /// Makes a link by which people may join.
    Link {
        /// Whoever holds its secret holds the link.
        key: VerifyingKey,
        /// Accounts it lets in; 0: as many as like.
        uses: u32,
        /// The last day it is good for. For whoever lets people in: the set of operations knows no time.
        expires_day: u32,
        /// What it makes of them: up to moderator.
        role: Role,
        /// Whether somebody who may add members has to let them in.
        approval: bool,
    },
    /// Makes a link worthless.
    RevokeLink {
        /// The operation that made it.
        link: OperationId,
    },
    /// Lets somebody in who holds a link.
    Join {
        /// The operation that made the link.
        link: OperationId,
        /// Whom.
        account: AccountId,
        /// With which devices.
        devices: Vec<DeviceKeys>,
        /// Signature by the key of the link ([`sign_join`]).
        proof: Vec<u8>,
        /// The key heads its key builds on.
        heads: Vec<OperationId>,
    },
    /// While on, nobody is added, raised or invited.
    Freeze {
        /// On or off.
        on: bool,
    },
    /// A member is not to be heard for a time.
    Mute {
        /// Whom.
        account: AccountId,
        /// Until when; 0 lifts it.
        until_ms: u64,
    },
    /// What the author's device makes of everything it knows; all others compare.
    Checkpoint {
        /// `Membership::digest` of its past, 32 bytes.
        state_hash: Vec<u8>,
    },
    /// Of a later version, or unreadable: without effect.
    Other,
}

/// Why bytes are no operation. Always the fault of who sent them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// Not an operation, or one that contradicts itself.
    #[error("the group operation is malformed")]
    Malformed,
    /// More than `limits::GROUP_OPERATION_BYTES_MAX`.
    #[error("the group operation is too large")]
    TooLarge,
    /// A lamport no group can have come to: there are not so many operations.
    #[error("the group operation is dated absurdly")]
    Lamport,
}

/// An operation as it was read. Its signature is not checked: that needs its past (`graph.rs`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    id: OperationId,
    group: GroupId,
    author: GroupDevice,
    lamport: u64,
    parents: Vec<OperationId>,
    kind: Kind,
    signed: proto::Signed,
}

impl Operation {
    /// Reads an operation. Its author is a claim until a graph has taken it in; whoever limits how much one member may
    /// write (10 operations a minute for an admin) asks here, before it costs a signature check.
    ///
    /// # Errors
    /// [`OperationError`].
    pub fn read(signed: &proto::Signed) -> Result<Self, OperationError> {
        if signed.body.len() > GROUP_OPERATION_BYTES_MAX {
            return Err(OperationError::TooLarge);
        }
        if signed.alg != ALG_ED25519 || signed.sig.len() != 64 || !signed.signer.is_empty() || !is_single(&signed.body)
        {
            return Err(OperationError::Malformed);
        }
        let op = proto::GroupOp::decode(signed.body.as_slice()).map_err(|_| OperationError::Malformed)?;
        let author = GroupDevice::read(&op.author).ok_or(OperationError::Malformed)?;
        let parents = sorted_ids(&op.parents, PARENTS_MAX).ok_or(OperationError::Malformed)?;
        let is_genesis = matches!(op.b, Some(B::Create(_)));
        if is_genesis != parents.is_empty() || is_genesis != (op.lamport == 0) || is_genesis != op.group.is_empty() {
            return Err(OperationError::Malformed);
        }
        if op.lamport >= GROUP_OPERATIONS_MAX as u64 {
            return Err(OperationError::Lamport);
        }
        let kind = op.b.and_then(Kind::read).unwrap_or(Kind::Other);
        // The group id is the hash of the genesis: there is none before it can be read.
        if is_genesis && kind == Kind::Other {
            return Err(OperationError::Malformed);
        }
        let digest = |label| trunc(&hash(label, &[&signed.body]));
        let group = if is_genesis {
            GroupId(digest("silbo/1/group"))
        } else {
            GroupId::read(&op.group).ok_or(OperationError::Malformed)?
        };
        let id = OperationId(digest("silbo/1/group-operation"));
        Ok(Self { id, group, author, lamport: op.lamport, parents, kind, signed: signed.clone() })
    }

    /// Its name; a second signature over the same words makes no second operation.
    pub fn id(&self) -> OperationId {
        self.id
    }

    /// The group.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// Who says to have written it.
    pub fn author(&self) -> GroupDevice {
        self.author
    }

    /// Whose devices it brings in, if it brings in any.
    pub fn owner_of_devices(&self) -> AccountId {
        match &self.kind {
            Kind::Add { account, .. } | Kind::Join { account, .. } => *account,
            _ => self.author.account,
        }
    }

    /// One more than the largest of its parents.
    pub fn lamport(&self) -> u64 {
        self.lamport
    }

    /// The operations it follows, ascending.
    pub fn parents(&self) -> &[OperationId] {
        &self.parents
    }

    /// What it says.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The bytes as they travelled.
    pub fn signed(&self) -> &proto::Signed {
        &self.signed
    }

    pub(super) fn is_signed_by(&self, key: &VerifyingKey) -> bool {
        key.verify(OPERATION_PURPOSE, &[&self.signed.body], &self.signed.sig).is_ok()
    }
}

/// Signs an operation.
pub fn sign(key: &SigningKey, op: &proto::GroupOp) -> proto::Signed {
    let body = op.encode_to_vec();
    let sig = key.sign(OPERATION_PURPOSE, &[&body]).to_vec();
    proto::Signed { body, sig, alg: ALG_ED25519, signer: Vec::new() }
}

/// By which the holder of a link asks to be let in with these devices, into this group only.
pub fn sign_join(
    key: &SigningKey,
    group: &GroupId,
    link: &OperationId,
    account: &AccountId,
    devices: &[DeviceKeys],
) -> [u8; 64] {
    key.sign(JOIN_PURPOSE, &[&group.0, &link.0, &account.0, &device_bytes(devices)])
}

pub(super) fn verify_join(
    key: &VerifyingKey,
    group: &GroupId,
    link: &OperationId,
    account: &AccountId,
    devices: &[DeviceKeys],
    proof: &[u8],
) -> bool {
    key.verify(JOIN_PURPOSE, &[&group.0, &link.0, &account.0, &device_bytes(devices)], proof).is_ok()
}

fn device_bytes(devices: &[DeviceKeys]) -> Vec<u8> {
    devices.iter().flat_map(|d| [&d.id.0[..], d.sign.as_bytes(), d.agree.as_bytes()].concat()).collect()
}

impl DeviceKeys {
    fn read(device: &proto::GDevice) -> Option<Self> {
        let vouch = device.vouch.clone();
        (vouch.len() <= VOUCHER_BYTES_MAX).then_some(())?;
        let (id, sign) = (DeviceId::read(&device.device_id)?, VerifyingKey::read(&device.gpk_ed).ok()?);
        Some(Self { id, sign, agree: PublicKey::read(&device.gpk_x).ok()?, vouch })
    }

    /// As it goes on the wire.
    pub fn to_proto(&self) -> proto::GDevice {
        proto::GDevice {
            device_id: self.id.0.to_vec(),
            gpk_x: self.agree.as_bytes().to_vec(),
            gpk_ed: self.sign.as_bytes().to_vec(),
            vouch: self.vouch.clone(),
        }
    }
}

impl Info {
    fn read(info: proto::GInfo) -> Option<Self> {
        let fits = |text: &Option<String>, max| text.as_ref().is_none_or(|text| text.len() <= max);
        let role = |number: Option<u32>| number.map_or(Some(None), |number| read_role(number).map(Some));
        let sized = info.avatar.as_ref().is_none_or(|avatar| avatar.len() <= GROUP_AVATAR_BYTES_MAX);
        (fits(&info.name, NAME_BYTES_MAX) && fits(&info.topic, GROUP_TOPIC_BYTES_MAX) && sized).then_some(())?;
        Some(Self {
            add_role: role(info.add_role)?,
            send_role: role(info.send_role)?,
            delete_role: role(info.delete_role)?,
            name: info.name,
            topic: info.topic,
            avatar: info.avatar,
            retention_s: info.retention_s,
            history_days: info.history_days,
            slow_s: info.slow_s,
        })
    }

    /// As it goes on the wire.
    pub fn to_proto(&self) -> proto::GInfo {
        let number = |role: Option<Role>| role.map(|role| role as u32);
        proto::GInfo {
            name: self.name.clone(),
            topic: self.topic.clone(),
            avatar: self.avatar.clone(),
            retention_s: self.retention_s,
            history_days: self.history_days,
            add_role: number(self.add_role),
            send_role: number(self.send_role),
            delete_role: number(self.delete_role),
            slow_s: self.slow_s,
        }
    }
}

impl Kind {
    /// `None` for what this version cannot read.
    fn read(b: B) -> Option<Self> {
        Some(match b {
            B::Create(create) => {
                (create.nonce.len() == 16).then_some(())?;
                let devices = some_devices(&create.devices)?;
                Self::Create { info: Info::read(create.info.unwrap_or_default())?, devices }
            }
            B::Add(add) => Self::Add {
                account: AccountId::read(&add.aid)?,
                role: read_role(add.role)?,
                devices: some_devices(&add.devices)?,
                heads: some_heads(&add.heads)?,
            },
            B::Remove(remove) => {
                let accounts: Vec<AccountId> =
                    remove.aids.iter().map(|aid| AccountId::read(aid)).collect::<Option<_>>()?;
                let bounded = (1..=GROUP_REMOVALS_PER_OPERATION_MAX).contains(&accounts.len());
                (bounded && accounts.is_sorted_by(|a, b| a < b)).then_some(())?;
                Self::Remove { accounts, reason: remove.reason }
            }
            B::Role(role) => Self::Role { account: AccountId::read(&role.aid)?, role: read_role(role.role)? },
            B::Devices(delta) => {
                let drop: Vec<DeviceId> = delta.drop.iter().map(|id| DeviceId::read(id)).collect::<Option<_>>()?;
                (drop.len() <= DEVICES_MAX && drop.is_sorted_by(|a, b| a < b)).then_some(())?;
                let add = devices(&delta.add)?;
                (!add.is_empty() || !drop.is_empty()).then_some(())?;
                Self::Devices { add, drop }
            }
            B::Leave(leave) => Self::Leave { reason: leave.reason },
            B::Info(info) => Self::Info(Info::read(info)?),
            B::Rekey(rekey) => Self::Rekey { heads: some_heads(&rekey.heads)?, material: rekey.material },
            B::Link(link) if !link.revoke.is_empty() => Self::RevokeLink { link: OperationId::read(&link.revoke)? },
            B::Link(link) => Self::Link {
                key: VerifyingKey::read(&link.vk).ok()?,
                uses: link.uses,
                expires_day: link.expires_day,
                role: read_role(link.role)?,
                approval: link.approval,
            },
            B::Join(join) => Self::Join {
                link: OperationId::read(&join.link)?,
                account: AccountId::read(&join.aid)?,
                devices: some_devices(&join.devices)?,
                proof: (join.link_sig.len() == 64).then_some(join.link_sig)?,
                heads: some_heads(&join.heads)?,
            },
            B::Freeze(freeze) => Self::Freeze { on: freeze.on },
            B::Mute(mute) => Self::Mute { account: AccountId::read(&mute.aid)?, until_ms: mute.until_ms },
            B::Checkpoint(checkpoint) => {
                Self::Checkpoint { state_hash: (checkpoint.state_hash.len() == 32).then_some(checkpoint.state_hash)? }
            }
        })
    }

    /// As it goes on the wire. `nonce` makes two groups with the same beginning two groups. `None` for
    /// [`Kind::Other`], which cannot be written.
    pub fn to_proto(&self, nonce: [u8; 16]) -> Option<B> {
        let ids = |ids: &[OperationId]| ids.iter().map(|id| id.0.to_vec()).collect::<Vec<_>>();
        let keys = |devices: &[DeviceKeys]| devices.iter().map(DeviceKeys::to_proto).collect::<Vec<_>>();
        Some(match self {
            Self::Create { info, devices } => {
                B::Create(proto::GCreate { nonce: nonce.to_vec(), info: Some(info.to_proto()), devices: keys(devices) })
            }
            Self::Add { account, role, devices, heads } => B::Add(proto::GAdd {
                aid: account.0.to_vec(),
                role: *role as u32,
                devices: keys(devices),
                heads: ids(heads),
            }),
            Self::Remove { accounts, reason } => {
                B::Remove(proto::GRemove { aids: accounts.iter().map(|a| a.0.to_vec()).collect(), reason: *reason })
            }
            Self::Role { account, role } => B::Role(proto::GRole { aid: account.0.to_vec(), role: *role as u32 }),
            Self::Devices { add, drop } => {
                B::Devices(proto::GDeviceDelta { add: keys(add), drop: drop.iter().map(|id| id.0.to_vec()).collect() })
            }
            Self::Leave { reason } => B::Leave(proto::GLeave { reason: *reason }),
            Self::Info(info) => B::Info(info.to_proto()),
            Self::Rekey { heads, material } => {
                B::Rekey(proto::GRekey { heads: ids(heads), material: material.clone() })
            }
            Self::Link { key, uses, expires_day, role, approval } => B::Link(proto::GLink {
                vk: key.as_bytes().to_vec(),
                uses: *uses,
                expires_day: *expires_day,
                role: *role as u32,
                approval: *approval,
                revoke: Vec::new(),
            }),
            Self::RevokeLink { link } => B::Link(proto::GLink { revoke: link.0.to_vec(), ..Default::default() }),
            Self::Join { link, account, devices, proof, heads } => B::Join(proto::GJoin {
                link: link.0.to_vec(),
                aid: account.0.to_vec(),
                devices: keys(devices),
                link_sig: proof.clone(),
                heads: ids(heads),
            }),
            Self::Freeze { on } => B::Freeze(proto::GFreeze { on: *on }),
            Self::Mute { account, until_ms } => B::Mute(proto::GMute { aid: account.0.to_vec(), until_ms: *until_ms }),
            Self::Checkpoint { state_hash } => B::Checkpoint(proto::GCheckpoint { state_hash: state_hash.clone() }),
            Self::Other => return None,
        })
    }

    /// The key heads a key operation builds on; `None` for other kinds.
    pub fn heads(&self) -> Option<&[OperationId]> {
        match self {
            Self::Create { .. } => Some(&[]),
            Self::Add { heads, .. } | Self::Rekey { heads, .. } | Self::Join { heads, .. } => Some(heads),
            _ => None,
        }
    }

    /// The devices it brings in.
    pub fn devices(&self) -> &[DeviceKeys] {
        match self {
            Self::Create { devices, .. }
            | Self::Add { devices, .. }
            | Self::Join { devices, .. }
            | Self::Devices { add: devices, .. } => devices,
            _ => &[],
        }
    }
}

/// Reads the number on the wire; `None` for a role of a later version.
fn read_role(number: u32) -> Option<Role> {
    Role::from_code(u8::try_from(number).ok()?)
}

/// Ascending, different, at most `max`.
fn sorted_ids(ids: &[Vec<u8>], max: usize) -> Option<Vec<OperationId>> {
    (ids.len() <= max).then_some(())?;
    let ids: Vec<OperationId> = ids.iter().map(|id| OperationId::read(id)).collect::<Option<_>>()?;
    ids.is_sorted_by(|a, b| a < b).then_some(ids)
}

fn some_heads(ids: &[Vec<u8>]) -> Option<Vec<OperationId>> {
    sorted_ids(ids, KEY_HEADS_MAX).filter(|heads| !heads.is_empty())
}

/// Ascending by id, at most `limits::DEVICES_MAX`.
fn devices(devices: &[proto::GDevice]) -> Option<Vec<DeviceKeys>> {
    (devices.len() <= DEVICES_MAX).then_some(())?;
    let devices: Vec<DeviceKeys> = devices.iter().map(DeviceKeys::read).collect::<Option<_>>()?;
    devices.is_sorted_by(|a, b| a.id < b.id).then_some(devices)
}

fn some_devices(found: &[proto::GDevice]) -> Option<Vec<DeviceKeys>> {
    devices(found).filter(|devices| !devices.is_empty())
}

/// Whether no field but the parents is there twice and at most one kind is: decoders that keep the first and decoders
/// that keep the last would disagree on the others.
fn is_single(mut body: &[u8]) -> bool {
    let mut seen = [false; 4];
    while !body.is_empty() {
        let Ok((tag, wire_type)) = decode_key(&mut body) else {
            return false;
        };
        let place = match tag {
            1..=3 => seen.get_mut(tag as usize - 1),
            10..=127 => seen.get_mut(3),
            _ => None,
        };
        if place.is_some_and(|place| std::mem::replace(place, true)) {
            return false;
        }
        if skip_field(wire_type, tag, &mut body, DecodeContext::default()).is_err() {
            return false;
        }
    }
    true
}
