//! Tests of invitations: known answers, every refusal, round trips.

use proptest::prelude::*;

use super::*;

fn peer(byte: u8) -> PeerKey {
    long_peer(&[byte; 32])
}

fn small() -> InviteCode {
    InviteCode {
        kind: InviteKind::OneTime,
        flags: flags::LAN,
        expiry_day: 1_055,
        secret: Secret::new([0x11; 16]),
        aid20: Aid20([0x22; 20]),
        hints: Vec::new(),
    }
}

fn large() -> InviteCode {
    InviteCode {
        kind: InviteKind::Reusable,
        flags: flags::RELAY | flags::DHT,
        hints: vec![
            Hint::ExpiryMinute(61),
            Hint::Relay { peer: peer(1), addr: vec![4, 127, 0, 0, 1, 6, 0x10, 0xe1] },
            Hint::Relay { peer: peer(2), addr: vec![9; 64] },
            Hint::Peer { peer: peer(3), addr: vec![2; 64] },
            Hint::Name("Ann Ünal".into()),
            Hint::Other { kind: 200, value: vec![1, 2, 3] },
        ],
        ..small()
    }
}

#[test]
fn the_check_value_of_the_checksum_holds() {
    assert_eq!(crc16(b"123456789"), 0xd64e);
}

#[test]
fn a_bare_invite_has_known_bytes_and_texts() {
    let bytes = small().encode();
    let mut expected = vec![0x10, 0x08, 0x04, 0x1f];
    expected.extend_from_slice(&[0x11; 16]);
    expected.extend_from_slice(&[0x22; 20]);
    assert_eq!(bytes[..40], expected);
    assert_eq!(bytes.len(), 42);
    assert_eq!(bytes[40..], [0x87, 0x88]);
    assert_eq!(small().link(), "silbo:i/EAgEHxEREREREREREREREREREREiIiIiIiIiIiIiIiIiIiIiIiIiIoeI");
    assert_eq!(small().link().len(), 64);
    assert_eq!(small().qr().len(), 8 + 68);
}

#[test]
fn all_three_forms_are_read() {
    for invite in [small(), large()] {
        let link = invite.link();
        let qr = invite.qr();
        for text in [
            link.clone(),
            qr.clone(),
            format!("  {link}\n"),
            link.replacen("silbo", "SILBO", 1),
            link.replacen("silbo:", "Silbo://", 1),
            qr.replacen("SILBO", "silbo", 1),
            format!("{}\r\n {}", &link[..30], &link[30..]),
            invite.web_link("https://silbo.example"),
            invite.web_link("HTTPS://any.host.example:8443/deep/"),
        ] {
            assert_eq!(InviteCode::parse(&text), Ok(invite.clone()), "{text}");
        }
    }
}

#[test]
fn the_error_says_what_is_wrong() {
    let link = small().link();
    for (text, error) in [
        ("", InviteError::NotSilbo),
        ("hello", InviteError::NotSilbo),
        ("https://silbo.example/k", InviteError::NotSilbo),
        ("https://silbo.example/other#AAAA", InviteError::NotSilbo),
        ("silbo:", InviteError::NotAnInvite),
        ("SILBO:V/00000000", InviteError::NotAnInvite),
        ("silbo:i/", InviteError::TooShort),
        (&link[..40], InviteError::TooShort),
        (&format!("{link}é"), InviteError::BadCharacter),
        (&link.replace("EAgE", "EBgE"), InviteError::Damaged),
        (&"x".repeat(4_000), InviteError::TooLong),
        (&format!("silbo:i/{}", "A".repeat(1_000)), InviteError::TooLong),
    ] {
        assert_eq!(InviteCode::parse(text), Err(error), "{text}");
    }
}

#[test]
fn versions_and_kinds_of_later_programs_are_named() {
    let with_first = |first: u8| {
        let mut bytes = small().encode();
        bytes.truncate(40);
        bytes[0] = first;
        let crc = crc16(&bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        InviteCode::decode(&bytes)
    };
    assert_eq!(with_first(0x20), Err(InviteError::UnknownVersion(2)));
    assert_eq!(with_first(0x00), Err(InviteError::UnknownVersion(0)));
    assert_eq!(with_first(0x12), Err(InviteError::UnknownKind(2)));
    assert_eq!(with_first(0x11).map(|i| i.kind), Ok(InviteKind::Reusable));
}

#[test]
fn malformed_hints_are_refused_although_the_checksum_matches() {
    let with_hints = |hints: &[u8]| {
        let mut bytes = small().encode();
        bytes.truncate(40);
        bytes.extend_from_slice(hints);
        let crc = crc16(&bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        InviteCode::decode(&bytes)
    };
    for hints in [
        &[1][..],
        &[1, 200],
        &[1, 3, 0, 0, 0],
        &[5, 0],
        &[5, 2, 0xff, 0xff],
        &[5, 1, 7],
        &[5, 1, b'a', 5, 1, b'b'],
        &[6, 2, 5, 160],
        &[6, 2, 0, 1, 6, 2, 0, 1],
        &[6, 1, 0],
    ] {
        assert_eq!(with_hints(hints), Err(InviteError::Malformed), "{hints:?}");
    }
    let mut long_name = vec![5, 25];
    long_name.extend_from_slice(&[b'a'; 25]);
    assert_eq!(with_hints(&long_name), Err(InviteError::Malformed));
}

#[test]
fn every_single_symbol_error_is_caught() {
    for (text, alphabet) in [
        (large().link(), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
        (large().qr(), "0123456789ABCDEFGHJKMNPQRSTVWXYZ"),
    ] {
        for position in 8..text.len() {
            for symbol in alphabet.chars() {
                let mut wrong = text.clone();
                wrong.replace_range(position..=position, symbol.encode_utf8(&mut [0; 4]));
                if wrong != text {
                    assert!(InviteCode::parse(&wrong).is_err(), "{position} {symbol}");
                }
            }
        }
    }
}

#[test]
fn t15_truncated_and_extended_invites_are_refused() {
    let whole = large().encode();
    for len in 0..whole.len() {
        assert!(InviteCode::decode(&whole[..len]).is_err(), "{len}");
    }
    for extra in 1..=64 {
        let mut longer = whole.clone();
        longer.resize(whole.len() + extra, 0);
        assert!(InviteCode::decode(&longer).is_err(), "{extra}");
    }
    assert!(InviteCode::decode(&[whole.clone(), whole].concat()).is_err());
}

#[test]
fn hints_that_cannot_be_written_are_left_out() {
    let invite = InviteCode {
        hints: vec![
            Hint::Relay { peer: PeerKey(vec![1, 2, 3]), addr: vec![1] },
            Hint::Relay { peer: peer(1), addr: vec![0; 65] },
            Hint::Relay { peer: peer(1), addr: Vec::new() },
            Hint::Peer { peer: peer(1), addr: vec![0; 65] },
            Hint::ExpiryMinute(1_440),
            Hint::Name("x".repeat(25)),
            Hint::Other { kind: HINT_NAME, value: vec![0] },
        ],
        ..small()
    };
    assert_eq!(invite.encode(), small().encode());
    let many = InviteCode { hints: vec![Hint::Relay { peer: peer(1), addr: vec![7; 64] }; 20], ..small() };
    let bytes = many.encode();
    assert!(bytes.len() <= INVITE_BYTES_MAX);
    assert_eq!(InviteCode::decode(&bytes).unwrap().hints.len(), 4);
}

#[test]
fn names_are_cut_at_a_character() {
    assert_eq!(Hint::name("  Ann\n "), Some(Hint::Name("Ann".into())));
    assert_eq!(Hint::name(&"ü".repeat(13)), Some(Hint::Name("ü".repeat(12))));
    assert_eq!(Hint::name(" \n\u{7}"), None);
}

#[test]
fn an_invite_lives_to_the_minute_or_to_the_end_of_its_day() {
    let at = UnixTime(EPOCH_2024_MS + 1_000 * DAY_MS + 75 * MINUTE_MS + 30_000);
    let hints = vec![Hint::Relay { peer: peer(1), addr: vec![1] }];
    let mut invite = InviteCode::new(InviteKind::OneTime, at, [1; 16], &AccountId([9; 32]), hints);
    assert_eq!(invite.flags, flags::RELAY);
    assert_eq!(invite.expires_at(), UnixTime(at.0 - 30_000));
    assert_eq!(InviteCode::parse(&invite.link()).unwrap().expires_at(), invite.expires_at());
    invite.hints.clear();
    assert_eq!(invite.expires_at(), UnixTime(EPOCH_2024_MS + 1_001 * DAY_MS));
    assert_eq!(invite.aid20, Aid20([9; 20]));
}

#[test]
fn all_keys_of_an_invite_differ_and_are_known() {
    let keys = InviteKeys::derive(&[0x11; 16]);
    let owner = Secret::new(*keys.blob_owner.expose());
    let all = [&keys.card, &keys.psk, &keys.first_contact, &keys.rdv, &keys.request, &owner];
    for (i, a) in all.iter().enumerate() {
        assert!(all[i + 1..].iter().all(|b| a != b));
        assert_ne!(a.expose()[..16], keys.blob_id.0);
    }
    assert_eq!(keys.blob_id.full(), "x45m7zpx1epa54pfr7s4mm1ebw");
    assert_eq!(base32::encode_lower(keys.card.expose()), "4h9m6v47nv14jp82zd3m5actgrtzdwcnqemtsr16enxt2a8mcn60");
}

#[test]
fn debug_prints_no_secret() {
    let text = format!("{:?} {:?}", small(), small().keys());
    assert!(!text.contains("17, 17") && !text.contains("1111"), "{text}");
    assert!(
        text.contains("secret: Secret(..)")
            && text.contains("blob_owner: SigningKey(..)")
            && text.contains("card: Secret(..)"),
        "{text}"
    );
}

fn any_hint() -> impl Strategy<Value = Hint> {
    let addr = || proptest::collection::vec(any::<u8>(), 1..=64);
    prop_oneof![
        (any::<[u8; 32]>(), addr()).prop_map(|(key, addr)| Hint::Relay { peer: long_peer(&key), addr }),
        (any::<[u8; 32]>(), addr()).prop_map(|(key, addr)| Hint::Peer { peer: long_peer(&key), addr }),
        (9u8.., proptest::collection::vec(any::<u8>(), 0..20)).prop_map(|(kind, value)| Hint::Other { kind, value }),
    ]
}

proptest! {
    #[test]
    fn every_invite_comes_back_in_every_form(
        reusable: bool, flags: u8, expiry_day: u16, secret: [u8; 16], aid20: [u8; 20], name in "[a-zé ]{1,12}",
        hints in proptest::collection::vec(any_hint(), 0..2), minute in 0u16..1_440,
    ) {
        let mut hints = hints;
        hints.extend([Hint::Name(name), Hint::ExpiryMinute(minute)]);
        let invite = InviteCode {
            kind: if reusable { InviteKind::Reusable } else { InviteKind::OneTime },
            flags, expiry_day, secret: Secret::new(secret), aid20: Aid20(aid20), hints,
        };
        prop_assert_eq!(InviteCode::parse(&invite.link()), Ok(invite.clone()));
        prop_assert_eq!(InviteCode::parse(&invite.qr()), Ok(invite.clone()));
        prop_assert_eq!(InviteCode::parse(&invite.web_link("https://h.example")), Ok(invite));
    }

    #[test]
    fn t15_what_decodes_encodes_to_the_same_bytes(
        kind in 0u8..2, mut content in proptest::collection::vec(any::<u8>(), 40..120), hint_kind in 1u8..9,
    ) {
        content[0] = INVITE_VERSION << 4 | kind;
        if let [.., _, _, _, _] = content.as_slice() && content.len() > 42 {
            content[40] = hint_kind;
            content[41] = (content.len() - 42) as u8;
        }
        let crc = crc16(&content);
        content.extend_from_slice(&crc.to_be_bytes());
        if let Ok(invite) = InviteCode::decode(&content) {
            prop_assert_eq!(invite.encode(), content);
        }
    }

    #[test]
    fn foreign_text_never_panics(text in "\\PC{0,60}") {
        prop_assert!(InviteCode::parse(&text).is_err());
    }
}
