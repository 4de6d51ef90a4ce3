//! The node's API from the other end of its Unix socket: calls over HTTP, events as a server-sent stream.
//!
//! Each call has its own connection; the socket is local and a command makes few.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::failure::{Class, Failure};
use crate::paths::{Paths, ReachableSocket};

/// A call that the node is not asked to wait in is answered within this.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Largest answer read: 200 messages of 64 KiB with their JSON escapes fit.
const ANSWER_BYTES_MAX: usize = 128 << 20;
/// Largest event read.
const EVENT_BYTES_MAX: usize = 4 << 20;

/// The API of the node of one profile.
#[derive(Clone, Debug)]
pub struct Client {
    sockets: Vec<PathBuf>,
}

impl Client {
    /// A client of the profile with these paths. Connects when it is used.
    #[must_use]
    pub fn new(paths: &Paths) -> Client {
        let mut sockets = vec![paths.socket_path.clone()];
        sockets.extend(paths.socket_fallback_path.clone());
        Client { sockets }
    }

    /// Calls a method and returns its result. Dropping the future ends the call, not what it started in the node.
    ///
    /// # Errors
    /// What the node answers, or class 3 where no node answers.
    pub async fn call(&self, method: &str, params: Value) -> Result<Value, Failure> {
        self.call_within(method, params, ANSWER_MAX).await
    }

    /// As [`Client::call`], for methods in which the node itself waits up to `wait`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn call_waiting(&self, method: &str, params: Value, wait: Duration) -> Result<Value, Failure> {
        self.call_within(method, params, wait.saturating_add(ANSWER_MAX)).await
    }

    async fn call_within(&self, method: &str, params: Value, limit: Duration) -> Result<Value, Failure> {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let answer = self.exchange_within(request.to_string(), limit).await?;
        result_of(method, &answer)
    }

    /// Sends one JSON-RPC document and returns the answer as it came; empty for notifications.
    ///
    /// # Errors
    /// Class 3 where no node answers.
    pub async fn exchange(&self, document: String) -> Result<Bytes, Failure> {
        self.exchange_within(document, Duration::from_secs(24 * 3_600)).await
    }

    async fn exchange_within(&self, document: String, limit: Duration) -> Result<Bytes, Failure> {
        let exchange = async {
            let mut connection = Connection::open(&self.sockets).await?;
            connection.exchange(document).await
        };
        tokio::time::timeout(limit, exchange).await.unwrap_or_else(|_| {
            Err(Failure::new(Class::Timeout, "the node does not answer")
                .why(format!("there was no answer in {} s", limit.as_secs()))
                .hint("silbo doctor"))
        })
    }

    /// Events after `since`, or from this moment on where it is `None`.
    ///
    /// # Errors
    /// Class 3 where no node answers.
    pub async fn events(&self, since: Option<u64>) -> Result<EventStream, Failure> {
        let target = since.map_or_else(|| "/events".to_owned(), |seq| format!("/events?since={seq}"));
        self.stream(target).await
    }

    /// Events of these kinds from this moment on.
    ///
    /// # Errors
    /// Class 3 where no node answers.
    pub async fn events_of(&self, kinds: &[&str]) -> Result<EventStream, Failure> {
        self.stream(format!("/events?kinds={}", kinds.join(","))).await
    }

    /// A connection for many calls, one after the other.
    ///
    /// # Errors
    /// Class 3 where no node answers.
    pub async fn keep(&self) -> Result<KeptConnection, Failure> {
        Connection::open(&self.sockets).await.map(KeptConnection)
    }

    async fn stream(&self, target: String) -> Result<EventStream, Failure> {
        let mut connection = Connection::open(&self.sockets).await?;
        let request = Request::get(target)
            .header("host", "localhost")
            .header("accept", "text/event-stream")
            .body(Full::new(Bytes::new()))
            .map_err(|error| broken(&error.to_string()))?;
        let response = connection.ask(request).await?;
        if response.status() != StatusCode::OK {
            return Err(refused(response.status()));
        }
        Ok(EventStream { body: response.into_body(), lines: EventLines::default(), _connection: connection })
    }
}

/// A connection that stays: many calls, one after the other.
pub struct KeptConnection(Connection);

impl KeptConnection {
    /// Calls a method and returns its result.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn call(&mut self, method: &str, params: Value) -> Result<Value, Failure> {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let answer = self.0.exchange(request.to_string()).await?;
        result_of(method, &answer)
    }
}

/// One HTTP connection; its task ends with it.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    task: JoinHandle<()>,
}

impl Connection {
    async fn open(sockets: &[PathBuf]) -> Result<Connection, Failure> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for path in sockets {
            let reached = match ReachableSocket::new(path) {
                Ok(socket) => UnixStream::connect(socket.path()).await,
                Err(error) => Err(error),
            };
            match reached {
                Ok(stream) => return Connection::over(stream).await,
                Err(error) => last = error,
            }
        }
        Err(no_node(&last, sockets))
    }

    async fn over(stream: UnixStream) -> Result<Connection, Failure> {
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error.to_string()))?;
        let task = tokio::spawn(async move {
            // How it ended is told to whoever waits for the answer.
            drop(connection.await);
        });
        Ok(Connection { sender, task })
    }

    async fn exchange(&mut self, document: String) -> Result<Bytes, Failure> {
        let request = Request::post("/rpc")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(document)))
            .map_err(|error| broken(&error.to_string()))?;
        let response = self.ask(request).await?;
        read_all(response).await
    }

    async fn ask(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
        // The answer before must have left the connection.
        self.sender.ready().await.map_err(|error| broken(&error.to_string()))?;
        self.sender.send_request(request).await.map_err(|error| broken(&error.to_string()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn result_of(method: &str, answer: &[u8]) -> Result<Value, Failure> {
    let mut answer: Value = serde_json::from_slice(answer).map_err(|error| unreadable(method, &error.to_string()))?;
    if let Some(error) = answer.get("error") {
        return Err(Failure::of_rpc_error(error));
    }
    answer.get_mut("result").map(Value::take).ok_or_else(|| unreadable(method, "it has neither result nor error"))
}

async fn read_all(response: Response<Incoming>) -> Result<Bytes, Failure> {
    let status = response.status();
    let body = http_body_util::Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    let bytes = body.collect().await.map_err(|error| broken(&error.to_string()))?.to_bytes();
    if status.is_success() || bytes.starts_with(b"{") || bytes.starts_with(b"[") {
        return Ok(bytes);
    }
    Err(refused(status))
}

/// Events as they come. Cancel safe: dropping [`EventStream::next`] loses nothing.
pub struct EventStream {
    body: Incoming,
    lines: EventLines,
    _connection: Connection,
}

impl EventStream {
    /// The next event; `None` when the node closed the stream.
    ///
    /// # Errors
    /// When the stream breaks off or is not one of events.
    pub async fn next(&mut self) -> Result<Option<Value>, Failure> {
        loop {
            if let Some(event) = self.lines.take()? {
                return Ok(Some(event));
            }
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            let frame = frame.map_err(|error| broken(&error.to_string()))?;
            if let Some(bytes) = frame.data_ref() {
                self.lines.add(bytes)?;
            }
        }
    }
}

/// Takes a server-sent stream apart.
#[derive(Default)]
struct EventLines {
    bytes: Vec<u8>,
    data: String,
}

impl EventLines {
    fn add(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.bytes.len() + self.data.len() + bytes.len() > EVENT_BYTES_MAX {
            return Err(unreadable("events", "an event is larger than 4 MiB"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn take(&mut self) -> Result<Option<Value>, Failure> {
        while let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.bytes.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if let Some(data) = line.strip_prefix("data:") {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
            } else if line.is_empty() && !self.data.is_empty() {
                let data = std::mem::take(&mut self.data);
                return serde_json::from_str(&data).map(Some).map_err(|error| unreadable("events", &error.to_string()));
            }
        }
        Ok(None)
    }
}

fn no_node(error: &io::Error, sockets: &[PathBuf]) -> Failure {
    let socket = sockets.first().map(|path| path.display().to_string()).unwrap_or_default();
    match error.kind() {
        io::ErrorKind::PermissionDenied => Failure::new(Class::NoDaemon, "the node cannot be reached")
            .why(format!("{socket} belongs to another user"))
            .hint("run the command as the user who started the node"),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            Failure::new(Class::NoDaemon, "no node is running").why(format!("nothing answers at {socket}"))
        }
        _ => Failure::new(Class::NoDaemon, "the node cannot be reached").why(format!("{socket}: {error}")),
    }
}

fn broken(why: &str) -> Failure {
    Failure::new(Class::NoDaemon, "the connection to the node broke off").why(why).hint("silbo status")
}

fn refused(status: StatusCode) -> Failure {
    let class = match status.as_u16() {
        401 | 403 => Class::Locked,
        413 | 429 => Class::Limit,
        404 | 405 => Class::Version,
        _ => Class::Internal,
    };
    Failure::new(class, "the node refused the request").why(format!("HTTP status {status}"))
}

fn unreadable(method: &str, why: &str) -> Failure {
    Failure::new(Class::Version, format!("the node's answer to `{method}` is not understood")).why(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_however_the_stream_is_cut() {
        let stream = b": hello\n\nid: 7\nevent: message.received\ndata: {\"seq\":7,\"body\":\"\xc3\xa9\"}\n\ndata: {\"seq\":\r\ndata: 8}\r\n\r\n";
        for cut in 1..stream.len() {
            let mut lines = EventLines::default();
            let mut found = Vec::new();
            for piece in stream.chunks(cut) {
                lines.add(piece).expect("small");
                while let Some(event) = lines.take().expect("JSON") {
                    found.push(event);
                }
            }
            assert_eq!(found, [json!({"seq": 7, "body": "é"}), json!({"seq": 8})], "cut at {cut}");
        }
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut lines = EventLines::default();
        let piece = vec![b'x'; 1 << 20];
        let refused = (0..8).find_map(|_| lines.add(&piece).err());
        assert_eq!(refused.map(|failure| failure.class), Some(Class::Version));
    }

    #[tokio::test]
    async fn without_a_node_calls_end_with_class_3_and_a_hint() {
        let home = tempfile::tempdir().expect("a temporary folder");
        let client = Client { sockets: vec![home.path().join("silbo.sock")] };
        let failure = client.call("system.status", json!({})).await.expect_err("no node");
        assert_eq!(failure.class, Class::NoDaemon);
        assert_eq!(failure.hint, "silbo up");
    }

    #[tokio::test]
    async fn a_call_brings_back_the_result_and_the_error() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let home = tempfile::tempdir().expect("a temporary folder");
        let path = home.path().join("silbo.sock");
        let listener = tokio::net::UnixListener::bind(&path).expect("bind");
        let answers = [
            r#"{"jsonrpc":"2.0","id":1,"result":{"name":"Ada"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32004,"message":"no contact"}}"#,
        ];
        let server = tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.expect("accept");
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.expect("read");
                assert!(request[..length].starts_with(b"POST /rpc HTTP/1.1\r\nhost: localhost\r\n"));
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", answer.len());
                stream.write_all(format!("{head}{answer}").as_bytes()).await.expect("write");
            }
        });
        let client = Client { sockets: vec![home.path().join("absent.sock"), path] };
        assert_eq!(client.call("profile.show", json!({})).await, Ok(json!({"name": "Ada"})));
        let failure = client.call("contact.show", json!({"contact": "bob"})).await.expect_err("an error");
        assert_eq!(failure.class, Class::NotFound);
        server.await.expect("the server saw what it should");
    }
}
