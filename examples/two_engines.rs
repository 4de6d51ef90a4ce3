//! Two engines in one process: Ada invites Bob over the loopback transport, and Bob writes to her.
//!
//! This is the whole contract a driver has to keep: commit the writes of a step, then hand out what it sends, then
//! answer, then tell. `cargo run --example two_engines`

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail};
use silbo_protocol::Engine;
use silbo_protocol::input::{Input, InviteKind, Request, RequestId};
use silbo_protocol::memory_store::MemoryStore;
use silbo_protocol::step::{Event, EventKind, Reply, Send};
use silbo_protocol::time::{Moment, Now, UnixTime};
use silbo_transports::loopback::{self, End};
use silbo_transports::{LinkCommand, LinkEvent, LinkIds};

struct Person {
    engine: Engine,
    store: MemoryStore,
    end: End,
    started: Instant,
}

impl Person {
    async fn new(name: &str, seed: u8, end: End) -> anyhow::Result<Self> {
        let (store, started) = (MemoryStore::new(), Instant::now());
        let (engine, first) = Engine::open(&store, [seed; 32], now(started))?; // a real node asks its system for the seed
        let mut person = Self { engine, store, end, started };
        person.store.apply(&first.writes); // it sends nothing: there is no contact and no relay yet
        person.request(Request::CreateAccount { name: name.to_owned() }).await?;
        for _ in ["own address", "link up"] {
            let event = person.end.events.recv().await.context("the loopback is gone")?;
            person.notice(event).await?;
        }
        Ok(person)
    }

    async fn handle(&mut self, input: Input) -> anyhow::Result<Option<Reply>> {
        let step = self.engine.handle(input, now(self.started), &self.store)?;
        self.store.apply(&step.writes);
        for send in step.sends {
            let Send::Frame { link, bytes } = send else { continue }; // the link is up; there is nobody to dial or ask
            let command = LinkCommand::Frame { link, bytes };
            self.end.commands.send(command).await.context("the loopback is gone")?;
        }
        step.reply.into_iter().next().map(|(_, reply)| reply).transpose().map_err(Into::into)
    }

    async fn request(&mut self, request: Request) -> anyhow::Result<Reply> {
        let input = Input::Request { id: RequestId(1), request: Box::new(request) };
        self.handle(input).await?.context("without relays every answer comes at once")
    }

    async fn notice(&mut self, event: LinkEvent) -> anyhow::Result<()> {
        let input = match event {
            LinkEvent::Up { link, peer, local, route } => Input::LinkUp { link, peer, local, route },
            LinkEvent::Frame { link, bytes } => Input::Frame { link, bytes },
            LinkEvent::Down { link } => Input::LinkDown { link },
            LinkEvent::OwnAddress { address } => Input::OwnAddress { address },
            _ => return Ok(()), // the loopback has no routes, neighbours, failing dials or news of itself
        };
        self.handle(input).await.map(drop)
    }

    /// Until the engine wants to be woken.
    fn pause(&self) -> Duration {
        let wake = self.engine.next_wake().map_or(3_600_000, |at| at.0);
        Duration::from_millis(wake.saturating_sub(now(self.started).moment.0))
    }
}

fn now(started: Instant) -> Now {
    let unix = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis() as u64);
    Now { moment: Moment(started.elapsed().as_millis() as u64), unix: UnixTime(unix) }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let (a, b, wire) = loopback::pair(LinkIds::default(), LinkIds::default());
    let (mut ada, mut bob) = (Person::new("Ada", 1, a).await?, Person::new("Bob", 2, b).await?);
    let invite = Request::InviteCreate { kind: InviteKind::OneTime, ttl_ms: 3_600_000 };
    let Reply::Invite(invite) = ada.request(invite).await? else { bail!("no invitation") };
    println!("Ada invites with {}", invite.link);
    let add = Request::ContactAdd { link: invite.link, alias: Some("ada".to_owned()) };
    let Reply::Contact(contact) = bob.request(add).await? else { bail!("no contact") };
    let (chat, body) = (contact.chat, "hi".to_owned());
    let mut unsent = Some(Request::Send { chat, body, reply_to: None, expire_s: None, client_id: None });
    loop {
        let accepted = bob.store.events().iter().any(|event| event.kind == EventKind::ContactAccepted);
        if let Some(request) = unsent.take_if(|_| accepted) {
            bob.request(request).await?;
        }
        if let Some(Event { kind: EventKind::MessageReceived { body, path, .. }, .. }) = ada.store.events().last() {
            println!("Ada reads {body:?}, which came by {path:?}");
            wire.stop().await;
            return Ok(());
        }
        let pause = ada.pause().min(bob.pause());
        tokio::select! {
            Some(event) = ada.end.events.recv() => ada.notice(event).await?,
            Some(event) = bob.end.events.recv() => bob.notice(event).await?,
            () = tokio::time::sleep(pause) => {
                ada.handle(Input::Wake).await?;
                bob.handle(Input::Wake).await?;
            }
        }
    }
}
