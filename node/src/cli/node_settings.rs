//! What a node is started with, put together from arguments, `config.toml` and defaults, in this order.

use zeroize::Zeroizing;

use super::arguments::{RelayPromise, StartArguments};
use super::byte_size::parse_byte_size;
use super::config_file::{self, ConfigFile};
use super::duration::parse_duration;
use super::failure::{Class, Failure};
use super::{Session, passphrase};
use crate::paths::Paths;
use crate::settings::{NodeSettings, RelayRole, Unlock};

/// Name of an identity whose owner gave none: the login and host names are nobody's business.
pub const NAME_OF_NOBODY: &str = "Silbo user";
/// Ports a relay listens on unless told otherwise: its address should stay the same.
const RELAY_PORT: u16 = 4001;

/// What the started node is for.
#[derive(Clone, Debug)]
pub enum Purpose {
    /// A person's node; it may serve as a relay if the configuration says so.
    Person,
    /// A relay.
    Relay(RelayPromise),
}

/// Arguments over configuration over defaults. Makes folders and the configuration file.
///
/// # Errors
/// When a setting cannot be used or the disk refuses.
pub fn settings(session: &Session, start: &StartArguments, purpose: &Purpose) -> Result<NodeSettings, Failure> {
    let paths = &session.paths;
    prepare(paths)?;
    let (config, unknown) = config_file::load(&paths.config_path)?;
    for mistake in unknown {
        tracing::warn!("{}: {mistake}", paths.config_path.display());
    }
    let unlock = match given_passphrase(start)? {
        Some(passphrase) => Unlock::Passphrase(passphrase),
        None => Unlock::KeyFile,
    };
    combine(paths, start, purpose, &config, unlock)
}

/// As [`settings`], without touching files.
///
/// # Errors
/// When a setting cannot be used.
pub fn combine(
    paths: &Paths,
    start: &StartArguments,
    purpose: &Purpose,
    config: &ConfigFile,
    unlock: Unlock,
) -> Result<NodeSettings, Failure> {
    let relay = match purpose {
        Purpose::Relay(promise) => Some(relay_role(promise, config)?),
        Purpose::Person if config.relays.serve => Some(relay_role(&RelayPromise::default(), config)?),
        Purpose::Person => None,
    };
    let api_listen = match start.api_listen {
        Some(address) => Some(address),
        None => config.api.listen.parse().ok(),
    };
    if let Some(address) = api_listen.filter(|address| !address.ip().is_loopback()) {
        return Err(Failure::usage(
            format!("the API cannot listen at {address}"),
            "silbo up --api-listen 127.0.0.1:7474",
        )
        .why("it is not a loopback address, so others could reach it"));
    }
    let listen = match (start.listen.is_empty(), config.transports.listen.is_empty()) {
        (false, _) => start.listen.clone(),
        (true, false) => config.transports.listen.clone(),
        (true, true) => usual_addresses(config, if relay.is_some() { RELAY_PORT } else { 0 }),
    };
    Ok(NodeSettings {
        paths: paths.clone(),
        name: start.name.clone().unwrap_or_else(|| match &config.profile.name {
            name if name.is_empty() => NAME_OF_NOBODY.to_owned(),
            name => name.clone(),
        }),
        listen,
        mdns: config.transports.mdns && !start.no_mdns,
        bluetooth: config.transports.bluetooth && !start.no_bluetooth,
        bluetooth_adapter: Some(config.transports.bluetooth_adapter.clone()).filter(|name| !name.is_empty()),
        bluetooth_rotation: config_file::rotation(&config.transports.bluetooth_rotation)
            .unwrap_or(silbo_transports::bluetooth::ROTATION),
        bluetooth_hide_name: config.transports.bluetooth_hide_name,
        wifi_direct: config.transports.wifi_direct,
        wifi_direct_interface: Some(config.transports.wifi_direct_interface.clone()).filter(|name| !name.is_empty()),
        wifi_direct_bus: Some(config.transports.wifi_direct_bus.clone()).filter(|address| !address.is_empty()),
        quic: config.transports.quic,
        tcp: config.transports.tcp,
        upnp: config.transports.upnp,
        relays: config.relays.used.clone(),
        relay,
        unlock,
        api_listen,
    })
}

fn usual_addresses(config: &ConfigFile, port: u16) -> Vec<String> {
    let mut addresses = Vec::new();
    for ip in ["/ip4/0.0.0.0", "/ip6/::"] {
        if config.transports.quic {
            addresses.push(format!("{ip}/udp/{port}/quic-v1"));
        }
        if config.transports.tcp {
            addresses.push(format!("{ip}/tcp/{port}"));
        }
    }
    addresses
}

fn relay_role(promise: &RelayPromise, config: &ConfigFile) -> Result<RelayRole, Failure> {
    let refuse = |why: String| {
        Failure::usage("the relay cannot be started", "silbo relay serve --retention 30d --quota 4GiB").why(why)
    };
    let retention = match promise.retention {
        Some(retention) => retention,
        None => parse_duration(&config.relays.retention).map_err(refuse)?,
    };
    let quota = match promise.quota {
        Some(quota) => quota,
        None => parse_byte_size(&config.relays.quota).map_err(refuse)?,
    };
    let days = u32::try_from(retention.as_secs() / 86_400).unwrap_or(u32::MAX);
    if !silbo_protocol::limits::RETENTION_DAYS_RANGE.contains(&days) {
        return Err(refuse("mail is kept for 1d to 90d".to_owned()));
    }
    let total_mib = u32::try_from(quota >> 20).unwrap_or(u32::MAX);
    if total_mib == 0 {
        return Err(refuse("the quota is less than 1MiB".to_owned()));
    }
    Ok(RelayRole { retention_days: days, total_mib })
}

/// Makes the folders and the configuration file.
///
/// # Errors
/// When the disk refuses.
pub fn prepare(paths: &Paths) -> Result<(), Failure> {
    let made = paths.create_folders().and_then(|()| config_file::create_default(&paths.config_path));
    made.map(drop).map_err(|error| {
        Failure::new(Class::Internal, "the folders of the node cannot be made")
            .why(format!("{}: {error}", paths.data_dir.display()))
            .hint("silbo paths, or choose another --home")
    })
}

/// The passphrase from the file or descriptor that was named.
///
/// # Errors
/// When it cannot be read.
pub fn given_passphrase(start: &StartArguments) -> Result<Option<Zeroizing<String>>, Failure> {
    match (start.passphrase_fd, &start.passphrase_file) {
        (Some(number), _) => passphrase::of_descriptor(number).map(Some),
        (None, Some(file)) => passphrase::of_file(file).map(Some),
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::paths::PathChoices;

    fn paths() -> Paths {
        let choices = PathChoices { home: Some("/somewhere".into()), ..PathChoices::default() };
        Paths::choose(&choices).expect("paths")
    }

    fn combined(start: &StartArguments, purpose: &Purpose, config: &ConfigFile) -> Result<NodeSettings, Failure> {
        combine(&paths(), start, purpose, config, Unlock::KeyFile)
    }

    #[test]
    fn arguments_come_before_configuration_and_defaults() {
        let mut config = ConfigFile::default();
        config.transports.listen = vec!["/ip4/1.2.3.4/tcp/1".into()];
        config.profile.name = "Configured".into();
        let settings = combined(&StartArguments::default(), &Purpose::Person, &config).expect("settings");
        assert_eq!((settings.name.as_str(), settings.listen.len(), settings.mdns), ("Configured", 1, true));
        let start = StartArguments {
            name: Some("Ada".into()),
            listen: vec!["/ip4/127.0.0.1/udp/0/quic-v1".into()],
            no_mdns: true,
            ..StartArguments::default()
        };
        let settings = combined(&start, &Purpose::Person, &config).expect("settings");
        assert_eq!(settings.name, "Ada");
        assert_eq!(settings.listen, ["/ip4/127.0.0.1/udp/0/quic-v1"]);
        assert!(!settings.mdns && settings.relay.is_none() && settings.api_listen.is_none());
    }

    #[test]
    fn a_relay_has_a_fixed_port_and_its_promise() {
        let promise = RelayPromise { retention: Some(Duration::from_secs(7 * 86_400)), quota: Some(512 << 20) };
        let settings =
            combined(&StartArguments::default(), &Purpose::Relay(promise), &ConfigFile::default()).expect("settings");
        assert!(settings.listen.contains(&"/ip4/0.0.0.0/udp/4001/quic-v1".to_owned()));
        assert_eq!(settings.relay, Some(RelayRole { retention_days: 7, total_mib: 512 }));
        let usual =
            combined(&StartArguments::default(), &Purpose::Relay(RelayPromise::default()), &ConfigFile::default());
        assert_eq!(usual.expect("settings").relay, Some(RelayRole::default()));
    }

    #[test]
    fn promises_nobody_may_make_are_refused() {
        for promise in [
            RelayPromise { retention: Some(Duration::from_secs(3_600)), quota: None },
            RelayPromise { retention: Some(Duration::from_secs(91 * 86_400)), quota: None },
            RelayPromise { retention: None, quota: Some(5) },
        ] {
            let refused = combined(&StartArguments::default(), &Purpose::Relay(promise), &ConfigFile::default());
            assert_eq!(refused.expect_err("refused").class, Class::InvalidParams);
        }
    }

    #[test]
    fn the_api_is_never_offered_beyond_this_machine() {
        let start = StartArguments { api_listen: Some(([0, 0, 0, 0], 7474).into()), ..StartArguments::default() };
        let refused = combined(&start, &Purpose::Person, &ConfigFile::default());
        assert_eq!(refused.expect_err("refused").class, Class::InvalidParams);
    }
}
