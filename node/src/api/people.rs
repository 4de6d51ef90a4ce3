//! Whom a parameter means: `me`, an id, a unique prefix of an id, or the local name; a group or a channel is named by `#`
//! and its name.

use silbo_protocol::channel::view::ChannelView;
use silbo_protocol::group::GroupView;
use silbo_protocol::ids::{AccountId, ChatId};
use silbo_protocol::input::Request;
use silbo_protocol::step::{ContactView, GroupState, MeView, Reply};
use silbo_protocol::wire::base32;

use super::Api;
use super::error::{ApiError, ErrorKind};

/// Shortest prefix of an id: 40 bits, so that names do not look like ids by chance.
const PREFIX_MIN: usize = 8;
/// Candidates shown of an ambiguous name.
const CANDIDATES_SHOWN: usize = 5;

/// The conversation `text` means; `field` is the parameter it came in.
pub(super) async fn find(api: &Api, text: &str, field: &str) -> Result<ChatId, ApiError> {
    if text.starts_with('#') {
        let (groups, channels) = tokio::join!(groups(api), channels(api));
        return pick_shared(&shared(&groups?, &channels?), text, field, &EITHER);
    }
    let (me, contacts) = tokio::join!(api.me(), contacts(api));
    let me = me?;
    if text == "me" || text == me.chat.full() || text == me.account.full() {
        return Ok(me.chat);
    }
    let nobody = match pick(&contacts?, &me, text, field) {
        Err(error) if error.data.kind == ErrorKind::NotFound && is_like_an_id(text) => error,
        found => return found,
    };
    // No person has this id: perhaps a group or a channel.
    let (groups, channels) = tokio::join!(groups(api), channels(api));
    pick_shared_by_id(&shared(&groups?, &channels?), text, field, &EITHER).unwrap_or(Err(nobody))
}

/// The group `text` means: `#name`, the name, a unique beginning of the name, an id, or a unique prefix of an id.
pub(super) async fn find_group(api: &Api, text: &str, field: &str) -> Result<GroupView, ApiError> {
    pick_group(&groups(api).await?, text, field).cloned()
}

/// The channel `text` means: `#name`, the name, a unique beginning of the name, an id, or a unique prefix of an id.
pub(super) async fn find_channel(api: &Api, text: &str) -> Result<ChannelView, ApiError> {
    let channels = channels(api).await?;
    let chat = pick_shared(&shared(&[], &channels), text, "channel", &CHANNEL)?;
    let found = channels.into_iter().find(|channel| channel.chat == chat);
    found.ok_or_else(|| ApiError::internal("a channel was found and lost"))
}

/// All contacts.
pub(super) async fn contacts(api: &Api) -> Result<Vec<ContactView>, ApiError> {
    match api.core.request(Request::ContactList).await? {
        Reply::Contacts(contacts) => Ok(contacts),
        _ => Err(ApiError::internal("unexpected reply to ContactList")),
    }
}

/// All groups, those that were left too.
pub(super) async fn groups(api: &Api) -> Result<Vec<GroupView>, ApiError> {
    match api.core.request(Request::GroupList).await? {
        Reply::Groups(groups) => Ok(groups),
        _ => Err(ApiError::internal("unexpected reply to GroupList")),
    }
}

/// All channels.
pub(super) async fn channels(api: &Api) -> Result<Vec<ChannelView>, ApiError> {
    match api.core.request(Request::ChannelList).await? {
        Reply::Channels(channels) => Ok(channels),
        _ => Err(ApiError::internal("unexpected reply to ChannelList")),
    }
}

/// As [`find`], for requests that the engine answers with "not found" itself: a whole id is taken as it is. Programs
/// that write much use ids, and each question to the core waits for a commit.
pub(super) async fn find_known(api: &Api, text: &str, field: &str) -> Result<ChatId, ApiError> {
    match ChatId::parse(text).filter(|chat| chat.full() == text) {
        Some(chat) => Ok(chat),
        None => find(api, text, field).await,
    }
}

/// As [`find`], for parameters that mean somebody else.
pub(super) async fn find_contact(api: &Api, text: &str) -> Result<ChatId, ApiError> {
    let (me, contacts) = tokio::join!(api.me(), contacts(api));
    pick_contact(&contacts?, &me?, text, "contact")
}

/// What a contact, a channel, or the note to self, is called here; `None` when it is gone, and for a group.
pub(super) async fn name(api: &Api, chat: ChatId) -> Option<String> {
    if let Ok(Reply::Contact(contact)) = api.core.request(Request::Contact { chat }).await {
        return Some(contact.name);
    }
    if let Ok(Reply::Channel(channel)) = api.core.request(Request::Channel { chat }).await {
        return Some(channel.name);
    }
    api.me().await.ok().filter(|me| me.chat == chat).map(|me| me.name)
}

/// As [`find_contact`], among contacts read before.
pub(super) fn pick_contact(contacts: &[ContactView], me: &MeView, text: &str, field: &str) -> Result<ChatId, ApiError> {
    if text.starts_with('#') {
        return Err(ApiError::invalid(field, format!("{text:?} is a group, not a contact")));
    }
    let is_me = text == "me" || text == me.chat.full() || text == me.account.full();
    let chat = if is_me { me.chat } else { pick(contacts, me, text, field)? };
    if chat == me.chat {
        return Err(ApiError::invalid(field, "this is you, not a contact"));
    }
    Ok(chat)
}

/// The member of a group `text` means: `me`, an account id or a unique prefix of it, what a contact is called here, or
/// the name a member gave themselves. The local name goes first: nobody takes it over by choosing the same one.
pub(super) fn find_member(
    group: &GroupView,
    contacts: &[ContactView],
    text: &str,
    field: &str,
) -> Result<AccountId, ApiError> {
    let wanted = text.to_ascii_lowercase();
    let alias = |chat: Option<ChatId>| {
        contacts.iter().find(|contact| Some(contact.chat) == chat).map_or("", |contact| contact.name.as_str())
    };
    let mut people = Vec::new();
    for member in &group.members {
        let is_id = member.account.full() == wanted || member.contact.is_some_and(|chat| chat.full() == wanted);
        if is_id || (text == "me" && member.own) {
            return Ok(member.account);
        }
        people.push(Person { account: member.account, alias: alias(member.contact), name: &member.name });
    }
    named(&people, text, field, || {
        ApiError::new(ErrorKind::NotFound, format!("no member of {:?} is called {text:?}", group.name))
            .field(field)
            .hint("`silbo group show` lists the members")
    })
}

/// Who of those who want to join `text` means, by the name they gave or their account id.
pub(super) fn find_request(group: &GroupView, text: &str) -> Result<AccountId, ApiError> {
    let wanted = text.to_ascii_lowercase();
    if let Some(exact) = group.requests.iter().find(|request| request.account.full() == wanted) {
        return Ok(exact.account);
    }
    let asking = group.requests.iter();
    let people: Vec<_> =
        asking.map(|request| Person { account: request.account, alias: "", name: &request.name }).collect();
    named(&people, text, "member", || {
        ApiError::new(ErrorKind::NotFound, format!("nobody called {text:?} waits to join {:?}", group.name))
            .field("member")
            .hint("`silbo group show` lists who asks")
    })
}

/// The link of a group `text` means: its id, a unique prefix of it, or the link itself.
pub(super) fn find_link(group: &GroupView, text: &str) -> Result<[u8; 16], ApiError> {
    let wanted = text.to_ascii_lowercase();
    let full = |id: &[u8; 16]| base32::encode_lower(id);
    let exact = |link: &&silbo_protocol::group::GroupLinkView| {
        full(&link.id) == wanted || (!link.link.is_empty() && (link.link == text || link.qr == text))
    };
    if let Some(link) = group.links.iter().find(exact) {
        return Ok(link.id);
    }
    let starting: Vec<_> = group.links.iter().filter(|link| full(&link.id).starts_with(&wanted)).collect();
    match starting[..] {
        [link] if is_like_an_id(text) => Ok(link.id),
        _ => Err(ApiError::new(ErrorKind::NotFound, "no such link")
            .field("link")
            .hint("`silbo group link list` shows the links")),
    }
}

/// Somebody a name may mean.
struct Person<'a> {
    account: AccountId,
    /// What they are called here; empty if nothing.
    alias: &'a str,
    /// The name they gave themselves.
    name: &'a str,
}

/// One of several people by a local name, else by the name they gave themselves, else by the beginning of their account.
fn named(
    people: &[Person<'_>],
    text: &str,
    field: &str,
    nobody: impl FnOnce() -> ApiError,
) -> Result<AccountId, ApiError> {
    if text.is_empty() {
        return Err(nobody());
    }
    let (folded, wanted) = (text.to_lowercase(), text.to_ascii_lowercase());
    let fits = |person: &Person<'_>, rule| match rule {
        0 => person.alias == text,
        1 => person.name == text,
        2 => person.alias.to_lowercase() == folded,
        3 => person.name.to_lowercase() == folded,
        _ => is_like_an_id(text) && person.account.full().starts_with(&wanted),
    };
    for rule in 0..5 {
        let found: Vec<_> = people.iter().filter(|person| fits(person, rule)).collect();
        match found[..] {
            [] => {}
            [person] => return Ok(person.account),
            _ => {
                let shown = found.iter().map(|person| candidate(person.name, &person.account.full()));
                return Err(ambiguous(text, field, found.len(), "members", shown));
            }
        }
    }
    Err(nobody())
}

/// A conversation with a name of its own: a group or a channel.
struct Shared<'a> {
    chat: ChatId,
    name: &'a str,
    /// It was not left.
    is_there: bool,
}

/// What is looked for among them.
struct Noun {
    one: &'static str,
    many: &'static str,
    hint: &'static str,
}

const GROUP: Noun = Noun { one: "group", many: "groups", hint: "`silbo group list` shows the groups" };
const CHANNEL: Noun = Noun { one: "channel", many: "channels", hint: "`silbo channel list` shows the channels" };
const EITHER: Noun = Noun {
    one: "group or channel",
    many: "groups and channels",
    hint: "`silbo group list` and `silbo channel list` show them",
};

fn shared<'a>(groups: &'a [GroupView], channels: &'a [ChannelView]) -> Vec<Shared<'a>> {
    let is_there = |group: &GroupView| matches!(group.state, GroupState::Active | GroupState::Joining);
    let groups = groups.iter().map(|group| Shared { chat: group.chat, name: &group.name, is_there: is_there(group) });
    let channels = channels.iter().map(|channel| Shared { chat: channel.chat, name: &channel.name, is_there: true });
    groups.chain(channels).collect()
}

fn pick_group<'a>(groups: &'a [GroupView], text: &str, field: &str) -> Result<&'a GroupView, ApiError> {
    let chat = pick_shared(&shared(groups, &[]), text, field, &GROUP)?;
    let found = groups.iter().find(|group| group.chat == chat);
    found.ok_or_else(|| ApiError::internal("a group was found and lost"))
}

/// An exact name wins, then a name in another case, then an id or a prefix of one, then a unique beginning of a name.
fn pick_shared(all: &[Shared<'_>], text: &str, field: &str, noun: &Noun) -> Result<ChatId, ApiError> {
    let name = text.strip_prefix('#').unwrap_or(text);
    let folded = name.to_lowercase();
    let nothing = ApiError::new(ErrorKind::NotFound, format!("no {} is called {text:?}", noun.one));
    let nothing = nothing.field(field).hint(noun.hint);
    if name.is_empty() {
        return Err(nothing);
    }
    let named = |fits: &dyn Fn(&str) -> bool| -> Vec<&Shared<'_>> { all.iter().filter(|one| fits(one.name)).collect() };
    let exact = named(&|other| other == name);
    let alike = named(&|other| other.to_lowercase() == folded);
    if !exact.is_empty() {
        return one_shared(exact, text, field, noun);
    }
    if !alike.is_empty() {
        return one_shared(alike, text, field, noun);
    }
    if let Some(by_id) = pick_shared_by_id(all, name, field, noun) {
        return by_id;
    }
    match named(&|other| other.to_lowercase().starts_with(&folded)) {
        none if none.is_empty() => Err(nothing),
        starting => one_shared(starting, text, field, noun),
    }
}

/// `None` when nothing has such an id.
fn pick_shared_by_id(all: &[Shared<'_>], text: &str, field: &str, noun: &Noun) -> Option<Result<ChatId, ApiError>> {
    let wanted = text.to_ascii_lowercase();
    let starting: Vec<&Shared<'_>> =
        all.iter().filter(|one| is_like_an_id(text) && one.chat.full().starts_with(&wanted)).collect();
    (!starting.is_empty()).then(|| one_shared(starting, text, field, noun))
}

/// A group that was left gives way to one that was not.
fn one_shared(mut found: Vec<&Shared<'_>>, text: &str, field: &str, noun: &Noun) -> Result<ChatId, ApiError> {
    if found.iter().any(|one| one.is_there) {
        found.retain(|one| one.is_there);
    }
    if let [only] = found[..] {
        return Ok(only.chat);
    }
    let shown = found.iter().map(|one| candidate(&format!("#{}", one.name), &one.chat.full()));
    Err(ambiguous(text, field, found.len(), noun.many, shown))
}

fn is_like_an_id(text: &str) -> bool {
    text.len() >= PREFIX_MIN && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn candidate(name: &str, id: &str) -> String {
    format!("{name} ({})", id.get(..12).unwrap_or_default())
}

fn ambiguous(text: &str, field: &str, count: usize, noun: &str, shown: impl Iterator<Item = String>) -> ApiError {
    let shown: Vec<String> = shown.take(CANDIDATES_SHOWN).collect();
    ApiError::new(ErrorKind::Ambiguous, format!("{text:?} fits {count} {noun}"))
        .why(shown.join(", "))
        .hint("use the beginning of the id, at least 8 characters")
        .field(field)
}

/// An exact id wins, then an exact name, then a name in another case, then a prefix of an id.
fn pick(contacts: &[ContactView], me: &MeView, text: &str, field: &str) -> Result<ChatId, ApiError> {
    let wanted = text.to_ascii_lowercase();
    if let Some(exact) =
        contacts.iter().find(|contact| contact.chat.full() == wanted || contact.account.full() == wanted)
    {
        return Ok(exact.chat);
    }
    let named: Vec<&ContactView> = contacts.iter().filter(|contact| contact.name == text).collect();
    if !named.is_empty() {
        return one(&named, text, field);
    }
    let folded = text.to_lowercase();
    let alike: Vec<&ContactView> = contacts.iter().filter(|contact| contact.name.to_lowercase() == folded).collect();
    if !alike.is_empty() {
        return one(&alike, text, field);
    }
    if is_like_an_id(text) {
        let fits = |contact: &&ContactView| {
            contact.chat.full().starts_with(&wanted) || contact.account.full().starts_with(&wanted)
        };
        let starting: Vec<&ContactView> = contacts.iter().filter(fits).collect();
        if me.chat.full().starts_with(&wanted) && starting.is_empty() {
            return Ok(me.chat);
        }
        if !starting.is_empty() {
            return one(&starting, text, field);
        }
    }
    let mut error = ApiError::new(ErrorKind::NotFound, format!("no contact is called {text:?}")).field(field);
    let close: Vec<&str> =
        contacts.iter().map(|contact| contact.name.as_str()).filter(|name| near(name, text)).collect();
    error = match close.first() {
        Some(name) => error.hint(format!("did you mean {name:?}?")),
        None => error.hint("`silbo contact list` shows the contacts"),
    };
    Err(error)
}

fn one(found: &[&ContactView], text: &str, field: &str) -> Result<ChatId, ApiError> {
    if let [only] = found {
        return Ok(only.chat);
    }
    let shown = found.iter().map(|contact| candidate(&contact.name, &contact.chat.full()));
    Err(ambiguous(text, field, found.len(), "contacts", shown))
}

/// The same but for case, or one the beginning of the other.
fn near(name: &str, text: &str) -> bool {
    let (name, text) = (name.to_lowercase(), text.to_lowercase());
    !text.is_empty() && (name.starts_with(&text) || text.starts_with(&name) && !name.is_empty())
}

#[cfg(test)]
pub(super) mod tests {
    use silbo_protocol::step::ContactState;
    use silbo_protocol::time::UnixTime;

    use super::super::groups::tests::{account, group_view};
    use super::*;

    pub(crate) fn contact(name: &str, byte: u8) -> ContactView {
        let account = AccountId([byte; 32]);
        ContactView {
            chat: account.chat(),
            account,
            name: name.to_owned(),
            profile_name: name.to_owned(),
            status: String::new(),
            avatar: Vec::new(),
            state: ContactState::Active,
            verification: 0,
            key_changed: false,
            online: false,
            route: None,
            retention_s: 0,
            presence: true,
            read_receipts: true,
            typing: true,
            carrier: false,
            added_at: UnixTime(0),
        }
    }

    pub(crate) fn me() -> MeView {
        let account = AccountId([9; 32]);
        MeView {
            chat: account.chat(),
            account,
            name: "Ada".into(),
            status: String::new(),
            avatar: Vec::new(),
            devices: 1,
            read_receipts: true,
            typing: true,
            retention_s: 0,
        }
    }

    #[test]
    fn ids_prefixes_and_names_find_the_contact() {
        let contacts = [contact("Ben", 1), contact("Cleo", 2)];
        let ben = contacts[0].chat;
        let full = ben.full();
        for text in [full.as_str(), &full[..8], &full.to_uppercase(), &contacts[0].account.full(), "Ben", "ben"] {
            assert_eq!(pick(&contacts, &me(), text, "chat").ok(), Some(ben), "{text}");
        }
    }

    #[test]
    fn two_of_one_name_are_ambiguous_and_both_are_shown() {
        let contacts = [contact("Ben", 1), contact("Ben", 2)];
        let error = pick(&contacts, &me(), "Ben", "chat").expect_err("two Bens");
        assert_eq!(error.data.kind, ErrorKind::Ambiguous);
        assert_eq!(error.data.kind.class(), 4);
        let why = error.data.why.expect("candidates");
        assert!(contacts.iter().all(|contact| why.contains(&contact.chat.full()[..12])), "{why}");
    }

    #[test]
    fn a_short_prefix_or_a_stranger_is_not_found() {
        let contacts = [contact("Ben", 1)];
        let full = contacts[0].chat.full();
        for text in [&full[..7], "Zoe", ""] {
            let error = pick(&contacts, &me(), text, "chat").expect_err("nobody");
            assert_eq!(error.data.kind, ErrorKind::NotFound, "{text}");
            assert_eq!(error.data.field.as_deref(), Some("chat"));
        }
        let error = pick(&contacts, &me(), "be", "chat").expect_err("half a name");
        assert!(error.data.hint.is_some_and(|hint| hint.contains("Ben")));
    }

    #[test]
    fn the_case_of_a_name_counts_only_where_two_differ_by_it() {
        let contacts = [contact("Ben", 1), contact("ben", 2)];
        assert_eq!(pick(&contacts, &me(), "ben", "chat").ok(), Some(contacts[1].chat));
        let error = pick(&contacts, &me(), "BEN", "chat").expect_err("either could be meant");
        assert_eq!(error.data.kind, ErrorKind::Ambiguous);
    }

    fn group(name: &str, byte: u8, state: GroupState) -> GroupView {
        GroupView { state, ..group_view(name, byte) }
    }

    #[test]
    fn a_group_is_found_by_its_name_a_beginning_of_it_or_its_id() {
        let active = |name, byte| group(name, byte, GroupState::Active);
        let groups = [active("climbing", 1), active("climbing-2027", 2), active("Friday Club", 3)];
        let found = |text: &str| pick_group(&groups, text, "chat").map(|group| group.name.as_str()).ok();
        let id = groups[2].chat.full();
        for (text, name) in [
            ("#climbing", "climbing"),
            ("climbing", "climbing"),
            ("#CLIMBING", "climbing"),
            ("#climbing-", "climbing-2027"),
            ("#fri", "Friday Club"),
            ("#Friday Club", "Friday Club"),
            (&id, "Friday Club"),
            (&id[..8], "Friday Club"),
        ] {
            assert_eq!(found(text), Some(name), "{text}");
        }
        let error = pick_group(&groups, "#cl", "chat").expect_err("two begin so");
        assert_eq!((error.data.kind, error.data.field.as_deref()), (ErrorKind::Ambiguous, Some("chat")));
        let why = error.data.why.expect("candidates");
        assert!(why.contains("#climbing (") && why.contains("#climbing-2027 ("), "{why}");
        for text in ["#", "", "#chess", &id[..7]] {
            let error = pick_group(&groups, text, "chat").expect_err("no such group");
            assert_eq!(error.data.kind, ErrorKind::NotFound, "{text}");
            assert!(error.data.hint.is_some());
        }
    }

    fn channel(name: &str, byte: u8) -> ChannelView {
        ChannelView {
            chat: ChatId([byte; 16]),
            name: name.to_owned(),
            topic: String::new(),
            owner: false,
            readable_from: UnixTime(0),
            posts: 0,
            bytes: 0,
            newest: None,
            retention_days: 0,
            forked: None,
            readers: 0,
            serve: false,
            joined_at: UnixTime(0),
        }
    }

    #[test]
    fn a_group_and_a_channel_of_one_name_are_told_apart_by_their_ids() {
        let groups = [group("climbing", 1, GroupState::Active), group("news", 2, GroupState::Active)];
        let channels = [channel("news", 3), channel("newsroom", 4)];
        let found = |text: &str| pick_shared(&shared(&groups, &channels), text, "chat", &EITHER);
        assert_eq!(found("#climbing"), Ok(groups[0].chat));
        assert_eq!(found("#newsr"), Ok(channels[1].chat));
        let error = found("#news").expect_err("a group and a channel");
        assert_eq!(error.data.kind, ErrorKind::Ambiguous);
        let why = error.data.why.expect("candidates");
        assert!(why.contains(&groups[1].chat.full()[..12]) && why.contains(&channels[0].chat.full()[..12]), "{why}");
        assert_eq!(found(&channels[0].chat.full()), Ok(channels[0].chat));
        assert_eq!(pick_shared(&shared(&[], &channels), "news", "channel", &CHANNEL), Ok(channels[0].chat));
        let error = pick_shared(&shared(&[], &channels), "#climbing", "channel", &CHANNEL).expect_err("a group");
        assert!(
            error.what.starts_with("no channel") && error.data.hint.is_some_and(|hint| hint.contains("channel list"))
        );
    }

    #[test]
    fn a_group_that_was_left_gives_way_to_one_of_the_same_name() {
        let groups = [group("climbing", 1, GroupState::Left), group("climbing", 2, GroupState::Joining)];
        assert_eq!(pick_group(&groups, "#climbing", "chat").map(|group| group.chat).ok(), Some(groups[1].chat));
        let left = [group("climbing", 1, GroupState::Left), group("climbing", 2, GroupState::Removed)];
        assert_eq!(pick_group(&left, "#climbing", "chat").expect_err("two").data.kind, ErrorKind::Ambiguous);
        assert!(pick_group(&left[..1], "#climbing", "chat").is_ok(), "its history can still be read");
    }

    #[test]
    fn a_member_is_found_by_the_local_name_first_then_by_their_own() {
        let contacts = [contact("bobby", 1)];
        let mut view = group_view("climbing", 5);
        let found = |view: &GroupView, text: &str| find_member(view, &contacts, text, "member");
        let id = account(2).full();
        for (text, byte) in
            [("bobby", 1), ("Bob", 1), ("BOB", 1), ("Cleo", 2), ("cleo", 2), ("me", 9), (&id, 2), (&id[..8], 2)]
        {
            assert_eq!(found(&view, text).ok(), Some(account(byte)), "{text}");
        }
        assert_eq!(found(&view, &contacts[0].chat.full()).ok(), Some(account(1)), "by the id of the contact");
        // Cleo takes the name I have for Bob: what I call people decides.
        view.members.iter_mut().find(|member| member.account == account(2)).expect("Cleo").name = "bobby".to_owned();
        assert_eq!(found(&view, "bobby").ok(), Some(account(1)));
        // And the name Bob gave himself: then it is nobody's.
        view.members.iter_mut().find(|member| member.account == account(2)).expect("Cleo").name = "Bob".to_owned();
        let error = found(&view, "Bob").expect_err("two Bobs");
        assert_eq!(error.data.kind, ErrorKind::Ambiguous);
        for text in ["", "Dan", &id[..7]] {
            let error = found(&view, text).expect_err("nobody");
            assert_eq!((error.data.kind, error.data.field.as_deref()), (ErrorKind::NotFound, Some("member")), "{text}");
        }
    }

    #[test]
    fn who_asks_and_which_link_are_found_too() {
        let view = group_view("climbing", 5);
        assert_eq!(find_request(&view, "Eve").ok(), Some(account(4)));
        assert_eq!(find_request(&view, &account(4).full()).ok(), Some(account(4)));
        assert_eq!(find_request(&view, "Bob").expect_err("he is in").data.kind, ErrorKind::NotFound);
        let id = base32::encode_lower(&[7; 16]);
        for text in [id.as_str(), &id[..8], "silbo:g/x", "SILBO:G/X"] {
            assert_eq!(find_link(&view, text).ok(), Some([7; 16]), "{text}");
        }
        for text in [&id[..7], "", "silbo:g/y"] {
            assert!(find_link(&view, text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_group_or_oneself_is_no_contact() {
        let contacts = [contact("Ben", 1)];
        for text in ["#climbing", "me", &me().account.full()] {
            let error = pick_contact(&contacts, &me(), text, "contact").expect_err("no contact");
            assert_eq!(error.data.kind, ErrorKind::InvalidParams, "{text}");
        }
        assert_eq!(pick_contact(&contacts, &me(), "Ben", "contact").ok(), Some(contacts[0].chat));
    }
}
