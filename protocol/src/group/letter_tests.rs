//! Letters: what opens, and everything that must not.

use super::chain::{ChainError, LetterPlace, SenderChains};
use super::letter::{
    Cover, Draft, LETTER_OVERHEAD, Letter, OpenLetterError, Origin, SealLetterError, SealedLetter, open, seal,
    verify_again,
};
use super::test_group::{GROUP, chains_of, device, devices};
use crate::chance::Chance;
use crate::crypto::ed25519::SigningKey;
use crate::ids::{EpochId, GroupId};
use crate::limits::ENVELOPE_BYTES_MAX;
use crate::time::{DAY_MS, UnixTime};
use crate::wire::envelope::{Class, EXTENSION_PURGE, Envelope, EnvelopeHead};
use crate::wire::padding::PadClass;

const EPOCH: EpochId = EpochId([1; 16]);
const NOW: UnixTime = UnixTime(1_800_000_000_000);

fn signer(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

fn chains() -> SenderChains {
    let mut chains = SenderChains::default();
    chains.insert(EPOCH, chains_of(1, &devices(&[0, 1, 2])));
    chains
}

fn origin(sender: u16) -> Origin {
    Origin { group: GROUP, epoch: EPOCH, sender: device(sender) }
}

fn at(writer: u16, n: u32) -> LetterPlace {
    LetterPlace { epoch: EPOCH, writer, n }
}

fn head() -> EnvelopeHead {
    EnvelopeHead::new(Class::Text, 7 * DAY_MS, NOW, &mut Chance::from_seed([9; 32]))
}

fn cover() -> Cover<'static> {
    Cover { head: head(), extensions: &[], class: PadClass::Constrained }
}

fn draft(body: &[u8]) -> Draft {
    Draft { lamport: 7, parents: vec![[3; 6]], body: body.to_vec() }
}

/// A member's next letter; its own chain moves.
fn write(chains: &mut SenderChains, sender: u16, by: u8, body: &[u8]) -> SealedLetter {
    let chain = chains.chain(&EPOCH, sender).unwrap().clone();
    let mut chance = Chance::from_seed([by ^ body.len() as u8; 32]);
    let sealed = seal(&origin(sender), &chain, &signer(by), &cover(), &draft(body), &mut chance).unwrap();
    chains.put_chain(&EPOCH, sender, sealed.chain.clone());
    sealed
}

fn read(chains: &mut SenderChains, sender: u16, sealed: &SealedLetter) -> Result<Letter, OpenLetterError> {
    let found = chains.find(at(sender, sealed.n)).map_err(|_| OpenLetterError::UnknownTag)?;
    let letter = open(&origin(sender), &found, &signer(sender as u8).verifying_key(), &sealed.envelope)?;
    chains.commit(found, NOW);
    Ok(letter)
}

#[test]
fn a_letter_opens_at_every_member_in_any_order() {
    let mut sender = chains();
    let sent: Vec<SealedLetter> = (0..6u8).map(|n| write(&mut sender, 1, 1, &[n; 20])).collect();
    for order in [[0, 1, 2, 3, 4, 5], [5, 0, 3, 1, 4, 2]] {
        let mut member = chains();
        for n in order {
            let letter = read(&mut member, 1, &sent[n]).unwrap();
            assert_eq!((letter.body, letter.n, letter.id), (vec![n as u8; 20], n as u32, sent[n].id));
            assert_eq!((letter.lamport, letter.parents), (7, vec![[3; 6]]));
        }
        assert_eq!(member.chain(&EPOCH, 1), sender.chain(&EPOCH, 1));
    }
}

#[test]
fn t11_a_repeated_letter_is_refused_and_changes_nothing() {
    let sealed = write(&mut chains(), 1, 1, b"once");
    let mut member = chains();
    read(&mut member, 1, &sealed).unwrap();
    let before = member.clone();
    assert_eq!(member.find(at(1, 0)), Err(ChainError::Behind));
    assert_eq!(member, before);
    // A second meaning for a place that has been read finds no key either.
    let second = write(&mut chains(), 1, 1, b"another meaning");
    assert_eq!(second.tag, sealed.tag);
    assert_eq!(read(&mut member, 1, &second), Err(OpenLetterError::UnknownTag));
    assert_eq!(member, before);
}

#[test]
fn t23_a_member_cannot_write_on_the_chain_of_another() {
    // 2 has every key of the group and seals on the chain of 1, with its own signature or with a copied letter.
    let forged = write(&mut chains(), 1, 2, b"as if from 1");
    let mut member = chains();
    let before = member.clone();
    assert_eq!(read(&mut member, 1, &forged), Err(OpenLetterError::Forged));
    assert_eq!(member, before);
    let genuine = write(&mut chains(), 1, 1, b"from 1");
    assert!(read(&mut member, 1, &genuine).is_ok(), "the place is still good for the genuine letter");
}

#[test]
fn t23_what_one_member_signed_is_not_good_for_another_place_epoch_or_group() {
    let letter = read(&mut chains(), 1, &write(&mut chains(), 1, 1, b"signed")).unwrap();
    let key = signer(1).verifying_key();
    assert!(verify_again(&letter, &key));
    let other = |change: &dyn Fn(&mut Letter)| {
        let mut changed = letter.clone();
        change(&mut changed);
        verify_again(&changed, &key)
    };
    assert!(!other(&|l| l.origin.group = GroupId([1; 16])));
    assert!(!other(&|l| l.origin.epoch = EpochId([2; 16])));
    assert!(!other(&|l| l.origin.sender = device(2)));
    assert!(!other(&|l| l.n = 1));
    assert!(!other(&|l| l.lamport = 8));
    assert!(!other(&|l| l.parents.clear()));
    assert!(!other(&|l| l.header[1] ^= 1));
    assert!(!other(&|l| l.body.push(0)));
    assert!(!other(&|l| l.salt[0] ^= 1));
    assert!(!other(&|l| l.signature[0] ^= 1));
    assert!(!other(&|l| l.id.0[0] ^= 1));
    assert!(!verify_again(&letter, &signer(2).verifying_key()));
}

#[test]
fn a_letter_of_another_group_epoch_or_sender_is_refused() {
    let sealed = write(&mut chains(), 1, 1, b"here");
    let found = chains().find(at(1, 0)).unwrap();
    let key = signer(1).verifying_key();
    let open_as = |origin: Origin| open(&origin, &found, &key, &sealed.envelope);
    assert!(open_as(origin(1)).is_ok());
    assert_eq!(open_as(Origin { group: GroupId([1; 16]), ..origin(1) }), Err(OpenLetterError::Rejected));
    assert_eq!(open_as(Origin { epoch: EpochId([2; 16]), ..origin(1) }), Err(OpenLetterError::UnknownTag));
    assert_eq!(open_as(Origin { sender: device(2), ..origin(1) }), Err(OpenLetterError::Rejected));
    let elsewhere = chains().find(at(1, 1)).unwrap();
    assert_eq!(open(&origin(1), &elsewhere, &key, &sealed.envelope), Err(OpenLetterError::UnknownTag));
    let mut moved = sealed.envelope.clone();
    moved[4..16].copy_from_slice(&elsewhere.tag.0);
    assert_eq!(open(&origin(1), &elsewhere, &key, &moved), Err(OpenLetterError::Rejected));
}

#[test]
fn t14_every_flipped_bit_and_every_cut_is_refused() {
    let sealed = write(&mut chains(), 1, 1, &[9; 100]);
    let found = chains().find(at(1, 0)).unwrap();
    let key = signer(1).verifying_key();
    for bit in 0..sealed.envelope.len() * 8 {
        let mut flipped = sealed.envelope.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(open(&origin(1), &found, &key, &flipped).is_err(), "bit {bit}");
    }
    for len in 0..sealed.envelope.len() {
        assert!(open(&origin(1), &found, &key, &sealed.envelope[..len]).is_err(), "{len} bytes");
    }
    for more in [1, 16, 64] {
        let longer = [&sealed.envelope[..], &vec![0; more]].concat();
        assert!(open(&origin(1), &found, &key, &longer).is_err(), "{more} more");
    }
}

#[test]
fn the_author_can_commit_to_purging_and_nobody_can_take_the_commitment_off() {
    let chain = chains().chain(&EPOCH, 1).unwrap().clone();
    let with_ext = EnvelopeHead { has_ext: true, ..head() };
    let extension = [&[EXTENSION_PURGE, 12][..], &[5; 12]].concat();
    let mut chance = Chance::from_seed([1; 32]);
    let mut sealed = |head: EnvelopeHead, extensions: &[u8]| {
        let cover = Cover { head, extensions, class: PadClass::Rich };
        seal(&origin(1), &chain, &signer(1), &cover, &draft(b"x"), &mut chance)
    };
    let letter = sealed(with_ext, &extension).unwrap();
    assert_eq!(letter.envelope.len(), 512);
    assert_eq!(Envelope::parse(&letter.envelope).unwrap().extension(EXTENSION_PURGE), Some(&[5; 12][..]));
    let found = chains().find(at(1, 0)).unwrap();
    let key = signer(1).verifying_key();
    assert!(open(&origin(1), &found, &key, &letter.envelope).is_ok());
    let mut without = letter.envelope.clone();
    without[0] &= !1;
    without.drain(16..30);
    assert_eq!(open(&origin(1), &found, &key, &without), Err(OpenLetterError::Rejected));
    assert_eq!(sealed(head(), &extension), Err(SealLetterError::Malformed), "extensions without the flag");
    assert_eq!(sealed(with_ext, &[]), Err(SealLetterError::Malformed), "the flag without extensions");
}

#[test]
fn a_letter_costs_about_120_bytes_more_than_its_text() {
    let mut member = chains();
    let parentless = Draft { lamport: 1, parents: Vec::new(), body: Vec::new() };
    for (draft, bytes) in
        [(parentless, 116), (draft(b""), 124), (Draft { parents: vec![[1; 6], [2; 6], [3; 6]], ..draft(b"") }, 136)]
    {
        let chain = member.chain(&EPOCH, 1).unwrap().clone();
        let mut chance = Chance::from_seed([1; 32]);
        let sealed = seal(&origin(1), &chain, &signer(1), &cover(), &draft, &mut chance).unwrap();
        assert_eq!(sealed.envelope.len(), usize::next_multiple_of(bytes, 16), "padded to steps of 16");
        member.put_chain(&EPOCH, 1, sealed.chain);
    }
    assert_eq!(LETTER_OVERHEAD, 48);
}

#[test]
fn one_place_sealed_twice_after_a_restore_does_not_use_one_key_twice() {
    let chain = chains().chain(&EPOCH, 1).unwrap().clone();
    let mut chance = Chance::from_seed([1; 32]);
    let mut sealed = |body: &[u8]| seal(&origin(1), &chain, &signer(1), &cover(), &draft(body), &mut chance).unwrap();
    let (one, two) = (sealed(b"one"), sealed(b"two"));
    assert_eq!(one.tag, two.tag);
    assert_ne!(one.key_id, two.key_id);
}

#[test]
fn malformed_drafts_and_letters_too_long_are_refused() {
    let chain = chains().chain(&EPOCH, 1).unwrap().clone();
    let mut chance = Chance::from_seed([1; 32]);
    let mut sealed = |draft: &Draft| {
        seal(&origin(1), &chain, &signer(1), &Cover { class: PadClass::Rich, ..cover() }, draft, &mut chance)
            .map(|sealed| sealed.n)
    };
    for parents in [vec![[2; 6], [1; 6]], vec![[1; 6]; 2], vec![[1; 6], [2; 6], [3; 6], [4; 6]]] {
        assert_eq!(sealed(&Draft { parents, ..draft(b"") }), Err(SealLetterError::Malformed));
    }
    assert_eq!(sealed(&draft(&vec![0; ENVELOPE_BYTES_MAX])), Err(SealLetterError::TooLong));
    assert_eq!(sealed(&draft(&vec![0; ENVELOPE_BYTES_MAX - 200])), Ok(0));
}

#[test]
fn a_signed_inside_that_is_malformed_is_refused() {
    // What a member can seal and sign beside the rules: lengths that lie, parents that are no whole ids.
    use crate::crypto::{Secret, aead, fields, kdf};
    let found = chains().find(at(1, 0)).unwrap();
    let salt = [1; 16];
    let outside = head().with_tag(&found.tag);
    let ad = fields(&[GROUP.as_bytes(), EPOCH.as_bytes(), &device(1).to_bytes(), &0u32.to_be_bytes(), &outside]);
    let (key, nonce): (Secret<32>, Secret<12>) =
        kdf::<44>(found.message_key.expose(), &salt, "silbo/1/group/letter").split();
    for inside in [
        &[][..],
        &[0x80],
        &[200, 1, 2, 0x80],
        &[0, 1, 2, 3, 0x80, 0],
        &[2, 0x2a, 0x01, 0x80],
        &[&[1, 0x28][..], &[0; 64], &[0x80]].concat(),
        &[0; 100],
    ] {
        let body = aead::seal(&key, nonce.expose(), &ad, inside);
        let envelope = [&outside[..], &salt, &body].concat();
        let opened = open(&origin(1), &found, &signer(1).verifying_key(), &envelope);
        assert!(matches!(opened, Err(OpenLetterError::Forged)), "{inside:?}: {opened:?}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]

    /// T-12 for groups: whatever is lost, doubled and reordered, each letter that comes is read once.
    #[test]
    fn t12_letters_that_are_lost_doubled_and_reordered_are_each_read_once(
        order in proptest::collection::vec((0u16..3, 0usize..40), 0..160),
    ) {
        let mut senders = chains();
        let sent: Vec<Vec<SealedLetter>> = (0..3u8)
            .map(|by| (0..40).map(|n| write(&mut senders, u16::from(by), by, &[by, n])).collect())
            .collect();
        let mut member = chains();
        let mut seen = std::collections::BTreeSet::new();
        for (sender, n) in order {
            let known = member.tags().iter().any(|(tag, place)| {
                *tag == sent[usize::from(sender)][n].tag && *place == at(sender, n as u32)
            });
            let listened = known || member.search_silent(&sent[usize::from(sender)][n].tag).is_some();
            let before = member.clone();
            let opened = read(&mut member, sender, &sent[usize::from(sender)][n]);
            proptest::prop_assert_eq!(opened.is_ok(), seen.insert((sender, n)), "{} {}", sender, n);
            proptest::prop_assert!(opened.is_ok() || member == before);
            proptest::prop_assert!(opened.is_err() || listened || n >= 16, "{} {}", sender, n);
        }
    }
}
