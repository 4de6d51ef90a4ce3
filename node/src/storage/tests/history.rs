//! Pages of a conversation, and finding messages by their text.

use silbo_protocol::ids::AccountId;

use super::super::{SearchQuery, search_index};
use super::*;

fn numbers(rows: &[ItemRow]) -> Vec<u64> {
    rows.iter().map(|row| row.sent_at.0).collect()
}

fn with_messages(dir: &Path, bodies: &[&str]) -> Database {
    let mut database = open(dir);
    let writes: Vec<Write> = (1..).zip(bodies).map(|(number, body)| put_item(item(ADA, number, body))).collect();
    commit(&mut database, &writes);
    database
}

fn found(database: &Database, text: &str) -> Vec<u64> {
    let query = SearchQuery { text: text.to_owned(), limit: 50, ..SearchQuery::default() };
    numbers(&database.search(&query).expect("search"))
}

#[test]
fn pages_go_back_from_the_latest_and_forward_from_anywhere() {
    let dir = folder();
    let mut database = with_messages(dir.path(), &["one", "two", "three", "four", "five"]);
    commit(&mut database, &[put_item(item(BOB, 3, "elsewhere"))]);
    let page = |before: Option<u64>, after: Option<u64>, limit| {
        let (before, after) = (before.map(id), after.map(id));
        numbers(&database.history(&ADA, before.as_ref(), after.as_ref(), limit).expect("history"))
    };
    assert_eq!(page(None, None, 2), [4, 5]);
    assert_eq!(page(Some(4), None, 2), [2, 3]);
    assert_eq!(page(Some(2), None, 2), [1]);
    assert_eq!(page(Some(1), None, 2), [0; 0]);
    assert_eq!(page(None, Some(2), 2), [3, 4]);
    assert_eq!(page(Some(5), Some(1), 2), [3, 4]);
    assert_eq!(page(None, None, 0), [0; 0]);
}

#[test]
fn an_erased_message_still_marks_its_place() {
    let dir = folder();
    let mut database = with_messages(dir.path(), &["one", "two", "three", "four", "five"]);
    commit(&mut database, &[Write::EraseItem { chat: ADA, id: id(3) }]);
    assert_eq!(numbers(&database.history(&ADA, Some(&id(3)), None, 9).expect("history")), [1, 2]);
    assert_eq!(numbers(&database.history(&ADA, None, Some(&id(3)), 9).expect("history")), [4, 5]);
}

#[test]
fn order_is_by_lamport_number_first_and_hidden_rows_are_left_out() {
    let dir = folder();
    let mut database = open(dir.path());
    let mut late = item(ADA, 1, "written early, ordered late");
    late.lamport = u64::MAX;
    let mut hidden = item(ADA, 2, "not to be seen");
    hidden.visible = false;
    commit(&mut database, &[put_item(late), put_item(hidden), put_item(item(ADA, 3, "three"))]);
    assert_eq!(numbers(&database.history(&ADA, None, None, 9).expect("history")), [3, 1]);
    let stored = database.item_by_id(&id(2)).expect("read").expect("the row");
    assert!(!stored.visible && stored.body.is_empty());
    assert!(found(&database, "seen").is_empty());
}

#[test]
fn a_message_is_found_by_its_id_in_whichever_conversation() {
    let dir = folder();
    let mut database = with_messages(dir.path(), &["one"]);
    commit(&mut database, &[put_item(item(BOB, 7, "seven"))]);
    assert_eq!(database.item_by_id(&id(7)).expect("read"), Some(item(BOB, 7, "seven")));
    assert_eq!(database.item_by_id(&id(8)).expect("read"), None);
}

#[test]
fn history_and_search_say_which_member_wrote_a_message() {
    let dir = folder();
    let mut database = open(dir.path());
    let mut rows = [item(ADA, 1, "tea"), item(ADA, 2, "tea"), item(ADA, 3, "tea for all of us: ".repeat(20).trim())];
    rows[0].author = Some(AccountId([5; 32]));
    rows[2].author = Some(AccountId([0; 32]));
    commit(&mut database, &rows.clone().map(put_item));
    assert_eq!(database.history(&ADA, None, None, 9).expect("history"), rows);
    let query = SearchQuery { text: "tea".to_owned(), limit: 9, ..SearchQuery::default() };
    let authors: Vec<_> = database.search(&query).expect("search").iter().map(|row| row.author).collect();
    assert_eq!(authors, [rows[2].author, None, rows[0].author]);
    // A state that moves rewrites the row where it lies.
    rows[0].state = 2;
    commit(&mut database, &[put_item(rows[0].clone())]);
    assert_eq!(database.item_by_id(&id(1)).expect("read"), Some(rows[0].clone()));
    database.private.execute("UPDATE items SET author = zeroblob(33) WHERE outgoing = 0", []).expect("a zeroed page");
    assert!(database.item_by_id(&id(1)).is_err(), "a zeroed author is damage, not another member");
}

#[test]
fn words_are_found_whatever_their_case_and_accents_and_by_their_beginning() {
    let dir = folder();
    let database =
        with_messages(dir.path(), &["Zoë grüßt aus Málaga", "the lighthouse keeper", "Lighthouses are tall"]);
    assert_eq!(found(&database, "zoe malaga"), [1]);
    assert_eq!(found(&database, "LIGHT"), [3, 2]);
    assert_eq!(found(&database, "lighthouse"), [3, 2]);
    assert_eq!(found(&database, "the keep"), [2]);
    assert_eq!(found(&database, "keeper tall"), [0; 0]);
    assert_eq!(found(&database, "thouse"), [3, 2]);
}

#[test]
fn text_without_spaces_is_found_by_any_part() {
    let dir = folder();
    let database =
        with_messages(dir.path(), &["明日の会議は九時からです", "北京欢迎你", "안녕하세요 여러분", "😀 fine"]);
    assert_eq!(found(&database, "会議"), [1]);
    assert_eq!(found(&database, "九時から"), [1]);
    assert_eq!(found(&database, "京欢"), [2]);
    assert_eq!(found(&database, "하세"), [3]);
    assert_eq!(found(&database, "😀"), [4]);
}

#[test]
fn search_can_be_narrowed_by_conversation_and_time_and_is_latest_first() {
    let dir = folder();
    let mut database = with_messages(dir.path(), &["tea", "tea", "tea", "tea"]);
    commit(&mut database, &[put_item(item(BOB, 9, "tea"))]);
    let narrowed = |chat, after: Option<u64>, before: Option<u64>, limit| {
        let query = SearchQuery {
            text: "tea".to_owned(),
            chat,
            after: after.map(UnixTime),
            before: before.map(UnixTime),
            limit,
        };
        numbers(&database.search(&query).expect("search"))
    };
    assert_eq!(narrowed(None, None, None, 2), [9, 4]);
    assert_eq!(narrowed(Some(ADA), None, None, 9), [4, 3, 2, 1]);
    assert_eq!(narrowed(Some(ADA), Some(2), Some(4), 9), [3, 2]);
}

#[test]
fn nothing_a_person_types_is_an_expression_or_an_error() {
    let dir = folder();
    let database = with_messages(dir.path(), &["a AND b", "100% of \"it\"", "x_y \\ z", "NEAR(words)"]);
    for text in [
        "",
        "   ",
        "\"",
        "\"\"",
        "*",
        "AND",
        "a AND",
        "NOT b",
        "body:a",
        "NEAR(",
        "(",
        "{a} : b",
        "^a",
        "a*b",
        "-",
        "'",
        "%",
        "_",
        "\\",
        "\0",
        "a\0b",
        "\u{202e}",
        "😀",
        "'; DROP TABLE items; --",
    ] {
        let query = SearchQuery { text: text.to_owned(), limit: 5, ..SearchQuery::default() };
        assert!(database.search(&query).is_ok(), "{text:?}");
    }
    assert_eq!(found(&database, "100%"), [2]);
    assert_eq!(found(&database, "%"), [2]);
    assert_eq!(found(&database, "_"), [3]);
    assert_eq!(found(&database, "\\"), [3]);
    assert!(found(&database, &"long ".repeat(10_000)).is_empty());
}

#[test]
fn an_edited_text_is_found_by_its_last_words_only() {
    let dir = folder();
    let mut database = with_messages(dir.path(), &["meet at noon"]);
    commit(&mut database, &[put_item(item(ADA, 1, "meet at midnight"))]);
    assert!(found(&database, "noon").is_empty());
    assert_eq!(found(&database, "midnight"), [1]);
    database.integrity_check().expect("the index agrees with the messages");
}

fn indexed(database: &Database) -> u32 {
    let count = "SELECT count(*) FROM words WHERE words MATCH 'lunch'";
    database.private.query_row(count, [], |row| row.get(0)).expect("the index")
}

#[test]
fn messages_are_indexed_when_there_is_nothing_else_to_do() {
    let dir = folder();
    let batch = search_index::BATCH_OF_QUIET;
    let mut database = with_messages(dir.path(), &vec!["lunch"; search_index::BATCH_OF_QUIET as usize + 1]);
    assert_eq!((indexed(&database), database.waits_for_index()), (0, true));
    database.index_some().expect("the index follows");
    assert_eq!((indexed(&database), database.waits_for_index()), (batch, true));
    // What an earlier run left is known to wait.
    drop(database);
    let mut database = open(dir.path());
    assert!(database.waits_for_index());
    database.index_some().expect("the index follows");
    assert_eq!((indexed(&database), database.waits_for_index()), (batch + 1, false));
    database.integrity_check().expect("the index agrees with the messages");
}

#[test]
fn commits_index_what_comes_without_a_pause() {
    let dir = folder();
    let mut database = with_messages(dir.path(), &vec!["lunch"; search_index::WAITING_MAX as usize - 2]);
    commit(&mut database, &[]);
    assert_eq!(indexed(&database), 0);
    commit(&mut database, &[put_item(item(BOB, 1, "lunch"))]);
    assert_eq!(indexed(&database), search_index::BATCH);
    assert_eq!(found(&database, "lunch").len(), 50);
    assert_eq!(indexed(&database), search_index::WAITING_MAX - 1);
}

#[test]
fn the_search_index_can_be_built_anew() {
    let dir = folder();
    let mut database = with_messages(dir.path(), &["meet at noon", "or later"]);
    database.index_some().expect("the index follows");
    database.private.execute("INSERT INTO words(words) VALUES ('delete-all')", []).expect("damage the index");
    assert!(database.integrity_check().is_err());
    database.rebuild_search().expect("rebuild");
    database.integrity_check().expect("intact");
    assert_eq!(found(&database, "later"), [2]);
}
