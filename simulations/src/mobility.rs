//! Who is near whom, when: traces of real people from files, and models that make traces of the same form.
//!
//! | | |
//! |---|---|
//! | [`contact_trace`] | contacts and messages as CSV files give them |
//! | [`village`] | people of villages with a daily rhythm and a few travellers |
//! | [`waypoint`] | people who walk from one random place to the next |
//!
//! People are counted from 0 in the order of their ids; [`ContactTrace::label`] gives the id of the file back.

pub mod contact_trace;
pub mod message_list;
pub mod village;
pub mod waypoint;

pub use contact_trace::{Contact, ContactTrace};
pub use message_list::{Message, MessageList};

/// A line of a file that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct BadLine {
    /// Counted from 1, the header included.
    pub line: usize,
    /// What is wrong and what was expected.
    pub what: String,
}

/// The fields of every line that is not empty, with its number. The header is skipped; a file that starts with
/// numbers has none.
///
/// # Errors
/// A first line that is neither `header` nor numbers, or a line with another number of fields.
fn rows<'a, const N: usize>(text: &'a str, header: &str) -> Result<Vec<(usize, [&'a str; N])>, BadLine> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut out = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line_number = at + 1;
        let line = line.trim();
        let is_header = line.split(',').map(str::trim).eq(header.split(','));
        if line.is_empty() || (out.is_empty() && is_header) {
            continue;
        }
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let Ok(fields) = <[&str; N]>::try_from(fields) else {
            let got = line.split(',').count();
            let what = format!("{got} fields, and {N} are expected: {header}");
            return Err(BadLine { line: line_number, what });
        };
        if out.is_empty() && !fields[0].starts_with(|c: char| c.is_ascii_digit() || c == '-') {
            let what = format!("the header is \"{line}\", and \"{header}\" is expected");
            return Err(BadLine { line: line_number, what });
        }
        out.push((line_number, fields));
    }
    Ok(out)
}

/// Seconds with up to three decimals, as milliseconds.
fn milliseconds(line: usize, name: &str, text: &str) -> Result<u64, BadLine> {
    let bad = |why: &str| BadLine { line, what: format!("{name} is \"{text}\": {why}") };
    if text.starts_with('-') {
        return Err(bad("times start at 0; shift the whole file"));
    }
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(part) {
        return Err(bad("seconds are expected, such as 120 or 120.5"));
    }
    let whole_ms = whole.parse::<u64>().ok().and_then(|s| s.checked_mul(1_000)).filter(|ms| *ms < 1 << 52);
    let part_ms = part.bytes().chain(*b"000").take(3).fold(0, |ms, digit| ms * 10 + u64::from(digit - b'0'));
    Ok(whole_ms.ok_or_else(|| bad("too large for a number of seconds"))? + part_ms)
}

fn person(line: usize, name: &str, text: &str) -> Result<u64, BadLine> {
    text.parse().map_err(|_| BadLine { line, what: format!("{name} is \"{text}\": an integer id is expected") })
}
