//! Groups as text.

use serde_json::Value;

use super::{LocalTime, describe_seconds, flag, items, minute, number, one_line, pairs, table, text, yes_no};

/// What is said of a member whose device changed the group twice at once.
const FORKED: &str = "made two versions of the group: a copied or restored device, or a lie";
const DISPUTED: &str =
    "an admin's device makes something else of the changes than this one: compare the versions of Silbo";

fn name_of<'a>(group: &'a Value, account: &str) -> Option<&'a Value> {
    let here = items(group, "members").iter().chain(items(group, "former"));
    here.into_iter().find(|member| member["account"] == account)
}

/// A member by name; with what a contact is called here, where that is another word.
fn member_name(group: &Value, member: &Value) -> String {
    let name = one_line(&text(member, "name"));
    let own = member["account"] == group["local"]["account"];
    let contacts = items(&group["local"], "contacts");
    let alias = contacts.iter().find(|contact| contact["account"] == member["account"]);
    match alias.map(|contact| one_line(&text(contact, "alias"))) {
        _ if own => format!("{name} (me)"),
        Some(alias) if alias != name => format!("{name} ({alias})"),
        _ => name,
    }
}

/// `Group`
#[must_use]
pub fn group(value: &Value, time: &LocalTime) -> String {
    let local = &value["local"];
    let own = match (text(local, "state"), text(local, "role")) {
        (state, role) if role.is_empty() || state != "active" => state,
        (_, role) => role,
    };
    let kept = match number(value, "retentionS") {
        0 => "for ever".to_owned(),
        seconds => describe_seconds(seconds),
    };
    let slow = match number(value, "slowModeS") {
        0 => String::new(),
        seconds => format!("one message in {}", describe_seconds(seconds)),
    };
    let history = match text(&value["history"], "kind").as_str() {
        "days" => format!("{} days", number(&value["history"], "days")),
        "" => String::new(),
        "none" => "nothing".to_owned(),
        other => other.to_owned(),
    };
    let may = [("add", "mayAdd"), ("write", "maySend"), ("delete", "mayDelete")];
    let may: Vec<String> = may
        .iter()
        .filter(|(_, name)| value.get(name).is_some())
        .map(|(verb, name)| format!("{verb}: {} and above", text(value, name)))
        .collect();
    let head = pairs(&[
        ("name", one_line(&format!("#{}", text(value, "name")))),
        ("topic", one_line(&text(value, "topic"))),
        ("I am", own),
        ("messages kept", kept),
        ("newcomers read", history),
        ("may", may.join(", ")),
        ("slow mode", slow),
        ("frozen", if flag(value, "frozen") { yes_no(true) } else { String::new() }),
        ("keys", format!("{}{}", text(value, "epoch"), if flag(local, "rekeyDue") { ", to be renewed" } else { "" })),
        ("id", text(value, "id")),
    ]);
    let row = |member: &Value| {
        let by = text(member, "addedBy");
        let by = name_of(value, &by).map_or(by, |by| one_line(&text(by, "name")));
        let muted = minute(member, "mutedUntilAt", time);
        let role = text(member, "role");
        let role = if muted.is_empty() { role } else { format!("{role}, muted until {muted}") };
        let role = if flag(member, "forked") { format!("{role}, {FORKED}") } else { role };
        vec![member_name(value, member), role, by, text(member, "account")]
    };
    let rows = items(value, "members").iter().map(row).collect();
    let mut parts = vec![head, table(&["member", "role", "added by", "account"], rows, "no members known yet")];
    parts.extend(items(local, "requests").iter().map(|request| {
        let (name, account) = (one_line(&text(request, "name")), text(request, "account"));
        format!("{name} asks to join: silbo group approve '#{}' {account}", text(value, "name"))
    }));
    parts.extend(items(value, "pins").iter().map(|pin| {
        let by = text(pin, "by");
        let by = name_of(value, &by).map_or(by, |by| one_line(&text(by, "name")));
        // The command line adds the message to what the API says of a pin.
        let message = &pin["message"];
        let said = match (text(message, "from"), text(message, "body")) {
            (from, body) if body.is_empty() => from,
            (from, body) => format!("{}: {}", one_line(&from), one_line(&body)),
        };
        format!("pinned by {by}: {said}  {}", text(pin, "id"))
    }));
    let checkpoint = &value["checkpoint"];
    if checkpoint.is_object() && !flag(checkpoint, "agrees") {
        let by = text(checkpoint, "by");
        let by = name_of(value, &by).map_or(by, |by| one_line(&text(by, "name")));
        parts.push(format!("{DISPUTED} ({by})"));
    }
    parts.extend(items(value, "void").iter().map(|void| {
        let author = text(void, "author");
        let author = name_of(value, &author).map_or(author, |author| one_line(&text(author, "name")));
        format!("does not count: {author}: {} ({})", one_line(&text(void, "what")), one_line(&text(void, "why")))
    }));
    parts.join("\n")
}

/// `group.list`
#[must_use]
pub fn groups(value: &Value, _: &LocalTime) -> String {
    let row = |group: &Value| {
        let local = &group["local"];
        let members = items(group, "members").len().to_string();
        let name = one_line(&format!("#{}", text(group, "name")));
        vec![name, text(local, "state"), text(local, "role"), members, text(group, "id")]
    };
    let rows = items(value, "items").iter().map(row).collect();
    table(&["name", "state", "role", "members", "id"], rows, "no groups: silbo group create NAME MEMBERS")
}

/// The sentence above a link.
#[must_use]
pub fn link_title(value: &Value, time: &LocalTime) -> String {
    let whom = match number(value, "uses") {
        1 => "one person".to_owned(),
        uses => format!("{uses} people"),
    };
    let waits = if flag(value, "approval") { ", who wait to be let in" } else { "" };
    format!("Link for {whom}{waits}, until {}:", minute(value, "expiresAt", time))
}

/// The links of a group.
#[must_use]
pub fn links(value: &Value, time: &LocalTime) -> String {
    let row = |link: &Value| {
        let used = format!("{} of {}", number(link, "used"), number(link, "uses"));
        let made = text(link, "link");
        let made = if made.is_empty() { "(made by another member)".to_owned() } else { made };
        vec![text(link, "id"), minute(link, "expiresAt", time), used, yes_no(flag(link, "approval")), made]
    };
    let rows = items(value, "items").iter().map(row).collect();
    table(&["id", "until", "used", "approval", "link"], rows, "no links: silbo group invite GROUP")
}

/// Who has a message: `2 of 3: bob delivered, dan queued`; empty where nothing is known of members.
pub(super) fn members_of_message(value: &Value) -> String {
    let Some(members) = value.get("members").and_then(Value::as_object) else { return String::new() };
    let has = |state: &Value| state == "delivered" || state == "read";
    let done = members.values().filter(|state| has(state)).count();
    let each: Vec<String> = members
        .iter()
        .map(|(name, state)| {
            format!("{} {}", one_line(&super::printable(name)), super::printable(state.as_str().unwrap_or_default()))
        })
        .collect();
    format!("{done} of {}: {}", members.len(), each.join(", "))
}

/// The lines of `message.trace` about members.
pub(super) fn members_of_trace(value: &Value) -> impl Iterator<Item = String> {
    items(value, "members").iter().map(|member| {
        let words = [one_line(&text(member, "name")), text(member, "state"), text(member, "failed")];
        words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join("  ")
    })
}

/// An event of a group; `None` for a kind that is about something else.
pub(super) fn event(value: &Value, name: &str) -> Option<String> {
    let member = one_line(&text(value, "member"));
    Some(match text(value, "kind").as_str() {
        "group.memberJoined" => format!("#{name}: {member} joined"),
        "group.memberLeft" if flag(value, "removed") => format!("#{name}: {member} was removed"),
        "group.memberLeft" => format!("#{name}: {member} left"),
        "group.joinRequest" => format!("#{name}: {member} asks to join: silbo group approve '#{name}' {member}"),
        "group.memberForked" => format!("#{name}: {member} {FORKED}"),
        "group.disputed" => format!("#{name}: {DISPUTED} ({member})"),
        "group.voided" => {
            let (what, why) = (one_line(&text(value, "what")), one_line(&text(value, "why")));
            format!("#{name}: does not count: {what} ({why})")
        }
        "group.history" => format!("#{name}: {} messages of before are here", number(value, "count")),
        "group.updated" => format!("#{name}: changed"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn climbing() -> Value {
        json!({"id": "g1", "name": "climbing", "topic": "ropes", "epoch": "ab12", "retentionS": 86_400, "slowModeS": 30,
            "history": {"kind": "days", "days": 7}, "mayAdd": "admin", "maySend": "member", "mayDelete": "moderator", "frozen": false,
            "members": [
                {"account": "a1", "name": "Ada", "role": "owner"},
                {"account": "b1", "name": "Bob", "role": "member", "addedBy": "a1", "mutedUntilAt": 60_000},
                {"account": "c1", "name": "Car\u{1b}[2Jol", "role": "reader", "addedBy": "d1"}],
            "former": [{"account": "d1", "name": "Dan"}],
            "pins": [{"id": "m1", "by": "b1", "at": 1, "message": {"from": "Ada", "body": "the\nplan"}}],
            "links": [], "void": [{"author": "d1", "what": "add Eve", "why": "Dan was removed"}],
            "local": {"state": "active", "account": "a1", "role": "owner", "rekeyDue": true,
                "contacts": [{"account": "b1", "contact": "x", "alias": "bobby"}],
                "links": [], "requests": [{"account": "e1", "name": "Eve", "at": 1}]}})
    }

    #[test]
    fn a_group_shows_members_roles_who_asks_and_what_does_not_count() {
        let shown = group(&climbing(), &LocalTime::new());
        for part in [
            "#climbing",
            "ropes",
            "1 d",
            "7 days",
            "one message in 30 s",
            "ab12, to be renewed",
            "Ada (me)",
            "Bob (bobby)",
            "member, muted until 1970-01-01",
            "reader",
            "Dan",
            "pinned by Bob: Ada: the",
            "Eve asks to join: silbo group approve '#climbing' e1",
            "does not count: Dan: add Eve (Dan was removed)",
        ] {
            assert!(shown.contains(part), "{part} is missing in:\n{shown}");
        }
        assert!(!shown.contains('\u{1b}'));
        let list = groups(&json!({"items": [climbing()]}), &LocalTime::new());
        assert!(list.contains("#climbing") && list.contains("owner") && list.contains("g1"), "{list}");
        assert!(groups(&json!({"items": []}), &LocalTime::new()).starts_with("no groups"));
        assert!(!group(&json!({}), &LocalTime::new()).contains("null"));
    }

    #[test]
    fn a_partly_delivered_message_says_who_has_it() {
        let value = json!({"members": {"bob": "delivered", "carol": "read", "dan": "queued"}});
        assert_eq!(members_of_message(&value), "2 of 3: bob delivered, carol read, dan queued");
        assert_eq!(members_of_message(&json!({})), "");
    }

    #[test]
    fn what_happens_in_a_group_is_one_harmless_line() {
        for (kind, part) in [
            ("group.memberJoined", "joined"),
            ("group.memberLeft", "was removed"),
            ("group.joinRequest", "asks to join"),
            ("group.memberForked", "two versions"),
            ("group.voided", "does not count"),
            ("group.history", "3 messages of before"),
            ("group.updated", "changed"),
        ] {
            let value =
                json!({"kind": kind, "member": "Car\nol", "removed": true, "what": "add\nEve", "why": "x", "count": 3});
            let shown = event(&value, "climbing").expect("a line");
            assert!(shown.contains(part) && shown.lines().count() == 1, "{shown}");
        }
        assert_eq!(event(&json!({"kind": "message.sent"}), "climbing"), None);
    }

    #[test]
    fn a_link_says_for_whom_and_until_when() {
        let title = link_title(&json!({"uses": 5, "approval": true, "expiresAt": 0}), &LocalTime::new());
        assert!(title.starts_with("Link for 5 people, who wait to be let in, until 19"), "{title}");
        let shown = links(&json!({"items": [{"id": "l1", "uses": 5, "used": 2, "expiresAt": 0}]}), &LocalTime::new());
        assert!(shown.contains("2 of 5") && shown.contains("(made by another member)"), "{shown}");
    }
}
