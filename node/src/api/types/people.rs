//! Profile, invitations, contacts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The own profile.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// Id of the note to self.
    pub id: String,
    /// Account id.
    pub account: String,
    /// Name shown to contacts.
    pub name: String,
    /// Status text.
    pub status: String,
    /// Avatar bytes; empty if none.
    pub avatar: String,
    /// Devices of the account.
    pub devices: u32,
    /// Whether contacts are told what was read.
    pub read_receipts: bool,
    /// Whether contacts are told when we write.
    pub typing: bool,
}

/// Parameters of `profile.set`; what is left out stays.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProfileSet {
    /// Name shown to contacts.
    #[serde(default)]
    pub name: Option<String>,
    /// Status text.
    #[serde(default)]
    pub status: Option<String>,
    /// Avatar bytes; empty removes it.
    #[serde(default)]
    pub avatar: Option<String>,
}

/// Result of `profile.words`.
#[derive(Clone, Serialize, JsonSchema)]
pub struct Words {
    /// The 12 words of the root key. Whoever knows them is this account.
    pub words: Vec<String>,
}

impl std::fmt::Debug for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Words(..)")
    }
}

/// Kind of an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum InviteKind {
    /// For one person.
    OneTime,
    /// An address to publish.
    Reusable,
}

/// Parameters of `invite.create`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InviteCreate {
    /// True makes an address to publish; each requester waits for a decision.
    #[serde(default)]
    pub reusable: bool,
    /// Lifetime in milliseconds, 1 minute to 365 days.
    #[serde(default = "one_day_ms")]
    pub ttl_ms: u64,
}

fn one_day_ms() -> u64 {
    silbo_protocol::time::DAY_MS
}

/// An invitation.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Invite {
    /// Its id on this node.
    pub id: String,
    /// One-time or reusable.
    pub kind: InviteKind,
    /// The link to hand over.
    pub link: String,
    /// The text of its QR code.
    pub qr: String,
    /// When it stops working.
    pub expires_at: u64,
    /// How many people used it.
    pub used: u32,
    /// Relays that hold its card, so that it works while this node is off.
    pub held_by_relays: u32,
}

/// Parameters of `contact.add`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContactAdd {
    /// The link or QR text of an invitation.
    pub link: String,
    /// What to call the contact here.
    #[serde(default)]
    pub alias: Option<String>,
}

/// Where a contact stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ContactState {
    /// We asked and wait.
    Requested,
    /// They asked; we have not decided.
    Incoming,
    /// Both sides can write.
    Active,
    /// We blocked them.
    Blocked,
    /// They refused, or the invitation was not valid.
    Refused,
    /// Known only as a member of a group.
    Member,
}

/// Parameters of `contact.list`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContactList {
    /// Only contacts in this state.
    #[serde(default)]
    pub state: Option<ContactState>,
}

/// How the direct link to a contact runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LinkRoute {
    /// On the same network.
    Local,
    /// Over the internet.
    Direct,
    /// Through a relay's circuit.
    Circuit,
    /// By radio between the two devices.
    Radio,
}

/// A contact.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Contact {
    /// Its id, also the id of the conversation.
    pub id: String,
    /// Account id.
    pub account: String,
    /// What it is called here.
    pub name: String,
    /// The name they gave themselves.
    pub profile_name: String,
    /// Status text.
    pub status: String,
    /// Avatar bytes; empty if none.
    pub avatar: String,
    /// Where it stands.
    pub state: ContactState,
    /// 0 unverified, 2 compared here.
    pub verification: u8,
    /// The key changed and was not acknowledged.
    pub key_changed: bool,
    /// A direct link is up.
    pub online: bool,
    /// How that link runs.
    pub route: Option<LinkRoute>,
    /// Seconds messages stay; 0 for ever.
    pub retention_s: u32,
    /// They are told when we are online.
    pub presence: bool,
    /// They are told what we read.
    pub read_receipts: bool,
    /// They are told when we write.
    pub typing: bool,
    /// Appointed to carry for us, see `mesh.appoint`.
    pub carrier: bool,
    /// When the contact was made.
    pub added_at: u64,
}

/// Parameters of `contact.verify`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContactVerify {
    /// An id, a unique prefix of an id of at least 8 characters, or the local name.
    pub contact: String,
    /// The 60 digits or the QR text the contact's device shows.
    #[serde(default)]
    pub code: Option<String>,
}

/// Result of `contact.verify`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Verification {
    /// The 60 digits both sides must see.
    pub digits: String,
    /// Text of the QR code to show.
    pub qr: String,
    /// The level reached.
    pub level: u8,
}

/// Parameters of `contact.set`; what is left out stays.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContactSet {
    /// An id, a unique prefix of an id of at least 8 characters, or the local name.
    pub contact: String,
    /// Name used here.
    #[serde(default)]
    pub alias: Option<String>,
    /// Tell this contact when we are online.
    #[serde(default)]
    pub presence: Option<bool>,
    /// Tell this contact what we read.
    #[serde(default)]
    pub read_receipts: Option<bool>,
    /// Tell this contact when we write.
    #[serde(default)]
    pub typing: Option<bool>,
}
