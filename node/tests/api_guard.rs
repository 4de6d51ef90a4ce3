//! What a web page, a browser or another program on this machine must not be able to do to the API, against a real server
//! on the loopback with a small method table.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use futures::{SinkExt, StreamExt};
use jsonrpsee::{RpcModule, SubscriptionMessage};
use silbo_node::api::{ApiLimits, Listen, Logins, NoScopedTokens, ServeError, Server, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

const TOKEN: &str = "the-main-token-of-this-test";
const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"change"}"#;

/// A served table whose one method counts how often it was called.
struct World {
    server: Option<Server>,
    address: SocketAddr,
    logins: Arc<Logins>,
    changes: Arc<AtomicU32>,
    floods_ended: mpsc::UnboundedReceiver<()>,
    folder: tempfile::TempDir,
}

fn quick() -> ApiLimits {
    ApiLimits {
        header_timeout: Duration::from_millis(300),
        body_timeout: Duration::from_millis(300),
        stall_timeout: Duration::from_millis(300),
        stop_grace: Duration::from_millis(300),
        login_delay: Duration::from_millis(1),
        ..ApiLimits::default()
    }
}

impl World {
    async fn start() -> World {
        World::with(quick()).await
    }

    async fn with(limits: ApiLimits) -> World {
        let changes = Arc::new(AtomicU32::new(0));
        let (flood_ended, floods_ended) = mpsc::unbounded_channel();
        let mut module = RpcModule::new(changes.clone());
        module
            .register_method("change", |_, changes, _| changes.fetch_add(1, Ordering::SeqCst) + 1)
            .expect("a fresh name");
        module
            .register_async_method("hang", |_, _, _| async {
                std::future::pending::<()>().await;
                0
            })
            .expect("a fresh name");
        module
            .register_subscription("flood", "event", "unflood", move |_, pending, _, _| {
                let flood_ended = flood_ended.clone();
                async move {
                    let Ok(sink) = pending.accept().await else { return };
                    let much = "x".repeat(100_000);
                    loop {
                        let message = SubscriptionMessage::new(sink.method_name(), sink.subscription_id(), &much);
                        if sink.send(message.expect("text")).await.is_err() {
                            break;
                        }
                    }
                    flood_ended.send(()).expect("the test waits");
                }
            })
            .expect("a fresh name");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let logins = Arc::new(Logins::new(TOKEN, Arc::new(NoScopedTokens)));
        let listen = Listen {
            socket_path: Some(folder.path().join("run").join("silbo.sock")),
            tcp: Some("127.0.0.1:0".parse().expect("an address")),
        };
        let server = serve(listen, module.into(), Router::new(), logins.clone(), limits).await.expect("serve");
        let address = server.tcp_address().expect("TCP is served");
        World { server: Some(server), address, logins, changes, floods_ended, folder }
    }

    fn host(&self) -> String {
        self.address.to_string()
    }

    fn socket_path(&self) -> std::path::PathBuf {
        self.folder.path().join("run").join("silbo.sock")
    }

    fn changes(&self) -> u32 {
        self.changes.load(Ordering::SeqCst)
    }

    /// Sends `head` and `body` as they are and returns the whole answer; empty when the connection was just closed.
    async fn raw(&self, head: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("connect");
        exchange(&mut stream, head, body).await
    }

    /// A request with the usual headers, the main token and these ones.
    async fn ask(&self, line: &str, headers: &[(&str, &str)], body: &str) -> u16 {
        let host = self.host();
        let mut all = vec![("host", host.as_str()), ("authorization", "Bearer the-main-token-of-this-test")];
        all.extend_from_slice(headers);
        status(&self.raw(&head(line, &all, body), body).await)
    }

    async fn works(&self) {
        let before = self.changes();
        assert_eq!(self.ask("POST /rpc", &[("content-type", "application/json")], CALL).await, 200);
        assert_eq!(self.changes(), before + 1);
    }

    async fn session_cookie(&self) -> String {
        let ticket = self.logins.make_ticket(std::time::Instant::now());
        let body = format!(r#"{{"ticket":"{}"}}"#, *ticket);
        let host = self.host();
        let answer =
            self.raw(&head("POST /auth", &[("host", &host), ("content-type", "application/json")], &body), &body).await;
        assert_eq!(status(&answer), 204, "{answer}");
        let cookie = header(&answer, "set-cookie").expect("a cookie");
        for flag in ["HttpOnly", "SameSite=Strict", "Path=/"] {
            assert!(cookie.contains(flag), "{cookie}");
        }
        assert!(cookie.starts_with(self.logins.cookie_name()));
        cookie.split(';').next().expect("a pair").to_owned()
    }

    async fn web_socket(&self, headers: &[(&str, &str)]) -> Result<Socket, u16> {
        let stream = TcpStream::connect(self.address).await.expect("connect");
        let mut request = format!("ws://{}/rpc", self.address).into_client_request().expect("a request");
        for (name, value) in headers {
            let name: tokio_tungstenite::tungstenite::http::HeaderName = name.parse().expect("a name");
            request.headers_mut().insert(name, value.parse().expect("a value"));
        }
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, _)) => Ok(socket),
            Err(SocketError::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    async fn stop(mut self) {
        self.server.take().expect("a server").stop().await;
    }
}

type Socket = tokio_tungstenite::WebSocketStream<TcpStream>;

async fn exchange(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), head: &str, body: &str) -> String {
    // A refusal may come, and the connection close, before everything is written.
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(body.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn head(line: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut head = format!("{line} HTTP/1.1\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    head + "\r\n"
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next()?;
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

#[tokio::test]
async fn t59_only_exact_pairs_of_host_and_origin_pass() {
    let world = World::start().await;
    let port = world.address.port();
    let own = format!("127.0.0.1:{port}");
    let named = format!("localhost:{port}");
    let hosts: Vec<(Vec<String>, bool)> = vec![
        (vec![own.clone()], true),
        (vec![named.clone()], true),
        (vec![format!("evil.example:{port}")], false),
        (vec!["evil.example".into()], false),
        (vec![format!("127.0.0.1.evil:{port}")], false),
        (vec![format!("localhost.:{port}")], false),
        (vec![format!("[::1]:{port}")], false),
        (vec!["127.0.0.1".into()], false),
        (vec![format!("127.0.0.1:{}", port ^ 1)], false),
        (vec![format!("user@127.0.0.1:{port}")], false),
        (vec![String::new()], false),
        (vec![], false),
        (vec![own.clone(), own.clone()], false),
        (vec![own.clone(), "evil.example".into()], false),
    ];
    let origins: Vec<Option<String>> = vec![
        None,
        Some(format!("http://{own}")),
        Some(format!("http://{named}")),
        Some(format!("https://{own}")),
        Some("null".into()),
        Some("http://evil.example".into()),
        Some(format!("http://evil.example:{port}")),
        Some(format!("http://{own}.evil")),
        Some(format!("http://{own}/")),
        Some(String::new()),
    ];
    for (names, host_fits) in &hosts {
        for origin in &origins {
            let origin_fits = origin
                .as_ref()
                .is_none_or(|origin| names.first().map(|name| format!("http://{name}")) == Some(origin.clone()));
            let passes = *host_fits && origin_fits;
            let shown = format!("hosts {names:?}, origin {origin:?}");
            let mut headers: Vec<(&str, &str)> = names.iter().map(|name| ("host", name.as_str())).collect();
            headers.push(("authorization", "Bearer the-main-token-of-this-test"));
            headers.extend(origin.as_deref().map(|origin| ("origin", origin)));

            let before = world.changes();
            let mut post = headers.clone();
            post.push(("content-type", "application/json"));
            let answer = world.raw(&head("POST /rpc", &post, CALL), CALL).await;
            assert_eq!(status(&answer) == 200, passes, "POST, {shown}: {answer}");
            assert_eq!(world.changes() - before, u32::from(passes), "POST, {shown}");

            let answer = world.raw(&head("GET /healthz", &headers, ""), "").await;
            assert_eq!(status(&answer) == 200, passes, "GET, {shown}: {answer}");
            assert!(header(&answer, "access-control-allow-origin").is_none(), "no CORS, {shown}");

            let mut upgrade = headers.clone();
            upgrade.extend_from_slice(&[
                ("upgrade", "websocket"),
                ("sec-websocket-version", "13"),
                ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ]);
            let upgrade = head("GET /rpc", &upgrade, "").replace("connection: close", "connection: upgrade");
            let mut stream = TcpStream::connect(world.address).await.expect("connect");
            stream.write_all(upgrade.as_bytes()).await.expect("write");
            let mut first = vec![0; 12];
            stream.read_exact(&mut first).await.expect("a status");
            assert_eq!(first.ends_with(b"101"), passes, "WebSocket, {shown}: {}", String::from_utf8_lossy(&first));
        }
    }
    world.stop().await;
}

#[tokio::test]
async fn t59_a_wrong_host_is_421_and_a_wrong_origin_403_also_in_an_absolute_address() {
    let world = World::start().await;
    let host = world.host();
    let answer = world.raw(&head("GET /healthz", &[("host", "evil.example")], ""), "").await;
    assert_eq!(status(&answer), 421);
    let answer = world.raw(&head("GET /healthz", &[("host", &host), ("origin", "null")], ""), "").await;
    assert_eq!(status(&answer), 403);
    let answer = world.raw(&head("GET http://evil.example/healthz", &[("host", &host)], ""), "").await;
    assert_eq!(status(&answer), 421);
    world.stop().await;
}

#[tokio::test]
async fn t59_listening_beyond_this_machine_is_refused_in_words() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let listen = Listen { socket_path: None, tcp: Some(address.parse().expect("an address")) };
        let logins = Arc::new(Logins::new(TOKEN, Arc::new(NoScopedTokens)));
        let refused = serve(listen, RpcModule::new(()).into(), Router::new(), logins, quick()).await;
        let error = refused.expect_err("beyond the loopback");
        assert!(matches!(error, ServeError::NotLoopback(_)), "{error}");
        assert!(error.to_string().contains("127.0.0.1"), "{error}");
    }
}

#[tokio::test]
async fn t60_a_strange_page_has_no_effect_with_the_browsers_cookie() {
    let world = World::start().await;
    let cookie = world.session_cookie().await;
    let host = world.host();
    let own = format!("http://{host}");
    let base: Vec<(&str, &str)> = vec![("host", &host), ("cookie", &cookie)];
    let with = |more: &[(&'static str, &'static str)]| [base.clone(), more.to_vec()].concat();
    let refused = [
        // Forms: a browser sends them without asking first.
        ("POST /rpc", with(&[("content-type", "text/plain"), ("origin", "http://evil.example")]), 403),
        ("POST /rpc", with(&[("content-type", "text/plain"), ("origin", "null")]), 403),
        ("POST /rpc", with(&[("content-type", "text/plain")]), 415),
        ("POST /rpc", with(&[("content-type", "multipart/form-data; boundary=x")]), 415),
        ("POST /rpc", with(&[("content-type", "application/x-www-form-urlencoded")]), 415),
        ("POST /rpc", with(&[]), 415),
        // fetch with no-cors, and with the right type but from elsewhere.
        ("POST /rpc", with(&[("content-type", "application/json"), ("sec-fetch-site", "cross-site")]), 403),
        ("POST /rpc", with(&[("content-type", "application/json"), ("sec-fetch-site", "same-site")]), 403),
        // The cookie alone, without a page of ours that meant it.
        ("POST /rpc", with(&[("content-type", "application/json")]), 403),
        // <img>, EventSource, other methods.
        ("GET /rpc?method=change", with(&[("sec-fetch-site", "cross-site")]), 403),
        ("GET /events", with(&[("sec-fetch-site", "cross-site")]), 403),
        ("GET /rpc?method=change", with(&[]), 405),
        ("PUT /rpc", with(&[("content-type", "application/json")]), 405),
        ("DELETE /anything", with(&[]), 405),
        ("OPTIONS /rpc", with(&[("origin", "http://evil.example"), ("access-control-request-method", "POST")]), 403),
    ];
    for (line, headers, expected) in refused {
        let body = if line.starts_with("POST") { CALL } else { "" };
        let answer = world.raw(&head(line, &headers, body), body).await;
        assert_eq!(status(&answer), expected, "{line} {headers:?}: {answer}");
        assert_eq!(world.changes(), 0, "{line} {headers:?}");
    }
    let mut ours = base.clone();
    ours.extend_from_slice(&[
        ("origin", &own),
        ("content-type", "application/json"),
        ("sec-fetch-site", "same-origin"),
    ]);
    assert_eq!(status(&world.raw(&head("POST /rpc", &ours, CALL), CALL).await), 200, "the page of the node itself may");
    assert_eq!(world.changes(), 1);
    world.stop().await;
}

#[tokio::test]
async fn t60_a_web_socket_without_origin_needs_a_bearer_token() {
    let world = World::start().await;
    let cookie = world.session_cookie().await;
    let own = format!("http://{}", world.host());
    let bearer = format!("Bearer {TOKEN}");
    assert_eq!(world.web_socket(&[]).await.err(), Some(403));
    assert_eq!(world.web_socket(&[("cookie", &cookie)]).await.err(), Some(403));
    assert_eq!(world.web_socket(&[("cookie", &cookie), ("origin", "http://evil.example")]).await.err(), Some(403));
    assert!(world.web_socket(&[("cookie", &cookie), ("origin", &own)]).await.is_ok());
    let mut socket = world.web_socket(&[("authorization", &bearer)]).await.expect("a token");
    socket.send(CALL.into()).await.expect("send");
    let answer = socket.next().await.expect("an answer").expect("a message");
    assert!(answer.to_text().expect("text").contains("\"result\":1"), "{answer}");
    drop(socket);
    world.stop().await;
}

#[tokio::test]
async fn t61_without_a_valid_login_nothing_is_done() {
    let world = World::start().await;
    let host = world.host();
    let json = ("content-type", "application/json");
    let old_cookie = world.session_cookie().await;
    world.logins.end_all_sessions();
    let own = format!("http://{host}");
    let basic = format!("Basic {TOKEN}");
    let lower = format!("Bearer {}", TOKEN.to_uppercase());
    let prefix = format!("Bearer {}", &TOKEN[..TOKEN.len() - 1]);
    let query = format!("POST /rpc?token={TOKEN}&access_token={TOKEN}");
    let tries: Vec<(&str, Vec<(&str, &str)>)> = vec![
        ("POST /rpc", vec![]),
        ("POST /rpc", vec![("authorization", "Bearer wrong")]),
        ("POST /rpc", vec![("authorization", "Bearer ")]),
        ("POST /rpc", vec![("authorization", TOKEN)]),
        ("POST /rpc", vec![("authorization", &basic)]),
        ("POST /rpc", vec![("authorization", &lower)]),
        ("POST /rpc", vec![("authorization", &prefix)]),
        ("POST /rpc", vec![("authorization", "Bearer wrong"), ("authorization", "Bearer the-main-token-of-this-test")]),
        ("POST /rpc", vec![("x-api-key", TOKEN)]),
        (&query, vec![]),
        ("POST /rpc", vec![("cookie", &old_cookie), ("origin", &own)]),
    ];
    for (line, more) in tries {
        let headers = [vec![("host", host.as_str()), json], more].concat();
        let answer = world.raw(&head(line, &headers, CALL), CALL).await;
        assert_eq!(status(&answer), 401, "{line} {headers:?}: {answer}");
        assert!(!answer.contains(TOKEN), "a token is never repeated");
        assert_eq!(world.changes(), 0);
    }
    world.works().await;
    world.stop().await;
}

#[tokio::test]
async fn t61_a_ticket_opens_one_session_and_a_logout_ends_it() {
    let world = World::start().await;
    let host = world.host();
    let json = ("content-type", "application/json");
    for body in [r#"{"ticket":"wrong"}"#, r#"{"ticket":""}"#] {
        let answer = world.raw(&head("POST /auth", &[("host", &host), json], body), body).await;
        assert_eq!(status(&answer), 401);
        assert!(header(&answer, "set-cookie").is_none());
    }
    let cookie = world.session_cookie().await;
    let own = format!("http://{host}");
    let headers = [("host", host.as_str()), json, ("origin", own.as_str()), ("cookie", cookie.as_str())];
    assert_eq!(status(&world.raw(&head("POST /rpc", &headers, CALL), CALL).await), 200);
    assert_eq!(status(&world.raw(&head("POST /logout", &headers, "{}"), "{}").await), 204);
    assert_eq!(status(&world.raw(&head("POST /rpc", &headers, CALL), CALL).await), 401);
    world.stop().await;
}

#[tokio::test]
async fn t61_the_unix_socket_is_for_its_owner_and_needs_no_token() {
    let world = World::start().await;
    let path = world.socket_path();
    let mode = |path: &std::path::Path| std::fs::metadata(path).expect("it exists").permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().expect("a folder")), 0o700);
    let json = ("content-type", "application/json");
    let mut stream = UnixStream::connect(&path).await.expect("connect");
    let answer = exchange(&mut stream, &head("POST /rpc", &[("host", "localhost"), json], CALL), CALL).await;
    assert_eq!(status(&answer), 200, "{answer}");
    for (headers, expected) in
        [(vec![("host", "localhost")], 415), (vec![("host", "x"), json, ("origin", "http://x")], 403)]
    {
        let mut stream = UnixStream::connect(&path).await.expect("connect");
        let answer = exchange(&mut stream, &head("POST /rpc", &headers, CALL), CALL).await;
        assert_eq!(status(&answer), expected, "{answer}");
    }
    assert_eq!(world.changes(), 1);
    world.stop().await;
    assert!(!path.exists(), "the socket goes with the server");
}

#[tokio::test]
async fn t61_a_folder_others_can_enter_is_no_place_for_the_socket() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("chmod");
    let listen = Listen { socket_path: Some(folder.path().join("silbo.sock")), tcp: None };
    let logins = Arc::new(Logins::new(TOKEN, Arc::new(NoScopedTokens)));
    let refused = serve(listen, RpcModule::new(()).into(), Router::new(), logins, quick()).await;
    assert!(matches!(refused, Err(ServeError::FolderNotPrivate(_))));
}

#[tokio::test]
async fn a_second_node_does_not_take_the_socket_and_a_dead_ones_file_does_not_hinder() {
    let world = World::start().await;
    let listen = Listen { socket_path: Some(world.socket_path()), tcp: None };
    let logins = Arc::new(Logins::new(TOKEN, Arc::new(NoScopedTokens)));
    let refused = serve(listen.clone(), RpcModule::new(()).into(), Router::new(), logins.clone(), quick()).await;
    assert!(matches!(refused, Err(ServeError::SocketInUse(_))));
    let dead = world.folder.path().join("run").join("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead).expect("bind"));
    assert!(dead.exists());
    let listen = Listen { socket_path: Some(dead), tcp: None };
    let server =
        serve(listen, RpcModule::new(()).into(), Router::new(), logins, quick()).await.expect("the file is stale");
    server.stop().await;
    world.works().await;
    world.stop().await;
}

#[tokio::test]
async fn t62_huge_headers_bodies_and_batches_are_refused_and_the_rest_works() {
    let world = World::start().await;
    let host = world.host();
    let json = ("content-type", "application/json");
    let long = "x".repeat(1 << 20);
    let answer = world.raw(&head("GET /healthz", &[("host", &host), ("x-long", &long)], ""), "").await;
    assert!([0, 431].contains(&status(&answer)), "1 MiB in one header: {}", status(&answer));
    let names: Vec<String> = (0..10_000).map(|number| format!("x-{number}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let answer = world.raw(&head("GET /healthz", &[vec![("host", host.as_str())], many].concat(), ""), "").await;
    assert!([0, 431].contains(&status(&answer)), "10,000 headers: {}", status(&answer));

    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"change","params":{{"x":"{long}"}}}}"#);
    let announced =
        head("POST /rpc", &[("host", &host), json, ("authorization", "Bearer the-main-token-of-this-test")], &body);
    assert_eq!(status(&world.raw(&announced, "").await), 413, "announced as too large");
    let chunked = announced.replace(&format!("content-length: {}", body.len()), "transfer-encoding: chunked");
    let chunk = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    assert!([0, 413].contains(&status(&world.raw(&chunked, &chunk).await)), "too large without saying so");
    assert_eq!(world.changes(), 0);

    let batch = format!("[{}]", vec![CALL; 51].join(","));
    let answer = world
        .raw(
            &head(
                "POST /rpc",
                &[("host", &host), json, ("authorization", "Bearer the-main-token-of-this-test")],
                &batch,
            ),
            &batch,
        )
        .await;
    assert!(answer.contains("error") && world.changes() == 0, "51 calls at once: {answer}");
    world.works().await;
    world.stop().await;
}

#[tokio::test]
async fn t62_slow_headers_and_slow_bodies_are_cut_off() {
    let world = World::start().await;
    let mut slow = TcpStream::connect(world.address).await.expect("connect");
    slow.write_all(b"GET /healthz HTTP/1.1\r\nhost: ").await.expect("write");
    let mut answer = Vec::new();
    let _ = slow.read_to_end(&mut answer).await;
    assert!([0, 408].contains(&status(&String::from_utf8_lossy(&answer))));

    let host = world.host();
    let headers = [
        ("host", host.as_str()),
        ("content-type", "application/json"),
        ("authorization", "Bearer the-main-token-of-this-test"),
    ];
    let answer = world.raw(&head("POST /rpc", &headers, CALL), "{").await;
    assert_eq!(status(&answer), 408);
    world.works().await;
    world.stop().await;
}

#[tokio::test]
async fn t62_too_many_connections_are_closed_and_do_not_shut_the_owners_socket() {
    let limits = ApiLimits { connections_max: 4, header_timeout: Duration::from_secs(60), ..quick() };
    let world = World::with(limits).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(world.address).await.expect("connect");
        let line = format!("GET /healthz HTTP/1.1\r\nhost: {}\r\n\r\n", world.host());
        stream.write_all(line.as_bytes()).await.expect("write");
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.expect("an answer");
        held.push(stream);
    }
    for _ in 0..100 {
        let mut stream = TcpStream::connect(world.address).await.expect("the kernel accepts");
        let mut nothing = Vec::new();
        let read = stream.read_to_end(&mut nothing).await;
        assert!(nothing.is_empty(), "closed without a word: {read:?}");
    }
    let mut stream = UnixStream::connect(world.socket_path()).await.expect("connect");
    let answer = exchange(
        &mut stream,
        &head("POST /rpc", &[("host", "localhost"), ("content-type", "application/json")], CALL),
        CALL,
    )
    .await;
    assert_eq!(status(&answer), 200);
    world.stop().await;
    for mut stream in held {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.expect("closed in order");
    }
}

#[tokio::test]
async fn t62_a_web_socket_takes_no_message_above_the_limit() {
    let world = World::start().await;
    let bearer = format!("Bearer {TOKEN}");
    let mut socket = world.web_socket(&[("authorization", &bearer)]).await.expect("a token");
    let _ = socket.send(Message::text("x".repeat((1 << 20) + 1))).await;
    let answer = socket.next().await;
    let refused = match &answer {
        Some(Ok(Message::Text(text))) => text.contains("error"),
        Some(Ok(Message::Close(_)) | Err(_)) | None => true,
        Some(Ok(_)) => false,
    };
    assert!(refused, "{answer:?}");
    assert_eq!(world.changes(), 0);
    drop(socket);
    world.works().await;
    world.stop().await;
}

#[tokio::test]
async fn t62_a_slow_reader_is_closed_and_its_subscription_ends() {
    let mut world = World::start().await;
    let bearer = format!("Bearer {TOKEN}");
    let mut socket = world.web_socket(&[("authorization", &bearer)]).await.expect("a token");
    socket.send(r#"{"jsonrpc":"2.0","id":1,"method":"flood"}"#.into()).await.expect("send");
    // Reads nothing; the kernel's buffers fill, then the server's, then its patience ends.
    world.floods_ended.recv().await.expect("the subscription ends although nobody unsubscribed");
    world.works().await;
    drop(socket);
    world.stop().await;
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let world = World::start().await;
    let host = world.host();
    let answers = [
        world.raw(&head("GET /healthz", &[("host", &host)], ""), "").await,
        world.raw(&head("GET /nothing", &[("host", &host)], ""), "").await,
        world.raw(&head("POST /rpc", &[("host", &host)], CALL), CALL).await,
        world.raw(&head("GET /", &[("host", "evil.example")], ""), "").await,
    ];
    for answer in answers {
        let policy = header(&answer, "content-security-policy").expect("a policy");
        for part in ["default-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"] {
            assert!(policy.contains(part), "{policy}");
        }
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(header(&answer, name), Some(value), "{answer}");
        }
        assert!(header(&answer, "permissions-policy").is_some());
    }
    world.stop().await;
}

#[tokio::test]
async fn stopping_ends_idle_connections_web_sockets_and_calls_that_hang() {
    let world = World::start().await;
    let bearer = format!("Bearer {TOKEN}");
    let mut socket = world.web_socket(&[("authorization", &bearer)]).await.expect("a token");
    socket.send(CALL.into()).await.expect("send");
    socket.next().await.expect("an answer").expect("a message");
    socket.send(r#"{"jsonrpc":"2.0","id":2,"method":"hang"}"#.into()).await.expect("send");
    let address = world.address;
    let changes = Arc::downgrade(&world.changes);
    let mut idle = TcpStream::connect(address).await.expect("connect");
    world.stop().await;
    let mut rest = Vec::new();
    let _ = idle.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
    while let Some(Ok(_)) = socket.next().await {}
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens");
    let gone = async {
        while changes.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    let gone = tokio::time::timeout(Duration::from_secs(60), gone).await;
    gone.expect("the method table is gone with the last task that held it");
}
