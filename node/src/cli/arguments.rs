//! What can be typed: the command tree. Nothing here does anything.
//!
//! ```text
//!   people.rs  my profile, invitations, contacts     messages.rs  sending, receiving, changing, keeping
//!   groups.rs  groups, their members and links     channels.rs  channels
//! ```

mod channels;
mod groups;
mod messages;
mod people;

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use super::byte_size::parse_byte_size;
use super::duration::parse_duration;
pub use channels::{ChannelCommand, ChannelCreateArguments, ChannelLinkArguments, ChannelSetArguments, ReadableFrom};
pub use groups::{
    CreateArguments, GroupCommand, GroupInviteArguments, GroupSetArguments, JoinArguments, LinkCommand, Role,
};
pub use messages::{
    CarryCommand, ChatCommand, ExportArguments, MsgCommand, RecvArguments, RetentionCommand, SendArguments, WaitState,
    Which,
};
pub use people::{AddArguments, ContactCommand, InviteArguments, InviteCommand, MeCommand, ProfileField};

/// Messages that travel from node to node, without servers.
#[derive(Debug, Parser)]
#[command(name = "silbo", version, disable_help_subcommand = true, infer_subcommands = false, max_term_width = 100)]
#[command(after_help = "First steps: silbo up · silbo invite · silbo add LINK · silbo send NAME \"hi\"\n\
Concepts: silbo help relays | couriers | groups | channels | safety-numbers | retention | exit-codes")]
pub struct Arguments {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Keep everything of this profile below one folder
    #[arg(long, global = true, env = "SILBO_HOME", value_name = "DIR", help_heading = "Global options")]
    pub home: Option<PathBuf>,
    /// Use the profile of this name
    #[arg(long, global = true, env = "SILBO_PROFILE", value_name = "NAME", help_heading = "Global options")]
    pub profile: Option<String>,
    /// Use this configuration file
    #[arg(long, global = true, env = "SILBO_CONFIG", value_name = "FILE", help_heading = "Global options")]
    pub config: Option<PathBuf>,
    /// Reach the node at this Unix socket
    #[arg(long, global = true, env = "SILBO_SOCKET", value_name = "PATH", help_heading = "Global options")]
    pub socket: Option<PathBuf>,
    /// Print the API's result as one JSON document
    #[arg(long, global = true, env = "SILBO_JSON", value_parser = clap::builder::FalseyValueParser::new(), action = ArgAction::SetTrue, help_heading = "Global options")]
    pub json: bool,
    /// Print one JSON document an item
    #[arg(long, global = true, env = "SILBO_JSONL", value_parser = clap::builder::FalseyValueParser::new(), action = ArgAction::SetTrue, help_heading = "Global options")]
    pub jsonl: bool,
    /// Log more (-vv: everything)
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Global options")]
    pub verbose: u8,
    /// Leave out hints and notes
    #[arg(short, long, global = true, env = "SILBO_QUIET", value_parser = clap::builder::FalseyValueParser::new(), action = ArgAction::SetTrue, help_heading = "Global options")]
    pub quiet: bool,
    /// Use colours
    #[arg(
        long,
        global = true,
        env = "SILBO_COLOR",
        value_name = "WHEN",
        default_value = "auto",
        help_heading = "Global options"
    )]
    pub color: Color,
    /// What to log, as a tracing filter such as silbo=debug
    #[arg(long, global = true, env = "SILBO_LOG", value_name = "FILTER", help_heading = "Global options")]
    pub log: Option<String>,
    /// Where a detached node logs
    #[arg(long, global = true, env = "SILBO_LOG_FILE", value_name = "FILE", help_heading = "Global options")]
    pub log_file: Option<PathBuf>,
    /// How to log
    #[arg(
        long,
        global = true,
        env = "SILBO_LOG_FORMAT",
        value_name = "FORM",
        default_value = "text",
        help_heading = "Global options"
    )]
    pub log_format: LogFormat,
    /// Do not start a node, even if SILBO_AUTOSTART is set
    #[arg(long, global = true, env = "SILBO_NO_START", value_parser = clap::builder::FalseyValueParser::new(), action = ArgAction::SetTrue, help_heading = "Global options")]
    pub no_start: bool,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On terminals, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line an entry.
    Text,
    /// A JSON document an entry.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the node, and create an identity the first time
    Up(UpArguments),
    /// Stop the node
    Down {
        /// How long to wait for it
        #[arg(long, default_value = "30s", value_parser = parse_duration)]
        timeout: Duration,
    },
    /// Show the node on one screen
    Status,
    /// Show or change my profile
    Me {
        /// What to show or change; without it the profile is shown
        #[command(subcommand)]
        command: Option<MeCommand>,
    },
    /// Invite somebody: a link and a QR code
    Invite(InviteArguments),
    /// Add a contact by an invitation
    Add(AddArguments),
    /// Contacts
    #[command(subcommand, alias = "contacts")]
    Contact(ContactCommand),
    /// Groups
    #[command(subcommand, alias = "groups")]
    Group(GroupCommand),
    /// Channels: one writes, anybody with a link reads
    #[command(subcommand, alias = "channels")]
    Channel(ChannelCommand),
    /// Send a message
    Send(SendArguments),
    /// Print what has arrived since last time
    #[command(alias = "receive")]
    Recv(RecvArguments),
    /// Show a conversation
    History {
        /// A contact, a group or channel such as '#climbing', or `me`
        to: String,
        /// How many messages
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
        limit: u32,
        /// Only before this message
        #[arg(long, value_name = "ID")]
        before: Option<String>,
        /// Only after this message
        #[arg(long, value_name = "ID")]
        after: Option<String>,
    },
    /// Search messages
    Search {
        /// Words to find
        query: String,
        /// Only in the conversation with this contact or group
        #[arg(long = "in", value_name = "TO")]
        chat: Option<String>,
        /// How many messages
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
        limit: u32,
        /// Only before this message
        #[arg(long, value_name = "ID")]
        before: Option<String>,
        /// Only after this message
        #[arg(long, value_name = "ID")]
        after: Option<String>,
    },
    /// List conversations: unarchived ones, with what is set for them
    List {
        /// Which of them
        #[arg(default_value = "current")]
        which: Which,
    },
    /// A conversation on this device: mute, archive, draft
    #[command(subcommand)]
    Chat(ChatCommand),
    /// Messages: edit, delete, react, pin, show, trace, carry
    #[command(subcommand, alias = "message")]
    Msg(MsgCommand),
    /// How long messages of a conversation are kept
    #[command(subcommand)]
    Retention(RetentionCommand),
    /// Relays: serve, and use those of others
    #[command(subcommand)]
    Relay(RelayCommand),
    /// Mail that people carry: what this device does for others
    #[command(subcommand)]
    Mesh(MeshCommand),
    /// The network as this node sees it
    #[command(subcommand)]
    Net(NetCommand),
    /// Time the way to a contact, and say which way it is
    Ping {
        /// A contact
        to: String,
        /// How often
        #[arg(long, short = 'n', default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
        count: u32,
        /// How long to wait for an answer
        #[arg(long, default_value = "10s", value_parser = parse_duration)]
        timeout: Duration,
    },
    /// Look for problems
    Doctor,
    /// The configuration file
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print every path this profile uses
    Paths,
    /// Print completions for a shell
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write manual pages into a folder
    Manual {
        /// The folder
        dir: PathBuf,
    },
    /// Print the machine-readable schema of the API
    Schema,
    /// Speak JSON-RPC on stdin and stdout, one document a line
    Rpc,
    /// Tokens for other programs
    #[command(subcommand)]
    Token(TokenCommand),
    /// Print versions
    Version,
    /// Run the node in the foreground, for supervisors
    Daemon(DaemonArguments),
    /// Measure this program on this machine
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Explain a command or a concept
    Help {
        /// A command, or: relays, couriers, groups, channels, safety-numbers, retention, exit-codes
        topic: Vec<String>,
    },
}

/// `bench`.
#[derive(Clone, Debug, Subcommand)]
pub enum BenchCommand {
    /// Two nodes and a relay beside a bare QUIC echo: speed, bytes, memory, start
    Pair {
        /// Round-trip time of the slow link
        #[arg(long, default_value = "20ms", value_parser = parse_duration)]
        rtt: Duration,
        /// How long each speed is measured
        #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=600))]
        seconds: u32,
        /// How long the idle node is watched
        #[arg(long, default_value = "60s", value_parser = parse_duration)]
        idle: Duration,
        /// Measure nodes of another build: a silbo program
        #[arg(long, value_name = "FILE")]
        program: Option<PathBuf>,
    },
}

/// What a node is started with.
#[derive(Clone, Debug, Default, Args)]
pub struct StartArguments {
    /// My name, as contacts see it
    #[arg(long, env = "SILBO_NAME")]
    pub name: Option<String>,
    /// Listen here; may be repeated
    #[arg(long, value_name = "MULTIADDR", env = "SILBO_LISTEN", value_delimiter = ',', value_parser = parse_multiaddr)]
    pub listen: Vec<String>,
    /// Do not look for peers in the local network
    #[arg(long, env = "SILBO_NO_MDNS", value_parser = clap::builder::FalseyValueParser::new(), action = ArgAction::SetTrue)]
    pub no_mdns: bool,
    /// Do not use the Bluetooth radio
    #[arg(long, env = "SILBO_NO_BLUETOOTH", value_parser = clap::builder::FalseyValueParser::new(), action = ArgAction::SetTrue)]
    pub no_bluetooth: bool,
    /// Offer the API over HTTP and WebSocket at this loopback address too
    #[arg(long, value_name = "ADDRESS", env = "SILBO_API_LISTEN")]
    pub api_listen: Option<std::net::SocketAddr>,
    /// Read the passphrase from the first line of a file
    #[arg(long, value_name = "FILE", env = "SILBO_PASSPHRASE_FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Read the passphrase from this descriptor
    #[arg(long, value_name = "N", conflicts_with = "passphrase_file")]
    pub passphrase_fd: Option<u32>,
}

/// `up`.
#[derive(Clone, Debug, Default, Args)]
pub struct UpArguments {
    /// What the node is started with.
    #[command(flatten)]
    pub start: StartArguments,
    /// Stay in the foreground
    #[arg(long, short = 'f')]
    pub foreground: bool,
    /// Never ask
    #[arg(long, short)]
    pub yes: bool,
    /// Draw no QR code
    #[arg(long)]
    pub no_qr: bool,
}

/// `daemon`.
#[derive(Clone, Debug, Default, Args)]
pub struct DaemonArguments {
    /// What the node is started with.
    #[command(flatten)]
    pub start: StartArguments,
    /// Serve as a relay too
    #[arg(long)]
    pub relay: bool,
    /// What the relay promises.
    #[command(flatten)]
    pub promise: RelayPromise,
    /// Started by `up`: leave the terminal's session
    #[arg(long, hide = true)]
    pub detached: bool,
}

/// What a relay promises.
#[derive(Clone, Debug, Default, Args)]
pub struct RelayPromise {
    /// How long mail is kept, 1d to 90d
    #[arg(long, env = "SILBO_RELAY_RETENTION", value_parser = parse_duration)]
    pub retention: Option<Duration>,
    /// How much mail is kept in all, such as 4GiB
    #[arg(long, value_name = "SIZE", env = "SILBO_RELAY_QUOTA", value_parser = parse_byte_size)]
    pub quota: Option<u64>,
}

/// `relay serve`.
#[derive(Clone, Debug, Default, Args)]
pub struct ServeArguments {
    /// What the node is started with.
    #[command(flatten)]
    pub start: StartArguments,
    /// What the relay promises.
    #[command(flatten)]
    pub promise: RelayPromise,
    /// Stay in the foreground
    #[arg(long, short = 'f')]
    pub foreground: bool,
    /// Never ask
    #[arg(long, short)]
    pub yes: bool,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// On.
    #[value(alias = "true", alias = "yes")]
    On,
    /// Off.
    #[value(alias = "false", alias = "no")]
    Off,
}

impl Switch {
    /// Reads `on`, `off` and what else people write.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Switch> {
        Switch::from_str(word, true).ok()
    }

    /// As the API has it.
    #[must_use]
    pub fn is_on(self) -> bool {
        self == Switch::On
    }
}

/// `relay`.
#[derive(Clone, Debug, Subcommand)]
pub enum RelayCommand {
    /// Serve as a relay for others
    Serve(ServeArguments),
    /// Use a relay
    Add {
        /// Its multiaddr with /p2p/
        #[arg(value_parser = parse_multiaddr)]
        address: String,
    },
    /// List the relays in use
    List,
    /// Use a relay no more
    Remove {
        /// Its peer id or multiaddr
        peer: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
    },
    /// Show the relay this node is
    Status,
}

/// `mesh`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum MeshCommand {
    /// Show what is carried, how much may be, and with whom this device is
    Status,
    /// List nodes linked by radio
    Peers,
    /// List nodes heard by radio
    Scan,
    /// Show who is one step away, and which of them is a contact
    Map,
    /// Look for neighbours now
    Announce,
    /// Carry much, some, or little for others, and listen as much by radio
    Power {
        /// performance: 100,000 messages, 64 MiB, listen always; balanced: 20,000, 16 MiB, a quarter of the time; saver:
        /// 2,000, 2 MiB, a tenth
        mode: PowerMode,
    },
    /// Change how much is carried for others
    Set {
        /// Carry mail for others; off also drops what is carried
        #[arg(long, value_name = "ON|OFF")]
        carry: Option<Switch>,
        /// Messages at most, 1 to 100000
        #[arg(long, value_name = "N")]
        max_messages: Option<u32>,
        /// Their size at most, such as 16MiB (16KiB to 64MiB)
        #[arg(long, value_name = "SIZE", value_parser = parse_byte_size)]
        max_size: Option<u64>,
        /// So many contacts, those I am with most, carry for me, 0 to 16
        #[arg(long, value_name = "N")]
        auto_carriers: Option<u8>,
    },
    /// Let a contact pick up and bring my mail
    Appoint {
        /// A contact
        contact: String,
        /// No longer
        #[arg(long)]
        off: bool,
    },
}

/// How much to carry for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PowerMode {
    /// 100,000 messages, 64 MiB.
    Performance,
    /// 20,000 messages, 16 MiB.
    Balanced,
    /// 2,000 messages, 2 MiB.
    Saver,
}

impl PowerMode {
    /// The word of the API.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            PowerMode::Performance => "performance",
            PowerMode::Balanced => "balanced",
            PowerMode::Saver => "saver",
        }
    }
}

/// `net`.
#[derive(Clone, Debug, Subcommand)]
pub enum NetCommand {
    /// Addresses, NAT and transports
    Check,
    /// Connected peers
    Peers,
}

/// `config`.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print one or all settings
    Get {
        /// A key such as transports.mdns
        key: Option<String>,
    },
    /// Change a setting
    Set {
        /// A key such as transports.mdns
        key: String,
        /// The value
        value: String,
    },
    /// Open the file in $VISUAL or $EDITOR
    Edit,
    /// Look for mistakes in the file
    Check,
    /// Print the path of the file
    Path,
}

/// `token`.
#[derive(Clone, Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token; it is shown once
    Create {
        /// What to call it
        name: String,
        /// What it permits: read, events:read, message:send, admin
        #[arg(long = "scope", required = true, value_delimiter = ',')]
        scopes: Vec<String>,
        /// How long it is valid; without it until revoked
        #[arg(long, value_parser = parse_duration)]
        ttl: Option<Duration>,
    },
    /// List tokens
    List,
    /// Make a token void
    Revoke {
        /// Its name
        name: String,
    },
}

/// A multiaddr begins with a slash and names a protocol; the node reads the rest.
fn parse_multiaddr(text: &str) -> Result<String, String> {
    let text = text.trim();
    let named = text.strip_prefix('/').is_some_and(|rest| rest.contains('/') && !rest.contains(char::is_whitespace));
    if named {
        Ok(text.to_owned())
    } else {
        Err("a multiaddr such as /ip4/0.0.0.0/udp/4001/quic-v1 is needed".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    pub(super) fn parse(line: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(std::iter::once("silbo").chain(line.iter().copied()))
    }

    #[test]
    fn the_command_tree_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_exact_calls_of_the_specification_are_understood() {
        let listen = "/ip4/127.0.0.1/udp/0/quic-v1";
        let relay = "/ip4/127.0.0.1/udp/4001/quic-v1/p2p/12D3KooWExample";
        let calls: [&[&str]; 12] = [
            &["--home", "A", "up", "--yes", "--name", "Ada", "--listen", listen, "--no-mdns"],
            &["--home", "R", "relay", "serve", "--yes", "--listen", listen],
            &["--home", "R", "relay", "status", "--json"],
            &["--home", "A", "relay", "add", relay, "--json"],
            &["--home", "A", "invite", "--json"],
            &["--home", "B", "add", "silbo:link", "--as", "ada", "--wait", "--timeout", "30s", "--json"],
            &["--home", "B", "send", "ada", "hi", "--wait", "delivered", "--timeout", "30s", "--json"],
            &["--home", "A", "recv", "--json"],
            &["--home", "A", "history", "bob", "--json"],
            &["--home", "A", "msg", "trace", "0123abcd", "--json"],
            &["--home", "A", "status", "--json"],
            &["--home", "A", "down"],
        ];
        for call in calls {
            let arguments = parse(call).unwrap_or_else(|error| panic!("{call:?}: {error}"));
            assert!(arguments.global.home.is_some(), "{call:?}");
            assert_eq!(arguments.global.json, call.contains(&"--json"), "{call:?}");
        }
    }

    #[test]
    fn up_takes_its_options_apart() {
        let line = [
            "up",
            "--yes",
            "--name",
            "Ada",
            "--listen",
            "/ip4/1.2.3.4/tcp/1",
            "--listen",
            "/ip6/::1/tcp/2",
            "--no-mdns",
        ];
        let Command::Up(up) = parse(&line).expect("a call").command else { panic!("not up") };
        assert!(up.yes && up.start.no_mdns && !up.foreground);
        assert_eq!(up.start.name.as_deref(), Some("Ada"));
        assert_eq!(up.start.listen.len(), 2);
    }

    #[test]
    fn send_takes_its_options_apart() {
        let line =
            ["send", "ada", "hi", "--wait", "delivered", "--timeout", "5s", "--expire", "1h", "--client-id", "x"];
        let Command::Send(send) = parse(&line).expect("a call").command else { panic!("not send") };
        assert_eq!((send.to.as_str(), send.text.as_deref()), ("ada", Some("hi")));
        assert_eq!(send.wait, Some(WaitState::Delivered));
        assert_eq!(send.timeout, Duration::from_secs(5));
        assert_eq!(send.expire, Some(Duration::from_secs(3_600)));
        let Command::Send(piped) = parse(&["send", "ada", "-"]).expect("a call").command else { panic!("not send") };
        assert_eq!(piped.text.as_deref(), Some("-"));
    }

    #[test]
    fn invite_makes_lists_and_revokes() {
        let Command::Invite(made) = parse(&["invite", "--ttl", "1h", "--reusable"]).expect("a call").command else {
            panic!("not invite")
        };
        assert!(made.reusable && made.command.is_none());
        assert_eq!(made.ttl, Duration::from_secs(3_600));
        for line in [&["invite", "list", "--json"][..], &["invite", "revoke", "abcd"]] {
            let Command::Invite(invite) = parse(line).expect("a call").command else { panic!("not invite") };
            assert!(invite.command.is_some());
        }
    }

    #[test]
    fn the_other_commands_are_understood() {
        let calls = [
            "me",
            "me set name Ada",
            "me words --yes",
            "me qr",
            "add -",
            "contact list --state active",
            "contact verify ada --code 123",
            "contact accept ada",
            "contact remove ada --yes",
            "contact rename ada bea",
            "contact set ada --presence on",
            "recv --follow --consumer alerts --ack",
            "recv --since 7 --no-ack --kinds message.received,contact.request",
            "history ada --limit 10 --before x",
            "search hello --in ada",
            "msg edit x new",
            "msg delete x y --both --yes",
            "msg react x +1 --remove",
            "msg pin x",
            "list",
            "list archived",
            "list all",
            "chat show bob",
            "chat mute bob 8h",
            "chat mute #g always",
            "chat mute bob --off",
            "chat archive bob",
            "chat archive bob --off",
            "chat draft bob half",
            "chat draft bob half --reply x",
            "chat draft bob --clear",
            "msg pin x --remove",
            "msg show x",
            "msg carry export --to ada --file bag --max 64KiB",
            "msg carry export --text --no-qr",
            "msg carry import -",
            "send ada hi --ttl 24h --no-infra",
            "mesh status",
            "mesh announce",
            "mesh peers",
            "mesh scan",
            "mesh power saver",
            "mesh set --carry off",
            "mesh set --auto-carriers 3",
            "mesh appoint ada --off",
            "mesh set --max-messages 500 --max-size 1MiB",
            "retention show ada",
            "retention set ada 7d",
            "retention set ada never",
            "relay serve --retention 30d --quota 4GiB --foreground",
            "relay list",
            "relay remove 12D3 --yes",
            "net check",
            "net peers",
            "ping ada",
            "doctor",
            "config get",
            "config set transports.mdns false",
            "config path",
            "paths",
            "completion bash",
            "manual out",
            "schema",
            "rpc",
            "token create bot --scope read,message:send --ttl 30d",
            "token list",
            "token revoke bot",
            "version --json",
            "daemon --listen /ip4/0.0.0.0/tcp/0",
            "help relays",
            "help msg trace",
            "--json status",
            "-vv status",
        ];
        for call in calls {
            let words: Vec<&str> = call.split(' ').collect();
            assert!(parse(&words).is_ok(), "{call}: {:?}", parse(&words).err());
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_exit_code_2() {
        let calls = [
            "",
            "send",
            "add",
            "history ada --limit 0",
            "history ada --limit 201",
            "invite --ttl 24",
            "retention set ada soon",
            "up --listen 127.0.0.1:4001",
            "send ada hi --wait yesterday",
            "msg delete",
            "msg carry import",
            "msg carry export --file bag --text",
            "mesh power turbo",
            "mesh set --carry perhaps",
            "token create bot",
            "nonsense",
            "up --passphrase secret",
        ];
        for call in calls {
            let words: Vec<&str> = call.split(' ').filter(|word| !word.is_empty()).collect();
            let error = parse(&words).err().unwrap_or_else(|| panic!("{call} was accepted"));
            assert_eq!(error.exit_code(), 2, "{call}");
        }
    }

    #[test]
    fn every_global_option_with_a_value_has_a_variable_shown_in_help() {
        let command = Arguments::command();
        for argument in command.get_arguments().filter(|argument| argument.is_global_set()) {
            let id = argument.get_id().as_str();
            if id == "verbose" {
                continue;
            }
            let variable = argument.get_env().unwrap_or_else(|| panic!("--{id} has no variable"));
            assert!(variable.to_string_lossy().starts_with("SILBO_"), "{id}");
            assert!(!argument.is_hide_env_set(), "{id}");
        }
    }
}
