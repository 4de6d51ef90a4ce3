//! Two people talk: two nodes and, where one of them is away, a relay, all as real processes.

mod common;

use serde_json::{Value, json};

use common::{Home, ada_and_bob, ada_bob_and_relay, items, text, until};
use silbo_protocol::wire::invite::InviteCode;

const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

#[test]
fn the_exact_calls_work_with_each_side_away_in_turn() {
    let (a, b, r) = (Home::new(), Home::new(), Home::new());
    a.ok(&["up", "--yes", "--name", "Ada", "--listen", QUIC, "--no-mdns"]);
    a.remember_pid();
    b.ok(&["up", "--yes", "--name", "Bob", "--listen", QUIC, "--no-mdns"]);
    b.remember_pid();
    r.ok(&["relay", "serve", "--yes", "--listen", QUIC]);
    r.remember_pid();
    let relay = r.ok(&["relay", "status", "--json"]).json();
    let address = text(&relay["address"]);
    assert!(address.starts_with("/ip4/127.0.0.1/udp/") && address.contains("/p2p/"), "{address}");
    assert_eq!((&relay["held"], &relay["bytes"]), (&json!(0), &json!(0)), "{relay}");
    a.ok(&["relay", "add", &address, "--json"]).json();
    let invite = a.ok(&["invite", "--json"]).json();
    let link = text(&invite["link"]);
    assert!(link.starts_with("silbo:"), "{link}");
    assert!(invite["expiresAt"].as_u64() > Some(1_700_000_000_000), "{invite}");
    let contact = b.ok(&["add", &link, "--as", "ada", "--wait", "--timeout", "30s", "--json"]).json();
    assert_eq!((&contact["name"], &contact["state"]), (&json!("ada"), &json!("active")), "{contact}");
    let sent = b.ok(&["send", "ada", "hi", "--wait", "delivered", "--timeout", "30s", "--json"]).json();
    assert_eq!(sent["state"], "delivered", "{sent}");
    assert!(["direct", "circuit", "relay"].contains(&text(&sent["path"]).as_str()), "{sent}");
    let hi = text(&sent["id"]);

    let events = a.ok(&["recv", "--json"]).json();
    let arrived: Vec<&Value> = events["events"]
        .as_array()
        .expect("events")
        .iter()
        .filter(|event| event["kind"] == "message.received")
        .collect();
    assert_eq!(arrived.len(), 1, "{events}");
    assert!(arrived[0]["seq"].as_u64() > Some(0) && arrived[0]["chat"].is_string(), "{events}");
    assert_eq!((&arrived[0]["body"], &arrived[0]["message"]), (&json!("hi"), &json!(hi)));
    let again = a.ok(&["recv", "--json"]).json();
    assert_eq!(again["events"], json!([]), "the cursor of this consumer has moved");

    let history = a.ok(&["history", "bob", "--json"]).json();
    let item = &items(&history)[0];
    assert_eq!((&item["id"], &item["body"], &item["state"]), (&json!(hi), &json!("hi"), &json!("received")), "{item}");
    assert!(item["from"].is_string() && item["sentAt"].as_u64() > Some(1_700_000_000_000), "{item}");
    let trace = a.ok(&["msg", "trace", &hi, "--json"]).json();
    assert_eq!((&trace["id"], &trace["state"]), (&json!(hi), &json!("received")), "{trace}");
    let status = a.ok(&["status", "--json"]).json();
    assert_eq!((&status["name"], &status["contacts"], &status["queued"]), (&json!("Ada"), &json!(1), &json!(0)));
    assert!(text(&status["address"]).contains("/p2p/"), "{status}");
    assert!(text(&status["listen"][0]).starts_with("/ip4/127.0.0.1/udp/"), "{status}");
    assert!(status["transports"].is_object(), "{status}");
    assert_eq!(status["relays"][0]["address"], json!(address), "{status}");
    a.down();

    let sent = b.ok(&["send", "ada", "while you were away", "--wait", "held", "--timeout", "30s", "--json"]).json();
    assert_eq!((&sent["state"], &sent["held"]["relays"]), (&json!("held"), &json!(1)), "{sent}");
    assert!(r.json(&["relay", "status"])["held"].as_u64() > Some(0));
    a.ok(&["up", "--yes", "--name", "Ada", "--listen", QUIC, "--no-mdns"]);
    a.remember_pid();
    a.receives("while you were away");
    let away = text(&sent["id"]);
    b.reaches(&away, "delivered");
    let trace = b.json(&["msg", "trace", &away]);
    let hops: Vec<&str> =
        trace["hops"].as_array().expect("hops").iter().filter_map(|hop| hop["what"].as_str()).collect();
    let place = |what: &str| hops.iter().position(|hop| *hop == what).unwrap_or_else(|| panic!("no {what} in {trace}"));
    assert!(place("queued") < place("held") && place("held") < place("delivered"), "{trace}");

    b.down();
    let reply = a.ok(&["send", "bob", "by the same road", "--wait", "held", "--timeout", "30s", "--json"]).json();
    assert_eq!(reply["state"], "held", "{reply}");
    b.up("Bob");
    b.receives("by the same road");
    a.reaches(&text(&reply["id"]), "delivered");
    assert_eq!(b.texts("ada"), ["hi", "while you were away", "by the same road"]);
    assert_eq!(a.texts("bob"), b.texts("ada"));
    until("the relay holds nothing more", || (r.json(&["relay", "status"])["held"] == 0).then_some(()));
    a.down();
    b.down();
    r.down();
}

#[test]
fn both_sides_see_replies_reactions_and_edits() {
    let (ada, bob) = ada_and_bob();
    let question = bob.send("ada", "are you ther", "delivered");
    bob.json(&["msg", "edit", &question, "are you there?"]);
    ada.event("message.edited", |event| event["body"] == "are you there?");
    let edited = ada.message(&question);
    assert_eq!((&edited["body"], &edited["edits"][0]["body"]), (&json!("are you there?"), &json!("are you ther")));
    assert!(edited["editedAt"].is_u64(), "{edited}");

    ada.json(&["msg", "react", &question, "👍"]);
    bob.event("message.reaction", |event| event["emoji"] == "👍" && event["outgoing"] != true);
    assert_eq!(bob.message(&question)["reactions"][0]["emoji"], "👍");
    ada.json(&["msg", "react", &question, "👍", "--remove"]);
    until("the reaction is gone", || (bob.message(&question)["reactions"] == json!([])).then_some(()));

    let answer = ada.json(&["send", "Bob", "yes", "--reply", &question, "--wait", "delivered"]);
    assert_eq!(bob.receives("yes")["replyTo"], json!(question));
    assert_eq!(bob.message(&text(&answer["id"]))["replyTo"], json!(question));
    // Nobody changes what somebody else wrote.
    ada.refused(4, &["msg", "edit", &question, "no"]);
    assert_eq!(bob.message(&question)["body"], "are you there?");
}

#[test]
fn what_is_deleted_for_both_is_gone_from_history_and_search_on_both_sides() {
    let (ada, bob) = ada_and_bob();
    let slip = bob.send("ada", "the wrong window, sorry: zanzibar", "delivered");
    let kept = bob.send("ada", "the right one: madagascar", "delivered");
    let found = ada.json(&["search", "zanzibar"]);
    assert_eq!(items(&found)[0]["id"], json!(slip));
    bob.refused(2, &["msg", "delete", &slip, "--both"]);
    assert_eq!(bob.json(&["msg", "delete", &slip, "--both", "--yes"])["count"], 1);
    ada.event("message.deleted", |event| event["message"] == json!(slip));
    for (home, other) in [(&ada, "Bob"), (&bob, "ada")] {
        assert_eq!(home.texts(other), ["the right one: madagascar"]);
        assert_eq!(home.json(&["search", "zanzibar"])["items"], json!([]));
        assert_eq!(items(&home.json(&["search", "madagascar"]))[0]["id"], json!(kept));
        let events = home.events();
        assert!(!events.iter().any(|event| event.to_string().contains("zanzibar")), "{events:?}");
    }
    // For me alone: the other side keeps it.
    ada.json(&["msg", "delete", &kept, "--yes"]);
    assert_eq!(ada.texts("Bob"), Vec::<String>::new());
    assert_eq!(bob.texts("ada"), ["the right one: madagascar"]);
    ada.down();
    ada.up("Ada");
    assert_eq!(ada.texts("Bob"), Vec::<String>::new(), "what was deleted does not come back");
}

#[test]
fn edits_and_deletions_before_delivery_arrive_as_they_were_last() {
    let (ada, bob, _relay) = ada_bob_and_relay();
    ada.down();
    let edited = bob.send("ada", "see you at siv", "held");
    let deleted = bob.send("ada", "bring the xylophone", "held");
    let last = bob.send("ada", "bye", "held");
    bob.json(&["msg", "edit", &edited, "see you at six"]);
    bob.json(&["msg", "delete", &deleted, "--both", "--yes"]);
    bob.json(&["msg", "react", &last, "👋"]);
    ada.up("Ada");
    ada.event("message.reaction", |event| event["emoji"] == "👋");
    until("the edit and the deletion have arrived", || (ada.texts("Bob") == ["see you at six", "bye"]).then_some(()));
    assert_eq!(ada.message(&edited)["body"], "see you at six");
    assert_eq!(ada.json(&["search", "xylophone"])["items"], json!([]));
    assert_eq!(bob.texts("ada"), ["see you at six", "bye"]);
}

#[test]
fn a_disappearing_message_is_gone_on_both_sides() {
    let (ada, bob) = ada_and_bob();
    let secret = text(&bob.json(&["send", "ada", "burn this", "--expire", "5s", "--wait", "delivered"])["id"]);
    // On a slow machine its time may be over before anybody looks.
    let shown = ada.run(&["msg", "show", &secret, "--json"]);
    assert!(shown.code == 4 || shown.json()["expiresAt"].is_u64(), "{shown:?}");
    ada.call("message.read", json!({"chat": "Bob"}));
    for (home, other) in [(&ada, "Bob"), (&bob, "ada")] {
        home.event("message.expired", |event| event["message"] == json!(secret));
        assert_eq!(home.texts(other), Vec::<String>::new());
        assert_eq!(home.json(&["search", "burn"])["items"], json!([]));
    }
    bob.refused(2, &["send", "ada", "too short", "--expire", "1s"]);
}

#[test]
fn the_retention_of_a_chat_is_set_for_both_sides() {
    let (ada, bob) = ada_and_bob();
    assert_eq!(bob.json(&["retention", "show", "ada"])["seconds"], 0);
    assert_eq!(bob.json(&["retention", "set", "ada", "7d"])["seconds"], 7 * 86_400);
    ada.event("chat.retention", |event| event["seconds"] == 7 * 86_400);
    assert_eq!(ada.json(&["retention", "show", "Bob"])["seconds"], 7 * 86_400);
    ada.json(&["retention", "set", "Bob", "never"]);
    bob.event("chat.retention", |event| event["seconds"] == 0);
    assert_eq!(bob.json(&["retention", "show", "ada"])["seconds"], 0);
    bob.refused(2, &["retention", "set", "ada", "91d"]);
    bob.refused(2, &["retention", "set", "ada", "1h"]);
}

#[test]
fn a_changed_profile_reaches_the_other_side() {
    let (ada, bob) = ada_and_bob();
    ada.json(&["me", "set", "name", "Ada of the hills"]);
    ada.json(&["me", "set", "status", "up the mountain"]);
    let picture = ada.path().join("picture");
    std::fs::write(&picture, [0x89, b'P', b'N', b'G', 1, 2, 3]).expect("a picture");
    ada.json(&["me", "set", "avatar", &picture.display().to_string()]);
    let seen = until("the profile arrives", || {
        Some(bob.contact("ada")).filter(|contact| contact["avatar"] != "" && contact["status"] == "up the mountain")
    });
    assert_eq!(seen["profileName"], "Ada of the hills");
    assert_eq!(seen["name"], "ada", "what Bob calls her stays");
    std::fs::write(&picture, vec![7; 32 * 1024 + 1]).expect("a large picture");
    let outcome = ada.run(&["me", "set", "avatar", &picture.display().to_string()]);
    assert!([2, 9].contains(&outcome.code), "{outcome:?}");
}

#[test]
fn a_read_receipt_raises_the_state_to_read() {
    let (ada, bob) = ada_and_bob();
    let id = bob.send("ada", "did you see this?", "delivered");
    ada.call("message.read", json!({"chat": "Bob", "upto": id}));
    let waited = bob.call("message.wait", json!({"id": id, "state": "read", "timeoutMs": 60_000}));
    assert_eq!(waited["state"], "read", "{waited}");
    bob.event("message.state", |event| event["message"] == json!(id) && event["state"] == "read");
    assert_eq!(bob.message(&id)["state"], "read");
}

#[test]
fn read_receipts_can_be_switched_off() {
    let (ada, bob) = ada_and_bob();
    ada.json(&["config", "set", "privacy.read_receipts", "off"]);
    let id = bob.send("ada", "did you see this?", "delivered");
    ada.call("message.read", json!({"chat": "Bob", "upto": id}));
    ada.event("chat.read", |event| event["chat"].is_string());
    // What Ada sends later overtakes nothing: a receipt sent at the reading would be here before it.
    ada.send("Bob", "something later", "delivered");
    assert_eq!(bob.message(&id)["state"], "delivered");
}

#[test]
fn notes_to_self_stay_here() {
    let ada = Home::of_person("Ada");
    let note = ada.json(&["send", "me", "buy batteries"]);
    assert_eq!(ada.message(&text(&note["id"]))["state"], "note");
    assert_eq!(ada.texts("me"), ["buy batteries"]);
    assert_eq!(items(&ada.json(&["search", "batteries", "--in", "me"])).len(), 1);
    assert_eq!(ada.json(&["status"])["queued"], 0);
}

#[test]
fn a_text_of_64_kib_arrives_and_one_byte_more_is_refused() {
    let (ada, bob) = ada_and_bob();
    let longest = "0123456789abcdef".repeat(4 * 1024);
    let outcome = bob.run_with(&["send", "ada", "-", "--wait", "delivered", "--json"], &longest);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    ada.event("message.received", |event| event["body"] == *longest);
    let outcome = bob.run_with(&["send", "ada", "-"], &(longest + "!"));
    assert!([2, 9].contains(&outcome.code), "exit {}: {}", outcome.code, outcome.stderr);
    common::assert_three_lines(&outcome.stderr);
    assert_eq!(bob.history("ada").len(), 1);
    bob.refused(2, &["send", "ada", ""]);
}

#[test]
fn sending_twice_with_one_client_id_sends_once() {
    let (ada, bob) = ada_and_bob();
    let send = || text(&bob.json(&["send", "ada", "only once", "--client-id", "job-17", "--wait", "delivered"])["id"]);
    assert_eq!(send(), send());
    bob.down();
    bob.up("Bob");
    let third = send();
    bob.send("ada", "the end", "delivered");
    assert_eq!(ada.texts("Bob"), ["only once", "the end"]);
    assert_eq!(ada.message(&third)["body"], "only once");
}

#[test]
fn the_safety_number_is_the_same_on_both_sides_and_a_wrong_one_is_refused() {
    let (ada, bob) = ada_and_bob();
    let ours = text(&ada.json(&["contact", "verify", "Bob"])["digits"]);
    let theirs = text(&bob.json(&["contact", "verify", "ada"])["digits"]);
    let digits = |number: &str| number.chars().filter(char::is_ascii_digit).collect::<String>();
    assert_eq!(digits(&ours).len(), 60, "{ours}");
    assert_eq!(digits(&ours), digits(&theirs));
    let wrong: String = digits(&theirs).chars().map(|digit| if digit == '9' { '0' } else { '9' }).collect();
    ada.refused(5, &["contact", "verify", "Bob", "--code", &wrong]);
    assert_eq!(ada.contact("Bob")["verification"], 0);
    ada.json(&["contact", "verify", "Bob", "--code", &theirs]);
    assert_eq!(ada.contact("Bob")["verification"], 2);
    let code = text(&ada.json(&["contact", "verify", "Bob"])["qr"]);
    bob.json(&["contact", "verify", "ada", "--code", &code]);
    assert_eq!(bob.contact("ada")["verification"], 2);
    ada.send("Bob", "it is you", "delivered");
}

#[test]
fn nothing_comes_through_a_block_and_all_is_well_after_it() {
    let (ada, bob) = ada_and_bob();
    bob.send("ada", "before", "delivered");
    ada.json(&["contact", "block", "Bob"]);
    assert_eq!(ada.contact("Bob")["state"], "blocked");
    ada.refused(5, &["send", "Bob", "to somebody blocked"]);
    // Bob is not told. His message gets no further than his own disk.
    let unheard = bob.run(&["send", "ada", "during", "--wait", "delivered", "--timeout", "2s", "--json"]);
    assert_eq!(unheard.code, 6, "{unheard:?}");
    assert_ne!(unheard.json()["state"], "delivered");
    assert_eq!(ada.texts("Bob"), ["before"]);
    ada.json(&["contact", "unblock", "Bob"]);
    assert_eq!(ada.contact("Bob")["state"], "active");
    ada.send("Bob", "after", "delivered");
    bob.receives("after");
    bob.send("ada", "after it too", "delivered");
    ada.receives("after it too");
}

#[test]
fn requests_by_a_reusable_invitation_are_accepted_and_rejected() {
    let (ada, bob, carl) = (Home::of_person("Ada"), Home::of_person("Bob"), Home::of_person("Carl"));
    let invite = ada.json(&["invite", "--reusable"]);
    assert_eq!(invite["kind"], "reusable");
    let link = text(&invite["link"]);
    bob.json(&["add", &link, "--as", "ada"]);
    carl.json(&["add", &link, "--as", "ada"]);
    let request = ada.event("contact.request", |event| event["name"] == "Bob");
    assert!(request["chat"].is_string(), "{request}");
    ada.contact_is("Bob", "incoming");
    ada.contact_is("Carl", "incoming");
    assert_eq!(ada.json(&["status"])["requests"], 2);
    ada.json(&["contact", "accept", "Bob"]);
    ada.json(&["contact", "reject", "Carl"]);
    bob.contact_is("ada", "active");
    bob.send("ada", "thank you", "delivered");
    assert_eq!(ada.texts("Bob"), ["thank you"]);
    let list = ada.json(&["contact", "list", "--state", "active"]);
    assert_eq!(items(&list).len(), 1, "{list}");
    assert_ne!(carl.contact("ada")["state"], "active");
    assert_eq!(ada.json(&["status"])["requests"], 0);
}

#[test]
fn a_one_time_invitation_serves_one_person() {
    let (ada, bob, carl) = (Home::of_person("Ada"), Home::of_person("Bob"), Home::of_person("Carl"));
    let link = text(&ada.json(&["invite"])["link"]);
    bob.json(&["add", &link, "--as", "ada", "--wait"]);
    let outcome = carl.run(&["add", &link, "--as", "ada", "--wait", "--timeout", "10s", "--json"]);
    assert_eq!(outcome.code, 5, "the second person is refused: {outcome:?}");
    assert!(outcome.stdout.contains("refused"), "{outcome:?}");
    assert!(outcome.stderr.contains("ask for another invitation"), "{outcome:?}");
    let names: Vec<String> =
        items(&ada.json(&["contact", "list"])).iter().map(|contact| text(&contact["name"])).collect();
    assert_eq!(names, ["Bob"]);
}

#[test]
fn invitations_that_cannot_work_are_refused_with_words() {
    let (ada, bob) = (Home::of_person("Ada"), Home::of_person("Bob"));
    let link = text(&ada.json(&["invite"])["link"]);
    ada.refused(2, &["add", &link]);
    let mut damaged = link.clone();
    let last = damaged.pop().expect("a link has characters");
    damaged.push(if last == 'A' { 'Q' } else { 'A' });
    bob.refused(2, &["add", &damaged]);
    bob.refused(2, &["add", &link[..link.len() / 2]]);
    bob.refused(2, &["add", "silbo:i/"]);
    bob.refused(2, &["add", "https://example.org/"]);
    assert_eq!(bob.json(&["contact", "list"])["items"], json!([]));

    // The same link as it is after its time: nobody waits a day for a test.
    let mut late = InviteCode::parse(&link).expect("a link");
    late.expiry_day -= 2;
    let words = bob.refused(2, &["add", &late.link()]);
    assert!(words.contains("expired"), "{words}");

    let revoked = ada.json(&["invite"]);
    ada.json(&["invite", "revoke", &text(&revoked["id"])]);
    let outcome = bob.run(&["add", &text(&revoked["link"]), "--wait", "--timeout", "10s"]);
    assert_eq!(outcome.code, 5, "{outcome:?}");
    assert!(items(&ada.json(&["contact", "list"])).is_empty());
    bob.json(&["add", &link, "--as", "ada", "--wait"]);
}

#[test]
fn a_removed_contact_is_gone_with_the_conversation() {
    let (ada, bob) = ada_and_bob();
    bob.send("ada", "remember the quokka", "delivered");
    ada.refused(2, &["contact", "remove", "Bob"]);
    assert_eq!(ada.json(&["contact", "remove", "Bob", "--dry-run"])["dryRun"], true);
    assert_eq!(ada.texts("Bob").len(), 1, "a dry run removes nothing");
    ada.ok(&["contact", "remove", "Bob", "--yes"]);
    ada.refused(4, &["history", "Bob"]);
    assert_eq!(ada.json(&["search", "quokka"])["items"], json!([]));
    assert_eq!(ada.json(&["status"])["contacts"], 0);
}

#[test]
fn following_shows_what_arrives_when_it_arrives() {
    use std::io::{BufRead, BufReader};
    let (ada, bob) = ada_and_bob();
    let mut command = common::silbo();
    command.arg("--home").arg(ada.path()).args(["recv", "--follow", "--consumer", "screen", "--json"]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().expect("recv");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    for body in ["one", "two", "three"] {
        bob.send("ada", body, "delivered");
        let event = loop {
            let line = lines.next().expect("another line").expect("text");
            let event: Value = serde_json::from_str(&line).expect("one document a line");
            if event["kind"] == "message.received" {
                break event;
            }
        };
        assert_eq!(event["body"], body);
    }
    child.kill().expect("recv still ran");
    child.wait().expect("recv has ended");
}

#[test]
fn what_is_set_for_a_conversation_here_survives_a_restart_and_is_told_to_nobody() {
    let (ada, bob) = common::ada_and_bob();
    let first = ada.send("bob", "hello", "delivered");
    bob.receives("hello");
    bob.json(&["chat", "mute", "ada", "8h"]);
    bob.json(&["chat", "archive", "ada"]);
    let set = bob.json(&["chat", "draft", "ada", "half a thought", "--reply", &first]);
    assert_eq!((&set["muted"], &set["archived"]), (&serde_json::json!(true), &serde_json::json!(true)), "{set}");
    ada.send("bob", "are you there?", "delivered");
    let received = bob.receives("are you there?");
    assert_eq!(received["muted"], true, "{received}");
    bob.down();
    bob.up("bob");
    let kept = bob.json(&["chat", "show", "ada"]);
    assert_eq!((&kept["draft"]["body"], &kept["draft"]["replyTo"]), (&"half a thought".into(), &first.as_str().into()));
    assert_eq!(kept["archived"], true, "muted, it stays out of sight: {kept}");
    assert_eq!(bob.ok(&["chat", "draft", "ada"]).stdout.trim(), "half a thought");
    let names = |words: &[&str]| -> Vec<String> {
        common::items(&bob.json(words)).iter().map(|chat| common::text(&chat["name"])).collect()
    };
    assert!(names(&["list", "archived"]).contains(&"ada".to_owned()) && !names(&["list"]).contains(&"ada".to_owned()));
    bob.json(&["chat", "mute", "ada", "--off"]);
    ada.send("bob", "now?", "delivered");
    assert_eq!(bob.receives("now?")["muted"], serde_json::Value::Null);
    let shown = bob.json(&["chat", "show", "ada"]);
    assert_eq!((&shown["muted"], &shown["archived"]), (&false.into(), &false.into()), "a message brings it back");
    bob.json(&["chat", "draft", "ada", "--clear"]);
    assert!(bob.json(&["chat", "show", "ada"])["draft"].is_null());
    bob.event("chat.updated", |_| true);
    assert!(!ada.events().iter().any(|event| event["kind"] == "chat.updated"));
    bob.refused(4, &["chat", "mute", "nobody", "8h"]);
}
