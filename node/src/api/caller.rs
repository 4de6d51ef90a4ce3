//! Who calls: what a connection may do and how fast. Every call carries a [`Caller`]; a call without one is refused.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::error::{ApiError, ErrorKind};
use super::limits::ApiLimits;

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Scope {
    /// Looking at things.
    #[serde(rename = "read")]
    Read,
    /// Writing, editing, deleting messages.
    #[serde(rename = "message:send")]
    MessageSend,
    /// The event log.
    #[serde(rename = "events:read")]
    EventsRead,
    /// Everything.
    #[serde(rename = "admin")]
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Scope; 4] = [Self::Read, Self::MessageSend, Self::EventsRead, Self::Admin];

    /// As written in tokens and documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::MessageSend => "message:send",
            Self::EventsRead => "events:read",
            Self::Admin => "admin",
        }
    }

    /// Reads the written form; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }
}

/// What a caller may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rights {
    /// The owner of the node: Unix socket, own process, the main token, a browser login.
    Owner,
    /// A scoped token.
    Scopes(BTreeSet<Scope>),
}

impl Rights {
    /// Whether a method of `scope` may be called; methods without a scope are open to every caller.
    pub fn allow(&self, scope: Option<Scope>) -> bool {
        match (self, scope) {
            (Self::Owner, _) | (_, None) => true,
            (Self::Scopes(scopes), Some(scope)) => scopes.contains(&scope) || scopes.contains(&Scope::Admin),
        }
    }
}

/// One caller on one connection. Clones share the budget.
#[derive(Clone, Debug)]
pub struct Caller {
    rights: Rights,
    budget: Arc<Budget>,
}

impl Caller {
    /// A caller with `rights` and the budget of its connection.
    pub fn new(rights: Rights, budget: Arc<Budget>) -> Self {
        Self { rights, budget }
    }

    /// Admits one call of a method of `scope`, or says why not.
    pub fn admit(&self, method: &str, scope: Option<Scope>) -> Result<(), ApiError> {
        if let Err(wait_ms) = self.budget.take() {
            return Err(ApiError::new(ErrorKind::Limit, "too many calls on this connection")
                .hint("wait, or subscribe to events instead of asking")
                .retry_after_ms(wait_ms));
        }
        if self.rights.allow(scope) {
            return Ok(());
        }
        let scope = scope.map_or("", Scope::as_str);
        Err(ApiError::new(ErrorKind::Forbidden, format!("the token may not call {method}"))
            .why(format!("the method needs the scope {scope}"))
            .hint("make a token with this scope: `silbo token create`"))
    }
}

/// A token bucket: so many calls at once, so many a second on average.
#[derive(Debug)]
pub struct Budget {
    per_second: f64,
    burst: f64,
    state: Mutex<(f64, Instant)>,
}

impl Budget {
    /// A full budget.
    pub fn new(limits: &ApiLimits) -> Arc<Self> {
        let burst = f64::from(limits.calls_burst.max(1));
        Arc::new(Self {
            per_second: f64::from(limits.calls_per_second.max(1)),
            burst,
            state: Mutex::new((burst, Instant::now())),
        })
    }

    /// Takes one call out; when empty, says after how many milliseconds there will be one.
    fn take(&self) -> Result<(), u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = state.1.elapsed().as_secs_f64();
        state.1 = Instant::now();
        state.0 = (state.0 + passed * self.per_second).min(self.burst);
        if state.0 >= 1.0 {
            state.0 -= 1.0;
            return Ok(());
        }
        Err(((1.0 - state.0) / self.per_second * 1000.0).ceil() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scoped_token_may_call_what_its_scopes_cover_and_nothing_else() {
        let rights = Rights::Scopes(BTreeSet::from([Scope::Read]));
        assert!(rights.allow(Some(Scope::Read)));
        assert!(rights.allow(None));
        assert!(!rights.allow(Some(Scope::MessageSend)));
        assert!(!rights.allow(Some(Scope::Admin)));
        assert!(Rights::Scopes(BTreeSet::from([Scope::Admin])).allow(Some(Scope::EventsRead)));
        assert!(Rights::Owner.allow(Some(Scope::Admin)));
    }

    #[test]
    fn an_empty_budget_refuses_and_says_when_to_come_back() {
        let limits = ApiLimits { calls_per_second: 1, calls_burst: 2, ..ApiLimits::default() };
        let caller = Caller::new(Rights::Owner, Budget::new(&limits));
        assert!(caller.admit("x", None).is_ok());
        assert!(caller.admit("x", None).is_ok());
        let error = caller.admit("x", None).expect_err("the third call is one too many");
        assert_eq!(error.data.kind, ErrorKind::Limit);
        assert!(error.data.retry_after_ms.is_some_and(|ms| (1..=1000).contains(&ms)));
    }

    #[test]
    fn scopes_are_read_as_they_are_written() {
        for scope in Scope::ALL {
            assert_eq!(Scope::parse(scope.as_str()), Some(scope));
        }
        assert_eq!(Scope::parse("everything"), None);
    }
}
