//! Published vectors through our own wrappers: Wycheproof in full, and one vector of each RFC.
//!
//! A wrapper may be stricter than the standard (X25519 points of small order, second encodings); then the test says
//! which flags make a refusal right.

#![allow(clippy::unwrap_used)]

use silbo_protocol::crypto::ed25519::{SigningKey, VerifyingKey};
use silbo_protocol::crypto::kdf::hkdf_sha256;
use silbo_protocol::crypto::kem::{DecapsulationKey, EncapsulationKey};
use silbo_protocol::crypto::x25519::{PublicKey, SecretKey};
use silbo_protocol::crypto::{Secret, aead, cid, mac, sha256, stream};
use wycheproof::TestResult;

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap()).collect()
}

fn hex_array<const N: usize>(text: &str) -> [u8; N] {
    hex(text).try_into().unwrap()
}

#[test]
fn rfc_7748_x25519() {
    let scalar = SecretKey::from_bytes(hex_array("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"));
    let point = PublicKey::read(&hex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")).unwrap();
    let shared = scalar.diffie_hellman(&point).unwrap();
    assert_eq!(shared.expose()[..], hex("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"));
}

#[test]
fn rfc_8032_ed25519() {
    let key = SigningKey::from_seed(&hex_array("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"));
    let public = hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    let signature = hex("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155
         5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b");
    assert_eq!(key.verifying_key().as_bytes()[..], public);
    assert_eq!(key.sign_raw(b"")[..], signature);
    assert!(VerifyingKey::read(&public).unwrap().verify_raw(b"", &signature).is_ok());
}

#[test]
fn rfc_5869_hkdf() {
    let mut okm = [0; 42];
    hkdf_sha256(&[0x0b; 22], &hex("000102030405060708090a0b0c"), &hex("f0f1f2f3f4f5f6f7f8f9"), &mut okm).unwrap();
    assert_eq!(okm[..], hex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"));
}

#[test]
fn rfc_8439_aead_and_stream() {
    let key = Secret::new(std::array::from_fn(|i| 0x80 + i as u8));
    let nonce = hex_array("070000004041424344454647");
    let ad = hex("50515253c0c1c2c3c4c5c6c7");
    let text: &[u8] = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";
    let sealed = hex("d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b
         1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc
         3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691");
    assert_eq!(aead::seal(&key, &nonce, &ad, text), sealed);
    assert_eq!(aead::open(&key, &nonce, &ad, &sealed).unwrap(), text);

    let mut zeros = [0; 64];
    stream::apply(&Secret::new([0; 32]), &[0; 12], &mut zeros);
    assert_eq!(
        zeros[..],
        hex("76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7
             da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586")
    );
}

#[test]
fn rfc_4231_hmac_and_fips_180_sha256_and_blake3() {
    let tag = hex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    assert_eq!(mac::mac(b"Jefe", b"what do ya want for nothing?")[..], tag);
    assert_eq!(sha256(b"abc")[..], hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
    assert_eq!(cid(b"").0[..], hex("af1349b9f5f9a1a6a0404dea36dcc949"));
}

#[test]
fn wycheproof_x25519_and_t05() {
    use wycheproof::xdh::{TestFlag, TestName, TestSet};
    let (mut agreed, mut refused) = (0, 0);
    for test in TestSet::load(TestName::X25519).unwrap().test_groups.iter().flat_map(|group| &group.tests) {
        let secret = SecretKey::read(&test.private_key).unwrap();
        let outcome = PublicKey::read(&test.public_key).and_then(|key| secret.diffie_hellman(&key));
        match outcome {
            Ok(shared) => {
                assert_ne!(test.result, TestResult::Invalid, "{test:?}");
                assert_eq!(shared.expose()[..], test.shared_secret[..], "{test:?}");
                agreed += 1;
            }
            Err(_) => {
                let right = [TestFlag::LowOrderPublic, TestFlag::NonCanonicalPublic, TestFlag::ZeroSharedSecret];
                let says_so = test.flags.iter().any(|flag| right.contains(flag));
                assert!(says_so || test.public_key[31] & 0x80 != 0, "{test:?}");
                refused += 1;
            }
        }
        if test.flags.contains(&TestFlag::ZeroSharedSecret) {
            assert!(PublicKey::read(&test.public_key).and_then(|key| secret.diffie_hellman(&key)).is_err(), "{test:?}");
        }
    }
    assert!(agreed > 400 && refused > 20, "{agreed} agreed, {refused} refused");
}

#[test]
fn wycheproof_ed25519_strict() {
    use wycheproof::eddsa::{TestName, TestSet};
    let mut checked = 0;
    for group in TestSet::load(TestName::Ed25519).unwrap().test_groups {
        let key = VerifyingKey::read(&group.key.pk);
        for test in &group.tests {
            let outcome = key.and_then(|key| key.verify_raw(&test.msg, &test.sig));
            assert_eq!(outcome.is_ok(), test.result == TestResult::Valid, "{test:?}");
            checked += 1;
        }
    }
    assert!(checked > 100, "{checked}");
}

#[test]
fn wycheproof_chacha20_poly1305() {
    use wycheproof::aead::{TestName, TestSet};
    let mut checked = 0;
    for test in TestSet::load(TestName::ChaCha20Poly1305).unwrap().test_groups.iter().flat_map(|group| &group.tests) {
        // The wrapper's types allow 12-byte nonces only.
        let Ok(nonce) = <[u8; 12]>::try_from(test.nonce.as_slice()) else {
            assert_eq!(test.result, TestResult::Invalid, "{test:?}");
            continue;
        };
        let key = Secret::read(&test.key).unwrap();
        let sealed = [test.ct.as_slice(), &test.tag].concat();
        let outcome = aead::open(&key, &nonce, &test.aad, &sealed);
        if test.result == TestResult::Invalid {
            assert!(outcome.is_err(), "{test:?}");
        } else {
            assert_eq!(outcome.unwrap(), **test.pt, "{test:?}");
            assert_eq!(aead::seal(&key, &nonce, &test.aad, &test.pt), sealed, "{test:?}");
        }
        checked += 1;
    }
    assert!(checked > 250, "{checked}");
}

#[test]
fn wycheproof_hkdf_sha256() {
    use wycheproof::hkdf::{TestName, TestSet};
    let mut checked = 0;
    for test in TestSet::load(TestName::HkdfSha256).unwrap().test_groups.iter().flat_map(|group| &group.tests) {
        let mut okm = vec![0; test.size];
        let outcome = hkdf_sha256(&test.ikm, &test.salt, &test.info, &mut okm);
        assert_eq!(outcome.is_ok(), test.result != TestResult::Invalid, "{test:?}");
        if outcome.is_ok() {
            assert_eq!(okm, **test.okm, "{test:?}");
        }
        checked += 1;
    }
    assert!(checked > 80, "{checked}");
}

#[test]
fn wycheproof_hmac_sha256() {
    use wycheproof::mac::{TestName, TestSet};
    let mut checked = 0;
    for test in TestSet::load(TestName::HmacSha256).unwrap().test_groups.iter().flat_map(|group| &group.tests) {
        let whole = mac::mac(&test.key, &test.msg);
        let matches = whole.get(..test.tag.len()) == Some(test.tag.as_slice());
        assert_eq!(matches, test.result == TestResult::Valid, "{test:?}");
        checked += 1;
    }
    assert!(checked > 150, "{checked}");
}

#[test]
fn wycheproof_ml_kem_768() {
    use wycheproof::mlkem::{TestName, TestSet};
    let mut checked = 0;
    for name in [TestName::MlKem768, TestName::MlKem768KeyGenSeed, TestName::MlKem768Encaps] {
        for test in TestSet::load(name).unwrap().test_groups.iter().flat_map(|group| &group.tests) {
            let valid = test.result == TestResult::Valid;
            if let Some(seed) = &test.seed {
                let Some(seed) = Secret::read(seed) else {
                    assert!(!valid, "{test:?}");
                    continue;
                };
                let key = DecapsulationKey::from_seed(seed);
                if let Some(public) = test.encaps_key.as_ref().filter(|_| valid) {
                    assert_eq!(key.public().as_bytes()[..], public[..], "{test:?}");
                }
                if let Some(ciphertext) = &test.ct {
                    let outcome = key.decapsulate(ciphertext);
                    let expected = test.shared_secret.as_ref().map(|shared| shared.as_slice());
                    let agrees = outcome.is_ok_and(|shared| expected == Some(shared.expose().as_slice()));
                    assert_eq!(agrees, valid, "{test:?}");
                }
            } else if let (Some(public), Some(m)) = (&test.encaps_key, &test.msg) {
                let outcome = EncapsulationKey::read(public);
                assert_eq!(outcome.is_ok(), valid, "{test:?}");
                if let Ok(key) = outcome {
                    let (ciphertext, shared) = key.encapsulate_with(&Secret::read(m).unwrap());
                    assert_eq!(Some(ciphertext.as_slice()), test.ct.as_ref().map(|ct| ct.as_slice()), "{test:?}");
                    let expected = test.shared_secret.as_ref().map(|shared| shared.as_slice());
                    assert_eq!(Some(shared.expose().as_slice()), expected, "{test:?}");
                }
            } else {
                panic!("a vector of a kind this test does not know: {test:?}");
            }
            checked += 1;
        }
    }
    assert!(checked > 100, "{checked}");
}
