//! What a spool keeps, forgets and survives; the same for both kinds.

use std::path::Path;
use std::sync::Arc;

use silbo_protocol::ids::{PeerAddress, PeerKey};
use silbo_protocol::time::DAY_MS;
use tempfile::TempDir;

use super::*;

const NOW: UnixTime = UnixTime(1_000_000);

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn open(dir: &Path) -> SledSpool {
    match SledSpool::open(&dir.join("spool"), 100_000).expect("the spool opens") {
        SpoolOpened::Intact(spool) => spool,
        SpoolOpened::SetAside { reason, .. } => panic!("set aside: {reason}"),
    }
}

fn record(key: &[u8], value: &[u8], lives_ms: u64) -> SpoolRecord {
    SpoolRecord { space: Space::Record, key: key.to_vec(), value: value.to_vec(), expires_at: NOW.after_ms(lives_ms) }
}

fn both(test: impl Fn(&dyn Spool)) {
    let dir = folder();
    test(&open(dir.path()));
    test(&MemorySpool::new(100_000));
}

#[test]
fn records_are_kept_replaced_listed_and_removed() {
    both(|spool| {
        spool
            .put_batch(&[record(b"a1", b"one", 10), record(b"a2", b"two", 10), record(b"b", b"three", 10)])
            .expect("put");
        spool.put_batch(&[record(b"a1", b"other", 10)]).expect("put");
        assert_eq!(spool.get(Space::Record, b"a1", NOW), Ok(Some(b"other".to_vec())));
        assert_eq!(spool.get(Space::Peer, b"a1", NOW), Ok(None));
        let pairs = vec![(b"a1".to_vec(), b"other".to_vec()), (b"a2".to_vec(), b"two".to_vec())];
        assert_eq!(spool.scan(Space::Record, b"a", None, NOW, 9), Ok(pairs.clone()));
        assert_eq!(spool.scan(Space::Record, b"a", None, NOW, 1), Ok(pairs[..1].to_vec()));
        assert_eq!(spool.scan(Space::Record, b"a", Some(b"a1"), NOW, 9), Ok(pairs[1..].to_vec()));
        assert_eq!(spool.scan(Space::Record, b"a", Some(b"a0"), NOW, 9), Ok(pairs.clone()));
        assert_eq!(spool.scan(Space::Record, b"a", Some(b"b"), NOW, 9), Ok(Vec::new()));
        assert_eq!(spool.scan(Space::Record, b"b", Some(b"a"), NOW, 9).expect("scan").len(), 1);
        spool.remove(Space::Record, b"a1").expect("remove");
        spool.remove(Space::Record, b"a1").expect("absent is fine");
        assert_eq!(spool.get(Space::Record, b"a1", NOW), Ok(None));
    });
}

#[test]
fn one_batch_removes_and_keeps_and_what_expires_never_makes_room_last() {
    both(|spool| {
        let never = SpoolRecord { expires_at: NEVER, space: Space::Carried, ..record(b"kept", &[1; 9_000], 0) };
        spool.put_batch(&[never, record(b"old", b"1", 10), record(b"new", b"1", 10)]).expect("put");
        let removals = [(Space::Record, b"old".to_vec()), (Space::Record, b"new".to_vec())];
        spool.change_batch(&[record(b"new", b"2", 10)], &removals).expect("change");
        assert_eq!(spool.get(Space::Record, b"old", NOW), Ok(None));
        assert_eq!(spool.get(Space::Record, b"new", NOW), Ok(Some(b"2".to_vec())));
        for number in 0..40_u8 {
            spool.put_batch(&[record(&[number], &[number; 5_000], 1_000)]).expect("put");
        }
        assert_eq!(spool.sweep(UnixTime(u64::MAX - 1)), Ok(18));
        assert_eq!(spool.get(Space::Carried, b"kept", UnixTime(u64::MAX - 1)), Ok(Some(vec![1; 9_000])));
    });
}

#[test]
fn expired_records_are_gone_before_and_after_the_sweep() {
    both(|spool| {
        spool.put_batch(&[record(b"short", b"1", 10), record(b"long", b"2", 20)]).expect("put");
        let later = NOW.after_ms(10);
        assert_eq!(spool.get(Space::Record, b"short", later), Ok(None));
        assert_eq!(spool.scan(Space::Record, b"", None, later, 9).expect("scan").len(), 1);
        let before = spool.len_bytes();
        assert_eq!(spool.sweep(later), Ok(1));
        assert_eq!(spool.sweep(later), Ok(0));
        assert!(spool.len_bytes() < before);
        assert_eq!(spool.get(Space::Record, b"long", later), Ok(Some(b"2".to_vec())));
    });
}

#[test]
fn a_full_spool_drops_what_expires_soonest() {
    both(|spool| {
        for number in 0..40_u8 {
            spool.put_batch(&[record(&[number], &[number; 5_000], 1_000 - u64::from(number))]).expect("put");
            assert!(spool.len_bytes() <= 100_000);
        }
        assert_eq!(spool.get(Space::Record, &[0], NOW).expect("get"), Some(vec![0; 5_000]));
        assert_eq!(spool.get(Space::Record, &[39], NOW).expect("get"), None);
        assert!(spool.scan(Space::Record, b"", None, NOW, 99).expect("scan").len() >= 19);
    });
}

#[test]
fn a_record_that_is_too_large_changes_nothing() {
    both(|spool| {
        let large = record(b"large", &vec![0; SPOOL_VALUE_BYTES_MAX + 1], 10);
        assert!(matches!(spool.put_batch(&[record(b"small", b"", 10), large]), Err(SpoolError::TooLarge { .. })));
        assert!(spool.put_batch(&[record(&vec![0; SPOOL_KEY_BYTES_MAX + 1], b"", 10)]).is_err());
        assert_eq!(spool.len_bytes(), 0);
        assert_eq!(spool.get(Space::Record, b"small", NOW), Ok(None));
    });
}

#[test]
fn what_was_put_is_there_after_opening_again() {
    let dir = folder();
    let spool = open(dir.path());
    spool.put_batch(&[record(b"k", b"value", 10), record(b"gone", b"", 10)]).expect("put");
    spool.remove(Space::Record, b"gone").expect("remove");
    spool.flush().expect("flush");
    let bytes = spool.len_bytes();
    drop(spool);
    let spool = open(dir.path());
    assert_eq!(spool.get(Space::Record, b"k", NOW), Ok(Some(b"value".to_vec())));
    assert_eq!(spool.get(Space::Record, b"gone", NOW), Ok(None));
    assert_eq!(spool.len_bytes(), bytes);
}

#[test]
fn a_smaller_limit_counts_from_the_next_opening() {
    let dir = folder();
    let spool = open(dir.path());
    for number in 0..10_u8 {
        spool.put_batch(&[record(&[number], &[0; 1_000], u64::from(number) + 1)]).expect("put");
    }
    drop(spool);
    let spool = SledSpool::open(&dir.path().join("spool"), 3_500).expect("open").into_spool();
    assert_eq!(spool.scan(Space::Record, b"", None, NOW, 99).expect("scan").len(), 3);
    assert!(spool.get(Space::Record, &[9], NOW).expect("get").is_some());
}

#[test]
fn a_spool_that_grew_on_disk_is_written_anew_with_what_is_alive() {
    let dir = folder();
    let path = dir.path().join("spool");
    let spool = open(dir.path());
    spool.put_batch(&[record(b"kept", b"value", 1_000_000)]).expect("put");
    for round in 0..60_u8 {
        let batch: Vec<SpoolRecord> =
            (0..10_u8).map(|n| record(&[n], &[round; 8_000], 1_000 + u64::from(round))).collect();
        spool.put_batch(&batch).expect("put");
    }
    assert_eq!(spool.sweep(NOW.after_ms(2_000)), Ok(10));
    spool.flush().expect("flush");
    drop(spool);
    let on_disk = || std::fs::metadata(path.join("db")).expect("the file").len();
    let grown = on_disk();
    let spool = SledSpool::open_within(&path, 100_000, grown / 2).expect("open");
    spool.flush().expect("flush");
    assert!(on_disk() < grown, "{} of {grown} bytes", on_disk());
    assert_eq!(spool.scan(Space::Record, b"", None, NOW, 99), Ok(vec![(b"kept".to_vec(), b"value".to_vec())]));
}

#[test]
fn t67_a_damaged_spool_is_set_aside_or_read_without_a_panic() {
    let origin = folder();
    let spool = open(origin.path());
    for number in 0..60_u8 {
        spool.put_batch(&[record(&[number], &[number; 900], 1_000)]).expect("put");
    }
    drop(spool);
    let mut set_aside = 0;
    for seed in 0..24_usize {
        let image = folder();
        let dir = image.path().join("spool");
        copy_folder(&origin.path().join("spool"), &dir);
        for name in ["db", "conf"] {
            let file = dir.join(name);
            let mut bytes = std::fs::read(&file).expect("read");
            match seed % 3 {
                0 => {
                    for step in 0..32 {
                        let at = (seed * 7_919 + step * 10_007) % bytes.len();
                        bytes[at] ^= 0x55;
                    }
                }
                1 => bytes.truncate(bytes.len() * (seed + 1) / 25),
                _ => {
                    let from = bytes.len() * seed / 30;
                    bytes[from..].fill(0);
                }
            }
            std::fs::write(&file, bytes).expect("write");
        }
        match SledSpool::open(&dir, 100_000) {
            Ok(SpoolOpened::SetAside { spool, path, .. }) => {
                set_aside += 1;
                assert!(path.exists() && path.to_string_lossy().contains("damaged-1"));
                assert_eq!(spool.len_bytes(), 0);
                spool.put_batch(&[record(b"again", b"works", 10)]).expect("an empty spool works");
            }
            // Lost records are lost, but it must not panic; later damage is an error.
            Ok(SpoolOpened::Intact(spool)) => {
                drop(spool.scan(Space::Record, b"", None, NOW, 99));
                drop(spool.put_batch(&[record(b"again", b"works", 10)]));
            }
            Err(error) => panic!("image {seed}: {error}"),
        }
    }
    assert!(set_aside > 0, "some damage is found on opening");
}

#[test]
fn only_the_last_spools_that_were_set_aside_are_kept() {
    let dir = folder();
    for round in 1..=4 {
        let spool = dir.path().join("spool");
        std::fs::create_dir_all(&spool).expect("a folder");
        std::fs::write(spool.join("conf"), b"not a spool").expect("write");
        std::fs::write(spool.join("db"), vec![0xA5; 4_096]).expect("write");
        let opened = SledSpool::open(&spool, 1_000).expect("open");
        let SpoolOpened::SetAside { path, .. } = opened else { panic!("round {round}: not set aside") };
        assert!(path.ends_with(format!("spool.damaged-{round}")));
        drop(opened_is_closed(dir.path()));
    }
    let left: Vec<String> = std::fs::read_dir(dir.path())
        .expect("list")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("damaged"))
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left.iter().any(|name| name.ends_with('4')) && left.iter().any(|name| name.ends_with('3')));
}

/// Clears the spool that was begun anew, so that the next round finds none.
fn opened_is_closed(dir: &Path) -> std::io::Result<()> {
    std::fs::remove_dir_all(dir.join("spool"))
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

fn address(number: u8, port: u8) -> PeerAddress {
    PeerAddress { peer: PeerKey(vec![number; 38]), addrs: vec![vec![4, 127, 0, 0, 1, 6, 0, port]] }
}

#[test]
fn peers_are_remembered_with_their_luck_and_the_best_come_first() {
    let dir = folder();
    let peers = PeerCache::new(Arc::new(open(dir.path())));
    peers.remember(&address(1, 1), true, NOW).expect("remember");
    peers.remember(&address(2, 1), true, NOW.after_ms(5)).expect("remember");
    peers.remember(&address(3, 1), false, NOW).expect("remember");
    peers.remember(&address(2, 9), false, NOW.after_ms(6)).expect("remember");
    peers.remember(&PeerAddress { addrs: Vec::new(), ..address(1, 1) }, true, NOW.after_ms(7)).expect("remember");
    let best = peers.best(9, NOW.after_ms(10)).expect("best");
    assert_eq!(best.iter().map(|peer| peer.address.peer.0[0]).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!((best[0].successes, best[0].failures, best[0].reached_at), (2, 0, NOW.after_ms(7)));
    assert_eq!(best[0].address, address(1, 1), "an empty list of addresses changes none");
    assert_eq!((best[1].address.clone(), best[1].failures), (address(2, 9), 1));
    assert_eq!(peers.best(1, NOW.after_ms(10)).expect("best").len(), 1);
    assert_eq!(peers.recall(&PeerKey(vec![9; 38]), NOW), Ok(None));
}

#[test]
fn peers_are_forgotten_in_time_and_only_a_few_addresses_are_kept() {
    let peers = PeerCache::new(Arc::new(MemorySpool::default()));
    let many = PeerAddress { addrs: vec![vec![1; 9]; 50], ..address(1, 1) };
    peers.remember(&many, true, NOW).expect("remember");
    peers.remember(&address(2, 1), false, NOW).expect("remember");
    assert_eq!(peers.recall(&many.peer, NOW).expect("recall").expect("known").address.addrs.len(), 8);
    assert!(peers.recall(&address(2, 1).peer, NOW.after_ms(2 * DAY_MS)).expect("recall").is_none());
    assert!(peers.recall(&many.peer, NOW.after_ms(29 * DAY_MS)).expect("recall").is_some());
    assert!(peers.recall(&many.peer, NOW.after_ms(31 * DAY_MS)).expect("recall").is_none());
}

#[test]
fn dht_records_are_bounded_in_size_and_time() {
    let records = DhtRecords::new(Arc::new(MemorySpool::default()));
    records.store(&[1; 32], b"value", NOW.after_ms(900 * DAY_MS), NOW).expect("store");
    assert_eq!(records.load(&[1; 32], NOW), Ok(Some(b"value".to_vec())));
    assert_eq!(records.load(&[1; 32], NOW.after_ms(3 * DAY_MS)), Ok(None));
    assert!(matches!(records.store(&[2; 32], &[0; 1_025], NOW.after_ms(9), NOW), Err(SpoolError::TooLarge { .. })));
    assert_eq!(records.all(9, NOW).expect("all").len(), 1);
    records.forget(&[1; 32]).expect("forget");
    assert_eq!(records.load(&[1; 32], NOW), Ok(None));
}
