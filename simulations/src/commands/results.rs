//! `silbo-sim compare` and `silbo-sim encounter-bytes`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use serde_json::Value;
use silbo_simulations::{compare, encounter_bytes};

/// Arguments of `silbo-sim compare`.
#[derive(Args)]
pub struct Compare {
    /// The result before, as `--json` prints it.
    before: PathBuf,
    /// The result after.
    after: PathBuf,
}

/// Arguments of `silbo-sim encounter-bytes`.
#[derive(Args)]
pub struct EncounterBytes {
    /// Salts to try for each row.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Compare {
    /// Prints the table.
    ///
    /// # Errors
    /// A file that is no result.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        print!("{}", compare::table(&read(&self.before)?, &read(&self.after)?));
        Ok(ExitCode::SUCCESS)
    }
}

impl EncounterBytes {
    /// Measures and prints the table.
    ///
    /// # Errors
    /// A comparison that does not end.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let rows = encounter_bytes::table(self.seeds)?;
        if self.json {
            println!("{}", serde_json::to_string(&rows).context("write the table")?);
        } else {
            print!("{}", encounter_bytes::render(&rows, self.seeds));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn read(path: &Path) -> anyhow::Result<Value> {
    let named = || path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", named()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no result of `silbo-sim trace --json`", named()))
}
