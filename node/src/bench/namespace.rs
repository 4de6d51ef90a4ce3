//! A network of one's own: the program runs once more inside a fresh network namespace, where the loopback
//! interface carries only what is measured. The kernel takes it away with its last process.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::broken;
use crate::cli::failure::Failure;

/// Set for the one that runs inside.
const INSIDE: &str = "SILBO_BENCH_INSIDE";

/// Runs this command once more in a namespace. False if it already does, or if there are no namespaces here.
pub(super) fn run_again() -> Result<bool, Failure> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(false);
    }
    let ways: [&[&str]; 2] = [&["--net"], &["--user", "--map-root-user", "--net"]];
    let Some(way) =
        ways.into_iter().find(|way| works(Command::new("unshare").args(*way).args(["ip", "link", "set", "lo", "up"])))
    else {
        return Ok(false);
    };
    let program = std::env::current_exe().map_err(|error| broken("the program is not found").why(error.to_string()))?;
    let status = Command::new("unshare")
        .args(way)
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .status()
        .map_err(|error| broken("no namespace").why(error.to_string()))?;
    if status.success() { Ok(true) } else { Err(broken("the part in a namespace ended badly").why(status.to_string())) }
}

fn works(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The network this process is in.
pub(super) struct Network {
    own: bool,
}

impl Network {
    pub(super) fn here() -> Network {
        let own = std::env::var_os(INSIDE).is_some() && works(Command::new("ip").args(["link", "set", "lo", "up"]));
        Network { own }
    }

    pub(super) fn is_own(&self) -> bool {
        self.own
    }

    /// Bytes the loopback interface has carried, headers included; `None` where others use it, too.
    pub(super) fn bytes(&self) -> Option<u64> {
        self.own.then(|| std::fs::read_to_string("/proc/self/net/dev").ok())?.and_then(|table| carried(&table))
    }

    /// Returns when nothing has been carried for three seconds, or after half a minute.
    pub(super) async fn quiet(&self) {
        const LOOKS: u32 = 10;
        const PAUSE: Duration = Duration::from_secs(3);
        for _ in 0..LOOKS {
            let before = self.bytes();
            tokio::time::sleep(PAUSE).await;
            if self.bytes() == before {
                return;
            }
        }
    }
}

/// The column of received bytes of `lo`: everything sent is received.
fn carried(table: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.trim_start().strip_prefix("lo:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::carried;

    #[test]
    fn the_bytes_of_the_loopback_interface_are_found() {
        let table = "Inter-|   Receive |\n face |bytes packets\n  eth0: 5 1 0\n    lo: 1234 10 0 0 0 0 0 0 1234 10\n";
        assert_eq!(carried(table), Some(1234));
        assert_eq!(carried("  eth0: 5 1"), None);
    }
}
