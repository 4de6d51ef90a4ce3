//! The engine's tables that live in the spool: the open transaction shows through, and a failing spool stops nobody.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use silbo_protocol::store::Store;

use super::*;
use crate::spool::{
    MemorySpool, NODE_SPOOL_BYTES_MAX, SPOOL_VALUE_BYTES_MAX, SledSpool, Space, Spool, SpoolError, SpoolKey,
    SpoolOpened, SpoolPair, SpoolRecord,
};

fn delete(table: Table, key: &[u8]) -> Write {
    Write::Delete { table, key: key.to_vec() }
}

fn commit(database: &mut Database, writes: &[Write]) {
    database.begin().expect("begin");
    database.apply(writes).expect("apply");
    database.commit().expect("commit");
}

fn spool_path(dir: &Path) -> PathBuf {
    dir.join("spool")
}

fn open_sled(dir: &Path) -> SpoolOpened {
    SledSpool::open(&spool_path(dir), NODE_SPOOL_BYTES_MAX).expect("the spool opens")
}

/// A database with a spool on disk.
fn with_sled(dir: &Path) -> Database {
    let mut database = open(dir);
    database.use_spool(Arc::new(open_sled(dir).into_spool()));
    database
}

fn keys(database: &Database, after: Option<&[u8]>, limit: usize) -> Vec<Vec<u8>> {
    let pairs = database.scan(Table::Carried, b"", after, limit).expect("scan");
    pairs.into_iter().map(|(key, _)| key).collect()
}

#[test]
fn reads_see_the_open_transaction_and_a_rollback_forgets_it() {
    let dir = folder();
    for mut database in [with_sled(dir.path()), open(folder().path())] {
        commit(&mut database, &[put(Table::Carried, b"b", b"2"), put(Table::Carried, b"d", b"4")]);
        database.begin().expect("begin");
        let writes = [
            put(Table::Carried, b"a", b"1"),
            put(Table::Carried, b"d", b"four"),
            delete(Table::Carried, b"b"),
            put(Table::CarriedState, b"b", b"of another table"),
        ];
        database.apply(&writes).expect("apply");
        assert_eq!(database.value(Table::Carried, b"b"), Ok(None));
        assert_eq!(database.value(Table::Carried, b"d"), Ok(Some(b"four".to_vec())));
        assert_eq!(keys(&database, None, 9), [b"a", b"d"]);
        assert_eq!(keys(&database, None, 1), [b"a"]);
        assert_eq!(keys(&database, Some(b"a"), 9), [b"d"]);
        database.rollback();
        assert_eq!(keys(&database, None, 9), [b"b", b"d"]);
        assert_eq!(database.value(Table::CarriedState, b"b"), Ok(None));
    }
}

#[test]
fn pages_of_a_scan_hold_everything_once_whatever_the_transaction_changed() {
    let dir = folder();
    let mut database = with_sled(dir.path());
    let name = |n: u8| [b'k', n];
    commit(&mut database, &(0..40).map(|n| put(Table::Carried, &name(n), b"v")).collect::<Vec<_>>());
    database.begin().expect("begin");
    let changes = (0..60).filter(|n| n % 3 == 0).map(|n| match n {
        0..40 => delete(Table::Carried, &name(n)),
        _ => put(Table::Carried, &name(n), b"v"),
    });
    database.apply(&changes.collect::<Vec<_>>()).expect("apply");
    let expected: Vec<Vec<u8>> = (0..60).filter(|n| (*n < 40) != (n % 3 == 0)).map(|n| name(n).to_vec()).collect();
    for size in [1, 3, 7, 100] {
        let (mut found, mut after) = (Vec::new(), None::<Vec<u8>>);
        loop {
            let page = keys(&database, after.as_deref(), size);
            let Some(last) = page.last() else { break };
            after = Some(last.clone());
            found.extend(page);
        }
        assert_eq!(found, expected, "pages of {size}");
    }
    assert_eq!(database.scan(Table::Carried, b"x", None, 9), Ok(Vec::new()));
}

#[test]
fn what_is_carried_is_there_after_a_restart_and_in_no_database_file() {
    let dir = folder();
    let mut database = with_sled(dir.path());
    let envelope = [0xA7; 16 << 10];
    commit(&mut database, &[put(Table::Carried, b"cid", &envelope), put(Table::Meta, b"k", b"v")]);
    commit(&mut database, &[put(Table::Carried, b"gone", b"x"), delete(Table::Carried, b"gone")]);
    let rows: i64 = database
        .file(File::Private)
        .0
        .query_row("SELECT count(*) FROM kv WHERE tab >= 128", [], |row| row.get(0))
        .expect("rows");
    assert_eq!(rows, 0);
    database.close().expect("close");
    let database = with_sled(dir.path());
    assert_eq!(database.value(Table::Carried, b"cid"), Ok(Some(envelope.to_vec())));
    assert_eq!(keys(&database, None, 9), [b"cid"]);
}

#[test]
fn what_was_committed_is_in_the_files_at_once() {
    let dir = folder();
    let mut database = with_sled(dir.path());
    for number in 0..50_u8 {
        commit(&mut database, &[put(Table::Carried, &[number], &[number; 16 << 10])]);
    }
    commit(&mut database, &[delete(Table::Carried, &[7])]);
    // A copy taken while it runs is what a killed process leaves.
    let image = folder();
    copy_folder(&spool_path(dir.path()), &spool_path(image.path()));
    let SpoolOpened::Intact(spool) = open_sled(image.path()) else { panic!("the copy is damaged") };
    let pairs = spool.scan(Space::Carried, b"", None, UnixTime(0), 99).expect("scan");
    assert_eq!(pairs.len(), 49);
    assert!(pairs.iter().all(|(key, value)| *value == [key[0]; 16 << 10]));
    let blobs = std::fs::read_dir(spool_path(dir.path()).join("blobs")).map_or(0, Iterator::count);
    assert_eq!(blobs, 0, "nothing is in files that are never synced");
}

#[test]
fn a_damaged_spool_is_set_aside_and_the_databases_go_on_with_an_empty_one() {
    let origin = folder();
    let mut database = with_sled(origin.path());
    for number in 0..60_u8 {
        commit(&mut database, &[put(Table::Carried, &[number], &[number; 4_000])]);
    }
    database.close().expect("close");
    let mut set_aside = 0;
    for seed in 0..9_usize {
        let image = folder();
        copy_folder(&spool_path(origin.path()), &spool_path(image.path()));
        let file = spool_path(image.path()).join(if seed < 6 { "db" } else { "conf" });
        let mut bytes = std::fs::read(&file).expect("read");
        match seed % 3 {
            0 => bytes.truncate(bytes.len() * (seed + 1) / 10),
            1 => bytes.fill(0x5A),
            _ => (0..64).for_each(|step| {
                let at = (seed * 7_919 + step * 10_007) % bytes.len();
                bytes[at] ^= 0x55;
            }),
        }
        std::fs::write(&file, bytes).expect("write");
        let opened = open_sled(image.path());
        set_aside += usize::from(matches!(opened, SpoolOpened::SetAside { .. }));
        let mut database = open(image.path());
        database.use_spool(Arc::new(opened.into_spool()));
        // Some records may be lost; nothing stops, and what comes now is kept.
        drop(keys(&database, None, 99));
        commit(&mut database, &[put(Table::Carried, b"again", b"works"), put(Table::Meta, b"k", b"v")]);
        assert_eq!(database.value(Table::Carried, b"again"), Ok(Some(b"works".to_vec())));
    }
    assert!(set_aside >= 3, "{set_aside} of 9 were noticed on opening");
}

/// A spool that works until it is told not to.
struct Failing {
    inner: MemorySpool,
    fails: Arc<AtomicBool>,
}

impl Failing {
    fn check(&self) -> Result<(), SpoolError> {
        match self.fails.load(Ordering::Relaxed) {
            true => Err(SpoolError::Io("the disk is gone".to_owned())),
            false => Ok(()),
        }
    }
}

impl Spool for Failing {
    fn change_batch(&self, records: &[SpoolRecord], removals: &[SpoolKey]) -> Result<(), SpoolError> {
        self.check().and_then(|()| self.inner.change_batch(records, removals))
    }

    fn get(&self, space: Space, key: &[u8], now: UnixTime) -> Result<Option<Vec<u8>>, SpoolError> {
        self.check().and_then(|()| self.inner.get(space, key, now))
    }

    fn remove(&self, space: Space, key: &[u8]) -> Result<(), SpoolError> {
        self.check().and_then(|()| self.inner.remove(space, key))
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        after: Option<&[u8]>,
        now: UnixTime,
        limit: usize,
    ) -> Result<Vec<SpoolPair>, SpoolError> {
        self.check().and_then(|()| self.inner.scan(space, prefix, after, now, limit))
    }

    fn len_bytes(&self) -> u64 {
        self.inner.len_bytes()
    }

    fn sweep(&self, now: UnixTime) -> Result<usize, SpoolError> {
        self.inner.sweep(now)
    }

    fn flush(&self) -> Result<(), SpoolError> {
        self.check()
    }
}

/// A database whose spool holds one record and fails from now on.
fn with_failing_spool(dir: &Path) -> Database {
    let fails = Arc::new(AtomicBool::new(false));
    let mut database = open(dir);
    database.use_spool(Arc::new(Failing { inner: MemorySpool::default(), fails: fails.clone() }));
    commit(&mut database, &[put(Table::Carried, b"old", b"1")]);
    fails.store(true, Ordering::Relaxed);
    database
}

#[test]
fn a_spool_that_fails_at_the_commit_takes_nothing_with_it() {
    let dir = folder();
    let mut database = with_failing_spool(dir.path());
    commit(&mut database, &[put(Table::Carried, b"new", b"2"), put(Table::Meta, b"k", b"kept")]);
    assert_eq!(database.value(Table::Meta, b"k"), Ok(Some(b"kept".to_vec())));
    assert_eq!(keys(&database, None, 9), [b"new"], "what was in the failed spool is forgotten");
    commit(&mut database, &[put(Table::Vaccine, b"more", b"3")]);
    assert_eq!(database.value(Table::Vaccine, b"more"), Ok(Some(b"3".to_vec())));
}

#[test]
fn a_spool_that_fails_at_a_read_is_empty_from_then_on() {
    let dir = folder();
    let mut database = with_failing_spool(dir.path());
    assert_eq!(database.value(Table::Carried, b"old"), Ok(None));
    assert_eq!(keys(&database, None, 9), Vec::<Vec<u8>>::new());
    commit(&mut database, &[put(Table::Carried, b"new", b"2")]);
    assert_eq!(keys(&database, None, 9), [b"new"]);
}

#[test]
fn a_record_too_large_for_the_spool_is_left_out_and_the_others_are_kept() {
    let dir = folder();
    let mut database = with_sled(dir.path());
    let large = vec![0; SPOOL_VALUE_BYTES_MAX + 1];
    commit(&mut database, &[put(Table::Carried, b"large", &large), put(Table::Carried, b"small", b"1")]);
    assert_eq!(keys(&database, None, 9), [b"small"]);
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("list") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copy");
        }
    }
}
