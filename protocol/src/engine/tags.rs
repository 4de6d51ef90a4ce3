//! The tags this device listens for, and mail that was here before its tag was one of them.
//!
//! Windows reach only so far: of mail by carriers the tenth message of a chain can be the first to arrive. It is carried
//! like mail for a stranger then, and has to be looked at again when the window has moved.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::turn::Turn;
use super::{Engine, TagOwner};
use crate::carry::routing::DISTANCE_MAX;
use crate::ids::Tag;
use crate::store::{StoreError, Table};

/// Every tag an envelope may carry that is not opened or stored as skipped.
#[derive(Default)]
pub(super) struct Tags {
    owners: BTreeMap<Tag, TagOwner>,
    /// Those for which carried mail has not been looked through.
    came: Vec<Tag>,
}

impl Tags {
    pub(super) fn insert(&mut self, tag: Tag, owner: TagOwner) {
        if self.owners.insert(tag, owner).is_none() {
            self.came.push(tag);
        }
    }

    pub(super) fn remove(&mut self, tag: &Tag) {
        self.owners.remove(tag);
    }

    /// What carries this tag can be opened from now on, by a stored key.
    pub(super) fn skipped(&mut self, tag: Tag) {
        self.owners.remove(&tag);
        self.came.push(tag);
    }

    pub(super) fn get(&self, tag: &Tag) -> Option<&TagOwner> {
        self.owners.get(tag)
    }

    pub(super) fn has(&self, tag: &Tag) -> bool {
        self.owners.contains_key(tag)
    }

    pub(super) fn has_any(&self, range: RangeInclusive<Tag>) -> bool {
        self.owners.range(range).next().is_some()
    }
}

impl Engine {
    /// Opens what is carried under tags that came to be listened for in this turn.
    pub(super) fn open_what_was_carried(&mut self, turn: &mut Turn) -> Result<(), StoreError> {
        if self.carried.is_empty() {
            self.tags.came.clear();
        }
        // What is opened moves windows on.
        while !self.tags.came.is_empty() {
            for tag in std::mem::take(&mut self.tags.came) {
                for cid in self.carried.named(&tag) {
                    let Some(envelope) = turn.value(Table::Carried, cid.as_bytes())? else { continue };
                    if self.opened_from_carrier(&envelope, turn)? {
                        let write = self.carried.change(&cid, |copy| copy.distance = DISTANCE_MAX);
                        self.couriers_write(write.into_iter().collect(), turn);
                    }
                }
            }
        }
        Ok(())
    }
}
