//! The rules of membership one by one. Each scenario is played in several groups whose operation ids order
//! differently, and [`World::membership`] reads each of them in several orders of arrival.

use super::membership::Void;
use super::operation::{Info, Kind, Role};
use super::test_people::{World, keys, number};
use crate::crypto::ed25519::SigningKey;
use crate::ids::AccountId;

/// Plays a scenario so often that of two operations each comes first by id at some time.
fn scenario(play: impl Fn(u8)) {
    for nonce in 0..6 {
        play(nonce);
    }
}

const ADMIN: Role = Role::Admin;
const MEMBER: Role = Role::Member;
const OWNER: Role = Role::Owner;

#[test]
fn the_founder_owns_the_group_and_brings_people_in() {
    let mut world = World::new(3, 1);
    let add = world.write(0, &[0], world.add(1, ADMIN));
    let next = world.write(1, &[add], world.add(2, MEMBER));
    let membership = world.membership();
    assert_eq!(world.members(), [0, 1, 2]);
    assert_eq!(membership.info.name.as_deref(), Some("Village"));
    let member = &membership.roster[&world.account(2)];
    assert_eq!((member.role, member.since, member.added_by), (MEMBER, world.id(next), world.account(1)));
    assert_eq!(member.devices, [world.people[2].keys(0)]);
    assert_eq!(membership.roster[&world.account(0)].role, OWNER);
    assert!(membership.void.is_empty() && membership.forked.is_empty() && membership.unkeyed.is_empty());
}

#[test]
fn t26_what_a_member_and_an_ex_admin_sign_is_ignored_and_shown_as_void() {
    scenario(|nonce| {
        let mut world = World::with(&[MEMBER, ADMIN, ADMIN, MEMBER], 6, nonce);
        let base = world.last();
        let info = |name: &str| Kind::Info(Info { name: Some(name.into()), ..Info::default() });
        let link = Kind::Link { key: keys(9, 9, 9).1.sign, uses: 0, expires_day: 0, role: MEMBER, approval: false };
        let by_member = [
            world.add(5, MEMBER),
            world.remove(&[4]),
            world.set_role(1, ADMIN),
            world.set_role(4, Role::Reader),
            info("Mine"),
            link,
            Kind::Freeze { on: true },
            Kind::Mute { account: world.account(4), until_ms: 9 },
        ];
        let mut bad: Vec<usize> = by_member.into_iter().map(|kind| world.write(1, &[base], kind)).collect();
        // One admin is made a member, the other is put out; both write on.
        let demoted = world.write(0, &[base], world.set_role(2, MEMBER));
        let removed = world.write(0, &[demoted], world.remove(&[3]));
        for (by, kind) in [
            (2, world.add(5, MEMBER)),
            (2, world.remove(&[4])),
            (2, world.set_role(2, ADMIN)),
            (2, info("Ours")),
            (3, world.add(5, MEMBER)),
            (3, world.remove(&[4])),
            (3, info("Theirs")),
            (3, Kind::Leave { reason: 0 }),
        ] {
            bad.push(world.write(by, &[removed], kind));
        }
        assert_eq!(world.void(), bad);
        let membership = world.membership();
        assert_eq!(membership.roster.keys().map(number).collect::<Vec<_>>(), [0, 1, 2, 4]);
        assert_eq!(membership.info.name.as_deref(), Some("Village"));
        assert!(membership.links.is_empty() && membership.muted.is_empty() && !membership.frozen);
        assert_eq!(membership.void[&world.id(bad[0])], Void::NotAllowed);
        assert_eq!(membership.void[&world.id(bad[12])], Void::NotMember);
    });
}

#[test]
fn t27_an_account_added_by_one_admin_and_removed_by_another_is_out() {
    scenario(|nonce| {
        // A newcomer, and somebody who was in before.
        let mut world = World::with(&[ADMIN, ADMIN, MEMBER], 5, nonce);
        let base = world.last();
        let (add, remove) = (world.add(4, MEMBER), world.remove(&[4]));
        let (added, removed) = (world.write(1, &[base], add), world.write(2, &[base], remove));
        assert_eq!(world.members(), [0, 1, 2, 3]);
        let first = world.write(0, &[added, removed], world.remove(&[3]));
        let back = world.write(1, &[first], world.add(3, MEMBER));
        assert_eq!(world.members(), [0, 1, 2, 3]);
        let again = world.write(2, &[first], world.remove(&[3]));
        assert_eq!(world.members(), [0, 1, 2]);
        // Added by somebody who knows of the removals: in.
        world.write(1, &[back, again], world.add(3, MEMBER));
        assert_eq!(world.members(), [0, 1, 2, 3]);
        assert_eq!(world.void(), []);
    });
}

#[test]
fn t28_an_old_addition_sent_again_brings_nobody_back() {
    scenario(|nonce| {
        let mut world = World::with(&[ADMIN, MEMBER], 3, nonce);
        let removed = world.write(1, &[2], world.remove(&[2]));
        let old = world.ops[2].clone();
        assert_eq!(world.graph.insert(old, &world.account(2)).unwrap().added, []);
        // The same words at another place, as if the removal were not known.
        world.write(0, &[1], world.add(2, ADMIN));
        assert_eq!(world.members(), [0, 1, 2], "an owner outranks the admin");
        world.write(0, &[removed], world.remove(&[2]));
        world.write(1, &[1], world.add(2, MEMBER));
        assert_eq!(world.members(), [0, 1]);
    });
}

#[test]
fn somebody_added_again_after_the_removal_is_in_as_what_the_addition_says() {
    scenario(|nonce| {
        let mut world = World::with(&[ADMIN, Role::Moderator], 3, nonce);
        let removed = world.write(0, &[2], world.remove(&[2]));
        let back = world.write(0, &[removed], world.add(2, Role::Reader));
        assert_eq!(world.role(2), Some(Role::Reader));
        assert_eq!(world.membership().roster[&world.account(2)].since, world.id(back));
        // What it was given before the removal does not come back.
        world.write(1, &[2], world.set_role(2, Role::Moderator));
        assert_eq!(world.role(2), Some(Role::Reader));
    });
}

#[test]
fn owners_who_remove_each_other_are_both_out() {
    scenario(|nonce| {
        let mut world = World::with(&[OWNER, OWNER, MEMBER], 4, nonce);
        let base = world.last();
        world.write(1, &[base], world.remove(&[2]));
        world.write(2, &[base], world.remove(&[1]));
        assert_eq!(world.members(), [0, 3]);
        assert_eq!(world.void(), []);
    });
}

#[test]
fn a_longer_circle_of_removals_puts_all_of_it_out_and_nobody_else() {
    scenario(|nonce| {
        let mut world = World::with(&[OWNER, OWNER, OWNER, MEMBER], 5, nonce);
        let base = world.last();
        for (by, whom) in [(1, 2), (2, 3), (3, 1)] {
            world.write(by, &[base], world.remove(&[whom]));
        }
        let beside = world.write(3, &[base], world.remove(&[4]));
        assert_eq!(world.members(), [0, 4]);
        assert_eq!(world.void(), [beside]);
    });
}

#[test]
fn owners_who_demote_each_other_are_both_demoted() {
    scenario(|nonce| {
        let mut world = World::with(&[OWNER, OWNER], 3, nonce);
        world.write(1, &[2], world.set_role(2, MEMBER));
        world.write(2, &[2], world.set_role(1, ADMIN));
        assert_eq!((world.role(1), world.role(2)), (Some(ADMIN), Some(MEMBER)));
    });
}

#[test]
fn the_last_owner_cannot_be_removed() {
    scenario(|nonce| {
        let mut world = World::with(&[OWNER, ADMIN], 3, nonce);
        let a = world.write(0, &[2], world.remove(&[1]));
        let b = world.write(1, &[2], world.remove(&[0]));
        let (later, stays) = if world.id(a) > world.id(b) { (a, 1) } else { (b, 0) };
        assert_eq!(world.members(), [stays, 2]);
        assert_eq!(world.role(stays), Some(OWNER));
        assert_eq!(world.membership().void[&world.id(later)], Void::LastOwner);
        // A third owner: both go, and stay out when the third one leaves later on.
        let mut world = World::with(&[OWNER, OWNER, MEMBER], 4, nonce);
        let a = world.write(0, &[3], world.remove(&[1]));
        let b = world.write(1, &[3], world.remove(&[0]));
        assert_eq!(world.members(), [2, 3]);
        world.write(2, &[a, b], Kind::Leave { reason: 0 });
        assert_eq!(world.members(), [3]);
    });
}

#[test]
fn two_circles_of_owners_leave_one_owner_together() {
    scenario(|nonce| {
        let mut world = World::with(&[OWNER, OWNER, OWNER], 4, nonce);
        for (by, whom) in [(0, 1), (1, 0), (2, 3), (3, 2)] {
            world.write(by, &[3], world.remove(&[whom]));
        }
        let members = world.members();
        assert_eq!(members.len(), 1);
        assert_eq!(world.role(members[0]), Some(OWNER));
    });
}

#[test]
fn an_admin_removes_moderators_and_less_and_an_owner_everybody() {
    scenario(|nonce| {
        let mut world = World::with(&[ADMIN, ADMIN, Role::Moderator, OWNER], 5, nonce);
        let base = world.last();
        let admin = world.write(1, &[base], world.remove(&[2]));
        let owner = world.write(1, &[base], world.remove(&[4]));
        let both = world.write(1, &[base], world.remove(&[2, 3]));
        let own = world.write(1, &[base], world.remove(&[1]));
        assert_eq!(world.void(), [admin, owner, both, own]);
        world.write(1, &[base], world.remove(&[3]));
        let last = world.write(4, &[base], world.remove(&[2]));
        world.write(4, &[last], world.remove(&[0]));
        assert_eq!(world.members(), [1, 4]);
    });
}

#[test]
fn an_admin_cannot_depose_an_owner_by_not_knowing_the_promotion() {
    scenario(|nonce| {
        let mut world = World::with(&[ADMIN, MEMBER], 4, nonce);
        let base = world.last();
        let raised = world.write(0, &[base], world.set_role(2, OWNER));
        let added = world.write(2, &[raised], world.add(3, ADMIN));
        let removal = world.write(1, &[base], world.remove(&[2]));
        let lowered = world.write(1, &[base], world.set_role(2, Role::Reader));
        let early = world.write(1, &[base], world.remove(&[3]));
        assert_eq!(world.role(2), Some(OWNER));
        assert_eq!(world.role(3), Some(ADMIN));
        assert_eq!(world.void(), [removal, lowered, early]);
        assert_eq!(world.membership().void[&world.id(removal)], Void::Against(world.id(raised)));
        assert_eq!(world.membership().void[&world.id(early)], Void::Against(world.id(added)));
        // An owner may.
        world.write(0, &[base], world.remove(&[2]));
        assert_eq!(world.members(), [0, 1]);
    });
}

#[test]
fn an_owner_outranks_in_a_circle() {
    scenario(|nonce| {
        let mut world = World::with(&[ADMIN, MEMBER], 3, nonce);
        let raised = world.write(0, &[2], world.set_role(2, OWNER));
        let lost = world.write(1, &[2], world.remove(&[2]));
        world.write(2, &[raised], world.remove(&[1]));
        assert_eq!(world.members(), [0, 2]);
        assert_eq!(world.void(), [lost]);
    });
}

#[test]
fn what_the_remover_did_not_know_of_the_removed_is_void_and_what_it_knew_stays() {
    scenario(|nonce| {
        let mut world = World::with(&[OWNER], 6, nonce);
        let seen = world.write(1, &[1], world.add(2, ADMIN));
        let unseen = world.write(1, &[seen], world.add(3, ADMIN));
        let child = world.write(3, &[unseen], world.add(4, MEMBER));
        world.write(0, &[seen], world.remove(&[1]));
        assert_eq!(world.members(), [0, 2]);
        assert_eq!(world.void(), [unseen, child], "what rests on a void operation is void");
        let back = world.write(2, &[child], world.add(3, MEMBER));
        assert_eq!(world.members(), [0, 2, 3]);
        assert!(!world.void().contains(&back));
    });
}

#[test]
fn a_lower_role_voids_what_it_does_not_permit_and_nothing_else() {
    scenario(|nonce| {
        let mut world = World::with(&[ADMIN, MEMBER], 4, nonce);
        let base = world.last();
        let add = world.write(1, &[base], world.add(3, MEMBER));
        let rekey = world.write(1, &[base], world.rekey(&[base]));
        world.write(0, &[base], world.set_role(1, MEMBER));
        assert_eq!(world.void(), [add]);
        assert!(world.membership().key_heads.contains(&world.id(rekey)));
        let mut world = World::with(&[OWNER, ADMIN], 3, nonce);
        let removal = world.write(1, &[2], world.remove(&[2]));
        world.write(0, &[2], world.set_role(1, ADMIN));
        assert_eq!(world.void(), [removal], "an admin does not remove an admin");
    });
}

#[test]
fn of_two_roles_given_unknown_to_each_other_the_lesser_holds() {
    scenario(|nonce| {
        let mut world = World::with(&[OWNER, MEMBER], 3, nonce);
        let up = world.write(0, &[2], world.set_role(2, ADMIN));
        let down = world.write(1, &[2], world.set_role(2, Role::Reader));
        assert_eq!(world.role(2), Some(Role::Reader));
        world.write(1, &[up, down], world.set_role(2, Role::Moderator));
        assert_eq!(world.role(2), Some(Role::Moderator));
    });
}

#[test]
fn leaving_wins_over_a_role_and_an_addition_that_do_not_know_it() {
    scenario(|nonce| {
        let mut world = World::with(&[ADMIN, MEMBER], 3, nonce);
        let left = world.write(2, &[2], Kind::Leave { reason: 1 });
        world.write(0, &[2], world.set_role(2, OWNER));
        let removed = world.write(1, &[2], world.remove(&[2]));
        let unknowing = world.write(1, &[removed], world.add(2, MEMBER));
        assert_eq!(world.members(), [0, 1]);
        world.write(1, &[unknowing, left], world.add(2, MEMBER));
        assert_eq!(world.members(), [0, 1, 2]);
    });
}

#[test]
fn leaving_takes_nothing_away_from_what_another_device_wrote() {
    scenario(|nonce| {
        let mut world = World::with(&[ADMIN], 4, nonce);
        let second = Kind::Devices { add: vec![world.people[1].keys(1)], drop: vec![] };
        let linked = world.write(1, &[1], second);
        world.write_by((1, 1), &[linked], world.add(2, MEMBER));
        world.write(1, &[linked], Kind::Leave { reason: 0 });
        assert_eq!(world.members(), [0, 2]);
        assert_eq!(world.void(), []);
    });
}

#[test]
fn an_inviter_is_removed_with_the_branch_it_brought_in() {
    scenario(|nonce| {
        let mut world = World::with(&[ADMIN, ADMIN], 8, nonce);
        let a = world.write(1, &[2], world.add(3, MEMBER));
        let settings = Kind::Info(Info { add_role: Some(MEMBER), ..Info::default() });
        let open = world.write(0, &[a], settings);
        let b = world.write(3, &[open], world.add(4, MEMBER));
        let c = world.write(2, &[b], world.add(5, MEMBER));
        let unseen = world.write(4, &[c], world.add(6, MEMBER));
        let branch = world.graph.membership().branch(&world.account(1));
        assert_eq!(branch.iter().map(number).collect::<Vec<_>>(), [1, 3, 4, 6]);
        // The owner does not know of 6 yet.
        let known: Vec<AccountId> = [1, 3, 4].map(|person| world.account(person)).to_vec();
        world.write(0, &[c], Kind::Remove { accounts: known, reason: 0 });
        assert_eq!(world.members(), [0, 2, 5]);
        assert_eq!(world.void(), [unseen]);
    });
}

#[test]
fn a_freeze_voids_what_raises_and_does_not_know_it() {
    scenario(|nonce| {
        let mut world = World::with(&[ADMIN, ADMIN, MEMBER], 6, nonce);
        let base = world.last();
        let add = world.write(1, &[base], world.add(4, MEMBER));
        let raise = world.write(2, &[base], world.set_role(3, Role::Moderator));
        let remove = world.write(2, &[raise], world.remove(&[3]));
        let by_owner = world.write(0, &[base], world.add(5, MEMBER));
        let freeze = world.write(1, &[base], Kind::Freeze { on: true });
        assert!(world.membership().frozen);
        assert_eq!(world.void(), [add, raise], "removals go on, and nobody is bound by somebody below him");
        let later = world.write(2, &[freeze], world.add(4, MEMBER));
        assert_eq!(world.membership().void[&world.id(later)], Void::Frozen);
        let lift = world.write(2, &[freeze, remove, by_owner], Kind::Freeze { on: false });
        assert!(!world.membership().frozen);
        world.write(2, &[lift], world.add(4, MEMBER));
        assert_eq!(world.members(), [0, 1, 2, 4, 5]);
        // A freeze that the lift does not know stays.
        world.write(0, &[freeze], Kind::Freeze { on: true });
        assert!(world.membership().frozen);
    });
}

fn secret() -> SigningKey {
    keys(77, 0, 5).0
}

fn link(uses: u32, approval: bool) -> Kind {
    Kind::Link { key: secret().verifying_key(), uses, expires_day: 9, role: MEMBER, approval }
}

#[test]
fn a_link_lets_in_as_many_as_it_says_whoever_opens() {
    scenario(|nonce| {
        let mut world = World::with(&[MEMBER, MEMBER], 7, nonce);
        let made = world.write(0, &[2], link(2, false));
        let joins: Vec<usize> = [(0, 3), (1, 4), (2, 5)]
            .into_iter()
            .map(|(by, who)| world.write(by, &[made], world.join(made, &secret(), who)))
            .collect();
        let again = world.write(2, &[made], world.join(made, &secret(), 3));
        let mut order = joins.clone();
        order.push(again);
        order.sort_unstable_by_key(|op| world.id(*op));
        let membership = world.membership();
        assert_eq!(membership.roster.len(), 5);
        assert_eq!(membership.links[&world.id(made)].left, Some(0));
        let spent: Vec<usize> =
            joins.iter().copied().filter(|op| membership.void.contains_key(&world.id(*op))).collect();
        assert_eq!(spent.len(), 1);
        assert_eq!(membership.void[&world.id(spent[0])], Void::LinkSpent);
    });
}

#[test]
fn a_link_is_no_use_once_revoked_without_approval_or_to_the_removed() {
    scenario(|nonce| {
        let mut world = World::with(&[ADMIN, MEMBER], 8, nonce);
        let made = world.write(1, &[2], link(0, false));
        let before = world.write(2, &[made], world.join(made, &secret(), 3));
        let unseen = world.write(2, &[before], world.join(made, &secret(), 4));
        let revoke = world.write(1, &[before], Kind::RevokeLink { link: world.id(made) });
        let late = world.write(2, &[revoke], world.join(made, &secret(), 5));
        assert_eq!(world.void(), [unseen, late]);
        assert!(world.membership().links.is_empty());

        let asked = world.write(1, &[revoke], link(0, true));
        let alone = world.write(2, &[asked], world.join(asked, &secret(), 5));
        let approved = world.write(1, &[asked], world.join(asked, &secret(), 6));
        let out = world.write(1, &[approved], world.remove(&[6]));
        let back = world.write(1, &[out], world.join(asked, &secret(), 6));
        assert_eq!(world.void(), [unseen, late, alone, back]);

        let wrong = keys(78, 0, 5).0;
        let forged = world.write(1, &[asked], world.join(asked, &wrong, 7));
        let nothing = world.write(1, &[asked], world.join(2, &secret(), 7));
        let membership = world.membership();
        assert_eq!(membership.void[&world.id(forged)], Void::Unsound);
        assert_eq!(membership.void[&world.id(nothing)], Void::Unsound);
        assert_eq!(world.members(), [0, 1, 2, 3]);
    });
}

#[test]
fn a_link_makes_nobody_an_admin() {
    let mut world = World::new(2, 1);
    let kind = Kind::Link { key: secret().verifying_key(), uses: 0, expires_day: 0, role: ADMIN, approval: false };
    let made = world.write(0, &[0], kind);
    let joined = world.write(0, &[made], world.join(made, &secret(), 1));
    assert_eq!(world.void(), [made, joined]);
}

#[test]
fn a_device_is_added_and_dropped_by_its_account_and_what_the_dropped_wrote_unseen_is_void() {
    scenario(|nonce| {
        let mut world = World::with(&[ADMIN], 4, nonce);
        let second = Kind::Devices { add: vec![world.people[1].keys(1)], drop: vec![] };
        let linked = world.write(1, &[1], second);
        let seen = world.write_by((1, 1), &[linked], world.add(2, MEMBER));
        let unseen = world.write_by((1, 1), &[seen], world.add(3, MEMBER));
        let gone = world.people[1].keys(1).id;
        let drop = world.write(1, &[seen], Kind::Devices { add: vec![], drop: vec![gone] });
        let later = world.write_by((1, 1), &[drop], world.remove(&[2]));
        assert_eq!(world.void(), [unseen, later]);
        let membership = world.membership();
        assert_eq!(membership.roster[&world.account(1)].devices, [world.people[1].keys(0)]);
        assert_eq!(membership.unkeyed.into_iter().collect::<Vec<_>>(), [world.id(drop)]);
    });
}

#[test]
fn two_devices_that_drop_each_other_are_both_out_and_the_account_is_let_in_anew() {
    scenario(|nonce| {
        let mut world = World::with(&[MEMBER], 2, nonce);
        let (one, two) = (world.people[1].keys(0), world.people[1].keys(1));
        let linked = world.write(1, &[1], Kind::Devices { add: vec![two.clone()], drop: vec![] });
        let a = world.write_by((1, 0), &[linked], Kind::Devices { add: vec![], drop: vec![two.id] });
        let b = world.write_by((1, 1), &[linked], Kind::Devices { add: vec![], drop: vec![one.id] });
        assert_eq!(world.membership().roster[&world.account(1)].devices, []);
        let out = world.write(0, &[a, b], world.remove(&[1]));
        world.write(0, &[out], world.add(1, MEMBER));
        assert_eq!(world.membership().roster[&world.account(1)].devices, [one]);
    });
}

#[test]
fn a_replaced_key_signs_no_longer() {
    scenario(|nonce| {
        let mut world = World::with(&[ADMIN], 4, nonce);
        let (fresh, fresh_keys) = keys(1, 0, 200);
        let old = world.people[1].keys(0);
        let replace = Kind::Devices { add: vec![fresh_keys.clone()], drop: vec![old.id] };
        let done = world.write(1, &[1], replace);
        // The thief has the old key: what it writes unseen and what it writes after are void.
        let unseen = world.write(1, &[1], world.add(2, MEMBER));
        let after = world.write(1, &[done], world.add(2, MEMBER));
        assert_eq!(world.void(), [unseen, after]);
        let (device, kind) = (world.people[1].device(0), world.add(3, MEMBER));
        let signed = world.graph.write(&kind, &device, &[world.id(done)], &fresh).unwrap();
        world.take(super::operation::Operation::read(&signed).unwrap());
        assert_eq!(world.members(), [0, 1, 3]);
        assert_eq!(world.membership().device(&device), Some(&fresh_keys));
    });
}

#[test]
fn whoever_has_too_many_devices_gets_no_more() {
    let mut world = World::new(1, 1);
    let many: Vec<_> = (1..16).map(|device| keys(0, device, device).1).collect();
    let all = world.write(0, &[0], Kind::Devices { add: many, drop: vec![] });
    let more = world.write(0, &[all], Kind::Devices { add: vec![keys(0, 99, 99).1], drop: vec![] });
    assert_eq!(world.void(), [more]);
    let swap = Kind::Devices { add: vec![keys(0, 99, 99).1], drop: vec![keys(0, 15, 15).1.id] };
    world.write(0, &[all], swap);
    assert_eq!(world.void(), [more]);
    assert_eq!(world.membership().devices().count(), 16);
}

#[test]
fn every_member_may_rekey_a_small_group_and_only_admins_a_large_one() {
    let mut world = World::with(&[MEMBER, ADMIN, Role::Reader], 80, 1);
    let rekey = world.write(1, &[3], world.rekey(&[3]));
    let reader = world.write(3, &[3], world.rekey(&[3]));
    assert_eq!(world.void(), [reader]);
    assert_eq!(world.graph.recipients_of(&world.id(rekey)).unwrap().len(), 4);
    let mut last = 3;
    for person in 4..64 {
        last = world.write(2, &[last], world.add(person, MEMBER));
    }
    world.write(1, &[last], world.rekey(&[last]));
    assert_eq!(world.void(), [reader], "64 devices");
    last = world.write(2, &[last], world.add(64, MEMBER));
    let refused = world.write(1, &[last], world.rekey(&[last]));
    world.write(2, &[last], world.rekey(&[last]));
    assert_eq!(world.void(), [reader, refused]);
}

fn ids(world: &World, ops: &[usize]) -> std::collections::BTreeSet<crate::ids::OperationId> {
    ops.iter().map(|op| world.id(*op)).collect()
}

#[test]
fn the_key_heads_are_what_counts_and_nothing_that_counts_builds_on() {
    scenario(|nonce| {
        let mut world = World::new(4, nonce);
        assert_eq!(world.membership().key_heads, ids(&world, &[0]));
        let a = world.write(0, &[0], world.add(1, OWNER));
        assert_eq!(world.membership().key_heads, ids(&world, &[a]));
        let left = world.write(0, &[a], world.rekey(&[a]));
        let right = world.write(1, &[a], world.rekey(&[a]));
        assert_eq!(world.membership().key_heads, ids(&world, &[left, right]));
        // A key that knew of both but builds on one does not hide the other.
        let narrow = world.write(0, &[left, right], world.rekey(&[left]));
        assert_eq!(world.membership().key_heads, ids(&world, &[narrow, right]));
        let both = world.write(0, &[narrow], world.rekey(&[narrow, right]));
        assert_eq!(world.membership().key_heads, ids(&world, &[both]));
        // The rekey of somebody who is removed without knowledge of it is no head.
        world.write(1, &[both], world.rekey(&[both]));
        world.write(0, &[both], world.remove(&[1]));
        assert_eq!(world.membership().key_heads, ids(&world, &[both]));
        // Heads that are no key operations of the past.
        let bad = world.write(0, &[both], world.rekey(&[a]));
        let op = world.id(bad);
        let unsound = Kind::Rekey { heads: vec![op], material: vec![] };
        let bad = world.write(0, &[both], unsound);
        assert_eq!(world.membership().void[&world.id(bad)], Void::Unsound);
    });
}

#[test]
fn a_removal_asks_for_a_rekey_that_shuts_the_removed_out() {
    scenario(|nonce| {
        let mut world = World::with(&[ADMIN, MEMBER, MEMBER], 5, nonce);
        let unknowing = world.write(1, &[3], world.rekey(&[3]));
        let removal = world.write(0, &[3], world.remove(&[2]));
        assert_eq!(world.membership().unkeyed, ids(&world, &[removal]));
        let keyed = world.write(0, &[removal], world.rekey(&[3]));
        assert_eq!(world.membership().unkeyed, ids(&world, &[]), "one of two heads is enough");
        let added = world.write(0, &[keyed], world.add(4, MEMBER));
        assert_eq!(world.membership().unkeyed, ids(&world, &[]));
        let leave = world.write(3, &[added, unknowing], Kind::Leave { reason: 0 });
        assert_eq!(world.membership().unkeyed, ids(&world, &[leave]));
    });
}

#[test]
fn settings_changed_on_both_sides_are_merged_one_by_one() {
    scenario(|nonce| {
        let mut world = World::with(&[ADMIN, ADMIN], 3, nonce);
        let name = Info { name: Some("Town".into()), slow_s: Some(5), ..Info::default() };
        let topic = Info { topic: Some("Bread".into()), retention_s: Some(86_400), ..Info::default() };
        let a = world.write(1, &[2], Kind::Info(name));
        let b = world.write(2, &[2], Kind::Info(topic));
        let info = world.membership().info;
        assert_eq!((info.name.as_deref(), info.topic.as_deref()), (Some("Town"), Some("Bread")));
        assert_eq!((info.slow_s, info.retention_s), (Some(5), Some(86_400)));
        world.write(2, &[a, b], Kind::Info(Info { name: Some("City".into()), ..Info::default() }));
        assert_eq!(world.membership().info.name.as_deref(), Some("City"));
    });
}

#[test]
fn a_moderator_mutes_those_below() {
    scenario(|nonce| {
        let mut world = World::with(&[Role::Moderator, ADMIN, MEMBER], 4, nonce);
        let mute = |world: &World, who: usize, until_ms| Kind::Mute { account: world.account(who), until_ms };
        let muted = world.write(1, &[3], mute(&world, 3, 900));
        let above = world.write(1, &[3], mute(&world, 2, 900));
        assert_eq!(world.void(), [above]);
        assert_eq!(world.membership().muted.into_iter().collect::<Vec<_>>(), [(world.account(3), 900)]);
        world.write(2, &[muted], mute(&world, 3, 0));
        assert!(world.membership().muted.is_empty());
    });
}

#[test]
fn a_device_that_writes_two_histories_is_shown() {
    let mut world = World::with(&[ADMIN], 4, 1);
    world.write(1, &[1], world.add(2, MEMBER));
    assert!(world.membership().forked.is_empty());
    world.write(1, &[1], world.add(3, MEMBER));
    assert_eq!(world.membership().forked.into_iter().collect::<Vec<_>>(), [world.people[1].device(0)]);
    assert_eq!(world.members(), [0, 1, 2, 3], "only shown");
}

#[test]
fn t26_a_member_voids_nothing_by_a_circle_of_what_it_may_not_do() {
    scenario(|nonce| {
        // On each side of a split the admin adds somebody, and a member writes a removal of both.
        let mut world = World::with(&[ADMIN, MEMBER], 5, nonce);
        let base = world.last();
        let (left, right) =
            (world.write(1, &[base], world.add(3, MEMBER)), world.write(1, &[base], world.add(4, MEMBER)));
        let bad = [world.write(2, &[left], world.remove(&[1, 3])), world.write(2, &[right], world.remove(&[1, 4]))];
        assert_eq!(world.void(), bad);
        assert_eq!(world.members(), [0, 1, 2, 3, 4]);
        // Nor does it stay in by another one that the admin knew when it put the member out.
        let bad_too = world.write(2, &[left], world.remove(&[1, 3, 4]));
        world.write(1, &[bad_too], world.remove(&[2]));
        assert_eq!(world.void(), [bad[0], bad[1], bad_too]);
        assert_eq!(world.members(), [0, 1, 3, 4]);
    });
}

#[test]
fn people_who_have_each_other_removed_by_those_they_add_are_both_out() {
    scenario(|nonce| {
        // Nobody's authority is beyond doubt: each helper rests on an addition the other one's removal voids.
        let mut world = World::with(&[OWNER, OWNER], 5, nonce);
        let a = world.write(1, &[2], world.add(3, OWNER));
        let b = world.write(2, &[2], world.add(4, OWNER));
        world.write(3, &[a], world.remove(&[2]));
        world.write(4, &[b], world.remove(&[1]));
        assert_eq!(world.members(), [0]);
        assert_eq!(world.void(), [a, b]);
    });
}

#[test]
fn the_only_owner_does_not_step_down_and_one_of_two_may() {
    scenario(|nonce| {
        let mut world = World::with(&[ADMIN], 2, nonce);
        let alone = world.write(0, &[1], world.set_role(0, ADMIN));
        assert_eq!(world.void(), [alone]);
        let heir = world.write(0, &[1], world.set_role(1, OWNER));
        world.write(0, &[heir], world.set_role(0, MEMBER));
        assert_eq!((world.role(0), world.role(1)), (Some(MEMBER), Some(OWNER)));
    });
}

#[test]
fn a_checkpoint_is_compared_with_what_its_past_comes_to_and_only_an_admins_counts() {
    let mut world = World::with(&[Role::Member, Role::Admin], 5, 1);
    let (last, known) = (world.last(), world.ops.len());
    let here = world.graph.state_after(&[world.id(last)]).unwrap();
    let checkpoint = |hash: [u8; 32]| Kind::Checkpoint { state_hash: hash.to_vec() };
    let good = world.write(2, &[last], checkpoint(here));
    assert_eq!(world.membership().checkpoint, Some(world.id(good)));
    assert_eq!(world.graph.agrees_with(&world.id(good)), Some(true));
    assert_eq!(world.graph.known_to(&world.id(good)), Some(known));
    // What comes after it changes what the group is, not what the checkpoint is about.
    let removal = world.write(0, &[good], world.remove(&[1]));
    assert_eq!(world.graph.agrees_with(&world.id(good)), Some(true));
    assert_ne!(world.graph.state_after(&[world.id(removal)]), Some(here));
    // One from before the removal says something else.
    let late = world.write(2, &[removal], checkpoint(here));
    assert_eq!(world.membership().checkpoint, Some(world.id(late)));
    assert_eq!(world.graph.agrees_with(&world.id(late)), Some(false));
    assert_eq!(world.graph.agrees_with(&world.id(removal)), None);

    let mut world = World::with(&[Role::Member, Role::Admin], 5, 2);
    let last = world.last();
    world.write(1, &[last], checkpoint([1; 32]));
    assert_eq!(world.membership().checkpoint, None, "a member's");
    let beside = world.write(2, &[last], checkpoint([1; 32]));
    assert_eq!(world.membership().checkpoint, Some(world.id(beside)));
    world.write(0, &[last], world.remove(&[2]));
    assert_eq!(world.membership().checkpoint, None, "an admin's who was removed beside it");
}
