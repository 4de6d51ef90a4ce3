//! Whom a parameter means: `me`, an id, a unique prefix of an id, or the local name.

use silbo_protocol::ids::ChatId;
use silbo_protocol::input::Request;
use silbo_protocol::step::{ContactView, MeView, Reply};

use super::Api;
use super::error::{ApiError, ErrorKind};

/// Shortest prefix of an id: 40 bits, so that names do not look like ids by chance.
const PREFIX_MIN: usize = 8;
/// Candidates shown of an ambiguous name.
const CANDIDATES_SHOWN: usize = 5;

/// The conversation `text` means; `field` is the parameter it came in.
pub(super) async fn find(api: &Api, text: &str, field: &str) -> Result<ChatId, ApiError> {
    let (me, contacts) = tokio::join!(api.me(), api.core.request(Request::ContactList));
    let me = me?;
    if text == "me" || text == me.chat.full() || text == me.account.full() {
        return Ok(me.chat);
    }
    let Reply::Contacts(contacts) = contacts? else {
        return Err(ApiError::internal("unexpected reply to ContactList"));
    };
    pick(&contacts, &me, text, field)
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
    let chat = find(api, text, "contact").await?;
    if api.me().await?.chat == chat {
        return Err(ApiError::invalid("contact", "this is you, not a contact"));
    }
    Ok(chat)
}

/// What a conversation is called here; `None` when the contact is gone.
pub(super) async fn name(api: &Api, chat: ChatId) -> Option<String> {
    match api.core.request(Request::Contact { chat }).await {
        Ok(Reply::Contact(contact)) => Some(contact.name),
        _ => api.me().await.ok().filter(|me| me.chat == chat).map(|me| me.name),
    }
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
    if wanted.len() >= PREFIX_MIN && wanted.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
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
    let shown: Vec<String> = found
        .iter()
        .take(CANDIDATES_SHOWN)
        .map(|contact| format!("{} ({})", contact.name, contact.chat.full().get(..12).unwrap_or_default()))
        .collect();
    Err(ApiError::new(ErrorKind::Ambiguous, format!("{text:?} fits {} contacts", found.len()))
        .why(shown.join(", "))
        .hint("use the beginning of the id, at least 8 characters")
        .field(field))
}

/// The same but for case, or one the beginning of the other.
fn near(name: &str, text: &str) -> bool {
    let (name, text) = (name.to_lowercase(), text.to_lowercase());
    !text.is_empty() && (name.starts_with(&text) || text.starts_with(&name) && !name.is_empty())
}

#[cfg(test)]
mod tests {
    use silbo_protocol::ids::AccountId;
    use silbo_protocol::step::ContactState;
    use silbo_protocol::time::UnixTime;

    use super::*;

    fn contact(name: &str, byte: u8) -> ContactView {
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

    fn me() -> MeView {
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
}
