//! What people do in the world: make accounts, become contacts, write. Everything waits in virtual time.

use silbo_protocol::ids::{ChatId, MessageId};
use silbo_protocol::input::{InviteKind, RelayLimits, Request, RequestId};
use silbo_protocol::limits;
use silbo_protocol::step::{ContactState, ContactView, DeliveryState, EventKind, InviteView, Reply, StatusView};
use silbo_protocol::time::{DAY_MS, MINUTE_MS};

use crate::failure::Failure;
use crate::network::Reach;
use crate::node::NodeId;
use crate::world::World;

/// Longest wait for an answer to a request.
const ANSWER_MS_MAX: u64 = 2 * MINUTE_MS;

/// Limits of the relays of this world: the defaults.
pub const RELAY_LIMITS: RelayLimits = RelayLimits {
    retention_days: limits::RETENTION_DAYS_DEFAULT,
    queue_envelopes_max: limits::QUEUE_ENVELOPES_MAX,
    queue_kib_max: limits::QUEUE_KIB_MAX,
    total_mib_max: limits::RELAY_TOTAL_MIB_MAX,
};

impl World {
    /// Adds a node with an account.
    ///
    /// # Errors
    /// As [`World::request`].
    pub fn person(&mut self, name: &str) -> Result<NodeId, Failure> {
        self.person_at(name, Reach::default())
    }

    /// The same for a node that others reach as `reach` says.
    ///
    /// # Errors
    /// As [`World::request`].
    pub fn person_at(&mut self, name: &str, reach: Reach) -> Result<NodeId, Failure> {
        let id = self.add_node_at(name, None, reach);
        self.create_account(id)?;
        Ok(id)
    }

    /// Adds a node that serves as relay.
    ///
    /// # Errors
    /// As [`World::request`].
    pub fn relay(&mut self, name: &str) -> Result<NodeId, Failure> {
        let id = self.add_node(name, Some(RELAY_LIMITS));
        self.serve(id)?;
        Ok(id)
    }

    /// Turns the relay role of a node on, as after a wipe.
    ///
    /// # Errors
    /// As [`World::request`].
    pub fn serve(&mut self, id: NodeId) -> Result<(), Failure> {
        self.request(id, Request::RelayServe { limits: Some(RELAY_LIMITS) })?;
        Ok(())
    }

    /// Asks a node and waits for its answer.
    ///
    /// # Errors
    /// `Refused` with the node's answer, `TimedOut`, or a broken invariant.
    pub fn request(&mut self, id: NodeId, request: Request) -> Result<Reply, Failure> {
        let what = format!("answer to {request:?}");
        let request_id = self.post(id, request);
        self.run_until(&what, ANSWER_MS_MAX, |world| {
            let node = world.node(id);
            node.replies.contains_key(&request_id) || node.requests_lost.contains(&request_id)
        })?;
        self.answer(id, request_id)
    }

    /// The answer to a posted request.
    ///
    /// # Errors
    /// `Refused` with the node's answer, `Unexpected` when there is none (yet).
    pub fn answer(&self, id: NodeId, request: RequestId) -> Result<Reply, Failure> {
        let node = self.node(id);
        match node.replies.get(&request) {
            Some(Ok(reply)) => Ok(reply.clone()),
            Some(Err(error)) => Err(Failure::Refused { node: node.name.clone(), error: error.clone() }),
            None => Err(Failure::Unexpected(format!("{} did not answer {request:?}", node.name))),
        }
    }

    /// Makes the two nodes contacts of each other: `a` invites, `b` follows.
    ///
    /// # Errors
    /// As [`World::request`].
    pub fn befriend(&mut self, a: NodeId, b: NodeId) -> Result<(), Failure> {
        let invite = self.invite(a, InviteKind::OneTime)?;
        self.follow(b, &invite.link)?;
        self.wait_active(a, b)
    }

    /// Waits until both count as contacts of each other.
    ///
    /// # Errors
    /// As [`World::request`].
    pub fn wait_active(&mut self, a: NodeId, b: NodeId) -> Result<(), Failure> {
        for _ in 0..120 {
            if self.is_active(a, b)? && self.is_active(b, a)? {
                return Ok(());
            }
            self.run_for(5_000)?;
        }
        Err(Failure::TimedOut {
            waited_ms: 120 * 5_000,
            what: String::from("both are contacts"),
            state: self.summary(),
        })
    }

    /// Makes an invitation that lasts a week.
    ///
    /// # Errors
    /// As [`World::request`].
    pub fn invite(&mut self, id: NodeId, kind: InviteKind) -> Result<InviteView, Failure> {
        match self.request(id, Request::InviteCreate { kind, ttl_ms: 7 * DAY_MS })? {
            Reply::Invite(view) => Ok(view),
            other => Err(unexpected("an invitation", &other)),
        }
    }

    /// Follows an invitation.
    ///
    /// # Errors
    /// As [`World::request`].
    pub fn follow(&mut self, id: NodeId, link: &str) -> Result<Reply, Failure> {
        self.request(id, Request::ContactAdd { link: link.to_owned(), alias: None })
    }

    /// Makes a node use a relay, and waits until it is connected.
    ///
    /// # Errors
    /// As [`World::request`].
    pub fn use_relay(&mut self, id: NodeId, relay: NodeId) -> Result<(), Failure> {
        let address = self.node(relay).address();
        self.request(id, Request::RelayAdd { address })?;
        for _ in 0..60 {
            let Reply::Relays(relays) = self.request(id, Request::RelayList)? else { break };
            let peer = self.node(relay).peer();
            if relays.iter().any(|view| view.address.peer == *peer && view.connected) {
                return Ok(());
            }
            self.run_for(1_000)?;
        }
        Err(Failure::TimedOut { waited_ms: 60_000, what: String::from("relay in use"), state: self.summary() })
    }

    /// Writes a message.
    ///
    /// # Errors
    /// As [`World::request`].
    pub fn send(&mut self, from: NodeId, to: NodeId, text: &str) -> Result<MessageId, Failure> {
        let chat = self.chat_of(to)?;
        match self.request(from, text_request(chat, text, None))? {
            Reply::Message { id, .. } => Ok(id),
            other => Err(unexpected("a message id", &other)),
        }
    }

    /// Writes a message however often the node dies meanwhile; `text` is also its `client_id`.
    ///
    /// # Errors
    /// As [`World::request`]; a node that dies and comes back is asked again.
    pub fn send_stubbornly(&mut self, from: NodeId, to: NodeId, text: &str) -> Result<MessageId, Failure> {
        let chat = self.chat_of(to)?;
        for _ in 0..1_000 {
            let request = self.post(from, text_request(chat, text, Some(text)));
            self.run_for(1_000)?;
            if self.node(from).requests_lost.contains(&request) {
                continue;
            }
            return match self.answer(from, request)? {
                Reply::Message { id, .. } => Ok(id),
                other => Err(unexpected("a message id", &other)),
            };
        }
        Err(Failure::Unexpected(format!("{} never answered", self.node(from).name)))
    }

    /// Waits until a node was shown a text.
    ///
    /// # Errors
    /// `TimedOut` or a broken invariant.
    pub fn wait_shown(&mut self, id: NodeId, text: &str, max_ms: u64) -> Result<(), Failure> {
        let what = format!("{} is shown {text:?}", self.node(id).name);
        self.run_until(&what, max_ms, |world| world.node(id).shown.iter().any(|shown| shown.body == text))
    }

    /// Waits until a message counts as delivered.
    ///
    /// # Errors
    /// `TimedOut` or a broken invariant.
    pub fn wait_delivered(&mut self, id: NodeId, message: MessageId, max_ms: u64) -> Result<(), Failure> {
        let what = format!("{message} of {} is delivered", self.node(id).name);
        self.run_until(&what, max_ms, |world| world.is_delivered(id, &message))
    }

    /// Waits until relays have signed that they hold a message.
    ///
    /// # Errors
    /// `TimedOut` or a broken invariant.
    pub fn wait_held(&mut self, id: NodeId, message: MessageId, relays_min: u8, max_ms: u64) -> Result<(), Failure> {
        let what = format!("{message} of {} is held by {relays_min}", self.node(id).name);
        self.run_until(&what, max_ms, |world| {
            matches!(world.node(id).states.get(&message), Some(DeliveryState::Held { relays, .. }) if *relays >= relays_min)
        })
    }

    /// The other device has committed it.
    pub fn is_delivered(&self, id: NodeId, message: &MessageId) -> bool {
        let state = self.node(id).states.get(message);
        matches!(state, Some(DeliveryState::Delivered { .. } | DeliveryState::Read { .. }))
    }

    /// All contacts of a node.
    ///
    /// # Errors
    /// As [`World::request`].
    pub fn contacts(&mut self, id: NodeId) -> Result<Vec<ContactView>, Failure> {
        match self.request(id, Request::ContactList)? {
            Reply::Contacts(list) => Ok(list),
            other => Err(unexpected("contacts", &other)),
        }
    }

    /// True when `b` is an active contact of `a`.
    ///
    /// # Errors
    /// As [`World::request`].
    pub fn is_active(&mut self, a: NodeId, b: NodeId) -> Result<bool, Failure> {
        let account = self.node(b).account;
        let contacts = self.contacts(a)?;
        Ok(contacts.iter().any(|view| Some(view.account) == account && view.state == ContactState::Active))
    }

    /// True when both have committed that the other one can be written to. Unlike [`World::is_active`] it asks
    /// nobody, so the world does not go on.
    pub fn are_contacts(&self, a: NodeId, b: NodeId) -> bool {
        let knows = |one: NodeId, other: NodeId| {
            let chat = self.node(other).chat();
            self.node(one).events.iter().rev().any(|event| {
                event.chat == chat && matches!(event.kind, EventKind::ContactAdded | EventKind::ContactAccepted)
            })
        };
        knows(a, b) && knows(b, a)
    }

    /// Status of a node.
    ///
    /// # Errors
    /// As [`World::request`].
    pub fn status(&mut self, id: NodeId) -> Result<StatusView, Failure> {
        match self.request(id, Request::Status)? {
            Reply::Status(status) => Ok(status),
            other => Err(unexpected("a status", &other)),
        }
    }

    /// The conversation with a node, as others name it.
    ///
    /// # Errors
    /// `Unexpected` when it has no account.
    pub fn chat_of(&self, id: NodeId) -> Result<ChatId, Failure> {
        let node = self.node(id);
        node.chat().ok_or_else(|| Failure::Unexpected(format!("{} has no account", node.name)))
    }

    fn create_account(&mut self, id: NodeId) -> Result<(), Failure> {
        let name = self.node(id).name.clone();
        self.request(id, Request::CreateAccount { name })?;
        match self.request(id, Request::Me)? {
            Reply::Me(me) => {
                self.node_mut(id).account = Some(me.account);
                self.ledger.note_account(me.account.chat(), id);
                Ok(())
            }
            other => Err(unexpected("the own profile", &other)),
        }
    }
}

pub(crate) fn text_request(chat: ChatId, text: &str, client_id: Option<&str>) -> Request {
    Request::Send {
        chat,
        body: text.to_owned(),
        reply_to: None,
        expire_s: None,
        ttl_s: None,
        no_infra: false,
        client_id: client_id.map(str::to_owned),
    }
}

/// A message that lives for `ttl_ms` and never touches a network.
pub(crate) fn walking_text(chat: ChatId, text: &str, ttl_ms: u64) -> Request {
    Request::Send {
        chat,
        body: text.to_owned(),
        reply_to: None,
        expire_s: None,
        client_id: None,
        ttl_s: Some(u32::try_from(ttl_ms / 1_000).unwrap_or(u32::MAX)),
        no_infra: true,
    }
}

fn unexpected(wanted: &str, got: &Reply) -> Failure {
    Failure::Unexpected(format!("wanted {wanted}, got {got:?}"))
}
