//! `silbo-sim`: runs scenarios of the virtual world by name and seed, and prints the trace hash.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use silbo_simulations::scenarios::{self, Scenario};

/// Runs the engine of Silbo in a virtual world. Same scenario, same seed, same trace hash.
#[derive(Parser)]
#[command(name = "silbo-sim", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists the scenarios.
    List,
    /// Runs one scenario, or all of them.
    Run {
        /// Its name; all scenarios without it.
        #[arg(long)]
        scenario: Option<String>,
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How many seeds to run, counted up from the first.
        #[arg(long, default_value_t = 1)]
        seeds: u64,
        /// Print every input and step.
        #[arg(long)]
        verbose: bool,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().command {
        Command::List => {
            for scenario in scenarios::ALL {
                println!("{:<16} {}", scenario.name, scenario.story);
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Run { scenario, seed, seeds, verbose } => {
            let chosen: Vec<&Scenario> = match &scenario {
                Some(name) => vec![scenarios::find(name).with_context(|| format!("no scenario is called {name}"))?],
                None => scenarios::ALL.iter().collect(),
            };
            let mut failed = false;
            for scenario in chosen {
                for seed in seed..seed.saturating_add(seeds) {
                    failed |= !run(scenario, seed, verbose);
                }
            }
            Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
    }
}

fn run(scenario: &Scenario, seed: u64, verbose: bool) -> bool {
    let outcome = scenario.run(seed, verbose);
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
