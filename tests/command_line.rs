//! The command line as a person, a script and a supervisor meet it: help, exit codes, words of errors, JSON, files.

mod common;

use std::collections::BTreeSet;
use std::process::Stdio;

use common::{Home, Outcome, items, run, silbo, text, until};
use serde_json::{Value, json};

fn plain(words: &[&str]) -> Outcome {
    let mut command = silbo();
    command.args(words);
    run(command, "")
}

/// Names of the commands that a help text lists.
fn listed(help: &str) -> Vec<String> {
    let commands = help.split("Commands:\n").nth(1).unwrap_or_default();
    let lines = commands.lines().take_while(|line| !line.is_empty()).filter(|line| line.starts_with("  "));
    lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

fn every_command(path: &[String], found: &mut Vec<Vec<String>>) {
    let words: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
    let help = plain(&words);
    assert_eq!(help.code, 0, "{words:?}: {help:?}");
    assert!(help.stdout.contains("Usage: silbo"), "{words:?}: {help:?}");
    assert!(help.stderr.is_empty(), "{words:?}: {help:?}");
    for name in listed(&help.stdout) {
        let deeper = [path, &[name]].concat();
        every_command(&deeper, found);
        found.push(deeper);
    }
}

#[test]
fn every_command_explains_itself() {
    let mut found = Vec::new();
    every_command(&[], &mut found);
    let found: BTreeSet<String> = found.iter().map(|path| path.join(" ")).collect();
    let promised = [
        "up",
        "down",
        "status",
        "me",
        "invite",
        "add",
        "contact list",
        "contact show",
        "contact verify",
        "contact accept",
        "contact reject",
        "contact block",
        "contact unblock",
        "contact remove",
        "contact rename",
        "group create",
        "group list",
        "group show",
        "group invite",
        "group join",
        "group approve",
        "group reject",
        "group leave",
        "group rename",
        "group topic",
        "group avatar",
        "group add",
        "group remove",
        "group role",
        "group mute",
        "group disappear",
        "group history",
        "group freeze",
        "group set",
        "group link list",
        "group link revoke",
        "group export",
        "list",
        "chat show",
        "chat mute",
        "chat archive",
        "chat draft",
        "send",
        "recv",
        "history",
        "search",
        "msg edit",
        "msg delete",
        "msg react",
        "msg pin",
        "msg show",
        "msg trace",
        "msg carry export",
        "msg carry import",
        "retention show",
        "retention set",
        "relay serve",
        "relay add",
        "relay list",
        "relay remove",
        "relay status",
        "mesh status",
        "mesh announce",
        "mesh power",
        "mesh appoint",
        "mesh set",
        "net check",
        "net peers",
        "ping",
        "doctor",
        "config get",
        "config set",
        "paths",
        "completion",
        "manual",
        "schema",
        "rpc",
        "token create",
        "token list",
        "token revoke",
        "version",
    ];
    for command in promised {
        assert!(found.contains(command), "no {command} in {found:?}");
    }
    for topic in ["relays", "couriers", "groups", "safety-numbers", "retention", "exit-codes"] {
        let help = plain(&["help", topic]);
        assert!(help.code == 0 && help.stdout.lines().count() > 4, "{topic}: {help:?}");
    }
    assert_eq!(plain(&["help", "nonsense"]).code, 4);
}

#[test]
fn mistakes_of_the_caller_have_exit_code_2() {
    let calls: [&[&str]; 8] = [
        &[],
        &["nonsense"],
        &["send"],
        &["history", "ada", "--limit", "0"],
        &["up", "--listen", "127.0.0.1:1"],
        &["up", "--passphrase", "on the command line"],
        &["invite", "--ttl", "24"],
        &["send", "ada", "hi", "--wait", "yesterday"],
    ];
    for call in calls {
        let outcome = plain(call);
        assert_eq!(outcome.code, 2, "{call:?}: {outcome:?}");
        assert!(outcome.stdout.is_empty(), "{call:?}: {outcome:?}");
        match call {
            [] => assert!(outcome.stderr.contains("Usage: silbo"), "{outcome:?}"),
            _ => common::assert_three_lines(&outcome.stderr),
        }
    }
    let home = Home::new();
    let words = home.refused(2, &["--profile", "../elsewhere", "status"]);
    assert!(words.contains("../elsewhere"), "{words}");
}

#[test]
fn without_a_node_every_command_that_needs_one_says_so() {
    let home = Home::new();
    let calls: [&[&str]; 17] = [
        &["status"],
        &["me"],
        &["invite"],
        &["add", "silbo:i/AAAA"],
        &["contact", "list"],
        &["group", "list"],
        &["send", "ada", "hi"],
        &["recv"],
        &["history", "ada"],
        &["search", "hi"],
        &["retention", "show", "ada"],
        &["relay", "status"],
        &["mesh", "status"],
        &["msg", "carry", "export"],
        &["net", "check"],
        &["rpc"],
        &["token", "list"],
    ];
    for call in calls {
        let words = home.refused(3, call);
        assert!(words.contains("hint: silbo") && words.contains(" up"), "{call:?}: {words}");
    }
    let document = home.run(&["status", "--json"]);
    assert_eq!(document.code, 3);
    let all = format!("{}{}", document.stdout, document.stderr);
    let error: Value = serde_json::from_str(all.trim()).unwrap_or_else(|error| panic!("{error}: {document:?}"));
    assert_eq!((&error["error"]["code"], &error["error"]["kind"]), (&json!(3), &json!("no_daemon")), "{error}");
    assert_eq!(home.json(&["down"])["stopped"], false, "there is nothing to stop, which is fine");
    assert!(!home.path().exists(), "asking makes no files");
}

#[test]
fn what_is_refused_has_its_exit_code_and_three_lines() {
    let home = Home::of_person("Ada");
    let calls: [(i32, &[&str]); 17] = [
        (4, &["send", "nobody", "hi"]),
        (4, &["send", "#nothing", "hi"]),
        (4, &["group", "show", "#nothing"]),
        (4, &["group", "leave", "#nothing", "--yes"]),
        (4, &["group", "create", "climbing", "nobody"]),
        (2, &["group", "set", "#nothing"]),
        (4, &["history", "nobody"]),
        (4, &["contact", "show", "nobody"]),
        (4, &["contact", "accept", "nobody"]),
        (4, &["msg", "show", "06h00r55r959765nvbb0"]),
        (4, &["invite", "revoke", "nosuchinvite"]),
        (4, &["token", "revoke", "nosuchtoken"]),
        (4, &["config", "get", "no.such.key"]),
        (2, &["add", "silbo:i/AAAA"]),
        (2, &["config", "set", "privacy.typing", "perhaps"]),
        (2, &["token", "create", "bot", "--scope", "everything"]),
        (2, &["me", "set", "avatar", "/nonexistent/picture.png"]),
    ];
    for (code, call) in calls {
        home.refused(code, call);
        let outcome = home.run(&[call, &["--json"]].concat());
        let all = format!("{}{}", outcome.stdout, outcome.stderr);
        let error: Value = serde_json::from_str(all.trim()).unwrap_or_else(|error| panic!("{error}: {outcome:?}"));
        assert_eq!(error["error"]["code"], code, "{call:?}: {error}");
        for name in ["kind", "message", "why", "hint"] {
            assert!(error["error"][name].as_str().is_some_and(|text| !text.is_empty()), "{call:?} {name}: {error}");
        }
    }
    let patience = ["send", "me", "note", "--wait", "delivered", "--timeout", "1s"];
    let outcome = home.run(&patience);
    assert!([0, 2, 6].contains(&outcome.code), "{outcome:?}");
    home.down();
}

#[test]
fn nothing_is_asked_where_nobody_can_answer() {
    let home = Home::of_person("Ada");
    let note = text(&home.json(&["send", "me", "keep this"])["id"]);
    let words = home.refused(2, &["msg", "delete", &note]);
    assert!(words.contains("--yes"), "{words}");
    assert_eq!(home.texts("me"), ["keep this"]);
    assert_eq!(home.json(&["msg", "delete", &note, "--dry-run"])["dryRun"], true);
    assert_eq!(home.texts("me"), ["keep this"]);
    // Words are data: shown to a script that asks for them, twelve of them.
    let words = home.json(&["me", "words"]);
    assert_eq!(words["words"].as_array().map(Vec::len), Some(12), "{words}");
}

#[test]
fn every_list_and_every_send_is_json_where_json_is_asked_for() {
    let home = Home::of_person("Ada");
    let relay = Home::of_relay();
    home.use_relay(&relay);
    // Each list is asked for several times: by then it must be as it stays.
    until("the relay is among the peers", || (items(&home.json(&["net", "peers"])).len() == 1).then_some(()));
    home.json(&["send", "me", "a note"]);
    let lists: [&[&str]; 7] = [
        &["contact", "list"],
        &["history", "me"],
        &["search", "note"],
        &["relay", "list"],
        &["net", "peers"],
        &["token", "list"],
        &["invite", "list"],
    ];
    for list in lists {
        let document = home.json(list);
        assert!(document["items"].is_array(), "{list:?}: {document}");
        let lines = home.ok(&[list, &["--jsonl"]].concat()).stdout;
        assert_eq!(lines.lines().count(), items(&document).len(), "{list:?}: {lines}");
        for line in lines.lines() {
            serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{list:?}: {error}: {line}"));
        }
        home.ok(list);
    }
    let single: [&[&str]; 13] = [
        &["status"],
        &["me"],
        &["me", "qr"],
        &["recv", "--no-ack"],
        &["retention", "show", "me"],
        &["mesh", "status"],
        &["msg", "carry", "export"],
        &["net", "check"],
        &["doctor"],
        &["config", "get"],
        &["config", "path"],
        &["paths"],
        &["version"],
    ];
    for call in single {
        let document = home.json(call);
        assert!(document.is_object(), "{call:?}: {document}");
        assert!(!home.ok(call).stdout.contains('\u{1b}'), "no colours where nobody looks: {call:?}");
    }
    let checks = home.json(&["doctor"]);
    let checks = checks["checks"].as_array().expect("checks");
    // A machine that has an adapter misses the service, which is kept from the nodes of tests.
    let fine = |check: &Value| check["ok"] == true || check["name"] == "bluetooth" && check["hint"].is_string();
    assert!(!checks.is_empty() && checks.iter().all(fine), "{checks:?}");
    assert_eq!(home.json(&["version"])["version"], home.json(&["version"])["node"]["version"]);
    assert_eq!(home.json(&["status"])["relays"].as_array().map(Vec::len), Some(1));
    home.down();
    relay.down();
}

#[test]
fn up_and_down_can_be_repeated() {
    let home = Home::of_person("Ada");
    let first = home.json(&["status"]);
    home.up("Somebody else");
    let second = home.json(&["status"]);
    assert_eq!(
        (&first["pid"], &first["account"], &first["name"]),
        (&second["pid"], &second["account"], &second["name"])
    );
    home.down();
    assert_eq!(home.json(&["down"])["stopped"], false);
    home.up("Ada");
    let third = home.json(&["status"]);
    assert_eq!(first["account"], third["account"], "the identity outlives the process");
    assert_ne!(first["pid"], third["pid"]);
    // A relay is something else, and does not quietly take over this home.
    home.refused(2, &["relay", "serve", "--yes", "--listen", &home.listen()]);
    home.down();
}

#[test]
fn a_second_node_on_one_home_refuses_to_start() {
    let home = Home::of_person("Ada");
    let elsewhere = home.path().join("other.sock").display().to_string();
    let outcome =
        home.run(&["--socket", &elsewhere, "daemon", "--name", "Ada", "--listen", &home.listen(), "--no-mdns"]);
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert!(outcome.stderr.contains("error: ") && outcome.stderr.contains("hint: "), "{outcome:?}");
    assert!(!std::path::Path::new(&elsewhere).exists(), "it leaves no socket behind");
    home.json(&["status"]);
    home.down();
}

#[test]
fn a_node_in_the_foreground_ends_in_good_order_with_sigterm() {
    let home = Home::new();
    let mut command = silbo();
    command.arg("--home").arg(home.path()).args(["daemon", "--name", "Ada", "--listen", &home.listen(), "--no-mdns"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a node");
    until("the node answers", || (home.run(&["status"]).code == 0).then_some(()));
    home.json(&["send", "me", "written just before"]);
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("the node runs");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert_eq!(home.run(&["status"]).code, 3);
    home.up("Ada");
    assert_eq!(home.texts("me"), ["written just before"]);
    home.down();
}

#[test]
fn a_profile_with_a_passphrase_opens_with_it_alone() {
    let home = Home::new();
    let file = tempfile::NamedTempFile::new().expect("a file");
    let up = |passphrase: Option<&str>| {
        let listen = home.listen();
        let path = file.path().display().to_string();
        let mut words = vec!["up", "--yes", "--name", "Ada", "--listen", &listen, "--no-mdns"];
        if let Some(passphrase) = passphrase {
            std::fs::write(file.path(), format!("{passphrase}\n")).expect("a passphrase file");
            words.extend(["--passphrase-file", &path]);
        }
        home.run(&words)
    };
    let first = up(Some("correct horse battery"));
    assert_eq!(first.code, 0, "{first:?}");
    home.remember_pid();
    home.json(&["send", "me", "under lock and key"]);
    home.down();
    assert!(!home.path().join("data/key").exists(), "there is no key beside a database with a passphrase");
    for wrong in [Some("wrong horse"), None] {
        let outcome = up(wrong);
        assert_eq!(outcome.code, 8, "{wrong:?}: {outcome:?}");
        common::assert_three_lines(&outcome.stderr);
        assert_eq!(home.run(&["status"]).code, 3);
    }
    let again = up(Some("correct horse battery"));
    assert_eq!(again.code, 0, "{again:?}");
    home.remember_pid();
    assert_eq!(home.texts("me"), ["under lock and key"]);
    assert!(!home.log().contains("correct horse"), "the log has no passphrase");
    home.down();
}

#[test]
fn everything_of_a_profile_is_below_its_home_and_readable_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::of_person("Ada");
    let paths = home.json(&["paths"]);
    for name in ["home", "data", "config", "state", "socket", "token", "log"] {
        let path = text(&paths[name]);
        assert!(path.starts_with(&home.path().display().to_string()), "{name}: {path}");
        assert!(std::path::Path::new(&path).exists(), "{name}: {path}");
    }
    assert_eq!(paths, home.call("system.paths", json!({})), "the node says the same");
    for name in ["data", "state"] {
        let mode = std::fs::metadata(text(&paths[name])).expect("a folder").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}");
    }
    for name in ["socket", "token", "log", "config"] {
        let mode = std::fs::metadata(text(&paths[name])).expect("a file").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}");
    }
    home.down();
    assert!(!std::path::Path::new(&text(&paths["socket"])).exists(), "a stopped node leaves no socket");
}

#[test]
fn completions_manual_and_schema_need_no_node() {
    for shell in ["bash", "zsh", "fish"] {
        let script = plain(&["completion", shell]);
        assert!(script.code == 0 && script.stdout.contains("retention"), "{shell}");
    }
    let dir = tempfile::tempdir().expect("a folder");
    let manual = plain(&["manual", &dir.path().display().to_string()]);
    assert_eq!(manual.code, 0, "{manual:?}");
    for page in ["silbo.1", "silbo-up.1", "silbo-relay-serve.1", "silbo-msg-trace.1"] {
        let page = std::fs::read_to_string(dir.path().join(page)).expect(page);
        assert!(page.contains(".TH") || page.contains(".SH"), "{page}");
    }
    let schema: Value = plain(&["schema"]).json();
    // What docs/schema.json holds is compared with the same function by the tests of the API.
    assert!(schema == silbo_node::api::schema(), "silbo schema prints another schema than the API has");
    let version = plain(&["version", "--json"]);
    assert_eq!(version.code, 0, "{version:?}");
    assert_eq!(version.json()["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn settings_are_kept_and_mistakes_in_the_file_are_found() {
    let home = Home::of_person("Ada");
    assert_eq!(home.json(&["config", "get", "privacy.typing"])["values"]["privacy.typing"], true);
    home.json(&["config", "set", "privacy.typing", "off"]);
    home.down();
    home.up("Ada");
    assert_eq!(home.json(&["config", "get", "privacy.typing"])["values"]["privacy.typing"], false);
    home.json(&["config", "set", "transports.tcp", "false"]);
    home.json(&["config", "check"]);
    let path = text(&home.json(&["config", "path"])["path"]);
    let mut config = std::fs::read_to_string(&path).expect("the file");
    config.push_str("\n[transport]\nmndns = true\n");
    std::fs::write(&path, config).expect("the file");
    home.refused(2, &["config", "check"]);
    home.refused(4, &["config", "set", "transports.nosuch", "true"]);
    home.down();
}

#[test]
fn a_token_opens_what_its_scopes_say_and_is_shown_once() {
    let home = Home::of_person("Ada");
    let made = home.json(&["token", "create", "bot", "--scope", "read,message:send", "--ttl", "1d"]);
    let token = text(&made["token"]);
    assert!(token.len() >= 32, "{made}");
    let list = home.json(&["token", "list"]);
    assert_eq!(items(&list).iter().filter(|token| token["name"] == "bot").count(), 1);
    assert!(!list.to_string().contains(&token), "the list does not show it");
    home.ok(&["token", "revoke", "bot"]);
    assert!(!home.json(&["token", "list"]).to_string().contains("\"bot\""));
    home.down();
}

/// One HTTP request as it stands on the wire; gives the status code and everything after the status line.
fn http(address: &str, request: &str) -> (u16, String) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).expect("the API listens");
    stream.set_read_timeout(Some(common::PATIENCE)).expect("a timeout");
    stream.write_all(request.as_bytes()).expect("the request is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer in text");
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("{answer}"));
    (code, answer)
}

#[test]
fn what_a_foreign_web_page_could_send_is_refused_over_loopback() {
    let home = Home::new();
    home.ok(&["up", "--yes", "--name", "Ada", "--listen", &home.listen(), "--no-mdns", "--api-listen", "127.0.0.1:0"]);
    home.remember_pid();
    let url = text(&home.call("auth.ticket", json!({}))["url"]);
    let address = url.strip_prefix("http://").and_then(|rest| rest.split('/').next()).expect("an address").to_owned();
    let token = std::fs::read_to_string(text(&home.json(&["paths"])["token"])).expect("the token of the owner");
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"system.status","params":{}}"#;
    let call = |host: &str, headers: &str| {
        let length = body.len();
        let request = format!(
            "POST /rpc HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}"
        );
        http(&address, &request)
    };
    let owner = format!("Authorization: Bearer {}\r\n", token.trim());
    let (code, answer) = call(&address, &owner);
    assert!(code == 200 && answer.contains("\"name\":\"Ada\""), "{answer}");
    let refused = [
        (401, address.as_str(), String::new()),
        (401, address.as_str(), "Authorization: Bearer AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n".to_owned()),
        (421, "evil.example", owner.clone()),
        (403, address.as_str(), format!("{owner}Origin: http://evil.example\r\n")),
        (403, address.as_str(), format!("{owner}Origin: null\r\n")),
        (403, address.as_str(), format!("{owner}Sec-Fetch-Site: cross-site\r\n")),
    ];
    for (expected, host, headers) in refused {
        let (code, answer) = call(host, &headers);
        assert_eq!(code, expected, "{host} {headers}: {answer}");
        assert!(!answer.contains("Ada"), "{answer}");
        assert!(!answer.to_lowercase().contains("access-control-allow"), "{answer}");
    }
    let get = format!("GET /rpc HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{owner}\r\n");
    assert_ne!(http(&address, &get).0, 200, "no call by GET");
    let huge = format!(
        "POST /rpc HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: 2000000\r\nConnection: close\r\n{owner}\r\n"
    );
    assert_eq!(http(&address, &huge).0, 413, "a body of 2 MB is refused before it is read");
    home.down();
}
