//! A whole node: vault, database, engine, transport and API, started in this order and stopped in the reverse one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use rand::Rng;
use serde_json::Value;
use silbo_protocol::input::{RelayLimits, Request};
use silbo_protocol::limits::{QUEUE_ENVELOPES_MAX, QUEUE_KIB_MAX};
use silbo_protocol::presence;
use silbo_protocol::step::RequestError;
use silbo_transports::LinkCommand;
use silbo_transports::internet::{self, InternetSettings, NetSnapshot, parse_multiaddr_with_peer};
use tracing::{info, warn};

use crate::api::{self, ApiSettings, NodeFacts};
use crate::atomic_file;
use crate::core::{self, Core, CoreError, Medium, Opened};
use crate::radio::Radio;
use crate::settings::{NodeSettings, StartFailure, StartFailureClass};
use crate::shutdown::{Shutdown, StopSignals};
use crate::spool::{MemorySpool, NODE_SPOOL_BYTES_MAX, PeerCache, SledSpool, Spool};
use crate::storage::{Database, StorageError};
use crate::vault::{Vault, VaultError};

/// Where a relay remembers the ports it was given.
const PORTS_FILE: &str = "listen-ports";

/// Runs a node until it is asked to stop, over its API or by a signal. Starts its own runtime.
///
/// # Errors
/// A [`StartFailure`] for everything a person can mend; anything else is a bug or a broken machine.
pub fn run(settings: NodeSettings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(serve(settings));
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    outcome
}

async fn serve(settings: NodeSettings) -> anyhow::Result<()> {
    let mut signals = StopSignals::catch().context("catch signals")?;
    let started_at = core::now().unix.0;
    settings.paths.create_folders().context("make the folders of the profile")?;
    let (mut opened, spool) = open(&settings)?;
    let seed = prepare(&mut opened, &settings)?;
    let transport = start_transport(&settings, seed).await?;
    remember_ports(&settings, &transport.snapshot.borrow());
    let shutdown = Shutdown::new();
    let net = transport.snapshot.clone();
    let running = transport.running;
    for address in remembered_peers(&spool) {
        // Whoever it is now: a DHT server or a contact's old place. A full channel is no loss.
        drop(transport.commands.try_send(LinkCommand::Dial { address, relay: false }));
    }
    let commands = transport.commands.clone();
    let radio = Radio::start(&settings, opened.engine().radio_power(), &transport.events_in);
    let radio_view = radio.view();
    let medium = Medium {
        events: transport.events,
        commands: transport.commands,
        radio: Some(radio.commands()),
        wifi_direct: radio.wifi_direct_commands(),
    };
    let core = Core::start(opened, medium, shutdown.clone()).context("start the core thread")?;
    use_configured_relays(&core, &settings).await;
    let facts = NodeFacts {
        paths: settings.paths.clone(),
        started_at,
        pid: std::process::id(),
        net: net.clone(),
        radio: radio_view,
        commands,
        shutdown: shutdown.clone(),
        settings: shown_settings(&settings),
    };
    let api_settings = ApiSettings { tcp: settings.api_listen, ..ApiSettings::default() };
    let api = match api::start(core.handle.clone(), facts, api_settings).await {
        Ok(api) => api,
        Err(problem) => {
            shutdown.close();
            radio.stop().await;
            running.stop().await;
            core.stopped().await;
            return Err(api_failure(&problem, settings.api_listen));
        }
    };
    info!(socket = %settings.paths.socket_path.display(), "ready");
    tokio::select! {
        () = shutdown.draining() => info!("asked to stop"),
        signal = signals.next() => info!(?signal, "stopping"),
    }
    shutdown.drain();
    api.stop().await;
    if settings.relay.is_none() {
        // A relay writes down nobody's address.
        remember_peers(&spool, &net.borrow());
    }
    radio.stop().await;
    running.stop().await;
    shutdown.close();
    core.stopped().await;
    if let Err(problem) = spool.flush() {
        warn!(%problem, "the spool was not flushed");
    }
    Ok(())
}

/// Vault, database, spool and engine.
fn open(settings: &NodeSettings) -> anyhow::Result<(Opened, Arc<dyn Spool>)> {
    let data_dir = &settings.paths.data_dir;
    let vault = Vault::open_or_create(data_dir, settings.unlock.clone()).map_err(|problem| vault_failure(&problem))?;
    let mut db = Database::open(data_dir, vault.key()).map_err(|problem| storage_failure(&problem))?;
    let spool = open_spool(data_dir);
    db.use_spool(spool.clone());
    let opened = Opened::open(db).map_err(|problem| anyhow!("the database cannot be read: {problem}"))?;
    Ok((opened, spool))
}

/// What is in the spool is only helpful: a node without one starts all the same.
fn open_spool(data_dir: &Path) -> Arc<dyn Spool> {
    let opened = match SledSpool::open(&data_dir.join("spool"), NODE_SPOOL_BYTES_MAX) {
        Ok(opened) => opened,
        Err(problem) => {
            warn!(%problem, "the spool cannot be opened; this run keeps its records in memory");
            return Arc::new(MemorySpool::new(NODE_SPOOL_BYTES_MAX));
        }
    };
    if let crate::spool::SpoolOpened::SetAside { path, reason, .. } = &opened {
        warn!(aside = %path.display(), %reason, "the spool was damaged; it was set aside and an empty one started");
    }
    Arc::new(opened.into_spool())
}

/// The account on the first start, the relay role on every one; gives the seed of a stable transport key, if one is wanted.
fn prepare(opened: &mut Opened, settings: &NodeSettings) -> anyhow::Result<Option<[u8; 32]>> {
    match opened.request(Request::CreateAccount { name: settings.name.clone() }) {
        Ok(_) | Err(CoreError::Request(RequestError::AccountExists)) => {}
        Err(problem) => return Err(name_failure(&problem)),
    }
    let limits = settings.relay.map(|role| RelayLimits {
        retention_days: role.retention_days,
        queue_envelopes_max: QUEUE_ENVELOPES_MAX,
        queue_kib_max: QUEUE_KIB_MAX,
        total_mib_max: role.total_mib,
    });
    opened.request(Request::RelayServe { limits }).map_err(|problem| anyhow!("{problem}"))?;
    Ok(settings.relay.map(|_| opened.engine().relay_seed()))
}

async fn start_transport(settings: &NodeSettings, seed: Option<[u8; 32]>) -> anyhow::Result<internet::Internet> {
    let relay = seed.is_some();
    let identity_seed = seed.or_else(|| {
        let mut disposable = [0; 32];
        rand::rng().fill_bytes(&mut disposable);
        Some(disposable)
    });
    let internet = InternetSettings {
        identity_seed,
        listen: with_remembered_ports(settings),
        mdns: settings.mdns,
        upnp: settings.upnp,
        relay_server: relay,
        validate: |key, value, now_s| presence::validate(key, value, now_s).ok().map(|valid| valid.seq),
        ..InternetSettings::default()
    };
    internet::start(internet).await.map_err(|problem| {
        StartFailure {
            class: StartFailureClass::Setting,
            what: "the node cannot listen".to_owned(),
            why: problem.to_string(),
            hint: "choose other addresses: silbo up --listen /ip4/0.0.0.0/udp/0/quic-v1".to_owned(),
        }
        .into()
    })
}

/// A relay's address is written down by others: where any port would do, it takes the one it had before.
fn with_remembered_ports(settings: &NodeSettings) -> Vec<String> {
    if settings.relay.is_none() {
        return settings.listen.clone();
    }
    let known = std::fs::read_to_string(settings.paths.data_dir.join(PORTS_FILE)).unwrap_or_default();
    let ports: BTreeMap<&str, &str> = known.lines().filter_map(|line| line.split_once(' ')).collect();
    settings
        .listen
        .iter()
        .map(|wanted| ports.get(wanted.as_str()).map_or(wanted.clone(), |&was| was.to_owned()))
        .collect()
}

fn remember_ports(settings: &NodeSettings, net: &NetSnapshot) {
    if settings.relay.is_none() {
        return;
    }
    let mut lines = String::new();
    for wanted in settings.listen.iter().filter(|wanted| wanted.contains("/udp/0") || wanted.contains("/tcp/0")) {
        let kind = if wanted.contains("/udp/0") { "/udp/" } else { "/tcp/" };
        let port = net.listen.iter().find_map(|bound| {
            let (_, rest) = bound.split_once(kind)?;
            rest.split('/').next().filter(|port| *port != "0")
        });
        if let Some(port) = port {
            let fixed = wanted.replacen(&format!("{kind}0"), &format!("{kind}{port}"), 1);
            lines.push_str(&format!("{wanted} {fixed}\n"));
        }
    }
    let path = settings.paths.data_dir.join(PORTS_FILE);
    if let Err(problem) = atomic_file::replace(&path, lines.as_bytes(), 0o600) {
        warn!(%problem, "the relay's ports were not remembered");
    }
}

async fn use_configured_relays(core: &Core, settings: &NodeSettings) {
    for text in &settings.relays {
        match parse_multiaddr_with_peer(text) {
            Ok(address) => {
                let handle = core.handle.clone();
                // The reply waits for the relay; the start does not.
                tokio::spawn(async move { handle.request(Request::RelayAdd { address }).await });
            }
            Err(problem) => warn!(%problem, "a relay of the configuration is not a multiaddr with /p2p/"),
        }
    }
}

/// Peers that were there when the node stopped are worth a try when nothing else is known.
fn remember_peers(spool: &Arc<dyn Spool>, net: &NetSnapshot) {
    let cache = PeerCache::new(spool.clone());
    let now = core::now().unix;
    for peer in &net.peers {
        let addrs = peer
            .addrs
            .iter()
            .filter_map(|text| {
                parse_multiaddr_with_peer(&format!(
                    "{}/p2p/{}",
                    text.split("/p2p/").next()?,
                    internet::peer_text(&peer.peer)
                ))
                .ok()?
                .addrs
                .pop()
            })
            .collect();
        let address = silbo_protocol::ids::PeerAddress { peer: peer.peer.clone(), addrs };
        if let Err(problem) = cache.remember(&address, true, now) {
            warn!(%problem, "a peer was not remembered");
        }
    }
}

/// The few peers that answered most often.
fn remembered_peers(spool: &Arc<dyn Spool>) -> Vec<silbo_protocol::ids::PeerAddress> {
    const DIALLED: usize = 4;
    let cache = PeerCache::new(spool.clone());
    let best = cache.best(DIALLED, core::now().unix).unwrap_or_default();
    best.into_iter().map(|peer| peer.address).collect()
}

fn shown_settings(settings: &NodeSettings) -> BTreeMap<String, Value> {
    BTreeMap::from([
        ("transports.listen".to_owned(), Value::from(settings.listen.clone())),
        ("transports.mdns".to_owned(), Value::from(settings.mdns)),
        ("transports.upnp".to_owned(), Value::from(settings.upnp)),
        ("transports.bluetooth".to_owned(), Value::from(settings.bluetooth)),
        ("transports.wifi_direct".to_owned(), Value::from(settings.wifi_direct)),
        ("relays.serve".to_owned(), Value::from(settings.relay.is_some())),
    ])
}

fn name_failure(problem: &CoreError) -> anyhow::Error {
    StartFailure {
        class: StartFailureClass::Setting,
        what: "the profile cannot be made".to_owned(),
        why: problem.to_string(),
        hint: "choose a name of 1 to 64 bytes: silbo up --name Ada".to_owned(),
    }
    .into()
}

fn vault_failure(problem: &VaultError) -> anyhow::Error {
    let class = if problem.class() == 8 { StartFailureClass::Locked } else { StartFailureClass::Internal };
    StartFailure {
        class,
        what: "the database key cannot be had".to_owned(),
        why: problem.to_string(),
        hint: "give the passphrase of this profile: silbo up --passphrase-file FILE".to_owned(),
    }
    .into()
}

fn storage_failure(problem: &StorageError) -> anyhow::Error {
    let (class, hint) = match problem {
        StorageError::InUse { .. } => (StartFailureClass::AlreadyRunning, "silbo status; or stop it: silbo down"),
        StorageError::WrongKey => (StartFailureClass::Locked, "silbo up --passphrase-file FILE"),
        StorageError::Newer { .. } => {
            (StartFailureClass::Version, "update silbo to the version that wrote this profile")
        }
        StorageError::Full => (StartFailureClass::Internal, "free some space on the disk, then: silbo up"),
        _ => (StartFailureClass::Internal, "silbo doctor"),
    };
    StartFailure {
        class,
        what: "the databases cannot be opened".to_owned(),
        why: problem.to_string(),
        hint: hint.to_owned(),
    }
    .into()
}

fn api_failure(problem: &api::StartError, tcp: Option<SocketAddr>) -> anyhow::Error {
    let hint = match tcp {
        Some(_) => "choose another port: silbo up --api-listen 127.0.0.1:0",
        None => "silbo paths shows where the socket is; is the folder writable?",
    };
    let why = std::iter::successors(Some(problem as &dyn std::error::Error), |e| e.source()).map(ToString::to_string);
    let why = why.collect::<Vec<_>>().join(": ");
    StartFailure {
        class: StartFailureClass::Setting,
        what: "the API cannot be served".to_owned(),
        why,
        hint: hint.to_owned(),
    }
    .into()
}
