//! Whole nodes as child processes, each in a folder of its own, driven over its API.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::Rng;
use serde_json::{Value, json};

use super::broken;
use crate::cli::client::Client;
use crate::cli::failure::{Class, Failure};
use crate::paths::{PathChoices, Paths};

/// A node that has not answered by then does not start.
const START_MAX: Duration = Duration::from_secs(60);
/// Between two looks whether it answers.
const LOOK: Duration = Duration::from_millis(2);

/// A temporary folder, gone when dropped.
pub(super) struct Folder {
    path: PathBuf,
    program: PathBuf,
}

impl Folder {
    pub(super) fn make(program: Option<PathBuf>) -> Result<Folder, Failure> {
        let program = program.map_or_else(std::env::current_exe, Ok);
        let program = program.map_err(|error| broken("the program is not found").why(error.to_string()))?;
        let mut name = [0; 4];
        rand::rng().fill_bytes(&mut name);
        let path = std::env::temp_dir().join(format!("silbo-bench-{:08x}", u32::from_be_bytes(name)));
        fs::create_dir(&path).map_err(|error| broken("no temporary folder").why(error.to_string()))?;
        Ok(Folder { path, program })
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind is in the folder for temporary files.
        drop(fs::remove_dir_all(&self.path));
    }
}

/// A running node; killed when dropped.
pub(super) struct Node {
    child: Child,
    pub(super) client: Client,
}

impl Node {
    /// A person's node, listening on QUIC at a free port of the loopback address.
    pub(super) async fn person(folder: &Folder, name: &str) -> Result<Node, Failure> {
        Node::start(folder, name, &["up", "--name", name, "--no-mdns", "--no-qr"]).await
    }

    /// A relay.
    pub(super) async fn relay(folder: &Folder, name: &str) -> Result<Node, Failure> {
        Node::start(folder, name, &["relay", "serve"]).await
    }

    async fn start(folder: &Folder, name: &str, command: &[&str]) -> Result<Node, Failure> {
        let home = folder.file(name);
        let failed = |error: std::io::Error| broken("a node does not start").why(error.to_string());
        let choices = PathChoices { home: Some(home.clone()), ..PathChoices::default() };
        let paths = Paths::choose(&choices).map_err(|error| broken("no paths").why(error.to_string()))?;
        let mut start = Command::new(&folder.program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SILBO_")) {
            start.env_remove(name);
        }
        let child = start
            .arg("--home")
            .arg(home)
            .args(command)
            .args(["--yes", "--foreground", "--no-bluetooth", "--log", "warn"])
            .args(["--listen", "/ip4/127.0.0.1/udp/0/quic-v1"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let mut node = Node { child, client: Client::new(&paths) };
        let started = Instant::now();
        while node.call("system.status", json!({})).await.is_err() {
            if let Ok(Some(status)) = node.child.try_wait() {
                return Err(broken("a node ended at once").why(status.to_string()));
            }
            if started.elapsed() > START_MAX {
                return Err(broken("a node does not answer"));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(node)
    }

    pub(super) async fn call(&self, method: &str, params: Value) -> Result<Value, Failure> {
        self.client.call(method, params).await
    }

    /// One text of an answer.
    pub(super) async fn text(&self, method: &str, params: Value, field: &str) -> Result<String, Failure> {
        let answer = self.call(method, params).await?;
        let text = answer.get(field).and_then(Value::as_str);
        text.map(str::to_owned)
            .ok_or_else(|| broken("an answer without what was asked").why(format!("{method}: {field}")))
    }

    /// Waits until a contact has answered. The events say when to look.
    pub(super) async fn until_active(&self, contact: &str) -> Result<(), Failure> {
        let mut events = self.client.events(Some(0)).await?;
        let wait = async {
            loop {
                match self.call("contact.show", json!({"contact": contact})).await {
                    Ok(shown) if shown["state"] == "active" => return Ok(()),
                    Ok(_) => {}
                    Err(failure) if failure.class == Class::NotFound => {}
                    Err(failure) => return Err(failure),
                }
                events.next().await?;
            }
        };
        tokio::time::timeout(START_MAX, wait).await.unwrap_or_else(|_| Err(broken("two nodes do not find each other")))
    }

    /// Memory of the process that is in use, in MiB.
    pub(super) fn rss_mib(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let kib =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<f64>().ok());
        kib.unwrap_or(0.0) / 1024.0
    }

    /// Asks it to stop and waits until it has.
    pub(super) async fn stop(mut self) -> Result<(), Failure> {
        self.call("system.shutdown", json!({})).await?;
        let child = tokio::task::spawn_blocking(move || {
            drop(self.child.wait());
            self
        });
        drop(child.await);
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It has ended already, or is ended here; there is nobody to tell.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
