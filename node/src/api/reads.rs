//! What the API reads from the database and keeps in it: pages of the log, messages, cursors, tokens.
//!
//! Every function runs on the core thread, inside [`CoreHandle::read`], and is short.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::BoxFuture;
use silbo_protocol::Engine;
use silbo_protocol::ids::ChatId;
use silbo_protocol::step::Event;
use silbo_protocol::time::UnixTime;

use super::caller::{Rights, Scope};
use super::events::now_ms;
use super::login::{ScopedTokens, SecretHash};
use crate::core::CoreHandle;
use crate::storage::{Database, StorageError};

/// A page of the event log.
#[derive(Debug)]
pub(super) struct EventPage {
    /// Events with their numbers, oldest first.
    pub(super) events: Vec<(u64, Event)>,
    /// Number of the newest event there ever was.
    pub(super) head: u64,
    /// The smallest number that was not pruned.
    pub(super) floor: u64,
    /// What the numbers belong to.
    pub(super) epoch: String,
    /// What the conversations in it are called.
    pub(super) names: BTreeMap<ChatId, String>,
    /// Which of them are channels.
    pub(super) channels: BTreeSet<ChatId>,
}

/// Events after a number.
pub(super) fn events_after(
    db: &mut Database,
    engine: &Engine,
    since: u64,
    limit: usize,
) -> Result<EventPage, StorageError> {
    let events = db.events_after(since, limit)?;
    let chats: BTreeSet<ChatId> = events.iter().filter_map(|(_, event)| event.chat).collect();
    Ok(EventPage {
        events,
        head: db.event_head()?,
        floor: db.event_floor()?,
        epoch: db.epoch().to_owned(),
        channels: chats.iter().filter(|chat| engine.is_channel(chat)).copied().collect(),
        names: chats.into_iter().filter_map(|chat| Some((chat, engine.shown_name(&chat)?))).collect(),
    })
}

/// Scoped tokens, from the database.
#[derive(Debug)]
pub(super) struct DatabaseTokens(pub(super) CoreHandle);

/// The time of the last use is kept to the minute: a busy bot should not write at every call.
const LAST_USED_STEP_MS: u64 = 60_000;

impl ScopedTokens for DatabaseTokens {
    fn rights(&self, hash: SecretHash) -> BoxFuture<'_, Option<Rights>> {
        Box::pin(async move {
            match self.0.read(move |db| rights(db, &hash)).await {
                Ok(rights) => rights,
                Err(error) => {
                    tracing::warn!(?error, "a token could not be looked up");
                    None
                }
            }
        })
    }
}

fn rights(db: &mut Database, hash: &SecretHash) -> Result<Option<Rights>, StorageError> {
    let now = now_ms();
    let Some(token) = db.token_by_hash(hash)? else { return Ok(None) };
    if token.expires_at.is_some_and(|at| at.0 <= now) {
        return Ok(None);
    }
    let last_used = token.last_used_at.map_or(0, |at| at.0);
    if now.saturating_sub(last_used) >= LAST_USED_STEP_MS {
        db.token_used(&token.name, UnixTime(now))?;
    }
    // A scope of a later version means nothing here, and gives nothing.
    let scopes: BTreeSet<Scope> = token.scopes.iter().filter_map(|scope| Scope::parse(scope)).collect();
    Ok(Some(Rights::Scopes(scopes)))
}
