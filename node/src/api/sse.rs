//! `GET /events?since=SEQ`: the event log as server-sent events, for shells and small programs.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use futures::stream::{self, StreamExt};
use hyper::StatusCode;
use serde::Deserialize;

use super::Api;
use super::caller::{Caller, Scope};
use super::connection::Connection;
use super::error::ApiError;
use super::events::Feed;
use super::types::EventsSubscribe;

/// What may stand in the address. Never a token: addresses end up in histories and logs.
#[derive(Debug, Default, Deserialize)]
struct StreamQuery {
    since: Option<u64>,
    consumer: Option<String>,
    /// Separated by commas.
    kinds: Option<String>,
    /// Separated by commas.
    chats: Option<String>,
}

/// The route.
pub(super) fn router(api: Arc<Api>) -> Router {
    Router::new().route("/events", get(events)).with_state(api)
}

async fn events(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Extension(connection): Extension<Connection>,
    headers: HeaderMap,
    query: Result<Query<StreamQuery>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let opened = async {
        caller.admit("GET /events", Some(Scope::EventsRead))?;
        let Query(query) = query.map_err(|error| ApiError::invalid("since", error.body_text()))?;
        let keep_alive = api.limits.keep_alive;
        let feed = Feed::open(api, params(query, &headers)?).await?;
        Ok::<_, ApiError>((feed, keep_alive))
    };
    let (feed, keep_alive) = match opened.await {
        Ok(opened) => opened,
        Err(error) => return refused(error),
    };
    let stream = stream::unfold(feed, |mut feed| async move {
        match feed.next().await {
            Ok(Some(event)) => {
                let line = sse::Event::default().event(&event.kind);
                let line = match event.seq {
                    Some(seq) => line.id(seq.to_string()),
                    None => line,
                };
                line.json_data(&event).ok().map(|line| (Ok::<_, Infallible>(line), feed))
            }
            Ok(None) => None,
            Err(error) => {
                tracing::warn!(%error, "an event stream ended");
                None
            }
        }
    });
    let stream = stream.take_until(connection.stop.cancelled_owned());
    Sse::new(stream).keep_alive(KeepAlive::new().interval(keep_alive)).into_response()
}

/// A browser that lost the stream says by `Last-Event-ID` where it was; that is later than its address.
fn params(query: StreamQuery, headers: &HeaderMap) -> Result<EventsSubscribe, ApiError> {
    let list = |text: Option<String>| text.map(|text| text.split(',').map(str::to_owned).collect());
    let since = match headers.get("last-event-id") {
        Some(value) => {
            let seq = value.to_str().ok().and_then(|text| text.parse().ok());
            Some(seq.ok_or_else(|| ApiError::invalid("Last-Event-ID", "a number of an event"))?)
        }
        None => query.since,
    };
    Ok(EventsSubscribe { since, consumer: query.consumer, kinds: list(query.kinds), chats: list(query.chats) })
}

fn refused(error: ApiError) -> Response {
    let status = match error.data.kind.class() {
        2 => StatusCode::BAD_REQUEST,
        3 => StatusCode::SERVICE_UNAVAILABLE,
        4 => StatusCode::NOT_FOUND,
        8 => StatusCode::FORBIDDEN,
        9 => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, Json(serde_json::json!({ "error": error.what, "data": error.data }))).into_response()
}
