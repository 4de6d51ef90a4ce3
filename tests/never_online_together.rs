//! Two people who are never online at the same moment: from the invitation on, one relay carries everything.

mod common;

use std::collections::BTreeSet;

use common::{Home, text};

#[test]
fn from_the_invitation_to_the_tenth_message_by_one_relay() {
    let (ada, bob, relay) = (Home::of_person("Ada"), Home::new(), Home::of_relay());
    ada.use_relay(&relay);
    let link = ada.invite_held_by(1);
    ada.down();

    bob.up("Bob");
    bob.json(&["add", &link, "--as", "ada"]);
    let first: Vec<String> = (1..=5).map(|n| format!("Bob's message {n}")).collect();
    for body in &first {
        bob.send("ada", body, "held");
    }
    bob.down();

    ada.up("Ada");
    ada.contact_is("Bob", "active");
    first.iter().for_each(|body| drop(ada.receives(body)));
    assert_eq!(ada.texts("Bob"), first);
    let second: Vec<String> = (1..=5).map(|n| format!("Ada's message {n}")).collect();
    for body in &second {
        ada.send("Bob", body, "held");
    }
    ada.down();

    bob.up("Bob");
    bob.contact_is("ada", "active");
    second.iter().for_each(|body| drop(bob.receives(body)));
    let all = [first, second].concat();
    assert_eq!(bob.texts("ada"), all);
    for item in bob.history("ada").iter().filter(|item| item["from"] == "me") {
        bob.reaches(&text(&item["id"]), "delivered");
    }
    bob.down();

    ada.up("Ada");
    assert_eq!(ada.texts("Bob"), all);
    for item in ada.history("Bob").iter().filter(|item| item["from"] == "me") {
        ada.reaches(&text(&item["id"]), "delivered");
    }
    let shown: Vec<String> = ada.history("Bob").iter().map(|item| text(&item["id"])).collect();
    assert_eq!(shown.iter().collect::<BTreeSet<_>>().len(), 10, "each message is there once");
    let arrived = ada.events().iter().filter(|event| event["kind"] == "message.received").count();
    assert_eq!(arrived, 5, "each message was told once");
    ada.down();
    relay.down();
}
