//! Scoped tokens and browser logins.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::caller::Scope;

/// Parameters of `token.create`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenCreate {
    /// What it is for; unique.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// Lifetime in milliseconds; for ever without it.
    #[serde(default)]
    pub ttl_ms: Option<u64>,
}

/// Result of `token.create`.
#[derive(Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenCreated {
    /// Its name.
    pub name: String,
    /// The token; shown this one time.
    pub token: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// When it stops working.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
}

impl std::fmt::Debug for TokenCreated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenCreated({}, ..)", self.name)
    }
}

/// A token, without its secret.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenEntry {
    /// Its name.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: u64,
    /// When it stops working.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// When it was used last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<u64>,
}

/// Parameters of `token.revoke`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRevoke {
    /// Its name.
    pub name: String,
}

/// Result of `auth.ticket`.
#[derive(Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ticket {
    /// Good once, for 60 seconds, at `POST /auth`.
    pub ticket: String,
    /// The page with the ticket in its fragment, which never leaves the browser; null when no loopback listener runs.
    pub url: Option<String>,
    /// When it stops working.
    pub expires_at: u64,
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ticket(..)")
    }
}
