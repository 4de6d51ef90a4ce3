//! `config.toml`: what a node is started with when the command line does not say.
//!
//! A person edits it; [`set`] keeps comments and order. Unknown keys are reported, never obeyed.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use toml_edit::{Array, DocumentMut, Item, Table};

use super::byte_size::parse_byte_size;
use super::duration::parse_duration;
use super::failure::{Class, Failure};
use crate::atomic_file;

/// The file as the first `silbo up` writes it: every key with its default, as a comment.
pub const DEFAULT_FILE: &str = "\
# Settings of this node, read when it starts. `silbo config check` finds mistakes, `silbo paths` all files.

[profile]
# name = \"\"                 # used once, when the identity is created

[api]
# listen = \"\"               # also offer the API here, such as \"127.0.0.1:7474\"; always on the Unix socket

[transports]
# listen = []               # multiaddrs; empty: any free port, QUIC and TCP, IPv4 and IPv6
# quic = true
# tcp = true
# mdns = true               # find peers in the local network, and be found
# bluetooth = true          # be found by, and find, nodes near by radio
# bluetooth_adapter = \"\"    # such as \"hci1\"; empty: the first
# bluetooth_rotation = \"15m\"  # how long one id is on the air, 10s to 15m
# bluetooth_hide_name = true  # while Bluetooth is on, this machine's own name there is \"Bluetooth\"
# wifi_direct = true        # make a Wi-Fi Direct group with a contact near by where there is much to move
# wifi_direct_interface = \"\"  # such as \"wlan1\"; empty: the first that can
# wifi_direct_bus = \"\"      # D-Bus address of wpa_supplicant; empty: the system bus
# upnp = true               # ask the router for a port

[relays]
# use = []                  # multiaddrs with /p2p/, besides those added with `silbo relay add`
# serve = false             # keep mail for others
# retention = \"30d\"         # how long, 1d to 90d
# quota = \"4GiB\"            # how much in all
";

/// Times an id may be on the air.
const ROTATIONS: std::ops::RangeInclusive<Duration> = Duration::from_secs(10)..=silbo_transports::bluetooth::ROTATION;

/// Settings in the file, with their defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigFile {
    /// `[profile]`
    pub profile: ProfileSection,
    /// `[api]`
    pub api: ApiSection,
    /// `[transports]`
    pub transports: TransportsSection,
    /// `[relays]`
    pub relays: RelaysSection,
}

/// `[profile]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProfileSection {
    /// Name of an identity to be created.
    pub name: String,
}

/// `[api]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ApiSection {
    /// Loopback address; empty for none.
    pub listen: String,
}

/// `[transports]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TransportsSection {
    /// Multiaddrs; empty for the usual ones.
    pub listen: Vec<String>,
    /// Use QUIC.
    pub quic: bool,
    /// Use TCP.
    pub tcp: bool,
    /// Use mDNS.
    pub mdns: bool,
    /// Use Bluetooth.
    pub bluetooth: bool,
    /// Its adapter; empty for the first.
    pub bluetooth_adapter: String,
    /// How long one id is on the air.
    pub bluetooth_rotation: String,
    /// Hide the machine's Bluetooth name.
    pub bluetooth_hide_name: bool,
    /// Use Wi-Fi Direct.
    pub wifi_direct: bool,
    /// Its interface; empty for the first that can.
    pub wifi_direct_interface: String,
    /// Address of the D-Bus with wpa_supplicant; empty for the system's.
    pub wifi_direct_bus: String,
    /// Use UPnP.
    pub upnp: bool,
}

impl Default for TransportsSection {
    fn default() -> TransportsSection {
        TransportsSection {
            listen: Vec::new(),
            quic: true,
            tcp: true,
            mdns: true,
            bluetooth: true,
            bluetooth_adapter: String::new(),
            bluetooth_rotation: "15m".to_owned(),
            bluetooth_hide_name: true,
            wifi_direct: true,
            wifi_direct_interface: String::new(),
            wifi_direct_bus: String::new(),
            upnp: true,
        }
    }
}

/// `[relays]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RelaysSection {
    /// Relays to use.
    #[serde(rename = "use")]
    pub used: Vec<String>,
    /// Serve as a relay.
    pub serve: bool,
    /// How long mail is kept.
    pub retention: String,
    /// How much mail is kept.
    pub quota: String,
}

impl Default for RelaysSection {
    fn default() -> RelaysSection {
        RelaysSection { used: Vec::new(), serve: false, retention: "30d".to_owned(), quota: "4GiB".to_owned() }
    }
}

/// Reads the file; a missing one is all defaults. The second value names unknown keys, each with a suggestion.
///
/// # Errors
/// When it is not TOML, or a value is of the wrong kind.
pub fn load(path: &Path) -> Result<(ConfigFile, Vec<String>), Failure> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Default::default()),
        Err(error) => return Err(unusable(path, &error.to_string())),
    };
    read(&text).map_err(|why| unusable(path, &why))
}

fn read(text: &str) -> Result<(ConfigFile, Vec<String>), String> {
    let config: ConfigFile = toml::from_str(text).map_err(|error| error.to_string().trim().replace('\n', " "))?;
    if !config.api.listen.is_empty() {
        let address: SocketAddr = config.api.listen.parse().map_err(|_| "api.listen is not an address with a port")?;
        if !address.ip().is_loopback() {
            return Err("api.listen is not a loopback address".to_owned());
        }
    }
    rotation(&config.transports.bluetooth_rotation).map_err(|why| format!("transports.bluetooth_rotation: {why}"))?;
    parse_duration(&config.relays.retention).map_err(|why| format!("relays.retention: {why}"))?;
    parse_byte_size(&config.relays.quota).map_err(|why| format!("relays.quota: {why}"))?;
    let table: toml::Table = toml::from_str(text).map_err(|error| error.to_string())?;
    Ok((config, unknown_keys(&table)))
}

/// How long one id is on the air: never longer than everybody's, and not so short that nobody finds the node.
///
/// # Errors
/// When it is no time, or out of bounds.
pub fn rotation(text: &str) -> Result<Duration, String> {
    let rotation = parse_duration(text)?;
    if ROTATIONS.contains(&rotation) { Ok(rotation) } else { Err("it is 10s to 15m".to_owned()) }
}

/// All settings by key, as JSON.
///
/// # Errors
/// When the settings cannot be written as JSON, which no value of this type can cause.
pub fn values(config: &ConfigFile) -> Result<Vec<(String, Value)>, Failure> {
    let value = serde_json::to_value(config)
        .map_err(|error| Failure::new(Class::Internal, "could not show the settings").why(error.to_string()))?;
    let mut found = Vec::new();
    for (section, keys) in value.as_object().into_iter().flatten() {
        for (key, value) in keys.as_object().into_iter().flatten() {
            found.push((format!("{section}.{key}"), value.clone()));
        }
    }
    Ok(found)
}

/// Changes one key in the file, keeping comments.
///
/// # Errors
/// When the key is unknown or the value is of the wrong kind; the file is left as it was.
pub fn set(path: &Path, key: &str, value: &str) -> Result<(), Failure> {
    let known = values(&ConfigFile::default())?;
    let Some((_, default)) = known.iter().find(|(name, _)| name == key) else {
        let hint =
            suggestion(key).map_or_else(|| "silbo config get".to_owned(), |near| format!("did you mean {near}?"));
        return Err(Failure::new(Class::NotFound, format!("there is no setting {key:?}"))
            .why("config.toml has no key of this name")
            .hint(hint));
    };
    let item = item_like(default, value).map_err(|why| {
        Failure::new(Class::InvalidParams, format!("{key} cannot be {value:?}"))
            .why(why)
            .hint(format!("silbo config get {key}"))
    })?;
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => DEFAULT_FILE.to_owned(),
        Err(error) => return Err(unusable(path, &error.to_string())),
    };
    let mut document: DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| unusable(path, &error.to_string()))?;
    let (section, name) = key.split_once('.').unwrap_or(("", key));
    let entry = document.entry(section).or_insert_with(|| Item::Table(Table::new()));
    let Some(table) = entry.as_table_like_mut() else {
        return Err(unusable(path, &format!("[{section}] is not a section")));
    };
    table.insert(name, item);
    let text = document.to_string();
    read(&text).map_err(|why| {
        Failure::new(Class::InvalidParams, format!("{key} cannot be {value:?}"))
            .why(why)
            .hint(format!("silbo config get {key}"))
    })?;
    replace(path, &text).map_err(|error| unusable(path, &error.to_string()))
}

/// Writes the commented file where there is none. Says whether it did.
///
/// # Errors
/// When the file cannot be written.
pub fn create_default(path: &Path) -> io::Result<bool> {
    if path.exists() {
        return Ok(false);
    }
    replace(path, DEFAULT_FILE).map(|()| true)
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    atomic_file::replace(path, text.as_bytes(), 0o600)
}

fn item_like(default: &Value, text: &str) -> Result<Item, String> {
    match default {
        Value::Bool(_) => match text {
            "true" | "on" | "yes" => Ok(toml_edit::value(true)),
            "false" | "off" | "no" => Ok(toml_edit::value(false)),
            _ => Err("it is true or false".to_owned()),
        },
        Value::Array(_) => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            Ok(toml_edit::value(parts.collect::<Array>()))
        }
        _ => Ok(toml_edit::value(text)),
    }
}

fn unknown_keys(table: &toml::Table) -> Vec<String> {
    let Ok(known) = values(&ConfigFile::default()) else {
        return Vec::new();
    };
    let mut unknown = Vec::new();
    for (section, keys) in table {
        let Some(keys) = keys.as_table() else {
            unknown.push(describe_unknown(section));
            continue;
        };
        for key in keys.keys() {
            let name = format!("{section}.{key}");
            if !known.iter().any(|(known, _)| *known == name) {
                unknown.push(describe_unknown(&name));
            }
        }
    }
    unknown
}

fn describe_unknown(name: &str) -> String {
    match suggestion(name) {
        Some(near) => format!("{name} is not a setting; did you mean {near}?"),
        None => format!("{name} is not a setting"),
    }
}

fn suggestion(name: &str) -> Option<String> {
    let known = values(&ConfigFile::default()).ok()?;
    let near = known.into_iter().map(|(key, _)| (edits(name, &key), key)).min()?;
    (near.0 <= 3 || near.1.ends_with(&format!(".{name}"))).then_some(near.1)
}

/// Letters to change to turn one word into the other (Levenshtein).
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut left = i + 1;
        let mut diagonal = i;
        let mut next = vec![left];
        for (b, above) in to.iter().zip(row.iter().skip(1)) {
            let cost = (diagonal + usize::from(a != *b)).min(left + 1).min(above + 1);
            diagonal = *above;
            left = cost;
            next.push(cost);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

fn unusable(path: &Path, why: &str) -> Failure {
    Failure::new(Class::InvalidParams, format!("{} cannot be used", path.display())).why(why).hint("silbo config edit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_written_first_is_all_defaults_also_when_uncommented() {
        let (config, unknown) = read(DEFAULT_FILE).expect("the file of the first start");
        assert_eq!((config, unknown.len()), (ConfigFile::default(), 0));
        let lines: Vec<&str> =
            DEFAULT_FILE.lines().skip(1).map(|line| line.strip_prefix("# ").unwrap_or(line)).collect();
        let (config, unknown) = read(&lines.join("\n")).expect("its defaults");
        assert_eq!((config, unknown.len()), (ConfigFile::default(), 0));
        for (key, _) in values(&ConfigFile::default()).expect("keys") {
            let name = key.split('.').nth(1).expect("a key has a section");
            assert!(DEFAULT_FILE.contains(&format!("# {name} = ")), "{key} is not documented in the file");
        }
    }

    #[test]
    fn a_changed_setting_keeps_the_comments_and_is_read_back() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("config.toml");
        set(&path, "transports.mdns", "off").expect("a switch");
        set(&path, "transports.bluetooth_rotation", "9s").expect_err("nobody would be found");
        set(&path, "transports.bluetooth_rotation", "16m").expect_err("longer than everybody's");
        set(&path, "transports.bluetooth_rotation", "10s").expect("a short one");
        set(&path, "relays.use", "/ip4/1.2.3.4/tcp/1/p2p/x, /ip4/1.2.3.5/tcp/1/p2p/y").expect("a list");
        set(&path, "profile.name", "Ada").expect("a text");
        let (config, unknown) = load(&path).expect("what was written");
        assert!(!config.transports.mdns && config.transports.quic);
        assert_eq!(config.relays.used.len(), 2);
        assert_eq!(config.profile.name, "Ada");
        assert!(unknown.is_empty());
        let text = fs::read_to_string(&path).expect("the file");
        assert!(text.contains("silbo config check") && text.contains("ask the router"));
    }

    #[test]
    fn a_value_that_cannot_be_leaves_the_file_alone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("config.toml");
        set(&path, "relays.quota", "1GiB").expect("a size");
        let before = fs::read_to_string(&path).expect("the file");
        for (key, value) in
            [("relays.quota", "much"), ("transports.quic", "maybe"), ("api.listen", "0.0.0.0:80"), ("x.y", "1")]
        {
            assert!(set(&path, key, value).is_err(), "{key} = {value}");
        }
        assert_eq!(fs::read_to_string(&path).expect("the file"), before);
    }

    #[test]
    fn unknown_keys_are_named_with_the_nearest_known_one() {
        let (_, unknown) = read("[transports]\nmdsn = false\n[moon]\nphase = 1\n").expect("TOML");
        assert_eq!(
            unknown,
            ["moon.phase is not a setting", "transports.mdsn is not a setting; did you mean transports.mdns?"]
        );
    }

    #[test]
    fn a_file_that_is_not_toml_says_where() {
        let why = read("[transports]\nmdns = \"perhaps\"\n").expect_err("not a switch");
        assert!(why.contains("line 2"), "{why}");
    }
}
