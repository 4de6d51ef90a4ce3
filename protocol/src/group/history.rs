//! What newcomers are told of before: letters as their authors signed them, sealed anew in a session.
//!
//! ```text
//!   Letter ──▶ write ──▶ ToldLetter ──▶ Pack: parts that fit an envelope ──▶ session ──▶ read ──▶ Letter, or nothing
//! ```
//! No key of an earlier epoch is told. Whoever hands a letter on can leave it out, and can change nothing about it:
//! the author's signature covers group, epoch, sender, number, header and a salted hash of the body, and the sender
//! must have had a chain in that epoch. Decides nothing about who may be told what.

use prost::Message as _;

use super::key_graph::{KeyGraph, epoch_of};
use super::letter::{Letter, Origin, put_together, verify_again};
use super::welcome::read_heads;
use crate::crypto::ed25519::VerifyingKey;
use crate::ids::{GroupDevice, GroupId, OperationId};
use crate::limits::{ENVELOPE_BYTES_MAX, GROUP_HISTORY_BYTES_MAX, GROUP_HISTORY_MESSAGES_MAX, GROUP_PART_BYTES};
use crate::wire::proto;

/// Letters of several messages, in parts.
#[derive(Debug, Default)]
pub struct Pack {
    parts: Vec<Vec<proto::ToldLetter>>,
    open_bytes: usize,
    bytes: usize,
    messages: usize,
}

impl Pack {
    /// Adds a message: its text and what was done to it. `false` once there is no room for it; then nothing is added,
    /// and whoever packs stops.
    pub fn add(&mut self, letters: Vec<proto::ToldLetter>) -> bool {
        let bytes: usize = letters.iter().map(size).sum();
        if self.messages >= GROUP_HISTORY_MESSAGES_MAX || self.bytes + bytes > GROUP_HISTORY_BYTES_MAX {
            return false;
        }
        self.messages += 1;
        self.bytes += bytes;
        for letter in letters {
            let size = size(&letter);
            match self.parts.last_mut().filter(|_| self.open_bytes + size <= GROUP_PART_BYTES) {
                Some(part) => {
                    part.push(letter);
                    self.open_bytes += size;
                }
                // A long text has a part of its own.
                None => {
                    self.parts.push(vec![letter]);
                    self.open_bytes = size;
                }
            }
        }
        true
    }

    /// The parts for the session, in the order the messages were added.
    pub fn finish(self, group: &GroupId) -> impl Iterator<Item = proto::GroupHistory> {
        let gid = group.as_bytes().to_vec();
        self.parts.into_iter().map(move |letters| proto::GroupHistory { gid: gid.clone(), letters })
    }
}

/// Bytes of a letter within a part.
fn size(letter: &proto::ToldLetter) -> usize {
    letter.encoded_len() + 4
}

/// A letter with all that is needed to verify it. `heads`: of its epoch.
pub fn write(letter: &Letter, heads: &[OperationId]) -> proto::ToldLetter {
    proto::ToldLetter {
        heads: heads.iter().flat_map(|head| head.0).collect(),
        sender: letter.origin.sender.to_bytes().to_vec(),
        n: letter.n,
        header: letter.header.clone(),
        salt: letter.salt.to_vec(),
        signature: letter.signature.to_vec(),
        body: letter.body.clone(),
    }
}

/// A letter its author has written, in an epoch of this group in which it had a chain; `None` for anything else.
/// `keys_of`: the keys a device has ever signed with in this group.
pub fn read<'a>(
    told: &proto::ToldLetter,
    group: GroupId,
    graph: &KeyGraph,
    keys_of: impl Fn(&GroupDevice) -> &'a [VerifyingKey],
) -> Option<Letter> {
    if told.body.len() > ENVELOPE_BYTES_MAX || told.header.len() > usize::from(u8::MAX) {
        return None;
    }
    let heads = read_heads(&told.heads).filter(|heads| !heads.is_empty())?;
    let sender = GroupDevice::read(&told.sender)?;
    let (salt, signature) = (told.salt.as_slice().try_into().ok()?, told.signature.as_slice().try_into().ok()?);
    graph.writers(&heads)?.binary_search(&sender).ok()?;
    let origin = Origin { group, epoch: epoch_of(&heads), sender };
    let letter = put_together(origin, told.n, told.header.clone(), salt, signature, told.body.clone())?;
    keys_of(&sender).iter().any(|key| verify_again(&letter, key)).then_some(letter)
}

#[cfg(test)]
mod tests {
    use super::super::chain::SenderChains;
    use super::super::key_graph::KeyKind;
    use super::super::letter::{Cover, Draft, seal};
    use super::super::test_group::{GROUP, chains_of, device, devices, id, operation};
    use super::*;
    use crate::chance::Chance;
    use crate::crypto::ed25519::SigningKey;
    use crate::ids::EpochId;
    use crate::wire::envelope::EnvelopeHead;
    use crate::wire::padding::PadClass;

    fn signer(n: u16) -> SigningKey {
        SigningKey::from_seed(&[n as u8 + 1; 32])
    }

    /// 0 founded it and has let 1 in.
    fn graph() -> KeyGraph {
        let mut graph = KeyGraph::default();
        graph.insert(&operation(1, KeyKind::Genesis, &[], &[0])).unwrap();
        graph.insert(&operation(2, KeyKind::Forward, &[1], &[1])).unwrap();
        graph
    }

    /// What 1 writes in the epoch of its addition, signed by `by`.
    fn told(by: u16, body: &[u8]) -> proto::ToldLetter {
        let epoch = EpochId(id(2).0);
        let mut chains = SenderChains::default();
        chains.insert(epoch, chains_of(1, &devices(&[0, 1])));
        let origin = Origin { group: GROUP, epoch, sender: device(1) };
        let head = EnvelopeHead::decode([0x28, 0x60, 0x12, 0x34]).unwrap();
        let cover = Cover { head, extensions: &[], class: PadClass::Rich };
        let draft = Draft { lamport: 7, parents: vec![[3; 6]], body: body.to_vec() };
        let chain = chains.chain(&epoch, 1).unwrap();
        let sealed = seal(&origin, chain, &signer(by), &cover, &draft, &mut Chance::from_seed([1; 32])).unwrap();
        write(&sealed.letter, &[id(2)])
    }

    fn read_here(told: &proto::ToldLetter) -> Option<Letter> {
        let keys = [signer(0).verifying_key(), signer(1).verifying_key()];
        read(told, GROUP, &graph(), |device_of| match *device_of == device(1) {
            true => &keys[1..],
            false => &keys[..1],
        })
    }

    #[test]
    fn what_a_member_signed_reads_back_as_it_was() {
        let letter = read_here(&told(1, b"before")).expect("a genuine letter");
        assert_eq!((letter.body.as_slice(), letter.lamport, letter.origin.sender), (&b"before"[..], 7, device(1)));
    }

    #[test]
    fn text_author_epoch_and_place_cannot_be_changed_by_whoever_hands_it_on() {
        let genuine = told(1, b"before");
        let changed = |change: &dyn Fn(&mut proto::ToldLetter)| {
            let mut told = genuine.clone();
            change(&mut told);
            read_here(&told)
        };
        assert_eq!(changed(&|l| l.body.push(0)), None);
        assert_eq!(changed(&|l| l.body.clear()), None);
        assert_eq!(changed(&|l| l.sender = device(0).to_bytes().to_vec()), None);
        assert_eq!(changed(&|l| l.sender.truncate(39)), None);
        assert_eq!(changed(&|l| l.n = 1), None);
        assert_eq!(changed(&|l| l.header[1] ^= 1), None);
        assert_eq!(changed(&|l| l.salt[0] ^= 1), None);
        assert_eq!(changed(&|l| l.signature[0] ^= 1), None);
        assert_eq!(changed(&|l| l.signature.truncate(63)), None);
        assert_eq!(changed(&|l| l.heads = id(1).0.to_vec()), None, "1 had no chain then");
        assert_eq!(changed(&|l| l.heads = id(9).0.to_vec()), None, "an unknown epoch");
        assert_eq!(changed(&|l| l.heads.clear()), None);
        assert_eq!(changed(&|l| l.heads.pop().map_or((), drop)), None);
        assert_eq!(read_here(&told(0, b"before")), None, "signed by another member");
        let elsewhere = read(&genuine, GroupId([1; 16]), &graph(), |_| &[]);
        assert_eq!(elsewhere, None, "another group");
    }

    #[test]
    fn a_letter_longer_than_any_envelope_is_refused_before_it_is_verified() {
        let mut long = told(1, b"before");
        long.body = vec![0; ENVELOPE_BYTES_MAX + 1];
        assert_eq!(read_here(&long), None);
        let mut long = told(1, b"before");
        long.header = vec![0; 256];
        assert_eq!(read_here(&long), None);
    }

    #[test]
    fn parts_fit_an_envelope_and_a_pack_has_its_bounds() {
        let letter = |bytes: usize| proto::ToldLetter { body: vec![7; bytes], ..told(1, b"x") };
        let mut pack = Pack::default();
        let mut messages = 0;
        while pack.add(vec![letter(1_000), letter(10)]) {
            messages += 1;
        }
        assert!(pack.add(vec![letter(1)]) || messages > 1_000, "full by bytes, not before");
        let parts: Vec<proto::GroupHistory> = pack.finish(&GROUP).collect();
        let total: usize = parts.iter().map(prost::Message::encoded_len).sum();
        assert!(total <= GROUP_HISTORY_BYTES_MAX + parts.len() * 64, "{total}");
        assert!(parts.iter().all(|part| part.encoded_len() <= GROUP_PART_BYTES + 64), "48 KiB each");

        let mut pack = Pack::default();
        while pack.add(vec![letter(1)]) {}
        assert_eq!(pack.finish(&GROUP).map(|part| part.letters.len()).sum::<usize>(), GROUP_HISTORY_MESSAGES_MAX);

        let mut pack = Pack::default();
        assert!(pack.add(vec![letter(10), letter(64 * 1_024), letter(10)]));
        let parts: Vec<usize> = pack.finish(&GROUP).map(|part| part.letters.len()).collect();
        assert_eq!(parts, [1, 1, 1], "a long text has a part of its own");
    }
}
