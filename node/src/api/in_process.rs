//! The carriers without a socket: bytes in, bytes out within one process, and one JSON document a line over any pipe.

use std::sync::Arc;

use futures::stream::{FuturesUnordered, StreamExt};
use jsonrpsee::Methods;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::caller::{Budget, Caller, Rights};
use super::limits::{ApiLimits, BATCH_MAX, BODY_BYTES_MAX, WAITING_MESSAGES_MAX};
use super::registry::called_by;

/// Calls of one line-based caller that run at the same time.
const CALLS_AT_ONCE: usize = 64;

/// A caller in the same process, with the rights of the owner. Dropping it ends its subscriptions.
#[derive(Debug)]
pub struct InProcess {
    methods: Methods,
    sender: mpsc::Sender<Box<RawValue>>,
    waiting: Mutex<mpsc::Receiver<Box<RawValue>>>,
    stop: CancellationToken,
    tasks: TaskTracker,
    limits: ApiLimits,
}

impl InProcess {
    /// A caller of these methods.
    pub fn new(methods: &Methods, limits: &ApiLimits) -> Self {
        let caller = Caller::new(Rights::Owner, Budget::new(limits));
        let (sender, waiting) = mpsc::channel(WAITING_MESSAGES_MAX);
        Self {
            methods: called_by(methods, caller),
            sender,
            waiting: Mutex::new(waiting),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            limits: limits.clone(),
        }
    }

    /// Answers one JSON-RPC document, a call or a batch; empty for notifications. Dropping the future ends the call, not
    /// what it started in the node.
    pub async fn call(&self, document: &[u8]) -> Vec<u8> {
        if document.len() > BODY_BYTES_MAX {
            return refusal(-32_009, "the request is too large");
        }
        let Ok(parsed) = serde_json::from_slice::<Value>(document) else {
            return refusal(-32_700, "this is not JSON");
        };
        let Value::Array(calls) = parsed else {
            return self.one(&parsed).await.map(|answer| answer.get().as_bytes().to_vec()).unwrap_or_default();
        };
        if calls.is_empty() || calls.len() > BATCH_MAX {
            return refusal(-32_600, "a batch has 1 to 50 calls");
        }
        let mut answers = Vec::new();
        for call in &calls {
            answers.extend(self.one(call).await);
        }
        if answers.is_empty() { Vec::new() } else { serde_json::to_vec(&answers).unwrap_or_default() }
    }

    /// The next notification of a subscription. Cancel safe. `None` once the caller is stopped.
    pub async fn notification(&self) -> Option<Vec<u8>> {
        let mut waiting = self.waiting.lock().await;
        tokio::select! {
            biased;
            message = waiting.recv() => message.map(|message| message.get().as_bytes().to_vec()),
            () = self.stop.cancelled() => None,
        }
    }

    /// Ends all subscriptions and waits until their tasks are gone.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn one(&self, call: &Value) -> Option<Box<RawValue>> {
        if call.is_object() && call.get("id").is_none() {
            return None;
        }
        let id = call.get("id").cloned().unwrap_or(Value::Null);
        let (answer, notifications) = match self.methods.raw_json_request(&call.to_string(), WAITING_MESSAGES_MAX).await
        {
            Ok(pair) => pair,
            Err(_) => return error_document(&id, -32_600, "this is not a JSON-RPC request"),
        };
        if !notifications.is_closed() {
            self.tasks.spawn(forward(notifications, self.sender.clone(), self.stop.clone(), self.limits.stall_timeout));
        }
        Some(answer)
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn forward(
    mut from: mpsc::Receiver<Box<RawValue>>,
    to: mpsc::Sender<Box<RawValue>>,
    stop: CancellationToken,
    stall_timeout: std::time::Duration,
) {
    loop {
        let message = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            message = from.recv() => message,
        };
        let Some(message) = message else { return };
        let sent = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            sent = to.send_timeout(message, stall_timeout) => sent,
        };
        if sent.is_err() {
            tracing::debug!("a slow reader in this process lost its subscription");
            return;
        }
    }
}

fn error_document(id: &Value, code: i32, message: &str) -> Option<Box<RawValue>> {
    let document = json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } });
    serde_json::value::to_raw_value(&document).ok()
}

fn refusal(code: i32, message: &str) -> Vec<u8> {
    error_document(&Value::Null, code, message).map(|document| document.get().as_bytes().to_vec()).unwrap_or_default()
}

/// Serves one caller over a pair of pipes, one JSON document a line, notifications in between, until the input ends and
/// every call is answered, or `stop` is cancelled.
///
/// # Errors
/// When a pipe breaks.
pub async fn serve_stdio<R, W>(
    methods: &Methods,
    limits: &ApiLimits,
    reader: R,
    mut writer: W,
    stop: CancellationToken,
) -> std::io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let caller = Arc::new(InProcess::new(methods, limits));
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    let mut calls = FuturesUnordered::new();
    let mut open = true;
    let result = loop {
        if !open && calls.is_empty() {
            break Ok(());
        }
        let answer = tokio::select! {
            biased;
            () = stop.cancelled() => break Ok(()),
            Some(answer) = calls.next() => answer,
            Some(notification) = caller.notification() => notification,
            read = read_line(&mut reader, &mut line), if open && calls.len() < CALLS_AT_ONCE => match read {
                Ok(Line::Whole) => {
                    let document = std::mem::take(&mut line);
                    let caller = caller.clone();
                    calls.push(async move { caller.call(&document).await });
                    continue;
                }
                Ok(Line::Empty) => continue,
                Ok(Line::End) => {
                    open = false;
                    continue;
                }
                Ok(Line::TooLong) => {
                    open = false;
                    refusal(-32_009, "the line is too long")
                }
                Err(error) => break Err(error),
            },
        };
        if answer.is_empty() {
            continue;
        }
        let written = async {
            writer.write_all(&answer).await?;
            writer.write_all(b"\n").await?;
            writer.flush().await
        };
        if let Err(error) = written.await {
            break Err(error);
        }
    };
    drop(calls);
    caller.stop().await;
    result
}

enum Line {
    Whole,
    Empty,
    End,
    TooLong,
}

/// Cancel safe: what was read stays in `line`.
async fn read_line<R: AsyncRead + Unpin>(reader: &mut BufReader<R>, line: &mut Vec<u8>) -> std::io::Result<Line> {
    let room = (BODY_BYTES_MAX + 1).saturating_sub(line.len());
    let read = reader.take(room as u64).read_until(b'\n', line).await?;
    if line.len() > BODY_BYTES_MAX {
        return Ok(Line::TooLong);
    }
    if line.iter().all(u8::is_ascii_whitespace) {
        let end = read == 0;
        line.clear();
        return Ok(if end { Line::End } else { Line::Empty });
    }
    Ok(Line::Whole)
}
