//! How far an own message to a group has come with each member.
//!
//! Evidence is a receipt on a link that has proven the member, or a letter of the member that says what it has stored.
//! A preimage alone is none: every member can compute those of all letters.

use super::super::Engine;
use super::super::records::state::{GroupDeliveryRecord, HopRecord, MemberDelivery as DeliveryOf};
use super::super::turn::Turn;
use super::super::{Answer, not_found};
use crate::conversation::path_code;
use crate::group::MemberDelivery;
use crate::ids::{AccountId, ChatId, MessageId};
use crate::step::{DeliveryState, FailReason, Path, Reply};
use crate::store::{StoreError, Table};
use crate::time::UnixTime;

const QUEUED: u32 = 0;
const DELIVERED: u32 = 1;
const FAILED: u32 = 2;

impl Engine {
    /// Begins to follow a message to these members.
    pub(super) fn follow_delivery(&mut self, chat: ChatId, id: MessageId, members: &[AccountId], turn: &mut Turn) {
        let members = members.iter().map(|account| DeliveryOf { aid: account.0.to_vec(), state: QUEUED, at: 0 });
        turn.put_record(Table::GroupDelivery, &key(&chat, &id), &GroupDeliveryRecord { members: members.collect() });
    }

    /// A member has stored a message of ours.
    pub(super) fn member_has(
        &mut self,
        chat: ChatId,
        id: MessageId,
        account: AccountId,
        path: Option<Path>,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        if !self.settle_delivery(chat, id, &account, DELIVERED, turn)? {
            return Ok(());
        }
        let hop = HopRecord {
            at: turn.now.unix.0,
            what: "delivered".to_owned(),
            path: path_code(path),
            peer: account.0.to_vec(),
            until: 0,
        };
        self.add_hop(&chat, &id, hop, turn)?;
        self.raise_to_members(chat, id, path, turn)
    }

    /// Nobody tries any more to bring a message to a member.
    pub(in super::super) fn letter_failed(
        &mut self,
        chat: ChatId,
        id: MessageId,
        lane: ChatId,
        reason: FailReason,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let Some(account) = self.contacts.get(&lane).and_then(|contact| contact.aid()) else { return Ok(()) };
        if !self.settle_delivery(chat, id, &account, FAILED, turn)? {
            return Ok(());
        }
        let record: GroupDeliveryRecord = turn.record(Table::GroupDelivery, &key(&chat, &id))?.unwrap_or_default();
        if record.members.iter().all(|member| member.state == FAILED) {
            return self.raise(chat, id, DeliveryState::Failed(reason), None, turn);
        }
        self.raise_to_members(chat, id, None, turn)
    }

    /// True if it was news.
    fn settle_delivery(
        &mut self,
        chat: ChatId,
        id: MessageId,
        account: &AccountId,
        state: u32,
        turn: &mut Turn,
    ) -> Result<bool, StoreError> {
        let Some(mut record) = turn.record::<GroupDeliveryRecord>(Table::GroupDelivery, &key(&chat, &id))? else {
            return Ok(false);
        };
        // Delivered stays delivered; what failed may still have arrived by another member.
        let waiting = |member: &&mut DeliveryOf| member.aid == account.0 && member.state != DELIVERED;
        let Some(member) = record.members.iter_mut().find(waiting).filter(|member| member.state != state) else {
            return Ok(false);
        };
        (member.state, member.at) = (state, turn.now.unix.0);
        turn.put_record(Table::GroupDelivery, &key(&chat, &id), &record);
        Ok(true)
    }

    /// The state of the message follows from its members: those who are none any more do not count.
    fn raise_to_members(
        &mut self,
        chat: ChatId,
        id: MessageId,
        path: Option<Path>,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let record: GroupDeliveryRecord = turn.record(Table::GroupDelivery, &key(&chat, &id))?.unwrap_or_default();
        let delivered = record.members.iter().filter(|member| member.state == DELIVERED).count();
        let counted = record.members.iter().filter(|member| {
            let here = AccountId::read(&member.aid).is_some_and(|account| self.is_member(&chat, &account));
            member.state == DELIVERED || here
        });
        let of = counted.count();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let state = match delivered {
            0 => return Ok(()),
            all if all == of => DeliveryState::Delivered { at: turn.now.unix },
            some => DeliveryState::Partial { delivered: count(some), of: count(of) },
        };
        self.raise(chat, id, state, path, turn)
    }

    /// Members have gone: messages that waited for nobody else have arrived everywhere.
    pub(super) fn members_gone(&mut self, chat: ChatId, gone: &[AccountId], turn: &mut Turn) -> Result<(), StoreError> {
        for account in gone {
            let lane = account.chat();
            let waiting: Vec<(u64, Option<MessageId>)> = self.outbox.lane(&lane).map_or_else(Vec::new, |queue| {
                let of_group = queue.flights.iter().filter(|(_, flight)| flight.group == Some(chat));
                of_group.map(|(seq, flight)| (*seq, flight.message)).collect()
            });
            for (seq, message) in waiting {
                self.drop_flight(&lane, seq, turn);
                if let Some(id) = message {
                    self.settle_delivery(chat, id, account, FAILED, turn)?;
                    self.raise_to_members(chat, id, None, turn)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn deliveries(&mut self, id: MessageId, turn: &mut Turn) -> Result<Answer, StoreError> {
        let Some(chat) = self.chat_of(&id, turn)? else { return Ok(not_found("message")) };
        let Some(record) = turn.record::<GroupDeliveryRecord>(Table::GroupDelivery, &key(&chat, &id))? else {
            return Ok(not_found("own message to a group"));
        };
        let members = record.members.iter().filter_map(|member| {
            let account = AccountId::read(&member.aid)?;
            let state = match member.state {
                DELIVERED => DeliveryState::Delivered { at: UnixTime(member.at) },
                FAILED => DeliveryState::Failed(FailReason::Expired),
                _ => DeliveryState::Queued,
            };
            Some(MemberDelivery { account, name: self.member_name(&chat, &account), state })
        });
        Ok(Ok(Reply::Deliveries(members.collect())))
    }
}

fn key(chat: &ChatId, id: &MessageId) -> Vec<u8> {
    [chat.as_bytes(), id.as_bytes()].concat()
}
