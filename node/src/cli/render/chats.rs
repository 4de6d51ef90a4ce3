//! Conversations as text.

use serde_json::Value;

use super::{LocalTime, flag, items, minute, one_line, pairs, table, text, yes_no};

fn name(chat: &Value) -> String {
    let name = one_line(&text(chat, "name"));
    if flag(chat, "group") || flag(chat, "channel") { format!("#{name}") } else { name }
}

fn muted(chat: &Value, time: &LocalTime) -> String {
    match minute(chat, "mutedUntilAt", time) {
        _ if !flag(chat, "muted") => String::new(),
        until if until.is_empty() => yes_no(true),
        until => format!("until {until}"),
    }
}

fn archived(chat: &Value) -> String {
    if flag(chat, "archived") { yes_no(true) } else { String::new() }
}

/// `Chat`
#[must_use]
pub fn chat(value: &Value, time: &LocalTime) -> String {
    let draft = &value["draft"];
    pairs(&[
        ("name", name(value)),
        ("muted", muted(value, time)),
        ("archived", archived(value)),
        ("draft", text(draft, "body")),
        ("in reply to", text(draft, "replyTo")),
        ("id", text(value, "id")),
    ])
}

/// `chat.list`
#[must_use]
pub fn chats(value: &Value, time: &LocalTime) -> String {
    let row = |chat: &Value| {
        let draft = one_line(&text(&chat["draft"], "body"));
        vec![name(chat), muted(chat, time), archived(chat), draft, text(chat, "id")]
    };
    let rows = items(value, "items").iter().map(row).collect();
    table(&["name", "muted", "archived", "draft", "id"], rows, "no conversations: silbo invite, or silbo add LINK")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_conversation_shows_what_is_set_for_it_and_nothing_else() {
        let time = LocalTime::new();
        let set = json!({"id": "g1", "group": true, "name": "climb\ning", "muted": true, "archived": true,
            "draft": {"body": "half a", "replyTo": "m1", "at": 1}});
        let shown = chat(&set, &time);
        for part in ["#climb", "yes", "half a", "m1", "g1"] {
            assert!(shown.contains(part), "{part} is missing in:\n{shown}");
        }
        let timed = json!({"id": "c1", "name": "bob", "muted": true, "mutedUntilAt": 60_000});
        assert!(chat(&timed, &time).contains("until 1970-01-01"), "{}", chat(&timed, &time));
        let plain = json!({"id": "c2", "name": "carol", "muted": false, "mutedUntilAt": 60_000, "archived": false});
        assert!(!chat(&plain, &time).contains("muted"));
        let list = chats(&json!({"items": [set, timed, plain]}), &time);
        assert!(list.contains("carol") && list.contains("half a"), "{list}");
        assert!(chats(&json!({"items": []}), &time).starts_with("no conversations"));
    }
}
