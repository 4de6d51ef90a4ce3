//! The command line of `silbo-sim`.

mod group_cost;
mod results;
mod scenarios;
mod trace;
mod village_cost;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs the engine of Silbo in a virtual world. Same scenario, same seed, same trace hash.
#[derive(Parser)]
#[command(name = "silbo-sim", version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists the scenarios.
    List,
    /// Runs one scenario, or all of them.
    Run(scenarios::Run),
    /// Runs routers on a contact trace: ours in a world of real engines, those of the literature beside it.
    Trace(trace::Trace),
    /// Shows two results side by side: what a change did.
    Compare(results::Compare),
    /// What it costs two carriers to find out what only one of them has, beside the ways not taken.
    EncounterBytes(results::EncounterBytes),
    /// What a simulated person costs, and how that grows: the village model at several sizes.
    VillageCost(village_cost::VillageCost),
    /// What a post, an addition, a removal and a join cost a group, beside pairwise fan-out and sender keys.
    GroupCost(group_cost::GroupCost),
}

impl Arguments {
    /// Does what was asked.
    ///
    /// # Errors
    /// What could not be read or written.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::List => {
                scenarios::list();
                Ok(ExitCode::SUCCESS)
            }
            Command::Run(run) => run.run(),
            Command::Trace(trace) => trace.run(),
            Command::Compare(compare) => compare.run(),
            Command::EncounterBytes(table) => table.run(),
            Command::VillageCost(cost) => cost.run(),
            Command::GroupCost(cost) => cost.run(),
        }
    }
}
