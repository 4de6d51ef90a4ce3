//! Numbers that only grow, cursors that only move forward, tokens by their hashes.

use super::super::{ApiToken, StorageError};
use super::*;

fn with_events(dir: &Path, count: u64) -> Database {
    let mut database = open(dir);
    let writes: Vec<Write> = (1..=count).map(|n| Write::AppendEvent(received(ADA, n * 10, "text"))).collect();
    commit(&mut database, &writes);
    database
}

fn sequence(database: &Database, after: u64, limit: usize) -> Vec<u64> {
    database.events_after(after, limit).expect("events").into_iter().map(|(seq, _)| seq).collect()
}

#[test]
fn events_come_back_in_order_after_any_number() {
    let dir = folder();
    let database = with_events(dir.path(), 5);
    assert_eq!(sequence(&database, 0, 3), [1, 2, 3]);
    assert_eq!(sequence(&database, 3, 9), [4, 5]);
    assert_eq!(sequence(&database, u64::MAX, 9), [0; 0]);
    assert_eq!(database.events_after(4, 1).expect("events")[0].1, received(ADA, 50, "text"));
    assert_eq!((database.event_head(), database.event_floor()), (Ok(5), Ok(1)));
}

#[test]
fn pruned_numbers_are_never_used_again() {
    let dir = folder();
    let mut database = with_events(dir.path(), 5);
    assert_eq!(database.prune_events(UnixTime(50), 20, 100), Ok(2));
    assert_eq!(sequence(&database, 0, 9), [3, 4, 5]);
    assert_eq!(database.event_floor(), Ok(3));
    assert_eq!(database.prune_events(UnixTime(50), 1_000, 1), Ok(2));
    assert_eq!(database.prune_events(UnixTime(50), 1_000, 1), Ok(0));
    assert_eq!(database.prune_events(UnixTime(99_999), 1, 100), Ok(1));
    assert_eq!((database.event_head(), database.event_floor()), (Ok(5), Ok(6)));
    let epoch = database.epoch().to_owned();
    database.close().expect("close");
    let mut database = open(dir.path());
    let events = commit(&mut database, &[Write::AppendEvent(received(ADA, 1, "text"))]);
    assert_eq!(events[0].0, 6);
    assert_eq!((database.event_head(), database.event_floor()), (Ok(6), Ok(6)));
    assert_eq!(database.epoch(), epoch);
    assert_eq!(epoch.len(), 13);
}

#[test]
fn each_file_has_an_epoch_of_its_own() {
    assert_ne!(open(folder().path()).epoch(), open(folder().path()).epoch());
}

#[test]
fn a_cursor_only_moves_forward_and_not_beyond_the_head() {
    let dir = folder();
    let mut database = with_events(dir.path(), 5);
    assert_eq!(database.cursor("bot"), Ok(0));
    database.set_cursor("bot", 3).expect("forward");
    database.set_cursor("bot", 2).expect("a late acknowledgement");
    assert_eq!(database.cursor("bot"), Ok(3));
    database.set_cursor("bot", 900).expect("too far");
    assert_eq!(database.cursor("bot"), Ok(5));
    assert_eq!(database.cursor("other"), Ok(0));
}

#[test]
fn a_cursor_set_in_a_transaction_shares_its_fate() {
    let dir = folder();
    let mut database = with_events(dir.path(), 5);
    database.begin().expect("begin");
    database.set_cursor("bot", 3).expect("forward");
    database.rollback();
    assert_eq!(database.cursor("bot"), Ok(0));
}

#[test]
fn tokens_are_kept_found_used_and_revoked_by_name_and_hash() -> Result<(), StorageError> {
    let dir = folder();
    let mut database = open(dir.path());
    let token = ApiToken {
        name: "bot".to_owned(),
        hash: [3; 32],
        scopes: vec!["read".to_owned(), "message:send".to_owned()],
        created_at: UnixTime(5),
        expires_at: Some(UnixTime(50)),
        last_used_at: None,
    };
    assert!(database.token_add(&token)?);
    assert!(!database.token_add(&ApiToken { hash: [4; 32], ..token.clone() })?, "the name is taken");
    assert!(database.token_add(&ApiToken { name: "twin".to_owned(), ..token.clone() }).is_err(), "the hash is taken");
    assert_eq!(database.token_by_hash(&[3; 32])?, Some(token.clone()));
    assert_eq!(database.token_by_hash(&[4; 32])?, None);
    database.token_used("bot", UnixTime(7))?;
    assert_eq!(database.tokens()?, [ApiToken { last_used_at: Some(UnixTime(7)), ..token.clone() }]);
    assert!(!format!("{token:?}").contains("3, 3"));
    assert!(database.token_revoke("bot")?);
    assert!(!database.token_revoke("bot")?);
    assert_eq!(database.token_by_hash(&[3; 32])?, None);
    Ok(())
}
