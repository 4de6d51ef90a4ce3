//! Welcomes and complements as bytes. They travel inside an authenticated, encrypted session, never in the open.

use prost::Message as _;
use zeroize::Zeroize as _;

use super::epoch::EpochSecret;
use super::key_ring::{HeadSecret, Secrecy};
use crate::ids::{GroupId, OperationId};
use crate::limits::{GROUP_KEY_HEADS_MAX, GROUP_WELCOME_SECRETS_MAX};
use crate::wire::proto;

/// What a member tells a device about keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The group.
    pub group: GroupId,
    /// At most `limits::GROUP_WELCOME_SECRETS_MAX`; none for a member who lacks operations only.
    pub secrets: Vec<HeadSecret>,
}

impl Welcome {
    /// The bytes for the session.
    pub fn encode(&self) -> Vec<u8> {
        let mut message = proto::Welcome {
            group: self.group.as_bytes().to_vec(),
            secrets: self.secrets.iter().map(write_secret).collect(),
        };
        let bytes = message.encode_to_vec();
        wipe(&mut message);
        bytes
    }

    /// Reads what a member has sent; `None` unless every part is well-formed.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut message = proto::Welcome::decode(bytes).ok()?;
        let secrets: Option<Vec<HeadSecret>> = message.secrets.iter().map(read_secret).collect();
        let group = GroupId::read(&message.group);
        wipe(&mut message);
        let secrets = secrets.filter(|list| list.len() <= GROUP_WELCOME_SECRETS_MAX)?;
        Some(Self { group: group?, secrets })
    }
}

fn write_secret(secret: &HeadSecret) -> proto::HeadSecret {
    proto::HeadSecret {
        heads: secret.heads.iter().flat_map(|head| head.0).collect(),
        secret: secret.secret.expose().to_vec(),
        classical: secret.secrecy == Secrecy::Classical,
    }
}

fn read_secret(read: &proto::HeadSecret) -> Option<HeadSecret> {
    let heads = read_heads(&read.heads)?;
    let secrecy = if read.classical { Secrecy::Classical } else { Secrecy::PostQuantum };
    (!heads.is_empty()).then_some(HeadSecret { heads, secret: EpochSecret::read(&read.secret)?, secrecy })
}

/// Ids in one string: ascending, no duplicates, at most `limits::GROUP_KEY_HEADS_MAX`.
pub(crate) fn read_heads(bytes: &[u8]) -> Option<Vec<OperationId>> {
    let (chunks, rest) = bytes.as_chunks::<{ OperationId::LEN }>();
    let heads: Vec<OperationId> = chunks.iter().copied().map(OperationId).collect();
    let sorted = heads.is_sorted_by(|a, b| a < b) && heads.len() <= GROUP_KEY_HEADS_MAX && rest.is_empty();
    sorted.then_some(heads)
}

fn wipe(message: &mut proto::Welcome) {
    for secret in &mut message.secrets {
        secret.secret.zeroize();
    }
}
