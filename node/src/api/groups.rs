//! A group in the form of the API: what all members see alike, and beside it, in `local`, what only this device knows.

use std::collections::BTreeMap;

use silbo_protocol::group::{self, GroupLinkView, GroupView, MemberView};
use silbo_protocol::ids::AccountId;
use silbo_protocol::step::{ContactView, GroupState, MemberDelivery};
use silbo_protocol::time::DAY_MS;
use silbo_protocol::wire::{base32, base64};

use super::{convert, types};

/// A group. `contacts` give the local names of members.
pub(super) fn group(view: GroupView, contacts: &[ContactView], own: AccountId) -> types::Group {
    let local = local(&view, contacts, own);
    let mut members = view.members;
    members.sort_by_key(|member| member.account);
    let mut former = view.former;
    former.sort_by_key(|former| former.account);
    let mut links: Vec<types::GroupLinkState> = view.links.into_iter().filter(is_open).map(link_state).collect();
    links.sort_by(|a, b| a.id.cmp(&b.id));
    let void = view.void.into_iter().map(|void| types::VoidOperation {
        author: void.author.full(),
        what: void.what,
        why: void.why,
    });
    types::Group {
        id: view.chat.full(),
        name: view.name,
        topic: view.topic,
        avatar: base64::encode(&view.avatar),
        epoch: base32::encode_lower(&view.epoch),
        members: members.into_iter().map(member).collect(),
        former: former
            .into_iter()
            .map(|former| types::FormerMember {
                account: former.account.full(),
                name: name_or_account(former.name, &former.account),
            })
            .collect(),
        retention_s: view.retention_s,
        history: history(view.history),
        may_add: role(view.may_add),
        may_send: role(view.may_send),
        may_delete: role(view.may_delete),
        slow_mode_s: view.slow_mode_s,
        frozen: view.frozen,
        links,
        void: void.collect(),
        checkpoint: view.checkpoint.map(|checkpoint| types::Checkpoint {
            by: checkpoint.by.full(),
            operations: checkpoint.operations,
            agrees: checkpoint.agrees,
        }),
        pins: view
            .pins
            .into_iter()
            .map(|pin| types::PinnedMessage { id: pin.id.full(), by: pin.by.full(), at: pin.at.0 })
            .collect(),
        local,
    }
}

fn local(view: &GroupView, contacts: &[ContactView], own: AccountId) -> types::GroupLocal {
    let contact = |member: &MemberView| {
        let contact = contacts.iter().find(|contact| Some(contact.chat) == member.contact)?;
        Some(types::MemberContact {
            account: member.account.full(),
            contact: contact.chat.full(),
            alias: contact.name.clone(),
        })
    };
    let requests = view.requests.iter().map(|request| types::JoinRequest {
        account: request.account.full(),
        name: name_or_account(request.name.clone(), &request.account),
        at: request.at.0,
    });
    types::GroupLocal {
        state: match view.state {
            GroupState::Joining => types::GroupState::Joining,
            GroupState::Active => types::GroupState::Active,
            GroupState::Left => types::GroupState::Left,
            GroupState::Removed => types::GroupState::Removed,
        },
        account: own.full(),
        role: view.role.map(role),
        rekey_due: view.rekey_due,
        contacts: view.members.iter().filter_map(contact).collect(),
        links: view.links.iter().filter(|link| is_open(link) && !link.link.is_empty()).cloned().map(link).collect(),
        requests: requests.collect(),
    }
}

fn member(member: MemberView) -> types::GroupMember {
    types::GroupMember {
        account: member.account.full(),
        name: name_or_account(member.name, &member.account),
        role: role(member.role),
        added_by: member.added_by.map(|account| account.full()),
        muted_until_at: member.muted_until.map(|until| until.0),
        forked: member.forked,
    }
}

/// A name people gave themselves; whoever gave none, or none that is known here, is their account.
pub(super) fn name_or_account(name: String, account: &AccountId) -> String {
    if name.is_empty() { account.full() } else { name }
}

/// A link with its text.
pub(super) fn link(link: GroupLinkView) -> types::GroupLink {
    let id = base32::encode_lower(&link.id);
    let GroupLinkView { link, qr, expires_at, uses, used, approval, .. } = link;
    types::GroupLink { id, link, qr, expires_at: expires_at.0, uses, used, approval }
}

/// Nobody can join by a link that has let in as many as it may.
fn is_open(link: &GroupLinkView) -> bool {
    link.used < link.uses
}

/// Whoever made a link knows its end to the millisecond, the others to the day: all are shown the day.
fn link_state(link: GroupLinkView) -> types::GroupLinkState {
    types::GroupLinkState {
        id: base32::encode_lower(&link.id),
        expires_at: link.expires_at.0.div_ceil(DAY_MS).saturating_mul(DAY_MS),
        uses: link.uses,
        used: link.used,
        approval: link.approval,
    }
}

/// A role of the core as the API names it.
pub(super) fn role(role: group::GroupRole) -> types::GroupRole {
    match role {
        group::GroupRole::Reader => types::GroupRole::Reader,
        group::GroupRole::Member => types::GroupRole::Member,
        group::GroupRole::Moderator => types::GroupRole::Moderator,
        group::GroupRole::Admin => types::GroupRole::Admin,
        group::GroupRole::Owner => types::GroupRole::Owner,
    }
}

/// A role of the API as the core knows it.
pub(super) fn role_of(role: types::GroupRole) -> group::GroupRole {
    match role {
        types::GroupRole::Reader => group::GroupRole::Reader,
        types::GroupRole::Member => group::GroupRole::Member,
        types::GroupRole::Moderator => group::GroupRole::Moderator,
        types::GroupRole::Admin => group::GroupRole::Admin,
        types::GroupRole::Owner => group::GroupRole::Owner,
    }
}

fn history(history: group::GroupHistory) -> types::GroupHistory {
    match history {
        group::GroupHistory::None => types::GroupHistory::None,
        group::GroupHistory::Days(days) => types::GroupHistory::Days { days },
        group::GroupHistory::All => types::GroupHistory::All,
    }
}

/// A policy of the API as the core knows it.
pub(super) fn history_of(history: types::GroupHistory) -> group::GroupHistory {
    match history {
        types::GroupHistory::None => group::GroupHistory::None,
        types::GroupHistory::Days { days } => group::GroupHistory::Days(days),
        types::GroupHistory::All => group::GroupHistory::All,
    }
}

/// How far a message has come with one member.
pub(super) fn delivery(delivery: MemberDelivery) -> types::MemberDelivery {
    let parts = convert::state(delivery.state, true);
    types::MemberDelivery {
        account: delivery.account.full(),
        name: name_or_account(delivery.name, &delivery.account),
        state: parts.state,
        held: parts.held,
        failed: parts.failed,
    }
}

/// The same by name; of several with one name each is under their account.
pub(super) fn by_name(deliveries: &[types::MemberDelivery]) -> types::StateByMember {
    let mut bearers: BTreeMap<&str, usize> = BTreeMap::new();
    for delivery in deliveries {
        *bearers.entry(delivery.name.as_str()).or_default() += 1;
    }
    let key = |delivery: &types::MemberDelivery| match bearers.get(delivery.name.as_str()) {
        Some(1) => delivery.name.clone(),
        _ => delivery.account.clone(),
    };
    deliveries.iter().map(|delivery| (key(delivery), delivery.state)).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};
    use silbo_protocol::group::{FormerMemberView, GroupHistory, GroupRole, JoinRequestView, PinView, VoidView};
    use silbo_protocol::ids::{ChatId, MessageId};
    use silbo_protocol::step::DeliveryState;
    use silbo_protocol::time::UnixTime;

    use super::super::people::tests::contact;
    use super::*;

    pub(crate) fn account(byte: u8) -> AccountId {
        AccountId([byte; 32])
    }

    pub(crate) fn member_view(byte: u8, name: &str, contact: bool) -> MemberView {
        MemberView {
            account: account(byte),
            name: name.to_owned(),
            role: GroupRole::Member,
            own: byte == 9,
            contact: contact.then(|| account(byte).chat()),
            added_by: (byte != 9).then(|| account(9)),
            muted_until: None,
            forked: false,
        }
    }

    /// A group of me (9) and members 1 and 2; I know 1 as a contact.
    pub(crate) fn group_view(name: &str, byte: u8) -> GroupView {
        GroupView {
            chat: ChatId([byte; 16]),
            name: name.to_owned(),
            topic: String::new(),
            avatar: Vec::new(),
            state: GroupState::Active,
            role: Some(GroupRole::Owner),
            members: vec![member_view(9, "Ada", false), member_view(2, "Cleo", false), member_view(1, "Bob", true)],
            former: vec![FormerMemberView { account: account(3), name: "Dan".to_owned() }],
            epoch: [1, 2, 3, 4],
            rekey_due: false,
            retention_s: 0,
            history: GroupHistory::Days(7),
            may_add: GroupRole::Admin,
            may_send: GroupRole::Member,
            may_delete: GroupRole::Moderator,
            slow_mode_s: 0,
            frozen: false,
            links: vec![GroupLinkView {
                id: [7; 16],
                link: "silbo:g/x".to_owned(),
                qr: "SILBO:G/X".to_owned(),
                expires_at: UnixTime(5),
                uses: 5,
                used: 1,
                approval: true,
            }],
            requests: vec![JoinRequestView { account: account(4), name: "Eve".to_owned(), at: UnixTime(6) }],
            checkpoint: None,
            pins: vec![PinView { id: MessageId([6; 12]), by: account(2), at: UnixTime(7) }],
            void: vec![VoidView { author: account(2), what: "add Eve".to_owned(), why: "Cleo was removed".to_owned() }],
        }
    }

    fn shown(view: GroupView, contacts: &[ContactView], own: AccountId) -> Value {
        serde_json::to_value(group(view, contacts, own)).expect("JSON")
    }

    #[test]
    fn two_members_see_the_same_group_but_for_what_is_local() {
        let ada = shown(group_view("climbing", 5), &[contact("bobby", 1)], account(9));
        // The same group at Cleo's, who has no contact in it, another role, and no link of her own.
        let mut view = group_view("climbing", 5);
        view.members.reverse();
        for member in &mut view.members {
            (member.own, member.contact) = (member.account == account(2), None);
        }
        view.role = Some(GroupRole::Member);
        view.rekey_due = true;
        view.links[0].link.clear();
        view.links[0].qr.clear();
        view.links[0].expires_at = UnixTime(DAY_MS);
        view.requests.clear();
        let cleo = shown(view, &[], account(2));
        let without_local = |mut group: Value| {
            group.as_object_mut().expect("an object").remove("local").expect("what is local");
            group
        };
        assert_ne!(ada["local"], cleo["local"]);
        assert_eq!(ada["local"]["contacts"][0]["alias"], "bobby");
        assert_eq!((&ada["local"]["links"][0]["link"], &cleo["local"]["links"]), (&json!("silbo:g/x"), &json!([])));
        assert_eq!(without_local(ada), without_local(cleo));
    }

    #[test]
    fn a_link_that_has_let_in_as_many_as_it_may_is_shown_no_more() {
        let mut view = group_view("climbing", 5);
        view.links[0].used = view.links[0].uses;
        let group = shown(view, &[], account(9));
        assert_eq!((&group["links"], &group["local"]["links"]), (&json!([]), &json!([])));
    }

    #[test]
    fn members_are_shown_by_the_name_they_gave_themselves_else_by_account() {
        let mut view = group_view("climbing", 5);
        view.members[1].name.clear();
        let group = shown(view, &[contact("bobby", 1)], account(9));
        let names: Vec<&str> =
            group["members"].as_array().expect("members").iter().filter_map(|member| member["name"].as_str()).collect();
        assert_eq!(names, ["Bob", &account(2).full(), "Ada"]);
        assert_eq!(group["members"][0]["role"], "member");
        assert_eq!(group["history"], json!({"kind": "days", "days": 7}));
        assert_eq!(group["epoch"], base32::encode_lower(&[1, 2, 3, 4]));
    }

    #[test]
    fn two_members_of_one_name_do_not_hide_each_other() {
        let of =
            |byte, name: &str, state| delivery(MemberDelivery { account: account(byte), name: name.to_owned(), state });
        let delivered = DeliveryState::Delivered { at: UnixTime(1) };
        let list = [of(1, "Bob", delivered), of(2, "Bob", DeliveryState::Queued), of(3, "Cleo", delivered)];
        let states = serde_json::to_value(by_name(&list)).expect("JSON");
        let expected = json!({ "Cleo": "delivered", account(1).full(): "delivered", account(2).full(): "queued" });
        assert_eq!(states, expected);
    }

    #[test]
    fn roles_and_histories_read_back() {
        for known in GroupRole::ALL {
            assert_eq!(role_of(role(known)), known);
            assert_eq!(serde_json::to_value(role(known)).expect("JSON"), known.name());
        }
        for known in [GroupHistory::None, GroupHistory::Days(3), GroupHistory::All] {
            assert_eq!(history_of(history(known)), known);
        }
    }
}
