//! What the hub tells, and takes from, a radio that brings up faster links to the same nodes.

use silbo_protocol::ids::LinkId;
use tokio::sync::mpsc;

use crate::medium::RADIO;

/// More than this waits on a link of a contact: a faster link is worth while. A quarter of what may wait, and 3 s of
/// Bluetooth at its best.
pub const BACKLOG_BYTES: usize = RADIO.queue_bytes_max / 4;
/// Happenings and records that may wait. One too many is dropped: whoever stands here has time limits of its own.
const WAITING_MAX: usize = 64;
/// Records that may wait on one link.
pub(super) const BESIDE_AHEAD: usize = 8;

/// The other end of the hub. Dropping it is fine.
#[derive(Debug)]
pub struct Beside {
    /// What happens on links.
    pub happenings: mpsc::Receiver<Happening>,
    /// Records for the other end of a link, each at most `packets::BESIDE_BYTES_MAX`; dropped when the link is gone.
    pub records: mpsc::Sender<(LinkId, Vec<u8>)>,
}

/// Something on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// More than [`BACKLOG_BYTES`] wait for a contact; said again with every frame as long as it is so.
    Backlog {
        /// The link.
        link: LinkId,
    },
    /// The other end said something.
    Record {
        /// The link.
        link: LinkId,
        /// The engine knows the other end as a contact.
        vouched: bool,
        /// What it said.
        bytes: Vec<u8>,
    },
    /// The link is gone.
    Down {
        /// The link.
        link: LinkId,
    },
}

/// The hub's end.
pub(super) struct HubEnd {
    happenings: mpsc::Sender<Happening>,
    pub(super) records: mpsc::Receiver<(LinkId, Vec<u8>)>,
}

impl HubEnd {
    /// Tells it, if there is room.
    pub(super) fn happened(&self, happening: Happening) {
        // Strangers fill half of the room at most.
        let stranger = matches!(happening, Happening::Record { vouched: false, .. });
        if stranger && self.happenings.capacity() <= WAITING_MAX / 2 {
            return;
        }
        // Not what it is: a PIN may be in it.
        if let Err(mpsc::error::TrySendError::Full(_)) = self.happenings.try_send(happening) {
            tracing::debug!("nobody has time for what happens on links");
        }
    }
}

/// Both ends.
pub(super) fn pair() -> (Beside, HubEnd) {
    let (happenings, happenings_out) = mpsc::channel(WAITING_MAX);
    let (records, records_out) = mpsc::channel(WAITING_MAX);
    (Beside { happenings: happenings_out, records }, HubEnd { happenings, records: records_out })
}
