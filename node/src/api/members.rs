//! Who is meant by an account in a group: the names under which messages and events are shown.
//!
//! Names here are those people gave themselves, never what they are called locally, so that all members see one history.

use std::collections::BTreeMap;

use silbo_protocol::group::GroupView;
use silbo_protocol::ids::{AccountId, ChatId};
use silbo_protocol::input::Request;
use silbo_protocol::step::{MeView, Reply, RequestError};
use silbo_protocol::wire::invite::Aid20;

use super::Api;
use super::error::ApiError;
use super::groups::name_or_account;
use crate::core::CoreError;

/// The members, present and former, of the groups a page is about.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// This account, once it is known.
    own: Option<(AccountId, String)>,
    /// `None` for a conversation that is no group.
    groups: BTreeMap<ChatId, Option<Group>>,
}

#[derive(Debug)]
struct Group {
    name: String,
    names: BTreeMap<AccountId, String>,
}

/// Somebody in a group, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Author {
    /// The name they gave themselves, else their account.
    pub(super) name: String,
    /// Their account, in full.
    pub(super) account: String,
}

impl Members {
    /// Of the groups among these conversations.
    pub(super) async fn of(api: &Api, me: &MeView, chats: impl Iterator<Item = ChatId>) -> Result<Self, ApiError> {
        let mut members = Self::default();
        for chat in chats {
            members.learn(api, me, chat).await?;
        }
        Ok(members)
    }

    /// Asks for the members of a conversation, if it is a group and not known already.
    pub(super) async fn learn(&mut self, api: &Api, me: &MeView, chat: ChatId) -> Result<(), ApiError> {
        if chat != me.chat && !self.groups.contains_key(&chat) {
            self.insert(me, chat, view(api, chat).await?);
        }
        Ok(())
    }

    fn insert(&mut self, me: &MeView, chat: ChatId, view: Option<GroupView>) {
        self.own = Some((me.account, me.name.clone()));
        let group = view.map(|view| {
            let former = view.former.into_iter().map(|former| (former.account, former.name));
            let present = view.members.into_iter().map(|member| (member.account, member.name));
            Group { name: view.name, names: former.chain(present).collect() }
        });
        self.groups.insert(chat, group);
    }

    /// What a group is called; `None` for any other conversation.
    pub(super) fn group_name(&self, chat: &ChatId) -> Option<&str> {
        self.groups.get(chat)?.as_ref().map(|group| group.name.as_str())
    }

    /// Whom a text in a group means; `None` for somebody who never was a member, and in any other conversation.
    pub(super) fn mentioned(&self, chat: &ChatId, mention: &Aid20) -> Option<Author> {
        let names = &self.groups.get(chat)?.as_ref()?.names;
        let account = names.keys().find(|account| Aid20::of(account) == *mention)?;
        self.author(chat, Some(*account))
    }

    /// True for this account.
    pub(super) fn is_own(&self, mention: &Aid20) -> bool {
        self.own.as_ref().is_some_and(|(own, _)| Aid20::of(own) == *mention)
    }

    /// Who did something in a group: `account`, or this account where there is none. `None` in any other conversation.
    pub(super) fn author(&self, chat: &ChatId, account: Option<AccountId>) -> Option<Author> {
        let group = self.groups.get(chat).and_then(Option::as_ref);
        // An author proves a group, also one that is not kept any more.
        if group.is_none() && account.is_none() {
            return None;
        }
        let own = self.own.as_ref();
        let account = account.or(own.map(|(own, _)| *own))?;
        let known = group.and_then(|group| group.names.get(&account)).filter(|name| !name.is_empty());
        let known = known.or(own.filter(|(own, _)| *own == account).map(|(_, name)| name));
        let name = name_or_account(known.cloned().unwrap_or_default(), &account);
        Some(Author { name, account: account.full() })
    }
}

/// A group; `None` where the conversation is none.
pub(super) async fn view(api: &Api, chat: ChatId) -> Result<Option<GroupView>, ApiError> {
    match api.core.request(Request::Group { chat }).await {
        Ok(Reply::Group(view)) => Ok(Some(*view)),
        Err(CoreError::Request(RequestError::NotFound(_))) => Ok(None),
        Err(error) => Err(error.into()),
        Ok(_) => Err(ApiError::internal("unexpected reply to Group")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use silbo_protocol::step::{DeliveryState, Event, EventKind, Path};
    use silbo_protocol::time::UnixTime;

    use super::super::convert;
    use super::super::groups::tests::{account, group_view};
    use super::super::people::tests::me;
    use super::*;

    const CHAT: ChatId = ChatId([5; 16]);

    fn author(name: &str, byte: u8) -> Option<Author> {
        Some(Author { name: name.to_owned(), account: account(byte).full() })
    }

    #[test]
    fn members_present_and_former_have_names_and_strangers_their_account() {
        let mut members = Members::default();
        members.insert(&me(), CHAT, Some(group_view("climbing", 5)));
        assert_eq!(members.author(&CHAT, Some(account(1))), author("Bob", 1));
        assert_eq!(members.author(&CHAT, Some(account(3))), author("Dan", 3), "who left is still named");
        assert_eq!(members.author(&CHAT, Some(account(8))), author(&account(8).full(), 8));
        assert_eq!(members.author(&CHAT, None), author("Ada", 9), "what I wrote is under my name for all");
        assert_eq!(members.group_name(&CHAT), Some("climbing"));
    }

    fn event(kind: EventKind) -> serde_json::Value {
        let mut members = Members::default();
        members.insert(&me(), CHAT, Some(group_view("climbing", 5)));
        let event = Event { at: UnixTime(1), chat: Some(CHAT), message: None, kind };
        let shown = convert::event(7, "e", event, Some("climbing".to_owned()), &members);
        serde_json::to_value(shown).expect("JSON")
    }

    #[test]
    fn an_event_of_a_group_says_who_did_it_and_whom_it_is_about() {
        let received = EventKind::MessageReceived {
            body: "Saturday?".to_owned(),
            sent_at: UnixTime(2),
            reply_to: None,
            path: Path::Relay,
            author: Some(account(1)),
            mentions_me: true,
            muted: false,
        };
        let received = event(received);
        assert_eq!((&received["from"], &received["name"]), (&json!("Bob"), &json!("climbing")));
        assert_eq!(received["author"], account(1).full());
        assert_eq!(received["mentionsMe"], true);
        let own =
            event(EventKind::MessageReaction { outgoing: true, emoji: "x".to_owned(), removed: false, author: None });
        assert_eq!((&own["from"], &own["author"]), (&json!("Ada"), &json!(account(9).full())));
        let left = event(EventKind::GroupMemberLeft { account: account(8), name: String::new(), removed: true });
        assert_eq!((&left["kind"], &left["removed"]), (&json!("group.memberLeft"), &json!(true)));
        assert_eq!((&left["member"], &left["account"]), (&json!(account(8).full()), &json!(account(8).full())));
        let voided = event(EventKind::GroupVoided { what: "add Eve".to_owned(), why: "Cleo was removed".to_owned() });
        assert_eq!((&voided["what"], &voided["why"]), (&json!("add Eve"), &json!("Cleo was removed")));
        let state = DeliveryState::Partial { delivered: 1, of: 2 };
        let state = event(EventKind::MessageState { state, path: None });
        assert_eq!((&state["state"], &state["partial"]), (&json!("partial"), &json!({"delivered": 1, "of": 2})));
        assert!(state.get("from").is_none());
    }

    #[test]
    fn a_conversation_of_two_has_no_authors() {
        let mut members = Members::default();
        members.insert(&me(), CHAT, None);
        assert_eq!(members.author(&CHAT, None), None);
        assert_eq!(members.group_name(&CHAT), None);
        assert_eq!(members.author(&ChatId([6; 16]), Some(account(1))), author(&account(1).full(), 1));
    }
}
