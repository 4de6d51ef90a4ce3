//! What a run that was killed leaves behind, written down before anything is changed: names to put back, and the names by
//! which a group of ours is known again.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::record::{Name, hex};
use super::wpa::Before;

/// One attempt that was not taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// Ours and theirs; the name of a group on the air ends in that of its owner.
    pub(super) names: [Name; 2],
    /// The interface it was on.
    pub(super) interface: String,
    /// What was set before.
    pub(super) before: Before,
}

impl Left {
    /// Writes it down, before the attempt changes anything.
    pub(super) fn write(&self, path: Option<&PathBuf>) -> io::Result<()> {
        let Some(path) = path else { return Ok(()) };
        let [own, theirs] = self.names.map(|name| name.text());
        let (name, postfix) = (hex(&self.before.device_name), hex(&self.before.ssid_postfix));
        let text =
            format!("{own} {theirs} {} .{name} .{postfix} .{}\n", self.before.group_idle_s, hex(&self.interface));
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    }

    /// What the last run has left, if anything.
    pub(super) fn read(path: Option<&PathBuf>) -> Option<Self> {
        Self::parse(&fs::read_to_string(path?).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let mut name = || Some(Name(bytes(words.next()?)?.try_into().ok()?));
        let names = [name()?, name()?];
        let group_idle_s = words.next()?.parse().ok()?;
        let mut word = || String::from_utf8(bytes(words.next()?.strip_prefix('.')?)?).ok();
        let before = Before { device_name: word()?, ssid_postfix: word()?, group_idle_s };
        let interface = word()?;
        Some(Self { names, interface, before })
    }
}

/// Nothing is left any more.
pub(super) fn forget(path: Option<&PathBuf>) {
    let gone = path.map(Path::new).map_or(Ok(()), fs::remove_file);
    if let Err(problem) = gone
        && problem.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%problem, "what Wi-Fi Direct had changed stays written down");
    }
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
    let pairs = digits.chunks(2).map(|pair| match pair {
        &[high, low] => u8::try_from(high * 16 + low).ok(),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_the_same_and_forgotten() {
        let path = std::env::temp_dir().join(format!("silbo-left-{}", std::process::id()));
        let before = Before { device_name: "Ada's laptop\n".to_owned(), ssid_postfix: String::new(), group_idle_s: 7 };
        let left = Left { names: [Name([1; 8]), Name([0xab; 8])], interface: "wlan0".to_owned(), before };
        left.write(Some(&path)).expect("a file");
        assert_eq!(Left::read(Some(&path)), Some(left));
        forget(Some(&path));
        assert_eq!(Left::read(Some(&path)), None);
        forget(Some(&path));
        assert_eq!(Left::read(None), None);
    }

    #[test]
    fn a_damaged_file_says_nothing() {
        for text in
            ["", "00", "zz zz 1 . .", "0101010101010101 0101010101010101 x . .", "0101010101010101 010 1 .00 .0"]
        {
            assert_eq!(Left::parse(text), None, "{text}");
        }
    }
}
