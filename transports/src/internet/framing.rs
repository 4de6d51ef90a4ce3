//! Frames on a byte stream: an unsigned varint length, then the bytes. Nothing here knows libp2p.

use std::io;

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::queue::Drain;

/// How a stream of frames ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// The other end closed the stream between two frames.
    #[error("the other end closed the link")]
    Closed,
    /// The stream broke.
    #[error("the stream broke: {0}")]
    Io(#[from] io::Error),
    /// The other end broke the rules: a frame too large, or a malformed length.
    #[error("the other end broke the framing")]
    Violation,
}

/// Reads one frame.
///
/// A length over `bytes_max` is refused before anything is allocated, and memory grows only as bytes arrive.
/// Not cancellation-safe: a dropped call loses the frame.
///
/// # Errors
/// [`FrameError`].
pub(super) async fn read_frame(stream: &mut (impl AsyncRead + Unpin), bytes_max: usize) -> Result<Vec<u8>, FrameError> {
    /// Memory reserved ahead of what has arrived.
    const CHUNK: usize = 64 * 1024;
    let len = read_length(stream, bytes_max).await?;
    let mut frame = Vec::new();
    while frame.len() < len {
        let filled = frame.len();
        frame.resize(len.min(filled.saturating_add(CHUNK)), 0);
        let (_, rest) = frame.split_at_mut(filled);
        stream.read_exact(rest).await?;
    }
    Ok(frame)
}

async fn read_length(stream: &mut (impl AsyncRead + Unpin), bytes_max: usize) -> Result<usize, FrameError> {
    let mut len = 0u64;
    // Four groups of seven bits hold any length up to 256 MiB, far above every limit.
    for shift in [0, 7, 14, 21] {
        let mut byte = [0; 1];
        if stream.read(&mut byte).await? == 0 {
            return Err(if shift == 0 { FrameError::Closed } else { FrameError::Violation });
        }
        let [byte] = byte;
        len |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            if byte == 0 && shift != 0 {
                return Err(FrameError::Violation); // not the shortest form
            }
            return usize::try_from(len).ok().filter(|len| *len <= bytes_max).ok_or(FrameError::Violation);
        }
    }
    Err(FrameError::Violation)
}

/// Appends a frame with its length to `out`.
pub(super) fn append_frame(out: &mut Vec<u8>, frame: &[u8]) {
    let mut len = frame.len();
    while len >= 0x80 {
        out.push((len & 0x7f) as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(frame);
}

/// Writes queued frames until the queue's other end is gone: as many as are waiting in one write, one flush when the
/// queue is empty.
///
/// # Errors
/// When the stream breaks.
pub(super) async fn write_frames(stream: &mut (impl AsyncWrite + Unpin), drain: &mut Drain) -> io::Result<()> {
    /// Enough to fill many packets, little enough to keep for every link.
    const BATCH_BYTES: usize = 32 * 1024;
    let mut batch = Vec::new();
    while let Some(frame) = drain.next().await {
        let mut taken = frame.len();
        append_frame(&mut batch, &frame);
        while batch.len() < BATCH_BYTES {
            let Some(frame) = drain.waiting() else {
                break;
            };
            taken = taken.saturating_add(frame.len());
            append_frame(&mut batch, &frame);
        }
        stream.write_all(&batch).await?;
        drain.done(taken);
        if drain.is_empty() {
            stream.flush().await?;
            batch = Vec::new();
        } else {
            batch.clear();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use futures::executor::block_on;
    use futures::io::Cursor;
    use silbo_protocol::limits::FRAME_BYTES_MAX;

    use super::*;
    use crate::medium::INTERNET;
    use crate::queue::queue;

    fn read(bytes: &[u8]) -> Result<Vec<u8>, FrameError> {
        block_on(read_frame(&mut Cursor::new(bytes), FRAME_BYTES_MAX))
    }

    #[test]
    fn frames_of_every_size_class_round_trip() {
        for len in [0, 1, 127, 128, 16_383, 16_384, 65_535, 65_536, FRAME_BYTES_MAX] {
            let frame = vec![7; len];
            let mut bytes = Vec::new();
            append_frame(&mut bytes, &frame);
            assert_eq!(read(&bytes).expect("a frame"), frame, "{len}");
        }
    }

    #[test]
    fn t51_lengths_over_the_limit_are_refused_before_allocation() {
        let mut over = Vec::new();
        append_frame(&mut over, &vec![0; FRAME_BYTES_MAX + 1]);
        let header: Vec<u8> = over.iter().copied().take(3).collect();
        // Only the header is there: a reader that allocated or waited for the body would see a broken stream instead.
        assert!(matches!(read(&header), Err(FrameError::Violation)));
        assert!(matches!(read(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Err(FrameError::Violation)));
        assert!(matches!(read(&[0xff; 10]), Err(FrameError::Violation)));
    }

    #[test]
    fn truncated_and_roundabout_lengths_are_refused() {
        assert!(matches!(read(&[]), Err(FrameError::Closed)));
        assert!(matches!(read(&[0x80]), Err(FrameError::Violation)));
        assert!(matches!(read(&[0x81, 0x00]), Err(FrameError::Violation)));
        assert!(matches!(read(&[5, 1, 2]), Err(FrameError::Io(_))));
    }

    #[test]
    fn writing_drains_the_queue_in_order() {
        let (queue, mut drain) = queue(INTERNET);
        for i in 0..100u8 {
            queue.push(vec![i; 3]).expect("room");
        }
        let bytes = queue.bytes();
        drop(queue);
        let mut out = Vec::new();
        block_on(write_frames(&mut out, &mut drain)).expect("a vector takes everything");
        let mut stream = Cursor::new(out);
        for i in 0..100u8 {
            assert_eq!(block_on(read_frame(&mut stream, 16)).expect("a frame"), vec![i; 3]);
        }
        assert_eq!(bytes.load(Ordering::Relaxed), 0);
    }
}
