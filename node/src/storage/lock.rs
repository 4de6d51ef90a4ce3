//! One process a profile: an advisory lock that the operating system releases when its holder dies.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock, ftruncate};
use rustix::io::Errno;

use super::StorageError;

const LOCK_FILE: &str = "lock";

/// Held for as long as it lives.
#[derive(Debug)]
pub(super) struct ProcessLock {
    _file: File,
}

impl ProcessLock {
    /// Locks `dir` for this process and leaves its pid in the lock file for the message of the next one.
    pub(super) fn take(dir: &Path) -> Result<ProcessLock, StorageError> {
        let path = dir.join(LOCK_FILE);
        let failed = |error: &std::io::Error| StorageError::from_io(&path, error);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| failed(&error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(StorageError::InUse { pid: holder(&mut file) }),
            Err(error) => return Err(failed(&error.into())),
        }
        // The pid is only for people; on a full disk the lock is as good without it.
        if ftruncate(&file, 0).is_ok() && writeln!(file, "{}", std::process::id()).is_err() {
            tracing::debug!("the pid could not be written to the lock file");
        }
        Ok(ProcessLock { _file: file })
    }
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
