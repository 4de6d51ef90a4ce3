//! What a node is started with. The command line fills [`NodeSettings`] from arguments and `config.toml`;
//! `node::run` reads it and nothing else.
//!
//! [`StartFailure`] is how `node::run` says why it could not start: the command line turns it into three lines and an
//! exit code. Any other error is reported as an internal one.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use silbo_protocol::limits::{RELAY_TOTAL_MIB_MAX, RETENTION_DAYS_DEFAULT};
use zeroize::Zeroizing;

use crate::paths::Paths;

/// Everything `node::run` needs to know.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// Where files are; the folders exist.
    pub paths: Paths,
    /// Name of a profile that is created by this start. An existing profile keeps its own.
    pub name: String,
    /// Multiaddrs to listen on, in text; empty listens nowhere.
    pub listen: Vec<String>,
    /// Whether peers in the local network are looked for and told.
    pub mdns: bool,
    /// Whether the Bluetooth radio is used, where there is one.
    pub bluetooth: bool,
    /// Its adapter, such as `hci0`; `None` takes the system's first.
    pub bluetooth_adapter: Option<String>,
    /// How long one id is on the air.
    pub bluetooth_rotation: Duration,
    /// Whether the machine's Bluetooth name is hidden while the radio is on.
    pub bluetooth_hide_name: bool,
    /// Whether Wi-Fi Direct groups are made with contacts near by, where there is much to move.
    pub wifi_direct: bool,
    /// Its interface, such as `wlan0`; `None` takes the first that can.
    pub wifi_direct_interface: Option<String>,
    /// Address of the D-Bus with wpa_supplicant; `None` takes the system's.
    pub wifi_direct_bus: Option<String>,
    /// Whether QUIC is used for dialling.
    pub quic: bool,
    /// Whether TCP is used for dialling.
    pub tcp: bool,
    /// Whether a port is asked for at the router.
    pub upnp: bool,
    /// Multiaddrs with `/p2p/` of relays to use besides the stored ones.
    pub relays: Vec<String>,
    /// The relay role, when this node serves others. It keeps its peer id and, where it can, its ports.
    pub relay: Option<RelayRole>,
    /// How the database key is obtained.
    pub unlock: Unlock,
    /// Loopback address of the HTTP and WebSocket carrier; `None` leaves only the Unix socket.
    pub api_listen: Option<SocketAddr>,
}

/// What a relay promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayRole {
    /// How long mail is kept, in days.
    pub retention_days: u32,
    /// How much mail is kept in all, in MiB.
    pub total_mib: u32,
}

impl Default for RelayRole {
    fn default() -> RelayRole {
        RelayRole { retention_days: RETENTION_DAYS_DEFAULT, total_mib: RELAY_TOTAL_MIB_MAX }
    }
}

/// How the database key is obtained.
#[derive(Clone)]
pub enum Unlock {
    /// A random key in a 0600 file beside the database: the user chose no passphrase.
    KeyFile,
    /// A passphrase, stretched with Argon2id.
    Passphrase(Zeroizing<String>),
}

impl fmt::Debug for Unlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unlock::KeyFile => f.write_str("KeyFile"),
            Unlock::Passphrase(_) => f.write_str("Passphrase(..)"),
        }
    }
}

/// Why a node did not start, in the words a person is shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct StartFailure {
    /// What went wrong, in exit codes.
    pub class: StartFailureClass,
    /// What could not be done.
    pub what: String,
    /// Why.
    pub why: String,
    /// What to do, best as a command.
    pub hint: String,
}

/// The kinds of [`StartFailure`]; each has an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartFailureClass {
    /// A setting cannot be used (a multiaddr, a port that is taken).
    Setting,
    /// A passphrase is needed, or this one is wrong.
    Locked,
    /// The database was written by a later version.
    Version,
    /// Another node runs in this home.
    AlreadyRunning,
    /// Disk or operating system.
    Internal,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passphrase_is_not_printed() {
        let unlock = Unlock::Passphrase(Zeroizing::new("correct horse".to_owned()));
        assert_eq!(format!("{unlock:?}"), "Passphrase(..)");
    }
}
