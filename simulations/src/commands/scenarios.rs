//! `silbo-sim list` and `silbo-sim run`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use silbo_simulations::process;
use silbo_simulations::scenario_file::ScenarioFile;
use silbo_simulations::scenarios::{self, Outcome, Scenario};

/// Arguments of `silbo-sim run`.
#[derive(Args)]
pub struct Run {
    /// A scenario file in TOML.
    file: Option<PathBuf>,
    /// The name of a built-in scenario; all of them without a name or a file.
    #[arg(long, conflicts_with = "file")]
    scenario: Option<String>,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds to run, counted up from the first.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Seeds of a built-in scenario that run at once. Outcomes come in the order of the seeds all the same.
    #[arg(long, default_value_t = process::cores())]
    threads: usize,
    /// Print every input and step of a built-in scenario.
    #[arg(long)]
    verbose: bool,
    /// Print the result of a scenario file as JSON.
    #[arg(long)]
    json: bool,
}

/// Prints every scenario.
pub fn list() {
    for scenario in scenarios::ALL {
        println!("{:<16} {}", scenario.name, scenario.story);
    }
}

impl Run {
    /// Runs what was chosen.
    ///
    /// # Errors
    /// A scenario that does not exist.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if let Some(file) = &self.file {
            return self.run_file(file);
        }
        let chosen: Vec<&Scenario> = match &self.scenario {
            Some(name) => vec![scenarios::find(name).with_context(|| format!("no scenario is called {name}"))?],
            None => scenarios::ALL.iter().collect(),
        };
        let mut failed = false;
        // What several worlds print about themselves cannot be read.
        let threads = if self.verbose { 1 } else { self.threads };
        for scenario in chosen {
            let seeds = self.seed..self.seed.saturating_add(self.seeds);
            scenario.run_all(seeds, threads, self.verbose, |seed, outcome| failed |= !tell(scenario, seed, outcome));
        }
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn run_file(&self, file: &Path) -> anyhow::Result<ExitCode> {
        let named = || file.display().to_string();
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", named()))?;
        let scenario = ScenarioFile::read(&text).with_context(named)?;
        let beside = file.parent().unwrap_or(Path::new("."));
        let mut code = ExitCode::SUCCESS;
        for seed in self.seed..self.seed.saturating_add(self.seeds) {
            let (experiment, routers) = scenario.experiment(beside, seed).with_context(named)?;
            if super::trace::print(&experiment, &routers, self.json)? != ExitCode::SUCCESS {
                code = ExitCode::FAILURE;
            }
        }
        Ok(code)
    }
}

fn tell(scenario: &Scenario, seed: u64, outcome: &Outcome) -> bool {
    let verdict = if outcome.failure.is_some() { "FAILED" } else { "passed" };
    println!(
        "{verdict} {:<16} seed {seed:<6} {:>7} steps {:>9} virtual s  trace {}",
        scenario.name,
        outcome.steps,
        outcome.virtual_ms / 1_000,
        outcome.trace
    );
    if let Some(failure) = &outcome.failure {
        println!("  {failure}\n  replay: {}", scenario.replay(seed));
    }
    outcome.failure.is_none()
}
