//! What can be typed about messages: sending, receiving, changing, carrying by hand, keeping.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::byte_size::parse_byte_size;
use crate::cli::duration::{Lasting, parse_duration, parse_duration_or_never};

/// `send`.
#[derive(Clone, Debug, Args)]
pub struct SendArguments {
    /// A contact, a group such as '#climbing', or `me` for a note to self
    pub to: String,
    /// The text, or - for standard input
    pub text: Option<String>,
    /// Reply to this message
    #[arg(long, value_name = "ID")]
    pub reply: Option<String>,
    /// All sides forget it so long after it was read
    #[arg(long, value_parser = parse_duration)]
    pub expire: Option<Duration>,
    /// Wait until it is in this state
    #[arg(long, value_name = "STATE")]
    pub wait: Option<WaitState>,
    /// How long to wait
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    pub timeout: Duration,
    /// Sending twice with one client id sends once
    #[arg(long, value_name = "TEXT")]
    pub client_id: Option<String>,
    /// Give up when it has not arrived after so long, 1h to 30d (the longest without it)
    #[arg(long, value_parser = parse_duration)]
    pub ttl: Option<Duration>,
    /// Never over the internet or a local network: only by radio between devices, and in bags
    #[arg(long)]
    pub no_infra: bool,
}

/// States a sent message can be waited for in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WaitState {
    /// On this disk.
    Queued,
    /// Kept by a relay.
    #[value(alias = "relayed")]
    Held,
    /// With the other; in a group, with everybody.
    Delivered,
    /// Read by the other.
    Read,
}

impl WaitState {
    /// The word of the API.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            WaitState::Queued => "queued",
            WaitState::Held => "held",
            WaitState::Delivered => "delivered",
            WaitState::Read => "read",
        }
    }
}

/// `recv`.
#[derive(Clone, Debug, Args)]
pub struct RecvArguments {
    /// Stay and print what arrives
    #[arg(long, short)]
    pub follow: bool,
    /// Print from after this event; leaves the cursor unless --ack is given
    #[arg(long, value_name = "SEQ")]
    pub since: Option<u64>,
    /// Whose cursor to use
    #[arg(long, default_value = "cli", env = "SILBO_CONSUMER")]
    pub consumer: String,
    /// Move the cursor (the default without --since)
    #[arg(long, overrides_with = "no_ack")]
    pub ack: bool,
    /// Leave the cursor
    #[arg(long)]
    pub no_ack: bool,
    /// Kinds of events, such as message.received; `all` is every kind
    #[arg(long, value_delimiter = ',')]
    pub kinds: Vec<String>,
}

/// `msg`.
#[derive(Clone, Debug, Subcommand)]
pub enum MsgCommand {
    /// Change the text of a message
    Edit {
        /// The message
        id: String,
        /// The text, or - for standard input
        text: Option<String>,
    },
    /// Delete messages
    Delete {
        /// The messages
        #[arg(required = true)]
        ids: Vec<String>,
        /// Also at the other side, or in the whole group
        #[arg(long)]
        both: bool,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        /// Only say what would be deleted
        #[arg(long)]
        dry_run: bool,
    },
    /// React with an emoji
    React {
        /// The message
        id: String,
        /// The emoji
        emoji: String,
        /// Take the reaction back
        #[arg(long)]
        remove: bool,
    },
    /// Pin a message for everybody in the conversation; in a group, moderators do
    Pin {
        /// The message
        id: String,
        /// Take it back
        #[arg(long)]
        remove: bool,
    },
    /// Ask a question with options to choose from
    Poll {
        /// A contact, a group such as '#climbing', or `me`
        to: String,
        /// The question
        question: String,
        /// What can be chosen from: 2 to 16
        #[arg(required = true, num_args = 2..)]
        options: Vec<String>,
        /// How many of them everybody may choose
        #[arg(long, value_name = "N", default_value_t = 1)]
        choices: u32,
        /// Nobody can vote after so long
        #[arg(long, value_parser = parse_duration)]
        ends: Option<Duration>,
    },
    /// Choose among the options of a poll; the last choice counts
    Vote {
        /// The message that asks
        id: String,
        /// Options by number, from 1
        #[arg(required_unless_present = "remove", conflicts_with = "remove")]
        choices: Vec<u32>,
        /// Take the vote back
        #[arg(long)]
        remove: bool,
    },
    /// Show a message
    Show {
        /// The message
        id: String,
    },
    /// Show every hop and receipt of a message
    Trace {
        /// The message
        id: String,
    },
    /// Sealed mail as a file or a text, carried by hand from node to node
    #[command(subcommand)]
    Carry(CarryCommand),
}

/// `list`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Which {
    /// Those that are not archived.
    Current,
    /// Those that are archived.
    Archived,
    /// All.
    All,
}

/// `chat`.
#[derive(Clone, Debug, Subcommand)]
pub enum ChatCommand {
    /// Show what is set for a conversation on this device
    Show {
        /// A contact, a group, or `me`
        to: String,
    },
    /// Notify me of nothing that comes in it
    Mute {
        /// A contact, a group, or `me`
        to: String,
        /// For how long, or always
        #[arg(value_parser = parse_mute, required_unless_present = "off", conflicts_with = "off")]
        time: Option<u32>,
        /// Notify me again
        #[arg(long)]
        off: bool,
    },
    /// Keep it out of sight until a message comes, or for as long as it is muted
    Archive {
        /// A contact, a group, or `me`
        to: String,
        /// Show it again
        #[arg(long)]
        off: bool,
    },
    /// Keep a text to go on with later; without a text, print the one that is kept
    Draft {
        /// A contact, a group, or `me`
        to: String,
        /// The text, or - for standard input
        text: Option<String>,
        /// The message it will answer
        #[arg(long, value_name = "ID", requires = "text")]
        reply: Option<String>,
        /// Forget it
        #[arg(long, conflicts_with = "text")]
        clear: bool,
    },
}

/// Seconds; `always` is the largest number.
fn parse_mute(text: &str) -> Result<u32, String> {
    match text.trim() {
        "always" => Ok(u32::MAX),
        other => parse_duration(other).map(|time| u32::try_from(time.as_secs()).unwrap_or(u32::MAX).max(1)),
    }
}

/// `msg carry`.
#[derive(Clone, Debug, Subcommand)]
pub enum CarryCommand {
    /// Put mail that waits here into a file, or a text for a QR code
    Export(ExportArguments),
    /// Take the mail out of a file or a text; twice does no harm
    Import {
        /// The file, - for standard input, or the text (SILBO:B/…)
        from: String,
    },
}

/// `msg carry export`.
#[derive(Clone, Debug, Args)]
pub struct ExportArguments {
    /// Only my mail to this contact; without it everything that waits, and what is carried for others
    #[arg(long, value_name = "NAME")]
    pub to: Option<String>,
    /// Write it into this file, which must not exist
    #[arg(long, value_name = "F", conflicts_with = "text")]
    pub file: Option<PathBuf>,
    /// Print it as the text of a QR code (the default without --file)
    #[arg(long)]
    pub text: bool,
    /// How large it may be: up to 512KiB in a file (the default there), 2600B in a text (2KiB)
    #[arg(long, value_name = "SIZE", value_parser = parse_byte_size)]
    pub max: Option<u64>,
    /// Draw no QR code
    #[arg(long)]
    pub no_qr: bool,
    /// Also write the QR code as SVG
    #[arg(long, value_name = "F.svg", conflicts_with = "file")]
    pub qr_file: Option<PathBuf>,
}

/// `retention`.
#[derive(Clone, Debug, Subcommand)]
pub enum RetentionCommand {
    /// Show how long messages are kept
    Show {
        /// A contact, a group, or `me`
        to: String,
    },
    /// Keep messages for so long
    Set {
        /// A contact, a group, or `me`
        to: String,
        /// 1d to 90d, or never
        #[arg(value_parser = parse_duration_or_never)]
        lasting: Lasting,
    },
}
