//! The API of a node: **one** JSON-RPC 2.0 method table, five carriers (`docs/api.md`).
//!
//! ```text
//!   Unix socket ─┐ server ─ guard ─┐
//!   loopback TCP ┘   └ sse         ├─ registry ─ methods ─▶ core (changes), storage (reads)
//!   stdio, in-process bytes ───────┘
//! ```
//! [`start`] makes the table and starts the carriers with a socket; [`Running::stop`] ends them. Nothing here decides what
//! is true: changes are requests to the core, and everything shown comes from it or from the database.

mod caller;
mod connection;
mod convert;
mod error;
mod events;
mod groups;
mod guard;
mod in_process;
mod limits;
mod login;
mod members;
mod methods;
mod people;
mod radio_news;
mod reads;
mod registry;
mod server;
mod sse;
pub mod types;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use axum::Router;
use jsonrpsee::Methods;
use serde_json::Value;
use silbo_protocol::input::Request;
use silbo_protocol::step::{MeView, Reply};
use silbo_transports::LinkCommand;
use silbo_transports::internet::NetSnapshot;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

pub use caller::{Caller, Rights, Scope};
pub use error::{ApiError, ErrorData, ErrorKind};
pub use guard::Refusal;
pub use in_process::InProcess;
pub use limits::ApiLimits;
pub use login::{Logins, NoScopedTokens, ScopedTokens, SecretHash, read_or_make_token};
pub use server::{Listen, ServeError, Server, serve};

use crate::core::CoreHandle;
use crate::paths::Paths;
use crate::radio::RadioView;
use crate::shutdown::Shutdown;

/// Version of the API; grows when something is taken away or changes its meaning.
pub const API_VERSION: u32 = 1;

/// What the node knows of itself and the core does not.
#[derive(Clone, Debug)]
pub struct NodeFacts {
    /// Where its files are.
    pub paths: Paths,
    /// When it was started, milliseconds since 1970.
    pub started_at: u64,
    /// Its process.
    pub pid: u32,
    /// The network as the transport sees it.
    pub net: watch::Receiver<NetSnapshot>,
    /// The radios as they see it.
    pub radio: RadioView,
    /// The way to the transport, for what a person asks of it directly.
    pub commands: mpsc::Sender<LinkCommand>,
    /// Stops the node.
    pub shutdown: Shutdown,
    /// Settings from the configuration, shown by `settings.get`.
    pub settings: BTreeMap<String, Value>,
}

/// How the API is served.
#[derive(Clone, Debug, Default)]
pub struct ApiSettings {
    /// Loopback TCP, if wanted; port 0 takes a free one. The Unix socket of the paths is always served.
    pub tcp: Option<SocketAddr>,
    /// Pages served beside the API, without a token: they hold nothing.
    pub pages: Router,
    /// Bounds.
    pub limits: ApiLimits,
}

/// What methods work with.
#[derive(Debug)]
pub(crate) struct Api {
    core: CoreHandle,
    facts: NodeFacts,
    logins: Arc<Logins>,
    limits: ApiLimits,
    tcp: OnceLock<SocketAddr>,
}

impl Api {
    /// The own profile.
    async fn me(&self) -> Result<MeView, ApiError> {
        match self.core.request(Request::Me).await? {
            Reply::Me(me) => Ok(me),
            _ => Err(ApiError::internal("unexpected reply to Me")),
        }
    }
}

/// A served API.
#[derive(Debug)]
pub struct Running {
    server: Server,
    methods: Methods,
    limits: ApiLimits,
}

/// Why the API could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The token file cannot be read or written.
    #[error("the API token file cannot be used")]
    Token(#[source] std::io::Error),
    /// A listener could not be opened.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// Makes the method table and starts the Unix socket and, where wanted, loopback TCP.
///
/// # Errors
/// [`StartError`]; nothing is left listening.
///
/// # Panics
/// When two methods have one name, which the tests exclude.
pub async fn start(core: CoreHandle, facts: NodeFacts, settings: ApiSettings) -> Result<Running, StartError> {
    let token = read_or_make_token(&facts.paths.token_path).map_err(StartError::Token)?;
    let logins = Arc::new(Logins::new(&token, Arc::new(reads::DatabaseTokens(core.clone()))));
    let listen = Listen { socket_path: Some(facts.paths.socket_path.clone()), tcp: settings.tcp };
    let limits = settings.limits;
    let api = Arc::new(Api { core, facts, logins: logins.clone(), limits: limits.clone(), tcp: OnceLock::new() });
    let methods: Methods = methods::table(api.clone()).expect("method names are unique").into();
    let more = sse::router(api.clone()).merge(settings.pages);
    let server = serve(listen, methods.clone(), more, logins, limits.clone()).await?;
    if let Some(address) = server.tcp_address() {
        // A fresh cell: it cannot be taken.
        let _ = api.tcp.set(address);
    }
    Ok(Running { server, methods, limits })
}

impl Running {
    /// The TCP address listened on.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.server.tcp_address()
    }

    /// A caller in this process with the rights of the owner: bytes in, bytes out.
    pub fn in_process(&self) -> InProcess {
        InProcess::new(&self.methods, &self.limits)
    }

    /// Serves one caller over a pair of pipes until the input ends or `stop` is cancelled.
    ///
    /// # Errors
    /// When a pipe breaks.
    pub async fn serve_stdio<R, W>(&self, reader: R, writer: W, stop: CancellationToken) -> std::io::Result<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        in_process::serve_stdio(&self.methods, &self.limits, reader, writer, stop).await
    }

    /// Stops listening, lets open calls end within the grace time, cuts the rest, and returns when no task is left.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

/// The machine-readable description of the API, as `docs/schema.json` holds it.
pub fn schema() -> Value {
    registry::describe(methods::all())
}
