//! What an internet transport is told when it starts.

use std::fmt;

use crate::link::LinkIds;

/// Decides about a DHT record: `validate(key, value, unix_s)` is its sequence number, or `None` if it is not valid.
pub type Validate = fn(&[u8; 32], &[u8], u64) -> Option<u64>;

/// Whether this node answers DHT queries of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DhtMode {
    /// When it is publicly reachable, or a relay.
    #[default]
    Auto,
    /// Always; its listening addresses count as reachable.
    On,
    /// Never: only asks.
    Off,
}

/// Settings of the internet transport.
#[derive(Clone)]
pub struct InternetSettings {
    /// Seed of the transport key. A relay keeps one, so that its address stays; `None` makes a disposable key.
    pub identity_seed: Option<[u8; 32]>,
    /// Multiaddrs to listen on, as text; empty listens nowhere.
    pub listen: Vec<String>,
    /// Look for peers on the local network.
    pub mdns: bool,
    /// Ask the router for a port mapping.
    pub upnp: bool,
    /// Offer circuits and reachability probes to others, and count listening addresses as reachable.
    pub relay_server: bool,
    /// DHT role.
    pub dht_server: DhtMode,
    /// Multiaddrs under which others reach us (a forwarded port, a DNS name), as text.
    pub external: Vec<String>,
    /// Replace circuits by direct connections where hole punching succeeds.
    pub hole_punching: bool,
    /// Private networks are the internet here (a community mesh in 10.0.0.0/8): their addresses count as public.
    pub private_is_public: bool,
    /// Above this much memory of the process no connection is accepted.
    pub memory_bytes_max: usize,
    /// Decides which DHT records are stored and believed.
    pub validate: Validate,
    /// Where link names come from.
    pub link_ids: LinkIds,
}

impl Default for InternetSettings {
    fn default() -> Self {
        Self {
            identity_seed: None,
            listen: ["/ip4/0.0.0.0/udp/0/quic-v1", "/ip6/::/udp/0/quic-v1", "/ip4/0.0.0.0/tcp/0", "/ip6/::/tcp/0"]
                .map(String::from)
                .to_vec(),
            mdns: true,
            upnp: true,
            relay_server: false,
            dht_server: DhtMode::Auto,
            external: Vec::new(),
            hole_punching: true,
            private_is_public: false,
            memory_bytes_max: 1 << 30,
            validate: |_, _, _| None,
            link_ids: LinkIds::default(),
        }
    }
}

impl fmt::Debug for InternetSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InternetSettings")
            .field("identity_seed", &self.identity_seed.map(|_| "Seed(..)"))
            .field("listen", &self.listen)
            .field("mdns", &self.mdns)
            .field("upnp", &self.upnp)
            .field("relay_server", &self.relay_server)
            .field("dht_server", &self.dht_server)
            .field("external", &self.external)
            .field("hole_punching", &self.hole_punching)
            .field("private_is_public", &self.private_is_public)
            .field("memory_bytes_max", &self.memory_bytes_max)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_never_print_the_seed() {
        let settings = InternetSettings { identity_seed: Some([0xab; 32]), ..InternetSettings::default() };
        let text = format!("{settings:?}");
        assert!(text.contains("Seed(..)"));
        assert!(!text.contains("171") && !text.contains("ab, ab"));
    }
}
