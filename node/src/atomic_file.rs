//! Replacing a small file so that a crash leaves the old text or the later one, never half of either.
//!
//! Sits below everything in this crate that keeps a small file of its own (key, vault, configuration). It may not
//! know what is in them.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Writes `bytes` to a temporary file beside `path`, syncs it, renames it over `path` and syncs the folder.
///
/// # Errors
/// What the operating system says; `path` is then untouched, or complete.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = temporary_path(path)?;
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = renamed {
        // The temporary file is worthless; the first error is the one worth telling.
        drop(fs::remove_file(&temporary));
        return Err(error);
    }
    sync_dir(folder_of(path))
}

/// Removes a file and syncs its folder; an absent one is fine.
///
/// # Errors
/// What the operating system says.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_dir(folder_of(path)),
    }
}

/// Makes names in a folder durable.
///
/// # Errors
/// What the operating system says.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Makes a folder (and those above it) that only its owner can enter; narrows the mode of one that exists.
///
/// # Errors
/// What the operating system says.
pub fn make_private_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    if fs::metadata(dir)?.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn temporary_path(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::other("the path names no file"))?;
    let mut temporary = OsString::from(name);
    temporary.push(".tmp");
    Ok(folder_of(path).join(temporary))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_with_its_mode_and_without_leftovers() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("key");
        replace(&path, b"one", 0o600).expect("first");
        replace(&path, b"second", 0o600).expect("second");
        assert_eq!(fs::read(&path).expect("read"), b"second");
        assert_eq!(fs::metadata(&path).expect("metadata").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 1);
    }

    #[test]
    fn a_failed_replacement_keeps_the_old_file() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("key");
        fs::create_dir(&path).expect("a folder stands where the file should be");
        assert!(replace(&path, b"one", 0o600).is_err());
        assert!(path.is_dir());
        assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 1);
    }

    #[test]
    fn a_folder_that_others_could_enter_is_narrowed() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let inner = dir.path().join("data");
        fs::create_dir(&inner).expect("the folder");
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o755)).expect("widen");
        make_private_dir(&inner).expect("narrow");
        assert_eq!(fs::metadata(&inner).expect("metadata").permissions().mode() & 0o777, 0o700);
    }
}
