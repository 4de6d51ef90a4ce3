//! What is set for conversations on this device: muted, archived, drafts.

use serde_json::{Value, json};

use super::arguments::{ChatCommand, Which};
use super::failure::Failure;
use super::{Session, params, render};

/// `silbo list …`
pub async fn list(session: &Session, which: Which) -> Result<(), Failure> {
    let archived = match which {
        Which::Current => json!(false),
        Which::Archived => json!(true),
        Which::All => Value::Null,
    };
    let wanted = params([("archived", archived)]);
    session.screen.list(&session.call("chat.list", wanted).await?, render::chats)
}

/// `silbo chat …`
pub async fn chat(session: &Session, command: ChatCommand) -> Result<(), Failure> {
    let screen = &session.screen;
    let (method, wanted) = match command {
        ChatCommand::Show { to } => ("chat.get", json!({"chat": to})),
        ChatCommand::Mute { to, time, off: _ } => {
            // clap has seen to it that there is a time or --off.
            ("chat.set", json!({"chat": to, "muteS": time.unwrap_or(0)}))
        }
        ChatCommand::Archive { to, off } => ("chat.set", json!({"chat": to, "archived": !off})),
        ChatCommand::Draft { to, clear: true, .. } => ("chat.set", json!({"chat": to, "draft": ""})),
        ChatCommand::Draft { to, text: None, .. } => {
            let shown = session.call("chat.get", json!({"chat": to})).await?;
            return screen.result(&shown, |chat, _| render::text(&chat["draft"], "body"));
        }
        ChatCommand::Draft { to, text, reply, clear: _ } => {
            let body = screen.body(text)?;
            ("chat.set", params([("chat", json!(to)), ("draft", json!(body)), ("replyTo", json!(reply))]))
        }
    };
    screen.result(&session.call(method, wanted).await?, render::chat)
}
