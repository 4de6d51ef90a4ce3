//! What can be typed about people: my profile, invitations, contacts.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::Switch;
use crate::cli::duration::parse_duration;

/// `me`.
#[derive(Clone, Debug, Subcommand)]
pub enum MeCommand {
    /// Change my name, status text or avatar
    Set {
        /// What to change
        what: ProfileField,
        /// The text, or for the avatar a picture file; "" removes it
        value: String,
    },
    /// Show the 12 words that restore this identity
    Words {
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Show a QR code that anybody may use to ask me for contact
    Qr {
        /// Also write it as SVG
        #[arg(long, value_name = "F.svg")]
        qr_file: Option<PathBuf>,
    },
}

/// What of a profile can be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProfileField {
    /// The name.
    Name,
    /// The status text.
    Status,
    /// The picture.
    Avatar,
}

/// `invite`.
#[derive(Clone, Debug, Args)]
pub struct InviteArguments {
    /// How long it is valid
    #[arg(long, default_value = "24h", value_parser = parse_duration)]
    pub ttl: Duration,
    /// Valid for many, not for one
    #[arg(long)]
    pub reusable: bool,
    /// Draw no QR code
    #[arg(long)]
    pub no_qr: bool,
    /// Also write the QR code as SVG
    #[arg(long, value_name = "F.svg")]
    pub qr_file: Option<PathBuf>,
    /// Without it an invitation is made.
    #[command(subcommand)]
    pub command: Option<InviteCommand>,
}

/// What to do with invitations.
#[derive(Clone, Debug, Subcommand)]
pub enum InviteCommand {
    /// List invitations
    List,
    /// Make an invitation void
    Revoke {
        /// Its id
        id: String,
    },
}

/// `add`.
#[derive(Clone, Debug, Args)]
pub struct AddArguments {
    /// The invitation, or - for standard input
    pub link: String,
    /// What to call the contact here
    #[arg(long = "as", value_name = "NAME")]
    pub alias: Option<String>,
    /// Wait until the other has answered
    #[arg(long)]
    pub wait: bool,
    /// How long to wait
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    pub timeout: Duration,
}

/// `contact`.
#[derive(Clone, Debug, Subcommand)]
pub enum ContactCommand {
    /// List contacts
    List {
        /// Only those in this state
        #[arg(long)]
        state: Option<String>,
    },
    /// Show a contact
    Show {
        /// A contact
        contact: String,
    },
    /// Compare safety numbers
    Verify {
        /// A contact
        contact: String,
        /// The 60 digits or QR text read from the other's screen
        #[arg(long)]
        code: Option<String>,
        /// The numbers were compared and match
        #[arg(long, short)]
        yes: bool,
        /// Draw a QR code the other can scan
        #[arg(long)]
        qr: bool,
        /// Accept a changed key first
        #[arg(long)]
        accept_new: bool,
    },
    /// Accept a request for contact
    Accept {
        /// A contact
        contact: String,
    },
    /// Refuse a request for contact
    Reject {
        /// A contact
        contact: String,
    },
    /// Accept nothing more of a contact
    Block {
        /// A contact
        contact: String,
    },
    /// Undo a block
    Unblock {
        /// A contact
        contact: String,
    },
    /// Remove a contact and the conversation
    Remove {
        /// A contact
        contact: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
    },
    /// Call a contact something else
    Rename {
        /// A contact
        contact: String,
        /// What to call the contact here
        name: String,
    },
    /// Change what a contact may know
    Set {
        /// A contact
        contact: String,
        /// Tell when I am here
        #[arg(long)]
        presence: Option<Switch>,
        /// Tell when I have read a message
        #[arg(long)]
        read_receipts: Option<Switch>,
        /// Tell when I am typing
        #[arg(long)]
        typing: Option<Switch>,
    },
}
