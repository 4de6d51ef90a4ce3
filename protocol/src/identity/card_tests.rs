//! Tests of contact cards: round trip, every way a card can be wrong, bounds.

use super::*;

struct World {
    own: OwnAccount,
    chance: Chance,
    k_card: Secret<32>,
}

impl World {
    fn new() -> Self {
        let mut chance = Chance::from_seed([4; 32]);
        Self { own: OwnAccount::create(&mut chance, 1), k_card: Secret::random(&mut chance), chance }
    }

    fn aid20(&self) -> Aid20 {
        Aid20::of(&self.own.aid())
    }

    fn parts(&self) -> CardParts {
        CardParts {
            profile: proto::Profile { name: "Ann".into(), status: "up".into(), avatar: vec![1; 30_000], rev: 3 },
            bundles: vec![proto::PrekeyBundle {
                device_id: self.own.device_id().0.to_vec(),
                pq: vec![7; 1_184],
                ..Default::default()
            }],
            mailboxes: vec![grant(1)],
            presence: Some(crate::presence::PresenceKeys::generate(&mut Chance::from_seed([1; 32])).public()),
            peers: vec![peer(2)],
            seq: 5,
        }
    }

    fn seal(&mut self, card: &proto::Card) -> Vec<u8> {
        seal_card(&self.k_card, card, &self.own, &mut self.chance).unwrap()
    }

    fn open(&self, sealed: &[u8]) -> Result<VerifiedCard, CardError> {
        open_card(&self.k_card, sealed, &self.aid20())
    }
}

fn peer(byte: u8) -> proto::PeerHint {
    proto::PeerHint { peer: vec![byte; 38], addrs: vec![vec![byte; 8]], roles: 1 }
}

fn grant(byte: u8) -> proto::MailboxGrant {
    proto::MailboxGrant { relay: Some(peer(byte)), sid: vec![byte; 16], ..Default::default() }
}

#[test]
fn a_card_comes_back_without_its_avatar() {
    let mut world = World::new();
    let card = build_card(&world.own, world.parts());
    let sealed = world.seal(&card);
    assert_eq!(sealed.len(), CARD_PAD_BYTES);
    let opened = world.open(&sealed).unwrap();
    assert_eq!(opened.aid, world.own.aid());
    assert_eq!(opened.log.head3(), world.own.log().head3());
    assert_eq!(opened.profile, proto::Profile { avatar: vec![], ..world.parts().profile });
    assert_eq!(opened.bundles, world.parts().bundles);
    assert_eq!(opened.mailboxes, world.parts().mailboxes);
    assert_eq!(opened.presence, world.parts().presence);
    assert_eq!(opened.peers, world.parts().peers);
    assert_eq!((opened.seq, opened.suites), (5, vec![1]));
}

#[test]
fn two_sealings_of_one_card_share_nothing() {
    let mut world = World::new();
    let card = build_card(&world.own, world.parts());
    let (a, b) = (world.seal(&card), world.seal(&card));
    let equal = a.iter().zip(&b).filter(|(a, b)| a == b).count();
    assert!(equal < 100, "{equal} of 4,096 bytes");
}

#[test]
fn cards_for_another_invite_are_refused() {
    let mut world = World::new();
    let card = build_card(&world.own, world.parts());
    let sealed = world.seal(&card);
    let other_key = Secret::new([1; 32]);
    assert_eq!(open_card(&other_key, &sealed, &world.aid20()).err(), Some(CardError::Rejected));
    assert_eq!(open_card(&world.k_card, &sealed, &Aid20([0; 20])).err(), Some(CardError::Rejected));
}

#[test]
fn t14_damaged_cards_are_refused() {
    let mut world = World::new();
    let card = build_card(&world.own, world.parts());
    let sealed = world.seal(&card);
    for position in (0..sealed.len()).step_by(61).chain([0, 23, 24, sealed.len() - 1]) {
        let mut bad = sealed.clone();
        bad[position] ^= 0x10;
        assert_eq!(world.open(&bad).err(), Some(CardError::Rejected), "{position}");
    }
}

#[test]
fn t15_cards_of_other_lengths_are_refused() {
    let mut world = World::new();
    let card = build_card(&world.own, world.parts());
    let sealed = world.seal(&card);
    for len in [0, 1, 24, 40, 4_095] {
        assert_eq!(world.open(&sealed[..len]).err(), Some(CardError::Rejected), "{len}");
    }
    for len in [4_097, 8_192, 12_288] {
        let mut longer = sealed.clone();
        longer.resize(len, 0);
        assert_eq!(world.open(&longer).err(), Some(CardError::Rejected), "{len}");
    }
}

#[test]
fn who_holds_the_invite_still_cannot_forge_a_card() {
    let mut world = World::new();
    let mallory = OwnAccount::create(&mut world.chance, 1);
    let genuine = build_card(&world.own, world.parts());
    // Mallory knows k_card, takes the genuine log and puts its own mailbox in.
    let forged = proto::Card { mailboxes: vec![grant(66)], ..genuine.clone() };
    let aid20 = world.aid20();
    let body = forged.encode_to_vec();
    for (signer, key) in [(mallory.device_id(), mallory.dik()), (world.own.device_id(), mallory.dik())] {
        let sig = key.sign(CARD_PURPOSE, &[&aid20.0, &body]).to_vec();
        let signed = proto::Signed { body: body.clone(), sig, alg: ALG_ED25519, signer: signer.0.to_vec() };
        let sealed = seal_bytes(&world.k_card, &signed.encode_to_vec(), &aid20);
        assert_eq!(world.open(&sealed).err(), Some(CardError::Signature));
    }
    // Its own account under this invite.
    let own_card = build_card(&mallory, CardParts::default());
    let body = own_card.encode_to_vec();
    let sig = mallory.dik().sign(CARD_PURPOSE, &[&aid20.0, &body]).to_vec();
    let signed = proto::Signed { body, sig, alg: ALG_ED25519, signer: mallory.device_id().0.to_vec() };
    let sealed = seal_bytes(&world.k_card, &signed.encode_to_vec(), &aid20);
    assert_eq!(world.open(&sealed).err(), Some(CardError::OtherAccount));
}

#[test]
fn a_card_with_a_broken_log_or_another_aid_is_refused() {
    let mut world = World::new();
    let good = build_card(&world.own, world.parts());
    let mut no_log = good.clone();
    no_log.log.clear();
    let sealed = world.seal(&no_log);
    assert_eq!(world.open(&sealed).err(), Some(CardError::Log(LogError::Genesis)));
    let mut bad_sig = good.clone();
    bad_sig.log[0].sig[0] ^= 1;
    let sealed = world.seal(&bad_sig);
    assert_eq!(world.open(&sealed).err(), Some(CardError::Log(LogError::Signature)));
    let sealed = world.seal(&proto::Card { aid: vec![1; 32], ..good });
    assert_eq!(world.open(&sealed).err(), Some(CardError::OtherAccount));
}

#[test]
fn a_card_larger_than_a_relay_keeps_is_refused_by_its_maker() {
    let mut world = World::new();
    let mut parts = world.parts();
    parts.bundles = vec![parts.bundles[0].clone(); 7];
    let card = build_card(&world.own, parts);
    let refused = seal_card(&world.k_card, &card, &world.own, &mut world.chance);
    assert_eq!(refused, Err(CardError::TooLarge));
}

#[test]
fn what_a_card_claims_is_bounded() {
    let mut world = World::new();
    let mut card = build_card(&world.own, world.parts());
    card.profile = Some(proto::Profile {
        name: format!("A\u{1b}[2Jn\nn{}", "ü".repeat(100)),
        status: "s".repeat(200),
        avatar: vec![1; 10],
        rev: 1,
    });
    card.mailboxes = (0..9).map(grant).collect();
    card.peers = (0..9).map(|n| proto::PeerHint { addrs: vec![vec![1]; 30], ..peer(n) }).collect();
    card.presence = Some(proto::Presence { blind_vk: vec![0; 32], k_pres: vec![0; 32], r#gen: 1 });
    let foreign = proto::PrekeyBundle { device_id: vec![1; 8], ..Default::default() };
    card.bundles = vec![card.bundles[0].clone(), card.bundles[0].clone(), foreign];
    let sealed = world.seal(&card);
    let opened = world.open(&sealed).unwrap();
    assert!(opened.profile.name.starts_with("A[2Jnnü") && opened.profile.name.len() <= NAME_BYTES_MAX);
    assert_eq!(opened.profile.status.len(), STATUS_BYTES_MAX);
    assert!(opened.profile.avatar.is_empty());
    assert_eq!(opened.mailboxes.len(), GRANTS_PER_CONTACT_MAX);
    assert_eq!(opened.peers.len(), CARD_PEERS_MAX);
    assert!(opened.peers.iter().all(|p| p.addrs.len() == ADDRESSES_PER_PEER_MAX));
    assert_eq!(opened.presence, None);
    assert_eq!(opened.bundles.len(), 1);
}

fn seal_bytes(k_card: &Secret<32>, plain: &[u8], aid20: &Aid20) -> Vec<u8> {
    let salt = [9; SALT_BYTES];
    let (key, nonce) = seal_key(k_card, &salt);
    let padded = pad_to(plain, CARD_PAD_BYTES - OVERHEAD_BYTES).unwrap();
    [&salt[..], &aead::seal(&key, nonce.expose(), &aid20.0, &padded)].concat()
}
