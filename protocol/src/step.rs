//! What one input led to. The order of the fields is the law: commit, send, answer, tell.

use crate::carry::store::CarrySettings;
pub use crate::channel::view::{ChannelLinkView, ChannelView};
pub use crate::group::view::{
    FormerMemberView, GroupLinkView, GroupState, GroupView, JoinRequestView, MemberDelivery, MemberView, VoidView,
};
use crate::ids::{AccountId, ChatId, InviteId, LinkId, MessageId, PeerAddress, PeerKey};
use crate::input::{InviteKind, RelayLimits, RequestId, Route};
use crate::radio::RadioPower;
use crate::store::Write;
use crate::time::{Moment, UnixTime};

/// The consequences of one input. Commit `writes`, hand out `sends`, answer `reply`, publish `events`: in this order.
#[must_use = "a step that is not committed and sent is lost mail"]
#[derive(Debug, Default)]
pub struct Step {
    /// Durable changes, all or nothing. Persisted events are among them.
    pub writes: Vec<Write>,
    /// What leaves the node once `writes` are on disk.
    pub sends: Vec<Send>,
    /// Answers to requests, in order (a step can answer an earlier request, such as a ping).
    pub reply: Vec<(RequestId, Result<Reply, RequestError>)>,
    /// Ephemeral news that is never stored (typing, presence). Persisted events are in `writes`.
    pub events: Vec<LiveEvent>,
}

/// Something for a transport to do. Frames to a link that is gone are dropped by the driver; the outbox retries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Send {
    /// Hand a frame to a link.
    Frame {
        /// The link.
        link: LinkId,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Try to bring up a link; answered by `LinkUp` or `DialFailed`.
    Dial {
        /// Whom and where.
        address: PeerAddress,
        /// True when the peer is a relay of ours or of a contact: the transport may also use it as circuit relay,
        /// DHT server and for reachability probes.
        relay: bool,
    },
    /// Close a link (hostile or useless peer).
    Close {
        /// The link.
        link: LinkId,
    },
    /// The other end of a link is a contact: a medium may do for it what it would not do for strangers.
    Vouch {
        /// The link.
        link: LinkId,
    },
    /// Reserve a circuit at a relay, so that others can reach us through it.
    ReserveCircuit {
        /// The relay.
        address: PeerAddress,
    },
    /// Store a signed, blinded record in the DHT.
    PublishRecord {
        /// The DHT key.
        key: [u8; 32],
        /// The value.
        value: Vec<u8>,
    },
    /// Look a record up; answers come as `Input::Record`.
    FindRecord {
        /// The DHT key.
        key: [u8; 32],
    },
}

/// A delivery state of an outgoing message, raised only by evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// On this device only.
    Queued,
    /// Relays have signed that they hold it.
    Held {
        /// How many relays.
        relays: u8,
        /// Until when they promised to.
        until: UnixTime,
    },
    /// Some members of the group have committed it, not all.
    Partial {
        /// How many.
        delivered: u32,
        /// Of how many it was written to.
        of: u32,
    },
    /// The other device has committed it; in a group, a device of every member.
    Delivered {
        /// When the evidence arrived.
        at: UnixTime,
    },
    /// A person has read it.
    Read {
        /// When the evidence arrived.
        at: UnixTime,
    },
    /// It will not arrive.
    Failed(FailReason),
    /// An incoming message or a note to self: nothing to deliver.
    Local,
}

/// Why a message will not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailReason {
    /// Nobody took it within its lifetime.
    Expired,
    /// The contact was blocked or removed.
    Blocked,
    /// The contact's key changed and was not accepted before the message expired.
    KeyChanged,
    /// The request for contact was rejected or its invitation is not valid any more.
    Refused,
}

/// How an envelope came or went, for `path` in answers and traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Straight to the other device.
    Direct(Route),
    /// Through a mailbox at a relay.
    Relay,
    /// With people who carry sealed mail.
    Courier,
    /// Never left this device.
    Local,
}

/// A persisted event. The driver numbers it when it is appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it happened.
    pub at: UnixTime,
    /// The conversation it belongs to, if any.
    pub chat: Option<ChatId>,
    /// The message it belongs to, if any.
    pub message: Option<MessageId>,
    /// What happened.
    pub kind: EventKind,
}

/// Kinds of persisted events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A message is complete, decrypted and stored.
    MessageReceived {
        /// Its text.
        body: String,
        /// When its author says it was written.
        sent_at: UnixTime,
        /// The message it answers.
        reply_to: Option<MessageId>,
        /// How it came.
        path: Path,
        /// The member of the group who wrote it; `None` in a conversation of two.
        author: Option<AccountId>,
        /// It mentions this account.
        mentions_me: bool,
        /// The conversation was muted here when it came.
        muted: bool,
    },
    /// An own message was stored and queued.
    MessageSent {
        /// Its text.
        body: String,
    },
    /// An own message reached a new delivery state.
    MessageState {
        /// The state.
        state: DeliveryState,
        /// How it got there, where known.
        path: Option<Path>,
    },
    /// A text was changed.
    MessageEdited {
        /// The text as it is now.
        body: String,
        /// The member of the group who changed it; `None` in a conversation of two and for this account.
        author: Option<AccountId>,
    },
    /// A message was deleted.
    MessageDeleted {
        /// The member of the group who deleted it; `None` in a conversation of two and for this account.
        author: Option<AccountId>,
    },
    /// A message disappeared because its time was over.
    MessageExpired,
    /// A reaction was added or removed.
    MessageReaction {
        /// True when it is our own.
        outgoing: bool,
        /// The emoji.
        emoji: String,
        /// True when it was taken back.
        removed: bool,
        /// The member of the group who reacted; `None` in a conversation of two and for this account.
        author: Option<AccountId>,
    },
    /// A message was pinned, or is not any more.
    MessagePinned {
        /// True when it was this account.
        outgoing: bool,
        /// True when it is not pinned any more.
        removed: bool,
        /// The member of the group who did it; `None` in a conversation of two and for this account.
        author: Option<AccountId>,
    },
    /// What an admin's device says the operations on a group come to is not what comes out here.
    GroupDisputed {
        /// Whose word it is.
        account: AccountId,
        /// The name they gave themselves.
        name: String,
    },
    /// Somebody voted in a poll, or took the vote back.
    MessageVoted {
        /// True when it was this account.
        outgoing: bool,
        /// True when the vote was taken back.
        removed: bool,
        /// The member of the group who did it; `None` in a conversation of two and for this account.
        author: Option<AccountId>,
    },
    /// A contact exists and can be written to.
    ContactAdded,
    /// Name, status, picture or settings of a contact changed.
    ContactUpdated,
    /// Somebody found a reusable invitation and asks to be a contact.
    ContactRequest {
        /// The name they gave.
        name: String,
        /// Their greeting.
        hello: String,
    },
    /// Our own request was accepted.
    ContactAccepted,
    /// A contact was removed.
    ContactRemoved,
    /// The contact's root key or account changed; sending is blocked where it was verified.
    ContactKeyChanged,
    /// The secure session with a contact was set up anew.
    SessionReset,
    /// Retention of a conversation changed.
    ChatRetention {
        /// Seconds; 0 means for ever.
        seconds: u32,
        /// True when we changed it.
        outgoing: bool,
    },
    /// A conversation was muted, archived, or given another draft on this device; or the contrary.
    ChatUpdated,
    /// We read a conversation up to a message.
    ChatRead,
    /// A relay accepted us.
    RelayAdded {
        /// The relay.
        peer: PeerKey,
    },
    /// A relay refused for lack of space.
    RelayQuota {
        /// The relay.
        peer: PeerKey,
    },
    /// Members, settings or the own standing in a group changed.
    GroupUpdated,
    /// Somebody is a member of a group from now on.
    GroupMemberJoined {
        /// Who.
        account: AccountId,
        /// The name they gave themselves; empty while unknown.
        name: String,
    },
    /// Somebody is not a member of a group any more.
    GroupMemberLeft {
        /// Who.
        account: AccountId,
        /// The name they gave themselves; empty while unknown.
        name: String,
        /// True when somebody else removed them.
        removed: bool,
    },
    /// Somebody wants to join a group and waits for a decision.
    GroupJoinRequest {
        /// Who.
        account: AccountId,
        /// The name they gave themselves.
        name: String,
    },
    /// A device of a member changed a group twice, as if the other change did not exist.
    GroupMemberForked {
        /// Whose.
        account: AccountId,
        /// The name they gave themselves; empty while unknown.
        name: String,
    },
    /// An operation on a group does not count any more, because one made at the same time goes before it.
    GroupVoided {
        /// What it would have done, in plain words.
        what: String,
        /// What went before it, in plain words.
        why: String,
    },
    /// A channel was joined, or is called otherwise, or its topic or retention changed.
    ChannelUpdated,
    /// The owner of a channel, or whoever has its key, has signed two histories.
    ChannelForked {
        /// Number of the post that showed it.
        post: u64,
    },
    /// Messages of before this account came into a group are here from now on. They count as read.
    GroupHistory {
        /// How many.
        messages: u32,
    },
    /// Something the person should know.
    Warning {
        /// In plain words, without names or secrets.
        text: String,
    },
}

/// News that is only true now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveEvent {
    /// A contact is (not) writing.
    Typing {
        /// Who.
        chat: ChatId,
        /// True while writing.
        on: bool,
    },
    /// A contact is (not) reachable right now and lets us know.
    Presence {
        /// Who.
        chat: ChatId,
        /// True while a direct link is up.
        online: bool,
    },
}

/// The answer to a request that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing to say.
    Done,
    /// Own profile.
    Me(MeView),
    /// The 12 words.
    Words(Vec<String>),
    /// An invitation that was made.
    Invite(InviteView),
    /// Invitations.
    Invites(Vec<InviteView>),
    /// A contact.
    Contact(Box<ContactView>),
    /// Contacts.
    Contacts(Vec<ContactView>),
    /// Safety number and QR text, and whether the given code matched.
    Verification(VerificationView),
    /// A message was queued (or had been, for a repeated `client_id`).
    Message {
        /// Its id.
        id: MessageId,
        /// The conversation.
        chat: ChatId,
        /// Its state.
        state: DeliveryState,
        /// When it was written.
        sent_at: UnixTime,
    },
    /// How many messages were changed.
    Count(u32),
    /// Hops and receipts.
    Trace(TraceView),
    /// Relays in use.
    Relays(Vec<RelayView>),
    /// What this node holds for others.
    RelayStatus(RelayStatusView),
    /// A bag of mail.
    BagPacked {
        /// The bytes of a file.
        bag: Vec<u8>,
        /// The same as text for a QR code.
        text: String,
        /// What is in it; `refused` counts what did not fit.
        view: BagView,
    },
    /// What was in a bag.
    BagOpened(BagView),
    /// What is carried for others.
    Mesh(MeshView),
    /// A conversation.
    Chat(ChatView),
    /// Conversations.
    Chats(Vec<ChatView>),
    /// A group.
    Group(Box<GroupView>),
    /// Groups.
    Groups(Vec<GroupView>),
    /// A link to a group that was made.
    GroupLink(GroupLinkView),
    /// A channel.
    Channel(Box<ChannelView>),
    /// Channels.
    Channels(Vec<ChannelView>),
    /// A link to a channel.
    ChannelLink(ChannelLinkView),
    /// How far a message has come with each member.
    Deliveries(Vec<MemberDelivery>),
    /// Counts and states.
    Status(StatusView),
    /// A ping came back.
    Pong {
        /// Round trip.
        rtt_ms: u64,
        /// How.
        path: Path,
    },
}

/// Why a request was not done. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The node has no account yet.
    #[error("this node has no account yet")]
    NoAccount,
    /// The node has an account already.
    #[error("this node has an account already")]
    AccountExists,
    /// No such contact, message, invite or relay.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// A field is out of its bounds.
    #[error("{field}: {why}")]
    Invalid {
        /// Which.
        field: &'static str,
        /// What was expected.
        why: String,
    },
    /// The contact is blocked.
    #[error("the contact is blocked")]
    Blocked,
    /// The key of a verified contact changed and was not acknowledged.
    #[error("the identity key of this contact changed since it was verified")]
    KeyChanged,
    /// The given safety number is not the one of this contact.
    #[error("the safety number does not match")]
    Mismatch,
    /// A bound of `limits` is reached.
    #[error("limit reached: {0}")]
    Limit(&'static str),
    /// The invitation has expired, was used, revoked or is damaged.
    #[error("the invitation cannot be used: {0}")]
    BadInvite(String),
    /// The link to a channel cannot be used.
    #[error("the link cannot be used: {0}")]
    BadLink(String),
    /// Somebody else owns the channel.
    #[error("only the owner of a channel writes in it")]
    NotOwner,
    /// Nobody answered in time.
    #[error("no answer in time")]
    Timeout,
    /// This account is not, or not any more, a member of the group.
    #[error("you are not a member of this group")]
    NotMember,
    /// The own role, or the state of the group, does not allow it.
    #[error("the group does not allow this: {0}")]
    NotAllowed(&'static str),
    /// There is no path to the contact right now.
    #[error("the contact cannot be reached right now")]
    Offline,
}

/// Own profile and identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeView {
    /// Account id.
    pub account: AccountId,
    /// The note-to-self conversation.
    pub chat: ChatId,
    /// Name.
    pub name: String,
    /// Status text.
    pub status: String,
    /// Avatar bytes, empty if none.
    pub avatar: Vec<u8>,
    /// Live devices of the account.
    pub devices: u32,
    /// Global switch.
    pub read_receipts: bool,
    /// Global switch.
    pub typing: bool,
    /// Seconds notes to self stay; 0 for ever.
    pub retention_s: u32,
}

/// An invitation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InviteView {
    /// Its name on this device.
    pub id: InviteId,
    /// One-time or reusable.
    pub kind: InviteKind,
    /// Link to copy.
    pub link: String,
    /// Text for a QR code (alphanumeric mode).
    pub qr: String,
    /// When it stops working.
    pub expires_at: UnixTime,
    /// How many people used it.
    pub used: u32,
    /// Relays that hold its card, so that it works while this node is off.
    pub held_by_relays: u32,
}

/// Where a contact stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContactState {
    /// We followed an invitation and wait for the other side.
    Requested,
    /// They ask; we have not decided.
    Incoming,
    /// Both sides can write.
    Active,
    /// We blocked them.
    Blocked,
    /// The other side refused, or the invitation was not valid.
    Refused,
    /// Known only as a member of a group.
    Member,
}

impl ContactState {
    /// True while mail goes to and fro.
    pub fn exchanges_mail(self) -> bool {
        matches!(self, Self::Active | Self::Requested | Self::Member)
    }
}

/// A contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactView {
    /// Conversation id; also the contact's id.
    pub chat: ChatId,
    /// Account id.
    pub account: AccountId,
    /// What it is called here: the alias, else the profile name.
    pub name: String,
    /// The name they gave themselves.
    pub profile_name: String,
    /// Their status text.
    pub status: String,
    /// Their avatar, empty if none.
    pub avatar: Vec<u8>,
    /// Where the contact stands.
    pub state: ContactState,
    /// 0 unverified, 2 their code was scanned or typed here.
    pub verification: u8,
    /// Their key changed and was not acknowledged.
    pub key_changed: bool,
    /// A direct link is up.
    pub online: bool,
    /// How it travels, while `online`.
    pub route: Option<Route>,
    /// Seconds messages stay; 0 for ever.
    pub retention_s: u32,
    /// We tell them when we are online.
    pub presence: bool,
    /// We tell them what we read.
    pub read_receipts: bool,
    /// We tell them when we write.
    pub typing: bool,
    /// Appointed to carry for this device.
    pub carrier: bool,
    /// When the contact was made.
    pub added_at: UnixTime,
}

/// What is set for a conversation on this device only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatView {
    /// Which.
    pub chat: ChatId,
    /// True for a group.
    pub group: bool,
    /// True for a channel.
    pub channel: bool,
    /// What it is called here.
    pub name: String,
    /// Until when nobody is notified; `None` while they are.
    pub muted_until: Option<UnixTime>,
    /// True while it is kept out of sight.
    pub archived: bool,
    /// What was written and not sent.
    pub draft: Option<DraftView>,
}

/// A text that is not sent yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DraftView {
    /// The text so far.
    pub body: String,
    /// The message it will answer.
    pub reply_to: Option<MessageId>,
    /// When it was set.
    pub at: UnixTime,
}

/// Safety number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerificationView {
    /// 60 digits.
    pub digits: String,
    /// Text of the QR code to show.
    pub qr: String,
    /// The level after this request.
    pub level: u8,
}

/// One thing that happened to a message on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// When.
    pub at: UnixTime,
    /// What: `queued`, `sent`, `held`, `carried`, `collected`, `delivered`, `read`, `failed`, `received`.
    pub what: &'static str,
    /// How.
    pub path: Option<Path>,
    /// The peer or relay involved, where there is one.
    pub peer: Option<PeerKey>,
    /// Until when a relay holds it.
    pub until: Option<UnixTime>,
}

/// Every hop and receipt of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceView {
    /// The message.
    pub id: MessageId,
    /// The conversation.
    pub chat: ChatId,
    /// Its state.
    pub state: DeliveryState,
    /// What happened, oldest first.
    pub hops: Vec<Hop>,
}

/// A relay in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayView {
    /// Where it is.
    pub address: PeerAddress,
    /// A link to it is up.
    pub connected: bool,
    /// Queues of ours it has confirmed.
    pub queues: u32,
    /// True when the user added it, false when it came with a contact.
    pub own: bool,
    /// Days it promises to keep mail; 0 while unknown.
    pub retention_days: u32,
    /// When it was last heard.
    pub heard_at: Option<UnixTime>,
}

/// What this node holds for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayStatusView {
    /// Limits in force; `None` when the role is off.
    pub limits: Option<RelayLimits>,
    /// Envelopes held.
    pub held: u64,
    /// Bytes held.
    pub bytes: u64,
    /// Queues.
    pub queues: u64,
    /// Blobs.
    pub blobs: u64,
    /// Deposits refused since start, by quota.
    pub refused: u64,
}

/// What went into a bag or came out of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BagView {
    /// Envelopes of our own that were put in.
    pub own: u32,
    /// Envelopes carried for others.
    pub carried: u32,
    /// Envelopes that were for this device.
    pub for_me: u32,
    /// Proofs of arrival.
    pub vaccines: u32,
    /// Envelopes that were not taken or did not fit.
    pub refused: u32,
}

/// A link that is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkView {
    /// Its name.
    pub link: LinkId,
    /// The contact its other end has proven to be.
    pub chat: Option<ChatId>,
    /// How it runs.
    pub route: Route,
    /// The other end carries mail.
    pub carries: bool,
    /// When it came up.
    pub up_at: Moment,
}

/// What is carried for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshView {
    /// How much this device is willing to carry.
    pub settings: CarrySettings,
    /// How much of the battery its radios get.
    pub radio_power: RadioPower,
    /// Envelopes of others it carries.
    pub carried: u32,
    /// Of them, what friends have asked it to keep for them.
    pub pinned: u32,
    /// Bytes of what it carries.
    pub carried_bytes: u64,
    /// Proofs of arrival it passes on.
    pub vaccines: u32,
    /// Own messages not yet delivered.
    pub waiting: u32,
    /// Contacts that carry for this device.
    pub appointed: u32,
    /// Friends this device carries for.
    pub carries_for: u32,
    /// Carriers it is with right now.
    pub carriers: u32,
    /// Encounters of the last 24 hours, at most 255.
    pub encounters_per_day: u8,
    /// Envelopes handed over since the start.
    pub handed_over: u64,
    /// Envelopes taken since the start.
    pub taken: u64,
}

/// Counts and states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusView {
    /// Own profile; `None` before an account exists.
    pub me: Option<MeView>,
    /// Where we can be dialled.
    pub address: Option<PeerAddress>,
    /// Contacts that are active or requested.
    pub contacts: u32,
    /// Contacts with a direct link up.
    pub online: u32,
    /// Contact requests waiting for a decision.
    pub requests: u32,
    /// Own messages not yet delivered, read or failed.
    pub queued: u32,
    /// Relays in use.
    pub relays: Vec<RelayView>,
}
