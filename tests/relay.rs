//! What a relay promises: it keeps what it has signed for, it comes back at the same address, it may be lost if there
//! is another, and whoever takes its disk learns neither who writes nor what.

mod common;

use common::{Home, ada_bob_and_relay, disk, text, until};
use silbo_protocol::wire::base32;

#[test]
fn all_messages_arrive_though_one_of_two_relays_is_killed_and_wiped_after_its_receipt() {
    let (ada, bob) = (Home::of_person("Ada"), Home::new());
    let relays = [Home::of_relay(), Home::of_relay()];
    relays.iter().for_each(|relay| ada.use_relay(relay));
    let link = ada.invite_held_by(2);
    ada.down();

    bob.up("Bob");
    bob.json(&["add", &link, "--as", "ada"]);
    let bodies: Vec<String> = (1..=5).map(|n| format!("message {n}")).collect();
    for body in &bodies {
        let id = bob.send("ada", body, "held");
        until("both relays hold it", || (bob.message(&id)["held"]["relays"] == 2).then_some(()));
    }
    bob.down();
    relays[0].kill_and_wipe();

    ada.up("Ada");
    bodies.iter().for_each(|body| drop(ada.receives(body)));
    assert_eq!(ada.texts("Bob"), bodies);
    let answer = ada.send("Bob", "all of them", "held");
    ada.down();
    bob.up("Bob");
    bob.receives("all of them");
    bob.down();
    ada.up("Ada");
    ada.reaches(&answer, "delivered");
}

#[test]
fn a_killed_relay_comes_back_at_its_address_with_what_it_held() {
    let (ada, bob, relay) = ada_bob_and_relay();
    let address = relay.relay_address();
    ada.down();
    bob.send("ada", "before the kill", "held");
    let holds = || relay.json(&["relay", "status"])["held"].as_u64().expect("a count");
    let held = holds();
    assert_ne!(held, 0);
    relay.kill();
    let meanwhile = text(&bob.json(&["send", "ada", "during it"])["id"]);
    relay.serve();
    assert_eq!(relay.relay_address(), address);
    // It may have taken more by now: Bob comes back to it by himself.
    assert!(holds() >= held, "nothing it has signed for is lost");
    bob.down();
    bob.up("Bob");
    bob.reaches(&meanwhile, "held");
    bob.down();
    ada.up("Ada");
    ada.receives("before the kill");
    ada.receives("during it");
    assert_eq!(ada.texts("Bob"), ["before the kill", "during it"]);
    until("what was fetched is erased", || (holds() == 0).then_some(()));
}

#[test]
fn a_conversation_goes_on_over_a_restart_of_the_relay() {
    let (ada, bob, relay) = ada_bob_and_relay();
    let address = relay.relay_address();
    ada.down();
    bob.send("ada", "before the restart", "held");
    relay.down();
    let meanwhile = text(&bob.json(&["send", "ada", "during it"])["id"]);
    assert_eq!(bob.message(&meanwhile)["state"], "queued");
    relay.serve();
    assert_eq!(relay.relay_address(), address);
    bob.reaches(&meanwhile, "held");
    bob.send("ada", "after it", "held");
    ada.up("Ada");
    let bodies = ["before the restart", "during it", "after it"];
    bodies.iter().for_each(|body| drop(ada.receives(body)));
    assert_eq!(ada.texts("Bob"), bodies);
}

#[test]
fn the_disk_of_a_relay_tells_neither_who_writes_nor_what_nor_from_where() {
    let names = ["Adelheid Quellwasser", "Balthasar Nordwind"];
    // Each has its own address, so that one of them on the relay's disk would be seen.
    let (ada, bob, relay) = (Home::at("127.0.0.2"), Home::at("127.0.0.3"), Home::at("127.0.0.4"));
    ada.up(names[0]);
    bob.up(names[1]);
    relay.serve();
    ada.use_relay(&relay);
    bob.use_relay(&relay);
    let link = ada.invite_held_by(1);
    bob.json(&["add", &link, "--as", "ada", "--wait"]);
    ada.contact_is(names[1], "active");
    until("the relay has met both", || {
        let peers = relay.json(&["net", "peers"]).to_string();
        (peers.contains("127.0.0.2") && peers.contains("127.0.0.3")).then_some(())
    });
    let mut secret_texts: Vec<String> = names.map(str::to_owned).to_vec();
    for home in [&ada, &bob] {
        let status = home.json(&["status"]);
        secret_texts.extend([text(&status["id"]), text(&status["account"])]);
        let peer = text(&status["address"]).rsplit('/').next().expect("a peer id").to_owned();
        assert!(peer.len() > 40, "{status}");
        secret_texts.push(peer);
    }
    ada.down();
    let texts = ["the harvest begins on thursday", "bring the long ladder"];
    for body in texts {
        secret_texts.push(bob.send("ada", body, "held"));
        secret_texts.push(body.to_owned());
    }
    assert!(relay.json(&["relay", "status"])["held"].as_u64() >= Some(2));
    bob.down();
    relay.down();

    let mut needles: Vec<(String, Vec<u8>)> = Vec::new();
    for secret in &secret_texts {
        needles.push((secret.clone(), secret.clone().into_bytes()));
        needles.push((format!("{secret}, in capitals"), secret.to_uppercase().into_bytes()));
        if let Some(raw) = base32::decode(secret).filter(|raw| raw.len() >= 8) {
            needles.push((format!("{secret}, raw"), raw));
        }
    }
    assert!(
        needles.iter().filter(|(name, _)| name.ends_with(", raw")).count() >= 4,
        "both ids of both have a raw form"
    );
    for ip in ["127.0.0.2", "127.0.0.3"] {
        needles.push((ip.to_owned(), ip.as_bytes().to_vec()));
    }
    needles.push(("127.0.0.2, raw".to_owned(), vec![127, 0, 0, 2]));
    needles.push(("127.0.0.3, raw".to_owned(), vec![127, 0, 0, 3]));

    // What lies there as it is, and what the key that lies beside it opens. The relay's own address, 127.0.0.4, may be
    // in its own files: it is what it tells everybody.
    let mut found = disk::files(&relay.path());
    found.extend(disk::opened_databases(&relay.path()));
    assert!(found.iter().any(|file| file.name == "state/silbo.log" && !file.bytes.is_empty()), "the log is among them");
    let mailbox = found.iter().find(|file| file.name == "mailbox.db, opened").expect("the mailbox");
    assert!(mailbox.bytes.len() > 1_000, "what is held is in the opened mailbox");
    for (name, needle) in &needles {
        for file in &found {
            assert!(!file.has(needle), "{name} is in {}", file.name);
        }
    }
    // The same look at Bob's disk finds all of it, so it would have found it at the relay.
    let own = disk::opened_databases(&bob.path());
    for body in texts {
        assert!(own.iter().any(|file| file.has(body.as_bytes())), "{body} is not on Bob's own disk");
    }
    assert!(!disk::files(&bob.path()).iter().any(|file| file.has(texts[0].as_bytes())), "only encrypted, even there");

    relay.serve();
    ada.up(names[0]);
    texts.iter().for_each(|body| drop(ada.receives(body)));
}

#[test]
fn a_removed_relay_is_no_longer_ours() {
    let (ada, relay) = (Home::of_person("Ada"), Home::of_relay());
    ada.use_relay(&relay);
    let address = relay.relay_address();
    ada.refused(2, &["relay", "remove", &address]);
    assert_eq!(ada.json(&["relay", "remove", &address, "--dry-run"])["dryRun"], true);
    assert_eq!(ada.json(&["relay", "list"])["items"][0]["own"], true, "asking removes nothing");
    ada.ok(&["relay", "remove", &address, "--yes"]);
    let list = ada.json(&["relay", "list"]);
    assert!(common::items(&list).iter().all(|relay| relay["own"] == false), "{list}");
    ada.refused(2, &["relay", "add", "/ip4/127.0.0.1/udp/4001/quic-v1"]);
    ada.refused(2, &["relay", "add", "127.0.0.1:4001"]);
}
