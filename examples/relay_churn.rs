//! Much mail through one relay: how large its file stays, and how fast it opens again.
//!
//! ```text
//! cargo run --release --example relay_churn -- 1000000 FOLDER
//! ```
//! Deposits envelopes into the mailbox of a relay, in files as a node has them, and has them acknowledged so that up
//! to 5,000 wait at any time. The relay's clock runs through 60 days meanwhile, so that receipts (kept as long as the envelope
//! would have lived, 7 days) expire and are swept. Prints one line; ends with 1 when the file is larger than three times
//! what lives in it, or when opening it takes a second.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use silbo_node::core::now;
use silbo_node::storage::Database;
use silbo_node::vault::DatabaseKey;
use silbo_protocol::chance::Chance;
use silbo_protocol::crypto::ed25519::SigningKey;
use silbo_protocol::ids::{Cid, LinkId, Preimage, QueueRid, QueueSid};
use silbo_protocol::input::RelayLimits;
use silbo_protocol::limits::ENVELOPES_PER_FRAME_MAX;
use silbo_protocol::mailbox::auth::{self, LinkBinding};
use silbo_protocol::mailbox::server::{MailStep, MailboxServer};
use silbo_protocol::session::tag_of;
use silbo_protocol::time::{DAY_MS, Now};
use silbo_protocol::wire::envelope::{Class, EnvelopeHead};
use silbo_protocol::wire::frame::Frame;
use silbo_protocol::wire::proto::{self, mbox_req::Op};

/// Envelopes that wait in all queues together, in a long run; in a short one a twentieth of all.
const ALIVE_MAX: u64 = 5_000;
/// Queues they are spread over: far from the 2,000 envelopes one may hold.
const QUEUES: u64 = 16;
/// The usual length of a short text's envelope.
const ENVELOPE_BYTES: usize = 300;
/// How long an envelope lives.
const LIFETIME_MS: u64 = 7 * DAY_MS;
/// How much time passes in all.
const RUN_MS: u64 = 60 * DAY_MS;
const FILE_FACTOR_MAX: f64 = 3.0;
const RESTART_MS_MAX: u128 = 1_000;
const LINK: LinkId = LinkId(1);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(count), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("usage: relay_churn COUNT FOLDER".into());
    };
    let (count, folder) = (count.parse::<u64>()?, Path::new(&folder).to_owned());
    let begun = Instant::now();
    let mut relay = Relay::open(&folder, now())?;
    relay.begin()?;
    let batch = u64::try_from(ENVELOPES_PER_FRAME_MAX)?;
    let alive = ALIVE_MAX.min(count / 20) / batch * batch;
    let pause_ms = RUN_MS / count.div_ceil(batch).max(1);
    let mut peak: u64 = 0;
    for first in (0..count).step_by(ENVELOPES_PER_FRAME_MAX) {
        let numbers = first..(first + batch).min(count);
        let queue = first / batch % QUEUES;
        relay.deposit(queue, numbers)?;
        if let Some(old) = first.checked_sub(alive) {
            relay.acknowledge(old / batch % QUEUES, old..old + batch)?;
        }
        relay.wait(pause_ms)?;
        peak = peak.max(relay.db.file_bytes()?.mailbox);
    }
    let wall = begun.elapsed();
    let (live, held, at) = (relay.server.status().bytes, relay.server.status().held, relay.now);
    drop(relay);
    let begun = Instant::now();
    let relay = Relay::open(&folder, at)?;
    let restart = begun.elapsed();
    let (file, again) = (relay.db.file_bytes()?.mailbox, relay.server.status().held);
    relay.db.integrity_check()?;
    let factor = file as f64 / live as f64;
    println!(
        "{count} envelopes in {:.0} s ({:.0}/s), {held} alive: file {file} bytes (at most {peak}), {factor:.2} times the \
         {live} live bytes; restart in {} ms",
        wall.as_secs_f64(),
        count as f64 / wall.as_secs_f64(),
        restart.as_millis()
    );
    if held != again {
        return Err(format!("{held} envelopes before the restart, {again} after it").into());
    }
    if factor > FILE_FACTOR_MAX || restart.as_millis() >= RESTART_MS_MAX {
        return Err("the file is too large, or the restart too slow".into());
    }
    Ok(())
}

/// The relay role of a node, without the node.
struct Relay {
    db: Database,
    server: MailboxServer,
    binding: LinkBinding,
    now: Now,
    requests: u64,
}

impl Relay {
    fn open(folder: &Path, now: Now) -> Result<Self, Box<dyn Error>> {
        let mut db = Database::open(folder, &DatabaseKey::from_bytes(&[7; 32]))?;
        let mut chance = Chance::from_seed([9; 32]);
        let (mut server, mut writes) = MailboxServer::open(&db, now, &mut chance)?;
        writes.extend(server.set_limits(Some(RelayLimits {
            retention_days: 30,
            queue_envelopes_max: 2_000,
            queue_kib_max: 16_384,
            total_mib_max: 4_096,
        })));
        let challenge = server.link_up(LINK, &mut chance);
        let binding = LinkBinding { relay_vk: server.relay_vk(), challenge };
        db.begin()?;
        db.apply(&writes)?;
        db.commit()?;
        Ok(Self { db, server, binding, now, requests: 0 })
    }

    /// Makes the queues.
    fn begin(&mut self) -> Result<(), Box<dyn Error>> {
        for queue in 0..QUEUES {
            let owner = owner(queue);
            let mut create = proto::QCreate {
                rid: rid(queue).as_bytes().to_vec(),
                sid: sid(queue).0.to_vec(),
                owner_vk: owner.verifying_key().as_bytes().to_vec(),
                send_key: send_key(queue).to_vec(),
                ..Default::default()
            };
            create.sig = auth::create_sig_input(&self.binding, &create).sign(&owner);
            self.ask(Op::Create(create))?;
        }
        Ok(())
    }

    fn deposit(&mut self, queue: u64, numbers: std::ops::Range<u64>) -> Result<(), Box<dyn Error>> {
        let env: Vec<Vec<u8>> = numbers.map(|number| self.envelope(number)).collect();
        let cids: Vec<Cid> = env.iter().map(|bytes| cid(bytes)).collect();
        let mac = auth::deposit_mac(&self.binding, &send_key(queue), &sid(queue), &cids).to_vec();
        self.ask(Op::Deposit(proto::Deposit { sid: sid(queue).0.to_vec(), env, mac }))
    }

    fn acknowledge(&mut self, queue: u64, numbers: std::ops::Range<u64>) -> Result<(), Box<dyn Error>> {
        let p = numbers.map(|number| preimage(number).as_bytes().to_vec()).collect();
        self.ask(Op::Ack(proto::Ack { p, rid: rid(queue).as_bytes().to_vec(), ..Default::default() }))
    }

    /// One request, committed, as the core thread does it.
    fn ask(&mut self, op: Op) -> Result<(), Box<dyn Error>> {
        self.requests += 1;
        self.pass(1);
        let request = proto::MboxReq { id: self.requests, op: Some(op) };
        let step = self.server.handle(LINK, request, self.now, &self.db)?;
        let Some((_, Frame::MboxRes(answer))) = step.frames.first() else { return Err("no answer".into()) };
        if answer.code != 0 {
            return Err(format!("request {} was answered {}", self.requests, answer.code).into());
        }
        self.commit(&step)
    }

    /// Lets time pass, with the sweeps that fall into it.
    fn wait(&mut self, ms: u64) -> Result<(), Box<dyn Error>> {
        self.pass(ms);
        while self.server.next_sweep() <= self.now.moment {
            self.pass(1);
            let step = self.server.sweep(self.now, &self.db)?;
            self.commit(&step)?;
        }
        Ok(())
    }

    fn pass(&mut self, ms: u64) {
        self.now = Now { moment: self.now.moment.after_ms(ms), unix: self.now.unix.after_ms(ms) };
    }

    fn commit(&mut self, step: &MailStep) -> Result<(), Box<dyn Error>> {
        self.db.begin()?;
        self.db.apply(&step.writes)?;
        self.db.commit()?;
        Ok(())
    }

    fn envelope(&self, number: u64) -> Vec<u8> {
        let mut chance = Chance::from_seed([(number % 251) as u8; 32]);
        let head = EnvelopeHead::new(Class::Text, LIFETIME_MS, self.now.unix, &mut chance);
        let mut bytes = head.with_tag(&tag_of(&preimage(number))).to_vec();
        bytes.resize(ENVELOPE_BYTES, (number % 256) as u8);
        bytes
    }
}

fn owner(queue: u64) -> SigningKey {
    SigningKey::from_seed(&[queue as u8 + 1; 32])
}

fn rid(queue: u64) -> QueueRid {
    QueueRid([queue as u8 + 1; 16])
}

fn sid(queue: u64) -> QueueSid {
    QueueSid([queue as u8 + 101; 16])
}

fn send_key(queue: u64) -> [u8; 16] {
    [queue as u8 + 1; 16]
}

fn preimage(number: u64) -> Preimage {
    let mut bytes = [7; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Preimage(bytes)
}

fn cid(envelope: &[u8]) -> Cid {
    silbo_protocol::crypto::hash::cid(envelope)
}
