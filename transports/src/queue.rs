//! The bounded queue of frames before each link: one frame too many is an answer, never a wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use crate::medium::Medium;

/// The sending end of a link's bounded queue.
#[derive(Debug)]
pub(crate) struct Queue {
    frames: mpsc::Sender<Vec<u8>>,
    bytes: Arc<AtomicUsize>,
    medium: Medium,
}

/// The draining end.
#[derive(Debug)]
pub(crate) struct Drain {
    frames: mpsc::Receiver<Vec<u8>>,
    bytes: Arc<AtomicUsize>,
}

/// A frame did not fit: the link is too slow for what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// A queue for one link.
pub(crate) fn queue(medium: Medium) -> (Queue, Drain) {
    let (sender, receiver) = mpsc::channel(medium.queue_frames_max);
    let bytes = Arc::new(AtomicUsize::new(0));
    (Queue { frames: sender, bytes: bytes.clone(), medium }, Drain { frames: receiver, bytes })
}

impl Queue {
    /// Queues a frame without waiting. Frames over the medium's size are refused like those that find no room.
    pub(crate) fn push(&self, frame: Vec<u8>) -> Result<(), Full> {
        let len = frame.len();
        if len > self.medium.frame_bytes_max {
            return Err(Full);
        }
        let queued = self.bytes.fetch_add(len, Ordering::Relaxed).saturating_add(len);
        if queued > self.medium.queue_bytes_max || self.frames.try_send(frame).is_err() {
            self.bytes.fetch_sub(len, Ordering::Relaxed);
            return Err(Full);
        }
        Ok(())
    }
}

impl Queue {
    /// Bytes that wait.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, feature = "internet"))]
impl Queue {
    /// The count of bytes, for tests.
    pub(crate) fn bytes(&self) -> Arc<AtomicUsize> {
        self.bytes.clone()
    }
}

impl Drain {
    /// The next frame; `None` when the queue's other end is gone. Cancelling loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        self.frames.recv().await
    }

    /// A frame that is there without waiting.
    #[cfg(feature = "internet")]
    pub(crate) fn waiting(&mut self) -> Option<Vec<u8>> {
        self.frames.try_recv().ok()
    }

    /// Nothing waits.
    #[cfg(feature = "internet")]
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// So many bytes of frames that were taken have left: there is room for others.
    pub(crate) fn done(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use silbo_protocol::limits::FRAME_BYTES_MAX;

    use super::*;
    use crate::medium::INTERNET;

    #[test]
    fn a_full_queue_refuses_by_count_and_by_bytes() {
        let (queue, drain) = queue(INTERNET);
        for _ in 0..INTERNET.queue_frames_max {
            assert_eq!(queue.push(vec![1]), Ok(()));
        }
        assert_eq!(queue.push(vec![1]), Err(Full));
        drop(drain);

        let (queue, _drain) = super::queue(INTERNET);
        for _ in 0..16 {
            assert_eq!(queue.push(vec![1; FRAME_BYTES_MAX]), Ok(()));
        }
        assert_eq!(queue.push(vec![1]), Err(Full));
    }

    #[test]
    fn a_frame_over_the_limit_never_enters_the_queue() {
        let (queue, _drain) = queue(INTERNET);
        assert_eq!(queue.push(vec![0; FRAME_BYTES_MAX + 1]), Err(Full));
        assert_eq!(queue.push(vec![0; FRAME_BYTES_MAX]), Ok(()));
    }
}
