//! Safety numbers: 60 digits two people compare to know that nobody stands between them.
//!
//! Signal's numeric format, version 0: each half is 5,200 rounds of SHA-512 over an account, the smaller half comes
//! first, so both see the same digits. Account ids do not change with devices, so neither does the number. A QR text
//! carries both halves for a comparison by camera. Pure functions of two account ids: a caller may cache the result.

use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;

use crate::ids::AccountId;
use crate::wire::base32;

/// Rounds of SHA-512: makes the search for an account with a similar number 5,200 times as dear.
const ROUNDS: usize = 5_200;
/// Version of the numeric format, hashed in.
const VERSION: [u8; 2] = [0, 0];
/// Groups of five digits in one half.
const GROUPS: usize = 6;
/// Version byte of the QR text.
const QR_VERSION: u8 = 1;
const QR_PREFIX: &str = "SILBO:V/";

/// What the two ends of a conversation compare, as one of them sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SafetyNumber {
    own: [u8; 32],
    theirs: [u8; 32],
}

/// What a scanned QR text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Both ends see the same two accounts.
    Same,
    /// The other end talks to another account than this one, or is another one than believed: somebody may stand
    /// between, or the wrong person's code was scanned.
    Different,
}

/// The text is no safety number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not the code of a safety number")]
pub struct NotASafetyNumber;

impl SafetyNumber {
    /// Of this account and another; takes some milliseconds.
    pub fn new(own: &AccountId, theirs: &AccountId) -> Self {
        // For us the account id is both the stable name and the key: it is the hash of everything it stands for.
        Self { own: fingerprint(&own.0, &own.0), theirs: fingerprint(&theirs.0, &theirs.0) }
    }

    /// The 60 digits, the same on both ends.
    pub fn digits(&self) -> String {
        digits(&self.own, &self.theirs)
    }

    /// The 60 digits in 12 groups of five, with spaces.
    pub fn grouped(&self) -> String {
        let digits = self.digits();
        let groups: Vec<&str> = (0..2 * GROUPS).filter_map(|group| digits.get(group * 5..group * 5 + 5)).collect();
        groups.join(" ")
    }

    /// The text of the QR code to show to the other person.
    pub fn qr(&self) -> String {
        let bytes = [&[QR_VERSION][..], &self.own, &self.theirs].concat();
        format!("{QR_PREFIX}{}", base32::encode_upper(&bytes))
    }

    /// Compares with what the other person's QR code says.
    ///
    /// # Errors
    /// [`NotASafetyNumber`] for any other text.
    pub fn compare(&self, scanned: &str) -> Result<Comparison, NotASafetyNumber> {
        let scanned = scanned.trim();
        let (prefix, code) = scanned.split_at_checked(QR_PREFIX.len()).ok_or(NotASafetyNumber)?;
        if !prefix.eq_ignore_ascii_case(QR_PREFIX) || code.len() > 2 * base32::encode_lower(&[0; 65]).len() {
            return Err(NotASafetyNumber);
        }
        let bytes = base32::decode(code).ok_or(NotASafetyNumber)?;
        let (version, halves) = bytes.split_first().ok_or(NotASafetyNumber)?;
        if *version != QR_VERSION || halves.len() != 64 {
            return Err(NotASafetyNumber);
        }
        let expected = [self.theirs, self.own].concat();
        Ok(if expected.ct_eq(halves).into() { Comparison::Same } else { Comparison::Different })
    }
}

/// One half: iterated hash over a key and the stable name of its owner.
fn fingerprint(stable_id: &[u8], key: &[u8]) -> [u8; 32] {
    let first = Sha512::new().chain_update(VERSION).chain_update(key).chain_update(stable_id).chain_update(key);
    let mut digest = first.finalize();
    for _ in 1..ROUNDS {
        digest = Sha512::new().chain_update(digest).chain_update(key).finalize();
    }
    let mut out = [0; 32];
    out.copy_from_slice(&digest[..32]);
    out
}

/// Both halves as digits, the smaller first.
fn digits(a: &[u8; 32], b: &[u8; 32]) -> String {
    let mut halves = [half(a), half(b)];
    halves.sort();
    halves.concat()
}

/// 30 digits of one half: six groups of five bytes, each modulo 100,000.
fn half(fingerprint: &[u8; 32]) -> String {
    let group = |bytes: &[u8]| bytes.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte)) % 100_000;
    fingerprint.chunks_exact(5).take(GROUPS).map(|bytes| format!("{:05}", group(bytes))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }

    #[test]
    fn the_published_vector_of_signal_holds() {
        let alice_key = hex("0506863bc66d02b40d27b8d49ca7c09e9239236f9d7d25d6fcca5ce13c7064d868");
        let bob_key = hex("05f781b6fb32fed9ba1cf2de978d4d5da28dc34046ae814402b5c0dbd96fda907b");
        let (alice, bob) = (fingerprint(b"+14152222222", &alice_key), fingerprint(b"+14153333333", &bob_key));
        assert_eq!(alice[..], hex("1e301a0353dce3dbe7684cb8336e85136cdc0ee96219494ada305d62a7bd61df"));
        assert_eq!(bob[..], hex("d62cbf73a11592015b6b9f1682ac306fea3aaf3885b84d12bca631e9d4fb3a4d"));
        let expected = "300354477692869396892869876765458257569162576843440918079131";
        assert_eq!(digits(&alice, &bob), expected);
        assert_eq!(digits(&bob, &alice), expected);
    }

    #[test]
    fn both_ends_see_the_same_digits_and_scan_each_other() {
        let (ann, bob) = (AccountId([1; 32]), AccountId([2; 32]));
        let (at_ann, at_bob) = (SafetyNumber::new(&ann, &bob), SafetyNumber::new(&bob, &ann));
        assert_eq!(at_ann.digits(), at_bob.digits());
        assert_eq!(at_ann.digits().len(), 60);
        assert_eq!(at_ann.grouped().split(' ').map(str::len).collect::<Vec<_>>(), [5; 12]);
        assert_eq!(at_ann.compare(&at_bob.qr()), Ok(Comparison::Same));
        assert_eq!(at_bob.compare(&format!(" {}\n", at_ann.qr().to_lowercase())), Ok(Comparison::Same));
    }

    #[test]
    fn another_account_shows_another_number_and_fails_the_scan() {
        let (ann, bob, eve) = (AccountId([1; 32]), AccountId([2; 32]), AccountId([3; 32]));
        let at_ann = SafetyNumber::new(&ann, &bob);
        assert_ne!(at_ann.digits(), SafetyNumber::new(&ann, &eve).digits());
        assert_eq!(at_ann.compare(&SafetyNumber::new(&bob, &eve).qr()), Ok(Comparison::Different));
        assert_eq!(at_ann.compare(&SafetyNumber::new(&eve, &ann).qr()), Ok(Comparison::Different));
        assert_eq!(at_ann.compare(&at_ann.qr()), Ok(Comparison::Different), "one's own code proves nothing");
    }

    #[test]
    fn other_texts_are_no_safety_numbers() {
        let number = SafetyNumber::new(&AccountId([1; 32]), &AccountId([2; 32]));
        let qr = number.qr();
        let other_version = format!("{QR_PREFIX}{}", base32::encode_upper(&[2; 65]));
        for text in [
            "",
            "SILBO:V/",
            "SILBO:I/0000",
            &qr[..qr.len() - 2],
            &format!("{qr}00"),
            &qr[1..],
            &other_version,
            &"é".repeat(20),
        ] {
            assert_eq!(number.compare(text), Err(NotASafetyNumber), "{text}");
        }
    }
}
