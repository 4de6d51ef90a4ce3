//! Messages: sending, reading, searching, changing.

use serde_json::{Value, json};

use super::arguments::{CarryCommand, MsgCommand, RetentionCommand, SendArguments};
use super::failure::{Class, Failure};
use super::{Session, mesh, milliseconds, params, render};

/// `silbo send …`
pub async fn send(session: &Session, arguments: SendArguments) -> Result<(), Failure> {
    let screen = &session.screen;
    let body = screen.body(arguments.text)?;
    if body.is_empty() {
        return Err(Failure::usage("there is nothing to send", "silbo send TO TEXT").why("the text is empty"));
    }
    let wanted = params([
        ("chat", json!(arguments.to)),
        ("body", json!(body)),
        ("replyTo", json!(arguments.reply)),
        ("expireS", json!(arguments.expire.map(|expire| expire.as_secs()))),
        ("clientId", json!(arguments.client_id)),
        ("ttlS", json!(arguments.ttl.map(|ttl| ttl.as_secs()))),
        ("noInfra", arguments.no_infra.then_some(true).into()),
    ]);
    let sent = session.call("message.send", wanted).await?;
    let Some(state) = arguments.wait else {
        return screen.result(&sent, render::sent);
    };
    let id = sent.get("id").cloned().unwrap_or_default();
    let wait = json!({"id": id, "state": state.word(), "timeoutMs": milliseconds(arguments.timeout)});
    match session.client.call_waiting("message.wait", wait, arguments.timeout).await {
        Ok(reached) => screen.result(&reached, render::sent),
        Err(failure) => {
            // The message exists: a script still learns its id and state, and what to ask later.
            screen.result(&present_state(session, &sent).await, render::sent)?;
            let id = render::text(&sent, "id");
            let goes_on = matches!(failure.class, Class::Timeout | Class::Partial);
            Err(if goes_on { failure.hint(format!("silbo msg trace {id}")) } else { failure })
        }
    }
}

async fn present_state(session: &Session, sent: &Value) -> Value {
    // What has been reached is there to be waited for no longer: with the members, where it is a group.
    let reached = json!({"id": sent.get("id"), "state": "queued", "timeoutMs": 0});
    if let Ok(reached) = session.call("message.wait", reached).await {
        return reached;
    }
    let shown = session.call("message.show", json!({"id": sent.get("id")})).await;
    let mut present = sent.clone();
    if let (Ok(shown), Some(present)) = (shown, present.as_object_mut()) {
        for name in ["state", "path", "held", "failed"] {
            if let Some(value) = shown.get(name).filter(|value| !value.is_null()) {
                present.insert(name.to_owned(), value.clone());
            }
        }
    }
    present
}

/// `silbo history …`
pub async fn history(
    session: &Session,
    to: &str,
    limit: u32,
    before: Option<String>,
    after: Option<String>,
) -> Result<(), Failure> {
    let wanted =
        params([("chat", json!(to)), ("limit", json!(limit)), ("before", json!(before)), ("after", json!(after))]);
    let page = session.call("history.list", wanted).await?;
    session.screen.list(&page, render::history)?;
    if let Some(next) = page.get("next").and_then(Value::as_str)
        && !session.screen.is_json()
    {
        session.screen.note(&format!("earlier messages: silbo history {to} --before {next}"));
    }
    Ok(())
}

/// `silbo search …`
pub async fn search(
    session: &Session,
    query: &str,
    chat: Option<String>,
    limit: u32,
    before: Option<String>,
    after: Option<String>,
) -> Result<(), Failure> {
    let wanted = params([
        ("query", json!(query)),
        ("chat", json!(chat)),
        ("limit", json!(limit)),
        ("before", json!(before)),
        ("after", json!(after)),
    ]);
    session.screen.list(&session.call("search.find", wanted).await?, render::history)
}

/// `silbo msg …`
pub async fn msg(session: &Session, command: MsgCommand) -> Result<(), Failure> {
    let screen = &session.screen;
    match command {
        MsgCommand::Edit { id, text } => {
            let body = screen.body(text)?;
            screen.result(&session.call("message.edit", json!({"id": id, "body": body})).await?, render::sent)
        }
        MsgCommand::Delete { ids, both, yes, dry_run } => delete(session, &ids, both, yes, dry_run).await,
        MsgCommand::React { id, emoji, remove } => {
            let wanted = json!({"id": id, "emoji": emoji, "remove": remove});
            screen.result(&session.call("message.react", wanted).await?, |_, _| String::new())
        }
        MsgCommand::Pin { id, remove } => {
            let done = session.call("message.pin", json!({"id": id, "remove": remove})).await?;
            screen.result(&done, |_, _| String::new())
        }
        MsgCommand::Poll { to, question, options, choices, ends } => {
            let ends_in_s = ends.map(|time| u32::try_from(time.as_secs()).unwrap_or(u32::MAX));
            let wanted = params([
                ("chat", json!(to)),
                ("body", json!(question)),
                ("options", json!(options)),
                ("maxChoices", json!(choices)),
                ("endsInS", json!(ends_in_s)),
            ]);
            screen.result(&session.call("message.poll", wanted).await?, render::sent)
        }
        MsgCommand::Vote { id, choices, remove: _ } => {
            let done = session.call("message.vote", json!({"id": id, "choices": choices})).await?;
            screen.result(&done, |_, _| String::new())
        }
        MsgCommand::Show { id } => {
            screen.result(&session.call("message.show", json!({"id": id})).await?, render::message)
        }
        MsgCommand::Trace { id } => {
            screen.result(&session.call("message.trace", json!({"id": id})).await?, render::trace)
        }
        MsgCommand::Carry(CarryCommand::Export(export)) => mesh::export(session, export).await,
        MsgCommand::Carry(CarryCommand::Import { from }) => mesh::import(session, &from).await,
    }
}

async fn delete(session: &Session, ids: &[String], both: bool, yes: bool, dry_run: bool) -> Result<(), Failure> {
    let screen = &session.screen;
    let count = if ids.len() == 1 { "1 message".to_owned() } else { format!("{} messages", ids.len()) };
    let whose = if both { "here and for everybody in the conversation" } else { "here only" };
    if dry_run {
        screen.note(&format!("would delete {count}, {whose}"));
        return screen.result(&json!({"dryRun": true, "count": ids.len()}), |_, _| String::new());
    }
    screen.confirm(&format!("delete {count}, {whose}?"), yes)?;
    let done = session.call("message.delete", json!({"ids": ids, "forBoth": both})).await?;
    screen.result(&done, |done, _| format!("deleted {}", render::text(done, "count")))
}

/// `silbo retention …`
pub async fn retention(session: &Session, command: RetentionCommand) -> Result<(), Failure> {
    let (method, wanted) = match command {
        RetentionCommand::Show { to } => ("retention.show", json!({"chat": to})),
        RetentionCommand::Set { to, lasting } => ("retention.set", json!({"chat": to, "seconds": lasting.seconds()})),
    };
    session.screen.result(&session.call(method, wanted).await?, render::retention)
}
