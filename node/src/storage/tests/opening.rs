//! Who may open the databases: one process, with the right key, of a version that knows them.

use std::os::unix::fs::PermissionsExt;

use rusqlite::Connection;
use silbo_protocol::ids::AccountId;
use silbo_protocol::store::Store;

use super::super::SearchQuery;
use super::super::{DATABASE_FILES, PRIVATE_FILE, StorageError, file, schema};
use super::*;

fn files(dir: &Path) -> Vec<(std::ffi::OsString, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .expect("list")
        .map(|file| file.expect("a file"))
        .map(|file| (file.file_name(), std::fs::read(file.path()).expect("read")))
        .collect();
    files.sort();
    files
}

#[test]
fn t69_a_second_opener_is_refused_with_the_pid_of_the_first_and_writes_nothing() {
    let dir = folder();
    let mut database = open(dir.path());
    commit(&mut database, &[put(Table::Meta, b"k", b"v")]);
    let before = files(dir.path());
    let refused = Database::open(dir.path(), &key()).expect_err("in use");
    assert_eq!(refused, StorageError::InUse { pid: Some(std::process::id()) });
    assert!(refused.to_string().contains(&std::process::id().to_string()));
    assert_eq!(files(dir.path()), before);
    drop(database);
    assert_eq!(open(dir.path()).value(Table::Meta, b"k").expect("read"), Some(b"v".to_vec()));
}

#[test]
fn t69_another_process_cannot_lock_what_is_open_here() {
    let dir = folder();
    let _database = open(dir.path());
    let flock = std::process::Command::new("flock").arg("-n").arg(dir.path().join("lock")).arg("true").status();
    match flock {
        Ok(status) => assert!(!status.success()),
        Err(_) => eprintln!("skipped: there is no flock command here"),
    }
}

#[test]
fn a_wrong_key_is_told_apart_from_a_damaged_file() {
    let dir = folder();
    open(dir.path()).close().expect("close");
    let wrong = DatabaseKey::from_bytes(&[8; 32]);
    assert_eq!(Database::open(dir.path(), &wrong).expect_err("a wrong key"), StorageError::WrongKey);
    assert_eq!(StorageError::WrongKey.class(), 8);
    let path = dir.path().join(DATABASE_FILES[0]);
    let mut bytes = std::fs::read(&path).expect("read");
    bytes[100] ^= 1;
    std::fs::write(&path, bytes).expect("write");
    assert!(matches!(Database::open(dir.path(), &key()).expect_err("damaged"), StorageError::Damaged { .. }));
}

#[test]
fn the_two_files_have_different_keys_and_cannot_be_swapped() {
    let dir = folder();
    open(dir.path()).close().expect("close");
    let [private, mailbox] = DATABASE_FILES.map(|name| dir.path().join(name));
    std::fs::rename(&private, dir.path().join("x")).expect("swap");
    std::fs::rename(&mailbox, &private).expect("swap");
    std::fs::rename(dir.path().join("x"), &mailbox).expect("swap");
    assert!(matches!(Database::open(dir.path(), &key()).expect_err("swapped"), StorageError::Damaged { .. }));
}

#[test]
fn files_are_readable_by_their_owner_alone() {
    let dir = folder();
    let data = dir.path().join("data");
    let mut database = open(&data);
    commit(&mut database, &[put(Table::Meta, b"k", b"v"), put(Table::MailMeta, b"k", b"v")]);
    let mode = |path: &Path| std::fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    for (name, _) in files(&data) {
        assert_eq!(mode(&data.join(&name)), 0o600, "{name:?}");
    }
}

#[test]
fn t71_a_file_of_a_later_version_is_refused_with_a_message_and_stays_untouched() {
    for ((file, name), known) in DATABASE_FILES.into_iter().enumerate().zip([2, 1]) {
        let dir = folder();
        let database = open(dir.path());
        let connection = if file == 0 { &database.private } else { &database.mailbox };
        connection.pragma_update(None, "user_version", 99).expect("a later version");
        database.close().expect("close");
        let before = std::fs::read(dir.path().join(name)).expect("read");
        let refused = Database::open(dir.path(), &key()).expect_err("a later version");
        assert_eq!(refused, StorageError::Newer { file: name, found: 99, known });
        assert_eq!(refused.class(), 11);
        assert!(refused.to_string().contains("99"));
        assert_eq!(std::fs::read(dir.path().join(name)).expect("read"), before);
    }
}

#[test]
fn t71_a_migration_happens_whole_or_not_at_all() {
    let connection = Connection::open_in_memory().expect("a database");
    let version = |connection: &Connection| -> i64 {
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a version")
    };
    let first = "CREATE TABLE a(x INTEGER NOT NULL) STRICT; INSERT INTO a(x) VALUES (1);";
    let broken =
        "INSERT INTO a(x) VALUES (2); CREATE TABLE b(y INTEGER NOT NULL) STRICT; INSERT INTO missing VALUES (1);";
    let second = "INSERT INTO a(x) VALUES (2); CREATE TABLE b(y INTEGER NOT NULL) STRICT;";
    assert!(schema::migrate(&connection, "test", &[first, broken]).is_err());
    assert_eq!(version(&connection), 1);
    let sum = |connection: &Connection| -> i64 {
        connection.query_row("SELECT sum(x) FROM a", [], |row| row.get(0)).expect("a sum")
    };
    assert_eq!(sum(&connection), 1, "nothing of the broken step is there");
    schema::migrate(&connection, "test", &[first, second]).expect("the remaining step");
    assert_eq!((version(&connection), sum(&connection)), (2, 3));
    schema::migrate(&connection, "test", &[first, second]).expect("nothing left to do");
    assert_eq!(sum(&connection), 3);
    let older = schema::migrate(&connection, "test", &[first]).expect_err("an older program");
    assert_eq!(older, StorageError::Newer { file: "test", found: 2, known: 1 });
}

#[test]
fn t71_messages_of_the_first_version_are_read_found_and_changed() {
    let dir = folder();
    let opening = file::Opening {
        path: dir.path().join(PRIVATE_FILE),
        name: PRIVATE_FILE,
        key: key().derive("silbo private database v1"),
        log_pages: file::PRIVATE_LOG_PAGES,
        exists: false,
        key_is_right: false,
    };
    let first = opening.open(&schema::PRIVATE[..1]).expect("a file of the first version");
    let old = [item(ADA, 1, "meet at the lighthouse"), item(ADA, 2, "yes")];
    for row in &old {
        first
            .execute(
                "INSERT INTO items(chat, id, lamport, sent_at, stored_at, outgoing, visible, state, expires_at, body, body_at, slot)
                 VALUES (?1, ?2, ?3, ?3, ?3 + 1, ?4, 1, 3, 0, ?5, -1, ?6)",
                rusqlite::params![
                    row.chat.0,
                    row.id.0,
                    i64::try_from(row.lamport).expect("small"),
                    row.outgoing,
                    row.body,
                    [row.slot.as_slice(), &[1]].concat()
                ],
            )
            .expect("a message as the first version kept it");
    }
    first.close().expect("close");

    let mut database = open(dir.path());
    assert_eq!(database.history(&ADA, None, None, 9).expect("history"), old);
    let query = SearchQuery { text: "light".to_owned(), limit: 9, ..SearchQuery::default() };
    assert_eq!(database.search(&query).expect("search"), old[..1]);
    let mut of_member = item(ADA, 1, "meet at the lighthouse");
    of_member.author = Some(AccountId([5; 32]));
    commit(&mut database, &[put_item(of_member.clone())]);
    assert_eq!(database.item_by_id(&id(1)).expect("read"), Some(of_member));
    database.integrity_check().expect("intact");
    database.close().expect("close");
    assert_eq!(open(dir.path()).item_by_id(&id(2)).expect("read"), Some(old[1].clone()));
}

#[test]
fn the_rules_that_promises_rest_on_are_in_force() {
    let dir = folder();
    let database = open(dir.path());
    for (connection, log_pages) in [(&database.private, 1_024), (&database.mailbox, 256)] {
        let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).expect("a pragma");
        let expected = [
            ("synchronous", 2),
            ("auto_vacuum", 2),
            ("secure_delete", 1),
            ("foreign_keys", 1),
            ("trusted_schema", 0),
            ("cell_size_check", 1),
            ("temp_store", 2),
            ("wal_autocheckpoint", log_pages),
            ("journal_size_limit", log_pages * 4_096),
        ];
        for (name, value) in expected {
            assert_eq!(number(name), value, "{name}");
        }
        let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).expect("a pragma");
        assert_eq!(mode, "wal");
        assert!(connection.execute("DELETE FROM sqlite_schema", []).is_err());
    }
    assert!(database.private.execute("DELETE FROM words_data", []).is_err(), "defensive mode protects shadow tables");
    assert!(!dir.path().join("private.db-shm").exists(), "nothing is memory-mapped");
}

#[test]
fn a_first_opening_that_was_cut_short_is_finished_by_the_next() {
    let dir = folder();
    open(dir.path()).close().expect("close");
    std::fs::remove_file(dir.path().join("key.check")).expect("as if it had not come so far");
    std::fs::write(dir.path().join(DATABASE_FILES[1]), b"").expect("as if it had not come so far");
    let mut database = open(dir.path());
    commit(&mut database, &[put(Table::Meta, b"k", b"v"), put(Table::MailMeta, b"k", b"v")]);
    assert!(dir.path().join("key.check").exists());
}

#[test]
fn t74_debug_output_names_the_folder_and_nothing_else() {
    let dir = folder();
    let mut database = open(dir.path());
    commit(&mut database, &[put_item(item(ADA, 1, "planted")), put(Table::Meta, b"planted", b"planted")]);
    assert!(!format!("{database:?}").contains("planted"));
}
