//! What can be typed about groups.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::cli::duration::{Lasting, parse_duration, parse_duration_or_never};

const DAY: Duration = Duration::from_secs(86_400);

/// `group`.
#[derive(Clone, Debug, Subcommand)]
pub enum GroupCommand {
    /// Make a group of me and some contacts
    Create(CreateArguments),
    /// List groups
    List,
    /// Show a group: members, settings, who asks to join
    Show {
        /// A group, such as '#climbing'
        group: String,
    },
    /// Make a link by which others join
    Invite(GroupInviteArguments),
    /// Join a group by a link
    Join(JoinArguments),
    /// Let somebody in who asks to join
    Approve {
        /// A group
        group: String,
        /// Who asks
        member: String,
    },
    /// Refuse somebody who asks to join
    Reject {
        /// A group
        group: String,
        /// Who asks
        member: String,
    },
    /// Leave a group; what was written stays here
    Leave {
        /// A group
        group: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        /// Only say what would be left
        #[arg(long)]
        dry_run: bool,
    },
    /// Call a group something else, for all
    Rename {
        /// A group
        group: String,
        /// The name
        name: String,
    },
    /// Say what a group is about
    Topic {
        /// A group
        group: String,
        /// The topic; "" removes it
        topic: String,
    },
    /// Give a group a picture
    Avatar {
        /// A group
        group: String,
        /// A picture file; "" removes the picture
        file: String,
    },
    /// Add contacts
    Add {
        /// A group
        group: String,
        /// Contacts
        #[arg(required = true)]
        members: Vec<String>,
    },
    /// Remove members: they read nothing that is written after it
    Remove {
        /// A group
        group: String,
        /// Members
        #[arg(required = true)]
        members: Vec<String>,
        /// Also everybody they have added, and whom those have added
        #[arg(long)]
        branch: bool,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        /// Only say who would be removed
        #[arg(long)]
        dry_run: bool,
    },
    /// Give a member another role
    Role {
        /// A group
        group: String,
        /// A member
        member: String,
        /// The role; each can do what the ones before it can
        role: Role,
    },
    /// Let a member only read for a while
    Mute {
        /// A group
        group: String,
        /// A member
        member: String,
        /// For how long
        #[arg(value_parser = parse_duration, required_unless_present = "off", conflicts_with = "off")]
        time: Option<Duration>,
        /// Let them write again
        #[arg(long)]
        off: bool,
    },
    /// Keep messages of a group for so long
    Disappear {
        /// A group
        group: String,
        /// 1d to 90d, or never
        #[arg(value_parser = parse_duration_or_never)]
        lasting: Lasting,
    },
    /// Let newcomers read what was written before them
    History {
        /// A group
        group: String,
        /// none, all, or days such as 30d
        #[arg(value_name = "WHAT", value_parser = parse_history)]
        history: History,
    },
    /// Let nobody join and nothing change, until an owner lifts it
    Freeze {
        /// A group
        group: String,
        /// Lift it
        #[arg(long)]
        off: bool,
    },
    /// Change who may do what, and what newcomers can read
    Set(GroupSetArguments),
    /// Links by which others join
    #[command(subcommand)]
    Link(LinkCommand),
    /// Write the whole history as JSON, a message a line, oldest first
    Export {
        /// A group
        group: String,
        /// Into this file, which must not exist; without it to standard output
        #[arg(long, value_name = "F")]
        file: Option<PathBuf>,
    },
}

/// `group create`.
#[derive(Clone, Debug, Args)]
pub struct CreateArguments {
    /// What to call it
    pub name: String,
    /// Contacts to add at once
    pub members: Vec<String>,
    /// What it is about
    #[arg(long, default_value = "", hide_default_value = true)]
    pub topic: String,
    /// How long messages are kept: 1d to 90d, or never (the default)
    #[arg(long, value_name = "TIME", value_parser = parse_duration_or_never)]
    pub disappear: Option<Lasting>,
}

/// `group invite`.
#[derive(Clone, Debug, Args)]
pub struct GroupInviteArguments {
    /// A group
    pub group: String,
    /// How many may join by it
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub uses: u32,
    /// How long it is valid
    #[arg(long, default_value = "7d", value_parser = parse_duration)]
    pub ttl: Duration,
    /// Each of them waits until somebody lets them in: silbo group approve
    #[arg(long)]
    pub approval: bool,
    /// Draw no QR code
    #[arg(long)]
    pub no_qr: bool,
    /// Also write the QR code as SVG
    #[arg(long, value_name = "F.svg")]
    pub qr_file: Option<PathBuf>,
}

/// `group join`.
#[derive(Clone, Debug, Args)]
pub struct JoinArguments {
    /// The link, or - for standard input
    pub link: String,
    /// Wait until I am a member
    #[arg(long)]
    pub wait: bool,
    /// How long to wait
    #[arg(long, default_value = "60s", value_parser = parse_duration)]
    pub timeout: Duration,
}

/// `group set`.
#[derive(Clone, Debug, Args)]
pub struct GroupSetArguments {
    /// A group
    pub group: String,
    /// What newcomers can read of the time before: none, all, or days such as 7d
    #[arg(long, value_name = "WHAT", value_parser = parse_history)]
    pub history: Option<History>,
    /// The least role that may add members and make links
    #[arg(long, value_name = "ROLE")]
    pub may_add: Option<Role>,
    /// The least role that may write
    #[arg(long, value_name = "ROLE")]
    pub may_send: Option<Role>,
    /// The least role that may delete what others wrote
    #[arg(long, value_name = "ROLE")]
    pub may_delete: Option<Role>,
    /// Time between two messages of one member, such as 30s; never lifts it
    #[arg(long, value_name = "TIME", value_parser = parse_duration_or_never)]
    pub slow_mode: Option<Lasting>,
}

/// `group link`.
#[derive(Clone, Debug, Subcommand)]
pub enum LinkCommand {
    /// List the links that still work
    List {
        /// A group
        group: String,
    },
    /// Make a link void
    Revoke {
        /// A group
        group: String,
        /// Its id, or the link
        link: String,
    },
}

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Reads only.
    Reader,
    /// Writes.
    Member,
    /// Also deletes what others wrote, and mutes.
    Moderator,
    /// Also adds, removes and changes settings.
    Admin,
    /// Also makes admins and owners.
    Owner,
}

impl Role {
    /// The word of the API.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Role::Reader => "reader",
            Role::Member => "member",
            Role::Moderator => "moderator",
            Role::Admin => "admin",
            Role::Owner => "owner",
        }
    }
}

/// What newcomers can read of the time before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// Nothing.
    None,
    /// So many days.
    Days(u64),
    /// Everything.
    All,
}

impl History {
    /// As the API has it.
    #[must_use]
    pub fn value(self) -> Value {
        match self {
            History::None => json!({"kind": "none"}),
            History::Days(days) => json!({"kind": "days", "days": days}),
            History::All => json!({"kind": "all"}),
        }
    }
}

fn parse_history(text: &str) -> Result<History, String> {
    match text.trim() {
        "none" => Ok(History::None),
        "all" => Ok(History::All),
        other => match parse_duration(other) {
            Ok(time) if time >= DAY && time.as_secs().is_multiple_of(DAY.as_secs()) => {
                Ok(History::Days(time.as_secs() / DAY.as_secs()))
            }
            _ => Err(format!("{text:?} is neither none, nor all, nor whole days such as 7d")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::parse;
    use super::super::{Arguments, Command};
    use super::*;

    fn group(line: &[&str]) -> GroupCommand {
        let line = [&["group"], line].concat();
        match parse(&line).unwrap_or_else(|error| panic!("{line:?}: {error}")) {
            Arguments { command: Command::Group(command), .. } => command,
            _ => panic!("not group"),
        }
    }

    #[test]
    fn the_exact_calls_of_groups_are_understood() {
        let calls: [&[&str]; 6] = [
            &["--home", "A", "group", "create", "climbing", "bob", "carol", "--json"],
            &["--home", "A", "group", "invite", "#climbing", "--uses", "5", "--json"],
            &["--home", "D", "group", "join", "silbo:g/x", "--wait", "--json"],
            &["--home", "A", "send", "#climbing", "Saturday?", "--wait", "delivered", "--timeout", "60s", "--json"],
            &["--home", "A", "group", "remove", "#climbing", "carol", "--json"],
            &["--home", "B", "group", "show", "#climbing", "--json"],
        ];
        for call in calls {
            let arguments = parse(call).unwrap_or_else(|error| panic!("{call:?}: {error}"));
            assert!(arguments.global.json && arguments.global.home.is_some(), "{call:?}");
        }
        let GroupCommand::Create(create) = group(&["create", "climbing", "bob", "carol"]) else { panic!("not create") };
        assert_eq!((create.name.as_str(), create.members.len(), create.disappear), ("climbing", 2, None));
        let GroupCommand::Invite(invite) = group(&["invite", "#climbing", "--uses", "5"]) else { panic!("not invite") };
        assert_eq!((invite.uses, invite.ttl, invite.approval), (5, 7 * DAY, false));
        let GroupCommand::Join(join) = group(&["join", "silbo:g/x", "--wait"]) else { panic!("not join") };
        assert!(join.wait && join.timeout == Duration::from_secs(60));
    }

    #[test]
    fn the_other_calls_of_groups_are_understood() {
        for call in [
            "create solo --topic ropes --disappear 30d",
            "list",
            "approve #g eve",
            "reject #g eve",
            "leave #g --yes",
            "leave #g --dry-run",
            "rename #g bouldering",
            "topic #g ropes",
            "avatar #g face.png",
            "add #g bob carol",
            "remove #g bob carol --branch --yes",
            "remove #g bob --dry-run",
            "role #g bob moderator",
            "mute #g bob 1h",
            "mute #g bob --off",
            "disappear #g 7d",
            "disappear #g never",
            "history #g none",
            "history #g all",
            "history #g 30d",
            "freeze #g",
            "freeze #g --off",
            "set #g --history 7d --may-add admin --may-send member --may-delete moderator --slow-mode 30s",
            "link list #g",
            "link revoke #g 0123abcd",
            "export #g",
            "export #g --file history.jsonl",
        ] {
            group(&call.split(' ').collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_makes_no_sense_of_groups_is_refused_with_exit_code_2() {
        for call in [
            "create",
            "show",
            "invite #g --uses 0",
            "invite #g --ttl 7",
            "join",
            "add #g",
            "remove #g",
            "role #g bob king",
            "mute #g bob",
            "mute #g bob 1h --off",
            "disappear #g soon",
            "history #g",
            "history #g 36h",
            "set #g --history 7",
            "set #g --history 36h",
            "link",
        ] {
            let words: Vec<&str> = std::iter::once("group").chain(call.split(' ')).collect();
            let error = parse(&words).err().unwrap_or_else(|| panic!("{call} was accepted"));
            assert_eq!(error.exit_code(), 2, "{call}");
        }
    }

    #[test]
    fn a_history_is_none_all_or_whole_days() {
        assert_eq!(parse_history("none"), Ok(History::None));
        assert_eq!(parse_history("all"), Ok(History::All));
        assert_eq!(parse_history("2w"), Ok(History::Days(14)));
        assert_eq!(History::Days(14).value(), json!({"kind": "days", "days": 14}));
        assert!(parse_history("12h").is_err() && parse_history("").is_err());
    }
}
