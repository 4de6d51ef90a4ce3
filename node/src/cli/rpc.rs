//! `silbo rpc`: JSON-RPC on stdin and stdout, one document a line, for programs that start us as a child.
//!
//! Documents go to the running node as they are. Subscriptions are served from its event stream, because a single
//! HTTP answer cannot carry them.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::{AbortHandle, JoinSet};

use super::Session;
use super::client::Client;
use super::failure::Failure;

/// Requests in work at a time; further lines wait. Each has a connection, and others want some of the node's too.
const IN_WORK_MAX: usize = 16;

/// Serves until stdin ends and every request is answered.
pub async fn serve_stdio(session: &Session) -> Result<(), Failure> {
    // Without a node, the exit code says so before anything is read.
    session.call("system.version", json!({})).await?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut work = JoinSet::new();
    let mut subscriptions = Subscriptions::default();
    loop {
        while work.len() >= IN_WORK_MAX {
            work.join_next().await;
        }
        let line = match lines.next_line().await {
            Ok(Some(line)) if line.trim().is_empty() => continue,
            Ok(Some(line)) => line,
            Ok(None) | Err(_) => break,
        };
        let request: Option<Value> = serde_json::from_str(&line).ok();
        let method = request.as_ref().and_then(|request| request.get("method")).and_then(Value::as_str);
        match (method, &request) {
            (Some("events.subscribe"), Some(request)) => subscriptions.open(&session.client, request).await,
            (Some("events.unsubscribe"), Some(request)) => subscriptions.close(request),
            _ => {
                let client = session.client.clone();
                work.spawn(async move { forward(&client, line, request).await });
            }
        }
    }
    while work.join_next().await.is_some() {}
    Ok(())
}

async fn forward(client: &Client, line: String, request: Option<Value>) {
    match client.exchange(line).await {
        Ok(answer) if answer.is_empty() => {}
        // An answer is one line already unless the node prints prettily; newlines in strings are escaped.
        Ok(answer) => write_line(&String::from_utf8_lossy(&answer).replace('\n', " ")),
        Err(failure) => write_line(&error_answer(request.as_ref(), &failure).to_string()),
    }
}

fn error_answer(request: Option<&Value>, failure: &Failure) -> Value {
    json!({"jsonrpc": "2.0", "id": request.and_then(|request| request.get("id")), "error": {
        "code": -32_000 - i64::from(failure.class.exit_code()),
        "message": failure.what,
        "data": {"kind": failure.kind, "why": failure.why, "hint": failure.hint},
    }})
}

fn write_line(line: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        // Our parent no longer reads: there is nothing left to serve.
        std::process::exit(0);
    }
}

/// Open subscriptions; they end with the command.
#[derive(Default)]
struct Subscriptions {
    tasks: JoinSet<()>,
    open: BTreeMap<String, AbortHandle>,
}

impl Subscriptions {
    async fn open(&mut self, client: &Client, request: &Value) {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let params = request.get("params").cloned().unwrap_or(Value::Null);
        match begin(client, &params).await {
            Ok(mut events) => {
                let id = format!("s{}", NEXT.fetch_add(1, Ordering::Relaxed));
                write_line(&json!({"jsonrpc": "2.0", "id": request.get("id"), "result": id}).to_string());
                let name = id.clone();
                let handle = self.tasks.spawn(async move {
                    while let Ok(Some(event)) = events.next().await {
                        if !wants(&params, &event) {
                            continue;
                        }
                        let told = json!({"subscription": name, "result": event});
                        write_line(&json!({"jsonrpc": "2.0", "method": "event", "params": told}).to_string());
                    }
                });
                self.open.insert(id, handle);
            }
            Err(failure) => write_line(&error_answer(Some(request), &failure).to_string()),
        }
    }

    fn close(&mut self, request: &Value) {
        let params = request.get("params");
        let id = params.and_then(|params| params.get("subscription").or_else(|| params.get(0))).and_then(Value::as_str);
        let task = id.and_then(|id| self.open.remove(id));
        if let Some(task) = &task {
            task.abort();
        }
        write_line(&json!({"jsonrpc": "2.0", "id": request.get("id"), "result": task.is_some()}).to_string());
    }
}

async fn begin(client: &Client, params: &Value) -> Result<super::client::EventStream, Failure> {
    let mut since = params.get("since").and_then(Value::as_u64);
    if since.is_none()
        && let Some(consumer) = params.get("consumer")
    {
        let page = client.call("events.list", json!({"consumer": consumer, "limit": 1})).await?;
        let first = page["events"].get(0).and_then(|event| event["seq"].as_u64()).map(|seq| seq.saturating_sub(1));
        since = first.or_else(|| page["next"].as_u64());
    }
    client.events(since).await
}

fn wants(params: &Value, event: &Value) -> bool {
    let allowed = |name: &str, value: Option<&Value>| match params.get(name).and_then(Value::as_array) {
        Some(list) => value.is_some_and(|value| list.contains(value)),
        None => true,
    };
    allowed("kinds", event.get("kind")) && allowed("chats", event.get("chat"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::failure::Class;

    #[test]
    fn a_parent_that_writes_many_lines_leaves_connections_to_others() {
        assert!(2 * IN_WORK_MAX <= crate::api::ApiLimits::default().connections_max);
    }

    #[test]
    fn a_subscription_gets_the_kinds_and_chats_it_asked_for() {
        let event = json!({"kind": "message.received", "chat": "c1"});
        assert!(wants(&json!({}), &event));
        assert!(wants(&json!({"kinds": ["message.received"], "chats": ["c1"]}), &event));
        assert!(!wants(&json!({"kinds": ["message.sent"]}), &event));
        assert!(!wants(&json!({"chats": ["c2"]}), &event));
        assert!(!wants(&json!({"chats": ["c2"]}), &json!({"kind": "relay.added"})));
    }

    #[test]
    fn a_failure_is_answered_with_the_id_of_the_request() {
        let answer = error_answer(Some(&json!({"id": 7})), &Failure::new(Class::NoDaemon, "no node is running"));
        assert_eq!(answer["id"], 7);
        assert_eq!(answer["error"]["code"], -32_003);
        assert_eq!(error_answer(None, &Failure::new(Class::Internal, "x"))["id"], Value::Null);
    }
}
