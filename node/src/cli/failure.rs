//! How a command fails: three lines for a person, one JSON document for a program, and an exit code for both.
//!
//! ```text
//! error: what could not be done
//! why: the reason
//! hint: what to do, best as a command
//! ```

use serde_json::{Value, json};

use crate::settings::{StartFailure, StartFailureClass};

/// The classes of failure; the number is the exit code and, as -32000 - n, the error code of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// A mistake of ours, or of the machine.
    Internal = 1,
    /// The command was not written in a way that can be carried out.
    InvalidParams = 2,
    /// No node runs here.
    NoDaemon = 3,
    /// A name or id means nothing, or several things.
    NotFound = 4,
    /// A key changed, or the contact is blocked.
    Untrusted = 5,
    /// It took longer than allowed.
    Timeout = 6,
    /// No way into any network.
    Offline = 7,
    /// A passphrase is needed, or the token does not permit it.
    Locked = 8,
    /// Too large, too many, or refused by a relay.
    Limit = 9,
    /// Done for some, not for all.
    Partial = 10,
    /// Command line, node or database are of different versions.
    Version = 11,
}

impl Class {
    const ALL: [Class; 11] = [
        Class::Internal,
        Class::InvalidParams,
        Class::NoDaemon,
        Class::NotFound,
        Class::Untrusted,
        Class::Timeout,
        Class::Offline,
        Class::Locked,
        Class::Limit,
        Class::Partial,
        Class::Version,
    ];

    /// The exit code.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        self as u8
    }

    /// The class of an exit code; an unknown one is internal.
    #[must_use]
    pub fn of_exit_code(code: i64) -> Class {
        Class::ALL.into_iter().find(|class| i64::from(class.exit_code()) == code).unwrap_or(Class::Internal)
    }

    /// The class of an error code of the API.
    #[must_use]
    pub fn of_rpc_code(code: i64) -> Class {
        match code {
            // JSON-RPC's own: a method the node does not have means that node and command line differ in version.
            -32_601 => Class::Version,
            -32_600 | -32_602 | -32_700 => Class::InvalidParams,
            -32_011..=-32_001 => Class::of_exit_code(-32_000 - code),
            _ => Class::Internal,
        }
    }

    /// The name of the class in JSON, where the API gave no finer one.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Class::Internal => "internal",
            Class::InvalidParams => "invalid_params",
            Class::NoDaemon => "no_daemon",
            Class::NotFound => "not_found",
            Class::Untrusted => "untrusted",
            Class::Timeout => "timeout",
            Class::Offline => "offline",
            Class::Locked => "locked",
            Class::Limit => "limit",
            Class::Partial => "partial",
            Class::Version => "version",
        }
    }

    fn usual_why(self) -> &'static str {
        match self {
            Class::Internal => "an unexpected condition",
            Class::InvalidParams => "the command cannot be carried out as it is written",
            Class::NoDaemon => "no node answers for this profile",
            Class::NotFound => "nothing here has this name or id",
            Class::Untrusted => "the contact is blocked, or its key changed",
            Class::Timeout => "it did not happen in the time allowed",
            Class::Offline => "no peer or relay can be reached at the moment",
            Class::Locked => "permission or a passphrase is missing",
            Class::Limit => "a limit was reached",
            Class::Partial => "it worked for some, not for all",
            Class::Version => "the running node is of another version than this command",
        }
    }

    fn usual_hint(self) -> &'static str {
        match self {
            Class::Internal => "silbo doctor",
            Class::InvalidParams => "silbo help COMMAND",
            Class::NoDaemon => "silbo up",
            Class::NotFound => "silbo contact list",
            Class::Untrusted => "silbo contact show NAME",
            Class::Timeout => "silbo status",
            Class::Offline => "silbo net check",
            Class::Locked => "silbo up --passphrase-file FILE",
            Class::Limit => "silbo status",
            Class::Partial => "silbo status",
            Class::Version => "silbo down && silbo up",
        }
    }
}

/// A failed command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct Failure {
    /// Decides the exit code.
    pub class: Class,
    /// Stable name for programs.
    pub kind: String,
    /// What could not be done.
    pub what: String,
    /// Why.
    pub why: String,
    /// What to do.
    pub hint: String,
}

impl Failure {
    /// A failure with the usual reason and hint of its class.
    #[must_use]
    pub fn new(class: Class, what: impl Into<String>) -> Failure {
        Failure {
            class,
            kind: class.kind().to_owned(),
            what: what.into(),
            why: class.usual_why().to_owned(),
            hint: class.usual_hint().to_owned(),
        }
    }

    /// Says why.
    #[must_use]
    pub fn why(mut self, why: impl Into<String>) -> Failure {
        self.why = why.into();
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = hint.into();
        self
    }

    /// A command that cannot be carried out as written.
    #[must_use]
    pub fn usage(what: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure::new(Class::InvalidParams, what).hint(hint)
    }

    /// A mistake on the command line: the sentences of clap in three lines.
    #[must_use]
    pub fn of_command_line(error: &clap::Error) -> Failure {
        let text = error.render().to_string();
        let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut paragraphs = text.split("\n\n").map(one_line);
        let head = paragraphs.next().unwrap_or_default();
        let head = head.strip_prefix("error: ").unwrap_or(&head);
        // `invalid value 'x' for '--timeout <TIMEOUT>': the reason`
        let mut failure = match head.split_once("': ") {
            Some((what, why)) => Failure::new(Class::InvalidParams, format!("{what}'")).why(why),
            None => Failure::new(Class::InvalidParams, head.trim_end_matches(':')),
        };
        for paragraph in paragraphs {
            if let Some(usage) = paragraph.strip_prefix("Usage: ") {
                failure.hint = usage.to_owned();
            } else if let Some(tip) = paragraph.strip_prefix("tip: ") {
                failure.why = tip.to_owned();
            }
        }
        failure
    }

    /// Reads the `error` member of a JSON-RPC answer.
    #[must_use]
    pub fn of_rpc_error(error: &Value) -> Failure {
        let code = error.get("code").and_then(Value::as_i64).unwrap_or(-32_603);
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let data = error.get("data");
        let field = |name: &str| text(data.and_then(|data| data.get(name)));
        let message = text(error.get("message")).unwrap_or_else(|| "the node refused".to_owned());
        let mut failure = Failure::new(Class::of_rpc_code(code), message);
        if let Some(kind) = field("kind") {
            failure.kind = kind;
        }
        match (field("why"), text(data)) {
            (Some(why), _) => failure.why = why,
            // jsonrpsee's own errors carry a bare sentence as data.
            (None, Some(why)) => failure.why = why,
            (None, None) => {}
        }
        if let Some(name) = field("field") {
            failure.why = format!("{} (parameter `{name}`)", failure.why);
        }
        if let Some(hint) = field("hint") {
            failure.hint = hint;
        } else if let Some(after) = data.and_then(|data| data.get("retryAfterMs")).and_then(Value::as_u64) {
            failure.hint = format!("try again in {}", super::duration::describe_seconds(after.div_ceil(1_000)));
        }
        failure
    }

    /// The three lines.
    #[must_use]
    pub fn three_lines(&self) -> String {
        let line = |text: &str| super::screen::printable(text).replace('\n', " ");
        format!("error: {}\nwhy: {}\nhint: {}", line(&self.what), line(&self.why), line(&self.hint))
    }

    /// The document for `--json`.
    #[must_use]
    pub fn document(&self) -> Value {
        json!({"error": {
            "code": self.class.exit_code(),
            "kind": self.kind,
            "message": self.what,
            "why": self.why,
            "hint": self.hint,
        }})
    }

    /// Finds the three lines in the end of a log, as a node that could not start leaves them.
    #[must_use]
    pub fn of_log(class: Class, log: &str) -> Option<Failure> {
        let lines: Vec<&str> = log.lines().collect();
        let start = lines.iter().rposition(|line| line.starts_with("error: "))?;
        let mut failure = Failure::new(class, lines.get(start)?.strip_prefix("error: ")?);
        for line in lines.iter().skip(start + 1).take(2) {
            if let Some(why) = line.strip_prefix("why: ") {
                failure.why = why.to_owned();
            } else if let Some(hint) = line.strip_prefix("hint: ") {
                failure.hint = hint.to_owned();
            }
        }
        Some(failure)
    }
}

impl From<StartFailure> for Failure {
    fn from(failure: StartFailure) -> Failure {
        let class = match failure.class {
            StartFailureClass::Setting => Class::InvalidParams,
            StartFailureClass::Locked => Class::Locked,
            StartFailureClass::Version => Class::Version,
            StartFailureClass::AlreadyRunning | StartFailureClass::Internal => Class::Internal,
        };
        Failure::new(class, failure.what).why(failure.why).hint(failure.hint)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        if let Some(failure) = error.chain().find_map(|cause| cause.downcast_ref::<Failure>()) {
            return failure.clone();
        }
        if let Some(failure) = error.chain().find_map(|cause| cause.downcast_ref::<StartFailure>()) {
            return failure.clone().into();
        }
        let why = error.chain().skip(1).map(ToString::to_string).collect::<Vec<_>>().join(": ");
        let failure = Failure::new(Class::Internal, format!("could not {error}"));
        if why.is_empty() { failure } else { failure.why(why) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_code_of_the_api_has_its_exit_code() {
        for code in 1..=11 {
            assert_eq!(i64::from(Class::of_rpc_code(-32_000 - code).exit_code()), code);
        }
        assert_eq!(Class::of_rpc_code(-32_602), Class::InvalidParams);
        assert_eq!(Class::of_rpc_code(-32_601), Class::Version);
        for code in [0, 1, -32_000, -32_012, -32_603, i64::MIN, i64::MAX] {
            assert_eq!(Class::of_rpc_code(code), Class::Internal, "{code}");
        }
    }

    #[test]
    fn a_mistake_on_the_command_line_becomes_three_lines() {
        use clap::Parser;
        let failure = |line: &str| {
            let parsed = crate::cli::arguments::Arguments::try_parse_from(line.split(' '));
            Failure::of_command_line(&parsed.expect_err("a mistake"))
        };
        let value = failure("silbo relay add 127.0.0.1:4001");
        assert_eq!(value.what, "invalid value '127.0.0.1:4001' for '<ADDRESS>'");
        assert!(value.why.starts_with("a multiaddr"), "{}", value.why);
        let missing = failure("silbo add");
        assert_eq!(missing.what, "the following required arguments were not provided: <LINK>");
        assert!(missing.hint.starts_with("silbo add"), "{}", missing.hint);
        let unknown = failure("silbo sned ada hi");
        assert!(unknown.what.contains("'sned'") && unknown.why.contains("'send'"), "{unknown:?}");
        for failure in [value, missing, unknown] {
            assert_eq!(failure.class.exit_code(), 2);
            assert_eq!(failure.three_lines().lines().count(), 3);
        }
    }

    #[test]
    fn an_api_error_becomes_three_lines() {
        let error = json!({"code": -32_005, "message": "ada's identity key changed", "data": {
            "kind": "untrusted", "why": "new key a1b2, old c3d4", "hint": "silbo contact verify ada --accept-new"}});
        let failure = Failure::of_rpc_error(&error);
        assert_eq!(failure.class.exit_code(), 5);
        assert_eq!(
            failure.three_lines(),
            "error: ada's identity key changed\nwhy: new key a1b2, old c3d4\nhint: silbo contact verify ada --accept-new"
        );
        assert_eq!(failure.document()["error"]["kind"], "untrusted");
    }

    #[test]
    fn an_api_error_without_details_still_has_three_lines() {
        let failure = Failure::of_rpc_error(&json!({"code": -32_004, "message": "no contact \"bob\""}));
        let lines = failure.three_lines();
        assert_eq!(lines.lines().count(), 3);
        assert!(lines.contains("hint: silbo contact list"));
        let failure = Failure::of_rpc_error(
            &json!({"code": -32_602, "message": "Invalid params", "data": "missing field `chat`"}),
        );
        assert!(failure.three_lines().contains("why: missing field `chat`"));
    }

    #[test]
    fn a_foreign_message_cannot_add_lines_or_terminal_commands() {
        let failure = Failure::of_rpc_error(&json!({"code": -32_001, "message": "a\nhint: rm\u{1b}[2J"}));
        let lines = failure.three_lines();
        assert_eq!(lines.lines().count(), 3);
        assert!(!lines.contains('\u{1b}'));
    }

    #[test]
    fn the_last_error_of_a_log_is_found() {
        let log = "INFO starting\nerror: an older one\nwhy: x\nhint: y\nINFO more\nerror: no port\nwhy: taken\nhint: choose another\n";
        let failure = Failure::of_log(Class::InvalidParams, log).expect("an error is in the log");
        assert_eq!((failure.what.as_str(), failure.why.as_str()), ("no port", "taken"));
        assert_eq!(failure.hint, "choose another");
        assert_eq!(Failure::of_log(Class::Internal, "INFO all is well\n"), None);
    }

    #[test]
    fn a_start_failure_keeps_its_words_through_anyhow() {
        let cause = StartFailure {
            class: StartFailureClass::Locked,
            what: "the database is locked".into(),
            why: "it has a passphrase".into(),
            hint: "silbo up --passphrase-file FILE".into(),
        };
        let failure: Failure = anyhow::Error::new(cause).context("open the database").into();
        assert_eq!(failure.class.exit_code(), 8);
        assert_eq!(failure.what, "the database is locked");
    }
}
