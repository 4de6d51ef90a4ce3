//! All or nothing, over both files, and a disk that says no.

use proptest::prelude::*;
use silbo_protocol::memory_store::MemoryStore;
use silbo_protocol::store::Store;

use super::super::StorageError;
use super::*;

#[test]
fn reads_see_the_open_transaction_and_a_rollback_forgets_it() {
    let dir = folder();
    let mut database = open(dir.path());
    commit(&mut database, &[put(Table::Meta, b"k", b"one"), put(Table::MailMeta, b"k", b"one")]);
    database.begin().expect("begin");
    database
        .apply(&[put(Table::Meta, b"k", b"two"), put(Table::MailMeta, b"k", b"two"), put_item(item(ADA, 1, "hello"))])
        .expect("apply");
    assert_eq!(database.value(Table::Meta, b"k").expect("read"), Some(b"two".to_vec()));
    assert!(database.item(&ADA, &id(1)).expect("read").is_some());
    database.rollback();
    assert_eq!(database.value(Table::Meta, b"k").expect("read"), Some(b"one".to_vec()));
    assert_eq!(database.value(Table::MailMeta, b"k").expect("read"), Some(b"one".to_vec()));
    assert!(database.item(&ADA, &id(1)).expect("read").is_none());
}

#[test]
fn a_record_set_many_times_in_a_transaction_is_read_as_it_was_set_last() {
    let dir = folder();
    let mut database = open(dir.path());
    commit(
        &mut database,
        &[put(Table::Meta, b"ka", b"old"), put(Table::Meta, b"kb", b"old"), put(Table::Meta, b"l", b"")],
    );
    database.begin().expect("begin");
    database.apply(&[put(Table::Meta, b"ka", b"one"), put(Table::Meta, b"kc", b"one")]).expect("apply");
    database.apply(&[put(Table::Meta, b"ka", b"two"), put(Table::Meta, b"kb", &[7; 5_000])]).expect("apply");
    let pair = |key: &[u8], value: &[u8]| (key.to_vec(), value.to_vec());
    let all = [pair(b"ka", b"two"), pair(b"kb", &[7; 5_000]), pair(b"kc", b"one")];
    for committed in [false, true] {
        assert_eq!(database.value(Table::Meta, b"ka").expect("read"), Some(b"two".to_vec()), "{committed}");
        assert_eq!(database.scan(Table::Meta, b"k", None, 9).expect("read"), all, "{committed}");
        assert_eq!(database.scan(Table::Meta, b"k", None, 2).expect("read"), all[..2], "{committed}");
        assert_eq!(database.scan(Table::Meta, b"k", Some(b"ka"), 9).expect("read"), all[1..], "{committed}");
        if !committed {
            database.commit().expect("commit");
        }
    }
}

#[test]
fn the_last_of_setting_and_removing_a_record_counts_whatever_its_size() {
    let dir = folder();
    let mut database = open(dir.path());
    let (small, large) = ([1; 10], [2; 5_000]);
    let delete = || Write::Delete { table: Table::Meta, key: b"k".to_vec() };
    let set = |value: &[u8]| put(Table::Meta, b"k", value);
    let cases: [(&[Write], Option<&[u8]>); 5] = [
        (&[set(&small), set(&large)], Some(&large)),
        (&[set(&large), set(&small)], Some(&small)),
        (&[set(&small), delete()], None),
        (&[delete(), set(&small)], Some(&small)),
        (&[set(&large), delete(), set(&large), delete()], None),
    ];
    for (writes, last) in cases {
        commit(&mut database, writes);
        assert_eq!(database.value(Table::Meta, b"k").expect("read").as_deref(), last);
    }
}

#[test]
fn more_records_than_may_wait_are_all_kept() {
    let dir = folder();
    let mut database = open(dir.path());
    let count = u32::try_from(super::super::pending::PENDING_MAX).expect("small") * 2 + 10;
    let writes: Vec<Write> = (0..count).map(|number| put(Table::Meta, &number.to_be_bytes(), b"v")).collect();
    database.begin().expect("begin");
    for write in &writes {
        database.apply(std::slice::from_ref(write)).expect("apply");
        assert!(!database.pending.is_full(), "what waits has a bound");
    }
    assert_eq!(database.scan(Table::Meta, b"", None, usize::MAX).expect("read").len(), writes.len());
    database.commit().expect("commit");
    assert_eq!(database.scan(Table::Meta, b"", None, usize::MAX).expect("read").len(), writes.len());
}

#[test]
fn what_was_committed_is_there_after_opening_again() {
    let dir = folder();
    let mut database = open(dir.path());
    commit(&mut database, &[put(Table::Session, b"s", &[9; 5_000]), put(Table::MailItem, b"m", b"")]);
    database.begin().expect("begin");
    database.apply(&[put(Table::Session, b"s", b"never committed")]).expect("apply");
    database.close().expect("close");
    let database = open(dir.path());
    assert_eq!(database.value(Table::Session, b"s").expect("read"), Some(vec![9; 5_000]));
    assert_eq!(database.value(Table::MailItem, b"m").expect("read"), Some(Vec::new()));
}

#[test]
fn one_transaction_takes_many_steps_and_numbers_their_events() {
    let dir = folder();
    let mut database = open(dir.path());
    database.begin().expect("begin");
    let first = database.apply(&[Write::AppendEvent(received(ADA, 1, "a"))]).expect("apply");
    let second = database
        .apply(&[Write::AppendEvent(received(ADA, 2, "b")), Write::AppendEvent(received(ADA, 3, "c"))])
        .expect("apply");
    database.commit().expect("commit");
    let numbers: Vec<u64> = first.iter().chain(&second).map(|(seq, _)| *seq).collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(second[1].1, received(ADA, 3, "c"));
}

#[test]
fn using_transactions_in_a_wrong_order_is_an_error_and_changes_nothing() {
    let dir = folder();
    let mut database = open(dir.path());
    assert!(matches!(database.apply(&[put(Table::Meta, b"k", b"v")]), Err(StorageError::Bug(_))));
    assert!(matches!(database.commit(), Err(StorageError::Bug(_))));
    database.begin().expect("begin");
    assert!(matches!(database.begin(), Err(StorageError::Bug(_))));
    database.commit().expect("an empty transaction");
    assert_eq!(database.value(Table::Meta, b"k").expect("read"), None);
}

#[test]
fn only_files_that_were_written_are_touched() {
    let dir = folder();
    let mut database = open(dir.path());
    let before = database.file_bytes().expect("sizes");
    for number in 0..50 {
        commit(&mut database, &[put(Table::Meta, &[number], &[1; 500])]);
    }
    let after = database.file_bytes().expect("sizes");
    assert!(after.private > before.private);
    assert_eq!(after.mailbox, before.mailbox);
}

#[test]
fn after_an_input_output_error_the_handle_refuses_until_it_is_opened_again() {
    let dir = folder();
    let mut database = open(dir.path());
    commit(&mut database, &[put(Table::Meta, b"k", b"kept"), put(Table::MailMeta, b"k", b"kept")]);
    let epoch = database.epoch().to_owned();
    let failing = StorageError::Io("a sync failed".to_owned());
    assert_eq!(database.in_private(|_| Err::<(), _>(failing.clone())), Err(failing.clone()));
    assert_eq!(database.begin(), Err(failing.clone()));
    assert_eq!(database.set_cursor("bot", 1), Err(failing));
    database.reopen().expect("the disk works again");
    assert_eq!(database.value(Table::Meta, b"k").expect("read"), Some(b"kept".to_vec()));
    commit(&mut database, &[put(Table::Meta, b"k", b"more"), put(Table::MailMeta, b"k", b"more")]);
    assert_eq!(database.epoch(), epoch);
    assert!(matches!(Database::open(dir.path(), &key()), Err(StorageError::InUse { .. })), "the lock was kept");
}

/// A full disk, as far as SQLite can tell: no page may be added.
fn fill_up(database: &Database, file: File, more_pages: i64) {
    let connection = database.file(file).0;
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).expect("pages");
    connection.pragma_update_and_check(None, "max_page_count", pages + more_pages, |_| Ok(())).expect("a limit");
}

#[test]
fn a_full_disk_rolls_the_whole_transaction_back_and_loses_nothing() {
    for (file, table) in [(File::Private, Table::Outbox), (File::Mailbox, Table::MailItem)] {
        let dir = folder();
        let mut database = open(dir.path());
        commit(&mut database, &[put(Table::Outbox, b"kept", &[1; 100]), put(Table::MailItem, b"kept", &[1; 100])]);
        fill_up(&database, file, 2);
        database.begin().expect("begin");
        database.apply(&[put(Table::Outbox, b"a", b"1"), put(Table::MailItem, b"a", b"1")]).expect("room for these");
        let mut outcome = Ok(Vec::new());
        for number in 0..100_u8 {
            outcome = database.apply(&[put(table, &[b'x', number], &[2; 4_000])]);
            if outcome.is_err() {
                break;
            }
        }
        assert_eq!(outcome, Err(StorageError::Full));
        assert_eq!(database.apply(&[put(table, b"later", b"")]), Err(StorageError::Full));
        assert_eq!(database.commit(), Err(StorageError::Full));
        for table in [Table::Outbox, Table::MailItem] {
            assert_eq!(database.value(table, b"a").expect("read"), None);
            assert_eq!(database.value(table, b"kept").expect("read"), Some(vec![1; 100]));
        }
        fill_up(&database, file, 1_000);
        commit(&mut database, &[put(table, b"again", &[3; 4_000])]);
        database.integrity_check().expect("intact");
        database.close().expect("close");
        assert_eq!(open(dir.path()).value(table, b"again").expect("read"), Some(vec![3; 4_000]));
    }
}

#[test]
fn a_full_file_system_rolls_the_whole_transaction_back_and_loses_nothing() {
    let dir = folder();
    let Some(small) = SmallDisk::mount(dir.path(), 2) else {
        eprintln!("skipped: a tmpfs cannot be mounted here");
        return;
    };
    let mut database = open(small.path());
    let mut kept = 0_u32;
    let full = loop {
        database.begin().expect("begin");
        let applied = database.apply(&[put(Table::Outbox, &kept.to_be_bytes(), &[5; 9_000])]);
        match applied.map(drop).and_then(|()| database.commit()) {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
        database.rollback();
    };
    assert_eq!(full, StorageError::Full);
    database.rollback();
    drop(database);
    std::fs::remove_file(small.path().join("ballast")).expect("room again");
    let mut database = open(small.path());
    for number in 0..kept {
        assert_eq!(database.value(Table::Outbox, &number.to_be_bytes()).expect("read"), Some(vec![5; 9_000]));
    }
    assert_eq!(database.value(Table::Outbox, &kept.to_be_bytes()).expect("read"), None);
    commit(&mut database, &[put(Table::Outbox, b"again", b"")]);
    database.integrity_check().expect("intact");
}

/// A file system of a few MiB with 256 KiB of ballast; unmounted on drop.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(dir: &Path, mib: u32) -> Option<SmallDisk> {
        let options = format!("size={mib}m");
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(dir)
            .stderr(std::process::Stdio::null())
            .status();
        if !mounted.is_ok_and(|status| status.success()) {
            return None;
        }
        let disk = SmallDisk(dir.to_owned());
        std::fs::write(disk.0.join("ballast"), vec![0; 256 << 10]).expect("ballast");
        Some(disk)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Err(error) = std::process::Command::new("umount").arg("-l").arg(&self.0).status() {
            eprintln!("{error}");
        }
    }
}

#[test]
fn a_mailbox_with_much_coming_and_going_stays_small() {
    let dir = folder();
    let mut database = open(dir.path());
    let envelope = vec![0x5A; 2_100];
    let alive = 500_u32;
    for round in 0..40_u32 {
        database.begin().expect("begin");
        for number in 0..100 {
            let number = round * 100 + number;
            let mut writes = vec![put(Table::MailItem, &number.wrapping_mul(2_654_435_761).to_be_bytes(), &envelope)];
            if let Some(old) = number.checked_sub(alive) {
                let key = old.wrapping_mul(2_654_435_761).to_be_bytes().to_vec();
                writes.push(Write::Delete { table: Table::MailItem, key });
            }
            database.apply(&writes).expect("apply");
        }
        database.commit().expect("commit");
    }
    let live = u64::from(alive) * 2_104;
    assert_eq!(database.scan(Table::MailItem, b"", None, 10_000).expect("read").len(), alive as usize);
    database.close().expect("close");
    let bytes = std::fs::metadata(dir.path().join("mailbox.db")).expect("the file").len();
    assert!(bytes <= 3 * live, "{bytes} bytes for {live}");
}

#[test]
fn a_mailbox_that_was_emptied_gives_its_room_back() {
    let dir = folder();
    let mut database = open(dir.path());
    let writes: Vec<Write> = (0..1_500_u32).map(|n| put(Table::MailItem, &n.to_be_bytes(), &[1; 2_100])).collect();
    commit(&mut database, &writes);
    let full = database.file_bytes().expect("sizes").mailbox;
    let deletes: Vec<Write> =
        (0..1_500_u32).map(|n| Write::Delete { table: Table::MailItem, key: n.to_be_bytes().to_vec() }).collect();
    commit(&mut database, &deletes);
    for number in 0..8_u8 {
        commit(&mut database, &[put(Table::MailMeta, &[number], b"tick")]);
    }
    database.close().expect("close");
    let database = open(dir.path());
    let empty = database.file_bytes().expect("sizes").mailbox;
    assert!(empty < full / 4, "{empty} of {full} bytes");
}

fn writes() -> impl Strategy<Value = Write> {
    let table = prop_oneof![Just(Table::Meta), Just(Table::Outbox), Just(Table::MailItem), Just(Table::MailTag)];
    let key = prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(0xFF)], 0..4);
    let row = (0..2_u8, 0..4_u64, any::<bool>(), 0..3_u64, "[a-c ]{0,6}").prop_map(
        |(chat, number, visible, expiry, body)| {
            let mut row = item(if chat == 0 { ADA } else { BOB }, number, &body);
            row.visible = visible;
            row.expires_at = UnixTime(expiry);
            if !visible {
                row.body.clear();
            }
            row
        },
    );
    prop_oneof![
        4 => (table.clone(), key.clone(), prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(table, key, value)| Write::Put { table, key, value }),
        2 => (table, key).prop_map(|(table, key)| Write::Delete { table, key }),
        4 => row.prop_map(put_item),
        1 => (0..4_u64).prop_map(|number| Write::EraseItem { chat: ADA, id: id(number) }),
        1 => Just(Write::EraseChat { chat: BOB }),
        1 => (0..4_u64).prop_map(|number| Write::AppendEvent(received(ADA, number, "text"))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_sees_the_same_here_as_in_memory(
        steps in prop::collection::vec(prop::collection::vec(writes(), 0..6), 1..12),
        prefix in prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(0xFF)], 0..3),
        after in prop::option::of(prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(0xFF)], 0..4)),
        limit in 0..5_usize,
    ) {
        let dir = folder();
        let mut database = open(dir.path());
        let mut memory = MemoryStore::new();
        for step in &steps {
            commit(&mut database, step);
            memory.apply(step);
        }
        for table in [Table::Meta, Table::Outbox, Table::MailItem, Table::MailTag] {
            let both = |store: &dyn Store| store.scan(table, &prefix, after.as_deref(), limit);
            prop_assert_eq!(both(&database), both(&memory));
            prop_assert_eq!(database.scan(table, b"", None, 1_000), memory.scan(table, b"", None, 1_000));
        }
        for chat in [ADA, BOB] {
            for number in 0..4 {
                prop_assert_eq!(database.item(&chat, &id(number)), memory.item(&chat, &id(number)));
            }
            for after in [None, Some(id(0)), Some(id(2))] {
                prop_assert_eq!(
                    database.chat_items(&chat, after.as_ref(), limit),
                    memory.chat_items(&chat, after.as_ref(), limit)
                );
            }
            let visible: Vec<ItemRow> = memory.rows(&chat).into_iter().filter(|row| row.visible).collect();
            prop_assert_eq!(database.history(&chat, None, None, 100), Ok(visible));
        }
        prop_assert_eq!(database.items_expiring(UnixTime(9), 5), memory.items_expiring(UnixTime(9), 5));
        prop_assert_eq!(database.next_expiry(), memory.next_expiry());
        prop_assert_eq!(database.integrity_check(), Ok(()));
    }
}
