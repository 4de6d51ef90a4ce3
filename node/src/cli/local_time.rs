//! Times in the time zone of the person at the terminal.
//!
//! SQLite asks the C library for the zone; it is in the binary anyway and needs no unsafe code here.

use std::sync::Mutex;

use rusqlite::Connection;

/// Turns milliseconds since 1970 into local words.
pub struct LocalTime {
    /// Locked only because a node in the foreground is announced from another thread.
    database: Option<Mutex<Connection>>,
}

impl Default for LocalTime {
    fn default() -> LocalTime {
        LocalTime::new()
    }
}

impl LocalTime {
    /// Ready to use. If SQLite is out of memory, times are shown in UTC seconds.
    #[must_use]
    pub fn new() -> LocalTime {
        LocalTime { database: Connection::open_in_memory().ok().map(Mutex::new) }
    }

    /// `2026-11-21 14:05`.
    #[must_use]
    pub fn minute(&self, at_ms: i64) -> String {
        self.format("%Y-%m-%d %H:%M", at_ms)
    }

    /// `14:05:09`, for traces.
    #[must_use]
    pub fn second(&self, at_ms: i64) -> String {
        self.format("%Y-%m-%d %H:%M:%S", at_ms)
    }

    fn format(&self, form: &str, at_ms: i64) -> String {
        let seconds = at_ms.div_euclid(1_000);
        let query = "SELECT strftime(?1, ?2, 'unixepoch', 'localtime')";
        let text = self.database.as_ref().and_then(|database| database.lock().ok()).and_then(|database| {
            database
                .query_row(query, rusqlite::params![form, seconds], |row| row.get::<_, Option<String>>(0))
                .ok()
                .flatten()
        });
        text.unwrap_or_else(|| format!("{seconds} s"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_minutes_or_seconds() {
        let time = LocalTime::new();
        let minute = time.minute(1_763_733_909_000);
        // Every zone of the world is within a day of UTC.
        assert!(minute.starts_with("2025-11-2"), "{minute}");
        assert_eq!(minute.len(), "2025-11-21 14:05".len());
        assert!(time.second(1_763_733_909_999).ends_with(":09"));
    }

    #[test]
    fn impossible_times_do_not_fail() {
        assert!(LocalTime::new().minute(i64::MAX).ends_with(" s"));
    }
}
