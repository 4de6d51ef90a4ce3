//! The carriers with a socket: Unix socket and loopback TCP, both HTTP and WebSocket at `/rpc`.
//!
//! [`serve`] starts them, [`Server::stop`] ends them with everything they started. Knows the method table and the guard,
//! not what the methods do.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use hyper::body::Incoming;
use hyper::{StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use jsonrpsee::Methods;
use jsonrpsee::server::{BatchRequestConfig, ServerConfig, ServerHandle, StopHandle, stop_channel};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{Service, ServiceExt};

use super::caller::Budget;
use super::connection::{Carrier, Connection, Watched};
use super::guard::{Guard, cookie, guarded};
use super::limits::{
    ANSWER_BYTES_MAX, ApiLimits, BATCH_MAX, BODY_BYTES_MAX, HEADER_BYTES_MAX, HEADERS_MAX, SUBSCRIPTIONS_MAX,
    WAITING_MESSAGES_MAX,
};
use super::login::{Logins, SESSION_SECONDS};
use crate::paths::ReachableSocket;

/// Where to listen.
#[derive(Clone, Debug, Default)]
pub struct Listen {
    /// The Unix socket; its folder is made 0700 when it is missing.
    pub socket_path: Option<PathBuf>,
    /// Loopback TCP; port 0 takes a free one.
    pub tcp: Option<SocketAddr>,
}

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Listening beyond this machine would hand the node to the network.
    #[error(
        "the API does not listen on {0}: only on 127.0.0.1 or [::1], because whoever reaches it can read everything"
    )]
    NotLoopback(SocketAddr),
    /// Another node listens on the socket.
    #[error("another node listens on {0}")]
    SocketInUse(PathBuf),
    /// The folder of the socket can be entered by others.
    #[error("the folder {0} of the API socket must be of this user and 0700")]
    FolderNotPrivate(PathBuf),
    /// The operating system refused.
    #[error("cannot listen on {place}")]
    Io {
        /// Where.
        place: String,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

/// Running carriers. Dropping it kills every connection; [`Server::stop`] lets open calls end.
#[derive(Debug)]
pub struct Server {
    tcp: Option<SocketAddr>,
    socket_path: Option<PathBuf>,
    tasks: TaskTracker,
    stop: CancellationToken,
    kill: CancellationToken,
    sockets: ServerHandle,
    grace: Duration,
}

impl Server {
    /// The TCP address listened on.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp
    }

    /// Stops listening, lets open calls end within the grace time, then cuts what is left. When this returns, no task
    /// of the server runs and the socket file is gone. Not to be cancelled: dropping the future kills connections.
    pub async fn stop(self) {
        self.stop.cancel();
        self.stop_sockets();
        self.tasks.close();
        if tokio::time::timeout(self.grace, self.tasks.wait()).await.is_err() {
            self.kill.cancel();
            self.tasks.wait().await;
        }
    }

    fn stop_sockets(&self) {
        if self.sockets.stop().is_err() {
            tracing::trace!("no WebSocket was open");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        self.kill.cancel();
        self.stop_sockets();
        let Some(path) = &self.socket_path else { return };
        if let Err(error) = fs::remove_file(path) {
            tracing::debug!(%error, "the API socket was gone already");
        }
    }
}

/// Serves `methods` and `more` (the event stream, pages) on the given places. The TCP address is handed to `listening`
/// before anything is served.
///
/// # Errors
/// [`ServeError`]; nothing is left listening.
pub async fn serve(
    listen: Listen,
    methods: Methods,
    more: Router,
    logins: Arc<Logins>,
    limits: ApiLimits,
) -> Result<Server, ServeError> {
    let tcp = match listen.tcp {
        Some(address) => Some(bind_tcp(address).await?),
        None => None,
    };
    let unix = listen.socket_path.as_deref().map(bind_unix).transpose()?;
    let tcp_address = tcp.as_ref().map(|(_, address)| *address);
    let (stop_handle, sockets) = stop_channel();
    let guard = Arc::new(Guard::new(tcp_address, logins, limits.body_timeout, limits.login_delay));
    let tasks = TaskTracker::new();
    let server = Server {
        tcp: tcp_address,
        socket_path: listen.socket_path,
        tasks: tasks.clone(),
        stop: CancellationToken::new(),
        kill: CancellationToken::new(),
        sockets,
        grace: limits.stop_grace,
    };
    let rpc = Rpc { methods, stop: stop_handle, tasks: tasks.clone() };
    let router = router(rpc, more, guard);
    let shared =
        Acceptor { router, limits, tasks: tasks.clone(), stop: server.stop.clone(), kill: server.kill.clone() };
    if let Some((listener, _)) = tcp {
        let places = shared.places();
        tasks.spawn(shared.clone().accept_tcp(listener, places));
    }
    if let Some(listener) = unix {
        let places = shared.places();
        tasks.spawn(shared.accept_unix(listener, places));
    }
    Ok(server)
}

async fn bind_tcp(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    if !address.ip().is_loopback() {
        return Err(ServeError::NotLoopback(address));
    }
    let failed = |source| ServeError::Io { place: address.to_string(), source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

fn bind_unix(path: &Path) -> Result<UnixListener, ServeError> {
    use std::os::unix::fs::MetadataExt;
    let failed = |source| ServeError::Io { place: path.display().to_string(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let about = fs::metadata(folder).map_err(failed)?;
    if about.uid() != rustix::process::geteuid().as_raw() || about.mode() & 0o077 != 0 {
        return Err(ServeError::FolderNotPrivate(folder.to_owned()));
    }
    let short = ReachableSocket::new(path).map_err(failed)?;
    match std::os::unix::net::UnixStream::connect(short.path()) {
        Ok(_) => return Err(ServeError::SocketInUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        // Nobody answers: the file of a node that is gone.
        Err(_) => fs::remove_file(path).map_err(failed)?,
    }
    let listener = UnixListener::bind(short.path()).map_err(failed)?;
    // The folder is closed to others since before the socket was there, so there is no moment between bind and chmod.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// What takes connections in.
#[derive(Clone)]
struct Acceptor {
    router: Router,
    limits: ApiLimits,
    tasks: TaskTracker,
    stop: CancellationToken,
    kill: CancellationToken,
}

impl Acceptor {
    /// Each listener has its own places, so that a flood on TCP does not shut the owner's socket.
    fn places(&self) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(self.limits.connections_max))
    }

    async fn accept_tcp(self, listener: TcpListener, places: Arc<Semaphore>) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) if peer.ip().is_loopback() => {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "no TCP_NODELAY");
                    }
                    self.take(stream, Carrier::Tcp, &places);
                }
                Ok(_) => tracing::warn!("a connection from elsewhere was refused"),
                Err(error) => self.accept_failed(error).await,
            }
        }
    }

    async fn accept_unix(self, listener: UnixListener, places: Arc<Semaphore>) {
        let own = rustix::process::geteuid().as_raw();
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => match stream.peer_cred() {
                    Ok(peer) if peer.uid() == own => self.take(stream, Carrier::Unix, &places),
                    Ok(_) => tracing::warn!("another user of this machine was refused at the API socket"),
                    Err(error) => tracing::warn!(%error, "a peer of the API socket has no credentials"),
                },
                Err(error) => self.accept_failed(error).await,
            }
        }
    }

    /// Usually no file descriptor is left; trying at once again would spin.
    async fn accept_failed(&self, error: io::Error) {
        tracing::warn!(%error, "a connection could not be accepted");
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(ACCEPT_PAUSE) => {}
        }
    }

    fn take<S>(&self, io: S, carrier: Carrier, places: &Arc<Semaphore>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Ok(place) = places.clone().try_acquire_owned() else {
            tracing::debug!("too many connections: one is closed");
            return;
        };
        let connection = Connection {
            carrier,
            budget: Budget::new(&self.limits),
            stop: self.stop.clone(),
            kill: self.kill.child_token(),
            _place: Arc::new(place),
        };
        let io = Watched::new(io, connection.kill.clone(), self.limits.stall_timeout);
        self.tasks.spawn(serve_connection(io, connection, self.router.clone(), self.limits.header_timeout));
    }
}

/// After a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

async fn serve_connection<S>(io: Watched<S>, connection: Connection, router: Router, header_timeout: Duration)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stop = connection.stop.clone();
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(connection.clone());
        router.clone().oneshot(request)
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    tokio::pin!(serving);
    let ended = tokio::select! {
        biased;
        ended = serving.as_mut() => ended,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an API connection broke off");
    }
}

/// The method table behind HTTP and WebSocket.
#[derive(Clone)]
struct Rpc {
    methods: Methods,
    stop: StopHandle,
    tasks: TaskTracker,
}

impl Rpc {
    async fn call(self, request: Request) -> Response {
        let config = ServerConfig::builder()
            .max_request_body_size(BODY_BYTES_MAX as u32)
            .max_response_body_size(ANSWER_BYTES_MAX as u32)
            // The acceptor counts connections; here it is one.
            .max_connections(1)
            .max_subscriptions_per_connection(SUBSCRIPTIONS_MAX)
            .set_batch_request_config(BatchRequestConfig::Limit(BATCH_MAX as u32))
            .set_message_buffer_capacity(WAITING_MESSAGES_MAX as u32)
            .build();
        let builder = jsonrpsee::server::Server::builder().set_config(config).to_service_builder();
        let mut service = builder.build(self.methods, self.stop);
        let connection = request.extensions().get::<Connection>().cloned();
        if request.headers().contains_key(header::UPGRADE) {
            // The library runs the WebSocket in tasks of its own; this one stands for them until they are gone.
            let closed = service.on_session_closed();
            self.tasks.spawn(async move {
                closed.await;
                drop(connection);
            });
        }
        match service.call(request).await {
            Ok(response) => response.map(Body::new),
            Err(error) => {
                tracing::error!(%error, "the method table failed");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}

fn router(rpc: Rpc, more: Router, guard: Arc<Guard>) -> Router {
    Router::new()
        .route("/rpc", any(move |request: Request| rpc.clone().call(request)))
        .route("/healthz", get(|| async { Json(serde_json::json!({ "ok": true })) }))
        .route("/auth", post(log_in))
        .route("/logout", post(log_out))
        .with_state(guard.clone())
        .merge(more)
        .layer(axum::middleware::from_fn_with_state(guard, guarded))
}

/// Body of `POST /auth`.
#[derive(Deserialize)]
struct LogIn {
    ticket: String,
}

async fn log_in(
    State(guard): State<Arc<Guard>>,
    body: Result<Json<LogIn>, axum::extract::rejection::JsonRejection>,
) -> Response {
    let ticket = match body {
        Ok(Json(LogIn { ticket })) => ticket,
        Err(_) => return StatusCode::BAD_REQUEST.into_response(),
    };
    let logins = guard.logins();
    let Some(secret) = logins.redeem(&ticket, Instant::now()) else {
        return guard.failed().await.into_response();
    };
    let name = logins.cookie_name();
    let cookie = format!("{name}={}; HttpOnly; SameSite=Strict; Path=/; Max-Age={SESSION_SECONDS}", *secret);
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response()
}

async fn log_out(State(guard): State<Arc<Guard>>, headers: HeaderMap) -> Response {
    let logins = guard.logins();
    let name = logins.cookie_name();
    if let Some(secret) = cookie(&headers, name) {
        logins.end_session(secret, Instant::now());
    }
    let cookie = format!("{name}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0");
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response()
}
