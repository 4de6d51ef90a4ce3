//! Groups of people, each with a node of their own: the exact calls of the command line, as separate processes.

mod common;

use std::io::BufRead;

use serde_json::{Value, json};

use common::{Home, items, text, until};

const GROUP: &str = "#climbing";

/// Two people who are contacts under their own names.
fn introduce(inviting: &Home, inviting_name: &str, adding: &Home, adding_name: &str) {
    let link = text(&inviting.json(&["invite"])["link"]);
    adding.json(&["add", &link, "--as", inviting_name, "--wait", "--timeout", "30s"]);
    inviting.contact_is(adding_name, "active");
}

/// Alice, who knows Bob and Carol, and her group of the three. Bob and Carol do not know each other.
fn climbing() -> (Home, Home, Home) {
    let (alice, bob, carol) = (Home::of_person("alice"), Home::of_person("bob"), Home::of_person("carol"));
    introduce(&alice, "alice", &bob, "bob");
    introduce(&alice, "alice", &carol, "carol");
    alice.json(&["group", "create", "climbing", "bob", "carol"]);
    for home in [&bob, &carol] {
        state_is(home, "active");
    }
    (alice, bob, carol)
}

fn group(home: &Home) -> Value {
    home.json(&["group", "show", GROUP])
}

/// Waits until the group is there and this account stands so.
fn state_is(home: &Home, state: &str) -> Value {
    until(&format!("the group is {state}"), || {
        let list = home.json(&["group", "list"]);
        items(&list).iter().find(|group| group["name"] == "climbing" && group["local"]["state"] == state).cloned()
    })
}

/// Name and role of everybody, by name.
fn roster(group: &Value) -> Vec<(String, String)> {
    let members = group["members"].as_array().expect("members");
    let mut roster: Vec<_> = members.iter().map(|member| (text(&member["name"]), text(&member["role"]))).collect();
    roster.sort();
    roster
}

fn names(group: &Value) -> Vec<String> {
    roster(group).into_iter().map(|(name, _)| name).collect()
}

fn members_are(home: &Home, wanted: &[&str]) {
    until(&format!("the members are {wanted:?}"), || (names(&group(home)) == wanted).then_some(()));
}

/// What of a group all members see alike (docs/api.md).
fn shared_group(home: &Home) -> Value {
    let mut group = group(home);
    group.as_object_mut().expect("an object").remove("local").expect("what is local");
    group
}

/// What of a history all members see alike (docs/api.md).
fn shared_history(home: &Home) -> Vec<Value> {
    const LOCAL: [&str; 9] =
        ["outgoing", "state", "path", "held", "failed", "partial", "storedAt", "expiresAt", "mentionsMe"];
    let shared = |mut item: Value| {
        let fields = item.as_object_mut().expect("an object");
        fields.retain(|name, _| !LOCAL.contains(&name.as_str()));
        item
    };
    home.history(GROUP).into_iter().map(shared).collect()
}

/// Waits until all have the same group and the same history, and gives it.
fn all_agree(homes: &[&Home]) -> Vec<Value> {
    until("all see the same", || {
        let seen: Vec<_> = homes.iter().map(|home| (shared_group(home), shared_history(home))).collect();
        let (_, history) = seen.first().cloned()?;
        seen.windows(2).all(|pair| pair[0] == pair[1]).then_some(history)
    })
}

fn send_to_all(home: &Home, body: &str) -> String {
    let sent = home.json(&["send", GROUP, body, "--wait", "delivered", "--timeout", "60s"]);
    assert_eq!(sent["state"], "delivered", "{sent}");
    text(&sent["id"])
}

#[test]
fn the_exact_calls_of_groups_work() {
    let (a, b, c) = (Home::of_person("alice"), Home::of_person("bob"), Home::of_person("carol"));
    let d = Home::of_person("dan");
    introduce(&a, "alice", &b, "bob");
    introduce(&a, "alice", &c, "carol");

    let made = a.ok(&["group", "create", "climbing", "bob", "carol", "--json"]).json();
    assert!(made["id"].is_string() && made["name"] == "climbing", "{made}");
    assert_eq!(names(&made), ["alice", "bob", "carol"]);
    state_is(&b, "active");
    state_is(&c, "active");

    let invite = a.ok(&["group", "invite", GROUP, "--uses", "5", "--json"]).json();
    let link = text(&invite["link"]);
    assert!(link.starts_with("silbo:") && invite["uses"] == 5, "{invite}");
    let joined = d.ok(&["group", "join", &link, "--wait", "--json"]).json();
    assert_eq!((&joined["name"], &joined["local"]["state"]), (&json!("climbing"), &json!("active")), "{joined}");
    for home in [&a, &b, &c, &d] {
        members_are(home, &["alice", "bob", "carol", "dan"]);
    }

    let sent = a.ok(&["send", GROUP, "Saturday?", "--wait", "delivered", "--timeout", "60s", "--json"]).json();
    assert_eq!(sent["state"], "delivered", "{sent}");
    assert_eq!(sent["members"], json!({"bob": "delivered", "carol": "delivered", "dan": "delivered"}), "{sent}");
    let id = text(&sent["id"]);

    let received = d.receives("Saturday?");
    assert_eq!((&received["name"], &received["from"]), (&json!("climbing"), &json!("alice")), "{received}");
    let history = b.ok(&["history", GROUP, "--json"]).json();
    let item = items(&history).iter().find(|item| item["id"] == *id).expect("the message");
    assert_eq!((&item["from"], &item["body"]), (&json!("alice"), &json!("Saturday?")), "{item}");
    let account = text(&a.json(&["me"])["account"]);
    assert_eq!(item["author"], *account);

    let removed = a.ok(&["group", "remove", GROUP, "carol", "--json"]).json();
    assert_eq!(names(&removed), ["alice", "bob", "dan"]);
    members_are(&b, &["alice", "bob", "dan"]);
    members_are(&d, &["alice", "bob", "dan"]);
    let shown = b.ok(&["group", "show", GROUP, "--json"]).json();
    let role = |name: &str| roster(&shown).into_iter().find(|(member, _)| member == name).expect("a member").1;
    assert_eq!((role("alice").as_str(), role("bob").as_str()), ("owner", "member"));
    assert!(shown["epoch"].as_str().is_some_and(|epoch| !epoch.is_empty()), "{shown}");
    assert_eq!(shown["former"][0]["name"], "carol", "{shown}");
    send_to_all(&b, "See you at nine");
    all_agree(&[&a, &b, &d]);
    for home in [a, b, c, d] {
        home.down();
    }
}

#[test]
fn all_members_see_one_history_and_one_group() {
    let (alice, bob, carol) = climbing();
    let plan = send_to_all(&alice, "Saturday at the quary");
    let answer = send_to_all(&bob, "Yes!");
    alice.json(&["msg", "edit", &plan, "Saturday at the quarry"]);
    bob.json(&["msg", "react", &plan, "👍"]);
    carol.json(&["msg", "react", &plan, "🧗"]);
    let slip = send_to_all(&carol, "the wrong window: zanzibar");
    carol.json(&["msg", "delete", &slip, "--both", "--yes"]);
    let reply = carol.json(&["send", GROUP, "I bring the rope", "--reply", &answer, "--wait", "delivered"]);
    until("edit, reactions and deletion are everywhere", || {
        let seen = |home: &Home| {
            let plan = home.message(&plan);
            plan["body"] == "Saturday at the quarry"
                && plan["reactions"].as_array().is_some_and(|reactions| reactions.len() == 2)
                && home.texts(GROUP).len() == 3
        };
        [&alice, &bob, &carol].into_iter().all(seen).then_some(())
    });
    let history = all_agree(&[&alice, &bob, &carol]);
    let from: Vec<String> = history.iter().map(|item| text(&item["from"])).collect();
    assert_eq!(from, ["alice", "bob", "carol"]);
    assert_eq!(history[0]["edits"][0]["body"], "Saturday at the quary");
    assert_eq!((&history[2]["id"], &history[2]["replyTo"]), (&reply["id"], &json!(answer)));
    for home in [&alice, &bob, &carol] {
        assert_eq!(home.json(&["search", "zanzibar"])["items"], json!([]));
        assert_eq!(items(&home.json(&["search", "rope", "--in", GROUP])).len(), 1);
    }
    // Nobody changes what somebody else wrote.
    bob.refused(4, &["msg", "edit", &plan, "Sunday"]);
    alice.down();
    alice.up("alice");
    assert_eq!(shared_history(&alice), history, "a restart changes nothing");
}

#[test]
fn who_is_away_gets_it_later_and_until_then_the_message_is_partly_delivered() {
    let (alice, bob, carol) = climbing();
    carol.down();
    let words = ["send", GROUP, "Who is in?", "--wait", "delivered", "--timeout", "10s", "--json"];
    let outcome = alice.run(&words);
    assert_eq!(outcome.code, 10, "{outcome:?}");
    let sent = outcome.json();
    assert_eq!((&sent["state"], &sent["members"]["bob"]), (&json!("partial"), &json!("delivered")), "{outcome:?}");
    assert_ne!(sent["members"]["carol"], "delivered", "{sent}");
    assert_eq!(sent["partial"], json!({"delivered": 1, "of": 2}), "{sent}");
    assert!(outcome.stderr.contains("silbo msg trace"), "{outcome:?}");
    let id = text(&sent["id"]);
    let trace = alice.json(&["msg", "trace", &id]);
    assert_eq!(trace["members"].as_array().map(Vec::len), Some(2), "{trace}");
    carol.up("carol");
    carol.receives("Who is in?");
    alice.reaches(&id, "delivered");
    let told = carol.events().iter().filter(|event| event["kind"] == "message.received").count();
    assert_eq!(told, 1, "nothing is told twice");
    assert_eq!(bob.texts(GROUP), ["Who is in?"]);
}

#[test]
fn a_removed_member_reads_nothing_that_is_written_afterwards() {
    let (alice, bob, carol) = climbing();
    send_to_all(&alice, "before");
    alice.json(&["group", "remove", GROUP, "carol"]);
    members_are(&bob, &["alice", "bob"]);
    state_is(&carol, "removed");
    bob.event("group.memberLeft", |event| event["member"] == "carol" && event["removed"] == true);
    let epoch = text(&group(&alice)["epoch"]);
    send_to_all(&alice, "the code of the gate is 4711");
    send_to_all(&bob, "thank you");
    // A message from Alice to Carol alone shows that everything before it would have arrived.
    alice.send("carol", "sorry", "delivered");
    assert_eq!(carol.texts(GROUP), ["before"]);
    assert!(!carol.events().iter().any(|event| event.to_string().contains("4711")));
    let refused = carol.run(&["send", GROUP, "let me in"]);
    assert!([4, 5].contains(&refused.code), "{refused:?}");
    common::assert_three_lines(&refused.stderr);
    assert_eq!(text(&group(&bob)["epoch"]), text(&group(&alice)["epoch"]));
    assert_ne!(epoch, "", "{epoch}");
    all_agree(&[&alice, &bob]);
}

#[test]
fn who_asks_to_join_waits_until_somebody_lets_them_in() {
    let (alice, bob, _carol) = climbing();
    let (dan, eve) = (Home::of_person("dan"), Home::of_person("eve"));
    let link = text(&alice.json(&["group", "invite", GROUP, "--uses", "2", "--approval"])["link"]);
    let asked = dan.json(&["group", "join", &link]);
    assert_eq!(asked["local"]["state"], "joining", "{asked}");
    eve.json(&["group", "join", &link]);
    alice.event("group.joinRequest", |event| event["member"] == "dan");
    alice.event("group.joinRequest", |event| event["member"] == "eve");
    let timeout = dan.run(&["group", "join", &link, "--wait", "--timeout", "1s", "--json"]);
    assert_eq!(timeout.code, 6, "nobody has decided yet: {timeout:?}");
    alice.json(&["group", "approve", GROUP, "dan"]);
    state_is(&dan, "active");
    alice.json(&["group", "reject", GROUP, "eve"]);
    members_are(&bob, &["alice", "bob", "carol", "dan"]);
    assert_eq!(group(&alice)["local"]["requests"], json!([]));
    bob.refused(4, &["group", "approve", GROUP, "eve"]);
}

#[test]
fn a_link_serves_as_many_as_it_says_and_none_once_it_is_void() {
    let (alice, _bob, _carol) = climbing();
    let (dan, eve) = (Home::of_person("dan"), Home::of_person("eve"));
    let link = text(&alice.json(&["group", "invite", GROUP])["link"]);
    dan.json(&["group", "join", &link, "--wait"]);
    let second = eve.run(&["group", "join", &link, "--wait", "--timeout", "5s", "--json"]);
    assert_ne!(second.code, 0, "{second:?}");
    let invite = alice.json(&["group", "invite", GROUP, "--uses", "3"]);
    assert_eq!(items(&alice.json(&["group", "link", "list", GROUP])).len(), 1);
    alice.json(&["group", "link", "revoke", GROUP, &text(&invite["id"])]);
    assert_eq!(items(&alice.json(&["group", "link", "list", GROUP])).len(), 0);
    let void = eve.run(&["group", "join", &text(&invite["link"]), "--wait", "--timeout", "5s", "--json"]);
    assert_ne!(void.code, 0, "{void:?}");
    members_are(&alice, &["alice", "bob", "carol", "dan"]);
    eve.refused(2, &["group", "join", "silbo:g/AAAA"]);
}

#[test]
fn roles_say_who_may_do_what() {
    let (alice, bob, carol) = climbing();
    bob.refused(5, &["group", "remove", GROUP, "carol"]);
    bob.refused(5, &["group", "rename", GROUP, "bouldering"]);
    alice.json(&["group", "role", GROUP, "bob", "admin"]);
    alice.json(&["group", "role", GROUP, "carol", "reader"]);
    until("Bob is admin", || (group(&bob)["local"]["role"] == "admin").then_some(()));
    until("Carol is reader", || (group(&carol)["local"]["role"] == "reader").then_some(()));
    carol.refused(5, &["send", GROUP, "may I?"]);
    bob.json(&["group", "rename", GROUP, "bouldering"]);
    bob.json(&["group", "topic", "#bouldering", "ropes"]);
    bob.json(&["group", "disappear", "#bouldering", "7d"]);
    for home in [&alice, &carol] {
        let changed = until("the change is known", || {
            let list = home.json(&["group", "list"]);
            items(&list).iter().find(|group| group["name"] == "bouldering" && group["retentionS"] == 604_800).cloned()
        });
        assert_eq!(changed["topic"], "ropes");
        home.event("group.updated", |event| event["chat"] == changed["id"]);
        assert_eq!(home.json(&["retention", "show", "#bouldering"])["seconds"], 604_800);
    }
}

#[test]
fn who_leaves_keeps_the_history_and_the_others_their_name() {
    let (alice, bob, carol) = climbing();
    send_to_all(&carol, "it was nice here");
    carol.refused(2, &["group", "leave", GROUP]);
    assert_eq!(carol.json(&["group", "leave", GROUP, "--dry-run"])["dryRun"], true);
    carol.json(&["group", "leave", GROUP, "--yes"]);
    assert_eq!(group(&carol)["local"]["state"], "left");
    bob.event("group.memberLeft", |event| event["member"] == "carol" && event["removed"] == false);
    members_are(&bob, &["alice", "bob"]);
    assert_eq!(bob.history(GROUP)[0]["from"], "carol", "Bob never was her contact");
    assert_eq!(carol.texts(GROUP), ["it was nice here"]);
    all_agree(&[&alice, &bob]);
}

#[test]
fn the_export_is_the_history_one_message_a_line() {
    let (alice, bob, _carol) = climbing();
    for number in 0..5 {
        send_to_all(if number % 2 == 0 { &alice } else { &bob }, &format!("message {number}"));
    }
    let lines = bob.ok(&["group", "export", GROUP]);
    let printed: Vec<Value> = lines.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(printed, bob.history(GROUP));
    let file = bob.path().join("history.jsonl");
    let name = file.to_str().expect("a plain path");
    assert_eq!(bob.json(&["group", "export", GROUP, "--file", name])["count"], 5);
    let written = std::fs::File::open(&file).map(std::io::BufReader::new).expect("the file").lines().count();
    assert_eq!(written, 5);
    bob.refused(2, &["group", "export", GROUP, "--file", name]);
}

#[test]
fn newcomers_read_what_the_group_lets_them_read() {
    let (alice, bob, _carol) = climbing();
    let (dan, eve) = (Home::of_person("dan"), Home::of_person("eve"));
    introduce(&alice, "alice", &dan, "dan");
    let plan = send_to_all(&alice, "Saturday at the quary");
    alice.json(&["msg", "edit", &plan, "Saturday at the quarry"]);
    let answer = send_to_all(&bob, "Yes!");
    alice.json(&["msg", "react", &answer, "👍"]);
    bob.refused(5, &["group", "history", GROUP, "all"]);
    let set = alice.json(&["group", "history", GROUP, "30d"]);
    assert_eq!(set["history"], json!({"kind": "days", "days": 30}), "{set}");

    alice.json(&["group", "add", GROUP, "dan"]);
    let told = dan.event("group.history", |event| event["count"] == 2);
    assert_eq!(told["name"], "climbing", "{told}");
    assert_eq!(dan.texts(GROUP), ["Saturday at the quarry", "Yes!"]);
    all_agree(&[&alice, &bob, &dan]);
    let announced = |home: &Home| home.events().iter().filter(|event| event["kind"] == "message.received").count();
    assert_eq!(announced(&dan), 0, "history is not new");
    assert_eq!(dan.json(&["search", "quarry", "--in", GROUP])["items"].as_array().map(Vec::len), Some(1));
    send_to_all(&dan, "I am in");

    let link = text(&alice.json(&["group", "invite", GROUP])["link"]);
    eve.json(&["group", "join", &link, "--wait"]);
    eve.event("group.history", |event| event["count"] == 3);
    assert_eq!(eve.texts(GROUP), ["Saturday at the quarry", "Yes!", "I am in"]);
    eve.down();
    eve.up("eve");
    all_agree(&[&alice, &dan, &eve]);
}

#[test]
fn a_group_votes_and_everybody_sees_the_same_count() {
    let (alice, bob, carol) = climbing();
    let ask = ["msg", "poll", GROUP, "Which day?", "Saturday", "Sunday", "--choices", "2", "--ends", "1d"];
    let id = text(&alice.json(&ask)["id"]);
    bob.receives("Which day?");
    carol.receives("Which day?");
    bob.json(&["msg", "vote", &id, "1", "2"]);
    carol.json(&["msg", "vote", &id, "1"]);
    let told = alice.event("message.voted", |event| event["from"] == "carol");
    assert_eq!((&told["message"], &told["removed"]), (&json!(id), &json!(false)), "{told}");
    carol.json(&["msg", "vote", &id, "2"]);
    let votes = |home: &Home| {
        let poll = home.message(&id)["poll"].clone();
        let names = |option: &Value| -> Vec<String> {
            let votes = option["votes"].as_array().cloned().unwrap_or_default();
            let mut names: Vec<String> = votes.iter().map(|voter| text(&voter["from"])).collect();
            names.sort();
            names
        };
        poll["options"].as_array().cloned().unwrap_or_default().iter().map(names).collect::<Vec<_>>()
    };
    let wanted = [vec!["bob".to_owned()], vec!["bob".to_owned(), "carol".to_owned()]];
    until("the count is the same everywhere", || {
        [&alice, &bob, &carol].into_iter().all(|home| votes(home) == wanted).then_some(())
    });
    assert_eq!(carol.message(&id)["poll"]["mine"], json!([2]));
    let shown = carol.ok(&["history", GROUP]).stdout;
    assert!(shown.contains("*2 Sunday  2  ") && shown.contains(" 1 Saturday  1  bob"), "{shown}");
    bob.refused(2, &["msg", "vote", &id, "3"]);
    bob.refused(2, &["msg", "vote", &id, "0"]);
    alice.refused(2, &["msg", "edit", &id, "Which hill?"]);
    bob.down();
    bob.up("bob");
    bob.json(&["msg", "vote", &id, "--remove"]);
    until("a vote can be taken back", || {
        [&alice, &bob, &carol].into_iter().all(|home| votes(home)[0].is_empty()).then_some(())
    });
}

#[test]
fn who_is_mentioned_is_told_and_what_is_pinned_is_listed_for_all() {
    let (alice, bob, carol) = climbing();
    let plan = send_to_all(&alice, "@Bob brings the rope, @nobody the tea");
    let received = bob.receives("@Bob brings the rope, @nobody the tea");
    assert_eq!(received["mentionsMe"], true, "{received}");
    assert_eq!(carol.receives("@Bob brings the rope, @nobody the tea")["mentionsMe"], Value::Null);
    let account = text(&bob.json(&["me"])["account"]);
    for home in [&alice, &bob, &carol] {
        let item = home.message(&plan);
        assert_eq!(item["mentions"], json!([{"account": account, "name": "bob", "from": 0, "len": 4}]), "{item}");
    }
    assert_eq!(bob.message(&plan)["mentionsMe"], true);
    assert!(bob.ok(&["history", GROUP]).stdout.contains("mentions me"));

    bob.refused(5, &["msg", "pin", &plan]);
    alice.json(&["group", "role", GROUP, "bob", "moderator"]);
    until("Bob is moderator", || (group(&bob)["local"]["role"] == "moderator").then_some(()));
    bob.json(&["msg", "pin", &plan]);
    let told = carol.event("message.pinned", |event| event["message"] == plan.as_str());
    assert_eq!((&told["from"], &told["removed"]), (&json!("bob"), &json!(false)), "{told}");
    until("the pin is listed everywhere", || {
        let pinned = |home: &Home| group(home)["pins"][0]["id"] == plan.as_str();
        [&alice, &bob, &carol].into_iter().all(pinned).then_some(())
    });
    assert!(alice.ok(&["group", "show", GROUP]).stdout.contains("pinned by bob: alice: @Bob brings the rope"));
    let history = all_agree(&[&alice, &bob, &carol]);
    assert_eq!(history[0]["pinned"], true, "{history:?}");
    alice.down();
    alice.up("alice");
    assert_eq!(group(&alice)["pins"][0]["by"], account.as_str());
    alice.json(&["msg", "pin", &plan, "--remove"]);
    until("nothing is pinned", || (group(&carol)["pins"] == json!([])).then_some(()));
    all_agree(&[&alice, &bob, &carol]);
}
