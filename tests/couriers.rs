//! Mail that people carry: in a file, as a text, and over links of people who meet. Sender and receiver never meet.

mod common;

use std::fs;
use std::path::Path;

use common::{Home, disk, run, silbo, text, until};
use serde_json::Value;

const TEXT: &str = "the well is dry, come by the mill at six";
/// More than the longest pause before a receipt is published (71 minutes).
const LATER_MS: &str = "5400000";

/// Starts a node whose wall clock is 90 minutes ahead, so that what waits a while has waited.
fn up_later(home: &Home, name: &str) {
    let mut command = silbo();
    command.env("SILBO_CLOCK_AHEAD_MS", LATER_MS).arg("--home").arg(home.path());
    command.args(["up", "--yes", "--name", name, "--listen", &home.listen(), "--no-mdns"]);
    let outcome = run(command, "");
    assert_eq!(outcome.code, 0, "{outcome:?}");
    home.remember_pid();
}

/// Two people who are contacts under their own names; both are up.
fn introduce(inviting: &Home, inviting_name: &str, adding: &Home, adding_name: &str) {
    let link = text(&inviting.json(&["invite"])["link"]);
    adding.json(&["add", &link, "--as", inviting_name, "--wait", "--timeout", "30s"]);
    inviting.contact_is(adding_name, "active");
}

fn mesh(home: &Home, name: &str) -> u64 {
    let status = home.json(&["mesh", "status"]);
    status[name].as_u64().unwrap_or_else(|| panic!("no {name}: {status}"))
}

fn mesh_is(home: &Home, name: &str, wanted: u64) {
    until(&format!("{name} is {wanted}"), || (mesh(home, name) == wanted).then_some(()));
}

fn export(home: &Home, file: &Path) -> Value {
    home.json(&["msg", "carry", "export", "--file", file.to_str().expect("a plain path")])
}

fn import(home: &Home, from: &Path) -> Value {
    home.json(&["msg", "carry", "import", from.to_str().expect("a plain path")])
}

/// No file of a home holds these bytes, and the search would find them if one did.
fn nothing_is_readable(home: &Home, needle: &str) {
    let found = |home: &Home| {
        let all = disk::files(&home.path());
        all.into_iter().filter(|file| file.has(needle.as_bytes())).map(|file| file.name).collect::<Vec<_>>()
    };
    assert_eq!(found(home), Vec::<String>::new());
    let control = home.path().join("data/spool/control");
    fs::write(&control, format!("x{needle}x")).expect("write");
    assert_eq!(found(home), ["data/spool/control"]);
    fs::remove_file(control).expect("remove");
}

fn hops(home: &Home, id: &str) -> Vec<String> {
    let trace = home.json(&["msg", "trace", id]);
    trace["hops"].as_array().expect("hops").iter().map(|hop| text(&hop["what"])).collect()
}

#[test]
fn a_message_and_its_receipt_travel_in_bags_by_way_of_a_stranger() {
    let (ada, bob, cleo) = (Home::of_person("Ada"), Home::of_person("Bob"), Home::of_person("Cleo"));
    let stick = tempfile::tempdir().expect("a temporary folder");
    introduce(&ada, "ada", &bob, "Bob");
    bob.down();

    let id = text(&ada.json(&["send", "Bob", TEXT])["id"]);
    let file = stick.path().join("from-ada");
    let packed = export(&ada, &file);
    assert!(packed["own"].as_u64() >= Some(1) && packed["leftOut"] == 0, "{packed}");
    assert!(hops(&ada, &id).contains(&"carried".to_owned()), "{:?}", hops(&ada, &id));
    let file_word = file.to_str().expect("a plain path");
    ada.refused(2, &["msg", "carry", "export", "--file", file_word]);
    ada.down();
    let bag = fs::read(&file).expect("the bag");
    assert!(!bag.windows(TEXT.len()).any(|window| window == TEXT.as_bytes()), "the bag is sealed");

    let mut damaged = bag.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    for (name, bytes) in [("flipped", &damaged[..]), ("cut", &bag[..bag.len() - 9]), ("other", b"no bag at all")] {
        let path = stick.path().join(name);
        fs::write(&path, bytes).expect("write");
        let words = cleo.refused(2, &["msg", "carry", "import", path.to_str().expect("a plain path")]);
        assert!(words.contains("nothing was taken"), "{words}");
    }
    assert_eq!(mesh(&cleo, "carried"), 0);
    let taken = import(&cleo, &file);
    let carried = mesh(&cleo, "carried");
    assert!(carried >= 1 && taken["carried"] == carried && taken["forMe"] == 0, "{taken}");
    assert_eq!(import(&cleo, &file)["carried"], 0, "twice does no harm");
    assert_eq!(mesh(&cleo, "carried"), carried);
    nothing_is_readable(&cleo, TEXT);
    assert!(cleo.ok(&["status"]).stdout.contains(&format!("{carried} messages")));
    cleo.down();
    cleo.up("Cleo");
    assert_eq!(mesh(&cleo, "carried"), carried, "what is carried is there after a restart");

    let packed = cleo.json(&["msg", "carry", "export", "--text"]);
    assert_eq!((&packed["own"], &packed["carried"]), (&0.into(), &carried.into()), "{packed}");
    let words = text(&packed["text"]);
    bob.up("Bob");
    let taken = bob.json(&["msg", "carry", "import", &words]);
    assert!(taken["forMe"].as_u64() >= Some(1), "{taken}");
    assert_eq!(bob.receives(TEXT)["path"], "courier");
    bob.json(&["msg", "carry", "import", &words.to_lowercase()]);
    import(&bob, &file);
    assert_eq!(bob.texts("ada"), [TEXT]);
    let told = bob.events().iter().filter(|event| event["kind"] == "message.received").count();
    assert_eq!(told, 1);
    bob.down();

    // The receipt is published after a pause; then it goes the same way back.
    up_later(&bob, "Bob");
    until("the receipt is published", || (mesh(&bob, "vaccines") >= 1).then_some(()));
    let file = stick.path().join("from-bob");
    assert!(export(&bob, &file)["vaccines"].as_u64() >= Some(1));
    bob.down();
    assert!(import(&cleo, &file)["vaccines"].as_u64() >= Some(1));
    assert_eq!(mesh(&cleo, "carried"), 0, "what has arrived is carried no more");
    assert!(import(&cleo, &stick.path().join("from-ada"))["carried"] == 0, "and never again");
    let file = stick.path().join("from-cleo");
    export(&cleo, &file);
    ada.up("Ada");
    assert_eq!(ada.message(&id)["state"], "queued");
    import(&ada, &file);
    let item = ada.reaches(&id, "delivered");
    assert_eq!(item["path"], "courier", "{item}");
    assert_eq!(mesh(&ada, "waiting"), 0);
    ada.down();
    cleo.down();
}

#[test]
fn a_message_goes_from_hand_to_hand_over_links_and_the_store_is_empty_afterwards() {
    let (ada, bob, cleo) = (Home::of_person("Ada"), Home::of_person("Bob"), Home::of_person("Cleo"));
    introduce(&ada, "ada", &bob, "Bob");
    introduce(&ada, "ada", &cleo, "Cleo");
    introduce(&bob, "bob", &cleo, "Cleo");
    bob.json(&["mesh", "appoint", "Cleo"]);
    assert_eq!(mesh(&bob, "appointed"), 1);
    bob.down();

    let id = text(&ada.json(&["send", "Bob", TEXT])["id"]);
    until("Cleo carries it", || (mesh(&cleo, "carried") >= 1).then_some(()));
    until("the trace says so", || hops(&ada, &id).contains(&"carried".to_owned()).then_some(()));
    assert!(mesh(&ada, "carriers") >= 1 && mesh(&ada, "handedOver") >= 1);
    ada.down();
    nothing_is_readable(&cleo, TEXT);

    bob.up("Bob");
    assert_eq!(bob.receives(TEXT)["path"], "courier");
    bob.down();
    up_later(&bob, "Bob");
    mesh_is(&cleo, "carried", 0);
    bob.down();

    ada.up("Ada");
    let item = ada.reaches(&id, "delivered");
    assert_eq!(item["path"], "courier", "{item}");
    ada.down();
    cleo.down();
    bob.up("Bob");
    assert_eq!(bob.texts("ada"), [TEXT]);
    let told = bob.events().iter().filter(|event| event["kind"] == "message.received").count();
    assert_eq!(told, 1);
    bob.down();
}

#[test]
fn a_message_that_avoids_the_network_goes_by_hand_though_both_are_connected() {
    let (ada, bob) = common::ada_and_bob();
    let stick = tempfile::tempdir().expect("a temporary folder");
    let secret = text(&ada.json(&["send", "Bob", TEXT, "--no-infra", "--ttl", "24h"])["id"]);
    ada.send("Bob", "by the link", "delivered");
    assert_eq!(ada.message(&secret)["state"], "queued");
    assert_eq!(bob.texts("ada"), ["by the link"]);
    let file = stick.path().join("bag");
    let word = file.to_str().expect("a plain path");
    ada.refused(4, &["msg", "carry", "export", "--to", "nobody", "--file", word]);
    let packed = ada.json(&["msg", "carry", "export", "--to", "Bob", "--file", word]);
    // What goes by the link may be waiting for its receipt at this moment, and is packed as well.
    assert!(packed["own"].as_u64() >= Some(1) && packed["carried"] == 0, "{packed}");
    assert_eq!(import(&bob, &file)["forMe"], packed["own"]);
    assert_eq!(bob.receives(TEXT)["path"], "courier");
    ada.down();
    bob.down();
}

#[test]
fn what_a_device_carries_for_others_is_its_owners_choice() {
    let home = Home::of_person("Ada");
    let status = home.json(&["mesh", "status"]);
    assert_eq!((&status["enabled"], &status["power"]), (&Value::from(true), &Value::from("performance")));
    assert_eq!(home.json(&["mesh", "power", "saver"])["maxBytes"], 2 << 20);
    let own = home.json(&["mesh", "set", "--max-messages", "500", "--max-size", "1MiB", "--carry", "off"]);
    assert_eq!((&own["enabled"], &own["power"], &own["maxEnvelopes"]), (&false.into(), &Value::Null, &500.into()));
    assert!(home.ok(&["status"]).stdout.contains("carries nothing for others"));
    home.down();
    home.up("Ada");
    assert_eq!(home.json(&["status"])["mesh"]["maxBytes"], 1 << 20, "it is kept");
    home.refused(2, &["mesh", "set"]);
    home.refused(2, &["mesh", "set", "--max-size", "1GiB"]);
    home.refused(2, &["send", "me", "hi", "--ttl", "5s"]);
    let words = home.refused(7, &["mesh", "announce"]);
    assert!(words.contains("transports.mdns"), "{words}");
    home.down();
}
