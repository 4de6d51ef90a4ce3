//! What goes wrong in an API call, in the form every carrier shows it: what, why, and what to do about it.
//!
//! The code is `-32000 - class`, the class being the exit code of the command line (`docs/api.md`, Errors).

use jsonrpsee::types::ErrorObjectOwned;
use serde::{Deserialize, Serialize};
use silbo_protocol::step::RequestError;

use crate::core::CoreError;

/// Kind of an error. Programs branch on this, never on the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// A bug of the node, or its disk is broken.
    Internal,
    /// The message will not arrive; `why` says the reason.
    Failed,
    /// A parameter is missing, unknown or out of its bounds.
    InvalidParams,
    /// The node does not run or is stopping.
    NoDaemon,
    /// There is no such contact, message, invite, relay or token.
    NotFound,
    /// A name or prefix fits more than one contact.
    Ambiguous,
    /// The contact's key changed, or a safety number does not match.
    Untrusted,
    /// The contact is blocked.
    Blocked,
    /// The time given is over.
    Timeout,
    /// There is no path right now.
    Offline,
    /// The node has no account yet, or its vault is locked.
    Locked,
    /// The token's scopes do not cover the method.
    Forbidden,
    /// A bound is reached: size, rate, quota.
    Limit,
    /// Some parts were done and some were not.
    Partial,
    /// Client and node do not fit together.
    Version,
}

impl ErrorKind {
    /// Every kind, for the schema and for tests.
    pub const ALL: [ErrorKind; 15] = [
        Self::Internal,
        Self::Failed,
        Self::InvalidParams,
        Self::NoDaemon,
        Self::NotFound,
        Self::Ambiguous,
        Self::Untrusted,
        Self::Blocked,
        Self::Timeout,
        Self::Offline,
        Self::Locked,
        Self::Forbidden,
        Self::Limit,
        Self::Partial,
        Self::Version,
    ];

    /// The class: the exit code of the command line.
    pub fn class(self) -> i32 {
        match self {
            Self::Internal | Self::Failed => 1,
            Self::InvalidParams => 2,
            Self::NoDaemon => 3,
            Self::NotFound | Self::Ambiguous => 4,
            Self::Untrusted | Self::Blocked => 5,
            Self::Timeout => 6,
            Self::Offline => 7,
            Self::Locked | Self::Forbidden => 8,
            Self::Limit => 9,
            Self::Partial => 10,
            Self::Version => 11,
        }
    }

    /// The JSON-RPC error code.
    pub fn code(self) -> i32 {
        -32_000 - self.class()
    }
}

/// The `data` member of an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorData {
    /// What programs branch on.
    pub kind: ErrorKind,
    /// The cause, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The parameter at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// When trying again makes sense.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// An API call that was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct ApiError {
    /// What happened, in one sentence.
    pub what: String,
    /// Everything else.
    pub data: ErrorData,
}

impl ApiError {
    /// An error of `kind` that says `what` happened.
    pub fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self { what: what.into(), data: ErrorData { kind, why: None, hint: None, field: None, retry_after_ms: None } }
    }

    /// A parameter that is out of its bounds.
    pub fn invalid(field: &str, what: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidParams, format!("{field}: {}", what.into())).field(field)
    }

    /// A bug of the node.
    pub fn internal(why: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, "the node made a mistake")
            .why(why)
            .hint("look into the log, and run `silbo doctor`")
    }

    /// Adds the cause.
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.data.why = Some(why.into());
        self
    }

    /// Adds what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.data.hint = Some(hint.into());
        self
    }

    /// Adds the parameter at fault.
    pub fn field(mut self, field: &str) -> Self {
        self.data.field = Some(field.to_owned());
        self
    }

    /// Adds when trying again makes sense.
    pub fn retry_after_ms(mut self, ms: u64) -> Self {
        self.data.retry_after_ms = Some(ms);
        self
    }
}

impl From<ApiError> for ErrorObjectOwned {
    fn from(error: ApiError) -> Self {
        ErrorObjectOwned::owned(error.data.kind.code(), error.what, Some(error.data))
    }
}

impl From<RequestError> for ApiError {
    fn from(error: RequestError) -> Self {
        let what = error.to_string();
        match error {
            RequestError::NoAccount => Self::new(ErrorKind::Locked, what).hint("make one: `silbo up --name NAME`"),
            RequestError::AccountExists => Self::new(ErrorKind::InvalidParams, what)
                .hint("one node has one account; another home folder holds another node"),
            RequestError::NotFound(noun) => Self::new(ErrorKind::NotFound, what).hint(match noun {
                "contact" => "`silbo contact list` shows the contacts",
                "invite" => "`silbo invite list` shows the invitations",
                "relay" => "`silbo relay list` shows the relays",
                "channel" => "`silbo channel list` shows the channels",
                _ => "it may have been deleted, or the id is of another account",
            }),
            RequestError::Invalid { field, .. } => Self::new(ErrorKind::InvalidParams, what).field(field),
            RequestError::Blocked => {
                Self::new(ErrorKind::Blocked, what).hint("`silbo contact unblock` allows messages again")
            }
            RequestError::KeyChanged => Self::new(ErrorKind::Untrusted, what)
                .why("the contact may have a new device, or somebody is in between")
                .hint("compare the safety number, then `silbo contact accept-key`"),
            RequestError::Mismatch => Self::new(ErrorKind::Untrusted, what)
                .why("the code is of somebody else, or somebody is in between")
                .hint("compare again over a call; do not send anything confidential before it matches"),
            RequestError::Limit(_) => {
                Self::new(ErrorKind::Limit, what).hint("wait until something was delivered, or remove something")
            }
            RequestError::BadInvite(_) => {
                Self::new(ErrorKind::InvalidParams, what).field("link").hint("ask for a new invitation")
            }
            RequestError::BadLink(_) => {
                Self::new(ErrorKind::InvalidParams, what).field("link").hint("ask for the link again")
            }
            RequestError::NotOwner => Self::new(ErrorKind::Untrusted, what)
                .why("this account only reads it")
                .hint("`silbo channel show` says whose it is; `silbo group` makes one in which all write"),
            RequestError::Timeout => {
                Self::new(ErrorKind::Timeout, what).hint("messages are delivered later by themselves")
            }
            RequestError::NotMember => Self::new(ErrorKind::NotFound, what)
                .hint("`silbo group list` shows the groups; ask a member to add you"),
            RequestError::NotAllowed(_) => Self::new(ErrorKind::Untrusted, what)
                .hint("`silbo group show` shows the roles; ask an admin of the group"),
            RequestError::Offline => Self::new(ErrorKind::Offline, what)
                .hint("messages wait and are delivered later; `silbo net check` shows the network"),
        }
    }
}

impl From<CoreError> for ApiError {
    fn from(error: CoreError) -> Self {
        match error {
            CoreError::Request(error) => error.into(),
            CoreError::Busy => Self::new(ErrorKind::Limit, "the node is busy")
                .why("its inbox is full")
                .hint("try again")
                .retry_after_ms(BUSY_RETRY_MS),
            CoreError::Stopped => Self::new(ErrorKind::NoDaemon, "the node is stopping").hint("start it: `silbo up`"),
            CoreError::DiskFull => Self::new(ErrorKind::Limit, "the disk is full")
                .why("nothing was changed, and nothing that was confirmed is lost")
                .hint("free some space on the disk, then try again"),
            CoreError::Storage(why) => Self::new(ErrorKind::Internal, "the database cannot be used")
                .why(why)
                .hint("check the free space and the permissions, then `silbo doctor`"),
        }
    }
}

/// A full inbox is worked off within this.
const BUSY_RETRY_MS: u64 = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_the_exit_code_below_minus_32000() {
        for kind in ErrorKind::ALL {
            assert!((1..=11).contains(&kind.class()), "{kind:?}");
            assert_eq!(kind.code(), -32_000 - kind.class());
        }
    }

    #[test]
    fn every_refusal_of_the_core_says_what_to_do_or_which_field() {
        let all = [
            RequestError::NoAccount,
            RequestError::AccountExists,
            RequestError::NotFound("contact"),
            RequestError::Invalid { field: "body", why: "too long".into() },
            RequestError::Blocked,
            RequestError::KeyChanged,
            RequestError::Mismatch,
            RequestError::Limit("outbox"),
            RequestError::BadInvite("expired".into()),
            RequestError::BadLink("damaged".into()),
            RequestError::NotOwner,
            RequestError::Timeout,
            RequestError::NotMember,
            RequestError::NotAllowed("only admins may do this"),
            RequestError::Offline,
        ];
        for refusal in all {
            let error = ApiError::from(refusal.clone());
            assert!(error.data.hint.is_some() || error.data.field.is_some(), "{refusal:?}");
            assert!(!error.what.is_empty());
        }
    }
}
