//! Where a node keeps its files: the XDG folders, or everything below one `--home` folder.
//!
//! [`Paths`] only computes; [`Paths::create_folders`] makes the folders, readable by their owner alone.
//! [`ReachableSocket`] gets around the 108 bytes a Unix socket address may have: both ends use it, so a node with a
//! deep home folder can be reached.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

/// Longest path used as a socket address as it is (`sun_path` has 108 bytes with its closing zero).
const SOCKET_ADDRESS_BYTES_MAX: usize = 100;

/// Every path of one profile; all absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The folder given by `--home`, if one was.
    pub home: Option<PathBuf>,
    /// Name of the profile; `default` unless chosen.
    pub profile: String,
    /// Folder of identity, databases and spool.
    pub data_dir: PathBuf,
    /// The configuration file.
    pub config_path: PathBuf,
    /// Folder of log, API token and crash reports.
    pub state_dir: PathBuf,
    /// The Unix socket of the API.
    pub socket_path: PathBuf,
    /// The file with the API token of the owner, for loopback TCP.
    pub token_path: PathBuf,
    /// The log of a detached node.
    pub log_path: PathBuf,
    /// Another place where the socket of this profile may be, if the node ran without a session (cron).
    pub socket_fallback_path: Option<PathBuf>,
}

/// What the command line may override.
#[derive(Clone, Debug, Default)]
pub struct PathChoices {
    /// `--home`: everything below this folder.
    pub home: Option<PathBuf>,
    /// `--profile`.
    pub profile: Option<String>,
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--socket`.
    pub socket: Option<PathBuf>,
    /// `--log-file`.
    pub log: Option<PathBuf>,
}

/// Why the paths of a profile cannot be known.
#[derive(Debug, thiserror::Error)]
pub enum PathsError {
    /// A profile becomes a file name, so it may not contain separators or be hidden.
    #[error("the profile name {0:?} is not 1 to 32 letters, digits, '-' or '_'")]
    Profile(String),
    /// Neither `--home` nor `$HOME` says where to keep things.
    #[error("no home folder is known")]
    NoHome,
    /// The current folder, to which a relative path refers, cannot be read.
    #[error("the current folder cannot be read")]
    CurrentFolder(#[source] io::Error),
}

impl Paths {
    /// The paths for these choices. Touches no file.
    ///
    /// # Errors
    /// When the profile name is not usable as a file name, or no home folder is known.
    pub fn choose(choices: &PathChoices) -> Result<Paths, PathsError> {
        let profile = choices.profile.clone().unwrap_or_else(|| "default".to_owned());
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if profile.is_empty() || profile.len() > 32 || !profile.chars().all(plain) {
            return Err(PathsError::Profile(profile));
        }
        let mut paths = match &choices.home {
            Some(home) => Paths::below(&absolute(home)?, profile),
            None => Paths::of_the_desktop(profile)?,
        };
        if let Some(config) = &choices.config {
            paths.config_path = absolute(config)?;
        }
        if let Some(socket) = &choices.socket {
            paths.socket_path = absolute(socket)?;
            paths.socket_fallback_path = None;
        }
        if let Some(log) = &choices.log {
            paths.log_path = absolute(log)?;
        }
        Ok(paths)
    }

    fn below(home: &Path, profile: String) -> Paths {
        let root = if profile == "default" { home.to_owned() } else { home.join("profiles").join(&profile) };
        let state_dir = root.join("state");
        Paths {
            home: Some(home.to_owned()),
            profile,
            data_dir: root.join("data"),
            config_path: root.join("config.toml"),
            socket_path: root.join("run").join("silbo.sock"),
            token_path: state_dir.join("token"),
            log_path: state_dir.join("silbo.log"),
            state_dir,
            socket_fallback_path: None,
        }
    }

    fn of_the_desktop(profile: String) -> Result<Paths, PathsError> {
        let folders = etcetera::choose_base_strategy().map_err(|_| PathsError::NoHome)?;
        let state_root = folders.state_dir().unwrap_or_else(|| folders.data_dir()).join("silbo");
        let state_dir = state_root.join("profiles").join(&profile);
        let config_dir = folders.config_dir().join("silbo");
        let config_name = if profile == "default" { "config.toml".to_owned() } else { format!("{profile}.toml") };
        let fallback = state_dir.join("run").join("silbo.sock");
        let socket = folders.runtime_dir().map(|dir| dir.join("silbo").join(format!("{profile}.sock")));
        Ok(Paths {
            home: None,
            data_dir: folders.data_dir().join("silbo").join("profiles").join(&profile),
            config_path: config_dir.join(config_name),
            socket_fallback_path: socket.is_some().then(|| fallback.clone()),
            socket_path: socket.unwrap_or(fallback),
            token_path: state_dir.join("token"),
            log_path: state_dir.join("silbo.log"),
            state_dir,
            profile,
        })
    }

    /// Makes the folders of data, state, log, configuration and socket, 0700.
    ///
    /// # Errors
    /// When a folder cannot be made or its mode cannot be set.
    pub fn create_folders(&self) -> io::Result<()> {
        private_folder(&self.data_dir)?;
        private_folder(&self.state_dir)?;
        for file in [&self.config_path, &self.socket_path, &self.log_path] {
            let Some(folder) = file.parent() else {
                continue;
            };
            if !folder.exists() {
                private_folder(folder)?;
            }
        }
        Ok(())
    }
}

/// A form of a socket's path that is short enough for the operating system; valid as long as it lives.
#[derive(Debug)]
pub struct ReachableSocket {
    path: PathBuf,
    /// Kept open: `path` goes through its descriptor.
    _folder: Option<File>,
}

impl ReachableSocket {
    /// Wraps the path of a socket whose folder exists.
    ///
    /// # Errors
    /// When the path is too long and its folder cannot be opened.
    pub fn new(path: &Path) -> io::Result<ReachableSocket> {
        if path.as_os_str().len() <= SOCKET_ADDRESS_BYTES_MAX {
            return Ok(ReachableSocket { path: path.to_owned(), _folder: None });
        }
        let folder = File::open(path.parent().unwrap_or(Path::new("/")))?;
        let name = path.file_name().unwrap_or(OsStr::new("silbo.sock"));
        let short = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
        Ok(ReachableSocket { path: short, _folder: Some(folder) })
    }

    /// The path to bind or connect to.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn absolute(path: &Path) -> Result<PathBuf, PathsError> {
    std::path::absolute(path).map_err(PathsError::CurrentFolder)
}

fn private_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_home(home: &str, profile: Option<&str>) -> Result<Paths, PathsError> {
        let choices =
            PathChoices { home: Some(home.into()), profile: profile.map(str::to_owned), ..PathChoices::default() };
        Paths::choose(&choices)
    }

    #[test]
    fn a_home_folder_holds_every_file() {
        let paths = of_home("/somewhere/ada", None).expect("a plain home");
        let files = [
            &paths.data_dir,
            &paths.config_path,
            &paths.state_dir,
            &paths.socket_path,
            &paths.token_path,
            &paths.log_path,
        ];
        for file in files {
            assert!(file.starts_with("/somewhere/ada"), "{file:?}");
        }
    }

    #[test]
    fn profiles_of_one_home_share_no_file() {
        let first = of_home("/somewhere", Some("work")).expect("a profile");
        let second = of_home("/somewhere", Some("play")).expect("a profile");
        assert_ne!(first.data_dir, second.data_dir);
        assert_ne!(first.socket_path, second.socket_path);
        assert_ne!(first.config_path, second.config_path);
    }

    #[test]
    fn a_profile_name_cannot_leave_its_folder() {
        for name in ["", "..", "a/b", ".hidden", "a b"] {
            assert!(matches!(of_home("/somewhere", Some(name)), Err(PathsError::Profile(_))), "{name:?}");
        }
    }

    #[test]
    fn a_relative_home_becomes_absolute() {
        let paths = of_home("A", None).expect("a relative home");
        assert!(paths.data_dir.is_absolute());
    }

    #[test]
    fn folders_are_readable_by_their_owner_alone() {
        let home = tempfile::tempdir().expect("a temporary folder");
        let paths = of_home(home.path().to_str().expect("a plain path"), None).expect("paths");
        paths.create_folders().expect("folders");
        for folder in [&paths.data_dir, &paths.state_dir, &home.path().join("run")] {
            let mode = fs::metadata(folder).expect("the folder exists").permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{folder:?}");
        }
    }

    #[test]
    fn a_socket_below_a_deep_home_can_be_bound_and_reached() {
        let home = tempfile::tempdir().expect("a temporary folder");
        let deep = home.path().join("d".repeat(80)).join("e".repeat(80));
        fs::create_dir_all(&deep).expect("the deep folder");
        let path = deep.join("silbo.sock");
        let bound = ReachableSocket::new(&path).expect("a short form");
        let _listener = std::os::unix::net::UnixListener::bind(bound.path()).expect("bind");
        let reached = ReachableSocket::new(&path).expect("a short form");
        assert!(std::os::unix::net::UnixStream::connect(reached.path()).is_ok());
        assert!(path.exists());
    }
}
