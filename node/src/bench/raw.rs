//! The limit: a bare QUIC echo over one stream. The sender appends a message to a file and syncs it, sends it; the
//! receiver appends and syncs it, answers with 8 bytes. Syncing each message or each batch, as told.

use std::fs::File;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use quinn::rustls::RootCertStore;
use quinn::rustls::pki_types::PrivatePkcs8KeyDer;
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream, ServerConfig};
use tokio::sync::Semaphore;

use super::nodes::Folder;
use super::slow_link::SlowLink;
use super::{WINDOW, broken};
use crate::cli::failure::Failure;

const ANSWER_BYTES: usize = 8;

/// Two ends of a connection.
pub(super) struct Pair {
    connection: Connection,
    grouped: Arc<AtomicBool>,
    log: PathBuf,
    /// What the two ends talk over.
    pub(super) link: SlowLink,
    /// What connecting took, with one message there and back.
    pub(super) connect_bytes: u64,
    _endpoints: [Endpoint; 2],
}

impl Pair {
    pub(super) async fn connect(folder: &Folder) -> Result<Pair, Failure> {
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).map_err(failed)?;
        let certificate = made.cert.der().clone();
        let key = PrivatePkcs8KeyDer::from(made.key_pair.serialize_der());
        let server_config = ServerConfig::with_single_cert(vec![certificate.clone()], key.into()).map_err(failed)?;
        let mut roots = RootCertStore::empty();
        roots.add(certificate).map_err(failed)?;
        let client_config = ClientConfig::with_root_certificates(Arc::new(roots)).map_err(failed)?;

        let server = Endpoint::server(server_config, here).map_err(failed)?;
        let mut client = Endpoint::client(here).map_err(failed)?;
        client.set_default_client_config(client_config);
        let grouped = Arc::new(AtomicBool::new(false));
        tokio::spawn(serve(server.clone(), folder.file("raw-receiver"), grouped.clone()));

        let link = SlowLink::to(server.local_addr().map_err(failed)?).await?;
        let connection = client.connect(link.address, "localhost").map_err(failed)?.await.map_err(failed)?;
        let mut pair = Pair {
            connection,
            grouped,
            log: folder.file("raw-sender"),
            link,
            connect_bytes: 0,
            _endpoints: [server, client],
        };
        pair.single(100, 1).await?;
        pair.connect_bytes = pair.link.bytes();
        Ok(pair)
    }

    /// One sync for everything that waits, instead of one for each message.
    pub(super) fn sync_in_groups(&self, grouped: bool) {
        self.grouped.store(grouped, Ordering::Relaxed);
    }

    /// One message after the other, and how long each took.
    pub(super) async fn single(&self, bytes: usize, count: usize) -> Result<Vec<Duration>, Failure> {
        let mut log = File::create(&self.log).map_err(failed)?;
        let (mut send, mut receive) = self.open(bytes).await?;
        let message = vec![7; bytes];
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let started = Instant::now();
            keep(&mut log, &message)?;
            send.write_all(&message).await.map_err(failed)?;
            receive.read_exact(&mut [0; ANSWER_BYTES]).await.map_err(failed)?;
            times.push(started.elapsed());
        }
        Ok(times)
    }

    /// As fast as they are acknowledged; messages a second.
    pub(super) async fn stream(&self, bytes: usize, length: Duration) -> Result<f64, Failure> {
        let log = File::create(&self.log).map_err(failed)?;
        let (send, mut receive) = self.open(bytes).await?;
        let window = Arc::new(Semaphore::new(WINDOW));
        let grouped = self.grouped.load(Ordering::Relaxed);
        let sender = tokio::spawn(send_all(send, log, bytes, window.clone(), grouped));
        let started = Instant::now();
        let mut count = 0usize;
        while started.elapsed() < length {
            receive.read_exact(&mut [0; ANSWER_BYTES]).await.map_err(failed)?;
            count += 1;
            window.add_permits(1);
        }
        let rate = count as f64 / started.elapsed().as_secs_f64();
        window.close();
        sender.await.map_err(failed)??;
        while receive.read_chunk(usize::MAX, true).await.map_err(failed)?.is_some() {}
        Ok(rate)
    }

    /// A fresh stream; its first bytes say how long its messages are.
    async fn open(&self, bytes: usize) -> Result<(SendStream, RecvStream), Failure> {
        let (mut send, receive) = self.connection.open_bi().await.map_err(failed)?;
        send.write_all(&u32::try_from(bytes).map_err(failed)?.to_be_bytes()).await.map_err(failed)?;
        Ok((send, receive))
    }
}

async fn send_all(
    mut send: SendStream,
    mut log: File,
    bytes: usize,
    window: Arc<Semaphore>,
    grouped: bool,
) -> Result<(), Failure> {
    let batch = vec![7; bytes * WINDOW];
    while let Ok(permit) = window.acquire().await {
        permit.forget();
        let mut count = 1;
        while grouped && count < WINDOW {
            let Ok(permit) = window.try_acquire() else { break };
            permit.forget();
            count += 1;
        }
        let messages = batch.get(..bytes * count).unwrap_or_default();
        keep(&mut log, messages)?;
        send.write_all(messages).await.map_err(failed)?;
    }
    send.finish().map_err(failed)
}

/// Appends and syncs. The runtime goes on with another thread meanwhile.
fn keep(log: &mut File, bytes: &[u8]) -> Result<(), Failure> {
    tokio::task::block_in_place(|| log.write_all(bytes).and_then(|()| log.sync_data())).map_err(failed)
}

async fn serve(endpoint: Endpoint, log: PathBuf, grouped: Arc<AtomicBool>) {
    let Some(incoming) = endpoint.accept().await else { return };
    let Ok(connection) = incoming.await else { return };
    while let Ok((send, receive)) = connection.accept_bi().await {
        // A stream that breaks is noticed by the sending end.
        drop(answer(send, receive, &log, &grouped).await);
    }
}

async fn answer(
    mut send: SendStream,
    mut receive: RecvStream,
    log: &PathBuf,
    grouped: &AtomicBool,
) -> Result<(), Failure> {
    let mut log = File::create(log).map_err(failed)?;
    let mut length = [0; 4];
    receive.read_exact(&mut length).await.map_err(failed)?;
    let length = u32::from_be_bytes(length) as usize;
    let mut waiting: Vec<u8> = Vec::new();
    while let Some(chunk) = receive.read_chunk(64 * 1024, true).await.map_err(failed)? {
        waiting.extend_from_slice(&chunk.bytes);
        let whole = waiting.len() / length;
        let step = if grouped.load(Ordering::Relaxed) { whole.max(1) } else { 1 };
        for messages in waiting.get(..whole * length).unwrap_or_default().chunks(step * length) {
            keep(&mut log, messages)?;
            send.write_all(&vec![1; ANSWER_BYTES * messages.len() / length]).await.map_err(failed)?;
        }
        waiting.drain(..whole * length);
    }
    send.finish().map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> Failure {
    broken("the raw echo").why(error.to_string())
}
