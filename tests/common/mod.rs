//! Real nodes for the tests of the product: the built program, a folder on disk, libp2p on the loopback network.
//!
//! A [`Home`] is one profile with its node. It is used as a person or a program uses it, through the command line, and
//! it ends the process it started and no other. Nothing here sleeps for a guessed time: [`until`] looks again and again
//! until something is so, and fails at a deadline.

#![allow(dead_code, reason = "each test program uses its part")]

pub mod disk;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// What must happen, happens within this time, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Looks until `look` has an answer.
///
/// # Panics
/// When there is none within [`PATIENCE`].
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "this did not happen: {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code.
    pub code: i32,
    /// Everything on stdout.
    pub stdout: String,
    /// Everything on stderr.
    pub stderr: String,
}

impl Outcome {
    /// The one JSON document on stdout.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }
}

/// One profile and, between `up` and `down`, its node.
pub struct Home {
    folder: TempDir,
    ip: &'static str,
    pid: AtomicI32,
}

impl Home {
    /// An empty home, whose node will listen on 127.0.0.1.
    pub fn new() -> Home {
        Home::at("127.0.0.1")
    }

    /// An empty home, whose node will listen on this address of the loopback network.
    pub fn at(ip: &'static str) -> Home {
        let folder = tempfile::Builder::new().prefix("silbo-test-").tempdir().expect("a temporary folder");
        Home { folder, ip, pid: AtomicI32::new(0) }
    }

    /// A person's node that runs.
    pub fn of_person(name: &str) -> Home {
        let home = Home::new();
        home.up(name);
        home
    }

    /// A relay that runs.
    pub fn of_relay() -> Home {
        let home = Home::new();
        home.serve();
        home
    }

    /// The folder given as `--home`.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// Where the node listens.
    pub fn listen(&self) -> String {
        format!("/ip4/{}/udp/0/quic-v1", self.ip)
    }

    /// Runs `silbo --home HOME WORDS`, with `input` on stdin.
    pub fn run_with(&self, words: &[&str], input: &str) -> Outcome {
        let mut command = silbo();
        command.arg("--home").arg(self.path()).args(words);
        run(command, input)
    }

    /// Runs `silbo --home HOME WORDS`.
    pub fn run(&self, words: &[&str]) -> Outcome {
        self.run_with(words, "")
    }

    /// Runs a command that must succeed.
    #[track_caller]
    pub fn ok(&self, words: &[&str]) -> Outcome {
        let outcome = self.run(words);
        assert_eq!(outcome.code, 0, "silbo {words:?}: {outcome:?}");
        outcome
    }

    /// Runs a command with `--json` that must succeed, and gives its document.
    #[track_caller]
    pub fn json(&self, words: &[&str]) -> Value {
        self.ok(&[words, &["--json"]].concat()).json()
    }

    /// Runs a command that must fail with this exit code and three lines; gives its stderr.
    #[track_caller]
    pub fn refused(&self, code: i32, words: &[&str]) -> String {
        let outcome = self.run(words);
        assert_eq!(outcome.code, code, "silbo {words:?}: {outcome:?}");
        assert_three_lines(&outcome.stderr);
        outcome.stderr
    }

    /// Calls a method of the API by `silbo rpc`; gives the whole answer.
    #[track_caller]
    pub fn rpc(&self, method: &str, params: Value) -> Value {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let outcome = self.run_with(&["rpc"], &format!("{request}\n"));
        assert_eq!(outcome.code, 0, "{method}: {outcome:?}");
        outcome.json()
    }

    /// Calls a method that must succeed; gives its result.
    #[track_caller]
    pub fn call(&self, method: &str, params: Value) -> Value {
        let mut answer = self.rpc(method, params);
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].take()
    }

    /// Starts the node of a person, with the flags of a first start.
    #[track_caller]
    pub fn up(&self, name: &str) {
        self.ok(&["up", "--yes", "--name", name, "--listen", &self.listen(), "--no-mdns"]);
        self.remember_pid();
    }

    /// Starts the node as a relay.
    #[track_caller]
    pub fn serve(&self) {
        self.ok(&["relay", "serve", "--yes", "--listen", &self.listen()]);
        self.remember_pid();
    }

    /// Notes which process this home has, for those who started it by other means.
    #[track_caller]
    pub fn remember_pid(&self) {
        let pid = self.json(&["status"])["pid"].as_i64().expect("the status has a pid");
        self.pid.store(i32::try_from(pid).expect("a pid fits"), Ordering::Relaxed);
    }

    /// Stops the node in good order. Its log must hold no error: those are bugs of ours.
    #[track_caller]
    pub fn down(&self) {
        self.ok(&["down"]);
        self.pid.store(0, Ordering::Relaxed);
        let errors: Vec<String> =
            self.log().lines().filter(|line| line.contains(" ERROR ")).map(str::to_owned).collect();
        assert!(errors.is_empty(), "the node logged {errors:#?}");
    }

    /// Ends the node as a power cut would end it for the process.
    #[track_caller]
    pub fn kill(&self) {
        let pid = self.pid.swap(0, Ordering::Relaxed);
        assert!(pid > 0, "a node runs");
        kill_9(pid);
        until("the killed node is gone", || (!is_alive(pid)).then_some(()));
    }

    /// Kills the node and removes everything it had.
    #[track_caller]
    pub fn kill_and_wipe(&self) {
        self.kill();
        std::fs::remove_dir_all(self.path()).expect("the home can be removed");
    }

    /// The log of the node.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("state/silbo.log")).unwrap_or_default()
    }

    /// The address of this relay.
    #[track_caller]
    pub fn relay_address(&self) -> String {
        text(&self.json(&["relay", "status"])["address"])
    }

    /// Uses a relay, and waits until it is connected.
    #[track_caller]
    pub fn use_relay(&self, relay: &Home) {
        let address = relay.relay_address();
        self.ok(&["relay", "add", &address, "--json"]);
        until("the relay is connected", || {
            let list = self.json(&["relay", "list"]);
            items(&list).iter().any(|relay| relay["address"] == *address && relay["connected"] == true).then_some(())
        });
    }

    /// A fresh invitation for one person, held by `relays` relays.
    #[track_caller]
    pub fn invite_held_by(&self, relays: u64) -> String {
        let link = text(&self.json(&["invite"])["link"]);
        until("the card of the invitation is at the relays", || {
            let list = self.json(&["invite", "list"]);
            items(&list)
                .iter()
                .any(|invite| invite["link"] == *link && invite["heldByRelays"].as_u64() >= Some(relays))
                .then_some(())
        });
        link
    }

    /// Sends, waits for the state, and gives the id of the message.
    #[track_caller]
    pub fn send(&self, to: &str, body: &str, state: &str) -> String {
        let sent = self.json(&["send", to, body, "--wait", state, "--timeout", "30s"]);
        text(&sent["id"])
    }

    /// The messages of a conversation, oldest first.
    #[track_caller]
    pub fn history(&self, chat: &str) -> Vec<Value> {
        items(&self.json(&["history", chat])).to_vec()
    }

    /// The texts of a conversation, oldest first, deleted ones left out.
    #[track_caller]
    pub fn texts(&self, chat: &str) -> Vec<String> {
        let shown = self.history(chat);
        shown.iter().filter(|item| item["deleted"] != true).map(|item| text(&item["body"])).collect()
    }

    /// Every persisted event so far.
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        let list = self.json(&["recv", "--since", "0", "--kinds", "all"]);
        list["events"].as_array().expect("events").clone()
    }

    /// Waits for an event of this kind that fits.
    #[track_caller]
    pub fn event(&self, kind: &str, fits: impl Fn(&Value) -> bool) -> Value {
        until(kind, || self.events().into_iter().find(|event| event["kind"] == kind && fits(event)))
    }

    /// Waits until a message with this text has arrived, and gives its event.
    #[track_caller]
    pub fn receives(&self, body: &str) -> Value {
        self.event("message.received", |event| event["body"] == body)
    }

    /// A message as it stands.
    #[track_caller]
    pub fn message(&self, id: &str) -> Value {
        self.json(&["msg", "show", id])
    }

    /// Waits until a message is in this state.
    #[track_caller]
    pub fn reaches(&self, id: &str, state: &str) -> Value {
        until(&format!("{id} is {state}"), || Some(self.message(id)).filter(|item| item["state"] == state))
    }

    /// A contact as it stands.
    #[track_caller]
    pub fn contact(&self, name: &str) -> Value {
        self.json(&["contact", "show", name])
    }

    /// Waits until a contact is there and in this state.
    #[track_caller]
    pub fn contact_is(&self, name: &str, state: &str) -> Value {
        until(&format!("{name} is {state}"), || {
            let list = self.json(&["contact", "list"]);
            items(&list).iter().find(|contact| contact["name"] == name && contact["state"] == state).cloned()
        })
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let from = log.len().saturating_sub(4_000);
            eprintln!("--- end of the log of {}\n{}", self.path().display(), log.get(from..).unwrap_or(&log));
        }
        let pid = self.pid.load(Ordering::Relaxed);
        if pid > 0 {
            self.run(&["down", "--timeout", "5s"]);
            if is_alive(pid) {
                kill_9(pid);
            }
        }
    }
}

/// The program, with nothing of the surroundings of the test.
pub fn silbo() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_silbo"));
    let home = std::env::temp_dir();
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", home).env("TZ", "UTC");
    // These nodes are not to be heard by somebody's real radio; the ones of the radio lab are.
    command.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent");
    command
}

/// Runs a command to its end, without a terminal.
pub fn run(mut command: Command, input: &str) -> Outcome {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    // A command that reads no stdin may be gone before this is written.
    let _unread = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("the command ends");
    let readable = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the output is text");
    Outcome {
        code: output.status.code().expect("the command was not killed"),
        stdout: readable(output.stdout),
        stderr: readable(output.stderr),
    }
}

/// Two people who are contacts of each other; Bob uses the invitation of Ada.
#[track_caller]
pub fn contacts(ada: &Home, bob: &Home) {
    let link = text(&ada.json(&["invite"])["link"]);
    let contact = bob.json(&["add", &link, "--as", "ada", "--wait", "--timeout", "30s"]);
    assert_eq!(contact["state"], "active", "{contact}");
    ada.contact_is("Bob", "active");
}

/// Ada and Bob, up and contacts of each other. Ada is `ada` to Bob, and Bob is `Bob` to Ada.
#[track_caller]
pub fn ada_and_bob() -> (Home, Home) {
    let (ada, bob) = (Home::of_person("Ada"), Home::of_person("Bob"));
    contacts(&ada, &bob);
    (ada, bob)
}

/// The same with one relay in use by both.
#[track_caller]
pub fn ada_bob_and_relay() -> (Home, Home, Home) {
    let (ada, bob, relay) = (Home::of_person("Ada"), Home::of_person("Bob"), Home::of_relay());
    ada.use_relay(&relay);
    bob.use_relay(&relay);
    contacts(&ada, &bob);
    (ada, bob, relay)
}

/// The entries of a list.
#[track_caller]
pub fn items(list: &Value) -> &[Value] {
    list["items"].as_array().unwrap_or_else(|| panic!("no items: {list}"))
}

/// A text value.
#[track_caller]
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// What a person sees of an error: what, why, what to do.
#[track_caller]
pub fn assert_three_lines(stderr: &str) {
    let lines: Vec<&str> = stderr.lines().collect();
    let at = lines.iter().position(|line| line.starts_with("error: ")).unwrap_or_else(|| panic!("no error: {stderr}"));
    let rest = &lines[at..];
    let three = rest.len() == 3 && rest[1].starts_with("why: ") && rest[2].starts_with("hint: ");
    assert!(three && rest.iter().all(|line| line.len() > "error: ".len()), "not three lines:\n{stderr}");
}

fn kill_9(pid: i32) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        // It may have ended by itself meanwhile, which is what is wanted.
        let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// Whether a process still runs; one that has ended and waits for its parent does not.
pub fn is_alive(pid: i32) -> bool {
    let stat = Path::new("/proc").join(pid.to_string()).join("stat");
    match std::fs::read_to_string(stat) {
        Ok(stat) => {
            let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
            !matches!(state, Some('Z' | 'X'))
        }
        Err(_) => {
            !Path::new("/proc/self/stat").exists()
                && rustix::process::Pid::from_raw(pid)
                    .is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
        }
    }
}
