//! Groups: one signed graph of operations, one ring of keys, and sealed letters that any member can hand on.
//!
//! ```text
//!   changes.rs     what a person does to a group         operations.rs  operations written here, and taken in
//!   keys.rs        rekeys, merged heads, complements      letters.rs     letters sealed and opened
//!   joining.rs     welcomes, links, requests              members.rs     members who are no contacts
//!   deliveries.rs  who has an own message                 sync.rs        members compare and exchange letters
//!   views.rs       a group as people see it               history.rs    what newcomers read of before
//!   slices.rs      rekeys of large groups                receipts.rs    receipts that go back the way
//!   checkpoints.rs what all come to, compared            missing_operations.rs  those that are asked for
//! ```
//! Everything in a group travels as letters: operations, texts, what members call themselves and where they take
//! mail, and which letters they have. The founder's device is one like the others. A newcomer is told what it needs
//! in the session it has with whoever lets it in.

mod changes;
mod checkpoints;
mod deliveries;
mod history;
pub(super) mod joining;
mod keys;
mod letters;
mod members;
mod missing_operations;
mod operations;
mod receipts;
mod slices;
pub(super) mod sync;
mod views;

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use super::records::state::{GroupRecord, LetterRecord};
use super::records::{each, each_under};
use super::timers::Timer;
use super::turn::Turn;
use super::{Answer, Engine, TagOwner};
use crate::crypto::ed25519::VerifyingKey;
use crate::group::chain::{Chain, EpochChains, LetterPlace, SenderChains, SkippedLetter};
use crate::group::graph::Graph;
use crate::group::key_ring::KeyRing;
use crate::group::membership::Membership;
use crate::group::operation::Operation;
use crate::group::receipt::LetterReceipt;
use crate::group::welcome::read_heads;
use crate::group::{GroupRole, GroupState};
use crate::ids::{AccountId, ChatId, Cid, EpochId, GroupDevice, GroupId, OperationId, Tag};
use crate::input::{Request, RequestId};
use crate::store::{StoreError, Table};
use crate::time::UnixTime;
use crate::wire::envelope::Envelope;
use crate::wire::proto;

/// A group, decoded.
pub(super) struct Group {
    pub(super) rec: GroupRecord,
    graph: Graph,
    /// What the graph says; worked out anew when it grows.
    membership: Membership,
    ring: KeyRing,
    chains: SenderChains,
    /// Keys every device has ever signed with here: letters are checked against them.
    signers: BTreeMap<GroupDevice, Vec<VerifyingKey>>,
    /// Letters that are kept for others.
    letters: BTreeMap<Cid, StoredLetter>,
    /// The same by tag: an opened letter that comes again is known.
    letter_tags: BTreeMap<Tag, Cid>,
    /// Letters among them that no key fits yet.
    unread: BTreeMap<Cid, UnreadLetter>,
    /// They are being looked through.
    reading: bool,
    /// Operations that other members named and that are not here.
    named: BTreeSet<OperationId>,
    /// Who handed a letter over: the way back for receipts.
    ways: BTreeMap<Cid, AccountId>,
    /// Receipts that wait for others, or for a link, by the member they go to next and the letter.
    receipts: BTreeMap<(AccountId, Cid), BTreeSet<LetterReceipt>>,
    /// Rekeys whose slices travel on their own.
    slices: slices::Kept,
    /// The last checkpoint, compared.
    checked: Option<checkpoints::Checked>,
}

/// What is known of a letter that is kept.
#[derive(Clone, Copy, Debug)]
struct StoredLetter {
    tag: Tag,
    expires_at: UnixTime,
    /// False while nobody's key fits.
    opened: bool,
}

/// A letter that no key fits yet.
#[derive(Clone, Debug)]
struct UnreadLetter {
    tag: Tag,
    /// Of its epoch, if it is said to have several.
    heads: Vec<OperationId>,
}

impl Group {
    /// Letters that are here for other members.
    pub(super) fn letter_names(&self) -> impl Iterator<Item = &Cid> {
        self.letters.keys()
    }

    fn new(graph: Graph, me: GroupDevice, rec: GroupRecord) -> Self {
        let membership = graph.membership();
        let ring = KeyRing::new(graph.group(), me);
        let mut group = Self {
            rec,
            graph,
            membership,
            ring,
            chains: SenderChains::default(),
            signers: BTreeMap::new(),
            letters: BTreeMap::new(),
            letter_tags: BTreeMap::new(),
            unread: BTreeMap::new(),
            reading: false,
            named: BTreeSet::new(),
            ways: BTreeMap::new(),
            receipts: BTreeMap::new(),
            slices: slices::Kept::default(),
            checked: None,
        };
        group.compare_checkpoint();
        for id in group.graph.operations().map(Operation::id).collect::<Vec<_>>() {
            group.note_signers(&id);
        }
        group
    }

    fn note_signers(&mut self, id: &OperationId) {
        let Some(operation) = self.graph.operation(id) else { return };
        let account = operation.owner_of_devices();
        for device in operation.kind().devices() {
            let known = self.signers.entry(GroupDevice { account, device: device.id }).or_default();
            if !known.contains(&device.sign) {
                known.push(device.sign);
            }
        }
    }

    fn id(&self) -> GroupId {
        self.graph.group()
    }

    pub(super) fn state(&self) -> GroupState {
        match self.rec.state {
            1 => GroupState::Active,
            2 => GroupState::Left,
            3 => GroupState::Removed,
            _ => GroupState::Joining,
        }
    }

    fn set_state(&mut self, state: GroupState) {
        self.rec.state = match state {
            GroupState::Joining => 0,
            GroupState::Active => 1,
            GroupState::Left => 2,
            GroupState::Removed => 3,
        };
    }

    /// True while letters go to and fro.
    fn takes_part(&self) -> bool {
        self.state() == GroupState::Active
    }

    fn has_member(&self, account: &AccountId) -> bool {
        self.membership.roster.contains_key(account)
    }

    fn role_of(&self, account: &AccountId) -> Option<GroupRole> {
        self.membership.roster.get(account).map(|member| member.role)
    }

    pub(super) fn name(&self) -> &str {
        self.membership.info.name.as_deref().unwrap_or_default()
    }

    /// Conversations of everybody in it, this account included.
    pub(super) fn lanes(&self) -> impl Iterator<Item = ChatId> {
        self.membership.roster.keys().map(AccountId::chat)
    }

    fn others(&self, own: &AccountId) -> Vec<AccountId> {
        self.membership.roster.keys().filter(|account| *account != own).copied().collect()
    }
}

impl Engine {
    /// Answers a request about groups. `Ok(None)`: the reply comes later.
    pub(super) fn group_request(
        &mut self,
        id: RequestId,
        request: Request,
        turn: &mut Turn,
    ) -> Result<Option<Answer>, StoreError> {
        let answer = match request {
            Request::GroupCreate { name, topic, members } => self.group_create(name, topic, &members, turn)?,
            Request::GroupList => Ok(crate::step::Reply::Groups(self.group_views())),
            Request::Group { chat } => self.group_reply(&chat),
            Request::GroupSet { chat, changes } => self.group_set(chat, changes, turn)?,
            Request::GroupAdd { chat, members } => self.group_add(chat, &members, turn)?,
            Request::GroupRemove { chat, members, with_branch } => {
                self.group_remove(chat, &members, with_branch, turn)?
            }
            Request::GroupSetRole { chat, member, role } => self.group_set_role(chat, member, role, turn)?,
            Request::GroupMute { chat, member, seconds } => self.group_mute(chat, member, seconds, turn)?,
            Request::GroupLeave { chat } => self.group_leave(chat, turn)?,
            Request::GroupInvite { chat, uses, ttl_ms, approval } => {
                return self.group_invite(id, chat, uses, ttl_ms, approval, turn);
            }
            Request::GroupLinkRevoke { chat, link } => self.group_link_revoke(chat, OperationId(link), turn)?,
            Request::GroupJoin { link } => self.group_join(&link, turn)?,
            Request::GroupDecide { chat, member, accept } => self.group_decide(chat, member, accept, turn)?,
            Request::Deliveries { id } => self.deliveries(id, turn)?,
            _ => super::not_found("request"),
        };
        Ok(Some(answer))
    }

    pub(super) fn is_member(&self, chat: &ChatId, account: &AccountId) -> bool {
        self.groups.get(chat).is_some_and(|group| group.has_member(account))
    }

    /// The role of a member; `None` for anybody else.
    pub(super) fn role_in(&self, chat: &ChatId, account: &AccountId) -> Option<GroupRole> {
        self.groups.get(chat)?.role_of(account)
    }

    /// The members of a group with the names they gave themselves; none for any other conversation.
    pub(super) fn names_in(&self, chat: &ChatId) -> Vec<(AccountId, String)> {
        let Some(group) = self.groups.get(chat) else { return Vec::new() };
        group.membership.roster.keys().map(|account| (*account, self.member_name(chat, account))).collect()
    }

    fn own_device(&self) -> Option<GroupDevice> {
        let own = self.own.as_ref()?;
        Some(GroupDevice { account: own.aid(), device: own.account.device_id() })
    }

    // ---- stored form

    /// Reads every group that was committed.
    pub(super) fn load_groups(&mut self, turn: &Turn) -> Result<(), StoreError> {
        let Some(me) = self.own_device() else { return Ok(()) };
        let mut records: BTreeMap<ChatId, GroupRecord> = BTreeMap::new();
        each(turn, Table::Group, |key, value| {
            records.insert(ChatId::read(key)?, GroupRecord::decode(value).ok()?);
            Some(())
        })?;
        for (chat, rec) in records {
            if rec.genesis.is_empty() {
                self.joining.insert(chat, rec);
                continue;
            }
            let group = read_group(&chat, me, rec, turn)?;
            if !group.rec.unconfirmed.is_empty() {
                self.timers.set(Timer::TellSeen(chat), turn.now.moment);
            }
            if !group.rec.behind.is_empty() {
                self.timers.set(Timer::Complement(chat), turn.now.moment);
            }
            for (tag, place) in group.chains.tags() {
                self.tags.insert(tag, TagOwner::Group(chat, place));
            }
            self.groups.insert(chat, group);
            self.plan_checkpoint(chat, turn);
            self.load_slices(&chat, turn)?;
        }
        Ok(())
    }

    fn save_group(&self, chat: &ChatId, turn: &mut Turn) {
        if let Some(group) = self.groups.get(chat) {
            turn.put_record(Table::Group, chat.as_bytes(), &group.rec);
        }
    }

    fn save_ring(&self, chat: &ChatId, turn: &mut Turn) {
        if let Some(group) = self.groups.get(chat) {
            turn.put(Table::GroupEpoch, chat.as_bytes(), group.ring.encode());
        }
    }
}

/// Puts a group together from its records.
fn read_group(chat: &ChatId, me: GroupDevice, rec: GroupRecord, turn: &Turn) -> Result<Group, StoreError> {
    let prefix = chat.as_bytes();
    let damaged = |table| StoreError::Damaged { table };
    let mut operations: BTreeMap<(u64, OperationId), Operation> = BTreeMap::new();
    each_under(turn, Table::GroupOperation, prefix, |_, value| {
        let operation = read_operation(value)?;
        operations.insert((operation.lamport(), operation.id()), operation);
        Some(())
    })?;
    // Parents have smaller numbers.
    let graph = read_graph(operations.into_values()).ok_or(damaged(Table::GroupOperation))?;
    let mut group = Group::new(graph, me, rec);
    // By when they came; several may have come at the same moment.
    let mut silent: BTreeMap<(u64, EpochId), Vec<u8>> = BTreeMap::new();
    each_under(turn, Table::GroupEpoch, prefix, |epoch, value| {
        if epoch.is_empty() {
            group.ring = KeyRing::decode(value, &operations::key_operations(&group))?;
        } else {
            let (order, bytes) = value.split_first_chunk::<8>()?;
            silent.insert((u64::from_be_bytes(*order), EpochId::read(epoch)?), bytes.to_vec());
        }
        Some(())
    })?;
    let mut heard: BTreeMap<EpochId, Vec<(u16, Chain)>> = BTreeMap::new();
    each_under(turn, Table::GroupChain, prefix, |place, value| {
        let (epoch, writer) = place.split_at_checked(EpochId::LEN)?;
        let chain = (u16::from_be_bytes(writer.try_into().ok()?), Chain::decode(value)?);
        heard.entry(EpochId::read(epoch)?).or_default().push(chain);
        Some(())
    })?;
    let mut epochs = Vec::new();
    for ((_, epoch), bytes) in silent {
        let heard = heard.remove(&epoch).unwrap_or_default();
        epochs.push((epoch, EpochChains::decode(&bytes, &heard).ok_or(damaged(Table::GroupChain))?));
    }
    let mut skipped = Vec::new();
    each_under(turn, Table::GroupSkipped, prefix, |place, value| {
        skipped.push((read_place(place)?, SkippedLetter::decode(value)?));
        Some(())
    })?;
    group.chains = SenderChains::restore(epochs, skipped).ok_or(damaged(Table::GroupSkipped))?;
    each_under(turn, Table::GroupLetter, prefix, |letter, value| {
        let (letter, record) = (Cid::read(letter)?, LetterRecord::decode(value).ok()?);
        let (tag, opened) = (Envelope::parse(&record.envelope).ok()?.tag, record.opened);
        let heads = read_heads(&record.heads).unwrap_or_default();
        group.note_letter(letter, StoredLetter { tag, expires_at: UnixTime(record.expires_at), opened }, heads);
        Some(())
    })?;
    Ok(group)
}

/// The graph of operations of which parents come first.
fn read_graph(mut operations: impl Iterator<Item = Operation>) -> Option<Graph> {
    let mut graph = Graph::new(operations.next()?).ok()?;
    for operation in operations {
        let author = operation.author().account;
        graph.insert(operation, &author).ok()?;
    }
    Some(graph)
}

fn read_operation(bytes: &[u8]) -> Option<Operation> {
    Operation::read(&proto::Signed::decode(bytes).ok()?).ok()
}

fn epoch_key(chat: &ChatId, epoch: &EpochId) -> Vec<u8> {
    [chat.as_bytes(), epoch.as_bytes()].concat()
}

fn chain_key(chat: &ChatId, epoch: &EpochId, writer: u16) -> Vec<u8> {
    [chat.as_bytes(), epoch.as_bytes(), &writer.to_be_bytes()].concat()
}

fn place_key(chat: &ChatId, place: &LetterPlace) -> Vec<u8> {
    [&chain_key(chat, &place.epoch, place.writer)[..], &place.n.to_be_bytes()].concat()
}

fn read_place(bytes: &[u8]) -> Option<LetterPlace> {
    let (epoch, rest) = bytes.split_at_checked(EpochId::LEN)?;
    let (writer, n) = rest.split_first_chunk::<2>()?;
    Some(LetterPlace {
        epoch: EpochId::read(epoch)?,
        writer: u16::from_be_bytes(*writer),
        n: u32::from_be_bytes(n.try_into().ok()?),
    })
}
