//! Crockford base32 without padding: upper case for QR codes, lower case for ids.

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Lower case, for ids and logs.
pub fn encode_lower(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let (mut buffer, mut bits) = (0u32, 0u32);
    for &byte in bytes {
        buffer = (buffer << 8) | u32::from(byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            out.push(char::from(ALPHABET[(buffer >> bits) as usize & 31]));
        }
        buffer &= (1 << bits) - 1;
    }
    if bits > 0 {
        out.push(char::from(ALPHABET[(buffer << (5 - bits)) as usize & 31]));
    }
    out
}

/// Upper case, for the alphanumeric mode of QR codes.
pub fn encode_upper(bytes: &[u8]) -> String {
    encode_lower(bytes).to_ascii_uppercase()
}

/// Reads either case, `O` as 0, `I` and `L` as 1, hyphens ignored. `None` for other characters, an impossible
/// length, or left-over bits that are not zero: one canonical text for each byte string.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 5 / 8);
    let (mut buffer, mut bits) = (0u32, 0u32);
    for c in text.bytes().filter(|&c| c != b'-') {
        let value = match c.to_ascii_lowercase() {
            b'o' => 0,
            b'i' | b'l' => 1,
            c => ALPHABET.iter().position(|&a| a == c)? as u32,
        };
        buffer = (buffer << 5) | value;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            out.push((buffer >> bits) as u8);
            buffer &= (1 << bits) - 1;
        }
    }
    (bits < 5 && buffer == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_texts_hold() {
        assert_eq!(encode_lower(b""), "");
        assert_eq!(encode_lower(&[0xff]), "zw");
        assert_eq!(encode_upper(b"silbo"), "EDMPRRKF");
        assert_eq!(decode("EDMPRRKF").as_deref(), Some(&b"silbo"[..]));
        assert_eq!(decode("edmp-rrkf").as_deref(), Some(&b"silbo"[..]));
    }

    #[test]
    fn letters_that_look_like_digits_read_as_digits() {
        assert_eq!(decode("O0oI1lLi"), decode("00011111"));
    }

    #[test]
    fn other_letters_loose_bits_and_impossible_lengths_are_refused() {
        for text in ["u", "zz", "z", "000", "é0", "0 0", "zw=", "zx"] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_byte_string_comes_back(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&encode_lower(&bytes)), Some(bytes.clone()));
            prop_assert_eq!(decode(&encode_upper(&bytes)), Some(bytes));
        }

        #[test]
        fn what_decodes_encodes_to_itself(text in "[0-9a-hjkmnp-tv-z]{0,40}") {
            if let Some(bytes) = decode(&text) {
                prop_assert_eq!(encode_lower(&bytes), text);
            }
        }
    }
}
