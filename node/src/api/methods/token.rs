//! `token.*` and `auth.ticket`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use silbo_protocol::time::UnixTime;

use crate::api::Api;
use crate::api::caller::Scope;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::events::now_ms;
use crate::api::limits::{LABEL_BYTES_MAX, TICKET_MS, TOKENS_MAX};
use crate::api::login::{fresh_secret, hash};
use crate::api::types::{Done, List, Nothing, Ticket, TokenCreate, TokenCreated, TokenEntry, TokenRevoke};
use crate::storage::ApiToken;

/// What became of a new token.
enum Kept {
    Yes,
    NameTaken,
    TooMany,
}

pub(super) async fn create(api: Arc<Api>, params: TokenCreate) -> Result<TokenCreated, ApiError> {
    let name = params.name.trim().to_owned();
    if name.is_empty() || name.len() > LABEL_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(ApiError::invalid("name", format!("1 to {LABEL_BYTES_MAX} bytes of text")));
    }
    let scopes: BTreeSet<Scope> = params.scopes.into_iter().collect();
    if scopes.is_empty() {
        return Err(ApiError::invalid("scopes", "at least one of read, message:send, events:read, admin"));
    }
    if params.ttl_ms == Some(0) {
        return Err(ApiError::invalid("ttlMs", "more than 0, or left out for a token without end"));
    }
    let now = now_ms();
    let expires_at = params.ttl_ms.map(|ttl| now.saturating_add(ttl));
    let secret = fresh_secret();
    let token = ApiToken {
        name: name.clone(),
        hash: hash(&secret),
        scopes: scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
        created_at: UnixTime(now),
        expires_at: expires_at.map(UnixTime),
        last_used_at: None,
    };
    let keep = move |db: &mut crate::storage::Database| {
        if db.tokens()?.len() >= TOKENS_MAX {
            return Ok(Kept::TooMany);
        }
        Ok(if db.token_add(&token)? { Kept::Yes } else { Kept::NameTaken })
    };
    match api.core.read(keep).await? {
        Kept::Yes => {
            Ok(TokenCreated { name, token: secret.to_string(), scopes: scopes.into_iter().collect(), expires_at })
        }
        Kept::NameTaken => Err(ApiError::invalid("name", "there is a token of this name")
            .hint("take another name, or revoke it first: `silbo token revoke NAME`")),
        Kept::TooMany => Err(ApiError::new(ErrorKind::Limit, format!("there are {TOKENS_MAX} tokens"))
            .hint("revoke some: `silbo token list`")),
    }
}

pub(super) async fn list(api: Arc<Api>, _: Nothing) -> Result<List<TokenEntry>, ApiError> {
    let tokens = api.core.read(|db| db.tokens()).await?;
    let entries = tokens.into_iter().map(|token| TokenEntry {
        name: token.name,
        scopes: token.scopes.iter().filter_map(|scope| Scope::parse(scope)).collect(),
        created_at: token.created_at.0,
        expires_at: token.expires_at.map(|at| at.0),
        last_used_at: token.last_used_at.map(|at| at.0),
    });
    Ok(List { items: entries.collect() })
}

pub(super) async fn revoke(api: Arc<Api>, params: TokenRevoke) -> Result<Done, ApiError> {
    if api.core.read(move |db| db.token_revoke(&params.name)).await? {
        return Ok(Done {});
    }
    Err(ApiError::new(ErrorKind::NotFound, "no such token").field("name").hint("`silbo token list` shows the tokens"))
}

pub(super) async fn ticket(api: Arc<Api>, _: Nothing) -> Result<Ticket, ApiError> {
    let ticket = api.logins.make_ticket(Instant::now()).to_string();
    let url = api.tcp.get().map(|address| format!("http://{address}/#ticket={ticket}"));
    Ok(Ticket { ticket, url, expires_at: now_ms().saturating_add(TICKET_MS) })
}
