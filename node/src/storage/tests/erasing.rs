//! What is erased is gone: from rows, both search indexes, the event log and the files.

use super::super::SearchQuery;
use super::*;

const SECRET: &str = "xylophonequartz";

/// Everything the private file holds, decrypted: all values of all tables, shadow tables of the indexes included.
fn everything(database: &Database) -> String {
    let connection = &database.private;
    let mut tables = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").expect("schema");
    let names: Vec<String> =
        tables.query_map([], |row| row.get(0)).expect("names").collect::<Result<_, _>>().expect("names");
    let mut all = String::new();
    for name in names {
        let mut statement = connection.prepare(&format!("SELECT * FROM \"{name}\"")).expect("a table");
        let columns = statement.column_count();
        let mut rows = statement.query([]).expect("rows");
        while let Some(row) = rows.next().expect("a row") {
            for column in 0..columns {
                let bytes = row.get_ref(column).expect("a value").as_bytes().unwrap_or_default().to_vec();
                all.push_str(&String::from_utf8_lossy(&bytes));
                all.push('\n');
            }
        }
    }
    all
}

fn search(database: &Database, text: &str) -> usize {
    let query = SearchQuery { text: text.to_owned(), limit: 9, ..SearchQuery::default() };
    database.search(&query).expect("search").len()
}

fn with_secret(dir: &Path) -> Database {
    let mut database = open(dir);
    let mut row = item(ADA, 1, SECRET);
    row.slot = SECRET.into();
    let mut writes = vec![put_item(row), Write::AppendEvent(received(ADA, 1, SECRET))];
    for number in 2..40 {
        writes.push(put_item(item(ADA, number, &format!("ordinary words number {number}"))));
    }
    writes.push(put_item(item(BOB, 50, "another conversation")));
    commit(&mut database, &writes);
    assert!(everything(&database).contains(SECRET));
    assert_eq!(search(&database, SECRET), 1);
    database
}

#[test]
fn an_erased_message_leaves_no_trace_in_any_table() {
    let dir = folder();
    let mut database = with_secret(dir.path());
    commit(&mut database, &[Write::EraseItem { chat: ADA, id: id(1) }]);
    let all = everything(&database);
    assert!(!all.contains(SECRET) && !all.contains("xyl") && !all.contains("ylophonequ"));
    assert_eq!(search(&database, SECRET) + search(&database, "phoneq"), 0);
    let events = database.events_after(0, 9).expect("events");
    assert_eq!(events.len(), 1, "the event stays, its text goes");
    assert_eq!(events[0].1, received(ADA, 1, ""));
    assert_eq!(database.file_bytes().expect("sizes").private % 4_096, 0, "the write-ahead log was cut");
    database.integrity_check().expect("intact");
}

#[test]
fn a_message_deleted_by_its_author_leaves_no_text_behind() {
    let dir = folder();
    let mut database = with_secret(dir.path());
    let mut row = item(ADA, 1, "");
    row.visible = false;
    row.slot = b"deleted".to_vec();
    commit(&mut database, &[put_item(row)]);
    assert!(!everything(&database).contains(SECRET));
}

#[test]
fn an_erased_conversation_takes_its_texts_along_and_no_other() {
    let dir = folder();
    let mut database = with_secret(dir.path());
    let request = Event {
        at: UnixTime(1),
        chat: Some(ADA),
        message: None,
        kind: EventKind::ContactRequest { name: "planted".to_owned(), hello: SECRET.to_owned() },
    };
    let removed = Event { at: UnixTime(2), chat: Some(ADA), message: None, kind: EventKind::ContactRemoved };
    commit(&mut database, &[Write::AppendEvent(request), Write::AppendEvent(removed.clone())]);
    commit(&mut database, &[Write::EraseChat { chat: ADA }]);
    let all = everything(&database);
    assert!(!all.contains(SECRET) && !all.contains("planted") && !all.contains("ordinary"));
    assert!(database.history(&ADA, None, None, 99).expect("history").is_empty());
    assert_eq!(search(&database, "another"), 1);
    let events: Vec<Event> = database.events_after(0, 9).expect("events").into_iter().map(|(_, event)| event).collect();
    assert_eq!(events, [removed]);
    database.integrity_check().expect("intact");
}

#[test]
fn no_text_is_readable_in_the_files() {
    let dir = folder();
    let database = with_secret(dir.path());
    let readable = |dir: &Path| {
        std::fs::read_dir(dir).expect("list").any(|file| {
            let bytes = std::fs::read(file.expect("a file").path()).expect("read");
            bytes.windows(8).any(|window| window == &SECRET.as_bytes()[..8] || window == b"SQLite f")
        })
    };
    assert!(!readable(dir.path()), "while open");
    database.close().expect("close");
    assert!(!readable(dir.path()), "when closed");
}
