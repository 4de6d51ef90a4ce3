//! Groups: making them, joining and leaving, members, settings, links.

use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::arguments::{
    CreateArguments, GroupCommand, GroupInviteArguments, GroupSetArguments, JoinArguments, LinkCommand, Role,
};
use super::contacts::{LOOK_EVERY, avatar, event_about, show_invite};
use super::failure::{Class, Failure};
use super::{Session, milliseconds, params, render};

/// Messages asked for at a time when all are written out.
const PAGE: usize = 200;
/// The id before every other: a history begins after it.
const FIRST_ID: &str = "00000000000000000000";

/// `silbo group …`
pub async fn group(session: &Session, command: GroupCommand) -> Result<(), Failure> {
    let screen = &session.screen;
    let (method, wanted) = match command {
        GroupCommand::Create(arguments) => return create(session, &arguments).await,
        GroupCommand::List => {
            return screen.list(&session.call("group.list", json!({})).await?, render::groups);
        }
        GroupCommand::Invite(arguments) => return invite(session, &arguments).await,
        GroupCommand::Join(arguments) => return join(session, &arguments).await,
        GroupCommand::Leave { group, yes, dry_run } => return leave(session, &group, yes, dry_run).await,
        GroupCommand::Remove { group, members, branch, yes, dry_run } => {
            return remove(session, &group, &members, branch, yes, dry_run).await;
        }
        GroupCommand::Link(LinkCommand::List { group }) => return links(session, &group).await,
        GroupCommand::Link(LinkCommand::Revoke { group, link }) => {
            let done = session.call("group.revokeLink", json!({"group": group, "link": link})).await?;
            screen.result(&done, |_, _| String::new())?;
            screen.note("the link is void");
            return Ok(());
        }
        GroupCommand::Export { group, file } => return export(session, &group, file.as_deref()).await,
        GroupCommand::Show { group } => return show(session, &group).await,
        GroupCommand::Approve { group, member } => decide(&group, &member, true),
        GroupCommand::Reject { group, member } => decide(&group, &member, false),
        GroupCommand::Rename { group, name } => ("group.set", json!({"group": group, "name": name})),
        GroupCommand::Topic { group, topic } => ("group.set", json!({"group": group, "topic": topic})),
        GroupCommand::Avatar { group, file } => {
            let picture = avatar(&file, "silbo group avatar GROUP FILE")?;
            ("group.set", json!({"group": group, "avatar": picture}))
        }
        GroupCommand::Add { group, members } => ("group.add", json!({"group": group, "members": members})),
        GroupCommand::Role { group, member, role } => {
            ("group.setRole", json!({"group": group, "member": member, "role": role.word()}))
        }
        GroupCommand::Mute { group, member, time, off: _ } => {
            // clap has seen to it that there is a time or --off.
            let seconds = time.map_or(0, |time| time.as_secs());
            ("group.mute", json!({"group": group, "member": member, "seconds": seconds}))
        }
        GroupCommand::Disappear { group, lasting } => {
            ("group.set", json!({"group": group, "retentionS": lasting.seconds()}))
        }
        GroupCommand::History { group, history } => ("group.set", json!({"group": group, "history": history.value()})),
        GroupCommand::Freeze { group, off } => ("group.set", json!({"group": group, "frozen": !off})),
        GroupCommand::Set(arguments) => ("group.set", settings(arguments)?),
    };
    screen.result(&session.call(method, wanted).await?, render::group)
}

/// With the text of what is pinned, for people.
async fn show(session: &Session, group: &str) -> Result<(), Failure> {
    let mut shown = session.call("group.get", json!({"group": group})).await?;
    if !session.screen.is_json()
        && let Some(pins) = shown.get_mut("pins").and_then(Value::as_array_mut)
    {
        for pin in pins {
            // A pinned message can be gone by the time it is asked for.
            if let Ok(message) = session.call("message.show", json!({"id": pin["id"]})).await {
                pin["message"] = message;
            }
        }
    }
    session.screen.result(&shown, render::group)
}

fn decide(group: &str, member: &str, accept: bool) -> (&'static str, Value) {
    ("group.decide", json!({"group": group, "member": member, "accept": accept}))
}

fn settings(arguments: GroupSetArguments) -> Result<Value, Failure> {
    let GroupSetArguments { group, history, may_add, may_send, may_delete, slow_mode } = arguments;
    let role = |role: Option<Role>| json!(role.map(Role::word));
    let changes = params([
        ("history", history.map_or(Value::Null, |history| history.value())),
        ("mayAdd", role(may_add)),
        ("maySend", role(may_send)),
        ("mayDelete", role(may_delete)),
        ("slowModeS", json!(slow_mode.map(|time| time.seconds()))),
        ("group", json!(group)),
    ]);
    match changes.as_object().map(serde_json::Map::len) {
        Some(2..) => Ok(changes),
        _ => Err(Failure::usage("there is nothing to change", "silbo group set GROUP --history 7d")
            .why("none of --history, --may-add, --may-send, --may-delete and --slow-mode is given")),
    }
}

async fn create(session: &Session, arguments: &CreateArguments) -> Result<(), Failure> {
    let wanted = json!({"name": arguments.name, "topic": arguments.topic, "members": arguments.members});
    let mut group = session.call("group.create", wanted).await?;
    if let Some(lasting) = arguments.disappear {
        let wanted = json!({"group": group["id"], "retentionS": lasting.seconds()});
        group = session.call("group.set", wanted).await?;
    }
    session.screen.result(&group, render::group)?;
    let name = render::text(&group, "name");
    session
        .screen
        .note(&format!("Say something: silbo send '#{name}' \"hi\"   Others join: silbo group invite '#{name}'"));
    Ok(())
}

async fn invite(session: &Session, arguments: &GroupInviteArguments) -> Result<(), Failure> {
    let wanted = json!({
        "group": arguments.group,
        "uses": arguments.uses,
        "ttlMs": milliseconds(arguments.ttl),
        "approval": arguments.approval,
    });
    let link = session.call("group.invite", wanted).await?;
    let title = render::link_title(&link, &session.screen.time);
    show_invite(session, &link, &title, !arguments.no_qr, arguments.qr_file.as_deref())?;
    session.screen.note("The others type: silbo group join LINK");
    Ok(())
}

async fn join(session: &Session, arguments: &JoinArguments) -> Result<(), Failure> {
    let screen = &session.screen;
    let link = if arguments.link == "-" { screen.read_stdin()? } else { arguments.link.clone() };
    // Listening begins before asking, so that no answer is missed. Without it, the loop looks from time to time.
    let mut events = if arguments.wait { session.client.events(None).await.ok() } else { None };
    let deadline = Instant::now() + arguments.timeout;
    let mut group = session.call("group.join", json!({"link": link.trim()})).await?;
    let id = group.get("id").cloned().unwrap_or_default();
    while arguments.wait && group["local"]["state"] == "joining" {
        if Instant::now() >= deadline {
            screen.result(&group, render::group)?;
            return Err(Failure::new(Class::Timeout, "nobody of the group has answered yet")
                .why(format!("no answer in {} s; the request is kept and goes on", arguments.timeout.as_secs()))
                .hint(format!("silbo group show {}", render::text(&group, "id"))));
        }
        event_about(&mut events, "group.", deadline.min(Instant::now() + LOOK_EVERY)).await;
        group = session.call("group.get", json!({"group": id})).await?;
    }
    screen.result(&group, render::group)?;
    let (name, state) = (render::text(&group, "name"), render::text(&group["local"], "state"));
    match state.as_str() {
        "active" => screen.note(&format!("Say something: silbo send '#{name}' \"hi\"")),
        "joining" => screen.note("a member has to let me in first"),
        _ => {
            return Err(Failure::new(Class::Untrusted, format!("I am not a member of #{name}"))
                .why(format!("the state is {state}"))
                .hint("ask a member for another link"));
        }
    }
    Ok(())
}

async fn leave(session: &Session, group: &str, yes: bool, dry_run: bool) -> Result<(), Failure> {
    let screen = &session.screen;
    let shown = session.call("group.get", json!({"group": group})).await?;
    let what = format!("#{} ({})", render::text(&shown, "name"), render::text(&shown, "id"));
    if dry_run {
        screen.note(&format!("would leave {what}"));
        return screen.result(&json!({"dryRun": true, "group": shown}), |_, _| String::new());
    }
    screen.confirm(&format!("leave {what}? Only a member can add you again"), yes)?;
    let left = session.call("group.leave", json!({"group": shown["id"]})).await?;
    screen.result(&left, |_, _| String::new())?;
    screen.note(&format!("left {what}; what was written stays here"));
    Ok(())
}

/// A member who was removed can be added again; a branch is many people at once, so there a person is asked.
async fn remove(
    session: &Session,
    group: &str,
    members: &[String],
    branch: bool,
    yes: bool,
    dry_run: bool,
) -> Result<(), Failure> {
    let screen = &session.screen;
    let what = format!("{}{}", members.join(", "), if branch { " and everybody they have brought in" } else { "" });
    if dry_run {
        let shown = session.call("group.get", json!({"group": group})).await?;
        screen.note(&format!("would remove {what} from #{}", render::text(&shown, "name")));
        let asked = json!({"dryRun": true, "group": shown["id"], "members": members, "withBranch": branch});
        return screen.result(&asked, |_, _| String::new());
    }
    if branch {
        screen.confirm(&format!("remove {what} from {group}?"), yes)?;
    }
    let wanted = json!({"group": group, "members": members, "withBranch": branch});
    screen.result(&session.call("group.remove", wanted).await?, render::group)
}

async fn links(session: &Session, group: &str) -> Result<(), Failure> {
    let shown = session.call("group.get", json!({"group": group})).await?;
    session.screen.list(&json!({"items": with_text(&shown)}), render::links)
}

/// All links, with the text of those made here.
fn with_text(group: &Value) -> Vec<Value> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let own = list(&group["local"]["links"]);
    let whole = |link: Value| own.iter().find(|own| own["id"] == link["id"]).cloned().unwrap_or(link);
    list(&group["links"]).into_iter().map(whole).collect()
}

async fn export(session: &Session, group: &str, file: Option<&Path>) -> Result<(), Failure> {
    let screen = &session.screen;
    let id = session.call("group.get", json!({"group": group})).await?["id"].take();
    let not_written = |path: &Path, error: &std::io::Error| {
        Failure::usage("the history cannot be written", "choose another --file")
            .why(format!("{}: {error}", path.display()))
    };
    let mut out = match file {
        Some(path) => {
            let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            Some((path, BufWriter::new(made.map_err(|error| not_written(path, &error))?)))
        }
        None => None,
    };
    let (mut after, mut count) = (json!(FIRST_ID), 0_u64);
    loop {
        let page = session.call("history.list", json!({"chat": id, "after": after, "limit": PAGE})).await?;
        let items = page.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for item in items {
            match &mut out {
                Some((path, out)) => writeln!(out, "{item}").map_err(|error| not_written(path, &error))?,
                None => screen.document(item)?,
            }
        }
        count += items.len() as u64;
        match items.last() {
            Some(last) if items.len() == PAGE => after = last["id"].clone(),
            _ => break,
        }
    }
    let Some((path, out)) = out else { return Ok(()) };
    let synced = out.into_inner().map_err(std::io::IntoInnerError::into_error).and_then(|file| file.sync_all());
    synced.map_err(|error| not_written(path, &error))?;
    let done = json!({"file": path, "count": count});
    screen.result(&done, |done, _| format!("{} messages in {}", render::text(done, "count"), path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use silbo_protocol::ids::MessageId;

    #[test]
    fn a_whole_history_begins_after_the_least_id() {
        assert_eq!(MessageId::parse(FIRST_ID), Some(MessageId([0; 12])));
    }

    #[test]
    fn links_made_here_are_shown_with_their_text() {
        let group = json!({
            "links": [{"id": "a", "uses": 5}, {"id": "b", "uses": 1}],
            "local": {"links": [{"id": "b", "uses": 1, "link": "silbo:g/x"}]},
        });
        assert_eq!(
            with_text(&group),
            [json!({"id": "a", "uses": 5}), json!({"id": "b", "uses": 1, "link": "silbo:g/x"})]
        );
        assert!(with_text(&json!({})).is_empty());
    }

    #[test]
    fn settings_need_something_to_set() {
        let arguments = |slow_mode| GroupSetArguments {
            group: "#climbing".to_owned(),
            history: None,
            may_add: Some(Role::Admin).filter(|_| slow_mode),
            may_send: None,
            may_delete: None,
            slow_mode: slow_mode.then_some(crate::cli::duration::Lasting::Forever),
        };
        assert_eq!(settings(arguments(false)).expect_err("nothing").class, Class::InvalidParams);
        let expected = json!({"group": "#climbing", "mayAdd": "admin", "slowModeS": 0});
        assert_eq!(settings(arguments(true)), Ok(expected));
    }
}
