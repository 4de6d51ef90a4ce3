//! Channels as text.

use serde_json::Value;

use super::{LocalTime, describe_seconds, flag, items, minute, number, one_line, pairs, table, text, yes_no};

/// What is said of a channel with two histories.
const FORKED: &str =
    "two histories are signed: its owner, or whoever has the key, shows different people different posts";

fn name(channel: &Value) -> String {
    one_line(&format!("#{}", text(channel, "name")))
}

fn kept(channel: &Value) -> String {
    match number(channel, "retentionDays") {
        0 => "for ever".to_owned(),
        days => describe_seconds(days.saturating_mul(86_400)),
    }
}

fn role(channel: &Value) -> String {
    if flag(channel, "owner") { "owner".to_owned() } else { "reader".to_owned() }
}

/// `Channel`
#[must_use]
pub fn channel(value: &Value, time: &LocalTime) -> String {
    let forked = match value.get("forked").and_then(Value::as_u64) {
        Some(post) => format!("post {post}: {FORKED}"),
        None => String::new(),
    };
    pairs(&[
        ("name", name(value)),
        ("topic", one_line(&text(value, "topic"))),
        ("I am", role(value)),
        ("posts here", text(value, "posts")),
        ("posts kept", kept(value)),
        ("readable from", minute(value, "readableFromAt", time)),
        ("readers linked", text(value, "readers")),
        ("others find me", yes_no(flag(value, "serve"))),
        ("forked", forked),
        ("id", text(value, "id")),
    ])
}

/// `channel.list`
#[must_use]
pub fn channels(value: &Value, _time: &LocalTime) -> String {
    let row = |channel: &Value| {
        let warning = if channel.get("forked").is_some() { "two histories" } else { "" };
        vec![
            name(channel),
            role(channel),
            text(channel, "posts"),
            text(channel, "readers"),
            warning.to_owned(),
            text(channel, "id"),
        ]
    };
    let rows = items(value, "items").iter().map(row).collect();
    let none = "no channels: silbo channel create NAME, or silbo channel join LINK";
    table(&["name", "I am", "posts", "readers linked", "", "id"], rows, none)
}

/// What is said above a link.
#[must_use]
pub fn channel_link_title(link: &Value, time: &LocalTime) -> String {
    format!("Whoever has this link reads from {} on; it cannot be taken back", minute(link, "readableFromAt", time))
}

/// An event of a channel; `None` for any other.
pub(super) fn event(value: &Value, name: &str) -> Option<String> {
    Some(match text(value, "kind").as_str() {
        "channel.updated" => format!("#{name}: changed"),
        "channel.forked" => format!("#{name}: {FORKED}"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_channel_says_whose_it_is_and_that_it_is_forked() {
        let news = json!({"id": "c1", "name": "ne\nws", "topic": "\u{1b}[2J", "owner": true, "posts": 7, "retentionDays": 7,
            "readableFromAt": 0, "readers": 2, "serve": true, "forked": 5});
        let shown = channel(&news, &LocalTime::new());
        for part in ["#ne ws", "owner", "7 d", "post 5: two histories", "c1"] {
            assert!(shown.contains(part), "{part} is missing in:\n{shown}");
        }
        assert!(!shown.contains('\u{1b}'));
        let list = channels(&json!({"items": [news]}), &LocalTime::new());
        assert!(list.contains("#ne ws") && list.contains("two histories"), "{list}");
        assert!(channels(&json!({"items": []}), &LocalTime::new()).starts_with("no channels"));
        assert!(!channel(&json!({}), &LocalTime::new()).contains("null"));
        assert!(event(&json!({"kind": "channel.forked"}), "news").is_some_and(|line| line.lines().count() == 1));
        assert_eq!(event(&json!({"kind": "message.sent"}), "news"), None);
    }
}
