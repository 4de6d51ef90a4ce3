//! The terminal: data on stdout, everything else on stderr, and questions only where somebody can answer.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use serde_json::Value;
use zeroize::Zeroizing;

use super::failure::{Class, Failure};
use super::local_time::LocalTime;

/// Longest text read from stdin or a file as a message: more than any message may have, so that the node can say no.
const INPUT_BYTES_MAX: u64 = 1 << 20;

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// One JSON document.
    Json,
    /// One JSON document an item or event.
    JsonLines,
}

/// Where a command prints to and asks.
pub struct Screen {
    /// How results are printed.
    pub form: Form,
    /// Hints and notes are left out.
    pub quiet: bool,
    /// Formats times.
    pub time: LocalTime,
}

impl Screen {
    /// A screen of this form.
    #[must_use]
    pub fn new(form: Form, quiet: bool) -> Screen {
        Screen { form, quiet, time: LocalTime::new() }
    }

    /// Whether programs read the output.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.form != Form::Text
    }

    /// Whether a person sees stdout.
    #[must_use]
    pub fn is_seen(&self) -> bool {
        io::stdout().is_terminal()
    }

    /// Whether a person can be asked.
    #[must_use]
    pub fn can_ask(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Prints data.
    ///
    /// # Errors
    /// When stdout is closed or full.
    pub fn line(&self, text: &str) -> Result<(), Failure> {
        let mut out = anstream::stdout().lock();
        writeln!(out, "{text}").and_then(|()| out.flush()).map_err(stdout_failure)
    }

    /// Prints a JSON document as it is.
    ///
    /// # Errors
    /// When stdout is closed or full.
    pub fn document(&self, value: &Value) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        writeln!(out, "{value}").and_then(|()| out.flush()).map_err(stdout_failure)
    }

    /// Prints a result: the document for programs, the text for people.
    ///
    /// # Errors
    /// When stdout is closed or full.
    pub fn result(&self, value: &Value, text: impl FnOnce(&Value, &LocalTime) -> String) -> Result<(), Failure> {
        if self.is_json() {
            return self.document(value);
        }
        let text = text(value, &self.time);
        if text.is_empty() { Ok(()) } else { self.line(&text) }
    }

    /// Prints a list: the document, a document an item, or the text.
    ///
    /// # Errors
    /// When stdout is closed or full.
    pub fn list(&self, value: &Value, text: impl FnOnce(&Value, &LocalTime) -> String) -> Result<(), Failure> {
        if self.form != Form::JsonLines {
            return self.result(value, text);
        }
        let items = value.get("items").and_then(Value::as_array).into_iter().flatten();
        items.into_iter().try_for_each(|item| self.document(item))
    }

    /// Tells a person something that is not data.
    pub fn note(&self, text: &str) {
        if self.quiet {
            return;
        }
        // Nobody is left to be told when stderr is closed.
        drop(writeln!(anstream::stderr(), "{text}"));
    }

    /// Reports a failure.
    pub fn failure(&self, failure: &Failure) {
        let text = if self.is_json() { failure.document().to_string() } else { failure.three_lines() };
        let text = if self.is_json() { text } else { coloured(&text) };
        drop(writeln!(anstream::stderr(), "{text}"));
    }

    /// Asks for a yes, unless `yes` was given.
    ///
    /// # Errors
    /// When nobody can be asked, or the answer is not yes.
    pub fn confirm(&self, question: &str, yes: bool) -> Result<(), Failure> {
        if yes {
            return Ok(());
        }
        if !self.can_ask() {
            return Err(Failure::usage(format!("not done: {question}"), "repeat the command with --yes")
                .why("it cannot be undone, and there is no terminal to ask on"));
        }
        match self.ask(&format!("{question} [y/N] "))?.to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => {
                Err(Failure::usage("not done", "answer y, or use --yes").why("the question was not answered with yes"))
            }
        }
    }

    /// Asks for one line. The caller has checked [`Screen::can_ask`].
    ///
    /// # Errors
    /// When the terminal is closed.
    pub fn ask(&self, question: &str) -> Result<String, Failure> {
        let read = || -> io::Result<String> {
            let mut err = io::stderr().lock();
            write!(err, "{question}")?;
            err.flush()?;
            let mut answer = String::new();
            io::stdin().lock().take(INPUT_BYTES_MAX).read_line(&mut answer)?;
            Ok(answer.trim().to_owned())
        };
        read().map_err(|error| Failure::new(Class::Internal, "could not ask").why(error.to_string()))
    }

    /// Asks for a passphrase without showing it. The caller has checked [`Screen::can_ask`].
    ///
    /// # Errors
    /// When the terminal is closed.
    pub fn ask_secret(&self, question: &str) -> Result<Zeroizing<String>, Failure> {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let terminal = io::stdin();
        let unseen = |error: rustix::io::Errno| {
            Failure::new(Class::Internal, "could not hide the passphrase").why(error.to_string())
        };
        let shown = tcgetattr(&terminal).map_err(unseen)?;
        let mut hidden = shown.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&terminal, OptionalActions::Flush, &hidden).map_err(unseen)?;
        let answer = self.ask(question).map(Zeroizing::new);
        tcsetattr(&terminal, OptionalActions::Flush, &shown).map_err(unseen)?;
        drop(writeln!(io::stderr()));
        answer
    }

    /// The text of a message: the argument, or stdin for `-` and where no argument is given and stdin is no terminal.
    ///
    /// # Errors
    /// When there is neither, or stdin is not UTF-8.
    pub fn body(&self, argument: Option<String>) -> Result<String, Failure> {
        match argument {
            Some(text) if text != "-" => Ok(text),
            None if io::stdin().is_terminal() => {
                Err(Failure::usage("there is no text", "give the text as an argument, or - for standard input")
                    .why("neither an argument nor standard input holds one"))
            }
            _ => self.read_stdin(),
        }
    }

    /// Reads all of stdin, without its last line end.
    ///
    /// # Errors
    /// When it is not UTF-8 or too long.
    pub fn read_stdin(&self) -> Result<String, Failure> {
        let mut bytes = Vec::new();
        io::stdin()
            .lock()
            .take(INPUT_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| Failure::new(Class::Internal, "could not read standard input").why(error.to_string()))?;
        if bytes.len() as u64 > INPUT_BYTES_MAX {
            return Err(Failure::new(Class::Limit, "the text is too long")
                .why("standard input has more than 1 MiB, a message may have 64 KiB")
                .hint("send a shorter text"));
        }
        let mut text = String::from_utf8(bytes).map_err(|_| {
            Failure::usage("the text cannot be sent", "convert it, for example with iconv").why("it is not UTF-8")
        })?;
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        Ok(text)
    }
}

/// Makes the text of others harmless for a terminal: control characters and direction overrides become `�`, lines stay.
#[must_use]
pub fn printable(text: &str) -> String {
    let harmful = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' | '\u{feff}')
    };
    text.chars().map(|c| if harmful(c) { '\u{fffd}' } else { c }).collect()
}

fn coloured(three_lines: &str) -> String {
    match three_lines.split_once(' ') {
        Some((label, rest)) => format!("\u{1b}[1;31m{label}\u{1b}[0m {rest}"),
        None => three_lines.to_owned(),
    }
}

fn stdout_failure(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        // Whoever read our output has seen enough (`silbo history ada | head`): not a failure worth a message.
        std::process::exit(0);
    }
    Failure::new(Class::Internal, "could not write the output")
        .why(error.to_string())
        .hint("check the disk and the pipe")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_cannot_control_the_terminal() {
        let hostile = "hi\u{1b}]0;owned\u{7}\r\u{9b}2J\u{202e}txt.exe\nsecond\tline 👩‍👩‍👧";
        let shown = printable(hostile);
        assert!(shown.chars().all(|c| !c.is_control() || c == '\n' || c == '\t'));
        assert!(!shown.contains('\u{202e}'));
        assert!(shown.contains("second\tline 👩‍👩‍👧"), "ordinary text and emoji stay whole");
    }

    #[test]
    fn a_text_argument_is_taken_as_it_is() {
        let screen = Screen::new(Form::Text, true);
        assert_eq!(screen.body(Some("hi there".into())).as_deref(), Ok("hi there"));
    }

    #[test]
    fn a_given_yes_needs_no_question() {
        assert_eq!(Screen::new(Form::Text, true).confirm("delete everything?", true), Ok(()));
    }
}
