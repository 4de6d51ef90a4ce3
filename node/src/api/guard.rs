//! What a browser, a web page or another user on this machine must not be able to do: one middleware before everything else.
//!
//! ```text
//!   request ─▶ Host ─▶ Origin ─▶ Sec-Fetch-Site ─▶ method and content type ─▶ token or cookie ─▶ body ─▶ handler
//! ```
//! Knows nothing of the core. Every answer, also a refusal, carries the security headers. No CORS header is ever sent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode, Uri};
use serde_json::json;

use super::caller::{Caller, Rights};
use super::connection::{Carrier, Connection};
use super::limits::BODY_BYTES_MAX;
use super::login::Logins;

/// Only scripts and styles of our own, nothing from elsewhere, no frames around us.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; \
     connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// On every answer.
const SECURITY_HEADERS: [(HeaderName, HeaderValue); 7] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(self), microphone=(self), display-capture=(self), geolocation=(self)"),
    ),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The `Host` is not one of the names listened on: DNS rebinding, or a wrong port.
    #[error("this is not the host you are looking for")]
    WrongHost,
    /// The `Origin` is another page.
    #[error("requests from other pages are refused")]
    WrongOrigin,
    /// A WebSocket needs an `Origin` of ours or a bearer token.
    #[error("a WebSocket without an origin needs a bearer token")]
    NoOrigin,
    /// The method does not fit the path.
    #[error("the method does not fit; calls are POST /rpc")]
    WrongMethod,
    /// Only JSON is taken.
    #[error("the content type must be application/json")]
    NotJson,
    /// Neither token nor cookie.
    #[error("a token is needed: Authorization: Bearer TOKEN")]
    NoLogin,
    /// A token, ticket or cookie nobody knows.
    #[error("the token, ticket or cookie is not valid")]
    WrongLogin,
    /// More than the body may have.
    #[error("the request is too large")]
    TooLarge,
    /// The body did not come in time.
    #[error("the request did not come in time")]
    TooSlow,
    /// The connection broke within the body.
    #[error("the request is not complete")]
    Broken,
}

impl Refusal {
    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::WrongHost => StatusCode::MISDIRECTED_REQUEST,
            Self::WrongOrigin | Self::NoOrigin => StatusCode::FORBIDDEN,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NoLogin | Self::WrongLogin => StatusCode::UNAUTHORIZED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Broken => StatusCode::BAD_REQUEST,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status(), Json(json!({ "error": self.to_string() }))).into_response()
    }
}

/// A host and port as in a `Host` header, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    host: String,
    port: u16,
}

impl HostPort {
    /// Reads `name:port`, `address:port` or `[v6]:port`; without a port it is 80. `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, rest) = rest.split_once(']')?;
                (format!("[{}]", address.parse::<std::net::Ipv6Addr>().ok()?), rest)
            }
            None => {
                let end = text.find(':').unwrap_or(text.len());
                let (name, rest) = text.split_at_checked(end)?;
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-';
                if name.is_empty() || !name.bytes().all(plain) {
                    return None;
                }
                (name.to_ascii_lowercase(), rest)
            }
        };
        let port = match port {
            "" => 80,
            text => {
                let digits = text.strip_prefix(':')?;
                if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                    return None;
                }
                digits.parse().ok()?
            }
        };
        Some(Self { host, port })
    }
}

/// The rules of one server.
#[derive(Debug)]
pub struct Guard {
    hosts: Vec<HostPort>,
    logins: Arc<Logins>,
    body_timeout: Duration,
    login_delay: Duration,
}

impl Guard {
    /// Rules for a server that listens on `listening` (none for the Unix socket alone).
    pub fn new(
        listening: Option<SocketAddr>,
        logins: Arc<Logins>,
        body_timeout: Duration,
        login_delay: Duration,
    ) -> Self {
        let names = |address: SocketAddr| {
            let named = HostPort { host: "localhost".to_owned(), port: address.port() };
            HostPort::parse(&address.to_string()).into_iter().chain([named])
        };
        Self { hosts: listening.into_iter().flat_map(names).collect(), logins, body_timeout, login_delay }
    }

    /// Tokens, tickets and sessions.
    pub fn logins(&self) -> &Arc<Logins> {
        &self.logins
    }

    /// Lets a request in, with its [`Caller`] attached, or says why not.
    async fn admit(&self, mut request: Request) -> Result<Request, Refusal> {
        let Some(connection) = request.extensions().get::<Connection>().cloned() else { return Err(Refusal::NoLogin) };
        self.check_source(connection.carrier, request.uri(), request.headers())?;
        let door = Door::of(&request)?;
        if door != Door::Open {
            let rights = self.rights(connection.carrier, door, request.headers()).await?;
            request.extensions_mut().insert(Caller::new(rights, connection.budget));
        }
        if request.method() == Method::POST {
            return self.with_whole_body(request).await;
        }
        Ok(request)
    }

    /// Where the request may come from: rules 3 and 4.
    fn check_source(&self, carrier: Carrier, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let origin = single(headers, header::ORIGIN).map_err(|_| Refusal::WrongOrigin)?;
        if carrier == Carrier::Unix {
            // No page can open a Unix socket; a request with an origin came through somebody's proxy.
            return if origin.is_some() { Err(Refusal::WrongOrigin) } else { Ok(()) };
        }
        let host = single(headers, header::HOST).map_err(|_| Refusal::WrongHost)?;
        let host = host.and_then(HostPort::parse).ok_or(Refusal::WrongHost)?;
        if !self.hosts.contains(&host) {
            return Err(Refusal::WrongHost);
        }
        if uri.authority().is_some_and(|authority| HostPort::parse(authority.as_str()).as_ref() != Some(&host)) {
            return Err(Refusal::WrongHost);
        }
        if let Some(origin) = origin {
            // Exactly `http://` and the host asked, which is one of ours; `null` and everything else is a stranger.
            let page = origin.strip_prefix("http://").and_then(HostPort::parse);
            if page != Some(host) {
                return Err(Refusal::WrongOrigin);
            }
        }
        let site = single(headers, HeaderName::from_static("sec-fetch-site")).map_err(|_| Refusal::WrongOrigin)?;
        match site {
            None | Some("same-origin" | "none") => Ok(()),
            Some(_) => Err(Refusal::WrongOrigin),
        }
    }

    /// Who it is: rules 1, 2 and the WebSocket half of 4.
    async fn rights(&self, carrier: Carrier, door: Door, headers: &HeaderMap) -> Result<Rights, Refusal> {
        if carrier == Carrier::Unix {
            return Ok(Rights::Owner);
        }
        let has_origin = headers.contains_key(header::ORIGIN);
        let authorization = single(headers, header::AUTHORIZATION).map_err(|_| Refusal::WrongLogin)?;
        if let Some(value) = authorization {
            let token = value.strip_prefix("Bearer ").map(str::trim).unwrap_or_default();
            return match self.logins.bearer(token).await {
                Some(rights) => Ok(rights),
                None => Err(self.failed().await),
            };
        }
        let Some(secret) = cookie(headers, self.logins.cookie_name()) else {
            return Err(if door == Door::Socket && !has_origin { Refusal::NoOrigin } else { Refusal::NoLogin });
        };
        // A cookie comes along by itself, so a page of ours must say that it was meant.
        if door != Door::Stream && !has_origin {
            return Err(Refusal::NoOrigin);
        }
        match self.logins.session(secret, Instant::now()) {
            Some(rights) => Ok(rights),
            None => Err(self.failed().await),
        }
    }

    /// Waits before a failed login is answered, so that guessing is slow.
    pub(super) async fn failed(&self) -> Refusal {
        let jitter = rand::random_range(1.0..2.0);
        tokio::time::sleep(self.login_delay.mul_f64(jitter)).await;
        Refusal::WrongLogin
    }

    async fn with_whole_body(&self, request: Request) -> Result<Request, Refusal> {
        let (parts, body) = request.into_parts();
        let announced =
            parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > BODY_BYTES_MAX as u64) {
            return Err(Refusal::TooLarge);
        }
        let whole = tokio::time::timeout(self.body_timeout, axum::body::to_bytes(body, BODY_BYTES_MAX));
        match whole.await {
            Ok(Ok(bytes)) => Ok(Request::from_parts(parts, Body::from(bytes))),
            Ok(Err(error)) => {
                let mut cause: Option<&dyn std::error::Error> = Some(&error);
                while let Some(error) = cause {
                    if error.is::<http_body_util::LengthLimitError>() {
                        return Err(Refusal::TooLarge);
                    }
                    cause = error.source();
                }
                Err(Refusal::Broken)
            }
            Err(_) => Err(Refusal::TooSlow),
        }
    }
}

/// What a request is for, by path and method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    /// Health, login and the pages, which hold nothing.
    Open,
    /// A JSON-RPC call.
    Call,
    /// A WebSocket.
    Socket,
    /// The event stream.
    Stream,
}

impl Door {
    fn of(request: &Request) -> Result<Self, Refusal> {
        let headers = request.headers();
        let upgrade = headers.contains_key(header::UPGRADE);
        let method = request.method();
        match request.uri().path() {
            "/rpc" if upgrade && method == Method::GET => Ok(Self::Socket),
            _ if upgrade => Err(Refusal::WrongMethod),
            "/rpc" if method == Method::POST => is_json(headers).map(|()| Self::Call),
            "/events" if method == Method::GET => Ok(Self::Stream),
            "/auth" | "/logout" if method == Method::POST => is_json(headers).map(|()| Self::Open),
            "/rpc" | "/events" | "/auth" | "/logout" => Err(Refusal::WrongMethod),
            _ if method == Method::GET || method == Method::HEAD => Ok(Self::Open),
            _ => Err(Refusal::WrongMethod),
        }
    }
}

/// `application/json`, with nothing but an optional UTF-8 charset.
fn is_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let value = single(headers, header::CONTENT_TYPE).map_err(|_| Refusal::NotJson)?.ok_or(Refusal::NotJson)?;
    let (essence, parameter) = value.split_once(';').unwrap_or((value, "charset=utf-8"));
    let fits = essence.trim().eq_ignore_ascii_case("application/json")
        && parameter.trim().eq_ignore_ascii_case("charset=utf-8");
    if fits { Ok(()) } else { Err(Refusal::NotJson) }
}

/// Two headers of one name, or bytes that are no text.
struct NotSingle;

fn single(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, NotSingle> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| NotSingle),
        (Some(_), Some(_)) => Err(NotSingle),
    }
}

/// The value of a cookie.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// The middleware: admits or refuses, and puts the security headers on whatever comes back.
pub(super) async fn guarded(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let mut response = match guard.admit(request).await {
        Ok(request) => next.run(request).await,
        Err(refusal) => {
            tracing::debug!(status = refusal.status().as_u16(), "request refused");
            refusal.into_response()
        }
    };
    for (name, value) in SECURITY_HEADERS {
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_compared_parsed() {
        let ours = HostPort::parse("127.0.0.1:7474");
        assert!(ours.is_some());
        assert_eq!(HostPort::parse("LOCALHOST:1"), HostPort::parse("localhost:1"));
        assert_eq!(HostPort::parse("[0:0:0:0:0:0:0:1]:5"), HostPort::parse("[::1]:5"));
        for other in
            ["127.0.0.1", "127.0.0.1:74740", "127.0.0.1.evil:7474", "127.0.0.1:7474.evil", "user@127.0.0.1:7474"]
        {
            assert_ne!(HostPort::parse(other), ours, "{other}");
        }
        for broken in ["", ":80", "a b:80", "host:", "host:+80", "[::1", "[zz]:80", "[::1]80", "host/:80", "host:99999"]
        {
            assert_eq!(HostPort::parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn only_json_is_json() {
        let headers =
            |value: &'static str| HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))]);
        assert!(is_json(&headers("application/json")).is_ok());
        assert!(is_json(&headers("application/json; charset=utf-8")).is_ok());
        for other in
            ["text/plain", "application/json, text/plain", "multipart/form-data", "application/json; charset=utf-7", ""]
        {
            assert_eq!(is_json(&headers(other)), Err(Refusal::NotJson), "{other}");
        }
        assert_eq!(is_json(&HeaderMap::new()), Err(Refusal::NotJson));
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let headers =
            HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_static("silbo-1=a; xsilbo-2=b; silbo-2=c"))]);
        assert_eq!(cookie(&headers, "silbo-2"), Some("c"));
        assert_eq!(cookie(&headers, "silbo"), None);
    }
}
