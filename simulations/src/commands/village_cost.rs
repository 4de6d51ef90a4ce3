//! `silbo-sim village-cost`.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use silbo_simulations::progress::Progress;
use silbo_simulations::village_cost::{self, Settings};

/// Arguments of `silbo-sim village-cost`.
#[derive(Args)]
pub struct VillageCost {
    /// People, one size after the other, the smallest first.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1_000, 10_000], value_name = "LIST")]
    nodes: Vec<u32>,
    /// Days of the village model.
    #[arg(long, default_value_t = 1)]
    days: u32,
    /// Messages that are written, for every hundred people and day.
    #[arg(long, default_value_t = Settings::default().messages_per_hundred)]
    messages: u32,
    /// All chance follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Engines at work at once. The result does not depend on it.
    #[arg(long, default_value_t = Settings::default().threads)]
    threads: usize,
    /// Print JSON, a row a line.
    #[arg(long)]
    json: bool,
}

impl VillageCost {
    /// Measures and prints the rows as they come.
    ///
    /// # Errors
    /// A broken invariant.
    pub fn run(mut self) -> anyhow::Result<ExitCode> {
        // The memory of a row is the most so far.
        self.nodes.sort_unstable();
        if !self.json {
            print!("{}", village_cost::head());
        }
        for nodes in self.nodes {
            let settings = Settings {
                nodes,
                days: self.days,
                messages_per_hundred: self.messages,
                seed: self.seed,
                threads: self.threads,
            };
            let row = village_cost::measure(&settings, &Progress::on_terminal())
                .with_context(|| format!("{nodes} people, seed {}", self.seed))?;
            if self.json {
                println!("{}", serde_json::to_string(&row).context("write the row")?);
            } else {
                print!("{}", village_cost::line(&row));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
