//! A line on standard error that says how far a long run is; silent when nobody watches.

use std::cell::Cell;
use std::io::{IsTerminal, Write, stderr};

/// The line.
#[derive(Debug)]
pub struct Progress {
    shown: bool,
    percent: Cell<Option<u64>>,
}

/// Signs of a full bar.
const WIDTH: u64 = 30;

impl Progress {
    /// Shows itself when standard error is a terminal.
    pub fn on_terminal() -> Self {
        Self { shown: stderr().is_terminal(), percent: Cell::new(None) }
    }

    /// Never shows itself.
    pub fn silent() -> Self {
        Self { shown: false, percent: Cell::new(None) }
    }

    /// Begins another part of the work.
    pub fn say(&self, what: &str) {
        self.percent.set(None);
        self.print(&format!("\r\x1b[K{what}"));
    }

    /// How much of a part is done.
    pub fn step(&self, what: &str, done: u64, of: u64) {
        let percent = done.saturating_mul(100).checked_div(of).unwrap_or(100).min(100);
        if self.shown && self.percent.replace(Some(percent)) != Some(percent) {
            let full = (percent * WIDTH / 100) as usize;
            let (bar, rest) = ("#".repeat(full), ".".repeat(WIDTH as usize - full));
            self.print(&format!("\r\x1b[K{what} [{bar}{rest}] {percent} %"));
        }
    }

    /// Takes the line away.
    pub fn done(&self) {
        self.print("\r\x1b[K");
    }

    fn print(&self, text: &str) {
        if self.shown {
            let mut out = stderr().lock();
            // Progress that cannot be shown is no reason to stop the work.
            let _shown = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        }
    }
}
