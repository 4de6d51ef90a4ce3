//! Channels among real nodes: one writes, others read from each other, and the owner may be gone.

mod common;

use serde_json::json;

use common::{Home, items, text, until};

/// Makes a link of a channel, on this node.
fn link(home: &Home, words: &[&str]) -> String {
    text(&home.json(&[&["channel", "link", "#news"], words].concat())["link"])
}

fn wait_texts(home: &Home, expected: &[&str]) {
    until(&format!("{expected:?} are shown"), || (home.texts("#news") == expected).then_some(()));
}

#[test]
fn a_late_reader_catches_up_from_another_reader_while_the_owner_is_down() {
    let (owner, first, late) = (Home::of_person("ada"), Home::of_person("ben"), Home::of_person("cleo"));
    let made = owner.json(&["channel", "create", "news", "--topic", "what is new"]);
    assert_eq!((text(&made["name"]).as_str(), &made["owner"]), ("news", &true.into()));
    owner.json(&["channel", "post", "#news", "one"]);
    let two = owner.json(&["send", "#news", "two"]);
    assert_eq!(text(&two["state"]), "queued");
    first.json(&["channel", "join", &link(&owner, &[]), "--serve"]);
    wait_texts(&first, &["one", "two"]);
    // Another reader has it: the owner may go.
    until("the owner knows that a reader has it", || {
        (text(&owner.json(&["msg", "show", &text(&two["id"])])["state"]) == "delivered").then_some(())
    });
    let deliveries = owner.call("message.deliveries", json!({"id": two["id"]}));
    assert_eq!(
        (&deliveries["state"], &deliveries["members"]),
        (&json!("delivered"), &json!([])),
        "nobody knows who reads"
    );
    assert_eq!(link(&owner, &["--from", "today"]), link(&owner, &[]), "the first day is today");
    owner.down();
    // Power fails at the reader, too.
    first.kill();
    first.up("ben");
    late.json(&["channel", "join", &link(&first, &[])]);
    wait_texts(&late, &["one", "two"]);
    let shown = late.json(&["channel", "show", "news"]);
    assert_eq!((text(&shown["topic"]).as_str(), &shown["owner"]), ("what is new", &false.into()));
    assert!(shown.get("forked").is_none());
    // They are strangers to each other, and nobody but the owner writes.
    for reader in [&first, &late] {
        assert!(items(&reader.json(&["contact", "list"])).is_empty());
        let refusal = reader.refused(5, &["send", "#news", "me too"]);
        assert!(refusal.contains("only the owner"), "{refusal}");
        reader.refused(5, &["channel", "link", "#news", "--from", "today"]);
    }
    // What the owner writes when it is back reaches both, whoever finds whom.
    owner.up("ada");
    for reader in [&first, &late] {
        reader.json(&["channel", "join", &link(&owner, &[])]);
    }
    owner.json(&["channel", "post", "#news", "three"]);
    wait_texts(&first, &["one", "two", "three"]);
    wait_texts(&late, &["one", "two", "three"]);
    let events = late.events();
    assert!(events.iter().filter(|event| event["kind"] == "message.received").all(|event| event["channel"] == true));
    let received = events.iter().filter(|event| event["kind"] == "message.received").count();
    assert_eq!(received, 3, "each once");
    late.json(&["channel", "leave", "#news", "--yes"]);
    assert!(items(&late.json(&["channel", "list"])).is_empty());
    for home in [&owner, &first, &late] {
        home.down();
    }
}

#[test]
fn a_group_and_a_channel_of_one_name_are_told_apart_and_settings_are_checked() {
    let owner = Home::of_person("ada");
    owner.json(&["group", "create", "news"]);
    let made = owner.json(&["channel", "create", "#news", "--disappear", "7d"]);
    assert_eq!(made["retentionDays"], 7);
    let refusal = owner.refused(4, &["send", "#news", "to whom?"]);
    assert!(refusal.contains("groups and channels"), "{refusal}");
    let id = text(&made["id"]);
    owner.json(&["send", &id, "to the channel"]);
    owner.json(&["channel", "post", "news", "and again"]);
    assert_eq!(owner.texts(&id), ["to the channel", "and again"]);
    owner.json(&["channel", "set", "news", "--name", "bulletin", "--serve", "off"]);
    let shown = owner.json(&["channel", "show", "bulletin"]);
    assert_eq!((&shown["serve"], text(&shown["name"]).as_str()), (&false.into(), "bulletin"));
    let list = owner.json(&["list"]);
    assert!(items(&list).iter().any(|chat| chat["id"] == *id && chat["channel"] == true));
    owner.json(&["chat", "mute", "#bulletin", "1h"]);
    assert!(items(&owner.json(&["search", "again", "--in", "#bulletin"])).len() == 1);
    owner.refused(2, &["channel", "set", "bulletin"]);
    owner.refused(2, &["channel", "create", "x", "--disappear", "36h"]);
    owner.refused(2, &["channel", "join", "silbo:c/nothing"]);
    owner.refused(4, &["channel", "show", "#nothing"]);
    owner.refused(2, &["send", "#bulletin", "x", "--no-infra"]);
    owner.down();
}
