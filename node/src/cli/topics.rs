//! `silbo help`: commands, and the concepts behind them.

use clap::CommandFactory;

use super::Session;
use super::arguments::Arguments;
use super::failure::{Class, Failure};

const TOPICS: [(&str, &str); 7] = [
    (
        "relays",
        "\
Two nodes that are online together talk directly. When one is away, a relay holds the sealed message until it is
back: `queued` becomes `held`, later `delivered`. A relay sees neither text nor names, and cannot read or change what
it holds; it does see when boxes are used and how full they are. Use two, run by different people:

  silbo relay add ADDRESS          use a relay (ADDRESS from its owner: silbo relay status)
  silbo relay serve                be one, on any machine others can reach
  silbo relay list                 those in use
  silbo msg trace ID               where a message is",
    ),
    (
        "couriers",
        "\
Where there is no network, people carry the mail. Nodes that meet hand each other sealed messages for a third, and
take such messages along; when the receiver has one, a receipt follows it and ends its journey everywhere. Nobody who
carries sees text or names, or learns for whom a message is.

  silbo mesh status                what this device carries, and with whom it is
  silbo mesh power saver           carry less for others (balanced, performance; mesh set --carry off: nothing)
  silbo mesh appoint NAME          a friend who picks up and brings mail for me (mesh set --auto-carriers 3: those I am with most)
  silbo msg carry export --file F  mail that waits as a file, on a stick; --text: as a QR code
  silbo msg carry import F         take it in: what is for me, and what I carry on
  silbo send NAME TEXT --no-infra  never over the internet or a local network; --ttl 24h: for a day, not for 30",
    ),
    (
        "groups",
        "\
A group has no server: every member keeps the signed list of what was decided, and devices compare it when they meet. Parts
of a group that are cut off from each other go on writing, adding and removing; when they meet again all see the same group.
Where two decisions made at the same time exclude each other, a removal wins, and the group shows what does not count and why.

  silbo group create climbing bob carol        silbo send '#climbing' \"Saturday?\" --wait delivered
  silbo group invite '#climbing' --uses 5      silbo group join LINK --wait
  silbo group show '#climbing'                 members, roles, who asks to join
  silbo group remove '#climbing' carol         carol reads nothing that is written by those who know of it
  silbo group history '#climbing' 30d          what newcomers can read of before: none, all, or days

Write '#name' in quotes: shells take a bare # as the beginning of a comment. With --wait delivered, exit code 10 says that
some members have the message and others not yet. Roles: reader, member, moderator, admin, owner.",
    ),
    (
        "channels",
        "\
One person writes, anybody who holds a link reads. There is no server and no list of readers: whoever reads a channel hands
on what it has to others who read it, whether they know each other or not, and every post is signed by the owner.

  silbo channel create news --topic \"What is new\"    silbo channel post '#news' \"Hello\"    (or silbo send '#news' ...)
  silbo channel link '#news'                 a link: its holder reads everything that is kept
  silbo channel link '#news' --from today    its holder reads from today on, and has no key of before
  silbo channel join LINK                    read it; --serve: let others find me to read from me
  silbo channel show '#news'                 how many posts are here, and whether its owner has signed two histories

`delivered` says of a post that at least one other reader has it: the owner can go offline. A link cannot be taken back, and
whoever has it can find out which nodes near it, or found by it, read the channel.",
    ),
    (
        "safety-numbers",
        "\
An invitation says whose key to use. If it came on a road somebody could tamper with, compare the safety number:
60 digits, the same on both screens if and only if nobody sits in between.

  silbo contact verify NAME        show it; read it aloud, or compare in person
  silbo contact verify NAME --qr   show it as a QR code

If the key of a verified contact changes, nothing is sent there until you accept the change:
  silbo contact verify NAME --accept-new",
    ),
    (
        "retention",
        "\
Messages of a conversation can be kept for 1 to 90 days, or until they are deleted; the setting applies to both sides.
A single message can disappear sooner. What was deleted or has expired does not come back.

  silbo retention set NAME 7d      keep for a week        (never: keep)
  silbo send NAME TEXT --expire 1h
  silbo msg delete ID --both       ask the other side to delete too; nobody can force it",
    ),
    (
        "exit-codes",
        "\
 0  done; a queued message is done too, its delivery goes on
 1  internal            2  usage                3  no node running
 4  not found           5  key changed, blocked  6  timed out
 7  no network          8  locked, not permitted 9  limit reached
10  partly done        11  versions differ

Errors are three lines on stderr: what, why, what to do. With --json: {\"error\": {code, kind, message, why, hint}}.",
    ),
];

/// `silbo help …`
pub fn help(session: &Session, topic: &[String]) -> Result<(), Failure> {
    if let [name] = topic
        && let Some((_, text)) = TOPICS.iter().find(|(topic, _)| topic == name)
    {
        return session.screen.line(text);
    }
    let mut command = Arguments::command();
    command.build();
    let mut found = &mut command;
    for name in topic {
        let Some(below) = found.find_subcommand_mut(name) else {
            let topics = TOPICS.map(|(name, _)| name).join(", ");
            return Err(Failure::new(Class::NotFound, format!("there is no help on {name:?}"))
                .why(format!("it is neither a command nor one of {topics}"))
                .hint("silbo help"));
        };
        found = below;
    }
    session.screen.line(&found.render_long_help().ansi().to_string())
}
