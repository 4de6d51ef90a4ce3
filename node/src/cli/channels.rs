//! Channels: making them, reading them, links, posts.

use serde_json::{Value, json};

use super::arguments::{ChannelCommand, ChannelCreateArguments, ChannelLinkArguments, ChannelSetArguments, Switch};
use super::contacts::show_invite;
use super::duration::Lasting;
use super::failure::Failure;
use super::{Session, params, render};

const DAY_S: u64 = 86_400;

/// `silbo channel …`
pub async fn channel(session: &Session, command: ChannelCommand) -> Result<(), Failure> {
    let screen = &session.screen;
    match command {
        ChannelCommand::Create(arguments) => create(session, &arguments).await,
        ChannelCommand::Join { link, serve } => {
            let link = if link == "-" { screen.read_stdin()? } else { link };
            let joined = session.call("channel.join", json!({"link": link.trim(), "serve": serve})).await?;
            screen.result(&joined, render::channel)?;
            screen.note("Posts come from whoever reads it too, as soon as one is found");
            Ok(())
        }
        ChannelCommand::Leave { channel, yes } => leave(session, &channel, yes).await,
        ChannelCommand::List => screen.list(&session.call("channel.list", json!({})).await?, render::channels),
        ChannelCommand::Show { channel } => {
            screen.result(&session.call("channel.get", json!({"channel": channel})).await?, render::channel)
        }
        ChannelCommand::Link(arguments) => link(session, &arguments).await,
        ChannelCommand::Set(arguments) => {
            screen.result(&session.call("channel.set", changes(arguments)?).await?, render::channel)
        }
        ChannelCommand::Post { channel, text } => post(session, &channel, text).await,
    }
}

async fn create(session: &Session, arguments: &ChannelCreateArguments) -> Result<(), Failure> {
    let days = arguments.disappear.map_or(Ok(0), days)?;
    let wanted = json!({"name": arguments.name, "topic": arguments.topic, "retentionDays": days});
    let made = session.call("channel.create", wanted).await?;
    session.screen.result(&made, render::channel)?;
    let name = render::text(&made, "name");
    session
        .screen
        .note(&format!("Write: silbo channel post '#{name}' \"hi\"   Others read: silbo channel link '#{name}'"));
    Ok(())
}

async fn link(session: &Session, arguments: &ChannelLinkArguments) -> Result<(), Failure> {
    let wanted = json!({"channel": arguments.channel, "from": arguments.from.word()});
    let link = session.call("channel.link", wanted).await?;
    let title = render::channel_link_title(&link, &session.screen.time);
    show_invite(session, &link, &title, !arguments.no_qr, arguments.qr_file.as_deref())?;
    session.screen.note("The others type: silbo channel join LINK");
    Ok(())
}

async fn leave(session: &Session, channel: &str, yes: bool) -> Result<(), Failure> {
    let screen = &session.screen;
    let shown = session.call("channel.get", json!({"channel": channel})).await?;
    let what = format!("#{} ({})", render::text(&shown, "name"), render::text(&shown, "id"));
    let own = shown["owner"] == true;
    let end = if own { "Its key is lost, nobody can write in it any more" } else { "Its posts go from this device" };
    screen.confirm(&format!("leave {what}? {end}"), yes)?;
    let left = session.call("channel.leave", json!({"channel": shown["id"]})).await?;
    screen.result(&left, |_, _| String::new())?;
    screen.note(&format!("left {what}"));
    Ok(())
}

async fn post(session: &Session, channel: &str, text: String) -> Result<(), Failure> {
    let screen = &session.screen;
    let body = if text == "-" { screen.read_stdin()? } else { text };
    let shown = session.call("channel.get", json!({"channel": channel})).await?;
    let sent = session.call("message.send", json!({"chat": shown["id"], "body": body})).await?;
    screen.result(&sent, render::sent)
}

fn changes(arguments: ChannelSetArguments) -> Result<Value, Failure> {
    let ChannelSetArguments { channel, name, topic, disappear, serve } = arguments;
    let days = disappear.map(days).transpose()?;
    let changes = params([
        ("name", json!(name)),
        ("topic", json!(topic)),
        ("retentionDays", json!(days)),
        ("serve", json!(serve.map(|serve| serve == Switch::On))),
        ("channel", json!(channel)),
    ]);
    match changes.as_object().map(serde_json::Map::len) {
        Some(2..) => Ok(changes),
        _ => Err(Failure::usage("there is nothing to change", "silbo channel set CHANNEL --topic TEXT")
            .why("none of --name, --topic, --disappear and --serve is given")),
    }
}

/// Posts go by the day.
fn days(lasting: Lasting) -> Result<u64, Failure> {
    match lasting.seconds() {
        seconds if seconds % DAY_S == 0 => Ok(seconds / DAY_S),
        _ => Err(Failure::usage("posts of a channel stay whole days", "--disappear 7d")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::failure::Class;

    #[test]
    fn settings_need_something_to_set() {
        let arguments = |serve| ChannelSetArguments {
            channel: "#news".to_owned(),
            name: None,
            topic: None,
            disappear: None,
            serve,
        };
        assert_eq!(changes(arguments(None)).expect_err("nothing").class, Class::InvalidParams);
        assert_eq!(changes(arguments(Some(Switch::Off))), Ok(json!({"channel": "#news", "serve": false})));
    }

    #[test]
    fn posts_stay_whole_days() {
        assert_eq!(days(Lasting::Forever), Ok(0));
    }
}
