//! `system.*`, `settings.*`, `rpc.discover`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use silbo_protocol::input::Request;
use silbo_protocol::step::{Reply, StatusView};
use silbo_transports::bluetooth::BluetoothState;
use silbo_transports::internet::NetSnapshot;

use super::{mesh, net, relay, unexpected};
use crate::api::error::{ApiError, ErrorKind};
use crate::api::types::{
    Check, Checks, DatabaseSize, Done, Nothing, PathList, SettingValues, SettingsGet, SettingsSet, Status,
    TransportsInUse, Version,
};
use crate::api::{API_VERSION, Api, convert};

const READ_RECEIPTS: &str = "privacy.read_receipts";
const TYPING: &str = "privacy.typing";

pub(super) async fn version(_api: Arc<Api>, _: Nothing) -> Result<Version, ApiError> {
    Ok(Version { version: env!("CARGO_PKG_VERSION").to_owned(), api: API_VERSION })
}

pub(super) async fn discover(_api: Arc<Api>, _: Nothing) -> Result<Value, ApiError> {
    Ok(crate::api::schema())
}

pub(super) async fn status(api: Arc<Api>, _: Nothing) -> Result<Status, ApiError> {
    let status = core_status(&api).await?;
    let relay = relay::own_status(&api).await?;
    let mesh = match status.me {
        Some(_) => Some(convert::mesh(mesh::own_status(&api).await?)),
        None => None,
    };
    let bytes = api.core.read(|db| db.file_bytes()).await?.total();
    let net = api.facts.net.borrow().clone();
    Ok(Status {
        name: status.me.as_ref().map(|me| me.name.clone()),
        account: status.me.as_ref().map(|me| me.account.full()),
        id: status.me.as_ref().map(|me| me.chat.full()),
        address: best_address(&net),
        pid: api.facts.pid,
        started_at: api.facts.started_at,
        transports: transports(&net),
        peers: u32::try_from(net.peers.len()).unwrap_or(u32::MAX),
        nat: net::nat(&net).to_owned(),
        listen: net.listen,
        contacts: status.contacts,
        online: status.online,
        requests: status.requests,
        queued: status.queued,
        relays: status.relays.into_iter().map(convert::relay).collect(),
        relay: relay.serving.then_some(relay),
        mesh,
        database: DatabaseSize { bytes },
    })
}

async fn core_status(api: &Api) -> Result<StatusView, ApiError> {
    match api.core.request(Request::Status).await? {
        Reply::Status(status) => Ok(status),
        _ => Err(unexpected("Status")),
    }
}

fn transports(net: &NetSnapshot) -> TransportsInUse {
    TransportsInUse {
        quic: net::listens(net, "/quic-v1"),
        tcp: net::listens(net, "/tcp/"),
        mdns: net.mdns,
        circuit: !net.circuits.is_empty(),
    }
}

/// What others would dial first: seen from outside, else a relay's circuit, else on the local network.
fn best_address(net: &NetSnapshot) -> Option<String> {
    net::own_addresses(net).into_iter().next()
}

pub(super) async fn paths(api: Arc<Api>, _: Nothing) -> Result<PathList, ApiError> {
    let paths = &api.facts.paths;
    let text = |path: &std::path::Path| path.display().to_string();
    Ok(PathList {
        home: paths.home.as_deref().map(text),
        data: text(&paths.data_dir),
        config: text(&paths.config_path),
        state: text(&paths.state_dir),
        socket: text(&paths.socket_path),
        token: text(&paths.token_path),
        log: text(&paths.log_path),
    })
}

pub(super) async fn doctor(api: Arc<Api>, _: Nothing) -> Result<Checks, ApiError> {
    let mut checks = Vec::new();
    let mut check = |name: &str, ok: bool, detail: String, hint: &str| {
        let hint = (!ok).then(|| hint.to_owned());
        checks.push(Check { name: name.to_owned(), ok, detail, hint });
    };
    let integrity = api.core.read(|db| db.integrity_check()).await;
    let detail = match &integrity {
        Ok(()) => "the database is whole".to_owned(),
        Err(error) => {
            ApiError::from(error.clone()).data.why.unwrap_or_else(|| "the database cannot be read".to_owned())
        }
    };
    check("database", integrity.is_ok(), detail, "restore a backup, and check the disk");
    let status = core_status(&api).await?;
    let account = status.me.as_ref().map_or("there is no account yet".to_owned(), |_| "there is an account".to_owned());
    check("account", status.me.is_some(), account, "silbo up --name NAME");
    let net = api.facts.net.borrow().clone();
    let listening = format!("{} addresses", net.listen.len());
    check("listening", !net.listen.is_empty(), listening, "another program may use the port; see `silbo config`");
    let reachable = net::own_addresses(&net).len();
    let found = !net.external.is_empty() || !net.circuits.is_empty();
    check(
        "reachable",
        found,
        format!("NAT: {}, addresses for others: {reachable}", net::nat(&net)),
        "add a relay, or forward the port: `silbo relay add ADDRESS`",
    );
    let connected = status.relays.iter().filter(|relay| relay.connected).count();
    let relays = format!("{connected} of {} relays are connected", status.relays.len());
    check("relays", connected > 0, relays, "messages wait here until both sides are online; `silbo relay add ADDRESS`");
    let (radio_ok, radio, hint) = match &api.facts.radio.bluetooth.borrow().state {
        BluetoothState::Starting => (true, "it is starting".to_owned(), None),
        BluetoothState::On => (true, "it is on".to_owned(), None),
        BluetoothState::Off(off) => {
            let hint = convert::radio_hint(off.cause);
            (hint.is_none(), off.why.clone(), hint)
        }
    };
    check("bluetooth", radio_ok, radio, hint.unwrap_or_default());
    let queue = format!("{} messages wait", status.queued);
    check("queue", status.queued < QUEUE_WORTH_A_LOOK, queue, "silbo net check");
    Ok(Checks { checks })
}

/// So many waiting messages are more than a friend on holiday.
const QUEUE_WORTH_A_LOOK: u32 = 1_000;

pub(super) async fn shutdown(api: Arc<Api>, _: Nothing) -> Result<Done, ApiError> {
    tracing::info!("stopping because a caller of the API asked for it");
    api.facts.shutdown.drain();
    Ok(Done {})
}

pub(super) async fn settings_get(api: Arc<Api>, params: SettingsGet) -> Result<SettingValues, ApiError> {
    let mut values = all_settings(&api).await?;
    if let Some(key) = params.key {
        let value = values.remove(&key).ok_or_else(|| unknown_setting(&key))?;
        values = BTreeMap::from([(key, value)]);
    }
    Ok(SettingValues { values })
}

pub(super) async fn settings_set(api: Arc<Api>, params: SettingsSet) -> Result<SettingValues, ApiError> {
    let on = params.value.as_bool();
    let on = Some(on.ok_or_else(|| ApiError::invalid("value", "true or false"))?);
    let (read_receipts, typing) = match params.key.as_str() {
        READ_RECEIPTS => (on, None),
        TYPING => (None, on),
        key if api.facts.settings.contains_key(key) => {
            return Err(ApiError::invalid("key", "this setting lives in the configuration file")
                .hint("change it in config.toml and start the node again"));
        }
        key => return Err(unknown_setting(key)),
    };
    api.core.request(Request::SetPrivacy { read_receipts, typing }).await?;
    Ok(SettingValues { values: all_settings(&api).await? })
}

async fn all_settings(api: &Api) -> Result<BTreeMap<String, Value>, ApiError> {
    let mut values = api.facts.settings.clone();
    let me = api.me().await?;
    values.insert(READ_RECEIPTS.to_owned(), Value::Bool(me.read_receipts));
    values.insert(TYPING.to_owned(), Value::Bool(me.typing));
    Ok(values)
}

fn unknown_setting(key: &str) -> ApiError {
    ApiError::new(ErrorKind::NotFound, format!("there is no setting {key:?}"))
        .field("key")
        .hint("`silbo config` lists the settings")
}
