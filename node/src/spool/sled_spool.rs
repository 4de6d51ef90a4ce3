//! The spool on disk: sled 0.34, made durable and contained.
//!
//! sled's own `flush` starts the write-out but does not wait for the disk, so each flush is followed by a sync of its
//! file through a second handle, and its configuration and folder are synced once after opening. It can panic on damaged
//! files, so every call is contained: a panic becomes [`SpoolError::Damaged`]. On opening, a spool that does not open is
//! renamed to `NAME.damaged-N` and an empty one is begun.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use silbo_protocol::time::UnixTime;

use super::shelf::Shelf;
use super::{Space, Spool, SpoolError, SpoolKey, SpoolPair, SpoolRecord, check_sizes, first_key, stored_key};
use crate::atomic_file;

/// Memory for sled's cache; its default of 1 GiB is for servers.
const CACHE_BYTES: u64 = 8 << 20;
/// sled writes a page larger than a quarter of a segment into a file of its own, which it never syncs. A page has 17
/// records before it is split: 17 × 20 KiB = 340 KiB, and a quarter of 2 MiB is 512 KiB.
const SEGMENT_BYTES: usize = 2 << 20;
/// The file may grow to this many times the bytes it may hold before it is written anew on opening: sled does not give
/// room back (measured: 8 times after mass deletion, 2 times in steady use).
const DISK_FACTOR_MAX: u64 = 4;
/// A file below this size is not worth rewriting.
const DISK_BYTES_MIN: u64 = 8 << 20;
/// Spools set aside that are kept for a look; older ones are removed.
const SET_ASIDE_MAX: usize = 2;

/// A [`Spool`] in a folder of its own.
pub struct SledSpool {
    inner: Mutex<Inner>,
    bytes_max: u64,
}

struct Inner {
    db: sled::Db,
    /// A second handle on sled's file, for the sync that its flush leaves out.
    synced: File,
    shelf: Shelf,
    broken: Option<SpoolError>,
}

/// What opening a spool led to.
#[derive(Debug)]
pub enum SpoolOpened {
    /// It was intact, or there was none.
    Intact(SledSpool),
    /// It was damaged, and an empty one was begun.
    SetAside {
        /// The empty spool.
        spool: SledSpool,
        /// Where the damaged one is.
        path: PathBuf,
        /// What was wrong.
        reason: SpoolError,
    },
}

impl SpoolOpened {
    /// The spool, however it was opened.
    #[must_use]
    pub fn into_spool(self) -> SledSpool {
        match self {
            SpoolOpened::Intact(spool) | SpoolOpened::SetAside { spool, .. } => spool,
        }
    }
}

impl SledSpool {
    /// Opens the spool in `dir`, which holds nothing else, for up to `bytes_max` bytes of keys and values.
    ///
    /// # Errors
    /// The disk is full or cannot be used, or another process has the spool open: states in which setting it aside would
    /// help nobody. [`super::MemorySpool`] is there for them.
    pub fn open(dir: &Path, bytes_max: u64) -> Result<SpoolOpened, SpoolError> {
        match SledSpool::open_intact(dir, bytes_max) {
            Ok(spool) => Ok(SpoolOpened::Intact(spool)),
            Err(reason @ SpoolError::Damaged(_)) => {
                let path = set_aside(dir).map_err(|error| io_failure(&error))?;
                let spool = SledSpool::open_intact(dir, bytes_max)?;
                Ok(SpoolOpened::SetAside { spool, path, reason })
            }
            Err(error) => Err(error),
        }
    }

    fn open_intact(dir: &Path, bytes_max: u64) -> Result<SledSpool, SpoolError> {
        SledSpool::open_within(dir, bytes_max, bytes_max.saturating_mul(DISK_FACTOR_MAX).max(DISK_BYTES_MIN))
    }

    pub(super) fn open_within(dir: &Path, bytes_max: u64, disk_bytes_max: u64) -> Result<SledSpool, SpoolError> {
        let mut inner = Inner::open_patiently(dir)?;
        if contained(|| inner.db.size_on_disk().map_err(|error| failure(&error)))? > disk_bytes_max {
            inner = inner.rewritten(dir)?;
        }
        let spool = SledSpool { inner: Mutex::new(inner), bytes_max };
        spool.change(&[], &[], |shelf| shelf.make_room(bytes_max))?;
        Ok(spool)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on an unbroken spool. Any failure breaks it until it is opened anew: neither what sled then holds in
    /// memory nor the shelf can be trusted.
    fn run<T>(&self, work: impl FnOnce(&mut Inner) -> Result<T, SpoolError>) -> Result<T, SpoolError> {
        let mut inner = self.inner();
        if let Some(error) = &inner.broken {
            return Err(error.clone());
        }
        let result = contained(|| work(&mut inner));
        inner.broken = result.as_ref().err().cloned();
        result
    }

    /// Removes `gone`, puts `records` and removes what `removals` takes off the shelf, in one batch.
    fn change(
        &self,
        gone: &[SpoolKey],
        records: &[SpoolRecord],
        removals: impl FnOnce(&mut Shelf) -> Vec<Vec<u8>>,
    ) -> Result<usize, SpoolError> {
        self.run(|inner| {
            let mut batch = sled::Batch::default();
            for (space, key) in gone {
                let key = stored_key(*space, key);
                inner.shelf.remove(&key);
                batch.remove(key);
            }
            for record in records {
                let key = stored_key(record.space, &record.key);
                let mut stored = record.expires_at.0.to_be_bytes().to_vec();
                stored.extend_from_slice(&record.value);
                inner.shelf.insert(key.clone(), record.value.len(), record.expires_at);
                batch.insert(key, stored);
            }
            let removed = removals(&mut inner.shelf);
            for key in &removed {
                batch.remove(key.as_slice());
            }
            let asked = !records.is_empty() || !gone.is_empty();
            if asked || !removed.is_empty() {
                inner.db.apply_batch(batch).map_err(|error| failure(&error))?;
            }
            if asked {
                inner.flush()?;
            }
            Ok(removed.len())
        })
    }
}

impl Spool for SledSpool {
    fn change_batch(&self, records: &[SpoolRecord], removals: &[SpoolKey]) -> Result<(), SpoolError> {
        check_sizes(records)?;
        self.change(removals, records, |shelf| shelf.make_room(self.bytes_max)).map(drop)
    }

    fn get(&self, space: Space, key: &[u8], now: UnixTime) -> Result<Option<Vec<u8>>, SpoolError> {
        let key = stored_key(space, key);
        self.run(|inner| {
            if !inner.shelf.is_alive(&key, now) {
                return Ok(None);
            }
            let stored = inner.db.get(&key).map_err(|error| failure(&error))?;
            Ok(stored.and_then(|stored| stored.get(8..).map(<[u8]>::to_vec)))
        })
    }

    fn remove(&self, space: Space, key: &[u8]) -> Result<(), SpoolError> {
        let key = stored_key(space, key);
        let removal = |shelf: &mut Shelf| {
            shelf.remove(&key);
            vec![key.clone()]
        };
        self.change(&[], &[], removal).map(drop)
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        after: Option<&[u8]>,
        now: UnixTime,
        limit: usize,
    ) -> Result<Vec<SpoolPair>, SpoolError> {
        let first = first_key(space, prefix, after);
        let prefix = stored_key(space, prefix);
        self.run(|inner| {
            let mut pairs = Vec::new();
            for stored in inner.db.range(first..) {
                if pairs.len() >= limit {
                    break;
                }
                let (key, value) = stored.map_err(|error| failure(&error))?;
                if !key.starts_with(&prefix) {
                    break;
                }
                if let (true, Some(key), Some(value)) = (inner.shelf.is_alive(&key, now), key.get(1..), value.get(8..))
                {
                    pairs.push((key.to_vec(), value.to_vec()));
                }
            }
            Ok(pairs)
        })
    }

    fn len_bytes(&self) -> u64 {
        self.inner().shelf.bytes()
    }

    fn sweep(&self, now: UnixTime) -> Result<usize, SpoolError> {
        let removal = |shelf: &mut Shelf| {
            let expired = shelf.expired(now);
            for key in &expired {
                shelf.remove(key);
            }
            expired
        };
        self.change(&[], &[], removal)
    }

    fn flush(&self) -> Result<(), SpoolError> {
        self.run(|inner| inner.flush())
    }
}

impl fmt::Debug for SledSpool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledSpool").field("bytes_max", &self.bytes_max).finish_non_exhaustive()
    }
}

impl Inner {
    /// Opens; sled's threads let go of the lock some time after the last handle is dropped, so a spool that was just
    /// closed looks as if it were in use.
    fn open_patiently(dir: &Path) -> Result<Inner, SpoolError> {
        const TRIES: u32 = 40;
        const PAUSE: std::time::Duration = std::time::Duration::from_millis(50);
        for _ in 1..TRIES {
            match Inner::open(dir) {
                Err(SpoolError::InUse) => std::thread::sleep(PAUSE),
                opened => return opened,
            }
        }
        Inner::open(dir)
    }

    fn open(dir: &Path) -> Result<Inner, SpoolError> {
        atomic_file::make_private_dir(dir).map_err(|error| io_failure(&error))?;
        let (db, shelf) = contained(|| {
            let db = sled::Config::new()
                .path(dir)
                .cache_capacity(CACHE_BYTES)
                .segment_size(SEGMENT_BYTES)
                .flush_every_ms(None)
                .open()
                .map_err(|error| failure(&error))?;
            let shelf = shelf_of(&db)?;
            Ok((db, shelf))
        })?;
        let synced = sync_names(dir).map_err(|error| io_failure(&error))?;
        Ok(Inner { db, synced, shelf, broken: None })
    }

    fn flush(&self) -> Result<(), SpoolError> {
        self.db.flush().map_err(|error| failure(&error))?;
        self.synced.sync_data().map_err(|error| io_failure(&error))
    }

    /// The same records in a folder made anew. A crash in between loses records, which a spool may.
    fn rewritten(self, dir: &Path) -> Result<Inner, SpoolError> {
        let pairs: Vec<(sled::IVec, sled::IVec)> =
            contained(|| self.db.iter().collect::<Result<_, _>>().map_err(|error| failure(&error)))?;
        drop(self);
        fs::remove_dir_all(dir).map_err(|error| io_failure(&error))?;
        let mut fresh = Inner::open(dir)?;
        contained(|| {
            let mut batch = sled::Batch::default();
            for (key, value) in pairs {
                batch.insert(key, value);
            }
            fresh.db.apply_batch(batch).map_err(|error| failure(&error))?;
            fresh.shelf = shelf_of(&fresh.db)?;
            fresh.flush()
        })?;
        Ok(fresh)
    }
}

/// Reads every record once, which also proves that the file can be read.
fn shelf_of(db: &sled::Db) -> Result<Shelf, SpoolError> {
    let mut shelf = Shelf::default();
    for stored in db.iter() {
        let (key, value) = stored.map_err(|error| failure(&error))?;
        let Some(expires_at) = value.first_chunk::<8>() else {
            return Err(SpoolError::Damaged("a record is too short".to_owned()));
        };
        shelf.insert(key.to_vec(), value.len() - 8, UnixTime(u64::from_be_bytes(*expires_at)));
    }
    Ok(shelf)
}

/// Syncs what sled writes once and never syncs, and opens the second handle on its file.
fn sync_names(dir: &Path) -> io::Result<File> {
    File::open(dir.join("conf"))?.sync_all()?;
    let synced = OpenOptions::new().read(true).write(true).open(dir.join("db"))?;
    synced.sync_all()?;
    atomic_file::sync_dir(dir)?;
    Ok(synced)
}

/// Renames a damaged spool to the next number, and removes all but the last few that were set aside before.
fn set_aside(dir: &Path) -> io::Result<PathBuf> {
    let mut prefix = dir.file_name().unwrap_or(OsStr::new("spool")).to_owned();
    prefix.push(".damaged-");
    let prefix = prefix.to_string_lossy().into_owned();
    let parent = dir.parent().unwrap_or(Path::new("."));
    let mut taken = BTreeMap::new();
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|name| name.strip_prefix(&prefix)?.parse::<u32>().ok());
        taken.extend(number.map(|number| (number, entry.path())));
    }
    let next = taken.last_key_value().map_or(1, |(last, _)| last.saturating_add(1));
    let path = parent.join(format!("{prefix}{next}"));
    fs::rename(dir, &path)?;
    let surplus = (taken.len() + 1).saturating_sub(SET_ASIDE_MAX);
    for old in taken.values().take(surplus) {
        fs::remove_dir_all(old)?;
    }
    Ok(path)
}

/// Runs sled code; a panic of it becomes an error. Its state is not used again after one.
fn contained<T>(work: impl FnOnce() -> Result<T, SpoolError>) -> Result<T, SpoolError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(SpoolError::Damaged("its engine panicked".to_owned())))
}

fn failure(error: &sled::Error) -> SpoolError {
    match error {
        sled::Error::Io(error) if error.to_string().contains("acquire lock") => SpoolError::InUse,
        sled::Error::Io(error) => match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                SpoolError::Damaged(error.to_string())
            }
            _ => io_failure(error),
        },
        other => SpoolError::Damaged(other.to_string()),
    }
}

fn io_failure(error: &io::Error) -> SpoolError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => SpoolError::Full,
        _ => SpoolError::Io(error.to_string()),
    }
}
