//! Who is let in over TCP: the main token in its 0600 file, scoped tokens, one-time tickets and the browser sessions they open.
//!
//! Only hashes are kept in memory and compared, in constant time. Nothing here knows HTTP; [`super::guard`] does.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::caller::Rights;
use super::limits::{SESSION_MS, SESSIONS_MAX, TICKET_MS, TICKETS_MAX};
use silbo_protocol::wire::base64;

/// Bytes of every secret made here: 256 bits.
const SECRET_BYTES: usize = 32;

/// A browser login ends after this many seconds.
pub const SESSION_SECONDS: u64 = SESSION_MS / 1000;

/// SHA-256 of a secret; what is stored and compared.
pub type SecretHash = [u8; 32];

/// Looks scoped tokens up; the database does it in the product.
pub trait ScopedTokens: Send + Sync + 'static {
    /// The rights of the token with this hash, if it exists and has not expired.
    fn rights(&self, hash: SecretHash) -> BoxFuture<'_, Option<Rights>>;
}

/// For listeners without scoped tokens.
#[derive(Clone, Copy, Debug)]
pub struct NoScopedTokens;

impl ScopedTokens for NoScopedTokens {
    fn rights(&self, _hash: SecretHash) -> BoxFuture<'_, Option<Rights>> {
        Box::pin(std::future::ready(None))
    }
}

/// Tokens, tickets and sessions of one node.
pub struct Logins {
    main: SecretHash,
    cookie: String,
    scoped: Arc<dyn ScopedTokens>,
    tickets: Mutex<VecDeque<(SecretHash, Instant)>>,
    sessions: Mutex<VecDeque<(SecretHash, Instant)>>,
}

impl std::fmt::Debug for Logins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Logins(..)")
    }
}

impl Logins {
    /// Lets in the holder of `main_token` and of the tokens `scoped` knows.
    pub fn new(main_token: &str, scoped: Arc<dyn ScopedTokens>) -> Self {
        let main = hash(main_token);
        let instance: String = hash(&base64::encode(&main)).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        Self {
            main,
            cookie: format!("silbo-{instance}"),
            scoped,
            tickets: Mutex::default(),
            sessions: Mutex::default(),
        }
    }

    /// Name of the session cookie. Cookies ignore ports, so two nodes on one machine need two names.
    pub fn cookie_name(&self) -> &str {
        &self.cookie
    }

    /// The rights behind a bearer token.
    pub async fn bearer(&self, token: &str) -> Option<Rights> {
        let hash = hash(token);
        if bool::from(hash.ct_eq(&self.main)) {
            return Some(Rights::Owner);
        }
        self.scoped.rights(hash).await
    }

    /// The rights behind a session cookie.
    pub fn session(&self, secret: &str, now: Instant) -> Option<Rights> {
        contains(&self.sessions, secret, now).then_some(Rights::Owner)
    }

    /// Makes a ticket that opens one session within 60 seconds. The oldest goes when there are too many.
    pub fn make_ticket(&self, now: Instant) -> Zeroizing<String> {
        insert(&self.tickets, TICKETS_MAX, now + Duration::from_millis(TICKET_MS), now)
    }

    /// Turns a ticket into a session; a ticket works once. `None` when it is wrong, used or too old.
    pub fn redeem(&self, ticket: &str, now: Instant) -> Option<Zeroizing<String>> {
        take(&self.tickets, ticket, now)
            .then(|| insert(&self.sessions, SESSIONS_MAX, now + Duration::from_millis(SESSION_MS), now))
    }

    /// Ends a session.
    pub fn end_session(&self, secret: &str, now: Instant) {
        take(&self.sessions, secret, now);
    }

    /// Ends all sessions.
    pub fn end_all_sessions(&self) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// The hash a secret is stored as.
pub fn hash(secret: &str) -> SecretHash {
    Sha256::digest(secret.as_bytes()).into()
}

/// A fresh 256-bit secret as text.
pub fn fresh_secret() -> Zeroizing<String> {
    let bytes = Zeroizing::new(rand::random::<[u8; SECRET_BYTES]>());
    Zeroizing::new(base64::encode(bytes.as_slice()))
}

type Secrets = Mutex<VecDeque<(SecretHash, Instant)>>;

fn insert(secrets: &Secrets, max: usize, until: Instant, now: Instant) -> Zeroizing<String> {
    let secret = fresh_secret();
    let mut list = secrets.lock().unwrap_or_else(PoisonError::into_inner);
    list.retain(|(_, until)| *until > now);
    while list.len() >= max {
        list.pop_front();
    }
    list.push_back((hash(&secret), until));
    secret
}

fn contains(secrets: &Secrets, secret: &str, now: Instant) -> bool {
    let hash = hash(secret);
    let list = secrets.lock().unwrap_or_else(PoisonError::into_inner);
    list.iter().fold(false, |found, (known, until)| found | (bool::from(known.ct_eq(&hash)) & (*until > now)))
}

fn take(secrets: &Secrets, secret: &str, now: Instant) -> bool {
    let found = contains(secrets, secret, now);
    if found {
        let hash = hash(secret);
        let mut list = secrets.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain(|(known, _)| !bool::from(known.ct_eq(&hash)));
    }
    found
}

/// The main token: read from its file, or made when the file is missing, damaged, of another user, or was readable by others.
///
/// # Errors
/// When the file cannot be read or written.
pub fn read_or_make_token(path: &Path) -> io::Result<Zeroizing<String>> {
    if let Some(token) = read_token(path)? {
        return Ok(token);
    }
    let token = fresh_secret();
    let mut fresh_name = path.as_os_str().to_owned();
    fresh_name.push(".new");
    let fresh_path = Path::new(&fresh_name);
    remove_if_there(fresh_path)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(fresh_path)?;
    file.write_all(token.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(fresh_path, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(token)
}

fn read_token(path: &Path) -> io::Result<Option<Zeroizing<String>>> {
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    let file = match OpenOptions::new().read(true).custom_flags(no_follow).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            tracing::warn!("the API token file is a link; a new token replaces it");
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let about = file.metadata()?;
    let ours = about.uid() == rustix::process::geteuid().as_raw();
    if !ours || about.mode() & 0o077 != 0 {
        tracing::warn!("the API token file was readable by others; a new token replaces it");
        return Ok(None);
    }
    let mut text = Zeroizing::new(String::new());
    if file.take(256).read_to_string(&mut text).is_err() {
        return Ok(None);
    }
    let token = text.trim();
    let whole = base64::decode(token).is_some_and(|bytes| bytes.len() == SECRET_BYTES);
    Ok(whole.then(|| Zeroizing::new(token.to_owned())))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn logins() -> (Zeroizing<String>, Logins) {
        let token = fresh_secret();
        let logins = Logins::new(&token, Arc::new(NoScopedTokens));
        (token, logins)
    }

    #[tokio::test]
    async fn only_the_main_token_is_the_owner() {
        let (token, logins) = logins();
        assert_eq!(logins.bearer(&token).await, Some(Rights::Owner));
        assert_eq!(logins.bearer(&fresh_secret()).await, None);
        assert_eq!(logins.bearer("").await, None);
    }

    #[test]
    fn a_ticket_opens_one_session_once_and_only_in_its_minute() {
        let (_, logins) = logins();
        let now = Instant::now();
        let ticket = logins.make_ticket(now);
        let session = logins.redeem(&ticket, now).expect("a fresh ticket");
        assert_eq!(logins.redeem(&ticket, now), None, "a ticket works once");
        assert_eq!(logins.session(&session, now), Some(Rights::Owner));
        assert_eq!(logins.session(&ticket, now), None, "a ticket is no session");
        let late = logins.make_ticket(now);
        assert_eq!(logins.redeem(&late, now + Duration::from_millis(TICKET_MS)), None);
        logins.end_session(&session, now);
        assert_eq!(logins.session(&session, now), None);
    }

    #[test]
    fn tickets_and_sessions_are_bounded() {
        let (_, logins) = logins();
        let now = Instant::now();
        let first = logins.make_ticket(now);
        for _ in 0..TICKETS_MAX {
            logins.make_ticket(now);
        }
        assert_eq!(logins.redeem(&first, now), None, "the oldest ticket is dropped");
    }

    #[test]
    fn t61_the_token_file_is_private_and_a_leaked_one_is_replaced() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("api-token");
        let first = read_or_make_token(&path).expect("make");
        let mode = fs::metadata(&path).expect("the file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(*read_or_make_token(&path).expect("read"), *first, "it stays the same");

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod");
        let second = read_or_make_token(&path).expect("make again");
        assert_ne!(*first, *second);
        let mode = fs::metadata(&path).expect("the file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        fs::write(&path, "short").expect("damage");
        assert_ne!(*read_or_make_token(&path).expect("make again"), *second);
    }

    #[test]
    fn two_nodes_have_two_cookie_names() {
        assert_ne!(logins().1.cookie_name(), logins().1.cookie_name());
    }
}
