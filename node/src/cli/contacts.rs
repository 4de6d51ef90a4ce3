//! People: my profile, invitations and contacts.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use super::arguments::{AddArguments, ContactCommand, InviteArguments, InviteCommand, MeCommand, ProfileField};
use super::client::EventStream;
use super::failure::{Class, Failure};
use super::{Session, milliseconds, params, qr, render};
use silbo_protocol::wire::base64;

/// Without an event, the state of a new contact or group is looked at this often.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Validity of the invitation that `me qr` makes.
const OPEN_INVITE_TTL: Duration = Duration::from_secs(30 * 86_400);

/// `silbo me …`
pub async fn me(session: &Session, command: Option<MeCommand>) -> Result<(), Failure> {
    let screen = &session.screen;
    match command {
        None => screen.result(&session.call("profile.show", json!({})).await?, render::profile),
        Some(MeCommand::Set { what, value }) => {
            let change = match what {
                ProfileField::Name => json!({"name": value}),
                ProfileField::Status => json!({"status": value}),
                ProfileField::Avatar => json!({"avatar": avatar(&value, "silbo me set avatar FILE")?}),
            };
            screen.result(&session.call("profile.set", change).await?, render::profile)
        }
        Some(MeCommand::Words { yes }) => {
            if screen.can_ask() && !screen.is_json() {
                screen.confirm("Whoever sees these words can become you. Show them?", yes)?;
            }
            screen.result(&session.call("profile.words", json!({})).await?, render::recovery_words)
        }
        Some(MeCommand::Qr { qr_file }) => {
            let invite = open_invite(session).await?;
            show_invite(session, &invite, &render::invite_title(&invite, &screen.time), true, qr_file.as_deref())
        }
    }
}

/// The bytes of a picture file as the API has them; nothing for no file. `hint` is the command that was meant.
pub(super) fn avatar(file: &str, hint: &str) -> Result<String, Failure> {
    if file.is_empty() {
        return Ok(String::new());
    }
    let bytes = fs::read(file)
        .map_err(|error| Failure::usage("the picture cannot be read", hint).why(format!("{file}: {error}")))?;
    Ok(base64::encode(&bytes))
}

/// A reusable invitation that is still valid, or a fresh one.
async fn open_invite(session: &Session) -> Result<Value, Failure> {
    let list = session.call("invite.list", json!({})).await?;
    let live = list.get("items").and_then(Value::as_array).into_iter().flatten();
    let mut live = live.filter(|invite| invite["kind"] == "reusable" && is_live(invite));
    match live.next() {
        Some(invite) => Ok(invite.clone()),
        None => session.call("invite.create", json!({"reusable": true, "ttlMs": milliseconds(OPEN_INVITE_TTL)})).await,
    }
}

/// Whether an invitation has a link and has not run out.
pub fn is_live(invite: &Value) -> bool {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, milliseconds);
    invite["link"].is_string() && invite["expiresAt"].as_u64().is_some_and(|until| until > now)
}

/// `silbo invite …`
pub async fn invite(session: &Session, arguments: &InviteArguments) -> Result<(), Failure> {
    let screen = &session.screen;
    match &arguments.command {
        None => {
            let wanted = json!({"reusable": arguments.reusable, "ttlMs": milliseconds(arguments.ttl)});
            let invite = session.call("invite.create", wanted).await?;
            let title = render::invite_title(&invite, &screen.time);
            show_invite(session, &invite, &title, !arguments.no_qr, arguments.qr_file.as_deref())?;
            screen.note("The other types: silbo add LINK");
            Ok(())
        }
        Some(InviteCommand::List) => screen.list(&session.call("invite.list", json!({})).await?, render::invites),
        Some(InviteCommand::Revoke { id }) => {
            let done = session.call("invite.revoke", json!({"id": id})).await?;
            screen.result(&done, |_, _| String::new())?;
            screen.note("the invitation is void");
            Ok(())
        }
    }
}

/// Prints an invitation: the link as data, the QR code where a person sees it.
pub fn show_invite(
    session: &Session,
    invite: &Value,
    title: &str,
    draw: bool,
    file: Option<&Path>,
) -> Result<(), Failure> {
    let screen = &session.screen;
    let link = render::text(invite, "link");
    let code = match render::text(invite, "qr") {
        code if code.is_empty() => link.clone(),
        code => code,
    };
    if let Some(file) = file {
        fs::write(file, qr::draw_svg(&code)?).map_err(|error| {
            Failure::usage("the QR code cannot be written", "choose another --qr-file")
                .why(format!("{}: {error}", file.display()))
        })?;
        screen.note(&format!("QR code: {}", file.display()));
    }
    if screen.is_json() {
        return screen.document(invite);
    }
    screen.note(title);
    if draw && screen.is_seen() {
        let colour = anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never;
        screen.line(&qr::draw_in_terminal(&code, colour)?)?;
    }
    screen.line(&link)
}

/// `silbo add …`
pub async fn add(session: &Session, arguments: &AddArguments) -> Result<(), Failure> {
    let screen = &session.screen;
    let link = if arguments.link == "-" { screen.read_stdin()? } else { arguments.link.clone() };
    // Listening begins before asking, so that no answer is missed. Without it, the loop looks from time to time.
    let mut events = if arguments.wait { session.client.events(None).await.ok() } else { None };
    let deadline = Instant::now() + arguments.timeout;
    let wanted = params([("link", json!(link.trim())), ("alias", json!(arguments.alias))]);
    let mut contact = session.call("contact.add", wanted).await?;
    let id = contact.get("id").cloned().unwrap_or_default();
    while arguments.wait && contact["state"] != "active" {
        if contact["state"] == "refused" || contact["state"] == "blocked" {
            screen.result(&contact, render::contact)?;
            return Err(Failure::new(Class::Untrusted, format!("{} is not a contact", render::text(&contact, "name")))
                .why(format!("the state is {}", render::text(&contact, "state")))
                .hint("ask for another invitation"));
        }
        if Instant::now() >= deadline {
            screen.result(&contact, render::contact)?;
            let name = render::text(&contact, "name");
            return Err(Failure::new(Class::Timeout, format!("{name} has not answered yet"))
                .why(format!("no answer in {} s; the request is kept and goes on", arguments.timeout.as_secs()))
                .hint(format!("silbo contact show {name}")));
        }
        event_about(&mut events, "contact.", deadline.min(Instant::now() + LOOK_EVERY)).await;
        contact = session.call("contact.show", json!({"contact": id})).await?;
    }
    screen.result(&contact, render::contact)?;
    let name = render::text(&contact, "name");
    screen.note(&match contact["state"].as_str() {
        Some("active") => {
            format!("Say something: silbo send {name} \"hi\"   Compare safety numbers: silbo contact verify {name}")
        }
        _ => format!("{name} has to answer first; messages sent until then wait"),
    });
    Ok(())
}

/// Returns at the next event whose kind begins with `kinds`, or at `until`.
pub(super) async fn event_about(events: &mut Option<EventStream>, kinds: &str, until: Instant) {
    let about = async {
        let Some(stream) = events.as_mut() else {
            return std::future::pending().await;
        };
        while let Ok(Some(event)) = stream.next().await {
            if event["kind"].as_str().is_some_and(|kind| kind.starts_with(kinds)) {
                return true;
            }
        }
        false
    };
    if let Ok(false) = tokio::time::timeout_at(until, about).await {
        // The stream ended: from here on the loop looks from time to time.
        *events = None;
        tokio::time::sleep_until(until).await;
    }
}

/// `silbo contact …`
pub async fn contact(session: &Session, command: ContactCommand) -> Result<(), Failure> {
    let screen = &session.screen;
    let (method, wanted) = match command {
        ContactCommand::List { state } => {
            let list = session.call("contact.list", params([("state", json!(state))])).await?;
            return screen.list(&list, render::contacts);
        }
        ContactCommand::Verify { contact, code, yes, qr, accept_new } => {
            if accept_new {
                session.call("contact.acceptKey", json!({"contact": contact})).await?;
            }
            return verify(session, &contact, code, yes, qr).await;
        }
        ContactCommand::Remove { contact, yes, dry_run } => return remove(session, &contact, yes, dry_run).await,
        ContactCommand::Show { contact } => ("contact.show", json!({"contact": contact})),
        ContactCommand::Accept { contact } => ("contact.accept", json!({"contact": contact})),
        ContactCommand::Reject { contact } => ("contact.reject", json!({"contact": contact})),
        ContactCommand::Block { contact } => ("contact.block", json!({"contact": contact})),
        ContactCommand::Unblock { contact } => ("contact.unblock", json!({"contact": contact})),
        ContactCommand::Rename { contact, name } => ("contact.set", json!({"contact": contact, "alias": name})),
        ContactCommand::Set { contact, presence, read_receipts, typing } => {
            let switches = params([
                ("contact", json!(contact)),
                ("presence", json!(presence.map(|switch| switch.is_on()))),
                ("readReceipts", json!(read_receipts.map(|switch| switch.is_on()))),
                ("typing", json!(typing.map(|switch| switch.is_on()))),
            ]);
            ("contact.set", switches)
        }
    };
    screen.result(&session.call(method, wanted).await?, render::contact)
}

async fn verify(session: &Session, contact: &str, code: Option<String>, yes: bool, draw: bool) -> Result<(), Failure> {
    let screen = &session.screen;
    let shown = session.call("contact.verify", params([("contact", json!(contact)), ("code", json!(code))])).await?;
    let digits = shown.get("digits").cloned().unwrap_or_default();
    if code.is_none() && !yes {
        if screen.is_json() {
            return screen.document(&shown);
        }
        screen.line(&render::safety_number(&shown))?;
        if draw {
            screen.line(&qr::draw_in_terminal(&render::text(&shown, "qr"), false)?)?;
        }
        if !screen.can_ask() {
            screen.note(&format!("compare them, then: silbo contact verify {contact} --yes"));
            return Ok(());
        }
        let answer = screen.ask(&format!("Does {contact}'s screen show the same numbers? [y/N] "))?;
        if !matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes") {
            screen.note("not verified");
            return Ok(());
        }
    }
    let level = match code {
        Some(_) => shown,
        None => session.call("contact.verify", json!({"contact": contact, "code": digits})).await?,
    };
    screen.result(&level, |level, _| format!("{contact}: {}", render::text(level, "level")))
}

async fn remove(session: &Session, contact: &str, yes: bool, dry_run: bool) -> Result<(), Failure> {
    let screen = &session.screen;
    let shown = session.call("contact.show", json!({"contact": contact})).await?;
    let what = format!(
        "{} ({}) and all messages of the conversation",
        render::text(&shown, "name"),
        render::text(&shown, "id")
    );
    if dry_run {
        screen.note(&format!("would remove {what}"));
        return screen.result(&json!({"dryRun": true, "contact": shown}), |_, _| String::new());
    }
    screen.confirm(&format!("remove {what}?"), yes)?;
    let done = session.call("contact.remove", json!({"contact": shown["id"]})).await?;
    screen.result(&done, |_, _| String::new())?;
    screen.note(&format!("removed {what}"));
    Ok(())
}
