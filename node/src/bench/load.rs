//! What is asked of a pair of nodes: one message after the other, or as many as 64 under way.
//!
//! A message counts when the event stream of its sender says `delivered`: both sides have committed it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::nodes::Node;
use super::{WINDOW, broken};
use crate::cli::client::{Client, EventStream};
use crate::cli::failure::Failure;

/// Connections that send: a node answers at most 200 calls a second on each, and 64 connections.
const CONNECTIONS: usize = 48;
/// A message that is not delivered by then will not be.
const PATIENCE: Duration = Duration::from_secs(30);
const STATES: &[&str] = &["message.state"];

/// One message after the other, and how long each took from the call to the event.
pub(super) async fn single(node: &Node, to: &str, bytes: usize, count: usize) -> Result<Vec<Duration>, Failure> {
    let mut events = node.client.events_of(STATES).await?;
    let mut connection = node.client.keep().await?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let started = Instant::now();
        let sent = connection.call("message.send", message(to, bytes)).await?;
        let id = sent.get("id").and_then(Value::as_str).unwrap_or_default();
        while delivered(&mut events).await?.as_deref() != Some(id) {}
        times.push(started.elapsed());
    }
    Ok(times)
}

/// As fast as they are acknowledged; messages a second.
pub(super) async fn stream(node: &Node, to: &str, bytes: usize, length: Duration) -> Result<f64, Failure> {
    let mut events = node.client.events_of(STATES).await?;
    let window = Arc::new(Semaphore::new(WINDOW));
    let over = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (client, to, window, over, sent) =
            (node.client.clone(), to.to_owned(), window.clone(), over.clone(), sent.clone());
        senders.spawn(async move { send_all(&client, &to, bytes, &window, &over, &sent).await });
    }
    let mut count = 0usize;
    let mut rate = 0.0;
    loop {
        if started.elapsed() >= length && !over.swap(true, Ordering::Relaxed) {
            rate = count as f64 / started.elapsed().as_secs_f64();
            window.add_permits(CONNECTIONS); // wakes those who wait; they see that it is over
        }
        if over.load(Ordering::Relaxed) {
            while let Some(ended) = senders.join_next().await {
                ended.map_err(|error| broken("a sender ended badly").why(error.to_string()))??;
            }
            if count >= sent.load(Ordering::Relaxed) {
                return Ok(rate);
            }
        }
        if delivered(&mut events).await?.is_some() {
            count += 1;
            window.add_permits(1);
        }
    }
}

async fn send_all(
    client: &Client,
    to: &str,
    bytes: usize,
    window: &Semaphore,
    over: &AtomicBool,
    sent: &AtomicUsize,
) -> Result<(), Failure> {
    let mut connection = client.keep().await?;
    loop {
        let Ok(permit) = window.acquire().await else { return Ok(()) };
        permit.forget();
        if over.load(Ordering::Relaxed) {
            return Ok(());
        }
        connection.call("message.send", message(to, bytes)).await?;
        sent.fetch_add(1, Ordering::Relaxed);
    }
}

/// The message the next event says is delivered; `None` for another state.
async fn delivered(events: &mut EventStream) -> Result<Option<String>, Failure> {
    let event =
        tokio::time::timeout(PATIENCE, events.next()).await.map_err(|_| broken("a message was not delivered"))??;
    let event = event.ok_or_else(|| broken("the event stream ended"))?;
    let reached = event["state"] == "delivered";
    Ok(event.get("message").and_then(Value::as_str).filter(|_| reached).map(str::to_owned))
}

/// Words and numbers, as people send them: the search index has something to do.
fn message(to: &str, bytes: usize) -> Value {
    const WORDS: [&str; 8] = ["harbour", "lantern", "seven", "whistle", "over", "the", "valley", "tomorrow"];
    let mut body = String::with_capacity(bytes + 16);
    let mut at = rand::random::<u32>();
    while body.len() < bytes {
        at = at.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        body.push_str(WORDS[(at >> 29) as usize]);
        body.push(' ');
    }
    body.truncate(bytes);
    json!({"chat": to, "body": body})
}
