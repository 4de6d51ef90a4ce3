//! Two engines in one process: Ada invites Bob over the loopback transport, and Bob writes to her.
//!
//! This is the whole contract a driver has to keep: commit the writes of a step, then hand out what it sends, then
//! answer, then tell. `cargo run --example two_engines`

use std::time::{Duration, SystemTime};

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
}

impl Person {
    async fn new(name: &str, seed: u8, end: End) -> anyhow::Result<Self> {
        let (engine, first) = Engine::open(&MemoryStore::new(), [seed; 32], now())?; // a real node asks its system for the seed
        let mut person = Self { engine, store: MemoryStore::new(), end };
        person.store.apply(&first.writes); // it sends nothing: there is no contact and no relay yet
        person.request(Request::CreateAccount { name: name.to_owned() }).await?;
        for _ in ["own address", "link up"] {
            let event = person.end.events.recv().await.context("the loopback is gone")?;
            person.notice(event).await?;
        }
        Ok(person)
    }

    async fn handle(&mut self, input: Input) -> anyhow::Result<Option<Reply>> {
        let step = self.engine.handle(input, now(), &self.store)?;
        self.store.apply(&step.writes);
        for send in step.sends {
            let Send::Frame { link, bytes } = send else { continue }; // the link is up; there is nobody to dial or ask
            self.end.commands.send(LinkCommand::Frame { link, bytes }).await.context("the loopback is gone")?;
        }
        step.reply.into_iter().next().map(|(_, reply)| reply).transpose().map_err(Into::into)
    }

    async fn request(&mut self, request: Request) -> anyhow::Result<Reply> {
        self.handle(Input::Request { id: RequestId(1), request: Box::new(request) })
            .await?
            .context("without relays every answer comes at once")
    }

    async fn notice(&mut self, event: LinkEvent) -> anyhow::Result<()> {
        let input = match event {
            LinkEvent::Up { link, peer, local, route } => Input::LinkUp { link, peer, local, route },
            LinkEvent::Frame { link, bytes } => Input::Frame { link, bytes },
            LinkEvent::OwnAddress { address } => Input::OwnAddress { address },
            _ => return Ok(()), // this link has no end, no other route, and no news of itself
        };
        self.handle(input).await.map(drop)
    }

    fn pause(&self) -> Duration {
        Duration::from_millis(self.engine.next_wake().map_or(u64::MAX, |at| at.0.saturating_sub(now().moment.0)))
    }
}

/// A real driver takes `moment` from a clock that nobody sets.
fn now() -> Now {
    let ms = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis() as u64);
    Now { moment: Moment(ms), unix: UnixTime(ms) }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let (a, b, wire) = loopback::pair(LinkIds::default(), LinkIds::default());
    let (mut ada, mut bob) = (Person::new("Ada", 1, a).await?, Person::new("Bob", 2, b).await?);
    let invite = Request::InviteCreate { kind: InviteKind::OneTime, ttl_ms: 3_600_000 };
    let Reply::Invite(invite) = ada.request(invite).await? else { bail!("no invitation") };
    let add = Request::ContactAdd { link: invite.link, alias: Some("ada".to_owned()) };
    let Reply::Contact(contact) = bob.request(add).await? else { bail!("no contact") };
    let (chat, body, reply_to, expire_s, client_id, ttl_s) = (contact.chat, "hi".to_owned(), None, None, None, None);
    let mut unsent = Some(Request::Send { chat, body, reply_to, expire_s, client_id, ttl_s, no_infra: false });
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
            () = tokio::time::sleep(pause) => drop((ada.handle(Input::Wake).await?, bob.handle(Input::Wake).await?)),
        }
    }
}
