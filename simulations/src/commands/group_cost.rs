//! `silbo-sim group-cost`.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use silbo_simulations::group_cost::{self, Settings};
use silbo_simulations::progress::Progress;

/// Arguments of `silbo-sim group-cost`.
#[derive(Args)]
pub struct GroupCost {
    /// Members with a real engine each.
    #[arg(long, default_value_t = Settings::default().engines)]
    engines: usize,
    /// Posts of which the mean is taken.
    #[arg(long, default_value_t = Settings::default().posts)]
    posts: u32,
    /// Members of the large group, whose keys and operations are real.
    #[arg(long, default_value_t = Settings::default().members)]
    members: usize,
    /// Devices of these: at most two each.
    #[arg(long, default_value_t = Settings::default().devices)]
    devices: usize,
    /// All chance follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl GroupCost {
    /// Measures and prints.
    ///
    /// # Errors
    /// A broken invariant.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let Self { engines, posts, members, devices, seed } = self;
        let settings = Settings { engines, posts, members, devices, seed };
        let table = group_cost::run(&settings, &Progress::on_terminal()).with_context(|| format!("seed {seed}"))?;
        print!("{table}");
        Ok(ExitCode::SUCCESS)
    }
}
