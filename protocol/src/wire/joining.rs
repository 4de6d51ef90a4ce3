//! Frames of one kind for one link, joined: many messages that were committed together leave in few frames.
//!
//! ```text
//!   02 a │ 02 b │ 02 c  ──▶  02 a b c          03 p │ 03 q  ──▶  03 p q
//! ```
//! Both kinds are lists, so the joined frame says what the single ones said, in the same order. The other end handles a
//! frame in one step and answers it with one frame. Only the driver joins, after the commit; it may not look inside.

use std::collections::BTreeMap;

use crate::ids::{LinkId, Preimage};
use crate::limits::{ENVELOPES_PER_FRAME_MAX, JOINED_FRAME_BYTES_MAX, RECEIPTS_PER_FRAME_MAX};
use crate::step::Send;
use crate::wire::frame::{ENVELOPES, RECEIPTS};

/// Joins what can be joined. Frames of a link stay in their order; everything else stays where it is.
#[must_use]
pub fn join_frames(sends: Vec<Send>) -> Vec<Send> {
    let mut joined: Vec<Send> = Vec::with_capacity(sends.len());
    let mut open: BTreeMap<LinkId, Open> = BTreeMap::new();
    for send in sends {
        match &send {
            Send::Frame { link, bytes } => {
                if let Some(last) = open.get_mut(link)
                    && let Some(Send::Frame { bytes: frame, .. }) = joined.get_mut(last.at)
                    && last.take(frame, bytes)
                {
                    continue;
                }
                open.insert(*link, Open { at: joined.len(), entries: entries(bytes) });
            }
            Send::Close { link } => {
                open.remove(link);
            }
            _ => {}
        }
        joined.push(send);
    }
    joined
}

/// The last frame of a link.
struct Open {
    at: usize,
    /// How many entries it has; `None` if it is of a kind that is not joined.
    entries: Option<usize>,
}

impl Open {
    /// Appends the entries of the next frame; false, and nothing changed, if that cannot be.
    fn take(&mut self, frame: &mut Vec<u8>, next: &[u8]) -> bool {
        let (Some(have), Some(more)) = (self.entries, entries(next)) else { return false };
        let (Some((kind, _)), Some((next_kind, body))) = (frame.split_first(), next.split_first()) else {
            return false;
        };
        let most = if *kind == ENVELOPES { ENVELOPES_PER_FRAME_MAX } else { RECEIPTS_PER_FRAME_MAX };
        if kind != next_kind || have + more > most || frame.len() + body.len() > JOINED_FRAME_BYTES_MAX {
            return false;
        }
        frame.extend_from_slice(body);
        self.entries = Some(have + more);
        true
    }
}

/// How many envelopes or receipts are in a frame; `None` for other kinds.
fn entries(frame: &[u8]) -> Option<usize> {
    let (kind, mut body) = frame.split_first()?;
    match *kind {
        RECEIPTS => Some(body.len() / Preimage::LEN),
        ENVELOPES => {
            let mut count = 0;
            while !body.is_empty() {
                let len = usize::try_from(prost::encoding::decode_varint(&mut body).ok()?).ok()?;
                body = body.get(len..)?;
                count += 1;
            }
            Some(count)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::Frame;
    use crate::wire::proto;

    const ADA: LinkId = LinkId(1);
    const BOB: LinkId = LinkId(2);

    fn send(link: LinkId, frame: &Frame) -> Send {
        Send::Frame { link, bytes: frame.encode() }
    }

    fn envelope(byte: u8, len: usize) -> Frame {
        Frame::Envelopes(vec![vec![byte; len]])
    }

    fn receipt(byte: u8) -> Frame {
        Frame::Receipts(vec![Preimage([byte; Preimage::LEN])])
    }

    fn frames(sends: &[Send]) -> Vec<(LinkId, Frame)> {
        let frame = |send: &Send| match send {
            Send::Frame { link, bytes } => Some((*link, Frame::decode(bytes).expect("a joined frame decodes"))),
            _ => None,
        };
        sends.iter().filter_map(frame).collect()
    }

    #[test]
    fn frames_of_one_kind_for_one_link_become_one() {
        let joined = join_frames(vec![
            send(ADA, &envelope(1, 300)),
            send(BOB, &receipt(2)),
            send(ADA, &envelope(3, 40)),
            send(BOB, &receipt(4)),
        ]);
        let both = Frame::Receipts(vec![Preimage([2; 16]), Preimage([4; 16])]);
        assert_eq!(frames(&joined), [(ADA, Frame::Envelopes(vec![vec![1; 300], vec![3; 40]])), (BOB, both)]);
    }

    #[test]
    fn frames_of_a_link_keep_their_order() {
        let other = Frame::CardReq(proto::CardReq::default());
        let sent = vec![
            send(ADA, &envelope(1, 40)),
            send(ADA, &receipt(2)),
            send(ADA, &envelope(3, 40)),
            send(ADA, &other),
            send(ADA, &other),
            send(ADA, &envelope(4, 40)),
        ];
        assert_eq!(join_frames(sent.clone()), sent);
    }

    #[test]
    fn nothing_is_joined_across_the_end_of_a_link() {
        let sent = vec![send(ADA, &envelope(1, 40)), Send::Close { link: ADA }, send(ADA, &envelope(2, 40))];
        assert_eq!(join_frames(sent.clone()), sent);
    }

    #[test]
    fn a_joined_frame_has_no_more_envelopes_than_a_frame_may_have() {
        let sent = (0..=ENVELOPES_PER_FRAME_MAX).map(|_| send(ADA, &envelope(1, 40))).collect();
        let counts: Vec<usize> = frames(&join_frames(sent))
            .into_iter()
            .map(|(_, frame)| if let Frame::Envelopes(list) = frame { list.len() } else { 0 })
            .collect();
        assert_eq!(counts, [ENVELOPES_PER_FRAME_MAX, 1]);
    }

    #[test]
    fn a_joined_frame_is_no_longer_than_whoever_does_not_know_us_takes() {
        let half = JOINED_FRAME_BYTES_MAX / 2 - 10;
        let joined = join_frames((0..3).map(|_| send(ADA, &envelope(1, half))).collect());
        let lengths: Vec<usize> =
            joined.iter().map(|send| if let Send::Frame { bytes, .. } = send { bytes.len() } else { 0 }).collect();
        assert_eq!(lengths.len(), 2);
        assert!(lengths.iter().all(|&len| len <= JOINED_FRAME_BYTES_MAX));
    }

    #[test]
    fn receipts_are_joined_up_to_their_bound() {
        let many = Frame::Receipts(vec![Preimage([7; 16]); 600]);
        let joined = frames(&join_frames((0..8).map(|_| send(ADA, &many)).collect()));
        let counts: Vec<usize> =
            joined.iter().map(|(_, f)| if let Frame::Receipts(list) = f { list.len() } else { 0 }).collect();
        assert_eq!(counts.iter().sum::<usize>(), 4_800);
        assert!(counts.iter().all(|&count| count <= RECEIPTS_PER_FRAME_MAX));
        assert!(counts.len() < 8);
    }
}
