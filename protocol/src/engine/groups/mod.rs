//! Groups: one signed graph of operations, one ring of keys, and sealed letters that any member can hand on.
//!
//! ```text
//!   changes.rs     what a person does to a group         operations.rs  operations written here, and taken in
//!   keys.rs        rekeys, merged heads, complements      letters.rs     letters sealed and opened
//!   joining.rs     welcomes, links, requests              members.rs     members who are no contacts
//!   deliveries.rs  who has an own message                 sync.rs        members compare and exchange letters
//!   views.rs       a group as people see it
//! ```
//! Everything in a group travels as letters: operations, texts, what members call themselves and where they take
//! mail, and which letters they have. The founder's device is one like the others. A newcomer is told what it needs
//! in the session it has with whoever lets it in.

mod changes;
mod deliveries;
pub(super) mod joining;
mod keys;
mod letters;
mod members;
mod operations;
pub(super) mod sync;
mod views;

use std::collections::BTreeMap;

use prost::Message;

use super::records::each;
use super::records::state::{GroupRecord, LetterRecord};
use super::timers::Timer;
use super::turn::Turn;
use super::{Answer, Engine, TagOwner};
use crate::crypto::ed25519::VerifyingKey;
use crate::group::chain::{Chain, EpochChains, LetterPlace, SenderChains, SkippedLetter};
use crate::group::graph::Graph;
use crate::group::key_ring::KeyRing;
use crate::group::membership::Membership;
use crate::group::operation::{Kind, Operation};
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
}

/// What is known of a letter that is kept.
#[derive(Clone, Copy, Debug)]
struct StoredLetter {
    tag: Tag,
    expires_at: UnixTime,
    /// False while nobody's key fits.
    opened: bool,
}

impl Group {
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
        };
        for id in group.graph.operations().map(Operation::id).collect::<Vec<_>>() {
            group.note_signers(&id);
        }
        group
    }

    fn note_signers(&mut self, id: &OperationId) {
        let Some(operation) = self.graph.operation(id) else { return };
        let account = match operation.kind() {
            Kind::Add { account, .. } | Kind::Join { account, .. } => *account,
            _ => operation.author().account,
        };
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
            let damaged = StoreError::Damaged { table: Table::Group };
            let group = read_group(&chat, me, rec, turn)?.ok_or(damaged)?;
            if !group.rec.unconfirmed.is_empty() {
                self.timers.set(Timer::TellSeen(chat), turn.now.moment);
            }
            for (tag, place) in group.chains.tags() {
                self.tags.insert(tag, TagOwner::Group(chat, place));
            }
            self.groups.insert(chat, group);
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

/// Puts a group together from its records; `None` if one of them is damaged.
fn read_group(chat: &ChatId, me: GroupDevice, rec: GroupRecord, turn: &Turn) -> Result<Option<Group>, StoreError> {
    let prefix = chat.as_bytes();
    let mut operations: BTreeMap<(u64, OperationId), Operation> = BTreeMap::new();
    for value in scan(turn, Table::GroupOperation, prefix)?.into_iter().map(|(_, value)| value) {
        let Some(operation) = read_operation(&value) else { return Ok(None) };
        operations.insert((operation.lamport(), operation.id()), operation);
    }
    // Parents have smaller numbers.
    let mut operations = operations.into_values();
    let Some(mut graph) = operations.next().and_then(|genesis| Graph::new(genesis).ok()) else { return Ok(None) };
    for operation in operations {
        let author = operation.author().account;
        if graph.insert(operation, &author).is_err() {
            return Ok(None);
        }
    }
    let mut group = Group::new(graph, me, rec);
    // By when they came; several may have come at the same moment.
    let mut silent: BTreeMap<(u64, EpochId), Vec<u8>> = BTreeMap::new();
    for (key, value) in scan(turn, Table::GroupEpoch, prefix)? {
        let read = match key.get(ChatId::LEN..) {
            Some([]) => {
                let known = operations::key_operations(&group);
                KeyRing::decode(&value, &known).map(|ring| group.ring = ring)
            }
            Some(epoch) => value.split_first_chunk::<8>().zip(EpochId::read(epoch)).map(|((order, bytes), epoch)| {
                silent.insert((u64::from_be_bytes(*order), epoch), bytes.to_vec());
            }),
            None => None,
        };
        if read.is_none() {
            return Ok(None);
        }
    }
    let mut heard: BTreeMap<EpochId, Vec<(u16, Chain)>> = BTreeMap::new();
    for (key, value) in scan(turn, Table::GroupChain, prefix)? {
        let place = key.get(ChatId::LEN..).and_then(|rest| rest.split_at_checked(EpochId::LEN));
        let read = place.and_then(|(epoch, writer)| {
            Some((EpochId::read(epoch)?, u16::from_be_bytes(writer.try_into().ok()?), Chain::decode(&value)?))
        });
        let Some((epoch, writer, chain)) = read else { return Ok(None) };
        heard.entry(epoch).or_default().push((writer, chain));
    }
    let mut epochs = Vec::new();
    for ((_, epoch), bytes) in silent {
        let heard = heard.remove(&epoch).unwrap_or_default();
        let Some(chains) = EpochChains::decode(&bytes, &heard) else { return Ok(None) };
        epochs.push((epoch, chains));
    }
    let mut skipped = Vec::new();
    for (key, value) in scan(turn, Table::GroupSkipped, prefix)? {
        let place = key.get(ChatId::LEN..).and_then(read_place);
        let Some(read) = place.zip(SkippedLetter::decode(&value)) else { return Ok(None) };
        skipped.push(read);
    }
    let Some(chains) = SenderChains::restore(epochs, skipped) else { return Ok(None) };
    group.chains = chains;
    for (key, value) in scan(turn, Table::GroupLetter, prefix)? {
        let record = LetterRecord::decode(value.as_slice()).ok();
        let Some((letter, record)) = key.get(ChatId::LEN..).and_then(Cid::read).zip(record) else { return Ok(None) };
        let Ok(envelope) = Envelope::parse(&record.envelope) else { return Ok(None) };
        let (tag, expires_at) = (envelope.tag, UnixTime(record.expires_at));
        group.letters.insert(letter, StoredLetter { tag, expires_at, opened: record.opened });
        if record.opened {
            group.letter_tags.insert(tag, letter);
        }
    }
    Ok(Some(group))
}

fn read_operation(bytes: &[u8]) -> Option<Operation> {
    Operation::read(&proto::Signed::decode(bytes).ok()?).ok()
}

fn scan(turn: &Turn, table: Table, prefix: &[u8]) -> Result<Vec<crate::store::Pair>, StoreError> {
    const PAGE: usize = 512;
    let mut out: Vec<crate::store::Pair> = Vec::new();
    loop {
        let after = out.last().map(|(key, _)| key.clone());
        let page = turn.store().scan(table, prefix, after.as_deref(), PAGE)?;
        if page.is_empty() {
            return Ok(out);
        }
        out.extend(page);
    }
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
