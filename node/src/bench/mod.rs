//! `silbo bench pair`: what a message costs, beside the least it could cost on the same machine in the same minute.
//!
//! ```text
//!   namespace   a network of its own: nobody else's bytes are counted
//!   slow_link   what the two talk over, with or without a delay
//!   raw         a bare QUIC echo that also syncs to disk on both sides: the limit
//!   nodes       whole nodes: child processes of this program in temporary folders, driven over their API
//!   load        what is asked of them
//!   figures     medians, and how they are printed
//! ```
//! It measures from outside only; nothing in the node knows of it. All its files and processes end with it.

mod figures;
mod load;
mod namespace;
mod nodes;
mod raw;
mod slow_link;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::cli::failure::{Class, Failure};
use figures::{Figures, Speed, median};
use namespace::Network;
use nodes::{Folder, Node};
use slow_link::SlowLink;

/// Bytes of the messages whose speed is measured.
const MESSAGE_BYTES: usize = 1_000;
/// Bytes of the messages whose bytes on the wire are counted.
const SMALL_BYTES: usize = 100;
/// Messages without an acknowledgement, for raw and Silbo alike.
const WINDOW: usize = 64;
/// Messages sent one after the other to see how long one takes. Below what one API connection may call at once.
const SINGLE: usize = 100;
/// Times each speed is measured; the median counts.
const ROUNDS: usize = 3;

/// What to measure.
#[derive(Clone, Debug)]
pub struct PairOptions {
    /// Round-trip time of the slow link.
    pub rtt: Duration,
    /// How long each speed is measured, in all rounds together.
    pub length: Duration,
    /// How long the idle node is watched.
    pub idle: Duration,
    /// The program whose nodes are measured; `None` for this one.
    pub program: Option<PathBuf>,
}

/// Measures, and returns what was found: a document for programs and a text for people.
///
/// # Errors
/// When a node does not start or two nodes do not find each other.
pub fn pair(options: &PairOptions) -> Result<Option<Figures>, Failure> {
    if namespace::run_again()? {
        return Ok(None); // the one inside has printed
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| broken("no runtime").why(error.to_string()))?;
    runtime.block_on(measure(options)).map(Some)
}

async fn measure(options: &PairOptions) -> Result<Figures, Failure> {
    let network = Network::here();
    let folder = Folder::make(options.program.clone())?;
    let mut figures = Figures { rtt_ms: options.rtt.as_secs_f64() * 1e3, ..Figures::default() };
    if !network.is_own() {
        figures.notes.push("no network of its own (unshare, ip): bytes are not counted".to_owned());
    }

    let relay = Node::relay(&folder, "R").await?;
    let ada = Node::person(&folder, "Ada").await?;
    let address = relay.text("relay.status", json!({}), "address").await?;
    network.quiet().await;
    let before = network.bytes();
    ada.call("relay.add", json!({"address": address})).await?;
    network.quiet().await;
    figures.connect_bytes = spent(&network, before);
    figures.idle_rss_mib = ada.rss_mib();
    if network.is_own() {
        let before = network.bytes();
        tokio::time::sleep(options.idle).await;
        let minutes = options.idle.as_secs_f64() / 60.0;
        figures.idle_bytes_per_minute = spent(&network, before).map(|bytes| bytes as f64 / minutes);
    }

    let bob = Node::person(&folder, "Bob").await?;
    let link = first_contact(&network, &ada, &bob, &mut figures).await?;

    let to = ada.text("contact.show", json!({"contact": "Bob"}), "id").await?;
    let raw = raw::Pair::connect(&folder).await?;
    figures.raw_connect_bytes = raw.connect_bytes;
    figures.raw_wire_bytes = wire_bytes(&raw.link, raw.single(SMALL_BYTES, SINGLE / 2)).await?;
    figures.wire_bytes = wire_bytes(&link, load::single(&ada, &to, SMALL_BYTES, SINGLE / 2)).await?;

    let slice = options.length / u32::try_from(ROUNDS).unwrap_or(1);
    figures.loopback = speeds(&raw, &ada, &to, slice).await?;
    for link in [&link, &raw.link] {
        link.delay(options.rtt / 2);
    }
    figures.slow = speeds(&raw, &ada, &to, slice).await?;
    figures.loaded_rss_mib = ada.rss_mib();
    figures.ready_ms = ready(ada, &folder).await?;
    Ok(figures)
}

/// From the invitation to both sides knowing each other. Bob only knows the way over the link that is returned.
async fn first_contact(network: &Network, ada: &Node, bob: &Node, figures: &mut Figures) -> Result<SlowLink, Failure> {
    let invitation = ada.text("invite.create", json!({}), "link").await?;
    network.quiet().await;
    let (slow, invitation) = SlowLink::to_inviter(&invitation).await?;
    bob.call("contact.add", json!({"link": invitation, "alias": "Ada"})).await?;
    bob.until_active("Ada").await?;
    ada.until_active("Bob").await?;
    network.quiet().await;
    figures.first_contact_bytes = slow.bytes();
    Ok(slow)
}

fn spent(network: &Network, before: Option<u64>) -> Option<u64> {
    Some(network.bytes()?.saturating_sub(before?))
}

async fn wire_bytes(
    link: &SlowLink,
    messages: impl Future<Output = Result<Vec<Duration>, Failure>>,
) -> Result<f64, Failure> {
    let before = link.bytes();
    let count = messages.await?.len().max(1);
    Ok(link.bytes().saturating_sub(before) as f64 / count as f64)
}

/// Raw and Silbo in turn, so that whatever else the machine does meets both.
async fn speeds(raw: &raw::Pair, ada: &Node, to: &str, slice: Duration) -> Result<[Speed; 3], Failure> {
    let mut rates: [Vec<f64>; 3] = Default::default();
    let mut times: [Vec<Duration>; 2] = Default::default();
    for _ in 0..ROUNDS {
        for (rates, group) in rates.iter_mut().zip([false, true]) {
            raw.sync_in_groups(group);
            rates.push(raw.stream(MESSAGE_BYTES, slice).await?);
        }
        rates[2].push(load::stream(ada, to, MESSAGE_BYTES, slice).await?);
        times[0].extend(raw.single(MESSAGE_BYTES, SINGLE).await?);
        times[1].extend(load::single(ada, to, MESSAGE_BYTES, SINGLE).await?);
    }
    let [each, grouped, silbo] = rates.map(median);
    let [raw, ours] = times;
    // A message alone is a batch of one.
    Ok([Speed::of(each, raw.clone()), Speed::of(grouped, raw), Speed::of(silbo, ours)])
}

/// From the start of the process of a profile that exists to its first answer. Its key is in a file: no derivation.
async fn ready(ada: Node, folder: &Folder) -> Result<f64, Failure> {
    ada.stop().await?;
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let started = std::time::Instant::now();
        let node = Node::person(folder, "Ada").await?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
        node.stop().await?;
    }
    Ok(median(times))
}

fn broken(what: &str) -> Failure {
    Failure::new(Class::Internal, format!("the measurement failed: {what}"))
}
