//! Hubs and engines on them, for tests of radios.

#![allow(dead_code, reason = "each test program uses its part")]

use std::time::{Duration, SystemTime};

use silbo_protocol::Engine;
use silbo_protocol::ids::{ChatId, LinkId};
use silbo_protocol::input::{Input, InviteKind, Request, RequestId, Route};
use silbo_protocol::memory_store::MemoryStore;
use silbo_protocol::step::{DeliveryState, EventKind, Reply, Send};
use silbo_protocol::time::{Moment, Now, UnixTime};
use silbo_transports::host_radio::{self, Hub};
use silbo_transports::link::is_radio;
use silbo_transports::{LinkCommand, LinkEvent, LinkIds};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// What must happen, happens within this time, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A hub and what it reports.
pub struct Node {
    pub hub: Hub,
    pub events: mpsc::Receiver<LinkEvent>,
}

impl Node {
    pub fn new() -> Self {
        let (sender, events) = mpsc::channel(64);
        Self { hub: host_radio::start(LinkIds::of_radios(), sender), events }
    }

    pub async fn next(&mut self) -> LinkEvent {
        timeout(PATIENCE, self.events.recv()).await.expect("an event in time").expect("the hub runs")
    }

    pub async fn up(&mut self) -> LinkId {
        loop {
            if let LinkEvent::Up { link, route, .. } = self.next().await {
                assert_eq!(route, Route::Radio);
                assert!(is_radio(link));
                return link;
            }
        }
    }

    pub async fn frame(&mut self) -> Vec<u8> {
        loop {
            if let LinkEvent::Frame { bytes, .. } = self.next().await {
                return bytes;
            }
        }
    }

    pub async fn send(&self, link: LinkId, bytes: Vec<u8>) {
        self.hub.commands.send(LinkCommand::Frame { link, bytes }).await.expect("the hub runs");
    }

    /// Sends over the link there is until it has come: of two that came up at once one goes, and links are cut.
    pub async fn hand_over(&mut self, to: &mut Self, bytes: &[u8]) {
        let comes = async { while to.frame().await != bytes {} };
        tokio::pin!(comes);
        loop {
            let linked = self.hub.snapshot.wait_for(|snapshot| !snapshot.links.is_empty());
            let link = timeout(PATIENCE, linked).await.expect("a link in time").expect("the hub runs").links[0].link;
            self.send(link, bytes.to_vec()).await;
            let mut snapshot = self.hub.snapshot.clone();
            let over = snapshot.wait_for(|snapshot| snapshot.links.iter().all(|known| known.link != link));
            tokio::select! {
                () = &mut comes => return,
                over = over => drop(over.expect("the hub runs")),
            }
        }
    }

    pub async fn links(&mut self, wanted: usize) {
        let seen = self.hub.snapshot.wait_for(|snapshot| snapshot.links.len() == wanted && snapshot.half_open == 0);
        timeout(PATIENCE, seen).await.expect("in time").expect("the hub runs");
    }
}

/// An engine with its radios.
pub struct Person {
    pub engine: Engine,
    pub store: MemoryStore,
    pub node: Node,
}

pub fn now() -> Now {
    let ms = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis() as u64);
    Now { moment: Moment(ms), unix: UnixTime(ms) }
}

impl Person {
    pub async fn new(name: &str, seed: u8) -> Self {
        let mut store = MemoryStore::new();
        let (engine, first) = Engine::open(&store, [seed; 32], now()).expect("an empty store opens");
        store.apply(&first.writes);
        let mut person = Self { engine, store, node: Node::new() };
        person.ask(Request::CreateAccount { name: name.to_owned() }).await;
        person
    }

    pub async fn handle(&mut self, input: Input) -> Option<Reply> {
        let step = self.engine.handle(input, now(), &self.store).expect("the store works");
        self.store.apply(&step.writes);
        for send in step.sends {
            let command = match send {
                Send::Frame { link, bytes } => LinkCommand::Frame { link, bytes },
                Send::Close { link } => LinkCommand::Close { link },
                Send::Vouch { link } => LinkCommand::Vouch { link },
                _ => continue, // there is nothing but radio
            };
            self.node.hub.commands.send(command).await.expect("the hub runs");
        }
        step.reply.into_iter().next().map(|(_, reply)| reply.expect("a request that can be answered"))
    }

    pub async fn ask(&mut self, request: Request) -> Reply {
        let input = Input::Request { id: RequestId(1), request: Box::new(request) };
        self.handle(input).await.expect("an answer at once")
    }

    pub async fn turn(&mut self) {
        let wake = self.engine.next_wake().map_or(1_000, |at| at.0.saturating_sub(now().moment.0));
        let input = match timeout(Duration::from_millis(wake.min(50)), self.node.events.recv()).await {
            Ok(event) => match event.expect("the hub runs") {
                LinkEvent::Up { link, peer, local, route } => Input::LinkUp { link, peer, local, route },
                LinkEvent::Frame { link, bytes } => Input::Frame { link, bytes },
                LinkEvent::Down { link } => Input::LinkDown { link },
                other => panic!("radios do not say {other:?}"),
            },
            Err(_) => Input::Wake,
        };
        self.handle(input).await;
    }

    pub fn received(&self) -> Vec<String> {
        let texts = self.store.events().iter().filter_map(|event| match &event.kind {
            EventKind::MessageReceived { body, .. } => Some(body.clone()),
            _ => None,
        });
        texts.collect()
    }

    pub fn delivered(&self) -> usize {
        let states = self.store.events().iter();
        states
            .filter(|event| {
                matches!(&event.kind, EventKind::MessageState { state: DeliveryState::Delivered { .. }, .. })
            })
            .count()
    }
}

impl Person {
    /// Invites somebody; the text of the QR code.
    pub async fn invite(&mut self) -> String {
        let invite = Request::InviteCreate { kind: InviteKind::OneTime, ttl_ms: 3_600_000 };
        let Reply::Invite(invite) = self.ask(invite).await else { panic!("an invitation") };
        invite.qr
    }

    /// Follows the text of a QR code.
    pub async fn follow(&mut self, qr: String) -> ChatId {
        let add = Request::ContactAdd { link: qr, alias: None };
        let Reply::Contact(contact) = self.ask(add).await else { panic!("a contact") };
        contact.chat
    }

    /// The only contact.
    pub async fn contact(&mut self) -> ChatId {
        let Reply::Contacts(contacts) = self.ask(Request::ContactList).await else { panic!("contacts") };
        contacts[0].chat
    }

    /// The one who was invited has been answered.
    pub fn accepted(&self) -> bool {
        self.store.events().iter().any(|event| event.kind == EventKind::ContactAccepted)
    }
}

pub fn text(chat: ChatId, body: String) -> Request {
    Request::Send { chat, body, reply_to: None, expire_s: None, client_id: None, ttl_s: None, no_infra: true }
}
