//! What can be typed about channels.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Switch;
use crate::cli::duration::{Lasting, parse_duration_or_never};

/// `channel`.
#[derive(Clone, Debug, Subcommand)]
pub enum ChannelCommand {
    /// Make a channel: I write, whoever has a link reads
    Create(ChannelCreateArguments),
    /// Read a channel by its link
    Join {
        /// The link, or - for standard input
        link: String,
        /// Let other readers find me and read from me; every holder of a link can then learn my address
        #[arg(long)]
        serve: bool,
    },
    /// Read a channel no more: it goes from this device with its posts; an own one is over
    Leave {
        /// A channel, such as '#news'
        channel: String,
        /// Without asking
        #[arg(long, short)]
        yes: bool,
    },
    /// List channels
    List,
    /// Show a channel
    Show {
        /// A channel
        channel: String,
    },
    /// Make a link by which others read a channel
    Link(ChannelLinkArguments),
    /// Change a channel of mine, or whether others can read from me
    Set(ChannelSetArguments),
    /// Write in a channel of mine
    Post {
        /// A channel
        channel: String,
        /// The text, or - for standard input
        text: String,
    },
}

/// `channel create`.
#[derive(Clone, Debug, Args)]
pub struct ChannelCreateArguments {
    /// What to call it
    pub name: String,
    /// What it is about
    #[arg(long, default_value = "", hide_default_value = true)]
    pub topic: String,
    /// How long posts are kept: 1d to 90d, or never (the default)
    #[arg(long, value_name = "TIME", value_parser = parse_duration_or_never)]
    pub disappear: Option<Lasting>,
}

/// `channel link`.
#[derive(Clone, Debug, Args)]
pub struct ChannelLinkArguments {
    /// A channel
    pub channel: String,
    /// From when its holder can read
    #[arg(long, default_value = "first")]
    pub from: ReadableFrom,
    /// Draw no QR code
    #[arg(long)]
    pub no_qr: bool,
    /// Also write the QR code as SVG
    #[arg(long, value_name = "F.svg")]
    pub qr_file: Option<PathBuf>,
}

/// From when the holder of a link reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReadableFrom {
    /// From the first day I can read
    First,
    /// From today, nothing of before
    Today,
}

impl ReadableFrom {
    /// As the API says it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Today => "today",
        }
    }
}

/// `channel set`.
#[derive(Clone, Debug, Args)]
pub struct ChannelSetArguments {
    /// A channel
    pub channel: String,
    /// What to call it
    #[arg(long)]
    pub name: Option<String>,
    /// What it is about
    #[arg(long)]
    pub topic: Option<String>,
    /// How long posts are kept: 1d to 90d, or never
    #[arg(long, value_name = "TIME", value_parser = parse_duration_or_never)]
    pub disappear: Option<Lasting>,
    /// Whether other readers can find me and read from me
    #[arg(long, value_name = "on|off")]
    pub serve: Option<Switch>,
}
