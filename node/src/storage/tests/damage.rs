//! Files that were changed behind our back.

use silbo_protocol::ids::AccountId;
use silbo_protocol::store::{Store, StoreError};

use super::super::{CHECK_FILE, DATABASE_FILES, SearchQuery, StorageError};
use super::*;

/// Everything that can be read, as one value to compare.
#[derive(Debug, PartialEq, Eq)]
struct Content {
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
    mail: Vec<(Vec<u8>, Vec<u8>)>,
    rows: Vec<ItemRow>,
    found: usize,
    events: Vec<(u64, Event)>,
}

fn content(database: &Database) -> Result<Content, StoreError> {
    let query = SearchQuery { text: "message".to_owned(), limit: 1_000, ..SearchQuery::default() };
    Ok(Content {
        pairs: database.scan(Table::Session, b"", None, 1_000)?,
        mail: database.scan(Table::MailItem, b"", None, 1_000)?,
        rows: database.history(&ADA, None, None, 1_000)?,
        found: database.search(&query)?.len(),
        events: database.events_after(0, 1_000)?,
    })
}

/// Closed databases of some ten pages each, with values that need several pages.
fn filled(dir: &Path) -> Content {
    let mut database = open(dir);
    let mut writes = Vec::new();
    for number in 0..12_u8 {
        writes.push(put(Table::Session, &[number], &vec![number; 1_500 * usize::from(number)]));
        writes.push(put(Table::MailItem, &[number], &vec![number; 700 * usize::from(number)]));
        let mut row = item(ADA, u64::from(number), &format!("message number {number} ").repeat(40));
        row.author = number.is_multiple_of(3).then_some(AccountId([number; 32]));
        writes.push(put_item(row));
        writes.push(Write::AppendEvent(received(ADA, u64::from(number), "message")));
    }
    commit(&mut database, &writes);
    let content = content(&database).expect("readable");
    database.close().expect("close");
    content
}

/// A small generator, so that every run tries the same images.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound
    }
}

/// Opens and reads an image. Either something says that it is damaged, or what is read is what was written.
fn tried(dir: &Path, expected: &Content) -> Result<(), StorageError> {
    let database = Database::open(dir, &key())?;
    let read = content(&database);
    let checked = database.integrity_check();
    match read {
        Ok(content) => {
            assert_eq!(&content, expected, "changed bytes were read without an error");
            checked
        }
        Err(error) => {
            let checked = checked.expect_err("what cannot be read does not pass the check");
            assert!(!error.to_string().is_empty());
            Err(checked)
        }
    }
}

fn images(changes: u32, seed: u64, change: impl Fn(&mut Vec<u8>, &mut Dice)) -> (u32, u32) {
    let origin = folder();
    let expected = filled(origin.path());
    let mut dice = Dice(seed);
    let (mut noticed, mut harmless) = (0, 0);
    for number in 0..changes {
        let image = folder();
        let changed = DATABASE_FILES[(number % 2) as usize];
        for name in [DATABASE_FILES[0], DATABASE_FILES[1], CHECK_FILE] {
            let mut bytes = std::fs::read(origin.path().join(name)).expect("read");
            if name == changed {
                change(&mut bytes, &mut dice);
            }
            std::fs::write(image.path().join(name), bytes).expect("write");
        }
        match tried(image.path(), &expected) {
            Ok(()) => harmless += 1,
            Err(StorageError::Damaged { .. }) => noticed += 1,
            Err(other) => panic!("image {number} of seed {seed}: {other:?}"),
        }
    }
    (noticed, harmless)
}

#[test]
fn t67_flipped_bits_are_noticed_and_never_a_panic_or_another_value() {
    let (noticed, harmless) = images(160, 1, |bytes, dice| {
        let at = dice.below(bytes.len());
        bytes[at] ^= 1 << dice.below(8);
    });
    assert_eq!((noticed, harmless), (160, 0), "every page is authenticated");
}

#[test]
fn t67_zeroed_pages_are_noticed_and_never_a_panic_or_another_value() {
    let (noticed, harmless) = images(80, 2, |bytes, dice| {
        let page = dice.below(bytes.len() / 4_096);
        bytes[page * 4_096..(page + 1) * 4_096].fill(0);
    });
    assert_eq!((noticed, harmless), (80, 0));
}

#[test]
fn t67_cut_files_are_noticed_when_they_are_opened() {
    let origin = folder();
    filled(origin.path());
    let mut dice = Dice(3);
    for number in 0..60 {
        let image = folder();
        let cut = DATABASE_FILES[number % 2];
        for name in [DATABASE_FILES[0], DATABASE_FILES[1], CHECK_FILE] {
            let mut bytes = std::fs::read(origin.path().join(name)).expect("read");
            if name == cut {
                let length = if number < 4 { number / 2 } else { dice.below(bytes.len()) };
                bytes.truncate(length);
            }
            std::fs::write(image.path().join(name), bytes).expect("write");
        }
        let error = Database::open(image.path(), &key()).expect_err("cut");
        assert!(matches!(error, StorageError::Damaged { .. }), "{number}: {error:?}");
    }
}

#[test]
fn t67_swapped_pages_are_noticed() {
    let (noticed, harmless) = images(30, 4, |bytes, dice| {
        let pages = bytes.len() / 4_096;
        let one = dice.below(pages);
        let other = (one + 1 + dice.below(pages - 1)) % pages;
        let (low, high) = (one.min(other) * 4_096, one.max(other) * 4_096);
        let (front, back) = bytes.split_at_mut(high);
        front[low..low + 4_096].swap_with_slice(&mut back[..4_096]);
    });
    assert_eq!((noticed, harmless), (30, 0));
}

#[test]
fn t67_a_missing_file_is_damage_and_not_a_beginning() {
    for name in DATABASE_FILES {
        let dir = folder();
        filled(dir.path());
        std::fs::remove_file(dir.path().join(name)).expect("remove");
        let error = Database::open(dir.path(), &key()).expect_err("missing");
        assert!(matches!(error, StorageError::Damaged { .. }), "{error:?}");
        assert!(!dir.path().join(name).exists(), "nothing was put in its place");
    }
}

#[test]
fn t67_the_other_conversations_stay_readable() {
    let dir = folder();
    let mut database = open(dir.path());
    commit(&mut database, &[put_item(item(ADA, 1, "kept")), put(Table::Meta, b"k", b"kept")]);
    let large = vec![9_u8; 60_000];
    commit(&mut database, &[put(Table::Session, b"s", &large)]);
    database.close().expect("close");
    let path = dir.path().join(DATABASE_FILES[0]);
    let mut bytes = std::fs::read(&path).expect("read");
    // The last pages were allocated for the large value.
    let at = bytes.len() - 3 * 4_096;
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).expect("write");
    for _ in 0..2 {
        let database = open(dir.path());
        assert_eq!(database.history(&ADA, None, None, 9).expect("undamaged")[0].body, "kept");
        assert_eq!(database.value(Table::Meta, b"k").expect("undamaged"), Some(b"kept".to_vec()));
        assert!(database.value(Table::Session, b"s").is_err());
    }
}
