//! Starting a node as a process of its own.
//!
//! This very program is started again as `daemon --detached`, with its log as stdout and stderr. A passphrase travels
//! through the child's stdin, never through its arguments. The parent waits until the socket answers or the child
//! ends; then the last three lines of its log say why.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use super::arguments::StartArguments;
use super::failure::{Class, Failure};
use super::node_settings::{Purpose, combine, given_passphrase, prepare};
use super::{Session, config_file, logging, runtime};
use crate::settings::Unlock;

/// A node that does not answer after this has failed to start: key derivation and database checks take seconds.
const START_MAX: Duration = Duration::from_secs(60);
/// Pauses between looks at a starting or stopping node.
pub const LOOK_FIRST: Duration = Duration::from_millis(10);
/// The longest such pause.
pub const LOOK_MAX: Duration = Duration::from_millis(200);
/// As much of a log is looked at for the reason of a failed start.
const LOG_TAIL_BYTES: u64 = 16 * 1024;
/// Variables that are for this process and would disturb the child.
const NOT_FOR_THE_CHILD: [&str; 6] =
    ["SILBO_JSON", "SILBO_JSONL", "SILBO_QUIET", "SILBO_PASSPHRASE_FILE", "SILBO_COLOR", "CLICOLOR_FORCE"];

/// Starts the node as a process of its own; returns its status once it answers.
///
/// # Errors
/// What the node could not do, as its log says.
pub fn detach(session: &Session, start: &StartArguments, purpose: &Purpose, yes: bool) -> Result<Value, Failure> {
    // Mistakes in settings are told here, before anything is started.
    prepare(&session.paths)?;
    let (config, unknown) = config_file::load(&session.paths.config_path)?;
    for mistake in unknown {
        session.screen.note(&format!("note: {mistake}"));
    }
    combine(&session.paths, start, purpose, &config, Unlock::KeyFile)?;
    let mut secret = given_passphrase(start)?;
    let runtime = runtime()?;
    loop {
        let begun = log_length(&session.paths.log_path);
        let mut child = spawn(session, start, purpose, secret.as_deref().map(String::as_str))?;
        match runtime.block_on(wait_for_start(session, &mut child, begun)) {
            Err(failure) if failure.class == Class::Locked && !yes && secret.is_none() && session.screen.can_ask() => {
                secret = Some(session.screen.ask_secret("Passphrase: ")?);
            }
            done => return done,
        }
    }
}

fn spawn(session: &Session, start: &StartArguments, purpose: &Purpose, secret: Option<&str>) -> Result<Child, Failure> {
    let failed = |why: String| {
        Failure::new(Class::Internal, "the node could not be started").why(why).hint("silbo up --foreground")
    };
    let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
    let log = logging::open(&session.paths.log_path)
        .map_err(|error| failed(format!("{}: {error}", session.paths.log_path.display())))?;
    let copy = log.try_clone().map_err(|error| failed(error.to_string()))?;
    let mut command = Command::new(program);
    command.args(child_arguments(session, start, purpose, secret.is_some())).current_dir("/").stdout(copy).stderr(log);
    command.stdin(if secret.is_some() { Stdio::piped() } else { Stdio::null() });
    for name in NOT_FOR_THE_CHILD {
        command.env_remove(name);
    }
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
    if let (Some(secret), Some(mut stdin)) = (secret, child.stdin.take()) {
        stdin.write_all(secret.as_bytes()).map_err(|error| failed(error.to_string()))?;
    }
    Ok(child)
}

fn child_arguments(
    session: &Session,
    start: &StartArguments,
    purpose: &Purpose,
    secret: bool,
) -> Vec<std::ffi::OsString> {
    let paths = &session.paths;
    let mut arguments: Vec<std::ffi::OsString> = Vec::new();
    let mut pair = |name: &str, value: &std::ffi::OsStr| {
        // One word, so that a value that begins with a dash stays a value.
        let mut word = std::ffi::OsString::from(name);
        word.push("=");
        word.push(value);
        arguments.push(word);
    };
    if let Some(home) = &paths.home {
        pair("--home", home.as_os_str());
    }
    pair("--profile", paths.profile.as_ref());
    pair("--config", paths.config_path.as_os_str());
    pair("--socket", paths.socket_path.as_os_str());
    pair("--log-file", paths.log_path.as_os_str());
    if let Some(filter) = &session.global.log {
        pair("--log", filter.as_ref());
    }
    if let Some(name) = &start.name {
        pair("--name", name.as_ref());
    }
    for address in &start.listen {
        pair("--listen", address.as_ref());
    }
    if let Some(address) = start.api_listen {
        pair("--api-listen", address.to_string().as_ref());
    }
    if secret {
        pair("--passphrase-fd", "0".as_ref());
    }
    let mut flags = vec!["daemon".to_owned(), "--detached".to_owned()];
    if start.no_mdns {
        flags.push("--no-mdns".to_owned());
    }
    if start.no_bluetooth {
        flags.push("--no-bluetooth".to_owned());
    }
    if session.global.log_format == super::arguments::LogFormat::Json {
        flags.push("--log-format=json".to_owned());
    }
    flags.extend((0..session.global.verbose).map(|_| "-v".to_owned()));
    if let Purpose::Relay(promise) = purpose {
        flags.push("--relay".to_owned());
        flags.extend(promise.retention.map(|retention| format!("--retention={}s", retention.as_secs())));
        flags.extend(promise.quota.map(|quota| format!("--quota={quota}")));
    }
    flags.into_iter().map(std::ffi::OsString::from).chain(arguments).collect()
}

async fn wait_for_start(session: &Session, child: &mut Child, log_begun: u64) -> Result<Value, Failure> {
    let deadline = Instant::now() + START_MAX;
    let mut pause = LOOK_FIRST;
    loop {
        if let Ok(status) = session.call("system.status", json!({})).await {
            return Ok(status);
        }
        let ended = child
            .try_wait()
            .map_err(|error| Failure::new(Class::Internal, "the node was lost").why(error.to_string()))?;
        if let Some(ended) = ended {
            // Another `up` may have been quicker: then its node answers.
            return match session.call("system.status", json!({})).await {
                Ok(status) => Ok(status),
                Err(_) => Err(failed_start(&session.paths.log_path, log_begun, ended)),
            };
        }
        if Instant::now() >= deadline {
            // A node that half runs would be in the way of the next try. It has ended when there is nobody to stop.
            drop(child.kill());
            drop(child.wait());
            return Err(Failure::new(Class::Timeout, "the node did not start")
                .why(format!("it did not answer in {} s", START_MAX.as_secs()))
                .hint(format!("read {}", session.paths.log_path.display())));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LOOK_MAX);
    }
}

fn log_length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |log| log.len())
}

fn failed_start(log_path: &Path, begun: u64, ended: std::process::ExitStatus) -> Failure {
    let class = Class::of_exit_code(ended.code().map_or(1, i64::from));
    let tail = log_tail(log_path, begun).unwrap_or_default();
    Failure::of_log(class, &tail).unwrap_or_else(|| {
        let last = tail.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("its log says nothing");
        Failure::new(class, "the node did not start")
            .why(format!("{ended}: {last}"))
            .hint(format!("read {}, or silbo up --foreground", log_path.display()))
    })
}

fn log_tail(path: &Path, begun: u64) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    // A log that was set aside in between begins at 0 again.
    let from = if begun > length { 0 } else { begun };
    file.seek(SeekFrom::Start(from.max(length.saturating_sub(LOG_TAIL_BYTES))))?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::arguments::RelayPromise;
    use super::*;
    use crate::paths::{PathChoices, Paths};

    fn paths() -> Paths {
        let choices = PathChoices { home: Some("/somewhere".into()), ..PathChoices::default() };
        Paths::choose(&choices).expect("paths")
    }

    #[test]
    fn the_child_is_given_what_up_was_given() {
        let line =
            ["silbo", "--home", "/somewhere", "up", "--name", "Ada", "--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns"];
        let typed = super::super::arguments::Arguments::try_parse_from(line).expect("a call");
        let super::super::arguments::Command::Up(up) = typed.command else { panic!("not up") };
        let session = Session {
            paths: paths(),
            client: super::super::client::Client::new(&paths()),
            screen: super::super::screen::Screen::new(super::super::screen::Form::Text, true),
            program: super::super::Program { run: |_| Ok(()), schema: || Value::Null },
            global: typed.global,
        };
        let mut words: Vec<std::ffi::OsString> = vec!["silbo".into()];
        let promise = RelayPromise { retention: Some(Duration::from_secs(86_400)), quota: Some(1 << 30) };
        let mut start = up.start.clone();
        start.name = Some("-Ada-".into());
        words.extend(child_arguments(&session, &start, &Purpose::Relay(promise), true));
        let child = super::super::arguments::Arguments::try_parse_from(words).expect("the child understands");
        assert_eq!(child.global.home.as_deref(), Some(Path::new("/somewhere")));
        let super::super::arguments::Command::Daemon(daemon) = child.command else { panic!("not daemon") };
        assert!(daemon.detached && daemon.relay && daemon.start.no_mdns);
        assert_eq!(daemon.start.name.as_deref(), Some("-Ada-"));
        assert_eq!(daemon.start.listen, start.listen);
        assert_eq!(daemon.start.passphrase_fd, Some(0));
        assert_eq!(daemon.promise.quota, Some(1 << 30));
    }

    #[test]
    fn a_failed_start_tells_what_the_log_says() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = folder.path().join("silbo.log");
        fs::write(&log, "error: old\nwhy: old\nhint: old\n").expect("a log");
        let begun = log_length(&log);
        let mut text = fs::read_to_string(&log).expect("the log");
        text.push_str(
            "INFO starting\nerror: the port is taken\nwhy: udp 4001 is in use\nhint: choose another --listen\n",
        );
        fs::write(&log, text).expect("a log");
        let ended = std::os::unix::process::ExitStatusExt::from_raw(2 << 8);
        let failure = failed_start(&log, begun, ended);
        assert_eq!((failure.class, failure.what.as_str()), (Class::InvalidParams, "the port is taken"));
        fs::write(&log, "x".repeat(40)).expect("a log");
        assert!(failed_start(&log, 0, ended).why.contains("xxx"));
    }
}
