//! Bounds of the API, with their reasoning. Full is an answer, never a wait.

use std::time::Duration;

/// Bounds a server is started with; the defaults are the ones of the product, tests shorten the times.
#[derive(Clone, Debug)]
pub struct ApiLimits {
    /// Connections of one listener. A browser opens up to 6, a bot 1 or 2: ten times that.
    pub connections_max: usize,
    /// Calls a connection may make a second, on average.
    pub calls_per_second: u32,
    /// Calls a connection may make at once before the average counts.
    pub calls_burst: u32,
    /// A request's header must be there within this; an idle connection is closed after it.
    pub header_timeout: Duration,
    /// A request's body must be there within this.
    pub body_timeout: Duration,
    /// A reader that takes nothing for so long is closed; its cursor makes that harmless.
    pub stall_timeout: Duration,
    /// Open calls may end within this when the server stops.
    pub stop_grace: Duration,
    /// A failed login waits at least this long.
    pub login_delay: Duration,
    /// The pause between two signs of life on an event stream.
    pub keep_alive: Duration,
}

impl Default for ApiLimits {
    fn default() -> Self {
        Self {
            connections_max: 64,
            calls_per_second: 200,
            calls_burst: 400,
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(30),
            stop_grace: Duration::from_secs(2),
            login_delay: Duration::from_millis(100),
            keep_alive: Duration::from_secs(15),
        }
    }
}

/// Largest request body and WebSocket message: a 64 KiB text fits 16 times.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Largest answer: a page of 200 messages of 64 KiB, escaped.
pub const ANSWER_BYTES_MAX: usize = 32 << 20;
/// Largest bag of mail: as base64 it fits into a request body, 512 KiB × 4/3 = 683 KiB.
pub const BAG_BYTES_MAX: usize = 512 << 10;
/// Largest bag that is also given as the text of a QR code: one holds 4,296 characters, 8 of them a prefix, 5 bits each.
pub const QR_BAG_BYTES_MAX: usize = 2_600;
/// Calls in one batch.
pub const BATCH_MAX: usize = 50;
/// Largest request header.
pub const HEADER_BYTES_MAX: usize = 32 << 10;
/// Header lines of a request.
pub const HEADERS_MAX: usize = 64;
/// Subscriptions of one connection.
pub const SUBSCRIPTIONS_MAX: u32 = 16;
/// Messages waiting for one connection before it counts as slow: 64 events of a text or less.
pub const WAITING_MESSAGES_MAX: usize = 64;
/// Events read from the log at a time.
pub const EVENTS_PER_READ: u32 = 200;
/// Items in one page.
pub const PAGE_MAX: u32 = 200;
/// Browser logins kept; the oldest is dropped.
pub const SESSIONS_MAX: usize = 64;
/// A browser login ends after this.
pub const SESSION_MS: u64 = 30 * 24 * 60 * 60 * 1000;
/// Tickets not used yet.
pub const TICKETS_MAX: usize = 16;
/// A ticket is good for this.
pub const TICKET_MS: u64 = 60_000;
/// Scoped tokens kept.
pub const TOKENS_MAX: usize = 256;
/// Longest time one call may wait.
pub const WAIT_MS_MAX: u64 = 24 * 60 * 60 * 1000;
/// Names of tokens and consumers.
pub const LABEL_BYTES_MAX: usize = 64;
