//! `events.list` and `events.ack`; the subscription is in [`crate::api::events`].

use std::sync::Arc;

use crate::api::error::ApiError;
use crate::api::events::{Filter, check_consumer, gap, named, start};
use crate::api::limits::EVENTS_PER_READ;
use crate::api::types::{Done, Events, EventsAck, EventsList};
use crate::api::{Api, reads};

pub(super) async fn list(api: Arc<Api>, params: EventsList) -> Result<Events, ApiError> {
    if params.limit == 0 || params.limit > EVENTS_PER_READ {
        return Err(ApiError::invalid("limit", format!("1 to {EVENTS_PER_READ}")));
    }
    let filter = Filter::read(&api, params.kinds, params.chats).await?;
    let since = start(&api, params.since, params.consumer, 0).await?;
    let page = api
        .core
        .read_with_engine(move |db, engine| reads::events_after(db, engine, since, params.limit as usize))
        .await?;
    let gap = gap(since, page.floor);
    // Numbers may have holes: with nothing left after the cursor, everything up to the head is dealt with.
    let next = page.events.last().map_or(page.head, |(seq, _)| *seq).max(since);
    let epoch = page.epoch.clone();
    Ok(Events { events: named(&api, page, &filter).await, next, epoch, gap })
}

pub(super) async fn ack(api: Arc<Api>, params: EventsAck) -> Result<Done, ApiError> {
    check_consumer(&params.consumer)?;
    api.core.read(move |db| db.set_cursor(&params.consumer, params.seq)).await?;
    Ok(Done {})
}
