//! What a vault opens, and everything it refuses.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn with(passphrase: &str) -> Unlock {
    Unlock::Passphrase(Zeroizing::new(passphrase.to_owned()))
}

fn open(dir: &TempDir, unlock: Unlock) -> Result<Vault, VaultError> {
    Vault::open_or_create_with(dir.path(), unlock, KdfCost::FLOOR)
}

fn edit(dir: &TempDir, from: &str, to: &str) {
    let path = dir.path().join(VAULT_FILE);
    let text = fs::read_to_string(&path).expect("the vault");
    assert!(text.contains(from), "{text}");
    fs::write(&path, text.replace(from, to)).expect("edit");
}

#[test]
fn the_same_key_comes_back_from_a_key_file() {
    let dir = folder();
    assert_eq!(Vault::state(dir.path()), VaultState::Empty);
    let key = open(&dir, Unlock::KeyFile).expect("create").key().clone();
    assert_eq!(Vault::state(dir.path()), VaultState::KeyFile);
    assert_eq!(open(&dir, Unlock::KeyFile).expect("open").key(), &key);
    assert!(matches!(open(&dir, with("needless")), Err(VaultError::NoPassphraseSet)));
}

#[test]
fn a_key_file_others_can_read_is_refused_with_a_hint() {
    let dir = folder();
    open(&dir, Unlock::KeyFile).expect("create");
    let path = dir.path().join(KEY_FILE);
    assert_eq!(fs::metadata(&path).expect("metadata").permissions().mode() & 0o777, 0o600);
    for mode in [0o640, 0o604, 0o660] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("widen");
        let error = open(&dir, Unlock::KeyFile).expect_err("too open");
        assert!(matches!(error, VaultError::TooOpen { .. }));
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
}

#[test]
fn a_key_file_of_a_wrong_length_is_refused() {
    let dir = folder();
    open(&dir, Unlock::KeyFile).expect("create");
    for length in [0, 31, 33] {
        fs::write(dir.path().join(KEY_FILE), vec![7; length]).expect("write");
        assert!(matches!(open(&dir, Unlock::KeyFile), Err(VaultError::Damaged { .. })));
    }
}

#[test]
fn no_key_is_made_up_for_databases_whose_key_is_gone() {
    let dir = folder();
    fs::write(dir.path().join(crate::storage::DATABASE_FILES[0]), b"x").expect("a database");
    assert!(matches!(open(&dir, Unlock::KeyFile), Err(VaultError::KeyMissing { .. })));
    assert!(matches!(open(&dir, with("words")), Err(VaultError::KeyMissing { .. })));
    assert_eq!(Vault::state(dir.path()), VaultState::Empty);
}

#[test]
fn t68_a_wrong_passphrase_never_opens_and_changes_nothing() {
    let dir = folder();
    let key = open(&dir, with("correct horse")).expect("create").key().clone();
    let before = fs::read(dir.path().join(VAULT_FILE)).expect("the vault");
    for wrong in ["", "correct hors", "correct horse ", "Correct horse", "battery staple"] {
        assert!(matches!(open(&dir, with(wrong)), Err(VaultError::WrongPassphrase { .. })), "{wrong:?}");
    }
    assert!(matches!(open(&dir, Unlock::KeyFile), Err(VaultError::PassphraseNeeded)));
    assert_eq!(fs::read(dir.path().join(VAULT_FILE)).expect("the vault"), before);
    assert_eq!(open(&dir, with("correct horse")).expect("open").key(), &key);
}

#[test]
fn t68_parameters_below_the_floor_or_above_the_ceiling_are_refused_before_any_work() {
    for (from, to) in [
        ("\"memory_kib\": 19456", "\"memory_kib\": 8"),
        ("\"memory_kib\": 19456", "\"memory_kib\": 67108864"),
        ("\"passes\": 2", "\"passes\": 1"),
        ("\"passes\": 2", "\"passes\": 4294967295"),
        ("\"lanes\": 1", "\"lanes\": 0"),
        ("\"lanes\": 1", "\"lanes\": 65536"),
        ("argon2id", "argon2d"),
        ("\"version\": 1", "\"version\": 1, \"extra\": 2"),
    ] {
        let dir = folder();
        open(&dir, with("words")).expect("create");
        edit(&dir, from, to);
        assert!(matches!(open(&dir, with("words")), Err(VaultError::Damaged { .. })), "{to}");
    }
}

#[test]
fn t68_allowed_but_edited_parameters_do_not_authenticate() {
    for (from, to) in [("\"memory_kib\": 19456", "\"memory_kib\": 19457"), ("\"passes\": 2", "\"passes\": 3")] {
        let dir = folder();
        open(&dir, with("words")).expect("create");
        edit(&dir, from, to);
        assert!(matches!(open(&dir, with("words")), Err(VaultError::WrongPassphrase { .. })), "{to}");
    }
}

#[test]
fn t68_a_cut_or_flipped_vault_is_an_error() {
    let dir = folder();
    open(&dir, with("words")).expect("create");
    let path = dir.path().join(VAULT_FILE);
    let whole = fs::read(&path).expect("the vault");
    for length in [0, 1, whole.len() / 2, whole.len() - 3] {
        fs::write(&path, &whole[..length]).expect("cut");
        assert!(open(&dir, with("words")).is_err(), "{length}");
    }
    fs::write(&path, vec![b' '; 1 << 20]).expect("grow");
    assert!(matches!(open(&dir, with("words")), Err(VaultError::Damaged { .. })));
    for at in (0..whole.len()).step_by(29) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        fs::write(&path, &flipped).expect("flip");
        // Letters have two spellings in base32 and JSON has insignificant bytes: what opens must be the same key.
        if let Ok(vault) = open(&dir, with("words")) {
            fs::write(&path, &whole).expect("restore");
            assert_eq!(open(&dir, with("words")).expect("open").key(), vault.key());
        }
    }
}

#[test]
fn a_vault_of_a_later_version_says_so() {
    let dir = folder();
    open(&dir, with("words")).expect("create");
    edit(&dir, "\"version\": 1", "\"version\": 2, \"unknown\": true");
    let error = open(&dir, with("words")).expect_err("a later version");
    assert!(matches!(error, VaultError::Newer { .. }));
    assert_eq!(error.class(), 11);
}

#[test]
fn a_passphrase_can_be_set_changed_and_removed_and_the_key_stays() {
    let dir = folder();
    let mut vault = open(&dir, Unlock::KeyFile).expect("create");
    let key = vault.key().clone();
    assert!(matches!(vault.set_passphrase(Some(Zeroizing::new(String::new()))), Err(VaultError::EmptyPassphrase)));
    vault.set_passphrase(Some(Zeroizing::new("first".to_owned()))).expect("set");
    assert!(!dir.path().join(KEY_FILE).exists());
    let mut vault = open(&dir, with("first")).expect("open");
    vault.set_passphrase(Some(Zeroizing::new("second".to_owned()))).expect("change");
    assert!(matches!(open(&dir, with("first")), Err(VaultError::WrongPassphrase { .. })));
    let mut vault = open(&dir, with("second")).expect("open");
    vault.set_passphrase(None).expect("remove");
    assert_eq!(Vault::state(dir.path()), VaultState::KeyFile);
    assert_eq!(open(&dir, Unlock::KeyFile).expect("open").key(), &key);
}

#[test]
fn a_change_that_was_cut_short_asks_for_the_passphrase_and_then_finishes() {
    let dir = folder();
    let vault = open(&dir, Unlock::KeyFile).expect("create");
    sealed::write(&dir.path().join(VAULT_FILE), vault.key(), "words", KdfCost::FLOOR).expect("the first half");
    assert!(matches!(open(&dir, Unlock::KeyFile), Err(VaultError::PassphraseNeeded)));
    assert_eq!(open(&dir, with("words")).expect("open").key(), vault.key());
    assert!(!dir.path().join(KEY_FILE).exists());
}

#[test]
fn t74_keys_print_nothing_and_derive_by_label() {
    let key = DatabaseKey::from_bytes(&[0xAB; 32]);
    assert_eq!(format!("{key:?}"), "DatabaseKey(..)");
    let dir = folder();
    let vault = open(&dir, Unlock::KeyFile).expect("create");
    assert!(format!("{vault:?}").contains("DatabaseKey(..)"));
    assert_ne!(key.derive("one").as_ref(), key.derive("another").as_ref());
    assert_ne!(key.derive("one").as_ref(), &[0xAB; 32]);
}
