//! Whom a parameter means: `me`, an id, a unique prefix of an id, or the local name; a group is named by `#` and its name.

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
        return Ok(find_group(api, text, field).await?.chat);
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
    // No person has this id: perhaps a group.
    let groups = groups(api).await?;
    pick_group_by_id(&groups, text, field).unwrap_or(Err(nobody)).map(|group| group.chat)
}

/// The group `text` means: `#name`, the name, a unique beginning of the name, an id, or a unique prefix of an id.
pub(super) async fn find_group(api: &Api, text: &str, field: &str) -> Result<GroupView, ApiError> {
    pick_group(&groups(api).await?, text, field).cloned()
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

/// What a contact, or the note to self, is called here; `None` when the contact is gone, and for a group.
pub(super) async fn name(api: &Api, chat: ChatId) -> Option<String> {
    if let Ok(Reply::Contact(contact)) = api.core.request(Request::Contact { chat }).await {
        return Some(contact.name);
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

/// An exact name wins, then a name in another case, then an id or a prefix of one, then a unique beginning of a name.
fn pick_group<'a>(groups: &'a [GroupView], text: &str, field: &str) -> Result<&'a GroupView, ApiError> {
    let name = text.strip_prefix('#').unwrap_or(text);
    let folded = name.to_lowercase();
    let mut found = Err(ApiError::new(ErrorKind::NotFound, format!("no group is called {text:?}"))
        .field(field)
        .hint("`silbo group list` shows the groups"));
    if name.is_empty() {
        return found;
    }
    let named = |fits: &dyn Fn(&str) -> bool| -> Vec<&'a GroupView> {
        groups.iter().filter(|group| fits(&group.name)).collect()
    };
    let exact = named(&|other| other == name);
    let alike = named(&|other| other.to_lowercase() == folded);
    if !exact.is_empty() {
        found = one_group(exact, text, field);
    } else if !alike.is_empty() {
        found = one_group(alike, text, field);
    } else if let Some(by_id) = pick_group_by_id(groups, name, field) {
        found = by_id;
    } else {
        let starting = named(&|other| other.to_lowercase().starts_with(&folded));
        if !starting.is_empty() {
            found = one_group(starting, text, field);
        }
    }
    found
}

/// `None` when no group has such an id.
fn pick_group_by_id<'a>(groups: &'a [GroupView], text: &str, field: &str) -> Option<Result<&'a GroupView, ApiError>> {
    let wanted = text.to_ascii_lowercase();
    let starting: Vec<&GroupView> =
        groups.iter().filter(|group| is_like_an_id(text) && group.chat.full().starts_with(&wanted)).collect();
    (!starting.is_empty()).then(|| one_group(starting, text, field))
}

/// A group that was left gives way to one that was not.
fn one_group<'a>(mut found: Vec<&'a GroupView>, text: &str, field: &str) -> Result<&'a GroupView, ApiError> {
    let is_there = |group: &&GroupView| matches!(group.state, GroupState::Active | GroupState::Joining);
    if found.iter().any(is_there) {
        found.retain(is_there);
    }
    if let [only] = found[..] {
        return Ok(only);
    }
    let shown = found.iter().map(|group| candidate(&format!("#{}", group.name), &group.chat.full()));
    Err(ambiguous(text, field, found.len(), "groups", shown))
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
