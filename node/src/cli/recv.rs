//! `silbo recv`: what has arrived since a consumer's cursor. Printed first, acknowledged after: a crash in between
//! shows an event twice, never not at all.

use serde_json::{Value, json};

use super::arguments::RecvArguments;
use super::failure::Failure;
use super::screen::Form;
use super::{Session, render};

/// Kinds shown where none are asked for: what others did, and what a person has to decide.
const KINDS: [&str; 17] = [
    "message.received",
    "message.edited",
    "message.deleted",
    "message.reaction",
    "message.pinned",
    "message.voted",
    "contact.request",
    "contact.accepted",
    "contact.keyChanged",
    "group.memberJoined",
    "group.memberLeft",
    "group.joinRequest",
    "group.memberForked",
    "group.disputed",
    "group.voided",
    "channel.forked",
    "system.warning",
];
/// Events asked for at a time.
const PAGE: usize = 200;

/// `silbo recv …`
pub async fn recv(session: &Session, arguments: &RecvArguments) -> Result<(), Failure> {
    let screen = &session.screen;
    let filter = Filter::new(&arguments.kinds);
    let acknowledge = arguments.ack || (arguments.since.is_none() && !arguments.no_ack);
    let one_document = screen.form == Form::Json && !arguments.follow;
    let mut cursor = arguments.since;
    let mut document = Vec::new();
    loop {
        let wanted = match cursor {
            Some(seq) => json!({"since": seq, "limit": PAGE}),
            None => json!({"consumer": arguments.consumer, "limit": PAGE}),
        };
        let page = session.call("events.list", wanted).await?;
        if let Some(gap) = page.get("gap").filter(|gap| !gap.is_null()) {
            screen.note(&format!(
                "events {} to {} are no longer kept",
                render::text(gap, "from"),
                render::text(gap, "to")
            ));
        }
        let events = page.get("events").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for event in events.iter().filter(|event| filter.wants(event)) {
            if one_document {
                document.push(event.clone());
            } else {
                show(session, event)?;
            }
        }
        cursor = page.get("next").and_then(Value::as_u64).or(cursor);
        let last_page = events.len() < PAGE;
        if one_document && last_page {
            screen.document(&json!({"events": document}))?;
        }
        // One document is acknowledged as a whole, after it was printed.
        if acknowledge && (last_page || !one_document) {
            acknowledge_to(session, arguments, cursor).await?;
        }
        if last_page {
            break;
        }
    }
    if arguments.follow { follow(session, arguments, &filter, acknowledge, cursor).await } else { Ok(()) }
}

async fn follow(
    session: &Session,
    arguments: &RecvArguments,
    filter: &Filter,
    acknowledge: bool,
    mut cursor: Option<u64>,
) -> Result<(), Failure> {
    loop {
        let mut stream = session.client.events(Some(cursor.unwrap_or(0))).await?;
        // A stream that breaks off is taken up again at the cursor; where the node is gone, that ends the command.
        while let Ok(Some(event)) = stream.next().await {
            let at = seq(&event);
            let repeated = at.is_some() && at <= cursor;
            if repeated || !filter.wants(&event) {
                continue;
            }
            show(session, &event)?;
            if at.is_some() {
                cursor = at;
                if acknowledge {
                    acknowledge_to(session, arguments, cursor).await?;
                }
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

fn seq(event: &Value) -> Option<u64> {
    event.get("seq").and_then(Value::as_u64)
}

fn show(session: &Session, event: &Value) -> Result<(), Failure> {
    match session.screen.form {
        Form::Text => session.screen.line(&render::event(event, &session.screen.time)),
        Form::Json | Form::JsonLines => session.screen.document(event),
    }
}

async fn acknowledge_to(session: &Session, arguments: &RecvArguments, cursor: Option<u64>) -> Result<(), Failure> {
    let Some(seq) = cursor else { return Ok(()) };
    session.call("events.ack", json!({"consumer": arguments.consumer, "seq": seq})).await.map(drop)
}

/// Which events are shown.
#[derive(Debug, PartialEq, Eq)]
enum Filter {
    /// Every one.
    All,
    /// These kinds; a kind may end in `*`.
    Kinds(Vec<String>),
    /// [`KINDS`], where the other side did it.
    OfOthers,
}

impl Filter {
    fn new(kinds: &[String]) -> Filter {
        if kinds.is_empty() {
            return Filter::OfOthers;
        }
        if kinds.iter().any(|kind| kind == "all" || kind == "*") {
            return Filter::All;
        }
        Filter::Kinds(kinds.to_vec())
    }

    fn wants(&self, event: &Value) -> bool {
        let kind = event.get("kind").and_then(Value::as_str).unwrap_or_default();
        match self {
            Filter::All => true,
            Filter::Kinds(kinds) => kinds.iter().any(|wanted| match wanted.strip_suffix('*') {
                Some(start) => kind.starts_with(start),
                None => kind == wanted,
            }),
            Filter::OfOthers => KINDS.contains(&kind) && event.get("outgoing") != Some(&Value::Bool(true)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(kinds: &[&str], event: Value) -> bool {
        let kinds: Vec<String> = kinds.iter().map(|kind| (*kind).to_owned()).collect();
        Filter::new(&kinds).wants(&event)
    }

    #[test]
    fn without_a_wish_only_what_others_did_is_shown() {
        assert!(wants(&[], json!({"kind": "message.received"})));
        assert!(wants(&[], json!({"kind": "contact.request"})));
        assert!(wants(&[], json!({"kind": "group.joinRequest"})));
        assert!(!wants(&[], json!({"kind": "group.updated"})));
        assert!(wants(&[], json!({"kind": "message.reaction", "outgoing": false})));
        assert!(!wants(&[], json!({"kind": "message.reaction", "outgoing": true})));
        assert!(!wants(&[], json!({"kind": "message.sent"})));
        assert!(!wants(&[], json!({"kind": "message.state"})));
        assert!(!wants(&[], json!({"kind": "some.later.kind"})));
    }

    #[test]
    fn kinds_can_be_chosen() {
        assert!(wants(&["all"], json!({"kind": "some.later.kind"})));
        assert!(wants(&["message.*"], json!({"kind": "message.state"})));
        assert!(!wants(&["message.*"], json!({"kind": "contact.request"})));
        assert!(wants(&["message.state", "contact.request"], json!({"kind": "contact.request"})));
    }
}
