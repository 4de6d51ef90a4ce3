//! Operations that have not come with their letters.
//!
//! An operation travels in a letter, and a letter can be lost for good: its author held it back from some, a copied
//! device wrote two letters with one key, or what waited for it was not on disk when the power went. Members who compare
//! letters also name the operations that none of theirs follows. Who lacks one, or the parent of one that waits, asks
//! for it after a while; an operation is signed and vouched for, so it does not matter who hands it over.

use std::collections::BTreeSet;

use prost::Message;

use super::super::Engine;
use super::super::timers::Timer;
use super::super::turn::Turn;
use super::Group;
use super::sync::{LETTERS_BYTES, say};
use crate::group::operation::Operation;
use crate::ids::{ChatId, LinkId, OperationId};
use crate::limits::GROUP_OPERATIONS_WANTED_MAX;
use crate::store::StoreError;
use crate::time::{MINUTE_MS, SECOND_MS};
use crate::wire::proto::{self, group_sync::S};

/// Letters on their way bring most operations: one that is still lacking after so long is asked for.
const PATIENCE_MS: u64 = 10 * SECOND_MS;
/// Somebody else is asked for what is lacking still: nobody may have it, if a hostile member named it.
const AGAIN_MS: u64 = 5 * MINUTE_MS;

impl Group {
    /// Operations here that none here follows, as they are named to other members.
    pub(super) fn operation_heads(&self) -> Vec<u8> {
        self.membership.heads.iter().take(GROUP_OPERATIONS_WANTED_MAX).flat_map(|head| head.0).collect()
    }

    /// What others named or built on, and is not here.
    fn operations_lacking(&self) -> BTreeSet<OperationId> {
        let lacking = self.named.iter().copied().chain(self.graph.missing());
        lacking.filter(|id| self.graph.operation(id).is_none()).collect()
    }
}

impl Engine {
    /// A member on a link has operations that none it knows follows.
    pub(super) fn heads_named(&mut self, link: LinkId, chat: ChatId, heads: &[u8], turn: &Turn) {
        if heads.is_empty() {
            return; // most frames of a group name none
        }
        let member = self.is_with_member(link, &chat);
        let Some(group) = self.groups.get_mut(&chat).filter(|_| member) else { return };
        for id in heads.chunks_exact(OperationId::LEN).take(GROUP_OPERATIONS_WANTED_MAX).filter_map(OperationId::read) {
            if group.graph.operation(&id).is_none() && group.named.len() < GROUP_OPERATIONS_WANTED_MAX {
                group.named.insert(id);
            }
        }
        self.plan_asking(chat, turn);
    }

    /// If operations are lacking, they are asked for unless they come before.
    pub(super) fn plan_asking(&mut self, chat: ChatId, turn: &Turn) {
        if self.lacks_operations(&chat) {
            self.timers.set_if_unarmed(Timer::AskOperations(chat), turn.now.moment.after_ms(PATIENCE_MS));
        }
    }

    fn lacks_operations(&self, chat: &ChatId) -> bool {
        self.groups.get(chat).is_some_and(|group| !group.operations_lacking().is_empty())
    }

    /// Asks one member, whom the lot names: the next one next time.
    pub(in super::super) fn ask_operations(&mut self, chat: ChatId, turn: &mut Turn) {
        let Some(group) = self.groups.get(&chat).filter(|group| group.takes_part()) else { return };
        let lacking = group.operations_lacking();
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        let links: Vec<LinkId> = links.into_iter().filter(|link| self.is_with_member(*link, &chat)).collect();
        let drawn = usize::try_from(self.chance.below(links.len().max(1) as u64)).unwrap_or(0);
        let Some(link) = links.get(drawn).copied().filter(|_| !lacking.is_empty()) else { return };
        let wanted = lacking.into_iter().take(GROUP_OPERATIONS_WANTED_MAX).flat_map(|id| id.0).collect();
        say(link, chat, S::WantOps(wanted), turn);
        if let Some(group) = self.groups.get_mut(&chat) {
            // Who has it names it again with the next comparison.
            group.named.clear();
        }
        if self.lacks_operations(&chat) {
            self.timers.set(Timer::AskOperations(chat), turn.now.moment.after_ms(AGAIN_MS));
        }
    }

    /// Hands operations to a member who asks for them.
    pub(super) fn operations_wanted(&mut self, link: LinkId, chat: ChatId, wanted: &[u8], turn: &mut Turn) {
        let member = self.is_with_member(link, &chat);
        let Some(group) = self.groups.get(&chat).filter(|_| member) else { return };
        let wanted = wanted.chunks_exact(OperationId::LEN).take(GROUP_OPERATIONS_WANTED_MAX);
        let held = wanted.filter_map(OperationId::read).filter_map(|id| group.graph.operation(&id));
        let (mut batch, mut bytes) = (proto::GroupOps::default(), 0);
        for operation in held {
            let op = operation.signed().encode_to_vec();
            if bytes > 0 && bytes + op.len() > LETTERS_BYTES {
                say(link, chat, S::Ops(std::mem::take(&mut batch)), turn);
                bytes = 0;
            }
            bytes += op.len();
            batch.op.push(op);
        }
        if bytes > 0 {
            say(link, chat, S::Ops(batch), turn);
        }
    }

    /// Operations from a member.
    pub(super) fn operations_arrived(
        &mut self,
        link: LinkId,
        chat: ChatId,
        list: &proto::GroupOps,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let Some(account) = self.account_on(link).filter(|_| self.is_with_member(link, &chat)) else { return Ok(()) };
        let read = |bytes: &Vec<u8>| Operation::read(&proto::Signed::decode(bytes.as_slice()).ok()?).ok();
        let operations = list.op.iter().take(GROUP_OPERATIONS_WANTED_MAX).filter_map(read).collect();
        let here = |engine: &Self| {
            engine.groups.get(&chat).map_or(0, |group| group.graph.operations().count() + group.graph.waiting())
        };
        let before = here(self);
        self.take_operations(chat, operations, &account, turn)?;
        if here(self) > before && self.lacks_operations(&chat) {
            // What they build on.
            self.timers.set(Timer::AskOperations(chat), turn.now.moment);
        }
        Ok(())
    }
}
