//! Commands that need no node: paths, configuration, completions, manual pages, versions.

use std::io::{self, Write};
use std::path::Path;

use clap::CommandFactory;
use serde_json::{Map, Value, json};

use super::arguments::{Arguments, ConfigCommand};
use super::failure::{Class, Failure};
use super::{Session, config_file, render};

/// Settings that live in the node's database, because they change while it runs.
const NODE_KEYS: [&str; 2] = ["privacy.read_receipts", "privacy.typing"];

/// `silbo paths`
pub fn paths(session: &Session) -> Result<(), Failure> {
    let paths = &session.paths;
    let value = json!({
        "home": paths.home,
        "data": paths.data_dir,
        "config": paths.config_path,
        "state": paths.state_dir,
        "socket": paths.socket_path,
        "token": paths.token_path,
        "log": paths.log_path,
    });
    session.screen.result(&value, |value, _| {
        let lines = value.as_object().into_iter().flatten().filter(|(_, path)| !path.is_null());
        lines.map(|(name, _)| format!("{name:8} {}", render::text(value, name))).collect::<Vec<_>>().join("\n")
    })
}

/// `silbo config …`
pub async fn config(session: &Session, command: ConfigCommand) -> Result<(), Failure> {
    let screen = &session.screen;
    let path = &session.paths.config_path;
    match command {
        ConfigCommand::Path => screen.result(&json!({"path": path}), |value, _| render::text(value, "path")),
        ConfigCommand::Get { key } => {
            let found = get(session, key.as_deref()).await?;
            screen.result(&json!({"values": found}), |value, _| {
                let lines = value["values"].as_object().into_iter().flatten();
                let single = key.is_some();
                let line = |(name, value): (&String, &Value)| match value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned)
                {
                    text if single => text,
                    text => format!("{name} = {text}"),
                };
                lines.map(line).collect::<Vec<_>>().join("\n")
            })
        }
        ConfigCommand::Set { key, value } => {
            if NODE_KEYS.contains(&key.as_str()) {
                let value = super::arguments::Switch::of_word(&value).ok_or_else(|| {
                    Failure::usage(format!("{key} cannot be {value:?}"), format!("silbo config set {key} off"))
                        .why("it is on or off")
                })?;
                let done = session.call("settings.set", json!({"key": key, "value": value.is_on()})).await?;
                return screen.result(&done, |_, _| String::new());
            }
            config_file::set(path, &key, &value)?;
            screen.result(&json!({"values": {key: value}}), |_, _| String::new())?;
            screen.note("it holds from the next start: silbo down && silbo up");
            Ok(())
        }
        ConfigCommand::Edit => edit(session),
        ConfigCommand::Check => check(session),
    }
}

async fn get(session: &Session, key: Option<&str>) -> Result<Map<String, Value>, Failure> {
    let (config, unknown) = config_file::load(&session.paths.config_path)?;
    for mistake in unknown {
        session.screen.note(&format!("note: {mistake}"));
    }
    let mut found: Map<String, Value> = config_file::values(&config)?.into_iter().collect();
    let of_node = key.is_none_or(|key| NODE_KEYS.contains(&key));
    if of_node {
        match session.call("settings.get", json!({})).await {
            Ok(answer) => {
                let values = answer.get("values").and_then(Value::as_object).into_iter().flatten();
                found.extend(values.map(|(name, value)| (name.clone(), value.clone())));
            }
            Err(failure) if failure.class == Class::NoDaemon && key.is_none() => {
                session.screen.note("privacy.* is shown while the node runs");
            }
            Err(failure) => return Err(failure),
        }
    }
    let Some(key) = key else { return Ok(found) };
    match found.remove(key) {
        Some(value) => Ok(std::iter::once((key.to_owned(), value)).collect()),
        None => Err(Failure::new(Class::NotFound, format!("there is no setting {key:?}")).hint("silbo config get")),
    }
}

fn edit(session: &Session) -> Result<(), Failure> {
    let path = &session.paths.config_path;
    if !session.screen.can_ask() {
        return Err(Failure::usage("no editor can be opened", "silbo config set KEY VALUE").why("there is no terminal"));
    }
    let failed = |why: String| {
        Failure::new(Class::Internal, "the file could not be edited").why(why).hint("set VISUAL or EDITOR")
    };
    config_file::create_default(path).map_err(|error| failed(error.to_string()))?;
    let editor =
        ["VISUAL", "EDITOR"].iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    let editor = editor.unwrap_or_else(|| "vi".to_owned());
    let mut words = editor.split_whitespace();
    let ended = std::process::Command::new(words.next().unwrap_or("vi")).args(words).arg(path).status();
    match ended {
        Ok(status) if status.success() => check(session),
        Ok(status) => Err(failed(format!("{editor} ended with {status}"))),
        Err(error) => Err(failed(format!("{editor}: {error}"))),
    }
}

fn check(session: &Session) -> Result<(), Failure> {
    let path = &session.paths.config_path;
    let (_, unknown) = config_file::load(path)?;
    session.screen.result(&json!({"ok": unknown.is_empty(), "problems": unknown}), |_, _| String::new())?;
    if unknown.is_empty() {
        session.screen.note("no mistakes");
        return Ok(());
    }
    Err(Failure::new(Class::InvalidParams, format!("{} has unknown settings", path.display()))
        .why(unknown.join("; "))
        .hint("silbo config edit"))
}

/// `silbo completion SHELL`
pub fn completion(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "silbo", &mut script);
    let written = io::stdout().lock().write_all(&script);
    written.map_err(|error| Failure::new(Class::Internal, "could not write the output").why(error.to_string()))
}

/// `silbo manual DIR`
pub fn manual(session: &Session, dir: &Path) -> Result<(), Failure> {
    let written = std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Arguments::command(), dir));
    written.map_err(|error| {
        Failure::usage("the manual cannot be written", "choose another folder")
            .why(format!("{}: {error}", dir.display()))
    })?;
    session.screen.note(&format!("read it with: man -l {}", dir.join("silbo.1").display()));
    Ok(())
}

/// `silbo version`
pub async fn version(session: &Session) -> Result<(), Failure> {
    let node = session.call("system.version", json!({})).await.unwrap_or(Value::Null);
    let value = json!({"version": env!("CARGO_PKG_VERSION"), "node": node});
    session.screen.result(&value, |value, _| match value.get("node").filter(|node| !node.is_null()) {
        Some(node) => {
            format!("silbo {} (running node: {})", render::text(value, "version"), render::text(node, "version"))
        }
        None => format!("silbo {}", render::text(value, "version")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_page_is_written_for_every_command() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        clap_mangen::generate_to(Arguments::command(), folder.path()).expect("pages");
        for page in ["silbo.1", "silbo-up.1", "silbo-msg-trace.1", "silbo-relay-serve.1"] {
            assert!(folder.path().join(page).is_file(), "{page}");
        }
    }

    #[test]
    fn completions_know_the_commands() {
        let mut script = Vec::new();
        clap_complete::generate(clap_complete::Shell::Bash, &mut Arguments::command(), "silbo", &mut script);
        let script = String::from_utf8(script).expect("text");
        assert!(script.contains("retention") && script.contains("--passphrase-file"));
    }
}
