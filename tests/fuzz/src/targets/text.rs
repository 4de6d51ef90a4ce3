//! Texts that people paste, scan or type.

use silbo_protocol::identity::account::RootSeed;
use silbo_protocol::wire::invite::InviteCode;
use silbo_protocol::wire::{base32 as crockford, base64 as url_safe};

use crate::fixture::fixture;

/// Crockford base32: what decodes has one canonical text.
pub fn base32(data: &[u8]) {
    assert_eq!(crockford::decode(&crockford::encode_lower(data)).as_deref(), Some(data));
    let text = String::from_utf8_lossy(data);
    if let Some(bytes) = crockford::decode(&text) {
        assert!(bytes.len() <= text.len());
        let canonical = text.to_ascii_lowercase().replace('-', "").replace('o', "0").replace(['i', 'l'], "1");
        assert_eq!(crockford::encode_lower(&bytes), canonical);
    }
}

/// base64url: what decodes has exactly one text.
pub fn base64(data: &[u8]) {
    assert_eq!(url_safe::decode(&url_safe::encode(data)).as_deref(), Some(data));
    let text = String::from_utf8_lossy(data);
    if let Some(bytes) = url_safe::decode(&text) {
        assert_eq!(url_safe::encode(&bytes), text);
    }
}

/// Links, QR texts and web addresses.
pub fn invite_text(data: &[u8]) {
    if let Ok(code) = InviteCode::parse(&String::from_utf8_lossy(data)) {
        same_in_every_form(&code);
    }
}

/// The bytes inside a link, as they are and with the checksum made right.
pub fn invite_binary(data: &[u8]) {
    let crc = crc16(data).to_be_bytes();
    for bytes in [data.to_vec(), [data, &crc].concat()] {
        if let Ok(code) = InviteCode::decode(&bytes) {
            assert_eq!(code.encode(), bytes, "one encoding");
            same_in_every_form(&code);
        }
    }
}

fn same_in_every_form(code: &InviteCode) {
    for text in [code.link(), code.qr(), code.web_link("https://silbo.example")] {
        assert_eq!(InviteCode::parse(&text).as_ref(), Ok(code));
    }
    let _ = (code.expires_at(), code.name().map(str::len));
}

/// CRC-16/GENIBUS, written apart from the code under test.
pub fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0xffffu32;
    for byte in bytes {
        for bit in (0..8).rev() {
            let feedback = (crc >> 15 ^ u32::from(*byte) >> bit) & 1;
            crc = (crc << 1 ^ feedback * 0x1021) & 0xffff;
        }
    }
    !(crc as u16)
}

/// A scanned verification code.
pub fn safety_number(data: &[u8]) {
    let _ = fixture().number.compare(&String::from_utf8_lossy(data));
}

/// The 12 words, typed.
pub fn recovery_words(data: &[u8]) {
    if let Ok(seed) = RootSeed::from_words(&String::from_utf8_lossy(data)) {
        let words = seed.words();
        assert_eq!(words.len(), 12);
        assert_eq!(RootSeed::from_words(&words.join(" ")), Ok(seed));
    }
}
