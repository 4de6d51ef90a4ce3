//! Names of things: fixed-size byte strings that cannot be mistaken for one another.
//!
//! `Display` is the short form for logs; the full form is Crockford base32 in lower case, by the method `full`.

use crate::wire::base32;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// Reads exactly [`Self::LEN`] bytes; `None` for any other length.
            pub fn read(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// The bytes.
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }

            /// The full form a person can copy: Crockford base32, lower case.
            pub fn full(&self) -> String {
                base32::encode_lower(&self.0)
            }

            /// Reads the full form back; `None` if it is not one.
            pub fn parse(text: &str) -> Option<Self> {
                Self::read(&base32::decode(text)?)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let full = self.full();
                f.write_str(full.get(..8).unwrap_or(&full))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

id!(
    /// `AID`: SHA-256 over the genesis entry of an account's device log.
    AccountId, 32
);
id!(
    /// First 8 bytes of SHA-256 over the device's signing key with its type byte.
    DeviceId, 8
);
id!(
    /// A conversation: the first 16 bytes of the other account's `AID`, or of one's own for the note to self.
    ChatId, 16
);
id!(
    /// A message: 6 bytes milliseconds since 1970 and 6 random bytes, so that ids sort by writing time.
    MessageId, 12
);
id!(
    /// `T`: the 12 bytes an envelope is recognised by.
    Tag, 12
);
id!(
    /// `P`: the 16-byte preimage of a tag. Publishing it is the delivery receipt and the order to purge.
    Preimage, 16
);
id!(
    /// Content id of an envelope: first 16 bytes of BLAKE3 over its bytes. Computed, never sent as an address.
    Cid, 16
);
id!(
    /// Names one session of one conversation: first 16 bytes of its handshake hash.
    SessionId, 16
);
id!(
    /// Owner's name of a mailbox queue.
    QueueRid, 16
);
id!(
    /// Sender's name of the same queue; the two cannot be linked without the relay's store.
    QueueSid, 16
);
id!(
    /// Name of a blob a relay holds (contact cards); derived from the invite secret.
    BlobId, 16
);
id!(
    /// Names one invite on the inviting device: first 8 bytes of a labelled hash over its secret.
    InviteId, 8
);

id!(
    /// A group: first 16 bytes of the labelled hash of the operation that created it.
    GroupId, 16
);
id!(
    /// An operation on a group: first 16 bytes of the labelled hash of its signed bytes.
    OperationId, 16
);
id!(
    /// A key epoch of a group: the id of the key operation that made it, or a hash over the ids of those it merges.
    EpochId, 16
);
id!(
    /// A group message: first 16 bytes of a labelled hash over what its author signed.
    LetterId, 16
);

/// One device of one member: who writes, and whom keys are for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct GroupDevice {
    /// The member.
    pub account: AccountId,
    /// Its device.
    pub device: DeviceId,
}

impl GroupDevice {
    /// Length of [`Self::to_bytes`].
    pub const LEN: usize = AccountId::LEN + DeviceId::LEN;

    /// Account and device, as they go into hashes and key derivations.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        let (account, device) = out.split_at_mut(AccountId::LEN);
        account.copy_from_slice(&self.account.0);
        device.copy_from_slice(&self.device.0);
        out
    }

    /// Reads [`Self::to_bytes`]; `None` for any other length.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (account, device) = bytes.split_at_checked(AccountId::LEN)?;
        Some(Self { account: AccountId::read(account)?, device: DeviceId::read(device)? })
    }
}

impl AccountId {
    /// The conversation with this account.
    pub fn chat(&self) -> ChatId {
        let mut id = [0; 16];
        id.copy_from_slice(&self.0[..16]);
        ChatId(id)
    }
}

/// A link between two nodes over one medium, named by the driver, never reused within one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

impl std::fmt::Display for LinkId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "link-{}", self.0)
    }
}

/// A transport-level peer: the bytes of a libp2p `PeerId`, opaque to the core. Disposable, never an identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey(pub Vec<u8>);

impl std::fmt::Display for PeerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let full = base32::encode_lower(&self.0);
        f.write_str(full.get(full.len().saturating_sub(8)..).unwrap_or(&full))
    }
}

/// Where a peer can be dialled: its key and its addresses (binary multiaddrs, opaque to the core).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    /// The peer.
    pub peer: PeerKey,
    /// Binary multiaddrs without the trailing `/p2p`; may be empty when only the medium knows the way.
    pub addrs: Vec<Vec<u8>>,
}
