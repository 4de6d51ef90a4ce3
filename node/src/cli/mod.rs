//! The command line: arguments → API request → text.
//!
//! [`main`] reads [`arguments`], calls the node of the profile through [`client`] and prints what it answers:
//! data on stdout, everything else on stderr, failures as three lines and an exit code ([`failure`]). It holds no
//! state and no rule of the messenger; with `--json` the API's result is printed as it is. Only `up`, `daemon` and
//! `relay serve` start something, through the function in [`Program`].

pub mod arguments;
pub mod byte_size;
mod channels;
mod chats;
pub mod client;
pub mod config_file;
mod contacts;
mod detach;
pub mod duration;
pub mod failure;
mod groups;
mod local;
mod local_time;
mod logging;
mod mesh;
mod messages;
mod network;
mod node_settings;
mod passphrase;
mod qr;
mod recv;
mod render;
mod rpc;
mod screen;
mod topics;
mod up;

use std::process::ExitCode;

use clap::Parser;
use serde_json::Value;

use crate::bench::{self, PairOptions};
use crate::paths::{PathChoices, Paths};
use crate::settings::NodeSettings;
use arguments::{Arguments, BenchCommand, Color, Command, Global, RelayCommand};
use client::Client;
use failure::{Class, Failure};
use screen::{Form, Screen};

/// What the command line cannot do by itself.
#[derive(Clone, Copy)]
pub struct Program {
    /// Runs a node until it is told to stop, by `system.shutdown`, SIGTERM or SIGINT.
    pub run: fn(NodeSettings) -> anyhow::Result<()>,
    /// The schema of the API.
    pub schema: fn() -> Value,
}

/// One invocation.
pub(crate) struct Session {
    pub(crate) global: Global,
    pub(crate) paths: Paths,
    pub(crate) screen: Screen,
    pub(crate) client: Client,
    pub(crate) program: Program,
}

impl Session {
    /// Calls the API.
    async fn call(&self, method: &str, params: Value) -> Result<Value, Failure> {
        self.client.call(method, params).await
    }
}

/// Runs the command that was typed.
#[must_use]
pub fn main(program: Program) -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return mistyped(&error),
    };
    let form = match (arguments.global.json, arguments.global.jsonl) {
        (_, true) => Form::JsonLines,
        (true, false) => Form::Json,
        (false, false) => Form::Text,
    };
    let choice = match arguments.global.color {
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    };
    choice.write_global();
    let screen = Screen::new(form, arguments.global.quiet);
    let done = session(arguments.global, screen, program).and_then(|session| {
        let done = run(&session, arguments.command);
        done.inspect_err(|failure| session.screen.failure(failure)).map_err(|failure| failure.class)
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(class) => ExitCode::from(class.exit_code()),
    }
}

/// Help that was asked for goes to stdout with 0, other help to stderr with 2; a mistake is a failure like any other.
fn mistyped(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind;
    let help = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    if help {
        // A closed stream leaves nobody to tell.
        drop(error.print());
    } else {
        // The arguments were not understood, so this one is looked for by hand.
        let json = std::env::args_os().any(|word| word == "--json" || word == "--jsonl");
        let form = if json { Form::Json } else { Form::Text };
        Screen::new(form, false).failure(&Failure::of_command_line(error));
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn session(global: Global, screen: Screen, program: Program) -> Result<Session, Class> {
    let choices = PathChoices {
        home: global.home.clone(),
        profile: global.profile.clone(),
        config: global.config.clone(),
        socket: global.socket.clone(),
        log: global.log_file.clone(),
    };
    match Paths::choose(&choices) {
        Ok(paths) => Ok(Session { client: Client::new(&paths), global, paths, screen, program }),
        Err(error) => {
            screen.failure(
                &Failure::usage("the files of the profile cannot be found", "silbo --home DIR …")
                    .why(error.to_string()),
            );
            Err(Class::InvalidParams)
        }
    }
}

fn run(session: &Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::Up(up) => up::up(session, &up),
        Command::Daemon(daemon) => up::daemon(session, &daemon),
        Command::Relay(RelayCommand::Serve(serve)) => up::serve(session, &serve),
        Command::Completion { shell } => local::completion(shell),
        Command::Manual { dir } => local::manual(session, &dir),
        Command::Schema => session.screen.document(&(session.program.schema)()),
        Command::Paths => local::paths(session),
        Command::Help { topic } => topics::help(session, &topic),
        Command::Bench(BenchCommand::Pair { rtt, seconds, idle, program }) => {
            let options = PairOptions { rtt, length: std::time::Duration::from_secs(seconds.into()), idle, program };
            match bench::pair(&options)? {
                Some(figures) => session.screen.result(&figures.document(), |_, _| figures.text()),
                None => Ok(()),
            }
        }
        other => {
            if wants_start(session, &other) {
                up::start_quietly(session)?;
            }
            runtime()?.block_on(ask(session, other))
        }
    }
}

/// With SILBO_AUTOSTART, commands that need the node start it.
fn wants_start(session: &Session, command: &Command) -> bool {
    let set = std::env::var("SILBO_AUTOSTART").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false" | "no"));
    let local = matches!(command, Command::Down { .. } | Command::Config(_) | Command::Version | Command::Doctor);
    set && !local && !session.global.no_start
}

/// A runtime for a command; it ends with it.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Class::Internal, "could not start").why(error.to_string()))
}

async fn ask(session: &Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::Down { timeout } => up::down(session, timeout).await,
        Command::Status => network::status(session).await,
        Command::Me { command } => contacts::me(session, command).await,
        Command::Invite(invite) => contacts::invite(session, &invite).await,
        Command::Add(add) => contacts::add(session, &add).await,
        Command::Contact(command) => contacts::contact(session, command).await,
        Command::Group(command) => groups::group(session, command).await,
        Command::Channel(command) => channels::channel(session, command).await,
        Command::Send(send) => messages::send(session, send).await,
        Command::Recv(recv) => recv::recv(session, &recv).await,
        Command::History { to, limit, before, after } => messages::history(session, &to, limit, before, after).await,
        Command::Search { query, chat, limit, before, after } => {
            messages::search(session, &query, chat, limit, before, after).await
        }
        Command::Msg(command) => messages::msg(session, command).await,
        Command::List { which } => chats::list(session, which).await,
        Command::Chat(command) => chats::chat(session, command).await,
        Command::Retention(command) => messages::retention(session, command).await,
        Command::Relay(command) => network::relay(session, command).await,
        Command::Mesh(command) => mesh::mesh(session, command).await,
        Command::Net(command) => network::net(session, command).await,
        Command::Ping { to, count, timeout } => network::ping(session, &to, count, timeout).await,
        Command::Doctor => network::doctor(session).await,
        Command::Token(command) => network::token(session, command).await,
        Command::Config(command) => local::config(session, command).await,
        Command::Version => local::version(session).await,
        Command::Rpc => rpc::serve_stdio(session).await,
        // `run` has taken the commands that need no runtime.
        Command::Up(_)
        | Command::Daemon(_)
        | Command::Completion { .. }
        | Command::Manual { .. }
        | Command::Schema
        | Command::Paths
        | Command::Bench(_)
        | Command::Help { .. } => Ok(()),
    }
}

/// A call's parameters: the ones that are null are left out.
pub(crate) fn params<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    let present = pairs.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(present.map(|(name, value)| (name.to_owned(), value)).collect())
}

/// A duration in the API's integer milliseconds.
pub(crate) fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
