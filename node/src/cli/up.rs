//! Starting and stopping a node: `up`, `daemon`, `relay serve`, `down`.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use super::arguments::{DaemonArguments, ServeArguments, StartArguments, UpArguments};
use super::detach::{LOOK_FIRST, LOOK_MAX, detach};
use super::failure::{Class, Failure};
use super::node_settings::{NAME_OF_NOBODY, Purpose, settings};
use super::{Session, config_file, contacts, logging, render, runtime};

/// Name of a relay's own profile, which nobody sees.
const NAME_OF_RELAY: &str = "Silbo relay";

/// `silbo up`
pub fn up(session: &Session, arguments: &UpArguments) -> Result<(), Failure> {
    let mut start = arguments.start.clone();
    if let Some(status) = running(session)? {
        note_ignored(session, &start, &status);
        return runtime()?.block_on(announce_person(session, &status, !arguments.no_qr, false));
    }
    start.name = Some(choose_name(session, &start, arguments.yes)?);
    if arguments.foreground {
        return foreground(session, &start, &Purpose::Person, !arguments.no_qr);
    }
    let status = detach(session, &start, &Purpose::Person, arguments.yes)?;
    runtime()?.block_on(announce_person(session, &status, !arguments.no_qr, true))
}

/// `silbo relay serve`
pub fn serve(session: &Session, arguments: &ServeArguments) -> Result<(), Failure> {
    let mut start = arguments.start.clone();
    if let Some(status) = running(session)? {
        if status.get("relay").is_none_or(Value::is_null) {
            return Err(Failure::usage(
                "the relay cannot be started",
                "silbo down, then silbo relay serve; or choose another --home",
            )
            .why("a node without the relay role runs in this home"));
        }
        note_ignored(session, &start, &status);
        return runtime()?.block_on(announce_relay(session));
    }
    start.name.get_or_insert_with(|| NAME_OF_RELAY.to_owned());
    let purpose = Purpose::Relay(arguments.promise.clone());
    if arguments.foreground {
        return foreground(session, &start, &purpose, false);
    }
    detach(session, &start, &purpose, arguments.yes)?;
    runtime()?.block_on(announce_relay(session))
}

/// `silbo daemon`
pub fn daemon(session: &Session, arguments: &DaemonArguments) -> Result<(), Failure> {
    if arguments.detached {
        // Fails only where the child leads a session already, which is what is wanted.
        let _already = rustix::process::setsid();
    }
    let purpose = if arguments.relay { Purpose::Relay(arguments.promise.clone()) } else { Purpose::Person };
    let file = session.global.log_file.as_deref().filter(|_| !arguments.detached);
    logging::start(&session.global, file)?;
    let settings = settings(session, &arguments.start, &purpose)?;
    (session.program.run)(settings).map_err(Failure::from)
}

/// Starts the node of the profile without a word, for SILBO_AUTOSTART.
pub fn start_quietly(session: &Session) -> Result<(), Failure> {
    if running(session)?.is_some() {
        return Ok(());
    }
    let mut start = StartArguments::default();
    start.name = Some(choose_name(session, &start, true)?);
    detach(session, &start, &Purpose::Person, true).map(drop)
}

/// `silbo down`
pub async fn down(session: &Session, timeout: Duration) -> Result<(), Failure> {
    let screen = &session.screen;
    let status = match session.call("system.status", json!({})).await {
        Ok(status) => status,
        Err(failure) if failure.class == Class::NoDaemon => {
            screen.note("no node was running");
            return screen.result(&json!({"stopped": false}), |_, _| String::new());
        }
        Err(failure) => return Err(failure),
    };
    let pid = status["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    match session.call("system.shutdown", json!({})).await {
        Ok(_) => {}
        // It may be gone before its answer arrives.
        Err(failure) if failure.class == Class::NoDaemon => {}
        Err(failure) => return Err(failure),
    }
    let deadline = Instant::now() + timeout;
    let mut pause = LOOK_FIRST;
    while pid.is_some_and(is_alive) {
        if Instant::now() >= deadline {
            return Err(Failure::new(Class::Timeout, "the node has not stopped yet")
                .why(format!("process {} still runs after {} s", pid.unwrap_or_default(), timeout.as_secs()))
                .hint(format!("kill {}", pid.unwrap_or_default())));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LOOK_MAX);
    }
    screen.result(&json!({"stopped": true, "pid": pid}), |_, _| String::new())?;
    screen.note("the node has stopped");
    Ok(())
}

/// Whether a process still runs. One that has ended and waits for its parent has stopped.
fn is_alive(pid: i32) -> bool {
    if let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) {
        // The state follows the command name, which may itself contain spaces and brackets.
        let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
        return !matches!(state, Some('Z' | 'X'));
    }
    if Path::new("/proc/self/stat").exists() {
        return false;
    }
    rustix::process::Pid::from_raw(pid).is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
}

/// The status of the node that runs already, if one does.
fn running(session: &Session) -> Result<Option<Value>, Failure> {
    match runtime()?.block_on(session.call("system.status", json!({}))) {
        Ok(status) => Ok(Some(status)),
        Err(failure) if failure.class == Class::NoDaemon => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn note_ignored(session: &Session, start: &StartArguments, status: &Value) {
    session.screen.note("the node is running already");
    if start.name.as_ref().is_some_and(|name| status["name"] != **name) {
        session.screen.note("note: the name is not changed by this: silbo me set name NAME");
    }
    if !start.listen.is_empty() || start.no_mdns {
        session.screen.note("note: addresses and mDNS hold from the next start: silbo down, then silbo up");
    }
}

fn choose_name(session: &Session, start: &StartArguments, yes: bool) -> Result<String, Failure> {
    if let Some(name) = &start.name {
        return Ok(name.clone());
    }
    let (config, _) = config_file::load(&session.paths.config_path)?;
    if !config.profile.name.is_empty() {
        return Ok(config.profile.name);
    }
    let first = fs::read_dir(&session.paths.data_dir).map_or(true, |mut files| files.next().is_none());
    if first && !yes && session.screen.can_ask() {
        let name = session.screen.ask("Your name, as contacts will see it: ")?;
        if !name.is_empty() {
            return Ok(name);
        }
    }
    if first {
        session.screen.note(&format!("your name is \"{NAME_OF_NOBODY}\" until you choose one: silbo me set name NAME"));
    }
    Ok(NAME_OF_NOBODY.to_owned())
}

/// Runs the node in this process, and tells what it is once it answers.
fn foreground(session: &Session, start: &StartArguments, purpose: &Purpose, draw: bool) -> Result<(), Failure> {
    logging::start(&session.global, session.global.log_file.as_deref())?;
    let settings = settings(session, start, purpose)?;
    std::thread::scope(|scope| {
        let ended = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let watch = std::sync::Arc::clone(&ended);
        scope.spawn(move || {
            let told = runtime().and_then(|runtime| runtime.block_on(tell_when_ready(session, purpose, draw, &watch)));
            if let Err(failure) = told {
                tracing::debug!("the node was not announced: {failure}");
            }
        });
        let done = (session.program.run)(settings).map_err(Failure::from);
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
        done
    })
}

async fn tell_when_ready(
    session: &Session,
    purpose: &Purpose,
    draw: bool,
    ended: &std::sync::atomic::AtomicBool,
) -> Result<(), Failure> {
    let mut pause = LOOK_FIRST;
    let status = loop {
        match session.call("system.status", json!({})).await {
            Ok(status) => break status,
            Err(failure) if ended.load(std::sync::atomic::Ordering::Relaxed) => {
                return Err(failure);
            }
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause = (pause * 2).min(LOOK_MAX);
    };
    match purpose {
        Purpose::Person => announce_person(session, &status, draw, true).await,
        Purpose::Relay(_) => announce_relay(session).await,
    }
}

async fn announce_person(session: &Session, status: &Value, draw: bool, fresh: bool) -> Result<(), Failure> {
    let screen = &session.screen;
    if screen.is_json() {
        return screen.document(status);
    }
    if fresh {
        screen.note("the node is running");
    }
    let listen = status["listen"].as_array().map_or(&[][..], Vec::as_slice);
    let listen: Vec<&str> = listen.iter().filter_map(Value::as_str).collect();
    screen.line(&format!("name       {}", render::text(status, "name")))?;
    screen.line(&format!("address    {}", render::text(status, "address")))?;
    screen.line(&format!(
        "listening  {}",
        if listen.is_empty() { "nowhere".to_owned() } else { listen.join("\n           ") }
    ))?;
    screen.line(&format!(
        "node       pid {}, log {}",
        render::text(status, "pid"),
        session.paths.log_path.display()
    ))?;
    let silbo = typed_program(session);
    if status["contacts"].as_u64() == Some(0) {
        let list = session.call("invite.list", json!({})).await?;
        let mut unused = list["items"].as_array().into_iter().flatten();
        let unused =
            unused.find(|invite| invite["kind"] != "reusable" && contacts::is_live(invite) && is_unused(invite));
        let invite = match unused {
            Some(invite) => invite.clone(),
            None => session.call("invite.create", json!({"reusable": false})).await?,
        };
        screen.note("");
        let title = render::invite_title(&invite, &session.screen.time);
        contacts::show_invite(session, &invite, &title, draw, None)?;
        screen.note(&format!("\nThe other types:  {silbo} add LINK"));
    }
    screen.note(&format!("Next:  {silbo} add THEIR-LINK   ·   {silbo} send NAME \"hi\"   ·   {silbo} recv --follow"));
    screen.note(&format!("Stop:  {silbo} down"));
    Ok(())
}

fn is_unused(invite: &Value) -> bool {
    match &invite["used"] {
        Value::Bool(used) => !used,
        Value::Number(times) => times.as_u64() == Some(0),
        _ => true,
    }
}

async fn announce_relay(session: &Session) -> Result<(), Failure> {
    let screen = &session.screen;
    let relay = session.call("relay.status", json!({})).await?;
    screen.result(&relay, render::relay_status)?;
    screen.note(&format!("Users type:  silbo relay add {}", render::text(&relay, "address")));
    screen.note(&format!("Stop:        {} down", typed_program(session)));
    Ok(())
}

/// How this program was called, so that what we tell people to type works.
fn typed_program(session: &Session) -> String {
    let program = if std::env::var_os("CARGO_MANIFEST_DIR").is_some() { "cargo run --release --" } else { "silbo" };
    let mut typed = program.to_owned();
    if let Some(home) = session.global.home.as_ref().filter(|_| std::env::var_os("SILBO_HOME").is_none()) {
        typed.push_str(&format!(" --home {}", home.display()));
    }
    if let Some(profile) = session.global.profile.as_ref().filter(|_| std::env::var_os("SILBO_PROFILE").is_none()) {
        typed.push_str(&format!(" --profile {profile}"));
    }
    typed
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_that_has_ended_is_not_alive_even_before_it_is_waited_for() {
        assert!(is_alive(i32::try_from(std::process::id()).expect("a pid")));
        let mut child = Command::new("true").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a child");
        let pid = i32::try_from(child.id()).expect("a pid");
        // Its stdout closes when it ends; it stays a zombie until it is waited for.
        let mut nothing = Vec::new();
        child.stdout.take().expect("a pipe").read_to_end(&mut nothing).expect("the end");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while is_alive(pid) && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert!(!is_alive(pid));
        child.wait().expect("the child has ended");
        assert!(!is_alive(pid));
    }
}
