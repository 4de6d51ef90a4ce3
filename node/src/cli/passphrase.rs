//! The passphrase, from a file, a descriptor or the terminal; never from an argument.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use super::failure::{Class, Failure};

/// Longest passphrase read.
const PASSPHRASE_BYTES_MAX: u64 = 4_096;

/// Reads the first line of a file.
///
/// # Errors
/// When the file cannot be read or holds no passphrase.
pub fn of_file(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let file = File::open(path).map_err(|error| unread(&format!("{}: {error}", path.display())))?;
    first_line(file)
}

/// Reads the first line of an open descriptor; 0 is stdin.
///
/// # Errors
/// When the descriptor is not open or holds no passphrase.
pub fn of_descriptor(number: u32) -> Result<Zeroizing<String>, Failure> {
    if number == 0 {
        return first_line(io::stdin().lock());
    }
    let file =
        File::open(format!("/dev/fd/{number}")).map_err(|error| unread(&format!("descriptor {number}: {error}")))?;
    first_line(file)
}

fn first_line(source: impl Read) -> Result<Zeroizing<String>, Failure> {
    let mut text = Zeroizing::new(String::with_capacity(PASSPHRASE_BYTES_MAX as usize + 1));
    source.take(PASSPHRASE_BYTES_MAX).read_to_string(&mut text).map_err(|error| unread(&error.to_string()))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(Zeroizing::new(line.to_owned())),
        _ => Err(unread("it is empty")),
    }
}

fn unread(why: &str) -> Failure {
    Failure::new(Class::InvalidParams, "the passphrase cannot be read")
        .why(why)
        .hint("silbo up --passphrase-file FILE, with the passphrase as the first line of FILE")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_passphrase() {
        assert_eq!(first_line(&b"correct horse\nbattery\n"[..]).expect("a line").as_str(), "correct horse");
        assert_eq!(first_line(&b" spaces count "[..]).expect("a line").as_str(), " spaces count ");
    }

    #[test]
    fn an_empty_passphrase_is_refused() {
        assert!(first_line(&b""[..]).is_err());
        assert!(first_line(&b"\nsecond"[..]).is_err());
        assert!(first_line(&b"\xff\xfe"[..]).is_err());
    }
}
