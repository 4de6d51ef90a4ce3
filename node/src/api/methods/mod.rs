//! The method table: every method of `docs/api.md`, once.

mod channel;
mod chat;
mod contact;
mod event;
mod group;
mod mesh;
mod message;
mod net;
mod poll;
mod profile;
mod relay;
mod system;
mod token;

use std::sync::Arc;

use jsonrpsee::RpcModule;
use jsonrpsee::core::error::RegisterMethodError;
use serde_json::Value;

use super::Api;
use super::caller::Scope::{Admin, EventsRead, MessageSend as Sending, Read};
use super::error::ApiError;
use super::events;
use super::registry::{self, Method, methods, schema_of};
use super::types::*;

/// Everything a caller can ask for.
pub(super) const METHODS: &[Method<Api>] = methods! { Api;
    "system.version", None, "Version of the program and of this API.": Nothing => Version = system::version;
    "system.status", Some(Read), "Who this node is, how it is connected, what waits.": Nothing => Status = system::status;
    "system.paths", Some(Read), "Where the node keeps its files.": Nothing => PathList = system::paths;
    "system.doctor", Some(Read), "Checks what usually goes wrong, and says what to do.": Nothing => Checks = system::doctor;
    "system.shutdown", Some(Admin), "Stops the node.": Nothing => Done = system::shutdown;
    "rpc.discover", None, "This description.": Nothing => Value = system::discover;
    "auth.ticket", Some(Admin), "A ticket that logs one browser in, once, within 60 seconds.": Nothing => Ticket = token::ticket;

    "profile.show", Some(Read), "The own profile.": Nothing => Profile = profile::show;
    "profile.set", Some(Admin), "Changes the own profile and tells contacts in the background.": ProfileSet => Profile = profile::set;
    "profile.words", Some(Admin), "The 12 words of the root key.": Nothing => Words = profile::words;
    "invite.create", Some(Admin), "Makes an invitation; waits a moment until relays hold its card.": InviteCreate => Invite = profile::invite_create;
    "invite.list", Some(Read), "Invitations that still work.": Nothing => List<Invite> = profile::invite_list;
    "invite.revoke", Some(Admin), "Makes an invitation unusable.": ById => Done = profile::invite_revoke;

    "contact.add", Some(Admin), "Follows an invitation; the other side answers in the background.": ContactAdd => Contact = contact::add;
    "contact.list", Some(Read), "Contacts and requests.": ContactList => List<Contact> = contact::list;
    "contact.show", Some(Read), "One contact.": ByContact => Contact = contact::show;
    "contact.verify", Some(Admin), "Shows the safety number, or compares it with a code.": ContactVerify => Verification = contact::verify;
    "contact.acceptKey", Some(Admin), "Acknowledges a changed key, so that sending works again.": ByContact => Contact = contact::accept_key;
    "contact.accept", Some(Admin), "Accepts a request.": ByContact => Contact = contact::accept;
    "contact.reject", Some(Admin), "Rejects a request.": ByContact => Contact = contact::reject;
    "contact.block", Some(Admin), "Stops everything from and to a contact.": ByContact => Contact = contact::block;
    "contact.unblock", Some(Admin), "Allows messages again.": ByContact => Contact = contact::unblock;
    "contact.remove", Some(Admin), "Forgets a contact and its messages.": ByContact => Done = contact::remove;
    "contact.set", Some(Admin), "Changes what a contact is called here and what it may know.": ContactSet => Contact = contact::set;

    "group.create", Some(Admin), "Makes a group of this account and some contacts.": GroupCreate => Group = group::create;
    "group.list", Some(Read), "Groups, those that were left too.": Nothing => List<Group> = group::list;
    "group.get", Some(Read), "One group.": ByGroup => Group = group::get;
    "group.set", Some(Admin), "Changes what a group has agreed on.": GroupSet => Group = group::set;
    "group.add", Some(Admin), "Adds contacts to a group.": GroupAdd => Group = group::add;
    "group.remove", Some(Admin), "Removes members from a group; they read nothing that is written after it.": GroupRemove => Group = group::remove;
    "group.setRole", Some(Admin), "Gives a member another role.": GroupSetRole => Group = group::set_role;
    "group.mute", Some(Admin), "Lets a member only read for a while.": GroupMute => Group = group::mute;
    "group.leave", Some(Admin), "Leaves a group; what was written stays here.": ByGroup => Group = group::leave;
    "group.invite", Some(Admin), "Makes a link by which others join a group.": GroupInvite => GroupLink = group::invite;
    "group.revokeLink", Some(Admin), "Makes a link of a group unusable.": GroupRevokeLink => Done = group::revoke_link;
    "group.join", Some(Admin), "Follows a link of a group; a member lets us in in the background.": GroupJoin => Group = group::join;
    "group.decide", Some(Admin), "Answers somebody who wants to join.": GroupDecide => Group = group::decide;

    "channel.create", Some(Admin), "Makes a channel: this account writes, whoever has a link reads.": ChannelCreate => Channel = channel::create;
    "channel.join", Some(Admin), "Reads a channel from now on; what others have of it comes in the background.": ChannelJoin => Channel = channel::join;
    "channel.leave", Some(Admin), "Reads a channel no more: it goes from this device with its posts; an own channel is over.": ByChannel => Done = channel::leave;
    "channel.list", Some(Read), "Channels.": Nothing => List<Channel> = channel::list;
    "channel.get", Some(Read), "One channel.": ByChannel => Channel = channel::get;
    "channel.set", Some(Admin), "Changes what a channel is, or whether others can read from this device.": ChannelSet => Channel = channel::set;
    "channel.link", Some(Admin), "Makes a link by which others read a channel.": ChannelLinkMake => ChannelLink = channel::link;

    "message.send", Some(Sending), "Writes a message; delivery happens in the background. The same clientId again returns the first message.": MessageSend => Sent = message::send;
    "message.edit", Some(Sending), "Changes the text of an own message.": MessageEdit => Sent = message::edit;
    "message.delete", Some(Sending), "Deletes messages here, or on both sides.": MessageDelete => Count = message::delete;
    "message.react", Some(Sending), "Adds or takes back a reaction.": MessageReact => Done = message::react;
    "message.pin", Some(Sending), "Pins a message for everybody in the conversation, or takes it back; in a group, moderators and above do.": MessagePin => Done = message::pin;
    "message.poll", Some(Sending), "Asks a question with options to choose from.": MessagePoll => Sent = poll::ask;
    "message.vote", Some(Sending), "Chooses among the options of a poll; the last choice counts.": MessageVote => Done = poll::vote;
    "message.show", Some(Read), "One message.": ById => Item = message::show;
    "message.trace", Some(Read), "Every hop and receipt of a message.": ById => Trace = message::trace;
    "message.deliveries", Some(Read), "How far an own message has come with each member of a group, or with the contact.": ById => Deliveries = message::deliveries;
    "message.wait", Some(Read), "Waits until a message has reached a state.": MessageWait => Waited = message::wait;
    "message.read", Some(Sending), "Marks a conversation as read.": MessageRead => Done = message::mark_read;
    "message.typing", Some(Sending), "Tells an online contact that we are writing.": MessageTyping => Done = message::typing;
    "message.pack", Some(Sending), "Puts sealed mail that waits into a bag, to be carried by hand to another node.": MessagePack => Packed = mesh::pack;
    "message.unpack", Some(Sending), "Takes the mail out of a bag; twice does no harm.": MessageUnpack => Unpacked = mesh::unpack;
    "chat.list", Some(Read), "Conversations, with what is set for them on this device.": ChatList => List<Chat> = chat::list;
    "chat.get", Some(Read), "One conversation, with what is set for it on this device.": ByChat => Chat = chat::get;
    "chat.set", Some(Sending), "Mutes or archives a conversation on this device, or keeps a text to go on with; nobody is told.": ChatSet => Chat = chat::set;
    "history.list", Some(Read), "A page of a conversation.": HistoryList => History = message::history;
    "search.find", Some(Read), "Messages by their text, newest first.": SearchFind => List<Item> = message::search;
    "retention.show", Some(Read), "How long messages of a conversation stay.": ByChat => Retention = contact::retention_show;
    "retention.set", Some(Admin), "Sets how long messages of a conversation stay, on both sides.": RetentionSet => Retention = contact::retention_set;

    "relay.add", Some(Admin), "Keeps mailboxes at a relay; waits a moment for its answer.": RelayAdd => Relay = relay::add;
    "relay.list", Some(Read), "Relays in use.": Nothing => List<Relay> = relay::list;
    "relay.remove", Some(Admin), "Stops using a relay.": RelayRemove => Done = relay::remove;
    "relay.status", Some(Read), "What this node holds for others.": Nothing => RelayStatus = relay::status;
    "mesh.status", Some(Read), "What this device carries for others, how much it is willing to, and with whom it is.": Nothing => Mesh = mesh::status;
    "mesh.radio", Some(Read), "Whether the radios work, who is heard and who is linked.": Nothing => RadioStatus = mesh::radio;
    "mesh.map", Some(Read), "Who is one step away, how, and who of them is a contact.": Nothing => List<MeshNode> = mesh::map;
    "mesh.set", Some(Admin), "Changes how much this device carries for others, what is over is dropped, and its power mode.": MeshSet => Mesh = mesh::set;
    "mesh.appoint", Some(Admin), "Lets a contact pick up and bring mail for this device, or no longer.": MeshAppoint => Done = mesh::appoint;
    "mesh.announce", Some(Admin), "Looks for neighbours on the local network and by radio right away.": Nothing => Done = mesh::announce;

    "net.peers", Some(Read), "Connected peers.": Nothing => List<Peer> = net::peers;
    "net.check", Some(Read), "How this node is reached.": Nothing => NetCheck = net::check;
    "net.ping", Some(Read), "Measures the path to a contact; waits for the answer.": NetPing => Pong = net::ping;

    "events.list", Some(EventsRead), "Events after a number or a consumer's cursor; does not move the cursor.": EventsList => Events = event::list;
    "events.ack", Some(EventsRead), "Moves a consumer's cursor.": EventsAck => Done = event::ack;
    "settings.get", Some(Read), "Settings.": SettingsGet => SettingValues = system::settings_get;
    "settings.set", Some(Admin), "Changes a setting.": SettingsSet => SettingValues = system::settings_set;
    "token.create", Some(Admin), "Makes a token for a program; it is shown this one time.": TokenCreate => TokenCreated = token::create;
    "token.list", Some(Admin), "Tokens, without their secrets.": Nothing => List<TokenEntry> = token::list;
    "token.revoke", Some(Admin), "Makes a token unusable.": TokenRevoke => Done = token::revoke;
};

/// The subscription; the library wants it registered in its own way.
const SUBSCRIPTION: Method<Api> = Method {
    name: "events.subscribe",
    scope: Some(EventsRead),
    doc: "Replays events after a number or a consumer's cursor, then brings what happens. A slow reader is closed.",
    subscription: true,
    params: schema_of::<EventsSubscribe>,
    result: schema_of::<events::Notification>,
    register: events::register_subscription,
};

/// All methods, the subscription among them.
pub(super) fn all() -> impl Iterator<Item = &'static Method<Api>> {
    METHODS.iter().chain(std::iter::once(&SUBSCRIPTION))
}

/// The table, ready to be served.
///
/// # Errors
/// When two methods have one name.
pub(super) fn table(api: Arc<Api>) -> Result<RpcModule<Api>, RegisterMethodError> {
    registry::table(api, all())
}

/// The core answered something else than what was asked.
fn unexpected(request: &str) -> ApiError {
    ApiError::internal(format!("unexpected reply to {request}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_every_method_is_explained() {
        let names: BTreeSet<&str> = all().map(|method| method.name).collect();
        assert_eq!(names.len(), all().count());
        assert!(all().all(|method| method.doc.ends_with('.')));
    }

    #[test]
    fn the_document_lists_the_same_methods() {
        let document = include_str!("../../../../docs/api.md");
        let (_, methods) = document.split_once("## Methods").expect("the section of methods");
        let rows = methods.lines().filter(|line| line.starts_with("| `"));
        let first_cells = rows.filter_map(|line| line.split('|').nth(1));
        let written: BTreeSet<&str> = first_cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
        let names: BTreeSet<&str> = all().map(|method| method.name).collect();
        assert_eq!(written, names);
    }
}
