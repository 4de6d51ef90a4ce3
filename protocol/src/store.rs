//! What the core reads and writes: a synchronous [`Store`] handed in by the driver, and the [`Write`]s it asks for.
//!
//! ```text
//!   Store (reads) ──▶ Engine::handle ──▶ Vec<Write> ──▶ one transaction of the driver
//! ```
//! State lives in ordered key-value tables; messages live in a table of their own because people search them.
//! The core never sees SQL and never touches a file.

use crate::ids::{AccountId, ChatId, MessageId};
use crate::time::UnixTime;

/// The file a table lives in. A step may write to both; each file is committed by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum File {
    /// The private database of the account.
    Private,
    /// Mailbox queues a relay has acknowledged for others.
    Mailbox,
    /// What is carried for others: replicated by design, not encrypted, and may be lost.
    Spool,
}

/// An ordered key-value table. The numbers are stored: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// Single records of the node itself (account, settings, counters).
    Meta = 1,
    /// Contacts by chat id.
    Contact = 2,
    /// Invites by invite id.
    Invite = 3,
    /// Ratchet sessions by session id.
    Session = 4,
    /// Stored skipped message keys by tag.
    Skipped = 5,
    /// Outgoing envelopes by tag, with their delivery record.
    Outbox = 6,
    /// Tags already opened, with their preimage, until the envelope cannot come again.
    Seen = 7,
    /// Relays this node keeps its own mailboxes at.
    Relay = 8,
    /// Queues this node owns at relays.
    OwnQueue = 9,
    /// Per-conversation settings and counters.
    Chat = 10,
    /// Hops and receipts of a message, for `msg trace`.
    Trace = 11,
    /// Tombstones: ids that must never be shown again.
    Gone = 12,
    /// Requests of people who found a reusable invite, waiting for a decision.
    Pending = 13,
    /// From the caller's `client_id` of a send to the message it made.
    Sent = 14,

    /// Copies of own envelopes given to carriers, by the key of their outbox entry.
    Spray = 15,
    /// Receipts that wait to be published, by preimage.
    Publish = 16,
    /// Pickup sheets of friends, by chat id.
    Sheet = 17,
    /// Groups by chat id.
    Group = 18,
    /// Signed operations on the members and settings of a group, by chat id ‖ operation id.
    GroupOperation = 19,
    /// Epoch secrets of a group, by chat id ‖ epoch.
    GroupEpoch = 20,
    /// Sending and receiving chains of a group, by chat id ‖ device.
    GroupChain = 21,
    /// Letters of a group kept to repair gaps of others, by chat id ‖ letter id.
    GroupLetter = 22,
    /// How far a message of a group has come with each member, by chat id ‖ message id.
    GroupDelivery = 23,
    /// Letters of a group that wait for what they build on.
    GroupWaiting = 24,
    /// Skipped message keys of a group by tag.
    GroupSkipped = 25,
    /// Letters of a group as they were signed, to be handed on to newcomers, by chat id ‖ message id ‖ letter id.
    GroupSaid = 26,
    /// Parts of a history that came before the welcome they belong to, by chat id ‖ sender's chat id ‖ number.
    GroupEarly = 27,
    /// Slices of rekeys of large groups, kept for others or waited for, by chat id ‖ operation id.
    GroupSlices = 28,
    /// Texts that are not sent yet, by chat id.
    Draft = 29,
    /// Channels by chat id.
    Channel = 30,
    /// Posts of channels, by chat id ‖ number; the one that shows a fork also ‖ 01.
    ChannelPost = 31,

    /// Relay: queues by rid.
    MailQueue = 64,
    /// Relay: from sid to rid.
    MailSid = 65,
    /// Relay: envelopes by rid ‖ sequence.
    MailItem = 66,
    /// Relay: from rid ‖ tag to sequences.
    MailTag = 67,
    /// Relay: blobs by id.
    MailBlob = 68,
    /// Relay: from expiry hour to items.
    MailExpiry = 69,
    /// Relay: single records (signing key, counters).
    MailMeta = 70,
    /// Relay: preimages published for purged envelopes, by rid ‖ tag, until expiry.
    MailReceipt = 71,

    /// Carried envelopes by content id.
    Carried = 128,
    /// What changes about a carried envelope, by content id.
    CarriedState = 129,
    /// Published preimages by tag.
    Vaccine = 130,
}

impl Table {
    /// The file this table lives in.
    pub fn file(self) -> File {
        match self as u8 {
            0..64 => File::Private,
            64..128 => File::Mailbox,
            128.. => File::Spool,
        }
    }
}

/// One durable change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets a value.
    Put {
        /// Where.
        table: Table,
        /// Under which key.
        key: Vec<u8>,
        /// What.
        value: Vec<u8>,
    },
    /// Removes a value; removing an absent one is fine.
    Delete {
        /// Where.
        table: Table,
        /// Under which key.
        key: Vec<u8>,
    },
    /// Sets a message row (insert or replace by chat and id).
    PutItem(Box<ItemRow>),
    /// Erases a message row and what the search index knew of it.
    EraseItem {
        /// The conversation.
        chat: ChatId,
        /// The message.
        id: MessageId,
    },
    /// Erases every message row of a conversation.
    EraseChat {
        /// The conversation.
        chat: ChatId,
    },
    /// Appends to the persisted event log.
    AppendEvent(crate::step::Event),
}

/// A message as the store keeps it. `slot` is the truth; the other fields are derived from it for queries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemRow {
    /// The conversation.
    pub chat: ChatId,
    /// The message.
    pub id: MessageId,
    /// Order within the conversation: Lamport number first, then `sent_at`, then id.
    pub lamport: u64,
    /// When its author says it was written.
    pub sent_at: UnixTime,
    /// When this device first stored it.
    pub stored_at: UnixTime,
    /// True when this account wrote it.
    pub outgoing: bool,
    /// The member of the group who wrote it; `None` for this account, and for the other side of a conversation of two.
    pub author: Option<AccountId>,
    /// False while only later operations (an edit, a reaction) have arrived, or once it is deleted.
    pub visible: bool,
    /// Text to show and to search; empty when not visible.
    pub body: String,
    /// Delivery state as `DeliveryState::code`.
    pub state: u8,
    /// When it must disappear; 0 means never.
    pub expires_at: UnixTime,
    /// The slot: `silbo.state.conversation.Slot`, encoded.
    pub slot: Vec<u8>,
}

/// The disk is broken or full. The driver stops the engine, keeps what was committed and opens a fresh engine later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The storage layer could not read or write.
    #[error("the database cannot be used: {0}")]
    Broken(String),
    /// A record of our own does not decode: the file is damaged or from a newer version.
    #[error("a stored record of table {table:?} does not decode")]
    Damaged {
        /// The table it was read from.
        table: Table,
    },
}

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Synchronous reads. They see everything written by earlier steps of the same transaction.
pub trait Store {
    /// The value of `key`, if any.
    fn value(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Up to `limit` pairs whose key starts with `prefix` and is greater than `after`, in key order.
    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError>;

    /// One message row.
    fn item(&self, chat: &ChatId, id: &MessageId) -> Result<Option<ItemRow>, StoreError>;

    /// Up to `limit` rows with `0 < expires_at <= until`, soonest first.
    fn items_expiring(&self, until: UnixTime, limit: usize) -> Result<Vec<(ChatId, MessageId)>, StoreError>;

    /// Up to `limit` message ids of a conversation greater than `after`, in id order.
    fn chat_items(&self, chat: &ChatId, after: Option<&MessageId>, limit: usize) -> Result<Vec<MessageId>, StoreError>;

    /// The earliest `expires_at` above zero, if any.
    fn next_expiry(&self) -> Result<Option<UnixTime>, StoreError>;
}
