//! Everything that can happen to a node, as plain values.

use crate::carry::store::CarrySettings;
pub use crate::channel::view::{ChannelChanges, ChannelFrom};
use crate::group::role::GroupRole;
pub use crate::group::settings::{GroupChanges, GroupHistory};
use crate::ids::{AccountId, ChatId, InviteId, LinkId, MessageId, PeerAddress, PeerKey};
use crate::radio::RadioPower;

/// Names one request until its reply; chosen by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A person or program asks for something.
    Request {
        /// Echoed in the reply.
        id: RequestId,
        /// What is asked.
        request: Box<Request>,
    },
    /// A link to a peer came up and both ends may send frames.
    LinkUp {
        /// Its name from now on.
        link: LinkId,
        /// The peer at the other end, proven by the medium.
        peer: PeerKey,
        /// Our own key on this link.
        local: PeerKey,
        /// How the bytes travel.
        route: Route,
    },
    /// The link got better or worse without going down (hole punching succeeded, the direct path was lost).
    LinkRoute {
        /// The link.
        link: LinkId,
        /// How the bytes travel from now on.
        route: Route,
    },
    /// A whole frame arrived on a link.
    Frame {
        /// The link.
        link: LinkId,
        /// The bytes, at most `limits::FRAME_BYTES_MAX`.
        bytes: Vec<u8>,
    },
    /// The link is gone; frames handed to it and not answered may or may not have arrived.
    LinkDown {
        /// The link.
        link: LinkId,
    },
    /// A dial asked for by `Send::Dial` failed at every address.
    DialFailed {
        /// The peer that could not be reached.
        peer: PeerKey,
    },
    /// A peer was seen nearby (mDNS); the engine decides whether to dial.
    Nearby {
        /// Where it is.
        address: PeerAddress,
    },
    /// Our own transport key or addresses changed.
    OwnAddress {
        /// Where we can be dialled now: direct addresses and relay circuits.
        address: PeerAddress,
    },
    /// The DHT answered a `Send::FindRecord`, or a record arrived from it.
    Record {
        /// The DHT key.
        key: [u8; 32],
        /// The value; not yet verified.
        value: Vec<u8>,
    },
    /// The wake asked for by `Engine::next_wake` is due. Extra wakes are harmless.
    Wake,
}

/// How the bytes of a link travel, best last. Decisions go by these natures, never by a medium's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Route {
    /// Through a third party's circuit relay.
    Circuit,
    /// Straight to the other end by radio between the two devices, with no network in between.
    Radio,
    /// Straight to the other end over the internet.
    Direct,
    /// Straight to the other end on the same network.
    Local,
}

/// What a person or program can ask for. Node-side queries (history, search, events) read the store instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Makes an account on a node that has none.
    CreateAccount {
        /// Name shown to contacts, 1 to `limits::NAME_BYTES_MAX` bytes.
        name: String,
    },
    /// Own profile, account id, device log summary.
    Me,
    /// The 12 words of the root key.
    RecoveryWords,
    /// Changes the own profile; `None` leaves a field as it is.
    SetProfile {
        /// Name shown to contacts.
        name: Option<String>,
        /// Status text.
        status: Option<String>,
        /// Avatar image bytes; empty removes it.
        avatar: Option<Vec<u8>>,
    },
    /// Makes an invitation.
    InviteCreate {
        /// One-time or reusable.
        kind: InviteKind,
        /// Lifetime from now, 1 minute to 365 days.
        ttl_ms: u64,
    },
    /// Invitations not yet expired, used or revoked.
    InviteList,
    /// Makes an invitation unusable at once.
    InviteRevoke {
        /// Which.
        id: InviteId,
    },
    /// Follows an invitation link or QR text.
    ContactAdd {
        /// `silbo:i/…`, `SILBO:I/…` or an `https://…#…` link.
        link: String,
        /// What to call the contact here.
        alias: Option<String>,
    },
    /// All contacts.
    ContactList,
    /// One contact.
    Contact {
        /// Which.
        chat: ChatId,
    },
    /// Compares a safety number (60 digits) or a scanned QR text and raises the verification level on a match;
    /// without `code` only shows them.
    ContactVerify {
        /// Which.
        chat: ChatId,
        /// Digits or QR text of the other side.
        code: Option<String>,
    },
    /// Acknowledges a changed key of a verified contact, so that sending works again (verification drops to 0).
    ContactAcceptKey {
        /// Which.
        chat: ChatId,
    },
    /// Answers a contact request.
    ContactDecide {
        /// Whose.
        chat: ChatId,
        /// True accepts, false rejects.
        accept: bool,
    },
    /// Stops or allows everything from and to a contact.
    ContactBlock {
        /// Whom.
        chat: ChatId,
        /// True blocks.
        block: bool,
    },
    /// Forgets a contact, its sessions, queues and messages.
    ContactRemove {
        /// Whom.
        chat: ChatId,
    },
    /// Changes what the contact is called here and what it may know; `None` leaves a field as it is.
    ContactSet {
        /// Whom.
        chat: ChatId,
        /// Name used here.
        alias: Option<String>,
        /// Tell this contact when we are online.
        presence: Option<bool>,
        /// Tell this contact what we have read.
        read_receipts: Option<bool>,
        /// Tell this contact when we write.
        typing: Option<bool>,
    },
    /// Writes a message (to oneself: the own chat id).
    Send {
        /// To whom.
        chat: ChatId,
        /// Text, 1 to `limits::TEXT_BYTES_MAX` bytes.
        body: String,
        /// The message it answers.
        reply_to: Option<MessageId>,
        /// Seconds after which it disappears on both sides; `None` takes the chat's setting.
        expire_s: Option<u32>,
        /// Chosen by the caller; a second send with the same value returns the first message.
        client_id: Option<String>,
        /// Seconds after which nobody tries any more, from `limits::SEND_TTL_S_RANGE`; `None` is the longest.
        ttl_s: Option<u32>,
        /// Only over radios between devices and in bags, never over the internet or a local network.
        no_infra: bool,
    },
    /// Changes the text of an own message; the history of texts is kept.
    Edit {
        /// Which.
        id: MessageId,
        /// New text.
        body: String,
    },
    /// Deletes messages here, or here and on the other side.
    Delete {
        /// Which.
        ids: Vec<MessageId>,
        /// True deletes on both sides.
        for_both: bool,
    },
    /// Adds or removes an own reaction.
    React {
        /// To which message.
        id: MessageId,
        /// One emoji, at most `limits::REACTION_BYTES_MAX` bytes.
        emoji: String,
        /// True takes it back.
        remove: bool,
    },
    /// Pins a message for everybody in the conversation; in a group, moderators and above do.
    Pin {
        /// Which message.
        id: MessageId,
        /// True takes it back.
        remove: bool,
    },
    /// Asks a question with options to choose from.
    Poll {
        /// Whom.
        chat: ChatId,
        /// The question, 1 to `limits::TEXT_BYTES_MAX` bytes.
        question: String,
        /// What can be chosen from: `limits::POLL_OPTIONS_RANGE` different options of 1 to
        /// `limits::POLL_OPTION_BYTES_MAX` bytes.
        options: Vec<String>,
        /// How many of them an account may choose.
        choices_max: u32,
        /// Seconds after which nobody can vote, from `limits::POLL_ENDS_S_RANGE`; `None` is never.
        ends_in_s: Option<u32>,
        /// As in `Send`.
        client_id: Option<String>,
    },
    /// Chooses among the options of a poll; the last choice counts.
    Vote {
        /// The poll.
        id: MessageId,
        /// Options by number, from 0, each once; none takes the vote back.
        choices: Vec<u32>,
    },
    /// Marks everything up to a message as read (and says so, where allowed).
    MarkRead {
        /// The conversation.
        chat: ChatId,
        /// The last read message; `None` means all.
        upto: Option<MessageId>,
    },
    /// Tells an online contact that we are (not) writing. Never stored, never retried.
    Typing {
        /// To whom.
        chat: ChatId,
        /// True while writing.
        on: bool,
    },
    /// Every hop and receipt of a message.
    Trace {
        /// Which.
        id: MessageId,
    },
    /// Sets how long messages of a conversation stay, on both sides; 0 keeps them for ever.
    SetRetention {
        /// The conversation.
        chat: ChatId,
        /// Seconds: 0, or from 1 day to 90 days; single messages may be shorter by `Send::expire_s`.
        seconds: u32,
    },
    /// Conversations with contacts and groups, and with oneself.
    ChatList,
    /// What is set for one conversation here.
    Chat {
        /// Which.
        chat: ChatId,
    },
    /// Changes what is set for a conversation on this device; nobody is told. `None` leaves a field as it is.
    ChatSet {
        /// Which.
        chat: ChatId,
        /// Seconds during which nobody is notified of what comes; 0 lifts it, `u32::MAX` is until it is lifted.
        mute_s: Option<u32>,
        /// True keeps it out of sight until a message comes, or for as long as it is muted.
        archived: Option<bool>,
        /// A text to go on with later; empty forgets it. With the message it will answer.
        draft: Option<(String, Option<MessageId>)>,
    },
    /// Makes a group of this account and some contacts.
    GroupCreate {
        /// Name, 1 to `limits::NAME_BYTES_MAX` bytes.
        name: String,
        /// Topic, empty for none.
        topic: String,
        /// Contacts to add at once.
        members: Vec<ChatId>,
    },
    /// All groups.
    GroupList,
    /// One group.
    Group {
        /// Which.
        chat: ChatId,
    },
    /// Changes what a group has agreed on.
    GroupSet {
        /// Which.
        chat: ChatId,
        /// What.
        changes: GroupChanges,
    },
    /// Adds contacts to a group.
    GroupAdd {
        /// Which group.
        chat: ChatId,
        /// Whom.
        members: Vec<ChatId>,
    },
    /// Removes members from a group.
    GroupRemove {
        /// Which group.
        chat: ChatId,
        /// Whom.
        members: Vec<AccountId>,
        /// Also everybody they have added, and whom those have added.
        with_branch: bool,
    },
    /// Gives a member another role.
    GroupSetRole {
        /// Which group.
        chat: ChatId,
        /// Whom.
        member: AccountId,
        /// The role from then on.
        role: GroupRole,
    },
    /// Lets a member only read for a while.
    GroupMute {
        /// Which group.
        chat: ChatId,
        /// Whom.
        member: AccountId,
        /// For how long; 0 lifts it.
        seconds: u32,
    },
    /// Leaves a group; what was written stays here.
    GroupLeave {
        /// Which.
        chat: ChatId,
    },
    /// Makes a link by which others join a group.
    GroupInvite {
        /// Which.
        chat: ChatId,
        /// How many may join by it, at least 1.
        uses: u32,
        /// Lifetime from now, 1 minute to 365 days.
        ttl_ms: u64,
        /// True: each of them waits for a decision.
        approval: bool,
    },
    /// Makes a group's link unusable.
    GroupLinkRevoke {
        /// Which group.
        chat: ChatId,
        /// Which link.
        link: [u8; 16],
    },
    /// Follows a group's link.
    GroupJoin {
        /// `silbo:g/…`, `SILBO:G/…` or an `https://…#…` link.
        link: String,
    },
    /// Answers somebody who wants to join.
    GroupDecide {
        /// Which group.
        chat: ChatId,
        /// Who asks.
        member: AccountId,
        /// True lets them in.
        accept: bool,
    },
    /// Makes a channel that this account alone writes in.
    ChannelCreate {
        /// Name, 1 to `limits::NAME_BYTES_MAX` bytes.
        name: String,
        /// Topic, empty for none.
        topic: String,
        /// Days that posts stay: 0 for ever, or from 1 to 90.
        retention_days: u32,
    },
    /// Reads a channel from now on.
    ChannelJoin {
        /// `silbo:c/…` or `SILBO:C/…`.
        link: String,
        /// True: other readers can find this device in the DHT to read from it.
        serve: bool,
    },
    /// Reads a channel no more: it goes from this device with its posts. An own channel is over.
    ChannelLeave {
        /// Which.
        chat: ChatId,
    },
    /// All channels.
    ChannelList,
    /// One channel.
    Channel {
        /// Which.
        chat: ChatId,
    },
    /// Changes what a channel is called, what it is about, how long posts stay, or whether this device serves it.
    ChannelSet {
        /// Which.
        chat: ChatId,
        /// What.
        changes: ChannelChanges,
    },
    /// Makes a link by which others read a channel.
    ChannelLink {
        /// Which.
        chat: ChatId,
        /// From when.
        from: ChannelFrom,
    },
    /// How far an own message to a group has come with each member.
    Deliveries {
        /// Which.
        id: MessageId,
    },
    /// Keeps mailboxes at a relay from now on.
    RelayAdd {
        /// Where the relay is.
        address: PeerAddress,
    },
    /// Relays in use.
    RelayList,
    /// Stops using a relay.
    RelayRemove {
        /// Which.
        peer: PeerKey,
    },
    /// Turns the relay role of this node on or off.
    RelayServe {
        /// Limits to enforce; `None` turns the role off (what is held stays until it expires).
        limits: Option<RelayLimits>,
    },
    /// What this node holds for others.
    RelayStatus,
    /// Global privacy switches; `None` leaves one as it is.
    SetPrivacy {
        /// Send read receipts (a contact's own switch can only narrow this).
        read_receipts: Option<bool>,
        /// Send typing notices.
        typing: Option<bool>,
    },
    /// Changes how much this device carries for others.
    SetCarry(CarrySettings),
    /// Changes how much of the battery the radios of this device get.
    SetRadioPower(RadioPower),
    /// Appoints a contact to carry mail for this device, or takes it back.
    SetCarrier {
        /// Whom.
        chat: ChatId,
        /// True appoints.
        on: bool,
    },
    /// Puts waiting mail into a bag to be carried by hand.
    PackBag {
        /// Only own mail to this contact; `None` takes everything, what is carried for others too.
        chat: Option<ChatId>,
        /// Largest bag, from `limits::BAG_BYTES_MIN` to `limits::BAG_BYTES_MAX`.
        bytes_max: usize,
    },
    /// Takes the mail out of a bag.
    OpenBag {
        /// The bytes of the file, or the text.
        bag: Vec<u8>,
    },
    /// What this device carries, and with whom.
    MeshStatus,
    /// Counts and states for `silbo status`.
    Status,
    /// Measures the path to a contact; the reply comes when the answer does, or after the time-out.
    Ping {
        /// Whom.
        chat: ChatId,
        /// How long to wait.
        timeout_ms: u64,
    },
}

/// Kind of an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InviteKind {
    /// For one person; who uses it first becomes a contact at once.
    OneTime,
    /// An address to publish; each requester waits for a decision.
    Reusable,
}

/// What a relay promises and enforces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayLimits {
    /// Days an envelope is kept, 1 to 90.
    pub retention_days: u32,
    /// Envelopes a queue holds.
    pub queue_envelopes_max: u32,
    /// KiB a queue holds.
    pub queue_kib_max: u32,
    /// MiB the whole store may hold.
    pub total_mib_max: u32,
}
