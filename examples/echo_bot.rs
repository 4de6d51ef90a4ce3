//! A bot that sends every message back, over the Unix socket of a running node.
//!
//! ```text
//! silbo --home /tmp/ada up --yes --name Ada
//! cargo run --example echo_bot -- /tmp/ada/run/silbo.sock
//! ```
//! It reads the event log as the consumer `echo-bot`. An event is acknowledged after it was answered, and the message's
//! id is the `clientId` of the answer: a bot that is killed in between answers again, and the node sends it once.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixStream;

const CONSUMER: &str = "echo-bot";

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let socket: PathBuf = std::env::args_os().nth(1).context("usage: echo_bot PATH/silbo.sock")?.into();
    // What arrived while the bot was away comes first, then the stream goes on live.
    let target = format!("/events?consumer={CONSUMER}&kinds=message.received");
    let mut stream = ask(&socket, Request::get(target), String::new()).await?.into_body();
    eprintln!("answering; stop with Ctrl-C");
    let mut text = Vec::new();
    while let Some(frame) = stream.frame().await {
        text.extend_from_slice(frame?.data_ref().map_or(&[][..], |data| data));
        // Server-sent events: lines of `field: value`, an empty line ends an event.
        while let Some(end) = text.windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = text.drain(..end + 2).collect();
            for data in String::from_utf8(event)?.lines().filter_map(|line| line.strip_prefix("data:")) {
                answer(&socket, &serde_json::from_str(data)?).await?;
            }
        }
    }
    bail!("the node has closed the stream")
}

async fn answer(socket: &Path, event: &Value) -> anyhow::Result<()> {
    if event["kind"] == "message.received" {
        let (chat, id, body) = (&event["chat"], &event["message"], &event["body"]);
        let params = json!({"chat": chat, "body": body, "replyTo": id, "clientId": id});
        let sent = call(socket, "message.send", params).await?;
        println!("{} answered: {}", event["name"].as_str().unwrap_or("?"), sent["state"]);
        call(socket, "events.ack", json!({"consumer": CONSUMER, "seq": event["seq"]})).await?;
    }
    Ok(())
}

/// One JSON-RPC call.
async fn call(socket: &Path, method: &str, params: Value) -> anyhow::Result<Value> {
    let document = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let request = Request::post("/rpc").header("content-type", "application/json");
    let bytes = ask(socket, request, document.to_string()).await?.into_body().collect().await?.to_bytes();
    let mut answer: Value = serde_json::from_slice(&bytes)?;
    match answer.get("error") {
        Some(error) => bail!("{method}: {error}"),
        None => Ok(answer["result"].take()),
    }
}

/// One HTTP request on a connection of its own.
async fn ask(
    socket: &Path,
    request: hyper::http::request::Builder,
    body: String,
) -> anyhow::Result<Response<Incoming>> {
    let stream = UnixStream::connect(socket).await.with_context(|| format!("no node at {}", socket.display()))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = request.header("host", "localhost").body(Full::new(Bytes::from(body)))?;
    let response = sender.send_request(request).await?;
    if !response.status().is_success() {
        bail!("the node answers {}", response.status());
    }
    Ok(response)
}
