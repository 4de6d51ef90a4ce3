//! Checkpoints: an admin's word on what the operations it knows come to, compared by everybody else.
//!
//! The operations alone say what a group is, so two devices that know the same ones can only differ if their versions of
//! Silbo read the rules differently. A checkpoint shows that, instead of leaving people to find out.

use super::super::Engine;
use super::super::timers::Timer;
use super::super::turn::Turn;
use super::Group;
use crate::group::GroupRole;
use crate::group::operation::Kind;
use crate::group::view::CheckpointView;
use crate::ids::{AccountId, ChatId, OperationId};
use crate::limits::GROUP_CHECKPOINT_OPERATIONS;
use crate::step::EventKind;
use crate::store::StoreError;
use crate::time::MINUTE_MS;

/// Admins wait so long at most for each other's checkpoint, each by lot.
const CHECKPOINT_PATIENCE_MS: u64 = 10 * MINUTE_MS;

/// The last checkpoint that counts, compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checked {
    id: OperationId,
    agrees: bool,
}

impl Engine {
    /// Compares a checkpoint that has come, and plans the next one.
    pub(super) fn follow_checkpoints(&mut self, chat: ChatId, turn: &mut Turn) {
        let Some(group) = self.groups.get_mut(&chat) else { return };
        if group.checked.map(|checked| checked.id) != group.membership.checkpoint {
            group.compare_checkpoint();
        }
        self.tell_dispute(chat, turn);
        self.plan_checkpoint(chat, turn);
    }

    /// Says once of each checkpoint that something else comes out here.
    fn tell_dispute(&mut self, chat: ChatId, turn: &mut Turn) {
        let Some(group) = self.groups.get_mut(&chat) else { return };
        let Some(id) = group.untold_dispute() else { return };
        group.rec.disputed = id.0.to_vec();
        let author = group.graph.operation(&id).map(|operation| operation.author().account);
        self.save_group(&chat, turn);
        if let Some(account) = author {
            let name = self.member_name(&chat, &account);
            turn.event(Some(chat), None, EventKind::GroupDisputed { account, name });
        }
    }

    /// Arms the wake for the next checkpoint, if one is due that this account may write.
    pub(super) fn plan_checkpoint(&mut self, chat: ChatId, turn: &Turn) {
        let own = self.own.as_ref().map(super::super::account::Own::aid);
        let Some((group, own)) = self.groups.get(&chat).zip(own) else { return };
        if group.untold_dispute().is_some() {
            // Another version was started: what agreed before may not any more.
            self.timers.set(Timer::Checkpoint(chat), turn.now.moment);
        } else if group.owes_checkpoint(&own) {
            let wait = self.chance.below(CHECKPOINT_PATIENCE_MS);
            self.timers.set_if_unarmed(Timer::Checkpoint(chat), turn.now.moment.after_ms(wait));
        }
    }

    /// Writes a checkpoint, unless somebody else has.
    pub(in super::super) fn checkpoint_timer(&mut self, chat: ChatId, turn: &mut Turn) -> Result<(), StoreError> {
        self.tell_dispute(chat, turn);
        let own = self.own.as_ref().map(super::super::account::Own::aid);
        if !own.zip(self.groups.get(&chat)).is_some_and(|(own, group)| group.owes_checkpoint(&own)) {
            return Ok(());
        }
        // Before the operation that says what the group is: this may write a rekey.
        if self.ready_keys(chat, turn)?.is_none() {
            return Ok(());
        }
        let Some(group) = self.groups.get(&chat) else { return Ok(()) };
        let parents = group.graph.parents_for(&group.membership);
        let Some(state_hash) = group.graph.state_after(&parents).map(|hash| hash.to_vec()) else { return Ok(()) };
        // Refused where a role or the room for operations has gone meanwhile: somebody else will write one.
        let _refused = self.write_operation(chat, &Kind::Checkpoint { state_hash }, turn)?;
        Ok(())
    }
}

impl Group {
    /// A checkpoint is due that this account may write.
    fn owes_checkpoint(&self, own: &AccountId) -> bool {
        self.takes_part() && self.role_of(own) >= Some(GroupRole::Admin) && self.checkpoint_due()
    }

    /// Enough has happened since the last one, as far as one written now would know of it.
    fn checkpoint_due(&self) -> bool {
        let covered = self.membership.checkpoint.and_then(|id| self.graph.known_to(&id)).unwrap_or(0);
        let known = || self.graph.known_after(&self.graph.parents_for(&self.membership)).unwrap_or(0);
        self.graph.count().saturating_sub(covered) >= GROUP_CHECKPOINT_OPERATIONS
            && known().saturating_sub(covered) >= GROUP_CHECKPOINT_OPERATIONS
    }

    /// A checkpoint on which something else comes out here, and nobody was told yet.
    fn untold_dispute(&self) -> Option<OperationId> {
        let checked = self.checked.filter(|checked| !checked.agrees)?;
        (self.rec.disputed != checked.id.0).then_some(checked.id)
    }

    /// Says whether what the last checkpoint says is what comes out here.
    pub(super) fn compare_checkpoint(&mut self) {
        let last = self.membership.checkpoint;
        self.checked = last.and_then(|id| Some(Checked { id, agrees: self.graph.agrees_with(&id)? }));
    }

    /// The last checkpoint as it is shown.
    pub(super) fn checkpoint_view(&self) -> Option<CheckpointView> {
        let Checked { id, agrees } = self.checked?;
        let by = self.graph.operation(&id)?.author().account;
        let operations = u32::try_from(self.graph.known_to(&id)?).unwrap_or(u32::MAX);
        Some(CheckpointView { by, operations, agrees })
    }
}
