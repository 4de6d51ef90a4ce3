//! Sockets that an embedding app has opened and bound to a network of its own: Wi-Fi Direct and Wi-Fi Aware on Android, where
//! only the app may say over which network a socket goes. A stream becomes a [`Pipe`], and what follows is the same link as
//! over any radio.
//!
//! ```text
//!   length (big-endian)  2 │ packet  length      and again
//! ```

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, BufWriter};
use tokio::sync::mpsc;

use super::{PIPE_PACKETS, Pipe, PipeEnd, pipe};
use crate::packets::End;
use crate::packets::packet::PACKET_BYTES_MAX;

/// Makes a pipe of a connected stream and moves its packets until either end is over; the future ends then, and drops the
/// stream. It does nothing until it is polled.
///
/// Errors end it: a length of 0 or over [`PACKET_BYTES_MAX`] is `InvalidData` and is not allocated for, the rest are the stream's.
pub fn adopt<S>(end: End, stream: S) -> (Pipe, impl Future<Output = io::Result<()>> + Send + 'static)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (pipe, radio) = pipe(end, PACKET_BYTES_MAX, PIPE_PACKETS);
    (pipe, carry(stream, radio))
}

async fn carry<S: AsyncRead + AsyncWrite + Send + 'static>(stream: S, radio: PipeEnd) -> io::Result<()> {
    let PipeEnd { incoming, outgoing, packet_bytes: _size, tell: _tell, told: _told } = radio;
    let (from, to) = tokio::io::split(stream);
    tokio::select! {
        read = read(BufReader::new(from), incoming) => read,
        written = write(BufWriter::new(to), outgoing) => written,
    }
}

async fn read(mut from: impl AsyncRead + Unpin, incoming: mpsc::Sender<Vec<u8>>) -> io::Result<()> {
    loop {
        let len = usize::from(from.read_u16().await?);
        if len == 0 || len > PACKET_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a packet of {len} bytes")));
        }
        let mut packet = vec![0; len];
        from.read_exact(&mut packet).await?;
        // The stream loses nothing: it waits with what the link has no room for.
        if incoming.send(packet).await.is_err() {
            return Ok(());
        }
    }
}

async fn write(mut to: impl AsyncWrite + Unpin, mut outgoing: mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    while let Some(packet) = outgoing.recv().await {
        let len = u16::try_from(packet.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        to.write_u16(len).await?;
        to.write_all(&packet).await?;
        if outgoing.is_empty() {
            to.flush().await?;
        }
    }
    to.shutdown().await
}
