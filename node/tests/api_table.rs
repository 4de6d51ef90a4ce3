//! The method table over a real core and a real database, by every carrier. The network is a pair of channels.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use silbo_node::api::{self, ApiLimits, ApiSettings, InProcess, NodeFacts, Running};
use silbo_node::core::{Core, Medium, Opened};
use silbo_node::paths::{PathChoices, Paths};
use silbo_node::radio::RadioView;
use silbo_node::shutdown::Shutdown;
use silbo_node::storage::Database;
use silbo_node::vault::DatabaseKey;
use silbo_protocol::ids::PeerKey;
use silbo_protocol::input::Request;
use silbo_transports::internet::{NatStatus, NetSnapshot};
use silbo_transports::{LinkCommand, LinkEvent};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_util::sync::CancellationToken;

/// A node without a network.
struct Node {
    running: Running,
    caller: InProcess,
    core: Core,
    shutdown: Shutdown,
    paths: Paths,
    _net: watch::Sender<NetSnapshot>,
    links: (mpsc::Sender<LinkEvent>, mpsc::Receiver<LinkCommand>),
    _folder: tempfile::TempDir,
}

impl Node {
    async fn start() -> Node {
        Node::with(ApiLimits { stop_grace: Duration::from_millis(300), ..ApiLimits::default() }).await
    }

    async fn with(limits: ApiLimits) -> Node {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let choices = PathChoices { home: Some(folder.path().to_owned()), ..PathChoices::default() };
        let paths = Paths::choose(&choices).expect("paths");
        paths.create_folders().expect("folders");
        let db = Database::open(&paths.data_dir, &DatabaseKey::random().expect("a key")).expect("a database");
        let mut opened = Opened::open(db).expect("an engine");
        opened.request(Request::CreateAccount { name: "Ada".to_owned() }).expect("an account");
        let (events_in, events) = mpsc::channel(16);
        let (commands, commands_out) = mpsc::channel(256);
        let shutdown = Shutdown::new();
        let medium = Medium { events, commands: commands.clone(), radio: None, wifi_direct: None };
        let core = Core::start(opened, medium, shutdown.clone()).expect("a thread");
        let (net_in, net) = watch::channel(snapshot());
        let facts = NodeFacts {
            paths: paths.clone(),
            started_at: 1,
            pid: std::process::id(),
            net,
            radio: RadioView::off("Bluetooth is off"),
            commands,
            shutdown: shutdown.clone(),
            settings: BTreeMap::from([("network.mdns".to_owned(), json!(true))]),
        };
        let tcp = Some("127.0.0.1:0".parse().expect("an address"));
        let settings = ApiSettings { tcp, limits, ..ApiSettings::default() };
        let running = api::start(core.handle.clone(), facts, settings).await.expect("the API");
        let caller = running.in_process();
        Node { caller, running, core, shutdown, paths, _net: net_in, links: (events_in, commands_out), _folder: folder }
    }

    async fn call(&self, method: &str, params: Value) -> Result<Value, Value> {
        let document = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = self.caller.call(document.to_string().as_bytes()).await;
        let mut answer: Value = serde_json::from_slice(&answer).expect("JSON");
        match answer.get_mut("result") {
            Some(result) => Ok(result.take()),
            None => Err(answer["error"].take()),
        }
    }

    async fn ok(&self, method: &str, params: Value) -> Value {
        match self.call(method, params.clone()).await {
            Ok(result) => result,
            Err(error) => panic!("{method} {params}: {error}"),
        }
    }

    async fn refused(&self, method: &str, params: Value, kind: &str) -> Value {
        let error = self.call(method, params.clone()).await.expect_err("it must be refused");
        assert_eq!(error["data"]["kind"], kind, "{method} {params}: {error}");
        error
    }

    async fn note(&self, body: &str) -> String {
        self.ok("message.send", json!({ "chat": "me", "body": body })).await["id"].as_str().expect("an id").to_owned()
    }

    fn main_token(&self) -> String {
        std::fs::read_to_string(&self.paths.token_path).expect("the token file").trim().to_owned()
    }

    /// One HTTP exchange over TCP with this token.
    async fn http(&self, line: &str, token: &str, more: &str, body: &str) -> String {
        let address = self.running.tcp_address().expect("TCP is served");
        let mut stream = TcpStream::connect(address).await.expect("connect");
        let head = format!(
            "{line} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n{more}\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.expect("write");
        stream.write_all(body.as_bytes()).await.expect("write");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    }

    async fn stop(self) {
        self.caller.stop().await;
        self.running.stop().await;
        self.shutdown.drain();
        self.shutdown.close();
        self.core.stopped().await;
        assert!(!self.paths.socket_path.exists());
    }
}

fn snapshot() -> NetSnapshot {
    NetSnapshot {
        local: PeerKey(vec![1]),
        peer_id: "12D3KooWTest".to_owned(),
        listen: vec!["/ip4/127.0.0.1/udp/4001/quic-v1".to_owned(), "/ip4/192.0.2.1/tcp/4001".to_owned()],
        external: Vec::new(),
        circuits: Vec::new(),
        nat: NatStatus::Unknown,
        upnp: false,
        mdns: true,
        dht_peers: 0,
        dht_server: false,
        peers: Vec::new(),
    }
}

#[tokio::test]
async fn a_note_is_written_changed_found_and_deleted() {
    let node = Node::start().await;
    let sent = node.ok("message.send", json!({ "chat": "me", "body": "buy bread", "clientId": "shop-1" })).await;
    assert_eq!(sent["state"], "note");
    let again = node.ok("message.send", json!({ "chat": "me", "body": "something else", "clientId": "shop-1" })).await;
    assert_eq!(again["id"], sent["id"], "the same clientId is the same message");
    let id = sent["id"].as_str().expect("an id");
    node.ok("message.edit", json!({ "id": id, "body": "buy rye bread" })).await;
    node.ok("message.react", json!({ "id": id, "emoji": "👍" })).await;
    let shown = node.ok("message.show", json!({ "id": id })).await;
    assert_eq!(shown["body"], "buy rye bread");
    assert_eq!(shown["edits"][0]["body"], "buy bread");
    assert_eq!(shown["from"], "me");
    assert_eq!(shown["reactions"], json!([{ "from": "me", "emoji": "👍" }]));
    let found = node.ok("search.find", json!({ "query": "rye", "chat": "me" })).await;
    assert_eq!(found["items"][0]["id"], sent["id"]);
    let waited = node.ok("message.wait", json!({ "id": id, "state": "read", "timeoutMs": 1 })).await;
    assert_eq!(waited["state"], "note", "there is nothing to wait for");
    node.ok("message.trace", json!({ "id": id })).await;
    assert_eq!(node.ok("message.delete", json!({ "ids": [id] })).await["count"], 1);
    let left = node.ok("history.list", json!({ "chat": "me" })).await;
    assert_eq!(left["items"], json!([]));
    node.stop().await;
}

#[tokio::test]
async fn history_is_paged_upwards_without_holes() {
    let node = Node::start().await;
    for number in 0..7 {
        node.note(&format!("note {number}")).await;
    }
    let bodies = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().expect("items");
        items.iter().map(|item| item["body"].as_str().expect("a text").to_owned()).collect()
    };
    let last = node.ok("history.list", json!({ "chat": "me", "limit": 3 })).await;
    assert_eq!(bodies(&last), ["note 4", "note 5", "note 6"]);
    let middle = node.ok("history.list", json!({ "chat": "me", "limit": 3, "before": last["next"] })).await;
    assert_eq!(bodies(&middle), ["note 1", "note 2", "note 3"]);
    let first = node.ok("history.list", json!({ "chat": "me", "limit": 3, "before": middle["next"] })).await;
    assert_eq!(bodies(&first), ["note 0"]);
    assert!(first.get("next").is_none(), "nothing above");
    node.refused("history.list", json!({ "chat": "me", "limit": 201 }), "invalid_params").await;
    node.stop().await;
}

#[tokio::test]
async fn every_reading_method_answers_on_a_fresh_node() {
    let node = Node::start().await;
    let me = node.ok("profile.show", json!({})).await;
    assert_eq!(me["name"], "Ada");
    for method in [
        "system.version",
        "system.status",
        "system.paths",
        "system.doctor",
        "rpc.discover",
        "invite.list",
        "contact.list",
        "group.list",
        "relay.list",
        "relay.status",
        "mesh.status",
        "mesh.radio",
        "net.peers",
        "net.check",
        "settings.get",
        "events.list",
        "token.list",
    ] {
        node.ok(method, json!({})).await;
    }
    let status = node.ok("system.status", json!({})).await;
    assert_eq!(status["name"], "Ada");
    assert_eq!(status["id"], me["id"]);
    assert_eq!(status["transports"], json!({ "quic": true, "tcp": true, "mdns": true, "circuit": false }));
    assert_eq!(status["address"], "/ip4/192.0.2.1/tcp/4001/p2p/12D3KooWTest");
    assert_eq!(node.ok("profile.words", json!({})).await["words"].as_array().map(Vec::len), Some(12));
    assert_eq!(node.ok("rpc.discover", json!({})).await, api::schema());
    node.stop().await;
}

#[tokio::test]
async fn what_is_changed_is_shown_changed() {
    let node = Node::start().await;
    let me = node.ok("profile.set", json!({ "name": "Ada L.", "status": "here", "avatar": "AQID" })).await;
    assert_eq!((&me["name"], &me["status"], &me["avatar"]), (&json!("Ada L."), &json!("here"), &json!("AQID")));
    let values = node.ok("settings.set", json!({ "key": "privacy.typing", "value": false })).await;
    assert_eq!(values["values"]["privacy.typing"], false);
    assert_eq!(
        node.ok("settings.get", json!({ "key": "network.mdns" })).await["values"],
        json!({ "network.mdns": true })
    );
    let invite = node.ok("invite.create", json!({})).await;
    assert_eq!(invite["kind"], "oneTime");
    assert_eq!(node.ok("invite.list", json!({})).await["items"][0]["id"], invite["id"]);
    node.ok("invite.revoke", json!({ "id": invite["id"] })).await;
    assert_eq!(node.ok("invite.list", json!({})).await["items"], json!([]));
    let address = "/ip4/192.0.2.7/udp/4001/quic-v1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    let relay = node.ok("relay.add", json!({ "address": address })).await;
    assert_eq!(relay["address"], address);
    assert_eq!(relay["own"], true);
    node.ok("relay.remove", json!({ "peer": relay["peer"] })).await;
    let relays = node.ok("relay.list", json!({})).await;
    let ours = relays["items"].as_array().expect("items").iter().filter(|relay| relay["own"] == true).count();
    assert_eq!(ours, 0, "{relays}");
    assert_eq!(node.ok("retention.show", json!({ "chat": "me" })).await["seconds"], 0);
    node.ok("retention.set", json!({ "chat": "me", "seconds": 86_400 })).await;
    assert_eq!(node.ok("retention.show", json!({ "chat": "me" })).await["seconds"], 86_400);
    node.stop().await;
}

#[tokio::test]
async fn the_willingness_to_carry_is_set_kept_within_bounds_and_shown() {
    let mut node = Node::start().await;
    let status = node.ok("mesh.status", json!({})).await;
    assert_eq!((&status["enabled"], &status["power"]), (&json!(true), &json!("performance")));
    assert_eq!((&status["maxEnvelopes"], &status["maxBytes"]), (&json!(100_000), &json!(64 << 20)));
    let saver = node.ok("mesh.set", json!({ "power": "saver" })).await;
    assert_eq!((&saver["maxEnvelopes"], &saver["maxBytes"]), (&json!(2_000), &json!(2 << 20)));
    let own = node.ok("mesh.set", json!({ "enabled": false, "maxEnvelopes": 7 })).await;
    assert_eq!((&own["enabled"], &own["power"], &own["maxBytes"]), (&json!(false), &json!(null), &json!(2 << 20)));
    assert_eq!(node.ok("system.status", json!({})).await["mesh"], own);
    let bad = [
        ("maxBytes", json!({ "maxBytes": (64 << 20) + 1 })),
        ("maxEnvelopes", json!({ "maxEnvelopes": 0 })),
        ("power", json!({ "power": "saver", "maxEnvelopes": 7 })),
    ];
    for (field, params) in bad {
        assert_eq!(node.refused("mesh.set", params, "invalid_params").await["data"]["field"], field);
    }
    node.refused("mesh.set", json!({ "power": "turbo" }), "invalid_params").await;
    assert_eq!(node.ok("mesh.set", json!({ "autoCarriers": 3 })).await["autoCarriers"], 3);
    node.refused("mesh.appoint", json!({ "contact": "Zoe", "on": true }), "not_found").await;
    node.ok("mesh.announce", json!({})).await;
    assert_eq!(node.links.1.recv().await, Some(LinkCommand::LookAround));
    node.stop().await;
}

#[tokio::test]
async fn a_bag_is_packed_and_opened_and_a_damaged_one_is_refused_with_advice() {
    let node = Node::start().await;
    let packed = node.ok("message.pack", json!({})).await;
    assert_eq!((&packed["own"], &packed["carried"], &packed["leftOut"]), (&json!(0), &json!(0), &json!(0)));
    let nothing = json!({ "forMe": 0, "carried": 0, "vaccines": 0, "refused": 0 });
    assert_eq!(node.ok("message.unpack", json!({ "bag": packed["bag"] })).await, nothing);
    assert_eq!(node.ok("message.unpack", json!({ "bag": packed["text"] })).await, nothing);
    let text = packed["text"].as_str().expect("a small bag has a text");
    let damaged = [text[..text.len() - 1].to_owned(), "AAAA".to_owned(), "SILBO:B/!".to_owned(), "ü".to_owned()];
    for bag in damaged {
        let error = node.refused("message.unpack", json!({ "bag": bag }), "invalid_params").await;
        assert!(error["data"]["hint"].is_string() && error["data"]["field"] == "bag", "{bag}: {error}");
    }
    node.refused("message.pack", json!({ "maxBytes": 1_023 }), "invalid_params").await;
    node.refused("message.pack", json!({ "maxBytes": (512 << 10) + 1 }), "invalid_params").await;
    node.refused("message.pack", json!({ "chat": "Zoe" }), "not_found").await;
    node.refused("message.send", json!({ "chat": "me", "body": "x", "ttlS": 5 }), "invalid_params").await;
    node.stop().await;
}

#[tokio::test]
async fn groups_are_asked_for_by_name_and_refused_with_the_field_at_fault() {
    let node = Node::start().await;
    assert_eq!(node.ok("group.list", json!({})).await["items"], json!([]));
    for (method, params) in [
        ("group.get", json!({ "group": "#climbing" })),
        ("group.set", json!({ "group": "#climbing", "topic": "ropes" })),
        ("group.remove", json!({ "group": "climbing", "members": ["bob"] })),
        ("group.setRole", json!({ "group": "#climbing", "member": "bob", "role": "admin" })),
        ("group.mute", json!({ "group": "#climbing", "member": "bob", "seconds": 60 })),
        ("group.leave", json!({ "group": "#climbing" })),
        ("group.invite", json!({ "group": "#climbing" })),
        ("group.revokeLink", json!({ "group": "#climbing", "link": "x" })),
        ("group.decide", json!({ "group": "#climbing", "member": "bob", "accept": true })),
    ] {
        let error = node.refused(method, params, "not_found").await;
        assert_eq!((&error["code"], &error["data"]["field"]), (&json!(-32_004), &json!("group")), "{method}: {error}");
        assert!(error["data"]["hint"].is_string(), "{method}");
    }
    for (method, params) in [
        ("message.send", json!({ "chat": "#climbing", "body": "hi" })),
        ("history.list", json!({ "chat": "#climbing" })),
        ("retention.show", json!({ "chat": "#climbing" })),
    ] {
        assert_eq!(node.refused(method, params, "not_found").await["data"]["field"], "chat", "{method}");
    }
    for (field, method, params) in [
        ("name", "group.create", json!({ "name": "#" })),
        ("topic", "group.create", json!({ "name": "climbing", "topic": "x".repeat(513) })),
        ("members", "group.create", json!({ "name": "climbing", "members": ["me"] })),
        ("members", "group.create", json!({ "name": "climbing", "members": ["#climbing"] })),
        ("members", "group.add", json!({ "group": "#climbing", "members": [] })),
        ("uses", "group.invite", json!({ "group": "#climbing", "uses": 0 })),
        ("avatar", "group.set", json!({ "group": "#climbing", "avatar": "not base64!" })),
        ("contact", "contact.show", json!({ "contact": "#climbing" })),
    ] {
        assert_eq!(node.refused(method, params, "invalid_params").await["data"]["field"], field, "{method}");
    }
    node.refused("group.set", json!({ "group": "#climbing" }), "invalid_params").await;
    node.refused("group.setRole", json!({ "group": "x", "member": "y", "role": "king" }), "invalid_params").await;
    node.refused("group.create", json!({ "name": "climbing", "members": ["Zoe"] }), "not_found").await;
    node.stop().await;
}

#[tokio::test]
async fn a_note_to_self_is_delivered_to_nobody() {
    let node = Node::start().await;
    let note = node.ok("message.send", json!({ "chat": "me", "body": "buy bread" })).await;
    let deliveries = node.ok("message.deliveries", json!({ "id": note["id"] })).await;
    assert_eq!((&deliveries["state"], &deliveries["members"]), (&json!("note"), &json!([])));
    let shown = node.ok("message.show", json!({ "id": note["id"] })).await;
    assert!(shown.get("author").is_none() && shown.get("partial").is_none(), "{shown}");
    node.refused("message.deliveries", json!({ "id": "zzz" }), "not_found").await;
    node.stop().await;
}

#[tokio::test]
async fn refusals_have_their_class_and_say_what_to_do() {
    let node = Node::start().await;
    let error = node.refused("contact.show", json!({ "contact": "Zoe" }), "not_found").await;
    assert_eq!(error["code"], -32_004);
    assert!(error["data"]["hint"].is_string());
    assert_eq!(node.refused("contact.show", json!({}), "invalid_params").await["data"]["field"], "contact");
    assert_eq!(node.refused("contact.show", json!(["Zoe"]), "invalid_params").await["code"], -32_002);
    node.refused("contact.show", json!({ "contact": "me" }), "invalid_params").await;
    node.refused("message.send", json!({ "chat": "me", "body": "" }), "invalid_params").await;
    node.refused("message.send", json!({ "chat": "me", "body": "x".repeat(64 * 1024 + 1) }), "limit").await;
    node.refused("message.show", json!({ "id": "zzz" }), "not_found").await;
    node.refused("message.wait", json!({ "id": "zzz", "state": "read", "timeoutMs": 0 }), "not_found").await;
    node.refused("contact.add", json!({ "link": "https://example.com/" }), "invalid_params").await;
    node.refused("relay.add", json!({ "address": "somewhere" }), "invalid_params").await;
    node.refused("settings.get", json!({ "key": "colour" }), "not_found").await;
    node.refused("settings.set", json!({ "key": "network.mdns", "value": false }), "invalid_params").await;
    node.refused("retention.set", json!({ "chat": "me", "seconds": 1 }), "invalid_params").await;
    node.refused("events.list", json!({ "consumer": "a b" }), "invalid_params").await;
    node.refused("token.create", json!({ "name": "x", "scopes": [] }), "invalid_params").await;
    let unknown = node.call("no.such", json!({})).await.expect_err("no such method");
    assert_eq!(unknown["code"], -32_601);
    node.stop().await;
}

#[tokio::test]
async fn a_consumer_reads_on_where_it_acknowledged() {
    let node = Node::start().await;
    node.note("one").await;
    node.note("two").await;
    let kinds = json!(["message.sent"]);
    let first = node.ok("events.list", json!({ "consumer": "bot", "kinds": kinds })).await;
    let bodies = |page: &Value| -> Vec<Value> {
        page["events"].as_array().expect("events").iter().map(|event| event["body"].clone()).collect()
    };
    assert_eq!(bodies(&first), ["one", "two"]);
    let again = node.ok("events.list", json!({ "consumer": "bot", "kinds": kinds })).await;
    assert_eq!(again["events"], first["events"], "listing does not move the cursor");
    node.ok("events.ack", json!({ "consumer": "bot", "seq": first["next"] })).await;
    node.note("three").await;
    let next = node.ok("events.list", json!({ "consumer": "bot", "kinds": kinds })).await;
    assert_eq!(bodies(&next), ["three"]);
    assert_eq!(next["epoch"], first["epoch"]);
    assert_eq!(next["events"][0]["name"], "Ada", "events with a chat say what it is called");
    node.stop().await;
}

#[tokio::test]
async fn a_subscription_replays_then_goes_live_and_ends_when_asked() {
    let node = Node::start().await;
    node.note("before").await;
    let params = json!({ "since": 0, "kinds": ["message.sent"] });
    let subscription = node.ok("events.subscribe", params).await;
    let next = async || -> Value {
        let notification = node.caller.notification().await.expect("a notification");
        let notification: Value = serde_json::from_slice(&notification).expect("JSON");
        assert_eq!(notification["method"], "event");
        assert_eq!(notification["params"]["subscription"], subscription);
        notification["params"]["result"].clone()
    };
    assert_eq!(next().await["body"], "before");
    node.note("after").await;
    let live = next().await;
    assert_eq!(live["body"], "after");
    assert!(live["seq"].is_u64());
    assert_eq!(node.ok("events.unsubscribe", json!({ "subscription": subscription })).await, true);
    assert_eq!(node.ok("events.unsubscribe", json!({ "subscription": subscription })).await, false);
    node.refused("events.subscribe", json!({ "chats": ["Zoe"] }), "not_found").await;
    node.stop().await;
}

#[tokio::test]
async fn a_token_may_what_its_scopes_say_until_it_is_revoked() {
    let node = Node::start().await;
    let made = node.ok("token.create", json!({ "name": "bot", "scopes": ["read"] })).await;
    let token = made["token"].as_str().expect("a token").to_owned();
    node.refused("token.create", json!({ "name": "bot", "scopes": ["read"] }), "invalid_params").await;
    let call = |method: &str, params: Value| {
        json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string()
    };
    let answer = node.http("POST /rpc", &token, "", &call("system.status", json!({}))).await;
    assert!(answer.contains("\"name\":\"Ada\""), "{answer}");
    let answer = node.http("POST /rpc", &token, "", &call("message.send", json!({ "chat": "me", "body": "x" }))).await;
    assert!(answer.contains("-32008") && answer.contains("forbidden"), "{answer}");
    let answer = node.http("GET /events?since=0", &token, "", "").await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    let listed = node.ok("token.list", json!({})).await;
    assert!(listed["items"][0]["lastUsedAt"].is_u64());
    assert!(!listed.to_string().contains(&token), "the token is shown once");
    node.ok("token.revoke", json!({ "name": "bot" })).await;
    let answer = node.http("POST /rpc", &token, "", &call("system.status", json!({}))).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    let main = node.main_token();
    let answer = node.http("POST /rpc", &main, "", &call("message.send", json!({ "chat": "me", "body": "x" }))).await;
    assert!(answer.contains("\"state\":\"note\""), "{answer}");
    node.stop().await;
}

#[tokio::test]
async fn the_event_stream_resumes_after_the_last_event_id() {
    let node = Node::start().await;
    node.note("one").await;
    node.note("two").await;
    let mut stream = UnixStream::connect(&node.paths.socket_path).await.expect("connect");
    let request = "GET /events?since=0&kinds=message.sent HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("write");
    let mut lines = BufReader::new(stream).lines();
    let mut next = async || -> (String, Value) {
        let mut id = String::new();
        loop {
            let line = lines.next_line().await.expect("read").expect("the stream goes on");
            if let Some(seq) = line.strip_prefix("id: ") {
                id = seq.to_owned();
            }
            if let Some(data) = line.strip_prefix("data: ") {
                return (id, serde_json::from_str(data).expect("JSON"));
            }
        }
    };
    let (seen, event) = next().await;
    assert_eq!(event["body"], "one");
    assert_eq!(event["seq"].to_string(), seen);
    assert_eq!(next().await.1["body"], "two");
    node.note("three").await;
    assert_eq!(next().await.1["body"], "three", "live");

    let mut stream = UnixStream::connect(&node.paths.socket_path).await.expect("connect");
    let request =
        format!("GET /events?since=0&kinds=message.sent HTTP/1.1\r\nhost: localhost\r\nlast-event-id: {seen}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("write");
    let mut lines = BufReader::new(stream).lines();
    let first = loop {
        let line = lines.next_line().await.expect("read").expect("the stream goes on");
        if let Some(data) = line.strip_prefix("data: ") {
            break serde_json::from_str::<Value>(data).expect("JSON");
        }
    };
    assert_eq!(first["body"], "two", "what was seen does not come again");
    node.stop().await;
}

#[tokio::test]
async fn a_ticket_leads_a_browser_in_over_a_web_socket() {
    let node = Node::start().await;
    let ticket = node.ok("auth.ticket", json!({})).await;
    let url = ticket["url"].as_str().expect("TCP is served");
    let address = node.running.tcp_address().expect("TCP is served");
    assert!(url.starts_with(&format!("http://{address}/#ticket=")), "{url}");
    let body = json!({ "ticket": ticket["ticket"] }).to_string();
    let mut stream = TcpStream::connect(address).await.expect("connect");
    let head = format!(
        "POST /auth HTTP/1.1\r\nhost: {address}\r\norigin: http://{address}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("write");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie");
    let cookie = cookie.split(';').next().expect("a pair");

    let mut request = format!("ws://{address}/rpc").into_client_request().expect("a request");
    request.headers_mut().insert("origin", format!("http://{address}").parse().expect("a value"));
    request.headers_mut().insert("cookie", cookie.parse().expect("a value"));
    let stream = TcpStream::connect(address).await.expect("connect");
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.expect("the session is known");
    let subscribe =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "events.subscribe", "params": { "kinds": ["message.sent"] } });
    socket.send(subscribe.to_string().into()).await.expect("send");
    let answer = socket.next().await.expect("an answer").expect("a message");
    assert!(answer.to_text().expect("text").contains("\"result\":"), "{answer}");
    node.note("hello page").await;
    let event = socket.next().await.expect("an event").expect("a message");
    assert!(event.to_text().expect("text").contains("hello page"), "{event}");
    node.stop().await;
    while let Some(Ok(_)) = socket.next().await {}
}

#[tokio::test]
async fn lines_over_pipes_bring_answers_and_notifications() {
    let node = Node::start().await;
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let (read, write) = tokio::io::split(theirs);
    let serving = node.running.serve_stdio(read, write, CancellationToken::new());
    let talking = async {
        let (read, mut write) = tokio::io::split(ours);
        let mut lines = BufReader::new(read).lines();
        let batch = json!([
            { "jsonrpc": "2.0", "id": 1, "method": "system.version" },
            { "jsonrpc": "2.0", "id": 2, "method": "profile.show" },
            { "jsonrpc": "2.0", "method": "system.version" },
        ]);
        write.write_all(format!("{batch}\n\n").as_bytes()).await.expect("write");
        let answers: Value =
            serde_json::from_str(&lines.next_line().await.expect("read").expect("a line")).expect("JSON");
        assert_eq!(answers.as_array().map(Vec::len), Some(2), "a notification has no answer");
        assert_eq!(answers[1]["result"]["name"], "Ada");
        let subscribe =
            json!({ "jsonrpc": "2.0", "id": 3, "method": "events.subscribe", "params": { "kinds": ["message.sent"] } });
        write.write_all(format!("{subscribe}\n").as_bytes()).await.expect("write");
        lines.next_line().await.expect("read").expect("the number of the subscription");
        node.note("hello pipe").await;
        let event = lines.next_line().await.expect("read").expect("a line");
        assert!(event.contains("hello pipe"), "{event}");
        write.write_all(b"nonsense\n").await.expect("write");
        let error: Value =
            serde_json::from_str(&lines.next_line().await.expect("read").expect("a line")).expect("JSON");
        assert_eq!(error["error"]["code"], -32_700);
        write.shutdown().await.expect("the input ends");
    };
    let (served, ()) = tokio::join!(serving, talking);
    served.expect("the end of the input is no error");
    node.stop().await;
}

#[tokio::test]
async fn t62_a_caller_that_asks_too_fast_is_told_when_to_come_back() {
    let node = Node::with(ApiLimits { calls_burst: 3, calls_per_second: 1, ..ApiLimits::default() }).await;
    for _ in 0..3 {
        node.ok("system.version", json!({})).await;
    }
    let error = node.refused("system.version", json!({}), "limit").await;
    assert!(error["data"]["retryAfterMs"].as_u64().is_some_and(|ms| ms > 0), "{error}");
    node.stop().await;
}

#[tokio::test]
async fn shutting_down_by_a_call_is_answered_before_the_node_ends() {
    let node = Node::start().await;
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "system.shutdown" }).to_string();
    let answer = node.http("POST /rpc", &node.main_token(), "", &call).await;
    assert!(answer.contains("\"result\":{}"), "{answer}");
    assert!(node.shutdown.is_draining());
    node.stop().await;
}
