//! Results of the API as text for people. Pure functions; text of others always passes through [`printable`].

mod channels;
mod chats;
mod groups;

use comfy_table::{Table, presets::NOTHING};
use serde_json::Value;

use super::byte_size::describe_bytes;
use super::duration::describe_seconds;
use super::local_time::LocalTime;
use super::mesh::counted;
use super::screen::printable;
pub use channels::{channel, channel_link_title, channels};
pub use chats::{chat, chats};
pub use groups::{group, groups, link_title, links};

/// A member as text; empty where it is missing or null.
#[must_use]
pub fn text(value: &Value, name: &str) -> String {
    match value.get(name) {
        Some(Value::String(text)) => printable(text),
        None | Some(Value::Null) => String::new(),
        Some(other) => printable(&other.to_string()),
    }
}

fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or(0)
}

fn flag(value: &Value, name: &str) -> bool {
    value.get(name).and_then(Value::as_bool).unwrap_or(false)
}

fn items<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn words(value: &Value, name: &str) -> Vec<String> {
    items(value, name).iter().map(|item| printable(item.as_str().unwrap_or_default())).collect()
}

fn minute(value: &Value, name: &str, time: &LocalTime) -> String {
    value.get(name).and_then(Value::as_i64).map_or_else(String::new, |at| time.minute(at))
}

fn yes_no(is: bool) -> String {
    if is { "yes".to_owned() } else { "no".to_owned() }
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\t'], " ")
}

fn table(header: &[&str], rows: Vec<Vec<String>>, none: &str) -> String {
    if rows.is_empty() {
        return none.to_owned();
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>());
    for row in rows {
        table.add_row(row);
    }
    let lines: Vec<String> = table.trim_fmt().lines().map(|line| line.trim().to_owned()).collect();
    lines.join("\n")
}

fn pairs(rows: &[(&str, String)]) -> String {
    let width = rows.iter().filter(|(_, text)| !text.is_empty()).map(|(name, _)| name.len()).max().unwrap_or(0);
    let rows = rows.iter().filter(|(_, text)| !text.is_empty());
    let lines: Vec<String> = rows.map(|(name, text)| format!("{name:width$}  {text}")).collect();
    lines.join("\n")
}

fn transports(value: &Value) -> String {
    let on = value.get("transports").and_then(Value::as_object);
    let names: Vec<&str> =
        on.into_iter().flatten().filter(|(_, on)| **on == Value::Bool(true)).map(|(name, _)| name.as_str()).collect();
    names.join(", ")
}

/// `system.status`
#[must_use]
pub fn status(value: &Value, time: &LocalTime) -> String {
    let relays: Vec<String> = items(value, "relays")
        .iter()
        .map(|relay| {
            format!("{} {}", text(relay, "address"), if flag(relay, "connected") { "(connected)" } else { "(away)" })
        })
        .collect();
    let queued = match number(value, "queued") {
        0 => "nothing waits to be sent".to_owned(),
        count => format!("{count} waiting"),
    };
    let requests = number(value, "requests");
    let asking = if requests == 0 { String::new() } else { format!(", {requests} asking") };
    let mut rows = vec![
        ("name", text(value, "name")),
        ("id", text(value, "id")),
        ("address", text(value, "address")),
        ("node", format!("running since {}, pid {}", minute(value, "startedAt", time), number(value, "pid"))),
        ("listening", words(value, "listen").join("\n           ")),
        ("transports", transports(value)),
        ("nat", text(value, "nat")),
        ("peers", number(value, "peers").to_string()),
        ("contacts", format!("{} ({} online{asking})", number(value, "contacts"), number(value, "online"))),
        ("messages", queued),
        (
            "relays",
            if relays.is_empty() { "none: silbo relay add ADDRESS".to_owned() } else { relays.join("\n           ") },
        ),
    ];
    if let Some(bytes) = value.get("database").and_then(|database| database.get("bytes")).and_then(Value::as_u64) {
        rows.push(("database", describe_bytes(bytes)));
    }
    if let Some(mesh) = value.get("mesh").filter(|mesh| !mesh.is_null()) {
        rows.push(("carried", format!("{}; {}", carried(mesh), willingness(mesh))));
    }
    if let Some(relay) = value.get("relay").filter(|relay| flag(relay, "serving")) {
        rows.push(("serving", relay_counts(relay)));
    }
    pairs(&rows)
}

fn willingness(mesh: &Value) -> String {
    if !flag(mesh, "enabled") {
        return "carries nothing for others: silbo mesh set --carry on".to_owned();
    }
    let power = text(mesh, "power");
    let power = if power.is_empty() { power } else { format!(" ({power})") };
    let (messages, bytes) = (number(mesh, "maxEnvelopes"), describe_bytes(number(mesh, "maxBytes")));
    format!("up to {messages} messages, {bytes}{power}")
}

fn carried(mesh: &Value) -> String {
    let pinned = match number(mesh, "pinned") {
        0 => String::new(),
        count => format!(", {count} of them for friends"),
    };
    format!("{} messages, {}{pinned}", number(mesh, "carried"), describe_bytes(number(mesh, "carriedBytes")))
}

/// `mesh.status`
#[must_use]
pub fn mesh(value: &Value, _: &LocalTime) -> String {
    pairs(&[
        ("willing", willingness(value)),
        ("carried", carried(value)),
        ("receipts", format!("{} passed on", number(value, "vaccines"))),
        ("my mail", format!("{} waiting", number(value, "waiting"))),
        (
            "friends",
            format!("{} carry for me, I carry for {}", number(value, "appointed"), number(value, "carriesFor")),
        ),
        (
            "carriers",
            format!("{} here now, {} met in 24 h", number(value, "carriers"), number(value, "encountersPerDay")),
        ),
        ("since start", format!("{} handed over, {} taken", number(value, "handedOver"), number(value, "taken"))),
        ("radio", value.get("radio").map_or_else(String::new, radio)),
        ("wi-fi direct", value.pointer("/radio/wifiDirect").map_or_else(String::new, wifi_direct)),
    ])
}

/// `mesh.map`
#[must_use]
pub fn mesh_map(value: &Value, _: &LocalTime) -> String {
    let row = |node: &Value| {
        let (contact, route, rid) = (text(node, "contact"), text(node, "route"), text(node, "rid"));
        let rssi = node.get("rssi").and_then(Value::as_i64).map_or_else(String::new, |rssi| format!("{rssi} dBm"));
        vec![
            if contact.is_empty() { "somebody".to_owned() } else { contact },
            if route.is_empty() { "heard".to_owned() } else { route },
            rid,
            rssi,
            if flag(node, "carries") { "carries".to_owned() } else { String::new() },
        ]
    };
    let rows = items(value, "items").iter().map(row).collect();
    table(&["who", "way", "id for now", "signal", ""], rows, "nobody is one step away: silbo mesh announce")
}

/// `mesh.radio`, as nodes near by
#[must_use]
pub fn radio_neighbours(value: &Value, _: &LocalTime) -> String {
    let row = |node: &Value| {
        let rssi = node.get("rssi").and_then(Value::as_i64).map_or_else(String::new, |rssi| format!("{rssi} dBm"));
        vec![
            text(node, "rid"),
            rssi,
            format!("{} s ago", number(node, "heardSecondsAgo")),
            yes_no(flag(node, "linked")),
        ]
    };
    let rows = items(value, "items").iter().map(row).collect();
    table(&["id for now", "signal", "heard", "linked"], rows, &radio(value))
}

/// Whether the radio works, in a few words.
fn radio(value: &Value) -> String {
    match text(value, "bluetooth").as_str() {
        "on" => {
            let (heard, linked) = (number(value, "heard"), number(value, "links"));
            format!("Bluetooth is on ({}): {heard} heard, {linked} linked", text(value, "adapter"))
        }
        "off" => text(value, "reason"),
        _ => "Bluetooth is starting".to_owned(),
    }
}

/// How far Wi-Fi Direct is, in a few words.
fn wifi_direct(value: &Value) -> String {
    let with = text(value, "with");
    match text(value, "state").as_str() {
        "on" => match text(value, "ended") {
            why if why.is_empty() => format!("on ({})", text(value, "interface")),
            why => format!("on ({}); the last time: {why}", text(value, "interface")),
        },
        "off" => text(value, "reason"),
        "busy" => format!("busy: {}", text(value, "reason")),
        "forming" => format!("a group with {with} is being made"),
        "group" if flag(value, "owner") => format!("a group with {with}, of this node"),
        "group" => format!("a group with {with}, of the other node"),
        _ => "starting".to_owned(),
    }
}

/// `message.pack`
#[must_use]
pub fn packed(value: &Value, _: &LocalTime) -> String {
    let parts = [("own", "of mine"), ("carried", "carried for others"), ("vaccines", "receipts")];
    let left = match number(value, "leftOut") {
        0 => String::new(),
        count => format!("; {count} did not fit"),
    };
    format!("packed: {}; {}{left}", counted(value, &parts), describe_bytes(number(value, "bytes")))
}

/// `message.unpack`
#[must_use]
pub fn unpacked(value: &Value, _: &LocalTime) -> String {
    let parts = [
        ("forMe", "for me"),
        ("carried", "to carry on for others"),
        ("vaccines", "receipts"),
        ("refused", "not taken"),
    ];
    format!("taken out: {}", counted(value, &parts))
}

/// `profile.show`
#[must_use]
pub fn profile(value: &Value, _: &LocalTime) -> String {
    let avatar = value.get("avatar").and_then(Value::as_str).filter(|avatar| !avatar.is_empty());
    pairs(&[
        ("name", text(value, "name")),
        ("status", text(value, "status")),
        ("avatar", avatar.map_or_else(String::new, |avatar| describe_bytes(avatar.len() as u64 * 3 / 4))),
        ("id", text(value, "id")),
        ("account", text(value, "account")),
        ("read receipts", yes_no(flag(value, "readReceipts"))),
        ("typing", yes_no(flag(value, "typing"))),
    ])
}

/// `profile.words`
#[must_use]
pub fn recovery_words(value: &Value, _: &LocalTime) -> String {
    let words = words(value, "words");
    let lines: Vec<String> = words
        .chunks(4)
        .enumerate()
        .map(|(row, chunk)| {
            let cells = chunk.iter().enumerate().map(|(column, word)| format!("{:2} {word:10}", row * 4 + column + 1));
            cells.collect::<Vec<_>>().join(" ").trim_end().to_owned()
        })
        .collect();
    lines.join("\n")
}

/// The sentence above an invitation.
#[must_use]
pub fn invite_title(value: &Value, time: &LocalTime) -> String {
    let whom = if text(value, "kind") == "reusable" { "for anybody" } else { "for one person" };
    format!("Invitation {whom}, until {}:", minute(value, "expiresAt", time))
}

/// `invite.list`
#[must_use]
pub fn invites(value: &Value, time: &LocalTime) -> String {
    let row = |invite: &Value| {
        vec![
            text(invite, "id"),
            if text(invite, "kind") == "reusable" { "reusable".to_owned() } else { "one time".to_owned() },
            minute(invite, "expiresAt", time),
            text(invite, "used"),
            text(invite, "heldByRelays"),
        ]
    };
    let rows = items(value, "items").iter().map(row).collect();
    table(&["id", "kind", "until", "used", "relays"], rows, "no invitations: silbo invite")
}

fn presence(contact: &Value) -> String {
    if !flag(contact, "online") {
        return "away".to_owned();
    }
    match text(contact, "route").as_str() {
        "" => "online".to_owned(),
        route => format!("online ({route})"),
    }
}

/// `Contact`
#[must_use]
pub fn contact(value: &Value, time: &LocalTime) -> String {
    let changed = if flag(value, "keyChanged") { ", the key changed: silbo contact verify" } else { "" };
    let kept = match number(value, "retentionS") {
        0 => "for ever".to_owned(),
        seconds => describe_seconds(seconds),
    };
    let own_name = text(value, "profileName");
    pairs(&[
        ("name", text(value, "name")),
        ("calls itself", if own_name == text(value, "name") { String::new() } else { own_name }),
        ("state", text(value, "state")),
        ("status", text(value, "status")),
        ("verified", format!("{}{changed}", text(value, "verification"))),
        ("reachable", presence(value)),
        ("messages kept", kept),
        ("carries for me", if flag(value, "carrier") { "yes, appointed".to_owned() } else { String::new() }),
        ("added", minute(value, "addedAt", time)),
        ("id", text(value, "id")),
    ])
}

/// `contact.list`
#[must_use]
pub fn contacts(value: &Value, _: &LocalTime) -> String {
    let row = |contact: &Value| {
        let verified =
            if flag(contact, "keyChanged") { "KEY CHANGED".to_owned() } else { text(contact, "verification") };
        vec![one_line(&text(contact, "name")), text(contact, "state"), verified, presence(contact), text(contact, "id")]
    };
    let rows = items(value, "items").iter().map(row).collect();
    table(&["name", "state", "verified", "reachable", "id"], rows, "no contacts: silbo invite, or silbo add LINK")
}

/// `contact.verify`: 60 digits in twelve groups of five, four a line.
#[must_use]
pub fn safety_number(value: &Value) -> String {
    let digits: Vec<char> = text(value, "digits").chars().filter(char::is_ascii_digit).collect();
    let groups: Vec<String> = digits.chunks(5).map(|group| group.iter().collect()).collect();
    let lines: Vec<String> = groups.chunks(4).map(|line| line.join("  ")).collect();
    lines.join("\n")
}

fn held(value: &Value, time: &LocalTime) -> String {
    let Some(held) = value.get("held").filter(|held| !held.is_null()) else {
        return String::new();
    };
    let relays = match number(held, "relays") {
        1 => "1 relay".to_owned(),
        count => format!("{count} relays"),
    };
    format!("held by {relays} until {}", minute(held, "untilAt", time))
}

/// `message.send`, `message.wait`: in a group with who has it
#[must_use]
pub fn sent(value: &Value, time: &LocalTime) -> String {
    let path = text(value, "path");
    let path = if path.is_empty() { path } else { format!("path: {path}") };
    let parts = [text(value, "state"), text(value, "id"), path, held(value, time), groups::members_of_message(value)];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ")
}

fn item_line(item: &Value, time: &LocalTime) -> String {
    let outgoing = flag(item, "outgoing");
    let who = if outgoing { "me".to_owned() } else { one_line(&text(item, "from")) };
    let body = if flag(item, "deleted") { "(deleted)".to_owned() } else { text(item, "body") };
    let mut marks = Vec::new();
    if outgoing {
        marks.push(text(item, "state"));
    }
    if item.get("editedAt").is_some_and(|at| !at.is_null()) {
        marks.push("edited".to_owned());
    }
    if flag(item, "pinned") {
        marks.push("pinned".to_owned());
    }
    if flag(item, "mentionsMe") {
        marks.push("mentions me".to_owned());
    }
    marks.extend(items(item, "reactions").iter().map(|reaction| text(reaction, "emoji")));
    let marks = marks.into_iter().filter(|mark| !mark.is_empty()).collect::<Vec<_>>().join(", ");
    let marks = if marks.is_empty() { marks } else { format!("  [{marks}]") };
    let options = poll_options(item, time).into_iter().map(|line| format!("\n{line}")).collect::<String>();
    let body = [body, options].concat().replace('\n', "\n    ");
    format!("{}  {who}: {body}{marks}  {}", minute(item, "sentAt", time), text(item, "id"))
}

/// A line an option, and one that says until when.
fn poll_options(item: &Value, time: &LocalTime) -> Vec<String> {
    let Some(poll) = item.get("poll").filter(|poll| !poll.is_null()) else { return Vec::new() };
    let mine: Vec<u64> = items(poll, "mine").iter().filter_map(Value::as_u64).collect();
    let line = |(number, option): (u64, &Value)| {
        let votes = items(option, "votes");
        let names: Vec<String> = votes.iter().map(|voter| one_line(&text(voter, "from"))).collect();
        let mark = if mine.contains(&number) { "*" } else { " " };
        format!("{mark}{number} {}  {}  {}", one_line(&text(option, "text")), votes.len(), names.join(", "))
            .trim_end()
            .to_owned()
    };
    let mut lines: Vec<String> = (1..).zip(items(poll, "options")).map(line).collect();
    let ends = minute(poll, "endsAt", time);
    if !ends.is_empty() {
        lines.push(format!(" until {ends}"));
    }
    lines
}

/// `history.list`, `search.find`
#[must_use]
pub fn history(value: &Value, time: &LocalTime) -> String {
    let lines: Vec<String> = items(value, "items").iter().map(|item| item_line(item, time)).collect();
    if lines.is_empty() { "no messages".to_owned() } else { lines.join("\n") }
}

/// `message.show`
#[must_use]
pub fn message(value: &Value, time: &LocalTime) -> String {
    let edits: Vec<String> = items(value, "edits")
        .iter()
        .map(|edit| format!("{}  {}", minute(edit, "at", time), one_line(&text(edit, "body"))))
        .collect();
    let reactions: Vec<String> = items(value, "reactions")
        .iter()
        .map(|reaction| format!("{} {}", text(reaction, "emoji"), one_line(&text(reaction, "from"))))
        .collect();
    let mentions: Vec<String> =
        items(value, "mentions").iter().map(|mention| one_line(&text(mention, "name"))).collect();
    pairs(&[
        ("id", text(value, "id")),
        ("chat", text(value, "chat")),
        ("from", text(value, "from")),
        ("state", text(value, "state")),
        ("path", text(value, "path")),
        ("held", held(value, time)),
        ("failed", text(value, "failed")),
        ("sent", minute(value, "sentAt", time)),
        ("stored", minute(value, "storedAt", time)),
        ("reply to", text(value, "replyTo")),
        ("expires", minute(value, "expiresAt", time)),
        ("deleted", if flag(value, "deleted") { "yes".to_owned() } else { String::new() }),
        ("pinned", if flag(value, "pinned") { "yes".to_owned() } else { String::new() }),
        ("mentions", mentions.join(", ")),
        ("earlier", edits.join("\n          ")),
        ("reactions", reactions.join(", ")),
        ("text", text(value, "body")),
        ("options", poll_options(value, time).join("\n          ")),
    ])
}

/// `message.trace`
#[must_use]
pub fn trace(value: &Value, time: &LocalTime) -> String {
    let mut lines = vec![format!("{}  {}", text(value, "state"), text(value, "id"))];
    for hop in items(value, "hops") {
        let at = hop.get("at").and_then(Value::as_i64).map_or_else(String::new, |at| time.second(at));
        let mut line = format!("{at}  {}", text(hop, "what"));
        for (label, name) in [("by", "path"), ("via", "peer")] {
            let found = text(hop, name);
            if !found.is_empty() {
                line.push_str(&format!("  {label} {found}"));
            }
        }
        let until = minute(hop, "untilAt", time);
        if !until.is_empty() {
            line.push_str(&format!("  until {until}"));
        }
        lines.push(line);
    }
    lines.extend(groups::members_of_trace(value));
    lines.join("\n")
}

/// `retention.show`
#[must_use]
pub fn retention(value: &Value, _: &LocalTime) -> String {
    match number(value, "seconds") {
        0 => "messages are kept until they are deleted".to_owned(),
        seconds => format!("messages are kept for {}", describe_seconds(seconds)),
    }
}

/// `relay.list`
#[must_use]
pub fn relays(value: &Value, _: &LocalTime) -> String {
    let row = |relay: &Value| {
        let state = if flag(relay, "connected") { "connected" } else { "away" };
        let own = if flag(relay, "own") { "mine" } else { "contact's" };
        vec![
            text(relay, "peer"),
            state.to_owned(),
            own.to_owned(),
            text(relay, "queues"),
            format!("{} d", number(relay, "retentionDays")),
            text(relay, "address"),
        ]
    };
    let rows = items(value, "items").iter().map(row).collect();
    table(&["peer", "state", "whose", "queues", "keeps", "address"], rows, "no relays: silbo relay add ADDRESS")
}

/// `Relay`
#[must_use]
pub fn relay(value: &Value, _: &LocalTime) -> String {
    let state = if flag(value, "connected") { "connected" } else { "added" };
    format!("{state}  {}", text(value, "address"))
}

fn relay_counts(value: &Value) -> String {
    format!(
        "{} messages held, {}, {} queues, {} refused",
        number(value, "held"),
        describe_bytes(number(value, "bytes")),
        number(value, "queues"),
        number(value, "refused"),
    )
}

/// `relay.status`
#[must_use]
pub fn relay_status(value: &Value, _: &LocalTime) -> String {
    if !flag(value, "serving") {
        return "this node does not serve as a relay: silbo down && silbo relay serve".to_owned();
    }
    pairs(&[
        ("address", text(value, "address")),
        (
            "also",
            words(value, "addresses")
                .into_iter()
                .filter(|a| *a != text(value, "address"))
                .collect::<Vec<_>>()
                .join("\n         "),
        ),
        ("serving", relay_counts(value)),
        ("keeps", format!("{} d", number(value, "retentionDays"))),
    ])
}

/// `net.peers`
#[must_use]
pub fn peers(value: &Value, time: &LocalTime) -> String {
    let row = |peer: &Value| {
        vec![
            text(peer, "peer"),
            text(peer, "route"),
            one_line(&text(peer, "contact")),
            minute(peer, "connectedAt", time),
            words(peer, "addresses").join(" "),
        ]
    };
    let rows = items(value, "items").iter().map(row).collect();
    table(&["peer", "route", "contact", "since", "addresses"], rows, "no peers")
}

/// `net.check`
#[must_use]
pub fn net(value: &Value, _: &LocalTime) -> String {
    let none = |list: Vec<String>| {
        if list.is_empty() { "none".to_owned() } else { list.join("\n           ") }
    };
    pairs(&[
        ("listening", none(words(value, "listen"))),
        ("external", none(words(value, "external"))),
        ("circuits", none(words(value, "circuits"))),
        ("nat", text(value, "nat")),
        ("quic", yes_no(flag(value, "quic"))),
        ("tcp", yes_no(flag(value, "tcp"))),
        ("mdns", yes_no(flag(value, "mdns"))),
        ("upnp", text(value, "upnp")),
    ])
}

/// `system.doctor`
#[must_use]
pub fn doctor(value: &Value, _: &LocalTime) -> String {
    let line = |check: &Value| {
        let mark = if flag(check, "ok") { "ok     " } else { "PROBLEM" };
        let hint = text(check, "hint");
        let hint = if hint.is_empty() { hint } else { format!("\n         hint: {hint}") };
        format!("{mark}  {}: {}{hint}", text(check, "name"), text(check, "detail"))
    };
    items(value, "checks").iter().map(line).collect::<Vec<_>>().join("\n")
}

/// `token.list`
#[must_use]
pub fn tokens(value: &Value, time: &LocalTime) -> String {
    let row = |token: &Value| {
        vec![
            one_line(&text(token, "name")),
            words(token, "scopes").join(", "),
            minute(token, "createdAt", time),
            minute(token, "expiresAt", time),
            minute(token, "lastUsedAt", time),
        ]
    };
    let rows = items(value, "items").iter().map(row).collect();
    table(&["name", "permits", "made", "until", "used"], rows, "no tokens: silbo token create NAME --scope read")
}

/// An event, as `recv` shows it.
#[must_use]
pub fn event(value: &Value, time: &LocalTime) -> String {
    let name = match one_line(&text(value, "name")) {
        name if name.is_empty() => text(value, "chat"),
        name => name,
    };
    let body = text(value, "body").replace('\n', "\n    ");
    if let Some(words) = groups::event(value, &name).or_else(|| channels::event(value, &name)) {
        return format!("{}  {words}", minute(value, "at", time));
    }
    // Its owner names a channel, and could take the name of a contact.
    let name = if flag(value, "channel") { format!("#{name}") } else { name };
    // In a group, who did it.
    let name = match (text(value, "author"), one_line(&text(value, "from"))) {
        (author, _) if author.is_empty() => name,
        (_, from) => format!("#{name}  {from}"),
    };
    let words = match text(value, "kind").as_str() {
        "message.received" => format!("{name}: {body}"),
        "message.sent" => format!("me to {name}: {body}"),
        "message.edited" => format!("{name} edited: {body}"),
        "message.deleted" => format!("{name}: a message was deleted"),
        "message.expired" => format!("{name}: a message expired"),
        "message.reaction" if flag(value, "removed") => {
            format!("{name} took back {}", text(value, "emoji"))
        }
        "message.reaction" => format!("{name} reacted {}", text(value, "emoji")),
        "message.pinned" if flag(value, "removed") => format!("{name} took a pin back"),
        "message.pinned" => format!("{name} pinned a message: silbo msg show {}", text(value, "message")),
        "message.voted" if flag(value, "removed") => format!("{name} took a vote back"),
        "message.voted" => format!("{name} voted: silbo msg show {}", text(value, "message")),
        "message.state" => {
            format!("to {name}: {} {}", text(value, "state"), text(value, "failed")).trim_end().to_owned()
        }
        "contact.request" => {
            format!("{name} asks for contact: {}", text(value, "hello")).trim_end_matches([':', ' ']).to_owned()
        }
        "contact.accepted" => format!("{name} is a contact"),
        "contact.keyChanged" => format!("the key of {name} changed: silbo contact verify {name}"),
        "system.warning" => format!("warning: {}", text(value, "text")),
        kind => format!("{kind} {name}").trim_end().to_owned(),
    };
    format!("{}  {words}", minute(value, "at", time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn time() -> LocalTime {
        LocalTime::new()
    }

    #[test]
    fn a_sent_message_says_state_id_path_and_who_holds_it() {
        let value = json!({"id": "m1", "state": "delivered", "path": "direct", "sentAt": 0});
        assert_eq!(sent(&value, &time()), "delivered  m1  path: direct");
        let value = json!({"id": "m1", "state": "held", "held": {"relays": 2, "untilAt": 1_763_733_909_000_i64}});
        assert!(sent(&value, &time()).starts_with("held  m1  held by 2 relays until 2025-11-2"));
    }

    #[test]
    fn a_history_shows_who_said_what() {
        let value = json!({"items": [
            {"id": "m1", "from": "ada", "outgoing": false, "body": "hi\nthere", "state": "received", "sentAt": 0},
            {"id": "m2", "from": "x", "outgoing": true, "body": "hello", "state": "read", "sentAt": 0, "editedAt": 1,
             "reactions": [{"from": "ada", "emoji": "👍"}]},
            {"id": "m3", "from": "ada", "outgoing": false, "body": "", "state": "received", "sentAt": 0, "deleted": true},
        ]});
        let shown = history(&value, &time());
        assert!(shown.contains("ada: hi\n    there  m1"));
        assert!(shown.contains("me: hello  [read, edited, 👍]  m2"));
        assert!(shown.contains("ada: (deleted)"));
        assert_eq!(history(&json!({"items": []}), &time()), "no messages");
    }

    #[test]
    fn lists_are_tables_with_full_ids() {
        let id = "a".repeat(64);
        let value = json!({"items": [{"id": id, "name": "ada", "state": "active", "verification": "unverified", "online": true, "route": "direct"}]});
        let shown = contacts(&value, &time());
        assert!(shown.contains(&id) && shown.contains("online (direct)"), "{shown}");
        assert_eq!(shown.lines().count(), 2);
        assert!(contacts(&json!({"items": []}), &time()).starts_with("no contacts"));
    }

    #[test]
    fn the_status_names_what_matters() {
        let value = json!({"name": "Ada", "address": "silbo:x", "pid": 7, "startedAt": 0, "listen": ["/ip4/1.2.3.4/udp/1/quic-v1"],
            "transports": {"quic": true, "tcp": false, "mdns": true}, "peers": 2, "contacts": 3, "online": 1, "requests": 1, "queued": 4,
            "relays": [{"address": "/ip4/1.1.1.1/udp/1", "connected": true}], "relay": null,
            "mesh": {"enabled": true, "power": "saver", "maxEnvelopes": 2000, "maxBytes": 2_097_152, "carried": 12, "carriedBytes": 31_744}, "database": {"bytes": 2048}, "nat": "private"});
        let shown = status(&value, &time());
        for part in [
            "Ada",
            "pid 7",
            "mdns, quic",
            "3 (1 online, 1 asking)",
            "4 waiting",
            "(connected)",
            "2.0 KiB",
            "private",
            "12 messages, 31.0 KiB; up to 2000 messages, 2.0 MiB (saver)",
        ] {
            assert!(shown.contains(part), "{part} is missing in:\n{shown}");
        }
    }

    #[test]
    fn a_safety_number_has_three_lines_of_four_groups() {
        let shown = safety_number(&json!({"digits": "1234567890".repeat(6)}));
        assert_eq!(shown.lines().count(), 3);
        assert!(shown.starts_with("12345  67890  12345  67890\n"));
    }

    #[test]
    fn recovery_words_are_numbered() {
        let list: Vec<String> = (1..=12).map(|n| format!("word{n}")).collect();
        let shown = recovery_words(&json!({"words": list}), &time());
        assert_eq!(shown.lines().count(), 3);
        assert!(shown.contains("12 word12"));
    }

    #[test]
    fn a_hostile_name_or_body_cannot_move_the_cursor() {
        let value = json!({"kind": "message.received", "name": "a\u{1b}[1A\nb", "body": "x\u{1b}[2J", "at": 0});
        let shown = event(&value, &time());
        assert!(!shown.contains('\u{1b}'));
        assert_eq!(shown.lines().count(), 1);
    }

    #[test]
    fn a_channel_cannot_pass_as_a_contact() {
        let time = LocalTime::new();
        let value = json!({"kind": "message.received", "name": "ben", "channel": true, "body": "hi", "at": 0});
        assert!(event(&value, &time).ends_with("  #ben: hi"), "{}", event(&value, &time));
    }

    #[test]
    fn a_message_of_a_group_says_group_and_author() {
        let value = json!({"kind": "message.received", "name": "climbing", "from": "dan", "author": "d1", "body": "at six", "at": 0});
        assert!(event(&value, &time()).ends_with("  #climbing  dan: at six"));
        let joined = json!({"kind": "group.memberJoined", "name": "climbing", "member": "dan", "at": 0});
        assert!(event(&joined, &time()).ends_with("  #climbing: dan joined"));
        let value = json!({"id": "m1", "state": "partial", "members": {"bob": "delivered", "dan": "queued"}});
        assert_eq!(sent(&value, &time()), "partial  m1  1 of 2: bob delivered, dan queued");
    }

    #[test]
    fn missing_members_leave_no_trace_and_no_panic() {
        let nothing = json!({});
        let time = time();
        for shown in [
            status(&nothing, &time),
            contact(&nothing, &time),
            message(&nothing, &time),
            net(&nothing, &time),
            trace(&nothing, &time),
        ] {
            assert!(!shown.contains("null"), "{shown}");
        }
    }

    #[test]
    fn a_trace_lists_every_hop() {
        let value = json!({"id": "m1", "state": "delivered", "hops": [
            {"at": 0, "what": "queued"}, {"at": 1000, "what": "held", "path": "relay", "peer": "12D3", "untilAt": 5_000},
            {"at": 2000, "what": "delivered", "path": "direct"}]});
        let shown = trace(&value, &time());
        assert_eq!(shown.lines().count(), 4);
        assert!(shown.contains("held  by relay  via 12D3  until 1970-01-01") || shown.contains("until 1969-12-31"));
    }
}
