//! What people do in groups: make one, change it, write to it, look at it. Everything waits in virtual time.

use silbo_protocol::group::{GroupRole, GroupState, GroupView};
use silbo_protocol::ids::{ChatId, MessageId};
use silbo_protocol::input::Request;
use silbo_protocol::limits::GROUP_ADDITIONS_MAX;
use silbo_protocol::step::Reply;

use crate::failure::Failure;
use crate::node::NodeId;
use crate::people::text_request;
use crate::world::World;

impl World {
    /// Makes a group of contacts of `by`.
    ///
    /// # Errors
    /// As [`World::request`].
    pub fn create_group(&mut self, by: NodeId, members: &[NodeId]) -> Result<ChatId, Failure> {
        let members = self.chats_of(members)?;
        let request = Request::GroupCreate { name: String::from("climbing"), topic: String::new(), members };
        match self.request(by, request)? {
            Reply::Group(view) => Ok(view.chat),
            other => Err(Failure::Unexpected(format!("wanted a group, got {other:?}"))),
        }
    }

    /// Makes a group whose founder is a contact of everybody, and waits until all of them know all of them.
    ///
    /// # Errors
    /// As [`World::request`].
    pub fn founded_group(&mut self, members: &[NodeId]) -> Result<ChatId, Failure> {
        let Some((founder, others)) = members.split_first() else {
            return Err(Failure::Unexpected(String::from("a group begins with somebody")));
        };
        for other in others {
            self.befriend(*founder, *other)?;
        }
        let (first, rest) = others.split_at(others.len().min(GROUP_ADDITIONS_MAX));
        let chat = self.create_group(*founder, first)?;
        for more in rest.chunks(GROUP_ADDITIONS_MAX) {
            self.add_members(*founder, chat, more)?;
        }
        for member in members {
            self.wait_members(*member, chat, members.len())?;
        }
        Ok(chat)
    }

    /// A group as a node sees it; `None` while it knows of none.
    ///
    /// # Errors
    /// As [`World::request`].
    pub fn group(&mut self, of: NodeId, chat: ChatId) -> Result<Option<GroupView>, Failure> {
        match self.request(of, Request::Group { chat }) {
            Ok(Reply::Group(view)) => Ok(Some(*view)),
            Ok(other) => Err(Failure::Unexpected(format!("wanted a group, got {other:?}"))),
            Err(Failure::Refused { .. }) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Waits until a node takes part in a group of so many.
    ///
    /// # Errors
    /// `TimedOut`, or as [`World::request`].
    pub fn wait_members(&mut self, of: NodeId, chat: ChatId, count: usize) -> Result<GroupView, Failure> {
        const PATIENCE_S: u64 = 600;
        for _ in 0..PATIENCE_S {
            let view = self.group(of, chat)?;
            if let Some(view) = view.filter(|view| view.members.len() == count && view.state == GroupState::Active) {
                return Ok(view);
            }
            self.run_for(1_000)?;
        }
        let last = self.group(of, chat)?.map(|view| (view.state, view.members.len()));
        let what = format!("{} is in a group of {count}, last seen {last:?}", self.node(of).name);
        Err(Failure::TimedOut { waited_ms: PATIENCE_S * 1_000, what, state: self.summary() })
    }

    /// Writes to a group.
    ///
    /// # Errors
    /// As [`World::request`].
    pub fn say(&mut self, by: NodeId, chat: ChatId, text: &str) -> Result<MessageId, Failure> {
        match self.request(by, text_request(chat, text, None))? {
            Reply::Message { id, .. } => Ok(id),
            other => Err(Failure::Unexpected(format!("wanted a message id, got {other:?}"))),
        }
    }

    /// Adds contacts of `by` to a group.
    ///
    /// # Errors
    /// As [`World::request`].
    pub fn add_members(&mut self, by: NodeId, chat: ChatId, members: &[NodeId]) -> Result<(), Failure> {
        let members = self.chats_of(members)?;
        self.request(by, Request::GroupAdd { chat, members }).map(|_| ())
    }

    /// Removes somebody from a group.
    ///
    /// # Errors
    /// As [`World::request`].
    pub fn remove_member(&mut self, by: NodeId, chat: ChatId, member: NodeId) -> Result<(), Failure> {
        let members = vec![self.account_of(member)?];
        self.request(by, Request::GroupRemove { chat, members, with_branch: false }).map(|_| ())
    }

    /// Gives a member another role.
    ///
    /// # Errors
    /// As [`World::request`].
    pub fn set_role(&mut self, by: NodeId, chat: ChatId, member: NodeId, role: GroupRole) -> Result<(), Failure> {
        let member = self.account_of(member)?;
        self.request(by, Request::GroupSetRole { chat, member, role }).map(|_| ())
    }

    /// Sets whether every node of one part is out of reach of every node of another.
    pub fn split(&mut self, parts: &[&[NodeId]], apart: bool) {
        for (at, part) in parts.iter().enumerate() {
            let others = parts.iter().skip(at + 1).flat_map(|other| other.iter());
            for (a, b) in others.flat_map(|b| part.iter().map(move |a| (*a, *b))) {
                match apart {
                    true => self.block_pair(a, b),
                    false => self.unblock_pair(a, b),
                }
            }
        }
    }

    fn chats_of(&self, nodes: &[NodeId]) -> Result<Vec<ChatId>, Failure> {
        nodes.iter().map(|node| self.chat_of(*node)).collect()
    }

    fn account_of(&self, id: NodeId) -> Result<silbo_protocol::ids::AccountId, Failure> {
        let node = self.node(id);
        node.account.ok_or_else(|| Failure::Unexpected(format!("{} has no account", node.name)))
    }
}
